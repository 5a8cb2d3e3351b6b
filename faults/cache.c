// SPDX-License-Identifier: MIT
/*
 * An undo log by place: the store always holds the newest content, the shadow what is on the medium
 * for the blocks where that differs. Reads and writes therefore cost what they cost without a
 * cache, but for the first write to a block after a flush.
 */
#include "faults/cache.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/shadow.h"

#include <errno.h>
#include <string.h>

struct cache {
	struct store *store;
	struct shadow *medium; /* what a power cut may bring back */
	uint32_t block_bytes;
	_Atomic uint64_t nr_volatile;
};

int cache_create(struct store *store, uint32_t block_bytes, struct cache **ret_cache)
{
	struct cache *cache = fail_alloc("faults/cache/alloc", calloc(1, sizeof(*cache)));

	if (!cache)
		return -ENOMEM;
	cache->store = store;
	cache->block_bytes = block_bytes;
	if (shadow_create(0, store_size(store), block_bytes, &cache->medium)) {
		free(cache);
		return -ENOMEM;
	}
	*ret_cache = cache;
	return 0;
}

struct cache *cache_free(struct cache *cache)
{
	if (!cache)
		return NULL;
	shadow_free(cache->medium);
	free(cache);
	return NULL;
}

void cache_before_change(struct cache *cache, uint64_t at, uint64_t len)
{
	uint64_t nr;

	shadow_save(cache->medium, cache->store, at, len, false, &nr);
	if (nr)
		atomic_fetch_add_explicit(&cache->nr_volatile, nr, memory_order_relaxed);
}

void cache_flush(struct cache *cache)
{
	/* Blocks that were settled one by one have left their copies behind: those go too. */
	if (shadow_is_empty(cache->medium))
		return;
	store_lock_all(cache->store);
	shadow_clear(cache->medium);
	atomic_store_explicit(&cache->nr_volatile, 0, memory_order_relaxed);
	store_unlock_all(cache->store);
}

void cache_settle(struct cache *cache, uint64_t at, uint64_t len)
{
	uint64_t nr = shadow_forget(cache->medium, at, len);

	atomic_fetch_sub_explicit(&cache->nr_volatile, nr, memory_order_relaxed);
}

uint64_t cache_nr_volatile(const struct cache *cache)
{
	return atomic_load_explicit(&cache->nr_volatile, memory_order_relaxed);
}

struct cut {
	struct cache *cache;
	enum keep keep;
	uint64_t bits, threshold;
	uint64_t nr_lost;
};

static void cut_block(void *ctx, uint64_t at, const unsigned char *block)
{
	struct cut *cut = ctx;
	struct cache *cache = cut->cache;

	if (condition_keeps(cut->keep, cut->bits, cut->threshold, at / cache->block_bytes))
		return;
	store_mark(cache->store, at, cache->block_bytes);
	memcpy(store_data(cache->store) + at, block, cache->block_bytes);
	cut->nr_lost++;
}

_cold_ uint64_t cache_cut(struct cache *cache, const struct condition *condition)
{
	struct cut cut = {
		.cache = cache,
		.keep = (enum keep)atomic_load(&condition->keep),
		.bits = atomic_load(&condition->keep_bits),
		.threshold = atomic_load(&condition->keep_threshold),
	};

	store_lock_all(cache->store);
	shadow_each(cache->medium, cut_block, &cut);
	shadow_clear(cache->medium);
	atomic_store_explicit(&cache->nr_volatile, 0, memory_order_relaxed);
	store_unlock_all(cache->store);
	return cut.nr_lost;
}
