/* SPDX-License-Identifier: MIT */
/*
 * An exploration whose check is a function of the state's key, so that it takes no time, and its
 * results file: written, and gone on from. Everything that cannot fail in a test ends it.
 */
#ifndef TESTS_RESUME_CASE_H
#define TESTS_RESUME_CASE_H

#include "base/cleanup.h"
#include "tools/explore/internal.h"
#include "tools/report/line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RESUME_BLOCK  512u
#define RESUME_BLOCKS 16u

#define resume_must(what)                                                                          \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct resume_case {
	struct journal *journal;
	struct explore_job job;
	/* Of the exploration under way. */
	struct explore *explore;
	struct results *results;
	struct crash_image images[2];
	uint64_t checks; /* states that were checked */
};

/* ------------------------------------------------------------------------------ the recording */

static inline void resume_write(struct journal *journal, uint64_t step, uint64_t block, int byte)
{
	struct journal_write write = { .submit = step,
				       .complete = step + 1,
				       .submit_ns = step * 1000,
				       .complete_ns = (step + 1) * 1000,
				       .at = block * RESUME_BLOCK,
				       .len_bytes = RESUME_BLOCK,
				       .op = IO_WRITE };
	unsigned char *data = malloc(RESUME_BLOCK);

	resume_must(data);
	memset(data, byte, RESUME_BLOCK);
	resume_must(journal_own(journal, data) == 0);
	write.data = data;
	resume_must(journal_add_write(journal, &write) == 0);
}

/* Rounds of a few writes, a flush and a mark. */
static inline struct journal *resume_journal(void)
{
	static const struct journal_disk disk = { .name = "d",
						  .size_bytes = RESUME_BLOCKS * RESUME_BLOCK,
						  .block_bytes = RESUME_BLOCK,
						  .cache = true };
	struct journal *journal;
	uint64_t step = 1;

	resume_must(journal_new(&journal) == 0 && journal_add_disk(journal, &disk) == 0);
	for (int round = 0; round < 3; round++) {
		struct journal_flush flush = { 0 };

		for (int i = 0; i < 3; i++, step += 2)
			resume_write(journal, step, (uint64_t)(round + 2 * i), 1 + round + i);
		flush = (struct journal_flush){ .submit = step,
						.complete = step + 1,
						.submit_ns = step * 1000,
						.complete_ns = (step + 1) * 1000 };
		resume_must(journal_add_flush(journal, &flush) == 0);
		step += 2;
		resume_must(journal_add_mark(journal, step, step * 1000, "round", 5) == 0);
		step++;
	}
	journal->id = 0x1234;
	journal->closed = true;
	resume_must(journal_seal(journal, NULL) == 0);
	return journal;
}

/* ------------------------------------------------------------------------------ callbacks */

static inline int resume_image(void *ctx, unsigned int worker, uint16_t disk,
			       struct crash_image *ret_image)
{
	struct resume_case *c = ctx;

	(void)disk;
	ret_image->fd = -1;
	ret_image->bytes = calloc(RESUME_BLOCKS, RESUME_BLOCK);
	resume_must(ret_image->bytes && worker < array_size(c->images));
	c->images[worker] = *ret_image;
	return 0;
}

static inline int resume_check(void *ctx, unsigned int worker, const struct explore_state *state,
			       struct explore_result *ret_result)
{
	struct resume_case *c = ctx;
	uint64_t key = state->key;

	(void)worker;
	c->checks++;
	ret_result->verdict = key % 7 == 0    ? EXPLORE_FAIL
			      : key % 11 == 0 ? EXPLORE_CRASH
			      : key % 13 == 0 ? EXPLORE_TIMEOUT
					      : EXPLORE_OK;
	ret_result->exit_code = ret_result->verdict == EXPLORE_FAIL;
	ret_result->time_ns = 1000;
	if (ret_result->verdict != EXPLORE_OK)
		resume_must(asprintf(&ret_result->output, "bad: %llx\n", (unsigned long long)key) >
			    0);
	return 0;
}

static inline void resume_result(void *ctx, const struct explore_state *state,
				 const struct explore_result *result)
{
	results_state(((struct resume_case *)ctx)->results, state, result);
}

static inline void resume_point(void *ctx, const struct explore_point *point)
{
	results_point(((struct resume_case *)ctx)->results, point);
}

static inline bool resume_known(void *ctx, uint64_t key, enum explore_verdict *ret_verdict)
{
	return results_known(((struct resume_case *)ctx)->results, key, ret_verdict);
}

static inline bool resume_known_lazy(void *ctx, size_t point, struct explore_lazy_known *ret_known)
{
	return results_known_lazy(((struct resume_case *)ctx)->results, point, ret_known);
}

/* ------------------------------------------------------------------------------ the whole */

static inline void resume_finish(struct resume_case *c)
{
	struct explore_status status;
	struct finding *findings;
	size_t nr = results_findings(c->results, &findings);

	for (size_t i = 0; i < nr; i++)
		results_finding(c->results, &findings[i], i);
	explore_status(c->explore, &status);
	results_end(c->results, &status, status.stopped ? "limit" : NULL);
	resume_must(results_error(c->results) == 0);
}

/*
 * Explore as c->job says, at most c->job.max_states of them (0: all), into its results file. 0, or
 * what results_open() said, in words.
 */
static inline int resume_explore(struct resume_case *c, struct diag *diag)
{
	static const struct strategy strategies[] = { { .kind = STRATEGY_EXHAUSTIVE,
							.count = 64 } };
	const struct explore_options options = { .journal = c->journal,
						 .strategies = strategies,
						 .nr_strategies = array_size(strategies),
						 .seed = 1,
						 .nr_shards = 1,
						 .jobs = 1,
						 .max_states = c->job.max_states,
						 .check = resume_check,
						 .image = resume_image,
						 .result = resume_result,
						 .point = resume_point,
						 .known = resume_known,
						 .known_lazy = resume_known_lazy,
						 .ctx = c };
	struct results_options results = { .job = &c->job,
					   .journal = c->journal,
					   .strategies = strategies,
					   .nr_strategies = array_size(strategies),
					   .nr_shards = 1 };
	int err;

	c->checks = 0;
	resume_must(explore_create(&options, diag, &c->explore) == 0);
	results.nr_points = explore_points(c->explore, &results.points);
	results.crash = explore_crash_options(c->explore);
	err = results_open(&results, diag, &c->results);
	if (!err) {
		resume_must(explore_run(c->explore, diag) == 0);
		resume_finish(c);
	}
	c->results = results_free(c->results);
	c->explore = explore_free(c->explore);
	for (size_t i = 0; i < array_size(c->images); i++) {
		free(c->images[i].bytes);
		c->images[i].bytes = NULL;
	}
	return err;
}

static inline struct resume_case resume_begin(const char *results)
{
	return (struct resume_case){ .journal = resume_journal(),
				     .job = { .recording = "rec",
					      .check = "it's",
					      .present = "file",
					      .seed = 1,
					      .timeout_ns = 1000000000,
					      .results = results,
					      .resume = true } };
}

/* The file's bytes with a 0 behind them; from malloc. */
static inline char *resume_read(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "re");
	char *bytes = NULL;
	size_t size = 0, len = 0, got;

	resume_must(file);
	do {
		bytes = realloc(bytes, size = size * 2 + 4096);
		resume_must(bytes);
		got = fread(bytes + len, 1, size - len - 1, file);
		len += got;
	} while (got);
	fclose(file);
	bytes[len] = '\0';
	*ret_len = len;
	return bytes;
}

static inline void resume_save(const char *path, const char *bytes, size_t len)
{
	FILE *file = fopen(path, "we");

	resume_must(file && fwrite(bytes, 1, len, file) == len);
	resume_must(fclose(file) == 0);
}

/* Seal the lines of @text behind those of *seal; what is no object stays as it is. */
static inline void resume_seal(const char *text, size_t len, uint64_t *seal, FILE *out)
{
	const char *at = text, *end = text + len, *next;

	for (; at < end; at = next) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t words = stop ? (size_t)(stop - at) : (size_t)(end - at), sealed_len;
		json_t *line = json_loadb(at, words, JSON_REJECT_DUPLICATES, NULL);
		char *sealed = json_is_object(line) ? results_seal(json_incref(line), JSON_COMPACT,
								   seal, &sealed_len)
						    : NULL;

		json_decref(line);
		next = stop ? stop + 1 : end;
		if (sealed)
			fwrite(sealed, 1, sealed_len, out);
		else
			fwrite(at, 1, (size_t)(next - at), out);
		free(sealed);
	}
}

#endif
