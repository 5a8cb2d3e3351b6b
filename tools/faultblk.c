// SPDX-License-Identifier: MIT
/* The program: a table of commands. Each command is a file, cmd_*.c. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/near.h"
#include "tools/cli/clean_output.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/rpc/line.h"

#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
	{ "run", cmd_run, "make a disk that breaks on purpose, and serve it" },
	{ "replay", cmd_replay, "do a recorded run again, without a kernel or on a device" },
	{ "log", cmd_log, "recordings and logs of dm-log-writes: export, import, show" },
	{ "report", cmd_report, "what explorations found, shards merged, as text or a page" },
	{ "rule", cmd_rule, "put, list, remove, load, dump and explain the rules of a disk" },
	{ "faults", cmd_faults, "the kinds of faults, their parameters and an example of each" },
	{ "status", cmd_status, "what a disk is and how it is doing" },
	{ "stats", cmd_stats, "counts, errors and latencies of a disk, once or live" },
	{ "list", cmd_list, "the disks that are being served" },
	{ "events", cmd_events, "what the rules did, as a list or as it happens" },
	{ "wait", cmd_wait, "return when a rule has hit" },
	{ "held", cmd_held, "the requests that are held" },
	{ "release", cmd_release, "let held requests go" },
	{ "badblock", cmd_badblock, "add, remove, count and list the bad blocks of a rule" },
	{ "explore", cmd_explore, "check what a power cut could have left of recorded disks" },
	{ "mark", cmd_mark, "put a line of text into the recording of a disk" },
	{ "recording", cmd_recording, "how the recording goes; raise its limit, end it" },
	{ "crash", cmd_crash, "cut the power of a disk now" },
	{ "revive", cmd_revive, "bring back a disk that lost power, went away or wore out" },
	{ "capacity", cmd_capacity, "how much of a disk may be written, and how much is" },
	{ "snapshot", cmd_snapshot, "keep what a disk holds now, and bring it back" },
	{ "image", cmd_image, "write a disk to a file, or read it from one" },
	{ "crashtest", cmd_crashtest,
	  "record a workload, cut the power everywhere, check what is left" },
	{ "check", cmd_check, "the ready-made checks of what a power cut left" },
	{ "stop", cmd_stop, "take a disk away" },
	{ "gc", cmd_gc, "delete disks whose server was killed" },
	{ "doctor", cmd_doctor, "check this machine, with the command that fixes each finding" },
	{ "vm", cmd_vm, "run a command in a virtual machine whose kernel has ublk" },
};

static void print_usage(FILE *out)
{
	fprintf(out, "usage: faultblk COMMAND [options]\n\n"
		     "A block device that breaks on purpose.\n\ncommands:\n");
	for (size_t i = 0; i < array_size(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\n`faultblk COMMAND --help` says more, each with an example. To begin with:\n"
		     "  faultblk run --rule 'hole op=read range=17s..23s do=error:EIO' -- "
		     "sh -c 'dd if=$FAULTBLK_DEV of=/dev/null'\n");
}

static const struct command *find_command(const char *name)
{
	const char *names[array_size(commands) + 2];
	const char *near;

	for (size_t i = 0; i < array_size(commands); i++) {
		if (tool_is_word(name, commands[i].name))
			return &commands[i];
		names[i] = commands[i].name;
	}
	names[array_size(commands)] = "help";
	names[array_size(commands) + 1] = NULL;
	near = near_word(name, strlen(name), names);
	if (near)
		tool_msg("there is no command '%s'; did you mean '%s'?", name, near);
	else
		tool_msg("there is no command '%s'; faultblk --help lists them", name);
	return NULL;
}

static int help(int argc, char **argv)
{
	const struct command *command;
	char *help_argv[] = { NULL, "--help", NULL };

	if (argc < 2) {
		print_usage(stdout);
		return EXIT_OK;
	}
	command = find_command(argv[1]);
	if (!command)
		return EXIT_USAGE;
	help_argv[0] = argv[1];
	return command->run(2, help_argv);
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "help") == 0)
		return help(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(1, argv);
	if (strcmp(argv[1], "--version") == 0) {
		printf("faultblk %s\n", FAULTBLK_VERSION);
		return EXIT_OK;
	}
	if (strcmp(argv[1], REREAD_WORD) == 0)
		return cmd_reread_disk(argc - 1, argv + 1);
	if (strcmp(argv[1], PROBE_WORD) == 0)
		return cmd_udev_probe(argc - 1, argv + 1);
	command = find_command(argv[1]);
	return command ? command->run(argc - 1, argv + 1) : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int code;

	tool_prepare();
	clean_output_start();
	rpc_json_watch();
	if (failpoint_init())
		return EXIT_USAGE;
	typed_set_line(argc - 1, argv + 1);
	code = dispatch(argc, argv);
	if (tool_output_failed() && code == EXIT_OK)
		code = EXIT_FAILED;
	return code;
}
