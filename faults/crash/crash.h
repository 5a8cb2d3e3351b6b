/* SPDX-License-Identifier: MIT */
/*
 * What a power cut may leave of the disks of a journal, at any moment of it.
 *
 * THE DEFINITION. At step t a write is submitted if its submit step is at most t. It is durable if
 * it completed without error by t and: it is FUA; or its disk has no volatile cache; or a flush of
 * its disk that was submitted after that completion has completed without error by t. (With
 * `illegal`, what a lying rule acknowledged counts as if it had failed.)
 *
 * A write is carried out at some instant between its submission and its completion; one that failed,
 * or is in flight, perhaps not at all. So a write that completed comes before each one that was
 * submitted after that, and of writes that were in flight together either may be the first. Units
 * carry it out each by itself, at instants of their own (CRASH_UNIT).
 *
 * A version of a unit is what a set of the submitted writes to it leaves, in an order. The set has
 * all that are durable; and with each write those that had completed without error before it was
 * submitted. The order is any in which each write comes after those that had completed (failed or
 * not) before it was submitted. The candidates of a unit are its versions, and a legal state is one
 * candidate for each unit, independently. In the image each unit holds the version with the fewest
 * writes, in order of submission.
 *
 * Where each write covers all of the unit this comes to: what the last submitted durable write
 * leaves, and what each other write does that is not replaced: that had not completed before a
 * durable one was submitted. Else a write is replaced if durable ones that were submitted after its
 * completion cover all of its part.
 *
 * CRASH_WRITE: a state is what the durable writes and any set of the others leave, in one of these
 * orders, which is the same for all units. CRASH_ORDER: a state of a disk is a version of all of it,
 * with one order for all of its units. In both the unit is the smallest logical block, and a write
 * that was replaced counts as replaced.
 *
 * What has been discarded reads as zeroes, as soon as a discard has been carried out: this is what
 * the disks of this project do. One that keeps the old content, or has any other, has more states.
 *
 * What is not made, crash_count() tells (missing): there are more states than the cursor knows.
 *
 * CRASH_UNIT: a unit has too many versions. Of one with parts: more than 1024, or 16 MiB of them, if
 * more than 16, besides those after each write; borders of writes within it at more than 63 places;
 * a search that is too long; more than 60000 writes, or 256 MiB of what they leave, if more than
 * 256. Of another: more contents than CRASH_CANDIDATES_MAX. The oldest, the newest, and as many of
 * the others as there may be are made, evenly.
 *
 * CRASH_WRITE, CRASH_ORDER: more than 8 writes that were in flight together lie over each other, or
 * over one that another does, and so on; or fewer in more than 65536 / 2^(their number) orders, or
 * in more than 64 ways in which units have some of them. Of these only the order of submission is
 * made. CRASH_ORDER: CRASH_CANDIDATES_MAX writes to a disk, or more, can be lost; of the places
 * where it may have stopped so many are made, evenly.
 *
 * A power cut that was recorded is no more than durable writes of what its disk held afterwards
 * (journal_write.survivor), all at once: there is no moment between them, and crash_points() has none.
 *
 * A cursor stands at one moment and is moved forward. It keeps what is durable in an image of each
 * disk, and beside it the choices: the units with more than one candidate. Contents that are equal
 * are one candidate. A state is named by its picks: the number of the candidate of each choice.
 *
 * What it needs: a bit for each unit of the disks (only those near something written are backed by
 * memory); a byte for each write of the journal; about 350 bytes for each unit that is covered by a
 * write that is not durable, 64 more for each such write in it, and the unit's size for each
 * version, if some write covers only a part of it.
 */
#ifndef FAULTS_CRASH_CRASH_H
#define FAULTS_CRASH_CRASH_H

#include "faults/journal/journal.h"

enum crash_atomic {
	CRASH_UNIT,  /* each unit by itself */
	CRASH_WRITE, /* a write survives whole or not at all */
	CRASH_ORDER, /* the disk keeps the order in which it carries writes out */
};

#define CRASH_UNIT_MIN 512u
#define CRASH_UNIT_MAX (1u << 30)

struct crash_options {
	/* Power of two from CRASH_UNIT_MIN to CRASH_UNIT_MAX, also less than a logical block; 0: the
	 * largest of these. CRASH_WRITE, CRASH_ORDER: of no effect, see above. */
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

/*
 * The least that a disk of the recording may keep or lose by itself, in bytes: a unit of its cache,
 * as far as that was recorded, or a logical block; 0: all of them keep or lose whole writes. States
 * of what is larger are legal, but not all.
 */
uint32_t crash_least_bytes(const struct journal *journal);

/* ------------------------------------------------------------------------------ moments */

enum crash_why {
	CRASH_BEFORE_DURABLE, /* the last moment before something becomes durable */
	CRASH_AT_MARK,        /* right after a mark */
	CRASH_AT_COMPLETION,  /* right after a request was completed */
	CRASH_AT_END,
};

struct crash_point {
	/* Everything up to and including this step (of the journal, see journal_shown()) has happened;
	 * something happened at it, unless it is 0. */
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
	 * moment is one of such a moment with as many marks, or more. (A span without a submission
	 * has no state that the one before has not, and is left out.)
	 */
	CRASH_SET_DEFAULT,
	CRASH_SET_COMPLETIONS, /* after every completion, and the default ones */
	CRASH_SET_MARKS,       /* after every mark, and the end */
};

struct crash_select {
	enum crash_set set;
	/* Steps as users see them (journal_shown()), whether something happened at them or not, both
	 * included; @to, if @has_to, counts as the end. The moment that lasts at @from began at or
	 * before it: if it is a point, that is the only one whose step may be less than @from. There
	 * is always a point; if nothing has happened by @to, it is step 0. */
	uint64_t from, to;
	bool has_to;
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
 * between. -ENOMEM: the cursor can only be freed.
 */
int crash_move(struct crash *crash, uint64_t step);
uint64_t crash_step(const struct crash *crash);
const struct journal *crash_journal(const struct crash *crash);
const struct crash_options *crash_options(const struct crash *crash); /* unit_bytes is settled */

#define CRASH_BASE           UINT32_MAX
#define CRASH_TURNS          (UINT32_MAX - 1)
#define CRASH_CANDIDATES_MAX 65535 /* of a choice */

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
 * lost, 1 survived; candidates is NULL. CRASH_ORDER: for each disk with such writes one choice,
 * without a write and with its place and size: pick n: its n-th one is the last submitted that
 * survived (of CRASH_CANDIDATES_MAX or more of them: of so many equal parts the n-th is the last), 0:
 * none did; then one for each that was in flight when the next came: 0 survived with the later ones,
 * 1 lost, which has no meaning (and is to be 0, see crash_canonical()) where it is not earlier than
 * the last or had completed before that was submitted; candidates is NULL.
 *
 * In both there follows (CRASH_ORDER: for each disk) one choice for each tangle: writes that were in
 * flight together and lie over each other, with its range, write being CRASH_TURNS: the order in
 * which they were carried out, 0 that of submission. One that leaves the same as an earlier order
 * does, of the writes that survived, has no meaning; candidates is NULL.
 */
struct crash_choice {
	uint64_t at;
	uint64_t len_bytes; /* CRASH_UNIT: of the unit */
	uint16_t disk;
	uint16_t newest; /* the candidate that is there when everything survived */
	uint32_t nr;     /* candidates, at least 2 */
	const struct crash_candidate *candidates;
	uint32_t write; /* CRASH_WRITE, CRASH_ORDER: its index, or CRASH_TURNS; else CRASH_BASE */
};

/*
 * By disk and place (CRASH_WRITE: by submission, then tangles; CRASH_ORDER: by disk); valid until a move. The
 * first time after a move this costs what is undecided, and so do the functions below. Returns how
 * many. All functions with a const cursor may be called by several threads.
 */
size_t crash_choices(const struct crash *crash, const struct crash_choice **ret_choices);
/*
 * The writes that can make a difference: those that count in some unit. A write counts in a unit
 * when it is submitted, not in every version (durable), not replaced there, and it, or one that is
 * not replaced and was submitted before it, leaves something else there than the image holds; of a
 * unit with parts, when that has several candidates; of one with writes that were in flight together
 * and leave different things there (CRASH_WRITE, CRASH_ORDER), always. By submission (indices into
 * journal->writes);
 * valid until a move.
 */
size_t crash_volatile(const struct crash *crash, const uint32_t **ret_writes);

/*
 * How many states there are, as a product of powers: exactly (CRASH_UNIT); CRASH_WRITE and
 * CRASH_ORDER count sets of writes, with each order that makes a difference, of which several may
 * leave the same content.
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
/*
 * All picks that name a state, each once, from crash_oldest() on; false: that was the last, and it
 * is the first again. In CRASH_UNIT these are all combinations of candidates.
 */
bool crash_next(const struct crash *crash, uint16_t *picks);
/* Picks without a meaning become 0, and those of orders the first that leaves the same; false: there
 * were such. */
bool crash_canonical(const struct crash *crash, uint16_t *picks);
/* All lost, all survived. */
void crash_oldest(const struct crash *crash, uint16_t *picks);
void crash_newest(const struct crash *crash, uint16_t *picks);
/*
 * Picks of what is left when of the volatile writes (crash_volatile) those with survives[i] did. A
 * unit gets what its durable and surviving writes leave in order of submission, with what must have
 * been there before these; the image's content where none survived that counts there. CRASH_ORDER:
 * the largest state without others. Where a state of that name is not made (see above): one with the
 * newest content before that.
 */
void crash_survivors(const struct crash *crash, const bool *survives, uint16_t *picks);
/*
 * lost[i]: of volatile write i some part is not there, though nothing that was submitted after it
 * is in its place: in some unit where it counts it was submitted after the last write that leaves
 * the content there (of a unit with parts: in one of its parts). CRASH_WRITE, CRASH_ORDER: after the
 * last one there that is durable or survived; where writes in flight together leave different things,
 * also after the last that leaves the content there.
 */
void crash_lost(const struct crash *crash, const uint16_t *picks, bool *lost);
/*
 * Writes that were in flight together are there in another order than that of submission, and what
 * is lost does not say so: @nr_lost of crash_lost(). CRASH_UNIT: only where nothing is lost.
 */
bool crash_reordered(const struct crash *crash, const uint16_t *picks, size_t nr_lost);

/*
 * The state in one word that crash_parse() understands at the same moment of the same journal with
 * the same options: "new", "old", "new~3=0,17=1" (all survived but for ...), "old~3=1"; the shorter
 * of the two. Caller frees; NULL: no memory.
 */
char *crash_name(const struct crash *crash, const uint16_t *picks);
/* -EINVAL in words: not such a word, or not of this moment. */
int crash_parse(const struct crash *crash, const char *name, struct diag *diag, uint16_t *picks);

#endif
