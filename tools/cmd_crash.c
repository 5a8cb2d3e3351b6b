// SPDX-License-Identifier: MIT
/* faultblk crash: the power goes, when the user says. */
#include "opt.h"
#include "rpc_client.h"
#include "tool.h"

#include <stdio.h>
#include <string.h>

#define PATTERN "pattern:"

struct crash_opts {
	struct disk_choice disk;
	const char *keep, *seed;
	bool vanish, revive, json;
};

static const struct opt crash_table[] = {
	OPT_TEXT(struct crash_opts, keep, "keep", "none", "none|all|random|pattern:HEX",
		 "what survives of what was not made durable"),
	OPT_TEXT(struct crash_opts, seed, "seed", NULL, "N",
		 "with --keep random: repeat the choice that printed this number"),
	OPT_FLAG(struct crash_opts, vanish, "vanish",
		 "the device disappears; without, its I/O fails with EIO"),
	OPT_FLAG(struct crash_opts, revive, "revive", "and bring the disk back at once"),
	OPT_DISK_CHOICE(struct crash_opts, disk),
	OPT_FLAG(struct crash_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help crash_help = {
	.usage = "faultblk crash [options]",
	.what = "Cut the power now. I/O stops with errors, and of what was written and not made\n"
		"durable by a flush or FUA nothing survives, all, a choice by chance, or what the\n"
		"bits of HEX say, repeated over the blocks in order of place, or over the writes\n"
		"where `run --cache-unit write` or --cache-order makes those the unit: 1 survives.\n"
		"`faultblk revive` brings the disk back. Without `run --cache` nothing is lost.\n" //
	DISK_CHOICE_HELP,
	.examples = "  faultblk crash --keep random --revive\n"
		    "  faultblk crash --keep random --seed 4711 --revive\n"
		    "  faultblk crash --keep pattern:a5 && faultblk revive",
	.exits = "  0  the power is off, or with --revive on again\n  1  it was off already\n"
		 "  2  wrong options\n  4  no such disk",
};

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void print_crash(const json_t *answer)
{
	const char *seed = text_of(answer, "seed"), *pattern = text_of(answer, "pattern");

	printf("the power is off: keep %s", text_of(answer, "keep"));
	if (seed)
		printf(", seed %s (repeat with --keep random --seed %s)", seed, seed);
	if (pattern)
		printf(" %s", pattern);
	if (!json_is_true(json_object_get(answer, "cache"))) {
		puts("; nothing was volatile, it has no --cache");
		return;
	}
	printf("; %lld of %lld volatile %s lost", number_of(answer, "lost"),
	       number_of(answer, "volatile"), text_of(answer, "of"));
	if (number_of(answer, "block_bytes"))
		printf(", of %lld bytes each", number_of(answer, "block_bytes"));
	putchar('\n');
}

static json_t *make_params(const struct crash_opts *opts)
{
	bool pattern = strncmp(opts->keep, PATTERN, strlen(PATTERN)) == 0;
	json_t *params = json_pack("{s:s, s:s*, s:b}", "keep", pattern ? "pattern" : opts->keep,
				   "seed", opts->seed, "vanish", opts->vanish);

	if (pattern)
		json_object_set_new(params, "pattern", json_string(opts->keep + strlen(PATTERN)));
	return params;
}

int cmd_crash(int argc, char **argv)
{
	struct crash_opts opts;
	json_t *answer = NULL, *revived = NULL;
	enum opt_result result = opt_parse(argc, argv, crash_table, &crash_help, &opts, NULL);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = rpc_client_once(&opts.disk, "disk.crash", make_params(&opts), &answer);
	if (code)
		return code;
	if (!opts.json)
		print_crash(answer);
	if (opts.revive)
		code = rpc_client_once(&opts.disk, "disk.revive", NULL, &revived);
	if (!code && opts.revive && !opts.json)
		printf("%s is back\n", text_of(revived, "device"));
	if (!code && opts.revive)
		json_object_set(answer, "device", json_object_get(revived, "device"));
	json_decref(revived);
	if (opts.json)
		return tool_print_json(answer) ?: code;
	json_decref(answer);
	return code;
}
