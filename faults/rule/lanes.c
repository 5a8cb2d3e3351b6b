// SPDX-License-Identifier: MIT
/*
 * A word for each lane, the time at which it is free. Times only grow, so that a lane that was the
 * first to be free stays that as long as nobody takes it: comparing its word alone is enough to know
 * that the choice was still right when it was made.
 */
#include "faults/rule/lanes.h"

#include "base/failpoint.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct lanes {
	unsigned int nr;
	_Atomic uint64_t free_ns[];
};

struct lanes *lanes_new(unsigned int nr)
{
	struct lanes *lanes;

	assert(nr >= 1 && nr <= LANES_MAX);
	lanes = fail_alloc("faults/rule/lanes/alloc",
			   calloc(1, sizeof(*lanes) + nr * sizeof(lanes->free_ns[0])));
	if (lanes)
		lanes->nr = nr;
	return lanes;
}

struct lanes *lanes_free(struct lanes *lanes)
{
	free(lanes);
	return NULL;
}

/* The lane that is free first, and since when, or from when on. */
static _Atomic uint64_t *first_free(struct lanes *lanes, uint64_t *ret_free_ns)
{
	_Atomic uint64_t *first = &lanes->free_ns[0];

	*ret_free_ns = atomic_load_explicit(first, memory_order_relaxed);
	for (unsigned int i = 1; i < lanes->nr; i++) {
		uint64_t free_ns = atomic_load_explicit(&lanes->free_ns[i], memory_order_relaxed);

		if (free_ns >= *ret_free_ns)
			continue;
		first = &lanes->free_ns[i];
		*ret_free_ns = free_ns;
	}
	return first;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	return a <= UINT64_MAX - b ? a + b : UINT64_MAX;
}

uint64_t lanes_take(struct lanes *lanes, uint64_t now_ns, uint64_t ns, uint64_t limit_ns, bool pure)
{
	uint64_t limit = add(now_ns, limit_ns), free_ns, done, next;
	_Atomic uint64_t *lane;

	do {
		lane = first_free(lanes, &free_ns);
		done = add(free_ns > now_ns ? free_ns : now_ns, ns);
		/* Nobody waits for longer, so nothing is owed beyond it. */
		if (done > limit)
			done = limit;
		next = done > free_ns ? done : free_ns;
	} while (!pure &&
		 !atomic_compare_exchange_weak_explicit(lane, &free_ns, next, memory_order_relaxed,
							memory_order_relaxed));
	return done - now_ns;
}
