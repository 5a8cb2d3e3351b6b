/* SPDX-License-Identifier: MIT */
/*
 * The model of sim_data: random rules of the kinds that store or answer something wrong, and what
 * they do, worked out byte by byte or block by block. It knows nothing of windows, units, shadows
 * or locks: the disk, its durable content and what each stale rule has kept are arrays of bytes.
 * Of the project it uses rng_mix() only.
 */
#ifndef TESTS_SIM_DATA_MODEL_H
#define TESTS_SIM_DATA_MODEL_H

#include "base/cleanup.h"
#include "base/rng.h"
#include "faults/engine/pipeline.h"
#include "faults/rule/fixed.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SEC = 512,
	PAGE = 4096,
	MAX_BYTES = 128 * SEC,
	MAX_BLOCKS = 128,
	MAX_LEN = 24 * SEC,
	SLOTS = 8,
	WAITING = 8,
};

enum model_kind { DROP, LIE, MISDIRECT, CORRUPT, STALE, TORN, DELAY, NR_KINDS };
enum model_fill { OLD, ZEROES, GARBAGE };

/* A rule as the model knows it: plain numbers, made by make_rule() along with the text. */
struct model_rule {
	bool used;
	char text[512];
	char name[32];
	unsigned int ops;
	bool has_range, fua;
	uint64_t from, to, after, times;
	double p;
	enum model_kind kind;
	uint64_t delay_ns;
	/* misdirect */
	uint64_t by, place_from, place_to;
	bool also;
	/* corrupt */
	uint64_t flip, count, garbage;
	bool has_at, rest;
	uint64_t at;
	unsigned char pattern[4];
	uint64_t nr_pattern;
	double share; /* of bits= and stuck= */
	bool stuck, wires;
	/* torn */
	uint64_t keep, unit;
	bool prefix, suffix, random;
	char map[32];
	enum model_fill fill;
	/* stale */
	bool first;
	bool saved[MAX_BLOCKS];
	unsigned char old[MAX_BYTES];
	uint64_t matches, hits;
};

struct request {
	struct io io;
	bool waiting;
	struct model_rule *hit; /* NULL: none; rules stay while requests wait */
	uint64_t bits, delay_ns;
	bool dead; /* the power went while it waited */
	bool user_copy;
	unsigned char data[MAX_LEN];
};

struct sim {
	struct frame frame;
	uint64_t size;
	uint32_t block;
	uint16_t nr_queues;
	uint64_t now_ns, disk_seed;
	bool cache, off;
	struct model_rule rules[SLOTS];
	struct request requests[WAITING];
	unsigned char disk[MAX_BYTES], durable[MAX_BYTES];
	bool is_volatile[MAX_BLOCKS];
	bool written[MAX_BYTES / PAGE]; /* false: the page is a hole */
	struct store *store;
	struct pipeline *pipeline;
	struct rule_set *set;
	uint64_t nr_requests, nr_rules, nr_hits[NR_KINDS];
};

/* ---- random rules ------------------------------------------------------------------------ */

#define CHANGES (1u << IO_WRITE | 1u << IO_DISCARD | 1u << IO_ZEROES)

static const unsigned int can_act_on[NR_KINDS] = {
	[DROP] = CHANGES,
	[LIE] = 1u << IO_WRITE | 1u << IO_FLUSH,
	[MISDIRECT] = CHANGES | 1u << IO_READ,
	[CORRUPT] = 1u << IO_READ | 1u << IO_WRITE,
	[STALE] = 1u << IO_READ,
	[TORN] = CHANGES,
	[DELAY] = (1u << IO_NR_OPS) - 1,
};

/* A piece of the disk in whole blocks. */
static void draw_range(struct sim *sim, uint64_t *from, uint64_t *to)
{
	uint64_t blocks = sim->size / sim->block;

	*from = draw(sim, blocks);
	*to = *from + 1 + draw(sim, blocks - *from);
	*from *= sim->block;
	*to *= sim->block;
}

static void make_selectors(struct sim *sim, struct model_rule *rule)
{
	rule->ops = can_act_on[rule->kind];
	if (draw(sim, 2)) {
		draw_range(sim, &rule->from, &rule->to);
		rule->has_range = true;
		rule->ops &= ~(1u << IO_FLUSH);
		say(rule, " range=%" PRIu64 "..%" PRIu64, rule->from, rule->to);
	}
	if (draw(sim, 2)) {
		unsigned int op;

		do {
			op = (unsigned int)draw(sim, IO_NR_OPS);
		} while (!(rule->ops >> op & 1));
		rule->ops = 1u << op;
		say(rule, " op=%s", op_words[op]);
	}
	if (!draw(sim, 8)) {
		rule->fua = true;
		say(rule, " flags=fua");
	}
	if (!draw(sim, 4))
		say(rule, " after=%" PRIu64, rule->after = draw(sim, 4));
	if (!draw(sim, 4))
		say(rule, " times=%" PRIu64, rule->times = 1 + draw(sim, 6));
	if (!draw(sim, 3)) {
		rule->p = (double)draw(sim, 5) / 4;
		say(rule, " p=%g", rule->p);
	}
}

static void make_misdirect(struct sim *sim, struct model_rule *rule)
{
	if (draw(sim, 2)) {
		rule->by = (1 + draw(sim, sim->size / sim->block - 1)) * sim->block;
		say(rule, " do=misdirect:by=%" PRIu64, rule->by);
		if (draw(sim, 2)) {
			rule->by = sim->size - rule->by;
			say(rule, ",back");
		}
	} else {
		draw_range(sim, &rule->place_from, &rule->place_to);
		say(rule, " do=misdirect:range=%" PRIu64 "..%" PRIu64, rule->place_from,
		    rule->place_to);
	}
	if (draw(sim, 2)) {
		rule->also = true;
		say(rule, ",also");
	}
}

static void make_corrupt(struct sim *sim, struct model_rule *rule)
{
	static const double shares[] = { 1e-5, 1e-4, 0.01, 0.1, 1 };
	unsigned int way = (unsigned int)draw(sim, 5);

	rule->count = 1;
	if (way == 0) {
		rule->flip = 1 + draw(sim, draw(sim, 4) ? 20 : 65536);
		say(rule, " do=corrupt:flip=%" PRIu64, rule->flip);
	} else if (way == 1) {
		rule->nr_pattern = 1 + draw(sim, 4);
		say(rule, " do=corrupt:byte=");
		for (uint64_t i = 0; i < rule->nr_pattern; i++) {
			rule->pattern[i] = (unsigned char)draw(sim, 256);
			say(rule, "%02x", rule->pattern[i]);
		}
		if (draw(sim, 2)) {
			rule->count = 1 + draw(sim, draw(sim, 4) ? 20 : 65536);
			say(rule, ",count=%" PRIu64, rule->count);
		}
	} else if (way > 2) {
		rule->share = shares[draw(sim, draw(sim, 8) ? 4 : 5)];
		rule->stuck = way == 4;
		rule->wires = rule->stuck && draw(sim, 2);
		say(rule, " do=corrupt:%s=%g%s", rule->stuck ? "stuck" : "bits", rule->share,
		    rule->wires ? ",wires" : "");
	} else {
		rule->garbage = UINT64_MAX;
		say(rule, " do=corrupt:garbage");
		if (draw(sim, 3))
			say(rule, "=%" PRIu64, rule->garbage = 1 + draw(sim, 6000));
	}
	if ((way == 1 || way == 2) && draw(sim, 2)) {
		rule->has_at = true;
		say(rule, ",at=%" PRIu64, rule->at = draw(sim, 6000));
	}
	if (draw(sim, 2)) {
		rule->rest = true;
		say(rule, ",rest");
	}
}

static void make_torn(struct sim *sim, struct model_rule *rule)
{
	static const char *const fills[] = { "old", "zeroes", "garbage" };

	rule->unit = sim->block * (1 + draw(sim, 3));
	say(rule, " do=torn:unit=%" PRIu64, rule->unit);
	switch (draw(sim, 4)) {
	case 0:
		rule->prefix = true;
		say(rule, ",keep=%" PRIu64, rule->keep = rule->unit * draw(sim, 6));
		break;
	case 1:
		rule->suffix = true;
		say(rule, ",keep-last=%" PRIu64, rule->keep = rule->unit * draw(sim, 6));
		break;
	case 2:
		rule->random = true;
		say(rule, ",random");
		break;
	default:
		for (uint64_t i = 0, len = 1 + draw(sim, 20); i < len; i++)
			rule->map[i] = draw(sim, 2) ? '1' : '0';
		say(rule, ",map=%s", rule->map);
	}
	rule->fill = (enum model_fill)draw(sim, 3);
	if (rule->fill || draw(sim, 2))
		say(rule, ",fill=%s", fills[rule->fill]);
}

static void make_rule(struct sim *sim, unsigned int slot)
{
	struct model_rule *rule = &sim->rules[slot];

	memset(rule, 0, sizeof(*rule));
	rule->used = true;
	rule->times = UINT64_MAX;
	rule->p = 1;
	snprintf(rule->name, sizeof(rule->name), "rule-%u", slot);
	say(rule, "%s", rule->name);
	rule->kind = (enum model_kind)draw(sim, NR_KINDS);
	make_selectors(sim, rule);
	switch (rule->kind) {
	case DROP:
		say(rule, " do=drop");
		break;
	case LIE:
		say(rule, " do=lie");
		break;
	case MISDIRECT:
		make_misdirect(sim, rule);
		break;
	case CORRUPT:
		make_corrupt(sim, rule);
		break;
	case STALE:
		rule->first = draw(sim, 2);
		say(rule, " do=stale%s", rule->first ? ":first" : "");
		break;
	case TORN:
		make_torn(sim, rule);
		break;
	case DELAY:
	case NR_KINDS:
		rule->delay_ns = draw(sim, 9000);
		say(rule, " do=delay:%" PRIu64 "ns", rule->delay_ns);
		break;
	}
	sim->nr_rules++;
}

/* ---- the model: what is asked ------------------------------------------------------------- */

static bool is_mine(const struct sim *sim, const struct model_rule *rule, const struct io *io)
{
	uint64_t at = io->sector * SEC;

	if (rule->kind == LIE)
		return io->op == IO_FLUSH || io->flags & IO_FUA;
	if (rule->kind == CORRUPT)
		return !rule->has_at || rule->at < io->len_bytes;
	if (rule->kind != STALE)
		return true;
	for (uint32_t i = 0; i < io->len_bytes; i++)
		if (rule->saved[(at + i) / sim->block])
			return true;
	return false;
}

static bool selects(const struct sim *sim, const struct model_rule *rule, const struct io *io)
{
	uint64_t first = io->sector * SEC, last = first + io->len_bytes - 1;

	if (!rule->used || !(rule->ops >> io->op & 1))
		return false;
	if (rule->has_range && (last < rule->from || first >= rule->to))
		return false;
	return (!rule->fua || io->flags & IO_FUA) && is_mine(sim, rule, io);
}

static bool hits(const struct sim *sim, struct model_rule *rule, uint64_t *ret_n)
{
	uint64_t n = *ret_n = rule->matches++;

	if (n < rule->after || rule->hits == rule->times ||
	    !below(rng_mix(sim->disk_seed, stream_of(rule->name), n), rule->p))
		return false;
	rule->hits++;
	return true;
}

static void model_submit(struct sim *sim, struct request *request)
{
	request->hit = NULL;
	request->delay_ns = 0;
	request->dead = sim->off;
	for (int i = 0; i < SLOTS && !sim->off; i++) {
		struct model_rule *rule = &sim->rules[i];
		uint64_t n;

		if (!selects(sim, rule, &request->io) || !hits(sim, rule, &n))
			continue;
		sim->nr_hits[rule->kind]++;
		if (rule->kind == DELAY) {
			request->delay_ns += rule->delay_ns;
			continue;
		}
		request->hit = rule;
		request->bits = rng_mix(sim->disk_seed, ~stream_of(rule->name), n);
		return;
	}
}

/* ---- the model: what is done -------------------------------------------------------------- */

static bool punches(const struct io *io)
{
	return io->op == IO_DISCARD || io->op == IO_ZEROES;
}

/* All of [from, to) was punched at once: what it has of whole pages is a hole now. */
static void punched(struct sim *sim, uint64_t from, uint64_t to)
{
	for (uint64_t page = 0; page < MAX_BYTES / PAGE; page++)
		if (from <= page * PAGE && page * PAGE + PAGE <= to)
			sim->written[page] = false;
}

/* Stale rules keep the block at @at, which is about to change. */
static void keep_old(struct sim *sim, uint64_t at)
{
	uint64_t number = at / sim->block;

	for (int i = 0; i < SLOTS; i++) {
		struct model_rule *rule = &sim->rules[i];

		if (!rule->used || rule->kind != STALE || (rule->first && rule->saved[number]) ||
		    (rule->has_range && (at < rule->from || at >= rule->to)))
			continue;
		rule->saved[number] = true;
		memcpy(rule->old + at, sim->disk + at, sim->block);
	}
}

/* The block at @at becomes @to; NULL: zero. */
static void change_block(struct sim *sim, uint64_t at, const unsigned char *to, bool durable)
{
	uint64_t number = at / sim->block;

	sim->written[at / PAGE] = true;
	if (sim->cache && !sim->is_volatile[number]) {
		sim->is_volatile[number] = true;
		memcpy(sim->durable + at, sim->disk + at, sim->block);
	}
	keep_old(sim, at);
	if (to)
		memcpy(sim->disk + at, to, sim->block);
	else
		memset(sim->disk + at, 0, sim->block);
	if (durable)
		sim->is_volatile[number] = false;
}

/* The block at @at becomes a hole; if it is one, there is nothing that a power cut could lose. */
static void punch_block(struct sim *sim, uint64_t at)
{
	if (sim->written[at / PAGE])
		change_block(sim, at, NULL, false);
	else
		keep_old(sim, at);
}

/* The request takes place at disk byte @at; what reaches past the end goes on at the start. */
static void carry_out(struct sim *sim, struct request *request, uint64_t at)
{
	struct io *io = &request->io;

	for (uint64_t i = 0; i < io->len_bytes; i += sim->block) {
		uint64_t place = (at + i) % sim->size;

		if (io->op == IO_READ)
			memcpy(request->data + i, sim->disk + place, sim->block);
		else if (punches(io))
			punch_block(sim, place);
		else
			change_block(sim, place, io->op == IO_WRITE ? request->data + i : NULL,
				     io->flags & IO_FUA);
	}
	if (punches(io)) {
		punched(sim, at, at + io->len_bytes < sim->size ? at + io->len_bytes : sim->size);
		if (at + io->len_bytes > sim->size)
			punched(sim, 0, at + io->len_bytes - sim->size);
	}
	if (io->op == IO_FLUSH)
		memset(sim->is_volatile, 0, sizeof(sim->is_volatile));
}

static void model_misdirect(struct sim *sim, struct request *request)
{
	const struct model_rule *rule = request->hit;
	struct io *io = &request->io;
	uint64_t at = io->sector * SEC + rule->by, places = 1;

	if (!rule->by) {
		if (rule->place_to - rule->place_from > io->len_bytes)
			places += (rule->place_to - rule->place_from - io->len_bytes) / sim->block;
		at = rule->place_from + rng_below(request->bits, places) * sim->block;
	}
	if (rule->also && io->op != IO_READ)
		carry_out(sim, request, io->sector * SEC);
	carry_out(sim, request, at % sim->size);
}

static unsigned char garbage_at(uint64_t bits, uint64_t offset)
{
	return (unsigned char)(rng_mix(bits, 1, offset / 8) >> (offset % 8 * 8));
}

/* Bits of the disk are stuck only in the rule's range. */
static bool is_stuck_elsewhere(const struct model_rule *rule, uint64_t at)
{
	return rule->stuck && !rule->wires && rule->has_range &&
	       (at < rule->from || at >= rule->to);
}

/* The bits of bits= and stuck=, one after the other through each sector. */
static void scatter(const struct sim *sim, const struct request *request, unsigned char *data,
		    bool *touched)
{
	const struct model_rule *rule = request->hit;
	uint64_t bits = request->bits, first = 0, key = 0, bit = 0, nr = 0;
	uint64_t rarity = rule->share < 1 ? fixed_ln((uint64_t)ldexp(1 - rule->share, 64)) : 0;

	if (rule->stuck)
		bits = rng_mix(sim->disk_seed, ~stream_of(rule->name), UINT64_MAX);
	if (rule->stuck && !rule->wires)
		first = request->io.sector;
	for (uint64_t i = 0; i < request->io.len_bytes * 8; i++) {
		unsigned char mask = (unsigned char)(1 << i % 8);

		if (i % (8 * SEC) == 0) {
			key = rng_mix(bits, 2, first + i / (8 * SEC));
			nr = 0;
			bit = rarity ? fixed_ln(rng_mix(key, 0, nr++) | 1) / rarity : 0;
		}
		if (bit--)
			continue;
		bit = rarity ? fixed_ln(rng_mix(key, 0, nr++) | 1) / rarity : 0;
		if (is_stuck_elsewhere(rule, first * SEC + i / 8))
			continue;
		touched[i / 8] = true;
		if (!rule->stuck)
			data[i / 8] ^= mask;
		else if (rng_mix(key, 3, i % (8 * SEC)) & 1)
			data[i / 8] |= mask;
		else
			data[i / 8] &= (unsigned char)~mask;
	}
}

/* Change @data, the request's, and mark what was hit, changed or not. */
static void harm(const struct sim *sim, const struct request *request, unsigned char *data,
		 bool *touched)
{
	const struct model_rule *rule = request->hit;
	uint64_t len = request->io.len_bytes, total, nr, at, size;

	if (rule->share > 0) {
		scatter(sim, request, data, touched);
		return;
	}
	if (rule->garbage) {
		size = rule->garbage < len ? rule->garbage : len;
		at = rule->has_at ? rule->at
				  : rng_below(rng_mix(request->bits, 0, 0), len - size + 1);
		for (uint64_t i = at; i < at + size && i < len; i++) {
			data[i] = garbage_at(request->bits, i);
			touched[i] = true;
		}
		return;
	}
	total = rule->flip ? len * 8 : len - rule->nr_pattern + 1;
	nr = rule->flip ? rule->flip : rule->count;
	if (nr > total && !rule->has_at)
		nr = total;
	for (uint64_t i = 0; i < nr; i++) {
		at = i * total / nr;
		at += rng_below(rng_mix(request->bits, 0, i), (i + 1) * total / nr - at);
		if (rule->flip) {
			data[at / 8] ^= (unsigned char)(1 << at % 8);
			touched[at / 8] = true;
			continue;
		}
		if (rule->has_at)
			at = rule->at + i * rule->nr_pattern;
		for (uint64_t j = 0; j < rule->nr_pattern && at + j < len; j++) {
			data[at + j] = rule->pattern[j];
			touched[at + j] = true;
		}
	}
}

static void model_corrupt(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;
	bool touched[MAX_LEN] = { false };
	unsigned char mine[MAX_LEN];
	uint64_t at = io->sector * SEC;

	memcpy(mine, request->data, MAX_LEN);
	if (io->op == IO_WRITE) {
		harm(sim, request, request->data, touched);
		carry_out(sim, request, at);
		memcpy(request->data, mine, MAX_LEN);
		return;
	}
	carry_out(sim, request, at);
	harm(sim, request, request->data, touched);
	for (uint64_t i = 0; i < io->len_bytes && request->hit->rest; i += sim->block)
		if (memchr(touched + i, true, sim->block))
			change_block(sim, at + i, request->data + i, true);
}

static bool keeps(const struct request *request, uint64_t at)
{
	const struct model_rule *rule = request->hit;
	uint64_t start = request->io.sector * SEC, end = start + request->io.len_bytes;
	uint64_t unit_start = at / rule->unit * rule->unit, unit_end = unit_start + rule->unit;
	uint64_t number = at / rule->unit - start / rule->unit;

	if (rule->random)
		return rng_mix(request->bits, 0, number) >> 63 == 0;
	if (rule->prefix)
		return (unit_end < end ? unit_end : end) <= start + rule->keep;
	if (rule->suffix)
		return (unit_start > start ? unit_start : start) + rule->keep >= end;
	return number < strlen(rule->map) && rule->map[number] == '1';
}

/* Is what is kept of the request, or else what fills the rest, put there by a punch? */
static bool tears_to_hole(const struct sim *sim, const struct request *request, bool kept)
{
	const struct io *io = &request->io;

	if (punches(io))
		return kept || request->hit->fill == ZEROES;
	return io->op == IO_WRITE && !kept && request->hit->fill == ZEROES &&
	       !(io->flags & IO_FUA && sim->cache);
}

static void tear_block(struct sim *sim, struct request *request, uint64_t i, bool kept)
{
	struct io *io = &request->io;
	uint64_t at = io->sector * SEC + i;
	const unsigned char *to = io->op == IO_WRITE && kept ? request->data + i : NULL;
	unsigned char block[4096];

	if (!kept && request->hit->fill == OLD)
		return;
	if (!kept && request->hit->fill == GARBAGE) {
		for (uint64_t j = 0; j < sim->block; j++)
			block[j] = garbage_at(request->bits, i + j);
		to = block;
	}
	if (tears_to_hole(sim, request, kept)) {
		punch_block(sim, at);
	} else {
		bool written = sim->written[at / PAGE];

		change_block(sim, at, to, io->flags & IO_FUA);
		/* Zeroes in place of a write that is durable at once take no memory either. */
		if (!to)
			sim->written[at / PAGE] = written;
	}
}

/* Each run of blocks that are kept, or that are not, is punched at once. */
static void model_torn(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;
	uint64_t at = io->sector * SEC, run = 0;

	for (uint64_t i = 0; i < io->len_bytes; i += sim->block) {
		bool kept = keeps(request, at + i), last = i + sim->block == io->len_bytes;

		tear_block(sim, request, i, kept);
		if (!last && keeps(request, at + i + sim->block) == kept)
			continue;
		if (tears_to_hole(sim, request, kept))
			punched(sim, at + run, at + i + sim->block);
		run = i + sim->block;
	}
}

/* What the request does; @request->data is the write's, and becomes the read's. */
static int model_act(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;
	uint64_t at = io->sector * SEC;
	enum model_kind kind = request->hit ? request->hit->kind : NR_KINDS;

	if (request->dead)
		return -EIO;
	if (kind == MISDIRECT) {
		model_misdirect(sim, request);
	} else if (kind == CORRUPT) {
		model_corrupt(sim, request);
	} else if (kind == TORN) {
		model_torn(sim, request);
	} else if (kind == LIE) {
		uint32_t flags = io->flags;

		io->flags = 0;
		if (io->op != IO_FLUSH)
			carry_out(sim, request, at);
		io->flags = flags;
	} else if (kind != DROP) {
		carry_out(sim, request, at);
	}
	for (uint64_t i = 0; kind == STALE && i < io->len_bytes; i++)
		if (request->hit->saved[(at + i) / sim->block])
			request->data[i] = request->hit->old[at + i];
	return io->op == IO_READ || io->op == IO_WRITE ? (int)io->len_bytes : 0;
}

#endif
