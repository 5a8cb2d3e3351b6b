/* SPDX-License-Identifier: MIT */
/*
 * What all control commands of the process go through: one descriptor of /dev/ublk-control and one
 * ring, there from the first control_ring_join() to the last control_ring_leave(). A process with
 * hundreds of disks has two descriptors for it.
 *
 * Any thread may call any of this, and wait for one command while others start and wait for theirs.
 * A command is one thread's at a time.
 */
#ifndef LIB_CONTROL_RING_H
#define LIB_CONTROL_RING_H

#include "abi.h"

#include <stdbool.h>
#include <stdint.h>

#define CONTROL_PATH  "/dev/ublk-control"
#define COMMAND_BYTES 4096 /* a node's path, and the longest answer behind it */

struct control_command {
	bool under_way; /* from a start until its answer has been seen */
	bool uses_buf;  /* the kernel may read or write buf while it is */
	int result;     /* valid once it is not */
	struct control_command *next;
	unsigned char buf[COMMAND_BYTES];
};

/*
 * One user more, with a command of its own. 0; -ENOMEM; or why there is no ring (*ret_no_ring) or
 * no descriptor.
 */
int control_ring_join(struct control_command **ret_command, bool *ret_no_ring);
/*
 * One user less. A command that is under way is not waited for: it is
 * interrupted where it merely waits; if it has memory, that and the ring stay until the kernel has
 * answered, and go with a later call of these two.
 */
void control_ring_leave(struct control_command *command);
/* Hand it to the kernel; none is under way, and uses_buf says whether cmd->addr is its buf. 0 or
 * -errno.
 */
int control_ring_start(struct control_command *command, uint32_t cmd_op,
		       const struct abi_ctrl_cmd *cmd);
/*
 * Wait for its answer until @deadline_ns: 0, and result is there; -ETIMEDOUT: it is under way
 * still. Signals do not end the wait.
 */
int control_ring_wait(struct control_command *command, uint64_t deadline_ns);
/*
 * Which ring that is. In a child that was forked it is another one: what the parent has joined is
 * the parent's, and its commands are of no use there.
 */
unsigned int control_ring_generation(void);

#endif
