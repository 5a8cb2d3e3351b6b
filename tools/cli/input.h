/* SPDX-License-Identifier: MIT */
/* A file that a command reads. */
#ifndef TOOLS_CLI_INPUT_H
#define TOOLS_CLI_INPUT_H

#include <stddef.h>

/*
 * Open @path, a regular file that is not empty. @wanted is what it should be, in a message: "a record
 * file". The descriptor; or -1 after a message.
 */
int input_open(const char *path, const char *wanted, size_t *ret_size);

#endif
