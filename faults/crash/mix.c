// SPDX-License-Identifier: MIT
/*
 * A unit of which writes cover only a part: all versions of it that a disk may have held.
 *
 * A version is what a set of the writes to the unit leaves, carried out in some order. In the set
 * is whatever is durable, and whatever had completed before another one of the set was submitted.
 * The order is any in which each write comes after those that had completed before it was submitted.
 * So a write was carried out at some time between its submission and its completion, and the
 * version was there at some time since the last moment at which it was made durable.
 *
 *	sector 1   |===w1==========		versions, sectors 1 and 2, of what was ".." before:
 *	sector 2       |==w2==|			..  1.  .2  12
 *	           ------------------> time
 *
 * A version is told by the last writer of each part of the unit (parts lie between the borders of
 * writes). They are found part by part. Given the last submitted write of the set, all that must be
 * in it is known; a part's last writer is one of these that is followed by no other there, or one in
 * flight at that submission. These writers of the parts so far are possible together if there are
 * times for them: each after the submission of all in the set that cover a part where it is last,
 * and after those that are last elsewhere; and before its own completion. What is possible so far
 * can always be completed (by the order that these times give), so no path of the search is in vain.
 *
 * Where no two writes were in flight together and none failed, the versions are those after each
 * write, and no search is made.
 */
#include "faults/crash/internal.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX  64u
#define FOUND_MAX  1024u       /* versions besides those after each write, in submission order */
#define FOUND_ROOM (16u << 20) /* of their contents together, but at least so many: */
#define FOUND_MIN  16u
/* Versions after each write: so many, or fewer where their contents are large, but so many: */
#define TURNS_MAX  60000u
#define TURNS_ROOM (256u << 20)
#define TURNS_MIN  256u
#define TRIES_MAX  (1u << 16) /* of a part's writer */
#define BASE       UINT32_MAX /* no write: what is in the image */

/* What is looked for in one unit; entries are meant by their numbers. */
struct mix_search {
	const struct crash *crash;
	struct crash_unit *unit;
	struct crash_mix *mix;
	uint32_t len;
	uint32_t room, found_max, turns_max;
	uint32_t *table, mask; /* candidates by their hashes; UINT32_MAX: none */
	uint32_t tries;
	bool spent; /* there may be more */
	/* Of the set with a certain last submitted write: */
	uint32_t last_write; /* it */
	bool *must, *may;
	uint64_t *last_submit; /* of those that must be there, for each part */
	uint32_t *writers;
};

static const struct journal_write *write_of(const struct mix_search *search, uint32_t entry)
{
	return &search->crash->journal->writes[search->unit->entries[entry].write];
}

static bool covers(const struct mix_search *search, uint32_t entry, uint32_t part)
{
	const struct crash_entry *e = &search->unit->entries[entry];

	return e->from <= search->mix->borders[part] && e->to > search->mix->borders[part];
}

/* ------------------------------------------------------------------------------ contents */

static void copy_part(const struct mix_search *search, unsigned char *to, uint32_t part)
{
	uint32_t from = search->mix->borders[part], end = search->mix->borders[part + 1];
	const struct crash_unit *unit = search->unit;

	if (search->writers[part] != BASE)
		crash_put_entry(to, &unit->entries[search->writers[part]], from, end);
	else if (unit->image_hash)
		memcpy(to + from,
		       search->crash->disks[unit->disk].bytes + unit_at(search->crash, unit) + from,
		       end - from);
	else
		memset(to + from, 0, end - from);
}

static int grow(struct mix_search *search)
{
	uint32_t room = search->room;

	if (array_room("faults/crash/mix/candidates", search->unit->candidates, room, room + 1ull,
		       8) ||
	    array_fit("faults/crash/mix/writers", search->mix->writers,
		      (size_t)room * search->mix->nr_parts))
		return -ENOMEM;
	search->room = room;
	return 0;
}

/* Where it is in the table, or where it belongs. */
static uint32_t *find(const struct mix_search *search, const unsigned char *content, uint64_t hash)
{
	const struct crash_candidate *candidates = search->unit->candidates;
	uint32_t slot = (uint32_t)hash & search->mask, i;

	for (; (i = search->table[slot]) != UINT32_MAX; slot = (slot + 1) & search->mask)
		if (candidates[i].hash == hash &&
		    (!hash || !memcmp(candidates[i].data, content, search->len)))
			break;
	return &search->table[slot];
}

/* Room for one more content; it is taken by ++mix->nr_contents. */
static unsigned char *next_content(struct mix_search *search)
{
	struct crash_mix *mix = search->mix;
	uint32_t first = 4 * ((1u << mix->nr_chunks) - 1);

	if (mix->nr_contents == first) {
		assert(mix->nr_chunks < array_size(mix->chunks));
		mix->chunks[mix->nr_chunks] =
			fail_alloc("faults/crash/mix/contents",
				   malloc((4ull << mix->nr_chunks) * search->len));
		if (!mix->chunks[mix->nr_chunks])
			return NULL;
		mix->nr_chunks++;
	}
	first = 4 * ((1u << (mix->nr_chunks - 1)) - 1);
	return mix->chunks[mix->nr_chunks - 1] + (size_t)(mix->nr_contents - first) * search->len;
}

/* The version that the writers leave: the number of the candidate, perhaps a new one. */
static int add(struct mix_search *search, uint32_t *ret_candidate)
{
	struct crash_unit *unit = search->unit;
	unsigned char *content = next_content(search);
	uint32_t *found;
	uint64_t hash;

	if (!content)
		return -ENOMEM;
	for (uint32_t part = 0; part < search->mix->nr_parts; part++)
		copy_part(search, content, part);
	hash = crash_content_hash(content, search->len);
	found = find(search, content, hash);
	*ret_candidate = *found;
	if (*found != UINT32_MAX)
		return 0;
	if (unit->nr_candidates == search->room && grow(search) < 0)
		return -ENOMEM;
	memcpy(search->mix->writers + (size_t)unit->nr_candidates * search->mix->nr_parts,
	       search->writers, search->mix->nr_parts * sizeof(*search->writers));
	search->mix->nr_contents += hash != 0;
	*found = *ret_candidate = unit->nr_candidates;
	unit->candidates[unit->nr_candidates++] = (struct crash_candidate){
		.data = hash ? content : NULL, .hash = hash, .write = search->last_write
	};
	return 0;
}

/* ------------------------------------------------------------------------------ after each write */

/* All that is durable, and of the others those before the first. */
static void begin_turns(struct mix_search *search)
{
	for (uint32_t part = 0; part < search->mix->nr_parts; part++)
		search->writers[part] = BASE;
	for (uint32_t i = 0; i < search->unit->nr; i++)
		for (uint32_t part = 0; part < search->mix->nr_parts; part++)
			if (search->unit->entries[i].durable && covers(search, i, part))
				search->writers[part] = i;
}

/* And this one: durable ones that were submitted later are over it. */
static void take_turn(struct mix_search *search, uint32_t entry)
{
	for (uint32_t part = 0; part < search->mix->nr_parts; part++)
		if (covers(search, entry, part) &&
		    (search->writers[part] == BASE || search->writers[part] < entry))
			search->writers[part] = entry;
}

/* Of many writes the last, and so many of the others, evenly. */
static bool is_made(const struct mix_search *search, uint32_t entry)
{
	uint64_t nr = search->unit->nr;

	return nr <= search->turns_max || entry == nr - 1 ||
	       entry * (uint64_t)(search->turns_max - 1) / nr !=
		       (entry + 1) * (uint64_t)(search->turns_max - 1) / nr;
}

static int add_in_turn(struct mix_search *search)
{
	struct crash_unit *unit = search->unit;

	begin_turns(search);
	for (uint32_t i = 0; i < unit->nr; i++) {
		uint32_t candidate;

		unit->entries[i].candidate = CRASH_UNMADE;
		take_turn(search, i);
		if (!is_made(search, i))
			continue;
		search->last_write = unit->entries[i].write;
		if (add(search, &candidate) < 0)
			return -ENOMEM;
		unit->entries[i].candidate = candidate;
		/* The later one that leaves it: so that less is lost. */
		memcpy(search->mix->writers + (size_t)candidate * search->mix->nr_parts,
		       search->writers, search->mix->nr_parts * sizeof(*search->writers));
		if (candidate)
			unit->candidates[candidate].write = unit->entries[i].write;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ is it possible? */

/* The writers of parts [0, @nr), each once. */
static uint32_t list_writers(const struct mix_search *search, uint32_t nr, uint32_t *list)
{
	uint32_t nr_listed = 0;

	for (uint32_t part = 0; part < nr; part++) {
		uint32_t i = 0;

		while (i < nr_listed && list[i] != search->writers[part])
			i++;
		if (i == nr_listed && search->writers[part] != BASE)
			list[nr_listed++] = search->writers[part];
	}
	return nr_listed;
}

/* Must @before have been carried out before @after, which is the last in some part? */
static bool must_follow(const struct mix_search *search, uint32_t nr, uint32_t before,
			uint32_t after)
{
	for (uint32_t part = 0; part < nr; part++)
		if (search->writers[part] == after && covers(search, before, part))
			return true;
	return false;
}

/* The earliest time of a writer, but for the other writers. */
static uint64_t earliest(const struct mix_search *search, uint32_t nr, uint32_t writer)
{
	uint64_t time = write_of(search, writer)->submit;

	for (uint32_t part = 0; part < nr; part++)
		if (search->writers[part] == writer && search->last_submit[part] > time)
			time = search->last_submit[part];
	return time;
}

/* One after the other gets its time, as all that it must follow have theirs. */
static bool have_times(const struct mix_search *search, uint32_t nr, const uint32_t *list,
		       uint32_t nr_writers)
{
	uint64_t times[PARTS_MAX];
	bool done[PARTS_MAX] = { false };
	uint32_t nr_done = 0, before;

	do {
		before = nr_done;
		for (uint32_t i = 0; i < nr_writers; i++) {
			bool ready = !done[i];
			uint64_t time = ready ? earliest(search, nr, list[i]) : 0;

			for (uint32_t k = 0; k < nr_writers && ready; k++) {
				if (k == i || !must_follow(search, nr, list[k], list[i]))
					continue;
				ready = done[k];
				if (ready && times[k] > time)
					time = times[k];
			}
			if (!ready)
				continue;
			if (time >= write_of(search, list[i])->complete)
				return false;
			times[i] = time;
			done[i] = true;
			nr_done++;
		}
	} while (nr_done > before);
	return nr_done == nr_writers;
}

/* Can the writers of parts [0, @nr) be the last there, all of them? */
static bool is_possible(const struct mix_search *search, uint32_t nr)
{
	uint32_t list[PARTS_MAX];
	uint32_t nr_writers = list_writers(search, nr, list);

	for (uint32_t part = 0; part < nr; part++)
		for (uint32_t i = 0; i < nr_writers && search->writers[part] == BASE; i++)
			if (covers(search, list[i], part))
				return false;
	return have_times(search, nr, list, nr_writers);
}

/* ------------------------------------------------------------------------------ the search */

/* Of those that must be there, another one comes after it in this part, whatever the order. */
static bool is_followed(const struct mix_search *search, uint32_t entry, uint32_t part)
{
	return search->last_submit[part] > write_of(search, entry)->complete;
}

/* Complete versions, whose first parts are decided. */
static int search_from(struct mix_search *search, uint32_t part)
{
	bool any = false;
	uint32_t candidate;
	int err = 0;

	if (part == search->mix->nr_parts)
		return add(search, &candidate);
	for (uint32_t i = search->unit->nr; i-- > 0 && !err;) {
		any |= search->must[i] && covers(search, i, part);
		if (!(search->must[i] || search->may[i]) || !covers(search, i, part) ||
		    is_followed(search, i, part))
			continue;
		if (search->spent)
			return 0;
		search->writers[part] = i;
		search->spent = ++search->tries >= TRIES_MAX ||
				search->unit->nr_candidates >= search->found_max;
		if (is_possible(search, part + 1))
			err = search_from(search, part + 1);
	}
	search->writers[part] = BASE;
	if (!err && !any && !search->spent && is_possible(search, part + 1))
		err = search_from(search, part + 1);
	return err;
}

static bool is_done(const struct mix_search *search, uint32_t entry)
{
	const struct journal_write *write = write_of(search, entry);

	return write->complete <= search->crash->step && !write->failed &&
	       !(write->false_ack && search->crash->options.illegal);
}

/* All versions whose last submitted write was submitted at @submit: @last, or a durable one. */
static int search_up_to(struct mix_search *search, uint32_t last, uint64_t submit)
{
	memset(search->last_submit, 0, search->mix->nr_parts * sizeof(*search->last_submit));
	for (uint32_t i = 0; i < search->unit->nr; i++) {
		const struct journal_write *write = write_of(search, i);

		search->must[i] = i == last || search->unit->entries[i].durable ||
				  (is_done(search, i) && write->complete < submit);
		search->may[i] = !search->must[i] && write->submit < submit;
		if (search->must[i] || search->may[i])
			search->last_write = search->unit->entries[i].write;
		for (uint32_t part = 0; part < search->mix->nr_parts && search->must[i]; part++)
			if (covers(search, i, part) && write->submit > search->last_submit[part])
				search->last_submit[part] = write->submit;
	}
	return search_from(search, 0);
}

static int search_all(struct mix_search *search)
{
	struct crash_unit *unit = search->unit;
	uint64_t durable = 0;
	int err;

	for (uint32_t i = 0; i < unit->nr; i++)
		if (unit->entries[i].durable && write_of(search, i)->submit > durable)
			durable = write_of(search, i)->submit;
	err = search_up_to(search, UINT32_MAX, durable);
	for (uint32_t i = 0; i < unit->nr && !err && !search->spent; i++)
		if (!unit->entries[i].durable && write_of(search, i)->submit > durable)
			err = search_up_to(search, i, write_of(search, i)->submit);
	return err;
}

/* Can there be other versions than those after each write? */
static bool is_in_turn(const struct mix_search *search)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < search->unit->nr; i++) {
		const struct journal_write *write = write_of(search, i);

		if (write->submit < end || (i + 1 < search->unit->nr && !is_done(search, i)))
			return false;
		end = write->complete;
	}
	return true;
}

/* ------------------------------------------------------------------------------ parts */

static int compare_borders(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int make_borders(struct mix_search *search)
{
	const struct crash_unit *unit = search->unit;
	_cleanup_free_ uint32_t *all =
		fail_alloc("faults/crash/mix/borders", calloc(2 * unit->nr + 2, sizeof(*all)));
	struct crash_mix *mix = search->mix;
	uint32_t nr = 2;

	if (!all)
		return -ENOMEM;
	all[1] = search->len;
	for (uint32_t i = 0; i < unit->nr; i++) {
		all[nr++] = unit->entries[i].from;
		all[nr++] = unit->entries[i].to;
	}
	qsort(all, nr, sizeof(*all), compare_borders);
	mix->nr_parts = 0;
	for (uint32_t i = 0; i < nr; i++)
		if (!i || all[i] != all[i - 1])
			all[mix->nr_parts++] = all[i];
	mix->borders =
		fail_alloc("faults/crash/mix/parts", malloc(mix->nr_parts * sizeof(*mix->borders)));
	if (!mix->borders)
		return -ENOMEM;
	memcpy(mix->borders, all, mix->nr_parts * sizeof(*mix->borders));
	mix->nr_parts--;
	return 0;
}

void crash_unmix(struct crash_unit *unit)
{
	if (!unit->mix)
		return;
	while (unit->mix->nr_chunks)
		free(unit->mix->chunks[--unit->mix->nr_chunks]);
	unit->nr_candidates = 0;
	free(unit->mix->borders);
	free(unit->mix->writers);
	free(unit->mix);
	unit->mix = NULL;
}

/* ------------------------------------------------------------------------------ the unit */

/* Less than half full. */
static int make_table(struct mix_search *search)
{
	const struct crash_candidate *first = &search->unit->candidates[0];
	size_t nr = 16;

	while (nr < 2 * (size_t)search->found_max + 2)
		nr *= 2;
	search->table = fail_alloc("faults/crash/mix/table", malloc(nr * sizeof(*search->table)));
	if (!search->table)
		return -ENOMEM;
	memset(search->table, 0xff, nr * sizeof(*search->table));
	search->mask = (uint32_t)(nr - 1);
	search->table[(uint32_t)first->hash & search->mask] = 0;
	return 0;
}

static int start(struct mix_search *search)
{
	struct crash_unit *unit = search->unit;
	uint32_t most = FOUND_ROOM / search->len, turns = TURNS_ROOM / search->len, nr_parts;
	int err;

	search->mix = unit->mix = fail_alloc("faults/crash/mix/mix", calloc(1, sizeof(*unit->mix)));
	err = unit->mix ? make_borders(search) : -ENOMEM;
	if (err)
		return err;
	nr_parts = unit->mix->nr_parts;
	most = most < FOUND_MIN ? FOUND_MIN : most < FOUND_MAX ? most : FOUND_MAX;
	turns = turns < TURNS_MIN ? TURNS_MIN : turns < TURNS_MAX ? turns : TURNS_MAX;
	search->turns_max = turns;
	search->found_max = 1 + most + (unit->nr < turns ? unit->nr : turns);
	if (make_table(search) < 0)
		return -ENOMEM;
	search->must = fail_alloc("faults/crash/mix/must", calloc(unit->nr, sizeof(bool)));
	search->may = fail_alloc("faults/crash/mix/may", calloc(unit->nr, sizeof(bool)));
	search->last_submit = fail_alloc("faults/crash/mix/submits",
					 calloc(nr_parts, sizeof(*search->last_submit)));
	search->writers =
		fail_alloc("faults/crash/mix/last", calloc(nr_parts, sizeof(*search->writers)));
	if (!search->must || !search->may || !search->last_submit || !search->writers)
		return -ENOMEM;
	unit->mix->writers =
		fail_alloc("faults/crash/mix/first",
			   malloc((size_t)search->room * nr_parts * sizeof(*unit->mix->writers)));
	return unit->mix->writers ? 0 : -ENOMEM;
}

static int find_versions(struct mix_search *search)
{
	int err = start(search);

	if (!err)
		err = add_in_turn(search);
	if (err)
		return err;
	search->mix->missing = search->unit->nr > search->turns_max;
	if (is_in_turn(search))
		return 0;
	search->spent = search->mix->nr_parts > PARTS_MAX || search->mix->missing;
	if (!search->spent)
		err = search_all(search);
	search->mix->missing = search->spent;
	return err;
}

int crash_mix(struct crash *crash, struct crash_unit *unit)
{
	struct mix_search search = {
		.crash = crash,
		.unit = unit,
		.len = unit_len(crash, unit->disk, unit->number),
		.room = unit->room + 1,
	};
	int err;

	unit->candidates[0] = (struct crash_candidate){
		.data = unit->image_hash ? crash->disks[unit->disk].bytes + unit_at(crash, unit)
					 : NULL,
		.hash = unit->image_hash,
		.write = CRASH_BASE,
	};
	unit->nr_candidates = 1;
	err = find_versions(&search);
	free(search.table);
	free(search.must);
	free(search.may);
	free(search.last_submit);
	free(search.writers);
	if (err) {
		crash_unmix(unit);
		return err;
	}
	unit->first = unit->nr_candidates > 1 ? 0 : unit->nr;
	unit->stale = false;
	return 0;
}

/* ------------------------------------------------------------------------------ what is asked */

static bool is_in(const struct crash_mix *mix, const struct crash_entry *entry, uint32_t part)
{
	return entry->from <= mix->borders[part] && entry->to > mix->borders[part];
}

bool crash_mix_lacks(const struct crash_unit *unit, uint32_t entry, uint16_t candidate)
{
	const struct crash_mix *mix = unit->mix;
	const uint32_t *writers = mix->writers + (size_t)candidate * mix->nr_parts;

	for (uint32_t part = 0; part < mix->nr_parts; part++)
		if (is_in(mix, &unit->entries[entry], part) &&
		    (writers[part] == BASE || writers[part] < entry))
			return true;
	return false;
}

/* The last in the part of those that are there, all in order of submission. */
static uint32_t writer_among(const struct crash_unit *unit, uint32_t part, crash_is_there_fn there,
			     const void *ctx)
{
	for (uint32_t i = unit->nr; i-- > 0;)
		if (is_in(unit->mix, &unit->entries[i], part) && there(ctx, unit, i))
			return i;
	return BASE;
}

/* Does the candidate hold in this part what the writer, or the image, has there? */
static bool holds(const struct crash_unit *unit, const struct crash_candidate *candidate,
		  uint32_t part, uint32_t writer)
{
	uint32_t from = unit->mix->borders[part], end = unit->mix->borders[part + 1];
	const struct crash_entry *entry = &unit->entries[writer == BASE ? 0 : writer];
	const unsigned char *data = unit->candidates[0].data;

	if (writer != BASE)
		data = entry->data ? entry->data - entry->from : NULL;
	if (candidate->data && data)
		return !memcmp(candidate->data + from, data + from, end - from);
	if (!candidate->data && !data)
		return true;
	data = candidate->data ? candidate->data : data;
	return !data[from] && !memcmp(data + from, data + from + 1, end - from - 1);
}

uint16_t crash_mix_find(const struct crash_unit *unit, crash_is_there_fn there, const void *ctx,
			uint16_t otherwise)
{
	for (uint32_t i = 0; i < unit->nr_candidates; i++) {
		uint32_t part = 0;

		while (part < unit->mix->nr_parts && holds(unit, &unit->candidates[i], part,
							   writer_among(unit, part, there, ctx)))
			part++;
		if (part == unit->mix->nr_parts)
			return (uint16_t)i;
	}
	return otherwise;
}
