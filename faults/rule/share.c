// SPDX-License-Identifier: MIT
/*
 * Shares (probabilities) as text. Whatever the form, the result is the double nearest to the number
 * that was written: 0.3% is read as 0.3e-2 in one step, never as 0.3 divided by 100. The decimal
 * point is a point in every locale.
 */
#include "base/units.h"
#include "faults/rule/value.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX   64           /* bytes of a decimal number */
#define EXPONENT_MAX 9999         /* far beyond what a double can hold */
#define RATIO_MAX    (1ull << 53) /* whole numbers that a double holds exactly */

static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The C locale as an object; the current locale ((locale_t)0) only if there is no memory for it. */
static locale_t get_c_locale(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_c_locale);
	return c_locale;
}

static size_t count_digits(struct text text, size_t from)
{
	size_t n = 0;

	while (from + n < text.len && text.at[from + n] >= '0' && text.at[from + n] <= '9')
		n++;
	return n;
}

/* Split digits[.digits][e[+-]digits]; returns the length of the mantissa, 0 if it is none. */
static size_t split_decimal(struct text text, int *ret_exponent)
{
	size_t mantissa = count_digits(text, 0), at, digits;
	int sign = 1, exponent = 0;

	if (!mantissa)
		return 0;
	if (mantissa < text.len && text.at[mantissa] == '.') {
		digits = count_digits(text, mantissa + 1);
		if (!digits)
			return 0;
		mantissa += 1 + digits;
	}
	*ret_exponent = 0;
	if (mantissa == text.len)
		return mantissa;
	at = mantissa;
	if (text.at[at++] != 'e')
		return 0;
	if (at < text.len && (text.at[at] == '-' || text.at[at] == '+'))
		sign = text.at[at++] == '-' ? -1 : 1;
	digits = count_digits(text, at);
	if (!digits || at + digits != text.len)
		return 0;
	for (; at < text.len; at++)
		if (exponent < EXPONENT_MAX)
			exponent = exponent * 10 + (text.at[at] - '0');
	*ret_exponent = sign * exponent;
	return mantissa;
}

/* @text times 10^-@percent, from 0 to @max. */
static int parse_decimal(struct text text, int percent, double max, double *ret_number)
{
	char decimal[NUMBER_MAX + 16];
	locale_t c = get_c_locale();
	size_t mantissa;
	double number;
	int exponent;

	mantissa = split_decimal(text, &exponent);
	if (!mantissa || mantissa > NUMBER_MAX)
		return -EINVAL;
	snprintf(decimal, sizeof(decimal), "%.*se%d", (int)mantissa, text.at, exponent - percent);
	number = c ? strtod_l(decimal, NULL, c) : strtod(decimal, NULL);
	/* A share too small for a double must not become "never" behind the user's back. */
	if (!(number <= max) ||
	    (number == 0 && strpbrk(decimal, "123456789") < decimal + mantissa &&
	     strpbrk(decimal, "123456789")))
		return -ERANGE;
	*ret_number = number;
	return 0;
}

int number_parse(struct text text, double max, double *ret_number)
{
	return parse_decimal(text, 0, max, ret_number);
}

static int parse_share(struct text text, double *ret_share)
{
	if (!text.len || text.at[text.len - 1] != '%')
		return parse_decimal(text, 0, 1, ret_share);
	text.len--;
	return parse_decimal(text, 2, 1, ret_share);
}

static int parse_ratio(struct text part, struct text whole, double *ret_share)
{
	uint64_t a, b;

	/* units_parse_size() would also take units: only digits here. */
	if (!part.len || count_digits(part, 0) != part.len || !whole.len ||
	    count_digits(whole, 0) != whole.len)
		return -EINVAL;
	if (units_parse_size(part.at, part.len, &a) < 0 ||
	    units_parse_size(whole.at, whole.len, &b) < 0 || a > b || !b || b > RATIO_MAX)
		return -ERANGE;
	*ret_share = (double)a / (double)b;
	return 0;
}

int share_parse(struct text text, double *ret_share)
{
	struct text part;

	if (!text.len || !memchr(text.at, ':', text.len))
		return parse_share(text, ret_share);
	part = text_cut(&text, ':');
	return parse_ratio(part, text, ret_share);
}

const char *share_format(double share, char buf[SHARE_MAX])
{
	locale_t c = get_c_locale();
	locale_t before = c ? uselocale(c) : (locale_t)0;

	/* Seventeen significant digits tell every double apart; most need far fewer. */
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(buf, SHARE_MAX, "%.*g", digits, share);
		if (strtod(buf, NULL) == share)
			break;
	}
	if (c)
		uselocale(before);
	return buf;
}
