// SPDX-License-Identifier: MIT
/*
 * A disk that keeps an order (CRASH_ORDER), whichever order it was: that of execution, which lies
 * for each write between its submission and its completion.
 *
 * What is left is a set of writes with each one that had completed before some other of the set was
 * submitted. Such a set is told by its last submitted write, and by which of those in flight at that
 * submission are missing; so a disk has a choice of the place to stop, the number of its volatile
 * writes up to that one, and one more for each write that was in flight when a later one came:
 *
 *	submitted   complete
 *	   1 |---------|		stop at 1: 1		stop at 3: 1 2 3, or 2 3
 *	   2     |--------------|	stop at 2: 1 2, or 2	(1 is before 3; without 2: 1 3)
 *	   3              |-----|
 *
 * A place behind which a write is not in flight, or at or before the write itself, leaves its
 * choice without meaning: it is 0 then, so that each set has one name. crash_next() knows no others.
 */
#include "faults/crash_inside.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------ who comes first */

/* At the place of @later (which was submitted after it): must @write be there as well? */
static bool must_precede(const struct crash *crash, uint32_t write, uint32_t later)
{
	const struct journal_write *w = &crash->journal->writes[write];

	return w->complete < crash->journal->writes[later].submit && !w->failed &&
	       !(w->lied && crash->options.illegal);
}

/* The last write of the state on this disk; not where the place is 0. */
static uint32_t last_of(const struct crash *crash, const struct crash_disk *disk, uint16_t place)
{
	return crash->rows[disk->first_row + place - 1];
}

/* Does the choice of a write in flight mean something where its disk stops at @place? */
static bool is_free(const struct crash *crash, const struct crash_disk *disk, uint32_t write,
		    uint32_t ordinal, uint16_t place)
{
	return ordinal < place && !must_precede(crash, write, last_of(crash, disk, place));
}

static uint32_t ordinal_of(const struct crash *crash, uint32_t write)
{
	return crash->ordinals[crash_volatile_index(crash, write)];
}

/* ------------------------------------------------------------------------------ counting */

/* log2(2^a + 2^b) */
static double add_log2(double a, double b)
{
	return a > b ? a + log2(1 + exp2(b - a)) : b + log2(1 + exp2(a - b));
}

/* For each place 2 to the number of writes in flight there; and 1 for nothing. */
static void count_states(struct crash *crash, struct crash_disk *disk)
{
	uint32_t *flight = crash->flight, nr = 0;
	double log_2 = 0;
	uint64_t exact = 1;

	for (uint32_t i = 0; i < disk->nr_rows; i++) {
		uint32_t write = crash->rows[disk->first_row + i], kept = 0;

		for (uint32_t k = 0; k < nr; k++)
			if (!must_precede(crash, flight[k], write))
				flight[kept++] = flight[k];
		nr = kept;
		if (exact == UINT64_MAX || nr > 63 ||
		    __builtin_add_overflow(exact, 1ull << nr, &exact))
			exact = UINT64_MAX;
		log_2 = add_log2(log_2, nr);
		flight[nr++] = write;
	}
	disk->nr_states = exact;
	disk->log2_states = log_2;
}

/* ------------------------------------------------------------------------------ the choices */

/* Volatile writes by disk. */
static void make_rows(struct crash *crash)
{
	uint32_t nr[JOURNAL_DISKS_MAX] = { 0 }, first = 0;

	for (size_t i = 0; i < crash->nr_volatiles; i++) {
		crash->ordinals[i] = ++nr[crash->journal->writes[crash->volatiles[i]].disk];
		crash->bits[i] = 0;
	}
	for (uint32_t i = 0; i < crash->journal->nr_disks; i++) {
		crash->disks[i].first_row = first;
		crash->disks[i].nr_rows = nr[i];
		first += nr[i];
	}
	for (size_t i = 0; i < crash->nr_volatiles; i++) {
		uint32_t write = crash->volatiles[i];
		const struct crash_disk *disk = &crash->disks[crash->journal->writes[write].disk];

		crash->rows[disk->first_row + crash->ordinals[i] - 1] = write;
	}
}

static void choose_in_flight(struct crash *crash, uint32_t write)
{
	const struct journal_write *w = &crash->journal->writes[write];

	crash->bits[crash_volatile_index(crash, write)] = (uint32_t)crash->nr_choices;
	crash->choices[crash->nr_choices++] = (struct crash_choice){
		.at = w->at,
		.len_bytes = w->len_bytes,
		.disk = w->disk,
		.nr = 2,
		.write = write,
	};
}

void crash_choose_orders(struct crash *crash)
{
	make_rows(crash);
	crash->nr_choices = 0;
	for (uint16_t i = 0; i < crash->journal->nr_disks; i++) {
		struct crash_disk *disk = &crash->disks[i];
		const uint32_t *rows;

		disk->order_choice = (uint32_t)crash->nr_choices;
		if (!disk->nr_rows)
			continue;
		rows = crash->rows + disk->first_row;
		crash->choices[crash->nr_choices++] = (struct crash_choice){
			.len_bytes = disk->size_bytes,
			.disk = i,
			.newest = (uint16_t)disk->nr_rows,
			.nr = disk->nr_rows + 1,
			.write = CRASH_BASE,
		};
		count_states(crash, disk);
		/* If not for the next one, then for none: they are submitted later still. */
		for (uint32_t k = 0; k + 1 < disk->nr_rows; k++)
			if (!must_precede(crash, rows[k], rows[k + 1]))
				choose_in_flight(crash, rows[k]);
	}
}

bool crash_survives_in_order(const struct crash *crash, const uint16_t *picks, uint32_t write)
{
	const struct crash_disk *disk = &crash->disks[crash->journal->writes[write].disk];
	size_t i = crash_volatile_index(crash, write);
	uint16_t place = picks[disk->order_choice];

	if (crash->ordinals[i] >= place)
		return crash->ordinals[i] == place;
	return !crash->bits[i] || !picks[crash->bits[i]] ||
	       !is_free(crash, disk, write, crash->ordinals[i], place);
}

/* ------------------------------------------------------------------------------ one name each */

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
	if (crash->options.atomic != CRASH_ORDER)
		return true;
	for (size_t i = 0; i < crash->nr_choices; i++) {
		const struct crash_choice *choice = &crash->choices[i];
		const struct crash_disk *disk = &crash->disks[choice->disk];
		uint16_t place = picks[disk->order_choice];

		if (choice->write == CRASH_BASE || !picks[i])
			continue;
		if (is_free(crash, disk, choice->write, ordinal_of(crash, choice->write), place))
			continue;
		picks[i] = 0;
		was = false;
	}
	return was;
}

/* On one disk; false: that was the last, and now it is the first again. */
static bool next_on(const struct crash *crash, const struct crash_disk *disk, uint16_t *picks)
{
	uint16_t *place = &picks[disk->order_choice];

	for (size_t i = end_of(crash, disk); --i > disk->order_choice;) {
		uint32_t write = crash->choices[i].write;

		if (!is_free(crash, disk, write, ordinal_of(crash, write), *place))
			continue;
		picks[i] = !picks[i];
		if (picks[i])
			return true;
	}
	*place = *place < disk->nr_rows ? *place + 1 : 0;
	return *place;
}

static bool next_place(const struct crash *crash, uint16_t *picks)
{
	for (uint32_t i = 0; i < crash->journal->nr_disks; i++)
		if (crash->disks[i].nr_rows && next_on(crash, &crash->disks[i], picks))
			return true;
	return false;
}

bool crash_next(const struct crash *crash, uint16_t *picks)
{
	crash_made(crash);
	if (crash->options.atomic == CRASH_ORDER)
		return next_place(crash, picks);
	for (size_t i = 0; i < crash->nr_choices; i++) {
		if (++picks[i] < crash->choices[i].nr)
			return true;
		picks[i] = 0;
	}
	return false;
}

/* ------------------------------------------------------------------------------ survivors */

/* A lost write that had completed ends it: what was submitted later was done later. */
void crash_survivors_in_order(const struct crash *crash, const bool *survives, uint16_t *picks)
{
	uint64_t end[JOURNAL_DISKS_MAX];

	memset(end, 0xff, sizeof(end));
	memset(picks, 0, crash->nr_choices * sizeof(*picks));
	for (size_t i = 0; i < crash->nr_volatiles; i++) {
		const struct journal_write *w = &crash->journal->writes[crash->volatiles[i]];

		if (w->submit > end[w->disk])
			continue;
		if (survives[i])
			picks[crash->disks[w->disk].order_choice] = (uint16_t)crash->ordinals[i];
		else if (!w->failed && !(w->lied && crash->options.illegal) &&
			 w->complete < end[w->disk])
			end[w->disk] = w->complete;
	}
	for (size_t i = 0; i < crash->nr_volatiles; i++)
		if (crash->bits[i])
			picks[crash->bits[i]] = !survives[i];
	crash_canonical(crash, picks);
}
