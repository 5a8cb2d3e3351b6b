// SPDX-License-Identifier: MIT
/*
 * The join. A request of the core and an io of the engine describe the same thing, so the numbers
 * of their ops and flags are kept equal (asserted below) and a request is carried over by plain
 * copies: no table look-ups and one branch, on whether its data lies in memory.
 */
#include "disk_in.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/host_memory.h"
#include "faults/recorder.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#define ADOPT_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define ADOPT_NAP_NS     (50 * NSEC_PER_USEC)
#define ADOPT_KICK_NS    (100 * NSEC_PER_MSEC)

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

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

/* ---------------------------------------------------------------------------- queue threads */

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

	pipeline_resume(disk->pipeline, &dio->io, disk->clocks[req->queue].now_ns);
	complete(req, &dio->io);
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

static void disk_wake(void *ctx)
{
	struct disk *disk = ctx;

	eventfd_write(disk->event_fd, 1);
}

static void disk_unpark(void *ctx, struct io *io)
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

/* ---------------------------------------------------------------------------- control thread */

struct base {
	struct store *store;
	struct recorder_disk *recorder;
};

/* A recording that cannot go on says so itself, and the disk does without it. */
static int record_extent(void *ctx, uint64_t at, uint64_t len)
{
	const struct base *base = ctx;
	uint64_t left = store_size(base->store) - at;

	return recorder_base(base->recorder, at, store_bytes(base->store) + at,
			     len < left ? len : left);
}

/* A recording begins with what the disk holds. */
static void record_base(const struct disk *disk, const struct disk_options *options)
{
	if (options->store && options->recorder)
		store_each_extent(disk->store, record_extent,
				  &(struct base){ disk->store, options->recorder });
}

struct rule_geometry disk_geometry(const struct ublk_options *options,
				   const struct cache_model *cache)
{
	return (struct rule_geometry){
		.size_bytes = options->size_bytes,
		.block_bytes = options->logical_block,
		.nr_queues = (uint16_t)options->nr_queues,
		.max_io_bytes = options->max_io_bytes,
		.no_flush = !options->volatile_cache,
		.no_fua = !options->fua,
		.no_discard = !options->max_discard_bytes,
		.no_zeroes = !options->max_zeroes_bytes,
		.has_cache = cache,
		.cache_unit_bytes = cache ? cache_model_unit(cache, options->logical_block) : 0,
	};
}

int disk_make_store(const struct disk_options *options, struct diag *diag, struct store **ret_store)
{
	int err = store_create(options->ublk.size_bytes, diag, ret_store);

	if (err)
		return err;
	store_watch_host(*ret_store, host_memory_room, "");
	if (options->capacity_bytes)
		store_limit(*ret_store, options->capacity_bytes);
	return 0;
}

static int create_engine(struct disk *disk, const struct disk_options *options, struct diag *diag)
{
	const struct pipeline_options pipeline = {
		.geometry = disk_geometry(&options->ublk,
					  options->cache ? &options->cache_model : NULL),
		.seed = options->seed,
		.cache = options->cache,
		.cache_model = options->cache_model,
		.recorder = options->recorder,
		.wake = disk_wake,
		.unpark = disk_unpark,
		.ctx = disk,
	};
	int err;

	disk->event_fd =
		fail_errno("tools/disk/eventfd", EMFILE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (disk->event_fd >= 0)
		disk->work_fd = fail_errno("tools/disk/work-eventfd", EMFILE,
					   eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (disk->work_fd < 0)
		return diag_set(diag, -errno, "disk.system", "no eventfd: %s", strerror(errno));
	err = disk->store ? 0 : disk_make_store(options, diag, &disk->store);
	if (err)
		return err;
	record_base(disk, options);
	err = pipeline_create(disk->store, &pipeline, &disk->pipeline);
	if (err)
		return diag_set(diag, err, "disk.memory", "the fault engine did not start: %s",
				strerror(-err));
	disk->clocks = fail_alloc(
		"tools/disk/clocks",
		aligned_alloc(DISK_CACHE_LINE, options->ublk.nr_queues * sizeof(*disk->clocks)));
	if (!disk->clocks)
		return diag_set(diag, -ENOMEM, "disk.memory", "no memory for %u queues",
				options->ublk.nr_queues);
	memset(disk->clocks, 0, options->ublk.nr_queues * sizeof(*disk->clocks));
	return 0;
}

static void cleanup_disk(struct disk **disk)
{
	disk_free(*disk);
}

int disk_open(const struct disk_options *options, struct diag *diag, struct disk **ret_disk)
{
	_cleanup_(cleanup_disk) struct disk *disk =
		fail_alloc("tools/disk/alloc", calloc(1, sizeof(*disk)));
	int err;

	if (!disk) {
		store_free(options->store);
		return diag_set(diag, -ENOMEM, "disk.memory", "no memory");
	}
	pthread_mutex_init(&disk->log_lock, NULL);
	disk->store = options->store;
	disk->event_fd = disk->work_fd = -1;
	disk->log = options->ublk.log;
	disk->log_ctx = options->ublk.log_ctx;
	disk->seed = options->seed;
	disk->decide = options->decide;
	disk->decide_ctx = options->decide_ctx;
	if (options->ublk.nr_queues == 0 || options->ublk.nr_queues > UINT16_MAX)
		return diag_set(diag, -EINVAL, "disk.queues", "queues: got %u, wanted 1 to %u",
				options->ublk.nr_queues, UINT16_MAX);
	err = create_engine(disk, options, diag);
	if (!err)
		err = disk_make_device(disk, &options->ublk, diag, &disk->dev);
	if (err)
		return err;
	disk->options = *ublk_dev_options(disk->dev);
	/* A queue that the kernel does not serve would never adopt a plan. */
	if (ublk_dev_options(disk->dev)->nr_queues != options->ublk.nr_queues)
		return diag_set(diag, -EOPNOTSUPP, "disk.queues",
				"queues: asked for %u, the kernel gives %u",
				options->ublk.nr_queues, ublk_dev_options(disk->dev)->nr_queues);
	disk->opened_ns = clock_now_ns();
	if (options->name)
		snprintf(disk->name, sizeof(disk->name), "%s", options->name);
	else
		snprintf(disk->name, sizeof(disk->name), "ublkb%d", ublk_dev_id(disk->dev));
	*ret_disk = take_ptr(disk);
	return 0;
}

struct disk *disk_free(struct disk *disk)
{
	if (!disk)
		return NULL;
	disk_remove(disk);
	pipeline_free(disk->pipeline);
	store_free(disk->store);
	free(disk->clocks);
	if (disk->event_fd >= 0)
		close(disk->event_fd);
	if (disk->work_fd >= 0)
		close(disk->work_fd);
	pthread_mutex_destroy(&disk->log_lock);
	free(disk);
	return NULL;
}

const char *disk_name(const struct disk *disk)
{
	return disk->name;
}

uint64_t disk_seed(const struct disk *disk)
{
	return disk->seed;
}

uint64_t disk_uptime_ns(const struct disk *disk)
{
	return clock_now_ns() - disk->opened_ns;
}

struct ublk_dev *disk_dev(struct disk *disk)
{
	return disk->dev;
}

const struct ublk_options *disk_ublk_options(const struct disk *disk)
{
	return &disk->options;
}

struct pipeline *disk_pipeline(struct disk *disk)
{
	return disk->pipeline;
}

struct store *disk_store(struct disk *disk)
{
	return disk->store;
}

int disk_event_fd(const struct disk *disk)
{
	return disk->event_fd;
}

void disk_event_seen(struct disk *disk)
{
	eventfd_t ignored;

	eventfd_read(disk->event_fd, &ignored);
}

/* Closed by us, or deleted by somebody else: no queue is left that could adopt anything. */
static bool disk_is_gone(const struct disk *disk)
{
	struct pollfd gone = { .fd = disk->dev ? ublk_dev_gone_fd(disk->dev) : -1,
			       .events = POLLIN };

	return disk->closed || poll(&gone, 1, 0) > 0;
}

/* Without a device there are no queue threads: this thread stands in for all of them. */
static void adopt_for_all(struct disk *disk)
{
	for (uint16_t i = 0; i < disk->options.nr_queues; i++)
		pipeline_adopt(disk->pipeline, i);
}

/* A full recording makes them wait, for as long as the user wants. */
static bool waits_for_recording(const struct disk *disk)
{
	struct recorder_disk *recorder = pipeline_recorder(disk->pipeline);
	struct recorder_status status = { 0 };

	if (recorder)
		recorder_status(recorder_of(recorder), &status);
	return status.state == RECORDER_FULL;
}

/* ------------------------------------------------------------------------------ waiting */

/* What is said where the queues take too long, and no more can be said. */
struct late {
	const char *id, *what;
};

/*
 * A kick may be swallowed by a queue that was just about to sleep when it came; it is repeated,
 * rarely, so that the wait does not depend on the next request.
 */
static int wait_queues(struct disk *disk, bool (*there)(struct disk *disk, uint64_t epoch),
		       uint64_t epoch, const struct late *late, struct diag *diag)
{
	const struct timespec nap = { .tv_nsec = ADOPT_NAP_NS };
	uint64_t start_ns = clock_now_ns(), kicked_ns = start_ns, now_ns;

	while (!there(disk, epoch)) {
		nanosleep(&nap, NULL);
		now_ns = clock_now_ns();
		if (waits_for_recording(disk))
			return diag_set(diag, -ETIMEDOUT, "recording.full",
					"the queues wait, and see nothing new: the recording is "
					"full, see `faultblk recording`");
		if (disk_is_gone(disk))
			return diag_set(diag, -ENODEV, "disk.gone", "the disk is gone");
		if (now_ns - start_ns > ADOPT_TIMEOUT_NS)
			return diag_set(diag, -ETIMEDOUT, late->id, "%s within %d s", late->what,
					(int)(ADOPT_TIMEOUT_NS / NSEC_PER_SEC));
		if (now_ns - kicked_ns > ADOPT_KICK_NS) {
			disk_kick(disk);
			kicked_ns = now_ns;
		}
	}
	return 0;
}

static bool has_adopted(struct disk *disk, uint64_t epoch)
{
	return pipeline_adopted(disk->pipeline, epoch);
}

static int wait_adopted(struct disk *disk, uint64_t epoch, struct diag *diag)
{
	static const struct late late = { "rules.not-adopted", "the rules are published, but a "
							       "queue has not taken them up" };

	return wait_queues(disk, has_adopted, epoch, &late, diag);
}

static bool is_frozen(struct disk *disk, uint64_t epoch)
{
	(void)epoch;
	return pipeline_is_frozen(disk->pipeline);
}

/* What we allocate while the queues stand still must not wait for I/O of this very disk. */
static void set_flusher(bool on)
{
	prctl(PR_SET_IO_FLUSHER, on, 0, 0, 0);
}

int disk_freeze(struct disk *disk, struct diag *diag)
{
	static const struct late late = { "disk.busy", "a queue has not come to a stop" };
	int err;

	if (!disk->dev || disk->closed)
		return 0;
	set_flusher(true);
	pipeline_freeze(disk->pipeline);
	disk_kick(disk);
	err = wait_queues(disk, is_frozen, 0, &late, diag);
	if (!err && failpoint("tools/disk/freeze"))
		err = diag_set(diag, -ETIMEDOUT, late.id, "%s", late.what);
	if (err)
		disk_thaw(disk);
	return err;
}

void disk_thaw(struct disk *disk)
{
	pipeline_thaw(disk->pipeline);
	set_flusher(false);
}

int disk_cut(struct disk *disk, const struct power_cut *cut, bool remove, struct diag *diag,
	     struct power_cut_result *ret_result)
{
	int err = pipeline_crash(disk->pipeline, cut, remove, ret_result);

	if (err) {
		diag_set(diag, err, "disk.no-power", "the disk is without power already");
		diag_hint(diag, "bring it back with: faultblk revive");
	}
	return err;
}

int disk_crash(struct disk *disk, const struct power_cut *cut, bool remove, struct diag *diag,
	       struct power_cut_result *ret_result)
{
	int err = disk_freeze(disk, diag);

	if (err)
		return err;
	err = disk_cut(disk, cut, remove, diag, ret_result);
	disk_thaw(disk);
	return err;
}

void disk_kick(struct disk *disk)
{
	if (disk->dev)
		ublk_dev_kick(disk->dev);
	else if (disk_has_no_queues(disk))
		adopt_for_all(disk);
}

int disk_set_rules(struct disk *disk, const struct rule_set *set, struct diag *diag)
{
	uint64_t epoch;
	int err;

	if (disk_is_gone(disk))
		return diag_set(diag, -ENODEV, "disk.gone", "the disk is gone");
	err = pipeline_publish(disk->pipeline, set, clock_now_ns(), diag, &epoch);
	if (err)
		return err;
	disk_kick(disk);
	return wait_adopted(disk, epoch, diag);
}
