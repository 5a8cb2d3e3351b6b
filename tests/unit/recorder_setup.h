/* SPDX-License-Identifier: MIT */
/* A recorder, one disk of it with two queues, and its file read back: for tests of both sides. */
#ifndef TESTS_RECORDER_SETUP_H
#define TESTS_RECORDER_SETUP_H

#include "faults/record/recorder.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define QUEUES     2
#define DISK_BYTES (1ull << 20)
#define RING       (128u << 10)

struct setup {
	char dir[32], path[48];
	struct recorder_options options;
	struct recorder *recorder;
	struct recorder_disk *recorded;
	struct disk disk;
	unsigned int nr_requests; /* of each queue */
	_Atomic unsigned int nr_ended;
	char message[512];
};

struct queue_thread {
	struct setup *setup;
	uint16_t queue;
	pthread_t thread;
};

static const struct record_disk the_disk = {
	.name = "d",
	.size_bytes = DISK_BYTES,
	.block_bytes = 512,
	.physical_bytes = 512,
	.max_io_bytes = 4096,
	.depth = 8,
	.nr_queues = QUEUES,
};

static inline void ended(void *ctx, const char *message)
{
	struct setup *setup = ctx;

	snprintf(setup->message, sizeof(setup->message), "%s", message);
	atomic_fetch_add(&setup->nr_ended, 1);
}

static inline void open_setup_with(struct setup *setup, const struct recorder_options *options)
{
	struct pipeline_options pipeline = {
		.geometry = { .size_bytes = DISK_BYTES, .block_bytes = 512, .nr_queues = QUEUES },
	};
	struct diag diag = { 0 };

	*setup = (struct setup){ .nr_requests = 20000, .options = *options };
	snprintf(setup->dir, sizeof(setup->dir), "/tmp/recorder-XXXXXX");
	assert_non_null(mkdtemp(setup->dir));
	snprintf(setup->path, sizeof(setup->path), "%s/rec", setup->dir);
	setup->options.path = setup->path;
	setup->options.ended = ended;
	setup->options.ctx = setup;
	setup->options.ring_bytes = RING;
	if (recorder_create(&setup->options, &diag, &setup->recorder) < 0 ||
	    recorder_add_disk(setup->recorder, &the_disk, &diag, &setup->recorded) < 0)
		fail_msg("%s", diag.message);
	pipeline.recorder = setup->recorded;
	assert_int_equal(store_create(DISK_BYTES, NULL, &setup->disk.store), 0);
	assert_int_equal(pipeline_create(setup->disk.store, &pipeline, &setup->disk.pipeline), 0);
}

static inline void open_setup(struct setup *setup)
{
	open_setup_with(setup, &(struct recorder_options){ 0 });
}

static inline void close_setup(struct setup *setup, struct recorder_status *status)
{
	free_disk(&setup->disk);
	setup->recorder = recorder_close(setup->recorder, status);
}

static inline void publish(struct setup *setup, const char *lines)
{
	struct rule_set *set = must_set(lines);

	assert_int_equal(pipeline_publish(setup->disk.pipeline, set, 1000, NULL, NULL), 0);
	rule_set_free(set);
}

/* Requests as fast as they go; what parks is resumed at once. */
static inline void *run_queue(void *arg)
{
	struct queue_thread *self = arg;
	struct setup *setup = self->setup;
	struct draw draw = { self->queue, 0 };
	unsigned char data[2][512] = { [IO_WRITE] = { 7 } };

	for (unsigned int i = 0; i < setup->nr_requests; i++) {
		uint8_t op = draw_below(&draw, 2) ? IO_READ : IO_WRITE;
		struct io io = make_io(op, draw_below(&draw, DISK_BYTES / 512), 512, data[op]);

		io.queue = self->queue;
		pipeline_adopt(setup->disk.pipeline, self->queue);
		if (pipeline_submit(setup->disk.pipeline, &io, 1000 + i) == IO_PARKED)
			pipeline_resume(setup->disk.pipeline, &io, 1000 + i);
		pipeline_batch_done(setup->disk.pipeline, self->queue);
	}
	return NULL;
}

static inline void run_queues(struct setup *setup, void (*meanwhile)(struct setup *setup))
{
	struct queue_thread threads[QUEUES];

	for (uint16_t i = 0; i < QUEUES; i++) {
		threads[i] = (struct queue_thread){ .setup = setup, .queue = i };
		assert_int_equal(pthread_create(&threads[i].thread, NULL, run_queue, &threads[i]),
				 0);
	}
	if (meanwhile)
		meanwhile(setup);
	for (uint16_t i = 0; i < QUEUES; i++)
		pthread_join(threads[i].thread, NULL);
}

struct counts {
	uint64_t requests, ends, hits, rule_sets, adoptions, marks, batches, written_bytes;
	enum record_why why;
	int end;
};

/* All of it, and no file afterwards. */
static inline unsigned char *load_file(struct setup *setup, size_t *ret_size)
{
	FILE *file = fopen(setup->path, "re");
	unsigned char *bytes;
	struct stat stat;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &stat), 0);
	assert_int_equal(stat.st_mode & 0777, 0600);
	*ret_size = (size_t)stat.st_size;
	bytes = malloc(*ret_size);
	assert_int_equal(fread(bytes, 1, *ret_size, file), *ret_size);
	fclose(file);
	unlink(setup->path);
	rmdir(setup->dir);
	return bytes;
}

static inline void count_record(struct counts *counts, const struct record *record)
{
	counts->requests += record->type == RECORD_REQUEST;
	counts->ends += record->type == RECORD_END;
	counts->rule_sets += record->type == RECORD_RULES;
	counts->adoptions += record->type == RECORD_ADOPT;
	counts->marks += record->type == RECORD_MARK;
	counts->batches += record->type == RECORD_BATCH;
	counts->hits += record->nr_hits;
	counts->written_bytes += record->data ? record->len_bytes : 0;
	if (record->type == RECORD_CLOSE)
		counts->why = record->why;
}

static inline struct counts count_records(struct setup *setup)
{
	size_t size;
	unsigned char *bytes = load_file(setup, &size);
	struct record_reader *reader;
	struct counts counts = { 0 };
	struct record record;
	struct diag diag = { 0 };

	assert_int_equal(record_reader_open(bytes, size, NULL, &reader), 0);
	while (record_reader_next(reader, &record) == 1)
		count_record(&counts, &record);
	counts.end = record_reader_end(reader, &diag);
	record_reader_free(reader);
	free(bytes);
	return counts;
}

static const struct recorder_options with_data = { .data = true };

/* The recording has ended; a reader of it, whose bytes the caller frees after it. */
static inline struct record_reader *open_file(struct setup *setup, unsigned char **ret_bytes)
{
	struct record_reader *reader;
	struct diag diag = { 0 };
	size_t size;

	*ret_bytes = load_file(setup, &size);
	if (record_reader_open(*ret_bytes, size, &diag, &reader))
		fail_msg("%s", diag.message);
	return reader;
}

static inline void must_read(struct record_reader *reader, enum record_type type,
			     struct record *record)
{
	assert_int_equal(record_reader_next(reader, record), 1);
	assert_int_equal(record->type, type);
}

static inline struct io write_io(uint64_t sector, uint32_t len_bytes, unsigned char *data)
{
	return make_io(IO_WRITE, sector, len_bytes, data);
}

static inline void submit_one(struct setup *setup, struct io *io)
{
	assert_int_equal(pipeline_submit(setup->disk.pipeline, io, 1000), IO_DONE);
}

static inline void fill(unsigned char *data, size_t len, uint64_t seed)
{
	struct draw draw = { seed, 0 };

	for (size_t i = 0; i < len; i += 8)
		memcpy(data + i, &(uint64_t){ draw_bits(&draw) | 1 }, 8);
}

#endif
