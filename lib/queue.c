// SPDX-License-Identifier: MIT
/*
 * The ring loop.
 *
 *	 kernel                      queue thread                        backend
 *	   | -- completion (tag) ------> |                                   |
 *	   |                             | -- read()/submit() -------------> |
 *	   |                             | <-- return / complete / park ---- |
 *	   | <- COMMIT_AND_FETCH (tag) - |                                   |
 *
 * Each tag always has exactly one owner: the kernel (its FETCH is pending), the backend, the timer
 * heap, or the remote stack (REQ_CUT is the exception, see cut_all()). A completion of the ring
 * names a tag whose descriptor the kernel has filled in; the request is preallocated. Committing a
 * result asks for the tag's next request in the same command, so that one system call for each
 * batch is all there is: it submits every commit of the last batch and waits for the next
 * completion, at most until the nearest timer is due.
 *
 * Another thread completes a request by pushing it on a lock-free stack; the push that finds the
 * stack empty writes the eventfd, which the ring polls. Once it is pushed the request may be
 * finished, the loop over, and the device freed before that thread has written the eventfd, or has
 * even been scheduled again: so it is counted as a user of the queue for as long as it is in here,
 * and the last user frees the memory. The queue's own thread, which completes most requests, counts
 * nothing.
 *
 * The clock is read twice for each batch: when it begins and when its work is done. Latencies are
 * therefore those of the batch, and no request pays for a clock of its own.
 */
#include "queue.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/flusher.h"
#include "base/sparse.h"
#include "ring.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* user_data of the poll on the eventfd. Below it QUEUE_IDLE_TAG, and then tags. */
#define WAKE_TAG       UINT64_MAX
#define CDEV_SLOT      0 /* in the ring's file table */
#define WAKE_SLOT      1
#define NOT_DONE_BELOW (-4095) /* the kernel's MAX_ERRNO: smaller is no errno */

/* Where a test may hold up a thread; see tests/unit/lib/test_lifetime.c. */
#ifndef queue_point
#define queue_point(where) ((void)0)
#endif

static __thread struct queue *current_queue;

static const char *const op_names[UBLK_NR_OPS] = {
	[UBLK_OP_READ] = "read",
	[UBLK_OP_WRITE] = "write",
	[UBLK_OP_FLUSH] = "flush",
	[UBLK_OP_DISCARD] = "discard",
	[UBLK_OP_WRITE_ZEROES] = "write_zeroes",
};

/* The kernel's op to ours; what is not here is refused. */
static const int8_t op_of_kernel[ABI_NR_OPS] = {
	[ABI_OP_READ] = UBLK_OP_READ,   [ABI_OP_WRITE] = UBLK_OP_WRITE,
	[ABI_OP_FLUSH] = UBLK_OP_FLUSH, [ABI_OP_DISCARD] = UBLK_OP_DISCARD,
	[4] = -1 /* WRITE_SAME */,      [ABI_OP_WRITE_ZEROES] = UBLK_OP_WRITE_ZEROES,
};

static struct req *req_of(struct ublk_req *pub)
{
	return (struct req *)pub;
}

static void free_memory(struct queue *q);

static void set_state(struct req *req, enum req_state state)
{
	atomic_store_explicit(&req->state, (unsigned char)state, memory_order_relaxed);
}

/* A backend that breaks its contract would corrupt somebody's data: name it and stop here. */
static _Noreturn _cold_ void blame(const struct req *req, const char *what, int value)
{
	fprintf(stderr, "ublk: backend \"%s\": queue %u tag %u (%s): %s (%d)\n",
		req->q->shared->backend->name, req->pub.queue, req->pub.tag, op_names[req->pub.op],
		what, value);
	abort();
}

/* ------------------------------------------------------------------------------ data */

static void check_span(const struct req *req, size_t offset, size_t len)
{
	if (offset > req->pub.len_bytes || len > req->pub.len_bytes - offset)
		blame(req, "copies outside of the request's data", (int)offset);
}

int ublk_req_put(struct ublk_req *pub, size_t offset, const void *from, size_t len)
{
	struct req *req = req_of(pub);

	check_span(req, offset, len);
	return req->path->put(req, offset, from, len);
}

int ublk_req_get(struct ublk_req *pub, size_t offset, void *to, size_t len)
{
	struct req *req = req_of(pub);

	check_span(req, offset, len);
	return req->path->get(req, offset, to, len);
}

void *ublk_req_data(struct ublk_req *pub)
{
	return req_of(pub)->buf;
}

/* ------------------------------------------------------------------------------ completion */

/* What has been committed is handed to the kernel next. */
static void end_batch(struct queue *q)
{
	const struct ublk_backend *be = q->shared->backend;

	if (be->batch_done)
		be->batch_done(q->shared->ctx, q->index);
}

/* Hands what is queued to the kernel where there is no room. */
static struct io_uring_sqe *next_sqe(struct queue *q)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	/* The ring holds a batch of every tag; only the re-armed poll can make it one short. */
	while (!sqe) {
		end_batch(q);
		io_uring_submit(&q->ring);
		sqe = io_uring_get_sqe(&q->ring);
	}
	return sqe;
}

/* @buf: where the kernel puts the data of the tag's next request. */
static void queue_io_cmd(struct queue *q, struct req *req, uint32_t cmd_op, int result,
			 const unsigned char *buf)
{
	struct io_uring_sqe *sqe = next_sqe(q);
	struct abi_io_cmd cmd = {
		.queue_id = q->index,
		.tag = req->pub.tag,
		.result = result,
		.addr = (uint64_t)(uintptr_t)buf,
	};

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->fd = CDEV_SLOT;
	sqe->cmd_op = cmd_op;
	sqe->user_data = req->pub.tag;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

static void count_one(struct queue *q, const struct req *req, uint64_t now_ns)
{
	struct op_counters *c = &q->ops[req->pub.op];

	relaxed_add(&c->ops, 1);
	if (req->result) {
		relaxed_add(&c->errors, 1);
		if (-req->result < QUEUE_ERRNO_MAX)
			relaxed_add(&q->errnos[-req->result], 1);
	} else {
		relaxed_add(&c->bytes, req->pub.len_bytes);
	}
	hist_add(&c->latency, now_ns - req->start_ns);
}

static void count_done(struct queue *q)
{
	uint64_t now_ns;

	if (!q->nr_done)
		return;
	now_ns = clock_now_ns();
	for (uint32_t i = 0; i < q->nr_done; i++)
		count_one(q, &q->reqs[q->done[i]], now_ns);
	relaxed_add(&q->in_flight, -(uint64_t)q->nr_done);
	q->nr_done = 0;
	q->used = true;
	if (__builtin_expect(!q->ticking, false))
		queue_watch_idle(q, next_sqe(q));
}

static void check_result(const struct req *req, int result)
{
	if (result > 0 || result < NOT_DONE_BELOW)
		blame(req, "completed with a result that is neither 0 nor -errno", result);
}

/* On the queue's thread. The request is the kernel's afterwards. */
static void finish(struct queue *q, struct req *req, int result)
{
	bool moves_data = req->pub.op <= UBLK_OP_WRITE;

	check_result(req, result);
	req->result = result;
	set_state(req, REQ_KERNEL);
	/* A batch longer than the queue is deep: some tag came round again meanwhile. */
	if (q->nr_done == q->shared->depth)
		count_done(q);
	q->done[q->nr_done++] = req->pub.tag;
	queue_io_cmd(q, req, q->shared->op_commit,
		     result == 0 && moves_data ? (int)req->pub.len_bytes : result, req->buf);
}

/* @nr users of the queue less. Any thread, which must not touch the queue afterwards. */
static void queue_put(struct queue *q, unsigned int nr)
{
	struct queue_shared *shared = q->shared;

	if (atomic_fetch_sub_explicit(&q->users, nr, memory_order_acq_rel) != nr)
		return;
	free_memory(q);
	queue_shared_put(shared);
}

static void finish_local(struct queue *q, struct req *req, int result)
{
	switch (req_state_of(req)) {
	case REQ_PARKED:
		timer_remove(&q->timers, req->pub.tag);
		relaxed_add(&q->parked_now, -1ull);
		break;
	case REQ_BACKEND:
		break;
	case REQ_CUT:
		check_result(req, result);
		set_state(req, REQ_REMOTE);
		queue_put(q, 1);
		return;
	case REQ_KERNEL:
	case REQ_REMOTE:
		blame(req, "completed twice, with result", result);
	}
	finish(q, req, result);
}

static void finish_remote(struct queue *q, struct req *req, int result)
{
	enum req_state was;
	struct req *head;

	/* The request is the caller's still, and so the queue is there. */
	atomic_fetch_add_explicit(&q->users, 1, memory_order_relaxed);
	queue_point("entered");
	was = (enum req_state)atomic_exchange(&req->state, REQ_REMOTE);
	if (was == REQ_PARKED)
		blame(req, "completed by another thread while it was parked, with result", result);
	if (was != REQ_BACKEND && was != REQ_CUT)
		blame(req, "completed twice, with result", result);
	check_result(req, result);
	if (was == REQ_CUT) {
		queue_put(q, 2); /* the request's own share, too */
		return;
	}
	req->result = result;
	queue_point("taken");
	head = atomic_load_explicit(&q->remote, memory_order_relaxed);
	do {
		req->remote_next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&q->remote, &head, req, memory_order_release, memory_order_relaxed));
	queue_point("pushed");
	if (!head)
		queue_kick(q);
	queue_put(q, 1);
}

void ublk_req_complete(struct ublk_req *pub, int result)
{
	struct req *req = req_of(pub);

	if (current_queue == req->q)
		finish_local(req->q, req, result);
	else
		finish_remote(req->q, req, result);
}

/* ------------------------------------------------------------------------------ parking */

void ublk_req_park(struct ublk_req *pub, uint64_t due_ns)
{
	struct req *req = req_of(pub);
	struct queue *q = req->q;

	if (current_queue != q)
		blame(req, "parked from another thread", 0);
	if (req_state_of(req) != REQ_BACKEND)
		blame(req, "parked while it is not the backend's", 0);
	if (!q->shared->backend->resume)
		blame(req, "parked by a backend that has no resume callback", 0);
	set_state(req, REQ_PARKED);
	timer_add(&q->timers, req->pub.tag, q->closing ? 0 : due_ns);
	relaxed_add(&q->parked, 1);
	relaxed_add(&q->parked_now, 1);
}

void ublk_req_unpark(struct ublk_req *pub)
{
	struct req *req = req_of(pub);
	struct queue *q = req->q;

	if (current_queue != q)
		blame(req, "unparked from another thread", 0);
	if (req_state_of(req) != REQ_PARKED)
		blame(req, "unparked while it is not parked", 0);
	timer_remove(&q->timers, req->pub.tag);
	timer_add(&q->timers, req->pub.tag, 0);
}

/*
 * Resume what is due; all of it when the device is closing. What the backend parks again while this
 * runs waits for the next round, so that a backend that only ever parks cannot hold up the loop.
 */
static void run_timers(struct queue *q)
{
	const struct ublk_backend *be = q->shared->backend;
	uint64_t end = q->timers.next_order;
	const struct timer_entry *first;

	while ((first = timer_first(&q->timers)) && first->order < end &&
	       (q->closing || first->due_ns <= q->now_ns)) {
		struct req *req = &q->reqs[first->tag];

		timer_remove(&q->timers, first->tag);
		relaxed_add(&q->parked_now, -1ull);
		set_state(req, REQ_BACKEND);
		be->resume(q->shared->ctx, &req->pub);
	}
}

static void run_remote(struct queue *q)
{
	struct req *req, *reversed = NULL;

	if (!atomic_load_explicit(&q->remote, memory_order_relaxed))
		return;
	req = atomic_exchange_explicit(&q->remote, NULL, memory_order_acquire);
	/* The stack has the newest first: turn it round, so that completions keep their order. */
	while (req) {
		struct req *next = req->remote_next;

		req->remote_next = reversed;
		reversed = req;
		req = next;
	}
	for (; reversed; reversed = reversed->remote_next)
		finish(q, reversed, reversed->result);
}

/*
 * The backend keeps requests that the device cannot wait for any longer: the kernel gets an error
 * for them, so that it can stop the disk, while their memory stays the backend's until it completes
 * them. Their tags come round once more for requests that waited for a tag; these fail at once, see
 * refuse(). With @tell false the loop is over, and the kernel finds out by itself.
 */
static _cold_ void cut_all(struct queue *q, bool tell)
{
	if (tell)
		q->shared->path->cut(q);
	for (uint32_t tag = 0; tag < q->shared->depth; tag++) {
		struct req *req = &q->reqs[tag];
		unsigned char kept = REQ_BACKEND;

		atomic_fetch_add_explicit(&q->users, 1, memory_order_relaxed);
		if (!atomic_compare_exchange_strong(&req->state, &kept, REQ_CUT)) {
			atomic_fetch_sub_explicit(&q->users, 1, memory_order_relaxed);
			continue;
		}
		if (!tell)
			continue;
		if (q->nr_done == q->shared->depth)
			count_done(q);
		req->result = -EIO;
		q->done[q->nr_done++] = req->pub.tag;
		queue_io_cmd(q, req, q->shared->op_commit, -EIO, q->scrap ? q->scrap : req->buf);
	}
}

/* A request that came after the cut. What lies at its tag is the backend's: nothing is touched. */
static _cold_ void refuse(struct queue *q, struct req *req)
{
	queue_io_cmd(q, req, q->shared->op_commit, -EIO, q->scrap ? q->scrap : req->buf);
}

/* In place of run_timers() while the device is closing. */
static _cold_ void run_closing(struct queue *q)
{
	const struct ublk_backend *be = q->shared->backend;

	if (be->drain)
		be->drain(q->shared->ctx, q->index);
	run_timers(q);
	if (!atomic_load(&q->shared->cut))
		return;
	/* In every batch from now on: what was parked may be kept now. */
	q->cut = true;
	cut_all(q, true);
}

/* ------------------------------------------------------------------------------ the loop */

static void dispatch_sync(struct queue *q, struct req *req)
{
	const struct ublk_backend *be = q->shared->backend;
	int (*const handlers[UBLK_NR_OPS])(void *, struct ublk_req *) = {
		[UBLK_OP_READ] = be->read,
		[UBLK_OP_WRITE] = be->write,
		[UBLK_OP_FLUSH] = be->flush,
		[UBLK_OP_DISCARD] = be->discard,
		[UBLK_OP_WRITE_ZEROES] = be->write_zeroes,
	};

	if (!handlers[req->pub.op])
		finish_local(q, req, -EOPNOTSUPP);
	else
		finish_local(q, req, handlers[req->pub.op](q->shared->ctx, &req->pub));
}

static void dispatch(struct queue *q, struct req *req)
{
	const struct abi_io_desc *desc = &q->descs[req->pub.tag];
	unsigned int kernel_op = ABI_DESC_OP(desc);
	int op = kernel_op < ABI_NR_OPS ? op_of_kernel[kernel_op] : -1;

	req->pub.op = (uint8_t)(op < 0 ? 0 : op);
	req->pub.flags = ABI_DESC_FLAGS(desc);
	/* A FLUSH has no place: what the driver puts there means nothing. */
	req->pub.sector = op == UBLK_OP_FLUSH ? 0 : desc->start_sector;
	req->pub.len_bytes = op == UBLK_OP_FLUSH ? 0 : desc->nr_sectors << 9;
	req->start_ns = q->now_ns;
	set_state(req, REQ_BACKEND);
	if (op < 0)
		finish(q, req, -EOPNOTSUPP);
	else if (q->shared->backend->submit_ops & (1u << op))
		q->shared->backend->submit(q->shared->ctx, &req->pub);
	else
		dispatch_sync(q, req);
}

static void arm_wake(struct queue *q)
{
	struct io_uring_sqe *sqe = next_sqe(q);

	io_uring_prep_poll_multishot(sqe, WAKE_SLOT, POLLIN);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = WAKE_TAG;
}

/* @alone: there is no other completion now. */
static void on_own(struct queue *q, const struct io_uring_cqe *cqe, bool alone)
{
	eventfd_t ignored;

	if (cqe->user_data == QUEUE_IDLE_TAG) {
		if (!queue_on_idle(q, alone))
			queue_watch_idle(q, next_sqe(q));
		return;
	}
	/* Only so that a poll that is armed anew waits; each wake is told of, whatever was read. */
	eventfd_read(q->wake_fd, &ignored);
	q->closing = atomic_load(&q->shared->closing);
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_wake(q);
}

static void on_abort(struct queue *q, uint32_t tag, int res)
{
	q->nr_live--;
	if (res != ABI_RES_ABORT && !atomic_load(&q->shared->quit))
		log_at(&q->shared->log, UBLK_LOG_WARNING,
		       "device %d queue %u tag %u: the kernel ended it: %s", q->shared->id,
		       q->index, tag, strerror(-res));
}

static void reap(struct queue *q)
{
	struct io_uring_cqe *cqe;
	unsigned int head, nr = 0;
	uint64_t nr_requests = 0;

	io_uring_for_each_cqe (&q->ring, head, cqe) {
		nr++;
		if (cqe->user_data >= QUEUE_IDLE_TAG) {
			on_own(q, cqe, io_uring_cq_ready(&q->ring) == 1);
		} else if (cqe->res == ABI_RES_OK && __builtin_expect(q->cut, false)) {
			refuse(q, &q->reqs[cqe->user_data]);
		} else if (cqe->res == ABI_RES_OK) {
			nr_requests++;
			dispatch(q, &q->reqs[cqe->user_data]);
		} else {
			on_abort(q, (uint32_t)cqe->user_data, cqe->res);
		}
	}
	io_uring_cq_advance(&q->ring, nr);
	relaxed_add(&q->in_flight, nr_requests);
}

/* Submit all commits and wait for something to do, in one system call. */
static int submit_and_wait(struct queue *q)
{
	const struct timer_entry *first = timer_first(&q->timers);
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	uint64_t now_ns, wait_ns;
	int err;

	if (!first || first->due_ns == UINT64_MAX) {
		err = io_uring_submit_and_wait(&q->ring, 1);
		return err < 0 ? err : 0;
	}
	now_ns = clock_now_ns();
	if (q->closing || first->due_ns <= now_ns) {
		err = io_uring_submit_and_get_events(&q->ring);
		return err < 0 ? err : 0;
	}
	wait_ns = first->due_ns - now_ns;
	ts.tv_sec = (int64_t)(wait_ns / NSEC_PER_SEC);
	ts.tv_nsec = (int64_t)(wait_ns % NSEC_PER_SEC);
	err = io_uring_submit_and_wait_timeout(&q->ring, &cqe, 1, &ts, NULL);
	return err < 0 ? err : 0;
}

static void run_loop(struct queue *q)
{
	const struct ublk_backend *be = q->shared->backend;

	while (q->nr_live && !atomic_load_explicit(&q->shared->quit, memory_order_relaxed)) {
		int err = submit_and_wait(q);

		if (err && err != -ETIME && err != -EINTR && err != -EAGAIN && err != -EBUSY) {
			log_at(&q->shared->log, UBLK_LOG_ERROR,
			       "device %d queue %u: io_uring_enter: %s; the queue stops serving",
			       q->shared->id, q->index, strerror(-err));
			break;
		}
		q->now_ns = clock_now_ns();
		relaxed_add(&q->batches, 1);
		if (be->batch)
			be->batch(q->shared->ctx, q->index, q->now_ns);
		reap(q);
		run_remote(q);
		if (q->closing)
			run_closing(q);
		else
			run_timers(q);
		count_done(q);
		end_batch(q);
	}
}

/* ------------------------------------------------------------------------------ set-up */

static _cold_ int map_memory(struct queue *q)
{
	const struct queue_shared *s = q->shared;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t stride = ABI_MAX_QUEUE_DEPTH * sizeof(struct abi_io_desc);
	void *p;

	/* The offset of queue n is n times the space of a queue of the largest depth, in pages. */
	stride = (stride + page - 1) / page * page;
	q->descs_bytes = (s->depth * sizeof(struct abi_io_desc) + page - 1) / page * page;
	p = fail_value("lib/queue/map-descs", (errno = ENOMEM, MAP_FAILED),
		       mmap(NULL, q->descs_bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, s->cdev_fd,
			    (off_t)(ABI_DESC_OFFSET + q->index * stride)));
	if (p == MAP_FAILED)
		return -errno;
	q->descs = p;
	return s->path->map(q);
}

static _cold_ int alloc_requests(struct queue *q)
{
	const struct queue_shared *s = q->shared;
	/* Keep every pdu aligned for whatever the backend puts there, and off its neighbour's line.
	 */
	size_t pdu = (s->backend->pdu_bytes + 63) / 64 * 64;

	if (timer_init(&q->timers, s->depth))
		return -ENOMEM;
	q->done = fail_alloc("lib/queue/done", calloc(s->depth, sizeof(*q->done)));
	q->reqs = fail_alloc("lib/queue/reqs", calloc(s->depth, sizeof(*q->reqs)));
	q->pdus = pdu ? fail_alloc("lib/queue/pdus", aligned_alloc(64, pdu * s->depth)) : NULL;
	if (!q->done || !q->reqs || (pdu && !q->pdus))
		return -ENOMEM;
	if (pdu)
		memset(q->pdus, 0, pdu * s->depth);
	for (uint32_t tag = 0; tag < s->depth; tag++) {
		struct req *req = &q->reqs[tag];

		req->q = q;
		req->path = s->path;
		req->pub.queue = q->index;
		req->pub.tag = (uint16_t)tag;
		req->pub.pdu = pdu ? q->pdus + tag * pdu : NULL;
		req->buf = q->bufs ? q->bufs + (size_t)tag * s->max_io_bytes : NULL;
	}
	return 0;
}

static _cold_ int init_ring(struct queue *q)
{
	int files[] = { [CDEV_SLOT] = q->shared->cdev_fd, [WAKE_SLOT] = q->wake_fd };
	int err = ring_init_queue(&q->ring, q->shared->depth);

	if (err)
		return err;
	/* Where another thread's work may fill a buffer at any time, none is ever taken back. */
	q->ticking = !q->bufs || !(q->ring.flags & IORING_SETUP_DEFER_TASKRUN);
	err = fail_value("lib/queue/register-files", -ENOMEM,
			 io_uring_register_files(&q->ring, files, 2));
	if (err)
		io_uring_queue_exit(&q->ring);
	return err;
}

/* The kernel takes a ring apart some time later, and DEL_DEV would wait until it lets go of the device. */
static _cold_ void exit_ring(struct queue *q)
{
	const int none = -1;

	io_uring_register_files_update(&q->ring, CDEV_SLOT, &none, 1);
	io_uring_queue_exit(&q->ring);
}

static _cold_ void free_memory(struct queue *q)
{
	timer_exit(&q->timers);
	free(q->done);
	free(q->reqs);
	free(q->pdus);
	sparse_unmap(q->bufs, q->bufs_bytes);
	sparse_unmap(q->scrap, q->shared->max_io_bytes);
	if (q->descs)
		munmap((void *)q->descs, q->descs_bytes);
	q->done = NULL;
	q->reqs = NULL;
	q->pdus = NULL;
	q->bufs = NULL;
	q->scrap = NULL;
	q->descs = NULL;
}

/* Everything that the loop needs, on its own thread: the ring belongs to it, and so do the pages.
 */
static _cold_ int set_up(struct queue *q)
{
	const struct ublk_backend *be = q->shared->backend;
	int err = map_memory(q);

	if (!err)
		err = alloc_requests(q);
	if (!err)
		err = init_ring(q);
	if (err)
		goto fail_memory;
	if (be->queue_start)
		err = be->queue_start(q->shared->ctx, q->index);
	if (err)
		goto fail_ring;
	arm_wake(q);
	for (uint32_t tag = 0; tag < q->shared->depth; tag++)
		queue_io_cmd(q, &q->reqs[tag], q->shared->op_fetch, 0, q->reqs[tag].buf);
	q->nr_live = q->shared->depth;
	err = fail_value("lib/queue/fetch", -EAGAIN, io_uring_submit(&q->ring));
	if (err >= 0)
		return 0;
	if (be->queue_stop)
		be->queue_stop(q->shared->ctx, q->index);
fail_ring:
	exit_ring(q);
fail_memory:
	free_memory(q);
	return err;
}

static _cold_ void name_thread(const struct queue *q)
{
	char name[16];

	snprintf(name, sizeof(name), "ublk%dq%u", q->shared->id, q->index);
	pthread_setname_np(pthread_self(), name);
}

static _cold_ void *queue_main(void *arg)
{
	struct queue *q = arg;
	struct queue_shared *s = q->shared;

	current_queue = q;
	name_thread(q);
	/* Both are improvements, not needs: a container may forbid either. */
	fail_errno("lib/queue/flusher", EPERM, set_io_flusher(true));
	if (CPU_COUNT(&q->cpus))
		pthread_setaffinity_np(pthread_self(), sizeof(q->cpus), &q->cpus);
	q->error = set_up(q);
	if (!q->error)
		atomic_fetch_add(&s->running, 1);
	sem_post(&q->turn);
	if (q->error)
		return NULL;
	run_loop(q);
	cut_all(q, false);
	atomic_store_explicit(&q->in_flight, 0, memory_order_relaxed);
	if (s->backend->queue_stop)
		s->backend->queue_stop(s->ctx, q->index);
	exit_ring(q);
	if (atomic_fetch_sub(&s->running, 1) == 1)
		eventfd_write(s->gone_fd, 1);
	sem_post(&q->turn);
	return NULL;
}

static _cold_ int create_thread(struct queue *q)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -fail_value("lib/queue/thread", EAGAIN,
			  pthread_create(&q->thread, NULL, queue_main, q));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

_cold_ int queue_start(struct queue *q)
{
	int err;

	q->wake_fd =
		fail_errno("lib/queue/eventfd", EMFILE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (q->wake_fd < 0)
		return -errno;
	sem_init(&q->turn, 0, 0);
	atomic_store(&q->users, 1);
	err = create_thread(q);
	if (err)
		goto fail;
	while (sem_wait(&q->turn) < 0)
		;
	if (q->error) {
		pthread_join(q->thread, NULL);
		err = q->error;
		goto fail;
	}
	q->started = true;
	atomic_fetch_add(&q->shared->users, 1);
	return 0;

fail:
	sem_destroy(&q->turn);
	close(q->wake_fd);
	return err;
}

void queue_kick(struct queue *q)
{
	queue_point("kick");
	eventfd_write(q->wake_fd, 1);
}

_cold_ void queue_join(struct queue *q, unsigned int timeout_ms)
{
	const struct timespec until = clock_in_ns(timeout_ms * NSEC_PER_MSEC);
	int rc;

	if (!q->started)
		return;
	do
		rc = sem_clockwait(&q->turn, CLOCK_MONOTONIC, &until);
	while (rc < 0 && errno == EINTR);
	if (rc < 0) {
		atomic_store(&q->shared->quit, true);
		queue_kick(q);
	}
	pthread_join(q->thread, NULL);
	q->started = false;
	sem_destroy(&q->turn);
	queue_put(q, 1);
}

bool queue_is_own_thread(const struct queue_shared *shared)
{
	return current_queue && current_queue->shared == shared;
}

/* ------------------------------------------------------------------------------ what they share */

_cold_ struct queue_shared *queue_shared_new(void)
{
	struct queue_shared *shared = fail_alloc("lib/queue/shared", calloc(1, sizeof(*shared)));

	if (!shared)
		return NULL;
	shared->cdev_fd = -1;
	shared->gone_fd = -1;
	atomic_store(&shared->users, 1);
	return shared;
}

_cold_ int queue_shared_make_queues(struct queue_shared *shared, unsigned int nr)
{
	size_t size = sizeof(*shared->queues) * nr;

	shared->queues = fail_alloc("lib/queue/queues", aligned_alloc(64, size));
	if (!shared->queues)
		return -ENOMEM;
	memset(shared->queues, 0, size);
	return 0;
}

void queue_shared_put(struct queue_shared *shared)
{
	if (atomic_fetch_sub_explicit(&shared->users, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned int i = 0; i < shared->nr_queues; i++)
		close(shared->queues[i].wake_fd);
	if (shared->cdev_fd >= 0)
		close(shared->cdev_fd);
	free(shared->queues);
	free(shared);
}
