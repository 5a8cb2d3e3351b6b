// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/cached_disk.h"

#include "faults/disk/condition.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

#define ROUNDS 20000

#ifdef __has_feature
#define HAS_SANITIZER (__has_feature(thread_sanitizer) || __has_feature(address_sanitizer))
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

/* Two threads do the same to one condition again and again; a third step compares. */
struct racer {
	struct condition *conditions;
	pthread_barrier_t *start;
	uint64_t name; /* what this one writes everywhere */
	bool first[ROUNDS];
};

static void *race(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(r->start);
	for (int i = 0; i < ROUNDS; i++) {
		struct condition *condition = &r->conditions[i];

		r->first[i] = condition_cut(condition, (enum keep)r->name, r->name, r->name);
		condition_remove(condition, r->name);
		condition_shrink(condition, 1000 + r->name);
	}
	return NULL;
}

static void of_two_cuts_at_once_one_counts_and_it_alone(void **state)
{
	struct condition *conditions = calloc(ROUNDS, sizeof(*conditions));
	static struct racer racers[2];
	pthread_barrier_t start;
	pthread_t thread;

	(void)state;
	assert_non_null(conditions);
	pthread_barrier_init(&start, NULL, 2);
	for (uint64_t i = 0; i < 2; i++)
		racers[i] = (struct racer){ .conditions = conditions,
					    .start = &start,
					    .name = KEEP_ALL + i };
	assert_int_equal(pthread_create(&thread, NULL, race, &racers[0]), 0);
	race(&racers[1]);
	pthread_join(thread, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		struct condition *condition = &conditions[i];
		uint64_t winner = racers[0].first[i] ? KEEP_ALL : KEEP_RANDOM;

		assert_true(racers[0].first[i] != racers[1].first[i]);
		assert_int_equal(condition->keep, winner);
		assert_int_equal(condition->keep_bits, winner);
		assert_int_equal(condition->keep_threshold, winner);
		assert_int_equal(condition->end_bytes, 1000 + KEEP_ALL);
		assert_int_equal(condition_bits(condition),
				 CONDITION_OFF | CONDITION_GONE | CONDITION_SHRUNK);
	}
	pthread_barrier_destroy(&start);
	free(conditions);
}

static void a_reset_leaves_what_has_come_since(void **state)
{
	struct condition condition = { .bits = 0 };

	(void)state;
	assert_true(condition_set(&condition, CONDITION_READ_ONLY));
	assert_false(condition_set(&condition, CONDITION_READ_ONLY));
	assert_true(condition_cut(&condition, KEEP_ALL, 1, 2));
	condition_reset(&condition, CONDITION_READ_ONLY);
	assert_int_equal(condition_bits(&condition), CONDITION_OFF);
	assert_false(condition_cut(&condition, KEEP_NONE, 3, 4));
	assert_int_equal(condition.keep, KEEP_ALL);
	condition_reset(&condition, CONDITION_OFF);
	assert_true(condition_cut(&condition, KEEP_NONE, 3, 4));
	assert_int_equal(condition.keep, KEEP_NONE);
}

static void the_worst_condition_gives_the_name(void **state)
{
	(void)state;
	assert_string_equal(condition_name(0), "well");
	assert_string_equal(condition_name(CONDITION_NO_SPACE), "no-space");
	assert_string_equal(condition_name(CONDITION_NO_SPACE | CONDITION_READ_ONLY), "read-only");
	assert_string_equal(condition_name(CONDITION_SHRUNK | CONDITION_READ_ONLY), "shrunk");
	assert_string_equal(condition_name(CONDITION_GONE | CONDITION_SHRUNK), "gone");
	assert_string_equal(condition_name(UINT32_MAX), "off");
}

/* ---- the cache, as far as a power cut shows it --------------------------------------------- */

static void a_block_is_kept_or_lost_whole(void **state)
{
	struct disk disk = make_cached_disk(64 * SEC, 4096, 1, 3);

	(void)state;
	use_rules(&disk, "cut op=discard do=powercut");
	assert_int_equal(write_letter(&disk, 0, 16, 'o', IO_FUA), 16 * SEC);
	/* FUA of a part makes the whole block durable, with what was written there before. */
	assert_int_equal(write_letter(&disk, 1, 1, 'v', 0), SEC);
	assert_int_equal(write_letter(&disk, 2, 1, 'f', IO_FUA), SEC);
	assert_int_equal(write_letter(&disk, 9, 1, 'v', 0), SEC);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 1);
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, 8 * SEC, NULL), -EIO);
	revive(&disk, 1, NULL);
	assert_string_equal(MAP(&disk, 0, 16), "ovfooooooooooooo");
	free_disk(&disk);
}

static void a_flush_that_fails_makes_nothing_durable(void **state)
{
	struct disk disk = make_cached_disk(64 * SEC, 512, 1, 3);

	(void)state;
	use_rules(&disk, "bad op=flush do=error:EIO\ncut op=discard do=powercut");
	assert_int_equal(write_letter(&disk, 0, 4, 'v', 0), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), -EIO);
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, SEC, NULL), -EIO);
	revive(&disk, 1, NULL);
	assert_string_equal(MAP(&disk, 0, 4), "....");
	free_disk(&disk);
}

static void many_more_blocks_than_the_cache_lists_come_back_as_well(void **state)
{
	enum { NR = 20000 };
	struct disk disk = make_cached_disk((uint64_t)NR * SEC, 512, 1, 3);

	(void)state;
	use_rules(&disk, "cut op=discard do=powercut");
	for (int incarnation = 0; incarnation < 2; incarnation++) {
		for (uint64_t s = 0; s < NR; s += 50)
			assert_int_equal(write_letter(&disk, s, 50, 'd', 0), 50 * SEC);
		assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
		for (uint64_t s = 0; s < NR; s += 50)
			assert_int_equal(write_letter(&disk, s, 25, 'v', 0), 25 * SEC);
		assert_int_equal(pipeline_nr_volatile(disk.pipeline), NR / 2);
		assert_int_equal(run_io(&disk, IO_DISCARD, 0, SEC, NULL), -EIO);
		assert_int_equal(revive(&disk, 1, NULL), CONDITION_OFF);
		for (uint64_t i = 0; i < (uint64_t)NR * SEC; i += 97)
			assert_int_equal(store_data(disk.store)[i], 'd');
	}
	free_disk(&disk);
}

static long resident_kb(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long size = 0, resident = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
	fclose(file);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void discarding_a_sparse_disk_behind_a_cache_takes_no_memory(void **state)
{
	struct disk disk = make_cached_disk(1ull << 36, 4096, 1, 3);
	long before = resident_kb();

	(void)state;
	for (uint64_t at = 0; at < 1ull << 36; at += 1u << 30)
		assert_int_equal(run_io(&disk, IO_DISCARD, at / SEC, 1u << 30, NULL), 0);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	/* New data costs the disk its own memory, and the cache none. */
	for (uint64_t at = 0; at < 32 << 20; at += 64 * SEC)
		assert_int_equal(write_letter(&disk, at / SEC, 64, 'w', 0), 64 * SEC);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 8192);
	/* A sanitizer keeps books of its own about every byte. */
	if (!HAS_SANITIZER)
		assert_in_range(resident_kb() - before, 0, 32 * 1024 + 16 * 1024);
	free_disk(&disk);
}

static void a_cache_wants_blocks_that_divide_the_disk(void **state)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = 65 * SEC, .block_bytes = 4096, .nr_queues = 1 },
		.cache = true
	};
	struct pipeline *pipeline = NULL;
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(65 * SEC, NULL, &store), 0);
	assert_int_equal(pipeline_create(store, &options, &pipeline), -EINVAL);
	options.geometry.block_bytes = 1536;
	assert_int_equal(pipeline_create(store, &options, &pipeline), -EINVAL);
	assert_null(pipeline);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_two_cuts_at_once_one_counts_and_it_alone),
		cmocka_unit_test(a_reset_leaves_what_has_come_since),
		cmocka_unit_test(the_worst_condition_gives_the_name),
		cmocka_unit_test(a_block_is_kept_or_lost_whole),
		cmocka_unit_test(a_flush_that_fails_makes_nothing_durable),
		cmocka_unit_test(many_more_blocks_than_the_cache_lists_come_back_as_well),
		cmocka_unit_test(discarding_a_sparse_disk_behind_a_cache_takes_no_memory),
		cmocka_unit_test(a_cache_wants_blocks_that_divide_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
