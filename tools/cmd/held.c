// SPDX-License-Identifier: MIT
/* faultblk held, faultblk release: what waits for us. */
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/table.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct held_opts {
	struct disk_choice disk;
	bool json;
};

static const struct opt held_table[] = {
	OPT_DISK_CHOICE(struct held_opts, disk),
	OPT_FLAG(struct held_opts, json, "json", "print JSON"),
	OPT_END,
};

#define HELD_EXITS                                                                                 \
	"  0  done\n  1  the server did not answer\n  2  wrong options\n  4  no such disk"

static const struct opt_help held_help = {
	.usage = "faultblk held [options] [DISK]",
	.words_are = "name",
	.what = "List the requests that do=hang holds, oldest first.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk held",
	.exits = HELD_EXITS,
};

static long long number_of(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

enum { ID, RULE, OP, SECTOR, LENGTH, QUEUE, HELD_FOR, NR_COLUMNS };

static const struct table_column held_columns[NR_COLUMNS] = {
	[ID] = { .head = "id", .least = 8, .right = true },
	[RULE] = { .head = "rule", .least = 16, .cut = true },
	[OP] = { .head = "op", .least = 8, .rank = 2 },
	[SECTOR] = { .head = "sector", .least = 14, .right = true },
	[LENGTH] = { .head = "length", .least = 8, .right = true, .rank = 3 },
	[QUEUE] = { .head = "queue", .least = 6, .right = true, .rank = 4 },
	[HELD_FOR] = { .head = "held for", .rank = 1 },
};

static void put_held(void *ctx, size_t row, struct table_cell *cells)
{
	json_t *held = json_array_get(ctx, row);

	snprintf(cells[ID].buf, TABLE_CELL_BYTES, "%lld", number_of(held, "id"));
	snprintf(cells[SECTOR].buf, TABLE_CELL_BYTES, "%lld", number_of(held, "sector"));
	snprintf(cells[QUEUE].buf, TABLE_CELL_BYTES, "%lld", number_of(held, "queue"));
	units_format_size((uint64_t)number_of(held, "len_bytes"), cells[LENGTH].buf);
	units_human_time((uint64_t)number_of(held, "held_ns"), cells[HELD_FOR].buf);
	for (size_t i = 0; i < NR_COLUMNS; i++)
		cells[i].text = cells[i].buf;
	cells[RULE].text = json_string_value(json_object_get(held, "rule"));
	cells[OP].text = json_string_value(json_object_get(held, "op"));
}

int cmd_held(int argc, char **argv)
{
	struct held_opts opts;
	json_t *answer = NULL;
	enum opt_result result = opt_parse(argc, argv, held_table, &held_help, &opts, NULL);
	const struct screen screen = screen_of_list(STDOUT_FILENO);
	struct table table = { .columns = held_columns, .nr_columns = NR_COLUMNS, .row = put_held };
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = rpc_client_once(&opts.disk, "held.list", NULL, &answer);
	if (code || opts.json)
		return code ? code : tool_print_json(answer);
	table.ctx = json_object_get(answer, "held");
	table.nr_rows = json_array_size(table.ctx);
	table_print(&table, &screen, stdout);
	json_decref(answer);
	return EXIT_OK;
}

/* ------------------------------------------------------------------------------ release */

struct release_opts {
	struct disk_choice disk;
	const char *rule;
	uint64_t id, count;
	bool json;
};

static const struct opt release_table[] = {
	OPT_TEXT(struct release_opts, rule, "rule", NULL, "NAME",
		 "release only requests that this rule holds"),
	OPT_COUNT(struct release_opts, id, "id", NULL, 1, INT64_MAX,
		  "release only the request with this number; default: any"),
	OPT_COUNT(struct release_opts, count, "count", NULL, 1, INT64_MAX,
		  "release at most N requests, oldest first; default: all"),
	OPT_DISK_CHOICE(struct release_opts, disk),
	OPT_FLAG(struct release_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help release_help = {
	.usage = "faultblk release [options]",
	.what = "Release held requests, all or some: each is carried out, or ends as a later rule\n"
		"decided. Print their number.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk release\n  faultblk release --rule stuck --count 1",
	.exits = HELD_EXITS,
};

/* Nothing was released: was that what a name or a number said wrongly? */
static int explain_none(const struct release_opts *opts)
{
	json_t *answer = NULL, *rule;
	bool found = false;
	size_t i;
	int code;

	if (opts->id) {
		tool_msg("no held request has the number %llu; faultblk held lists them",
			 (unsigned long long)opts->id);
		return EXIT_FAILED;
	}
	if (!opts->rule)
		return EXIT_OK;
	code = rpc_client_once(&opts->disk, "rules.list", NULL, &answer);
	if (code)
		return code;
	json_array_foreach (json_object_get(answer, "rules"), i, rule)
		found |= strcmp(json_string_value(json_object_get(rule, "name")), opts->rule) == 0;
	if (!found)
		tool_msg("there is no rule '%s', and no held request of one; faultblk rule ls "
			 "lists the rules",
			 opts->rule);
	json_decref(answer);
	return found ? EXIT_OK : EXIT_FAILED;
}

int cmd_release(int argc, char **argv)
{
	struct release_opts opts;
	json_t *answer = NULL, *params;
	enum opt_result result = opt_parse(argc, argv, release_table, &release_help, &opts, NULL);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	params = json_pack("{s:s*}", "rule", opts.rule);
	if (opts.id)
		json_object_set_new(params, "id", json_integer((json_int_t)opts.id));
	if (opts.count)
		json_object_set_new(params, "count", json_integer((json_int_t)opts.count));
	code = rpc_client_once(&opts.disk, "held.release", params, &answer);
	if (!code && !number_of(answer, "released"))
		code = explain_none(&opts);
	if (!code && opts.json)
		return tool_print_json(answer);
	if (!code)
		printf("%lld released\n", number_of(answer, "released"));
	json_decref(answer);
	return code;
}
