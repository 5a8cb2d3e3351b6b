/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of a disk: what it held at a moment, kept by copying each page before it changes.
 *
 * A snapshot is a layer of old pages. They form a chain by age, and only the youngest gets copies:
 * what a snapshot holds of a page is in the oldest layer that has it, its own or a younger one, and
 * in the store where none has. So making one costs nothing but the mapping of an empty layer, and a
 * disk pays for one copy of a page, however many snapshots there are.
 *
 * A snapshot holds what the disk answers, volatile or not. Threads: snapshots_before() on whatever
 * thread changes the disk, with the lock of the page's unit held; snapshots_read() on any thread,
 * if the store is shared; all else on the control thread while no request is under way.
 */
#ifndef FAULTS_DISK_SNAPSHOT_H
#define FAULTS_DISK_SNAPSHOT_H

#include "faults/disk/store.h"

#define SNAPSHOT_MAX      1000 /* of one disk */
#define SNAPSHOT_NAME_MAX 63

struct snapshots;
struct snapshot;

/* None yet. The store is borrowed. -ENOMEM. */
int snapshots_create(struct store *store, struct snapshots **ret_snapshots);
struct snapshots *snapshots_free(struct snapshots *snapshots); /* NULL allowed */

/* Bytes [at, at+len) of the store are about to change. */
void snapshots_before(struct snapshots *snapshots, uint64_t at, uint64_t len);
/* Is there any snapshot? */
bool snapshots_any(const struct snapshots *snapshots);

/*
 * Keep what the disk holds now as @name, at most SNAPSHOT_NAME_MAX bytes. NULL: for our own use,
 * it is in no list and found by no name. -EEXIST, -ENOSPC: SNAPSHOT_MAX are there, -ENOMEM.
 * *ret_snapshot may be NULL.
 */
int snapshots_add(struct snapshots *snapshots, const char *name, uint64_t time_ns,
		  struct snapshot **ret_snapshot);
/* NULL: there is none of that name. Valid until it is removed. */
struct snapshot *snapshots_find(struct snapshots *snapshots, const char *name);
/* Somebody reads it, and it must not be removed; and has done. Counted. */
void snapshots_pin(struct snapshot *snapshot);
void snapshots_unpin(struct snapshot *snapshot);
/* Forget it; the older ones take over what they need of its pages. -EBUSY: it is pinned. */
int snapshots_remove(struct snapshots *snapshots, struct snapshot *snapshot);
/*
 * Make the store what it was; every snapshot stays as it is. Takes time for the pages changed since
 * then, and no others. *ret_bytes (may be NULL): how much went back. 0, or -errno of a punched
 * hole: the store may then hold some pages of before and some of after, and this can be tried
 * again.
 */
int snapshots_restore(struct snapshots *snapshots, struct snapshot *snapshot, uint64_t *ret_bytes);

struct snapshot_info {
	char name[SNAPSHOT_NAME_MAX + 1];
	uint64_t time_ns; /* as it was given */
	uint64_t bytes;   /* of memory that its own layer holds */
};
/* The oldest @max, oldest first; returns how many there are. Those of our own are not counted. */
size_t snapshots_list(const struct snapshots *snapshots, struct snapshot_info *info, size_t max);
/* Memory held by all of them. */
uint64_t snapshots_bytes(const struct snapshots *snapshots);

/*
 * What @snapshot holds from @at on, a multiple of 512 inside the disk, at most @len: the number of
 * bytes that are alike, at least one sector. *ret_hole: all of them read as zero, and @data (room
 * for SNAPSHOT_READ_MAX bytes) is as it was; otherwise they are in @data.
 */
#define SNAPSHOT_READ_MAX (128u << 10)
uint64_t snapshots_read(struct snapshots *snapshots, const struct snapshot *snapshot, uint64_t at,
			uint64_t len, unsigned char *data, bool *ret_hole);
/* While it is held no snapshot comes or goes: for a change of the disk from a thread that is not a
 * queue's. Taken before any lock of the store. */
void snapshots_lock(struct snapshots *snapshots);
void snapshots_unlock(struct snapshots *snapshots);

#endif
