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
#include "tests/unit/rpc_fake.h"
#include "tools/rpc_client.h"
#include "tools/rpc_server.h"
#include "tools/runtime.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_MS  300
#define PROMPT_MS 2000 /* generous: the machine may be busy; a server that waits takes for ever */

static struct fake fake;
static struct rpc_server *server;
static pthread_t thread;
static int stop_pipe[2];
static char base[] = "/tmp/faultblk-test-XXXXXX";
static char path[64];

static void *serve(void *arg)
{
	struct pollfd extra = { .fd = stop_pipe[0], .events = POLLIN };

	while (!extra.revents)
		if (rpc_server_turn(server, &extra, 1, -1))
			return arg;
	return NULL;
}

static int set_up(void **state)
{
	struct rpc_server_options options = { .target = &fake.target, .stall_ms = STALL_MS };

	(void)state;
	fake_open(&fake);
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
	fake_close(&fake);
	close(stop_pipe[0]);
	close(stop_pipe[1]);
	unlink(path);
	return rmdir(base);
}

/* ------------------------------------------------------------------------------ raw clients */

static int join(void)
{
	struct timeval timeout = { .tv_sec = PROMPT_MS / 1000 };
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

static int join_greeted(void)
{
	int fd = join();

	hear_that(fd, "\"hello\"");
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

#define LIST "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rules.list\"}\n"

static void others_are_served(void)
{
	uint64_t start_ns = clock_now_ns();
	int fd = join_greeted();

	say(fd, LIST);
	hear_that(fd, "\"result\"");
	close(fd);
	assert_true(clock_now_ns() - start_ns < PROMPT_MS * NSEC_PER_MSEC);
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

/* It asks for more and more and reads nothing: its requests stay in its socket, then it is out. */
static void a_client_that_never_reads_is_disconnected(void **state)
{
	static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"faults.list\"}\n";
	uint64_t end_ns = clock_now_ns() + 20 * NSEC_PER_SEC;
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
		cmocka_unit_test(silent_and_half_spoken_clients_delay_nobody),
		cmocka_unit_test(a_line_in_many_pieces_is_one_line),
		cmocka_unit_test(many_lines_at_once_are_all_answered_in_order),
		cmocka_unit_test(a_client_that_never_reads_is_disconnected),
		cmocka_unit_test(a_rule_put_by_one_client_is_seen_by_another),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
