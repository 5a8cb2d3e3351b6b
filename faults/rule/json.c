// SPDX-License-Identifier: MIT
/* JSON is only another way to bring keys and values to rule_set_word(). */
#include "faults/rule/json.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/rule/ast.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT_MAX 40

static void cleanup_rule(struct rule **rule)
{
	rule_unref(*rule);
}

/* The text of a JSON value as the text form would have it; numbers are written into @buf. */
static int value_text(const struct place *place, const char *key, const json_t *value,
		      char buf[NUMBER_TEXT_MAX], struct text *ret_text)
{
	static const char *const type_names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",      [JSON_NULL] = "null",
	};

	if (json_is_string(value)) {
		*ret_text = (struct text){ json_string_value(value), json_string_length(value) };
		return text_check(place, *ret_text);
	}
	if (json_is_integer(value))
		snprintf(buf, NUMBER_TEXT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		share_format(json_real_value(value), buf);
	else
		return diag_set(place->diag, -EINVAL, "rule.bad-json",
				"\"%s\" wants a string or a number, got %s", key,
				type_names[json_typeof(value)]);
	*ret_text = (struct text){ buf, strlen(buf) };
	return 0;
}

/* Does the word take several values, with commas in between? */
static bool is_list(struct text name)
{
	for (unsigned int i = 0; i < RULE_NR_WORDS; i++) {
		enum value_type type = rule_word_param(i)->type;

		if (text_is(name, rule_word_param(i)->name))
			return type == VALUE_OPS || type == VALUE_FLAGS || type == VALUE_RANGES;
	}
	return false;
}

/* ["read", "write"] as "read,write"; the caller frees it. */
static int join(const struct place *place, const char *key, const json_t *array, char **ret_text)
{
	_cleanup_free_ char *joined = NULL;
	size_t len = 0, i;
	json_t *value;
	FILE *out = fail_alloc("faults/rule/json/join", open_memstream(&joined, &len));
	int err = out ? 0 : -ENOMEM;

	json_array_foreach (array, i, value) {
		char buf[NUMBER_TEXT_MAX];
		struct text text = { NULL, 0 };

		if (!err)
			err = value_text(place, key, value, buf, &text);
		if (!err)
			fprintf(out, "%s%.*s", i ? "," : "", (int)text.len, text.at);
	}
	if (out && fclose(out) != 0)
		err = err ?: -ENOMEM;
	if (err == -ENOMEM)
		return diag_set(place->diag, err, "rule.memory", "no memory for a rule");
	if (!err)
		*ret_text = take_ptr(joined);
	return err;
}

static int set_member(struct rule *rule, const struct place *place, const char *key,
		      const json_t *value)
{
	struct text name = { key, strlen(key) }, text;
	_cleanup_free_ char *joined = NULL;
	char buf[NUMBER_TEXT_MAX];
	int err;

	if (text_check(place, name) < 0)
		return -EINVAL;
	if (json_is_array(value) && is_list(name)) {
		err = join(place, QUOTE(name), value, &joined);
		text = (struct text){ joined, joined ? strlen(joined) : 0 };
	} else if (json_is_boolean(value) && text_is(name, "enabled")) {
		text = json_is_true(value) ? (struct text){ "yes", 3 } : (struct text){ "no", 2 };
		err = 0;
	} else {
		err = value_text(place, QUOTE(name), value, buf, &text);
	}
	if (err < 0)
		return err;
	if (text.len > RULE_TEXT_MAX)
		return diag_set(place->diag, -EINVAL, "rule.too-long",
				"\"%s\" has %zu bytes, a rule has at most %d", QUOTE(name),
				text.len, RULE_TEXT_MAX);
	if (text_is(name, "name"))
		return rule_set_name(rule, place, text);
	return rule_set_word(rule, place, name, text);
}

/* What rules.list says of a rule beside what it is. */
static bool is_counter(const char *key, const json_t *value)
{
	return json_is_integer(value) && (strcmp(key, "matches") == 0 || strcmp(key, "hits") == 0);
}

/*
 * A rule as rules.list answers it: its text, and beside it what the text says too, its name and
 * whether it is enabled, which counts where they differ, as that was told later.
 */
static int from_listed(json_t *object, struct diag *diag, struct rule **ret_rule)
{
	const struct place place = { .line = NULL, .diag = diag };
	_cleanup_(cleanup_rule) struct rule *rule = NULL;
	json_t *text = json_object_get(object, "text"), *value;
	const char *key;
	int err;

	if (!json_is_string(text))
		return diag_set(diag, -EINVAL, "rule.bad-json",
				"\"text\" wants a rule in text form, as a string");
	err = rule_parse(json_string_value(text), json_string_length(text), diag, &rule);
	if (err)
		return err;
	json_object_foreach (object, key, value) {
		struct text name = { key, strlen(key) };

		if (text_check(&place, name) < 0)
			return -EINVAL;
		if (strcmp(key, "enabled") == 0 && json_is_boolean(value))
			rule_enable(rule, json_is_true(value));
		else if (strcmp(key, "name") == 0 && json_is_string(value) &&
			 strcmp(json_string_value(value), rule->name) != 0)
			return diag_set(diag, -EINVAL, "rule.bad-json",
					"\"name\" is not the one in \"text\", '%s'", rule->name);
		else if (strcmp(key, "text") != 0 && strcmp(key, "name") != 0 &&
			 !is_counter(key, value))
			return diag_set(diag, -EINVAL, "rule.bad-json",
					"\"text\" is a whole rule, but \"%s\" is given as well",
					QUOTE(name));
	}
	*ret_rule = take_ptr(rule);
	return 0;
}

static int from_object(json_t *object, struct diag *diag, struct rule **ret_rule)
{
	_cleanup_(cleanup_rule) struct rule *rule = rule_new();
	const struct place place = { .line = NULL, .diag = diag };
	const struct rule_places nowhere = { .end = NULL };
	const char *key;
	json_t *value;
	int err;

	if (!rule)
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for a rule");
	json_object_foreach (object, key, value) {
		err = is_counter(key, value) ? 0 : set_member(rule, &place, key, value);
		if (err < 0)
			return err;
	}
	if (!rule->name[0])
		return diag_set(diag, -EINVAL, "rule.bad-name", "a rule wants a \"name\"");
	err = rule_finish(rule, &place, &nowhere);
	if (err < 0)
		return err;
	*ret_rule = take_ptr(rule);
	return 0;
}

int rule_from_json(json_t *value, struct diag *diag, struct rule **ret_rule)
{
	if (json_is_string(value))
		return rule_parse(json_string_value(value), json_string_length(value), diag,
				  ret_rule);
	if (json_object_get(value, "text"))
		return from_listed(value, diag, ret_rule);
	if (json_is_object(value))
		return from_object(value, diag, ret_rule);
	return diag_set(diag, -EINVAL, "rule.bad-json",
			"a rule is an object {\"name\": ..., \"do\": ...} or a string");
}

/* What the printer writes, as a JSON string. */
static json_t *printed(void (*print)(FILE *out, const struct rule *rule, unsigned int word),
		       const struct rule *rule, unsigned int word)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = fail_alloc("faults/rule/json/print", open_memstream(&text, &len));

	if (!out)
		return NULL;
	print(out, rule, word);
	if (fclose(out) != 0)
		return NULL;
	return json_stringn(text, len);
}

static void print_word(FILE *out, const struct rule *rule, unsigned int word)
{
	value_print(out, rule_word_param(word), &rule->word[word]);
}

static void print_kind(FILE *out, const struct rule *rule, unsigned int word)
{
	(void)word;
	kind_print(out, rule->kind, &rule->args);
}

static json_t *word_to_json(const struct rule *rule, unsigned int word)
{
	/* Counts stay below 2^40, so that every reader of JSON holds them exactly. */
	if (rule_word_param(word)->type == VALUE_COUNT)
		return json_integer((json_int_t)rule->word[word].lo);
	return printed(print_word, rule, word);
}

json_t *rule_to_json(const struct rule *rule)
{
	json_t *object = json_object();
	int err = json_object_set_new(object, "name", json_string(rule->name));

	for (unsigned int i = 0; i < RULE_NR_WORDS; i++)
		if (rule_has(rule, i))
			err |= json_object_set_new(object, rule_word_param(i)->name,
						   word_to_json(rule, i));
	if (!rule_enabled(rule))
		err |= json_object_set_new(object, "enabled", json_string("no"));
	err |= json_object_set_new(object, "do", printed(print_kind, rule, 0));
	if (!err)
		return object;
	json_decref(object);
	return NULL;
}

json_t *value_flags_json(uint32_t flags)
{
	json_t *list = json_array();

	if (flags & IO_FUA)
		json_array_append_new(list, json_string("fua"));
	if (flags & IO_META)
		json_array_append_new(list, json_string("meta"));
	return list;
}
