// SPDX-License-Identifier: MIT
/* Any JSON as a rule. What is accepted must survive being written as JSON and as text. */
#include "base/cleanup.h"
#include "faults/rule/ast.h"
#include "faults/rule/json.h"

#include <stdlib.h>
#include <string.h>

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_accepted(const struct rule *rule)
{
	_cleanup_free_ char *text = rule_print(rule);
	struct rule *back = NULL, *parsed = NULL;
	json_t *object = rule_to_json(rule);

	require(object && text);
	require(rule_from_json(object, NULL, &back) == 0 && rule_equal(rule, back));
	require(rule_parse(text, strlen(text), NULL, &parsed) == 0 && rule_equal(rule, parsed));
	rule_unref(back);
	rule_unref(parsed);
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *value = json_loadb((const char *)data, size,
				   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct rule *rule = NULL;
	struct diag diag = { 0 };

	if (!value)
		return 0;
	if (rule_from_json(value, &diag, &rule) == 0)
		check_accepted(rule);
	else
		require(diag.id[0] && diag.message[0]);
	rule_unref(rule);
	json_decref(value);
	return 0;
}
