// SPDX-License-Identifier: MIT
#include "tests/unit/random_rule.h"

#include "faults/rule/json.h"

#include <errno.h>

static void check_json(const char *json, const char *want)
{
	json_t *value = json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	struct rule *rule = NULL;
	struct diag diag = { 0 };
	char *text;

	assert_non_null(value);
	if (rule_from_json(value, &diag, &rule) < 0)
		fail_msg("%s: %s: %s", json, diag.id, diag.message);
	text = rule_print(rule);
	assert_string_equal(text, want);
	free(text);
	rule_unref(rule);
	json_decref(value);
}

static void check_json_error(const char *json, const char *id, const char *says)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct rule *rule = NULL;
	struct diag diag = { 0 };

	assert_non_null(value);
	assert_int_equal(rule_from_json(value, &diag, &rule), -EINVAL);
	assert_null(rule);
	if (strcmp(diag.id, id) || !strstr(diag.message, says))
		fail_msg("%s: got %s: %s", json, diag.id, diag.message);
	json_decref(value);
}

static void the_same_keys_stand_in_json(void **state)
{
	(void)state;
	check_json(
		"{\"name\":\"hole\",\"op\":\"read\",\"range\":\"17s..23s\",\"do\":\"error:EIO\"}",
		"hole op=read range=17s..23s do=error:EIO");
	check_json("{\"do\":\"delay:1ms\",\"p\":\"0.5%\",\"name\":\"a\",\"min-len\":\"4k\"}",
		   "a min-len=4k p=0.005 do=delay:1ms");
	check_json("\"hole op=read do=error:EIO\"", "hole op=read do=error:EIO");
}

static void plain_numbers_may_be_json_numbers(void **state)
{
	(void)state;
	check_json("{\"name\":\"a\",\"len\":4096,\"after\":100,\"times\":1,\"queue\":0,\"p\":0.25,"
		   "\"do\":\"error:EIO\"}",
		   "a len=4k queue=0 after=100 p=0.25 times=1 do=error:EIO");
	check_json("{\"name\":\"a\",\"p\":1,\"do\":\"error:EIO\"}", "a p=1 do=error:EIO");
	check_json("{\"name\":\"a\",\"p\":1e-6,\"do\":\"error:EIO\"}", "a p=1e-06 do=error:EIO");
}

static void errors_in_json_name_the_key(void **state)
{
	(void)state;
	check_json_error("[]", "rule.bad-json", "a rule is an object");
	check_json_error("7", "rule.bad-json", "a rule is an object");
	check_json_error("{}", "rule.bad-name", "wants a \"name\"");
	check_json_error("{\"name\":\"\"}", "rule.bad-name", "got nothing");
	check_json_error("{\"name\":\"a\"}", "rule.no-do", "rule 'a'");
	check_json_error("{\"name\":\"a\",\"opp\":\"read\"}", "rule.unknown-key", "'opp'");
	check_json_error("{\"name\":\"a\",\"len\":[\"1k\"]}", "rule.bad-json",
			 "\"len\" wants a string or a number, got an array");
	check_json_error("{\"name\":\"a\",\"op\":null}", "rule.bad-json", "got null");
	check_json_error("{\"name\":\"a\",\"op\":true}", "rule.bad-json", "got true");
	check_json_error("{\"name\":\"a\",\"op\":\"read, write\"}", "rule.bad-op", "' write'");
	check_json_error("{\"name\":\"a\",\"after\":-1}", "rule.bad-number", "got '-1'");
	check_json_error("{\"name\":\"a\",\"after\":1.5}", "rule.bad-number", "got '1.5'");
	check_json_error("{\"name\":\"a\",\"p\":-0.5}", "rule.bad-share", "got '-0.5'");
	check_json_error("{\"name\":\"a\",\"for\":10}", "rule.bad-time", "got '10'");
	check_json_error("{\"name\":\"a\\u0000b\"}", "rule.bad-character", "0x00");
	check_json_error("{\"name\":\"a\",\"do\":\"error:\\u001b[0m\"}", "rule.bad-character",
			 "0x1b");
	check_json_error("{\"name\":\"a\",\"\\u001b\":1}", "rule.bad-character", "0x1b");
	check_json_error("\"a opp=read\"", "rule.unknown-key", "'opp'");
	check_json_error("{\"name\":\"a\",\"range\":0,\"do\":\"error:EIO\"}", "rule.bad-range",
			 "'0'");
}

static void arrays_booleans_and_listed_rules_are_taken(void **state)
{
	static const struct {
		const char *json, *text;
	} table[] = {
		{ "{\"name\":\"a\",\"op\":[\"write\",\"read\"],\"enabled\":false,\"do\":\"error:EIO\"}",
		  "a op=read,write enabled=no do=error:EIO" },
		{ "{\"name\":\"a\",\"flags\":[\"fua\",\"!meta\"],\"enabled\":true,\"hits\":3,"
		  "\"matches\":9,\"do\":\"delay:1ms\"}",
		  "a flags=!meta,fua do=delay:1ms" },
		{ "{\"name\":\"a\",\"matches\":1,\"hits\":0,\"enabled\":true,\"text\":\"a op=read "
		  "do=error:EIO\"}",
		  "a op=read do=error:EIO" },
		{ "{\"enabled\":false,\"text\":\"a do=delay:1ms\"}", "a enabled=no do=delay:1ms" },
		{ "{\"enabled\":true,\"text\":\"a enabled=no do=delay:1ms\"}", "a do=delay:1ms" },
	};

	(void)state;
	for (size_t i = 0; i < array_size(table); i++) {
		json_t *value = json_loads(table[i].json, JSON_DECODE_ANY, NULL);
		struct rule *rule = NULL;
		struct diag diag = { 0 };
		char *text;

		assert_non_null(value);
		if (rule_from_json(value, &diag, &rule))
			fail_msg("%s: %s", table[i].json, diag.message);
		text = rule_print(rule);
		assert_string_equal(text, table[i].text);
		free(text);
		rule_unref(rule);
		json_decref(value);
	}
	check_json_error("{\"name\":\"b\",\"text\":\"a do=delay:1ms\"}", "rule.bad-json", "'a'");
	check_json_error("{\"op\":\"read\",\"text\":\"a do=delay:1ms\"}", "rule.bad-json",
			 "\"op\" is given as well");
	check_json_error("{\"text\":[]}", "rule.bad-json", "\"text\"");
	check_json_error("{\"name\":\"a\",\"op\":[\"read\",true]}", "rule.bad-json", "got true");
	check_json_error("{\"name\":\"a\",\"op\":[\"read\",\"raed\"]}", "rule.bad-op", "'raed'");
	check_json_error("{\"name\":\"a\",\"op\":[]}", "rule.bad-op", "got nothing");
	check_json_error("{\"name\":\"a\",\"do\":[\"error:EIO\"]}", "rule.bad-json",
			 "got an array");
	check_json_error("{\"name\":\"a\",\"after\":true}", "rule.bad-json", "got true");
	check_json_error("{\"name\":\"a\",\"hits\":\"3\"}", "rule.unknown-key", "'hits'");
}

static void an_overlong_string_is_refused(void **state)
{
	json_t *object = json_object();
	char *text = malloc(RULE_TEXT_MAX + 2);
	struct rule *rule = NULL;
	struct diag diag;

	(void)state;
	memset(text, 'x', RULE_TEXT_MAX + 1);
	text[RULE_TEXT_MAX + 1] = '\0';
	json_object_set_new(object, "op", json_string(text));
	assert_int_equal(rule_from_json(object, &diag, &rule), -EINVAL);
	assert_string_equal(diag.id, "rule.too-long");
	json_decref(object);
	free(text);
}

static void text_to_json_to_text_is_the_identity(void **state)
{
	struct draw draw = { .seed = 8 };

	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct rule *rule = random_rule(&draw), *back = NULL;
		json_t *object = rule_to_json(rule);
		char *dump = json_dumps(object, JSON_COMPACT);
		json_t *loaded = json_loads(dump, JSON_REJECT_DUPLICATES, NULL);
		struct diag diag;

		if (rule_from_json(loaded, &diag, &back) < 0)
			fail_msg("%s: %s", dump, diag.message);
		if (!rule_equal(rule, back))
			fail_msg("not equal: %s", dump);
		json_decref(object);
		json_decref(loaded);
		free(dump);
		rule_unref(rule);
		rule_unref(back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_keys_stand_in_json),
		cmocka_unit_test(plain_numbers_may_be_json_numbers),
		cmocka_unit_test(errors_in_json_name_the_key),
		cmocka_unit_test(arrays_booleans_and_listed_rules_are_taken),
		cmocka_unit_test(an_overlong_string_is_refused),
		cmocka_unit_test(text_to_json_to_text_is_the_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
