/* SPDX-License-Identifier: MIT */
#ifndef BASE_FLUSHER_H
#define BASE_FLUSHER_H

#include <stdbool.h>
#include <sys/prctl.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/*
 * Does a disk wait for this thread? Then what it allocates does not wait for that disk's I/O. -1 and
 * errno: it may not ask for that, or the kernel does not know of it.
 */
static inline int set_io_flusher(bool on)
{
	return prctl(PR_SET_IO_FLUSHER, on, 0, 0, 0);
}

#endif
