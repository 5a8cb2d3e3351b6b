// SPDX-License-Identifier: MIT
/*
 * A turn that finds something rests before the next one, without being woken by hits: however many
 * there are, they cost five hundred turns a second at most, and the first after a pause is delivered
 * at once. A turn that finds nothing asks the pipeline to wake it at the next hit and then looks
 * again, so that none falls between looking and sleeping. With nobody waiting and nobody subscribed
 * it does not ask, and hits cost the queues no wake-up.
 */
#include "tools/rpc/watch.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "faults/rule/kind.h"
#include "tools/rpc/event_line.h"
#include "tools/rpc/server.h"

#include <errno.h>
#include <string.h>

#define LOST_RETRY_MS 100

struct wait {
	struct rpc_ticket ticket; /* client 0: the slot is free */
	char rule[RULE_NAME_MAX + 1];
	uint64_t hits;
	uint64_t end_ns;
};

struct subscriber {
	uint64_t client; /* 0: the slot is free */
	char rule[RULE_NAME_MAX + 1];
	uint64_t after; /* it hears of what came later */
	uint64_t lost;  /* not told yet */
	bool full;      /* it has no room in this turn */
};

struct watch {
	struct pipeline *pipeline;
	struct event_reader *reader; /* NULL: nobody is subscribed */
	uint64_t newest;             /* the event that the last turn has seen to be the newest */
	uint64_t rest_ns;            /* the end of the rest; 0: none */
	struct wait waits[WATCH_WAIT_MAX];
	struct subscriber subscribers[RPC_CLIENT_MAX];
};

int watch_create(struct pipeline *pipeline, struct watch **ret_watch)
{
	struct watch *watch = fail_alloc("tools/rpc/watch/alloc", calloc(1, sizeof(*watch)));

	if (!watch)
		return -ENOMEM;
	watch->pipeline = pipeline;
	*ret_watch = watch;
	return 0;
}

struct watch *watch_free(struct watch *watch)
{
	if (!watch)
		return NULL;
	for (size_t i = 0; i < array_size(watch->waits); i++)
		json_decref(watch->waits[i].ticket.id);
	event_reader_free(watch->reader);
	free(watch);
	return NULL;
}

/* ------------------------------------------------------------------------------ waits */

json_t *watch_answer(const struct rule *rule)
{
	struct rule_counts counts;

	rule_counts(rule, &counts);
	return json_pack("{s:s, s:I, s:I}", "name", rule_name(rule), "matches",
			 (json_int_t)counts.matches, "hits", (json_int_t)counts.hits);
}

static bool is_over(const struct rule *rule, uint64_t hits)
{
	struct rule_counts counts;

	rule_counts(rule, &counts);
	return counts.hits >= hits;
}

static struct wait *free_wait(struct watch *watch)
{
	for (size_t i = 0; i < array_size(watch->waits); i++)
		if (!watch->waits[i].ticket.client)
			return &watch->waits[i];
	return NULL;
}

int watch_wait(struct watch *watch, const char *name, uint64_t hits, uint64_t timeout_ns,
	       struct rpc_ticket *ticket, struct diag *diag)
{
	const struct rule_set *set = pipeline_rules(watch->pipeline);
	const struct rule *rule = rule_set_find(set, name);
	uint64_t now_ns = clock_now_ns();
	struct wait *wait = free_wait(watch);

	if (!rule)
		return diag_set(diag, -ENOENT, "rule.not-found", "there is no rule '%.63s'", name);
	if (is_over(rule, hits))
		return 0;
	if (!wait)
		return diag_set(diag, -ENOSPC, "wait.too-many",
				"%d clients wait already; try again later", WATCH_WAIT_MAX);
	*wait = (struct wait){ .ticket = *ticket, .hits = hits };
	if (__builtin_add_overflow(now_ns, timeout_ns, &wait->end_ns))
		wait->end_ns = UINT64_MAX;
	snprintf(wait->rule, sizeof(wait->rule), "%s", name);
	pipeline_listen(watch->pipeline, true);
	return -EINPROGRESS;
}

static void end_wait(struct rpc_server *server, struct wait *wait, int err, const char *why)
{
	struct diag diag = { 0 };

	diag_set(&diag, err, err == -ETIMEDOUT ? "wait.timeout" : "wait.over",
		 "rule '%s' did not get %llu hit%s: %s", wait->rule, (unsigned long long)wait->hits,
		 wait->hits == 1 ? "" : "s", why);
	rpc_server_reply(server, &wait->ticket, rpc_code_of(err), &diag, NULL);
}

void watch_end_waits(struct watch *watch, struct rpc_server *server, int err, const char *why)
{
	for (size_t i = 0; i < array_size(watch->waits); i++)
		if (watch->waits[i].ticket.client)
			end_wait(server, &watch->waits[i], err, why);
}

static void look_at_waits(struct watch *watch, struct rpc_server *server)
{
	const struct rule_set *set = pipeline_rules(watch->pipeline);
	uint64_t now_ns = clock_now_ns();

	for (size_t i = 0; i < array_size(watch->waits); i++) {
		struct wait *wait = &watch->waits[i];
		const struct rule *rule;

		if (!wait->ticket.client)
			continue;
		rule = rule_set_find(set, wait->rule);
		if (!rule)
			end_wait(server, wait, -ENOENT, "the rule was removed");
		else if (is_over(rule, wait->hits))
			rpc_server_reply(server, &wait->ticket, 0, NULL, watch_answer(rule));
		else if (now_ns >= wait->end_ns)
			end_wait(server, wait, -ETIMEDOUT, "the time limit passed");
		else if (!rpc_server_has(server, wait->ticket.client)) {
			json_decref(wait->ticket.id);
			wait->ticket = (struct rpc_ticket){ 0 };
		}
	}
}

int watch_timeout_ms(const struct watch *watch)
{
	uint64_t now_ns = clock_now_ns(), end_ns = UINT64_MAX;

	/* Whoever has lost events is to hear of it as soon as it reads again. */
	for (size_t i = 0; i < array_size(watch->subscribers); i++)
		if (watch->subscribers[i].lost)
			end_ns = now_ns + LOST_RETRY_MS * NSEC_PER_MSEC;
	for (size_t i = 0; i < array_size(watch->waits); i++)
		if (watch->waits[i].ticket.client && watch->waits[i].end_ns < end_ns)
			end_ns = watch->waits[i].end_ns;
	if (watch->rest_ns && watch->rest_ns < end_ns)
		end_ns = watch->rest_ns;
	if (end_ns == UINT64_MAX)
		return -1;
	if (end_ns <= now_ns)
		return 0;
	end_ns = (end_ns - now_ns) / NSEC_PER_MSEC + 1;
	return end_ns < INT32_MAX ? (int)end_ns : INT32_MAX;
}

/* ------------------------------------------------------------------------------ events */

json_t *watch_event_json(const struct event *event)
{
	json_t *json = json_pack(
		"{s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I}", "seq", (json_int_t)event->seq,
		"time_ns", (json_int_t)event->time_ns, "rule", event->rule, "kind",
		kind_at(event->kind)->name, "op", value_op_names()[event->op], "sector",
		(json_int_t)event->sector, "len_bytes", (json_int_t)event->len_bytes, "flags",
		(int)event->flags, "queue", (int)event->queue, "match", (json_int_t)event->match);

	json_object_set_new(json, "delay_ns",
			    event->delay_ns == UINT64_MAX
				    ? json_string("held")
				    : json_integer((json_int_t)event->delay_ns));
	return json;
}

static struct subscriber *find_subscriber(const struct watch *watch, uint64_t client)
{
	for (size_t i = 0; i < array_size(watch->subscribers); i++)
		if (watch->subscribers[i].client == client)
			return (struct subscriber *)&watch->subscribers[i];
	return NULL;
}

bool watch_is_subscribed(const struct watch *watch, uint64_t client)
{
	return watch && find_subscriber(watch, client);
}

int watch_subscribe(struct watch *watch, uint64_t client, const char *rule, struct diag *diag,
		    uint64_t *ret_after)
{
	struct subscriber *subscriber = find_subscriber(watch, client);
	struct event_log *log = pipeline_events(watch->pipeline);
	uint64_t after = event_log_newest(log);

	if (!watch->reader && event_reader_create(log, after, &watch->reader))
		return diag_set(diag, -ENOMEM, "events.memory", "no memory for a subscription");
	if (!subscriber)
		subscriber = find_subscriber(watch, 0);
	if (!subscriber)
		return diag_set(diag, -ENOSPC, "events.too-many", "%d clients listen already",
				RPC_CLIENT_MAX);
	*subscriber = (struct subscriber){ .client = client, .after = after };
	if (rule)
		snprintf(subscriber->rule, sizeof(subscriber->rule), "%s", rule);
	pipeline_listen(watch->pipeline, true);
	*ret_after = after;
	return 0;
}

void watch_unsubscribe(struct watch *watch, uint64_t client)
{
	struct subscriber *subscriber = find_subscriber(watch, client);

	if (subscriber)
		*subscriber = (struct subscriber){ 0 };
}

static void tell_lost(struct subscriber *subscriber, struct rpc_server *server)
{
	json_t *lost = rpc_notification("events.lost",
					json_pack("{s:I}", "count", (json_int_t)subscriber->lost));

	/* Gone is gone; one that still does not read is told later. */
	if (rpc_server_notify(server, subscriber->client, lost) != -ENOBUFS)
		subscriber->lost = 0;
}

struct line {
	size_t len; /* 0: not written yet */
	char text[EVENT_LINE_MAX];
};

/* One event to one client; @lost of those before it were overwritten. */
static void deliver_to(struct subscriber *subscriber, struct rpc_server *server,
		       const struct event *event, uint64_t lost, struct line *line)
{
	int err;

	subscriber->lost += lost;
	if (subscriber->lost && !subscriber->full)
		tell_lost(subscriber, server);
	if (event->seq <= subscriber->after ||
	    (subscriber->rule[0] && strcmp(subscriber->rule, event->rule) != 0))
		return;
	if (!line->len)
		line->len = event_line_put(line->text, event);
	err = subscriber->lost ? -ENOBUFS
			       : rpc_server_post(server, subscriber->client, line->text, line->len);
	if (err == -ENOBUFS) {
		subscriber->lost++;
		subscriber->full = true;
	} else if (err) {
		*subscriber = (struct subscriber){ 0 };
	}
}

static void deliver(struct watch *watch, struct rpc_server *server, const struct event *event,
		    uint64_t lost)
{
	struct line line;

	line.len = 0;
	for (size_t i = 0; i < array_size(watch->subscribers); i++)
		if (watch->subscribers[i].client)
			deliver_to(&watch->subscribers[i], server, event, lost, &line);
}

void watch_announce(struct watch *watch, struct rpc_server *server, const char *method,
		    json_t *params)
{
	for (size_t i = 0; i < array_size(watch->subscribers); i++)
		if (watch->subscribers[i].client)
			rpc_server_notify(server, watch->subscribers[i].client,
					  rpc_notification(method, json_incref(params)));
	json_decref(params);
}

static bool has_subscribers(const struct watch *watch)
{
	for (size_t i = 0; i < array_size(watch->subscribers); i++)
		if (watch->subscribers[i].client)
			return true;
	return false;
}

static bool has_waits(const struct watch *watch)
{
	for (size_t i = 0; i < array_size(watch->waits); i++)
		if (watch->waits[i].ticket.client)
			return true;
	return false;
}

/* As many as a ring holds: the other clients have a turn too. The number delivered. */
static unsigned int deliver_some(struct watch *watch, struct rpc_server *server)
{
	struct event event;
	uint64_t lost = 0;
	unsigned int nr = 0;

	while (watch->reader && nr < EVENT_RING &&
	       event_reader_next(watch->reader, &event, &lost)) {
		deliver(watch, server, &event, lost);
		lost = 0;
		nr++;
	}
	if (nr)
		rpc_server_send_posted(server);
	return nr;
}

/* Whoever has lost events hears of it before the next one. */
static void tell_all_lost(struct watch *watch, struct rpc_server *server)
{
	for (size_t i = 0; i < array_size(watch->subscribers); i++) {
		watch->subscribers[i].full = false;
		if (watch->subscribers[i].lost)
			tell_lost(&watch->subscribers[i], server);
	}
}

/* Has anything happened since the last look? *ret_more: and there is more than was delivered. */
static bool look(struct watch *watch, struct rpc_server *server, bool *ret_more)
{
	uint64_t newest = event_log_newest(pipeline_events(watch->pipeline));
	bool changed = newest != watch->newest;
	unsigned int nr;

	watch->newest = newest;
	look_at_waits(watch, server);
	nr = deliver_some(watch, server);
	*ret_more = nr == EVENT_RING;
	return changed || nr;
}

bool watch_turn(struct watch *watch, struct rpc_server *server)
{
	uint64_t now_ns = clock_now_ns();
	bool changed, more;

	if (now_ns < watch->rest_ns)
		return false;
	if (watch->reader && !has_subscribers(watch))
		watch->reader = event_reader_free(watch->reader);
	tell_all_lost(watch, server);
	changed = look(watch, server, &more);
	if (!changed && (watch->reader || has_waits(watch))) {
		pipeline_listen(watch->pipeline, true);
		changed = look(watch, server, &more);
	}
	if (changed || !(watch->reader || has_waits(watch)))
		pipeline_listen(watch->pipeline, false);
	/* With nobody who wants to know, the next turn is that of the next who does. */
	watch->rest_ns = changed && !more && (watch->reader || has_waits(watch))
				 ? now_ns + WATCH_REST_MS * NSEC_PER_MSEC
				 : 0;
	return more;
}

void watch_finish(struct watch *watch, struct rpc_server *server)
{
	tell_all_lost(watch, server);
	while (deliver_some(watch, server))
		;
}
