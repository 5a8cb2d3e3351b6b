// SPDX-License-Identifier: MIT
/* tsan */
/* A cursor that stands still has any number of readers. */
#include "tests/unit/check.h"

#include "faults/crash/crash.h"

#include <pthread.h>

enum { UNITS = 64, READERS = 4 };

struct reader {
	pthread_t thread;
	const struct crash *crash;
	uint64_t hash;
};

static void *read_states(void *arg)
{
	struct reader *reader = arg;
	const struct crash_choice *choices;
	uint16_t picks[UNITS];
	size_t nr = crash_choices(reader->crash, &choices);

	crash_newest(reader->crash, picks);
	reader->hash = nr == UNITS ? crash_hash(reader->crash, picks) : 0;
	return NULL;
}

static void make_crash(struct journal **journal, struct crash **crash)
{
	static unsigned char bytes[UNITS * SEC], data[UNITS * SEC];
	static const struct journal_disk disk = {
		.name = "disk", .size_bytes = UNITS * SEC, .block_bytes = SEC, .cache = true
	};
	const struct crash_options options = { 0 };
	const struct crash_image image = { bytes, -1 };
	const struct journal_write write = {
		.submit = 1, .complete = 2, .len_bytes = sizeof(data), .data = data
	};
	struct diag diag;

	memset(bytes, 0, sizeof(bytes));
	memset(data, 'x', sizeof(data));
	assert_int_equal(journal_new(journal), 0);
	assert_int_equal(journal_add_disk(*journal, &disk), 0);
	assert_int_equal(journal_add_write(*journal, &write), 0);
	assert_int_equal(journal_seal(*journal, &diag), 0);
	assert_int_equal(crash_create(*journal, &options, &image, &diag, crash), 0);
	assert_int_equal(crash_move(*crash, 2), 0);
}

static void readers_that_come_together_see_the_same_choices(void **state)
{
	(void)state;
	for (int round = 0; round < 50; round++) {
		struct reader readers[READERS];
		struct journal *journal;
		struct crash *crash;

		make_crash(&journal, &crash);
		for (int i = 0; i < READERS; i++) {
			readers[i] = (struct reader){ .crash = crash };
			pthread_create(&readers[i].thread, NULL, read_states, &readers[i]);
		}
		for (int i = 0; i < READERS; i++) {
			pthread_join(readers[i].thread, NULL);
			assert_int_not_equal(readers[i].hash, 0);
			assert_true(readers[i].hash == readers[0].hash);
		}
		crash_free(crash);
		journal_free(journal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_that_come_together_see_the_same_choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
