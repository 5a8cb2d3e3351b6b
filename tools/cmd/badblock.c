// SPDX-License-Identifier: MIT
/* faultblk badblock: commands to the rules whose kind is badblock. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/near.h"
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/places.h"
#include "tools/cli/tool.h"
#include "tools/disk/partition.h"
#include "tools/rpc/client.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CALL_BYTES (RPC_LINE_MAX - 4096) /* of ranges in one call */

struct badblock_opts {
	struct disk_choice disk;
	const char *file;
	uint64_t unit, part;
	bool json;
};

static const struct opt badblock_table[] = {
	OPT_TEXT(struct badblock_opts, file, "file", NULL, "FILE",
		 "read the ranges from a file; -: standard input"),
	OPT_SIZE(struct badblock_opts, unit, "unit", NULL, 512, 1ull << 30,
		 "size of the blocks that a number without a unit counts"),
	OPT_COUNT(struct badblock_opts, part, "part", NULL, 1, PARTITION_MAX,
		  "ranges are relative to the start of this partition"),
	OPT_DISK_CHOICE(struct badblock_opts, disk),
	OPT_FLAG(struct badblock_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help badblock_help = {
	.usage = "faultblk badblock [options] add|remove|query|count|list RULE [RANGE...]",
	.what =
		"Manage the bad blocks of a rule with do=badblock: reads of them fail until they are\n"
		"rewritten.\n"
		"  add RULE RANGE...     add bad blocks; print the number of new ones\n"
		"  remove RULE RANGE...  remove bad blocks; print the number of removed ones\n"
		"  query RULE RANGE...   print the number of bad blocks in the ranges\n"
		"  count RULE            print the number of bad blocks\n"
		"  list RULE [RANGE...]  list the bad blocks\n"
		"RANGE is START..END as in a rule: 17s..23s, 1M..2M. With --unit SIZE it is also a\n"
		"block (4711), a range of blocks (4711-4720) or a number of blocks (4711+10). A file\n"
		"has one or more ranges a line, or is the output of `filefrag -v`.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk rule put 'dust do=badblock'\n"
		    "  faultblk badblock add dust 60s..61s && faultblk badblock list dust\n"
		    "  filefrag -v /mnt/file | faultblk badblock add dust --file -\n"
		    "  faultblk badblock add dust --unit 1k --file badblocks.txt",
	.exits = "  0  done\n  1  that failed\n  2  wrong options or words\n  4  no such disk",
	.min_words = 2,
	.max_words = -1,
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
		if (tool_is_word(name, verbs[i].name))
			return &verbs[i];
	}
	near = near_word(name, strlen(name), names);
	tool_msg("badblock: got '%s', wanted add, remove, query, count or list%s%s%s", name,
		 near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
	return NULL;
}

/* ------------------------------------------------------------------------------ ranges */

static int read_file(struct places *places, const char *path, struct diag *diag)
{
	bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_fclose_ FILE *opened = is_stdin ? NULL : fopen(path, "re");

	if (!is_stdin && !opened)
		return diag_set(diag, -errno, "places.read", "cannot read %.200s: %s", path,
				strerror(errno));
	return places_read(places, is_stdin ? stdin : opened, is_stdin ? "standard input" : path,
			   diag);
}

/* Those of the command line and of the file. */
static int read_places(const struct badblock_opts *opts, const struct opt_words *words,
		       struct places *places)
{
	struct diag diag = { 0 };
	int err = 0;

	places->unit_bytes = opts->unit;
	for (int i = 2; i < words->count && !err; i++)
		err = places_line(places, (struct text){ words->words[i], strlen(words->words[i]) },
				  &diag);
	if (!err && opts->file)
		err = read_file(places, opts->file, &diag);
	if (err) {
		tool_diag(&diag);
		return err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
	}
	places_end(places);
	return EXIT_OK;
}

/*
 * As many as fit into one call, from @from on; *ret_next: the first that does not. One string: of a
 * hundred thousand each would cost more than what it says. NULL: no memory.
 */
static json_t *pack_ranges(const struct places *places, size_t from, size_t *ret_next)
{
	_cleanup_free_ char *text = fail_alloc("tools/cmd/badblock/ranges", malloc(CALL_BYTES));
	char *at = text;
	size_t i = from;

	for (; text && i < places->nr; i++) {
		char a[UNITS_MAX], b[UNITS_MAX] = "";

		if (at - text + 2 * UNITS_MAX + 4 > CALL_BYTES)
			break;
		if (places->ranges[i].to != UINT64_MAX)
			units_format_size(places->ranges[i].to, b);
		if (i > from)
			*at++ = ',';
		at = stpcpy(at, units_format_size(places->ranges[i].from, a));
		at = stpcpy(stpcpy(at, ".."), b);
	}
	*ret_next = i;
	return text ? json_stringn(text, (size_t)(at - text)) : NULL;
}

/* ------------------------------------------------------------------------------ calls */

static json_t *pack_call(const struct badblock_opts *opts, const char *verb, const char *rule,
			 json_t *ranges)
{
	json_t *params = json_pack("{s:s, s:s, s:o*}", "name", rule, "verb", verb, "range", ranges);

	if (opts->part)
		json_object_set_new(params, "part", json_integer((json_int_t)opts->part));
	return params;
}

/* Add up the answers of several calls. Steals @answer. */
static void add_answer(json_t *sum, json_t *answer)
{
	json_t *ranges = json_object_get(answer, "ranges"), *all;

	json_object_set_new(sum, "count",
			    json_integer(json_integer_value(json_object_get(sum, "count")) +
					 json_integer_value(json_object_get(answer, "count"))));
	if (ranges) {
		all = json_object_get(sum, "ranges");
		if (all)
			json_array_extend(all, ranges);
		else
			json_object_set(sum, "ranges", ranges);
	}
	json_decref(answer);
}

static int ask(const struct badblock_opts *opts, const char *verb, const char *rule,
	       const struct places *places, json_t *sum)
{
	struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	size_t at = 0, before;
	int code = 0, err = rpc_client_open(&opts->disk, &diag, &client);

	do {
		json_t *answer = NULL, *ranges;

		before = at;
		if (err)
			break;
		ranges = places->nr ? pack_ranges(places, at, &at) : NULL;
		if (places->nr && !ranges) {
			err = diag_set(&diag, -ENOMEM, "client.memory",
				       "no memory for a list of places");
			break;
		}
		err = rpc_client_call(client, "rules.tell", pack_call(opts, verb, rule, ranges),
				      &diag, &code, &answer);
		if (!err)
			add_answer(sum, answer);
	} while (at < places->nr);
	rpc_client_free(client);
	if (err && before)
		tool_msg("badblock %s: the first %zu of %zu ranges are done, the others are not",
			 verb, before, places->nr);
	return err ? rpc_client_fail(err, code, &diag) : EXIT_OK;
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
	_cleanup_(places_free) struct places places = { .ranges = NULL };
	struct badblock_opts opts;
	struct opt_words words;
	enum opt_result result =
		opt_parse(argc, argv, badblock_table, &badblock_help, &opts, &words);
	const struct verb *verb;
	json_t *sum;
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	verb = find_verb(words.words[0]);
	if (!verb)
		return EXIT_USAGE;
	code = read_places(&opts, &words, &places);
	if (code)
		return code;
	if (!places.nr && (verb->needs_range || opts.file)) {
		tool_msg("badblock %s: %s: wanted START..END, such as 17s..23s", verb->name,
			 opts.file ? "there is no range in the file" : "the range is missing");
		return EXIT_USAGE;
	}
	sum = json_object();
	code = ask(&opts, verb->name, words.words[1], &places, sum);
	if (!code && opts.json)
		return tool_print_json(sum);
	if (!code)
		print_answer(verb, sum);
	json_decref(sum);
	return code;
}
