// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/journal/journal.h"

#include <errno.h>

static const struct journal_disk disk_a = {
	.name = "a", .size_bytes = 65536, .block_bytes = 512, .cache = true
};
static const struct journal_disk disk_b = { .name = "b", .size_bytes = 65536, .block_bytes = 4096 };

static struct journal *make_journal(void)
{
	struct journal *journal = NULL;

	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disk_a), 0);
	assert_int_equal(journal_add_disk(journal, &disk_b), 0);
	return journal;
}

static struct journal_write make_write(uint64_t submit, uint64_t complete, uint16_t disk,
				       uint64_t at, uint64_t len)
{
	return (struct journal_write){ .submit = submit,
				       .complete = complete,
				       .at = at,
				       .len_bytes = len,
				       .submit_ns = submit * 100,
				       .complete_ns = complete * 100,
				       .op = IO_DISCARD,
				       .disk = disk };
}

static void add_write(struct journal *journal, struct journal_write write)
{
	assert_int_equal(journal_add_write(journal, &write), 0);
}

static void what_was_added_in_any_order_is_sorted_and_lined_up(void **state)
{
	static const uint64_t steps[] = { 1, 2, 3, 4, 5, 7, 9 };
	static const uint8_t whats[] = { JOURNAL_SUBMIT,        JOURNAL_SUBMIT,   JOURNAL_MARK,
					 JOURNAL_FLUSH_SUBMIT,  JOURNAL_COMPLETE, JOURNAL_COMPLETE,
					 JOURNAL_FLUSH_COMPLETE };
	struct journal_flush flush = {
		.submit = 4, .complete = 9, .submit_ns = 400, .complete_ns = 1000
	};
	struct journal *journal = make_journal();
	struct diag diag;

	(void)state;
	assert_int_equal(journal_add_flush(journal, &flush), 0);
	add_write(journal, make_write(2, 5, 1, 4096, 4096));
	add_write(journal, make_write(1, 7, 0, 0, 512));
	assert_int_equal(journal_add_mark(journal, 3, 300, "begun and more", 5), 0);
	assert_int_equal(journal_seal(journal, &diag), 0);
	assert_int_equal(journal->writes[0].submit, 1);
	assert_int_equal(journal->writes[1].submit, 2);
	assert_string_equal(journal->marks[0].text, "begun");
	assert_int_equal(journal->nr_events, array_size(steps));
	for (size_t i = 0; i < array_size(steps); i++) {
		assert_int_equal(journal->events[i].step, steps[i]);
		assert_int_equal(journal->events[i].what, whats[i]);
	}
	assert_int_equal(journal->end_step, 9);
	assert_int_equal(journal->start_ns, 100);
	assert_int_equal(journal->end_ns, 1000);
	journal_free(journal);
}

static void a_write_that_never_completed_has_one_event(void **state)
{
	struct journal *journal = make_journal();
	struct diag diag;

	(void)state;
	add_write(journal, make_write(1, JOURNAL_NEVER, 0, 0, 512));
	assert_int_equal(journal_seal(journal, &diag), 0);
	assert_int_equal(journal->nr_events, 1);
	assert_int_equal(journal->end_step, 1);
	journal_free(journal);
}

static uint64_t id_with(unsigned int what)
{
	static unsigned char data[512], other[512] = { 1 };
	struct journal *journal = make_journal();
	struct journal_write write = make_write(1, 3, 0, 512, 512);
	struct journal_flush flush = { .submit = 4, .complete = 5 };
	struct journal_extent extent = { 0, 0, 512, what == 6 ? other : data };
	struct diag diag;
	uint64_t id;

	write.data = what == 1 ? NULL : what == 2 ? other : data;
	write.flags = what == 3 ? IO_FUA : 0;
	write.complete = what == 4 ? 2 : 3;
	write.false_ack = what == 7;
	flush.failed = what == 8;
	add_write(journal, write);
	assert_int_equal(journal_add_flush(journal, &flush), 0);
	assert_int_equal(journal_add_extent(journal, &extent), 0);
	assert_int_equal(journal_add_mark(journal, 6, 0, what == 5 ? "y" : "x", 1), 0);
	assert_int_equal(journal_seal(journal, &diag), 0);
	id = journal->id;
	journal_free(journal);
	return id;
}

static void the_id_is_the_same_for_the_same_and_another_for_anything_else(void **state)
{
	uint64_t ids[9];

	(void)state;
	for (unsigned int i = 0; i < 9; i++) {
		ids[i] = id_with(i);
		assert_int_equal(ids[i], id_with(i));
		for (unsigned int k = 0; k < i; k++)
			assert_int_not_equal(ids[i], ids[k]);
	}
}

static void refuse(struct journal *journal, const char *id, const char *says)
{
	struct diag diag = { 0 };

	assert_int_equal(journal_seal(journal, &diag), -EINVAL);
	assert_string_equal(diag.id, id);
	if (!strstr(diag.message, says))
		fail_msg("'%s' does not say '%s'", diag.message, says);
	journal_free(journal);
}

static void writes_that_contradict_are_refused_with_words(void **state)
{
	static const struct {
		struct journal_write write;
		const char *id, *says;
	} cases[] = {
		{ { .submit = 5, .complete = 4, .len_bytes = 512 }, "journal.order", "step 4" },
		{ { .submit = 5, .complete = 5, .len_bytes = 512 }, "journal.order", "step 5" },
		{ { .submit = 0, .complete = 5, .len_bytes = 512 },
		  "journal.order",
		  "begin with 1" },
		{ { .submit = 1, .complete = 3, .len_bytes = 512 }, "journal.step", "step 1" },
		{ { .submit = 4, .complete = 5, .len_bytes = 0 }, "journal.outside", "0 bytes" },
		{ { .submit = 4, .complete = 5, .at = 65536, .len_bytes = 512 },
		  "journal.outside",
		  "at 65536" },
		{ { .submit = 4, .complete = 5, .at = 512, .len_bytes = UINT64_MAX - 511 },
		  "journal.outside",
		  "disk a has 65536" },
		{ { .submit = 4, .complete = 5, .at = 100, .len_bytes = 512 },
		  "journal.not-whole-blocks",
		  "blocks of 512" },
		{ { .submit = 4, .complete = 5, .disk = 1, .len_bytes = 512 },
		  "journal.not-whole-blocks",
		  "blocks of 4096" },
		{ { .submit = 4, .complete = 5, .disk = 2, .len_bytes = 512 },
		  "journal.no-such-disk",
		  "disk 2" },
	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct journal *journal = make_journal();

		add_write(journal, make_write(1, 2, 0, 0, 512));
		add_write(journal, cases[i].write);
		refuse(journal, cases[i].id, cases[i].says);
	}
}

static void flushes_marks_and_content_that_contradict_are_refused(void **state)
{
	static const unsigned char data[1024];
	struct journal_flush flush = { .submit = 7, .complete = 3 };
	struct journal_extent extents[] = { { 1, 100, 200, data },
					    { 1, 299, 10, data },
					    { 0, 65000, 1000, data },
					    { 9, 0, 1, data } };
	struct journal *journal = make_journal();

	(void)state;
	journal_add_flush(journal, &flush);
	refuse(journal, "journal.order", "flush at step 7");
	journal = make_journal();
	flush = (struct journal_flush){ .submit = 1, .complete = 3, .disk = 5 };
	journal_add_flush(journal, &flush);
	refuse(journal, "journal.no-such-disk", "disk 5");
	journal = make_journal();
	journal_add_mark(journal, 1, 0, "two\nlines", 9);
	refuse(journal, "journal.bad-mark", "one line");
	journal = make_journal();
	journal_add_mark(journal, 0, 0, "none", 4);
	refuse(journal, "journal.step", "step 0");
	journal = make_journal();
	journal_add_extent(journal, &extents[1]);
	journal_add_extent(journal, &extents[0]);
	refuse(journal, "journal.overlap", "byte 299");
	for (size_t i = 2; i < 4; i++) {
		journal = make_journal();
		journal_add_extent(journal, &extents[i]);
		refuse(journal, i == 2 ? "journal.outside" : "journal.no-such-disk", "content");
	}
}

static void disks_that_are_none_are_refused(void **state)
{
	static const struct journal_disk disks[] = {
		{ .name = "x", .size_bytes = 65536, .block_bytes = 100 },
		{ .name = "x", .size_bytes = 65536, .block_bytes = 0 },
		{ .name = "x", .size_bytes = 0, .block_bytes = 512 },
		{ .name = "x", .size_bytes = 1000, .block_bytes = 512 },
		{ .name = "a", .size_bytes = 65536, .block_bytes = 512 },
		{ .name = "x", .size_bytes = 65536, .block_bytes = 768 },
	};
	struct journal *journal;

	(void)state;
	assert_int_equal(journal_new(&journal), 0);
	refuse(journal, "journal.no-disk", "no disk");
	for (size_t i = 0; i < array_size(disks); i++) {
		journal = make_journal();
		journal_add_disk(journal, &disks[i]);
		refuse(journal, "journal.bad-disk", i == 4 ? "'a'" : "disk x");
	}
	assert_int_equal(journal_new(&journal), 0);
	for (int i = 0; i < JOURNAL_DISKS_MAX; i++)
		assert_int_equal(journal_add_disk(journal, &disk_a), 0);
	assert_int_equal(journal_add_disk(journal, &disk_a), -E2BIG);
	journal_free(journal);
}

/* Users see its step 1 as 101. */
static struct journal *make_shown(void)
{
	struct journal *journal = make_journal();

	for (uint64_t step = 1; step < 9; step++)
		assert_int_equal(journal_show(journal, step, 100 + step), 0);
	return journal;
}

/* Made by hand its steps are what users see; told otherwise, words name what users see. */
static void words_name_the_steps_that_users_see(void **state)
{
	struct journal_flush flush = { .submit = 3, .complete = 4, .disk = 5 };
	struct journal *journal = make_journal();

	(void)state;
	for (uint64_t step = 0; step < 9; step++) {
		assert_int_equal(journal_shown(journal, step), step);
		assert_int_equal(journal_step(journal, step), step);
	}
	assert_int_equal(journal_shown(journal, JOURNAL_NEVER), JOURNAL_NEVER);
	journal_free(journal);
	journal = make_shown();
	add_write(journal, make_write(1, 2, 7, 0, 512));
	refuse(journal, "journal.no-such-disk", "the write at step 101 is of disk 7");
	journal = make_shown();
	assert_int_equal(journal_add_flush(journal, &flush), 0);
	refuse(journal, "journal.no-such-disk", "the flush at step 103 is of disk 5");
	journal = make_shown();
	assert_int_equal(journal_add_mark(journal, 5, 0, "two\nlines", 9), 0);
	refuse(journal, "journal.bad-mark", "the mark at step 105");
	journal = make_shown();
	add_write(journal, make_write(4, 4, 0, 0, 512));
	refuse(journal, "journal.order", "the write at step 104 completed at step 104");
	journal = make_shown();
	add_write(journal, make_write(4, 6, 0, 0, 512));
	add_write(journal, make_write(5, 6, 0, 0, 512));
	refuse(journal, "journal.step", "two things at step 106");
}

static void memory_that_was_given_is_freed_with_it(void **state)
{
	struct journal *journal = make_journal();

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(journal_own(journal, malloc(10)), 0);
	assert_null(journal_free(journal));
	assert_null(journal_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_in_any_order_is_sorted_and_lined_up),
		cmocka_unit_test(a_write_that_never_completed_has_one_event),
		cmocka_unit_test(the_id_is_the_same_for_the_same_and_another_for_anything_else),
		cmocka_unit_test(writes_that_contradict_are_refused_with_words),
		cmocka_unit_test(flushes_marks_and_content_that_contradict_are_refused),
		cmocka_unit_test(disks_that_are_none_are_refused),
		cmocka_unit_test(words_name_the_steps_that_users_see),
		cmocka_unit_test(memory_that_was_given_is_freed_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
