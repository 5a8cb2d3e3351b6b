// SPDX-License-Identifier: MIT
/*
 * powercut[:keep=none|all|random[,share=SHARE]]
 *
 * At this request the power goes. It fails with EIO, and so does every other until the disk is
 * revived, those that were under way included. What was not made durable is then lost, kept, or
 * lost and kept block by block, as keep= says; the request itself was under way, and what it would
 * have stored shares that fate. Of several power cuts only the first counts until the revival.
 *
 * The lost blocks go back when the disk is revived (cache_cut()), because nobody can tell before.
 * Which blocks a random cut keeps is a function of the hit and the block's number, so that what is
 * stored of the request here is kept there too.
 */
#include "faults/apply.h"
#include "faults/kind.h"

#include <errno.h>

#define SHARE_DEFAULT 0.5

static int validate(const struct kind_args *args, struct diag *diag)
{
	if (!kind_has(args, powercut_share) ||
	    (kind_has(args, powercut_keep) && args->value[powercut_keep].lo == KEEP_RANDOM))
		return 0;
	diag_set(diag, -EINVAL, "rule.conflict",
		 "powercut knows share=SHARE only together with keep=random");
	diag_hint(diag, "for example do=powercut:keep=random,share=0.1");
	return -EINVAL;
}

static enum keep keep_of(const struct kind_args *args)
{
	return kind_has(args, powercut_keep) ? (enum keep)args->value[powercut_keep].lo : KEEP_NONE;
}

static double share_of(const struct kind_args *args)
{
	return kind_has(args, powercut_share) ? args->value[powercut_share].share : SHARE_DEFAULT;
}

/* Store what the cut keeps of the request: runs of blocks, counted from the start of the disk. */
static void store_kept(const struct kind_hit *hit, struct io *io, enum keep keep,
		       uint64_t threshold)
{
	uint64_t start = io_start(io), block = hit->block_bytes;
	uint32_t from = 0, at = 0, fua = io->flags & IO_FUA;

	/* A cache that knows its versions decides about this one too when the disk is revived. */
	if (hit->medium->cache && cache_has_log(hit->medium->cache)) {
		io->flags &= ~fua;
		apply_part(hit->medium, io, 0, io->len_bytes);
		io->flags |= fua;
		return;
	}
	while (at < io->len_bytes) {
		uint64_t number = (start + at) / block, end = (number + 1) * block - start;
		bool kept = condition_keeps(keep, hit->bits, threshold, number);
		uint32_t next = end < io->len_bytes ? (uint32_t)end : io->len_bytes;

		if (!kept && from < at)
			apply_part(hit->medium, io, from, at - from);
		if (!kept)
			from = next;
		at = next;
	}
	if (from < at)
		apply_part(hit->medium, io, from, at - from);
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	bool changes = io->op == IO_WRITE || io->op == IO_DISCARD || io->op == IO_ZEROES;
	enum keep keep = keep_of(args);
	double share = share_of(args);
	uint64_t threshold;

	if (keep == KEEP_RANDOM && share >= 1)
		keep = KEEP_ALL;
	threshold = keep == KEEP_RANDOM ? (uint64_t)(share * 0x1p64) : 0;
	/* Once the power is off nobody sees the disk, so this comes first. */
	if (condition_cut(hit->condition, keep, hit->bits, threshold) && changes &&
	    keep != KEEP_NONE)
		store_kept(hit, io, keep, threshold);
	io->result = -EIO;
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	char share[SHARE_MAX];

	(void)hit;
	(void)io;
	fputs("cuts the power: this and every later request fails with EIO until the disk is "
	      "revived; of what is volatile ",
	      out);
	switch (keep_of(args)) {
	case KEEP_NONE:
		fputs("nothing is kept", out);
		break;
	case KEEP_ALL:
		fputs("all is kept", out);
		break;
	case KEEP_RANDOM:
		fprintf(out, "a share of %s is kept", share_format(share_of(args), share));
		break;
	case KEEP_PATTERN:
		break;
	}
}

const struct kind_ops kind_powercut_ops = {
	.validate = validate,
	.act = act,
	.describe = describe,
};
