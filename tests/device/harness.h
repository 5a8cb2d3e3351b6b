/* SPDX-License-Identifier: MIT */
/* The few lines that device tests in C share: a table of tests, `ok NAME` / `not ok NAME` lines. */
#ifndef TESTS_DEVICE_HARNESS_H
#define TESTS_DEVICE_HARNESS_H

#include "tests/patience.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct device_test {
	const char *name;
	void (*run)(void);
};
#define DEVICE_TEST(fn)                                                                            \
	{                                                                                          \
#fn, fn                                                                            \
	}

static bool test_failed;

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		printf("    %s:%d: ", __FILE__, __LINE__);                                         \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		test_failed = true;                                                                \
	} while (0)

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL("expected: %s (errno %d)", #cond, errno);                             \
	} while (0)

#define EXPECT_EQ(got, want)                                                                       \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
		if (got_ != want_)                                                                 \
			FAIL("%s is %lld, expected %lld", #got, got_, want_);                      \
	} while (0)

/* Give up on this test, but not on the others. */
#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			FAIL("required: %s (errno %d)", #cond, errno);                             \
			return;                                                                    \
		}                                                                                  \
	} while (0)

/* Run the tests whose names contain @filter (NULL: all). The number that failed. */
static inline int run_tests(const struct device_test *tests, size_t nr, const char *filter)
{
	int failed = 0;

	for (size_t i = 0; i < nr; i++) {
		uint64_t start_ns = clock_now_ns();

		if (filter && !strstr(tests[i].name, filter))
			continue;
		test_failed = false;
		tests[i].run();
		printf("%s %s (%.1f s)\n", test_failed ? "not ok" : "ok", tests[i].name,
		       (double)(clock_now_ns() - start_ns) / 1e9);
		fflush(stdout);
		failed += test_failed;
	}
	return failed;
}

#endif
