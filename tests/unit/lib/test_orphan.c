// SPDX-License-Identifier: MIT
#include "orphan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SPACE_BITS (((1ull << 18) - 1) << 38) /* see orphan.h */

static void a_stamp_names_its_process_and_knows_it_is_alive(void **state)
{
	uint64_t stamp = owner_stamp();

	(void)state;
	assert_true(owner_stamped(stamp));
	assert_int_equal(owner_pid(stamp), getpid());
	assert_int_equal(owner_fate(stamp), OWNER_LIVES);
}

static void another_start_time_with_the_same_pid_is_another_process(void **state)
{
	(void)state;
	assert_int_equal(owner_fate(owner_stamp() ^ 1), OWNER_GONE);
	assert_int_equal(owner_pid(owner_stamp() ^ 1), getpid());
}

/* The stamp of a child that waits until @hold_fd ends. */
static uint64_t stamp_of_child(int hold_fd[2], pid_t *ret_pid)
{
	int fds[2];
	uint64_t stamp = 0;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(hold_fd), 0);
	*ret_pid = fork();
	if (*ret_pid == 0) {
		char byte;

		close(hold_fd[1]);
		stamp = owner_stamp();
		_exit(write(fds[1], &stamp, sizeof(stamp)) != sizeof(stamp) ||
		      read(hold_fd[0], &byte, 1) != 0);
	}
	close(hold_fd[0]);
	assert_int_equal(read(fds[0], &stamp, sizeof(stamp)), sizeof(stamp));
	assert_int_equal(owner_pid(stamp), *ret_pid);
	close(fds[0]);
	close(fds[1]);
	return stamp;
}

static void a_dead_process_is_gone_whether_it_was_waited_for_or_not(void **state)
{
	siginfo_t info;
	int hold[2];
	pid_t pid;
	uint64_t stamp = stamp_of_child(hold, &pid);

	(void)state;
	assert_int_equal(owner_fate(stamp), OWNER_LIVES);
	close(hold[1]);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(owner_fate(stamp), OWNER_GONE);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(owner_fate(stamp), OWNER_GONE);
}

/* Pids and start times of another pid namespace say nothing here: at most that it is not seen. */
static void a_process_of_another_pid_namespace_is_not_taken_for_one_here(void **state)
{
	const uint64_t other = 1ull << 38;
	struct stat st;
	bool all = stat("/proc/1/ns/pid", &st) == 0 && st.st_ino == 0xeffffffc;
	int hold[2];
	pid_t pid;
	uint64_t stamp = stamp_of_child(hold, &pid);

	(void)state;
	/* Only where all processes are seen it is known that there is none such. */
	assert_int_equal(owner_fate(stamp ^ other), all ? OWNER_GONE : OWNER_UNSEEN);
	assert_int_equal((stamp ^ owner_stamp()) & SPACE_BITS, 0);
	close(hold[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(owner_fate(stamp ^ other), all ? OWNER_GONE : OWNER_UNSEEN);
	assert_int_equal(owner_fate(stamp), OWNER_GONE);
}

static void the_flags_of_other_servers_are_never_taken_for_an_owner(void **state)
{
	(void)state;
	assert_false(owner_stamped(0));
	assert_int_equal(owner_fate(0), OWNER_UNSEEN);
	assert_int_equal(owner_fate(0x0123456789abcdefull), OWNER_UNSEEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stamp_names_its_process_and_knows_it_is_alive),
		cmocka_unit_test(another_start_time_with_the_same_pid_is_another_process),
		cmocka_unit_test(a_dead_process_is_gone_whether_it_was_waited_for_or_not),
		cmocka_unit_test(a_process_of_another_pid_namespace_is_not_taken_for_one_here),
		cmocka_unit_test(the_flags_of_other_servers_are_never_taken_for_an_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
