/* SPDX-License-Identifier: MIT */
/* A lock of flock() that others may hold, even such as have no business with it. */
#ifndef TOOLS_CLI_LOCK_WAIT_H
#define TOOLS_CLI_LOCK_WAIT_H

#include <sys/types.h>

/*
 * An exclusive lock of @fd, within @ms milliseconds. 0; -errno; -ETIMEDOUT: *ret_holder is a
 * process that holds it, or 0 where that cannot be seen; -EINTR: a signal that is to end us is
 * blocked, and pending (one that is handled ends no wait).
 */
int lock_wait(int fd, unsigned int ms, pid_t *ret_holder);
/* A process that holds a lock of what @fd is open on, or 0 where that cannot be seen. */
pid_t lock_holder(int fd);
/* "another program (NAME, process N)", or as much of it as is known; @fd may be -1. */
#define LOCK_WORDS_MAX 80
const char *lock_words(int fd, char words[LOCK_WORDS_MAX]);

#endif
