/* SPDX-License-Identifier: MIT */
/*
 * What went wrong, in words: the thing, what it got, what it wanted, and what to do next.
 *
 * A function that can fail because of its input takes a `struct diag *` and fills it in beside
 * returning -errno; NULL is allowed and means that nobody wants the words. Nothing is allocated.
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include <stdarg.h>

struct diag {
	char id[32];         /* stable identifier for programs: "rule.unknown-word" */
	char message[512];   /* one sentence, no newline, no final full stop */
	char hint[512];      /* what to do next, or the nearest known word; may be empty */
	unsigned int line;   /* 1-based place in the input; 0 where there is none */
	unsigned int column; /* 1-based, in bytes; 0 where there is none */
};

/*
 * Fill in @d (may be NULL) and return @err, so that a caller can say `return diag_set(...)`. The hint
 * is empty, or, where @err may come from a limit of this process, names it (base/limits.h).
 */
int diag_set(struct diag *d, int err, const char *id, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void diag_hint(struct diag *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void diag_at(struct diag *d, unsigned int line, unsigned int column);

#endif
