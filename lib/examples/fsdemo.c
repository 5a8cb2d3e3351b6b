// SPDX-License-Identifier: MIT
/*
 * fsdemo [FSTYPE]: what a file system asks of a disk, phase by phase.
 *
 * Formats a disk in memory (ext4 by default), mounts it, writes a file, syncs, unmounts, mounts
 * again and verifies the file, and prints after each phase how many requests of each kind the
 * backend has had. Needs root and mkfs.FSTYPE.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <ublkcore.h>
#include <unistd.h>

#define DISK_BYTES (512ull << 20) /* xfs and btrfs want some room */
#define FILE_BYTES (8u << 20)

static unsigned char *memory;
static _Atomic unsigned long counts[UBLK_NR_OPS];

static int count(struct ublk_req *req)
{
	atomic_fetch_add_explicit(&counts[req->op], 1, memory_order_relaxed);
	return 0;
}

static int demo_read(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	count(req);
	return ublk_req_put(req, 0, memory + req->sector * 512, req->len_bytes);
}

static int demo_write(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	count(req);
	return ublk_req_get(req, 0, memory + req->sector * 512, req->len_bytes);
}

static int demo_flush(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	return count(req);
}

static int demo_discard(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	count(req);
	/* What was discarded may read as anything; giving the pages back makes it zero. */
	return madvise(memory + req->sector * 512, req->len_bytes, MADV_REMOVE) < 0 ? -errno : 0;
}

static int demo_zero(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	count(req);
	memset(memory + req->sector * 512, 0, req->len_bytes);
	return 0;
}

static const struct ublk_backend backend = {
	.name = "fsdemo",
	.read = demo_read,
	.write = demo_write,
	.flush = demo_flush,
	.discard = demo_discard,
	.write_zeroes = demo_zero,
};

static void report(const char *phase)
{
	unsigned long n[UBLK_NR_OPS];

	for (int i = 0; i < UBLK_NR_OPS; i++)
		n[i] = atomic_exchange(&counts[i], 0);
	printf("%-10s %6lu reads %6lu writes %6lu flushes %6lu discards %6lu write-zeroes\n", phase,
	       n[UBLK_OP_READ], n[UBLK_OP_WRITE], n[UBLK_OP_FLUSH], n[UBLK_OP_DISCARD],
	       n[UBLK_OP_WRITE_ZEROES]);
	fflush(stdout);
}

static int fail(const char *what)
{
	fprintf(stderr, "fsdemo: %s: %s\n", what, strerror(errno));
	return 1;
}

static int format(const char *fstype, const char *path)
{
	char tool[64];
	char *argv[] = { tool, strcmp(fstype, "ext4") ? "-f" : "-F", "-q", (char *)path, NULL };
	extern char **environ;
	int status;
	pid_t pid;

	snprintf(tool, sizeof(tool), "mkfs.%s", fstype);
	errno = posix_spawnp(&pid, tool, NULL, NULL, argv, environ);
	if (errno || waitpid(pid, &status, 0) < 0)
		return fail(tool);
	if (status) {
		fprintf(stderr, "fsdemo: %s failed with status %d\n", tool, WEXITSTATUS(status));
		return 1;
	}
	report("format");
	return 0;
}

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 2654435761u >> 24);
}

static int write_file(const char *name)
{
	unsigned char *data = malloc(FILE_BYTES);
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	int bad = fd < 0 || !data;

	for (size_t i = 0; !bad && i < FILE_BYTES; i++)
		data[i] = byte_at(i);
	bad = bad || write(fd, data, FILE_BYTES) != FILE_BYTES;
	free(data);
	if (bad)
		return fail(name);
	report("write");
	if (fsync(fd) < 0 || close(fd) < 0)
		return fail("fsync");
	report("sync");
	return 0;
}

static int verify_file(const char *name)
{
	unsigned char *data = malloc(FILE_BYTES);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	int bad = fd < 0 || !data || read(fd, data, FILE_BYTES) != FILE_BYTES;

	for (size_t i = 0; !bad && i < FILE_BYTES; i++)
		bad = data[i] != byte_at(i);
	if (fd >= 0)
		close(fd);
	free(data);
	report("verify");
	printf("%s\n", bad ? "the file DIFFERS" : "the file is as written");
	return bad;
}

static int live(const char *fstype, const char *path, const char *dir)
{
	char name[128];
	int bad;

	snprintf(name, sizeof(name), "%s/file", dir);
	if (mount(path, dir, fstype, 0, NULL) < 0)
		return fail("mount");
	report("mount");
	bad = write_file(name);
	if (umount(dir) < 0)
		return fail("umount");
	report("unmount");
	if (bad || mount(path, dir, fstype, 0, NULL) < 0)
		return bad || fail("remount");
	report("remount");
	bad = verify_file(name);
	return umount(dir) < 0 ? fail("umount") : bad;
}

int main(int argc, char **argv)
{
	const char *fstype = argc > 1 ? argv[1] : "ext4";
	char dir[] = "/tmp/fsdemo.XXXXXX";
	struct ublk_options options;
	struct ublk_dev *dev;
	int status;

	memory = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || !mkdtemp(dir))
		return fail("setting up");
	ublk_options_init(&options);
	options.size_bytes = DISK_BYTES;
	options.log = ublk_log_stderr;
	status = ublk_dev_open(&backend, NULL, &options, &dev) ? 1 : 0;
	if (!status) {
		report("start");
		status =
			format(fstype, ublk_dev_path(dev)) || live(fstype, ublk_dev_path(dev), dir);
		ublk_dev_free(dev);
	}
	rmdir(dir);
	munmap(memory, DISK_BYTES);
	return status;
}
