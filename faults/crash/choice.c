// SPDX-License-Identifier: MIT
/*
 * What is undecided, as lists: the units with several candidates, by place; the writes that can
 * make a difference, by submission; the choices that these are.
 */
#include "faults/crash/internal.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <stdlib.h>
#include <string.h>

/* Many entries: a table finds the equal ones. */
#define FEW 16

/* ------------------------------------------------------------------------------ room */

static int make_order_room(struct crash *crash)
{
	uint32_t **arrays[] = { &crash->ordinals, &crash->bits, &crash->rows, &crash->flight };
	size_t room = 0;

	for (size_t i = 0; i < array_size(arrays); i++) {
		room = crash->room_order;
		if (array_room("faults/crash/choice/order", *arrays[i], room, crash->nr_open, 64))
			return -ENOMEM;
	}
	crash->room_order = room;
	return 0;
}

int crash_make_room(struct crash *crash)
{
	size_t most = crash->most_entries, scratch = 4 * (most < FEW ? FEW : most);
	size_t nr_choices = crash->nr_live;
	int err;

	err = crash_tangle(crash);
	if (err)
		return err;
	if (crash->options.atomic == CRASH_WRITE)
		nr_choices = crash->nr_open + crash->nr_tangles;
	if (crash->options.atomic == CRASH_ORDER)
		nr_choices = crash->journal->nr_disks + crash->nr_open + crash->nr_tangles;
	err = array_room("faults/crash/choice/choices", crash->choices, crash->room_choices,
			 nr_choices, 64);
	if (!err && crash->options.atomic == CRASH_ORDER)
		err = make_order_room(crash);
	if (!err)
		err = array_room("faults/crash/choice/volatiles", crash->volatiles,
				 crash->room_volatiles, crash->nr_open, 64);
	if (!err)
		err = array_room("faults/crash/choice/scratch", crash->scratch, crash->room_scratch,
				 scratch, 0);
	return err ? err : crash_mix_changed(crash);
}

/* ------------------------------------------------------------------------------ candidates */

static bool is_same(const struct crash_candidate *candidate, const struct crash_entry *entry,
		    uint32_t len)
{
	if (candidate->hash != entry->hash)
		return false;
	return !entry->hash || candidate->data == entry->data ||
	       !memcmp(candidate->data, entry->data, len);
}

/* The candidate with the entry's content, or behind the last; *slot: its place in the table. */
static uint32_t find_candidate(const struct crash *crash, const struct crash_unit *unit,
			       const struct crash_entry *entry, uint32_t mask, uint32_t *slot)
{
	uint32_t len = unit_len(crash, unit->disk, unit->number), i;

	if (!mask) {
		for (i = 0; i < unit->nr_candidates; i++)
			if (is_same(&unit->candidates[i], entry, len))
				break;
		return i;
	}
	*slot = (uint32_t)entry->hash & mask;
	while ((i = crash->scratch[*slot]) < unit->nr_candidates) {
		if (is_same(&unit->candidates[i], entry, len))
			break;
		*slot = (*slot + 1) & mask;
	}
	return i < unit->nr_candidates ? i : unit->nr_candidates;
}

/* The @i-th of @nr things falls into one of so many equal parts as there are picks. */
static uint64_t part_of(uint32_t i, uint32_t nr)
{
	return (uint64_t)i * (CRASH_CANDIDATES_MAX - 1) / (nr - 1);
}

/* There are only so many picks: the image keeps its own, the newest, and the first of each part. */
static void thin_candidates(const struct crash *crash, struct crash_unit *unit)
{
	uint32_t newest = unit->entries[unit->nr - 1].candidate, nr = unit->nr_candidates;
	uint64_t part_of_newest = newest ? part_of(newest, nr) ?: 1 : 0;
	uint32_t *numbers = crash->scratch;

	unit->nr_candidates = 0;
	for (uint32_t i = 0; i < nr; i++) {
		bool is_kept =
			!i || i == newest ||
			(part_of(i, nr) != part_of(i - 1, nr) && part_of(i, nr) != part_of_newest);

		numbers[i] = is_kept ? unit->nr_candidates : CRASH_UNMADE;
		if (is_kept)
			unit->candidates[unit->nr_candidates++] = unit->candidates[i];
	}
	for (uint32_t i = 0; i < unit->nr; i++)
		unit->entries[i].candidate = numbers[unit->entries[i].candidate];
}

static void make_candidates(const struct crash *crash, struct crash_unit *unit)
{
	const unsigned char *image = crash->disks[unit->disk].bytes + unit_at(crash, unit);
	uint32_t mask = 0, slot = 0;

	unit->candidates[0] = (struct crash_candidate){
		.data = unit->image_hash ? image : NULL,
		.hash = unit->image_hash,
		.write = CRASH_BASE,
	};
	unit->nr_candidates = 1;
	unit->first = unit->nr;
	if (unit->nr > FEW) {
		mask = (4u << (31 - __builtin_clz(unit->nr))) - 1;
		memset(crash->scratch, 0xff, ((size_t)mask + 1) * sizeof(*crash->scratch));
		crash->scratch[(uint32_t)unit->image_hash & mask] = 0;
	}
	for (uint32_t k = 0; k < unit->nr; k++) {
		struct crash_entry *entry = &unit->entries[k];
		uint32_t i = find_candidate(crash, unit, entry, mask, &slot);

		if (i == unit->nr_candidates) {
			unit->candidates[unit->nr_candidates++] = (struct crash_candidate){
				.data = entry->hash ? entry->data : NULL,
				.hash = entry->hash,
			};
			if (mask)
				crash->scratch[slot] = i;
		}
		entry->candidate = i;
		if (i)
			unit->candidates[i].write = entry->write;
		if (i && k < unit->first)
			unit->first = k;
	}
	unit->thinned =
		crash->options.atomic == CRASH_UNIT && unit->nr_candidates > CRASH_CANDIDATES_MAX;
	if (unit->thinned)
		thin_candidates(crash, unit);
	unit->stale = false;
}

/* ------------------------------------------------------------------------------ lists */

static int compare_units(const void *a, const void *b)
{
	const struct crash_unit *x = *(struct crash_unit *const *)a;
	const struct crash_unit *y = *(struct crash_unit *const *)b;

	if (x->disk != y->disk)
		return x->disk < y->disk ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

static void list_units(struct crash *crash)
{
	crash->nr_units = 0;
	for (size_t i = 0; i < crash->nr_live; i++) {
		struct crash_unit *unit = crash->live[i];

		if (unit->stale)
			make_candidates(crash, unit);
		if (unit->tangled)
			unit->first = 0;
		if (unit->nr_candidates > 1)
			crash->units[crash->nr_units++] = unit;
	}
	if (crash->nr_units)
		qsort(crash->units, crash->nr_units, sizeof(*crash->units), compare_units);
}

static void list_volatiles(struct crash *crash)
{
	for (size_t i = 0; i < crash->nr_units; i++) {
		const struct crash_unit *unit = crash->units[i];

		for (uint32_t k = unit->first; k < unit->nr; k++)
			if (!unit->entries[k].durable)
				crash->writes[unit->entries[k].write] |= WRITE_SEEN;
	}
	crash->nr_volatiles = 0;
	for (size_t i = 0; i < crash->nr_open; i++) {
		uint32_t write = crash->open[i];

		if ((crash->writes[write] & (WRITE_SEEN | WRITE_DURABLE)) == WRITE_SEEN)
			crash->volatiles[crash->nr_volatiles++] = write;
	}
	for (size_t i = 0; i < crash->nr_units; i++) {
		const struct crash_unit *unit = crash->units[i];

		for (uint32_t k = unit->first; k < unit->nr; k++)
			crash->writes[unit->entries[k].write] &= (uint8_t)~WRITE_SEEN;
	}
}

static void choose_units(struct crash *crash)
{
	crash->nr_choices = crash->nr_units;
	for (size_t i = 0; i < crash->nr_units; i++) {
		const struct crash_unit *unit = crash->units[i];

		crash->choices[i] = (struct crash_choice){
			.at = unit_at(crash, unit),
			.len_bytes = unit_len(crash, unit->disk, unit->number),
			.disk = unit->disk,
			.newest = (uint16_t)unit->entries[unit->nr - 1].candidate,
			.nr = unit->nr_candidates,
			.candidates = unit->candidates,
			.write = CRASH_BASE,
		};
	}
}

static void choose_writes(struct crash *crash)
{
	crash->nr_choices = crash->nr_volatiles;
	for (size_t i = 0; i < crash->nr_volatiles; i++) {
		const struct journal_write *write = &crash->journal->writes[crash->volatiles[i]];

		crash->choices[i] = (struct crash_choice){
			.at = write->at,
			.len_bytes = write->len_bytes,
			.disk = write->disk,
			.newest = 1,
			.nr = 2,
			.write = crash->volatiles[i],
		};
	}
	for (uint16_t i = 0; i < crash->journal->nr_disks; i++)
		crash_choose_turns(crash, i);
}

/* ------------------------------------------------------------------------------ what is missing */

static bool is_missing(const struct crash *crash)
{
	if (crash->options.atomic == CRASH_ORDER)
		for (uint32_t i = 0; i < crash->journal->nr_disks; i++)
			if (crash->disks[i].nr_rows >= CRASH_CANDIDATES_MAX)
				return true;
	if (crash->options.atomic != CRASH_UNIT)
		return crash->lacks_orders;
	for (size_t i = 0; i < crash->nr_live; i++)
		if (crash->live[i]->thinned ||
		    (crash->live[i]->mix && crash->live[i]->mix->missing))
			return true;
	return false;
}

static void make(struct crash *crash)
{
	list_units(crash);
	list_volatiles(crash);
	switch (crash->options.atomic) {
	case CRASH_UNIT:
		choose_units(crash);
		break;
	case CRASH_WRITE:
		choose_writes(crash);
		break;
	case CRASH_ORDER:
		crash_choose_orders(crash);
		break;
	}
	crash->missing = is_missing(crash);
}

struct crash *crash_made(const struct crash *crash)
{
	struct crash *c = (struct crash *)crash;

	if (atomic_load(&c->made))
		return c;
	pthread_mutex_lock(&c->lock);
	if (!atomic_load(&c->made))
		make(c);
	atomic_store(&c->made, true);
	pthread_mutex_unlock(&c->lock);
	return c;
}

size_t crash_choices(const struct crash *crash, const struct crash_choice **ret_choices)
{
	*ret_choices = crash_made(crash)->choices;
	return crash->nr_choices;
}

size_t crash_volatile(const struct crash *crash, const uint32_t **ret_writes)
{
	*ret_writes = crash_made(crash)->volatiles;
	return crash->nr_volatiles;
}

bool crash_survives(const struct crash *crash, const uint16_t *picks, uint32_t write)
{
	if (crash->options.atomic == CRASH_WRITE)
		return picks[crash_volatile_index(crash, write)];
	return crash_survives_in_order(crash, picks, write);
}
