// SPDX-License-Identifier: MIT
/* Pieces of text and where they stand, for every parser of the rule language. */
#include "base/near.h"
#include "faults/rule/value.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int place_mark(const struct place *place, const char *at)
{
	if (place->line)
		diag_at(place->diag, 1, (unsigned int)(at - place->line) + 1);
	return -EINVAL;
}

void place_suggest(const struct place *place, struct text got, const char *const *words)
{
	const char *word = near_word(got.at, got.len, words);

	if (word)
		diag_hint(place->diag, "did you mean '%s'?", word);
}

const char *text_quote(struct text text, char buf[QUOTE_MAX])
{
	bool whole = text.len < QUOTE_MAX;
	size_t len = whole ? text.len : QUOTE_MAX - sizeof("...");

	while (!whole && len && ((unsigned char)text.at[len] & 0xc0) == 0x80)
		len--;
	/* A tab is the one control character that text_check() lets pass. */
	for (size_t i = 0; i < len; i++)
		buf[i] = text.at[i] == '\t' ? ' ' : text.at[i];
	snprintf(buf + len, QUOTE_MAX - len, "%s", whole ? "" : "...");
	return buf;
}

bool text_is(struct text text, const char *word)
{
	return strlen(word) == text.len && memcmp(text.at, word, text.len) == 0;
}

struct text text_cut(struct text *rest, char separator)
{
	struct text head = *rest;
	const char *cut = rest->len ? memchr(rest->at, separator, rest->len) : NULL;

	if (cut)
		head.len = (size_t)(cut - rest->at);
	rest->at += head.len + (cut ? 1 : 0);
	rest->len -= head.len + (cut ? 1 : 0);
	return head;
}

/* Length of the UTF-8 character at @s (RFC 3629: shortest form, no surrogates), 0 if there is none.
 */
static size_t utf8_len(const unsigned char *s, size_t len)
{
	uint32_t c, min;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
		return 0;
	c = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	min = n == 4 ? 0x10000 : n == 3 ? 0x800 : 0x80;
	return c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

int text_check(const struct place *place, struct text text)
{
	const unsigned char *s = (const unsigned char *)text.at;

	for (size_t i = 0, n; i < text.len; i += n) {
		bool c1 = s[i] == 0xc2 && i + 1 < text.len && s[i + 1] < 0xa0;

		n = utf8_len(s + i, text.len - i);
		if (!n)
			return place_fail(place, text.at + i, "rule.bad-character",
					  "byte 0x%02x is not valid UTF-8 here", s[i]);
		if ((s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f || c1)
			return place_fail(place, text.at + i, "rule.bad-character",
					  "control character 0x%02x is not allowed in a rule",
					  c1 ? s[i + 1] : s[i]);
	}
	return 0;
}
