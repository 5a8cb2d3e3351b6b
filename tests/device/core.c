// SPDX-License-Identifier: MIT
/* core [FILTER]: the library on a real kernel, through nothing but ublkcore.h. */
#include "base/clock.h"
#include "harness.h"
#include "ublkcore.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_BYTES (32u << 20)

static unsigned char *memory;
static char said[2048]; /* everything logged since the last reset, a line each */
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void catch_message(void *ctx, enum ublk_log_level level, const char *message)
{
	size_t at;

	(void)ctx;
	(void)level;
	pthread_mutex_lock(&said_lock);
	at = strlen(said);
	snprintf(said + at, sizeof(said) - at, "%s\n", message);
	pthread_mutex_unlock(&said_lock);
}

static struct ublk_options usual(void)
{
	struct ublk_options o;

	ublk_options_init(&o);
	o.size_bytes = DISK_BYTES;
	o.log = catch_message;
	said[0] = '\0';
	return o;
}

/* ------------------------------------------------------------------------------ backends */

static int mem_read(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	return ublk_req_put(req, 0, memory + req->sector * 512, req->len_bytes);
}

static int mem_write(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	return ublk_req_get(req, 0, memory + req->sector * 512, req->len_bytes);
}

static int mem_nothing(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	(void)req;
	return 0;
}

static int mem_zero(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	memset(memory + req->sector * 512, 0, req->len_bytes);
	return 0;
}

static const struct ublk_backend mem = {
	.name = "mem",
	.read = mem_read,
	.write = mem_write,
	.flush = mem_nothing,
	.discard = mem_zero,
	.write_zeroes = mem_zero,
};

#define ASYNC_OPS (1u << UBLK_OP_READ | 1u << UBLK_OP_WRITE)

static int move_data(struct ublk_req *req)
{
	return req->op == UBLK_OP_READ ? mem_read(NULL, req) : mem_write(NULL, req);
}

/* ------------------------------------------------------------------------------ helpers */

static long sysfs_long(int id, const char *attr)
{
	char path[128];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/%s", id, attr);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%ld", &value) != 1)
		FAIL("%s cannot be read", path);
	if (f)
		fclose(f);
	return value;
}

static void sysfs_set(int id, const char *attr, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/%s", id, attr);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		FAIL("%s cannot be set to %s", path, value);
	if (fd >= 0)
		close(fd);
}

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

/* Threads of this process but the kernel's io_uring workers, which come and go as the kernel likes. */
static int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		char path[300], comm[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (file && fgets(comm, sizeof(comm), file))
			n += strncmp(comm, "iou-", 4) != 0;
		if (file)
			fclose(file);
	}
	if (dir)
		closedir(dir);
	return n;
}

static int open_direct(const struct ublk_dev *dev)
{
	return open(ublk_dev_path(dev), O_RDWR | O_DIRECT | O_CLOEXEC);
}

/* Write and read back @len bytes of a pattern at @offset. 0 if they come back. */
static int round_trip(int fd, size_t len, off_t offset, unsigned int salt)
{
	size_t pages = (len + 4095) / 4096 * 4096;
	unsigned char *out = aligned_alloc(4096, pages), *in = aligned_alloc(4096, pages);
	int bad;

	for (size_t i = 0; i < len; i++)
		out[i] = (unsigned char)((i * 31 + salt) >> 3);
	memset(in, 0, len);
	bad = pwrite(fd, out, len, offset) != (ssize_t)len ||
	      pread(fd, in, len, offset) != (ssize_t)len || memcmp(in, out, len);
	free(out);
	free(in);
	return bad;
}

/* One 4k read at each of @nr places at once, one thread each; wall time in ns. */
struct reader {
	pthread_t thread;
	int fd;
	off_t offset;
	int err;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	void *buf = aligned_alloc(4096, 4096);

	r->err = pread(r->fd, buf, 4096, r->offset) == 4096 ? 0 : errno;
	free(buf);
	return NULL;
}

static uint64_t read_together(int fd, unsigned int nr, int *ret_errors)
{
	struct reader *readers = calloc(nr, sizeof(*readers));
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < nr; i++) {
		readers[i] = (struct reader){ .fd = fd, .offset = (off_t)i * 4096 };
		pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]);
	}
	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(readers[i].thread, NULL);
		*ret_errors += readers[i].err != 0;
	}
	free(readers);
	return clock_now_ns() - start_ns;
}

#define BATCH_WRITERS 8
#define BATCH_WRITES  200

/* One queue: what its writes have finished, and what batch_done has told of. */
static uint64_t batch_pending[4096];
static unsigned int nr_batch_pending;
static _Atomic bool batch_told[BATCH_WRITERS * BATCH_WRITES];
static _Atomic unsigned int nr_told_late;

static int batch_write(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	batch_pending[nr_batch_pending++ % 4096] = req->sector / 8;
	return 0;
}

static void batch_over(void *ctx, unsigned int queue)
{
	(void)ctx, (void)queue;
	while (nr_batch_pending)
		batch_told[batch_pending[--nr_batch_pending]] = true;
}

static const struct ublk_backend batcher = {
	.name = "batcher", .read = mem_read, .write = batch_write, .batch_done = batch_over
};

/* Each write is told of before its writer hears of its end. */
static void *batch_writer(void *arg)
{
	struct reader *w = arg;
	void *buf = calloc(2, 4096), *page = (void *)(((uintptr_t)buf + 4095) & ~4095ull);

	for (off_t i = w->offset; i < w->offset + BATCH_WRITES; i++) {
		w->err |= pwrite(w->fd, page, 4096, i * 4096) != 4096;
		nr_told_late += !batch_told[i];
	}
	free(buf);
	return NULL;
}

/* ------------------------------------------------------------------------------ tests */

static void the_probe_finds_a_machine_that_can(void)
{
	struct ublk_probe probe;
	char text[256];

	EXPECT_EQ(ublk_probe(&probe), 0);
	EXPECT(probe.has_features);
	EXPECT(probe.ublks_max > 0);
	EXPECT_EQ(strlen(ublk_probe_text(&probe, text, sizeof(text))), 0);
}

static void options_arrive_in_the_block_layer(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	int id;

	o.logical_block = 1024;
	o.physical_block = 8192;
	o.max_io_bytes = 256 << 10;
	o.queue_depth = 32;
	o.nr_queues = 2;
	o.rotational = true;
	o.discard_granularity = 8192;
	o.max_discard_bytes = 1 << 20;
	o.max_zeroes_bytes = 2 << 20;
	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	id = ublk_dev_id(dev);
	EXPECT_EQ(sysfs_long(id, "size"), DISK_BYTES / 512);
	EXPECT_EQ(sysfs_long(id, "queue/logical_block_size"), 1024);
	EXPECT_EQ(sysfs_long(id, "queue/physical_block_size"), 8192);
	EXPECT_EQ(sysfs_long(id, "queue/max_hw_sectors_kb"), 256);
	EXPECT_EQ(sysfs_long(id, "queue/rotational"), 1);
	EXPECT_EQ(sysfs_long(id, "queue/discard_granularity"), 8192);
	EXPECT_EQ(sysfs_long(id, "queue/discard_max_hw_bytes"), 1 << 20);
	EXPECT_EQ(sysfs_long(id, "queue/write_zeroes_max_bytes"), 2 << 20);
	EXPECT_EQ(sysfs_long(id, "queue/fua"), 1);
	EXPECT_EQ(sysfs_long(id, "ro"), 0);
	EXPECT_EQ(ublk_dev_options(dev)->nr_queues, 2);
	EXPECT(!ublk_dev_free(dev));
}

static void what_a_backend_lacks_is_not_advertised(void)
{
	static const struct ublk_backend reader = { .name = "reader", .read = mem_read };
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	int id;

	REQUIRE(!ublk_dev_open(&reader, NULL, &o, &dev));
	id = ublk_dev_id(dev);
	EXPECT_EQ(sysfs_long(id, "ro"), 1);
	EXPECT_EQ(sysfs_long(id, "queue/fua"), 0);
	EXPECT_EQ(sysfs_long(id, "queue/discard_max_hw_bytes"), 0);
	EXPECT_EQ(sysfs_long(id, "queue/write_zeroes_max_bytes"), 0);
	ublk_dev_free(dev);
}

static void check_round_trips(struct ublk_options o)
{
	struct ublk_dev *dev;
	struct ublk_op_stats st;
	int fd;

	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	fd = open_direct(dev);
	EXPECT(fd >= 0);
	EXPECT_EQ(round_trip(fd, 512, 0, 1), 0);
	EXPECT_EQ(round_trip(fd, 4096, 512 * 7, 2), 0);
	EXPECT_EQ(round_trip(fd, 8 << 20, 1 << 20, 3), 0);
	EXPECT_EQ(round_trip(fd, 512, DISK_BYTES - 512, 4), 0);
	EXPECT_EQ(memory[DISK_BYTES - 512], 4 >> 3);
	close(fd);
	EXPECT_EQ(ublk_dev_op_stats(dev, -1, UBLK_OP_WRITE, &st), 0);
	EXPECT_EQ(st.bytes, 512 + 4096 + (8 << 20) + 512);
	EXPECT_EQ(st.errors, 0);
	EXPECT(st.p50_ns > 0 && st.p50_ns <= st.p99_ns && st.p99_ns <= st.max_ns);
	EXPECT_EQ(ublk_dev_close(dev), 0);
	ublk_dev_free(dev);
}

static void data_comes_back_through_the_copy_path(void)
{
	check_round_trips(usual());
}

static void data_comes_back_through_user_copy(void)
{
	struct ublk_options o = usual();

	o.data_path = UBLK_DATA_USER_COPY;
	check_round_trips(o);
}

static void data_comes_back_with_the_legacy_encoding(void)
{
	struct ublk_options o = usual();

	o.legacy_commands = true;
	check_round_trips(o);
}

static void data_comes_back_with_the_deepest_queue_and_the_largest_io(void)
{
	struct ublk_options o = usual();

	o.queue_depth = 4096;
	o.max_io_bytes = 4 << 20;
	check_round_trips(o);
	o.queue_depth = 1;
	o.max_io_bytes = 4096;
	check_round_trips(o);
}

/* The only reads of a start are those of the partition table, and open returns after them. */
static void partitions_are_there_and_the_disk_is_quiet_when_open_returns(void)
{
	/* A boot record with one partition of type 0x83: 1 MiB from 1 MiB on. */
	static const unsigned char entry[16] = { [4] = 0x83, [9] = 8, [13] = 8 };
	struct ublk_options o = usual();
	struct ublk_op_stats before, after;
	struct ublk_dev *dev;
	char node[64];

	memset(memory, 0, 4096);
	memcpy(memory + 446, entry, sizeof(entry));
	memory[510] = 0x55;
	memory[511] = 0xaa;
	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	ublk_dev_op_stats(dev, -1, UBLK_OP_READ, &before);
	snprintf(node, sizeof(node), "/sys/class/block/ublkb%dp1/start", ublk_dev_id(dev));
	EXPECT(access(node, F_OK) == 0);
	EXPECT(before.ops > 0);
	usleep(300000);
	ublk_dev_op_stats(dev, -1, UBLK_OP_READ, &after);
	EXPECT_EQ(after.ops, before.ops);
	EXPECT_EQ(ublk_dev_close(dev), 0);
	ublk_dev_free(dev);
	memset(memory, 0, 4096);
}

static void bad_options_name_the_option_and_leave_nothing(void)
{
	struct ublk_options o = usual();
	int before = count_dir("/sys/class/ublk-char");
	struct ublk_dev *dev;

	o.queue_depth = 5000;
	EXPECT_EQ(ublk_dev_open(&mem, NULL, &o, &dev), -EINVAL);
	EXPECT(strstr(said, "queue_depth is 5000"));
	EXPECT_EQ(count_dir("/sys/class/ublk-char"), before);
}

static void an_id_that_is_taken_is_refused(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev, *second;

	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	o.id = ublk_dev_id(dev);
	EXPECT_EQ(ublk_dev_open(&mem, NULL, &o, &second), -EEXIST);
	EXPECT(strstr(said, "exists already"));
	ublk_dev_free(dev);
}

static int refuse_queue(void *ctx, unsigned int queue)
{
	(void)ctx;
	return queue == 1 ? -ENOSPC : 0;
}

static void a_queue_that_cannot_start_leaves_nothing(void)
{
	static const struct ublk_backend refuser = { .name = "refuser",
						     .read = mem_read,
						     .queue_start = refuse_queue };
	struct ublk_options o = usual();
	int before = count_dir("/sys/class/ublk-char"), fds = count_dir("/proc/self/fd");
	struct ublk_dev *dev;

	o.nr_queues = 2;
	EXPECT_EQ(ublk_dev_open(&refuser, NULL, &o, &dev), -ENOSPC);
	EXPECT_EQ(count_dir("/sys/class/ublk-char"), before);
	EXPECT_EQ(count_dir("/proc/self/fd"), fds);
}

/* --- asynchronous backends --- */

#define DELAY_NS (2 * NSEC_PER_SEC)
static void delay_submit(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	if (req->op == UBLK_OP_READ && atomic_load((_Atomic int *)ctx))
		ublk_req_park(req, clock_now_ns() + DELAY_NS);
	else
		ublk_req_complete(req, move_data(req));
}

static void delay_resume(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	ublk_req_complete(req, move_data(req));
}

static void parked_requests_wait_together_not_in_turn(void)
{
	static const struct ublk_backend delayer = {
		.name = "delayer",
		.submit = delay_submit,
		.resume = delay_resume,
		.submit_ops = ASYNC_OPS,
	};
	struct ublk_options o = usual();
	static _Atomic int on;
	struct ublk_queue_stats qs;
	struct ublk_dev *dev;
	uint64_t took_ns;
	int fd, errors = 0;

	atomic_store(&on, 0);
	REQUIRE(!ublk_dev_open(&delayer, &on, &o, &dev));
	fd = open_direct(dev);
	/* Nothing may merge them: each thread's read is a request of its own. */
	sysfs_set(ublk_dev_id(dev), "queue/nomerges", "2");
	atomic_store(&on, 1);
	took_ns = read_together(fd, 32, &errors);
	atomic_store(&on, 0);
	EXPECT_EQ(errors, 0);
	EXPECT(took_ns >= DELAY_NS);
	EXPECT_EQ(ublk_dev_queue_stats(dev, 0, &qs), 0);
	EXPECT_EQ(qs.parked, 32);
	EXPECT_EQ(qs.parked_now, 0);
	/* In turn it would be 64 s; together 2 s and what the machine takes to start 32 threads. */
	EXPECT(took_ns < 32 * DELAY_NS / 2);
	close(fd);
	ublk_dev_free(dev);
}

#define REMOTE_MAX 64
static struct {
	pthread_mutex_t lock;
	pthread_cond_t some;
	struct ublk_req *held[REMOTE_MAX];
	unsigned int nr;
	bool stop;
} remote = { .lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER };

static void remote_submit(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	pthread_mutex_lock(&remote.lock);
	remote.held[remote.nr++] = req;
	pthread_cond_signal(&remote.some);
	pthread_mutex_unlock(&remote.lock);
}

static void *remote_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&remote.lock);
	while (!remote.stop || remote.nr) {
		struct ublk_req *req;

		if (!remote.nr) {
			pthread_cond_wait(&remote.some, &remote.lock);
			continue;
		}
		req = remote.held[--remote.nr];
		pthread_mutex_unlock(&remote.lock);
		ublk_req_complete(req, move_data(req));
		pthread_mutex_lock(&remote.lock);
	}
	pthread_mutex_unlock(&remote.lock);
	return NULL;
}

static void requests_complete_from_any_thread(void)
{
	static const struct ublk_backend remoter = {
		.name = "remoter",
		.submit = remote_submit,
		.submit_ops = ASYNC_OPS,
	};
	struct ublk_options o = usual();
	pthread_t threads[3];
	struct ublk_dev *dev;
	int fd, errors = 0;

	o.nr_queues = 2;
	o.queue_depth = REMOTE_MAX / 2;
	remote.stop = false;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, remote_main, NULL);
	if (!ublk_dev_open(&remoter, NULL, &o, &dev)) {
		fd = open_direct(dev);
		EXPECT_EQ(round_trip(fd, 8 << 20, 0, 5), 0);
		for (int i = 0; i < 20; i++)
			read_together(fd, 16, &errors);
		EXPECT_EQ(errors, 0);
		close(fd);
		EXPECT_EQ(ublk_dev_close(dev), 0);
		ublk_dev_free(dev);
	} else {
		FAIL("open: %s", said);
	}
	pthread_mutex_lock(&remote.lock);
	remote.stop = true;
	pthread_cond_broadcast(&remote.some);
	pthread_mutex_unlock(&remote.lock);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* --- backends that break the contract --- */

/* Well-behaved until armed: dying in the middle of START_DEV is another story, and the kernel's. */
static struct {
	_Atomic bool armed;
	int result;
} abuse;

static void twice_submit(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	if (!atomic_load(&abuse.armed)) {
		ublk_req_complete(req, move_data(req));
		return;
	}
	ublk_req_complete(req, abuse.result > 0 ? abuse.result : move_data(req));
	ublk_req_complete(req, 0);
}

static _Noreturn void abuse_child(int err_fd, int path_fd, int result)
{
	static const struct ublk_backend twice = {
		.name = "twice",
		.submit = twice_submit,
		.submit_ops = ASYNC_OPS,
	};
	struct ublk_options o = usual();
	struct ublk_dev *dev;

	dup2(err_fd, STDERR_FILENO);
	signal(SIGABRT, SIG_DFL);
	abuse.result = result;
	if (ublk_dev_open(&twice, NULL, &o, &dev))
		_exit(1);
	atomic_store(&abuse.armed, true);
	if (write(path_fd, ublk_dev_path(dev), strlen(ublk_dev_path(dev)) + 1) > 0)
		pause();
	_exit(1);
}

/*
 * In a child, because it must die: with SIGABRT, and a line that names backend and request. The
 * reader is another process: one that dies while it reads its own disk waits for itself.
 */
static void expect_blame(int result, const char *words)
{
	char line[512] = "", path[32] = "";
	void *buf = aligned_alloc(4096, 4096);
	int err_fds[2], path_fds[2], fd, status;
	pid_t pid;

	REQUIRE(pipe2(err_fds, O_CLOEXEC) == 0 && pipe2(path_fds, O_CLOEXEC) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		abuse_child(err_fds[1], path_fds[1], result);
	close(err_fds[1]);
	close(path_fds[1]);
	REQUIRE(read(path_fds[0], path, sizeof(path) - 1) > 0);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	EXPECT(pread(fd, buf, 4096, 0) != 4096); /* an error, or the end of a dead disk */
	close(fd);
	if (read(err_fds[0], line, sizeof(line) - 1) <= 0 || !strstr(line, words) ||
	    !strstr(line, "backend \"twice\""))
		FAIL("it said: %s", line);
	close(err_fds[0]);
	close(path_fds[0]);
	free(buf);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	EXPECT_EQ(ublk_gc(catch_message, NULL), 1);
}

static void completing_twice_is_blamed_on_the_backend(void)
{
	expect_blame(0, "completed twice");
}

static void a_positive_result_is_blamed_on_the_backend(void)
{
	expect_blame(4096, "neither 0 nor -errno (4096)");
}

/* --- closing --- */

static void batch_done_comes_before_anyone_can_know(void)
{
	struct reader writers[BATCH_WRITERS];
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	int fd;

	REQUIRE(!ublk_dev_open(&batcher, NULL, &o, &dev));
	fd = open_direct(dev);
	sysfs_set(ublk_dev_id(dev), "queue/nomerges", "2");
	for (unsigned int i = 0; i < BATCH_WRITERS; i++) {
		writers[i] = (struct reader){ .fd = fd, .offset = i * BATCH_WRITES };
		pthread_create(&writers[i].thread, NULL, batch_writer, &writers[i]);
	}
	for (unsigned int i = 0; i < BATCH_WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		EXPECT_EQ(writers[i].err, 0);
	}
	close(fd);
	EXPECT_EQ(nr_told_late, 0);
	ublk_dev_free(dev);
}

static void close_is_idempotent_and_free_takes_null(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;

	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	EXPECT_EQ(ublk_dev_close(dev), 0);
	EXPECT_EQ(ublk_dev_close(dev), 0);
	EXPECT_EQ(ublk_dev_wait(dev, 0), 0);
	EXPECT(!ublk_dev_free(dev));
	EXPECT(!ublk_dev_free(NULL));
}

static void close_while_open_names_the_holder_and_serves_on(void)
{
	struct ublk_options o = usual();
	struct ublk_holder holders[4];
	struct ublk_dev *dev;
	char pid[32];
	int fd;

	o.close_timeout_ms = 200;
	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	fd = open_direct(dev);
	EXPECT_EQ(ublk_dev_close(dev), -EBUSY);
	snprintf(pid, sizeof(pid), "(pid %d)", getpid());
	if (!strstr(said, pid) || !strstr(said, ublk_dev_path(dev)))
		FAIL("it said: %s", said);
	EXPECT_EQ(ublk_holders(ublk_dev_id(dev), holders, 4), 1);
	EXPECT_EQ(holders[0].pid, getpid());
	EXPECT_EQ(round_trip(fd, 4096, 0, 6), 0);
	close(fd);
	EXPECT_EQ(ublk_dev_close(dev), 0);
	ublk_dev_free(dev);
}

static void free_while_open_gives_the_holder_errors(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	char *buf = aligned_alloc(4096, 4096);
	int fd, id;

	o.close_timeout_ms = 100;
	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	id = ublk_dev_id(dev);
	fd = open_direct(dev);
	ublk_dev_free(dev);
	EXPECT(pread(fd, buf, 4096, 0) != 4096); /* an error, or the end of a dead disk */
	close(fd);
	/* The kernel deletes it once the last holder has gone. */
	for (int ms = 0; ms < PATIENCE_MS && ublk_delete(id, NULL, NULL) != -ENODEV; ms += 50)
		usleep(50000);
	EXPECT_EQ(ublk_delete(id, NULL, NULL), -ENODEV);
	free(buf);
}

static void hang_submit(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	if (req->op == UBLK_OP_READ && atomic_load((_Atomic int *)ctx))
		ublk_req_park(req, UINT64_MAX);
	else
		ublk_req_complete(req, move_data(req));
}

static void free_releases_what_is_parked_for_ever(void)
{
	static const struct ublk_backend hanger = {
		.name = "hanger",
		.submit = hang_submit,
		.resume = delay_resume,
		.submit_ops = ASYNC_OPS,
	};
	static _Atomic int on;
	struct ublk_options o = usual();
	struct ublk_queue_stats qs = { 0 };
	struct reader r = { .offset = 8192 };
	struct ublk_dev *dev;

	o.close_timeout_ms = 100;
	atomic_store(&on, 0);
	REQUIRE(!ublk_dev_open(&hanger, &on, &o, &dev));
	r.fd = open_direct(dev);
	atomic_store(&on, 1);
	pthread_create(&r.thread, NULL, reader_main, &r);
	for (int ms = 0; ms < PATIENCE_MS && !qs.parked_now; ms += 10) {
		usleep(10000);
		ublk_dev_queue_stats(dev, 0, &qs);
	}
	EXPECT_EQ(qs.parked_now, 1);
	ublk_dev_free(dev);
	pthread_join(r.thread, NULL);
	EXPECT_EQ(r.err, 0);
	close(r.fd);
}

static void a_device_deleted_by_someone_else_is_noticed(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	char id[16];
	int status;
	pid_t pid;

	REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
	EXPECT_EQ(ublk_dev_wait(dev, 0), -ETIMEDOUT);
	snprintf(id, sizeof(id), "%d", ublk_dev_id(dev));
	/* A program of its own: a mere fork would hold our half of the device as we do. */
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "core", "--delete", id, NULL);
		_exit(127);
	}
	EXPECT_EQ(ublk_dev_wait(dev, PATIENCE_MS), 0);
	ublk_dev_free(dev);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

static void hundreds_of_cycles_leave_nothing_behind(void)
{
	int fds = count_dir("/proc/self/fd"), threads = count_threads();
	int devices = count_dir("/sys/class/ublk-char");
	int cycles = getenv("CYCLES") ? atoi(getenv("CYCLES")) : 200;

	for (int i = 0; i < cycles && !test_failed; i++) {
		struct ublk_options o = usual();
		struct ublk_dev *dev;
		int fd;

		o.nr_queues = 1 + (unsigned int)i % 2;
		o.data_path = i % 4 == 3 ? UBLK_DATA_USER_COPY : UBLK_DATA_COPY;
		REQUIRE(!ublk_dev_open(&mem, NULL, &o, &dev));
		fd = open_direct(dev);
		EXPECT_EQ(round_trip(fd, 65536, (i % 8) * 65536, (unsigned int)i), 0);
		close(fd);
		EXPECT_EQ(ublk_dev_close(dev), 0);
		ublk_dev_free(dev);
	}
	EXPECT_EQ(count_dir("/proc/self/fd"), fds);
	EXPECT_EQ(count_dir("/sys/class/ublk-char"), devices);
	EXPECT_EQ(count_threads(), threads);
	/* Workers leave some time after their ring. */
	for (int ms = 0; ms < PATIENCE_MS && count_dir("/proc/self/task") > threads + 10; ms += 20)
		usleep(20000);
	EXPECT(count_dir("/proc/self/task") <= threads + 10);
}

/*
 * One more than the driver's parameter ublks_max, which limits the devices of unprivileged users
 * only: a root's 65th device is one like the others.
 */
static void sixty_five_devices_serve_at_once(void)
{
	struct ublk_dev *devs[65] = { NULL };
	struct ublk_dev_entry entries[80];
	int n = 0, fd;

	for (; n < 65 && !test_failed; n++) {
		struct ublk_options o = usual();

		o.queue_depth = 4;
		EXPECT_EQ(ublk_dev_open(&mem, NULL, &o, &devs[n]), 0);
	}
	EXPECT_EQ(ublk_list(entries, 80), 65);
	EXPECT(entries[64].ours && !entries[64].owner_gone && entries[64].state == UBLK_DEV_LIVE);
	EXPECT_EQ(entries[64].owner_pid, getpid());
	EXPECT_EQ(entries[64].size_bytes, DISK_BYTES);
	if (devs[64]) {
		fd = open_direct(devs[64]);
		EXPECT_EQ(round_trip(fd, 65536, 0, 65), 0);
		close(fd);
	}
	for (int i = 0; i < n; i++)
		ublk_dev_free(devs[i]);
	EXPECT_EQ(ublk_list(entries, 80), 0);
}

static void without_permission_nothing_is_made(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct ublk_options o = usual();
		struct ublk_probe probe;
		struct ublk_dev *dev;
		bool good = setuid(65534) == 0 && ublk_probe(&probe) != 0 &&
			    ublk_dev_open(&mem, NULL, &o, &dev) == -EPERM && strstr(said, "root");

		_exit(good ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
}

static void without_io_uring_the_message_says_so(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "w");

	REQUIRE(f);
	fprintf(f, "2\n");
	fclose(f);
	EXPECT_EQ(ublk_dev_open(&mem, NULL, &o, &dev), -EPERM);
	EXPECT(strstr(said, "io_uring is disabled"));
	f = fopen("/proc/sys/kernel/io_uring_disabled", "w");
	REQUIRE(f);
	fprintf(f, "0\n");
	fclose(f);
}

int main(int argc, char **argv)
{
	const struct device_test tests[] = {
		DEVICE_TEST(the_probe_finds_a_machine_that_can),
		DEVICE_TEST(options_arrive_in_the_block_layer),
		DEVICE_TEST(what_a_backend_lacks_is_not_advertised),
		DEVICE_TEST(data_comes_back_through_the_copy_path),
		DEVICE_TEST(data_comes_back_through_user_copy),
		DEVICE_TEST(data_comes_back_with_the_legacy_encoding),
		DEVICE_TEST(data_comes_back_with_the_deepest_queue_and_the_largest_io),
		DEVICE_TEST(partitions_are_there_and_the_disk_is_quiet_when_open_returns),
		DEVICE_TEST(bad_options_name_the_option_and_leave_nothing),
		DEVICE_TEST(an_id_that_is_taken_is_refused),
		DEVICE_TEST(a_queue_that_cannot_start_leaves_nothing),
		DEVICE_TEST(parked_requests_wait_together_not_in_turn),
		DEVICE_TEST(requests_complete_from_any_thread),
		DEVICE_TEST(batch_done_comes_before_anyone_can_know),
		DEVICE_TEST(completing_twice_is_blamed_on_the_backend),
		DEVICE_TEST(a_positive_result_is_blamed_on_the_backend),
		DEVICE_TEST(close_is_idempotent_and_free_takes_null),
		DEVICE_TEST(close_while_open_names_the_holder_and_serves_on),
		DEVICE_TEST(free_while_open_gives_the_holder_errors),
		DEVICE_TEST(free_releases_what_is_parked_for_ever),
		DEVICE_TEST(a_device_deleted_by_someone_else_is_noticed),
		DEVICE_TEST(hundreds_of_cycles_leave_nothing_behind),
		DEVICE_TEST(sixty_five_devices_serve_at_once),
		DEVICE_TEST(without_permission_nothing_is_made),
		DEVICE_TEST(without_io_uring_the_message_says_so),
	};

	if (argc == 3 && !strcmp(argv[1], "--delete"))
		return ublk_delete(atoi(argv[2]), ublk_log_stderr, NULL) != 0;
	memory = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL) != 0;
}
