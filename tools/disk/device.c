// SPDX-License-Identifier: MIT
/*
 * The device comes and goes. The kernel takes its time for that: it waits for requests, for whoever
 * holds the device, for its node. So each is a work on a thread of its own, and the control thread
 * serves on:
 *
 *	close	of a device that stays if it is held; meanwhile it is still the disk's
 *	remove	held or not; from its beginning the device is the work's, and the disk has none
 *	make	a new one; it becomes the disk's at the end
 *	reread	what the kernel knows of its content
 *
 * Several removals may be under way, of devices that somebody held when they went, and one other
 * work. Works tell the control thread through work_fd; it alone changes the list of removals, and
 * not while a device is made, which looks at it. Without memory or a thread for a work the control
 * thread does it itself.
 *
 * While a device is made its rules are off: the kernel reads the partition table before anybody
 * could let go a request that a rule holds. While it is read again they are, too: no rule counts
 * requests that nobody made.
 */
#include "tools/disk/internal.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "tools/disk/reread.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define REMOVALS_MAX  16 /* of devices that are held, before the next is waited for */
#define NUMBER_NAP_NS NSEC_PER_MSEC

/* ------------------------------------------------------------------------------ words */

/* A removal has nobody to tell its errors to but the log. */
static _Thread_local bool in_removal;

static void disk_log(void *ctx, enum ublk_log_level level, const char *message)
{
	struct disk *disk = ctx;
	bool captured = false;

	pthread_mutex_lock(&disk->log_lock);
	if (level == UBLK_LOG_ERROR && disk->capture && !in_removal) {
		diag_set(disk->capture, 0, "device", "%s", message);
		captured = true;
	}
	pthread_mutex_unlock(&disk->log_lock);
	if (!captured && disk->log)
		disk->log(disk->log_ctx, level, message);
}

static void set_capture(struct disk *disk, struct diag *diag)
{
	pthread_mutex_lock(&disk->log_lock);
	disk->capture = diag;
	pthread_mutex_unlock(&disk->log_lock);
}

/* The core says most things itself; these are for errors that came without words. */
static int device_error(int err, const char *what, struct diag *diag)
{
	if (!err || !diag)
		return err;
	if (!diag->message[0])
		diag_set(diag, err, "device", "%s: %s", what, strerror(-err));
	else if (!diag->hint[0])
		limits_words(err, diag->hint, sizeof(diag->hint));
	if (err == -EBUSY)
		snprintf(diag->id, sizeof(diag->id), "device.held");
	return err;
}

/* ------------------------------------------------------------------------------ the works */

int disk_make_device(struct disk *disk, const struct ublk_options *options, struct diag *diag,
		     struct ublk_dev **ret_dev)
{
	struct ublk_options ublk = *options;
	struct diag words = { 0 };
	int err;

	ublk.log = disk_log;
	ublk.log_ctx = disk;
	set_capture(disk, &words);
	err = ublk_dev_open(&disk_backend, disk, &ublk, ret_dev);
	set_capture(disk, NULL);
	device_error(err, "cannot create the disk", &words);
	if (err && diag)
		*diag = words;
	return err;
}

static int close_device(struct disk *disk, int (*close)(struct ublk_dev *dev), struct diag *diag)
{
	struct diag words = { 0 };
	int err;

	set_capture(disk, &words);
	err = close(disk->dev);
	set_capture(disk, NULL);
	device_error(err, "cannot close the disk", &words);
	if (err && diag)
		*diag = words;
	return err;
}

static void remove_device(struct disk_work *work)
{
	struct ublk_holder holder;

	in_removal = true;
	/* Once it is stopped nobody can tell any more. */
	if (ublk_holders(ublk_dev_id(work->dev), &holder, 1) > 0) {
		atomic_store(&work->held, true);
		eventfd_write(work->disk->work_fd, 1);
	}
	work->dev = ublk_dev_free(work->dev);
	in_removal = false;
}

/* Of a device that nobody held the number is free as soon as it has gone. */
static void wait_for_number(const struct disk *disk)
{
	const struct timespec nap = { .tv_nsec = NUMBER_NAP_NS };
	unsigned int nr = 0;

	for (const struct disk_work *w = disk->removals; w; w = w->next) {
		bool crowded = ++nr >= REMOVALS_MAX;

		while (!atomic_load(&w->over) && (crowded || !atomic_load(&w->held)))
			nanosleep(&nap, NULL);
	}
}

/* The old number may be taken still, by whoever holds the device that has gone, or by another. */
static int make_device(struct disk_work *work)
{
	struct disk *disk = work->disk;
	int err;

	wait_for_number(disk);
	err = disk_make_device(disk, &work->options, &work->diag, &work->dev);
	if (err != -EEXIST && err != -EBUSY)
		return err;
	work->options.id = -1;
	work->diag = (struct diag){ 0 };
	return disk_make_device(disk, &work->options, &work->diag, &work->dev);
}

static void *run_work(void *ctx)
{
	struct disk_work *work = ctx;
	int work_fd = work->disk->work_fd;

	switch (work->kind) {
	case WORK_CLOSE:
		work->err = close_device(work->disk, ublk_dev_try_close, &work->diag);
		break;
	case WORK_REMOVE:
		remove_device(work);
		break;
	case WORK_MAKE:
		work->err = make_device(work);
		break;
	case WORK_REREAD:
		work->err = reread_disk(ublk_dev_path(work->disk->dev));
		break;
	}
	atomic_store(&work->over, true);
	eventfd_write(work_fd, 1);
	return NULL;
}

static void *work_thread(void *ctx)
{
	static const char *const names[] = {
		[WORK_CLOSE] = "close",
		[WORK_REMOVE] = "removal",
		[WORK_MAKE] = "make",
		[WORK_REREAD] = "reread",
	};
	const struct disk_work *work = ctx;

	pthread_setname_np(pthread_self(), names[work->kind]);
	return run_work(ctx);
}

static void begin_work(struct disk_work *work)
{
	int err = fail_value("tools/disk/device/thread", EAGAIN,
			     pthread_create(&work->thread, NULL, work_thread, work));

	work->has_thread = !err;
	if (err)
		run_work(work);
}

static void end_work(struct disk_work *work)
{
	if (work->has_thread)
		pthread_join(work->thread, NULL);
}

/* At most one at a time; a removal is none of them. */
static void begin_main_work(struct disk *disk, enum disk_work_kind kind)
{
	assert(!disk->working);
	disk->work = (struct disk_work){ .disk = disk, .kind = kind, .options = disk->options };
	disk->working = true;
	begin_work(&disk->work);
}

/* Those of @list that are over, or all of them, and then waited for. */
static void end_removals(struct disk *disk, bool all)
{
	struct disk_work **at = &disk->removals;

	while (*at) {
		struct disk_work *work = *at;

		if (!all && !atomic_load(&work->over)) {
			at = &work->next;
			continue;
		}
		*at = work->next;
		end_work(work);
		free(work);
	}
}

void disk_remove(struct disk *disk)
{
	if (disk->working) {
		end_work(&disk->work);
		ublk_dev_free(disk->work.dev);
		disk->working = false;
	}
	end_removals(disk, true);
	rule_set_free(disk->quieted);
	disk->quieted = NULL;
	disk->dev = ublk_dev_free(disk->dev);
}

/* ------------------------------------------------------------------------------ asking */

int disk_work_fd(const struct disk *disk)
{
	return disk->work_fd;
}

bool disk_is_changing(const struct disk *disk)
{
	return disk_is_making(disk) || (disk->working && disk->work.kind == WORK_REREAD) ||
	       (!disk->dev && atomic_load(&disk->nr_running));
}

bool disk_is_leaving(const struct disk *disk, bool held_too)
{
	for (const struct disk_work *work = disk->removals; work; work = work->next)
		if (!atomic_load(&work->over) && (held_too || !atomic_load(&work->held)))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------ closing */

int disk_close(struct disk *disk, struct diag *diag)
{
	int err;

	if (!disk->dev) {
		disk->closed = true;
		return 0;
	}
	err = close_device(disk, ublk_dev_close, diag);
	if (err == 0 || err == -ETIMEDOUT)
		disk->closed = true;
	return err;
}

void disk_begin_close(struct disk *disk)
{
	assert(disk->dev);
	begin_main_work(disk, WORK_CLOSE);
}

void disk_begin_removal(struct disk *disk)
{
	const struct disk_work plan = { .disk = disk, .kind = WORK_REMOVE, .dev = disk->dev };
	struct disk_work *work;

	if (!disk->dev)
		return;
	assert(!disk->working);
	disk->dev = NULL;
	work = fail_alloc("tools/disk/device/work", malloc(sizeof(*work)));
	if (!work) {
		struct disk_work here = plan;

		run_work(&here);
		return;
	}
	*work = plan;
	work->next = disk->removals;
	disk->removals = work;
	begin_work(work);
}

/* ------------------------------------------------------------------------------ back again */

/* The rules that are on, off; *ret: those. */
static int quiet_rules(struct rule_set *set, struct rule_set **ret)
{
	struct rule_set *on = rule_set_new();
	int err = on ? 0 : -ENOMEM;

	for (size_t i = 0; i < rule_set_count(set) && !err; i++)
		if (rule_enabled(rule_set_at(set, i)))
			err = rule_set_put(on, rule_set_at(set, i), NULL, NULL);
	for (size_t i = 0; !err && i < rule_set_count(on); i++)
		rule_enable(rule_set_at(on, i), false);
	if (err)
		on = rule_set_free(on);
	*ret = on;
	return err;
}

static void wake_rules(struct rule_set *rules)
{
	for (size_t i = 0; i < rule_set_count(rules); i++)
		rule_enable(rule_set_at(rules, i), true);
	rule_set_free(rules);
}

/* It is made, or has been read: the rules are on again. */
static int unsettle(struct disk *disk, struct diag *diag)
{
	struct rule_set *set;
	int err;

	wake_rules(disk->quieted);
	disk->quieted = NULL;
	set = rule_set_copy(pipeline_rules(disk->pipeline));
	err = set ? disk_set_rules(disk, set, diag)
		  : diag_set(diag, -ENOMEM, "disk.memory", "no memory");
	rule_set_free(set);
	return err;
}

/* The rules are on again, from each queue's next batch on; nobody waits for that a second time. */
static void put_back(struct disk *disk)
{
	struct rule_set *set;

	wake_rules(disk->quieted);
	disk->quieted = NULL;
	set = rule_set_copy(pipeline_rules(disk->pipeline));
	if (set && !pipeline_publish(disk->pipeline, set, clock_now_ns(), NULL, NULL))
		disk_kick(disk);
	rule_set_free(set);
}

/*
 * Every queue has passed a batch since the condition was set; what is parked is of the old
 * incarnation.
 * With @quiet the rules are off from now on.
 */
static int settle(struct disk *disk, bool quiet, struct diag *diag)
{
	struct rule_set *set = rule_set_copy(pipeline_rules(disk->pipeline));
	int err = set ? 0 : -ENOMEM;

	if (!err && quiet)
		err = quiet_rules(set, &disk->quieted);
	if (err)
		diag_set(diag, err, "disk.memory", "no memory");
	else
		err = disk_set_rules(disk, set, diag);
	rule_set_free(set);
	/* Those without them may be in force already, though not every queue has said so. */
	if (err && disk->quieted)
		put_back(disk);
	return err;
}

int disk_begin_revival(struct disk *disk, struct diag *diag, uint32_t *ret_was, uint64_t *ret_lost)
{
	uint32_t was = condition_bits(pipeline_condition(disk->pipeline));
	int err = settle(disk, !disk->dev, diag);

	if (err)
		return err;
	pipeline_release(disk->pipeline, NULL, 0, was & CONDITION_OFF ? SIZE_MAX : 0);
	/*
	 * The power may go at this very moment, too: its losses are not to be taken beside a write that
	 * is in mid-copy. And a recording says what the disk holds now: before it all requests, and
	 * then all others.
	 */
	err = disk_freeze(disk, diag);
	if (err)
		return err;
	*ret_was = pipeline_revive(disk->pipeline, ret_lost);
	/* Those that were held since they were released above. */
	pipeline_release(disk->pipeline, NULL, 0, *ret_was & CONDITION_OFF ? SIZE_MAX : 0);
	disk_thaw(disk);
	disk_kick(disk);
	if (disk->dev)
		return 0;
	begin_main_work(disk, WORK_MAKE);
	return -EINPROGRESS;
}

static int end_making(struct disk *disk, struct diag *diag)
{
	struct diag words = { 0 };
	int err = disk->work.err;

	if (err) {
		condition_set(pipeline_condition(disk->pipeline), CONDITION_GONE);
	} else {
		disk->dev = disk->work.dev;
		disk->options = *ublk_dev_options(disk->dev);
	}
	disk->work.dev = NULL;
	*diag = disk->work.diag;
	if (!err)
		return unsettle(disk, diag);
	unsettle(disk, &words);
	return err;
}

int disk_begin_reread(struct disk *disk, struct diag *diag)
{
	uint32_t bits = condition_bits(pipeline_condition(disk->pipeline));
	int err;

	if (!disk->dev || disk->working || bits & (CONDITION_OFF | CONDITION_GONE))
		return 0;
	err = settle(disk, true, diag);
	if (err)
		return err;
	begin_main_work(disk, WORK_REREAD);
	return -EINPROGRESS;
}

enum disk_change disk_tend(struct disk *disk, struct diag *diag, int *ret_err)
{
	eventfd_t ignored;

	eventfd_read(disk->work_fd, &ignored);
	if (!disk_is_making(disk))
		end_removals(disk, false);
	if (!disk->working || !atomic_load(&disk->work.over))
		return DISK_UNCHANGED;
	end_work(&disk->work);
	disk->working = false;
	if (disk->work.kind == WORK_MAKE) {
		*ret_err = end_making(disk, diag);
		return DISK_MADE;
	}
	if (disk->work.kind == WORK_REREAD) {
		*ret_err = disk->work.err;
		unsettle(disk, diag);
		return DISK_REREAD;
	}
	*diag = disk->work.diag;
	*ret_err = disk->work.err;
	disk->closed |= !*ret_err || *ret_err == -ETIMEDOUT;
	return DISK_CLOSED;
}

int disk_revive(struct disk *disk, struct diag *diag, uint32_t *ret_was, uint64_t *ret_lost)
{
	struct pollfd works = { .fd = disk->work_fd, .events = POLLIN };
	int err = disk_begin_revival(disk, diag, ret_was, ret_lost);

	if (err != -EINPROGRESS)
		return err;
	while (disk_tend(disk, diag, &err) != DISK_MADE)
		poll(&works, 1, -1);
	return err;
}
