/* SPDX-License-Identifier: MIT */
/*
 * Rules compiled for the hot path: immutable, shared by all queues, and asked one question only.
 */
#ifndef FAULTS_ENGINE_PLAN_H
#define FAULTS_ENGINE_PLAN_H

#include "faults/rule/rule.h"

#include <stdatomic.h>

#define PLAN_NONE UINT32_MAX

/* The selectors of a rule but op and range, which the index answers. */
struct plan_rule {
	uint32_t min_len, max_len;
	uint32_t flags, not_flags; /* of io_rule_flags() */
	uint32_t align;            /* bytes; 0: any */
	int32_t queue;             /* -1: any */
	uint64_t state_hash;       /* 0: any */
	struct rule *rule;
};

/*
 * A node of an implicit interval tree: an array sorted by start, in which the root of [lo, hi) is
 * the middle. What the subtree below can hold stands in the node, so that a search turns back as
 * soon as nothing there can answer.
 */
struct plan_node {
	uint64_t start, end; /* bytes; end exclusive */
	uint64_t max_end;    /* of the subtree */
	uint64_t reach;      /* the largest end of this node and all before it in the array */
	uint32_t index;
	uint32_t min_index, max_index; /* of the subtree */
};

/* What concerns one operation. */
struct plan_op {
	uint32_t nr_plain, nr_ranged;
	uint32_t *plain; /* indices of the rules without range, ascending */
	struct plan_node *nodes;
};

struct plan {
	uint32_t op_bits;  /* 1 << enum io_op: operations that any rule is about */
	uint32_t nr_rules; /* enabled ones */
	uint32_t nr_watchers;
	struct watcher *watchers; /* those of them whose kinds see every change of the store */
	uint64_t epoch;
	struct plan_rule *rules; /* by index: the order in which they are asked */
	struct rule_set *set;    /* owned; keeps the rules alive */
	struct plan *next;       /* the control thread's list */
	struct plan_op op[IO_NR_OPS];
	/* Requests that wait under this plan; written by every queue. */
	_Alignas(64) _Atomic uint64_t nr_parked;
};

/* Compile @set, of which a copy is taken; NULL without memory. */
struct plan *plan_new(const struct rule_set *set);
/* Its rules are armed now: note which of them watch the store. Before a queue sees the plan. */
void plan_watch(struct plan *plan);
struct plan *plan_free(struct plan *plan); /* NULL allowed; returns NULL */

/*
 * A walk through the rules that are about one request, in the order in which they are asked. Each
 * costs a constant time, and what overlaps is looked up once; O(log n) when no range does.
 */
struct plan_walk {
	const struct plan_op *op;
	uint64_t from, to; /* bytes of the request */
	uint32_t plain;    /* of op->plain, the next one */
	uint32_t cursor; /* rules with a range from here on have not been collected; or PLAN_NONE */
	uint64_t used;   /* words of found[] that hold a bit; the others are undefined */
	uint64_t found[RULE_SET_MAX / 64]; /* rules with a range that are still to come, by index */
};

/*
 * The smallest index of a rule that is about @op and whose range, if it has one, overlaps bytes
 * [@from, @to); PLAN_NONE if there is none. @walk needs no preparation.
 */
uint32_t plan_first(const struct plan *plan, unsigned int op, uint64_t from, uint64_t to,
		    struct plan_walk *walk);
/* The next one; PLAN_NONE if there is none, and from then on. */
uint32_t plan_next(struct plan_walk *walk);

#endif
