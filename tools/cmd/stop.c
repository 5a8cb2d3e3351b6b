// SPDX-License-Identifier: MIT
#include "base/cleanup.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/disk_group.h"

struct stop_opts {
	struct disks_choice disks;
	bool force, json;
};

static const struct opt stop_table[] = {
	OPT_DISKS_CHOICE(struct stop_opts, disks),
	OPT_FLAG(struct stop_opts, force, "force", "even if it is held: the holder gets errors"),
	OPT_FLAG(struct stop_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help stop_help = {
	.usage = "faultblk stop [options] [DISK...]",
	.words_are = "name",
	.what = "Take a disk away. One that is held (open, mounted) is left alone after 5 s, and the\n"
		"message names the holder.\n" DISKS_CHOICE_HELP,
	.examples = "  faultblk stop --name slow\n  faultblk stop --all",
	.exits = "  0  it is gone\n  1  that failed\n  2  wrong options\n"
		 "  4  no such disk\n  5  somebody holds it; it serves on",
};

static json_t *make_params(void *ctx, const struct disk_member *member)
{
	const struct stop_opts *opts = ctx;

	(void)member;
	return json_pack("{s:b}", "force", opts->force);
}

static int stop(struct stop_opts *opts)
{
	_cleanup_(disk_group_close) struct disk_group group = { .members = NULL };
	struct diag diag = { 0 };
	int err = disk_group_open(&opts->disks, &diag, &group);
	int code;

	if (err)
		return rpc_client_fail(err, 0, &diag);
	disk_group_ask(&group, "stop", make_params, opts);
	code = disk_group_fail(&group);
	if (opts->json && (group.many || !code))
		return tool_print_json(disk_group_answers(&group)) ?: code;
	return code;
}

int cmd_stop(int argc, char **argv)
{
	struct stop_opts opts;
	enum opt_result result = opt_parse(argc, argv, stop_table, &stop_help, &opts, NULL);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = stop(&opts);
	opt_free(stop_table, &opts);
	return code;
}
