// SPDX-License-Identifier: MIT
#include "tools/disk/node_file.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *skip_digits(const char *p)
{
	while (isdigit((unsigned char)*p))
		p++;
	return p;
}

/* ublkbN, ublkbNpM, ublkcN: the type that a node of this name has, or 0. */
static mode_t node_type(const char *name)
{
	bool is_char = strncmp(name, "ublkc", 5) == 0;
	const char *end;

	if ((!is_char && strncmp(name, "ublkb", 5) != 0) || !isdigit((unsigned char)name[5]))
		return 0;
	end = skip_digits(name + 5);
	if (!is_char && *end == 'p' && isdigit((unsigned char)end[1]))
		end = skip_digits(end + 1);
	return *end ? 0 : is_char ? S_IFCHR : S_IFBLK;
}

static const char *type_name(mode_t mode)
{
	return S_ISREG(mode)    ? "a regular file"
	       : S_ISDIR(mode)  ? "a folder"
	       : S_ISLNK(mode)  ? "a symbolic link"
	       : S_ISFIFO(mode) ? "a FIFO"
	       : S_ISSOCK(mode) ? "a socket"
				: "a device of another kind";
}

int node_file_each(const char *dir, node_file_fn each, void *ctx)
{
	DIR *stream = fail_null("tools/disk/node_file/dir", EMFILE, opendir(dir));
	struct dirent *entry;
	int nr = 0;

	if (!stream)
		return -errno;
	while ((entry = readdir(stream))) {
		mode_t want = node_type(entry->d_name);
		struct node_file file = { .size_bytes = 0 };
		struct stat st;

		if (!want || fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    (st.st_mode & S_IFMT) == want)
			continue;
		snprintf(file.name, sizeof(file.name), "%s", entry->d_name);
		file.is_regular = S_ISREG(st.st_mode);
		file.size_bytes = file.is_regular ? (uint64_t)st.st_size : 0;
		file.what = type_name(st.st_mode);
		each(ctx, &file);
		nr++;
	}
	closedir(stream);
	return nr;
}

static int refuse(char why[96], int err, const char *words)
{
	snprintf(why, 96, "%s", words);
	return err;
}

/*
 * The kernel gives a lease for writing only on a file that nobody else has open, and while we have
 * it whoever opens the file waits for us.
 */
static int lease(int fd, char why[96])
{
	signal(SIGIO, SIG_IGN); /* how the kernel says that somebody waits */
	if (fail_errno("tools/disk/node_file/lease", EINVAL, fcntl(fd, F_SETLEASE, F_WRLCK)) == 0)
		return 0;
	if (errno == EAGAIN || errno == EBUSY)
		return refuse(why, -EBUSY, "a process has it open");
	snprintf(why, 96, "whether a process has it open is not to be known: %s", strerror(errno));
	return -EBUSY;
}

int node_file_remove(const char *dir, const char *name, bool full, bool dry_run, char why[96])
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat st, now;
	int err;

	if (dir_fd < 0 || !node_type(name))
		return refuse(why, -EINVAL, "its name is not that of a disk");
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err = -errno;
		return refuse(why, err, strerror(-err));
	}
	if (!S_ISREG(st.st_mode))
		return refuse(why, -EINVAL, "it is not a regular file");
	err = lease(fd, why);
	if (err)
		return err;
	/* What it holds is certain only now. */
	if (fstat(fd, &st) < 0 || fstatat(dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0 ||
	    now.st_dev != st.st_dev || now.st_ino != st.st_ino)
		return refuse(why, -EAGAIN, "it was replaced meanwhile");
	if (st.st_size && !full) {
		snprintf(why, 96, "it holds %llu bytes", (unsigned long long)st.st_size);
		return -ENOTEMPTY;
	}
	if (!dry_run && unlinkat(dir_fd, name, 0) < 0) {
		err = -errno;
		return refuse(why, err, strerror(-err));
	}
	return 0;
}
