/* SPDX-License-Identifier: MIT */
/*
 * All states of a crash point in few runs: recovery and check run on disks whose undecided units are
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
 * once do no harm. A run that never reads what it was to decide has diverged: it is counted, stands
 * for nothing, and the search is not complete. The same goes for a check that ends otherwise than
 * one that read the same, and for a run that is repeated and does not repeat.
 *
 * CRASH_UNIT only. Any number of threads may have a run each, all of one cursor, which must not
 * move; every call may come from any thread.
 */
#ifndef FAULTS_EXPLORE_LAZY_H
#define FAULTS_EXPLORE_LAZY_H

#include "faults/explore/view.h"

struct lazy;
struct lazy_run;

#define LAZY_DEPTH_FIRST_RUNS 2000
#define LAZY_MAX_OPEN         1000000

struct lazy_options {
	uint64_t max_runs; /* 0: no limit; repetitions are not counted */
	/* From this run on best first: the run with the fewest deviations from "all survived". 0:
	 * LAZY_DEPTH_FIRST_RUNS; 1: from the beginning. */
	uint64_t depth_first_runs;
	/* Repeat each so-manieth run with its decisions fixed, to see whether it does the same: 1:
	 * each, 0: none. A run that will be repeated counts as covered once it was. */
	uint64_t repeat_every;
	/* Tasks to keep, about 150 bytes each; 0: LAZY_MAX_OPEN. What would be more is dropped, and
	 * the search cannot be complete any more: so many would have taken it for ever. */
	uint64_t max_open;
	uint64_t seed; /* the order among equals, and which runs are repeated */
};

/* -EINVAL: not CRASH_UNIT; -ENOMEM. */
int lazy_create(const struct crash *crash, const struct crash_image *images,
		const struct lazy_options *options, struct lazy **ret_lazy);
struct lazy *lazy_free(struct lazy *lazy); /* NULL allowed; returns NULL; no run may be under way */

/*
 * The next run: 1; 0: the search is over, and no run is under way; -EAGAIN: none now, but runs
 * under way may open others (see lazy_wait()); -ENOMEM. The run is one thread's until it ends.
 */
int lazy_next(struct lazy *lazy, struct lazy_run **ret_run);
/* Until lazy_next() would not say -EAGAIN. */
void lazy_wait(struct lazy *lazy);
/* What the run reads and writes; the caller may set its limit, and nothing else of it. */
struct view *lazy_view(struct lazy_run *run);
/* Is it the repetition of a run that has ended? Its verdict is no news. */
bool lazy_is_repeat(const struct lazy_run *run);
/*
 * From here on reads and writes are those of the check. A check whose reads were all seen before,
 * with the same content, ends the same: true, *ret_verdict is what that was, and the check need not
 * run. For this, what such checks read is asked for in their place, and may decide units.
 */
bool lazy_check_starts(struct lazy_run *run, int *ret_verdict);
/* The check was aborted: what it has read does not say how it ends. Before lazy_end(). */
void lazy_check_aborted(struct lazy_run *run);
/* Picks of one state that the run stands for (the newest candidate of each remaining set); how
 * many it stands for, as log2; before lazy_end(). */
double lazy_picks(const struct lazy_run *run, uint16_t *picks);
/*
 * The run is over with @verdict (the caller's; it is only compared and given back). -ENOMEM: what
 * was to be kept of it could not be, and the search will not be complete.
 */
int lazy_end(struct lazy *lazy, struct lazy_run *run, int verdict);
/* The run came to no verdict: what it stands for stays open for good. */
void lazy_drop(struct lazy *lazy, struct lazy_run *run);

struct lazy_status {
	uint64_t runs;     /* that were started, without repetitions */
	uint64_t open;     /* known, and not yet started */
	uint64_t dropped;  /* tasks, see max_open */
	uint64_t diverged; /* runs and repetitions that did not do what they had to */
	uint64_t repeated;
	uint64_t checks_skipped;
	double covered; /* fraction of the legal states that finished runs stand for, 0..1 */
	bool complete;  /* all of them, exactly: nothing is open, diverged or was dropped */
};
void lazy_status(struct lazy *lazy, struct lazy_status *ret_status);
/* The fraction of the legal states that finished runs with this verdict stand for, 0..1. */
double lazy_share(struct lazy *lazy, int verdict);

#endif
