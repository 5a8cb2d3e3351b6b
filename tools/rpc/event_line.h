/* SPDX-License-Identifier: MIT */
/*
 * One hit as a line: of the protocol, for whoever subscribes, and of `faultblk events`. Hits come by
 * the thousand, and the tree of a JSON library costs more than the request did; so these lines are
 * written, and read back, without one.
 */
#ifndef TOOLS_RPC_EVENT_LINE_H
#define TOOLS_RPC_EVENT_LINE_H

#include "faults/engine/event.h"
#include "faults/rule/value.h"

#include <jansson.h>
#include <stdbool.h>

#define EVENT_LINE_MAX 512

/* What both ends know of a hit. The words are borrowed: from the event's tables, a line or JSON. */
struct event_words {
	uint64_t seq, time_ns, sector, len_bytes, queue, match;
	uint64_t delay_ns; /* UINT64_MAX: held */
	struct text rule, kind, op;
	struct text json; /* the whole object; empty where it was not read from a line */
};

/*
 * The notification "event" and its newline; returns the length. They are the bytes that
 * rpc_line_text() makes of watch_event_json().
 */
size_t event_line_put(char line[EVENT_LINE_MAX], const struct event *event);
/*
 * A line without its newline, if it has the very form that event_line_put() gives it. False: it is
 * another one, or says the same in other ways; ask a JSON parser.
 */
bool event_line_get(const char *line, size_t len, struct event_words *ret_words);

void event_words_of(const struct event *event, struct event_words *ret_words);
void event_words_of_json(json_t *event, struct event_words *ret_words); /* absent members: 0, "" */
/* As text to stdout, with a newline. */
void event_words_print(const struct event_words *words);

#endif
