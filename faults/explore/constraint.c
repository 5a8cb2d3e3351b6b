// SPDX-License-Identifier: MIT
#include "faults/explore/constraint.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>

#define PILE_FIRST 256u

void constraint_unref(struct constraint *constraint)
{
	while (constraint && --constraint->refs == 0) {
		struct constraint *before = constraint->before;

		free(constraint);
		constraint = before;
	}
}

static bool is_better(const struct constraint *a, const struct constraint *b)
{
	return a->deviations != b->deviations ? a->deviations < b->deviations : a->order < b->order;
}

static void swap(struct constraint_pile *pile, size_t a, size_t b)
{
	struct constraint *constraint = pile->constraints[a];

	pile->constraints[a] = pile->constraints[b];
	pile->constraints[b] = constraint;
}

static void sift_down(struct constraint_pile *pile, size_t i)
{
	for (;;) {
		size_t best = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < pile->nr &&
			    is_better(pile->constraints[child], pile->constraints[best]))
				best = child;
		if (best == i)
			return;
		swap(pile, i, best);
		i = best;
	}
}

static void sift_up(struct constraint_pile *pile, size_t i)
{
	for (; i && is_better(pile->constraints[i], pile->constraints[(i - 1) / 2]);
	     i = (i - 1) / 2)
		swap(pile, i, (i - 1) / 2);
}

int constraint_push(struct constraint_pile *pile, struct constraint *constraint)
{
	if (array_room("faults/explore/constraint/pile", pile->constraints, pile->max, pile->nr + 1,
		       PILE_FIRST))
		return -ENOMEM;
	pile->constraints[pile->nr++] = constraint;
	if (pile->is_heap)
		sift_up(pile, pile->nr - 1);
	return 0;
}

struct constraint *constraint_pop(struct constraint_pile *pile)
{
	struct constraint *constraint;

	assert(pile->nr);
	if (pile->is_heap)
		swap(pile, 0, pile->nr - 1);
	constraint = pile->constraints[--pile->nr];
	if (pile->is_heap)
		sift_down(pile, 0);
	return constraint;
}

void constraint_best_first(struct constraint_pile *pile)
{
	pile->is_heap = true;
	for (size_t i = pile->nr / 2; i-- > 0;)
		sift_down(pile, i);
}

void constraint_pile_free(struct constraint_pile *pile)
{
	while (pile->nr)
		constraint_unref(pile->constraints[--pile->nr]);
	free(pile->constraints);
	*pile = (struct constraint_pile){ .constraints = NULL };
}
