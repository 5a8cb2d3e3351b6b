// SPDX-License-Identifier: MIT
#include "opt.h"
#include "rpc_client.h"
#include "tool.h"

struct stop_opts {
	struct disk_choice disk;
	bool force, json;
};

static const struct opt stop_table[] = {
	OPT_DISK_CHOICE(struct stop_opts, disk),
	OPT_FLAG(struct stop_opts, force, "force", "even if it is held: the holder gets errors"),
	OPT_FLAG(struct stop_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help stop_help = {
	.usage = "faultblk stop [options]",
	.what = "Take a disk away. One that is held (open, mounted) is left alone after 5 s, and the\n"
		"message names the holder.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk stop --name slow",
	.exits = "  0  it is gone\n  1  that failed\n  2  wrong options\n"
		 "  4  no such disk\n  5  somebody holds it; it serves on",
};

int cmd_stop(int argc, char **argv)
{
	struct stop_opts opts;
	json_t *answer = NULL;
	enum opt_result result = opt_parse(argc, argv, stop_table, &stop_help, &opts, NULL);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = rpc_client_once(&opts.disk, "stop", json_pack("{s:b}", "force", opts.force),
			       &answer);
	if (!code && opts.json)
		return tool_print_json(answer);
	json_decref(answer);
	return code;
}
