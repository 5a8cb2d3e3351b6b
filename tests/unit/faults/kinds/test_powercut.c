// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/cached_disk.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define DISK   (64 * SEC)
#define CUT_IT "cut op=discard do=powercut:"

static void everything_fails_from_the_cut_on_until_the_disk_is_revived(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	use_rules(&disk, "cut op=flush do=powercut\nother op=read do=error:ENODATA");
	memset(data, 'd', SEC);
	assert_int_equal(write_letter(&disk, 0, 1, 'a', 0), SEC);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), -EIO);
	for (enum io_op op = 0; op < IO_NR_OPS; op++)
		assert_int_equal(run_io(&disk, op, 1, op == IO_FLUSH ? 0 : SEC, data), -EIO);
	/* Without power no rule is asked, and nothing is touched. */
	assert_int_equal(counts_of(&disk, "cut").hits, 1);
	assert_int_equal(counts_of(&disk, "other").matches, 0);
	assert_int_equal(data[0], 'd');
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_OFF);
	assert_int_equal(run_io(&disk, IO_READ, 1, SEC, data), -ENODATA);
	assert_int_equal(counts_of(&disk, "other").hits, 1);
	assert_string_equal(MAP(&disk, 0, 4), "....");
	free_disk(&disk);
}

/* Old content o, durable; v over it, volatile; f with FUA; F flushed; the cut itself is a write. */
static void check_keep(const char *rule, const char *want, uint64_t lost)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 7);
	uint64_t got = 0;

	memset(store_data(disk.store), 'o', DISK);
	store_mark(disk.store, 0, DISK);
	use_rules(&disk, rule);
	assert_int_equal(write_letter(&disk, 4, 4, 'F', 0), 4 * SEC);
	assert_int_equal(write_letter(&disk, 12, 2, 'v', 0), 2 * SEC);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 6);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	assert_int_equal(write_letter(&disk, 0, 4, 'v', 0), 4 * SEC);
	assert_int_equal(write_letter(&disk, 3, 2, 'f', IO_FUA), 2 * SEC);
	assert_int_equal(run_io(&disk, IO_DISCARD, 6, SEC, NULL), 0);
	assert_int_equal(run_flagged(&disk, IO_ZEROES, 7, SEC, NULL, IO_NOUNMAP), 0);
	assert_int_equal(write_letter(&disk, 8, 1, 'v', 0), SEC);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 6);
	assert_int_equal(write_letter(&disk, 9, 2, 'c', IO_FUA), -EIO);
	assert_int_equal(revive(&disk, 1, &got), CONDITION_OFF);
	assert_string_equal(MAP(&disk, 0, 16), want);
	assert_int_equal(got, lost);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	free_disk(&disk);
}

static void keep_says_what_survives_and_the_durable_always_does(void **state)
{
	(void)state;
	check_keep("cut op=write after=5 do=powercut", "oooffFFFoooovvoo", 6);
	check_keep("cut op=write after=5 do=powercut:keep=none", "oooffFFFoooovvoo", 6);
	check_keep("cut op=write after=5 do=powercut:keep=all", "vvvffF..vccovvoo", 0);
	check_keep("cut op=write after=5 do=powercut:keep=random,share=1", "vvvffF..vccovvoo", 0);
	check_keep("cut op=write after=5 do=powercut:keep=random,share=0", "oooffFFFoooovvoo", 6);
}

/* The map of a disk after a random cut. */
static char *random_cut(uint64_t seed, const char *share, bool cache, char map[65])
{
	struct disk disk =
		cache ? make_cached_disk(DISK, 512, 1, seed) : make_disk(DISK, 512, 1, seed);
	char rule[96];

	snprintf(rule, sizeof(rule), "cut op=write after=1 do=powercut:keep=random%s", share);
	use_rules(&disk, rule);
	assert_int_equal(write_letter(&disk, 0, 32, 'v', 0), 32 * SEC);
	assert_int_equal(write_letter(&disk, 32, 32, 'c', IO_FUA), -EIO);
	revive(&disk, 1, NULL);
	sector_map(&disk, 0, 64, map);
	free_disk(&disk);
	return map;
}

static int count_of(const char *map, char letter)
{
	int nr = 0;

	for (; *map; map++)
		nr += *map == letter;
	return nr;
}

static void a_random_cut_goes_block_by_block_and_repeats_with_its_seed(void **state)
{
	char a[65], b[65];
	int kept = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		assert_string_equal(random_cut(seed, "", true, a), random_cut(seed, "", true, b));
		assert_string_not_equal(random_cut(seed + 100, "", true, b), a);
		kept += count_of(random_cut(seed, ",share=0.25", true, a), 'v');
		kept += count_of(a, 'c');
	}
	/* 2560 draws of a quarter: 640, and six standard deviations of 22. */
	assert_in_range(kept, 640 - 132, 640 + 132);
}

static void without_a_cache_the_cut_decides_about_its_own_request_alone(void **state)
{
	char a[65], b[65];

	(void)state;
	random_cut(3, "", true, a);
	random_cut(3, "", false, b);
	for (int i = 0; i < 32; i++)
		assert_int_equal(b[i], 'v');
	/* The request's own blocks fare as with a cache. */
	assert_string_equal(a + 32, b + 32);
	assert_in_range(count_of(b, 'c'), 6, 26);
}

static void only_the_first_cut_counts(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io late = make_io(IO_WRITE, 5, SEC, data);

	(void)state;
	memset(data, 'l', SEC);
	/* A second cut that was decided on before the first one acts. */
	use_rules(&disk, "slow op=write range=5s..6s do=delay:1s\n"
			 "all op=write range=5s..6s do=powercut:keep=all\n"
			 "none op=write range=9s..10s do=powercut");
	assert_int_equal(write_letter(&disk, 0, 4, 'v', 0), 4 * SEC);
	assert_int_equal(pipeline_submit(disk.pipeline, &late, 0), IO_PARKED);
	assert_int_equal(write_letter(&disk, 9, 1, 'n', 0), -EIO);
	pipeline_resume(disk.pipeline, &late, 0);
	assert_int_equal(late.result, -EIO);
	revive(&disk, 1, NULL);
	assert_string_equal(MAP(&disk, 0, 10), "..........");
	/* After the revival another one counts again. */
	assert_int_equal(write_letter(&disk, 0, 2, 'v', 0), 2 * SEC);
	assert_int_equal(pipeline_submit(disk.pipeline, &late, 0), IO_PARKED);
	pipeline_resume(disk.pipeline, &late, 0);
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_OFF);
	assert_string_equal(MAP(&disk, 0, 10), "vv...l....");
	free_disk(&disk);
}

static void requests_of_the_old_incarnation_never_touch_the_revived_disk(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	unsigned char data[3][SEC];
	struct io parked = make_io(IO_WRITE, 1, SEC, data[0]);
	struct io held = make_io(IO_WRITE, 2, SEC, data[1]);
	struct io reading = make_io(IO_READ, 1, SEC, data[2]);
	struct held list[4];

	(void)state;
	memset(data, 'x', sizeof(data));
	use_rules(&disk, "slow op=write range=1s..2s do=delay:1s\n"
			 "stuck op=write range=2s..3s do=hang\n"
			 "late op=read do=delay:1s\n" CUT_IT "keep=all");
	assert_int_equal(pipeline_submit(disk.pipeline, &parked, 0), IO_PARKED);
	assert_int_equal(pipeline_submit(disk.pipeline, &held, 0), IO_PARKED);
	assert_int_equal(pipeline_submit(disk.pipeline, &reading, 0), IO_PARKED);
	assert_int_equal(run_io(&disk, IO_DISCARD, 9, SEC, NULL), -EIO);
	/* They are due, or released, only in the next incarnation. */
	revive(&disk, 1, NULL);
	assert_int_equal(pipeline_held(disk.pipeline, list, 4), 1);
	assert_int_equal(pipeline_release(disk.pipeline, NULL, 0, SIZE_MAX), 1);
	pipeline_resume(disk.pipeline, &parked, 0);
	pipeline_resume(disk.pipeline, &held, 0);
	memset(data[2], 'r', SEC);
	pipeline_resume(disk.pipeline, &reading, 0);
	assert_int_equal(parked.result, -EIO);
	assert_int_equal(held.result, -EIO);
	assert_int_equal(reading.result, -EIO);
	assert_int_equal(data[2][0], 'r');
	assert_int_equal(pipeline_held(disk.pipeline, list, 4), 0);
	assert_string_equal(MAP(&disk, 0, 4), "....");
	/* Those that arrive from now on do. */
	assert_int_equal(pipeline_submit(disk.pipeline, &parked, 0), IO_PARKED);
	pipeline_resume(disk.pipeline, &parked, 0);
	assert_int_equal(parked.result, SEC);
	assert_string_equal(MAP(&disk, 0, 4), ".x..");
	free_disk(&disk);
}

static void two_cuts_with_a_flush_between_lose_only_what_came_after_it(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, CUT_IT "keep=none");
	for (int incarnation = 0; incarnation < 3; incarnation++) {
		assert_int_equal(write_letter(&disk, 0, 8, 'a' + incarnation, 0), 8 * SEC);
		assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
		assert_int_equal(write_letter(&disk, 2, 4, 'X', 0), 4 * SEC);
		assert_int_equal(write_letter(&disk, 3, 1, 'Y', 0), SEC);
		assert_int_equal(run_io(&disk, IO_DISCARD, 0, 8 * SEC, NULL), -EIO);
		revive(&disk, 1, NULL);
		assert_string_equal(MAP(&disk, 0, 8), incarnation == 0   ? "aaaaaaaa"
						      : incarnation == 1 ? "bbbbbbbb"
									 : "cccccccc");
	}
	free_disk(&disk);
}

/* ---- inside of a write ------------------------------------------------------------------- */

/*
 * Sectors of o, durable; v over the first eight, volatile; then the power goes in a write of c, of
 * sectors @at to @at + 6, or in another request there. What is left of the first sixteen.
 */
static const char *cut_inside(const char *how, const struct cache_model *model, enum io_op op,
			      uint64_t at)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = 1 },
		.seed = 7,
		.cache = model,
	};
	unsigned char data[6 * SEC];
	static char map[17];
	struct disk disk;
	char rule[120];

	if (model)
		options.cache_model = *model;
	assert_int_equal(store_create(DISK, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	memset(store_data(disk.store), 'o', DISK);
	store_mark(disk.store, 0, DISK);
	snprintf(rule, sizeof(rule), "cut after=1 op=write,discard,zeroes do=powercut:%s", how);
	use_rules(&disk, rule);
	assert_int_equal(write_letter(&disk, 0, 8, 'v', 0), 8 * SEC);
	memset(data, 'c', sizeof(data));
	assert_int_equal(run_io(&disk, op, at, sizeof(data), op == IO_WRITE ? data : NULL), -EIO);
	assert_int_equal(revive(&disk, 1, NULL), CONDITION_OFF);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	sector_map(&disk, 0, 16, map);
	free_disk(&disk);
	return map;
}

static void the_first_bytes_of_the_write_are_durable_and_the_rest_of_it_is_not(void **state)
{
	static const struct cache_model plain = { 0 };

	(void)state;
	assert_string_equal(cut_inside("keep=first:4s", NULL, IO_WRITE, 5), "vvvvvccccooooooo");
	assert_string_equal(cut_inside("keep=first:4s", &plain, IO_WRITE, 5), "oooooccccooooooo");
	assert_string_equal(cut_inside("keep=first:4s,rest=none", &plain, IO_WRITE, 5),
			    "oooooccccooooooo");
	assert_string_equal(cut_inside("keep=first:4s,rest=all", &plain, IO_WRITE, 5),
			    "vvvvvccccooooooo");
	assert_string_equal(cut_inside("keep=first:2s,rest=all", &plain, IO_WRITE, 5),
			    "vvvvvccvoooooooo");
	assert_string_equal(cut_inside("keep=first:2s,rest=random,share=0", &plain, IO_WRITE, 5),
			    "oooooccooooooooo");
	/* Nothing of it, and all. */
	assert_string_equal(cut_inside("keep=first:0", &plain, IO_WRITE, 5), "oooooooooooooooo");
	assert_string_equal(cut_inside("keep=first:1M", &plain, IO_WRITE, 5), "ooooocccccc"
									      "ooooo");
}

static void a_discard_and_zeroes_are_cut_inside_too_and_nothing_else_is(void **state)
{
	static const struct cache_model plain = { 0 };

	(void)state;
	assert_string_equal(cut_inside("keep=first:4s", &plain, IO_DISCARD, 5), "ooooo....ooooooo");
	assert_string_equal(cut_inside("keep=first:4s,rest=all", &plain, IO_ZEROES, 5),
			    "vvvvv....ooooooo");
	assert_string_equal(cut_inside("keep=first:4s", NULL, IO_DISCARD, 5), "vvvvv....ooooooo");
}

static void units_are_those_of_the_cache_or_larger_and_aligned_to_the_disk(void **state)
{
	static const struct cache_model plain = { 0 }, units = { .unit_bytes = 1024 };

	(void)state;
	assert_string_equal(cut_inside("keep=first:4s,unit=2s", &plain, IO_WRITE, 5),
			    "ooooocccoooooooo");
	assert_string_equal(cut_inside("keep=first:4s,unit=4s", &plain, IO_WRITE, 5),
			    "ooooocccoooooooo");
	assert_string_equal(cut_inside("keep=first:4s,unit=4s", NULL, IO_WRITE, 5),
			    "vvvvvcccoooooooo");
	/* Of a unit that the write has a part of the other part goes along: it is one. */
	assert_string_equal(cut_inside("keep=first:4s", &units, IO_WRITE, 5), "oooovcccoooooooo");
	assert_string_equal(cut_inside("keep=first:4s,rest=all", &units, IO_WRITE, 5),
			    "vvvvvcccoooooooo");
	assert_string_equal(cut_inside("keep=first:4s,unit=4s", &units, IO_WRITE, 8),
			    "ooooooooccccoooo");
}

static void a_cache_that_keeps_order_keeps_all_that_came_before(void **state)
{
	static const struct cache_model order = { .unit_bytes = 512, .in_order = true };

	(void)state;
	assert_string_equal(cut_inside("keep=first:4s", &order, IO_WRITE, 5), "vvvvvccccooooooo");
	assert_string_equal(cut_inside("keep=first:0,rest=none", &order, IO_WRITE, 5),
			    "oooooooooooooooo");
	assert_string_equal(cut_inside("keep=first:0,rest=all", &order, IO_WRITE, 5),
			    "vvvvvvvvoooooooo");
}

static void check_says(const char *text, const struct rule_geometry *geometry, const char *says,
		       const char *hints)
{
	struct rule *rule = must_parse(text);
	struct diag diag = { 0 };

	assert_int_equal(rule_check(rule, geometry, &diag), says ? -EINVAL : 0);
	if (says && (!strstr(diag.message, says) || !strstr(diag.hint, hints)))
		fail_msg("%s; %s", diag.message, diag.hint);
	rule_unref(rule);
}

static void nothing_is_torn_inside_of_what_the_cache_keeps_as_one(void **state)
{
	struct rule_geometry disk = { .size_bytes = 1 << 20, .block_bytes = 4096, .nr_queues = 1 };

	(void)state;
	check_says("c do=powercut:keep=first:512,unit=512", &disk, NULL, NULL);
	check_says("c do=powercut:keep=first:4k", &disk, NULL, NULL);
	check_says("c do=powercut:keep=first:1s", &disk,
		   "keep=first:1s is not a multiple of the atomic unit of 4k", "unit=");
	check_says("c do=powercut:keep=first:0,unit=3s", &disk, "nor a whole part", "");
	disk.has_cache = true;
	disk.cache_unit_bytes = 4096;
	check_says("c do=powercut:keep=first:12k,unit=4k", &disk, NULL, NULL);
	check_says("c do=powercut:keep=first:512,unit=512", &disk,
		   "unit=1s is not a multiple of 4k", "--cache-unit 1s");
	disk.cache_unit_bytes = 512;
	check_says("c do=powercut:keep=first:512", &disk, NULL, NULL);
	disk.cache_unit_bytes = 0;
	check_says("c do=powercut:keep=first:4k", &disk, "keeps each write as a whole",
		   "--cache-unit 4k");
	check_says("c do=powercut:keep=all", &disk, NULL, NULL);
}

static void explain_says_how_much_of_the_request_is_kept(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io = make_io(IO_WRITE, 0, SEC, data);
	char *text;

	(void)state;
	use_rules(&disk, "cut do=powercut:keep=first:4k,rest=all");
	text = pipeline_explain(disk.pipeline, &io, 0);
	assert_non_null(
		strstr(text, "of this one the first 4k are kept, of what is volatile all is"));
	free(text);
	free_disk(&disk);
}

static void parameters_that_make_no_sense_are_refused(void **state)
{
	struct rule *rule;
	char *text;

	(void)state;
	check_error("c do=powercut:share=0.5", "rule.conflict", 6, "only with keep=random",
		    "keep=random,share=0.1");
	check_error("c do=powercut:keep=all,share=0.5", "rule.conflict", 6, "keep=random",
		    "keep=random");
	check_error("c do=powercut:keep=some", "rule.bad-word", 20, "none", NULL);
	check_error("c do=powercut:with=b+", "rule.bad-name", 20, "b+c", NULL);
	check_error("c do=powercut:with=+b", "rule.bad-name", 20, "b+c", NULL);
	check_error("c do=powercut:with=-b", "rule.bad-name", 20, "b+c", NULL);
	check_error("c do=powercut:with=b,c", "rule.unknown-parameter", 22, "'c'", "b+c");
	check_error("c do=powercut:with=b+c+b", "rule.bad-name", 20, "names 'b' twice", NULL);
	check_error("c do=powercut:with=c+bc+c", "rule.bad-name", 20, "names 'c' twice", NULL);
	check_error("c do=powercut:kepe=all", "rule.unknown-parameter", 15, "'kepe'", "keep");
	check_error("c do=powercut:keep=first", "rule.bad-word", 20, "first:SIZE", NULL);
	check_error("c do=powercut:keep=all:4k", "rule.bad-word", 20, "first:SIZE", NULL);
	check_error("c do=powercut:keep=first:", "rule.bad-size", 26, "keep=first", NULL);
	check_error("c do=powercut:keep=first:4q", "rule.bad-size", 26, "keep=first", NULL);
	check_error("c do=powercut:keep=first:1T", "rule.bad-size", 26, "got '1T'", NULL);
	check_error("c do=powercut:keep=all,rest=all", "rule.conflict", 6, "rest= only with",
		    "keep=first:4k");
	check_error("c do=powercut:unit=4k", "rule.conflict", 6, "unit= only with",
		    "keep=first:4k");
	check_error("c do=powercut:keep=first:4k,share=0.5", "rule.conflict", 6, "rest=random",
		    "share=0.1");
	rule = must_parse("c do=powercut:keep=first:1024,unit=1k,rest=random,share=0.5");
	text = rule_print(rule);
	assert_string_equal(text, "c do=powercut:keep=first:1k,rest=random,share=0.5,unit=1k");
	free(text);
	rule_unref(rule);
	rule = must_parse("c do=powercut:with=b+c-1,keep=all");
	text = rule_print(rule);
	assert_string_equal(text, "c do=powercut:keep=all,with=b+c-1");
	assert_string_equal(rule_with(rule), "b+c-1");
	free(text);
	rule_unref(rule);
	rule = must_parse("c op=flush do=powercut:keep=random,share=0.125");
	text = rule_print(rule);
	assert_string_equal(text, "c op=flush do=powercut:keep=random,share=0.125");
	free(text);
	rule_unref(rule);
}

/* ---- queues against the control thread ---------------------------------------------------- */

enum { INCARNATIONS = 300, RING = 4, PLACES = 16 };

struct worker {
	pthread_t thread;
	struct pipeline *pipeline;
	uint16_t queue;
	_Atomic bool *stop;
	/* Counted up before each revival: a cut and a revival may lie between two requests of one queue,
	 * none of which fails. */
	const _Atomic int *incarnations;
	int incarnation;         /* that it has looked at */
	bool slow;               /* its data comes in two halves, with time between them */
	uint8_t durable[PLACES]; /* content that was acknowledged and then flushed */
	/* Of all writes of this incarnation and the last of the one before. */
	uint8_t newest[PLACES];
	uint64_t bad; /* places that went back behind what was durable, or are torn */
	_Atomic uint64_t acknowledged;
};

/* Versions count up round and round; this one is older, in the near past. */
static bool is_older(uint8_t a, uint8_t b)
{
	return (int8_t)(a - b) < 0;
}

static _Thread_local const unsigned char *slow_data;

static int get_slowly(struct io *io, size_t offset, void *to, size_t len)
{
	(void)io;
	memcpy(to, slow_data + offset, len / 2);
	for (int i = 0; i < 3; i++)
		sched_yield();
	memcpy((char *)to + len / 2, slow_data + offset + len / 2, len - len / 2);
	return 0;
}

static const struct io_data_ops slow_ops = { .get = get_slowly };

static int run_at(struct worker *w, enum io_op op, unsigned int place, unsigned char *data)
{
	uint64_t sector = (uint64_t)w->queue * PLACES + place;
	struct io io = make_io(op, op == IO_FLUSH ? 0 : sector, op == IO_FLUSH ? 0 : SEC, data);

	io.queue = w->queue;
	if (w->slow && op == IO_WRITE) {
		slow_data = data;
		io.data = NULL;
		io.data_ops = &slow_ops;
	}
	if (pipeline_submit(w->pipeline, &io, 0) == IO_PARKED)
		pipeline_resume(w->pipeline, &io, 0);
	w->acknowledged += io.result >= 0;
	return io.result;
}

/* The first thing in a new incarnation: is everything there? It is what later writes follow. */
static bool look(struct worker *w)
{
	unsigned char data[PLACES][SEC];

	w->incarnation = atomic_load(w->incarnations);
	for (unsigned int place = 0; place < PLACES; place++)
		if (run_at(w, IO_READ, place, data[place]) < 0)
			return false;
	if (w->incarnation != atomic_load(w->incarnations))
		return false;
	for (unsigned int place = 0; place < PLACES; place++) {
		uint8_t got = data[place][0];

		w->bad += is_older(got, w->durable[place]) || is_older(w->newest[place], got) ||
			  memcmp(data[place], data[place] + 1, SEC - 1) != 0;
		w->newest[place] = got;
	}
	return true;
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;
	unsigned char data[SEC];
	bool off = true;

	for (unsigned int i = 0; !atomic_load(w->stop); i++) {
		pipeline_adopt(w->pipeline, w->queue);
		if (off && !look(w)) {
			sched_yield();
			continue;
		}
		memset(data, ++w->newest[i % PLACES], SEC);
		off = run_at(w, IO_WRITE, i % PLACES, data) < 0;
		if (!off && i % 8 == 0) {
			off = run_at(w, IO_FLUSH, 0, NULL) < 0;
			off |= w->incarnation != atomic_load(w->incarnations);
			if (!off)
				memcpy(w->durable, w->newest, sizeof(w->durable));
		}
		off |= w->incarnation != atomic_load(w->incarnations);
	}
	return NULL;
}

static void what_was_flushed_survives_every_cut_under_two_queues(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 2, 5);
	struct rule_set *set = must_set("slow op=write p=0.2 do=delay:1ms\n"
					"cut op=write p=0.01 do=powercut:keep=random");
	struct worker workers[2];
	_Atomic bool stop = false;
	uint64_t epoch, lost, all_lost = 0;
	_Atomic int incarnations = 0;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, NULL), 0);
	for (uint16_t q = 0; q < 2; q++) {
		workers[q] = (struct worker){ .pipeline = disk.pipeline,
					      .queue = q,
					      .stop = &stop,
					      .incarnations = &incarnations };
		assert_int_equal(pthread_create(&workers[q].thread, NULL, run_worker, &workers[q]),
				 0);
	}
	/* On a busy machine as many more as each queue needs for its share. */
	while (incarnations < INCARNATIONS || workers[0].acknowledged < 100 ||
	       workers[1].acknowledged < 100) {
		while (!(condition_bits(pipeline_condition(disk.pipeline)) & CONDITION_OFF))
			sched_yield();
		assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, &epoch), 0);
		while (!pipeline_adopted(disk.pipeline, epoch))
			sched_yield();
		atomic_fetch_add(&incarnations, 1);
		assert_int_equal(pipeline_revive(disk.pipeline, &lost), CONDITION_OFF);
		all_lost += lost;
	}
	atomic_store(&stop, true);
	for (uint16_t q = 0; q < 2; q++) {
		pthread_join(workers[q].thread, NULL);
		assert_int_equal(workers[q].bad, 0);
	}
	print_message("%d incarnations, %llu blocks lost\n", atomic_load(&incarnations),
		      (unsigned long long)all_lost);
	assert_true(all_lost > 0);
	rule_set_free(set);
	free_disk(&disk);
}

/*
 * As the server does it for a client: at any moment, so that the power also goes in its midst. The
 * queues stand still for what a revival takes back and gives.
 */
static void a_revival_whose_power_goes_meanwhile_tears_nothing(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 2, 5);
	struct rule_set *set = must_set("cut op=write p=0.05 do=powercut:keep=none");
	struct worker workers[2];
	_Atomic bool stop = false;
	uint64_t epoch;
	_Atomic int incarnations = 0;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, NULL), 0);
	for (uint16_t q = 0; q < 2; q++) {
		workers[q] = (struct worker){ .pipeline = disk.pipeline,
					      .queue = q,
					      .stop = &stop,
					      .incarnations = &incarnations,
					      .slow = true };
		assert_int_equal(pthread_create(&workers[q].thread, NULL, run_worker, &workers[q]),
				 0);
	}
	while (incarnations < INCARNATIONS || workers[0].acknowledged < 100 ||
	       workers[1].acknowledged < 100) {
		assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, &epoch), 0);
		while (!pipeline_adopted(disk.pipeline, epoch))
			sched_yield();
		pipeline_freeze(disk.pipeline);
		while (!pipeline_is_frozen(disk.pipeline))
			sched_yield();
		atomic_fetch_add(&incarnations, 1);
		pipeline_revive(disk.pipeline, NULL);
		pipeline_thaw(disk.pipeline);
	}
	atomic_store(&stop, true);
	for (uint16_t q = 0; q < 2; q++) {
		pthread_join(workers[q].thread, NULL);
		assert_int_equal(workers[q].bad, 0);
	}
	rule_set_free(set);
	free_disk(&disk);
}

struct late {
	pthread_t thread;
	struct pipeline *pipeline;
	_Atomic int *round;
	_Atomic bool *resumed;
	int bad;
};

/* Park a write, say so, and resume it at whatever moment the control thread revives the disk. */
static void *run_late(void *arg)
{
	struct late *late = arg;
	unsigned char data[SEC];

	memset(data, 'x', SEC);
	for (int round = 1; round <= 2000; round++) {
		struct io cut = make_io(IO_FLUSH, 0, 0, NULL), io = make_io(IO_WRITE, 3, SEC, data);

		io.queue = cut.queue = 1;
		if (pipeline_submit(late->pipeline, &io, 0) != IO_PARKED) {
			late->bad++;
			break;
		}
		pipeline_submit(late->pipeline, &cut, 0);
		atomic_store(late->round, round);
		while (!(condition_bits(pipeline_condition(late->pipeline)) == 0) &&
		       rng_mix(1, 2, (uint64_t)round) & 1)
			pipeline_adopt(late->pipeline, 1);
		for (uint64_t i = rng_mix(1, 3, (uint64_t)round) % 2000; i; i--)
			pipeline_adopt(late->pipeline, 1);
		pipeline_resume(late->pipeline, &io, 0);
		late->bad += io.result != -EIO;
		atomic_store(late->resumed, true);
		while (atomic_load(late->resumed))
			pipeline_adopt(late->pipeline, 1);
	}
	return NULL;
}

static void a_request_that_falls_due_during_the_revival_is_of_the_old_incarnation(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 2, 5);
	struct rule_set *set = must_set("slow op=write do=delay:1s\ncut op=flush do=powercut");
	_Atomic bool resumed = false;
	_Atomic int round = 0;
	struct late late = { .pipeline = disk.pipeline, .round = &round, .resumed = &resumed };
	uint64_t epoch;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, NULL), 0);
	pipeline_adopt(disk.pipeline, 0);
	pipeline_adopt(disk.pipeline, 1);
	assert_int_equal(pthread_create(&late.thread, NULL, run_late, &late), 0);
	for (int i = 1; i <= 2000; i++) {
		while (atomic_load(&round) != i)
			sched_yield();
		assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, &epoch), 0);
		pipeline_adopt(disk.pipeline, 0);
		while (!pipeline_adopted(disk.pipeline, epoch))
			sched_yield();
		assert_int_equal(pipeline_revive(disk.pipeline, NULL), CONDITION_OFF);
		while (!atomic_load(&resumed))
			sched_yield();
		assert_string_equal(MAP(&disk, 0, 8), "........");
		atomic_store(&resumed, false);
	}
	pthread_join(late.thread, NULL);
	assert_int_equal(late.bad, 0);
	rule_set_free(set);
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_fails_from_the_cut_on_until_the_disk_is_revived),
		cmocka_unit_test(keep_says_what_survives_and_the_durable_always_does),
		cmocka_unit_test(a_random_cut_goes_block_by_block_and_repeats_with_its_seed),
		cmocka_unit_test(without_a_cache_the_cut_decides_about_its_own_request_alone),
		cmocka_unit_test(only_the_first_cut_counts),
		cmocka_unit_test(requests_of_the_old_incarnation_never_touch_the_revived_disk),
		cmocka_unit_test(two_cuts_with_a_flush_between_lose_only_what_came_after_it),
		cmocka_unit_test(
			the_first_bytes_of_the_write_are_durable_and_the_rest_of_it_is_not),
		cmocka_unit_test(a_discard_and_zeroes_are_cut_inside_too_and_nothing_else_is),
		cmocka_unit_test(units_are_those_of_the_cache_or_larger_and_aligned_to_the_disk),
		cmocka_unit_test(a_cache_that_keeps_order_keeps_all_that_came_before),
		cmocka_unit_test(nothing_is_torn_inside_of_what_the_cache_keeps_as_one),
		cmocka_unit_test(explain_says_how_much_of_the_request_is_kept),
		cmocka_unit_test(parameters_that_make_no_sense_are_refused),
		cmocka_unit_test(what_was_flushed_survives_every_cut_under_two_queues),
		cmocka_unit_test(a_revival_whose_power_goes_meanwhile_tears_nothing),
		cmocka_unit_test(
			a_request_that_falls_due_during_the_revival_is_of_the_old_incarnation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
