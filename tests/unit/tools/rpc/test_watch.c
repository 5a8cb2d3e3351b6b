// SPDX-License-Identifier: MIT
/*
 * Events on their way to those who subscribed: server, watch and pipeline on one thread, so that
 * each wake and each turn is seen.
 */
#include "tests/unit/check.h"

#include "base/clock.h"
#include "tools/rpc/event_line.h"
#include "tools/rpc/line.h"
#include "tools/rpc/methods.h"
#include "tools/rpc/runtime.h"
#include "tools/rpc/server.h"
#include "tools/rpc/watch.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEARD_MAX (8u << 20)

static struct {
	struct store *store;
	struct pipeline *pipeline;
	struct rpc_server *server;
	struct rpc_target target;
	unsigned int nr_wakes, nr_trees;
	char folder[32], path[64];
} here;

struct listener {
	int fd;
	char *heard;
	size_t len;
};

static void count_wake(void *ctx)
{
	(void)ctx;
	here.nr_wakes++;
}

static void *count_tree(size_t size)
{
	here.nr_trees++;
	return malloc(size);
}

static void put_rules(const char *lines)
{
	struct rule_set *set = must_set(lines);

	assert_int_equal(pipeline_publish(here.pipeline, set, 0, NULL, NULL), 0);
	pipeline_adopt(here.pipeline, 0);
	rule_set_free(set);
}

static int set_up(void **state)
{
	const struct pipeline_options pipeline = {
		.geometry = { .size_bytes = 1 << 20, .block_bytes = 512, .nr_queues = 1 },
		.seed = 1,
		.wake = count_wake,
	};
	struct rpc_server_options options = { .service = &rpc_methods_service,
					      .target = &here.target };

	(void)state;
	strcpy(here.folder, "/tmp/faultblk-watch-XXXXXX");
	if (!mkdtemp(here.folder) || store_create(1 << 20, NULL, &here.store) ||
	    pipeline_create(here.store, &pipeline, &here.pipeline))
		return -1;
	here.target = (struct rpc_target){ .geometry = pipeline.geometry,
					   .name = "watched",
					   .pipeline = here.pipeline };
	snprintf(here.path, sizeof(here.path), "%s/s.sock", here.folder);
	if (watch_create(here.pipeline, &here.target.watch) ||
	    runtime_listen(here.path, NULL, &options.listen_fd) ||
	    rpc_server_new(&options, &here.server))
		return -1;
	put_rules("a op=read do=count\nb op=write do=count");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rpc_server_free(here.server);
	watch_free(here.target.watch);
	pipeline_free(here.pipeline);
	store_free(here.store);
	unlink(here.path);
	return rmdir(here.folder);
}

static void submit(enum io_op op, unsigned int nr)
{
	static unsigned char data[512];

	for (unsigned int i = 0; i < nr; i++) {
		struct io io = { .op = op, .sector = i % 1024, .len_bytes = 512, .data = data };

		assert_int_equal(pipeline_submit(here.pipeline, &io, 0), IO_DONE);
	}
}

/* Whatever is there by now. */
static void hear(struct listener *listener)
{
	ssize_t n;

	while ((n = recv(listener->fd, listener->heard + listener->len, HEARD_MAX - listener->len,
			 MSG_DONTWAIT)) > 0)
		listener->len += (size_t)n;
	listener->heard[listener->len] = '\0';
}

static unsigned int count_words(const struct listener *listener, const char *words)
{
	unsigned int nr = 0;

	for (const char *at = listener->heard; (at = strstr(at, words)); at++)
		nr++;
	return nr;
}

/* One turn of the control thread, that waits as long as it would. */
static void turn(void)
{
	assert_int_equal(rpc_server_turn(here.server, NULL, 0, 0), 0);
	watch_turn(here.target.watch, here.server);
}

static void turn_until(struct listener *listener, const char *words, unsigned int nr)
{
	do {
		turn();
		hear(listener);
	} while (count_words(listener, words) < nr);
}

static struct listener listen_to(const char *params)
{
	struct listener listener = { .heard = malloc(HEARD_MAX + 1) };
	char line[256];
	int len = snprintf(line, sizeof(line),
			   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events.subscribe\","
			   "\"params\":%s}\n",
			   params);

	assert_non_null(listener.heard);
	assert_int_equal(runtime_connect(here.path, NULL, &listener.fd), 0);
	assert_int_equal(send(listener.fd, line, (size_t)len, 0), len);
	turn_until(&listener, "\"id\":1", 1);
	listener.len = 0;
	return listener;
}

static void leave(struct listener *listener)
{
	close(listener->fd);
	free(listener->heard);
}

/* Until the next hit is awaited again. */
static void settle_rest(void)
{
	while (watch_timeout_ms(here.target.watch) >= 0)
		turn();
}

static void settle(struct listener *listener)
{
	settle_rest();
	hear(listener);
	listener->len = 0;
	listener->heard[0] = '\0';
}

/* The numbers of the events, each once and in order. */
static void check_numbers(const struct listener *listener, uint64_t first, unsigned int nr)
{
	const char *at = listener->heard, *end;

	for (unsigned int i = 0; i < nr; i++, at = end + 1) {
		struct event_words words;

		end = strchr(at, '\n');
		assert_non_null(end);
		if (!event_line_get(at, (size_t)(end - at), &words))
			fail_msg("no event: %.*s", (int)(end - at), at);
		assert_int_equal(words.seq, first + i);
	}
	assert_string_equal(at, "");
}

#define BURST 300

static void a_burst_wakes_once_and_is_delivered_whole(void **state)
{
	struct listener listener = listen_to("{}");

	(void)state;
	settle(&listener);
	here.nr_wakes = 0;
	submit(IO_READ, 1);
	assert_int_equal(here.nr_wakes, 1);
	/* The first is not kept waiting. */
	turn();
	hear(&listener);
	check_numbers(&listener, 1, 1);
	/* From here on nobody looks until the rest is over, however many there are. */
	submit(IO_READ, BURST);
	assert_int_equal(here.nr_wakes, 1);
	assert_in_range(watch_timeout_ms(here.target.watch), 0, WATCH_REST_MS + 1);
	turn_until(&listener, "\"event\"", 1 + BURST);
	check_numbers(&listener, 1, 1 + BURST);
	settle(&listener);
	submit(IO_READ, 1);
	assert_int_equal(here.nr_wakes, 2);
	turn_until(&listener, "\"event\"", 1);
	leave(&listener);
}

static void an_event_is_formatted_once_and_without_a_tree(void **state)
{
	struct listener a = listen_to("{}"), b = listen_to("{}"), c = listen_to("{\"rule\":\"b\"}");

	(void)state;
	settle(&a);
	settle(&b);
	settle(&c);
	submit(IO_READ, BURST);
	submit(IO_WRITE, BURST);
	json_set_alloc_funcs(count_tree, free);
	here.nr_trees = 0;
	turn_until(&a, "\"event\"", 2 * BURST);
	turn_until(&b, "\"event\"", 2 * BURST);
	turn_until(&c, "\"event\"", BURST);
	json_set_alloc_funcs(malloc, free);
	assert_int_equal(here.nr_trees, 0);
	check_numbers(&a, 1, 2 * BURST);
	assert_int_equal(b.len, a.len);
	assert_memory_equal(b.heard, a.heard, a.len);
	check_numbers(&c, BURST + 1, BURST);
	leave(&a);
	leave(&b);
	leave(&c);
}

/* The second one subscribes while the first one's events wait for the end of the rest. */
static void a_subscriber_hears_only_of_what_comes_after_its_answer(void **state)
{
	struct listener a = listen_to("{}"), b;

	(void)state;
	settle(&a);
	submit(IO_READ, 1);
	turn();
	submit(IO_READ, 10);
	b = listen_to("{}");
	submit(IO_READ, 5);
	turn_until(&a, "\"event\"", 16);
	turn_until(&b, "\"event\"", 5);
	check_numbers(&a, 1, 16);
	hear(&b);
	check_numbers(&b, 12, 5);
	leave(&a);
	leave(&b);
}

static void the_last_events_are_delivered_without_a_rest(void **state)
{
	struct listener a = listen_to("{}");

	(void)state;
	settle(&a);
	submit(IO_READ, 1);
	turn();
	submit(IO_READ, BURST);
	watch_finish(here.target.watch, here.server);
	rpc_server_flush(here.server, 1000);
	hear(&a);
	check_numbers(&a, 1, 1 + BURST);
	leave(&a);
}

/* Each number is heard, or counted as lost where it would have been. */
static void what_a_slow_listener_loses_is_counted_where_it_is_missing(void **state)
{
	struct listener a = listen_to("{}");
	uint64_t next = 1, nr_lost = 0;
	const char *at, *end, *lost;

	(void)state;
	settle(&a);
	for (unsigned int i = 0; i < 20; i++) {
		submit(IO_READ, 1000);
		watch_finish(here.target.watch, here.server);
	}
	/* It reads on, hears what it has lost, and then of the next one. */
	turn_until(&a, "\"events.lost\"", 1);
	settle_rest();
	submit(IO_READ, 1);
	turn_until(&a, "\"seq\":20001,", 1);
	for (at = a.heard; (end = strchr(at, '\n')); at = end + 1) {
		struct event_words words;

		if (event_line_get(at, (size_t)(end - at), &words)) {
			assert_int_equal(words.seq, next);
			next++;
			continue;
		}
		lost = strstr(at, "\"count\":");
		assert_true(lost && lost < end);
		nr_lost += strtoull(lost + 8, NULL, 10);
		next += strtoull(lost + 8, NULL, 10);
	}
	assert_int_equal(next, 20002);
	assert_true(nr_lost > 0);
	leave(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_burst_wakes_once_and_is_delivered_whole, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_event_is_formatted_once_and_without_a_tree,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_subscriber_hears_only_of_what_comes_after_its_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_last_events_are_delivered_without_a_rest,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_a_slow_listener_loses_is_counted_where_it_is_missing, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
