// SPDX-License-Identifier: MIT
/* The states of a moment one after the other, each by one name only: see crash_canonical(). */
#include "faults/crash/internal.h"

/* ------------------------------------------------------------------------------ orders */

/* The orders that the set of survivors has, each with the first that leaves the same. */
static const uint16_t *same_of(const struct crash *crash, const struct crash_tangle *tangle,
			       const uint16_t *picks)
{
	uint32_t set = tangle->durable;

	for (uint32_t i = 0; i < tangle->nr; i++)
		if (!(set >> i & 1) && crash_survives(crash, picks, tangle->writes[i]))
			set |= 1u << i;
	return tangle->same + (size_t)set * tangle->nr_turns;
}

static bool canonical_turns(const struct crash *crash, uint16_t *picks)
{
	bool was = true;

	for (uint32_t i = 0; i < crash->nr_tangles; i++) {
		const struct crash_tangle *tangle = &crash->tangles[i];
		uint16_t same;

		if (!tangle->nr_turns || !picks[tangle->choice])
			continue;
		same = same_of(crash, tangle, picks)[picks[tangle->choice]];
		was &= same == picks[tangle->choice];
		picks[tangle->choice] = same;
	}
	return was;
}

static bool next_turns(const struct crash *crash, uint16_t disk, uint16_t *picks)
{
	for (uint32_t i = 0; i < crash->nr_tangles; i++) {
		const struct crash_tangle *tangle = &crash->tangles[i];
		const uint16_t *same;

		if (!tangle->nr_turns || tangle->disk != disk)
			continue;
		same = same_of(crash, tangle, picks);
		for (uint32_t turn = picks[tangle->choice] + 1u; turn < tangle->nr_turns; turn++)
			if (same[turn] == turn) {
				picks[tangle->choice] = (uint16_t)turn;
				return true;
			}
		picks[tangle->choice] = 0;
	}
	return false;
}

/* ------------------------------------------------------------------------------ sets and orders */

/* The choices behind the disk's first. */
static size_t end_of(const struct crash *crash, const struct crash_disk *disk)
{
	size_t i = disk->order_choice;

	do
		i++;
	while (i < crash->nr_choices && crash->choices[i].write != CRASH_BASE);
	return i;
}

bool crash_canonical(const struct crash *crash, uint16_t *picks)
{
	bool was = true;

	crash_made(crash);
	for (size_t i = 0; i < crash->nr_choices && crash->options.atomic == CRASH_ORDER; i++) {
		uint32_t write = crash->choices[i].write;

		if (write == CRASH_BASE || write == CRASH_TURNS || !picks[i] ||
		    crash_is_choice_in_order(crash, picks, write))
			continue;
		picks[i] = 0;
		was = false;
	}
	return canonical_turns(crash, picks) && was;
}

/* On one disk; false: that was the last, and now it is the first again. */
static bool next_on(const struct crash *crash, uint16_t number, uint16_t *picks)
{
	const struct crash_disk *disk = &crash->disks[number];
	uint16_t *pick = &picks[disk->order_choice];

	if (next_turns(crash, number, picks))
		return true;
	if (!disk->nr_rows)
		return false;
	for (size_t i = end_of(crash, disk); --i > disk->order_choice;) {
		uint32_t write = crash->choices[i].write;

		if (write == CRASH_TURNS || !crash_is_choice_in_order(crash, picks, write))
			continue;
		picks[i] = !picks[i];
		if (picks[i])
			return true;
	}
	*pick = *pick < crash->choices[disk->order_choice].newest ? *pick + 1 : 0;
	return *pick;
}

static bool next_place(const struct crash *crash, uint16_t *picks)
{
	for (uint16_t i = 0; i < crash->journal->nr_disks; i++)
		if (next_on(crash, i, picks))
			return true;
	return false;
}

bool crash_next(const struct crash *crash, uint16_t *picks)
{
	crash_made(crash);
	if (crash->options.atomic == CRASH_ORDER)
		return next_place(crash, picks);
	for (uint16_t i = 0; i < crash->journal->nr_disks; i++)
		if (next_turns(crash, i, picks))
			return true;
	for (size_t i = 0; i < crash->nr_choices; i++) {
		if (crash->choices[i].write == CRASH_TURNS)
			continue;
		if (++picks[i] < crash->choices[i].nr)
			return true;
		picks[i] = 0;
	}
	return false;
}

bool crash_reordered(const struct crash *crash, const uint16_t *picks, size_t nr_lost)
{
	crash_made(crash);
	for (size_t i = 0; i < crash->nr_choices; i++) {
		const struct crash_choice *choice = &crash->choices[i];

		if (crash->options.atomic == CRASH_UNIT ? !nr_lost && picks[i] != choice->newest
							: choice->write == CRASH_TURNS && picks[i])
			return true;
	}
	return false;
}
