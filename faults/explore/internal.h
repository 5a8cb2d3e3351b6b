/* SPDX-License-Identifier: MIT */
/* Inside the explorer: what its generator and workers share with its lazy search. */
#ifndef FAULTS_EXPLORE_INTERNAL_H
#define FAULTS_EXPLORE_INTERNAL_H

#include "faults/explore/explore.h"
#include "faults/explore/key_set.h"

#include <pthread.h>
#include <stdatomic.h>

#define EXPLORE_LAZY_STREAM 0x6c617a79ull /* of rng_mix(): "lazy" */

/* A crash point of which something is to be done, or under way. All by `lock`. */
struct point_work {
	struct point_work *next; /* of explore->live, or of explore->ended */
	struct explore_point pub;
	uint64_t nr_held;         /* the generator while it is there, states and LAZY under way */
	uint64_t seen, seen_ours; /* different contents generated here, of all shards */
	uint64_t judged;          /* of seen_ours: with a verdict, here or at another crash point */
	double lazy_covered;
	bool has_lazy;
	bool complete;      /* every legal state was generated */
	bool lazy_complete; /* LAZY has judged every one */
};

/* What a worker does next. */
struct task {
	struct point_work *work;
	enum strategy_kind strategy;
	uint64_t hash, key;
	bool fresh;
	bool is_seen;                       /* it is one of work->seen_ours */
	struct explore_lazy_search *search; /* LAZY: with a run of this one */
	struct lazy_run *run;
};

struct worker {
	struct explore *explore;
	unsigned int index;
	pthread_t thread;
	struct crash *crash;
	struct crash_image *images;
	uint16_t *picks;
	size_t nr_picks;
	/* By `lock`: the state that is its own, and later crash points that have an equal one. */
	bool at_state;
	uint64_t key;
	struct point_work **waiting;
	size_t nr_waiting, room_waiting;
};

struct explore {
	struct explore_options options;
	struct crash_point *points;
	size_t nr_points;
	struct worker *workers;
	_Atomic bool stop, asked;

	pthread_mutex_t out;  /* around result() and point() */
	pthread_mutex_t lock; /* for all that follows */
	pthread_cond_t changed;
	struct crash *crash; /* the generator's */
	struct crash_image *images;
	uint16_t *picks;
	size_t nr_picks;
	size_t next_point, next_strategy;
	struct point_work *work; /* the generator's */
	struct strategy_walk *walk;
	uint64_t walk_given;
	struct key_set keys, here;
	struct key_set unjudged; /* of keys: those that came to no verdict */
	struct point_work *live, *ended, **ended_tail;
	struct explore_lazy_search *lazies; /* under way */
	uint64_t handed;
	struct explore_status status;
	double sum_covered;
	uint64_t start_ns, end_ns;
	int err;
};

/* pool.c */
uint64_t explore_key(const struct explore *e, uint64_t hash, uint32_t nr_marks, bool lazy);
void explore_stop_for(struct explore *e, enum explore_stopped why);
void explore_fail(struct explore *e, int err);
/* Lock held: one more state has this verdict; @nr of them. */
void explore_count(struct explore *e, struct point_work *work, enum explore_verdict verdict,
		   uint64_t nr);
/* Lock held: nothing more of it will come; on to the list of those to be told. */
void explore_point_end(struct explore *e, struct point_work *work);
/* Lock held: a state of it is done, or all of it generated. */
void explore_point_put(struct explore *e, struct point_work *work);
/* No lock held: tell the caller of the crash points that have ended. */
void explore_tell_ended(struct explore *e);
/* For @nr picks, and never NULL, though there may be no choice. -ENOMEM. */
int explore_room_for_picks(uint16_t **picks, size_t *nr_picks, size_t nr);
int explore_worker_move(struct worker *w, const struct point_work *work);
int explore_worker_picks(struct worker *w, size_t nr);
struct explore_state explore_state_of(const struct explore *e, const struct point_work *work,
				      const struct crash *crash, const struct crash_image *images);
/* Tell and count one result; frees its output. No lock held. */
void explore_done(struct explore *e, struct point_work *work, const struct explore_state *state,
		  struct explore_result *result);

/* lazy_workers.c */
/* Lock held. A run of a search under way: 1, in *task; 0: there is none now. Or -errno. */
int explore_lazy_help(struct worker *w, struct task *task);
/* Lock held, and again on return: until a search has changed, or all has been stopped. */
void explore_lazy_wait(struct explore *e);
/* No lock held. The whole search of a crash point; one run that explore_lazy_help() gave. */
int explore_lazy(struct worker *w, const struct task *task);
int explore_lazy_run(struct worker *w, const struct task *task);

#endif
