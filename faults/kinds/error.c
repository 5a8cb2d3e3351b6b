// SPDX-License-Identifier: MIT
/*
 * error:ERRNO[,after]
 *
 * Without `after` neither the disk nor a read's buffer is touched. With it the operation is carried
 * out and only its answer is lost: the disk did it, the application believes that it did not.
 */
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	/* What the operation itself returns does not matter: the request fails as the rule says. */
	if (kind_has(args, error_after))
		apply_part(hit->backing, io, 0, io->len_bytes);
	io->result = -(int)args->value[error_errno].lo;
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	(void)hit;
	(void)io;
	fprintf(out, "%s, then fails with %s",
		kind_has(args, error_after) ? "is carried out" : "does nothing",
		value_errno_name((int)args->value[error_errno].lo));
}

const struct kind_ops kind_error_ops = {
	.act = act,
	.describe = describe,
};
