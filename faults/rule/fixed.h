/* SPDX-License-Identifier: MIT */
/*
 * The few functions that distributions need, in whole numbers: the same bits with every compiler,
 * machine, C library and sanitizer, so that a decision replays anywhere. Any thread; no state.
 */
#ifndef FAULTS_RULE_FIXED_H
#define FAULTS_RULE_FIXED_H

#include <stdint.h>

#define FIXED_SHIFT     40 /* FIXED: a number of at least 0, in steps of 2^-40 */
#define FIXED_ONE       (1ull << FIXED_SHIFT)
#define FIXED_COS_SHIFT 62

/* -log2(share / 2^64) as FIXED, for share > 0: above 0, at most 64. */
uint64_t fixed_log2(uint64_t share);
/* -ln(share / 2^64) as FIXED, for share > 0. */
uint64_t fixed_ln(uint64_t share);
/* scale * 2^power (FIXED), at most @limit; scale up to 2^42. */
uint64_t fixed_exp2(uint64_t scale, uint64_t power, uint64_t limit);
/* The cosine of turn / 2^64 of a full circle, times 2^FIXED_COS_SHIFT. */
int64_t fixed_cos(uint64_t turn);
/* The square root, rounded down. */
uint64_t fixed_sqrt(uint64_t square);

#endif
