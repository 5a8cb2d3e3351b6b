// SPDX-License-Identifier: MIT
/*
 * Once all lines are read: does every name mean something, and can every `when` come true? A rule
 * can exist if a rule line makes it, or a put of a step that can happen; a step that waits can
 * happen if the rule that it waits for can exist. That is a fixed point, found by going round until
 * nothing is added.
 */
#include "tools/scenario/scenario.h"

#include "base/cleanup.h"
#include "base/near.h"
#include "faults/rule/ast.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct scenario_checking {
	const struct scenario *scenario;
	bool *can_happen; /* by step */
	struct diag *diag;
};

static bool makes(const struct scenario_step *step, unsigned int disk, const char *name)
{
	return step->action == SCENARIO_PUT && step->disks >> disk & 1 &&
	       strcmp(rule_name(step->rule), name) == 0;
}

/* Is there a maker of this rule among the rule lines, or the steps (only those that can happen)? */
static bool can_exist(const struct scenario_checking *c, unsigned int disk, const char *name,
		      bool any_step)
{
	const struct scenario *s = c->scenario;

	if (rule_set_find(s->disks[disk].rules, name))
		return true;
	for (unsigned int i = 0; i < s->nr_steps; i++)
		if ((any_step || c->can_happen[i]) && makes(&s->steps[i], disk, name))
			return true;
	return false;
}

static void find_what_can_happen(struct scenario_checking *c)
{
	const struct scenario *s = c->scenario;
	bool changed = true;

	while (changed) {
		changed = false;
		for (unsigned int i = 0; i < s->nr_steps; i++) {
			const struct scenario_step *step = &s->steps[i];

			if (c->can_happen[i] ||
			    (step->trigger == SCENARIO_WHEN &&
			     !can_exist(c, step->when_disk, step->when_rule, false)))
				continue;
			c->can_happen[i] = changed = true;
		}
	}
}

/* The rule of @disk whose name is nearest, as a hint. */
static void suggest_rule(const struct scenario_checking *c, unsigned int disk, const char *name)
{
	const struct scenario *s = c->scenario;
	const struct rule_set *set = s->disks[disk].rules;
	size_t nr = 0, room = rule_set_count(set) + s->nr_steps + 1;
	_cleanup_free_ const char **names = calloc(room, sizeof(*names));
	const char *near;

	if (!names)
		return;
	for (size_t i = 0; i < rule_set_count(set); i++)
		names[nr++] = rule_name(rule_set_at(set, i));
	for (unsigned int i = 0; i < s->nr_steps; i++)
		if (s->steps[i].action == SCENARIO_PUT && s->steps[i].disks >> disk & 1)
			names[nr++] = rule_name(s->steps[i].rule);
	near = near_word(name, strlen(name), names);
	if (near)
		diag_hint(c->diag, "did you mean '%s'?", near);
	else
		diag_hint(c->diag, "add a line: rule %s %s ... do=..., or a step that puts it",
			  s->disks[disk].name, name);
}

/* Whatever waits for a rule, removes or switches it: some line must make one of that name. */
static int check_name(const struct scenario_checking *c, const struct scenario_step *step,
		      unsigned int disk, const char *name, unsigned int column)
{
	if (can_exist(c, disk, name, true))
		return 0;
	diag_set(c->diag, -EINVAL, "scenario.unknown-rule",
		 "no line of the scenario makes a rule '%s' of disk '%s'", name,
		 c->scenario->disks[disk].name);
	suggest_rule(c, disk, name);
	diag_at(c->diag, step->line, column);
	return -EINVAL;
}

static uint64_t most_hits(const struct scenario_checking *c, unsigned int disk, const char *name)
{
	const struct scenario *s = c->scenario;
	const struct rule *rule = rule_set_find(s->disks[disk].rules, name);
	uint64_t most = rule ? rule->times : 0;

	for (unsigned int i = 0; i < s->nr_steps; i++)
		if (makes(&s->steps[i], disk, name) && s->steps[i].rule->times > most)
			most = s->steps[i].rule->times;
	return most;
}

static int check_when(const struct scenario_checking *c, const struct scenario_step *step,
		      bool can_happen)
{
	uint64_t most = most_hits(c, step->when_disk, step->when_rule);
	const char *disk = c->scenario->disks[step->when_disk].name;

	if (!can_happen) {
		diag_set(
			c->diag, -EINVAL, "scenario.never",
			"rule '%s' of disk '%s' can never exist: only steps that wait for it, or for "
			"each other, put it",
			step->when_rule, disk);
		diag_hint(c->diag, "put it with a rule line, or with at TIME");
	} else if (step->hits > most) {
		diag_set(c->diag, -EINVAL, "scenario.never",
			 "rule '%s' of disk '%s' hits at most %" PRIu64 " times, so %" PRIu64
			 " is never reached",
			 step->when_rule, disk, most, step->hits);
		diag_hint(c->diag, "raise times= of the rule, or wait for fewer hits");
	} else {
		return 0;
	}
	diag_at(c->diag, step->line, step->when_column);
	return -EINVAL;
}

/* Each rule that is waited for takes one of the few connections of the disk's control socket. */
static int check_waited(const struct scenario_checking *c, unsigned int index)
{
	const struct scenario *s = c->scenario;
	const struct scenario_step *step = &s->steps[index];
	unsigned int nr = 1;

	for (unsigned int i = 0; i < index; i++) {
		const struct scenario_step *other = &s->steps[i];
		bool first = true;

		if (other->trigger != SCENARIO_WHEN || other->when_disk != step->when_disk)
			continue;
		if (strcmp(other->when_rule, step->when_rule) == 0)
			return 0;
		for (unsigned int j = 0; j < i; j++)
			if (s->steps[j].trigger == SCENARIO_WHEN &&
			    s->steps[j].when_disk == other->when_disk &&
			    strcmp(s->steps[j].when_rule, other->when_rule) == 0)
				first = false;
		nr += first;
	}
	if (nr <= SCENARIO_WAITED_MAX)
		return 0;
	diag_set(c->diag, -EINVAL, "scenario.too-many",
		 "steps wait for at most %d different rules of one disk", SCENARIO_WAITED_MAX);
	diag_at(c->diag, step->line, step->when_column);
	return -EINVAL;
}

static int check_mark(const struct scenario_checking *c, const struct scenario_step *step)
{
	if (step->action != SCENARIO_MARK || c->scenario->recording.path)
		return 0;
	diag_set(c->diag, -EINVAL, "scenario.no-recording",
		 "the scenario has no recording for the mark");
	diag_hint(c->diag, "add a line: record FILE data");
	diag_at(c->diag, step->line, step->column);
	return -EINVAL;
}

/* One recording is of all disks; a disk has no second one. */
static int check_recording(const struct scenario_checking *c)
{
	const struct scenario *s = c->scenario;

	for (unsigned int i = 0; s->recording.path && i < s->nr_disks; i++)
		for (unsigned int o = 0; o < s->disks[i].nr_options; o++) {
			const struct run_option *option = &s->disks[i].options[o];

			if (strncmp(option->name, "record", 6) != 0)
				continue;
			diag_set(c->diag, -EINVAL, "scenario.duplicate-recording",
				 "disk '%s' has the option '%s', and the scenario records all "
				 "disks",
				 s->disks[i].name, option->name);
			diag_hint(c->diag, "remove one of the two");
			diag_at(c->diag, s->recording.line, 1);
			return -EINVAL;
		}
	return 0;
}

/* The disks that a rule takes along. */
static int check_with(const struct scenario_checking *c, const struct rule *rule, unsigned int line)
{
	const char *names[SCENARIO_DISKS_MAX + 1] = { NULL };
	const char *with = rule ? rule_with(rule) : NULL, *near;
	struct text rest = { with, with ? strlen(with) : 0 };
	unsigned int nr = c->scenario->nr_disks;

	for (unsigned int i = 0; i < nr; i++)
		names[i] = c->scenario->disks[i].name;
	while (rest.len) {
		struct text name = text_cut(&rest, '+');
		unsigned int i = 0;

		while (i < nr && !text_is(name, names[i]))
			i++;
		if (i < nr)
			continue;
		diag_set(c->diag, -EINVAL, "scenario.unknown-disk",
			 "rule '%s' takes disk '%s' along, which the scenario does not have",
			 rule_name(rule), QUOTE(name));
		near = near_word(name.at, name.len, names);
		if (near)
			diag_hint(c->diag, "did you mean '%s'?", near);
		if (line)
			diag_at(c->diag, line, 1);
		return -EINVAL;
	}
	return 0;
}

static int check_step(const struct scenario_checking *c, unsigned int index)
{
	const struct scenario_step *step = &c->scenario->steps[index];
	int err = check_mark(c, step);

	if (!err)
		err = check_with(c, step->rule, step->line);
	if (err)
		return err;

	if (step->trigger == SCENARIO_WHEN) {
		err = check_name(c, step, step->when_disk, step->when_rule, step->when_column);
		if (!err)
			err = check_when(c, step, c->can_happen[index]);
		if (!err)
			err = check_waited(c, index);
	}
	for (unsigned int i = 0; i < c->scenario->nr_disks && !err; i++)
		if (step->rule_name[0] && step->disks >> i & 1)
			err = check_name(c, step, i, step->rule_name, step->column);
	return err;
}

int scenario_check(const struct scenario *scenario, struct diag *diag)
{
	_cleanup_free_ bool *can_happen = calloc(scenario->nr_steps + 1, sizeof(*can_happen));
	struct scenario_checking check = { scenario, can_happen, diag };
	int err = 0;

	if (!can_happen)
		return diag_set(diag, -ENOMEM, "scenario.memory", "no memory for a scenario");
	find_what_can_happen(&check);
	err = check_recording(&check);
	for (unsigned int i = 0; i < scenario->nr_disks; i++)
		for (size_t r = 0; r < rule_set_count(scenario->disks[i].rules) && !err; r++)
			err = check_with(&check, rule_set_at(scenario->disks[i].rules, r), 0);
	for (unsigned int i = 0; i < scenario->nr_steps && !err; i++)
		err = check_step(&check, i);
	return err;
}
