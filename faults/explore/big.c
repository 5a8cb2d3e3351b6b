// SPDX-License-Identifier: MIT
#include "faults/explore/big.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define LIMB_BITS 64

void big_free(struct big *big)
{
	free(big->limbs);
	*big = (struct big){ NULL, 0, 0 };
}

static int reserve(struct big *big, size_t nr)
{
	size_t max = 2 * nr;
	uint64_t *limbs;

	if (nr <= big->max)
		return 0;
	limbs = fail_alloc("faults/explore/big/reserve",
			   reallocarray(big->limbs, max, sizeof(*limbs)));
	if (!limbs)
		return -ENOMEM;
	big->limbs = limbs;
	big->max = max;
	return 0;
}

int big_set(struct big *big, uint64_t value)
{
	if (reserve(big, 1) < 0)
		return -ENOMEM;
	big->limbs[0] = value;
	big->nr = value != 0;
	return 0;
}

int big_copy(struct big *big, const struct big *other)
{
	if (reserve(big, other->nr) < 0)
		return -ENOMEM;
	if (other->nr)
		memcpy(big->limbs, other->limbs, other->nr * sizeof(*big->limbs));
	big->nr = other->nr;
	return 0;
}

int big_multiply(struct big *big, uint64_t by)
{
	unsigned __int128 carry = 0;

	if (reserve(big, big->nr + 1) < 0)
		return -ENOMEM;
	if (by == 0)
		big->nr = 0;
	for (size_t i = 0; i < big->nr; i++) {
		carry += (unsigned __int128)big->limbs[i] * by;
		big->limbs[i] = (uint64_t)carry;
		carry >>= LIMB_BITS;
	}
	if (carry)
		big->limbs[big->nr++] = (uint64_t)carry;
	return 0;
}

int big_add(struct big *big, const struct big *other)
{
	size_t nr = big->nr > other->nr ? big->nr : other->nr;
	unsigned __int128 carry = 0;

	if (reserve(big, nr + 1) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		carry += i < big->nr ? big->limbs[i] : 0;
		carry += i < other->nr ? other->limbs[i] : 0;
		big->limbs[i] = (uint64_t)carry;
		carry >>= LIMB_BITS;
	}
	big->nr = nr;
	if (carry)
		big->limbs[big->nr++] = (uint64_t)carry;
	return 0;
}

void big_divide(struct big *big, uint64_t by)
{
	unsigned __int128 rest = 0;

	for (size_t i = big->nr; i-- > 0;) {
		rest = rest << LIMB_BITS | big->limbs[i];
		big->limbs[i] = (uint64_t)(rest / by);
		rest %= by;
	}
	assert(!rest);
	while (big->nr && !big->limbs[big->nr - 1])
		big->nr--;
}

int big_compare(const struct big *a, const struct big *b)
{
	if (a->nr != b->nr)
		return a->nr < b->nr ? -1 : 1;
	for (size_t i = a->nr; i-- > 0;)
		if (a->limbs[i] != b->limbs[i])
			return a->limbs[i] < b->limbs[i] ? -1 : 1;
	return 0;
}

/* Its highest limbs as a number from 1 up, to be multiplied by 2^(64 * (nr - 1)). */
static long double highest(const struct big *big)
{
	long double value = 0;

	for (size_t i = big->nr > 3 ? big->nr - 3 : 0; i < big->nr; i++)
		value = ldexpl(value, -LIMB_BITS) + (long double)big->limbs[i];
	return value;
}

double big_share(const struct big *part, const struct big *whole)
{
	double share;
	int power;

	assert(whole->nr && big_compare(part, whole) <= 0);
	if (!part->nr)
		return 0;
	if (big_compare(part, whole) == 0)
		return 1;
	power = (int)(whole->nr - part->nr) * -LIMB_BITS;
	share = (double)ldexpl(highest(part) / highest(whole), power);
	/* Not rounded to what it is not. */
	if (share >= 1)
		return 1 - DBL_EPSILON / 2;
	return share > 0 ? share : DBL_MIN;
}
