// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/hist.h"

static struct hist hist, other;

static int clear(void **state)
{
	(void)state;
	memset(&hist, 0, sizeof(hist));
	memset(&other, 0, sizeof(other));
	return 0;
}

static void buckets_are_contiguous_and_hold_their_floor(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t floor = hist_bucket_floor(i);

		assert_int_equal(hist_bucket(floor), i);
		if (i)
			assert_int_equal(hist_bucket(floor - 1), i - 1);
	}
	assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}

static void a_value_is_known_within_a_sixteenth(void **state)
{
	struct draw draw = { .seed = 2 };

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t value = draw_bits(&draw) >> draw_below(&draw, 64);
		uint64_t floor = hist_bucket_floor(hist_bucket(value));

		assert_true(floor <= value);
		assert_true(value - floor <= floor / 16);
	}
}

static void percentiles_of_known_values_are_close(void **state)
{
	(void)state;
	for (uint64_t v = 1; v <= 10000; v++)
		hist_add(&hist, v);
	assert_int_equal(hist_total(&hist), 10000);
	assert_in_range(hist_permille(&hist, 500), 5000, 5000 + 5000 / 16);
	assert_in_range(hist_permille(&hist, 990), 9900, 10000);
	assert_int_equal(hist_permille(&hist, 1000), 10000);
	assert_in_range(hist_permille(&hist, 0), 1, 1);
}

static void an_empty_histogram_answers_zero(void **state)
{
	(void)state;
	assert_int_equal(hist_total(&hist), 0);
	assert_int_equal(hist_permille(&hist, 500), 0);
}

static void one_value_is_every_percentile(void **state)
{
	(void)state;
	hist_add(&hist, 123456789);
	assert_int_equal(hist_permille(&hist, 0), 123456789);
	assert_int_equal(hist_permille(&hist, 500), 123456789);
	assert_int_equal(hist_permille(&hist, 1000), 123456789);
}

static void merging_adds_counts_and_keeps_the_larger_maximum(void **state)
{
	(void)state;
	hist_add(&hist, 10);
	hist_add(&other, 1000000);
	hist_add(&other, 10);
	hist_merge(&hist, &other);
	assert_int_equal(hist_total(&hist), 3);
	assert_int_equal(hist_permille(&hist, 600), 10);
	assert_int_equal(hist_permille(&hist, 1000), 1000000);
	assert_int_equal(hist_total(&other), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_are_contiguous_and_hold_their_floor),
		cmocka_unit_test(a_value_is_known_within_a_sixteenth),
		cmocka_unit_test_setup(percentiles_of_known_values_are_close, clear),
		cmocka_unit_test_setup(an_empty_histogram_answers_zero, clear),
		cmocka_unit_test_setup(one_value_is_every_percentile, clear),
		cmocka_unit_test_setup(merging_adds_counts_and_keeps_the_larger_maximum, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
