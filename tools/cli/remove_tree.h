/* SPDX-License-Identifier: MIT */
/*
 * Removing a folder with all that is in it, and nothing else.
 *
 * It works by descriptor: no path is walked twice, so what is renamed meanwhile leads nowhere else.
 * It follows no symbolic link, and it crosses no mount, not even a bind mount of the same file
 * system: what is mounted in the folder keeps its content and is told as left. Trees may be of any
 * depth; a few descriptors are open at a time. Directories of ours that we may not write to are
 * made writable first.
 */
#ifndef TOOLS_CLI_REMOVE_TREE_H
#define TOOLS_CLI_REMOVE_TREE_H

#include <limits.h>
#include <stdint.h>

/* What could not be removed. */
struct tree_left {
	uint64_t nr;         /* entries, those that hold such ones not counted */
	int err;             /* of the first: -EBUSY: a mount point; else -errno */
	char path[PATH_MAX]; /* of the first, below the folder; cut where it is too long */
};

/*
 * Empty the folder @dir, a descriptor that is open for reading and stays the caller's. The entry
 * @last (NULL: none) goes after all others, and only when nothing else is left: a lock that says
 * whose the folder is. 0: it is empty; or the error of *ret_left (may be NULL). Any thread; nobody
 * else may be filling the folder.
 */
int remove_tree_inside(int dir, const char *last, struct tree_left *ret_left);
/*
 * The same of the folder @name in the folder @at, and then the folder itself. A @name that is no
 * folder, or that something is mounted on, is left: -ENOTDIR, -EBUSY. One that is not there: 0.
 */
int remove_tree(int at, const char *name, const char *last, struct tree_left *ret_left);
/* The folder @name in @at, open for reading; -1 and errno: EBUSY: something is mounted on it. */
int remove_tree_open(int at, const char *name);
/* The same in two steps: what it is (a descriptor of O_PATH; nothing is changed), and its inside. */
int remove_tree_look(int at, const char *name);
int remove_tree_enter(int place);

#endif
