/* SPDX-License-Identifier: MIT */
/*
 * Who made a device. The driver forgets the server's pid when the server dies, but gives 64 bits
 * that only servers read (server_flags). We put the owner there: a mark, the pid namespace, the pid
 * in it, and the low bits of the process's start time, so that a recycled pid is not taken for the
 * owner, and no process of another pid namespace either.
 *
 *	63      56 55              38 37            16 15               0
 *	[ mark 8 ][ namespace 18     ][   pid 22 bits  ][ start time 16  ]
 *
 * The namespace is a hash of the inodes of the pid and the time namespace; the start time is in
 * clock ticks, as the owner saw it.
 */
#ifndef LIB_ORPHAN_H
#define LIB_ORPHAN_H

#include <stdbool.h>
#include <stdint.h>

/* The stamp of the calling process; 0: without /proc there is none. */
uint64_t owner_stamp(void);
/* Is it a stamp of ours? */
bool owner_stamped(uint64_t stamp);
/* In the pid namespace of the owner. */
int owner_pid(uint64_t stamp);

enum owner_fate {
	OWNER_LIVES,
	OWNER_ENDING, /* killed, but the kernel has not done with it: it waits for something */
	OWNER_GONE,   /* for certain */
	OWNER_UNSEEN, /* of a pid namespace whose processes cannot be seen from here; or no stamp */
};
enum owner_fate owner_fate(uint64_t stamp);

#endif
