/* SPDX-License-Identifier: MIT */
/*
 * Inside a disk: its requests (requests.c), what all its queues take part in (queues.c), its
 * device, which comes and goes (device.c), and its life (disk.c). Each knows those before it.
 */
#ifndef TOOLS_DISK_INTERNAL_H
#define TOOLS_DISK_INTERNAL_H

#include "tools/disk/disk.h"

#include <pthread.h>
#include <stdatomic.h>

#define DISK_CACHE_LINE 64

/* The time of the batch being served; each queue thread has its own line. */
struct queue_clock {
	uint64_t now_ns;
} __attribute__((aligned(DISK_CACHE_LINE)));

enum disk_work_kind { WORK_CLOSE, WORK_REMOVE, WORK_MAKE, WORK_REREAD };

struct disk_work {
	struct disk_work *next;
	struct disk *disk;
	enum disk_work_kind kind;
	struct ublk_dev *dev;        /* WORK_REMOVE: owned; WORK_MAKE: what was made */
	struct ublk_options options; /* WORK_MAKE */
	pthread_t thread;
	bool has_thread;
	_Atomic bool held; /* WORK_REMOVE: somebody holds the device, for as long as it takes */
	_Atomic bool over;
	struct diag diag; /* these two: once it is over */
	int err;
};

struct disk {
	struct pipeline *pipeline;
	struct queue_clock *clocks; /* by queue */
	struct ublk_dev *dev;       /* NULL while the disk has gone, or leaves, or is being made */
	struct ublk_options options;
	struct store *store;
	disk_decide_fn decide;
	void *decide_ctx;
	int event_fd;
	int work_fd;           /* a work, or a queue, has ended */
	struct disk_work work; /* but a removal */
	bool working;          /* it does, or its end has not been looked at */
	struct disk_work *removals;
	struct rule_set *quieted;        /* rules that are off while a device is made or read */
	_Atomic unsigned int nr_running; /* queues */
	bool closed;
	uint64_t seed;
	uint64_t opened_ns;
	char name[64];

	/* The core explains errors to the log; during open and close they go to a diag instead. */
	pthread_mutex_t log_lock;
	struct diag *capture;
	ublk_log_fn log;
	void *log_ctx;
};

/* requests.c: of a request's disk. */
extern const struct ublk_backend disk_backend;
/* What its pipeline calls; @ctx: the disk. See struct pipeline_options. */
void disk_wake(void *ctx);
void disk_unpark(void *ctx, struct io *io);

/* Make a device for the disk. Any one thread. 0 or -errno, words in @diag. */
int disk_make_device(struct disk *disk, const struct ublk_options *options, struct diag *diag,
		     struct ublk_dev **ret_dev);

static inline bool disk_is_making(const struct disk *disk)
{
	return disk->working && disk->work.kind == WORK_MAKE;
}

#endif
