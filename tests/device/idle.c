// SPDX-License-Identifier: MIT
/* idle [FILTER]: what a queue's buffers cost when nothing is going on, on a real kernel. */
#include "base/clock.h"
#include "harness.h"
#include "ublkcore.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define DISK_BYTES (32u << 20)
#define BURST      (16u << 20)
#define HELD_BYTES (64u << 10)
#define MIB        (1l << 20)
#define DEVICES    8
#define WAIT_NS    PATIENCE_NS
#define THP        "/sys/kernel/mm/transparent_hugepage/enabled"

static unsigned char *memory;
static _Atomic(struct ublk_req *) held;
static _Atomic bool hold_next;

static int mem_read(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	return ublk_req_put(req, 0, memory + req->sector * 512, req->len_bytes);
}

static void mem_submit(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	if (atomic_exchange(&hold_next, false)) {
		held = req;
		return;
	}
	ublk_req_complete(req, ublk_req_get(req, 0, memory + req->sector * 512, req->len_bytes));
}

static const struct ublk_backend mem = {
	.name = "mem",
	.read = mem_read,
	.submit_ops = 1u << UBLK_OP_WRITE,
	.submit = mem_submit,
};

/* Memory of this process that is its own and no file's. */
static long anonymous(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "re");
	char line[128];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Anonymous: %ld kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}

/* Until there is no more than this; what there is. */
static long settle_below(long bytes)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;
	long now = anonymous();

	while (now > bytes && clock_now_ns() < until_ns) {
		usleep(50000);
		now = anonymous();
	}
	return now;
}

static void fill(unsigned char *data, size_t len, unsigned int salt)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)((i * 37 + salt) >> 2);
}

static struct ublk_dev *open_disk(int *ret_fd)
{
	struct ublk_options o;
	struct ublk_dev *dev;

	ublk_options_init(&o);
	o.size_bytes = DISK_BYTES;
	if (ublk_dev_open(&mem, NULL, &o, &dev))
		return NULL;
	*ret_fd = open(ublk_dev_path(dev), O_RDWR | O_DIRECT | O_CLOEXEC);
	return dev;
}

static void a_burst_gives_its_memory_back_and_every_byte_stays(void)
{
	unsigned char *out = aligned_alloc(4096, BURST), *in = aligned_alloc(4096, BURST);
	struct ublk_dev *dev;
	long before;
	int fd;

	memset(in, 1, BURST);
	dev = open_disk(&fd);
	REQUIRE(dev);
	fill(out, BURST, 0);
	before = settle_below(anonymous());
	/* The second time round it meets buffers that were given back. */
	for (unsigned int round = 1; round < 3; round++) {
		fill(out, BURST, round);
		EXPECT_EQ(pwrite(fd, out, BURST, 0), BURST);
		EXPECT(anonymous() > before + 4 * MIB);
		EXPECT(settle_below(before + MIB / 2) <= before + MIB / 2);
		EXPECT_EQ(pread(fd, in, BURST, 0), BURST);
		EXPECT(memcmp(in, out, BURST) == 0);
		EXPECT(settle_below(before + MIB / 2) <= before + MIB / 2);
	}
	close(fd);
	EXPECT(!ublk_dev_free(dev));
	free(out);
	free(in);
}

struct writer {
	pthread_t thread;
	int fd;
	unsigned char *data;
	long done;
};

static void *write_held(void *arg)
{
	struct writer *w = arg;

	w->done = pwrite(w->fd, w->data, HELD_BYTES, DISK_BYTES / 2);
	return NULL;
}

/* Its data lies in a buffer of its own, which stays while all others are given back. */
static void a_request_that_is_held_keeps_its_data(void)
{
	unsigned char *burst = aligned_alloc(4096, BURST);
	struct writer w = { .data = aligned_alloc(4096, HELD_BYTES) };
	struct ublk_dev *dev = open_disk(&w.fd);
	struct ublk_req *req;
	long before;

	REQUIRE(dev);
	fill(w.data, HELD_BYTES, 7);
	fill(burst, BURST, 9);
	before = settle_below(anonymous());
	hold_next = true;
	EXPECT(!pthread_create(&w.thread, NULL, write_held, &w));
	while (!held)
		usleep(1000);
	EXPECT_EQ(pwrite(w.fd, burst, BURST, 0), BURST);
	EXPECT(anonymous() > before + 4 * MIB);
	/* With huge pages the buffer that stays is whole. */
	EXPECT(settle_below(before + MIB) <= before + MIB);
	req = held;
	ublk_req_complete(req, ublk_req_get(req, 0, memory + DISK_BYTES / 2, HELD_BYTES));
	pthread_join(w.thread, NULL);
	EXPECT_EQ(w.done, HELD_BYTES);
	EXPECT(memcmp(memory + DISK_BYTES / 2, w.data, HELD_BYTES) == 0);
	close(w.fd);
	EXPECT(!ublk_dev_free(dev));
	free(burst);
	free(w.data);
}

/* False where there are no huge pages. */
static bool set_huge_pages(const char *how)
{
	int fd = open(THP, O_WRONLY | O_CLOEXEC);
	bool set = fd >= 0 && write(fd, how, strlen(how)) > 0;

	if (fd >= 0)
		close(fd);
	return set;
}

static void an_idle_disk_takes_little_with_huge_pages_or_without(void)
{
	static const char *const hows[] = { "always", "never" };
	struct ublk_dev *devs[DEVICES];
	long before, each;
	int fds[DEVICES], nr;

	for (size_t i = 0; i < 2; i++) {
		if (!set_huge_pages(hows[i]) && i == 0)
			continue;
		before = anonymous();
		for (nr = 0; nr < DEVICES; nr++) {
			devs[nr] = open_disk(&fds[nr]);
			REQUIRE(devs[nr]);
			close(fds[nr]);
		}
		each = (settle_below(before + DEVICES * (64l << 10)) - before) / DEVICES;
		printf("    huge pages %s: %ld KiB a disk\n", hows[i], each / 1024);
		EXPECT(each < 400 << 10);
		while (nr--)
			EXPECT(!ublk_dev_free(devs[nr]));
	}
	set_huge_pages("madvise");
}

int main(int argc, char **argv)
{
	static const struct device_test tests[] = {
		DEVICE_TEST(a_burst_gives_its_memory_back_and_every_byte_stays),
		DEVICE_TEST(a_request_that_is_held_keeps_its_data),
		DEVICE_TEST(an_idle_disk_takes_little_with_huge_pages_or_without),
	};

	/* Touched, so that what the disks hold does not count. */
	memory = malloc(DISK_BYTES);
	if (memory)
		memset(memory, 1, DISK_BYTES);
	return memory ? run_tests(tests, sizeof(tests) / sizeof(tests[0]),
				  argc > 1 ? argv[1] : NULL) != 0
		      : 1;
}
