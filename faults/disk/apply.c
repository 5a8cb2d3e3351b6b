// SPDX-License-Identifier: MIT
#include "faults/disk/apply.h"

#include "base/zero.h"

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

/* How much of a write is alike: in pages of the disk that it leaves all zero, or in others. */
static uint64_t alike(const unsigned char *data, uint64_t at, uint64_t len_bytes, bool *ret_zero)
{
	uint64_t done = 0;

	for (uint64_t step; done < len_bytes; done += step) {
		bool zero;

		step = STORE_PAGE - (at + done) % STORE_PAGE;
		step = step < len_bytes - done ? step : len_bytes - done;
		zero = is_zero(data + done, step);
		if (done && zero != *ret_zero)
			break;
		*ret_zero = zero;
	}
	return done;
}

/* A write where pages without memory are: those that it leaves all zero go on without. */
static int write_fresh(struct store *store, struct io *io, uint32_t offset_bytes, uint64_t at,
		       uint64_t len_bytes)
{
	const unsigned char *data;

	if (!io->data) {
		store_fill(store, at, len_bytes);
		return io_get(io, offset_bytes, store_data(store) + at, len_bytes);
	}
	data = io->data + offset_bytes;
	for (uint64_t done = 0, step; done < len_bytes; done += step) {
		bool marked, zero = false;

		step = store_span(store, at + done, len_bytes - done, &marked);
		if (!marked)
			step = alike(data + done, at + done, step, &zero);
		if (zero)
			continue;
		if (!marked)
			store_fill(store, at + done, step);
		memcpy(store_data(store) + at + done, data + done, step);
	}
	return 0;
}

static void zero_marked(struct store *store, uint64_t at, uint64_t len_bytes)
{
	for (uint64_t done = 0, span; done < len_bytes; done += span) {
		bool marked;

		span = store_span(store, at + done, len_bytes - done, &marked);
		if (marked)
			memset(store_data(store) + at + done, 0, span);
	}
}

static int change_unit(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		       uint64_t at, uint64_t len_bytes)
{
	struct store *store = backing->store;

	if (io->op != IO_WRITE)
		zero_marked(store, at, len_bytes);
	else if (store_is_marked(store, at, len_bytes))
		return io_get(io, offset_bytes, store_data(store) + at, len_bytes);
	else
		return write_fresh(store, io, offset_bytes, at, len_bytes);
	return 0;
}

/* A read, a write, or zeroes that stay allocated and are durable at once. */
static int move_unit(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		     uint64_t at, uint64_t len_bytes)
{
	int err;

	if (io->op == IO_READ)
		return read_unit(backing->store, io, offset_bytes, at, len_bytes);
	if (backing_is_plain(backing))
		return change_unit(backing, io, offset_bytes, at, len_bytes);
	backing_before(backing, at, len_bytes);
	err = change_unit(backing, io, offset_bytes, at, len_bytes);
	backing_changed(backing, at, len_bytes, io->flags & IO_FUA);
	return err;
}

/* The part of [at, at+len) that lies in the first unit. */
static uint32_t first_step(const struct store *store, uint64_t at, uint64_t len_bytes)
{
	uint64_t unit = store_unit_left(store, at);

	return (uint32_t)(unit < len_bytes ? unit : len_bytes);
}

/* What was there is copied, for a power cut or a snapshot: that takes memory, too. */
static int make_room(const struct backing *backing, uint64_t at, uint64_t len_bytes)
{
	if (!backing->cache && !backing->snapshots)
		return 0;
	return store_grow(backing->store, store_marked(backing->store, at, len_bytes));
}

static int take(const struct backing *backing, uint64_t at, uint64_t len_bytes)
{
	int err = make_room(backing, at, len_bytes);

	return err ? err : store_take(backing->store, at, len_bytes);
}

static int move(const struct backing *backing, struct io *io, uint32_t offset_bytes, uint64_t at,
		uint32_t len_bytes)
{
	int err = 0;

	while (len_bytes && !err) {
		uint32_t step = first_step(backing->store, at, len_bytes);

		store_lock(backing->store, at);
		err = move_unit(backing, io, offset_bytes, at, step);
		store_unlock(backing->store, at);
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
static uint32_t whole_units(const struct backing *backing, uint64_t at, uint32_t step,
			    uint32_t len_bytes)
{
	uint64_t unit = backing->cache ? cache_unit_bytes(backing->cache) : SECTOR_SIZE;
	uint64_t end = (at + step + unit - 1) & ~(unit - 1);

	return end - at < len_bytes ? (uint32_t)(end - at) : len_bytes;
}

static void tell_before_punch(const struct backing *backing, uint64_t at, uint32_t len_bytes)
{
	while (len_bytes) {
		bool marked;
		uint32_t step = (uint32_t)store_span(backing->store, at, len_bytes, &marked);

		if (!marked && backing->cache)
			cache_after_hole(backing->cache, at, step);
		/* With nobody to tell of a hole, all of it is passed over at once. */
		if (marked || backing->nr_watchers) {
			if (marked)
				step = whole_units(backing, at, step, len_bytes);
			step = first_step(backing->store, at, step);
			store_lock(backing->store, at);
			(marked ? backing_before : backing_before_hole)(backing, at, step);
			if (marked && backing->cache)
				cache_after_change(backing->cache, at, step, true);
			store_unlock(backing->store, at);
		}
		at += step;
		len_bytes -= step;
	}
}

static void tell_after_punch(const struct backing *backing, uint64_t at, uint32_t len_bytes)
{
	while (len_bytes && backing->nr_watchers) {
		uint32_t step = first_step(backing->store, at, len_bytes);

		store_lock(backing->store, at);
		backing_after(backing, at, step);
		store_unlock(backing->store, at);
		at += step;
		len_bytes -= step;
	}
}

/* @keep: the space, see store_zero(). */
static int punch(const struct backing *backing, uint64_t at, uint32_t len_bytes, bool keep)
{
	int (*const clear)(struct store *, uint64_t, uint64_t) = keep ? store_zero : store_punch;
	int err;

	if (backing_is_plain(backing))
		return clear(backing->store, at, len_bytes);
	err = make_room(backing, at, len_bytes);
	/* Before anybody is told of a change that cannot take place. */
	if (!err && keep)
		err = store_take_space(backing->store, at, len_bytes);
	if (err)
		return err;
	tell_before_punch(backing, at, len_bytes);
	err = clear(backing->store, at, len_bytes);
	tell_after_punch(backing, at, len_bytes);
	return err;
}

int apply_punch(const struct backing *backing, uint64_t at, uint64_t len)
{
	int err = 0;

	while (len && !err) {
		uint32_t step = len < APPLY_PUNCH_MAX ? (uint32_t)len : APPLY_PUNCH_MAX;

		err = punch(backing, at, step, false);
		at += step;
		len -= step;
	}
	return err;
}

/* All of it gets its space before any of it is written, so that what does not fit changes nothing. */
static int write_all(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		     uint64_t at, uint32_t len_bytes)
{
	int err = take(backing, at, len_bytes);

	return err ? err : move(backing, io, offset_bytes, at, len_bytes);
}

static int zero_all(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		    uint64_t at, uint32_t len_bytes)
{
	int err;

	if (!(io->flags & IO_NOUNMAP))
		return punch(backing, at, len_bytes, false);
	if (!(io->flags & IO_FUA) || !backing->cache)
		return punch(backing, at, len_bytes, true);
	/* Durable at once: unit by unit, as a write is. */
	err = store_take_space(backing->store, at, len_bytes);
	if (!err)
		err = make_room(backing, at, len_bytes);
	return err ? err : move(backing, io, offset_bytes, at, len_bytes);
}

static int carry_out(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		     uint64_t at, uint32_t len_bytes)
{
	if (!len_bytes && io->op != IO_FLUSH)
		return 0;
	switch ((enum io_op)io->op) {
	case IO_READ:
		return move(backing, io, offset_bytes, at, len_bytes);
	case IO_WRITE:
		return write_all(backing, io, offset_bytes, at, len_bytes);
	case IO_FLUSH:
		if (backing->cache)
			cache_flush(backing->cache);
		return 0;
	case IO_ZEROES:
		return zero_all(backing, io, offset_bytes, at, len_bytes);
	case IO_DISCARD:
		return punch(backing, at, len_bytes, false);
	case IO_NR_OPS:
		break;
	}
	assert(!"a request has one of the operations of enum io_op");
	return -EINVAL;
}

int apply_at(const struct backing *backing, struct io *io, uint32_t offset_bytes, uint64_t at,
	     uint32_t len_bytes)
{
	int err;

	assert(at <= store_size(backing->store));
	assert(len_bytes <= store_size(backing->store) - at);
	if (!backing->cache || io->op == IO_READ)
		return carry_out(backing, io, offset_bytes, at, len_bytes);
	cache_begin(backing->cache);
	err = carry_out(backing, io, offset_bytes, at, len_bytes);
	cache_end(backing->cache);
	return err;
}

int apply_part(const struct backing *backing, struct io *io, uint32_t offset_bytes,
	       uint32_t len_bytes)
{
	return apply_at(backing, io, offset_bytes, io_start(io) + offset_bytes, len_bytes);
}

int apply_durable(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		  uint32_t len_bytes)
{
	int err = apply_part(backing, io, offset_bytes, len_bytes);
	uint64_t at = io_start(io) + offset_bytes;

	if (err || !backing->cache)
		return err;
	cache_begin(backing->cache);
	while (len_bytes) {
		uint32_t step = first_step(backing->store, at, len_bytes);

		store_lock(backing->store, at);
		cache_settle(backing->cache, at, step);
		store_unlock(backing->store, at);
		at += step;
		len_bytes -= step;
	}
	cache_end(backing->cache);
	return 0;
}

int apply_data(const struct backing *backing, uint64_t at, const void *data, size_t len)
{
	const unsigned char *from = data;
	int err = len ? take(backing, at, len) : 0;

	if (err)
		return err;
	if (backing->cache)
		cache_begin(backing->cache);
	while (len) {
		uint32_t step = first_step(backing->store, at, len < UINT32_MAX ? len : UINT32_MAX);

		store_lock(backing->store, at);
		backing_before(backing, at, step);
		store_mark(backing->store, at, step);
		memcpy(store_data(backing->store) + at, from, step);
		backing_changed(backing, at, step, false);
		store_unlock(backing->store, at);
		from += step;
		at += step;
		len -= step;
	}
	if (backing->cache)
		cache_end(backing->cache);
	return 0;
}

int apply_change(const struct backing *backing, uint64_t at, uint64_t len, bool durable,
		 apply_change_fn change, void *ctx)
{
	struct store *store = backing->store;
	int err = len ? take(backing, at, len) : 0;

	assert(at <= store_size(store) && len <= store_size(store) - at);
	if (err)
		return err;
	if (backing->cache)
		cache_begin(backing->cache);
	while (len && !err) {
		uint32_t step = first_step(store, at, len < UINT32_MAX ? len : UINT32_MAX);

		store_lock(store, at);
		backing_before(backing, at, step);
		store_mark(store, at, step);
		err = change(ctx, store_data(store) + at, at, step);
		backing_changed(backing, at, step, durable);
		store_unlock(store, at);
		at += step;
		len -= step;
	}
	if (backing->cache)
		cache_end(backing->cache);
	return err;
}

void apply_peek(const struct backing *backing, uint64_t at, void *data, size_t len)
{
	unsigned char *to = data;

	while (len) {
		uint32_t step = first_step(backing->store, at, len < UINT32_MAX ? len : UINT32_MAX);

		store_lock(backing->store, at);
		store_peek(backing->store, at, to, step);
		store_unlock(backing->store, at);
		to += step;
		at += step;
		len -= step;
	}
}
