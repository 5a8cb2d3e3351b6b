/* SPDX-License-Identifier: MIT */
/*
 * Results of explorations: JSON lines read, shards merged into one, and told as text, JSON, or a
 * page.
 *
 *	report_read() for each file -> report_merge() -> report_print(), report_json(),
 *						       report_write(), report_page()
 *
 * States are kept as lines of the files they come from, parsed again where more of them is wanted:
 * a state costs about a hundred bytes beside its line. One thread.
 */
#ifndef TOOLS_REPORT_REPORT_H
#define TOOLS_REPORT_REPORT_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define REPORT_POINTS_MAX (1u << 24)
#define REPORT_SAME_MAX   64u /* names of other states told with a finding */

enum report_verdict {
	REPORT_OK,
	REPORT_FAIL,
	REPORT_TIMEOUT,
	REPORT_CRASH,
	REPORT_ERROR, /* the check could not be run: no finding, and not done */
	REPORT_NR_VERDICTS
};

struct report_state {
	uint64_t key;
	uint32_t point, shard;
	uint32_t source;  /* of the files that were read, from 0 */
	bool kept;        /* from report_merge(): of the file that its shard is kept of */
	bool in_recovery; /* so ended recovery, and the check was not run */
	enum report_verdict verdict;
	double ms;
	char *name;       /* owned */
	const char *line; /* in the bytes given to report_read() */
	size_t len;
};

/*
 * What one shard said of itself. A shard that was read twice is kept as the one that got further,
 * whatever the order of the files; its states are all kept, and of each crash point the line of the file
 * that knows more of it.
 */
struct report_shard {
	char *file;        /* where it was read from; NULL: it is missing */
	const char *bytes; /* what was read there, of report_read() */
	size_t size;
	uint32_t source;
	json_t *done;   /* point number in decimal -> its "done" line, of all files of the shard */
	size_t nr_done; /* in the file that is kept */
	json_t *findings; /* of the last block that an "end" closed, or what there is */
	json_t *end;      /* NULL: it did not come to its end */
};

struct report_totals {
	uint64_t states, distinct, equivalent, verdicts[REPORT_NR_VERDICTS];
	uint64_t in_recovery; /* states that fail already there */
	uint64_t disagree;    /* states whose check said different things in two runs */
	uint64_t diverged;
	uint64_t not_deterministic; /* findings that did not fail when they were repeated */
	uint64_t points_done, points_complete;
	uint64_t points_unmade;   /* of these: with not one state, so that none was checked */
	uint64_t points_left_out; /* by --from, --to and --sample: not among these, nor covered */
	uint64_t points_missing;  /* with legal states that were not made, see explore_point */
	uint32_t missing, unfinished; /* shards */
	double seconds, longest_s;    /* of all shards together; of the longest */
	double first_finding_s;       /* of the shard that was first; negative: none or unknown */
	double covered;               /* mean over all crash points */
	bool exact;                   /* that is not "at least" */
};

struct report {
	json_t *head;    /* the "explore" line of the first file */
	char *head_file; /* its name */
	json_t *writes, *flushes, *marks, *points;
	struct report_state *states;
	size_t nr_states, max_states;
	struct report_shard *shards;
	uint32_t nr_shards;
	uint32_t nr_sources; /* files that were read */
	uint32_t nr_cut;     /* files whose last line is cut */
	/* From report_merge(): */
	json_t *done; /* one merged line a crash point, null where none came to an end */
	json_t *findings; /* by crash point and name; equal lost sets are one; of each state that fails */
	struct report_totals totals;
};

void report_init(struct report *report);
void report_clear(struct report *report);

/*
 * Adds the results in @bytes, which must stay until report_clear(). A last line that is cut is left
 * out. -EINVAL in words: damaged, no results, or of another exploration than what was read before.
 */
int report_read(struct report *report, const char *file, const char *bytes, size_t size,
		struct diag *diag);
/* Once, after all files: unites and sorts. -EINVAL: nothing was read; -ENOMEM. */
int report_merge(struct report *report, struct diag *diag);

/* The merged results as JSON lines; @canonical: without times and findings (states have their
 * verdicts), to be compared. */
int report_write(const struct report *report, bool canonical, FILE *out);
int report_page(const struct report *report, FILE *out);
void report_print(const struct report *report, FILE *out);
json_t *report_json(const struct report *report); /* new; NULL: no memory */
/* "shard 2/4 is missing; shard 3/4 is not finished", counted from 1 as --shard does; "" when all is
 * there. From malloc. */
char *report_gaps(const struct report *report);

/* What legal states are states of, in the words that explore and report share. */
#define REPORT_MODEL_MAX 256
struct report_model {
	uint64_t unit_bytes;
	const char *atomic;   /* as --atomic has it */
	uint64_t least_bytes; /* see crash_least_bytes() */
	bool discards;        /* there are such in the recording */
};

/* Of the head; what is missing there counts as nothing to be told. */
struct report_model report_model(const json_t *head);
/* "units of 4 KiB, each by itself" */
const char *report_model_words(const struct report_model *model, char text[REPORT_MODEL_MAX]);
/* Sentences without a full stop about states that a disk may be left in, and that are not among
 * them; NULL: none. Where a disk of the recording may lose less than a unit; where it discards. */
const char *report_coarse_words(const struct report_model *model, char text[REPORT_MODEL_MAX]);
const char *report_discard_words(const struct report_model *model);

/* How a finding came to what it has lost, in the words that explore and report share. */
#define REPORT_LOSS_MAX 192
struct report_loss {
	enum { REPORT_NOT_REPEATED, REPORT_FAILED_AGAIN, REPORT_PASSED_THEN } repeated;
	bool shrunk;
	bool reordered; /* writes in flight together came in another order than they were sent in */
	bool missing;   /* with writes that were sent later the check passes: that was tried */
	uint64_t nr_lost, nr_found_lost, shrink_runs;
	bool in_recovery; /* which failed, so that the check was not run */
};

const char *report_loss_words(const struct report_loss *loss, char text[REPORT_LOSS_MAX]);
/* Of a line of type finding; what is missing there counts as not known. */
struct report_loss report_loss(const json_t *finding);

/* 0 no findings and no state that fails, 1 findings, 2 nothing found but a shard or the verdict of a state is missing. */
int report_exit(const struct report *report);

const char *report_verdict_name(enum report_verdict verdict);
enum report_verdict report_verdict(const char *name); /* REPORT_NR_VERDICTS: none of this name */
bool report_is_finding(enum report_verdict verdict);
/* Order of states: crash point, length of the name, name. */
int report_order(uint64_t point, const char *name, uint64_t other_point, const char *other);

/* Members of objects from a file that anyone may have written: 0, "" or NULL where not as expected.
 */
json_int_t report_int(const json_t *object, const char *name);
double report_real(const json_t *object, const char *name);
const char *report_text(const json_t *object, const char *name);
bool report_bool(const json_t *object, const char *name);

#endif
