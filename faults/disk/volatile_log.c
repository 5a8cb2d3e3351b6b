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
#include "faults/disk/volatile_log.h"

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

struct log_unit {
	uint64_t last, settled;
	uint32_t count;
	uint32_t extra; /* units: entries to apply, in a cut; writes: how many have begun here */
};

struct log_entry {
	uint64_t seq, at, group;
	uint64_t bytes; /* in the ring, this header included */
	uint32_t len;
	uint32_t nth; /* of the writes that began at this place since the last flush */
	bool zero;
	_Alignas(ALIGN) unsigned char data[];
};

struct volatile_log {
	struct store *store;
	struct shadow *durable;
	uint32_t unit_bytes;
	bool whole_writes, in_order;
	uint64_t size_bytes;
	pthread_mutex_t lock, turn;
	struct log_unit *units;
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

static bool groups(const struct volatile_log *log)
{
	return log->whole_writes || log->in_order;
}

static uint64_t units_bytes(const struct volatile_log *log)
{
	return (store_size(log->store) / log->unit_bytes + 1) * sizeof(struct log_unit);
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

int volatile_log_create(const struct volatile_log_options *options, struct volatile_log **ret_log)
{
	struct volatile_log *log =
		fail_alloc("faults/disk/volatile_log/alloc", calloc(1, sizeof(*log)));

	if (!log)
		return -ENOMEM;
	log->store = options->store;
	log->durable = options->durable;
	log->unit_bytes = options->unit_bytes;
	log->whole_writes = options->whole_writes;
	log->in_order = options->in_order;
	log->size_bytes = log->wrap = options->size_bytes & ~(uint64_t)(ALIGN - 1);
	pthread_mutex_init(&log->lock, NULL);
	init_turn(&log->turn);
	log->units = sparse_map(units_bytes(log));
	log->ring = sparse_map(log->size_bytes);
	if (!log->units || !log->ring) {
		volatile_log_free(log);
		return -ENOMEM;
	}
	*ret_log = log;
	return 0;
}

struct volatile_log *volatile_log_free(struct volatile_log *log)
{
	if (!log)
		return NULL;
	sparse_unmap(log->units, units_bytes(log));
	sparse_unmap(log->ring, log->size_bytes);
	pthread_mutex_destroy(&log->lock);
	pthread_mutex_destroy(&log->turn);
	free(log);
	return NULL;
}

uint64_t volatile_log_nr_volatile(const struct volatile_log *log)
{
	return atomic_load_explicit(&log->nr_volatile, memory_order_relaxed);
}

void volatile_log_begin(struct volatile_log *log)
{
	if (!groups(log))
		return;
	pthread_mutex_lock(&log->turn);
	if (log->depth++ == 0)
		log->group++;
}

void volatile_log_end(struct volatile_log *log)
{
	if (!groups(log))
		return;
	log->depth--;
	pthread_mutex_unlock(&log->turn);
}

/* ------------------------------------------------------------------------------ units */

/* The unit of a volatile write's byte, and the part of [*at, *at+left) in it. */
static struct log_unit *unit_at(const struct volatile_log *log, uint64_t at, uint64_t left,
				uint64_t *ret_part)
{
	uint64_t rest = log->unit_bytes - at % log->unit_bytes;

	*ret_part = left < rest ? left : rest;
	return &log->units[at / log->unit_bytes];
}

static void lose_volatile(struct volatile_log *log, uint64_t nr)
{
	atomic_fetch_sub_explicit(&log->nr_volatile, nr, memory_order_relaxed);
	log->forgotten_bytes += nr * log->unit_bytes;
}

static void clear(struct volatile_log *log)
{
	shadow_clear(log->durable);
	log->head = log->tail = log->used = log->nr_entries = 0;
	log->wrap = log->size_bytes;
	log->floor = ++log->seq;
	log->forgotten_bytes = 0;
	atomic_store_explicit(&log->nr_volatile, 0, memory_order_relaxed);
	if (log->nr_touched > TOUCHED_MAX) {
		madvise(log->units, units_bytes(log), MADV_DONTNEED);
		log->nr_touched = 0;
	}
}

static void settle(struct volatile_log *log, uint64_t at, uint64_t len)
{
	uint64_t seq = ++log->seq, part;

	/* What came before it is durable too, on a disk that keeps order. */
	if (log->in_order) {
		clear(log);
		return;
	}
	for (uint64_t done = 0; done < len; done += part) {
		struct log_unit *unit = unit_at(log, at + done, len - done, &part);

		unit->last = unit->settled = seq;
		unit->count = 0;
	}
	lose_volatile(log, shadow_forget(log->durable, at, len));
}

/* A write that would fill the log by itself does not enter it; a function of the length alone. */
static bool too_big(const struct volatile_log *log, uint64_t len)
{
	return len + 2ull * log->unit_bytes > log->size_bytes / 4;
}

void volatile_log_before(struct volatile_log *log, uint64_t at, uint64_t len)
{
	uint64_t nr, part;

	if (too_big(log, len))
		return;
	pthread_mutex_lock(&log->lock);
	shadow_save(log->durable, log->store, at, len, false, &nr);
	atomic_fetch_add_explicit(&log->nr_volatile, nr, memory_order_relaxed);
	for (uint64_t done = 0; done < len; done += part) {
		struct log_unit *unit = unit_at(log, at + done, len - done, &part);

		if (unit->last <= log->floor) {
			unit->count = unit->extra = 0;
			log->nr_touched++;
		}
		unit->last = PINNED;
	}
	pthread_mutex_unlock(&log->lock);
}

/* ------------------------------------------------------------------------------ the ring */

static struct log_entry *entry_at(const struct volatile_log *log, uint64_t at)
{
	return (struct log_entry *)(log->ring + at);
}

static uint64_t next_entry(const struct volatile_log *log, uint64_t at)
{
	at += entry_at(log, at)->bytes;
	return at == log->wrap ? 0 : at;
}

/* Does the write still matter at @unit? */
static bool matters(const struct volatile_log *log, const struct log_entry *entry,
		    const struct log_unit *unit)
{
	return entry->seq > unit->settled && entry->seq > log->floor;
}

/* The oldest write becomes durable. */
static void destage(struct volatile_log *log)
{
	struct log_entry *entry = entry_at(log, log->head);
	uint64_t part;

	for (uint64_t done = 0; done < entry->len; done += part) {
		uint64_t at = entry->at + done;
		struct log_unit *unit = unit_at(log, at, entry->len - done, &part);

		if (!matters(log, entry, unit))
			continue;
		shadow_patch(log->durable, at, entry->zero ? NULL : entry->data + done, part);
		unit->settled = entry->seq;
		unit->count--;
		if (unit->last == entry->seq)
			lose_volatile(log, shadow_forget(log->durable, at, part));
	}
	log->used -= entry->bytes;
	log->nr_entries--;
	log->head = next_entry(log, log->head);
	if (log->head == 0)
		log->wrap = log->size_bytes;
}

/* As many as were one write; of the one under way the parts to come follow, see volatile_log_note(). */
static void destage_write(struct volatile_log *log)
{
	uint64_t group = entry_at(log, log->head)->group;

	do
		destage(log);
	while (groups(log) && log->nr_entries && entry_at(log, log->head)->group == group);
	if (groups(log) && group == log->group)
		log->through = group;
}

/* All parts of the write under way are durable, those that are in the log already included. */
static void go_through(struct volatile_log *log)
{
	uint64_t at = log->head, nr = groups(log) ? log->nr_entries : 0;

	for (; nr; nr--, at = next_entry(log, at)) {
		const struct log_entry *entry = entry_at(log, at);

		if (entry->group == log->group && !log->in_order)
			settle(log, entry->at, entry->len);
	}
	log->through = log->group;
}

/* Room for @bytes in one piece: true, and *ret_at. */
static bool find_room(struct volatile_log *log, uint64_t bytes, uint64_t *ret_at)
{
	if (!log->nr_entries) {
		log->head = log->tail = 0;
		log->wrap = log->size_bytes;
	}
	if (log->tail < log->head || (log->nr_entries && log->tail == log->head)) {
		*ret_at = log->tail;
		return log->head - log->tail >= bytes;
	}
	if (log->size_bytes - log->tail >= bytes) {
		*ret_at = log->tail;
		return true;
	}
	if (log->head < bytes)
		return false;
	log->wrap = log->tail;
	*ret_at = 0;
	return true;
}

static bool is_full(const struct volatile_log *log, uint64_t bytes)
{
	return log->used + bytes + volatile_log_nr_volatile(log) * log->unit_bytes >
	       log->size_bytes;
}

/* Make room for @bytes; where they go. */
static uint64_t make_room(struct volatile_log *log, uint64_t bytes)
{
	uint64_t at;

	while (log->nr_entries && is_full(log, bytes))
		destage_write(log);
	while (!find_room(log, bytes, &at))
		destage_write(log);
	if (log->forgotten_bytes > log->size_bytes) {
		shadow_trim(log->durable);
		log->forgotten_bytes = 0;
	}
	return at;
}

static void add(struct volatile_log *log, uint64_t in_ring, const struct log_entry *fields)
{
	struct log_entry *entry = entry_at(log, in_ring);
	uint64_t part;

	*entry = *fields;
	/* Only where the write begins: how it is cut into parts is nobody's business. */
	if (log->whole_writes && log->begun != log->group)
		entry->nth = log->units[entry->at / log->unit_bytes].extra++;
	log->begun = log->group;
	if (!entry->zero)
		store_peek(log->store, entry->at, entry->data, entry->len);
	for (uint64_t done = 0; done < entry->len; done += part) {
		struct log_unit *unit = unit_at(log, entry->at + done, entry->len - done, &part);

		unit->last = entry->seq;
		unit->count++;
	}
	log->tail = in_ring + entry->bytes;
	log->used += entry->bytes;
	log->nr_entries++;
}

static void note(struct volatile_log *log, uint64_t at, uint64_t len, bool zero)
{
	uint64_t bytes = sizeof(struct log_entry) + (zero ? 0 : len), in_ring;

	bytes = (bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
	in_ring = make_room(log, bytes);
	if (groups(log) && log->through == log->group) {
		settle(log, at, len);
		return;
	}
	add(log, in_ring,
	    &(struct log_entry){ .seq = ++log->seq,
				 .at = at,
				 .group = log->group,
				 .bytes = bytes,
				 .len = (uint32_t)len,
				 .zero = zero });
}

void volatile_log_note(struct volatile_log *log, uint64_t at, uint64_t len, bool zero)
{
	pthread_mutex_lock(&log->lock);
	if (groups(log) && log->through == log->group) {
		settle(log, at, len);
	} else if (too_big(log, len)) {
		go_through(log);
		settle(log, at, len);
	} else {
		note(log, at, len, zero);
	}
	pthread_mutex_unlock(&log->lock);
}

void volatile_log_note_hole(struct volatile_log *log, uint64_t at, uint64_t len)
{
	uint64_t end = at + len, to;

	/* Each unit by itself is zero already, and in order whatever made it so comes before. */
	if (!log->whole_writes || log->in_order)
		return;
	pthread_mutex_lock(&log->lock);
	for (at = shadow_next(log->durable, at, end); at < end;
	     at = shadow_next(log->durable, to, end)) {
		to = at + log->unit_bytes;
		while (to < end && shadow_block(log->durable, to))
			to += log->unit_bytes;
		if (log->through == log->group)
			settle(log, at, to - at);
		else
			note(log, at, to - at, true);
	}
	pthread_mutex_unlock(&log->lock);
}

void volatile_log_settle(struct volatile_log *log, uint64_t at, uint64_t len)
{
	pthread_mutex_lock(&log->lock);
	settle(log, at, len);
	pthread_mutex_unlock(&log->lock);
}

void volatile_log_flush(struct volatile_log *log)
{
	pthread_mutex_lock(&log->lock);
	clear(log);
	pthread_mutex_unlock(&log->lock);
}

/* ------------------------------------------------------------------------------ the cut */

struct log_cut_context {
	struct volatile_log *log;
	const struct power_cut *cut;
	struct snapshots *snapshots;
	struct power_cut_result result;
};

/* The store holds what is durable of the unit again. */
static void take_back(struct log_cut_context *context, uint64_t at, const unsigned char *unit)
{
	struct store *store = context->log->store;

	if (context->snapshots)
		snapshots_before(context->snapshots, at, context->log->unit_bytes);
	store_mark(store, at, context->log->unit_bytes);
	memcpy(store_data(store) + at, unit, context->log->unit_bytes);
}

static void take_back_each(void *ctx, uint64_t at, const unsigned char *unit)
{
	take_back(ctx, at, unit);
}

static void apply(struct volatile_log *log, const struct log_entry *entry, uint64_t done,
		  uint64_t len)
{
	unsigned char *to = store_data(log->store) + entry->at + done;

	if (entry->zero)
		memset(to, 0, len);
	else
		memcpy(to, entry->data + done, len);
}

/* Which of the versions of a unit: how many of the writes that cover it are durable. */
static uint32_t pick_version(const struct log_cut_context *context, const struct log_unit *unit,
			     uint64_t number)
{
	const struct power_cut *cut = context->cut;

	switch (cut->keep) {
	case KEEP_NONE:
		return 0;
	case KEEP_ALL:
		return NEWEST;
	case KEEP_PATTERN:
		return cut_pattern_keeps(cut, context->result.nr_volatile) ? NEWEST : 0;
	case KEEP_RANDOM:
		break;
	}
	if (rng_mix(cut->bits, 0, number) < cut->threshold)
		return NEWEST;
	return unit->count ? (uint32_t)rng_below(rng_mix(cut->bits, 1, number), unit->count) : 0;
}

static void cut_unit(void *ctx, uint64_t at, const unsigned char *durable)
{
	struct log_cut_context *context = ctx;
	uint64_t number = at / context->log->unit_bytes;
	struct log_unit *unit = &context->log->units[number];

	unit->extra = pick_version(context, unit, number);
	context->result.nr_volatile++;
	if (unit->extra == NEWEST)
		return;
	context->result.nr_lost++;
	take_back(context, at, durable);
}

static void cut_units(struct log_cut_context *context)
{
	struct volatile_log *log = context->log;
	uint64_t at = log->head, part;

	shadow_each(log->durable, cut_unit, context);
	for (uint64_t i = 0; i < log->nr_entries; i++, at = next_entry(log, at)) {
		const struct log_entry *entry = entry_at(log, at);

		for (uint64_t done = 0; done < entry->len; done += part) {
			struct log_unit *unit =
				unit_at(log, entry->at + done, entry->len - done, &part);

			if (!matters(log, entry, unit) || !unit->extra || unit->extra == NEWEST)
				continue;
			apply(log, entry, done, part);
			unit->extra--;
		}
	}
}

/* What is left of an entry, as steps: units of it, or one for all of a write. */
static uint64_t steps_of(const struct volatile_log *log, const struct log_entry *entry)
{
	uint64_t part, steps = 0;

	for (uint64_t done = 0; done < entry->len; done += part)
		steps += matters(log, entry,
				 unit_at(log, entry->at + done, entry->len - done, &part));
	return steps;
}

static void apply_steps(struct volatile_log *log, const struct log_entry *entry, uint64_t steps)
{
	uint64_t part;

	for (uint64_t done = 0; done < entry->len && steps; done += part) {
		if (!matters(log, entry, unit_at(log, entry->at + done, entry->len - done, &part)))
			continue;
		apply(log, entry, done, part);
		steps--;
	}
}

/* The entries of one write, and how much of it there is to keep. */
struct write {
	uint64_t at, nr; /* in the ring */
	uint64_t end;    /* of its last entry: where the next one begins */
	uint64_t steps;
};

static struct write write_at(const struct volatile_log *log, uint64_t at, uint64_t left)
{
	struct write write = { .at = at, .end = at };
	uint64_t group = entry_at(log, at)->group;

	while (write.nr < left && entry_at(log, write.end)->group == group) {
		write.steps += steps_of(log, entry_at(log, write.end));
		write.end = next_entry(log, write.end);
		write.nr++;
	}
	return write;
}

static uint64_t count_steps(const struct volatile_log *log)
{
	uint64_t at = log->head, steps = 0;
	struct write write;

	for (uint64_t left = log->nr_entries; left; left -= write.nr, at = write.end) {
		write = write_at(log, at, left);
		steps += log->whole_writes ? write.steps != 0 : write.steps;
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
static bool keeps_write(const struct log_cut_context *context, const struct log_entry *first)
{
	const struct power_cut *cut = context->cut;

	switch (cut->keep) {
	case KEEP_NONE:
		return false;
	case KEEP_ALL:
		return true;
	case KEEP_PATTERN:
		return cut_pattern_keeps(cut, context->result.nr_volatile);
	case KEEP_RANDOM:
		break;
	}
	return rng_mix(cut->bits, 2ull + first->nth, first->at) < cut->threshold;
}

static void apply_write(struct volatile_log *log, const struct write *write, uint64_t steps)
{
	uint64_t at = write->at;

	for (uint64_t i = 0; i < write->nr; i++, at = next_entry(log, at)) {
		const struct log_entry *entry = entry_at(log, at);
		uint64_t all = steps_of(log, entry);

		apply_steps(log, entry, steps < all ? steps : all);
		steps -= steps < all ? steps : all;
	}
}

static void cut_writes(struct log_cut_context *context)
{
	struct volatile_log *log = context->log;
	uint64_t at = log->head, total = count_steps(log), kept;
	uint64_t budget = log->in_order ? pick_prefix(context->cut, total) : 0;
	struct write write;

	if (context->cut->keep != KEEP_ALL)
		shadow_each(log->durable, take_back_each, context);
	for (uint64_t left = log->nr_entries; left; left -= write.nr, at = write.end) {
		uint64_t steps;

		write = write_at(log, at, left);
		steps = log->whole_writes ? write.steps != 0 : write.steps;
		if (!steps)
			continue;
		if (log->in_order)
			kept = budget < steps ? budget : steps;
		else
			kept = keeps_write(context, entry_at(log, at)) ? steps : 0;
		budget -= log->in_order ? kept : 0;
		if (kept && context->cut->keep != KEEP_ALL)
			apply_write(log, &write, log->whole_writes ? write.steps : kept);
		context->result.nr_volatile += steps;
		context->result.nr_lost += steps - kept;
	}
}

_cold_ void volatile_log_cut(struct volatile_log *log, const struct power_cut *cut,
			     struct snapshots *snapshots, struct power_cut_result *ret_result)
{
	struct log_cut_context context = { .log = log, .cut = cut, .snapshots = snapshots };

	pthread_mutex_lock(&log->lock);
	if (groups(log))
		cut_writes(&context);
	else
		cut_units(&context);
	clear(log);
	pthread_mutex_unlock(&log->lock);
	*ret_result = context.result;
}
