// SPDX-License-Identifier: MIT
#include "tools/cli/left_folder.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/remove_tree.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

const struct folder_kind folder_of_explore = {
	.prefix = "faultblk-explore-",
	.lock = "lock",
	.command = "explore",
	.place = "/dev/shm",
	.on_tmpfs = true,
};

const struct folder_kind folder_of_crashtest = {
	.prefix = "faultblk-crashtest-",
	.command = "crashtest",
	.place = "/tmp",
};

/* ------------------------------------------------------------------------------ telling */

static const char *mount_hint(const struct left_folder *folder, char *hint, size_t size)
{
	char path[PATH_MAX], word[PATH_MAX];
	const char *inside = folder->inside ?: "";

	snprintf(path, sizeof(path), "%s/%s%s%s", folder->where, folder->name, inside[0] ? "/" : "",
		 inside);
	snprintf(hint, size, "umount %s; the next %s or gc removes the folder",
		 typed_word(path, "it", word, sizeof(word)), folder->kind->command);
	return hint;
}

void left_folder_tell(const struct left_folder *folder)
{
	bool inside = folder->inside && folder->inside[0];
	char hint[PATH_MAX + 64] = "";

	if (folder->is_mount)
		mount_hint(folder, hint, sizeof(hint));
	tool_msg_hint(hint, "cannot remove %s/%s%s%s: %s", folder->where, folder->name,
		      inside ? "/" : "", inside ? folder->inside : "", folder->why);
}

void left_folder_tell_failed(void *ctx, const struct left_folder *folder)
{
	(void)ctx;
	if (folder->why && folder->was_tried)
		left_folder_tell(folder);
}

/* Why remove_tree() has left it. */
static void set_why(struct left_folder *folder, const struct tree_left *left)
{
	folder->is_mount = left->err == -EBUSY;
	folder->why = folder->is_mount ? "it is a mount point" : strerror(-left->err);
	folder->inside = left->path;
}

void left_folder_tell_tree(const char *where, const char *name, const struct folder_kind *kind,
			   const struct tree_left *left)
{
	struct left_folder folder = { .kind = kind, .where = where, .name = name };

	set_why(&folder, left);
	left_folder_tell(&folder);
}

/* ------------------------------------------------------------------------------ one folder */

enum is {
	IS_LEFT,  /* and locked by us, but for a dry run that found none to lock */
	IS_USED,  /* or gone meanwhile: nothing is to be said of it */
	IS_EMPTY, /* without a lock: killed before it had one, or being made */
	IS_OTHER, /* stays, with a reason */
};

static enum is other(struct left_folder *folder, const char *why)
{
	folder->why = why;
	return IS_OTHER;
}

/* It could not be opened as a folder. */
static enum is cannot_open(int at, struct left_folder *folder, int err)
{
	struct stat stat;

	if (err == ENOENT)
		return IS_USED;
	folder->is_mount = err == EBUSY;
	if (folder->is_mount)
		return other(folder, "it is a mount point");
	if (fstatat(at, folder->name, &stat, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0)
		folder->is_foreign = stat.st_uid != geteuid();
	return other(folder, err == ENOTDIR || err == ELOOP ? "it is not a folder" : strerror(err));
}

static bool is_empty(int fd)
{
	DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	bool empty = dir;

	while (dir && empty && (entry = readdir(dir)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

/* The lock is taken and stays with *ret_lock, a descriptor of its own. */
static enum is lock(int fd, struct left_folder *folder, int *ret_lock)
{
	const char *name = folder->kind->lock;
	_cleanup_close_ int lock =
		openat(fd, name ? name : ".", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat stat;

	if (lock < 0 && errno == ENOENT && name)
		return is_empty(fd) ? IS_EMPTY : other(folder, "it has content and no lock file");
	if (lock < 0 && errno == ELOOP)
		return other(folder, "its lock is not a file");
	if (lock < 0)
		return errno == ENOENT ? IS_USED : other(folder, strerror(errno));
	if (fstat(lock, &stat) < 0 || (name && !S_ISREG(stat.st_mode)))
		return other(folder, "its lock is not a file");
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? IS_USED : other(folder, strerror(errno));
	/* Whoever had it may have removed the folder. */
	if (fstat(lock, &stat) < 0 || !stat.st_nlink)
		return IS_USED;
	*ret_lock = take_fd(&lock);
	return IS_LEFT;
}

/* Opened as *ret_fd and locked as *ret_lock, if it is left. */
static enum is look(int at, bool dry_run, struct left_folder *folder, int *ret_fd, int *ret_lock)
{
	_cleanup_close_ int place = remove_tree_look(at, folder->name), fd = -1;
	struct stat stat;
	enum is is;

	if (place < 0)
		return cannot_open(at, folder, errno);
	if (fstat(place, &stat) < 0)
		return other(folder, strerror(errno));
	folder->is_foreign = stat.st_uid != geteuid();
	if (folder->is_foreign)
		return other(folder, "it belongs to another user");
	/* A dry run changes no mode. */
	fd = dry_run ? openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
		     : remove_tree_enter(place);
	if (fd < 0)
		return cannot_open(at, folder, errno);
	is = lock(fd, folder, ret_lock);
	*ret_fd = take_fd(&fd);
	return is;
}

static int remove_empty(int at, struct left_folder *folder)
{
	if (unlinkat(at, folder->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

/* All that is in it, then itself. */
static void remove_left(int at, int fd, struct left_folder *folder, struct tree_left *left)
{
	int err;

	folder->was_tried = true;
	if (remove_tree_inside(fd, folder->kind->lock, left)) {
		set_why(folder, left);
		return;
	}
	err = remove_empty(at, folder);
	if (err)
		folder->why = strerror(-err);
}

static void sweep_one(int at, bool dry_run, struct left_folder *folder, left_folder_fn each,
		      void *ctx)
{
	_cleanup_close_ int fd = -1, lock_fd = -1;
	struct tree_left left;
	enum is is = look(at, dry_run, folder, &fd, &lock_fd);

	if (is == IS_USED)
		return;
	if (is == IS_LEFT && !dry_run)
		remove_left(at, fd, folder, &left);
	/* It has content, or is locked, only if its maker has come so far by now. */
	else if (is == IS_EMPTY && !dry_run && remove_empty(at, folder))
		return;
	each(ctx, folder);
}

/* ------------------------------------------------------------------------------ all folders */

static bool fits(int fd, const struct folder_kind *kind)
{
	struct statfs stat;

	return !kind->on_tmpfs || (fstatfs(fd, &stat) == 0 && stat.f_type == TMPFS_MAGIC);
}

bool left_folder_is_place(const char *where, const struct folder_kind *kind)
{
	_cleanup_close_ int fd = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fits(fd, kind);
}

bool left_folder_holds(const char *path, const struct folder_kind *kind)
{
	const char *slash = strrchr(path, '/'), *name = slash;

	while (name && name > path && name[-1] != '/')
		name--;
	return slash && strncmp(name, kind->prefix, strlen(kind->prefix)) == 0;
}

int left_folder_check_work(const char *where, struct diag *diag)
{
	_cleanup_close_ int fd = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
		return diag_set(diag, -errno, "explore.work", "cannot examine --work %.200s: %s",
				where, strerror(errno));
	if (fd >= 0 && fits(fd, &folder_of_explore))
		return 0;
	return diag_set(diag, -EINVAL, "explore.work", "--work %.200s is not a folder on a tmpfs",
			where);
}

/* Closes @fd. */
static int sweep_in(int fd, const char *where, const struct folder_kind *kind, bool dry_run,
		    left_folder_fn each, void *ctx)
{
	DIR *dir = fail_null("tools/cli/left_folder/list", ENOMEM, fdopendir(fd));
	struct dirent *entry;
	int err = -errno;

	if (!dir) {
		close(fd);
		return err;
	}
	while ((errno = 0, entry = readdir(dir))) {
		struct left_folder folder = { .kind = kind, .where = where, .name = entry->d_name };

		if (strncmp(entry->d_name, kind->prefix, strlen(kind->prefix)) == 0)
			sweep_one(fd, dry_run, &folder, each, ctx);
	}
	err = -errno;
	closedir(dir);
	return err;
}

int left_folder_sweep(const char *where, const struct folder_kind *kind, bool dry_run,
		      left_folder_fn each, void *ctx)
{
	int fd = fail_errno("tools/cli/left_folder/open", EMFILE,
			    open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fits(fd, kind))
		return sweep_in(fd, where, kind, dry_run, each, ctx);
	close(fd);
	return 0;
}

/* Is it the folder of an earlier one in the list, under whatever name? */
static bool is_one_of(const char *where, const char *const *earlier, size_t nr)
{
	struct stat one, other;

	for (size_t i = 0; i < nr; i++)
		if (earlier[i] && stat(where, &one) == 0 && stat(earlier[i], &other) == 0 &&
		    one.st_dev == other.st_dev && one.st_ino == other.st_ino)
			return true;
	return false;
}

void left_folder_sweep_all(const char *work, bool dry_run, left_folder_fn each,
			   left_folder_failed_fn failed, void *ctx)
{
	const struct folder_kind *const kinds[] = { &folder_of_explore, &folder_of_crashtest };
	const char *tmpdir = getenv("TMPDIR");

	for (size_t k = 0; k < array_size(kinds); k++) {
		const char *const places[] = {
			kinds[k]->place,
			tmpdir && tmpdir[0] ? tmpdir : NULL,
			kinds[k] == &folder_of_explore ? work : NULL,
		};

		for (size_t i = 0; i < array_size(places); i++) {
			int err = 0;

			if (places[i] && !is_one_of(places[i], places, i))
				err = left_folder_sweep(places[i], kinds[k], dry_run, each, ctx);
			if (err)
				failed(ctx, places[i], err);
		}
	}
}
