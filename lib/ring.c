// SPDX-License-Identifier: MIT
#include "ring.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <errno.h>

#define CONTROL_ENTRIES 32

int ring_init_queue(struct io_uring *ring, unsigned int entries)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int err = -EINVAL;

	/* -EINVAL is how a kernel says that it does not know a flag. */
	for (size_t i = 0; i < array_size(flags) && err == -EINVAL; i++)
		err = fail_value("lib/ring/queue", -ENOMEM,
				 io_uring_queue_init(entries, ring, flags[i]));
	if (err)
		return err;
	/* Saves the file look-up of each system call; not worth failing for. */
	fail_value("lib/ring/register", -EINVAL, io_uring_register_ring_fd(ring));
	return 0;
}

int ring_init_control(struct io_uring *ring)
{
	return fail_value("lib/ring/control", -ENOMEM,
			  io_uring_queue_init(CONTROL_ENTRIES, ring, IORING_SETUP_SQE128));
}

int ring_probe(void)
{
	struct io_uring ring;
	int err = ring_init_control(&ring);

	if (!err)
		io_uring_queue_exit(&ring);
	return err;
}
