// SPDX-License-Identifier: MIT
/*
 * delay:TIME or delay:MIN..MAX
 *
 * The request is carried out so much later; whatever else the rules decided happens then. MIN..MAX
 * is uniform, both ends included. A delay of 0 is legal and changes nothing.
 */
#include "base/rng.h"
#include "base/units.h"
#include "faults/kind.h"

static uint64_t delay_ns(const struct kind_args *args, const struct kind_hit *hit,
			 const struct io *io, bool pure)
{
	const struct value *span = &args->value[delay_time];

	(void)io;
	(void)pure;
	/* No overflow: both ends are at most KIND_DELAY_MAX_NS. */
	return span->lo + rng_below(hit->bits, span->hi - span->lo + 1);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	char buf[UNITS_MAX];

	fprintf(out, "waits %s", units_human_time(delay_ns(args, hit, io, true), buf));
}

const struct kind_ops kind_delay_ops = {
	.delay_ns = delay_ns,
	.describe = describe,
};
