// SPDX-License-Identifier: MIT
/*
 * A folder is emptied from the inside: each directory is opened where it lies, with a resolution
 * that stops at mounts and links, and its entries are unlinked in that descriptor. Something that
 * is mounted over a name in between is safe as well: unlinkat() answers EBUSY for it.
 *
 * What is gone when its turn comes is no failure: a guard may be removing the same folder.
 *
 * Directories deeper than DEPTH_MAX are moved up into the folder itself, and found there by the next
 * pass: that is what bounds the descriptors, whatever the depth.
 */
#include "tools/cli/remove_tree.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DEPTH_MAX  16
#define PASSES_MAX 100000u /* each moves at least one directory up */

struct remover {
	int top;
	const char *last;
	uint64_t moved; /* directories, in all: the number in their names */
	bool again;     /* something was moved in this pass */
	struct tree_left left;
	char path[PATH_MAX]; /* where we are, below the folder */
	size_t path_len;
};

/* ------------------------------------------------------------------------------ opening */

static int open_within(int at, const char *name, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
	};
	int fd = (int)fail_errno("tools/cli/remove_tree/open", EMFILE,
				 syscall(SYS_openat2, at, name, &how, sizeof(how)));

	if (fd < 0 && errno == EXDEV)
		errno = EBUSY;
	return fd;
}

/* One that belongs to us may be read and emptied by us. */
static void make_writable(int fd)
{
	char self[48];
	struct stat stat;

	if (fstat(fd, &stat) < 0 || stat.st_uid != geteuid() || (stat.st_mode & 0700) == 0700)
		return;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (chmod(self, 0700) < 0)
		return; /* what cannot be removed then is told */
}

int remove_tree_look(int at, const char *name)
{
	return open_within(at, name, O_PATH);
}

int remove_tree_enter(int place)
{
	make_writable(place);
	return open_within(place, ".", O_RDONLY);
}

int remove_tree_open(int at, const char *name)
{
	_cleanup_close_ int place = remove_tree_look(at, name);

	return place < 0 ? -1 : remove_tree_enter(place);
}

/* ------------------------------------------------------------------------------ what is left */

static size_t enter(struct remover *r, const char *name)
{
	size_t was = r->path_len;
	int len = snprintf(r->path + was, sizeof(r->path) - was, "%s%s", was ? "/" : "", name);

	r->path_len += (size_t)len;
	if (r->path_len >= sizeof(r->path))
		r->path_len = sizeof(r->path) - 1;
	return was;
}

static void leave(struct remover *r, size_t was)
{
	r->path_len = was;
	r->path[was] = '\0';
}

static void tell(struct remover *r, const char *name, int err)
{
	size_t was = enter(r, name);

	if (!r->left.nr++) {
		r->left.err = err;
		memcpy(r->left.path, r->path, r->path_len + 1);
	}
	leave(r, was);
}

/* ------------------------------------------------------------------------------ one folder */

/* Too deep: up into the folder, under a name that nothing there has. */
static int move_up(struct remover *r, int at, const char *name)
{
	char up[40];

	do {
		snprintf(up, sizeof(up), ".deep-%llu", (unsigned long long)r->moved++);
		if (renameat2(at, name, r->top, up, RENAME_NOREPLACE) == 0) {
			r->again = true;
			return 0;
		}
	} while (errno == EEXIST);
	return -errno;
}

static void empty(struct remover *r, int fd, unsigned int depth); /* closes @fd */

/* A directory: what is in it, then itself. */
static void remove_folder(struct remover *r, int at, const char *name, unsigned int depth)
{
	_cleanup_close_ int fd = remove_tree_open(at, name);
	uint64_t left = r->left.nr;
	bool again = r->again;
	size_t was;
	int err;

	if (fd < 0) {
		if (errno != ENOENT)
			tell(r, name, -errno);
		return;
	}
	if (depth == DEPTH_MAX) {
		err = move_up(r, at, name);
		if (err && err != -ENOENT)
			tell(r, name, err);
		return;
	}
	was = enter(r, name);
	empty(r, take_fd(&fd), depth + 1);
	leave(r, was);
	if (unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT && r->left.nr == left &&
	    r->again == again)
		tell(r, name, -errno);
}

static void remove_entry(struct remover *r, int at, const char *name, unsigned int depth)
{
	if (fail_errno("tools/cli/remove_tree/unlink", EIO, unlinkat(at, name, 0)) == 0)
		return;
	/* The answers for a directory; EPERM is that of file systems which follow POSIX. */
	if (errno == EISDIR || errno == EPERM) {
		int err = -errno;
		struct stat stat;

		if (fstatat(at, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
			err = -errno;
		else if (S_ISDIR(stat.st_mode))
			err = 0;
		if (!err)
			remove_folder(r, at, name, depth);
		else if (err != -ENOENT)
			tell(r, name, err);
		return;
	}
	if (errno != ENOENT)
		tell(r, name, -errno);
}

static void empty(struct remover *r, int fd, unsigned int depth)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		tell(r, ".", -errno);
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(dir);
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		    (depth || !r->last || strcmp(name, r->last) != 0))
			remove_entry(r, fd, name, depth);
	}
	closedir(dir);
}

/* ------------------------------------------------------------------------------ the whole */

int remove_tree_inside(int dir, const char *last, struct tree_left *ret_left)
{
	struct remover r = { .top = dir, .last = last };
	unsigned int passes = 0;

	do {
		r.again = false;
		r.left = (struct tree_left){ 0 };
		empty(&r, fcntl(dir, F_DUPFD_CLOEXEC, 0), 0);
	} while (r.again && ++passes < PASSES_MAX);
	if (r.again && !r.left.nr)
		tell(&r, ".", -ELOOP);
	if (!r.left.nr && last && unlinkat(dir, last, 0) < 0 && errno != ENOENT)
		tell(&r, last, -errno);
	if (ret_left)
		*ret_left = r.left;
	return r.left.nr ? r.left.err : 0;
}

int remove_tree(int at, const char *name, const char *last, struct tree_left *ret_left)
{
	_cleanup_close_ int fd = remove_tree_open(at, name);
	struct tree_left left = { 0 };
	int err = 0;

	if (fd < 0 && errno != ENOENT)
		left = (struct tree_left){ .nr = 1, .err = -errno };
	else if (fd >= 0 && remove_tree_inside(fd, last, &left) == 0 &&
		 unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		left = (struct tree_left){ .nr = 1, .err = -errno };
	err = left.nr ? left.err : 0;
	if (ret_left)
		*ret_left = left;
	return err;
}
