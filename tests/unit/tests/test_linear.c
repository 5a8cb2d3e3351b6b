// SPDX-License-Identifier: MIT
/* The checker of the linearizability test is a tool of the tests, and is tested like one. */
#include "base/rng.h"
#include "tests/linear.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define W(v, s, e)                                                                                 \
	{                                                                                          \
		.start_ns = s, .end_ns = e, .value = v, .is_write = true                           \
	}
#define R(v, s, e)                                                                                 \
	{                                                                                          \
		.start_ns = s, .end_ns = e, .value = v                                             \
	}

#define ASSERT_LINEAR(want, ...)                                                                   \
	do {                                                                                       \
		struct linear_op ops_[] = { __VA_ARGS__ };                                         \
		assert_int_equal(linear_check(ops_, sizeof(ops_) / sizeof(ops_[0])), want);        \
	} while (0)

static void reads_of_the_last_write_are_linearizable(void **state)
{
	(void)state;
	ASSERT_LINEAR(true, W(0, 0, 1), R(0, 2, 3), W(1, 4, 5), R(1, 6, 7), R(1, 8, 9));
	ASSERT_LINEAR(true, W(0, 0, 1), W(1, 2, 9), R(0, 3, 4), R(1, 5, 6));
}

static void a_stale_read_is_not(void **state)
{
	(void)state;
	ASSERT_LINEAR(false, W(0, 0, 1), W(1, 2, 3), R(0, 4, 5));
}

static void going_back_in_time_is_not(void **state)
{
	(void)state;
	ASSERT_LINEAR(false, W(0, 0, 1), W(1, 2, 9), R(1, 3, 4), R(0, 5, 6));
}

static void a_value_nobody_wrote_or_wrote_later_is_not(void **state)
{
	(void)state;
	ASSERT_LINEAR(false, W(0, 0, 1), R(7, 2, 3));
	ASSERT_LINEAR(false, W(0, 0, 1), R(1, 2, 3), W(1, 4, 5));
}

#define OPS 6

/* By brute force: some order of all operations that respects time and in which reads see the last
 * write. */
static bool brute(const struct linear_op *ops, unsigned int done, uint64_t value)
{
	if (done == (1u << OPS) - 1)
		return true;
	for (unsigned int i = 0; i < OPS; i++) {
		bool first = !(done & 1u << i);

		for (unsigned int j = 0; first && j < OPS; j++)
			if (!(done & 1u << j) && ops[j].end_ns < ops[i].start_ns)
				first = false;
		if (!first || (!ops[i].is_write && ops[i].value != value))
			continue;
		if (brute(ops, done | 1u << i, ops[i].value))
			return true;
	}
	return false;
}

static void random_histories_agree_with_brute_force(void **state)
{
	unsigned int good = 0, bad = 0;

	(void)state;
	for (uint64_t round = 0; round < 20000; round++) {
		struct linear_op ops[OPS] = { W(0, 0, 1) };
		uint64_t at = 2;
		bool want;

		/* Distinct instants, so that no two orders are a matter of taste. */
		for (unsigned int i = 1; i < OPS; i++) {
			uint64_t bits = rng_mix(round, i, 0);

			ops[i].start_ns = at + rng_below(bits, 20) * 16 + i;
			ops[i].end_ns = ops[i].start_ns + 16 * (1 + (bits & 15)) + 7;
			ops[i].is_write = i < 3;
			ops[i].value = i < 3 ? i : rng_below(rng_mix(round, i, 1), 3);
		}
		want = brute(ops, 0, UINT64_MAX);
		good += want;
		bad += !want;
		assert_int_equal(linear_check(ops, OPS), want);
	}
	assert_true(good > 1000 && bad > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_of_the_last_write_are_linearizable),
		cmocka_unit_test(a_stale_read_is_not),
		cmocka_unit_test(going_back_in_time_is_not),
		cmocka_unit_test(a_value_nobody_wrote_or_wrote_later_is_not),
		cmocka_unit_test(random_histories_agree_with_brute_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
