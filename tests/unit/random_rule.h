/* SPDX-License-Identifier: MIT */
/* Random parsed rules, made from the tables: whatever a table allows can come out. */
#ifndef TESTS_RANDOM_RULE_H
#define TESTS_RANDOM_RULE_H

#include "tests/unit/check.h"

/* Small and large numbers alike, and the bounds themselves. */
static inline uint64_t random_number(struct draw *draw, uint64_t min, uint64_t max)
{
	uint64_t span;

	if (!max)
		max = UINT64_MAX;
	span = max - min;
	switch (draw_below(draw, 5)) {
	case 0:
		return min;
	case 1:
		return max;
	case 2:
		return min + (draw_bits(draw) & 15) % (span ? span : 1);
	default:
		return min + (draw_bits(draw) >> draw_below(draw, 64)) % (span ? span : 1);
	}
}

static inline double random_share(struct draw *draw)
{
	switch (draw_below(draw, 5)) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return (double)draw_below(draw, 1000) / 1000;
	case 3:
		return (double)draw_bits(draw) * 0x1p-64 / (double)(1ull << draw_below(draw, 60));
	default:
		return (double)(draw_bits(draw) >> 11) * 0x1p-53;
	}
}

static inline char *random_text(struct draw *draw, const char *chars, size_t len)
{
	char *text = calloc(len + 1, 1);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = chars[draw_below(draw, strlen(chars))];
	return text;
}

/* One range or several, parsed from a text in which they may touch and stand in any order. */
static inline struct value random_ranges(struct draw *draw, const struct param *param)
{
	const struct place place = { .line = NULL };
	struct value value = { .lo = 0 };
	char text[1024] = "";
	size_t len = 0;

	for (uint64_t nr = 1 + draw_below(draw, 2) * draw_below(draw, 9); nr--;) {
		uint64_t from = draw_bits(draw) >> (10 + draw_below(draw, 40));

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%llus..", len ? "," : "",
					(unsigned long long)from);
		if (draw_below(draw, 4))
			len += (size_t)snprintf(
				text + len, sizeof(text) - len, "%llus",
				(unsigned long long)(from + 1 + draw_below(draw, 5000)));
	}
	if (value_parse(&place, param, (struct text){ text, len }, &value))
		fail_msg("refused: %s", text);
	return value;
}

static inline bool choice_has_size(const char *words, uint64_t index)
{
	while (index--)
		words = strchr(words, '|') + 1;
	words += strcspn(words, ":|");
	return *words == ':';
}

/* A value that keeps its text. */
static inline struct value random_word(struct draw *draw, enum value_type type)
{
	struct value value = { .lo = 0, .hi = 0, .text = NULL };

	switch (type) {
	case VALUE_NAME:
		value.text =
			random_text(draw, "abcXYZ019-_./:", 1 + draw_below(draw, VALUE_NAME_MAX));
		break;
	case VALUE_NAMES:
		value.text = random_text(draw, "abcXYZ019_", 1 + draw_below(draw, VALUE_NAME_MAX));
		break;
	case VALUE_PATH:
		value.text = random_text(draw, "/a.b-", 2 + draw_below(draw, 20));
		value.text[0] = '/';
		break;
	case VALUE_BYTES:
		value.lo = 1 + draw_below(draw, VALUE_BYTES_MAX);
		value.hi = draw_below(draw, 2) ? UINT64_MAX : draw_below(draw, 1u << 20);
		value.text = random_text(draw, "0123456789abcdef", 2 * value.lo);
		break;
	case VALUE_MAP:
		value.lo = 1 + draw_below(draw, VALUE_MAP_MAX);
		value.text = random_text(draw, "01", value.lo);
		break;
	default:
		break;
	}
	return value;
}

static inline struct value random_value(struct draw *draw, const struct param *param)
{
	const uint64_t all_flags = IO_FUA | IO_META | IO_NOUNMAP | IO_SWAP | IO_FAILFAST_DEV |
				   IO_FAILFAST_TRANSPORT | IO_FAILFAST_DRIVER | IO_READAHEAD;
	const char *const *names = value_errno_names();
	struct value value = { .lo = 0, .hi = 0, .text = NULL };

	switch (param->type) {
	case VALUE_MARK:
	case VALUE_NR_TYPES:
		break;
	case VALUE_OPS:
		value.lo = 1 + draw_below(draw, (1u << IO_NR_OPS) - 1);
		break;
	case VALUE_FLAGS:
		do {
			value.lo = draw_bits(draw) & all_flags;
			value.hi = draw_bits(draw) & all_flags & ~value.lo;
		} while (!value.lo && !value.hi);
		break;
	case VALUE_RANGES:
		return random_ranges(draw, param);
	case VALUE_RANGE:
		value.lo = (draw_bits(draw) >> (1 + draw_below(draw, 40))) & ~511ull;
		value.hi = value.lo + (1 + draw_below(draw, 5000)) * SEC;
		if (!draw_below(draw, 4))
			value.hi = UINT64_MAX;
		break;
	case VALUE_SIZE:
		value.lo = random_number(draw, param->min, param->max);
		if (draw_below(draw, 2) && value.lo >= SEC)
			value.lo &= ~511ull;
		break;
	case VALUE_TIME:
	case VALUE_COUNT:
		value.lo = random_number(draw, param->min, param->max);
		break;
	case VALUE_SPAN:
		value.lo = random_number(draw, param->min, param->max);
		value.hi =
			draw_below(draw, 2) ? value.lo : random_number(draw, value.lo, param->max);
		break;
	case VALUE_SHARE:
		value.share = random_share(draw);
		break;
	case VALUE_ERRNO:
		value.lo = (uint64_t)value_errno_number(names[draw_below(draw, 15)]);
		break;
	case VALUE_NUMBER:
		value.share = (double)draw_below(draw, 1000) / 8;
		if (param->max && value.share > (double)param->max)
			value.share = (double)param->max;
		break;
	case VALUE_SWITCH:
		value.lo = draw_below(draw, 2);
		break;
	case VALUE_CHOICE:
		for (const char *c = param->bare; *c; c++)
			value.lo += *c == '|';
		value.lo = draw_below(draw, value.lo + 1);
		if (choice_has_size(param->bare, value.lo))
			value.hi = random_number(draw, param->min, param->max);
		break;
	case VALUE_NAME:
	case VALUE_NAMES:
	case VALUE_PATH:
	case VALUE_BYTES:
	case VALUE_MAP:
		return random_word(draw, param->type);
	}
	return value;
}

static inline void random_name(struct draw *draw, char *name)
{
	static const char chars[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.0123456789-";
	size_t len = 1 + draw_below(draw, draw_below(draw, 8) ? 12 : RULE_NAME_MAX);

	for (size_t i = 0; i < len; i++)
		name[i] = chars[draw_below(draw, sizeof(chars) - (i ? 1 : 2))];
	name[len] = '\0';
}

static inline void random_args(struct draw *draw, struct rule *rule)
{
	const struct kind *kind = rule->kind;
	/* Few at a time as well: of a kind with many parameters most exclude each other. */
	uint64_t rarity = 2ull << draw_below(draw, 4);

	memset(&rule->args, 0, sizeof(rule->args));
	for (unsigned int i = 0; i < kind->nr_params; i++) {
		if (kind->params[i].form != PARAM_FIRST && draw_below(draw, rarity))
			continue;
		rule->args.given |= 1u << i;
		rule->args.value[i] = random_value(draw, &kind->params[i]);
	}
}

/* One reference. Combinations that make no sense are thrown away. */
static inline struct rule *random_rule(struct draw *draw)
{
	const struct place nowhere = { .line = NULL, .diag = NULL };
	const struct rule_places no_places = { .end = NULL };
	size_t nr_kinds = 0;

	while (kind_at(nr_kinds))
		nr_kinds++;
	for (;;) {
		struct rule *rule = rule_new();

		assert_non_null(rule);
		random_name(draw, rule->name);
		for (unsigned int i = 0; i < RULE_NR_WORDS; i++) {
			if (draw_below(draw, 3))
				continue;
			rule->given |= 1u << i;
			rule->word[i] = random_value(draw, rule_word_param(i));
			/* The two make sense together only. */
			if (i == WORD_up) {
				rule->given |= 1u << WORD_down;
				rule->word[WORD_down] =
					random_value(draw, rule_word_param(WORD_down));
				i = WORD_down;
			}
		}
		rule->kind = kind_at(draw_below(draw, nr_kinds));
		random_args(draw, rule);
		if ((!rule->kind->ops->validate ||
		     rule->kind->ops->validate(&rule->args, NULL) == 0) &&
		    rule_finish(rule, &nowhere, &no_places) == 0)
			return rule;
		rule_unref(rule);
	}
}

#endif
