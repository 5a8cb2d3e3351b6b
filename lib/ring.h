/* SPDX-License-Identifier: MIT */
/* io_uring set-up: the best flags that this kernel takes. */
#ifndef LIB_RING_H
#define LIB_RING_H

#include <liburing.h>

/*
 * A ring for one queue: SINGLE_ISSUER and DEFER_TASKRUN where offered (6.1), COOP_TASKRUN before.
 * Call it on the queue's own thread; the ring is that thread's alone. 0 or -errno.
 */
int ring_init_queue(struct io_uring *ring, unsigned int entries);
/* A ring with the 128-byte SQEs that control commands need. 0 or -errno. */
int ring_init_control(struct io_uring *ring);
/* Can this process use io_uring at all? 0, -EPERM (disabled), -ENOSYS, or another errno. */
int ring_probe(void);

#endif
