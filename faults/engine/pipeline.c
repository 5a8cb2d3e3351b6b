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
#include "faults/engine/pipeline.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/engine/explain.h"
#include "faults/engine/freeze.h"
#include "faults/engine/hold.h"
#include "faults/engine/host.h"
#include "faults/engine/plan.h"
#include "faults/record/recorder.h"
#include "faults/rule/ast.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64

struct pipeline_queue {
	_Alignas(CACHE_LINE) const struct plan *plan;
	uint32_t op_bits; /* of the plan: the one load of a request that no rule is about */
	struct backing backing;
	_Atomic uint64_t adopted;
};

enum joint_state { JOINT_NONE, JOINT_MAKING, JOINT_MADE };

struct pipeline {
	struct rule_geometry geometry;
	uint64_t seed;
	struct plan *_Atomic published;
	struct store *store;
	struct cache *cache; /* NULL: none */
	struct event_log *events;
	struct hold *holds; /* by queue */
	struct snapshots *snapshots;
	struct freeze freeze;
	unsigned int nr_sharers; /* of the store, beyond the queues */
	bool crashed;            /* a power cut whose losses have been taken: @lost */
	uint64_t lost;
	struct recorder_disk *recorder; /* NULL: nothing is recorded */
	void (*wake)(void *ctx);
	void (*unpark)(void *ctx, struct io *io);
	void *ctx;
	struct condition condition;
	bool joins;
	_Atomic uint32_t joint_state; /* enum joint_state */
	struct joint_cut joint;       /* JOINT_MADE: told, and not changed */
	_Atomic uint32_t incarnation; /* counts power cuts */
	_Atomic uint64_t state_hash;  /* of the rules' state machine */
	_Atomic bool listening;       /* the next occasion is worth a wake */
	/* Control thread only: all plans that are alive, youngest first. */
	struct plan *plans;
	_Alignas(CACHE_LINE) struct pipeline_queue queues[];
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

/* What several threads see written whole: the block of the disk, and at least a page. */
static uint32_t shared_unit(const struct pipeline *pipeline)
{
	uint32_t cached = pipeline->cache ? cache_unit_bytes(pipeline->cache) : 0, unit = 4096;

	while (unit < pipeline->geometry.block_bytes || unit < cached)
		unit *= 2;
	return unit;
}

static int create_parts(struct pipeline *pipeline, const struct pipeline_options *options)
{
	uint16_t nr_queues = options->geometry.nr_queues;
	uint32_t block_bytes = options->geometry.block_bytes;
	int err = 0;

	if (options->cache)
		err = cache_create(pipeline->store, block_bytes, &options->cache_model,
				   &pipeline->cache);
	if (!err && nr_queues > 1)
		err = store_share(pipeline->store, shared_unit(pipeline));
	if (!err)
		err = snapshots_create(pipeline->store, &pipeline->snapshots);
	if (!err)
		err = event_log_create(nr_queues, &pipeline->events);
	if (!err)
		pipeline->holds = hold_new(nr_queues);
	return err || pipeline->holds ? err : -ENOMEM;
}

static void adopt(struct pipeline *pipeline, struct pipeline_queue *queue, const struct plan *plan)
{
	queue->plan = plan;
	queue->op_bits = plan->op_bits;
	queue->backing = (struct backing){
		.store = pipeline->store,
		.cache = pipeline->cache,
		.snapshots = snapshots_any(pipeline->snapshots) ? pipeline->snapshots : NULL,
		.watchers = plan->watchers,
		.nr_watchers = plan->nr_watchers,
	};
	/* Release: whatever this queue did under the older plan happened before this. */
	atomic_store_explicit(&queue->adopted, plan->epoch, memory_order_release);
}

static bool options_fit(const struct pipeline_options *options, const struct store *store)
{
	const struct rule_geometry *geometry = &options->geometry;

	return geometry->nr_queues && geometry->block_bytes >= SECTOR_SIZE &&
	       geometry->block_bytes % SECTOR_SIZE == 0 &&
	       geometry->size_bytes == store_size(store);
}

/* The unit of a power cut lies whole in the store, and in one of its units. */
static bool cache_fits(const struct rule_geometry *geometry, const struct cache_model *model)
{
	uint64_t unit = model->unit_bytes ? model->unit_bytes : geometry->block_bytes;
	uint64_t size = model->size_bytes ? model->size_bytes : CACHE_SIZE_DEFAULT;

	return (unit & (unit - 1)) == 0 && unit >= SECTOR_SIZE &&
	       geometry->size_bytes % unit == 0 && model->unit_bytes <= CACHE_UNIT_MAX &&
	       !(model->unit_bytes && model->whole_writes) && size >= CACHE_SIZE_MIN &&
	       size / 16 >= model->unit_bytes;
}

_cold_ int pipeline_create(struct store *store, const struct pipeline_options *options,
			   struct pipeline **ret_pipeline)
{
	_cleanup_(cleanup_rule_set) struct rule_set *empty = rule_set_new();
	uint16_t nr_queues = options->geometry.nr_queues;
	size_t size = sizeof(struct pipeline) + nr_queues * sizeof(struct pipeline_queue);
	struct pipeline *pipeline;
	struct plan *plan;

	if (!options_fit(options, store) ||
	    (options->cache && !cache_fits(&options->geometry, &options->cache_model)))
		return -EINVAL;
	pipeline = fail_alloc("faults/engine/pipeline/alloc", aligned_alloc(CACHE_LINE, size));
	if (!pipeline)
		return -ENOMEM;
	memset(pipeline, 0, size);
	pipeline->store = store;
	pipeline->geometry = options->geometry;
	pipeline->geometry.has_cache = options->cache;
	pipeline->geometry.cache_unit_bytes =
		options->cache
			? cache_model_unit(&options->cache_model, options->geometry.block_bytes)
			: 0;
	pipeline->seed = options->seed;
	freeze_init(&pipeline->freeze);
	pipeline->recorder = options->recorder;
	pipeline->joins = options->joins;
	pipeline->wake = options->wake;
	pipeline->unpark = options->unpark;
	pipeline->ctx = options->ctx;
	atomic_init(&pipeline->state_hash, rule_hash_name(RULE_STATE_START));
	plan = empty && create_parts(pipeline, options) == 0 ? plan_new(empty) : NULL;
	if (!plan) {
		pipeline_free(pipeline);
		return -ENOMEM;
	}
	publish_plan(pipeline, plan);
	for (uint16_t i = 0; i < nr_queues; i++)
		adopt(pipeline, &pipeline->queues[i], plan);
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
	hold_free(pipeline->holds, pipeline->geometry.nr_queues);
	event_log_free(pipeline->events);
	snapshots_free(pipeline->snapshots);
	cache_free(pipeline->cache);
	freeze_destroy(&pipeline->freeze);
	free(pipeline);
	return NULL;
}

/* ------------------------------------------------------------------------------ deciding */

/* What the walk through the rules comes to. */
struct pipeline_walk {
	uint64_t now_ns;
	uint64_t delay_ns;   /* the sum of the delays */
	uint64_t state_hash; /* of the disk when the request arrived */
	uint64_t goto_hash;  /* of the state that a hit asks for; 0: none */
	uint32_t flags;      /* as rules see them */
	bool held, timeless; /* until it is released; and without a time limit */
};

static bool selects(const struct plan_rule *rule, const struct io *io,
		    const struct pipeline_walk *walk)
{
	return io->len_bytes >= rule->min_len && io->len_bytes <= rule->max_len &&
	       (walk->flags & rule->flags) == rule->flags && !(walk->flags & rule->not_flags) &&
	       (rule->queue < 0 || rule->queue == io->queue) &&
	       (!rule->state_hash || rule->state_hash == walk->state_hash) &&
	       (!rule->align || io_start(io) % rule->align == 0);
}

/*
 * Somebody wants to hear of it: once, until the control thread asks again. It asks first and looks
 * then; a plain load here could come before what it is to see, and both would miss each other.
 */
static void wake_listener(struct pipeline *pipeline)
{
	if (atomic_exchange(&pipeline->listening, false))
		pipeline->wake(pipeline->ctx);
}

_cold_ static void record_hit(struct pipeline *pipeline, const struct rule *rule,
			      const struct io *io, uint64_t match, uint64_t delay_ns)
{
	recorder_hit(pipeline->recorder, io,
		     &(struct record_hit){ .rule = rule->number,
					   .held = delay_ns & KIND_HOLD,
					   .match = match,
					   .delay_ns = delay_ns & ~KIND_HOLD });
}

/* @delay_ns: with KIND_HOLD, as a kind answers. */
static uint64_t note_hit(struct pipeline *pipeline, const struct rule *rule, const struct io *io,
			 uint64_t now_ns, uint64_t match, uint64_t delay_ns)
{
	struct event event = {
		.time_ns = now_ns,
		.sector = io->sector,
		.match = match,
		.delay_ns = delay_ns == KIND_HOLD ? UINT64_MAX : delay_ns & ~KIND_HOLD,
		.len_bytes = io->len_bytes,
		.flags = io->flags,
		.queue = io->queue,
		.op = io->op,
		.kind = (uint8_t)kind_index(rule->kind),
	};
	uint64_t seq;

	memcpy(event.rule, rule->name, sizeof(event.rule));
	seq = event_log_add(pipeline->events, &event);
	if (pipeline->recorder)
		record_hit(pipeline, rule, io, match, delay_ns);
	wake_listener(pipeline);
	return seq;
}

static struct kind_hit make_hit(const struct pipeline *pipeline, const struct rule *rule,
				uint64_t match)
{
	return (struct kind_hit){
		.state = rule->state,
		.block_bytes = pipeline->geometry.block_bytes,
		.size_bytes = pipeline->geometry.size_bytes,
		.bits = rule_kind_bits(rule, pipeline->seed, match),
		.rule_bits = rule_kind_bits(rule, pipeline->seed, UINT64_MAX),
		.match = match,
	};
}

/* A modifier delays the request by @delay_ns; with KIND_HOLD it holds it. */
static void delay(struct pipeline *pipeline, struct rule *rule, struct io *io,
		  struct pipeline_walk *walk, uint64_t match, uint64_t delay_ns)
{
	uint64_t id = note_hit(pipeline, rule, io, walk->now_ns, match, delay_ns);
	bool hold = delay_ns & KIND_HOLD;

	delay_ns &= ~KIND_HOLD;
	if (hold && !io->holder) {
		io->holder = rule;
		io->id = id;
		walk->held = true;
	}
	walk->timeless |= hold && !delay_ns;
	/* At most RULE_SET_MAX hours: this cannot overflow. */
	walk->delay_ns += delay_ns;
}

/* A hit of a modifier. */
static void modify(struct pipeline *pipeline, struct rule *rule, struct io *io,
		   struct pipeline_walk *walk, uint64_t match)
{
	struct kind_hit hit = make_hit(pipeline, rule, match);

	if (!rule->kind->ops->delay_ns) {
		note_hit(pipeline, rule, io, walk->now_ns, match, 0);
		return;
	}
	hit.now_ns = walk->now_ns;
	hit.age_ns = rule_age_ns(rule, walk->now_ns);
	delay(pipeline, rule, io, walk, match,
	      rule->kind->ops->delay_ns(&rule->args, &hit, io, false));
}

_Static_assert(RULE_SET_MAX <= UINT64_MAX / KIND_DELAY_MAX_NS, "the sum of delays fits");

/* Ask the rules in order; io->rule is the terminal hit. */
static void walk_rules(struct pipeline *pipeline, const struct pipeline_queue *queue, struct io *io,
		       struct pipeline_walk *walk)
{
	const struct plan *plan = queue->plan;
	uint64_t from = io_start(io), match;
	struct plan_walk asked;
	uint32_t index = plan_first(plan, io->op, from, from + io->len_bytes, &asked);

	for (; index != PLAN_NONE; index = plan_next(&asked)) {
		struct rule *rule = plan->rules[index].rule;

		if (!selects(&plan->rules[index], io, walk) ||
		    (rule->needs_data && !rule_fits(rule, &queue->backing, io)) ||
		    !rule_count_match(rule, pipeline->seed, walk->now_ns, &match))
			continue;
		if (rule->goto_hash)
			walk->goto_hash = rule->goto_hash;
		if (rule->kind->role != KIND_MODIFIER) {
			uint64_t id = note_hit(pipeline, rule, io, walk->now_ns, match, 0);

			io->id = io->holder ? io->id : id;
			io->rule = rule;
			io->match = match;
			break;
		}
		modify(pipeline, rule, io, walk, match);
	}
	if (walk->goto_hash)
		atomic_store_explicit(&pipeline->state_hash, walk->goto_hash, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------ acting */

#define CONDITION_DEAD (CONDITION_OFF | CONDITION_GONE)

/* Let the terminal rule act, or else carry the request out. */
static void carry_out(struct pipeline *pipeline, struct io *io)
{
	const struct backing *backing = &pipeline->queues[io->queue].backing;
	const struct rule *rule = io->rule;
	struct kind_hit hit;

	if (!rule) {
		io->result = apply_result(io, apply_part(backing, io, 0, io->len_bytes));
		return;
	}
	hit = make_hit(pipeline, rule, io->match);
	hit.backing = backing;
	hit.condition = &pipeline->condition;
	rule->kind->ops->act(&rule->args, &hit, io);
}

/* @before: the disk's condition, loaded once for all that is asked about it. */
static void finish(struct pipeline *pipeline, struct io *io, uint32_t before, uint64_t now_ns)
{
	uint32_t after;
	int err = 0;

	if (before)
		err = condition_verdict(before, &pipeline->condition,
					&pipeline->queues[io->queue].backing, io);
	if (err) {
		io->result = err;
		return;
	}
	carry_out(pipeline, io);
	after = condition_bits(&pipeline->condition);
	if (__builtin_expect(io->result == -EIO, false) &&
	    host_tell(pipeline->store, pipeline->events, io, now_ns) && pipeline->wake)
		pipeline->wake(pipeline->ctx);
	if (after == before)
		return;
	/* What was under way when the power went is not acknowledged any more. */
	if (after & CONDITION_DEAD && io->result >= 0)
		io->result = after & CONDITION_GONE ? -ENODEV : -EIO;
	if (pipeline->wake)
		pipeline->wake(pipeline->ctx);
}

/* ------------------------------------------------------------------------------ requests */

static void park(struct pipeline *pipeline, const struct plan *plan, struct io *io,
		 const struct pipeline_walk *walk)
{
	if (walk->timeless || __builtin_add_overflow(walk->now_ns, walk->delay_ns, &io->due_ns))
		io->due_ns = UINT64_MAX;
	io->plan = (struct plan *)plan;
	io->incarnation = atomic_load_explicit(&pipeline->incarnation, memory_order_relaxed);
	/* Relaxed: the queue's own release of its next epoch makes it visible before it matters. */
	atomic_fetch_add_explicit(&io->plan->nr_parked, 1, memory_order_relaxed);
	if (walk->held)
		hold_add(&pipeline->holds[io->queue], io, walk->now_ns);
}

/* What has to wait until other disks are cut as well, so that nobody hears of it before. */
static bool is_joint(const struct pipeline *pipeline, const struct rule *rule, uint32_t condition)
{
	return pipeline->joins && rule && rule->kind->ops->with && !(condition & CONDITION_DEAD) &&
	       rule->kind->ops->with(&rule->args);
}

/* The disk is dead already: by the cut that has just ended, or by another one. */
static bool is_too_late(const struct pipeline *pipeline)
{
	return condition_bits(&pipeline->condition) & CONDITION_DEAD;
}

static void make_joint(struct pipeline *pipeline, struct io *io)
{
	const struct rule *rule = io->rule;
	struct kind_hit hit = make_hit(pipeline, rule, io->match);

	hit.backing = &pipeline->queues[io->queue].backing;
	hit.condition = &pipeline->condition;
	pipeline->joint = (struct joint_cut){ .incarnation = io->incarnation };
	snprintf(pipeline->joint.with, sizeof(pipeline->joint.with), "%s",
		 rule->kind->ops->with(&rule->args));
	rule->kind->ops->joint(&rule->args, &hit, io, &pipeline->joint);
}

/*
 * The first that is hit says what is to happen. One that saw the disk well before the cut before this
 * one ended sees it dead here, as that cut came first.
 */
_cold_ static void join(struct pipeline *pipeline, struct io *io)
{
	uint32_t none = JOINT_NONE;

	if (atomic_compare_exchange_strong(&pipeline->joint_state, &none, JOINT_MAKING)) {
		bool late = is_too_late(pipeline);

		if (!late)
			make_joint(pipeline, io);
		atomic_store(&pipeline->joint_state, late ? JOINT_NONE : JOINT_MADE);
	}
	/* Also where the cut is over by now: somebody must see that this one waits. */
	if (pipeline->wake)
		pipeline->wake(pipeline->ctx);
}

/* The walk is over. */
static enum io_verdict go_on(struct pipeline *pipeline, const struct pipeline_queue *queue,
			     struct io *io, struct pipeline_walk *walk)
{
	bool now = !walk->delay_ns && !walk->held;
	uint32_t condition = now ? condition_bits(&pipeline->condition) : 0;
	bool joint = now && is_joint(pipeline, io->rule, condition);

	if (now && !joint) {
		finish(pipeline, io, condition, walk->now_ns);
		return IO_DONE;
	}
	if (joint) {
		io->holder = io->rule;
		walk->held = walk->timeless = true;
	}
	park(pipeline, queue->plan, io, walk);
	if (joint)
		join(pipeline, io);
	return IO_PARKED;
}

static enum io_verdict submit_ruled(struct pipeline *pipeline, const struct pipeline_queue *queue,
				    struct io *io, uint64_t now_ns)
{
	struct pipeline_walk walk = {
		.now_ns = now_ns,
		.state_hash = atomic_load_explicit(&pipeline->state_hash, memory_order_relaxed),
		.flags = io_rule_flags(io),
	};

	walk_rules(pipeline, queue, io, &walk);
	return go_on(pipeline, queue, io, &walk);
}

static void check_io(const struct pipeline *pipeline, struct io *io)
{
	assert(io->queue < pipeline->geometry.nr_queues);
	assert(io->op < IO_NR_OPS);
	assert(io->len_bytes || io->op == IO_FLUSH);
	assert(io->len_bytes % SECTOR_SIZE == 0);
	assert(io->len_bytes <= pipeline->geometry.size_bytes);
	assert(io->sector <= (pipeline->geometry.size_bytes - io->len_bytes) >> SECTOR_SHIFT);
	io->rule = NULL;
	io->holder = NULL;
}

static inline enum io_verdict submit(struct pipeline *pipeline, struct io *io, uint64_t now_ns,
				     uint32_t condition)
{
	const struct pipeline_queue *queue = &pipeline->queues[io->queue];

	check_io(pipeline, io);
	/* A disk without power or body asks no rules. */
	if (queue->op_bits >> io->op & 1 && !(condition & CONDITION_DEAD))
		return submit_ruled(pipeline, queue, io, now_ns);
	finish(pipeline, io, condition, now_ns);
	return IO_DONE;
}

enum io_verdict pipeline_submit(struct pipeline *pipeline, struct io *io, uint64_t now_ns)
{
	enum io_verdict verdict;
	uint32_t condition;

	if (__builtin_expect(!pipeline->recorder, true))
		return submit(pipeline, io, now_ns, condition_bits(&pipeline->condition));
	recorder_arrive(pipeline->recorder, io);
	condition = condition_bits(&pipeline->condition);
	verdict = submit(pipeline, io, now_ns, condition);
	recorder_walked(pipeline->recorder, io, now_ns,
			condition & CONDITION_DEAD ? RECORDER_UNREACHED
			: verdict == IO_PARKED     ? RECORDER_PARKED
						   : RECORDER_DONE);
	return verdict;
}

/* Can a rule act so on a request like this? What its kind relies on, no more. */
static bool decision_fits(const struct decision *decision, const struct io *io, bool last)
{
	const struct rule *rule = decision->rule;
	uint64_t from = io_start(io);

	if (!rule->armed || !(rule->op_bits >> io->op & 1))
		return false;
	if (!rule_touches(rule, from, from + io->len_bytes))
		return false;
	if (rule->kind->role != KIND_MODIFIER)
		return last && !decision->delay_ns;
	return rule->kind->ops->delay_ns || !decision->delay_ns;
}

static void act_decided(struct pipeline *pipeline, const struct decision *decision, struct io *io,
			struct pipeline_walk *walk)
{
	struct rule *rule = decision->rule;

	rule_count_decided(rule, decision->match);
	if (rule->goto_hash)
		walk->goto_hash = rule->goto_hash;
	if (rule->kind->role != KIND_MODIFIER) {
		uint64_t id = note_hit(pipeline, rule, io, walk->now_ns, decision->match, 0);

		io->id = io->holder ? io->id : id;
		io->rule = rule;
		io->match = decision->match;
		return;
	}
	delay(pipeline, rule, io, walk, decision->match, decision->delay_ns);
}

_cold_ int pipeline_submit_decided(struct pipeline *pipeline, struct io *io, uint64_t now_ns,
				   const struct decision *decisions, size_t nr,
				   enum io_verdict *ret_verdict)
{
	struct pipeline_walk walk = { .now_ns = now_ns };

	check_io(pipeline, io);
	for (size_t i = 0; i < nr; i++)
		if (!decision_fits(&decisions[i], io, i + 1 == nr))
			return -EINVAL;
	for (size_t i = 0; i < nr; i++)
		act_decided(pipeline, &decisions[i], io, &walk);
	if (walk.goto_hash)
		atomic_store_explicit(&pipeline->state_hash, walk.goto_hash, memory_order_relaxed);
	*ret_verdict = go_on(pipeline, &pipeline->queues[io->queue], io, &walk);
	return 0;
}

enum io_verdict pipeline_resume(struct pipeline *pipeline, struct io *io, uint64_t now_ns)
{
	/* First the condition, then the incarnation: a revived disk shows its new one. */
	uint32_t condition = condition_bits(&pipeline->condition);
	bool died = io->incarnation !=
		    atomic_load_explicit(&pipeline->incarnation, memory_order_relaxed);
	struct plan *plan = io->plan;
	uint64_t refusals = store_refusals();
	struct rule *holder = io->holder;
	bool held = holder;
	int err = 0;

	assert(plan);
	if (held)
		err = hold_remove(&pipeline->holds[io->queue], io);
	if (died || condition & CONDITION_OFF)
		err = -EIO;
	else if (condition & CONDITION_GONE)
		err = -ENODEV;
	/* Once: who releases one that waits for other disks has it act alone. */
	if (!err && (!holder || holder != io->rule) && is_joint(pipeline, io->rule, condition)) {
		io->holder = io->rule;
		io->due_ns = UINT64_MAX;
		hold_add(&pipeline->holds[io->queue], io, now_ns);
		join(pipeline, io);
		return IO_PARKED;
	}
	if (err)
		io->result = err;
	else
		finish(pipeline, io, condition, now_ns);
	io->refused = store_refusals() != refusals;
	if (pipeline->recorder)
		recorder_end(pipeline->recorder, io, now_ns, held && io->released);
	/* From the release on the control thread may free the plan, and the rule with it. */
	io->plan = NULL;
	io->rule = NULL;
	atomic_fetch_sub_explicit(&plan->nr_parked, 1, memory_order_release);
	return IO_DONE;
}

void pipeline_adopt(struct pipeline *pipeline, uint16_t index)
{
	struct pipeline_queue *queue = &pipeline->queues[index];
	const struct plan *plan;

	freeze_point(&pipeline->freeze);
	plan = atomic_load_explicit(&pipeline->published, memory_order_acquire);
	if (hold_has_released(&pipeline->holds[index]))
		hold_unpark(&pipeline->holds[index], pipeline->unpark, pipeline->ctx);
	if (plan == queue->plan)
		return;
	if (pipeline->recorder)
		recorder_adopt(pipeline->recorder, index, plan->epoch);
	adopt(pipeline, queue, plan);
}

void pipeline_batch_done(struct pipeline *pipeline, uint16_t queue)
{
	if (pipeline->recorder)
		recorder_batch_done(pipeline->recorder, queue);
}

/* ------------------------------------------------------------------------------ plans */

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

/* Arm the rules that are new; on error those that were armed here are disarmed again. */
_cold_ static int arm_rules(struct pipeline *pipeline, const struct rule_set *set, uint64_t now_ns,
			    struct diag *diag)
{
	size_t count = rule_set_count(set), at = 0;
	_cleanup_free_ bool *first =
		fail_alloc("faults/engine/pipeline/arm", calloc(count + 1, sizeof(*first)));
	int err = first ? 0 : -ENOMEM;

	for (; !err && at < count; at++)
		err = rule_arm(rule_set_at(set, at), &pipeline->geometry, now_ns, diag, &first[at]);
	while (err && at--)
		if (first && first[at])
			rule_disarm(rule_set_at(set, at));
	return err;
}

_cold_ int pipeline_publish(struct pipeline *pipeline, const struct rule_set *set, uint64_t now_ns,
			    struct diag *diag, uint64_t *ret_epoch)
{
	struct plan *plan;
	int err;

	for (size_t i = 0; i < rule_set_count(set); i++) {
		err = rule_check(rule_set_at(set, i), &pipeline->geometry, diag);
		if (err < 0)
			return err;
	}
	plan = plan_new(set);
	err = plan ? arm_rules(pipeline, set, now_ns, diag) : -ENOMEM;
	if (err) {
		plan_free(plan);
		if (diag && !diag->message[0])
			diag_set(diag, err, "rule.memory", "no memory for %zu rules",
				 rule_set_count(set));
		return err;
	}
	if (pipeline->recorder)
		recorder_rules(pipeline->recorder, set, pipeline->plans->epoch + 1, now_ns);
	plan_watch(plan);
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

const struct rule_geometry *pipeline_geometry(const struct pipeline *pipeline)
{
	return &pipeline->geometry;
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
	const struct explain explain = {
		.set = pipeline->plans->set,
		.geometry = &pipeline->geometry,
		.seed = pipeline->seed,
		.state_hash = atomic_load_explicit(&pipeline->state_hash, memory_order_relaxed),
	};

	return explain_io(&explain, io, now_ns);
}

/* ------------------------------------------------------------------------------ what happens */

_cold_ size_t pipeline_held(struct pipeline *pipeline, struct held *held, size_t max)
{
	return hold_list(pipeline->holds, pipeline->geometry.nr_queues, held, max);
}

_cold_ size_t pipeline_release(struct pipeline *pipeline, const char *rule, uint64_t id,
			       size_t count)
{
	return hold_release(pipeline->holds, pipeline->geometry.nr_queues, rule, id, count);
}

struct recorder_disk *pipeline_recorder(const struct pipeline *pipeline)
{
	return pipeline->recorder;
}

struct event_log *pipeline_events(struct pipeline *pipeline)
{
	return pipeline->events;
}

_cold_ void pipeline_listen(struct pipeline *pipeline, bool listen)
{
	atomic_store(&pipeline->listening, listen && pipeline->wake);
}

_cold_ const char *pipeline_state(const struct pipeline *pipeline)
{
	uint64_t hash = atomic_load_explicit(&pipeline->state_hash, memory_order_relaxed);
	const struct rule_set *set = pipeline->plans->set;

	if (hash == rule_hash_name(RULE_STATE_START))
		return RULE_STATE_START;
	for (size_t i = 0; i < rule_set_count(set); i++) {
		const struct rule *rule = rule_set_at(set, i);

		if (rule->goto_hash == hash)
			return rule->word[WORD_goto].text;
		if (rule->state_hash == hash)
			return rule->word[WORD_state].text;
	}
	return "";
}

struct condition *pipeline_condition(struct pipeline *pipeline)
{
	return &pipeline->condition;
}

struct cache *pipeline_cache(const struct pipeline *pipeline)
{
	return pipeline->cache;
}

uint64_t pipeline_nr_volatile(const struct pipeline *pipeline)
{
	return pipeline->cache ? cache_nr_volatile(pipeline->cache) : 0;
}

static struct power_cut cut_of(const struct condition *condition)
{
	return (struct power_cut){
		.keep = (enum keep)atomic_load(&condition->keep),
		.bits = atomic_load(&condition->keep_bits),
		.threshold = atomic_load(&condition->keep_threshold),
	};
}

static struct power_cut_result take_losses(struct pipeline *pipeline, const struct power_cut *cut)
{
	struct power_cut_result result = { 0 };

	if (pipeline->cache)
		cache_cut(pipeline->cache, cut, pipeline->snapshots, &result);
	return result;
}

_cold_ uint32_t pipeline_revive(struct pipeline *pipeline, uint64_t *ret_lost)
{
	struct condition *condition = &pipeline->condition;
	uint32_t bits = condition_bits(condition);
	struct power_cut cut = cut_of(condition);
	uint64_t lost = 0;

	/* Whatever is parked belongs to the incarnation that ends; nothing is under way any more. */
	if (bits & CONDITION_DEAD) {
		atomic_fetch_add_explicit(&pipeline->incarnation, 1, memory_order_relaxed);
		atomic_store(&pipeline->joint_state, JOINT_NONE);
	}
	if (bits & CONDITION_OFF)
		lost = pipeline->crashed ? pipeline->lost : take_losses(pipeline, &cut).nr_lost;
	pipeline->crashed = false;
	if (pipeline->recorder)
		recorder_revive(pipeline->recorder, bits & CONDITION_OFF ? pipeline->store : NULL);
	condition_reset(condition, bits);
	if (ret_lost)
		*ret_lost = lost;
	return bits;
}

_cold_ int pipeline_crash(struct pipeline *pipeline, const struct power_cut *cut, bool remove,
			  struct power_cut_result *ret_result)
{
	assert(cut->keep != KEEP_PATTERN ||
	       (cut->nr_pattern && cut->nr_pattern <= KEEP_PATTERN_BITS));
	if (!condition_cut(&pipeline->condition, cut->keep, cut->bits, cut->threshold))
		return -EALREADY;
	if (remove)
		condition_remove(&pipeline->condition, 0);
	*ret_result = take_losses(pipeline, cut);
	pipeline->crashed = true;
	pipeline->lost = ret_result->nr_lost;
	return 0;
}

bool pipeline_joint(struct pipeline *pipeline, struct joint_cut *ret_joint)
{
	if (atomic_load(&pipeline->joint_state) != JOINT_MADE)
		return false;
	*ret_joint = pipeline->joint;
	return true;
}

bool pipeline_joint_end(struct pipeline *pipeline, const struct joint_cut *joint)
{
	struct condition *condition = &pipeline->condition;
	const struct power_cut *cut = &joint->cut;
	bool now = false;

	/* What has been revived since was cut, and waits for another one, if for any. */
	if (joint->incarnation != atomic_load(&pipeline->incarnation))
		return false;
	if (!(condition_bits(condition) & CONDITION_DEAD))
		now = joint->unplug ? condition_remove(condition, joint->gone_ns)
				    : condition_cut(condition, cut->keep, cut->bits, cut->threshold);
	atomic_store(&pipeline->joint_state, JOINT_NONE);
	return now;
}

/* ------------------------------------------------------------------------------ stopped queues */

_cold_ void pipeline_freeze(struct pipeline *pipeline)
{
	freeze_begin(&pipeline->freeze);
}

_cold_ bool pipeline_is_frozen(struct pipeline *pipeline)
{
	return freeze_count(&pipeline->freeze) == pipeline->geometry.nr_queues;
}

_cold_ void pipeline_thaw(struct pipeline *pipeline)
{
	freeze_end(&pipeline->freeze);
}

struct snapshots *pipeline_snapshots(const struct pipeline *pipeline)
{
	return pipeline->snapshots;
}

/* Queues that wait see it when they go on. */
static void tell_queues(struct pipeline *pipeline)
{
	bool any = snapshots_any(pipeline->snapshots);

	for (uint16_t i = 0; i < pipeline->geometry.nr_queues; i++)
		pipeline->queues[i].backing.snapshots = any ? pipeline->snapshots : NULL;
}

_cold_ int pipeline_snapshot_add(struct pipeline *pipeline, const char *name, uint64_t time_ns,
				 struct snapshot **ret_snapshot)
{
	int err = snapshots_add(pipeline->snapshots, name, time_ns, ret_snapshot);

	tell_queues(pipeline);
	return err;
}

_cold_ int pipeline_snapshot_remove(struct pipeline *pipeline, struct snapshot *snapshot)
{
	int err = snapshots_remove(pipeline->snapshots, snapshot);

	tell_queues(pipeline);
	return err;
}

_cold_ int pipeline_snapshot_restore(struct pipeline *pipeline, struct snapshot *snapshot,
				     uint64_t *ret_bytes)
{
	int err = snapshots_restore(pipeline->snapshots, snapshot, ret_bytes);

	if (pipeline->cache)
		cache_flush(pipeline->cache);
	return err;
}

_cold_ int pipeline_share(struct pipeline *pipeline)
{
	int err = 0;

	if (pipeline->geometry.nr_queues == 1 && !pipeline->nr_sharers)
		err = store_share(pipeline->store, shared_unit(pipeline));
	pipeline->nr_sharers += !err;
	return err;
}

_cold_ void pipeline_unshare(struct pipeline *pipeline)
{
	assert(pipeline->nr_sharers);
	if (!--pipeline->nr_sharers && pipeline->geometry.nr_queues == 1)
		store_unshare(pipeline->store);
}
