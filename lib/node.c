// SPDX-License-Identifier: MIT
#include "node.h"

#include "base/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum node_is node_look(const char *path, mode_t type, dev_t *ret_dev)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return NODE_MISSING;
	if ((st.st_mode & S_IFMT) != type)
		return NODE_IN_THE_WAY;
	if (ret_dev)
		*ret_dev = st.st_rdev;
	return NODE_THERE;
}

static const char *type_name(mode_t mode)
{
	return S_ISDIR(mode)    ? "a folder"
	       : S_ISLNK(mode)  ? "a symbolic link"
	       : S_ISFIFO(mode) ? "a FIFO"
	       : S_ISSOCK(mode) ? "a socket"
	       : S_ISCHR(mode)  ? "a character device"
				: "a block device";
}

int node_say_in_the_way(const char *path, const struct logger *log)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return log_error(log, -EAGAIN, "%s was not a device, and is removed now; try again",
				 path);
	if (S_ISREG(st.st_mode))
		return log_error(log, -EEXIST,
				 "%s is a regular file of %llu bytes, such as a write to a removed "
				 "disk leaves, and keeps the kernel from making the node of the "
				 "disk; if it is not needed: rm %s",
				 path, (unsigned long long)st.st_size, path);
	return log_error(log, -EEXIST,
			 "%s is %s, and keeps the kernel from making the node of the disk; remove "
			 "it",
			 path, type_name(st.st_mode));
}

const char *node_why_missing(const char *dir, char *buf, size_t size)
{
	char type[32];

	buf[0] = '\0';
	if (mounts_type_of(dir, type, sizeof(type)) == 0 && type[0] && strcmp(type, "devtmpfs"))
		snprintf(
			buf, size,
			"; %s is a %s, and the kernel makes nodes in a devtmpfs only (docker run -v "
			"/dev:/dev, or: mount -t devtmpfs devtmpfs %s)",
			dir, type, dir);
	return buf;
}
