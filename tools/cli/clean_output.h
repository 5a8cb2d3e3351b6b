/* SPDX-License-Identifier: MIT */
/*
 * The one place through which everything that the program prints goes: what foreign programs and
 * files said, in messages, tables and JSON, reaches no terminal as anything but visible text
 * (base/printable.h). Newlines and tabs pass; where foreign text has to stay on one line, its
 * printer sees to that. What checks print comes by, too, when one is shown (--state). What COMMAND
 * writes itself is not ours and does not.
 */
#ifndef TOOLS_CLI_CLEAN_OUTPUT_H
#define TOOLS_CLI_CLEAN_OUTPUT_H

#include <stdio.h>

/* Put the place into stdout and stderr. Once, before anything is printed and threads are started. */
void clean_output_start(void);
/*
 * From here on nothing that is printed waits for a reader: what does not fit into a pipe, a socket or
 * a terminal at once is lost. On standard error that is no error, and told when it can be; on
 * standard output it is one. Once, by whoever has a disk to serve.
 */
void clean_output_never_wait(void);
/* Why standard output could not be written, first: errno, or 0. */
int clean_output_error(void);
/* A terminal's control sequence of our own, in order with what is printed to @stream, past the place. */
void clean_output_control(FILE *stream, const char *sequence);

#endif
