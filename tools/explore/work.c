// SPDX-License-Identifier: MIT
/*
 * Where images are kept while they are explored: a folder on tmpfs that goes away with us. One that
 * a killed program has left is removed by the next, see cli/left_folder.h.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"
#include "base/units.h"
#include "tools/cli/left_folder.h"
#include "tools/cli/remove_tree.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define TRIES 100 /* folders that others may take away while we make them */

/* ------------------------------------------------------------------------------ removing */

void workdir_remove(struct workdir *dir)
{
	struct tree_left left;

	if (!dir->where[0])
		return;
	for (size_t i = 0; i < WORK_SPARE; i++)
		if (dir->spare[i] >= 0)
			close(dir->spare[i]);
	if (dir->path[0] && remove_tree(dir->where_fd, dir->name, folder_of_explore.lock, &left))
		left_folder_tell_tree(dir->where, dir->name, &folder_of_explore, &left);
	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	if (dir->where_fd >= 0)
		close(dir->where_fd);
	dir->lock_fd = dir->where_fd = -1;
	dir->where[0] = dir->path[0] = '\0';
}

/* ------------------------------------------------------------------------------ making */

static int choose(const char *where, struct diag *diag, const char **ret_where)
{
	const char *tmpdir = getenv("TMPDIR");

	if (where) {
		*ret_where = where;
		return left_folder_check_work(where, diag);
	}
	*ret_where = tmpdir && left_folder_is_place(tmpdir, &folder_of_explore)
			     ? tmpdir
			     : folder_of_explore.place;
	errno = 0;
	if (left_folder_is_place(*ret_where, &folder_of_explore))
		return 0;
	if (errno && errno != ENOENT && errno != ENOTDIR)
		return diag_set(diag, -errno, "explore.work", "cannot examine %s: %s", *ret_where,
				strerror(errno));
	diag_set(diag, -EINVAL, "explore.work",
		 "neither TMPDIR nor %s is a tmpfs: there is no place for images",
		 folder_of_explore.place);
	diag_hint(diag, "mount one (mount -t tmpfs none DIR) and give --work DIR");
	return -EINVAL;
}

static int check_space(const char *where, uint64_t need_bytes, struct diag *diag)
{
	char need[UNITS_MAX], have[UNITS_MAX];
	struct statvfs stat;
	uint64_t free_bytes;

	if (statvfs(where, &stat) < 0)
		return diag_set(diag, -errno, "explore.work", "cannot examine %s: %s", where,
				strerror(errno));
	free_bytes = (uint64_t)stat.f_bavail * stat.f_frsize;
	if (need_bytes <= free_bytes)
		return 0;
	diag_set(diag, -ENOSPC, "explore.work", "images need up to %s in %s, where %s are free",
		 units_format_size(need_bytes + (1 << 20) - need_bytes % (1 << 20), need), where,
		 units_format_size(free_bytes - free_bytes % (1 << 20), have));
	diag_hint(diag, "give fewer --jobs, or another tmpfs with --work DIR");
	return -ENOSPC;
}

/*
 * The lock is taken before it has a name, so that a folder that has one is never without its owner.
 * -ENOENT: another program took the folder, which was empty, for one that is left.
 */
static int make_lock(struct workdir *dir, int fd)
{
	char self[48];

	dir->lock_fd = openat(fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (dir->lock_fd < 0 || flock(dir->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir->lock_fd);
	if (linkat(AT_FDCWD, self, fd, folder_of_explore.lock, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return -errno;
}

/* A folder of a new name, with its lock. */
static int make_folder(struct workdir *dir)
{
	_cleanup_close_ int fd = -1;
	int err;

	if ((size_t)snprintf(dir->path, sizeof(dir->path), "%s/%sXXXXXX", dir->where,
			     folder_of_explore.prefix) >= sizeof(dir->path) - 32) {
		dir->path[0] = '\0';
		return -ENAMETOOLONG;
	}
	if (!fail_null("tools/explore/work/mkdtemp", ENOSPC, mkdtemp(dir->path))) {
		dir->path[0] = '\0';
		return -errno;
	}
	snprintf(dir->name, sizeof(dir->name), "%s", strrchr(dir->path, '/') + 1);
	fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = fd < 0 ? -errno : make_lock(dir, fd);
	if (err == -ENOENT)
		dir->path[0] = '\0';
	if (err && dir->lock_fd >= 0) {
		close(dir->lock_fd);
		dir->lock_fd = -1;
	}
	return err;
}

static int make(unsigned int jobs, struct workdir *dir)
{
	char path[PATH_MAX];
	int err = -ENOENT;

	for (int i = 0; i < TRIES && err == -ENOENT; i++)
		err = make_folder(dir);
	if (err)
		return err;
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

/* A folder that cannot be removed, since its files were opened with the last descriptor, is left. */
static bool take_spare(struct workdir *dir)
{
	for (size_t i = 0; i < WORK_SPARE; i++) {
		dir->spare[i] = fcntl(dir->where_fd, F_DUPFD_CLOEXEC, 0);
		if (dir->spare[i] < 0)
			return false;
	}
	return true;
}

int workdir_make(const char *where, unsigned int jobs, uint64_t need_bytes, struct diag *diag,
		 struct workdir *ret_dir)
{
	struct workdir *dir = ret_dir;
	int err = choose(where, diag, &where);

	*dir = (struct workdir){ .where_fd = -1,
				 .lock_fd = -1,
				 .spare = { [0 ... WORK_SPARE - 1] = -1 } };
	if (err)
		return err;
	snprintf(dir->where, sizeof(dir->where), "%s", where);
	dir->where_fd = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir->where_fd >= 0 && take_spare(dir)) {
		/* One that cannot be read is told when a folder is made in it. */
		left_folder_sweep(where, &folder_of_explore, false, left_folder_tell_failed, NULL);
		err = check_space(where, need_bytes, diag);
		if (!err)
			err = make(jobs, dir);
	} else {
		err = -errno;
	}
	if (err && !diag->message[0])
		diag_set(diag, err, "explore.work", "cannot make a folder in %s: %s", where,
			 strerror(-err));
	if (err)
		workdir_remove(dir);
	return err;
}

void workdir_worker(const struct workdir *dir, unsigned int worker, char ret_path[PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%.*s/%u", PATH_MAX - 32, dir->path, worker);
}

/* ------------------------------------------------------------------------------ memory */

int image_map(uint64_t size_bytes, struct crash_image *ret_image)
{
	_cleanup_close_ int fd = fail_errno("tools/explore/work/memfd", EMFILE,
					    memfd_create("faultblk-image", MFD_CLOEXEC));
	void *bytes;

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0)
		return -errno;
	bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	if (map_guard(bytes, size_bytes, PROT_READ | PROT_WRITE)) {
		munmap(bytes, size_bytes);
		return -ENOMEM;
	}
	ret_image->bytes = bytes;
	ret_image->fd = take_fd(&fd);
	return 0;
}

void image_unmap(struct crash_image *image, uint64_t size_bytes)
{
	if (!image->bytes)
		return;
	map_unguard(image->bytes);
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

	spans = fail_alloc("tools/explore/work/spans", malloc(max * sizeof(*spans)));
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
