/* SPDX-License-Identifier: MIT */
/*
 * Lines of the protocol: cutting a byte stream into lines, and a line into a request. No I/O, so
 * all of it can be tested and fuzzed with plain memory.
 */
#ifndef TOOLS_RPC_LINE_H
#define TOOLS_RPC_LINE_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_PROTOCOL   1
#define RPC_LINE_MAX   (1u << 20) /* bytes of a request, without the newline */
#define RPC_DEPTH_MAX  32         /* objects and arrays inside each other */
#define RPC_CLIENT_MAX 16
#define RPC_FREEZE_MS  10000 /* disk.freeze takes itself back */

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_FAILED = -32000,    /* the work could not be done */
	RPC_BAD_RULE = -32001,  /* a rule was refused; line and column say where */
	RPC_NOT_FOUND = -32002, /* no rule of that name */
	RPC_HELD = -32003,      /* the disk is held by somebody */
	RPC_LIMIT = -32004,     /* a stated limit is reached */
	RPC_TIMEOUT = -32005,   /* it did not happen in time */
	RPC_GONE = -32006,      /* the disk has been taken away */
};

/* ------------------------------------------------------------------------------ framing */

/* Bytes in, lines out. Zero-initialised is empty; memory grows with the longest line seen. */
struct rpc_inbox {
	char *bytes; /* owned */
	size_t size, len;
	size_t start;    /* of the line that comes next */
	size_t scanned;  /* no newline before here */
	size_t line_max; /* 0: RPC_LINE_MAX */
};

/* Where to put the next bytes, and how many at most. NULL without memory. */
char *rpc_inbox_space(struct rpc_inbox *inbox, size_t *ret_room);
void rpc_inbox_filled(struct rpc_inbox *inbox, size_t nr_bytes);
/*
 * The next whole line, without its newline (and without a carriage return before it); valid until
 * the next rpc_inbox_space(). 1: there is one; 0: not yet; -EMSGSIZE: it is over the limit.
 */
int rpc_inbox_next(struct rpc_inbox *inbox, const char **ret_line, size_t *ret_len);
/* Does a whole line lie there? */
bool rpc_inbox_has_line(const struct rpc_inbox *inbox);
/* Have the next call of rpc_inbox_next() find @line, that of the last one, again. */
void rpc_inbox_put_back(struct rpc_inbox *inbox, const char *line);
/* Forget the line that has been begun, there being no whole one. Was there one? */
bool rpc_inbox_drop(struct rpc_inbox *inbox);
void rpc_inbox_free(struct rpc_inbox *inbox);

/* ------------------------------------------------------------------------------ requests */

struct rpc_request {
	json_t *root; /* owned; the others are borrowed from it */
	const char *method;
	json_t *params; /* an object, or NULL */
	json_t *id;     /* string, integer or null; NULL: a notification */
};

/*
 * One line to one request. 0, or an enum rpc_code with the words in @diag; then id and method are
 * set as far as they could be understood. rpc_request_free() in both cases.
 */
int rpc_request_parse(const char *line, size_t len, struct diag *diag, struct rpc_request *ret);
void rpc_request_free(struct rpc_request *request);

/* Deeper than RPC_DEPTH_MAX? Looked at before the parser, which then never recurses further. */
bool rpc_line_too_deep(const char *line, size_t len);

/* ------------------------------------------------------------------------------ answers */

/* What has become of a line. */
enum rpc_outcome {
	RPC_ANSWERED, /* here is the answer; a text of NULL: there is no memory for it */
	RPC_SILENT,   /* carried out or refused, and no answer is due: a notification */
	RPC_LATER,    /* the answer comes through rpc_server_reply() */
	/* Nothing was done: serve the line again when the disk has ceased to change, or a file that
	 * it names has been read. */
	RPC_NOT_NOW,
};

/* The answer comes later, through rpc_server_reply(): whose it is and which. */
struct rpc_ticket {
	uint64_t client; /* never reused; 0: no ticket */
	json_t *id;      /* owned reference; NULL for a notification, which gets no answer */
};

/*
 * From now on note when jansson finds no memory: it leaves a member out rather than say so. To be
 * called before jansson is used; the answer of rpc_json_short() is about the calling thread.
 */
void rpc_json_watch(void);
/* Something else of an answer found no memory. */
void rpc_json_set_short(void);
/* Has either happened since the last call? */
bool rpc_json_short(void);
/* Compact text of @message with a newline; caller frees. Steals @message. NULL without memory. */
char *rpc_line_text(json_t *message, size_t *ret_len);
/* @id (borrowed, NULL: null); steals @result. NULL without memory. */
json_t *rpc_answer(json_t *id, json_t *result);
json_t *rpc_error(json_t *id, int code, const struct diag *diag);
json_t *rpc_notification(const char *method, json_t *params);
/* The code that an error of a library call is reported under. */
int rpc_code_of(int err);

#endif
