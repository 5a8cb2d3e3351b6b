// SPDX-License-Identifier: MIT
/*
 * Any bytes as a scenario. What is accepted must print, parse back and print the same again, and
 * its time line must end; what is refused must say where and why, in printable words.
 */
#include "base/cleanup.h"
#include "tools/scenario/scenario.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 2000 /* of the time line: `every` without times= has no end */

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_words(const char *words)
{
	for (; *words; words++)
		require((unsigned char)*words >= 0x20 && *words != 0x7f);
}

static unsigned int count_lines(const char *text, size_t len)
{
	unsigned int nr = 1;

	for (size_t i = 0; i < len; i++)
		nr += text[i] == '\n';
	return nr;
}

static void check_refusal(const struct diag *diag, int err, const char *text, size_t len)
{
	require(err < 0 && diag->id[0] && diag->message[0]);
	check_words(diag->message);
	check_words(diag->hint);
	if (err == -EFBIG)
		return;
	require(diag->line >= 1 && diag->line <= count_lines(text, len));
	require(diag->column >= 1 && diag->column <= len + 1);
}

/* Times never go back, and whatever waits comes true when every rule is hit often enough. */
static void play(const struct scenario *s)
{
	const struct scenario_step *step;
	struct timeline timeline;
	uint64_t now_ns = 0, due_ns;

	require(timeline_init(&timeline, s, 3) == 0);
	for (unsigned int i = 0; i < s->nr_steps; i++)
		if (s->steps[i].trigger == SCENARIO_WHEN)
			timeline_hits(&timeline, s->steps[i].when_disk, s->steps[i].when_rule,
				      s->steps[i].hits, 0);
	for (int i = 0; i < STEPS_MAX && (step = timeline_next(&timeline, &due_ns)); i++) {
		require(due_ns >= now_ns);
		now_ns = due_ns;
		timeline_done(&timeline, step);
	}
	timeline_free(&timeline);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scenario *scenario = NULL, *back = NULL;
	_cleanup_free_ char *printed = NULL, *again = NULL;
	struct diag diag = { 0 };
	int err = scenario_parse((const char *)data, size, &diag, &scenario);

	if (err) {
		check_refusal(&diag, err, (const char *)data, size);
		return 0;
	}
	printed = scenario_print(scenario);
	require(printed && scenario_parse(printed, strlen(printed), &diag, &back) == 0);
	again = scenario_print(back);
	require(again && strcmp(printed, again) == 0);
	require(scenario->nr_disks == back->nr_disks && scenario->nr_steps == back->nr_steps);
	play(scenario);
	scenario_free(scenario);
	scenario_free(back);
	return 0;
}
