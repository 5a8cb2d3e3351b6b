/* SPDX-License-Identifier: MIT */
/* Text that a command reads from a file or from standard input. */
#ifndef TOOLS_CLI_TEXT_FILE_H
#define TOOLS_CLI_TEXT_FILE_H

#include <stddef.h>

/* What messages call @path: "-" is standard input. */
const char *text_file_name(const char *path);
/*
 * All of it, with a terminating zero; of more than @most bytes one more than that. EXIT_OK, and the
 * text is the caller's to free; or EXIT_USAGE, after a message.
 */
int text_file_read(const char *path, size_t most, char **ret_text, size_t *ret_len);

#endif
