// SPDX-License-Identifier: MIT
/*
 * Two indices per operation: rules without range in a sorted array, rules with one in the tree of
 * plan.h. A walk asks for the next rule again and again with a growing cursor, so one integer is
 * all the state that a request needs.
 *
 * Most requests overlap no range, and one binary search tells: ranges that start before `to` are
 * the first so many of the array, and none of them reaches past `from` if the largest of their ends
 * does not. Only otherwise is the tree asked which of them is next. A node whose start lies at or
 * past `to` sends the search left; any other lets it look left only if some range there ends past
 * `from`. Such a range starts no later than the node does, hence before `to`, hence overlaps.
 */
#include "faults/plan.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/rule_ast.h"

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
		if (rule_has(rule, WORD_range))
			to->nr_ranged++;
		else
			to->nr_plain++;
	}
	if (!to->nr_ranged && !to->nr_plain)
		return 0;
	plan->op_bits |= 1u << op;
	to->plain = fail_alloc("faults/plan/plain", calloc(to->nr_plain + 1, sizeof(*to->plain)));
	to->nodes = fail_alloc("faults/plan/nodes", calloc(to->nr_ranged + 1, sizeof(*to->nodes)));
	return to->plain && to->nodes ? 0 : -1;
}

static void fill_op(struct plan *plan, unsigned int op)
{
	struct plan_op *to = &plan->op[op];
	uint32_t plain = 0, ranged = 0;
	uint64_t reach = 0;

	for (uint32_t i = 0; i < plan->nr_rules; i++) {
		const struct rule *rule = plan->rules[i].rule;
		const struct value *range = &rule->word[WORD_range];

		if (!(rule->op_bits >> op & 1))
			continue;
		if (!rule_has(rule, WORD_range))
			to->plain[plain++] = i;
		else
			to->nodes[ranged++] = (struct plan_node){ .start = range->lo,
								  .end = range->hi,
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
		const struct kind_ops *ops = rule->kind->ops;

		if (!rule_enabled(rule))
			continue;
		compile_rule(&plan->rules[plan->nr_rules++], rule);
		if (ops->before_change || ops->after_change)
			plan->watchers[plan->nr_watchers++] = rule;
	}
}

struct plan *plan_new(const struct rule_set *set)
{
	struct plan *plan = fail_alloc("faults/plan/alloc",
				       aligned_alloc(_Alignof(struct plan), sizeof(*plan)));
	size_t count = rule_set_count(set);

	if (!plan)
		return NULL;
	memset(plan, 0, sizeof(*plan));
	plan->rules = fail_alloc("faults/plan/rules", calloc(count + 1, sizeof(*plan->rules)));
	plan->watchers =
		fail_alloc("faults/plan/watchers", calloc(count + 1, sizeof(struct rule *)));
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

static uint32_t next_plain(const struct plan_op *op, uint32_t cursor)
{
	uint32_t lo = 0, hi = op->nr_plain;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (op->plain[mid] < cursor)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < op->nr_plain ? op->plain[lo] : PLAN_NONE;
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

struct query {
	uint64_t from, to;
	uint32_t cursor;
};

/* The smallest index below @best in the subtree [lo, hi) that answers the query, or @best. */
static uint32_t next_ranged(const struct plan_node *nodes, uint32_t lo, uint32_t hi,
			    const struct query *query, uint32_t best)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct plan_node *node = &nodes[mid];

		if (node->max_end <= query->from || node->max_index < query->cursor ||
		    node->min_index >= best)
			return best;
		if (node->start >= query->to) {
			hi = mid;
			continue;
		}
		if (node->end > query->from && node->index >= query->cursor && node->index < best)
			best = node->index;
		best = next_ranged(nodes, lo, mid, query, best);
		lo = mid + 1;
	}
	return best;
}

uint32_t plan_next(const struct plan *plan, unsigned int op, uint32_t cursor, uint64_t from,
		   uint64_t to)
{
	const struct plan_op *index = &plan->op[op];
	struct query query = { .from = from, .to = to, .cursor = cursor };
	uint32_t plain = next_plain(index, cursor);

	if (!any_overlaps(index, from, to))
		return plain;
	return next_ranged(index->nodes, 0, index->nr_ranged, &query, plain);
}
