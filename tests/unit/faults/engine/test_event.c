// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "faults/engine/event.h"

#include <pthread.h>

static uint64_t add(struct event_log *log, uint16_t queue, uint64_t match)
{
	struct event event = { .queue = queue, .match = match, .rule = "r" };

	return event_log_add(log, &event);
}

static struct event_log *make_log(uint16_t nr_queues)
{
	struct event_log *log;

	assert_int_equal(event_log_create(nr_queues, &log), 0);
	return log;
}

static struct event_reader *make_reader(struct event_log *log, uint64_t after)
{
	struct event_reader *reader;

	assert_int_equal(event_reader_create(log, after, &reader), 0);
	return reader;
}

static void events_of_all_queues_come_in_the_order_of_their_numbers(void **state)
{
	struct event_log *log = make_log(3);
	struct event_reader *reader = make_reader(log, 0);
	struct event event;
	uint64_t lost = 0;

	(void)state;
	assert_int_equal(event_log_newest(log), 0);
	assert_false(event_reader_next(reader, &event, &lost));
	for (uint64_t i = 0; i < 300; i++)
		assert_int_equal(add(log, (uint16_t)(i * i % 3), i), i + 1);
	for (uint64_t i = 0; i < 300; i++) {
		assert_true(event_reader_next(reader, &event, &lost));
		assert_int_equal(event.seq, i + 1);
		assert_int_equal(event.match, i);
		assert_int_equal(event.queue, i * i % 3);
		assert_string_equal(event.rule, "r");
	}
	assert_false(event_reader_next(reader, &event, &lost));
	assert_int_equal(lost, 0);
	event_reader_free(reader);
	event_log_free(log);
}

static void what_was_overwritten_is_counted_as_lost(void **state)
{
	struct event_log *log = make_log(2);
	struct event_reader *reader = make_reader(log, 0);
	struct event event;
	uint64_t lost = 0, nr = 0;

	(void)state;
	for (uint64_t i = 0; i < EVENT_RING + 100; i++)
		add(log, 0, i);
	add(log, 1, 7);
	while (event_reader_next(reader, &event, &lost))
		nr++;
	assert_int_equal(nr, EVENT_RING + 1);
	assert_int_equal(lost, 100);
	assert_int_equal(nr + lost, event_log_newest(log));
	assert_int_equal(event.queue, 1);
	event_reader_free(reader);
	event_log_free(log);
}

static void a_reader_begins_after_the_number_it_names(void **state)
{
	struct event_log *log = make_log(2);
	struct event_reader *reader;
	struct event event;
	uint64_t lost = 0;

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		add(log, i % 2, i);
	reader = make_reader(log, 15);
	for (uint64_t seq = 16; seq <= 20; seq++) {
		assert_true(event_reader_next(reader, &event, &lost));
		assert_int_equal(event.seq, seq);
	}
	event_reader_free(reader);
	/* Who asks for the future has lost nothing of the past, however long that was. */
	for (uint64_t i = 0; i < 3 * EVENT_RING; i++)
		add(log, i % 2, i);
	reader = make_reader(log, event_log_newest(log));
	assert_false(event_reader_next(reader, &event, &lost));
	add(log, 1, 42);
	assert_true(event_reader_next(reader, &event, &lost));
	assert_int_equal(event.match, 42);
	assert_int_equal(lost, 0);
	event_reader_free(reader);
	event_log_free(log);
}

#define NR_WRITERS 2
#define NR_EVENTS  60000

struct writer {
	struct event_log *log;
	uint16_t queue;
};

static void *write_events(void *arg)
{
	const struct writer *writer = arg;

	for (uint64_t i = 0; i < NR_EVENTS; i++)
		add(writer->log, writer->queue, i);
	return NULL;
}

/* Nothing twice, nothing torn, nothing unaccounted for, whatever the two sides do. */
static void a_reader_beside_writers_misses_only_what_it_counts(void **state)
{
	struct event_log *log = make_log(NR_WRITERS);
	struct event_reader *reader = make_reader(log, 0);
	struct writer writers[NR_WRITERS];
	pthread_t threads[NR_WRITERS];
	uint64_t lost = 0, nr = 0, last = 0, next_match[NR_WRITERS] = { 0 };
	struct event event;

	(void)state;
	for (uint16_t i = 0; i < NR_WRITERS; i++) {
		writers[i] = (struct writer){ log, i };
		assert_int_equal(pthread_create(&threads[i], NULL, write_events, &writers[i]), 0);
	}
	while (nr + lost < NR_WRITERS * NR_EVENTS) {
		if (!event_reader_next(reader, &event, &lost))
			continue;
		assert_true(event.seq > last);
		assert_true(event.queue < NR_WRITERS);
		assert_true(event.match >= next_match[event.queue]);
		assert_string_equal(event.rule, "r");
		last = event.seq;
		next_match[event.queue] = event.match + 1;
		nr++;
	}
	for (uint16_t i = 0; i < NR_WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(nr + lost, NR_WRITERS * NR_EVENTS);
	assert_false(event_reader_next(reader, &event, &lost));
	event_reader_free(reader);
	event_log_free(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_of_all_queues_come_in_the_order_of_their_numbers),
		cmocka_unit_test(what_was_overwritten_is_counted_as_lost),
		cmocka_unit_test(a_reader_begins_after_the_number_it_names),
		cmocka_unit_test(a_reader_beside_writers_misses_only_what_it_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
