/* SPDX-License-Identifier: MIT */
/* A power cut: what it leaves of what was volatile, and its losses. */
#ifndef FAULTS_DISK_POWER_CUT_H
#define FAULTS_DISK_POWER_CUT_H

#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

/* What a power cut leaves of what was volatile. */
enum keep { KEEP_NONE, KEEP_ALL, KEEP_RANDOM, KEEP_PATTERN };

#define KEEP_PATTERN_BITS 1024u /* at most */

/* One power cut, spelled out; what the words mean for each model of a cache stands in cache.h. */
struct power_cut {
	enum keep keep;
	uint64_t bits;      /* KEEP_RANDOM: the seed of what is drawn */
	uint64_t threshold; /* KEEP_RANDOM: what draws less survives with its newest content */
	uint32_t nr_pattern;
	unsigned char pattern[KEEP_PATTERN_BITS / 8]; /* the first bit is the highest of byte 0 */
};

/* Its losses. */
struct power_cut_result {
	uint64_t nr_volatile; /* what it could have hit */
	uint64_t nr_lost;     /* of them, those whose newest content is gone */
};

/* A power cut, or a removal, that takes other disks along. */
#define JOINT_NAMES_MAX 255
struct joint_cut {
	char with[JOINT_NAMES_MAX + 1]; /* their names, with a + between two */
	struct power_cut cut;
	bool unplug;      /* the power stays, and the device goes */
	uint64_t gone_ns; /* with unplug: comes back by itself after so long; 0: on command */
	uint32_t incarnation; /* of the disk that was hit */
};

/* Does number @i of what is volatile survive, as the pattern goes? */
static inline bool cut_pattern_keeps(const struct power_cut *cut, uint64_t i)
{
	i %= cut->nr_pattern;
	return cut->pattern[i / 8] >> (7 - i % 8) & 1;
}

/* Does block number @block survive? The same answer whoever asks, and when. */
static inline bool power_cut_keeps(enum keep keep, uint64_t bits, uint64_t threshold,
				   uint64_t block)
{
	return keep == KEEP_ALL || (keep == KEEP_RANDOM && rng_mix(bits, 0, block) < threshold);
}

#endif
