// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "faults/rule/lanes.h"

#include <pthread.h>

#define FOR_EVER UINT64_MAX

static uint64_t take(struct lanes *lanes, uint64_t now_ns, uint64_t ns)
{
	uint64_t pure = lanes_take(lanes, now_ns, ns, FOR_EVER, true);

	assert_int_equal(lanes_take(lanes, now_ns, ns, FOR_EVER, true), pure);
	assert_int_equal(lanes_take(lanes, now_ns, ns, FOR_EVER, false), pure);
	return pure;
}

static void one_lane_serves_one_after_the_other(void **state)
{
	struct lanes *lanes = lanes_new(1);

	(void)state;
	assert_int_equal(take(lanes, 100, 10), 10);
	assert_int_equal(take(lanes, 100, 10), 20);
	assert_int_equal(take(lanes, 105, 7), 22);
	/* It is free from 127 on. */
	assert_int_equal(take(lanes, 126, 5), 6);
	assert_int_equal(take(lanes, 132, 5), 5);
	assert_int_equal(take(lanes, 1000, 0), 0);
	assert_int_equal(take(lanes, 1000, 3), 3);
	lanes_free(lanes);
}

static void the_lane_that_is_free_first_serves_the_next(void **state)
{
	struct lanes *lanes = lanes_new(3);

	(void)state;
	assert_int_equal(take(lanes, 0, 30), 30);
	assert_int_equal(take(lanes, 0, 10), 10);
	assert_int_equal(take(lanes, 0, 20), 20);
	/* A long one holds up its own lane alone. */
	assert_int_equal(take(lanes, 0, 100), 110);
	assert_int_equal(take(lanes, 0, 5), 25);
	assert_int_equal(take(lanes, 0, 5), 30);
	assert_int_equal(take(lanes, 40, 1), 1);
	assert_int_equal(take(lanes, 40, 1), 1);
	assert_int_equal(take(lanes, 40, 1), 2);
	lanes_free(lanes);
}

static void nobody_waits_for_longer_than_the_limit_and_no_time_runs_back(void **state)
{
	struct lanes *lanes = lanes_new(1);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(lanes_take(lanes, 0, 80, 100, false), i ? 100 : 80);
	/* A thread whose clock is behind. */
	assert_int_equal(lanes_take(lanes, 90, 5, 100, false), 15);
	assert_int_equal(lanes_take(lanes, 0, 1, 100, false), 100);
	assert_int_equal(lanes_take(lanes, 100, 1, 100, false), 6);
	assert_int_equal(lanes_take(lanes, UINT64_MAX - 5, 100, 1000, false), 5);
	assert_int_equal(lanes_take(lanes, UINT64_MAX, 100, 1000, false), 0);
	lanes_free(lanes);
}

/* ---- several threads --------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 20000, LANES = 3, SERVICE = 1000 };

struct served {
	uint64_t from, to;
};

struct worker {
	pthread_t thread;
	struct lanes *lanes;
	uint64_t seed;
	struct served *served;
};

static void *run_worker(void *arg)
{
	struct worker *worker = arg;
	struct draw draw = { .seed = worker->seed };

	for (int i = 0; i < EACH; i++) {
		uint64_t ns = 1 + draw_below(&draw, SERVICE);
		uint64_t to = lanes_take(worker->lanes, 0, ns, FOR_EVER, false);

		worker->served[i] = (struct served){ to - ns, to };
	}
	return NULL;
}

static int by_start(const void *a, const void *b)
{
	const struct served *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

static void threads_at_once_leave_no_lane_idle_and_none_serves_two(void **state)
{
	static struct served served[THREADS * EACH];
	struct lanes *lanes = lanes_new(LANES);
	struct worker workers[THREADS];
	uint64_t until[LANES] = { 0 };

	(void)state;
	for (unsigned int t = 0; t < THREADS; t++) {
		workers[t] =
			(struct worker){ .lanes = lanes, .seed = t, .served = served + t * EACH };
		assert_int_equal(pthread_create(&workers[t].thread, NULL, run_worker, &workers[t]),
				 0);
	}
	for (unsigned int t = 0; t < THREADS; t++)
		pthread_join(workers[t].thread, NULL);
	qsort(served, THREADS * EACH, sizeof(served[0]), by_start);
	/* All came at once, so each begins in the very moment in which a lane is free. */
	for (unsigned int i = 0; i < THREADS * EACH; i++) {
		unsigned int lane = 0;

		while (lane < LANES && until[lane] != served[i].from)
			lane++;
		if (lane == LANES)
			fail_msg("nothing is free at %llu", (unsigned long long)served[i].from);
		for (unsigned int l = 0; l < LANES; l++)
			if (until[l] < served[i].from)
				fail_msg("a lane is idle from %llu on",
					 (unsigned long long)until[l]);
		until[lane] = served[i].to;
	}
	lanes_free(lanes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_lane_serves_one_after_the_other),
		cmocka_unit_test(the_lane_that_is_free_first_serves_the_next),
		cmocka_unit_test(nobody_waits_for_longer_than_the_limit_and_no_time_runs_back),
		cmocka_unit_test(threads_at_once_leave_no_lane_idle_and_none_serves_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
