// SPDX-License-Identifier: MIT
#include "faults/rule/curve.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

uint64_t curve_share(uint64_t part, uint64_t whole)
{
	return part >= whole ? UINT64_MAX : (uint64_t)(((unsigned __int128)part << 64) / whole);
}

_cold_ int curve_add(struct curve *curve, uint64_t share, uint64_t ns)
{
	size_t nr = curve->nr;

	assert(!nr || share >= curve->points[nr - 1].share);
	assert(!nr || ns >= curve->points[nr - 1].ns);
	/* Room for 1, 2, 4, 8, ...: full whenever nr is a power of two. */
	if (!(nr & (nr - 1)) && array_fit("faults/rule/curve/grow", curve->points, nr ? 2 * nr : 1))
		return -ENOMEM;
	curve->points[nr] = (struct curve_point){ share, ns };
	curve->nr++;
	return 0;
}

uint64_t curve_at(const struct curve *curve, uint64_t bits)
{
	const struct curve_point *a, *b;
	size_t low = 0, high = curve->nr; /* the first point right of @bits is in [low, high] */

	assert(curve->nr);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (curve->points[middle].share > bits)
			high = middle;
		else
			low = middle + 1;
	}
	if (low == 0)
		return curve->points[0].ns;
	a = &curve->points[low - 1];
	if (low == curve->nr)
		return a->ns;
	b = a + 1;
	return a->ns + (uint64_t)((unsigned __int128)(b->ns - a->ns) * (bits - a->share) /
				  (b->share - a->share));
}

_cold_ void curve_clear(struct curve *curve)
{
	free(curve->points);
	*curve = (struct curve){ .nr = 0 };
}
