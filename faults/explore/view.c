// SPDX-License-Identifier: MIT
/*
 * Three layers, the upper ones sparse.
 *
 * The overlay has a page of 4 KiB wherever something was written, with a bit for each sector that
 * was; a page without memory is zero in these sectors, so that to discard a disk costs nothing but
 * its pages' entries. Their memory comes from chunks that a reset keeps. So a reset costs what was
 * written.
 *
 * Below it are the pieces: what of the image is hidden, by place. With undecided units each choice
 * is a piece; a piece that is not of this generation is open. With a whole-write mode the pieces
 * are what crash_put() says, copied.
 *
 * The image is a mapping of memory that is mostly holes, and to read a hole there would fill it. So
 * where the image has a file, a map of it says which pages hold data: a word for 64 pages, asked of
 * the file when first needed.
 */
#include "faults/explore/view.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/explore/pages.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CHUNK_PAGES   64u
#define CHUNKS_KEPT   256u /* 64 MiB */
#define WORD_SHIFT    (PAGE_SHIFT + 6)
#define WORD_BYTES    (1ull << WORD_SHIFT)
#define LIMIT_DEFAULT (1ull << 30)
#define FIRST         64u /* entries of an array */

struct over {
	struct page page;
	uint8_t written, late; /* a bit for each sector; late: since view_phase() */
	unsigned char *data;   /* NULL: zero */
};

struct piece {
	uint64_t at;
	const unsigned char *data; /* NULL: zeroes */
	uint32_t len_bytes;
	uint16_t disk;
	bool hides; /* otherwise the image shows */
	uint64_t generation;
};

struct view_disk {
	const unsigned char *bytes;
	uint64_t size_bytes;
	int fd;          /* -1: everything counts as data */
	uint64_t *data;  /* a word for 64 pages: a bit for each that holds data */
	uint64_t *known; /* a bit for each word of data */
};

struct view {
	const struct crash *crash;
	const struct crash_choice *choices;
	enum crash_atomic atomic;
	struct view_disk *disks;
	size_t nr_disks;

	struct piece *pieces; /* by disk and place */
	size_t nr_pieces, max_pieces;
	uint64_t generation; /* a piece that is of another one is open */
	view_decide_fn decide;
	void *ctx;
	unsigned char **copies; /* contents of pieces, when they are copied */
	size_t nr_copies, max_copies;

	view_watch_fn watch;
	void *watch_ctx;
	bool late;

	struct pages overlay; /* of struct over */
	unsigned char **chunks;
	size_t nr_chunks, max_chunks;
	size_t nr_data; /* pages with memory */
	uint64_t limit;
};

/* ------------------------------------------------------------------------------ the overlay */

static int add_page(struct view *view, uint64_t key, struct over **ret_over)
{
	if (view_written(view) + sizeof(struct over) > view->limit)
		return -ENOMEM;
	return pages_add(&view->overlay, key, ret_over);
}

/* Memory for a page that was zero in what was written of it. */
static int fill_page(struct view *view, struct over *over)
{
	size_t chunk = view->nr_data / CHUNK_PAGES;

	if (view_written(view) + PAGE_BYTES > view->limit)
		return -ENOMEM;
	if (chunk == view->nr_chunks) {
		unsigned char *bytes;

		if (array_room("faults/explore/view/chunks", view->chunks, view->max_chunks,
			       view->nr_chunks + 1, FIRST))
			return -ENOMEM;
		bytes = fail_alloc("faults/explore/view/chunk",
				   aligned_alloc(PAGE_BYTES, CHUNK_PAGES * PAGE_BYTES));
		if (!bytes)
			return -ENOMEM;
		view->chunks[view->nr_chunks++] = bytes;
	}
	over->data = view->chunks[chunk] + view->nr_data++ % CHUNK_PAGES * PAGE_BYTES;
	if (over->written)
		memset(over->data, 0, PAGE_BYTES);
	return 0;
}

/* Write to one page; @from NULL: zeroes. */
static int write_page(struct view *view, uint16_t disk, uint64_t at, const unsigned char *from,
		      uint32_t len)
{
	uint32_t offset = at & (PAGE_BYTES - 1);
	uint8_t bits = page_sectors(offset, offset + len);
	struct over *over = pages_find(&view->overlay, page_key(disk, at));
	int err = over ? 0 : add_page(view, page_key(disk, at), &over);

	if (!err && from && !over->data)
		err = fill_page(view, over);
	if (err)
		return err;
	over->written |= bits;
	if (view->late)
		over->late |= bits;
	if (from)
		memcpy(over->data + offset, from, len);
	else if (over->data)
		memset(over->data + offset, 0, len);
	return 0;
}

static bool inside(const struct view *view, uint16_t disk, uint64_t at, uint64_t len)
{
	return disk < view->nr_disks && !((at | len) & (SECTOR_SIZE - 1)) &&
	       at <= view->disks[disk].size_bytes && len <= view->disks[disk].size_bytes - at;
}

static int write_pages(struct view *view, uint16_t disk, uint64_t at, const unsigned char *from,
		       uint64_t len)
{
	assert(inside(view, disk, at, len));
	while (len) {
		uint64_t room = PAGE_BYTES - (at & (PAGE_BYTES - 1));
		uint32_t part = (uint32_t)(len < room ? len : room);
		int err = write_page(view, disk, at, from, part);

		if (err)
			return err;
		at += part;
		len -= part;
		from = from ? from + part : NULL;
	}
	return 0;
}

int view_write(struct view *view, uint16_t disk, uint64_t at, const void *from, size_t len)
{
	return write_pages(view, disk, at, from, len);
}

int view_zero(struct view *view, uint16_t disk, uint64_t at, uint64_t len)
{
	return write_pages(view, disk, at, NULL, len);
}

uint8_t view_changed(const struct view *view, uint16_t disk, uint64_t at, uint8_t *ret_late)
{
	const struct over *over = pages_find(&view->overlay, page_key(disk, at));

	*ret_late = over ? over->late : 0;
	return over ? over->written : 0;
}

void view_watch(struct view *view, view_watch_fn watch, void *ctx)
{
	view->watch = watch;
	view->watch_ctx = ctx;
}

void view_phase(struct view *view)
{
	view->late = true;
}

uint64_t view_written(const struct view *view)
{
	return (uint64_t)view->nr_data * PAGE_BYTES +
	       (uint64_t)view->overlay.nr * sizeof(struct over);
}

void view_limit(struct view *view, uint64_t bytes)
{
	view->limit = bytes;
}

static void forget_written(struct view *view)
{
	pages_clear(&view->overlay);
	view->nr_data = 0;
	view->late = false;
	while (view->nr_chunks > CHUNKS_KEPT)
		free(view->chunks[--view->nr_chunks]);
}

/* ------------------------------------------------------------------------------ the image */

/* Learn which of the 64 pages from @at on hold data; a file that does not say holds it anywhere. */
static uint64_t learn(struct view_disk *disk, uint64_t word)
{
	uint64_t at = word << WORD_SHIFT, end = at + WORD_BYTES, bits = 0;

	if (end > disk->size_bytes)
		end = disk->size_bytes;
	while (at < end) {
		off_t data = lseek(disk->fd, (off_t)at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(disk->fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0 || hole < 0) {
			bits = UINT64_MAX;
			break;
		}
		if ((uint64_t)data >= end)
			break;
		at = (uint64_t)hole < end ? (uint64_t)hole : end;
		for (uint64_t p = (uint64_t)data >> PAGE_SHIFT; p << PAGE_SHIFT < at; p++)
			bits |= 1ull << (p & 63);
	}
	disk->data[word] = bits;
	disk->known[word >> 6] |= 1ull << (word & 63);
	return bits;
}

static uint64_t data_bits(struct view_disk *disk, uint64_t word)
{
	return disk->known[word >> 6] >> (word & 63) & 1 ? disk->data[word] : learn(disk, word);
}

/* From page @page on: how many are alike, all data or all holes; at least one. */
static uint64_t run_of(uint64_t bits, uint64_t page)
{
	uint64_t first = page & 63, left = 64 - first;
	uint64_t ends = bits >> first & 1 ? ~bits >> first : bits >> first;
	uint64_t run = ends ? (uint64_t)__builtin_ctzll(ends) : left;

	return run < left ? run : left;
}

static void read_image(struct view_disk *disk, uint64_t at, unsigned char *to, uint64_t len)
{
	if (disk->fd < 0) {
		memcpy(to, disk->bytes + at, len);
		return;
	}
	while (len) {
		uint64_t page = at >> PAGE_SHIFT, bits = data_bits(disk, at >> WORD_SHIFT);
		uint64_t end = (page + run_of(bits, page)) << PAGE_SHIFT;
		uint64_t part = end - at < len ? end - at : len;

		if (bits >> (page & 63) & 1)
			memcpy(to, disk->bytes + at, part);
		else
			memset(to, 0, part);
		at += part;
		to += part;
		len -= part;
	}
}

/* ------------------------------------------------------------------------------ the pieces */

static bool is_before(const struct piece *piece, uint16_t disk, uint64_t at)
{
	return piece->disk != disk ? piece->disk < disk : piece->at + piece->len_bytes <= at;
}

/* The first piece that ends behind @at. */
static size_t first_piece(const struct view *view, uint16_t disk, uint64_t at)
{
	size_t low = 0, high = view->nr_pieces;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (is_before(&view->pieces[middle], disk, at))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void show(const struct piece *piece, const unsigned char *data, uint64_t at, uint64_t end,
		 unsigned char *to)
{
	if (data)
		memcpy(to, data + (at - piece->at), end - at);
	else
		memset(to, 0, end - at);
}

/* What of piece @i lies in [at, end) goes to @to, which begins at @at. */
static int read_piece(struct view *view, size_t i, uint64_t at, uint64_t end, unsigned char *to)
{
	const struct piece *piece = &view->pieces[i];
	uint64_t from = piece->at > at ? piece->at : at;
	uint64_t stop = piece->at + piece->len_bytes;
	int pick;

	if (stop > end)
		stop = end;
	to += from - at;
	if (piece->generation == view->generation) {
		if (piece->hides)
			show(piece, piece->data, from, stop, to);
		return 0;
	}
	pick = view->decide(view->ctx, i, (uint32_t)(from - piece->at),
			    (uint32_t)(stop - piece->at));
	if (pick > 0)
		show(piece, view->choices[i].candidates[pick].data, from, stop, to);
	return pick < 0 ? pick : 0;
}

/* What was never written since the reset: image and pieces. */
static int read_below(struct view *view, uint16_t disk, uint64_t at, uint64_t end,
		      unsigned char *to)
{
	read_image(&view->disks[disk], at, to, end - at);
	for (size_t i = first_piece(view, disk, at); i < view->nr_pieces; i++) {
		int err;

		if (view->pieces[i].disk != disk || view->pieces[i].at >= end)
			break;
		err = read_piece(view, i, at, end, to);
		if (err)
			return err;
	}
	return 0;
}

/* How far from @at on all sectors are alike, written or not; not past @end nor the page. */
static uint64_t alike(const struct over *over, uint64_t at, uint64_t end, bool *ret_written)
{
	uint32_t first = (at & (PAGE_BYTES - 1)) >> SECTOR_SHIFT;
	uint32_t bits = (over ? over->written : 0u) >> first;
	uint32_t run, limit = PAGE_SECTORS - first;
	uint64_t stop;

	*ret_written = bits & 1;
	run = (uint32_t)__builtin_ctz((*ret_written ? ~bits : bits) | 1u << limit);
	stop = at + ((uint64_t)run << SECTOR_SHIFT);
	return stop < end ? stop : end;
}

static int read_over(struct view *view, uint16_t disk, uint64_t at, uint64_t end, unsigned char *to)
{
	uint64_t origin = at, start = at; /* [start, at) is below, and to be read at once */
	int err = 0;

	while (at < end && !err) {
		const struct over *over = pages_find(&view->overlay, page_key(disk, at));
		bool written;
		uint64_t stop = alike(over, at, end, &written);

		if (written) {
			if (start < at)
				err = read_below(view, disk, start, at, to + (start - origin));
			if (over->data)
				memcpy(to + (at - origin), over->data + (at & (PAGE_BYTES - 1)),
				       stop - at);
			else
				memset(to + (at - origin), 0, stop - at);
			start = stop;
		}
		at = stop;
	}
	if (start < end && !err)
		err = read_below(view, disk, start, end, to + (start - origin));
	return err;
}

int view_read(struct view *view, uint16_t disk, uint64_t at, void *to, size_t len)
{
	int err;

	assert(inside(view, disk, at, len));
	if (view->overlay.nr)
		err = read_over(view, disk, at, at + len, to);
	else
		err = read_below(view, disk, at, at + len, to);
	if (!err && view->watch)
		view->watch(view->watch_ctx, disk, at, to, len);
	return err;
}

/* ------------------------------------------------------------------------------ what is picked */

static void drop_copies(struct view *view)
{
	while (view->nr_copies)
		free(view->copies[--view->nr_copies]);
}

static struct piece *add_piece(struct view *view, uint16_t disk, uint64_t at, uint32_t len_bytes)
{
	if (array_room("faults/explore/view/pieces", view->pieces, view->max_pieces,
		       view->nr_pieces + 1, FIRST))
		return NULL;
	view->pieces[view->nr_pieces] = (struct piece){
		.disk = disk, .at = at, .len_bytes = len_bytes, .generation = view->generation
	};
	return &view->pieces[view->nr_pieces++];
}

static int copy_piece(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data,
		      uint32_t len_bytes)
{
	struct view *view = ctx;
	struct piece *piece = add_piece(view, disk, at, len_bytes);
	unsigned char *copy;

	if (!piece || array_room("faults/explore/view/copies", view->copies, view->max_copies,
				 view->nr_copies + 1, FIRST))
		return -ENOMEM;
	piece->hides = true;
	if (!data)
		return 0;
	copy = fail_alloc("faults/explore/view/copy", malloc(len_bytes));
	if (!copy)
		return -ENOMEM;
	view->copies[view->nr_copies++] = copy;
	piece->data = memcpy(copy, data, len_bytes);
	return 0;
}

void view_settle(struct view *view, size_t choice, uint16_t pick)
{
	struct piece *piece = &view->pieces[choice];

	assert(view->atomic == CRASH_UNIT && choice < view->nr_pieces);
	assert(pick < view->choices[choice].nr);
	piece->generation = view->generation;
	piece->hides = pick > 0;
	piece->data = view->choices[choice].candidates[pick].data;
}

int view_reset(struct view *view, const uint16_t *picks, view_decide_fn decide, void *ctx)
{
	assert(picks || (decide && view->atomic == CRASH_UNIT));
	forget_written(view);
	view->generation++;
	view->decide = decide;
	view->ctx = ctx;
	if (view->atomic != CRASH_UNIT) {
		drop_copies(view);
		view->nr_pieces = 0;
		return crash_put(view->crash, picks, copy_piece, view);
	}
	for (size_t i = 0; picks && i < view->nr_pieces; i++)
		view_settle(view, i, picks[i]);
	return 0;
}

/* ------------------------------------------------------------------------------ life */

static int open_disk(const struct journal_disk *journal, const struct crash_image *image,
		     struct view_disk *disk)
{
	uint64_t words = (journal->size_bytes >> WORD_SHIFT) + 1;

	*disk = (struct view_disk){ .bytes = image->bytes,
				    .size_bytes = journal->size_bytes,
				    .fd = image->fd };
	if (disk->fd < 0)
		return 0;
	disk->data = fail_alloc("faults/explore/view/data", calloc(words, sizeof(*disk->data)));
	disk->known = fail_alloc("faults/explore/view/known",
				 calloc(words / 64 + 1, sizeof(*disk->known)));
	return disk->data && disk->known ? 0 : -ENOMEM;
}

static int open_view(struct view *view, const struct crash_image *images)
{
	const struct journal *journal = crash_journal(view->crash);
	size_t nr = crash_choices(view->crash, &view->choices);

	view->disks = fail_alloc("faults/explore/view/disks",
				 calloc(journal->nr_disks, sizeof(*view->disks)));
	if (!view->disks)
		return -ENOMEM;
	view->nr_disks = journal->nr_disks;
	for (size_t i = 0; i < view->nr_disks; i++)
		if (open_disk(&journal->disks[i], &images[i], &view->disks[i]) < 0)
			return -ENOMEM;
	for (size_t i = 0; view->atomic == CRASH_UNIT && i < nr; i++)
		if (!add_piece(view, view->choices[i].disk, view->choices[i].at,
			       (uint32_t)view->choices[i].len_bytes))
			return -ENOMEM;
	return 0;
}

_cold_ int view_create(const struct crash *crash, const struct crash_image *images,
		       struct view **ret_view)
{
	struct view *view = fail_alloc("faults/explore/view/alloc", calloc(1, sizeof(*view)));

	if (!view)
		return -ENOMEM;
	view->crash = crash;
	view->atomic = crash_options(crash)->atomic;
	view->limit = LIMIT_DEFAULT;
	view->overlay.entry_bytes = sizeof(struct over);
	if (open_view(view, images) < 0) {
		view_free(view);
		return -ENOMEM;
	}
	*ret_view = view;
	return 0;
}

_cold_ struct view *view_free(struct view *view)
{
	if (!view)
		return NULL;
	drop_copies(view);
	while (view->nr_chunks)
		free(view->chunks[--view->nr_chunks]);
	for (size_t i = 0; i < view->nr_disks; i++) {
		free(view->disks[i].data);
		free(view->disks[i].known);
	}
	free(view->copies);
	free(view->chunks);
	free(view->disks);
	free(view->pieces);
	pages_free(&view->overlay);
	free(view);
	return NULL;
}
