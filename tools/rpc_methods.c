// SPDX-License-Identifier: MIT
/*
 * A table of methods. Each names its parameters, so that an unknown one is refused in one place
 * before the method runs; a method reads its parameters, calls the engine and packs the result.
 */
#include "rpc_call.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/near.h"
#include "base/units.h"
#include "faults/kind.h"
#include "faults/rule_json.h"
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define METHOD_PARAMS_MAX 8
#define ERRNO_MAX         4095
#define HOLDERS_MAX       16
#define EXPLAIN_LEN_BYTES 4096 /* of a request to explain that does not say */

static void cleanup_rule(struct rule **rule)
{
	rule_unref(*rule);
}

static void cleanup_set(struct rule_set **set)
{
	rule_set_free(*set);
}

#define _cleanup_rule_ _cleanup_(cleanup_rule)
#define _cleanup_set_  _cleanup_(cleanup_set)

/* ------------------------------------------------------------------------------ errors */

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

int rpc_engine_error(struct rpc_call *call, int err)
{
	if (!call->diag.message[0])
		diag_set(&call->diag, err, "failed", "%s", strerror(-err));
	return rpc_code_of(err);
}

int rpc_bad_param(struct rpc_call *call, const char *name, const char *wanted)
{
	json_t *value = rpc_param(call, name);
	_cleanup_free_ char *got =
		value ? json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT)
		      : NULL;

	if (got)
		diag_set(&call->diag, 0, "protocol.param", "%s: got %.60s%s, wanted %s", name, got,
			 strlen(got) > 60 ? "..." : "", wanted);
	else
		diag_set(&call->diag, 0, "protocol.param", "%s: wanted %s", name, wanted);
	return RPC_INVALID_PARAMS;
}

int rpc_missing_param(struct rpc_call *call, const char *name, const char *wanted)
{
	diag_set(&call->diag, 0, "protocol.missing-param", "%s is missing: wanted %s", name,
		 wanted);
	return RPC_INVALID_PARAMS;
}

/* ------------------------------------------------------------------------------ parameters */

json_t *rpc_param(const struct rpc_call *call, const char *name)
{
	return json_object_get(call->params, name);
}

int rpc_param_string(struct rpc_call *call, const char *name, bool required, const char **ret)
{
	json_t *value = rpc_param(call, name);

	if (!value && required)
		return rpc_missing_param(call, name, "a string");
	if (value && !json_is_string(value))
		return rpc_bad_param(call, name, "a string");
	*ret = json_string_value(value);
	return 0;
}

int rpc_param_bool(struct rpc_call *call, const char *name, bool *ret)
{
	json_t *value = rpc_param(call, name);

	if (value && !json_is_boolean(value))
		return rpc_bad_param(call, name, "true or false");
	*ret = json_is_true(value);
	return 0;
}

int rpc_param_size(struct rpc_call *call, const char *name, uint64_t max, uint64_t *ret)
{
	json_t *value = rpc_param(call, name);
	const char *text = json_string_value(value);
	uint64_t size;
	char wanted[96], max_text[UNITS_MAX];

	if (!value)
		return 0;
	snprintf(wanted, sizeof(wanted), "a size of at most %s: an integer or text like \"1M\"",
		 units_format_size(max, max_text));
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		size = (uint64_t)json_integer_value(value);
	else if (!text || units_parse_size(text, json_string_length(value), &size))
		return rpc_bad_param(call, name, wanted);
	if (size > max)
		return rpc_bad_param(call, name, wanted);
	*ret = size;
	return 0;
}

int rpc_param_count(struct rpc_call *call, const char *name, uint64_t min, uint64_t max,
		    uint64_t *ret)
{
	json_t *value = rpc_param(call, name);
	char wanted[80];

	if (!value)
		return 0;
	if (json_is_integer(value) && json_integer_value(value) >= 0 &&
	    (uint64_t)json_integer_value(value) >= min &&
	    (uint64_t)json_integer_value(value) <= max) {
		*ret = (uint64_t)json_integer_value(value);
		return 0;
	}
	snprintf(wanted, sizeof(wanted), "a whole number from %llu to %llu",
		 (unsigned long long)min, (unsigned long long)max);
	return rpc_bad_param(call, name, wanted);
}

/* ------------------------------------------------------------------------------ rules */

/* Without a device there are no queue threads: this thread is all of them. */
int rpc_set_rules(struct rpc_call *call, const struct rule_set *set)
{
	const struct rpc_target *target = call->target;
	uint64_t epoch;
	int err;

	if (target->disk) {
		err = disk_set_rules(target->disk, set, &call->diag);
	} else {
		err = pipeline_publish(target->pipeline, set, clock_now_ns(), &call->diag, &epoch);
		for (uint16_t queue = 0; !err && queue < target->geometry.nr_queues; queue++)
			pipeline_adopt(target->pipeline, queue);
		if (!err && !pipeline_adopted(target->pipeline, epoch))
			err = -ETIMEDOUT;
	}
	return err ? rpc_engine_error(call, err) : 0;
}

static json_t *rule_report(const struct rule *rule, bool with_text)
{
	_cleanup_free_ char *text = with_text ? rule_print(rule) : NULL;
	struct rule_counts counts;
	json_t *report;

	rule_counts(rule, &counts);
	report = json_pack("{s:s, s:I, s:I, s:b}", "name", rule_name(rule), "matches",
			   (json_int_t)counts.matches, "hits", (json_int_t)counts.hits, "enabled",
			   rule_enabled(rule));
	if (text)
		json_object_set_new(report, "text", json_string(text));
	else if (with_text)
		rpc_json_set_short();
	return report;
}

static json_t *rule_reports(const struct rpc_target *target, bool with_text)
{
	const struct rule_set *set = pipeline_rules(target->pipeline);
	json_t *reports = json_array();

	for (size_t i = 0; i < rule_set_count(set); i++)
		json_array_append_new(reports, rule_report(rule_set_at(set, i), with_text));
	return reports;
}

static int rules_list(struct rpc_call *call)
{
	call->result = json_pack("{s:o}", "rules", rule_reports(call->target, true));
	return 0;
}

static int answer_count(struct rpc_call *call)
{
	const struct rule_set *set = pipeline_rules(call->target->pipeline);

	call->result = json_pack("{s:I}", "count", (json_int_t)rule_set_count(set));
	return 0;
}

static void append_warning(void *ctx, const struct rule *rule, const char *sentence)
{
	(void)rule;
	json_array_append_new(ctx, json_string(sentence));
}

/* The same, with what is odd about the rules now in force. */
static int answer_warnings(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	json_t *warnings = json_array();

	rule_set_lint(pipeline_rules(target->pipeline), &target->geometry, append_warning,
		      warnings);
	answer_count(call);
	json_object_set_new(call->result, "warnings", warnings);
	return 0;
}

static int find_rule(struct rpc_call *call, const char *name, struct rule **ret_rule)
{
	const struct rule_set *set = pipeline_rules(call->target->pipeline);
	_cleanup_set_ struct rule_set *copy = NULL;

	*ret_rule = rule_set_find(set, name);
	if (*ret_rule)
		return 0;
	/* The words for a name that is not there are those of removing it. */
	copy = rule_set_copy(set);
	return rpc_engine_error(call, copy ? rule_set_remove(copy, name, &call->diag) : -ENOMEM);
}

int rpc_param_rule(struct rpc_call *call, struct rule **ret_rule)
{
	const char *name;
	int err = rpc_param_string(call, "name", true, &name);

	return err ? err : find_rule(call, name, ret_rule);
}

#define NAME_WANTED "the name of a rule, or an array of names"

/* All rules that "name" names, which are all there; put into @these. */
static int param_rules(struct rpc_call *call, struct rule_set *these)
{
	json_t *param = rpc_param(call, "name");
	bool many = json_is_array(param);
	size_t nr = many ? json_array_size(param) : 1;

	if (!param)
		return rpc_missing_param(call, "name", NAME_WANTED);
	for (size_t i = 0; i < nr; i++) {
		const char *name = json_string_value(many ? json_array_get(param, i) : param);
		struct rule *rule;
		int err = name ? find_rule(call, name, &rule)
			       : rpc_bad_param(call, "name", NAME_WANTED);

		if (err)
			return err;
		err = rule_set_put(these, rule, NULL, &call->diag);
		if (err)
			return rpc_engine_error(call, err);
	}
	return 0;
}

static void enable_all(struct rule_set *these, bool enabled)
{
	for (size_t i = 0; i < rule_set_count(these); i++)
		rule_enable(rule_set_at(these, i), enabled);
}

static int enable(struct rpc_call *call, bool enabled)
{
	_cleanup_set_ struct rule_set *set = rule_set_copy(pipeline_rules(call->target->pipeline));
	_cleanup_set_ struct rule_set *these = rule_set_new(), *others = rule_set_new();
	int err =
		set && these && others ? param_rules(call, these) : rpc_engine_error(call, -ENOMEM);

	/* Those that change, so that an error can take back just that. */
	for (size_t i = 0; !err && i < rule_set_count(these); i++)
		if (rule_enabled(rule_set_at(these, i)) != enabled &&
		    rule_set_put(others, rule_set_at(these, i), NULL, &call->diag))
			err = rpc_engine_error(call, -ENOMEM);
	if (err)
		return err;
	enable_all(others, enabled);
	err = rpc_set_rules(call, set);
	if (err)
		enable_all(others, !enabled);
	return err ? err : answer_count(call);
}

static int rules_enable(struct rpc_call *call)
{
	return enable(call, true);
}

static int rules_disable(struct rpc_call *call)
{
	return enable(call, false);
}

#define RULE_WANTED "a rule as text or object"

static bool is_rule(const json_t *value)
{
	return json_is_string(value) || json_is_object(value);
}

/* Add @value to @set, which has none of its name yet; last. */
static int add_rule(struct rpc_call *call, struct rule_set *set, json_t *value,
		    struct rule **ret_rule)
{
	_cleanup_rule_ struct rule *rule = NULL;
	int err = rule_from_json(value, &call->diag, &rule);

	if (err)
		return err;
	if (rule_set_find(set, rule_name(rule)))
		return diag_set(&call->diag, -EINVAL, "rule.duplicate-name",
				"there are two rules named '%s'", rule_name(rule));
	err = rule_set_put(set, rule, NULL, &call->diag);
	if (!err && ret_rule)
		*ret_rule = rule;
	return err;
}

/* Say which of many: "rules[3]: ..." */
static int many_error(struct rpc_call *call, const char *name, size_t index, int err)
{
	char message[sizeof(call->diag.message)];

	rpc_engine_error(call, err);
	snprintf(message, sizeof(message), "%s", call->diag.message);
	snprintf(call->diag.message, sizeof(call->diag.message), "%s[%zu]: %.480s", name, index,
		 message);
	return rpc_code_of(err);
}

/* One rule or several, all of them or none. */
static int rules_put(struct rpc_call *call)
{
	_cleanup_set_ struct rule_set *set = rule_set_copy(pipeline_rules(call->target->pipeline));
	_cleanup_set_ struct rule_set *these = rule_set_new();
	json_t *param = rpc_param(call, "rule");
	bool many = json_is_array(param);
	size_t nr = many ? json_array_size(param) : 1;
	const char *before;
	int err;

	if (!set || !these)
		return rpc_engine_error(call, -ENOMEM);
	if (!param)
		return rpc_missing_param(call, "rule", RULE_WANTED);
	err = rpc_param_string(call, "before", false, &before);
	if (err)
		return err;
	for (size_t i = 0; i < nr; i++) {
		json_t *value = many ? json_array_get(param, i) : param;
		struct rule *rule;

		if (!is_rule(value))
			return rpc_bad_param(call, "rule", RULE_WANTED ", or an array of these");
		err = add_rule(call, these, value, &rule);
		if (!err)
			err = rule_set_put(set, rule, before, &call->diag);
		/* Of -ENOENT "before" is to blame. */
		if (err)
			return nr > 1 && err != -ENOENT ? many_error(call, "rule", i, err)
							: rpc_engine_error(call, err);
	}
	err = rpc_set_rules(call, set);
	return err ? err : answer_warnings(call);
}

static int rules_remove(struct rpc_call *call)
{
	_cleanup_set_ struct rule_set *set = rule_set_copy(pipeline_rules(call->target->pipeline));
	_cleanup_set_ struct rule_set *these = rule_set_new();
	int err = set && these ? param_rules(call, these) : rpc_engine_error(call, -ENOMEM);

	if (err)
		return err;
	for (size_t i = 0; i < rule_set_count(these); i++)
		rule_set_remove(set, rule_name(rule_set_at(these, i)), &call->diag);
	err = rpc_set_rules(call, set);
	return err ? err : answer_count(call);
}

static int rules_clear(struct rpc_call *call)
{
	_cleanup_set_ struct rule_set *set = rule_set_new();
	int err = set ? rpc_set_rules(call, set) : rpc_engine_error(call, -ENOMEM);

	return err ? err : answer_count(call);
}

static int rules_replace(struct rpc_call *call)
{
	_cleanup_set_ struct rule_set *set = rule_set_new();
	json_t *rules = rpc_param(call, "rules"), *value;
	size_t index;
	int err;

	if (!set)
		return rpc_engine_error(call, -ENOMEM);
	if (!rules)
		return rpc_missing_param(call, "rules", "an array of rules");
	if (!json_is_array(rules))
		return rpc_bad_param(call, "rules", "an array of rules");
	json_array_foreach (rules, index, value) {
		if (!is_rule(value))
			return rpc_bad_param(call, "rules", "an array of rules as text or objects");
		err = add_rule(call, set, value, NULL);
		if (err)
			return many_error(call, "rules", index, err);
	}
	err = rpc_set_rules(call, set);
	return err ? err : answer_warnings(call);
}

/* ------------------------------------------------------------------------------ explain */

/* The same words as in a rule (op=, flags=), read by the same parser. */
static int param_word(struct rpc_call *call, const char *name, enum value_type type, uint64_t *ret)
{
	const struct param word = { .name = name, .type = type };
	const struct place place = { .diag = &call->diag };
	const char *text;
	struct value value;
	int err = rpc_param_string(call, name, type == VALUE_OPS, &text);

	if (err || !text)
		return err;
	if (value_parse(&place, &word, (struct text){ text, strlen(text) }, &value))
		return RPC_INVALID_PARAMS;
	*ret = value.lo;
	return 0;
}

static int bad_place(struct rpc_call *call, uint64_t offset, uint64_t len, const char *wanted)
{
	char from[UNITS_MAX], size[UNITS_MAX];

	diag_set(&call->diag, 0, "protocol.param", "off and len: got %s and %s, wanted %s",
		 units_format_size(offset, from), units_format_size(len, size), wanted);
	return RPC_INVALID_PARAMS;
}

static int explain_io(struct rpc_call *call, struct io *io)
{
	const struct rule_geometry *geometry = &call->target->geometry;
	uint64_t ops = 0, flags = 0, queue = 0, offset = 0, len = EXPLAIN_LEN_BYTES;
	char wanted[96];
	int err;

	err = param_word(call, "op", VALUE_OPS, &ops);
	if (!err)
		err = param_word(call, "flags", VALUE_FLAGS, &flags);
	if (!err)
		err = rpc_param_size(call, "off", geometry->size_bytes, &offset);
	if (!err)
		err = rpc_param_size(call, "offset_bytes", geometry->size_bytes, &offset);
	if (!err)
		err = rpc_param_size(call, "len", RULE_LEN_MAX, &len);
	if (!err)
		err = rpc_param_size(call, "queue", INT64_MAX, &queue);
	if (err)
		return err;
	if (queue >= geometry->nr_queues) {
		snprintf(wanted, sizeof(wanted), "a hardware queue of the disk, 0 to %u",
			 geometry->nr_queues - 1u);
		return rpc_bad_param(call, "queue", wanted);
	}
	if (ops == 0 || ops & (ops - 1))
		return rpc_bad_param(call, "op", "one operation");
	io->op = (uint8_t)__builtin_ctzll(ops);
	if (io->op == IO_FLUSH)
		offset = len = 0;
	else if (len == 0)
		return rpc_bad_param(call, "len", "at least one sector");
	if (offset % SECTOR_SIZE || len % SECTOR_SIZE)
		return bad_place(call, offset, len, "multiples of 512 bytes");
	if (offset > geometry->size_bytes || len > geometry->size_bytes - offset)
		return bad_place(call, offset, len, "a request inside the disk");
	io->sector = offset >> SECTOR_SHIFT;
	io->len_bytes = (uint32_t)len;
	io->flags = (uint32_t)flags;
	io->queue = (uint16_t)queue;
	return 0;
}

static int rules_explain(struct rpc_call *call)
{
	_cleanup_free_ char *text = NULL;
	json_t *lines = NULL;
	struct io io = { 0 };
	char *line, *rest;
	int err = explain_io(call, &io);

	if (err)
		return err;
	text = pipeline_explain(call->target->pipeline, &io, clock_now_ns());
	if (!text)
		return rpc_engine_error(call, -ENOMEM);
	lines = json_array();
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		json_array_append_new(lines, json_string(line));
	call->result = json_pack("{s:o}", "lines", lines);
	return 0;
}

/* ------------------------------------------------------------------------------ kinds */

static json_t *param_row(const struct param *param)
{
	const bool mark = param->type == VALUE_MARK;
	json_t *row = json_pack("{s:s, s:b, s:s}", "name", param->name, "required",
				param->form == PARAM_FIRST, "doc", param->doc);

	json_object_set_new(row, "value",
			    mark ? json_null() : json_string(param_placeholder(param)));
	if (param->form == PARAM_EITHER)
		json_object_set_new(row, "default", json_string(param->bare));
	return row;
}

json_t *rpc_kinds(void)
{
	json_t *kinds = json_array();
	const struct kind *kind;

	for (size_t i = 0; (kind = kind_at(i)); i++) {
		json_t *ops = json_array(), *params = json_array();

		for (int op = 0; op < IO_NR_OPS; op++)
			if (kind->op_bits >> op & 1)
				json_array_append_new(ops, json_string(value_op_names()[op]));
		for (unsigned int p = 0; p < kind->nr_params; p++)
			json_array_append_new(params, param_row(&kind->params[p]));
		json_array_append_new(kinds, json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "name",
						       kind->name, "doc", kind->doc, "example",
						       kind->example, "terminal",
						       kind->role == KIND_TERMINAL, "ops", ops,
						       "params", params));
	}
	return kinds;
}

static int faults_list(struct rpc_call *call)
{
	call->result = json_pack("{s:o}", "kinds", rpc_kinds());
	return 0;
}

/* ------------------------------------------------------------------------------ the disk */

static json_t *counter(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *holder_list(int id)
{
	static const char *const how[] = {
		[UBLK_HOLD_OPEN] = "open",
		[UBLK_HOLD_MOUNT] = "mount",
		[UBLK_HOLD_SWAP] = "swap",
		[UBLK_HOLD_STACKED] = "stacked",
	};
	struct ublk_holder holders[HOLDERS_MAX];
	int nr = ublk_holders(id, holders, HOLDERS_MAX);
	json_t *list = json_array();

	for (int i = 0; i < nr && i < HOLDERS_MAX; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:s*, s:s*}", "how",
						how[holders[i].how], "pid", holders[i].pid, "name",
						holders[i].name, "where", holders[i].where));
	return list;
}

static json_t *status_options(const struct ublk_options *options)
{
	return json_pack("{s:I, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:s}", "size_bytes",
			 (json_int_t)options->size_bytes, "nr_queues", (int)options->nr_queues,
			 "queue_depth", (int)options->queue_depth, "logical_block_bytes",
			 (int)options->logical_block, "physical_block_bytes",
			 (int)options->physical_block, "max_io_bytes", (int)options->max_io_bytes,
			 "read_only", options->read_only, "rotational", options->rotational,
			 "volatile_cache", options->volatile_cache, "fua", options->fua,
			 "data_path", options->data_path == UBLK_DATA_COPY ? "copy" : "user-copy");
}

/* Of a disk that has gone only its name and its rules are left. */
static void status_device(json_t *result, struct disk *disk)
{
	struct ublk_dev *dev = disk_dev(disk);
	char features[24];

	if (!dev)
		return;
	snprintf(features, sizeof(features), "0x%llx", (unsigned long long)ublk_dev_features(dev));
	json_object_set_new(result, "device", json_string(ublk_dev_path(dev)));
	json_object_set_new(result, "id", json_integer(ublk_dev_id(dev)));
	json_object_set_new(result, "features", json_string(features));
	json_object_set_new(result, "holders", holder_list(ublk_dev_id(dev)));
}

static int status(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	struct pipeline *pipeline = target->pipeline;
	struct disk *disk = target->disk;
	json_t *result;
	char seed[24];

	/* 64-bit values that are not counts travel as text: JSON readers lose their last bits. */
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)disk_seed(disk));
	result = json_pack("{s:s, s:s, s:i, s:s, s:s}", "name", target->name, "socket",
			   target->socket, "pid", (int)getpid(), "version", FAULTBLK_VERSION,
			   "seed", seed);
	status_device(result, disk);
	json_object_update_new(result, status_options(disk_ublk_options(disk)));
	json_object_set_new(result, "uptime_ns", counter(disk_uptime_ns(disk)));
	json_object_set_new(result, "allocated_bytes", counter(store_allocated(disk_store(disk))));
	json_object_set_new(result, "rules", counter(rule_set_count(pipeline_rules(pipeline))));
	json_object_set_new(
		result, "condition",
		json_string(condition_name(condition_bits(pipeline_condition(pipeline)))));
	json_object_set_new(result, "state", json_string(pipeline_state(pipeline)));
	json_object_set_new(result, "held", counter(pipeline_held(pipeline, NULL, 0)));
	json_object_set_new(result, "volatile_bytes",
			    counter(pipeline_cache(pipeline)
					    ? cache_volatile_bytes(pipeline_cache(pipeline))
					    : 0));
	json_object_set_new(result, "cache", rpc_status_cache(target));
	json_object_set_new(result, "snapshots", rpc_status_snapshots(target));
	json_object_set_new(result, "events", counter(event_log_newest(pipeline_events(pipeline))));
	json_object_set_new(result, "recording", rpc_recording(pipeline));
	call->result = result;
	return 0;
}

static json_t *op_reports(const struct ublk_dev *dev)
{
	json_t *ops = json_object();

	for (int op = 0; op < UBLK_NR_OPS; op++) {
		struct ublk_op_stats s = { 0 };

		if (ublk_dev_op_stats(dev, -1, (enum ublk_op)op, &s))
			rpc_json_set_short();
		json_object_set_new(
			ops, value_op_names()[op],
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ops",
				  (json_int_t)s.ops, "bytes", (json_int_t)s.bytes, "errors",
				  (json_int_t)s.errors, "p50_ns", (json_int_t)s.p50_ns, "p90_ns",
				  (json_int_t)s.p90_ns, "p99_ns", (json_int_t)s.p99_ns, "p999_ns",
				  (json_int_t)s.p999_ns, "max_ns", (json_int_t)s.max_ns));
	}
	return ops;
}

static json_t *errno_reports(const struct ublk_dev *dev)
{
	json_t *errors = json_object();

	for (int error = 1; error <= ERRNO_MAX; error++) {
		const char *name = strerrorname_np(error);
		uint64_t count = name ? ublk_dev_errno_count(dev, error) : 0;

		if (count)
			json_object_set_new(errors, name, counter(count));
	}
	return errors;
}

static json_t *queue_reports(const struct ublk_dev *dev)
{
	json_t *queues = json_array();

	for (unsigned int q = 0; q < ublk_dev_options(dev)->nr_queues; q++) {
		struct ublk_queue_stats s = { 0 };

		ublk_dev_queue_stats(dev, q, &s);
		json_array_append_new(queues, json_pack("{s:i, s:I, s:I, s:I, s:I}", "queue",
							(int)q, "batches", (json_int_t)s.batches,
							"parked", (json_int_t)s.parked, "in_flight",
							(json_int_t)s.in_flight, "parked_now",
							(json_int_t)s.parked_now));
	}
	return queues;
}

static int stats(struct rpc_call *call)
{
	struct disk *disk = call->target->disk;
	const struct ublk_dev *dev = disk_dev(disk);

	if (!dev) {
		diag_set(&call->diag, -ENODEV, "disk.gone",
			 "the disk has gone, and its counters with it");
		diag_hint(&call->diag, "bring it back with: faultblk revive");
		return RPC_FAILED;
	}
	call->result = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "name", call->target->name,
				 "uptime_ns", (json_int_t)disk_uptime_ns(disk), "ops",
				 op_reports(dev), "errors", errno_reports(dev), "rules",
				 rule_reports(call->target, false), "queues", queue_reports(dev));
	return 0;
}

static int stop(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	bool force = false;
	int err = rpc_param_bool(call, "force", &force);

	if (err)
		return err;
	err = target->stop(target->ctx, force, &call->ticket, &call->diag);
	if (err == -EINPROGRESS)
		return err;
	if (err)
		return rpc_engine_error(call, err);
	call->result = json_pack("{s:b}", "stopped", 1);
	return 0;
}

/* ------------------------------------------------------------------------------ dispatch */

static const struct method {
	const char *name;
	rpc_method_fn run;
	bool needs_disk;
	const char *params[METHOD_PARAMS_MAX]; /* NULL-terminated */
} methods[] = {
	{ "status", status, true, { NULL } },
	{ "stats", stats, true, { NULL } },
	{ "rules.list", rules_list, false, { NULL } },
	{ "rules.put", rules_put, false, { "rule", "before", NULL } },
	{ "rules.remove", rules_remove, false, { "name", NULL } },
	{ "rules.clear", rules_clear, false, { NULL } },
	{ "rules.enable", rules_enable, false, { "name", NULL } },
	{ "rules.disable", rules_disable, false, { "name", NULL } },
	{ "rules.wait", rpc_rules_wait, false, { "name", "hits", "timeout_ms", NULL } },
	{ "rules.tell", rpc_rules_tell, false, { "name", "verb", "range", NULL } },
	{ "rules.replace", rules_replace, false, { "rules", NULL } },
	{ "rules.explain",
	  rules_explain,
	  false,
	  { "op", "off", "offset_bytes", "len", "flags", "queue", NULL } },
	{ "faults.list", faults_list, false, { NULL } },
	{ "held.list", rpc_held_list, false, { NULL } },
	{ "held.release", rpc_held_release, false, { "rule", "id", "count", NULL } },
	{ "events.list", rpc_events_list, false, { "after", "max", NULL } },
	{ "events.subscribe", rpc_events_subscribe, false, { "rule", NULL } },
	{ "events.unsubscribe", rpc_events_unsubscribe, false, { NULL } },
	{ "disk.revive", rpc_disk_revive, true, { NULL } },
	{ "disk.crash", rpc_disk_crash, true, { "keep", "seed", "pattern", "vanish", NULL } },
	{ "snapshot.create", rpc_snapshot_create, true, { "name", NULL } },
	{ "snapshot.restore", rpc_snapshot_restore, true, { "name", NULL } },
	{ "snapshot.remove", rpc_snapshot_remove, true, { "name", NULL } },
	{ "snapshot.list", rpc_snapshot_list, true, { NULL } },
	{ "snapshot.save", rpc_snapshot_save, true, { "name", "path", "force", NULL } },
	{ "image.save", rpc_image_save, true, { "path", "force", NULL } },
	{ "image.load", rpc_image_load, true, { "path", NULL } },
	{ "mark", rpc_mark, false, { "text", NULL } },
	{ "recording.limit", rpc_recording_limit, false, { "limit", NULL } },
	{ "recording.stop", rpc_recording_stop, false, { NULL } },
	{ "stop", stop, true, { "force", NULL } },
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

static int dispatch(struct rpc_call *call, const char *name)
{
	const struct method *method;
	int code = find_method(name, &call->diag, &method);

	if (!code)
		code = check_params(method, call);
	if (code)
		return code;
	if (method->needs_disk && !call->target->disk) {
		diag_set(&call->diag, 0, "disk.none", "%s needs a disk, and there is none", name);
		return RPC_FAILED;
	}
	code = method->run(call);
	if (!code && (rpc_json_short() || !call->result)) {
		diag_set(&call->diag, 0, "memory", "carried out, but no memory for the answer");
		code = RPC_FAILED;
	}
	return code;
}

char *rpc_serve_line(const struct rpc_target *target, uint64_t client, const char *line, size_t len,
		     size_t *ret_len)
{
	struct rpc_call call = { .target = target };
	struct rpc_request request;
	json_t *answer = NULL;
	bool due = false;
	char *text;
	int code;

	*ret_len = 0;
	rpc_json_short();
	code = rpc_request_parse(line, len, &call.diag, &request);
	call.params = request.params;
	call.ticket = (struct rpc_ticket){ .client = client, .id = json_incref(request.id) };
	if (!code)
		code = dispatch(&call, request.method);
	if (code == -EINPROGRESS)
		goto out; /* the ticket went with it */
	/* Only a request that could be understood can be a notification. */
	due = request.id || (code && !request.method);
	if (code && due)
		answer = rpc_error(request.id, code, &call.diag);
	else if (!code && request.id)
		answer = rpc_answer(request.id, json_incref(call.result));
	json_decref(call.result);
	json_decref(call.ticket.id);
out:
	rpc_request_free(&request);
	text = rpc_line_text(answer, ret_len);
	if (!text && due)
		*ret_len = 1;
	return text;
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
