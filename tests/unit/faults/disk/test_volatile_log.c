// SPDX-License-Identifier: MIT
/* tsan */
/* Caches that know versions, whole writes or the order. What all of them may leave is the business
 * of sim_snapshot; here is what it cannot see: chosen cuts, full logs, several threads. */
#include "faults/disk/cache.h"
#include "tests/unit/data.h"

#include <assert.h>
#include <pthread.h>

#define SIZE (16u << 20)

static struct disk make_model_disk(const struct cache_model *model, uint16_t nr_queues)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = SIZE, .block_bytes = 512, .nr_queues = nr_queues },
		.cache = true,
		.cache_model = *model,
	};
	struct disk disk;

	assert_int_equal(store_create(SIZE, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	return disk;
}

static struct power_cut pattern(unsigned char bits, unsigned int nr)
{
	return (struct power_cut){ .keep = KEEP_PATTERN, .nr_pattern = nr, .pattern = { bits } };
}

static struct power_cut_result crash(struct disk *disk, const struct power_cut *cut)
{
	struct power_cut_result result;

	assert_int_equal(pipeline_crash(disk->pipeline, cut, false, &result), 0);
	assert_int_equal(pipeline_revive(disk->pipeline, NULL), CONDITION_OFF);
	return result;
}

static void flush(struct disk *disk)
{
	assert_int_equal(run_io(disk, IO_FLUSH, 0, 0, NULL), 0);
}

static void a_unit_comes_back_as_any_version_it_had(void **state)
{
	const struct cache_model model = { .unit_bytes = 1024 };
	unsigned int seen[256] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct power_cut cut = { .keep = KEEP_RANDOM,
					 .bits = seed,
					 .threshold = 1ull << 62 };
		struct disk disk = make_model_disk(&model, 1);
		char map[4];

		write_letter(&disk, 0, 2, 'a', 0);
		flush(&disk);
		write_letter(&disk, 0, 2, 'b', 0);
		write_letter(&disk, 1, 1, 'c', 0);
		write_letter(&disk, 0, 2, 'd', 0);
		assert_int_equal(crash(&disk, &cut).nr_volatile, 1);
		sector_map(&disk, 0, 2, map);
		assert_true(!strcmp(map, "aa") || !strcmp(map, "bb") || !strcmp(map, "bc") ||
			    !strcmp(map, "dd"));
		seen[(unsigned char)map[0] + ((unsigned char)map[1] == 'c')]++;
		free_disk(&disk);
	}
	assert_in_range(seen['a'], 30, 80);
	assert_in_range(seen['b'], 30, 80);
	assert_in_range(seen['b' + 1], 30, 80);
	assert_in_range(seen['d'], 30, 80);
}

static void a_pattern_goes_over_units_by_place_and_over_writes_by_time(void **state)
{
	const struct cache_model units = { .unit_bytes = 512 }, writes = { .whole_writes = true },
				 order = { .in_order = true },
				 steps = { .in_order = true, .unit_bytes = 512 }, plain = { 0 };
	/* Three writes: a to sectors 2 and 3, c to sector 3, b to sectors 0 and 1. */
	const struct {
		const struct cache_model *model;
		unsigned char bits;
		const char *map;
		uint64_t nr, lost;
	} cases[] = {
		{ &plain, 0xa0, "b.a.", 4, 2 },  { &units, 0xa0, "b.a.", 4, 2 },
		{ &units, 0xf0, "bbac", 4, 0 },  { &writes, 0xa0, "bbaa", 3, 1 },
		{ &writes, 0x60, "bb.c", 3, 1 }, { &order, 0xa0, "..aa", 3, 2 },
		{ &order, 0xc0, "..ac", 3, 1 },  { &order, 0x60, "....", 3, 3 },
		{ &steps, 0x80, "..a.", 5, 4 },  { &steps, 0xf0, "b.ac", 5, 1 },
	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct disk disk = make_model_disk(cases[i].model, 1);
		struct power_cut cut = pattern(cases[i].bits, 8);
		struct power_cut_result result;

		write_letter(&disk, 2, 2, 'a', 0);
		write_letter(&disk, 3, 1, 'c', 0);
		write_letter(&disk, 0, 2, 'b', 0);
		result = crash(&disk, &cut);
		assert_string_equal(MAP(&disk, 0, 4), cases[i].map);
		assert_int_equal(result.nr_volatile, cases[i].nr);
		assert_int_equal(result.nr_lost, cases[i].lost);
		free_disk(&disk);
	}
}

static void a_fua_write_makes_the_versions_before_it_impossible(void **state)
{
	const struct cache_model models[] = { { .unit_bytes = 512 },
					      { .whole_writes = true },
					      { .in_order = true } };
	static const char *const maps[] = { ".bb.", ".bb.", "abb." };

	(void)state;
	for (size_t i = 0; i < array_size(models); i++) {
		const struct power_cut none = { .keep = KEEP_NONE };
		struct disk disk = make_model_disk(&models[i], 1);

		write_letter(&disk, 0, 2, 'a', 0);
		write_letter(&disk, 1, 2, 'b', IO_FUA);
		write_letter(&disk, 3, 1, 'c', 0);
		crash(&disk, &none);
		assert_string_equal(MAP(&disk, 0, 4), maps[i]);
		free_disk(&disk);
	}
}

static void a_full_log_makes_the_oldest_durable_and_stays_in_its_bounds(void **state)
{
	const struct cache_model models[] = {
		{ .unit_bytes = 4096, .size_bytes = CACHE_SIZE_MIN },
		{ .whole_writes = true, .size_bytes = CACHE_SIZE_MIN },
		{ .in_order = true, .size_bytes = CACHE_SIZE_MIN },
	};
	const struct power_cut none = { .keep = KEEP_NONE };

	(void)state;
	for (size_t i = 0; i < array_size(models); i++) {
		for (uint16_t queues = 1; queues <= 2; queues++) {
			struct disk disk = make_model_disk(&models[i], queues);
			uint64_t first_lost = UINT64_MAX;
			char map[2];

			/* 4 MiB, in writes of 16 KiB, through a cache of 1 MiB. */
			for (uint64_t sector = 0; sector < 8192; sector += 32) {
				write_letter(&disk, sector, 32, 'a', 0);
				assert_in_range(cache_volatile_bytes(pipeline_cache(disk.pipeline)),
						1, CACHE_SIZE_MIN);
			}
			assert_in_range(crash(&disk, &none).nr_lost, 1, 4096);
			for (uint64_t sector = 0; sector < 8192; sector++) {
				sector_map(&disk, sector, 1, map);
				if (map[0] == '.' && first_lost == UINT64_MAX)
					first_lost = sector;
				/* The oldest became durable, and nothing younger. */
				assert_int_equal(map[0], sector < first_lost ? 'a' : '.');
			}
			assert_in_range(first_lost, 6144, 8191);
			assert_int_equal(first_lost % (i ? 32 : 8), 0);
			free_disk(&disk);
		}
	}
}

static void writing_one_place_again_and_again_goes_round_the_log(void **state)
{
	const struct cache_model model = { .unit_bytes = 512, .size_bytes = CACHE_SIZE_MIN };
	struct power_cut cut = { .keep = KEEP_RANDOM, .bits = 1, .threshold = 0 };
	struct disk disk = make_model_disk(&model, 1);
	unsigned char block[SEC];
	uint32_t got;

	(void)state;
	for (uint32_t i = 1; i <= 20000; i++) {
		memset(block, 0, sizeof(block));
		memcpy(block, &i, sizeof(i));
		run_flagged(&disk, IO_WRITE, 7, SEC, block, 0);
		if (i % 3 == 0)
			write_letter(&disk, 100 + i % 500, 5, 'x', 0);
	}
	crash(&disk, &cut);
	memcpy(&got, store_bytes(disk.store) + 7 * SEC, sizeof(got));
	/* An older version, of those that fit the log. */
	assert_in_range(got, 20000 - 2000, 19999);
	free_disk(&disk);
}

/* One request that is larger than what the log takes is durable at once, and all of it is. */
static void a_write_larger_than_the_log_is_durable_as_a_whole(void **state)
{
	const struct cache_model models[] = {
		{ .unit_bytes = 512, .size_bytes = CACHE_SIZE_MIN },
		{ .whole_writes = true, .size_bytes = CACHE_SIZE_MIN },
		{ .in_order = true, .size_bytes = CACHE_SIZE_MIN },
	};
	const struct power_cut none = { .keep = KEEP_NONE };
	const uint32_t len = 2u << 20;
	unsigned char *data = malloc(len);

	(void)state;
	assert_non_null(data);
	memset(data, 'b', len);
	for (size_t i = 0; i < array_size(models); i++) {
		/* With two queues it comes in parts, each of which would fit. */
		for (uint16_t queues = 1; queues <= 2; queues++) {
			struct disk disk = make_model_disk(&models[i], queues);
			uint64_t lost = 0;

			write_letter(&disk, 64, 8, 'a', 0);
			run_flagged(&disk, IO_WRITE, 0, len, data, 0);
			crash(&disk, &none);
			for (uint32_t at = 0; at < len; at += SEC)
				lost += store_bytes(disk.store)[at] != 'b';
			/* Unit by unit the youngest may be lost; a whole write is none or all. */
			if (i || queues == 1)
				assert_int_equal(lost, 0);
			else
				assert_in_range(lost, 0, CACHE_SIZE_MIN / SEC);
			free_disk(&disk);
		}
	}
	free(data);
}

static void a_discard_of_a_large_disk_of_holes_costs_nothing(void **state)
{
	const struct cache_model model = { .whole_writes = true, .size_bytes = CACHE_SIZE_MIN };
	const struct power_cut none = { .keep = KEEP_NONE };
	struct disk disk = make_model_disk(&model, 2);

	(void)state;
	write_letter(&disk, 64, 8, 'a', 0);
	flush(&disk);
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, SIZE, NULL), 0);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 8);
	assert_int_equal(crash(&disk, &none).nr_volatile, 1);
	assert_string_equal(MAP(&disk, 63, 10), ".aaaaaaaa.");
	assert_in_range(store_allocated(disk.store), 0, 64 << 10);
	free_disk(&disk);
}

static void powercut_rules_choose_among_versions_too(void **state)
{
	const struct cache_model model = { .whole_writes = true };
	struct rule_set *set = must_set("cut op=write after=2 times=1 do=powercut:keep=all");
	struct disk disk = make_model_disk(&model, 1);
	uint64_t epoch, lost;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, &epoch), 0);
	pipeline_adopt(disk.pipeline, 0);
	write_letter(&disk, 0, 2, 'a', 0);
	write_letter(&disk, 1, 2, 'b', 0);
	{
		unsigned char data[2 * SEC];

		memset(data, 'c', sizeof(data));
		assert_int_equal(run_flagged(&disk, IO_WRITE, 2, 2 * SEC, data, IO_FUA), -5);
	}
	assert_int_equal(revive(&disk, 1, &lost), CONDITION_OFF);
	assert_int_equal(lost, 0);
	assert_string_equal(MAP(&disk, 0, 5), "abcc.");
	rule_set_free(set);
	free_disk(&disk);
}

static void models_that_do_not_fit_are_refused(void **state)
{
	static const struct cache_model bad[] = {
		{ .unit_bytes = 1000 },    { .unit_bytes = 256 },
		{ .unit_bytes = 2 << 20 }, { .unit_bytes = 512, .whole_writes = true },
		{ .size_bytes = 1000 },    { .unit_bytes = 1 << 20, .size_bytes = 4 << 20 },
	};

	(void)state;
	for (size_t i = 0; i < array_size(bad); i++) {
		struct pipeline_options options = {
			.geometry = { .size_bytes = SIZE, .block_bytes = 512, .nr_queues = 1 },
			.cache = true,
			.cache_model = bad[i],
		};
		struct pipeline *pipeline = NULL;
		struct store *store;

		assert_int_equal(store_create(SIZE, NULL, &store), 0);
		assert_int_equal(pipeline_create(store, &options, &pipeline), -22);
		store_free(store);
	}
}

/* ------------------------------------------------------------------------------ threads */

struct writer {
	struct disk *disk;
	uint16_t queue;
	atomic_bool *stop;
};

/* Each thread writes one letter over everything, by pieces of 8 KiB: two units of the store. */
static void *write_all(void *ctx)
{
	struct writer *writer = ctx;
	unsigned char data[16 * SEC];
	struct draw draw = { .seed = writer->queue };

	memset(data, 'a' + writer->queue, sizeof(data));
	while (!atomic_load(writer->stop)) {
		uint64_t what = draw_below(&draw, 40);
		struct io io = make_io(what == 0   ? IO_FLUSH
				       : what == 1 ? IO_DISCARD
						   : IO_WRITE,
				       16 * draw_below(&draw, 8), sizeof(data), data);

		if (io.op == IO_FLUSH)
			io.len_bytes = 0, io.sector = 0;
		io.queue = writer->queue;
		io.flags = what == 2 ? IO_FUA : 0;
		pipeline_adopt(writer->disk->pipeline, writer->queue);
		assert(pipeline_submit(writer->disk->pipeline, &io, 0) == IO_DONE);
	}
	/* A freeze that comes now waits for nobody. */
	return NULL;
}

/* Far and wide, so that what is destaged is often the newest of its unit, and never flushed. */
static void *write_far(void *ctx)
{
	struct writer *writer = ctx;
	unsigned char data[16 * SEC];
	struct draw draw = { .seed = writer->queue };

	memset(data, 'a' + writer->queue, sizeof(data));
	for (int i = 0; i < 40000; i++) {
		struct io io = make_io(IO_WRITE, 8 * draw_below(&draw, 128), sizeof(data), data);

		io.queue = writer->queue;
		if (pipeline_submit(writer->disk->pipeline, &io, 0) != IO_DONE)
			abort();
	}
	return NULL;
}

/* A unit that one thread is about to change must keep what is durable of it while another thread
 * makes room in the log. */
static void a_full_log_and_several_queues_lose_no_durable_content(void **state)
{
	const struct cache_model model = { .unit_bytes = 4096, .size_bytes = CACHE_SIZE_MIN };
	const struct power_cut none = { .keep = KEEP_NONE };
	struct disk disk = make_model_disk(&model, 2);
	struct writer writers[2];
	pthread_t threads[2];

	(void)state;
	for (uint16_t i = 0; i < 2; i++) {
		writers[i] = (struct writer){ &disk, i, NULL };
		assert_int_equal(pthread_create(&threads[i], NULL, write_far, &writers[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(pipeline_nr_volatile(disk.pipeline), 1, CACHE_SIZE_MIN / 4096);
	crash(&disk, &none);
	for (uint64_t page = 0; page < 129; page++) {
		const unsigned char *at = store_bytes(disk.store) + page * 4096;

		assert_memory_equal(at, at + 1, 4095);
	}
	free_disk(&disk);
}

static void freeze(struct disk *disk)
{
	pipeline_freeze(disk->pipeline);
	while (!pipeline_is_frozen(disk->pipeline))
		sched_yield();
}

/* While queues write, the power goes at any moment: no write is ever half there. */
static void whole_writes_stay_whole_whatever_the_moment(void **state)
{
	const struct cache_model model = { .whole_writes = true, .size_bytes = CACHE_SIZE_MIN };
	struct disk disk = make_model_disk(&model, 2);
	atomic_bool stop = false;
	struct writer writers[2];
	pthread_t threads[2];

	(void)state;
	for (uint16_t i = 0; i < 2; i++) {
		writers[i] = (struct writer){ &disk, i, &stop };
		assert_int_equal(pthread_create(&threads[i], NULL, write_all, &writers[i]), 0);
	}
	for (uint64_t round = 0; round < 60; round++) {
		struct power_cut cut = { .keep = KEEP_RANDOM,
					 .bits = round,
					 .threshold = 1ull << 63 };
		struct power_cut_result result;

		freeze(&disk);
		assert_int_equal(pipeline_crash(disk.pipeline, &cut, false, &result), 0);
		for (uint64_t sector = 0; sector < 128; sector += 16) {
			const unsigned char *at = store_bytes(disk.store) + sector * SEC;

			assert_memory_equal(at, at + 1, 16 * SEC - 1);
		}
		pipeline_revive(disk.pipeline, NULL);
		pipeline_thaw(disk.pipeline);
		sched_yield();
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_unit_comes_back_as_any_version_it_had),
		cmocka_unit_test(a_pattern_goes_over_units_by_place_and_over_writes_by_time),
		cmocka_unit_test(a_fua_write_makes_the_versions_before_it_impossible),
		cmocka_unit_test(a_full_log_makes_the_oldest_durable_and_stays_in_its_bounds),
		cmocka_unit_test(writing_one_place_again_and_again_goes_round_the_log),
		cmocka_unit_test(a_write_larger_than_the_log_is_durable_as_a_whole),
		cmocka_unit_test(a_discard_of_a_large_disk_of_holes_costs_nothing),
		cmocka_unit_test(powercut_rules_choose_among_versions_too),
		cmocka_unit_test(models_that_do_not_fit_are_refused),
		cmocka_unit_test(whole_writes_stay_whole_whatever_the_moment),
		cmocka_unit_test(a_full_log_and_several_queues_lose_no_durable_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
