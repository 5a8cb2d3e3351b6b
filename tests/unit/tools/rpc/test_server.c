// SPDX-License-Identifier: MIT
/* tsan */
/*
 * The server runs on a thread of its own, as hostile clients on real sockets talk to it from the
 * main thread. After each of them a well-behaved client must still be served at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "tests/unit/tools/rpc/fake.h"
#include "tools/rpc/client.h"
#include "tools/rpc/line.h"
#include "tools/rpc/runtime.h"
#include "tools/rpc/server.h"
#include "tools/rpc/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_MS 300

static struct fake fake;
static struct rpc_server *server;
static pthread_t thread;
static int stop_pipe[2];
static _Atomic bool no_memory; /* for answers that come late */
static char base[] = "/tmp/faultblk-test-XXXXXX";
static char path[64];

static void *serve(void *arg)
{
	struct pollfd extra = { .fd = stop_pipe[0], .events = POLLIN };

	while (!extra.revents) {
		if (rpc_server_turn(server, &extra, 1, watch_timeout_ms(fake.target.watch)))
			return arg;
		if (no_memory)
			rpc_json_set_short();
		watch_turn(fake.target.watch, server);
	}
	watch_end_waits(fake.target.watch, server, -ENODEV, "the test is over");
	return NULL;
}

static int set_up(void **state)
{
	struct rpc_server_options options = { .service = &rpc_methods_service,
					      .target = &fake.target,
					      .stall_ms = STALL_MS };

	(void)state;
	fake_open(&fake);
	if (watch_create(fake.target.pipeline, &fake.target.watch))
		return -1;
	if (!mkdtemp(base) || pipe(stop_pipe) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/s.sock", base);
	if (runtime_listen(path, NULL, &options.listen_fd) || rpc_server_new(&options, &server))
		return -1;
	return pthread_create(&thread, NULL, serve, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	if (write(stop_pipe[1], "", 1) != 1)
		return -1;
	pthread_join(thread, NULL);
	rpc_server_free(server);
	watch_free(fake.target.watch);
	fake_close(&fake);
	close(stop_pipe[0]);
	close(stop_pipe[1]);
	unlink(path);
	return rmdir(base);
}

/* ------------------------------------------------------------------------------ raw clients */

static int join(void)
{
	struct timeval timeout = { .tv_sec = PATIENCE_MS / 1000 };
	int fd;

	assert_int_equal(runtime_connect(path, NULL, &fd), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

/* One line, without its newline; returns its length, 0 at the end, -errno. */
static int hear(int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		ssize_t n = recv(fd, line + len, 1, 0);

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	return (int)len;
}

static void hear_that(int fd, const char *says)
{
	static char line[65536];
	int n = hear(fd, line, sizeof(line));

	if (n <= 0 || !strstr(line, says))
		fail_msg("heard %d '%s', wanted '%s'", n, n > 0 ? line : "", says);
}

static void hear_the_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

/* A seat, as soon as the server has seen that one is free. */
static int join_greeted(void)
{
	static char line[65536];
	uint64_t end_ns = clock_now_ns() + PATIENCE_NS;

	for (;;) {
		int fd = join();

		assert_true(hear(fd, line, sizeof(line)) > 0);
		if (strstr(line, "\"hello\""))
			return fd;
		close(fd);
		assert_true(clock_now_ns() < end_ns);
		usleep(1000);
	}
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

#define LIST "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.list\"}\n"

static void others_are_served(void)
{
	int fd = join_greeted();

	say(fd, LIST);
	hear_that(fd, "\"result\"");
	close(fd);
}

/* ------------------------------------------------------------------------------ tests */

static void the_greeting_states_protocol_and_limits(void **state)
{
	struct rpc_client *client;
	struct diag diag = { 0 };
	json_t *hello, *limits, *result;

	(void)state;
	assert_int_equal(rpc_client_open_path(path, &diag, &client), 0);
	hello = rpc_client_hello(client);
	assert_int_equal(json_integer_value(json_object_get(hello, "protocol")), RPC_PROTOCOL);
	assert_string_equal(json_string_value(json_object_get(hello, "name")), "fake");
	limits = json_object_get(hello, "limits");
	assert_int_equal(json_integer_value(json_object_get(limits, "line_bytes")), 1 << 20);
	assert_int_equal(json_integer_value(json_object_get(limits, "depth")), 32);
	assert_int_equal(json_integer_value(json_object_get(limits, "clients")), 16);
	assert_int_equal(json_integer_value(json_object_get(limits, "rules")), 4096);
	assert_int_equal(rpc_client_call(client, "rules.list", NULL, &diag, NULL, &result), 0);
	assert_int_equal(json_array_size(json_object_get(result, "rules")), 0);
	json_decref(result);
	rpc_client_free(client);
}

static void bad_lines_get_an_error_and_the_client_stays(void **state)
{
	int fd = join_greeted();

	(void)state;
	say(fd, "nonsense\n");
	hear_that(fd, "-32700");
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"rules.list\"}\n");
	hear_that(fd, "duplicate");
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"rules.lsit\"}\n");
	hear_that(fd, "did you mean 'rules.list'?");
	say(fd, "[]\n");
	hear_that(fd, "-32600");
	say(fd, "\n");
	hear_that(fd, "-32700");
	say(fd, LIST);
	hear_that(fd, "\"result\"");
	close(fd);
}

static void a_depth_bomb_is_refused_before_it_is_parsed(void **state)
{
	size_t len = RPC_LINE_MAX - 1;
	char *bomb = malloc(len + 2);
	int fd = join_greeted();

	(void)state;
	memset(bomb, '[', len);
	strcpy(bomb + len, "\n");
	say(fd, bomb);
	hear_that(fd, "protocol.depth");
	say(fd, LIST);
	hear_that(fd, "\"result\"");
	close(fd);
	free(bomb);
}

static void an_over_long_line_ends_the_connection(void **state)
{
	size_t len = RPC_LINE_MAX + 2;
	char *line = malloc(len);
	int fd = join_greeted();

	(void)state;
	memset(line, 'x', len);
	assert_int_equal(send(fd, line, len, MSG_NOSIGNAL), len);
	hear_that(fd, "protocol.line-too-long");
	hear_the_end(fd);
	close(fd);
	free(line);
	others_are_served();
}

static void the_seventeenth_client_is_turned_away_with_a_reason(void **state)
{
	int fds[RPC_CLIENT_MAX], extra;

	(void)state;
	for (int i = 0; i < RPC_CLIENT_MAX; i++)
		fds[i] = join_greeted();
	for (int i = 0; i < 3; i++) {
		extra = join();
		hear_that(extra, "protocol.too-many-clients");
		hear_the_end(extra);
		close(extra);
	}
	say(fds[0], LIST);
	hear_that(fds[0], "\"result\"");
	for (int i = 0; i < RPC_CLIENT_MAX; i++)
		close(fds[i]);
	others_are_served();
}

/* The kernel lets nobody wait for more than that, and counts seats that nobody has. */
static void a_limit_of_open_files_that_is_just_enough_is_enough(void **state)
{
	struct rlimit before, tight;
	int next = dup(0);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = (rlim_t)next + 4; /* both ends of two clients */
	assert_true(next >= 0 && tight.rlim_cur <= RPC_CLIENT_MAX);
	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	others_are_served();
	others_are_served();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void silent_and_half_spoken_clients_delay_nobody(void **state)
{
	int silent = join(), half = join_greeted(), gone = join();

	(void)state;
	say(half, "{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
	close(gone);
	others_are_served();
	close(half); /* the half line goes with it */
	others_are_served();
	close(silent);
}

static void a_line_in_many_pieces_is_one_line(void **state)
{
	int fd = join_greeted();

	(void)state;
	for (const char *c = LIST; *c; c++) {
		assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
		if ((c - LIST) % 16 == 0)
			usleep(1000);
	}
	hear_that(fd, "\"result\"");
	close(fd);
}

static void many_lines_at_once_are_all_answered_in_order(void **state)
{
	enum { NR = 100 };
	char text[128], wanted[32];
	int fd = join_greeted();

	(void)state;
	for (int i = 0; i < NR; i++) {
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"rules.list\"}\n", i);
		say(fd, text);
	}
	shutdown(fd, SHUT_WR); /* as socat does at the end of its input */
	for (int i = 0; i < NR; i++) {
		snprintf(wanted, sizeof(wanted), "\"id\":%d,", i);
		hear_that(fd, wanted);
	}
	hear_the_end(fd);
	close(fd);
}

#define PUT_R                                                                                      \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.put\",\"params\":{\"rule\":\"r do=count\"}}\n"
#define WAIT_R                                                                                     \
	"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"rules.wait\",\"params\":{\"name\":\"r\"%s}}\n"

static void tell_once(const char *line)
{
	int fd = join_greeted();

	say(fd, line);
	hear_that(fd, "\"result\"");
	close(fd);
}

static void clear_rules(void)
{
	tell_once("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.clear\"}\n");
}

/* A client that asks @line, shuts its writing side, and is still waiting. */
static int ask_and_shut(const char *line)
{
	int fd = join_greeted();

	say(fd, line);
	shutdown(fd, SHUT_WR);
	/* Whoever comes later is served: the server has seen the end of this one. */
	others_are_served();
	others_are_served();
	return fd;
}

/* How the answer ends, not when: a deferred answer comes to whoever has only stopped sending. */
static void a_half_closed_client_hears_its_late_answer_and_then_the_end(void **state)
{
	char soon[256], never[256];
	int fd;

	(void)state;
	tell_once(PUT_R);
	snprintf(soon, sizeof(soon), WAIT_R, ",\"timeout_ms\":50");
	snprintf(never, sizeof(never), WAIT_R, "");
	fd = ask_and_shut(soon);
	hear_that(fd, "wait.timeout");
	hear_the_end(fd);
	close(fd);
	fd = ask_and_shut(never);
	clear_rules();
	hear_that(fd, "the rule was removed");
	hear_the_end(fd);
	close(fd);
}

/* What comes at once is refused in test_rpc_methods.c. */
static void a_late_answer_that_lacks_a_member_is_an_error(void **state)
{
	struct io io = { .op = IO_FLUSH };
	struct pollfd answer;
	char ask[256];
	int fd;

	(void)state;
	tell_once(PUT_R);
	for (int i = 0; i < 2; i++) {
		fd = join_greeted();
		snprintf(ask, sizeof(ask), WAIT_R, i ? ",\"hits\":2" : "");
		say(fd, ask);
		others_are_served();
		answer = (struct pollfd){ .fd = fd, .events = POLLIN };
		no_memory = i == 0;
		assert_int_equal(pipeline_submit(fake.target.pipeline, &io, clock_now_ns()),
				 IO_DONE);
		/* Nobody wakes the server for a hit here; whoever asks it for anything does. */
		do
			others_are_served();
		while (poll(&answer, 1, 0) == 0);
		hear_that(fd, i ? "\"hits\":2" : "the request was carried out, but there is no memory for the answer");
		no_memory = false;
		close(fd);
	}
	clear_rules();
}

static void a_half_closed_subscriber_hears_on(void **state)
{
	int fd = ask_and_shut("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"events.subscribe\"}\n");
	struct pollfd end = { .fd = fd, .events = POLLIN };

	(void)state;
	hear_that(fd, "\"after\"");
	assert_int_equal(poll(&end, 1, 0), 0);
	close(fd);
}

static _Atomic bool changing;

static bool is_changing(void *ctx, uint64_t client)
{
	(void)client;
	(void)ctx;
	return changing;
}

#define FAULTS "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"faults.list\"}\n"

/* In its client's socket, with all that the client says after it; also if the client has gone. */
static void what_needs_the_queues_waits_until_they_are_there_and_keeps_nobody(void **state)
{
	int waits = join_greeted(), gone = join_greeted();
	struct pollfd silent = { .fd = waits, .events = POLLIN };

	(void)state;
	fake.target.is_changing = is_changing;
	changing = true;
	say(waits, PUT_R);
	say(waits, FAULTS);
	say(gone, "{\"jsonrpc\":\"2.0\",\"method\":\"rules.put\","
		  "\"params\":{\"rule\":\"late do=count\"}}\n");
	close(gone);
	tell_once(FAULTS);
	tell_once(FAULTS);
	assert_int_equal(poll(&silent, 1, 0), 0);
	changing = false;
	tell_once(FAULTS); /* the end of the change is an event of the server, as this is */
	hear_that(waits, "\"id\":1,");
	hear_that(waits, "\"id\":7,");
	say(waits, LIST);
	hear_that(waits, "late do=count");
	close(waits);
	clear_rules();
}

/* Its seat must not stay taken for as long as it would have waited. */
static void who_waits_and_goes_leaves_its_seat(void **state)
{
	char never[256];
	int fds[RPC_CLIENT_MAX];

	(void)state;
	tell_once(PUT_R);
	snprintf(never, sizeof(never), WAIT_R, "");
	for (int i = 0; i < 3 * RPC_CLIENT_MAX; i++) {
		int fd = join_greeted();

		say(fd, never);
		if (i % 2)
			shutdown(fd, SHUT_WR);
		close(fd);
	}
	/* Each seat is free again. */
	for (int i = 0; i < RPC_CLIENT_MAX; i++)
		fds[i] = join_greeted();
	for (int i = 0; i < RPC_CLIENT_MAX; i++)
		close(fds[i]);
	clear_rules();
}

/* How many rules there are, one of them "c0-0". */
static int count_rules(void)
{
	static char line[4096];
	const char *count;
	int fd = join_greeted();

	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.enable\","
		"\"params\":{\"name\":\"c0-0\"}}\n");
	assert_true(hear(fd, line, sizeof(line)) > 0);
	close(fd);
	count = strstr(line, "\"count\":");
	return count ? atoi(count + strlen("\"count\":")) : 0;
}

/* ------------------------------------------------------------------------------ files that come along */

static _Atomic int took, nr_took;

/* Whoever sent it: of a method that is none of those who stop the queues no client is named. */
static bool take_all(void *ctx, uint64_t client)
{
	(void)ctx;
	(void)client;
	for (uint64_t serial = 1; serial < 1000; serial++) {
		int fd = rpc_server_take_passed(server, serial);

		if (fd == -1)
			continue;
		took = fd;
		nr_took++;
	}
	return false;
}

static void say_with_file(int fd, const char *text, int file)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec piece = { .iov_base = (char *)text, .iov_len = strlen(text) };
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &file, sizeof(file));
	assert_int_equal(sendmsg(fd, &message, 0), strlen(text));
}

/* It is for one request, and one that did not arrive is none that was not sent. */
static void a_file_that_comes_along_is_taken_once_and_missed_if_lost(void **state)
{
	struct rlimit limit, none;
	int fd = join_greeted();

	(void)state;
	fake.target.is_changing = take_all;
	say_with_file(fd, PUT_R, 0);
	hear_that(fd, "\"id\":1,");
	assert_int_equal(nr_took, 1);
	assert_true(took > 0);
	close(took);
	say(fd, PUT_R);
	hear_that(fd, "\"id\":1,");
	assert_int_equal(nr_took, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	say_with_file(fd, PUT_R, 0);
	hear_that(fd, "\"id\":1,");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(nr_took, 2);
	assert_int_equal(took, -EMFILE);
	fake.target.is_changing = NULL;
	close(fd);
	clear_rules();
}

/* Neither the greeting that nobody reads, nor that an answer cannot be sent, loses a request. */
static void what_was_sent_before_a_close_is_carried_out(void **state)
{
	enum { NR = 20, LINES = 10 };
	uint64_t end_ns = clock_now_ns() + PATIENCE_NS;
	char line[160];
	int nr = 0;

	(void)state;
	for (int i = 0; i < NR; i++) {
		int fd = i % 2 ? join_greeted() : join();

		for (int k = 0; k < LINES; k++) {
			snprintf(line, sizeof(line),
				 "{\"jsonrpc\":\"2.0\",%s\"method\":\"rules.put\","
				 "\"params\":{\"rule\":\"c%d-%d do=count\"}}\n",
				 k % 4 == 3 ? "\"id\":1," : "", i, k);
			say(fd, line);
		}
		close(fd);
		others_are_served(); /* so that seats get free */
	}
	while (nr < NR * LINES && clock_now_ns() < end_ns)
		nr = count_rules();
	assert_int_equal(nr, NR * LINES);
	clear_rules();
}

static void a_last_line_without_its_end_is_refused_and_not_carried_out(void **state)
{
	int fd = join_greeted();

	(void)state;
	say(fd,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.put\",\"params\":{\"rule\":\"half do=count\"}}");
	shutdown(fd, SHUT_WR);
	hear_that(fd, "protocol.unfinished-line");
	hear_the_end(fd);
	close(fd);
	fd = join_greeted();
	say(fd, LIST);
	hear_that(fd, "\"rules\":[]");
	close(fd);
}

/* It asks for more and more and reads nothing: its requests stay in its socket, then it is out. */
static void a_client_that_never_reads_is_disconnected(void **state)
{
	static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"faults.list\"}\n";
	uint64_t end_ns = clock_now_ns() + PATIENCE_NS;
	int fd = join();
	bool out = false;

	(void)state;
	while (!out && clock_now_ns() < end_ns) {
		ssize_t n = send(fd, ask, strlen(ask), MSG_NOSIGNAL | MSG_DONTWAIT);

		out = n < 0 && errno == EPIPE;
		if (n < 0 && errno == EAGAIN) {
			others_are_served();
			usleep(10000);
		}
	}
	assert_true(out);
	close(fd);
	others_are_served();
}

static void a_rule_put_by_one_client_is_seen_by_another(void **state)
{
	int one = join_greeted(), other = join_greeted();

	(void)state;
	say(one, "{\"jsonrpc\":\"2.0\",\"method\":\"rules.put\","
		 "\"params\":{\"rule\":\"quiet do=error:EIO\"}}\n");
	say(one, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.put\","
		 "\"params\":{\"rule\":\"loud do=error:EIO\"}}\n");
	hear_that(one, "\"count\":2");
	say(other, LIST);
	hear_that(other, "quiet do=error:EIO");
	say(other, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.clear\"}\n");
	hear_that(other, "\"count\":0");
	close(one);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_greeting_states_protocol_and_limits),
		cmocka_unit_test(bad_lines_get_an_error_and_the_client_stays),
		cmocka_unit_test(a_depth_bomb_is_refused_before_it_is_parsed),
		cmocka_unit_test(an_over_long_line_ends_the_connection),
		cmocka_unit_test(the_seventeenth_client_is_turned_away_with_a_reason),
		cmocka_unit_test(a_limit_of_open_files_that_is_just_enough_is_enough),
		cmocka_unit_test(silent_and_half_spoken_clients_delay_nobody),
		cmocka_unit_test(a_line_in_many_pieces_is_one_line),
		cmocka_unit_test(many_lines_at_once_are_all_answered_in_order),
		cmocka_unit_test(a_half_closed_client_hears_its_late_answer_and_then_the_end),
		cmocka_unit_test(a_late_answer_that_lacks_a_member_is_an_error),
		cmocka_unit_test(a_half_closed_subscriber_hears_on),
		cmocka_unit_test(what_needs_the_queues_waits_until_they_are_there_and_keeps_nobody),
		cmocka_unit_test(who_waits_and_goes_leaves_its_seat),
		cmocka_unit_test(a_file_that_comes_along_is_taken_once_and_missed_if_lost),
		cmocka_unit_test(what_was_sent_before_a_close_is_carried_out),
		cmocka_unit_test(a_last_line_without_its_end_is_refused_and_not_carried_out),
		cmocka_unit_test(a_client_that_never_reads_is_disconnected),
		cmocka_unit_test(a_rule_put_by_one_client_is_seen_by_another),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
