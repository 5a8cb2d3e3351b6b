// SPDX-License-Identifier: MIT
/*
 * A command in a text is "faultblk" as a word of its own, a blank, and a word that is a command of
 * ours. "another faultblk which ..." is none, and a name in quotes that a user gave may be one: then
 * it is changed into what does the same.
 */
#include "tools/cli/typed.h"

#include "base/cleanup.h"
#include "tools/cli/program.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "faultblk"

enum {
	TYPED_DISK = 1, /* takes --name and --socket */
	TYPED_TWO = 2,  /* behind a second word */
	TYPED_ROOT = 4, /* nobody but root can do it */
};

static const struct typed_command {
	const char *name;
	int is;
} commands[] = {
	{ "badblock", TYPED_DISK | TYPED_TWO },
	{ "capacity", TYPED_DISK },
	{ "check", 0 },
	{ "crash", TYPED_DISK },
	{ "crashtest", TYPED_ROOT },
	{ "doctor", 0 },
	{ "events", TYPED_DISK },
	{ "explore", 0 },
	{ "faults", 0 },
	{ "gc", TYPED_ROOT },
	{ "held", TYPED_DISK },
	{ "help", 0 },
	{ "image", TYPED_DISK | TYPED_TWO },
	{ "list", 0 },
	{ "log", 0 },
	{ "mark", TYPED_DISK },
	{ "recording", TYPED_DISK },
	{ "release", TYPED_DISK },
	{ "replay", 0 },
	{ "report", 0 },
	{ "revive", TYPED_DISK },
	{ "rule", TYPED_DISK | TYPED_TWO },
	{ "run", TYPED_ROOT },
	{ "snapshot", TYPED_DISK | TYPED_TWO },
	{ "stats", TYPED_DISK },
	{ "status", TYPED_DISK },
	{ "stop", TYPED_DISK },
	{ "vm", 0 },
	{ "wait", TYPED_DISK },
	{ "--help", 0 },
};

/* ------------------------------------------------------------------------------ words */

void typed_put_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-./=:,+@%^";

	if (word[0] && strspn(word, plain) == strlen(word)) {
		fputs(word, out);
		return;
	}
	fputc('\'', out);
	for (; *word; word++)
		fputs(*word == '\'' ? "'\\''" : (char[]){ *word, '\0' }, out);
	fputc('\'', out);
}

static char *quoted(const char *word)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	typed_put_word(out, word);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

const char *typed_word(const char *word, const char *instead, char *buf, size_t size)
{
	_cleanup_free_ char *text = quoted(word);

	snprintf(buf, size, "%s", text && strlen(text) < size ? text : instead);
	return buf;
}

/* ------------------------------------------------------------------------------ the disk */

static char disk_words[TYPED_WORD_MAX + 16]; /* "": not known */

void typed_set_disk(const char *name, const char *socket)
{
	const char *option = socket ? "--socket" : "--name";
	char word[TYPED_WORD_MAX];

	disk_words[0] = '\0';
	if (!name && !socket)
		return;
	typed_word(socket ?: name, "", word, sizeof(word));
	if (word[0])
		snprintf(disk_words, sizeof(disk_words), "%s %s", option, word);
}

/* ------------------------------------------------------------------------------ commands */

static size_t word_len(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyz-");
}

/* The command that @text, behind "faultblk ", names. */
static const struct typed_command *find(const char *text)
{
	size_t len = word_len(text);

	for (size_t i = 0; i < array_size(commands); i++)
		if (strlen(commands[i].name) == len && memcmp(commands[i].name, text, len) == 0)
			return &commands[i];
	return NULL;
}

/* Where the next command begins in @text from @at on, or NULL. */
static const char *next_command(const char *text, const char *at)
{
	while ((at = strstr(at, PROGRAM " "))) {
		bool inside =
			at > text && (isalnum((unsigned char)at[-1]) || strchr("/_-.", at[-1]));

		if (!inside && find(at + sizeof(PROGRAM)))
			return at;
		at += sizeof(PROGRAM);
	}
	return NULL;
}

/* Does the command in @text, up to its end, say which disk it means? */
static bool names_disk(const char *text)
{
	char line[512];

	snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, ";&|`\n"), text);
	return strstr(line, "--name") || strstr(line, "--socket") || strstr(line, "--all");
}

static bool ends_with(const char *text, const char *at, const char *words)
{
	size_t len = strlen(words);

	return (size_t)(at - text) >= len && memcmp(at - len, words, len) == 0;
}

static void put_program(FILE *out, const char *text, const char *at, int is)
{
	bool sudo = geteuid() == 0 ? getenv("SUDO_UID") && is : is & TYPED_ROOT;
	char path[PATH_MAX];

	/* In the machine everybody is root. */
	if (sudo && !ends_with(text, at, "sudo ") && !ends_with(text, at, "vm -- "))
		fputs("sudo ", out);
	if (program_path(path))
		typed_put_word(out, path);
	else
		fputs(PROGRAM, out);
}

static char *expand(const char *text, bool for_user)
{
	const char *at = text, *next;
	char *expanded = NULL;
	size_t len;
	FILE *out;

	if (!next_command(text, text))
		return strdup(text);
	out = open_memstream(&expanded, &len);
	while (out && (next = next_command(text, at))) {
		const char *words = next + sizeof(PROGRAM);
		const struct typed_command *command = find(words);
		size_t nr = word_len(words);

		fwrite(at, 1, (size_t)(next - at), out);
		if (for_user)
			put_program(out, text, next, command->is);
		else
			fputs(PROGRAM, out);
		if (command->is & TYPED_TWO && words[nr] == ' ')
			nr += 1 + word_len(words + nr + 1);
		fprintf(out, " %.*s", (int)nr, words);
		if (command->is & TYPED_DISK && disk_words[0] && !names_disk(words))
			fprintf(out, " %s", disk_words);
		at = words + nr;
	}
	if (out)
		fputs(at, out);
	if (!out || fclose(out) == 0)
		return expanded;
	free(expanded);
	return NULL;
}

char *typed_for_disk(const char *text)
{
	return expand(text, false);
}

char *typed_for_user(const char *text)
{
	return expand(text, true);
}

/* ------------------------------------------------------------------------------ our own line */

static int line_count;
static char **line_words;

void typed_set_line(int argc, char **argv)
{
	line_count = argc;
	line_words = argv;
}

void typed_put_vm_line(FILE *out, int argc, char **argv)
{
	const char *program = program_invocation_name;

	if (!argv) {
		argc = line_count;
		argv = line_words;
	}
	if (!argv)
		return;
	typed_put_word(out, program);
	fputs(" vm -- ", out);
	typed_put_word(out, program);
	for (int i = 0; i < argc; i++) {
		fputc(' ', out);
		typed_put_word(out, argv[i]);
	}
}
