// SPDX-License-Identifier: MIT
/*
 * Any bytes as one rule and as a rule file. What is accepted must print, parse back equal and print
 * the same again; what is refused must say why, in printable words.
 */
#include "base/cleanup.h"
#include "faults/rule/ast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct diag *diag, int err)
{
	require(err < 0 && diag->id[0] && diag->message[0]);
	for (const char *c = diag->message; *c; c++)
		require((unsigned char)*c >= 0x20 && *c != 0x7f);
	for (const char *c = diag->hint; *c; c++)
		require((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void fuzz_rule(const char *text, size_t len)
{
	static const struct rule_geometry geometry = { .size_bytes = 1 << 20,
						       .block_bytes = 4096,
						       .nr_queues = 2 };
	struct rule *rule = NULL, *back = NULL;
	_cleanup_free_ char *printed = NULL, *again = NULL;
	struct diag diag = { 0 };
	int err = rule_parse(text, len, &diag, &rule);

	if (err < 0) {
		check_refusal(&diag, err);
		require(err != -EINVAL ||
			(diag.line == 1 && diag.column >= 1 && diag.column <= len + 1));
		return;
	}
	printed = rule_print(rule);
	require(printed && rule_parse(printed, strlen(printed), &diag, &back) == 0);
	require(rule_equal(rule, back));
	again = rule_print(back);
	require(again && strcmp(printed, again) == 0);
	if (rule_check(rule, &geometry, &diag) < 0)
		check_refusal(&diag, -EINVAL);
	rule_unref(rule);
	rule_unref(back);
}

static void fuzz_file(const char *text, size_t len)
{
	struct rule_set *set = NULL, *back = NULL;
	_cleanup_free_ char *printed = NULL;
	struct diag diag = { 0 };
	int err = rule_set_parse(text, len, &diag, &set);

	if (err < 0) {
		check_refusal(&diag, err);
		require(err == -EFBIG || (diag.line >= 1 && diag.column >= 1));
		return;
	}
	printed = rule_set_print(set);
	require(printed && rule_set_parse(printed, strlen(printed), &diag, &back) == 0);
	require(rule_set_count(set) == rule_set_count(back));
	for (size_t i = 0; i < rule_set_count(set); i++)
		require(rule_equal(rule_set_at(set, i), rule_set_at(back, i)));
	rule_set_free(set);
	rule_set_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_rule((const char *)data, size);
	fuzz_file((const char *)data, size);
	return 0;
}
