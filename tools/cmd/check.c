// SPDX-License-Identifier: MIT
/* faultblk check: the ready-made checks of a state. Shell scripts, in checks/, carried inside. */
#include "base/cleanup.h"
#include "base/near.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const char checks_common[], checks_fsck[], checks_mount[], checks_tree[], checks_sqlite[];

static const struct ready_check {
	const char *name, *script, *args, *summary;
} checks[] = {
	{ "fsck", checks_fsck, "", "replay the log, then run the checker of the file system" },
	{ "mount", checks_mount, "", "mount, read all files, unmount, then run the checker" },
	{ "tree", checks_tree, "[--hash DIR]", "compare the files with those of a mark" },
	{ "sqlite", checks_sqlite, "FILE [SQL]",
	  "check the database, and that it has all commits" },
};

static void print_usage(FILE *out)
{
	fprintf(out, "usage: faultblk check NAME [ARGUMENTS]\n\n"
		     "Judge the disk or image in FAULTBLK_DEV, as `faultblk explore` sets it:\n"
		     "  faultblk explore --recording FILE --check 'faultblk check fsck'\n\n");
	for (size_t i = 0; i < array_size(checks); i++) {
		char words[64];

		snprintf(words, sizeof(words), "%s %s", checks[i].name, checks[i].args);
		fprintf(out, "  %-20s %s\n", words, checks[i].summary);
	}
	fprintf(out,
		"\nfsck     on ext2, ext3 and ext4 images it needs no root and no kernel\n"
		"tree     a workload marks moments:\n"
		"           faultblk mark \"tree $(faultblk check tree --hash DIR)\"\n"
		"         after the cut there is the tree of the last one made before it, or of\n"
		"         the next\n"
		"sqlite   FILE is its path inside the file system; SQL gives a number that is at\n"
		"         least the one that the last mark ends with\n\n"
		"exit status:\n  0    the state is good\n  1    it is not; standard output says "
		"why\n"
		"  2    wrong words\n  126  it cannot say: a tool or a right is missing\n");
}

static const struct ready_check *find_check(const char *name)
{
	const char *names[array_size(checks) + 1];
	const char *near;

	for (size_t i = 0; i < array_size(checks); i++) {
		if (strcmp(checks[i].name, name) == 0)
			return &checks[i];
		names[i] = checks[i].name;
	}
	names[array_size(checks)] = NULL;
	near = near_word(name, strlen(name), names);
	if (near)
		tool_msg("there is no check '%s'; did you mean '%s'?", name, near);
	else
		tool_msg("there is no check '%s'; faultblk check --help lists them", name);
	return NULL;
}

int cmd_check(int argc, char **argv)
{
	_cleanup_free_ char *script = NULL;
	_cleanup_free_ char **args = NULL;
	const struct ready_check *check;

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_usage(stdout);
		return EXIT_OK;
	}
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	check = find_check(argv[1]);
	if (!check)
		return EXIT_USAGE;
	args = calloc((size_t)argc + 4, sizeof(*args));
	if (!args ||
	    asprintf(&script, "check=%s\n%s\n%s", check->name, checks_common, check->script) < 0) {
		tool_msg("no memory");
		return EXIT_NOT_EXECUTABLE;
	}
	args[0] = "sh";
	args[1] = "-c";
	args[2] = script;
	args[3] = "faultblk-check";
	memcpy(args + 4, argv + 2, ((size_t)argc - 2) * sizeof(*args));
	execv("/bin/sh", args);
	tool_msg("/bin/sh does not start: %s", strerror(errno));
	return EXIT_NOT_EXECUTABLE;
}
