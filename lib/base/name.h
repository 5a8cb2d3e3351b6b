/* SPDX-License-Identifier: MIT */
/*
 * The name of a disk. It becomes part of paths (a socket, an image), so the same rule holds wherever
 * one comes from: the command line, a client, a scenario, a recording, a log.
 */
#ifndef BASE_NAME_H
#define BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_BYTES_MAX 63
#define NAME_WANTED    "letters, digits, '-', '_' or '.', beginning with a letter, a digit or '_'"

/* Is it 1 to NAME_BYTES_MAX of the bytes that NAME_WANTED tells? @len of them, no end needed. */
bool name_is_good(const char *name, size_t len);

#endif
