/* SPDX-License-Identifier: MIT */
/*
 * A crash state as /dev/ublkbN, one for each disk of the journal: the same devices show one state
 * after the other. Requests go to a view (faults/explore/view.h), which is one thread's at a time: the
 * devices take turns at it, and the owner keeps its hands off while it is shown.
 */
#ifndef TOOLS_EXPLORE_STATE_DISK_H
#define TOOLS_EXPLORE_STATE_DISK_H

#include "base/diag.h"
#include "faults/explore/view.h"

struct state_disks;

/*
 * Make the devices. They read as zeroes and refuse writes until a view is shown; there is no
 * volatile cache, and read-ahead is off unless it is @ahead: what is read is decided by it. Errors
 * as ublk_dev_open(), words in @diag.
 */
int state_disks_open(const struct journal *journal, bool ahead, struct diag *diag,
		     struct state_disks **ret_disks);
/* Take them away, held or not, and free. NULL allowed; returns NULL. */
struct state_disks *state_disks_free(struct state_disks *disks);

/* "/dev/ublkb0"; valid until free. */
const char *state_disks_path(const struct state_disks *disks, uint16_t disk);
/*
 * From here on requests go to @view (borrowed); NULL: to none, and @view is the owner's again. To
 * be called only while nobody has the devices open: what the kernel cached of the state before
 * goes with its last opener.
 */
void state_disks_show(struct state_disks *disks, struct view *view);
/* As a write of these bytes to the device, or zeroes where @data is NULL; nobody may have it open.
 */
int state_disks_put(struct state_disks *disks, uint16_t disk, uint64_t at,
		    const unsigned char *data, uint64_t len_bytes);
/*
 * The commands that used the devices have ended: unmount what they have left mounted, and wait up
 * to @timeout_ms until nobody has the devices open. -EBUSY: somebody still does; @diag names the
 * holder.
 */
int state_disks_settle(struct state_disks *disks, int timeout_ms, struct diag *diag);
/* The first error of the view while it was shown (-ENOMEM: too much was written), or 0. */
int state_disks_error(const struct state_disks *disks);

#endif
