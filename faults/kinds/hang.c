// SPDX-License-Identifier: MIT
/*
 * hang[:for=TIME[,fail[=ERRNO]]]
 *
 * The request is held until somebody releases it (`faultblk release`), or until its time is up. It
 * is then carried out, or does what a later rule of the walk decided. With `fail` a request whose
 * time is up fails instead, untouched; one that is released in time does not.
 */
#include "base/units.h"
#include "faults/rule/kind.h"

#include <errno.h>

static int validate(const struct kind_args *args, struct diag *diag)
{
	if (!kind_has(args, hang_fail) || kind_has(args, hang_for))
		return 0;
	diag_set(diag, -EINVAL, "rule.conflict",
		 "hang takes fail only with for=TIME, after which the request fails");
	diag_hint(diag, "for example do=hang:for=30s,fail=ETIMEDOUT");
	return -EINVAL;
}

static uint64_t delay_ns(const struct kind_args *args, const struct kind_hit *hit,
			 const struct io *io, bool pure)
{
	(void)hit;
	(void)io;
	(void)pure;
	return KIND_HOLD | args->value[hang_for].lo;
}

static int overdue(const struct kind_args *args)
{
	return kind_has(args, hang_fail) ? -(int)args->value[hang_fail].lo : 0;
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	char buf[UNITS_MAX];

	(void)hit;
	(void)io;
	fputs("is held until it is released", out);
	if (kind_has(args, hang_for))
		fprintf(out, ", at most %s", units_human_time(args->value[hang_for].lo, buf));
	if (kind_has(args, hang_fail))
		fprintf(out, ", then fails with %s",
			value_errno_name((int)args->value[hang_fail].lo));
}

const struct kind_ops kind_hang_ops = {
	.validate = validate,
	.delay_ns = delay_ns,
	.overdue = overdue,
	.describe = describe,
};
