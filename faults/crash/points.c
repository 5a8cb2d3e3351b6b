// SPDX-License-Identifier: MIT
/*
 * The moments worth a look: one walk along the events, without contents.
 *
 *	submit   submit   complete     flush done    submit  mark   flush done
 *	   |        |         |      ^      |           |      ^    ^    |
 *	                             before durable       at mark   (the same moment: once)
 *
 * What one record of a recording completes, the host learns at once: within it there is no moment.
 */
#include "faults/crash/internal.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <stdlib.h>

struct points_walk {
	const struct journal *journal;
	const struct crash_select *select;
	struct crash_point *points;
	size_t nr, room;
	uint32_t nr_marks;
	/* A cut is being decided (journal_write.survivor): so many have not completed yet, and what
	 * came before the first. */
	uint32_t nr_survivors;
	const struct journal_event *before_survivors;
	/* What came before the first event that users see at the step of this one. */
	const struct journal_event *before;
	/* Since the last moment that was taken: */
	bool submitted, durable, marked;
};

/* Of moments with the same states and marks the first is enough. */
static int take(struct points_walk *walk, const struct journal_event *at, enum crash_why why)
{
	uint64_t step = at ? at->step : 0;

	if (walk->nr && !walk->submitted && !walk->durable && !walk->marked)
		return 0;
	if (array_room("faults/crash/points/grow", walk->points, walk->room, walk->nr + 1, 64))
		return -ENOMEM;
	walk->points[walk->nr++] = (struct crash_point){
		.step = step,
		.time_ns = at ? journal_event_ns(walk->journal, at) : walk->journal->start_ns,
		.why = why,
		.nr_marks = walk->nr_marks,
	};
	walk->submitted = walk->durable = walk->marked = false;
	return 0;
}

/*
 * The moment before this event, right after @before: one that began before the range counts, if it
 * lasts into it.
 */
static int take_before(struct points_walk *walk, const struct journal_event *event,
		       const struct journal_event *before)
{
	if (walk->select->set == CRASH_SET_MARKS || !before ||
	    journal_shown(walk->journal, event->step) <= walk->select->from)
		return 0;
	/* What is durable later was a state before. */
	if (!walk->submitted && !walk->marked)
		return 0;
	return take(walk, before, CRASH_BEFORE_DURABLE);
}

/* Do users see the event, and the one after it, at one step? */
static bool is_shared(const struct journal *journal, const struct journal_event *event)
{
	const struct journal_event *next = event + 1;

	return next < journal->events + journal->nr_events &&
	       journal_shown(journal, next->step) == journal_shown(journal, event->step);
}

static int take_after(struct points_walk *walk, const struct journal_event *event)
{
	bool inside = journal_shown(walk->journal, event->step) >= walk->select->from &&
		      !is_shared(walk->journal, event);

	switch ((enum journal_what)event->what) {
	case JOURNAL_SUBMIT:
		walk->submitted = true;
		return 0;
	case JOURNAL_MARK:
		walk->nr_marks++;
		walk->marked = true;
		return inside ? take(walk, event, CRASH_AT_MARK) : 0;
	case JOURNAL_COMPLETE:
	case JOURNAL_FLUSH_COMPLETE:
		if (walk->select->set != CRASH_SET_COMPLETIONS || !inside)
			return 0;
		return take(walk, event, CRASH_AT_COMPLETION);
	case JOURNAL_FLUSH_SUBMIT:
		return 0;
	}
	return 0;
}

static bool is_survivor(const struct journal *journal, const struct journal_event *event)
{
	return (event->what == JOURNAL_SUBMIT || event->what == JOURNAL_COMPLETE) &&
	       journal->writes[event->index].survivor;
}

/* The last moment of the cut's own is before all survivors; the next is after all of it. */
static int take_survivor(struct points_walk *walk, const struct journal_event *event)
{
	int err;

	if (!walk->nr_survivors)
		walk->before_survivors = walk->before;
	/* It lasts until the last of them. */
	err = take_before(walk, event, walk->before_survivors);
	if (event->what == JOURNAL_SUBMIT)
		walk->nr_survivors++;
	else
		walk->nr_survivors--;
	if (!walk->nr_survivors)
		walk->durable = true;
	return err;
}

static int walk_events(struct points_walk *walk, struct crash_flow *flow)
{
	const struct journal *journal = walk->journal;
	const struct journal_event *last = NULL;

	for (size_t i = 0; i < journal->nr_events; i++) {
		const struct journal_event *event = &journal->events[i];
		const uint32_t *durable;
		size_t nr;
		int err;

		if (walk->select->has_to && journal_shown(journal, event->step) > walk->select->to)
			break;
		if (!last || !is_shared(journal, last))
			walk->before = last;
		last = event;
		err = crash_flow_event(flow, event, &durable, &nr);
		if (!err && is_survivor(journal, event)) {
			err = take_survivor(walk, event);
		} else {
			if (!err && nr)
				err = take_before(walk, event, walk->before);
			walk->durable |= nr > 0;
			if (!err)
				err = take_after(walk, event);
		}
		if (err)
			return err;
	}
	return take(walk, walk->nr_survivors ? walk->before_survivors : last, CRASH_AT_END);
}

/* So many of them, each set of that size as likely as any other; in order. */
static size_t draw_sample(struct crash_point *points, size_t nr, size_t sample, uint64_t seed)
{
	size_t taken = 0;

	for (size_t i = 0; i < nr; i++)
		if (rng_below(rng_mix(seed, 0x70696e, i), nr - i) < sample - taken)
			points[taken++] = points[i];
	return taken;
}

int crash_points(const struct journal *journal, const struct crash_options *options,
		 const struct crash_select *select, struct crash_point **ret_points, size_t *ret_nr)
{
	struct points_walk walk = {
		.journal = journal,
		.select = select,
	};
	struct crash_flow flow;
	int err = crash_flow_start(&flow, journal, options);

	if (!err)
		err = walk_events(&walk, &flow);
	crash_flow_free(&flow);
	if (err) {
		free(walk.points);
		return err;
	}
	if (select->sample && select->sample < walk.nr)
		walk.nr = draw_sample(walk.points, walk.nr, select->sample, select->seed);
	*ret_points = walk.points;
	*ret_nr = walk.nr;
	return 0;
}
