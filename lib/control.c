// SPDX-License-Identifier: MIT
#include "control.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "ring.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONTROL_PATH "/dev/ublk-control"
#define BUF_BYTES    4096 /* a node's path, and the longest answer behind it */
#define PATH_BYTES   32

/* Controls that were closed while the kernel could still read or write their memory. */
struct left {
	struct control control;
	struct left *next;
};
static struct left *left_behind;
static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;

struct command_row {
	enum abi_ctrl nr;
	const char *name;
	bool reads_only; /* _IOR in the ioctl encoding, else _IOWR */
	const char *point;
};

static const struct command_row commands[] = {
	{ ABI_GET_QUEUE_AFFINITY, "GET_QUEUE_AFFINITY", true, "lib/control/get-queue-affinity" },
	{ ABI_GET_DEV_INFO, "GET_DEV_INFO", true, "lib/control/get-dev-info" },
	{ ABI_ADD_DEV, "ADD_DEV", false, "lib/control/add-dev" },
	{ ABI_DEL_DEV, "DEL_DEV", false, "lib/control/del-dev" },
	{ ABI_START_DEV, "START_DEV", false, "lib/control/start-dev" },
	{ ABI_STOP_DEV, "STOP_DEV", false, "lib/control/stop-dev" },
	{ ABI_SET_PARAMS, "SET_PARAMS", false, "lib/control/set-params" },
	{ ABI_GET_PARAMS, "GET_PARAMS", true, "lib/control/get-params" },
	{ ABI_GET_DEV_INFO2, "GET_DEV_INFO2", true, "lib/control/get-dev-info2" },
	{ ABI_GET_FEATURES, "GET_FEATURES", true, "lib/control/get-features" },
	{ ABI_TRY_STOP_DEV, "TRY_STOP_DEV", false, "lib/control/try-stop-dev" },
};

static const struct command_row *command_row(enum abi_ctrl nr)
{
	const struct command_row *row = commands;

	while (row->nr != nr)
		row++;
	return row;
}

const char *control_name(enum abi_ctrl nr)
{
	return command_row(nr)->name;
}

static uint32_t control_op(const struct control *control, enum abi_ctrl nr)
{
	if (control->legacy)
		return nr;
	return command_row(nr)->reads_only ? ABI_IOCTL_R(nr) : ABI_IOCTL_RW(nr);
}

uint32_t control_io_op(const struct control *control, enum abi_io_nr nr)
{
	return control->legacy ? (uint32_t)nr : ABI_IOCTL_IO(nr);
}

/* Signals do not end the wait, only the deadline does. */
int control_wait(struct control *control, unsigned int timeout_ms)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	struct io_uring_cqe *cqe;
	int err, res;

	do {
		uint64_t now_ns = clock_now_ns();
		uint64_t left_ns = now_ns < deadline_ns ? deadline_ns - now_ns : 0;
		struct __kernel_timespec ts = {
			.tv_sec = (int64_t)(left_ns / NSEC_PER_SEC),
			.tv_nsec = (int64_t)(left_ns % NSEC_PER_SEC),
		};

		err = io_uring_wait_cqe_timeout(&control->ring, &cqe, &ts);
	} while (err == -EINTR);
	if (err == -ETIME)
		err = -ETIMEDOUT;
	if (err)
		return err;
	res = cqe->res;
	io_uring_cqe_seen(&control->ring, cqe);
	control->pending = false;
	return res;
}

/* Where the command's own data lies in buf: behind the path, if there is one. */
static size_t fill_buf(struct control *control, const struct control_args *args)
{
	size_t path_bytes = args->by_path ? PATH_BYTES : 0;

	assert(path_bytes + args->len <= BUF_BYTES);
	if (path_bytes) {
		memset(control->buf, 0, path_bytes);
		snprintf((char *)control->buf, path_bytes, "/dev/ublkc%d", args->id);
	}
	if (args->len)
		memcpy(control->buf + path_bytes, args->buf, args->len);
	return path_bytes;
}

static void control_prep(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&control->ring);
	size_t path_bytes = fill_buf(control, args);
	struct abi_ctrl_cmd cmd = {
		.dev_id = (uint32_t)args->id,
		.queue_id = UINT16_MAX,
		.len = (uint16_t)(path_bytes + args->len),
		.data = args->data,
		.dev_path_len = (uint16_t)path_bytes,
	};

	control->uses_buf = cmd.len > 0;
	cmd.addr = control->uses_buf ? (uint64_t)(uintptr_t)control->buf : 0;
	assert(sqe); /* one command at a time, and the ring holds four */
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = control->fd;
	sqe->cmd_op = control_op(control, nr);
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

static int start(struct control *control, enum abi_ctrl nr, const struct control_args *args,
		 unsigned int timeout_ms)
{
	int err;

	if (control->pending) {
		err = control_wait(control, timeout_ms);
		if (control->pending)
			return err;
	}
	if (failpoint(command_row(nr)->point))
		return -EIO;
	control_prep(control, nr, args);
	err = io_uring_submit(&control->ring);
	if (err < 0)
		return err;
	control->pending = true;
	return 0;
}

int control_start(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	return start(control, nr, args, CONTROL_TIMEOUT_MS);
}

int control_cmd(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	unsigned int timeout_ms = args->timeout_ms ? args->timeout_ms : CONTROL_TIMEOUT_MS;
	int err = start(control, nr, args, timeout_ms);

	if (err)
		return err;
	err = control_wait(control, timeout_ms);
	if (err >= 0 && args->len)
		memcpy(args->buf, control->buf + (args->by_path ? PATH_BYTES : 0), args->len);
	return err;
}

/*
 * Devices of users are named by their node, to let the kernel see who may; that is allowed for
 * every device, by the command that came with such devices (6.3).
 */
int control_dev_info(struct control *control, int id, struct abi_dev_info *ret_info)
{
	struct abi_dev_info info = { 0 };
	struct control_args args = { .id = id, .buf = &info, .len = sizeof(info), .by_path = true };
	int err = control_cmd(control, ABI_GET_DEV_INFO2, &args);

	/* The node may be missing where the device is not, and before 6.3 the command is. */
	if (err < 0 && err != -ENODEV && err != -ETIMEDOUT) {
		args.by_path = false;
		err = control_cmd(control, ABI_GET_DEV_INFO, &args);
	}
	if (err < 0)
		return err;
	*ret_info = info;
	return 0;
}

/*
 * Kernels before 6.4 know only the legacy encoding, and kernels may be built without it, so ask in
 * the modern one first. GET_FEATURES came a release after the encoding; without it nothing is known
 * of the features, and ADD_DEV's answer has to tell.
 */
static int control_learn(struct control *control)
{
	struct control_args args = {
		.id = -1,
		.buf = &control->features,
		.len = sizeof(control->features),
	};
	int err;

	if (control->legacy)
		return 0;
	err = control_cmd(control, ABI_GET_FEATURES, &args);
	if (err >= 0) {
		control->has_features = true;
		control->legacy = !(control->features & ABI_F_CMD_IOCTL_ENCODE);
		return 0;
	}
	if (err == -EPERM || err == -EACCES || err == -ETIMEDOUT)
		return err;
	control->legacy = true;
	return 0;
}

static int control_say(const struct logger *log, int err)
{
	static const struct {
		int err;
		const char *text;
	} rows[] = {
		{ -ENOENT,
		  "no " CONTROL_PATH ": the ublk driver is not loaded (modprobe ublk_drv), "
		  "or the kernel has none" },
		{ -ENODEV, CONTROL_PATH " has no driver behind it; try: modprobe ublk_drv" },
		{ -EACCES, "no permission to open " CONTROL_PATH ": run as root" },
		{ -EPERM, "the ublk driver refused us: CAP_SYS_ADMIN is needed; run as root" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].err == err)
			return log_error(log, err == -EACCES ? -EPERM : err, "%s", rows[i].text);
	return log_error(log, err, "%s: %s", CONTROL_PATH, strerror(-err));
}

static int control_say_ring(const struct logger *log, int err)
{
	if (err == -EPERM)
		return log_error(
			log, err,
			"io_uring is disabled for this process (sysctl kernel.io_uring_disabled, "
			"or a seccomp filter); try: sysctl kernel.io_uring_disabled=0");
	if (err == -ENOSYS)
		return log_error(log, err,
				 "this kernel has no io_uring, or a seccomp filter hides it");
	return log_error(log, err, "setting up io_uring: %s", strerror(-err));
}

static void release(struct control *control)
{
	io_uring_queue_exit(&control->ring);
	if (control->fd >= 0)
		close(control->fd);
	control->fd = -1;
	munmap(control->buf, BUF_BYTES);
	control->buf = NULL;
}

/* Free those whose command has been answered meanwhile. */
static void sweep_left(void)
{
	struct io_uring_cqe *cqe;

	pthread_mutex_lock(&left_lock);
	for (struct left **at = &left_behind, *left; (left = *at);) {
		if (io_uring_peek_cqe(&left->control.ring, &cqe)) {
			at = &left->next;
			continue;
		}
		*at = left->next;
		release(&left->control);
		free(left);
	}
	pthread_mutex_unlock(&left_lock);
}

/* Without memory to remember it by it is never freed: the kernel may write to it. */
static void leave_behind(struct control *control)
{
	struct left *left = malloc(sizeof(*left));

	if (!left)
		return;
	left->control = *control;
	pthread_mutex_lock(&left_lock);
	left->next = left_behind;
	left_behind = left;
	pthread_mutex_unlock(&left_lock);
}

int control_open(struct control *control, bool force_legacy, const struct logger *log)
{
	int err;

	sweep_left();
	*control = (struct control){ .fd = -1, .legacy = force_legacy };
	control->buf = fail_value(
		"lib/control/buffer", MAP_FAILED,
		mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (control->buf == MAP_FAILED)
		return log_error(log, -ENOMEM, "no memory for a control command");
	err = ring_init_control(&control->ring);
	if (err) {
		munmap(control->buf, BUF_BYTES);
		return control_say_ring(log, err);
	}
	control->fd =
		fail_errno("lib/control/open", EMFILE, open(CONTROL_PATH, O_RDWR | O_CLOEXEC));
	if (control->fd < 0) {
		err = -errno;
		goto fail;
	}
	err = control_learn(control);
	if (err)
		goto fail;
	return 0;

fail:
	control_close(control);
	return control_say(log, err);
}

void control_close(struct control *control)
{
	if (control->pending)
		control_wait(control, 0);
	if (control->pending && control->uses_buf)
		leave_behind(control);
	else
		release(control);
	*control = (struct control){ .fd = -1 };
}
