// SPDX-License-Identifier: MIT
#include "machine.h"

#include "tool.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void print_quoted(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./=:,+@%^";

	if (word[0] && strspn(word, plain) == strlen(word)) {
		fprintf(stderr, " %s", word);
		return;
	}
	fputs(" '", stderr);
	for (; *word; word++)
		fputs(*word == '\'' ? "'\\''" : (char[]){ *word, '\0' }, stderr);
	fputc('\'', stderr);
}

int machine_check(int argc, char **argv)
{
	struct ublk_probe probe;
	char text[512];

	if (ublk_probe(&probe) == 0)
		return EXIT_OK;
	tool_msg("%s", ublk_probe_text(&probe, text, sizeof(text)));
	fputs("          this works:", stderr);
	print_quoted(program_invocation_name);
	fputs(" vm --", stderr);
	print_quoted(program_invocation_name);
	for (int i = 0; i < argc; i++)
		print_quoted(argv[i]);
	fputc('\n', stderr);
	return EXIT_NO_UBLK;
}
