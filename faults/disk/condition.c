// SPDX-License-Identifier: MIT
#include "faults/disk/condition.h"

#include "base/cleanup.h"
#include "faults/disk/backing.h"

#include <errno.h>

/* True for one caller until the disk is revived: it may write the fields that go with @bit. */
static bool claim(struct condition *condition, enum condition_bit bit)
{
	return !(atomic_fetch_or_explicit(&condition->claimed, bit, memory_order_acq_rel) & bit);
}

bool condition_cut(struct condition *condition, enum keep keep, uint64_t bits, uint64_t threshold)
{
	if (!claim(condition, CONDITION_OFF))
		return false;
	atomic_store_explicit(&condition->keep, keep, memory_order_relaxed);
	atomic_store_explicit(&condition->keep_bits, bits, memory_order_relaxed);
	atomic_store_explicit(&condition->keep_threshold, threshold, memory_order_relaxed);
	return condition_set(condition, CONDITION_OFF);
}

bool condition_remove(struct condition *condition, uint64_t gone_ns)
{
	if (!claim(condition, CONDITION_GONE))
		return false;
	atomic_store_explicit(&condition->gone_ns, gone_ns, memory_order_relaxed);
	return condition_set(condition, CONDITION_GONE);
}

void condition_shrink(struct condition *condition, uint64_t end_bytes)
{
	uint64_t end = atomic_load_explicit(&condition->end_bytes, memory_order_relaxed);

	while ((!end || end_bytes < end) &&
	       !atomic_compare_exchange_weak_explicit(&condition->end_bytes, &end, end_bytes,
						      memory_order_relaxed, memory_order_relaxed))
		;
	condition_set(condition, CONDITION_SHRUNK);
}

_cold_ void condition_reset(struct condition *condition, uint32_t bits)
{
	if (bits & CONDITION_SHRUNK)
		atomic_store(&condition->end_bytes, 0);
	atomic_fetch_and_explicit(&condition->bits, ~bits, memory_order_release);
	/* Last: who claims the next one is then sure to find the bit clear. */
	atomic_fetch_and_explicit(&condition->claimed, ~bits, memory_order_release);
}

/* Does the request need space that it does not have? */
static bool needs_space(const struct backing *backing, const struct io *io)
{
	if (io->op != IO_WRITE && !(io->op == IO_ZEROES && io->flags & IO_NOUNMAP))
		return false;
	return !store_is_taken(backing->store, io_start(io), io->len_bytes);
}

int condition_verdict(uint32_t bits, const struct condition *condition,
		      const struct backing *backing, const struct io *io)
{
	uint64_t end = atomic_load_explicit(&condition->end_bytes, memory_order_relaxed);
	bool changes = io->op == IO_WRITE || io->op == IO_DISCARD || io->op == IO_ZEROES;

	if (bits & CONDITION_GONE)
		return -ENODEV;
	if (bits & CONDITION_OFF)
		return -EIO;
	/* No end: a revival has just taken it back. */
	if (bits & CONDITION_SHRUNK && end && io->op != IO_FLUSH &&
	    io_start(io) + io->len_bytes > end)
		return -EIO;
	if (bits & CONDITION_READ_ONLY && changes)
		return -EIO;
	if (bits & CONDITION_NO_SPACE && needs_space(backing, io))
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
