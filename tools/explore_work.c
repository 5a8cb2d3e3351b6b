// SPDX-License-Identifier: MIT
/*
 * Where images are kept while they are explored: a folder on tmpfs that goes away with us. One that
 * a killed program has left is told by its lock, which nobody holds, and removed by the next.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "explore_in.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#define DIR_PREFIX "faultblk-explore-"
#define LOCK_NAME  "lock"

/* ------------------------------------------------------------------------------ removing */

#define DEPTH_MAX 32 /* of what checks make in their folders */

/* What is mounted in it is not ours to remove. */
static bool is_on(dev_t dev, const char *path)
{
	struct stat stat;

	return lstat(path, &stat) == 0 && stat.st_dev == dev;
}

static void remove_files(const char *path, dev_t dev, int depth)
{
	DIR *dir = is_on(dev, path) ? opendir(path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char inner[PATH_MAX];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    (size_t)snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name) >=
			    sizeof(inner))
			continue;
		if (unlink(inner) < 0 && depth)
			remove_files(inner, dev, depth - 1);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void remove_tree(const char *path)
{
	struct stat stat;

	if (lstat(path, &stat) == 0)
		remove_files(path, stat.st_dev, DEPTH_MAX);
}

void workdir_remove(struct workdir *dir)
{
	if (!dir->path[0])
		return;
	remove_tree(dir->path);
	close(dir->lock_fd);
	dir->path[0] = '\0';
}

/* What killed programs of ours have left in @where. */
static void remove_left(const char *where)
{
	DIR *dir = opendir(where);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX], lock[PATH_MAX];
		_cleanup_close_ int fd = -1;
		struct stat stat;

		if (strncmp(entry->d_name, DIR_PREFIX, sizeof(DIR_PREFIX) - 1) != 0 ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", where, entry->d_name) >=
			    sizeof(path) ||
		    (size_t)snprintf(lock, sizeof(lock), "%s/" LOCK_NAME, path) >= sizeof(lock) ||
		    lstat(path, &stat) < 0 || !S_ISDIR(stat.st_mode) || stat.st_uid != geteuid())
			continue;
		fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			remove_tree(path);
	}
	if (dir)
		closedir(dir);
}

/* ------------------------------------------------------------------------------ making */

static bool is_tmpfs(const char *path)
{
	struct statfs stat;

	return statfs(path, &stat) == 0 && stat.f_type == TMPFS_MAGIC;
}

static int choose(const char *where, struct diag *diag, const char **ret_where)
{
	const char *tmpdir = getenv("TMPDIR");

	if (where && is_tmpfs(where)) {
		*ret_where = where;
		return 0;
	}
	if (where)
		return diag_set(diag, -EINVAL, "explore.work",
				"--work %.200s is no folder on a tmpfs", where);
	*ret_where = tmpdir && is_tmpfs(tmpdir) ? tmpdir : "/dev/shm";
	if (is_tmpfs(*ret_where))
		return 0;
	diag_set(diag, -EINVAL, "explore.work",
		 "neither TMPDIR nor /dev/shm is a tmpfs: there is no place for images");
	diag_hint(diag, "mount one (mount -t tmpfs none DIR) and say --work DIR");
	return -EINVAL;
}

static int check_space(const char *where, uint64_t need_bytes, struct diag *diag)
{
	char need[UNITS_MAX], have[UNITS_MAX];
	struct statvfs stat;
	uint64_t free_bytes;

	if (statvfs(where, &stat) < 0)
		return diag_set(diag, -errno, "explore.work", "cannot look at %s: %s", where,
				strerror(errno));
	free_bytes = (uint64_t)stat.f_bavail * stat.f_frsize;
	if (need_bytes <= free_bytes)
		return 0;
	diag_set(diag, -ENOSPC, "explore.work", "images need up to %s in %s, where %s are free",
		 units_format_size(need_bytes + (1 << 20) - need_bytes % (1 << 20), need), where,
		 units_format_size(free_bytes - free_bytes % (1 << 20), have));
	diag_hint(diag, "fewer --jobs need less; --work DIR takes another tmpfs");
	return -ENOSPC;
}

static int make(const char *where, unsigned int jobs, struct workdir *dir)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(dir->path, sizeof(dir->path), "%s/" DIR_PREFIX "XXXXXX", where) >=
	    sizeof(dir->path) - 32)
		return -ENAMETOOLONG;
	if (!fail_null("tools/explore_work/mkdtemp", ENOSPC, mkdtemp(dir->path))) {
		dir->path[0] = '\0';
		return -errno;
	}
	snprintf(path, sizeof(path), "%.*s/" LOCK_NAME, PATH_MAX - 32, dir->path);
	dir->lock_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (dir->lock_fd < 0 || flock(dir->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	for (unsigned int i = 0; i < jobs; i++) {
		workdir_worker(dir, i, path);
		if (mkdir(path, 0700) < 0)
			return -errno;
		/* Of the commands: FAULTBLK_TMP. */
		strcat(path, "/tmp");
		if (mkdir(path, 0700) < 0)
			return -errno;
	}
	return 0;
}

int workdir_make(const char *where, unsigned int jobs, uint64_t need_bytes, struct diag *diag,
		 struct workdir *ret_dir)
{
	int err = choose(where, diag, &where);

	ret_dir->path[0] = '\0';
	ret_dir->lock_fd = -1;
	if (err)
		return err;
	remove_left(where);
	err = check_space(where, need_bytes, diag);
	if (err)
		return err;
	err = make(where, jobs, ret_dir);
	if (err) {
		diag_set(diag, err, "explore.work", "cannot make a folder in %s: %s", where,
			 strerror(-err));
		workdir_remove(ret_dir);
	}
	return err;
}

void workdir_worker(const struct workdir *dir, unsigned int worker, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/%u", PATH_MAX - 32, dir->path, worker);
}

/* ------------------------------------------------------------------------------ memory */

int image_map(uint64_t size_bytes, struct crash_image *ret_image)
{
	_cleanup_close_ int fd = fail_errno("tools/explore_work/memfd", EMFILE,
					    memfd_create("faultblk-image", MFD_CLOEXEC));
	void *bytes;

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0)
		return -errno;
	bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	ret_image->bytes = bytes;
	ret_image->fd = take_fd(&fd);
	return 0;
}

void image_unmap(struct crash_image *image, uint64_t size_bytes)
{
	if (!image->bytes)
		return;
	munmap(image->bytes, size_bytes);
	close(image->fd);
	*image = (struct crash_image){ 0 };
}

/* ------------------------------------------------------------------------------ how much */

struct span {
	uint64_t from, to; /* bytes, of whole pages; all disks one behind the other */
};

static int by_from(const void *a, const void *b)
{
	const struct span *one = a, *other = b;

	return one->from < other->from ? -1 : one->from > other->from;
}

static struct span span_of(const uint64_t *starts, uint16_t disk, uint64_t at, uint64_t len)
{
	return (struct span){ .from = (starts[disk] + at) & ~4095ull,
			      .to = (starts[disk] + at + len + 4095) & ~4095ull };
}

uint64_t workdir_need(const struct journal *journal)
{
	size_t nr = 0, max = journal->nr_extents + journal->nr_writes + 1;
	_cleanup_free_ struct span *spans = NULL;
	uint64_t starts[JOURNAL_DISKS_MAX], end = 0, need = 0;

	spans = fail_alloc("tools/explore_work/spans", malloc(max * sizeof(*spans)));
	if (!spans)
		return UINT64_MAX;
	for (uint32_t disk = 0; disk < journal->nr_disks; disk++) {
		starts[disk] = end;
		end += (journal->disks[disk].size_bytes + 4095) & ~4095ull;
	}
	for (size_t i = 0; i < journal->nr_extents; i++)
		spans[nr++] = span_of(starts, journal->extents[i].disk, journal->extents[i].at,
				      journal->extents[i].len_bytes);
	for (size_t i = 0; i < journal->nr_writes; i++)
		if (journal->writes[i].data)
			spans[nr++] = span_of(starts, journal->writes[i].disk,
					      journal->writes[i].at, journal->writes[i].len_bytes);
	qsort(spans, nr, sizeof(*spans), by_from);
	end = 0;
	for (size_t i = 0; i < nr; i++) {
		uint64_t from = spans[i].from > end ? spans[i].from : end;

		if (spans[i].to > from)
			need += spans[i].to - from;
		if (spans[i].to > end)
			end = spans[i].to;
	}
	return need;
}
