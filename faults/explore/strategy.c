// SPDX-License-Identifier: MIT
/*
 * One row for each strategy: its name, how many states it has, how to make the n-th. The n-th is a
 * function of n alone, but for what goes over all states or pairs, which counts along.
 *
 * Most of them say which writes survived; what that leaves in each unit is the cursor's business,
 * and so is a disk that keeps an order, where nothing that came after a lost write can be there.
 */
#include "faults/explore/strategy.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "faults/rule/value.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define EXHAUSTIVE_DEFAULT 65536u
#define STREAM_STRATEGY    0x73747261u

struct strategy_walk {
	struct strategy strategy;
	const struct crash *crash;
	const struct crash_choice *choices;
	size_t nr_choices, nr_volatile;
	enum crash_atomic atomic;
	uint64_t seed, next, total;
	size_t first, second; /* PAIRS: those that are lost next */
	uint16_t *digits;     /* EXHAUSTIVE: the next state */
	bool *survives;       /* for each volatile write */
};

struct strategy_row {
	const char *name;
	const char *count; /* what ":..." means; NULL: there is none */
	bool wanted;       /* it cannot be left out */
	uint64_t (*total)(const struct strategy_walk *walk);
	void (*make)(struct strategy_walk *walk, uint64_t n, uint16_t *picks);
};

/* ------------------------------------------------------------------------------ whole writes */

static void set_all(struct strategy_walk *walk, bool survives)
{
	memset(walk->survives, survives, walk->nr_volatile * sizeof(*walk->survives));
}

static void give(const struct strategy_walk *walk, uint16_t *picks)
{
	crash_survivors(walk->crash, walk->survives, picks);
}

static uint64_t total_one(const struct strategy_walk *walk)
{
	(void)walk;
	return 1;
}

static void make_old(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	(void)n;
	crash_oldest(walk->crash, picks);
}

static void make_new(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	(void)n;
	crash_newest(walk->crash, picks);
}

static uint64_t total_prefixes(const struct strategy_walk *walk)
{
	return walk->nr_volatile + 1;
}

static void make_prefix(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	for (size_t i = 0; i < walk->nr_volatile; i++)
		walk->survives[i] = i < n;
	give(walk, picks);
}

static uint64_t total_writes(const struct strategy_walk *walk)
{
	return walk->nr_volatile;
}

static void make_drop_one(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	set_all(walk, true);
	walk->survives[n] = false;
	give(walk, picks);
}

static void make_keep_one(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	set_all(walk, false);
	walk->survives[n] = true;
	give(walk, picks);
}

static uint64_t total_pairs(const struct strategy_walk *walk)
{
	uint64_t nr = walk->nr_volatile;

	return nr < 2 ? 0 : nr * (nr - 1) / 2;
}

static void make_pair(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	if (n == 0) {
		walk->second = 1;
	} else if (++walk->second == walk->nr_volatile) {
		walk->first++;
		walk->second = walk->first + 1;
	}
	set_all(walk, true);
	walk->survives[walk->first] = false;
	walk->survives[walk->second] = false;
	give(walk, picks);
}

/* ------------------------------------------------------------------------------ drawn */

/* Of 256: how many survive; in turn, so that both few and many lost ones come early. */
static const unsigned int shares[] = { 128, 224, 32, 248, 8 };

static uint64_t total_random(const struct strategy_walk *walk)
{
	return walk->nr_choices ? walk->strategy.count : 1;
}

static uint64_t bits_of(const struct strategy_walk *walk, uint64_t n, size_t i)
{
	return rng_mix(walk->seed, n, i);
}

static void draw_writes(struct strategy_walk *walk, uint64_t n, unsigned int share, uint16_t *picks)
{
	for (size_t i = 0; i < walk->nr_volatile; i++)
		walk->survives[i] = bits_of(walk, n, i) >> 56 < share;
	give(walk, picks);
}

/* Whole writes that lie over each other, every other time. */
static void draw_turns(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	for (size_t i = 0; i < walk->nr_choices && n % 2; i++)
		if (walk->choices[i].write == CRASH_TURNS)
			picks[i] = (uint16_t)rng_below(bits_of(walk, n, walk->nr_volatile + i),
						       walk->choices[i].nr);
	crash_canonical(walk->crash, picks);
}

/* Writes come apart: each unit is old or new by itself. */
static void draw_units(struct strategy_walk *walk, uint64_t n, unsigned int share, uint16_t *picks)
{
	crash_newest(walk->crash, picks);
	for (size_t i = 0; i < walk->nr_choices; i++)
		if (bits_of(walk, n, i) >> 56 >= share)
			picks[i] = 0;
}

/* Versions between the oldest and the newest, too. */
static void draw_versions(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	for (size_t i = 0; i < walk->nr_choices; i++)
		picks[i] = (uint16_t)rng_below(bits_of(walk, n, i), walk->choices[i].nr);
	crash_canonical(walk->crash, picks);
}

static void make_random(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	unsigned int share = shares[n / 3 % array_size(shares)];

	switch (walk->atomic) {
	case CRASH_WRITE:
		draw_writes(walk, n, shares[n % array_size(shares)], picks);
		draw_turns(walk, n, picks);
		return;
	case CRASH_ORDER:
		draw_versions(walk, n, picks);
		return;
	case CRASH_UNIT:
		break;
	}
	if (n % 3 == 0)
		draw_writes(walk, n, share, picks);
	else if (n % 3 == 1)
		draw_units(walk, n, share, picks);
	else
		draw_versions(walk, n, picks);
}

/* ------------------------------------------------------------------------------ all */

static uint64_t total_exhaustive(const struct strategy_walk *walk)
{
	struct crash_count count;

	crash_count(walk->crash, &count);
	return count.exact > walk->strategy.count ? 0 : count.exact;
}

static void make_next(struct strategy_walk *walk, uint64_t n, uint16_t *picks)
{
	(void)n;
	if (walk->nr_choices)
		memcpy(picks, walk->digits, walk->nr_choices * sizeof(*picks));
	crash_next(walk->crash, walk->digits);
}

static uint64_t total_lazy(const struct strategy_walk *walk)
{
	(void)walk;
	return 0;
}

/* ------------------------------------------------------------------------------ the table */

static const struct strategy_row rows[] = {
	[STRATEGY_OLD] = { "old", NULL, false, total_one, make_old },
	[STRATEGY_NEW] = { "new", NULL, false, total_one, make_new },
	[STRATEGY_PREFIXES] = { "prefixes", NULL, false, total_prefixes, make_prefix },
	[STRATEGY_DROP_ONE] = { "drop-one", NULL, false, total_writes, make_drop_one },
	[STRATEGY_KEEP_ONE] = { "keep-one", NULL, false, total_writes, make_keep_one },
	[STRATEGY_PAIRS] = { "pairs", NULL, false, total_pairs, make_pair },
	[STRATEGY_RANDOM] = { "random", "how many states to draw", true, total_random,
			      make_random },
	[STRATEGY_EXHAUSTIVE] = { "exhaustive",
				  "at how many states a crash point is left to the others", false,
				  total_exhaustive, make_next },
	[STRATEGY_LAZY] = { "lazy", NULL, false, total_lazy, NULL },
};

#define NR_KINDS array_size(rows)
_Static_assert(NR_KINDS <= STRATEGIES_MAX, "a list in which each stands once fits");

const char *strategy_name(enum strategy_kind kind)
{
	assert(kind < NR_KINDS);
	return rows[kind].name;
}

static int parse_count(const struct place *place, const struct strategy_row *row, struct text got,
		       uint64_t *ret_count)
{
	static const struct param param = { .type = VALUE_COUNT, .min = 1, .max = INT64_MAX };
	struct param named = param;
	struct value value;
	int err;

	named.name = row->name;
	err = value_parse(place, &named, got, &value);
	if (err == -EINVAL && place->diag) {
		diag_set(place->diag, err, "strategy.bad-count",
			 "%s:N wants %s, a whole number from 1, got '%s'", row->name, row->count,
			 QUOTE(got));
		place_mark(place, got.at);
	}
	if (err == 0)
		*ret_count = value.lo;
	return err;
}

static int parse_unknown(const struct place *place, struct text word)
{
	const char *names[NR_KINDS + 1] = { NULL };

	for (size_t i = 0; i < NR_KINDS; i++)
		names[i] = rows[i].name;
	if (!word.len)
		place_fail(place, word.at, "strategy.missing", "a strategy is missing here");
	else
		place_fail(place, word.at, "strategy.unknown", "there is no strategy '%s'",
			   QUOTE(word));
	diag_hint(place->diag, "there are old, new, prefixes, drop-one, keep-one, pairs, random:N, "
			       "exhaustive[:MAX] and lazy");
	place_suggest(place, word, names);
	return -EINVAL;
}

static int parse_one(const struct place *place, struct text item, struct strategy *ret_strategy)
{
	struct text rest = item, word = text_cut(&rest, ':');
	bool counted = word.len < item.len;
	const struct strategy_row *row = NULL;

	for (size_t i = 0; i < NR_KINDS && !row; i++)
		if (text_is(word, rows[i].name))
			row = &rows[i];
	if (!row)
		return parse_unknown(place, word);
	*ret_strategy = (struct strategy){ .kind = (enum strategy_kind)(row - rows) };
	if (ret_strategy->kind == STRATEGY_EXHAUSTIVE)
		ret_strategy->count = EXHAUSTIVE_DEFAULT;
	if (counted && !row->count)
		return place_fail(place, rest.at, "strategy.bad-count",
				  "%s takes no number, got '%s'", row->name, QUOTE(rest));
	if (counted)
		return parse_count(place, row, rest, &ret_strategy->count);
	if (!row->wanted)
		return 0;
	place_fail(place, item.at, "strategy.bad-count", "%s wants %s", row->name, row->count);
	diag_hint(place->diag, "for example %s:100", row->name);
	return -EINVAL;
}

int strategy_parse(const char *text, struct diag *diag, struct strategy *strategies, size_t *ret_nr)
{
	struct place place = { .line = text, .diag = diag };
	struct text rest = { text, strlen(text) };
	size_t nr = 0;
	bool more;

	do {
		struct text item = text_cut(&rest, ',');
		struct strategy strategy;
		int err = parse_one(&place, item, &strategy);

		if (err)
			return err;
		for (size_t i = 0; i < nr; i++)
			if (strategies[i].kind == strategy.kind)
				return place_fail(&place, item.at, "strategy.twice",
						  "%s is given twice",
						  strategy_name(strategy.kind));
		strategies[nr++] = strategy;
		more = rest.at > item.at + item.len;
	} while (more);
	*ret_nr = nr;
	return 0;
}

/* ------------------------------------------------------------------------------ the walk */

_cold_ int strategy_start(const struct strategy *strategy, const struct crash *crash, uint64_t seed,
			  struct strategy_walk **ret_walk)
{
	struct strategy_walk *walk =
		fail_alloc("faults/explore/strategy/alloc", calloc(1, sizeof(*walk)));
	const uint32_t *writes;

	if (!walk)
		return -ENOMEM;
	walk->strategy = *strategy;
	walk->crash = crash;
	walk->atomic = crash_options(crash)->atomic;
	walk->nr_choices = crash_choices(crash, &walk->choices);
	walk->nr_volatile = crash_volatile(crash, &writes);
	walk->seed = rng_mix(seed, STREAM_STRATEGY, crash_step(crash));
	walk->digits = fail_alloc("faults/explore/strategy/digits",
				  calloc(walk->nr_choices + 1, sizeof(*walk->digits)));
	walk->survives = fail_alloc("faults/explore/strategy/survives",
				    calloc(walk->nr_volatile + 1, sizeof(*walk->survives)));
	if (!walk->digits || !walk->survives) {
		strategy_free(walk);
		return -ENOMEM;
	}
	walk->total = rows[strategy->kind].total(walk);
	*ret_walk = walk;
	return 0;
}

int strategy_next(struct strategy_walk *walk, uint16_t *picks)
{
	if (walk->next == walk->total)
		return 0;
	rows[walk->strategy.kind].make(walk, walk->next++, picks);
	return 1;
}

uint64_t strategy_total(const struct strategy_walk *walk)
{
	return walk->total;
}

_cold_ struct strategy_walk *strategy_free(struct strategy_walk *walk)
{
	if (!walk)
		return NULL;
	free(walk->digits);
	free(walk->survives);
	free(walk);
	return NULL;
}
