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
 *
 * Where there are more places than picks only so many of them are made, evenly.
 */
#include "faults/crash/internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------ who comes first */

/* At the place of @later (which was submitted after it): must @write be there as well? */
static bool must_precede(const struct crash *crash, uint32_t write, uint32_t later)
{
	const struct journal_write *w = &crash->journal->writes[write];

	return w->complete < crash->journal->writes[later].submit && !w->failed &&
	       !(w->false_ack && crash->options.illegal);
}

static bool is_thinned(const struct crash_disk *disk)
{
	return disk->nr_rows >= CRASH_CANDIDATES_MAX;
}

/* How many of the disk's volatile writes were submitted up to the last one that is there. */
static uint32_t place_of(const struct crash_disk *disk, uint16_t pick)
{
	if (!is_thinned(disk))
		return pick;
	return (uint32_t)((uint64_t)pick * disk->nr_rows / (CRASH_CANDIDATES_MAX - 1));
}

/* The last pick with this place, or one before it. */
static uint16_t pick_of(const struct crash_disk *disk, uint32_t place)
{
	uint64_t end = (uint64_t)(place + 1) * (CRASH_CANDIDATES_MAX - 1);

	return (uint16_t)(is_thinned(disk) ? (end + disk->nr_rows - 1) / disk->nr_rows - 1 : place);
}

/* The last write of the state on this disk; not where the place is 0. */
static uint32_t last_of(const struct crash *crash, const struct crash_disk *disk, uint32_t place)
{
	return crash->rows[disk->first_row + place - 1];
}

/* Does the choice of a write in flight mean something where its disk stops at @place? */
static bool is_free(const struct crash *crash, const struct crash_disk *disk, uint32_t write,
		    uint32_t ordinal, uint32_t place)
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

struct order_number {
	uint64_t exact; /* UINT64_MAX: too many */
	double log2;
};

static struct order_number power_of_2(uint32_t power)
{
	return (struct order_number){ power > 63 ? UINT64_MAX : 1ull << power, power };
}

static void multiply(struct order_number *number, uint64_t by)
{
	if (__builtin_mul_overflow(number->exact, by, &number->exact))
		number->exact = UINT64_MAX;
	number->log2 += log2((double)by);
}

static void add(struct order_number *number, const struct order_number *more)
{
	if (__builtin_add_overflow(number->exact, more->exact, &number->exact))
		number->exact = UINT64_MAX;
	number->log2 = add_log2(number->log2, more->log2);
}

/* In how many ways the tangle's writes may be there where its disk stops at @place. */
static uint64_t count_tangle(const struct crash *crash, const struct crash_disk *disk,
			     const struct crash_tangle *tangle, uint32_t place)
{
	uint32_t there = tangle->durable, open = 0;

	for (uint32_t i = 0; i < tangle->nr; i++) {
		uint32_t ordinal =
			there >> i & 1 ? place + 1 : ordinal_of(crash, tangle->writes[i]);

		if (is_free(crash, disk, tangle->writes[i], ordinal, place))
			open |= 1u << i;
		else if (ordinal <= place)
			there |= 1u << i;
	}
	return crash_count_turns(tangle, there, open);
}

/* For each place 2 to the number of writes in flight there, and what tangles make of theirs. */
static struct order_number count_place(const struct crash *crash, const struct crash_disk *disk,
				       uint32_t place, uint32_t nr_in_flight)
{
	struct order_number number = power_of_2(nr_in_flight);

	for (uint32_t i = 0; i < crash->nr_tangles; i++)
		if (crash->tangles[i].nr_turns && &crash->disks[crash->tangles[i].disk] == disk)
			multiply(&number, count_tangle(crash, disk, &crash->tangles[i], place));
	return number;
}

static void count_states(struct crash *crash, struct crash_disk *disk)
{
	struct order_number sum = count_place(crash, disk, 0, 0), number;
	uint32_t *flight = crash->flight, nr = 0;

	for (uint32_t i = 0; i < disk->nr_rows; i++) {
		uint32_t write = crash->rows[disk->first_row + i], kept = 0;

		for (uint32_t k = 0; k < nr; k++)
			if (!must_precede(crash, flight[k], write))
				flight[kept++] = flight[k];
		nr = kept;
		if (place_of(disk, pick_of(disk, i + 1)) == i + 1) {
			number = count_place(crash, disk, i + 1, nr);
			add(&sum, &number);
		}
		if (!(crash->writes[write] & WRITE_TANGLED))
			flight[nr++] = write;
	}
	disk->nr_states = sum.exact;
	disk->log2_states = sum.log2;
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
		count_states(crash, disk);
		if (!disk->nr_rows) {
			crash_choose_turns(crash, i);
			continue;
		}
		rows = crash->rows + disk->first_row;
		crash->choices[crash->nr_choices++] = (struct crash_choice){
			.len_bytes = disk->size_bytes,
			.disk = i,
			.newest = pick_of(disk, disk->nr_rows),
			.nr = pick_of(disk, disk->nr_rows) + 1u,
			.write = CRASH_BASE,
		};
		/* If not for the next one, then for none: they are submitted later still. */
		for (uint32_t k = 0; k + 1 < disk->nr_rows; k++)
			if (!must_precede(crash, rows[k], rows[k + 1]))
				choose_in_flight(crash, rows[k]);
		crash_choose_turns(crash, i);
	}
}

bool crash_survives_in_order(const struct crash *crash, const uint16_t *picks, uint32_t write)
{
	const struct crash_disk *disk = &crash->disks[crash->journal->writes[write].disk];
	size_t i = crash_volatile_index(crash, write);
	uint32_t place = place_of(disk, picks[disk->order_choice]);

	if (crash->ordinals[i] >= place)
		return crash->ordinals[i] == place;
	return !crash->bits[i] || !picks[crash->bits[i]] ||
	       !is_free(crash, disk, write, crash->ordinals[i], place);
}

bool crash_is_choice_in_order(const struct crash *crash, const uint16_t *picks, uint32_t write)
{
	const struct crash_disk *disk = &crash->disks[crash->journal->writes[write].disk];

	return is_free(crash, disk, write, ordinal_of(crash, write),
		       place_of(disk, picks[disk->order_choice]));
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
			picks[crash->disks[w->disk].order_choice] =
				pick_of(&crash->disks[w->disk], crash->ordinals[i]);
		else if (!w->failed && !(w->false_ack && crash->options.illegal) &&
			 w->complete < end[w->disk])
			end[w->disk] = w->complete;
	}
	for (size_t i = 0; i < crash->nr_volatiles; i++)
		if (crash->bits[i])
			picks[crash->bits[i]] = !survives[i];
}
