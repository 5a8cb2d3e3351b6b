// SPDX-License-Identifier: MIT
/* tsan */
/*
 * What the explorer visits, whatever workers, shards and interruptions there are. The check is a
 * function in here: it builds the state from image and picks, and some contents are bad.
 */
#include "faults/explore/key_set.h"
#include "tests/unit/faults/explore/explore_disk.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define WORKERS_MAX 5
#define RESULTS_MAX 60000
#define POINTS_MAX  512

struct got {
	uint64_t key, hash, content;
	size_t point;
	enum explore_verdict verdict;
	enum strategy_kind strategy;
	char name[48];
};

/* One exploration, and what came of it. */
struct trip {
	struct explore_options options;
	struct explore *explore;
	struct crash_image images[WORKERS_MAX];
	struct got *got;
	size_t nr_got, nr_before; /* the first ones are of an earlier run */
	struct explore_point points[POINTS_MAX];
	size_t nr_points;
	uint64_t stop_after; /* results; 0: never */
	int check_error;     /* what check() returns from then on */
	_Atomic uint64_t nr_checks;
	struct explore_status status;
};

/* ------------------------------------------------------------------------------ callbacks */

struct builder {
	unsigned char *bytes;
	struct {
		uint64_t at;
		uint32_t len;
		unsigned char old[SEC];
	} undos[DISK_BYTES / SEC];
	size_t nr;
};

static int build(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	struct builder *b = ctx;

	assert(disk == 0 && b->nr < array_size(b->undos) && len <= sizeof(b->undos[0].old));
	b->undos[b->nr].at = at;
	b->undos[b->nr].len = len;
	memcpy(b->undos[b->nr++].old, b->bytes + at, len);
	if (data)
		memcpy(b->bytes + at, data, len);
	else
		memset(b->bytes + at, 0, len);
	return 0;
}

static void take_back(struct builder *b)
{
	while (b->nr) {
		b->nr--;
		memcpy(b->bytes + b->undos[b->nr].at, b->undos[b->nr].old, b->undos[b->nr].len);
	}
}

static uint64_t content_of(const unsigned char *bytes)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < DISK_BYTES; i += SEC)
		hash = rng_mix(hash, i, bytes[i]);
	return hash;
}

static bool is_bad(uint64_t content)
{
	return content % 11 == 0;
}

/* The content travels to result() as the time. */
static int check(void *ctx, unsigned int worker, const struct explore_state *state,
		 struct explore_result *ret_result)
{
	struct trip *trip = ctx;
	struct builder *b = malloc(sizeof(*b));

	(void)worker;
	atomic_fetch_add(&trip->nr_checks, 1);
	if (trip->check_error && atomic_load(&trip->nr_checks) > 20) {
		free(b);
		return trip->check_error;
	}
	assert(b && state->images && state->crash &&
	       crash_step(state->crash) == state->point->step);
	b->bytes = state->images[0].bytes;
	b->nr = 0;
	crash_put(state->crash, state->picks, build, b);
	ret_result->time_ns = content_of(b->bytes);
	ret_result->verdict = is_bad(ret_result->time_ns) ? EXPLORE_FAIL : EXPLORE_OK;
	take_back(b);
	free(b);
	return 0;
}

static int image(void *ctx, unsigned int worker, uint16_t disk, struct crash_image *ret_image)
{
	struct trip *trip = ctx;

	(void)disk;
	assert(worker < WORKERS_MAX);
	memory_image(&trip->images[worker]);
	*ret_image = trip->images[worker];
	return 0;
}

static void result(void *ctx, const struct explore_state *state, const struct explore_result *r)
{
	struct trip *trip = ctx;
	struct got *got = &trip->got[trip->nr_got++];

	assert(trip->nr_got < RESULTS_MAX);
	*got = (struct got){ .key = state->key,
			     .hash = state->hash,
			     .content = r->time_ns,
			     .point = state->point_index,
			     .verdict = r->verdict,
			     .strategy = state->strategy };
	snprintf(got->name, sizeof(got->name), "%s", state->name);
	if (trip->stop_after && trip->nr_got - trip->nr_before >= trip->stop_after)
		explore_stop(trip->explore);
}

static void point(void *ctx, const struct explore_point *p)
{
	struct trip *trip = ctx;

	assert(trip->nr_points < POINTS_MAX);
	trip->points[trip->nr_points++] = *p;
}

static bool known(void *ctx, uint64_t key, enum explore_verdict *ret_verdict)
{
	struct trip *trip = ctx;

	for (size_t i = 0; i < trip->nr_before; i++) {
		if (trip->got[i].key != key)
			continue;
		*ret_verdict = trip->got[i].verdict;
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------ trips */

static const struct strategy all_kinds[] = {
	{ .kind = STRATEGY_EXHAUSTIVE, .count = 64 },
	{ .kind = STRATEGY_NEW },
	{ .kind = STRATEGY_OLD },
	{ .kind = STRATEGY_PREFIXES },
	{ .kind = STRATEGY_DROP_ONE },
	{ .kind = STRATEGY_RANDOM, .count = 20 },
};

static struct trip *new_trip(const struct journal *journal)
{
	struct trip *trip = calloc(1, sizeof(*trip));

	assert_non_null(trip);
	trip->got = calloc(RESULTS_MAX, sizeof(*trip->got));
	assert_non_null(trip->got);
	trip->options = (struct explore_options){ .journal = journal,
						  .strategies = all_kinds,
						  .nr_strategies = array_size(all_kinds),
						  .seed = 7,
						  .nr_shards = 1,
						  .jobs = 1,
						  .check = check,
						  .image = image,
						  .result = result,
						  .point = point,
						  .known = known,
						  .ctx = trip };
	return trip;
}

static void free_trip(struct trip *trip)
{
	free(trip->got);
	free(trip);
}

static int by_key(const void *a, const void *b)
{
	const struct got *one = a, *other = b;

	return one->key < other->key ? -1 : one->key > other->key;
}

static int by_point(const void *a, const void *b)
{
	const struct explore_point *one = a, *other = b;

	return one->point_index < other->point_index ? -1 : one->point_index > other->point_index;
}

/* Runs it; the results sorted. */
static int go(struct trip *trip)
{
	struct diag diag = { 0 };
	int err;

	if (explore_create(&trip->options, &diag, &trip->explore))
		fail_msg("%s", diag.message);
	err = explore_run(trip->explore, &diag);
	explore_status(trip->explore, &trip->status);
	trip->explore = explore_free(trip->explore);
	for (int i = 0; i < WORKERS_MAX; i++)
		free_image(&trip->images[i]);
	qsort(trip->got, trip->nr_got, sizeof(*trip->got), by_key);
	qsort(trip->points, trip->nr_points, sizeof(*trip->points), by_point);
	return err;
}

static struct trip *run_with(const struct journal *journal, unsigned int jobs, unsigned int shard,
			     unsigned int nr_shards)
{
	struct trip *trip = new_trip(journal);

	trip->options.jobs = jobs;
	trip->options.shard = shard;
	trip->options.nr_shards = nr_shards;
	assert_int_equal(go(trip), 0);
	return trip;
}

static void same_results(const struct trip *one, const struct trip *other)
{
	assert_int_equal(one->nr_got, other->nr_got);
	for (size_t i = 0; i < one->nr_got; i++)
		assert_memory_equal(&one->got[i], &other->got[i], sizeof(one->got[i]));
}

static void same_points(const struct trip *one, const struct trip *other)
{
	assert_int_equal(one->nr_points, other->nr_points);
	for (size_t i = 0; i < one->nr_points; i++) {
		const struct explore_point *a = &one->points[i], *b = &other->points[i];

		assert_int_equal(a->point_index, b->point_index);
		assert_int_equal(a->generated, b->generated);
		assert_int_equal(a->distinct, b->distinct);
		assert_int_equal(a->equivalent, b->equivalent);
		assert_memory_equal(a->verdicts, b->verdicts, sizeof(a->verdicts));
		assert_true(a->covered == b->covered);
		assert_int_equal(a->complete, b->complete);
		assert_int_equal(a->exact, b->exact);
		assert_string_equal(a->legal.text, b->legal.text);
	}
}

/* ------------------------------------------------------------------------------ tests */

static void the_results_are_the_same_with_1_2_and_4_workers(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct journal *journal = random_journal(seed, 150, 40);
		struct trip *one = run_with(journal, 1, 0, 1);
		struct trip *two = run_with(journal, 2, 0, 1);
		struct trip *four = run_with(journal, 4, 0, 1);

		assert_true(one->nr_got > 100);
		same_results(one, two);
		same_results(one, four);
		same_points(one, two);
		same_points(one, four);
		free_trip(one);
		free_trip(two);
		free_trip(four);
		journal_free(journal);
	}
}

static void add_all(struct trip *to, const struct trip *from)
{
	for (size_t i = 0; i < from->nr_got; i++) {
		assert_true(to->nr_got < RESULTS_MAX);
		to->got[to->nr_got++] = from->got[i];
	}
}

static void keep_each_key_once(struct trip *trip)
{
	size_t nr = 0;

	qsort(trip->got, trip->nr_got, sizeof(*trip->got), by_key);
	for (size_t i = 0; i < trip->nr_got; i++)
		if (nr == 0 || trip->got[nr - 1].key != trip->got[i].key)
			trip->got[nr++] = trip->got[i];
	trip->nr_got = nr;
}

static void three_shards_merged_are_the_whole_even_if_one_ran_twice(void **state)
{
	struct journal *journal = random_journal(11, 200, 40);
	struct trip *whole = run_with(journal, 2, 0, 1), *merged = new_trip(journal);
	struct trip *shards[4];
	double *covered = calloc(whole->nr_points, sizeof(*covered));

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		shards[i] = run_with(journal, 1 + i % 2, i % 3, 3);
		assert_true(shards[i]->nr_got > 0 && shards[i]->nr_got < whole->nr_got / 2);
		add_all(merged, shards[i]);
	}
	same_results(shards[0], shards[3]);
	assert_int_equal(merged->nr_got, whole->nr_got + shards[3]->nr_got);
	keep_each_key_once(merged);
	same_results(merged, whole);
	/* Their parts add up. */
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(shards[i]->nr_points, whole->nr_points);
		for (size_t p = 0; p < whole->nr_points; p++) {
			covered[p] += shards[i]->points[p].covered;
			assert_int_equal(shards[i]->points[p].exact, whole->points[p].exact);
			assert_int_equal(shards[i]->points[p].complete,
					 whole->points[p].exact &&
						 shards[i]->points[p].covered == 1);
		}
	}
	for (size_t p = 0; p < whole->nr_points; p++)
		assert_true(fabs(covered[p] - whole->points[p].covered) < 1e-9);
	free(covered);
	for (unsigned int i = 0; i < 4; i++)
		free_trip(shards[i]);
	free_trip(merged);
	free_trip(whole);
	journal_free(journal);
}

static void a_run_that_was_stopped_and_goes_on_ends_as_one_that_was_not(void **state)
{
	struct journal *journal = random_journal(5, 150, 40);
	struct trip *whole = run_with(journal, 2, 0, 1);

	(void)state;
	for (uint64_t after = 1; after < whole->nr_got; after += whole->nr_got / 7) {
		struct trip *trip = new_trip(journal);

		trip->options.jobs = 2;
		trip->stop_after = after;
		assert_int_equal(go(trip), 0);
		assert_int_equal(trip->status.stopped, EXPLORE_ASKED);
		assert_true(trip->nr_got < whole->nr_got);
		trip->nr_before = trip->nr_got;
		trip->nr_points = 0;
		trip->stop_after = 0;
		atomic_store(&trip->nr_checks, 0);
		assert_int_equal(go(trip), 0);
		assert_int_equal(atomic_load(&trip->nr_checks), whole->nr_got - trip->nr_before);
		assert_int_equal(trip->status.known, trip->nr_before);
		same_results(trip, whole);
		same_points(trip, whole);
		assert_int_equal(trip->status.findings, whole->status.findings);
		free_trip(trip);
	}
	free_trip(whole);
	journal_free(journal);
}

static void equal_content_is_checked_once_and_again_after_a_mark(void **state)
{
	struct journal *journal = random_journal(3, 150, 20);
	struct trip *trip = run_with(journal, 2, 0, 1), *by_content = new_trip(journal);
	size_t contents = 0;

	(void)state;
	by_content->options.by_content = true;
	assert_int_equal(go(by_content), 0);
	/* Keys differ, hash and content belong together, and with marks the content may repeat. */
	for (size_t i = 1; i < trip->nr_got; i++)
		assert_true(trip->got[i].key != trip->got[i - 1].key);
	for (size_t i = 0; i < trip->nr_got; i++) {
		size_t same = 0, before = 0;

		for (size_t j = 0; j < trip->nr_got; j++) {
			if (trip->got[j].content != trip->got[i].content)
				continue;
			assert_int_equal(trip->got[j].hash, trip->got[i].hash);
			same++;
			before += j < i;
		}
		assert_true(same <= journal->nr_marks + 1);
		contents += before == 0;
	}
	assert_true(contents < trip->nr_got);
	assert_int_equal(by_content->nr_got, contents);
	free_trip(by_content);
	free_trip(trip);
	journal_free(journal);
}

static void coverage_is_exact_where_all_was_visited_and_else_at_least(void **state)
{
	struct journal *journal = random_journal(8, 200, 60);
	struct trip *trip = run_with(journal, 2, 0, 1);
	size_t complete = 0, partly = 0;

	(void)state;
	for (size_t i = 0; i < trip->nr_points; i++) {
		const struct explore_point *p = &trip->points[i];

		assert_int_equal(p->point_index, i);
		assert_int_equal(p->generated, p->distinct + p->equivalent);
		assert_int_equal(p->exact, p->complete);
		if (p->legal.exact <= 64) {
			assert_true(p->complete && p->covered == 1);
			assert_int_equal(p->generated, p->legal.exact);
			complete++;
		} else {
			assert_false(p->complete);
			assert_true(p->covered > 0 && p->covered < 1);
			assert_true(p->covered <= (double)p->generated * exp2(-p->legal.log2));
			partly++;
		}
	}
	assert_true(complete && partly);
	assert_int_equal(trip->status.points_complete, complete);
	assert_int_equal(trip->status.points_done, trip->nr_points);
	free_trip(trip);
	journal_free(journal);
}

/* Every third check cannot be run; one is slow, so that others wait for what comes of it. */
static int check_some(void *ctx, unsigned int worker, const struct explore_state *state,
		      struct explore_result *ret_result)
{
	int err = check(ctx, worker, state, ret_result);

	if (state->key % 3 == 0)
		ret_result->verdict = EXPLORE_ERROR;
	if (state->key % 5 == 0)
		usleep(200);
	return err;
}

static void what_could_not_be_run_is_not_covered_and_nor_is_what_equals_it(void **state)
{
	struct journal *journal = random_journal(21, 100, 3);
	struct trip *good = new_trip(journal), *one = new_trip(journal);
	struct trip *four = new_trip(journal);
	size_t elsewhere = 0;

	(void)state;
	one->options.check = four->options.check = check_some;
	four->options.jobs = 4;
	good->options.by_content = one->options.by_content = four->options.by_content = true;
	assert_int_equal(go(good), 0);
	assert_int_equal(go(one), 0);
	assert_int_equal(go(four), 0);
	assert_true(one->status.errors > 10);
	same_results(one, four);
	same_points(one, four);
	for (size_t i = 0; i < one->nr_points; i++) {
		const struct explore_point *p = &one->points[i];
		double errors = (double)p->verdicts[EXPLORE_ERROR];

		assert_true(p->covered <= good->points[i].covered);
		if (!good->points[i].complete)
			continue;
		/* Each legal state is generated once: the others are equal to earlier ones. */
		assert_true(p->covered * p->legal.exact <= p->legal.exact - errors + 1e-6);
		assert_int_equal(p->complete, p->covered == 1);
		elsewhere += errors == 0 && !p->complete;
	}
	assert_true(elsewhere > 0);
	assert_true(one->status.points_complete < good->status.points_complete);
	free_trip(good);
	free_trip(one);
	free_trip(four);
	journal_free(journal);
}

static void limits_stop_it_and_say_so(void **state)
{
	struct journal *journal = random_journal(21, 200, 40);
	struct journal *few = random_journal(21, 100, 3);
	struct trip *whole = run_with(journal, 1, 0, 1), *trip = new_trip(journal);
	double covered = 0;
	size_t open = 0;

	(void)state;
	trip->options.max_states = 100;
	assert_int_equal(go(trip), 0);
	assert_int_equal(trip->nr_got, 100);
	assert_int_equal(trip->status.stopped, EXPLORE_AT_LIMIT);
	for (size_t i = 0; i < trip->nr_points; i++)
		open += !trip->points[i].complete && trip->points[i].legal.exact <= 64;
	assert_true(open <= 1);
	free_trip(trip);

	/* What was begun is not among the crash points that are done. */
	for (uint64_t n = 1; n < 60; n++) {
		static const struct strategy all = { .kind = STRATEGY_EXHAUSTIVE, .count = 64 };

		trip = new_trip(few);
		trip->options.strategies = &all;
		trip->options.nr_strategies = 1;
		trip->options.max_states = n;
		assert_int_equal(go(trip), 0);
		assert_true(trip->status.covered <= 1);
		free_trip(trip);
	}

	/* What is covered is covered of all crash points, and partly of the one that was begun. */
	trip = new_trip(journal);
	trip->options.max_states = whole->nr_got / 2;
	assert_int_equal(go(trip), 0);
	assert_true(trip->status.points_done < trip->status.nr_points);
	for (size_t i = 0; i < trip->nr_points; i++)
		covered += trip->points[i].covered / (double)trip->status.nr_points;
	assert_true(fabs(trip->status.covered - covered) < 1e-9);
	assert_true(trip->status.covered < whole->status.covered);
	free_trip(trip);

	/* Just as many as there are is no limit. */
	trip = new_trip(journal);
	trip->options.max_states = whole->nr_got;
	assert_int_equal(go(trip), 0);
	assert_int_equal(trip->status.stopped, EXPLORE_NOT_STOPPED);
	same_results(trip, whole);
	free_trip(trip);

	trip = new_trip(journal);
	trip->options.max_findings = 2;
	assert_int_equal(go(trip), 0);
	assert_int_equal(trip->status.stopped, EXPLORE_AT_FINDINGS);
	assert_int_equal(trip->status.findings, 2);
	free_trip(trip);

	trip = new_trip(journal);
	trip->options.max_ns = 1;
	assert_int_equal(go(trip), 0);
	assert_int_equal(trip->status.stopped, EXPLORE_AT_LIMIT);
	assert_true(trip->nr_got < whole->nr_got);
	free_trip(trip);
	free_trip(whole);
	journal_free(few);
	journal_free(journal);
}

static void an_error_of_the_check_ends_it_and_being_stopped_is_none(void **state)
{
	struct journal *journal = random_journal(21, 200, 40);
	struct trip *trip = new_trip(journal);

	(void)state;
	trip->options.jobs = 3;
	trip->check_error = -EIO;
	assert_int_equal(go(trip), -EIO);
	assert_true(trip->nr_got <= 20);
	free_trip(trip);
	trip = new_trip(journal);
	trip->options.jobs = 3;
	trip->check_error = -EINTR;
	assert_int_equal(go(trip), 0);
	assert_true(trip->nr_got <= 20);
	free_trip(trip);
	journal_free(journal);
}

static void beyond_the_keys_that_are_remembered_states_are_checked_again(void **state)
{
	struct journal *journal = random_journal(3, 150, 20);
	struct trip *whole = run_with(journal, 1, 0, 1), *trip = new_trip(journal);

	(void)state;
	trip->options.max_keys = 40;
	assert_int_equal(go(trip), 0);
	assert_true(trip->nr_got > whole->nr_got);
	assert_true(trip->status.forgotten > 0);
	assert_int_equal(whole->status.forgotten, 0);
	keep_each_key_once(trip);
	assert_int_equal(trip->nr_got, whole->nr_got);
	for (size_t i = 0; i < trip->nr_got; i++)
		assert_int_equal(trip->got[i].key, whole->got[i].key);
	free_trip(trip);
	free_trip(whole);
	journal_free(journal);
}

static void whole_writes_and_kept_order_are_explored_too(void **state)
{
	(void)state;
	for (enum crash_atomic atomic = CRASH_WRITE; atomic <= CRASH_ORDER; atomic++) {
		struct journal *journal = random_journal(31, 120, 40);
		struct trip *one = new_trip(journal), *two = new_trip(journal);

		one->options.crash.atomic = two->options.crash.atomic = atomic;
		two->options.jobs = 3;
		assert_int_equal(go(one), 0);
		assert_int_equal(go(two), 0);
		assert_true(one->nr_got > 20);
		same_results(one, two);
		same_points(one, two);
		for (size_t i = 0; i < one->nr_points; i++)
			if (one->points[i].missing)
				assert_true(!one->points[i].complete && !one->points[i].covered);
			else
				assert_int_equal(one->points[i].complete,
						 one->points[i].legal.exact <= 64 ||
							 (atomic == CRASH_ORDER &&
							  one->points[i].legal.exact ==
								  one->points[i].nr_volatile + 1));
		free_trip(one);
		free_trip(two);
		journal_free(journal);
	}
}

/* A sector of the state, however it is shown. */
static unsigned char byte_of(const struct explore_state *state, const unsigned char *bytes,
			     uint64_t sector)
{
	unsigned char block[SEC];

	if (!state->view)
		return bytes[sector * SEC];
	if (view_read(state->view, 0, sector * SEC, block, SEC))
		abort();
	return block[0];
}

/* Goes from sector to sector as it reads, some of them; bad is what comes to a certain sum. */
static enum explore_verdict wander(const struct explore_state *state, const unsigned char *bytes)
{
	unsigned int at = 0, sum = 0;

	for (int i = 0; i < 6; i++) {
		unsigned char byte = byte_of(state, bytes, at % 12);

		sum += byte;
		at += byte + 1;
	}
	return sum % 3 == 1 ? EXPLORE_FAIL : EXPLORE_OK;
}

static int check_wandering(void *ctx, unsigned int worker, const struct explore_state *state,
			   struct explore_result *ret_result)
{
	struct builder *b;
	int verdict;

	(void)ctx;
	(void)worker;
	if (state->run) {
		assert(state->view && !state->picks);
		if (lazy_check_starts(state->run, &verdict))
			ret_result->verdict = verdict;
		else
			ret_result->verdict = wander(state, NULL);
		return 0;
	}
	b = malloc(sizeof(*b));
	assert(b);
	b->bytes = state->images[0].bytes;
	b->nr = 0;
	crash_put(state->crash, state->picks, build, b);
	ret_result->verdict = wander(state, b->bytes);
	take_back(b);
	free(b);
	return 0;
}

static bool known_lazy(void *ctx, size_t point_index, struct explore_lazy_known *ret_known)
{
	struct trip *trip = ctx;

	assert(point_index == 0);
	for (size_t i = 0; i < trip->nr_before; i++) {
		ret_known->runs++;
		ret_known->verdicts[trip->got[i].verdict]++;
	}
	return trip->nr_before != 0;
}

static struct trip *wander_at(const struct journal *journal, uint64_t step, unsigned int jobs,
			      const struct strategy *strategy)
{
	struct trip *trip = new_trip(journal);

	trip->options.check = check_wandering;
	trip->options.select.from = trip->options.select.to = step;
	trip->options.select.has_to = true;
	trip->options.strategies = strategy;
	trip->options.nr_strategies = 1;
	trip->options.jobs = jobs;
	assert_int_equal(go(trip), 0);
	return trip;
}

static void lazy_finds_in_few_runs_what_all_states_come_to(void **state)
{
	static const struct strategy exhaustive = { .kind = STRATEGY_EXHAUSTIVE, .count = 20000 };
	static const struct strategy lazy = { .kind = STRATEGY_LAZY };
	struct journal *journal = random_journal(13, 300, 14);
	size_t nr = 0, lazy_runs = 0, all_states = 0;

	(void)state;
	for (uint64_t step = 1; step <= journal->end_step; step += 3) {
		struct trip *all = wander_at(journal, step, 1, &exhaustive);
		struct trip *one = wander_at(journal, step, 1, &lazy);
		struct trip *four = wander_at(journal, step, 4, &lazy);
		double legal = (double)all->points[0].legal.exact;

		assert_int_equal(one->nr_points, 1);
		assert_true(one->points[0].complete && one->points[0].exact);
		assert_true(one->points[0].covered == 1 && one->points[0].has_shares);
		assert_true(four->points[0].complete);
		if (all->points[0].complete) {
			for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
				assert_true(fabs(one->points[0].shares[i] * legal -
						 (double)all->points[0].verdicts[i]) < 1e-6);
			lazy_runs += one->nr_got;
			all_states += all->nr_got;
			nr++;
		}
		for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
			assert_true(one->points[0].shares[i] == four->points[0].shares[i]);
		free_trip(all);
		free_trip(one);
		free_trip(four);
	}
	assert_true(nr > 20);
	assert_true(lazy_runs * 4 < all_states);
	journal_free(journal);
}

static void lazy_belongs_to_one_shard_and_is_not_done_twice(void **state)
{
	static const struct strategy lazy = { .kind = STRATEGY_LAZY };
	struct journal *journal = random_journal(13, 300, 14);
	unsigned int with = 0;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct trip *trip = new_trip(journal);

		trip->options.check = check_wandering;
		trip->options.select.from = trip->options.select.to = journal->end_step / 2;
		trip->options.select.has_to = true;
		trip->options.strategies = &lazy;
		trip->options.nr_strategies = 1;
		trip->options.shard = i;
		trip->options.nr_shards = 3;
		trip->options.known_lazy = known_lazy;
		assert_int_equal(go(trip), 0);
		assert_int_equal(trip->points[0].complete, trip->nr_got > 0);
		with += trip->nr_got > 0;
		if (trip->nr_got) {
			struct explore_point before = trip->points[0];

			trip->nr_before = trip->nr_got;
			trip->nr_points = 0;
			assert_int_equal(go(trip), 0);
			assert_int_equal(trip->nr_got, trip->nr_before);
			assert_true(trip->points[0].complete && trip->points[0].covered == 1);
			assert_int_equal(trip->points[0].distinct, before.distinct);
			assert_memory_equal(trip->points[0].verdicts, before.verdicts,
					    sizeof(before.verdicts));
		}
		free_trip(trip);
	}
	assert_int_equal(with, 1);
	journal_free(journal);
}

static void what_does_not_fit_is_refused(void **state)
{
	static const struct strategy lazy = { .kind = STRATEGY_LAZY };
	struct journal *journal = random_journal(1, 20, 10);
	struct trip *trip = new_trip(journal);
	struct diag diag = { 0 };

	(void)state;
	trip->options.nr_shards = 3;
	trip->options.shard = 3;
	assert_int_equal(explore_create(&trip->options, &diag, &trip->explore), -EINVAL);
	assert_string_equal(diag.id, "explore.shard");
	trip->options.shard = 0;
	trip->options.strategies = &lazy;
	trip->options.nr_strategies = 1;
	trip->options.crash.atomic = CRASH_WRITE;
	assert_int_equal(explore_create(&trip->options, &diag, &trip->explore), -EINVAL);
	assert_string_equal(diag.id, "explore.lazy");
	free_trip(trip);
	journal_free(journal);
}

static void a_set_of_keys_holds_what_was_added(void **state)
{
	struct key_set set = { .limit = 100000 };

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 20000; i++)
			assert_int_equal(key_set_add(&set, i * 8), 1);
		for (uint64_t i = 0; i < 20000; i++) {
			assert_int_equal(key_set_add(&set, i * 8), 0);
			assert_false(key_set_has(&set, i * 8 + 1));
		}
		assert_int_equal(set.nr, 20000);
		key_set_clear(&set);
		assert_false(key_set_has(&set, 0));
	}
	set.limit = 2;
	assert_int_equal(key_set_add(&set, 0), 1);
	assert_int_equal(key_set_add(&set, 1), 1);
	assert_int_equal(key_set_add(&set, 2), -ENOSPC);
	assert_int_equal(key_set_add(&set, 1), 0);
	key_set_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_results_are_the_same_with_1_2_and_4_workers),
		cmocka_unit_test(three_shards_merged_are_the_whole_even_if_one_ran_twice),
		cmocka_unit_test(a_run_that_was_stopped_and_goes_on_ends_as_one_that_was_not),
		cmocka_unit_test(equal_content_is_checked_once_and_again_after_a_mark),
		cmocka_unit_test(coverage_is_exact_where_all_was_visited_and_else_at_least),
		cmocka_unit_test(what_could_not_be_run_is_not_covered_and_nor_is_what_equals_it),
		cmocka_unit_test(limits_stop_it_and_say_so),
		cmocka_unit_test(an_error_of_the_check_ends_it_and_being_stopped_is_none),
		cmocka_unit_test(beyond_the_keys_that_are_remembered_states_are_checked_again),
		cmocka_unit_test(whole_writes_and_kept_order_are_explored_too),
		cmocka_unit_test(lazy_finds_in_few_runs_what_all_states_come_to),
		cmocka_unit_test(lazy_belongs_to_one_shard_and_is_not_done_twice),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_set_of_keys_holds_what_was_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
