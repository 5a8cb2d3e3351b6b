// SPDX-License-Identifier: MIT
/* Methods about what happens: hits, held requests, commands to one rule, the disk's condition. */
#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/record/recorder.h"
#include "faults/rule/ast.h"
#include "tools/disk/partition.h"
#include "tools/rpc/call.h"
#include "tools/rpc/watch.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MAX_MS (24ull * 3600 * 1000)
#define HELD_MAX       1024    /* requests in one answer */
#define RANGES_MAX     1000000 /* ranges in one answer */

static int needs_watch(struct rpc_call *call)
{
	if (call->target->watch)
		return 0;
	diag_set(&call->diag, 0, "disk.none", "there is no disk to subscribe to");
	return RPC_FAILED;
}

int rpc_rules_wait(struct rpc_call *call)
{
	uint64_t hits = 1, timeout_ms = UINT64_MAX;
	struct rule *rule = NULL;
	int err = needs_watch(call);

	if (!err)
		err = rpc_param_rule(call, &rule);
	if (!err)
		err = rpc_param_count(call, "hits", 1, RULE_MATCHES_MAX, &hits);
	if (!err)
		err = rpc_param_count(call, "timeout_ms", 0, TIMEOUT_MAX_MS, &timeout_ms);
	if (err)
		return err;
	err = watch_wait(call->target->watch, rule_name(rule), hits,
			 timeout_ms == UINT64_MAX ? UINT64_MAX : timeout_ms * NSEC_PER_MSEC,
			 &call->ticket, &call->diag);
	if (err == -EINPROGRESS)
		return err;
	if (err)
		return rpc_engine_error(call, err);
	call->result = watch_answer(rule);
	return 0;
}

/* ------------------------------------------------------------------------------ commands to a rule
 */

static void append_range(void *ctx, uint64_t from, uint64_t to)
{
	char text[2 * UNITS_MAX + 2], a[UNITS_MAX], b[UNITS_MAX];
	json_t *ranges = ctx;

	if (json_array_size(ranges) >= RANGES_MAX)
		return;
	snprintf(text, sizeof(text), "%s..%s", units_format_size(from, a),
		 units_format_size(to, b));
	json_array_append_new(ranges, json_string(text));
}

#define RANGE_WANTED "ranges as in a rule, as text or in an array"

/* What stands in "range", in any order and overlapping; *ret_ranges NULL: it is not given. */
static int param_ranges(struct rpc_call *call, struct value_range **ret_ranges, size_t *ret_nr)
{
	static const struct param word = { .name = "range", .type = VALUE_RANGES };
	const struct place place = { .diag = &call->diag };
	json_t *param = rpc_param(call, "range");
	size_t nr_texts = json_is_array(param) ? json_array_size(param) : 1, nr = 0, room = 0;
	_cleanup_free_ struct value_range *all = NULL;

	for (size_t i = 0; param && i < nr_texts; i++) {
		json_t *value = json_is_array(param) ? json_array_get(param, i) : param;
		struct text text = { json_string_value(value), json_string_length(value) };
		_cleanup_free_ struct value_range *some = NULL;
		size_t nr_some;
		int err;

		if (!json_is_string(value))
			return rpc_bad_param(call, "range", RANGE_WANTED);
		err = text_check(&place, text);
		if (!err)
			err = ranges_parse(&place, &word, text, &some, &nr_some);
		if (err)
			return err == -ENOMEM ? rpc_engine_error(call, err) : RPC_INVALID_PARAMS;
		if (array_room("tools/rpc/events/ranges", all, room, nr + nr_some, nr_texts))
			return rpc_engine_error(call, -ENOMEM);
		memcpy(all + nr, some, nr_some * sizeof(*some));
		nr += nr_some;
	}
	if (param && !nr)
		return rpc_bad_param(call, "range", RANGE_WANTED);
	*ret_nr = nr ? ranges_merge(all, nr) : 0;
	*ret_ranges = nr ? take_ptr(all) : NULL;
	return 0;
}

/* In bytes of the disk, and inside of it. */
static int place_ranges(struct rpc_call *call, struct value_range *ranges, size_t nr)
{
	uint64_t part = 0, size = call->target->geometry.size_bytes;
	struct partition partition = { .size = size };
	char from[UNITS_MAX], to[UNITS_MAX], whole[UNITS_MAX];
	int err = rpc_param_count(call, "part", 1, PARTITION_MAX, &part);

	if (!err && part && !nr)
		return rpc_bad_param(call, "part", "together with range");
	if (!err && part)
		err = partition_find(call->target->disk ? disk_dev(call->target->disk) : NULL,
				     (unsigned int)part, &call->diag, &partition)
			      ? RPC_NOT_FOUND
			      : 0;
	for (size_t i = 0; i < nr && !err; i++) {
		if (part && partition_shift(&partition, &ranges[i], &call->diag))
			return RPC_INVALID_PARAMS;
		if (ranges[i].to == UINT64_MAX)
			ranges[i].to = size;
		if (ranges[i].from < ranges[i].to && ranges[i].to <= size)
			continue;
		diag_set(&call->diag, 0, "protocol.param",
			 "range: got %s..%s, wanted a range inside the disk of %s",
			 units_format_size(ranges[i].from, from),
			 units_format_size(ranges[i].to, to), units_format_size(size, whole));
		err = RPC_INVALID_PARAMS;
	}
	return err;
}

/* For each of the ranges, or once without one. */
static int tell_each(struct rpc_call *call, struct rule *rule, struct kind_tell *tell,
		     const struct value_range *ranges, size_t nr, uint64_t *ret_count)
{
	int err = 0;

	*ret_count = 0;
	for (size_t i = 0; i < (nr ? nr : 1) && !err; i++) {
		tell->has_range = nr;
		tell->from = nr ? ranges[i].from : 0;
		tell->to = nr ? ranges[i].to : call->target->geometry.size_bytes;
		if (!tell->dry && pipeline_recorder(call->target->pipeline))
			recorder_tell(pipeline_recorder(call->target->pipeline), rule, tell);
		err = rule->kind->ops->tell(rule->state, tell, &call->diag);
		*ret_count += tell->ret_count;
	}
	return err;
}

/* All of them or none: what would be refused is, before anything is changed. */
static int tell_all(struct rpc_call *call, struct rule *rule, const char *verb,
		    const struct value_range *ranges, size_t nr)
{
	struct kind_tell tell = { .verb = verb, .each = append_range, .dry = true };
	json_t *listed = json_array();
	uint64_t count;
	int err;

	tell.ctx = listed;
	err = tell_each(call, rule, &tell, ranges, nr, &count);
	tell.dry = false;
	if (!err)
		err = tell_each(call, rule, &tell, ranges, nr, &count);
	if (!err) {
		call->result = json_pack("{s:I}", "count", (json_int_t)count);
		if (json_array_size(listed) || strcmp(verb, "list") == 0)
			json_object_set(call->result, "ranges", listed);
	}
	json_decref(listed);
	return err ? rpc_engine_error(call, err) : 0;
}

int rpc_rules_tell(struct rpc_call *call)
{
	_cleanup_free_ struct value_range *ranges = NULL;
	struct rule *rule = NULL;
	const char *verb;
	size_t nr = 0;
	int err = rpc_param_rule(call, &rule);

	if (!err)
		err = rpc_param_string(call, "verb", true, &verb);
	if (!err)
		err = param_ranges(call, &ranges, &nr);
	if (!err)
		err = place_ranges(call, ranges, nr);
	if (err)
		return err;
	if (!rule->kind->ops->tell || !rule->armed) {
		diag_set(&call->diag, 0, "rule.no-commands",
			 "rule '%s' takes no commands: %s has none", rule_name(rule),
			 rule->kind->name);
		return RPC_FAILED;
	}
	return tell_all(call, rule, verb, ranges, nr);
}

/* ------------------------------------------------------------------------------ held requests */

int rpc_held_list(struct rpc_call *call)
{
	_cleanup_free_ struct held *held = calloc(HELD_MAX, sizeof(*held));
	uint64_t now_ns = clock_now_ns();
	json_t *list;
	size_t nr;

	if (!held)
		return rpc_engine_error(call, -ENOMEM);
	nr = pipeline_held(call->target->pipeline, held, HELD_MAX);
	list = json_array();
	for (size_t i = 0; i < nr && i < HELD_MAX; i++) {
		uint64_t held_ns = now_ns > held[i].since_ns ? now_ns - held[i].since_ns : 0;

		json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:I, s:I, s:i, s:I}", "id",
						      (json_int_t)held[i].id, "rule", held[i].rule,
						      "op", value_op_names()[held[i].op], "sector",
						      (json_int_t)held[i].sector, "len_bytes",
						      (json_int_t)held[i].len_bytes, "queue",
						      (int)held[i].queue, "held_ns",
						      (json_int_t)held_ns));
	}
	call->result = json_pack("{s:o, s:I}", "held", list, "count", (json_int_t)nr);
	return 0;
}

int rpc_held_release(struct rpc_call *call)
{
	uint64_t id = 0, count = SIZE_MAX;
	const char *rule;
	size_t nr;
	int err = rpc_param_string(call, "rule", false, &rule);

	if (!err)
		err = rpc_param_count(call, "id", 1, INT64_MAX, &id);
	if (!err)
		err = rpc_param_count(call, "count", 1, INT64_MAX, &count);
	if (err)
		return err;
	nr = pipeline_release(call->target->pipeline, rule, id, count);
	if (call->target->disk)
		disk_kick(call->target->disk);
	call->result = json_pack("{s:I}", "released", (json_int_t)nr);
	return 0;
}

/* ------------------------------------------------------------------------------ events */

int rpc_events_list(struct rpc_call *call)
{
	struct event_log *log = pipeline_events(call->target->pipeline);
	uint64_t after = 0, max = WATCH_LIST_MAX, lost = 0;
	struct event_reader *reader = NULL;
	json_t *events;
	struct event event;
	int err = rpc_param_count(call, "after", 0, INT64_MAX, &after);

	if (!err)
		err = rpc_param_count(call, "max", 1, WATCH_LIST_MAX, &max);
	if (err)
		return err;
	if (event_reader_create(log, after, &reader))
		return rpc_engine_error(call, -ENOMEM);
	events = json_array();
	while (json_array_size(events) < max && event_reader_next(reader, &event, &lost)) {
		json_array_append_new(events, watch_event_json(&event));
		after = event.seq;
	}
	event_reader_free(reader);
	call->result = json_pack("{s:o, s:I, s:I}", "events", events, "lost", (json_int_t)lost,
				 "next", (json_int_t)after);
	return 0;
}

int rpc_events_subscribe(struct rpc_call *call)
{
	const char *rule = NULL;
	uint64_t after = 0;
	int err = needs_watch(call);

	if (!err)
		err = rpc_param_string(call, "rule", false, &rule);
	if (err)
		return err;
	if (rule && strlen(rule) > RULE_NAME_MAX)
		return rpc_bad_param(call, "rule", "a rule's name, at most 63 bytes");
	err = watch_subscribe(call->target->watch, call->ticket.client, rule, &call->diag, &after);
	if (err)
		return rpc_engine_error(call, err);
	call->result = json_pack("{s:I}", "after", (json_int_t)after);
	return 0;
}

int rpc_events_unsubscribe(struct rpc_call *call)
{
	int err = needs_watch(call);

	if (err)
		return err;
	watch_unsubscribe(call->target->watch, call->ticket.client);
	call->result = json_object();
	return 0;
}

/* ------------------------------------------------------------------------------ the disk */

json_t *rpc_revive_answer(uint32_t was, uint64_t lost_blocks, const char *device)
{
	return json_pack("{s:s, s:I, s:s}", "was", condition_name(was), "lost_blocks",
			 (json_int_t)lost_blocks, "device", device);
}

int rpc_disk_revive(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	uint64_t lost = 0;
	uint32_t was = 0;
	int err = target->revive(target->ctx, &call->ticket, &call->diag, &was, &lost);

	if (err == -EINPROGRESS)
		return err;
	if (err)
		return rpc_engine_error(call, err);
	call->result = rpc_revive_answer(was, lost, ublk_dev_path(disk_dev(target->disk)));
	return 0;
}
