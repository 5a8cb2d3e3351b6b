/* SPDX-License-Identifier: MIT */
/*
 * The disk that breaks on purpose: a store and a fault pipeline (faults/) behind a ublk device
 * (lib/). The only place where the two meet. One control thread owns it; see the threads of
 * ublkcore.h and faults/engine/pipeline.h for the rest.
 */
#ifndef TOOLS_DISK_DISK_H
#define TOOLS_DISK_DISK_H

#include "base/diag.h"
#include "faults/engine/pipeline.h"
#include "ublkcore.h"

struct disk;

/* Queue thread: what is to happen to a request, if its rules are not to decide; see below. */
typedef bool (*disk_decide_fn)(void *ctx, const struct io *io,
			       const struct decision **ret_decisions, size_t *ret_nr);

struct disk_options {
	struct ublk_options ublk; /* size_bytes and the rest; log callback included */
	uint64_t seed;
	bool cache;                     /* a volatile write cache, lost by a power cut */
	struct cache_model cache_model; /* with cache */
	struct store *store;            /* of disk_make_store(); NULL: one is made, of zeroes */
	uint64_t capacity_bytes;        /* so much may be written; 0: all */
	struct recorder_disk *recorder; /* borrowed until the disk is freed; NULL: none */
	const char *name;               /* NULL: "ublkbN" */
	bool joins; /* its owner cuts other disks along; see struct pipeline_options */
	/* Asked for every request; false: no rule acts on it. NULL: the rules decide. */
	disk_decide_fn decide;
	void *decide_ctx;
};

/* A store as the options say, for them, to be filled before the disk is opened. -errno in words. */
int disk_make_store(const struct disk_options *options, struct diag *diag,
		    struct store **ret_store);
/*
 * Live when this returns 0, and without rules. -errno as ublk_dev_open(), words in @diag. A store of
 * the options is the disk's from then on, and freed on error too.
 */
int disk_open(const struct disk_options *options, struct diag *diag, struct disk **ret_disk);
/* As ublk_dev_close(): -EBUSY names the holder in @diag and leaves everything as it was. */
int disk_close(struct disk *disk, struct diag *diag);
/* Close even if held, and free. NULL allowed; returns NULL. */
struct disk *disk_free(struct disk *disk);

const char *disk_name(const struct disk *disk);
uint64_t disk_seed(const struct disk *disk);
uint64_t disk_uptime_ns(const struct disk *disk);
struct ublk_dev *disk_dev(struct disk *disk); /* borrowed; NULL while it has none */
/* The options in force, of the device that is there or was there last. */
const struct ublk_options *disk_ublk_options(const struct disk *disk);
/* What rules are checked against on a disk of these options; @cache: with a volatile one of ours, or
 * NULL. */
struct rule_geometry disk_geometry(const struct ublk_options *options,
				   const struct cache_model *cache);
struct pipeline *disk_pipeline(struct disk *disk); /* borrowed */
struct store *disk_store(struct disk *disk);       /* borrowed */

/*
 * Put @set (copied) in force and wait until every queue has adopted it; a queue adopts between two
 * batches, so this takes microseconds under load and is bounded by 10 s (-ETIMEDOUT).
 */
int disk_set_rules(struct disk *disk, const struct rule_set *set, struct diag *diag);

/* Readable when something happened: a hit that was listened for, or the disk's condition. */
int disk_event_fd(const struct disk *disk);
/* Take note of that, before looking at what it was. */
void disk_event_seen(struct disk *disk);
/* Make the queues look for new rules and released requests. */
void disk_kick(struct disk *disk);

/*
 * Stop all queues between two requests, and let them go on; see pipeline_freeze() for what may be
 * done meanwhile. A disk that has gone has none: that is fine. -ETIMEDOUT after 10 s, -ENODEV.
 */
int disk_freeze(struct disk *disk, struct diag *diag);
void disk_thaw(struct disk *disk);
/* Cut the power of a disk that is frozen; as pipeline_crash(), with words. It stays frozen. */
int disk_cut(struct disk *disk, const struct power_cut *cut, bool remove, struct diag *diag,
	     struct power_cut_result *ret_result);
/* Freeze, cut, thaw. A device that is to be removed is still there. */
int disk_crash(struct disk *disk, const struct power_cut *cut, bool remove, struct diag *diag,
	       struct power_cut_result *ret_result);

/* The device is to go away, and the power stays: as condition_remove(). -EALREADY: it is about to. */
int disk_unplug(struct disk *disk, uint64_t gone_ns, struct diag *diag);

/*
 * What the kernel takes its time for, from milliseconds to the close_timeout_ms of whoever holds the
 * device, is begun, and the control thread goes on. disk_work_fd() is readable when something has
 * changed; then call disk_tend() until it returns DISK_UNCHANGED.
 */
int disk_work_fd(const struct disk *disk);
enum disk_change {
	DISK_UNCHANGED,
	DISK_CLOSED, /* disk_begin_close() is over; *ret_err as disk_close() */
	DISK_MADE,   /* disk_begin_revival() is over; *ret_err as disk_revive() */
	DISK_REREAD, /* disk_begin_reread() is; *ret_err as reread_disk(); words: rules are off still */
};
enum disk_change disk_tend(struct disk *disk, struct diag *diag, int *ret_err);
/*
 * Queues are about to end, or to begin, or the kernel reads the disk again: rules, freezes, power
 * cuts and revivals must wait until that is over. A readable disk_work_fd() says when.
 */
bool disk_is_changing(const struct disk *disk);
/* Is a device being removed; @held_too: even though it takes as long as somebody holds it? */
bool disk_is_leaving(const struct disk *disk, bool held_too);

/*
 * As disk_close(), but not waiting for whoever holds it, of a disk whose device is there, which it
 * stays until the end.
 */
void disk_begin_close(struct disk *disk);
/*
 * Remove the device from the machine, held or not: requests in flight and those to come get errors.
 * The data, the rules and their counters stay. From now on the disk has no device.
 */
void disk_begin_removal(struct disk *disk);
/* The same, waited for, whatever else is under way. */
void disk_remove(struct disk *disk);
/*
 * Bring the disk back: clear its condition, let a power cut take its losses, and if the device has
 * gone make it again, under its old number unless somebody still holds that. *ret_was: enum
 * condition_bit; *ret_lost: blocks that were lost. The rules act once the device is there. 0;
 * -EINPROGRESS: a device is being made; -errno as disk_open(), and then it is as before.
 */
int disk_begin_revival(struct disk *disk, struct diag *diag, uint32_t *ret_was, uint64_t *ret_lost);
/*
 * The content has changed without a request: make the kernel look again, with reread_disk(), while
 * no rule acts. -EINPROGRESS: that is under way; 0: nothing can be read now, and then the kernel
 * looks when the disk comes back, or it is being closed; -errno: words in @diag.
 */
int disk_begin_reread(struct disk *disk, struct diag *diag);
/* As disk_begin_revival(), waited for. */
int disk_revive(struct disk *disk, struct diag *diag, uint32_t *ret_was, uint64_t *ret_lost);

#endif
