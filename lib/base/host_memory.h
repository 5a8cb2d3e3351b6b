/* SPDX-License-Identifier: MIT */
/* How much memory this machine, and the control group of this process, have left. */
#ifndef BASE_HOST_MEMORY_H
#define BASE_HOST_MEMORY_H

#include <stdint.h>

/*
 * Bytes that this process can take before the out-of-memory killer is near: what is available, swap
 * included, and what memory.max of each group above it (cgroup v2) allows, the smallest of them,
 * less a reserve: a sixteenth of the whole, 8 MiB (of a machine: 64 MiB) to 1 GiB. 0: none.
 * UINT64_MAX: nothing is known. @root: before each path that is read, "" outside of tests. Opens
 * and reads some small files: for every so many MiB, not for every page. Any thread.
 */
uint64_t host_memory_room(const char *root);

#endif
