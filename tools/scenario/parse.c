// SPDX-License-Identifier: MIT
/*
 * A scenario is read line by line, each by the row of its first word in `statements`. What needs
 * more than the lines above (does anything make this rule?) waits for scenario_check(). A place in
 * a line is a pointer into it until the line is done; then line and column are numbers.
 */
#include "tools/scenario/scenario.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/near.h"
#include "base/units.h"
#include "faults/rule/value.h"
#include "tools/disk/env.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct parser {
	struct scenario *scenario;
	size_t room; /* of scenario->steps */
	unsigned int line;
	struct place place;
};

/* What stands after the name of an action. */
enum action_arg {
	ARG_NONE,
	ARG_RULE,
	ARG_NAME,
	ARG_NAME_OR_NONE,
	ARG_KEEP_OR_NONE,
	ARG_CAPACITY,
	ARG_TEXT,
};

static const struct action_row {
	const char *name;
	enum action_arg arg;
	bool has_disk;
	const char *method;
} actions[] = {
	[SCENARIO_PUT] = { "put", ARG_RULE, true, "rules.put" },
	[SCENARIO_REMOVE] = { "remove", ARG_NAME, true, "rules.remove" },
	[SCENARIO_CLEAR] = { "clear", ARG_NONE, true, "rules.clear" },
	[SCENARIO_ENABLE] = { "enable", ARG_NAME, true, "rules.enable" },
	[SCENARIO_DISABLE] = { "disable", ARG_NAME, true, "rules.disable" },
	[SCENARIO_RELEASE] = { "release", ARG_NAME_OR_NONE, true, "held.release" },
	[SCENARIO_REVIVE] = { "revive", ARG_NONE, true, "disk.revive" },
	[SCENARIO_CRASH] = { "crash", ARG_KEEP_OR_NONE, true, "disk.crash" },
	[SCENARIO_CAPACITY] = { "capacity", ARG_CAPACITY, true, "disk.capacity" },
	[SCENARIO_SAY] = { "say", ARG_TEXT, false, NULL },
	[SCENARIO_MARK] = { "mark", ARG_TEXT, false, "mark" },
	[SCENARIO_STOP] = { "stop", ARG_NONE, false, NULL },
};
_Static_assert(array_size(actions) == SCENARIO_NR_ACTIONS, "a row for each action");

const char *scenario_action_name(enum scenario_action action)
{
	return actions[action].name;
}

const char *scenario_action_method(enum scenario_action action)
{
	return actions[action].method;
}

bool scenario_action_has_disk(enum scenario_action action)
{
	return actions[action].has_disk;
}

/* ------------------------------------------------------------------------------ words */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void skip_space(struct text *text)
{
	while (text->len && is_space(text->at[0])) {
		text->at++;
		text->len--;
	}
}

/* The next word; where there is none, empty, and standing where it was expected. */
static struct text next_word(struct text *rest)
{
	struct text word;

	skip_space(rest);
	word = (struct text){ rest->at, 0 };
	while (rest->len && !is_space(rest->at[0])) {
		word.len++;
		rest->at++;
		rest->len--;
	}
	skip_space(rest);
	return word;
}

static unsigned int column_of(const struct parser *p, const char *at)
{
	return (unsigned int)(at - p->place.line) + 1;
}

static int expect_end(const struct parser *p, struct text rest, const char *after)
{
	if (!rest.len)
		return 0;
	return place_fail(&p->place, rest.at, "scenario.extra-words",
			  "nothing follows %s here, got '%s'", after, QUOTE(rest));
}

static int parse_time(const struct parser *p, struct text word, const char *what, uint64_t min_ns,
		      uint64_t *ret_ns)
{
	char min[UNITS_MAX], max[UNITS_MAX];
	uint64_t ns;
	int err = units_parse_time(word.at, word.len, &ns);

	if (!err && ns >= min_ns && ns <= SCENARIO_TIME_MAX) {
		*ret_ns = ns;
		return 0;
	}
	if (err == -EINVAL)
		return place_fail(&p->place, word.at, "scenario.bad-time",
				  "%s wants a time like 500ms, 10s or 2m, got '%s'", what,
				  QUOTE(word));
	return place_fail(&p->place, word.at, "scenario.bad-time", "%s wants %s to %s, got '%s'",
			  what, units_format_time(min_ns, min),
			  units_format_time(SCENARIO_TIME_MAX, max), QUOTE(word));
}

static int parse_number(const struct parser *p, struct text word, const char *what,
			uint64_t *ret_number)
{
	uint64_t number = 0;
	bool ok = word.len > 0;

	for (size_t i = 0; i < word.len && ok; i++) {
		ok = word.at[i] >= '0' && word.at[i] <= '9';
		number = number * 10 + (uint64_t)(word.at[i] - '0');
		ok = ok && number <= SCENARIO_HITS_MAX;
	}
	if (!ok || !number)
		return place_fail(&p->place, word.at, "scenario.bad-number",
				  "%s wants a whole number from 1 to %llu, got '%s'", what,
				  SCENARIO_HITS_MAX, QUOTE(word));
	*ret_number = number;
	return 0;
}

static int parse_disk_name(const struct parser *p, struct text word, unsigned int *ret_disk)
{
	const char *names[SCENARIO_DISKS_MAX + 1] = { NULL };
	const struct scenario *s = p->scenario;

	for (unsigned int i = 0; i < s->nr_disks; i++) {
		names[i] = s->disks[i].name;
		if (text_is(word, names[i])) {
			*ret_disk = i;
			return 0;
		}
	}
	if (!word.len)
		return place_fail(&p->place, word.at, "scenario.unknown-disk",
				  "wanted the name of a disk, got nothing");
	place_fail(&p->place, word.at, "scenario.unknown-disk", "no line above defines a disk '%s'",
		   QUOTE(word));
	diag_hint(p->place.diag, "add a line: disk NAME size=SIZE ...");
	place_suggest(&p->place, word, names);
	return -EINVAL;
}

/* NAME, or several with commas in between. */
static int parse_disk_names(const struct parser *p, struct text words, uint32_t *ret_disks)
{
	uint32_t disks = 0;

	do {
		struct text word = text_cut(&words, ',');
		unsigned int disk = 0;
		int err = parse_disk_name(p, word, &disk);

		if (err)
			return err;
		if (disks >> disk & 1)
			return place_fail(&p->place, word.at, "scenario.duplicate-disk",
					  "'%s' is given twice", QUOTE(word));
		disks |= 1u << disk;
		/* What follows the last comma is a name, too. */
		if (!words.len && words.at > word.at + word.len)
			return parse_disk_name(p, words, &disk);
	} while (words.len);
	*ret_disks = disks;
	return 0;
}

static int parse_rule_name(const struct parser *p, struct text word, const char *what,
			   char ret_name[RULE_NAME_MAX + 1])
{
	if (!word.len)
		return place_fail(&p->place, word.at, "scenario.missing-rule",
				  "%s wants the name of a rule, got nothing", what);
	if (word.len > RULE_NAME_MAX)
		return place_fail(&p->place, word.at, "scenario.unknown-rule",
				  "a rule's name has at most %d bytes, got %zu", RULE_NAME_MAX,
				  word.len);
	memcpy(ret_name, word.at, word.len);
	ret_name[word.len] = '\0';
	return 0;
}

/* All of @text as a rule of @disk. */
static int parse_rule(const struct parser *p, const struct scenario_disk *disk, struct text text,
		      struct rule **ret_rule)
{
	struct diag *diag = p->place.diag;
	struct rule *rule = NULL;
	int err = rule_parse(text.at, text.len, diag, &rule);

	if (err) {
		if (diag && diag->column)
			place_mark(&p->place, text.at + diag->column - 1);
		else
			place_mark(&p->place, text.at);
		return err;
	}
	/* Only the server can say which bytes a partition has, and when the time has come. */
	err = rule_part(rule) ? 0 : rule_check(rule, &disk->geometry, diag);
	if (err) {
		rule_unref(rule);
		place_mark(&p->place, text.at);
		return err;
	}
	*ret_rule = rule;
	return 0;
}

/* ------------------------------------------------------------------------------ disk */

static int check_disk_name(const struct parser *p, struct text word, const char *name)
{
	const struct scenario *s = p->scenario;
	char ours[RUNTIME_NAME_MAX + 1], theirs[RUNTIME_NAME_MAX + 1];

	for (size_t i = 0; i < array_size(actions); i++)
		if (!actions[i].has_disk && strcmp(name, actions[i].name) == 0)
			return place_fail(&p->place, word.at, "scenario.bad-name",
					  "'%s' is an action and cannot be the name of a disk",
					  name);
	disk_env_name(name, ours, sizeof(ours));
	for (unsigned int i = 0; i < s->nr_disks; i++) {
		if (strcmp(s->disks[i].name, name) == 0)
			return place_fail(&p->place, word.at, "scenario.duplicate-disk",
					  "a line above defines a disk '%s' already", name);
		disk_env_name(s->disks[i].name, theirs, sizeof(theirs));
		if (strcmp(ours, theirs) == 0)
			return place_fail(&p->place, word.at, "scenario.duplicate-disk",
					  "'%s' and '%s' would both be FAULTBLK_DEV_%s for COMMAND",
					  s->disks[i].name, name, ours);
	}
	return 0;
}

static int parse_new_name(const struct parser *p, struct text word, struct scenario_disk *disk)
{
	if (!word.len)
		return place_fail(&p->place, word.at, "scenario.bad-name",
				  "a disk wants a name, got nothing");
	if (word.len > RUNTIME_NAME_MAX || memchr(word.at, '\0', word.len))
		return place_fail(&p->place, word.at, "scenario.bad-name",
				  "a disk's name has at most %d bytes, got '%s'", RUNTIME_NAME_MAX,
				  QUOTE(word));
	memcpy(disk->name, word.at, word.len);
	if (runtime_check_name(disk->name, p->place.diag)) {
		if (memchr(word.at, '=', word.len))
			diag_hint(p->place.diag, "a disk begins with its name: disk NAME %s",
				  QUOTE(word));
		return place_mark(&p->place, word.at);
	}
	return check_disk_name(p, word, disk->name);
}

static int add_option(const struct parser *p, struct scenario_disk *disk, struct text word)
{
	struct run_option *option = &disk->options[disk->nr_options];
	char *copy, *equals;

	if (disk->nr_options == SCENARIO_OPTIONS_MAX)
		return place_fail(&p->place, word.at, "scenario.too-many",
				  "a disk has at most %d options", SCENARIO_OPTIONS_MAX);
	copy = strndup(word.at, word.len);
	if (!copy)
		return -ENOMEM;
	equals = strchr(copy, '=');
	if (equals)
		*equals++ = '\0';
	*option = (struct run_option){ copy, equals, column_of(p, word.at) };
	disk->nr_options++;
	for (unsigned int i = 0; i + 1 < disk->nr_options; i++)
		if (strcmp(disk->options[i].name, copy) == 0)
			return place_fail(&p->place, word.at, "scenario.duplicate-option",
					  "'%s' is given twice in the line", copy);
	return 0;
}

static int parse_options(const struct parser *p, struct scenario_disk *disk, struct text rest,
			 const char *name_at)
{
	unsigned int bad;
	int err = 0;

	while (rest.len && !err)
		err = add_option(p, disk, next_word(&rest));
	if (err)
		return err;
	err = run_check_options(disk->options, disk->nr_options, &disk->geometry, p->place.diag,
				&bad);
	if (err)
		place_mark(&p->place, bad < disk->nr_options
					      ? p->place.line + disk->options[bad].column - 1
					      : name_at);
	return err;
}

static int parse_disk(struct parser *p, struct text rest)
{
	struct scenario *s = p->scenario;
	struct scenario_disk *disk = &s->disks[s->nr_disks];
	struct text name = next_word(&rest);
	int err;

	if (s->nr_disks == SCENARIO_DISKS_MAX)
		return place_fail(&p->place, name.at, "scenario.too-many",
				  "a scenario has at most %d disks", SCENARIO_DISKS_MAX);
	err = parse_new_name(p, name, disk);
	if (err)
		return err;
	s->nr_disks++;
	disk->rules = rule_set_new();
	return disk->rules ? parse_options(p, disk, rest, name.at) : -ENOMEM;
}

/* ------------------------------------------------------------------------------ rule */

static int parse_rule_line(struct parser *p, struct text rest)
{
	struct scenario_disk *disk;
	struct rule *rule = NULL;
	unsigned int index;
	int err = parse_disk_name(p, next_word(&rest), &index);

	if (err)
		return err;
	disk = &p->scenario->disks[index];
	err = parse_rule(p, disk, rest, &rule);
	if (err)
		return err;
	if (rule_set_find(disk->rules, rule_name(rule)))
		err = place_fail(&p->place, rest.at, "rule.duplicate-name",
				 "disk '%s' has a rule '%s' already, defined above", disk->name,
				 rule_name(rule));
	else
		err = rule_set_put(disk->rules, rule, NULL, p->place.diag);
	if (err)
		place_mark(&p->place, rest.at);
	rule_unref(rule);
	return err;
}

/* ------------------------------------------------------------------------------ record */

static int parse_limit(const struct parser *p, struct text word, struct text value,
		       struct scenario_recording *recording)
{
	recording->has_limit = true;
	if (!units_parse_size(value.at, value.len, &recording->limit_bytes))
		return 0;
	return place_fail(&p->place, word.at, "scenario.bad-recording",
			  "limit wants a size such as 512M or 8G, or 0 for none, got '%s'",
			  QUOTE(value));
}

static int parse_recording_word(const struct parser *p, struct text word,
				struct scenario_recording *recording)
{
	static const char *const words[] = { "data", "limit=SIZE", "full=stop", "full=block",
					     NULL };
	struct text value = word, name = text_cut(&value, '=');

	if (text_is(word, "data"))
		recording->data = true;
	else if (text_is(word, "full=block"))
		recording->block = true;
	else if (text_is(word, "full=stop"))
		recording->block = false;
	else if (text_is(name, "limit") && name.len < word.len)
		return parse_limit(p, word, value, recording);
	else {
		place_fail(&p->place, word.at, "scenario.bad-recording",
			   "wanted data, limit=SIZE, full=stop or full=block, got '%s'",
			   QUOTE(word));
		place_suggest(&p->place, word, words);
		return -EINVAL;
	}
	return 0;
}

static int parse_record(struct parser *p, struct text rest)
{
	struct scenario_recording *recording = &p->scenario->recording;
	struct text path = next_word(&rest);
	int err = 0;

	if (recording->path)
		return place_fail(&p->place, path.at, "scenario.duplicate-recording",
				  "line %u defines a recording already", recording->line);
	if (!path.len)
		return place_fail(&p->place, path.at, "scenario.bad-recording",
				  "record wants the name of a file, got nothing");
	recording->path = strndup(path.at, path.len);
	recording->line = p->line;
	while (rest.len && !err)
		err = parse_recording_word(p, next_word(&rest), recording);
	return recording->path ? err : -ENOMEM;
}

/* ------------------------------------------------------------------------------ actions */

static int unknown_action(const struct parser *p, struct text word)
{
	const char *names[SCENARIO_NR_ACTIONS + 1] = { NULL };
	size_t nr = 0;

	for (size_t i = 0; i < array_size(actions); i++)
		if (actions[i].has_disk)
			names[nr++] = actions[i].name;
	place_fail(
		&p->place, word.at, "scenario.unknown-action",
		"wanted put, remove, clear, enable, disable, release, crash, revive or capacity, "
		"got %s%s%s",
		word.len ? "'" : "", word.len ? QUOTE(word) : "nothing", word.len ? "'" : "");
	place_suggest(&p->place, word, names);
	return -EINVAL;
}

static int parse_text(const struct parser *p, struct text rest, struct scenario_step *step)
{
	if (!rest.len)
		return place_fail(&p->place, rest.at, "scenario.missing-text",
				  "%s wants something to say, got nothing",
				  actions[step->action].name);
	if (rest.len > SCENARIO_SAY_MAX)
		return place_fail(&p->place, rest.at, "scenario.too-long",
				  "%s takes at most %d bytes, got %zu", actions[step->action].name,
				  SCENARIO_SAY_MAX, rest.len);
	step->text = strndup(rest.at, rest.len);
	return step->text ? 0 : -ENOMEM;
}

static int parse_keep(struct parser *p, struct text rest, struct scenario_step *step)
{
	static const char *const keeps[] = { "none", "all", "random" };
	struct text word = next_word(&rest);
	int err = expect_end(p, rest, "what is kept");

	if (err)
		return err;
	for (size_t i = 0; i < array_size(keeps); i++)
		if (text_is(word, keeps[i])) {
			step->text = strdup(keeps[i]);
			return step->text ? 0 : -ENOMEM;
		}
	return place_fail(&p->place, word.at, "scenario.bad-keep",
			  "crash keeps none, all or random of what is volatile, got '%.*s'",
			  (int)(word.len < 40 ? word.len : 40), word.at);
}

/* The rule of a step fits each of its disks, whose servers get one each. */
static int parse_shared_rule(const struct parser *p, struct text text, struct scenario_step *step)
{
	const struct scenario *s = p->scenario;
	unsigned int first = (unsigned int)__builtin_ctz(step->disks);
	int err = parse_rule(p, &s->disks[first], text, &step->rule);

	for (unsigned int i = first + 1; i < s->nr_disks && !err; i++)
		if (step->disks >> i & 1 && !rule_part(step->rule))
			err = rule_check(step->rule, &s->disks[i].geometry, p->place.diag);
	if (err && step->rule)
		place_mark(&p->place, text.at);
	return err;
}

static int parse_capacity(struct parser *p, struct text rest, struct scenario_step *step)
{
	struct text word = next_word(&rest);
	int err = expect_end(p, rest, "the capacity");
	uint64_t size;

	if (err)
		return err;
	if (!text_is(word, "none") && units_parse_size(word.at, word.len, &size))
		return place_fail(&p->place, word.at, "scenario.bad-capacity",
				  "capacity wants a size such as 512M, or none, got '%s'",
				  QUOTE(word));
	step->text = strndup(word.at, word.len);
	return step->text ? 0 : -ENOMEM;
}

static int parse_action_arg(struct parser *p, struct text rest, struct scenario_step *step)
{
	const struct action_row *row = &actions[step->action];
	struct text word;
	int err;

	switch (row->arg) {
	case ARG_NONE:
		return expect_end(p, rest, row->name);
	case ARG_RULE:
		step->column = column_of(p, rest.at);
		return parse_shared_rule(p, rest, step);
	case ARG_TEXT:
		return parse_text(p, rest, step);
	case ARG_KEEP_OR_NONE:
		return rest.len ? parse_keep(p, rest, step) : 0;
	case ARG_CAPACITY:
		return parse_capacity(p, rest, step);
	case ARG_NAME_OR_NONE:
		if (!rest.len)
			return 0;
		/* fall through */
	case ARG_NAME:
		word = next_word(&rest);
		step->column = column_of(p, word.at);
		err = parse_rule_name(p, word, row->name, step->rule_name);
		return err ? err : expect_end(p, rest, "the rule's name");
	}
	return -EINVAL;
}

static int parse_action(struct parser *p, struct text rest, struct scenario_step *step)
{
	struct text word = next_word(&rest);
	bool on_disk = true;
	size_t i = 0;
	int err;

	for (; i < array_size(actions); i++)
		if (!actions[i].has_disk && text_is(word, actions[i].name))
			on_disk = false;
	if (!word.len)
		return place_fail(&p->place, word.at, "scenario.missing-action",
				  "wanted an action after ':': DISK put RULE, say TEXT, stop, ...");
	if (on_disk) {
		err = parse_disk_names(p, word, &step->disks);
		if (err)
			return err;
		word = next_word(&rest);
	}
	for (i = 0; i < array_size(actions); i++)
		if (actions[i].has_disk == on_disk && text_is(word, actions[i].name))
			break;
	if (i == array_size(actions))
		return unknown_action(p, word);
	step->action = (enum scenario_action)i;
	step->column = column_of(p, word.at);
	return parse_action_arg(p, rest, step);
}

/* ------------------------------------------------------------------------------ triggers */

/* @word must be @wanted; @usage says what the whole looks like. */
static int expect_word(const struct parser *p, struct text word, const char *wanted,
		       const char *usage)
{
	if (text_is(word, wanted))
		return 0;
	place_fail(&p->place, word.at, "scenario.bad-trigger", "wanted '%s', got %s%s%s", wanted,
		   word.len ? "'" : "", word.len ? QUOTE(word) : "nothing", word.len ? "'" : "");
	diag_hint(p->place.diag, "%s", usage);
	return -EINVAL;
}

static int parse_at(struct parser *p, struct text rest, struct scenario_step *step)
{
	int err = parse_time(p, next_word(&rest), "at", 0, &step->at_ns);

	return err ? err : expect_end(p, rest, "the time");
}

static int parse_every(struct parser *p, struct text rest, struct scenario_step *step)
{
	static const char usage[] = "every TIME [from TIME] [times N]: ACTION";
	int err = parse_time(p, next_word(&rest), "every", SCENARIO_EVERY_MIN, &step->every_ns);
	struct text word;

	step->at_ns = step->every_ns;
	if (err || !rest.len)
		return err;
	word = next_word(&rest);
	if (text_is(word, "from")) {
		err = parse_time(p, next_word(&rest), "from", 0, &step->at_ns);
		if (err || !rest.len)
			return err;
		word = next_word(&rest);
	}
	err = expect_word(p, word, "times", usage);
	if (!err)
		err = parse_number(p, next_word(&rest), "times", &step->times);
	return err ? err : expect_end(p, rest, "the number");
}

static int parse_when(struct parser *p, struct text rest, struct scenario_step *step)
{
	static const char usage[] = "when DISK RULE hits N [then TIME]: ACTION";
	int err = parse_disk_name(p, next_word(&rest), &step->when_disk);
	struct text word;

	if (err)
		return err;
	word = next_word(&rest);
	step->when_column = column_of(p, word.at);
	err = parse_rule_name(p, word, "when", step->when_rule);
	if (!err)
		err = expect_word(p, next_word(&rest), "hits", usage);
	if (!err)
		err = parse_number(p, next_word(&rest), "hits", &step->hits);
	if (err || !rest.len)
		return err;
	err = expect_word(p, next_word(&rest), "then", usage);
	if (!err)
		err = parse_time(p, next_word(&rest), "then", 0, &step->then_ns);
	return err ? err : expect_end(p, rest, "the time");
}

static struct scenario_step *add_step(struct parser *p)
{
	struct scenario *s = p->scenario;

	if (array_room("tools/scenario/parse/steps", s->steps, p->room, s->nr_steps + 1u, 16))
		return NULL;
	s->steps[s->nr_steps] = (struct scenario_step){ .line = p->line };
	return &s->steps[s->nr_steps++];
}

static int parse_step(struct parser *p, enum scenario_trigger trigger, struct text rest)
{
	static int (*const parse[])(struct parser *, struct text, struct scenario_step *) = {
		[SCENARIO_AT] = parse_at,
		[SCENARIO_EVERY] = parse_every,
		[SCENARIO_WHEN] = parse_when,
	};
	const char *colon = rest.len ? memchr(rest.at, ':', rest.len) : NULL;
	struct scenario_step *step;
	struct text head;
	int err;

	if (p->scenario->nr_steps == SCENARIO_STEPS_MAX)
		return place_fail(&p->place, p->place.line, "scenario.too-many",
				  "a scenario has at most %d steps", SCENARIO_STEPS_MAX);
	step = add_step(p);
	if (!step)
		return -ENOMEM;
	step->trigger = trigger;
	/* What is wrong before the colon is worth more than that there is none. */
	head = text_cut(&rest, ':');
	err = parse[trigger](p, head, step);
	if (!err && !colon)
		err = place_fail(&p->place, rest.at, "scenario.missing-action",
				 "wanted ':' and an action");
	return err ? err : parse_action(p, rest, step);
}

static int parse_at_line(struct parser *p, struct text rest)
{
	return parse_step(p, SCENARIO_AT, rest);
}

static int parse_every_line(struct parser *p, struct text rest)
{
	return parse_step(p, SCENARIO_EVERY, rest);
}

static int parse_when_line(struct parser *p, struct text rest)
{
	return parse_step(p, SCENARIO_WHEN, rest);
}

/* ------------------------------------------------------------------------------ lines */

static const struct statement {
	const char *word;
	int (*parse)(struct parser *p, struct text rest);
} statements[] = {
	{ "disk", parse_disk },  { "record", parse_record },    { "rule", parse_rule_line },
	{ "at", parse_at_line }, { "every", parse_every_line }, { "when", parse_when_line },
};

/* Cut off a comment ('#' first or after white space) and trailing white space. */
static struct text strip_line(struct text line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.at[i] == '#' && (i == 0 || is_space(line.at[i - 1])))
			line.len = i;
	while (line.len && is_space(line.at[line.len - 1]))
		line.len--;
	return line;
}

static int check_magic(const struct parser *p, struct text line)
{
	if (text_is(line, SCENARIO_MAGIC))
		return 0;
	place_fail(&p->place, line.at, "scenario.file-magic",
		   "a scenario starts with the line '%s', got '%s'", SCENARIO_MAGIC, QUOTE(line));
	if (line.len > 18 && memcmp(line.at, SCENARIO_MAGIC, 18) == 0)
		diag_hint(p->place.diag, "this program knows version 1 only");
	return -EINVAL;
}

static int parse_line(struct parser *p, struct text line)
{
	const char *words[array_size(statements) + 1] = { NULL };
	struct text word;

	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	if (text_check(&p->place, line))
		return -EINVAL;
	line = strip_line(line);
	if (p->line == 1)
		return check_magic(p, line);
	skip_space(&line);
	if (!line.len)
		return 0;
	word = next_word(&line);
	for (size_t i = 0; i < array_size(statements); i++) {
		words[i] = statements[i].word;
		if (text_is(word, words[i]))
			return statements[i].parse(p, line);
	}
	place_fail(&p->place, word.at, "scenario.unknown-word",
		   "a line begins with disk, record, rule, at, every or when, got '%s'",
		   QUOTE(word));
	place_suggest(&p->place, word, words);
	return -EINVAL;
}

/* Those with a time by it, then those that wait for hits; a stable sort. */
static bool comes_before(const struct scenario_step *a, const struct scenario_step *b)
{
	bool a_waits = a->trigger == SCENARIO_WHEN, b_waits = b->trigger == SCENARIO_WHEN;

	return a_waits != b_waits ? b_waits : !a_waits && a->at_ns < b->at_ns;
}

static void sort_steps(struct scenario *s)
{
	for (unsigned int i = 1; i < s->nr_steps; i++) {
		struct scenario_step step = s->steps[i];
		unsigned int at = i;

		for (; at && comes_before(&step, &s->steps[at - 1]); at--)
			s->steps[at] = s->steps[at - 1];
		s->steps[at] = step;
	}
}

static int parse_all(struct parser *p, struct text rest)
{
	struct diag *diag = p->place.diag;
	int err;

	do {
		struct text line = text_cut(&rest, '\n');

		p->line++;
		p->place.line = line.at;
		err = parse_line(p, line);
		if (err == -ENOMEM)
			return diag_set(diag, err, "scenario.memory", "no memory for a scenario");
		if (err) {
			/* The place is in one line so far: say which. */
			if (diag)
				diag_at(diag, p->line, diag->column);
			return err;
		}
	} while (rest.len);
	if (!p->scenario->nr_disks) {
		diag_set(diag, -EINVAL, "scenario.no-disk", "there is no disk in the scenario");
		diag_hint(diag, "add a line: disk NAME size=SIZE ...");
		diag_at(diag, p->line, 1);
		return -EINVAL;
	}
	sort_steps(p->scenario);
	return scenario_check(p->scenario, diag);
}

static void cleanup_scenario(struct scenario **scenario)
{
	scenario_free(*scenario);
}

int scenario_parse(const char *text, size_t len, struct diag *diag, struct scenario **ret_scenario)
{
	_cleanup_(cleanup_scenario) struct scenario *scenario = calloc(1, sizeof(*scenario));
	struct parser parser = { .scenario = scenario, .place.diag = diag };
	int err;

	if (!scenario)
		return diag_set(diag, -ENOMEM, "scenario.memory", "no memory for a scenario");
	if (len > SCENARIO_FILE_MAX)
		return diag_set(diag, -EFBIG, "scenario.too-big",
				"a scenario has at most %u bytes, got %zu", SCENARIO_FILE_MAX, len);
	err = parse_all(&parser, (struct text){ text, len });
	if (!err)
		*ret_scenario = take_ptr(scenario);
	return err;
}

struct scenario *scenario_free(struct scenario *scenario)
{
	if (!scenario)
		return NULL;
	for (unsigned int i = 0; i < scenario->nr_disks; i++) {
		struct scenario_disk *disk = &scenario->disks[i];

		for (unsigned int o = 0; o < disk->nr_options; o++)
			free(disk->options[o].name);
		rule_set_free(disk->rules);
	}
	for (unsigned int i = 0; i < scenario->nr_steps; i++) {
		rule_unref(scenario->steps[i].rule);
		free(scenario->steps[i].text);
	}
	free(scenario->steps);
	free(scenario->recording.path);
	free(scenario);
	return NULL;
}
