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

/* The steps of the points from @from to @to: "3 20". */
static const char *points(const struct journal *journal, uint64_t from, uint64_t to)
{
	static char text[64];
	const struct crash_options by_unit = { 0 };
	const struct crash_select select = { .from = from, .to = to };
	struct crash_point *points;
	size_t nr, at = 0;

	assert_int_equal(crash_points(journal, &by_unit, &select, &points, &nr), 0);
	for (size_t i = 0; i < nr; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu", i ? " " : "",
				       (unsigned long long)points[i].step);
	free(points);
	return text;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_moment_that_lasts_at_the_first_step_counts),
		cmocka_unit_test(the_moment_before_a_cut_lasts_until_all_that_was_kept_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
