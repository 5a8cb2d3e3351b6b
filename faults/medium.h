/* SPDX-License-Identifier: MIT */
/*
 * Where the bytes of requests land: the store, the volatile cache in front of it, and the rules
 * that want to see every change. Each queue has one of its own, renewed with the plan it uses.
 */
#ifndef FAULTS_MEDIUM_H
#define FAULTS_MEDIUM_H

#include "faults/cache.h"
#include "faults/snapshot.h"
#include "faults/store.h"

struct rule;

struct medium {
	struct store *store;
	struct cache *cache;          /* NULL: everything is durable at once */
	struct snapshots *snapshots;  /* NULL: there are none */
	struct rule *const *watchers; /* rules whose kinds see changes */
	uint32_t nr_watchers;
};

/* Before and after bytes [at, at+len) of the store change; see kind_ops. */
void medium_before(const struct medium *medium, uint64_t at, uint64_t len);
/* The same for bytes that read as zero and will go on doing so: nothing that a power cut loses. */
void medium_before_hole(const struct medium *medium, uint64_t at, uint64_t len);
void medium_after(const struct medium *medium, uint64_t at, uint64_t len);
/* After a change that is none of a discard: for the cache too. @durable: no power cut takes it
 * back. */
void medium_changed(const struct medium *medium, uint64_t at, uint64_t len, bool durable);

static inline bool medium_is_plain(const struct medium *medium)
{
	return !medium->nr_watchers && !medium->cache && !medium->snapshots;
}

#endif
