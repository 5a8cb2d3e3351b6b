// SPDX-License-Identifier: MIT
/* The words content=, align=, flags=, state=, goto= and enabled=: what they select. */
#include "tests/unit/data.h"

#include "faults/rule/json.h"

#include <errno.h>

#define DISK (256 * SEC)
#define LEN  (32 * SEC)

static unsigned char data[LEN], back[LEN];

/* ---- content= */

/* Does a rule with this content= hit a write of @data, in both ways to reach it? */
static bool hits_write(struct disk *disk)
{
	int direct = run_io(disk, IO_WRITE, 0, LEN, data);

	assert_int_equal(run_copied(disk, IO_WRITE, 0, LEN, data, false), direct);
	return direct == -EIO;
}

static void use_content(struct disk *disk, const char *op, const unsigned char *bytes, size_t size,
			const char *where)
{
	char rule[256];
	int at = snprintf(rule, sizeof(rule), "c op=%s content=", op);

	for (size_t i = 0; i < size; i++)
		at += snprintf(rule + at, sizeof(rule) - (size_t)at, "%02x", bytes[i]);
	snprintf(rule + at, sizeof(rule) - (size_t)at, "%s do=error:EIO", where);
	use_rules(disk, rule);
}

/* The engine looks through windows of 4 KiB: patterns across their edges must not get lost. */
static void a_pattern_is_found_wherever_it_stands(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 17, 63, 64 };
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char pattern[64];

	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (unsigned char)(0x80 + i);
	for (size_t s = 0; s < array_size(sizes); s++) {
		size_t size = sizes[s];

		use_content(&disk, "write", pattern, size, "");
		for (size_t at = 0; at + size <= LEN; at++) {
			/* All places near an edge, some of the others. */
			if (at % 4096 > 70 && at % 4096 < 4096 - 70 && at % 1021 && at + size < LEN)
				continue;
			memset(data, 0x11, LEN);
			memcpy(data + at, pattern, size);
			if (!hits_write(&disk))
				fail_msg("%zu bytes at %zu not found", size, at);
			data[at + size - 1] ^= 1;
			if (hits_write(&disk))
				fail_msg("%zu bytes at %zu found, but one is wrong", size, at);
		}
	}
	free_disk(&disk);
}

static void a_pattern_cut_off_by_the_end_is_not_found(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	memset(data, 0x11, LEN);
	data[LEN - 1] = 0xab;
	use_rules(&disk, "c content=abcd do=error:EIO");
	assert_false(hits_write(&disk));
	/* Nor does one window lend the next request its bytes. */
	data[0] = 0xcd;
	assert_false(hits_write(&disk));
	free_disk(&disk);
}

static void with_an_offset_only_that_place_counts(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	memset(data, 0x11, LEN);
	data[1080] = 0x53;
	data[1081] = 0xef;
	use_rules(&disk, "c op=write content=53EF@1080 do=error:EIO");
	assert_true(hits_write(&disk));
	use_rules(&disk, "c op=write content=53ef@1081 do=error:EIO");
	assert_false(hits_write(&disk));
	/* The end of the request is as far as it goes. */
	use_rules(&disk, "c op=write content=ef@1081 do=error:EIO");
	assert_int_equal(run_io(&disk, IO_WRITE, 0, 2 * SEC, data), 2 * SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, 3 * SEC, data), -EIO);
	use_rules(&disk, "c op=write content=1111@511 do=error:EIO");
	assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, 2 * SEC, data), -EIO);
	free_disk(&disk);
}

static void a_read_is_asked_for_what_the_disk_holds(void **state)
{
	struct disk disk = make_disk(DISK, 512, 2, 1);

	(void)state;
	memset(data, 0x11, LEN);
	memcpy(data + 4094, "\xab\xcd\xef", 3);
	run_io(&disk, IO_WRITE, 8, LEN, data);
	use_rules(&disk, "c content=abcdef do=error:EIO");
	/* What stands in the read's own buffer does not matter. */
	memset(back, 0, LEN);
	memcpy(back, "\xab\xcd\xef", 3);
	assert_int_equal(run_io(&disk, IO_READ, 8, LEN, back), -EIO);
	assert_int_equal(run_copied(&disk, IO_READ, 8, LEN, back, false), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 8, 8 * SEC, back), 8 * SEC);
	assert_int_equal(run_io(&disk, IO_READ, 16, LEN - 8 * SEC, back), LEN - 8 * SEC);
	assert_int_equal(counts_of(&disk, "c").matches, 2);
	free_disk(&disk);
}

static void a_hole_holds_zeroes_and_stays_a_hole(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "c op=read content=000000 do=error:EIO");
	assert_int_equal(run_io(&disk, IO_READ, 8, LEN, back), -EIO);
	use_rules(&disk, "c op=read content=000001 do=error:EIO");
	assert_int_equal(run_io(&disk, IO_READ, 8, LEN, back), LEN);
	assert_int_equal(store_allocated(disk.store), 0);
	free_disk(&disk);
}

static void only_what_has_the_content_is_a_match(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "c op=write content=77 after=1 times=1 do=error:EIO");
	memset(data, 0x11, LEN);
	for (int i = 0; i < 5; i++)
		assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), SEC);
	data[17] = 0x77;
	assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), SEC);
	assert_int_equal(counts_of(&disk, "c").matches, 3);
	/* Data that cannot be fetched is no match; the write itself then says so. */
	assert_int_equal(run_copied(&disk, IO_WRITE, 0, SEC, data, true), -EFAULT);
	assert_int_equal(counts_of(&disk, "c").matches, 3);
	free_disk(&disk);
}

static void what_has_no_data_never_has_content(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "c content=00 do=error:EIO");
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 0, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(counts_of(&disk, "c").matches, 0);
	free_disk(&disk);
	check_error("c op=discard content=00 do=drop", "rule.never-matches", 14,
		    "only reads and writes have data", NULL);
	check_error("c content=0 do=drop", "rule.bad-bytes", 11, "even number of hex", NULL);
	check_error("c content=xy do=drop", "rule.bad-bytes", 11, "even number of hex", NULL);
	check_error("c content=00@ do=drop", "rule.bad-bytes", 11, "@OFFSET", NULL);
	check_error("c content=00@4G do=drop", "rule.bad-bytes", 11, "below 4G", NULL);
}

/* ---- flags= and align= */

static bool hits_with(struct disk *disk, uint32_t flags)
{
	return run_flagged(disk, IO_READ, 0, SEC, back, flags) == -EIO;
}

static void read_ahead_is_all_three_fail_fast_flags(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "f op=read flags=readahead do=error:EIO");
	assert_true(hits_with(&disk, IO_FAILFAST));
	assert_true(hits_with(&disk, IO_FAILFAST | IO_META));
	assert_false(hits_with(&disk, 0));
	assert_false(hits_with(&disk, IO_FAILFAST_DEV | IO_FAILFAST_DRIVER));
	use_rules(&disk, "f op=read flags=!readahead do=error:EIO");
	assert_false(hits_with(&disk, IO_FAILFAST));
	assert_true(hits_with(&disk, 0));
	assert_true(hits_with(&disk, IO_FAILFAST_DEV | IO_FAILFAST_TRANSPORT));
	free_disk(&disk);
}

static void flags_after_an_exclamation_mark_must_not_be_there(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "f op=read flags=meta,!swap,!readahead do=error:EIO");
	assert_true(hits_with(&disk, IO_META));
	assert_true(hits_with(&disk, IO_META | IO_FUA));
	assert_false(hits_with(&disk, 0));
	assert_false(hits_with(&disk, IO_META | IO_SWAP));
	assert_false(hits_with(&disk, IO_META | IO_FAILFAST));
	free_disk(&disk);
	check_error("f flags=fua,!fua do=drop", "rule.bad-flag", 14, "names 'fua' twice", NULL);
	check_error("f flags=! do=drop", "rule.bad-flag", 10, "wants", NULL);
}

static void aligned_are_requests_that_start_at_a_multiple(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "a align=4k do=error:EIO");
	for (uint64_t sector = 0; sector < 40; sector++)
		assert_int_equal(run_io(&disk, IO_READ, sector, SEC, back),
				 sector % 8 ? (int)SEC : -EIO);
	/* A flush has no place. */
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	/* Any multiple of a sector will do, powers of two or not. */
	use_rules(&disk, "a align=3s do=error:EIO");
	for (uint64_t sector = 0; sector < 40; sector++)
		assert_int_equal(run_io(&disk, IO_READ, sector, SEC, back),
				 sector % 3 ? (int)SEC : -EIO);
	free_disk(&disk);
	check_error("a align=0 do=drop", "rule.bad-size", 9, "size of 1s", NULL);
}

/* ---- state= and goto= */

/* The third read fails only after sector 4 was written and then sector 8. */
static void an_error_can_wait_for_a_sequence_of_requests(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "one op=write range=4s..5s state=start goto=seen-4 do=count\n"
			 "two op=write range=8s..9s state=seen-4 goto=armed do=count\n"
			 "bang op=read state=armed times=1 goto=start do=error:EIO\n");
	assert_string_equal(pipeline_state(disk.pipeline), "start");
	run_io(&disk, IO_WRITE, 8, SEC, data);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), SEC);
	run_io(&disk, IO_WRITE, 4, SEC, data);
	assert_string_equal(pipeline_state(disk.pipeline), "seen-4");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), SEC);
	run_io(&disk, IO_WRITE, 8, SEC, data);
	assert_string_equal(pipeline_state(disk.pipeline), "armed");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), -EIO);
	assert_string_equal(pipeline_state(disk.pipeline), "start");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), SEC);
	assert_int_equal(counts_of(&disk, "one").matches, 1);
	assert_int_equal(counts_of(&disk, "two").matches, 1);
	assert_int_equal(counts_of(&disk, "bang").matches, 1);
	free_disk(&disk);
}

static void a_request_is_judged_by_the_state_that_it_found(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	/* "late" does not see what "turn" does to the same request; the last goto= wins. */
	use_rules(&disk, "turn op=read state=start goto=other do=count\n"
			 "late op=read state=other goto=third do=error:EIO\n"
			 "also op=read state=start goto=other do=count\n");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), SEC);
	assert_string_equal(pipeline_state(disk.pipeline), "other");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), -EIO);
	assert_string_equal(pipeline_state(disk.pipeline), "third");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), SEC);
	free_disk(&disk);
}

static void only_hits_change_the_state(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "turn op=read after=2 goto=other do=count\n"
			 "never op=read p=0 goto=nowhere do=count\n");
	for (int i = 0; i < 2; i++) {
		run_io(&disk, IO_READ, 0, SEC, back);
		assert_string_equal(pipeline_state(disk.pipeline), "start");
	}
	run_io(&disk, IO_READ, 0, SEC, back);
	assert_string_equal(pipeline_state(disk.pipeline), "other");
	free_disk(&disk);
}

static void the_state_is_the_disk_s_and_outlives_the_rules(void **state)
{
	struct disk disk = make_disk(DISK, 512, 2, 1);
	struct io io = make_io(IO_READ, 0, SEC, back);

	(void)state;
	use_rules(&disk, "turn op=write goto=hot do=count\nhot op=read state=hot do=error:EIO");
	pipeline_adopt(disk.pipeline, 1);
	run_io(&disk, IO_WRITE, 0, SEC, data);
	io.queue = 1;
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_DONE);
	assert_int_equal(io.result, -EIO);
	use_rules(&disk, "cold op=read state=start do=error:EIO");
	assert_string_equal(pipeline_state(disk.pipeline), "");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), SEC);
	use_rules(&disk, "hot op=read state=hot do=error:EIO");
	assert_string_equal(pipeline_state(disk.pipeline), "hot");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), -EIO);
	free_disk(&disk);
}

/* ---- enabled= */

static void a_disabled_rule_is_not_asked_and_keeps_its_counters(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct rule_set *set = must_set("a op=read after=1 do=error:EIO\n"
					"b op=read enabled=no do=error:ENOSPC");
	struct rule *rule = rule_set_at(set, 0);

	(void)state;
	for (int round = 0; round < 3; round++) {
		rule_enable(rule, round != 1);
		assert_int_equal(rule_enabled(rule), round != 1);
		assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, NULL), 0);
		pipeline_adopt(disk.pipeline, 0);
		for (int i = 0; i < 2; i++)
			assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back),
					 round == 1 || (round == 0 && i == 0) ? (int)SEC : -EIO);
	}
	assert_int_equal(counts_of(&disk, "a").matches, 4);
	assert_int_equal(counts_of(&disk, "a").hits, 3);
	assert_int_equal(counts_of(&disk, "b").matches, 0);
	rule_enable(rule, false);
	rule_enable(rule_set_at(set, 1), true);
	pipeline_publish(disk.pipeline, set, 0, NULL, NULL);
	pipeline_adopt(disk.pipeline, 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, back), -ENOSPC);
	rule_set_free(set);
	free_disk(&disk);
}

static void a_disabled_rule_changes_no_state(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "turn enabled=no op=read goto=other do=count");
	run_io(&disk, IO_READ, 0, SEC, back);
	assert_string_equal(pipeline_state(disk.pipeline), "start");
	free_disk(&disk);
}

static void survives(const char *text, const char *printed)
{
	struct rule *rule = must_parse(text), *again, *other = NULL;
	char *out = rule_print(rule);
	json_t *json = rule_to_json(rule);
	struct diag diag = { 0 };

	assert_string_equal(out, printed);
	again = must_parse(out);
	assert_true(rule_equal(rule, again));
	if (rule_from_json(json, &diag, &other) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	assert_true(rule_equal(rule, other));
	assert_int_equal(rule_enabled(other), rule_enabled(rule));
	assert_string_equal(json_string_value(json_object_get(json, "enabled")) ?: "yes",
			    rule_enabled(rule) ? "yes" : "no");
	json_decref(json);
	free(out);
	rule_unref(rule);
	rule_unref(again);
	rule_unref(other);
}

static void rules_with_these_words_survive_printing_and_json(void **state)
{
	struct rule *on = must_parse("a do=drop"), *off = must_parse("a enabled=no do=drop");

	(void)state;
	survives("a enabled=no op=read do=error:EIO", "a op=read enabled=no do=error:EIO");
	survives("a enabled=yes op=read do=error:EIO", "a op=read do=error:EIO");
	survives("a goto=x state=y content=AB01@1k flags=readahead,!fua align=4k op=write do=drop",
		 "a op=write align=4k flags=!fua,readahead state=y content=ab01@1k goto=x do=drop");
	assert_false(rule_equal(on, off));
	rule_enable(off, true);
	assert_true(rule_equal(on, off));
	rule_enable(on, false);
	assert_false(rule_equal(on, off));
	rule_unref(on);
	rule_unref(off);
	check_error("a enabled=maybe do=drop", "rule.bad-word", 11, "yes", NULL);
	check_error("a state=a,b do=drop", "rule.bad-name", 9, "letters", NULL);
	check_error("a goto= do=drop", "rule.bad-name", 8, "letters", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_is_found_wherever_it_stands),
		cmocka_unit_test(a_pattern_cut_off_by_the_end_is_not_found),
		cmocka_unit_test(with_an_offset_only_that_place_counts),
		cmocka_unit_test(a_read_is_asked_for_what_the_disk_holds),
		cmocka_unit_test(a_hole_holds_zeroes_and_stays_a_hole),
		cmocka_unit_test(only_what_has_the_content_is_a_match),
		cmocka_unit_test(what_has_no_data_never_has_content),
		cmocka_unit_test(read_ahead_is_all_three_fail_fast_flags),
		cmocka_unit_test(flags_after_an_exclamation_mark_must_not_be_there),
		cmocka_unit_test(aligned_are_requests_that_start_at_a_multiple),
		cmocka_unit_test(an_error_can_wait_for_a_sequence_of_requests),
		cmocka_unit_test(a_request_is_judged_by_the_state_that_it_found),
		cmocka_unit_test(only_hits_change_the_state),
		cmocka_unit_test(the_state_is_the_disk_s_and_outlives_the_rules),
		cmocka_unit_test(a_disabled_rule_is_not_asked_and_keeps_its_counters),
		cmocka_unit_test(a_disabled_rule_changes_no_state),
		cmocka_unit_test(rules_with_these_words_survive_printing_and_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
