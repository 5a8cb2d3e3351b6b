/* SPDX-License-Identifier: MIT */
/*
 * Nodes in /dev. The kernel makes them itself, where /dev is a devtmpfs; but it makes none over a
 * file that has the name, such as a program makes that writes to a disk that has gone.
 */
#ifndef LIB_NODE_H
#define LIB_NODE_H

#include "log.h"

#include <sys/types.h>

enum node_is {
	NODE_THERE,      /* a node of the type that was asked for */
	NODE_MISSING,    /* nothing */
	NODE_IN_THE_WAY, /* something else */
};

/* @type: S_IFBLK or S_IFCHR. @ret_dev (NULL allowed): its numbers, of NODE_THERE. */
enum node_is node_look(const char *path, mode_t type, dev_t *ret_dev);
/* -EEXIST, logged: what is in the way at @path, and what to do. */
int node_say_in_the_way(const char *path, const struct logger *log);
/*
 * Why no node appears, to stand behind "did not appear": what @dir (/dev) is, if that is why, else
 * "". In a buffer of the caller's.
 */
const char *node_why_missing(const char *dir, char *buf, size_t size);

#endif
