// SPDX-License-Identifier: MIT
/* One row per type of value: how it is read, written, and what a message says was wanted. */
#include "faults/rule/value.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const op_names[] = {
	[IO_READ] = "read",       [IO_WRITE] = "write",   [IO_FLUSH] = "flush",
	[IO_DISCARD] = "discard", [IO_ZEROES] = "zeroes", [IO_NR_OPS] = NULL,
};

/* By bit number; the bits in between have no name. */
#define BIT(flag) __builtin_ctz(flag)
static const char *const flag_names[32] = {
	[BIT(IO_FUA)] = "fua",
	[BIT(IO_META)] = "meta",
	[BIT(IO_NOUNMAP)] = "nounmap",
	[BIT(IO_SWAP)] = "swap",
	[BIT(IO_FAILFAST_DEV)] = "failfast-dev",
	[BIT(IO_FAILFAST_TRANSPORT)] = "failfast-transport",
	[BIT(IO_FAILFAST_DRIVER)] = "failfast-driver",
	[BIT(IO_READAHEAD)] = "readahead",
};

/* Those that the block layer hands on unchanged; every other one reaches the application as EIO. */
static const struct {
	const char *name;
	int number;
} errnos[] = {
	{ "EIO", EIO },       { "EOPNOTSUPP", EOPNOTSUPP }, { "ETIMEDOUT", ETIMEDOUT },
	{ "ENOSPC", ENOSPC }, { "ENOLINK", ENOLINK },       { "EREMOTEIO", EREMOTEIO },
	{ "EBADE", EBADE },   { "ENODATA", ENODATA },       { "EILSEQ", EILSEQ },
	{ "ENOMEM", ENOMEM }, { "EBUSY", EBUSY },           { "EAGAIN", EAGAIN },
	{ "ENODEV", ENODEV }, { "ETIME", ETIME },           { "EINVAL", EINVAL },
};

static const char *const errno_names[] = {
	"EIO",    "EOPNOTSUPP", "ETIMEDOUT", "ENOSPC", "ENOLINK", "EREMOTEIO", "EBADE",  "ENODATA",
	"EILSEQ", "ENOMEM",     "EBUSY",     "EAGAIN", "ENODEV",  "ETIME",     "EINVAL", NULL,
};

_Static_assert(array_size(errno_names) == array_size(errnos) + 1, "one name per errno");

const char *value_errno_name(int err)
{
	for (size_t i = 0; i < array_size(errnos); i++)
		if (errnos[i].number == err)
			return errnos[i].name;
	return NULL;
}

int value_errno_number(const char *name)
{
	for (size_t i = 0; i < array_size(errnos); i++)
		if (strcmp(errnos[i].name, name) == 0)
			return errnos[i].number;
	return 0;
}

const char *const *value_op_names(void)
{
	return op_names;
}

const char *const *value_errno_names(void)
{
	return errno_names;
}

const char *value_op_list(uint32_t ops, char buf[OP_LIST_MAX])
{
	size_t at = 0;

	buf[0] = '\0';
	for (uint32_t op = 0; op < IO_NR_OPS; op++) {
		uint32_t rest = ops >> op;

		if (rest & 1)
			at += (size_t)snprintf(buf + at, OP_LIST_MAX - at, "%s%s",
					       !at         ? ""
					       : rest == 1 ? " or "
							   : ", ",
					       op_names[op]);
	}
	return buf;
}

/* Every complaint about a value has this one form. */
static int unwanted(const struct place *place, const struct param *param, struct text got,
		    const char *id, const char *wanted)
{
	if (got.len == 0)
		return place_fail(place, got.at, id, "%s wants %s, got nothing", param->name,
				  wanted);
	return place_fail(place, got.at, id, "%s wants %s, got '%s'", param->name, wanted,
			  QUOTE(got));
}

/* The names of a set by bit number; a bit may have none. */
struct names {
	const char *const *names;
	unsigned int nr;
};

static const struct names op_set = { op_names, IO_NR_OPS };
static const struct names flag_set = { flag_names, array_size(flag_names) };

static int find_bit(const struct names *set, struct text word)
{
	for (unsigned int bit = 0; bit < set->nr; bit++)
		if (set->names[bit] && text_is(word, set->names[bit]))
			return (int)bit;
	return -1;
}

static int unknown_name(const struct place *place, const struct param *param,
			const struct names *set, struct text word, const char *id,
			const char *wanted)
{
	const char *words[array_size(flag_names) + 1];
	unsigned int nr = 0;

	for (unsigned int bit = 0; bit < set->nr; bit++)
		if (set->names[bit])
			words[nr++] = set->names[bit];
	words[nr] = NULL;
	unwanted(place, param, word, id, wanted);
	place_suggest(place, word, words);
	return -EINVAL;
}

/* Names with commas in between; with @ret_not a name may have a '!' before it. */
static int parse_set(const struct place *place, const struct param *param, struct text text,
		     const struct names *set, const char *id, const char *wanted,
		     uint64_t *ret_bits, uint64_t *ret_not)
{
	uint64_t bits = 0, absent = 0;

	for (bool more = true; more;) {
		struct text word;
		bool negated;
		int bit;

		more = text.len && memchr(text.at, ',', text.len);
		word = text_cut(&text, ',');
		negated = ret_not && word.len && word.at[0] == '!';
		if (negated)
			word = (struct text){ word.at + 1, word.len - 1 };
		bit = find_bit(set, word);
		if (bit < 0)
			return unknown_name(place, param, set, word, id, wanted);
		if ((bits | absent) & 1ull << bit)
			return place_fail(place, word.at, id, "%s names '%s' twice", param->name,
					  set->names[bit]);
		*(negated ? &absent : &bits) |= 1ull << bit;
	}
	*ret_bits = bits;
	if (ret_not)
		*ret_not = absent;
	return 0;
}

static void print_set(FILE *out, const struct names *set, uint64_t bits, uint64_t absent)
{
	const char *comma = "";

	for (unsigned int bit = 0; bit < set->nr; bit++) {
		if (!((bits | absent) & 1ull << bit))
			continue;
		fprintf(out, "%s%s%s", comma, absent & 1ull << bit ? "!" : "", set->names[bit]);
		comma = ",";
	}
}

static int parse_ops(const struct place *place, const struct param *param, struct text text,
		     struct value *ret)
{
	return parse_set(place, param, text, &op_set, "rule.bad-op",
			 "read, write, flush, discard or zeroes (several with commas)", &ret->lo,
			 NULL);
}

static void print_ops(FILE *out, const struct value *value)
{
	print_set(out, &op_set, value->lo, 0);
}

static int parse_flags(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	return parse_set(
		place, param, text, &flag_set, "rule.bad-flag",
		"fua, meta, nounmap, swap, readahead, failfast-dev, failfast-transport or "
		"failfast-driver (several with commas, ! before one that must not be there)",
		&ret->lo, &ret->hi);
}

static void print_flags(FILE *out, const struct value *value)
{
	print_set(out, &flag_set, value->lo, value->hi);
}

/* Split "A..B"; false when there are no dots. */
static bool split_dots(struct text text, struct text *ret_a, struct text *ret_b)
{
	const char *dots = text.len ? memmem(text.at, text.len, "..", 2) : NULL;

	if (!dots)
		return false;
	*ret_a = (struct text){ text.at, (size_t)(dots - text.at) };
	*ret_b = (struct text){ dots + 2, text.len - ret_a->len - 2 };
	return true;
}

static int parse_edge(const struct place *place, const struct param *param, struct text text,
		      const char *which, uint64_t *ret)
{
	uint64_t bytes, sector;

	if (units_parse_size(text.at, text.len, &bytes) < 0)
		return unwanted(place, param, text, "rule.bad-range",
				"START..END, such as 17s..23s, 1M..2M or 1G..");
	if (bytes % SECTOR_SIZE == 0) {
		*ret = bytes;
		return 0;
	}
	/* Rounded outwards the range still covers what was meant. */
	sector = bytes / SECTOR_SIZE + (which[0] == 'e');
	place_fail(place, text.at, "rule.bad-range",
		   "%s wants whole sectors, but its %s '%s' is not a multiple of 512 bytes",
		   param->name, which, QUOTE(text));
	diag_hint(place->diag, "%" PRIu64 "s is the sector boundary around it", sector);
	return -EINVAL;
}

static int parse_range(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	struct text from, to;

	if (!split_dots(text, &from, &to))
		return unwanted(place, param, text, "rule.bad-range",
				"START..END, such as 17s..23s, 1M..2M or 1G..");
	if (parse_edge(place, param, from, "start", &ret->lo) < 0)
		return -EINVAL;
	ret->hi = UINT64_MAX;
	if (to.len && parse_edge(place, param, to, "end", &ret->hi) < 0)
		return -EINVAL;
	if (ret->lo < ret->hi)
		return 0;
	place_fail(place, text.at, "rule.bad-range",
		   "%s wants START before END, got '%s'; END is the first byte outside",
		   param->name, QUOTE(text));
	if (ret->lo > ret->hi)
		diag_hint(place->diag, "did you mean %.*s..%.*s?",
			  (int)(to.len < 32 ? to.len : 32), to.at,
			  (int)(from.len < 32 ? from.len : 32), from.at);
	return -EINVAL;
}

static void print_range(FILE *out, const struct value *value)
{
	char from[UNITS_MAX], to[UNITS_MAX] = "";

	if (value->hi != UINT64_MAX)
		units_format_size(value->hi, to);
	fprintf(out, "%s..%s", units_format_size(value->lo, from), to);
}

static int compare_ranges(const void *a, const void *b)
{
	const struct value_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* Lists mostly come in order. */
static void sort_ranges(struct value_range *ranges, size_t nr)
{
	for (size_t i = 1; i < nr; i++) {
		if (ranges[i].from < ranges[i - 1].from) {
			qsort(ranges, nr, sizeof(*ranges), compare_ranges);
			return;
		}
	}
}

size_t ranges_merge(struct value_range *ranges, size_t nr)
{
	size_t last = 0;

	if (!nr)
		return 0;
	sort_ranges(ranges, nr);
	for (size_t i = 1; i < nr; i++) {
		if (ranges[i].from > ranges[last].to)
			ranges[++last] = ranges[i];
		else if (ranges[i].to > ranges[last].to)
			ranges[last].to = ranges[i].to;
	}
	return last + 1;
}

int ranges_parse(const struct place *place, const struct param *param, struct text text,
		 struct value_range **ret_ranges, size_t *ret_nr)
{
	_cleanup_free_ struct value_range *ranges = NULL;
	size_t nr = 1, at = 0;

	for (size_t i = 0; i < text.len; i++)
		nr += text.at[i] == ',';
	ranges = fail_alloc("faults/rule/value/ranges", calloc(nr, sizeof(*ranges)));
	if (!ranges)
		return diag_set(place->diag, -ENOMEM, "rule.memory", "no memory for a rule");
	for (; at < nr; at++) {
		struct text word = text_cut(&text, ',');
		struct value value = { .lo = 0 };

		if (parse_range(place, param, word, &value) < 0)
			return -EINVAL;
		ranges[at] = (struct value_range){ value.lo, value.hi };
	}
	*ret_nr = ranges_merge(ranges, nr);
	*ret_ranges = take_ptr(ranges);
	return 0;
}

static char *ranges_text(const struct value_range *ranges, size_t nr)
{
	char *text = NULL;
	size_t len;
	FILE *out = fail_alloc("faults/rule/value/ranges-text", open_memstream(&text, &len));

	if (!out)
		return NULL;
	for (size_t i = 0; i < nr; i++) {
		fputs(i ? "," : "", out);
		print_range(out, &(struct value){ .lo = ranges[i].from, .hi = ranges[i].to });
	}
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* The text that stays is the one that is printed, so that equal sets are equal. */
int ranges_value(const struct value_range *ranges, size_t nr, struct value *ret_value)
{
	char *text = nr > 1 ? ranges_text(ranges, nr) : NULL;

	if (nr > 1 && !text)
		return -ENOMEM;
	*ret_value = (struct value){ .lo = ranges[0].from, .hi = ranges[nr - 1].to, .text = text };
	return 0;
}

static int parse_ranges(const struct place *place, const struct param *param, struct text text,
			struct value *ret)
{
	_cleanup_free_ struct value_range *ranges = NULL;
	size_t nr = 0;
	int err = ranges_parse(place, param, text, &ranges, &nr);

	if (err)
		return err;
	if (!ranges_value(ranges, nr, ret))
		return 0;
	return diag_set(place->diag, -ENOMEM, "rule.memory", "no memory for a rule");
}

static void print_ranges(FILE *out, const struct value *value)
{
	if (value->text)
		fputs(value->text, out);
	else
		print_range(out, value);
}

static bool is_plain_number(struct text text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((text.at[i] < '0' || text.at[i] > '9') && text.at[i] != '.')
			return false;
	return true;
}

static bool outside(const struct param *param, uint64_t number)
{
	return number < param->min || (param->max && number > param->max);
}

static int parse_size(const struct place *place, const struct param *param, struct text text,
		      struct value *ret)
{
	char min[UNITS_MAX], max[UNITS_MAX];
	int err = units_parse_size(text.at, text.len, &ret->lo);

	if (err == -EINVAL)
		return unwanted(place, param, text, "rule.bad-size",
				"a size such as 512, 3s, 4k or 1M");
	if (err == 0 && !outside(param, ret->lo))
		return 0;
	return place_fail(place, text.at, "rule.bad-size", "%s wants a size of %s to %s, got '%s'",
			  param->name, units_format_size(param->min, min),
			  units_format_size(param->max ? param->max : UINT64_MAX, max),
			  QUOTE(text));
}

static void print_size(FILE *out, const struct value *value)
{
	char buf[UNITS_MAX];

	fputs(units_format_size(value->lo, buf), out);
}

static int parse_time_part(const struct place *place, const struct param *param, struct text text,
			   const char *wanted, uint64_t *ret)
{
	char min[UNITS_MAX], max[UNITS_MAX];
	int err = units_parse_time(text.at, text.len, ret);

	if (err == -EINVAL) {
		unwanted(place, param, text, "rule.bad-time", wanted);
		if (text.len && is_plain_number(text))
			diag_hint(place->diag, "a time needs its unit: ns, us, ms, s, m or h");
		return -EINVAL;
	}
	if (err == 0 && !outside(param, *ret))
		return 0;
	if (!param->max)
		return place_fail(place, text.at, "rule.bad-time",
				  "%s wants a time of at least %s, less than 585 years, got '%s'",
				  param->name, units_format_time(param->min, min), QUOTE(text));
	return place_fail(place, text.at, "rule.bad-time", "%s wants a time of %s to %s, got '%s'",
			  param->name, units_format_time(param->min, min),
			  units_format_time(param->max, max), QUOTE(text));
}

static int parse_time(const struct place *place, const struct param *param, struct text text,
		      struct value *ret)
{
	return parse_time_part(place, param, text, "a time such as 100us, 10ms or 1.5s", &ret->lo);
}

static void print_time(FILE *out, const struct value *value)
{
	char buf[UNITS_MAX];

	fputs(units_format_time(value->lo, buf), out);
}

static int parse_span(const struct place *place, const struct param *param, struct text text,
		      struct value *ret)
{
	static const char wanted[] = "a time such as 10ms, or two such as 100us..300us";
	struct text from = text, to = text;

	split_dots(text, &from, &to);
	if (parse_time_part(place, param, from, wanted, &ret->lo) < 0 ||
	    parse_time_part(place, param, to, wanted, &ret->hi) < 0)
		return -EINVAL;
	if (ret->lo <= ret->hi)
		return 0;
	return place_fail(place, text.at, "rule.bad-time",
			  "%s wants the shorter time first, got '%s'", param->name, QUOTE(text));
}

static void print_span(FILE *out, const struct value *value)
{
	char from[UNITS_MAX], to[UNITS_MAX];

	fputs(units_format_time(value->lo, from), out);
	if (value->hi != value->lo)
		fprintf(out, "..%s", units_format_time(value->hi, to));
}

static int parse_count(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	uint64_t number = 0;
	bool valid = text.len > 0;

	for (size_t i = 0; i < text.len && valid; i++) {
		valid = text.at[i] >= '0' && text.at[i] <= '9' &&
			!__builtin_mul_overflow(number, 10, &number) &&
			!__builtin_add_overflow(number, (uint64_t)(text.at[i] - '0'), &number);
	}
	if (valid && !outside(param, number)) {
		ret->lo = number;
		return 0;
	}
	if (text.len == 0)
		return unwanted(place, param, text, "rule.bad-number", "a whole number");
	return place_fail(place, text.at, "rule.bad-number",
			  "%s wants a whole number from %" PRIu64 " to %" PRIu64 ", got '%s'",
			  param->name, param->min, param->max ? param->max : UINT64_MAX,
			  QUOTE(text));
}

static void print_count(FILE *out, const struct value *value)
{
	fprintf(out, "%" PRIu64, value->lo);
}

static int parse_share(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	int err = share_parse(text, &ret->share);

	if (err == 0)
		return 0;
	unwanted(place, param, text, "rule.bad-share",
		 "a share from 0 to 1, such as 0.25, 0.5%, 1e-6 or 1:1000");
	/* "p=5" is nearly always meant as a percentage. */
	if (err == -ERANGE && text.len <= 4 && is_plain_number(text))
		diag_hint(place->diag, "write a percentage with its sign: %s%%", QUOTE(text));
	return -EINVAL;
}

static void print_share(FILE *out, const struct value *value)
{
	char buf[SHARE_MAX];

	fputs(share_format(value->share, buf), out);
}

/* A real errno that nobody above the block layer would ever see? */
static bool errno_is_swallowed(struct text text)
{
	for (int err = 1; err < 134; err++) {
		const char *name = strerrorname_np(err);

		if (name && text_is(text, name))
			return true;
	}
	return false;
}

static int parse_errno(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	static const char list[] =
		"EIO EOPNOTSUPP ETIMEDOUT ENOSPC ENOLINK EREMOTEIO EBADE ENODATA "
		"EILSEQ ENOMEM EBUSY EAGAIN ENODEV ETIME EINVAL";

	for (size_t i = 0; i < array_size(errnos); i++) {
		if (text_is(text, errnos[i].name)) {
			ret->lo = (uint64_t)errnos[i].number;
			return 0;
		}
	}
	if (errno_is_swallowed(text)) {
		place_fail(place, text.at, "rule.bad-errno",
			   "%s cannot be %s: the block layer would turn it into EIO, wanted one of "
			   "%s",
			   param->name, QUOTE(text), list);
		diag_hint(place->diag, "use EIO, which is what an application would see");
		return -EINVAL;
	}
	place_fail(place, text.at, "rule.bad-errno", "%s wants one of %s, got '%s'", param->name,
		   list, QUOTE(text));
	place_suggest(place, text, errno_names);
	return -EINVAL;
}

static void print_errno(FILE *out, const struct value *value)
{
	fputs(value_errno_name((int)value->lo), out);
}

/* ------------------------------------------------------------------------------ types with text */

static int keep_text(const struct place *place, struct text text, struct value *ret)
{
	ret->text = strndup(text.at, text.len);
	if (ret->text)
		return 0;
	return diag_set(place->diag, -ENOMEM, "rule.memory", "no memory for a rule");
}

static int parse_number(const struct place *place, const struct param *param, struct text text,
			struct value *ret)
{
	double max = param->max ? (double)param->max : 1e18;
	char wanted[64];

	if (number_parse(text, max, &ret->share) == 0)
		return 0;
	snprintf(wanted, sizeof(wanted), "a number from 0 to %g, such as 1.5", max);
	return unwanted(place, param, text, "rule.bad-number", wanted);
}

static int parse_switch(const struct place *place, const struct param *param, struct text text,
			struct value *ret)
{
	ret->lo = text_is(text, "yes");
	if (ret->lo || text_is(text, "no"))
		return 0;
	return unwanted(place, param, text, "rule.bad-word", "yes or no");
}

static void print_switch(FILE *out, const struct value *value)
{
	fputs(value->lo ? "yes" : "no", out);
}

#define CHOICE_SIZE ":SIZE"

/* The word of a "a|b|c" with this number, or an empty text. */
static struct text choice_at(const char *choices, uint64_t index)
{
	struct text rest = { choices, strlen(choices) }, word = text_cut(&rest, '|');

	while (index-- && word.len)
		word = text_cut(&rest, '|');
	return word;
}

/* Cuts ":SIZE" off a word that is followed by one. */
static bool wants_size(struct text *word)
{
	const size_t len = strlen(CHOICE_SIZE);

	if (word->len <= len || memcmp(word->at + word->len - len, CHOICE_SIZE, len) != 0)
		return false;
	word->len -= len;
	return true;
}

static int parse_choice_size(const struct place *place, const struct param *param, struct text word,
			     struct text size, struct value *ret)
{
	struct value value = { .text = NULL };
	char name[64];
	const struct param its = {
		name, VALUE_SIZE, PARAM_NAMED, NULL, param->min, param->max, NULL
	};
	int err;

	snprintf(name, sizeof(name), "%s=%.*s", param->name, (int)word.len, word.at);
	err = parse_size(place, &its, size, &value);
	ret->hi = value.lo;
	return err;
}

static int parse_choice(const struct place *place, const struct param *param, struct text text,
			struct value *ret)
{
	for (uint64_t i = 0; choice_at(param->bare, i).len; i++) {
		struct text word = choice_at(param->bare, i), rest = text;
		bool sized = wants_size(&word), has = text.len && memchr(text.at, ':', text.len);
		struct text head = text_cut(&rest, ':');

		if (sized != has || word.len != head.len || memcmp(word.at, head.at, word.len) != 0)
			continue;
		ret->lo = i;
		return sized ? parse_choice_size(place, param, word, rest, ret) : 0;
	}
	return unwanted(place, param, text, "rule.bad-word", param->bare);
}

static void print_choice(FILE *out, const struct param *param, const struct value *value)
{
	struct text word = choice_at(param->bare, value->lo);
	bool sized = wants_size(&word);

	fprintf(out, "%.*s", (int)word.len, word.at);
	if (!sized)
		return;
	fputc(':', out);
	print_size(out, &(struct value){ .lo = value->hi });
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-_./:", c));
}

static int parse_name(const struct place *place, const struct param *param, struct text text,
		      struct value *ret)
{
	bool valid = text.len > 0 && text.len <= VALUE_NAME_MAX;

	for (size_t i = 0; i < text.len && valid; i++)
		valid = is_name_char(text.at[i]);
	if (valid)
		return keep_text(place, text, ret);
	return unwanted(place, param, text, "rule.bad-name",
			"a name of at most 63 letters, digits, '-', '_', '.', '/' and ':'");
}

/* As the names of disks (tools/rpc/runtime.h). */
static bool is_disk_name(struct text name)
{
	bool valid = name.len > 0 && name.len <= VALUE_NAME_MAX && name.at[0] != '.' &&
		     name.at[0] != '-';

	for (size_t i = 0; i < name.len && valid; i++)
		valid = is_name_char(name.at[i]) && !strchr("/:", name.at[i]);
	return valid;
}

static bool has_name(struct text names, struct text name)
{
	while (names.len) {
		struct text other = text_cut(&names, '+');

		if (other.len == name.len && memcmp(other.at, name.at, name.len) == 0)
			return true;
	}
	return false;
}

static int parse_names(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	bool valid = text.len && text.len <= VALUE_NAMES_MAX && text.at[text.len - 1] != '+';
	struct text rest = text;

	while (rest.len && valid) {
		struct text name = text_cut(&rest, '+');

		valid = is_disk_name(name);
		if (valid && has_name(rest, name))
			return place_fail(place, name.at, "rule.bad-name", "%s names '%s' twice",
					  param->name, QUOTE(name));
	}
	if (valid)
		return keep_text(place, text, ret);
	return unwanted(place, param, text, "rule.bad-name",
			"names of disks, with a + between two: b+c");
}

static int parse_path(const struct place *place, const struct param *param, struct text text,
		      struct value *ret)
{
	if (text.len && text.len <= VALUE_PATH_MAX && text.at[0] == '/' &&
	    !memchr(text.at, ' ', text.len) && !memchr(text.at, '\t', text.len))
		return keep_text(place, text, ret);
	return unwanted(place, param, text, "rule.bad-path",
			"an absolute path of at most 255 bytes, without spaces");
}

static bool all_of(struct text text, const char *chars)
{
	for (size_t i = 0; i < text.len; i++)
		if (!text.at[i] || !strchr(chars, text.at[i]))
			return false;
	return true;
}

static int parse_bytes(const struct place *place, const struct param *param, struct text text,
		       struct value *ret)
{
	static const char wanted[] =
		"an even number of hex digits for 1 to 64 bytes, and @OFFSET if only that place "
		"counts: 53ef, 0fc0@1k";
	bool has_offset = text.len && memchr(text.at, '@', text.len);
	struct text rest = text, hex = text_cut(&rest, '@');

	ret->hi = UINT64_MAX;
	ret->lo = hex.len / 2;
	if (!hex.len || hex.len % 2 || ret->lo > VALUE_BYTES_MAX ||
	    !all_of(hex, "0123456789abcdefABCDEF"))
		return unwanted(place, param, text, "rule.bad-bytes", wanted);
	if (has_offset && units_parse_size(rest.at, rest.len, &ret->hi))
		return unwanted(place, param, text, "rule.bad-bytes", wanted);
	if (has_offset && ret->hi > UINT32_MAX)
		return unwanted(place, param, text, "rule.bad-bytes", "an offset below 4G");
	if (keep_text(place, hex, ret))
		return -ENOMEM;
	for (char *c = ret->text; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c - 'A' + 'a');
	return 0;
}

static void print_bytes(FILE *out, const struct value *value)
{
	char offset[UNITS_MAX];

	fputs(value->text, out);
	if (value->hi != UINT64_MAX)
		fprintf(out, "@%s", units_format_size(value->hi, offset));
}

static unsigned int hex_digit(char c)
{
	return (unsigned int)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void value_bytes(const struct value *value, unsigned char bytes[VALUE_BYTES_MAX])
{
	for (uint64_t i = 0; i < value->lo; i++)
		bytes[i] = (unsigned char)(hex_digit(value->text[2 * i]) << 4 |
					   hex_digit(value->text[2 * i + 1]));
}

static int parse_map(const struct place *place, const struct param *param, struct text text,
		     struct value *ret)
{
	ret->lo = text.len;
	if (text.len && text.len <= VALUE_MAP_MAX && all_of(text, "01"))
		return keep_text(place, text, ret);
	return unwanted(place, param, text, "rule.bad-map",
			"a digit for each unit, 1 to 256 of them, such as 1101");
}

static void print_text(FILE *out, const struct value *value)
{
	fputs(value->text, out);
}

void value_clear(struct value *value)
{
	free(value->text);
	value->text = NULL;
}

static const struct type {
	const char *placeholder;
	int (*parse)(const struct place *place, const struct param *param, struct text text,
		     struct value *ret);
	void (*print)(FILE *out, const struct value *value);
} types[VALUE_NR_TYPES] = {
	[VALUE_MARK] = { "", NULL, NULL },
	[VALUE_OPS] = { "OP,...", parse_ops, print_ops },
	[VALUE_FLAGS] = { "FLAG,...", parse_flags, print_flags },
	[VALUE_RANGE] = { "START..END", parse_range, print_range },
	[VALUE_RANGES] = { "START..END,...", parse_ranges, print_ranges },
	[VALUE_SIZE] = { "SIZE", parse_size, print_size },
	[VALUE_TIME] = { "TIME", parse_time, print_time },
	[VALUE_SPAN] = { "TIME|MIN..MAX", parse_span, print_span },
	[VALUE_COUNT] = { "N", parse_count, print_count },
	[VALUE_SHARE] = { "SHARE", parse_share, print_share },
	[VALUE_ERRNO] = { "ERRNO", parse_errno, print_errno },
	[VALUE_NUMBER] = { "NUMBER", parse_number, print_share },
	[VALUE_SWITCH] = { "yes|no", parse_switch, print_switch },
	[VALUE_CHOICE] = { "WORD", parse_choice, NULL },
	[VALUE_NAME] = { "NAME", parse_name, print_text },
	[VALUE_NAMES] = { "NAME+...", parse_names, print_text },
	[VALUE_PATH] = { "PATH", parse_path, print_text },
	[VALUE_BYTES] = { "HEX[@OFFSET]", parse_bytes, print_bytes },
	[VALUE_MAP] = { "BITS", parse_map, print_text },
};

int value_parse(const struct place *place, const struct param *param, struct text text,
		struct value *ret_value)
{
	struct value value = { .lo = 0, .hi = 0, .text = NULL };
	int err = types[param->type].parse(place, param, text, &value);

	if (err == 0)
		*ret_value = value;
	return err;
}

void value_print(FILE *out, const struct param *param, const struct value *value)
{
	if (param->type == VALUE_CHOICE)
		print_choice(out, param, value);
	else
		types[param->type].print(out, value);
}

bool value_equal(const struct param *param, const struct value *a, const struct value *b)
{
	if (param->type == VALUE_SHARE || param->type == VALUE_NUMBER)
		return a->share == b->share;
	return a->lo == b->lo && a->hi == b->hi && !a->text == !b->text &&
	       (!a->text || strcmp(a->text, b->text) == 0);
}

const char *param_placeholder(const struct param *param)
{
	if (param->form != PARAM_EITHER && param->bare)
		return param->bare;
	return types[param->type].placeholder;
}
