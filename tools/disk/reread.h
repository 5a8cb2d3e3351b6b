/* SPDX-License-Identifier: MIT */
/* What the kernel and udev know of a disk whose content has changed beneath them. */
#ifndef TOOLS_DISK_REREAD_H
#define TOOLS_DISK_REREAD_H

/*
 * Make the kernel forget what it has cached of disk @path and of its partitions, and read the
 * partition table anew. Any thread; it takes reads of the disk, and at most 10 s. 0; -EBUSY: the disk
 * or a partition is mounted or otherwise claimed, or a partition is open: the table is the old one;
 * -ETIMEDOUT: a request that it waits for is held; -errno of the reads.
 */
int reread_disk(const char *path);

/*
 * Tell udev, if it runs, to look again at disk @id and its partitions, whatever is on them. No
 * request is made for that: see 90-faultblk.rules.
 */
#define UDEV_CONTROL "/run/udev/control" /* there while it runs */
void reread_tell_udev(int id);

#endif
