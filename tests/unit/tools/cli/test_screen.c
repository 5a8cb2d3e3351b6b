// SPDX-License-Identifier: MIT
/* How much room a text takes, tables that have too little of it, and the line that tells of progress. */
#include "tests/unit/check.h"
#include "tools/cli/screen.h"
#include "tools/cli/table.h"
#include "tools/explore/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDE  "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" /* three characters of two columns */
#define ACUTE "e\xcc\x81"                            /* a letter, and what stands above it */

static size_t width(const char *text)
{
	return screen_width(text, strlen(text));
}

static void a_text_takes_the_columns_that_a_terminal_gives_it(void **state)
{
	size_t got;

	(void)state;
	assert_int_equal(width(""), 0);
	assert_int_equal(width("plain text"), 10);
	assert_int_equal(width(WIDE), 6);
	assert_true(width(ACUTE) == 1 || width(ACUTE) == 7); /* or as \u0301 */
	assert_int_equal(width("\xc3\xa4"), 1);
	assert_int_equal(width("\xf0\x9f\x92\xbe"), 2);
	/* As what they become in print. */
	assert_int_equal(width("\x1b"), 6);
	assert_int_equal(width("\xff"), 4);
	assert_int_equal(width("a\xe6\x97"), 9);
	assert_int_equal(screen_fit(WIDE, 9, 5, &got), 6);
	assert_int_equal(got, 4);
	assert_int_equal(screen_fit(WIDE, 9, 1, &got), 0);
	assert_int_equal(got, 0);
}

static void numbers_of_any_size_are_short(void **state)
{
	static const struct {
		double value;
		const char *count, *bytes;
	} rows[] = {
		{ 0, "0", "0" },
		{ 1023, "1023", "1023" },
		{ 1024, "1024", "1.0k" },
		{ 999999, "999999", "977k" },
		{ 999999.6, "1.0M", "977k" },
		{ 99949999, "99.9M", "95.3M" },
		{ 1e9, "1.0G", "954M" },
		{ 1e12, "1.0T", "931G" },
		{ 9223372036854775808.0, "9.2E", "8.0E" },
		{ 18446744073709551615.0, "18.4E", "16.0E" },
	};
	char buf[SCREEN_NUMBER];

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		assert_string_equal(screen_count(rows[i].value, 6, buf), rows[i].count);
		assert_string_equal(screen_bytes(rows[i].value, buf), rows[i].bytes);
	}
	assert_string_equal(screen_count(123456789012, 12, buf), "123456789012");
	for (double value = 1; value < 2e19; value *= 1.0007) {
		assert_true(strlen(screen_count(value, 6, buf)) <= 6);
		assert_true(strlen(screen_bytes(value, buf)) <= 6);
	}
}

/* ------------------------------------------------------------------------------ tables */

static const struct table_column columns[] = {
	{ .head = "name", .least = 6, .cut = true },
	{ .head = "n", .right = true, .least = 3 },
	{ .head = "of little use", .rank = 2 },
	{ .head = "of some", .rank = 1 },
};

static const char *const names[] = { "a", WIDE WIDE WIDE WIDE WIDE, "" };

static void put_row(void *ctx, size_t row, struct table_cell *cells)
{
	(void)ctx;
	cells[0].text = names[row];
	snprintf(cells[1].buf, TABLE_CELL_BYTES, "%zu", row * 1000);
	cells[1].text = cells[1].buf;
	cells[2].text = row == 1 ? "little" : NULL;
	cells[3].text = row == 1 ? "some" : NULL;
}

static char *table_of(unsigned int nr_columns)
{
	const struct screen screen = { nr_columns, 24, true };
	const struct table table = { .columns = columns,
				     .nr_columns = array_size(columns),
				     .nr_rows = array_size(names),
				     .row = put_row };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	table_print(&table, &screen, out);
	fclose(out);
	return text;
}

static void no_line_of_a_table_is_wider_than_the_screen(void **state)
{
	(void)state;
	for (unsigned int nr = 1; nr < 90; nr++) {
		char *text = table_of(nr);

		for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
			assert_true(screen_width(line, (size_t)(end - line)) <= nr);
			assert_true(end == line || end[-1] != ' ' || nr < 12);
		}
		free(text);
	}
}

static void columns_are_left_out_by_their_rank_and_then_names_are_cut(void **state)
{
	char *text = table_of(80);

	(void)state;
	assert_string_equal(text, "name                              n of little use of some\n"
				  "a                                 0\n" //
			    WIDE WIDE WIDE WIDE WIDE " 1000 little        some\n"
				  "                               2000\n");
	free(text);
	/* Most of a name is as good as all of it. */
	text = table_of(43);
	assert_string_equal(text, "name                n of little use of some\n"
				  "a                   0\n" //
			    WIDE WIDE "\xe6\x97\xa5~  1000 little        some\n"
				  "                 2000\n");
	free(text);
	text = table_of(29);
	assert_string_equal(text, "name                n of some\n"
				  "a                   0\n" //
			    WIDE WIDE "\xe6\x97\xa5~  1000 some\n"
				  "                 2000\n");
	free(text);
	text = table_of(18);
	assert_string_equal(text, "name             n\n"
				  "a                0\n" //
			    WIDE WIDE "~ 1000\n"
				  "              2000\n");
	free(text);
}

/* ------------------------------------------------------------------------------ progress */

static void the_time_left_is_told_where_it_is_known(void **state)
{
	struct explore_status s = { .nr_points = 100, .elapsed_ns = 10000000000 };

	(void)state;
	assert_true(progress_left_ns(&s, 5, 0, 0) == PROGRESS_UNKNOWN);
	s.points_done = 25;
	assert_int_equal(progress_left_ns(&s, 5, 0, 0), 30000000000);
	/* What ends it sooner. */
	assert_int_equal(progress_left_ns(&s, 5, 0, 12000000000), 2000000000);
	assert_int_equal(progress_left_ns(&s, 5, 0, 1), 0);
	s.done = 60;
	s.known = 10;
	assert_int_equal(progress_left_ns(&s, 5, 100, 0), 10000000000);
	assert_int_equal(progress_left_ns(&s, 5, 50, 0), 0);
	assert_int_equal(progress_left_ns(&s, 0, 100, 0), 30000000000);
	/* A limit is known before any moment is done. */
	s.points_done = 0;
	assert_int_equal(progress_left_ns(&s, 0, 0, 15000000000), 5000000000);
	s.points_done = 100;
	assert_int_equal(progress_left_ns(&s, 5, 0, 0), 0);
	s.nr_points = UINT64_MAX / 2;
	s.points_done = 1;
	s.elapsed_ns = UINT64_MAX / 2;
	assert_true(progress_left_ns(&s, 5, 0, 0) == PROGRESS_UNKNOWN);
}

static void the_line_of_progress_has_the_most_important_first(void **state)
{
	struct explore_status s = {
		.done = 1234, .findings = 1, .points_done = 12, .nr_points = 400
	};
	struct explore_status huge;
	char line[PROGRESS_LINE];

	(void)state;
	memset(&huge, 0x7f, sizeof(huge)); /* of covered, too */
	s.covered = 0.125;
	assert_string_equal(
		progress_line(&s, 56, 185000000000, 79, line),
		"1234 states, 1 finding, points 12/400, about 3m05s left, 56/s, 12.5% covered");
	assert_string_equal(progress_line(&s, 56, PROGRESS_UNKNOWN, 64, line),
			    "1234 states, 1 finding, points 12/400, time left not known yet");
	assert_string_equal(progress_line(&s, 56, 1, 39, line),
			    "1234 states, 1 finding, points 12/400");
	assert_string_equal(progress_line(&s, 56, 1, 6, line), "1234 s");
	for (size_t nr = 1; nr < 200; nr++) {
		assert_true(strlen(progress_line(&s, 1e18, UINT64_MAX - 1, nr, line)) <= nr);
		assert_true(strlen(progress_line(&huge, 1e18, 86399500000000, nr, line)) <= nr);
	}
	assert_non_null(
		strstr(progress_line(&huge, 1, 86399500000000, 79, line), "about 1d00h left"));
}

/* Of replay, report, log and run --load. */
static void a_long_command_says_how_far_it_is_and_how_long_it_will_take(void **state)
{
	struct meter meter = { .what = "a.rec", .total = 3 << 20, .bytes = true };
	char line[METER_LINE], what[100];

	(void)state;
	assert_string_equal(meter_line(&meter, 1 << 20, 90000000000, 79, line),
			    "a.rec: 1.0M of 3.0M, about 3m00s left");
	/* Nothing is there yet, or more than was thought, or nobody knows how much it will be. */
	assert_string_equal(meter_line(&meter, 0, 1000000000, 79, line), "a.rec: 0");
	assert_string_equal(meter_line(&meter, 4 << 20, 1000000000, 79, line), "a.rec: 4.0M");
	meter.total = 0;
	assert_string_equal(meter_line(&meter, 4 << 20, 1000000000, 79, line), "a.rec: 4.0M");
	memset(what, 'x', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	meter = (struct meter){ .what = what, .total = UINT64_MAX };
	for (size_t nr = 1; nr < 200; nr++)
		assert_true(strlen(meter_line(&meter, 1, UINT64_MAX, nr, line)) <= nr);
	assert_true(strlen(meter_line(&meter, UINT64_MAX / 3, UINT64_MAX, 200, line)) < 80);
}

/* Where standard error is no terminal nothing is printed; on one the last line is gone in the end. */
static void progress_of_a_long_command_is_drawn_on_a_terminal_only(void **state)
{
	struct meter meter;
	char text[256];
	FILE *file = tmpfile();
	int err_fd = dup(STDERR_FILENO);
	size_t len;

	(void)state;
	assert_non_null(file);
	fflush(stderr);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	meter_begin(&meter, "x", 8, false);
	meter.next_ns = 0;
	meter_at(&meter, 4);
	meter_end(&meter);
	fflush(stderr);
	assert_int_equal(lseek(fileno(file), 0, SEEK_CUR), 0);
	meter.shows = true;
	meter_at(&meter, 4);
	meter_at(&meter, 5); /* too soon */
	meter_end(&meter);
	meter_end(&meter);
	fflush(stderr);
	dup2(err_fd, STDERR_FILENO);
	close(err_fd);
	rewind(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	assert_string_equal(text, "\r\033[Kx: 4 of 8, about 0s left\r\033[K");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_takes_the_columns_that_a_terminal_gives_it),
		cmocka_unit_test(numbers_of_any_size_are_short),
		cmocka_unit_test(no_line_of_a_table_is_wider_than_the_screen),
		cmocka_unit_test(columns_are_left_out_by_their_rank_and_then_names_are_cut),
		cmocka_unit_test(the_time_left_is_told_where_it_is_known),
		cmocka_unit_test(the_line_of_progress_has_the_most_important_first),
		cmocka_unit_test(a_long_command_says_how_far_it_is_and_how_long_it_will_take),
		cmocka_unit_test(progress_of_a_long_command_is_drawn_on_a_terminal_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
