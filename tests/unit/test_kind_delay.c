// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/clock.h"

#include <errno.h>

#define DISK (64 * SEC)

static void a_delayed_write_reaches_the_disk_only_when_resumed(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io;

	(void)state;
	use_rules(&disk, "slow do=delay:10ms");
	memset(data, 'w', SEC);
	io = make_io(IO_WRITE, 3, SEC, data);
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 1000), IO_PARKED);
	assert_int_equal(io.due_ns, 1000 + 10 * NSEC_PER_MSEC);
	assert_string_equal(MAP(&disk, 0, 5), ".....");
	pipeline_resume(disk.pipeline, &io, io.due_ns);
	assert_int_equal(io.result, SEC);
	assert_string_equal(MAP(&disk, 0, 5), "...w.");
	free_disk(&disk);
}

static void delays_of_several_rules_add_up_and_the_error_comes_late(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io = make_io(IO_READ, 0, SEC, data);

	(void)state;
	use_rules(&disk, "a do=delay:1ms\n"
			 "b op=write do=delay:1h\n"
			 "c op=read do=delay:2us\n"
			 "d do=error:EIO\n"
			 "never do=delay:1h");
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 5), IO_PARKED);
	assert_int_equal(io.due_ns, 5 + 1002000);
	assert_string_equal(rule_name(io.rule), "d");
	pipeline_resume(disk.pipeline, &io, 5);
	assert_int_equal(io.result, -EIO);
	assert_int_equal(counts_of(&disk, "never").matches, 0);
	free_disk(&disk);
}

static void a_random_delay_stays_within_its_bounds_and_repeats_with_the_seed(void **state)
{
	uint64_t seen[2][1000], low = UINT64_MAX, high = 0, sum = 0;

	(void)state;
	for (int run = 0; run < 2; run++) {
		struct disk disk = make_disk(DISK, 512, 1, 77);
		struct io io = make_io(IO_FLUSH, 0, 0, NULL);

		use_rules(&disk, "slow do=delay:100us..300us");
		for (int i = 0; i < 1000; i++) {
			assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_PARKED);
			seen[run][i] = io.due_ns;
			pipeline_resume(disk.pipeline, &io, io.due_ns);
		}
		free_disk(&disk);
	}
	assert_memory_equal(seen[0], seen[1], sizeof(seen[0]));
	for (int i = 0; i < 1000; i++) {
		low = seen[0][i] < low ? seen[0][i] : low;
		high = seen[0][i] > high ? seen[0][i] : high;
		sum += seen[0][i];
	}
	assert_in_range(low, 100000, 102000);
	assert_in_range(high, 298000, 300000);
	assert_in_range(sum / 1000, 195000, 205000);
}

static void both_ends_of_a_span_are_reached(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 5);
	unsigned int seen[4] = { 0 };

	(void)state;
	use_rules(&disk, "slow do=delay:1ns..3ns");
	for (int i = 0; i < 300; i++) {
		struct io io = make_io(IO_FLUSH, 0, 0, NULL);

		assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_PARKED);
		assert_in_range(io.due_ns, 1, 3);
		seen[io.due_ns]++;
		pipeline_resume(disk.pipeline, &io, 0);
	}
	for (int i = 1; i <= 3; i++)
		assert_in_range(seen[i], 60, 140);
	free_disk(&disk);
}

static void a_delay_of_nothing_parks_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "slow do=delay:0s");
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(counts_of(&disk, "slow").hits, 1);
	free_disk(&disk);
}

static void a_due_time_past_the_end_of_time_stops_there(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_FLUSH, 0, 0, NULL);

	(void)state;
	use_rules(&disk, "slow do=delay:1h");
	assert_int_equal(pipeline_submit(disk.pipeline, &io, UINT64_MAX - 5), IO_PARKED);
	assert_int_equal(io.due_ns, UINT64_MAX);
	pipeline_resume(disk.pipeline, &io, UINT64_MAX);
	free_disk(&disk);
}

static void delays_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("s do=delay", "rule.missing-parameter", 11, "delay wants TIME", "for example");
	check_error("s do=delay:2ms..1ms", "rule.bad-time", 12, "shorter time first", NULL);
	check_error("s do=delay:61m", "rule.bad-time", 12, "0s to 1h, got '61m'", NULL);
	check_error("s do=delay:1ms..2h", "rule.bad-time", 17, "0s to 1h, got '2h'", NULL);
	check_error("s do=delay:100", "rule.bad-time", 12, "got '100'", "needs its unit");
	check_error("s do=delay:1ms,after", "rule.unknown-parameter", 16, "no parameter 'after'",
		    NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_delayed_write_reaches_the_disk_only_when_resumed),
		cmocka_unit_test(delays_of_several_rules_add_up_and_the_error_comes_late),
		cmocka_unit_test(a_random_delay_stays_within_its_bounds_and_repeats_with_the_seed),
		cmocka_unit_test(both_ends_of_a_span_are_reached),
		cmocka_unit_test(a_delay_of_nothing_parks_nothing),
		cmocka_unit_test(a_due_time_past_the_end_of_time_stops_there),
		cmocka_unit_test(delays_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
