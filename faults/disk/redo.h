/* SPDX-License-Identifier: MIT */
/*
 * The volatile writes of a cache that knows its versions: their contents, in the order in which
 * the disk carried them out. cache.h says what the models mean; this is a part of cache.c.
 *
 * It goes with a shadow that holds what is durable of every unit that any of them covers. The
 * log is bounded: when it is full the oldest writes become durable, as they do on a real disk.
 *
 * redo_before() and redo_note() come in pairs on one thread, with the lock of the unit of the
 * store held in between; only a discard, which holds none, may change the store after both.
 */
#ifndef FAULTS_DISK_REDO_H
#define FAULTS_DISK_REDO_H

#include "faults/disk/power_cut.h"
#include "faults/disk/shadow.h"
#include "faults/disk/snapshot.h"

struct redo;

struct redo_options {
	struct store *store;
	struct shadow *durable; /* of blocks of unit_bytes, which must divide the store's size */
	uint32_t unit_bytes;
	bool whole_writes, in_order;
	uint64_t size_bytes; /* of the log and of the durable copies, together */
};

/* -ENOMEM. The store and the shadow are borrowed. */
int redo_create(const struct redo_options *options, struct redo **ret_redo);
struct redo *redo_free(struct redo *redo); /* NULL allowed; returns NULL */

/* Around one write, where a write is one thing: see cache_begin(). */
void redo_begin(struct redo *redo);
void redo_end(struct redo *redo);
/* Bytes [at, at+len) are about to change; and have changed: to @zero, or to what the store has. */
void redo_before(struct redo *redo, uint64_t at, uint64_t len);
void redo_note(struct redo *redo, uint64_t at, uint64_t len, bool zero);
/* A discard of what reads as zero already: part of the same write. */
void redo_note_hole(struct redo *redo, uint64_t at, uint64_t len);
/* Instead of redo_note(): they are durable. */
void redo_settle(struct redo *redo, uint64_t at, uint64_t len);
/* All is durable. */
void redo_flush(struct redo *redo);
/* Units that are volatile. Any thread. */
uint64_t redo_nr_volatile(const struct redo *redo);
/* As cache_cut(), but nothing else is under way and the store's locks are held by the caller. */
void redo_cut(struct redo *redo, const struct power_cut *cut, struct snapshots *snapshots,
	      struct power_cut_result *ret_result);

#endif
