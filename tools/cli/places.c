// SPDX-License-Identifier: MIT
#include "tools/cli/places.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FILEFRAG_BEGIN "Filesystem type is:"
#define FILEFRAG_FILE  "File size of"
#define BTRFS          " 9123683e"

/* ------------------------------------------------------------------------------ ranges */

static int add(struct places *places, uint64_t from, uint64_t to, struct diag *diag)
{
	/* Those of a sorted list go on where the last one ended. */
	if (places->nr && places->ranges[places->nr - 1].to == from) {
		places->ranges[places->nr - 1].to = to;
		return 0;
	}
	if (places->nr == PLACES_MAX)
		return diag_set(diag, -E2BIG, "places.too-many",
				"a list has at most %u separate ranges",
				PLACES_MAX);
	if (array_room("tools/cli/places/room", places->ranges, places->room, places->nr + 1, 64))
		return diag_set(diag, -ENOMEM, "places.memory", "no memory for a list of places");
	places->ranges[places->nr++] = (struct value_range){ from, to };
	return 0;
}

static int wrong(struct text word, const char *wanted, struct diag *diag)
{
	return diag_set(diag, -EINVAL, "places.form", "got '%s', wanted %s", QUOTE(word), wanted);
}

static bool is_number(struct text text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
	return text.len > 0 && text.len < 20;
}

static uint64_t number(struct text text)
{
	uint64_t value = 0;

	for (size_t i = 0; i < text.len; i++)
		value = value * 10 + (uint64_t)(text.at[i] - '0');
	return value;
}

/* Blocks [first, first + nr) of the unit. */
static int add_blocks(struct places *places, uint64_t first, uint64_t nr, struct text word,
		      struct diag *diag)
{
	uint64_t from, len, to;

	if (!places->unit_bytes) {
		diag_set(diag, -EINVAL, "places.unit",
			 "'%s' counts blocks of unknown size: give --unit SIZE",
			 QUOTE(word));
		diag_hint(diag,
			  "badblocks counts in 1k unless -b is given, dm-dust in the block size of "
			  "its table, kernel messages in 512");
		return -EINVAL;
	}
	if (__builtin_mul_overflow(first, places->unit_bytes, &from) ||
	    __builtin_mul_overflow(nr, places->unit_bytes, &len) ||
	    __builtin_add_overflow(from, len, &to) || !nr)
		return wrong(word, "at least one block, inside a disk", diag);
	return add(places, from, to, diag);
}

static int parse_size(struct text text, uint64_t *ret)
{
	return units_parse_size(text.at, text.len, ret) || *ret % SECTOR_SIZE ? -EINVAL : 0;
}

/* A..B, A.. */
static int add_range(struct places *places, struct text from_text, struct text to_text,
		     struct text word, struct diag *diag)
{
	uint64_t from, to = UINT64_MAX;

	if (parse_size(from_text, &from) || (to_text.len && parse_size(to_text, &to)) || from >= to)
		return wrong(word, "START..END in whole sectors, such as 17s..23s or 1M..2M", diag);
	return add(places, from, to, diag);
}

/* A+LEN */
static int add_length(struct places *places, struct text from_text, struct text len_text,
		      struct text word, struct diag *diag)
{
	uint64_t from, len, to;

	if (is_number(from_text) && is_number(len_text))
		return add_blocks(places, number(from_text), number(len_text), word, diag);
	if (is_number(from_text) || is_number(len_text) || parse_size(from_text, &from) ||
	    parse_size(len_text, &len) || !len || __builtin_add_overflow(from, len, &to))
		return wrong(word, "START+LEN, both in blocks (4711+8) or both with units (1M+64k)",
			     diag);
	return add(places, from, to, diag);
}

static int add_word(struct places *places, struct text word, struct diag *diag)
{
	static const char wanted[] = "17s..23s, 4711, 4711-4720 or 4711+10";
	const char *dots = memmem(word.at, word.len, "..", 2);
	struct text tail = word, head;

	if (dots) {
		head = (struct text){ word.at, (size_t)(dots - word.at) };
		tail = (struct text){ dots + 2, word.len - head.len - 2 };
		return add_range(places, head, tail, word, diag);
	}
	if (memchr(word.at, '+', word.len)) {
		head = text_cut(&tail, '+');
		return add_length(places, head, tail, word, diag);
	}
	if (memchr(word.at, '-', word.len)) {
		head = text_cut(&tail, '-');
		if (!is_number(head) || !is_number(tail) || number(tail) < number(head))
			return wrong(word, "FIRST-LAST in blocks, such as 4711-4720", diag);
		return add_blocks(places, number(head), number(tail) - number(head) + 1, word,
				  diag);
	}
	return is_number(word) ? add_blocks(places, number(word), 1, word, diag)
			       : wrong(word, wanted, diag);
}

/* ------------------------------------------------------------------------------ filefrag */

static bool begins(struct text line, const char *words)
{
	return line.len >= strlen(words) && memcmp(line.at, words, strlen(words)) == 0;
}

static bool holds(struct text line, const char *words)
{
	return memmem(line.at, line.len, words, strlen(words)) != NULL;
}

/* Where an extent lies is not known, or is no place of the disk. */
static int check_flags(struct text line, struct diag *diag)
{
	static const char *const flags[] = { "unknown", "delalloc", "inline", "encoded",
					     "not_aligned" };

	for (size_t i = 0; i < array_size(flags); i++) {
		if (!holds(line, flags[i]))
			continue;
		diag_set(diag, -EINVAL, "places.filefrag",
			 "an extent has no blocks of its own on the disk (%s)", flags[i]);
		diag_hint(diag, "sync the file first; small, compressed or inline ones have none");
		return -EINVAL;
	}
	return 0;
}

/* "   0:        0..    2047:      34816..     36863:   2048:             last,eof" */
static int add_extent(struct places *places, struct text line, struct diag *diag)
{
	unsigned long long first, last, len;
	char row[256];

	snprintf(row, sizeof(row), "%.*s", (int)(line.len < 255 ? line.len : 255), line.at);
	if (sscanf(row, " %*u: %*u.. %*u: %llu.. %llu: %llu:", &first, &last, &len) != 3)
		return wrong(line, "what filefrag -v prints", diag);
	if (check_flags(line, diag))
		return -EINVAL;
	if (last < first || last - first + 1 != len ||
	    last >= UINT64_MAX / places->filefrag_bytes - 1)
		return wrong(line, "an extent that is as long as it says", diag);
	return add(places, first * places->filefrag_bytes, (last + 1) * places->filefrag_bytes,
		   diag);
}

/* A line of filefrag's output, of which "Filesystem type is:" was the first. */
static int filefrag_line(struct places *places, struct text line, struct diag *diag)
{
	const char *at;
	unsigned long long bytes;

	if (begins(line, FILEFRAG_BEGIN)) {
		if (holds(line, BTRFS))
			return diag_set(diag, -EINVAL, "places.filefrag",
					"filefrag prints logical addresses of btrfs, which are not "
					"offsets on the disk");
		places->filefrag_bytes = 1; /* not known yet */
		return 0;
	}
	if (begins(line, FILEFRAG_FILE)) {
		at = memmem(line.at, line.len, " of ", 4);
		for (const char *next = at; next;
		     next = memmem(at + 4, line.len - (size_t)(at + 4 - line.at), " of ", 4))
			at = next;
		if (!at || sscanf(at, " of %llu byte", &bytes) != 1 || bytes < SECTOR_SIZE ||
		    bytes % SECTOR_SIZE)
			return wrong(line, "the size of its blocks", diag);
		places->filefrag_bytes = bytes;
		return 0;
	}
	if (begins(line, " ext:"))
		return 0;
	if (holds(line, " extent found") || holds(line, " extents found")) {
		places->filefrag_bytes = 0;
		return 0;
	}
	if (places->filefrag_bytes == 1)
		return wrong(line, "'File size of ...', which says how large its blocks are", diag);
	return add_extent(places, line, diag);
}

/* ------------------------------------------------------------------------------ lines */

int places_line(struct places *places, struct text line, struct diag *diag)
{
	size_t at = 0;

	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	/* Of several files only the first has the first of these lines. */
	if (begins(line, FILEFRAG_BEGIN) || begins(line, FILEFRAG_FILE) || places->filefrag_bytes)
		return line.len ? filefrag_line(places, line, diag) : 0;
	while (at < line.len) {
		struct text word = { line.at + at, 0 };
		int err;

		while (at + word.len < line.len && !strchr(" \t,#", word.at[word.len]))
			word.len++;
		err = word.len ? add_word(places, word, diag) : 0;
		if (err)
			return err;
		at += word.len;
		if (at < line.len && line.at[at] == '#')
			return 0;
		at++;
	}
	return 0;
}

int places_read(struct places *places, FILE *file, const char *source, struct diag *diag)
{
	_cleanup_free_ char *line = NULL;
	unsigned int number = 0;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, file)) >= 0) {
		struct text text = { line, (size_t)len };
		struct diag inner = { 0 };
		int err;

		number++;
		if (text.len && line[text.len - 1] == '\n')
			text.len--;
		err = places_line(places, text, &inner);
		if (!err)
			continue;
		diag_set(diag, err, inner.id, "%.200s:%u: %.280s", source, number, inner.message);
		if (inner.hint[0])
			diag_hint(diag, "%s", inner.hint);
		return err;
	}
	if (ferror(file) || fail_value("tools/cli/places/read", true, false))
		return diag_set(diag, -EIO, "places.read", "cannot read %.200s: %s", source,
				strerror(errno));
	return 0;
}

void places_end(struct places *places)
{
	places->nr = ranges_merge(places->ranges, places->nr);
}

void places_free(struct places *places)
{
	free(places->ranges);
	*places = (struct places){ .ranges = NULL };
}
