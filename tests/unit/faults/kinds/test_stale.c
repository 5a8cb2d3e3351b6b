// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/data.h"

#include <errno.h>
#include <pthread.h>

#define DISK (64 * SEC)

static void put(struct disk *disk, uint64_t sector, unsigned int nr, int with)
{
	unsigned char data[64 * SEC];

	memset(data, with, sizeof(data));
	assert_int_equal(run_io(disk, IO_WRITE, sector, nr * SEC, data), nr * SEC);
}

/* What a read of sectors [sector, sector+nr) answers, a letter each; '.' is zero, '?' no letter. */
static const char *answer(struct disk *disk, uint64_t sector, unsigned int nr, bool copied,
			  char map[65])
{
	unsigned char data[64 * SEC];

	memset(data, '?', sizeof(data));
	if (copied)
		assert_int_equal(run_copied(disk, IO_READ, sector, nr * SEC, data, false),
				 nr * SEC);
	else
		assert_int_equal(run_io(disk, IO_READ, sector, nr * SEC, data), nr * SEC);
	for (unsigned int i = 0; i < nr; i++) {
		unsigned char *s = data + i * SEC;

		map[i] = memcmp(s, s + 1, SEC - 1) ? '?' : s[0] ? (char)s[0] : '.';
	}
	map[nr] = '\0';
	return map;
}
#define ANSWER(disk, sector, nr) answer((disk), (sector), (nr), false, (char[65]){ 0 })
#define COPIED(disk, sector, nr) answer((disk), (sector), (nr), true, (char[65]){ 0 })

static void a_read_returns_the_version_before_the_last_write(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	put(&disk, 0, 8, 'a');
	use_rules(&disk, "s do=stale");
	assert_string_equal(ANSWER(&disk, 0, 8), "aaaaaaaa");
	put(&disk, 2, 3, 'b');
	assert_string_equal(ANSWER(&disk, 0, 8), "aaaaaaaa");
	put(&disk, 3, 3, 'c');
	assert_string_equal(MAP(&disk, 0, 8), "aabcccaa");
	assert_string_equal(ANSWER(&disk, 0, 8), "aaabbaaa");
	assert_string_equal(COPIED(&disk, 0, 8), "aaabbaaa");
	assert_string_equal(ANSWER(&disk, 4, 2), "ba");
	free_disk(&disk);
}

static void with_first_it_is_the_version_when_the_rule_was_armed(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	put(&disk, 0, 8, 'a');
	use_rules(&disk, "s do=stale:first");
	put(&disk, 2, 3, 'b');
	put(&disk, 3, 3, 'c');
	put(&disk, 20, 2, 'd');
	assert_string_equal(ANSWER(&disk, 0, 8), "aaaaaaaa");
	assert_string_equal(ANSWER(&disk, 19, 4), "....");
	/* Put again it starts afresh. */
	use_rules(&disk, "s do=stale:first");
	assert_string_equal(ANSWER(&disk, 0, 8), "aabcccaa");
	free_disk(&disk);
}

static void only_reads_that_touch_a_changed_block_are_matches(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_READ, 0, SEC, NULL);

	(void)state;
	put(&disk, 0, 8, 'a');
	use_rules(&disk, "s times=1 do=stale");
	check_explained(&disk, &io, "stale does not apply");
	ANSWER(&disk, 0, 8);
	assert_int_equal(counts_of(&disk, "s").matches, 0);
	put(&disk, 7, 1, 'b');
	ANSWER(&disk, 0, 7);
	assert_int_equal(counts_of(&disk, "s").matches, 0);
	assert_string_equal(ANSWER(&disk, 0, 8), "aaaaaaaa");
	assert_string_equal(ANSWER(&disk, 0, 8), "aaaaaaab");
	assert_int_equal(counts_of(&disk, "s").hits, 1);
	io.sector = 7;
	use_rules(&disk, "s do=stale:first");
	put(&disk, 7, 1, 'c');
	check_explained(&disk, &io, "was there when the rule was put in force");
	free_disk(&disk);
}

static void a_read_that_starts_inside_a_block_finds_its_part_of_the_old_one(void **state)
{
	struct disk disk = make_disk(DISK, 4096, 1, 1);

	(void)state;
	store_mark(disk.store, 0, 8 * SEC);
	memset(store_data(disk.store), 'a', 5 * SEC);
	memset(store_data(disk.store) + 5 * SEC, 'b', 3 * SEC);
	use_rules(&disk, "s do=stale");
	put(&disk, 0, 16, 'c');
	assert_string_equal(ANSWER(&disk, 4, 6), "abbb..");
	assert_string_equal(COPIED(&disk, 6, 1), "b");
	free_disk(&disk);
}

static void only_the_rule_s_range_is_kept(void **state)
{
	struct disk disk = make_disk(DISK, 1024, 1, 1);

	(void)state;
	put(&disk, 0, 16, 'a');
	/* Ranges are in sectors, what is kept in whole blocks. */
	use_rules(&disk, "s range=5s..9s do=stale");
	put(&disk, 0, 16, 'b');
	assert_string_equal(ANSWER(&disk, 0, 16), "bbbbaaaaaabbbbbb");
	assert_string_equal(ANSWER(&disk, 0, 4), "bbbb");
	assert_int_equal(counts_of(&disk, "s").matches, 1);
	free_disk(&disk);
}

static void changes_count_whoever_makes_them(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	put(&disk, 0, 24, 'a');
	use_rules(&disk, "s do=stale\n"
			 "d op=write range=0s..4s do=drop\n"
			 "m op=write range=4s..8s do=misdirect:by=8s\n"
			 "t op=write range=8s..12s do=torn:keep=2s\n"
			 "c op=write range=16s..20s do=corrupt:byte=62,at=0,count=1024\n");
	put(&disk, 0, 4, 'w');
	put(&disk, 4, 2, 'x');
	put(&disk, 8, 4, 'y');
	put(&disk, 16, 2, 'z');
	assert_int_equal(run_io(&disk, IO_DISCARD, 20, 2 * SEC, NULL), 0);
	assert_int_equal(run_flagged(&disk, IO_ZEROES, 22, 2 * SEC, NULL, IO_NOUNMAP), 0);
	assert_string_equal(MAP(&disk, 0, 24), "aaaaaaaayyaaxxaabbaa....");
	assert_string_equal(ANSWER(&disk, 0, 24), "aaaaaaaaaaaaaaaaaaaaaaaa");
	put(&disk, 20, 2, 'v');
	assert_string_equal(ANSWER(&disk, 18, 6), "aa..aa");
	free_disk(&disk);
}

static void a_disabled_rule_keeps_what_it_has_and_watches_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct rule_set *set = must_set("s do=stale");
	struct rule *rule = rule_set_at(set, 0);

	(void)state;
	put(&disk, 0, 2, 'a');
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, NULL), 0);
	pipeline_adopt(disk.pipeline, 0);
	put(&disk, 0, 1, 'b');
	rule_enable(rule, false);
	pipeline_publish(disk.pipeline, set, 0, NULL, NULL);
	pipeline_adopt(disk.pipeline, 0);
	put(&disk, 0, 2, 'c');
	assert_string_equal(ANSWER(&disk, 0, 2), "cc");
	rule_enable(rule, true);
	pipeline_publish(disk.pipeline, set, 0, NULL, NULL);
	pipeline_adopt(disk.pipeline, 0);
	assert_string_equal(ANSWER(&disk, 0, 2), "ac");
	rule_set_free(set);
	free_disk(&disk);
}

static void what_cannot_be_copied_fails_the_read(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	use_rules(&disk, "s do=stale");
	put(&disk, 0, 1, 'b');
	assert_int_equal(run_copied(&disk, IO_READ, 0, SEC, data, true), -EFAULT);
	free_disk(&disk);
}

static void stale_rules_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("s op=write do=stale", "rule.op-not-for-kind", 3, "cannot act on write", NULL);
	check_error("s do=stale:frist", "rule.unknown-parameter", 12, "no parameter 'frist'",
		    "did you mean 'first'?");
	check_error("s do=stale:first=1", "rule.unwanted-value", 12, "takes no value", NULL);
}

/*
 * One queue writes generations of a block, the other reads stale versions: always one whole
 * generation, and never the one of the future.
 */
#define BLOCK       4096
#define GENERATIONS 3000

struct pair {
	struct disk disk;
	_Atomic uint64_t written;
	_Atomic bool bad;
};

static void *write_generations(void *arg)
{
	struct pair *pair = arg;
	uint64_t data[BLOCK / 8];

	for (uint64_t g = 1; g <= GENERATIONS; g++) {
		struct io io = make_io(IO_WRITE, 8, BLOCK, (unsigned char *)data);

		for (size_t i = 0; i < BLOCK / 8; i++)
			data[i] = g;
		pipeline_adopt(pair->disk.pipeline, 0);
		pipeline_submit(pair->disk.pipeline, &io, 0);
		atomic_store(&pair->written, g);
	}
	return NULL;
}

static void *read_generations(void *arg)
{
	struct pair *pair = arg;
	uint64_t data[BLOCK / 8], done = 0;

	while (done < GENERATIONS) {
		struct io io = make_io(IO_READ, 8, BLOCK, (unsigned char *)data);
		uint64_t before = done;

		io.queue = 1;
		pipeline_adopt(pair->disk.pipeline, 1);
		pipeline_submit(pair->disk.pipeline, &io, 0);
		done = atomic_load(&pair->written);
		for (size_t i = 1; i < BLOCK / 8; i++)
			if (data[i] != data[0])
				atomic_store(&pair->bad, true);
		/* At least the version before what was there, at most before what is there. */
		if (data[0] + 1 < before || data[0] > done + 1)
			atomic_store(&pair->bad, true);
	}
	return NULL;
}

static void two_queues_see_whole_old_blocks(void **state)
{
	struct pair pair = { .disk = make_disk(64 * BLOCK, BLOCK, 2, 1) };
	pthread_t writer, reader;

	(void)state;
	use_rules(&pair.disk, "s do=stale");
	pthread_create(&reader, NULL, read_generations, &pair);
	pthread_create(&writer, NULL, write_generations, &pair);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	assert_false(atomic_load(&pair.bad));
	free_disk(&pair.disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_returns_the_version_before_the_last_write),
		cmocka_unit_test(with_first_it_is_the_version_when_the_rule_was_armed),
		cmocka_unit_test(only_reads_that_touch_a_changed_block_are_matches),
		cmocka_unit_test(a_read_that_starts_inside_a_block_finds_its_part_of_the_old_one),
		cmocka_unit_test(only_the_rule_s_range_is_kept),
		cmocka_unit_test(changes_count_whoever_makes_them),
		cmocka_unit_test(a_disabled_rule_keeps_what_it_has_and_watches_nothing),
		cmocka_unit_test(what_cannot_be_copied_fails_the_read),
		cmocka_unit_test(stale_rules_that_make_no_sense_are_refused),
		cmocka_unit_test(two_queues_see_whole_old_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
