// SPDX-License-Identifier: MIT
/*
 * What a recording costs whoever reads it, while a request of it never completes: four times the
 * recording must be four times the work, whatever is done with it. And what rules cost a request
 * that each of them could be about: four times the rules, four times the work, in whatever order
 * their ranges are. Work is counted, not timed: the engine is built with a call in each of its basic
 * blocks (make SAN=count), and what the C library moves counts by its length. So are rules that are
 * read from a file, as many as there may be.
 */
#include "base/cleanup.h"
#include "base/units.h"
#include "faults/engine/pipeline.h"
#include "faults/engine/replay.h"
#include "faults/explore/explore.h"
#include "faults/journal/logwrites.h"
#include "faults/journal/read.h"
#include "faults/journal/save.h"
#include "faults/record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOT_COUNTED __attribute__((no_sanitize_coverage))
#define FEW         1000u
#define MORE        4u
#define AT_MOST     5.0 /* times as much, for MORE times as many */
#define DISK        (256ull << 20)
#define FAR         (128ull << 20) /* behind what never completes, or in the middle of it */
#define STRIDE      8192u

static _Atomic uint64_t work;

/* Of gcc's -fsanitize-coverage=trace-pc, and of ld's --wrap. */
void __sanitizer_cov_trace_pc(void);
void *__wrap_memcpy(void *to, const void *from, size_t len);
void *__wrap_memmove(void *to, const void *from, size_t len);
void *__wrap_memset(void *to, int byte, size_t len);
void *__real_memcpy(void *to, const void *from, size_t len);
void *__real_memmove(void *to, const void *from, size_t len);
void *__real_memset(void *to, int byte, size_t len);

NOT_COUNTED static void count(uint64_t steps)
{
	atomic_fetch_add_explicit(&work, steps, memory_order_relaxed);
}

NOT_COUNTED void __sanitizer_cov_trace_pc(void)
{
	count(1);
}

NOT_COUNTED void *__wrap_memcpy(void *to, const void *from, size_t len)
{
	count(len / 64);
	return __real_memcpy(to, from, len);
}

NOT_COUNTED void *__wrap_memmove(void *to, const void *from, size_t len)
{
	count(len / 64);
	return __real_memmove(to, from, len);
}

NOT_COUNTED void *__wrap_memset(void *to, int byte, size_t len)
{
	count(len / 64);
	return __real_memset(to, byte, len);
}

/* ------------------------------------------------------------------------------ recordings */

enum hung { NOTHING, DISCARD, WRITE, FLUSH, DISCARDS, NO_FLUSH, CUTS };
enum content { ZEROES, DATA, DATA_AFTER_ZEROES };

struct shape {
	const char *name;
	enum hung hung;
	uint64_t hung_bytes; /* from byte 0 of the disk on */
	uint32_t len;        /* of each of the others */
	enum content content;
};

/* Whole units, parts of them; beside what never completes, or under it. */
static const struct shape shapes[] = {
	{ "nothing hangs, whole units", NOTHING, 0, 4096, DATA },
	{ "a discard hangs, whole units beside it", DISCARD, FAR, 4096, DATA },
	{ "a discard hangs, parts beside it", DISCARD, FAR, 512, DATA },
	{ "a discard hangs, zeroes in parts beside it", DISCARD, FAR, 512, ZEROES },
	{ "a discard hangs, whole units under it", DISCARD, DISK, 4096, DATA },
	{ "a discard hangs, parts under it", DISCARD, DISK, 512, DATA },
	{ "a discard hangs, zeroes under it", DISCARD, DISK, 4096, ZEROES },
	{ "a discard hangs, zeroes in parts under it", DISCARD, DISK, 512, ZEROES },
	{ "a discard hangs, data after zeroes under it", DISCARD, DISK, 4096, DATA_AFTER_ZEROES },
	{ "a discard hangs, data after zeroes in parts under it", DISCARD, DISK, 512,
	  DATA_AFTER_ZEROES },
	{ "a write hangs, whole units beside it", WRITE, 4096, 4096, DATA },
	{ "a write hangs, zeroes in parts beside it", WRITE, 4096, 512, ZEROES },
	{ "every eighth request is a discard that hangs", DISCARDS, 0, 4096, ZEROES },
	{ "a flush hangs, whole units", FLUSH, 0, 4096, DATA },
	{ "no flush comes, every other write is durable", NO_FLUSH, 0, 4096, DATA },
	{ "a write hangs, version 2, the power is cut often", CUTS, 0, 4096, DATA },
};

static const unsigned char content[4096] = { 1, [511] = 2, [4095] = 3 };

static void die(const char *what)
{
	printf("Bail out: %s\n", what);
	exit(2);
}

static void must(int err)
{
	if (err)
		die(strerror(-err));
}

static void add_hung(struct journal *journal, const struct shape *shape, uint64_t *step)
{
	const struct journal_write write = {
		.submit = *step + 1,
		.complete = JOURNAL_NEVER,
		.len_bytes = shape->hung_bytes,
		.data = shape->hung == WRITE ? content : NULL,
		.op = shape->hung == WRITE ? IO_WRITE : IO_DISCARD,
	};

	if (shape->hung == FLUSH)
		must(journal_add_flush(
			journal,
			&(struct journal_flush){ .submit = *step + 1, .complete = JOURNAL_NEVER }));
	else if (shape->hung_bytes)
		must(journal_add_write(journal, &write));
	*step += 1;
}

/* Each write is flushed soon, so that little is undecided; each place is written three times. */
static void add_rest(struct journal *journal, const struct shape *shape, unsigned int nr,
		     uint64_t step)
{
	for (unsigned int i = 0; i < nr; i++) {
		bool durable = shape->hung == NO_FLUSH && i % 2;
		bool data = shape->content == DATA ||
			    (shape->content == DATA_AFTER_ZEROES && i % 3 == 2);
		const struct journal_write write = {
			.submit = step + 1,
			.complete = step + 2,
			.at = FAR + (uint64_t)(i / 3) * STRIDE +
			      (durable             ? 4096
			       : shape->len < 4096 ? 512
						   : 0),
			.len_bytes = shape->len,
			.data = data ? content : NULL,
			.op = data ? IO_WRITE : IO_ZEROES,
			.flags = durable ? IO_FUA : 0,
		};

		must(journal_add_write(journal, &write));
		step += 2;
		if (shape->hung == DISCARDS && i % 8 == 0)
			must(journal_add_write(journal,
					       &(struct journal_write){ .submit = ++step,
									.complete = JOURNAL_NEVER,
									.at = (uint64_t)i * STRIDE,
									.len_bytes = 4096,
									.op = IO_DISCARD }));
		if (i % 4 == 3 && shape->hung != NO_FLUSH) {
			must(journal_add_flush(journal,
					       &(struct journal_flush){ .submit = step + 1,
									.complete = step + 2 }));
			step += 2;
		}
		if (i % 16 == 0)
			must(journal_add_mark(journal, ++step, 0, "so far", 6));
	}
}

static struct journal *make(const struct shape *shape, unsigned int nr)
{
	const struct journal_disk disk = {
		.name = "d", .size_bytes = DISK, .block_bytes = 512, .cache = true
	};
	struct diag diag = { 0 };
	struct journal *journal;
	uint64_t step = 0;

	must(journal_new(&journal));
	must(journal_add_disk(journal, &disk));
	add_hung(journal, shape, &step);
	add_rest(journal, shape, nr, step);
	must(journal_seal(journal, &diag));
	return journal;
}

/* ------------------------------------------------------------------------------ version 2 */

/* A record file of one disk and one queue, as it was before the disk's content was recorded. */
struct old_file {
	FILE *out;
	struct record_header header;
	struct record_stream stream;
	uint64_t step;
};

static void put_block(struct old_file *file, uint16_t disk, uint16_t queue, const void *head,
		      size_t head_len, const void *data, size_t len)
{
	unsigned char block[RECORD_BLOCK_BYTES];

	record_put_block(block, disk, queue, head, head_len, data, len);
	fwrite(block, 1, sizeof(block), file->out);
	fwrite(head, 1, head_len, file->out);
	if (len)
		fwrite(data, 1, len, file->out);
}

static void put_record(struct old_file *file, struct record record)
{
	unsigned char bytes[128], *end;

	record.step = ++file->step;
	record.time_ns = record.step;
	end = record_put(bytes, &file->stream, &record);
	put_block(file, 0, 0, bytes, (size_t)(end - bytes), record.data, record.len_bytes);
}

static void put_revival(struct old_file *file)
{
	const struct record record = { .type = RECORD_REVIVE,
				       .step = ++file->step,
				       .time_ns = file->step };
	unsigned char *bytes;
	size_t len;

	must(record_put_control(&file->header, &record, &bytes, &len));
	/* It had no more than its time. */
	put_block(file, 0, RECORD_CONTROL, bytes, len - 1, NULL, 0);
	free(bytes);
}

static void begin_old(struct old_file *file)
{
	const struct record_disk disk = { .name = "d",
					  .size_bytes = DISK,
					  .block_bytes = 512,
					  .physical_bytes = 512,
					  .max_io_bytes = 4096,
					  .depth = 8,
					  .flags = RECORD_CACHE,
					  .nr_queues = 1 };
	unsigned char bytes[RECORD_DISK_BYTES], header[RECORD_HEADER_BYTES];
	uint32_t crc;

	file->header = (struct record_header){ .id = 1, .flags = RECORD_DATA };
	record_put_header(header, &file->header);
	header[8] = 2;
	crc = record_crc(0, header, 60);
	memcpy(header + 60, &crc, 4);
	fwrite(header, 1, sizeof(header), file->out);
	record_put_disk(bytes, &disk);
	put_block(file, 0, RECORD_IS_DISK, bytes, sizeof(bytes), NULL, 0);
	file->stream = record_stream_start(&file->header);
}

/* The first write never completes; each fourth of the others is flushed, each eighth cut off. */
static void save_cuts(FILE *out, unsigned int nr)
{
	struct old_file file = { .out = out };
	struct record write = { .type = RECORD_REQUEST,
				.op = IO_WRITE,
				.parked = true,
				.len_bytes = 4096,
				.result = 4096,
				.data = content };

	begin_old(&file);
	for (unsigned int i = 0; i < nr; i++) {
		put_record(&file, write);
		write.parked = false;
		write.sector += 8;
		if (i % 4 == 3)
			put_record(&file,
				   (struct record){ .type = RECORD_REQUEST, .op = IO_FLUSH });
		put_record(&file, (struct record){ .type = RECORD_BATCH });
		if (i % 8 == 5)
			put_revival(&file);
	}
	must(fflush(out) ? -errno : 0);
}

/* ------------------------------------------------------------------------------ what is done */

struct subject {
	const struct shape *shape;
	struct journal *journal;
	unsigned char *file; /* the same as a record file */
	size_t size;
	unsigned char *log; /* and as a log of dm-log-writes */
	size_t log_size;
};

static const struct crash_options units = { .unit_bytes = 4096 };

static void *reserve(void)
{
	void *memory = mmap(NULL, DISK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		die("no memory");
	return memory;
}

static void do_points(struct subject *on)
{
	const struct crash_select select = { .set = CRASH_SET_COMPLETIONS };
	struct crash_point *points;
	size_t nr;

	must(crash_points(on->journal, &units, &select, &points, &nr));
	free(points);
}

/* @list: what is undecided at each moment, too; that is itself long under a large discard. */
static void walk(struct subject *on, bool list)
{
	struct crash_image image = { .bytes = reserve(), .fd = -1 };
	const struct crash_choice *choices;
	struct diag diag = { 0 };
	struct crash *crash;

	must(crash_create(on->journal, &units, &image, &diag, &crash));
	for (size_t i = 0; i < on->journal->nr_events; i++) {
		must(crash_move(crash, on->journal->events[i].step));
		if (list)
			crash_choices(crash, &choices);
	}
	crash_free(crash);
	munmap(image.bytes, DISK);
}

/* What is undecided grows with what hangs or failed, or with what lies under it or is never flushed,
 * and so do its states. */
static bool is_long(const struct shape *shape)
{
	return shape->hung_bytes == DISK || shape->hung == DISCARDS || shape->hung == NO_FLUSH ||
	       shape->hung == CUTS;
}

static void do_cursor(struct subject *on)
{
	walk(on, !is_long(on->shape));
}

static void do_journal(struct subject *on)
{
	struct diag diag = { 0 };
	struct journal *journal;

	must(journal_from_record(on->file, on->size, &diag, &journal));
	journal_free(journal);
}

static void do_list(struct subject *on)
{
	struct record_reader *reader;
	struct diag diag = { 0 };
	struct record record;

	must(record_reader_open(on->file, on->size, &diag, &reader));
	while (record_reader_next(reader, &record) == 1)
		;
	record_reader_free(reader);
}

static void do_replay(struct subject *on)
{
	const struct replay_options options = { .forced = true };
	struct replay_result result;
	struct record_reader *reader;
	struct diag diag = { 0 };

	must(record_reader_open(on->file, on->size, &diag, &reader));
	must(replay_run(reader, &options, &diag, &result));
	record_reader_free(reader);
}

static void do_save(struct subject *on)
{
	struct diag diag = { 0 };
	FILE *file = tmpfile();

	if (!file)
		die("no file");
	must(journal_save(on->journal, 1, fileno(file), &diag));
	fclose(file);
}

static void do_export(struct subject *on)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct logwrites_export export;
	struct diag diag = { 0 };

	must(logwrites_export(on->journal, 0, fd, &diag, &export));
	close(fd);
}

static void do_import(struct subject *on)
{
	struct diag diag = { 0 };
	struct journal *journal;

	must(logwrites_import(on->log, on->log_size, NULL, &diag, &journal));
	journal_free(journal);
}

static int give_image(void *ctx, unsigned int worker, uint16_t disk, struct crash_image *ret_image)
{
	void **images = ctx;

	(void)disk;
	*ret_image = (struct crash_image){ .bytes = images[worker], .fd = -1 };
	return 0;
}

/* Where a state is decided when it is read, all that is undecided is. */
static int pass(void *ctx, unsigned int worker, const struct explore_state *state,
		struct explore_result *ret_result)
{
	const struct crash_choice *choices;
	size_t nr = state->view ? crash_choices(state->crash, &choices) : 0;
	unsigned char bytes[4096];

	(void)ctx;
	(void)worker;
	for (size_t i = 0; i < nr; i++)
		must(view_read(state->view, choices[i].disk, choices[i].at, bytes,
			       choices[i].len_bytes));
	ret_result->verdict = EXPLORE_OK;
	return 0;
}

static void no_result(void *ctx, const struct explore_state *state,
		      const struct explore_result *result)
{
	(void)ctx;
	(void)state;
	(void)result;
}

static void no_point(void *ctx, const struct explore_point *point)
{
	(void)ctx;
	(void)point;
}

static void explore(struct subject *on, const struct strategy *strategies, size_t nr_strategies)
{
	void *images[2] = { reserve(), reserve() };
	const struct explore_options options = {
		.journal = on->journal,
		.crash = units,
		.strategies = strategies,
		.nr_strategies = nr_strategies,
		.nr_shards = 1,
		.jobs = 1,
		.check = pass,
		.image = give_image,
		.result = no_result,
		.point = no_point,
		.ctx = images,
	};
	struct explore *explore;
	struct diag diag = { 0 };

	must(explore_create(&options, &diag, &explore));
	must(explore_run(explore, &diag));
	explore_free(explore);
	munmap(images[0], DISK);
	munmap(images[1], DISK);
}

static void do_explore(struct subject *on)
{
	static const struct strategy strategies[] = {
		{ STRATEGY_OLD, 0 },      { STRATEGY_NEW, 0 },         { STRATEGY_PREFIXES, 0 },
		{ STRATEGY_DROP_ONE, 0 }, { STRATEGY_KEEP_ONE, 0 },    { STRATEGY_PAIRS, 0 },
		{ STRATEGY_RANDOM, 3 },   { STRATEGY_EXHAUSTIVE, 64 },
	};

	explore(on, strategies, array_size(strategies));
}

static void do_lazy(struct subject *on)
{
	static const struct strategy strategy = { STRATEGY_LAZY, 0 };

	explore(on, &strategy, 1);
}

static const struct deed {
	const char *name;
	void (*run)(struct subject *on);
} deeds[] = {
	{ "journal", do_journal }, { "list", do_list },     { "replay", do_replay },
	{ "save", do_save },       { "export", do_export }, { "import", do_import },
	{ "points", do_points },   { "cursor", do_cursor }, { "explore", do_explore },
	{ "lazy", do_lazy },
};

/* ------------------------------------------------------------------------------ judged */

static unsigned char *map(FILE *file, size_t *ret_size)
{
	unsigned char *bytes;

	*ret_size = (size_t)lseek(fileno(file), 0, SEEK_END);
	bytes = mmap(NULL, *ret_size, PROT_READ, MAP_PRIVATE, fileno(file), 0);
	if (bytes == MAP_FAILED)
		die("the file cannot be mapped");
	fclose(file);
	return bytes;
}

static void load(struct subject *on, const struct shape *shape, unsigned int nr)
{
	bool old = shape->hung == CUTS;
	FILE *file = tmpfile(), *log = tmpfile();
	struct logwrites_export export;
	struct diag diag = { 0 };

	*on = (struct subject){ .shape = shape, .journal = old ? NULL : make(shape, nr) };
	if (!file || !log)
		die("no file");
	if (old)
		save_cuts(file, nr);
	else if (journal_save(on->journal, 1, fileno(file), &diag))
		die(diag.message);
	on->file = map(file, &on->size);
	if (old && journal_from_record(on->file, on->size, &diag, &on->journal))
		die(diag.message);
	if (logwrites_export(on->journal, 0, fileno(log), &diag, &export))
		die(diag.message);
	on->log = map(log, &on->log_size);
}

static void unload(struct subject *on)
{
	journal_free(on->journal);
	munmap(on->file, on->size);
	munmap(on->log, on->log_size);
}

static bool is_done(const struct shape *shape, const struct deed *deed)
{
	return (deed->run != do_explore && deed->run != do_lazy) || !is_long(shape);
}

/* False if one thing is more work than it may be. */
static bool judge(const struct shape *shape)
{
	uint64_t took[2][array_size(deeds)];
	bool good = true;

	for (unsigned int i = 0; i < 2; i++) {
		struct subject on;

		load(&on, shape, i ? MORE * FEW : FEW);
		for (size_t k = 0; k < array_size(deeds); k++) {
			uint64_t before = atomic_load(&work);

			if (is_done(shape, &deeds[k]))
				deeds[k].run(&on);
			took[i][k] = atomic_load(&work) - before;
		}
		unload(&on);
	}
	for (size_t k = 0; k < array_size(deeds); k++) {
		double times = (double)took[1][k] / (double)took[0][k];

		if (!is_done(shape, &deeds[k]))
			continue;
		printf("    %-8s %10llu %10llu %5.2fx%s\n", deeds[k].name,
		       (unsigned long long)took[0][k], (unsigned long long)took[1][k], times,
		       times > AT_MOST ? " TOO MUCH" : "");
		good &= times <= AT_MOST;
	}
	return good;
}

/* ------------------------------------------------------------------------------ rules */

#define READS      16u
#define PER_RULE   30.0    /* blocks at most that one rule costs one read */
#define PARSE_MAX  12000.0 /* to read one of as many as there may be: each looks for its name */
#define READ_AT    (16ull << 20) /* behind the start of every range */
#define RULES_DISK (32ull << 20)

enum order { SORTED, REVERSED, SHUFFLED, NESTED, WITH_PLAIN, BESIDE };

static const struct rules {
	const char *name;
	enum order order;
} ways[] = {
	{ "a read under ranges in the order of their starts", SORTED },
	{ "a read under ranges in the opposite order", REVERSED },
	{ "a read under ranges in no order", SHUFFLED },
	{ "a read under ranges inside each other, in no order", NESTED },
	{ "a read under ranges in no order, each second rule without one", WITH_PLAIN },
	{ "a read beside ranges in no order", BESIDE },
};

/* Of no request: the read is no swapping. */
static void print_rule(FILE *out, enum order order, unsigned int i, unsigned int nr)
{
	uint64_t shuffled = (uint64_t)i * 7919 % nr; /* a prime that does not divide @nr */
	uint64_t from = order == SORTED ? i : order == REVERSED ? nr - 1 - i : shuffled;
	const uint64_t half = READ_AT / 512;

	fprintf(out, "r%u op=read flags=swap do=count ", i);
	if (order == NESTED)
		fprintf(out, "range=%llus..%llus", (unsigned long long)from,
			(unsigned long long)(2 * half - from));
	else if (order == BESIDE)
		fprintf(out, "range=%llus..%llus", (unsigned long long)(from * 4),
			(unsigned long long)(from * 4 + 2));
	else if (order != WITH_PLAIN || i % 2)
		fprintf(out, "range=%llus..", (unsigned long long)from);
	fputc('\n', out);
}

static struct rule_set *make_rules(enum order order, unsigned int nr)
{
	struct rule_set *set;
	struct diag diag = { 0 };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(RULE_FILE_MAGIC "\n", out);
	for (unsigned int i = 0; i < nr; i++)
		print_rule(out, order, i, nr);
	fclose(out);
	if (rule_set_parse(text, len, &diag, &set))
		die(diag.message);
	free(text);
	return set;
}

static uint64_t count_reads(enum order order, unsigned int nr)
{
	const struct pipeline_options options = {
		.geometry = { .size_bytes = RULES_DISK, .block_bytes = 512, .nr_queues = 1 },
	};
	struct rule_set *set = make_rules(order, nr);
	static unsigned char data[4096];
	struct pipeline *pipeline;
	struct store *store;
	uint64_t before, took;

	must(store_create(RULES_DISK, NULL, &store));
	must(pipeline_create(store, &options, &pipeline));
	must(pipeline_publish(pipeline, set, 0, NULL, NULL));
	pipeline_adopt(pipeline, 0);
	before = atomic_load(&work);
	for (unsigned int i = 0; i < READS; i++) {
		struct io io = { .op = IO_READ,
				 .sector = READ_AT / 512 + 8 * i,
				 .len_bytes = sizeof(data),
				 .data = data };

		if (pipeline_submit(pipeline, &io, 0) != IO_DONE)
			die("a read that waits");
	}
	took = atomic_load(&work) - before;
	pipeline_free(pipeline);
	store_free(store);
	rule_set_free(set);
	return took / READS;
}

static uint64_t count_parse(unsigned int nr)
{
	uint64_t before = atomic_load(&work);
	struct rule_set *set = make_rules(SHUFFLED, nr);
	uint64_t took = atomic_load(&work) - before;

	rule_set_free(set);
	return took;
}

static bool judge_parse(void)
{
	uint64_t took = count_parse(MORE * FEW);
	double each = (double)took / (MORE * FEW);
	bool good = each <= PARSE_MAX;

	printf("    %-8s %10llu %.0f a rule%s\n", "parse", (unsigned long long)took, each,
	       good ? "" : " TOO MUCH");
	return good;
}

static bool judge_rules(const struct rules *way)
{
	uint64_t few = count_reads(way->order, FEW), more = count_reads(way->order, MORE * FEW);
	double times = (double)more / (double)few, each = (double)more / (MORE * FEW);
	bool good = times <= AT_MOST && each <= PER_RULE;

	printf("    %-8s %10llu %10llu %5.2fx, %.1f a rule%s\n", "read", (unsigned long long)few,
	       (unsigned long long)more, times, each, good ? "" : " TOO MUCH");
	return good;
}

int main(void)
{
	bool good = judge_parse();

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%sok rules from a file\n", good ? "" : "not ");
	for (size_t i = 0; i < array_size(ways); i++) {
		bool is = judge_rules(&ways[i]);

		printf("%sok %s\n", is ? "" : "not ", ways[i].name);
		good &= is;
	}
	for (size_t i = 0; i < array_size(shapes); i++) {
		bool is = judge(&shapes[i]);

		printf("%sok %s\n", is ? "" : "not ", shapes[i].name);
		good &= is;
	}
	return !good;
}
