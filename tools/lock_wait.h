/* SPDX-License-Identifier: MIT */
/* A lock of flock() that others may hold, even such as have no business with it. */
#ifndef TOOLS_LOCK_WAIT_H
#define TOOLS_LOCK_WAIT_H

#include <sys/types.h>

/*
 * An exclusive lock of @fd, within @ms milliseconds. 0; -errno; -ETIMEDOUT: *ret_holder is a
 * process that holds it, or 0 where that cannot be seen. A signal that is handled ends no wait.
 */
int lock_wait(int fd, unsigned int ms, pid_t *ret_holder);

#endif
