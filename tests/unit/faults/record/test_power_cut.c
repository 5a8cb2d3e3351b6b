// SPDX-License-Identifier: MIT
/*
 * Power cuts of a disk that is being recorded: a real disk with a cache is written, cut, brought
 * back and written on, and what its recording says is possible is held against what it held.
 */
#include "faults/crash/crash.h"
#include "faults/record/dirty_map.h"
#include "faults/record/recorder.h"
#include "tests/unit/play.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define CUTS  5
#define SEEDS 12

struct world {
	char dir[32], path[48];
	struct recorder *recorder;
	struct recorder_disk *recorded;
	struct play play;
	unsigned char *held[CUTS + 1]; /* by the disk after each cut, and at the end */
	uint64_t nr_volatile[CUTS];    /* of the disk at each cut */
	/* What the disk may lose, and the same in the words of the states. */
	struct cache_model model;
	struct crash_options options;
	bool by_rule; /* a rule cuts the power */
};

static const struct world by_block = { .options = { .unit_bytes = 512 } };

static void begin(struct world *world, const struct world *like, uint64_t seed, const char *rules)
{
	const struct record_disk disk = { .name = "d",
					  .size_bytes = PLAY_SIZE,
					  .block_bytes = 512,
					  .physical_bytes = 512,
					  .max_io_bytes = PLAY_IO_MAX,
					  .depth = 2 * PLAY_WAITING,
					  .flags = RECORD_CACHE,
					  .nr_queues = 2 };
	struct recorder_options options = { .data = true };
	struct rule_set *set = must_set(rules);
	struct diag diag = { 0 };

	*world = *like;
	snprintf(world->dir, sizeof(world->dir), "/tmp/cut-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	snprintf(world->path, sizeof(world->path), "%s/rec", world->dir);
	options.path = world->path;
	if (recorder_create(&options, &diag, &world->recorder) ||
	    recorder_add_disk(world->recorder, &disk, &diag, &world->recorded))
		fail_msg("%s", diag.message);
	play_open_model(&world->play, seed, 2, world->recorded, world->model);
	play_rules(&world->play, set);
	rule_set_free(set);
}

static void mark(struct world *world, const char *text)
{
	uint64_t nr, step;

	assert_int_equal(recorder_mark(world->recorder, world->play.now_ns, text, strlen(text),
				       NULL, &nr, &step),
			 0);
}

/* A rule of the disk's cuts it, inside of a write perhaps, if it has not done so already. */
static void wait_for_cut(struct world *world, unsigned int nr)
{
	struct play *play = &world->play;

	while (!(condition_bits(pipeline_condition(play->pipeline)) & CONDITION_OFF)) {
		world->nr_volatile[nr] = pipeline_nr_volatile(play->pipeline);
		play_steps(play, 1);
	}
}

/* Cut it, with requests on their way, and bring it back. */
static void cut(struct world *world, unsigned int nr, const struct power_cut *cut)
{
	struct play *play = &world->play;
	struct power_cut_result result;

	if (!world->by_rule) {
		assert_int_equal(pipeline_crash(play->pipeline, cut, false, &result), 0);
		world->nr_volatile[nr] = result.nr_volatile;
	} else {
		wait_for_cut(world, nr);
	}
	mark(world, "off");
	play_steps(play, 5);
	play_revive(play);
	world->held[nr] = malloc(PLAY_SIZE);
	memcpy(world->held[nr], store_bytes(play->store), PLAY_SIZE);
	mark(world, "back");
}

static struct journal *end(struct world *world)
{
	struct journal *journal;
	struct diag diag = { 0 };

	play_drain(&world->play);
	world->held[CUTS] = malloc(PLAY_SIZE);
	memcpy(world->held[CUTS], store_bytes(world->play.store), PLAY_SIZE);
	play_finish(&world->play);
	free(world->play.text);
	recorder_close(world->recorder, NULL);
	if (journal_open(world->path, &diag, &journal))
		fail_msg("%s", diag.message);
	unlink(world->path);
	rmdir(world->dir);
	return journal;
}

/* Is @held one of the states at the cursor? */
static void must_be_possible(const struct crash *crash, const struct crash_image *image,
			     const unsigned char *held, const char *when)
{
	static const unsigned char zeroes[65536];
	const struct crash_choice *choices;
	size_t nr = crash_choices(crash, &choices), next = 0;
	uint32_t unit = crash_options(crash)->unit_bytes;

	for (uint64_t at = 0; at < PLAY_SIZE; at += unit) {
		bool found = memcmp(image->bytes + at, held + at, unit) == 0;

		if (next < nr && choices[next].at == at) {
			const struct crash_choice *choice = &choices[next++];

			for (uint32_t i = 0; !found && i < choice->nr; i++)
				found = memcmp(choice->candidates[i].data ?: zeroes, held + at,
					       unit) == 0;
		}
		if (!found)
			fail_msg("%s: the disk held what is no legal state of byte %llu", when,
				 (unsigned long long)at);
	}
}

static int show(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	unsigned char *bytes = ctx;

	(void)disk;
	if (data)
		memcpy(bytes + at, data, len);
	else
		memset(bytes + at, 0, len);
	return 0;
}

/* Is all of the write there, but for what was written over later? */
static bool seems_to_survive(const struct crash *crash, uint32_t index, const bool *lost,
			     const unsigned char *held)
{
	static const unsigned char zeroes[512];
	const struct journal *journal = crash_journal(crash);
	const struct journal_write *w = &journal->writes[index];

	for (uint64_t at = w->at; at < w->at + w->len_bytes; at += 512) {
		bool over = false;

		for (size_t i = index + 1; i < journal->nr_writes && !over; i++)
			over = !lost[i] && journal->writes[i].submit <= crash_step(crash) &&
			       journal->writes[i].at <= at &&
			       at < journal->writes[i].at + journal->writes[i].len_bytes;
		if (!over && memcmp(held + at, w->data ? w->data + (at - w->at) : zeroes, 512) != 0)
			return false;
	}
	return true;
}

struct search {
	const struct crash *crash;
	const unsigned char *image, *held;
	const struct crash_choice *choices;
	size_t nr_choices;
	uint16_t *picks, *trial;
	unsigned char *bytes;
};

/* In how many blocks the disk held something else than the state has. */
static unsigned int differs(const struct search *search, const uint16_t *picks)
{
	unsigned int nr = 0;

	memcpy(search->bytes, search->image, PLAY_SIZE);
	crash_put(search->crash, picks, show, search->bytes);
	for (unsigned int at = 0; at < PLAY_SIZE; at += 512)
		nr += memcmp(search->bytes + at, search->held + at, 512) != 0;
	return nr;
}

/* With another pick of choice @i, and with those of another one: 0 or as much less as can be. */
static unsigned int improve(const struct search *search, size_t i, unsigned int least)
{
	size_t size = search->nr_choices * sizeof(*search->picks);
	unsigned int before = least;

	for (size_t k = 0; k < search->nr_choices && least == before; k++)
		for (uint32_t n = 0; n < search->choices[i].nr * search->choices[k].nr; n++) {
			unsigned int now;

			memcpy(search->trial, search->picks, size);
			search->trial[i] = (uint16_t)(n % search->choices[i].nr);
			search->trial[k] = (uint16_t)(n / search->choices[i].nr);
			crash_canonical(search->crash, search->trial);
			now = differs(search, search->trial);
			if (now >= least)
				continue;
			least = now;
			memcpy(search->picks, search->trial, size);
			break;
		}
	return least;
}

/* From a state that is near it, step by step. */
static bool is_near(struct search *search)
{
	unsigned int least = differs(search, search->picks), before;

	do {
		before = least;
		for (size_t i = 0; i < search->nr_choices && least; i++)
			least = improve(search, i, least);
	} while (least && least < before);
	return !least;
}

/* Of whole writes, or of an order: the state is looked for by what seems to be there. False: it is
 * not found, but states are said to be missing. */
static bool is_possible(const struct crash *crash, const struct crash_image *image,
			const unsigned char *held)
{
	struct search search = {
		.crash = crash, .image = image->bytes, .held = held, .bytes = malloc(PLAY_SIZE)
	};
	const uint32_t *writes;
	size_t nr = crash_volatile(crash, &writes);
	bool *survives = calloc(nr + 1, sizeof(*survives)), same;
	bool *lost = calloc(crash_journal(crash)->nr_writes, sizeof(*lost));
	struct crash_count count;

	search.nr_choices = crash_choices(crash, &search.choices);
	search.picks = calloc(search.nr_choices + 1, sizeof(*search.picks));
	search.trial = calloc(search.nr_choices + 1, sizeof(*search.trial));
	for (size_t i = nr; i-- > 0;) {
		survives[i] = seems_to_survive(crash, writes[i], lost, held);
		lost[writes[i]] = !survives[i];
	}
	crash_survivors(crash, survives, search.picks);
	same = is_near(&search);
	crash_count(crash, &count);
	if (!same && !count.missing)
		fail_msg("the disk held what is no legal state of step %llu",
			 (unsigned long long)crash_step(crash));
	free(search.picks);
	free(search.trial);
	free(search.bytes);
	free(survives);
	free(lost);
	return same;
}

static bool is_back(const struct journal *journal, const struct crash_point *point)
{
	return point->why == CRASH_AT_MARK &&
	       strcmp(journal->marks[point->nr_marks - 1].text, "back") == 0;
}

/* Nothing came to the disk while it had no power. */
static void must_be_deaf(const struct journal *journal)
{
	for (size_t i = 0; i + 1 < journal->nr_marks; i += 2) {
		const struct journal_mark *off = &journal->marks[i], *back = off + 1;

		assert_string_equal(off->text, "off");
		assert_string_equal(back->text, "back");
		for (size_t k = 0; k < journal->nr_writes; k++)
			if (journal->writes[k].submit > off->step &&
			    journal->writes[k].submit < back->step)
				assert_true(journal->writes[k].survivor);
	}
}

/*
 * At each cut: the real state is one of its moment's; after it, the only one. Answers how many of
 * the cuts found something volatile: there was a choice.
 */
static unsigned int check(struct world *world, const struct journal *journal)
{
	const struct crash_options options = world->options;
	const struct crash_select select = { 0 };
	struct crash_image image = { .fd = -1,
				     .bytes = mmap(NULL, PLAY_SIZE, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
	const struct crash_choice *choices;
	struct crash_point *points;
	struct crash *crash;
	size_t nr_points;
	unsigned int nr = 0, moments = 0;

	assert_int_equal(crash_create(journal, &options, &image, NULL, &crash), 0);
	assert_int_equal(crash_points(journal, &options, &select, &points, &nr_points), 0);
	for (size_t i = 0; i < nr_points; i++) {
		assert_int_equal(crash_move(crash, points[i].step), 0);
		if (is_back(journal, &points[i])) {
			assert_int_equal(crash_choices(crash, &choices), 0);
			assert_memory_equal(image.bytes, world->held[nr++], PLAY_SIZE);
		} else if (i + 1 < nr_points && is_back(journal, &points[i + 1])) {
			bool found = true;

			if (options.atomic == CRASH_UNIT)
				must_be_possible(crash, &image, world->held[nr], "cut");
			else
				found = is_possible(crash, &image, world->held[nr]);
			if (world->nr_volatile[nr])
				assert_true(crash_choices(crash, &choices) > 0);
			moments += found && world->nr_volatile[nr] > 0;
		}
	}
	if (options.atomic == CRASH_UNIT)
		must_be_possible(crash, &image, world->held[CUTS], "end");
	must_be_deaf(journal);
	assert_int_equal(nr, CUTS);
	free(points);
	crash_free(crash);
	munmap(image.bytes, PLAY_SIZE);
	return moments;
}

static unsigned int run(const struct world *like, uint64_t seed, const char *rules)
{
	const struct power_cut none = { .keep = KEEP_NONE }, all = { .keep = KEEP_ALL };
	const struct power_cut some = { .keep = KEEP_RANDOM,
					.bits = seed,
					.threshold = UINT64_MAX / 2 };
	const struct power_cut *const cuts[] = { &some, &none, &all };
	struct world world;
	struct journal *journal;
	unsigned int moments;

	begin(&world, like, seed, rules);
	for (unsigned int i = 0; i < CUTS; i++) {
		play_steps(&world.play, 30 + (unsigned int)seed % 40);
		cut(&world, i, cuts[(seed + i) % 3]);
	}
	play_steps(&world.play, 60);
	journal = end(&world);
	moments = check(&world, journal);
	journal_free(journal);
	for (unsigned int i = 0; i <= CUTS; i++)
		free(world.held[i]);
	return moments;
}

static void run_all(const struct world *like, const char *rules)
{
	unsigned int moments = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		moments += run(like, seed, rules);
	assert_true(moments > SEEDS * CUTS / 2);
}

static void after_a_cut_the_journal_holds_what_the_disk_held(void **state)
{
	(void)state;
	run_all(&by_block, "");
}

static void requests_that_wait_and_fail_at_the_cut_are_decided_by_it(void **state)
{
	(void)state;
	run_all(&by_block, "slow op=write,flush p=0.5 do=delay:50us\n"
			   "bad op=write p=0.1 do=error:EIO\n");
}

/* Writes wait here and there, so that later ones are done before them. */
#define WAITS "slow op=write,flush p=0.4 do=delay:50us\nheld op=write p=0.1 do=hang\n"

static void a_disk_that_keeps_its_order_holds_a_state_of_its_recording(void **state)
{
	const struct world like = { .model = { .in_order = true },
				    .options = { .atomic = CRASH_ORDER } };

	(void)state;
	run_all(&like, WAITS);
}

static void a_disk_of_whole_writes_holds_a_state_of_its_recording(void **state)
{
	const struct world like = { .model = { .whole_writes = true },
				    .options = { .atomic = CRASH_WRITE } };

	(void)state;
	run_all(&like, WAITS);
}

static void units_larger_than_writes_hold_versions_of_the_recording(void **state)
{
	(void)state;
	for (uint32_t unit = 1024; unit <= 65536; unit *= 8) {
		const struct world like = { .model = { .unit_bytes = unit },
					    .options = { .unit_bytes = unit } };

		run_all(&like, WAITS);
	}
}

static void a_cut_inside_of_a_write_leaves_a_state_of_its_recording(void **state)
{
	const struct world like = { .options = { .unit_bytes = 512 }, .by_rule = true };

	(void)state;
	run_all(&like, WAITS "cut op=write,discard,zeroes every=37 "
			     "do=powercut:keep=first:3s,rest=random");
}

/* ------------------------------------------------------------------------------ what was kept */

struct told {
	unsigned char is[64]; /* by unit: 1 told as a hole, 2 as data */
	unsigned int nr;
};

static int note(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len)
{
	struct told *told = ctx;

	assert_int_equal(at % DIRTY_MAP_UNIT, 0);
	for (uint64_t i = at / DIRTY_MAP_UNIT; i < (at + len) / DIRTY_MAP_UNIT; i++) {
		assert_int_equal(told->is[i], 0);
		told->is[i] = bytes ? 2 : 1;
	}
	told->nr++;
	return 0;
}

static void what_was_noted_is_told_once_and_holes_are_not_read(void **state)
{
	struct dirty_map *map = dirty_map_create(64 * DIRTY_MAP_UNIT);
	struct draw draw = { 3, 0 };
	struct store *store;

	(void)state;
	assert_int_equal(store_create(64 * DIRTY_MAP_UNIT, NULL, &store), 0);
	for (unsigned int round = 0; round < 50; round++) {
		uint64_t allocated = store_allocated(store);
		bool noted[64] = { false };
		struct told told = { 0 };

		for (uint64_t k = 0, n = draw_below(&draw, 4); k < n; k++) {
			uint64_t from = draw_below(&draw, 63 * DIRTY_MAP_UNIT);
			uint64_t len = 1 + draw_below(&draw, 64 * DIRTY_MAP_UNIT - from);

			dirty_map_add(map, from, len);
			for (uint64_t i = from / DIRTY_MAP_UNIT;
			     i <= (from + len - 1) / DIRTY_MAP_UNIT; i++)
				noted[i] = true;
		}
		assert_int_equal(dirty_map_each(map, store, note, &told), 0);
		for (unsigned int i = 0; i < 64; i++)
			assert_int_equal(told.is[i] != 0, noted[i]);
		assert_int_equal(store_allocated(store), allocated);
	}
	store_free(store);
	dirty_map_free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_cut_the_journal_holds_what_the_disk_held),
		cmocka_unit_test(requests_that_wait_and_fail_at_the_cut_are_decided_by_it),
		cmocka_unit_test(a_disk_that_keeps_its_order_holds_a_state_of_its_recording),
		cmocka_unit_test(a_disk_of_whole_writes_holds_a_state_of_its_recording),
		cmocka_unit_test(units_larger_than_writes_hold_versions_of_the_recording),
		cmocka_unit_test(a_cut_inside_of_a_write_leaves_a_state_of_its_recording),
		cmocka_unit_test(what_was_noted_is_told_once_and_holes_are_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
