/* SPDX-License-Identifier: MIT */
/*
 * The disks as they are after a power cut, to be read and written: the durable image, the contents
 * that were picked for the undecided units, and on top what recovery and check have written since.
 * The image and the cursor are only read, so that any number of views share them.
 *
 *	read:   overlay (what was written) -> choice (what was picked) -> image (what is durable)
 *
 * One thread at a time uses a view. Positions and lengths are in bytes, multiples of 512, inside
 * the disk (asserted).
 */
#ifndef FAULTS_EXPLORE_VIEW_H
#define FAULTS_EXPLORE_VIEW_H

#include "faults/crash/crash.h"

struct view;

/*
 * A unit is needed that is not decided: return the number of the candidate that bytes [@from, @to)
 * of it are read from, or -errno, which fails the read. These are bytes that nothing was written to
 * since the reset. Asked at every such read of an undecided unit until view_settle(); whoever
 * answers must not contradict himself.
 */
typedef int (*view_decide_fn)(void *ctx, size_t choice, uint32_t from, uint32_t to);

/* Of the crash point where @crash stands, which must not move while the view lives. -ENOMEM. */
int view_create(const struct crash *crash, const struct crash_image *images,
		struct view **ret_view);
struct view *view_free(struct view *view); /* NULL allowed; returns NULL */

/*
 * Throw away what was written, in O(written), and take these picks; NULL: @decide is asked, which
 * wants CRASH_UNIT. -ENOMEM: the view shows nothing that can be relied on until the next reset.
 */
int view_reset(struct view *view, const uint16_t *picks, view_decide_fn decide, void *ctx);
/* From now until the next reset the choice is decided. CRASH_UNIT. */
void view_settle(struct view *view, size_t choice, uint16_t pick);

/* 0, or what @decide failed with. */
int view_read(struct view *view, uint16_t disk, uint64_t at, void *to, size_t len);
/* -ENOMEM: no memory, or more than the overlay's limit; a part may have been written. */
int view_write(struct view *view, uint16_t disk, uint64_t at, const void *from, size_t len);
int view_zero(struct view *view, uint16_t disk, uint64_t at, uint64_t len);
/*
 * @watch is told of each read once it has been answered; NULL: nobody is. It may ask for the
 * sectors of the page (4 KiB) around @at that were written since the reset, and since view_phase(),
 * a bit for each.
 */
typedef void (*view_watch_fn)(void *ctx, uint16_t disk, uint64_t at, const void *data, size_t len);
void view_watch(struct view *view, view_watch_fn watch, void *ctx);
void view_phase(struct view *view);
uint8_t view_changed(const struct view *view, uint16_t disk, uint64_t at, uint8_t *ret_late);
/* Bytes of memory that the overlay takes now; and its limit (default 1 GiB). */
uint64_t view_written(const struct view *view);
void view_limit(struct view *view, uint64_t bytes);

#endif
