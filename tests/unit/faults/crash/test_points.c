// SPDX-License-Identifier: MIT
/* Cases with a name; tests/sim/crash_points.h holds the points against all moments. */
#include "tests/unit/check.h"

#include "faults/crash/crash.h"

enum { BLOCK = 512 };

static struct journal *new_journal(void)
{
	const struct journal_disk disk = {
		.name = "disk", .size_bytes = 8 * BLOCK, .block_bytes = BLOCK, .cache = true
	};
	struct journal *journal;

	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disk), 0);
	return journal;
}

static void add_write(struct journal *journal, uint64_t submit, uint64_t complete, bool survivor)
{
	static const unsigned char data[BLOCK] = { 1 };
	const struct journal_write write = { .submit = submit,
					     .complete = complete,
					     .len_bytes = BLOCK,
					     .data = data,
					     .flags = survivor ? IO_FUA : 0,
					     .op = IO_WRITE,
					     .survivor = survivor };

	assert_int_equal(journal_add_write(journal, &write), 0);
}

/* The steps of the journal of the points of a set from @from to @to: "3 20". */
static const char *points_of(const struct journal *journal, enum crash_set set, uint64_t from,
			     uint64_t to)
{
	static char text[64];
	const struct crash_options by_unit = { 0 };
	const struct crash_select select = { .set = set, .from = from, .to = to, .has_to = true };
	struct crash_point *points;
	size_t nr, at = 0;

	assert_int_equal(crash_points(journal, &by_unit, &select, &points, &nr), 0);
	for (size_t i = 0; i < nr; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu", i ? " " : "",
				       (unsigned long long)points[i].step);
	free(points);
	return text;
}

static const char *points(const struct journal *journal, uint64_t from, uint64_t to)
{
	return points_of(journal, CRASH_SET_DEFAULT, from, to);
}

static void the_moment_that_lasts_at_the_first_step_counts(void **state)
{
	const struct journal_flush flush = { .submit = 3, .complete = 20 };
	struct journal *journal = new_journal();

	(void)state;
	add_write(journal, 1, 2, false);
	assert_int_equal(journal_add_flush(journal, &flush), 0);
	assert_int_equal(journal_seal(journal, NULL), 0);
	assert_string_equal(points(journal, 10, 15), "3");
	assert_string_equal(points(journal, 3, 30), "3 20");
	assert_string_equal(points(journal, 10, 30), "3 20");
	assert_string_equal(points(journal, 19, 30), "3 20");
	assert_string_equal(points(journal, 20, 30), "20");
	assert_string_equal(points(journal, 25, 30), "20");
	journal_free(journal);
}

/* There is no moment while a cut is decided: the one before it lasts until then. */
static void the_moment_before_a_cut_lasts_until_all_that_was_kept_is_there(void **state)
{
	struct journal *journal = new_journal();

	(void)state;
	add_write(journal, 1, 2, false);
	for (uint64_t i = 0; i < 3; i++)
		add_write(journal, 10 + i, 13 + i, true);
	assert_int_equal(journal_seal(journal, NULL), 0);
	assert_string_equal(points(journal, 5, 30), "2 15");
	assert_string_equal(points(journal, 12, 14), "2");
	assert_string_equal(points(journal, 10, 30), "2 15");
	assert_string_equal(points(journal, 14, 30), "2 15");
	assert_string_equal(points(journal, 15, 30), "15");
	journal_free(journal);
}

/* A write, which users see at step 4 and from step 9 on completed; a flush at 12, and at 20 what
 * completes it, and another write, together; a mark at 23. */
static struct journal *new_shown(void)
{
	static const uint64_t shown[] = { 4, 9, 9, 12, 20, 20, 23 };
	const struct journal_flush flush = { .submit = 4, .complete = 5 };
	struct journal *journal = new_journal();

	add_write(journal, 1, 2, false);
	add_write(journal, 3, 6, false);
	assert_int_equal(journal_add_flush(journal, &flush), 0);
	assert_int_equal(journal_add_mark(journal, 7, 0, "here", 4), 0);
	for (size_t i = 0; i < array_size(shown); i++)
		assert_int_equal(journal_show(journal, i + 1, shown[i]), 0);
	assert_int_equal(journal_seal(journal, NULL), 0);
	return journal;
}

/* What users see at one step is one: no moment is between its parts. */
static void what_is_seen_at_one_step_makes_one_point(void **state)
{
	struct journal *journal = new_shown();

	(void)state;
	assert_string_equal(points(journal, 0, 30), "4 7");
	assert_string_equal(points_of(journal, CRASH_SET_COMPLETIONS, 0, 30), "4 6 7");
	journal_free(journal);
}

/* The bounds are steps as users see them, and so are those at which nothing happened. */
static void bounds_between_the_steps_that_are_seen_hold(void **state)
{
	struct journal *journal = new_shown();

	(void)state;
	/* Before all of them nothing has happened. */
	assert_string_equal(points(journal, 0, 0), "0");
	assert_string_equal(points(journal, 2, 3), "0");
	assert_string_equal(points(journal, 2, 4), "1");
	/* The moment after 12 lasts until 20, so it is in what begins between them; not at 20. */
	assert_string_equal(points(journal, 13, 19), "4");
	assert_string_equal(points(journal, 13, 30), "4 7");
	assert_string_equal(points(journal, 19, 30), "4 7");
	assert_string_equal(points(journal, 20, 30), "7");
	assert_string_equal(points(journal, 13, 22), "4 6");
	/* A mark before the range is none of it. */
	assert_string_equal(points_of(journal, CRASH_SET_MARKS, 23, 30), "7");
	assert_string_equal(points_of(journal, CRASH_SET_MARKS, 5, 22), "6");
	journal_free(journal);
}

/* What completed before the range is no completion of it. */
static void a_completion_before_the_range_is_none_of_it(void **state)
{
	static const uint64_t shown[] = { 1, 3, 9, 11 };
	struct journal *journal = new_journal();

	(void)state;
	add_write(journal, 1, 2, false);
	add_write(journal, 3, 4, false);
	for (size_t i = 0; i < array_size(shown); i++)
		assert_int_equal(journal_show(journal, i + 1, shown[i]), 0);
	assert_int_equal(journal_seal(journal, NULL), 0);
	assert_string_equal(points_of(journal, CRASH_SET_COMPLETIONS, 3, 30), "2 4");
	assert_string_equal(points_of(journal, CRASH_SET_COMPLETIONS, 5, 30), "4");
	journal_free(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_moment_that_lasts_at_the_first_step_counts),
		cmocka_unit_test(the_moment_before_a_cut_lasts_until_all_that_was_kept_is_there),
		cmocka_unit_test(what_is_seen_at_one_step_makes_one_point),
		cmocka_unit_test(bounds_between_the_steps_that_are_seen_hold),
		cmocka_unit_test(a_completion_before_the_range_is_none_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
