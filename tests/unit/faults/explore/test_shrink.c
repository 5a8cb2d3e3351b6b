// SPDX-License-Identifier: MIT
/* Failing states shrunk against checks that are functions here, so that every answer is known. */
#include "tests/unit/check.h"

#include "faults/explore/shrink.h"

#include <errno.h>
#include <stdio.h>

#define BLOCK    512u
#define SIZE     (64 * 1024u)
#define NR_UNITS (SIZE / BLOCK)
#define MOST     256

static unsigned char contents[8][SIZE], image_bytes[2][SIZE];
static const struct crash_image images[2] = { { image_bytes[0], -1 }, { image_bytes[1], -1 } };

struct point_work {
	struct journal *journal;
	struct crash *crash;
	const struct crash_choice *choices;
	size_t nr;
	uint16_t newest[MOST], oldest[MOST];
};

static void begin(struct point_work *work)
{
	*work = (struct point_work){ 0 };
	memset(image_bytes, 0, sizeof(image_bytes));
	for (int i = 0; i < 8; i++)
		memset(contents[i], 'a' + i, SIZE);
	assert_int_equal(journal_new(&work->journal), 0);
	for (int i = 0; i < 2; i++) {
		struct journal_disk disk = { .size_bytes = SIZE,
					     .block_bytes = BLOCK,
					     .cache = true };

		snprintf(disk.name, sizeof(disk.name), "d%d", i);
		assert_int_equal(journal_add_disk(work->journal, &disk), 0);
	}
}

static void add_write(struct point_work *work, uint16_t disk, uint32_t unit, uint32_t nr,
		      int content)
{
	const struct journal_write write = { .submit = 2 * work->journal->nr_writes + 1,
					     .complete = 2 * work->journal->nr_writes + 2,
					     .at = unit * BLOCK,
					     .len_bytes = nr * BLOCK,
					     .data = contents[content],
					     .disk = disk,
					     .op = IO_WRITE };

	assert_int_equal(journal_add_write(work->journal, &write), 0);
}

static void stand(struct point_work *work, enum crash_atomic atomic)
{
	const struct crash_options options = { .atomic = atomic };
	struct diag diag = { 0 };

	if (journal_seal(work->journal, &diag) < 0 ||
	    crash_create(work->journal, &options, images, &diag, &work->crash) < 0)
		fail_msg("%s", diag.message);
	assert_int_equal(crash_move(work->crash, work->journal->end_step), 0);
	work->nr = crash_choices(work->crash, &work->choices);
	assert_in_range(work->nr, 1, MOST);
	crash_newest(work->crash, work->newest);
	crash_oldest(work->crash, work->oldest);
}

static void done(struct point_work *work)
{
	crash_free(work->crash);
	journal_free(work->journal);
}

/* ------------------------------------------------------------------------------ checks */

struct check {
	const struct point_work *work;
	uint64_t seed;
	bool needed[MOST]; /* fails if all of these are lost */
	uint16_t least;    /* and choice 0 has a candidate of at most this number */
	bool random;       /* fails or not, by a hash of the picks */
	uint64_t asked, stop_after;
	uint64_t seen[4096];
	int error;
};

static uint64_t hash(const struct check *check, const uint16_t *picks)
{
	uint64_t h = check->seed;

	for (size_t i = 0; i < check->work->nr; i++)
		h = rng_mix(h, i, picks[i]);
	return h;
}

static int answer(const struct check *check, const uint16_t *picks)
{
	const struct point_work *work = check->work;

	if (check->random)
		return memcmp(picks, work->oldest, work->nr * sizeof(*picks)) == 0 ||
		       hash(check, picks) % 3 == 0;
	for (size_t i = 0; i < work->nr; i++)
		if (check->needed[i] && picks[i] == work->newest[i])
			return 0;
	return picks[0] <= check->least;
}

static int fails(void *ctx, const uint16_t *picks)
{
	struct check *check = ctx;
	uint64_t h = hash(check, picks);

	for (size_t i = 0; i < check->work->nr; i++)
		assert_in_range(picks[i], 0, check->work->choices[i].nr - 1);
	for (uint64_t i = 0; i < check->asked && i < array_size(check->seen); i++)
		assert_true(check->seen[i] != h);
	if (check->asked < array_size(check->seen))
		check->seen[check->asked] = h;
	if (check->asked++ == check->stop_after && check->error)
		return check->error;
	return answer(check, picks);
}

/* Bring back any single lost choice, or give it anything newer, and it passes. */
static void is_minimal(const struct check *check, const uint16_t *picks)
{
	const struct point_work *work = check->work;
	uint16_t other[MOST];

	assert_true(answer(check, picks));
	memcpy(other, picks, sizeof(other));
	for (size_t i = 0; i < work->nr; i++) {
		if (picks[i] == work->newest[i])
			continue;
		other[i] = work->newest[i];
		if (answer(check, other))
			fail_msg("choice %zu can come back", i);
		other[i] = picks[i];
	}
}

static struct shrink_result run(struct check *check, uint16_t *picks, uint64_t max_runs)
{
	const struct shrink_options options = { .max_runs = max_runs,
						.fails = fails,
						.ctx = check };
	struct shrink_result result = { 0 };

	assert_int_equal(shrink(check->work->crash, &options, picks, &result), 0);
	assert_int_equal(result.runs, check->asked);
	return result;
}

/* ------------------------------------------------------------------------------ tests */

static void one_unit_out_of_many_writes_is_found_in_few_runs(void **state)
{
	struct point_work work;
	struct check check = { .work = &work, .least = UINT16_MAX };
	uint16_t picks[MOST];
	struct shrink_result result;
	size_t nr_lost = 0;

	(void)state;
	begin(&work);
	for (uint32_t i = 0; i < 16; i++)
		add_write(&work, 0, 8 * i, 8, 0);
	stand(&work, CRASH_UNIT);
	assert_int_equal(work.nr, 128);
	check.needed[77] = true;
	memcpy(picks, work.oldest, sizeof(picks));
	result = run(&check, picks, 0);
	assert_true(result.reproduced && result.minimal);
	assert_int_equal(result.nr_before, 128);
	assert_int_equal(result.nr_lost, 1);
	for (size_t i = 0; i < work.nr; i++)
		nr_lost += picks[i] != work.newest[i];
	assert_int_equal(nr_lost, 1);
	assert_int_equal(picks[77], work.oldest[77]);
	assert_in_range(result.runs, 1, 20);
	done(&work);
}

static void what_fails_with_nothing_lost_loses_nothing(void **state)
{
	struct point_work work;
	struct check check = { .work = &work, .least = UINT16_MAX };
	uint16_t picks[MOST];
	struct shrink_result result;

	(void)state;
	begin(&work);
	add_write(&work, 0, 0, 4, 0);
	stand(&work, CRASH_UNIT);
	memcpy(picks, work.oldest, sizeof(picks));
	result = run(&check, picks, 0);
	assert_int_equal(result.runs, 2);
	assert_int_equal(result.nr_lost, 0);
	assert_true(result.minimal);
	assert_memory_equal(picks, work.newest, work.nr * sizeof(*picks));
	done(&work);
}

static void what_passes_when_asked_again_is_left_alone(void **state)
{
	struct point_work work;
	struct check check = { .work = &work };
	uint16_t picks[MOST];
	struct shrink_result result;

	(void)state;
	begin(&work);
	add_write(&work, 0, 0, 4, 0);
	stand(&work, CRASH_UNIT);
	check.needed[0] = true;
	memcpy(picks, work.newest, sizeof(picks));
	result = run(&check, picks, 0);
	assert_false(result.reproduced || result.minimal);
	assert_int_equal(result.runs, 1);
	done(&work);
}

static void a_unit_takes_the_newest_version_that_still_fails(void **state)
{
	struct point_work work;
	struct check check = { .work = &work };
	uint16_t picks[MOST];
	struct shrink_result result;

	(void)state;
	begin(&work);
	for (int i = 0; i < 6; i++)
		add_write(&work, 0, 3, 1, i);
	stand(&work, CRASH_UNIT);
	assert_int_equal(work.choices[0].nr, 7);
	/* Losing the last three fails, so one more than needed were lost. */
	check.least = 3;
	memcpy(picks, work.oldest, sizeof(picks));
	result = run(&check, picks, 0);
	assert_true(result.minimal);
	assert_int_equal(picks[0], 3);
	done(&work);
}

static void when_the_runs_are_spent_the_best_so_far_stands(void **state)
{
	struct point_work work;
	struct check check = { .work = &work, .least = UINT16_MAX };
	uint16_t picks[MOST];
	struct shrink_result result;

	(void)state;
	begin(&work);
	for (uint32_t i = 0; i < 100; i++)
		add_write(&work, 0, i, 1, 0);
	stand(&work, CRASH_UNIT);
	for (size_t i = 0; i < work.nr; i += 7)
		check.needed[i] = true;
	memcpy(picks, work.oldest, sizeof(picks));
	result = run(&check, picks, 100);
	assert_int_equal(result.runs, 100);
	assert_true(result.reproduced);
	assert_false(result.minimal);
	assert_true(result.nr_lost < 100 && answer(&check, picks));
	done(&work);
}

static void an_error_of_the_check_stops_and_keeps_the_best_so_far(void **state)
{
	struct point_work work;
	struct check check = {
		.work = &work, .least = UINT16_MAX, .stop_after = 9, .error = -EINTR
	};
	const struct shrink_options options = { .fails = fails, .ctx = &check };
	uint16_t picks[MOST];
	struct shrink_result result = { 0 };

	(void)state;
	begin(&work);
	for (uint32_t i = 0; i < 100; i++)
		add_write(&work, 0, i, 1, 0);
	stand(&work, CRASH_UNIT);
	check.needed[13] = check.needed[14] = true;
	memcpy(picks, work.oldest, sizeof(picks));
	assert_int_equal(shrink(work.crash, &options, picks, &result), -EINTR);
	assert_int_equal(result.runs, 10);
	assert_true(answer(&check, picks) && !result.minimal && result.reproduced);
	done(&work);
}

/* ------------------------------------------------------------------------------ drawn */

static void random_moment(struct draw *draw, struct point_work *work, enum crash_atomic atomic)
{
	uint64_t nr = 3 + draw_below(draw, 20);

	begin(work);
	for (uint64_t i = 0; i < nr; i++)
		add_write(work, (uint16_t)draw_below(draw, 2), (uint32_t)draw_below(draw, 24),
			  1 + (uint32_t)draw_below(draw, 6), (int)draw_below(draw, 8));
	stand(work, atomic);
}

static void shrink_random(struct draw *draw, enum crash_atomic atomic, bool random)
{
	struct point_work work;
	struct check check = { .work = &work, .random = random, .least = UINT16_MAX };
	struct check again;
	uint16_t picks[MOST], twice[MOST];
	struct shrink_result result;

	random_moment(draw, &work, atomic);
	check.seed = draw_bits(draw);
	if (!random)
		for (size_t i = 0; i < work.nr; i++)
			check.needed[i] = draw_below(draw, 8) == 0;
	memcpy(picks, work.oldest, sizeof(picks));
	for (size_t i = 0; i < work.nr; i++) {
		/* Every choice that must be lost is; the others may hold anything. */
		if (!random && !check.needed[i])
			picks[i] = (uint16_t)draw_below(draw, work.choices[i].nr);
	}
	memcpy(twice, picks, sizeof(twice));
	again = check;
	if (!answer(&check, picks)) {
		/* The oldest may be the newest: the same content again. */
		done(&work);
		return;
	}
	result = run(&check, picks, 2000);
	assert_true(result.reproduced && result.minimal);
	is_minimal(&check, picks);
	for (size_t i = 0; !random && i < work.nr; i++)
		assert_int_equal(picks[i] != work.newest[i], check.needed[i]);
	run(&again, twice, 2000);
	assert_memory_equal(picks, twice, work.nr * sizeof(*picks));
	done(&work);
}

static void what_comes_out_is_minimal_and_the_same_each_time(void **state)
{
	struct draw draw = { .seed = 4 };

	(void)state;
	for (int i = 0; i < 300; i++) {
		shrink_random(&draw, CRASH_UNIT, false);
		shrink_random(&draw, CRASH_UNIT, true);
		shrink_random(&draw, CRASH_WRITE, false);
		shrink_random(&draw, CRASH_WRITE, true);
	}
}

/* In order of submission: fails while a certain write of disk 1 is missing. */
static int fails_before(void *ctx, const uint16_t *picks)
{
	const uint16_t *border = ctx;

	return picks[0] < border[0] && picks[1] < border[1];
}

static void of_prefixes_the_longest_that_fails_is_found_by_halving(void **state)
{
	uint16_t border[2] = { 41, 7 };
	const struct shrink_options options = { .fails = fails_before, .ctx = border };
	struct point_work work;
	uint16_t picks[2] = { 0, 0 };
	struct shrink_result result;

	(void)state;
	begin(&work);
	for (uint32_t i = 0; i < 100; i++) {
		add_write(&work, 0, i, 1, 0);
		add_write(&work, 1, i, 1, 0);
	}
	stand(&work, CRASH_ORDER);
	assert_int_equal(work.nr, 2);
	assert_int_equal(shrink(work.crash, &options, picks, &result), 0);
	assert_int_equal(picks[0], 40);
	assert_int_equal(picks[1], 6);
	assert_int_equal(result.nr_before, 200);
	assert_int_equal(result.nr_lost, 200 - 46);
	assert_true(result.minimal);
	assert_in_range(result.runs, 1, 40);
	done(&work);
}

/* Fails while the first write of disk 0 is missing, which others may have overtaken. */
static int fails_without_first(void *ctx, const uint16_t *picks)
{
	const struct point_work *work = ctx;
	bool lost[8];

	crash_lost(work->crash, picks, lost);
	return lost[0];
}

static void of_writes_in_flight_only_the_one_that_is_missed_stays_lost(void **state)
{
	struct point_work work;
	const struct shrink_options options = { .fails = fails_without_first, .ctx = &work };
	uint16_t picks[MOST] = { 0 };
	struct shrink_result result;
	bool lost[8];

	(void)state;
	begin(&work);
	for (uint32_t i = 0; i < 6; i++) {
		const struct journal_write write = { .submit = i + 1,
						     .complete = i ? 10 + i : JOURNAL_NEVER,
						     .at = i * BLOCK,
						     .len_bytes = BLOCK,
						     .data = contents[i],
						     .op = IO_WRITE };

		assert_int_equal(journal_add_write(work.journal, &write), 0);
	}
	stand(&work, CRASH_ORDER);
	assert_int_equal(shrink(work.crash, &options, picks, &result), 0);
	assert_int_equal(result.nr_before, 6);
	assert_int_equal(result.nr_lost, 1);
	assert_true(result.minimal);
	crash_lost(work.crash, picks, lost);
	assert_true(lost[0] && !lost[1] && !lost[5]);
	done(&work);
}

static int put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	if (!disk && data)
		memcpy((unsigned char *)ctx + at, data, len);
	return 0;
}

/* Fails where the second of two is there, and yet the first is over it. */
static int fails_reordered(void *ctx, const uint16_t *picks)
{
	const struct point_work *work = ctx;
	unsigned char bytes[SIZE] = { 0 };

	crash_put(work->crash, picks, put, bytes);
	return bytes[BLOCK] == 'a' && bytes[2 * BLOCK] == 'b';
}

static void of_an_order_that_fails_nothing_but_the_order_stays(void **state)
{
	for (enum crash_atomic atomic = CRASH_WRITE; atomic <= CRASH_ORDER; atomic++) {
		struct point_work work;
		const struct shrink_options options = { .fails = fails_reordered, .ctx = &work };
		struct shrink_result result;
		uint16_t picks[MOST];

		begin(&work);
		for (uint32_t i = 0; i < 6; i++) {
			const struct journal_write write = { .submit = i + 1,
							     .complete = 10 + i,
							     .at = (i < 2 ? i : 2 * i) * BLOCK,
							     .len_bytes = 2 * BLOCK,
							     .data = contents[i],
							     .op = IO_WRITE };

			assert_int_equal(journal_add_write(work.journal, &write), 0);
		}
		stand(&work, atomic);
		memcpy(picks, work.newest, sizeof(picks));
		assert_int_equal(work.choices[work.nr - 1].write, CRASH_TURNS);
		picks[work.nr - 1] = 1;
		for (size_t i = 0; i < work.nr; i++)
			if (work.choices[i].nr == 2 && work.choices[i].write > 1 &&
			    work.choices[i].write < 6)
				picks[i] = !picks[i];
		assert_int_equal(shrink(work.crash, &options, picks, &result), 0);
		assert_true(result.minimal && result.nr_before > 3);
		assert_int_equal(result.nr_lost, 1);
		assert_true(crash_reordered(work.crash, picks, 0));
		done(&work);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_unit_out_of_many_writes_is_found_in_few_runs),
		cmocka_unit_test(what_fails_with_nothing_lost_loses_nothing),
		cmocka_unit_test(what_passes_when_asked_again_is_left_alone),
		cmocka_unit_test(a_unit_takes_the_newest_version_that_still_fails),
		cmocka_unit_test(when_the_runs_are_spent_the_best_so_far_stands),
		cmocka_unit_test(an_error_of_the_check_stops_and_keeps_the_best_so_far),
		cmocka_unit_test(what_comes_out_is_minimal_and_the_same_each_time),
		cmocka_unit_test(of_prefixes_the_longest_that_fails_is_found_by_halving),
		cmocka_unit_test(of_writes_in_flight_only_the_one_that_is_missed_stays_lost),
		cmocka_unit_test(of_an_order_that_fails_nothing_but_the_order_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
