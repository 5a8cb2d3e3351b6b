// SPDX-License-Identifier: MIT
#include "tools/cli/lock_wait.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LOOK_US 10000

/* Of /proc/locks: "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; "->" stands before a waiter. */
pid_t lock_holder(int fd)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/locks", "re");
	unsigned long long inode;
	unsigned int major_of, minor_of;
	struct stat stat;
	char line[256];
	int pid;

	if (!file || fstat(fd, &stat) < 0)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &major_of, &minor_of,
			   &inode) == 4 &&
		    inode == stat.st_ino && major_of == major(stat.st_dev) &&
		    minor_of == minor(stat.st_dev))
			return pid > 0 ? pid : 0;
	return 0;
}

/* A signal that is to end us, and that whoever waits keeps back for later. */
static bool is_to_end(void)
{
	sigset_t end, pending;

	tool_end_signals(&end);
	if (sigpending(&pending) < 0)
		return false;
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&end, i) == 1 && sigismember(&pending, i) == 1)
			return true;
	return false;
}

int lock_wait(int fd, unsigned int ms, pid_t *ret_holder)
{
	uint64_t until_ns = clock_now_ns() + ms * NSEC_PER_MSEC;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (clock_now_ns() >= until_ns) {
			*ret_holder = lock_holder(fd);
			return -ETIMEDOUT;
		}
		if (is_to_end())
			return -EINTR;
		usleep(LOOK_US);
	}
	return 0;
}

const char *lock_words(int fd, char words[LOCK_WORDS_MAX])
{
	pid_t holder = fd < 0 ? 0 : lock_holder(fd);
	_cleanup_fclose_ FILE *file = NULL;
	char path[64], name[17] = "";

	snprintf(words, LOCK_WORDS_MAX, "another program");
	if (!holder)
		return words;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)holder);
	file = fopen(path, "re");
	if (file && fgets(name, sizeof(name), file))
		name[strcspn(name, "\n")] = '\0';
	snprintf(words, LOCK_WORDS_MAX, "another program (%s%sprocess %d)", name,
		 name[0] ? ", " : "", (int)holder);
	return words;
}
