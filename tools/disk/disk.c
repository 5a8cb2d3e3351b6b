// SPDX-License-Identifier: MIT
/* The disk from its beginning to its end, on the control thread. */
#include "tools/disk/internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/host_memory.h"
#include "faults/record/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

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
		.joins = options->joins,
	};
	int err;

	disk->event_fd = fail_errno("tools/disk/disk/eventfd", EMFILE,
				    eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (disk->event_fd >= 0)
		disk->work_fd = fail_errno("tools/disk/disk/work-eventfd", EMFILE,
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
		"tools/disk/disk/clocks",
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
		fail_alloc("tools/disk/disk/alloc", calloc(1, sizeof(*disk)));
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
