// SPDX-License-Identifier: MIT
#include "faults/explore/constraint.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/heap.h"

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

static bool is_better(struct constraint *const *left, struct constraint *const *right)
{
	const struct constraint *a = *left, *b = *right;

	return a->deviations != b->deviations ? a->deviations < b->deviations : a->order < b->order;
}

static void put_at(struct constraint_pile *pile, size_t i, struct constraint *constraint)
{
	pile->constraints[i] = constraint;
}

HEAP_SIFTS(struct constraint_pile, constraints, nr, struct constraint *, size_t, is_better, put_at)

int constraint_push(struct constraint_pile *pile, struct constraint *constraint)
{
	if (array_room("faults/explore/constraint/pile", pile->constraints, pile->max, pile->nr + 1,
		       PILE_FIRST))
		return -ENOMEM;
	pile->constraints[pile->nr++] = constraint;
	if (pile->is_heap)
		sift_up(pile, pile->nr - 1, constraint);
	return 0;
}

struct constraint *constraint_pop(struct constraint_pile *pile)
{
	struct constraint *first, *last;

	assert(pile->nr);
	first = pile->constraints[0];
	last = pile->constraints[--pile->nr];
	if (!pile->is_heap)
		return last;
	if (pile->nr)
		sift_down(pile, 0, last);
	return first;
}

void constraint_best_first(struct constraint_pile *pile)
{
	pile->is_heap = true;
	for (size_t i = pile->nr / 2; i-- > 0;)
		sift_down(pile, i, pile->constraints[i]);
}

void constraint_pile_free(struct constraint_pile *pile)
{
	while (pile->nr)
		constraint_unref(pile->constraints[--pile->nr]);
	free(pile->constraints);
	*pile = (struct constraint_pile){ .constraints = NULL };
}
