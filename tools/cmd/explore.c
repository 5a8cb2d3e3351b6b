// SPDX-License-Identifier: MIT
/* faultblk explore: what a power cut could have left, checked. */
#include "tools/explore/explore.h"
#include "tools/cli/opt.h"
#include "tools/cli/program.h"
#include "tools/cli/tool.h"

#include <stdio.h>

struct explore_opts {
	struct explore_job job;
};

#define O struct explore_opts
static const struct opt explore_table[] = {
	OPT_TEXT(O, job.recording, "recording", NULL, "FILE", "a recording of run --record-data, "
							      "or a log"),
	EXPLORE_OPTIONS(O, job),
	OPT_END,
};
#undef O

static const struct opt_help explore_help = {
	.usage = "faultblk explore --recording FILE --check COMMAND [options]",
	.what =
		"Build the states that a power cut can leave at each crash point of a recording, and\n"
		"run COMMAND on each state that differs from earlier ones. The disk is $FAULTBLK_DEV:\n"
		"an image file, or a block device with --present device. With --present fuse this\n"
		"program serves the image, and --strategy lazy works on it. Writes of COMMAND are\n"
		"discarded.",
	.examples =
		"  faultblk explore --recording a.rec --check 'e2fsck -fn $FAULTBLK_DEV'\n"
		"  faultblk explore --recording a.rec --results a.jsonl --resume --jobs 8 \\\n"
		"      --recovery 'e2fsck -y -E journal_only $FAULTBLK_DEV' --check ./my-check\n"
		"  faultblk explore --recording a.rec --check ./my-check --state '812:new~3=0'",
	.exits = "  0  no finding\n  1  findings\n"
		 "  2  wrong options, or it could not be done\n"
		 "  3  --present device: this machine cannot make ublk devices\n"
		 "  128+N  ended by signal N, without a finding",
};

int cmd_explore(int argc, char **argv)
{
	struct explore_opts opts;
	enum opt_result result = opt_parse(argc, argv, explore_table, &explore_help, &opts, NULL);

	if (result != OPT_OK)
		return opt_exit(result);
	if (!opts.job.recording) {
		tool_msg(
			"explore: no --recording; `faultblk run --record FILE --record-data` makes "
			"one");
		return EXIT_USAGE;
	}
	if (program_offer()) {
		tool_msg("no memory");
		return EXIT_USAGE;
	}
	return explore_job_run(&opts.job);
}
