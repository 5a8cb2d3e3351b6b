// SPDX-License-Identifier: MIT
/*
 * misdirect:by=SIZE[,back] | range=START..END [,also]
 *
 * What changes the disk does so at another place, and the right place keeps its content; a read
 * answers with the content of another place. With `also` a write, discard or write-zeroes first
 * takes place where it should; for a read it means nothing.
 *
 *	by=N		the request's start plus N bytes, or minus N with `back`
 *	range=A..B	a random block in A..B, such that all of the request lies inside; a request
 *			longer than the range starts at A and reaches past B
 *
 * The disk is a ring: what reaches past its end goes on at its start. A random place may be the
 * right one by chance.
 */
#include "base/rng.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"

#include <errno.h>

static int validate(const struct kind_args *args, struct diag *diag)
{
	int ways = kind_has(args, misdirect_by) + kind_has(args, misdirect_range);

	if (ways != 1)
		return diag_set(diag, -EINVAL, ways ? "rule.conflict" : "rule.missing-parameter",
				"misdirect wants %s of by=SIZE and range=START..END",
				ways ? "only one" : "one");
	if (kind_has(args, misdirect_back) && !kind_has(args, misdirect_by))
		return diag_set(diag, -EINVAL, "rule.conflict",
				"misdirect takes back only with by=SIZE");
	return 0;
}

static int check_by(uint64_t by, const struct rule_geometry *geometry, struct diag *diag)
{
	char got[UNITS_MAX], wanted[UNITS_MAX];

	units_format_size(by, got);
	if (by % geometry->block_bytes)
		return diag_set(diag, -EINVAL, "rule.bad-size",
				"by=%s is not a multiple of the disk's logical block of %s", got,
				units_format_size(geometry->block_bytes, wanted));
	if (by < geometry->size_bytes)
		return 0;
	diag_set(diag, -EINVAL, "rule.bad-size", "by=%s leads around the whole disk of %s", got,
		 units_format_size(geometry->size_bytes, wanted));
	diag_hint(diag, "give less than %s", wanted);
	return -EINVAL;
}

static int check_range(const struct value *range, const struct rule_geometry *geometry,
		       struct diag *diag)
{
	bool open_end = range->hi == UINT64_MAX;
	uint64_t size = geometry->size_bytes;
	char got[UNITS_MAX], wanted[UNITS_MAX];

	if (range->lo >= size || (!open_end && range->hi > size)) {
		diag_set(diag, -EINVAL, "rule.range-outside",
			 "misdirect's range %s at %s, but the disk ends at %s",
			 range->lo >= size ? "starts" : "ends",
			 units_format_size(range->lo >= size ? range->lo : range->hi, got),
			 units_format_size(size, wanted));
		diag_hint(diag, "START.. reaches to the end of the disk");
		return -EINVAL;
	}
	if (range->lo % geometry->block_bytes == 0 &&
	    (open_end || range->hi % geometry->block_bytes == 0))
		return 0;
	units_format_size(range->lo % geometry->block_bytes ? range->lo : range->hi, got);
	return diag_set(diag, -EINVAL, "rule.bad-range",
			"misdirect's range wants multiples of the disk's logical block of %s, and "
			"%s is none",
			units_format_size(geometry->block_bytes, wanted), got);
}

static int check(const struct kind_args *args, const struct rule_geometry *geometry,
		 struct diag *diag)
{
	if (kind_has(args, misdirect_by))
		return check_by(args->value[misdirect_by].lo, geometry, diag);
	return check_range(&args->value[misdirect_range], geometry, diag);
}

/* Where the request goes instead; below the disk's size. */
static uint64_t target_of(const struct kind_args *args, const struct kind_hit *hit,
			  const struct io *io)
{
	const struct value *range = &args->value[misdirect_range];
	uint64_t by = args->value[misdirect_by].lo, size = hit->size_bytes, room;

	if (kind_has(args, misdirect_back))
		by = size - by;
	if (kind_has(args, misdirect_by))
		return (io_start(io) + by) % size;
	room = (range->hi < size ? range->hi : size) - range->lo;
	room = room > io->len_bytes ? room - io->len_bytes : 0;
	return range->lo + rng_below(hit->bits, room / hit->block_bytes + 1) * hit->block_bytes;
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	uint64_t at = target_of(args, hit, io), left = hit->size_bytes - at;
	uint32_t first = left < io->len_bytes ? (uint32_t)left : io->len_bytes;
	int err = 0;

	if (kind_has(args, misdirect_also) && io->op != IO_READ)
		err = apply_part(hit->backing, io, 0, io->len_bytes);
	if (!err)
		err = apply_at(hit->backing, io, 0, at, first);
	if (!err && first < io->len_bytes)
		err = apply_at(hit->backing, io, first, 0, io->len_bytes - first);
	io->result = apply_result(io, err);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	bool read = io->op == IO_READ;

	fprintf(out, "%s at sector %llu%s", read ? "is answered with what is" : "takes place",
		(unsigned long long)(target_of(args, hit, io) >> SECTOR_SHIFT),
		kind_has(args, misdirect_also) && !read ? " as well, reports success"
							: " instead, reports success");
}

const struct kind_ops kind_misdirect_ops = {
	.validate = validate,
	.check = check,
	.act = act,
	.describe = describe,
};
