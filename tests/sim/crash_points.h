/* SPDX-License-Identifier: MIT */
/* The moments that crash_points() names, against the states of every moment there is. */
#ifndef TESTS_CRASH_POINTS_H
#define TESTS_CRASH_POINTS_H

#include "tests/sim/crash_journal.h"

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint32_t marks_at(const struct sim *sim, uint64_t step)
{
	uint32_t nr = 0;

	for (size_t i = 0; i < sim->journal->nr_marks; i++)
		nr += sim->journal->marks[i].step <= step;
	return nr;
}

/* The moment that lasts at this step: 0 is the one before everything. */
static size_t moment_at(const struct sim *sim, uint64_t step)
{
	size_t moment = 0;

	while (moment < sim->journal->nr_events && sim->journal->events[moment].step <= step)
		moment++;
	return moment;
}

static bool has_state(const struct sim *sim, size_t moment, uint64_t hash)
{
	return bsearch(&hash, sim->states[moment], sim->nr_states[moment], sizeof(hash),
		       compare_numbers);
}

/* A state of a moment is one of a point with as many marks or more. */
static bool check_covered(struct sim *sim, size_t moment, const struct crash_point *points,
			  size_t nr)
{
	uint64_t step = moment ? sim->journal->events[moment - 1].step : 0;
	uint32_t marks = marks_at(sim, step);

	for (size_t s = 0; s < sim->nr_states[moment]; s++) {
		bool found = false;

		for (size_t i = 0; i < nr && !found; i++)
			found = points[i].nr_marks >= marks &&
				has_state(sim, moment_at(sim, points[i].step),
					  sim->states[moment][s]);
		if (!found)
			return fail(sim, "a state of step %" PRIu64 " is in no point", step);
	}
	return true;
}

static bool is_same_moment(const struct sim *sim, size_t a, size_t b)
{
	return sim->nr_states[a] == sim->nr_states[b] &&
	       !memcmp(sim->states[a], sim->states[b], sim->nr_states[a] * sizeof(uint64_t));
}

/* Does the moment before this event need a look? Something becomes durable by it. */
static bool is_durability(struct sim *sim, size_t event)
{
	static struct model before;

	model_at(&sim->model, event ? sim->journal->events[event - 1].step : 0);
	memcpy(before.durable, sim->model.durable, sizeof(before.durable));
	model_at(&sim->model, sim->journal->events[event].step);
	return memcmp(before.durable, sim->model.durable,
		      sim->journal->nr_writes * sizeof(before.durable[0])) != 0;
}

static bool has_point(const struct crash_point *points, size_t nr, uint64_t step)
{
	for (size_t i = 0; i < nr; i++)
		if (points[i].step == step)
			return true;
	return false;
}

/* Is this moment like that of a point before it, but for what is no news? */
static bool is_known(const struct sim *sim, size_t moment, const struct crash_point *points,
		     size_t nr)
{
	uint64_t step = moment ? sim->journal->events[moment - 1].step : 0;

	for (size_t i = 0; i < nr && points[i].step <= step; i++) {
		size_t known = moment_at(sim, points[i].step);
		bool all = points[i].nr_marks == marks_at(sim, step);

		for (size_t s = 0; s < sim->nr_states[moment] && all; s++)
			all = has_state(sim, known, sim->states[moment][s]);
		if (all)
			return true;
	}
	return false;
}

static bool check_sorted(struct sim *sim, const struct crash_point *points, size_t nr)
{
	if (!nr)
		return fail(sim, "no point at all");
	for (size_t i = 0; i < nr; i++) {
		size_t moment = moment_at(sim, points[i].step);

		if (i && points[i].step <= points[i - 1].step)
			return fail(sim, "points out of order");
		if (points[i].nr_marks != marks_at(sim, points[i].step))
			return fail(sim, "%u marks at a point", points[i].nr_marks);
		if (moment && points[i].step != sim->journal->events[moment - 1].step)
			return fail(sim, "nothing happened at a point");
	}
	return true;
}

static bool check_default_points(struct sim *sim, const struct crash_point *points, size_t nr)
{
	const struct journal *j = sim->journal;

	for (size_t moment = 0; moment <= j->nr_events; moment++)
		if (!check_covered(sim, moment, points, nr))
			return false;
	for (size_t i = 0; i < j->nr_events; i++) {
		if (j->events[i].what == JOURNAL_MARK && !has_point(points, nr, j->events[i].step))
			return fail(sim, "no point at a mark");
		if (i && is_durability(sim, i) && !has_point(points, nr, j->events[i - 1].step) &&
		    !is_known(sim, i, points, nr))
			return fail(sim, "no point before something becomes durable");
	}
	if (j->nr_events && !has_point(points, nr, j->events[j->nr_events - 1].step) &&
	    !is_same_moment(sim, moment_at(sim, points[nr - 1].step), j->nr_events))
		return fail(sim, "no point at the end");
	return true;
}

/* Completions: each one's moment has the states of some point with the same marks. */
static bool check_completions(struct sim *sim, const struct crash_point *points, size_t nr)
{
	const struct journal *j = sim->journal;

	for (size_t i = 0; i < j->nr_events; i++) {
		bool found = false;

		if (j->events[i].what != JOURNAL_COMPLETE &&
		    j->events[i].what != JOURNAL_FLUSH_COMPLETE)
			continue;
		for (size_t k = 0; k < nr && !found; k++)
			found = points[k].nr_marks == marks_at(sim, j->events[i].step) &&
				is_same_moment(sim, moment_at(sim, points[k].step), i + 1);
		if (!found)
			return fail(sim, "no point has the states after a completion");
	}
	return true;
}

/* A window's points are moments of its steps, and have the states of all of these: the one that
 * lasts at its first step began before it. */
static bool check_window(struct sim *sim, const struct crash_select *select,
			 const struct crash_point *points, size_t nr)
{
	size_t first = moment_at(sim, select->from), last = moment_at(sim, select->to);

	for (size_t i = 0; i < nr; i++) {
		size_t moment = moment_at(sim, points[i].step);

		if (moment < first || moment > last)
			return fail(sim, "a point outside of the window");
	}
	for (size_t m = first; m <= last && select->set != CRASH_SET_MARKS; m++)
		if (!check_covered(sim, m, points, nr))
			return false;
	return true;
}

static bool check_sample(struct sim *sim, struct crash_select select,
			 const struct crash_point *points, size_t nr)
{
	_cleanup_free_ struct crash_point *few = NULL;
	size_t nr_few, want;

	select.sample = 1 + draw(sim, 5);
	select.seed = draw(sim, 1000);
	want = select.sample < nr ? select.sample : nr;
	if (crash_points(sim->journal, &sim->options, &select, &few, &nr_few) < 0)
		return fail(sim, "no memory");
	if (nr_few != want)
		return fail(sim, "a sample of %zu points, expected %zu", nr_few, want);
	for (size_t i = 0; i < nr_few; i++)
		if (!has_point(points, nr, few[i].step) || (i && few[i].step <= few[i - 1].step))
			return fail(sim, "a sample that is none");
	return true;
}

static bool check_set(struct sim *sim, struct crash_select select)
{
	_cleanup_free_ struct crash_point *points = NULL;
	size_t nr;

	if (crash_points(sim->journal, &sim->options, &select, &points, &nr) < 0)
		return fail(sim, "no memory");
	sim->nr_points += nr;
	if (!check_sorted(sim, points, nr) || !check_sample(sim, select, points, nr))
		return false;
	if (select.has_to)
		return check_window(sim, &select, points, nr);
	if (select.set == CRASH_SET_DEFAULT)
		return check_default_points(sim, points, nr);
	if (select.set == CRASH_SET_COMPLETIONS)
		return check_default_points(sim, points, nr) && check_completions(sim, points, nr);
	for (size_t i = 0; i < sim->journal->nr_marks; i++)
		if (!has_point(points, nr, sim->journal->marks[i].step))
			return fail(sim, "a mark without a point");
	return nr <= sim->journal->nr_marks + 1 || fail(sim, "more points than marks");
}

static bool check_points(struct sim *sim)
{
	static const enum crash_set sets[] = { CRASH_SET_DEFAULT, CRASH_SET_COMPLETIONS,
					       CRASH_SET_MARKS };
	struct crash_select select = { 0 };

	for (size_t i = 0; i < array_size(sets); i++) {
		select = (struct crash_select){ .set = sets[i] };
		if (!check_set(sim, select))
			return false;
		select.from = draw(sim, sim->journal->end_step + 2);
		select.to = select.from + draw(sim, sim->journal->end_step + 2);
		select.has_to = true;
		if (!check_set(sim, select))
			return false;
	}
	return true;
}

#endif
