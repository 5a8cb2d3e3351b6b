// SPDX-License-Identifier: MIT
#include "orphan.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "control.h"
#include "holders.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK        0xfcull
#define MARK_SHIFT  56
#define SPACE_SHIFT 38
#define SPACE_MASK  ((1ull << 18) - 1)
#define PID_SHIFT   16
#define PID_MASK    ((1ull << 22) - 1)
#define START_MASK  ((1ull << PID_SHIFT) - 1)
#define CHAR_CLASS  "/sys/class/ublk-char"
#define GC_MAX      4096

#define DELETE_MS 10000 /* for the kernel to delete a device */
#define WATCH_MS  5000  /* for a killed server to end, and for the driver to know of it */
#define LOOK_MS   50
#define DEAD_MS   500 /* an orphan is never live for that long */

#define PID_SPACE_FIRST                                                                            \
	0xeffffffcu               /* inode of the machine's first pid namespace, since Linux 3.8 */
#define FLAG_EXITING 0x00000004ul /* PF_EXITING: the process, or thread, is in its exit */

/* ------------------------------------------------------------------------------ processes */

struct process {
	char state;
	unsigned long flags; /* PF_* */
	long nr_threads;
	uint64_t start_ticks; /* since boot, low bits */
};

/* proc(5), /proc/PID/stat: fields 3, 9, 20 and 22. 0 or -errno. */
static int read_stat(const char *path, struct process *ret_process)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = fail_null("lib/orphan/stat", EMFILE, fopen(path, "re"));
	const char *p;

	if (!f)
		return -errno;
	/* Of a process that ends between the two there is nothing to be read. */
	if (!fgets(line, sizeof(line), f))
		return ferror(f) ? -errno : -ESRCH;
	/* The command name, field 2, may hold spaces and brackets: count from the last bracket. */
	p = strrchr(line, ')');
	if (!p || sscanf(p + 1,
			 " %c %*d %*d %*d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld "
			 "%*d %" SCNu64,
			 &ret_process->state, &ret_process->flags, &ret_process->nr_threads,
			 &ret_process->start_ticks) != 4)
		return -EIO;
	ret_process->start_ticks &= START_MASK;
	return 0;
}

/* Of "/proc/WHO": the pid and the time namespace, in 18 bits; 0: not to be known. */
static uint64_t space_of(const char *who)
{
	char path[64];
	struct stat pid_space, time_space = { 0 };
	uint64_t mixed;

	snprintf(path, sizeof(path), "/proc/%s/ns/pid", who);
	if (fail_errno("lib/orphan/space", EACCES, stat(path, &pid_space)) < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%s/ns/time", who);
	if (stat(path, &time_space) < 0)
		time_space.st_ino = 0; /* before Linux 5.6 */
	mixed = rng_mix(pid_space.st_ino, time_space.st_ino, 0) & SPACE_MASK;
	return mixed ? mixed : 1;
}

/* Is a mounted /proc that of our own pid namespace? */
static bool proc_is_ours(void)
{
	char text[32];
	ssize_t len = readlink("/proc/self", text, sizeof(text) - 1);

	text[len > 0 ? len : 0] = '\0';
	return atoi(text) == (int)getpid();
}

/* Does /proc show every process of the machine? */
static bool proc_is_whole(void)
{
	struct stat st;

	return stat("/proc/1/ns/pid", &st) == 0 && st.st_ino == PID_SPACE_FIRST;
}

/* Are all of its threads in their exit? The first one may wait for the others, dead already. */
static bool is_ending(const char *who)
{
	char path[320];
	struct process thread;
	struct dirent *entry;
	bool all = true;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/task", who);
	dir = fail_null("lib/orphan/threads", EMFILE, opendir(path));
	while (dir && all && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/task/%s/stat", who, entry->d_name);
		if (entry->d_name[0] != '.' && read_stat(path, &thread) == 0)
			all = thread.flags & FLAG_EXITING;
	}
	if (dir)
		closedir(dir);
	return dir && all;
}

static enum owner_fate fate_of(const char *who, const struct process *process)
{
	/* One that nobody has waited for yet: with its last thread, all of it is gone. */
	if ((process->state == 'Z' || process->state == 'X') && process->nr_threads <= 1)
		return OWNER_GONE;
	return process->flags & FLAG_EXITING && is_ending(who) ? OWNER_ENDING : OWNER_LIVES;
}

/* ------------------------------------------------------------------------------ stamps */

uint64_t owner_stamp(void)
{
	struct process self;
	uint64_t space = space_of("self");

	/* By that name, as /proc may be that of another pid namespace. */
	if (!space || read_stat("/proc/self/stat", &self))
		return 0;
	return MARK << MARK_SHIFT | space << SPACE_SHIFT |
	       ((uint64_t)getpid() & PID_MASK) << PID_SHIFT | self.start_ticks;
}

bool owner_stamped(uint64_t stamp)
{
	return stamp >> MARK_SHIFT == MARK;
}

int owner_pid(uint64_t stamp)
{
	return (int)(stamp >> PID_SHIFT & PID_MASK);
}

/* Does /proc/WHO have @pid in the innermost of its pid namespaces? "NSpid:	1234	5" */
static bool is_inner_pid(const char *who, int pid)
{
	char path[64], line[512];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%.20s/status", who);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6) == 0)
			return atoi(strrchr(line, '\t') ?: "") == pid;
	}
	return false;
}

/* Among all processes that /proc shows, of whatever pid namespace. */
static enum owner_fate search_owner(uint64_t stamp)
{
	uint64_t space = stamp >> SPACE_SHIFT & SPACE_MASK;
	DIR *dir = fail_null("lib/orphan/proc", EMFILE, opendir("/proc"));
	enum owner_fate fate = dir && proc_is_whole() ? OWNER_GONE : OWNER_UNSEEN;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct process process;
		char path[64];

		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !is_inner_pid(entry->d_name, owner_pid(stamp)) ||
		    space_of(entry->d_name) != space)
			continue;
		/* Its start time may be another's, seen from here: this is the owner, or unsafe. */
		snprintf(path, sizeof(path), "/proc/%.20s/stat", entry->d_name);
		if (read_stat(path, &process) == 0)
			fate = fate_of(entry->d_name, &process);
	}
	if (dir)
		closedir(dir);
	return fate;
}

enum owner_fate owner_fate(uint64_t stamp)
{
	struct process process;
	char who[16], path[64];
	int pid = owner_pid(stamp), err;

	if (!owner_stamped(stamp))
		return OWNER_UNSEEN;
	if (space_of("self") != (stamp >> SPACE_SHIFT & SPACE_MASK))
		return search_owner(stamp);
	/* In our own pid namespace a pid that is nobody's says it, whatever /proc shows. */
	if (kill(pid, 0) < 0 && errno == ESRCH)
		return OWNER_GONE;
	if (!proc_is_ours())
		return search_owner(stamp);
	snprintf(who, sizeof(who), "%d", pid);
	snprintf(path, sizeof(path), "/proc/%s/stat", who);
	err = read_stat(path, &process);
	if (err)
		return err == -ENOENT || err == -ESRCH ? OWNER_GONE : OWNER_UNSEEN;
	return process.start_ticks == (stamp & START_MASK) ? fate_of(who, &process) : OWNER_GONE;
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
	enum owner_fate fate;
	int err = control_dev_info(control, id, &info);

	if (err < 0)
		return err;
	fate = owner_fate(info.server_flags);
	*entry = (struct ublk_dev_entry){
		.id = id,
		.state = (enum ublk_dev_state)info.state,
		.owner_pid = info.server_pid > 0 ? info.server_pid : 0,
		.ours = owner_stamped(info.server_flags),
		.owner_gone = fate == OWNER_GONE,
		.owner_ending = fate == OWNER_ENDING,
		.owner_unseen = fate == OWNER_UNSEEN && owner_stamped(info.server_flags),
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

/* -EBUSY, logged: somebody holds it. @what: of the device. */
static int say_held(const struct logger *log, int id, const char *what)
{
	struct ublk_holder holders[8];
	char who[512];
	int n = ublk_holders(id, holders, array_size(holders));

	/* A disk whose server has died is no disk any more, but its device stays while it is held. */
	if (n == 0)
		n = holders_of_dead(id, holders, array_size(holders));
	if (n <= 0)
		return 0;
	n = n < (int)array_size(holders) ? n : (int)array_size(holders);
	ublk_holders_text(holders, (unsigned int)n, who, sizeof(who));
	return log_error(log, -EBUSY, "/dev/ublkb%d is %s; %s", id, who, what);
}

static int delete_one(struct control *control, int id, const struct logger *log)
{
	const struct control_args args = { .id = id, .by_path = true, .timeout_ms = DELETE_MS };
	int err = control_cmd(control, ABI_STOP_DEV, &args);

	if (err >= 0)
		err = control_cmd(control, ABI_DEL_DEV, &args);
	if (err >= 0)
		return 0;
	if (err == -ETIMEDOUT &&
	    say_held(log, id, "the kernel deletes it once that ends") == -EBUSY)
		return -EBUSY;
	if (err == -ETIMEDOUT)
		return log_error(log, err,
				 "ublk device %d is still in use after %d s, by an unknown "
				 "process; the kernel deletes it once that ends",
				 id, DELETE_MS / 1000);
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
		log_error(&log, err, "querying ublk device %d: %s", id, strerror(-err));
	else
		err = say_held(&log, id, "end or unmount that first");
	if (!err)
		err = delete_one(&control, id, &log);
	control_close(&control);
	return err;
}

/* ------------------------------------------------------------------------------ orphans */

/*
 * A device that is being made is DEAD, too, until it is started, and its server may be one that
 * cannot be seen. So two things must come together: its owner is gone for certain, and for a while
 * the driver never called it live. All devices are watched at once.
 */
struct suspect {
	int id;
	struct ublk_dev_entry entry;
	int err;                 /* of the last look */
	uint64_t dead_since_ns;  /* an orphan at every look since then; 0: not at the last one */
	bool decided, is_orphan; /* not decided: it has to be watched */
};

static void look(struct control *control, struct suspect *suspect)
{
	const struct ublk_dev_entry *entry = &suspect->entry;
	uint64_t now_ns = clock_now_ns();

	suspect->err = read_entry(control, suspect->id, &suspect->entry);
	if (suspect->err || !entry->ours ||
	    !(entry->owner_gone || entry->owner_ending ||
	      (entry->owner_unseen && entry->state != UBLK_DEV_LIVE))) {
		suspect->decided = true;
		return;
	}
	if (!entry->owner_gone || entry->state == UBLK_DEV_LIVE)
		suspect->dead_since_ns = 0;
	else if (!suspect->dead_since_ns)
		suspect->dead_since_ns = now_ns;
	else if (now_ns - suspect->dead_since_ns >= DEAD_MS * NSEC_PER_MSEC)
		suspect->decided = suspect->is_orphan = true;
}

static void watch(struct control *control, struct suspect *suspects, int nr)
{
	const uint64_t until_ns = clock_now_ns() + WATCH_MS * NSEC_PER_MSEC;

	for (;;) {
		bool late = clock_now_ns() > until_ns, more = false;

		for (int i = 0; i < nr; i++) {
			if (!suspects[i].decided)
				look(control, &suspects[i]);
			more |= !suspects[i].decided && (!late || suspects[i].dead_since_ns);
		}
		if (!more)
			return;
		usleep(LOOK_MS * 1000);
	}
}

/* Why it is left alone though something is wrong with it: -EBUSY, logged; 0: nothing is. */
static int say_undecided(const struct suspect *suspect, const struct logger *log)
{
	const struct ublk_dev_entry *entry = &suspect->entry;
	char waits[96];

	if (suspect->decided)
		return 0;
	if (entry->owner_unseen)
		return log_error(
			log, -EBUSY,
			"ublk device %d does not serve; its server is or was process %d of "
			"another pid namespace, which is not visible here; run gc there, or in the "
			"initial pid namespace",
			suspect->id, entry->owner_pid);
	if (!entry->owner_ending)
		return log_error(
			log, -EBUSY,
			"ublk device %d is live, though its server, process %d, is gone; a process "
			"that it forked may still serve it",
			suspect->id, entry->owner_pid);
	snprintf(waits, sizeof(waits), "its server, process %d, was killed but has not ended",
		 entry->owner_pid);
	if (say_held(log, suspect->id, waits) == 0)
		log_error(log, -EBUSY, "ublk device %d: %s", suspect->id, waits);
	return -EBUSY;
}

/* 1: it was an orphan, and is deleted, or would be; 0: it is none; -errno, logged. */
static int gc_one(const struct suspect *suspect, bool dry_run, const struct logger *log)
{
	struct control control;
	int err = suspect->err;

	if (err && !is_passed_over(err))
		return log_error(log, err, "querying ublk device %d: %s", suspect->id,
				 strerror(-err));
	if (err || !suspect->is_orphan)
		return err ? 0 : say_undecided(suspect, log);
	if (dry_run) {
		log_at(log, UBLK_LOG_INFO, "would delete orphan ublk device %d, left by pid %d",
		       suspect->id, suspect->entry.owner_pid);
		return 1;
	}
	/* One of its own: a command that passes its deadline keeps it busy. */
	err = control_open(&control, false, log);
	if (err)
		return err;
	err = delete_one(&control, suspect->id, log);
	control_close(&control);
	if (err)
		return err;
	log_at(log, UBLK_LOG_INFO, "deleted orphan ublk device %d, left by pid %d", suspect->id,
	       suspect->entry.owner_pid);
	return 1;
}

static int gc_all(const int *ids, int nr_ids, bool dry_run, const struct logger *log)
{
	_cleanup_free_ struct suspect *suspects =
		fail_alloc("lib/orphan/suspects", calloc((size_t)nr_ids + 1, sizeof(*suspects)));
	struct control control;
	int nr = 0, failed = 0;
	int err = suspects ? control_open(&control, false, log) : -ENOMEM;

	if (err)
		return err;
	for (int i = 0; i < nr_ids; i++)
		suspects[i].id = ids[i];
	watch(&control, suspects, nr_ids);
	control_close(&control);
	for (int i = 0; i < nr_ids; i++) {
		int ret = gc_one(&suspects[i], dry_run, log);

		if (ret < 0)
			failed = ret;
		else
			nr += ret;
	}
	return nr ? nr : failed;
}

static int gc(bool dry_run, const struct logger *log)
{
	_cleanup_free_ int *ids = NULL;
	int nr_ids = read_ids(&ids);

	return nr_ids < 0 ? nr_ids : gc_all(ids, nr_ids, dry_run, log);
}

int ublk_gc(ublk_log_fn fn, void *log_ctx)
{
	return gc(false, &(struct logger){ .fn = fn, .ctx = log_ctx });
}

int ublk_gc_look(ublk_log_fn fn, void *log_ctx)
{
	return gc(true, &(struct logger){ .fn = fn, .ctx = log_ctx });
}
