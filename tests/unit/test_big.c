// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/big.h"

#include <math.h>

typedef unsigned __int128 wide;

static wide low_of(const struct big *big)
{
	return (big->nr > 0 ? big->limbs[0] : 0) |
	       (big->nr > 1 ? (wide)big->limbs[1] << 64 : (wide)0);
}

static void products_and_sums_are_those_of_128_bits(void **state)
{
	struct draw draw = { .seed = 1 };

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct big a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
		wide x = draw_bits(&draw) >> draw_below(&draw, 64), y = draw_bits(&draw);

		assert_int_equal(big_set(&a, (uint64_t)x), 0);
		assert_int_equal(big_set(&b, (uint64_t)y), 0);
		for (int i = 0; i < 4; i++) {
			uint64_t by = draw_below(&draw, 50000);

			assert_int_equal(big_multiply(&a, by), 0);
			assert_int_equal(big_add(&a, &b), 0);
			x = x * by + y;
			if (i < 3)
				assert_int_equal(big_compare(&a, &b), x < y ? -1 : x > y);
		}
		assert_true(low_of(&a) == x);
		big_free(&a);
		big_free(&b);
	}
}

static void what_was_multiplied_can_be_divided_again(void **state)
{
	struct draw draw = { .seed = 2 };
	struct big big = { NULL, 0, 0 }, before = { NULL, 0, 0 };

	(void)state;
	assert_int_equal(big_set(&big, 1), 0);
	for (int i = 0; i < 500; i++) {
		uint64_t by = 1 + (draw_bits(&draw) >> draw_below(&draw, 64));

		assert_int_equal(big_copy(&before, &big), 0);
		assert_int_equal(big_multiply(&big, by), 0);
		big_divide(&big, by);
		assert_int_equal(big_compare(&big, &before), 0);
		assert_int_equal(big_multiply(&big, by), 0);
	}
	big_free(&big);
	assert_int_equal(big_copy(&before, &big), 0);
	assert_int_equal(before.nr, 0);
	big_free(&before);
}

static struct big power_of_two(unsigned int n)
{
	struct big big = { NULL, 0, 0 };

	assert_int_equal(big_set(&big, 1), 0);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(big_multiply(&big, 2), 0);
	return big;
}

/* 2^n is 1 + 1 + 2 + 4 + ... + 2^(n-1), which no floating point adds up to. */
static void a_sum_of_thousands_of_powers_is_exact(void **state)
{
	const unsigned int n = 5000;
	struct big sum = power_of_two(0), whole = power_of_two(n), part = power_of_two(0);

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		assert_true(big_compare(&sum, &whole) < 0);
		assert_true(big_share(&sum, &whole) < 1);
		assert_int_equal(big_add(&sum, &part), 0);
		assert_int_equal(big_multiply(&part, 2), 0);
	}
	assert_int_equal(big_compare(&sum, &whole), 0);
	assert_true(big_share(&sum, &whole) == 1);
	assert_int_equal(sum.nr, n / 64 + 1);
	big_free(&sum);
	big_free(&whole);
	big_free(&part);
}

static void a_share_is_0_or_1_only_when_it_is_just_that(void **state)
{
	struct big none = { NULL, 0, 0 }, one = power_of_two(0), two = power_of_two(1);
	struct big huge = power_of_two(300), vast = power_of_two(9000);

	(void)state;
	assert_true(big_share(&none, &vast) == 0);
	assert_true(big_share(&one, &two) == 0.5);
	assert_true(big_share(&one, &huge) == ldexp(1, -300));
	assert_true(big_share(&one, &vast) > 0);
	assert_true(big_share(&huge, &vast) > 0);
	assert_int_equal(big_add(&huge, &one), 0);
	assert_true(big_share(&huge, &huge) == 1);
	big_free(&one);
	one = power_of_two(300);
	assert_true(big_share(&one, &huge) < 1);
	big_free(&one);
	big_free(&two);
	big_free(&huge);
	big_free(&vast);
	big_free(&none);
}

static void nothing_times_something_is_nothing(void **state)
{
	struct big big = power_of_two(200);

	(void)state;
	assert_int_equal(big_multiply(&big, 0), 0);
	assert_int_equal(big.nr, 0);
	assert_int_equal(big_multiply(&big, 7), 0);
	assert_int_equal(big.nr, 0);
	big_free(&big);
	assert_int_equal(big_multiply(&big, 7), 0);
	assert_int_equal(big.nr, 0);
	big_free(&big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_and_sums_are_those_of_128_bits),
		cmocka_unit_test(what_was_multiplied_can_be_divided_again),
		cmocka_unit_test(a_sum_of_thousands_of_powers_is_exact),
		cmocka_unit_test(a_share_is_0_or_1_only_when_it_is_just_that),
		cmocka_unit_test(nothing_times_something_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
