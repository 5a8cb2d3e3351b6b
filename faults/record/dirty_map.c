// SPDX-License-Identifier: MIT
/*
 * A bit for each unit, in words that all queues set. The walk follows what the store holds, and
 * the bits between: a hole is never read, since reading it would fill it with memory.
 */
#include "faults/record/dirty_map.h"

#include "base/failpoint.h"
#include "faults/disk/store.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BITS 64u

struct dirty_map {
	uint64_t size_bytes, nr_units;
	_Atomic uint64_t words[];
};

struct dirty_map *dirty_map_create(uint64_t size_bytes)
{
	uint64_t nr_units = (size_bytes + DIRTY_MAP_UNIT - 1) / DIRTY_MAP_UNIT;
	uint64_t nr_words = (nr_units + BITS - 1) / BITS;
	struct dirty_map *map = fail_alloc("faults/record/dirty_map/create",
					   calloc(1, sizeof(*map) + nr_words * sizeof(uint64_t)));

	if (map) {
		map->size_bytes = size_bytes;
		map->nr_units = nr_units;
	}
	return map;
}

struct dirty_map *dirty_map_free(struct dirty_map *map)
{
	free(map);
	return NULL;
}

void dirty_map_add(struct dirty_map *map, uint64_t at, uint64_t len)
{
	uint64_t unit = at / DIRTY_MAP_UNIT, end = (at + len + DIRTY_MAP_UNIT - 1) / DIRTY_MAP_UNIT;

	assert(at + len <= map->size_bytes);
	while (unit < end) {
		uint64_t bit = unit % BITS, nr = BITS - bit < end - unit ? BITS - bit : end - unit;
		uint64_t mask = (nr == BITS ? UINT64_MAX : (1ull << nr) - 1) << bit;
		_Atomic uint64_t *word = &map->words[unit / BITS];

		if ((atomic_load_explicit(word, memory_order_relaxed) & mask) != mask)
			atomic_fetch_or_explicit(word, mask, memory_order_relaxed);
		unit += nr;
	}
}

struct dirty_walk {
	struct dirty_map *map;
	struct store *store;
	int (*report)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len);
	void *ctx;
	uint64_t at; /* reported up to here */
};

/* The first unit from @unit on whose bit is @set, or @end. */
static uint64_t find(const struct dirty_map *map, uint64_t unit, uint64_t end, bool set)
{
	while (unit < end) {
		uint64_t word =
			atomic_load_explicit(&map->words[unit / BITS], memory_order_relaxed);

		word = (set ? word : ~word) >> unit % BITS;
		if (word) {
			unit += (uint64_t)__builtin_ctzll(word);
			return unit < end ? unit : end;
		}
		unit += BITS - unit % BITS;
	}
	return end;
}

/* What was noted of [walk->at, end), all of which is data or all a hole. */
static int report_span(struct dirty_walk *walk, uint64_t end, bool is_data)
{
	const struct dirty_map *map = walk->map;
	uint64_t nr = (end + DIRTY_MAP_UNIT - 1) / DIRTY_MAP_UNIT;
	int err = 0;

	while (walk->at < end && !err) {
		uint64_t from = find(map, walk->at / DIRTY_MAP_UNIT, nr, true);
		uint64_t to = find(map, from, nr, false) * DIRTY_MAP_UNIT;

		from *= DIRTY_MAP_UNIT;
		from = from > walk->at ? from : walk->at;
		to = to < end ? to : end;
		if (from >= end)
			break;
		err = walk->report(walk->ctx, from,
				   is_data ? store_bytes(walk->store) + from : NULL, to - from);
		walk->at = to;
	}
	walk->at = end;
	return err;
}

static int report_extent(void *ctx, uint64_t at, uint64_t len)
{
	struct dirty_walk *walk = ctx;
	uint64_t left = walk->map->size_bytes - at;
	int err = report_span(walk, at, false);

	return err ?: report_span(walk, at + (len < left ? len : left), true);
}

int dirty_map_each(struct dirty_map *map, struct store *store,
		   int (*report)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len),
		   void *ctx)
{
	struct dirty_walk walk = { .map = map, .store = store, .report = report, .ctx = ctx };
	int err = store_each_extent(store, report_extent, &walk);

	if (!err)
		err = report_span(&walk, map->size_bytes, false);
	for (uint64_t i = 0; i * BITS < map->nr_units; i++)
		if (atomic_load_explicit(&map->words[i], memory_order_relaxed))
			atomic_store_explicit(&map->words[i], 0, memory_order_relaxed);
	return err;
}
