/* SPDX-License-Identifier: MIT */
/*
 * All states of a moment in few runs: recovery and check run on disks whose undecided units are
 * decided when they are first read. What nobody reads need not be enumerated.
 *
 * A run is given a set of candidates for each unit, at first all of them. A read of a unit splits
 * its set into classes that are alike in the bytes read (less what the run itself has overwritten):
 * one class is no decision; of several the run goes on with one, and each of the others is a run to
 * come, with the decisions so far. At its end a run stands for every state that remains in its
 * sets: the product of their sizes. These products add up to the number of legal states exactly
 * when the search is finished, which is checked, and is what "complete" means here.
 *
 * It holds for what is deterministic: the same content read gives the same next reads and the same
 * verdict. Decisions belong to units, not to places in the order of reads, so several readers at
 * once do no harm. A run that never reads a unit it was to decide has diverged: counted, told, and
 * the search is not complete.
 *
 * CRASH_UNIT only. Any number of threads may have a run each; lazy_next() and lazy_end() lock.
 */
#ifndef FAULTS_LAZY_H
#define FAULTS_LAZY_H

#include "faults/view.h"

struct lazy;
struct lazy_run;

struct lazy_options {
	uint64_t max_runs; /* 0: no limit */
	/* From this run on best first: the run with the fewest deviations from "all survived". */
	uint64_t depth_first_runs; /* default 2,000 */
	uint64_t seed;
};

int lazy_create(const struct crash *crash, const struct crash_image *images,
		const struct lazy_options *options, struct lazy **ret_lazy);
struct lazy *lazy_free(struct lazy *lazy); /* NULL allowed; returns NULL; no run may be under way */

/*
 * The next run: 1; 0: the search is over; -EAGAIN: none now, but runs under way may open others;
 * -ENOMEM. The run is one thread's until lazy_end().
 */
int lazy_next(struct lazy *lazy, struct lazy_run **ret_run);
struct view *lazy_view(struct lazy_run *run);
/*
 * From here on reads are those of the check. A check whose reads were all seen before, with the
 * same content, ends the same: true, *ret_verdict is what that was, and the check need not run.
 */
bool lazy_check_starts(struct lazy_run *run, int *ret_verdict);
/* The run is over with @verdict (the caller's; it is only compared and given back). -ENOMEM. */
int lazy_end(struct lazy *lazy, struct lazy_run *run, int verdict);
/* Picks of one state that the run stands for (the newest candidate of each remaining set); how
 * many it stands for, as log2; before lazy_end(). */
double lazy_picks(const struct lazy_run *run, uint16_t *picks);

struct lazy_status {
	uint64_t runs, open, diverged;
	uint64_t checks_skipped;
	double covered; /* fraction of the legal states that finished runs stand for, 0..1 */
	bool complete;  /* finished, and the sum is exact */
};
void lazy_status(struct lazy *lazy, struct lazy_status *ret_status);

#endif
