// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mounts.h"
#include "holders.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO_SUCH_DISK 990002
#define FDS_MAX      1024

/* Which of our own descriptors were followed through /proc. */
static bool followed[FDS_MAX];

/* In place of the C library's. */
int statx(int dir, const char *restrict path, int flags, unsigned int mask,
	  struct statx *restrict ret_stat)
{
	char link[64], where[64] = "", ours[64];
	int fd = atoi(path);

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	snprintf(ours, sizeof(ours), "/proc/%d/fd", (int)getpid());
	if (dir >= 0 && readlink(link, where, sizeof(where) - 1) > 0 && strcmp(where, ours) == 0 &&
	    fd >= 0 && fd < FDS_MAX)
		followed[fd] = true;
	return (int)syscall(SYS_statx, dir, path, flags, mask, ret_stat);
}

static void look(void)
{
	struct ublk_holder holder;

	memset(followed, 0, sizeof(followed));
	assert_int_equal(holders_of_dead(NO_SUCH_DISK, &holder, 1), 0);
}

/* Whoever serves /proc, a file system without a device, stands for a server that never answers. */
static void no_link_is_followed_to_a_file_system_that_may_ask_a_server(void **state)
{
	int node = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	int folder = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int memory = memfd_create("/dev", MFD_CLOEXEC);
	int pipes[2];

	(void)state;
	assert_true(node >= 0 && file >= 0 && folder >= 0 && memory >= 0 && pipe(pipes) == 0);
	look();
	assert_true(followed[node]);
	assert_false(followed[file] || followed[folder] || followed[memory]);
	assert_false(followed[pipes[0]] || followed[pipes[1]]);
	close(node);
	close(file);
	close(folder);
	close(memory);
	close(pipes[0]);
	close(pipes[1]);
}

/* A file on a disk or in memory, outside of /dev; -1: this machine has no place for one. */
static int open_local(void)
{
	static const char *const types[] = { "tmpfs", "ext4", "xfs", "btrfs" };
	struct mounts *mounts;
	int fd = -1;

	assert_int_equal(mounts_read("/proc/self/mountinfo", &mounts), 0);
	for (size_t i = 0; i < mounts->nr && fd < 0; i++)
		for (size_t t = 0; t < sizeof(types) / sizeof(types[0]) && fd < 0; t++)
			if (strcmp(mounts->entries[i].type, types[t]) == 0 &&
			    strncmp(mounts->entries[i].where, "/dev", 4) != 0)
				fd = open(mounts->entries[i].where,
					  O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	mounts_free(mounts);
	return fd;
}

static void a_node_wherever_on_a_disk_or_in_memory_is_seen(void **state)
{
	int fd = open_local();

	(void)state;
	if (fd < 0)
		skip();
	look();
	assert_true(followed[fd]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_link_is_followed_to_a_file_system_that_may_ask_a_server),
		cmocka_unit_test(a_node_wherever_on_a_disk_or_in_memory_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
