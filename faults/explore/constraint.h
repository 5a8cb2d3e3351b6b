/* SPDX-License-Identifier: MIT */
/*
 * Constraints of a box, and piles of them: what the lazy search has still to look at (see lazy.c).
 *
 * A constraint makes the set of one unit smaller; with the constraints before it, it is a box.
 * Chains are shared: whatever points at a constraint counts as one. The caller locks.
 */
#ifndef FAULTS_EXPLORE_CONSTRAINT_H
#define FAULTS_EXPLORE_CONSTRAINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONSTRAINT_ROOT UINT32_MAX /* the choice of the first of a chain: the whole box */

struct constraint {
	struct constraint *before;
	uint32_t refs; /* constraints behind it, piles, runs */
	uint32_t choice;
	uint32_t deviations; /* units of the box that cannot be the newest any more */
	uint64_t order;      /* among equals; the same for the same constraints in whatever order */
	uint64_t asked;      /* which sectors of the unit were read when it was made */
	uint64_t set[];      /* a bit for each candidate */
};

/* No longer pointed at from here; freed, and those before it, when from nowhere else. */
void constraint_unref(struct constraint *constraint);

/* All zero: empty, and last in, first out. */
struct constraint_pile {
	struct constraint **constraints;
	size_t nr, max;
	bool is_heap;
};

/* Takes over the caller's pointer. -ENOMEM: it did not. */
int constraint_push(struct constraint_pile *pile, struct constraint *constraint);
/* The next one; there must be one. The caller points at it now. */
struct constraint *constraint_pop(struct constraint_pile *pile);
/* From here on the one with the fewest deviations comes first. */
void constraint_best_first(struct constraint_pile *pile);
/* Unrefs all. */
void constraint_pile_free(struct constraint_pile *pile);

#endif
