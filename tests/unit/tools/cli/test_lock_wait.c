// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "tools/cli/lock_wait.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_lock_that_somebody_holds_is_not_waited_for_for_ever(void **state)
{
	char dir[] = "/tmp/faultblk-lock.XXXXXX";
	int ready[2], fd, theirs;
	pid_t pid, holder = -1;
	char c;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		theirs = open(dir, O_RDONLY | O_DIRECTORY);
		if (flock(theirs, LOCK_EX) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(lock_wait(fd, 30, &holder), -ETIMEDOUT);
	/* Where /proc/locks says it. */
	assert_true(holder == pid || holder == 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(lock_wait(fd, 60000, &holder), 0);
	close(fd);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(rmdir(dir), 0);
}

static void a_signal_that_is_to_end_us_ends_the_wait(void **state)
{
	char dir[] = "/tmp/faultblk-lock.XXXXXX";
	int fd, theirs, taken;
	pid_t holder;
	sigset_t set;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	theirs = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(theirs, LOCK_EX), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGCHLD);
	assert_int_equal(lock_wait(fd, 30, &holder), -ETIMEDOUT);
	kill(getpid(), SIGTERM);
	assert_int_equal(lock_wait(fd, 600000, &holder), -EINTR);
	/* It stays, for whoever takes note of it. */
	sigdelset(&set, SIGCHLD);
	assert_int_equal(sigwait(&set, &taken), 0);
	assert_int_equal(taken, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	close(fd);
	close(theirs);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_that_somebody_holds_is_not_waited_for_for_ever),
		cmocka_unit_test(a_signal_that_is_to_end_us_ends_the_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
