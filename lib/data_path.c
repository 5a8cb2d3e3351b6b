// SPDX-License-Identifier: MIT
/*
 * The data paths. Each is one row; nothing else asks which of them a device uses.
 *
 * COPY: the driver copies between its pages and a buffer of ours for each tag, whose address is in the
 * command that asks for the tag's next request. USER_COPY: it copies when we read or write /dev/ublkcN
 * at a position that names queue, tag and offset.
 */
#include "data_path.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/sparse.h"
#include "queue.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------ copy */

static int copy_put(struct req *req, size_t offset, const void *from, size_t len)
{
	memcpy(req->buf + offset, from, len);
	return 0;
}

static int copy_get(struct req *req, size_t offset, void *to, size_t len)
{
	memcpy(to, req->buf + offset, len);
	return 0;
}

static _cold_ int copy_map(struct queue *q)
{
	void *p;

	q->bufs_bytes = (size_t)q->shared->depth * q->shared->max_io_bytes;
	/* Huge pages are welcome: a burst of large requests faults once for all of one, and an idle
	 * queue gives them back. */
	p = fail_value("lib/data_path/map-bufs", (errno = ENOMEM, MAP_FAILED),
		       mmap(NULL, q->bufs_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	if (p == MAP_FAILED)
		return -errno;
	q->bufs = p;
	return 0;
}

/* The buffers stay the kept requests': the driver copies what comes at their tags elsewhere. */
static _cold_ void copy_cut(struct queue *q)
{
	if (!q->scrap)
		q->scrap = sparse_map(q->shared->max_io_bytes);
}

/* ------------------------------------------------------------------------------ user copy */

static off_t user_copy_offset(const struct req *req, size_t offset)
{
	return (off_t)(ABI_DATA_OFFSET + ((uint64_t)req->pub.queue << ABI_DATA_QID_SHIFT) +
		       ((uint64_t)req->pub.tag << ABI_DATA_TAG_SHIFT) + offset);
}

static int user_copy_put(struct req *req, size_t offset, const void *from, size_t len)
{
	ssize_t n;

	/* The tag may be another request's by now. */
	if (req_state_of(req) == REQ_CUT)
		return -EIO;
	n = pwrite(req->q->shared->cdev_fd, from, len, user_copy_offset(req, offset));
	return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

static int user_copy_get(struct req *req, size_t offset, void *to, size_t len)
{
	ssize_t n;

	if (req_state_of(req) == REQ_CUT)
		return -EIO;
	n = pread(req->q->shared->cdev_fd, to, len, user_copy_offset(req, offset));
	return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

static int user_copy_map(struct queue *q)
{
	(void)q;
	return 0;
}

static void user_copy_cut(struct queue *q)
{
	(void)q;
}

/* ------------------------------------------------------------------------------ the rows */

static const struct data_path data_paths[] = {
	[UBLK_DATA_COPY] = {
		.name = "copy",
		.put = copy_put,
		.get = copy_get,
		.map = copy_map,
		.cut = copy_cut,
	},
	[UBLK_DATA_USER_COPY] = {
		.name = "user copy",
		.feature = ABI_F_USER_COPY,
		.needs_cdev_fd = true,
		.put = user_copy_put,
		.get = user_copy_get,
		.map = user_copy_map,
		.cut = user_copy_cut,
	},
};

const struct data_path *data_path_find(enum ublk_data_path path)
{
	return (size_t)path < array_size(data_paths) ? &data_paths[path] : NULL;
}
