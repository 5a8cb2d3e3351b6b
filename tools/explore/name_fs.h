/* SPDX-License-Identifier: MIT */
/* What blocks of a file system are, as its own tools say it: a part of name.h. */
#ifndef TOOLS_EXPLORE_NAME_FS_H
#define TOOLS_EXPLORE_NAME_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_WORDS  4    /* different blocks that one name tells of */
#define NAME_TEXT   512  /* bytes of one name, at most */
#define NAME_BLOCKS 2048 /* that the tools are asked about */

struct name_block {
	uint64_t at;  /* byte on the disk */
	char *words;  /* NULL: nothing is known */
	uint32_t ino; /* ext: of the inode that has it; 0: none */
	bool journal;
	bool named; /* of a file or directory, rather than of the file system */
};

enum name_kind { NAME_NOTHING, NAME_EXT, NAME_XFS };

struct name_fs {
	enum name_kind kind;
	int fd; /* borrowed */
	uint32_t block_bytes;
	uint32_t inode_bytes, group_inodes; /* ext */
	uint64_t log_at, log_bytes;         /* xfs; 0: it is on another disk */
	struct name_block *blocks;          /* by place once they have been asked about */
	size_t nr;
};

/* What is in the file @fd? -ENOENT: nothing that we know tools for. */
int name_fs_open(struct name_fs *fs, int fd, uint64_t size_bytes);
/* The blocks in there are wanted; those past NAME_BLOCKS are not. */
void name_fs_add(struct name_fs *fs, uint64_t at, uint64_t len_bytes);
/*
 * How many transactions its journal holds, with their ends, that have not been brought to their
 * places; before name_fs_ask(). The blocks of the last one are wanted, if @add. ext only.
 */
size_t name_fs_committed(struct name_fs *fs, bool add);
/* Runs the tools, which write to the file. What they do not tell has no words. */
void name_fs_ask(struct name_fs *fs);
/* The first block that reaches behind @at. */
uint64_t name_fs_first(const struct name_fs *fs, uint64_t at);
void name_fs_close(struct name_fs *fs);

#endif
