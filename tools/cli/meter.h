/* SPDX-License-Identifier: MIT */
/*
 * The one line that says how far a long command is: on a terminal it is written over again and again,
 * and gone in the end. Where standard error is none, nothing is printed.
 */
#ifndef TOOLS_CLI_METER_H
#define TOOLS_CLI_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Over what is there, on the terminal of standard error; NULL: nothing is left there. */
void meter_draw(const char *line);

#define METER_UNKNOWN UINT64_MAX
/* "about 3m05s left", "time left not known yet" */
const char *meter_left(uint64_t ns, char *buf, size_t size);

struct meter {
	const char *what; /* borrowed: "reading a.rec" */
	uint64_t total;   /* 0: not known */
	bool bytes;       /* of what is counted */
	bool shows, drawn;
	uint64_t begin_ns, next_ns;
};

/* Nothing is drawn for what is over within a second. */
void meter_begin(struct meter *meter, const char *what, uint64_t total, bool bytes);
/* So far it is; as often as need be. NULL allowed. */
void meter_at(struct meter *meter, uint64_t done);
/* Before anything else is printed. Again: nothing. */
void meter_end(struct meter *meter);

/* The same of a file that somebody writes: a thread looks at how long it is. */
struct meter_watch;
/* @fd: borrowed until the end; @total: about. NULL: nothing is drawn, and nothing is to be ended. */
struct meter_watch *meter_watch_begin(const char *what, int fd, uint64_t total);
struct meter_watch *meter_watch_end(struct meter_watch *watch); /* NULL allowed; returns NULL */

#define METER_LINE 160
/* What is drawn; for tests. */
const char *meter_line(const struct meter *meter, uint64_t done, uint64_t now_ns, size_t columns,
		       char line[METER_LINE]);

#endif
