// SPDX-License-Identifier: MIT
#include "faults/crash/crash.h"

#define UNIT_DEFAULT 4096u /* where neither the options nor the recording say */

static enum crash_atomic recorded_atomic(const struct journal_disk *disk)
{
	return disk->cache_order ? CRASH_ORDER : disk->cache_writes ? CRASH_WRITE : CRASH_UNIT;
}

/* True if the caches differ: then it is the order of the writes. */
static bool settle_atomic(struct crash_options *options, const struct journal *journal)
{
	bool any = false, mixed = false;

	for (uint32_t i = 0; i < journal->nr_disks; i++) {
		const struct journal_disk *disk = &journal->disks[i];
		enum crash_atomic atomic = recorded_atomic(disk);

		if (!disk->cache)
			continue;
		mixed |= any && atomic != options->atomic;
		options->atomic = mixed ? CRASH_ORDER : atomic;
		/* An order of units has states that an order of writes has not. */
		mixed |= atomic == CRASH_ORDER && disk->cache_unit_bytes;
		any = true;
	}
	return mixed;
}

/* True if there is a cache with smaller units. */
static bool settle_unit(struct crash_options *options, const struct journal *journal)
{
	uint32_t unit = 0, smallest = UINT32_MAX;

	for (uint32_t i = 0; i < journal->nr_disks; i++) {
		const struct journal_disk *disk = &journal->disks[i];
		uint32_t block = disk->block_bytes, its = disk->cache_unit_bytes;

		/* What the recording says may be a part of a block. */
		if (!its)
			its = block > UNIT_DEFAULT ? block : UNIT_DEFAULT;
		if (disk->cache)
			smallest = its < smallest ? its : smallest;
		else
			its = block;
		unit = its > unit ? its : unit;
	}
	if (smallest == UINT32_MAX)
		unit = unit > UNIT_DEFAULT ? unit : UNIT_DEFAULT;
	options->unit_bytes = unit;
	return smallest < unit;
}

uint32_t crash_least_bytes(const struct journal *journal)
{
	uint32_t least = 0;

	for (uint32_t i = 0; i < journal->nr_disks; i++) {
		const struct journal_disk *disk = &journal->disks[i];
		uint32_t its = disk->cache && disk->cache_unit_bytes ? disk->cache_unit_bytes
								     : disk->block_bytes;

		if (disk->cache && !disk->cache_unit_bytes &&
		    (disk->cache_writes || disk->cache_order))
			continue;
		least = !least || its < least ? its : least;
	}
	return least;
}

bool crash_as_recorded(struct crash_options *options, bool atomic_given,
		       const struct journal *journal)
{
	bool common = false;

	if (options->unit_bytes)
		return false;
	if (!atomic_given)
		common = settle_atomic(options, journal);
	if (settle_unit(options, journal) && options->atomic == CRASH_UNIT)
		common = true;
	return common;
}
