// SPDX-License-Identifier: MIT
/* faultblk capacity: how much of a disk may be written, and how much is. */
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <stdio.h>

struct capacity_opts {
	struct disk_choice disk;
	bool json;
};

static const struct opt capacity_table[] = {
	OPT_DISK_CHOICE(struct capacity_opts, disk),
	OPT_FLAG(struct capacity_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help capacity_help = {
	.usage = "faultblk capacity [options] [SIZE|none]",
	.what =
		"Show how much of a disk is used and can be written. With SIZE or none, set the limit,\n"
		"as on a thin disk: writes that need more fail with ENOSPC and change nothing.\n"
		"Overwrites succeed, and discards free space. Space is counted in pages of 4k.\n" //
	DISK_CHOICE_HELP,
	.examples = "  faultblk capacity 1G\n"
		    "  faultblk capacity --name thin none",
	.exits =
		"  0  done\n  1  the server did not answer, or refused\n  2  wrong options or words\n"
		"  4  no such disk",
	.max_words = 1,
};

int cmd_capacity(int argc, char **argv)
{
	struct capacity_opts opts;
	json_t *answer = NULL, *capacity;
	struct opt_words words;
	enum opt_result result =
		opt_parse(argc, argv, capacity_table, &capacity_help, &opts, &words);
	char used[UNITS_MAX], limit[UNITS_MAX];
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = rpc_client_once(&opts.disk, "disk.capacity",
			       words.count ? json_pack("{s:s}", "capacity", words.words[0]) : NULL,
			       &answer);
	if (code || opts.json)
		return code ? code : tool_print_json(answer);
	capacity = json_object_get(answer, "capacity_bytes");
	units_format_size((uint64_t)json_integer_value(json_object_get(answer, "used_bytes")),
			  used);
	if (json_is_integer(capacity))
		printf("%s of %s used\n", used,
		       units_format_size((uint64_t)json_integer_value(capacity), limit));
	else
		printf("%s used, no limit\n", used);
	json_decref(answer);
	return EXIT_OK;
}
