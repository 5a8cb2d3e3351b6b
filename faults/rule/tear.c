// SPDX-License-Identifier: MIT
#include "faults/rule/tear.h"

#include "base/cleanup.h"
#include "base/units.h"
#include "faults/disk/apply.h"

#include <errno.h>

_cold_ int tear_check_unit(uint64_t unit, const struct rule_geometry *geometry, struct diag *diag)
{
	char got[UNITS_MAX], block[UNITS_MAX];

	if (unit % geometry->block_bytes == 0 || geometry->block_bytes % unit == 0)
		return 0;
	return diag_set(
		diag, -EINVAL, "rule.bad-size",
		"unit=%s is neither a multiple of the disk's logical block of %s nor a whole "
		"part of it",
		units_format_size(unit, got), units_format_size(geometry->block_bytes, block));
}

_cold_ int tear_check_size(const char *param, uint64_t size, uint64_t unit, bool given,
			   struct diag *diag)
{
	char got[UNITS_MAX], name[UNITS_MAX];

	if (size % unit == 0)
		return 0;
	diag_set(diag, -EINVAL, "rule.bad-size", "%s%s is not a multiple of the atomic unit of %s",
		 param, units_format_size(size, got), units_format_size(unit, name));
	if (given)
		diag_hint(diag, "give a multiple of %s, or a smaller unit=", name);
	else
		diag_hint(diag, "give a multiple of %s, or say unit=, which may be as small as 512",
			  name);
	return -EINVAL;
}

uint32_t tear_prefix(const struct io *io, uint64_t keep, uint64_t unit)
{
	uint64_t start = io_start(io);
	uint64_t cut = (start + keep) / unit * unit;

	if (keep >= io->len_bytes)
		return io->len_bytes;
	return cut > start ? (uint32_t)(cut - start) : 0;
}
