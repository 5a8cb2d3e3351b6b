// SPDX-License-Identifier: MIT
#include "tests/unit/data.h"

#include <errno.h>

#define DISK (64 * SEC)

static unsigned char w_data[16 * SEC];

/* 's' durable, then 'w' over sectors 0..4 with these flags, then a flush. */
static struct disk after_write_and_flush(const char *rules, uint32_t flags)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);

	fill_disk(&disk, 's');
	use_rules(&disk, rules);
	memset(w_data, 'w', sizeof(w_data));
	assert_int_equal(run_flagged(&disk, IO_WRITE, 0, 4 * SEC, w_data, flags), 4 * SEC);
	assert_string_equal(MAP(&disk, 0, 6), "wwwwss");
	if (!flags)
		assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	return disk;
}

static void without_a_lie_a_flush_and_fua_survive_the_power_cut(void **state)
{
	struct disk disk = after_write_and_flush("", 0);

	(void)state;
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 0, 6), "wwwwss");
	free_disk(&disk);
	disk = after_write_and_flush("", IO_FUA);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 0, 6), "wwwwss");
	free_disk(&disk);
}

static void what_a_lying_flush_promised_is_lost_with_the_power(void **state)
{
	struct disk disk = after_write_and_flush("l op=flush do=lie", 0);

	(void)state;
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 4);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 4);
	assert_string_equal(MAP(&disk, 0, 6), "ssssss");
	assert_int_equal(counts_of(&disk, "l").hits, 1);
	free_disk(&disk);
}

static void what_a_lying_fua_write_promised_is_lost_with_the_power(void **state)
{
	struct disk disk = after_write_and_flush("l op=write do=lie", IO_FUA);

	(void)state;
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 4);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 4);
	assert_string_equal(MAP(&disk, 0, 6), "ssssss");
	free_disk(&disk);
}

static void an_honest_flush_makes_up_for_an_earlier_lie(void **state)
{
	struct disk disk = after_write_and_flush("l op=flush times=1 do=lie", 0);

	(void)state;
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 4);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 0, 6), "wwwwss");
	free_disk(&disk);
}

static void a_write_without_fua_is_no_match(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_WRITE, 0, SEC, w_data);

	(void)state;
	use_rules(&disk, "l do=lie");
	run_io(&disk, IO_WRITE, 0, SEC, w_data);
	run_flagged(&disk, IO_WRITE, 0, SEC, w_data, IO_META);
	assert_int_equal(counts_of(&disk, "l").matches, 0);
	check_explained(&disk, &io, "lie does not apply");
	run_flagged(&disk, IO_WRITE, 0, SEC, w_data, IO_FUA | IO_META);
	run_io(&disk, IO_FLUSH, 0, 0, NULL);
	assert_int_equal(counts_of(&disk, "l").matches, 2);
	io.flags = IO_FUA | IO_META;
	pipeline_submit(disk.pipeline, &io, 0);
	assert_int_equal(io.flags, IO_FUA | IO_META);
	check_explained(&disk, &io, "is stored and reports success, but can be lost");
	free_disk(&disk);
}

static void a_lying_write_whose_data_cannot_be_fetched_fails(void **state)
{
	static const struct io_data_ops ops = { copied_get, copied_put };
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	struct copied copied = { make_io(IO_WRITE, 0, SEC, NULL), w_data, true };

	(void)state;
	use_rules(&disk, "l do=lie");
	copied.io.data_ops = &ops;
	copied.io.flags = IO_FUA;
	assert_int_equal(pipeline_submit(disk.pipeline, &copied.io, 0), IO_DONE);
	assert_int_equal(copied.io.result, -EFAULT);
	free_disk(&disk);
}

static void other_operations_make_no_promise(void **state)
{
	(void)state;
	check_error("l op=read do=lie", "rule.op-not-for-kind", 3, "cannot act on read", NULL);
	check_error("l op=discard do=lie", "rule.op-not-for-kind", 3, "only on write or flush",
		    NULL);
	check_error("l do=lie:1", "rule.unknown-parameter", 10, "takes no parameters, got '1'",
		    NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_lie_a_flush_and_fua_survive_the_power_cut),
		cmocka_unit_test(what_a_lying_flush_promised_is_lost_with_the_power),
		cmocka_unit_test(what_a_lying_fua_write_promised_is_lost_with_the_power),
		cmocka_unit_test(an_honest_flush_makes_up_for_an_earlier_lie),
		cmocka_unit_test(a_write_without_fua_is_no_match),
		cmocka_unit_test(a_lying_write_whose_data_cannot_be_fetched_fails),
		cmocka_unit_test(other_operations_make_no_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
