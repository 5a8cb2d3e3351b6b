/* SPDX-License-Identifier: MIT */
/*
 * Which part of all states has been seen, and with which verdict: sums of the sizes of boxes, in
 * whole numbers (see lazy.c). The caller locks.
 */
#ifndef FAULTS_EXPLORE_STATE_COUNT_H
#define FAULTS_EXPLORE_STATE_COUNT_H

#include "faults/explore/bignum.h"

#include <stdbool.h>

struct state_share {
	int verdict;
	struct bignum states;
};

/* All zero: of nothing yet, which is one state. */
struct state_count {
	struct bignum total, covered;
	struct state_share *shares;
	size_t nr_shares;
};

/* The size of a box; and factors that it has still to be multiplied with, and divided by. */
struct state_box {
	struct bignum size;
	uint64_t times, over;
};

/* -ENOMEM from each that can fail. */

/* The states of so many units, nr[i] candidates each, @stride bytes from one to the next. */
int state_count_start(struct state_count *count, const uint32_t *nr, size_t nr_units,
		      size_t stride);
void state_count_free(struct state_count *count);

/* All there is; then, for each unit that is no longer so, @left of its @nr candidates. */
int state_count_whole(const struct state_count *count, struct state_box *box);
int state_box_constrain(struct state_box *box, uint32_t left, uint32_t nr);
void state_box_free(struct state_box *box);

/* The box, after all its constraints, ended with @verdict. It must not meet one that was added before. */
int state_count_add(struct state_count *count, struct state_box *box, int verdict);

bool state_count_is_full(const struct state_count *count);   /* exactly */
double state_count_covered(const struct state_count *count); /* 0..1; 1 only when it is full */
double state_count_share(const struct state_count *count, int verdict); /* 0..1 of all states */

#endif
