// SPDX-License-Identifier: MIT
/* tsan */
/* Queues that run at once, one writer, and a control thread; nothing is lost, or it is said. */
#include "faults/recorder.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define QUEUES     2
#define DISK_BYTES (1ull << 20)
#define RING       (128u << 10)

struct setup {
	char dir[32], path[48];
	struct recorder *recorder;
	struct disk disk;
	unsigned int nr_requests; /* of each queue */
	_Atomic unsigned int nr_failed;
	char message[512];
	_Atomic bool stop;
};

struct queue_thread {
	struct setup *setup;
	uint16_t queue;
	pthread_t thread;
};

static const struct record_header header = {
	.size_bytes = DISK_BYTES,
	.block_bytes = 512,
	.physical_bytes = 512,
	.max_io_bytes = 4096,
	.depth = 8,
	.nr_queues = QUEUES,
};

static void failed(void *ctx, const char *message)
{
	struct setup *setup = ctx;

	snprintf(setup->message, sizeof(setup->message), "%s", message);
	atomic_fetch_add(&setup->nr_failed, 1);
}

static void open_setup(struct setup *setup)
{
	struct recorder_options options = {
		.header = header, .failed = failed, .ctx = setup, .ring_bytes = RING
	};
	struct pipeline_options pipeline = {
		.geometry = { .size_bytes = DISK_BYTES, .block_bytes = 512, .nr_queues = QUEUES },
	};
	struct diag diag = { 0 };

	*setup = (struct setup){ .nr_requests = 20000 };
	snprintf(setup->dir, sizeof(setup->dir), "/tmp/recorder-XXXXXX");
	assert_non_null(mkdtemp(setup->dir));
	snprintf(setup->path, sizeof(setup->path), "%s/rec", setup->dir);
	options.path = setup->path;
	if (recorder_create(&options, &diag, &setup->recorder) < 0)
		fail_msg("%s", diag.message);
	pipeline.recorder = setup->recorder;
	assert_int_equal(store_create(DISK_BYTES, NULL, &setup->disk.store), 0);
	assert_int_equal(pipeline_create(setup->disk.store, &pipeline, &setup->disk.pipeline), 0);
}

static void close_setup(struct setup *setup, struct recorder_status *status)
{
	free_disk(&setup->disk);
	setup->recorder = recorder_close(setup->recorder, status);
}

static void remove_file(struct setup *setup)
{
	unlink(setup->path);
	rmdir(setup->dir);
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
	unsigned char data[512] = { 0 };

	for (unsigned int i = 0; i < setup->nr_requests; i++) {
		struct io io = make_io(draw_below(&draw, 2) ? IO_READ : IO_WRITE,
				       draw_below(&draw, DISK_BYTES / 512), 512, data);

		io.queue = self->queue;
		pipeline_adopt(setup->disk.pipeline, self->queue);
		if (pipeline_submit(setup->disk.pipeline, &io, 1000 + i) == IO_PARKED)
			pipeline_resume(setup->disk.pipeline, &io, 1000 + i);
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
	uint64_t requests, ends, hits, rule_sets, adoptions;
	int end;
};

static struct counts count_records(const struct setup *setup)
{
	FILE *file = fopen(setup->path, "re");
	unsigned char *bytes;
	struct record_reader *reader;
	struct counts counts = { 0 };
	struct record record;
	struct diag diag = { 0 };
	struct stat stat;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &stat), 0);
	assert_int_equal(stat.st_mode & 0777, 0600);
	bytes = malloc((size_t)stat.st_size);
	assert_int_equal(fread(bytes, 1, (size_t)stat.st_size, file), stat.st_size);
	fclose(file);
	assert_int_equal(record_reader_open(bytes, (size_t)stat.st_size, NULL, &reader), 0);
	while (record_reader_next(reader, &record) == 1) {
		counts.requests += record.type == RECORD_REQUEST;
		counts.ends += record.type == RECORD_END;
		counts.rule_sets += record.type == RECORD_RULES;
		counts.adoptions += record.type == RECORD_ADOPT;
		counts.hits += record.nr_hits;
	}
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
	remove_file(&setup);
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
	remove_file(&setup);
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
	assert_int_equal(setup.nr_failed, 1);
	assert_non_null(strstr(setup.message, "File too large"));
	assert_non_null(strstr(setup.message, setup.path));
	counts = count_records(&setup);
	/* Cut between two blocks: early, not damaged. */
	assert_int_equal(counts.end, -ENODATA);
	assert_true(counts.requests > 0 && counts.requests < QUEUES * setup.nr_requests);
	remove_file(&setup);
}

static void a_file_that_exists_is_left_alone(void **state)
{
	struct recorder *recorder = NULL;
	struct setup setup;
	struct diag diag = { 0 };
	struct recorder_options options = { .header = header };
	struct recorder_status status;

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
	remove_file(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_queues_and_the_control_thread_lose_nothing),
		cmocka_unit_test(a_full_ring_makes_the_queue_wait_and_is_counted),
		cmocka_unit_test(a_file_that_cannot_grow_ends_the_recording_and_nothing_else),
		cmocka_unit_test(a_file_that_exists_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
