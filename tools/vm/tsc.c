/* SPDX-License-Identifier: MIT */
/*
 * How fast this machine's time stamp counter counts. A guest under emulation reads that very
 * counter, and must be told: what it finds out itself is wrong where it is kept waiting meanwhile.
 */
#include "tools/vm/vm.h"

#include "base/clock.h"

#include <unistd.h>

#define SPAN_NS 10000000u /* between two readings: 0.1 us of doubt in it are 10 ppm */
#define LOOKS   8
#define KHZ_MIN 100000u
#define KHZ_MAX 20000000u

#ifdef __x86_64__
struct tsc_reading {
	uint64_t ns, ticks;
};

/* Of several looks the one in which least time passed: in the others we were kept waiting. */
static struct tsc_reading read_both(void)
{
	struct tsc_reading best = { .ns = 0 };
	uint64_t shortest_ns = UINT64_MAX;

	for (int i = 0; i < LOOKS; i++) {
		uint64_t before_ns = clock_now_ns(), ticks = __builtin_ia32_rdtsc();
		uint64_t took_ns = clock_now_ns() - before_ns;

		if (took_ns >= shortest_ns)
			continue;
		shortest_ns = took_ns;
		best = (struct tsc_reading){ .ns = before_ns + took_ns / 2, .ticks = ticks };
	}
	return best;
}

uint32_t vm_tsc_khz(void)
{
	struct tsc_reading first = read_both(), second;
	uint64_t khz;

	usleep(SPAN_NS / 1000);
	second = read_both();
	if (second.ns <= first.ns)
		return 0;
	khz = (uint64_t)((double)(second.ticks - first.ticks) * 1e6 /
			 (double)(second.ns - first.ns));
	return khz >= KHZ_MIN && khz <= KHZ_MAX ? (uint32_t)khz : 0;
}
#else
uint32_t vm_tsc_khz(void)
{
	return 0;
}
#endif
