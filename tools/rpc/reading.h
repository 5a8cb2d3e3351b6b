/* SPDX-License-Identifier: MIT */
/*
 * Rules that name a file, made from JSON by a thread of their own: the file may lie in a place that
 * does not answer, and then this thread alone waits for it. One request at a time.
 */
#ifndef TOOLS_RPC_READING_H
#define TOOLS_RPC_READING_H

#include "base/diag.h"
#include "faults/rule/rule.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct rpc_reading;

/* Control thread, as all of these. -ENOMEM, -errno of eventfd. */
int rpc_reading_create(struct rpc_reading **ret_reading);
/* Whoever is still reading is left to it, with the memory. NULL allowed; returns NULL. */
struct rpc_reading *rpc_reading_free(struct rpc_reading *reading);
/* Readable when what was asked for has been read; rpc_reading_seen() takes note. Borrowed. */
int rpc_reading_fd(const struct rpc_reading *reading);
void rpc_reading_seen(struct rpc_reading *reading);

/* May rules made from @rules, one or an array of them, open a file? */
bool rpc_reading_is_for(const json_t *rules);
/*
 * Have @rules read for request @line of @client, which comes again with the same rules. 0: here they
 * are; -EAGAIN: they are being read, ask again when the descriptor is readable; -EBUSY: those of
 * another request are; -ENOMEM.
 */
int rpc_reading_ask(struct rpc_reading *reading, uint64_t client, const json_t *rules);
/* After a 0: rule @index, as rule_from_json() made it; the caller's reference. Each once. */
int rpc_reading_take(struct rpc_reading *reading, size_t index, struct diag *diag,
		     struct rule **ret_rule);
/* After a 0: forget them. */
void rpc_reading_end(struct rpc_reading *reading);

#endif
