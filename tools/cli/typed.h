/* SPDX-License-Identifier: MIT */
/*
 * Commands in our messages, as the user has to type them.
 *
 * A message says "bring it back with: faultblk revive", whoever prints it and wherever. What has to
 * be typed depends on more: which disk is meant, how this program is called here, and who may do it.
 * Those are put in where a message is printed, and the disk where an answer is sent. What is put into
 * a message by ourselves, a path for instance, goes through typed_word() first.
 */
#ifndef TOOLS_CLI_TYPED_H
#define TOOLS_CLI_TYPED_H

#include <stddef.h>
#include <stdio.h>

#define TYPED_WORD_MAX 224 /* a word that fits into a hint beside its command */

/* @word as one word of a shell's, quoted where it has to be, in @buf; @instead where it has no room. */
const char *typed_word(const char *word, const char *instead, char *buf, size_t size);
void typed_put_word(FILE *out, const char *word);

/*
 * From here on commands are about the disk of this name, or of this socket (which counts where both
 * are there); both NULL: about no certain one. Before threads.
 */
void typed_set_disk(const char *name, const char *socket);

/* A copy of @text in which commands that are about a disk name it; NULL without memory. To be freed. */
char *typed_for_disk(const char *text);
/* The same, and each command begins with what this program is called by: its path, and sudo. */
char *typed_for_user(const char *text);

/* The words of the command line that this program was called by; they are not copied. */
void typed_set_line(int argc, char **argv);
/* A line that does the same in `faultblk vm`, without its end; "" where the line is not known. */
void typed_put_vm_line(FILE *out, int argc, char **argv);

#endif
