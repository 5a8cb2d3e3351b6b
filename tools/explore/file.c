// SPDX-License-Identifier: MIT
/*
 * A state as image files: one file on tmpfs for each disk, mapped, and that mapping is the image of
 * the worker's cursor. So the file always holds what is durable.
 *
 *	present   what the picks change is written over it; what was there is kept (undo)
 *	restore   nobody wrote: the undo is written back              O(changed)
 *	          somebody did: what differs from a second image,
 *	          kept by a second cursor, is copied from there       O(data in the file)
 *
 * Did somebody write? The file's time of modification is set to a value in 1970 once it is
 * presented, and inotify says whether it was open for writing, which also catches what was written
 * through a mapping. The second cursor exists only from the first write of a check on; a check that
 * opens the image read-only costs nothing but what its state changed.
 *
 * Holes stay holes: reading one through a mapping would fill it, so they are found with SEEK_DATA,
 * and zeroes are put back by punching.
 */
#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"
#include "base/zero.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_BYTES  4096u
#define CHUNK_BYTES 65536u

struct image_file {
	char path[PATH_MAX];
	struct crash_image image;  /* mapped, writable */
	struct crash_image second; /* of the second cursor, in a memfd; or all zero */
	uint64_t size;
};

/* What present() wrote over: @len_bytes of old content at @offset of undo_bytes, or zeroes. */
struct undo {
	uint64_t at;
	size_t offset; /* SIZE_MAX: it was zero */
	uint32_t len_bytes;
	uint16_t disk;
};

struct file_presenter {
	const struct journal *journal;
	struct image_file *files;
	int notify_fd;
	struct crash *second; /* NULL: nobody has written yet */
	struct undo *undos;
	size_t nr_undos, max_undos;
	unsigned char *undo_bytes;
	size_t nr_undo_bytes, max_undo_bytes;
	struct diag *diag; /* of the call under way */
};

/* ------------------------------------------------------------------------------ changing a file */

/* Zeroes, and a hole where whole pages are. */
static int put_zeroes(const struct crash_image *image, uint64_t at, uint64_t len, struct diag *diag)
{
	if (len < PAGE_BYTES) {
		memset(image->bytes + at, 0, len);
		return 0;
	}
	if (fallocate(image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
		      (off_t)len) == 0)
		return 0;
	return diag_set(diag, -errno, "explore.file", "cannot punch a hole into an image: %s",
			strerror(errno));
}

static int undo_room(struct file_presenter *p, size_t bytes)
{
	int err =
		array_room("tools/explore/file/undos", p->undos, p->max_undos, p->nr_undos + 1, 64);

	if (!err)
		err = array_room("tools/explore/file/undo-bytes", p->undo_bytes, p->max_undo_bytes,
				 p->nr_undo_bytes + bytes, 4096);
	return err;
}

static int put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	struct file_presenter *p = ctx;
	const struct crash_image *image = &p->files[disk].image;
	unsigned char *place = image->bytes + at;
	bool was_zero = is_zero(place, len);
	int err = undo_room(p, was_zero ? 0 : len);

	if (err)
		return diag_set(p->diag, err, "explore.memory",
				"no memory to remember what a state replaces");
	p->undos[p->nr_undos++] = (struct undo){ .at = at,
						 .offset = was_zero ? SIZE_MAX : p->nr_undo_bytes,
						 .len_bytes = len,
						 .disk = disk };
	if (!was_zero) {
		memcpy(p->undo_bytes + p->nr_undo_bytes, place, len);
		p->nr_undo_bytes += len;
	}
	if (!data)
		return put_zeroes(image, at, len, p->diag);
	memcpy(place, data, len);
	return 0;
}

static int undo_all(struct file_presenter *p)
{
	while (p->nr_undos) {
		const struct undo *undo = &p->undos[--p->nr_undos];
		const struct crash_image *image = &p->files[undo->disk].image;
		int err = 0;

		if (undo->offset == SIZE_MAX)
			err = put_zeroes(image, undo->at, undo->len_bytes, p->diag);
		else
			memcpy(image->bytes + undo->at, p->undo_bytes + undo->offset,
			       undo->len_bytes);
		if (err)
			return err;
	}
	p->nr_undo_bytes = 0;
	return 0;
}

/* ------------------------------------------------------------------------------ the second image
 */

static int make_second(struct file_presenter *p, const struct explore_state *state)
{
	struct crash_image images[JOURNAL_DISKS_MAX];

	for (uint32_t disk = 0; disk < p->journal->nr_disks; disk++) {
		struct image_file *file = &p->files[disk];
		int err = file->second.bytes ? 0 : image_map(file->size, &file->second);

		if (err)
			return diag_set(p->diag, err, "explore.memory",
					"cannot make a second image of disk %s: %s",
					p->journal->disks[disk].name, strerror(-err));
		images[disk] = file->second;
	}
	return crash_create(p->journal, crash_options(state->crash), images, p->diag, &p->second);
}

/* One run of data in the file, @from..@to: what differs from the second image. */
static void copy_differing(const struct image_file *file, uint64_t from, uint64_t to)
{
	unsigned char *place = file->image.bytes;
	const unsigned char *want = file->second.bytes;

	while (from < to) {
		uint64_t len = to - from < CHUNK_BYTES ? to - from : CHUNK_BYTES;

		for (uint64_t at = from, step;
		     memcmp(place + from, want + from, len) != 0 && at < from + len; at += step) {
			step = from + len - at < PAGE_BYTES ? from + len - at : PAGE_BYTES;
			if (memcmp(place + at, want + at, step) != 0)
				memcpy(place + at, want + at, step);
		}
		from += len;
	}
}

/* The run of data of @fd at or behind @at; the end of the file where there is none. */
static void next_data(int fd, uint64_t at, uint64_t size, uint64_t *ret_from, uint64_t *ret_to)
{
	off_t from = lseek(fd, (off_t)at, SEEK_DATA);
	off_t to = from < 0 ? -1 : lseek(fd, from, SEEK_HOLE);

	*ret_from = from < 0 || (uint64_t)from > size ? size : (uint64_t)from;
	*ret_to = to < 0 || (uint64_t)to > size ? size : (uint64_t)to;
}

/* The file becomes what the second image is, data and holes. */
static int copy_from_second(struct file_presenter *p, const struct image_file *file)
{
	uint64_t at = 0, from, to, want_from = 0, want_to = 0;
	int err = 0;

	next_data(file->image.fd, 0, file->size, &from, &to);
	next_data(file->second.fd, 0, file->size, &want_from, &want_to);
	while (at < file->size && !err) {
		uint64_t next = file->size;
		bool has, wants;

		if (at >= to)
			next_data(file->image.fd, at, file->size, &from, &to);
		if (at >= want_to)
			next_data(file->second.fd, at, file->size, &want_from, &want_to);
		has = at >= from;
		wants = at >= want_from;
		next = has ? to : from;
		if ((wants ? want_to : want_from) < next)
			next = wants ? want_to : want_from;
		if (has && !wants)
			err = put_zeroes(&file->image, at, next - at, p->diag);
		else if (wants && !has)
			memcpy(file->image.bytes + at, file->second.bytes + at, next - at);
		else if (wants)
			copy_differing(file, at, next);
		at = next;
	}
	return err;
}

/* ------------------------------------------------------------------------------ who wrote? */

/* Before the commands: a time that no write sets, and nothing left to be told. */
static int watch_files(struct file_presenter *p)
{
	static const struct timespec long_ago[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	char events[4096];

	for (uint32_t disk = 0; disk < p->journal->nr_disks; disk++)
		if (futimens(p->files[disk].image.fd, long_ago) < 0)
			return diag_set(p->diag, -errno, "explore.file",
					"cannot set the time of %s: %s", p->files[disk].path,
					strerror(errno));
	while (read(p->notify_fd, events, sizeof(events)) > 0)
		;
	return 0;
}

/* The file is still ours, at its place, and of its size; *ret_written: its time has changed. */
static int check_file(struct file_presenter *p, const struct image_file *file, bool *ret_written)
{
	struct stat ours, there;

	if (fstat(file->image.fd, &ours) < 0)
		return diag_set(p->diag, -errno, "explore.file", "cannot examine %s: %s",
				file->path, strerror(errno));
	if (stat(file->path, &there) < 0 || there.st_ino != ours.st_ino ||
	    there.st_dev != ours.st_dev) {
		diag_set(p->diag, -ESTALE, "explore.file",
			 "recovery or check has removed or replaced the image %s", file->path);
		diag_hint(p->diag, "write to the image in place");
		return -ESTALE;
	}
	*ret_written = ours.st_mtim.tv_sec != 1 || ours.st_mtim.tv_nsec != 0;
	if ((uint64_t)ours.st_size == file->size)
		return 0;
	*ret_written = true;
	if (ftruncate(file->image.fd, (off_t)file->size) == 0)
		return 0;
	return diag_set(p->diag, -errno, "explore.file", "cannot set the size of %s: %s",
			file->path, strerror(errno));
}

static int was_written(struct file_presenter *p, bool *ret_written)
{
	char events[4096];

	*ret_written = p->notify_fd < 0 || read(p->notify_fd, events, sizeof(events)) > 0;
	for (uint32_t disk = 0; disk < p->journal->nr_disks; disk++) {
		bool written = false;
		int err = check_file(p, &p->files[disk], &written);

		if (err)
			return err;
		*ret_written |= written;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ the presenter */

static int file_present(void *self, const struct explore_state *state, struct diag *diag)
{
	struct file_presenter *p = self;
	int err;

	p->diag = diag;
	err = crash_put(state->crash, state->picks, put, p);
	if (!err)
		err = watch_files(p);
	if (err)
		undo_all(p);
	return err;
}

static int file_put(void *self, uint16_t disk, uint64_t at, const unsigned char *data, uint64_t len,
		    struct diag *diag)
{
	struct file_presenter *p = self;
	int err = 0;

	p->diag = diag;
	for (uint64_t done = 0, part; done < len && !err; done += part) {
		part = len - done < CHUNK_BYTES ? len - done : CHUNK_BYTES;
		err = put(p, disk, at + done, data ? data + done : NULL, (uint32_t)part);
	}
	return err ? err : watch_files(p);
}

static int file_restore(void *self, const struct explore_state *state, struct diag *diag)
{
	struct file_presenter *p = self;
	bool written;
	int err;

	p->diag = diag;
	err = was_written(p, &written);
	if (err || !written)
		return err ? err : undo_all(p);
	if (!p->second)
		err = make_second(p, state);
	if (!err)
		err = crash_move(p->second, crash_step(state->crash));
	for (uint32_t disk = 0; disk < p->journal->nr_disks && !err; disk++)
		err = copy_from_second(p, &p->files[disk]);
	p->nr_undos = 0;
	p->nr_undo_bytes = 0;
	return err;
}

static int file_image(void *self, uint16_t disk, struct crash_image *ret_image, struct diag *diag)
{
	const struct file_presenter *p = self;

	(void)diag;
	*ret_image = p->files[disk].image;
	return 0;
}

static const char *file_path(void *self, uint16_t disk)
{
	const struct file_presenter *p = self;

	return p->files[disk].path;
}

static void file_close(void *self)
{
	struct file_presenter *p = self;

	if (!p)
		return;
	crash_free(p->second);
	for (uint32_t disk = 0; p->files && disk < p->journal->nr_disks; disk++) {
		struct image_file *file = &p->files[disk];

		if (file->image.bytes)
			unlink(file->path);
		image_unmap(&file->image, file->size);
		image_unmap(&file->second, file->size);
	}
	if (p->notify_fd >= 0)
		close(p->notify_fd);
	free(p->files);
	free(p->undos);
	free(p->undo_bytes);
	free(p);
}

static int open_file(struct file_presenter *p, struct image_file *file)
{
	_cleanup_close_ int fd =
		fail_errno("tools/explore/file/open", EMFILE,
			   open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	void *bytes;

	if (fd < 0 || ftruncate(fd, (off_t)file->size) < 0)
		return -errno;
	bytes = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	if (map_guard(bytes, file->size, PROT_READ | PROT_WRITE)) {
		munmap(bytes, file->size);
		return -ENOMEM;
	}
	file->image.bytes = bytes;
	file->image.fd = take_fd(&fd);
	/* Without it every check counts as one that wrote. */
	if (p->notify_fd >= 0 &&
	    inotify_add_watch(p->notify_fd, file->path, IN_MODIFY | IN_CLOSE_WRITE) < 0) {
		close(p->notify_fd);
		p->notify_fd = -1;
	}
	return 0;
}

static int file_open(const struct presenter_options *options, struct diag *diag, void **ret_self)
{
	struct file_presenter *p =
		fail_alloc("tools/explore/file/presenter", calloc(1, sizeof(*p)));
	const struct journal *journal = options->journal;

	if (!p)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for worker %u",
				options->worker);
	p->journal = journal;
	p->notify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	p->files = fail_alloc("tools/explore/file/files",
			      calloc(journal->nr_disks, sizeof(*p->files)));
	for (uint32_t disk = 0; p->files && disk < journal->nr_disks; disk++) {
		struct image_file *file = &p->files[disk];
		int err;

		file->size = journal->disks[disk].size_bytes;
		if ((size_t)snprintf(file->path, sizeof(file->path), "%s/%s.img", options->work,
				     journal->disks[disk].name) >= sizeof(file->path))
			err = -ENAMETOOLONG;
		else
			err = open_file(p, file);
		if (!err)
			continue;
		diag_set(diag, err, "explore.file", "cannot make the image %s of %llu bytes: %s",
			 file->path, (unsigned long long)file->size, strerror(-err));
		file_close(p);
		return err;
	}
	if (!p->files) {
		file_close(p);
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for images");
	}
	*ret_self = p;
	return 0;
}

const struct presenter_ops presenter_file = {
	.name = "file",
	.again = "file",
	.open = file_open,
	.image = file_image,
	.path = file_path,
	.present = file_present,
	.put = file_put,
	.restore = file_restore,
	.close = file_close,
};
