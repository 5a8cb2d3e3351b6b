/* SPDX-License-Identifier: MIT */
/* For the tests of kinds that store or answer something wrong. */
#ifndef TESTS_DATA_H
#define TESTS_DATA_H

#include "tests/unit/cached_disk.h"

/* The power goes and comes back; returns the number of blocks that were lost. */
static inline uint64_t cut_power(struct disk *disk, enum keep keep)
{
	struct condition *condition = pipeline_condition(disk->pipeline);
	uint64_t lost;

	atomic_store(&condition->keep, keep);
	atomic_store(&condition->keep_bits, 99);
	atomic_store(&condition->keep_threshold, 1ull << 63);
	condition_set(condition, CONDITION_OFF);
	assert_int_equal(pipeline_revive(disk->pipeline, &lost), CONDITION_OFF);
	return lost;
}

/* All of the disk holds @with. */
static inline void fill_disk(struct disk *disk, int with)
{
	store_mark(disk->store, 0, store_size(disk->store));
	memset(store_data(disk->store), with, store_size(disk->store));
}

/* A request whose data can be reached only by copying. */
struct copied {
	struct io io;
	unsigned char *data;
	bool faulty; /* copying fails with EFAULT */
};

static inline int copied_get(struct io *io, size_t offset, void *to, size_t len)
{
	struct copied *copied = (struct copied *)io;

	memcpy(to, copied->data + offset, len);
	return copied->faulty ? -14 : 0;
}

static inline int copied_put(struct io *io, size_t offset, const void *from, size_t len)
{
	struct copied *copied = (struct copied *)io;

	memcpy(copied->data + offset, from, len);
	return copied->faulty ? -14 : 0;
}

static inline int run_copied(struct disk *disk, enum io_op op, uint64_t sector, uint32_t len_bytes,
			     unsigned char *data, bool faulty)
{
	static const struct io_data_ops ops = { copied_get, copied_put };
	struct copied copied = { make_io(op, sector, len_bytes, NULL), data, faulty };

	copied.io.data_ops = &ops;
	assert_int_equal(pipeline_submit(disk->pipeline, &copied.io, 0), IO_DONE);
	return copied.io.result;
}

/* The rule is refused for a disk of 1 MiB with blocks of 4 KiB, and the message says these words;
 * NULL: it is accepted. */
static inline void check_on_disk(const char *text, const char *says)
{
	const struct rule_geometry geometry = { .size_bytes = 1 << 20,
						.block_bytes = 4096,
						.nr_queues = 1 };
	struct rule *rule = must_parse(text);
	struct diag diag = { 0 };

	assert_int_equal(rule_check(rule, &geometry, &diag), says ? -22 : 0);
	if (says && !strstr(diag.message, says))
		fail_msg("'%s': '%s' does not say '%s'", text, diag.message, says);
	rule_unref(rule);
}

/* What explain says of the request contains these words. */
static inline void check_explained(struct disk *disk, const struct io *io, const char *says)
{
	char *text = pipeline_explain(disk->pipeline, io, 0);

	assert_non_null(text);
	if (!strstr(text, says))
		fail_msg("'%s' does not say '%s'", text, says);
	free(text);
}

#endif
