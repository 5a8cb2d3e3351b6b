// SPDX-License-Identifier: MIT
/*
 * Settling. The kernel keeps what it read of a disk as long as somebody has it open, and forgets it
 * with the last one. So between two states nobody may: the check has been killed with all of its
 * processes and mounts by then, and this looks, with an exclusive open, that it is so. The open is
 * made by a process of its own: one that dies with a disk of its own open can hang.
 */
#include "tools/explore/state_disk.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mounts.h"
#include "base/units.h"
#include "tools/disk/apart.h"
#include "ublkcore.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLE_NAP_NS (2 * NSEC_PER_MSEC)

struct state_disk {
	struct state_disks *owner;
	struct ublk_dev *dev;
	uint64_t size_bytes;
	uint16_t index;
};

struct state_disks {
	pthread_mutex_t lock; /* of the view */
	struct view *view;
	int error;
	struct diag *capture; /* while opening */
	uint32_t nr;
	struct state_disk disks[];
};

/* ------------------------------------------------------------------------------ queue threads */

static void note(struct state_disks *disks, int err)
{
	if (err && !disks->error)
		disks->error = err;
}

static int disk_read(void *ctx, struct ublk_req *req)
{
	struct state_disk *disk = ctx;
	struct state_disks *disks = disk->owner;
	unsigned char *data = ublk_req_data(req);
	int err = 0;

	pthread_mutex_lock(&disks->lock);
	if (disks->view)
		err = view_read(disks->view, disk->index, req->sector << SECTOR_SHIFT, data,
				req->len_bytes);
	else
		memset(data, 0, req->len_bytes);
	note(disks, err);
	pthread_mutex_unlock(&disks->lock);
	return err;
}

static int disk_write(void *ctx, struct ublk_req *req)
{
	struct state_disk *disk = ctx;
	struct state_disks *disks = disk->owner;
	int err = -EIO;

	pthread_mutex_lock(&disks->lock);
	if (disks->view) {
		err = view_write(disks->view, disk->index, req->sector << SECTOR_SHIFT,
				 ublk_req_data(req), req->len_bytes);
		note(disks, err);
	}
	pthread_mutex_unlock(&disks->lock);
	return err;
}

static int disk_zero(void *ctx, struct ublk_req *req)
{
	struct state_disk *disk = ctx;
	struct state_disks *disks = disk->owner;
	int err = -EIO;

	pthread_mutex_lock(&disks->lock);
	if (disks->view) {
		err = view_zero(disks->view, disk->index, req->sector << SECTOR_SHIFT,
				req->len_bytes);
		note(disks, err);
	}
	pthread_mutex_unlock(&disks->lock);
	return err;
}

static const struct ublk_backend state_backend = {
	.name = "crash state",
	.read = disk_read,
	.write = disk_write,
	.discard = disk_zero,
	.write_zeroes = disk_zero,
};

/* ------------------------------------------------------------------------------ the owner */

static void keep_error(void *ctx, enum ublk_log_level level, const char *message)
{
	struct state_disks *disks = ctx;

	if (level == UBLK_LOG_ERROR && disks->capture)
		diag_set(disks->capture, 0, "explore.device", "%s", message);
}

/* The kernel would read more than it was asked for, and so decide what nobody needs. */
static int stop_read_ahead(const struct ublk_dev *dev, struct diag *diag)
{
	char path[64];
	ssize_t done;
	int fd;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/queue/read_ahead_kb", ublk_dev_id(dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd < 0 ? -1 : write(fd, "0", 1);
	if (done == 1) {
		close(fd);
		return 0;
	}
	diag_set(diag, -errno, "explore.read-ahead", "%s cannot be set to 0: %s", path,
		 strerror(errno));
	if (fd >= 0)
		close(fd);
	return -EIO;
}

static int open_one(struct state_disk *disk, const struct journal_disk *what, bool ahead,
		    struct diag *diag)
{
	struct ublk_options options;
	struct diag words = { 0 };
	int err;

	ublk_options_init(&options);
	options.size_bytes = what->size_bytes;
	options.logical_block = what->block_bytes;
	options.physical_block = what->block_bytes > 4096 ? what->block_bytes : 4096;
	options.volatile_cache = false;
	options.fua = false;
	options.log = keep_error;
	options.log_ctx = disk->owner;
	disk->owner->capture = &words;
	err = ublk_dev_open(&state_backend, disk, &options, &disk->dev);
	disk->owner->capture = NULL;
	if (!err)
		return ahead ? 0 : stop_read_ahead(disk->dev, diag);
	if (!words.message[0])
		diag_set(&words, err, "explore.device", "no device for disk %s: %s", what->name,
			 strerror(-err));
	if (diag)
		*diag = words;
	return err;
}

_cold_ int state_disks_open(const struct journal *journal, bool ahead, struct diag *diag,
			    struct state_disks **ret_disks)
{
	struct state_disks *disks =
		fail_alloc("tools/explore/state_disk/alloc",
			   calloc(1, sizeof(*disks) + journal->nr_disks * sizeof(*disks->disks)));
	int err = 0;

	if (!disks)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for the devices");
	pthread_mutex_init(&disks->lock, NULL);
	disks->nr = journal->nr_disks;
	for (uint16_t i = 0; i < disks->nr && !err; i++) {
		disks->disks[i].owner = disks;
		disks->disks[i].index = i;
		err = open_one(&disks->disks[i], &journal->disks[i], ahead, diag);
	}
	if (err) {
		state_disks_free(disks);
		return err;
	}
	*ret_disks = disks;
	return 0;
}

_cold_ struct state_disks *state_disks_free(struct state_disks *disks)
{
	if (!disks)
		return NULL;
	for (uint32_t i = 0; i < disks->nr; i++)
		ublk_dev_free(disks->disks[i].dev);
	pthread_mutex_destroy(&disks->lock);
	free(disks);
	return NULL;
}

const char *state_disks_path(const struct state_disks *disks, uint16_t disk)
{
	return ublk_dev_path(disks->disks[disk].dev);
}

int state_disks_put(struct state_disks *disks, uint16_t disk, uint64_t at,
		    const unsigned char *data, uint64_t len_bytes)
{
	int err;

	pthread_mutex_lock(&disks->lock);
	err = data ? view_write(disks->view, disk, at, data, len_bytes)
		   : view_zero(disks->view, disk, at, len_bytes);
	pthread_mutex_unlock(&disks->lock);
	return err;
}

void state_disks_show(struct state_disks *disks, struct view *view)
{
	pthread_mutex_lock(&disks->lock);
	disks->view = view;
	disks->error = 0;
	pthread_mutex_unlock(&disks->lock);
}

/* The child of a vfork, which shares our memory: nothing but system calls. */
static bool is_free(const char *path)
{
	pid_t child = vfork();
	int status = 0;

	if (child == 0)
		_exit(open(path, O_RDONLY | O_EXCL | O_CLOEXEC) < 0 && errno == EBUSY);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return child < 0 || status == 0;
}

static int held(const struct state_disk *disk, struct diag *diag)
{
	struct ublk_holder holders[4];
	char text[256];
	int nr = ublk_holders(ublk_dev_id(disk->dev), holders, array_size(holders));

	return diag_set(
		diag, -EBUSY, "explore.held", "%s is still %s after the check",
		ublk_dev_path(disk->dev),
		ublk_holders_text(holders, nr < 0 ? 0 : (unsigned int)nr, text, sizeof(text)));
}

/*
 * A command that was killed could not do it any more. Of all devices: a file system on several of
 * them (btrfs) is mounted by the name of one.
 */
static int unmount_left(void *ctx)
{
	const struct state_disks *disks = ctx;

	for (uint32_t i = 0; i < disks->nr; i++)
		mounts_detach(strrchr(ublk_dev_path(disks->disks[i].dev), '/') + 1);
	return 0;
}

int state_disks_settle(struct state_disks *disks, int timeout_ms, struct diag *diag)
{
	uint64_t until_ns = clock_now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;

	for (uint32_t i = 0; i < disks->nr; i++) {
		const struct timespec nap = { .tv_nsec = SETTLE_NAP_NS };

		while (!is_free(ublk_dev_path(disks->disks[i].dev))) {
			if (clock_now_ns() > until_ns)
				return held(&disks->disks[i], diag);
			/* Where commands mount; without a thread for it, with the next try. */
			apart_visit(unmount_left, disks);
			nanosleep(&nap, NULL);
		}
	}
	return 0;
}

int state_disks_error(const struct state_disks *disks)
{
	return disks->error;
}
