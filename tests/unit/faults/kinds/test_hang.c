// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

enum { NR_SECTORS = 64, DISK = NR_SECTORS * 512, MAX_HELD = 16 };

/* A disk whose released requests are collected, as a server's queues would do. */
struct held_disk {
	struct disk disk;
	struct io *unparked[MAX_HELD];
	size_t nr_unparked;
};

/* A request may be reported again as long as it has not been resumed. */
static void unpark(void *ctx, struct io *io)
{
	struct held_disk *held = ctx;

	for (size_t i = 0; i < held->nr_unparked; i++)
		if (held->unparked[i] == io)
			return;
	assert(held->nr_unparked < MAX_HELD);
	held->unparked[held->nr_unparked++] = io;
}

static void make_held_disk(struct held_disk *held, uint16_t nr_queues, bool cache,
			   const char *rules)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = nr_queues },
		.seed = 1,
		.cache = cache,
		.unpark = unpark,
		.ctx = held,
	};

	*held = (struct held_disk){ .nr_unparked = 0 };
	assert_int_equal(store_create(DISK, NULL, &held->disk.store), 0);
	assert_int_equal(pipeline_create(held->disk.store, &options, &held->disk.pipeline), 0);
	use_rules(&held->disk, rules);
	for (uint16_t q = 1; q < nr_queues; q++)
		pipeline_adopt(held->disk.pipeline, q);
}

/* Submit a write of one sector of this letter, which must be parked. */
static void park_write(struct held_disk *held, struct io *io, uint16_t queue, uint64_t sector,
		       unsigned char *data, char letter)
{
	memset(data, letter, SEC);
	*io = make_io(IO_WRITE, sector, SEC, data);
	io->queue = queue;
	assert_int_equal(pipeline_submit(held->disk.pipeline, io, 1000 * sector), IO_PARKED);
}

/* Let the queues run a batch and resume what was released; returns how many. */
static size_t run_released(struct held_disk *held, uint16_t nr_queues)
{
	size_t nr;

	for (uint16_t q = 0; q < nr_queues; q++)
		pipeline_adopt(held->disk.pipeline, q);
	nr = held->nr_unparked;
	for (size_t i = 0; i < nr; i++)
		pipeline_resume(held->disk.pipeline, held->unparked[i], 0);
	held->nr_unparked = 0;
	return nr;
}

static size_t nr_held(struct held_disk *held)
{
	return pipeline_held(held->disk.pipeline, NULL, 0);
}

static void a_held_write_reaches_the_disk_when_it_is_released_and_not_before(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct held held;
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, false, "stuck op=write do=hang");
	park_write(&disk, &io, 0, 3, data, 'w');
	assert_int_equal(io.due_ns, UINT64_MAX);
	assert_int_equal(run_released(&disk, 1), 0);
	assert_string_equal(MAP(&disk.disk, 0, 5), ".....");
	assert_int_equal(pipeline_held(disk.disk.pipeline, &held, 1), 1);
	assert_string_equal(held.rule, "stuck");
	assert_int_equal(held.since_ns, 3000);
	assert_int_equal(held.sector, 3);
	assert_int_equal(held.len_bytes, SEC);
	assert_int_equal(held.op, IO_WRITE);
	assert_int_equal(held.id, io.id);
	assert_true(held.id > 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, SIZE_MAX), 1);
	/* Released is not held any more, even if its queue has not got round to it. */
	assert_int_equal(nr_held(&disk), 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, SIZE_MAX), 0);
	assert_string_equal(MAP(&disk.disk, 0, 5), ".....");
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(io.result, SEC);
	assert_string_equal(MAP(&disk.disk, 0, 5), "...w.");
	free_disk(&disk.disk);
}

static void one_some_or_all_are_released_oldest_first_whatever_their_queue(void **state)
{
	static const uint16_t queues[] = { 2, 0, 1, 1, 0, 2 };
	unsigned char data[array_size(queues)][SEC];
	struct io ios[array_size(queues)];
	struct held held[array_size(queues)];
	struct held_disk disk;

	(void)state;
	make_held_disk(&disk, 3, false, "stuck do=hang");
	for (unsigned int i = 0; i < array_size(queues); i++)
		park_write(&disk, &ios[i], queues[i], i, data[i], (char)('a' + i));
	assert_int_equal(pipeline_held(disk.disk.pipeline, held, array_size(held)), 6);
	for (unsigned int i = 0; i < array_size(held); i++)
		assert_int_equal(held[i].sector, i);
	/* Where there is no room for all, the oldest are told. */
	memset(held, 0, sizeof(held));
	assert_int_equal(pipeline_held(disk.disk.pipeline, held, 2), 6);
	assert_int_equal(held[0].sector, 0);
	assert_int_equal(held[1].sector, 1);
	assert_int_equal(held[2].len_bytes, 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, 1), 1);
	assert_int_equal(run_released(&disk, 3), 1);
	assert_string_equal(MAP(&disk.disk, 0, 7), "a......");
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, 3), 3);
	assert_int_equal(run_released(&disk, 3), 3);
	assert_string_equal(MAP(&disk.disk, 0, 7), "abcd...");
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, 9), 2);
	assert_int_equal(run_released(&disk, 3), 2);
	assert_string_equal(MAP(&disk.disk, 0, 7), "abcdef.");
	assert_int_equal(nr_held(&disk), 0);
	free_disk(&disk.disk);
}

static void requests_are_released_by_rule_and_by_number(void **state)
{
	unsigned char data[6][SEC];
	struct held_disk disk;
	struct io ios[6];

	(void)state;
	make_held_disk(&disk, 2, false, "low range=0..3s do=hang\nhigh range=3s.. do=hang");
	for (unsigned int i = 0; i < 6; i++)
		park_write(&disk, &ios[i], i % 2, i, data[i], (char)('a' + i));
	assert_int_equal(pipeline_release(disk.disk.pipeline, "other", 0, SIZE_MAX), 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "low", ios[4].id, SIZE_MAX), 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 12345, SIZE_MAX), 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, ios[4].id, SIZE_MAX), 1);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "high", 0, 1), 1);
	assert_int_equal(run_released(&disk, 2), 2);
	assert_string_equal(MAP(&disk.disk, 0, 6), "...de.");
	assert_int_equal(pipeline_release(disk.disk.pipeline, "low", 0, SIZE_MAX), 3);
	assert_int_equal(run_released(&disk, 2), 3);
	assert_string_equal(MAP(&disk.disk, 0, 6), "abcde.");
	assert_int_equal(pipeline_release(disk.disk.pipeline, "high", ios[5].id, 1), 1);
	assert_int_equal(run_released(&disk, 2), 1);
	assert_string_equal(MAP(&disk.disk, 0, 6), "abcdef");
	free_disk(&disk.disk);
}

static void a_request_whose_time_is_up_is_carried_out(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, false, "stuck do=hang:for=30s");
	park_write(&disk, &io, 0, 2, data, 'w');
	assert_int_equal(io.due_ns, 2000 + 30 * NSEC_PER_SEC);
	assert_int_equal(nr_held(&disk), 1);
	pipeline_resume(disk.disk.pipeline, &io, io.due_ns);
	assert_int_equal(io.result, SEC);
	assert_int_equal(nr_held(&disk), 0);
	assert_string_equal(MAP(&disk.disk, 0, 4), "..w.");
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, SIZE_MAX), 0);
	free_disk(&disk.disk);
}

static void with_fail_a_request_whose_time_is_up_fails_untouched(void **state)
{
	static const struct {
		const char *rule;
		int result;
	} cases[] = {
		{ "stuck do=hang:for=1s,fail", -ETIMEDOUT },
		{ "stuck do=hang:for=1s,fail=EBUSY", -EBUSY },
	};
	unsigned char data[SEC];

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct held_disk disk;
		struct io io;

		make_held_disk(&disk, 1, false, cases[i].rule);
		park_write(&disk, &io, 0, 2, data, 'w');
		pipeline_resume(disk.disk.pipeline, &io, io.due_ns);
		assert_int_equal(io.result, cases[i].result);
		assert_string_equal(MAP(&disk.disk, 0, 4), "....");
		free_disk(&disk.disk);
	}
}

static void a_request_that_is_released_in_time_does_not_fail(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, false, "stuck do=hang:for=1s,fail");
	park_write(&disk, &io, 0, 2, data, 'w');
	assert_int_equal(pipeline_release(disk.disk.pipeline, "stuck", 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(io.result, SEC);
	assert_string_equal(MAP(&disk.disk, 0, 4), "..w.");
	/* Released, and then its time came first: still released. */
	park_write(&disk, &io, 0, 3, data, 'v');
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, 1), 1);
	pipeline_resume(disk.disk.pipeline, &io, io.due_ns);
	assert_int_equal(io.result, SEC);
	assert_string_equal(MAP(&disk.disk, 0, 5), "..wv.");
	free_disk(&disk.disk);
}

static void the_rest_of_the_rules_is_decided_on_arrival_and_happens_after_the_release(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, false,
		       "slow do=delay:1s\nstuck do=hang:for=2s\nbad do=error:ENOSPC");
	park_write(&disk, &io, 0, 0, data, 'w');
	/* The delay of the one and the time of the other add up. */
	assert_int_equal(io.due_ns, 3 * NSEC_PER_SEC);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "slow", 0, 1), 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "stuck", 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(io.result, -ENOSPC);
	free_disk(&disk.disk);
}

static void the_first_rule_that_holds_a_request_has_it(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct held held;
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, false, "one do=hang:for=1s,fail\ntwo do=hang");
	park_write(&disk, &io, 0, 0, data, 'w');
	assert_int_equal(io.due_ns, UINT64_MAX);
	assert_int_equal(pipeline_held(disk.disk.pipeline, &held, 1), 1);
	assert_string_equal(held.rule, "one");
	assert_int_equal(counts_of(&disk.disk, "two").hits, 1);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "two", 0, 1), 0);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "one", 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(io.result, SEC);
	free_disk(&disk.disk);
}

static void a_plan_lives_as_long_as_a_request_is_held_under_it(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, false, "stuck do=hang:for=1h,fail");
	park_write(&disk, &io, 0, 1, data, 'w');
	use_rules(&disk.disk, "other do=hang");
	use_rules(&disk.disk, "another op=flush do=hang");
	assert_true(pipeline_adopted(disk.disk.pipeline, 0));
	assert_int_equal(pipeline_nr_plans(disk.disk.pipeline), 2);
	/* By the name of a rule that is in force no more. */
	assert_int_equal(pipeline_release(disk.disk.pipeline, "stuck", 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(io.result, SEC);
	assert_true(pipeline_adopted(disk.disk.pipeline, 0));
	assert_int_equal(pipeline_nr_plans(disk.disk.pipeline), 1);
	free_disk(&disk.disk);
}

static void a_power_cut_ends_the_incarnation_of_held_requests(void **state)
{
	struct held_disk disk;
	unsigned char data[2][SEC];
	struct io ios[2];

	(void)state;
	make_held_disk(&disk, 1, true, "stuck range=1s..2s do=hang\nlong do=hang:for=1s");
	park_write(&disk, &ios[0], 0, 1, data[0], 'a');
	park_write(&disk, &ios[1], 0, 2, data[1], 'b');
	atomic_fetch_or(&pipeline_condition(disk.disk.pipeline)->bits, CONDITION_OFF);
	assert_true(pipeline_revive(disk.disk.pipeline, NULL) & CONDITION_OFF);
	assert_int_equal(pipeline_release(disk.disk.pipeline, "stuck", 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(ios[0].result, -EIO);
	pipeline_resume(disk.disk.pipeline, &ios[1], ios[1].due_ns);
	assert_int_equal(ios[1].result, -EIO);
	assert_string_equal(MAP(&disk.disk, 0, 4), "....");
	/* The new incarnation holds and releases as the old one did. */
	park_write(&disk, &ios[0], 0, 1, data[0], 'c');
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(ios[0].result, SEC);
	assert_string_equal(MAP(&disk.disk, 0, 4), ".c..");
	free_disk(&disk.disk);
}

static void without_power_held_requests_fail_when_released(void **state)
{
	struct held_disk disk;
	unsigned char data[SEC];
	struct io io;

	(void)state;
	make_held_disk(&disk, 1, true, "stuck do=hang");
	park_write(&disk, &io, 0, 1, data, 'a');
	atomic_fetch_or(&pipeline_condition(disk.disk.pipeline)->bits, CONDITION_OFF);
	assert_int_equal(pipeline_release(disk.disk.pipeline, NULL, 0, 1), 1);
	assert_int_equal(run_released(&disk, 1), 1);
	assert_int_equal(io.result, -EIO);
	free_disk(&disk.disk);
}

static void explain_says_how_long_and_what_then(void **state)
{
	static const struct {
		const char *rule, *want;
	} cases[] = {
		{ "a do=hang", "a: match 0: is held until it is released\n" },
		{ "a do=hang:for=1500ms",
		  "a: match 0: is held until it is released, at most 1.50s\n" },
		{ "a do=hang:for=2s,fail",
		  "a: match 0: is held until it is released, at most 2.00s, "
		  "then fails with ETIMEDOUT\n" },
	};
	struct io io = make_io(IO_FLUSH, 0, 0, NULL);

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct held_disk disk;
		char *text;

		make_held_disk(&disk, 1, false, cases[i].rule);
		text = pipeline_explain(disk.disk.pipeline, &io, 0);
		assert_int_equal(strncmp(text, cases[i].want, strlen(cases[i].want)), 0);
		assert_non_null(strstr(text, "\nonce released: carried out as usual\n"));
		free(text);
		free_disk(&disk.disk);
	}
}

static void hangs_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("s do=hang:fail", "rule.conflict", 6, "fail only with for=TIME",
		    "do=hang:for=30s");
	check_error("s do=hang:for=0s", "rule.bad-time", 15, "1ns to 1h", NULL);
	check_error("s do=hang:for=2h", "rule.bad-time", 15, "1ns to 1h, got '2h'", NULL);
	check_error("s do=hang:for=1s,fail=EPERM", "rule.bad-errno", 23, "cannot be EPERM",
		    "use EIO");
	check_error("s do=hang:30s", "rule.unknown-parameter", 11, "no parameter '30s'", NULL);
}

/* ---- two queues and a control thread that releases ----------------------------------------- */

enum { QUEUES = 2, DEPTH = 8, PER_QUEUE = 20000 };

struct worker {
	pthread_t thread;
	struct held_disk held; /* only its list of unparked requests */
	struct pipeline *pipeline;
	uint16_t queue;
	uint64_t done, failed;
	_Atomic bool over;
};

static void unpark_queue(void *ctx, struct io *io)
{
	struct worker *workers = ctx;

	unpark(&workers[io->queue].held, io);
}

static void finish_one(struct worker *worker, struct io *io, bool *waits)
{
	*waits = false;
	worker->done++;
	worker->failed += io->result != 0;
}

static void *run_worker(void *arg)
{
	struct worker *worker = arg;
	bool waits[DEPTH] = { false };
	struct io ios[DEPTH];

	while (worker->done < PER_QUEUE) {
		pipeline_adopt(worker->pipeline, worker->queue);
		for (size_t i = 0; i < worker->held.nr_unparked; i++) {
			struct io *io = worker->held.unparked[i];

			pipeline_resume(worker->pipeline, io, 0);
			finish_one(worker, io, &waits[io - ios]);
		}
		worker->held.nr_unparked = 0;
		for (int i = 0; i < DEPTH; i++) {
			if (waits[i]) {
				sched_yield();
				continue;
			}
			ios[i] = make_io(IO_FLUSH, 0, 0, NULL);
			ios[i].queue = worker->queue;
			waits[i] = pipeline_submit(worker->pipeline, &ios[i], 0) == IO_PARKED;
			if (!waits[i])
				finish_one(worker, &ios[i], &waits[i]);
		}
	}
	/* The others' time is up. */
	for (int i = 0; i < DEPTH; i++)
		if (waits[i])
			pipeline_resume(worker->pipeline, &ios[i], 0);
	atomic_store(&worker->over, true);
	return NULL;
}

static void two_queues_hold_while_the_control_thread_lists_and_releases(void **state)
{
	struct worker workers[QUEUES] = { { .queue = 0 }, { .queue = 1 } };
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = QUEUES },
		.unpark = unpark_queue,
		.ctx = workers,
	};
	struct held held[QUEUES * DEPTH];
	uint64_t released = 0, turn = 0;
	struct disk disk;

	(void)state;
	assert_int_equal(store_create(DISK, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	use_rules(&disk, "one p=0.2 do=hang\ntwo p=0.2 do=hang:for=1h,fail");
	for (uint16_t q = 0; q < QUEUES; q++) {
		workers[q].pipeline = disk.pipeline;
		assert_int_equal(pthread_create(&workers[q].thread, NULL, run_worker, &workers[q]),
				 0);
	}
	while (!atomic_load(&workers[0].over) || !atomic_load(&workers[1].over)) {
		size_t nr = pipeline_held(disk.pipeline, held, array_size(held));

		assert_in_range(nr, 0, array_size(held));
		for (size_t i = 1; i < nr; i++)
			assert_true(held[i - 1].id < held[i].id);
		if (nr && turn % 3 == 0)
			released += pipeline_release(disk.pipeline, NULL, held[nr / 2].id, 1);
		else
			released += pipeline_release(disk.pipeline, turn % 3 == 1 ? "one" : "two",
						     0, turn % 2 ? 2 : SIZE_MAX);
		turn++;
		sched_yield();
	}
	for (uint16_t q = 0; q < QUEUES; q++) {
		pthread_join(workers[q].thread, NULL);
		assert_int_equal(workers[q].failed, 0);
	}
	assert_true(released > PER_QUEUE / 2);
	assert_int_equal(pipeline_held(disk.pipeline, NULL, 0), 0);
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_held_write_reaches_the_disk_when_it_is_released_and_not_before),
		cmocka_unit_test(one_some_or_all_are_released_oldest_first_whatever_their_queue),
		cmocka_unit_test(requests_are_released_by_rule_and_by_number),
		cmocka_unit_test(a_request_whose_time_is_up_is_carried_out),
		cmocka_unit_test(with_fail_a_request_whose_time_is_up_fails_untouched),
		cmocka_unit_test(a_request_that_is_released_in_time_does_not_fail),
		cmocka_unit_test(
			the_rest_of_the_rules_is_decided_on_arrival_and_happens_after_the_release),
		cmocka_unit_test(the_first_rule_that_holds_a_request_has_it),
		cmocka_unit_test(a_plan_lives_as_long_as_a_request_is_held_under_it),
		cmocka_unit_test(a_power_cut_ends_the_incarnation_of_held_requests),
		cmocka_unit_test(without_power_held_requests_fail_when_released),
		cmocka_unit_test(explain_says_how_long_and_what_then),
		cmocka_unit_test(hangs_that_make_no_sense_are_refused),
		cmocka_unit_test(two_queues_hold_while_the_control_thread_lists_and_releases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
