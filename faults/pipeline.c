// SPDX-License-Identifier: MIT
/*
 * Plans and their lives.
 *
 *	control thread			queue thread (each on its own cache line)
 *	published ----acquire---------> queue->plan        adopted between batches
 *	reap() <------acquire---------- queue->adopted     epoch of that plan
 *	reap() <------acquire---------- plan->nr_parked    requests that wait under it
 *
 * A plan may be freed once every queue has adopted a younger one (so none can park a request under
 * it any more) and its parked count is zero. A queue counts as using the plan that was in force
 * when the pipeline was made until it adopts for the first time; a queue that never runs therefore
 * keeps plans alive, but nothing waits for it.
 *
 * The walk takes place once, when the request arrives. What is left of it while the request waits
 * is the terminal rule that hit, if any, and its match number.
 */
#include "faults/pipeline.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/apply.h"
#include "faults/explain.h"
#include "faults/plan.h"
#include "faults/rule_ast.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64

struct queue {
	_Alignas(CACHE_LINE) const struct plan *plan;
	uint32_t op_bits; /* of the plan: the one load of a request that no rule is about */
	_Atomic uint64_t adopted;
};

struct pipeline {
	struct store *store;
	struct rule_geometry geometry;
	uint64_t seed;
	struct plan *_Atomic published;
	/* Control thread only: all plans that are alive, youngest first. */
	struct plan *plans;
	_Alignas(CACHE_LINE) struct queue queues[];
};

static void cleanup_rule_set(struct rule_set **set)
{
	rule_set_free(*set);
}

static void publish_plan(struct pipeline *pipeline, struct plan *plan)
{
	plan->epoch = pipeline->plans ? pipeline->plans->epoch + 1 : 1;
	plan->next = pipeline->plans;
	pipeline->plans = plan;
	atomic_store_explicit(&pipeline->published, plan, memory_order_release);
}

/* What several queues see written whole: the block of the disk, and at least a page. */
static uint32_t shared_unit(uint32_t block_bytes)
{
	uint32_t unit = 4096;

	while (unit < block_bytes)
		unit *= 2;
	return unit;
}

_cold_ int pipeline_create(struct store *store, const struct pipeline_options *options,
			   struct pipeline **ret_pipeline)
{
	_cleanup_(cleanup_rule_set) struct rule_set *empty = rule_set_new();
	uint16_t nr_queues = options->geometry.nr_queues;
	size_t size = sizeof(struct pipeline) + nr_queues * sizeof(struct queue);
	struct pipeline *pipeline;
	struct plan *plan;

	if (!nr_queues || options->geometry.block_bytes < SECTOR_SIZE ||
	    options->geometry.block_bytes % SECTOR_SIZE ||
	    options->geometry.size_bytes != store_size(store))
		return -EINVAL;
	if (nr_queues > 1 && store_share(store, shared_unit(options->geometry.block_bytes)))
		return -ENOMEM;
	plan = empty ? plan_new(empty) : NULL;
	pipeline =
		plan ? fail_alloc("faults/pipeline/alloc", aligned_alloc(CACHE_LINE, size)) : NULL;
	if (!pipeline) {
		plan_free(plan);
		return -ENOMEM;
	}
	memset(pipeline, 0, size);
	pipeline->store = store;
	pipeline->geometry = options->geometry;
	pipeline->seed = options->seed;
	publish_plan(pipeline, plan);
	for (uint16_t i = 0; i < nr_queues; i++) {
		pipeline->queues[i].plan = plan;
		atomic_init(&pipeline->queues[i].adopted, plan->epoch);
	}
	*ret_pipeline = pipeline;
	return 0;
}

_cold_ struct pipeline *pipeline_free(struct pipeline *pipeline)
{
	if (!pipeline)
		return NULL;
	while (pipeline->plans) {
		struct plan *plan = pipeline->plans;

		assert(atomic_load(&plan->nr_parked) == 0);
		pipeline->plans = plan->next;
		plan_free(plan);
	}
	free(pipeline);
	return NULL;
}

static bool selects(const struct plan_rule *rule, const struct io *io)
{
	return io->len_bytes >= rule->min_len && io->len_bytes <= rule->max_len &&
	       (io->flags & rule->flags) == rule->flags &&
	       (rule->queue < 0 || rule->queue == io->queue);
}

/* Ask the rules in order; *ret_delay_ns is the sum of the delays, io->rule the terminal hit. */
static void walk(const struct pipeline *pipeline, const struct plan *plan, struct io *io,
		 uint64_t now_ns, uint64_t *ret_delay_ns)
{
	uint64_t from = io_start(io), to = from + io->len_bytes;
	uint64_t delay_ns = 0, match;
	uint32_t index = 0;

	for (;; index++) {
		struct rule *rule;

		index = plan_next(plan, io->op, index, from, to);
		if (index == PLAN_NONE)
			break;
		rule = plan->rules[index].rule;
		if (!selects(&plan->rules[index], io) ||
		    !rule_count_match(rule, pipeline->seed, now_ns, &match))
			continue;
		if (rule->kind->role == KIND_TERMINAL) {
			io->rule = rule;
			io->match = match;
			break;
		}
		/* At most RULE_SET_MAX hours: this cannot overflow. */
		delay_ns += rule->kind->ops->delay_ns(&rule->args,
						      rule_kind_bits(rule, pipeline->seed, match));
	}
	*ret_delay_ns = delay_ns;
}

_Static_assert(RULE_SET_MAX <= UINT64_MAX / KIND_DELAY_MAX_NS, "the sum of delays fits");

/* Let the terminal rule act, or else carry the request out. */
static void finish(struct pipeline *pipeline, struct io *io)
{
	const struct rule *rule = io->rule;
	struct kind_hit hit;

	if (!rule) {
		io->result = apply_result(io, apply_part(pipeline->store, io, 0, io->len_bytes));
		return;
	}
	hit = (struct kind_hit){
		.store = pipeline->store,
		.block_bytes = pipeline->geometry.block_bytes,
		.bits = rule_kind_bits(rule, pipeline->seed, io->match),
	};
	rule->kind->ops->act(&rule->args, &hit, io);
}

static enum io_verdict submit_ruled(struct pipeline *pipeline, const struct plan *plan,
				    struct io *io, uint64_t now_ns)
{
	uint64_t delay_ns;

	walk(pipeline, plan, io, now_ns, &delay_ns);
	if (!delay_ns) {
		finish(pipeline, io);
		return IO_DONE;
	}
	if (__builtin_add_overflow(now_ns, delay_ns, &io->due_ns))
		io->due_ns = UINT64_MAX;
	io->plan = (struct plan *)plan;
	/* Relaxed: the queue's own release of its next epoch makes it visible before it matters. */
	atomic_fetch_add_explicit(&io->plan->nr_parked, 1, memory_order_relaxed);
	return IO_PARKED;
}

enum io_verdict pipeline_submit(struct pipeline *pipeline, struct io *io, uint64_t now_ns)
{
	const struct queue *queue = &pipeline->queues[io->queue];

	assert(io->queue < pipeline->geometry.nr_queues);
	assert(io->op < IO_NR_OPS);
	assert(io->len_bytes || io->op == IO_FLUSH);
	assert(io->len_bytes % SECTOR_SIZE == 0);
	assert(io->len_bytes <= pipeline->geometry.size_bytes);
	assert(io->sector <= (pipeline->geometry.size_bytes - io->len_bytes) >> SECTOR_SHIFT);
	io->rule = NULL;
	if (queue->op_bits >> io->op & 1)
		return submit_ruled(pipeline, queue->plan, io, now_ns);
	finish(pipeline, io);
	return IO_DONE;
}

void pipeline_resume(struct pipeline *pipeline, struct io *io, uint64_t now_ns)
{
	struct plan *plan = io->plan;

	(void)now_ns;
	assert(plan);
	finish(pipeline, io);
	/* From the release on the control thread may free the plan, and the rule with it. */
	io->plan = NULL;
	io->rule = NULL;
	atomic_fetch_sub_explicit(&plan->nr_parked, 1, memory_order_release);
}

void pipeline_adopt(struct pipeline *pipeline, uint16_t index)
{
	struct queue *queue = &pipeline->queues[index];
	const struct plan *plan = atomic_load_explicit(&pipeline->published, memory_order_acquire);

	if (plan == queue->plan)
		return;
	queue->plan = plan;
	queue->op_bits = plan->op_bits;
	/* Release: whatever this queue did under the older plan happened before this. */
	atomic_store_explicit(&queue->adopted, plan->epoch, memory_order_release);
}

/* The epoch that every queue has reached. */
_cold_ static uint64_t oldest_adopted(const struct pipeline *pipeline)
{
	uint64_t oldest = UINT64_MAX;

	for (uint16_t i = 0; i < pipeline->geometry.nr_queues; i++) {
		uint64_t epoch =
			atomic_load_explicit(&pipeline->queues[i].adopted, memory_order_acquire);

		if (epoch < oldest)
			oldest = epoch;
	}
	return oldest;
}

_cold_ static void reap(struct pipeline *pipeline)
{
	uint64_t oldest = oldest_adopted(pipeline);
	struct plan **at = &pipeline->plans->next;

	while (*at) {
		struct plan *plan = *at;

		/* The epochs first, then the count: no queue of a younger epoch parks under it. */
		if (plan->epoch >= oldest ||
		    atomic_load_explicit(&plan->nr_parked, memory_order_acquire)) {
			at = &plan->next;
			continue;
		}
		*at = plan->next;
		plan_free(plan);
	}
}

_cold_ int pipeline_publish(struct pipeline *pipeline, const struct rule_set *set, uint64_t now_ns,
			    struct diag *diag, uint64_t *ret_epoch)
{
	struct plan *plan;

	for (size_t i = 0; i < rule_set_count(set); i++) {
		int err = rule_check(rule_set_at(set, i), &pipeline->geometry, diag);

		if (err < 0)
			return err;
	}
	plan = plan_new(set);
	if (!plan)
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for %zu rules",
				rule_set_count(set));
	for (size_t i = 0; i < rule_set_count(set); i++)
		rule_arm(rule_set_at(set, i), now_ns);
	publish_plan(pipeline, plan);
	reap(pipeline);
	if (ret_epoch)
		*ret_epoch = plan->epoch;
	return 0;
}

_cold_ bool pipeline_adopted(struct pipeline *pipeline, uint64_t epoch)
{
	reap(pipeline);
	return oldest_adopted(pipeline) >= epoch;
}

_cold_ const struct rule_set *pipeline_rules(const struct pipeline *pipeline)
{
	return pipeline->plans->set;
}

_cold_ size_t pipeline_nr_plans(const struct pipeline *pipeline)
{
	size_t nr = 0;

	for (const struct plan *plan = pipeline->plans; plan; plan = plan->next)
		nr++;
	return nr;
}

_cold_ char *pipeline_explain(struct pipeline *pipeline, const struct io *io, uint64_t now_ns)
{
	return explain_io(pipeline->plans->set, &pipeline->geometry, pipeline->seed, io, now_ns);
}
