// SPDX-License-Identifier: MIT
/* What is in a unit, or in a part of it: its hash, and putting it there. */
#include "faults/crash/internal.h"

#include "base/zero.h"

#include <string.h>
#include <xxhash.h>

uint64_t crash_content_hash(const unsigned char *data, uint32_t len)
{
	uint64_t hash;

	if (!data || is_zero(data, len))
		return 0;
	hash = XXH3_64bits(data, len);
	return hash ? hash : 1;
}

void crash_put_entry(unsigned char *unit, const struct crash_entry *entry, uint32_t from,
		     uint32_t to)
{
	if (entry->data)
		memcpy(unit + from, entry->data + (from - entry->from), to - from);
	else
		memset(unit + from, 0, to - from);
}
