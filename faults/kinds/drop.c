// SPDX-License-Identifier: MIT
/*
 * drop
 *
 * The request is acknowledged and nothing of it is stored: a phantom write, or a discard or
 * write-zeroes that the disk forgot. Whoever reads afterwards gets what was there before.
 */
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	(void)args;
	(void)hit;
	io->result = apply_result(io, 0);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	(void)args;
	(void)hit;
	(void)io;
	fputs("reports success, stores nothing", out);
}

const struct kind_ops kind_drop_ops = {
	.act = act,
	.describe = describe,
};
