/* SPDX-License-Identifier: MIT */
/*
 * Inside the results file: its lines (lines.c), its head (head.c), reading it again
 * (resume.c), what is remembered of findings (findings.c), and writing it
 * (results.c). Each knows only those before it.
 */
#ifndef TOOLS_EXPLORE_RESULTS_INTERNAL_H
#define TOOLS_EXPLORE_RESULTS_INTERNAL_H

#include "faults/explore/key_set.h"
#include "tools/cli/out_file.h"
#include "tools/explore/internal.h"
#include "tools/report/line.h"

#include <jansson.h>

#define FINDINGS_MAX 1000 /* groups; more are counted as states, and not remembered */
#define SAME_MAX     64   /* members of a group that are named */

struct loader;

struct results {
	struct results_options o;
	int fd; /* of the file; -1: there is none */
	struct out_file file;
	bool print;
	int error;
	uint64_t seal; /* of the last line */
	/* Not NULL: lines are not written, but must be the next ones of what is read again. */
	void (*compare)(struct loader *loader, const char *text, size_t len);
	struct loader *loader;
	char *bulk; /* lines not written yet, while the head is written */
	size_t bulk_len, bulk_size;
	bool is_bulk;
	bool *lost; /* scratch: of the volatile writes */
	size_t nr_scratch;
	/* Of the runs that this one goes on from. */
	struct key_set done[EXPLORE_NR_VERDICTS]; /* keys by verdict */
	struct explore_lazy_known *lazy;          /* by point; NULL: nothing was there */
	bool *lazy_done;
	double seconds, first_finding_s; /* of those that came to an end; negative: none */
	struct finding *findings;
	size_t nr_findings;
};

/* Takes @line, seals and writes it; NULL: no memory. */
void results_line(struct results *r, json_t *line);
/* Between a call with @on and one without, lines may be written together. */
void results_bulk(struct results *r, bool on);
/* Text as JSON has it: what is no UTF-8 becomes '?'. NULL text: null. */
json_t *results_text(const char *text);
json_t *results_hex(uint64_t value);

/* The first line of a run. */
json_t *results_head(const struct results *r, bool resumed);
/* The lines that follow the first one: what the recording holds, and the crash points. */
void results_describe(struct results *r);
/* All of these. */
void results_write_head(struct results *r);

/*
 * What the file holds: 1: good up to *ret_good_bytes, to be gone on from; 0: the beginning of our
 * head at most, to be begun anew; or -errno in words. Nothing is written.
 */
int results_load(struct results *r, struct diag *diag, uint64_t *ret_good_bytes);

/* A state that fails, on its way to be remembered. */
struct found {
	size_t point_index;
	const char *name, *output;
	uint64_t key;
	enum explore_verdict verdict;
	bool in_recovery;
	const uint32_t *lost; /* at most EXPLORE_LOST_MAX */
	uint64_t nr_lost;
	bool reordered; /* see crash_reordered() */
};

/* Remember a finding. Texts are copied. */
void results_remember(struct results *r, const struct found *found);
void results_forget(struct results *r);

#endif
