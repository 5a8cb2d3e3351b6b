// SPDX-License-Identifier: MIT
#include "faults/explore/bignum.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define LIMB_BITS 64

void bignum_free(struct bignum *number)
{
	free(number->limbs);
	*number = (struct bignum){ NULL, 0, 0 };
}

static int reserve(struct bignum *number, size_t nr)
{
	return array_room("faults/explore/bignum/reserve", number->limbs, number->max, nr, 2);
}

int bignum_set(struct bignum *number, uint64_t value)
{
	if (reserve(number, 1) < 0)
		return -ENOMEM;
	number->limbs[0] = value;
	number->nr = value != 0;
	return 0;
}

int bignum_copy(struct bignum *number, const struct bignum *other)
{
	if (reserve(number, other->nr) < 0)
		return -ENOMEM;
	if (other->nr)
		memcpy(number->limbs, other->limbs, other->nr * sizeof(*number->limbs));
	number->nr = other->nr;
	return 0;
}

int bignum_multiply(struct bignum *number, uint64_t by)
{
	unsigned __int128 carry = 0;

	if (reserve(number, number->nr + 1) < 0)
		return -ENOMEM;
	if (by == 0)
		number->nr = 0;
	for (size_t i = 0; i < number->nr; i++) {
		carry += (unsigned __int128)number->limbs[i] * by;
		number->limbs[i] = (uint64_t)carry;
		carry >>= LIMB_BITS;
	}
	if (carry)
		number->limbs[number->nr++] = (uint64_t)carry;
	return 0;
}

int bignum_add(struct bignum *number, const struct bignum *other)
{
	size_t nr = number->nr > other->nr ? number->nr : other->nr;
	unsigned __int128 carry = 0;

	if (reserve(number, nr + 1) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		carry += i < number->nr ? number->limbs[i] : 0;
		carry += i < other->nr ? other->limbs[i] : 0;
		number->limbs[i] = (uint64_t)carry;
		carry >>= LIMB_BITS;
	}
	number->nr = nr;
	if (carry)
		number->limbs[number->nr++] = (uint64_t)carry;
	return 0;
}

void bignum_divide(struct bignum *number, uint64_t by)
{
	unsigned __int128 rest = 0;

	for (size_t i = number->nr; i-- > 0;) {
		rest = rest << LIMB_BITS | number->limbs[i];
		number->limbs[i] = (uint64_t)(rest / by);
		rest %= by;
	}
	assert(!rest);
	while (number->nr && !number->limbs[number->nr - 1])
		number->nr--;
}

int bignum_compare(const struct bignum *a, const struct bignum *b)
{
	if (a->nr != b->nr)
		return a->nr < b->nr ? -1 : 1;
	for (size_t i = a->nr; i-- > 0;)
		if (a->limbs[i] != b->limbs[i])
			return a->limbs[i] < b->limbs[i] ? -1 : 1;
	return 0;
}

/* Its highest limbs as a number from 1 up, to be multiplied by 2^(64 * (nr - 1)). */
static long double highest(const struct bignum *number)
{
	long double value = 0;

	for (size_t i = number->nr > 3 ? number->nr - 3 : 0; i < number->nr; i++)
		value = ldexpl(value, -LIMB_BITS) + (long double)number->limbs[i];
	return value;
}

double bignum_share(const struct bignum *part, const struct bignum *whole)
{
	double share;
	int power;

	assert(whole->nr && bignum_compare(part, whole) <= 0);
	if (!part->nr)
		return 0;
	if (bignum_compare(part, whole) == 0)
		return 1;
	power = (int)(whole->nr - part->nr) * -LIMB_BITS;
	share = (double)ldexpl(highest(part) / highest(whole), power);
	/* Not rounded to what it is not. */
	if (share >= 1)
		return 1 - DBL_EPSILON / 2;
	return share > 0 ? share : DBL_MIN;
}
