/* SPDX-License-Identifier: MIT */
/*
 * What a power cut may leave of the disks of a journal, at any moment of it.
 *
 * THE DEFINITION. At step t a write is submitted if its submit step is at most t. It is durable if
 * it completed without error by t and: it is FUA; or its disk has no volatile cache; or a flush of
 * its disk that was submitted after that completion has completed without error by t. For each unit
 * of a disk the candidates are the contents that these leave there: every submitted write that
 * covers it, and the content before the recording, except for those that a durable write to the
 * unit has replaced: one that was submitted after their completion (the content before the
 * recording counts as complete from the start). Of writes that were in flight together neither
 * replaces the other. A legal state is one candidate for each unit, independently (CRASH_UNIT);
 * or what a set of the not durable writes leaves (CRASH_WRITE); or what a prefix of them does
 * (CRASH_ORDER). A unit that is larger than a write holds what the write leaves of the newest
 * content before it.
 *
 * A cursor stands at one moment and is moved forward. It keeps what is durable in an image of each
 * disk, and beside it the choices: the units with more than one candidate. Contents that are equal
 * are one candidate. A state is named by its picks: the number of the candidate of each choice.
 */
#ifndef FAULTS_CRASH_H
#define FAULTS_CRASH_H

#include "faults/journal.h"

enum crash_atomic {
	CRASH_UNIT,  /* each unit by itself */
	CRASH_WRITE, /* a write survives whole or not at all */
	CRASH_ORDER, /* the disk keeps the order of submission */
};

struct crash_options {
	uint32_t unit_bytes; /* power of two, at least the largest logical block; 0: that one */
	enum crash_atomic atomic;
	bool illegal; /* what a lying rule acknowledged guarantees nothing: not a legal state */
};

/* ------------------------------------------------------------------------------ moments */

enum crash_why {
	CRASH_BEFORE_DURABLE, /* the last moment before something becomes durable */
	CRASH_AT_MARK,        /* right after a mark */
	CRASH_AT_COMPLETION,  /* right after a request was completed */
	CRASH_AT_END,
};

struct crash_point {
	uint64_t step; /* everything up to and including this step has happened */
	uint64_t time_ns;
	enum crash_why why;
	uint32_t nr_marks; /* of the journal's marks, how many have been made by then */
};

enum crash_set {
	/*
	 * Between two moments at which something becomes durable the states only get more, so the
	 * last moment of each such span has all of them; and a mark changes what is expected of
	 * them. These are the moments with new states or new expectations.
	 */
	CRASH_SET_DEFAULT,
	CRASH_SET_COMPLETIONS, /* after every completion, and the default ones */
	CRASH_SET_MARKS,       /* after every mark, and the end */
};

struct crash_select {
	enum crash_set set;
	uint64_t from, to; /* steps; to = 0: the end */
	size_t sample; /* 0: all; else so many of them, chosen by @seed; ascending all the same */
	uint64_t seed;
};

/* Ascending; caller frees *ret_points. -ENOMEM. */
int crash_points(const struct journal *journal, const struct crash_options *options,
		 const struct crash_select *select, struct crash_point **ret_points,
		 size_t *ret_nr);

/* ------------------------------------------------------------------------------ the cursor */

/* Where the cursor keeps what is durable on one disk: owned by the caller, all zero at first. */
struct crash_image {
	unsigned char *bytes; /* the disk's size */
	int fd;               /* of the memory or file that is mapped there, to punch holes; -1 */
};

struct crash;

/*
 * Before the first step. @images: one for each disk; only the cursor changes them while it lives,
 * or the caller changes them back. -EINVAL in words: a unit that does not fit; -ENOMEM. One thread.
 */
int crash_create(const struct journal *journal, const struct crash_options *options,
		 const struct crash_image *images, struct diag *diag, struct crash **ret_crash);
struct crash *crash_free(struct crash *crash); /* NULL allowed; returns NULL */
/* Go to the moment after @step, at or behind where it stands (asserted). Costs what has happened
 * between. -ENOMEM: the cursor can only be freed. */
int crash_move(struct crash *crash, uint64_t step);
uint64_t crash_step(const struct crash *crash);
const struct journal *crash_journal(const struct crash *crash);
const struct crash_options *crash_options(const struct crash *crash); /* unit_bytes is settled */

#define CRASH_BASE UINT32_MAX

struct crash_candidate {
	const unsigned char *data; /* len_bytes of the choice; NULL: zeroes; valid until a move */
	uint64_t hash;             /* of the content; 0 for zeroes */
	uint32_t write;            /* the write that brought it, or CRASH_BASE */
};

/*
 * Something undecided. CRASH_UNIT: a unit; candidate 0 is what the image holds, the last one is
 * the newest. CRASH_WRITE: a write that is not durable, at and len_bytes being its own: 0 lost,
 * 1 survived; candidates is NULL. CRASH_ORDER: there is one choice, pick n: the first n survived;
 * candidates is NULL.
 */
struct crash_choice {
	uint64_t at;
	uint32_t len_bytes;
	uint16_t disk;
	uint32_t nr; /* candidates, at least 2 (CRASH_WRITE, CRASH_ORDER: also 1) */
	const struct crash_candidate *candidates;
	uint32_t write; /* CRASH_WRITE: its index */
};

/* By disk and place (CRASH_WRITE: by submission); valid until a move. Returns how many. */
size_t crash_choices(const struct crash *crash, const struct crash_choice **ret_choices);
/* Writes that are submitted and not durable, by submission (indices into journal->writes; those
 * that a durable write has wholly replaced are not among them). Valid until a move. */
size_t crash_volatile(const struct crash *crash, const uint32_t **ret_writes);

/* How many states there are: exactly, as a product of powers. */
struct crash_count {
	double log2;
	uint64_t exact; /* UINT64_MAX: more than that, or just that */
	char text[96];  /* "2^30 x 3^2"; large lists are shortened to "about 2^41.7" */
};
void crash_count(const struct crash *crash, struct crash_count *ret_count);

/* ------------------------------------------------------------------------------ states */

/*
 * picks: one for each choice. @put gets each unit whose content differs from the image, ascending,
 * once: what a presenter has to change. @data NULL: zeroes. Ends with the first non-zero answer.
 */
typedef int (*crash_put_fn)(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data,
			    uint32_t len_bytes);
int crash_put(const struct crash *crash, const uint16_t *picks, crash_put_fn put, void *ctx);
/* Names the content of all disks in that state: equal for equal content, at any moment. */
uint64_t crash_hash(const struct crash *crash, const uint16_t *picks);
/* All lost, all survived. */
void crash_oldest(const struct crash *crash, uint16_t *picks);
void crash_newest(const struct crash *crash, uint16_t *picks);
/* Picks of what is left when of the volatile writes (crash_volatile) those with survives[i] did. */
void crash_survivors(const struct crash *crash, const bool *survives, uint16_t *picks);
/* lost[i]: of volatile write i some part is not there, though nothing newer is in its place. */
void crash_lost(const struct crash *crash, const uint16_t *picks, bool *lost);

/*
 * The state in one word that crash_parse() understands at the same moment of the same journal with
 * the same options: "new", "old", "new~3=0,17=1" (all survived but for ...), "old~3=1"; the shorter
 * of the two. Caller frees; NULL: no memory.
 */
char *crash_name(const struct crash *crash, const uint16_t *picks);
/* -EINVAL in words: not such a word, or not of this moment. */
int crash_parse(const struct crash *crash, const char *name, struct diag *diag, uint16_t *picks);

#endif
