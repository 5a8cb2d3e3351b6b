// SPDX-License-Identifier: MIT
#include "tools/cli/out_file.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"
#include "base/write_all.h"
#include "tools/cli/lock_wait.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define TRIES 8 /* to make a part while others end */

/* ------------------------------------------------------------------------------ in words */

static int say(const struct out_file *file, struct diag *diag, int err, const char *what,
	       const char *text)
{
	char id[sizeof(diag->id)];

	snprintf(id, sizeof(id), "%s.%s", file->options.id ?: "file", what);
	return diag_set(diag, err, id, "%.300s %s", file->path, text);
}

static int fail(const struct out_file *file, struct diag *diag, int err)
{
	char id[sizeof(diag->id)];

	snprintf(id, sizeof(id), "%s.write", file->options.id ?: "file");
	return diag_set(diag, err, id, "cannot write %.300s: %s", file->path, strerror(-err));
}

static int is_there(const struct out_file *file, struct diag *diag)
{
	say(file, diag, -EEXIST, "exists", "exists already");
	diag_hint(diag, "give another name, or %s to replace it",
		  file->options.force_word ?: "--force");
	return -EEXIST;
}

static const char *kind_text(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "is a folder; wanted the name of a file";
	case S_IFLNK:
		return "is a symbolic link; wanted the name of a file itself";
	case S_IFIFO:
		return "is a FIFO; wanted a regular file";
	case S_IFSOCK:
		return "is a socket; wanted a regular file";
	default:
		return "is a device; wanted a regular file";
	}
}

/* ------------------------------------------------------------------------------ looking */

static bool is_same(const char *path, const struct stat *it)
{
	struct stat stat_of;

	return path && stat(path, &stat_of) == 0 && stat_of.st_dev == it->st_dev &&
	       stat_of.st_ino == it->st_ino;
}

static bool is_input(const struct out_options *options, const struct stat *it)
{
	bool found = false;

	for (int i = 0; i < OUT_INPUTS_MAX; i++)
		found |= is_same(options->inputs[i], it);
	for (int i = 0; i < options->nr_more; i++)
		found |= is_same(options->more_inputs[i], it);
	return found;
}

/* A regular file that is there: a device or a FIFO that came in between is not waited for. */
static int open_existing(const struct out_file *file, int flags, struct stat *ret_stat)
{
	int fd = openat(file->dir_fd, file->name,
			flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && fstat(fd, ret_stat) == 0 && S_ISREG(ret_stat->st_mode))
		return fd;
	if (fd >= 0) {
		close(fd);
		errno = EINVAL;
	}
	return -1;
}

static bool is_ours(const struct out_file *file)
{
	struct stat stat;
	_cleanup_close_ int fd = file->options.is_ours ? open_existing(file, O_RDONLY, &stat) : -1;

	return fd >= 0 && file->options.is_ours(fd);
}

/* @fd: what it holds a lock on; -1: it is not known. */
static int is_busy(const struct out_file *file, int fd, struct diag *diag)
{
	char holder[LOCK_WORDS_MAX], text[LOCK_WORDS_MAX + 32];

	snprintf(text, sizeof(text), "is being written by %s", lock_words(fd, holder));
	return say(file, diag, -EBUSY, "busy", text);
}

/* Whoever writes on in a file that has its name holds a lock on it. */
static int look_at_lock(const struct out_file *file, struct diag *diag)
{
	struct stat stat;
	_cleanup_close_ int fd = open_existing(file, O_RDONLY, &stat);

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	is_busy(file, fd, diag);
	diag_hint(diag, "wait until that program has ended, or give another name");
	return -EBUSY;
}

/* 0: nothing is there, or what is may be replaced. */
static int look(const struct out_file *file, struct diag *diag)
{
	struct stat stat;

	if (fstatat(file->dir_fd, file->name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(file, diag, -errno);
	if (!S_ISREG(stat.st_mode))
		return say(file, diag, -EINVAL, "kind", kind_text(stat.st_mode));
	if (is_input(&file->options, &stat)) {
		say(file, diag, -EINVAL, "input", "is the input of this command, which must not be "
						  "overwritten");
		diag_hint(diag, "give another name");
		return -EINVAL;
	}
	if (!file->options.force && !is_ours(file))
		return is_there(file, diag);
	return look_at_lock(file, diag);
}

/* The folder, and the name in it. */
static int open_folder(struct out_file *file, struct diag *diag)
{
	const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
	_cleanup_free_ char *folder =
		slash ? strndup(file->path, (size_t)(slash - file->path) + 1) : strdup(".");

	if (!folder)
		return fail(file, diag, -ENOMEM);
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return *file->path ? say(file, diag, -EINVAL, "kind", kind_text(S_IFDIR))
				   : fail(file, diag, -ENOENT);
	if (strlen(name) > NAME_MAX)
		return fail(file, diag, -ENAMETOOLONG);
	strcpy(file->name, name);
	snprintf(file->part, sizeof(file->part), ".%.200s.faultblk-part", name);
	file->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* One that cannot be listed can be written to all the same. */
	if (file->dir_fd < 0 && errno == EACCES)
		file->dir_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return file->dir_fd < 0 ? fail(file, diag, -errno) : 0;
}

static int prepare(const char *path, const struct out_options *options, struct diag *diag,
		   struct out_file *file)
{
	int err;

	*file = (struct out_file){ .fd = -1, .dir_fd = -1, .path = path };
	if (options)
		file->options = *options;
	err = open_folder(file, diag);
	if (!err)
		err = look(file, diag);
	if (err)
		out_file_drop(file);
	return err;
}

/* ------------------------------------------------------------------------------ parts */

/*
 * Those that have a name which is not theirs. The handler of signals reads them, hence no lock there.
 * Signals are caught only while there is one: who has a handler is not woken by the signal where the
 * kernel waits for what never comes, as for a file on a dead mount.
 */
static struct out_file *_Atomic parts[16];
static pid_t _Atomic parts_of; /* not those of a process that we were forked from */
static pthread_mutex_t parts_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int nr_parts; /* of them; under the lock */

static void remove_parts(void)
{
	for (size_t i = 0; i < array_size(parts) && parts_of == getpid(); i++) {
		struct out_file *file = parts[i];

		if (file)
			unlinkat(file->dir_fd, file->part, 0);
	}
}

static void on_deadly(int number)
{
	remove_parts();
	/* It is delivered when the handler returns, and its action is the default again. */
	raise(number);
}

/* From what ends the program to the handler, or back. Who has a handler of its own keeps it. */
static void catch_signals(bool on)
{
	const struct sigaction ours = { .sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND };
	const struct sigaction none = { .sa_handler = SIG_DFL };
	struct sigaction old;
	sigset_t set;

	tool_end_signals(&set);
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&set, i) == 1 && sigaction(i, NULL, &old) == 0 &&
		    old.sa_handler == (on ? SIG_DFL : on_deadly))
			sigaction(i, on ? &ours : &none, NULL);
}

static void remember(struct out_file *file)
{
	pthread_mutex_lock(&parts_lock);
	parts_of = getpid();
	for (size_t i = 0; i < array_size(parts); i++) {
		if (parts[i])
			continue;
		parts[i] = file;
		if (nr_parts++ == 0)
			catch_signals(true);
		break;
	}
	pthread_mutex_unlock(&parts_lock);
}

static void forget(struct out_file *file)
{
	pthread_mutex_lock(&parts_lock);
	for (size_t i = 0; i < array_size(parts); i++) {
		if (parts[i] != file)
			continue;
		parts[i] = NULL;
		if (--nr_parts == 0)
			catch_signals(false);
	}
	pthread_mutex_unlock(&parts_lock);
}

/* A part that nobody writes any more, of a program that was killed, is removed. */
static int remove_part(const struct out_file *file)
{
	_cleanup_close_ int fd = openat(file->dir_fd, file->part,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat stat;

	if (fd < 0)
		return errno == ENOENT ? 0 : -EBUSY;
	if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_uid != geteuid() ||
	    stat.st_nlink > 1 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -EBUSY;
	return unlinkat(file->dir_fd, file->part, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Locked as long as it is written. */
static int make_part(struct out_file *file)
{
	struct stat stat;
	int err = 0;

	for (int i = 0; i < TRIES && !err; i++) {
		file->fd = fail_errno("tools/cli/out_file/open", EACCES,
				      openat(file->dir_fd, file->part,
					     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
					     file->options.mode ?: OUT_FILE_MODE));
		if (file->fd < 0 && errno != EEXIST)
			return -errno;
		if (file->fd < 0) {
			err = remove_part(file);
			continue;
		}
		/* Before the lock another may have taken it for one that was left. */
		if (flock(file->fd, LOCK_EX | LOCK_NB) == 0 && fstat(file->fd, &stat) == 0 &&
		    stat.st_nlink == 1) {
			file->named = true;
			remember(file);
			return 0;
		}
		close(take_fd(&file->fd));
	}
	return err ? err : -EBUSY;
}

static int make(struct out_file *file, struct diag *diag)
{
	int err = 0;

	file->fd = fail_errno("tools/cli/out_file/nameless", EOPNOTSUPP,
			      openat(file->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
				     file->options.mode ?: OUT_FILE_MODE));
	if (file->fd < 0)
		err = make_part(file);
	if (!err)
		return 0;
	if (err != -EBUSY)
		return fail(file, diag, err);
	is_busy(file, -1, diag);
	diag_hint(diag, "its output so far is %s, in the same folder", file->part);
	return err;
}

/* ------------------------------------------------------------------------------ the name */

static int link_nameless(const struct out_file *file, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
	return fail_errno("tools/cli/out_file/link", ENOSPC,
			  linkat(AT_FDCWD, self, file->dir_fd, name, AT_SYMLINK_FOLLOW)) < 0
		       ? -errno
		       : 0;
}

/* Some file systems know of no renaming that replaces nothing. */
static int rename_new(const struct out_file *file)
{
	if (fail_errno("tools/cli/out_file/rename", ENOSPC,
		       renameat2(file->dir_fd, file->part, file->dir_fd, file->name,
				 RENAME_NOREPLACE)) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(file->dir_fd, file->part, file->dir_fd, file->name, 0) < 0)
		return -errno;
	return unlinkat(file->dir_fd, file->part, 0) < 0 ? -errno : 0;
}

/* A file without a name can only be linked, and a link replaces nothing: it gets one for a moment. */
static int name_part(struct out_file *file)
{
	int err = link_nameless(file, file->part);

	if (err == -EEXIST) {
		err = remove_part(file);
		if (!err)
			err = link_nameless(file, file->part);
	}
	if (err)
		return err;
	file->named = true;
	remember(file);
	return 0;
}

static int replace(struct out_file *file, struct diag *diag)
{
	int err = look(file, diag);

	if (err)
		return err;
	err = file->named ? 0 : name_part(file);
	if (!err && fail_errno("tools/cli/out_file/replace", EIO,
			       renameat(file->dir_fd, file->part, file->dir_fd, file->name)) < 0)
		err = -errno;
	return err ? fail(file, diag, err) : 0;
}

int out_file_publish(struct out_file *file, struct diag *diag)
{
	int err = file->named ? rename_new(file) : link_nameless(file, file->name);

	if (err == -EEXIST)
		err = replace(file, diag);
	else if (err)
		fail(file, diag, err);
	if (err)
		return err;
	forget(file);
	file->published = true;
	/* That the name lasts, too. Some file systems cannot; then it lasts as others do there. */
	if (fsync(file->dir_fd) < 0 && errno == EIO)
		return fail(file, diag, -errno);
	return 0;
}

/* ------------------------------------------------------------------------------ its life */

int out_file_open(const char *path, const struct out_options *options, struct diag *diag,
		  struct out_file *ret_file)
{
	int err = prepare(path, options, diag, ret_file);

	if (!err)
		err = make(ret_file, diag);
	if (err)
		out_file_drop(ret_file);
	return err;
}

int out_file_check(const char *path, const struct out_options *options, struct diag *diag)
{
	struct out_file file;
	int err = prepare(path, options, diag, &file);

	out_file_drop(&file);
	return err;
}

int out_file_go_on(const char *path, const struct out_options *options, struct diag *diag,
		   struct out_file *ret_file, bool *ret_new)
{
	struct out_options any = options ? *options : (struct out_options){ 0 };
	struct stat stat;
	int err;

	any.force = true;
	err = prepare(path, &any, diag, ret_file);
	if (err)
		return err;
	ret_file->options.force = options && options->force;
	ret_file->fd = open_existing(ret_file, O_RDWR, &stat);
	*ret_new = ret_file->fd < 0 && errno == ENOENT;
	ret_file->published = !*ret_new;
	if (*ret_new)
		err = make(ret_file, diag);
	else if (ret_file->fd < 0)
		err = fail(ret_file, diag, -errno);
	if (err)
		out_file_drop(ret_file);
	return err;
}

int out_file_write(struct out_file *file, const void *bytes, size_t len)
{
	return fail_value("tools/cli/out_file/write", -ENOSPC, write_all(file->fd, bytes, len));
}

int out_file_finish(struct out_file *file, struct diag *diag)
{
	int err = 0;

	if (!file->published && map_any_broken()) {
		err = say(file, diag, -ESTALE, "broken",
			  "was not written: its input was truncated, was changed, or became "
			  "unreadable");
		out_file_drop(file);
		return err;
	}
	if (fail_errno("tools/cli/out_file/sync", EIO, fsync(file->fd)) < 0)
		err = fail(file, diag, -errno);
	if (!err && !file->published)
		err = out_file_publish(file, diag);
	out_file_drop(file);
	return err;
}

void out_file_drop(struct out_file *file)
{
	if (file->named && !file->published) {
		unlinkat(file->dir_fd, file->part, 0);
		forget(file);
	}
	file->named = false;
	if (file->fd >= 0)
		close(take_fd(&file->fd));
	if (file->dir_fd >= 0)
		close(take_fd(&file->dir_fd));
}
