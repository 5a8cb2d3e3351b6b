// SPDX-License-Identifier: MIT
/*
 * torn:keep=SIZE | keep-last=SIZE | random[,p=SHARE] | map=BITS [,unit=SIZE]
 *[,fill=old|zeroes|garbage] [,fail[=ERRNO]]
 *
 * A unit is never torn itself; it may be a part of a logical block, or several. Units are aligned to
 * the disk, not to the request, so a request that starts or ends inside a unit has a partial first
 * or last one:
 *
 *	disk	|...unit...|...unit...|...unit...|...unit...|
 *	request	      [ 0  |    1     |    2     |  3  ]
 *
 *	keep=N		from the request's start, N bytes, cut back to a unit boundary
 *	keep-last=N	up to the request's end, N bytes, cut forward to a unit boundary
 *	random		each of 0, 1, 2, 3 by itself; that all or none of them are kept are
 *			legal outcomes, as on a real disk
 *	map=1011	0, 2 and 3; what the map has no digit for is not kept
 *
 * So keep= and keep-last= never keep more than N bytes, and possibly none. N of the request's
 * length or more keeps all of it, which is no tear at all; that too is a legal outcome for a short
 * request. A discard may have millions of units, and each kept run of them is a system call: random
 * doubles the unit until a request has no more than UNITS_MAX_RANDOM of them.
 *
 * What is not kept stays as it was, or holds what fill= says. The request reports success, or with
 * `fail` an error.
 */
#include "base/rng.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"
#include "faults/rule/tear.h"

#include <errno.h>
#include <string.h>

#define SHARE_DEFAULT    0.5
#define UNITS_MAX_RANDOM 4096

enum fill { FILL_OLD, FILL_ZEROES, FILL_GARBAGE };

/* Streams of random bits of one hit. */
enum stream { STREAM_UNIT, STREAM_GARBAGE };

static int validate(const struct kind_args *args, struct diag *diag)
{
	int ways = kind_has(args, torn_keep) + kind_has(args, torn_keep_last) +
		   kind_has(args, torn_random) + kind_has(args, torn_map);
	uint64_t unit = args->value[torn_unit].lo;

	if (ways != 1)
		return diag_set(diag, -EINVAL, ways ? "rule.conflict" : "rule.missing-parameter",
				"torn wants %s of keep=SIZE, keep-last=SIZE, random and map=BITS",
				ways ? "only one" : "one");
	if (kind_has(args, torn_p) && !kind_has(args, torn_random))
		return diag_set(diag, -EINVAL, "rule.conflict",
				"torn takes p=SHARE only with random");
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
	bool last = kind_has(args, torn_keep_last);
	int err = tear_check_unit(unit, geometry, diag);

	if (err || kind_has(args, torn_random) || kind_has(args, torn_map))
		return err;
	return tear_check_size(
		last ? "keep-last=" : "keep=", args->value[last ? torn_keep_last : torn_keep].lo,
		unit, kind_has(args, torn_unit), diag);
}

/* Bytes [from, to) of the request, both unit boundaries or the request's ends: kept or not. */
struct torn_part {
	uint32_t from, to;
	bool keep;
};

/* How many bytes of the request come before the cut of keep-last=. */
static uint32_t cut_suffix(const struct io *io, uint64_t keep, uint64_t unit)
{
	uint64_t end = io_start(io) + io->len_bytes;
	uint64_t cut = (end - keep + unit - 1) / unit * unit;

	if (keep >= io->len_bytes)
		return 0;
	return cut < end ? (uint32_t)(cut - io_start(io)) : io->len_bytes;
}

/* What stands before the cut is one part, what stands behind it the other. */
static struct torn_part next_side(const struct kind_args *args, const struct io *io, uint64_t unit,
				  uint32_t at)
{
	bool first = kind_has(args, torn_keep);
	uint32_t cut = first ? tear_prefix(io, args->value[torn_keep].lo, unit)
			     : cut_suffix(io, args->value[torn_keep_last].lo, unit);

	return at < cut ? (struct torn_part){ at, cut, first }
			: (struct torn_part){ at, io->len_bytes, !first };
}

/* Of a random tear: large enough that there are not too many. */
static uint64_t random_unit(const struct io *io, uint64_t unit)
{
	uint64_t last = io_start(io) + io->len_bytes - 1;

	while (last / unit - io_start(io) / unit >= UNITS_MAX_RANDOM)
		unit *= 2;
	return unit;
}

/* Is unit @number of the request, from 0, kept? */
static bool keeps_unit(const struct kind_args *args, uint64_t bits, uint64_t number)
{
	const struct value *map = &args->value[torn_map];
	double share = kind_has(args, torn_p) ? args->value[torn_p].share : SHARE_DEFAULT;

	if (kind_has(args, torn_map))
		return number < map->lo && map->text[number] == '1';
	return share >= 1 || rng_mix(bits, STREAM_UNIT, number) < (uint64_t)(share * 0x1p64);
}

/* Runs, not units, because each kept run of a discard is a system call. */
static struct torn_part next_run(const struct kind_args *args, uint64_t bits, const struct io *io,
				 uint64_t unit, uint32_t at)
{
	uint64_t start = io_start(io), first = start / unit;
	struct torn_part part = { at, at, false };

	while (part.to < io->len_bytes) {
		uint64_t number = (start + part.to) / unit;
		uint64_t end = (number + 1) * unit - start;
		bool keep = keeps_unit(args, bits, number - first);

		if (part.to > at && keep != part.keep)
			break;
		part.keep = keep;
		part.to = end < io->len_bytes ? (uint32_t)end : io->len_bytes;
	}
	return part;
}

/* The part that starts at *at, 0 at first. Every way of tearing is a list of parts. */
static bool next_part(const struct kind_args *args, const struct kind_hit *hit, const struct io *io,
		      uint32_t *at, struct torn_part *ret_part)
{
	uint64_t unit = unit_of(args, hit->block_bytes);

	if (*at >= io->len_bytes)
		return false;
	if (kind_has(args, torn_random))
		*ret_part = next_run(args, hit->bits, io, random_unit(io, unit), *at);
	else if (kind_has(args, torn_map))
		*ret_part = next_run(args, hit->bits, io, unit, *at);
	else
		*ret_part = next_side(args, io, unit, *at);
	*at = ret_part->to;
	return true;
}

struct garbage {
	const struct io *io;
	uint64_t bits;
};

static int put_garbage(void *ctx, unsigned char *bytes, uint64_t at, uint32_t len_bytes)
{
	const struct garbage *garbage = ctx;
	uint64_t offset = at - io_start(garbage->io);

	/* Units are whole sectors: eight bytes at a time. */
	for (uint32_t done = 0; done < len_bytes; done += 8) {
		uint64_t word = rng_mix(garbage->bits, STREAM_GARBAGE, (offset + done) / 8);

		memcpy(bytes + done, &word, 8);
	}
	return 0;
}

/* What the missing part holds. */
static int fill_part(const struct kind_args *args, const struct kind_hit *hit, struct io *io,
		     const struct torn_part *part)
{
	struct garbage garbage = { io, hit->bits };
	struct io zeroes = *io;

	switch ((enum fill)args->value[torn_fill].lo) {
	case FILL_OLD:
		break;
	case FILL_ZEROES:
		/* A discard and write-zeroes have them anyway. */
		if (io->op == IO_WRITE) {
			zeroes.op = IO_ZEROES;
			zeroes.flags |= IO_NOUNMAP;
		}
		return apply_part(hit->backing, &zeroes, part->from, part->to - part->from);
	case FILL_GARBAGE:
		return apply_change(hit->backing, io_start(io) + part->from, part->to - part->from,
				    io->flags & IO_FUA, put_garbage, &garbage);
	}
	return 0;
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	struct torn_part part = { 0, 0, false };
	uint32_t at = 0;
	int err = 0;

	/* However many parts, it is one write of a cache that keeps or loses writes as one. */
	if (hit->backing->cache)
		cache_begin(hit->backing->cache);
	while (!err && next_part(args, hit, io, &at, &part))
		err = part.keep ? apply_part(hit->backing, io, part.from, part.to - part.from)
				: fill_part(args, hit, io, &part);
	if (hit->backing->cache)
		cache_end(hit->backing->cache);
	if (!err && kind_has(args, torn_fail))
		err = -(int)args->value[torn_fail].lo;
	io->result = apply_result(io, err);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	static const char *const fills[] = {
		[FILL_OLD] = "",
		[FILL_ZEROES] = ", zeroes the rest",
		[FILL_GARBAGE] = ", fills the rest with garbage",
	};
	struct torn_part part = { 0, 0, false };
	uint32_t at = 0;
	int shown = 0;

	fputs("keeps", out);
	while (next_part(args, hit, io, &at, &part)) {
		if (!part.keep)
			continue;
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
	fputs(fills[args->value[torn_fill].lo], out);
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
