// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/bignum.h"

#include <math.h>

typedef unsigned __int128 wide;

static wide low_of(const struct bignum *number)
{
	return (number->nr > 0 ? number->limbs[0] : 0) |
	       (number->nr > 1 ? (wide)number->limbs[1] << 64 : (wide)0);
}

static void products_and_sums_are_those_of_128_bits(void **state)
{
	struct draw draw = { .seed = 1 };

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct bignum a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
		wide x = draw_bits(&draw) >> draw_below(&draw, 64), y = draw_bits(&draw);

		assert_int_equal(bignum_set(&a, (uint64_t)x), 0);
		assert_int_equal(bignum_set(&b, (uint64_t)y), 0);
		for (int i = 0; i < 4; i++) {
			uint64_t by = draw_below(&draw, 50000);

			assert_int_equal(bignum_multiply(&a, by), 0);
			assert_int_equal(bignum_add(&a, &b), 0);
			x = x * by + y;
			if (i < 3)
				assert_int_equal(bignum_compare(&a, &b), x < y ? -1 : x > y);
		}
		assert_true(low_of(&a) == x);
		bignum_free(&a);
		bignum_free(&b);
	}
}

static void what_was_multiplied_can_be_divided_again(void **state)
{
	struct draw draw = { .seed = 2 };
	struct bignum number = { NULL, 0, 0 }, before = { NULL, 0, 0 };

	(void)state;
	assert_int_equal(bignum_set(&number, 1), 0);
	for (int i = 0; i < 500; i++) {
		uint64_t by = 1 + (draw_bits(&draw) >> draw_below(&draw, 64));

		assert_int_equal(bignum_copy(&before, &number), 0);
		assert_int_equal(bignum_multiply(&number, by), 0);
		bignum_divide(&number, by);
		assert_int_equal(bignum_compare(&number, &before), 0);
		assert_int_equal(bignum_multiply(&number, by), 0);
	}
	bignum_free(&number);
	assert_int_equal(bignum_copy(&before, &number), 0);
	assert_int_equal(before.nr, 0);
	bignum_free(&before);
}

static struct bignum power_of_two(unsigned int n)
{
	struct bignum number = { NULL, 0, 0 };

	assert_int_equal(bignum_set(&number, 1), 0);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(bignum_multiply(&number, 2), 0);
	return number;
}

/* 2^n is 1 + 1 + 2 + 4 + ... + 2^(n-1), which no floating point adds up to. */
static void a_sum_of_thousands_of_powers_is_exact(void **state)
{
	const unsigned int n = 5000;
	struct bignum sum = power_of_two(0), whole = power_of_two(n), part = power_of_two(0);

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		assert_true(bignum_compare(&sum, &whole) < 0);
		assert_true(bignum_share(&sum, &whole) < 1);
		assert_int_equal(bignum_add(&sum, &part), 0);
		assert_int_equal(bignum_multiply(&part, 2), 0);
	}
	assert_int_equal(bignum_compare(&sum, &whole), 0);
	assert_true(bignum_share(&sum, &whole) == 1);
	assert_int_equal(sum.nr, n / 64 + 1);
	bignum_free(&sum);
	bignum_free(&whole);
	bignum_free(&part);
}

static void a_share_is_0_or_1_only_when_it_is_just_that(void **state)
{
	struct bignum none = { NULL, 0, 0 }, one = power_of_two(0), two = power_of_two(1);
	struct bignum huge = power_of_two(300), vast = power_of_two(9000);

	(void)state;
	assert_true(bignum_share(&none, &vast) == 0);
	assert_true(bignum_share(&one, &two) == 0.5);
	assert_true(bignum_share(&one, &huge) == ldexp(1, -300));
	assert_true(bignum_share(&one, &vast) > 0);
	assert_true(bignum_share(&huge, &vast) > 0);
	assert_int_equal(bignum_add(&huge, &one), 0);
	assert_true(bignum_share(&huge, &huge) == 1);
	bignum_free(&one);
	one = power_of_two(300);
	assert_true(bignum_share(&one, &huge) < 1);
	bignum_free(&one);
	bignum_free(&two);
	bignum_free(&huge);
	bignum_free(&vast);
	bignum_free(&none);
}

static void nothing_times_something_is_nothing(void **state)
{
	struct bignum number = power_of_two(200);

	(void)state;
	assert_int_equal(bignum_multiply(&number, 0), 0);
	assert_int_equal(number.nr, 0);
	assert_int_equal(bignum_multiply(&number, 7), 0);
	assert_int_equal(number.nr, 0);
	bignum_free(&number);
	assert_int_equal(bignum_multiply(&number, 7), 0);
	assert_int_equal(number.nr, 0);
	bignum_free(&number);
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
