// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/cached_disk.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>

#define DISK (64 * SEC)

/* One letter for how each operation on sector @s ends, in the order of enum io_op. */
static const char *ends(struct disk *disk, uint64_t s, char text[IO_NR_OPS + 1])
{
	static const struct {
		int err;
		char letter;
	} letters[] = {
		{ -EIO, 'E' }, { -ENOSPC, 'S' }, { -ENODEV, 'G' }, { 0, '.' }, { SEC, '.' }
	};
	unsigned char data[SEC] = { 'w' };

	for (enum io_op op = 0; op < IO_NR_OPS; op++) {
		int got = run_io(disk, op, op == IO_FLUSH ? 0 : s, op == IO_FLUSH ? 0 : SEC, data);

		text[op] = '?';
		for (size_t i = 0; i < array_size(letters); i++)
			if (letters[i].err == got)
				text[op] = letters[i].letter;
	}
	text[IO_NR_OPS] = '\0';
	return text;
}
#define ENDS(disk, s) ends((disk), (s), (char[IO_NR_OPS + 1]){ 0 })

static void a_worn_disk_is_read_only_until_it_is_revived(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "worn op=write after=1 times=1 do=short-life:read-only");
	assert_int_equal(write_letter(&disk, 3, 1, 'a', 0), SEC);
	/* The write that is hit ends as on a read-only disk. */
	assert_int_equal(write_letter(&disk, 3, 1, 'b', 0), -EIO);
	assert_string_equal(ENDS(&disk, 3), ".E.EE");
	assert_string_equal(MAP(&disk, 2, 4), ".a..");
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_READ_ONLY);
	assert_string_equal(ENDS(&disk, 3), ".....");
	free_disk(&disk);
}

static void a_read_that_makes_the_disk_read_only_is_carried_out(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	memset(store_data(disk.store), 'a', DISK);
	store_mark(disk.store, 0, DISK);
	use_rules(&disk, "worn op=read do=short-life:read-only");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), SEC);
	assert_int_equal(data[0], 'a');
	assert_int_equal(write_letter(&disk, 0, 1, 'b', 0), -EIO);
	free_disk(&disk);
}

static void a_full_disk_takes_only_what_overwrites(void **state)
{
	struct disk disk = make_disk(16 * 4096, 512, 1, 1);

	(void)state;
	assert_int_equal(write_letter(&disk, 8, 16, 'a', 0), 16 * SEC);
	use_rules(&disk, "full op=write range=120s.. do=short-life:no-space");
	assert_int_equal(write_letter(&disk, 120, 1, 'b', 0), -ENOSPC);
	assert_int_equal(write_letter(&disk, 8, 16, 'c', 0), 16 * SEC);
	assert_int_equal(write_letter(&disk, 7, 2, 'd', 0), -ENOSPC);
	assert_int_equal(write_letter(&disk, 23, 2, 'd', 0), -ENOSPC);
	assert_string_equal(MAP(&disk, 6, 20), "..cccccccccccccccc..");
	assert_int_equal(run_flagged(&disk, IO_ZEROES, 64, SEC, NULL, IO_NOUNMAP), -ENOSPC);
	assert_int_equal(run_io(&disk, IO_ZEROES, 64, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	/* What is discarded is given back, and is gone. */
	assert_int_equal(run_io(&disk, IO_DISCARD, 8, 8 * SEC, NULL), 0);
	assert_int_equal(write_letter(&disk, 8, 1, 'e', 0), -ENOSPC);
	assert_int_equal(write_letter(&disk, 16, 8, 'e', 0), 8 * SEC);
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_NO_SPACE);
	assert_int_equal(write_letter(&disk, 8, 1, 'e', 0), SEC);
	free_disk(&disk);
}

static void a_disk_shrinks_and_shrinks_again_but_never_grows(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "a op=read range=1s..2s do=short-life:shrink=32s\n"
			 "b op=read range=2s..3s do=short-life:shrink=16s\n"
			 "c op=read range=3s..4s do=short-life:shrink=48s");
	assert_string_equal(ENDS(&disk, 63), ".....");
	assert_string_equal(ENDS(&disk, 1), ".....");
	assert_string_equal(ENDS(&disk, 31), ".....");
	assert_string_equal(ENDS(&disk, 32), "EE.EE");
	assert_int_equal(write_letter(&disk, 31, 2, 'x', 0), -EIO);
	assert_string_equal(ENDS(&disk, 3), ".....");
	assert_string_equal(ENDS(&disk, 40), "EE.EE");
	assert_string_equal(ENDS(&disk, 2), ".....");
	assert_string_equal(ENDS(&disk, 15), ".....");
	assert_string_equal(ENDS(&disk, 16), "EE.EE");
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_SHRUNK);
	assert_string_equal(ENDS(&disk, 63), ".....");
	assert_string_equal(ENDS(&disk, 3), ".....");
	assert_string_equal(ENDS(&disk, 48), "EE.EE");
	assert_string_equal(ENDS(&disk, 47), ".....");
	free_disk(&disk);
}

static void a_disk_that_is_gone_answers_nothing_and_keeps_its_cache(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io late = make_io(IO_WRITE, 9, SEC, data);
	uint64_t lost = 99;

	(void)state;
	memset(data, 'l', SEC);
	use_rules(&disk, "slow op=write range=9s..10s do=delay:1s\n"
			 "away op=flush do=short-life:gone=5s");
	assert_int_equal(write_letter(&disk, 1, 2, 'v', 0), 2 * SEC);
	assert_int_equal(pipeline_submit(disk.pipeline, &late, 0), IO_PARKED);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), -ENODEV);
	assert_string_equal(ENDS(&disk, 1), "GGGGG");
	assert_int_equal(pipeline_condition(disk.pipeline)->gone_ns, 5 * NSEC_PER_SEC);
	/* With I/O in flight. */
	pipeline_resume(disk.pipeline, &late, 0);
	assert_int_equal(late.result, -ENODEV);
	assert_int_equal(revive(&disk, 1, &lost), CONDITION_GONE);
	/* The cable was pulled, not the power. */
	assert_int_equal(lost, 0);
	assert_string_equal(MAP(&disk, 0, 10), ".vv.......");
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 2);
	free_disk(&disk);
}

static void conditions_add_up_and_the_worst_is_named(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "a op=read range=0..1s do=short-life:read-only\n"
			 "b op=read range=1s..2s do=short-life:shrink=32s\n"
			 "c op=read range=2s..3s do=short-life:gone\n"
			 "d op=read range=3s..4s do=short-life:no-space");
	assert_string_equal(condition_name(condition_bits(pipeline_condition(disk.pipeline))),
			    "well");
	assert_string_equal(ENDS(&disk, 0), ".E.EE");
	assert_string_equal(condition_name(condition_bits(pipeline_condition(disk.pipeline))),
			    "read-only");
	assert_string_equal(ENDS(&disk, 1), ".E.EE");
	assert_string_equal(ENDS(&disk, 32), "EE.EE");
	assert_string_equal(ENDS(&disk, 3), ".E.EE");
	assert_string_equal(ENDS(&disk, 2), "GGGGG");
	assert_string_equal(condition_name(condition_bits(pipeline_condition(disk.pipeline))),
			    "gone");
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_READ_ONLY | CONDITION_SHRUNK |
							 CONDITION_GONE | CONDITION_NO_SPACE);
	assert_string_equal(ENDS(&disk, 33), ".....");
	free_disk(&disk);
}

static int wakes;

static void note_wake(void *ctx)
{
	(void)ctx;
	wakes++;
}

static void the_control_thread_hears_of_a_new_condition(void **state)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = 1 },
		.wake = note_wake
	};
	struct disk disk;

	(void)state;
	assert_int_equal(store_create(DISK, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	use_rules(&disk, "a op=write do=short-life:read-only");
	assert_int_equal(write_letter(&disk, 0, 1, 'x', 0), -EIO);
	assert_int_equal(wakes, 1);
	assert_int_equal(write_letter(&disk, 0, 1, 'x', 0), -EIO);
	assert_int_equal(wakes, 1);
	free_disk(&disk);
}

static void parameters_that_make_no_sense_are_refused(void **state)
{
	struct disk disk = make_disk(DISK, 4096, 1, 1);
	struct rule_set *set = must_set("a do=short-life:shrink=32k");
	struct rule_set *odd = must_set("a do=short-life:shrink=512");
	struct rule *rule = must_parse("a do=short-life:gone=0s");
	char *text = rule_print(rule);
	struct diag diag;

	(void)state;
	assert_string_equal(text, "a do=short-life:gone");
	free(text);
	rule_unref(rule);
	check_error("a do=short-life", "rule.missing-parameter", 6, "wants one of read-only",
		    "short-life:read-only");
	check_error("a do=short-life:gone,read-only", "rule.conflict", 6, "only one of",
		    "short-life:read-only");
	check_error("a do=short-life:read-only,with=b", "rule.conflict", 6, "together with gone",
		    "short-life:gone,with=b");
	check_error("a do=short-life:readonly", "rule.unknown-parameter", 17, "'readonly'",
		    "read-only");
	check_error("a do=short-life:read-only=yes", "rule.unwanted-value", 17, "takes no value",
		    NULL);
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, &diag, NULL), -EINVAL);
	assert_string_equal(diag.message, "rule 'a': shrink=32k leaves all of a disk of 32k");
	assert_int_equal(pipeline_publish(disk.pipeline, odd, 0, &diag, NULL), -EINVAL);
	assert_non_null(strstr(diag.message, "not a multiple of the disk's logical block of 4k"));
	rule_set_free(set);
	rule_set_free(odd);
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worn_disk_is_read_only_until_it_is_revived),
		cmocka_unit_test(a_read_that_makes_the_disk_read_only_is_carried_out),
		cmocka_unit_test(a_full_disk_takes_only_what_overwrites),
		cmocka_unit_test(a_disk_shrinks_and_shrinks_again_but_never_grows),
		cmocka_unit_test(a_disk_that_is_gone_answers_nothing_and_keeps_its_cache),
		cmocka_unit_test(conditions_add_up_and_the_worst_is_named),
		cmocka_unit_test(the_control_thread_hears_of_a_new_condition),
		cmocka_unit_test(parameters_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
