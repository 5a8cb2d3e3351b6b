/* SPDX-License-Identifier: MIT */
/*
 * The volatile write cache of the disk.
 *
 * The store holds what the disk would answer; the cache keeps, for every block that was written
 * since it was last made durable, its durable content: what a power cut may bring back. A flush
 * makes all blocks durable, a FUA write its own. Source of the meaning: the kernel's
 * Documentation/block/writeback_cache_control.rst.
 *
 * What a cut may leave, by its model:
 *	plain		of each logical block its newest content, or what is durable
 *	units		of each unit any version: what is durable, or what any write since left
 *			there
 *	whole writes	of each write all or nothing, the later over the earlier
 *	in order	the first so many writes, and no others; of whole writes, or, with units,
 *			all units of the earlier writes and the first ones of one
 *
 * All but the first keep the volatile writes themselves (volatile_log.h), of size_bytes at most.
 *
 * What is kept: by a pattern, or drawn, newest contents of units numbered by place, or writes; in
 * order, the pattern's ones before its first zero, and drawn, any number with the same chance.
 */
#ifndef FAULTS_DISK_CACHE_H
#define FAULTS_DISK_CACHE_H

#include "faults/disk/power_cut.h"
#include "faults/disk/store.h"

struct cache;
struct snapshots;

#define CACHE_UNIT_MAX     (1u << 20)
#define CACHE_SIZE_DEFAULT (64ull << 20)
#define CACHE_SIZE_MIN     (1ull << 20)

/* All zero: plain, of logical blocks. */
struct cache_model {
	uint32_t unit_bytes; /* a power of two from 512 to CACHE_UNIT_MAX that divides the size */
	bool whole_writes;   /* unit_bytes is 0 */
	bool in_order;       /* without unit_bytes: of whole writes */
	/* Of remembered writes and durable contents together; 0: the default, if a log is needed.
	 * At least CACHE_SIZE_MIN and 16 units. */
	uint64_t size_bytes;
};

static inline bool cache_model_is_plain(const struct cache_model *model)
{
	return !model->unit_bytes && !model->whole_writes && !model->in_order && !model->size_bytes;
}

/* What survives a power cut as one on a disk of such logical blocks; 0: a write. */
static inline uint32_t cache_model_unit(const struct cache_model *model, uint32_t block_bytes)
{
	bool whole = model->whole_writes || (model->in_order && !model->unit_bytes);

	return whole ? 0 : model->unit_bytes ? model->unit_bytes : block_bytes;
}

/* @block_bytes: the disk's logical block. The model fits the store (asserted). -ENOMEM. */
int cache_create(struct store *store, uint32_t block_bytes, const struct cache_model *model,
		 struct cache **ret_cache);
struct cache *cache_free(struct cache *cache); /* NULL allowed; returns NULL */
/* What it was made with, defaults filled in. Borrowed. */
const struct cache_model *cache_model(const struct cache *cache);
/* What survives or not as one; SECTOR_SIZE where that is a whole write. */
uint32_t cache_unit_bytes(const struct cache *cache);
/* Does it remember the writes themselves? */
bool cache_has_log(const struct cache *cache);

/*
 * Around all parts of one request that changes or flushes the disk; no lock of the store is held.
 * Between them only parts of that request reach the cache, where whole writes or their order count.
 * They may be nested, on one thread: then all is one request.
 */
void cache_begin(struct cache *cache);
void cache_end(struct cache *cache);
/* Bytes [at, at+len) are about to change; the lock of their unit is held, except for discards. */
void cache_before_change(struct cache *cache, uint64_t at, uint64_t len);
/* They have changed (a discard: are going to be zero), and a power cut may take that back. */
void cache_after_change(struct cache *cache, uint64_t at, uint64_t len, bool zero);
/* The same of a discard where the disk reads as zero already. */
void cache_after_hole(struct cache *cache, uint64_t at, uint64_t len);
/* Instead of that: bytes [at, at+len), just written, are durable. */
void cache_settle(struct cache *cache, uint64_t at, uint64_t len);
/* All that has been written is durable now. Takes every lock of the store. Any thread. */
void cache_flush(struct cache *cache);
/* Bytes that a power cut might lose now. Any thread. */
uint64_t cache_volatile_bytes(const struct cache *cache);
/* Blocks, or units, that a power cut might lose now. Any thread. */
uint64_t cache_nr_volatile(const struct cache *cache);
/*
 * The power was cut: bring what was volatile back to a state that @cut picks of those that are
 * possible; afterwards nothing is volatile. Blocks, units or writes are counted. No request may be
 * under way. Snapshots (may be NULL) keep what they hold. Control thread.
 */
void cache_cut(struct cache *cache, const struct power_cut *cut, struct snapshots *snapshots,
	       struct power_cut_result *ret_result);

#endif
