/* SPDX-License-Identifier: MIT */
/*
 * The log of the kernel's dm-log-writes target, read into a journal and written from one.
 *
 * WHAT SUCH A LOG KNOWS. Its entries stand in the order in which they became durable. A write or
 * discard is logged when a flush that was submitted after its completion has itself completed, and
 * stands right before that flush, in the order of completion; one with FUA is logged when it
 * completes; a mark when it is made. The log has no times, no order of submission, no content from
 * before it began, no errors, and not the size of its disk. What was completed but never flushed
 * stands at the end, without a flush behind it.
 *
 * WHAT AN IMPORT MAKES OF IT. Each entry is submitted right after the entry before it has ended and
 * completes at once, so that what stands between two flushes may survive in any choice until the
 * second of them has completed, and is durable from there; of two such writes to one place the
 * second is the newer. Every state of such a journal could have been found on the disk, provided
 * that its user had no two writes to one place in flight, and with any mark made before it. There
 * were others that the log does not know: a write that survived although it is logged behind a
 * flush or a mark that was made after its submission. Times are made up: a microsecond for each
 * step.
 */
#ifndef FAULTS_JOURNAL_LOGWRITES_H
#define FAULTS_JOURNAL_LOGWRITES_H

#include "faults/journal/journal.h"

enum logwrites_flag {
	LOGWRITES_FLUSH = 1u << 0,
	LOGWRITES_FUA = 1u << 1,
	LOGWRITES_DISCARD = 1u << 2,
	LOGWRITES_MARK = 1u << 3,
	LOGWRITES_META = 1u << 4,
	LOGWRITES_ALL_FLAGS = (1u << 5) - 1,
};

#define LOGWRITES_END         "dm-log-writes-end" /* text of the last mark */
#define LOGWRITES_DISCARD_MAX (128u << 20)        /* bytes of one discard that we write */

/* ------------------------------------------------------------------------------ reading */

/* A log and the place in it. Borrows the bytes. */
struct logwrites {
	const unsigned char *bytes;
	uint64_t size;
	uint64_t nr_entries;
	uint32_t block_bytes; /* unit of the log: the logical block of its disk */
	uint64_t at;          /* byte of the next entry */
	uint64_t next;        /* its number, from 1 */
};

struct logwrites_entry {
	uint64_t n;                /* from 1 */
	uint64_t file_at;          /* byte of the log at which it stands */
	uint32_t flags;            /* enum logwrites_flag */
	uint64_t at, len_bytes;    /* on the disk */
	const unsigned char *data; /* len_bytes of it in the log; NULL: a discard or no bytes */
	const char *text;          /* of a mark, in the log, not terminated; else NULL */
	size_t text_len;
};

/* Do these bytes begin like a log? */
bool logwrites_is(const void *bytes, uint64_t size);
/* @bytes: a whole file or device. -EINVAL in words: no log, or none that can be. */
int logwrites_open(const void *bytes, uint64_t size, struct diag *diag, struct logwrites *ret_log);
/* The next entry: 1; 0: that was all; -EINVAL: in words, with its number and byte. */
int logwrites_next(struct logwrites *log, struct diag *diag, struct logwrites_entry *ret_entry);

struct logwrites_import {
	const char *name; /* of the disk; NULL: what the log says, if we wrote it, or "log" */
	/* Of the disk; 0: what the log says, if we wrote it, or the end of the last thing in it,
	 * rounded up to a MiB. */
	uint64_t size_bytes;
	/* Content that the disk had before, size of the disk or less; NULL: zeroes. Borrowed. */
	const unsigned char *base;
	uint64_t base_bytes;
};

/*
 * The journal of a log, sealed; @options may be NULL. It points into @bytes and @options->base,
 * which must outlive it. -EINVAL in words, with the number and the byte of the entry; -ENOMEM.
 */
int logwrites_import(const void *bytes, uint64_t size, const struct logwrites_import *options,
		     struct diag *diag, struct journal **ret_journal);

/* ------------------------------------------------------------------------------ writing */

/* What a log could not be told. */
struct logwrites_export {
	uint64_t nr_entries;
	uint64_t nr_failed;     /* writes that ended with an error: left out */
	uint64_t nr_unfinished; /* writes that never ended: left out */
	uint64_t
		nr_false_acks; /* writes and flushes that a rule lied about: as the host saw them */
};

/*
 * Writes what happened to one disk of @journal as a log to @fd, which is empty and can seek. The
 * super block comes last, so that a file cut short is no log. The first mark tells size, name and
 * how many entries are content from before, in words that logwrites_import() understands and other
 * readers skip. What a flush has made durable stands before it, in the order of
 * completion. An older write to the place of one with FUA, and all that was completed before it,
 * stand before that one, even if no flush came between: so a replay ends with what the disk holds.
 * On a disk without a cache every write has FUA.
 * Write-zeroes become discards, which are cut into pieces of LOGWRITES_DISCARD_MAX; a mark is cut
 * to what fits into a block. -errno of writing; -EINVAL: a block that no log can have; -ENOMEM;
 * words in @diag.
 */
int logwrites_export(const struct journal *journal, uint16_t disk, int fd, struct diag *diag,
		     struct logwrites_export *ret_export);

#endif
