// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "faults/explore/lazy.h"
#include "tests/crash_case.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>

#define UNIT  4096u
#define UNITS 200u
#define SIZE  (UNITS * UNIT)

/* Units 0 to nr-1 are undecided: zero, or their letter in sector 0 and 'z' behind it. */
static unsigned char data[26][UNIT];

static struct crash_case *make_case(size_t nr, enum crash_atomic atomic)
{
	struct crash_options options = { .unit_bytes = UNIT, .atomic = atomic };
	struct crash_case *c = calloc(1, sizeof(*c));

	c->size_bytes = SIZE;
	c->nr_disks = 1;
	for (size_t i = 0; i < 26; i++) {
		memset(data[i], 'z', UNIT);
		memset(data[i], 'a' + (int)i, 512);
	}
	for (size_t i = 0; i < nr; i++)
		case_complete(c, case_write(c, 0, i * UNIT, UNIT, data[i % 26], 0));
	case_seal(c, 512, &options);
	return c;
}

static void drop_case(struct crash_case *c)
{
	case_free(c);
	free(c);
}

static struct lazy *make_lazy(const struct crash_case *c, const struct lazy_options *options)
{
	struct lazy *lazy;

	case_must(lazy_create(c->crash, c->images, options, &lazy) == 0);
	return lazy;
}

static char read_sector(struct view *view, uint64_t unit, uint64_t sector)
{
	unsigned char bytes[512];

	case_must(view_read(view, 0, unit * UNIT + sector * 512, bytes, 512) == 0);
	return (char)bytes[0];
}

static struct lazy_status status_of(struct lazy *lazy)
{
	struct lazy_status status;

	lazy_status(lazy, &status);
	return status;
}

/* Runs that each do @body and end with its verdict; returns how many there were. */
typedef int (*body_fn)(struct lazy_run *run, struct view *view);

static uint64_t run_all(struct lazy *lazy, body_fn body)
{
	struct lazy_run *run;
	uint64_t nr = 0;

	for (; lazy_next(lazy, &run) == 1; nr++)
		assert_int_equal(lazy_end(lazy, run, body(run, lazy_view(run))), 0);
	assert_int_equal(lazy_next(lazy, &run), 0);
	return nr;
}

static uint64_t runs_for(size_t nr, body_fn body)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(nr, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);
	uint64_t runs = run_all(lazy, body);

	assert_true(status_of(lazy).complete);
	assert_true(status_of(lazy).covered == 1);
	assert_int_equal(status_of(lazy).open, 0);
	assert_int_equal(status_of(lazy).runs, runs);
	lazy_free(lazy);
	drop_case(c);
	return runs;
}

/* ---- what is a decision ------------------------------------------------------------------ */

static int read_nothing(struct lazy_run *run, struct view *view)
{
	(void)run;
	read_sector(view, UNITS - 1, 0);
	return 0;
}

static int read_three(struct lazy_run *run, struct view *view)
{
	(void)run;
	return !!read_sector(view, 0, 0) + !!read_sector(view, 7, 7) + !!read_sector(view, 9, 1);
}

static int stop_at_the_first_lost(struct lazy_run *run, struct view *view)
{
	uint64_t unit = 0;

	(void)run;
	while (unit < UNITS && read_sector(view, unit, 0))
		unit++;
	return (int)unit;
}

static int overwrite_then_read(struct lazy_run *run, struct view *view)
{
	(void)run;
	case_must(view_zero(view, 0, 0, UNIT) == 0);
	case_must(view_write(view, 0, UNIT, data[3], 512) == 0);
	return read_sector(view, 0, 3) + read_sector(view, 1, 0);
}

static int overwrite_half_then_read(struct lazy_run *run, struct view *view)
{
	unsigned char bytes[UNIT];

	(void)run;
	case_must(view_write(view, 0, 0, data[3], 512) == 0);
	case_must(view_read(view, 0, 0, bytes, UNIT) == 0);
	case_must(bytes[0] == 'd');
	return bytes[512];
}

static void what_is_not_read_costs_no_run(void **state)
{
	(void)state;
	assert_int_equal(runs_for(0, read_nothing), 1);
	assert_int_equal(runs_for(40, read_nothing), 1);
	assert_int_equal(runs_for(190, overwrite_then_read), 1);
}

static void what_is_read_costs_a_run_for_each_content(void **state)
{
	(void)state;
	assert_int_equal(runs_for(190, read_three), 8);
	assert_int_equal(runs_for(190, stop_at_the_first_lost), 191);
	assert_int_equal(runs_for(190, overwrite_half_then_read), 2);
}

/* The two versions of the unit differ in its first sector alone. */
static int read_the_second_sector(struct lazy_run *run, struct view *view)
{
	(void)run;
	return read_sector(view, 0, 1);
}

static int read_both_sectors(struct lazy_run *run, struct view *view)
{
	int verdict = read_sector(view, 0, 1);

	(void)run;
	return verdict ? read_sector(view, 0, 0) : 0;
}

static void contents_that_are_alike_where_they_are_read_stay_together(void **state)
{
	static const body_fn bodies[] = { read_the_second_sector, read_both_sectors };
	struct crash_options unit = { .unit_bytes = UNIT };
	struct lazy_options options = { .seed = 1 };

	(void)state;
	for (uint64_t i = 0; i < 2; i++) {
		struct crash_case *c = make_case(0, CRASH_UNIT);
		struct lazy *lazy;

		case_free(c);
		c->nr_writes = c->step = 0;
		case_complete(c, case_write(c, 0, 0, UNIT, data[0], 0));
		case_complete(c, case_write(c, 0, 0, UNIT, data[1], 0));
		case_seal(c, 512, &unit);
		lazy = make_lazy(c, &options);
		/* Zeroes, and a and b together or apart. */
		assert_int_equal(run_all(lazy, bodies[i]), 2 + i);
		assert_true(fabs(lazy_share(lazy, 0) - 1.0 / 3) < 1e-15);
		assert_true(status_of(lazy).complete);
		lazy_free(lazy);
		drop_case(c);
	}
}

static int read_far_apart(struct lazy_run *run, struct view *view)
{
	unsigned char bytes[512];
	int verdict = 0;

	(void)run;
	case_must(view_read(view, 0, 0, bytes, 512) == 0);
	verdict += bytes[0] == 'a';
	case_must(view_read(view, 0, 512, bytes, 512) == 0);
	case_must(view_read(view, 0, 100 << 10, bytes, 512) == 0);
	return verdict + 2 * (bytes[0] == 'b');
}

/* More sectors than a word has bits. */
static void units_of_many_sectors_are_split_where_they_are_read(void **state)
{
	struct crash_options unit = { .unit_bytes = 128 << 10 };
	struct lazy_options options = { .repeat_every = 1 };
	struct crash_case *c = make_case(0, CRASH_UNIT);
	struct lazy *lazy;

	(void)state;
	case_free(c);
	c->nr_writes = c->step = 0;
	case_complete(c, case_write(c, 0, 0, 512, data[0], 0));
	case_complete(c, case_write(c, 0, 100 << 10, 512, data[1], 0));
	case_complete(c, case_write(c, 0, 60 << 10, 512, data[2], 0));
	case_seal(c, 512, &unit);
	lazy = make_lazy(c, &options);
	/* Nothing; a; a and b, with or without c. */
	assert_int_equal(run_all(lazy, read_far_apart), 2 * 3);
	assert_true(status_of(lazy).complete);
	assert_true(lazy_share(lazy, 3) == 0.5);
	lazy_free(lazy);
	drop_case(c);
}

static void shares_are_those_of_all_states(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);

	(void)state;
	run_all(lazy, stop_at_the_first_lost);
	assert_true(lazy_share(lazy, 0) == 0.5);
	assert_true(lazy_share(lazy, 3) == 1.0 / 16);
	assert_true(lazy_share(lazy, 190) == ldexp(1, -190));
	assert_true(lazy_share(lazy, 191) == 0);
	lazy_free(lazy);
	drop_case(c);
}

static void only_units_can_be_decided_when_they_are_read(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(3, CRASH_WRITE);
	struct lazy *lazy = NULL;

	(void)state;
	assert_int_equal(lazy_create(c->crash, c->images, &options, &lazy), -EINVAL);
	assert_null(lazy);
	drop_case(c);
}

/* ---- the order, and the end -------------------------------------------------------------- */

static uint64_t lost_in(const uint16_t *picks, size_t nr)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < nr; i++)
		lost += !picks[i];
	return lost;
}

static void the_first_run_has_it_that_everything_survived(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(12, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);
	struct lazy_run *run;
	uint16_t picks[12];

	(void)state;
	assert_int_equal(lazy_next(lazy, &run), 1);
	assert_true(lazy_picks(run, picks) == 12);
	for (uint64_t i = 0; i < 12; i++)
		read_sector(lazy_view(run), i, 0);
	assert_true(lazy_picks(run, picks) == 0);
	assert_int_equal(lost_in(picks, 12), 0);
	assert_int_equal(lazy_end(lazy, run, 0), 0);
	assert_int_equal(status_of(lazy).open, 12);
	lazy_free(lazy);
	drop_case(c);
}

static void best_first_loses_little_before_it_loses_much(void **state)
{
	struct lazy_options options = { .seed = 1, .depth_first_runs = 1 };
	struct crash_case *c = make_case(8, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);
	struct lazy_run *run;
	uint64_t last = 0, nr = 0;
	uint16_t picks[8];

	(void)state;
	for (; lazy_next(lazy, &run) == 1; nr++) {
		for (uint64_t i = 0; i < 8; i++)
			read_sector(lazy_view(run), i, 0);
		lazy_picks(run, picks);
		assert_true(lost_in(picks, 8) >= last);
		last = lost_in(picks, 8);
		assert_int_equal(lazy_end(lazy, run, 0), 0);
	}
	assert_int_equal(nr, 256);
	assert_true(status_of(lazy).complete);
	lazy_free(lazy);
	drop_case(c);
}

static void a_search_that_is_cut_short_says_how_far_it_came(void **state)
{
	struct lazy_options options = { .max_runs = 4 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);

	(void)state;
	assert_int_equal(run_all(lazy, read_three), 4);
	assert_int_equal(status_of(lazy).runs, 4);
	assert_true(status_of(lazy).open > 0);
	assert_true(status_of(lazy).covered == 0.5);
	assert_false(status_of(lazy).complete);
	lazy_free(lazy);
	drop_case(c);
}

static void almost_all_is_not_all(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);
	struct lazy_run *newest, *run;
	int verdict = 0;

	(void)state;
	/* The run that stands for one state of 2^190 ends last. */
	assert_int_equal(lazy_next(lazy, &newest), 1);
	assert_int_equal(stop_at_the_first_lost(newest, lazy_view(newest)), 190);
	while (lazy_next(lazy, &run) == 1) {
		verdict = stop_at_the_first_lost(run, lazy_view(run));
		assert_int_equal(lazy_end(lazy, run, verdict), 0);
	}
	assert_int_equal(lazy_next(lazy, &run), -EAGAIN);
	assert_int_equal(status_of(lazy).runs, 191);
	assert_false(status_of(lazy).complete);
	assert_true(status_of(lazy).covered < 1);
	assert_int_equal(lazy_end(lazy, newest, 190), 0);
	assert_true(status_of(lazy).complete);
	assert_int_equal(lazy_next(lazy, &run), 0);
	lazy_free(lazy);
	drop_case(c);
}

static void tasks_past_the_limit_are_dropped_and_missed(void **state)
{
	struct lazy_options options = { .max_open = 2 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);

	(void)state;
	assert_int_equal(run_all(lazy, read_three), 7);
	assert_int_equal(status_of(lazy).dropped, 1);
	assert_int_equal(status_of(lazy).open, 0);
	assert_true(status_of(lazy).covered == 0.875);
	assert_false(status_of(lazy).complete);
	lazy_free(lazy);
	drop_case(c);
}

static void a_run_without_a_verdict_leaves_its_states_open(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);
	struct lazy_run *run;

	(void)state;
	assert_int_equal(lazy_next(lazy, &run), 1);
	read_three(run, lazy_view(run));
	lazy_drop(lazy, run);
	assert_int_equal(run_all(lazy, read_three), 7);
	assert_true(status_of(lazy).covered == 0.875);
	assert_false(status_of(lazy).complete);
	lazy_free(lazy);
	drop_case(c);
}

/* ---- what is not deterministic ----------------------------------------------------------- */

static uint64_t counter;

static int read_another_place_each_time(struct lazy_run *run, struct view *view)
{
	(void)run;
	return !!read_sector(view, counter++ % 5, 0);
}

static int change_its_mind(struct lazy_run *run, struct view *view)
{
	(void)run;
	return !!read_sector(view, 0, 0) ^ (counter++ & 1);
}

static int read_more_each_time(struct lazy_run *run, struct view *view)
{
	(void)run;
	read_sector(view, 190 + counter++ % 5, 0);
	return !!read_sector(view, 0, 0);
}

static void what_does_not_do_the_same_again_is_never_complete(void **state)
{
	static const struct {
		body_fn body;
		uint64_t repeat_every;
	} cases[] = {
		{ read_another_place_each_time, 0 },
		{ read_another_place_each_time, 1 },
		{ change_its_mind, 1 },
		{ read_more_each_time, 1 },
	};
	struct crash_case *c = make_case(190, CRASH_UNIT);

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct lazy_options options = { .repeat_every = cases[i].repeat_every };
		struct lazy *lazy = make_lazy(c, &options);

		counter = 0;
		run_all(lazy, cases[i].body);
		assert_false(status_of(lazy).complete);
		assert_true(status_of(lazy).covered < 1);
		assert_true(status_of(lazy).diverged > 0);
		lazy_free(lazy);
	}
	drop_case(c);
}

/* Side by side, so that neither can answer for the other. */
static void two_checks_that_read_the_same_and_disagree_are_noticed(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);
	struct lazy_run *runs[2];
	int verdict;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(lazy_next(lazy, &runs[i]), 1);
		read_sector(lazy_view(runs[i]), 1, 0);
		assert_false(lazy_check_starts(runs[i], &verdict));
		read_sector(lazy_view(runs[i]), 195, 0);
	}
	assert_int_equal(lazy_end(lazy, runs[0], 0), 0);
	assert_int_equal(status_of(lazy).diverged, 0);
	assert_int_equal(lazy_end(lazy, runs[1], 1), 0);
	assert_int_equal(status_of(lazy).diverged, 1);
	assert_true(status_of(lazy).covered == 0.5);
	assert_false(status_of(lazy).complete);
	lazy_free(lazy);
	drop_case(c);
}

static void what_is_deterministic_repeats(void **state)
{
	struct lazy_options options = { .repeat_every = 1 };
	struct crash_case *c = make_case(190, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);

	(void)state;
	assert_int_equal(run_all(lazy, read_three), 16);
	assert_int_equal(status_of(lazy).runs, 8);
	assert_int_equal(status_of(lazy).repeated, 8);
	assert_true(status_of(lazy).complete);
	lazy_free(lazy);
	drop_case(c);
}

/* ---- checks that the memo answers ------------------------------------------------------------ */

static uint64_t nr_checks;

/* Recovery looks at units 0 to 3 and writes unit 100; the check reads that, and unit 5. */
static int recover_and_check(struct lazy_run *run, struct view *view)
{
	unsigned char sum = 0;
	unsigned char bytes[512];
	int verdict;

	for (uint64_t i = 0; i < 4; i++)
		sum = (unsigned char)(sum + !!read_sector(view, i, 0));
	memset(bytes, sum > 2, sizeof(bytes));
	case_must(view_write(view, 0, 100 * UNIT, bytes, 512) == 0);
	if (lazy_check_starts(run, &verdict))
		return verdict;
	__atomic_add_fetch(&nr_checks, 1, __ATOMIC_RELAXED);
	verdict = read_sector(view, 100, 0) ? 1 : 2 + !!read_sector(view, 5, 0);
	/* What the check itself writes and reads again is no news. */
	bytes[0] = (unsigned char)__atomic_load_n(&nr_checks, __ATOMIC_RELAXED);
	case_must(view_write(view, 0, 101 * UNIT, bytes, 512) == 0);
	read_sector(view, 101, 0);
	return verdict;
}

static void a_check_that_would_read_the_same_is_not_run(void **state)
{
	struct lazy_options options = { .seed = 1 };
	struct crash_case *c = make_case(50, CRASH_UNIT);
	struct lazy *lazy = make_lazy(c, &options);

	(void)state;
	nr_checks = 0;
	/* 5 of 16 recoveries end well; after the others unit 5 counts, too. */
	assert_int_equal(run_all(lazy, recover_and_check), 5 + 2 * 11);
	assert_int_equal(nr_checks, 3);
	assert_int_equal(status_of(lazy).checks_skipped, 24);
	assert_true(status_of(lazy).complete);
	assert_true(lazy_share(lazy, 1) == 5.0 / 16);
	assert_true(lazy_share(lazy, 2) == 11.0 / 32);
	lazy_free(lazy);
	drop_case(c);
}

static int be_aborted(struct lazy_run *run, struct view *view)
{
	int verdict;

	read_sector(view, 0, 0);
	case_must(!lazy_check_starts(run, &verdict));
	read_sector(view, 100, 0);
	lazy_check_aborted(run);
	return 9;
}

static void a_check_that_was_aborted_says_nothing_about_others(void **state)
{
	(void)state;
	assert_int_equal(runs_for(50, be_aborted), 2);
}

/* ---- several workers --------------------------------------------------------------------- */

static uint64_t of_a_kind[4];

static void *work(void *ctx)
{
	struct lazy *lazy = ctx;
	struct lazy_run *run;
	int ret;

	while ((ret = lazy_next(lazy, &run)) != 0) {
		int verdict;

		if (ret == -EAGAIN) {
			lazy_wait(lazy);
			continue;
		}
		case_must(ret == 1);
		verdict = recover_and_check(run, lazy_view(run));
		if (!lazy_is_repeat(run))
			__atomic_add_fetch(&of_a_kind[verdict], 1, __ATOMIC_RELAXED);
		case_must(lazy_end(lazy, run, verdict) == 0);
	}
	return NULL;
}

static void four_workers_find_what_one_finds(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 20; round++) {
		struct lazy_options options = { .repeat_every = round % 3,
						.depth_first_runs = 1 + round };
		struct crash_case *c = make_case(50, CRASH_UNIT);
		struct lazy *lazy = make_lazy(c, &options);
		pthread_t threads[4];

		memset(of_a_kind, 0, sizeof(of_a_kind));
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, work, lazy), 0);
		for (size_t i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(of_a_kind[1], 5);
		assert_int_equal(of_a_kind[2], 11);
		assert_int_equal(of_a_kind[3], 11);
		assert_int_equal(status_of(lazy).runs, 27);
		assert_true(status_of(lazy).complete);
		assert_true(lazy_share(lazy, 3) == 11.0 / 32);
		lazy_free(lazy);
		drop_case(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_read_costs_no_run),
		cmocka_unit_test(what_is_read_costs_a_run_for_each_content),
		cmocka_unit_test(contents_that_are_alike_where_they_are_read_stay_together),
		cmocka_unit_test(shares_are_those_of_all_states),
		cmocka_unit_test(only_units_can_be_decided_when_they_are_read),
		cmocka_unit_test(the_first_run_has_it_that_everything_survived),
		cmocka_unit_test(best_first_loses_little_before_it_loses_much),
		cmocka_unit_test(a_search_that_is_cut_short_says_how_far_it_came),
		cmocka_unit_test(almost_all_is_not_all),
		cmocka_unit_test(tasks_past_the_limit_are_dropped_and_missed),
		cmocka_unit_test(units_of_many_sectors_are_split_where_they_are_read),
		cmocka_unit_test(a_run_without_a_verdict_leaves_its_states_open),
		cmocka_unit_test(what_does_not_do_the_same_again_is_never_complete),
		cmocka_unit_test(two_checks_that_read_the_same_and_disagree_are_noticed),
		cmocka_unit_test(what_is_deterministic_repeats),
		cmocka_unit_test(a_check_that_would_read_the_same_is_not_run),
		cmocka_unit_test(a_check_that_was_aborted_says_nothing_about_others),
		cmocka_unit_test(four_workers_find_what_one_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
