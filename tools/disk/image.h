/* SPDX-License-Identifier: MIT */
/*
 * Raw images: a file with the bytes of a disk, in which holes stand for zeroes. A file shorter than
 * the disk stands for its beginning, and the rest is zero.
 */
#ifndef TOOLS_DISK_IMAGE_H
#define TOOLS_DISK_IMAGE_H

#include "base/diag.h"
#include "faults/disk/store.h"
#include "tools/cli/out_file.h"

#include <limits.h>

/* ------------------------------------------------------------------------------ reading */

struct image {
	int fd;
	uint64_t size_bytes;
	const char *path; /* borrowed, for messages */
};

struct image_limits {
	uint64_t size_bytes;  /* of the disk; 0: any */
	uint32_t block_bytes; /* the image's size is a multiple of it */
};

/*
 * A regular file or a block device; nothing else is waited for, a FIFO neither. What lies in a place
 * that does not answer is. -EINVAL: it is none, a file of another format, or does not fit the limits;
 * -errno of open.
 */
int image_open(const char *path, const struct image_limits *limits, struct diag *diag,
	       struct image *ret_image);
/* Is it /dev/ublkb@id, or a partition of it? */
bool image_is_device(const struct image *image, int id);
void image_close(struct image *image);

/* Where an image goes: all of it, in ascending order. Holes, and pages of zeroes, as holes. */
struct image_sink {
	int (*data)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len);
	int (*hole)(void *ctx, uint64_t at, uint64_t len); /* NULL: what is not data is zero */
	void *ctx;
};
/* -errno of a read, words in @diag, or the first one of the sink, without. */
int image_read(const struct image *image, const struct image_sink *sink, struct diag *diag);
/*
 * The sink's error @err, as a store that is being filled has it, in words, unless there are some
 * already. Returns @err.
 */
int image_room_error(const char *path, const struct store *store, int err, struct diag *diag);
/* Into a new store at least as large, that nobody else uses. */
int image_load(const struct image *image, struct store *store, struct diag *diag);

/* ------------------------------------------------------------------------------ writing */

/* A file that appears when it is whole, see cli/out_file.h. It does not move. */
struct image_out {
	struct out_file file;
};

/* @path is borrowed until it is closed; errors of out_file_open(). */
int image_out_open(const char *path, bool force, struct diag *diag, struct image_out *ret_out);
/* Bytes that are alike from @at on, at most @len; see snapshots_read(). 0: give up (-ECANCELED). */
typedef uint64_t (*image_source_fn)(void *ctx, uint64_t at, uint64_t len, unsigned char *data,
				    bool *ret_hole);
#define IMAGE_SOURCE_MAX (128u << 10)
/* Write @size_bytes from @source. *ret_bytes: of data. */
int image_out_write(struct image_out *out, uint64_t size_bytes, image_source_fn source, void *ctx,
		    struct diag *diag, uint64_t *ret_bytes);
/* On disk, and in one step under its name: who looks finds the old file or all of the new one. */
int image_out_commit(struct image_out *out, struct diag *diag);
/* What has no name yet is removed. */
void image_out_close(struct image_out *out);

#endif
