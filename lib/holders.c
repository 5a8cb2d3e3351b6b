// SPDX-License-Identifier: MIT
/*
 * Who holds a disk: processes that have it open, mounts in any mount namespace, swap, and devices
 * stacked on top (dm, md, loop). Only what /proc and /sys tell, so only what this process may see.
 *
 * Nothing here may wait for a file server that never answers, whosever file it is: a link of
 * /proc/PID/fd is followed only to /dev and to file systems that ask nobody. By the time it leads
 * there the kernel may have asked, whatever the flags (9p, cifs, gfs2). Which mount a descriptor is
 * on stands in /proc/PID/fdinfo, and what is mounted in mountinfo.
 */
#include "holders.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MOUNT_ID_MAX (1 << 24) /* the kernel takes the lowest that is free */

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}
#define _cleanup_dir_ _cleanup_(close_dir)

/* What is being looked for, and what has been found so far. */
struct holders_search {
	const struct disk_nodes *nodes;
	bool dead; /* looked for by name: the kernel has it no more, nor its numbers */
	struct ublk_holder *holders;
	unsigned int max, nr;
	unsigned char *local; /* a bit for each mount id: of a file system that asks nobody */
	size_t local_bytes;
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

static void add(struct holders_search *s, enum ublk_hold how, int pid, const char *name,
		const char *where)
{
	struct ublk_holder *h = &s->holders[s->nr];

	if (s->nr >= s->max)
		return;
	*h = (struct ublk_holder){ .how = how, .pid = pid };
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->where, sizeof(h->where), "%s", where);
	s->nr++;
}

static void add_dev(struct disk_nodes *nodes, const char *dev_file)
{
	unsigned int major, minor;
	char line[32];

	if (nodes->nr_devs < NODES_MAX && !read_line(dev_file, line, sizeof(line)) &&
	    sscanf(line, "%u:%u", &major, &minor) == 2)
		nodes->devs[nodes->nr_devs++] = makedev(major, minor);
}

static bool is_part(const struct disk_nodes *nodes, const char *name)
{
	return strncmp(name, nodes->disk, strlen(nodes->disk)) == 0 &&
	       name[strlen(nodes->disk)] == 'p';
}

void disk_nodes_find(struct disk_nodes *nodes, int id)
{
	char path[512];
	struct dirent *entry;
	_cleanup_dir_ DIR *dir = NULL;

	nodes->nr_devs = 0;
	snprintf(nodes->disk, sizeof(nodes->disk), "ublkb%d", id);
	snprintf(path, sizeof(path), "/sys/block/%s/dev", nodes->disk);
	add_dev(nodes, path);
	snprintf(path, sizeof(path), "/sys/block/%s", nodes->disk);
	dir = fail_null("lib/holders/disk", EMFILE, opendir(path));
	while (dir && (entry = readdir(dir)))
		if (is_part(nodes, entry->d_name)) {
			snprintf(path, sizeof(path), "/sys/block/%s/%s/dev", nodes->disk,
				 entry->d_name);
			add_dev(nodes, path);
		}
}

static bool is_dev(const struct holders_search *s, dev_t dev)
{
	for (unsigned int i = 0; i < s->nodes->nr_devs; i++)
		if (s->nodes->devs[i] == dev)
			return true;
	return false;
}

/* "/dev/ublkb0" or a partition of it, by name: btrfs mounts have device numbers of their own. */
static bool is_node(const struct holders_search *s, const char *path)
{
	const char *name = strrchr(path, '/');

	return name && strncmp(path, "/dev/", 5) == 0 &&
	       (strcmp(name + 1, s->nodes->disk) == 0 || is_part(s->nodes, name + 1));
}

/* Numbers that no device has any more. */
static bool is_dead_dev(dev_t dev)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	return major(dev) && access(path, F_OK) < 0;
}

/* "/dev/ublkb0", and " (deleted)" where the node has gone. */
static bool is_dead_node(const struct holders_search *s, int dir_fd, const char *link)
{
	char path[256];
	ssize_t len = readlinkat(dir_fd, link, path, sizeof(path) - 1);
	char *deleted;

	if (len < 0)
		return false;
	path[len] = '\0';
	deleted = strstr(path, " (deleted)");
	if (deleted)
		*deleted = '\0';
	return is_node(s, path);
}

/* ------------------------------------------------------------------------------ open files */

static bool asks_nobody(const struct mount_entry *entry)
{
	static const char *const types[] = { "devtmpfs", "tmpfs", "ramfs", "rootfs" };

	for (size_t i = 0; i < array_size(types); i++)
		if (strcmp(entry->type, types[i]) == 0)
			return true;
	if (strcmp(entry->type, "gfs2") == 0 || strcmp(entry->type, "ocfs2") == 0)
		return false;
	return major(entry->dev) || strcmp(entry->type, "btrfs") == 0;
}

/* Without memory for it, nothing is followed there. */
static void note_mount(struct holders_search *s, const struct mount_entry *entry)
{
	size_t at = (size_t)entry->id / 8, had = s->local_bytes;

	if (entry->id < 0 || entry->id > MOUNT_ID_MAX || !asks_nobody(entry))
		return;
	if (array_room("lib/holders/mounts", s->local, s->local_bytes, at + 1, 128))
		return;
	memset(s->local + had, 0, s->local_bytes - had);
	s->local[at] |= (unsigned char)(1u << entry->id % 8);
}

static bool is_noted(const struct holders_search *s, int id)
{
	return id >= 0 && (size_t)id / 8 < s->local_bytes && s->local[id / 8] >> id % 8 & 1;
}

/* "pos:\t0\nflags:\t0100000\nmnt_id:\t27\n"; -1: not known. */
static int mount_of(int pid, const char *fd)
{
	char path[320], text[512];
	_cleanup_close_ int info = -1;
	const char *at;
	ssize_t len;
	int id;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	len = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
	if (len <= 0)
		return -1;
	text[len] = '\0';
	at = strstr(text, "mnt_id:");
	return at && sscanf(at, "mnt_id: %d", &id) == 1 ? id : -1;
}

/* Pipes, sockets and the like are no files that could be a disk. */
static bool may_follow(const struct holders_search *s, int dir_fd, int pid, const char *fd)
{
	char path[8];
	ssize_t len = readlinkat(dir_fd, fd, path, sizeof(path));

	if (len <= 0 || path[0] != '/')
		return false;
	return (len > 5 && memcmp(path, "/dev/", 5) == 0) || is_noted(s, mount_of(pid, fd));
}

/* The disk or a partition, or the server's half of it, among the open files of a process. */
static void find_open(struct holders_search *s, int pid, const char *comm)
{
	char path[320];
	struct dirent *entry;
	bool open = false, serves = false;
	_cleanup_dir_ DIR *dir = NULL;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && !open && (entry = readdir(dir))) {
		struct statx st;
		dev_t dev;

		if (entry->d_name[0] == '.' || !may_follow(s, dirfd(dir), pid, entry->d_name) ||
		    statx(dirfd(dir), entry->d_name, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
			  STATX_TYPE, &st) < 0)
			continue;
		dev = makedev(st.stx_rdev_major, st.stx_rdev_minor);
		open = S_ISBLK(st.stx_mode) &&
		       (s->dead ? is_dead_dev(dev) && is_dead_node(s, dirfd(dir), entry->d_name)
				: is_dev(s, dev));
		serves |= S_ISCHR(st.stx_mode) && s->nodes->server && dev == s->nodes->server;
	}
	if (open)
		add(s, UBLK_HOLD_OPEN, pid, comm, "");
	if (serves)
		add(s, UBLK_HOLD_SERVER, pid, comm, "");
}

/* ------------------------------------------------------------------------------ mounts */

static void find_mounts(struct holders_search *s, int pid, const char *comm)
{
	struct mounts *mounts;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	if (mounts_read(path, &mounts))
		return;
	for (size_t i = 0; i < mounts->nr; i++) {
		const struct mount_entry *entry = &mounts->entries[i];

		note_mount(s, entry);
		if (is_dev(s, entry->dev) ||
		    ((major(entry->dev) == 0 || (s->dead && is_dead_dev(entry->dev))) &&
		     is_node(s, entry->source) && mounts_has_source(entry)))
			add(s, UBLK_HOLD_MOUNT, pid, comm, entry->where);
	}
	mounts_free(mounts);
}

/* Mount namespaces already looked at, so that each is read once and not once for each process. */
struct holders_seen {
	ino_t ns[256];
	unsigned int nr;
};

static bool seen_before(struct holders_seen *seen, int pid)
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

static void find_processes(struct holders_search *s)
{
	_cleanup_dir_ DIR *dir = fail_null("lib/holders/proc", EMFILE, opendir("/proc"));
	struct holders_seen seen = { .nr = 0 };
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[320], comm[32] = "?";
		int pid;

		if (sscanf(entry->d_name, "%d", &pid) != 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		read_line(path, comm, sizeof(comm));
		if (!seen_before(&seen, pid))
			find_mounts(s, pid, comm);
		find_open(s, pid, comm);
	}
	free(s->local);
	s->local = NULL;
	s->local_bytes = 0;
}

static void find_swap(struct holders_search *s)
{
	char line[4096], path[256];
	_cleanup_fclose_ FILE *f =
		fail_null("lib/holders/swaps", EMFILE, fopen("/proc/swaps", "re"));

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%255s", path) == 1 && is_node(s, path))
			add(s, UBLK_HOLD_SWAP, 0, path, "");
}

static void find_stacked(struct holders_search *s)
{
	char path[512], line[512];
	struct dirent *entry;
	_cleanup_dir_ DIR *holders = NULL, *block = opendir("/sys/block");

	snprintf(path, sizeof(path), "/sys/block/%s/holders", s->nodes->disk);
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

int disk_nodes_holders(const struct disk_nodes *nodes, struct ublk_holder *holders,
		       unsigned int max)
{
	struct holders_search s = { .nodes = nodes, .holders = holders, .max = max };

	find_processes(&s);
	find_swap(&s);
	find_stacked(&s);
	return (int)s.nr;
}

int ublk_holders(int id, struct ublk_holder *holders, unsigned int max)
{
	struct disk_nodes nodes = { .server = 0 };

	disk_nodes_find(&nodes, id);
	return nodes.nr_devs ? disk_nodes_holders(&nodes, holders, max) : 0;
}

int holders_of_dead(int id, struct ublk_holder *holders, unsigned int max)
{
	struct disk_nodes nodes = { .server = 0 };
	struct holders_search s = { .nodes = &nodes, .dead = true, .holders = holders, .max = max };

	disk_nodes_find(&nodes, id);
	if (!nodes.nr_devs)
		find_processes(&s);
	return (int)s.nr;
}

static ino_t mount_namespace(const char *pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* Neither where we are nor where the machine's first process is, so that a path needs words. */
static bool is_elsewhere(int pid)
{
	char text[16];
	ino_t there;

	snprintf(text, sizeof(text), "%d", pid);
	there = mount_namespace(text);
	return there && there != mount_namespace("thread-self") && there != mount_namespace("1");
}

const char *ublk_holders_text(const struct ublk_holder *holders, unsigned int nr, char *buf,
			      size_t size)
{
	size_t at = 0;

	if (!nr)
		snprintf(buf, size, "held by an unknown process");
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
			if (at + (size_t)n < size && is_elsewhere(h->pid))
				n += snprintf(buf + at + n, size - at - (size_t)n,
					      " in the mount namespace of %s (pid %d)", h->name,
					      h->pid);
			break;
		case UBLK_HOLD_SWAP:
			n = snprintf(buf + at, size - at, "%sin use as swap", comma);
			break;
		case UBLK_HOLD_SERVER:
			n = snprintf(
				buf + at, size - at,
				"%sserved by %s (pid %d), which has the server's half of it open",
				comma, h->name, h->pid);
			break;
		case UBLK_HOLD_STACKED:
			n = snprintf(buf + at, size - at, "%sunder %s", comma, h->name);
			break;
		}
		at += (size_t)n;
	}
	return buf;
}
