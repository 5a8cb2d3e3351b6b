// SPDX-License-Identifier: MIT
/*
 * Two indices per operation: rules without range in a sorted array, rules with one in the tree of
 * plan.h. A walk merges what both say.
 *
 * Most requests overlap no range, and one binary search tells: ranges that start before `to` are
 * the first so many of the array, and none of them reaches past `from` if the largest of their ends
 * does not. Only otherwise is the tree asked. A node whose start lies at or past `to` sends the
 * search left; any other lets it look left only if some range there ends past `from`. Such a range
 * starts no later than the node does, hence before `to`, hence overlaps.
 *
 * The first rule of a walk is searched for alone, since it often ends the walk. Whoever asks for a
 * second one gets it from a bitmap, into which one traversal has put all that overlap: searched for
 * one by one they cost a traversal each, in the worst order of the rules of the whole tree.
 */
#include "faults/engine/plan.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/rule/ast.h"

#include <stdlib.h>
#include <string.h>

static void compile_rule(struct plan_rule *to, struct rule *rule)
{
	bool exact = rule_has(rule, WORD_len);
	uint64_t min = rule->word[exact ? WORD_len : WORD_min_len].lo;
	uint64_t max = rule->word[exact ? WORD_len : WORD_max_len].lo;

	*to = (struct plan_rule){
		.min_len = (uint32_t)min,
		.max_len = exact || rule_has(rule, WORD_max_len) ? (uint32_t)max : UINT32_MAX,
		.flags = (uint32_t)rule->word[WORD_flags].lo,
		.not_flags = (uint32_t)rule->word[WORD_flags].hi,
		.align = (uint32_t)rule->word[WORD_align].lo,
		.state_hash = rule->state_hash,
		.queue = rule_has(rule, WORD_queue) ? (int32_t)rule->word[WORD_queue].lo : -1,
		.rule = rule,
	};
}

static int compare_nodes(const void *a, const void *b)
{
	const struct plan_node *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static void include(struct plan_node *root, const struct plan_node *child)
{
	if (child->max_end > root->max_end)
		root->max_end = child->max_end;
	if (child->min_index < root->min_index)
		root->min_index = child->min_index;
	if (child->max_index > root->max_index)
		root->max_index = child->max_index;
}

/* Fill in what the nodes of [lo, hi) know of their subtrees; returns the root. */
static struct plan_node *augment(struct plan_node *nodes, uint32_t lo, uint32_t hi)
{
	uint32_t mid = lo + (hi - lo) / 2;
	struct plan_node *root = &nodes[mid];

	root->max_end = root->end;
	root->min_index = root->max_index = root->index;
	if (lo < mid)
		include(root, augment(nodes, lo, mid));
	if (mid + 1 < hi)
		include(root, augment(nodes, mid + 1, hi));
	return root;
}

static int compile_op(struct plan *plan, unsigned int op)
{
	struct plan_op *to = &plan->op[op];

	for (uint32_t i = 0; i < plan->nr_rules; i++) {
		const struct rule *rule = plan->rules[i].rule;

		if (!(rule->op_bits >> op & 1))
			continue;
		to->nr_ranged += rule->nr_ranges;
		to->nr_plain += !rule->nr_ranges;
	}
	if (!to->nr_ranged && !to->nr_plain)
		return 0;
	plan->op_bits |= 1u << op;
	to->plain = fail_alloc("faults/engine/plan/plain",
			       calloc(to->nr_plain + 1, sizeof(*to->plain)));
	to->nodes = fail_alloc("faults/engine/plan/nodes",
			       calloc(to->nr_ranged + 1, sizeof(*to->nodes)));
	return to->plain && to->nodes ? 0 : -1;
}

static void fill_op(struct plan *plan, unsigned int op)
{
	struct plan_op *to = &plan->op[op];
	uint32_t plain = 0, ranged = 0;
	uint64_t reach = 0;

	for (uint32_t i = 0; i < plan->nr_rules; i++) {
		const struct rule *rule = plan->rules[i].rule;

		if (!(rule->op_bits >> op & 1))
			continue;
		if (!rule->nr_ranges)
			to->plain[plain++] = i;
		for (uint32_t r = 0; r < rule->nr_ranges; r++)
			to->nodes[ranged++] = (struct plan_node){ .start = rule->ranges[r].from,
								  .end = rule->ranges[r].to,
								  .index = i };
	}
	if (!ranged)
		return;
	qsort(to->nodes, ranged, sizeof(*to->nodes), compare_nodes);
	augment(to->nodes, 0, ranged);
	for (uint32_t i = 0; i < ranged; i++) {
		if (to->nodes[i].end > reach)
			reach = to->nodes[i].end;
		to->nodes[i].reach = reach;
	}
}

static void compile_rules(struct plan *plan)
{
	for (size_t i = 0; i < rule_set_count(plan->set); i++) {
		struct rule *rule = rule_set_at(plan->set, i);

		if (rule_enabled(rule))
			compile_rule(&plan->rules[plan->nr_rules++], rule);
	}
}

void plan_watch(struct plan *plan)
{
	plan->nr_watchers = 0;
	for (uint32_t i = 0; i < plan->nr_rules; i++) {
		const struct rule *rule = plan->rules[i].rule;
		const struct watcher_ops *ops = &rule->kind->ops->watch;

		if (ops->before_change || ops->after_change)
			plan->watchers[plan->nr_watchers++] =
				(struct watcher){ .ops = ops, .state = rule->state };
	}
}

struct plan *plan_new(const struct rule_set *set)
{
	struct plan *plan = fail_alloc("faults/engine/plan/alloc",
				       aligned_alloc(_Alignof(struct plan), sizeof(*plan)));
	size_t count = rule_set_count(set);

	if (!plan)
		return NULL;
	memset(plan, 0, sizeof(*plan));
	plan->rules =
		fail_alloc("faults/engine/plan/rules", calloc(count + 1, sizeof(*plan->rules)));
	plan->watchers = fail_alloc("faults/engine/plan/watchers",
				    calloc(count + 1, sizeof(*plan->watchers)));
	plan->set = rule_set_copy(set);
	if (!plan->rules || !plan->watchers || !plan->set)
		return plan_free(plan);
	compile_rules(plan);
	for (unsigned int op = 0; op < IO_NR_OPS; op++) {
		if (compile_op(plan, op) < 0)
			return plan_free(plan);
		fill_op(plan, op);
	}
	return plan;
}

struct plan *plan_free(struct plan *plan)
{
	if (!plan)
		return NULL;
	for (unsigned int op = 0; op < IO_NR_OPS; op++) {
		free(plan->op[op].plain);
		free(plan->op[op].nodes);
	}
	free(plan->rules);
	free(plan->watchers);
	rule_set_free(plan->set);
	free(plan);
	return NULL;
}

/* Does any range overlap [from, to)? */
static bool any_overlaps(const struct plan_op *op, uint64_t from, uint64_t to)
{
	const struct plan_node *last = op->nodes;

	if (!op->nr_ranged)
		return false;
	for (uint32_t left = op->nr_ranged; left > 1; left -= left / 2)
		last = last[left / 2].start < to ? last + left / 2 : last;
	return last->start < to && last->reach > from;
}

/* The smallest index below @best in the subtree [lo, hi) that overlaps [from, to), or @best. */
static uint32_t first_ranged(const struct plan_walk *walk, uint32_t lo, uint32_t hi, uint32_t best)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct plan_node *node = &walk->op->nodes[mid];

		if (node->max_end <= walk->from || node->min_index >= best)
			return best;
		if (node->start >= walk->to) {
			hi = mid;
			continue;
		}
		if (node->end > walk->from && node->index < best)
			best = node->index;
		best = first_ranged(walk, lo, mid, best);
		lo = mid + 1;
	}
	return best;
}

_Static_assert(RULE_SET_MAX / 64 <= 64, "one bit of `used` for each word of `found`");

static void note_found(struct plan_walk *walk, uint32_t index)
{
	uint64_t word = 1ull << index / 64, bit = 1ull << index % 64;

	walk->found[index / 64] = walk->used & word ? walk->found[index / 64] | bit : bit;
	walk->used |= word;
}

/* All of the subtree [lo, hi) that overlap [from, to), but those before the cursor. */
static void collect(struct plan_walk *walk, uint32_t lo, uint32_t hi)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct plan_node *node = &walk->op->nodes[mid];

		if (node->max_end <= walk->from || node->max_index < walk->cursor)
			return;
		if (node->start >= walk->to) {
			hi = mid;
			continue;
		}
		if (node->end > walk->from && node->index >= walk->cursor)
			note_found(walk, node->index);
		collect(walk, lo, mid);
		lo = mid + 1;
	}
}

static uint32_t peek_plain(const struct plan_walk *walk)
{
	return walk->plain < walk->op->nr_plain ? walk->op->plain[walk->plain] : PLAN_NONE;
}

uint32_t plan_first(const struct plan *plan, unsigned int op, uint64_t from, uint64_t to,
		    struct plan_walk *walk)
{
	uint32_t plain, index;

	walk->op = &plan->op[op];
	walk->from = from;
	walk->to = to;
	walk->plain = 0;
	walk->cursor = PLAN_NONE;
	walk->used = 0;
	index = plain = peek_plain(walk);
	if (any_overlaps(walk->op, from, to)) {
		index = first_ranged(walk, 0, walk->op->nr_ranged, plain);
		walk->cursor = index + 1;
	}
	walk->plain += index == plain;
	return index;
}

uint32_t plan_next(struct plan_walk *walk)
{
	uint32_t plain = peek_plain(walk), word, index;

	if (walk->cursor != PLAN_NONE) {
		collect(walk, 0, walk->op->nr_ranged);
		walk->cursor = PLAN_NONE;
	}
	if (walk->used) {
		word = (uint32_t)__builtin_ctzll(walk->used);
		index = word * 64 + (uint32_t)__builtin_ctzll(walk->found[word]);
		if (index < plain) {
			walk->found[word] &= walk->found[word] - 1;
			if (!walk->found[word])
				walk->used &= walk->used - 1;
			return index;
		}
	}
	walk->plain += plain != PLAN_NONE;
	return plain;
}
