// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults/record/recorder.h"
#include "tests/unit/tools/rpc/fake.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct fake fake;

static int open_fake(void **state)
{
	(void)state;
	fake_open(&fake);
	return 0;
}

static int close_fake(void **state)
{
	(void)state;
	fake_close(&fake);
	return 0;
}

static json_t *ask(const char *line)
{
	size_t len;
	char *text = fake_serve(&fake, line, &len);
	json_t *answer = text ? json_loadb(text, len, 0, NULL) : NULL;

	free(text);
	return answer;
}

/* Call @method with @params (JSON text, may be NULL). */
static json_t *call(const char *method, const char *params)
{
	char line[4096];

	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"%s%s}", method,
		 params ? ",\"params\":" : "", params ? params : "");
	return ask(line);
}

static json_t *must(const char *method, const char *params)
{
	json_t *answer = call(method, params);
	json_t *result = json_incref(json_object_get(answer, "result"));

	if (!result)
		fail_msg("%s %s: %s", method, params ? params : "",
			 json_string_value(
				 json_object_get(json_object_get(answer, "error"), "message")));
	json_decref(answer);
	return result;
}

static void must_count(const char *method, const char *params, int count)
{
	json_t *result = must(method, params);

	assert_int_equal(json_integer_value(json_object_get(result, "count")), count);
	json_decref(result);
}

static void refused(const char *method, const char *params, int code, const char *id,
		    const char *hint)
{
	json_t *answer = call(method, params);
	json_t *error = json_object_get(answer, "error");
	json_t *data = json_object_get(error, "data");
	const char *got_hint = json_string_value(json_object_get(data, "hint"));

	assert_non_null(error);
	if (json_integer_value(json_object_get(error, "code")) != code)
		fail_msg("%s: %s", method, json_string_value(json_object_get(error, "message")));
	if (id)
		assert_string_equal(json_string_value(json_object_get(data, "id")), id);
	if (hint && (!got_hint || !strstr(got_hint, hint)))
		fail_msg("%s: hint '%s' does not say '%s'", method, got_hint ? got_hint : "", hint);
	json_decref(answer);
}

static const char *nth_rule(json_t *list, size_t index, const char *key)
{
	json_t *rule = json_array_get(json_object_get(list, "rules"), index);

	return json_string_value(json_object_get(rule, key));
}

static const char *first_warning(json_t *result)
{
	return json_string_value(json_array_get(json_object_get(result, "warnings"), 0));
}

static void a_rule_that_another_leaves_nothing_is_put_with_a_warning(void **state)
{
	json_t *result;

	(void)state;
	result = must("rules.put", "{\"rule\":\"all op=read do=error:EIO\"}");
	assert_null(first_warning(result));
	json_decref(result);
	result = must("rules.put", "{\"rule\":\"part op=read range=1k..2k do=error:ENODATA\"}");
	assert_non_null(first_warning(result));
	assert_non_null(strstr(first_warning(result), "'part'"));
	assert_non_null(strstr(first_warning(result), "'all'"));
	json_decref(result);
	result = must("rules.replace", "{\"rules\":[\"never op=read p=0 do=error:EIO\"]}");
	assert_non_null(strstr(first_warning(result), "'never'"));
	json_decref(result);
	must_count("rules.clear", NULL, 0);
}

static void what_is_odd_about_a_rule_is_not_said_again_for_another(void **state)
{
	json_t *result;

	(void)state;
	json_decref(must("rules.put", "{\"rule\":\"never op=read p=0 do=error:EIO\"}"));
	result = must("rules.put", "{\"rule\":\"other op=write do=delay:1ms\"}");
	assert_null(first_warning(result));
	json_decref(result);
	/* Put again, it is told again. */
	result = must("rules.put", "{\"rule\":\"never op=read p=0 do=error:EIO\"}");
	assert_non_null(strstr(first_warning(result), "'never'"));
	json_decref(result);
	/* What a new rule does to an old one is news. */
	result = must("rules.put", "{\"rule\":\"all op=write do=error:EIO\",\"before\":\"other\"}");
	assert_non_null(strstr(first_warning(result), "rule 'other' is never reached"));
	assert_int_equal(json_array_size(json_object_get(result, "warnings")), 1);
	json_decref(result);
	must_count("rules.clear", NULL, 0);
}

static void what_is_listed_can_be_put_and_replaced(void **state)
{
	json_t *list, *again;
	char *params;

	(void)state;
	must_count("rules.put",
		   "{\"rule\":[\"a op=read range=1k..2k times=3 do=error:EIO\",\"b "
		   "enabled=no do=delay:1ms\"]}",
		   2);
	list = must("rules.list", NULL);
	params = json_dumps(list, JSON_COMPACT);
	must_count("rules.clear", NULL, 0);
	must_count("rules.replace", params, 2);
	again = must("rules.list", NULL);
	assert_true(json_equal(again, list));
	json_decref(again);
	free(params);
	again = json_pack("{s:O}", "rule", json_object_get(list, "rules"));
	params = json_dumps(again, JSON_COMPACT);
	must_count("rules.put", params, 2);
	json_decref(again);
	free(params);
	json_decref(list);
	must_count("rules.clear", NULL, 0);
}

static void rules_are_put_in_order_listed_and_removed(void **state)
{
	json_t *list;

	(void)state;
	must_count("rules.put", "{\"rule\":\"a do=error:EIO\"}", 1);
	must_count("rules.put", "{\"rule\":{\"name\":\"b\",\"do\":\"delay:1ms\"}}", 2);
	must_count("rules.put", "{\"rule\":\"c op=read do=error:EIO\",\"before\":\"a\"}", 3);
	list = must("rules.list", NULL);
	assert_string_equal(nth_rule(list, 0, "name"), "c");
	assert_string_equal(nth_rule(list, 1, "name"), "a");
	assert_string_equal(nth_rule(list, 2, "text"), "b do=delay:1ms");
	json_decref(list);
	must_count("rules.remove", "{\"name\":\"a\"}", 2);
	must_count("rules.clear", NULL, 0);
}

static void several_rules_are_put_all_or_none(void **state)
{
	json_t *list;

	(void)state;
	must_count("rules.put", "{\"rule\":\"z do=error:EIO\"}", 1);
	must_count("rules.put",
		   "{\"rule\":[\"a do=count\",{\"name\":\"b\",\"do\":\"count\"}],\"before\":\"z\"}",
		   3);
	list = must("rules.list", NULL);
	assert_string_equal(nth_rule(list, 0, "name"), "a");
	assert_string_equal(nth_rule(list, 1, "name"), "b");
	assert_string_equal(nth_rule(list, 2, "name"), "z");
	json_decref(list);
	refused("rules.put", "{\"rule\":[\"c do=count\",\"d range=1G.. do=count\"]}", RPC_BAD_RULE,
		NULL, NULL);
	refused("rules.put", "{\"rule\":[\"c do=count\",\"d do=cuont\"]}", RPC_BAD_RULE, NULL,
		"count");
	refused("rules.put", "{\"rule\":[\"c do=count\",\"c do=drop\"]}", RPC_BAD_RULE,
		"rule.duplicate-name", NULL);
	refused("rules.put", "{\"rule\":[\"c do=count\",3]}", RPC_INVALID_PARAMS, "protocol.param",
		NULL);
	must_count("rules.put", "{\"rule\":[]}", 3);
	must_count("rules.clear", NULL, 0);
}

static void several_rules_are_removed_and_switched_all_or_none(void **state)
{
	json_t *list;

	(void)state;
	must_count("rules.put", "{\"rule\":[\"a do=count\",\"b do=count\",\"c do=count\"]}", 3);
	refused("rules.disable", "{\"name\":[\"a\",\"x\"]}", RPC_NOT_FOUND, NULL, NULL);
	refused("rules.disable", "{\"name\":[\"a\",1]}", RPC_INVALID_PARAMS, "protocol.param",
		NULL);
	refused("rules.remove", "{\"name\":[\"a\",\"x\"]}", RPC_NOT_FOUND, NULL, NULL);
	refused("rules.remove", NULL, RPC_INVALID_PARAMS, "protocol.missing-param", NULL);
	must_count("rules.disable", "{\"name\":[\"a\",\"b\",\"a\"]}", 3);
	list = must("rules.list", NULL);
	assert_string_equal(nth_rule(list, 0, "text"), "a enabled=no do=count");
	assert_string_equal(nth_rule(list, 1, "text"), "b enabled=no do=count");
	assert_string_equal(nth_rule(list, 2, "text"), "c do=count");
	json_decref(list);
	must_count("rules.enable", "{\"name\":[\"b\",\"c\"]}", 3);
	must_count("rules.remove", "{\"name\":[\"a\",\"c\"]}", 1);
	list = must("rules.list", NULL);
	assert_string_equal(nth_rule(list, 0, "text"), "b do=count");
	json_decref(list);
	must_count("rules.clear", NULL, 0);
}

static void a_bad_rule_changes_nothing_and_says_where(void **state)
{
	json_t *answer, *data;

	(void)state;
	must_count("rules.put", "{\"rule\":\"keep do=error:EIO\"}", 1);
	refused("rules.put", "{\"rule\":\"x op=raed do=error:EIO\"}", RPC_BAD_RULE, NULL, "read");
	answer = call("rules.put", "{\"rule\":\"x op=raed do=error:EIO\"}");
	data = json_object_get(json_object_get(answer, "error"), "data");
	assert_int_equal(json_integer_value(json_object_get(data, "column")), 6);
	json_decref(answer);
	refused("rules.replace", "{\"rules\":[\"a do=error:EIO\",\"b do=eror:EIO\"]}", RPC_BAD_RULE,
		NULL, "error");
	refused("rules.replace", "{\"rules\":[\"a do=error:EIO\",\"a do=error:EIO\"]}",
		RPC_BAD_RULE, "rule.duplicate-name", NULL);
	refused("rules.put", "{\"rule\":\"far range=1G..2G do=error:EIO\"}", RPC_BAD_RULE, NULL,
		NULL);
	refused("rules.put", "{\"rule\":\"x do=error:EIO\",\"before\":\"kepe\"}", RPC_NOT_FOUND,
		NULL, NULL);
	refused("rules.remove", "{\"name\":\"kepe\"}", RPC_NOT_FOUND, NULL, "keep");
	must_count("rules.replace", "{\"rules\":[]}", 0);
}

static void mistyped_words_are_refused_with_the_nearest_one(void **state)
{
	(void)state;
	refused("rules.lst", NULL, RPC_METHOD_NOT_FOUND, "protocol.unknown-method", "rules.list");
	refused("rules.remove", "{\"nmae\":\"a\"}", RPC_INVALID_PARAMS, "protocol.unknown-param",
		"name");
	refused("rules.list", "{\"name\":\"a\"}", RPC_INVALID_PARAMS, "protocol.unknown-param",
		NULL);
	refused("rules.remove", "{}", RPC_INVALID_PARAMS, "protocol.missing-param", NULL);
	refused("rules.remove", "{\"name\":1}", RPC_INVALID_PARAMS, "protocol.param", NULL);
	refused("rules.put", "{\"rule\":1}", RPC_INVALID_PARAMS, "protocol.param", NULL);
	refused("rules.replace", "{\"rules\":{}}", RPC_INVALID_PARAMS, "protocol.param", NULL);
	refused("rules.replace", "{\"rules\":[1]}", RPC_INVALID_PARAMS, "protocol.param", NULL);
	refused("status", NULL, RPC_FAILED, "disk.none", NULL);
	refused("stop", NULL, RPC_FAILED, "disk.none", NULL);
}

static void a_notification_is_carried_out_without_an_answer(void **state)
{
	(void)state;
	assert_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"rules.put\","
			"\"params\":{\"rule\":\"n do=error:EIO\"}}"));
	assert_null(ask("{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}"));
	assert_int_equal(rule_set_count(pipeline_rules(fake.target.pipeline)), 1);
	must_count("rules.clear", NULL, 0);
}

static void explain_answers_in_lines_and_counts_nothing(void **state)
{
	struct rule_counts counts;
	json_t *result;

	(void)state;
	must_count("rules.put", "{\"rule\":\"hole op=read range=8k..12k do=error:EIO\"}", 1);
	result = must("rules.explain", "{\"op\":\"read\",\"off\":\"8k\",\"len\":512}");
	assert_true(json_array_size(json_object_get(result, "lines")) > 0);
	json_decref(result);
	result = must("rules.explain", "{\"op\":\"flush\"}");
	json_decref(result);
	rule_counts(rule_set_at(pipeline_rules(fake.target.pipeline), 0), &counts);
	assert_int_equal(counts.matches, 0);
	refused("rules.explain", "{\"off\":0}", RPC_INVALID_PARAMS, NULL, NULL);
	refused("rules.explain", "{\"op\":\"read,write\"}", RPC_INVALID_PARAMS, NULL, NULL);
	refused("rules.explain", "{\"op\":\"raed\"}", RPC_INVALID_PARAMS, NULL, "read");
	refused("rules.explain", "{\"op\":\"read\",\"off\":1}", RPC_INVALID_PARAMS, NULL, NULL);
	refused("rules.explain", "{\"op\":\"read\",\"off\":\"1M\"}", RPC_INVALID_PARAMS, NULL,
		NULL);
	refused("rules.explain", "{\"op\":\"read\",\"off\":-512}", RPC_INVALID_PARAMS, NULL, NULL);
	refused("rules.explain", "{\"op\":\"read\",\"len\":0}", RPC_INVALID_PARAMS, NULL, NULL);
	refused("rules.explain", "{\"op\":\"read\",\"queue\":2}", RPC_INVALID_PARAMS, NULL, NULL);
	must_count("rules.clear", NULL, 0);
}

static void the_number_of_rules_is_limited(void **state)
{
	struct rule_set *set = rule_set_new();

	(void)state;
	for (int i = 0; i < RULE_SET_MAX; i++) {
		struct rule *rule;
		char text[64];

		snprintf(text, sizeof(text), "r%d do=error:EIO", i);
		assert_int_equal(rule_parse(text, strlen(text), NULL, &rule), 0);
		assert_int_equal(rule_set_put(set, rule, NULL, NULL), 0);
		rule_unref(rule);
	}
	assert_int_equal(pipeline_publish(fake.target.pipeline, set, 0, NULL, NULL), 0);
	rule_set_free(set);
	refused("rules.put", "{\"rule\":\"more do=error:EIO\"}", RPC_LIMIT, NULL, NULL);
	must_count("rules.put", "{\"rule\":\"r7 do=error:ENOSPC\"}", RULE_SET_MAX);
	must_count("rules.clear", NULL, 0);
}

static void faults_list_names_every_kind_with_an_example_that_parses(void **state)
{
	json_t *result = must("faults.list", "{}"), *kind;
	size_t i;

	(void)state;
	assert_true(json_array_size(json_object_get(result, "kinds")) >= 3);
	json_array_foreach (json_object_get(result, "kinds"), i, kind) {
		const char *example = json_string_value(json_object_get(kind, "example"));
		struct rule *rule = NULL;

		assert_int_equal(rule_parse(example, strlen(example), NULL, &rule), 0);
		rule_unref(rule);
	}
	json_decref(result);
}

/* ------------------------------------------------------------------------------ recordings */

static void a_disk_that_is_not_recorded_takes_no_marks_and_says_how_to_record_it(void **state)
{
	(void)state;
	refused("mark", "{\"text\":\"a\"}", RPC_FAILED, "recording.none", NULL);
	refused("recording.limit", "{\"limit\":\"1G\"}", RPC_FAILED, "recording.none",
		"record it from its beginning: faultblk run --record FILE --record-data ...");
	refused("recording.stop", "{}", RPC_FAILED, "recording.none", NULL);
}

static void open_recorded(struct fake *plain, char dir[32], char path[48],
			  struct recorder **recorder)
{
	const struct record_disk disk = { .name = "fake",
					  .size_bytes = FAKE_SIZE,
					  .block_bytes = 512,
					  .physical_bytes = 512,
					  .max_io_bytes = 4096,
					  .depth = 1,
					  .nr_queues = FAKE_QUEUES };
	struct recorder_options options = { .data = true };
	struct recorder_disk *recorded;

	*plain = fake;
	strcpy(dir, "/tmp/marks-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, 48, "%s/rec", dir);
	options.path = path;
	assert_int_equal(recorder_create(&options, NULL, recorder), 0);
	assert_int_equal(recorder_add_disk(*recorder, &disk, NULL, &recorded), 0);
	fake_open_recorded(&fake, recorded);
}

static void marks_are_numbered_and_the_recording_can_be_limited_and_ended(void **state)
{
	struct recorder *recorder;
	char dir[32], path[48];
	struct fake plain;
	json_t *result;

	(void)state;
	open_recorded(&plain, dir, path, &recorder);
	result = must("mark", "{\"text\":\"commit 1 \\u00e9\"}");
	assert_int_equal(json_integer_value(json_object_get(result, "mark")), 1);
	assert_int_equal(json_integer_value(json_object_get(result, "step")), 1);
	json_decref(result);
	refused("mark", "{}", RPC_INVALID_PARAMS, "protocol.missing-param", NULL);
	refused("mark", "{\"text\":7}", RPC_INVALID_PARAMS, "protocol.param", NULL);
	refused("mark", "{\"text\":\"a\\nb\"}", RPC_INVALID_PARAMS, "mark.text", NULL);
	refused("mark", "{\"text\":\"\"}", RPC_INVALID_PARAMS, "mark.length", NULL);
	refused("recording.limit", "{}", RPC_INVALID_PARAMS, "protocol.missing-param", NULL);
	result = must("recording.limit", "{\"limit\":\"1M\"}");
	assert_int_equal(json_integer_value(json_object_get(result, "limit_bytes")), 1 << 20);
	assert_string_equal(json_string_value(json_object_get(result, "state")), "recording");
	assert_int_equal(json_integer_value(json_object_get(result, "marks")), 1);
	json_decref(result);
	result = must("recording.stop", NULL);
	assert_string_equal(json_string_value(json_object_get(result, "state")), "ended");
	assert_string_equal(json_string_value(json_object_get(result, "why")), "stopped");
	json_decref(result);
	refused("mark", "{\"text\":\"late\"}", RPC_FAILED, "mark.ended", NULL);
	fake_close(&fake);
	recorder_close(recorder, NULL);
	unlink(path);
	rmdir(dir);
	fake = plain;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_that_another_leaves_nothing_is_put_with_a_warning),
		cmocka_unit_test(what_is_odd_about_a_rule_is_not_said_again_for_another),
		cmocka_unit_test(what_is_listed_can_be_put_and_replaced),
		cmocka_unit_test(rules_are_put_in_order_listed_and_removed),
		cmocka_unit_test(several_rules_are_put_all_or_none),
		cmocka_unit_test(several_rules_are_removed_and_switched_all_or_none),
		cmocka_unit_test(a_bad_rule_changes_nothing_and_says_where),
		cmocka_unit_test(mistyped_words_are_refused_with_the_nearest_one),
		cmocka_unit_test(a_notification_is_carried_out_without_an_answer),
		cmocka_unit_test(explain_answers_in_lines_and_counts_nothing),
		cmocka_unit_test(the_number_of_rules_is_limited),
		cmocka_unit_test(faults_list_names_every_kind_with_an_example_that_parses),
		cmocka_unit_test(
			a_disk_that_is_not_recorded_takes_no_marks_and_says_how_to_record_it),
		cmocka_unit_test(marks_are_numbered_and_the_recording_can_be_limited_and_ended),
	};

	return cmocka_run_group_tests(tests, open_fake, close_fake);
}
