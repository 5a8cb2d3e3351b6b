// SPDX-License-Identifier: MIT
/*
 * Delta debugging (Zeller, Hildebrandt: "Simplifying and isolating failure-inducing input", 2002)
 * over atoms: sets of lost choices that come back together. The same procedure runs with an atom
 * for each write and then with one for each choice.
 *
 *	atoms:    | 1 2 3 | 4 5 6 |       keep only this part lost?  keep all but this part lost?
 *	finer:    | 1 2 | 3 4 | 5 6 |     ... until each part is one atom and none can come back
 *
 * Every answer is remembered by the hash of its picks, so that going over the same ground again,
 * as the final proof does, costs no runs.
 */
#include "faults/explore/shrink.h"

#include "base/cleanup.h"
#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A choice that is not at its newest candidate. Sorted by atom. */
struct shrink_lost {
	uint32_t choice;
	uint32_t atom;
};

struct answer {
	uint64_t hash; /* 0: free */
	bool fails;
};

struct shrinker {
	const struct shrink_options *options;
	const struct crash *crash;
	const struct crash_choice *choices;
	size_t nr_choices;
	enum crash_atomic atomic;
	uint16_t *best;  /* the caller's picks: the smallest state that is known to fail */
	uint16_t *trial; /* the one that is asked for */
	uint16_t *newest;
	struct shrink_lost *lost; /* of best */
	size_t nr_lost;
	struct answer *answers;
	size_t answers_mask;
	uint64_t max_runs, runs;
	bool spent; /* no more runs, though one was wanted */
};

/* ------------------------------------------------------------------------------ asking */

/* A sum over the choices that differ from the newest, so that it costs what is lost. */
static uint64_t hash_picks(const struct shrinker *shrinker)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < shrinker->nr_choices; i++)
		if (shrinker->trial[i] != shrinker->newest[i])
			hash += rng_mix(0x5472696d, i, shrinker->trial[i]);
	return hash ? hash : 1;
}

/* 1: the trial fails, 0: it passes, -errno: stop. */
static int ask(struct shrinker *shrinker)
{
	uint64_t hash = hash_picks(shrinker);
	size_t at = hash & shrinker->answers_mask;
	int answer;

	for (; shrinker->answers[at].hash; at = (at + 1) & shrinker->answers_mask)
		if (shrinker->answers[at].hash == hash)
			return shrinker->answers[at].fails;
	if (shrinker->runs == shrinker->max_runs) {
		shrinker->spent = true;
		return -EDQUOT;
	}
	shrinker->runs++;
	answer = shrinker->options->fails(shrinker->options->ctx, shrinker->trial);
	if (answer < 0)
		return answer;
	shrinker->answers[at] = (struct answer){ .hash = hash, .fails = answer > 0 };
	return answer > 0;
}

static void take_trial(struct shrinker *shrinker)
{
	size_t kept = 0;

	memcpy(shrinker->best, shrinker->trial, shrinker->nr_choices * sizeof(*shrinker->best));
	for (size_t i = 0; i < shrinker->nr_lost; i++) {
		const struct shrink_lost *lost = &shrinker->lost[i];

		if (shrinker->best[lost->choice] != shrinker->newest[lost->choice])
			shrinker->lost[kept++] = *lost;
	}
	shrinker->nr_lost = kept;
}

/* Of best, only the lost choices in [from, to) stay lost, or (@outside) only the others do. */
static int try_range(struct shrinker *shrinker, size_t from, size_t to, bool outside)
{
	int answer;

	memcpy(shrinker->trial, shrinker->best, shrinker->nr_choices * sizeof(*shrinker->trial));
	for (size_t i = 0; i < shrinker->nr_lost; i++)
		if ((i >= from && i < to) == outside)
			shrinker->trial[shrinker->lost[i].choice] =
				shrinker->newest[shrinker->lost[i].choice];
	crash_canonical(shrinker->crash, shrinker->trial);
	answer = ask(shrinker);
	if (answer > 0)
		take_trial(shrinker);
	return answer;
}

/* ------------------------------------------------------------------------------ by parts */

static size_t count_atoms(const struct shrinker *shrinker)
{
	size_t nr = 0;

	for (size_t i = 0; i < shrinker->nr_lost; i++)
		nr += !i || shrinker->lost[i].atom != shrinker->lost[i - 1].atom;
	return nr;
}

/* Where atom @n of those that are still lost begins; nr_lost for the one behind the last. */
static size_t atom_start(const struct shrinker *shrinker, size_t n)
{
	for (size_t i = 0; i < shrinker->nr_lost; i++)
		if ((!i || shrinker->lost[i].atom != shrinker->lost[i - 1].atom) && !n--)
			return i;
	return shrinker->nr_lost;
}

/* One round with @parts parts of @atoms atoms: 1: something came back, 0: nothing could. */
static int try_parts(struct shrinker *shrinker, size_t atoms, size_t parts, bool outside)
{
	for (size_t i = 0; i < parts; i++) {
		size_t from = atom_start(shrinker, atoms * i / parts);
		size_t to = atom_start(shrinker, atoms * (i + 1) / parts);
		int answer = try_range(shrinker, from, to, outside);

		if (answer)
			return answer;
	}
	return 0;
}

/* Fewer atoms, until none of them can come back by itself. */
static int reduce(struct shrinker *shrinker)
{
	size_t parts = 2, atoms;
	int answer;

	while ((atoms = count_atoms(shrinker)) > 1) {
		if (parts > atoms)
			parts = atoms;
		answer = try_parts(shrinker, atoms, parts, false);
		if (answer > 0) {
			parts = 2;
			continue;
		}
		if (!answer)
			answer = try_parts(shrinker, atoms, parts, true);
		if (answer < 0)
			return answer;
		if (answer > 0)
			parts = parts > 3 ? parts - 1 : 2;
		else if (parts == atoms)
			return 0;
		else
			parts *= 2;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ the steps */

/* The write whose content the choice would have, had nothing been lost. */
static uint32_t newest_write(const struct shrinker *shrinker, uint32_t choice)
{
	const struct crash_choice *at = &shrinker->choices[choice];

	return at->candidates ? at->candidates[shrinker->newest[choice]].write : at->write;
}

static int compare_lost(const void *a, const void *b)
{
	const struct shrink_lost *one = a, *two = b;

	if (one->atom != two->atom)
		return one->atom < two->atom ? -1 : 1;
	return one->choice < two->choice ? -1 : one->choice > two->choice;
}

static void find_lost(struct shrinker *shrinker, bool by_write)
{
	shrinker->nr_lost = 0;
	for (uint32_t i = 0; i < shrinker->nr_choices; i++)
		if (shrinker->best[i] != shrinker->newest[i])
			shrinker->lost[shrinker->nr_lost++] = (struct shrink_lost){
				.choice = i,
				.atom = by_write ? newest_write(shrinker, i) : i,
			};
	qsort(shrinker->lost, shrinker->nr_lost, sizeof(*shrinker->lost), compare_lost);
}

/* How new candidate @pick is: content from before the recording is older than any write's. */
static uint64_t age_of(const struct shrinker *shrinker, uint32_t choice, uint16_t pick)
{
	uint32_t write = shrinker->choices[choice].candidates[pick].write;

	return write == CRASH_BASE ? 0 : (uint64_t)write + 1;
}

/* The newest candidate that is older than @below and newer than what best has; UINT16_MAX: none. */
static uint16_t next_newest(const struct shrinker *shrinker, uint32_t choice, uint64_t below)
{
	uint64_t best = age_of(shrinker, choice, shrinker->best[choice]);
	uint16_t found = UINT16_MAX;

	for (uint32_t i = 0; i < shrinker->choices[choice].nr; i++) {
		uint64_t age = age_of(shrinker, choice, (uint16_t)i);

		if (i == shrinker->newest[choice] || age >= below || age <= best)
			continue;
		best = age;
		found = (uint16_t)i;
	}
	return found;
}

/* A lost unit could have something newer: the newest that still fails. 1: it has. */
static int renew_one(struct shrinker *shrinker, uint32_t choice)
{
	uint64_t below = UINT64_MAX;
	uint16_t pick;

	while ((pick = next_newest(shrinker, choice, below)) != UINT16_MAX) {
		int answer;

		memcpy(shrinker->trial, shrinker->best,
		       shrinker->nr_choices * sizeof(*shrinker->trial));
		shrinker->trial[choice] = pick;
		answer = ask(shrinker);
		if (answer > 0)
			take_trial(shrinker);
		if (answer)
			return answer;
		below = age_of(shrinker, choice, pick);
	}
	return 0;
}

static int renew(struct shrinker *shrinker)
{
	int changed = 0;

	if (shrinker->atomic != CRASH_UNIT)
		return 0;
	for (size_t i = 0; i < shrinker->nr_lost; i++) {
		int answer = renew_one(shrinker, shrinker->lost[i].choice);

		if (answer < 0)
			return answer;
		changed |= answer;
	}
	return changed;
}

/* All of it, for choices that are independent of each other. */
static int shrink_sets(struct shrinker *shrinker)
{
	int answer;

	find_lost(shrinker, true);
	answer = try_range(shrinker, 0, 0, false);
	if (answer)
		return answer < 0 ? answer : 0;
	answer = reduce(shrinker);
	if (answer < 0)
		return answer;
	do {
		find_lost(shrinker, false);
		answer = reduce(shrinker);
		if (!answer)
			answer = renew(shrinker);
	} while (answer > 0);
	return answer;
}

/* A write that was in flight comes back, or writes come in order. 1: it is so. */
static int shrink_in_flight(struct shrinker *shrinker, size_t choice)
{
	int answer;

	if (!shrinker->best[choice])
		return 0;
	memcpy(shrinker->trial, shrinker->best, shrinker->nr_choices * sizeof(*shrinker->trial));
	shrinker->trial[choice] = 0;
	crash_canonical(shrinker->crash, shrinker->trial);
	answer = ask(shrinker);
	if (answer > 0)
		memcpy(shrinker->best, shrinker->trial,
		       shrinker->nr_choices * sizeof(*shrinker->best));
	return answer;
}

/*
 * The trial: best, but that this disk stops at @place. What was lost stays lost as far as it can: a
 * write in flight at the old place that was there, and one that had to be, is there again.
 */
static void try_place(struct shrinker *shrinker, size_t first, uint16_t place)
{
	uint16_t *trial = shrinker->trial;
	size_t end = first + 1;

	memcpy(trial, shrinker->best, shrinker->nr_choices * sizeof(*trial));
	for (; end < shrinker->nr_choices && shrinker->choices[end].write != CRASH_BASE; end++)
		if (shrinker->choices[end].write != CRASH_TURNS)
			trial[end] = 1;
	crash_canonical(shrinker->crash, trial);
	for (size_t i = first + 1; i < end; i++)
		if (shrinker->choices[i].write != CRASH_TURNS)
			trial[i] = trial[i] ? shrinker->best[i] : 1;
	trial[first] = place;
	crash_canonical(shrinker->crash, trial);
}

/*
 * The last write of one disk that survived, the other disks as they are: the border between failing
 * and passing. 1: it is a later one.
 */
static int shrink_prefix(struct shrinker *shrinker, size_t choice)
{
	uint16_t begin = shrinker->best[choice], fails = begin, passes = shrinker->newest[choice];

	for (uint16_t middle = passes; fails < passes && middle != fails;) {
		int answer;

		try_place(shrinker, choice, middle);
		answer = ask(shrinker);
		if (answer < 0)
			return answer;
		if (answer) {
			memcpy(shrinker->best, shrinker->trial,
			       shrinker->nr_choices * sizeof(*shrinker->best));
			fails = middle;
		} else {
			passes = middle;
		}
		middle = (uint16_t)(fails + (passes - fails) / 2);
	}
	return fails != begin;
}

static int shrink_order(struct shrinker *shrinker)
{
	int answer, changed;

	do {
		changed = 0;
		for (size_t i = 0; i < shrinker->nr_choices; i++) {
			answer = shrinker->choices[i].write == CRASH_BASE
					 ? shrink_prefix(shrinker, i)
					 : shrink_in_flight(shrinker, i);
			if (answer < 0)
				return answer;
			changed |= answer;
		}
	} while (changed);
	return 0;
}

/* Does the state given fail at all? */
static int reproduce_once(struct shrinker *shrinker, struct shrink_result *result)
{
	int answer;

	memcpy(shrinker->trial, shrinker->best, shrinker->nr_choices * sizeof(*shrinker->trial));
	answer = ask(shrinker);
	result->reproduced = answer > 0;
	return answer;
}

/* ------------------------------------------------------------------------------ outside */

static size_t count_lost(const struct shrinker *shrinker)
{
	size_t nr = 0;

	for (size_t i = 0; i < shrinker->nr_choices; i++)
		nr += shrinker->atomic == CRASH_ORDER && shrinker->choices[i].write == CRASH_BASE
			      ? shrinker->newest[i] - shrinker->best[i]
			      : shrinker->best[i] != shrinker->newest[i];
	return nr;
}

static int prepare(struct shrinker *shrinker)
{
	size_t nr = shrinker->nr_choices + 1, size = 16;

	while (size < 2 * (shrinker->max_runs + 1))
		size *= 2;
	shrinker->answers_mask = size - 1;
	shrinker->answers = calloc(size, sizeof(*shrinker->answers));
	shrinker->trial = calloc(nr, sizeof(*shrinker->trial));
	shrinker->newest = calloc(nr, sizeof(*shrinker->newest));
	shrinker->lost = calloc(nr, sizeof(*shrinker->lost));
	return shrinker->answers && shrinker->trial && shrinker->newest && shrinker->lost ? 0
											  : -ENOMEM;
}

int shrink(const struct crash *crash, const struct shrink_options *options, uint16_t *picks,
	   struct shrink_result *ret_result)
{
	struct shrinker shrinker = {
		.options = options,
		.crash = crash,
		.atomic = crash_options(crash)->atomic,
		.best = picks,
		.max_runs = options->max_runs ? options->max_runs : SHRINK_RUNS,
	};
	struct shrink_result result = { 0 };
	int err;

	shrinker.nr_choices = crash_choices(crash, &shrinker.choices);
	err = prepare(&shrinker);
	if (!err) {
		crash_newest(crash, shrinker.newest);
		result.nr_before = count_lost(&shrinker);
		err = reproduce_once(&shrinker, &result);
	}
	if (err > 0) {
		err = shrinker.atomic == CRASH_ORDER ? shrink_order(&shrinker)
						     : shrink_sets(&shrinker);
		result.minimal = !err;
	}
	if (err != -ENOMEM) {
		result.runs = shrinker.runs;
		result.nr_lost = count_lost(&shrinker);
		*ret_result = result;
	}
	free(shrinker.answers);
	free(shrinker.trial);
	free(shrinker.newest);
	free(shrinker.lost);
	return shrinker.spent ? 0 : err;
}
