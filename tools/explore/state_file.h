/* SPDX-License-Identifier: MIT */
/*
 * A crash state as files of a file system of our own (FUSE), one for each disk of the journal: the
 * same files show one state after the other. Requests go to a view (faults/explore/view.h), one at a time,
 * from a thread of ours; the owner keeps its hands off the view while it is shown.
 *
 * Nothing is cached (direct_io), so a read decides what it asks for and no more. A file has the
 * size of its disk and keeps it; it cannot be removed, renamed or truncated, and nothing can be
 * made beside it.
 */
#ifndef TOOLS_EXPLORE_STATE_FILE_H
#define TOOLS_EXPLORE_STATE_FILE_H

#include "base/diag.h"
#include "faults/explore/view.h"

struct state_files;

/*
 * Mount them in the folder @where, which is made, and serve them. The process must be allowed to
 * mount, and is better in a mount namespace of its own: what is mounted goes with it. Reads and
 * writes fail with EIO until a view is shown. Errors are -errno with words in @diag.
 */
int state_files_open(const struct journal *journal, const char *where, struct diag *diag,
		     struct state_files **ret_files);
/* Unmount them, in use or not (users get ENOTCONN), and free. NULL allowed; returns NULL. */
struct state_files *state_files_free(struct state_files *files);

/* "WHERE/disk.img"; valid until free. */
const char *state_files_path(const struct state_files *files, uint16_t disk);
/* From here on requests go to @view (borrowed); NULL: to none, and @view is the owner's again. */
void state_files_show(struct state_files *files, struct view *view);
/* As a write of these bytes to the file, or zeroes where @data is NULL. */
int state_files_put(struct state_files *files, uint16_t disk, uint64_t at,
		    const unsigned char *data, uint64_t len_bytes);
/*
 * The commands that used the files have ended: unmount what they have left mounted of them through
 * loop devices, take these away, and wait up to @timeout_ms until nobody has the files open.
 * -EBUSY: somebody still does; @diag names the file.
 */
int state_files_settle(struct state_files *files, int timeout_ms, struct diag *diag);
/* The first error while the view was shown (-ENOMEM: too much was written), or 0. */
int state_files_error(struct state_files *files);

#endif
