// SPDX-License-Identifier: MIT
#include "tests/unit/data.h"

#include <errno.h>

#define DISK (32 * SEC)

static unsigned char w_data[32 * SEC];

/* Write sectors [sector, sector+nr) of 'w' over 's' under one rule; the map of the disk. */
static void astray(const char *rule, uint64_t sector, unsigned int nr, char map[33])
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	memset(w_data, 'w', sizeof(w_data));
	fill_disk(&disk, 's');
	use_rules(&disk, rule);
	assert_int_equal(run_io(&disk, IO_WRITE, sector, nr * SEC, w_data), nr * SEC);
	sector_map(&disk, 0, 32, map);
	free_disk(&disk);
}

static void a_write_lands_elsewhere_and_the_right_place_stays(void **state)
{
	char map[33];

	(void)state;
	astray("m do=misdirect:by=8s", 2, 3, map);
	assert_string_equal(map, "sssssssssswwwsssssssssssssssssss");
	astray("m do=misdirect:by=2s,back", 2, 3, map);
	assert_string_equal(map, "wwwsssssssssssssssssssssssssssss");
	astray("m do=misdirect:by=8s,also", 2, 3, map);
	assert_string_equal(map, "sswwwsssssw"
				 "wwsssssssssssssssssss");
	/* The two places overlap. */
	astray("m do=misdirect:by=1s,also", 2, 3, map);
	assert_string_equal(map, "sswwwwssssssssssssssssssssssssss");
}

static void the_disk_is_a_ring(void **state)
{
	char map[33];

	(void)state;
	astray("m do=misdirect:by=8s", 22, 4, map);
	assert_string_equal(map, "wwssssssssssssssssssssssssssssww");
	astray("m do=misdirect:by=8s", 28, 4, map);
	assert_string_equal(map, "sssswwwwssssssssssssssssssssssss");
	astray("m do=misdirect:by=4s,back", 2, 4, map);
	assert_string_equal(map, "wwssssssssssssssssssssssssssssww");
	astray("m do=misdirect:by=16s", 0, 32, map);
	assert_string_equal(map, "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww");
}

static void the_data_arrives_in_order(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[4 * SEC], back[4 * SEC];

	(void)state;
	use_rules(&disk, "m op=write do=misdirect:by=8s");
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i / SEC * 16 + i % 7);
	run_io(&disk, IO_WRITE, 22, 4 * SEC, data);
	assert_memory_equal(store_data(disk.store) + 30 * SEC, data, 2 * SEC);
	assert_memory_equal(store_data(disk.store), data + 2 * SEC, 2 * SEC);
	/* A read that goes astray in the same way finds it again, by copying, too. */
	use_rules(&disk, "m op=read do=misdirect:by=8s");
	assert_int_equal(run_io(&disk, IO_READ, 22, 4 * SEC, back), 4 * SEC);
	assert_memory_equal(back, data, sizeof(data));
	memset(back, 0, sizeof(back));
	assert_int_equal(run_copied(&disk, IO_READ, 22, 4 * SEC, back, false), 4 * SEC);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(run_copied(&disk, IO_READ, 22, 4 * SEC, back, true), -EFAULT);
	free_disk(&disk);
}

static void a_read_is_answered_from_elsewhere_and_changes_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[2 * SEC];

	(void)state;
	fill_disk(&disk, 's');
	memset(store_data(disk.store) + 10 * SEC, 'x', SEC);
	use_rules(&disk, "m op=read do=misdirect:by=8s,also");
	assert_int_equal(run_io(&disk, IO_READ, 2, 2 * SEC, data), 2 * SEC);
	assert_int_equal(data[0], 'x');
	assert_int_equal(data[SEC], 's');
	assert_string_equal(MAP(&disk, 0, 12), "ssssssssssxs");
	free_disk(&disk);
}

static void discards_and_zeroes_go_astray_too(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	fill_disk(&disk, 's');
	use_rules(&disk, "m do=misdirect:by=4s");
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, 2 * SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 4, 2 * SEC, NULL), 0);
	assert_string_equal(MAP(&disk, 0, 12), "ssss..ss..ss");
	free_disk(&disk);
}

/* Where a write of @nr sectors landed; it must be in one piece, in blocks of the disk. */
static unsigned int landed(struct disk *disk, uint64_t sector, unsigned int nr)
{
	const char *map;
	unsigned int at;

	fill_disk(disk, 's');
	run_io(disk, IO_WRITE, sector, nr * SEC, w_data);
	map = MAP(disk, 0, 32);
	at = (unsigned int)strcspn(map, "w");
	assert_int_equal(strspn(map + at, "w"), nr);
	assert_int_equal(strcspn(map + at + nr, "w"), 32 - at - nr);
	return at;
}

static void a_random_place_lies_in_the_range_and_repeats_with_the_seed(void **state)
{
	unsigned int seen[32] = { 0 }, places = 0, first[200];

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	for (int run = 0; run < 2; run++) {
		struct disk disk = make_disk(DISK, 1024, 1, 5);

		use_rules(&disk, "m op=write do=misdirect:range=8s..20s");
		for (int i = 0; i < 200; i++) {
			unsigned int at = landed(&disk, 0, 4);

			assert_in_range(at, 8, 16);
			assert_int_equal(at % 2, 0);
			if (run)
				assert_int_equal(at, first[i]);
			first[i] = at;
			seen[at]++;
		}
		free_disk(&disk);
	}
	for (int i = 0; i < 32; i++)
		places += seen[i] > 0;
	assert_int_equal(places, 5);
}

static void a_request_longer_than_the_range_starts_with_it(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 5);

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	use_rules(&disk, "m op=write do=misdirect:range=8s..10s");
	for (int i = 0; i < 20; i++)
		assert_int_equal(landed(&disk, 0, 4), 8);
	use_rules(&disk, "m op=write do=misdirect:range=8s..12s");
	for (int i = 0; i < 20; i++)
		assert_int_equal(landed(&disk, 20, 4), 8);
	use_rules(&disk, "m op=write do=misdirect:range=28s..");
	for (int i = 0; i < 20; i++)
		assert_in_range(landed(&disk, 0, 2), 28, 30);
	free_disk(&disk);
}

static void a_misplaced_fua_write_is_durable_where_it_landed(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	fill_disk(&disk, 's');
	use_rules(&disk, "m op=write do=misdirect:by=4s");
	run_flagged(&disk, IO_WRITE, 0, 2 * SEC, w_data, IO_FUA);
	run_io(&disk, IO_WRITE, 2, 2 * SEC, w_data);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 2);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 2);
	assert_string_equal(MAP(&disk, 0, 10), "sssswwssss");
	free_disk(&disk);
}

static void misdirections_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("m do=misdirect", "rule.missing-parameter", 6, "one of by=SIZE", NULL);
	check_error("m do=misdirect:by=1s,range=0..1M", "rule.conflict", 6, "only one of", NULL);
	check_error("m do=misdirect:range=0..1M,back", "rule.conflict", 6,
		    "only with by=", NULL);
	check_error("m do=misdirect:by=0", "rule.bad-size", 19, "size of 1s", NULL);
	check_error("m do=misdirect:range=5..7", "rule.bad-range", 22, "a multiple of 512",
		    "sector boundary");
	check_error("m op=flush do=misdirect:by=1s", "rule.op-not-for-kind", 3,
		    "cannot act on flush", NULL);
}

static void the_target_must_fit_the_disk(void **state)
{
	(void)state;
	check_on_disk("m do=misdirect:by=1s",
		      "by=1s is not a multiple of the disk's logical block");
	check_on_disk("m do=misdirect:by=1M", "by=1M leads around the whole disk of 1M");
	check_on_disk("m do=misdirect:by=1020k", NULL);
	check_on_disk("m do=misdirect:range=1M..2M", "misdirect's range starts at 1M");
	check_on_disk("m do=misdirect:range=0..2M", "misdirect's range ends at 2M");
	check_on_disk("m do=misdirect:range=1s..8k", "and 1s is none");
	check_on_disk("m do=misdirect:range=0..9s", "and 9s is none");
	check_on_disk("m do=misdirect:range=1020k..", NULL);
	check_on_disk("m do=misdirect:range=1020k..1M", NULL);
}

static void explain_names_the_place(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_WRITE, 30, 4 * SEC / 2, w_data);

	(void)state;
	use_rules(&disk, "m do=misdirect:by=8s,also");
	check_explained(&disk, &io, "takes place at sector 6 as well");
	io.op = IO_READ;
	check_explained(&disk, &io, "is answered with what is at sector 6 instead");
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_lands_elsewhere_and_the_right_place_stays),
		cmocka_unit_test(the_disk_is_a_ring),
		cmocka_unit_test(the_data_arrives_in_order),
		cmocka_unit_test(a_read_is_answered_from_elsewhere_and_changes_nothing),
		cmocka_unit_test(discards_and_zeroes_go_astray_too),
		cmocka_unit_test(a_random_place_lies_in_the_range_and_repeats_with_the_seed),
		cmocka_unit_test(a_request_longer_than_the_range_starts_with_it),
		cmocka_unit_test(a_misplaced_fua_write_is_durable_where_it_landed),
		cmocka_unit_test(misdirections_that_make_no_sense_are_refused),
		cmocka_unit_test(the_target_must_fit_the_disk),
		cmocka_unit_test(explain_names_the_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
