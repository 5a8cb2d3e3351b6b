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
#ifndef FAULTS_VIEW_H
#define FAULTS_VIEW_H

#include "faults/crash.h"

struct view;

/*
 * A unit is needed that is not decided: return the number of the candidate. Called at most once
 * for each choice between two resets unless the view is told otherwise; see lazy.h. @from, @to: the
 * bytes of the unit that are read and not yet overwritten.
 */
typedef uint16_t (*view_decide_fn)(void *ctx, size_t choice, uint32_t from, uint32_t to);

/* Of the moment where @crash stands, which must not move while the view lives. -ENOMEM. */
int view_create(const struct crash *crash, const struct crash_image *images,
		struct view **ret_view);
struct view *view_free(struct view *view); /* NULL allowed; returns NULL */

/* Throw away what was written, in O(written), and take these picks; NULL: @decide is asked. */
int view_reset(struct view *view, const uint16_t *picks, view_decide_fn decide, void *ctx);

int view_read(struct view *view, uint16_t disk, uint64_t at, void *to, size_t len);
/* -ENOMEM: more than the overlay's limit was written. */
int view_write(struct view *view, uint16_t disk, uint64_t at, const void *from, size_t len);
int view_zero(struct view *view, uint16_t disk, uint64_t at, uint64_t len);
/* Bytes of the overlay now; and its limit (default 1 GiB). */
uint64_t view_written(const struct view *view);
void view_limit(struct view *view, uint64_t bytes);

#endif
