// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tools/cli/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME       "FAULTBLK_TEST_GUARD"
#define SOON_NS    (15 * NSEC_PER_SEC) /* guard_kill() gives up after 20 s */
#define FOREIGN_NS 1                   /* no namespace has this inode */

static char owner[GUARD_OWNER_MAX];

static int make_owner(void **state)
{
	(void)state;
	guard_owner(NAME, owner);
	return 0;
}

/* In an exec() a process has none for a moment, and is nobody's. */
static void wait_for_environment(pid_t pid)
{
	char path[64], byte;
	ssize_t got = 0;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	while (got == 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		got = read(fd, &byte, 1);
		close(fd);
	}
	assert_int_equal(got, 1);
}

/* A process that waits, with @variable in its environment, and a session of its own. */
static pid_t start(const char *variable)
{
	char *argv[] = { "sleep", "1000", NULL }, *env[] = { (char *)variable, NULL };
	posix_spawnattr_t attr;
	pid_t pid;

	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	assert_int_equal(posix_spawn(&pid, "/bin/sleep", NULL, &attr, argv, env), 0);
	posix_spawnattr_destroy(&attr);
	wait_for_environment(pid);
	return pid;
}

static void end(pid_t pid, int signal)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signal);
}

/* It leads a session, and whoever is in that is meant, too. */
static void one_that_nobody_waits_for_is_not_waited_for(void **state)
{
	uint64_t start_ns;
	pid_t pid;

	(void)state;
	pid = start(owner);
	start_ns = clock_now_ns();
	assert_int_equal(guard_kill(owner), 1);
	assert_true(clock_now_ns() - start_ns < SOON_NS);
	/* Nor is it there for the next. */
	assert_int_equal(guard_kill(owner), 0);
	end(pid, SIGKILL);
}

static void the_same_pid_of_another_namespace_is_somebody_else(void **state)
{
	char other[GUARD_OWNER_MAX];
	pid_t pid;

	(void)state;
	snprintf(other, sizeof(other), NAME "=%d.%d.", (int)getpid(), FOREIGN_NS);
	assert_string_not_equal(other, owner);
	pid = start(other);
	assert_int_equal(guard_kill(owner), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	end(pid, SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_nobody_waits_for_is_not_waited_for),
		cmocka_unit_test(the_same_pid_of_another_namespace_is_somebody_else),
	};

	return cmocka_run_group_tests(tests, make_owner, NULL);
}
