// SPDX-License-Identifier: MIT
/*
 * One line per rule that is asked, one for what comes of it. The walk is written out over the
 * parsed form on purpose, without the plan's indices: what it says can be held against them.
 */
#include "faults/engine/explain.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/rule/ast.h"

#include <inttypes.h>

static bool len_fits(const struct rule *rule, enum rule_word word, const struct io *io)
{
	uint64_t wanted = rule->word[word].lo;

	if (word == WORD_min_len)
		return io->len_bytes >= wanted;
	if (word == WORD_max_len)
		return io->len_bytes <= wanted;
	return io->len_bytes == wanted;
}

/* Written out, as all here: see above. */
static bool range_overlaps(const struct rule *rule, const struct io *io)
{
	for (uint32_t i = 0; i < rule->nr_ranges; i++)
		if (io_start(io) < rule->ranges[i].to &&
		    io_start(io) + io->len_bytes > rule->ranges[i].from)
			return true;
	return false;
}

static bool flags_fit(const struct value *wanted, uint32_t flags)
{
	return (flags & wanted->lo) == wanted->lo && !(flags & wanted->hi);
}

/* Does this one selector, which the rule has, let the request through? */
static bool selector_fits(const struct rule *rule, enum rule_word word, const struct io *io,
			  uint64_t state_hash)
{
	switch (word) {
	case WORD_op:
		return rule->word[WORD_op].lo >> io->op & 1;
	case WORD_range:
		return io->op != IO_FLUSH && range_overlaps(rule, io);
	case WORD_len:
	case WORD_min_len:
	case WORD_max_len:
		return io->op != IO_FLUSH && len_fits(rule, word, io);
	case WORD_flags:
		return flags_fit(&rule->word[WORD_flags], io_rule_flags(io));
	case WORD_queue:
		return io->queue == rule->word[WORD_queue].lo;
	case WORD_align:
		return io->op != IO_FLUSH && io_start(io) % rule->word[WORD_align].lo == 0;
	case WORD_state:
		return rule->state_hash == state_hash;
	/* The data is not there, and to ask libfiu could change what it answers next. */
	case WORD_part: /* it is resolved before the rule is put in force */
	case WORD_content:
	case WORD_fiu:
	case WORD_after:
	case WORD_every:
	case WORD_p:
	case WORD_times:
	case WORD_for:
	case WORD_between:
	case WORD_up:
	case WORD_down:
	case WORD_goto:
	case WORD_enabled:
	case RULE_NR_WORDS:
		break;
	}
	return true;
}

static void print_word(FILE *out, const struct rule *rule, enum rule_word word)
{
	fprintf(out, "%s=", rule_word_param(word)->name);
	value_print(out, rule_word_param(word), &rule->word[word]);
}

/* Says why not, if not. */
static bool explain_selectors(FILE *out, const struct rule *rule, const struct io *io,
			      uint64_t state_hash)
{
	char list[OP_LIST_MAX];

	if (!rule_enabled(rule)) {
		fputs("is not enabled\n", out);
		return false;
	}
	for (unsigned int word = 0; word < RULE_NR_WORDS; word++) {
		if (!rule_has(rule, word) || selector_fits(rule, word, io, state_hash))
			continue;
		fputs("no match: ", out);
		print_word(out, rule, word);
		fputs(io->op == IO_FLUSH && word != WORD_op && word <= WORD_align
			      ? ", and a flush has neither place nor length\n"
			      : "\n",
		      out);
		return false;
	}
	if (rule->kind->op_bits >> io->op & 1) {
		if (!rule->kind->ops->concerns ||
		    rule->kind->ops->concerns(&rule->args, rule->state, io))
			return true;
		fprintf(out, "no match: %s does not apply now\n", rule->kind->name);
		return false;
	}
	fprintf(out, "no match: %s acts only on %s\n", rule->kind->name,
		value_op_list(rule->kind->op_bits, list));
	return false;
}

/* Says what the triggers decide for the rule's next match, whose number is *ret_match. */
static bool explain_triggers(FILE *out, const struct rule *rule, uint64_t seed, uint64_t now_ns,
			     uint64_t *ret_match)
{
	static const enum rule_word words[] = {
		[TRIGGER_FOR] = WORD_for,     [TRIGGER_BETWEEN] = WORD_between,
		[TRIGGER_UP] = WORD_up,       [TRIGGER_AFTER] = WORD_after,
		[TRIGGER_EVERY] = WORD_every, [TRIGGER_TIMES] = WORD_times,
		[TRIGGER_P] = WORD_p,
	};
	static const enum rule_word unseen[] = { WORD_content, WORD_fiu };
	struct rule_counts counts;
	enum trigger trigger;

	rule_counts(rule, &counts);
	*ret_match = counts.matches;
	for (size_t i = 0; i < array_size(unseen); i++) {
		if (!rule_has(rule, unseen[i]))
			continue;
		fputs("if ", out);
		print_word(out, rule, unseen[i]);
		fputs(" agrees, ", out);
	}
	fprintf(out, "match %" PRIu64 ": ", counts.matches);
	trigger = rule_trigger(rule, seed, counts.matches, counts.hits, now_ns);
	if (trigger == TRIGGER_HIT)
		return true;
	fputs("passes, ", out);
	print_word(out, rule, words[trigger]);
	if (trigger == TRIGGER_TIMES)
		fputs(" is used up\n", out);
	else if (trigger == TRIGGER_FOR)
		fputs(" is over\n", out);
	else if (trigger == TRIGGER_BETWEEN || trigger == TRIGGER_UP)
		fputs(" lets it pass at this time\n", out);
	else
		fputs(" skips it\n", out);
	return false;
}

static void explain_end(FILE *out, uint64_t delay_ns, bool held, bool finished)
{
	char buf[UNITS_MAX];

	if (held)
		fputs("once released: ", out);
	else if (delay_ns)
		fprintf(out, "after %s: ", units_human_time(delay_ns, buf));
	fputs(finished ? "as the last rule says\n" : "carried out as usual\n", out);
}

char *explain_io(const struct explain *explain, const struct io *io, uint64_t now_ns)
{
	struct kind_hit hit = { .block_bytes = explain->geometry->block_bytes,
				.size_bytes = explain->geometry->size_bytes,
				.now_ns = now_ns };
	bool finished = false, held = false;
	uint64_t delay_ns = 0;
	char *text = NULL;
	size_t len;
	FILE *out = fail_alloc("faults/engine/explain/print", open_memstream(&text, &len));

	if (!out)
		return NULL;
	for (size_t i = 0; i < rule_set_count(explain->set) && !finished; i++) {
		const struct rule *rule = rule_set_at(explain->set, i);
		uint64_t delay = 0;

		fprintf(out, "%s: ", rule->name);
		if (!explain_selectors(out, rule, io, explain->state_hash) ||
		    !explain_triggers(out, rule, explain->seed, now_ns, &hit.match))
			continue;
		hit.bits = rule_kind_bits(rule, explain->seed, hit.match);
		hit.rule_bits = rule_kind_bits(rule, explain->seed, UINT64_MAX);
		hit.state = rule->state;
		hit.age_ns = rule_age_ns(rule, now_ns);
		rule->kind->ops->describe(out, &rule->args, &hit, io);
		fputc('\n', out);
		if (rule->kind->ops->delay_ns)
			delay = rule->kind->ops->delay_ns(&rule->args, &hit, io, true);
		held |= delay & KIND_HOLD;
		delay_ns += delay & ~KIND_HOLD;
		finished = rule->kind->role != KIND_MODIFIER;
	}
	explain_end(out, delay_ns, held, finished);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}
