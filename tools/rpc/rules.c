// SPDX-License-Identifier: MIT
/* Methods about the rules: which there are, which shall be, and what they would do. */
#include "tools/rpc/call.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "faults/rule/json.h"
#include "faults/rule/kind.h"
#include "tools/disk/partition.h"
#include "tools/rpc/runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

json_t *rpc_rule_reports(const struct rpc_target *target, bool with_text)
{
	const struct rule_set *set = pipeline_rules(target->pipeline);
	json_t *reports = json_array();

	for (size_t i = 0; i < rule_set_count(set); i++)
		json_array_append_new(reports, rule_report(rule_set_at(set, i), with_text));
	return reports;
}

int rpc_rules_list(struct rpc_call *call)
{
	call->result = json_pack("{s:o}", "rules", rpc_rule_reports(call->target, true));
	return 0;
}

static int answer_count(struct rpc_call *call)
{
	const struct rule_set *set = pipeline_rules(call->target->pipeline);

	call->result = json_pack("{s:I}", "count", (json_int_t)rule_set_count(set));
	return 0;
}

/* What is odd about a set of rules, and has not been said already. */
struct warnings {
	json_t *sentences;
	json_t *known;                /* an object whose keys are sentences; NULL: none */
	const struct rule_set *these; /* what is known of these is said again */
};

static void note_warning(void *ctx, const struct rule *rule, const char *sentence)
{
	(void)rule;
	json_object_set_new(ctx, sentence, json_true());
}

static void append_warning(void *ctx, const struct rule *rule, const char *sentence)
{
	struct warnings *warnings = ctx;

	if (rule_set_find(warnings->these, rule_name(rule)) == rule ||
	    !json_object_get(warnings->known, sentence))
		json_array_append_new(warnings->sentences, json_string(sentence));
}

/* Of the disks that the rule takes along: it is put all the same, for they may come yet. */
static void warn_of_missing(const struct rule *rule, json_t *warnings)
{
	const char *with = rule_with(rule);
	struct text rest = { with, with ? strlen(with) : 0 };

	while (rest.len) {
		struct text word = text_cut(&rest, '+');
		char name[VALUE_NAME_MAX + 1], path[PATH_MAX];
		struct diag ignored = { 0 };

		snprintf(name, sizeof(name), "%.*s", (int)word.len, word.at);
		if (runtime_socket(name, path, &ignored) == 0 && access(path, F_OK) < 0)
			json_array_append_new(
				warnings,
				json_sprintf(
					"rule '%s' takes disk '%s' along, which is not running",
					rule_name(rule), name));
	}
}

/*
 * The same, with what is odd about the rules @these, and about others since @before, the set that
 * was in force: what was known of those is not news.
 */
static int answer_warnings(struct rpc_call *call, const struct rule_set *before,
			   const struct rule_set *these)
{
	const struct rpc_target *target = call->target;
	json_t *known = json_object(), *warnings = json_array();

	rule_set_lint(before, &target->geometry, note_warning, known);
	rule_set_lint(pipeline_rules(target->pipeline), &target->geometry, append_warning,
		      &(struct warnings){ warnings, known, these });
	for (size_t i = 0; target->disk && i < rule_set_count(these); i++)
		warn_of_missing(rule_set_at(these, i), warnings);
	json_decref(known);
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

#define RULES_WANTED "the name of a rule, or an array of names"

/* All rules that "name" names, which are all there; put into @these. */
static int param_rules(struct rpc_call *call, struct rule_set *these)
{
	json_t *param = rpc_param(call, "name");
	bool many = json_is_array(param);
	size_t nr = many ? json_array_size(param) : 1;

	if (!param)
		return rpc_missing_param(call, "name", RULES_WANTED);
	for (size_t i = 0; i < nr; i++) {
		const char *name = json_string_value(many ? json_array_get(param, i) : param);
		struct rule *rule;
		int err = name ? find_rule(call, name, &rule)
			       : rpc_bad_param(call, "name", RULES_WANTED);

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

int rpc_rules_enable(struct rpc_call *call)
{
	return enable(call, true);
}

int rpc_rules_disable(struct rpc_call *call)
{
	return enable(call, false);
}

#define RULE_WANTED "a rule as text or object"

static bool is_rule(const json_t *value)
{
	return json_is_string(value) || json_is_object(value);
}

/* Add @value, the call's rule @index, to @set, which has none of its name yet; last. */
static int add_rule(struct rpc_call *call, struct rule_set *set, json_t *value, size_t index,
		    struct rule **ret_rule)
{
	_cleanup_rule_ struct rule *rule = NULL;
	int err = call->reading ? rpc_reading_take(call->reading, index, &call->diag, &rule)
				: rule_from_json(value, &call->diag, &rule);

	if (!err && rule_part(rule) && call->target->disk)
		err = partition_resolve(disk_dev(call->target->disk), rule, &call->diag);
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
int rpc_rules_put(struct rpc_call *call)
{
	_cleanup_set_ struct rule_set *set = rule_set_copy(pipeline_rules(call->target->pipeline));
	_cleanup_set_ struct rule_set *before_it = set ? rule_set_copy(set) : NULL;
	_cleanup_set_ struct rule_set *these = rule_set_new();
	json_t *param = rpc_param(call, "rule");
	bool many = json_is_array(param);
	size_t nr = many ? json_array_size(param) : 1;
	const char *before;
	int err;

	if (!set || !before_it || !these)
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
		err = add_rule(call, these, value, i, &rule);
		if (!err)
			err = rule_set_put(set, rule, before, &call->diag);
		/* Of -ENOENT "before" is to blame. */
		if (err)
			return nr > 1 && err != -ENOENT ? many_error(call, "rule", i, err)
							: rpc_engine_error(call, err);
	}
	err = rpc_set_rules(call, set);
	return err ? err : answer_warnings(call, before_it, these);
}

int rpc_rules_remove(struct rpc_call *call)
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

int rpc_rules_clear(struct rpc_call *call)
{
	_cleanup_set_ struct rule_set *set = rule_set_new();
	int err = set ? rpc_set_rules(call, set) : rpc_engine_error(call, -ENOMEM);

	return err ? err : answer_count(call);
}

int rpc_rules_replace(struct rpc_call *call)
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
		err = add_rule(call, set, value, index, NULL);
		if (err)
			return many_error(call, "rules", index, err);
	}
	err = rpc_set_rules(call, set);
	return err ? err : answer_warnings(call, set, set);
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

int rpc_rules_explain(struct rpc_call *call)
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
