// SPDX-License-Identifier: MIT
/*
 * An undo log by place: the store always holds the newest content, the shadow the durable content
 * for the blocks where that differs. Reads and writes therefore cost what they cost without a
 * cache, but for the first write to a block after a flush. Models that are about more than the
 * newest content have a volatile log beside it.
 */
#include "faults/disk/cache.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/disk/shadow.h"
#include "faults/disk/volatile_log.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

struct cache {
	struct store *store;
	struct shadow *durable;   /* what a power cut may bring back */
	struct volatile_log *log; /* NULL: plain */
	uint32_t block_bytes;     /* or units, or, where whole writes count, sectors */
	struct cache_model model;
	_Atomic uint64_t nr_volatile;
};

static int create_log(struct cache *cache)
{
	struct cache_model *model = &cache->model;
	const struct volatile_log_options options = {
		.store = cache->store,
		.durable = cache->durable,
		.unit_bytes = cache->block_bytes,
		.whole_writes = model->whole_writes,
		.in_order = model->in_order,
		.size_bytes = model->size_bytes,
	};

	assert(options.size_bytes >= CACHE_SIZE_MIN);
	assert(options.size_bytes / 16 >= options.unit_bytes);
	return volatile_log_create(&options, &cache->log);
}

static struct cache_model complete(const struct cache_model *model, uint32_t block_bytes)
{
	struct cache_model full = *model;

	full.unit_bytes = cache_model_unit(model, block_bytes);
	full.whole_writes = !full.unit_bytes;
	if (!full.size_bytes && !cache_model_is_plain(model))
		full.size_bytes = CACHE_SIZE_DEFAULT;
	return full;
}

int cache_create(struct store *store, uint32_t block_bytes, const struct cache_model *model,
		 struct cache **ret_cache)
{
	struct cache *cache = fail_alloc("faults/disk/cache/alloc", calloc(1, sizeof(*cache)));
	int err;

	if (!cache)
		return -ENOMEM;
	cache->store = store;
	cache->model = complete(model, block_bytes);
	cache->block_bytes = cache->model.unit_bytes ? cache->model.unit_bytes : SECTOR_SIZE;
	assert(store_size(store) % cache->block_bytes == 0);
	err = shadow_create(0, store_size(store), cache->block_bytes, &cache->durable);
	if (!err && !cache_model_is_plain(model))
		err = create_log(cache);
	if (err) {
		cache_free(cache);
		return err;
	}
	*ret_cache = cache;
	return 0;
}

struct cache *cache_free(struct cache *cache)
{
	if (!cache)
		return NULL;
	volatile_log_free(cache->log);
	shadow_free(cache->durable);
	free(cache);
	return NULL;
}

const struct cache_model *cache_model(const struct cache *cache)
{
	return &cache->model;
}

uint32_t cache_unit_bytes(const struct cache *cache)
{
	return cache->block_bytes;
}

bool cache_has_log(const struct cache *cache)
{
	return cache->log;
}

void cache_begin(struct cache *cache)
{
	if (cache->log)
		volatile_log_begin(cache->log);
}

void cache_end(struct cache *cache)
{
	if (cache->log)
		volatile_log_end(cache->log);
}

void cache_before_change(struct cache *cache, uint64_t at, uint64_t len)
{
	uint64_t nr;

	if (cache->log) {
		volatile_log_before(cache->log, at, len);
		return;
	}
	shadow_save(cache->durable, cache->store, at, len, false, &nr);
	if (nr)
		atomic_fetch_add_explicit(&cache->nr_volatile, nr, memory_order_relaxed);
}

void cache_after_change(struct cache *cache, uint64_t at, uint64_t len, bool zero)
{
	if (cache->log)
		volatile_log_note(cache->log, at, len, zero);
}

void cache_after_hole(struct cache *cache, uint64_t at, uint64_t len)
{
	if (cache->log)
		volatile_log_note_hole(cache->log, at, len);
}

void cache_flush(struct cache *cache)
{
	/* Blocks that were settled one by one have left their copies behind: those go too. */
	if (!cache->log && shadow_is_empty(cache->durable))
		return;
	store_lock_all(cache->store);
	if (cache->log)
		volatile_log_flush(cache->log);
	else
		shadow_clear(cache->durable);
	atomic_store_explicit(&cache->nr_volatile, 0, memory_order_relaxed);
	store_unlock_all(cache->store);
}

void cache_settle(struct cache *cache, uint64_t at, uint64_t len)
{
	uint64_t nr;

	if (cache->log) {
		volatile_log_settle(cache->log, at, len);
		return;
	}
	nr = shadow_forget(cache->durable, at, len);
	atomic_fetch_sub_explicit(&cache->nr_volatile, nr, memory_order_relaxed);
}

uint64_t cache_nr_volatile(const struct cache *cache)
{
	if (cache->log)
		return volatile_log_nr_volatile(cache->log);
	return atomic_load_explicit(&cache->nr_volatile, memory_order_relaxed);
}

uint64_t cache_volatile_bytes(const struct cache *cache)
{
	return cache_nr_volatile(cache) * cache->block_bytes;
}

/* ------------------------------------------------------------------------------ the cut */

struct cache_cut_context {
	struct cache *cache;
	const struct power_cut *cut;
	struct snapshots *snapshots;
	struct power_cut_result result;
};

static bool keeps_block(const struct cache_cut_context *context, uint64_t block)
{
	const struct power_cut *cut = context->cut;

	if (cut->keep == KEEP_PATTERN)
		return cut_pattern_keeps(cut, context->result.nr_volatile);
	return power_cut_keeps(cut->keep, cut->bits, cut->threshold, block);
}

static void cut_block(void *ctx, uint64_t at, const unsigned char *block)
{
	struct cache_cut_context *context = ctx;
	struct cache *cache = context->cache;
	bool kept = keeps_block(context, at / cache->block_bytes);

	context->result.nr_volatile++;
	if (kept)
		return;
	if (context->snapshots)
		snapshots_before(context->snapshots, at, cache->block_bytes);
	store_mark(cache->store, at, cache->block_bytes);
	memcpy(store_data(cache->store) + at, block, cache->block_bytes);
	context->result.nr_lost++;
}

_cold_ void cache_cut(struct cache *cache, const struct power_cut *cut, struct snapshots *snapshots,
		      struct power_cut_result *ret_result)
{
	struct cache_cut_context context = { .cache = cache, .cut = cut, .snapshots = snapshots };

	store_lock_all(cache->store);
	if (cache->log) {
		volatile_log_cut(cache->log, cut, snapshots, &context.result);
	} else {
		shadow_each(cache->durable, cut_block, &context);
		shadow_clear(cache->durable);
	}
	atomic_store_explicit(&cache->nr_volatile, 0, memory_order_relaxed);
	store_unlock_all(cache->store);
	*ret_result = context.result;
}
