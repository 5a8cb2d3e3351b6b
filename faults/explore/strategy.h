/* SPDX-License-Identifier: MIT */
/*
 * Which of the states of a crash point to visit, where not all of them can be.
 *
 * A strategy is a generator of picks. The same journal, crash point, options and seed give the same
 * states in the same order on every machine. Written as a list: "old,new,prefixes,random:100".
 */
#ifndef FAULTS_EXPLORE_STRATEGY_H
#define FAULTS_EXPLORE_STRATEGY_H

#include "faults/crash/crash.h"

enum strategy_kind {
	STRATEGY_OLD,        /* nothing that was volatile survived */
	STRATEGY_NEW,        /* everything did */
	STRATEGY_PREFIXES,   /* the first n writes did, for every n */
	STRATEGY_DROP_ONE,   /* everything but one write */
	STRATEGY_KEEP_ONE,   /* nothing but one write */
	STRATEGY_PAIRS,      /* everything but two writes */
	STRATEGY_RANDOM,     /* drawn: whole writes and single units in turn */
	STRATEGY_EXHAUSTIVE, /* every legal state */
	STRATEGY_LAZY,       /* decided when read, see lazy.h: no generator of picks */
};

struct strategy {
	enum strategy_kind kind;
	uint64_t
		count; /* RANDOM: how many; EXHAUSTIVE: at most so many states at a crash point, else
			   the crash point is left to the other strategies; default 65,536 */
};

#define STRATEGIES_MAX 16

/* -EINVAL in words: names the word, what there is, the nearest. */
int strategy_parse(const char *text, struct diag *diag, struct strategy *strategies,
		   size_t *ret_nr);
const char *strategy_name(enum strategy_kind kind);

struct strategy_walk;

/* The states of the crash point where @crash stands; the walk ends before the cursor moves. -ENOMEM. */
int strategy_start(const struct strategy *strategy, const struct crash *crash, uint64_t seed,
		   struct strategy_walk **ret_walk);
/* 1: *picks (one for each choice) is the next state; 0: that was all. */
int strategy_next(struct strategy_walk *walk, uint16_t *picks);
/* States that it will give in all; UINT64_MAX where too many to count. */
uint64_t strategy_total(const struct strategy_walk *walk);
struct strategy_walk *strategy_free(struct strategy_walk *walk);

#endif
