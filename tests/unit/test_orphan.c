// SPDX-License-Identifier: MIT
#include "orphan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void a_stamp_names_its_process_and_knows_it_is_alive(void **state)
{
	uint64_t stamp = owner_stamp();

	(void)state;
	assert_true(owner_stamped(stamp));
	assert_int_equal(owner_pid(stamp), getpid());
	assert_false(owner_gone(stamp));
}

static void another_start_time_with_the_same_pid_is_another_process(void **state)
{
	(void)state;
	assert_true(owner_gone(owner_stamp() ^ 1));
	assert_int_equal(owner_pid(owner_stamp() ^ 1), getpid());
}

static void a_dead_process_is_gone(void **state)
{
	int fds[2];
	uint64_t stamp;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		stamp = owner_stamp();
		_exit(write(fds[1], &stamp, sizeof(stamp)) != sizeof(stamp));
	}
	assert_int_equal(read(fds[0], &stamp, sizeof(stamp)), sizeof(stamp));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(owner_pid(stamp), pid);
	assert_true(owner_gone(stamp));
	close(fds[0]);
	close(fds[1]);
}

static void the_flags_of_other_servers_are_never_taken_for_an_owner(void **state)
{
	(void)state;
	assert_false(owner_stamped(0));
	assert_false(owner_gone(0));
	assert_false(owner_gone(0x0123456789abcdefull));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stamp_names_its_process_and_knows_it_is_alive),
		cmocka_unit_test(another_start_time_with_the_same_pid_is_another_process),
		cmocka_unit_test(a_dead_process_is_gone),
		cmocka_unit_test(the_flags_of_other_servers_are_never_taken_for_an_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
