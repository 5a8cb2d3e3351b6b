// SPDX-License-Identifier: MIT
#include "base/near.h"

#include <string.h>

#define WORD_MAX 48

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Optimal string alignment distance of two words of at most WORD_MAX bytes; three rolling rows. */
static size_t distance(const char *a, size_t la, const char *b, size_t lb)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0], *prev = rows[1], *cur = rows[2];

	for (size_t j = 0; j <= lb; j++)
		prev[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *spare = before;

		cur[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t cost = a[i - 1] != b[j - 1];

			cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < cur[j])
				cur[j] = before[j - 2] + 1;
		}
		before = prev;
		prev = cur;
		cur = spare;
	}
	return prev[lb];
}

const char *near_word(const char *text, size_t len, const char *const *words)
{
	const char *best = NULL;
	size_t best_distance = WORD_MAX;

	if (len == 0 || len > WORD_MAX)
		return NULL;
	for (; *words; words++) {
		size_t wlen = strlen(*words);
		size_t longer = wlen > len ? wlen : len;
		size_t allowed = longer / 3 ? longer / 3 : 1;
		size_t d;

		if (wlen > WORD_MAX)
			continue;
		d = distance(text, len, *words, wlen);
		if (d <= allowed && d < longer && d < best_distance) {
			best = *words;
			best_distance = d;
		}
	}
	return best;
}
