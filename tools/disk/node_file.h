/* SPDX-License-Identifier: MIT */
/*
 * What lies in /dev under the name of a ublk node and is none: a program that writes to the name of
 * a disk that has gone makes a file there, and the kernel then makes no node for the next disk.
 */
#ifndef TOOLS_DISK_NODE_FILE_H
#define TOOLS_DISK_NODE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct node_file {
	char name[NAME_MAX + 1];
	bool is_regular;
	uint64_t size_bytes;
	const char *what; /* "a regular file", "a folder", ... */
};

/*
 * Call @each for every such entry of @dir ("/dev"), in no order. The number of them, or -errno: the
 * folder cannot be read.
 */
typedef void (*node_file_fn)(void *ctx, const struct node_file *file);
int node_file_each(const char *dir, node_file_fn each, void *ctx);

/*
 * Remove one of them: a regular file that nobody has open, and that is empty, unless @full. Nothing
 * else is ever removed, nor what has become something else meanwhile. @why: in words, why not.
 * 0, or -errno: -ENOTEMPTY: it holds something, which may be somebody's only copy. @dry_run: only
 * say what would be.
 */
int node_file_remove(const char *dir, const char *name, bool full, bool dry_run, char why[96]);

#endif
