/* SPDX-License-Identifier: MIT */
/* One hardware queue: a thread, a ring, and the requests of its tags. See queue.c for the design.
 */
#ifndef LIB_QUEUE_H
#define LIB_QUEUE_H

#include "abi.h"
#include "base/hist.h"
#include "data_path.h"
#include "log.h"
#include "timer.h"
#include "ublkcore.h"

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#define QUEUE_IDLE_TAG  (UINT64_MAX - 1) /* user_data of the timer of idle.c */
#define QUEUE_ERRNO_MAX 134              /* counters exist for errno values below this */

enum req_state {
	REQ_KERNEL,  /* the driver has it (or the queue is not running) */
	REQ_BACKEND, /* the backend has it */
	REQ_PARKED,  /* in the timer heap */
	REQ_REMOTE,  /* completed by another thread, on its way to the queue's */
	REQ_CUT, /* the backend has it, but the kernel has had an error for it: see queue_cut() */
};

struct req {
	struct ublk_req pub; /* first: what the backend sees */
	struct queue *q;
	const struct data_path *path; /* the device's */
	unsigned char *buf;           /* the data in place; NULL where the path has no such place */
	uint64_t start_ns;
	struct req *remote_next;
	int result;
	_Atomic unsigned char state; /* enum req_state */
};

static inline enum req_state req_state_of(struct req *req)
{
	return (enum req_state)atomic_load_explicit(&req->state, memory_order_relaxed);
}

struct op_counters {
	_Atomic uint64_t ops;
	_Atomic uint64_t bytes;
	_Atomic uint64_t errors;
	struct hist latency;
};

/*
 * What all queues of a device share; set before they start and constant from then on. It and the
 * queues live until the device and every queue have let it go, so that a thread that is still
 * within ublk_req_complete(), or a backend that completes a request after the device was freed,
 * finds what it needs.
 */
struct queue_shared {
	const struct ublk_backend *backend;
	void *ctx;
	struct logger log;
	int id;
	int cdev_fd; /* owned */
	uint32_t depth;
	uint32_t max_io_bytes;
	const struct data_path *path;
	uint32_t op_fetch; /* cmd_op of the two queue commands, in the device's encoding */
	uint32_t op_commit;
	atomic_bool closing;    /* release what is parked, drain, park nothing more */
	atomic_bool cut;        /* with closing: fail what the backend keeps, and all that comes */
	atomic_bool quit;       /* leave the loop even though the kernel still has commands */
	atomic_uint running;    /* queues whose loop has not ended */
	int gone_fd;            /* eventfd: written when the last loop ends; the device's */
	struct queue *queues;   /* owned */
	unsigned int nr_queues; /* of them started */
	atomic_uint users;      /* the device, and each queue until its memory is freed */
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
	bool cut;     /* and shared->cut */
	bool ticking; /* the timer of idle.c runs, or never will */
	bool used;    /* a request has ended since it began */
	/* Written by any thread. */
	_Atomic(struct req *) remote; /* completed elsewhere: a stack, newest first */
	/* Its life, each thread within finish_remote(), each request in REQ_CUT. */
	atomic_uint users;
	/* Cold. */
	int wake_fd; /* open as long as shared is there */
	pthread_t thread;
	bool started;
	int error;  /* why the thread could not start, valid after turn */
	sem_t turn; /* posted by the thread: it is ready, or cannot start; then, it has ended */
	cpu_set_t cpus;
	unsigned char *pdus;
	unsigned char *bufs;
	unsigned char *scrap; /* where the kernel puts data that nobody wants any more */
	size_t bufs_bytes;
	struct __kernel_timespec idle; /* what the timer was given; the kernel reads it */
	size_t descs_bytes;
	/* Written by the loop, read by anyone. */
	struct op_counters ops[UBLK_NR_OPS];
	_Atomic uint64_t errnos[QUEUE_ERRNO_MAX];
	_Atomic uint64_t batches;
	_Atomic uint64_t parked;
	_Atomic uint64_t in_flight;
	_Atomic uint64_t parked_now;
} __attribute__((aligned(64))); /* no queue shares a cache line with its neighbour */

/* With one user, and without descriptors (-1). NULL: no memory. */
struct queue_shared *queue_shared_new(void);
/* Room for @nr queues. 0 or -ENOMEM. */
int queue_shared_make_queues(struct queue_shared *shared, unsigned int nr);
/* One user less; the last one frees it, with its queues. */
void queue_shared_put(struct queue_shared *shared);

/*
 * Start the thread and wait until every tag's FETCH has been handed to the kernel. q->shared,
 * q->index and q->cpus are set. 0, -errno, or what else the backend's queue_start returned; then
 * nothing is left of it.
 */
int queue_start(struct queue *q);
/* Wake the thread, so that it looks at closing, cut and quit and calls the backend's batch. Any
 * thread, as long as shared is there.
 */
void queue_kick(struct queue *q);
/*
 * Wait for the thread's end, which STOP_DEV brings about; past the deadline make it quit. What the
 * backend keeps even then stays its own: the memory goes with the last such request.
 */
void queue_join(struct queue *q, unsigned int timeout_ms);
/*
 * idle.c, the queue's thread: requests have ended and no timer runs. Make @sqe, of the queue's ring, a
 * timer that gives the memory of the buffers back once no request has ended for a while.
 */
void queue_watch_idle(struct queue *q, struct io_uring_sqe *sqe);
/*
 * The timer's time is over: this is its completion, which is the only one at hand if @alone. False:
 * the queue was not idle, and shall be watched again.
 */
bool queue_on_idle(struct queue *q, bool alone);
/* Is the caller one of the threads of these queues? */
bool queue_is_own_thread(const struct queue_shared *shared);

#endif
