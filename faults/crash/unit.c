// SPDX-License-Identifier: MIT
/*
 * What is in the units that are not settled.
 *
 *	submitted:	an entry in each unit it covers, with the content that it leaves there
 *	durable:	the image is made up; entries that are replaced go
 *	settled:	all entries are durable and leave what the image holds: the unit goes
 *
 * A write of zeroes to a unit where everything is zero changes nothing, now or later, unless it is
 * still in flight when another one comes; until then it is kept beside (crash->skipped), for all its
 * units together. So discards cost only what they find, however large they are.
 */
#include "faults/crash/internal.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/zero.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ the table */

static size_t bucket_of(const struct crash *crash, uint16_t disk, uint64_t number)
{
	return rng_finalise(number << 8 ^ disk) & (crash->nr_buckets - 1);
}

static struct crash_unit *find(const struct crash *crash, uint16_t disk, uint64_t number)
{
	struct crash_unit *unit;

	if (!crash->nr_live)
		return NULL;
	unit = crash->buckets[bucket_of(crash, disk, number)];
	while (unit && (unit->number != number || unit->disk != disk))
		unit = unit->next;
	return unit;
}

static int resize(struct crash *crash)
{
	size_t nr = crash->nr_buckets ? crash->nr_buckets * 2 : 256;
	struct crash_unit **buckets =
		fail_alloc("faults/crash/unit/buckets", calloc(nr, sizeof(*buckets)));

	if (!buckets)
		return -ENOMEM;
	free(crash->buckets);
	crash->buckets = buckets;
	crash->nr_buckets = nr;
	for (size_t i = 0; i < crash->nr_live; i++) {
		struct crash_unit *unit = crash->live[i];
		size_t bucket = bucket_of(crash, unit->disk, unit->number);

		unit->next = buckets[bucket];
		buckets[bucket] = unit;
	}
	return 0;
}

/* All three have room for every unit. */
static int grow_live(struct crash *crash)
{
	struct crash_unit ***arrays[] = { &crash->live, &crash->queue, &crash->units };
	size_t room = 0;

	for (size_t i = 0; i < array_size(arrays); i++) {
		room = crash->room_live;
		if (array_room("faults/crash/unit/live", *arrays[i], room, room + 1, 64))
			return -ENOMEM;
	}
	crash->room_live = room;
	return 0;
}

static struct crash_unit *add_unit(struct crash *crash, uint16_t disk, uint64_t number)
{
	struct crash_unit *unit;
	size_t bucket;

	if (crash->nr_live >= crash->nr_buckets && resize(crash) < 0)
		return NULL;
	if (crash->nr_live == crash->room_live && grow_live(crash) < 0)
		return NULL;
	unit = fail_alloc("faults/crash/unit/unit", calloc(1, sizeof(*unit)));
	if (!unit)
		return NULL;
	bucket = bucket_of(crash, disk, number);
	unit->disk = disk;
	unit->number = number;
	unit->slot = (uint32_t)crash->nr_live;
	unit->next = crash->buckets[bucket];
	crash->buckets[bucket] = unit;
	crash->live[crash->nr_live++] = unit;
	return unit;
}

static void note_change(struct crash *crash, struct crash_unit *unit)
{
	crash_unmix(unit);
	if (unit->link_changed)
		return;
	unit->next_changed = crash->changed;
	if (crash->changed)
		crash->changed->link_changed = &unit->next_changed;
	unit->link_changed = &crash->changed;
	crash->changed = unit;
}

static void forget_change(struct crash_unit *unit)
{
	if (!unit->link_changed)
		return;
	*unit->link_changed = unit->next_changed;
	if (unit->next_changed)
		unit->next_changed->link_changed = unit->link_changed;
	unit->link_changed = NULL;
}

int crash_mix_changed(struct crash *crash)
{
	int err = 0;

	while (crash->changed && !err) {
		struct crash_unit *unit = crash->changed;

		if (unit->mixed && !unit->mix)
			err = crash_mix(crash, unit);
		if (!err)
			forget_change(unit);
	}
	return err;
}

static void free_unit(struct crash_unit *unit)
{
	crash_unmix(unit);
	free(unit->entries);
	free(unit->candidates);
	free(unit);
}

static void remove_unit(struct crash *crash, struct crash_unit *unit)
{
	struct crash_unit **link = &crash->buckets[bucket_of(crash, unit->disk, unit->number)];
	struct crash_unit *last = crash->live[--crash->nr_live];

	while (*link != unit)
		link = &(*link)->next;
	*link = unit->next;
	crash->live[unit->slot] = last;
	last->slot = unit->slot;
	forget_change(unit);
	if (!unit->image_hash)
		crash_bits_clear(&crash->disks[unit->disk].used, unit->number);
	free_unit(unit);
}

void crash_drop_units(struct crash *crash)
{
	for (size_t i = 0; i < crash->nr_live; i++)
		free_unit(crash->live[i]);
	crash->nr_live = 0;
	crash->changed = NULL;
}

/* ------------------------------------------------------------------------------ submission */

static bool is_whole(const struct crash_entry *entry, uint32_t len)
{
	return entry->from == 0 && entry->to == len;
}

/* Candidates get as much room: one more than entries. */
static int grow_unit(struct crash *crash, struct crash_unit *unit)
{
	uint32_t room = unit->room;

	if (array_room("faults/crash/unit/entries", unit->entries, room, room + 1ull, 2) ||
	    array_fit("faults/crash/unit/candidates", unit->candidates, (size_t)room + 1))
		return -ENOMEM;
	unit->room = room;
	if (room > crash->most_entries)
		crash->most_entries = room;
	return 0;
}

static int add_entry(struct crash *crash, struct crash_unit *unit, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];
	uint64_t at = unit_at(crash, unit), end = at + unit_len(crash, unit->disk, unit->number);
	uint64_t write_end = write->at + write->len_bytes;
	struct crash_entry entry = { .write = index, .durable = is_durable(crash, index) };

	note_change(crash, unit);
	entry.from = write->at > at ? (uint32_t)(write->at - at) : 0;
	entry.to = (uint32_t)((write_end < end ? write_end : end) - at);
	if (unit->nr == unit->room && grow_unit(crash, unit) < 0)
		return -ENOMEM;
	crash->overlaps |= unit->end > write->submit;
	if (write->complete > unit->end)
		unit->end = write->complete;
	entry.data = write->data ? write->data + (at + entry.from - write->at) : NULL;
	entry.hash = crash_content_hash(entry.data, entry.to - entry.from);
	unit->mixed |= !is_whole(&entry, (uint32_t)(end - at));
	unit->entries[unit->nr++] = entry;
	unit->stale = true;
	return 0;
}

/* The unit was zero for all: now those writes in flight matter that left it so. */
static int add_skipped(struct crash *crash, struct crash_unit *unit)
{
	const uint32_t *writes;
	size_t nr;
	int err = crash_skipped_find(&crash->skipped, unit->disk, unit->number, &writes, &nr);

	for (size_t i = 0; i < nr && !err; i++)
		err = add_entry(crash, unit, writes[i]);
	return err;
}

static int submit_unit(struct crash *crash, uint32_t index, uint64_t number)
{
	uint16_t disk = crash->journal->writes[index].disk;
	struct crash_bits *used = &crash->disks[disk].used;
	struct crash_unit *unit = find(crash, disk, number);
	bool was_used = crash_bits_has(used, number);
	int err = 0;

	if (!unit) {
		unit = add_unit(crash, disk, number);
		if (!unit)
			return -ENOMEM;
		if (was_used)
			unit->image_hash =
				crash_content_hash(crash->disks[disk].bytes + unit_at(crash, unit),
						   unit_len(crash, disk, number));
		crash_bits_set(used, number);
	}
	if (!was_used)
		err = add_skipped(crash, unit);
	return err ? err : add_entry(crash, unit, index);
}

static bool writes_zeroes(const struct crash *crash, const struct journal_write *write,
			  uint64_t number)
{
	uint64_t at = number << crash->unit_shift;
	uint64_t end = at + unit_len(crash, write->disk, number);
	uint64_t write_end = write->at + write->len_bytes;

	if (!write->data)
		return true;
	at = at > write->at ? at : write->at;
	end = end < write_end ? end : write_end;
	return is_zero(write->data + (at - write->at), end - at);
}

static int push(uint32_t **array, size_t *nr, size_t *room, uint32_t value)
{
	if (array_room("faults/crash/unit/push", *array, *room, *nr + 1, 64))
		return -ENOMEM;
	(*array)[(*nr)++] = value;
	return 0;
}

/* The next unit from @number on that the write does not leave as it was: all zero. */
static uint64_t next_changed(const struct crash *crash, const struct journal_write *write,
			     uint64_t number, uint64_t end, bool *skipped)
{
	const struct crash_bits *used = &crash->disks[write->disk].used;
	uint64_t next;

	if (!write->data) {
		next = crash_bits_next(used, number, end);
		*skipped |= next != number;
		return next < end ? next : end;
	}
	for (next = number; next < end; next++) {
		if (crash_bits_has(used, next) || !writes_zeroes(crash, write, next))
			break;
		*skipped = true;
	}
	return next;
}

static uint64_t units_end(const struct crash *crash, const struct journal_write *write)
{
	return ((write->at + write->len_bytes - 1) >> crash->unit_shift) + 1;
}

static int skip(struct crash *crash, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];
	int err = crash_skipped_add(&crash->skipped, index, write->disk,
				    write->at >> crash->unit_shift, units_end(crash, write));

	if (!err)
		crash->writes[index] |= WRITE_SKIPPED;
	return err;
}

int crash_submit(struct crash *crash, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];
	uint64_t number = write->at >> crash->unit_shift;
	uint64_t end = units_end(crash, write);
	bool skipped = false;
	int err;

	while ((number = next_changed(crash, write, number, end, &skipped)) < end) {
		err = submit_unit(crash, index, number++);
		if (err)
			return err;
	}
	err = skipped ? skip(crash, index) : 0;
	if (!err)
		err = push(&crash->open, &crash->nr_open, &crash->room_open, index);
	if (!err)
		crash->disks[write->disk].nr_open++;
	return err;
}

/* A completed one does not matter any more: what comes to its place was submitted later. */
void crash_complete(struct crash *crash, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];

	if (!(crash->writes[index] & WRITE_SKIPPED))
		return;
	crash->writes[index] &= (uint8_t)~WRITE_SKIPPED;
	crash_skipped_drop(&crash->skipped, index, write->disk, write->at >> crash->unit_shift,
			   units_end(crash, write));
}

/* ------------------------------------------------------------------------------ the image */

static void zero_image(struct crash *crash)
{
	const struct crash_disk *disk = &crash->disks[crash->zero_disk];
	uint64_t len = crash->zero_end - crash->zero_at;

	if (len && (disk->fd < 0 || len < 65536 ||
		    fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)crash->zero_at, (off_t)len) < 0))
		memset(disk->bytes + crash->zero_at, 0, len);
	crash->zero_at = crash->zero_end = 0;
}

/* Together with its neighbours: a long run is a hole. */
static void zero_later(struct crash *crash, const struct crash_unit *unit, uint32_t len)
{
	uint64_t at = unit_at(crash, unit);

	if (crash->zero_disk != unit->disk || crash->zero_end != at)
		zero_image(crash);
	if (crash->zero_at == crash->zero_end)
		crash->zero_at = at;
	crash->zero_disk = unit->disk;
	crash->zero_end = at + len;
}

/* Where to begin: what lies before the last durable write to all of the unit is gone. */
static uint32_t first_to_apply(const struct crash_unit *unit, uint32_t len)
{
	uint32_t first = unit->nr;

	for (uint32_t i = unit->nr; i-- > 0;) {
		if (unit->entries[i].fresh)
			first = i;
		if (unit->entries[i].durable && is_whole(&unit->entries[i], len))
			break;
	}
	return first;
}

static void make_image(struct crash *crash, struct crash_unit *unit)
{
	uint32_t len = unit_len(crash, unit->disk, unit->number);
	uint64_t at = unit_at(crash, unit), before = unit->image_hash;
	unsigned char *image = crash->disks[unit->disk].bytes + at;
	bool rehash = false;

	for (uint32_t i = first_to_apply(unit, len); i < unit->nr; i++) {
		const struct crash_entry *entry = &unit->entries[i];

		if (!entry->durable)
			continue;
		rehash = !is_whole(entry, len);
		if (rehash)
			crash_put_entry(image, entry, entry->from, entry->to);
		else if (entry->hash)
			memcpy(image, entry->data, len);
		else if (i + 1 < unit->nr)
			memset(image, 0, len);
		else if (unit->image_hash)
			zero_later(crash, unit, len);
		if (!rehash)
			unit->image_hash = entry->hash;
	}
	if (rehash)
		unit->image_hash = crash_content_hash(image, len);
	crash->image_hash ^=
		place_hash(before, unit->disk, at) ^ place_hash(unit->image_hash, unit->disk, at);
}

/* ------------------------------------------------------------------------------ durability */

static bool completed_before(const struct crash *crash, const struct crash_entry *a,
			     const struct crash_entry *b)
{
	return crash->journal->writes[a->write].complete < crash->journal->writes[b->write].submit;
}

/* Byte @at of the unit, which the entry covers: how far it is durably there, up to the entry's end;
 * @at: it is not. Of all that came after the entry, whatever the order. */
static uint32_t replaced_to(const struct crash *crash, const struct crash_unit *unit,
			    uint32_t first, const struct crash_entry *entry, uint32_t at)
{
	uint32_t to = at;

	for (uint32_t i = unit->nr; i-- > first;) {
		const struct crash_entry *by = &unit->entries[i];

		if (by->durable && by->from <= at && by->to > to &&
		    completed_before(crash, entry, by))
			to = by->to;
		if (to >= entry->to)
			break;
	}
	return to;
}

/* Nothing of it can be there any more. */
static bool is_replaced(const struct crash *crash, const struct crash_unit *unit, uint32_t first,
			const struct crash_entry *entry)
{
	uint32_t at = entry->from, to;

	while (at < entry->to) {
		to = replaced_to(crash, unit, first, entry, at);
		if (to == at)
			return false;
		at = to;
	}
	return true;
}

/*
 * Backwards; those that stay gather at the end. What replaces the one that is replaced by another
 * replaces that one too, so a look at those that stay is enough.
 */
static void drop_replaced(const struct crash *crash, struct crash_unit *unit)
{
	uint32_t first = unit->nr;
	bool durable = false;

	for (uint32_t i = unit->nr; i-- > 0;) {
		struct crash_entry entry = unit->entries[i];

		if (durable && is_replaced(crash, unit, first, &entry))
			continue;
		unit->entries[--first] = entry;
		durable |= entry.durable;
	}
	unit->nr -= first;
	memmove(unit->entries, unit->entries + first, unit->nr * sizeof(*unit->entries));
}

/*
 * A version that has the durable writes has those, too, that had completed before the last of them
 * was submitted: they were carried out before it.
 */
static void add_earlier(const struct crash *crash, struct crash_unit *unit)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < unit->nr; i++)
		if (unit->entries[i].durable)
			last = crash->journal->writes[unit->entries[i].write].submit;
	for (uint32_t i = 0; i < unit->nr; i++) {
		struct crash_entry *entry = &unit->entries[i];
		const struct journal_write *write = &crash->journal->writes[entry->write];

		if (entry->durable || write->complete > last || write->failed ||
		    (write->false_ack && crash->options.illegal))
			continue;
		entry->durable = entry->fresh = true;
	}
}

/* Two that lie over each other, and may have been carried out in either order. */
static bool has_overlap(const struct crash *crash, const struct crash_unit *unit)
{
	for (uint32_t i = 0; i < unit->nr; i++)
		for (uint32_t k = i + 1; k < unit->nr; k++)
			if (unit->entries[i].from < unit->entries[k].to &&
			    unit->entries[k].from < unit->entries[i].to &&
			    !completed_before(crash, &unit->entries[i], &unit->entries[k]))
				return true;
	return false;
}

static bool is_settled(const struct crash *crash, const struct crash_unit *unit)
{
	for (uint32_t i = 0; i < unit->nr; i++)
		if (!unit->entries[i].durable ||
		    (!unit->mixed && unit->entries[i].hash != unit->image_hash))
			return false;
	return !unit->mixed || !has_overlap(crash, unit);
}

static bool is_mixed(const struct crash *crash, const struct crash_unit *unit)
{
	uint32_t len = unit_len(crash, unit->disk, unit->number);

	for (uint32_t i = 0; i < unit->nr; i++)
		if (!is_whole(&unit->entries[i], len))
			return true;
	return false;
}

static void settle_unit(struct crash *crash, struct crash_unit *unit)
{
	note_change(crash, unit);
	unit->queued = false;
	unit->stale = true;
	if (unit->mixed)
		add_earlier(crash, unit);
	make_image(crash, unit);
	drop_replaced(crash, unit);
	for (uint32_t i = 0; i < unit->nr; i++)
		unit->entries[i].fresh = false;
	unit->mixed = unit->mixed && is_mixed(crash, unit);
	if (is_settled(crash, unit))
		remove_unit(crash, unit);
}

static struct crash_entry *find_entry(const struct crash_unit *unit, uint32_t write)
{
	uint32_t from = 0, to = unit->nr;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (unit->entries[middle].write < write)
			from = middle + 1;
		else
			to = middle;
	}
	return from < unit->nr && unit->entries[from].write == write ? &unit->entries[from] : NULL;
}

static void mark_durable(struct crash *crash, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];
	struct crash_disk *disk = &crash->disks[write->disk];
	uint64_t number = write->at >> crash->unit_shift;
	uint64_t end = units_end(crash, write);

	crash->writes[index] |= WRITE_DURABLE;
	crash->nr_closed++;
	disk->nr_open--;
	while ((number = crash_bits_next(&disk->used, number, end)) < end) {
		struct crash_unit *unit = find(crash, write->disk, number++);
		struct crash_entry *entry = unit ? find_entry(unit, index) : NULL;

		if (!entry || entry->durable)
			continue;
		entry->durable = entry->fresh = true;
		if (!unit->queued)
			crash->queue[crash->nr_queue++] = unit;
		unit->queued = true;
	}
}

static void compact_open(struct crash *crash)
{
	size_t nr = 0;

	if (crash->nr_closed < 64 || crash->nr_closed < crash->nr_open / 2)
		return;
	for (size_t i = 0; i < crash->nr_open; i++)
		if (!is_durable(crash, crash->open[i]))
			crash->open[nr++] = crash->open[i];
	crash->nr_open = nr;
	crash->nr_closed = 0;
}

/* All at once: the units are the same whatever the order. */
void crash_settle(struct crash *crash, const uint32_t *writes, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		mark_durable(crash, writes[i]);
	for (size_t i = 0; i < crash->nr_queue; i++)
		settle_unit(crash, crash->queue[i]);
	crash->nr_queue = 0;
	zero_image(crash);
	compact_open(crash);
}

/* ------------------------------------------------------------------------------ the beginning */

/* The part of an extent that lies in one unit; zeroes stay holes. */
static void load_part(struct crash *crash, const struct journal_extent *extent, uint64_t number)
{
	struct crash_disk *disk = &crash->disks[extent->disk];
	uint64_t at = number << crash->unit_shift, from = at > extent->at ? at : extent->at;
	uint32_t len = unit_len(crash, extent->disk, number);
	uint64_t end = extent->at + extent->len_bytes, to = at + len < end ? at + len : end;
	const unsigned char *data = extent->data + (from - extent->at);
	uint64_t before = 0, after;

	if (from == at && to == at + len && !crash_content_hash(data, len))
		return;
	if (crash_bits_has(&disk->used, number))
		before = crash_content_hash(disk->bytes + at, len);
	memcpy(disk->bytes + from, data, to - from);
	after = crash_content_hash(disk->bytes + at, len);
	if (after)
		crash_bits_set(&disk->used, number);
	crash->image_hash ^=
		place_hash(before, extent->disk, at) ^ place_hash(after, extent->disk, at);
}

int crash_load_extents(struct crash *crash)
{
	for (size_t i = 0; i < crash->journal->nr_extents; i++) {
		const struct journal_extent *extent = &crash->journal->extents[i];
		uint64_t number = extent->at >> crash->unit_shift;
		uint64_t end = extent->at + extent->len_bytes;

		for (; extent->len_bytes && number << crash->unit_shift < end; number++)
			load_part(crash, extent, number);
	}
	return 0;
}
