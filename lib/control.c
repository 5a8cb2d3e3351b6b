// SPDX-License-Identifier: MIT
#include "control.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "ring.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_PATH "/dev/ublk-control"

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

/* Wait for the one command under way; signals do not end the wait, only the deadline does. */
static int control_wait(struct control *control, unsigned int timeout_ms)
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

static void control_prep(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&control->ring);
	struct abi_ctrl_cmd cmd = {
		.dev_id = (uint32_t)args->id,
		.queue_id = UINT16_MAX,
		.len = args->len,
		.addr = (uint64_t)(uintptr_t)args->buf,
		.data = args->data,
	};

	assert(sqe); /* one command at a time, and the ring holds four */
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = control->fd;
	sqe->cmd_op = control_op(control, nr);
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

int control_cmd(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	unsigned int timeout_ms = args->timeout_ms ? args->timeout_ms : CONTROL_TIMEOUT_MS;
	int err;

	if (control->pending) {
		err = control_wait(control, timeout_ms);
		if (err == -ETIMEDOUT)
			return err;
	}
	if (failpoint(command_row(nr)->point))
		return -EIO;
	control_prep(control, nr, args);
	err = io_uring_submit(&control->ring);
	if (err < 0)
		return err;
	control->pending = true;
	return control_wait(control, timeout_ms);
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
		{ -ENOENT, "no " CONTROL_PATH ": the kernel has no ublk driver loaded; try: "
			   "modprobe ublk_drv" },
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

int control_open(struct control *control, bool force_legacy, const struct logger *log)
{
	int err;

	*control = (struct control){ .fd = -1, .legacy = force_legacy };
	err = ring_init_control(&control->ring);
	if (err)
		return control_say_ring(log, err);
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
	io_uring_queue_exit(&control->ring);
	if (control->fd >= 0)
		close(control->fd);
	control->fd = -1;
}
