/* SPDX-License-Identifier: MIT */
/*
 * Failure points: places in our own cold paths that a test can make fail, one at a time.
 *
 * They exist only in a build with FIU=1, where each asks libfiu by its name; otherwise the macros
 * are the call that they wrap and nothing else. A name is the file's path without its suffix, and
 * what is done there: lib/queue/thread; it is unique in the tree (tests/check-tree looks).
 *
 * A point fails when libfiu says so. If libfiu's failinfo for it is N > 0, then of all points that
 * are asked only the N-th does, counted from when that N was first seen: so one rule for "*" fails
 * the first, the second, the third point on the way through any path. FAULTBLK_FAIL_NTH=N in the
 * environment sets that rule when the program starts (N beyond the last point: nothing fails), with
 * FAULTBLK_FAIL_POINT=NAME a rule for the N-th time that the point NAME is asked. A point that fails so
 * says it on standard error,
 *
 *	failpoint 17 lib/queue/thread
 *
 * FAULTBLK_FAIL_LIST=FILE in the environment: each process writes to the end of FILE, one a line,
 * the names of the points that it asks, so that a test can find those that nothing asks.
 * FAULTBLK_FAIL_ORDER=FILE: each time that a rule with an N counts a point, its name.
 */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef FIU_ENABLE

/* Does the point @name fail now? Any thread; in cold paths only. */
bool failpoint(const char *name);
/*
 * Obey FAULTBLK_FAIL_NTH, and take it out of the environment: it is not for our children. Before
 * threads are started. 0 or -EINVAL for a value that is no number.
 */
int failpoint_init(void);
/* How many points have been asked since the N of the last rule with one was first seen. */
unsigned int failpoint_asked(void);

#define fail_value(name, failed, call) (failpoint(name) ? (failed) : (call))

#else

static inline int failpoint_init(void)
{
	return 0;
}

#define failpoint(name)                false
#define fail_value(name, failed, call) (call)

#endif

/* For @call that fails with -1 and errno: @error. */
#define fail_errno(name, error, call) fail_value(name, (errno = (error), -1), call)
/* For @call that fails with NULL and errno: @error. */
#define fail_null(name, error, call) fail_value(name, (errno = (error), (void *)NULL), call)
#define fail_alloc(name, call)       fail_null(name, ENOMEM, call)

#endif
