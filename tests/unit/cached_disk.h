/* SPDX-License-Identifier: MIT */
/* Disks with a volatile cache, power cuts with their handshake, commands to rules. */
#ifndef TESTS_CACHED_DISK_H
#define TESTS_CACHED_DISK_H

#include "tests/unit/check.h"

static inline struct disk make_cached_disk(uint64_t size_bytes, uint32_t block_bytes,
					   uint16_t nr_queues, uint64_t seed)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = size_bytes,
			      .block_bytes = block_bytes,
			      .nr_queues = nr_queues },
		.seed = seed,
		.cache = true,
	};
	struct disk disk;

	assert_int_equal(store_create(size_bytes, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	return disk;
}

/* Submit at time 0, with flags and on a queue, what must be done at once; returns its result. */
static inline int run_flagged(struct disk *disk, enum io_op op, uint64_t sector, uint32_t len_bytes,
			      unsigned char *data, uint32_t flags)
{
	struct io io = make_io(op, sector, len_bytes, data);

	io.flags = flags;
	assert_int_equal(pipeline_submit(disk->pipeline, &io, 0), IO_DONE);
	return io.result;
}

/* Write @nr sectors full of @letter. */
static inline int write_letter(struct disk *disk, uint64_t sector, unsigned int nr, char letter,
			       uint32_t flags)
{
	unsigned char data[64 * SEC];

	assert_in_range(nr, 1, 64);
	memset(data, letter, nr * SEC);
	return run_flagged(disk, IO_WRITE, sector, nr * SEC, data, flags);
}

/* The handshake that pipeline_revive() wants, where the test is every queue's thread. */
static inline uint32_t revive(struct disk *disk, uint16_t nr_queues, uint64_t *ret_lost)
{
	struct rule_set *set = rule_set_copy(pipeline_rules(disk->pipeline));
	uint64_t epoch;

	assert_int_equal(pipeline_publish(disk->pipeline, set, 0, NULL, &epoch), 0);
	for (uint16_t queue = 0; queue < nr_queues; queue++)
		pipeline_adopt(disk->pipeline, queue);
	assert_true(pipeline_adopted(disk->pipeline, epoch));
	rule_set_free(set);
	return pipeline_revive(disk->pipeline, ret_lost);
}

#endif
