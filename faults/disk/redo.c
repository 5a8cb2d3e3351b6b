// SPDX-License-Identifier: MIT
/*
 * A ring of entries, each one write or the part of it that lies in one unit of the store, and for
 * every unit of the disk what the log knows of it:
 *
 *	last	the newest write that covers it; PINNED while that is under way
 *	settled	no write up to this one matters any more: they are durable, or overwritten by one
 *	count	entries in the ring that matter
 *
 * A unit is volatile while last is past settled, and then the shadow has what is durable of it.
 * A flush settles everything at once: numbers up to floor are those of before it.
 *
 * One lock for ring, units and shadow, taken inside of the store's. Where whole writes or their
 * order count, a second one outside of the store's keeps a write, all its parts, from being mixed
 * with another or with a flush.
 */
#include "faults/disk/redo.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "base/sparse.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PINNED      UINT64_MAX
#define NEWEST      UINT32_MAX
#define ALIGN       16u
#define TOUCHED_MAX 65536u /* units whose memory is kept over a flush */

struct unit {
	uint64_t last, settled;
	uint32_t count;
	uint32_t extra; /* units: entries to apply, in a cut; writes: how many have begun here */
};

struct entry {
	uint64_t seq, at, group;
	uint64_t bytes; /* in the ring, this header included */
	uint32_t len;
	uint32_t nth; /* of the writes that began at this place since the last flush */
	bool zero;
	_Alignas(ALIGN) unsigned char data[];
};

struct redo {
	struct store *store;
	struct shadow *durable;
	uint32_t unit_bytes;
	bool whole_writes, in_order;
	uint64_t size_bytes;
	pthread_mutex_t lock, turn;
	struct unit *units;
	unsigned char *ring;
	uint64_t head, tail; /* of the oldest entry; behind the newest */
	uint64_t wrap;       /* nothing from here to the end of the ring; else size_bytes */
	uint64_t used, nr_entries;
	uint64_t seq, floor;
	uint64_t group;     /* of the write that has the turn */
	unsigned int depth; /* begins of it that have not ended */
	uint64_t begun;     /* of the last one in the ring */
	uint64_t through;   /* of one that is made durable */
	uint64_t nr_touched, forgotten_bytes;
	_Atomic uint64_t nr_volatile;
};

static bool groups(const struct redo *redo)
{
	return redo->whole_writes || redo->in_order;
}

static uint64_t units_bytes(const struct redo *redo)
{
	return (store_size(redo->store) / redo->unit_bytes + 1) * sizeof(struct unit);
}

static void *map(uint64_t size_bytes)
{
	return fail_alloc("faults/disk/redo/map", sparse_map(size_bytes));
}

/* A write whose parts each begin and end is one all the same, if somebody does around them. */
static void init_turn(pthread_mutex_t *turn)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(turn, &attr);
	pthread_mutexattr_destroy(&attr);
}

int redo_create(const struct redo_options *options, struct redo **ret_redo)
{
	struct redo *redo = fail_alloc("faults/disk/redo/alloc", calloc(1, sizeof(*redo)));

	if (!redo)
		return -ENOMEM;
	redo->store = options->store;
	redo->durable = options->durable;
	redo->unit_bytes = options->unit_bytes;
	redo->whole_writes = options->whole_writes;
	redo->in_order = options->in_order;
	redo->size_bytes = redo->wrap = options->size_bytes & ~(uint64_t)(ALIGN - 1);
	pthread_mutex_init(&redo->lock, NULL);
	init_turn(&redo->turn);
	redo->units = map(units_bytes(redo));
	redo->ring = map(redo->size_bytes);
	if (!redo->units || !redo->ring) {
		redo_free(redo);
		return -ENOMEM;
	}
	*ret_redo = redo;
	return 0;
}

struct redo *redo_free(struct redo *redo)
{
	if (!redo)
		return NULL;
	if (redo->units)
		munmap(redo->units, units_bytes(redo));
	if (redo->ring)
		munmap(redo->ring, redo->size_bytes);
	pthread_mutex_destroy(&redo->lock);
	pthread_mutex_destroy(&redo->turn);
	free(redo);
	return NULL;
}

uint64_t redo_nr_volatile(const struct redo *redo)
{
	return atomic_load_explicit(&redo->nr_volatile, memory_order_relaxed);
}

void redo_begin(struct redo *redo)
{
	if (!groups(redo))
		return;
	pthread_mutex_lock(&redo->turn);
	if (redo->depth++ == 0)
		redo->group++;
}

void redo_end(struct redo *redo)
{
	if (!groups(redo))
		return;
	redo->depth--;
	pthread_mutex_unlock(&redo->turn);
}

/* ------------------------------------------------------------------------------ units */

/* The unit of a volatile write's byte, and the part of [*at, *at+left) in it. */
static struct unit *unit_at(const struct redo *redo, uint64_t at, uint64_t left, uint64_t *ret_part)
{
	uint64_t rest = redo->unit_bytes - at % redo->unit_bytes;

	*ret_part = left < rest ? left : rest;
	return &redo->units[at / redo->unit_bytes];
}

static void lose_volatile(struct redo *redo, uint64_t nr)
{
	atomic_fetch_sub_explicit(&redo->nr_volatile, nr, memory_order_relaxed);
	redo->forgotten_bytes += nr * redo->unit_bytes;
}

static void clear(struct redo *redo)
{
	shadow_clear(redo->durable);
	redo->head = redo->tail = redo->used = redo->nr_entries = 0;
	redo->wrap = redo->size_bytes;
	redo->floor = ++redo->seq;
	redo->forgotten_bytes = 0;
	atomic_store_explicit(&redo->nr_volatile, 0, memory_order_relaxed);
	if (redo->nr_touched > TOUCHED_MAX) {
		madvise(redo->units, units_bytes(redo), MADV_DONTNEED);
		redo->nr_touched = 0;
	}
}

static void settle(struct redo *redo, uint64_t at, uint64_t len)
{
	uint64_t seq = ++redo->seq, part;

	/* What came before it is durable too, on a disk that keeps order. */
	if (redo->in_order) {
		clear(redo);
		return;
	}
	for (uint64_t done = 0; done < len; done += part) {
		struct unit *unit = unit_at(redo, at + done, len - done, &part);

		unit->last = unit->settled = seq;
		unit->count = 0;
	}
	lose_volatile(redo, shadow_forget(redo->durable, at, len));
}

/* A write that would fill the log by itself does not enter it; a function of the length alone. */
static bool too_big(const struct redo *redo, uint64_t len)
{
	return len + 2ull * redo->unit_bytes > redo->size_bytes / 4;
}

void redo_before(struct redo *redo, uint64_t at, uint64_t len)
{
	uint64_t nr, part;

	if (too_big(redo, len))
		return;
	pthread_mutex_lock(&redo->lock);
	shadow_save(redo->durable, redo->store, at, len, false, &nr);
	atomic_fetch_add_explicit(&redo->nr_volatile, nr, memory_order_relaxed);
	for (uint64_t done = 0; done < len; done += part) {
		struct unit *unit = unit_at(redo, at + done, len - done, &part);

		if (unit->last <= redo->floor) {
			unit->count = unit->extra = 0;
			redo->nr_touched++;
		}
		unit->last = PINNED;
	}
	pthread_mutex_unlock(&redo->lock);
}

/* ------------------------------------------------------------------------------ the ring */

static struct entry *entry_at(const struct redo *redo, uint64_t at)
{
	return (struct entry *)(redo->ring + at);
}

static uint64_t next_entry(const struct redo *redo, uint64_t at)
{
	at += entry_at(redo, at)->bytes;
	return at == redo->wrap ? 0 : at;
}

/* Does the write still matter at @unit? */
static bool matters(const struct redo *redo, const struct entry *entry, const struct unit *unit)
{
	return entry->seq > unit->settled && entry->seq > redo->floor;
}

/* The oldest write becomes durable. */
static void destage(struct redo *redo)
{
	struct entry *entry = entry_at(redo, redo->head);
	uint64_t part;

	for (uint64_t done = 0; done < entry->len; done += part) {
		uint64_t at = entry->at + done;
		struct unit *unit = unit_at(redo, at, entry->len - done, &part);

		if (!matters(redo, entry, unit))
			continue;
		shadow_patch(redo->durable, at, entry->zero ? NULL : entry->data + done, part);
		unit->settled = entry->seq;
		unit->count--;
		if (unit->last == entry->seq)
			lose_volatile(redo, shadow_forget(redo->durable, at, part));
	}
	redo->used -= entry->bytes;
	redo->nr_entries--;
	redo->head = next_entry(redo, redo->head);
	if (redo->head == 0)
		redo->wrap = redo->size_bytes;
}

/* As many as were one write; of the one under way the parts to come follow, see redo_note(). */
static void destage_write(struct redo *redo)
{
	uint64_t group = entry_at(redo, redo->head)->group;

	do
		destage(redo);
	while (groups(redo) && redo->nr_entries && entry_at(redo, redo->head)->group == group);
	if (groups(redo) && group == redo->group)
		redo->through = group;
}

/* All parts of the write under way are durable, those that are in the log already included. */
static void go_through(struct redo *redo)
{
	uint64_t at = redo->head, nr = groups(redo) ? redo->nr_entries : 0;

	for (; nr; nr--, at = next_entry(redo, at)) {
		const struct entry *entry = entry_at(redo, at);

		if (entry->group == redo->group && !redo->in_order)
			settle(redo, entry->at, entry->len);
	}
	redo->through = redo->group;
}

/* Room for @bytes in one piece: true, and *ret_at. */
static bool find_room(struct redo *redo, uint64_t bytes, uint64_t *ret_at)
{
	if (!redo->nr_entries) {
		redo->head = redo->tail = 0;
		redo->wrap = redo->size_bytes;
	}
	if (redo->tail < redo->head || (redo->nr_entries && redo->tail == redo->head)) {
		*ret_at = redo->tail;
		return redo->head - redo->tail >= bytes;
	}
	if (redo->size_bytes - redo->tail >= bytes) {
		*ret_at = redo->tail;
		return true;
	}
	if (redo->head < bytes)
		return false;
	redo->wrap = redo->tail;
	*ret_at = 0;
	return true;
}

static bool is_full(const struct redo *redo, uint64_t bytes)
{
	return redo->used + bytes + redo_nr_volatile(redo) * redo->unit_bytes > redo->size_bytes;
}

/* Make room for @bytes; where they go. */
static uint64_t make_room(struct redo *redo, uint64_t bytes)
{
	uint64_t at;

	while (redo->nr_entries && is_full(redo, bytes))
		destage_write(redo);
	while (!find_room(redo, bytes, &at))
		destage_write(redo);
	if (redo->forgotten_bytes > redo->size_bytes) {
		shadow_trim(redo->durable);
		redo->forgotten_bytes = 0;
	}
	return at;
}

static void add(struct redo *redo, uint64_t in_ring, const struct entry *fields)
{
	struct entry *entry = entry_at(redo, in_ring);
	uint64_t part;

	*entry = *fields;
	/* Only where the write begins: how it is cut into parts is nobody's business. */
	if (redo->whole_writes && redo->begun != redo->group)
		entry->nth = redo->units[entry->at / redo->unit_bytes].extra++;
	redo->begun = redo->group;
	if (!entry->zero)
		store_peek(redo->store, entry->at, entry->data, entry->len);
	for (uint64_t done = 0; done < entry->len; done += part) {
		struct unit *unit = unit_at(redo, entry->at + done, entry->len - done, &part);

		unit->last = entry->seq;
		unit->count++;
	}
	redo->tail = in_ring + entry->bytes;
	redo->used += entry->bytes;
	redo->nr_entries++;
}

static void note(struct redo *redo, uint64_t at, uint64_t len, bool zero)
{
	uint64_t bytes = sizeof(struct entry) + (zero ? 0 : len), in_ring;

	bytes = (bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
	in_ring = make_room(redo, bytes);
	if (groups(redo) && redo->through == redo->group) {
		settle(redo, at, len);
		return;
	}
	add(redo, in_ring,
	    &(struct entry){ .seq = ++redo->seq,
			     .at = at,
			     .group = redo->group,
			     .bytes = bytes,
			     .len = (uint32_t)len,
			     .zero = zero });
}

void redo_note(struct redo *redo, uint64_t at, uint64_t len, bool zero)
{
	pthread_mutex_lock(&redo->lock);
	if (groups(redo) && redo->through == redo->group) {
		settle(redo, at, len);
	} else if (too_big(redo, len)) {
		go_through(redo);
		settle(redo, at, len);
	} else {
		note(redo, at, len, zero);
	}
	pthread_mutex_unlock(&redo->lock);
}

void redo_note_hole(struct redo *redo, uint64_t at, uint64_t len)
{
	uint64_t end = at + len, to;

	/* Each unit by itself is zero already, and in order whatever made it so comes before. */
	if (!redo->whole_writes || redo->in_order)
		return;
	pthread_mutex_lock(&redo->lock);
	for (at = shadow_next(redo->durable, at, end); at < end;
	     at = shadow_next(redo->durable, to, end)) {
		to = at + redo->unit_bytes;
		while (to < end && shadow_block(redo->durable, to))
			to += redo->unit_bytes;
		if (redo->through == redo->group)
			settle(redo, at, to - at);
		else
			note(redo, at, to - at, true);
	}
	pthread_mutex_unlock(&redo->lock);
}

void redo_settle(struct redo *redo, uint64_t at, uint64_t len)
{
	pthread_mutex_lock(&redo->lock);
	settle(redo, at, len);
	pthread_mutex_unlock(&redo->lock);
}

void redo_flush(struct redo *redo)
{
	pthread_mutex_lock(&redo->lock);
	clear(redo);
	pthread_mutex_unlock(&redo->lock);
}

/* ------------------------------------------------------------------------------ the cut */

struct taking {
	struct redo *redo;
	const struct power_cut *cut;
	struct snapshots *snapshots;
	struct power_cut_result result;
};

/* The store holds what is durable of the unit again. */
static void take_back(struct taking *taking, uint64_t at, const unsigned char *unit)
{
	struct store *store = taking->redo->store;

	if (taking->snapshots)
		snapshots_before(taking->snapshots, at, taking->redo->unit_bytes);
	store_mark(store, at, taking->redo->unit_bytes);
	memcpy(store_data(store) + at, unit, taking->redo->unit_bytes);
}

static void take_back_each(void *ctx, uint64_t at, const unsigned char *unit)
{
	take_back(ctx, at, unit);
}

static void apply(struct redo *redo, const struct entry *entry, uint64_t done, uint64_t len)
{
	unsigned char *to = store_data(redo->store) + entry->at + done;

	if (entry->zero)
		memset(to, 0, len);
	else
		memcpy(to, entry->data + done, len);
}

/* Which of the versions of a unit: how many of the writes that cover it have reached the medium. */
static uint32_t pick_version(const struct taking *taking, const struct unit *unit, uint64_t number)
{
	const struct power_cut *cut = taking->cut;

	switch (cut->keep) {
	case KEEP_NONE:
		return 0;
	case KEEP_ALL:
		return NEWEST;
	case KEEP_PATTERN:
		return cut_pattern_keeps(cut, taking->result.nr_volatile) ? NEWEST : 0;
	case KEEP_RANDOM:
		break;
	}
	if (rng_mix(cut->bits, 0, number) < cut->threshold)
		return NEWEST;
	return unit->count ? (uint32_t)rng_below(rng_mix(cut->bits, 1, number), unit->count) : 0;
}

static void cut_unit(void *ctx, uint64_t at, const unsigned char *durable)
{
	struct taking *taking = ctx;
	uint64_t number = at / taking->redo->unit_bytes;
	struct unit *unit = &taking->redo->units[number];

	unit->extra = pick_version(taking, unit, number);
	taking->result.nr_volatile++;
	if (unit->extra == NEWEST)
		return;
	taking->result.nr_lost++;
	take_back(taking, at, durable);
}

static void cut_units(struct taking *taking)
{
	struct redo *redo = taking->redo;
	uint64_t at = redo->head, part;

	shadow_each(redo->durable, cut_unit, taking);
	for (uint64_t i = 0; i < redo->nr_entries; i++, at = next_entry(redo, at)) {
		const struct entry *entry = entry_at(redo, at);

		for (uint64_t done = 0; done < entry->len; done += part) {
			struct unit *unit =
				unit_at(redo, entry->at + done, entry->len - done, &part);

			if (!matters(redo, entry, unit) || !unit->extra || unit->extra == NEWEST)
				continue;
			apply(redo, entry, done, part);
			unit->extra--;
		}
	}
}

/* What is left of an entry, as steps: units of it, or one for all of a write. */
static uint64_t steps_of(const struct redo *redo, const struct entry *entry)
{
	uint64_t part, steps = 0;

	for (uint64_t done = 0; done < entry->len; done += part)
		steps += matters(redo, entry,
				 unit_at(redo, entry->at + done, entry->len - done, &part));
	return steps;
}

static void apply_steps(struct redo *redo, const struct entry *entry, uint64_t steps)
{
	uint64_t part;

	for (uint64_t done = 0; done < entry->len && steps; done += part) {
		if (!matters(redo, entry,
			     unit_at(redo, entry->at + done, entry->len - done, &part)))
			continue;
		apply(redo, entry, done, part);
		steps--;
	}
}

/* The entries of one write, and how much of it there is to keep. */
struct write {
	uint64_t at, nr; /* in the ring */
	uint64_t end;    /* of its last entry: where the next one begins */
	uint64_t steps;
};

static struct write write_at(const struct redo *redo, uint64_t at, uint64_t left)
{
	struct write write = { .at = at, .end = at };
	uint64_t group = entry_at(redo, at)->group;

	while (write.nr < left && entry_at(redo, write.end)->group == group) {
		write.steps += steps_of(redo, entry_at(redo, write.end));
		write.end = next_entry(redo, write.end);
		write.nr++;
	}
	return write;
}

static uint64_t count_steps(const struct redo *redo)
{
	uint64_t at = redo->head, steps = 0;
	struct write write;

	for (uint64_t left = redo->nr_entries; left; left -= write.nr, at = write.end) {
		write = write_at(redo, at, left);
		steps += redo->whole_writes ? write.steps != 0 : write.steps;
	}
	return steps;
}

/* In order: how much of all there is survives. */
static uint64_t pick_prefix(const struct power_cut *cut, uint64_t total)
{
	uint64_t nr = 0;

	switch (cut->keep) {
	case KEEP_NONE:
		return 0;
	case KEEP_ALL:
		return total;
	case KEEP_PATTERN:
		while (nr < total && cut_pattern_keeps(cut, nr))
			nr++;
		return nr;
	case KEEP_RANDOM:
		break;
	}
	return cut->threshold ? rng_below(rng_mix(cut->bits, 0, 0), total + 1) : 0;
}

/* Not in order: does this write survive? */
static bool keeps_write(const struct taking *taking, const struct entry *first)
{
	const struct power_cut *cut = taking->cut;

	switch (cut->keep) {
	case KEEP_NONE:
		return false;
	case KEEP_ALL:
		return true;
	case KEEP_PATTERN:
		return cut_pattern_keeps(cut, taking->result.nr_volatile);
	case KEEP_RANDOM:
		break;
	}
	return rng_mix(cut->bits, 2ull + first->nth, first->at) < cut->threshold;
}

static void apply_write(struct redo *redo, const struct write *write, uint64_t steps)
{
	uint64_t at = write->at;

	for (uint64_t i = 0; i < write->nr; i++, at = next_entry(redo, at)) {
		const struct entry *entry = entry_at(redo, at);
		uint64_t all = steps_of(redo, entry);

		apply_steps(redo, entry, steps < all ? steps : all);
		steps -= steps < all ? steps : all;
	}
}

static void cut_writes(struct taking *taking)
{
	struct redo *redo = taking->redo;
	uint64_t at = redo->head, total = count_steps(redo), kept;
	uint64_t budget = redo->in_order ? pick_prefix(taking->cut, total) : 0;
	struct write write;

	if (taking->cut->keep != KEEP_ALL)
		shadow_each(redo->durable, take_back_each, taking);
	for (uint64_t left = redo->nr_entries; left; left -= write.nr, at = write.end) {
		uint64_t steps;

		write = write_at(redo, at, left);
		steps = redo->whole_writes ? write.steps != 0 : write.steps;
		if (!steps)
			continue;
		if (redo->in_order)
			kept = budget < steps ? budget : steps;
		else
			kept = keeps_write(taking, entry_at(redo, at)) ? steps : 0;
		budget -= redo->in_order ? kept : 0;
		if (kept && taking->cut->keep != KEEP_ALL)
			apply_write(redo, &write, redo->whole_writes ? write.steps : kept);
		taking->result.nr_volatile += steps;
		taking->result.nr_lost += steps - kept;
	}
}

_cold_ void redo_cut(struct redo *redo, const struct power_cut *cut, struct snapshots *snapshots,
		     struct power_cut_result *ret_result)
{
	struct taking taking = { .redo = redo, .cut = cut, .snapshots = snapshots };

	pthread_mutex_lock(&redo->lock);
	if (groups(redo))
		cut_writes(&taking);
	else
		cut_units(&taking);
	clear(redo);
	pthread_mutex_unlock(&redo->lock);
	*ret_result = taking.result;
}
