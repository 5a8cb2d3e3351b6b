// SPDX-License-Identifier: MIT
/*
 * Who holds a disk: processes that have it open, mounts in any mount namespace, swap, and devices
 * stacked on top (dm, md, loop). Only what /proc and /sys tell, so only what this process may see.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "ublkcore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PARTS_MAX 64

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}
#define _cleanup_dir_ _cleanup_(close_dir)

/* What is being looked for: the disk and its partitions; and what has been found so far. */
struct search {
	char disk[32]; /* "ublkb0" */
	dev_t devs[PARTS_MAX];
	unsigned int nr_devs;
	struct ublk_holder *holders;
	unsigned int max, nr;
};

static int read_line(const char *path, char *buf, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	if (!fgets(buf, (int)size, f))
		return -EIO;
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

static void add(struct search *s, enum ublk_hold how, int pid, const char *name, const char *where)
{
	struct ublk_holder *h = &s->holders[s->nr];

	if (s->nr >= s->max)
		return;
	*h = (struct ublk_holder){ .how = how, .pid = pid };
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->where, sizeof(h->where), "%s", where);
	s->nr++;
}

static void add_dev(struct search *s, const char *dev_file)
{
	unsigned int major, minor;
	char line[32];

	if (s->nr_devs < PARTS_MAX && !read_line(dev_file, line, sizeof(line)) &&
	    sscanf(line, "%u:%u", &major, &minor) == 2)
		s->devs[s->nr_devs++] = makedev(major, minor);
}

static bool is_part(const struct search *s, const char *name)
{
	return strncmp(name, s->disk, strlen(s->disk)) == 0 && name[strlen(s->disk)] == 'p';
}

static void find_devs(struct search *s)
{
	char path[512];
	struct dirent *entry;
	_cleanup_dir_ DIR *dir = NULL;

	snprintf(path, sizeof(path), "/sys/block/%s/dev", s->disk);
	add_dev(s, path);
	snprintf(path, sizeof(path), "/sys/block/%s", s->disk);
	dir = fail_null("lib/holders/disk", EMFILE, opendir(path));
	while (dir && (entry = readdir(dir)))
		if (is_part(s, entry->d_name)) {
			snprintf(path, sizeof(path), "/sys/block/%s/%s/dev", s->disk,
				 entry->d_name);
			add_dev(s, path);
		}
}

static bool is_dev(const struct search *s, dev_t dev)
{
	for (unsigned int i = 0; i < s->nr_devs; i++)
		if (s->devs[i] == dev)
			return true;
	return false;
}

/* "/dev/ublkb0" or a partition of it, by name: btrfs mounts have device numbers of their own. */
static bool is_node(const struct search *s, const char *path)
{
	const char *name = strrchr(path, '/');

	return name && strncmp(path, "/dev/", 5) == 0 &&
	       (strcmp(name + 1, s->disk) == 0 || is_part(s, name + 1));
}

static bool has_open(const struct search *s, int pid)
{
	char path[320];
	struct dirent *entry;
	_cleanup_dir_ DIR *dir = NULL;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		struct statx st;

		/* Never ask a file server about somebody's file: what is cached will do. */
		if (entry->d_name[0] == '.' ||
		    statx(dirfd(dir), entry->d_name, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
			continue;
		if (S_ISBLK(st.stx_mode) &&
		    is_dev(s, makedev(st.stx_rdev_major, st.stx_rdev_minor)))
			return true;
	}
	return false;
}

static void find_mounts(struct search *s, int pid, const char *comm)
{
	char path[64], line[4096];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	f = fail_null("lib/holders/mounts", EMFILE, fopen(path, "re"));
	while (f && fgets(line, sizeof(line), f)) {
		unsigned int major, minor;
		char where[256], source[256];
		const char *dash = strstr(line, " - ");

		if (sscanf(line, "%*d %*d %u:%u %*s %255s", &major, &minor, where) != 3)
			continue;
		if (!dash || sscanf(dash, " - %*s %255s", source) != 1)
			source[0] = '\0';
		if (is_dev(s, makedev(major, minor)) || is_node(s, source))
			add(s, UBLK_HOLD_MOUNT, pid, comm, where);
	}
}

/* Mount namespaces already looked at, so that each is read once and not once for each process. */
struct seen {
	ino_t ns[256];
	unsigned int nr;
};

static bool seen_before(struct seen *seen, int pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	if (stat(path, &st) < 0)
		return true;
	for (unsigned int i = 0; i < seen->nr; i++)
		if (seen->ns[i] == st.st_ino)
			return true;
	if (seen->nr < array_size(seen->ns))
		seen->ns[seen->nr++] = st.st_ino;
	return false;
}

static void find_processes(struct search *s)
{
	_cleanup_dir_ DIR *dir = fail_null("lib/holders/proc", EMFILE, opendir("/proc"));
	struct seen seen = { .nr = 0 };
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[320], comm[32] = "?";
		int pid;

		if (sscanf(entry->d_name, "%d", &pid) != 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		read_line(path, comm, sizeof(comm));
		if (has_open(s, pid))
			add(s, UBLK_HOLD_OPEN, pid, comm, "");
		if (!seen_before(&seen, pid))
			find_mounts(s, pid, comm);
	}
}

static void find_swap(struct search *s)
{
	char line[4096], path[256];
	_cleanup_fclose_ FILE *f =
		fail_null("lib/holders/swaps", EMFILE, fopen("/proc/swaps", "re"));

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%255s", path) == 1 && is_node(s, path))
			add(s, UBLK_HOLD_SWAP, 0, path, "");
}

static void find_stacked(struct search *s)
{
	char path[512], line[512];
	struct dirent *entry;
	_cleanup_dir_ DIR *holders = NULL, *block = opendir("/sys/block");

	snprintf(path, sizeof(path), "/sys/block/%s/holders", s->disk);
	holders = opendir(path);
	while (holders && (entry = readdir(holders)))
		if (entry->d_name[0] != '.')
			add(s, UBLK_HOLD_STACKED, 0, entry->d_name, "");
	while (block && (entry = readdir(block))) {
		snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", entry->d_name);
		if (!read_line(path, line, sizeof(line)) && is_node(s, line))
			add(s, UBLK_HOLD_STACKED, 0, entry->d_name, "");
	}
}

int ublk_holders(int id, struct ublk_holder *holders, unsigned int max)
{
	struct search s = { .holders = holders, .max = max };

	snprintf(s.disk, sizeof(s.disk), "ublkb%d", id);
	find_devs(&s);
	if (!s.nr_devs)
		return 0;
	find_processes(&s);
	find_swap(&s);
	find_stacked(&s);
	return (int)s.nr;
}

const char *ublk_holders_text(const struct ublk_holder *holders, unsigned int nr, char *buf,
			      size_t size)
{
	size_t at = 0;

	if (!nr)
		snprintf(buf, size, "held by nobody known");
	for (unsigned int i = 0; i < nr && at < size; i++) {
		const struct ublk_holder *h = &holders[i];
		const char *comma = i ? ", " : "";
		int n = 0;

		switch (h->how) {
		case UBLK_HOLD_OPEN:
			n = snprintf(buf + at, size - at, "%sheld open by %s (pid %d)", comma,
				     h->name, h->pid);
			break;
		case UBLK_HOLD_MOUNT:
			n = snprintf(buf + at, size - at, "%smounted on %s", comma, h->where);
			break;
		case UBLK_HOLD_SWAP:
			n = snprintf(buf + at, size - at, "%sin use as swap", comma);
			break;
		case UBLK_HOLD_STACKED:
			n = snprintf(buf + at, size - at, "%sunder %s", comma, h->name);
			break;
		}
		at += (size_t)n;
	}
	return buf;
}
