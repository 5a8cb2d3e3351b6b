/* SPDX-License-Identifier: MIT */
/*
 * A curve of times over shares: the inverse of a distribution function. Made on one thread, then
 * never changed, so that any thread may read it. Between two points it is a straight line; left of
 * the first and right of the last it is level. Two points at one share make a step.
 */
#ifndef FAULTS_RULE_CURVE_H
#define FAULTS_RULE_CURVE_H

#include <stddef.h>
#include <stdint.h>

struct curve_point {
	uint64_t share; /* of 2^64 */
	uint64_t ns;
};

struct curve {
	size_t nr; /* 0: an empty curve; nothing may be asked of it */
	struct curve_point *points;
};

/* part / whole as a share of 2^64; everything (part >= whole) is UINT64_MAX. */
uint64_t curve_share(uint64_t part, uint64_t whole);
/* Add a point right of all others, not below them (asserted). 0 or -ENOMEM. */
int curve_add(struct curve *curve, uint64_t share, uint64_t ns);
/* The time below which a share of bits / 2^64 of all times lie. */
uint64_t curve_at(const struct curve *curve, uint64_t bits);
/* Free the points and empty the curve. */
void curve_clear(struct curve *curve);

#endif
