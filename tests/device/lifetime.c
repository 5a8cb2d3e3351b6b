// SPDX-License-Identifier: MIT
/*
 * lifetime [FILTER]: a device's end on a real kernel: what is held, kept, forked and shared meanwhile.
 * tests/unit/lib/test_lifetime.c has the same without a kernel, and with threads held up.
 */
#include "base/clock.h"
#include "harness.h"
#include "lib/abi.h"
#include "ublkcore.h"

#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_MAX  64
#define LEN       4096
#define WAIT_NS   PATIENCE_NS
#define NOBODY_ID 65534

static char said[4096];
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void catch_message(void *ctx, enum ublk_log_level level, const char *message)
{
	size_t at;

	(void)ctx, (void)level;
	pthread_mutex_lock(&said_lock);
	at = strlen(said);
	snprintf(said + at, sizeof(said) - at, "%s\n", message);
	pthread_mutex_unlock(&said_lock);
}

#define EXPECT_SAID(words)                                                                         \
	do {                                                                                       \
		if (!strstr(said, words))                                                          \
			FAIL("\"%s\" is not in: %s", words, said);                                 \
	} while (0)

/* ------------------------------------------------------------------------------ a backend that keeps */

static struct {
	pthread_mutex_t lock;
	struct ublk_req *kept[KEPT_MAX];
	_Atomic unsigned int nr;
	_Atomic bool keeps;
} keeper = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int answer(struct ublk_req *req)
{
	static const unsigned char zeroes[1 << 20];

	return req->op == UBLK_OP_READ ? ublk_req_put(req, 0, zeroes, req->len_bytes) : 0;
}

static void keep(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	if (!atomic_load(&keeper.keeps)) {
		ublk_req_complete(req, answer(req));
		return;
	}
	pthread_mutex_lock(&keeper.lock);
	keeper.kept[keeper.nr++] = req;
	pthread_mutex_unlock(&keeper.lock);
}

static const struct ublk_backend backend = {
	.name = "keeper",
	.submit = keep,
	.submit_ops = 1u << UBLK_OP_READ | 1u << UBLK_OP_WRITE,
};

/* The newest first. */
static void complete_kept(void)
{
	pthread_mutex_lock(&keeper.lock);
	while (keeper.nr) {
		struct ublk_req *req = keeper.kept[--keeper.nr];

		ublk_req_complete(req, answer(req));
	}
	pthread_mutex_unlock(&keeper.lock);
}

static struct ublk_options usual(void)
{
	struct ublk_options o;

	ublk_options_init(&o);
	o.size_bytes = 1 << 20;
	o.close_timeout_ms = 200;
	o.log = catch_message;
	said[0] = '\0';
	atomic_store(&keeper.keeps, false);
	return o;
}

/* A child that has what it needs from us, and nothing of the library. Its pid. */
static pid_t spawn(void (*run)(const char *arg), const char *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(arg);
		_exit(0);
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Reading children are programs of their own: what is forked holds our half of the disk. */
static pid_t reader_of(const struct ublk_dev *dev, const char *skip)
{
	char from[64], at[32];
	pid_t pid;

	snprintf(from, sizeof(from), "if=%s", ublk_dev_path(dev));
	snprintf(at, sizeof(at), "skip=%s", skip);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execlp("dd", "dd", from, at, "of=/dev/null", "bs=4k", "count=1", "iflag=direct",
		       "status=none", NULL);
		_exit(127);
	}
	return pid;
}

static bool wait_kept(unsigned int nr)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;

	while (keeper.nr < nr && clock_now_ns() < until_ns)
		usleep(10000);
	return keeper.nr >= nr;
}

static bool wait_absent(int id)
{
	uint64_t until_ns = clock_now_ns() + WAIT_NS;
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/ublk-char/ublkc%d", id);
	while (access(path, F_OK) == 0 && clock_now_ns() < until_ns)
		usleep(10000);
	return access(path, F_OK) < 0;
}

/* ------------------------------------------------------------------------------ kept requests */

static void check_kept(enum ublk_data_path path, unsigned int depth)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	pid_t readers[3];
	int id;

	o.data_path = path;
	o.queue_depth = depth;
	REQUIRE(!ublk_dev_open(&backend, NULL, &o, &dev));
	id = ublk_dev_id(dev);
	atomic_store(&keeper.keeps, true);
	readers[0] = reader_of(dev, "0");
	readers[1] = reader_of(dev, "20");
	readers[2] = reader_of(dev, "40");
	EXPECT(wait_kept(depth < 3 ? depth : 3));
	/* Refused: they are still there, and still kept. */
	EXPECT_EQ(ublk_dev_close(dev), -EBUSY);
	EXPECT_EQ(keeper.nr, depth < 3 ? depth : 3);
	EXPECT(!ublk_dev_free(dev));
	EXPECT_SAID("backend \"keeper\" has not finished");
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(end_of(readers[i]), 1);
	/* Long after: their memory is what the sanitizer watches. */
	complete_kept();
	EXPECT(wait_absent(id));
}

static void kept_requests_fail_with_the_disk_and_are_completed_after_it(void)
{
	check_kept(UBLK_DATA_COPY, 128);
}

static void with_user_copy_too(void)
{
	check_kept(UBLK_DATA_USER_COPY, 128);
}

static void a_queue_whose_every_tag_is_kept_can_be_freed(void)
{
	check_kept(UBLK_DATA_COPY, 1);
}

static void *complete_soon(void *arg)
{
	(void)arg;
	usleep(100000);
	complete_kept();
	return NULL;
}

static void what_is_completed_in_time_succeeds(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	pthread_t thread;
	pid_t reader;

	o.close_timeout_ms = 60000;
	REQUIRE(!ublk_dev_open(&backend, NULL, &o, &dev));
	atomic_store(&keeper.keeps, true);
	reader = reader_of(dev, "0");
	EXPECT(wait_kept(1));
	pthread_create(&thread, NULL, complete_soon, NULL);
	/* Unforced: it waits for the reader, too. */
	EXPECT_EQ(ublk_dev_close(dev), 0);
	EXPECT_EQ(end_of(reader), 0);
	pthread_join(thread, NULL);
	ublk_dev_free(dev);
}

/* ------------------------------------------------------------------------------ closing */

static void *close_main(void *dev)
{
	return (void *)(intptr_t)ublk_dev_close(dev);
}

static void eight_threads_close_it_once(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	pthread_t threads[8];
	void *err;

	REQUIRE(!ublk_dev_open(&backend, NULL, &o, &dev));
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, close_main, dev);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], &err);
		EXPECT_EQ((intptr_t)err, 0);
	}
	ublk_dev_free(dev);
}

static _Atomic bool over;

static void *kick_main(void *dev)
{
	struct ublk_op_stats stats;

	while (!atomic_load(&over)) {
		ublk_dev_kick(dev);
		ublk_dev_op_stats(dev, -1, UBLK_OP_READ, &stats);
		usleep(200); /* the queue shall get round to something else, too */
	}
	return NULL;
}

static void kicks_go_on_while_it_is_closed(void)
{
	for (int i = 0; i < 3; i++) {
		struct ublk_options o = usual();
		struct ublk_dev *dev;
		pthread_t thread;

		REQUIRE(!ublk_dev_open(&backend, NULL, &o, &dev));
		atomic_store(&over, false);
		pthread_create(&thread, NULL, kick_main, dev);
		EXPECT_EQ(ublk_dev_close(dev), 0);
		atomic_store(&over, true);
		pthread_join(thread, NULL);
		ublk_dev_free(dev);
	}
}

static void sleep_long(const char *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void a_forked_child_is_named_as_who_keeps_the_disk(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	char words[64];
	pid_t child;
	int id;

	REQUIRE(!ublk_dev_open(&backend, NULL, &o, &dev));
	id = ublk_dev_id(dev);
	child = spawn(sleep_long, NULL);
	EXPECT_EQ(ublk_dev_close(dev), -ETIMEDOUT);
	snprintf(words, sizeof(words), "(pid %d), which has the server's half of it open", child);
	EXPECT_SAID(words);
	ublk_dev_free(dev);
	kill(child, SIGKILL);
	end_of(child);
	EXPECT(wait_absent(id));
}

/* ------------------------------------------------------------------------------ others' devices */

/* As the user `nobody` makes a device and leaves it there; the id comes through the exit status. */
static void add_as_user(const char *arg)
{
	struct abi_dev_info info = { .nr_hw_queues = 1,
				     .queue_depth = 4,
				     .max_io_buf_bytes = 65536,
				     .dev_id = (uint32_t)atoi(arg),
				     .flags = ABI_F_UNPRIVILEGED_DEV | ABI_F_CMD_IOCTL_ENCODE };
	struct abi_ctrl_cmd cmd = { .dev_id = info.dev_id,
				    .queue_id = UINT16_MAX,
				    .len = sizeof(info),
				    .addr = (uintptr_t)&info };
	struct io_uring ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int fd;

	if (setgid(NOBODY_ID) || setuid(NOBODY_ID))
		_exit(1);
	fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	if (fd < 0 || io_uring_queue_init(4, &ring, IORING_SETUP_SQE128))
		_exit(2);
	sqe = io_uring_get_sqe(&ring);
	if (!sqe)
		_exit(2);
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = ABI_IOCTL_RW(ABI_ADD_DEV);
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
	io_uring_submit(&ring);
	if (io_uring_wait_cqe(&ring, &cqe) || cqe->res < 0)
		_exit(3);
	_exit(0);
}

static void root_sees_and_deletes_the_devices_of_users(void)
{
	struct ublk_dev_entry entries[4];

	EXPECT_EQ(ublk_delete(77, catch_message, NULL), -ENODEV);
	EXPECT_SAID("there is no ublk device 77");
	chmod("/dev/ublk-control", 0666);
	EXPECT_EQ(end_of(spawn(add_as_user, "77")), 0);
	chmod("/dev/ublk-control", 0600);
	EXPECT_EQ(ublk_list(entries, 4), 1);
	EXPECT_EQ(entries[0].id, 77);
	EXPECT(!entries[0].ours && !entries[0].owner_gone);
	/* It is not ours to sweep, and it can be deleted by name. */
	EXPECT_EQ(ublk_gc(catch_message, NULL), 0);
	EXPECT_EQ(ublk_delete(77, catch_message, NULL), 0);
	EXPECT_EQ(ublk_list(entries, 4), 0);
}

int main(int argc, char **argv)
{
	const struct device_test tests[] = {
		DEVICE_TEST(kept_requests_fail_with_the_disk_and_are_completed_after_it),
		DEVICE_TEST(with_user_copy_too),
		DEVICE_TEST(a_queue_whose_every_tag_is_kept_can_be_freed),
		DEVICE_TEST(what_is_completed_in_time_succeeds),
		DEVICE_TEST(eight_threads_close_it_once),
		DEVICE_TEST(kicks_go_on_while_it_is_closed),
		DEVICE_TEST(a_forked_child_is_named_as_who_keeps_the_disk),
		DEVICE_TEST(root_sees_and_deletes_the_devices_of_users),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL) != 0;
}
