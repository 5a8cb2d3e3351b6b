// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

/* Recorded decisions must still mean the same in later versions: these values never change. */
static void the_values_are_what_they_always_were(void **state)
{
	(void)state;
	assert_int_equal(rng_finalise(0), 0);
	/* The first value of SplitMix64 from seed 0, as published. */
	assert_int_equal(rng_finalise(0x9e3779b97f4a7c15ull), 0xe220a8397b1dcdafull);
	assert_int_equal(rng_mix(0, 0, 0), 0xfbe988335f36c931ull);
	assert_int_equal(rng_mix(1, 2, 3), 0xb19f667b2781fdf0ull);
}

static void every_argument_changes_about_half_of_the_bits(void **state)
{
	uint64_t base = rng_mix(5, 6, 7);
	unsigned int flipped[3] = { 0 };

	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		flipped[0] +=
			(unsigned int)__builtin_popcountll(base ^ rng_mix(5 ^ 1ull << bit, 6, 7));
		flipped[1] +=
			(unsigned int)__builtin_popcountll(base ^ rng_mix(5, 6 ^ 1ull << bit, 7));
		flipped[2] +=
			(unsigned int)__builtin_popcountll(base ^ rng_mix(5, 6, 7 ^ 1ull << bit));
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(flipped[i] / 64, 28, 36);
}

static void arguments_are_not_interchangeable(void **state)
{
	(void)state;
	assert_true(rng_mix(1, 2, 3) != rng_mix(2, 1, 3));
	assert_true(rng_mix(1, 2, 3) != rng_mix(1, 3, 2));
}

static void below_stays_below_and_is_even(void **state)
{
	unsigned int seen[10] = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 100000; i++)
		seen[rng_below(rng_mix(1, 2, i), 10)]++;
	for (int i = 0; i < 10; i++)
		assert_in_range(seen[i], 9500, 10500);
	assert_int_equal(rng_below(UINT64_MAX, 1), 0);
	assert_int_equal(rng_below(UINT64_MAX, UINT64_MAX), UINT64_MAX - 1);
	assert_int_equal(rng_below(0, 7), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_values_are_what_they_always_were),
		cmocka_unit_test(every_argument_changes_about_half_of_the_bits),
		cmocka_unit_test(arguments_are_not_interchangeable),
		cmocka_unit_test(below_stays_below_and_is_even),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
