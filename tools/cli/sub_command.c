// SPDX-License-Identifier: MIT
#include "tools/cli/sub_command.h"

#include "base/near.h"
#include "tools/cli/tool.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void print_usage(const struct sub_commands *all, FILE *out)
{
	fprintf(out, "usage: faultblk %s COMMAND [options]\n\n%s\n\ncommands:\n", all->name,
		all->what);
	for (size_t i = 0; i < all->nr; i++)
		fprintf(out, "  %-8s %s\n", all->subs[i].name, all->subs[i].summary);
	fprintf(out, "\nexamples:\n");
	if (all->examples)
		fprintf(out, "%s\n", all->examples);
	for (size_t i = 0; i < all->nr && !all->examples; i++)
		fprintf(out, "%s\n", all->subs[i].help.examples);
	fprintf(out, "\nexit codes:\n%s\n", all->exits);
}

static int run(const struct sub_commands *all, const struct sub_command *sub, int argc, char **argv,
	       void *opts)
{
	char label[32];

	snprintf(label, sizeof(label), "%s %s", all->name, sub->name);
	argv[0] = label; /* for messages */
	return opt_run(argc, argv, sub->table, &sub->help, opts, sub->run);
}

int sub_commands_run(const struct sub_commands *all, int argc, char **argv, void *opts)
{
	const char *names[SUB_COMMANDS_MAX + 1] = { NULL };
	const char *near;

	assert(all->nr <= SUB_COMMANDS_MAX);
	if (argc < 2) {
		print_usage(all, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		print_usage(all, stdout);
		return EXIT_OK;
	}
	for (size_t i = 0; i < all->nr; i++) {
		names[i] = all->subs[i].name;
		if (tool_is_word(argv[1], all->subs[i].name))
			return run(all, &all->subs[i], argc - 1, argv + 1, opts);
	}
	near = near_word(argv[1], strlen(argv[1]), names);
	if (near)
		tool_msg("%s: there is no command '%s'; did you mean '%s'?", all->name, argv[1],
			 near);
	else
		tool_msg("%s: there is no command '%s'; faultblk %s --help lists them", all->name,
			 argv[1], all->name);
	return EXIT_USAGE;
}
