/* SPDX-License-Identifier: MIT */
/* Whole numbers as text, for lines that are written by the thousand. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_MAX 20 /* digits of the largest */

/* Write the digits of @number, and no end, at @at; returns what is behind them. */
static inline char *decimal_put(char *at, uint64_t number)
{
	static const char pairs[] = "0001020304050607080910111213141516171819"
				    "2021222324252627282930313233343536373839"
				    "4041424344454647484950515253545556575859"
				    "6061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	char digits[DECIMAL_MAX];
	size_t first = DECIMAL_MAX;

	for (; number >= 10; number /= 100) {
		digits[--first] = pairs[number % 100 * 2 + 1];
		digits[--first] = pairs[number % 100 * 2];
	}
	if (number || first == DECIMAL_MAX)
		digits[--first] = (char)('0' + number);
	while (first < DECIMAL_MAX)
		*at++ = digits[first++];
	return at;
}

#endif
