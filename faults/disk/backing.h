/* SPDX-License-Identifier: MIT */
/*
 * Where the bytes of requests land: the store, the volatile cache in front of it, and what
 * watches every change. Each queue has one of its own, renewed with the plan it uses.
 */
#ifndef FAULTS_DISK_BACKING_H
#define FAULTS_DISK_BACKING_H

#include "faults/disk/cache.h"
#include "faults/disk/snapshot.h"
#include "faults/disk/store.h"

/* What wants to see every change of the store. */
struct watcher_ops {
	/*
	 * Bytes [at, at+len) of the store are about to change, whoever changes them; they lie in
	 * one unit whose lock is held, except for discards. Two changes are not shown: a discard
	 * of what is a hole already, before it, and the revival after a power cut, which takes
	 * blocks back to what was durable. Queue thread, or whoever changes the store. Either may
	 * be NULL.
	 */
	void (*before_change)(void *state, struct store *store, uint64_t at, uint64_t len);
	/* The same, once they have changed. */
	void (*after_change)(void *state, uint64_t at, uint64_t len);
};

struct watcher {
	const struct watcher_ops *ops;
	void *state;
};

struct backing {
	struct store *store;
	struct cache *cache;         /* NULL: everything is durable at once */
	struct snapshots *snapshots; /* NULL: there are none */
	const struct watcher *watchers;
	uint32_t nr_watchers;
};

/* Before and after bytes [at, at+len) of the store change; see watcher_ops. */
void backing_before(const struct backing *backing, uint64_t at, uint64_t len);
/* The same for bytes that read as zero and will go on doing so: nothing that a power cut loses. */
void backing_before_hole(const struct backing *backing, uint64_t at, uint64_t len);
void backing_after(const struct backing *backing, uint64_t at, uint64_t len);
/* After a change that is none of a discard: for the cache too. @durable: no power cut takes it
 * back. */
void backing_changed(const struct backing *backing, uint64_t at, uint64_t len, bool durable);

static inline bool backing_is_plain(const struct backing *backing)
{
	return !backing->nr_watchers && !backing->cache && !backing->snapshots;
}

#endif
