/* SPDX-License-Identifier: MIT */
/*
 * A set of numbers from a large range, few of them near each other: a bit for each, and above it
 * levels with a bit for each word below that is not zero. A look for the next one costs one step
 * per level. What was never near a member is never touched, so it takes no memory. One thread.
 */
#ifndef FAULTS_CRASH_BITS_H
#define FAULTS_CRASH_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define CRASH_BITS_LEVELS 7 /* 64^7 = 2^42 members */
#define CRASH_BITS_NONE   UINT64_MAX

struct crash_bits {
	uint64_t *levels[CRASH_BITS_LEVELS];
	unsigned int nr_levels;
};

/* For 0..nr-1; -ENOMEM. It is freed by crash_bits_free() even then. */
int crash_bits_start(struct crash_bits *bits, uint64_t nr);
void crash_bits_free(struct crash_bits *bits);
void crash_bits_set(struct crash_bits *bits, uint64_t member);
void crash_bits_clear(struct crash_bits *bits, uint64_t member);
/* The smallest member from @from on, or CRASH_BITS_NONE; @from may be behind the last. */
uint64_t crash_bits_next(const struct crash_bits *bits, uint64_t from, uint64_t nr);

static inline bool crash_bits_has(const struct crash_bits *bits, uint64_t member)
{
	return bits->levels[0][member / 64] >> member % 64 & 1;
}

#endif
