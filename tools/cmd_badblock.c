// SPDX-License-Identifier: MIT
/* faultblk badblock: commands to the rules whose kind is badblock. */
#include "base/cleanup.h"
#include "base/near.h"
#include "opt.h"
#include "rpc_client.h"
#include "tool.h"

#include <stdio.h>
#include <string.h>

struct badblock_opts {
	struct disk_choice disk;
	bool json;
};

static const struct opt badblock_table[] = {
	OPT_DISK_CHOICE(struct badblock_opts, disk),
	OPT_FLAG(struct badblock_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help badblock_help = {
	.usage = "faultblk badblock [options] add|remove|query|count|list RULE [RANGE]",
	.what = "The bad blocks of a rule with do=badblock, which fail to be read until rewritten.\n"
		"  add RULE RANGE     these are bad from now on; prints how many are new\n"
		"  remove RULE RANGE  these are good again; prints how many were bad\n"
		"  query RULE RANGE   how many in it are bad\n"
		"  count RULE         how many there are\n"
		"  list RULE [RANGE]  where they are\n"
		"RANGE is START..END as in a rule: 17s..23s, 1M..2M.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk rule put 'dust do=badblock'\n"
		    "  faultblk badblock add dust 60s..61s && faultblk badblock list dust",
	.exits = "  0  done\n  1  that failed\n  2  wrong options or words\n  4  no such disk",
	.min_words = 2,
	.max_words = 3,
};

static const struct verb {
	const char *name;
	bool needs_range;
} verbs[] = {
	{ "add", true },    { "remove", true }, { "query", true },
	{ "count", false }, { "list", false },
};

static const struct verb *find_verb(const char *name)
{
	const char *names[array_size(verbs) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < array_size(verbs); i++) {
		names[i] = verbs[i].name;
		if (strcmp(name, verbs[i].name) == 0)
			return &verbs[i];
	}
	near = near_word(name, strlen(name), names);
	tool_msg("badblock: got '%s', wanted add, remove, query, count or list%s%s%s", name,
		 near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
	return NULL;
}

static void print_answer(const struct verb *verb, json_t *answer)
{
	json_t *range;
	size_t i;

	json_array_foreach (json_object_get(answer, "ranges"), i, range)
		printf("%s\n", json_string_value(range));
	if (strcmp(verb->name, "list") != 0)
		printf("%lld\n", (long long)json_integer_value(json_object_get(answer, "count")));
}

int cmd_badblock(int argc, char **argv)
{
	struct badblock_opts opts;
	json_t *answer = NULL;
	struct opt_words words;
	enum opt_result result =
		opt_parse(argc, argv, badblock_table, &badblock_help, &opts, &words);
	const struct verb *verb;
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	verb = find_verb(words.words[0]);
	if (!verb)
		return EXIT_USAGE;
	if (verb->needs_range && words.count < 3) {
		tool_msg("badblock %s: the range is missing: wanted START..END, such as 17s..23s",
			 verb->name);
		return EXIT_USAGE;
	}
	code = rpc_client_once(&opts.disk, "rules.tell",
			       json_pack("{s:s, s:s, s:s*}", "name", words.words[1], "verb",
					 verb->name, "range",
					 words.count > 2 ? words.words[2] : NULL),
			       &answer);
	if (code || opts.json)
		return code ? code : tool_print_json(answer);
	print_answer(verb, answer);
	json_decref(answer);
	return EXIT_OK;
}
