// SPDX-License-Identifier: MIT
#include "tests/unit/data.h"

#include <errno.h>

#define DISK (1024 * SEC)

static unsigned char w_data[64 * SEC];

/* Write sectors [sector, sector+nr) of 'w' over 's' under one rule; the map of 16 sectors from 0.
 */
static int tear(const char *rule, uint32_t block, uint64_t sector, unsigned int nr, char map[17])
{
	struct disk disk = make_disk(DISK, block, 1, 1);
	int result;

	memset(w_data, 'w', sizeof(w_data));
	store_mark(disk.store, 0, DISK);
	memset(store_data(disk.store), 's', DISK);
	use_rules(&disk, rule);
	result = run_io(&disk, IO_WRITE, sector, nr * SEC, w_data);
	sector_map(&disk, 0, 16, map);
	free_disk(&disk);
	return result;
}

static void torn_write_keeps_a_prefix_and_reports_success(void **state)
{
	char map[17];

	(void)state;
	assert_int_equal(tear("t do=torn:keep=3s", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "sswwwsssssssssss");
	assert_int_equal(tear("t do=torn:keep=0", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "ssssssssssssssss");
	assert_int_equal(tear("t do=torn:keep=8s", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "sswwwwwwwwssssss");
	assert_int_equal(tear("t do=torn:keep=1M", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "sswwwwwwwwssssss");
}

static void torn_write_keeps_a_suffix(void **state)
{
	char map[17];

	(void)state;
	assert_int_equal(tear("t do=torn:keep-last=3s", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "ssssssswwwssssss");
	assert_int_equal(tear("t do=torn:keep-last=0", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "ssssssssssssssss");
	assert_int_equal(tear("t do=torn:keep-last=9s", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "sswwwwwwwwssssss");
}

static void torn_with_fail_reports_the_errno_after_storing_the_part(void **state)
{
	char map[17];

	(void)state;
	assert_int_equal(tear("t do=torn:keep=1s,fail", 512, 0, 4, map), -EIO);
	assert_string_equal(map, "wsssssssssssssss");
	assert_int_equal(tear("t do=torn:keep-last=1s,fail=ENOSPC", 512, 0, 4, map), -ENOSPC);
	assert_string_equal(map, "ssswssssssssssss");
}

/* Units of 4 sectors; the request starts and ends inside one. */
static void units_are_aligned_to_the_disk_not_to_the_request(void **state)
{
	char map[17];

	(void)state;
	tear("t do=torn:keep=4s,unit=2k", 512, 2, 8, map);
	assert_string_equal(map, "sswwssssssssssss");
	tear("t do=torn:keep-last=4s,unit=2k", 512, 2, 8, map);
	assert_string_equal(map, "ssssssssw"
				 "wssssss");
	tear("t do=torn:keep=4s", 2048, 4, 8, map);
	assert_string_equal(map, "sssswwwwssssssss");
	/* The cut falls into the very first, partial unit: nothing is kept. */
	tear("t do=torn:keep=4s,unit=2k", 512, 1, 2, map);
	assert_string_equal(map, "swwsssssssssssss");
	tear("t do=torn:keep=8s,unit=4k", 512, 7, 9, map);
	assert_string_equal(map, "sssssssw"
				 "ssssssss");
}

static void random_tears_unit_by_unit_and_repeats_with_the_seed(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 9);
	char first[65], map[65];
	unsigned int kept = 0, different = 0;

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	for (int run = 0; run < 100; run++) {
		memset(store_data(disk.store), 's', DISK);
		/* The same rule put again starts afresh: its matches 0 and 1 come out the same. */
		if (run % 2 == 0)
			use_rules(&disk, "t do=torn:random");
		assert_int_equal(run_io(&disk, IO_WRITE, 8, 64 * SEC, w_data), 64 * SEC);
		sector_map(&disk, 8, 64, map);
		assert_int_equal(strspn(map, "sw"), 64);
		if (run == 0)
			memcpy(first, map, sizeof(map));
		if (run % 2 == 0)
			assert_string_equal(map, first);
		else
			different += strcmp(map, first) != 0;
	}
	assert_int_equal(different, 50);
	for (int i = 0; i < 64; i++)
		kept += first[i] == 'w';
	assert_in_range(kept, 16, 48);
	free_disk(&disk);
}

static void random_never_tears_a_unit(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 9);
	char map[65];

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	use_rules(&disk, "t do=torn:random,unit=4k");
	for (unsigned int start = 0; start < 24; start++) {
		memset(store_data(disk.store), 's', DISK);
		run_io(&disk, IO_WRITE, start, 40 * SEC, w_data);
		sector_map(&disk, 0, 64, map);
		for (unsigned int i = start; i + 1 < start + 40; i++)
			if ((i + 1) % 8)
				assert_int_equal(map[i], map[i + 1]);
		for (unsigned int i = 0; i < 64; i++)
			if (i < start || i >= start + 40)
				assert_int_equal(map[i], 's');
	}
	free_disk(&disk);
}

static void random_with_a_share_keeps_about_that_share(void **state)
{
	static const struct {
		const char *rule;
		unsigned int low, high;
	} cases[] = {
		{ "t do=torn:random,p=0", 0, 0 },
		{ "t do=torn:random,p=1", 6400, 6400 },
		{ "t do=torn:random,p=10%", 500, 780 },
		{ "t do=torn:random,p=0.9", 5600, 5920 },
	};

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	for (size_t c = 0; c < array_size(cases); c++) {
		struct disk disk = make_disk(DISK, 512, 1, 3);
		unsigned int kept = 0;

		use_rules(&disk, cases[c].rule);
		for (int i = 0; i < 100; i++) {
			char map[65];

			memset(store_data(disk.store), 's', DISK);
			run_io(&disk, IO_WRITE, 0, 64 * SEC, w_data);
			sector_map(&disk, 0, 64, map);
			for (int s = 0; s < 64; s++)
				kept += map[s] == 'w';
		}
		assert_in_range(kept, cases[c].low, cases[c].high);
		free_disk(&disk);
	}
}

static void discard_and_zeroes_are_torn_too_and_reads_never(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[4 * SEC];

	(void)state;
	store_mark(disk.store, 0, DISK);
	memset(store_data(disk.store), 's', DISK);
	use_rules(&disk, "t do=torn:keep=1s");
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, 4 * SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 4, 4 * SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_READ, 8, 4 * SEC, data), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(data[4 * SEC - 1], 's');
	assert_string_equal(MAP(&disk, 0, 8), ".sss.sss");
	assert_int_equal(counts_of(&disk, "t").matches, 2);
	free_disk(&disk);
}

static void a_map_says_unit_by_unit_and_past_its_end_nothing_is_kept(void **state)
{
	char map[17];

	(void)state;
	assert_int_equal(tear("t do=torn:map=1011", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "sswswwssssssssss");
	tear("t do=torn:map=01111111111", 512, 2, 8, map);
	assert_string_equal(map, "ssswwwwwwwssssss");
	tear("t do=torn:map=0", 512, 2, 8, map);
	assert_string_equal(map, "ssssssssssssssss");
	/* Unit 0 is what the request has of the first one. */
	tear("t do=torn:map=101,unit=2k", 512, 3, 8, map);
	assert_string_equal(map, "ssswsssswwwsssss");
	assert_int_equal(tear("t do=torn:map=01,unit=2k,fail", 512, 3, 8, map), -EIO);
	assert_string_equal(map, "sssswwwwssssssss");
}

static void the_missing_part_can_hold_zeroes(void **state)
{
	char map[17];

	(void)state;
	assert_int_equal(tear("t do=torn:keep=3s,fill=zeroes", 512, 2, 8, map), 8 * SEC);
	assert_string_equal(map, "sswww.....ssssss");
	assert_int_equal(tear("t do=torn:map=0110,fill=zeroes,fail", 512, 2, 6, map), -EIO);
	assert_string_equal(map, "ss.ww...ssssssss");
	tear("t do=torn:keep-last=3s,fill=old", 512, 2, 8, map);
	assert_string_equal(map, "sssssssw"
				 "wwssssss");
}

static void the_missing_part_can_hold_garbage_that_repeats_with_the_seed(void **state)
{
	unsigned char first[16 * SEC];
	char map[17];

	(void)state;
	tear("t do=torn:keep=3s,fill=garbage", 512, 2, 8, map);
	assert_string_equal(map, "sswww?????ssssss");
	for (uint16_t queues = 1; queues < 3; queues++) {
		struct disk disk = make_disk(DISK, 512, queues, 1);

		memset(w_data, 'w', sizeof(w_data));
		use_rules(&disk, "t do=torn:keep=3s,fill=garbage");
		run_io(&disk, IO_WRITE, 2, 14 * SEC, w_data);
		if (queues == 1)
			memcpy(first, store_data(disk.store), sizeof(first));
		assert_memory_equal(first, store_data(disk.store), sizeof(first));
		run_io(&disk, IO_WRITE, 2, 14 * SEC, w_data);
		assert_memory_not_equal(first + 5 * SEC, store_data(disk.store) + 5 * SEC, SEC);
		free_disk(&disk);
	}
}

static void a_torn_fua_write_is_durable_with_all_that_it_left(void **state)
{
	static const char *const fills[] = { "old", "zeroes", "garbage" };
	static const char *const maps[] = { "wwssssss", "ww....ss", "ww????ss" };

	(void)state;
	memset(w_data, 'w', sizeof(w_data));
	for (size_t i = 0; i < array_size(fills); i++) {
		struct disk disk = make_cached_disk(DISK, 512, 1, 1);
		char rule[64];

		fill_disk(&disk, 's');
		snprintf(rule, sizeof(rule), "t do=torn:keep=2s,fill=%s", fills[i]);
		use_rules(&disk, rule);
		run_flagged(&disk, IO_WRITE, 0, 6 * SEC, w_data, IO_FUA);
		assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
		run_io(&disk, IO_WRITE, 16, 6 * SEC, w_data);
		assert_int_equal(pipeline_nr_volatile(disk.pipeline), i ? 6 : 2);
		cut_power(&disk, KEEP_NONE);
		assert_string_equal(MAP(&disk, 0, 8), maps[i]);
		assert_string_equal(MAP(&disk, 16, 8), "ssssssss");
		free_disk(&disk);
	}
}

static void a_torn_discard_can_leave_zeroes_or_garbage(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	fill_disk(&disk, 's');
	use_rules(&disk, "t do=torn:map=01,fill=garbage");
	run_io(&disk, IO_DISCARD, 0, 4 * SEC, NULL);
	use_rules(&disk, "t do=torn:map=01,fill=zeroes");
	run_io(&disk, IO_DISCARD, 4, 2 * SEC, NULL);
	run_flagged(&disk, IO_ZEROES, 6, 2 * SEC, NULL, IO_NOUNMAP);
	assert_string_equal(MAP(&disk, 0, 10), "?.?"
					       "?....ss");
	free_disk(&disk);
}

/* 1 GiB in sectors: without larger groups that would be two million draws and half as many holes.
 */
static void a_random_tear_of_a_large_discard_is_made_of_at_most_4096_groups(void **state)
{
	const uint64_t size = 1ull << 30, group = size / 4096;
	struct disk disk = make_disk(size, 512, 1, 1);
	unsigned int kept = 0;

	(void)state;
	for (uint64_t at = 0; at < size; at += group / 2) {
		store_mark(disk.store, at, SEC);
		memset(store_data(disk.store) + at, 's', SEC);
	}
	use_rules(&disk, "t do=torn:random");
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, size, NULL), 0);
	for (uint64_t at = 0; at < size; at += group) {
		unsigned char first = store_data(disk.store)[at];

		assert_int_equal(first, store_data(disk.store)[at + group / 2]);
		kept += first == 0;
	}
	assert_in_range(kept, 1800, 2300);
	free_disk(&disk);
}

/* The map of the sectors of two blocks of 4k after a write of b over a, both of them torn. */
static const char *torn_blocks(const char *how, bool cache, uint32_t flags, bool cut)
{
	struct disk disk = cache ? make_cached_disk(DISK, 4096, 1, 7) : make_disk(DISK, 4096, 1, 7);
	static char map[17];
	char rule[80];

	memset(store_data(disk.store), 'a', DISK);
	store_mark(disk.store, 0, DISK);
	snprintf(rule, sizeof(rule), "t do=torn:%s\ncut op=read do=powercut", how);
	use_rules(&disk, rule);
	assert_int_equal(write_letter(&disk, 0, 16, 'b', flags), 16 * SEC);
	if (cut) {
		unsigned char data[4096];

		assert_int_equal(run_io(&disk, IO_READ, 8, 4096, data), -EIO);
		revive(&disk, 1, NULL);
	}
	sector_map(&disk, 0, 16, map);
	free_disk(&disk);
	return map;
}

static void a_unit_can_be_a_part_of_a_block(void **state)
{
	char map[17];

	(void)state;
	assert_string_equal(torn_blocks("keep=1s,unit=512", false, 0, false), "baaaaaaaaaaaaaaa");
	assert_string_equal(torn_blocks("keep=5k,unit=1k", false, 0, false), "bbbbbbbbbbaaaaaa");
	assert_string_equal(torn_blocks("keep-last=3s,unit=512", false, 0, false),
			    "aaaaaaaaaaaaabbb");
	assert_string_equal(torn_blocks("map=1011000001,unit=512,fill=zeroes", false, 0, false),
			    "b.bb.....b......");
	strcpy(map, torn_blocks("random,unit=512", false, 0, false));
	assert_string_equal(torn_blocks("random,unit=512", false, 0, false), map);
	/* Eight sectors that are all alike, twice: once in 2^14 seeds. */
	assert_true(memchr(map, 'a', 8) && memchr(map, 'b', 8));
	assert_true(memchr(map + 8, 'a', 8) && memchr(map + 8, 'b', 8));
}

static void a_block_that_is_torn_inside_is_volatile_or_durable_as_a_whole(void **state)
{
	(void)state;
	assert_string_equal(torn_blocks("keep=9s,unit=512", true, 0, false), "bbbbbbbbbaaaaaaa");
	assert_string_equal(torn_blocks("keep=9s,unit=512", true, 0, true), "aaaaaaaaaaaaaaaa");
	assert_string_equal(torn_blocks("keep=9s,unit=512", true, IO_FUA, true),
			    "bbbbbbbbbaaaaaaa");
}

static struct disk make_whole_write_disk(void)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = 1 },
		.cache = true,
		.cache_model = { .whole_writes = true },
	};
	struct disk disk;

	assert_int_equal(store_create(DISK, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	return disk;
}

/* Where a write survives whole or not at all, all that a torn one has left does. */
static void a_torn_write_is_one_write_of_a_cache_that_keeps_whole_ones(void **state)
{
	static const char *const rules[] = {
		"tear op=write do=torn:keep=4k,fill=zeroes",
		"tear op=write do=torn:map=101",
		"tear op=write do=torn:map=010,fill=garbage",
	};
	unsigned char old[24 * SEC], data[24 * SEC], got[24 * SEC];
	bool was_old = false, was_new = false;

	(void)state;
	memset(old, 'o', sizeof(old));
	for (uint64_t seed = 1; seed <= 40; seed++) {
		for (size_t i = 0; i < array_size(rules); i++) {
			struct disk disk = make_whole_write_disk();
			const struct power_cut cut = { .keep = KEEP_RANDOM,
						       .bits = seed,
						       .threshold = UINT64_MAX / 2 };
			struct power_cut_result result;
			bool is_old;

			run_flagged(&disk, IO_WRITE, 0, sizeof(old), old, 0);
			run_flagged(&disk, IO_FLUSH, 0, 0, NULL, 0);
			use_rules(&disk, rules[i]);
			memset(data, 'n', sizeof(data));
			run_flagged(&disk, IO_WRITE, 0, sizeof(data), data, 0);
			use_rules(&disk, "");
			run_flagged(&disk, IO_READ, 0, sizeof(data), data, 0);
			assert_int_equal(pipeline_crash(disk.pipeline, &cut, false, &result), 0);
			assert_int_equal(pipeline_revive(disk.pipeline, NULL), CONDITION_OFF);
			run_flagged(&disk, IO_READ, 0, sizeof(got), got, 0);
			is_old = memcmp(got, old, sizeof(got)) == 0;
			if (!is_old)
				assert_memory_equal(got, data, sizeof(got));
			was_old |= is_old;
			was_new |= !is_old;
			free_disk(&disk);
		}
	}
	assert_true(was_old && was_new);
}

static void tears_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("t do=torn", "rule.missing-parameter", 6, "one of keep=SIZE", NULL);
	check_error("t do=torn:keep=1s,random", "rule.conflict", 6, "only one of", NULL);
	check_error("t do=torn:keep=1s,p=1", "rule.conflict", 6, "only with random", NULL);
	check_error("t do=torn:map=01,random", "rule.conflict", 6, "only one of", NULL);
	check_error("t do=torn:map=01,p=1", "rule.conflict", 6, "only with random", NULL);
	check_error("t do=torn:map=012", "rule.bad-map", 15, "a digit for each unit", NULL);
	check_error("t do=torn:map=", "rule.bad-map", 15, "a digit for each unit", NULL);
	check_error("t do=torn:map=1,fill=ones", "rule.bad-word", 22, "zeroes", NULL);
	check_error("t do=torn:random,unit=700", "rule.bad-size", 6, "multiple of 512", NULL);
	check_error("t do=torn:random,unit=0", "rule.bad-size", 23, "size of 1s to", NULL);
	check_error("t do=torn:random,random", "rule.duplicate-parameter", 18, "twice", NULL);
	check_error("t do=torn:random=1", "rule.unwanted-value", 11, "takes no value", NULL);
	check_error("t do=torn:keep", "rule.missing-value", 11, "keep=SIZE", NULL);
	check_error("t do=torn:kep=1s", "rule.unknown-parameter", 11, "no parameter 'kep'",
		    "did you mean 'keep'?");
	check_error("t do=torn:keep=1s,", "rule.unknown-parameter", 19, "no parameter ''", NULL);
	check_error("t op=read do=torn:random", "rule.op-not-for-kind", 3, "cannot act on read",
		    NULL);
}

static void a_tear_must_fit_the_disk_s_blocks(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "t do=torn:keep=3s",
		  "rule 't': keep=3s is not a multiple of the atomic unit of 4k" },
		{ "t do=torn:keep-last=1k", "keep-last=1k is not" },
		{ "t do=torn:keep=1k,unit=512", NULL },
		{ "t do=torn:keep=3s,unit=1k",
		  "keep=3s is not a multiple of the atomic unit of 1k" },
		{ "t do=torn:random,unit=2k", NULL },
		{ "t do=torn:random,unit=3s",
		  "unit=3s is neither a multiple of the disk's logical block of 4k nor a whole part" },
		{ "t do=torn:random,unit=6k", "unit=6k is neither a multiple" },
		{ "t do=torn:random,unit=12k", NULL },
		{ "t do=torn:keep=4k,unit=8k",
		  "keep=4k is not a multiple of the atomic unit of 8k" },
		{ "t do=torn:keep=8k,unit=4k", NULL },
		{ "t do=torn:random", NULL },
	};
	const struct rule_geometry geometry = { .size_bytes = 1 << 20,
						.block_bytes = 4096,
						.nr_queues = 1 };

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct rule *rule = must_parse(cases[i].text);
		struct diag diag = { 0 };
		int err = rule_check(rule, &geometry, &diag);

		assert_int_equal(err, cases[i].says ? -EINVAL : 0);
		if (cases[i].says && !strstr(diag.message, cases[i].says))
			fail_msg("%s", diag.message);
		rule_unref(rule);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torn_write_keeps_a_prefix_and_reports_success),
		cmocka_unit_test(torn_write_keeps_a_suffix),
		cmocka_unit_test(torn_with_fail_reports_the_errno_after_storing_the_part),
		cmocka_unit_test(units_are_aligned_to_the_disk_not_to_the_request),
		cmocka_unit_test(random_tears_unit_by_unit_and_repeats_with_the_seed),
		cmocka_unit_test(random_never_tears_a_unit),
		cmocka_unit_test(random_with_a_share_keeps_about_that_share),
		cmocka_unit_test(discard_and_zeroes_are_torn_too_and_reads_never),
		cmocka_unit_test(a_map_says_unit_by_unit_and_past_its_end_nothing_is_kept),
		cmocka_unit_test(the_missing_part_can_hold_zeroes),
		cmocka_unit_test(the_missing_part_can_hold_garbage_that_repeats_with_the_seed),
		cmocka_unit_test(a_torn_fua_write_is_durable_with_all_that_it_left),
		cmocka_unit_test(a_torn_discard_can_leave_zeroes_or_garbage),
		cmocka_unit_test(a_random_tear_of_a_large_discard_is_made_of_at_most_4096_groups),
		cmocka_unit_test(a_unit_can_be_a_part_of_a_block),
		cmocka_unit_test(a_block_that_is_torn_inside_is_volatile_or_durable_as_a_whole),
		cmocka_unit_test(a_torn_write_is_one_write_of_a_cache_that_keeps_whole_ones),
		cmocka_unit_test(tears_that_make_no_sense_are_refused),
		cmocka_unit_test(a_tear_must_fit_the_disk_s_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
