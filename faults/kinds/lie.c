// SPDX-License-Identifier: MIT
/*
 * lie
 *
 * A flush is acknowledged and makes nothing durable; a FUA write is stored like any other write and
 * can be lost. It is no match for writes without FUA, so counts and triggers are about promises.
 * What it does shows only on a disk with a volatile cache, once its power is cut.
 */
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"

static bool concerns(const struct kind_args *args, void *state, const struct io *io)
{
	(void)args;
	(void)state;
	return io->op == IO_FLUSH || io->flags & IO_FUA;
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	uint32_t flags = io->flags;
	int err = 0;

	(void)args;
	if (io->op != IO_FLUSH) {
		io->flags &= ~(uint32_t)IO_FUA;
		err = apply_part(hit->backing, io, 0, io->len_bytes);
		io->flags = flags;
	}
	io->result = apply_result(io, err);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	(void)args;
	(void)hit;
	fputs(io->op == IO_FLUSH ? "reports success, makes nothing durable"
				 : "is stored and reports success, but can be lost",
	      out);
}

const struct kind_ops kind_lie_ops = {
	.concerns = concerns,
	.act = act,
	.describe = describe,
};
