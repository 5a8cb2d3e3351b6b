/* SPDX-License-Identifier: MIT */
/*
 * Who waits for hits, and who listens to events: the part of the control thread that hears from the
 * queues. It never makes them wait: a client that does not keep up loses events, and is told how
 * many.
 */
#ifndef TOOLS_RPC_WATCH_H
#define TOOLS_RPC_WATCH_H

#include "faults/engine/pipeline.h"
#include "tools/rpc/line.h"

#define WATCH_WAIT_MAX 64   /* waits at once, of all clients */
#define WATCH_LIST_MAX 1000 /* events in one answer */
#define WATCH_REST_MS  2    /* between two deliveries */

struct rpc_server;
struct watch;

/* @pipeline is borrowed. -ENOMEM. */
int watch_create(struct pipeline *pipeline, struct watch **ret_watch);
/* No wait may be left: watch_end_waits(). NULL allowed; returns NULL. */
struct watch *watch_free(struct watch *watch);

/*
 * Answer @ticket once rule @rule has at least @hits hits, or with -ETIMEDOUT after @timeout_ns
 * (UINT64_MAX: never). -EINPROGRESS: the ticket was taken over. 0: it has them already. -ENOENT: no
 * such rule; -ENOSPC: too many waits.
 */
int watch_wait(struct watch *watch, const char *rule, uint64_t hits, uint64_t timeout_ns,
	       struct rpc_ticket *ticket, struct diag *diag);
/* The answer to a wait that is over: name, matches, hits. New reference. */
json_t *watch_answer(const struct rule *rule);
/* Every wait ends with an error that says why. */
void watch_end_waits(struct watch *watch, struct rpc_server *server, int err, const char *why);

/*
 * From now on @client (as in tickets) gets every event, of rule @rule only if that is not NULL:
 * those with numbers above *ret_after.
 */
int watch_subscribe(struct watch *watch, uint64_t client, const char *rule, struct diag *diag,
		    uint64_t *ret_after);
void watch_unsubscribe(struct watch *watch, uint64_t client);

/* @watch may be NULL: then nobody is. */
bool watch_is_subscribed(const struct watch *watch, uint64_t client);

/* Tell every subscriber something that is no hit: @method with @params (stolen). */
void watch_announce(struct watch *watch, struct rpc_server *server, const char *method,
		    json_t *params);

/* One event as JSON. New reference. */
json_t *watch_event_json(const struct event *event);

/*
 * Deliver what has happened. Call it when woken, and at least when watch_timeout_ms() is over; more
 * often it does nothing, so that what happens within WATCH_REST_MS is delivered together. True:
 * there is more, call it again soon.
 */
bool watch_turn(struct watch *watch, struct rpc_server *server);
/* Deliver at once all that has happened; nothing more is to come, and nobody waits any more. */
void watch_finish(struct watch *watch, struct rpc_server *server);
/* How long until the next turn at the latest, in ms; -1: until something happens. */
int watch_timeout_ms(const struct watch *watch);

#endif
