/* SPDX-License-Identifier: MIT */
/*
 * Writes that some units do not know of, found by unit. What it costs to add one, to take it out or
 * to ask for a unit does not grow with how many there are, but for those that are the answer.
 * One thread.
 */
#ifndef FAULTS_CRASH_SKIPPED_H
#define FAULTS_CRASH_SKIPPED_H

#include <stddef.h>
#include <stdint.h>

#define CRASH_SKIPPED_LEVELS 55 /* units of 512 bytes or more, 2^63 bytes */

struct crash_skipped_item {
	struct crash_skipped_item *next;
	uint32_t write;
};

/* The writes of one run of 2^level units, by submission. */
struct crash_skipped_run {
	struct crash_skipped_run *next; /* in its bucket */
	struct crash_skipped_item *first, *last;
	uint64_t number; /* of the run among those of its level */
	uint16_t disk;
	uint8_t level;
};

/* All zero: empty. */
struct crash_skipped {
	struct crash_skipped_run **buckets;
	size_t nr_buckets, nr_runs;
	size_t nr_at[CRASH_SKIPPED_LEVELS]; /* runs of each level */
	uint32_t *found;                    /* the answer */
	size_t room_found;
};

void crash_skipped_free(struct crash_skipped *skipped);
/*
 * A write of units @from to @end (not included) of @disk, submitted after all that were added
 * before. -ENOMEM: it is not in there.
 */
int crash_skipped_add(struct crash_skipped *skipped, uint32_t write, uint16_t disk, uint64_t from,
		      uint64_t end);
/* Take out what was added with the same words. */
void crash_skipped_drop(struct crash_skipped *skipped, uint32_t write, uint16_t disk, uint64_t from,
			uint64_t end);
/* Those that cover the unit, by submission; *ret_writes: valid until the next call. -ENOMEM. */
int crash_skipped_find(struct crash_skipped *skipped, uint16_t disk, uint64_t unit,
		       const uint32_t **ret_writes, size_t *ret_nr);

#endif
