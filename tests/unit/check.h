/* SPDX-License-Identifier: MIT */
/* What several unit tests need: rules that must parse, errors that must be exact, small disks. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "faults/engine/pipeline.h"
#include "faults/rule/ast.h"
#include "tests/patience.h"

#define SEC 512u

/* A generator for tests: a counter through rng_mix(). */
struct draw {
	uint64_t seed, next;
};

static inline uint64_t draw_bits(struct draw *draw)
{
	return rng_mix(draw->seed, 0x7e57, draw->next++);
}

static inline uint64_t draw_below(struct draw *draw, uint64_t bound)
{
	return rng_below(draw_bits(draw), bound);
}

static inline struct rule *must_parse(const char *text)
{
	struct rule *rule = NULL;
	struct diag diag = { 0 };

	if (rule_parse(text, strlen(text), &diag, &rule) < 0)
		fail_msg("'%s': %s: %s", text, diag.id, diag.message);
	return rule;
}

/* One rule per line, without the magic line. */
static inline struct rule_set *must_set(const char *lines)
{
	struct rule_set *set = NULL;
	struct diag diag = { 0 };
	char *text = NULL;

	if (asprintf(&text, "%s\n%s\n", RULE_FILE_MAGIC, lines) < 0)
		fail();
	if (rule_set_parse(text, strlen(text), &diag, &set) < 0)
		fail_msg("line %u: %s: %s", diag.line, diag.id, diag.message);
	free(text);
	return set;
}

/* The rule is refused with this id, at this column, and the message and hint say these words. */
static inline void check_error(const char *text, const char *id, unsigned int column,
			       const char *says, const char *hints)
{
	struct rule *rule = NULL;
	struct diag diag = { 0 };

	if (rule_parse(text, strlen(text), &diag, &rule) == 0)
		fail_msg("'%s' was accepted", text);
	assert_null(rule);
	if (strcmp(diag.id, id) || diag.line != 1 || diag.column != column)
		fail_msg("'%s': got %s at %u:%u (%s), wanted %s at 1:%u", text, diag.id, diag.line,
			 diag.column, diag.message, id, column);
	if (!strstr(diag.message, says))
		fail_msg("'%s': '%s' does not say '%s'", text, diag.message, says);
	if (hints ? !strstr(diag.hint, hints) : diag.hint[0] != '\0')
		fail_msg("'%s': hint is '%s', wanted '%s'", text, diag.hint, hints ? hints : "");
}

struct disk {
	struct store *store;
	struct pipeline *pipeline;
};

static inline struct disk make_disk(uint64_t size_bytes, uint32_t block_bytes, uint16_t nr_queues,
				    uint64_t seed)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = size_bytes,
			      .block_bytes = block_bytes,
			      .nr_queues = nr_queues },
		.seed = seed,
	};
	struct disk disk;

	assert_int_equal(store_create(size_bytes, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	return disk;
}

static inline void free_disk(struct disk *disk)
{
	disk->pipeline = pipeline_free(disk->pipeline);
	disk->store = store_free(disk->store);
}

/* Publish these rules at time 0 and let queue 0 adopt them. */
static inline void use_rules(struct disk *disk, const char *lines)
{
	struct rule_set *set = must_set(lines);
	struct diag diag = { 0 };

	if (pipeline_publish(disk->pipeline, set, 0, &diag, NULL) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	pipeline_adopt(disk->pipeline, 0);
	rule_set_free(set);
}

static inline struct rule_counts counts_of(const struct disk *disk, const char *name)
{
	struct rule_counts counts;

	rule_counts(rule_set_find(pipeline_rules(disk->pipeline), name), &counts);
	return counts;
}

static inline struct io make_io(enum io_op op, uint64_t sector, uint32_t len_bytes,
				unsigned char *data)
{
	return (struct io){ .op = op, .sector = sector, .len_bytes = len_bytes, .data = data };
}

/* Submit at time 0 what must be done at once; returns its result. */
static inline int run_io(struct disk *disk, enum io_op op, uint64_t sector, uint32_t len_bytes,
			 unsigned char *data)
{
	struct io io = make_io(op, sector, len_bytes, data);

	assert_int_equal(pipeline_submit(disk->pipeline, &io, 0), IO_DONE);
	return io.result;
}

/* One character per sector of the store: '.' all zero, 'w' all 'w', '?' anything else. */
static inline const char *sector_map(struct disk *disk, uint64_t sector, unsigned int nr, char *map)
{
	for (unsigned int i = 0; i < nr; i++) {
		const unsigned char *s = store_data(disk->store) + (sector + i) * SEC;
		bool same = memcmp(s, s + 1, SEC - 1) == 0;

		map[i] = !same ? '?' : s[0] == 0 ? '.' : (char)s[0];
	}
	map[nr] = '\0';
	return map;
}
#define MAP(disk, sector, nr) sector_map((disk), (sector), (nr), (char[(nr) + 1]){ 0 })

#endif
