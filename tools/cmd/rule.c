// SPDX-License-Identifier: MIT
/* faultblk rule: a table of sub-commands, one method of the control socket each. */
#include "base/cleanup.h"
#include "base/near.h"
#include "tools/cli/rule_file.h"
#include "tools/cli/sub_command.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct rule_opts {
	struct disk_choice disk;
	const char *before; /* put only */
	bool json;
};

static void cleanup_set(struct rule_set **set)
{
	rule_set_free(*set);
}

#define RULE_OPTIONS                                                                               \
	OPT_DISK_CHOICE(struct rule_opts, disk),                                                   \
		OPT_FLAG(struct rule_opts, json, "json", "print JSON"), OPT_END

static const struct opt rule_table[] = {
	RULE_OPTIONS,
};
static const struct opt put_table[] = {
	OPT_TEXT(struct rule_opts, before, "before", NULL, "NAME",
		 "insert new rules before this one; default: append"),
	RULE_OPTIONS,
};

#define RULE_EXITS                                                                                 \
	"  0  done; every queue of the disk works by the new rules\n  1  that failed\n"            \
	"  2  wrong options, or a wrong rule; nothing was changed\n  4  no such disk"

/* What the rules in force may not be meant to say. */
static void print_warnings(json_t *answer)
{
	json_t *warning;
	size_t i;

	json_array_foreach (json_object_get(answer, "warnings"), i, warning)
		tool_msg("warning: %s", json_string_value(warning));
}

/* Print the answer as JSON where that was asked for. Steals @answer. */
static int finish(const struct rule_opts *opts, json_t *answer)
{
	if (!opts->json)
		print_warnings(answer);
	if (opts->json)
		return tool_print_json(answer);
	json_decref(answer);
	return EXIT_OK;
}

/* ------------------------------------------------------------------------------ put */

/* Parsed here first, so that a slip is shown where it is; then sent in one piece. */
static int rule_put(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	_cleanup_(cleanup_set) struct rule_set *set = rule_set_new();
	json_t *rules = json_array(), *answer = NULL;
	int code = EXIT_OK;

	for (int i = 0; set && i < words->count && !code; i++) {
		code = rule_text_add(set, words->words[i]);
		json_array_append_new(rules, json_string(words->words[i]));
	}
	if (code) {
		if (words->count > 1 && !strchr(words->words[0], ' '))
			tool_msg("got %d words, each of them a rule; put a rule in quotes, as in "
				 "'a op=read do=error:EIO'",
				 words->count);
		json_decref(rules);
		return code;
	}
	code = rpc_client_once(&opts->disk, "rules.put",
			       json_pack("{s:o, s:s*}", "rule", rules, "before", opts->before),
			       &answer);
	return code ? code : finish(opts, answer);
}

/* ------------------------------------------------------------------------------ ls, dump */

/* @head, then a line for each rule; or the answer itself with --json. */
static int print_rules(const struct rule_opts *opts, const char *head, void (*print)(json_t *rule))
{
	json_t *answer = NULL, *rule;
	size_t i;
	int code = rpc_client_once(&opts->disk, "rules.list", NULL, &answer);

	if (code || opts->json)
		return code ? code : tool_print_json(answer);
	printf("%s\n", head);
	json_array_foreach (json_object_get(answer, "rules"), i, rule)
		print(rule);
	json_decref(answer);
	return EXIT_OK;
}

static void print_counted(json_t *rule)
{
	printf("%12lld %12lld  %s\n",
	       (long long)json_integer_value(json_object_get(rule, "matches")),
	       (long long)json_integer_value(json_object_get(rule, "hits")),
	       json_string_value(json_object_get(rule, "text")));
}

static void print_plain(json_t *rule)
{
	printf("%s\n", json_string_value(json_object_get(rule, "text")));
}

static int rule_ls(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	(void)words;
	return print_rules(opts, "     matches         hits  rule", print_counted);
}

static int rule_dump(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	(void)words;
	return print_rules(opts, RULE_FILE_MAGIC, print_plain);
}

/* ------------------------------------------------------------------------------ rm, clear, load */

/* One method for all names at once: all of them are there, or nothing changes. */
static int call_names(const char *method, const struct rule_opts *opts,
		      const struct opt_words *words)
{
	json_t *names = json_array(), *answer = NULL;
	int code;

	for (int i = 0; i < words->count; i++)
		json_array_append_new(names, json_string(words->words[i]));
	code = rpc_client_once(&opts->disk, method, json_pack("{s:o}", "name", names), &answer);
	return code ? code : finish(opts, answer);
}

static int rule_rm(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	return call_names("rules.remove", opts, words);
}

static int rule_enable_all(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	return call_names("rules.enable", opts, words);
}

static int rule_disable_all(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	return call_names("rules.disable", opts, words);
}

static int rule_clear(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	json_t *answer = NULL;
	int code = rpc_client_once(&opts->disk, "rules.clear", NULL, &answer);

	(void)words;
	return code ? code : finish(opts, answer);
}

static int rule_load(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	_cleanup_(cleanup_set) struct rule_set *set = NULL;
	json_t *answer = NULL, *rules;
	int code = rule_file_load(words->words[0], &set);

	if (code)
		return code;
	rules = json_array();
	for (size_t i = 0; i < rule_set_count(set); i++) {
		_cleanup_free_ char *text = rule_print(rule_set_at(set, i));

		json_array_append_new(rules, json_string(text));
	}
	code = rpc_client_once(&opts->disk, "rules.replace", json_pack("{s:o}", "rules", rules),
			       &answer);
	return code ? code : finish(opts, answer);
}

/* ------------------------------------------------------------------------------ explain */

static int add_explain_word(json_t *params, char *word)
{
	static const char *const known[] = { "op", "off", "len", "flags", "queue", NULL };
	size_t key_len = strcspn(word, "=");
	const char *near;

	for (size_t i = 0; known[i]; i++)
		if (word[key_len] && strlen(known[i]) == key_len &&
		    memcmp(known[i], word, key_len) == 0) {
			json_object_set_new(params, known[i], json_string(word + key_len + 1));
			return 0;
		}
	near = near_word(word, key_len, known);
	tool_msg("rule explain: got '%s', wanted op=, off=, len=, flags= or queue=%s%s%s", word,
		 near ? "; did you mean " : "", near ?: "", near ? "=?" : "");
	return -EINVAL;
}

static int rule_explain(void *values, const struct opt_words *words)
{
	const struct rule_opts *opts = values;
	json_t *params = json_object(), *answer = NULL, *line;
	size_t i;
	int code;

	for (int w = 0; w < words->count; w++)
		if (add_explain_word(params, words->words[w])) {
			json_decref(params);
			return EXIT_USAGE;
		}
	code = rpc_client_once(&opts->disk, "rules.explain", params, &answer);
	if (code || opts->json)
		return code ? code : tool_print_json(answer);
	json_array_foreach (json_object_get(answer, "lines"), i, line)
		printf("%s\n", json_string_value(line));
	json_decref(answer);
	return EXIT_OK;
}

/* ------------------------------------------------------------------------------ the table */

static const struct sub_command subs[] = {
	/* clang-format off */
	{ "put", rule_put, put_table,
	  { .usage = "faultblk rule put [options] 'TEXT'...",
	    .what = "Add rules, or replace those of the same name. See faultblk-rules(5).\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk rule put 'hole op=read range=17s..23s do=error:EIO'",
	    .exits = RULE_EXITS, .min_words = 1, .max_words = -1 },
	  "add rules, or replace those of the same name" },
	{ "ls", rule_ls, rule_table,
	  { .usage = "faultblk rule ls [options]",
	    .what =
		"List the rules in the order in which they are evaluated, with the number of matches\n"
		"and hits of each.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk rule ls", .exits = RULE_EXITS },
	  "list the rules with their counters" },
	{ "rm", rule_rm, rule_table,
	  { .usage = "faultblk rule rm [options] NAME...",
	    .what = "Remove rules.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk rule rm hole", .exits = RULE_EXITS, .min_words = 1,
	    .max_words = -1 },
	  "remove rules" },
	{ "enable", rule_enable_all, rule_table,
	  { .usage = "faultblk rule enable [options] NAME...",
	    .what = "Enable rules.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk rule enable hole", .exits = RULE_EXITS, .min_words = 1,
	    .max_words = -1 },
	  "enable rules" },
	{ "disable", rule_disable_all, rule_table,
	  { .usage = "faultblk rule disable [options] NAME...",
	    .what = "Disable rules, and keep them with their counters.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk rule disable hole", .exits = RULE_EXITS, .min_words = 1,
	    .max_words = -1 },
	  "disable rules, and keep them" },
	{ "clear", rule_clear, rule_table,
	  { .usage = "faultblk rule clear [options]",
	    .what = "Remove all rules at once.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk rule clear", .exits = RULE_EXITS },
	  "remove all rules" },
	{ "load", rule_load, rule_table,
	  { .usage = "faultblk rule load [options] FILE",
	    .what = "Replace all rules at once by those of a file (-: standard input).\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk rule load /etc/faultblk/slow.rules", .exits = RULE_EXITS,
	    .min_words = 1, .max_words = 1 },
	  "replace all rules by those of a file" },
	{ "dump", rule_dump, rule_table,
	  { .usage = "faultblk rule dump [options]",
	    .what = "Print the rules in the form that `rule load` and `run --rules` read.\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk rule dump >saved.rules", .exits = RULE_EXITS },
	  "print the rules as a file" },
	{ "explain", rule_explain, rule_table,
	  { .usage = "faultblk rule explain [options] op=OP [off=SIZE] [len=SIZE] [flags=...] "
		     "[queue=N]",
	    .what = "Explain what happens to such a request now, and why. Counters do not change.\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk rule explain op=write off=1M len=4k", .exits = RULE_EXITS,
	    .min_words = 1, .max_words = 5 },
	  "explain what happens to a request, and why" },
	/* clang-format on */
};

int cmd_rule(int argc, char **argv)
{
	static const struct sub_commands rule = {
		.name = "rule",
		.what = "The rules of a disk that is running.",
		.examples = "  faultblk rule put 'slow op=read p=5% do=delay:100us..300us'\n"
			    "  faultblk rule put --help",
		.exits = RULE_EXITS,
		.subs = subs,
		.nr = array_size(subs),
	};
	struct rule_opts opts = { 0 };

	return sub_commands_run(&rule, argc, argv, &opts);
}
