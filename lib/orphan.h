/* SPDX-License-Identifier: MIT */
/*
 * Who made a device. The driver forgets the server's pid when the server dies, but gives 64 bits
 * that only servers read (server_flags). We put the owner there: a mark, the pid, and the low bits
 * of the process's start time, so that a recycled pid is not taken for the owner.
 *
 *	63      56 55            34 33                              0
 *	[ mark 8 ][   pid 22 bits  ][ start time in clock ticks 34 bits ]
 */
#ifndef LIB_ORPHAN_H
#define LIB_ORPHAN_H

#include <stdbool.h>
#include <stdint.h>

/* The stamp of the calling process. */
uint64_t owner_stamp(void);
/* Is it a stamp of ours? */
bool owner_stamped(uint64_t stamp);
int owner_pid(uint64_t stamp);
/* Has the process that made it ended? False where that cannot be told. */
bool owner_gone(uint64_t stamp);

#endif
