// SPDX-License-Identifier: MIT
/*
 * Each write is kept with the fewest aligned runs of 2^n units that make up its range, two of each
 * size at most; a unit lies in one run of each size.
 *
 *	units	 0 1 2 3 4 5 6 7
 *	write	   [---------)		= 1, 2..3, 4..5
 */
#include "faults/crash/skipped.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/rng.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static struct crash_skipped_run **bucket_of(const struct crash_skipped *skipped, uint16_t disk,
					    unsigned int level, uint64_t number)
{
	uint64_t hash = rng_mix(number, disk, level);

	return &skipped->buckets[hash & (skipped->nr_buckets - 1)];
}

static struct crash_skipped_run **find(const struct crash_skipped *skipped, uint16_t disk,
				       unsigned int level, uint64_t number)
{
	struct crash_skipped_run **link = bucket_of(skipped, disk, level, number);

	for (; *link; link = &(*link)->next) {
		const struct crash_skipped_run *run = *link;

		if (run->number == number && run->disk == disk && run->level == level)
			break;
	}
	return link;
}

static int resize(struct crash_skipped *skipped)
{
	struct crash_skipped bigger = { .nr_buckets = skipped->nr_buckets * 2 ?: 64 };

	bigger.buckets = fail_alloc("faults/crash/skipped/buckets",
				    calloc(bigger.nr_buckets, sizeof(*bigger.buckets)));
	if (!bigger.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < skipped->nr_buckets; i++) {
		struct crash_skipped_run *run = skipped->buckets[i], *next;

		for (; run; run = next) {
			struct crash_skipped_run **bucket =
				bucket_of(&bigger, run->disk, run->level, run->number);

			next = run->next;
			run->next = *bucket;
			*bucket = run;
		}
	}
	free(skipped->buckets);
	skipped->buckets = bigger.buckets;
	skipped->nr_buckets = bigger.nr_buckets;
	return 0;
}

/* The run, made if there is none. */
static struct crash_skipped_run *get_run(struct crash_skipped *skipped, uint16_t disk,
					 unsigned int level, uint64_t number)
{
	struct crash_skipped_run **link, *run;

	if (skipped->nr_runs >= skipped->nr_buckets && resize(skipped) < 0)
		return NULL;
	link = find(skipped, disk, level, number);
	if (*link)
		return *link;
	run = fail_alloc("faults/crash/skipped/run", calloc(1, sizeof(*run)));
	if (!run)
		return NULL;
	run->number = number;
	run->disk = disk;
	run->level = (uint8_t)level;
	*link = run;
	skipped->nr_runs++;
	skipped->nr_at[level]++;
	return run;
}

static void drop_run(struct crash_skipped *skipped, struct crash_skipped_run **link)
{
	struct crash_skipped_run *run = *link;

	*link = run->next;
	skipped->nr_runs--;
	skipped->nr_at[run->level]--;
	free(run);
}

static int add_to(struct crash_skipped *skipped, uint32_t write, uint16_t disk, unsigned int level,
		  uint64_t number)
{
	struct crash_skipped_run *run = get_run(skipped, disk, level, number);
	struct crash_skipped_item *item;

	if (!run)
		return -ENOMEM;
	item = fail_alloc("faults/crash/skipped/item", malloc(sizeof(*item)));
	if (!item) {
		if (!run->first)
			drop_run(skipped, find(skipped, disk, level, number));
		return -ENOMEM;
	}
	*item = (struct crash_skipped_item){ .write = write };
	if (run->last)
		run->last->next = item;
	else
		run->first = item;
	run->last = item;
	return 0;
}

/* The oldest goes first, as a rule. */
static void drop_from(struct crash_skipped *skipped, uint32_t write, uint16_t disk,
		      unsigned int level, uint64_t number)
{
	struct crash_skipped_run **link = find(skipped, disk, level, number);
	struct crash_skipped_item *item, *before = NULL;

	if (!*link)
		return;
	for (item = (*link)->first; item && item->write != write; item = item->next)
		before = item;
	if (!item)
		return;
	if (before)
		before->next = item->next;
	else
		(*link)->first = item->next;
	if ((*link)->last == item)
		(*link)->last = before;
	free(item);
	if (!(*link)->first)
		drop_run(skipped, link);
}

/* The next run of what is left; false: nothing is. */
static bool next_run(uint64_t *from, uint64_t end, unsigned int *ret_level, uint64_t *ret_number)
{
	uint64_t left = end - *from;
	unsigned int level;

	if (*from >= end)
		return false;
	level = 63 - (unsigned int)__builtin_clzll(left);
	if (*from && (unsigned int)__builtin_ctzll(*from) < level)
		level = (unsigned int)__builtin_ctzll(*from);
	if (level >= CRASH_SKIPPED_LEVELS)
		level = CRASH_SKIPPED_LEVELS - 1;
	*ret_level = level;
	*ret_number = *from >> level;
	*from += 1ull << level;
	return true;
}

void crash_skipped_drop(struct crash_skipped *skipped, uint32_t write, uint16_t disk, uint64_t from,
			uint64_t end)
{
	unsigned int level;
	uint64_t number;

	while (skipped->nr_runs && next_run(&from, end, &level, &number))
		drop_from(skipped, write, disk, level, number);
}

int crash_skipped_add(struct crash_skipped *skipped, uint32_t write, uint16_t disk, uint64_t from,
		      uint64_t end)
{
	uint64_t at = from, number;
	unsigned int level;
	int err = 0;

	while (!err && next_run(&at, end, &level, &number))
		err = add_to(skipped, write, disk, level, number);
	if (err)
		crash_skipped_drop(skipped, write, disk, from, end);
	return err;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int note(struct crash_skipped *skipped, size_t nr, uint32_t write)
{
	if (array_room("faults/crash/skipped/found", skipped->found, skipped->room_found, nr + 1,
		       64))
		return -ENOMEM;
	skipped->found[nr] = write;
	return 0;
}

int crash_skipped_find(struct crash_skipped *skipped, uint16_t disk, uint64_t unit,
		       const uint32_t **ret_writes, size_t *ret_nr)
{
	size_t nr = 0;

	for (unsigned int level = 0; skipped->nr_runs && level < CRASH_SKIPPED_LEVELS; level++) {
		const struct crash_skipped_run *run;

		if (!skipped->nr_at[level])
			continue;
		run = *find(skipped, disk, level, unit >> level);
		for (const struct crash_skipped_item *item = run ? run->first : NULL; item;
		     item = item->next)
			if (note(skipped, nr++, item->write) < 0)
				return -ENOMEM;
	}
	if (nr > 1)
		qsort(skipped->found, nr, sizeof(*skipped->found), compare);
	*ret_writes = skipped->found;
	*ret_nr = nr;
	return 0;
}

void crash_skipped_free(struct crash_skipped *skipped)
{
	for (size_t i = 0; i < skipped->nr_buckets; i++) {
		while (skipped->buckets[i]) {
			struct crash_skipped_run *run = skipped->buckets[i];

			while (run->first) {
				struct crash_skipped_item *item = run->first;

				run->first = item->next;
				free(item);
			}
			drop_run(skipped, &skipped->buckets[i]);
		}
	}
	free(skipped->buckets);
	free(skipped->found);
	*skipped = (struct crash_skipped){ 0 };
}
