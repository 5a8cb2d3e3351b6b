// SPDX-License-Identifier: MIT
/* tsan */
/* Queues that run at once, one writer, and a control thread; nothing is lost, or it is said. */
#include "faults/recorder.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

static void ended(void *ctx, const char *message)
{
	struct setup *setup = ctx;

	snprintf(setup->message, sizeof(setup->message), "%s", message);
	atomic_fetch_add(&setup->nr_ended, 1);
}

static void open_setup_with(struct setup *setup, const struct recorder_options *options)
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

static void open_setup(struct setup *setup)
{
	open_setup_with(setup, &(struct recorder_options){ 0 });
}

static void close_setup(struct setup *setup, struct recorder_status *status)
{
	free_disk(&setup->disk);
	setup->recorder = recorder_close(setup->recorder, status);
}

static void publish(struct setup *setup, const char *lines)
{
	struct rule_set *set = must_set(lines);

	assert_int_equal(pipeline_publish(setup->disk.pipeline, set, 1000, NULL, NULL), 0);
	rule_set_free(set);
}

/* Requests as fast as they go; what parks is resumed at once. */
static void *run_queue(void *arg)
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

static void run_queues(struct setup *setup, void (*meanwhile)(struct setup *setup))
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
static unsigned char *load_file(struct setup *setup, size_t *ret_size)
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

static void count_record(struct counts *counts, const struct record *record)
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

static struct counts count_records(struct setup *setup)
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

static void swap_rules(struct setup *setup)
{
	for (int i = 0; i < 20; i++) {
		const struct timespec pause = { .tv_nsec = 1000000 };

		publish(setup, i % 2 ? "slow p=10% do=delay:1us" : "bad p=10% do=error:EIO");
		nanosleep(&pause, NULL);
	}
}

static void two_queues_and_the_control_thread_lose_nothing(void **state)
{
	struct recorder_status status;
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup(&setup);
	/* However fast the queues are: these rules they meet. */
	publish(&setup, "first p=10% do=error:EIO");
	run_queues(&setup, swap_rules);
	close_setup(&setup, &status);
	assert_int_equal(status.error, 0);
	assert_int_equal(status.nr_requests, QUEUES * setup.nr_requests);
	counts = count_records(&setup);
	assert_int_equal(counts.end, 0);
	assert_int_equal(counts.requests, QUEUES * setup.nr_requests);
	assert_int_equal(counts.rule_sets, 21);
	assert_true(counts.adoptions >= 1 && counts.hits > 100);
}

/* Every request brings more than a thousandth of a ring, far faster than a file takes it. */
static void a_full_ring_makes_the_queue_wait_and_is_counted(void **state)
{
	char *lines = NULL;
	size_t len;
	FILE *out = open_memstream(&lines, &len);
	struct recorder_status status;
	struct setup setup;
	struct counts counts;

	(void)state;
	for (int i = 0; i < 1000; i++)
		fprintf(out, "c%d do=count\n", i);
	fclose(out);
	open_setup(&setup);
	setup.nr_requests = 300;
	publish(&setup, lines);
	free(lines);
	run_queues(&setup, NULL);
	close_setup(&setup, &status);
	print_message("%llu waits, %llu bytes\n", (unsigned long long)status.nr_waits,
		      (unsigned long long)status.file_bytes);
	assert_int_equal(status.error, 0);
	assert_true(status.nr_waits > 0);
	counts = count_records(&setup);
	assert_int_equal(counts.end, 0);
	assert_int_equal(counts.hits, 1000 * QUEUES * setup.nr_requests);
}

static void a_file_that_cannot_grow_ends_the_recording_and_nothing_else(void **state)
{
	struct rlimit old, small;
	struct recorder_status status;
	struct setup setup;
	struct counts counts;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	/* Room for the largest first blocks, and for far less than all. */
	small = (struct rlimit){ .rlim_cur = 3 * RING, .rlim_max = old.rlim_max };
	open_setup(&setup);
	setup.nr_requests = 100000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	run_queues(&setup, swap_rules);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	close_setup(&setup, &status);
	assert_int_equal(status.error, -EFBIG);
	assert_int_equal(setup.nr_ended, 1);
	assert_non_null(strstr(setup.message, "File too large"));
	assert_non_null(strstr(setup.message, setup.path));
	counts = count_records(&setup);
	/* Cut between two blocks: early, not damaged. */
	assert_int_equal(counts.end, -ENODATA);
	assert_true(counts.requests > 0 && counts.requests < QUEUES * setup.nr_requests);
}

static void a_file_that_exists_is_left_alone(void **state)
{
	struct recorder *recorder = NULL;
	struct recorder_options options = { 0 };
	struct recorder_status status;
	struct diag diag = { 0 };
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup(&setup);
	options.path = setup.path;
	assert_int_equal(recorder_create(&options, &diag, &recorder), -EEXIST);
	assert_null(recorder);
	assert_non_null(strstr(diag.message, setup.path));
	assert_non_null(strstr(diag.hint, "name another one"));
	options.path = "/nowhere/at/all";
	assert_int_equal(recorder_create(&options, &diag, &recorder), -ENOENT);
	close_setup(&setup, &status);
	counts = count_records(&setup);
	assert_int_equal(counts.end, 0);
}

/* ------------------------------------------------------------------------------ data */

static const struct recorder_options with_data = { .data = true };

/* The recording has ended; a reader of it, whose bytes the caller frees after it. */
static struct record_reader *open_file(struct setup *setup, unsigned char **ret_bytes)
{
	struct record_reader *reader;
	struct diag diag = { 0 };
	size_t size;

	*ret_bytes = load_file(setup, &size);
	if (record_reader_open(*ret_bytes, size, &diag, &reader))
		fail_msg("%s", diag.message);
	return reader;
}

static void must_read(struct record_reader *reader, enum record_type type, struct record *record)
{
	assert_int_equal(record_reader_next(reader, record), 1);
	assert_int_equal(record->type, type);
}

static struct io write_io(uint64_t sector, uint32_t len_bytes, unsigned char *data)
{
	return make_io(IO_WRITE, sector, len_bytes, data);
}

static void submit_one(struct setup *setup, struct io *io)
{
	assert_int_equal(pipeline_submit(setup->disk.pipeline, io, 1000), IO_DONE);
}

static void fill(unsigned char *data, size_t len, uint64_t seed)
{
	struct draw draw = { seed, 0 };

	for (size_t i = 0; i < len; i += 8)
		memcpy(data + i, &(uint64_t){ draw_bits(&draw) | 1 }, 8);
}

static void writes_keep_what_they_brought_and_zeroes_take_no_room(void **state)
{
	static unsigned char data[4096], zeroes[4096];
	struct setup setup;
	struct record_reader *reader;
	unsigned char *bytes;
	struct record record;
	struct io io;

	(void)state;
	open_setup_with(&setup, &with_data);
	fill(data, sizeof(data), 1);
	io = write_io(8, 4096, data);
	submit_one(&setup, &io);
	/* The caller's buffer is the caller's again. */
	memset(data, 0xee, sizeof(data));
	io = write_io(16, 4096, zeroes);
	submit_one(&setup, &io);
	io = make_io(IO_READ, 8, 512, data);
	submit_one(&setup, &io);
	close_setup(&setup, NULL);
	fill(data, sizeof(data), 1);
	reader = open_file(&setup, &bytes);
	must_read(reader, RECORD_REQUEST, &record);
	assert_memory_equal(record.data, data, 4096);
	must_read(reader, RECORD_REQUEST, &record);
	assert_null(record.data);
	assert_false(record.no_data);
	must_read(reader, RECORD_REQUEST, &record);
	assert_true(record.op == IO_READ && !record.data);
	must_read(reader, RECORD_CLOSE, &record);
	record_reader_free(reader);
	free(bytes);
}

/* Reaches into the data itself, as a disk does whose data the kernel keeps. */
static int get_far(struct io *io, size_t offset, void *to, size_t len)
{
	unsigned char data[4096];

	if (io->sector == 24)
		return -EFAULT;
	fill(data, sizeof(data), io->sector);
	memcpy(to, data + offset, len);
	return 0;
}

static const struct io_data_ops far_ops = { .get = get_far };

/* So many that they lie across the end of the ring, too. */
static void data_without_a_pointer_is_fetched_and_what_fails_is_said(void **state)
{
	struct record_reader *reader;
	unsigned char *bytes, data[4096];
	struct record record;
	struct setup setup;
	size_t nr = 0;
	struct io io;

	(void)state;
	open_setup_with(&setup, &with_data);
	for (uint64_t i = 0; i < 200; i++) {
		io = write_io(i % 8 * 8, 4096, NULL);
		io.data_ops = &far_ops;
		submit_one(&setup, &io);
		assert_true(io.sector == 24 ? io.result < 0 : io.result == 4096);
	}
	close_setup(&setup, NULL);
	reader = open_file(&setup, &bytes);
	for (; record_reader_next(reader, &record) == 1 && record.type == RECORD_REQUEST; nr++) {
		assert_int_equal(record.no_data, record.sector == 24);
		fill(data, sizeof(data), record.sector);
		if (!record.no_data)
			assert_memory_equal(record.data, data, 4096);
	}
	assert_int_equal(nr, 200);
	assert_int_equal(record_reader_end(reader, NULL), 0);
	record_reader_free(reader);
	free(bytes);
}

static void a_write_that_was_torn_is_kept_whole_with_the_rule_that_tore_it(void **state)
{
	unsigned char data[4096], *bytes;
	struct record_reader *reader;
	struct record record;
	struct setup setup;
	struct io io = write_io(0, 4096, data);

	(void)state;
	open_setup_with(&setup, &with_data);
	fill(data, sizeof(data), 2);
	publish(&setup, "tear op=write do=torn:keep=1s");
	pipeline_adopt(setup.disk.pipeline, 0);
	submit_one(&setup, &io);
	close_setup(&setup, NULL);
	reader = open_file(&setup, &bytes);
	must_read(reader, RECORD_RULES, &record);
	must_read(reader, RECORD_ADOPT, &record);
	must_read(reader, RECORD_REQUEST, &record);
	assert_int_equal(record.nr_hits, 1);
	assert_int_equal(record.hits[0].rule, 1);
	assert_memory_equal(record.data, data, 4096);
	record_reader_free(reader);
	free(bytes);
}

/* The largest request there is, through a ring of the default size for it. */
static void a_write_of_32_mib_lies_in_one_piece(void **state)
{
	const uint32_t len = 32u << 20;
	struct record_disk large = the_disk;
	unsigned char *data = malloc(len), *bytes;
	struct recorder_disk *recorded = NULL;
	struct record_reader *reader;
	struct record record;
	struct setup setup;
	struct diag diag = { 0 };
	struct io io;

	(void)state;
	open_setup_with(&setup, &with_data);
	recorder_close(setup.recorder, NULL);
	unlink(setup.path);
	setup.options.ring_bytes = 0;
	large.size_bytes = 2ull * len;
	large.max_io_bytes = len;
	assert_int_equal(recorder_ring_bytes(true, len), 2 * len);
	assert_int_equal(recorder_create(&setup.options, &diag, &setup.recorder), 0);
	assert_int_equal(recorder_add_disk(setup.recorder, &large, &diag, &recorded), 0);
	fill(data, len, 3);
	for (int i = 0; i < 3; i++) {
		io = write_io(0, len, data);
		io.result = (int)len;
		recorder_arrive(recorded, &io);
		recorder_walked(recorded, &io, 1, false);
	}
	free_disk(&setup.disk);
	recorder_close(setup.recorder, NULL);
	reader = open_file(&setup, &bytes);
	for (int i = 0; i < 3; i++) {
		must_read(reader, RECORD_REQUEST, &record);
		assert_memory_equal(record.data, data, len);
	}
	must_read(reader, RECORD_CLOSE, &record);
	record_reader_free(reader);
	free(bytes);
	free(data);
}

/* ------------------------------------------------------------------------------ completions */

static void a_batch_tells_what_the_host_may_know(void **state)
{
	static const enum record_type expected[] = {
		RECORD_REQUEST, /* a write, */
		RECORD_REQUEST, /* in the same batch a flush: not after its completion */
		RECORD_BATCH,
		RECORD_MARK,
		RECORD_REQUEST, /* a read, and no batch */
		RECORD_RULES,  RECORD_ADOPT,
		RECORD_REQUEST, /* parked, and no batch */
		RECORD_END,     /* released */
		RECORD_BATCH,  RECORD_CLOSE,
	};
	unsigned char data[512] = { 1 }, *bytes;
	struct record_reader *reader;
	struct record record;
	struct setup setup;
	uint64_t mark, step;
	struct io io = write_io(0, 512, data);

	(void)state;
	open_setup_with(&setup, &with_data);
	submit_one(&setup, &io);
	io = make_io(IO_FLUSH, 0, 0, NULL);
	submit_one(&setup, &io);
	pipeline_batch_done(setup.disk.pipeline, 0);
	pipeline_batch_done(setup.disk.pipeline, 0);
	pipeline_batch_done(setup.disk.pipeline, 1);
	assert_int_equal(recorder_mark(setup.recorder, 5, "one", 3, NULL, &mark, &step), 0);
	assert_true(mark == 1 && step == 4);
	io = make_io(IO_READ, 0, 512, data);
	submit_one(&setup, &io);
	pipeline_batch_done(setup.disk.pipeline, 0);
	publish(&setup, "stop op=write do=hang");
	pipeline_adopt(setup.disk.pipeline, 0);
	io = write_io(0, 512, data);
	assert_int_equal(pipeline_submit(setup.disk.pipeline, &io, 1000), IO_PARKED);
	pipeline_batch_done(setup.disk.pipeline, 0);
	pipeline_release(setup.disk.pipeline, NULL, 0, 1);
	pipeline_resume(setup.disk.pipeline, &io, 2000);
	pipeline_batch_done(setup.disk.pipeline, 0);
	close_setup(&setup, NULL);
	reader = open_file(&setup, &bytes);
	for (size_t i = 0; i < array_size(expected); i++)
		must_read(reader, expected[i], &record);
	assert_int_equal(record_reader_end(reader, NULL), 0);
	record_reader_free(reader);
	free(bytes);
}

static void without_data_there_are_no_batches(void **state)
{
	unsigned char data[512] = { 1 };
	struct setup setup;
	struct counts counts;
	struct io io = write_io(0, 512, data);

	(void)state;
	open_setup(&setup);
	submit_one(&setup, &io);
	pipeline_batch_done(setup.disk.pipeline, 0);
	close_setup(&setup, NULL);
	counts = count_records(&setup);
	assert_true(counts.requests == 1 && counts.batches == 0 && counts.written_bytes == 0);
}

/* What a marker has seen of the queues: how many requests of each were known to be over. */
struct seen {
	uint64_t step;
	unsigned int known[QUEUES];
};

static struct {
	_Atomic unsigned int known[QUEUES];
	_Atomic bool over;
	struct seen seen[2000];
	unsigned int nr_seen;
} race;

static void *run_known(void *arg)
{
	struct queue_thread *self = arg;
	unsigned char data[512];

	fill(data, sizeof(data), 1);
	for (unsigned int i = 0; i < self->setup->nr_requests; i++) {
		struct io io = write_io(self->queue * 8u, 512, data);

		io.queue = self->queue;
		submit_one(self->setup, &io);
		pipeline_batch_done(self->setup->disk.pipeline, self->queue);
		/* What the kernel does: only now can anybody know. */
		atomic_store_explicit(&race.known[self->queue], i + 1, memory_order_release);
	}
	return NULL;
}

static void *run_marker(void *arg)
{
	struct setup *setup = arg;
	uint64_t mark;

	while (!atomic_load(&race.over) && race.nr_seen < array_size(race.seen)) {
		struct seen *seen = &race.seen[race.nr_seen++];

		for (int i = 0; i < QUEUES; i++)
			seen->known[i] = atomic_load_explicit(&race.known[i], memory_order_acquire);
		if (recorder_mark(setup->recorder, 1, "m", 1, NULL, &mark, &seen->step))
			abort();
	}
	return NULL;
}

/* Every request that a marker knew to be over has its BATCH before the mark. */
static void check_marks(struct record_reader *reader)
{
	unsigned int requests[QUEUES] = { 0 }, over[QUEUES] = { 0 }, nr_marks = 0;
	struct record record;

	while (record_reader_next(reader, &record) == 1) {
		if (record.type == RECORD_REQUEST)
			requests[record.queue]++;
		if (record.type == RECORD_BATCH)
			over[record.queue] = requests[record.queue];
		if (record.type != RECORD_MARK)
			continue;
		assert_int_equal(record.step, race.seen[nr_marks].step);
		for (int i = 0; i < QUEUES; i++)
			assert_true(race.seen[nr_marks].known[i] <= over[i]);
		nr_marks++;
	}
	assert_int_equal(nr_marks, race.nr_seen);
	assert_int_equal(record_reader_end(reader, NULL), 0);
}

static void a_mark_is_behind_whatever_its_maker_has_seen_of_any_queue(void **state)
{
	struct queue_thread threads[QUEUES];
	struct record_reader *reader;
	unsigned char *bytes;
	struct setup setup;
	pthread_t marker;

	(void)state;
	open_setup_with(&setup, &with_data);
	assert_int_equal(pthread_create(&marker, NULL, run_marker, &setup), 0);
	for (uint16_t i = 0; i < QUEUES; i++) {
		threads[i] = (struct queue_thread){ .setup = &setup, .queue = i };
		assert_int_equal(pthread_create(&threads[i].thread, NULL, run_known, &threads[i]),
				 0);
	}
	for (uint16_t i = 0; i < QUEUES; i++)
		pthread_join(threads[i].thread, NULL);
	atomic_store(&race.over, true);
	pthread_join(marker, NULL);
	close_setup(&setup, NULL);
	reader = open_file(&setup, &bytes);
	check_marks(reader);
	record_reader_free(reader);
	free(bytes);
}

static void a_mark_that_is_none_is_refused_and_after_the_end_there_are_none(void **state)
{
	struct diag diag = { 0 };
	uint64_t mark, step;
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup(&setup);
	assert_int_equal(recorder_mark(setup.recorder, 1, "a\nb", 3, &diag, &mark, &step), -EINVAL);
	assert_int_equal(recorder_mark(setup.recorder, 1, "ab", 2, &diag, &mark, &step), 0);
	recorder_stop(setup.recorder);
	assert_int_equal(recorder_mark(setup.recorder, 1, "c", 1, &diag, &mark, &step), -ENODATA);
	assert_non_null(strstr(diag.message, "it was stopped"));
	close_setup(&setup, NULL);
	assert_int_equal(setup.nr_ended, 1);
	counts = count_records(&setup);
	assert_true(counts.end == 0 && counts.marks == 1 && counts.why == RECORD_WHY_STOPPED);
}

/* ------------------------------------------------------------------------------ content */

static void content_from_before_is_kept_in_pieces_and_zeroes_are_not(void **state)
{
	const size_t len = 3u << 20;
	unsigned char *content = calloc(1, len), *bytes, *back = calloc(1, len);
	struct record_reader *reader;
	struct record record;
	struct setup setup;
	unsigned int nr = 0;

	(void)state;
	open_setup_with(&setup, &with_data);
	recorder_close(setup.recorder, NULL);
	unlink(setup.path);
	free_disk(&setup.disk);
	assert_int_equal(recorder_create(&setup.options, NULL, &setup.recorder), 0);
	{
		struct record_disk disk = the_disk;

		disk.size_bytes = len;
		assert_int_equal(recorder_add_disk(setup.recorder, &disk, NULL, &setup.recorded),
				 0);
	}
	fill(content, 1 << 20, 1);
	content[len - 1] = 7;
	assert_int_equal(recorder_base(setup.recorded, 0, content, len), 0);
	recorder_close(setup.recorder, NULL);
	reader = open_file(&setup, &bytes);
	for (; record_reader_next(reader, &record) == 1 && record.type == RECORD_BASE; nr++)
		memcpy(back + record.from, record.data, record.len_bytes);
	assert_int_equal(nr, 2);
	assert_memory_equal(content, back, len);
	assert_int_equal(record_reader_end(reader, NULL), 0);
	record_reader_free(reader);
	free(bytes);
	free(content);
	free(back);
}

/* ------------------------------------------------------------------------------ limits */

static void wait_state(struct setup *setup, enum recorder_state state)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct recorder_status status;

	for (int i = 0; i < 20000; i++) {
		recorder_status(setup->recorder, &status);
		if (status.state == state)
			return;
		nanosleep(&pause, NULL);
	}
	fail_msg("the recorder is in state %d, not %d", status.state, state);
}

static void at_its_limit_a_recording_ends_in_order_and_the_disk_serves_on(void **state)
{
	const struct recorder_options limited = { .data = true, .limit_bytes = 1 << 20 };
	struct recorder_status status;
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup_with(&setup, &limited);
	run_queues(&setup, NULL);
	wait_state(&setup, RECORDER_ENDED);
	recorder_status(setup.recorder, &status);
	assert_int_equal(status.why, RECORD_WHY_LIMIT);
	assert_int_equal(status.limit_bytes, 1 << 20);
	run_queues(&setup, NULL);
	close_setup(&setup, &status);
	assert_int_equal(status.error, 0);
	assert_true(status.file_bytes >= 1 << 20);
	/* At most what was in the rings. */
	assert_true(status.file_bytes < (1 << 20) + (QUEUES + 1) * RING + 4096);
	assert_int_equal(setup.nr_ended, 1);
	assert_non_null(strstr(setup.message, "it has reached its limit"));
	counts = count_records(&setup);
	assert_int_equal(counts.end, 0);
	assert_int_equal(counts.why, RECORD_WHY_LIMIT);
	assert_true(counts.requests && counts.requests < QUEUES * setup.nr_requests);
}

static const struct recorder_options blocking = { .data = true,
						  .limit_bytes = 256 << 10,
						  .full = RECORDER_BLOCK };

static void raise_when_full(struct setup *setup)
{
	eventfd_t events;

	wait_state(setup, RECORDER_FULL);
	assert_int_equal(eventfd_read(recorder_event_fd(setup->recorder), &events), 0);
	recorder_set_limit(setup->recorder, 512 << 10);
	wait_state(setup, RECORDER_FULL);
	recorder_set_limit(setup->recorder, 0);
}

static void queues_wait_at_the_limit_until_it_is_raised(void **state)
{
	struct recorder_status status;
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup_with(&setup, &blocking);
	run_queues(&setup, raise_when_full);
	close_setup(&setup, &status);
	assert_true(status.nr_waits > 0);
	counts = count_records(&setup);
	assert_int_equal(counts.end, 0);
	assert_int_equal(counts.why, RECORD_WHY_DONE);
	assert_int_equal(counts.requests, QUEUES * setup.nr_requests);
}

static void stop_when_full(struct setup *setup)
{
	uint64_t mark, step;

	wait_state(setup, RECORDER_FULL);
	/* The control thread is not held up, and may say something. */
	assert_int_equal(recorder_mark(setup->recorder, 1, "m", 1, NULL, &mark, &step), 0);
	recorder_stop(setup->recorder);
}

static void stopping_a_full_recording_lets_the_queues_go_on(void **state)
{
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup_with(&setup, &blocking);
	run_queues(&setup, stop_when_full);
	close_setup(&setup, NULL);
	counts = count_records(&setup);
	assert_int_equal(counts.end, 0);
	assert_true(counts.why == RECORD_WHY_STOPPED && counts.marks == 1);
	assert_true(counts.requests < QUEUES * setup.nr_requests);
}

static void hasten_when_full(struct setup *setup)
{
	wait_state(setup, RECORDER_FULL);
	recorder_let_wait(setup->recorder, false);
}

static void whoever_waits_for_the_queues_can_have_them_go_on(void **state)
{
	struct setup setup;
	struct counts counts;

	(void)state;
	open_setup_with(&setup, &blocking);
	run_queues(&setup, hasten_when_full);
	close_setup(&setup, NULL);
	counts = count_records(&setup);
	assert_true(counts.end == 0 && counts.why == RECORD_WHY_DONE);
	assert_int_equal(counts.requests, QUEUES * setup.nr_requests);
}

/* ------------------------------------------------------------------------------ processes */

#define SHARERS  3
#define REQUESTS 400

/* A process of its own: a disk that joins, writes, marks, and may be killed in between. */
static _Noreturn void run_sharer(const struct setup *setup, unsigned int index, bool die)
{
	const struct recorder_options options = { .ring_bytes = RING };
	struct record_disk disk = the_disk;
	struct recorder_disk *recorded = NULL;
	struct recorder *recorder = NULL;
	unsigned char data[512];
	uint64_t mark, step;
	int fds[2];

	recorder_fds(setup->recorder, fds);
	snprintf(disk.name, sizeof(disk.name), "disk-%u", index);
	fill(data, sizeof(data), 1);
	if (recorder_join(fds, &options, NULL, &recorder) ||
	    recorder_add_disk(recorder, &disk, NULL, &recorded))
		_exit(1);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		struct io io = write_io(index, 512, data);

		io.result = 512;
		recorder_arrive(recorded, &io);
		if (die && i == REQUESTS / 2)
			raise(SIGKILL);
		recorder_walked(recorded, &io, 1, false);
		recorder_batch_done(recorded, 0);
		if (i % 100 == 0 && recorder_mark(recorder, 1, "m", 1, NULL, &mark, &step))
			_exit(2);
	}
	recorder_close(recorder, NULL);
	_exit(0);
}

/* The disk of @setup stays in it, unused. */
static void share(struct setup *setup, int victim)
{
	pid_t pids[SHARERS];

	free_disk(&setup->disk);
	setup->recorder = recorder_close(setup->recorder, NULL);
	unlink(setup->path);
	assert_int_equal(recorder_create(&setup->options, NULL, &setup->recorder), 0);
	for (int i = 0; i < SHARERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			run_sharer(setup, (unsigned int)i, i == victim);
	}
	for (int i = 0; i < SHARERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, i == victim ? SIGKILL : 0);
	}
	setup->recorder = recorder_close(setup->recorder, NULL);
}

static void several_processes_share_one_recording_with_one_order(void **state)
{
	unsigned int requests[SHARERS] = { 0 }, nr_marks = 0;
	struct record_reader *reader;
	struct record record = { 0 };
	unsigned char *bytes;
	struct setup setup;

	(void)state;
	open_setup_with(&setup, &with_data);
	share(&setup, -1);
	reader = open_file(&setup, &bytes);
	assert_int_equal(record_reader_nr_disks(reader), SHARERS);
	while (record_reader_next(reader, &record) == 1) {
		if (record.type == RECORD_REQUEST)
			requests[record.disk]++;
		nr_marks += record.type == RECORD_MARK;
		if (record.type == RECORD_MARK)
			assert_int_equal(record.mark, nr_marks);
	}
	assert_int_equal(record_reader_end(reader, NULL), 0);
	assert_int_equal(record.nr_requests, SHARERS * REQUESTS);
	for (int i = 0; i < SHARERS; i++)
		assert_int_equal(requests[i], REQUESTS);
	assert_int_equal(nr_marks, SHARERS * REQUESTS / 100);
	record_reader_free(reader);
	free(bytes);
}

static void when_one_of_them_is_killed_the_rest_is_good_up_to_there(void **state)
{
	struct record_reader *reader;
	struct record record;
	unsigned char *bytes;
	struct setup setup;

	(void)state;
	open_setup_with(&setup, &with_data);
	share(&setup, 1);
	reader = open_file(&setup, &bytes);
	while (record_reader_next(reader, &record) == 1)
		assert_int_not_equal(record.type, RECORD_CLOSE);
	assert_int_equal(record_reader_end(reader, NULL), -ENODATA);
	record_reader_free(reader);
	free(bytes);
}

static void descriptors_that_are_not_a_recording_are_refused(void **state)
{
	const struct recorder_options options = { 0 };
	struct recorder *recorder = NULL;
	struct diag diag = { 0 };
	int fds[2] = { dup(1), dup(1) };

	(void)state;
	assert_int_equal(recorder_join(fds, &options, &diag, &recorder), -EINVAL);
	assert_string_equal(diag.id, "record.join");
	assert_null(recorder);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_queues_and_the_control_thread_lose_nothing),
		cmocka_unit_test(a_full_ring_makes_the_queue_wait_and_is_counted),
		cmocka_unit_test(a_file_that_cannot_grow_ends_the_recording_and_nothing_else),
		cmocka_unit_test(a_file_that_exists_is_left_alone),
		cmocka_unit_test(writes_keep_what_they_brought_and_zeroes_take_no_room),
		cmocka_unit_test(data_without_a_pointer_is_fetched_and_what_fails_is_said),
		cmocka_unit_test(a_write_that_was_torn_is_kept_whole_with_the_rule_that_tore_it),
		cmocka_unit_test(a_write_of_32_mib_lies_in_one_piece),
		cmocka_unit_test(a_batch_tells_what_the_host_may_know),
		cmocka_unit_test(without_data_there_are_no_batches),
		cmocka_unit_test(a_mark_is_behind_whatever_its_maker_has_seen_of_any_queue),
		cmocka_unit_test(a_mark_that_is_none_is_refused_and_after_the_end_there_are_none),
		cmocka_unit_test(content_from_before_is_kept_in_pieces_and_zeroes_are_not),
		cmocka_unit_test(at_its_limit_a_recording_ends_in_order_and_the_disk_serves_on),
		cmocka_unit_test(queues_wait_at_the_limit_until_it_is_raised),
		cmocka_unit_test(stopping_a_full_recording_lets_the_queues_go_on),
		cmocka_unit_test(whoever_waits_for_the_queues_can_have_them_go_on),
		cmocka_unit_test(several_processes_share_one_recording_with_one_order),
		cmocka_unit_test(when_one_of_them_is_killed_the_rest_is_good_up_to_there),
		cmocka_unit_test(descriptors_that_are_not_a_recording_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
