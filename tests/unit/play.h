/* SPDX-License-Identifier: MIT */
/*
 * A made-up user of a pipeline, in virtual time and in one thread: random requests, spread over the
 * queues in turn, each carried to its end; what is held is released now and then, a dead disk is
 * brought back. What it does depends on its seed and on what the pipeline answers, never on how
 * many queues there are. And rules of every kind that exists, so that a new kind is in at once.
 */
#ifndef TESTS_PLAY_H
#define TESTS_PLAY_H

#include "tests/unit/check.h"

#include <stdio.h>
#include <unistd.h>

#define PLAY_SIZE    (4ull << 20) /* bytes of the disk */
#define PLAY_IO_MAX  (16u << 10)
#define PLAY_WAITING 24

struct play_io {
	struct io io; /* first: unpark hands back &io */
	bool waits, unparked;
	uint64_t number;
	unsigned char data[PLAY_IO_MAX];
};

struct play {
	struct pipeline *pipeline;
	struct store *store;
	struct event_reader *reader;
	struct draw draw;
	uint16_t nr_queues;
	uint64_t now_ns, number;
	FILE *log; /* of the events */
	char *text;
	size_t text_len;
	bool with_queues; /* the log says which queue */
	struct play_io ios[PLAY_WAITING];
};

static inline void play_unpark(void *ctx, struct io *io)
{
	(void)ctx;
	((struct play_io *)io)->unparked = true;
}

static inline void play_open_model(struct play *play, uint64_t seed, uint16_t nr_queues,
				   struct recorder_disk *recorder, struct cache_model model)
{
	const struct pipeline_options options = {
		.geometry = { .size_bytes = PLAY_SIZE, .block_bytes = 512, .nr_queues = nr_queues },
		.seed = seed,
		.cache = true,
		.cache_model = model,
		.unpark = play_unpark,
		.recorder = recorder,
	};

	memset(play, 0, sizeof(*play));
	assert_int_equal(store_create(PLAY_SIZE, NULL, &play->store), 0);
	assert_int_equal(pipeline_create(play->store, &options, &play->pipeline), 0);
	assert_int_equal(event_reader_create(pipeline_events(play->pipeline), 0, &play->reader), 0);
	play->draw.seed = seed;
	play->nr_queues = nr_queues;
	play->now_ns = 1000;
	play->with_queues = true;
	play->log = open_memstream(&play->text, &play->text_len);
}

static inline void play_open(struct play *play, uint64_t seed, uint16_t nr_queues,
			     struct recorder_disk *recorder)
{
	play_open_model(play, seed, nr_queues, recorder, (struct cache_model){ 0 });
}

static inline void play_rules(struct play *play, const struct rule_set *set)
{
	struct diag diag = { 0 };

	if (pipeline_publish(play->pipeline, set, play->now_ns, &diag, NULL) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	for (uint16_t i = 0; i < play->nr_queues; i++)
		pipeline_adopt(play->pipeline, i);
}

static inline void print_event_line(FILE *log, const struct event *event, bool with_queue)
{
	fprintf(log, "%llu %llu %s %u %u %llu %u %x %llu %llu", (unsigned long long)event->seq,
		(unsigned long long)event->time_ns, event->rule, event->kind, event->op,
		(unsigned long long)event->sector, event->len_bytes, event->flags,
		(unsigned long long)event->match, (unsigned long long)event->delay_ns);
	if (with_queue)
		fprintf(log, " queue %u", event->queue);
	fputc('\n', log);
}

static inline void play_log(struct play *play)
{
	uint64_t lost = 0;
	struct event event;

	while (event_reader_next(play->reader, &event, &lost))
		print_event_line(play->log, &event, play->with_queues);
	assert_int_equal(lost, 0);
}

static inline void play_resume(struct play *play, struct play_io *pio)
{
	pio->waits = false;
	pipeline_resume(play->pipeline, &pio->io, play->now_ns);
	pipeline_batch_done(play->pipeline, pio->io.queue);
	fprintf(play->log, "end %llu %d\n", (unsigned long long)pio->number, pio->io.result);
}

/* The one that is due first, or the oldest released one; NULL: none by @now. */
static inline struct play_io *play_due(struct play *play)
{
	struct play_io *best = NULL;

	for (unsigned int i = 0; i < PLAY_WAITING; i++) {
		struct play_io *pio = &play->ios[i];
		uint64_t due_ns = pio->unparked ? 0 : pio->io.due_ns;

		if (!pio->waits || due_ns > play->now_ns)
			continue;
		if (!best || due_ns < (best->unparked ? 0 : best->io.due_ns) ||
		    (due_ns == (best->unparked ? 0 : best->io.due_ns) &&
		     pio->number < best->number))
			best = pio;
	}
	return best;
}

static inline void play_resume_due(struct play *play)
{
	struct play_io *pio;

	while ((pio = play_due(play)))
		play_resume(play, pio);
}

static inline void play_release(struct play *play, size_t count)
{
	pipeline_release(play->pipeline, NULL, 0, count);
	for (uint16_t i = 0; i < play->nr_queues; i++)
		pipeline_adopt(play->pipeline, i);
}

/* Everything that waits is over: released, or due. */
static inline void play_drain(struct play *play)
{
	play_release(play, SIZE_MAX);
	play_resume_due(play);
	for (unsigned int i = 0; i < PLAY_WAITING; i++)
		if (play->ios[i].waits)
			play_resume(play, &play->ios[i]);
}

static inline void play_revive(struct play *play)
{
	uint64_t lost = 0;

	play_drain(play);
	pipeline_revive(play->pipeline, &lost);
	fprintf(play->log, "revived %llu\n", (unsigned long long)lost);
}

static inline void play_request(struct play *play, struct play_io *pio)
{
	static const uint32_t flags[] = { 0, 0, 0, IO_FUA, IO_META, IO_FAILFAST };
	struct draw *draw = &play->draw;
	uint64_t nr = 1 + draw_below(draw, PLAY_IO_MAX / SEC);
	uint64_t sector = draw_below(draw, PLAY_SIZE / SEC - nr);
	static const uint8_t ops[] = { IO_READ,  IO_READ,    IO_WRITE,  IO_WRITE,
				       IO_WRITE, IO_DISCARD, IO_ZEROES, IO_FLUSH };
	uint8_t op = ops[draw_below(draw, array_size(ops))];
	uint64_t bits = draw_bits(draw), flag = draw_below(draw, array_size(flags));

	pio->io =
		make_io(op, op == IO_FLUSH ? 0 : sector, op == IO_FLUSH ? 0 : (uint32_t)(nr * SEC),
			op <= IO_WRITE ? pio->data : NULL);
	pio->io.flags = op == IO_WRITE || flags[flag] != IO_FUA ? flags[flag] : 0;
	pio->number = play->number++;
	pio->io.queue = (uint16_t)(pio->number % play->nr_queues);
	pio->unparked = false;
	for (size_t i = 0; op == IO_WRITE && i < nr * SEC; i += 8)
		memcpy(pio->data + i, &(uint64_t){ bits + i }, 8);
	pio->waits = pipeline_submit(play->pipeline, &pio->io, play->now_ns) == IO_PARKED;
	pipeline_batch_done(play->pipeline, pio->io.queue);
	if (!pio->waits)
		fprintf(play->log, "done %llu %d\n", (unsigned long long)pio->number,
			pio->io.result);
	play_log(play);
}

static inline void play_steps(struct play *play, unsigned int nr_steps)
{
	for (unsigned int step = 0; step < nr_steps; step++) {
		struct play_io *pio = play->ios;

		play->now_ns += draw_below(&play->draw, 20000);
		play_resume_due(play);
		while (pio < play->ios + PLAY_WAITING && pio->waits)
			pio++;
		if (pio == play->ios + PLAY_WAITING) {
			play_drain(play);
			pio = play->ios;
		}
		play_request(play, pio);
		if (step % 7 == 6)
			play_release(play, 1);
		if (step % 40 == 39 && condition_bits(pipeline_condition(play->pipeline)))
			play_revive(play);
	}
}

/* The log is complete in play->text afterwards, the content of the disk at its end. */
static inline void play_finish(struct play *play)
{
	uint64_t sum = 0;

	play_drain(play);
	for (uint64_t at = 0; at < PLAY_SIZE; at += 8)
		sum = rng_mix(sum, *(const uint64_t *)(store_bytes(play->store) + at), at);
	fprintf(play->log, "disk %016llx\n", (unsigned long long)sum);
	fclose(play->log);
	event_reader_free(play->reader);
	play->pipeline = pipeline_free(play->pipeline);
	play->store = store_free(play->store);
}

/* What decides in its own way beside the example of its kind. */
static const char *const play_others[] = {
	"delay:1us..9us,lanes=2",
	"delay:0us,seek=40us,lanes=1",
	"powercut:keep=first:2k,rest=random",
};

static inline void play_put(struct rule_set *set, const char *text)
{
	const struct rule_geometry geometry = {
		.size_bytes = PLAY_SIZE,
		.block_bytes = 512,
		.nr_queues = 1,
		.has_cache = true,
		.cache_unit_bytes = 512,
	};
	struct rule *rule = NULL;

	if (rule_parse(text, strlen(text), NULL, &rule) == 0 &&
	    rule_check(rule, &geometry, NULL) == 0)
		assert_int_equal(rule_set_put(set, rule, NULL, NULL), 0);
	else
		print_message("left out: %s\n", text);
	rule_unref(rule);
}

/*
 * A rule of every kind, with what its example does, for a share of all requests that it can act
 * on; @from: kinds before it come last, so that each has its turn before the terminal ones. Kinds
 * whose example needs something of this machine (a file) are left out.
 */
static inline struct rule_set *play_every_kind(size_t from, const char *words)
{
	struct rule_set *set = rule_set_new();
	size_t nr = 0;

	while (kind_at(nr))
		nr++;
	for (size_t i = 0; i < nr; i++) {
		const struct kind *kind = kind_at((from + i) % nr);
		const char *what = strstr(kind->example, "do=");
		char text[512];

		assert_non_null(what);
		/* A kind that takes commands begins with what its range says. */
		snprintf(text, sizeof(text), "%s-%zu %s%s %.*s", kind->name, from, words,
			 kind->ops->tell ? " range=0.." : "", (int)strcspn(what, " \n"), what);
		play_put(set, text);
		for (size_t k = 0; k < array_size(play_others); k++) {
			size_t len = strlen(kind->name);

			if (strncmp(play_others[k], kind->name, len) || play_others[k][len] != ':')
				continue;
			snprintf(text, sizeof(text), "other-%zu-%zu %s do=%s", k, from, words,
				 play_others[k]);
			play_put(set, text);
		}
	}
	return set;
}

#endif
