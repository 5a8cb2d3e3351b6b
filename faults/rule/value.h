/* SPDX-License-Identifier: MIT */
/*
 * The values that stand in a rule: one row per type says how it is read, written and explained.
 *
 * A `struct param` describes one word of a rule or one parameter of a kind; tables of them drive
 * the parser, the printer, JSON and every help text.
 */
#ifndef FAULTS_RULE_VALUE_H
#define FAULTS_RULE_VALUE_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum value_type {
	VALUE_MARK,  /* no value: the word itself */
	VALUE_OPS,   /* lo: bits 1 << enum io_op */
	VALUE_FLAGS, /* lo: enum io_flag that must be there, hi: that must not */
	VALUE_RANGE, /* lo..hi in bytes, hi exclusive; UINT64_MAX: to the end of the disk */
	/* lo..hi: from the first to the last of them; text: all, ascending and apart; NULL: but one */
	VALUE_RANGES,
	VALUE_SIZE,   /* lo: bytes */
	VALUE_TIME,   /* lo: nanoseconds */
	VALUE_SPAN,   /* lo..hi in nanoseconds, hi included */
	VALUE_COUNT,  /* lo: a whole number */
	VALUE_SHARE,  /* share: 0..1 */
	VALUE_ERRNO,  /* lo: the positive errno */
	VALUE_NUMBER, /* share: 0 to param.max, not bounded by 1 */
	VALUE_SWITCH, /* lo: 1 yes, 0 no */
	/* lo: index into the words of param.bare, "old|zeroes|new:SIZE"; hi: the size of one with such */
	VALUE_CHOICE,
	VALUE_NAME,  /* text: letters, digits, - _ . / : */
	VALUE_NAMES, /* text: names of disks, with a + between two */
	VALUE_PATH,  /* text: an absolute path without space or comma */
	VALUE_BYTES, /* text: hex digits; lo: how many bytes; hi: offset, UINT64_MAX: anywhere */
	VALUE_MAP,   /* text: a digit 0 or 1 for each unit; lo: how many */
	VALUE_NR_TYPES,
};

#define VALUE_NAME_MAX  63
#define VALUE_NAMES_MAX 255
#define VALUE_PATH_MAX  255
#define VALUE_BYTES_MAX 64  /* bytes of a pattern */
#define VALUE_MAP_MAX   256 /* units of a map */

struct value {
	union {
		struct {
			uint64_t lo, hi;
		};
		double share;
	};
	char *text; /* of the types that have one, else NULL; owned: value_clear() */
};

enum param_form {
	PARAM_NAMED,  /* name=VALUE; a VALUE_MARK: name */
	PARAM_FIRST,  /* VALUE alone, right after the kind; required */
	PARAM_LEAD,   /* VALUE alone, right after the kind, or left out */
	PARAM_EITHER, /* name=VALUE, or name alone, which means name=BARE */
};

struct param {
	const char *name;
	enum value_type type;
	enum param_form form;
	/* PARAM_EITHER: the value that the bare name stands for; else what help says for the value,
	 * which for a VALUE_CHOICE are its words; NULL: as for all of the type. */
	const char *bare;
	uint64_t min, max; /* inclusive bounds of a size, time, span, count; max 0: none */
	const char *doc;
};

/* A piece of the text being parsed. */
struct text {
	const char *at;
	size_t len;
};

/* Where diagnostics point: @line is the start of the line, or NULL where there are no columns. */
struct place {
	const char *line;
	struct diag *diag;
};

/* Fill in the diagnostic for the byte at @at and return -EINVAL. */
#define place_fail(place, at, id, ...)                                                             \
	(diag_set((place)->diag, -EINVAL, (id), __VA_ARGS__), place_mark((place), (at)))
int place_mark(const struct place *place, const char *at);
/* The hint "did you mean '...'?" when one of @words (NULL-terminated) is near enough. */
void place_suggest(const struct place *place, struct text got, const char *const *words);

/* The text as it may stand in a message: shortened at a character's boundary. */
#define QUOTE_MAX 64
const char *text_quote(struct text text, char buf[QUOTE_MAX]);
#define QUOTE(text) text_quote((text), (char[QUOTE_MAX]){ 0 })
bool text_is(struct text text, const char *word);
/* Cut off and return what stands before the first @separator (or everything). */
struct text text_cut(struct text *rest, char separator);
/*
 * Is every byte printable UTF-8, a space or a tab? Control characters would let a rule's text
 * rewrite the terminal of whoever reads the error. Otherwise -EINVAL and a diagnostic.
 */
int text_check(const struct place *place, struct text text);

/* Parse all of @text as the value of @param: 0, -EINVAL or -ENOMEM. The caller clears the value. */
int value_parse(const struct place *place, const struct param *param, struct text text,
		struct value *ret_value);
/* The text that parses back to exactly this value. */
void value_print(FILE *out, const struct param *param, const struct value *value);
bool value_equal(const struct param *param, const struct value *a, const struct value *b);
/* Free what the value owns. */
void value_clear(struct value *value);
/* For help: "SIZE", "START..END", "old|zeroes"; "" for a mark. */
const char *param_placeholder(const struct param *param);
/* The bytes of a VALUE_BYTES, value->lo of them. */
void value_bytes(const struct value *value, unsigned char bytes[VALUE_BYTES_MAX]);

/* Bytes [from, to); to UINT64_MAX: to the end of the disk. */
struct value_range {
	uint64_t from, to;
};
/*
 * Parse "17s..23s,1M..2M", in any order: *ret_ranges (the caller frees it), ascending, and those that
 * touch each other are one. Errors as value_parse(), with the name of @param.
 */
int ranges_parse(const struct place *place, const struct param *param, struct text text,
		 struct value_range **ret_ranges, size_t *ret_nr);
/* The value that stands for these, which are ascending and apart. -ENOMEM. */
int ranges_value(const struct value_range *ranges, size_t nr, struct value *ret_value);
/* Put them in ascending order, and make those that touch each other one; returns how many are left. */
size_t ranges_merge(struct value_range *ranges, size_t nr);

/* "EIO" <-> EIO, for the errnos that survive to the application; NULL or 0 for all others. */
const char *value_errno_name(int err);
int value_errno_number(const char *name);
/* NULL-terminated names of the operations (by enum io_op) and of those errnos. */
const char *const *value_op_names(void);
const char *const *value_errno_names(void);
/* "read, write or flush": the operations in @ops (bits 1 << enum io_op). */
#define OP_LIST_MAX 48
const char *value_op_list(uint32_t ops, char buf[OP_LIST_MAX]);

/* Parse a share (0.25, 0.5%, 1e-6, 1:1000); 0, -EINVAL (no such form) or -ERANGE (not in 0..1). */
int share_parse(struct text text, double *ret_share);
/* Parse a decimal number of at least 0 (1.5, 2e3); 0, -EINVAL or -ERANGE (above @max). */
int number_parse(struct text text, double max, double *ret_number);
/* Shortest decimal that parses back to the same double. */
#define SHARE_MAX 32
const char *share_format(double share, char buf[SHARE_MAX]);

#endif
