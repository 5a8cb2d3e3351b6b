/* SPDX-License-Identifier: MIT */
/*
 * Is a history of reads and writes of one register linearizable? Exact when every written value is
 * unique, in O(n log n): Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26(4),
 * 1997.
 *
 * The operations on one value (its write and the reads that saw it) are a cluster. Its zone runs
 * from the first end to the last start among them: forward if the first end comes first, else
 * backward. The history is linearizable iff no read ends before its write starts, no two forward
 * zones overlap, and no backward zone lies inside a forward one.
 */
#ifndef TESTS_LINEAR_H
#define TESTS_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct linear_op {
	uint64_t start_ns, end_ns;
	uint64_t value;
	bool is_write;
};

struct linear_zone {
	uint64_t low, high;
	bool forward;
};

static inline int linear_by_value(const void *a, const void *b)
{
	const struct linear_op *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return (int)y->is_write - (int)x->is_write; /* the write first */
}

static inline int linear_by_low(const void *a, const void *b)
{
	const struct linear_zone *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

/* One cluster, ops[0..n), its write first: its zone, or false if a read saw the future or nothing.
 */
static inline bool linear_zone_of(const struct linear_op *ops, size_t n, struct linear_zone *zone)
{
	uint64_t first_end = UINT64_MAX, last_start = 0;

	for (size_t i = 0; i < n; i++) {
		if (ops[i].is_write != (i == 0) || ops[i].end_ns < ops[0].start_ns)
			return false;
		if (ops[i].end_ns < first_end)
			first_end = ops[i].end_ns;
		if (ops[i].start_ns > last_start)
			last_start = ops[i].start_ns;
	}
	zone->forward = first_end < last_start;
	zone->low = zone->forward ? first_end : last_start;
	zone->high = zone->forward ? last_start : first_end;
	return true;
}

static inline bool linear_zones_fit(struct linear_zone *zones, size_t n)
{
	const struct linear_zone *forward = NULL;

	/* Sorted by their beginning, only the forward zone last begun can be in the way. */
	qsort(zones, n, sizeof(*zones), linear_by_low);
	for (size_t i = 0; i < n; i++) {
		bool meets = forward && zones[i].low < forward->high;

		if (meets && (zones[i].forward || zones[i].high < forward->high))
			return false;
		if (zones[i].forward)
			forward = &zones[i];
	}
	return true;
}

/* Sorts @ops. The register's initial value needs a write of its own, before everything else. */
static inline bool linear_check(struct linear_op *ops, size_t n)
{
	struct linear_zone *zones = calloc(n, sizeof(*zones));
	size_t nr_zones = 0, i = 0;
	bool good = zones != NULL;

	qsort(ops, n, sizeof(*ops), linear_by_value);
	while (good && i < n) {
		size_t end = i + 1;

		while (end < n && ops[end].value == ops[i].value)
			end++;
		good = linear_zone_of(ops + i, end - i, &zones[nr_zones++]);
		i = end;
	}
	good = good && linear_zones_fit(zones, nr_zones);
	free(zones);
	return good;
}

#endif
