// SPDX-License-Identifier: MIT
/*
 * Private mappings without reserve: the blocks, at their places, a bit for each that is saved, and
 * one for each whose place was ever written, so that a saved hole costs nothing. Untouched parts
 * cost nothing; all are emptied by madvise(), whose price is the pages in use. A flush of a cache
 * with a few blocks would pay that price and the page faults after it again and again, so the
 * places of the first NR_RECENT saved blocks are kept, and as long as there are no more, clearing
 * only clears their bits.
 */
#include "faults/shadow.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define NR_RECENT 4096
#define WORD_BITS 64

struct shadow {
	unsigned char *data;
	_Atomic uint64_t *saved;  /* a bit for each block */
	_Atomic uint64_t *filled; /* the same: its place in data may be other than zero */
	uint64_t from, to;
	unsigned int shift;
	_Atomic uint64_t nr_recent; /* may exceed NR_RECENT: then the list is not complete */
	_Atomic uint64_t recent[NR_RECENT];
};

static uint64_t nr_blocks(const struct shadow *shadow)
{
	return (shadow->to - shadow->from) >> shadow->shift;
}

static uint64_t bits_bytes(const struct shadow *shadow)
{
	return (nr_blocks(shadow) / WORD_BITS + 1) * sizeof(uint64_t);
}

static void *map(uint64_t size_bytes)
{
	void *at = fail_value("faults/shadow/map", MAP_FAILED,
			      mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, size_bytes, MADV_DONTDUMP);
	return at;
}

int shadow_create(uint64_t from, uint64_t to, uint32_t block_bytes, struct shadow **ret_shadow)
{
	struct shadow *shadow = fail_alloc("faults/shadow/alloc", calloc(1, sizeof(*shadow)));

	if (!shadow)
		return -ENOMEM;
	shadow->from = from;
	shadow->to = to;
	shadow->shift = (unsigned int)__builtin_ctz(block_bytes);
	shadow->data = map(to - from);
	shadow->saved = map(bits_bytes(shadow));
	shadow->filled = map(bits_bytes(shadow));
	if (!shadow->data || !shadow->saved || !shadow->filled) {
		shadow_free(shadow);
		return -ENOMEM;
	}
	*ret_shadow = shadow;
	return 0;
}

struct shadow *shadow_free(struct shadow *shadow)
{
	if (!shadow)
		return NULL;
	if (shadow->data)
		munmap(shadow->data, shadow->to - shadow->from);
	if (shadow->saved)
		munmap((void *)shadow->saved, bits_bytes(shadow));
	if (shadow->filled)
		munmap((void *)shadow->filled, bits_bytes(shadow));
	free(shadow);
	return NULL;
}

static bool has_bit(const _Atomic uint64_t *bits, uint64_t block)
{
	return atomic_load_explicit(&bits[block / WORD_BITS], memory_order_relaxed) >>
		       block % WORD_BITS &
	       1;
}

static void set_bit(_Atomic uint64_t *bits, uint64_t block)
{
	atomic_fetch_or_explicit(&bits[block / WORD_BITS], 1ull << block % WORD_BITS,
				 memory_order_relaxed);
}

static bool is_saved(const struct shadow *shadow, uint64_t block)
{
	return has_bit(shadow->saved, block);
}

static void remember(struct shadow *shadow, uint64_t block)
{
	uint64_t at = atomic_fetch_add_explicit(&shadow->nr_recent, 1, memory_order_relaxed);

	set_bit(shadow->saved, block);
	if (at < NR_RECENT)
		atomic_store_explicit(&shadow->recent[at], block, memory_order_relaxed);
}

/* The blocks of [at, at+len) that lie inside; false if there are none. */
static bool clip(const struct shadow *shadow, uint64_t at, uint64_t len, uint64_t *ret_first,
		 uint64_t *ret_end)
{
	uint64_t mask = (1ull << shadow->shift) - 1;
	uint64_t end = at + len < shadow->to ? at + len : shadow->to;

	at = at > shadow->from ? at : shadow->from;
	if (at >= end)
		return false;
	*ret_first = (at - shadow->from) >> shadow->shift;
	*ret_end = (end - shadow->from + mask) >> shadow->shift;
	return true;
}

/* A hole is not touched, so that it stays one. */
static void copy_block(struct shadow *shadow, const struct store *store, uint64_t block)
{
	uint64_t len = 1ull << shadow->shift, done = 0;
	unsigned char *to = shadow->data + (block << shadow->shift);
	uint64_t at = shadow->from + (block << shadow->shift);
	bool filled = has_bit(shadow->filled, block);

	while (done < len) {
		bool marked;
		uint64_t span = store_span(store, at + done, len - done, &marked);

		if (marked && !filled)
			set_bit(shadow->filled, block);
		if (marked)
			memcpy(to + done, store_bytes(store) + at + done, span);
		else if (filled)
			memset(to + done, 0, span);
		done += span;
	}
}

void shadow_save(struct shadow *shadow, const struct store *store, uint64_t at, uint64_t len,
		 bool again, uint64_t *ret_nr)
{
	uint64_t block, end, nr = 0;

	if (clip(shadow, at, len, &block, &end)) {
		for (; block < end; block++) {
			bool saved = is_saved(shadow, block);

			if (saved && !again)
				continue;
			copy_block(shadow, store, block);
			if (!saved)
				remember(shadow, block);
			nr += !saved;
		}
	}
	if (ret_nr)
		*ret_nr = nr;
}

const unsigned char *shadow_block(const struct shadow *shadow, uint64_t at)
{
	uint64_t block;

	if (at < shadow->from || at >= shadow->to)
		return NULL;
	block = (at - shadow->from) >> shadow->shift;
	return is_saved(shadow, block) ? shadow->data + (block << shadow->shift) : NULL;
}

uint64_t shadow_forget(struct shadow *shadow, uint64_t at, uint64_t len)
{
	uint64_t block, end, nr = 0;

	if (!clip(shadow, at, len, &block, &end))
		return 0;
	for (; block < end; block++) {
		if (!is_saved(shadow, block))
			continue;
		atomic_fetch_and_explicit(&shadow->saved[block / WORD_BITS],
					  ~(1ull << block % WORD_BITS), memory_order_relaxed);
		nr++;
	}
	return nr;
}

void shadow_each(const struct shadow *shadow,
		 void (*each)(void *ctx, uint64_t at, const unsigned char *block), void *ctx)
{
	uint64_t nr_words = bits_bytes(shadow) / sizeof(uint64_t);

	for (uint64_t word = 0; word < nr_words; word++) {
		uint64_t bits = atomic_load_explicit(&shadow->saved[word], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			uint64_t block = word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
			uint64_t offset = block << shadow->shift;

			each(ctx, shadow->from + offset, shadow->data + offset);
		}
	}
}

bool shadow_is_empty(const struct shadow *shadow)
{
	return !atomic_load_explicit(&shadow->nr_recent, memory_order_relaxed);
}

void shadow_clear(struct shadow *shadow)
{
	uint64_t nr = atomic_load_explicit(&shadow->nr_recent, memory_order_relaxed);

	if (nr > NR_RECENT) {
		madvise(shadow->data, shadow->to - shadow->from, MADV_DONTNEED);
		madvise((void *)shadow->saved, bits_bytes(shadow), MADV_DONTNEED);
		madvise((void *)shadow->filled, bits_bytes(shadow), MADV_DONTNEED);
	}
	for (uint64_t i = 0; i < nr && nr <= NR_RECENT; i++) {
		uint64_t block = atomic_load_explicit(&shadow->recent[i], memory_order_relaxed);

		atomic_fetch_and_explicit(&shadow->saved[block / WORD_BITS],
					  ~(1ull << block % WORD_BITS), memory_order_relaxed);
	}
	atomic_store_explicit(&shadow->nr_recent, 0, memory_order_relaxed);
}
