// SPDX-License-Identifier: MIT
/*
 * The kinds that store or answer something wrong, with and without a volatile cache whose power is
 * cut, against the model of data_model.h. After every step the verdict, the result, the data, the
 * rule that hit, the number of volatile blocks and the whole disk must agree.
 *
 *	sim_data [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the rule slots in use
 *
 * A failing round is repeated with fewer rules until none can be left out.
 */
#include "tests/sim/data_model.h"

#include <time.h>

enum { STEPS = 300, DEFAULT_ROUNDS = 400 };

/* ---- steps ------------------------------------------------------------------------------- */

static int data_get(struct io *io, size_t offset, void *to, size_t len)
{
	memcpy(to, ((struct request *)io)->data + offset, len);
	return 0;
}

static int data_put(struct io *io, size_t offset, const void *from, size_t len)
{
	memcpy(((struct request *)io)->data + offset, from, len);
	return 0;
}

static const struct io_data_ops data_ops = { data_get, data_put };

static void show(const struct sim *sim, const struct io *io)
{
	if (sim->frame.verbose)
		printf("  %s at %" PRIu64 " len %u flags %u queue %u%s\n", op_words[io->op],
		       io->sector * SEC, io->len_bytes, io->flags, io->queue,
		       io->data ? "" : ", user copy");
}

static bool check_disk(struct sim *sim)
{
	uint64_t nr_volatile = 0;

	for (uint64_t at = 0; at < sim->size; at += SEC)
		if (memcmp(store_data(sim->store) + at, sim->disk + at, SEC) != 0)
			return fail(sim, "byte %" PRIu64 " of the disk, or one near, differs", at);
	for (uint64_t i = 0; i < MAX_BLOCKS; i++)
		nr_volatile += sim->is_volatile[i];
	if (pipeline_nr_volatile(sim->pipeline) != nr_volatile)
		return fail(sim, "%" PRIu64 " volatile blocks, expected %" PRIu64,
			    pipeline_nr_volatile(sim->pipeline), nr_volatile);
	return true;
}

/* The engine has finished the request, whose data was @before; the model does so now. */
static bool check_done(struct sim *sim, struct request *request, const unsigned char *before)
{
	unsigned char got[MAX_LEN];
	int result;

	memcpy(got, request->data, MAX_LEN);
	memcpy(request->data, before, MAX_LEN);
	result = model_act(sim, request);
	if (request->io.result != result)
		return fail(sim, "result %d, expected %d", request->io.result, result);
	for (int i = 0; i < MAX_LEN; i++)
		if (got[i] != request->data[i])
			return fail(sim, "byte %d of the data is %02x, expected %02x", i, got[i],
				    request->data[i]);
	return check_disk(sim);
}

static void make_request(struct sim *sim, struct request *request)
{
	struct io *io = &request->io;
	uint64_t blocks = sim->size / sim->block, at, nr;

	*io = (struct io){ .op = (uint8_t)draw(sim, IO_NR_OPS), .data_ops = &data_ops };
	io->queue = (uint16_t)draw(sim, sim->nr_queues);
	if (draw(sim, 2))
		io->data = request->data;
	if (io->op == IO_WRITE && !draw(sim, 3))
		io->flags = IO_FUA;
	if (io->op == IO_ZEROES && draw(sim, 2))
		io->flags = IO_NOUNMAP;
	if (io->op != IO_FLUSH) {
		at = draw(sim, blocks);
		nr = 1 + draw(sim, MAX_LEN / sim->block);
		nr = nr < blocks - at ? nr : blocks - at;
		io->sector = at * sim->block / SEC;
		io->len_bytes = (uint32_t)(nr * sim->block);
	}
	for (size_t i = 0; i < MAX_LEN; i += 8) {
		uint64_t bits = rng_mix(sim->frame.seed, 2, sim->nr_requests * MAX_LEN + i);

		memcpy(request->data + i, &bits, 8);
	}
	sim->nr_requests++;
}

static bool check_verdict(struct sim *sim, const struct request *request, enum io_verdict verdict)
{
	const struct io *io = &request->io;
	const char *want = request->hit ? request->hit->name : "none";
	const char *got = io->rule ? rule_name(io->rule) : "none";

	if (strcmp(got, want) != 0)
		return fail(sim, "rule %s hit, expected %s", got, want);
	if (verdict != (request->delay_ns ? IO_PARKED : IO_DONE))
		return fail(sim, "verdict %d, but %" PRIu64 " ns expected", verdict,
			    request->delay_ns);
	if (verdict == IO_PARKED && io->due_ns != sim->now_ns + request->delay_ns)
		return fail(sim, "due at %" PRIu64, io->due_ns);
	return true;
}

static bool submit(struct sim *sim, struct request *request)
{
	_cleanup_free_ char *explained = NULL;
	unsigned char before[MAX_LEN];
	enum io_verdict verdict;
	bool foretold;

	make_request(sim, request);
	memcpy(before, request->data, MAX_LEN);
	show(sim, &request->io);
	explained = pipeline_explain(sim->pipeline, &request->io, sim->now_ns);
	foretold = explained && strstr(explained, "as the last rule says\n");
	verdict = pipeline_submit(sim->pipeline, &request->io, sim->now_ns);
	model_submit(sim, request);
	if (!sim->off && foretold != !!request->hit)
		return fail(sim, "explained as\n%s", explained ? explained : "nothing");
	if (!check_verdict(sim, request, verdict))
		return false;
	if (verdict == IO_DONE)
		return check_done(sim, request, before);
	request->waiting = true;
	return true;
}

static bool resume(struct sim *sim, struct request *request)
{
	unsigned char before[MAX_LEN];

	show(sim, &request->io);
	memcpy(before, request->data, MAX_LEN);
	request->waiting = false;
	request->dead |= sim->off;
	pipeline_resume(sim->pipeline, &request->io, sim->now_ns);
	return check_done(sim, request, before);
}

static bool resume_all(struct sim *sim)
{
	for (int i = 0; i < WAITING; i++)
		if (sim->requests[i].waiting && !resume(sim, &sim->requests[i]))
			return false;
	return true;
}

/* Put the model's rule of this slot into the set and publish it; every queue adopts. */
static bool publish(struct sim *sim, unsigned int slot)
{
	const struct model_rule *model = &sim->rules[slot];
	const char *before = NULL;
	struct rule *rule = NULL;
	struct diag diag = { 0 };
	int err;

	for (unsigned int i = slot + 1; i < SLOTS && !before; i++)
		if (sim->rules[i].used)
			before = sim->rules[i].name;
	err = rule_parse(model->text, strlen(model->text), &diag, &rule);
	if (err == 0)
		err = rule_set_put(sim->set, rule, before, &diag);
	if (err == 0)
		err = pipeline_publish(sim->pipeline, sim->set, sim->now_ns, &diag, NULL);
	rule_unref(rule);
	if (err < 0)
		return fail(sim, "'%s': %s: %s", model->text, diag.id, diag.message);
	for (uint16_t q = 0; q < sim->nr_queues; q++)
		pipeline_adopt(sim->pipeline, q);
	return true;
}

/* A request waits under the rules of its arrival, whose stale state would stand still: so none. */
static bool change_rules(struct sim *sim, unsigned int slot, unsigned int mask)
{
	uint64_t next = sim->frame.next;
	bool ok = resume_all(sim);

	/* A rule that is left out must not change what is drawn after it. */
	sim->frame.next = next << 20;
	if (ok && mask >> slot & 1) {
		make_rule(sim, slot);
		if (sim->frame.verbose)
			printf("  %s\n", sim->rules[slot].text);
		ok = publish(sim, slot);
	}
	sim->frame.next = next + 1;
	return ok;
}

static bool cut_power(struct sim *sim)
{
	struct condition *condition = pipeline_condition(sim->pipeline);

	if (sim->frame.verbose)
		printf("  the power goes\n");
	atomic_store(&condition->keep, (uint32_t)draw(sim, 3));
	atomic_store(&condition->keep_bits, draw(sim, UINT64_MAX));
	atomic_store(&condition->keep_threshold, draw(sim, UINT64_MAX));
	condition_set(condition, CONDITION_OFF);
	sim->off = true;
	return true;
}

static bool revive(struct sim *sim)
{
	const struct condition *condition = pipeline_condition(sim->pipeline);
	uint64_t got, lost = 0, keep = atomic_load(&condition->keep);

	for (uint64_t i = 0; i < sim->size / sim->block; i++) {
		bool kept = keep == KEEP_ALL || (keep == KEEP_RANDOM &&
						 rng_mix(atomic_load(&condition->keep_bits), 0, i) <
							 atomic_load(&condition->keep_threshold));

		if (sim->is_volatile[i] && !kept) {
			memcpy(sim->disk + i * sim->block, sim->durable + i * sim->block,
			       sim->block);
			sim->written[i * sim->block / PAGE] = true;
			lost++;
		}
		sim->is_volatile[i] = false;
	}
	for (int i = 0; i < WAITING; i++)
		sim->requests[i].dead |= sim->requests[i].waiting;
	sim->off = false;
	if (pipeline_revive(sim->pipeline, &got) != CONDITION_OFF)
		return fail(sim, "the disk was not off");
	if (sim->frame.verbose)
		printf("  it comes back\n");
	if (got != lost)
		return fail(sim, "%" PRIu64 " blocks lost, expected %" PRIu64, got, lost);
	return check_disk(sim);
}

#include "tests/sim/rules.h"

static bool step(struct sim *sim, unsigned int mask)
{
	unsigned int slot = (unsigned int)draw(sim, SLOTS);
	struct request *request = &sim->requests[draw(sim, WAITING)];

	sim->now_ns += draw(sim, 3000);
	if (sim->off && !draw(sim, 4))
		return revive(sim);
	if (!sim->off && !draw(sim, 50))
		return cut_power(sim);
	if (sim->frame.step < 4 || !draw(sim, 30))
		return change_rules(sim, slot, mask);
	return request->waiting ? resume(sim, request) : submit(sim, request);
}

static bool run_steps(struct sim *sim, unsigned int mask)
{
	for (sim->frame.step = 0; sim->frame.step < STEPS; sim->frame.step++)
		if (!step(sim, mask))
			return false;
	return resume_all(sim) && check_counts(sim);
}

static void set_up(struct sim *sim, uint64_t seed)
{
	static const uint32_t blocks[] = { 512, 512, 1024, 4096 };
	struct pipeline_options options;

	sim->frame.seed = seed;
	sim->size = (16 + 8 * draw(sim, 15)) * SEC;
	sim->block = blocks[draw(sim, array_size(blocks))];
	sim->nr_queues = (uint16_t)(1 + draw(sim, 3));
	sim->disk_seed = draw(sim, UINT64_MAX);
	sim->now_ns = draw(sim, 1000000);
	sim->cache = draw(sim, 3);
	options = (struct pipeline_options){
		.geometry = { .size_bytes = sim->size,
			      .block_bytes = sim->block,
			      .nr_queues = sim->nr_queues },
		.seed = sim->disk_seed,
		.cache = sim->cache,
	};
	sim->set = rule_set_new();
	if (!sim->set || store_create(sim->size, NULL, &sim->store) < 0 ||
	    pipeline_create(sim->store, &options, &sim->pipeline) < 0) {
		fprintf(stderr, "sim_data: no memory\n");
		exit(1);
	}
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	struct sim sums = { .nr_requests = sim->nr_requests, .nr_rules = sim->nr_rules };
	bool ok;

	memcpy(sums.nr_hits, sim->nr_hits, sizeof(sums.nr_hits));
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
	sim->nr_requests += sums.nr_requests;
	sim->nr_rules += sums.nr_rules;
	for (int i = 0; i < NR_KINDS; i++)
		sim->nr_hits[i] += sums.nr_hits[i];
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " requests, %" PRIu64 " rules, hits: %" PRIu64 " drop, %" PRIu64
	       " lie, %" PRIu64 " misdirect, %" PRIu64 " corrupt, %" PRIu64 " stale, %" PRIu64
	       " torn",
	       sim->nr_requests, sim->nr_rules, sim->nr_hits[DROP], sim->nr_hits[LIE],
	       sim->nr_hits[MISDIRECT], sim->nr_hits[CORRUPT], sim->nr_hits[STALE],
	       sim->nr_hits[TORN]);
}

SIM_MAIN("sim_data", DEFAULT_ROUNDS, SLOTS)
