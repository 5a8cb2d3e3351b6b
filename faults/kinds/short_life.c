// SPDX-License-Identifier: MIT
/*
 * short-life:read-only | no-space | shrink=SIZE | gone[=TIME][,with=NAME+...]
 *
 * The hit changes the condition of the whole disk (disk/condition.h), for every request from then on,
 * until the disk is revived. The request that was hit ends as the new condition says: a read of a
 * disk that has just become read-only is carried out, a write fails.
 */
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/rule/kind.h"

#include <errno.h>

static int validate(const struct kind_args *args, struct diag *diag)
{
	int ways = __builtin_popcount(args->given & ~(1u << short_life_with));

	if (kind_has(args, short_life_with) && !kind_has(args, short_life_gone)) {
		diag_set(diag, -EINVAL, "rule.conflict",
			 "short-life knows with=NAME only together with gone");
		diag_hint(diag, "for example do=short-life:gone,with=b");
		return -EINVAL;
	}
	if (ways == 1)
		return 0;
	diag_set(diag, -EINVAL, ways ? "rule.conflict" : "rule.missing-parameter",
		 "short-life wants %s of read-only, no-space, shrink=SIZE and gone[=TIME]",
		 ways ? "only one" : "one");
	diag_hint(diag, "for example do=short-life:read-only");
	return -EINVAL;
}

static int check(const struct kind_args *args, const struct rule_geometry *geometry,
		 struct diag *diag)
{
	uint64_t size = args->value[short_life_shrink].lo;
	char got[UNITS_MAX], disk[UNITS_MAX];

	if (!kind_has(args, short_life_shrink))
		return 0;
	units_format_size(size, got);
	if (size % geometry->block_bytes)
		return diag_set(diag, -EINVAL, "rule.bad-size",
				"shrink=%s is not a multiple of the disk's logical block of %s",
				got, units_format_size(geometry->block_bytes, disk));
	if (size < geometry->size_bytes)
		return 0;
	diag_set(diag, -EINVAL, "rule.bad-size", "shrink=%s leaves all of a disk of %s", got,
		 units_format_size(geometry->size_bytes, disk));
	diag_hint(diag, "give the size that is left of the disk, smaller than %s", disk);
	return -EINVAL;
}

static void change(const struct kind_args *args, struct condition *condition)
{
	if (kind_has(args, short_life_read_only))
		condition_set(condition, CONDITION_READ_ONLY);
	if (kind_has(args, short_life_no_space))
		condition_set(condition, CONDITION_NO_SPACE);
	if (kind_has(args, short_life_shrink))
		condition_shrink(condition, args->value[short_life_shrink].lo);
	if (kind_has(args, short_life_gone))
		condition_remove(condition, args->value[short_life_gone].lo);
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	int err;

	change(args, hit->condition);
	err = condition_verdict(condition_bits(hit->condition), hit->condition, hit->backing, io);
	if (!err)
		err = apply_part(hit->backing, io, 0, io->len_bytes);
	io->result = apply_result(io, err);
}

static const char *with(const struct kind_args *args)
{
	return args->value[short_life_with].text;
}

static void joint(const struct kind_args *args, const struct kind_hit *hit, struct io *io,
		  struct joint_cut *ret_joint)
{
	(void)hit;
	(void)io;
	ret_joint->unplug = true;
	ret_joint->gone_ns = args->value[short_life_gone].lo;
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	char buf[UNITS_MAX];

	(void)hit;
	(void)io;
	if (kind_has(args, short_life_read_only))
		fputs("makes the disk read-only: what would change it fails with EIO", out);
	if (kind_has(args, short_life_no_space))
		fputs("fills the disk up: writes to what was never written fail with ENOSPC", out);
	if (kind_has(args, short_life_shrink))
		fprintf(out, "shrinks the disk to %s: requests past that fail with EIO",
			units_format_size(args->value[short_life_shrink].lo, buf));
	if (!kind_has(args, short_life_gone))
		return;
	fputs("takes the disk away: every request fails with ENODEV", out);
	if (args->value[short_life_gone].lo)
		fprintf(out, ", for %s", units_human_time(args->value[short_life_gone].lo, buf));
	if (with(args))
		fprintf(out, "; %s go with it", with(args));
}

const struct kind_ops kind_short_life_ops = {
	.validate = validate,
	.check = check,
	.act = act,
	.with = with,
	.joint = joint,
	.describe = describe,
};
