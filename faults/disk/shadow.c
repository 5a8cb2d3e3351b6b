// SPDX-License-Identifier: MIT
/*
 * Private mappings without reserve: the blocks, at their places, a bit for each that is saved, and
 * one for each whose place was ever written, so that a saved hole costs nothing. Untouched parts
 * cost nothing; all are emptied by madvise(), whose price is the pages in use. A flush of a cache
 * with a few blocks would pay that price and the page faults after it again and again, so the
 * places of the first NR_RECENT saved blocks are kept, and as long as there are no more, clearing
 * only clears their bits.
 */
#include "faults/disk/shadow.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/sparse.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define NR_RECENT 4096
#define WORD_BITS 64
#define PAGE      4096u

struct shadow {
	unsigned char *data;
	_Atomic uint64_t *saved;  /* a bit for each block */
	_Atomic uint64_t *filled; /* the same: its place in data may be other than zero */
	uint64_t from, to;
	unsigned int shift;
	_Atomic uint64_t nr_filled;
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

int shadow_create(uint64_t from, uint64_t to, uint32_t block_bytes, struct shadow **ret_shadow)
{
	struct shadow *shadow = fail_alloc("faults/disk/shadow/alloc", calloc(1, sizeof(*shadow)));

	if (!shadow)
		return -ENOMEM;
	shadow->from = from;
	shadow->to = to;
	shadow->shift = (unsigned int)__builtin_ctz(block_bytes);
	shadow->data = sparse_map(to - from);
	shadow->saved = sparse_map(bits_bytes(shadow));
	shadow->filled = sparse_map(bits_bytes(shadow));
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
	sparse_unmap(shadow->data, shadow->to - shadow->from);
	sparse_unmap(shadow->saved, bits_bytes(shadow));
	sparse_unmap(shadow->filled, bits_bytes(shadow));
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

static void fill(struct shadow *shadow, uint64_t block)
{
	set_bit(shadow->filled, block);
	atomic_fetch_add_explicit(&shadow->nr_filled, 1, memory_order_relaxed);
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
	bool filled = has_bit(shadow->filled, block), counted = false;

	while (done < len) {
		bool marked;
		uint64_t span = store_span(store, at + done, len - done, &marked);

		if (marked && !filled && !counted) {
			fill(shadow, block);
			counted = true;
		}
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

bool shadow_is_hole(const struct shadow *shadow, uint64_t at)
{
	return shadow_block(shadow, at) &&
	       !has_bit(shadow->filled, (at - shadow->from) >> shadow->shift);
}

uint64_t shadow_next(const struct shadow *shadow, uint64_t at, uint64_t end)
{
	uint64_t block, last, found = UINT64_MAX;

	if (at >= end || !clip(shadow, at, end - at, &block, &last))
		return end;
	while (block < last && found == UINT64_MAX) {
		uint64_t word = block / WORD_BITS;
		uint64_t bits = atomic_load_explicit(&shadow->saved[word], memory_order_relaxed) &
				UINT64_MAX << block % WORD_BITS;

		if (bits)
			found = word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
		block = (word + 1) * WORD_BITS;
	}
	if (found >= last)
		return end;
	found = shadow->from + (found << shadow->shift);
	return found > at ? found : at;
}

void shadow_put(struct shadow *shadow, uint64_t at, const unsigned char *block)
{
	uint64_t nr = (at - shadow->from) >> shadow->shift, len = 1ull << shadow->shift;
	unsigned char *to = shadow->data + (nr << shadow->shift);

	if (block && !has_bit(shadow->filled, nr))
		fill(shadow, nr);
	if (block)
		memcpy(to, block, len);
	else if (has_bit(shadow->filled, nr))
		memset(to, 0, len);
	if (!is_saved(shadow, nr))
		remember(shadow, nr);
}

void shadow_patch(struct shadow *shadow, uint64_t at, const unsigned char *data, uint64_t len)
{
	uint64_t block = (at - shadow->from) >> shadow->shift;
	unsigned char *to = shadow->data + (at - shadow->from);

	assert(is_saved(shadow, block));
	assert(block == (at - shadow->from + len - 1) >> shadow->shift);
	if (data && !has_bit(shadow->filled, block))
		fill(shadow, block);
	if (data)
		memcpy(to, data, len);
	else if (has_bit(shadow->filled, block))
		memset(to, 0, len);
}

uint64_t shadow_bytes(const struct shadow *shadow)
{
	return atomic_load_explicit(&shadow->nr_filled, memory_order_relaxed) << shadow->shift;
}

/* The place of a page, or of a block where that is larger: nothing in it is saved. */
static void free_place(struct shadow *shadow, uint64_t block, uint64_t bits, uint64_t len)
{
	_Atomic uint64_t *filled = &shadow->filled[block / WORD_BITS];

	madvise(shadow->data + (block << shadow->shift), len, MADV_DONTNEED);
	atomic_fetch_and_explicit(filled, ~bits, memory_order_relaxed);
	atomic_fetch_sub_explicit(&shadow->nr_filled, (uint64_t)__builtin_popcountll(bits),
				  memory_order_relaxed);
}

void shadow_trim(struct shadow *shadow)
{
	uint64_t len = 1ull << shadow->shift, nr_words = bits_bytes(shadow) / sizeof(uint64_t);
	unsigned int each = len < PAGE ? PAGE >> shadow->shift : 1;
	uint64_t mask = (1ull << each) - 1;

	for (uint64_t word = 0; word < nr_words; word++) {
		uint64_t saved = atomic_load_explicit(&shadow->saved[word], memory_order_relaxed);
		uint64_t filled = atomic_load_explicit(&shadow->filled[word], memory_order_relaxed);

		for (unsigned int i = 0; filled & ~saved && i < WORD_BITS; i += each)
			if (filled & mask << i && !(saved & mask << i))
				free_place(shadow, word * WORD_BITS + i, filled & mask << i,
					   len < PAGE ? PAGE : len);
	}
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
		atomic_store_explicit(&shadow->nr_filled, 0, memory_order_relaxed);
	}
	for (uint64_t i = 0; i < nr && nr <= NR_RECENT; i++) {
		uint64_t block = atomic_load_explicit(&shadow->recent[i], memory_order_relaxed);

		atomic_fetch_and_explicit(&shadow->saved[block / WORD_BITS],
					  ~(1ull << block % WORD_BITS), memory_order_relaxed);
	}
	atomic_store_explicit(&shadow->nr_recent, 0, memory_order_relaxed);
}
