// SPDX-License-Identifier: MIT
/*
 * A table of methods. Each names its parameters, so that an unknown one is refused in one place
 * before the method runs; a method reads its parameters, calls the engine and packs the result.
 */
#include "tools/rpc/call.h"

#include "base/cleanup.h"
#include "base/near.h"
#include "tools/cli/tool.h"
#include "tools/rpc/watch.h"

#include <errno.h>
#include <string.h>

#define METHOD_PARAMS_MAX 9
#define CUT_PARAMS        "keep", "seed", "pattern", "share", "vanish", "unplug", "gone_ns"

/* What a method cannot do without. */
enum need {
	NEEDS_DISK = 1 << 0,   /* a disk, not only a pipeline */
	NEEDS_QUEUES = 1 << 1, /* queues that are there, or are not; see rpc_target.is_changing */
	NEEDS_FILES = 1 << 2,  /* those that its rules name */
	MAY_BE_FROZEN = 1 << 3 /* with NEEDS_QUEUES: or that stand still for this very client */
};

static const struct method {
	const char *name;
	rpc_method_fn run;
	unsigned int needs;                    /* enum need */
	const char *params[METHOD_PARAMS_MAX]; /* NULL-terminated */
} methods[] = {
	{ "status", rpc_status, NEEDS_DISK, { NULL } },
	{ "stats", rpc_stats, NEEDS_DISK, { NULL } },
	{ "rules.list", rpc_rules_list, NEEDS_QUEUES, { NULL } },
	{ "rules.put", rpc_rules_put, NEEDS_QUEUES | NEEDS_FILES, { "rule", "before", NULL } },
	{ "rules.remove", rpc_rules_remove, NEEDS_QUEUES, { "name", NULL } },
	{ "rules.clear", rpc_rules_clear, NEEDS_QUEUES, { NULL } },
	{ "rules.enable", rpc_rules_enable, NEEDS_QUEUES, { "name", NULL } },
	{ "rules.disable", rpc_rules_disable, NEEDS_QUEUES, { "name", NULL } },
	{ "rules.wait", rpc_rules_wait, 0, { "name", "hits", "timeout_ms", NULL } },
	{ "rules.tell", rpc_rules_tell, 0, { "name", "verb", "range", "part", NULL } },
	{ "rules.replace", rpc_rules_replace, NEEDS_QUEUES | NEEDS_FILES, { "rules", NULL } },
	{ "rules.explain",
	  rpc_rules_explain,
	  NEEDS_QUEUES,
	  { "op", "off", "offset_bytes", "len", "flags", "queue", NULL } },
	{ "faults.list", rpc_faults_list, 0, { NULL } },
	{ "held.list", rpc_held_list, 0, { NULL } },
	{ "held.release", rpc_held_release, 0, { "rule", "id", "count", NULL } },
	{ "events.list", rpc_events_list, 0, { "after", "max", NULL } },
	{ "events.subscribe", rpc_events_subscribe, 0, { "rule", NULL } },
	{ "events.unsubscribe", rpc_events_unsubscribe, 0, { NULL } },
	{ "disk.revive", rpc_disk_revive, NEEDS_DISK | NEEDS_QUEUES, { NULL } },
	{ "disk.freeze",
	  rpc_disk_freeze,
	  NEEDS_DISK | NEEDS_QUEUES | MAY_BE_FROZEN,
	  { CUT_PARAMS, NULL } },
	{ "disk.thaw", rpc_disk_thaw, NEEDS_DISK, { NULL } },
	{ "disk.crash",
	  rpc_disk_crash,
	  NEEDS_DISK | NEEDS_QUEUES | MAY_BE_FROZEN,
	  { CUT_PARAMS, "frozen", NULL } },
	{ "disk.capacity", rpc_disk_capacity, NEEDS_DISK, { "capacity", NULL } },
	{ "snapshot.create", rpc_snapshot_create, NEEDS_DISK | NEEDS_QUEUES, { "name", NULL } },
	{ "snapshot.restore", rpc_snapshot_restore, NEEDS_DISK | NEEDS_QUEUES, { "name", NULL } },
	{ "snapshot.remove", rpc_snapshot_remove, NEEDS_DISK | NEEDS_QUEUES, { "name", NULL } },
	{ "snapshot.list", rpc_snapshot_list, NEEDS_DISK, { NULL } },
	{ "snapshot.save",
	  rpc_snapshot_save,
	  NEEDS_DISK | NEEDS_QUEUES,
	  { "name", "path", "force", NULL } },
	{ "image.save", rpc_image_save, NEEDS_DISK | NEEDS_QUEUES, { "path", "force", NULL } },
	{ "image.load", rpc_image_load, NEEDS_DISK | NEEDS_QUEUES, { "path", NULL } },
	{ "mark", rpc_mark, 0, { "text", NULL } },
	{ "recording.limit", rpc_recording_limit, 0, { "limit", NULL } },
	{ "recording.stop", rpc_recording_stop, 0, { NULL } },
	{ "stop", rpc_stop, NEEDS_DISK, { "force", NULL } },
};

static int find_method(const char *name, struct diag *diag, const struct method **ret_method)
{
	const char *names[array_size(methods) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < array_size(methods); i++) {
		names[i] = methods[i].name;
		if (strcmp(methods[i].name, name) == 0) {
			*ret_method = &methods[i];
			return 0;
		}
	}
	diag_set(diag, 0, "protocol.unknown-method", "there is no method '%.64s'", name);
	near = near_word(name, strlen(name), names);
	if (near)
		diag_hint(diag, "did you mean '%s'?", near);
	return RPC_METHOD_NOT_FOUND;
}

static int check_params(const struct method *method, struct rpc_call *call)
{
	const char *key, *near;
	json_t *value;

	json_object_foreach (call->params, key, value) {
		size_t i = 0;

		while (method->params[i] && strcmp(method->params[i], key) != 0)
			i++;
		if (method->params[i])
			continue;
		diag_set(&call->diag, 0, "protocol.unknown-param", "%s has no parameter '%.64s'",
			 method->name, key);
		near = near_word(key, strlen(key), method->params);
		if (near)
			diag_hint(&call->diag, "did you mean '%s'?", near);
		return RPC_INVALID_PARAMS;
	}
	return 0;
}

/* 0; -EAGAIN: not now; or an enum rpc_code. */
static int read_files(struct rpc_call *call)
{
	struct rpc_reading *reading = call->target->reading;
	const json_t *rules = rpc_param(call, "rule") ?: rpc_param(call, "rules");
	int err;

	if (!reading || !rpc_reading_is_for(rules))
		return 0;
	err = rpc_reading_ask(reading, call->ticket.client, rules);
	if (err == -EBUSY) {
		diag_set(&call->diag, err, "rule.busy",
			 "a file of another rule is being read, and does not respond");
		diag_hint(&call->diag, "try again later");
		return RPC_LIMIT;
	}
	if (err == -ENOMEM)
		return rpc_engine_error(call, err);
	call->reading = err ? NULL : reading;
	return err;
}

/* As a method; -EAGAIN: not now. */
static int dispatch(struct rpc_call *call, const char *name)
{
	const struct method *method;
	int code = find_method(name, &call->diag, &method);

	if (!code)
		code = check_params(method, call);
	if (code)
		return code;
	if (method->needs & NEEDS_DISK && !call->target->disk) {
		diag_set(&call->diag, 0, "disk.none", "%s needs a disk, and there is none", name);
		return RPC_FAILED;
	}
	if (method->needs & NEEDS_QUEUES && call->target->is_changing &&
	    call->target->is_changing(call->target->ctx,
				      method->needs & MAY_BE_FROZEN ? call->ticket.client : 0))
		return -EAGAIN;
	if (method->needs & NEEDS_FILES)
		code = read_files(call);
	if (code)
		return code;
	code = method->run(call);
	if (call->reading)
		rpc_reading_end(call->reading);
	if (!code && (rpc_json_short() || !call->result)) {
		diag_set(&call->diag, 0, "memory", "the request was carried out, but there is no "
						   "memory for the answer");
		code = RPC_FAILED;
	}
	return code;
}

enum rpc_outcome rpc_serve_line(const struct rpc_target *target, uint64_t client, const char *line,
				size_t len, char **ret_text, size_t *ret_len)
{
	struct rpc_call call = { .target = target };
	struct rpc_request request;
	enum rpc_outcome outcome;
	json_t *answer = NULL;
	int code;

	*ret_len = 0;
	rpc_json_short();
	code = rpc_request_parse(line, len, &call.diag, &request);
	call.params = request.params;
	call.ticket = (struct rpc_ticket){ .client = client, .id = json_incref(request.id) };
	if (!code)
		code = dispatch(&call, request.method);
	/* Only a request that could be understood can be a notification. */
	outcome = request.id || (code && !request.method) ? RPC_ANSWERED : RPC_SILENT;
	if (code == -EAGAIN) {
		outcome = RPC_NOT_NOW;
		json_decref(call.ticket.id);
	} else if (code == -EINPROGRESS) {
		/* The ticket went with it. */
		outcome = request.id ? RPC_LATER : RPC_SILENT;
	} else {
		if (code && outcome == RPC_ANSWERED)
			answer = rpc_error(request.id, code, &call.diag);
		else if (!code && request.id)
			answer = rpc_answer(request.id, json_incref(call.result));
		json_decref(call.result);
		json_decref(call.ticket.id);
	}
	rpc_request_free(&request);
	*ret_text = rpc_line_text(answer, ret_len);
	return outcome;
}

json_t *rpc_greeting(const struct rpc_target *target)
{
	json_t *limits = json_pack("{s:i, s:i, s:i, s:i}", "line_bytes", RPC_LINE_MAX, "depth",
				   RPC_DEPTH_MAX, "clients", RPC_CLIENT_MAX, "rules", RULE_SET_MAX);

	return json_pack("{s:i, s:s, s:s, s:s*, s:s*, s:o}", "protocol", RPC_PROTOCOL, "program",
			 "faultblk", "version", FAULTBLK_VERSION, "name", target->name, "device",
			 target->disk && disk_dev(target->disk)
				 ? ublk_dev_path(disk_dev(target->disk))
				 : NULL,
			 "limits", limits);
}

static bool is_listening(const struct rpc_target *target, uint64_t client)
{
	return watch_is_subscribed(target->watch, client);
}

const struct rpc_service rpc_methods_service = {
	.serve_line = rpc_serve_line,
	.greeting = rpc_greeting,
	.is_listening = is_listening,
};
