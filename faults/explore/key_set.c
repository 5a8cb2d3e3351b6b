// SPDX-License-Identifier: MIT
#include "faults/explore/key_set.h"

#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN  64u
#define SLOTS_KEEP 8192u /* what a clear keeps: 64 KiB */

/* The slot where @key is or belongs. Keys of one shard may agree in their low bits. */
static size_t slot_of(const uint64_t *slots, size_t nr_slots, uint64_t key)
{
	size_t slot = (size_t)(key ^ key >> 32) & (nr_slots - 1);

	while (slots[slot] && slots[slot] != key)
		slot = (slot + 1) & (nr_slots - 1);
	return slot;
}

static int grow(struct key_set *set)
{
	size_t nr_slots = set->nr_slots ? set->nr_slots * 2 : SLOTS_MIN;
	uint64_t *slots =
		fail_alloc("faults/explore/key_set/grow", calloc(nr_slots, sizeof(*slots)));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < set->nr_slots; i++)
		if (set->slots[i])
			slots[slot_of(slots, nr_slots, set->slots[i])] = set->slots[i];
	free(set->slots);
	set->slots = slots;
	set->nr_slots = nr_slots;
	return 0;
}

bool key_set_has(const struct key_set *set, uint64_t key)
{
	if (key == 0)
		return set->has_zero;
	return set->nr_slots && set->slots[slot_of(set->slots, set->nr_slots, key)] == key;
}

int key_set_add(struct key_set *set, uint64_t key)
{
	if (key_set_has(set, key))
		return 0;
	if (set->nr >= set->limit)
		return -ENOSPC;
	if (key == 0) {
		set->has_zero = true;
		set->nr++;
		return 1;
	}
	if ((set->nr + 1) * 4 > set->nr_slots * 3) {
		int err = grow(set);

		if (err)
			return err;
	}
	set->slots[slot_of(set->slots, set->nr_slots, key)] = key;
	set->nr++;
	return 1;
}

void key_set_clear(struct key_set *set)
{
	size_t limit = set->limit;

	if (set->nr_slots > SLOTS_KEEP) {
		key_set_free(set);
		set->limit = limit;
		return;
	}
	if (set->nr && set->nr_slots)
		memset(set->slots, 0, set->nr_slots * sizeof(*set->slots));
	set->nr = 0;
	set->has_zero = false;
}

void key_set_free(struct key_set *set)
{
	free(set->slots);
	*set = (struct key_set){ 0 };
}
