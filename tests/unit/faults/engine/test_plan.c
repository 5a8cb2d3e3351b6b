// SPDX-License-Identifier: MIT
#include "tests/unit/random_rule.h"

#include "faults/engine/plan.h"

static bool touches(const struct rule *rule, uint64_t from, uint64_t to)
{
	bool any = !rule_has(rule, WORD_range);

	for (uint32_t i = 0; i < rule->nr_ranges; i++)
		any |= rule->ranges[i].from < to && rule->ranges[i].to > from;
	assert_int_equal(rule_touches(rule, from, to), any);
	return any;
}

/* The definition, without any index. */
static uint32_t naive_next(const struct rule_set *set, unsigned int op, uint32_t cursor,
			   uint64_t from, uint64_t to)
{
	for (uint32_t i = cursor; i < rule_set_count(set); i++) {
		const struct rule *rule = rule_set_at(set, i);

		if (!(rule->op_bits >> op & 1))
			continue;
		if (touches(rule, from, to))
			return i;
	}
	return PLAN_NONE;
}

static void check_all(const struct rule_set *set, struct draw *draw, uint64_t span, int rounds)
{
	struct plan *plan = plan_new(set);

	assert_non_null(plan);
	for (int i = 0; i < rounds; i++) {
		unsigned int op = (unsigned int)draw_below(draw, IO_NR_OPS);
		uint64_t from = draw_below(draw, span) * SEC;
		uint64_t to = from + (1 + draw_below(draw, 16)) * SEC;
		uint32_t got, want = naive_next(set, op, 0, from, to);
		struct plan_walk walk;

		memset(&walk, 0xa5, sizeof(walk));
		for (got = plan_first(plan, op, from, to, &walk);; got = plan_next(&walk)) {
			if (got != want)
				fail_msg("op %u [%llu, %llu): got %u, wanted %u", op,
					 (unsigned long long)from, (unsigned long long)to, got,
					 want);
			if (want == PLAN_NONE)
				break;
			want = naive_next(set, op, want + 1, from, to);
		}
		assert_int_equal(plan_next(&walk), PLAN_NONE);
	}
	plan_free(plan);
}

static void add(struct rule_set *set, int number, const char *words)
{
	struct rule *rule;
	char text[256];

	snprintf(text, sizeof(text), "r%d %s", number, words);
	rule = must_parse(text);
	assert_int_equal(rule_set_put(set, rule, NULL, NULL), 0);
	rule_unref(rule);
}

/* Short, long, nested, equal and open ranges, and rules without any. */
static void every_answer_is_that_of_a_linear_search(void **state)
{
	static const char *const ops[] = { "read", "write", "read,discard", "zeroes,write",
					   "flush" };
	struct draw draw = { .seed = 31 };

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct rule_set *set = rule_set_new();
		int nr = (int)draw_below(&draw, round % 10 ? 12 : 300);

		for (int i = 0; i < nr; i++) {
			uint64_t from = draw_below(&draw, 200);
			uint64_t to = from + 1 + draw_below(&draw, draw_below(&draw, 4) ? 6 : 200);
			unsigned int op = (unsigned int)draw_below(&draw, array_size(ops));
			char words[128];

			if (op == 4 || !draw_below(&draw, 5))
				snprintf(words, sizeof(words), "op=%s do=error:EIO", ops[op]);
			else if (!draw_below(&draw, 3))
				snprintf(
					words, sizeof(words),
					"op=%s range=%llus..%llus,%llus..%llus,3s..4s do=error:EIO",
					ops[op], (unsigned long long)to + 3,
					(unsigned long long)to + 9, (unsigned long long)from,
					(unsigned long long)to);
			else if (!draw_below(&draw, 8))
				snprintf(words, sizeof(words), "op=%s range=%llus.. do=error:EIO",
					 ops[op], (unsigned long long)from);
			else
				snprintf(words, sizeof(words),
					 "op=%s range=%llus..%llus do=error:EIO", ops[op],
					 (unsigned long long)from, (unsigned long long)to);
			add(set, i, words);
		}
		check_all(set, &draw, 220, 60);
		rule_set_free(set);
	}
}

static void neighbours_touch_but_do_not_overlap(void **state)
{
	struct rule_set *set =
		must_set("a range=10s..20s do=error:EIO\nb range=20s..30s do=error:EIO");
	struct plan *plan = plan_new(set);
	struct plan_walk walk;

	(void)state;
	assert_int_equal(plan_first(plan, IO_READ, 0, 10 * SEC, &walk), PLAN_NONE);
	assert_int_equal(plan_first(plan, IO_READ, 0, 11 * SEC, &walk), 0);
	assert_int_equal(plan_first(plan, IO_READ, 19 * SEC, 20 * SEC, &walk), 0);
	assert_int_equal(plan_first(plan, IO_READ, 20 * SEC, 21 * SEC, &walk), 1);
	assert_int_equal(plan_first(plan, IO_READ, 19 * SEC, 21 * SEC, &walk), 0);
	assert_int_equal(plan_next(&walk), 1);
	assert_int_equal(plan_next(&walk), PLAN_NONE);
	assert_int_equal(plan_first(plan, IO_READ, 30 * SEC, 31 * SEC, &walk), PLAN_NONE);
	plan_free(plan);
	rule_set_free(set);
}

static void an_empty_plan_is_about_nothing(void **state)
{
	struct rule_set *set = rule_set_new();
	struct plan *plan = plan_new(set);
	struct plan_walk walk;

	(void)state;
	assert_int_equal(plan->op_bits, 0);
	for (unsigned int op = 0; op < IO_NR_OPS; op++)
		assert_int_equal(plan_first(plan, op, 0, SEC, &walk), PLAN_NONE);
	assert_null(plan_free(plan));
	assert_null(plan_free(NULL));
	rule_set_free(set);
}

static void a_plan_knows_which_operations_it_is_about(void **state)
{
	static const struct {
		const char *rule;
		uint32_t op_bits;
	} cases[] = {
		{ "a op=read do=error:EIO", 1u << IO_READ },
		{ "a do=error:EIO", KIND_ALL_OPS },
		{ "a do=torn:random", 1u << IO_WRITE | 1u << IO_DISCARD | 1u << IO_ZEROES },
		{ "a range=0..1k do=error:EIO", KIND_ALL_OPS & ~(1u << IO_FLUSH) },
		{ "a max-len=1k op=read,flush do=error:EIO", 1u << IO_READ },
	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct rule_set *set = must_set(cases[i].rule);
		struct plan *plan = plan_new(set);

		assert_int_equal(plan->op_bits, cases[i].op_bits);
		plan_free(plan);
		rule_set_free(set);
	}
}

static void a_plan_keeps_its_rules_alive(void **state)
{
	struct rule_set *set = must_set("a do=error:EIO");
	struct plan *plan = plan_new(set);

	(void)state;
	rule_set_free(set);
	assert_string_equal(rule_name(plan->rules[0].rule), "a");
	plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_answer_is_that_of_a_linear_search),
		cmocka_unit_test(neighbours_touch_but_do_not_overlap),
		cmocka_unit_test(an_empty_plan_is_about_nothing),
		cmocka_unit_test(a_plan_knows_which_operations_it_is_about),
		cmocka_unit_test(a_plan_keeps_its_rules_alive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
