// SPDX-License-Identifier: MIT
/* faultblk crash, faultblk revive: the power goes and comes back, when the user says. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "faults/rule/ast.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/disk_group.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PATTERN "pattern:"

struct crash_opts {
	struct disks_choice disks;
	const char *keep, *seed;
	bool vanish, revive, json;
};

static const struct opt crash_table[] = {
	OPT_TEXT(struct crash_opts, keep, "keep", "none", "none|all|random|pattern:HEX",
		 "which volatile data survives"),
	OPT_TEXT(struct crash_opts, seed, "seed", NULL, "N",
		 "with --keep random: repeat the choice of this seed"),
	OPT_FLAG(struct crash_opts, vanish, "vanish",
		 "remove the device; without this option its I/O fails with EIO"),
	OPT_FLAG(struct crash_opts, revive, "revive", "bring the disk back at once"),
	OPT_DISKS_CHOICE(struct crash_opts, disks),
	OPT_FLAG(struct crash_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help crash_help = {
	.usage = "faultblk crash [options] [DISK...]",
	.words_are = "name",
	.what =
		"Cut the power now. I/O fails, and volatile data (written, but not yet made durable\n"
		"by a flush or FUA) is lost, kept, kept at random, or kept by the bits of HEX. The\n"
		"bits repeat over the blocks in order of place, or over the writes if\n"
		"`run --cache-unit write` or --cache-order makes writes the unit; 1 means kept.\n"
		"`faultblk revive` brings the disk back. Without `run --cache` nothing is lost.\n"
		"Several disks lose power at the same instant: all pause before the first is cut, and\n"
		"if one cannot pause, none is cut.\n" //
	DISKS_CHOICE_HELP,
	.examples = "  faultblk crash --keep random --revive\n"
		    "  faultblk crash --keep random --seed 4711 --revive\n"
		    "  faultblk crash --name a --name b && faultblk revive --name a --name b\n"
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

/* @name: NULL where there is but one disk. */
static void print_crash(const json_t *answer, const char *name)
{
	const char *seed = text_of(answer, "seed"), *pattern = text_of(answer, "pattern");

	if (name)
		printf("%s: ", name);
	printf("the power is off: keep %s", text_of(answer, "keep"));
	if (seed && name)
		printf(", seed %s", seed);
	else if (seed)
		printf(", seed %s (repeat with --keep random --seed %s)", seed, seed);
	if (pattern)
		printf(" %s", pattern);
	if (!json_is_true(json_object_get(answer, "cache"))) {
		puts("; nothing was volatile, as it has no --cache");
		return;
	}
	printf("; %lld of %lld volatile %s lost", number_of(answer, "lost"),
	       number_of(answer, "volatile"), text_of(answer, "of"));
	if (number_of(answer, "block_bytes"))
		printf(", of %lld bytes each", number_of(answer, "block_bytes"));
	putchar('\n');
}

/* ------------------------------------------------------------------------------ crash */

/* What each of them is told; of many, each has its own seed, made of the one that is printed. */
struct crash_command {
	const struct crash_opts *opts;
	bool derive;
	uint64_t seed;
};

static json_t *make_params(void *ctx, const struct disk_member *member)
{
	const struct crash_command *crash = ctx;
	const struct crash_opts *opts = crash->opts;
	bool pattern = strncmp(opts->keep, PATTERN, strlen(PATTERN)) == 0;
	const char *seed = opts->seed;
	json_t *params;
	char own[24];

	if (crash->derive) {
		snprintf(own, sizeof(own), "%llu",
			 (unsigned long long)rng_mix(crash->seed, rule_hash_name(member->name), 0));
		seed = own;
	}
	params = json_pack("{s:s, s:s*, s:b}", "keep", pattern ? "pattern" : opts->keep, "seed",
			   seed, "vanish", opts->vanish);
	if (pattern)
		json_object_set_new(params, "pattern", json_string(opts->keep + strlen(PATTERN)));
	return params;
}

/* The one seed of several disks. What is no number each of them refuses itself. */
static int choose_seed(struct crash_command *crash, const struct disk_group *group)
{
	const char *text = crash->opts->seed;
	char *end;

	if (!group->many || strcmp(crash->opts->keep, "random") != 0)
		return 0;
	if (!text && fail_errno("tools/cmd/crash/seed", ENOSYS,
				getrandom(&crash->seed, sizeof(crash->seed), 0)) !=
			     (ssize_t)sizeof(crash->seed)) {
		tool_msg("cannot draw a seed: %m");
		return EXIT_FAILED;
	}
	errno = 0;
	if (text)
		crash->seed = strtoull(text, &end, 0);
	crash->derive = !text || (text[0] >= '0' && text[0] <= '9' && !*end && !errno);
	return 0;
}

static void print_crashes(const struct disk_group *group, const struct crash_command *crash)
{
	if (group->many && crash->derive)
		printf("%u disks at one moment (repeat with --keep random --seed %llu)\n",
		       group->nr, (unsigned long long)crash->seed);
	for (unsigned int i = 0; i < group->nr; i++)
		print_crash(group->members[i].answer, group->many ? group->members[i].name : NULL);
}

/* The device that each has now stands beside what it lost. */
static int revive_too(struct disk_group *group, json_t *answers, bool json)
{
	json_t *disks = json_object_get(answers, "disks");
	int err = disk_group_ask(group, "disk.revive", NULL, NULL);

	for (unsigned int i = 0; i < group->nr; i++) {
		json_t *answer = group->members[i].answer;

		if (answer && !json)
			printf("%s is back\n", text_of(answer, "device"));
		if (!json)
			rpc_client_say_table(answer);
		json_object_set(group->many ? json_array_get(disks, i) : answers, "device",
				json_object_get(answer, "device"));
	}
	return err ? disk_group_fail(group) : EXIT_OK;
}

static int crash(void *values, const struct opt_words *words)
{
	const struct crash_opts *opts = values;
	_cleanup_(disk_group_close) struct disk_group group = { .members = NULL };
	struct crash_command crash = { .opts = opts };
	struct diag diag = { 0 };
	json_t *answers;
	int err, code = 0, exit_code;

	(void)words;
	err = disk_group_open(&opts->disks, &diag, &group);
	if (err)
		return rpc_client_fail(err, 0, &diag);
	exit_code = choose_seed(&crash, &group);
	if (exit_code)
		return exit_code;
	err = disk_group_crash(&group, make_params, &crash, &diag, &code);
	if (err)
		return rpc_client_fail(err, code, &diag);
	answers = disk_group_answers(&group);
	if (!opts->json)
		print_crashes(&group, &crash);
	if (crash.derive)
		json_object_set_new(answers, "seed",
				    json_sprintf("%llu", (unsigned long long)crash.seed));
	if (opts->revive)
		exit_code = revive_too(&group, answers, opts->json);
	if (opts->json)
		return tool_print_json(answers) ?: exit_code;
	json_decref(answers);
	return exit_code;
}

int cmd_crash(int argc, char **argv)
{
	struct crash_opts opts;

	return opt_run(argc, argv, crash_table, &crash_help, &opts, crash);
}

/* ------------------------------------------------------------------------------ revive */

struct revive_opts {
	struct disks_choice disks;
	bool json;
};

static const struct opt revive_table[] = {
	OPT_DISKS_CHOICE(struct revive_opts, disks),
	OPT_FLAG(struct revive_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help revive_help = {
	.usage = "faultblk revive [options] [DISK...]",
	.words_are = "name",
	.what =
		"Bring back a disk that lost power, disappeared, or became read-only, full or smaller.\n"
		"The rule or command that cut the power decided which volatile data is lost. A disk\n"
		"that disappeared returns under its old device name, unless a process still holds it.\n" //
	DISKS_CHOICE_HELP,
	.examples = "  faultblk revive\n  faultblk revive --all",
	.exits = "  0  it is well (it may have been so before)\n  1  it cannot come back\n"
		 "  2  wrong options\n  4  no such disk",
};

static void print_revival(const json_t *answer)
{
	printf("%s: it was %s", text_of(answer, "device"), text_of(answer, "was"));
	if (number_of(answer, "lost_blocks"))
		printf("; %lld blocks went back to what was durable",
		       number_of(answer, "lost_blocks"));
	putchar('\n');
	rpc_client_say_table(answer);
}

static int revive(void *values, const struct opt_words *words)
{
	const struct revive_opts *opts = values;

	(void)words;
	return disk_group_run(&opts->disks, "disk.revive", NULL, NULL, opts->json, print_revival);
}

int cmd_revive(int argc, char **argv)
{
	struct revive_opts opts;

	return opt_run(argc, argv, revive_table, &revive_help, &opts, revive);
}
