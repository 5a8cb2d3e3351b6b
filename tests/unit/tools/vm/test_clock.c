// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/vm/clock.h"

#define MS 1000000ull

/* The guest asks at @guest_ms; the answer is of @host_ms, and comes after @took_ms of the guest's. */
static struct clock_reading at(uint64_t guest_ms, uint64_t host_ms, uint64_t took_ms)
{
	return (struct clock_reading){ .asked_ns = guest_ms * MS,
				       .host_ns = host_ms * MS,
				       .answered_ns = (guest_ms + took_ms) * MS };
}

static enum clock_verdict compare(struct clock_reading first, struct clock_reading second,
				  uint64_t *ret_percent)
{
	*ret_percent = 0;
	return clock_compare(&first, &second, ret_percent);
}

static void clocks_that_agree_are_right_whatever_each_began_with(void **state)
{
	uint64_t percent;

	(void)state;
	assert_int_equal(compare(at(10, 90000, 1), at(410, 90400, 1), &percent), CLOCK_RIGHT);
	assert_int_equal(percent, 100);
	assert_int_equal(compare(at(0, 0, 0), at(1040, 1000, 0), &percent), CLOCK_RIGHT);
	assert_int_equal(compare(at(0, 0, 0), at(960, 1000, 0), &percent), CLOCK_RIGHT);
}

static void a_clock_that_runs_too_fast_or_too_slow_is_wrong_and_how_much_is_told(void **state)
{
	uint64_t percent;

	(void)state;
	assert_int_equal(compare(at(0, 5, 0), at(4000, 405, 10), &percent), CLOCK_WRONG);
	assert_in_range(percent, 990, 1010);
	assert_int_equal(compare(at(0, 5, 1), at(1060, 1005, 1), &percent), CLOCK_WRONG);
	assert_in_range(percent, 105, 107);
	assert_int_equal(compare(at(0, 5, 1), at(40, 405, 1), &percent), CLOCK_WRONG);
	assert_in_range(percent, 9, 11);
	/* The clock of a machine that stands still. */
	assert_int_equal(compare(at(7, 5, 0), at(7, 405, 0), &percent), CLOCK_WRONG);
	assert_int_equal(percent, 0);
}

static void an_answer_that_took_long_makes_no_clock_wrong(void **state)
{
	uint64_t percent;

	(void)state;
	/* Right clocks; the host looked at its own at one end of a long wait, or the other. */
	assert_int_equal(compare(at(0, 0, 300), at(500, 500, 300), &percent), CLOCK_UNKNOWN);
	assert_int_equal(compare(at(0, 300, 300), at(500, 500, 300), &percent), CLOCK_UNKNOWN);
	/* What is wrong enough is so however long they took. */
	assert_int_equal(compare(at(0, 0, 300), at(20000, 500, 300), &percent), CLOCK_WRONG);
	/* And after a while the waits do not matter. */
	assert_int_equal(compare(at(0, 0, 300), at(20000, 20150, 300), &percent), CLOCK_RIGHT);
}

static void without_any_time_between_nothing_is_known(void **state)
{
	uint64_t percent;

	(void)state;
	assert_int_equal(compare(at(5, 5, 0), at(5, 5, 0), &percent), CLOCK_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_that_agree_are_right_whatever_each_began_with),
		cmocka_unit_test(
			a_clock_that_runs_too_fast_or_too_slow_is_wrong_and_how_much_is_told),
		cmocka_unit_test(an_answer_that_took_long_makes_no_clock_wrong),
		cmocka_unit_test(without_any_time_between_nothing_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
