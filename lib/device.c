// SPDX-License-Identifier: MIT
/*
 * The life of a device.
 *
 *	open:	control -> ADD_DEV -> open /dev/ublkcN -> SET_PARAMS -> queues FETCH -> START_DEV
 *	close:	nobody holds it -> STOP_DEV (queues still serve) -> queues end -> unmap, close
 *		/dev/ublkcN -> DEL_DEV -> control
 *
 * The order is the driver's: START_DEV waits until every tag of every queue has been fetched,
 * STOP_DEV waits for the requests in flight, DEL_DEV waits for every reference on /dev/ublkcN,
 * mappings included. `stage` says how far a device has come, so that close can start from anywhere.
 *
 * A stop cannot be taken back, and what is parked or kept may be let go only for one that is
 * certain: so an unforced close does not begin one while a request is unfinished (then somebody uses
 * it, seen or not), lets the kernel decide whether it is held (TRY_STOP_DEV), and tells the queues
 * that the device is closing only when that is decided. Who holds it is asked of /proc, process by
 * process, only for the message; and where the kernel cannot decide, before each try.
 */
#include "abi.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "control.h"
#include "holders.h"
#include "log.h"
#include "node.h"
#include "options.h"
#include "orphan.h"
#include "queue.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NODE_TIMEOUT_MS 10000 /* for udev or devtmpfs to make a node, and to leave it alone */
#define NODE_POLL_US    5000
#define HOLD_POLL_MS    20
#define HOLDERS_MAX     16
#define DELETE_MS       10000 /* at least; the kernel's own work takes its time */
#define CALLERS_POLL_US 100

enum stage { STAGE_NEW, STAGE_ADDED, STAGE_SERVING, STAGE_LIVE, STAGE_STOPPED, STAGE_GONE };

struct ublk_dev {
	struct ublk_options options;
	struct logger log;
	struct control control;
	bool has_control;
	enum stage stage;
	struct abi_dev_info info;
	char path[32];
	struct disk_nodes nodes;
	char held_by[1024]; /* who held them when that was last asked; "": nobody that is known */
	uint64_t nr_unfinished; /* requests, at the same time */
	struct queue_shared *shared;
	pthread_mutex_t close_lock; /* close and free, one at a time */
	atomic_uint callers;        /* calls under way that free waits for */
};

/* Around every call that may come from any thread. */
static void enter(const struct ublk_dev *dev)
{
	atomic_fetch_add(&((struct ublk_dev *)dev)->callers, 1);
}

static void leave(const struct ublk_dev *dev)
{
	atomic_fetch_sub(&((struct ublk_dev *)dev)->callers, 1);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static int dev_cmd(struct ublk_dev *dev, enum abi_ctrl nr, void *buf, uint16_t len, uint64_t data)
{
	const struct control_args args = {
		.id = (int)dev->info.dev_id, .buf = buf, .len = len, .data = data
	};
	int err = control_cmd(&dev->control, nr, &args);

	return err < 0 ? err : 0;
}

static int dev_cmd_said(struct ublk_dev *dev, enum abi_ctrl nr, void *buf, uint16_t len,
			uint64_t data)
{
	int err = dev_cmd(dev, nr, buf, len, data);

	if (err)
		log_error(&dev->log, err, "%s of device %d: %s", control_name(nr),
			  (int)dev->info.dev_id, strerror(-err));
	return err;
}

/* ------------------------------------------------------------------------------ open */

static int say_add_failed(struct ublk_dev *dev, int err)
{
	if (err == -EEXIST)
		return log_error(&dev->log, err,
				 "ublk device %d exists already; choose another id, or none (-1) for "
				 "any free one",
				 dev->options.id);
	if (err == -EACCES)
		return log_error(
			&dev->log, -ENFILE,
			"the ublk driver has as many devices as its parameter ublks_max allows; "
			"delete some, or raise it: "
			"echo 4096 >/sys/module/ublk_drv/parameters/ublks_max");
	if (err == -EPERM)
		return log_error(&dev->log, err,
				 "no permission to add a ublk device: CAP_SYS_ADMIN is "
				 "needed; run as root");
	return log_error(&dev->log, err, "ADD_DEV: %s", strerror(-err));
}

static int add_device(struct ublk_dev *dev)
{
	const struct ublk_options *o = &dev->options;
	const struct data_path *path = data_path_find(o->data_path);
	uint64_t offered = dev->control.features & ABI_F_NO_AUTO_PART_SCAN;
	struct control_args args = { .id = o->id, .buf = &dev->info, .len = sizeof(dev->info) };
	int err;

	dev->info = (struct abi_dev_info){
		.nr_hw_queues = (uint16_t)o->nr_queues,
		.queue_depth = (uint16_t)o->queue_depth,
		.max_io_buf_bytes = o->max_io_bytes,
		.dev_id = (uint32_t)o->id,
		.server_pid = getpid(),
		.flags = path->feature | offered |
			 (dev->control.legacy ? 0 : ABI_F_CMD_IOCTL_ENCODE),
		.server_flags = owner_stamp(),
	};
	err = control_cmd(&dev->control, ABI_ADD_DEV, &args);
	if (err < 0)
		return say_add_failed(dev, err);
	dev->stage = STAGE_ADDED;
	/* Flags that the kernel does not know come back cleared: that is how it says no. */
	if ((dev->info.flags & path->feature) != path->feature)
		return log_error(&dev->log, -EOPNOTSUPP,
				 "this kernel's ublk driver has no %s; use UBLK_DATA_COPY",
				 path->name);
	dev->options.id = (int)dev->info.dev_id;
	if (dev->info.nr_hw_queues != o->nr_queues || dev->info.queue_depth != o->queue_depth ||
	    dev->info.max_io_buf_bytes != o->max_io_bytes)
		return log_error(
			&dev->log, -EOPNOTSUPP,
			"the kernel gives %u queues of %u requests of at most %u bytes, requested "
			"were %u of %u of %u",
			dev->info.nr_hw_queues, dev->info.queue_depth, dev->info.max_io_buf_bytes,
			o->nr_queues, o->queue_depth, o->max_io_bytes);
	snprintf(dev->path, sizeof(dev->path), "/dev/ublkb%d", dev->options.id);
	return 0;
}

/* The node appears a little after ADD_DEV, and udev may hold it or have yet to give it to us. */
static int open_cdev(struct ublk_dev *dev)
{
	uint64_t deadline_ns = clock_now_ns() + NODE_TIMEOUT_MS * NSEC_PER_MSEC;
	char path[32], why[256] = "";
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/dev/ublkc%d", dev->options.id);
	for (;;) {
		int err;

		if (node_look(path, S_IFCHR, NULL) == NODE_IN_THE_WAY)
			return node_say_in_the_way(path, &dev->log);
		fd = fail_errno("lib/device/cdev", EMFILE, open(path, O_RDWR | O_CLOEXEC));
		if (fd >= 0)
			break;
		err = -errno;
		if ((err != -ENOENT && err != -EACCES && err != -EBUSY) ||
		    clock_now_ns() > deadline_ns)
			return log_error(&dev->log, err, "opening %s: %s%s", path, strerror(-err),
					 err == -ENOENT ? node_why_missing("/dev", why, sizeof(why))
							: "");
		usleep(NODE_POLL_US);
	}
	dev->shared->cdev_fd = fd;
	if (fstat(fd, &st) == 0)
		dev->nodes.server = st.st_rdev;
	return 0;
}

static uint8_t shift_of(uint64_t pow2)
{
	return (uint8_t)__builtin_ctzll(pow2);
}

static int set_params(struct ublk_dev *dev)
{
	const struct ublk_options *o = &dev->options;
	struct abi_params p = {
		.len = sizeof(p),
		.types = ABI_PARAM_BASIC,
		.basic = {
			.attrs = (o->read_only ? ABI_ATTR_READ_ONLY : 0) |
				 (o->rotational ? ABI_ATTR_ROTATIONAL : 0) |
				 (o->volatile_cache ? ABI_ATTR_VOLATILE_CACHE : 0) |
				 (o->fua ? ABI_ATTR_FUA : 0),
			.logical_bs_shift = shift_of(o->logical_block),
			.physical_bs_shift = shift_of(o->physical_block),
			.io_opt_shift = shift_of(o->physical_block),
			.io_min_shift = shift_of(o->physical_block),
			.max_sectors = o->max_io_bytes >> 9,
			.dev_sectors = o->size_bytes >> 9,
		},
	};
	int err;

	if (o->max_discard_bytes || o->max_zeroes_bytes) {
		p.types |= ABI_PARAM_DISCARD;
		p.discard = (struct abi_param_discard){
			.granularity = o->discard_granularity,
			.max_discard_sectors = (uint32_t)(o->max_discard_bytes >> 9),
			.max_write_zeroes_sectors = (uint32_t)(o->max_zeroes_bytes >> 9),
			.max_segments = 1,
		};
	}
	err = dev_cmd(dev, ABI_SET_PARAMS, &p, sizeof(p), 0);
	if (err)
		log_error(
			&dev->log, err,
			"the kernel refuses the parameters of device %d (logical block %u, physical "
			"block %u, largest I/O %u, size %llu): %s",
			o->id, o->logical_block, o->physical_block, o->max_io_bytes,
			(unsigned long long)o->size_bytes, strerror(-err));
	return err;
}

static void get_affinity(struct ublk_dev *dev, struct queue *q)
{
	CPU_ZERO(&q->cpus);
	if (dev_cmd(dev, ABI_GET_QUEUE_AFFINITY, &q->cpus, sizeof(q->cpus), q->index))
		CPU_ZERO(&q->cpus);
}

static int start_queues(struct ublk_dev *dev)
{
	struct queue_shared *s = dev->shared;

	s->id = dev->options.id;
	s->depth = dev->options.queue_depth;
	s->max_io_bytes = dev->options.max_io_bytes;
	s->path = data_path_find(dev->options.data_path);
	s->op_fetch = control_io_op(&dev->control, ABI_FETCH);
	s->op_commit = control_io_op(&dev->control, ABI_COMMIT_AND_FETCH);
	if (queue_shared_make_queues(s, dev->options.nr_queues))
		return log_error(&dev->log, -ENOMEM, "no memory for %u queues",
				 dev->options.nr_queues);
	dev->stage = STAGE_SERVING;
	for (unsigned int i = 0; i < dev->options.nr_queues; i++) {
		struct queue *q = &s->queues[i];
		int err;

		q->shared = s;
		q->index = (uint16_t)i;
		get_affinity(dev, q);
		err = queue_start(q);
		if (err > 0)
			return log_error(&dev->log, -EINVAL,
					 "backend \"%s\": queue_start returned %d for queue %u, it "
					 "must return 0 or -errno",
					 s->backend->name, err, i);
		if (err)
			return log_error(&dev->log, err, "starting queue %u of device %d: %s", i,
					 dev->options.id, strerror(-err));
		s->nr_queues++;
	}
	return 0;
}

/* The numbers by which the kernel knows the disk; 0: it does not say. */
static dev_t number_of(const struct ublk_dev *dev)
{
	struct disk_nodes nodes = { .nr_devs = 0 };

	disk_nodes_find(&nodes, dev->options.id);
	return nodes.nr_devs ? nodes.devs[0] : 0;
}

/* A node that was there before may be of another device: whoever wrote to it would hit that one. */
static int wait_for_node(struct ublk_dev *dev)
{
	uint64_t deadline_ns = clock_now_ns() + NODE_TIMEOUT_MS * NSEC_PER_MSEC;
	dev_t want = number_of(dev), got = 0;
	char why[256];

	for (;;) {
		enum node_is is = node_look(dev->path, S_IFBLK, &got);

		if (is == NODE_IN_THE_WAY)
			return node_say_in_the_way(dev->path, &dev->log);
		if (is == NODE_THERE && (!want || got == want) && !failpoint("lib/device/node"))
			return 0;
		if (clock_now_ns() > deadline_ns)
			break;
		usleep(NODE_POLL_US);
	}
	if (want && got && got != want)
		return log_error(
			&dev->log, -EEXIST,
			"%s is the node of device %u:%u, and the disk is %u:%u; remove it: "
			"rm %s",
			dev->path, major(got), minor(got), major(want), minor(want), dev->path);
	return log_error(&dev->log, -ETIMEDOUT, "%s did not appear within %d s%s", dev->path,
			 NODE_TIMEOUT_MS / 1000, node_why_missing("/dev", why, sizeof(why)));
}

/*
 * Kernels that can leave the partition table alone would otherwise read it some time after
 * START_DEV, and a backend that has begun to inject faults by then would see reads that nobody
 * asked for. A disk on which this fails is a disk without partitions.
 */
static void read_partitions(struct ublk_dev *dev)
{
	_cleanup_close_ int fd = -1;

	if (!(dev->info.flags & ABI_F_NO_AUTO_PART_SCAN))
		return;
	fd = fail_errno("lib/device/partitions", EMFILE, open(dev->path, O_RDONLY | O_CLOEXEC));
	if (fd < 0 || ioctl(fd, BLKRRPART) < 0)
		log_at(&dev->log, UBLK_LOG_DEBUG, "reading the partition table of %s: %s",
		       dev->path, strerror(errno));
}

static int bring_up(struct ublk_dev *dev)
{
	int err = control_open(&dev->control, dev->options.legacy_commands, &dev->log);

	if (err)
		return err;
	dev->has_control = true;
	err = add_device(dev);
	/* Before anything is started: the node appears with START_DEV. */
	if (!err && node_look(dev->path, S_IFBLK, NULL) == NODE_IN_THE_WAY)
		err = node_say_in_the_way(dev->path, &dev->log);
	if (!err)
		err = open_cdev(dev);
	if (!err)
		err = set_params(dev);
	if (!err)
		err = start_queues(dev);
	if (!err)
		err = dev_cmd_said(dev, ABI_START_DEV, NULL, 0, (uint64_t)getpid());
	if (err)
		return err;
	dev->stage = STAGE_LIVE;
	err = wait_for_node(dev);
	if (!err)
		read_partitions(dev);
	return err;
}

static int say_null(const struct ublk_backend *backend, const struct ublk_options *options)
{
	const struct logger log = { .fn = options ? options->log : NULL,
				    .ctx = options ? options->log_ctx : NULL };

	return log_error(&log, -EINVAL, "%s is NULL",
			 !backend   ? "backend"
			 : !options ? "options"
				    : "ret_dev");
}

static struct ublk_dev *dev_new(const struct ublk_backend *backend, void *ctx,
				const struct ublk_options *options)
{
	struct ublk_dev *dev = fail_alloc("lib/device/device", calloc(1, sizeof(*dev)));

	if (!dev)
		return NULL;
	dev->shared = queue_shared_new();
	if (!dev->shared) {
		free(dev);
		return NULL;
	}
	dev->options = *options;
	dev->log = (struct logger){ .fn = options->log, .ctx = options->log_ctx };
	dev->shared->backend = backend;
	dev->shared->ctx = ctx;
	dev->shared->log = dev->log;
	pthread_mutex_init(&dev->close_lock, NULL);
	return dev;
}

int ublk_dev_open(const struct ublk_backend *backend, void *ctx, const struct ublk_options *options,
		  struct ublk_dev **ret_dev)
{
	struct ublk_dev *dev;
	int err;

	if (!backend || !options || !ret_dev)
		return say_null(backend, options);
	dev = dev_new(backend, ctx, options);
	if (!dev)
		return log_error(&(struct logger){ .fn = options->log, .ctx = options->log_ctx },
				 -ENOMEM, "no memory for a device");
	err = options_settle(&dev->options, backend, &dev->log);
	if (!err) {
		dev->shared->gone_fd = fail_errno("lib/device/eventfd", EMFILE,
						  eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
		err = dev->shared->gone_fd < 0
			      ? log_error(&dev->log, -errno, "eventfd: %s", strerror(errno))
			      : bring_up(dev);
	}
	if (err) {
		ublk_dev_free(dev);
		return err;
	}
	*ret_dev = dev;
	return 0;
}

/* ------------------------------------------------------------------------------ close */

static void kick_all(struct ublk_dev *dev)
{
	for (unsigned int i = 0; i < dev->shared->nr_queues; i++)
		queue_kick(&dev->shared->queues[i]);
}

static void set_closing(struct ublk_dev *dev, bool closing)
{
	atomic_store(&dev->shared->closing, closing);
	kick_all(dev);
}

/* Requests that the backend has not finished. */
static uint64_t unfinished(const struct ublk_dev *dev)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < dev->shared->nr_queues; i++)
		nr += load(&dev->shared->queues[i].in_flight);
	return nr;
}

/* Of the disk; after the queues have ended of the server's half, too. */
static void ask_holders(struct ublk_dev *dev)
{
	struct ublk_holder holders[HOLDERS_MAX];
	int n = dev->stage == STAGE_STOPPED ? disk_nodes_holders(&dev->nodes, holders, HOLDERS_MAX)
					    : ublk_holders(dev->options.id, holders, HOLDERS_MAX);

	dev->held_by[0] = '\0';
	if (n > 0)
		ublk_holders_text(holders, (unsigned int)n, dev->held_by, sizeof(dev->held_by));
}

static bool has_safe_stop(const struct ublk_dev *dev)
{
	return (dev->info.flags | dev->control.features) & ABI_F_SAFE_STOP_DEV;
}

/* The kernel takes the node away early in a stop that it has accepted. */
static bool is_stopping(const struct ublk_dev *dev)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/ublkb%d", dev->options.id);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

/*
 * The stop has been asked for: see that it comes to its end. A request that came in between is let
 * go once the stop is certain; or past @wait_ms, when it is one that the kernel itself waits for.
 */
static int follow_try_stop(struct ublk_dev *dev, unsigned int wait_ms)
{
	uint64_t let_go_ns = clock_now_ns() + wait_ms * NSEC_PER_MSEC;
	uint64_t end_ns = let_go_ns + CONTROL_TIMEOUT_MS * NSEC_PER_MSEC;
	bool told = false;
	int err;

	while ((err = control_wait(&dev->control, HOLD_POLL_MS)) == -ETIMEDOUT &&
	       clock_now_ns() < end_ns) {
		if (!told && (is_stopping(dev) || clock_now_ns() >= let_go_ns)) {
			set_closing(dev, true);
			told = true;
		}
	}
	if (told && err == -EBUSY)
		set_closing(dev, false);
	return err;
}

/*
 * Stop it, unless somebody holds it. Where the kernel cannot make sure itself there is a moment
 * between the look and the stop, in which an opener is treated as one that came before close was
 * called, and gets errors; and who opened it out of our sight (in another pid namespace) and has no
 * request under way is treated so, too.
 */
static int try_stop(struct ublk_dev *dev)
{
	const struct control_args args = { .id = dev->options.id };
	bool safe = has_safe_stop(dev);
	int err;

	dev->held_by[0] = '\0';
	if (!safe)
		ask_holders(dev);
	dev->nr_unfinished = unfinished(dev);
	if (dev->held_by[0] || dev->nr_unfinished)
		return -EBUSY;
	err = control_start(&dev->control, safe ? ABI_TRY_STOP_DEV : ABI_STOP_DEV, &args);
	if (err)
		return err;
	return follow_try_stop(dev, safe ? dev->options.close_timeout_ms : 0);
}

/* As the last try has found it. */
static int say_busy(struct ublk_dev *dev)
{
	if (has_safe_stop(dev))
		ask_holders(dev);
	if (dev->held_by[0])
		return log_error(&dev->log, -EBUSY, "%s is %s; release it and close it again",
				 dev->path, dev->held_by);
	if (dev->nr_unfinished)
		return log_error(&dev->log, -EBUSY,
				 "%s has unfinished requests (%llu), and no visible process holds "
				 "it; let them finish and close it again",
				 dev->path, (unsigned long long)dev->nr_unfinished);
	return log_error(&dev->log, -EBUSY,
			 "the kernel reports that %s is open, but no visible process has it open; "
			 "end that process and close it again",
			 dev->path);
}

static int stop_device(struct ublk_dev *dev, unsigned int wait_ms)
{
	uint64_t deadline_ns = clock_now_ns() + wait_ms * NSEC_PER_MSEC;
	int err;

	/* udev and the like look at a disk whenever somebody closes it: give them time to finish.
	 */
	while ((err = try_stop(dev)) == -EBUSY && clock_now_ns() < deadline_ns)
		usleep(HOLD_POLL_MS * 1000);
	if (err == -EBUSY)
		return say_busy(dev);
	if (err < 0 && err != -ENODEV)
		return log_error(&dev->log, err, "STOP_DEV of device %d: %s", dev->options.id,
				 strerror(-err));
	return 0;
}

/* Wait for the stop under way; what the backend keeps longer than close_timeout_ms fails. */
static int follow_forced_stop(struct ublk_dev *dev)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t cut_ns = now_ns + dev->options.close_timeout_ms * NSEC_PER_MSEC;
	uint64_t end_ns = cut_ns + CONTROL_TIMEOUT_MS * NSEC_PER_MSEC;
	uint64_t nr;
	int err;

	while ((err = control_wait(&dev->control, HOLD_POLL_MS)) == -ETIMEDOUT &&
	       (now_ns = clock_now_ns()) < end_ns) {
		nr = now_ns < cut_ns || atomic_load(&dev->shared->cut) ? 0 : unfinished(dev);
		if (!nr)
			continue;
		log_at(&dev->log, UBLK_LOG_WARNING,
		       "%s: backend \"%s\" has not finished %llu requests; they fail, and the disk "
		       "is removed",
		       dev->path, dev->shared->backend->name, (unsigned long long)nr);
		atomic_store(&dev->shared->cut, true);
		kick_all(dev);
	}
	return err;
}

/* Stop it, held or not: what is parked is let go, and the backend is asked to drain. */
static int force_stop(struct ublk_dev *dev)
{
	const struct control_args args = { .id = dev->options.id };
	int err;

	set_closing(dev, true);
	if (dev->control.pending && follow_forced_stop(dev) == -ETIMEDOUT)
		return -ETIMEDOUT;
	err = control_start(&dev->control, ABI_STOP_DEV, &args);
	if (!err)
		err = follow_forced_stop(dev);
	return err == -ENODEV || err > 0 ? 0 : err;
}

/*
 * Nobody but requests that the backend still has uses /dev/ublkcN any more. Those may copy data to
 * and from it at any time: the number stays theirs, without the file.
 */
static void let_go_of_cdev(struct ublk_dev *dev)
{
	struct queue_shared *s = dev->shared;

	if (s->cdev_fd < 0)
		return;
	if (s->path && s->path->needs_cdev_fd && dup3(s->gone_fd, s->cdev_fd, O_CLOEXEC) >= 0)
		return;
	close(s->cdev_fd);
	s->cdev_fd = -1;
}

static void end_queues(struct ublk_dev *dev)
{
	for (unsigned int i = 0; i < dev->shared->nr_queues; i++)
		queue_join(&dev->shared->queues[i], CONTROL_TIMEOUT_MS);
	let_go_of_cdev(dev);
	eventfd_write(dev->shared->gone_fd, 1);
}

/* Somebody who is seen is waited for as long as the options say, the kernel's own work longer. */
static int wait_deleted(struct ublk_dev *dev)
{
	uint64_t start_ns = clock_now_ns();
	uint64_t held_ns = start_ns + dev->options.close_timeout_ms * NSEC_PER_MSEC;
	uint64_t end_ns = start_ns + DELETE_MS * NSEC_PER_MSEC, now_ns;
	int err;

	while ((err = control_wait(&dev->control, HOLD_POLL_MS)) == -ETIMEDOUT) {
		now_ns = clock_now_ns();
		if (now_ns < held_ns)
			continue;
		ask_holders(dev);
		if (now_ns >= end_ns || dev->held_by[0])
			break;
	}
	return err;
}

static int delete_device(struct ublk_dev *dev)
{
	const struct control_args args = { .id = dev->options.id };
	int err = control_start(&dev->control, ABI_DEL_DEV, &args);

	if (!err)
		err = wait_deleted(dev);
	if (err >= 0 || err == -ENODEV)
		return 0;
	if (err == -ETIMEDOUT && dev->held_by[0])
		return log_error(
			&dev->log, err,
			"%s is stopped, and is deleted once it is released; it is %s",
			dev->path, dev->held_by);
	if (err == -ETIMEDOUT)
		return log_error(
			&dev->log, err,
			"%s is stopped, but the kernel has not deleted it yet, and no visible "
			"process holds it",
			dev->path);
	return log_error(&dev->log, err, "DEL_DEV of device %d: %s", dev->options.id,
			 strerror(-err));
}

/*
 * From whatever stage to gone. With @force only a kernel that does not answer makes it fail; without,
 * whoever holds the disk is waited for no longer than @wait_ms.
 */
static int take_down(struct ublk_dev *dev, bool force, unsigned int wait_ms)
{
	int err = 0;

	if (dev->stage == STAGE_SERVING || dev->stage == STAGE_LIVE) {
		/* Once it is stopped nobody can tell any more. */
		disk_nodes_find(&dev->nodes, dev->options.id);
		err = force || dev->stage == STAGE_SERVING ? force_stop(dev)
							   : stop_device(dev, wait_ms);
		if (err && !force)
			return err;
	}
	if (dev->stage >= STAGE_ADDED && dev->stage < STAGE_STOPPED) {
		if (err) {
			atomic_store(&dev->shared->quit, true);
			kick_all(dev);
		}
		end_queues(dev);
		dev->stage = STAGE_STOPPED;
	}
	if (dev->stage == STAGE_STOPPED) {
		err = delete_device(dev);
		/* Past its deadline it goes by itself; else it is still there to be tried again. */
		if (err && err != -ETIMEDOUT)
			return err;
		dev->stage = STAGE_GONE;
	}
	if (dev->has_control) {
		control_close(&dev->control);
		dev->has_control = false;
	}
	return err;
}

static int close_within(struct ublk_dev *dev, unsigned int wait_ms)
{
	int err;

	if (queue_is_own_thread(dev->shared))
		return log_error(&dev->log, -EDEADLK,
				 "%s cannot be closed by its own queue's thread: close waits for "
				 "that thread; close it from another",
				 dev->path);
	enter(dev);
	pthread_mutex_lock(&dev->close_lock);
	err = take_down(dev, false, wait_ms);
	pthread_mutex_unlock(&dev->close_lock);
	leave(dev);
	return err;
}

int ublk_dev_close(struct ublk_dev *dev)
{
	return close_within(dev, dev->options.close_timeout_ms);
}

int ublk_dev_try_close(struct ublk_dev *dev)
{
	return close_within(dev, 0);
}

struct ublk_dev *ublk_dev_free(struct ublk_dev *dev)
{
	if (!dev)
		return NULL;
	if (queue_is_own_thread(dev->shared)) {
		log_error(&dev->log, -EDEADLK,
			  "%s cannot be freed by its own queue's thread; nothing was done",
			  dev->path);
		return dev;
	}
	pthread_mutex_lock(&dev->close_lock);
	/* Whatever went wrong the first time has been said; once more, rather than leave a device.
	 */
	if (take_down(dev, true, 0))
		take_down(dev, true, 0);
	pthread_mutex_unlock(&dev->close_lock);
	while (atomic_load(&dev->callers))
		usleep(CALLERS_POLL_US);
	if (dev->has_control)
		control_close(&dev->control);
	if (dev->shared->gone_fd >= 0)
		close(dev->shared->gone_fd);
	queue_shared_put(dev->shared);
	pthread_mutex_destroy(&dev->close_lock);
	free(dev);
	return NULL;
}

/* ------------------------------------------------------------------------------ asking */

int ublk_dev_id(const struct ublk_dev *dev)
{
	return dev->options.id;
}

const char *ublk_dev_path(const struct ublk_dev *dev)
{
	return dev->path;
}

const struct ublk_options *ublk_dev_options(const struct ublk_dev *dev)
{
	return &dev->options;
}

uint64_t ublk_dev_features(const struct ublk_dev *dev)
{
	return dev->info.flags;
}

int ublk_dev_gone_fd(const struct ublk_dev *dev)
{
	return dev->shared->gone_fd;
}

int ublk_dev_wait(struct ublk_dev *dev, int timeout_ms)
{
	struct pollfd p = { .fd = dev->shared->gone_fd, .events = POLLIN };
	int n, err;

	enter(dev);
	n = poll(&p, 1, timeout_ms);
	err = n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
	leave(dev);
	return err;
}

void ublk_dev_kick(struct ublk_dev *dev)
{
	enter(dev);
	kick_all(dev);
	leave(dev);
}

static int op_stats(const struct ublk_dev *dev, int queue, enum ublk_op op,
		    struct ublk_op_stats *ret_stats)
{
	unsigned int first = queue < 0 ? 0 : (unsigned int)queue;
	unsigned int end = queue < 0 ? dev->options.nr_queues : first + 1;
	struct ublk_op_stats st = { 0 };
	_cleanup_free_ struct hist *h = fail_alloc("lib/device/stats", calloc(1, sizeof(*h)));

	if (!h)
		return -ENOMEM;
	if (end > dev->options.nr_queues || (unsigned int)op >= UBLK_NR_OPS)
		return -EINVAL;
	for (unsigned int i = first; i < end; i++) {
		const struct op_counters *c = &dev->shared->queues[i].ops[op];

		st.ops += load(&c->ops);
		st.bytes += load(&c->bytes);
		st.errors += load(&c->errors);
		hist_merge(h, &c->latency);
	}
	st.p50_ns = hist_permille(h, 500);
	st.p90_ns = hist_permille(h, 900);
	st.p99_ns = hist_permille(h, 990);
	st.p999_ns = hist_permille(h, 999);
	st.max_ns = load(&h->max);
	*ret_stats = st;
	return 0;
}

int ublk_dev_op_stats(const struct ublk_dev *dev, int queue, enum ublk_op op,
		      struct ublk_op_stats *ret_stats)
{
	int err;

	enter(dev);
	err = op_stats(dev, queue, op, ret_stats);
	leave(dev);
	return err;
}

uint64_t ublk_dev_errno_count(const struct ublk_dev *dev, int error)
{
	uint64_t n = 0;

	if (error <= 0 || error >= QUEUE_ERRNO_MAX)
		return 0;
	enter(dev);
	for (unsigned int i = 0; i < dev->options.nr_queues; i++)
		n += load(&dev->shared->queues[i].errnos[error]);
	leave(dev);
	return n;
}

int ublk_dev_queue_stats(const struct ublk_dev *dev, unsigned int queue,
			 struct ublk_queue_stats *ret_stats)
{
	const struct queue *q;

	if (queue >= dev->options.nr_queues)
		return -EINVAL;
	enter(dev);
	q = &dev->shared->queues[queue];
	*ret_stats = (struct ublk_queue_stats){
		.batches = load(&q->batches),
		.parked = load(&q->parked),
		.in_flight = load(&q->in_flight),
		.parked_now = load(&q->parked_now),
	};
	leave(dev);
	return 0;
}
