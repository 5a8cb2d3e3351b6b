/* SPDX-License-Identifier: MIT */
/*
 * What a lost write was, in words: "directory block of /d, inode table of group 0 (inodes 17 to
 *32)" where the tools of the file system know, else "sector 2048 of vda, written 1.250 s after the
 * start". They are asked about a copy of the disk as it is with everything survived, its journal
 * replayed: nothing of the kernel's is needed, and a tool that is missing, fails, or takes too long
 * costs names, not the exploration.
 *
 *	ext2, ext3, ext4	dumpe2fs, debugfs (e2fsprogs)
 *	xfs			xfs_db (xfsprogs)
 */
#ifndef TOOLS_EXPLORE_NAME_H
#define TOOLS_EXPLORE_NAME_H

#include "faults/crash/crash.h"

#define NAME_SECONDS 10  /* for each tool */
#define NAME_PLACES  256 /* at most so many are named with the tools, the others by sector */

/*
 * Names of @nr writes (indices into the journal's) at the crash point where @crash stands, which with
 * @images is only read; the images hold what is durable. The copy is a file in memory without the
 * disk's holes. @only may be NULL, or is the part of each write that is meant, which must be in it.
 * ret_names[i]: caller frees each. 0, or -ENOMEM and no names. Any thread that owns the cursor.
 */
struct name_part {
	uint64_t at, len_bytes;
};

int explore_name(const struct crash *crash, const struct crash_image *images,
		 const uint32_t *writes, const struct name_part *only, size_t nr, char **ret_names);

/*
 * The name of write @which; and, if it ends a transaction in a journal, of what is in there:
 * "journal, and with it directory block of /d". The disk is looked at as everything survived, with
 * the writes @first to @which on top, which were all submitted after that crash point. *ret_name: caller
 * frees. 0, or -ENOMEM.
 */
int explore_name_later(const struct crash *crash, const struct crash_image *images, uint32_t first,
		       uint32_t which, char **ret_name);

#endif
