// SPDX-License-Identifier: MIT
#include "base/host_memory.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define GROUPS      "/sys/fs/cgroup"
#define FILE_MAX    8192
#define RESERVE_MAX (1ull << 30)
#define KIB         1024ull

/* All of a small file, terminated; "" where there is none. */
static const char *read_file(const char *path, char text[FILE_MAX])
{
	_cleanup_close_ int fd =
		fail_errno("lib/base/host_memory/open", EMFILE, open(path, O_RDONLY | O_CLOEXEC));
	ssize_t len = fd < 0 ? 0 : read(fd, text, FILE_MAX - 1);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

/* The number behind @key at the beginning of a line; false: there is none. */
static bool find_number(const char *text, const char *key, uint64_t *ret_number)
{
	size_t len = strlen(key);

	while (*text) {
		const char *end = strchr(text, '\n');

		if (strncmp(text, key, len) == 0 &&
		    sscanf(text + len, " %" SCNu64, ret_number) == 1)
			return true;
		if (!end)
			break;
		text = end + 1;
	}
	return false;
}

static uint64_t less_reserve(uint64_t left, uint64_t whole, uint64_t min)
{
	uint64_t reserve = whole / 16;

	reserve = reserve < min ? min : reserve > RESERVE_MAX ? RESERVE_MAX : reserve;
	return left > reserve ? left - reserve : 0;
}

static uint64_t machine_room(const char *root, uint64_t *ret_swap)
{
	char path[PATH_MAX], text[FILE_MAX];
	uint64_t total, available;

	*ret_swap = 0;
	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	read_file(path, text);
	if (!find_number(text, "MemTotal:", &total) ||
	    !find_number(text, "MemAvailable:", &available))
		return UINT64_MAX;
	if (find_number(text, "SwapFree:", ret_swap))
		*ret_swap *= KIB;
	return less_reserve(available * KIB + *ret_swap, total * KIB, 64 << 20);
}

/* A number in a file of its own; UINT64_MAX: "max", or there is none. */
static uint64_t group_number(const char *dir, const char *name)
{
	char path[PATH_MAX + 32], text[FILE_MAX];
	uint64_t number;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return sscanf(read_file(path, text), "%" SCNu64, &number) == 1 ? number : UINT64_MAX;
}

/* Of one group. What its files take in the page cache goes when memory is wanted. */
static uint64_t group_room(const char *dir, uint64_t swap)
{
	uint64_t max = group_number(dir, "memory.max"), swap_max, used, cached;
	char path[PATH_MAX + 32], text[FILE_MAX];

	if (max == UINT64_MAX)
		return UINT64_MAX;
	used = group_number(dir, "memory.current");
	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	read_file(path, text);
	if (find_number(text, "inactive_file", &cached))
		used -= cached < used ? cached : used;
	if (find_number(text, "active_file", &cached))
		used -= cached < used ? cached : used;
	swap_max = group_number(dir, "memory.swap.max");
	if (swap_max != UINT64_MAX) {
		uint64_t swapped = group_number(dir, "memory.swap.current");

		swap_max -= swapped < swap_max ? swapped : swap_max;
		swap = swap < swap_max ? swap : swap_max;
	}
	return less_reserve((used < max ? max - used : 0) + swap, max, 8 << 20);
}

/* The group of this process, and those above it as far as they are seen. */
static uint64_t groups_room(const char *root, uint64_t swap)
{
	char text[FILE_MAX], dir[PATH_MAX];
	uint64_t room = UINT64_MAX;
	const char *group;
	size_t top;

	snprintf(dir, sizeof(dir), "%s/proc/self/cgroup", root);
	group = strstr(read_file(dir, text), "0::/");
	if (!group || (group != text && group[-1] != '\n'))
		return UINT64_MAX;
	group += strlen("0::");
	top = (size_t)snprintf(dir, sizeof(dir), "%s%s", root, GROUPS);
	if (top + strcspn(group, "\n") >= sizeof(dir))
		return UINT64_MAX;
	memcpy(dir + top, group, strcspn(group, "\n"));
	dir[top + strcspn(group, "\n")] = '\0';
	for (;;) {
		uint64_t one = group_room(dir, swap);
		char *slash = strrchr(dir + top, '/');

		room = one < room ? one : room;
		if (!slash)
			return room;
		*slash = '\0';
	}
}

uint64_t host_memory_room(const char *root)
{
	uint64_t swap, machine = machine_room(root, &swap), groups = groups_room(root, swap);

	return machine < groups ? machine : groups;
}
