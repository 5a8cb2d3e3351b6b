/* SPDX-License-Identifier: MIT */
/*
 * From a state that fails its check to one that loses as little as possible and still fails.
 *
 * What a state loses are the choices that do not have their newest candidate. Fewer of them are
 * tried, never others: every state that is tried is a legal one of the same crash point, and lies
 * between the one given and "everything survived". First all lost units of a write come back
 * together, by halves, quarters and so on (delta debugging); then single units in the same way;
 * then a unit may take a newer candidate than the one it had. What comes out is 1-minimal: bring
 * back any single lost unit, or (in order) the next write or one in flight, and the check passes.
 * Nothing is assumed of the check but that it answers the same for the same state; it need not be
 * monotone.
 */
#ifndef FAULTS_EXPLORE_SHRINK_H
#define FAULTS_EXPLORE_SHRINK_H

#include "faults/crash/crash.h"

#define SHRINK_RUNS 500 /* default */

struct shrink_options {
	uint64_t max_runs; /* states that are checked at most; 0: SHRINK_RUNS */
	/* Check the state of these picks: 1: it fails (in the same way, if the caller tells ways
	 * apart), 0: it passes, -errno: stop here. The same state is not asked for twice. */
	int (*fails)(void *ctx, const uint16_t *picks);
	void *ctx;
};

struct shrink_result {
	uint64_t runs;
	size_t nr_before, nr_lost; /* choices that are not at their newest; CRASH_ORDER: writes */
	bool reproduced;           /* the state given failed again; if not, nothing was tried */
	bool minimal;              /* 1-minimal, proved; false: the runs were not enough */
};

/*
 * @picks: of a state that failed at the crash point where @crash stands; on return of the smallest
 * found, also on error. The picks handed to fails() are valid during the call. Deterministic.
 * -ENOMEM, and what fails() returned to stop.
 */
int shrink(const struct crash *crash, const struct shrink_options *options, uint16_t *picks,
	   struct shrink_result *ret_result);

#endif
