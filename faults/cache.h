/* SPDX-License-Identifier: MIT */
/*
 * The volatile write cache of the disk.
 *
 * The store holds what the disk would answer; the cache keeps, for every block that was written
 * since it was last made durable, what is on the medium: the content that a power cut may bring
 * back. A flush makes all blocks durable, a FUA write its own. Source of the meaning: the kernel's
 * Documentation/block/writeback_cache_control.rst.
 */
#ifndef FAULTS_CACHE_H
#define FAULTS_CACHE_H

#include "faults/condition.h"
#include "faults/store.h"

struct cache;

/* @block_bytes: the unit that survives a power cut whole or not at all. -ENOMEM. */
int cache_create(struct store *store, uint32_t block_bytes, struct cache **ret_cache);
struct cache *cache_free(struct cache *cache); /* NULL allowed; returns NULL */

/* Bytes [at, at+len) are about to change; the lock of their unit is held, except for discards. */
void cache_before_change(struct cache *cache, uint64_t at, uint64_t len);
/* All that has been written is durable now. Takes every lock of the store. Queue thread. */
void cache_flush(struct cache *cache);
/* Bytes [at, at+len), just written, are durable. */
void cache_settle(struct cache *cache, uint64_t at, uint64_t len);
/* Blocks that a power cut might lose now. Any thread. */
uint64_t cache_nr_volatile(const struct cache *cache);
/*
 * The power was cut: bring every volatile block back to what is on the medium, or keep it, as
 * @condition says; afterwards nothing is volatile. Returns how many blocks were lost. No request
 * may be under way. Control thread.
 */
uint64_t cache_cut(struct cache *cache, const struct condition *condition);

#endif
