// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/constraint.h"

static struct constraint *make_constraint(struct constraint *before, uint32_t deviations,
					  uint64_t order)
{
	struct constraint *constraint = calloc(1, sizeof(*constraint) + sizeof(uint64_t));

	constraint->before = before;
	if (before)
		before->refs++;
	constraint->refs = 1;
	constraint->deviations = deviations;
	constraint->order = order;
	return constraint;
}

static void a_pile_gives_the_last_first(void **state)
{
	struct constraint_pile pile = { .constraints = NULL };

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(
			constraint_push(&pile, make_constraint(NULL, (uint32_t)(i % 7), i)), 0);
	for (uint64_t i = 1000; i-- > 500;) {
		struct constraint *constraint = constraint_pop(&pile);

		assert_int_equal(constraint->order, i);
		constraint_unref(constraint);
	}
	constraint_pile_free(&pile);
	assert_int_equal(pile.nr, 0);
}

static void from_some_point_on_the_fewest_deviations_come_first(void **state)
{
	struct constraint_pile pile = { .constraints = NULL };
	struct draw draw = { .seed = 1 };
	uint64_t last = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		if (i == 1000)
			constraint_best_first(&pile);
		assert_int_equal(
			constraint_push(&pile,
					make_constraint(NULL, (uint32_t)draw_below(&draw, 50),
							draw_below(&draw, 1000))),
			0);
	}
	while (pile.nr) {
		struct constraint *constraint = constraint_pop(&pile);
		uint64_t rank = constraint->deviations * 1000 + constraint->order;

		assert_true(rank >= last);
		last = rank;
		constraint_unref(constraint);
	}
	constraint_pile_free(&pile);
}

/* A sanitizer sees what is freed too early, twice, or never. */
static void a_chain_lives_as_long_as_something_points_into_it(void **state)
{
	struct constraint *root = make_constraint(NULL, 0, 0),
			  *middle = make_constraint(root, 1, 1);
	struct constraint *one = make_constraint(middle, 2, 2),
			  *other = make_constraint(middle, 2, 3);

	(void)state;
	constraint_unref(middle);
	constraint_unref(root);
	assert_int_equal(middle->refs, 2);
	constraint_unref(one);
	assert_int_equal(other->before->before->order, 0);
	assert_int_equal(root->refs, 1);
	constraint_unref(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pile_gives_the_last_first),
		cmocka_unit_test(from_some_point_on_the_fewest_deviations_come_first),
		cmocka_unit_test(a_chain_lives_as_long_as_something_points_into_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
