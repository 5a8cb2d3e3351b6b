/* SPDX-License-Identifier: MIT */
/* A file that may be a recording: mapped, and what kind it is. journal_open() stands on this. */
#ifndef FAULTS_JOURNAL_READ_H
#define FAULTS_JOURNAL_READ_H

#include "faults/journal/journal.h"

struct journal_file {
	void *bytes; /* mapped to be read */
	size_t size;
	bool under_way; /* somebody is still writing it */
};

/* Does whoever writes this recording hold its lock (flock), as `run --record` does to the end? */
bool journal_is_under_way(int fd);

/*
 * A file or a block device. Its mapping is guarded (base/map_guard.h): of a file that is cut later
 * the rest reads as zeroes, of one that is written to what was written, and map_any_broken() says
 * so; who works with it asks before telling what came of it. -errno of opening or mapping it, -EINVAL: neither, or empty; in words.
 */
int journal_map(const char *path, struct diag *diag, struct journal_file *ret_file);
void journal_unmap(struct journal_file *file); /* one that is all zero: nothing */

enum journal_format {
	JOURNAL_UNKNOWN,
	JOURNAL_RECORD,    /* faultblk-record(5) */
	JOURNAL_LOGWRITES, /* dm-log-writes */
};
enum journal_format journal_format(const struct journal_file *file);

/*
 * The journal of a record file; it points into @bytes, which must outlive it. Errors and words as
 * journal_open(). Of one that ends early @diag says where, though that is no error.
 */
int journal_from_record(const void *bytes, size_t size, struct diag *diag,
			struct journal **ret_journal);

#endif
