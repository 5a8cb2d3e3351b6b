// SPDX-License-Identifier: MIT
#include "faults/apply.h"

#include <assert.h>
#include <errno.h>

#define APPLY_PUNCH_MAX (1u << 30)

/* Copy out of a hole without touching it. */
static int put_zeroes(struct io *io, uint32_t offset_bytes, uint64_t len_bytes)
{
	static const unsigned char zeroes[4096];
	int err = 0;

	if (io->data) {
		memset(io->data + offset_bytes, 0, len_bytes);
		return 0;
	}
	for (uint64_t done = 0; done < len_bytes && !err; done += sizeof(zeroes)) {
		uint64_t left = len_bytes - done;

		err = io_put(io, offset_bytes + done, zeroes,
			     left < sizeof(zeroes) ? left : sizeof(zeroes));
	}
	return err;
}

static int read_unit(struct store *store, struct io *io, uint32_t offset_bytes, uint64_t at,
		     uint64_t len_bytes)
{
	uint64_t done = 0;
	int err = 0;

	while (done < len_bytes && !err) {
		bool marked;
		uint64_t span = store_span(store, at + done, len_bytes - done, &marked);

		if (marked)
			err = io_put(io, offset_bytes + done, store_data(store) + at + done, span);
		else
			err = put_zeroes(io, offset_bytes + (uint32_t)done, span);
		done += span;
	}
	return err;
}

static int change_unit(const struct medium *medium, struct io *io, uint32_t offset_bytes,
		       uint64_t at, uint64_t len_bytes)
{
	struct store *store = medium->store;
	int err = 0;

	store_mark(store, at, len_bytes);
	if (io->op == IO_WRITE)
		err = io_get(io, offset_bytes, store_data(store) + at, len_bytes);
	else
		memset(store_data(store) + at, 0, len_bytes);
	return err;
}

/* A read, a write, or zeroes that stay allocated. */
static int move_unit(const struct medium *medium, struct io *io, uint32_t offset_bytes, uint64_t at,
		     uint64_t len_bytes)
{
	int err;

	if (io->op == IO_READ)
		return read_unit(medium->store, io, offset_bytes, at, len_bytes);
	if (medium_is_plain(medium))
		return change_unit(medium, io, offset_bytes, at, len_bytes);
	medium_before(medium, at, len_bytes);
	err = change_unit(medium, io, offset_bytes, at, len_bytes);
	medium_changed(medium, at, len_bytes, io->flags & IO_FUA);
	return err;
}

/* The part of [at, at+len) that lies in the first unit. */
static uint32_t first_step(const struct store *store, uint64_t at, uint64_t len_bytes)
{
	uint64_t unit = store_unit_left(store, at);

	return (uint32_t)(unit < len_bytes ? unit : len_bytes);
}

static int move(const struct medium *medium, struct io *io, uint32_t offset_bytes, uint64_t at,
		uint32_t len_bytes)
{
	int err = 0;

	while (len_bytes && !err) {
		uint32_t step = first_step(medium->store, at, len_bytes);

		store_lock(medium->store, at);
		err = move_unit(medium, io, offset_bytes, at, step);
		store_unlock(medium->store, at);
		offset_bytes += step;
		at += step;
		len_bytes -= step;
	}
	return err;
}

/*
 * A cache that keeps versions sees a discard as one change of each of its units, holes in between
 * included: a part of one would be a version that never was.
 */
static uint32_t whole_units(const struct medium *medium, uint64_t at, uint32_t step,
			    uint32_t len_bytes)
{
	uint64_t unit = medium->cache ? cache_unit_bytes(medium->cache) : SECTOR_SIZE;
	uint64_t end = (at + step + unit - 1) & ~(unit - 1);

	return end - at < len_bytes ? (uint32_t)(end - at) : len_bytes;
}

static void tell_before_punch(const struct medium *medium, uint64_t at, uint32_t len_bytes)
{
	while (len_bytes) {
		bool marked;
		uint32_t step = (uint32_t)store_span(medium->store, at, len_bytes, &marked);

		if (!marked && medium->cache)
			cache_after_hole(medium->cache, at, step);
		/* With nobody to tell of a hole, all of it is passed over at once. */
		if (marked || medium->nr_watchers) {
			if (marked)
				step = whole_units(medium, at, step, len_bytes);
			step = first_step(medium->store, at, step);
			store_lock(medium->store, at);
			(marked ? medium_before : medium_before_hole)(medium, at, step);
			if (marked && medium->cache)
				cache_after_change(medium->cache, at, step, true);
			store_unlock(medium->store, at);
		}
		at += step;
		len_bytes -= step;
	}
}

static void tell_after_punch(const struct medium *medium, uint64_t at, uint32_t len_bytes)
{
	while (len_bytes && medium->nr_watchers) {
		uint32_t step = first_step(medium->store, at, len_bytes);

		store_lock(medium->store, at);
		medium_after(medium, at, step);
		store_unlock(medium->store, at);
		at += step;
		len_bytes -= step;
	}
}

static int punch(const struct medium *medium, uint64_t at, uint32_t len_bytes)
{
	int err;

	if (medium_is_plain(medium))
		return store_punch(medium->store, at, len_bytes);
	tell_before_punch(medium, at, len_bytes);
	err = store_punch(medium->store, at, len_bytes);
	tell_after_punch(medium, at, len_bytes);
	return err;
}

int apply_punch(const struct medium *medium, uint64_t at, uint64_t len)
{
	int err = 0;

	while (len && !err) {
		uint32_t step = len < APPLY_PUNCH_MAX ? (uint32_t)len : APPLY_PUNCH_MAX;

		err = punch(medium, at, step);
		at += step;
		len -= step;
	}
	return err;
}

static int carry_out(const struct medium *medium, struct io *io, uint32_t offset_bytes, uint64_t at,
		     uint32_t len_bytes)
{
	switch ((enum io_op)io->op) {
	case IO_READ:
	case IO_WRITE:
		return move(medium, io, offset_bytes, at, len_bytes);
	case IO_FLUSH:
		if (medium->cache)
			cache_flush(medium->cache);
		return 0;
	case IO_ZEROES:
		if (io->flags & IO_NOUNMAP)
			return move(medium, io, offset_bytes, at, len_bytes);
		return punch(medium, at, len_bytes);
	case IO_DISCARD:
		return punch(medium, at, len_bytes);
	case IO_NR_OPS:
		break;
	}
	assert(!"a request has one of the operations of enum io_op");
	return -EINVAL;
}

int apply_at(const struct medium *medium, struct io *io, uint32_t offset_bytes, uint64_t at,
	     uint32_t len_bytes)
{
	int err;

	assert(at <= store_size(medium->store));
	assert(len_bytes <= store_size(medium->store) - at);
	if (!medium->cache || io->op == IO_READ)
		return carry_out(medium, io, offset_bytes, at, len_bytes);
	cache_begin(medium->cache);
	err = carry_out(medium, io, offset_bytes, at, len_bytes);
	cache_end(medium->cache);
	return err;
}

int apply_part(const struct medium *medium, struct io *io, uint32_t offset_bytes,
	       uint32_t len_bytes)
{
	return apply_at(medium, io, offset_bytes, io_start(io) + offset_bytes, len_bytes);
}

void apply_data(const struct medium *medium, uint64_t at, const void *data, size_t len)
{
	const unsigned char *from = data;

	if (medium->cache)
		cache_begin(medium->cache);
	while (len) {
		uint32_t step = first_step(medium->store, at, len < UINT32_MAX ? len : UINT32_MAX);

		store_lock(medium->store, at);
		medium_before(medium, at, step);
		store_mark(medium->store, at, step);
		memcpy(store_data(medium->store) + at, from, step);
		medium_changed(medium, at, step, false);
		store_unlock(medium->store, at);
		from += step;
		at += step;
		len -= step;
	}
	if (medium->cache)
		cache_end(medium->cache);
}

int apply_change(const struct medium *medium, uint64_t at, uint64_t len, bool durable,
		 apply_change_fn change, void *ctx)
{
	struct store *store = medium->store;
	int err = 0;

	assert(at <= store_size(store) && len <= store_size(store) - at);
	if (medium->cache)
		cache_begin(medium->cache);
	while (len && !err) {
		uint32_t step = first_step(store, at, len < UINT32_MAX ? len : UINT32_MAX);

		store_lock(store, at);
		medium_before(medium, at, step);
		store_mark(store, at, step);
		err = change(ctx, store_data(store) + at, at, step);
		medium_changed(medium, at, step, durable);
		store_unlock(store, at);
		at += step;
		len -= step;
	}
	if (medium->cache)
		cache_end(medium->cache);
	return err;
}

static void peek_unit(const struct store *store, uint64_t at, unsigned char *to, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		bool marked;
		uint64_t span = store_span(store, at + done, len - done, &marked);

		if (marked)
			memcpy(to + done, store_bytes(store) + at + done, span);
		else
			memset(to + done, 0, span);
		done += span;
	}
}

void apply_peek(const struct medium *medium, uint64_t at, void *data, size_t len)
{
	unsigned char *to = data;

	while (len) {
		uint32_t step = first_step(medium->store, at, len < UINT32_MAX ? len : UINT32_MAX);

		store_lock(medium->store, at);
		peek_unit(medium->store, at, to, step);
		store_unlock(medium->store, at);
		to += step;
		at += step;
		len -= step;
	}
}
