/* SPDX-License-Identifier: MIT */
/*
 * Latency histogram: log-linear, 16 steps an octave, so that a value is known within 6.25%.
 *
 * One thread adds, any thread reads: counters are relaxed atomics written by load and store, which
 * costs no locked instruction. A reader sees each counter whole; a snapshot taken during writes may
 * miss the latest few.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_STEP_BITS 4
#define HIST_STEPS     (1u << HIST_STEP_BITS)
#define HIST_BUCKETS   (HIST_STEPS * (64 - HIST_STEP_BITS + 1))

struct hist {
	_Atomic uint64_t count[HIST_BUCKETS];
	_Atomic uint64_t max;
};

static inline unsigned int hist_bucket(uint64_t value)
{
	unsigned int octave;

	if (value < HIST_STEPS)
		return (unsigned int)value;
	octave = 63 - HIST_STEP_BITS - (unsigned int)__builtin_clzll(value);
	return octave * HIST_STEPS + (unsigned int)(value >> octave);
}

static inline void relaxed_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

/* Owner thread only. */
static inline void hist_add(struct hist *h, uint64_t value)
{
	relaxed_add(&h->count[hist_bucket(value)], 1);
	if (value > atomic_load_explicit(&h->max, memory_order_relaxed))
		atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

/* Smallest value that falls into @bucket. */
uint64_t hist_bucket_floor(unsigned int bucket);
/* Add what @from holds now to @to (owned by the caller). */
void hist_merge(struct hist *to, const struct hist *from);
uint64_t hist_total(const struct hist *h);
/*
 * The value below or at which @permille thousandths of the entries lie (500 = median), to the
 * bucket's precision and never above the largest value seen; 0 for an empty histogram.
 */
uint64_t hist_permille(const struct hist *h, unsigned int permille);

#endif
