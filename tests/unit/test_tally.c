// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/tally.h"

#define UNITS 1000u

/* As the candidates of units stand in the choices of a cursor: with something between them. */
struct unit {
	uint64_t at;
	uint32_t nr, other;
};

static struct unit units[UNITS];

static struct tally make_tally(size_t nr)
{
	struct tally tally = { .shares = NULL };

	for (size_t i = 0; i < UNITS; i++)
		units[i].nr = (uint32_t)(2 + i % 5 + (i % 17 == 0 ? 60000 : 0));
	assert_int_equal(tally_start(&tally, &units[0].nr, nr, sizeof(*units)), 0);
	return tally;
}

/* The box in which the units before @unit are down to one candidate and this one has @left. */
static void add_box(struct tally *tally, size_t unit, uint32_t left, int verdict)
{
	struct tally_box box;

	assert_int_equal(tally_whole(tally, &box), 0);
	for (size_t i = 0; i < unit; i++)
		assert_int_equal(tally_cut(&box, 1, units[i].nr), 0);
	assert_int_equal(tally_cut(&box, left, units[unit].nr), 0);
	assert_int_equal(tally_add(tally, &box, verdict), 0);
	tally_box_free(&box);
}

static void boxes_without_gap_and_overlap_fill_it_exactly(void **state)
{
	struct tally tally = make_tally(UNITS);

	(void)state;
	assert_true(tally_covered(&tally) == 0);
	for (size_t i = 0; i < UNITS; i++) {
		add_box(&tally, i, units[i].nr - 1, (int)(i % 3));
		assert_false(tally_is_full(&tally));
		assert_true(tally_covered(&tally) < 1);
	}
	add_box(&tally, UNITS - 1, 1, 7);
	assert_true(tally_is_full(&tally));
	assert_true(tally_covered(&tally) == 1);
	assert_true(tally_share(&tally, 7) > 0);
	assert_true(tally_share(&tally, 8) == 0);
	tally_free(&tally);
}

static void a_share_is_that_of_all_states(void **state)
{
	struct tally tally = make_tally(3);

	(void)state;
	assert_int_equal(units[1].nr, 3);
	add_box(&tally, 0, 60000, 1);
	add_box(&tally, 1, 2, 2);
	assert_true(tally_share(&tally, 1) == 60000.0 / 60002);
	assert_true(tally_share(&tally, 2) == 1.0 / 60002 * 2 / 3);
	tally_free(&tally);
}

static void nothing_undecided_is_one_state(void **state)
{
	struct tally tally = { .shares = NULL };
	struct tally_box box;

	(void)state;
	assert_int_equal(tally_start(&tally, NULL, 0, 0), 0);
	assert_false(tally_is_full(&tally));
	assert_int_equal(tally_whole(&tally, &box), 0);
	assert_int_equal(tally_add(&tally, &box, 0), 0);
	assert_true(tally_is_full(&tally));
	tally_box_free(&box);
	tally_free(&tally);
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
