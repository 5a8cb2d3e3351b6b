// SPDX-License-Identifier: MIT
/*
 * Chunks of as many pages as a page of the map has bits. For each the number of its pages that are
 * taken; its bits count only while that is neither none nor all of them, and give their memory back
 * when it becomes so. All of a large disk that is zeroed takes four bytes for each 128 MiB.
 *
 * One lock. It is taken when a page is written for the first time, which costs a page fault, too,
 * and by discards and zeroes; never by what overwrites.
 */
#include "faults/disk/space.h"

#include "base/failpoint.h"
#include "base/sparse.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BITS   64u
#define CHUNK_BYTES 4096u
#define CHUNK_PAGES (CHUNK_BYTES * 8)
#define CHUNK_WORDS (CHUNK_PAGES / WORD_BITS)

struct space {
	pthread_mutex_t lock;
	uint64_t nr_chunks;
	uint64_t *bits;   /* CHUNK_WORDS for each chunk */
	uint32_t *counts; /* one for each chunk */
	_Atomic uint64_t used, capacity;
};

int space_create(uint64_t nr_pages, struct space **ret_space)
{
	struct space *space = fail_alloc("faults/disk/space/alloc", calloc(1, sizeof(*space)));

	if (!space)
		return -ENOMEM;
	pthread_mutex_init(&space->lock, NULL);
	space->nr_chunks = nr_pages / CHUNK_PAGES + 1;
	atomic_init(&space->capacity, SPACE_ENDLESS);
	space->bits = sparse_map(space->nr_chunks * CHUNK_BYTES);
	space->counts = sparse_map(space->nr_chunks * sizeof(*space->counts));
	if (!space->bits || !space->counts) {
		space_free(space);
		return -ENOMEM;
	}
	*ret_space = space;
	return 0;
}

struct space *space_free(struct space *space)
{
	if (!space)
		return NULL;
	sparse_unmap(space->bits, space->nr_chunks * CHUNK_BYTES);
	sparse_unmap(space->counts, space->nr_chunks * sizeof(*space->counts));
	pthread_mutex_destroy(&space->lock);
	free(space);
	return NULL;
}

void space_limit(struct space *space, uint64_t capacity)
{
	atomic_store(&space->capacity, capacity);
}

uint64_t space_capacity(const struct space *space)
{
	return atomic_load_explicit(&space->capacity, memory_order_relaxed);
}

uint64_t space_used(const struct space *space)
{
	return atomic_load_explicit(&space->used, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------ one chunk */

/* Pages [first, end) of one chunk. */
struct space_part {
	uint64_t chunk;
	uint32_t first, end;
};

static struct space_part first_part(uint64_t first, uint64_t nr)
{
	struct space_part part = { .chunk = first / CHUNK_PAGES, .first = first % CHUNK_PAGES };
	uint64_t left = CHUNK_PAGES - part.first;

	part.end = part.first + (uint32_t)(nr < left ? nr : left);
	return part;
}

/* The bits of word @word of a chunk that lie in the part. */
static uint64_t part_mask(const struct space_part *part, uint32_t word)
{
	uint64_t mask = UINT64_MAX;

	if (part->first > word * WORD_BITS)
		mask <<= part->first % WORD_BITS;
	if (part->end < (word + 1) * WORD_BITS)
		mask &= UINT64_MAX >> (WORD_BITS - part->end % WORD_BITS);
	return mask;
}

static uint64_t *bits_of(const struct space *space, const struct space_part *part)
{
	return space->bits + part->chunk * CHUNK_WORDS;
}

/* How many pages of the part are taken. */
static uint32_t count_part(const struct space *space, const struct space_part *part)
{
	uint32_t count = space->counts[part->chunk], nr = 0;
	const uint64_t *bits = bits_of(space, part);

	if (count == 0)
		return 0;
	if (count == CHUNK_PAGES)
		return part->end - part->first;
	for (uint32_t w = part->first / WORD_BITS; w * WORD_BITS < part->end; w++)
		nr += (uint32_t)__builtin_popcountll(bits[w] & part_mask(part, w));
	return nr;
}

static void set_part(struct space *space, const struct space_part *part, bool taken)
{
	uint64_t *bits = bits_of(space, part);

	for (uint32_t w = part->first / WORD_BITS; w * WORD_BITS < part->end; w++) {
		uint64_t mask = part_mask(part, w);

		bits[w] = taken ? bits[w] | mask : bits[w] & ~mask;
	}
}

/* Returns how many were not. */
static uint32_t take_part(struct space *space, const struct space_part *part)
{
	uint32_t *count = &space->counts[part->chunk], before = *count;
	uint32_t nr = part->end - part->first - count_part(space, part);

	*count += nr;
	if (*count != CHUNK_PAGES)
		set_part(space, part, true);
	else if (nr && before)
		sparse_clear(bits_of(space, part), CHUNK_BYTES);
	return nr;
}

/* Returns how many were. */
static uint32_t give_part(struct space *space, const struct space_part *part)
{
	uint32_t *count = &space->counts[part->chunk], before = *count;
	uint32_t nr = count_part(space, part);

	if (!nr)
		return 0;
	*count -= nr;
	if (*count && before == CHUNK_PAGES)
		memset(bits_of(space, part), 0xff, CHUNK_BYTES);
	if (*count)
		set_part(space, part, false);
	else if (before != CHUNK_PAGES)
		sparse_clear(bits_of(space, part), CHUNK_BYTES);
	return nr;
}

/* ------------------------------------------------------------------------------ all of them */

static uint64_t count(const struct space *space, uint64_t first, uint64_t nr)
{
	uint64_t taken = 0;

	for (uint64_t done = 0, step; done < nr; done += step) {
		struct space_part part = first_part(first + done, nr - done);

		step = part.end - part.first;
		taken += count_part(space, &part);
	}
	return taken;
}

static void take(struct space *space, uint64_t first, uint64_t nr)
{
	uint64_t fresh = 0;

	for (uint64_t done = 0, step; done < nr; done += step) {
		struct space_part part = first_part(first + done, nr - done);

		step = part.end - part.first;
		fresh += take_part(space, &part);
	}
	atomic_fetch_add_explicit(&space->used, fresh, memory_order_relaxed);
}

/* Most writes are to one page. */
static int take_one(struct space *space, uint64_t page)
{
	uint32_t *count = &space->counts[page / CHUNK_PAGES];
	uint64_t *word = &space->bits[page / WORD_BITS], bit = 1ull << page % WORD_BITS;
	uint64_t used = space_used(space);

	if (*count == CHUNK_PAGES || *word & bit)
		return 0;
	if (used >= space_capacity(space))
		return -ENOSPC;
	atomic_store_explicit(&space->used, used + 1, memory_order_relaxed);
	if (++*count == CHUNK_PAGES)
		sparse_clear(space->bits + page / CHUNK_PAGES * CHUNK_WORDS, CHUNK_BYTES);
	else
		*word |= bit;
	return 0;
}

static int take_all(struct space *space, uint64_t first, uint64_t nr)
{
	uint64_t capacity = space_capacity(space), used = space_used(space);
	uint64_t fresh = capacity == SPACE_ENDLESS ? 0 : nr - count(space, first, nr);

	if (fresh && (used >= capacity || fresh > capacity - used))
		return -ENOSPC;
	take(space, first, nr);
	return 0;
}

int space_take(struct space *space, uint64_t first, uint64_t nr)
{
	int err;

	pthread_mutex_lock(&space->lock);
	err = nr == 1 ? take_one(space, first) : take_all(space, first, nr);
	pthread_mutex_unlock(&space->lock);
	return err;
}

void space_force(struct space *space, uint64_t first, uint64_t nr)
{
	pthread_mutex_lock(&space->lock);
	take(space, first, nr);
	pthread_mutex_unlock(&space->lock);
}

void space_give(struct space *space, uint64_t first, uint64_t nr)
{
	uint64_t given = 0;

	pthread_mutex_lock(&space->lock);
	for (uint64_t done = 0, step; done < nr; done += step) {
		struct space_part part = first_part(first + done, nr - done);

		step = part.end - part.first;
		given += give_part(space, &part);
	}
	atomic_fetch_sub_explicit(&space->used, given, memory_order_relaxed);
	pthread_mutex_unlock(&space->lock);
}

uint64_t space_next(struct space *space, uint64_t first, uint64_t nr, uint64_t *ret_skip)
{
	uint64_t done = 0, skip = 0;

	pthread_mutex_lock(&space->lock);
	while (done < nr) {
		struct space_part part = first_part(first + done, nr - done);
		bool holds = space->counts[part.chunk];

		if (!holds && done > skip)
			break;
		done += part.end - part.first;
		if (!holds)
			skip = done;
	}
	pthread_mutex_unlock(&space->lock);
	*ret_skip = skip;
	return done - skip;
}

bool space_has(struct space *space, uint64_t first, uint64_t nr)
{
	bool has;

	pthread_mutex_lock(&space->lock);
	has = count(space, first, nr) == nr;
	pthread_mutex_unlock(&space->lock);
	return has;
}
