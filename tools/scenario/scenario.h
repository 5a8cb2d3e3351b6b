/* SPDX-License-Identifier: MIT */
/*
 * Scenarios: several disks, their options and rules, and what happens to them when.
 *
 *	faultblk-scenario 1
 *	disk data size=1G seed=1
 *	record both.rec data limit=1G
 *	rule data slow op=read p=5% do=delay:100us..300us
 *	at 10s: data put hole op=read range=17s..23s do=error:EIO
 *	every 10s from 12s times 3: data remove hole
 *	when data slow hits 3 then 2s: say the third slow read was two seconds ago
 *	at 60s: stop
 *
 * Parsing checks everything that can be checked without a kernel: every option as `faultblk run`
 * would, every rule against the disk that it is for, every name. faultblk-scenario(5) is the
 * manual. Nothing here is shared between threads except where run.c says so.
 */
#ifndef TOOLS_SCENARIO_SCENARIO_H
#define TOOLS_SCENARIO_SCENARIO_H

#include "base/diag.h"
#include "faults/rule/rule.h"
#include "tools/disk/run_options.h"
#include "tools/rpc/runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCENARIO_MAGIC       "faultblk-scenario 1"
#define SCENARIO_FILE_MAX    (256u << 10) /* bytes */
#define SCENARIO_DISKS_MAX   16           /* at most 32 */
#define SCENARIO_OPTIONS_MAX 32           /* of one disk */
#define SCENARIO_STEPS_MAX   512          /* lines that begin with at, every or when */
#define SCENARIO_WAITED_MAX  8   /* rules of one disk that `when` waits for: a connection each */
#define SCENARIO_SAY_MAX     256 /* bytes of what `say` and `mark` say */
#define SCENARIO_EVERY_MIN   10000000ull              /* 10ms */
#define SCENARIO_TIME_MAX    (30 * 86400000000000ull) /* 30 days */
#define SCENARIO_HITS_MAX    (1ull << 40)

struct scenario_disk {
	char name[RUNTIME_NAME_MAX + 1];
	struct run_option options[SCENARIO_OPTIONS_MAX];
	unsigned int nr_options;
	struct rule_set *rules; /* owned: in force from the beginning */
	struct rule_geometry geometry;
};

enum scenario_trigger { SCENARIO_AT, SCENARIO_EVERY, SCENARIO_WHEN };

enum scenario_action {
	SCENARIO_PUT,
	SCENARIO_REMOVE,
	SCENARIO_CLEAR,
	SCENARIO_ENABLE,
	SCENARIO_DISABLE,
	SCENARIO_RELEASE,
	SCENARIO_REVIVE,
	SCENARIO_CRASH,
	SCENARIO_CAPACITY,
	SCENARIO_SAY,
	SCENARIO_MARK,
	SCENARIO_STOP,
	SCENARIO_NR_ACTIONS,
};

/* Times are in ns since all disks were up and their rules in force, unless said otherwise. */
struct scenario_step {
	unsigned int line;
	enum scenario_trigger trigger;
	uint64_t at_ns;    /* at, every: (first) time */
	uint64_t every_ns; /* every: period */
	uint64_t times;    /* every: how often; 0: without end */
	unsigned int when_disk;
	char when_rule[RULE_NAME_MAX + 1];
	uint64_t hits;    /* when: at least so many */
	uint64_t then_ns; /* when: and so much later */
	unsigned int when_column;
	enum scenario_action action;
	uint32_t disks;                    /* of an action on disks: 1 << number of each */
	struct rule *rule;                 /* put: one reference */
	char rule_name[RULE_NAME_MAX + 1]; /* remove, enable, disable, release ("": all) */
	char *text;          /* say, mark, capacity, crash (what is kept; or NULL): owned */
	unsigned int column; /* of the name, or else of the action */
};

/* One recording of all disks. */
struct scenario_recording {
	char *path; /* owned; NULL: there is none */
	bool data, block;
	bool has_limit; /* else that of `faultblk run` */
	uint64_t limit_bytes;
	unsigned int line;
};

struct scenario {
	struct scenario_recording recording;
	struct scenario_disk disks[SCENARIO_DISKS_MAX];
	unsigned int nr_disks;
	struct scenario_step *steps; /* by (first) time, then `when`; equals as in the file */
	unsigned int nr_steps;
};

/*
 * Parse and check text[0..len). -EINVAL with a stable id ("scenario.unknown-disk",
 * "rule.bad-range", "option.size", ...), line and column; -EFBIG; -ENOMEM. The caller owns
 * *ret_scenario.
 */
int scenario_parse(const char *text, size_t len, struct diag *diag, struct scenario **ret_scenario);
/* NULL allowed; returns NULL. */
struct scenario *scenario_free(struct scenario *scenario);
/* The canonical text, which parses back to the same; caller frees. NULL only without memory. */
char *scenario_print(const struct scenario *scenario);
/* The same for one step, "at 10s: data clear", without a newline. */
char *scenario_print_step(const struct scenario *scenario, const struct scenario_step *step);

/* What an action is called, and the method of the control socket behind it (NULL: none). */
const char *scenario_action_name(enum scenario_action action);
const char *scenario_action_method(enum scenario_action action);
bool scenario_action_has_disk(enum scenario_action action);
/* The names of the disks of a step, with commas in between; caller frees. NULL without memory. */
char *scenario_disk_names(const struct scenario *scenario, uint32_t disks);

/* Names that fit together? Called by scenario_parse() once all lines are read. */
int scenario_check(const struct scenario *scenario, struct diag *diag);

/* ------------------------------------------------------------------------------ the time line */

/* When each step is due next. No clock inside: every time is given from outside. */
struct timeline {
	const struct scenario *scenario; /* borrowed */
	unsigned int speed;              /* 10: everything ten times earlier */
	struct due {
		uint64_t ns;   /* UINT64_MAX: not due, or over */
		uint64_t done; /* how often it was carried out */
	} * due;               /* owned; one for each step */
};

/* -ENOMEM. */
int timeline_init(struct timeline *timeline, const struct scenario *scenario, unsigned int speed);
void timeline_free(struct timeline *timeline);
/* The step that is due first (the first of the file of those due together); NULL: none. */
const struct scenario_step *timeline_next(const struct timeline *timeline, uint64_t *ret_due_ns);
/* It has been carried out: when is it due again, if ever? */
void timeline_done(struct timeline *timeline, const struct scenario_step *step);
/* The rule has been seen with @hits hits at @now_ns: what waited for that is due now, or later. */
void timeline_hits(struct timeline *timeline, unsigned int disk, const char *rule, uint64_t hits,
		   uint64_t now_ns);

/* ------------------------------------------------------------------------------ running */

struct scenario_run_options {
	const struct scenario *scenario;
	char **command;   /* NULL: until `stop` or a signal */
	const char *seed; /* of disks that have none; NULL: each its own, at random */
	unsigned int speed;
	bool json;  /* one object a line on standard error, instead of words */
	bool force; /* the file of its recording may be replaced */
};

/* Make the disks, run the time line and the command, take all back. Returns an enum tool_exit. */
int scenario_run(const struct scenario_run_options *options);
/* Read and parse a file ("-": standard input). Returns an enum tool_exit; messages: stderr. */
int scenario_load(const char *path, struct scenario **ret_scenario);

/* To the server of a disk: it joins the recording of the scenario, by these two descriptors. */
#define RECORDING_ENV "FAULTBLK_RECORDING_FDS"

#endif
