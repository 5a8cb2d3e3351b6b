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
#ifndef FAULTS_ENGINE_PIPELINE_H
#define FAULTS_ENGINE_PIPELINE_H

#include "base/diag.h"
#include "faults/disk/cache.h"
#include "faults/disk/condition.h"
#include "faults/disk/snapshot.h"
#include "faults/disk/store.h"
#include "faults/engine/event.h"
#include "faults/engine/hold.h"
#include "faults/io.h"
#include "faults/rule/rule.h"

struct pipeline;
struct recorder_disk;

enum io_verdict {
	IO_DONE, /* finished: io->result holds */
	/* Call pipeline_resume() at io->due_ns (UINT64_MAX: only when released), or earlier to
	 * hurry it. */
	IO_PARKED,
};

struct pipeline_options {
	struct rule_geometry geometry; /* nr_queues: how many queues adopt plans */
	uint64_t seed;
	bool cache; /* a volatile write cache; without, all is durable at once */
	struct cache_model cache_model; /* with cache: what a power cut may leave */
	/*
	 * Queue thread: the disk's condition has changed, or a hit that the control thread asked
	 * to hear of (pipeline_listen). NULL: nobody hears.
	 */
	void (*wake)(void *ctx);
	/* Queue thread, in pipeline_adopt(): call pipeline_resume() for @io soon, but not from
	 * here. May be NULL where nothing is ever released. */
	void (*unpark)(void *ctx, struct io *io);
	void *ctx;
	/*
	 * A rule that takes other disks along holds its request, and waits for this pipeline's owner
	 * to cut all of them (pipeline_joint). False: it acts on its own disk alone.
	 */
	bool joins;
	/* Borrowed, for this pipeline alone, and closed after it is freed. NULL: no recording. */
	struct recorder_disk *recorder;
};

/*
 * The store is borrowed and must outlive the pipeline. Starts with no rules. -EINVAL: no queues, a
 * logical block that is no multiple of 512, or a size that is not the store's; with a cache also a
 * block that is no power of two or does not divide the size, or a model that does not fit the disk.
 */
int pipeline_create(struct store *store, const struct pipeline_options *options,
		    struct pipeline **ret_pipeline);
/* No request may be in flight, held ones included. NULL allowed; returns NULL. */
struct pipeline *pipeline_free(struct pipeline *pipeline);

/*
 * The request must lie inside the disk (asserted). After IO_DONE io->rule is the terminal rule that
 * hit, or NULL, valid until this queue adopts the next plan; after IO_PARKED, until it is resumed.
 */
enum io_verdict pipeline_submit(struct pipeline *pipeline, struct io *io, uint64_t now_ns);
/* One rule that is to act, and what it decided once. */
struct decision {
	struct rule *rule; /* armed by a publish, and kept alive by the caller */
	uint64_t match;
	uint64_t delay_ns; /* with KIND_HOLD: held, at most for the rest of it */
};
/*
 * pipeline_submit() of a request whose decisions are given: no rule is asked, these act on it, and
 * counters and events go on as if the rules had decided so. -EINVAL, and nothing has happened: a
 * rule that cannot act on such a request, or a terminal one that is not the last.
 */
int pipeline_submit_decided(struct pipeline *pipeline, struct io *io, uint64_t now_ns,
			    const struct decision *decisions, size_t nr,
			    enum io_verdict *ret_verdict);
/*
 * For a parked request: act now. IO_DONE: io->result holds afterwards, io->plan and io->rule are
 * NULL, because the plan may go away at once. IO_PARKED, only where options.joins: its rule takes
 * other disks along, and it waits for them.
 */
enum io_verdict pipeline_resume(struct pipeline *pipeline, struct io *io, uint64_t now_ns);

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
/* What its rules are checked against. Borrowed. */
const struct rule_geometry *pipeline_geometry(const struct pipeline *pipeline);
/* The set in force (borrowed until the next publish). */
const struct rule_set *pipeline_rules(const struct pipeline *pipeline);

/*
 * Queue thread: the results of all requests that have ended on this queue are about to be handed to
 * whoever brought them. A recording with data keeps the order of completions by it; whoever does
 * without batches calls it after each request. Cheap, and nothing without a recording.
 */
void pipeline_batch_done(struct pipeline *pipeline, uint16_t queue);

/* ------------------------------------------------------------------------------ what happens */

/* What it was given, or NULL. */
struct recorder_disk *pipeline_recorder(const struct pipeline *pipeline);
/* The log of hits; lives as long as the pipeline. */
struct event_log *pipeline_events(struct pipeline *pipeline);
/* Ask for one call of options.wake at the next hit; false: for none. Control thread. */
void pipeline_listen(struct pipeline *pipeline, bool listen);
/*
 * The name of the state that the rules' state machine is in, valid until the next publish; "" for
 * one that only rules now removed knew. Control thread.
 */
const char *pipeline_state(const struct pipeline *pipeline);

/* Those held now, oldest first: fills up to @max, returns how many there are. Control thread. */
size_t pipeline_held(struct pipeline *pipeline, struct held *held, size_t max);
/*
 * Let held requests go: those of rule @rule (NULL: of any) with number @id (0: any), the oldest
 * @count of them. They are unparked when their queues next adopt; kick them. Returns how many.
 */
size_t pipeline_release(struct pipeline *pipeline, const char *rule, uint64_t id, size_t count);

/* ------------------------------------------------------------------------------ its condition */

struct condition *pipeline_condition(struct pipeline *pipeline);
/* The cache, or NULL; borrowed. */
struct cache *pipeline_cache(const struct pipeline *pipeline);
/* Blocks that a power cut might lose; 0 without a cache. */
uint64_t pipeline_nr_volatile(const struct pipeline *pipeline);
/*
 * Bring the disk back from whatever condition it is in: a power cut takes its losses from the cache
 * now. Requests that arrived before it fail with EIO when they are due. Every queue must have
 * passed a batch since the condition was set: frozen, or, where only this thread could set it since,
 * pipeline_adopted() of a later publish. Returns the bits that were set, and are not any more; what
 * befell the disk meanwhile stays. *ret_lost (may be NULL): blocks that went back to what was
 * durable. Control thread.
 */
uint32_t pipeline_revive(struct pipeline *pipeline, uint64_t *ret_lost);
/*
 * Cut the power now, and take the losses of the cache at once; @remove: the disk also leaves the
 * machine. pipeline_revive() then brings it back, and tells again what was lost. -EALREADY: it has
 * no power. Control thread, and no request is under way: frozen, or nobody runs queues.
 */
int pipeline_crash(struct pipeline *pipeline, const struct power_cut *cut, bool remove,
		   struct power_cut_result *ret_result);

/*
 * A rule has hit that takes other disks along: *ret_joint is what it wants, and the requests that it
 * hit wait until they are released, best after the cut. The next one is told when this one has been
 * ended, or the disk revived. Control thread.
 */
bool pipeline_joint(struct pipeline *pipeline, struct joint_cut *ret_joint);
/*
 * The other disks are cut, or cannot be. True: so is this one, now; false: it has been since the hit,
 * and may have been revived, too.
 */
bool pipeline_joint_end(struct pipeline *pipeline, const struct joint_cut *joint);

/* ------------------------------------------------------------------------------ stopped queues */

/*
 * Queues stop where they next adopt, and wait there: between two batches no request is under way.
 * Control thread: freeze, kick the queues, wait until the pipeline is frozen, do what needs it,
 * thaw. A thaw without that takes the freeze back. Nothing that waits for I/O of this disk may be
 * done in between.
 */
void pipeline_freeze(struct pipeline *pipeline);
bool pipeline_is_frozen(struct pipeline *pipeline);
void pipeline_thaw(struct pipeline *pipeline);

/* For the calls of disk/snapshot.h that only look, and for snapshots_find(). */
struct snapshots *pipeline_snapshots(const struct pipeline *pipeline);
/* As those of disk/snapshot.h. Control thread, and no request is under way: frozen, as above. After a
 * restore nothing is volatile. */
int pipeline_snapshot_add(struct pipeline *pipeline, const char *name, uint64_t time_ns,
			  struct snapshot **ret_snapshot);
int pipeline_snapshot_remove(struct pipeline *pipeline, struct snapshot *snapshot);
int pipeline_snapshot_restore(struct pipeline *pipeline, struct snapshot *snapshot,
			      uint64_t *ret_bytes);
/* Threads that are not queues are going to read, or change, the disk: or have done. Frozen.
 * Counted. -ENOMEM. */
int pipeline_share(struct pipeline *pipeline);
void pipeline_unshare(struct pipeline *pipeline);

/* Plans alive, the one in force included: more than one only while queues or requests lag behind.
 */
size_t pipeline_nr_plans(const struct pipeline *pipeline);

/*
 * What would happen to this request now, in words, one line per rule that was asked, without
 * counting it as a match; caller frees. Control thread.
 */
char *pipeline_explain(struct pipeline *pipeline, const struct io *io, uint64_t now_ns);

#endif
