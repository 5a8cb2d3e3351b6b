// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/rule/curve.h"

#define QUARTER (1ull << 62)

static void between_points_it_is_straight_and_outside_level(void **state)
{
	struct curve curve = { .nr = 0 };

	(void)state;
	assert_int_equal(curve_add(&curve, QUARTER, 100), 0);
	assert_int_equal(curve_add(&curve, 2 * QUARTER, 200), 0);
	assert_int_equal(curve_add(&curve, 3 * QUARTER, 1200), 0);
	assert_int_equal(curve_at(&curve, 0), 100);
	assert_int_equal(curve_at(&curve, QUARTER - 1), 100);
	assert_int_equal(curve_at(&curve, QUARTER), 100);
	assert_int_equal(curve_at(&curve, QUARTER + QUARTER / 2), 150);
	assert_int_equal(curve_at(&curve, 2 * QUARTER), 200);
	assert_int_equal(curve_at(&curve, 2 * QUARTER + QUARTER / 10), 300 - 1);
	assert_int_equal(curve_at(&curve, 3 * QUARTER - 1), 1199);
	assert_int_equal(curve_at(&curve, 3 * QUARTER), 1200);
	assert_int_equal(curve_at(&curve, UINT64_MAX), 1200);
	curve_clear(&curve);
	assert_int_equal(curve.nr, 0);
	curve_clear(&curve);
}

static void two_points_at_one_share_are_a_step(void **state)
{
	struct curve curve = { .nr = 0 };

	(void)state;
	curve_add(&curve, 0, 10);
	curve_add(&curve, QUARTER, 10);
	curve_add(&curve, QUARTER, 50);
	curve_add(&curve, UINT64_MAX, 50);
	assert_int_equal(curve_at(&curve, 0), 10);
	assert_int_equal(curve_at(&curve, QUARTER - 1), 10);
	assert_int_equal(curve_at(&curve, QUARTER), 50);
	assert_int_equal(curve_at(&curve, UINT64_MAX), 50);
	curve_clear(&curve);
}

static void a_long_curve_never_falls(void **state)
{
	struct curve curve = { .nr = 0 };
	struct draw draw = { .seed = 9 };
	uint64_t share = 0, ns = 0, last = 0;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		curve_add(&curve, share, ns);
		share += draw_below(&draw, UINT64_MAX / 3000);
		ns += draw_below(&draw, 1000);
	}
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t at = curve_at(&curve, i * (UINT64_MAX / 200000));

		assert_true(at >= last);
		last = at;
	}
	for (size_t i = 0; i + 1 < curve.nr; i++)
		assert_true(curve_at(&curve, curve.points[i].share) >= curve.points[i].ns);
	curve_clear(&curve);
}

static void shares_of_a_whole_reach_its_end(void **state)
{
	(void)state;
	assert_int_equal(curve_share(0, 100), 0);
	assert_int_equal(curve_share(1, 4), QUARTER);
	assert_int_equal(curve_share(3, 4), 3 * QUARTER);
	assert_int_equal(curve_share(4, 4), UINT64_MAX);
	assert_int_equal(curve_share(5, 4), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(between_points_it_is_straight_and_outside_level),
		cmocka_unit_test(two_points_at_one_share_are_a_step),
		cmocka_unit_test(a_long_curve_never_falls),
		cmocka_unit_test(shares_of_a_whole_reach_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
