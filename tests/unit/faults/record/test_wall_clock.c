// SPDX-License-Identifier: MIT
/*
 * What waits for a moment of the wall clock waits too long once that is set back. Here it was, by an
 * hour, between any look at it and the wait: whoever asks is told the time before that.
 */
#include "base/clock.h"
#include "faults/explore/internal.h"
#include "tests/unit/recorder_setup.h"

#include <sys/syscall.h>

#define DEADLINE_NS PATIENCE_NS
#define SET_BACK_S  3600

/* Instead of the C library's. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	if (rc == 0 && clock == CLOCK_REALTIME)
		ts->tv_sec += SET_BACK_S;
	return rc;
}

static void the_clock_here_is_set_back(void **state)
{
	struct timespec told, real;

	(void)state;
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &told), 0);
	assert_int_equal(syscall(SYS_clock_gettime, CLOCK_REALTIME, &real), 0);
	assert_in_range(told.tv_sec, real.tv_sec + SET_BACK_S - 60, real.tv_sec + SET_BACK_S);
}

static uint64_t file_bytes(const struct setup *setup)
{
	struct stat st;

	assert_int_equal(stat(setup->path, &st), 0);
	return (uint64_t)st.st_size;
}

static void what_is_recorded_reaches_the_file_by_itself(void **state)
{
	const struct timespec pause = { .tv_nsec = NSEC_PER_MSEC };
	uint64_t until_ns = clock_now_ns() + DEADLINE_NS, before;
	struct setup setup;
	bool written;

	(void)state;
	open_setup(&setup);
	/* Too few to be told of before the thread's nap is over. */
	setup.nr_requests = 10;
	before = file_bytes(&setup);
	run_queues(&setup, NULL);
	do
		nanosleep(&pause, NULL);
	while (!(written = file_bytes(&setup) > before) && clock_now_ns() < until_ns);
	assert_true(written);
	close_setup(&setup, NULL);
	assert_int_equal(count_records(&setup).requests, 10u * QUEUES);
}

static void *wait_once(void *arg)
{
	struct explore *e = arg;

	pthread_mutex_lock(&e->lock);
	explore_lazy_wait(e);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

static void a_worker_that_waits_for_a_run_looks_again_by_itself(void **state)
{
	const struct timespec until = clock_in_ns(DEADLINE_NS);
	struct explore *e = calloc(1, sizeof(*e));
	pthread_t thread;
	int rc;

	(void)state;
	assert_non_null(e);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	assert_int_equal(pthread_create(&thread, NULL, wait_once, e), 0);
	rc = pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until);
	assert_int_equal(rc, 0);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clock_here_is_set_back),
		cmocka_unit_test(what_is_recorded_reaches_the_file_by_itself),
		cmocka_unit_test(a_worker_that_waits_for_a_run_looks_again_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
