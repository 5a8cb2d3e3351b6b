// SPDX-License-Identifier: MIT
/*
 * The memory of a queue's buffers: a burst of large requests fills all of it (64 MiB with the usual
 * options), and without this it would stay for ever.
 *
 * A timer in the queue's own ring, armed by the first request that ends while none runs. When it
 * fires and requests have ended meanwhile, it is armed again; if none has, the buffers are given
 * back, and an idle queue sleeps for good. A batch pays for this with one store and one branch.
 *
 * WHAT MUST NOT BE LOST. A tag that is the kernel's may have data in its buffer all the same: a
 * request that the kernel has copied in and whose completion we have not seen, or an answer that is
 * committed and not yet handed over. So memory is taken back only where
 *
 *	the kernel copies on this thread alone, within io_uring_enter(2) (DEFER_TASKRUN),
 *	the timer's completion is the only one, none waits for room, and
 *	nothing of ours is queued for submission;
 *
 * and then only that of tags that are the kernel's: what the backend has, or what is parked or on
 * its way, keeps its data.
 */
#include "queue.h"

#include "base/sparse.h"

#include <liburing.h>

#define IDLE_SECONDS 1

void queue_watch_idle(struct queue *q, struct io_uring_sqe *sqe)
{
	q->idle = (struct __kernel_timespec){ .tv_sec = IDLE_SECONDS };
	io_uring_prep_timeout(sqe, &q->idle, 0, 0);
	sqe->user_data = QUEUE_IDLE_TAG;
	q->ticking = true;
	q->used = false;
}

static bool is_idle(struct req *req)
{
	return req_state_of(req) == REQ_KERNEL;
}

static void give_back(struct queue *q)
{
	uint32_t depth = q->shared->depth, from = 0, to;
	size_t each = q->shared->max_io_bytes;

	for (; from < depth; from = to + 1) {
		for (to = from; to < depth && is_idle(&q->reqs[to]);)
			to++;
		if (to > from)
			sparse_clear(q->bufs + from * each, (to - from) * each);
	}
}

bool queue_on_idle(struct queue *q, bool alone)
{
	q->ticking = false;
	if (q->used || !alone || io_uring_sq_ready(&q->ring) || io_uring_cq_has_overflow(&q->ring))
		return false;
	give_back(q);
	return true;
}
