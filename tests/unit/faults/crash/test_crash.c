// SPDX-License-Identifier: MIT
/* Cases with a name; tests/sim/sim_crash.c has the others. */
#include "tests/unit/check.h"

#include "base/clock.h"
#include "faults/crash/crash.h"

#include <errno.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define BLOCK 512u

static unsigned char letters[26][4 * BLOCK];

/* Up to four blocks of one letter. */
static const unsigned char *letter(char c)
{
	memset(letters[c - 'a'], c, sizeof(letters[0]));
	return letters[c - 'a'];
}

struct world {
	struct journal *journal;
	struct crash *crash;
	struct crash_image image;
	uint64_t size_bytes;
};

static struct world make_world(uint64_t size_bytes, bool cache)
{
	struct journal_disk disk = {
		.name = "disk", .size_bytes = size_bytes, .block_bytes = BLOCK, .cache = cache
	};
	struct world world = { .size_bytes = size_bytes };

	assert_int_equal(journal_new(&world.journal), 0);
	assert_int_equal(journal_add_disk(world.journal, &disk), 0);
	world.image.fd = -1;
	world.image.bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(world.image.bytes, MAP_FAILED);
	return world;
}

static void end_world(struct world *world)
{
	crash_free(world->crash);
	journal_free(world->journal);
	munmap(world->image.bytes, world->size_bytes);
}

/* A write of so many blocks of a letter; '.': a discard. */
static void write_at(struct world *world, uint64_t submit, uint64_t complete, uint64_t block,
		     uint64_t nr, char c, uint32_t flags)
{
	struct journal_write write = { .submit = submit,
				       .complete = complete,
				       .at = block * BLOCK,
				       .len_bytes = nr * BLOCK,
				       .data = c == '.' ? NULL : letter(c),
				       .flags = flags,
				       .op = c == '.' ? IO_DISCARD : IO_WRITE };

	assert_int_equal(journal_add_write(world->journal, &write), 0);
}

static void flush_at(struct world *world, uint64_t submit, uint64_t complete)
{
	struct journal_flush flush = { .submit = submit, .complete = complete };

	assert_int_equal(journal_add_flush(world->journal, &flush), 0);
}

static void go(struct world *world, struct crash_options options, uint64_t step)
{
	struct diag diag = { 0 };

	if (!world->crash) {
		if (journal_seal(world->journal, &diag) < 0)
			fail_msg("%s", diag.message);
		assert_int_equal(
			crash_create(world->journal, &options, &world->image, &diag, &world->crash),
			0);
	}
	assert_int_equal(crash_move(world->crash, step), 0);
}

static const struct crash_options by_unit = { 0 };

/* "a": the image's content, then the other candidates' of each choice: "block:abc ". */
static const char *undecided(const struct world *world)
{
	static char text[256];
	const struct crash_choice *choices;
	size_t nr = crash_choices(world->crash, &choices), at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < nr; i++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u:", i ? " " : "",
				       (unsigned int)(choices[i].at / BLOCK));
		for (uint32_t k = 0; k < choices[i].nr && choices[i].candidates; k++) {
			const unsigned char *data = choices[i].candidates[k].data;

			at += (size_t)snprintf(text + at, sizeof(text) - at, "%c",
					       data ? data[0] : '.');
		}
	}
	return text;
}

static void a_write_is_undecided_until_a_flush_that_came_after_it_has_ended(void **state)
{
	struct world world = make_world(8 * BLOCK, true);

	(void)state;
	write_at(&world, 1, 4, 0, 1, 'a', 0);
	flush_at(&world, 3, 6); /* began before the write was done: says nothing of it */
	flush_at(&world, 8, 10);
	go(&world, by_unit, 0);
	assert_string_equal(undecided(&world), "");
	for (uint64_t step = 1; step < 10; step++) {
		go(&world, by_unit, step);
		assert_string_equal(undecided(&world), "0:.a");
		assert_int_equal(world.image.bytes[0], 0);
	}
	go(&world, by_unit, 10);
	assert_string_equal(undecided(&world), "");
	assert_int_equal(world.image.bytes[0], 'a');
	end_world(&world);
}

static void fua_and_no_cache_make_durable_at_completion(void **state)
{
	(void)state;
	for (int cache = 0; cache < 2; cache++) {
		struct world world = make_world(8 * BLOCK, cache);

		write_at(&world, 1, 4, 0, 1, 'a', cache ? IO_FUA : 0);
		go(&world, by_unit, 3);
		assert_string_equal(undecided(&world), "0:.a");
		go(&world, by_unit, 4);
		assert_string_equal(undecided(&world), "");
		assert_int_equal(world.image.bytes[BLOCK - 1], 'a');
		end_world(&world);
	}
}

static void of_durable_writes_in_flight_together_either_may_be_there(void **state)
{
	struct world world = make_world(8 * BLOCK, false);

	(void)state;
	write_at(&world, 1, 5, 0, 1, 'a', 0);
	write_at(&world, 2, 4, 0, 1, 'b', 0);
	write_at(&world, 7, 8, 0, 1, 'c', 0);
	go(&world, by_unit, 6);
	assert_string_equal(undecided(&world), "0:ba");
	go(&world, by_unit, 8);
	assert_string_equal(undecided(&world), "");
	assert_int_equal(world.image.bytes[0], 'c');
	end_world(&world);
}

static void a_failed_write_may_have_landed_until_it_is_overwritten(void **state)
{
	struct journal_write write = { .submit = 1,
				       .complete = 2,
				       .len_bytes = BLOCK,
				       .data = letter('a'),
				       .op = IO_WRITE,
				       .failed = true };
	struct world world = make_world(8 * BLOCK, false);

	(void)state;
	journal_add_write(world.journal, &write);
	write_at(&world, 5, 6, 0, 1, 'b', 0);
	go(&world, by_unit, 4);
	assert_string_equal(undecided(&world), "0:.a");
	go(&world, by_unit, 6);
	assert_string_equal(undecided(&world), "");
	end_world(&world);
}

static void equal_contents_are_one_and_the_newest_may_be_the_image(void **state)
{
	struct world world = make_world(8 * BLOCK, true);
	const struct crash_choice *choices;

	(void)state;
	write_at(&world, 1, 2, 0, 1, 'a', IO_FUA);
	write_at(&world, 3, 4, 0, 1, 'a', 0);
	write_at(&world, 5, 6, 0, 1, 'b', 0);
	write_at(&world, 7, 8, 0, 1, 'a', 0);
	go(&world, by_unit, 4);
	assert_string_equal(undecided(&world), "");
	go(&world, by_unit, 8);
	assert_string_equal(undecided(&world), "0:ab");
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].newest, 0);
	assert_int_equal(choices[0].candidates[1].write, 2);
	end_world(&world);
}

static void many_writes_to_a_unit_leave_each_content_once(void **state)
{
	struct world world = make_world(8 * BLOCK, true);
	const struct crash_choice *choices;

	(void)state;
	for (uint64_t i = 0; i < 400; i++)
		write_at(&world, 2 * i + 1, 2 * i + 2, 0, 1, 'a' + (char)(i * 7 % 20), 0);
	go(&world, by_unit, 800);
	assert_string_equal(undecided(&world), "0:.ahobipcjqdkrelsfmtgn");
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	for (uint32_t i = 1; i < 21; i++)
		assert_int_equal(choices[0].candidates[i].write, 379 + i);
	assert_int_equal(choices[0].newest, 20);
	end_world(&world);
}

static void a_unit_larger_than_the_writes_holds_one_version_of_itself(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	struct crash_options options = { .unit_bytes = 2 * BLOCK };
	const struct crash_choice *choices;
	const unsigned char *data;

	(void)state;
	write_at(&world, 1, 2, 0, 1, 'a', 0);
	write_at(&world, 3, 4, 1, 1, 'b', 0);
	go(&world, options, 4);
	/* Nothing, the first, both; never the second alone. */
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, 3);
	assert_null(choices[0].candidates[0].data);
	data = choices[0].candidates[1].data;
	assert_true(data[0] == 'a' && data[BLOCK] == 0);
	data = choices[0].candidates[2].data;
	assert_true(data[0] == 'a' && data[BLOCK] == 'b');
	end_world(&world);
}

static void what_is_durable_in_a_part_is_there_whatever_else_is_lost(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	struct crash_options options = { .unit_bytes = 2 * BLOCK };
	const struct crash_choice *choices;

	(void)state;
	write_at(&world, 1, 9, 0, 1, 'a', 0);
	write_at(&world, 2, 4, 1, 1, 'b', IO_FUA);
	go(&world, options, 4);
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, 2);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(choices[0].candidates[i].data[BLOCK], 'b');
	end_world(&world);
}

static void a_lie_guarantees_what_it_says_unless_illegal_states_are_asked_for(void **state)
{
	(void)state;
	for (int illegal = 0; illegal < 2; illegal++) {
		struct journal_flush flush = { .submit = 3, .complete = 4, .false_ack = true };
		struct world world = make_world(4 * BLOCK, true);

		write_at(&world, 1, 2, 0, 1, 'a', 0);
		journal_add_flush(world.journal, &flush);
		go(&world, (struct crash_options){ .illegal = illegal }, 4);
		assert_string_equal(undecided(&world), illegal ? "0:.a" : "");
		end_world(&world);
	}
}

static int count_put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	(void)disk, (void)at, (void)data, (void)len;
	return ++*(int *)ctx == 2 ? -EIO : 0;
}

static void putting_ends_with_the_first_answer_that_is_not_zero(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	uint16_t picks[4];
	int calls = 0;

	(void)state;
	write_at(&world, 1, 2, 0, 4, 'a', 0);
	go(&world, by_unit, 2);
	crash_newest(world.crash, picks);
	assert_int_equal(crash_put(world.crash, picks, count_put, &calls), -EIO);
	assert_int_equal(calls, 2);
	end_world(&world);
}

static void a_whole_write_survives_or_none_of_it(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	const struct crash_choice *choices;
	struct crash_count count;

	(void)state;
	write_at(&world, 1, 2, 0, 3, 'a', 0);
	write_at(&world, 3, 4, 1, 3, 'b', 0);
	go(&world, (struct crash_options){ .atomic = CRASH_WRITE }, 4);
	assert_int_equal(crash_choices(world.crash, &choices), 2);
	crash_count(world.crash, &count);
	assert_int_equal(count.exact, 4);
	assert_string_equal(count.text, "2^2");
	end_world(&world);
}

static void a_disk_that_keeps_the_order_loses_only_what_came_last(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	const struct crash_choice *choices;

	(void)state;
	write_at(&world, 1, 2, 0, 1, 'a', 0);
	write_at(&world, 3, 4, 1, 1, 'b', 0);
	write_at(&world, 5, 6, 2, 1, 'c', IO_FUA);
	write_at(&world, 7, 8, 3, 1, 'd', 0);
	go(&world, (struct crash_options){ .atomic = CRASH_ORDER }, 4);
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, 3);
	/* The third is durable, so the first two are there. */
	go(&world, by_unit, 8);
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, 2);
	end_world(&world);
}

static void counts_are_products_of_powers_and_shortened_when_long(void **state)
{
	struct world world = make_world(4096 * BLOCK, true);
	struct crash_count count;
	uint64_t step = 1;

	(void)state;
	for (uint64_t i = 0; i < 70; i++, step += 2)
		write_at(&world, step, step + 1, i, 1, 'a', 0);
	for (uint64_t i = 0; i < 12; i++)
		for (char c = 'b'; c < 'c' + (char)i; c++, step += 2)
			write_at(&world, step, step + 1, 1000 + i, 1, c, 0);
	go(&world, by_unit, 140);
	crash_count(world.crash, &count);
	assert_string_equal(count.text, "2^70");
	assert_true(count.exact == UINT64_MAX);
	assert_true(fabs(count.log2 - 70) < 1e-9);
	go(&world, by_unit, 146);
	crash_count(world.crash, &count);
	assert_string_equal(count.text, "2^71 x 3");
	go(&world, by_unit, step);
	crash_count(world.crash, &count);
	assert_string_equal(count.text, "about 2^102.5");
	end_world(&world);
}

static void words_that_are_no_states_are_refused_and_random_ones_do_no_harm(void **state)
{
	static const char *const bad[] = { "",
					   "ne",
					   "newer",
					   "new~",
					   "new~0",
					   "new~0=",
					   "new~0=1,",
					   "new~0=1,0=1",
					   "new~1=1,0=1",
					   "new~-1=1",
					   "new~00=1",
					   "old ",
					   "new~0=99999999999",
					   "new~4=1",
					   "old~0=2",
					   "new~0=1;1=1" };
	static const char alphabet[] = "newold~=,0123456789 -x";
	struct world world = make_world(4 * BLOCK, true);
	struct draw draw = { .seed = 7 };
	struct diag diag;
	uint16_t picks[4];

	(void)state;
	write_at(&world, 1, 2, 0, 4, 'a', 0);
	go(&world, by_unit, 2);
	for (size_t i = 0; i < array_size(bad); i++) {
		diag.message[0] = '\0';
		if (crash_parse(world.crash, bad[i], &diag, picks) != -EINVAL)
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_not_equal(strlen(diag.message), 0);
	}
	for (int i = 0; i < 200000; i++) {
		_cleanup_free_ char *name = NULL;
		char word[24] = "new";
		size_t len = draw_below(&draw, 20), from = draw_below(&draw, 4);
		uint16_t again[4];

		for (size_t k = from; k < len; k++)
			word[k] = alphabet[draw_below(&draw, sizeof(alphabet) - 1)];
		if (crash_parse(world.crash, word, NULL, picks) < 0)
			continue;
		name = crash_name(world.crash, picks);
		assert_int_equal(crash_parse(world.crash, name, NULL, again), 0);
		assert_memory_equal(picks, again, sizeof(picks));
	}
	end_world(&world);
}

static void the_shorter_name_is_given(void **state)
{
	static const struct {
		uint16_t picks[4];
		const char *name;
	} cases[] = {
		{ { 1, 1, 1, 1 }, "new" },         { { 0, 0, 0, 0 }, "old" },
		{ { 1, 0, 1, 1 }, "new~1=0" },     { { 0, 0, 1, 0 }, "old~2=1" },
		{ { 0, 1, 1, 0 }, "new~0=0,3=0" },
	};
	struct world world = make_world(4 * BLOCK, true);

	(void)state;
	write_at(&world, 1, 2, 0, 4, 'a', 0);
	go(&world, by_unit, 2);
	for (size_t i = 0; i < array_size(cases); i++) {
		_cleanup_free_ char *name = crash_name(world.crash, cases[i].picks);

		assert_string_equal(name, cases[i].name);
	}
	end_world(&world);
}

static void units_that_do_not_fit_are_refused_with_words(void **state)
{
	static const uint32_t units[] = { 256, 511, 513, 768, 1u << 31 };
	struct world world = make_world(4 * BLOCK, true);
	struct diag diag;

	(void)state;
	assert_int_equal(journal_seal(world.journal, &diag), 0);
	for (size_t i = 0; i < array_size(units); i++) {
		struct crash_options options = { .unit_bytes = units[i] };

		assert_int_equal(
			crash_create(world.journal, &options, &world.image, &diag, &world.crash),
			-EINVAL);
		assert_string_equal(diag.id, "crash.bad-unit");
	}
	assert_null(crash_free(NULL));
	end_world(&world);
}

/* ------------------------------------------------------------------------------ more than picks */

enum { MANY = CRASH_CANDIDATES_MAX };

/* The first bytes of a block: the number of its write. */
static unsigned char (*numbered(uint32_t nr))[BLOCK]
{
	unsigned char(*blocks)[BLOCK] = calloc(nr, BLOCK);

	assert_non_null(blocks);
	for (uint32_t i = 0; i < nr; i++)
		memcpy(blocks[i], &(uint32_t){ i + 1 }, sizeof(i));
	return blocks;
}

static void write_numbers(struct world *world, unsigned char (*blocks)[BLOCK], uint32_t nr,
			  uint32_t equal)
{
	for (uint32_t i = 0; i < nr; i++)
		assert_int_equal(
			journal_add_write(world->journal,
					  &(struct journal_write){ .submit = 2 * i + 1,
								   .complete = 2 * i + 2,
								   .len_bytes = BLOCK,
								   .data = blocks[i % equal] }),
			0);
}

static uint32_t number_in(const struct crash_choice *choice, uint32_t candidate)
{
	uint32_t number = 0;

	if (choice->candidates[candidate].data)
		memcpy(&number, choice->candidates[candidate].data, sizeof(number));
	return number;
}

static bool is_missing(const struct world *world)
{
	struct crash_count count;

	crash_count(world->crash, &count);
	return count.missing;
}

/* It is contents that have picks, and not writes. */
static void many_writes_of_few_contents_have_all_states(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	unsigned char(*blocks)[BLOCK] = numbered(8);
	const struct crash_choice *choices;

	(void)state;
	write_numbers(&world, blocks, MANY + 9, 8);
	go(&world, by_unit, 2 * (MANY + 9));
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, 9);
	assert_false(is_missing(&world));
	end_world(&world);
	free(blocks);
}

/* The oldest, the newest, and of the others what there are picks for. */
static void of_more_contents_than_picks_some_are_made_and_that_is_told(void **state)
{
	for (uint32_t nr = MANY - 1; nr <= 2 * MANY; nr += MANY - 8) {
		struct world world = make_world(4 * BLOCK, true);
		unsigned char(*blocks)[BLOCK] = numbered(nr);
		const struct crash_choice *choices;
		uint32_t last = 0, widest = 0;
		uint16_t pick;
		bool *survives = calloc(nr, 1);

		assert_non_null(survives);
		write_numbers(&world, blocks, nr, nr);
		go(&world, by_unit, 2 * nr);
		assert_int_equal(crash_choices(world.crash, &choices), 1);
		assert_int_equal(choices[0].nr, MANY);
		assert_int_equal(is_missing(&world), nr >= MANY);
		assert_int_equal(number_in(&choices[0], 0), 0);
		assert_int_equal(number_in(&choices[0], choices[0].newest), nr);
		for (uint32_t i = 1; i < choices[0].nr; i++) {
			uint32_t number = number_in(&choices[0], i);

			assert_true(number > last);
			widest = number - last > widest ? number - last : widest;
			last = number;
		}
		assert_true(widest <= nr / MANY + 2);
		/* One that is not made: the newest before it. */
		survives[nr - 2] = true;
		crash_survivors(world.crash, survives, &pick);
		assert_in_range(number_in(&choices[0], pick), nr - 3, nr - 1);
		memset(survives, 0, nr);
		crash_lost(world.crash, &choices[0].newest, survives);
		assert_false(memchr(survives, true, nr));
		end_world(&world);
		free(blocks);
		free(survives);
	}
	(void)state;
}

static void of_more_places_than_picks_some_are_made_and_that_is_told(void **state)
{
	struct world world = make_world(4 * BLOCK, true);
	struct crash_options options = { .atomic = CRASH_ORDER };
	const struct crash_choice *choices;
	uint16_t oldest = 0, newest;
	uint64_t hashes[2];

	(void)state;
	for (uint64_t i = 0; i < MANY + 100; i++)
		write_at(&world, 2 * i + 1, 2 * i + 2, i % 4, 1, 'a' + (char)(i % 26), 0);
	flush_at(&world, 2 * MANY + 201, 2 * MANY + 202);
	go(&world, options, 2 * MANY - 2);
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, MANY);
	assert_false(is_missing(&world));
	go(&world, options, 2 * MANY + 200);
	assert_int_equal(crash_choices(world.crash, &choices), 1);
	assert_int_equal(choices[0].nr, MANY);
	assert_true(is_missing(&world));
	newest = choices[0].newest;
	hashes[0] = crash_hash(world.crash, &oldest);
	hashes[1] = crash_hash(world.crash, &newest);
	assert_int_not_equal(hashes[0], hashes[1]);
	go(&world, options, 2 * MANY + 202);
	assert_int_equal(crash_choices(world.crash, &choices), 0);
	assert_false(is_missing(&world));
	assert_true(crash_hash(world.crash, NULL) == hashes[1]);
	end_world(&world);
}

static double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* 64 units of a tebibyte are other than zero; a discard of all of it finds them. */
static void discards_of_a_tebibyte_of_holes_cost_next_to_nothing(void **state)
{
	struct world world = make_world(1ull << 40, true);
	const struct crash_choice *choices;
	struct rusage usage;
	double start_s;

	(void)state;
	for (uint64_t i = 0; i < 64; i++)
		write_at(&world, 2 * i + 1, 2 * i + 2, i << 25, 1, 'a', IO_FUA);
	for (uint64_t i = 64; i < 20000; i++)
		write_at(&world, 2 * i + 1, 2 * i + 2, 0, (1ull << 40) / BLOCK, '.',
			 i % 100 ? 0 : IO_FUA);
	start_s = cpu_s();
	go(&world, by_unit, 2 * 64 + 2);
	assert_int_equal(crash_choices(world.crash, &choices), 64);
	go(&world, by_unit, UINT64_MAX);
	assert_int_equal(crash_choices(world.crash, &choices), 0);
	assert_true(cpu_s() - start_s < 5);
	getrusage(RUSAGE_SELF, &usage);
	assert_true(usage.ru_maxrss < 600 << 10);
	end_world(&world);
}

/* A hundred thousand writes, a flush after each thousand, and every default point. */
static void walking_costs_what_happened(void **state)
{
	enum { NR = 100000 };
	struct world world = make_world(1ull << 30, true);
	struct crash_select select = { 0 };
	struct crash_point *points;
	uint64_t step = 1;
	double start_s;
	size_t nr;

	(void)state;
	for (uint64_t i = 0; i < NR; i++, step += 2) {
		write_at(&world, step, step + 1, rng_below(rng_mix(1, 2, i), 1 << 12), 1,
			 'a' + (char)(i % 26), 0);
		if (i % 1000 == 999) {
			step += 2;
			flush_at(&world, step, step + 1);
		}
	}
	start_s = cpu_s();
	go(&world, by_unit, 0);
	assert_int_equal(crash_points(world.journal, &by_unit, &select, &points, &nr), 0);
	assert_int_equal(nr, NR / 1000 + 1);
	for (size_t i = 0; i < nr; i++) {
		const struct crash_choice *choices;

		go(&world, by_unit, points[i].step);
		assert_int_equal(crash_choices(world.crash, &choices) > 500, i + 1 < nr);
	}
	assert_true(cpu_s() - start_s < 5);
	free(points);
	end_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_write_is_undecided_until_a_flush_that_came_after_it_has_ended),
		cmocka_unit_test(fua_and_no_cache_make_durable_at_completion),
		cmocka_unit_test(of_durable_writes_in_flight_together_either_may_be_there),
		cmocka_unit_test(a_failed_write_may_have_landed_until_it_is_overwritten),
		cmocka_unit_test(equal_contents_are_one_and_the_newest_may_be_the_image),
		cmocka_unit_test(many_writes_to_a_unit_leave_each_content_once),
		cmocka_unit_test(a_unit_larger_than_the_writes_holds_one_version_of_itself),
		cmocka_unit_test(what_is_durable_in_a_part_is_there_whatever_else_is_lost),
		cmocka_unit_test(a_lie_guarantees_what_it_says_unless_illegal_states_are_asked_for),
		cmocka_unit_test(putting_ends_with_the_first_answer_that_is_not_zero),
		cmocka_unit_test(a_whole_write_survives_or_none_of_it),
		cmocka_unit_test(a_disk_that_keeps_the_order_loses_only_what_came_last),
		cmocka_unit_test(counts_are_products_of_powers_and_shortened_when_long),
		cmocka_unit_test(words_that_are_no_states_are_refused_and_random_ones_do_no_harm),
		cmocka_unit_test(the_shorter_name_is_given),
		cmocka_unit_test(units_that_do_not_fit_are_refused_with_words),
		cmocka_unit_test(many_writes_of_few_contents_have_all_states),
		cmocka_unit_test(of_more_contents_than_picks_some_are_made_and_that_is_told),
		cmocka_unit_test(of_more_places_than_picks_some_are_made_and_that_is_told),
		cmocka_unit_test(discards_of_a_tebibyte_of_holes_cost_next_to_nothing),
		cmocka_unit_test(walking_costs_what_happened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
