/* SPDX-License-Identifier: MIT */
/*
 * What a power cut may leave of the disks of a journal, at any moment of it.
 *
 * THE DEFINITION. At step t a write is submitted if its submit step is at most t. It is durable if
 * it completed without error by t and: it is FUA; or its disk has no volatile cache; or a flush of
 * its disk that was submitted after that completion has completed without error by t. (With
 * `illegal`, what a lying rule acknowledged counts as if it had failed.)
 *
 * A durable write replaces, in a unit, every write that had completed (failed or not) before it was
 * submitted and whose part of the unit lies within its own. Of writes that were in flight together
 * neither replaces the other. The image holds, in each unit, the content from before the recording
 * with the durable writes over it, in order of submission. The candidates of the unit are the
 * content in the image, and for each submitted write to the unit that is not replaced, the content
 * that it leaves there. A legal state is one candidate for each unit, independently (CRASH_UNIT).
 *
 * What a write leaves in a unit that it covers is its data, or zeroes. Where it covers only a part,
 * because units are larger than blocks, it is, byte by byte: the write's own where it covers the
 * byte and no durable write has replaced it there (one to that byte, submitted after the write had
 * completed); else that of the last submitted durable write to the byte, if that one was submitted
 * after the write; else that of the last write to the byte that was submitted before it, or of the
 * content before the recording. So a unit holds one version of itself, each legal block by block.
 *
 * CRASH_WRITE: a state is what the durable writes and any set of the others leave, in order of
 * submission. CRASH_ORDER: what is left on each disk by all writes up to one of them, in order of
 * submission, of which none that is durable may be missing; a failed one counts as done. In both
 * the unit is the smallest logical block, and a write that was replaced counts as replaced.
 *
 * A power cut that was recorded is no more than durable writes of what its disk held afterwards
 * (journal_write.kept), all at once: there is no moment between them, and crash_points() has none.
 *
 * A cursor stands at one moment and is moved forward. It keeps what is durable in an image of each
 * disk, and beside it the choices: the units with more than one candidate. Contents that are equal
 * are one candidate. A state is named by its picks: the number of the candidate of each choice.
 *
 * What it needs: a bit for each unit of the disks (only those near something written are backed by
 * memory); a byte for each write of the journal; about 350 bytes for each unit that is covered by a
 * write that is not durable, 64 more for each such write in it, and the unit's size for each of
 * those that covers only a part of it.
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
	/* Power of two, at least the largest logical block; 0: that one. CRASH_WRITE, CRASH_ORDER:
	 * of no effect, see above. */
	uint32_t unit_bytes;
	enum crash_atomic atomic;
	bool illegal; /* what a lying rule acknowledged guarantees nothing: not legal states */
};

/*
 * What @options leave open is as the caches of the disks were recorded: nothing is, where
 * unit_bytes is not 0; all is else, but for atomic if it was given (@atomic_given). Where the
 * caches differ, or keep an order of units: the largest unit, since a disk with smaller ones may
 * leave whole ones of that; else the order of the writes, which any disk may happen to keep. So all
 * states are legal, but some of the legal ones are missing; true is returned then. @journal:
 * sealed.
 */
bool crash_as_recorded(struct crash_options *options, bool atomic_given,
		       const struct journal *journal);

/* ------------------------------------------------------------------------------ moments */

enum crash_why {
	CRASH_BEFORE_DURABLE, /* the last moment before something becomes durable */
	CRASH_AT_MARK,        /* right after a mark */
	CRASH_AT_COMPLETION,  /* right after a request was completed */
	CRASH_AT_END,
};

struct crash_point {
	/* Everything up to and including this step has happened; something happened at it. */
	uint64_t step;
	uint64_t time_ns; /* of what happened at it */
	enum crash_why why;
	uint32_t nr_marks; /* of the journal's marks, how many have been made by then */
};

enum crash_set {
	/*
	 * Between two moments at which something becomes durable the states only get more, so the
	 * last moment of each such span has all of them; and a mark changes what is expected of
	 * them. These are the moments with new states or new expectations: every state of any
	 * moment is one of such a moment with as many marks, or more. (Where every write covers
	 * whole units a span without a submission has no state that the one before has not, and is
	 * left out.)
	 */
	CRASH_SET_DEFAULT,
	CRASH_SET_COMPLETIONS, /* after every completion, and the default ones */
	CRASH_SET_MARKS,       /* after every mark, and the end */
};

struct crash_select {
	enum crash_set set;
	/* Steps, both included; @to counts as the end; 0: the end of all. There is always a point:
	 * where nothing happens between, the moment that lasts from before @from. */
	uint64_t from, to;
	size_t sample; /* 0: all; else so many of them, chosen by @seed; ascending all the same */
	uint64_t seed;
};

/*
 * Ascending; of moments with the same states and the same marks only the first. Caller frees
 * *ret_points. -ENOMEM.
 */
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
/*
 * Go to the moment after @step, at or after where it stands (asserted). Costs what has happened
 * between. -ENOMEM: the cursor can only be freed. -E2BIG: it is there, but one choice has more than
 * CRASH_CANDIDATES_MAX candidates, so that it has no picks: it can only be freed or moved on.
 */
int crash_move(struct crash *crash, uint64_t step);
uint64_t crash_step(const struct crash *crash);
const struct journal *crash_journal(const struct crash *crash);
const struct crash_options *crash_options(const struct crash *crash); /* unit_bytes is settled */

#define CRASH_BASE           UINT32_MAX
#define CRASH_CANDIDATES_MAX 65535

struct crash_candidate {
	/*
	 * len_bytes of the choice; NULL: zeroes. Valid until a move. Candidate 0 points into the
	 * image: who changes that saves what is there, and puts it back.
	 */
	const unsigned char *data;
	uint64_t hash;  /* of the content, wherever it is; 0 for zeroes */
	uint32_t write; /* the last submitted write that leaves it; of candidate 0 CRASH_BASE */
};

/*
 * Something undecided. CRASH_UNIT: a unit; candidate 0 is what the image holds, the others follow
 * as they first came. CRASH_WRITE: a write of crash_volatile(), at and len_bytes being its own: 0
 * lost, 1 survived; candidates is NULL. CRASH_ORDER: one choice for each disk with such writes:
 * pick n: those submitted before the disk's last durable write, and of the others the first n,
 * survived; candidates is NULL.
 */
struct crash_choice {
	uint64_t at;
	uint64_t len_bytes; /* CRASH_UNIT: of the unit */
	uint16_t disk;
	uint16_t newest; /* the candidate that is there when everything survived */
	uint32_t nr;     /* candidates, at least 2 (CRASH_ORDER: also 1) */
	const struct crash_candidate *candidates;
	uint32_t write; /* CRASH_WRITE: its index */
};

/*
 * By disk and place (CRASH_WRITE: by submission; CRASH_ORDER: by disk); valid until a move. The
 * first time after a move this costs what is undecided, and so do the functions below. Returns how
 * many. All functions with a const cursor may be called by several threads.
 */
size_t crash_choices(const struct crash *crash, const struct crash_choice **ret_choices);
/*
 * The writes that can make a difference: those that count in some unit. A write counts in a unit
 * when it is submitted, not durable, not replaced there, and it, or one that is not replaced and
 * was submitted before it, leaves something else there than the image holds. By submission (indices
 * into journal->writes); valid until a move.
 */
size_t crash_volatile(const struct crash *crash, const uint32_t **ret_writes);

/*
 * How many states there are, as a product of powers: exactly (CRASH_UNIT); CRASH_WRITE counts sets
 * of writes and CRASH_ORDER places to stop, of which several may leave the same content.
 */
struct crash_count {
	double log2;
	uint64_t exact; /* UINT64_MAX: more than that, or just that */
	char text[96];  /* "2^30 x 3^2"; large lists are shortened to "about 2^41.7" */
	/* There are more, that the cursor does not know: what is counted is legal, not all. */
	bool missing;
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
/*
 * Picks of what is left when of the volatile writes (crash_volatile) those with survives[i] did. A
 * unit gets what the last submitted of its durable and surviving writes leaves; the image's content
 * where none survived that counts there. CRASH_ORDER: the longest prefix that has no others.
 */
void crash_survivors(const struct crash *crash, const bool *survives, uint16_t *picks);
/*
 * lost[i]: of volatile write i some part is not there, though nothing that was submitted after it
 * is in its place: in some unit where it counts it was submitted after the last write that leaves
 * the content (of durable ones only those to all of the unit are asked). CRASH_WRITE, CRASH_ORDER:
 * after the last one there that is durable or survived.
 */
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
