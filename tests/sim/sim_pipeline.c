// SPDX-License-Identifier: MIT
/*
 * Random rules and random requests, in virtual time, against a model that was written without
 * looking at the engine's indices: it walks all rules one by one, keeps the disk as an array of
 * bytes and tears sector by sector. Of the project it uses rng_mix() only. After every step the
 * verdict, the due time, the result, the data read, the rule that hit and the whole disk must
 * agree.
 *
 *	sim_pipeline [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the rule slots in use
 *
 * A failing round is repeated with fewer rules until none can be left out.
 */
#include "base/cleanup.h"
#include "base/rng.h"
#include "faults/engine/pipeline.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SEC = 512,
	MAX_SECTORS = 128,
	MAX_LEN = 24 * SEC,
	SLOTS = 12,   /* rules at most */
	WAITING = 16, /* parked requests at most */
	STEPS = 300,  /* per round */
	DEFAULT_ROUNDS = 400,
};

enum model_kind {
	MODEL_ERROR,
	MODEL_DELAY,
	MODEL_COUNT,
	MODEL_KEEP,
	MODEL_KEEP_LAST,
	MODEL_RANDOM
};

/* A rule as the model knows it: plain numbers, made by make_rule() along with the text. */
struct model_rule {
	bool used;
	char text[512];
	char name[32];
	unsigned int ops; /* bits of enum io_op that are asked for, kind and selectors considered */
	bool has_range, has_len, has_min, has_max;
	uint64_t from, to, len, min_len, max_len;
	uint32_t flags;
	int queue;
	uint64_t after, every, times, for_ns, armed_ns;
	double p;
	enum model_kind kind;
	int err;        /* error and torn: 0 is success */
	bool carry_out; /* error: after */
	uint64_t low_ns, high_ns;
	uint64_t keep, unit;
	double share;
	uint64_t matches, hits;
};

/* What the model expects of a request that waits, or is finished at once. */
struct expected {
	bool hit;
	struct model_rule rule; /* a copy: the rule may be replaced while the request waits */
	uint64_t bits;
	uint64_t delay_ns;
};

struct request {
	struct io io;
	bool waiting;
	struct expected expected;
	unsigned char data[MAX_LEN];
};

struct sim {
	struct frame frame;
	uint32_t nr_sectors, block;
	uint16_t nr_queues;
	uint64_t now_ns, disk_seed;
	struct model_rule rules[SLOTS];
	struct request requests[WAITING];
	unsigned char disk[MAX_SECTORS * SEC];
	struct store *store;
	struct pipeline *pipeline;
	struct rule_set *set;
	uint64_t nr_requests, nr_rules;
};

/* ---- random rules ------------------------------------------------------------------------ */

static const struct {
	const char *word;
	uint32_t flag;
} flag_words[] = { { "fua", IO_FUA },
		   { "meta", IO_META },
		   { "swap", IO_SWAP },
		   { "nounmap", IO_NOUNMAP },
		   { "failfast-dev", IO_FAILFAST_DEV } };
static const struct {
	const char *word;
	int number;
} errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "ETIMEDOUT", ETIMEDOUT }, { "EBUSY", EBUSY }
};

static void make_selectors(struct sim *sim, struct model_rule *rule)
{
	if (!draw(sim, 3)) {
		rule->has_range = true;
		rule->from = draw(sim, sim->nr_sectors) * SEC;
		rule->to = rule->from + (1 + draw(sim, sim->nr_sectors - rule->from / SEC)) * SEC;
		if (draw(sim, 6)) {
			say(rule, " range=%" PRIu64 "s..%" PRIu64, rule->from / SEC, rule->to);
		} else {
			rule->to = UINT64_MAX;
			say(rule, " range=%" PRIu64 "..", rule->from);
		}
	}
	if (!draw(sim, 8)) {
		rule->has_len = true;
		rule->len = (1 + draw(sim, 12)) * SEC;
		say(rule, " len=%" PRIu64, rule->len);
	} else if (!draw(sim, 5)) {
		rule->has_min = true;
		rule->min_len = 1 + draw(sim, 5000);
		say(rule, " min-len=%" PRIu64, rule->min_len);
	} else if (!draw(sim, 5)) {
		rule->has_max = true;
		rule->max_len = SEC + draw(sim, 5000);
		say(rule, " max-len=%" PRIu64, rule->max_len);
	}
	if (!draw(sim, 8)) {
		size_t f = draw(sim, array_size(flag_words));

		rule->flags = flag_words[f].flag;
		say(rule, " flags=%s", flag_words[f].word);
	}
	if (!draw(sim, 8)) {
		rule->queue = (int)draw(sim, sim->nr_queues);
		say(rule, " queue=%d", rule->queue);
	}
}

static void make_triggers(struct sim *sim, struct model_rule *rule)
{
	if (!draw(sim, 3))
		say(rule, " after=%" PRIu64, rule->after = draw(sim, 8));
	if (!draw(sim, 3))
		say(rule, " every=%" PRIu64, rule->every = 1 + draw(sim, 4));
	if (!draw(sim, 3))
		say(rule, " times=%" PRIu64, rule->times = 1 + draw(sim, 6));
	if (!draw(sim, 6))
		say(rule, " for=%" PRIu64 "us",
		    (rule->for_ns = (1 + draw(sim, 400)) * 1000) / 1000);
	if (!draw(sim, 2)) {
		char share[16];

		snprintf(share, sizeof(share), "%u.%03u", draw(sim, 8) ? 0 : 1, 0);
		if (share[0] == '0')
			snprintf(share, sizeof(share), "0.%03u", (unsigned int)draw(sim, 1000));
		rule->p = strtod(share, NULL);
		say(rule, " p=%s", share);
	}
}

static void make_torn(struct sim *sim, struct model_rule *rule)
{
	rule->unit = sim->block;
	if (draw(sim, 2))
		rule->unit *= 1 + draw(sim, 4);
	rule->keep = rule->unit * draw(sim, 6);
	rule->share = 0.5;
	say(rule, " do=torn:unit=%" PRIu64, rule->unit);
	if (rule->kind == MODEL_KEEP)
		say(rule, ",keep=%" PRIu64, rule->keep);
	else if (rule->kind == MODEL_KEEP_LAST)
		say(rule, ",keep-last=%" PRIu64, rule->keep);
	else
		say(rule, ",random");
	if (rule->kind == MODEL_RANDOM && draw(sim, 2))
		say(rule, ",p=%d%%", (int)(100 * (rule->share = (double)draw(sim, 5) / 4)));
	if (draw(sim, 2)) {
		size_t e = draw(sim, array_size(errors));

		rule->err = errors[e].number;
		say(rule, e ? ",fail=%s" : ",fail", errors[e].word);
	}
}

static void make_action(struct sim *sim, struct model_rule *rule)
{
	size_t e = draw(sim, array_size(errors));

	switch (rule->kind) {
	case MODEL_ERROR:
		rule->err = errors[e].number;
		rule->carry_out = draw(sim, 2);
		say(rule, " do=error:%s%s", errors[e].word, rule->carry_out ? ",after" : "");
		break;
	case MODEL_DELAY:
		rule->low_ns = draw(sim, 50) * 1000;
		rule->high_ns = rule->low_ns + draw(sim, 2) * draw(sim, 50000);
		say(rule, " do=delay:%" PRIu64 "us..%" PRIu64 "ns", rule->low_ns / 1000,
		    rule->high_ns);
		break;
	case MODEL_COUNT:
		say(rule, " do=count");
		break;
	case MODEL_KEEP:
	case MODEL_KEEP_LAST:
	case MODEL_RANDOM:
		make_torn(sim, rule);
		break;
	}
}

static void make_rule(struct sim *sim, unsigned int slot)
{
	static const enum model_kind kinds[] = { MODEL_ERROR, MODEL_DELAY, MODEL_DELAY,
						 MODEL_COUNT, MODEL_KEEP,  MODEL_KEEP_LAST,
						 MODEL_RANDOM };
	struct model_rule *rule = &sim->rules[slot];
	unsigned int can, flush = 1u << IO_FLUSH;

	*rule = (struct model_rule){ .used = true,
				     .queue = -1,
				     .every = 1,
				     .times = UINT64_MAX,
				     .for_ns = UINT64_MAX,
				     .p = 1,
				     .armed_ns = sim->now_ns };
	snprintf(rule->name, sizeof(rule->name), "rule-%u", slot);
	say(rule, "%s", rule->name);
	rule->kind = kinds[draw(sim, array_size(kinds))];
	can = rule->kind <= MODEL_COUNT ? 31 : 1u << IO_WRITE | 1u << IO_DISCARD | 1u << IO_ZEROES;
	rule->ops = can;
	make_selectors(sim, rule);
	if (rule->has_range || rule->has_len || rule->has_min || rule->has_max)
		rule->ops = can & ~flush;
	if (draw(sim, 2)) {
		unsigned int op;

		do {
			op = (unsigned int)draw(sim, IO_NR_OPS);
		} while (!(rule->ops >> op & 1));
		rule->ops = 1u << op;
		say(rule, " op=%s", op_words[op]);
	}
	make_triggers(sim, rule);
	make_action(sim, rule);
	sim->nr_rules++;
}

/* ---- the model --------------------------------------------------------------------------- */

static bool model_selects(const struct model_rule *rule, const struct io *io)
{
	uint64_t first = io->sector * SEC, last = first + io->len_bytes - 1;

	if (!(rule->ops >> io->op & 1))
		return false;
	if (rule->has_range && (last < rule->from || first >= rule->to))
		return false;
	if ((rule->has_len && io->len_bytes != rule->len) ||
	    (rule->has_min && io->len_bytes < rule->min_len) ||
	    (rule->has_max && io->len_bytes > rule->max_len))
		return false;
	return !(rule->flags & ~io->flags) && (rule->queue == -1 || rule->queue == io->queue);
}

static bool model_hits(const struct sim *sim, struct model_rule *rule, uint64_t *ret_n)
{
	uint64_t n = *ret_n = rule->matches++;

	if (rule->for_ns != UINT64_MAX && sim->now_ns - rule->armed_ns >= rule->for_ns)
		return false;
	if (n < rule->after || (n - rule->after) % rule->every != rule->every - 1)
		return false;
	if (rule->hits == rule->times ||
	    !below(rng_mix(sim->disk_seed, stream_of(rule->name), n), rule->p))
		return false;
	rule->hits++;
	return true;
}

static struct expected model_submit(struct sim *sim, const struct io *io)
{
	struct expected expected = { .hit = false };

	for (int i = 0; i < SLOTS; i++) {
		struct model_rule *rule = &sim->rules[i];
		uint64_t n;

		if (!rule->used || !model_selects(rule, io) || !model_hits(sim, rule, &n))
			continue;
		if (rule->kind == MODEL_COUNT)
			continue;
		expected.bits = rng_mix(sim->disk_seed, ~stream_of(rule->name), n);
		if (rule->kind != MODEL_DELAY) {
			expected.hit = true;
			expected.rule = *rule;
			break;
		}
		expected.delay_ns +=
			rule->low_ns + rng_below(expected.bits, rule->high_ns - rule->low_ns + 1);
	}
	return expected;
}

/* Does this sector of the request reach the disk? */
static bool model_keeps(const struct expected *expected, const struct io *io, uint64_t sector)
{
	const struct model_rule *rule = &expected->rule;
	uint64_t start = io->sector * SEC, end = start + io->len_bytes;
	uint64_t unit_start, unit_end;

	if (!expected->hit)
		return true;
	if (rule->kind == MODEL_ERROR)
		return rule->carry_out;
	unit_start = sector * SEC / rule->unit * rule->unit;
	unit_end = unit_start + rule->unit;
	if (rule->kind == MODEL_RANDOM)
		return below(
			rng_mix(expected->bits, 0, unit_start / rule->unit - start / rule->unit),
			rule->share);
	/* A whole unit, or what the request has of it, must lie inside the kept bytes. */
	if (rule->kind == MODEL_KEEP)
		return (unit_end < end ? unit_end : end) <= start + rule->keep;
	return (unit_start > start ? unit_start : start) + rule->keep >= end;
}

/* Act on the model's disk; what a read brings goes to @data. Returns the result. */
static int model_act(struct sim *sim, const struct expected *expected, const struct io *io,
		     const unsigned char *from, unsigned char *data)
{
	uint32_t nr = io->op == IO_FLUSH ? 0 : io->len_bytes / SEC;

	for (uint32_t i = 0; i < nr; i++) {
		unsigned char *disk = sim->disk + (io->sector + i) * SEC;

		if (!model_keeps(expected, io, io->sector + i))
			continue;
		if (io->op == IO_READ)
			memcpy(data + i * SEC, disk, SEC);
		else if (io->op == IO_WRITE)
			memcpy(disk, from + i * SEC, SEC);
		else
			memset(disk, 0, SEC);
	}
	if (expected->hit && expected->rule.err)
		return -expected->rule.err;
	return io->op == IO_READ || io->op == IO_WRITE ? (int)io->len_bytes : 0;
}

/* ---- steps ------------------------------------------------------------------------------- */

static void show(const struct sim *sim, const struct io *io)
{
	if (sim->frame.verbose)
		printf("  %s sector %" PRIu64 " len %u flags %u queue %u at %" PRIu64 " ns\n",
		       op_words[io->op], io->sector, io->len_bytes, io->flags, io->queue,
		       sim->now_ns);
}

static bool check_done(struct sim *sim, struct request *request, const unsigned char *before)
{
	unsigned char want[MAX_LEN];
	int result;

	memcpy(want, before, MAX_LEN);
	result = model_act(sim, &request->expected, &request->io, before, want);
	if (request->io.result != result)
		return fail(sim, "result %d, expected %d", request->io.result, result);
	if (memcmp(request->data, want, MAX_LEN) != 0)
		return fail(sim, "the request's data differs");
	for (uint32_t s = 0; s < sim->nr_sectors; s++)
		if (memcmp(store_data(sim->store) + s * SEC, sim->disk + s * SEC, SEC) != 0)
			return fail(sim, "sector %u of the disk differs", s);
	return true;
}

static void make_request(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;

	*io = (struct io){ .op = (uint8_t)draw(sim, IO_NR_OPS), .data = request->data };
	io->queue = (uint16_t)draw(sim, sim->nr_queues);
	for (size_t f = 0; f < array_size(flag_words); f++)
		if (!draw(sim, 4))
			io->flags |= flag_words[f].flag;
	if (io->op != IO_FLUSH) {
		io->sector = draw(sim, sim->nr_sectors);
		io->len_bytes = (uint32_t)(1 + draw(sim, MAX_LEN / SEC)) * SEC;
		if (io->sector + io->len_bytes / SEC > sim->nr_sectors)
			io->len_bytes = (uint32_t)(sim->nr_sectors - io->sector) * SEC;
	}
	for (size_t i = 0; i < MAX_LEN; i += 8) {
		uint64_t bits = rng_mix(sim->frame.seed, 2, sim->nr_requests * MAX_LEN + i);

		memcpy(request->data + i, &bits, 8);
	}
	sim->nr_requests++;
}

/* What explain() foretold just before must be what the model then did. */
static bool check_explained(struct sim *sim, const char *text, const struct expected *expected)
{
	bool hit = text && strstr(text, "\n") && strstr(text, "as the last rule says\n");
	bool delay = text && (strncmp(text, "after ", 6) == 0 || strstr(text, "\nafter "));

	if (hit == expected->hit && delay == (expected->delay_ns > 0))
		return true;
	return fail(sim, "explained as\n%s", text ? text : "nothing");
}

static bool submit(struct sim *sim, struct request *request)
{
	_cleanup_free_ char *explained = NULL;
	const struct expected *expected = &request->expected;
	unsigned char before[MAX_LEN];
	enum io_verdict verdict;
	struct io *io = &request->io;

	make_request(sim, request);
	memcpy(before, request->data, MAX_LEN);
	show(sim, io);
	explained = pipeline_explain(sim->pipeline, io, sim->now_ns);
	verdict = pipeline_submit(sim->pipeline, io, sim->now_ns);
	request->expected = model_submit(sim, io);
	if (!check_explained(sim, explained, expected))
		return false;
	if (!io->rule != !expected->hit ||
	    (io->rule && strcmp(rule_name(io->rule), expected->rule.name)))
		return fail(sim, "rule %s hit, expected %s",
			    io->rule ? rule_name(io->rule) : "none",
			    expected->hit ? expected->rule.name : "none");
	if (verdict != (expected->delay_ns ? IO_PARKED : IO_DONE))
		return fail(sim, "verdict %d, but %" PRIu64 " ns expected", verdict,
			    expected->delay_ns);
	if (verdict == IO_DONE)
		return check_done(sim, request, before);
	if (io->due_ns != sim->now_ns + expected->delay_ns)
		return fail(sim, "due at %" PRIu64 ", expected %" PRIu64, io->due_ns,
			    sim->now_ns + expected->delay_ns);
	request->waiting = true;
	return true;
}

static bool resume(struct sim *sim, struct request *request)
{
	unsigned char before[MAX_LEN];

	show(sim, &request->io);
	memcpy(before, request->data, MAX_LEN);
	pipeline_resume(sim->pipeline, &request->io, sim->now_ns);
	request->waiting = false;
	return check_done(sim, request, before);
}

/* Put the model's rule of this slot into the set and publish it; every queue adopts. */
static bool publish(struct sim *sim, unsigned int slot)
{
	const struct model_rule *model = &sim->rules[slot];
	const char *before = NULL;
	struct rule *rule = NULL;
	struct diag diag = { 0 };
	uint64_t epoch;
	int err;

	/* Slots are in order, whatever order they are filled in. */
	for (unsigned int i = slot + 1; i < SLOTS && !before; i++)
		if (rule_set_find(sim->set, sim->rules[i].name))
			before = sim->rules[i].name;
	err = rule_parse(model->text, strlen(model->text), &diag, &rule);
	if (err == 0)
		err = rule_set_put(sim->set, rule, before, &diag);
	if (err == 0)
		err = pipeline_publish(sim->pipeline, sim->set, sim->now_ns, &diag, &epoch);
	rule_unref(rule);
	if (err < 0)
		return fail(sim, "'%s': %s: %s", model->text, diag.id, diag.message);
	for (uint16_t q = 0; q < sim->nr_queues; q++)
		pipeline_adopt(sim->pipeline, q);
	return pipeline_adopted(sim->pipeline, epoch) || fail(sim, "the plan is not adopted");
}

#include "tests/sim/rules.h"

static bool step(struct sim *sim, unsigned int mask)
{
	unsigned int slot = (unsigned int)draw(sim, SLOTS);
	struct request *request = &sim->requests[draw(sim, WAITING)];

	sim->now_ns += draw(sim, 3000);
	if (sim->frame.step < 6 || !draw(sim, 40))
		return change_rule(sim, slot, mask);
	return request->waiting ? resume(sim, request) : submit(sim, request);
}

static bool run_steps(struct sim *sim, unsigned int mask)
{
	for (sim->frame.step = 0; sim->frame.step < STEPS; sim->frame.step++)
		if (!step(sim, mask))
			return false;
	for (int i = 0; i < WAITING; i++)
		if (sim->requests[i].waiting && !resume(sim, &sim->requests[i]))
			return false;
	if (!check_counts(sim))
		return false;
	if (!pipeline_adopted(sim->pipeline, 0) || pipeline_nr_plans(sim->pipeline) != 1)
		return fail(sim, "plans are left over");
	return true;
}

static void set_up(struct sim *sim, uint64_t seed)
{
	static const uint32_t blocks[] = { 512, 512, 1024, 4096 };
	struct pipeline_options options;

	sim->frame.seed = seed;
	sim->nr_sectors = 16 + 8 * (uint32_t)draw(sim, (MAX_SECTORS - 16) / 8 + 1);
	sim->block = blocks[draw(sim, array_size(blocks))];
	sim->nr_queues = (uint16_t)(1 + draw(sim, 3));
	sim->disk_seed = draw(sim, UINT64_MAX);
	sim->now_ns = draw(sim, 1000000);
	for (unsigned int i = 0; i < SLOTS; i++)
		snprintf(sim->rules[i].name, sizeof(sim->rules[i].name), "rule-%u", i);
	options = (struct pipeline_options){
		.geometry = { .size_bytes = (uint64_t)sim->nr_sectors * SEC,
			      .block_bytes = sim->block,
			      .nr_queues = sim->nr_queues },
		.seed = sim->disk_seed,
	};
	sim->set = rule_set_new();
	if (!sim->set || store_create(options.geometry.size_bytes, NULL, &sim->store) < 0 ||
	    pipeline_create(sim->store, &options, &sim->pipeline) < 0) {
		fprintf(stderr, "sim_pipeline: no memory\n");
		exit(1);
	}
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	uint64_t nr_requests = sim->nr_requests, nr_rules = sim->nr_rules;
	bool ok;

	memset(sim, 0, sizeof(*sim));
	sim->frame.verbose = verbose;
	set_up(sim, seed);
	ok = run_steps(sim, mask);
	for (int i = 0; i < WAITING; i++)
		if (sim->requests[i].waiting)
			pipeline_resume(sim->pipeline, &sim->requests[i].io, 0);
	pipeline_free(sim->pipeline);
	rule_set_free(sim->set);
	store_free(sim->store);
	sim->nr_requests += nr_requests;
	sim->nr_rules += nr_rules;
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " requests, %" PRIu64 " rules", sim->nr_requests, sim->nr_rules);
}

SIM_MAIN("sim_pipeline", DEFAULT_ROUNDS, SLOTS)
