/* SPDX-License-Identifier: MIT */
/*
 * Which part of all states has been seen, and with which verdict: sums of the sizes of boxes, in
 * whole numbers (see lazy.c). The caller locks.
 */
#ifndef FAULTS_EXPLORE_TALLY_H
#define FAULTS_EXPLORE_TALLY_H

#include "faults/explore/big.h"

#include <stdbool.h>

struct tally_share {
	int verdict;
	struct big states;
};

/* All zero: of nothing yet, which is one state. */
struct tally {
	struct big total, covered;
	struct tally_share *shares;
	size_t nr_shares;
};

/* The size of a box; and factors that it has still to be multiplied with, and divided by. */
struct tally_box {
	struct big size;
	uint64_t times, over;
};

/* -ENOMEM from each that can fail. */

/* The states of so many units, nr[i] candidates each, @stride bytes from one to the next. */
int tally_start(struct tally *tally, const uint32_t *nr, size_t nr_units, size_t stride);
void tally_free(struct tally *tally);

/* All there is; then, for each unit that is no longer so, @left of its @nr candidates. */
int tally_whole(const struct tally *tally, struct tally_box *box);
int tally_cut(struct tally_box *box, uint32_t left, uint32_t nr);
void tally_box_free(struct tally_box *box);

/* The box, after all its cuts, ended with @verdict. It must not meet one that was added before. */
int tally_add(struct tally *tally, struct tally_box *box, int verdict);

bool tally_is_full(const struct tally *tally);              /* exactly */
double tally_covered(const struct tally *tally);            /* 0..1; 1 only when it is full */
double tally_share(const struct tally *tally, int verdict); /* 0..1 of all states */

#endif
