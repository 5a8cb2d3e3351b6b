/* SPDX-License-Identifier: MIT */
/* What a request does to the disk when nothing goes wrong: all of it, or a part. */
#ifndef FAULTS_DISK_APPLY_H
#define FAULTS_DISK_APPLY_H

#include "base/units.h"
#include "faults/disk/backing.h"
#include "faults/io.h"

/*
 * Carry out bytes [offset, offset+len) of the request, which must lie inside the disk (asserted).
 * Returns 0 or -errno. Reads of mapped memory cannot fail by themselves, the request's own get and
 * put can; writes and zeroes fail with ENOSPC past a limit of the store, and with EIO where the host
 * has no memory for them, and have then changed nothing; zeroes and discards make a system call.
 */
int apply_part(const struct backing *backing, struct io *io, uint32_t offset_bytes,
	       uint32_t len_bytes);
/* The same, and no power cut takes it back. */
int apply_durable(const struct backing *backing, struct io *io, uint32_t offset_bytes,
		  uint32_t len_bytes);
/*
 * The same elsewhere: bytes [offset, offset+len) of the request against the disk at byte @at, which
 * must lie inside with @len. A read answers from there, a write lands there.
 */
int apply_at(const struct backing *backing, struct io *io, uint32_t offset_bytes, uint64_t at,
	     uint32_t len_bytes);
/* Write @len bytes of @data at byte @at, whatever the request; seen by cache and rules. 0, or as
 * store_take(). */
int apply_data(const struct backing *backing, uint64_t at, const void *data, size_t len);
/*
 * Let @change edit bytes [at, at+len) where the store keeps them: it gets each piece that lies in
 * one unit, @at being its place on the disk, with the unit's lock held. Cache and rules see it;
 * @durable: no power cut takes it back. Ends with the first error of @change, else 0; or as
 * store_take(), before any of it.
 */
typedef int (*apply_change_fn)(void *ctx, unsigned char *bytes, uint64_t at, uint32_t len_bytes);
int apply_change(const struct backing *backing, uint64_t at, uint64_t len, bool durable,
		 apply_change_fn change, void *ctx);
/* Bytes [at, at+len) read as zero afterwards, as after a discard; seen by cache and rules. 0 or
 * -errno. */
int apply_punch(const struct backing *backing, uint64_t at, uint64_t len);
/* Copy out what the disk holds at byte @at; a hole stays one. */
void apply_peek(const struct backing *backing, uint64_t at, void *data, size_t len);

/* The result of a request that was carried out whole with the return value @err. */
static inline int apply_result(const struct io *io, int err)
{
	if (err)
		return err;
	return io->op <= IO_WRITE ? (int)io->len_bytes : 0;
}

_Static_assert(IO_READ == 0 && IO_WRITE == 1, "apply_result() orders the operations");

#endif
