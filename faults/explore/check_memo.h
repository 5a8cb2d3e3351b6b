/* SPDX-License-Identifier: MIT */
/*
 * What checks have read, and how they ended: a check that would read the same ends the same.
 *
 * Contents are named by a 64-bit hash of each sector of 512 bytes.
 */
#ifndef FAULTS_EXPLORE_CHECK_MEMO_H
#define FAULTS_EXPLORE_CHECK_MEMO_H

#include "faults/explore/pages.h"

#include <stdbool.h>

/* One sector as a check found it. */
struct check_read {
	uint64_t place; /* see check_place() */
	uint64_t content;
};

#define CHECK_DISK_SHIFT 55 /* of the place; below it the number of the sector */

static inline uint64_t check_place(uint16_t disk, uint64_t at)
{
	return (uint64_t)disk << CHECK_DISK_SHIFT | at >> 9;
}

/* @len bytes, a multiple of 512; NULL: zeroes. Of one sector this is its content's name. */
uint64_t check_hash(const unsigned char *data, size_t len);

/* ------------------------------------------------------------------------------ one check */

/* Each sector that one check read before it wrote there, once, in the order of the reads. */
struct check_log {
	struct pages pages;
	struct check_read *reads;
	size_t nr, max;
	bool failed; /* no memory: the log is not to be used */
};

void check_log_init(struct check_log *log);
void check_log_free(struct check_log *log);
void check_log_clear(struct check_log *log);
/* Of the page around @at these sectors were read (a bit for each); @data is the page's byte at @at.
 * What the log has already is ignored. */
void check_log_note(struct check_log *log, uint16_t disk, uint64_t at, uint8_t sectors,
		    const unsigned char *data);

/* ------------------------------------------------------------------------------ all checks */

struct check_memo;

/* Holds at most about @limit_bytes; what comes then is not remembered. Any thread may use it. */
int check_memo_create(uint64_t limit_bytes, struct check_memo **ret_memo);
struct check_memo *check_memo_free(struct check_memo *memo); /* NULL allowed; returns NULL */

/*
 * What would the check read at @place? @known: contents with which it goes on here, any of them;
 * where there is a choice one of these is welcome.
 */
typedef uint64_t (*check_memo_ask_fn)(void *ctx, uint64_t place, const uint64_t *known,
				      size_t nr_known);
/*
 * Ask for one sector after the other what the checks before read, in their order, for as long as
 * the answers are theirs. True: they all were, to the end, and *ret_verdict is what it was.
 */
bool check_memo_find(struct check_memo *memo, check_memo_ask_fn ask, void *ctx, int *ret_verdict);
/* -ENOMEM; -ESTALE: the same was read before, and the verdict was another. */
int check_memo_add(struct check_memo *memo, const struct check_log *log, int verdict);

#endif
