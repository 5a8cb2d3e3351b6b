// SPDX-License-Identifier: MIT
/*
 * The kinds that change the disk for longer, in virtual time, against a model that was written
 * without looking at the engine: bad blocks, short lives, power cuts, behind a volatile cache or
 * without one. The model keeps the disk as bytes, a copy of what is durable of each block, a flag
 * for each bad block of each rule, and walks all rules one by one. Of the project it uses rng_mix()
 * only. After every step the verdict, the due time, the result, the data read, the disk, its
 * condition and the number of volatile blocks must agree.
 *
 *	sim_disk [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the rule slots in use
 *
 * A failing round is repeated with fewer rules until none can be left out.
 */
#include "base/cleanup.h"
#include "base/rng.h"
#include "faults/engine/pipeline.h"
#include "faults/rule/ast.h"
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
	PAGE = 8, /* sectors: what is written or not, as ENOSPC goes */
	MAX_SECTORS = 128,
	MAX_LEN = 24 * SEC,
	SLOTS = 8,
	WAITING = 8,
	STEPS = 400,
	DEFAULT_ROUNDS = 400,
};

enum model_kind { DELAY, BAD, READ_ONLY, NO_SPACE, SHRINK, GONE, CUT, NR_MODELS };

struct model_rule {
	bool used;
	char text[256], name[16];
	unsigned int ops;
	bool has_range;
	uint32_t from, to; /* sectors */
	uint64_t after, times;
	double p;
	enum model_kind kind;
	uint64_t delay_ns;
	int err;
	unsigned int remap;
	uint32_t end; /* shrink: sectors */
	int keep;     /* 0 none, 1 all, 2 random */
	double share;
	uint32_t first, unit; /* the power goes inside of the request, unit not 0: sectors */
	uint64_t matches, hits;
	bool bad[MAX_SECTORS]; /* by block */
	unsigned int fails[MAX_SECTORS];
};

struct request {
	struct io io;
	bool waiting;
	int slot; /* of the terminal rule that hit, or -1 */
	struct model_rule rule;
	uint64_t bits;
	unsigned int incarnation;
	unsigned char data[MAX_LEN];
};

struct model_cut {
	int keep;
	uint64_t bits;
	double share;
};

struct sim {
	struct frame frame;
	uint32_t nr_sectors, block; /* sectors of a block */
	uint16_t nr_queues;
	bool cache;
	uint64_t now_ns, disk_seed;
	struct model_rule rules[SLOTS];
	unsigned int arming[SLOTS]; /* counts the rules that a slot has held */
	struct request requests[WAITING];
	unsigned int armed_of[WAITING];
	/* The model's disk. */
	unsigned char disk[MAX_SECTORS * SEC], durable[MAX_SECTORS * SEC];
	bool is_volatile[MAX_SECTORS];
	bool taken[MAX_SECTORS / PAGE + 1]; /* it holds space */
	bool held[MAX_SECTORS / PAGE + 1];  /* it has memory: its zeroes are more than that */
	uint64_t capacity;                  /* pages that may be taken; UINT64_MAX: all */
	bool read_only, no_space, gone, off;
	uint32_t end; /* 0: not shrunk */
	struct model_cut cut;
	unsigned int incarnation;
	struct store *store;
	struct pipeline *pipeline;
	struct rule_set *set;
	uint64_t nr_requests, nr_rules, nr_cuts, nr_lost;
};

/* ---- random rules ------------------------------------------------------------------------ */

static const unsigned int flush_bit = 1u << IO_FLUSH, all_ops = (1u << IO_NR_OPS) - 1;

static void make_selectors(struct sim *sim, struct model_rule *rule)
{
	uint32_t blocks = sim->nr_sectors / sim->block;

	rule->ops = rule->kind == BAD ? 1u << IO_READ : all_ops;
	if (!draw(sim, 2)) {
		rule->has_range = true;
		rule->from = (uint32_t)draw(sim, blocks) * sim->block;
		rule->to = rule->from +
			   (uint32_t)(1 + draw(sim, blocks - rule->from / sim->block)) * sim->block;
		rule->ops &= ~flush_bit;
		say(rule, " range=%us..%us", rule->from, rule->to);
	} else {
		rule->to = sim->nr_sectors;
	}
	if (rule->kind != BAD && draw(sim, 3)) {
		unsigned int op;

		do {
			op = (unsigned int)draw(sim, IO_NR_OPS);
		} while (!(rule->ops >> op & 1));
		rule->ops = 1u << op;
		say(rule, " op=%s", op_words[op]);
	}
	if (draw(sim, 2))
		say(rule, " after=%" PRIu64, rule->after = draw(sim, 20));
	if (!draw(sim, 3))
		say(rule, " times=%" PRIu64, rule->times = 1 + draw(sim, 6));
	if (rule->kind > BAD || !draw(sim, 3))
		say(rule, " p=%d%%", (int)(100 * (rule->p = (double)(1 + draw(sim, 3)) / 4)));
}

static void make_cut(struct sim *sim, struct model_rule *rule)
{
	static const char *const keeps[] = { "none", "all", "random" };
	bool first = draw(sim, 2);

	rule->keep = (int)draw(sim, 3);
	rule->share = 0.5;
	say(rule, " do=powercut");
	if (first) {
		/* Without a cache also inside of a block. */
		rule->unit = sim->cache || draw(sim, 2) ? sim->block << draw(sim, 3) : 1;
		rule->first = rule->unit * (uint32_t)draw(sim, 6);
		say(rule, ":keep=first:%us,unit=%us", rule->first, rule->unit);
	}
	if (rule->keep || draw(sim, 2))
		say(rule, "%s=%s", first ? ",rest" : ":keep", keeps[rule->keep]);
	if (rule->keep == 2 && draw(sim, 2))
		say(rule, ",share=%d%%", (int)(100 * (rule->share = (double)draw(sim, 5) / 4)));
}

static void make_action(struct sim *sim, struct model_rule *rule)
{
	switch (rule->kind) {
	case DELAY:
		say(rule, " do=delay:%" PRIu64 "ns", rule->delay_ns = draw(sim, 9000));
		break;
	case BAD:
		rule->err = draw(sim, 2) ? EIO : ENODATA;
		rule->remap = draw(sim, 2) ? (unsigned int)(1 + draw(sim, 3)) : 0;
		say(rule, " do=badblock%s", rule->err == EIO ? "" : ":ENODATA");
		if (rule->remap)
			say(rule, "%cremap=%u", rule->err == EIO ? ':' : ',', rule->remap);
		for (uint32_t b = rule->from; rule->has_range && b < rule->to; b += sim->block)
			rule->bad[b / sim->block] = true;
		break;
	case READ_ONLY:
		say(rule, " do=short-life:read-only");
		break;
	case NO_SPACE:
		say(rule, " do=short-life:no-space");
		break;
	case SHRINK:
		rule->end =
			sim->block * (uint32_t)(1 + draw(sim, sim->nr_sectors / sim->block - 1));
		say(rule, " do=short-life:shrink=%us", rule->end);
		break;
	case GONE:
		say(rule, " do=short-life:gone%s", draw(sim, 2) ? "=3s" : "");
		break;
	case CUT:
		make_cut(sim, rule);
		break;
	case NR_MODELS:
		break;
	}
}

static void make_rule(struct sim *sim, unsigned int slot)
{
	static const enum model_kind kinds[] = { DELAY,    DELAY,  BAD,  BAD, BAD, READ_ONLY,
						 NO_SPACE, SHRINK, GONE, CUT, CUT, CUT };
	struct model_rule *rule = &sim->rules[slot];

	*rule = (struct model_rule){ .used = true, .times = UINT64_MAX, .p = 1 };
	snprintf(rule->name, sizeof(rule->name), "rule-%u", slot);
	say(rule, "%s", rule->name);
	rule->kind = kinds[draw(sim, array_size(kinds))];
	make_selectors(sim, rule);
	make_action(sim, rule);
	sim->arming[slot]++;
	sim->nr_rules++;
}

/* ---- the model --------------------------------------------------------------------------- */

static uint32_t first_of(const struct io *io)
{
	return (uint32_t)io->sector;
}

static uint32_t end_of(const struct io *io)
{
	return (uint32_t)(io->sector + io->len_bytes / SEC);
}

/* The first block of the request that the rule holds for bad, or -1. */
static int bad_block(const struct sim *sim, const struct model_rule *rule, const struct io *io)
{
	for (uint32_t s = first_of(io); s < end_of(io); s++)
		if (rule->bad[s / sim->block])
			return (int)(s / sim->block);
	return -1;
}

static bool model_hits(struct sim *sim, struct model_rule *rule, const struct io *io,
		       uint64_t *ret_bits)
{
	uint64_t n;

	if (!rule->used || !(rule->ops >> io->op & 1))
		return false;
	if (rule->has_range && (end_of(io) <= rule->from || first_of(io) >= rule->to))
		return false;
	if (rule->kind == BAD && bad_block(sim, rule, io) < 0)
		return false;
	n = rule->matches++;
	if (n < rule->after || rule->hits == rule->times ||
	    !below(rng_mix(sim->disk_seed, stream_of(rule->name), n), rule->p))
		return false;
	rule->hits++;
	*ret_bits = rng_mix(sim->disk_seed, ~stream_of(rule->name), n);
	return true;
}

/* Before sectors [s, end) change: what of them was durable is kept. */
static void model_save(struct sim *sim, uint32_t s, uint32_t end, bool punch)
{
	for (; s < end && sim->cache; s++) {
		uint32_t block = s / sim->block, bytes = sim->block * SEC;

		if (sim->is_volatile[block] || (punch && !sim->held[s / PAGE]))
			continue;
		sim->is_volatile[block] = true;
		memcpy(sim->durable + block * bytes, sim->disk + block * bytes, bytes);
	}
}

/* After it: whole blocks are good again. */
static void model_heal(struct sim *sim, uint32_t from, uint32_t end)
{
	for (uint32_t b = (from + sim->block - 1) / sim->block; b < end / sim->block; b++)
		for (int i = 0; i < SLOTS; i++) {
			sim->rules[i].bad[b] = false;
			sim->rules[i].fails[b] = 0;
		}
}

static bool takes_space(const struct io *io)
{
	return io->op == IO_WRITE || (io->op == IO_ZEROES && io->flags & IO_NOUNMAP);
}

/* Is there space for sectors [from, end)? */
static bool model_fits(const struct sim *sim, const struct io *io, uint32_t from, uint32_t end)
{
	uint64_t used = 0, fresh = 0;

	for (uint32_t page = 0; page <= (sim->nr_sectors - 1) / PAGE; page++) {
		used += sim->taken[page];
		fresh += !sim->taken[page] && from < (page + 1) * PAGE && end > page * PAGE;
	}
	return !takes_space(io) || !fresh || used + fresh <= sim->capacity;
}

static bool all_zero(const unsigned char *data, size_t len)
{
	while (len && !data[len - 1])
		len--;
	return !len;
}

/* Pages that a write leaves all zero get no memory. */
static void model_hold(struct sim *sim, const struct io *io, const unsigned char *data,
		       uint32_t from, uint32_t end)
{
	for (uint32_t s = from, to; s < end; s = to) {
		to = (s / PAGE + 1) * PAGE < end ? (s / PAGE + 1) * PAGE : end;
		if (!all_zero(data + (s - io->sector) * SEC, (to - s) * SEC))
			sim->held[s / PAGE] = true;
	}
}

/* Carry out sectors [from, end) of a request that changes the disk, for which there is space. */
static void model_change(struct sim *sim, const struct io *io, const unsigned char *data,
			 uint32_t from, uint32_t end)
{
	bool keep = takes_space(io), durable = keep && io->flags & IO_FUA && sim->cache;
	bool punch = io->op == IO_DISCARD || (io->op == IO_ZEROES && !durable);

	model_save(sim, from, end, punch);
	if (io->op == IO_WRITE)
		model_hold(sim, io, data, from, end);
	for (uint32_t s = from; s < end; s++) {
		if (io->op == IO_WRITE)
			memcpy(sim->disk + s * SEC, data + (s - io->sector) * SEC, SEC);
		else
			memset(sim->disk + s * SEC, 0, SEC);
		if (punch && s % PAGE == 0 && s + PAGE <= end)
			sim->held[s / PAGE] = sim->taken[s / PAGE] = false;
		if (keep)
			sim->taken[s / PAGE] = true;
		if (durable)
			sim->is_volatile[s / sim->block] = false;
	}
	model_heal(sim, from, end);
}

static int model_verdict(const struct sim *sim, const struct io *io)
{
	if (sim->gone)
		return -ENODEV;
	if (sim->off || (sim->end && io->op != IO_FLUSH && end_of(io) > sim->end))
		return -EIO;
	if (sim->read_only && io->op != IO_READ && io->op != IO_FLUSH)
		return -EIO;
	for (uint32_t s = first_of(io); sim->no_space && takes_space(io) && s < end_of(io); s++)
		if (!sim->taken[s / PAGE])
			return -ENOSPC;
	return 0;
}

static int model_plain(struct sim *sim, const struct io *io, const unsigned char *from,
		       unsigned char *data)
{
	if (!model_fits(sim, io, first_of(io), end_of(io)))
		return -ENOSPC;
	if (io->op == IO_READ)
		memcpy(data, sim->disk + io->sector * SEC, io->len_bytes);
	else if (io->op == IO_FLUSH)
		memset(sim->is_volatile, 0, sizeof(sim->is_volatile));
	else
		model_change(sim, io, from, first_of(io), end_of(io));
	return io->op == IO_READ || io->op == IO_WRITE ? (int)io->len_bytes : 0;
}

static bool cut_keeps(const struct model_cut *cut, uint32_t block)
{
	return cut->keep == 1 ||
	       (cut->keep == 2 && below(rng_mix(cut->bits, 0, block), cut->share));
}

/* The power goes inside of the request: what comes before is done, and durable. */
static void model_cut_inside(struct sim *sim, const struct request *request,
			     const unsigned char *from)
{
	const struct io *io = &request->io;
	uint32_t s = first_of(io), end = s + request->rule.first;

	end = end >= end_of(io) ? end_of(io) : end - end % request->rule.unit;
	if (io->op == IO_READ || end <= s || !model_fits(sim, io, s, end))
		return;
	model_change(sim, io, from, s, end);
	for (; s < end; s++)
		sim->is_volatile[s / sim->block] = false;
}

static int model_cut(struct sim *sim, const struct request *request, const unsigned char *from)
{
	const struct io *io = &request->io;

	sim->off = true;
	sim->nr_cuts++;
	sim->cut = (struct model_cut){ request->rule.keep, request->bits, request->rule.share };
	if (request->rule.unit) {
		model_cut_inside(sim, request, from);
		return -EIO;
	}
	/* Neighbours are stored together: only a whole page that is discarded is given back. */
	for (uint32_t s = first_of(io), to; s < end_of(io) && io->op != IO_READ; s = to) {
		bool kept = cut_keeps(&sim->cut, s / sim->block);

		for (to = s; to < end_of(io) && cut_keeps(&sim->cut, to / sim->block) == kept;)
			to++;
		if (kept && model_fits(sim, io, s, to))
			model_change(sim, io, from, s, to);
	}
	return -EIO;
}

/* The block at @s is another one now, of zeroes. */
static void model_replace(struct sim *sim, uint32_t s)
{
	const struct io zero = { .op = IO_ZEROES, .flags = IO_NOUNMAP | IO_FUA };

	model_change(sim, &zero, NULL, s, s + sim->block);
	sim->held[s / PAGE] = true;
}

static int model_bad(struct sim *sim, const struct request *request, bool in_force)
{
	struct model_rule *rule = &sim->rules[request->slot];
	int block;

	/* A rule that was replaced while the request waited: its blocks are nobody's business. */
	if (!in_force || !rule->remap)
		return -request->rule.err;
	block = bad_block(sim, rule, &request->io);
	if (block >= 0 && ++rule->fails[block] == rule->remap)
		model_replace(sim, (uint32_t)block * sim->block);
	return -request->rule.err;
}

/* Act on the model's disk; what a read brings goes to @data. Returns the result. */
static int model_act(struct sim *sim, const struct request *request, bool in_force,
		     const unsigned char *from, unsigned char *data)
{
	const struct io *io = &request->io;
	int err = request->incarnation != sim->incarnation ? -EIO
		  : sim->off                               ? -EIO
							   : model_verdict(sim, io);

	if (err)
		return err;
	if (request->slot < 0)
		return model_plain(sim, io, from, data);
	switch (request->rule.kind) {
	case BAD:
		return model_bad(sim, request, in_force);
	case CUT:
		return model_cut(sim, request, from);
	case READ_ONLY:
		sim->read_only = true;
		break;
	case NO_SPACE:
		sim->no_space = true;
		break;
	case SHRINK:
		if (!sim->end || request->rule.end < sim->end)
			sim->end = request->rule.end;
		break;
	case GONE:
		sim->gone = true;
		break;
	case DELAY:
	case NR_MODELS:
		break;
	}
	err = model_verdict(sim, io);
	return err ? err : model_plain(sim, io, from, data);
}

/* Returns by how much the request is delayed. */
static uint64_t model_submit(struct sim *sim, struct request *request)
{
	uint64_t delay_ns = 0;

	request->slot = -1;
	request->incarnation = sim->incarnation;
	for (int i = 0; i < SLOTS && !sim->off && !sim->gone; i++) {
		struct model_rule *rule = &sim->rules[i];

		if (!model_hits(sim, rule, &request->io, &request->bits))
			continue;
		if (rule->kind != DELAY) {
			request->slot = i;
			request->rule = *rule;
			break;
		}
		delay_ns += rule->delay_ns;
	}
	return delay_ns;
}

static void model_revive(struct sim *sim, uint64_t *ret_lost)
{
	*ret_lost = 0;
	sim->incarnation += sim->off || sim->gone;
	for (uint32_t b = 0; sim->off && b < sim->nr_sectors / sim->block; b++) {
		uint32_t bytes = sim->block * SEC;

		if (!sim->is_volatile[b])
			continue;
		sim->is_volatile[b] = false;
		if (cut_keeps(&sim->cut, b))
			continue;
		memcpy(sim->disk + b * bytes, sim->durable + b * bytes, bytes);
		for (uint32_t s = b * sim->block; s < (b + 1) * sim->block; s++)
			sim->taken[s / PAGE] = sim->held[s / PAGE] = true;
		++*ret_lost;
	}
	sim->read_only = sim->no_space = sim->gone = sim->off = false;
	sim->end = 0;
	sim->nr_lost += *ret_lost;
}

static uint32_t model_bits(const struct sim *sim)
{
	return (sim->read_only ? CONDITION_READ_ONLY : 0u) |
	       (sim->no_space ? CONDITION_NO_SPACE : 0u) | (sim->end ? CONDITION_SHRUNK : 0u) |
	       (sim->gone ? CONDITION_GONE : 0u) | (sim->off ? CONDITION_OFF : 0u);
}

/* ---- steps ------------------------------------------------------------------------------- */

static bool check_space(struct sim *sim)
{
	uint64_t used = 0;

	for (uint32_t s = 0; s < sim->nr_sectors; s += PAGE) {
		bool marked, taken = store_is_taken(sim->store, s * SEC, SEC);

		store_span(sim->store, s * SEC, SEC, &marked);
		if (marked != sim->held[s / PAGE])
			return fail(sim, "sector %u has memory: %d", s, marked);
		if (taken != sim->taken[s / PAGE])
			return fail(sim, "sector %u holds space: %d", s, taken);
		used += taken;
	}
	if (store_used(sim->store) != used * PAGE * SEC)
		return fail(sim, "%" PRIu64 " bytes are used, expected %" PRIu64,
			    store_used(sim->store), used * PAGE * SEC);
	return true;
}

static bool check_disk(struct sim *sim)
{
	uint64_t nr_volatile = 0;

	for (uint32_t s = 0; s < sim->nr_sectors; s++)
		if (memcmp(store_data(sim->store) + s * SEC, sim->disk + s * SEC, SEC) != 0)
			return fail(sim, "sector %u of the disk differs", s);
	for (uint32_t b = 0; b < sim->nr_sectors / sim->block; b++)
		nr_volatile += sim->is_volatile[b];
	if (!check_space(sim))
		return false;
	if (pipeline_nr_volatile(sim->pipeline) != nr_volatile)
		return fail(sim, "%" PRIu64 " volatile blocks, expected %" PRIu64,
			    pipeline_nr_volatile(sim->pipeline), nr_volatile);
	if (condition_bits(pipeline_condition(sim->pipeline)) != model_bits(sim))
		return fail(sim, "condition %x, expected %x",
			    condition_bits(pipeline_condition(sim->pipeline)), model_bits(sim));
	return true;
}

static bool check_done(struct sim *sim, struct request *request, const unsigned char *before)
{
	bool in_force = request->slot >= 0 &&
			sim->armed_of[request - sim->requests] == sim->arming[request->slot];
	unsigned char want[MAX_LEN];
	int result;

	memcpy(want, before, MAX_LEN);
	result = model_act(sim, request, in_force, before, want);
	if (request->io.result != result)
		return fail(sim, "result %d, expected %d", request->io.result, result);
	if (memcmp(request->data, want, MAX_LEN) != 0)
		return fail(sim, "the request's data differs");
	return check_disk(sim);
}

static void make_request(struct sim *sim, struct request *request)
{
	static const uint32_t flags[] = { 0, 0, IO_FUA, IO_NOUNMAP, IO_FUA | IO_NOUNMAP };
	struct io *io = &request->io;

	*io = (struct io){ .op = (uint8_t)draw(sim, IO_NR_OPS), .data = request->data };
	io->queue = (uint16_t)draw(sim, sim->nr_queues);
	io->flags = flags[draw(sim, array_size(flags))];
	if (io->op == IO_FLUSH && draw(sim, 2))
		io->op = IO_WRITE;
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
	/* Zeroes for a while, from some sector on. */
	if (!draw(sim, 3)) {
		size_t zero_from = draw(sim, MAX_LEN / SEC) * SEC;

		memset(request->data + zero_from, 0,
		       (1 + draw(sim, (MAX_LEN - zero_from) / SEC)) * SEC);
	}
	sim->nr_requests++;
	if (sim->frame.verbose)
		printf("  %s sector %" PRIu64 " len %u flags %u queue %u at %" PRIu64 " ns\n",
		       op_words[io->op], io->sector, io->len_bytes, io->flags, io->queue,
		       sim->now_ns);
}

static bool submit(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;
	unsigned char before[MAX_LEN];
	enum io_verdict verdict;
	uint64_t delay_ns;

	make_request(sim, request);
	memcpy(before, request->data, MAX_LEN);
	delay_ns = model_submit(sim, request);
	verdict = pipeline_submit(sim->pipeline, io, sim->now_ns);
	if (request->slot >= 0)
		sim->armed_of[request - sim->requests] = sim->arming[request->slot];
	if (verdict != (delay_ns ? IO_PARKED : IO_DONE))
		return fail(sim, "verdict %d, but %" PRIu64 " ns expected", verdict, delay_ns);
	if (verdict == IO_DONE)
		return check_done(sim, request, before);
	request->waiting = true;
	if (io->due_ns != sim->now_ns + delay_ns)
		return fail(sim, "due at %" PRIu64 ", expected %" PRIu64, io->due_ns,
			    sim->now_ns + delay_ns);
	return true;
}

static bool resume(struct sim *sim, struct request *request)
{
	unsigned char before[MAX_LEN];

	memcpy(before, request->data, MAX_LEN);
	if (sim->frame.verbose)
		printf("  resume %s sector %" PRIu64 "\n", op_words[request->io.op],
		       request->io.sector);
	pipeline_resume(sim->pipeline, &request->io, sim->now_ns);
	request->waiting = false;
	return check_done(sim, request, before);
}

static bool adopt_all(struct sim *sim, struct diag *diag)
{
	uint64_t epoch;

	if (pipeline_publish(sim->pipeline, sim->set, sim->now_ns, diag, &epoch) < 0)
		return false;
	for (uint16_t q = 0; q < sim->nr_queues; q++)
		pipeline_adopt(sim->pipeline, q);
	return pipeline_adopted(sim->pipeline, epoch);
}

static bool publish(struct sim *sim, unsigned int slot)
{
	const struct model_rule *model = &sim->rules[slot];
	const char *before = NULL;
	struct rule *rule = NULL;
	struct diag diag = { 0 };
	int err;

	for (unsigned int i = slot + 1; i < SLOTS && !before; i++)
		if (rule_set_find(sim->set, sim->rules[i].name))
			before = sim->rules[i].name;
	err = rule_parse(model->text, strlen(model->text), &diag, &rule);
	if (err == 0)
		err = rule_set_put(sim->set, rule, before, &diag);
	rule_unref(rule);
	if (err < 0 || !adopt_all(sim, &diag))
		return fail(sim, "'%s': %s: %s", model->text, diag.id, diag.message);
	return true;
}

static bool revive(struct sim *sim)
{
	uint32_t bits = model_bits(sim), got;
	uint64_t lost, want_lost;

	if (sim->frame.verbose)
		printf("  revive\n");
	if (!adopt_all(sim, NULL))
		return fail(sim, "the handshake fails");
	got = pipeline_revive(sim->pipeline, &lost);
	model_revive(sim, &want_lost);
	if (got != bits || lost != want_lost)
		return fail(sim, "revived from %x with %" PRIu64 " lost, expected %x, %" PRIu64,
			    got, lost, bits, want_lost);
	return check_disk(sim);
}

static void no_range(void *ctx, uint64_t from, uint64_t to)
{
	*(uint64_t *)ctx += (to - from) / SEC;
}

/* A command to a rule about bad blocks, if this slot holds one. */
static bool command(struct sim *sim, unsigned int slot)
{
	static const char *const verbs[] = { "add", "remove", "query", "list" };
	struct model_rule *model = &sim->rules[slot];
	struct rule *rule = rule_set_find(sim->set, model->name);
	size_t verb = draw(sim, array_size(verbs));
	uint32_t from = model->from / sim->block, blocks = model->to / sim->block - from;
	uint32_t first = from + (uint32_t)draw(sim, blocks ? blocks : 1);
	uint32_t end = first + 1 + (uint32_t)draw(sim, blocks ? from + blocks - first : 1);
	uint64_t listed = 0, nr = 0;
	struct kind_tell tell = { .verb = verbs[verb],
				  .has_range = true,
				  .from = (uint64_t)first * sim->block * SEC,
				  .to = (uint64_t)end * sim->block * SEC,
				  .each = no_range,
				  .ctx = &listed };
	struct diag diag = { 0 };

	if (!model->used || model->kind != BAD)
		return true;
	if (sim->frame.verbose)
		printf("  %s %s blocks %u..%u\n", model->name, verbs[verb], first, end);
	for (uint32_t b = first; b < end; b++) {
		nr += model->bad[b] != (verb == 0);
		if (verb < 2)
			model->bad[b] = verb == 0;
		if (verb == 1)
			model->fails[b] = 0;
	}
	if (rule->kind->ops->tell(rule->state, &tell, &diag))
		return fail(sim, "told: %s", diag.message);
	if (verb == 3 ? listed != nr * sim->block : tell.ret_count != nr)
		return fail(sim, "%s: %" PRIu64 ", expected %" PRIu64, verbs[verb], tell.ret_count,
			    nr);
	return true;
}

#include "tests/sim/rules.h"

static bool limit(struct sim *sim)
{
	sim->capacity = draw(sim, 3) ? draw(sim, sim->nr_sectors / PAGE + 2) : UINT64_MAX;
	if (sim->frame.verbose)
		printf("  capacity %" PRIu64 " pages\n", sim->capacity);
	store_limit(sim->store,
		    sim->capacity == UINT64_MAX ? UINT64_MAX : sim->capacity * PAGE * SEC);
	return true;
}

static bool step(struct sim *sim, unsigned int mask)
{
	unsigned int slot = (unsigned int)draw(sim, SLOTS);
	struct request *request = &sim->requests[draw(sim, WAITING)];
	uint64_t choice = draw(sim, 40);

	sim->now_ns += draw(sim, 3000);
	if (sim->frame.step < 5 || choice == 0)
		return change_rule(sim, slot, mask);
	if (choice < 4 || (model_bits(sim) && choice < 10))
		return revive(sim);
	if (choice < 14)
		return command(sim, slot);
	if (choice == 14)
		return limit(sim);
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
	return check_counts(sim);
}

static void set_up(struct sim *sim, uint64_t seed)
{
	static const uint32_t blocks[] = { 1, 1, 2, 8 };
	struct pipeline_options options = { .cache = true };

	sim->frame.seed = seed;
	sim->nr_sectors = 16 + 8 * (uint32_t)draw(sim, (MAX_SECTORS - 16) / 8 + 1);
	sim->block = blocks[draw(sim, array_size(blocks))];
	sim->nr_queues = (uint16_t)(1 + draw(sim, 3));
	sim->cache = options.cache = draw(sim, 4);
	sim->disk_seed = draw(sim, UINT64_MAX);
	sim->now_ns = draw(sim, 1000000);
	sim->capacity = UINT64_MAX;
	for (unsigned int i = 0; i < SLOTS; i++)
		snprintf(sim->rules[i].name, sizeof(sim->rules[i].name), "rule-%u", i);
	options.geometry = (struct rule_geometry){ .size_bytes = (uint64_t)sim->nr_sectors * SEC,
						   .block_bytes = sim->block * SEC,
						   .nr_queues = sim->nr_queues };
	options.seed = sim->disk_seed;
	sim->set = rule_set_new();
	if (!sim->set || store_create(options.geometry.size_bytes, NULL, &sim->store) < 0 ||
	    pipeline_create(sim->store, &options, &sim->pipeline) < 0) {
		fprintf(stderr, "sim_disk: no memory\n");
		exit(1);
	}
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	uint64_t sums[] = { sim->nr_requests, sim->nr_rules, sim->nr_cuts, sim->nr_lost };
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
	sim->nr_requests += sums[0];
	sim->nr_rules += sums[1];
	sim->nr_cuts += sums[2];
	sim->nr_lost += sums[3];
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " requests, %" PRIu64 " rules, %" PRIu64 " power cuts, %" PRIu64
	       " blocks lost",
	       sim->nr_requests, sim->nr_rules, sim->nr_cuts, sim->nr_lost);
}

SIM_MAIN("sim_disk", DEFAULT_ROUNDS, SLOTS)
