// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/cut.h"

static struct cut *make_cut(struct cut *before, uint32_t deviations, uint64_t order)
{
	struct cut *cut = calloc(1, sizeof(*cut) + sizeof(uint64_t));

	cut->before = before;
	if (before)
		before->refs++;
	cut->refs = 1;
	cut->deviations = deviations;
	cut->order = order;
	return cut;
}

static void a_pile_gives_the_last_first(void **state)
{
	struct cut_pile pile = { .cuts = NULL };

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(cut_push(&pile, make_cut(NULL, (uint32_t)(i % 7), i)), 0);
	for (uint64_t i = 1000; i-- > 500;) {
		struct cut *cut = cut_pop(&pile);

		assert_int_equal(cut->order, i);
		cut_unref(cut);
	}
	cut_pile_free(&pile);
	assert_int_equal(pile.nr, 0);
}

static void from_some_point_on_the_fewest_deviations_come_first(void **state)
{
	struct cut_pile pile = { .cuts = NULL };
	struct draw draw = { .seed = 1 };
	uint64_t last = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		if (i == 1000)
			cut_best_first(&pile);
		assert_int_equal(cut_push(&pile, make_cut(NULL, (uint32_t)draw_below(&draw, 50),
							  draw_below(&draw, 1000))),
				 0);
	}
	while (pile.nr) {
		struct cut *cut = cut_pop(&pile);
		uint64_t rank = cut->deviations * 1000 + cut->order;

		assert_true(rank >= last);
		last = rank;
		cut_unref(cut);
	}
	cut_pile_free(&pile);
}

/* A sanitizer sees what is freed too early, twice, or never. */
static void a_chain_lives_as_long_as_something_points_into_it(void **state)
{
	struct cut *root = make_cut(NULL, 0, 0), *middle = make_cut(root, 1, 1);
	struct cut *one = make_cut(middle, 2, 2), *other = make_cut(middle, 2, 3);

	(void)state;
	cut_unref(middle);
	cut_unref(root);
	assert_int_equal(middle->refs, 2);
	cut_unref(one);
	assert_int_equal(other->before->before->order, 0);
	assert_int_equal(root->refs, 1);
	cut_unref(other);
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
