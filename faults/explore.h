/* SPDX-License-Identifier: MIT */
/*
 * The explorer: visits crash states of a journal, has each distinct one checked, and says what was
 * covered. It knows neither devices nor commands: the caller presents a state and judges it.
 *
 *	points -> strategies -> picks -> seen before? -> shard? -> worker: check() -> result()
 *
 * Workers are threads of the explorer, each with its own cursor and images; they take moments and
 * states in order. Results come in any order, but each says which state it is of, and the set of
 * results of a finished exploration is a function of journal, options and seed alone.
 */
#ifndef FAULTS_EXPLORE_H
#define FAULTS_EXPLORE_H

#include "faults/lazy.h"
#include "faults/strategy.h"

enum explore_verdict {
	EXPLORE_OK,
	EXPLORE_FAIL,    /* the check says no */
	EXPLORE_TIMEOUT, /* it did not come to an end: a finding */
	EXPLORE_CRASH,   /* it was killed by a signal: a finding */
	EXPLORE_ERROR,   /* it could not be run at all: no finding, and not done */
	EXPLORE_NR_VERDICTS
};

/* One state to check, or one that was. */
struct explore_state {
	const struct journal *journal;
	const struct crash_point *point;
	size_t point_index;
	enum strategy_kind strategy;
	uint64_t hash;         /* of the content of all disks */
	uint64_t key;          /* of content and marks made before: what is checked once */
	const char *name;      /* see crash_name(); valid during the call */
	const uint16_t *picks; /* of @crash; LAZY: those of lazy_picks(), only in result() */
	const struct crash *crash;
	struct view *view;                /* LAZY: the disks to present; else NULL */
	struct lazy_run *run;             /* LAZY: for lazy_check_starts() */
	const struct crash_image *images; /* the worker's: image plus nothing; see check() */
	double covers_log2; /* LAZY, in result(): log2 of how many states it stands for */
};

struct explore_result {
	enum explore_verdict verdict;
	int exit_code, signal;
	uint64_t time_ns;   /* of the check */
	uint64_t switch_ns; /* of presenting the state */
	char *output; /* what it printed, shortened; from malloc, freed by the explorer; or NULL */
};

/* What is known about one moment when all of it that this shard does is done. */
struct explore_point {
	const struct crash_point *point;
	size_t point_index;
	struct crash_count legal;
	size_t nr_choices, nr_volatile;
	uint64_t generated, distinct, equivalent; /* equivalent: were checked before, as others */
	uint64_t verdicts[EXPLORE_NR_VERDICTS];
	double covered;    /* fraction of the legal states, at least so much */
	bool exact;        /* exactly so much */
	bool complete;     /* all legal states of the moment */
	uint64_t diverged; /* LAZY */
};

struct explore_status {
	uint64_t points_done, nr_points;
	uint64_t done, distinct, equivalent, findings;
	uint64_t elapsed_ns;
};

struct explore_options {
	const struct journal *journal;
	struct crash_options crash;
	struct crash_select select;
	const struct strategy *strategies;
	size_t nr_strategies;
	uint64_t seed;
	unsigned int shard, nr_shards; /* this one of so many, 0-based; a state belongs to one */
	unsigned int jobs;             /* workers */
	uint64_t max_states, max_ns;   /* 0: no limit */
	uint64_t max_findings;         /* stop after so many; 0: go on */
	struct lazy_options lazy;
	/* Worker thread @worker. The images of the state are durable content only: the caller
	 * applies crash_put() and takes back what it or the check changed, before it returns. 0, or
	 * -errno which ends the exploration. */
	int (*check)(void *ctx, unsigned int worker, const struct explore_state *state,
		     struct explore_result *ret_result);
	/* Memory for one worker's images; called once for each worker and disk. */
	int (*image)(void *ctx, unsigned int worker, uint16_t disk, struct crash_image *ret_image);
	/* The result of a state; a point is done. One at a time, from any worker. */
	void (*result)(void *ctx, const struct explore_state *state,
		       const struct explore_result *result);
	void (*point)(void *ctx, const struct explore_point *point);
	/* Was a state with this key done before (an earlier run that was cut)? May be NULL. */
	bool (*known)(void *ctx, uint64_t key, enum explore_verdict *ret_verdict);
	void *ctx;
};

struct explore;

int explore_create(const struct explore_options *options, struct diag *diag,
		   struct explore **ret_explore);
/* Runs to the end, or until explore_stop() (any thread, signal handlers included). 0 or -errno. */
int explore_run(struct explore *explore, struct diag *diag);
void explore_stop(struct explore *explore);
void explore_status(const struct explore *explore, struct explore_status *ret_status);
struct explore *explore_free(struct explore *explore); /* NULL allowed; returns NULL */

#endif
