/* SPDX-License-Identifier: MIT */
/*
 * Whole numbers of any size, as far as counting states wants them: products of small numbers, and
 * sums of such products. Exact; a number owns its memory.
 */
#ifndef FAULTS_EXPLORE_BIG_H
#define FAULTS_EXPLORE_BIG_H

#include <stddef.h>
#include <stdint.h>

struct big {
	uint64_t *limbs; /* least significant first; the highest of them is not 0 */
	size_t nr, max;  /* nr 0: zero */
};

void big_free(struct big *big); /* zero again, and without memory */
/* -ENOMEM from each: the number is as it was. */
int big_set(struct big *big, uint64_t value);
int big_copy(struct big *big, const struct big *other);
int big_multiply(struct big *big, uint64_t by);
int big_add(struct big *big, const struct big *other);
/* By a factor of it (asserted). */
void big_divide(struct big *big, uint64_t by);
/* Below, equal, above: <0, 0, >0. */
int big_compare(const struct big *a, const struct big *b);
/* @part of @whole, @part <= @whole > 0: 0 and 1 if and only if it is just that. */
double big_share(const struct big *part, const struct big *whole);

#endif
