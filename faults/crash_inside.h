/* SPDX-License-Identifier: MIT */
/* A cursor from inside: for the files crash*.c alone. */
#ifndef FAULTS_CRASH_INSIDE_H
#define FAULTS_CRASH_INSIDE_H

#include "base/rng.h"
#include "faults/crash_bits.h"
#include "faults/crash_flow.h"

#include <pthread.h>
#include <stdatomic.h>

/* A write in a unit, not replaced there, and the content that it leaves. */
struct crash_entry {
	const unsigned char *data; /* NULL: zeroes */
	uint64_t hash;             /* of the content; 0 exactly when it is zero */
	uint32_t write;
	uint32_t from, to;  /* its part of the unit */
	uint16_t candidate; /* valid while the unit is not stale */
	bool durable;
	bool fresh; /* durable since the image was made up last */
	bool own;   /* the data is freed with it: it covers only a part of the unit */
};

/* A unit that is not settled: some write to it is not durable, or contents differ. */
struct crash_unit {
	struct crash_unit *next; /* in its bucket */
	uint64_t number;
	uint64_t image_hash;
	struct crash_entry *entries; /* by submission */
	struct crash_candidate *candidates;
	uint32_t nr, room;
	uint32_t nr_candidates;
	uint32_t first; /* entry that leaves something else than the image; valid as candidates */
	uint32_t slot;  /* in crash->live */
	uint16_t disk;
	bool stale;  /* candidates are to be made again */
	bool queued; /* in crash->queue */
};

struct crash_disk {
	unsigned char *bytes;
	int fd;
	uint64_t size_bytes, nr_units;
	/* Units that are in the table, or whose image is not zero. */
	struct crash_bits used;
	int64_t last_durable; /* index of the last submitted durable write; -1 */
	size_t nr_open;
	uint32_t order_choice; /* CRASH_ORDER: the disk's choice; UINT32_MAX: none */
};

enum { WRITE_DURABLE = 1, WRITE_SEEN = 2 };

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
	uint32_t most_entries;
	bool parts; /* some write covers only a part of a unit */
	/* Writes in flight, by submission, that some unit does not know of, since it is zero all
	 * the same; with parts, also those completed that follow one. */
	uint32_t *skipped;
	size_t nr_skipped, room_skipped;
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
	uint32_t *ordinals; /* CRASH_ORDER: 0, or which of its disk after the last durable one */
	size_t nr_volatiles, room_volatiles;
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

/* crash.c: the size of units that options ask for, unchecked. */
uint32_t crash_unit_bytes(const struct journal *journal, const struct crash_options *options);

/* Does some write cover only a part of a unit? */
bool crash_has_parts(const struct journal *journal, const struct crash_options *options);

/* crash_unit.c: what happens to units. -ENOMEM from each that returns int. */
uint64_t crash_content_hash(const unsigned char *data, uint32_t len);
int crash_load_extents(struct crash *crash);
int crash_submit(struct crash *crash, uint32_t write);
void crash_complete(struct crash *crash, uint32_t write);
int crash_settle(struct crash *crash, const uint32_t *writes, size_t nr);
void crash_drop_units(struct crash *crash);

/* crash_choice.c: what is made when it is asked for. crash_make_room(): also -E2BIG. */
int crash_make_room(struct crash *crash);
struct crash *crash_made(const struct crash *crash);
/* Does this write of crash_volatile() survive? CRASH_WRITE, CRASH_ORDER. */
bool crash_survives(const struct crash *crash, const uint16_t *picks, uint32_t write);
size_t crash_volatile_index(const struct crash *crash, uint32_t write);

#endif
