/* SPDX-License-Identifier: MIT */
/*
 * Cuts of a box, and piles of them: what the lazy search has still to look at (see lazy.c).
 *
 * A cut makes the set of one unit smaller; with the cuts before it, it is a box. Chains are shared:
 * whatever points at a cut counts as one. The caller locks.
 */
#ifndef FAULTS_EXPLORE_CUT_H
#define FAULTS_EXPLORE_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CUT_ROOT UINT32_MAX /* the choice of the first of a chain: the whole box */

struct cut {
	struct cut *before;
	uint32_t refs; /* cuts behind it, piles, runs */
	uint32_t choice;
	uint32_t deviations; /* units of the box that cannot be the newest any more */
	uint64_t order;      /* among equals; the same for the same cuts in whatever order */
	uint64_t asked;      /* which sectors of the unit were read when it was made */
	uint64_t set[];      /* a bit for each candidate */
};

/* No longer pointed at from here; freed, and those before it, when from nowhere else. */
void cut_unref(struct cut *cut);

/* All zero: empty, and last in, first out. */
struct cut_pile {
	struct cut **cuts;
	size_t nr, max;
	bool is_heap;
};

/* Takes over the caller's pointer. -ENOMEM: it did not. */
int cut_push(struct cut_pile *pile, struct cut *cut);
/* The next one; there must be one. The caller points at it now. */
struct cut *cut_pop(struct cut_pile *pile);
/* From here on the one with the fewest deviations comes first. */
void cut_best_first(struct cut_pile *pile);
/* Unrefs all. */
void cut_pile_free(struct cut_pile *pile);

#endif
