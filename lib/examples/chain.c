// SPDX-License-Identifier: MIT
/*
 * chain [SIZE_MIB [SECONDS]]: one ublk disk whose backend is another.
 *
 *	/dev/ublkbN (upper) -> pread, pwrite, fdatasync, fallocate -> /dev/ublkbM (lower) -> memory
 *
 * Prints both paths, writes a pattern through the upper disk, reads it back through both, compares
 * byte for byte, and says so. With SECONDS it then goes on serving for that long.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ublkcore.h>
#include <unistd.h>

#define CHUNK (1u << 20)

/* The lower disk: memory. */
static int mem_read(void *memory, struct ublk_req *req)
{
	return ublk_req_put(req, 0, (char *)memory + req->sector * 512, req->len_bytes);
}

static int mem_write(void *memory, struct ublk_req *req)
{
	return ublk_req_get(req, 0, (char *)memory + req->sector * 512, req->len_bytes);
}

static int mem_flush(void *memory, struct ublk_req *req)
{
	(void)memory;
	(void)req;
	return 0;
}

static int mem_zero(void *memory, struct ublk_req *req)
{
	memset((char *)memory + req->sector * 512, 0, req->len_bytes);
	return 0;
}

/* The upper disk: whatever file or device the descriptor is. */
static int file_read(void *ctx, struct ublk_req *req)
{
	ssize_t n =
		pread(*(int *)ctx, ublk_req_data(req), req->len_bytes, (off_t)req->sector * 512);

	return n < 0 ? -errno : n == (ssize_t)req->len_bytes ? 0 : -EIO;
}

static int file_write(void *ctx, struct ublk_req *req)
{
	ssize_t n =
		pwrite(*(int *)ctx, ublk_req_data(req), req->len_bytes, (off_t)req->sector * 512);

	if (n != (ssize_t)req->len_bytes)
		return n < 0 ? -errno : -EIO;
	return req->flags & UBLK_REQ_FUA && fdatasync(*(int *)ctx) < 0 ? -errno : 0;
}

static int file_flush(void *ctx, struct ublk_req *req)
{
	(void)req;
	return fdatasync(*(int *)ctx) < 0 ? -errno : 0;
}

static int file_fallocate(int fd, int mode, const struct ublk_req *req)
{
	return fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)req->sector * 512, req->len_bytes) <
			       0
		       ? -errno
		       : 0;
}

static int file_discard(void *ctx, struct ublk_req *req)
{
	return file_fallocate(*(int *)ctx, FALLOC_FL_PUNCH_HOLE, req);
}

static int file_zero(void *ctx, struct ublk_req *req)
{
	return file_fallocate(*(int *)ctx, FALLOC_FL_ZERO_RANGE, req);
}

static const struct ublk_backend mem = {
	.name = "mem",
	.read = mem_read,
	.write = mem_write,
	.flush = mem_flush,
	.discard = mem_zero,
	.write_zeroes = mem_zero,
};

static const struct ublk_backend file = {
	.name = "file",
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.discard = file_discard,
	.write_zeroes = file_zero,
};

static int fail(const char *what)
{
	fprintf(stderr, "chain: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Through the upper disk in, through either out: @expect is what must be there. */
static int verify(const char *path, const unsigned char *expect, size_t size)
{
	unsigned char *got = aligned_alloc(4096, CHUNK);
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	int bad = fd < 0 || !got;

	for (size_t at = 0; !bad && at < size; at += CHUNK)
		bad = pread(fd, got, CHUNK, (off_t)at) != CHUNK || memcmp(got, expect + at, CHUNK);
	if (fd >= 0)
		close(fd);
	free(got);
	printf("%s: %zu bytes %s\n", path, size, bad ? "DIFFER" : "as written");
	return bad;
}

static int exercise(const char *upper, const char *lower, const unsigned char *memory, size_t size)
{
	unsigned char *pattern = aligned_alloc(4096, size);
	int fd = open(upper, O_RDWR | O_DIRECT | O_CLOEXEC);
	uint64_t x = 1;
	int bad;

	if (fd < 0 || !pattern)
		return fail(upper);
	for (size_t i = 0; i < size; i += sizeof(x)) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(pattern + i, &x, sizeof(x));
	}
	for (size_t at = 0; at < size; at += CHUNK)
		if (pwrite(fd, pattern + at, CHUNK, (off_t)at) != CHUNK)
			return fail("writing");
	/* A hole in the middle, to see that discards and zeroes go through both as well. */
	if (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, CHUNK, CHUNK / 2) < 0)
		return fail("zeroing");
	memset(pattern + CHUNK, 0, CHUNK / 2);
	if (fsync(fd) < 0 || close(fd) < 0)
		return fail("fsync");
	bad = verify(upper, pattern, size) | verify(lower, pattern, size);
	if (memcmp(memory, pattern, size)) {
		printf("memory: DIFFERS\n");
		bad = 1;
	}
	free(pattern);
	return bad;
}

int main(int argc, char **argv)
{
	size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20;
	unsigned char *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ublk_dev *lower = NULL, *upper = NULL;
	struct ublk_options options;
	int fd = -1, status = 1;

	if (size < 2 * CHUNK || memory == MAP_FAILED)
		return fail("a size of at least 2 MiB is needed");
	ublk_options_init(&options);
	options.size_bytes = size;
	options.log = ublk_log_stderr;
	if (ublk_dev_open(&mem, memory, &options, &lower))
		goto out;
	fd = open(ublk_dev_path(lower), O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || ublk_dev_open(&file, &fd, &options, &upper))
		goto out;
	printf("%s -> %s -> memory\n", ublk_dev_path(upper), ublk_dev_path(lower));
	status = exercise(ublk_dev_path(upper), ublk_dev_path(lower), memory, size);
	if (argc > 2)
		ublk_dev_wait(upper, atoi(argv[2]) * 1000);
out:
	/* From the top down: the upper disk holds the lower one open. */
	ublk_dev_free(upper);
	if (fd >= 0)
		close(fd);
	ublk_dev_free(lower);
	munmap(memory, size);
	return status;
}
