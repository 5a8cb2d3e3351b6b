/* SPDX-License-Identifier: MIT */
/* A cursor from inside: for the files of this folder alone. */
#ifndef FAULTS_CRASH_INTERNAL_H
#define FAULTS_CRASH_INTERNAL_H

#include "base/rng.h"
#include "faults/crash/bits.h"
#include "faults/crash/flow.h"
#include "faults/crash/skipped.h"

#include <pthread.h>
#include <stdatomic.h>

/* A write in a unit, not replaced there. */
struct crash_entry {
	const unsigned char *data; /* of its part of the unit; NULL: zeroes */
	uint64_t hash;             /* of the data; 0 exactly when it is zero */
	uint32_t write;
	uint32_t from, to; /* its part of the unit */
	/* That is there after it, or CRASH_UNMADE; valid while the unit is not stale. */
	uint32_t candidate;
	bool durable;    /* in this unit: in every version that it may still have */
	bool fresh;      /* durable since the image was made up last */
	uint16_t tangle; /* of crash->tangles, from 1; 0: none. Valid if the unit is tangled */
};

#define CRASH_UNMADE UINT32_MAX /* there are more contents than picks: this one has none */

/* Of a unit with writes to a part of it, see mix.c: */
struct crash_mix {
	uint32_t *borders; /* of the parts, nr_parts + 1 */
	uint32_t nr_parts;
	uint32_t *writers; /* for each candidate and part: the last to write there, an entry */
	bool missing;      /* there may be more candidates */
	/* Contents of candidates from 1 on, in order: of the first chunk 4, of each next one twice
	 * as many. */
	unsigned char *chunks[16];
	unsigned int nr_chunks;
	uint32_t nr_contents;
};

/* A unit that is not settled: some write to it is not durable, or contents differ. */
struct crash_unit {
	struct crash_unit *next; /* in its bucket */
	uint64_t number;
	uint64_t image_hash;
	struct crash_entry *entries;        /* by submission */
	struct crash_candidate *candidates; /* room for one more than for entries, or for all */
	struct crash_mix *mix; /* if it is mixed, and its candidates are made; their data is its */
	uint32_t nr, room;
	uint32_t nr_candidates;
	uint32_t first; /* entry that leaves something else than the image; valid as candidates */
	uint32_t slot;  /* in crash->live */
	uint64_t end;   /* no entry is in flight behind it */
	/* In crash->changed; the link to it is NULL where it is not. */
	struct crash_unit *next_changed, **link_changed;
	uint16_t disk;
	bool mixed;   /* some entry covers only a part */
	bool stale;   /* candidates are to be made again */
	bool queued;  /* in crash->queue */
	bool thinned; /* it has more candidates than are made; valid as candidates */
	bool tangled; /* see tangle.c: some were in flight together and leave other things */
};

/* Writes of one disk that were in flight together and lie over each other, see tangle.c. */
#define CRASH_TANGLE_MAX 8u
struct crash_tangle {
	uint32_t writes[CRASH_TANGLE_MAX]; /* by submission */
	uint32_t nr;
	uint32_t nr_turns; /* orders, the first is that of submission; 0: too many, none is made */
	uint8_t (*turns)[CRASH_TANGLE_MAX]; /* for each order: the place in it of each write */
	/* For each set of the writes and each order: the first that leaves the same of the set. And
	 * then for each set how many different ones there are. */
	uint16_t *same;
	uint32_t choice;
	uint16_t disk;
	uint8_t durable; /* a bit for each write: they are in every set */
};

struct crash_disk {
	unsigned char *bytes;
	int fd;
	uint64_t size_bytes, nr_units;
	/* Units that are in the table, or whose image is not zero. */
	struct crash_bits used;
	size_t nr_open;
	/* CRASH_ORDER, see order.c: the disk's first choice; its volatile writes in rows. */
	uint32_t order_choice, first_row, nr_rows;
	uint64_t nr_states; /* of it alone; UINT64_MAX: too many */
	double log2_states;
};

enum { WRITE_DURABLE = 1, WRITE_SEEN = 2, WRITE_SKIPPED = 4, WRITE_TANGLED = 8 };

struct crash {
	const struct journal *journal;
	struct crash_options options;
	unsigned int unit_shift;
	uint64_t step;
	size_t next_event;
	struct crash_flow flow;
	struct crash_disk *disks;
	uint64_t image_hash; /* of all images */
	/* Units that are not settled. */
	struct crash_unit **buckets;
	size_t nr_buckets;
	struct crash_unit **live;
	size_t nr_live, room_live;
	struct crash_unit **queue; /* to settle after this event; room_live */
	size_t nr_queue;
	struct crash_unit *changed; /* entries came or went: those mixed are to be mixed again */
	uint32_t most_entries;
	bool parts;    /* some write covers only a part of a unit */
	bool overlaps; /* writes to a unit were in flight together */
	/* CRASH_WRITE, CRASH_ORDER: of the moment. */
	struct crash_tangle *tangles;
	uint32_t nr_tangles;
	bool lacks_orders; /* there are more orders than are made */
	/* Writes in flight that some unit does not know of, since it is zero all the same. */
	struct crash_skipped skipped;
	/* Submitted, not durable, by submission; and durable ones that are yet to be taken out. */
	uint32_t *open;
	size_t nr_open, room_open, nr_closed;
	uint8_t *writes; /* for each write of the journal: WRITE_* */
	/* A run of bytes of an image that are to become zero. */
	uint64_t zero_at, zero_end;
	uint16_t zero_disk;
	/* Made when first asked for after a move; the room is made by the move. */
	pthread_mutex_t lock;
	atomic_bool made;
	struct crash_unit **units; /* with more than one candidate, by place; room_live */
	size_t nr_units;
	struct crash_choice *choices;
	size_t nr_choices, room_choices;
	uint32_t *volatiles;
	size_t nr_volatiles, room_volatiles;
	/* CRASH_ORDER, for each volatile write: which of its disk it is, from 1; its own choice
	 * (0: none, it is never missing); by disk. And room for as many. */
	uint32_t *ordinals, *bits, *rows, *flight;
	size_t room_order;
	uint32_t *scratch; /* a hash table of candidates */
	size_t room_scratch;
	bool missing; /* some states are not known; made with the lists */
};

static inline uint64_t unit_at(const struct crash *crash, const struct crash_unit *unit)
{
	return unit->number << crash->unit_shift;
}

/* The last unit of a disk may be shorter. */
static inline uint32_t unit_len(const struct crash *crash, uint16_t disk, uint64_t number)
{
	uint64_t at = number << crash->unit_shift, left = crash->disks[disk].size_bytes - at;

	return left < crash->options.unit_bytes ? (uint32_t)left : crash->options.unit_bytes;
}

/* What a unit with content of this hash adds to the hash of all disks. */
static inline uint64_t place_hash(uint64_t hash, uint16_t disk, uint64_t at)
{
	return hash ? rng_mix(hash, disk, at) : 0;
}

static inline bool is_durable(const struct crash *crash, uint32_t write)
{
	return crash->writes[write] & WRITE_DURABLE;
}

/* Of a volatile write: its place in crash->volatiles, which are made. */
static inline size_t crash_volatile_index(const struct crash *crash, uint32_t write)
{
	size_t from = 0, to = crash->nr_volatiles;

	while (to - from > 1) {
		size_t middle = from + (to - from) / 2;

		if (crash->volatiles[middle] <= write)
			from = middle;
		else
			to = middle;
	}
	return from;
}

/* crash.c: the size of units that options ask for, unchecked. */
uint32_t crash_unit_bytes(const struct journal *journal, const struct crash_options *options);

/* Does some write cover only a part of a unit? */
bool crash_has_parts(const struct journal *journal, const struct crash_options *options);

/* content.c: 0 exactly where all is zero (or NULL). */
uint64_t crash_content_hash(const unsigned char *data, uint32_t len);
/* Bytes [@from, @to) of the unit, which the entry covers. */
void crash_put_entry(unsigned char *unit, const struct crash_entry *entry, uint32_t from,
		     uint32_t to);

/* unit.c: what happens to units. -ENOMEM from each that returns int. */
int crash_load_extents(struct crash *crash);
int crash_submit(struct crash *crash, uint32_t write);
void crash_complete(struct crash *crash, uint32_t write);
void crash_settle(struct crash *crash, const uint32_t *writes, size_t nr);
void crash_drop_units(struct crash *crash);

/* mix.c: the candidates of a mixed unit. -ENOMEM. And forget them. */
int crash_mix(struct crash *crash, struct crash_unit *unit);
/* unit.c: those that changed since the last time. -ENOMEM. */
int crash_mix_changed(struct crash *crash);
void crash_unmix(struct crash_unit *unit);
/* Some part of the entry is not in this candidate, nor anything that was submitted after it. */
bool crash_mix_lacks(const struct crash_unit *unit, uint32_t entry, uint16_t candidate);
/* The candidate that the entries that are @there leave in order of submission; @otherwise: it is
 * not among those that are known. */
typedef bool (*crash_is_there_fn)(const void *ctx, const struct crash_unit *unit, uint32_t entry);
uint16_t crash_mix_find(const struct crash_unit *unit, crash_is_there_fn there, const void *ctx,
			uint16_t otherwise);

/* tangle.c: orders of whole writes. Make those of the moment, -ENOMEM; and forget them. */
int crash_tangle(struct crash *crash);
void crash_untangle(struct crash *crash);
/* Of two entries of a tangled unit, in the state of these picks. */
bool crash_comes_later(const struct crash *crash, const uint16_t *picks,
		       const struct crash_entry *entry, const struct crash_entry *than);
/* A choice for each tangle of the disk. */
void crash_choose_turns(struct crash *crash, uint16_t disk);
/* How many orders differ, over all sets with the writes of @there and some of @open (bits). */
uint64_t crash_count_turns(const struct crash_tangle *tangle, uint32_t there, uint32_t open);

/* choice.c: what is made when it is asked for. */
int crash_make_room(struct crash *crash);
struct crash *crash_made(const struct crash *crash);
/* Does this write of crash_volatile() survive? CRASH_WRITE, CRASH_ORDER. */
bool crash_survives(const struct crash *crash, const uint16_t *picks, uint32_t write);

/* order.c: the same for a disk that keeps an order. The lists are made but for the first. */
void crash_choose_orders(struct crash *crash);
bool crash_survives_in_order(const struct crash *crash, const uint16_t *picks, uint32_t write);
/* Does the choice of this volatile write mean anything where its disk stops? */
bool crash_is_choice_in_order(const struct crash *crash, const uint16_t *picks, uint32_t write);
/* @picks need not be canonical. */
void crash_survivors_in_order(const struct crash *crash, const bool *survives, uint16_t *picks);

#endif
