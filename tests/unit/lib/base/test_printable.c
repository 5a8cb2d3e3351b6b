// SPDX-License-Identifier: MIT
/* Foreign text that is made fit to be looked at. */
#include "base/printable.h"
#include "tests/unit/check.h"

static void check_text(const char *text, const char *want)
{
	char buf[256];

	assert_string_equal(printable(text, buf, sizeof(buf)), want);
}

static void text_of_any_script_stays_as_it_is(void **state)
{
	(void)state;
	check_text("plain, with \\ and \" and ~", "plain, with \\ and \" and ~");
	check_text("\u00e4\u00df \u03a9 \u0436 \u05d0 \u0639 \u4e2d \U0001f4be",
		   "\u00e4\u00df \u03a9 \u0436 \u05d0 \u0639 \u4e2d \U0001f4be");
	check_text(NULL, "");
}

static void what_moves_a_terminal_becomes_its_number(void **state)
{
	(void)state;
	check_text("a\033[2Jb\r\n\tc\x7f", "a\\u001b[2Jb\\u000d\\u000a\\u0009c\\u007f");
	check_text("\xc2\x9b"
		   "31m",
		   "\\u009b31m"); /* C1: CSI in two bytes */
	check_text("\x9b"
		   "31m",
		   "\\x9b31m"); /* and in one, which is no UTF-8 */
}

static void what_reorders_or_hides_becomes_its_number(void **state)
{
	(void)state;
	check_text("user\u202etxt.exe", "user\\u202etxt.exe");
	check_text("\u2066a\u2069\u200f\u061c\u200b\ufeff",
		   "\\u2066a\\u2069\\u200f\\u061c\\u200b\\ufeff");
	check_text("\U000e0041", "\\udb40\\udc41");
}

static void bytes_that_are_no_text_become_their_value(void **state)
{
	(void)state;
	check_text("\xff\xc0\xaf", "\\xff\\xc0\\xaf");
	check_text("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* half of a pair */
	check_text("a\xe2\x80", "a\\xe2\\x80");        /* cut */
	check_text("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
}

static void what_has_no_room_is_left_out_whole(void **state)
{
	char buf[8];

	(void)state;
	assert_string_equal(printable("abc\033def", buf, sizeof(buf)), "abc");
	assert_string_equal(printable("abcdefghij", buf, sizeof(buf)), "abcdefg");
	assert_string_equal(printable("abcdef\u00e4", buf, sizeof(buf)), "abcdef");
	buf[0] = 'x';
	assert_string_equal(printable("abc", buf, 1), "");
}

/* Whatever comes in, nothing that comes out is anything else than shown characters. */
static void what_comes_out_is_printable_for_any_bytes(void **state)
{
	struct draw draw = { .seed = 5 };

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char text[24], clean[24 * 6 + 1], again[24 * 6 + 1];
		size_t len = (size_t)draw_below(&draw, sizeof(text));

		for (size_t i = 0; i < len; i++)
			text[i] = (char)(draw_below(&draw, 3) ? 0x80 + draw_below(&draw, 0x80)
							      : 1 + draw_below(&draw, 255));
		text[len] = 0;
		printable(text, clean, sizeof(clean));
		assert_string_equal(printable(clean, again, sizeof(again)), clean);
		for (const char *p = clean; *p; p++)
			assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	}
}

static void a_text_that_is_cut_ends_with_a_whole_character(void **state)
{
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xbe.";
	static const size_t fits[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11 };

	(void)state;
	for (size_t max = 0; max < sizeof(fits) / sizeof(fits[0]); max++)
		assert_int_equal(printable_fit(text, max), fits[max]);
	/* One that was cut before. */
	assert_int_equal(printable_fit("a\xe2\x82", 10), 1);
	assert_int_equal(printable_fit("", 10), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_any_script_stays_as_it_is),
		cmocka_unit_test(what_moves_a_terminal_becomes_its_number),
		cmocka_unit_test(what_reorders_or_hides_becomes_its_number),
		cmocka_unit_test(bytes_that_are_no_text_become_their_value),
		cmocka_unit_test(what_has_no_room_is_left_out_whole),
		cmocka_unit_test(what_comes_out_is_printable_for_any_bytes),
		cmocka_unit_test(a_text_that_is_cut_ends_with_a_whole_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
