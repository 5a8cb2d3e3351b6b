// SPDX-License-Identifier: MIT
/*
 * When each step is due. A walk over at most SCENARIO_STEPS_MAX numbers finds the next one: it is
 * done once per step carried out, each of which costs a round trip over a socket.
 */
#include "tools/scenario/scenario.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

#define NEVER UINT64_MAX

int timeline_init(struct timeline *timeline, const struct scenario *scenario, unsigned int speed)
{
	*timeline = (struct timeline){ .scenario = scenario, .speed = speed };
	timeline->due = calloc(scenario->nr_steps + 1, sizeof(*timeline->due));
	if (!timeline->due)
		return -ENOMEM;
	for (unsigned int i = 0; i < scenario->nr_steps; i++) {
		const struct scenario_step *step = &scenario->steps[i];

		timeline->due[i].ns = step->trigger == SCENARIO_WHEN ? NEVER : step->at_ns / speed;
	}
	return 0;
}

void timeline_free(struct timeline *timeline)
{
	free(timeline->due);
	timeline->due = NULL;
}

const struct scenario_step *timeline_next(const struct timeline *timeline, uint64_t *ret_due_ns)
{
	const struct scenario_step *next = NULL;
	uint64_t first_ns = NEVER;

	for (unsigned int i = 0; i < timeline->scenario->nr_steps; i++) {
		if (timeline->due[i].ns >= first_ns)
			continue;
		first_ns = timeline->due[i].ns;
		next = &timeline->scenario->steps[i];
	}
	if (next)
		*ret_due_ns = first_ns;
	return next;
}

void timeline_done(struct timeline *timeline, const struct scenario_step *step)
{
	struct due *due = &timeline->due[step - timeline->scenario->steps];

	due->done++;
	due->ns = NEVER;
	/* From the beginning each time: periods that were cut short by the speed do not add up. */
	if (step->trigger == SCENARIO_EVERY && (!step->times || due->done < step->times))
		due->ns = (step->at_ns + due->done * step->every_ns) / timeline->speed;
}

void timeline_hits(struct timeline *timeline, unsigned int disk, const char *rule, uint64_t hits,
		   uint64_t now_ns)
{
	for (unsigned int i = 0; i < timeline->scenario->nr_steps; i++) {
		const struct scenario_step *step = &timeline->scenario->steps[i];
		struct due *due = &timeline->due[i];

		if (step->trigger == SCENARIO_WHEN && step->when_disk == disk &&
		    step->hits <= hits && due->ns == NEVER && !due->done &&
		    strcmp(step->when_rule, rule) == 0)
			due->ns = now_ns + step->then_ns / timeline->speed;
	}
}
