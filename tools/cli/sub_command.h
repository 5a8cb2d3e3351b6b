/* SPDX-License-Identifier: MIT */
/* A command that is several: faultblk rule put, faultblk log show. */
#ifndef TOOLS_CLI_SUB_COMMAND_H
#define TOOLS_CLI_SUB_COMMAND_H

#include "tools/cli/opt.h"

struct sub_command {
	const char *name;
	/* @opts: what the options' offsets mean. Returns the exit code. */
	int (*run)(void *opts, const struct opt_words *words);
	const struct opt *table;
	struct opt_help help;
	const char *summary;
};

struct sub_commands {
	const char *name;     /* of the command that has them */
	const char *what;     /* one line */
	const char *examples; /* NULL: those of each */
	const char *exits;
	const struct sub_command *subs;
	size_t nr; /* at most SUB_COMMANDS_MAX */
};

#define SUB_COMMANDS_MAX 15

/* argv[0] is the command's name, argv[1] which; @opts is filled by its options. The exit code. */
int sub_commands_run(const struct sub_commands *all, int argc, char **argv, void *opts);

#endif
