// SPDX-License-Identifier: MIT
/*
 * Lines of the protocol, as a client may send them, against a disk without a device. The bytes go
 * through the framing first, in two uneven pieces, so that its edges are fuzzed too. Every answer
 * must be one whole line of JSON.
 */
#include "tests/unit/tools/rpc/fake.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const char *text, size_t len)
{
	json_t *answer;

	if (!text)
		return;
	if (len == 0 || text[len - 1] != '\n' || memchr(text, '\n', len - 1))
		abort();
	answer = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(answer) || !json_object_get(answer, "id") ||
	    !json_object_get(answer, "result") == !json_object_get(answer, "error"))
		abort();
	json_decref(answer);
}

static void serve_lines(const struct rpc_target *target, struct rpc_inbox *inbox)
{
	const char *line;
	size_t len, answer_len;

	while (rpc_inbox_next(inbox, &line, &len) > 0) {
		char *answer;

		rpc_serve_line(target, 1, line, len, &answer, &answer_len);
		check_answer(answer, answer_len);
		free(answer);
	}
}

static void feed(const struct rpc_target *target, struct rpc_inbox *inbox, const uint8_t *data,
		 size_t size)
{
	while (size) {
		size_t room, n;
		char *space = rpc_inbox_space(inbox, &room);

		if (!space)
			return;
		n = size < room ? size : room;
		memcpy(space, data, n);
		rpc_inbox_filled(inbox, n);
		data += n;
		size -= n;
		serve_lines(target, inbox);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t cut = size ? data[0] % size : 0;
	struct rpc_inbox inbox = { 0 };
	struct fake fake;

	fake_open(&fake);
	feed(&fake.target, &inbox, data, cut);
	feed(&fake.target, &inbox, data + cut, size - cut);
	feed(&fake.target, &inbox, (const uint8_t *)"\n", 1);
	rpc_inbox_free(&inbox);
	fake_close(&fake);
	return 0;
}
