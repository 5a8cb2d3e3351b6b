// SPDX-License-Identifier: MIT
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/disk_group.h"

struct stop_opts {
	struct disks_choice disks;
	bool force, json;
};

static const struct opt stop_table[] = {
	OPT_DISKS_CHOICE(struct stop_opts, disks),
	OPT_FLAG(struct stop_opts, force, "force", "remove the disk even if it is held: the holder "
						   "gets errors"),
	OPT_FLAG(struct stop_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help stop_help = {
	.usage = "faultblk stop [options] [DISK...]",
	.words_are = "name",
	.what =
		"Remove disks. A disk that is held (open, mounted) stays after 5 s, and the message\n"
		"names the holder.\n" DISKS_CHOICE_HELP,
	.examples = "  faultblk stop --name slow\n  faultblk stop --all",
	.exits = "  0  it is gone\n  1  that failed\n  2  wrong options\n"
		 "  4  no such disk\n  5  a process holds it; it stays",
};

static json_t *make_params(void *ctx, const struct disk_member *member)
{
	const struct stop_opts *opts = ctx;

	(void)member;
	return json_pack("{s:b}", "force", opts->force);
}

static int stop(void *values, const struct opt_words *words)
{
	struct stop_opts *opts = values;

	(void)words;
	return disk_group_run(&opts->disks, "stop", make_params, opts, opts->json, NULL);
}

int cmd_stop(int argc, char **argv)
{
	struct stop_opts opts;

	return opt_run(argc, argv, stop_table, &stop_help, &opts, stop);
}
