// SPDX-License-Identifier: MIT
/*
 * powercut[:keep=none|all|random[,share=SHARE]][,with=NAME+...]
 * powercut:keep=first:SIZE[,unit=SIZE][,rest=none|all|random[,share=SHARE]][,with=NAME+...]
 *
 * At this request the power goes. It fails with EIO, and so does every other until the disk is
 * revived, those that were under way included. What was not made durable is then lost, kept, or
 * lost and kept block by block, as keep= says; the request itself was under way, and what it would
 * have stored shares that fate. Of several power cuts only the first counts until the revival.
 *
 * The lost blocks go back when the disk is revived (cache_cut()), because nobody can tell before.
 * Which blocks a random cut keeps is a function of the hit and the block's number, so that what is
 * stored of the request here is kept there too.
 *
 * With keep=first the power goes inside of the request: it is durable up to a unit
 * boundary, past the cache, and no further, as if it had been two and the first one a FUA write. So
 * a cache that keeps order keeps all that came before, and the unit is no smaller than what a cache
 * keeps or loses as one. Of all else rest= decides.
 */
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"
#include "faults/rule/tear.h"

#include "base/units.h"

#include <errno.h>

#define SHARE_DEFAULT 0.5

static bool is_first(const struct kind_args *args)
{
	return kind_has(args, powercut_keep) && args->value[powercut_keep].lo == POWERCUT_FIRST;
}

/* What is decided about all that is volatile; of keep=first that is the rest. */
static enum keep keep_of(const struct kind_args *args)
{
	unsigned int param = is_first(args) ? powercut_rest : powercut_keep;

	return kind_has(args, param) ? (enum keep)args->value[param].lo : KEEP_NONE;
}

static double share_of(const struct kind_args *args)
{
	return kind_has(args, powercut_share) ? args->value[powercut_share].share : SHARE_DEFAULT;
}

static int validate(const struct kind_args *args, struct diag *diag)
{
	if (!is_first(args) && (kind_has(args, powercut_rest) || kind_has(args, powercut_unit))) {
		diag_set(diag, -EINVAL, "rule.conflict",
			 "powercut takes %s only with keep=first:SIZE",
			 kind_has(args, powercut_rest) ? "rest=" : "unit=");
		diag_hint(diag, "for example do=powercut:keep=first:4k,rest=all");
		return -EINVAL;
	}
	if (!kind_has(args, powercut_share) || keep_of(args) == KEEP_RANDOM)
		return 0;
	diag_set(diag, -EINVAL, "rule.conflict",
		 "powercut takes share=SHARE only with keep=random or rest=random");
	diag_hint(diag, "for example do=powercut:keep=random,share=0.1");
	return -EINVAL;
}

/* Whole writes and torn ones exclude each other, and nothing is torn inside of what is one. */
static int check_cache(const struct kind_args *args, const struct rule_geometry *geometry,
		       uint64_t unit, struct diag *diag)
{
	uint32_t its = geometry->cache_unit_bytes;
	char got[UNITS_MAX], whole[UNITS_MAX];

	(void)args;
	if (geometry->has_cache && !its) {
		diag_set(
			diag, -EINVAL, "rule.conflict",
			"keep=first tears a write, but the cache of this disk keeps each write as a "
			"whole or not at all");
		diag_hint(diag, "make the disk with --cache-unit %s",
			  units_format_size(unit ? unit : geometry->block_bytes, got));
		return -EINVAL;
	}
	if (!its || unit % its == 0)
		return 0;
	diag_set(
		diag, -EINVAL, "rule.bad-size",
		"unit=%s is not a multiple of %s, which the cache of this disk keeps or loses as one",
		units_format_size(unit, got), units_format_size(its, whole));
	diag_hint(diag, "give a multiple of %s, or make the disk with --cache-unit %s", whole, got);
	return -EINVAL;
}

static int check(const struct kind_args *args, const struct rule_geometry *geometry,
		 struct diag *diag)
{
	bool given = kind_has(args, powercut_unit);
	uint64_t unit = geometry->has_cache ? geometry->cache_unit_bytes : geometry->block_bytes;

	if (!is_first(args))
		return 0;
	if (given)
		unit = args->value[powercut_unit].lo;
	if (check_cache(args, geometry, unit, diag) < 0 ||
	    tear_check_unit(unit, geometry, diag) < 0)
		return -EINVAL;
	return tear_check_size("keep=first:", args->value[powercut_keep].hi, unit, given, diag);
}

/* Store the durable part of a request inside of which the power went. */
static void store_first(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	const struct cache *cache = hit->backing->cache;
	uint64_t unit = cache ? cache_unit_bytes(cache) : hit->block_bytes;

	if (kind_has(args, powercut_unit))
		unit = args->value[powercut_unit].lo;
	apply_durable(hit->backing, io, 0, tear_prefix(io, args->value[powercut_keep].hi, unit));
}

/* Store what the cut keeps of the request: runs of blocks, counted from the start of the disk. */
static void store_kept(const struct kind_hit *hit, struct io *io, enum keep keep,
		       uint64_t threshold)
{
	uint64_t start = io_start(io), block = hit->block_bytes;
	uint32_t from = 0, at = 0, fua = io->flags & IO_FUA;

	/* A cache that knows its versions decides about this one too when the disk is revived. */
	if (hit->backing->cache && cache_has_log(hit->backing->cache)) {
		io->flags &= ~fua;
		apply_part(hit->backing, io, 0, io->len_bytes);
		io->flags |= fua;
		return;
	}
	while (at < io->len_bytes) {
		uint64_t number = (start + at) / block, end = (number + 1) * block - start;
		bool kept = power_cut_keeps(keep, hit->bits, threshold, number);
		uint32_t next = end < io->len_bytes ? (uint32_t)end : io->len_bytes;

		if (!kept && from < at)
			apply_part(hit->backing, io, from, at - from);
		if (!kept)
			from = next;
		at = next;
	}
	if (from < at)
		apply_part(hit->backing, io, from, at - from);
}

/* Of all that is volatile. */
static struct power_cut cut_of(const struct kind_args *args, const struct kind_hit *hit)
{
	struct power_cut cut = { .keep = keep_of(args), .bits = hit->bits };
	double share = share_of(args);

	if (cut.keep == KEEP_RANDOM && share >= 1)
		cut.keep = KEEP_ALL;
	if (cut.keep == KEEP_RANDOM)
		cut.threshold = (uint64_t)(share * 0x1p64);
	return cut;
}

/* What of the request itself is there after the cut. */
static void store(const struct kind_args *args, const struct kind_hit *hit, struct io *io,
		  const struct power_cut *cut)
{
	if (io->op != IO_WRITE && io->op != IO_DISCARD && io->op != IO_ZEROES)
		return;
	if (is_first(args))
		store_first(args, hit, io);
	else if (cut->keep != KEEP_NONE)
		store_kept(hit, io, cut->keep, cut->threshold);
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	struct power_cut cut = cut_of(args, hit);

	/* Once the power is off nobody sees the disk, so this comes first. */
	if (condition_cut(hit->condition, cut.keep, cut.bits, cut.threshold))
		store(args, hit, io, &cut);
	io->result = -EIO;
}

static const char *with(const struct kind_args *args)
{
	return args->value[powercut_with].text;
}

static void joint(const struct kind_args *args, const struct kind_hit *hit, struct io *io,
		  struct joint_cut *ret_joint)
{
	ret_joint->cut = cut_of(args, hit);
	store(args, hit, io, &ret_joint->cut);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	char share[SHARE_MAX], first[UNITS_MAX];

	(void)hit;
	(void)io;
	fputs("cuts the power: this and every later request fails with EIO until the disk is "
	      "revived; ",
	      out);
	if (is_first(args))
		fprintf(out, "of this one the first %s are kept, ",
			units_format_size(args->value[powercut_keep].hi, first));
	fputs("of what is volatile ", out);
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
	if (with(args))
		fprintf(out, "; %s go with it", with(args));
}

const struct kind_ops kind_powercut_ops = {
	.validate = validate,
	.check = check,
	.act = act,
	.with = with,
	.joint = joint,
	.describe = describe,
};
