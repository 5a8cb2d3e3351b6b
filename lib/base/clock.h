/* SPDX-License-Identifier: MIT */
/* One clock for everything that is measured or scheduled: CLOCK_MONOTONIC, in nanoseconds. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_USEC 1000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_SEC  1000000000ull

static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/*
 * The moment @ns from now, for what waits until a moment of CLOCK_MONOTONIC: sem_clockwait(),
 * pthread_cond_clockwait(). Their older brothers wait on the wall clock, which people set back.
 */
static inline struct timespec clock_in_ns(uint64_t ns)
{
	uint64_t until_ns = clock_now_ns() + ns;

	return (struct timespec){ .tv_sec = (time_t)(until_ns / NSEC_PER_SEC),
				  .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };
}

/* For poll(): whole milliseconds from now until @then_ns, rounded up. */
static inline int clock_ms_until(uint64_t then_ns)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t ms = then_ns > now_ns ? (then_ns - now_ns) / NSEC_PER_MSEC + 1 : 0;

	return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

#endif
