// SPDX-License-Identifier: MIT
/*
 * A bit for each unit, in words that all queues set. Telling walks along what the store holds, and
 * along the bits between: a hole is never read, since reading it would fill it with memory.
 */
#include "faults/record/kept.h"

#include "base/failpoint.h"
#include "faults/disk/store.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BITS 64u

struct kept {
	uint64_t size_bytes, nr_units;
	_Atomic uint64_t words[];
};

struct kept *kept_create(uint64_t size_bytes)
{
	uint64_t nr_units = (size_bytes + KEPT_UNIT - 1) / KEPT_UNIT;
	uint64_t nr_words = (nr_units + BITS - 1) / BITS;
	struct kept *kept = fail_alloc("faults/record/kept/create",
				       calloc(1, sizeof(*kept) + nr_words * sizeof(uint64_t)));

	if (kept) {
		kept->size_bytes = size_bytes;
		kept->nr_units = nr_units;
	}
	return kept;
}

struct kept *kept_free(struct kept *kept)
{
	free(kept);
	return NULL;
}

void kept_add(struct kept *kept, uint64_t at, uint64_t len)
{
	uint64_t unit = at / KEPT_UNIT, end = (at + len + KEPT_UNIT - 1) / KEPT_UNIT;

	assert(at + len <= kept->size_bytes);
	while (unit < end) {
		uint64_t bit = unit % BITS, nr = BITS - bit < end - unit ? BITS - bit : end - unit;
		uint64_t mask = (nr == BITS ? UINT64_MAX : (1ull << nr) - 1) << bit;
		_Atomic uint64_t *word = &kept->words[unit / BITS];

		if ((atomic_load_explicit(word, memory_order_relaxed) & mask) != mask)
			atomic_fetch_or_explicit(word, mask, memory_order_relaxed);
		unit += nr;
	}
}

struct telling {
	struct kept *kept;
	struct store *store;
	int (*tell)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len);
	void *ctx;
	uint64_t at; /* told up to here */
};

/* The first unit from @unit on whose bit is @set, or @end. */
static uint64_t find(const struct kept *kept, uint64_t unit, uint64_t end, bool set)
{
	while (unit < end) {
		uint64_t word =
			atomic_load_explicit(&kept->words[unit / BITS], memory_order_relaxed);

		word = (set ? word : ~word) >> unit % BITS;
		if (word) {
			unit += (uint64_t)__builtin_ctzll(word);
			return unit < end ? unit : end;
		}
		unit += BITS - unit % BITS;
	}
	return end;
}

/* What was noted of [telling->at, end), all of which is data or all a hole. */
static int tell_span(struct telling *telling, uint64_t end, bool is_data)
{
	const struct kept *kept = telling->kept;
	uint64_t nr = (end + KEPT_UNIT - 1) / KEPT_UNIT;
	int err = 0;

	while (telling->at < end && !err) {
		uint64_t from = find(kept, telling->at / KEPT_UNIT, nr, true);
		uint64_t to = find(kept, from, nr, false) * KEPT_UNIT;

		from *= KEPT_UNIT;
		from = from > telling->at ? from : telling->at;
		to = to < end ? to : end;
		if (from >= end)
			break;
		err = telling->tell(telling->ctx, from,
				    is_data ? store_bytes(telling->store) + from : NULL, to - from);
		telling->at = to;
	}
	telling->at = end;
	return err;
}

static int tell_extent(void *ctx, uint64_t at, uint64_t len)
{
	struct telling *telling = ctx;
	uint64_t left = telling->kept->size_bytes - at;
	int err = tell_span(telling, at, false);

	return err ?: tell_span(telling, at + (len < left ? len : left), true);
}

int kept_tell(struct kept *kept, struct store *store,
	      int (*tell)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len),
	      void *ctx)
{
	struct telling telling = { .kept = kept, .store = store, .tell = tell, .ctx = ctx };
	int err = store_each_extent(store, tell_extent, &telling);

	if (!err)
		err = tell_span(&telling, kept->size_bytes, false);
	for (uint64_t i = 0; i * BITS < kept->nr_units; i++)
		if (atomic_load_explicit(&kept->words[i], memory_order_relaxed))
			atomic_store_explicit(&kept->words[i], 0, memory_order_relaxed);
	return err;
}
