// SPDX-License-Identifier: MIT
/*
 * Two lists of what differs from the durable image, of the state and of the newest one, both in the
 * order of places. A walk over the image and the first list gives the content to begin with: runs
 * of pages that are not zero, in the image or in place of it. A walk over both lists gives what was
 * lost. All of it points to where it is; nothing is copied before it is written.
 */
#include "faults/explore/reproduce.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/rng.h"
#include "base/zero.h"
#include "faults/journal/save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u

/* Content of a unit that differs from the image. */
struct changed_unit {
	uint64_t at;
	const unsigned char *data; /* NULL: zeroes */
	uint32_t len_bytes;
	uint16_t disk;
};

struct units {
	struct changed_unit *at;
	size_t nr, room;
};

/* A lost unit, and the write that would have been there. */
struct reproduce_lost {
	struct changed_unit unit;
	uint32_t write;
};

struct making {
	const struct crash *crash;
	const struct journal *from;
	const struct crash_image *images;
	struct units state, newest;
	struct reproduce_lost *lost;
	size_t nr_lost;
	struct journal *to;
	uint64_t step, step_cut; /* of the new journal: the last, and that of the cut */
};

/* ------------------------------------------------------------------------------ what differs */

static int collect(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data,
		   uint32_t len_bytes)
{
	struct units *units = ctx;

	if (array_room("faults/explore/reproduce/units", units->at, units->room, units->nr + 1, 64))
		return -ENOMEM;
	units->at[units->nr++] = (struct changed_unit){
		.at = at, .data = data, .len_bytes = len_bytes, .disk = disk
	};
	return 0;
}

static int compare_places(const struct changed_unit *a, const struct changed_unit *b)
{
	if (a->disk != b->disk)
		return a->disk < b->disk ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static bool same_content(const struct changed_unit *a, const struct changed_unit *b)
{
	if (!a->data || !b->data)
		return (!a->data || is_zero(a->data, a->len_bytes)) &&
		       (!b->data || is_zero(b->data, b->len_bytes));
	return memcmp(a->data, b->data, a->len_bytes) == 0;
}

/* Of the volatile writes the last one to @unit. */
static uint32_t writer_of(const struct making *making, const struct changed_unit *unit)
{
	const uint32_t *writes;
	size_t nr = crash_volatile(making->crash, &writes);

	while (nr--) {
		const struct journal_write *write = &making->from->writes[writes[nr]];

		if (write->disk == unit->disk && write->at < unit->at + unit->len_bytes &&
		    unit->at < write->at + write->len_bytes)
			return writes[nr];
	}
	return 0;
}

static void add_lost(struct making *making, const struct changed_unit *unit)
{
	making->lost[making->nr_lost++] =
		(struct reproduce_lost){ .unit = *unit, .write = writer_of(making, unit) };
}

static struct changed_unit in_image(const struct making *making, const struct changed_unit *unit)
{
	struct changed_unit image = *unit;

	image.data = making->images[unit->disk].bytes + unit->at;
	return image;
}

/* Both lists in step: a unit that only one of them has is as in the image in the other. */
static int find_lost(struct making *making)
{
	const struct units *state = &making->state, *newest = &making->newest;
	size_t i = 0, k = 0;

	making->lost = calloc(state->nr + newest->nr + 1, sizeof(*making->lost));
	if (!making->lost)
		return -ENOMEM;
	while (i < state->nr || k < newest->nr) {
		int order = i == state->nr    ? 1
			    : k == newest->nr ? -1
					      : compare_places(&state->at[i], &newest->at[k]);
		struct changed_unit image;

		if (order < 0) {
			image = in_image(making, &state->at[i++]);
			add_lost(making, &image);
		} else if (order > 0) {
			add_lost(making, &newest->at[k++]);
		} else if (same_content(&state->at[i++], &newest->at[k++])) {
			continue;
		} else {
			add_lost(making, &newest->at[k - 1]);
		}
	}
	return 0;
}

/* ------------------------------------------------------------------------------ content */

/* Bytes of content that lie side by side in memory and on the disk become one extent. */
static int add_content(struct making *making, uint16_t disk, uint64_t at, const unsigned char *data,
		       uint64_t len)
{
	struct journal *to = making->to;
	struct journal_extent *last = to->nr_extents ? &to->extents[to->nr_extents - 1] : NULL;
	const struct journal_extent extent = {
		.disk = disk, .at = at, .len_bytes = len, .data = data
	};

	if (is_zero(data, len))
		return 0;
	if (!last || last->disk != disk || last->at + last->len_bytes != at ||
	    last->data + last->len_bytes != data)
		return journal_add_extent(to, &extent);
	last->len_bytes += len;
	return 0;
}

/* The image's content in [from, to), page by page. */
static int add_image(struct making *making, uint16_t disk, uint64_t from, uint64_t to)
{
	const struct crash_image *image = &making->images[disk];
	int err = 0;

	while (!err && from < to) {
		uint64_t end = (from / PAGE + 1) * PAGE;
		off_t data = image->fd < 0 ? (off_t)from : lseek(image->fd, (off_t)from, SEEK_DATA);

		/* A hole: nothing is read there, or it would be filled. */
		if (data < 0 && errno == ENXIO)
			return 0;
		if (data > (off_t)from) {
			from = (uint64_t)data;
			continue;
		}
		if (end > to)
			end = to;
		err = add_content(making, disk, from, image->bytes + from, end - from);
		from = end;
	}
	return err;
}

static int add_disk_content(struct making *making, uint16_t disk, size_t *unit)
{
	uint64_t at = 0, size = making->from->disks[disk].size_bytes;
	int err = 0;

	for (; !err && *unit < making->state.nr && making->state.at[*unit].disk == disk; ++*unit) {
		const struct changed_unit *is = &making->state.at[*unit];

		err = add_image(making, disk, at, is->at);
		if (!err && is->data)
			err = add_content(making, disk, is->at, is->data, is->len_bytes);
		at = is->at + is->len_bytes;
	}
	return err ? err : add_image(making, disk, at, size);
}

static int add_all_content(struct making *making)
{
	size_t unit = 0;
	int err = 0;

	for (uint16_t i = 0; !err && i < making->from->nr_disks; i++) {
		err = journal_add_disk(making->to, &making->from->disks[i]);
		if (!err)
			err = add_disk_content(making, i, &unit);
	}
	return err;
}

/* ------------------------------------------------------------------------------ what happened */

static int compare_lost(const void *a, const void *b)
{
	const struct reproduce_lost *one = a, *two = b;

	if (one->write != two->write)
		return one->write < two->write ? -1 : 1;
	return compare_places(&one->unit, &two->unit);
}

/* How many lost units from @first on are one write: side by side, on the disk and in memory. */
static size_t run_of(const struct making *making, size_t first)
{
	size_t nr = 1;

	for (; first + nr < making->nr_lost; nr++) {
		const struct reproduce_lost *a = &making->lost[first + nr - 1], *b = a + 1;

		if (a->write != b->write || a->unit.disk != b->unit.disk ||
		    a->unit.at + a->unit.len_bytes != b->unit.at ||
		    !a->unit.data != !b->unit.data ||
		    (a->unit.data && a->unit.data + a->unit.len_bytes != b->unit.data))
			break;
	}
	return nr;
}

/* Completed and never flushed; without a cache that would be durable, so there it never ended. */
static int add_lost_write(struct making *making, size_t first, size_t nr)
{
	const struct reproduce_lost *lost = &making->lost[first];
	const struct journal_write *was = &making->from->writes[lost->write];
	struct journal_write write = {
		.submit = ++making->step,
		.complete = JOURNAL_NEVER,
		.at = lost->unit.at,
		.data = lost->unit.data,
		.submit_ns = was->submit_ns,
		.complete_ns = was->complete_ns,
		.flags = was->flags & ~(uint32_t)IO_FUA,
		.disk = lost->unit.disk,
		.op = lost->unit.data       ? IO_WRITE
		      : was->op == IO_WRITE ? IO_ZEROES
					    : was->op,
	};

	for (size_t i = 0; i < nr; i++)
		write.len_bytes += making->lost[first + i].unit.len_bytes;
	if (making->from->disks[write.disk].cache && was->complete <= crash_step(making->crash))
		write.complete = ++making->step;
	return journal_add_write(making->to, &write);
}

static int add_mark(struct making *making, const struct journal_mark *mark)
{
	making->step++;
	return journal_add_mark(making->to, making->step, mark->time_ns, mark->text,
				strlen(mark->text));
}

/* There is something before the cut, whatever the state is. */
static int add_start(struct making *making)
{
	const struct journal_flush flush = { .submit = 1,
					     .complete = 2,
					     .submit_ns = making->from->start_ns,
					     .complete_ns = making->from->start_ns };

	making->step = 2;
	return journal_add_flush(making->to, &flush);
}

static int add_events(struct making *making, struct reproduced *reproduced)
{
	const struct journal *from = making->from;
	uint64_t cut = crash_step(making->crash);
	size_t mark = 0;
	int err = add_start(making);

	qsort(making->lost, making->nr_lost, sizeof(*making->lost), compare_lost);
	for (size_t i = 0, nr; !err && i < making->nr_lost; i += nr) {
		uint64_t submit = from->writes[making->lost[i].write].submit;

		while (!err && mark < from->nr_marks && from->marks[mark].step < submit)
			err = add_mark(making, &from->marks[mark++]);
		nr = run_of(making, i);
		if (!err)
			err = add_lost_write(making, i, nr);
		reproduced->nr_lost++;
	}
	while (!err && mark < from->nr_marks && from->marks[mark].step <= cut)
		err = add_mark(making, &from->marks[mark++]);
	making->step_cut = making->step;
	while (!err && mark < from->nr_marks)
		err = add_mark(making, &from->marks[mark++]);
	return err;
}

/* ------------------------------------------------------------------------------ outside */

static int collect_both(struct making *making, const uint16_t *picks)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(making->crash, &choices);
	_cleanup_free_ uint16_t *newest = calloc(nr + 1, sizeof(*newest));
	int err;

	if (!newest)
		return -ENOMEM;
	crash_newest(making->crash, newest);
	err = crash_put(making->crash, picks, collect, &making->state);
	if (!err)
		err = crash_put(making->crash, newest, collect, &making->newest);
	return err ? err : find_lost(making);
}

static int make(struct making *making, const uint16_t *picks, int fd, struct diag *diag,
		struct reproduced *reproduced)
{
	uint64_t id = rng_mix(making->from->id, crash_step(making->crash),
			      crash_hash(making->crash, picks));
	int err = collect_both(making, picks);

	if (!err)
		err = journal_new(&making->to);
	if (!err)
		err = add_all_content(making);
	if (!err)
		err = add_events(making, reproduced);
	if (err)
		return diag_set(diag, err, "reproduce.memory", "no memory for a reproducer");
	making->to->id = id;
	making->to->closed = true;
	making->to->start_ns = making->from->start_ns;
	err = journal_seal(making->to, diag);
	return err ? err
		   : journal_save_step(making->to, id, fd, making->step_cut, diag,
				       &reproduced->step);
}

int reproduce(const struct crash *crash, const struct crash_image *images, const uint16_t *picks,
	      int fd, struct diag *diag, struct reproduced *ret_reproduced)
{
	struct making making = { .crash = crash, .from = crash_journal(crash), .images = images };
	struct reproduced reproduced = { 0 };
	int err = make(&making, picks, fd, diag, &reproduced);

	if (!err) {
		reproduced.file_bytes = (uint64_t)lseek(fd, 0, SEEK_END);
		snprintf(reproduced.state, sizeof(reproduced.state), "%llu:old",
			 (unsigned long long)reproduced.step);
		*ret_reproduced = reproduced;
	}
	journal_free(making.to);
	free(making.state.at);
	free(making.newest.at);
	free(making.lost);
	return err;
}
