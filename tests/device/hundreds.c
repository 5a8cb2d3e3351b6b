// SPDX-License-Identifier: MIT
/* hundreds: many disks in one process, and what each takes of its descriptors. */
#include "harness.h"
#include "ublkcore.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define FILLED 0x5a

static int fill(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	memset(ublk_req_data(req), FILLED, req->len_bytes);
	return 0;
}

static const struct ublk_backend filled = { .name = "filled", .read = fill };

static int count_dir(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

#define MANY         200
#define MANY_THREADS 8

static struct {
	struct ublk_dev *devs[MANY];
	atomic_uint next;
	atomic_int errors;
	bool close;
} many;

static void *many_main(void *arg)
{
	struct ublk_options o = *(struct ublk_options *)arg;
	unsigned int i;

	while ((i = atomic_fetch_add(&many.next, 1)) < MANY) {
		int err = many.close ? ublk_dev_close(many.devs[i])
				     : ublk_dev_open(&filled, NULL, &o, &many.devs[i]);

		atomic_fetch_add(&many.errors, err != 0);
	}
	return NULL;
}

/* Each of them once, by several threads at the same time. */
static void for_many(struct ublk_options *o, bool close)
{
	pthread_t threads[MANY_THREADS];

	atomic_store(&many.next, 0);
	many.close = close;
	for (int i = 0; i < MANY_THREADS; i++)
		pthread_create(&threads[i], NULL, many_main, o);
	for (int i = 0; i < MANY_THREADS; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(atomic_load(&many.errors), 0);
}

/* Descriptors of this process that lead to @target. */
static int count_fds(const char *target)
{
	char path[64], got[64];
	int n = 0;

	for (int fd = 0; fd < 4096; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, got, sizeof(got) - 1);
		got[len < 0 ? 0 : len] = '\0';
		n += !strcmp(got, target);
	}
	return n;
}

/* A disk with one queue has that one's ring and eventfd, one that tells its end, and /dev/ublkcN. */
static void two_hundred_devices_share_one_control_ring(void)
{
	int fds = count_dir("/proc/self/fd"), rings = count_fds("anon_inode:[io_uring]");
	struct ublk_options o;
	char byte = 0;
	int fd;

	ublk_options_init(&o);
	o.size_bytes = 1 << 20;
	o.queue_depth = 4;
	o.log = ublk_log_stderr;
	for_many(&o, false);
	REQUIRE(!test_failed);
	EXPECT_EQ(count_fds("/dev/ublk-control"), 1);
	EXPECT_EQ(count_fds("anon_inode:[io_uring]"), rings + MANY + 1);
	EXPECT_EQ(count_dir("/proc/self/fd"), fds + 4 * MANY + 2);
	fd = open(ublk_dev_path(many.devs[MANY - 1]), O_RDONLY | O_CLOEXEC);
	EXPECT(pread(fd, &byte, 1, 65536) == 1 && byte == FILLED);
	close(fd);
	for_many(&o, true);
	EXPECT_EQ(count_fds("/dev/ublk-control"), 0);
	for (int i = 0; i < MANY; i++)
		ublk_dev_free(many.devs[i]);
	EXPECT_EQ(count_dir("/proc/self/fd"), fds);
}

int main(int argc, char **argv)
{
	const struct device_test tests[] = {
		DEVICE_TEST(two_hundred_devices_share_one_control_ring),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL) != 0;
}
