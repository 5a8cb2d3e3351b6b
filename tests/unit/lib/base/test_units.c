// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/clock.h"
#include "base/units.h"

#include <errno.h>

static void sizes_are_read_in_every_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 },           { "1", 1 },
		{ "7B", 7 },          { "17s", 17 * 512 },
		{ "4k", 4096 },       { "4K", 4096 },
		{ "1.5k", 1536 },     { "0.5s", 256 },
		{ "1M", 1 << 20 },    { "2G", 2ull << 30 },
		{ "3T", 3ull << 40 }, { "1P", 1ull << 50 },
		{ "007", 7 },         { "18446744073709551615", UINT64_MAX },

	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		uint64_t bytes = 99;

		assert_int_equal(units_parse_size(cases[i].text, strlen(cases[i].text), &bytes), 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void nothing_is_rounded_and_nothing_else_is_a_size(void **state)
{
	static const char *const bad[] = { "",
					   "k",
					   "-1",
					   "+1",
					   " 1",
					   "1 ",
					   "1kk",
					   "1.",
					   ".5k",
					   "1..",
					   "0x1",
					   "1e3",
					   "1.5",
					   "0.3s",
					   "1m",
					   "1ms",
					   "0.0000000001P",
					   "1.0000000000" };
	static const char *const large[] = { "18446744073709551616", "16384P",
					     "99999999999999999999k", "36028797018963968s" };
	uint64_t bytes = 42;

	(void)state;
	for (size_t i = 0; i < array_size(bad); i++)
		if (units_parse_size(bad[i], strlen(bad[i]), &bytes) != -EINVAL)
			fail_msg("'%s'", bad[i]);
	for (size_t i = 0; i < array_size(large); i++)
		if (units_parse_size(large[i], strlen(large[i]), &bytes) != -ERANGE)
			fail_msg("'%s'", large[i]);
	assert_int_equal(bytes, 42);
	assert_int_equal(units_parse_size("4kxyz", 2, &bytes), 0);
	assert_int_equal(bytes, 4096);
}

static void times_need_a_unit(void **state)
{
	uint64_t ns = 42;

	(void)state;
	assert_int_equal(units_parse_time("10", 2, &ns), -EINVAL);
	assert_int_equal(units_parse_time("1M", 2, &ns), -EINVAL);
	assert_int_equal(ns, 42);
	assert_int_equal(units_parse_time("1.5s", 4, &ns), 0);
	assert_int_equal(ns, 1500000000);
	assert_int_equal(units_parse_time("2m", 2, &ns), 0);
	assert_int_equal(ns, 120 * NSEC_PER_SEC);
	assert_int_equal(units_parse_time("0.25us", 6, &ns), 0);
	assert_int_equal(ns, 250);
	assert_int_equal(units_parse_time("0.5ns", 5, &ns), -EINVAL);
	assert_int_equal(units_parse_time("5124096h", 8, &ns), -ERANGE);
}

static void formatting_takes_the_largest_unit_that_divides(void **state)
{
	char buf[UNITS_MAX];

	(void)state;
	assert_string_equal(units_format_size(0, buf), "0");
	assert_string_equal(units_format_size(1000, buf), "1000");
	assert_string_equal(units_format_size(512, buf), "1s");
	assert_string_equal(units_format_size(17 * 512, buf), "17s");
	assert_string_equal(units_format_size(128 << 10, buf), "128k");
	assert_string_equal(units_format_size(1ull << 50, buf), "1P");
	assert_string_equal(units_format_time(0, buf), "0s");
	assert_string_equal(units_format_time(1500000000, buf), "1500ms");
	assert_string_equal(units_format_time(3600 * NSEC_PER_SEC, buf), "1h");
	assert_string_equal(units_format_time(1, buf), "1ns");
	assert_string_equal(units_human_time(12345, buf), "12.3us");
	assert_string_equal(units_human_time(999, buf), "999ns");
}

static void every_size_and_time_survives_formatting(void **state)
{
	struct draw draw = { .seed = 1 };
	char buf[UNITS_MAX];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t value = draw_bits(&draw) >> draw_below(&draw, 64), back;

		if (draw_below(&draw, 2))
			value &= ~0ull << draw_below(&draw, 60);
		units_format_size(value, buf);
		assert_int_equal(units_parse_size(buf, strlen(buf), &back), 0);
		assert_int_equal(back, value);
		units_format_time(value, buf);
		assert_int_equal(units_parse_time(buf, strlen(buf), &back), 0);
		assert_int_equal(back, value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_read_in_every_unit),
		cmocka_unit_test(nothing_is_rounded_and_nothing_else_is_a_size),
		cmocka_unit_test(times_need_a_unit),
		cmocka_unit_test(formatting_takes_the_largest_unit_that_divides),
		cmocka_unit_test(every_size_and_time_survives_formatting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
