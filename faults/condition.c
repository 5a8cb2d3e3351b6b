// SPDX-License-Identifier: MIT
#include "faults/condition.h"

#include "base/cleanup.h"
#include "faults/apply.h"
#include "faults/medium.h"

#include <errno.h>

/* Does the request need a page that has never been written? */
static bool needs_space(const struct medium *medium, const struct io *io)
{
	uint64_t at = io_start(io);
	bool marked = true;

	if (io->op != IO_WRITE && !(io->op == IO_ZEROES && io->flags & IO_NOUNMAP))
		return false;
	for (uint64_t done = 0; done < io->len_bytes && marked;)
		done += store_span(medium->store, at + done, io->len_bytes - done, &marked);
	return !marked;
}

int condition_verdict(const struct condition *condition, const struct medium *medium,
		      const struct io *io)
{
	uint32_t bits = condition_bits(condition);
	uint64_t end = atomic_load_explicit(&condition->end_bytes, memory_order_relaxed);
	bool changes = io->op == IO_WRITE || io->op == IO_DISCARD || io->op == IO_ZEROES;

	if (bits & CONDITION_GONE)
		return -ENODEV;
	if (bits & CONDITION_OFF)
		return -EIO;
	if (bits & CONDITION_SHRUNK && io->op != IO_FLUSH && io_start(io) + io->len_bytes > end)
		return -EIO;
	if (bits & CONDITION_READ_ONLY && changes)
		return -EIO;
	if (bits & CONDITION_NO_SPACE && needs_space(medium, io))
		return -ENOSPC;
	return 0;
}

_cold_ const char *condition_name(uint32_t bits)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ CONDITION_OFF, "off" },           { CONDITION_GONE, "gone" },
		{ CONDITION_SHRUNK, "shrunk" },     { CONDITION_READ_ONLY, "read-only" },
		{ CONDITION_NO_SPACE, "no-space" },
	};

	for (size_t i = 0; i < array_size(names); i++)
		if (bits & names[i].bit)
			return names[i].name;
	return "well";
}
