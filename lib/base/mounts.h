/* SPDX-License-Identifier: MIT */
/*
 * Mount tables: /proc/PID/mountinfo, see proc(5). The kernel writes space, tab, newline and
 * backslash in them as \040, \011, \012 and \134; here they are what they are.
 */
#ifndef BASE_MOUNTS_H
#define BASE_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mount_entry {
	int id, parent;
	dev_t dev;                         /* of the file system; its major is 0 where that has no
					      device, or several (btrfs) */
	const char *where, *type, *source; /* @source may be any text: who mounts says it */
};

struct mounts {
	size_t nr;
	struct mount_entry *entries; /* as the kernel lists them: what is mounted on top is later */
	char *text;                  /* that their words lie in */
};

/*
 * The mounts that the process of this "/proc/PID/mountinfo" sees. -errno; entries that cannot be
 * read are left out. To be freed by the caller.
 */
int mounts_read(const char *path, struct mounts **ret_mounts);
/* NULL allowed; returns NULL. */
struct mounts *mounts_free(struct mounts *mounts);

/*
 * The type of the file system that @path lies on, "devtmpfs" say; "" where none of the mounts that
 * this process sees is that file system. 0 or -errno.
 */
int mounts_type_of(const char *path, char *ret_type, size_t size);

/*
 * Is file system type @type one that lies on block devices? Without /proc/filesystems nothing is.
 * Only then the source of a mount names a device.
 */
bool mounts_has_source(const struct mount_entry *entry);
/* The name of the block device @dev and of the disk that it is a part of: "ublkb0p1", "ublkb0". */
bool mounts_is_part_of(dev_t dev, const char *disk);

/*
 * Unmount what lies on block device @disk ("ublkb0", "loop3") or its partitions, in the mount
 * namespace of the calling thread and nowhere else, by device numbers and not by names; what is
 * mounted in their folders goes with them. A mount that another one hides, mounted later at the
 * same place, stays. Whoever uses a file there keeps it (MNT_DETACH). Returns how many mounts were
 * taken away, or -errno.
 */
int mounts_detach(const char *disk);

#endif
