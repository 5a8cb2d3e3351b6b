// SPDX-License-Identifier: MIT
#include "faults/rule/seek.h"

#include "faults/rule/fixed.h"

#include <assert.h>

#define SHARE_SHIFT 62 /* even: the root has half of it */

uint64_t seek_ns(uint64_t from, uint64_t to, uint64_t span, uint64_t full_ns)
{
	uint64_t distance = from < to ? to - from : from - to, share;

	assert(span && distance <= span);
	share = (uint64_t)(((unsigned __int128)distance << SHARE_SHIFT) / span);
	return (uint64_t)((unsigned __int128)full_ns * fixed_sqrt(share) >> SHARE_SHIFT / 2);
}
