/* SPDX-License-Identifier: MIT */
/*
 * The volatile writes of a cache that knows its versions: their contents, in the order in which
 * the disk carried them out. cache.h says what the models mean; this is a part of cache.c.
 *
 * It goes with a shadow that holds what is durable of every unit that any of them covers. The
 * log is bounded: when it is full the oldest writes become durable, as they do on a real disk.
 *
 * volatile_log_before() and volatile_log_note() come in pairs on one thread, with the lock of the unit of the
 * store held in between; only a discard, which holds none, may change the store after both.
 */
#ifndef FAULTS_DISK_VOLATILE_LOG_H
#define FAULTS_DISK_VOLATILE_LOG_H

#include "faults/disk/power_cut.h"
#include "faults/disk/shadow.h"
#include "faults/disk/snapshot.h"

struct volatile_log;

struct volatile_log_options {
	struct store *store;
	struct shadow *durable; /* of blocks of unit_bytes, which must divide the store's size */
	uint32_t unit_bytes;
	bool whole_writes, in_order;
	uint64_t size_bytes; /* of the log and of the durable copies, together */
};

/* -ENOMEM. The store and the shadow are borrowed. */
int volatile_log_create(const struct volatile_log_options *options, struct volatile_log **ret_log);
struct volatile_log *volatile_log_free(struct volatile_log *log); /* NULL allowed; returns NULL */

/* Around one write, where a write is one thing: see cache_begin(). */
void volatile_log_begin(struct volatile_log *log);
void volatile_log_end(struct volatile_log *log);
/* Bytes [at, at+len) are about to change; and have changed: to @zero, or to what the store has. */
void volatile_log_before(struct volatile_log *log, uint64_t at, uint64_t len);
void volatile_log_note(struct volatile_log *log, uint64_t at, uint64_t len, bool zero);
/* A discard of what reads as zero already: part of the same write. */
void volatile_log_note_hole(struct volatile_log *log, uint64_t at, uint64_t len);
/* Instead of volatile_log_note(): they are durable. */
void volatile_log_settle(struct volatile_log *log, uint64_t at, uint64_t len);
/* All is durable. */
void volatile_log_flush(struct volatile_log *log);
/* Units that are volatile. Any thread. */
uint64_t volatile_log_nr_volatile(const struct volatile_log *log);
/* As cache_cut(), but nothing else is under way and the store's locks are held by the caller. */
void volatile_log_cut(struct volatile_log *log, const struct power_cut *cut,
		      struct snapshots *snapshots, struct power_cut_result *ret_result);

#endif
