// SPDX-License-Identifier: MIT
/* One state of the moment: what it puts where, what it is called in bits, what is missing in it. */
#include "faults/crash/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------ content */

/* CRASH_WRITE, CRASH_ORDER: what the last durable or surviving write leaves; NULL: the image's. */
static const struct crash_entry *left_in(const struct crash *crash, const struct crash_unit *unit,
					 const uint16_t *picks)
{
	const struct crash_entry *left = NULL;

	for (uint32_t i = unit->nr; i-- > unit->first && !(left && !unit->tangled);) {
		const struct crash_entry *entry = &unit->entries[i];

		if (!entry->durable && !crash_survives(crash, picks, entry->write))
			continue;
		if (!left || crash_comes_later(crash, picks, entry, left))
			left = entry;
	}
	return left;
}

/* The candidate of unit @i of the undecided ones. */
static uint32_t candidate_of(const struct crash *crash, size_t i, const uint16_t *picks)
{
	const struct crash_entry *entry;

	if (crash->options.atomic == CRASH_UNIT)
		return picks[i];
	entry = left_in(crash, crash->units[i], picks);
	return entry ? entry->candidate : 0;
}

int crash_put(const struct crash *crash, const uint16_t *picks, crash_put_fn put, void *ctx)
{
	crash_made(crash);
	for (size_t i = 0; i < crash->nr_units; i++) {
		const struct crash_unit *unit = crash->units[i];
		uint32_t pick = candidate_of(crash, i, picks);
		int answer;

		assert(pick < unit->nr_candidates);
		if (!pick)
			continue;
		answer = put(ctx, unit->disk, unit_at(crash, unit), unit->candidates[pick].data,
			     unit_len(crash, unit->disk, unit->number));
		if (answer)
			return answer;
	}
	return 0;
}

uint64_t crash_hash(const struct crash *crash, const uint16_t *picks)
{
	uint64_t hash = crash->image_hash;

	crash_made(crash);
	for (size_t i = 0; i < crash->nr_units; i++) {
		const struct crash_unit *unit = crash->units[i];
		uint64_t at = unit_at(crash, unit);
		uint32_t pick = candidate_of(crash, i, picks);

		if (pick)
			hash ^= place_hash(unit->image_hash, unit->disk, at) ^
				place_hash(unit->candidates[pick].hash, unit->disk, at);
	}
	return hash;
}

/* ------------------------------------------------------------------------------ picks */

void crash_oldest(const struct crash *crash, uint16_t *picks)
{
	crash_made(crash);
	memset(picks, 0, crash->nr_choices * sizeof(*picks));
}

void crash_newest(const struct crash *crash, uint16_t *picks)
{
	crash_made(crash);
	for (size_t i = 0; i < crash->nr_choices; i++)
		picks[i] = crash->choices[i].newest;
}

static bool is_among(const struct crash *crash, const struct crash_entry *entry,
		     const bool *survives)
{
	return !entry->durable && survives[crash_volatile_index(crash, entry->write)];
}

struct surviving {
	const struct crash *crash;
	const bool *survives;
	uint64_t last; /* submit step of the last survivor */
};

/* crash_is_there_fn: what must have been there before the last survivor is there as well. */
static bool is_there_too(const void *ctx, const struct crash_unit *unit, uint32_t i)
{
	const struct surviving *surviving = ctx;
	const struct crash *crash = surviving->crash;
	const struct crash_entry *entry = &unit->entries[i];
	const struct journal_write *write = &crash->journal->writes[entry->write];

	if (entry->durable || is_among(crash, entry, surviving->survives))
		return true;
	return write->complete < surviving->last && !write->failed &&
	       !(write->false_ack && crash->options.illegal);
}

/* What is there after the entry, or after the last one before it of which that is made. */
static uint16_t made_after(const struct crash_unit *unit, const struct crash_entry *entry)
{
	while (entry > unit->entries && entry->candidate == CRASH_UNMADE)
		entry--;
	return entry->candidate == CRASH_UNMADE ? 0 : (uint16_t)entry->candidate;
}

static uint16_t survivor_in_mixed(const struct crash *crash, const struct crash_unit *unit,
				  const struct crash_entry *last, const bool *survives)
{
	struct surviving surviving = { crash, survives,
				       crash->journal->writes[last->write].submit };

	return crash_mix_find(unit, is_there_too, &surviving, made_after(unit, last));
}

static uint16_t survivor_in(const struct crash *crash, const struct crash_unit *unit,
			    const bool *survives)
{
	const struct crash_entry *last = NULL;
	bool any = false;

	for (uint32_t i = unit->nr; i-- > unit->first;) {
		const struct crash_entry *entry = &unit->entries[i];
		bool among = is_among(crash, entry, survives);

		if (among && unit->mix)
			return survivor_in_mixed(crash, unit, entry, survives);
		any |= among;
		if (!last && (among || entry->durable))
			last = entry;
	}
	return any ? made_after(unit, last) : 0;
}

void crash_survivors(const struct crash *crash, const bool *survives, uint16_t *picks)
{
	crash_made(crash);
	switch (crash->options.atomic) {
	case CRASH_UNIT:
		for (size_t i = 0; i < crash->nr_units; i++)
			picks[i] = survivor_in(crash, crash->units[i], survives);
		break;
	case CRASH_WRITE:
		memset(picks, 0, crash->nr_choices * sizeof(*picks));
		for (size_t i = 0; i < crash->nr_volatiles; i++)
			picks[i] = survives[i];
		break;
	case CRASH_ORDER:
		crash_survivors_in_order(crash, survives, picks);
		crash_canonical(crash, picks);
		break;
	}
}

/* From the last back to the one that is there. */
static void lost_in(const struct crash *crash, size_t i, const uint16_t *picks, bool *lost)
{
	const struct crash_unit *unit = crash->units[i];
	bool by_content = crash->options.atomic == CRASH_UNIT || unit->tangled;
	uint32_t left = by_content ? candidate_of(crash, i, picks) : CRASH_UNMADE;

	for (uint32_t k = unit->nr; k-- > unit->first;) {
		const struct crash_entry *entry = &unit->entries[k];
		bool there = entry->candidate == left ||
			     (crash->options.atomic != CRASH_UNIT &&
			      (entry->durable || crash_survives(crash, picks, entry->write)));

		if (there)
			return;
		if (!entry->durable)
			lost[crash_volatile_index(crash, entry->write)] = true;
	}
}

static void lost_in_mixed(const struct crash *crash, size_t i, const uint16_t *picks, bool *lost)
{
	const struct crash_unit *unit = crash->units[i];

	for (uint32_t k = 0; k < unit->nr; k++)
		if (!unit->entries[k].durable && crash_mix_lacks(unit, k, picks[i]))
			lost[crash_volatile_index(crash, unit->entries[k].write)] = true;
}

void crash_lost(const struct crash *crash, const uint16_t *picks, bool *lost)
{
	crash_made(crash);
	memset(lost, 0, crash->nr_volatiles * sizeof(*lost));
	for (size_t i = 0; i < crash->nr_units; i++)
		if (crash->units[i]->mix)
			lost_in_mixed(crash, i, picks, lost);
		else
			lost_in(crash, i, picks, lost);
}

/* ------------------------------------------------------------------------------ counting */

#define FACTORS_MAX 8

struct factors {
	uint64_t base[FACTORS_MAX];
	uint32_t nr[FACTORS_MAX];
	unsigned int nr_bases; /* may be more than there is room for */
};

static void add_factor(struct factors *factors, uint64_t base)
{
	unsigned int i = 0;

	while (i < factors->nr_bases && i < FACTORS_MAX && factors->base[i] != base)
		i++;
	if (i == FACTORS_MAX) {
		factors->nr_bases = FACTORS_MAX + 1;
		return;
	}
	factors->nr[i]++;
	if (i == factors->nr_bases) {
		factors->base[factors->nr_bases++] = base;
		factors->nr[i] = 1;
	}
}

/* By base, ascending. */
static void sort_factors(struct factors *factors)
{
	for (unsigned int i = 1; i < factors->nr_bases; i++) {
		for (unsigned int k = i; k && factors->base[k] < factors->base[k - 1]; k--) {
			uint64_t base = factors->base[k];
			uint32_t nr = factors->nr[k];

			factors->base[k] = factors->base[k - 1];
			factors->nr[k] = factors->nr[k - 1];
			factors->base[k - 1] = base;
			factors->nr[k - 1] = nr;
		}
	}
}

static void write_count(struct factors *factors, struct crash_count *count)
{
	size_t at = 0;

	if (factors->nr_bases > FACTORS_MAX) {
		snprintf(count->text, sizeof(count->text), "about 2^%.1f", count->log2);
		return;
	}
	sort_factors(factors);
	snprintf(count->text, sizeof(count->text), "1");
	for (unsigned int i = 0; i < factors->nr_bases; i++) {
		at += (size_t)snprintf(count->text + at, sizeof(count->text) - at, "%s%" PRIu64,
				       i ? " x " : "", factors->base[i]);
		if (factors->nr[i] > 1 && at < sizeof(count->text))
			at += (size_t)snprintf(count->text + at, sizeof(count->text) - at, "^%u",
					       factors->nr[i]);
		if (at < sizeof(count->text))
			continue;
		snprintf(count->text, sizeof(count->text), "about 2^%.1f", count->log2);
		return;
	}
}

static void count_factor(struct factors *factors, struct crash_count *count, uint64_t factor,
			 double log_2)
{
	if (factor == 1)
		return;
	add_factor(factors, factor);
	/* It has no number: the list is too long, too. */
	if (factor == UINT64_MAX)
		factors->nr_bases = FACTORS_MAX + 1;
	count->log2 += log_2;
	if (__builtin_mul_overflow(count->exact, factor, &count->exact))
		count->exact = UINT64_MAX;
}

/* Tangles with the sets of their writes; each other choice by itself. */
static void count_choices(const struct crash *crash, struct factors *factors,
			  struct crash_count *count)
{
	for (size_t i = 0; i < crash->nr_choices; i++) {
		const struct crash_choice *choice = &crash->choices[i];

		if (choice->write == CRASH_TURNS ||
		    (choice->write != CRASH_BASE && crash->writes[choice->write] & WRITE_TANGLED))
			continue;
		count_factor(factors, count, choice->nr, log2(choice->nr));
	}
	for (uint32_t i = 0; i < crash->nr_tangles; i++) {
		const struct crash_tangle *tangle = &crash->tangles[i];
		uint32_t all = (1u << tangle->nr) - 1;
		uint64_t factor;

		if (!tangle->nr_turns)
			continue;
		factor = crash_count_turns(tangle, tangle->durable, all & ~tangle->durable);
		count_factor(factors, count, factor, log2((double)factor));
	}
}

void crash_count(const struct crash *crash, struct crash_count *ret_count)
{
	struct factors factors = { .nr_bases = 0 };

	*ret_count = (struct crash_count){ .exact = 1 };
	crash_made(crash);
	if (crash->options.atomic != CRASH_ORDER)
		count_choices(crash, &factors, ret_count);
	for (uint32_t i = 0; i < crash->journal->nr_disks; i++)
		if (crash->options.atomic == CRASH_ORDER)
			count_factor(&factors, ret_count, crash->disks[i].nr_states,
				     crash->disks[i].log2_states);
	ret_count->missing = crash->missing;
	write_count(&factors, ret_count);
}
