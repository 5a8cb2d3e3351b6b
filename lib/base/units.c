// SPDX-License-Identifier: MIT
#include "base/units.h"

#include "base/decimal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit_name {
	const char *name;
	uint64_t factor;
};

/* Largest first: formatting takes the first that divides. The nameless unit is the base. */
static const struct unit_name size_units[] = {
	{ "P", 1ull << 50 }, { "T", 1ull << 40 },  { "G", 1ull << 30 }, { "M", 1ull << 20 },
	{ "k", 1ull << 10 }, { "s", SECTOR_SIZE }, { "", 1 },           { "B", 1 },
	{ "K", 1ull << 10 }, { NULL, 0 },
};

static const struct unit_name time_units[] = {
	{ "h", 3600000000000ull },
	{ "m", 60000000000ull },
	{ "s", 1000000000ull },
	{ "ms", 1000000 },
	{ "us", 1000 },
	{ "ns", 1 },
	{ NULL, 0 },
};

#define FRACTION_DIGITS 9

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The first character decides nearly always: lists of places have a hundred thousand of these. */
static const struct unit_name *find_unit(const struct unit_name *units, const char *text,
					 size_t len)
{
	char first = len ? text[0] : '\0';

	for (const struct unit_name *u = units; u->name; u++)
		if (u->name[0] == first && strlen(u->name) == len &&
		    memcmp(u->name, text, len) == 0)
			return u;
	return NULL;
}

/*
 * number[.fraction]unit -> value. The fraction is kept as digits / 10^n, at most nine of them, and
 * must come out whole in the base unit, so that nothing is ever rounded behind the user's back.
 */
static int parse(const char *text, size_t len, const struct unit_name *units, uint64_t *ret)
{
	uint64_t whole = 0, fraction = 0, scale = 1;
	const struct unit_name *u;
	unsigned __int128 value, part;
	size_t i = 0;

	if (len == 0 || !is_digit(text[0]))
		return -EINVAL;
	for (; i < len && is_digit(text[i]); i++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(text[i] - '0'), &whole))
			return -ERANGE;
	}
	if (i < len && text[i] == '.') {
		size_t start = ++i;

		for (; i < len && is_digit(text[i]); i++) {
			if (i - start >= FRACTION_DIGITS)
				return -EINVAL;
			fraction = fraction * 10 + (uint64_t)(text[i] - '0');
			scale *= 10;
		}
		if (i == start)
			return -EINVAL;
	}
	u = find_unit(units, text + i, len - i);
	if (!u)
		return -EINVAL;
	if (!fraction) {
		if (__builtin_mul_overflow(whole, u->factor, &whole))
			return -ERANGE;
		*ret = whole;
		return 0;
	}
	part = (unsigned __int128)fraction * u->factor;
	if (part % scale)
		return -EINVAL;
	value = (unsigned __int128)whole * u->factor + part / scale;
	if (value > UINT64_MAX)
		return -ERANGE;
	*ret = (uint64_t)value;
	return 0;
}

int units_parse_size(const char *text, size_t len, uint64_t *ret_bytes)
{
	return parse(text, len, size_units, ret_bytes);
}

int units_parse_time(const char *text, size_t len, uint64_t *ret_ns)
{
	return parse(text, len, time_units, ret_ns);
}

static const char *format(uint64_t value, const struct unit_name *units,
			  const struct unit_name *zero, char buf[UNITS_MAX])
{
	const struct unit_name *u = units;

	while (value % u->factor)
		u++;
	if (value == 0)
		u = zero;
	strcpy(decimal_put(buf, value / u->factor), u->name);
	return buf;
}

const char *units_format_size(uint64_t bytes, char buf[UNITS_MAX])
{
	return format(bytes, size_units, &size_units[6], buf);
}

const char *units_format_time(uint64_t ns, char buf[UNITS_MAX])
{
	/* Minutes and hours only where people would: below a minute this is s, ms, us or ns. */
	return format(ns, time_units, &time_units[2], buf);
}

const char *units_human_time(uint64_t ns, char buf[UNITS_MAX])
{
	const struct unit_name *u = &time_units[2];
	double value;
	int digits;

	while (u->factor > 1 && ns < u->factor)
		u++;
	value = (double)ns / (double)u->factor;
	digits = u->factor == 1 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
	snprintf(buf, UNITS_MAX, "%.*f%s", digits, value, u->name);
	return buf;
}
