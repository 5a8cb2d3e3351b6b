// SPDX-License-Identifier: MIT
/*
 * count
 *
 * Does nothing at all: the hit is counted, is an event, and may move the state machine. A rule is
 * tried out with it before it does harm.
 */
#include "faults/rule/kind.h"

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	(void)args;
	(void)hit;
	(void)io;
	fputs("is counted", out);
}

const struct kind_ops kind_count_ops = { .describe = describe };
