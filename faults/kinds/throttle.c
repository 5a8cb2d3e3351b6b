// SPDX-License-Identifier: MIT
/*
 * throttle:iops=N | bytes=SIZE | both [,burst=TIME]
 *
 * Each limit has a clock of its own, the time up to which all that was let pass is paid for. A
 * request costs so much time; it passes when the clock, moved on by its cost, has been reached. The
 * clock never lags by more than the burst: that is the credit which an idle time saves up.
 *
 *	paid for |#########                 burst       |
 *	---------+--------+-----------------|-----------+-----> time
 *	               clock             now - burst    now
 *	                                    |###|            the next one costs this: passes at once
 *	                                    |######################|   ... and this: waits till here
 *
 * With both limits a request passes at the later of the two times, and the other clock then lags by
 * at most a burst too. So in no window does more pass than its length plus a burst pays for, or one
 * request that costs more than a burst. (Queues that take at the same moment may count that other
 * clock's cost short by a request each.)
 *
 * Clocks are in steps of 1/64 ns since the rule was armed, each one atomic word. They begin a burst
 * ago: a new rule has its whole credit.
 */
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/rule/kind.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define STEP_SHIFT    6
#define LIMIT         (KIND_DELAY_MAX_NS << STEP_SHIFT)
#define AGE_MAX_NS    (1ull << 57) /* four years; clocks stand still then */
#define BURST_DEFAULT (10 * NSEC_PER_MSEC)

/* Ahead of the text above by a burst, so that no clock is below 0. */
struct clocks {
	_Alignas(64) _Atomic uint64_t iops;
	_Alignas(64) _Atomic uint64_t bytes;
};

static int validate(const struct kind_args *args, struct diag *diag)
{
	if (kind_has(args, throttle_iops) || kind_has(args, throttle_bytes))
		return 0;
	diag_set(diag, -EINVAL, "rule.missing-parameter",
		 "throttle wants iops=N or bytes=SIZE or both, each for one second");
	diag_hint(diag, "for example do=throttle:iops=500,bytes=10M");
	return -EINVAL;
}

static int arm(const struct kind_arm *arm, struct diag *diag, void **ret_state)
{
	struct clocks *clocks = fail_alloc("faults/kinds/throttle/alloc",
					   aligned_alloc(_Alignof(struct clocks), sizeof(*clocks)));

	(void)arm;
	(void)diag;
	if (!clocks)
		return -ENOMEM;
	atomic_init(&clocks->iops, 0);
	atomic_init(&clocks->bytes, 0);
	*ret_state = clocks;
	return 0;
}

/* Rounded up: rather a little slower than too fast. At most an hour. */
static uint64_t cost_of(uint64_t amount, uint64_t per_second)
{
	unsigned __int128 steps = (unsigned __int128)amount * (NSEC_PER_SEC << STEP_SHIFT);

	steps = (steps + per_second - 1) / per_second;
	return steps < LIMIT ? (uint64_t)steps : LIMIT;
}

/* One limit's part in letting a request pass. */
struct charge {
	_Atomic uint64_t *clock;
	uint64_t cost, burst;
};

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Take the cost from a clock that lags behind @now by at most a burst; returns the clock. */
static uint64_t take(const struct charge *charge, uint64_t now, bool pure)
{
	uint64_t old = atomic_load_explicit(charge->clock, memory_order_relaxed), new;

	do {
		new = later(old, now - charge->burst) + charge->cost;
		/* Nobody waits for more than an hour, so nothing is owed beyond it. */
		if (new > now + LIMIT)
			new = now + LIMIT;
	} while (!pure && !atomic_compare_exchange_weak_explicit(charge->clock, &old, new,
								 memory_order_relaxed,
								 memory_order_relaxed));
	return new;
}

/* The request passes at @then: what had been saved up beyond a burst before that is forfeited. */
static void settle(const struct charge *charge, uint64_t then)
{
	uint64_t old = atomic_load_explicit(charge->clock, memory_order_relaxed);
	uint64_t least = then - (charge->cost < charge->burst ? charge->burst - charge->cost : 0);

	while (old < least &&
	       !atomic_compare_exchange_weak_explicit(charge->clock, &old, least,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

static uint64_t delay_ns(const struct kind_args *args, const struct kind_hit *hit,
			 const struct io *io, bool pure)
{
	const struct value *value = args->value;
	struct clocks *clocks = hit->state;
	uint64_t burst = (kind_has(args, throttle_burst) ? value[throttle_burst].lo : BURST_DEFAULT)
			 << STEP_SHIFT;
	uint64_t age_ns = hit->age_ns < AGE_MAX_NS ? hit->age_ns : AGE_MAX_NS;
	uint64_t now = (age_ns << STEP_SHIFT) + burst, then = now;
	bool moves_data = io->op == IO_READ || io->op == IO_WRITE;
	struct charge charges[2];
	size_t nr = 0;

	if (kind_has(args, throttle_iops))
		charges[nr++] = (struct charge){ &clocks->iops, cost_of(1, value[throttle_iops].lo),
						 burst };
	if (kind_has(args, throttle_bytes) && moves_data)
		charges[nr++] =
			(struct charge){ &clocks->bytes,
					 cost_of(io->len_bytes, value[throttle_bytes].lo), burst };
	for (size_t i = 0; i < nr; i++)
		then = later(then, take(&charges[i], now, pure));
	for (size_t i = 0; i < nr && !pure; i++)
		settle(&charges[i], then);
	/* Up to a whole nanosecond. */
	return (then - now + (1u << STEP_SHIFT) - 1) >> STEP_SHIFT;
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	char buf[UNITS_MAX];
	uint64_t ns = delay_ns(args, hit, io, true);

	if (ns)
		fprintf(out, "waits for %s", units_human_time(ns, buf));
	else
		fputs("passes within its rate", out);
}

const struct kind_ops kind_throttle_ops = {
	.validate = validate,
	.arm = arm,
	.disarm = free,
	.delay_ns = delay_ns,
	.describe = describe,
};
