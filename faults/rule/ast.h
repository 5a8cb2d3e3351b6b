/* SPDX-License-Identifier: MIT */
/*
 * The inside of a rule, for the engine: its parsed form, what is derived from it, its counters.
 * The parsed form never changes once the rule exists, so any thread may read it.
 */
#ifndef FAULTS_RULE_AST_H
#define FAULTS_RULE_AST_H

#include "base/rng.h"
#include "faults/rule/kind.h"
#include "faults/rule/rule.h"

#include <stdatomic.h>

enum rule_word {
#define WORD(id, text, type, min, max, doc) WORD_##id,
#include "faults/rule/words.def"
#undef WORD
	RULE_NR_WORDS,
};

/* What a trigger let the match pass for; TRIGGER_HIT: nothing did. */
enum trigger {
	TRIGGER_HIT,
	TRIGGER_FOR,
	TRIGGER_BETWEEN,
	TRIGGER_UP,
	TRIGGER_AFTER,
	TRIGGER_EVERY,
	TRIGGER_TIMES,
	TRIGGER_P,
};

#define RULE_STATE_START "start" /* the state that every disk starts in */

/*
 * With times= both counters live in `matches`, changed by one compare-and-swap, so that the
 * sequence of hits is that of a sequential walk however many queues take part.
 */
#define RULE_HITS_SHIFT 40
#define RULE_CACHE_LINE 64

struct rule {
	/* The parsed form. */
	char name[RULE_NAME_MAX + 1];
	uint32_t given; /* bits 1 << enum rule_word */
	struct value word[RULE_NR_WORDS];
	const struct kind *kind;
	struct kind_args args;
	/* Derived from it by rule_derive(). */
	struct value_range *ranges; /* of range=, ascending and apart; NULL: all of the disk */
	uint32_t nr_ranges;
	uint32_t op_bits;   /* 1 << enum io_op: asked about these */
	uint64_t name_hash; /* the rule's stream of random bits */
	uint64_t after, every, times, for_ns;
	uint64_t threshold;             /* p= hits when 64 random bits are below */
	bool always;                    /* p=1, which no threshold can say */
	bool timed;                     /* for=, between= or up=: the time is looked at */
	bool needs_data;                /* content=, fiu= or the kind want a closer look */
	uint64_t state_hash, goto_hash; /* of state=, goto=; 0: none */
	/* Written by publishing, before any queue can see the rule. */
	bool is_read; /* its kind's state is there before it is armed */
	bool armed;
	uint64_t armed_ns;
	void *state;     /* the kind's own */
	uint32_t number; /* in the recording; 0: none yet */
	_Atomic bool disabled;
	_Atomic uint32_t refs;
	/* Written by every queue. */
	_Alignas(RULE_CACHE_LINE) _Atomic uint64_t matches;
	_Atomic uint64_t hits;
};

static inline bool rule_has(const struct rule *rule, enum rule_word word)
{
	return rule->given >> word & 1;
}

/* The table of words, in print order. */
const struct param *rule_word_param(enum rule_word word);
/* A rule without words, one reference; NULL without memory. */
struct rule *rule_new(void);
/* Set the name after checking it. */
int rule_set_name(struct rule *rule, const struct place *place, struct text name);
/* Set one word ("op", "do", ...) after checking that it exists and is not yet there. */
int rule_set_word(struct rule *rule, const struct place *place, struct text name,
		  struct text value);
/* Where the words of a rule stand in its text, and where it ends; all NULL where it has no text. */
struct rule_places {
	const char *word[RULE_NR_WORDS];
	const char *end;
};
/* Everything is set: do the words fit together? Then derive the rest. */
int rule_finish(struct rule *rule, const struct place *place, const struct rule_places *places);
/* What rule->name_hash is made of. */
uint64_t rule_hash_name(const char *name);
/* Does the rule's range=, if it has one, overlap bytes [from, to)? */
bool rule_touches(const struct rule *rule, uint64_t from, uint64_t to);
/* Same name, same words, same values. */
bool rule_equal(const struct rule *a, const struct rule *b);
/*
 * Start the rule's clock and make its kind's state; only the first call counts. On error nothing
 * has changed. rule_disarm() takes back what a call that returned 0 did, if it did something:
 * *ret_first says so.
 */
int rule_arm(struct rule *rule, const struct rule_geometry *geometry, uint64_t now_ns,
	     struct diag *diag, bool *ret_first);
void rule_disarm(struct rule *rule);
/* Put the rule's name before what its kind said, which knows nothing of rules; returns @err. */
int rule_blame(const struct rule *rule, int err, struct diag *diag);
/* What content=, fiu= and the kind decide; only for rules that need the data, after all else. */
bool rule_fits(const struct rule *rule, const struct backing *backing, struct io *io);

/* Since the rule was armed. A queue may still go by a clock that was read just before that. */
static inline uint64_t rule_age_ns(const struct rule *rule, uint64_t now_ns)
{
	return now_ns > rule->armed_ns ? now_ns - rule->armed_ns : 0;
}

/* Do for=, between= and up= let the rule rest, @age_ns after it was armed? */
static inline enum trigger rule_asleep(const struct rule *rule, uint64_t age_ns)
{
	const struct value *between = &rule->word[WORD_between];
	uint64_t up_ns = rule->word[WORD_up].lo;

	if (age_ns >= rule->for_ns)
		return TRIGGER_FOR;
	if (rule_has(rule, WORD_between) && (age_ns < between->lo || age_ns >= between->hi))
		return TRIGGER_BETWEEN;
	if (rule_has(rule, WORD_up) && age_ns % (up_ns + rule->word[WORD_down].lo) < up_ns)
		return TRIGGER_UP;
	return TRIGGER_HIT;
}

/* Would match number @n, after @hits hits, be one? A pure function but for the time of for=. */
static inline enum trigger rule_trigger(const struct rule *rule, uint64_t seed, uint64_t n,
					uint64_t hits, uint64_t now_ns)
{
	if (rule->timed) {
		enum trigger asleep = rule_asleep(rule, rule_age_ns(rule, now_ns));

		if (asleep)
			return asleep;
	}
	if (n < rule->after)
		return TRIGGER_AFTER;
	if (rule->every > 1 && (n - rule->after + 1) % rule->every)
		return TRIGGER_EVERY;
	if (hits >= rule->times)
		return TRIGGER_TIMES;
	if (!rule->always && rng_mix(seed, rule->name_hash, n) >= rule->threshold)
		return TRIGGER_P;
	return TRIGGER_HIT;
}

/*
 * The bits that a kind acts with at match number @n, apart from those that p= was decided by;
 * UINT64_MAX, which no match has: with all of them.
 */
static inline uint64_t rule_kind_bits(const struct rule *rule, uint64_t seed, uint64_t n)
{
	return rng_mix(seed, ~rule->name_hash, n);
}

/* Count one more match: is it a hit? *ret_match is its number. Any queue, lock-free. */
bool rule_count_match(struct rule *rule, uint64_t seed, uint64_t now_ns, uint64_t *ret_match);
/* Match number @match was a hit, whatever the rule would say: counters go on from there. */
void rule_count_decided(struct rule *rule, uint64_t match);

#endif
