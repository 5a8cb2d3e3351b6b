// SPDX-License-Identifier: MIT
#include "base/printable.h"

#include <stdio.h>
#include <string.h>

/* First and last of what is not shown as it is, above U+009F. */
static const uint32_t hidden[][2] = {
	{ 0x00ad, 0x00ad },   /* soft hyphen */
	{ 0x061c, 0x061c },   /* Arabic letter mark */
	{ 0x115f, 0x1160 },   /* Hangul fillers */
	{ 0x180e, 0x180e },   /* Mongolian vowel separator */
	{ 0x200b, 0x200f },   /* zero width, marks of direction */
	{ 0x2028, 0x202e },   /* separators of lines, embeddings and overrides of direction */
	{ 0x2060, 0x206f },   /* joiners, invisible operators, isolates of direction */
	{ 0x3164, 0x3164 },   /* Hangul filler */
	{ 0xd800, 0xdfff },   /* halves of pairs */
	{ 0xfe00, 0xfe0f },   /* variation selectors */
	{ 0xfeff, 0xfeff },   /* byte order mark */
	{ 0xfff9, 0xfffb },   /* annotations */
	{ 0xe0000, 0xe0fff }, /* tags and more selectors */
	{ 0x110000, UINT32_MAX },
};

bool printable_is(uint32_t character)
{
	if (character < 0xa0)
		return character >= 0x20 && character < 0x7f;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		if (character >= hidden[i][0] && character <= hidden[i][1])
			return false;
	return true;
}

/* Bytes of the character that begins with @first; 0: none does. */
static size_t utf8_len(unsigned char first)
{
	return first < 0x80   ? 1
	       : first < 0xc2 ? 0
	       : first < 0xe0 ? 2
	       : first < 0xf0 ? 3
	       : first < 0xf5 ? 4
			      : 0;
}

/* Its length with the character; 0: bad bytes; -1: it is cut. */
static int utf8_decode(const unsigned char *s, size_t len, uint32_t *ret_character)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t want = utf8_len(s[0]);
	uint32_t c = want == 1 ? s[0] : want ? s[0] & (0xffu >> (want + 1)) : 0;

	if (!want)
		return 0;
	for (size_t i = 1; i < want; i++) {
		if (i == len)
			return -1;
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret_character = c;
	return (int)want;
}

size_t printable_fit(const char *text, size_t max)
{
	size_t len = strnlen(text, max), at = len;

	while (at && len - at < 3 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
		at--;
	return at && utf8_len((unsigned char)text[at - 1]) > len - at + 1 ? at - 1 : len;
}

size_t printable_next(const char *text, size_t len, char ret[PRINTABLE_MAX], size_t *ret_used)
{
	char shown[PRINTABLE_MAX + 1];
	uint32_t c = 0;
	int used = utf8_decode((const unsigned char *)text, len, &c), n;

	*ret_used = used > 0 ? (size_t)used : used == 0;
	if (used < 0)
		return 0;
	if (used > 0 && printable_is(c)) {
		memcpy(ret, text, (size_t)used);
		return (size_t)used;
	}
	if (used == 0)
		n = snprintf(shown, sizeof(shown), "\\x%02x", (unsigned char)*text);
	else if (c < 0x10000)
		n = snprintf(shown, sizeof(shown), "\\u%04x", c);
	else
		n = snprintf(shown, sizeof(shown), "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
			     0xdc00 + ((c - 0x10000) & 0x3ff));
	memcpy(ret, shown, (size_t)n);
	return (size_t)n;
}

const char *printable(const char *text, char *buf, size_t size)
{
	size_t len = text ? strlen(text) : 0, at = 0;

	while (len) {
		char shown[PRINTABLE_MAX];
		size_t used, n = printable_next(text, len, shown, &used);

		if (!used) { /* cut: byte by byte */
			n = (size_t)snprintf(shown, sizeof(shown), "\\x%02x", (unsigned char)*text);
			used = 1;
		}
		if (at + n >= size)
			break;
		memcpy(buf + at, shown, n);
		at += n;
		text += used;
		len -= used;
	}
	if (size)
		buf[at] = 0;
	return buf;
}
