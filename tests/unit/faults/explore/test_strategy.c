// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/strategy.h"
#include "tests/crash_case.h"

#include <errno.h>

#define SIZE (64u << 10)
#define UNIT 512u

/* ---- words ------------------------------------------------------------------------------- */

static void a_list_of_strategies_is_read_in_order(void **state)
{
	struct strategy list[STRATEGIES_MAX];
	struct diag diag = { 0 };
	size_t nr;

	(void)state;
	assert_int_equal(strategy_parse("old,new,prefixes,drop-one,keep-one,pairs,random:7,"
					"exhaustive,lazy",
					&diag, list, &nr),
			 0);
	assert_int_equal(nr, 9);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(list[i].kind, i);
	assert_int_equal(list[STRATEGY_RANDOM].count, 7);
	assert_int_equal(list[STRATEGY_EXHAUSTIVE].count, 65536);
	assert_string_equal(strategy_name(STRATEGY_KEEP_ONE), "keep-one");
	assert_int_equal(strategy_parse("exhaustive:12", &diag, list, &nr), 0);
	assert_int_equal(nr, 1);
	assert_int_equal(list[0].count, 12);
}

static void check_refused(const char *text, const char *id, unsigned int column, const char *says,
			  const char *hints)
{
	struct strategy list[STRATEGIES_MAX];
	struct diag diag = { 0 };
	size_t nr = 77;

	assert_int_equal(strategy_parse(text, &diag, list, &nr), -EINVAL);
	assert_int_equal(nr, 77);
	if (strcmp(diag.id, id) || diag.line != 1 || diag.column != column)
		fail_msg("'%s': got %s at %u:%u (%s)", text, diag.id, diag.line, diag.column,
			 diag.message);
	if (!strstr(diag.message, says))
		fail_msg("'%s': '%s' does not say '%s'", text, diag.message, says);
	if (hints ? !strstr(diag.hint, hints) : diag.hint[0] != '\0')
		fail_msg("'%s': hint is '%s'", text, diag.hint);
	assert_int_equal(strategy_parse(text, NULL, list, &nr), -EINVAL);
}

static void a_word_that_is_no_strategy_is_named_with_the_nearest(void **state)
{
	(void)state;
	check_refused("old,prefixe", "strategy.unknown", 5, "'prefixe'",
		      "did you mean 'prefixes'?");
	check_refused("everything", "strategy.unknown", 1, "'everything'", "there are old, new,");
	check_refused("", "strategy.missing", 1, "missing", "there are old");
	check_refused("old,", "strategy.missing", 5, "missing", "there are old");
	check_refused(",old", "strategy.missing", 1, "missing", "there are old");
	check_refused("old,new,old", "strategy.twice", 9, "old is given twice", NULL);
}

static void a_number_stands_where_one_is_wanted_and_nowhere_else(void **state)
{
	(void)state;
	check_refused("old,random", "strategy.bad-count", 5, "how many states", "random:100");
	check_refused("random:", "strategy.bad-count", 8, "from 1, got ''", NULL);
	check_refused("random:0", "strategy.bad-count", 8, "got '0'", NULL);
	check_refused("random:-3", "strategy.bad-count", 8, "got '-3'", NULL);
	check_refused("random:1x", "strategy.bad-count", 8, "got '1x'", NULL);
	check_refused("random:99999999999999999999", "strategy.bad-count", 8, "got '9999", NULL);
	check_refused("old:3", "strategy.bad-count", 5, "old takes no number, got '3'", NULL);
	check_refused("exhaustive:0", "strategy.bad-count", 12, "left to the others", NULL);
}

/* ---- states ------------------------------------------------------------------------------ */

static unsigned char data[CASE_WRITES][4 * UNIT];

/* @nr writes, of which the first few are durable; on @overlap some meet in one place. */
static struct crash_case *make_case(enum crash_atomic atomic, uint64_t seed, size_t nr,
				    bool overlap)
{
	struct crash_options options = { .atomic = atomic };
	struct crash_case *c = calloc(1, sizeof(*c));
	struct draw draw = { .seed = seed };

	c->size_bytes = SIZE;
	c->nr_disks = 2;
	for (size_t i = 0; i < nr; i++) {
		uint64_t at = overlap ? draw_below(&draw, 6) : 4 * i;
		uint64_t len = overlap ? 1 + draw_below(&draw, 4) : 1;
		uint16_t disk = overlap ? (uint16_t)draw_below(&draw, 2) : 0;
		size_t w;

		memset(data[i], 'a' + (int)i, sizeof(data[i]));
		w = case_write(c, disk, at * UNIT, len * UNIT, data[i], 0);
		if (!overlap || draw_below(&draw, 4))
			case_complete(c, w);
		if (overlap && i == nr / 3)
			case_flush(c, 0);
	}
	case_seal(c, UNIT, &options);
	return c;
}

static void drop_case(struct crash_case *c)
{
	case_free(c);
	free(c);
}

static struct strategy_walk *start(const struct crash_case *c, const char *text, uint64_t seed)
{
	struct strategy strategy[STRATEGIES_MAX];
	struct strategy_walk *walk;
	size_t nr;

	assert_int_equal(strategy_parse(text, NULL, strategy, &nr), 0);
	assert_int_equal(strategy_start(strategy, c->crash, seed, &walk), 0);
	return walk;
}

static uint16_t *make_picks(const struct crash_case *c)
{
	const struct crash_choice *choices;

	return calloc(crash_choices(c->crash, &choices) + 1, sizeof(uint16_t));
}

/* The writes of which something is there, by their letters, state after state. */
static void check_states(const struct crash_case *c, const char *text, const char *wanted)
{
	static unsigned char bytes[CASE_DISKS * SIZE];
	struct strategy_walk *walk = start(c, text, 1);
	uint16_t *picks = make_picks(c);
	char got[256] = "";
	size_t at = 0;

	while (strategy_next(walk, picks)) {
		case_state(c, picks, bytes);
		got[at++] = ' ';
		for (size_t i = 0; i < c->nr_writes; i++)
			if (bytes[c->writes[i].at] == 'a' + (int)i)
				got[at++] = (char)('a' + (int)i);
	}
	got[at] = '\0';
	assert_string_equal(got, wanted);
	strategy_free(walk);
	free(picks);
}

static void each_strategy_keeps_and_loses_what_its_name_says(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT, 0, 4, false);

	(void)state;
	check_states(c, "old", " ");
	check_states(c, "new", " abcd");
	check_states(c, "prefixes", "  a ab abc abcd");
	check_states(c, "drop-one", " bcd acd abd abc");
	check_states(c, "keep-one", " a b c d");
	check_states(c, "pairs", " cd bd bc ad ac ab");
	check_states(c, "exhaustive", "  a b ab c ac bc abc d ad bd abd cd acd bcd abcd");
	check_states(c, "exhaustive:15", "");
	check_states(c, "lazy", "");
	drop_case(c);
}

static void a_disk_that_keeps_the_order_has_prefixes_only(void **state)
{
	struct crash_case *c = make_case(CRASH_ORDER, 0, 4, false);

	(void)state;
	check_states(c, "prefixes", "  a ab abc abcd");
	check_states(c, "drop-one", "  a ab abc");
	check_states(c, "keep-one", " a   ");
	check_states(c, "exhaustive", "  a ab abc abcd");
	drop_case(c);
}

static void where_nothing_is_undecided_there_is_one_state(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT, 0, 0, false);

	(void)state;
	check_states(c, "old", " ");
	check_states(c, "prefixes", " ");
	check_states(c, "drop-one", "");
	check_states(c, "pairs", "");
	check_states(c, "random:5", " ");
	check_states(c, "exhaustive", " ");
	drop_case(c);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static const char *const words[] = { "old",      "new",   "prefixes",  "drop-one",
				     "keep-one", "pairs", "random:60", "exhaustive" };
static const enum crash_atomic atomics[] = { CRASH_UNIT, CRASH_WRITE, CRASH_ORDER };

/* A case of @atomic that brute force can handle, the next one from seed *@seed on. */
static struct crash_case *next_case(enum crash_atomic atomic, uint64_t *seed)
{
	for (;; ++*seed) {
		struct crash_case *c = make_case(atomic, *seed, 3 + *seed % 5, true);
		struct crash_count count;

		crash_count(c->crash, &count);
		if (count.exact <= 5000) {
			++*seed;
			return c;
		}
		drop_case(c);
	}
}

/* The contents that brute force finds: every pick of every choice, counted by hand. */
static size_t all_states(const struct crash_case *c, uint64_t *hashes, size_t max)
{
	const struct crash_choice *choices;
	size_t nr_choices = crash_choices(c->crash, &choices), nr = 0, i;
	uint16_t *picks = make_picks(c);

	do {
		assert_true(nr < max);
		hashes[nr++] = crash_hash(c->crash, picks);
		for (i = 0; i < nr_choices; i++) {
			if (++picks[i] < choices[i].nr)
				break;
			picks[i] = 0;
		}
	} while (i < nr_choices);
	free(picks);
	qsort(hashes, nr, sizeof(*hashes), by_value);
	return nr;
}

static void no_strategy_ever_gives_an_illegal_state(void **state)
{
	static uint64_t hashes[1 << 16];

	(void)state;
	for (uint64_t seed = 0, n = 0; n < 60; n++) {
		struct crash_case *c = next_case(atomics[n % 3], &seed);
		const struct crash_choice *choices;
		size_t nr_choices = crash_choices(c->crash, &choices);
		size_t nr = all_states(c, hashes, array_size(hashes));
		uint16_t *picks = make_picks(c);

		for (size_t i = 0; i < array_size(words); i++) {
			struct strategy_walk *walk = start(c, words[i], n);
			uint64_t given = 0, hash;

			for (; strategy_next(walk, picks); given++) {
				for (size_t k = 0; k < nr_choices; k++)
					assert_true(picks[k] < choices[k].nr);
				hash = crash_hash(c->crash, picks);
				assert_non_null(bsearch(&hash, hashes, nr, 8, by_value));
			}
			assert_int_equal(given, strategy_total(walk));
			assert_int_equal(strategy_next(walk, picks), 0);
			strategy_free(walk);
		}
		free(picks);
		drop_case(c);
	}
}

static void exhaustive_gives_each_state_once(void **state)
{
	static uint64_t all[1 << 16], given[1 << 16];

	(void)state;
	for (uint64_t seed = 0, round = 0; round < 20; round++) {
		struct crash_case *c = next_case(CRASH_UNIT, &seed);
		size_t nr = all_states(c, all, array_size(all)), n = 0;
		struct strategy_walk *walk = start(c, "exhaustive", 0);
		uint16_t *picks = make_picks(c);

		assert_int_equal(strategy_total(walk), nr);
		while (strategy_next(walk, picks))
			given[n++] = crash_hash(c->crash, picks);
		qsort(given, n, sizeof(*given), by_value);
		assert_int_equal(n, nr);
		assert_memory_equal(given, all, nr * sizeof(*all));
		for (size_t i = 1; i < n; i++)
			assert_true(given[i] != given[i - 1]);
		strategy_free(walk);
		free(picks);
		drop_case(c);
	}
}

static void the_same_seed_gives_the_same_states_and_another_others(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT, 3, 12, true);
	uint16_t *picks = make_picks(c);
	uint64_t hashes[3][100];
	size_t same = 0;

	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		struct strategy_walk *walk = start(c, "random:100", i == 2);

		for (size_t n = 0; strategy_next(walk, picks); n++)
			hashes[i][n] = crash_hash(c->crash, picks);
		strategy_free(walk);
	}
	assert_memory_equal(hashes[0], hashes[1], sizeof(hashes[0]));
	for (size_t n = 0; n < 100; n++)
		same += hashes[0][n] == hashes[2][n];
	assert_true(same < 50);
	free(picks);
	drop_case(c);
}

/* Whole writes, units by themselves, and contents that are neither the oldest nor the newest. */
static void random_tears_writes_and_takes_versions_in_between(void **state)
{
	struct crash_case *c = calloc(1, sizeof(*c));
	struct crash_options options = { .unit_bytes = UNIT };
	const struct crash_choice *choices;
	uint64_t whole = 0, torn = 0, old_or_new = 0, between = 0;
	struct strategy_walk *walk;
	uint16_t picks[4];

	(void)state;
	c->size_bytes = SIZE;
	c->nr_disks = 1;
	for (size_t i = 0; i < 3; i++) {
		memset(data[i], 'a' + (int)i, sizeof(data[i]));
		case_complete(c, case_write(c, 0, 0, 4 * UNIT, data[i], 0));
	}
	case_seal(c, UNIT, &options);
	assert_int_equal(crash_choices(c->crash, &choices), 4);
	walk = start(c, "random:200", 1);
	while (strategy_next(walk, picks)) {
		bool same = picks[0] == picks[1] && picks[1] == picks[2] && picks[2] == picks[3];

		size_t others = 0;

		for (size_t i = 0; i < 4; i++)
			others += picks[i] && picks[i] != choices[i].newest;
		whole += same;
		torn += !same;
		old_or_new += !same && !others;
		between += others;
	}
	assert_true(whole > 60);
	assert_true(torn > 60);
	assert_true(old_or_new > 30);
	assert_true(between > 60);
	strategy_free(walk);
	drop_case(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_of_strategies_is_read_in_order),
		cmocka_unit_test(a_word_that_is_no_strategy_is_named_with_the_nearest),
		cmocka_unit_test(a_number_stands_where_one_is_wanted_and_nowhere_else),
		cmocka_unit_test(each_strategy_keeps_and_loses_what_its_name_says),
		cmocka_unit_test(a_disk_that_keeps_the_order_has_prefixes_only),
		cmocka_unit_test(where_nothing_is_undecided_there_is_one_state),
		cmocka_unit_test(no_strategy_ever_gives_an_illegal_state),
		cmocka_unit_test(exhaustive_gives_each_state_once),
		cmocka_unit_test(the_same_seed_gives_the_same_states_and_another_others),
		cmocka_unit_test(random_tears_writes_and_takes_versions_in_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
