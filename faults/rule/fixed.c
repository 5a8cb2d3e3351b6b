// SPDX-License-Identifier: MIT
/*
 * Logarithm by squaring: every squaring of m in [1, 2) doubles its logarithm and so yields one more
 * binary digit. Power and cosine by their series, from the smallest term outwards:
 *
 *	2^f   = 1 + y/1 (1 + y/2 (1 + y/3 (...)))	y = f ln 2 < 0.7
 *	cos x = 1 - x2/(1*2) (1 - x2/(3*4) (...))	x2 = x * x, x up to a quarter of a circle
 */
#include "faults/rule/fixed.h"

#include <assert.h>
#include <stdbool.h>

typedef unsigned __int128 wide;

#define ONE_62     (1ull << 62)
#define LN2_62     3196577161300663914ull /* ln 2 * 2^62 */
#define HALF_PI_62 7244019458077122842ull /* pi / 2 * 2^62 */

static uint64_t mul_62(uint64_t a, uint64_t b)
{
	return (uint64_t)((wide)a * b >> 62);
}

uint64_t fixed_log2(uint64_t share)
{
	unsigned int shift;
	uint64_t m, digits = 0;

	assert(share);
	shift = (unsigned int)__builtin_clzll(share);
	m = share << shift; /* in steps of 2^-63: 1 <= m < 2 */
	for (int i = 0; i < FIXED_SHIFT; i++) {
		wide square = (wide)m * m;
		bool two = square >> 127;

		digits = digits << 1 | two;
		m = (uint64_t)(square >> (63 + two));
	}
	return ((uint64_t)(shift + 1) << FIXED_SHIFT) - digits;
}

uint64_t fixed_ln(uint64_t share)
{
	return (uint64_t)((wide)fixed_log2(share) * LN2_62 >> 62);
}

uint64_t fixed_exp2(uint64_t scale, uint64_t power, uint64_t limit)
{
	uint64_t whole = power >> FIXED_SHIFT, sum = ONE_62;
	uint64_t y = mul_62((power & (FIXED_ONE - 1)) << (62 - FIXED_SHIFT), LN2_62);
	wide product;

	assert(scale <= 1ull << 42);
	if (whole > 62)
		return scale ? limit : 0;
	for (uint64_t k = 18; k; k--)
		sum = ONE_62 + mul_62(y, sum) / k;
	/* scale has 43 bits and sum 63: 106 bits. */
	product = (wide)scale * sum >> (62 - whole);
	return product < limit ? (uint64_t)product : limit;
}

/* The cosine of part / 2^64 of a quarter of a circle. */
static uint64_t cos_quarter(uint64_t part)
{
	uint64_t x = (uint64_t)((wide)part * HALF_PI_62 >> 64), square = mul_62(x, x);
	uint64_t sum = ONE_62;

	for (uint64_t k = 11; k; k--) {
		uint64_t term = mul_62(square, sum) / (2 * k * (2 * k - 1));

		sum = term < ONE_62 ? ONE_62 - term : 0;
	}
	return sum;
}

int64_t fixed_cos(uint64_t turn)
{
	uint64_t quarter = turn >> 62, part = turn << 2;
	/* The second and the fourth quarter are mirrored. */
	int64_t size = (int64_t)cos_quarter(quarter & 1 ? ~part : part);

	return quarter == 1 || quarter == 2 ? -size : size;
}

uint64_t fixed_sqrt(uint64_t square)
{
	uint64_t root = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((root | bit) * (root | bit) <= square)
			root |= bit;
	return root;
}
