// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/rule/seek.h"

#include <math.h>

#define SPAN (4000ull << 30)

static void no_distance_takes_no_time_and_all_of_it_the_whole_time(void **state)
{
	(void)state;
	assert_int_equal(seek_ns(7, 7, SPAN, 8000000), 0);
	assert_int_equal(seek_ns(0, SPAN, SPAN, 8000000), 8000000);
	assert_int_equal(seek_ns(SPAN, 0, SPAN, 8000000), 8000000);
	assert_int_equal(seek_ns(0, UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
	assert_int_equal(seek_ns(0, 1, 1, 0), 0);
}

static void a_quarter_of_the_way_takes_half_the_time_in_both_directions(void **state)
{
	(void)state;
	for (uint64_t part = 1; part <= 64; part++) {
		uint64_t there =
			seek_ns(SPAN / 8, SPAN / 8 + SPAN / (part * part + 1), SPAN, 1u << 30);

		assert_int_equal(
			seek_ns(SPAN / 8 + SPAN / (part * part + 1), SPAN / 8, SPAN, 1u << 30),
			there);
	}
	assert_int_equal(seek_ns(SPAN / 2, SPAN / 4, SPAN, 8000000), 4000000);
	assert_int_equal(seek_ns(0, SPAN / 64, SPAN, 8000000), 1000000);
}

static void it_is_the_square_root_to_the_nanosecond(void **state)
{
	struct draw draw = { .seed = 3 };

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t span = 1 + (draw_bits(&draw) >> (1 + draw_below(&draw, 60)));
		uint64_t from = draw_below(&draw, span + 1), to = draw_below(&draw, span + 1);
		uint64_t full = draw_bits(&draw) >> (22 + draw_below(&draw, 40));
		long double distance = fabsl((long double)to - (long double)from);
		long double want = (long double)full * sqrtl(distance / (long double)span);

		/* Steps of 2^-31 of the whole, and of a nanosecond. */
		if (fabsl((long double)seek_ns(from, to, span, full) - want) >
		    1 + (long double)full * 0x1p-30L)
			fail_msg("%llu..%llu of %llu, %llu ns", (unsigned long long)from,
				 (unsigned long long)to, (unsigned long long)span,
				 (unsigned long long)full);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_distance_takes_no_time_and_all_of_it_the_whole_time),
		cmocka_unit_test(a_quarter_of_the_way_takes_half_the_time_in_both_directions),
		cmocka_unit_test(it_is_the_square_root_to_the_nanosecond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
