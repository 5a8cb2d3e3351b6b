// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define FAR ((rlim_t)1 << 60) /* of nobody's way: it is only to be told */

static struct rlimit before[RLIM_NLIMITS];

/* The soft limit; the hard one stays. */
static void set(__rlimit_resource_t resource, rlim_t limit)
{
	struct rlimit now;

	assert_int_equal(getrlimit(resource, &now), 0);
	before[resource] = now;
	now.rlim_cur = limit;
	assert_int_equal(setrlimit(resource, &now), 0);
}

static void give_back(__rlimit_resource_t resource)
{
	assert_int_equal(setrlimit(resource, &before[resource]), 0);
}

static void only_limits_that_are_set_are_named_and_with_their_values(void **state)
{
	struct rlimit as, data;
	char words[256];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &as), 0);
	assert_int_equal(getrlimit(RLIMIT_DATA, &data), 0);
	if (as.rlim_cur != RLIM_INFINITY || data.rlim_cur != RLIM_INFINITY)
		skip();
	assert_string_equal(limits_words(ENOMEM, words, sizeof(words)), "");
	set(RLIMIT_AS, FAR);
	assert_string_equal(limits_words(-ENOMEM, words, sizeof(words)),
			    "the limit of memory in KiB (ulimit -v) is 1125899906842624");
	set(RLIMIT_DATA, FAR / 2);
	assert_string_equal(
		limits_words(ENOMEM, words, sizeof(words)),
		"the limit of memory in KiB (ulimit -v) is 1125899906842624, of data in "
		"KiB (ulimit -d) is 562949953421312");
	give_back(RLIMIT_AS);
	assert_string_equal(limits_words(ENOMEM, words, sizeof(words)),
			    "the limit of data in KiB (ulimit -d) is 562949953421312");
	give_back(RLIMIT_DATA);
}

static void an_error_that_comes_from_no_limit_has_no_words(void **state)
{
	char words[256];

	(void)state;
	assert_string_equal(limits_words(EIO, words, sizeof(words)), "");
	assert_string_equal(limits_words(0, words, sizeof(words)), "");
}

static void a_buffer_that_is_too_small_holds_the_beginning(void **state)
{
	char words[8];

	(void)state;
	assert_string_equal(limits_words(EMFILE, words, sizeof(words)), "the lim");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_limits_that_are_set_are_named_and_with_their_values),
		cmocka_unit_test(an_error_that_comes_from_no_limit_has_no_words),
		cmocka_unit_test(a_buffer_that_is_too_small_holds_the_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
