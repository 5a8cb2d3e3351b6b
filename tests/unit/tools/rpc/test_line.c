// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/rpc/line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void feed(struct rpc_inbox *inbox, const char *bytes, size_t len)
{
	while (len) {
		size_t room, n;
		char *space = rpc_inbox_space(inbox, &room);

		assert_non_null(space);
		n = len < room ? len : room;
		memcpy(space, bytes, n);
		rpc_inbox_filled(inbox, n);
		bytes += n;
		len -= n;
	}
}

static void expect_line(struct rpc_inbox *inbox, const char *wanted)
{
	const char *line;
	size_t len;

	assert_int_equal(rpc_inbox_next(inbox, &line, &len), 1);
	assert_int_equal(len, strlen(wanted));
	assert_memory_equal(line, wanted, len);
}

static void lines_come_out_whole_however_the_bytes_come_in(void **state)
{
	static const char text[] = "one\ntwo\r\n\nfour";
	struct rpc_inbox inbox = { 0 };
	const char *line;
	size_t len;

	(void)state;
	feed(&inbox, text, strlen(text));
	expect_line(&inbox, "one");
	expect_line(&inbox, "two");
	expect_line(&inbox, "");
	assert_int_equal(rpc_inbox_next(&inbox, &line, &len), 0);
	feed(&inbox, "\n", 1);
	expect_line(&inbox, "four");
	for (const char *c = text; *c; c++)
		feed(&inbox, c, 1);
	expect_line(&inbox, "one");
	expect_line(&inbox, "two");
	rpc_inbox_free(&inbox);
}

static void a_line_of_the_limit_passes_and_one_more_byte_does_not(void **state)
{
	char *bytes = malloc(RPC_LINE_MAX + 2);
	struct rpc_inbox inbox = { 0 };
	const char *line;
	size_t len;

	(void)state;
	memset(bytes, 'x', RPC_LINE_MAX + 2);
	bytes[RPC_LINE_MAX] = '\n';
	feed(&inbox, bytes, RPC_LINE_MAX + 1);
	assert_int_equal(rpc_inbox_next(&inbox, &line, &len), 1);
	assert_int_equal(len, RPC_LINE_MAX);
	bytes[RPC_LINE_MAX] = 'x';
	feed(&inbox, bytes, RPC_LINE_MAX + 2);
	assert_int_equal(rpc_inbox_next(&inbox, &line, &len), -EMSGSIZE);
	rpc_inbox_free(&inbox);
	feed(&inbox, bytes, RPC_LINE_MAX + 1);
	assert_int_equal(rpc_inbox_next(&inbox, &line, &len), 0);
	feed(&inbox, "\n", 1);
	assert_int_equal(rpc_inbox_next(&inbox, &line, &len), -EMSGSIZE);
	rpc_inbox_free(&inbox);
	free(bytes);
}

static void depth_is_counted_outside_of_strings_only(void **state)
{
	char text[2 * RPC_DEPTH_MAX + 8] = "";

	(void)state;
	memset(text, '[', RPC_DEPTH_MAX);
	assert_false(rpc_line_too_deep(text, RPC_DEPTH_MAX));
	text[RPC_DEPTH_MAX] = '{';
	assert_true(rpc_line_too_deep(text, RPC_DEPTH_MAX + 1));
	text[0] = '"';
	assert_false(rpc_line_too_deep(text, RPC_DEPTH_MAX + 1));
	text[1] = '\\';
	text[2] = '"';
	assert_false(rpc_line_too_deep(text, RPC_DEPTH_MAX + 1));
	assert_false(rpc_line_too_deep("]]]][[", 6));
	assert_false(rpc_line_too_deep("\"\\", 2));
}

static void requests_are_checked_in_full(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *id;
	} cases[] = {
		{ "{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", 0, "" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\",\"params\":{}}", 0, "" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"m\"}", 0, "" },
		{ "", RPC_PARSE_ERROR, "protocol.json" },
		{ "{", RPC_PARSE_ERROR, "protocol.json" },
		{ "{} {}", RPC_PARSE_ERROR, "protocol.json" },
		{ "{\"a\":1,\"a\":2}", RPC_PARSE_ERROR, "protocol.json" },
		{ "{\"a\":\"\xff\"}", RPC_PARSE_ERROR, "protocol.json" },
		{ "[]", RPC_INVALID_REQUEST, "protocol.batch" },
		{ "{}", RPC_INVALID_REQUEST, "protocol.version" },
		{ "{\"jsonrpc\":\"1.0\",\"method\":\"m\"}", RPC_INVALID_REQUEST,
		  "protocol.version" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"m\"}", RPC_INVALID_REQUEST,
		  "protocol.id" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1}", RPC_INVALID_REQUEST, "protocol.method" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"parms\":{}}",
		  RPC_INVALID_REQUEST, "protocol.unknown-member" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[]}",
		  RPC_INVALID_PARAMS, "protocol.params" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rpc_request request;
		struct diag diag = { 0 };
		int code = rpc_request_parse(cases[i].line, strlen(cases[i].line), &diag, &request);

		if (code != cases[i].code || strcmp(diag.id, cases[i].id) != 0)
			fail_msg("'%s': %d %s", cases[i].line, code, diag.id);
		rpc_request_free(&request);
	}
}

static void an_error_is_json_even_when_its_words_are_not_utf8(void **state)
{
	struct diag diag;
	json_t *answer;
	char *text;
	size_t len;

	(void)state;
	diag_set(&diag, 0, "x", "cut in the middle: \xc3");
	diag_hint(&diag, "\xff");
	text = rpc_line_text(rpc_error(NULL, RPC_FAILED, &diag), &len);
	assert_non_null(text);
	assert_int_equal(text[len - 1], '\n');
	answer = json_loadb(text, len, 0, NULL);
	assert_true(json_is_null(json_object_get(answer, "id")));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(answer, "error"), "code")),
		RPC_FAILED);
	json_decref(answer);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_out_whole_however_the_bytes_come_in),
		cmocka_unit_test(a_line_of_the_limit_passes_and_one_more_byte_does_not),
		cmocka_unit_test(depth_is_counted_outside_of_strings_only),
		cmocka_unit_test(requests_are_checked_in_full),
		cmocka_unit_test(an_error_is_json_even_when_its_words_are_not_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
