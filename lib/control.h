/* SPDX-License-Identifier: MIT */
/*
 * Control commands: /dev/ublk-control and a ring to speak to it, one command at a time.
 *
 * Every command has a deadline. One that passes it stays pending in the kernel; the next command
 * first waits for it, and control_close() has the kernel cancel it.
 */
#ifndef LIB_CONTROL_H
#define LIB_CONTROL_H

#include "abi.h"
#include "log.h"

#include <liburing.h>
#include <stdbool.h>

#define CONTROL_TIMEOUT_MS 30000 /* for commands that the kernel answers by itself */

struct control {
	int fd;
	struct io_uring ring;
	bool legacy;  /* the encoding of kernels before 6.4 */
	bool pending; /* a command passed its deadline */
	uint64_t features;
	bool has_features;
};

struct control_args {
	int id;
	void *buf;               /* input or output of the command */
	uint16_t len;            /* of buf */
	uint64_t data;           /* the inline argument */
	unsigned int timeout_ms; /* 0: CONTROL_TIMEOUT_MS */
};

/* Open, and learn the encoding and the features. Says why not. 0 or the errors of ublk_dev_open().
 */
int control_open(struct control *control, bool force_legacy, const struct logger *log);
void control_close(struct control *control);
/* 0 or positive as the kernel answers, or -errno; -ETIMEDOUT past the deadline. */
int control_cmd(struct control *control, enum abi_ctrl nr, const struct control_args *args);
/* The cmd_op of a queue's command in the encoding that is spoken. */
uint32_t control_io_op(const struct control *control, enum abi_io_nr nr);
/* Name of a command for messages: "START_DEV". */
const char *control_name(enum abi_ctrl nr);

#endif
