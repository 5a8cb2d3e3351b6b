// SPDX-License-Identifier: MIT
/*
 * One rule: the words.def table drives parsing, printing and comparing; kind.c does the same for
 * what stands after do=. rule_parse() and rule_from_json() both go through rule_set_name(),
 * rule_set_word() and rule_finish(), so that neither knows a rule that the other does not.
 */
#include "faults/rule/rule.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/rule/ast.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct param words[RULE_NR_WORDS] = {
#define WORD(id_, text_, type_, min_, max_, doc_)                                                  \
	[WORD_##id_] = {                                                                           \
		.name = (text_), .type = (type_), .min = (min_), .max = (max_), .doc = (doc_)      \
	},
#include "faults/rule/words.def"
#undef WORD
};

_Static_assert(RULE_NR_WORDS <= 32, "one bit per word in rule->given");
_Static_assert(RULE_TIMES_MAX == (1u << (64 - RULE_HITS_SHIFT)) - 1, "hits fill the upper bits");

const struct param *rule_word_param(enum rule_word word)
{
	return &words[word];
}

struct rule *rule_new(void)
{
	struct rule *rule =
		fail_alloc("faults/rule/rule/alloc", aligned_alloc(RULE_CACHE_LINE, sizeof(*rule)));

	if (!rule)
		return NULL;
	memset(rule, 0, sizeof(*rule));
	atomic_init(&rule->refs, 1);
	return rule;
}

struct rule *rule_ref(struct rule *rule)
{
	atomic_fetch_add_explicit(&rule->refs, 1, memory_order_relaxed);
	return rule;
}

struct rule *rule_unref(struct rule *rule)
{
	if (!rule || atomic_fetch_sub_explicit(&rule->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	rule_disarm(rule);
	for (unsigned int i = 0; i < RULE_NR_WORDS; i++)
		value_clear(&rule->word[i]);
	kind_args_clear(&rule->args);
	free(rule->ranges);
	free(rule);
	return NULL;
}

const char *rule_name(const struct rule *rule)
{
	return rule->name;
}

const char *rule_with(const struct rule *rule)
{
	return rule->kind->ops->with ? rule->kind->ops->with(&rule->args) : NULL;
}

static void cleanup_rule(struct rule **rule)
{
	rule_unref(*rule);
}

/* FNV-1a; rng_mix() does the mixing. */
uint64_t rule_hash_name(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3ull;
	return hash;
}

static bool is_name_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c == '_' || c == '.' || (c == '-' && !first);
}

int rule_set_name(struct rule *rule, const struct place *place, struct text name)
{
	if (name.len == 0)
		return place_fail(place, name.at, "rule.bad-name",
				  "a rule wants a name, got nothing");
	for (size_t i = 0; i < name.len; i++) {
		if (is_name_char(name.at[i], i == 0))
			continue;
		place_fail(
			place, name.at + i, "rule.bad-name",
			"a rule's name is made of letters, digits, '-', '_' and '.', not starting "
			"with '-', got '%s'",
			QUOTE(name));
		if (memchr(name.at, '=', name.len))
			diag_hint(place->diag, "a rule starts with its name: NAME %s ...",
				  QUOTE(name));
		return -EINVAL;
	}
	if (name.len > RULE_NAME_MAX)
		return place_fail(place, name.at, "rule.bad-name",
				  "a rule's name has at most %d bytes, got %zu", RULE_NAME_MAX,
				  name.len);
	memcpy(rule->name, name.at, name.len);
	rule->name[name.len] = '\0';
	return 0;
}

static int unknown_word(const struct place *place, struct text name)
{
	const char *known[RULE_NR_WORDS + 2];
	size_t nr = 0, len = 0;
	char list[240] = "";

	for (; nr < RULE_NR_WORDS; nr++) {
		known[nr] = words[nr].name;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", nr ? ", " : "",
					words[nr].name);
	}
	known[nr++] = "do";
	known[nr] = NULL;
	place_fail(place, name.at, "rule.unknown-key",
		   "'%s' is not a key of a rule, wanted do or one of %s", QUOTE(name), list);
	place_suggest(place, name, known);
	if (kind_find(name))
		diag_hint(place->diag, "do= takes a kind of fault: do=%s", QUOTE(name));
	return -EINVAL;
}

static int duplicate_word(const struct place *place, struct text name)
{
	return place_fail(place, name.at, "rule.duplicate-key", "%s= is given twice in the rule",
			  QUOTE(name));
}

int rule_set_word(struct rule *rule, const struct place *place, struct text name, struct text value)
{
	unsigned int word = 0;
	int err;

	if (text_is(name, "do")) {
		if (rule->kind)
			return duplicate_word(place, name);
		return kind_parse(place, value, &rule->kind, &rule->args);
	}
	while (word < RULE_NR_WORDS && !text_is(name, words[word].name))
		word++;
	if (word == RULE_NR_WORDS)
		return unknown_word(place, name);
	if (rule_has(rule, word))
		return duplicate_word(place, name);
	err = value_parse(place, &words[word], value, &rule->word[word]);
	if (err == 0)
		rule->given |= 1u << word;
	return err;
}

static int check_lengths(const struct rule *rule, const struct place *place,
			 const struct rule_places *places)
{
	uint64_t len = rule->word[WORD_len].lo;

	if (rule_has(rule, WORD_len) && len % SECTOR_SIZE)
		return place_fail(place, places->word[WORD_len], "rule.bad-size",
				  "len=%" PRIu64 " never matches: requests are whole sectors of %u "
				  "bytes",
				  len, SECTOR_SIZE);
	if (rule_has(rule, WORD_len) &&
	    (rule_has(rule, WORD_min_len) || rule_has(rule, WORD_max_len)))
		return place_fail(place, places->word[WORD_len], "rule.conflict",
				  "len= and min-len= or max-len= exclude each other");
	if (rule_has(rule, WORD_min_len) && rule_has(rule, WORD_max_len) &&
	    rule->word[WORD_min_len].lo > rule->word[WORD_max_len].lo)
		return place_fail(place, places->word[WORD_min_len], "rule.conflict",
				  "nothing is at least min-len= and at most max-len= here: min-len "
				  "is the larger");
	return 0;
}

static int check_times(const struct rule *rule, const struct place *place,
		       const struct rule_places *places)
{
	const struct value *between = &rule->word[WORD_between];
	uint64_t cycle;

	if (rule_has(rule, WORD_between) && between->lo == between->hi)
		return place_fail(
			place, places->word[WORD_between], "rule.bad-time",
			"between wants two times such as 10s..20s, the second not included");
	if (rule_has(rule, WORD_up) != rule_has(rule, WORD_down)) {
		enum rule_word word = rule_has(rule, WORD_up) ? WORD_up : WORD_down;

		return place_fail(place, places->word[word], "rule.conflict",
				  "up= and down= go together: up=10s down=5s acts from 10s to 15s, "
				  "from 25s to 30s, and so on");
	}
	if (__builtin_add_overflow(rule->word[WORD_up].lo, rule->word[WORD_down].lo, &cycle))
		return place_fail(place, places->word[WORD_up], "rule.bad-time",
				  "up= and down= are too long together");
	return 0;
}

/* A flush has neither place nor length. */
static bool asks_about_data(const struct rule *rule)
{
	return rule_has(rule, WORD_range) || rule_has(rule, WORD_part) ||
	       rule_has(rule, WORD_len) || rule_has(rule, WORD_min_len) ||
	       rule_has(rule, WORD_max_len) || rule_has(rule, WORD_align);
}

static int derive_ops(struct rule *rule, const struct place *place,
		      const struct rule_places *places)
{
	uint32_t wanted = (uint32_t)rule->word[WORD_op].lo;
	char cannot[OP_LIST_MAX], can[OP_LIST_MAX];

	rule->op_bits = rule->kind->op_bits;
	if (rule_has(rule, WORD_op)) {
		if (wanted & ~rule->kind->op_bits)
			return place_fail(place, places->word[WORD_op], "rule.op-not-for-kind",
					  "%s cannot act on %s, only on %s", rule->kind->name,
					  value_op_list(wanted & ~rule->kind->op_bits, cannot),
					  value_op_list(rule->kind->op_bits, can));
		rule->op_bits = wanted;
	}
	if (rule_has(rule, WORD_content))
		rule->op_bits &= 1u << IO_READ | 1u << IO_WRITE;
	if (!rule->op_bits)
		return place_fail(place, places->word[WORD_content], "rule.never-matches",
				  "only reads and writes have data for content=");
	if (asks_about_data(rule))
		rule->op_bits &= ~(1u << IO_FLUSH);
	if (!rule->op_bits)
		return place_fail(place, places->word[WORD_op], "rule.never-matches",
				  "a flush has neither place nor length: range=, len=, min-len=, "
				  "max-len= and align= never match one");
	return 0;
}

static void derive_triggers(struct rule *rule)
{
	double p = rule->word[WORD_p].share;

	rule->name_hash = rule_hash_name(rule->name);
	rule->after = rule->word[WORD_after].lo;
	rule->every = rule_has(rule, WORD_every) ? rule->word[WORD_every].lo : 1;
	rule->times = rule_has(rule, WORD_times) ? rule->word[WORD_times].lo : UINT64_MAX;
	rule->for_ns = rule_has(rule, WORD_for) ? rule->word[WORD_for].lo : UINT64_MAX;
	rule->timed =
		rule_has(rule, WORD_for) || rule_has(rule, WORD_between) || rule_has(rule, WORD_up);
	rule->needs_data = rule_has(rule, WORD_content) || rule_has(rule, WORD_fiu) ||
			   rule->kind->ops->concerns;
	if (rule_has(rule, WORD_state))
		rule->state_hash = rule_hash_name(rule->word[WORD_state].text);
	if (rule_has(rule, WORD_goto))
		rule->goto_hash = rule_hash_name(rule->word[WORD_goto].text);
	rule->always = !rule_has(rule, WORD_p) || p >= 1;
	rule->threshold = rule->always ? 0 : (uint64_t)(p * 0x1p64);
}

static int derive_ranges(struct rule *rule, const struct place *place)
{
	const struct value *range = &rule->word[WORD_range];
	const struct param *param = rule_word_param(WORD_range);
	struct text text = { range->text, range->text ? strlen(range->text) : 0 };
	size_t nr = 0;
	int err;

	if (!rule_has(rule, WORD_range))
		return 0;
	rule->nr_ranges = 1;
	if (range->text) {
		err = ranges_parse(place, param, text, &rule->ranges, &nr);
		rule->nr_ranges = (uint32_t)nr;
		return err;
	}
	rule->ranges = fail_alloc("faults/rule/rule/range", malloc(sizeof(*rule->ranges)));
	if (!rule->ranges)
		return diag_set(place->diag, -ENOMEM, "rule.memory", "no memory for a rule");
	rule->ranges[0] = (struct value_range){ range->lo, range->hi };
	return 0;
}

/*
 * A rule is printed to be read again, by a dump or a recording. Ranges may have become longer than
 * they were written: 1.5T is printed as 1536G, and those of a partition have moved.
 */
static int check_printed(const struct rule *rule, struct diag *diag)
{
	_cleanup_free_ char *text = NULL;

	if (rule->nr_ranges <= 1)
		return 0;
	text = rule_print(rule);
	if (!text)
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for a rule");
	if (strlen(text) <= RULE_TEXT_MAX)
		return 0;
	diag_set(
		diag, -EINVAL, "rule.too-long",
		"rule '%s' has %zu bytes as it is printed, with %u ranges; at most %d are read again",
		rule->name, strlen(text), rule->nr_ranges, RULE_TEXT_MAX);
	diag_hint(diag, "make several rules of it; for bad blocks: "
			"faultblk badblock add RULE --file FILE");
	return -EINVAL;
}

unsigned int rule_part(const struct rule *rule)
{
	return rule_has(rule, WORD_part) ? (unsigned int)rule->word[WORD_part].lo : 0;
}

int rule_copy_ranges(const struct rule *rule, struct diag *diag, struct value_range **ret_ranges,
		     size_t *ret_nr)
{
	size_t nr = rule->nr_ranges ? rule->nr_ranges : 1;
	struct value_range *ranges =
		fail_alloc("faults/rule/rule/copy-ranges", calloc(nr, sizeof(*ranges)));

	if (!ranges)
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for a rule");
	ranges[0] = (struct value_range){ 0, UINT64_MAX };
	if (rule->nr_ranges)
		memcpy(ranges, rule->ranges, nr * sizeof(*ranges));
	*ret_ranges = ranges;
	*ret_nr = nr;
	return 0;
}

int rule_set_ranges(struct rule *rule, const struct value_range *ranges, size_t nr,
		    struct diag *diag)
{
	struct value_range *copy =
		fail_alloc("faults/rule/rule/set-ranges", calloc(nr, sizeof(*copy)));
	struct value value = { .text = NULL };

	assert(!rule->armed && nr);
	if (!copy || ranges_value(ranges, nr, &value)) {
		free(copy);
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for a rule");
	}
	memcpy(copy, ranges, nr * sizeof(*copy));
	free(rule->ranges);
	value_clear(&rule->word[WORD_range]);
	rule->ranges = copy;
	rule->nr_ranges = (uint32_t)nr;
	rule->word[WORD_range] = value;
	rule->word[WORD_part] = (struct value){ .text = NULL };
	rule->given = (rule->given | 1u << WORD_range) & ~(1u << WORD_part);
	return check_printed(rule, diag);
}

bool rule_touches(const struct rule *rule, uint64_t from, uint64_t to)
{
	uint32_t lo = 0, hi = rule->nr_ranges;

	if (!hi)
		return true;
	/* The first that ends past @from. */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (rule->ranges[mid].to > from)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < rule->nr_ranges && rule->ranges[lo].from < to;
}

int rule_finish(struct rule *rule, const struct place *place, const struct rule_places *places)
{
	int err;

	if (!rule->kind) {
		place_fail(place, places->end, "rule.no-do", "rule '%s' does not say what to do",
			   rule->name);
		diag_hint(place->diag, "add do=KIND, for example do=error:EIO");
		return -EINVAL;
	}
	if (check_lengths(rule, place, places) < 0 || check_times(rule, place, places) < 0 ||
	    derive_ops(rule, place, places) < 0)
		return -EINVAL;
	err = derive_ranges(rule, place);
	if (err < 0)
		return err;
	derive_triggers(rule);
	/* It is a switch of the rule, not a word that stays: see rule_enable(). */
	if (rule_has(rule, WORD_enabled))
		rule_enable(rule, rule->word[WORD_enabled].lo);
	rule->given &= ~(1u << WORD_enabled);
	return check_printed(rule, place->diag);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct text next_word(struct text *rest)
{
	struct text word;

	while (rest->len && is_space(rest->at[0])) {
		rest->at++;
		rest->len--;
	}
	word = (struct text){ rest->at, 0 };
	while (word.len < rest->len && !is_space(rest->at[word.len]))
		word.len++;
	rest->at += word.len;
	rest->len -= word.len;
	return word;
}

/* One key=value of the text form. */
static int parse_word(struct rule *rule, const struct place *place, struct text word,
		      struct rule_places *places)
{
	uint32_t before = rule->given;
	bool has_value = memchr(word.at, '=', word.len);
	struct text name = text_cut(&word, '=');
	const char *wanted = text_is(name, "do") ? "KIND" : NULL;

	for (unsigned int i = 0; i < RULE_NR_WORDS && !wanted; i++)
		if (text_is(name, words[i].name))
			wanted = param_placeholder(&words[i]);
	if (!has_value && wanted)
		return place_fail(place, name.at, "rule.missing-value", "%s wants a value: %s=%s",
				  QUOTE(name), QUOTE(name), wanted);
	if (rule_set_word(rule, place, name, word) < 0)
		return -EINVAL;
	if (rule->given != before)
		places->word[__builtin_ctz(rule->given ^ before)] = name.at;
	return 0;
}

int rule_parse(const char *text, size_t len, struct diag *diag, struct rule **ret_rule)
{
	_cleanup_(cleanup_rule) struct rule *rule = NULL;
	struct place place = { .line = text, .diag = diag };
	struct rule_places places = { .end = text + len };
	struct text rest = { text, len }, word;
	int err;

	if (len > RULE_TEXT_MAX)
		return place_fail(&place, text + RULE_TEXT_MAX, "rule.too-long",
				  "a rule has at most %d bytes, got %zu", RULE_TEXT_MAX, len);
	if (text_check(&place, rest) < 0)
		return -EINVAL;
	rule = rule_new();
	if (!rule)
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for a rule");
	if (rule_set_name(rule, &place, next_word(&rest)) < 0)
		return -EINVAL;
	for (word = next_word(&rest); word.len; word = next_word(&rest))
		if (parse_word(rule, &place, word, &places) < 0)
			return -EINVAL;
	err = rule_finish(rule, &place, &places);
	if (err < 0)
		return err;
	*ret_rule = take_ptr(rule);
	return 0;
}

char *rule_print(const struct rule *rule)
{
	char *text = NULL;
	size_t len;
	FILE *out = fail_alloc("faults/rule/rule/print", open_memstream(&text, &len));

	if (!out)
		return NULL;
	fputs(rule->name, out);
	for (unsigned int i = 0; i < RULE_NR_WORDS; i++) {
		if (!rule_has(rule, i))
			continue;
		fprintf(out, " %s=", words[i].name);
		value_print(out, &words[i], &rule->word[i]);
	}
	if (!rule_enabled(rule))
		fputs(" enabled=no", out);
	fputs(" do=", out);
	kind_print(out, rule->kind, &rule->args);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

bool rule_equal(const struct rule *a, const struct rule *b)
{
	if (strcmp(a->name, b->name) != 0 || a->given != b->given || a->kind != b->kind ||
	    rule_enabled(a) != rule_enabled(b))
		return false;
	for (unsigned int i = 0; i < RULE_NR_WORDS; i++)
		if (rule_has(a, i) && !value_equal(&words[i], &a->word[i], &b->word[i]))
			return false;
	return kind_args_equal(a->kind, &a->args, &b->args);
}

static int check_range(const struct rule *rule, const struct value_range *range,
		       const struct rule_geometry *geometry, struct diag *diag)
{
	bool open_end = range->to == UINT64_MAX;
	char at[UNITS_MAX], size[UNITS_MAX];

	if (range->from < geometry->size_bytes && (open_end || range->to <= geometry->size_bytes))
		return 0;
	diag_set(diag, -EINVAL, "rule.range-outside",
		 "rule '%s': range %s at %s, but the disk ends at %s", rule->name,
		 range->from >= geometry->size_bytes ? "starts" : "ends",
		 units_format_size(range->from >= geometry->size_bytes ? range->from : range->to,
				   at),
		 units_format_size(geometry->size_bytes, size));
	if (range->from < geometry->size_bytes)
		diag_hint(diag, "%s.. reaches to the end of the disk",
			  units_format_size(range->from, at));
	return -EINVAL;
}

int rule_check(const struct rule *rule, const struct rule_geometry *geometry, struct diag *diag)
{
	assert(geometry->block_bytes >= SECTOR_SIZE);
	if (rule_has(rule, WORD_part)) {
		diag_set(diag, -EINVAL, "rule.part",
			 "rule '%s': part= needs a running disk, whose partitions the kernel knows",
			 rule->name);
		diag_hint(
			diag,
			"put the rule once the disk has its table: faultblk rule put 'TEXT'; or begin "
			"with a table: run --load FILE");
		return -EINVAL;
	}
	for (uint32_t i = 0; i < rule->nr_ranges; i++)
		if (check_range(rule, &rule->ranges[i], geometry, diag) < 0)
			return -EINVAL;
	if (rule_has(rule, WORD_queue) && rule->word[WORD_queue].lo >= geometry->nr_queues)
		return diag_set(diag, -EINVAL, "rule.no-such-queue",
				"rule '%s': queue=%" PRIu64 ", but the disk has %u, counted from 0",
				rule->name, rule->word[WORD_queue].lo, geometry->nr_queues);
	if (!rule->kind->ops->check)
		return 0;
	return rule_blame(rule, rule->kind->ops->check(&rule->args, geometry, diag), diag);
}
