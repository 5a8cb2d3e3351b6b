// SPDX-License-Identifier: MIT
/* tsan */
/* How a recording ends: by its limit, by command, with its processes; and who may still say what.
 */
#include "faults/journal/read.h"
#include "tests/unit/recorder_setup.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

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

/* ------------------------------------------------------------------------------ limits */

static void wait_state(struct setup *setup, enum recorder_state state)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct recorder_status status;

	for (uint64_t end_ns = clock_now_ns() + PATIENCE_NS; clock_now_ns() < end_ns;) {
		recorder_status(setup->recorder, &status);
		if (status.state == state)
			return;
		nanosleep(&pause, NULL);
	}
	fail_msg("the recorder is in state %d, not %d", status.state, state);
}

/* Locked for everybody else as long as something may follow. */
static void it_is_locked_until_it_has_ended(void **state)
{
	struct setup setup;
	int fd;

	(void)state;
	open_setup(&setup);
	fd = open(setup.path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(journal_is_under_way(fd));
	recorder_stop(setup.recorder);
	wait_state(&setup, RECORDER_ENDED);
	for (uint64_t end_ns = clock_now_ns() + PATIENCE_NS;
	     journal_is_under_way(fd) && clock_now_ns() < end_ns;)
		usleep(1000);
	assert_false(journal_is_under_way(fd));
	close_setup(&setup, NULL);
	close(fd);
	unlink(setup.path);
	rmdir(setup.dir);
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
		recorder_walked(recorded, &io, 1, RECORDER_DONE);
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
	struct recorder_status status;
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
		int code;

		assert_int_equal(waitpid(pids[i], &code, 0), pids[i]);
		assert_int_equal(code, i == victim ? SIGKILL : 0);
	}
	setup->recorder = recorder_close(setup->recorder, &status);
	assert_int_equal(status.closed, victim < 0);
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
		cmocka_unit_test(a_mark_that_is_none_is_refused_and_after_the_end_there_are_none),
		cmocka_unit_test(it_is_locked_until_it_has_ended),
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
