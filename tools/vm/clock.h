/* SPDX-License-Identifier: MIT */
/*
 * Does the guest's clock go as fast as the host's? The guest asks the host for its time twice.
 * What the host says is true of some moment between question and answer, and on a loaded machine
 * these lie far apart: so the guest's time between the two moments has a least and a most, and
 * what is concluded holds for both.
 *
 *	guest	asked ......... answered		asked ......... answered
 *	host		  host			 		   host
 */
#ifndef VM_CLOCK_H
#define VM_CLOCK_H

#include <stdint.h>

#define CLOCK_TOLERANCE_PERCENT 5u

/* One question: the guest's clock before and after it, and the host's in between. */
struct clock_reading {
	uint64_t asked_ns, host_ns, answered_ns;
};

enum clock_verdict {
	CLOCK_UNKNOWN, /* the answers took too long for what lay between them: ask again later */
	CLOCK_RIGHT,
	CLOCK_WRONG, /* faster or slower than CLOCK_TOLERANCE_PERCENT allows, for certain */
};

/* @ret_percent: the guest's speed in percent of the host's, about. @second comes after @first. */
static inline enum clock_verdict clock_compare(const struct clock_reading *first,
					       const struct clock_reading *second,
					       uint64_t *ret_percent)
{
	uint64_t least_ns = second->asked_ns - first->answered_ns;
	uint64_t most_ns = second->answered_ns - first->asked_ns;
	uint64_t host_ns = second->host_ns - first->host_ns;
	uint64_t slow_ns = host_ns / 100 * (100 - CLOCK_TOLERANCE_PERCENT);
	uint64_t fast_ns = host_ns / 100 * (100 + CLOCK_TOLERANCE_PERCENT);

	if (host_ns < 100)
		return CLOCK_UNKNOWN;
	*ret_percent = (least_ns + (most_ns - least_ns) / 2) / (host_ns / 100);
	if (most_ns < slow_ns || least_ns > fast_ns)
		return CLOCK_WRONG;
	return least_ns >= slow_ns && most_ns <= fast_ns ? CLOCK_RIGHT : CLOCK_UNKNOWN;
}

#endif
