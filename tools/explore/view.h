/* SPDX-License-Identifier: MIT */
/*
 * The view that a presenter shows: the state's own for LAZY, otherwise one of the presenter's that
 * takes the state's picks, and is kept as long as the crash point is the same. One thread at a time.
 */
#ifndef TOOLS_EXPLORE_VIEW_H
#define TOOLS_EXPLORE_VIEW_H

#include "faults/explore/view.h"
#include "tools/explore/explore.h"

/* Zero at first. */
struct shown_view {
	struct view *view;         /* of states whose picks are given; NULL: none yet */
	const struct crash *crash; /* what it is of, */
	uint64_t step;             /* and when */
};

/* The view that shows @state, with nothing written to it; borrowed. -ENOMEM in words. */
int shown_view_take(struct shown_view *shown, const struct explore_state *state, struct diag *diag,
		    struct view **ret_view);
/*
 * It is shown no more: throw away what was written to it. @error: the first one of its reads and
 * writes, or 0; it ends the exploration, in words.
 */
int shown_view_restore(struct shown_view *shown, const struct explore_state *state, int error,
		       struct diag *diag);
void shown_view_free(struct shown_view *shown);

#endif
