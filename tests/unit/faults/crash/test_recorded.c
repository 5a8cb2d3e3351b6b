// SPDX-License-Identifier: MIT
/*
 * The model that is explored where none was asked for. What is legal for all disks is held against
 * what each of their caches may leave by itself: the same writes on one disk of either kind.
 */
#include "tests/unit/check.h"

#include "faults/crash/crash.h"

#include <xxhash.h>

enum { BLOCK = 512, DISK = 8192, WRITES = 6, STATES = 4096, SEEDS = 300 };

struct cache {
	uint32_t unit_bytes; /* 0: not told */
	bool writes, order;
};

struct states {
	size_t nr;
	uint64_t hashes[STATES];
};

static struct journal_disk disk_of(const char *name, const struct cache *cache)
{
	struct journal_disk disk = { .size_bytes = DISK,
				     .block_bytes = BLOCK,
				     .cache = true,
				     .cache_unit_bytes = cache->unit_bytes,
				     .cache_writes = cache->writes,
				     .cache_order = cache->order };

	snprintf(disk.name, sizeof(disk.name), "%s", name);
	return disk;
}

/* Disks that nothing happens to. */
static struct journal *journal_of(const struct journal_disk *disks, size_t nr)
{
	struct journal *journal;

	assert_int_equal(journal_new(&journal), 0);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(journal_add_disk(journal, &disks[i]), 0);
	assert_int_equal(journal_seal(journal, NULL), 0);
	return journal;
}

static struct crash_options settle(const struct journal_disk *disks, size_t nr,
				   struct crash_options options, bool atomic_given,
				   bool *ret_common)
{
	struct journal *journal = journal_of(disks, nr);

	*ret_common = crash_as_recorded(&options, atomic_given, journal);
	journal_free(journal);
	return options;
}

/* ------------------------------------------------------------------------------ states */

static struct journal *some_writes(uint64_t seed)
{
	static unsigned char data[WRITES][DISK];
	const struct cache any = { 0 };
	struct journal_disk disk = disk_of("d", &any);
	struct draw draw = { seed, 0 };
	struct journal *journal;
	uint64_t step = 0;

	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disk), 0);
	for (unsigned int i = 0; i < WRITES; i++) {
		uint64_t at = draw_below(&draw, DISK / BLOCK);
		uint64_t nr = 1 + draw_below(&draw, DISK / BLOCK - at);
		struct journal_write write = { .submit = ++step, .disk = 0, .op = IO_WRITE };

		nr = nr > 4 && draw_below(&draw, 2) ? 4 : nr;
		memset(data[i], (int)(1 + i), DISK);
		write.at = at * BLOCK;
		write.len_bytes = nr * BLOCK;
		write.data = data[i];
		write.complete = ++step;
		assert_int_equal(journal_add_write(journal, &write), 0);
		if (draw_below(&draw, 4) == 0) {
			struct journal_flush flush = { .submit = step + 1, .complete = step + 2 };

			step += 2;
			assert_int_equal(journal_add_flush(journal, &flush), 0);
		}
	}
	assert_int_equal(journal_seal(journal, NULL), 0);
	return journal;
}

static int put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	unsigned char *to = (unsigned char *)ctx + at;

	(void)disk;
	if (data)
		memcpy(to, data, len);
	else
		memset(to, 0, len);
	return 0;
}

static int by_hash(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

/* Counts up; false after the last. */
static bool next_picks(uint16_t *picks, const struct crash_choice *choices, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		if (++picks[i] < choices[i].nr)
			return true;
		picks[i] = 0;
	}
	return false;
}

/* All contents that a cut may leave at the end; false: too many. */
static bool list_states(const struct journal *journal, struct crash_options options,
			struct states *states)
{
	static unsigned char bytes[DISK], content[DISK];
	const struct crash_image image = { .bytes = bytes, .fd = -1 };
	const struct crash_choice *choices;
	uint16_t picks[DISK / BLOCK + WRITES] = { 0 };
	struct crash *crash;
	size_t nr;

	memset(bytes, 0, sizeof(bytes));
	states->nr = 0;
	assert_int_equal(crash_create(journal, &options, &image, NULL, &crash), 0);
	assert_int_equal(crash_move(crash, journal->end_step), 0);
	nr = crash_choices(crash, &choices);
	do {
		if (states->nr == STATES) {
			crash_free(crash);
			return false;
		}
		memcpy(content, bytes, sizeof(content));
		crash_put(crash, picks, put, content);
		states->hashes[states->nr++] = XXH3_64bits(content, sizeof(content));
	} while (next_picks(picks, choices, nr));
	crash_free(crash);
	qsort(states->hashes, states->nr, sizeof(states->hashes[0]), by_hash);
	return true;
}

static bool is_in(const struct states *all, uint64_t hash)
{
	return bsearch(&hash, all->hashes, all->nr, sizeof(hash), by_hash);
}

static bool is_within(const struct states *some, const struct states *all)
{
	for (size_t i = 0; i < some->nr; i++)
		if (!is_in(all, some->hashes[i]))
			return false;
	return true;
}

static struct crash_options own_model(const struct cache *cache)
{
	return (struct crash_options){ .unit_bytes = cache->unit_bytes ?: 4096,
				       .atomic = cache->order    ? CRASH_ORDER
						 : cache->writes ? CRASH_WRITE
								 : CRASH_UNIT };
}

/* Answers whether the common states are fewer than the disk's own. */
static bool check_disk(const struct journal *journal, const struct states *common,
		       const struct cache *cache, bool said_common)
{
	static struct states own;

	/* An order of units has no model of its own here: it has all states of one of writes. */
	if (!list_states(journal, own_model(cache), &own))
		return false;
	if (!is_within(common, &own))
		fail_msg("a common state is none of the disk's own");
	if (!said_common && !is_within(&own, common))
		fail_msg("states are missing, and nobody says so");
	return !is_within(&own, common);
}

static void what_is_legal_for_all_disks_is_legal_for_each(void **state)
{
	static const struct cache caches[] = {
		{ .unit_bytes = 0 },    { .unit_bytes = 512 },
		{ .unit_bytes = 1024 }, { .unit_bytes = 4096 },
		{ .unit_bytes = 8192 }, { .writes = true },
		{ .order = true },      { .unit_bytes = 1024, .order = true },
	};
	static struct states common;
	unsigned int pairs = 0, fewer = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct draw draw = { seed, 1000 };
		const struct cache *a = &caches[draw_below(&draw, array_size(caches))];
		const struct cache *b = &caches[draw_below(&draw, array_size(caches))];
		const struct journal_disk disks[] = { disk_of("a", a), disk_of("b", b) };
		struct crash_options none = { 0 }, options;
		struct journal *journal = some_writes(seed);
		bool said;

		options = settle(disks, 2, none, false, &said);
		if (list_states(journal, options, &common)) {
			fewer += check_disk(journal, &common, a, said);
			fewer += check_disk(journal, &common, b, said);
			pairs++;
		}
		journal_free(journal);
	}
	assert_true(pairs > SEEDS / 2);
	assert_true(fewer > SEEDS / 4);
}

/* ------------------------------------------------------------------------------ cases */

static void what_is_given_is_left_alone(void **state)
{
	const struct cache by_write = { .writes = true }, small = { .unit_bytes = 512 },
			   large = { .unit_bytes = 8192 };
	const struct journal_disk writes[] = { disk_of("a", &by_write) };
	const struct journal_disk units[] = { disk_of("a", &small), disk_of("b", &large) };
	struct crash_options options;
	bool common;

	(void)state;
	options = settle(writes, 1, (struct crash_options){ .unit_bytes = 2048 }, false, &common);
	assert_int_equal(options.unit_bytes, 2048);
	assert_int_equal(options.atomic, CRASH_UNIT);
	assert_false(common);
	options = settle(writes, 1, (struct crash_options){ .atomic = CRASH_UNIT }, true, &common);
	assert_int_equal(options.atomic, CRASH_UNIT);
	assert_int_equal(options.unit_bytes, 4096);
	assert_false(common);
	options = settle(units, 2, (struct crash_options){ .atomic = CRASH_UNIT }, true, &common);
	assert_int_equal(options.unit_bytes, 8192);
	assert_true(common);
	options = settle(units, 2, (struct crash_options){ .atomic = CRASH_WRITE }, true, &common);
	assert_int_equal(options.atomic, CRASH_WRITE);
	assert_false(common);
}

static void a_unit_is_never_smaller_than_a_block(void **state)
{
	const struct cache small = { .unit_bytes = 512 };
	struct journal_disk disks[] = { disk_of("a", &small), disk_of("b", &small) };
	struct crash_options options;
	bool common;

	(void)state;
	disks[1].block_bytes = 4096;
	disks[1].cache = false;
	options = settle(disks, 2, (struct crash_options){ 0 }, false, &common);
	assert_int_equal(options.unit_bytes, 4096);
	assert_true(common);
	disks[0].cache = false;
	options = settle(disks, 2, (struct crash_options){ 0 }, false, &common);
	assert_int_equal(options.unit_bytes, 4096);
	assert_false(common);
	options = settle(disks, 1, (struct crash_options){ 0 }, false, &common);
	assert_int_equal(options.unit_bytes, 4096);
	assert_false(common);
}

static void what_a_cache_loses_as_one_may_be_a_part_of_a_block(void **state)
{
	const struct cache small = { .unit_bytes = 512 }, unknown = { .unit_bytes = 0 };
	struct journal_disk disks[] = { disk_of("a", &small), disk_of("b", &unknown) };
	struct journal journal = { .disks = disks, .nr_disks = 1 };
	struct crash_options options;
	bool common;

	(void)state;
	disks[0].block_bytes = disks[1].block_bytes = 4096;
	options = settle(disks, 1, (struct crash_options){ 0 }, false, &common);
	assert_int_equal(options.unit_bytes, 512);
	assert_false(common);
	assert_int_equal(crash_least_bytes(&journal), 512);
	options = settle(disks, 2, (struct crash_options){ 0 }, false, &common);
	assert_int_equal(options.unit_bytes, 4096);
	assert_true(common);
	disks[1].block_bytes = 8192;
	options = settle(disks, 2, (struct crash_options){ 0 }, false, &common);
	assert_int_equal(options.unit_bytes, 8192);
}

/* What a disk may lose by itself, whatever the states are of. */
static void the_least_that_may_be_lost_is_a_block_or_what_was_recorded(void **state)
{
	const struct cache unknown = { .unit_bytes = 0 }, large = { .unit_bytes = 8192 },
			   writes = { .writes = true },
			   units = { .unit_bytes = 2048, .order = true };
	struct journal_disk disks[] = { disk_of("a", &large), disk_of("b", &writes),
					disk_of("c", &units), disk_of("d", &unknown) };
	static const uint32_t least[] = { 8192, 8192, 2048, 512 };
	struct journal journal = { .disks = disks };

	(void)state;
	for (size_t i = 0; i < array_size(least); i++) {
		journal.nr_disks = (uint32_t)i + 1;
		assert_int_equal(crash_least_bytes(&journal), least[i]);
	}
	/* Without a cache what is in flight is torn between blocks. */
	journal.nr_disks = 1;
	disks[0].cache = false;
	assert_int_equal(crash_least_bytes(&journal), 512);
	disks[0] = disks[1];
	assert_int_equal(crash_least_bytes(&journal), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_legal_for_all_disks_is_legal_for_each),
		cmocka_unit_test(what_is_given_is_left_alone),
		cmocka_unit_test(a_unit_is_never_smaller_than_a_block),
		cmocka_unit_test(what_a_cache_loses_as_one_may_be_a_part_of_a_block),
		cmocka_unit_test(the_least_that_may_be_lost_is_a_block_or_what_was_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
