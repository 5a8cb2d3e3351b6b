// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "base/clock.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#define DISK (1u << 20)

static uint64_t delay_at(struct disk *disk, enum io_op op, uint32_t len, uint64_t now_ns)
{
	static unsigned char data[DISK];
	struct io io = make_io(op, 0, len, data);
	uint64_t delay;

	if (pipeline_submit(disk->pipeline, &io, now_ns) == IO_DONE)
		return 0;
	delay = io.due_ns - now_ns;
	pipeline_resume(disk->pipeline, &io, io.due_ns);
	return delay;
}

static void requests_of_one_moment_come_out_at_the_rate(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "t do=throttle:iops=100,burst=0s");
	for (uint64_t i = 1; i <= 20; i++)
		assert_int_equal(delay_at(&disk, IO_READ, SEC, 0), i * 10 * NSEC_PER_MSEC);
	/* 200 ms are taken; at 195 ms the next has to wait for its own turn. */
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 195 * NSEC_PER_MSEC), 15 * NSEC_PER_MSEC);
	/* Without a burst idle time saves up nothing. */
	assert_int_equal(delay_at(&disk, IO_READ, SEC, NSEC_PER_SEC), 10 * NSEC_PER_MSEC);
	free_disk(&disk);
}

static void a_burst_passes_at_once_and_idle_time_refills_no_more_than_that(void **state)
{
	static const uint64_t starts[] = { 0, 7 * NSEC_PER_SEC, 3600 * NSEC_PER_SEC };
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "t do=throttle:iops=100,burst=50ms");
	for (size_t s = 0; s < array_size(starts); s++) {
		for (uint64_t i = 0; i < 5; i++)
			assert_int_equal(delay_at(&disk, IO_READ, SEC, starts[s]), 0);
		assert_int_equal(delay_at(&disk, IO_READ, SEC, starts[s]), 10 * NSEC_PER_MSEC);
		/* 30 ms later 10 are paid for, and 20 are saved up. */
		assert_int_equal(delay_at(&disk, IO_READ, SEC, starts[s] + 30 * NSEC_PER_MSEC), 0);
		assert_int_equal(delay_at(&disk, IO_READ, SEC, starts[s] + 30 * NSEC_PER_MSEC), 0);
		assert_int_equal(delay_at(&disk, IO_READ, SEC, starts[s] + 30 * NSEC_PER_MSEC),
				 10 * NSEC_PER_MSEC);
	}
	free_disk(&disk);
}

static void bytes_count_what_is_read_and_written_and_nothing_else(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "t do=throttle:bytes=1M,burst=0s");
	assert_int_equal(delay_at(&disk, IO_READ, 1 << 20, 0), NSEC_PER_SEC);
	assert_int_equal(delay_at(&disk, IO_WRITE, 1 << 19, 0), 3 * NSEC_PER_SEC / 2);
	assert_int_equal(delay_at(&disk, IO_DISCARD, 1 << 20, 0), 0);
	assert_int_equal(delay_at(&disk, IO_ZEROES, 1 << 20, 0), 0);
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 0), 0);
	free_disk(&disk);
}

static void with_both_limits_the_one_reached_first_holds(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "t do=throttle:iops=10,bytes=1M,burst=0s");
	assert_int_equal(delay_at(&disk, IO_READ, SEC, 0), NSEC_PER_SEC / 10);
	assert_int_equal(delay_at(&disk, IO_READ, 1 << 20, 0), NSEC_PER_SEC + NSEC_PER_SEC / 10);
	/* Small ones behind the large one: as many a second as before, not all at once. */
	assert_int_equal(delay_at(&disk, IO_READ, SEC, 0), NSEC_PER_SEC + NSEC_PER_SEC / 5);
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 0), NSEC_PER_SEC + 3 * NSEC_PER_SEC / 10);
	free_disk(&disk);
}

static void nobody_waits_for_more_than_an_hour(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "t do=throttle:bytes=512");
	assert_int_equal(delay_at(&disk, IO_READ, 1 << 20, 0),
			 2048 * NSEC_PER_SEC - 10 * NSEC_PER_MSEC);
	for (int i = 0; i < 3; i++)
		assert_int_equal(delay_at(&disk, IO_READ, 1 << 20, 0), KIND_DELAY_MAX_NS);
	assert_int_equal(delay_at(&disk, IO_READ, SEC, UINT64_MAX - KIND_DELAY_MAX_NS - 5),
			 990 * NSEC_PER_MSEC);
	free_disk(&disk);
}

static void explain_takes_nothing_from_the_credit(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_FLUSH, 0, 0, NULL);

	(void)state;
	use_rules(&disk, "t do=throttle:iops=100");
	for (int i = 0; i < 50; i++) {
		char *text = pipeline_explain(disk.pipeline, &io, 0);

		assert_string_equal(text, "t: match 0: passes within its rate\n"
					  "carried out as usual\n");
		free(text);
	}
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 0), 0);
	for (int i = 0; i < 50; i++) {
		char *text = pipeline_explain(disk.pipeline, &io, 0);

		assert_string_equal(text, "t: match 1: waits for 10.0ms\n"
					  "after 10.0ms: carried out as usual\n");
		free(text);
	}
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 0), 10 * NSEC_PER_MSEC);
	free_disk(&disk);
}

static void each_rule_has_a_rate_of_its_own_from_the_time_it_was_armed(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "a op=read do=throttle:iops=10,burst=0s\n"
			 "b do=throttle:iops=100,burst=0s");
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 0), 10 * NSEC_PER_MSEC);
	/* Its own turn with a, and the second with b. */
	assert_int_equal(delay_at(&disk, IO_READ, SEC, 0), 120 * NSEC_PER_MSEC);
	use_rules(&disk, "b do=throttle:iops=100,burst=0s");
	assert_int_equal(delay_at(&disk, IO_FLUSH, 0, 0), 10 * NSEC_PER_MSEC);
	free_disk(&disk);
}

/* ---- properties -------------------------------------------------------------------------- */

enum { REQUESTS = 3000 };

struct passed {
	uint64_t at_ns;
	uint64_t amount;
};

static int by_time(const void *a, const void *b)
{
	const struct passed *x = a, *y = b;

	return x->at_ns == y->at_ns ? 0 : x->at_ns < y->at_ns ? -1 : 1;
}

/*
 * No window may let more pass than its length and a burst pay for, or one request. It is enough to
 * look at windows from one request to another: walk over their ends, with the worst start so far.
 */
static void check_windows(struct passed *passed, int nr, double per_second, uint64_t burst_ns,
			  uint64_t largest)
{
	double credit = per_second * (double)burst_ns / 1e9, sum = 0, worst = -1e300;

	if (credit < (double)largest)
		credit = (double)largest;
	qsort(passed, (size_t)nr, sizeof(*passed), by_time);
	for (int i = 0; i < nr; i++) {
		double paid = (double)passed[i].at_ns * per_second / 1e9;

		/* What this window has above its length, if it starts just before request i. */
		if (paid - sum > worst)
			worst = paid - sum;
		sum += (double)passed[i].amount;
		/* A nanosecond of rounding. */
		if (sum - paid + worst > credit + per_second * 2e-9 + 1e-6)
			fail_msg("%g more than %g per second and %g at once, request %d",
				 sum - paid + worst - credit, per_second, credit, i);
	}
}

struct load {
	struct passed ios[REQUESTS], bytes[REQUESTS];
	int nr_bytes;
	uint64_t largest;
	uint64_t end_ns;
};

/* Random arrivals: crowds, trickles and pauses. */
static void put_load(struct disk *disk, uint64_t seed, uint64_t mean_gap_ns, struct load *load)
{
	struct draw draw = { .seed = seed };
	uint64_t now_ns = 0;

	*load = (struct load){ .nr_bytes = 0 };
	for (int i = 0; i < REQUESTS; i++) {
		enum io_op op = draw_below(&draw, 5) ? IO_WRITE : IO_FLUSH;
		uint32_t len = SEC << draw_below(&draw, draw_below(&draw, 9) ? 4 : 10);
		uint64_t at_ns;

		if (op == IO_FLUSH)
			len = 0;
		if (draw_below(&draw, 4))
			now_ns += draw_below(&draw, mean_gap_ns);
		if (!draw_below(&draw, 300))
			now_ns += draw_below(&draw, 200 * mean_gap_ns);
		at_ns = now_ns + delay_at(disk, op, len, now_ns);
		load->end_ns = at_ns > load->end_ns ? at_ns : load->end_ns;
		load->ios[i] = (struct passed){ at_ns, 1 };
		if (len)
			load->bytes[load->nr_bytes++] = (struct passed){ at_ns, len };
		load->largest = len > load->largest ? len : load->largest;
	}
}

static void in_no_window_does_more_pass_than_the_rate_and_a_burst(void **state)
{
	static const uint64_t bursts_ns[] = { 0, 1000, 3000000, 250000000 };
	static struct load load;

	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct draw draw = { .seed = 100 + seed };
		uint64_t iops = 1 + draw_below(&draw, 1ull << (1 + draw_below(&draw, 20)));
		uint64_t bytes = SEC + draw_below(&draw, 1ull << (10 + draw_below(&draw, 24)));
		uint64_t burst_ns = bursts_ns[draw_below(&draw, array_size(bursts_ns))];
		struct disk disk = make_disk(DISK, 512, 1, 1);
		uint64_t mean_ns = NSEC_PER_SEC / iops;
		char rule[120];

		/* So that nobody is let pass after an hour's wait. */
		if (bytes < 1 << 20)
			bytes = 1 << 20;
		if (mean_ns < 8192 * NSEC_PER_SEC / bytes && draw_below(&draw, 2))
			mean_ns = 8192 * NSEC_PER_SEC / bytes;
		snprintf(rule, sizeof(rule), "t do=throttle:iops=%llu,bytes=%llu,burst=%lluns",
			 (unsigned long long)iops, (unsigned long long)bytes,
			 (unsigned long long)burst_ns);
		use_rules(&disk, rule);
		put_load(&disk, seed, 2 * mean_ns + 2, &load);
		check_windows(load.ios, REQUESTS, (double)iops, burst_ns, 1);
		check_windows(load.bytes, load.nr_bytes, (double)bytes, burst_ns, load.largest);
		free_disk(&disk);
	}
}

/* A client that has so many requests under way, and is a little late with each. */
static double rate_of(const char *rule, int depth, uint64_t late_ns, uint32_t len)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	uint64_t free_ns[32] = { 0 }, last_ns = 0;
	int nr = 20000;

	use_rules(&disk, rule);
	for (int i = 0; i < nr; i++) {
		int slot = 0;

		for (int s = 1; s < depth; s++)
			slot = free_ns[s] < free_ns[slot] ? s : slot;
		last_ns = free_ns[slot] + late_ns;
		last_ns += delay_at(&disk, IO_READ, len, last_ns);
		free_ns[slot] = last_ns;
	}
	free_disk(&disk);
	return nr / ((double)last_ns / 1e9);
}

static void in_the_long_run_the_rate_is_met_within_one_in_a_hundred(void **state)
{
	static const struct {
		const char *rule;
		double want;
	} cases[] = {
		{ "t do=throttle:iops=500", 500 },
		{ "t do=throttle:iops=777777,burst=50us", 777777 },
		{ "t do=throttle:bytes=3M", 3 * 256 },
		{ "t do=throttle:iops=100000,bytes=1G,burst=100us", 100000 },
		{ "t do=throttle:iops=700,bytes=1M", 256 },
	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		for (int depth = 1; depth <= 32; depth *= 32) {
			uint64_t late_ns = cases[i].want > 1000 ? 500 : 300000;
			double got = rate_of(cases[i].rule, depth, late_ns, 4096);

			if (fabs(got / cases[i].want - 1) > 0.01)
				fail_msg("%s at depth %d: %g", cases[i].rule, depth, got);
		}
	}
}

/* ---- several queues ---------------------------------------------------------------------- */

enum { QUEUES = 4, PER_QUEUE = 20000 };

struct worker {
	pthread_t thread;
	struct pipeline *pipeline;
	uint16_t queue;
	struct passed *passed;
};

static void *run_worker(void *arg)
{
	struct worker *worker = arg;

	pipeline_adopt(worker->pipeline, worker->queue);
	for (int i = 0; i < PER_QUEUE; i++) {
		struct io io = make_io(IO_FLUSH, 0, 0, NULL);
		uint64_t now_ns = (uint64_t)i * 1000;

		io.queue = worker->queue;
		worker->passed[i] = (struct passed){ now_ns, 1 };
		if (pipeline_submit(worker->pipeline, &io, now_ns) == IO_DONE)
			continue;
		worker->passed[i].at_ns = io.due_ns;
		pipeline_resume(worker->pipeline, &io, io.due_ns);
	}
	return NULL;
}

static void all_queues_share_one_rate_and_none_passes_twice(void **state)
{
	struct disk disk = make_disk(DISK, 512, QUEUES, 1);
	struct passed *passed = calloc(QUEUES * PER_QUEUE, sizeof(*passed));
	struct worker workers[QUEUES];

	(void)state;
	assert_non_null(passed);
	use_rules(&disk, "t do=throttle:iops=10000,burst=5ms");
	for (uint16_t q = 0; q < QUEUES; q++) {
		workers[q] = (struct worker){ .pipeline = disk.pipeline,
					      .queue = q,
					      .passed = passed + q * PER_QUEUE };
		assert_int_equal(pthread_create(&workers[q].thread, NULL, run_worker, &workers[q]),
				 0);
	}
	for (uint16_t q = 0; q < QUEUES; q++)
		pthread_join(workers[q].thread, NULL);
	check_windows(passed, QUEUES * PER_QUEUE, 10000, 5000000, 1);
	/* And nothing is lost either: the last one passes when all are paid for. */
	assert_in_range(passed[QUEUES * PER_QUEUE - 1].at_ns, 7994 * NSEC_PER_MSEC,
			8020 * NSEC_PER_MSEC);
	free(passed);
	free_disk(&disk);
}

static void rates_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("s do=throttle", "rule.missing-parameter", 6, "iops=N or bytes=SIZE or both",
		    "for example do=throttle:iops=500");
	check_error("s do=throttle:burst=1s", "rule.missing-parameter", 6, "iops=N or bytes=SIZE",
		    "for example");
	check_error("s do=throttle:iops=0", "rule.bad-number", 20, "from 1 to 10000000", NULL);
	check_error("s do=throttle:iops=10k", "rule.bad-number", 20, "got '10k'", NULL);
	check_error("s do=throttle:bytes=100", "rule.bad-size", 21, "a size of 1s to 1T", NULL);
	check_error("s do=throttle:iops=5,burst=5", "rule.bad-time", 28, "got '5'",
		    "needs its unit");
	check_error("s do=throttle:500", "rule.unknown-parameter", 15, "wanted iops=N, bytes=SIZE",
		    NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_of_one_moment_come_out_at_the_rate),
		cmocka_unit_test(a_burst_passes_at_once_and_idle_time_refills_no_more_than_that),
		cmocka_unit_test(bytes_count_what_is_read_and_written_and_nothing_else),
		cmocka_unit_test(with_both_limits_the_one_reached_first_holds),
		cmocka_unit_test(nobody_waits_for_more_than_an_hour),
		cmocka_unit_test(explain_takes_nothing_from_the_credit),
		cmocka_unit_test(each_rule_has_a_rate_of_its_own_from_the_time_it_was_armed),
		cmocka_unit_test(in_no_window_does_more_pass_than_the_rate_and_a_burst),
		cmocka_unit_test(in_the_long_run_the_rate_is_met_within_one_in_a_hundred),
		cmocka_unit_test(all_queues_share_one_rate_and_none_passes_twice),
		cmocka_unit_test(rates_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
