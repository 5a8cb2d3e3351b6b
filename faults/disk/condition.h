/* SPDX-License-Identifier: MIT */
/*
 * The condition of the whole disk: what a kind has done to it that outlasts the request. One per
 * pipeline, read by every request with a single load while the disk is well.
 *
 * Kinds set bits on queue threads, whichever comes first; only condition_reset(), on the control
 * thread, clears them. A bit is set last, after what it needs to be understood.
 */
#ifndef FAULTS_DISK_CONDITION_H
#define FAULTS_DISK_CONDITION_H

#include "faults/disk/power_cut.h"
#include "faults/io.h"

#include <stdatomic.h>

enum condition_bit {
	CONDITION_READ_ONLY = 1u << 0, /* what would change the disk fails with EIO */
	CONDITION_NO_SPACE = 1u << 1,  /* writes to blocks never written fail with ENOSPC */
	CONDITION_SHRUNK = 1u << 2,    /* nothing is left past end_bytes: EIO */
	CONDITION_GONE = 1u << 3,      /* removed from the machine: ENODEV */
	CONDITION_OFF = 1u << 4,       /* without power: EIO, and the cache is lost */
};

struct condition {
	_Atomic uint32_t bits;      /* enum condition_bit */
	_Atomic uint32_t claimed;   /* those whose fields somebody has written, or is about to */
	_Atomic uint64_t end_bytes; /* 0: not shrunk */
	_Atomic uint64_t gone_ns;   /* comes back by itself after so long; 0: on command */
	/* Of the first power cut; kept for the revival. */
	_Atomic uint32_t keep; /* enum keep */
	_Atomic uint64_t keep_bits;
	_Atomic uint64_t keep_threshold; /* KEEP_RANDOM: a block survives when its bits are below */
};

struct backing;

/* On a disk with @bits set: 0 if the request may go on, else the -errno it ends with. Queue thread.
 */
int condition_verdict(uint32_t bits, const struct condition *condition,
		      const struct backing *backing, const struct io *io);

static inline uint32_t condition_bits(const struct condition *condition)
{
	return atomic_load_explicit(&condition->bits, memory_order_acquire);
}

/* Set @bit; true for the caller that set it first. */
static inline bool condition_set(struct condition *condition, enum condition_bit bit)
{
	return !(atomic_fetch_or_explicit(&condition->bits, bit, memory_order_acq_rel) & bit);
}

/*
 * What kinds do to the disk; any queue thread. Of several power cuts, and of several removals, only
 * the first counts until the disk is revived: true for it. A disk can shrink again and again, but
 * never grows.
 */
bool condition_cut(struct condition *condition, enum keep keep, uint64_t bits, uint64_t threshold);
bool condition_remove(struct condition *condition, uint64_t gone_ns);
void condition_shrink(struct condition *condition, uint64_t end_bytes);
/*
 * The disk is well again, as far as it was in @bits; what has befallen it since stays. Control
 * thread, and no request that saw it well before @bits were set is still under way.
 */
void condition_reset(struct condition *condition, uint32_t bits);

/* "off", "gone", "read-only", ...: the worst bit of @bits, for people; "well" for none. */
const char *condition_name(uint32_t bits);

#endif
