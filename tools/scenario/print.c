// SPDX-License-Identifier: MIT
/* A scenario as text: disks, then their rules, then the steps in the order of the time line. */
#include "tools/scenario/scenario.h"

#include "base/cleanup.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

static void print_disk(FILE *out, const struct scenario_disk *disk)
{
	fprintf(out, "disk %s", disk->name);
	for (unsigned int i = 0; i < disk->nr_options; i++)
		fprintf(out, " %s%s%s", disk->options[i].name, disk->options[i].value ? "=" : "",
			disk->options[i].value ?: "");
	fputc('\n', out);
}

static void print_recording(FILE *out, const struct scenario_recording *recording)
{
	char limit[UNITS_MAX];

	if (!recording->path)
		return;
	fprintf(out, "record %s%s", recording->path, recording->data ? " data" : "");
	if (recording->has_limit)
		fprintf(out, " limit=%s", units_format_size(recording->limit_bytes, limit));
	fprintf(out, "%s\n", recording->block ? " full=block" : "");
}

static bool print_rule(FILE *out, const struct rule *rule)
{
	_cleanup_free_ char *text = rule_print(rule);

	if (text)
		fputs(text, out);
	return text != NULL;
}

static bool print_rules(FILE *out, const struct scenario_disk *disk)
{
	bool ok = true;

	for (size_t i = 0; i < rule_set_count(disk->rules) && ok; i++) {
		fprintf(out, "rule %s ", disk->name);
		ok = print_rule(out, rule_set_at(disk->rules, i));
		fputc('\n', out);
	}
	return ok;
}

static void print_trigger(FILE *out, const struct scenario *s, const struct scenario_step *step)
{
	char at[UNITS_MAX], every[UNITS_MAX];

	switch (step->trigger) {
	case SCENARIO_AT:
		fprintf(out, "at %s", units_format_time(step->at_ns, at));
		break;
	case SCENARIO_EVERY:
		fprintf(out, "every %s", units_format_time(step->every_ns, every));
		if (step->at_ns != step->every_ns)
			fprintf(out, " from %s", units_format_time(step->at_ns, at));
		if (step->times)
			fprintf(out, " times %" PRIu64, step->times);
		break;
	case SCENARIO_WHEN:
		fprintf(out, "when %s %s hits %" PRIu64, s->disks[step->when_disk].name,
			step->when_rule, step->hits);
		if (step->then_ns)
			fprintf(out, " then %s", units_format_time(step->then_ns, at));
		break;
	}
	fputs(": ", out);
}

static void print_disks(FILE *out, const struct scenario *s, uint32_t disks)
{
	for (unsigned int i = 0; i < s->nr_disks; i++)
		if (disks >> i & 1)
			fprintf(out, "%s%s", s->disks[i].name, disks >> i > 1 ? "," : "");
}

char *scenario_disk_names(const struct scenario *scenario, uint32_t disks)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	print_disks(out, scenario, disks);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static bool print_step(FILE *out, const struct scenario *s, const struct scenario_step *step)
{
	print_trigger(out, s, step);
	if (scenario_action_has_disk(step->action))
		print_disks(out, s, step->disks);
	if (scenario_action_has_disk(step->action))
		fputc(' ', out);
	fputs(scenario_action_name(step->action), out);
	if (step->rule_name[0])
		fprintf(out, " %s", step->rule_name);
	if (step->text)
		fprintf(out, " %s", step->text);
	if (!step->rule)
		return true;
	fputc(' ', out);
	return print_rule(out, step->rule);
}

char *scenario_print_step(const struct scenario *scenario, const struct scenario_step *step)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	bool ok = out && print_step(out, scenario, step);

	if (out && fclose(out) != 0)
		ok = false;
	if (ok)
		return text;
	free(text);
	return NULL;
}

char *scenario_print(const struct scenario *scenario)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	bool ok = out != NULL;

	if (!out)
		return NULL;
	fputs(SCENARIO_MAGIC "\n", out);
	for (unsigned int i = 0; i < scenario->nr_disks; i++)
		print_disk(out, &scenario->disks[i]);
	print_recording(out, &scenario->recording);
	for (unsigned int i = 0; i < scenario->nr_disks && ok; i++)
		ok = print_rules(out, &scenario->disks[i]);
	for (unsigned int i = 0; i < scenario->nr_steps && ok; i++) {
		ok = print_step(out, scenario, &scenario->steps[i]);
		fputc('\n', out);
	}
	if (fclose(out) != 0)
		ok = false;
	if (ok)
		return text;
	free(text);
	return NULL;
}
