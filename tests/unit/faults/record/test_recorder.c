// SPDX-License-Identifier: MIT
/* tsan */
/* Queues that run at once, one writer, and a control thread; nothing is lost, or it is said. */
#include "tests/unit/recorder_setup.h"

#include <sys/resource.h>

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
		recorder_walked(recorded, &io, 1, RECORDER_DONE);
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
		RECORD_BATCH,   RECORD_MARK,  RECORD_REQUEST, /* a read, and no batch */
		RECORD_RULES,   RECORD_ADOPT, RECORD_REQUEST, /* parked, and no batch */
		RECORD_END,                                   /* released */
		RECORD_BATCH,   RECORD_CLOSE,
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
		cmocka_unit_test(content_from_before_is_kept_in_pieces_and_zeroes_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
