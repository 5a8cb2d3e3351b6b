/* SPDX-License-Identifier: MIT */
/* The word that was probably meant. */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

/*
 * The entry of @words (NULL-terminated) nearest to text[0..len) by optimal string alignment
 * distance (insert, delete, replace, swap neighbours), or NULL when nothing is near enough to
 * be worth suggesting: more than a third of the longer word, at least one edit allowed.
 */
const char *near_word(const char *text, size_t len, const char *const *words);

#endif
