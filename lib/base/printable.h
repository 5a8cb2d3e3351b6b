/* SPDX-License-Identifier: MIT */
/*
 * Foreign text, fit to be looked at.
 *
 * What a check, a file, a peer or a name says may hold bytes that move a terminal's cursor, rename
 * its window, hide or reorder what stands beside them, or are no text at all. Here these become
 * visible: a control character, one that changes the direction of what follows, and one that takes
 * no room, become \uXXXX (a pair above U+FFFF), which JSON reads back as what it was; a byte that is
 * not UTF-8 becomes \xXX. Everything else stays as it is, whatever the script it is of.
 *
 * No function allocates. Any thread.
 */
#ifndef BASE_PRINTABLE_H
#define BASE_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTABLE_MAX 12 /* bytes that one character may become */

/* Whether a character is shown as it is. Newline and tab are not. */
bool printable_is(uint32_t character);

/*
 * The first character of text[0..len), len > 0: its bytes, or what it becomes, in @ret, without a NUL; how many
 * these are is returned. *ret_used: how many bytes of @text it took; 0: @text ends in the middle of
 * a character, and nothing is returned.
 */
size_t printable_next(const char *text, size_t len, char ret[PRINTABLE_MAX], size_t *ret_used);

/* Bytes of @text, up to @max and to its end, without a character that is cut there. */
size_t printable_fit(const char *text, size_t max);

/*
 * All of @text (NULL: "") on one line in @buf, which is returned: newline and tab are made visible,
 * too. What has no room is left out, at the end.
 */
const char *printable(const char *text, char *buf, size_t size);

#endif
