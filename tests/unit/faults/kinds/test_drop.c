// SPDX-License-Identifier: MIT
#include "tests/unit/data.h"

#define DISK (64 * SEC)

static unsigned char w_data[16 * SEC];

static void dropped_changes_report_success_and_store_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	fill_disk(&disk, 's');
	use_rules(&disk, "d do=drop");
	memset(w_data, 'w', sizeof(w_data));
	assert_int_equal(run_io(&disk, IO_WRITE, 2, 4 * SEC, w_data), 4 * SEC);
	assert_int_equal(run_flagged(&disk, IO_WRITE, 2, 4 * SEC, w_data, IO_FUA), 4 * SEC);
	assert_int_equal(run_copied(&disk, IO_WRITE, 2, 4 * SEC, w_data, true), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, 8 * SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 0, 8 * SEC, NULL), 0);
	assert_int_equal(run_flagged(&disk, IO_ZEROES, 0, 8 * SEC, NULL, IO_NOUNMAP), 0);
	assert_string_equal(MAP(&disk, 0, 16), "ssssssssssssssss");
	assert_int_equal(counts_of(&disk, "d").hits, 6);
	free_disk(&disk);
}

static void only_the_hits_are_dropped(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "d op=write after=1 times=1 do=drop");
	memset(w_data, 'w', sizeof(w_data));
	for (uint64_t sector = 0; sector < 4; sector++)
		assert_int_equal(run_io(&disk, IO_WRITE, sector, SEC, w_data), SEC);
	assert_string_equal(MAP(&disk, 0, 4), "w.ww");
	free_disk(&disk);
}

static void a_dropped_write_leaves_nothing_volatile(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "d range=0s..4s do=drop");
	memset(w_data, 'w', sizeof(w_data));
	run_io(&disk, IO_WRITE, 0, 4 * SEC, w_data);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	run_io(&disk, IO_WRITE, 8, 4 * SEC, w_data);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 4);
	free_disk(&disk);
}

static void reads_and_flushes_cannot_be_dropped(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io;

	(void)state;
	check_error("d op=read do=drop", "rule.op-not-for-kind", 3, "cannot act on read", NULL);
	check_error("d op=flush do=drop", "rule.op-not-for-kind", 3, "cannot act on flush", NULL);
	check_error("d do=drop:also", "rule.unknown-parameter", 11,
		    "takes no parameters, got 'also'", NULL);
	fill_disk(&disk, 's');
	use_rules(&disk, "d do=drop");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), SEC);
	assert_int_equal(data[0], 's');
	assert_int_equal(counts_of(&disk, "d").matches, 0);
	io = make_io(IO_WRITE, 0, SEC, data);
	check_explained(&disk, &io, "reports success, stores nothing");
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dropped_changes_report_success_and_store_nothing),
		cmocka_unit_test(only_the_hits_are_dropped),
		cmocka_unit_test(a_dropped_write_leaves_nothing_volatile),
		cmocka_unit_test(reads_and_flushes_cannot_be_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
