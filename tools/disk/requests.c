// SPDX-License-Identifier: MIT
/*
 * The join. A request of the core and an io of the engine describe the same thing, so the numbers
 * of their ops and flags are kept equal (asserted below) and a request is carried over by plain
 * copies: no table look-ups and one branch, on whether its data lies in memory.
 */
#include "tools/disk/internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <sys/eventfd.h>

_Static_assert((int)UBLK_OP_READ == (int)IO_READ, "op");
_Static_assert((int)UBLK_OP_WRITE == (int)IO_WRITE, "op");
_Static_assert((int)UBLK_OP_FLUSH == (int)IO_FLUSH, "op");
_Static_assert((int)UBLK_OP_DISCARD == (int)IO_DISCARD, "op");
_Static_assert((int)UBLK_OP_WRITE_ZEROES == (int)IO_ZEROES, "op");
_Static_assert((int)UBLK_NR_OPS == (int)IO_NR_OPS, "op");
_Static_assert((int)UBLK_REQ_FUA == (int)IO_FUA, "flag");
_Static_assert((int)UBLK_REQ_META == (int)IO_META, "flag");
_Static_assert((int)UBLK_REQ_NOUNMAP == (int)IO_NOUNMAP, "flag");
_Static_assert((int)UBLK_REQ_SWAP == (int)IO_SWAP, "flag");
_Static_assert((int)UBLK_REQ_FAILFAST_DEV == (int)IO_FAILFAST_DEV, "flag");
_Static_assert((int)UBLK_REQ_FAILFAST_TRANSPORT == (int)IO_FAILFAST_TRANSPORT, "flag");
_Static_assert((int)UBLK_REQ_FAILFAST_DRIVER == (int)IO_FAILFAST_DRIVER, "flag");

/* The memory of one tag. */
struct disk_io {
	struct io io; /* first: the engine hands back &io */
	struct ublk_req *req;
};

static int data_get(struct io *io, size_t offset, void *to, size_t len)
{
	return ublk_req_get(((struct disk_io *)io)->req, offset, to, len);
}

static int data_put(struct io *io, size_t offset, const void *from, size_t len)
{
	return ublk_req_put(((struct disk_io *)io)->req, offset, from, len);
}

static const struct io_data_ops data_ops = { .get = data_get, .put = data_put };

static inline void complete(struct ublk_req *req, const struct io *io)
{
	ublk_req_complete(req, io->result < 0 ? io->result : 0);
}

_cold_ static enum io_verdict submit_decided(struct disk *disk, struct io *io, uint64_t now_ns)
{
	const struct decision *decisions = NULL;
	enum io_verdict verdict = IO_DONE;
	size_t nr = 0;

	if (!disk->decide(disk->decide_ctx, io, &decisions, &nr))
		nr = 0;
	if (pipeline_submit_decided(disk->pipeline, io, now_ns, decisions, nr, &verdict))
		io->result = -EINVAL;
	return verdict;
}

static enum io_verdict submit(struct disk *disk, struct io *io, uint64_t now_ns)
{
	if (__builtin_expect(!disk->decide, true))
		return pipeline_submit(disk->pipeline, io, now_ns);
	return submit_decided(disk, io, now_ns);
}

static void disk_submit(void *ctx, struct ublk_req *req)
{
	struct disk *disk = ctx;
	struct disk_io *dio = req->pdu;
	struct io *io = &dio->io;

	dio->req = req;
	io->sector = req->sector;
	io->len_bytes = req->len_bytes;
	io->op = req->op;
	io->queue = req->queue;
	io->flags = req->flags;
	io->data = req->op <= UBLK_OP_WRITE ? ublk_req_data(req) : NULL;
	io->data_ops = &data_ops;
	if (submit(disk, io, disk->clocks[req->queue].now_ns) == IO_DONE)
		complete(req, io);
	else
		ublk_req_park(req, io->due_ns);
}

static void disk_resume(void *ctx, struct ublk_req *req)
{
	struct disk *disk = ctx;
	struct disk_io *dio = req->pdu;

	if (pipeline_resume(disk->pipeline, &dio->io, disk->clocks[req->queue].now_ns) == IO_DONE)
		complete(req, &dio->io);
	else
		ublk_req_park(req, dio->io.due_ns);
}

static void disk_batch(void *ctx, unsigned int queue, uint64_t now_ns)
{
	struct disk *disk = ctx;

	disk->clocks[queue].now_ns = now_ns;
	pipeline_adopt(disk->pipeline, (uint16_t)queue);
}

static void disk_batch_done(void *ctx, unsigned int queue)
{
	struct disk *disk = ctx;

	pipeline_batch_done(disk->pipeline, (uint16_t)queue);
}

void disk_wake(void *ctx)
{
	struct disk *disk = ctx;

	eventfd_write(disk->event_fd, 1);
}

void disk_unpark(void *ctx, struct io *io)
{
	(void)ctx;
	ublk_req_unpark(((struct disk_io *)io)->req);
}

static int disk_queue_start(void *ctx, unsigned int queue)
{
	struct disk *disk = ctx;

	(void)queue;
	atomic_fetch_add(&disk->nr_running, 1);
	return 0;
}

/* The last that a queue thread does here. */
static void disk_queue_stop(void *ctx, unsigned int queue)
{
	struct disk *disk = ctx;

	(void)queue;
	atomic_fetch_sub(&disk->nr_running, 1);
	eventfd_write(disk->work_fd, 1);
}

const struct ublk_backend disk_backend = {
	.name = "faultblk",
	.submit_ops = (1u << UBLK_NR_OPS) - 1,
	.submit = disk_submit,
	.resume = disk_resume,
	.batch = disk_batch,
	.batch_done = disk_batch_done,
	.queue_start = disk_queue_start,
	.queue_stop = disk_queue_stop,
	.pdu_bytes = sizeof(struct disk_io),
};

_Static_assert(UBLK_OP_READ == 0 && UBLK_OP_WRITE == 1, "ops with data come first");
