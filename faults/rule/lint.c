// SPDX-License-Identifier: MIT
/*
 * Rules that are legal and do nothing.
 *
 * A warning that is wrong once is ignored ever after, so each is a proof: the requests that a disk
 * can get are whole logical blocks, inside it, no larger than it takes, and what a rule would need
 * is not among them. Where a kind, libfiu or the data have a say, nothing is claimed.
 *
 * A rule stands in the shadow of an earlier one when that one ends every request that it could
 * match. One rule at a time: that several together leave nothing is not looked for.
 */
#include "faults/rule/rule.h"

#include "base/cleanup.h"
#include "base/units.h"
#include "faults/rule/ast.h"

#include <stdio.h>
#include <string.h>

#define SENTENCE_MAX 480

struct lint {
	const struct rule_set *set;
	const struct rule_geometry *geometry;
	rule_warn_fn warn;
	void *ctx;
	struct shade *shades; /* those so far that end whatever they match; NULL: no memory */
	size_t nr_shades;
};

/* What most pairs of rules differ in, side by side, so that thousands of them take no time. */
struct shade {
	uint64_t from, to; /* bytes; all of the disk without range= */
	uint32_t ops;
	const struct rule *rule;
};

/* What a rule can match on this disk, each part of it closed under what follows from it. */
struct reach {
	uint32_t ops;
	uint32_t min_len[IO_NR_OPS], max_len[IO_NR_OPS]; /* in whole blocks; of ops only */
	uint32_t flags, not_flags;
	uint64_t align; /* every start is a multiple of it */
};

static void say(const struct lint *lint, const struct rule *rule, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(const struct lint *lint, const struct rule *rule, const char *fmt, ...)
{
	char sentence[SENTENCE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	lint->warn(lint->ctx, rule, sentence);
}

/* ------------------------------------------------------------------------------ what it can match
 */

static uint64_t lcm(uint64_t a, uint64_t b)
{
	uint64_t x = a, y = b;

	while (y) {
		uint64_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

/* The lengths that requests of this kind have and the rule wants; false if there are none. */
static bool fit_lengths(const struct rule *rule, const struct rule_geometry *geometry,
			unsigned int op, struct reach *reach)
{
	bool exact = rule_has(rule, WORD_len), moves = op == IO_READ || op == IO_WRITE;
	uint64_t min = rule->word[exact ? WORD_len : WORD_min_len].lo, max = RULE_LEN_MAX;
	uint64_t block = geometry->block_bytes;

	if (exact || rule_has(rule, WORD_max_len))
		max = rule->word[exact ? WORD_len : WORD_max_len].lo;
	if (moves && geometry->max_io_bytes && max > geometry->max_io_bytes)
		max = geometry->max_io_bytes;
	if (max > geometry->size_bytes)
		max = geometry->size_bytes;
	min = min ? (min + block - 1) / block * block : block;
	max = max / block * block;
	reach->min_len[op] = (uint32_t)min;
	reach->max_len[op] = (uint32_t)max;
	return min <= max;
}

/* Is there a start from which a request of such a length touches the range? */
static bool fit_place(const struct rule *rule, const struct rule_geometry *geometry,
		      unsigned int op, const struct reach *reach)
{
	uint64_t most = geometry->size_bytes - reach->min_len[op];

	for (uint32_t i = 0; i < rule->nr_ranges; i++) {
		const struct value_range *range = &rule->ranges[i];
		/* The further up the start, the further the request reaches. */
		uint64_t last = range->to - 1 < most ? range->to - 1 : most;

		if (last / reach->align * reach->align + reach->max_len[op] > range->from)
			return true;
	}
	return !rule->nr_ranges;
}

static void close_flags(const struct rule *rule, const struct rule_geometry *geometry,
			struct reach *reach)
{
	uint32_t flags = (uint32_t)rule->word[WORD_flags].lo;
	uint32_t not_flags = (uint32_t)rule->word[WORD_flags].hi;

	if (flags & IO_READAHEAD)
		flags |= IO_FAILFAST;
	if ((flags & IO_FAILFAST) == IO_FAILFAST)
		flags |= IO_READAHEAD;
	if (not_flags & IO_FAILFAST)
		not_flags |= IO_READAHEAD;
	if (geometry->no_fua)
		not_flags |= IO_FUA;
	reach->flags = flags;
	reach->not_flags = not_flags;
}

/* Does a goto= of the set, of a rule not enabled perhaps, lead to the state? */
static bool state_is_reached(const struct lint *lint, const struct rule *rule)
{
	if (!rule->state_hash || strcmp(rule->word[WORD_state].text, RULE_STATE_START) == 0)
		return true;
	for (size_t i = 0; i < rule_set_count(lint->set); i++)
		if (rule_set_at(lint->set, i)->goto_hash == rule->state_hash)
			return true;
	return false;
}

static bool warn_lengths(const struct lint *lint, const struct rule *rule)
{
	const struct rule_geometry *geometry = lint->geometry;
	char block[UNITS_MAX], most[UNITS_MAX], size[UNITS_MAX];

	say(lint, rule,
	    "rule '%s' never matches: no request has such a length; they are multiples of the "
	    "logical block of %s, at most the disk's %s%s%s; change len=, min-len= or max-len=",
	    rule->name, units_format_size(geometry->block_bytes, block),
	    units_format_size(geometry->size_bytes, size),
	    geometry->max_io_bytes ? ", reads and writes at most " : "",
	    geometry->max_io_bytes ? units_format_size(geometry->max_io_bytes, most) : "");
	return true;
}

static bool warn_flags(const struct lint *lint, const struct rule *rule)
{
	if (rule->word[WORD_flags].lo & IO_FUA && lint->geometry->no_fua)
		say(lint, rule,
		    "rule '%s' never matches: flags=fua, but this disk gets no FUA writes; make it "
		    "with FUA, or select by op=write alone",
		    rule->name);
	else
		say(lint, rule,
		    "rule '%s' never matches: readahead is all three failfast flags at once, so "
		    "its flags= contradict each other; take some away",
		    rule->name);
	return true;
}

static uint32_t missing_ops(const struct rule_geometry *geometry)
{
	return (uint32_t)geometry->no_flush << IO_FLUSH |
	       (uint32_t)geometry->no_discard << IO_DISCARD |
	       (uint32_t)geometry->no_zeroes << IO_ZEROES;
}

static bool warn_ops(const struct lint *lint, const struct rule *rule)
{
	const bool flush = rule->op_bits >> IO_FLUSH & 1;
	const bool discard = rule->op_bits >> IO_DISCARD & 1;
	const bool zeroes = rule->op_bits >> IO_ZEROES & 1;

	say(lint, rule,
	    "rule '%s' never matches: it is about%s%s%s%s%s, and this disk gets none; make it with "
	    "%s%s%s, or choose another op=",
	    rule->name, flush ? " flushes" : "", flush && discard ? "," : "",
	    discard ? " discards" : "", (flush || discard) && zeroes ? "," : "",
	    zeroes ? " write-zeroes" : "", flush ? "a volatile cache" : "",
	    flush && (discard || zeroes) ? " and " : "", discard || zeroes ? "them" : "");
	return true;
}

/* Fills in @reach; says so, and returns true, if there is nothing in it. */
static bool never_matches(const struct lint *lint, const struct rule *rule, struct reach *reach)
{
	uint32_t long_ones = 0, placed = 0;

	*reach = (struct reach){ .ops = rule->op_bits, .align = lint->geometry->block_bytes };
	if (rule_has(rule, WORD_align))
		reach->align = lcm(rule->word[WORD_align].lo, reach->align);
	close_flags(rule, lint->geometry, reach);
	if (reach->flags & reach->not_flags)
		return warn_flags(lint, rule);
	reach->ops &= ~missing_ops(lint->geometry);
	if (!reach->ops)
		return warn_ops(lint, rule);
	for (unsigned int op = 0; op < IO_NR_OPS; op++) {
		if (!(reach->ops >> op & 1))
			continue;
		if (op != IO_FLUSH && !fit_lengths(rule, lint->geometry, op, reach))
			continue;
		long_ones |= 1u << op;
		if (op == IO_FLUSH || fit_place(rule, lint->geometry, op, reach))
			placed |= 1u << op;
	}
	reach->ops = placed;
	if (!long_ones)
		return warn_lengths(lint, rule);
	if (!placed)
		say(lint, rule,
		    "rule '%s' never matches: no request that starts at a multiple of align= is "
		    "long enough to touch range=; change one of them",
		    rule->name);
	else if (!state_is_reached(lint, rule))
		say(lint, rule,
		    "rule '%s' never matches: no rule leads to its state '%s'; add goto=%s to one, "
		    "or take state= away",
		    rule->name, rule->word[WORD_state].text, rule->word[WORD_state].text);
	else
		return false;
	return true;
}

/* ------------------------------------------------------------------------------ triggers */

/* Is the rule asleep at all times? */
static bool always_asleep(const struct rule *rule)
{
	const struct value *between = &rule->word[WORD_between];
	uint64_t from = 0, to = rule->for_ns, up, cycle;

	if (rule_has(rule, WORD_between)) {
		from = between->lo;
		to = between->hi < to ? between->hi : to;
	}
	if (from >= to)
		return true;
	if (!rule_has(rule, WORD_up))
		return false;
	up = rule->word[WORD_up].lo;
	cycle = up + rule->word[WORD_down].lo;
	/* Wide enough for the next time that up= is over? */
	return from % cycle < up && to - from <= up - from % cycle;
}

static bool never_acts(const struct lint *lint, const struct rule *rule)
{
	if (!rule->always && rule->threshold == 0)
		say(lint, rule, "rule '%s' never acts: its p= is 0; raise it, or use enabled=no",
		    rule->name);
	else if (rule->timed && always_asleep(rule))
		say(lint, rule,
		    "rule '%s' never acts: the times of for=, between= and up= have no moment in "
		    "common; change one of them",
		    rule->name);
	else
		return false;
	return true;
}

/* ------------------------------------------------------------------------------ shadows */

/* Does the rule end every request that its selectors let through? */
static bool ends_all(const struct rule *rule)
{
	return rule->kind->role != KIND_MODIFIER && !rule->after && rule->every == 1 &&
	       rule->times == UINT64_MAX && rule->always && !rule->timed && !rule->needs_data;
}

static bool covers_lengths(const struct rule *rule, const struct reach *reach)
{
	bool exact = rule_has(rule, WORD_len);
	uint64_t min = rule->word[exact ? WORD_len : WORD_min_len].lo;
	uint64_t max = exact || rule_has(rule, WORD_max_len)
			       ? rule->word[exact ? WORD_len : WORD_max_len].lo
			       : UINT64_MAX;

	for (unsigned int op = 0; op < IO_NR_OPS; op++) {
		if (!(reach->ops >> op & 1) || op == IO_FLUSH)
			continue;
		if (reach->min_len[op] < min || reach->max_len[op] > max)
			return false;
	}
	return true;
}

/* The rule's range, cut to the disk; of several, from the first to the last. */
static struct shade shade_of(const struct rule *rule, const struct rule_geometry *geometry)
{
	const struct value *range = &rule->word[WORD_range];
	struct shade shade = { .to = geometry->size_bytes, .ops = rule->op_bits, .rule = rule };

	if (rule_has(rule, WORD_range)) {
		shade.from = range->lo;
		shade.to = range->hi < shade.to ? range->hi : shade.to;
	}
	return shade;
}

/* Does @rule match whatever @other matches, as far as anything but op= and range= goes? */
static bool covers(const struct rule *rule, const struct rule *other, const struct reach *reach,
		   const struct rule_geometry *geometry)
{
	const struct value *flags = &rule->word[WORD_flags];

	if (flags->lo & ~(uint64_t)reach->flags || flags->hi & ~(uint64_t)reach->not_flags)
		return false;
	if (rule_has(rule, WORD_queue) && geometry->nr_queues != 1 &&
	    !(rule_has(other, WORD_queue) &&
	      rule->word[WORD_queue].lo == other->word[WORD_queue].lo))
		return false;
	if (rule->state_hash && rule->state_hash != other->state_hash)
		return false;
	if (rule_has(rule, WORD_align) && reach->align % rule->word[WORD_align].lo)
		return false;
	return covers_lengths(rule, reach);
}

static bool is_shadowed(const struct lint *lint, const struct rule *rule, const struct reach *reach)
{
	const struct shade its = shade_of(rule, lint->geometry);

	for (size_t i = 0; i < lint->nr_shades; i++) {
		const struct shade *shade = &lint->shades[i];
		const struct rule *first = shade->rule;

		if (shade->from > its.from || shade->to < its.to || reach->ops & ~shade->ops ||
		    !covers(first, rule, reach, lint->geometry))
			continue;
		say(lint, rule,
		    "rule '%s' is never reached: rule '%s' before it ends every request that could "
		    "match; put '%s' before '%s', or narrow '%s'",
		    rule->name, first->name, rule->name, first->name, first->name);
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------ small effect */

/* Does the rule say what is to become of the cache? And with which word? */
static const char *keeps_word(const struct rule *rule)
{
	const struct kind_args *args = &rule->args;

	if (strcmp(rule->kind->name, "powercut") != 0 || !args->given)
		return NULL;
	if (args->value[powercut_keep].lo != POWERCUT_FIRST)
		return "keep=";
	return kind_has(args, powercut_rest) ? "rest=" : NULL;
}

static void hardly_acts(const struct lint *lint, const struct rule *rule)
{
	bool lies = strcmp(rule->kind->name, "lie") == 0;
	const char *keeps = keeps_word(rule);

	if (lint->geometry->has_cache || (!lies && !keeps))
		return;
	if (lies)
		say(lint, rule,
		    "rule '%s' has no effect: the disk has no volatile cache, all that it stores "
		    "is durable at once; give it one",
		    rule->name);
	else
		say(lint, rule,
		    "rule '%s' decides with %s about %s: the disk has no volatile cache, all else "
		    "is durable at once; give it one",
		    rule->name, keeps, *keeps == 'k' ? "its own request only" : "nothing");
}

/* A delay of whole minutes, which is rather one of so many milliseconds with a letter left out. */
static void waits_minutes(const struct lint *lint, const struct rule *rule)
{
	const struct kind *kind = rule->kind;

	if (strcmp(kind->name, "delay") != 0)
		return;
	for (unsigned int i = 0; i < kind->nr_params; i++) {
		const struct param *param = &kind->params[i];
		const struct value *value = &rule->args.value[i];
		bool span = param->type == VALUE_SPAN;
		char time[UNITS_MAX];
		size_t len;

		if (!kind_has(&rule->args, i) || i == delay_max ||
		    (!span && param->type != VALUE_TIME))
			continue;
		len = strlen(units_format_time(span ? value->hi : value->lo, time));
		if (time[len - 1] != 'm')
			continue;
		say(lint, rule,
		    "rule '%s' waits for minutes: m is minutes, so %s is %.*s of them; "
		    "milliseconds are written ms, as in %ss",
		    rule->name, time, (int)len - 1, time, time);
		return;
	}
}

static void starts_only(const struct lint *lint, const struct rule *rule)
{
	char align[UNITS_MAX], size[UNITS_MAX];

	if (rule->word[WORD_align].lo < lint->geometry->size_bytes)
		return;
	say(lint, rule,
	    "rule '%s' matches only requests that start where the disk starts: align=%s, but the "
	    "disk has %s; make align= smaller",
	    rule->name, units_format_size(rule->word[WORD_align].lo, align),
	    units_format_size(lint->geometry->size_bytes, size));
}

_cold_ void rule_set_lint(const struct rule_set *set, const struct rule_geometry *geometry,
			  rule_warn_fn warn, void *ctx)
{
	_cleanup_free_ struct shade *shades = calloc(rule_set_count(set) + 1, sizeof(*shades));
	struct lint lint = {
		.set = set, .geometry = geometry, .warn = warn, .ctx = ctx, .shades = shades
	};

	for (size_t i = 0; i < rule_set_count(set); i++) {
		struct rule *rule = rule_set_at(set, i);
		struct reach reach;

		if (!rule_enabled(rule) || never_matches(&lint, rule, &reach))
			continue;
		if (!never_acts(&lint, rule) && !is_shadowed(&lint, rule, &reach)) {
			hardly_acts(&lint, rule);
			starts_only(&lint, rule);
			waits_minutes(&lint, rule);
		}
		/* What lies between several ranges it leaves alone. */
		if (shades && ends_all(rule) && rule->nr_ranges <= 1)
			shades[lint.nr_shades++] = shade_of(rule, geometry);
	}
}
