// SPDX-License-Identifier: MIT
#include "tools/rpc/line.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/near.h"
#include "tools/cli/typed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INBOX_START 16384
#define TEXT_START  512

/* ------------------------------------------------------------------------------ framing */

static size_t line_max(const struct rpc_inbox *inbox)
{
	return inbox->line_max ? inbox->line_max : RPC_LINE_MAX;
}

char *rpc_inbox_space(struct rpc_inbox *inbox, size_t *ret_room)
{
	size_t limit = line_max(inbox) + 2; /* "\r\n": a line of just the limit still fits */

	if (inbox->start) {
		memmove(inbox->bytes, inbox->bytes + inbox->start, inbox->len - inbox->start);
		inbox->len -= inbox->start;
		inbox->scanned -= inbox->start;
		inbox->start = 0;
	}
	if (inbox->len == inbox->size) {
		size_t size = inbox->size ? inbox->size * 2 : INBOX_START;

		if (size > limit)
			size = limit;
		if (size <= inbox->size)
			return NULL; /* rpc_inbox_next() has said -EMSGSIZE */
		if (array_fit("tools/rpc/line/inbox", inbox->bytes, size))
			return NULL;
		inbox->size = size;
	}
	*ret_room = inbox->size - inbox->len;
	return inbox->bytes + inbox->len;
}

void rpc_inbox_filled(struct rpc_inbox *inbox, size_t nr_bytes)
{
	inbox->len += nr_bytes;
}

int rpc_inbox_next(struct rpc_inbox *inbox, const char **ret_line, size_t *ret_len)
{
	char *newline = NULL;
	size_t len;

	if (inbox->scanned < inbox->len)
		newline = memchr(inbox->bytes + inbox->scanned, '\n', inbox->len - inbox->scanned);
	if (!newline) {
		inbox->scanned = inbox->len;
		return inbox->len - inbox->start > line_max(inbox) + 1 ? -EMSGSIZE : 0;
	}
	*ret_line = inbox->bytes + inbox->start;
	len = (size_t)(newline - *ret_line);
	inbox->start += len + 1;
	inbox->scanned = inbox->start;
	if (len && newline[-1] == '\r')
		len--;
	if (len > line_max(inbox))
		return -EMSGSIZE;
	*ret_len = len;
	return 1;
}

bool rpc_inbox_has_line(const struct rpc_inbox *inbox)
{
	size_t left = inbox->len - inbox->scanned;

	return left && memchr(inbox->bytes + inbox->scanned, '\n', left);
}

void rpc_inbox_put_back(struct rpc_inbox *inbox, const char *line)
{
	inbox->start = inbox->scanned = (size_t)(line - inbox->bytes);
}

bool rpc_inbox_drop(struct rpc_inbox *inbox)
{
	bool begun = inbox->len > inbox->start;

	inbox->len = inbox->scanned = inbox->start;
	return begun;
}

void rpc_inbox_free(struct rpc_inbox *inbox)
{
	free(inbox->bytes);
	*inbox = (struct rpc_inbox){ 0 };
}

/* ------------------------------------------------------------------------------ requests */

bool rpc_line_too_deep(const char *line, size_t len)
{
	unsigned int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > RPC_DEPTH_MAX)
				return true;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return false;
}

static int parse_json(const char *line, size_t len, struct diag *diag, json_t **ret_root)
{
	json_error_t error;

	if (rpc_line_too_deep(line, len)) {
		diag_set(diag, 0, "protocol.depth", "nested deeper than %d", RPC_DEPTH_MAX);
		return RPC_PARSE_ERROR;
	}
	*ret_root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (*ret_root)
		return 0;
	diag_set(diag, 0, "protocol.json", "not one JSON object: %s", error.text);
	diag_at(diag, 1, error.position > 0 ? (unsigned int)error.position : 1);
	return RPC_PARSE_ERROR;
}

static int invalid(struct diag *diag, const char *id, const char *message)
{
	diag_set(diag, 0, id, "%s", message);
	return RPC_INVALID_REQUEST;
}

/* Members that we do not know are mistakes, most likely in "params". */
static int check_members(json_t *root, struct diag *diag)
{
	static const char *const known[] = { "jsonrpc", "method", "params", "id", NULL };
	const char *key, *near;
	json_t *value;

	json_object_foreach (root, key, value) {
		size_t i = 0;

		while (known[i] && strcmp(known[i], key) != 0)
			i++;
		if (known[i])
			continue;
		diag_set(diag, 0, "protocol.unknown-member", "a request has no member '%.64s'",
			 key);
		near = near_word(key, strlen(key), known);
		if (near)
			diag_hint(diag, "did you mean '%s'?", near);
		return RPC_INVALID_REQUEST;
	}
	return 0;
}

int rpc_request_parse(const char *line, size_t len, struct diag *diag, struct rpc_request *ret)
{
	const char *version;
	json_t *id, *method;
	int code;

	*ret = (struct rpc_request){ 0 };
	code = parse_json(line, len, diag, &ret->root);
	if (code)
		return code;
	if (json_is_array(ret->root))
		return invalid(diag, "protocol.batch",
			       "batches are not supported: send one request a line");
	if (!json_is_object(ret->root))
		return invalid(diag, "protocol.request", "a request is a JSON object");
	id = json_object_get(ret->root, "id");
	if (id && !json_is_string(id) && !json_is_integer(id) && !json_is_null(id))
		return invalid(diag, "protocol.id", "id: wanted a string, an integer or null");
	ret->id = id;
	version = json_string_value(json_object_get(ret->root, "jsonrpc"));
	if (!version || strcmp(version, "2.0") != 0)
		return invalid(diag, "protocol.version", "jsonrpc: wanted \"2.0\"");
	method = json_object_get(ret->root, "method");
	if (!json_is_string(method))
		return invalid(diag, "protocol.method", "method: wanted a string");
	code = check_members(ret->root, diag);
	if (code)
		return code;
	ret->method = json_string_value(method);
	ret->params = json_object_get(ret->root, "params");
	if (ret->params && !json_is_object(ret->params)) {
		ret->params = NULL;
		diag_set(diag, 0, "protocol.params", "params: wanted an object");
		return RPC_INVALID_PARAMS;
	}
	return 0;
}

void rpc_request_free(struct rpc_request *request)
{
	json_decref(request->root);
	*request = (struct rpc_request){ 0 };
}

/* ------------------------------------------------------------------------------ memory */

static _Thread_local bool json_short;

static void *json_malloc(size_t size)
{
	void *memory = fail_alloc("tools/rpc/line/json", malloc(size));

	json_short |= !memory;
	return memory;
}

void rpc_json_watch(void)
{
	json_set_alloc_funcs(json_malloc, free);
}

void rpc_json_set_short(void)
{
	json_short = true;
}

bool rpc_json_short(void)
{
	bool was = json_short;

	json_short = false;
	return was;
}

/* ------------------------------------------------------------------------------ answers */

struct growing {
	char *text; /* owned */
	size_t len, room;
};

static int append_text(const char *piece, size_t len, void *ctx)
{
	struct growing *growing = ctx;

	if (array_room("tools/rpc/line/text", growing->text, growing->room, growing->len + len,
		       TEXT_START))
		return -1;
	memcpy(growing->text + growing->len, piece, len);
	growing->len += len;
	return 0;
}

char *rpc_line_text(json_t *message, size_t *ret_len)
{
	struct growing growing = { .text = NULL };

	if (!message)
		return NULL;
	if (json_dump_callback(message, append_text, &growing, JSON_COMPACT) ||
	    append_text("\n", 1, &growing)) {
		free(growing.text);
		growing.text = NULL;
	}
	json_decref(message);
	*ret_len = growing.len;
	return growing.text;
}

json_t *rpc_answer(json_t *id, json_t *result)
{
	if (!result)
		return NULL;
	return json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, "result", result);
}

/* Words may carry what a client sent us, cut at any byte: never let that spoil the answer. */
static json_t *clean_string(const char *text)
{
	json_t *string = json_string(text);
	char clean[sizeof(((struct diag *)0)->message)];
	size_t i;

	if (string)
		return string;
	for (i = 0; i < sizeof(clean) - 1 && text[i]; i++)
		clean[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	clean[i] = '\0';
	return json_string(clean);
}

/* Whoever reads it may know several disks. */
static json_t *for_disk(const char *text)
{
	_cleanup_free_ char *typed = typed_for_disk(text);

	return clean_string(typed ?: text);
}

json_t *rpc_error(json_t *id, int code, const struct diag *diag)
{
	json_t *data = json_pack("{s:s}", "id", diag->id);

	if (diag->hint[0])
		json_object_set_new(data, "hint", for_disk(diag->hint));
	if (diag->line)
		json_object_set_new(data, "line", json_integer(diag->line));
	if (diag->column)
		json_object_set_new(data, "column", json_integer(diag->column));
	return json_pack("{s:s, s:O?, s:{s:i, s:o, s:o}}", "jsonrpc", "2.0", "id", id, "error",
			 "code", code, "message", for_disk(diag->message), "data", data);
}

json_t *rpc_notification(const char *method, json_t *params)
{
	if (!params)
		return NULL;
	return json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params);
}

int rpc_code_of(int err)
{
	static const struct {
		int err, code;
	} codes[] = {
		{ -EINVAL, RPC_BAD_RULE },  { -ERANGE, RPC_BAD_RULE },   { -EEXIST, RPC_BAD_RULE },
		{ -ENOENT, RPC_NOT_FOUND }, { -EBUSY, RPC_HELD },        { -ENOSPC, RPC_LIMIT },
		{ -E2BIG, RPC_LIMIT },      { -ETIMEDOUT, RPC_TIMEOUT }, { -ENODEV, RPC_GONE },
	};

	for (size_t i = 0; i < array_size(codes); i++)
		if (codes[i].err == err)
			return codes[i].code;
	return RPC_FAILED;
}
