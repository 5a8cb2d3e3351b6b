/* SPDX-License-Identifier: MIT */
/*
 * Control commands to the ublk driver, one at a time for each struct control; all of them go
 * through the process's one ring (control_ring.h), so that one thread may wait for the end of a
 * device while others open theirs.
 *
 * Every command has a deadline. One that passes it stays pending in the kernel; the next command
 * first waits for it. What the kernel reads and writes for a command lies in memory of this room,
 * never in the caller's, and stays there until the kernel is done with it, even if the control is
 * closed before: see control_close().
 */
#ifndef LIB_CONTROL_H
#define LIB_CONTROL_H

#include "abi.h"
#include "control_ring.h"
#include "log.h"

#include <stdbool.h>

#define CONTROL_TIMEOUT_MS 30000 /* for commands that the kernel answers by itself */

struct control {
	struct control_command *command;
	unsigned int generation; /* of the ring */
	bool legacy;             /* the encoding of kernels before 6.4 */
	bool pending;            /* a command is under way */
	uint64_t features;
	bool has_features;
};

struct control_args {
	int id;
	void *buf;               /* input or output of the command */
	uint16_t len;            /* of buf */
	uint64_t data;           /* the inline argument */
	bool by_path;            /* name the device by its node: needed for those of users */
	unsigned int timeout_ms; /* 0: CONTROL_TIMEOUT_MS; not for control_start() */
};

/* Open, and learn the encoding and the features. Says why not. 0 or the errors of ublk_dev_open().
 */
int control_open(struct control *control, bool force_legacy, const struct logger *log);
/*
 * A command that is under way ends by itself. If it has memory to read or write, that is kept until
 * the kernel has answered.
 */
void control_close(struct control *control);
/*
 * 0 or positive as the kernel answers, or -errno; -ETIMEDOUT past the deadline; -ECHILD in a child
 * that was forked since the control was opened.
 */
int control_cmd(struct control *control, enum abi_ctrl nr, const struct control_args *args);
/*
 * The same in two steps, for a command without an answer in memory: begin it (0 or -errno), and
 * wait for its result. -ETIMEDOUT: it is under way still, wait again.
 */
int control_start(struct control *control, enum abi_ctrl nr, const struct control_args *args);
int control_wait(struct control *control, unsigned int timeout_ms);
/*
 * What the kernel knows of device @id, whoever made it. 0 or -errno; -ENODEV: there is none
 * (-EINVAL before Linux 6.4).
 */
int control_dev_info(struct control *control, int id, struct abi_dev_info *ret_info);
/* The cmd_op of a queue's command in the encoding that is spoken. */
uint32_t control_io_op(const struct control *control, enum abi_io_nr nr);
/* Name of a command for messages: "START_DEV". */
const char *control_name(enum abi_ctrl nr);

#endif
