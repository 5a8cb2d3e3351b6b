/* SPDX-License-Identifier: MIT */
/*
 * The lines of a results file, one by one: sealed when they are written, checked when they are read
 * again, by explore --resume and by report alike.
 *
 * A seal is a hash of the line and of the seal before it, so a line that is missing, doubled, moved
 * or changed is seen at the first line that does not follow; lines that are missing at the end are
 * not, and are what a kill leaves. It finds damage and mistakes. It is no signature: who wants to
 * can seal anything, so no number in a line is used before it is in its range.
 */
#ifndef TOOLS_REPORT_LINE_H
#define TOOLS_REPORT_LINE_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESULTS_VERSION    3 /* 1 had no seals; steps of 1 and 2 are not those of records */
#define RESULTS_SEAL_START 0x6661756c74626c6bull
#define RESULTS_LOST_MAX   256   /* lost writes that a line lists */
#define RESULTS_SHARDS_MAX 65536 /* of one exploration */
/* Why an exploration stopped, in its end: its recording is not what it was, and nothing holds. */
#define RESULTS_CHANGED "changed"

/*
 * @line (taken; a seal that it has is replaced) in the words of the file with @flags of jansson, its
 * seal, and '\n'; from malloc, without a 0 at its end. *seal is that of the line before, and becomes
 * its own. NULL: no memory.
 */
char *results_seal(json_t *line, size_t flags, uint64_t *seal, size_t *ret_len);
/* Are these the words of one line of a file, seals aside? */
bool results_same_words(const char *a, size_t a_len, const char *b, size_t b_len);

/* Of a head: do the lines have seals? Are the steps those of records? */
bool results_are_sealed(const json_t *head);
bool results_have_record_steps(const json_t *head);

/* A file that is read. All zero but for its name at first. */
struct results_source {
	const char *file;
	unsigned int line; /* number of the last one taken, from 1 */
	bool sealed;       /* told by the first line */
	uint64_t seal;     /* of the last one taken */
};

/*
 * The next line, @len bytes without '\n'. 0 and a JSON object with a type (the caller's), or
 * -EINVAL in words, which name file and line.
 */
int results_take(struct results_source *source, const char *bytes, size_t len, struct diag *diag,
		 json_t **ret_line);
/* "FILE, line N: @what", @hint in place of the usual one unless it is NULL; -EINVAL. */
int results_bad_line(const struct results_source *source, const char *what, const char *hint,
		     struct diag *diag);

/* What numbers in lines of type state, done and finding may point to. */
struct results_limits {
	uint64_t points, writes;
};

/*
 * What is wrong with a line of a sealed file: a member that is missing, of another type, or out of
 * its range; counts that contradict each other; an end that says that nothing holds. NULL: nothing.
 * Other types, and members that are not known, are not looked at.
 */
const char *results_line_fault(const json_t *line, const struct results_limits *limits);
/* 16 hexadecimal digits, small letters. */
bool results_read_hex(const json_t *text, uint64_t *ret_value);

#endif
