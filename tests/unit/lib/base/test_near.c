// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/near.h"

static const char *const words[] = { "op",    "range", "len",   "min-len", "max-len", "error",
				     "delay", "torn",  "after", "p",       NULL };

static void check_near(const char *got, const char *want)
{
	const char *word = near_word(got, strlen(got), words);

	if (!word != !want || (word && strcmp(word, want) != 0))
		fail_msg("'%s' -> %s, wanted %s", got, word ? word : "none", want ? want : "none");
}

static void one_slip_is_forgiven(void **state)
{
	(void)state;
	check_near("rnage", "range");  /* swapped */
	check_near("rang", "range");   /* missing */
	check_near("raange", "range"); /* doubled */
	check_near("rabge", "range");  /* replaced */
	check_near("oop", "op");
	check_near("error", "error");
	check_near("min_len", "min-len");
}

static void what_is_too_far_is_not_suggested(void **state)
{
	(void)state;
	check_near("xyzzy", NULL);
	check_near("", NULL);
	check_near("q", NULL);
	check_near("ab", NULL);
	check_near("rgane-of-all-things", NULL);
	check_near("a-word-that-is-much-longer-than-anything-that-is-known", NULL);
}

static void the_nearest_of_several_wins(void **state)
{
	static const char *const close[] = { "abcdef", "abcdxx", "abcxxx", NULL };

	(void)state;
	assert_string_equal(near_word("abcdez", 6, close), "abcdef");
	assert_string_equal(near_word("abcdxz", 6, close), "abcdxx");
}

static void only_the_given_bytes_are_read(void **state)
{
	(void)state;
	assert_string_equal(near_word("delayXXXXXXXX", 5, words), "delay");
	assert_null(near_word("abc", 3, (const char *const[]){ NULL }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_slip_is_forgiven),
		cmocka_unit_test(what_is_too_far_is_not_suggested),
		cmocka_unit_test(the_nearest_of_several_wins),
		cmocka_unit_test(only_the_given_bytes_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
