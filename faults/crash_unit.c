// SPDX-License-Identifier: MIT
/*
 * What is in the units that are not settled.
 *
 *	submitted:	an entry in each unit it covers, with the content that it leaves there
 *	durable:	the image is made up; entries that are replaced go
 *	settled:	all entries are durable and leave what the image holds: the unit goes
 *
 * A write of zeroes to a unit where everything is zero changes nothing, now or later, unless it is
 * still in flight when another one comes; until then it is kept beside (crash->skipped), once for
 * all its units. So discards cost only what they find, however large they are.
 */
#include "faults/crash_inside.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool is_zero(const unsigned char *data, uint32_t len)
{
	uint64_t first;

	memcpy(&first, data, sizeof(first));
	return !first && !memcmp(data, data + sizeof(first), len - sizeof(first));
}

uint64_t crash_content_hash(const unsigned char *data, uint32_t len)
{
	uint64_t hash;

	if (!data || is_zero(data, len))
		return 0;
	hash = XXH3_64bits(data, len);
	return hash ? hash : 1;
}

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
		fail_alloc("faults/crash_unit/buckets", calloc(nr, sizeof(*buckets)));

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
	size_t more = crash->room_live ? crash->room_live * 2 : 64;
	struct crash_unit ***arrays[] = { &crash->live, &crash->queue, &crash->units };

	for (size_t i = 0; i < array_size(arrays); i++) {
		struct crash_unit **grown = fail_alloc(
			"faults/crash_unit/live", reallocarray(*arrays[i], more, sizeof(**arrays)));

		if (!grown)
			return -ENOMEM;
		*arrays[i] = grown;
	}
	crash->room_live = more;
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
	unit = fail_alloc("faults/crash_unit/unit", calloc(1, sizeof(*unit)));
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

static void free_entry(const struct crash_entry *entry)
{
	if (entry->own)
		free((void *)entry->data);
}

static void free_unit(struct crash_unit *unit)
{
	for (uint32_t i = 0; i < unit->nr; i++)
		free_entry(&unit->entries[i]);
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
	if (!unit->image_hash)
		crash_bits_clear(&crash->disks[unit->disk].used, unit->number);
	free_unit(unit);
}

void crash_drop_units(struct crash *crash)
{
	for (size_t i = 0; i < crash->nr_live; i++)
		free_unit(crash->live[i]);
	crash->nr_live = 0;
}

/* ------------------------------------------------------------------------------ submission */

/* What there is in the unit with everything that was submitted; NULL: zeroes. */
static const unsigned char *newest(const struct crash *crash, const struct crash_unit *unit)
{
	const struct crash_entry *last;

	if (unit->nr) {
		last = &unit->entries[unit->nr - 1];
		return last->hash ? last->data : NULL;
	}
	return unit->image_hash ? crash->disks[unit->disk].bytes + unit_at(crash, unit) : NULL;
}

/* Bytes of a content; NULL stands for zeroes. */
static void put_bytes(unsigned char *to, const unsigned char *content, uint32_t from, uint32_t end)
{
	if (from >= end)
		return;
	if (content)
		memcpy(to + from, content + from, end - from);
	else
		memset(to + from, 0, end - from);
}

/* Give the entry the content that it leaves in the unit as it is now. */
static int make_content(const struct crash *crash, const struct crash_unit *unit,
			struct crash_entry *entry)
{
	const struct journal_write *write = &crash->journal->writes[entry->write];
	uint32_t len = unit_len(crash, unit->disk, unit->number);
	uint64_t skip = unit_at(crash, unit) + entry->from - write->at;
	unsigned char *content;

	if (entry->from == 0 && entry->to == len) {
		entry->data = write->data ? write->data + skip : NULL;
		entry->hash = crash_content_hash(entry->data, len);
		return 0;
	}
	content = fail_alloc("faults/crash_unit/content", malloc(len));
	if (!content)
		return -ENOMEM;
	put_bytes(content, newest(crash, unit), 0, len);
	if (write->data)
		memcpy(content + entry->from, write->data + skip, entry->to - entry->from);
	else
		memset(content + entry->from, 0, entry->to - entry->from);
	entry->data = content;
	entry->own = true;
	entry->hash = crash_content_hash(content, len);
	return 0;
}

/* Candidates get as much room: one more than entries. */
static int grow_unit(struct crash *crash, struct crash_unit *unit)
{
	uint32_t more = unit->room ? unit->room * 2 : 2;
	void *grown = fail_alloc("faults/crash_unit/entries",
				 reallocarray(unit->entries, more, sizeof(*unit->entries)));

	if (!grown)
		return -ENOMEM;
	unit->entries = grown;
	grown = fail_alloc(
		"faults/crash_unit/candidates",
		reallocarray(unit->candidates, (size_t)more + 1, sizeof(*unit->candidates)));
	if (!grown)
		return -ENOMEM;
	unit->candidates = grown;
	unit->room = more;
	if (more > crash->most_entries)
		crash->most_entries = more;
	return 0;
}

static int add_entry(struct crash *crash, struct crash_unit *unit, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];
	uint64_t at = unit_at(crash, unit), end = at + unit_len(crash, unit->disk, unit->number);
	uint64_t write_end = write->at + write->len_bytes;
	struct crash_entry entry = { .write = index, .durable = is_durable(crash, index) };
	int err = 0;

	entry.from = write->at > at ? (uint32_t)(write->at - at) : 0;
	entry.to = (uint32_t)((write_end < end ? write_end : end) - at);
	if (unit->nr == unit->room)
		err = grow_unit(crash, unit);
	if (!err)
		err = make_content(crash, unit, &entry);
	if (err)
		return err;
	unit->entries[unit->nr++] = entry;
	unit->stale = true;
	return 0;
}

/* The unit was zero for all: now those writes in flight matter that left it so. */
static int recall_skipped(struct crash *crash, struct crash_unit *unit)
{
	uint64_t at = unit_at(crash, unit), end = at + unit_len(crash, unit->disk, unit->number);

	for (size_t i = 0; i < crash->nr_skipped; i++) {
		const struct journal_write *write = &crash->journal->writes[crash->skipped[i]];
		int err;

		if (write->disk != unit->disk || write->at >= end ||
		    write->at + write->len_bytes <= at)
			continue;
		err = add_entry(crash, unit, crash->skipped[i]);
		if (err)
			return err;
	}
	return 0;
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
		err = recall_skipped(crash, unit);
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
	return is_zero(write->data + (at - write->at), (uint32_t)(end - at));
}

static int push(uint32_t **array, size_t *nr, size_t *room, uint32_t value)
{
	if (*nr == *room) {
		size_t more = *room ? *room * 2 : 64;
		uint32_t *grown = fail_alloc("faults/crash_unit/push",
					     reallocarray(*array, more, sizeof(**array)));

		if (!grown)
			return -ENOMEM;
		*array = grown;
		*room = more;
	}
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

int crash_submit(struct crash *crash, uint32_t index)
{
	const struct journal_write *write = &crash->journal->writes[index];
	uint64_t number = write->at >> crash->unit_shift;
	uint64_t end = ((write->at + write->len_bytes - 1) >> crash->unit_shift) + 1;
	bool skipped = false;
	int err;

	while ((number = next_changed(crash, write, number, end, &skipped)) < end) {
		err = submit_unit(crash, index, number++);
		if (err)
			return err;
	}
	err = skipped ? push(&crash->skipped, &crash->nr_skipped, &crash->room_skipped, index) : 0;
	if (!err)
		err = push(&crash->open, &crash->nr_open, &crash->room_open, index);
	if (!err)
		crash->disks[write->disk].nr_open++;
	return err;
}

static bool is_complete(const struct crash *crash, uint32_t index, uint64_t step)
{
	return crash->journal->writes[index].complete <= step;
}

/*
 * A completed one does not matter any more, unless it lies over one that is in flight and may be
 * replaced only in part.
 */
void crash_complete(struct crash *crash, uint32_t index)
{
	uint64_t step = crash->journal->writes[index].complete;
	size_t nr = 0;

	for (size_t i = 0; i < crash->nr_skipped; i++) {
		bool keep = !is_complete(crash, crash->skipped[i], step) || (crash->parts && nr);

		if (keep)
			crash->skipped[nr++] = crash->skipped[i];
	}
	crash->nr_skipped = nr;
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

static bool is_whole(const struct crash_entry *entry, uint32_t len)
{
	return entry->from == 0 && entry->to == len;
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
			put_bytes(image, entry->data, entry->from, entry->to);
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

static bool replaces(const struct crash *crash, const struct crash_entry *by,
		     const struct crash_entry *entry)
{
	return by->durable && by->from <= entry->from && by->to >= entry->to &&
	       completed_before(crash, entry, by);
}

/*
 * Backwards; those that stay gather at the end. What replaces the one that is replaced by another
 * replaces that one too, so a look at those that stay is enough.
 */
static void drop_replaced(const struct crash *crash, struct crash_unit *unit)
{
	uint32_t first = unit->nr, durable_end = 0;

	for (uint32_t i = unit->nr; i-- > 0;) {
		struct crash_entry *entry = &unit->entries[i];
		bool gone = false;

		for (uint32_t k = durable_end; k > first && !gone; k--)
			gone = replaces(crash, &unit->entries[k - 1], entry);
		if (gone) {
			free_entry(entry);
			continue;
		}
		unit->entries[--first] = *entry;
		if (!durable_end && unit->entries[first].durable)
			durable_end = first + 1;
	}
	unit->nr -= first;
	memmove(unit->entries, unit->entries + first, unit->nr * sizeof(*unit->entries));
}

/* Does some later durable write change what this one leaves? To all of a unit: only in parts. */
static bool is_changed(const struct crash *crash, const struct crash_unit *unit, uint32_t i)
{
	if (unit->entries[i].own)
		return true;
	for (uint32_t k = i + 1; k < unit->nr; k++)
		if (unit->entries[k].durable &&
		    completed_before(crash, &unit->entries[i], &unit->entries[k]))
			return true;
	return false;
}

/* From now on its content is its own. */
static int own_content(struct crash_entry *entry, uint32_t len)
{
	unsigned char *content;

	if (entry->own)
		return 0;
	content = fail_alloc("faults/crash_unit/own", malloc(len));
	if (!content)
		return -ENOMEM;
	put_bytes(content, entry->data, 0, len);
	entry->data = content;
	entry->own = true;
	return 0;
}

/* What was submitted after a write and is durable is there in any case, but for what it wrote. */
static void add_durable(const struct crash *crash, const struct crash_unit *unit, uint32_t i)
{
	struct crash_entry *entry = &unit->entries[i];
	unsigned char *content = (unsigned char *)entry->data;

	for (uint32_t k = i + 1; k < unit->nr; k++) {
		const struct crash_entry *by = &unit->entries[k];
		uint32_t from, to;

		if (!by->durable)
			continue;
		if (completed_before(crash, entry, by)) {
			put_bytes(content, by->data, by->from, by->to);
			continue;
		}
		to = by->to < entry->from ? by->to : entry->from;
		from = by->from > entry->to ? by->from : entry->to;
		put_bytes(content, by->data, by->from, to);
		put_bytes(content, by->data, from, by->to);
	}
}

static int make_parts(const struct crash *crash, struct crash_unit *unit)
{
	uint32_t len = unit_len(crash, unit->disk, unit->number);
	bool fresh = false;

	for (uint32_t i = unit->nr; i-- > 0;) {
		struct crash_entry *entry = &unit->entries[i];

		if (fresh && is_changed(crash, unit, i)) {
			if (own_content(entry, len) < 0)
				return -ENOMEM;
			add_durable(crash, unit, i);
			entry->hash = crash_content_hash(entry->data, len);
		}
		fresh |= entry->fresh;
		entry->fresh = false;
	}
	return 0;
}

static bool is_settled(const struct crash_unit *unit)
{
	for (uint32_t i = 0; i < unit->nr; i++)
		if (!unit->entries[i].durable || unit->entries[i].hash != unit->image_hash)
			return false;
	return true;
}

static int settle_unit(struct crash *crash, struct crash_unit *unit)
{
	int err;

	unit->queued = false;
	unit->stale = true;
	make_image(crash, unit);
	drop_replaced(crash, unit);
	err = make_parts(crash, unit);
	if (!err && is_settled(unit))
		remove_unit(crash, unit);
	return err;
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
	uint64_t end = ((write->at + write->len_bytes - 1) >> crash->unit_shift) + 1;

	crash->writes[index] |= WRITE_DURABLE;
	crash->nr_closed++;
	disk->nr_open--;
	if (index > disk->last_durable)
		disk->last_durable = index;
	while ((number = crash_bits_next(&disk->used, number, end)) < end) {
		struct crash_unit *unit = find(crash, write->disk, number++);
		struct crash_entry *entry = unit ? find_entry(unit, index) : NULL;

		if (!entry)
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
int crash_settle(struct crash *crash, const uint32_t *writes, size_t nr)
{
	int err = 0;

	for (size_t i = 0; i < nr; i++)
		mark_durable(crash, writes[i]);
	for (size_t i = 0; i < crash->nr_queue && !err; i++)
		err = settle_unit(crash, crash->queue[i]);
	crash->nr_queue = 0;
	zero_image(crash);
	compact_open(crash);
	return err;
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
