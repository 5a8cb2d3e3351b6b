/* SPDX-License-Identifier: MIT */
/*
 * A way through the code, with its first failure point failing, then its second, until none is left:
 * an error with words, nothing leaked, and the same call works afterwards. For a build with FIU=1
 * and SAN=asan.
 */
#ifndef TESTS_FAIL_WAY_H
#define TESTS_FAIL_WAY_H

#include "base/diag.h"
#include "base/failpoint.h"
#include "tests/device/harness.h"

#include <dirent.h>
#include <fiu-control.h>
#include <sanitizer/lsan_interface.h>
#include <stdint.h>

#define POINTS_MAX 2000

/* One way through the code: 0, or the error of what failed, with words in @diag. */
typedef int (*way_fn)(struct diag *diag);

static inline unsigned int count_fds(void)
{
	DIR *fds = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (fds && readdir(fds))
		nr++;
	closedir(fds);
	return nr;
}

static inline bool run_with(way_fn way, uintptr_t nth, unsigned int *ret_failed)
{
	struct diag diag = { 0 };
	bool fired;
	int err;

	/* A first N of another value makes the count begin anew. */
	fiu_enable("*", 1, (void *)(uintptr_t)POINTS_MAX, 0);
	failpoint("tests/fail/reset");
	fiu_disable("*");
	fiu_enable("*", 1, (void *)nth, 0);
	err = way(&diag);
	fired = failpoint_asked() >= nth;
	fiu_disable("*");
	if (err > 0)
		FAIL("point %u: got %d, wanted 0 or -errno", (unsigned int)nth, err);
	if (err && !fired)
		FAIL("nothing failed, but the result is %d: %s", err, diag.message);
	if (err && !diag.message[0])
		FAIL("point %u: error %d comes without words", (unsigned int)nth, err);
	*ret_failed += err != 0;
	return fired;
}

/* @may_err: some of the failures are errors of the way, and not only less of an answer. */
static inline void sweep_way(way_fn way, bool may_err)
{
	unsigned int fds, failed = 0, nr = 0;
	struct diag diag = { 0 };

	EXPECT_EQ(way(&diag), 0);
	fds = count_fds();
	while (nr < POINTS_MAX && !test_failed && run_with(way, nr + 1, &failed))
		nr++;
	EXPECT_EQ(way(&diag), 0);
	EXPECT_EQ(count_fds(), fds);
	EXPECT(nr > 0 && nr < POINTS_MAX);
	EXPECT(failed > 0 || !may_err);
	EXPECT_EQ(__lsan_do_recoverable_leak_check(), 0);
	printf("    %u points, %u of them are errors\n", nr, failed);
}

static inline void sweep(way_fn way)
{
	sweep_way(way, true);
}

static inline int words_for(int err, struct diag *diag, const char *what)
{
	return err && !diag->message[0] ? diag_set(diag, err, "test", "%s", what) : err;
}

#endif
