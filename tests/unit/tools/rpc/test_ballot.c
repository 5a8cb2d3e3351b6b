// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"
#include "tools/rpc/ballot.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ballot *make(void)
{
	struct ballot *ballot;

	assert_int_equal(ballot_create(&ballot), 0);
	return ballot;
}

static struct ballot *part(const struct ballot *of)
{
	struct ballot *ballot;

	assert_int_equal(ballot_open(ballot_fd(of), &ballot), 0);
	return ballot;
}

static void the_first_word_is_the_last(void **state)
{
	struct ballot *mine = make(), *theirs = part(mine);

	(void)state;
	assert_int_equal(ballot_look(theirs), BALLOT_OPEN);
	assert_int_equal(ballot_decide(theirs, BALLOT_GO_ON), BALLOT_GO_ON);
	assert_int_equal(ballot_decide(mine, BALLOT_CUT), BALLOT_GO_ON);
	ballot_free(mine);
	assert_int_equal(ballot_look(theirs), BALLOT_GO_ON);
	ballot_free(theirs);
	mine = make();
	theirs = part(mine);
	assert_int_equal(ballot_decide(mine, BALLOT_CUT), BALLOT_CUT);
	assert_int_equal(ballot_decide(theirs, BALLOT_GO_ON), BALLOT_CUT);
	ballot_free(mine);
	ballot_free(theirs);
}

/* All ask at once, in processes of their own: what each of them hears is the same. */
static void many_processes_hear_one_word(void **state)
{
	enum { ROUNDS = 50, PROCESSES = 4 };

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct ballot *ballot = make();
		pid_t pids[PROCESSES];
		int status;

		for (int i = 0; i < PROCESSES; i++) {
			pids[i] = fork();
			assert_true(pids[i] >= 0);
			if (pids[i] == 0)
				_exit((int)ballot_decide(ballot,
							 i % 2 ? BALLOT_CUT : BALLOT_GO_ON));
		}
		for (int i = 0; i < PROCESSES; i++) {
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), ballot_look(ballot));
		}
		assert_int_not_equal(ballot_look(ballot), BALLOT_OPEN);
		ballot_free(ballot);
	}
}

/* Of two one is older, and everybody sees the same one so. */
static void the_older_one_is_the_same_for_all(void **state)
{
	struct ballot *a = make(), *b = make(), *b2 = part(b), *a2 = part(a);

	(void)state;
	assert_true(ballot_is_older(a, b));
	assert_true(ballot_is_older(a2, b2));
	assert_false(ballot_is_older(b2, a2));
	assert_false(ballot_is_older(a, a2));
	ballot_free(a);
	ballot_free(b);
	ballot_free(a2);
	ballot_free(b2);
}

/* What could be cut short under our eyes would end us when we look. */
static void what_is_no_ballot_is_refused(void **state)
{
	struct ballot *mine = make(), *ballot;
	int pipes[2], fd = memfd_create("none", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(ballot_fd(mine), 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 16), 0);
	assert_int_equal(ballot_open(fd, &ballot), -EINVAL);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(ballot_open(pipes[0], &ballot), -EINVAL);
	assert_int_equal(ballot_open(-1, &ballot), -EINVAL);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	ballot_free(mine);
	ballot_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_word_is_the_last),
		cmocka_unit_test(many_processes_hear_one_word),
		cmocka_unit_test(the_older_one_is_the_same_for_all),
		cmocka_unit_test(what_is_no_ballot_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
