/* SPDX-License-Identifier: MIT */
/* Writing all of it, however often the kernel takes less or is interrupted. 0 or -errno. */
#ifndef BASE_WRITE_ALL_H
#define BASE_WRITE_ALL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

int write_all(int fd, const void *bytes, size_t len);
int write_all_at(int fd, const void *bytes, size_t len, uint64_t at);
/* Changes @iov. */
int write_all_vec(int fd, struct iovec *iov, int nr);

#endif
