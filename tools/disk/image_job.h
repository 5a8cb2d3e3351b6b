/* SPDX-License-Identifier: MIT */
/*
 * An image written from, or read into, a disk that serves on: by a thread of its own, because the
 * file may be slow, or lie on that very disk. What is written is the disk at the moment of the
 * start, or a snapshot of it.
 */
#ifndef TOOLS_DISK_IMAGE_JOB_H
#define TOOLS_DISK_IMAGE_JOB_H

#include "tools/disk/disk.h"

enum image_what { IMAGE_SAVE, IMAGE_LOAD };

struct image_request {
	enum image_what what;
	const char *path;     /* absolute */
	const char *snapshot; /* IMAGE_SAVE: this one; NULL: the disk as it is now */
	bool force;           /* IMAGE_SAVE: @path may be there already */
};

struct image_job;

/*
 * Control thread, as all of these. The disk is borrowed until the end. The file is opened by the
 * job: nothing here waits for it. -ENOENT: no such snapshot; -ENOMEM, -EAGAIN and those of
 * disk_freeze().
 */
int image_job_start(struct disk *disk, const struct image_request *request, struct diag *diag,
		    struct image_job **ret_job);
/* Readable once the job is over. Borrowed, as the path. */
int image_job_fd(const struct image_job *job);
const char *image_job_path(const struct image_job *job);
bool image_job_loads(const struct image_job *job);
/*
 * Of a job that is over: free it. 0 or -errno with words in @diag: of opening, reading and writing,
 * -EEXIST, -EINVAL (image_open()). *ret_bytes: data written or read, on success. *ret_size: of the
 * image. Of one that is not over it waits for the end.
 */
int image_job_end(struct image_job *job, struct diag *diag, uint64_t *ret_bytes,
		  uint64_t *ret_size);
/*
 * Make it end soon: as image_job_end(), if it is over within @timeout_ms. -ETIMEDOUT: the kernel
 * has not let its thread go, which may touch the disk's memory for as long as the process lives;
 * the job is the thread's now, and the disk must not be freed.
 */
int image_job_give_up(struct image_job *job, unsigned int timeout_ms, struct diag *diag,
		      uint64_t *ret_bytes, uint64_t *ret_size);

#endif
