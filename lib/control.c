// SPDX-License-Identifier: MIT
#include "control.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 32

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

int control_wait(struct control *control, unsigned int timeout_ms)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_ms * NSEC_PER_MSEC;
	int err;

	if (control->generation != control_ring_generation())
		return -ECHILD;
	err = control_ring_wait(control->command, deadline_ns);
	if (err)
		return err;
	control->pending = false;
	return control->command->result;
}

/* Where the command's own data lies in buf: behind the path, if there is one. */
static size_t fill_buf(struct control *control, const struct control_args *args)
{
	size_t path_bytes = args->by_path ? PATH_BYTES : 0;
	unsigned char *buf = control->command->buf;

	assert(path_bytes + args->len <= COMMAND_BYTES);
	if (path_bytes) {
		memset(buf, 0, path_bytes);
		snprintf((char *)buf, path_bytes, "/dev/ublkc%d", args->id);
	}
	if (args->len)
		memcpy(buf + path_bytes, args->buf, args->len);
	return path_bytes;
}

static int hand_over(struct control *control, enum abi_ctrl nr, const struct control_args *args)
{
	size_t path_bytes = fill_buf(control, args);
	struct control_command *command = control->command;
	struct abi_ctrl_cmd cmd = {
		.dev_id = (uint32_t)args->id,
		.queue_id = UINT16_MAX,
		.len = (uint16_t)(path_bytes + args->len),
		.data = args->data,
		.dev_path_len = (uint16_t)path_bytes,
	};

	command->uses_buf = cmd.len > 0;
	cmd.addr = command->uses_buf ? (uint64_t)(uintptr_t)command->buf : 0;
	return control_ring_start(command, control_op(control, nr), &cmd);
}

static int start(struct control *control, enum abi_ctrl nr, const struct control_args *args,
		 unsigned int timeout_ms)
{
	int err;

	if (control->generation != control_ring_generation())
		return -ECHILD;
	if (control->pending) {
		err = control_wait(control, timeout_ms);
		if (control->pending)
			return err;
	}
	if (failpoint(command_row(nr)->point))
		return -EIO;
	err = hand_over(control, nr, args);
	control->pending = !err;
	return err;
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
		memcpy(args->buf, control->command->buf + (args->by_path ? PATH_BYTES : 0),
		       args->len);
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
		{ -EPERM, "the ublk driver denies access: CAP_SYS_ADMIN is needed; run as root" },
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
	bool no_ring;
	int err;

	*control = (struct control){ .legacy = force_legacy };
	err = control_ring_join(&control->command, &no_ring);
	if (err == -ENOMEM && !no_ring)
		return log_error(log, err, "no memory for a control command");
	if (err)
		return no_ring ? control_say_ring(log, err) : control_say(log, err);
	control->generation = control_ring_generation();
	err = control_learn(control);
	if (!err)
		return 0;
	control_close(control);
	return control_say(log, err);
}

void control_close(struct control *control)
{
	if (control->generation == control_ring_generation())
		control_ring_leave(control->command);
	else
		free(control->command);
	*control = (struct control){ .command = NULL };
}
