// SPDX-License-Identifier: MIT
#include "orphan.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "control.h"
#include "ublkcore.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK       0xfbull
#define MARK_SHIFT 56
#define PID_SHIFT  34
#define PID_MASK   ((1ull << 22) - 1)
#define START_MASK ((1ull << PID_SHIFT) - 1)
#define CHAR_CLASS "/sys/class/ublk-char"
#define GC_MAX     4096

/* Field 22 of /proc/PID/stat: start time since boot in clock ticks (proc(5)). 0 or -errno. */
static int start_time(int pid, uint64_t *ret_ticks)
{
	char path[64], line[1024];
	_cleanup_fclose_ FILE *f = NULL;
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fail_null("lib/orphan/stat", EMFILE, fopen(path, "re"));
	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f))
		return -EIO;
	/* The command name, field 2, may hold spaces and brackets: count from the last bracket. */
	p = strrchr(line, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, " %" SCNu64, ret_ticks) != 1)
		return -EIO;
	return 0;
}

uint64_t owner_stamp(void)
{
	uint64_t ticks = 0;

	if (start_time(getpid(), &ticks))
		return 0;
	return MARK << MARK_SHIFT | ((uint64_t)getpid() & PID_MASK) << PID_SHIFT |
	       (ticks & START_MASK);
}

bool owner_stamped(uint64_t stamp)
{
	return stamp >> MARK_SHIFT == MARK;
}

int owner_pid(uint64_t stamp)
{
	return (int)(stamp >> PID_SHIFT & PID_MASK);
}

bool owner_gone(uint64_t stamp)
{
	uint64_t ticks;

	if (!owner_stamped(stamp))
		return false;
	/* Without /proc nothing is known of start times: only a dead pid is gone for certain. */
	if (start_time(owner_pid(stamp), &ticks))
		return kill(owner_pid(stamp), 0) < 0 && errno == ESRCH;
	return (ticks & START_MASK) != (stamp & START_MASK);
}

/* ------------------------------------------------------------------------------ listing */

static int compare_ids(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The ids under /sys/class/ublk-char, sorted. The number found, or -errno; caller frees. */
static int read_ids(int **ret_ids)
{
	DIR *dir = fail_null("lib/orphan/class", EMFILE, opendir(CHAR_CLASS));
	/* No such directory: no driver, and no devices. */
	int n = dir || errno == ENOENT ? 0 : -errno;
	int *ids = fail_alloc("lib/orphan/ids", calloc(GC_MAX, sizeof(*ids)));
	struct dirent *entry;

	if (!ids)
		n = -ENOMEM;
	if (n < 0) {
		free(ids);
		if (dir)
			closedir(dir);
		return n;
	}
	while (dir && n < GC_MAX && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "ublkc%d", &ids[n]) == 1)
			n++;
	if (dir)
		closedir(dir);
	qsort(ids, (size_t)n, sizeof(*ids), compare_ids);
	*ret_ids = ids;
	return n;
}

static uint64_t size_of(int id)
{
	char path[64];
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t sectors = 0;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/size", id);
	f = fail_null("lib/orphan/size", EMFILE, fopen(path, "re"));
	if (f && fscanf(f, "%" SCNu64, &sectors) != 1)
		return 0;
	return sectors << 9;
}

static int read_entry(struct control *control, int id, struct ublk_dev_entry *entry)
{
	struct abi_dev_info info = { 0 };
	int err = control_dev_info(control, id, &info);

	if (err < 0)
		return err;
	*entry = (struct ublk_dev_entry){
		.id = id,
		.state = (enum ublk_dev_state)info.state,
		.owner_pid = info.server_pid > 0 ? info.server_pid : 0,
		.ours = owner_stamped(info.server_flags),
		.owner_gone = owner_gone(info.server_flags),
		.size_bytes = size_of(id),
		.nr_queues = info.nr_hw_queues,
		.queue_depth = info.queue_depth,
	};
	if (entry->ours)
		entry->owner_pid = owner_pid(info.server_flags);
	return 0;
}

/*
 * One that vanished between the listing and the question (EINVAL before 6.4), and one of another
 * user, are not for us; every other error is one.
 */
static bool is_passed_over(int err)
{
	return err == -ENODEV || err == -EINVAL || err == -EPERM || err == -EACCES;
}

int ublk_list(struct ublk_dev_entry *entries, unsigned int max)
{
	const struct logger quiet = { 0 };
	struct control control;
	_cleanup_free_ int *ids = NULL;
	int nr_ids, nr = 0, err;

	err = control_open(&control, false, &quiet);
	if (err)
		return err;
	nr_ids = read_ids(&ids);
	for (int i = 0; i < nr_ids && (!err || is_passed_over(err)); i++) {
		struct ublk_dev_entry entry;

		err = read_entry(&control, ids[i], &entry);
		if (!err && (unsigned int)nr < max)
			entries[nr] = entry;
		nr += !err;
	}
	control_close(&control);
	if (nr_ids < 0)
		return nr_ids;
	return err && !is_passed_over(err) ? err : nr;
}

/* ------------------------------------------------------------------------------ deleting */

static int delete_held(const struct logger *log, int id)
{
	struct ublk_holder holders[8];
	char who[512];
	int n = ublk_holders(id, holders, array_size(holders));

	if (n <= 0)
		return 0;
	ublk_holders_text(holders, (unsigned int)n, who, sizeof(who));
	return log_error(log, -EBUSY, "/dev/ublkb%d is %s; end that first", id, who);
}

static int delete_one(struct control *control, int id, const struct logger *log)
{
	const struct control_args args = { .id = id, .by_path = true, .timeout_ms = 10000 };
	int err = control_cmd(control, ABI_STOP_DEV, &args);

	if (err >= 0)
		err = control_cmd(control, ABI_DEL_DEV, &args);
	if (err >= 0)
		return 0;
	if (err == -ETIMEDOUT && delete_held(log, id) == -EBUSY)
		return err;
	return log_error(log, err, "deleting ublk device %d: %s", id, strerror(-err));
}

int ublk_delete(int id, ublk_log_fn fn, void *log_ctx)
{
	const struct logger log = { .fn = fn, .ctx = log_ctx };
	struct ublk_dev_entry entry;
	struct control control;
	int err = control_open(&control, false, &log);

	if (err)
		return err;
	err = read_entry(&control, id, &entry);
	if (err == -ENODEV)
		log_error(&log, err, "there is no ublk device %d", id);
	else if (err)
		log_error(&log, err, "asking for ublk device %d: %s", id, strerror(-err));
	else
		err = delete_held(&log, id);
	if (!err)
		err = delete_one(&control, id, &log);
	control_close(&control);
	return err;
}

/*
 * Is it an orphan for certain? A pid means nothing in another pid namespace, but the driver knows:
 * a device is no longer live soon after its server has died, and stays live while it lives. 1, 0 or
 * -errno.
 */
static int is_orphan(struct control *control, int id, struct ublk_dev_entry *entry)
{
	for (int tries = 0; tries < 40; tries++) {
		int err = read_entry(control, id, entry);

		if (err)
			return is_passed_over(err) ? 0 : err;
		if (!entry->owner_gone)
			return 0;
		if (entry->state != UBLK_DEV_LIVE)
			return 1;
		usleep(50000);
	}
	return 0;
}

/* 1: it was an orphan, and is deleted; 0: it is none; -errno, logged. */
static int gc_one(struct control *control, int id, const struct logger *log)
{
	struct ublk_dev_entry entry;
	int ret = is_orphan(control, id, &entry);

	if (ret < 0)
		return log_error(log, ret, "asking for ublk device %d: %s", id, strerror(-ret));
	if (ret > 0 && (ret = delete_one(control, id, log)) == 0) {
		log_at(log, UBLK_LOG_INFO, "deleted orphan ublk device %d, left by pid %d", id,
		       entry.owner_pid);
		return 1;
	}
	return ret;
}

int ublk_gc(ublk_log_fn fn, void *log_ctx)
{
	const struct logger log = { .fn = fn, .ctx = log_ctx };
	_cleanup_free_ int *ids = NULL;
	struct control control;
	int nr_ids, nr = 0, failed = 0;
	int err = control_open(&control, false, &log);

	if (err)
		return err;
	nr_ids = read_ids(&ids);
	for (int i = 0; i < nr_ids; i++) {
		int ret = gc_one(&control, ids[i], &log);

		if (ret < 0)
			failed = ret;
		else
			nr += ret;
	}
	control_close(&control);
	return nr_ids < 0 ? nr_ids : nr ? nr : failed;
}
