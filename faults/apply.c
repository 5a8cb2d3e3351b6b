// SPDX-License-Identifier: MIT
#include "faults/apply.h"

#include <assert.h>
#include <errno.h>

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

/* A read, a write, or zeroes that stay allocated. */
static int move_unit(struct store *store, struct io *io, uint32_t offset_bytes, uint64_t at,
		     uint64_t len_bytes)
{
	if (io->op == IO_READ)
		return read_unit(store, io, offset_bytes, at, len_bytes);
	store_mark(store, at, len_bytes);
	if (io->op == IO_WRITE)
		return io_get(io, offset_bytes, store_data(store) + at, len_bytes);
	memset(store_data(store) + at, 0, len_bytes);
	return 0;
}

static int move(struct store *store, struct io *io, uint32_t offset_bytes, uint64_t at,
		uint32_t len_bytes)
{
	int err = 0;

	while (len_bytes && !err) {
		uint64_t unit = store_unit_left(store, at);
		uint32_t step = unit < len_bytes ? (uint32_t)unit : len_bytes;

		store_lock(store, at);
		err = move_unit(store, io, offset_bytes, at, step);
		store_unlock(store, at);
		offset_bytes += step;
		at += step;
		len_bytes -= step;
	}
	return err;
}

int apply_part(struct store *store, struct io *io, uint32_t offset_bytes, uint32_t len_bytes)
{
	uint64_t at = io_start(io) + offset_bytes;

	assert(at <= store_size(store));
	assert(len_bytes <= store_size(store) - at);
	switch ((enum io_op)io->op) {
	case IO_READ:
	case IO_WRITE:
		return move(store, io, offset_bytes, at, len_bytes);
	case IO_FLUSH:
		return 0;
	case IO_ZEROES:
		if (io->flags & IO_NOUNMAP)
			return move(store, io, offset_bytes, at, len_bytes);
		return store_punch(store, at, len_bytes);
	case IO_DISCARD:
		return store_punch(store, at, len_bytes);
	case IO_NR_OPS:
		break;
	}
	assert(!"a request has one of the operations of enum io_op");
	return -EINVAL;
}
