/* SPDX-License-Identifier: MIT */
/*
 * A ublk driver in the test's own process, so that a device's life can be tested without a kernel
 * that has one, and under the thread sanitizer. It takes the place of the control commands, of the
 * calls of liburing that enter the kernel, and of the device nodes; lib/queue.c and lib/device.c
 * are compiled into the test on top of it, as they are.
 *
 *	test: fake_submit_io() -> [request of a tag] -> queue thread -> backend -> commit -> fake_result()
 *
 * It keeps to what the driver does: a request needs a tag whose FETCH is there; data of a WRITE is
 * put where the last command of the tag said, before the server hears of it; a stop waits for every
 * request, those without a tag included, and only then aborts the tags.
 *
 * fake_point() is where a thread can be held up: fake_hold() names the place, fake_held() waits
 * until a thread is there, fake_go() lets it go on.
 */
#ifndef TESTS_FAKE_UBLK_H
#define TESTS_FAKE_UBLK_H

#include "abi.h"
#include "base/clock.h"
#include "control.h"
#include "holders.h"
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_ID     990001
#define FAKE_QUEUES 4
#define FAKE_DEPTH  16
#define FAKE_IOS    64
#define FAKE_STRIDE (ABI_MAX_QUEUE_DEPTH * sizeof(struct abi_io_desc))
#define FAKE_LONG   (20 * NSEC_PER_SEC) /* whatever takes that long will not come */

enum fake_tag_state { TAG_NEW, TAG_FETCHED, TAG_SERVED, TAG_DEAD };

struct fake_io {
	bool used, started, done;
	unsigned int queue, op, len;
	uint64_t sector;
	int result;
};

struct fake_tag {
	enum fake_tag_state state;
	uint64_t addr;
	struct fake_io *io;
};

struct fake_ring {
	struct io_uring *ring;
	struct io_uring_sqe sqes[2 * FAKE_DEPTH];
	struct io_uring_cqe cqes[4 * FAKE_DEPTH];
	unsigned int sq_head, sq_tail, cq_head, cq_tail;
	int wake_fd, doorbell, queue;
	bool armed;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int memfd;
	struct abi_io_desc *descs;
	unsigned int nr_queues, depth, openers;
	unsigned int nr_looks; /* at who holds the disk */
	bool seen;             /* then there is somebody to see */
	bool has_safe_stop, stopping, stopped;
	enum abi_ctrl under_way;
	struct fake_tag tags[FAKE_QUEUES][FAKE_DEPTH];
	struct fake_io ios[FAKE_IOS];
	struct fake_ring rings[FAKE_QUEUES];
	unsigned int nr_rings;
	const char *hold;
	mode_t in_the_way; /* what is to be a node of this type is none; 0: all are */
	sem_t held, go;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* ------------------------------------------------------------------------------ holding up */

static __thread bool fake_may_hold;

static void fake_point(const char *where)
{
	bool here;

	if (!fake_may_hold)
		return;
	pthread_mutex_lock(&fake.lock);
	here = fake.hold && !strcmp(fake.hold, where);
	pthread_mutex_unlock(&fake.lock);
	if (!here)
		return;
	sem_post(&fake.held);
	sem_wait(&fake.go);
}

static void fake_hold(const char *where)
{
	pthread_mutex_lock(&fake.lock);
	fake.hold = where;
	pthread_mutex_unlock(&fake.lock);
}

static void fake_held(void)
{
	while (sem_wait(&fake.held) < 0)
		;
}

static void fake_go(void)
{
	fake_hold(NULL);
	sem_post(&fake.go);
}

/* ------------------------------------------------------------------------------ requests */

static void fake_ring_doorbells(void)
{
	for (unsigned int i = 0; i < fake.nr_rings; i++)
		eventfd_write(fake.rings[i].doorbell, 1);
	pthread_cond_broadcast(&fake.changed);
}

static struct fake_io *fake_submit_io(unsigned int queue, unsigned int op, uint64_t sector,
				      unsigned int len)
{
	struct fake_io *io = fake.ios;

	pthread_mutex_lock(&fake.lock);
	while (io->used)
		io++;
	*io = (struct fake_io){
		.used = true, .queue = queue, .op = op, .sector = sector, .len = len
	};
	fake_ring_doorbells();
	pthread_mutex_unlock(&fake.lock);
	return io;
}

/* Wait for the request's end; 1: it did not come. */
static int fake_result(struct fake_io *io)
{
	struct timespec until = clock_in_ns(FAKE_LONG);
	int result = 1;

	pthread_mutex_lock(&fake.lock);
	while (!io->done &&
	       !pthread_cond_clockwait(&fake.changed, &fake.lock, CLOCK_MONOTONIC, &until))
		;
	if (io->done) {
		result = io->result < 0 ? io->result : 0;
		io->used = false;
	}
	pthread_mutex_unlock(&fake.lock);
	return result;
}

static bool fake_has_ended(struct fake_io *io)
{
	bool done;

	pthread_mutex_lock(&fake.lock);
	done = io->done;
	pthread_mutex_unlock(&fake.lock);
	return done;
}

/* ------------------------------------------------------------------------------ the ring */

static void fake_cqe(struct fake_ring *r, uint64_t user_data, int res, unsigned int flags)
{
	r->cqes[r->cq_tail % (4 * FAKE_DEPTH)] =
		(struct io_uring_cqe){ .user_data = user_data, .res = res, .flags = flags };
	__atomic_store_n(&r->cq_tail, r->cq_tail + 1, __ATOMIC_RELEASE);
}

static void fake_command(struct fake_ring *r, const struct io_uring_sqe *sqe)
{
	struct abi_io_cmd cmd;
	struct fake_tag *tag;

	memcpy(&cmd, sqe->cmd, sizeof(cmd));
	r->queue = cmd.queue_id;
	tag = &fake.tags[cmd.queue_id][cmd.tag];
	if (tag->io) {
		if (tag->io->op == ABI_OP_READ && cmd.result > 0) /* the driver copies it out */
			for (int i = 0; i < cmd.result; i++)
				tag->io->sector += ((volatile unsigned char *)tag->addr)[i];
		tag->io->result = cmd.result;
		tag->io->done = true;
		tag->io = NULL;
	}
	tag->addr = cmd.addr;
	tag->state = TAG_FETCHED;
}

static void fake_consume(struct fake_ring *r)
{
	struct io_uring_sq *sq = &r->ring->sq;

	for (; sq->sqe_head != sq->sqe_tail; sq->sqe_head++) {
		const struct io_uring_sqe *sqe = &r->sqes[sq->sqe_head % (2 * FAKE_DEPTH)];

		if (sqe->opcode == IORING_OP_POLL_ADD)
			r->armed = true;
		else
			fake_command(r, sqe);
	}
	r->sq_head = sq->sqe_head;
	pthread_cond_broadcast(&fake.changed);
}

static void fake_dispatch(struct fake_ring *r, struct fake_io *io, unsigned int tag)
{
	struct fake_tag *t = &fake.tags[r->queue][tag];
	struct abi_io_desc *desc =
		(void *)((char *)fake.descs + (unsigned int)r->queue * FAKE_STRIDE);

	if (io->op == ABI_OP_WRITE && t->addr)
		memset((void *)t->addr, (int)io->sector, io->len);
	desc[tag] = (struct abi_io_desc){ .op_flags = io->op,
					  .nr_sectors = io->len >> 9,
					  .start_sector = io->sector };
	io->started = true;
	t->io = io;
	t->state = TAG_SERVED;
	fake_cqe(r, tag, 0, 0);
}

/* What the driver has for this ring now. */
static void fake_deliver(struct fake_ring *r)
{
	struct pollfd wake = { .fd = r->wake_fd, .events = POLLIN };

	if (r->armed && poll(&wake, 1, 0) > 0)
		fake_cqe(r, UINT64_MAX, POLLIN, IORING_CQE_F_MORE);
	for (unsigned int i = 0; i < FAKE_IOS; i++) {
		struct fake_io *io = &fake.ios[i];
		unsigned int tag = 0;

		if (!io->used || io->started || (int)io->queue != r->queue)
			continue;
		while (tag < fake.depth && fake.tags[r->queue][tag].state != TAG_FETCHED)
			tag++;
		if (tag < fake.depth)
			fake_dispatch(r, io, tag);
	}
	for (unsigned int tag = 0; fake.stopped && r->queue >= 0 && tag < fake.depth; tag++)
		if (fake.tags[r->queue][tag].state == TAG_FETCHED) {
			fake.tags[r->queue][tag].state = TAG_DEAD;
			fake_cqe(r, tag, -ENODEV, 0);
		}
}

static int fake_enter(struct io_uring *ring, int timeout_ms)
{
	struct fake_ring *r = &fake.rings[ring->ring_fd];
	uint64_t ignored;

	for (;;) {
		struct pollfd p[] = { { .fd = r->doorbell, .events = POLLIN },
				      { .fd = r->wake_fd, .events = POLLIN } };

		pthread_mutex_lock(&fake.lock);
		fake_consume(r);
		fake_deliver(r);
		pthread_mutex_unlock(&fake.lock);
		if (r->cq_tail != r->cq_head || !timeout_ms)
			return 0;
		if (poll(p, 2, timeout_ms) == 0)
			return -ETIME;
		if (p[0].revents && read(r->doorbell, &ignored, sizeof(ignored)) < 0)
			abort();
	}
}

static int fake_submit(struct io_uring *ring)
{
	struct fake_ring *r = &fake.rings[ring->ring_fd];

	pthread_mutex_lock(&fake.lock);
	fake_consume(r);
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

static int fake_wait_timeout(struct io_uring *ring, const struct __kernel_timespec *ts)
{
	return fake_enter(ring, (int)(ts->tv_sec * 1000 + ts->tv_nsec / 1000000) + 1);
}

static int fake_ring_init(struct io_uring *ring)
{
	struct fake_ring *r;

	pthread_mutex_lock(&fake.lock);
	r = &fake.rings[fake.nr_rings];
	*r = (struct fake_ring){ .ring = ring, .queue = -1 };
	r->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memset(ring, 0, sizeof(*ring));
	ring->ring_fd = (int)fake.nr_rings++;
	ring->sq.khead = &r->sq_head;
	ring->sq.ktail = &r->sq_tail;
	ring->sq.sqes = r->sqes;
	ring->sq.ring_entries = 2 * FAKE_DEPTH;
	ring->sq.ring_mask = 2 * FAKE_DEPTH - 1;
	ring->cq.khead = &r->cq_head;
	ring->cq.ktail = &r->cq_tail;
	ring->cq.cqes = r->cqes;
	ring->cq.ring_entries = 4 * FAKE_DEPTH;
	ring->cq.ring_mask = 4 * FAKE_DEPTH - 1;
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

static int fake_register_files(struct io_uring *ring, const int *files)
{
	fake.rings[ring->ring_fd].wake_fd = files[1];
	return 0;
}

static void fake_ring_exit(struct io_uring *ring)
{
	close(fake.rings[ring->ring_fd].doorbell);
}

/* ------------------------------------------------------------------------------ control, nodes */

int control_open(struct control *control, bool force_legacy, const struct logger *log)
{
	(void)force_legacy, (void)log;
	*control = (struct control){ .command = NULL };
	return 0;
}

void control_close(struct control *control)
{
	(void)control;
}

const char *control_name(enum abi_ctrl nr)
{
	return nr == ABI_START_DEV ? "START_DEV" : "a command";
}

uint32_t control_io_op(const struct control *control, enum abi_io_nr nr)
{
	(void)control;
	return nr;
}

int control_dev_info(struct control *control, int id, struct abi_dev_info *info)
{
	(void)control, (void)id, (void)info;
	return -ENODEV;
}

int control_cmd(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	struct abi_dev_info *info = args->buf;

	(void)control;
	if (nr == ABI_ADD_DEV) {
		info->dev_id = FAKE_ID;
		fake.nr_queues = info->nr_hw_queues;
		fake.depth = info->queue_depth;
		if (fake.has_safe_stop)
			info->flags |= ABI_F_SAFE_STOP_DEV;
	}
	return 0;
}

int control_start(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	(void)args;
	pthread_mutex_lock(&fake.lock);
	fake.under_way = nr;
	control->pending = true;
	fake.stopping |= nr == ABI_STOP_DEV || (nr == ABI_TRY_STOP_DEV && !fake.openers);
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

/* 1: not yet. */
static int fake_control_result(void)
{
	if (fake.under_way == ABI_TRY_STOP_DEV && !fake.stopping)
		return -EBUSY;
	if (fake.under_way == ABI_STOP_DEV || fake.under_way == ABI_TRY_STOP_DEV) {
		for (unsigned int i = 0; i < FAKE_IOS; i++)
			if (fake.ios[i].used && !fake.ios[i].done)
				return 1;
		fake.stopped = true;
		fake_ring_doorbells();
	}
	return 0;
}

int control_wait(struct control *control, unsigned int timeout_ms)
{
	struct timespec until = clock_in_ns(timeout_ms * NSEC_PER_MSEC);
	int result;

	pthread_mutex_lock(&fake.lock);
	while ((result = fake_control_result()) == 1 &&
	       !pthread_cond_clockwait(&fake.changed, &fake.lock, CLOCK_MONOTONIC, &until))
		;
	control->pending = result == 1;
	pthread_mutex_unlock(&fake.lock);
	return result == 1 ? -ETIMEDOUT : result;
}

static int fake_open(const char *path, int flags)
{
	if (strncmp(path, "/dev/ublkc", 10))
		return open(path, flags);
	return fcntl(fake.memfd, F_DUPFD_CLOEXEC, 0);
}

static enum node_is fake_node_look(mode_t type, dev_t *ret_dev)
{
	if (ret_dev)
		*ret_dev = 0;
	return type == fake.in_the_way ? NODE_IN_THE_WAY : NODE_THERE;
}

static int fake_node_say(const char *path, const struct logger *log)
{
	return log_error(log, -EEXIST, "%s is in the way", path);
}

/* In the place of all of /proc. */
static int fake_holders(struct ublk_holder *holders)
{
	fake.nr_looks++;
	if (fake.seen)
		*holders = (struct ublk_holder){ UBLK_HOLD_OPEN, 7, "reader", "" };
	return fake.seen;
}

/* A machine with the driver, and without disks. */
static void fake_init(void)
{
	if (fake.memfd <= 0) {
		fake.memfd = memfd_create("fake-ublk", MFD_CLOEXEC);
		if (ftruncate(fake.memfd, FAKE_QUEUES * FAKE_STRIDE) < 0)
			abort();
		fake.descs = mmap(NULL, FAKE_QUEUES * FAKE_STRIDE, PROT_READ | PROT_WRITE,
				  MAP_SHARED, fake.memfd, 0);
		sem_init(&fake.held, 0, 0);
		sem_init(&fake.go, 0, 0);
	}
	memset(fake.tags, 0, sizeof(fake.tags));
	memset(fake.ios, 0, sizeof(fake.ios));
	fake.nr_rings = fake.openers = fake.nr_looks = 0;
	fake.seen = false;
	fake.stopping = fake.stopped = false;
	fake.has_safe_stop = true;
	fake.hold = NULL;
	fake.in_the_way = 0;
}

/* From here on the core under test sees all of that. */
#define queue_point                                      fake_point
#define ring_init_queue(ring, n)                         fake_ring_init(ring)
#define io_uring_register_files(r, f, n)                 fake_register_files(r, f)
#define io_uring_register_files_update(r, at, f, n)      ((void)(f))
#define io_uring_queue_exit                              fake_ring_exit
#define io_uring_submit                                  fake_submit
#define io_uring_submit_and_wait(r, n)                   fake_enter(r, -1)
#define io_uring_submit_and_get_events(r)                fake_enter(r, 0)
#define io_uring_submit_and_wait_timeout(r, c, n, ts, s) ((void)(c), fake_wait_timeout(r, ts))
#define ublk_holders(id, holders, n)                     fake_holders(holders)
#define disk_nodes_holders(nodes, holders, n)            fake_holders(holders)
#define open                                             fake_open
#define node_look(path, type, dev)                       fake_node_look(type, dev)
#define node_say_in_the_way                              fake_node_say

#endif
