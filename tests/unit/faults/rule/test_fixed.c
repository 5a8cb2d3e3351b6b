// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/rule/fixed.h"

#include <math.h>

#define ONE_COS (1ull << FIXED_COS_SHIFT)

/* Small and large numbers alike. */
static uint64_t draw_wide(struct draw *draw)
{
	return draw_bits(draw) >> draw_below(draw, 64) | 1;
}

static void the_logarithm_is_that_of_the_mathematicians(void **state)
{
	struct draw draw = { .seed = 1 };

	(void)state;
	assert_int_equal(fixed_log2(1), 64 * FIXED_ONE);
	assert_int_equal(fixed_log2(1ull << 63), FIXED_ONE);
	assert_int_equal(fixed_log2(1ull << 40), 24 * FIXED_ONE);
	assert_in_range(fixed_log2(UINT64_MAX), 0, 1);
	for (int i = 0; i < 20000; i++) {
		uint64_t share = draw_wide(&draw);
		long double want = 64 - log2l((long double)share);

		assert_true(fabsl((long double)fixed_log2(share) - want * FIXED_ONE) < 2);
		assert_true(fabsl((long double)fixed_ln(share) -
				  want * 0.693147180559945309417L * FIXED_ONE) < 3);
	}
}

static void the_power_is_exact_to_a_part_in_a_million_million(void **state)
{
	struct draw draw = { .seed = 2 };

	(void)state;
	assert_int_equal(fixed_exp2(1000, 0, UINT64_MAX), 1000);
	assert_int_equal(fixed_exp2(1000, 3 * FIXED_ONE, UINT64_MAX), 8000);
	assert_int_equal(fixed_exp2(1000, 3 * FIXED_ONE, 7999), 7999);
	assert_int_equal(fixed_exp2(1, 700 * FIXED_ONE, 5), 5);
	assert_int_equal(fixed_exp2(0, 700 * FIXED_ONE, 5), 0);
	assert_int_equal(fixed_exp2(0, FIXED_ONE / 2, 5), 0);
	for (int i = 0; i < 20000; i++) {
		uint64_t scale = draw_wide(&draw) >> 23, power = draw_below(&draw, 20 * FIXED_ONE);
		long double want =
			(long double)scale * exp2l((long double)power / (long double)FIXED_ONE);

		assert_true(fabsl((long double)fixed_exp2(scale, power, UINT64_MAX) - want) <=
			    1 + want * 1e-12L);
	}
}

static void the_cosine_goes_round_the_circle(void **state)
{
	struct draw draw = { .seed = 3 };

	(void)state;
	assert_int_equal(fixed_cos(0), ONE_COS);
	assert_int_equal(fixed_cos(1ull << 63), -(int64_t)ONE_COS);
	assert_true(llabs(fixed_cos(1ull << 62)) < 1000);
	assert_true(llabs(fixed_cos(3ull << 62)) < 1000);
	for (int i = 0; i < 20000; i++) {
		uint64_t turn = draw_bits(&draw);
		long double want = cosl((long double)turn * 0x1p-64L * 2 * 3.14159265358979323846L);

		assert_true(fabsl((long double)fixed_cos(turn) / ONE_COS - want) < 1e-15L);
	}
}

static void the_root_is_rounded_down(void **state)
{
	struct draw draw = { .seed = 4 };

	(void)state;
	assert_int_equal(fixed_sqrt(0), 0);
	assert_int_equal(fixed_sqrt(UINT64_MAX), UINT32_MAX);
	for (int i = 0; i < 20000; i++) {
		uint64_t square = draw_wide(&draw), root = fixed_sqrt(square);

		assert_true(root * root <= square);
		assert_true((unsigned __int128)(root + 1) * (root + 1) > square);
	}
}

/* Whatever the compiler, machine and sanitizer: decisions recorded elsewhere must replay here. */
static void results_are_the_same_bits_everywhere(void **state)
{
	uint64_t sum = 0;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t bits = rng_mix(1, 2, i);

		sum = rng_mix(sum, fixed_log2(bits | 1), fixed_ln(bits >> 20 | 1));
		sum = rng_mix(sum, (uint64_t)fixed_cos(bits), fixed_sqrt(bits));
		sum = rng_mix(sum, fixed_exp2(bits >> 24, bits >> 20, UINT64_MAX), 0);
	}
	assert_int_equal(sum, 0x2f1e6cbb4f6014f9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_logarithm_is_that_of_the_mathematicians),
		cmocka_unit_test(the_power_is_exact_to_a_part_in_a_million_million),
		cmocka_unit_test(the_cosine_goes_round_the_circle),
		cmocka_unit_test(the_root_is_rounded_down),
		cmocka_unit_test(results_are_the_same_bits_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
