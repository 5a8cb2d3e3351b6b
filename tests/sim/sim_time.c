// SPDX-License-Identifier: MIT
/*
 * Random rules that delay, throttle and hold, and random requests, in virtual time, against a model
 * written another way: floating point and the C library's functions instead of whole numbers,
 * levels of credit instead of clocks, one list of held requests in their order instead of one a
 * queue, the disk as an array of bytes. Of the project it uses rng_mix() only. After every step the
 * verdict, the due time, the result, the data read, who is held and the whole disk must agree.
 *
 *	sim_time [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the rule slots in use
 *
 * A failing round is repeated with fewer rules until none can be left out.
 */
#include "base/cleanup.h"
#include "base/rng.h"
#include "faults/engine/pipeline.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SEC = 512,
	NR_SECTORS = 64,
	MAX_LEN = 16 * SEC,
	SLOTS = 8,
	WAITING = 16,
	STEPS = 400,
	DEFAULT_ROUNDS = 300,
	CURVE_MAX = 8,
	LANES_MOST = 3,
};

#define HOUR_NS 3600e9L

enum model_kind { MODEL_ERROR, MODEL_DELAY, MODEL_THROTTLE, MODEL_HANG };
enum shape { UNIFORM, NORMAL, EXP, PARETO, CURVE, NR_SHAPES };

/* Credit for so many nanoseconds of a rate; negative: a debt. */
struct level {
	long double per_second, credit_ns;
};

/* What a lane serves: until when, and how far the model may be off. */
struct served {
	long double until_ns, slack_ns;
};

struct model_rule {
	bool used;
	char text[512], name[32];
	unsigned int ops;
	uint64_t after, every, times, armed_ns;
	uint64_t for_ns, from_ns, to_ns, up_ns, down_ns;
	double p;
	enum model_kind kind;
	enum shape shape;
	uint64_t a_ns, b_ns;
	long double exponent;
	long double shares[CURVE_MAX], times_ns[CURVE_MAX];
	int nr_points;
	uint64_t max_ns, grow_ns, grow_match_ns;
	uint64_t seek_ns, arm_at;
	unsigned int nr_lanes;          /* 0: no lines */
	struct served last[LANES_MOST]; /* by each lane, the one that ends first in front */
	struct level iops, bytes;
	uint64_t burst_ns, level_ns; /* level_ns: when the credits were so high */
	uint64_t hold_ns;            /* 0: for ever */
	int fail;
	uint64_t matches, hits;
};

struct expected {
	bool hit, held, timeless, released;
	int fail; /* what the holder makes of a request whose time is up */
	char holder[32];
	long double delay_ns, slack_ns;
};

struct request {
	struct io io;
	bool waiting;
	uint64_t submitted_ns;
	uint64_t turn; /* among all that were ever held */
	struct expected expected;
	unsigned char data[MAX_LEN];
};

struct sim {
	struct frame frame;
	uint64_t now_ns, disk_seed;
	uint16_t nr_queues;
	struct model_rule rules[SLOTS];
	struct request requests[WAITING];
	unsigned char disk[NR_SECTORS * SEC];
	struct io *unparked[WAITING];
	int nr_unparked;
	struct store *store;
	struct pipeline *pipeline;
	struct rule_set *set;
	uint64_t nr_requests, nr_rules, nr_held;
};

/* ---- random rules ------------------------------------------------------------------------ */

/* Short and long times alike, of at most 2^bits us; says them too. */
static uint64_t draw_time(struct sim *sim, struct model_rule *rule, const char *word,
			  unsigned int bits)
{
	uint64_t us = 1 + draw(sim, 1ull << (1 + draw(sim, bits)));

	say(rule, "%s%" PRIu64 "us", word, us);
	return us * 1000;
}

static void make_triggers(struct sim *sim, struct model_rule *rule)
{
	if (!draw(sim, 5))
		say(rule, " after=%" PRIu64, rule->after = draw(sim, 8));
	if (!draw(sim, 5))
		say(rule, " every=%" PRIu64, rule->every = 1 + draw(sim, 4));
	if (!draw(sim, 5))
		say(rule, " times=%" PRIu64, rule->times = 1 + draw(sim, 20));
	if (!draw(sim, 3)) {
		unsigned int percent = (unsigned int)draw(sim, 101);

		rule->p = percent / 100.0;
		say(rule, " p=%u:100", percent);
	}
	if (!draw(sim, 5))
		rule->for_ns = draw_time(sim, rule, " for=", 22);
	if (!draw(sim, 4)) {
		rule->from_ns = draw(sim, 300000) * 1000;
		say(rule, " between=%" PRIu64 "us", rule->from_ns / 1000);
		rule->to_ns = rule->from_ns + draw_time(sim, rule, "..", 20);
		/* The text has the length, not yet the end. */
		*strrchr(rule->text, '.') = '\0';
		say(rule, ".%" PRIu64 "ns", rule->to_ns);
	}
	if (!draw(sim, 4)) {
		rule->up_ns = draw_time(sim, rule, " up=", 17);
		rule->down_ns = draw_time(sim, rule, " down=", 17);
	}
}

static void make_curve(struct sim *sim, struct model_rule *rule)
{
	static const struct {
		const char *word;
		long double share;
	} percentiles[CURVE_MAX] = { { "p0", 0 },         { "p50", .5L },  { "p90", .9L },
				     { "p95", .95L },     { "p99", .99L }, { "p999", .999L },
				     { "p9999", .9999L }, { "p100", 1 } };
	uint64_t us = 0;

	for (int i = 0; i < CURVE_MAX; i++) {
		/* Two at least. */
		if (draw(sim, 2) && CURVE_MAX - i > 2 - rule->nr_points)
			continue;
		us += draw(sim, 1ull << draw(sim, 16));
		say(rule, "%s%s=%" PRIu64 "us", rule->nr_points ? "," : "", percentiles[i].word,
		    us);
		rule->shares[rule->nr_points] = percentiles[i].share;
		rule->times_ns[rule->nr_points++] = (long double)us * 1000;
	}
}

static void make_delay(struct sim *sim, struct model_rule *rule)
{
	say(rule, " do=delay:");
	rule->shape = (enum shape)draw(sim, NR_SHAPES);
	switch (rule->shape) {
	case UNIFORM:
		rule->a_ns = draw(sim, 5) ? draw_time(sim, rule, "", 16) : (say(rule, "0us"), 0);
		rule->b_ns = rule->a_ns;
		if (draw(sim, 2))
			say(rule, "..%" PRIu64 "ns", rule->b_ns += draw(sim, 1u << 24));
		break;
	case NORMAL:
		rule->a_ns = draw_time(sim, rule, "normal=", 16);
		rule->b_ns = draw_time(sim, rule, ",dev=", 14);
		break;
	case EXP:
		rule->a_ns = draw_time(sim, rule, "exp=", 18);
		break;
	case PARETO:
		rule->a_ns = draw_time(sim, rule, "pareto=", 18);
		rule->exponent = (1 + (long double)draw(sim, 64)) / 8;
		say(rule, ",shape=%.3Lf", rule->exponent);
		break;
	case CURVE:
	case NR_SHAPES:
		make_curve(sim, rule);
		break;
	}
	if (!draw(sim, 3))
		rule->max_ns = draw_time(sim, rule, ",max=", 18);
	if (!draw(sim, 3))
		rule->grow_ns = draw_time(sim, rule, ",grow=", 24);
	if (!draw(sim, 3))
		rule->grow_match_ns = draw_time(sim, rule, ",grow-match=", 10);
	if (!draw(sim, 3))
		rule->seek_ns = draw_time(sim, rule, ",seek=", 16);
	if (draw(sim, 3))
		return;
	rule->nr_lanes = 1 + (unsigned int)draw(sim, LANES_MOST);
	say(rule, ",lanes=%u", rule->nr_lanes);
}

static void make_throttle(struct sim *sim, struct model_rule *rule)
{
	const char *comma = "";
	uint64_t which = 1 + draw(sim, 3);

	say(rule, " do=throttle:");
	if (which & 1) {
		uint64_t n = 1 + draw(sim, 1ull << draw(sim, 20));

		rule->iops.per_second = (long double)n;
		say(rule, "iops=%" PRIu64, n);
		comma = ",";
	}
	if (which & 2) {
		uint64_t n = 100000 + draw(sim, 1ull << draw(sim, 34));

		rule->bytes.per_second = (long double)n;
		say(rule, "%sbytes=%" PRIu64, comma, n);
	}
	rule->burst_ns = 10000000;
	if (draw(sim, 2))
		rule->burst_ns = draw_time(sim, rule, ",burst=", 20);
	rule->iops.credit_ns = rule->bytes.credit_ns = (long double)rule->burst_ns;
	rule->level_ns = sim->now_ns;
}

static void make_action(struct sim *sim, struct model_rule *rule)
{
	switch (rule->kind) {
	case MODEL_ERROR:
		rule->fail = EIO;
		say(rule, " do=error:EIO");
		break;
	case MODEL_DELAY:
		make_delay(sim, rule);
		break;
	case MODEL_THROTTLE:
		make_throttle(sim, rule);
		break;
	case MODEL_HANG:
		say(rule, " do=hang");
		if (draw(sim, 2))
			break;
		rule->hold_ns = draw_time(sim, rule, ":for=", 18);
		if (draw(sim, 2))
			break;
		rule->fail = draw(sim, 2) ? ETIMEDOUT : EBUSY;
		say(rule, rule->fail == EBUSY ? ",fail=EBUSY" : ",fail");
		break;
	}
}

static void make_rule(struct sim *sim, unsigned int slot)
{
	static const enum model_kind kinds[] = { MODEL_ERROR, MODEL_DELAY,    MODEL_DELAY,
						 MODEL_DELAY, MODEL_THROTTLE, MODEL_THROTTLE,
						 MODEL_HANG };
	static const enum io_op ops[] = { IO_READ, IO_WRITE, IO_FLUSH };
	struct model_rule *rule = &sim->rules[slot];

	*rule = (struct model_rule){ .used = true,
				     .ops = 7,
				     .every = 1,
				     .times = UINT64_MAX,
				     .for_ns = UINT64_MAX,
				     .to_ns = UINT64_MAX,
				     .max_ns = (uint64_t)HOUR_NS,
				     .p = 1,
				     .armed_ns = sim->now_ns };
	snprintf(rule->name, sizeof(rule->name), "rule-%u", slot);
	rule->kind = kinds[draw(sim, array_size(kinds))];
	say(rule, "%s", rule->name);
	if (draw(sim, 2)) {
		enum io_op op = ops[draw(sim, array_size(ops))];

		rule->ops = 1u << op;
		say(rule, " op=%s", op_words[op]);
	}
	make_triggers(sim, rule);
	make_action(sim, rule);
	sim->nr_rules++;
}

/* ---- the model --------------------------------------------------------------------------- */

static bool model_hits(const struct sim *sim, struct model_rule *rule, uint64_t *ret_n)
{
	uint64_t n = *ret_n = rule->matches++, age_ns = sim->now_ns - rule->armed_ns;

	if (age_ns >= rule->for_ns || age_ns < rule->from_ns || age_ns >= rule->to_ns)
		return false;
	if (rule->down_ns &&
	    fmodl((long double)age_ns, (long double)(rule->up_ns + rule->down_ns)) <
		    (long double)rule->up_ns)
		return false;
	if (n < rule->after || (n - rule->after) % rule->every != rule->every - 1)
		return false;
	if (rule->hits == rule->times || (long double)rng_mix(sim->disk_seed, stream_of(rule->name),
							      n) >= (long double)rule->p * 0x1p64L)
		return false;
	rule->hits++;
	return true;
}

static long double model_shape(const struct model_rule *rule, uint64_t bits)
{
	long double u = (long double)bits * 0x1p-64L, v;

	switch (rule->shape) {
	case UNIFORM:
		return floorl((long double)rule->a_ns +
			      u * (long double)(rule->b_ns - rule->a_ns + 1));
	case NORMAL:
		v = (long double)rng_mix(bits, 0, 0) * 0x1p-64L;
		v = sqrtl(-2 * logl(u)) * cosl(2 * 3.14159265358979323846L * v);
		return fmaxl(0, (long double)rule->a_ns + (long double)rule->b_ns * v);
	case EXP:
		return -(long double)rule->a_ns * logl(u);
	case PARETO:
		return (long double)rule->a_ns * powl(u, -1 / rule->exponent);
	case CURVE:
	case NR_SHAPES:
		break;
	}
	if (u < rule->shares[0])
		return rule->times_ns[0];
	for (int i = 1; i < rule->nr_points; i++)
		if (u < rule->shares[i])
			return rule->times_ns[i - 1] +
			       (rule->times_ns[i] - rule->times_ns[i - 1]) *
				       (u - rule->shares[i - 1]) /
				       (rule->shares[i] - rule->shares[i - 1]);
	return rule->times_ns[rule->nr_points - 1];
}

static long double model_seek(struct model_rule *rule, const struct io *io)
{
	uint64_t start = io->sector * SEC, from = rule->arm_at;

	if (io->op == IO_FLUSH)
		return 0;
	rule->arm_at = start + io->len_bytes;
	return (long double)rule->seek_ns *
	       sqrtl(fabsl((long double)start - (long double)from) / (NR_SECTORS * SEC));
}

/* The request joins the lane in front, which then finds its place again: how long until it is done. */
static long double model_line(const struct sim *sim, struct model_rule *rule, long double own_ns,
			      long double *slack_ns)
{
	long double now_ns = (long double)sim->now_ns;
	struct served served = rule->last[0];
	unsigned int i = 0;

	if (served.until_ns < now_ns)
		served = (struct served){ now_ns, 0 };
	served.until_ns = fminl(served.until_ns + own_ns, now_ns + HOUR_NS);
	served.slack_ns += 15;
	for (; i + 1 < rule->nr_lanes && rule->last[i + 1].until_ns < served.until_ns; i++)
		rule->last[i] = rule->last[i + 1];
	rule->last[i] = served;
	*slack_ns += served.slack_ns;
	return served.until_ns - now_ns;
}

static long double model_delay(const struct sim *sim, struct model_rule *rule, const struct io *io,
			       uint64_t n, long double *slack_ns)
{
	uint64_t bits = rng_mix(sim->disk_seed, ~stream_of(rule->name), n);
	long double age_ns = (long double)(sim->now_ns - rule->armed_ns);
	long double own_ns = fminl(
		(long double)rule->max_ns,
		model_shape(rule, bits) + age_ns * (long double)rule->grow_ns / 1e9L +
			(long double)n * (long double)rule->grow_match_ns + model_seek(rule, io));

	return rule->nr_lanes ? model_line(sim, rule, own_ns, slack_ns) : own_ns;
}

static void refill(struct level *level, long double ns, uint64_t burst_ns)
{
	level->credit_ns = fminl(level->credit_ns + ns, (long double)burst_ns);
}

/* Refill while it waits, spend, and go back to now, where that is a debt. */
static void pass_later(struct level *level, long double wait_ns, long double amount,
		       uint64_t burst_ns)
{
	refill(level, wait_ns, burst_ns);
	if (level->per_second > 0)
		level->credit_ns = fmaxl(0, level->credit_ns - amount * 1e9L / level->per_second);
	level->credit_ns -= wait_ns;
}

static long double short_of(const struct level *level, long double amount)
{
	if (level->per_second <= 0 || amount <= 0)
		return 0;
	return amount * 1e9L / level->per_second - level->credit_ns;
}

/* Wait until both levels reach what the request costs, and then spend it. */
static long double model_throttle(const struct sim *sim, struct model_rule *rule,
				  const struct io *io)
{
	long double bytes = io->op == IO_FLUSH ? 0 : io->len_bytes;
	/* The levels may be those of a later time: when the last one passes. */
	long double since = (long double)sim->now_ns - (long double)rule->level_ns, wait;

	refill(&rule->iops, since, rule->burst_ns);
	refill(&rule->bytes, since, rule->burst_ns);
	rule->level_ns = sim->now_ns;
	wait = fmaxl(0, fmaxl(short_of(&rule->iops, 1), short_of(&rule->bytes, bytes)));
	pass_later(&rule->iops, wait, 1, rule->burst_ns);
	/* What brings no data has nothing to do with bytes. */
	if (bytes > 0)
		pass_later(&rule->bytes, wait, bytes, rule->burst_ns);
	return wait;
}

static struct expected model_submit(struct sim *sim, const struct io *io)
{
	struct expected expected = { .hit = false, .slack_ns = 2 };

	for (int i = 0; i < SLOTS && !expected.hit; i++) {
		struct model_rule *rule = &sim->rules[i];
		uint64_t n;

		if (!rule->used || !(rule->ops >> io->op & 1) || !model_hits(sim, rule, &n))
			continue;
		expected.slack_ns += 15;
		if (rule->kind == MODEL_ERROR) {
			expected.hit = true;
		} else if (rule->kind == MODEL_DELAY) {
			expected.delay_ns += model_delay(sim, rule, io, n, &expected.slack_ns);
		} else if (rule->kind == MODEL_THROTTLE) {
			expected.delay_ns += model_throttle(sim, rule, io);
		} else {
			expected.delay_ns += (long double)rule->hold_ns;
			expected.timeless |= !rule->hold_ns;
			if (!expected.held) {
				strcpy(expected.holder, rule->name);
				expected.fail = rule->fail;
			}
			expected.held = true;
		}
	}
	expected.slack_ns += expected.delay_ns * 1e-8L;
	return expected;
}

static int model_act(struct sim *sim, const struct expected *expected, bool overdue,
		     const struct io *io, unsigned char *data)
{
	if (expected->held && expected->fail && overdue && !expected->released)
		return -expected->fail;
	if (expected->hit)
		return -EIO;
	if (io->op == IO_READ)
		memcpy(data, sim->disk + io->sector * SEC, io->len_bytes);
	else if (io->op == IO_WRITE)
		memcpy(sim->disk + io->sector * SEC, data, io->len_bytes);
	return io->op == IO_FLUSH ? 0 : (int)io->len_bytes;
}

/* ---- steps ------------------------------------------------------------------------------- */

static bool check_done(struct sim *sim, struct request *request, const unsigned char *before,
		       bool overdue)
{
	unsigned char want[MAX_LEN];
	int result;

	memcpy(want, before, MAX_LEN);
	result = model_act(sim, &request->expected, overdue, &request->io, want);
	if (request->io.result != result)
		return fail(sim, "result %d, expected %d", request->io.result, result);
	if (memcmp(request->data, want, MAX_LEN) != 0)
		return fail(sim, "the request's data differs");
	if (memcmp(store_data(sim->store), sim->disk, sizeof(sim->disk)) != 0)
		return fail(sim, "the disk differs");
	return true;
}

static void make_request(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;

	*io = (struct io){ .op = (uint8_t)draw(sim, 3), .data = request->data };
	io->queue = (uint16_t)draw(sim, sim->nr_queues);
	if (io->op != IO_FLUSH) {
		io->sector = draw(sim, NR_SECTORS);
		io->len_bytes = (uint32_t)(1 + draw(sim, MAX_LEN / SEC)) * SEC;
		if (io->sector + io->len_bytes / SEC > NR_SECTORS)
			io->len_bytes = (uint32_t)(NR_SECTORS - io->sector) * SEC;
	}
	for (size_t i = 0; i < MAX_LEN; i += 8) {
		uint64_t bits = rng_mix(sim->frame.seed, 2, sim->nr_requests * MAX_LEN + i);

		memcpy(request->data + i, &bits, 8);
	}
	sim->nr_requests++;
}

static bool check_explained(struct sim *sim, const char *text, const struct expected *expected)
{
	bool hit = text && strstr(text, "as the last rule says\n");
	bool held = text && strstr(text, "once released: ");

	if (hit == expected->hit && held == expected->held)
		return true;
	return fail(sim, "explained as\n%s", text ? text : "nothing");
}

static bool check_parked(struct sim *sim, const struct request *request)
{
	const struct expected *expected = &request->expected;
	long double want = (long double)sim->now_ns + expected->delay_ns;

	if (expected->timeless)
		return request->io.due_ns == UINT64_MAX || fail(sim, "due, but held for ever");
	if (fabsl((long double)request->io.due_ns - want) <= expected->slack_ns)
		return true;
	return fail(sim, "due after %Lf ns, expected %Lf",
		    (long double)request->io.due_ns - (long double)sim->now_ns, expected->delay_ns);
}

static bool submit(struct sim *sim, struct request *request)
{
	_cleanup_free_ char *explained = NULL;
	struct expected *expected = &request->expected;
	unsigned char before[MAX_LEN];
	enum io_verdict verdict;
	struct io *io = &request->io;

	make_request(sim, request);
	memcpy(before, request->data, MAX_LEN);
	explained = pipeline_explain(sim->pipeline, io, sim->now_ns);
	verdict = pipeline_submit(sim->pipeline, io, sim->now_ns);
	*expected = model_submit(sim, io);
	if (sim->frame.verbose)
		printf("  op %u sector %" PRIu64 " len %u at %" PRIu64 ": %Lf ns%s\n", io->op,
		       io->sector, io->len_bytes, sim->now_ns, expected->delay_ns,
		       expected->held ? ", held" : "");
	if (!check_explained(sim, explained, expected))
		return false;
	if (!io->rule != !expected->hit)
		return fail(sim, "the error hit, or not, against what was expected");
	if (verdict == IO_DONE && (expected->held || expected->delay_ns > expected->slack_ns))
		return fail(sim, "done, expected to wait for %Lf ns", expected->delay_ns);
	if (verdict == IO_DONE)
		return check_done(sim, request, before, false);
	if (!expected->held && expected->delay_ns <= 0)
		return fail(sim, "waits, expected to be done");
	request->waiting = true;
	request->submitted_ns = sim->now_ns;
	request->turn = expected->held ? ++sim->nr_held : 0;
	return check_parked(sim, request);
}

static bool resume(struct sim *sim, struct request *request, bool overdue)
{
	unsigned char before[MAX_LEN];

	memcpy(before, request->data, MAX_LEN);
	pipeline_resume(sim->pipeline, &request->io, sim->now_ns);
	request->waiting = false;
	return check_done(sim, request, before, overdue);
}

/* ---- holding and releasing ----------------------------------------------------------------- */

static void unpark(void *ctx, struct io *io)
{
	struct sim *sim = ctx;

	for (int i = 0; i < sim->nr_unparked; i++)
		if (sim->unparked[i] == io)
			return;
	sim->unparked[sim->nr_unparked++] = io;
}

/* The oldest held request with a larger turn than @after, of this rule if there is one. */
static struct request *next_held(struct sim *sim, uint64_t after, const char *rule)
{
	struct request *best = NULL;

	for (int i = 0; i < WAITING; i++) {
		struct request *request = &sim->requests[i];

		if (!request->waiting || request->expected.released || request->turn <= after ||
		    (rule && strcmp(rule, request->expected.holder) != 0))
			continue;
		if (!best || request->turn < best->turn)
			best = request;
	}
	return best;
}

static bool check_held(struct sim *sim)
{
	struct held held[WAITING];
	size_t nr = pipeline_held(sim->pipeline, held, WAITING), i = 0;
	uint64_t turn = 0;

	for (struct request *request; (request = next_held(sim, turn, NULL)); i++) {
		turn = request->turn;
		if (i >= nr || strcmp(held[i].rule, request->expected.holder) != 0 ||
		    held[i].sector != request->io.sector || held[i].id != request->io.id ||
		    held[i].since_ns != request->submitted_ns || held[i].op != request->io.op ||
		    held[i].queue != request->io.queue)
			return fail(sim, "number %zu of %zu held ones is another", i, nr);
	}
	return i == nr || fail(sim, "%zu are held, expected %zu", nr, i);
}

static bool release(struct sim *sim)
{
	const char *rule = draw(sim, 2) ? sim->rules[draw(sim, SLOTS)].name : NULL;
	uint64_t count = 1 + draw(sim, 4), want = 0, got, id = 0;
	struct request *request = &sim->requests[draw(sim, WAITING)];
	bool by_id =
		!draw(sim, 3) && request->waiting && request->turn && !request->expected.released;

	if (by_id) {
		id = request->io.id;
		rule = NULL;
		request->expected.released = true;
		want = 1;
	}
	while (!by_id && want < count && (request = next_held(sim, 0, rule))) {
		request->expected.released = true;
		want++;
	}
	got = pipeline_release(sim->pipeline, rule, id, count);
	if (sim->frame.verbose)
		printf("  release %s %" PRIu64 ": %" PRIu64 "\n", rule ? rule : "any", id, got);
	if (got != want)
		return fail(sim, "%" PRIu64 " released, expected %" PRIu64, got, want);
	return true;
}

/* A batch of every queue: what was released goes on. */
static bool run_queues(struct sim *sim)
{
	for (uint16_t q = 0; q < sim->nr_queues; q++)
		pipeline_adopt(sim->pipeline, q);
	for (int i = 0; i < sim->nr_unparked; i++) {
		struct request *request =
			(struct request *)((char *)sim->unparked[i] - offsetof(struct request, io));

		if (!request->expected.released)
			return fail(sim, "unparked, but not released");
		if (!resume(sim, request, false))
			return false;
	}
	sim->nr_unparked = 0;
	for (int i = 0; i < WAITING; i++)
		if (sim->requests[i].waiting && sim->requests[i].expected.released)
			return fail(sim, "released, but not unparked");
	return true;
}

/* ---- rounds ------------------------------------------------------------------------------ */

static bool publish(struct sim *sim, unsigned int slot)
{
	const struct model_rule *model = &sim->rules[slot];
	const char *before = NULL;
	struct rule *rule = NULL;
	struct diag diag = { .message = "" };
	int err;

	for (unsigned int i = slot + 1; i < SLOTS && !before; i++)
		if (rule_set_find(sim->set, sim->rules[i].name))
			before = sim->rules[i].name;
	err = rule_parse(model->text, strlen(model->text), &diag, &rule);
	if (err == 0)
		err = rule_set_put(sim->set, rule, before, &diag);
	if (err == 0)
		err = pipeline_publish(sim->pipeline, sim->set, sim->now_ns, &diag, NULL);
	rule_unref(rule);
	if (err < 0)
		return fail(sim, "'%s': %s: %s", model->text, diag.id, diag.message);
	return run_queues(sim);
}

#include "tests/sim/rules.h"

static bool step(struct sim *sim, unsigned int mask)
{
	unsigned int slot = (unsigned int)draw(sim, SLOTS);
	struct request *request = &sim->requests[draw(sim, WAITING)];

	sim->now_ns += draw(sim, 1ull << draw(sim, 27));
	if (sim->frame.step < 5 || !draw(sim, 50))
		return change_rule(sim, slot, mask);
	if (!draw(sim, 5))
		return release(sim) && check_held(sim) && (draw(sim, 3) || run_queues(sim));
	if (!request->waiting)
		return submit(sim, request) && check_held(sim);
	/* Its time has come, or somebody hurries it; one without a time waits for its release. */
	if (request->io.due_ns == UINT64_MAX)
		return run_queues(sim);
	if (sim->now_ns < request->io.due_ns && draw(sim, 2))
		sim->now_ns = request->io.due_ns;
	return resume(sim, request, true) && check_held(sim);
}

static bool run_steps(struct sim *sim, unsigned int mask)
{
	for (sim->frame.step = 0; sim->frame.step < STEPS; sim->frame.step++)
		if (!step(sim, mask))
			return false;
	pipeline_release(sim->pipeline, NULL, 0, SIZE_MAX);
	for (int i = 0; i < WAITING; i++)
		sim->requests[i].expected.released |=
			sim->requests[i].turn > 0 && sim->requests[i].waiting;
	if (!run_queues(sim))
		return false;
	for (int i = 0; i < WAITING; i++)
		if (sim->requests[i].waiting && !resume(sim, &sim->requests[i], true))
			return false;
	if (!check_counts(sim))
		return false;
	if (!pipeline_adopted(sim->pipeline, 0) || pipeline_nr_plans(sim->pipeline) != 1)
		return fail(sim, "plans are left over");
	return true;
}

static void set_up(struct sim *sim, uint64_t seed)
{
	struct pipeline_options options;

	sim->frame.seed = seed;
	sim->nr_queues = (uint16_t)(1 + draw(sim, 3));
	sim->disk_seed = draw(sim, UINT64_MAX);
	sim->now_ns = draw(sim, 1000000);
	for (unsigned int i = 0; i < SLOTS; i++)
		snprintf(sim->rules[i].name, sizeof(sim->rules[i].name), "rule-%u", i);
	options = (struct pipeline_options){
		.geometry = { .size_bytes = NR_SECTORS * SEC,
			      .block_bytes = SEC,
			      .nr_queues = sim->nr_queues },
		.seed = sim->disk_seed,
		.unpark = unpark,
		.ctx = sim,
	};
	sim->set = rule_set_new();
	if (!sim->set || store_create(options.geometry.size_bytes, NULL, &sim->store) < 0 ||
	    pipeline_create(sim->store, &options, &sim->pipeline) < 0) {
		fprintf(stderr, "sim_time: no memory\n");
		exit(1);
	}
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	uint64_t nr_requests = sim->nr_requests, nr_rules = sim->nr_rules, nr_held = sim->nr_held;
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
	sim->nr_held += nr_held;
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " requests, %" PRIu64 " rules, %" PRIu64 " held", sim->nr_requests,
	       sim->nr_rules, sim->nr_held);
}

SIM_MAIN("sim_time", DEFAULT_ROUNDS, SLOTS)
