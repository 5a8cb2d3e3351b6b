/* SPDX-License-Identifier: MIT */
/*
 * How long an arm takes from one place to another: full * sqrt(distance / span), nothing for no
 * distance. With a time for settling before it this is the a + b sqrt(d) of C. Ruemmler and J.
 * Wilkes, "An introduction to disk drive modeling", IEEE Computer 27(3), 1994, which they measured
 * for short seeks: an arm that speeds up half of the way and slows down for the rest. (Over the
 * longer ones it has reached its speed, and theirs go on in a straight line.)
 */
#ifndef FAULTS_RULE_SEEK_H
#define FAULTS_RULE_SEEK_H

#include <stdint.h>

/* Places and @span, which is more than 0 and no less than their distance, in one unit. @full_ns: over
 * all of the span. The same bits on every machine. */
uint64_t seek_ns(uint64_t from, uint64_t to, uint64_t span, uint64_t full_ns);

#endif
