// SPDX-License-Identifier: MIT
#include "tools/disk/image.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "base/write_all.h"
#include "base/zero.h"
#include "tools/cli/meter.h"
#include "tools/cli/typed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CHUNK (1u << 20)
#define PAGE  4096u

/* ------------------------------------------------------------------------------ reading */

static int read_error(const char *path, int err, struct diag *diag)
{
	return diag_set(diag, err, "image.read", "cannot read %.200s: %s", path, strerror(-err));
}

static int check_limits(const struct image *image, const struct image_limits *limits,
			struct diag *diag)
{
	char file[TYPED_WORD_MAX];

	if (limits->size_bytes && image->size_bytes > limits->size_bytes) {
		diag_set(diag, -EINVAL, "image.size",
			 "image %.200s: got %llu bytes, wanted at most those of the disk, %llu",
			 image->path, (unsigned long long)image->size_bytes,
			 (unsigned long long)limits->size_bytes);
		diag_hint(diag, "make a disk that is at least as large");
		return -EINVAL;
	}
	if (image->size_bytes && image->size_bytes % limits->block_bytes == 0)
		return 0;
	diag_set(diag, -EINVAL, "image.size",
		 "image %.200s: got %llu bytes, wanted a multiple of the block size, %u",
		 image->path, (unsigned long long)image->size_bytes, limits->block_bytes);
	/* No multiple is above nothing. */
	diag_hint(diag, "make it longer with: truncate -s %s%u %s", image->size_bytes ? "%" : "",
		  limits->block_bytes, typed_word(image->path, "FILE", file, sizeof(file)));
	return -EINVAL;
}

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
		return "a character device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "something else";
	}
}

#define MAGIC_REACH 72u /* bytes from the start of a file that tell */

#define QEMU_IMG        "qemu-img convert -O raw", " "
#define UNPACK(program) program " -dc", " >"

/* What is no raw image, by the bytes that it begins with, and what makes one of it. */
static const struct format {
	const char *name, *magic;
	unsigned int len, at;
	const char *convert, *to; /* before its name, and behind it */
} formats[] = {
	/* clang-format off */
	{ "qcow or qcow2", "QFI\xfb", 4, 0, QEMU_IMG },
	{ "VMDK", "KDMV", 4, 0, QEMU_IMG },
	{ "VMDK", "COWD", 4, 0, QEMU_IMG },
	{ "VMDK (its descriptor)", "# Disk DescriptorFile", 21, 0, QEMU_IMG },
	{ "VDI", "\x7f\x10\xda\xbe", 4, 64, QEMU_IMG },
	{ "VHDX", "vhdxfile", 8, 0, QEMU_IMG },
	{ "VHD", "conectix", 8, 0, QEMU_IMG },
	{ "QED", "QED", 4, 0, QEMU_IMG },
	{ "gzip", "\x1f\x8b\x08", 3, 0, UNPACK("gzip") },
	{ "xz", "\xfd" "7zXZ", 6, 0, UNPACK("xz") },
	{ "zstd", "\x28\xb5\x2f\xfd", 4, 0, UNPACK("zstd") },
	{ "bzip2", "BZh", 3, 0, UNPACK("bzip2") },
	{ "lz4", "\x04\x22\x4d\x18", 4, 0, UNPACK("lz4") },
	{ "Android sparse", "\x3a\xff\x26\xed", 4, 0, "simg2img", " " },
	/* clang-format on */
};

static int refuse_format(const char *path, const struct format *format, struct diag *diag)
{
	char file[TYPED_WORD_MAX];

	typed_word(path, "FILE", file, sizeof(file));
	diag_set(
		diag, -EINVAL, "image.format",
		"%.200s is %s by its first bytes, wanted a raw image; to load these bytes as they "
		"are: losetup -r -f --show %s, and load that device",
		path, format->name, strlen(file) < 160 ? file : "FILE");
	diag_hint(diag, "convert it with: %s %s%sraw.img", format->convert, file, format->to);
	return -EINVAL;
}

/*
 * Loaded as they are, such bytes would be a disk that holds nothing. A block device is taken at its
 * word: whoever made one means its bytes.
 */
static int check_format(const struct image *image, struct diag *diag)
{
	char bytes[MAGIC_REACH] = { 0 };
	ssize_t nr = pread(image->fd, bytes, sizeof(bytes), 0);

	for (size_t i = 0; i < array_size(formats) && nr > 0; i++) {
		const struct format *format = &formats[i];

		if ((size_t)nr < format->at + format->len ||
		    memcmp(bytes + format->at, format->magic, format->len) != 0)
			continue;
		return refuse_format(image->path, format, diag);
	}
	return 0;
}

int image_open(const char *path, const struct image_limits *limits, struct diag *diag,
	       struct image *ret_image)
{
	struct image image = { .path = path };
	struct stat st = { 0 };
	off_t size;
	int err;

	image.fd = fail_errno("tools/disk/image/open", EMFILE,
			      open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
	if (image.fd < 0)
		return read_error(path, -errno, diag);
	if (fstat(image.fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) {
		image_close(&image);
		return diag_set(diag, -EINVAL, "image.kind",
				"image %.200s: got %s, wanted a file or a block device", path,
				kind_name(st.st_mode));
	}
	size = lseek(image.fd, 0, SEEK_END);
	err = size < 0 ? read_error(path, -errno, diag) : 0;
	image.size_bytes = size < 0 ? 0 : (uint64_t)size;
	/* What it is explains its size, too. */
	if (!err && S_ISREG(st.st_mode))
		err = check_format(&image, diag);
	if (!err)
		err = check_limits(&image, limits, diag);
	if (err)
		image_close(&image);
	else
		*ret_image = image;
	return err;
}

bool image_is_device(const struct image *image, int id)
{
	char link[64], target[PATH_MAX], disk[32];
	struct stat st;
	const char *at;
	ssize_t len;

	if (fstat(image->fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return false;
	/* ".../block/ublkb0", of a partition ".../block/ublkb0/ublkb0p1" */
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	snprintf(disk, sizeof(disk), "/ublkb%d", id);
	at = strstr(target, disk);
	return at && (at[strlen(disk)] == '\0' || at[strlen(disk)] == '/');
}

void image_close(struct image *image)
{
	close(image->fd);
}

/* The next data from @at on: [*ret_from, *ret_to); both are the end where there is none. */
static int find_data(const struct image *image, uint64_t at, uint64_t *ret_from, uint64_t *ret_to)
{
	off_t from = lseek(image->fd, (off_t)at, SEEK_DATA), to;

	*ret_from = *ret_to = image->size_bytes;
	if (from < 0 && errno == ENXIO)
		return 0;
	/* Nobody knows of holes here: all of it is data. */
	if (from < 0 && errno == EINVAL) {
		*ret_from = at;
		return 0;
	}
	if (from < 0)
		return -errno;
	to = lseek(image->fd, from, SEEK_HOLE);
	if (to < 0)
		return -errno;
	/* It may have grown meanwhile. */
	*ret_from = (uint64_t)from < image->size_bytes ? (uint64_t)from : image->size_bytes;
	*ret_to = (uint64_t)to < image->size_bytes ? (uint64_t)to : image->size_bytes;
	return 0;
}

static int read_all(const struct image *image, uint64_t at, unsigned char *to, uint64_t len)
{
	for (uint64_t done = 0; done < len;) {
		ssize_t nr =
			fail_errno("tools/disk/image/read", EIO,
				   pread(image->fd, to + done, len - done, (off_t)(at + done)));

		if (nr < 0 && errno == EINTR)
			continue;
		if (nr < 0)
			return -errno;
		if (nr == 0)
			return -ENODATA; /* it has become shorter */
		done += (uint64_t)nr;
	}
	return 0;
}

static int sink_hole(const struct image_sink *sink, uint64_t at, uint64_t len)
{
	return len && sink->hole ? sink->hole(sink->ctx, at, len) : 0;
}

/* Runs of pages that are alike: zeroes or not. */
static int sink_pages(const struct image_sink *sink, uint64_t at, const unsigned char *bytes,
		      uint64_t len)
{
	uint64_t from = 0, to = 0;
	int err = 0;

	for (; from < len && !err; from = to) {
		bool zero = false;

		for (uint64_t next; to < len; to = next) {
			uint64_t page = PAGE - (at + to) % PAGE;
			bool alike;

			next = to + (page < len - to ? page : len - to);
			alike = is_zero(bytes + to, next - to);
			if (to > from && alike != zero)
				break;
			zero = alike;
		}
		err = zero ? sink_hole(sink, at + from, to - from)
			   : sink->data(sink->ctx, at + from, bytes + from, to - from);
	}
	return err;
}

static int read_extent(const struct image *image, const struct image_sink *sink, uint64_t at,
		       uint64_t to, unsigned char *buf, struct diag *diag)
{
	int err = 0;

	for (uint64_t len; at < to && !err; at += len) {
		len = CHUNK - at % CHUNK;
		len = len < to - at ? len : to - at;
		err = read_all(image, at, buf, len);
		if (err)
			return read_error(image->path, err, diag);
		err = sink_pages(sink, at, buf, len);
	}
	return err;
}

int image_read(const struct image *image, const struct image_sink *sink, struct diag *diag)
{
	_cleanup_free_ unsigned char *buf = fail_alloc("tools/disk/image/buffer", malloc(CHUNK));
	uint64_t at = 0, from, to;
	int err = 0;

	if (!buf)
		return diag_set(diag, -ENOMEM, "image.memory", "no memory to read %.200s",
				image->path);
	while (at < image->size_bytes && !err) {
		err = find_data(image, at, &from, &to);
		if (err)
			return read_error(image->path, err, diag);
		err = sink_hole(sink, at, from - at);
		if (!err)
			err = read_extent(image, sink, from, to, buf, diag);
		at = to;
	}
	return err;
}

int image_room_error(const char *path, const struct store *store, int err, struct diag *diag)
{
	char size[UNITS_MAX];

	if (diag->message[0])
		return err;
	if (err == -ENOSPC) {
		diag_set(diag, err, "image.capacity",
			 "%.200s: it has more content than the disk's capacity of %s", path,
			 units_format_size(store_capacity(store), size));
		diag_hint(diag, "give a larger --capacity, or none");
	} else if (store_host(store).low) {
		diag_set(diag, err, "image.memory",
			 "%.200s: the host has too little memory left for its content", path);
	} else {
		diag_set(diag, err, "image.memory", "%.200s: cannot free memory: %s", path,
			 strerror(-err));
	}
	return err;
}

struct load {
	struct store *store;
	struct meter meter;
};

static int load_data(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len)
{
	struct load *load = ctx;
	struct store *store = load->store;
	int err = store_take(store, at, len);

	meter_at(&load->meter, at);
	if (err)
		return err;
	store_mark(store, at, len);
	memcpy(store_data(store) + at, bytes, len);
	return 0;
}

int image_load(const struct image *image, struct store *store, struct diag *diag)
{
	struct load load = { .store = store };
	const struct image_sink sink = { .data = load_data, .ctx = &load };
	int err;

	meter_begin(&load.meter, image->path, image->size_bytes, true);
	err = image_read(image, &sink, diag);
	meter_end(&load.meter);
	return err ? image_room_error(image->path, store, err, diag) : 0;
}

/* ------------------------------------------------------------------------------ writing */

static int write_error(const struct image_out *out, int err, struct diag *diag)
{
	diag_set(diag, err, "image.write", "cannot write %.200s: %s", out->file.path,
		 strerror(-err));
	if (err == -ENOSPC)
		diag_hint(diag, "it needs up to the memory in use that `faultblk status` shows, "
				"and for a snapshot also that of the snapshots");
	return err;
}

int image_out_open(const char *path, bool force, struct diag *diag, struct image_out *ret_out)
{
	const struct out_options options = { .force = force, .id = "image" };

	return out_file_open(path, &options, diag, &ret_out->file);
}

int image_out_write(struct image_out *out, uint64_t size_bytes, image_source_fn source, void *ctx,
		    struct diag *diag, uint64_t *ret_bytes)
{
	_cleanup_free_ unsigned char *data =
		fail_alloc("tools/disk/image/out-buffer", malloc(IMAGE_SOURCE_MAX));
	uint64_t at = 0, bytes = 0;
	int err = 0;

	if (!data)
		return diag_set(diag, -ENOMEM, "image.memory", "no memory to write %.200s",
				out->file.path);
	if (fail_errno("tools/disk/image/size", EFBIG, ftruncate(out->file.fd, (off_t)size_bytes)) <
	    0)
		return write_error(out, -errno, diag);
	while (at < size_bytes && !err) {
		bool hole;
		uint64_t nr = source(ctx, at, size_bytes - at, data, &hole);

		if (!nr)
			return diag_set(diag, -ECANCELED, "image.cancelled",
					"%.200s: abandoned, as the disk is being removed", out->file.path);
		if (!hole) {
			err = fail_value("tools/disk/image/write", -ENOSPC,
					 write_all_at(out->file.fd, data, nr, at));
			bytes += nr;
		}
		at += nr;
	}
	if (err)
		return write_error(out, err, diag);
	*ret_bytes = bytes;
	return 0;
}

int image_out_commit(struct image_out *out, struct diag *diag)
{
	return out_file_finish(&out->file, diag);
}

void image_out_close(struct image_out *out)
{
	out_file_drop(&out->file);
}
