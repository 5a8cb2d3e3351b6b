// SPDX-License-Identifier: MIT
#include "faults/explore/cut.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>

#define PILE_FIRST 256u

void cut_unref(struct cut *cut)
{
	while (cut && --cut->refs == 0) {
		struct cut *before = cut->before;

		free(cut);
		cut = before;
	}
}

static bool is_better(const struct cut *a, const struct cut *b)
{
	return a->deviations != b->deviations ? a->deviations < b->deviations : a->order < b->order;
}

static void swap(struct cut_pile *pile, size_t a, size_t b)
{
	struct cut *cut = pile->cuts[a];

	pile->cuts[a] = pile->cuts[b];
	pile->cuts[b] = cut;
}

static void sift_down(struct cut_pile *pile, size_t i)
{
	for (;;) {
		size_t best = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < pile->nr && is_better(pile->cuts[child], pile->cuts[best]))
				best = child;
		if (best == i)
			return;
		swap(pile, i, best);
		i = best;
	}
}

static void sift_up(struct cut_pile *pile, size_t i)
{
	for (; i && is_better(pile->cuts[i], pile->cuts[(i - 1) / 2]); i = (i - 1) / 2)
		swap(pile, i, (i - 1) / 2);
}

int cut_push(struct cut_pile *pile, struct cut *cut)
{
	if (pile->nr == pile->max) {
		size_t max = pile->max ? 2 * pile->max : PILE_FIRST;
		struct cut **cuts = fail_alloc("faults/explore/cut/pile",
					       reallocarray(pile->cuts, max, sizeof(struct cut *)));

		if (!cuts)
			return -ENOMEM;
		pile->cuts = cuts;
		pile->max = max;
	}
	pile->cuts[pile->nr++] = cut;
	if (pile->is_heap)
		sift_up(pile, pile->nr - 1);
	return 0;
}

struct cut *cut_pop(struct cut_pile *pile)
{
	struct cut *cut;

	assert(pile->nr);
	if (pile->is_heap)
		swap(pile, 0, pile->nr - 1);
	cut = pile->cuts[--pile->nr];
	if (pile->is_heap)
		sift_down(pile, 0);
	return cut;
}

void cut_best_first(struct cut_pile *pile)
{
	pile->is_heap = true;
	for (size_t i = pile->nr / 2; i-- > 0;)
		sift_down(pile, i);
}

void cut_pile_free(struct cut_pile *pile)
{
	while (pile->nr)
		cut_unref(pile->cuts[--pile->nr]);
	free(pile->cuts);
	*pile = (struct cut_pile){ .cuts = NULL };
}
