// SPDX-License-Identifier: MIT
/*
 * What all queues of a disk take part in: new rules, a stop, a power cut. Each looks at what is new
 * between two batches; the control thread wakes them, and waits until the last one has.
 */
#include "tools/disk/internal.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/flusher.h"
#include "faults/record/recorder.h"

#include <errno.h>
#include <poll.h>

#define ADOPT_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define ADOPT_NAP_NS     (50 * NSEC_PER_USEC)
#define ADOPT_KICK_NS    (100 * NSEC_PER_MSEC)

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

/* No queue thread runs, and none is about to: this thread may stand in for it. */
static bool has_no_queues(const struct disk *disk)
{
	return !disk->dev && !disk_is_making(disk) && !atomic_load(&disk->nr_running);
}

void disk_kick(struct disk *disk)
{
	if (disk->dev)
		ublk_dev_kick(disk->dev);
	else if (has_no_queues(disk))
		adopt_for_all(disk);
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
					"the queues accept no change: they wait, as the recording "
					"is full; see `faultblk recording`");
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
	static const struct late late = { "rules.not-adopted",
					  "the rules are published, but a queue has not adopted "
					  "them" };

	return wait_queues(disk, has_adopted, epoch, &late, diag);
}

static bool is_frozen(struct disk *disk, uint64_t epoch)
{
	(void)epoch;
	return pipeline_is_frozen(disk->pipeline);
}

int disk_freeze(struct disk *disk, struct diag *diag)
{
	static const struct late late = { "disk.busy", "a queue has not stopped" };
	int err;

	if (!disk->dev || disk->closed)
		return 0;
	set_io_flusher(true);
	pipeline_freeze(disk->pipeline);
	disk_kick(disk);
	err = wait_queues(disk, is_frozen, 0, &late, diag);
	if (!err && failpoint("tools/disk/queues/freeze"))
		err = diag_set(diag, -ETIMEDOUT, late.id, "%s", late.what);
	if (err)
		disk_thaw(disk);
	return err;
}

void disk_thaw(struct disk *disk)
{
	pipeline_thaw(disk->pipeline);
	set_io_flusher(false);
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

int disk_unplug(struct disk *disk, uint64_t gone_ns, struct diag *diag)
{
	if (condition_remove(pipeline_condition(disk->pipeline), gone_ns))
		return 0;
	diag_set(diag, -EALREADY, "disk.gone", "the disk has gone already");
	diag_hint(diag, "bring it back with: faultblk revive");
	return -EALREADY;
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
