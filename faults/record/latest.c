// SPDX-License-Identifier: MIT
/*
 * A tree over the pieces between two borders. A range is noted at the fewest nodes that make it up
 * (whole), and at all that it has a part of (within). Numbers only grow, so that the last one noted
 * at a node is the greatest.
 *
 *	node	        1
 *		    2       3
 *		  4   5   6   7		= pieces 0 1 2 3; pieces 1..3: at 5 and 3, within 2 and 1
 */
#include "faults/record/latest.h"

#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int latest_start(struct latest *latest, uint64_t *borders, size_t nr_borders)
{
	size_t nr = 0;

	*latest = (struct latest){ .borders = borders, .nr_leaves = 1 };
	if (nr_borders)
		qsort(borders, nr_borders, sizeof(*borders), compare);
	for (size_t i = 0; i < nr_borders; i++)
		if (!nr || borders[nr - 1] != borders[i])
			borders[nr++] = borders[i];
	latest->nr_borders = nr;
	while (latest->nr_leaves < nr)
		latest->nr_leaves *= 2;
	latest->within = fail_alloc("faults/record/latest/within",
				    calloc(2 * latest->nr_leaves, sizeof(*latest->within)));
	latest->whole = fail_alloc("faults/record/latest/whole",
				   calloc(2 * latest->nr_leaves, sizeof(*latest->whole)));
	return latest->within && latest->whole ? 0 : -ENOMEM;
}

/* How many borders are less than @at. */
static size_t borders_below(const struct latest *latest, uint64_t at)
{
	size_t from = 0, to = latest->nr_borders;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (latest->borders[middle] < at)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static void note_above(struct latest *latest, size_t node, uint32_t number)
{
	while (node /= 2)
		latest->within[node] = number;
}

void latest_note(struct latest *latest, uint64_t from, uint64_t end, uint32_t number)
{
	size_t left = latest->nr_leaves + borders_below(latest, from);
	size_t right = latest->nr_leaves + borders_below(latest, end);

	note_above(latest, left, number);
	note_above(latest, right - 1, number);
	for (; left < right; left /= 2, right /= 2) {
		if (left % 2) {
			latest->within[left] = latest->whole[left] = number;
			left++;
		}
		if (right % 2) {
			right--;
			latest->within[right] = latest->whole[right] = number;
		}
	}
}

static uint32_t greater(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* What was noted at what the node is a part of. */
static uint32_t find_above(const struct latest *latest, size_t node, uint32_t found)
{
	while (node /= 2)
		found = greater(found, latest->whole[node]);
	return found;
}

uint32_t latest_find(const struct latest *latest, uint64_t from, uint64_t end)
{
	size_t first = borders_below(latest, from + 1);
	/* The piece in which it begins, if it does not begin before all of them. */
	size_t left = latest->nr_leaves + (first ? first - 1 : 0);
	size_t right = latest->nr_leaves + borders_below(latest, end);
	uint32_t found;

	if (left >= right)
		return 0;
	found = find_above(latest, left, find_above(latest, right - 1, 0));
	for (; left < right; left /= 2, right /= 2) {
		if (left % 2)
			found = greater(found, latest->within[left++]);
		if (right % 2)
			found = greater(found, latest->within[--right]);
	}
	return found;
}

void latest_free(struct latest *latest)
{
	free(latest->borders);
	free(latest->within);
	free(latest->whole);
	*latest = (struct latest){ 0 };
}
