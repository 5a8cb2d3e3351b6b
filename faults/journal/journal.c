// SPDX-License-Identifier: MIT
/*
 * Plain arrays that grow by doubling, sorted and checked once, and one more of all steps in a line:
 * who walks the journal goes along that one and looks into the others.
 */
#include "faults/journal/journal.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define XXH_STATIC_LINKING_ONLY /* the state as a variable */
#include <xxhash.h>

struct owned {
	void *at;
	size_t map_bytes; /* 0: from malloc */
};

/* How much room the arrays have, and what is freed with them. */
struct journal_inside {
	size_t room_disks, room_extents, room_writes, room_flushes, room_marks, room_owned;
	size_t nr_owned;
	struct owned *owned;
	uint64_t content; /* its hash when it was sealed, if that was made; else 0 */
	bool remembered;
};

int journal_new(struct journal **ret_journal)
{
	_cleanup_free_ struct journal *journal =
		fail_alloc("faults/journal/journal/alloc", calloc(1, sizeof(*journal)));

	if (!journal)
		return -ENOMEM;
	journal->inside =
		fail_alloc("faults/journal/journal/inside", calloc(1, sizeof(*journal->inside)));
	if (!journal->inside)
		return -ENOMEM;
	*ret_journal = take_ptr(journal);
	return 0;
}

static void give_back(const struct owned *owned)
{
	if (owned->map_bytes) {
		map_unguard(owned->at);
		munmap(owned->at, owned->map_bytes);
	} else {
		free(owned->at);
	}
}

struct journal *journal_free(struct journal *journal)
{
	if (!journal)
		return NULL;
	for (size_t i = 0; i < journal->nr_marks; i++)
		free((char *)journal->marks[i].text);
	for (size_t i = 0; i < journal->inside->nr_owned; i++)
		give_back(&journal->inside->owned[i]);
	free(journal->inside->owned);
	free(journal->inside);
	free(journal->disks);
	free(journal->extents);
	free(journal->writes);
	free(journal->flushes);
	free(journal->marks);
	free(journal->events);
	free(journal->shown);
	free(journal);
	return NULL;
}

/* ------------------------------------------------------------------------------ filling */

#define ADD(journal, list, value)                                                                  \
	({                                                                                         \
		struct journal *j_ = (journal);                                                    \
		int err_add_ =                                                                     \
			j_->nr_##list >= UINT32_MAX - 1                                            \
				? -E2BIG                                                           \
				: array_room("faults/journal/journal/grow", j_->list,              \
					     j_->inside->room_##list, j_->nr_##list + 1, 16);      \
                                                                                                   \
		if (!err_add_)                                                                     \
			j_->list[j_->nr_##list++] = (value);                                       \
		err_add_;                                                                          \
	})

int journal_add_disk(struct journal *journal, const struct journal_disk *disk)
{
	if (journal->nr_disks >= JOURNAL_DISKS_MAX)
		return -E2BIG;
	return ADD(journal, disks, *disk);
}

int journal_add_extent(struct journal *journal, const struct journal_extent *extent)
{
	return ADD(journal, extents, *extent);
}

int journal_add_write(struct journal *journal, const struct journal_write *write)
{
	return ADD(journal, writes, *write);
}

int journal_add_flush(struct journal *journal, const struct journal_flush *flush)
{
	return ADD(journal, flushes, *flush);
}

int journal_add_mark(struct journal *journal, uint64_t step, uint64_t time_ns, const char *text,
		     size_t len)
{
	struct journal_mark mark = { .step = step, .time_ns = time_ns };
	char *copy = fail_alloc("faults/journal/journal/mark", strndup(text, len));
	int err;

	if (!copy)
		return -ENOMEM;
	mark.text = copy;
	err = ADD(journal, marks, mark);
	if (err)
		free(copy);
	return err;
}

static int own(struct journal *journal, struct owned owned)
{
	struct journal_inside *inside = journal->inside;
	int err = array_room("faults/journal/journal/own", inside->owned, inside->room_owned,
			     inside->nr_owned + 1, 16);

	if (!err)
		inside->owned[inside->nr_owned++] = owned;
	else
		give_back(&owned);
	return err;
}

int journal_own(struct journal *journal, void *memory)
{
	return own(journal, (struct owned){ .at = memory });
}

int journal_own_map(struct journal *journal, void *map, size_t size)
{
	return own(journal, (struct owned){ .at = map, .map_bytes = size });
}

bool journal_is_broken(const struct journal *journal)
{
	const struct journal_inside *inside = journal->inside;

	for (size_t i = 0; i < inside->nr_owned; i++)
		if (inside->owned[i].map_bytes && map_is_broken(inside->owned[i].at))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------ checking */

typedef unsigned long long ull;

static int check_disks(const struct journal *journal, struct diag *diag)
{
	if (!journal->nr_disks)
		return diag_set(diag, -EINVAL, "journal.no-disk",
				"the journal has no disk, wanted at least one");
	for (uint32_t i = 0; i < journal->nr_disks; i++) {
		const struct journal_disk *disk = &journal->disks[i];
		uint32_t block = disk->block_bytes;

		if (block < 512 || (block & (block - 1)))
			return diag_set(diag, -EINVAL, "journal.bad-disk",
					"disk %s has blocks of %u bytes, wanted a power of two "
					"from 512 on",
					disk->name, block);
		if (!disk->size_bytes || disk->size_bytes % block || disk->size_bytes > INT64_MAX)
			return diag_set(diag, -EINVAL, "journal.bad-disk",
					"disk %s has %llu bytes, wanted whole blocks of %u",
					disk->name, (ull)disk->size_bytes, block);
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(journal->disks[k].name, disk->name))
				return diag_set(diag, -EINVAL, "journal.bad-disk",
						"two disks are called '%s', wanted different names",
						disk->name);
	}
	return 0;
}

/* As users see it: words name no other. */
static ull shown(const struct journal *journal, uint64_t step)
{
	return journal_shown(journal, step);
}

static int check_place(const struct journal *journal, struct diag *diag,
		       const struct journal_write *write)
{
	const uint64_t at = write->at, len = write->len_bytes;
	const ull step = shown(journal, write->submit);
	const uint16_t nr = write->disk;
	const struct journal_disk *disk;

	if (nr >= journal->nr_disks)
		return diag_set(diag, -EINVAL, "journal.no-such-disk",
				"the write at step %llu is of disk %u, but there are %u", step, nr,
				journal->nr_disks);
	disk = &journal->disks[nr];
	if (!len || len > disk->size_bytes || at > disk->size_bytes - len)
		return diag_set(
			diag, -EINVAL, "journal.outside",
			"the write at step %llu is of %llu bytes at %llu, but disk %s has %llu",
			step, (ull)len, (ull)at, disk->name, (ull)disk->size_bytes);
	if (at % disk->block_bytes || len % disk->block_bytes)
		return diag_set(
			diag, -EINVAL, "journal.not-whole-blocks",
			"the write at step %llu is of %llu bytes at %llu, wanted whole blocks "
			"of %u",
			step, (ull)len, (ull)at, disk->block_bytes);
	return 0;
}

static int check_order(const struct journal *journal, struct diag *diag, const char *what,
		       uint64_t submit, uint64_t complete)
{
	if (submit && submit < complete)
		return 0;
	return diag_set(diag, -EINVAL, "journal.order",
			"the %s at step %llu completed at step %llu, wanted a later one; steps "
			"begin with 1",
			what, shown(journal, submit), shown(journal, complete));
}

static int check_writes(const struct journal *journal, struct diag *diag)
{
	for (size_t i = 0; i < journal->nr_writes; i++) {
		const struct journal_write *w = &journal->writes[i];
		int err = check_place(journal, diag, w);

		if (!err)
			err = check_order(journal, diag, "write", w->submit, w->complete);
		if (err)
			return err;
	}
	for (size_t i = 0; i < journal->nr_flushes; i++) {
		const struct journal_flush *f = &journal->flushes[i];
		int err = check_order(journal, diag, "flush", f->submit, f->complete);

		if (!err && f->disk >= journal->nr_disks)
			err = diag_set(diag, -EINVAL, "journal.no-such-disk",
				       "the flush at step %llu is of disk %u, but there are %u",
				       shown(journal, f->submit), f->disk, journal->nr_disks);
		if (err)
			return err;
	}
	return 0;
}

static int check_marks(const struct journal *journal, struct diag *diag)
{
	for (size_t i = 0; i < journal->nr_marks; i++) {
		const struct journal_mark *mark = &journal->marks[i];

		if (strpbrk(mark->text, "\n\r"))
			return diag_set(diag, -EINVAL, "journal.bad-mark",
					"the mark at step %llu has a line end, wanted one line",
					shown(journal, mark->step));
	}
	return 0;
}

/* Sorted by now. An extent is content, so it may begin anywhere. */
static int check_extents(const struct journal *journal, struct diag *diag)
{
	for (size_t i = 0; i < journal->nr_extents; i++) {
		const struct journal_extent *extent = &journal->extents[i], *before = extent - 1;
		uint64_t size;

		if (extent->disk >= journal->nr_disks)
			return diag_set(diag, -EINVAL, "journal.no-such-disk",
					"content is of disk %u, but there are %u", extent->disk,
					journal->nr_disks);
		size = journal->disks[extent->disk].size_bytes;
		if (extent->len_bytes > size || extent->at > size - extent->len_bytes)
			return diag_set(diag, -EINVAL, "journal.outside",
					"%llu bytes of content at %llu, but disk %s has %llu",
					(ull)extent->len_bytes, (ull)extent->at,
					journal->disks[extent->disk].name, (ull)size);
		if (i && before->disk == extent->disk &&
		    before->at + before->len_bytes > extent->at)
			return diag_set(diag, -EINVAL, "journal.overlap",
					"disk %s has two contents for byte %llu, wanted one",
					journal->disks[extent->disk].name, (ull)extent->at);
	}
	return 0;
}

/* ------------------------------------------------------------------------------ sorting */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_extents(const void *a, const void *b)
{
	const struct journal_extent *x = a, *y = b;

	return x->disk != y->disk ? COMPARE(x->disk, y->disk) : COMPARE(x->at, y->at);
}

static int compare_writes(const void *a, const void *b)
{
	return COMPARE(((const struct journal_write *)a)->submit,
		       ((const struct journal_write *)b)->submit);
}

static int compare_flushes(const void *a, const void *b)
{
	return COMPARE(((const struct journal_flush *)a)->submit,
		       ((const struct journal_flush *)b)->submit);
}

static int compare_marks(const void *a, const void *b)
{
	return COMPARE(((const struct journal_mark *)a)->step,
		       ((const struct journal_mark *)b)->step);
}

static int compare_events(const void *a, const void *b)
{
	return COMPARE(((const struct journal_event *)a)->step,
		       ((const struct journal_event *)b)->step);
}

/* What comes from a recording is mostly in order already. */
static void sort(void *array, size_t nr, size_t size, int (*compare)(const void *, const void *))
{
	const char *at = array;

	for (size_t i = 1; i < nr; i++) {
		if (compare(at + (i - 1) * size, at + i * size) <= 0)
			continue;
		qsort(array, nr, size, compare);
		return;
	}
}

static int list_events(struct journal *journal)
{
	size_t most = 2 * (journal->nr_writes + journal->nr_flushes) + journal->nr_marks, nr = 0;
	struct journal_event *events = fail_alloc("faults/journal/journal/events",
						  reallocarray(NULL, most + 1, sizeof(*events)));

	if (!events)
		return -ENOMEM;
	for (uint32_t i = 0; i < journal->nr_writes; i++) {
		const struct journal_write *w = &journal->writes[i];

		events[nr++] = (struct journal_event){ w->submit, i, JOURNAL_SUBMIT };
		if (w->complete != JOURNAL_NEVER)
			events[nr++] = (struct journal_event){ w->complete, i, JOURNAL_COMPLETE };
	}
	for (uint32_t i = 0; i < journal->nr_flushes; i++) {
		const struct journal_flush *f = &journal->flushes[i];

		events[nr++] = (struct journal_event){ f->submit, i, JOURNAL_FLUSH_SUBMIT };
		if (f->complete != JOURNAL_NEVER)
			events[nr++] =
				(struct journal_event){ f->complete, i, JOURNAL_FLUSH_COMPLETE };
	}
	for (uint32_t i = 0; i < journal->nr_marks; i++)
		events[nr++] = (struct journal_event){ journal->marks[i].step, i, JOURNAL_MARK };
	sort(events, nr, sizeof(*events), compare_events);
	journal->events = events;
	journal->nr_events = nr;
	return 0;
}

static int check_events(const struct journal *journal, struct diag *diag)
{
	for (size_t i = 0; i < journal->nr_events; i++) {
		uint64_t step = journal->events[i].step;

		if (step && (!i || journal->events[i - 1].step != step))
			continue;
		return diag_set(diag, -EINVAL, "journal.step",
				"%s at step %llu, wanted each thing at a step of its own, from 1",
				step ? "two things" : "something", shown(journal, step));
	}
	return 0;
}

/* ------------------------------------------------------------------------------ what users see */

int journal_show(struct journal *journal, uint64_t last, uint64_t shown)
{
	if (array_room("faults/journal/journal/shown", journal->shown, journal->room_shown,
		       last + 1, 64))
		return -ENOMEM;
	if (!journal->nr_shown)
		journal->shown[journal->nr_shown++] = 0;
	while (journal->nr_shown <= last)
		journal->shown[journal->nr_shown++] = shown;
	return 0;
}

uint64_t journal_shown(const struct journal *journal, uint64_t step)
{
	return step < journal->nr_shown ? journal->shown[step] : step;
}

uint64_t journal_step(const struct journal *journal, uint64_t shown)
{
	uint64_t from = 0, to = journal->nr_shown;

	if (!journal->nr_shown)
		return shown;
	while (from < to) {
		uint64_t middle = from + (to - from) / 2;

		if (journal->shown[middle] <= shown)
			from = middle + 1;
		else
			to = middle;
	}
	return from - 1; /* step 0 is shown as 0 */
}

/* ------------------------------------------------------------------------------ naming */

static void set_ends(struct journal *journal)
{
	uint64_t start = UINT64_MAX;

	if (journal->nr_events && journal->events[journal->nr_events - 1].step > journal->end_step)
		journal->end_step = journal->events[journal->nr_events - 1].step;
	if (journal->nr_writes)
		start = journal->writes[0].submit_ns;
	if (journal->nr_flushes && journal->flushes[0].submit_ns < start)
		start = journal->flushes[0].submit_ns;
	if (journal->nr_marks && journal->marks[0].time_ns < start)
		start = journal->marks[0].time_ns;
	if (!journal->start_ns && start != UINT64_MAX)
		journal->start_ns = start;
	for (size_t i = 0; i < journal->nr_events; i++) {
		uint64_t time_ns = journal_event_ns(journal, &journal->events[i]);

		if (time_ns > journal->end_ns)
			journal->end_ns = time_ns;
	}
}

uint64_t journal_event_ns(const struct journal *journal, const struct journal_event *event)
{
	switch ((enum journal_what)event->what) {
	case JOURNAL_SUBMIT:
		return journal->writes[event->index].submit_ns;
	case JOURNAL_COMPLETE:
		return journal->writes[event->index].complete_ns;
	case JOURNAL_FLUSH_SUBMIT:
		return journal->flushes[event->index].submit_ns;
	case JOURNAL_FLUSH_COMPLETE:
		return journal->flushes[event->index].complete_ns;
	case JOURNAL_MARK:
		return journal->marks[event->index].time_ns;
	}
	return 0;
}

static void hash_numbers(XXH3_state_t *hash, const uint64_t *numbers, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		unsigned char bytes[8];

		for (unsigned int k = 0; k < 8; k++)
			bytes[k] = (unsigned char)(numbers[i] >> 8 * k);
		XXH3_64bits_update(hash, bytes, sizeof(bytes));
	}
}

#define HASH(hash, ...)                                                                            \
	hash_numbers((hash), (const uint64_t[]){ __VA_ARGS__ },                                    \
		     sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void hash_writes(const struct journal *journal, XXH3_state_t *hash)
{
	HASH(hash, journal->nr_writes, journal->nr_flushes, journal->end_step);
	for (size_t i = 0; i < journal->nr_writes; i++) {
		const struct journal_write *w = &journal->writes[i];

		HASH(hash, w->submit, w->complete, w->at, w->len_bytes, w->submit_ns,
		     w->complete_ns, w->flags, w->disk, w->op, w->failed, w->false_ack, !!w->data);
		if (w->data)
			XXH3_64bits_update(hash, w->data, w->len_bytes);
	}
	for (size_t i = 0; i < journal->nr_flushes; i++) {
		const struct journal_flush *f = &journal->flushes[i];

		HASH(hash, f->submit, f->complete, f->submit_ns, f->complete_ns, f->disk, f->failed,
		     f->false_ack);
	}
}

static uint64_t hash_all(const struct journal *journal)
{
	XXH3_state_t hash;

	XXH3_64bits_reset(&hash);
	HASH(&hash, journal->nr_disks, journal->nr_extents, journal->nr_marks);
	for (size_t i = 0; i < journal->nr_disks; i++) {
		const struct journal_disk *d = &journal->disks[i];

		HASH(&hash, d->size_bytes, d->block_bytes, d->cache, strlen(d->name));
		XXH3_64bits_update(&hash, d->name, strlen(d->name));
	}
	for (size_t i = 0; i < journal->nr_extents; i++) {
		const struct journal_extent *e = &journal->extents[i];

		HASH(&hash, e->disk, e->at, e->len_bytes);
		XXH3_64bits_update(&hash, e->data, e->len_bytes);
	}
	for (size_t i = 0; i < journal->nr_marks; i++) {
		const struct journal_mark *m = &journal->marks[i];

		HASH(&hash, m->step, m->time_ns, strlen(m->text));
		XXH3_64bits_update(&hash, m->text, strlen(m->text));
	}
	hash_writes(journal, &hash);
	return XXH3_64bits_digest(&hash);
}

int journal_seal(struct journal *journal, struct diag *diag)
{
	int err = check_disks(journal, diag);

	if (err)
		return err;
	sort(journal->extents, journal->nr_extents, sizeof(*journal->extents), compare_extents);
	sort(journal->writes, journal->nr_writes, sizeof(*journal->writes), compare_writes);
	sort(journal->flushes, journal->nr_flushes, sizeof(*journal->flushes), compare_flushes);
	sort(journal->marks, journal->nr_marks, sizeof(*journal->marks), compare_marks);
	err = check_writes(journal, diag);
	if (!err)
		err = check_extents(journal, diag);
	if (!err)
		err = check_marks(journal, diag);
	if (!err && list_events(journal) < 0)
		err = diag_set(diag, -ENOMEM, "journal.memory",
			       "no memory for the steps of a journal");
	if (!err)
		err = check_events(journal, diag);
	if (err)
		return err;
	set_ends(journal);
	if (!journal->id)
		journal->id = journal->inside->content = hash_all(journal);
	return 0;
}

void journal_remember(struct journal *journal)
{
	struct journal_inside *inside = journal->inside;

	if (!inside->content)
		inside->content = hash_all(journal);
	inside->remembered = true;
}

bool journal_is_as_it_was(const struct journal *journal)
{
	const struct journal_inside *inside = journal->inside;

	return !inside->remembered || inside->content == hash_all(journal);
}
