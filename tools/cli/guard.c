// SPDX-License-Identifier: MIT
#include "tools/cli/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/cli/remove_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ENVIRON_MAX    (1u << 17)
#define PIDS_MAX       4096
#define QUIET_ROUNDS   2    /* looks that find nothing, before it is believed */
#define ROUND_US       5000 /* between two looks: killed processes go away */
#define ROUNDS_MAX     4000
#define SWEEP_MS       5000 /* for what a sweep has killed to be gone */
#define PATIENT_ROUNDS 400  /* 2 s: run takes a second SIGTERM for impatience */

/* ------------------------------------------------------------------------------ processes */

typedef bool (*is_meant_fn)(const char *variable, const void *ctx);

/* Has the process a variable in its environment that is meant? */
static bool has_variable(pid_t pid, is_meant_fn is_meant, const void *ctx)
{
	static char text[ENVIRON_MAX + 1];
	_cleanup_close_ int fd = -1;
	char path[64];
	size_t len = 0;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && len < ENVIRON_MAX && (got = read(fd, text + len, ENVIRON_MAX - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	for (const char *at = text; at < text + len; at += strlen(at) + 1)
		if (is_meant(at, ctx))
			return true;
	return false;
}

/* The numbers in /proc are those of our pid namespace, and not of the one around it. */
static bool proc_is_ours(void)
{
	char link[16] = "";

	return readlink("/proc/self", link, sizeof(link) - 1) > 0 && atoi(link) == getpid();
}

static bool is_of_us(pid_t pid)
{
	struct stat stat_of;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return pid > 1 && pid != getpid() && stat(path, &stat_of) == 0 &&
	       stat_of.st_uid == geteuid();
}

struct pids {
	pid_t items[PIDS_MAX];
	size_t nr;
};

static bool has_pid(const struct pids *pids, pid_t pid)
{
	for (size_t i = 0; i < pids->nr; i++)
		if (pids->items[i] == pid)
			return true;
	return false;
}

static void add_pid(struct pids *pids, pid_t pid)
{
	if (pids->nr < PIDS_MAX && !has_pid(pids, pid))
		pids->items[pids->nr++] = pid;
}

/* A server, or whoever has servers: killed it would leave its disk. */
static bool is_program(pid_t pid)
{
	struct stat ours, its;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return stat("/proc/self/exe", &ours) == 0 && stat(path, &its) == 0 &&
	       ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

static int pidfd_open(pid_t pid)
{
	return fail_errno("tools/cli/guard/pidfd", EMFILE, (int)syscall(SYS_pidfd_open, pid, 0));
}

/* Not every C library has it. */
static int pidfd_send_signal(int fd, int number)
{
	return (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
}

/* Of one that nobody has waited for yet, too. */
static bool has_ended(int fd, int wait_ms)
{
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	int nr;

	while ((nr = poll(&ended, 1, wait_ms)) < 0 && errno == EINTR)
		;
	return nr > 0;
}

struct killing {
	is_meant_fn is_meant;
	const void *ctx;
	struct pids sessions; /* that those lead */
	int round;
};

/* True: it is meant, and lives. Its number may be another's at any time, its descriptor not. */
static bool kill_one(struct killing *killing, pid_t pid)
{
	_cleanup_close_ int fd = -1;
	bool gone;
	pid_t sid;

	if (!is_of_us(pid))
		return false;
	fd = pidfd_open(pid);
	gone = fd < 0 && errno == ESRCH;
	sid = getsid(pid);
	if (!has_pid(&killing->sessions, sid) &&
	    !has_variable(pid, killing->is_meant, killing->ctx))
		return false;
	if (gone || (fd >= 0 && has_ended(fd, 0)))
		return false;
	/* Each check leads a session of its own; that of who started us is not meant. */
	if (sid == pid)
		add_pid(&killing->sessions, sid);
	if (killing->round == ROUNDS_MAX - 1 || !is_program(pid))
		pidfd_send_signal(fd, SIGKILL);
	else if (killing->round % PATIENT_ROUNDS == 0)
		pidfd_send_signal(fd, SIGTERM);
	return true;
}

/* Kills those that are meant, and who shares a session that one of them leads; how many? Programs
 * of ours are asked to end in order in each PATIENT_ROUNDS-th round, and killed in the last. */
static unsigned int kill_round(struct killing *killing)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned int nr = 0;

	while (proc && (entry = readdir(proc)))
		nr += kill_one(killing, (pid_t)atoi(entry->d_name));
	if (proc)
		closedir(proc);
	return nr;
}

/* How many there were at most in one round: in an exec() a process has no environment for a moment. */
static unsigned int kill_all(is_meant_fn is_meant, const void *ctx)
{
	struct killing killing = { .is_meant = is_meant, .ctx = ctx };
	unsigned int quiet = 0, most = 0;

	for (; proc_is_ours() && killing.round < ROUNDS_MAX && quiet < QUIET_ROUNDS;
	     killing.round++) {
		unsigned int nr = kill_round(&killing);

		most = nr > most ? nr : most;
		quiet = nr ? 0 : quiet + 1;
		if (quiet < QUIET_ROUNDS)
			usleep(ROUND_US);
	}
	return most;
}

static ino_t pid_namespace(void)
{
	struct stat ours;

	return stat("/proc/self/ns/pid", &ours) < 0 ? 0 : ours.st_ino;
}

void guard_owner(const char *variable, char ret_owner[GUARD_OWNER_MAX])
{
	snprintf(ret_owner, GUARD_OWNER_MAX, "%s=%d.%llu.", variable, (int)getpid(),
		 (unsigned long long)pid_namespace());
}

static bool begins_with(const char *variable, const void *ctx)
{
	const char *owner = ctx;

	return strncmp(variable, owner, strlen(owner)) == 0;
}

/* ------------------------------------------------------------------------------ the guard */

/* What is mounted in it stays, and so does the lock that tells the next one whose it was. */
static void remove_folder(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	_cleanup_close_ int at = -1;

	if (!slash || slash == folder)
		return;
	*slash = '\0';
	at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at >= 0)
		remove_tree(at, slash + 1, "lock", NULL);
}

/* One byte says that it is over; a path ends with a zero. */
static _Noreturn void watch(int fd, const char *owner)
{
	char text[PATH_MAX + 1] = "";
	size_t len = 0;
	ssize_t got;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "faultblk-guard");
	if (chdir("/") < 0 || dup2(fd, 3) < 0)
		_exit(1);
	/* Streams of ours that somebody reads to their end are not held open by it. */
	close_range(4, ~0u, 0);
	for (int i = 0; i < 3; i++)
		close(i);
	while (len < PATH_MAX && (got = read(3, text + len, PATH_MAX - len)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || (len += (size_t)got, memchr(text, '\n', len)))
			_exit(0);
	}
	if (owner)
		kill_all(begins_with, owner);
	if (text[0] == '/')
		remove_folder(text);
	_exit(0);
}

int guard_start(const char *owner, struct guard *ret_guard)
{
	int fds[2];
	pid_t pid;

	*ret_guard = (struct guard){ .fd = -1 };
	if (fail_errno("tools/cli/guard/socket", EMFILE,
		       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) < 0)
		return -errno;
	pid = fail_errno("tools/cli/guard/fork", EAGAIN, fork());
	if (pid == 0) {
		close(fds[1]);
		watch(fds[0], owner);
	}
	close(fds[0]);
	if (pid < 0) {
		close(fds[1]);
		return -EAGAIN;
	}
	*ret_guard = (struct guard){ .pid = pid, .fd = fds[1] };
	return 0;
}

void guard_folder(const struct guard *guard, const char *path)
{
	size_t len = strlen(path) + 1;

	/* Where the guard was killed there is nobody to read it. */
	if (guard->pid && path[0] == '/' && len <= PATH_MAX && !strchr(path, '\n') &&
	    send(guard->fd, path, len, MSG_NOSIGNAL) < 0)
		return;
}

void guard_end(struct guard *guard, bool in_order)
{
	if (!guard->pid)
		return;
	if (in_order && send(guard->fd, "\n", 1, MSG_NOSIGNAL) < 0)
		kill(guard->pid, SIGKILL);
	close(take_fd(&guard->fd));
	while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
		;
	guard->pid = 0;
}

unsigned int guard_kill(const char *owner)
{
	return kill_all(begins_with, owner);
}

/* ------------------------------------------------------------------------------ what was left */

/* "FAULTBLK_WORKER=PID.NAMESPACE.N" of a program of our pid namespace that is no more. */
static bool is_left(const char *variable, const void *ctx)
{
	static const char *const words[] = { GUARD_WORKER "=", GUARD_CRASHTEST "=" };
	const ino_t *namespace = ctx;
	const char *at = NULL;
	unsigned long long its;
	int pid;
	char dot;

	for (size_t i = 0; i < array_size(words); i++)
		if (strncmp(variable, words[i], strlen(words[i])) == 0)
			at = variable + strlen(words[i]);
	if (!at || sscanf(at, "%9d.%20llu%c", &pid, &its, &dot) != 3 || dot != '.' ||
	    its != *namespace)
		return false;
	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

struct sweep {
	bool dry_run;
	guard_left_fn each;
	void *ctx;
	ino_t namespace;
	struct pids sessions; /* that processes which are left lead, see kill_round() */
	struct pids told;     /* those that stay, and in a dry run all */
	uint64_t until_ns;
};

static bool is_meant_by(struct sweep *sweep, pid_t pid)
{
	pid_t sid = getsid(pid);

	if (!is_of_us(pid) || has_pid(&sweep->told, pid))
		return false;
	if (!has_pid(&sweep->sessions, sid) && !has_variable(pid, is_left, &sweep->namespace))
		return false;
	if (sid == pid && !is_program(pid))
		add_pid(&sweep->sessions, sid);
	return true;
}

static void read_name(struct guard_left *left)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)left->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, left->name, sizeof(left->name) - 1) <= 0)
		strcpy(left->name, "?");
	left->name[strcspn(left->name, "\n")] = '\0';
}

/* Why it stays; NULL: it is gone. @fd is that of one process, whatever becomes of its number. */
static const char *end_one(int fd, uint64_t until_ns)
{
	uint64_t now_ns = clock_now_ns();
	int wait_ms = now_ns < until_ns ? (int)((until_ns - now_ns) / NSEC_PER_MSEC) : 0;

	if (pidfd_send_signal(fd, SIGKILL) < 0)
		return errno == ESRCH ? NULL : strerror(errno);
	return has_ended(fd, wait_ms) ? NULL : "it was killed but has not ended";
}

/* True: it was ended. */
static bool sweep_one(struct sweep *sweep, pid_t pid)
{
	_cleanup_close_ int fd = pidfd_open(pid);
	struct guard_left left = { .pid = pid };
	const char *why = fd < 0 ? strerror(errno) : NULL;

	if ((fd < 0 && errno == ESRCH) || !is_meant_by(sweep, pid) || has_ended(fd, 0))
		return false;
	read_name(&left);
	if (is_program(pid))
		why = "it is a faultblk process, which may serve a disk: end it with faultblk "
		      "stop, or kill";
	else if (!why && !sweep->dry_run)
		why = end_one(fd, sweep->until_ns);
	if (why || sweep->dry_run)
		add_pid(&sweep->told, pid);
	if (sweep->each)
		sweep->each(sweep->ctx, &left, why);
	return !why && !sweep->dry_run;
}

/* How many were ended, or -errno. */
static int sweep_round(struct sweep *sweep)
{
	DIR *proc = fail_null("tools/cli/guard/proc", EMFILE, opendir("/proc"));
	struct dirent *entry;
	int nr = 0;

	if (!proc)
		return -errno;
	while ((entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 1 && is_meant_by(sweep, pid))
			nr += sweep_one(sweep, pid);
	}
	closedir(proc);
	return nr;
}

int guard_sweep(bool dry_run, guard_left_fn each, void *ctx)
{
	struct sweep sweep = {
		.dry_run = dry_run,
		.each = each,
		.ctx = ctx,
		.namespace = pid_namespace(),
		.until_ns = clock_now_ns() + SWEEP_MS * NSEC_PER_MSEC,
	};
	size_t known;
	int nr;

	if (!proc_is_ours())
		return -EXDEV;
	/* Again for what the ended have started, and for sessions whose leader was seen late. */
	do {
		known = sweep.sessions.nr;
		nr = sweep_round(&sweep);
	} while ((nr > 0 || sweep.sessions.nr > known) && clock_now_ns() < sweep.until_ns);
	return nr < 0 ? nr : 0;
}
