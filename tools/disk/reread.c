// SPDX-License-Identifier: MIT
/*
 * The ioctls wait for requests that the server itself carries out, and a server that is killed while
 * it has its own disk open can hang. So a process of its own makes them: this program again, under a
 * word that is no command. It dies with the thread that waits for it.
 *
 * It claims the disk for that moment, so that what somebody has mounted is left alone: there the
 * kernel's memory is the file system's.
 */
#include "tools/disk/reread.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"
#include "tools/disk/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SELF          "/proc/self/exe"
#define REREAD_MS     10000
#define REREAD_NAP_NS NSEC_PER_MSEC

/* ------------------------------------------------------------------------------ the process */

/* Each partition that is open has a cache of its own; of one that is not there is none. */
static void flush_partition(void *ctx, const struct partition *partition)
{
	const char *disk = ctx;
	_cleanup_close_ int fd = -1;
	char path[96];

	snprintf(path, sizeof(path), "%.64sp%u", disk, partition->number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		ioctl(fd, BLKFLSBUF, 0);
}

int cmd_reread_disk(int argc, char **argv)
{
	_cleanup_close_ int fd = -1;
	int id;

	if (argc != 2 || sscanf(argv[1], "/dev/ublkb%d", &id) != 1)
		return EINVAL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(argv[1], O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return errno;
	partition_each(id, flush_partition, argv[1]);
	if (ioctl(fd, BLKFLSBUF, 0) < 0 || ioctl(fd, BLKRRPART) < 0)
		return errno;
	return 0;
}

/* ------------------------------------------------------------------------------ who waits */

static _Atomic pid_t given_up; /* the last one; 0: none */

static int wait_for(pid_t pid)
{
	const struct timespec nap = { .tv_nsec = REREAD_NAP_NS };
	uint64_t until_ns = clock_now_ns() + REREAD_MS * NSEC_PER_MSEC;
	int status;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
		if (clock_now_ns() >= until_ns) {
			/* It ends when the request does, which may be when the disk goes. */
			kill(pid, SIGKILL);
			given_up = pid;
			return -ETIMEDOUT;
		}
		nanosleep(&nap, NULL);
	}
	if (got < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

int reread_disk(const char *path)
{
	char *words[] = { (char *)"faultblk", (char *)REREAD_WORD, (char *)path, NULL };
	pid_t pid = given_up;
	int err;

	/* Nobody else collects it. */
	if (pid && waitpid(pid, NULL, WNOHANG) == pid)
		given_up = 0;
	err = -fail_value("tools/disk/reread/spawn", EAGAIN,
			  posix_spawn(&pid, SELF, NULL, NULL, words, environ));

	return err ? err : wait_for(pid);
}

/* ------------------------------------------------------------------------------ udev */

static void tell(const char *device)
{
	_cleanup_close_ int fd = -1;
	char path[96];

	snprintf(path, sizeof(path), "/sys/class/block/%s/uevent", device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "change", 6) < 0)
		return; /* it has just gone */
}

static void tell_partition(void *ctx, const struct partition *partition)
{
	char name[32];

	snprintf(name, sizeof(name), "ublkb%dp%u", *(const int *)ctx, partition->number);
	tell(name);
}

void reread_tell_udev(int id)
{
	char name[24];

	snprintf(name, sizeof(name), "ublkb%d", id);
	if (access(UDEV_CONTROL, F_OK) < 0)
		return;
	tell(name);
	partition_each(id, tell_partition, &id);
}
