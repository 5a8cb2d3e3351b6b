// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/data.h"

#include <pthread.h>

#define SIZE (16u << 20)

static void put(struct disk *disk, uint32_t flags, uint64_t sector, unsigned int nr, int with)
{
	unsigned char data[64 * SEC];

	memset(data, with, sizeof(data));
	assert_int_equal(run_flagged(disk, IO_WRITE, sector, nr * SEC, data, flags), nr * SEC);
}

static void flush(struct disk *disk)
{
	assert_int_equal(run_io(disk, IO_FLUSH, 0, 0, NULL), 0);
}

static uint64_t nr_volatile(struct disk *disk)
{
	return pipeline_nr_volatile(disk->pipeline);
}

static void what_was_not_flushed_goes_back_to_what_was(void **state)
{
	struct disk disk = make_cached_disk(SIZE, 512, 1, 1);

	(void)state;
	put(&disk, 0, 0, 8, 'a');
	assert_int_equal(nr_volatile(&disk), 8);
	flush(&disk);
	assert_int_equal(nr_volatile(&disk), 0);
	put(&disk, 0, 2, 2, 'b');
	put(&disk, 0, 3, 3, 'c');
	put(&disk, 0, 10, 1, 'd');
	assert_int_equal(nr_volatile(&disk), 5);
	assert_string_equal(MAP(&disk, 0, 12), "aabcccaa..d.");
	assert_int_equal(cut_power(&disk, KEEP_NONE), 5);
	assert_string_equal(MAP(&disk, 0, 12), "aaaaaaaa....");
	assert_int_equal(nr_volatile(&disk), 0);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	free_disk(&disk);
}

static void a_cut_that_keeps_all_loses_nothing_and_makes_it_durable(void **state)
{
	struct disk disk = make_cached_disk(SIZE, 512, 1, 1);

	(void)state;
	put(&disk, 0, 0, 8, 'a');
	assert_int_equal(cut_power(&disk, KEEP_ALL), 0);
	assert_int_equal(nr_volatile(&disk), 0);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 0, 9), "aaaaaaaa.");
	free_disk(&disk);
}

static void a_random_cut_keeps_a_share_block_by_block_and_repeats(void **state)
{
	char first[1025], map[1025];
	unsigned int kept = 0;

	(void)state;
	for (int run = 0; run < 2; run++) {
		struct disk disk = make_cached_disk(SIZE, 1024, 1, 1);
		uint64_t lost;

		for (uint64_t sector = 0; sector < 1024; sector += 64)
			put(&disk, 0, sector, 64, 'a');
		lost = cut_power(&disk, KEEP_RANDOM);
		sector_map(&disk, 0, 1024, run ? map : first);
		for (int i = 0; i < 1024 && !run; i += 2) {
			kept += first[i] == 'a';
			assert_int_equal(first[i], first[i + 1]);
		}
		assert_int_equal(lost, 512 - kept);
		free_disk(&disk);
	}
	assert_string_equal(map, first);
	assert_in_range(kept, 200, 312);
}

static void a_fua_write_makes_its_own_blocks_durable_and_no_others(void **state)
{
	struct disk disk = make_cached_disk(SIZE, 512, 1, 1);

	(void)state;
	put(&disk, 0, 0, 8, 'a');
	put(&disk, IO_FUA, 2, 3, 'b');
	assert_int_equal(nr_volatile(&disk), 5);
	put(&disk, 0, 3, 1, 'c');
	assert_int_equal(nr_volatile(&disk), 6);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 6);
	assert_string_equal(MAP(&disk, 0, 8), "..bbb...");
	free_disk(&disk);
}

static void discards_and_zeroes_are_lost_like_writes(void **state)
{
	struct disk disk = make_cached_disk(SIZE, 512, 2, 1);

	(void)state;
	for (uint64_t sector = 0; sector < 64; sector += 16)
		put(&disk, 0, sector, 16, 'a');
	flush(&disk);
	assert_int_equal(run_io(&disk, IO_DISCARD, 4, 20 * SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 30, 2 * SEC, NULL), 0);
	assert_int_equal(run_flagged(&disk, IO_ZEROES, 32, 2 * SEC, NULL, IO_NOUNMAP), 0);
	assert_int_equal(nr_volatile(&disk), 24);
	assert_string_equal(MAP(&disk, 22, 14), "..aaaaaa....aa");
	assert_int_equal(cut_power(&disk, KEEP_NONE), 24);
	for (uint64_t sector = 0; sector < 64; sector++)
		assert_int_equal(store_data(disk.store)[sector * SEC], 'a');
	/* And flushed they stay. */
	assert_int_equal(run_io(&disk, IO_DISCARD, 4, 20 * SEC, NULL), 0);
	flush(&disk);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 2, 4), "aa..");
	free_disk(&disk);
}

static void a_flush_covers_more_blocks_than_are_remembered_one_by_one(void **state)
{
	static const unsigned int counts[] = { 4096, 4160, 20000 };
	struct disk disk = make_cached_disk(SIZE, 512, 1, 1);

	(void)state;
	for (size_t i = 0; i < array_size(counts); i++) {
		unsigned int nr = counts[i] / 32 * 32;

		for (unsigned int sector = 0; sector < nr; sector += 32)
			put(&disk, 0, sector, 32, 'a' + (int)i);
		assert_int_equal(nr_volatile(&disk), nr);
		flush(&disk);
		assert_int_equal(nr_volatile(&disk), 0);
		for (unsigned int sector = 0; sector < nr; sector += 32)
			put(&disk, 0, sector, 32, 'z');
		assert_int_equal(nr_volatile(&disk), nr);
		assert_int_equal(cut_power(&disk, KEEP_NONE), nr);
		for (unsigned int sector = 0; sector < nr; sector++)
			assert_int_equal(store_data(disk.store)[sector * SEC], 'a' + (int)i);
	}
	free_disk(&disk);
}

static void reads_are_answered_from_the_cache(void **state)
{
	struct disk disk = make_cached_disk(SIZE, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	put(&disk, 0, 5, 1, 'a');
	assert_int_equal(run_io(&disk, IO_READ, 5, SEC, data), SEC);
	assert_int_equal(data[0], 'a');
	free_disk(&disk);
}

static void without_a_cache_a_power_cut_loses_nothing(void **state)
{
	struct disk disk = make_disk(SIZE, 512, 1, 1);

	(void)state;
	put(&disk, 0, 0, 4, 'a');
	assert_int_equal(nr_volatile(&disk), 0);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 0, 5), "aaaa.");
	free_disk(&disk);
}

/*
 * Two queues write generations into blocks of their own and flush or use FUA now and then, all at
 * once. After a cut each block holds at least the generation that its own last flush, or FUA, made
 * durable, whole, and at most the last one written; the other queue's flushes may have done more.
 */
#define BLOCK       4096
#define NR_BLOCKS   96
#define GENERATIONS 60
#define ROUNDS      10

struct writer {
	struct disk *disk;
	uint16_t queue;
	uint64_t first; /* its oldest generation of this round, less one */
	uint64_t durable[NR_BLOCKS], written[NR_BLOCKS];
};

static void submit(struct writer *writer, struct io *io)
{
	io->queue = writer->queue;
	pipeline_adopt(writer->disk->pipeline, writer->queue);
	pipeline_submit(writer->disk->pipeline, io, 0);
}

/* Neighbouring blocks belong to different queues. */
static uint64_t place_of(const struct writer *writer, unsigned int block)
{
	return (block * 2 + writer->queue) * (uint64_t)(BLOCK / SEC);
}

static void write_block(struct writer *writer, unsigned int block, uint64_t generation, bool fua)
{
	uint64_t data[BLOCK / 8];
	struct io io = make_io(IO_WRITE, place_of(writer, block), BLOCK, (unsigned char *)data);

	for (size_t i = 0; i < BLOCK / 8; i++)
		data[i] = generation;
	io.flags = fua ? IO_FUA : 0;
	submit(writer, &io);
	writer->written[block] = generation;
	if (fua)
		writer->durable[block] = generation;
}

static void *write_and_flush(void *arg)
{
	struct writer *writer = arg;
	struct draw draw = { .seed = writer->first * 2 + writer->queue };

	for (uint64_t g = 1; g <= GENERATIONS; g++) {
		struct io io = make_io(IO_FLUSH, 0, 0, NULL);

		for (unsigned int block = 0; block < NR_BLOCKS; block++)
			if (draw_below(&draw, 3))
				write_block(writer, block, writer->first + g,
					    !draw_below(&draw, 8));
		if (draw_below(&draw, 4))
			continue;
		submit(writer, &io);
		memcpy(writer->durable, writer->written, sizeof(writer->durable));
	}
	return NULL;
}

static void check_survivors(struct disk *disk, struct writer *writer)
{
	for (unsigned int block = 0; block < NR_BLOCKS; block++) {
		const uint64_t *data =
			(const uint64_t *)(store_data(disk->store) + place_of(writer, block) * SEC);

		for (size_t i = 1; i < BLOCK / 8; i++)
			assert_int_equal(data[i], data[0]);
		assert_in_range(data[0], writer->durable[block], writer->written[block]);
		writer->durable[block] = writer->written[block] = data[0];
	}
}

static void two_queues_lose_nothing_that_their_flushes_made_durable(void **state)
{
	struct disk disk = make_cached_disk(SIZE, BLOCK, 2, 1);
	static struct writer writers[2];

	(void)state;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		pthread_t threads[2];

		for (uint16_t q = 0; q < 2; q++) {
			writers[q].disk = &disk;
			writers[q].queue = q;
			writers[q].first = round * GENERATIONS;
			pthread_create(&threads[q], NULL, write_and_flush, &writers[q]);
		}
		for (uint16_t q = 0; q < 2; q++)
			pthread_join(threads[q], NULL);
		cut_power(&disk, round % 2 ? KEEP_RANDOM : KEEP_NONE);
		assert_int_equal(nr_volatile(&disk), 0);
		for (uint16_t q = 0; q < 2; q++)
			check_survivors(&disk, &writers[q]);
	}
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_not_flushed_goes_back_to_what_was),
		cmocka_unit_test(a_cut_that_keeps_all_loses_nothing_and_makes_it_durable),
		cmocka_unit_test(a_random_cut_keeps_a_share_block_by_block_and_repeats),
		cmocka_unit_test(a_fua_write_makes_its_own_blocks_durable_and_no_others),
		cmocka_unit_test(discards_and_zeroes_are_lost_like_writes),
		cmocka_unit_test(a_flush_covers_more_blocks_than_are_remembered_one_by_one),
		cmocka_unit_test(reads_are_answered_from_the_cache),
		cmocka_unit_test(without_a_cache_a_power_cut_loses_nothing),
		cmocka_unit_test(two_queues_lose_nothing_that_their_flushes_made_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
