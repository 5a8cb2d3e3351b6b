// SPDX-License-Identifier: MIT
/*
 * A save pins a snapshot, its own one or the user's, and reads that; queues copy what they change.
 * A load changes the disk as a queue would, a piece at a time; nothing of it is volatile at the
 * end. Both need the locks of the store, which a disk with one queue has only while they last:
 * locks come and go while the queues stand still.
 *
 * The thread also opens the file: a path is whatever its owner made it, a place that no longer
 * answers included, and who waits for it is this thread alone. It can be told to end, but not be
 * made to: where the kernel does not let it go, the job is left to it, with all that it may touch.
 */
#include "tools/disk/image_job.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "faults/disk/apply.h"
#include "tools/disk/image.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct image_job {
	struct disk *disk;
	enum image_what what;
	struct snapshot *snapshot; /* what is saved */
	bool own;                  /* it is removed at the end */
	bool force;
	struct image_limits limits; /* what can be loaded */
	int dev_id;                 /* of the disk; -1: none */
	char path[PATH_MAX];
	int event_fd;
	pthread_t thread;
	_Atomic bool cancel;
	/* The thread's, until it has ended. */
	struct image_out out;
	struct image image;
	uint64_t size; /* of the image that was loaded */
	struct diag diag;
	int err;
	uint64_t bytes;
};

/* ------------------------------------------------------------------------------ the thread */

static uint64_t source(void *ctx, uint64_t at, uint64_t len, unsigned char *data, bool *ret_hole)
{
	struct image_job *job = ctx;

	_Static_assert(IMAGE_SOURCE_MAX >= SNAPSHOT_READ_MAX, "the buffer has room");
	if (atomic_load(&job->cancel))
		return 0;
	return snapshots_read(pipeline_snapshots(disk_pipeline(job->disk)), job->snapshot, at, len,
			      data, ret_hole);
}

static int save(struct image_job *job)
{
	int err = image_out_open(job->path, job->force, &job->diag, &job->out);

	if (err)
		return err;
	err = image_out_write(&job->out, store_size(disk_store(job->disk)), source, job, &job->diag,
			      &job->bytes);
	if (!err)
		err = image_out_commit(&job->out, &job->diag);
	image_out_close(&job->out);
	return err;
}

static int take(struct image_job *job, uint64_t at, const unsigned char *bytes, uint64_t len)
{
	struct snapshots *snapshots = pipeline_snapshots(disk_pipeline(job->disk));
	const struct backing backing = { .store = disk_store(job->disk), .snapshots = snapshots };
	int err = 0;

	if (atomic_load(&job->cancel))
		return diag_set(&job->diag, -ECANCELED, "image.cancelled",
				"%.200s: abandoned, as the disk is being removed", job->path);
	snapshots_lock(snapshots);
	if (bytes)
		err = apply_data(&backing, at, bytes, len);
	else
		err = apply_punch(&backing, at, len);
	snapshots_unlock(snapshots);
	return err;
}

static int take_data(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len)
{
	struct image_job *job = ctx;

	job->bytes += len;
	return take(job, at, bytes, len);
}

static int take_hole(void *ctx, uint64_t at, uint64_t len)
{
	return take(ctx, at, NULL, len);
}

static int load_open(struct image_job *job)
{
	const struct image_sink sink = { .data = take_data, .hole = take_hole, .ctx = job };
	uint64_t end = job->image.size_bytes, size = store_size(disk_store(job->disk));
	int err;

	/* What reads a disk from itself waits for itself when the disk stands still. */
	if (image_is_device(&job->image, job->dev_id))
		return diag_set(&job->diag, -EINVAL, "image.itself",
				"%.200s is the disk itself, which has this content already",
				job->path);
	err = image_read(&job->image, &sink, &job->diag);
	if (!err && end < size)
		err = take(job, end, NULL, size - end);
	return err ? image_room_error(job->path, disk_store(job->disk), err, &job->diag) : 0;
}

static int load(struct image_job *job)
{
	int err = image_open(job->path, &job->limits, &job->diag, &job->image);

	if (err)
		return err;
	job->size = job->image.size_bytes;
	err = load_open(job);
	image_close(&job->image);
	return err;
}

static void *run(void *ctx)
{
	struct image_job *job = ctx;

	job->err = job->what == IMAGE_SAVE ? save(job) : load(job);
	eventfd_write(job->event_fd, 1);
	return NULL;
}

/* ------------------------------------------------------------------------------ control thread */

/* The queues stand still. */
static int begin(struct image_job *job, const char *name)
{
	struct pipeline *pipeline = disk_pipeline(job->disk);
	int err = pipeline_share(pipeline);

	if (err || job->what == IMAGE_LOAD)
		return err;
	job->own = !name;
	if (name)
		job->snapshot = snapshots_find(pipeline_snapshots(pipeline), name);
	else
		err = pipeline_snapshot_add(pipeline, NULL, clock_now_ns(), &job->snapshot);
	if (err)
		pipeline_unshare(pipeline);
	else
		snapshots_pin(job->snapshot);
	return err;
}

static void finish(struct image_job *job)
{
	struct pipeline *pipeline = disk_pipeline(job->disk);

	if (job->snapshot)
		snapshots_unpin(job->snapshot);
	if (job->own)
		pipeline_snapshot_remove(pipeline, job->snapshot);
	if (job->what == IMAGE_LOAD && pipeline_cache(pipeline))
		cache_flush(pipeline_cache(pipeline));
	pipeline_unshare(pipeline);
}

/* What cannot be done now is left: the locks stay, and a snapshot that nobody names. */
static int finish_frozen(struct image_job *job, struct diag *diag)
{
	int err = disk_freeze(job->disk, diag);

	if (err)
		return err;
	finish(job);
	disk_thaw(job->disk);
	return 0;
}

static int start(struct image_job *job, const char *name, struct diag *diag)
{
	struct snapshots *snapshots = pipeline_snapshots(disk_pipeline(job->disk));
	int err;

	if (name && !snapshots_find(snapshots, name)) {
		diag_set(diag, -ENOENT, "snapshot.unknown", "there is no snapshot '%.64s'", name);
		diag_hint(diag, "faultblk snapshot ls lists the snapshots");
		return -ENOENT;
	}
	err = disk_freeze(job->disk, diag);
	if (err)
		return err;
	err = begin(job, name);
	disk_thaw(job->disk);
	if (err)
		return diag_set(diag, err, "image.memory", "no memory to begin: %s",
				strerror(-err));
	err = -fail_value("tools/disk/image_job/thread", EAGAIN,
			  pthread_create(&job->thread, NULL, run, job));
	if (err) {
		finish_frozen(job, NULL);
		diag_set(diag, err, "image.memory", "cannot start a thread: %s", strerror(-err));
	}
	return err;
}

int image_job_start(struct disk *disk, const struct image_request *request, struct diag *diag,
		    struct image_job **ret_job)
{
	struct image_job *job = fail_alloc("tools/disk/image_job/alloc", calloc(1, sizeof(*job)));
	int err;

	if (!job)
		return diag_set(diag, -ENOMEM, "image.memory", "no memory");
	job->disk = disk;
	job->what = request->what;
	job->force = request->force;
	job->limits = (struct image_limits){
		.size_bytes = store_size(disk_store(disk)),
		.block_bytes = disk_ublk_options(disk)->logical_block,
	};
	job->dev_id = disk_dev(disk) ? ublk_dev_id(disk_dev(disk)) : -1;
	snprintf(job->path, sizeof(job->path), "%s", request->path);
	job->event_fd = fail_errno("tools/disk/image_job/eventfd", EMFILE,
				   eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (job->event_fd < 0)
		err = diag_set(diag, -errno, "image.memory", "no eventfd: %s", strerror(errno));
	else
		err = start(job, request->snapshot, diag);
	if (err) {
		if (job->event_fd >= 0)
			close(job->event_fd);
		free(job);
		return err;
	}
	*ret_job = job;
	return 0;
}

int image_job_fd(const struct image_job *job)
{
	return job->event_fd;
}

const char *image_job_path(const struct image_job *job)
{
	return job->path;
}

bool image_job_loads(const struct image_job *job)
{
	return job->what == IMAGE_LOAD;
}

int image_job_end(struct image_job *job, struct diag *diag, uint64_t *ret_bytes, uint64_t *ret_size)
{
	int err, thaw_err;

	pthread_join(job->thread, NULL);
	err = job->err;
	*diag = job->diag;
	thaw_err = finish_frozen(job, err ? NULL : diag);
	*ret_bytes = job->bytes;
	*ret_size = job->what == IMAGE_LOAD ? job->size : store_size(disk_store(job->disk));
	close(job->event_fd);
	free(job);
	return err ? err : thaw_err;
}

int image_job_give_up(struct image_job *job, unsigned int timeout_ms, struct diag *diag,
		      uint64_t *ret_bytes, uint64_t *ret_size)
{
	struct pollfd over = { .fd = job->event_fd, .events = POLLIN };

	atomic_store(&job->cancel, true);
	if (poll(&over, 1, (int)timeout_ms) > 0)
		return image_job_end(job, diag, ret_bytes, ret_size);
	pthread_detach(job->thread);
	return diag_set(diag, -ETIMEDOUT, "image.cancelled", "%.200s: abandoned, as it does not "
							     "respond",
			job->path);
}
