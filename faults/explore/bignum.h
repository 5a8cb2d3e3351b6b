/* SPDX-License-Identifier: MIT */
/*
 * Whole numbers of any size, as far as counting states wants them: products of small numbers, and
 * sums of such products. Exact; a number owns its memory.
 */
#ifndef FAULTS_EXPLORE_BIGNUM_H
#define FAULTS_EXPLORE_BIGNUM_H

#include <stddef.h>
#include <stdint.h>

struct bignum {
	uint64_t *limbs; /* least significant first; the highest of them is not 0 */
	size_t nr, max;  /* nr 0: zero */
};

void bignum_free(struct bignum *number); /* zero again, and without memory */
/* -ENOMEM from each: the number is as it was. */
int bignum_set(struct bignum *number, uint64_t value);
int bignum_copy(struct bignum *number, const struct bignum *other);
int bignum_multiply(struct bignum *number, uint64_t by);
int bignum_add(struct bignum *number, const struct bignum *other);
/* By a factor of it (asserted). */
void bignum_divide(struct bignum *number, uint64_t by);
/* Below, equal, above: <0, 0, >0. */
int bignum_compare(const struct bignum *a, const struct bignum *b);
/* @part of @whole, @part <= @whole > 0: 0 and 1 if and only if it is just that. */
double bignum_share(const struct bignum *part, const struct bignum *whole);

#endif
