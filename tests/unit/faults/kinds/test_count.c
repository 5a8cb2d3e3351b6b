// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/engine/event.h"

#define DISK (64 * SEC)

static void every_operation_is_counted_and_carried_out(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[2 * SEC];

	(void)state;
	memset(store_data(disk.store), 's', 8 * SEC);
	use_rules(&disk, "n do=count");
	memset(data, 'w', sizeof(data));
	assert_int_equal(run_io(&disk, IO_WRITE, 0, 2 * SEC, data), 2 * SEC);
	assert_int_equal(run_io(&disk, IO_READ, 1, 2 * SEC, data), 2 * SEC);
	assert_int_equal(data[0], 'w');
	assert_int_equal(data[SEC], 's');
	assert_int_equal(run_io(&disk, IO_DISCARD, 4, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 5, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_string_equal(MAP(&disk, 0, 8), "wwss..ss");
	assert_int_equal(counts_of(&disk, "n").matches, 5);
	assert_int_equal(counts_of(&disk, "n").hits, 5);
	free_disk(&disk);
}

static void a_counted_request_meets_the_rules_behind(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	use_rules(&disk, "n op=read times=2 do=count\n"
			 "e op=read do=error:ENOSPC\n"
			 "m op=read do=count");
	for (int i = 0; i < 3; i++)
		assert_int_equal(run_io(&disk, IO_READ, 1, SEC, data), -28);
	assert_int_equal(counts_of(&disk, "n").matches, 3);
	assert_int_equal(counts_of(&disk, "n").hits, 2);
	assert_int_equal(counts_of(&disk, "e").hits, 3);
	assert_int_equal(counts_of(&disk, "m").matches, 0);
	free_disk(&disk);
}

static void each_hit_is_an_event_without_delay(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct event_reader *reader;
	struct event event;
	uint64_t lost = 0;

	(void)state;
	assert_int_equal(event_reader_create(pipeline_events(disk.pipeline), 0, &reader), 0);
	use_rules(&disk, "n op=discard after=1 do=count");
	for (uint64_t i = 0; i < 3; i++)
		run_io(&disk, IO_DISCARD, 4 * i, 2 * SEC, NULL);
	for (uint64_t i = 1; i < 3; i++) {
		assert_true(event_reader_next(reader, &event, &lost));
		assert_string_equal(event.rule, "n");
		assert_int_equal(event.op, IO_DISCARD);
		assert_int_equal(event.sector, 4 * i);
		assert_int_equal(event.len_bytes, 2 * SEC);
		assert_int_equal(event.match, i);
		assert_int_equal(event.delay_ns, 0);
	}
	assert_false(event_reader_next(reader, &event, &lost));
	assert_int_equal(lost, 0);
	event_reader_free(reader);
	free_disk(&disk);
}

static void a_hit_moves_the_state_machine(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	use_rules(&disk, "n op=flush goto=full do=count\nf op=read state=full do=error:ENOSPC");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), SEC);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -28);
	free_disk(&disk);
}

static void count_takes_no_parameters(void **state)
{
	(void)state;
	check_error("n do=count:3", "rule.unknown-parameter", 12,
		    "count takes no parameters, got '3'", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_operation_is_counted_and_carried_out),
		cmocka_unit_test(a_counted_request_meets_the_rules_behind),
		cmocka_unit_test(each_hit_is_an_event_without_delay),
		cmocka_unit_test(a_hit_moves_the_state_machine),
		cmocka_unit_test(count_takes_no_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
