/* SPDX-License-Identifier: MIT */
/*
 * The engine: carries each request through the rules and the store. No kernel, no threads of its
 * own, no clock of its own: the caller brings the time, so tests and simulators own it.
 *
 * Threads. pipeline_submit() and pipeline_resume() run on the thread of the queue in io->queue, any
 * number of queues at once; they neither allocate, lock, nor make system calls (discard excepted).
 * pipeline_adopt() runs on that same thread between batches. Everything else runs on one control
 * thread. A request decides on arrival, in arrival order; its effect on the store happens when it
 * is due. Rules are asked in order: delays add up, and the first terminal action ends the walk.
 */
#ifndef FAULTS_PIPELINE_H
#define FAULTS_PIPELINE_H

#include "base/diag.h"
#include "faults/io.h"
#include "faults/rule.h"
#include "faults/store.h"

struct pipeline;

enum io_verdict {
	IO_DONE,   /* finished: io->result holds */
	IO_PARKED, /* call pipeline_resume() at io->due_ns, or earlier to hurry it */
};

struct pipeline_options {
	struct rule_geometry geometry; /* nr_queues: how many queues adopt plans */
	uint64_t seed;
};

/*
 * The store is borrowed and must outlive the pipeline. Starts with no rules. -EINVAL: no queues, a
 * logical block that is no multiple of 512, or a size that is not the store's.
 */
int pipeline_create(struct store *store, const struct pipeline_options *options,
		    struct pipeline **ret_pipeline);
/* No request may be in flight. NULL allowed; returns NULL. */
struct pipeline *pipeline_free(struct pipeline *pipeline);

/*
 * The request must lie inside the disk (asserted). After IO_DONE io->rule is the terminal rule that
 * hit, or NULL, valid until this queue adopts the next plan; after IO_PARKED, until it is resumed.
 */
enum io_verdict pipeline_submit(struct pipeline *pipeline, struct io *io, uint64_t now_ns);
/*
 * For a parked request: act now. Always finishes it: io->result holds afterwards, io->plan and
 * io->rule are NULL, because the plan may go away at once.
 */
void pipeline_resume(struct pipeline *pipeline, struct io *io, uint64_t now_ns);

/*
 * Queue thread, between batches: from here on this queue uses the newest plan. Cheap when there is
 * none. A queue that has not run yet counts as using the first, empty plan: publishing before the
 * queues run is fine, and pipeline_adopted() says so once each has adopted for the first time.
 */
void pipeline_adopt(struct pipeline *pipeline, uint16_t queue);

/*
 * Control thread. Check every rule of @set against the disk, compile it and publish it; rules new
 * to the engine are armed at @now_ns, rules already in force (the same objects, not merely the same
 * names) keep their counters. A rule belongs to one pipeline at a time. The set is
 * copied. On error nothing has changed. *ret_epoch (may be NULL) is what to wait for.
 */
int pipeline_publish(struct pipeline *pipeline, const struct rule_set *set, uint64_t now_ns,
		     struct diag *diag, uint64_t *ret_epoch);
/* Have all queues adopted @epoch? Also frees old plans that nobody uses any more. */
bool pipeline_adopted(struct pipeline *pipeline, uint64_t epoch);
/* The set in force (borrowed until the next publish). */
const struct rule_set *pipeline_rules(const struct pipeline *pipeline);

/* Plans alive, the one in force included: more than one only while queues or requests lag behind.
 */
size_t pipeline_nr_plans(const struct pipeline *pipeline);

/*
 * What would happen to this request now, in words, one line per rule that was asked, without
 * counting it as a match; caller frees. Control thread.
 */
char *pipeline_explain(struct pipeline *pipeline, const struct io *io, uint64_t now_ns);

#endif
