// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/state_count.h"

#define UNITS 1000u

/* As the candidates of units stand in the choices of a cursor: with something between them. */
struct unit {
	uint64_t at;
	uint32_t nr, other;
};

static struct unit units[UNITS];

static struct state_count make_count(size_t nr)
{
	struct state_count count = { .shares = NULL };

	for (size_t i = 0; i < UNITS; i++)
		units[i].nr = (uint32_t)(2 + i % 5 + (i % 17 == 0 ? 60000 : 0));
	assert_int_equal(state_count_start(&count, &units[0].nr, nr, sizeof(*units)), 0);
	return count;
}

/* The box in which the units before @unit are down to one candidate and this one has @left. */
static void add_box(struct state_count *count, size_t unit, uint32_t left, int verdict)
{
	struct state_box box;

	assert_int_equal(state_count_whole(count, &box), 0);
	for (size_t i = 0; i < unit; i++)
		assert_int_equal(state_box_constrain(&box, 1, units[i].nr), 0);
	assert_int_equal(state_box_constrain(&box, left, units[unit].nr), 0);
	assert_int_equal(state_count_add(count, &box, verdict), 0);
	state_box_free(&box);
}

static void boxes_without_gap_and_overlap_fill_it_exactly(void **state)
{
	struct state_count count = make_count(UNITS);

	(void)state;
	assert_true(state_count_covered(&count) == 0);
	for (size_t i = 0; i < UNITS; i++) {
		add_box(&count, i, units[i].nr - 1, (int)(i % 3));
		assert_false(state_count_is_full(&count));
		assert_true(state_count_covered(&count) < 1);
	}
	add_box(&count, UNITS - 1, 1, 7);
	assert_true(state_count_is_full(&count));
	assert_true(state_count_covered(&count) == 1);
	assert_true(state_count_share(&count, 7) > 0);
	assert_true(state_count_share(&count, 8) == 0);
	state_count_free(&count);
}

static void a_share_is_that_of_all_states(void **state)
{
	struct state_count count = make_count(3);

	(void)state;
	assert_int_equal(units[1].nr, 3);
	add_box(&count, 0, 60000, 1);
	add_box(&count, 1, 2, 2);
	assert_true(state_count_share(&count, 1) == 60000.0 / 60002);
	assert_true(state_count_share(&count, 2) == 1.0 / 60002 * 2 / 3);
	state_count_free(&count);
}

static void nothing_undecided_is_one_state(void **state)
{
	struct state_count count = { .shares = NULL };
	struct state_box box;

	(void)state;
	assert_int_equal(state_count_start(&count, NULL, 0, 0), 0);
	assert_false(state_count_is_full(&count));
	assert_int_equal(state_count_whole(&count, &box), 0);
	assert_int_equal(state_count_add(&count, &box, 0), 0);
	assert_true(state_count_is_full(&count));
	state_box_free(&box);
	state_count_free(&count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boxes_without_gap_and_overlap_fill_it_exactly),
		cmocka_unit_test(a_share_is_that_of_all_states),
		cmocka_unit_test(nothing_undecided_is_one_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
