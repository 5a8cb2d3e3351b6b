// SPDX-License-Identifier: MIT
/*
 * torn:keep=SIZE | keep-last=SIZE | random[,p=SHARE] [,unit=SIZE] [,fail[=ERRNO]]
 *
 * A unit is never torn itself. Units are aligned to the disk, not to the request, so a request that
 * starts or ends inside a unit has a partial first or last one:
 *
 *	disk	|...unit...|...unit...|...unit...|...unit...|
 *	request	      [ 0  |    1     |    2     |  3  ]
 *
 *	keep=N		from the request's start, N bytes, cut back to a unit boundary
 *	keep-last=N	up to the request's end, N bytes, cut forward to a unit boundary
 *	random		each of 0, 1, 2, 3 by itself; that all or none of them are kept are
 *			legal outcomes, as on a real disk
 *
 * So never more than N bytes are kept, and possibly none. N of the request's length or more keeps
 * all of it, which is no tear at all; that too is a legal outcome for a short request.
 * What is not kept stays as it was. The request reports success, or with `fail` an error.
 */
#include "base/rng.h"
#include "base/units.h"
#include "faults/apply.h"
#include "faults/kind.h"

#include <errno.h>

#define SHARE_DEFAULT 0.5

static int validate(const struct kind_args *args, struct diag *diag)
{
	int ways = kind_has(args, torn_keep) + kind_has(args, torn_keep_last) +
		   kind_has(args, torn_random);
	uint64_t unit = args->value[torn_unit].lo;

	if (ways != 1)
		return diag_set(diag, -EINVAL, ways ? "rule.conflict" : "rule.missing-parameter",
				"torn wants %s of keep=SIZE, keep-last=SIZE and random",
				ways ? "only one" : "one");
	if (kind_has(args, torn_p) && !kind_has(args, torn_random))
		return diag_set(diag, -EINVAL, "rule.conflict",
				"torn knows p=SHARE only together with random");
	if (!kind_has(args, torn_unit))
		return 0;
	if (unit % SECTOR_SIZE)
		return diag_set(diag, -EINVAL, "rule.bad-size",
				"unit wants whole sectors, but %llu is not a multiple of 512 bytes",
				(unsigned long long)unit);
	return 0;
}

static uint64_t unit_of(const struct kind_args *args, uint32_t block_bytes)
{
	return kind_has(args, torn_unit) ? args->value[torn_unit].lo : block_bytes;
}

static int check(const struct kind_args *args, const struct rule_geometry *geometry,
		 struct diag *diag)
{
	uint64_t unit = unit_of(args, geometry->block_bytes);
	char name[UNITS_MAX], keep[UNITS_MAX], whole[UNITS_MAX];
	bool last = kind_has(args, torn_keep_last);
	uint64_t kept = args->value[last ? torn_keep_last : torn_keep].lo;

	units_format_size(unit, name);
	if (unit % geometry->block_bytes)
		return diag_set(diag, -EINVAL, "rule.bad-size",
				"unit=%s is not a multiple of the disk's logical block of %s", name,
				units_format_size(geometry->block_bytes, whole));
	if (kind_has(args, torn_random) || kept % unit == 0)
		return 0;
	diag_set(diag, -EINVAL, "rule.bad-size", "%s=%s is not a multiple of the atomic unit of %s",
		 last ? "keep-last" : "keep", units_format_size(kept, keep), name);
	if (kind_has(args, torn_unit))
		diag_hint(diag, "give a multiple of %s, or a smaller unit=", name);
	else
		diag_hint(diag, "the unit is the disk's logical block unless unit= says otherwise");
	return -EINVAL;
}

/* Bytes [from, to) of the request reach the disk; both are unit boundaries or the request's ends.
 */
struct part {
	uint32_t from, to;
};

static struct part kept_prefix(const struct io *io, uint64_t keep, uint64_t unit)
{
	uint64_t start = io_start(io);
	uint64_t cut;

	if (keep >= io->len_bytes)
		return (struct part){ 0, io->len_bytes };
	cut = (start + keep) / unit * unit;
	return (struct part){ 0, cut > start ? (uint32_t)(cut - start) : 0 };
}

static struct part kept_suffix(const struct io *io, uint64_t keep, uint64_t unit)
{
	uint64_t start = io_start(io);
	uint64_t end = start + io->len_bytes;
	uint64_t cut;

	if (keep >= io->len_bytes)
		return (struct part){ 0, io->len_bytes };
	cut = (end - keep + unit - 1) / unit * unit;
	return (struct part){ cut < end ? (uint32_t)(cut - start) : io->len_bytes, io->len_bytes };
}

/*
 * The next run of kept units at or after *at, which moves on; false at the end. Runs, not units,
 * because a random tear of a large discard may have millions of them.
 */
static bool next_kept(const struct kind_args *args, uint64_t bits, const struct io *io,
		      uint64_t unit, uint32_t *at, struct part *ret_part)
{
	double share = kind_has(args, torn_p) ? args->value[torn_p].share : SHARE_DEFAULT;
	uint64_t start = io_start(io);
	uint64_t first = start / unit;
	bool inside = false;

	while (*at < io->len_bytes) {
		uint64_t number = (start + *at) / unit;
		uint64_t end = (number + 1) * unit - start;
		uint64_t draw = rng_mix(bits, 0, number - first);
		bool keep = share >= 1 || draw < (uint64_t)(share * 0x1p64);

		if (keep && !inside)
			ret_part->from = *at;
		else if (!keep && inside)
			return true;
		inside = keep;
		*at = end < io->len_bytes ? (uint32_t)end : io->len_bytes;
		ret_part->to = *at;
	}
	return inside;
}

/* The part to keep that follows *at (0 at first). Every way of tearing is a list of parts. */
static bool next_part(const struct kind_args *args, const struct kind_hit *hit, const struct io *io,
		      uint32_t *at, struct part *ret_part)
{
	uint64_t unit = unit_of(args, hit->block_bytes);

	if (kind_has(args, torn_random))
		return next_kept(args, hit->bits, io, unit, at, ret_part);
	if (*at)
		return false;
	*at = io->len_bytes;
	*ret_part = kind_has(args, torn_keep)
			    ? kept_prefix(io, args->value[torn_keep].lo, unit)
			    : kept_suffix(io, args->value[torn_keep_last].lo, unit);
	return ret_part->from < ret_part->to;
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	struct part part = { 0, 0 };
	uint32_t at = 0;
	int err = 0;

	while (!err && next_part(args, hit, io, &at, &part))
		err = apply_part(hit->medium, io, part.from, part.to - part.from);
	if (!err && kind_has(args, torn_fail))
		err = -(int)args->value[torn_fail].lo;
	io->result = apply_result(io, err);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	struct part part = { 0, 0 };
	uint32_t at = 0;
	int shown = 0;

	fputs("keeps", out);
	while (next_part(args, hit, io, &at, &part)) {
		if (shown++ == 4) {
			fputs(" ...", out);
			break;
		}
		fprintf(out, " sectors %llu..%llu",
			(unsigned long long)((io_start(io) + part.from) >> SECTOR_SHIFT),
			(unsigned long long)((io_start(io) + part.to) >> SECTOR_SHIFT));
	}
	if (!shown)
		fputs(" nothing", out);
	if (kind_has(args, torn_fail))
		fprintf(out, ", then fails with %s",
			value_errno_name((int)args->value[torn_fail].lo));
	else
		fputs(", reports success", out);
}

const struct kind_ops kind_torn_ops = {
	.validate = validate,
	.check = check,
	.act = act,
	.describe = describe,
};
