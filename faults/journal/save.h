/* SPDX-License-Identifier: MIT */
/*
 * A journal as a record file, for what did not come from one: logs of others, reproducers.
 *
 * journal_open() gives back the same disks, content, marks, writes and flushes in the same order.
 * What is too large for one request of a record file comes back as several writes: data past 32
 * MiB, discards past 4 GiB. A write that lied has a rule beside it that says so. The file is no
 * account of what a disk of ours did, so replaying it proves nothing.
 */
#ifndef FAULTS_JOURNAL_SAVE_H
#define FAULTS_JOURNAL_SAVE_H

#include "faults/journal/journal.h"

/*
 * Writes a sealed @journal to @fd, which is empty, as the recording @id. -errno of writing; -E2BIG:
 * more requests in flight than a recording can have; -ENOMEM; words in @diag.
 */
int journal_save(const struct journal *journal, uint64_t id, int fd, struct diag *diag);
/* The same; *ret_shown is what users of the recording see of @step. */
int journal_save_step(const struct journal *journal, uint64_t id, int fd, uint64_t step,
		      struct diag *diag, uint64_t *ret_shown);

#endif
