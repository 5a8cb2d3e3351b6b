// SPDX-License-Identifier: MIT
/* The program: a table of commands. Each command is a file in cmd/. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/near.h"
#include "tools/cli/clean_output.h"
#include "tools/cli/manual.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/rpc/line.h"

#include <stdio.h>
#include <string.h>

static int cmd_help(int argc, char **argv);

enum group { SERVE, RULES, LOOK, CUT, EXPLORE, RECORDINGS, MACHINE };

/* A group is what people do; it has one manual page. */
static const struct {
	const char *title, *page;
} groups[] = {
	[SERVE] = { "serve a disk", "faultblk-run" },
	[RULES] = { "rules", "faultblk-rule" },
	[LOOK] = { "look at a disk", "faultblk-status" },
	[CUT] = { "power cuts", "faultblk-crash" },
	[EXPLORE] = { "what a power cut leaves", "faultblk-explore" },
	[RECORDINGS] = { "recordings", "faultblk-replay" },
	[MACHINE] = { "this machine", "faultblk-vm" },
};

/* In the order in which --help shows them: those of a group stand together. */
static const struct command {
	enum group group;
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns exit code */
	const char *summary;
} commands[] = {
	{ SERVE, "run", cmd_run, "create a disk that breaks on purpose, and serve it" },
	{ SERVE, "stop", cmd_stop, "remove disks" },
	{ SERVE, "capacity", cmd_capacity, "show and set how much of a disk can be written" },
	{ SERVE, "snapshot", cmd_snapshot, "keep the content of a disk, and restore it" },
	{ SERVE, "image", cmd_image, "write a disk to a file, or load it from one" },
	{ RULES, "rule", cmd_rule, "put, list, remove, load, dump and explain rules of a disk" },
	{ RULES, "badblock", cmd_badblock, "add, remove, count and list bad blocks of a rule" },
	{ RULES, "faults", cmd_faults, "the kinds of faults, their parameters and examples" },
	{ LOOK, "list", cmd_list, "list the disks that are served" },
	{ LOOK, "status", cmd_status, "show the properties and the state of a disk" },
	{ LOOK, "stats", cmd_stats, "show counts, errors and latencies of a disk, once or live" },
	{ LOOK, "events", cmd_events, "show hits of rules, past ones or as they happen" },
	{ LOOK, "wait", cmd_wait, "wait until a rule has hit" },
	{ LOOK, "held", cmd_held, "list the requests that rules hold" },
	{ LOOK, "release", cmd_release, "release held requests" },
	{ CUT, "crash", cmd_crash, "cut the power of disks now" },
	{ CUT, "revive", cmd_revive, "bring back a disk that lost power, disappeared or wore out" },
	{ EXPLORE, "explore", cmd_explore,
	  "check the states that a power cut can leave of recorded disks" },
	{ EXPLORE, "crashtest", cmd_crashtest,
	  "record a workload, and check the states of all power cuts" },
	{ EXPLORE, "check", cmd_check, "run a ready-made check of a disk or an image" },
	{ EXPLORE, "report", cmd_report,
	  "report the findings of explorations as text or as a page" },
	{ RECORDINGS, "mark", cmd_mark, "add a line of text to the recording of a disk" },
	{ RECORDINGS, "recording", cmd_recording,
	  "show the recording of a disk, raise its limit, end it" },
	{ RECORDINGS, "replay", cmd_replay, "do a recorded run again, in memory or on a device" },
	{ RECORDINGS, "log", cmd_log,
	  "export, import and show recordings and logs of dm-log-writes" },
	{ MACHINE, "doctor", cmd_doctor, "check this machine, and print a fix for each problem" },
	{ MACHINE, "gc", cmd_gc, "remove what killed programs left behind" },
	{ MACHINE, "vm", cmd_vm, "run a command in a virtual machine whose kernel has ublk" },
	{ MACHINE, "help", cmd_help, "open the manual page of a command" },
};

static void print_usage(FILE *out)
{
	fprintf(out, "usage: faultblk COMMAND [options]\n\n"
		     "A block device that breaks on purpose.\n");
	for (size_t i = 0; i < array_size(commands); i++) {
		if (i == 0 || commands[i].group != commands[i - 1].group)
			fprintf(out, "\n%s, %s(1):\n", groups[commands[i].group].title,
				groups[commands[i].group].page);
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	}
	fprintf(out,
		"\n`faultblk COMMAND --help` lists the options of a command, with an example;\n"
		"`faultblk help COMMAND` opens its manual page. To begin with:\n"
		"  faultblk run --rule 'hole op=read range=17s..23s do=error:EIO' -- \\\n"
		"      sh -c 'dd if=$FAULTBLK_DEV of=/dev/null'\n");
}

static const struct command *find_command(const char *name)
{
	const char *names[array_size(commands) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < array_size(commands); i++) {
		if (tool_is_word(name, commands[i].name))
			return &commands[i];
		names[i] = commands[i].name;
	}
	near = near_word(name, strlen(name), names);
	if (near)
		tool_msg("there is no command '%s'; did you mean '%s'?", name, near);
	else
		tool_msg("there is no command '%s'; faultblk --help lists them", name);
	return NULL;
}

static int cmd_help(int argc, char **argv)
{
	static const struct opt none[] = { OPT_END };
	static const struct opt_help about = {
		.usage = "faultblk help [COMMAND [WORD]]",
		.what = "Open the manual page of a command, as `man` does. Where there is no page, no man or\n"
			"no terminal, print its --help; without COMMAND the list of commands.",
		.examples = "  faultblk help explore\n  faultblk help rule put",
		.max_words = 2,
	};
	char *help_argv[] = { NULL, NULL, NULL, NULL };
	const struct command *command;
	struct opt_words words;
	enum opt_result result = opt_parse(argc, argv, none, &about, NULL, &words);

	if (result != OPT_OK)
		return opt_exit(result);
	if (!words.count) {
		print_usage(stdout);
		return EXIT_OK;
	}
	command = find_command(words.words[0]);
	if (!command)
		return EXIT_USAGE;
	manual_open(groups[command->group].page);
	for (int i = 0; i < words.count; i++)
		help_argv[i] = words.words[i];
	help_argv[words.count] = "--help";
	return command->run(words.count + 1, help_argv);
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_usage(stdout);
		return EXIT_OK;
	}
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
