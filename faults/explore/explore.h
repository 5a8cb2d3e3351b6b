/* SPDX-License-Identifier: MIT */
/*
 * The explorer: visits crash states of a journal, has each distinct one checked, and says what was
 * covered. It knows neither devices nor commands: the caller presents a state and judges it.
 *
 *	points -> strategies -> picks -> seen before? -> shard? -> worker: check() -> result()
 *
 * Workers are threads of the explorer, each with its own cursor and images; they take crash points and
 * states in order. Results come in any order, but each says which state it is of, and the set of
 * results of a finished exploration is a function of journal, options and seed alone: states are
 * generated one after the other, by one more cursor, and the first of equal ones is checked.
 *
 * Memory: jobs + 1 cursors and images; 8 bytes for each distinct state of this shard in tables that
 * are at most 3/4 full and grow by doubling (up to max_keys; what comes later is checked, but not
 * remembered, so an equal state may be checked again); the same for the states of one crash point.
 */
#ifndef FAULTS_EXPLORE_EXPLORE_H
#define FAULTS_EXPLORE_EXPLORE_H

#include "faults/explore/lazy.h"
#include "faults/explore/strategy.h"

enum explore_verdict {
	EXPLORE_OK,
	EXPLORE_FAIL,    /* the check says no */
	EXPLORE_TIMEOUT, /* it did not come to an end: a finding */
	EXPLORE_CRASH,   /* it was killed by a signal: a finding */
	EXPLORE_ERROR,   /* it could not be run, or the machine lacked something: not done */
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
	struct view *view;    /* LAZY: the disks to present; else NULL */
	struct lazy_run *run; /* LAZY: for lazy_check_starts() and lazy_check_aborted() */
	const struct crash_image *images; /* that @crash keeps: durable content; see check() */
	double covers_log2; /* LAZY, in result(): log2 of how many states it stands for */
};

struct explore_result {
	enum explore_verdict verdict;
	int exit_code, signal;
	bool in_recovery; /* so ended what comes before the check, which was not run */
	const char *lack; /* EXPLORE_ERROR: what the machine lacked, in words that last; or NULL */
	uint64_t time_ns; /* of the check */
	uint64_t switch_ns; /* of presenting the state */
	char *output; /* what it printed, shortened; from malloc, freed by the explorer; or NULL */
};

/* What is known about one crash point when all of it that this shard does is done. */
struct explore_point {
	const struct crash_point *point;
	size_t point_index;
	struct crash_count legal;
	size_t nr_choices, nr_volatile;
	/* Of this shard: generated = distinct + equivalent, which were there before, here or at
	 * an earlier crash point. */
	uint64_t generated, distinct, equivalent;
	uint64_t verdicts[EXPLORE_NR_VERDICTS];
	/* Fraction of the legal states of which this shard has a verdict, at least; those of all
	 * shards add up. Equal content that was judged at another crash point counts where it was
	 * generated; what could not be run (EXPLORE_ERROR) counts nowhere. */
	double covered;
	bool exact;    /* exactly so much: all that is this shard's has a verdict */
	bool complete; /* exact, and all legal states of the crash point, by this shard alone */
	bool missing;  /* there are legal states that are not known, nobody knows how many: it is
			* never complete, and nothing counts as covered */
	uint64_t diverged; /* LAZY: runs that did not do what they had to */
	/* LAZY: fractions of the legal states, by what runs that stand for them came to. */
	bool has_shares;
	double shares[EXPLORE_NR_VERDICTS];
};

enum explore_stopped {
	EXPLORE_NOT_STOPPED,
	EXPLORE_AT_LIMIT,    /* max_states or max_ns */
	EXPLORE_AT_FINDINGS, /* max_findings */
	EXPLORE_ASKED,       /* explore_stop() */
};

struct explore_status {
	uint64_t points_done, nr_points, points_complete;
	uint64_t points_missing, points_exact; /* see explore_point */
	uint64_t generated, done, distinct, equivalent, findings, errors;
	uint64_t known;                        /* of the distinct: done by an earlier run */
	uint64_t forgotten;                    /* distinct, but beyond max_keys */
	uint64_t elapsed_ns, first_finding_ns; /* 0: none yet */
	/* Mean over all crash points, nr_points of them: one that has not ended counts as 0 while the
	 * exploration runs, and with what was covered of it in the end. */
	double covered;
	enum explore_stopped stopped;
};

struct explore_lazy_known {
	uint64_t runs;
	uint64_t verdicts[EXPLORE_NR_VERDICTS];
	bool has_shares;
	double shares[EXPLORE_NR_VERDICTS];
};

#define EXPLORE_KEYS (1ull << 25) /* a table of at most 512 MiB */

struct explore_options {
	const struct journal *journal;
	struct crash_options crash;
	struct crash_select select;
	const struct strategy *strategies;
	size_t nr_strategies;
	uint64_t seed;
	bool by_content; /* equal content is checked once, whatever marks were made before */
	unsigned int shard, nr_shards; /* this one of so many, 0-based; a state is key % nr's */
	unsigned int jobs;             /* workers */
	uint64_t max_states, max_ns;   /* 0: no limit */
	uint64_t max_findings;         /* stop after so many; 0: go on */
	uint64_t max_keys;             /* states to remember; 0: EXPLORE_KEYS */
	struct lazy_options lazy;
	/* Worker thread @worker. The images of the state are durable content only: the caller
	 * applies crash_put() and takes back what it or the check changed, before it returns. 0;
	 * -EINTR: the exploration is being stopped, and this state was not done; or another -errno,
	 * which ends the exploration and is what explore_run() returns. */
	int (*check)(void *ctx, unsigned int worker, const struct explore_state *state,
		     struct explore_result *ret_result);
	/* Memory for one worker's images, zeroes; called by explore_create() for each worker and
	 * disk, and as worker number @jobs for the cursor that generates. The caller's. */
	int (*image)(void *ctx, unsigned int worker, uint16_t disk, struct crash_image *ret_image);
	/* The result of a state; a point is done. One at a time, from any worker. */
	void (*result)(void *ctx, const struct explore_state *state,
		       const struct explore_result *result);
	void (*point)(void *ctx, const struct explore_point *point);
	/* Was a state with this key done before (an earlier run that was cut)? May be NULL. */
	bool (*known)(void *ctx, uint64_t key, enum explore_verdict *ret_verdict);
	/* Was all of LAZY of this crash point done before? What it came to: runs and verdicts are added
	 * to the crash point's. May be NULL. */
	bool (*known_lazy)(void *ctx, size_t point_index, struct explore_lazy_known *ret_known);
	void *ctx;
};

struct explore;

/* Copies *options; what it points to must outlive the explorer. -EINVAL in words, -ENOMEM. */
int explore_create(const struct explore_options *options, struct diag *diag,
		   struct explore **ret_explore);
/* Its crash points, ascending, and the options of its cursors (unit_bytes is settled). */
size_t explore_points(const struct explore *explore, const struct crash_point **ret_points);
const struct crash_options *explore_crash_options(const struct explore *explore);
/*
 * Once. Runs to the end, a limit, or explore_stop() (any thread, signal handlers included). 0 or
 * -errno. Crash points that were begun and not ended are told to point() at the end, not complete.
 */
int explore_run(struct explore *explore, struct diag *diag);
void explore_stop(struct explore *explore);
/* Any thread, at any time. */
void explore_status(struct explore *explore, struct explore_status *ret_status);
const char *explore_verdict_name(enum explore_verdict verdict);
static inline bool explore_is_finding(enum explore_verdict verdict)
{
	return verdict == EXPLORE_FAIL || verdict == EXPLORE_TIMEOUT || verdict == EXPLORE_CRASH;
}
struct explore *explore_free(struct explore *explore); /* NULL allowed; returns NULL */

#endif
