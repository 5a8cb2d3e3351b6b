/* SPDX-License-Identifier: MIT */
/* One hardware queue: a thread, a ring, and the requests of its tags. See queue.c for the design.
 */
#ifndef LIB_QUEUE_H
#define LIB_QUEUE_H

#include "abi.h"
#include "base/hist.h"
#include "log.h"
#include "timer.h"
#include "ublkcore.h"

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#define QUEUE_ERRNO_MAX 134 /* counters exist for errno values below this */

enum req_state {
	REQ_KERNEL,  /* the driver has it (or the queue is not running) */
	REQ_BACKEND, /* the backend has it */
	REQ_PARKED,  /* in the timer heap */
	REQ_REMOTE,  /* completed by another thread, on its way to the queue's */
};

struct req {
	struct ublk_req pub; /* first: what the backend sees */
	struct queue *q;
	unsigned char *buf; /* NULL on UBLK_DATA_USER_COPY */
	uint64_t start_ns;
	struct req *remote_next;
	int result;
	_Atomic unsigned char state; /* enum req_state */
};

struct op_counters {
	_Atomic uint64_t ops;
	_Atomic uint64_t bytes;
	_Atomic uint64_t errors;
	struct hist latency;
};

/* What all queues of a device share; set before they start and constant from then on. */
struct queue_shared {
	const struct ublk_backend *backend;
	void *ctx;
	struct logger log;
	int id;
	int cdev_fd;
	uint32_t depth;
	uint32_t max_io_bytes;
	enum ublk_data_path data_path;
	uint32_t op_fetch; /* cmd_op of the two queue commands, in the device's encoding */
	uint32_t op_commit;
	atomic_bool closing; /* release what is parked, drain, park nothing more */
	atomic_bool quit;    /* leave the loop even though the kernel still has commands */
	atomic_uint running; /* queues whose loop has not ended */
	int gone_fd;         /* eventfd: written when the last loop ends */
};

struct queue {
	struct queue_shared *shared;
	/* Hot: the loop's own. */
	struct io_uring ring;
	const struct abi_io_desc *descs;
	struct req *reqs;
	struct timer_heap timers;
	uint32_t nr_live; /* tags not yet aborted by the kernel */
	uint32_t nr_done; /* completed in this batch, not yet counted */
	uint32_t *done;   /* their tags */
	uint64_t now_ns;  /* when this batch began */
	uint16_t index;
	bool closing; /* this thread has seen shared->closing */
	/* Written by any thread. */
	_Atomic(struct req *) remote; /* completed elsewhere: a stack, newest first */
	/* Cold. */
	int wake_fd;
	pthread_t thread;
	bool started;
	int error;  /* why the thread could not start, valid after turn */
	sem_t turn; /* posted by the thread: it is ready, or cannot start; then, it has ended */
	cpu_set_t cpus;
	unsigned char *pdus;
	unsigned char *bufs;
	size_t bufs_bytes;
	size_t descs_bytes;
	/* Written by the loop, read by anyone. */
	struct op_counters ops[UBLK_NR_OPS];
	_Atomic uint64_t errnos[QUEUE_ERRNO_MAX];
	_Atomic uint64_t batches;
	_Atomic uint64_t parked;
	_Atomic uint64_t in_flight;
	_Atomic uint64_t parked_now;
} __attribute__((aligned(64))); /* no queue shares a cache line with its neighbour */

/*
 * Start the thread and wait until every tag's FETCH has been handed to the kernel. q->shared,
 * q->index and q->cpus are set. 0 or -errno, then nothing is left of it.
 */
int queue_start(struct queue *q);
/* Wake the thread, so that it looks at closing and quit and calls the backend's batch. Any thread.
 */
void queue_kick(struct queue *q);
/* Wait for the thread's end, which STOP_DEV brings about; past the deadline make it quit. */
void queue_join(struct queue *q, unsigned int timeout_ms);

#endif
