// SPDX-License-Identifier: MIT
/*
 * Power cuts of every model of a cache, snapshots and restores, on two disks at once: one queue and
 * several, the same history, and after every step the same disk. The model was written without
 * looking at the engine. It keeps the disk as bytes, what is durable, and all that is volatile: of
 * each unit its versions, or the writes. A cut must leave one of the states that these allow: it
 * looks through all of them. Snapshots are plain copies.
 *
 *	sim_snapshot [SEED [ROUNDS]]	round r uses SEED + r
 */
#include "faults/disk/apply.h"
#include "faults/engine/pipeline.h"
#include "tests/sim/sim.h"

#include <errno.h>

enum {
	SEC = 512,
	MAX_SECTORS = 160,
	MAX_LEN = 40 * SEC,
	QUEUES = 3,
	NAMES = 4,
	WRITES = 9, /* volatile at once: all subsets are looked through */
	STEPS = 150,
	DEFAULT_ROUNDS = 300,
};

enum model { PLAIN, UNITS, WHOLE, ORDER, ORDER_UNITS, NR_MODELS };

/* A volatile write; of each sector that no later durable write has covered, what it stored. */
struct write {
	uint32_t from, to;
	bool has[MAX_SECTORS];
	unsigned char data[MAX_LEN];
};

struct disk {
	struct store *store;
	struct pipeline *pipeline;
	uint16_t nr_queues;
};

struct sim {
	struct frame frame;
	enum model model;
	uint32_t nr_sectors, block, unit; /* sectors */
	struct disk disks[2];
	unsigned char now[MAX_SECTORS * SEC], durable[MAX_SECTORS * SEC];
	struct write writes[WRITES];
	unsigned int nr_writes;
	bool has_copy[NAMES];
	unsigned char copies[NAMES][MAX_SECTORS * SEC];
	uint64_t nr_cuts, nr_between, nr_snapshots, nr_restores;
};

/* ---- the model --------------------------------------------------------------------------- */

static void model_flush(struct sim *sim)
{
	memcpy(sim->durable, sim->now, sizeof(sim->now));
	sim->nr_writes = 0;
}

static bool by_unit(const struct sim *sim)
{
	return sim->model == PLAIN || sim->model == UNITS;
}

/* What is durable of [from, to) is what the disk has; no earlier write matters there. */
static void model_settle(struct sim *sim, uint32_t from, uint32_t to)
{
	if (sim->model >= ORDER) {
		model_flush(sim);
		return;
	}
	if (by_unit(sim)) {
		from -= from % sim->unit;
		to += (sim->unit - to % sim->unit) % sim->unit;
	}
	memcpy(sim->durable + from * SEC, sim->now + from * SEC, (to - from) * SEC);
	for (unsigned int i = 0; i < sim->nr_writes; i++)
		memset(sim->writes[i].has + from, 0, to - from);
}

static void model_change(struct sim *sim, const struct io *io, const unsigned char *data)
{
	uint32_t from = (uint32_t)io->sector, to = from + io->len_bytes / SEC;
	struct write *write = &sim->writes[sim->nr_writes];

	memcpy(sim->now + from * SEC, data, io->len_bytes);
	if (io->op == IO_WRITE && io->flags & IO_FUA) {
		model_settle(sim, from, to);
		return;
	}
	*write = (struct write){ .from = from, .to = to };
	memset(write->has + from, 1, to - from);
	memcpy(write->data, data, io->len_bytes);
	sim->nr_writes++;
}

/* @disk after this write, in sectors [from, to). */
static void put_write(const struct write *write, unsigned char *disk, uint32_t from, uint32_t to)
{
	for (uint32_t s = from; s < to; s++)
		if (s >= write->from && s < write->to && write->has[s])
			memcpy(disk + s * SEC, write->data + (s - write->from) * SEC, SEC);
}

/* ---- which states are legal -------------------------------------------------------------- */

static bool is_version(const struct sim *sim, const unsigned char *got, uint32_t from)
{
	unsigned char unit[MAX_SECTORS * SEC];
	uint32_t to = from + sim->unit;
	size_t at = from * SEC, len = sim->unit * SEC;

	memcpy(unit, sim->durable, sizeof(unit));
	if (memcmp(unit + at, got + at, len) == 0 || memcmp(sim->now + at, got + at, len) == 0)
		return true;
	for (unsigned int i = 0; i < sim->nr_writes && sim->model == UNITS; i++) {
		put_write(&sim->writes[i], unit, from, to);
		if (memcmp(unit + at, got + at, len) == 0)
			return true;
	}
	return false;
}

static bool is_subset(const struct sim *sim, const unsigned char *got)
{
	unsigned char disk[MAX_SECTORS * SEC];

	for (unsigned int set = 0; set < 1u << sim->nr_writes; set++) {
		memcpy(disk, sim->durable, sizeof(disk));
		for (unsigned int i = 0; i < sim->nr_writes; i++)
			if (set >> i & 1)
				put_write(&sim->writes[i], disk, 0, sim->nr_sectors);
		if (memcmp(disk, got, sim->nr_sectors * SEC) == 0)
			return true;
	}
	return false;
}

static bool is_prefix(const struct sim *sim, const unsigned char *got)
{
	unsigned char disk[MAX_SECTORS * SEC];
	uint32_t step = sim->model == ORDER ? MAX_SECTORS : sim->unit;

	memcpy(disk, sim->durable, sizeof(disk));
	if (memcmp(disk, got, sim->nr_sectors * SEC) == 0)
		return true;
	for (unsigned int i = 0; i < sim->nr_writes; i++) {
		for (uint32_t s = 0; s < sim->nr_sectors; s += step) {
			put_write(&sim->writes[i], disk, s,
				  s + step < sim->nr_sectors ? s + step : sim->nr_sectors);
			if (memcmp(disk, got, sim->nr_sectors * SEC) == 0)
				return true;
		}
	}
	return false;
}

static bool is_legal(const struct sim *sim, const unsigned char *got)
{
	if (sim->model == WHOLE)
		return is_subset(sim, got);
	if (sim->model >= ORDER)
		return is_prefix(sim, got);
	for (uint32_t s = 0; s < sim->nr_sectors; s += sim->unit)
		if (!is_version(sim, got, s))
			return false;
	return true;
}

/* ---- the disks --------------------------------------------------------------------------- */

/* A hole is not touched: the disk must stay as sparse as it is. */
static void peek(const struct disk *disk, unsigned char *to)
{
	const struct backing backing = { .store = disk->store };

	apply_peek(&backing, 0, to, store_size(disk->store));
}

static bool same(struct sim *sim, const char *what)
{
	unsigned char got[MAX_SECTORS * SEC];

	for (int i = 0; i < 2; i++) {
		peek(&sim->disks[i], got);
		for (uint32_t s = 0; s < sim->nr_sectors; s++)
			if (memcmp(got + s * SEC, sim->now + s * SEC, SEC) != 0)
				return fail(sim, "%s: disk %d differs at sector %u", what, i, s);
	}
	return true;
}

static bool same_snapshot(struct sim *sim, int name)
{
	unsigned char data[SNAPSHOT_READ_MAX], got[MAX_SECTORS * SEC];
	char text[8];

	snprintf(text, sizeof(text), "s%d", name);
	for (int i = 0; i < 2; i++) {
		struct snapshots *snapshots = pipeline_snapshots(sim->disks[i].pipeline);
		struct snapshot *snapshot = snapshots_find(snapshots, text);
		uint64_t end = sim->nr_sectors * SEC, nr;
		bool hole;

		if (!snapshot)
			return fail(sim, "snapshot %d is not there", name);
		for (uint64_t at = 0; at < end; at += nr) {
			nr = snapshots_read(snapshots, snapshot, at, end - at, data, &hole);
			if (!nr || nr > end - at)
				return fail(sim, "a read of %" PRIu64 " bytes", nr);
			if (hole)
				memset(got + at, 0, nr);
			else
				memcpy(got + at, data, nr);
		}
		if (memcmp(got, sim->copies[name], end) != 0)
			return fail(sim, "snapshot %d of disk %d differs", name, i);
	}
	return true;
}

/* ---- steps ------------------------------------------------------------------------------- */

static bool request(struct sim *sim)
{
	static const uint8_t ops[] = {
		IO_WRITE, IO_WRITE, IO_WRITE, IO_WRITE, IO_DISCARD, IO_ZEROES
	};
	unsigned char data[MAX_LEN];
	uint32_t blocks = sim->nr_sectors / sim->block, max = MAX_LEN / SEC / sim->block;
	struct io io = { .op = ops[draw(sim, array_size(ops))] };
	uint32_t from = (uint32_t)draw(sim, blocks), len;

	max = max < blocks - from ? max : blocks - from;
	len = (uint32_t)(1 + draw(sim, draw(sim, 3) ? (max < 4 ? max : 4) : max));
	io.sector = from * sim->block;
	io.len_bytes = len * sim->block * SEC;
	io.flags = !draw(sim, 6) ? IO_FUA : !draw(sim, 2) ? IO_NOUNMAP : 0;
	for (uint32_t i = 0; i < io.len_bytes; i++)
		data[i] = io.op == IO_WRITE ? (unsigned char)(1 + draw(sim, 255)) : 0;
	if (io.op != IO_WRITE)
		io.flags &= ~IO_FUA;
	io.data = io.op == IO_WRITE ? data : NULL;
	for (int i = 0; i < 2; i++) {
		struct io copy = io;

		copy.queue = (uint16_t)draw(sim, sim->disks[i].nr_queues);
		if (pipeline_submit(sim->disks[i].pipeline, &copy, 0) != IO_DONE || copy.result < 0)
			return fail(sim, "a request failed");
	}
	model_change(sim, &io, data);
	return true;
}

static bool flush(struct sim *sim)
{
	for (int i = 0; i < 2; i++) {
		struct io io = { .op = IO_FLUSH };

		pipeline_submit(sim->disks[i].pipeline, &io, 0);
	}
	model_flush(sim);
	return true;
}

static bool crash(struct sim *sim)
{
	struct power_cut cut = { .keep = (enum keep)draw(sim, 4), .threshold = 1ull << 63 };
	unsigned char got[2][MAX_SECTORS * SEC];
	struct power_cut_result result[2];

	cut.bits = draw(sim, 1000000);
	cut.nr_pattern = 4 * (uint32_t)(1 + draw(sim, 6));
	for (uint32_t i = 0; i < sizeof(cut.pattern); i++)
		cut.pattern[i] = (unsigned char)draw(sim, 256);
	for (int i = 0; i < 2; i++) {
		struct pipeline *pipeline = sim->disks[i].pipeline;
		uint64_t lost;

		if (pipeline_crash(pipeline, &cut, draw(sim, 2), &result[i]))
			return fail(sim, "no power cut");
		if (pipeline_crash(pipeline, &cut, false, &result[i]) != -EALREADY)
			return fail(sim, "two power cuts");
		if (!(pipeline_revive(pipeline, &lost) & CONDITION_OFF) ||
		    lost != result[i].nr_lost || pipeline_nr_volatile(pipeline))
			return fail(sim, "a revival that makes no sense");
		peek(&sim->disks[i], got[i]);
	}
	if (memcmp(got[0], got[1], sim->nr_sectors * SEC) != 0 ||
	    memcmp(&result[0], &result[1], sizeof(result[0])) != 0)
		return fail(sim,
			    "the same cut, two states: lost %" PRIu64 " of %" PRIu64 ", %" PRIu64
			    " of %" PRIu64,
			    result[0].nr_lost, result[0].nr_volatile, result[1].nr_lost,
			    result[1].nr_volatile);
	if (!is_legal(sim, got[0]))
		return fail(sim, "keep %d leaves a state that cannot be", cut.keep);
	if (cut.keep == KEEP_ALL && memcmp(got[0], sim->now, sim->nr_sectors * SEC) != 0)
		return fail(sim, "keep all lost something");
	if (cut.keep == KEEP_NONE && memcmp(got[0], sim->durable, sim->nr_sectors * SEC) != 0)
		return fail(sim, "keep none kept something");
	sim->nr_cuts++;
	sim->nr_between += result[0].nr_lost && result[0].nr_lost < result[0].nr_volatile;
	memcpy(sim->now, got[0], sizeof(sim->now));
	model_flush(sim);
	return true;
}

static bool snapshot(struct sim *sim)
{
	int name = (int)draw(sim, NAMES);
	char text[8];

	snprintf(text, sizeof(text), "s%d", name);
	for (int i = 0; i < 2; i++) {
		struct pipeline *pipeline = sim->disks[i].pipeline;

		if (sim->has_copy[name] && draw(sim, 1000) < 100 && i == 0 &&
		    pipeline_snapshot_add(pipeline, text, 0, NULL) != -EEXIST)
			return fail(sim, "two of one name");
		if (sim->has_copy[name] &&
		    pipeline_snapshot_remove(pipeline,
					     snapshots_find(pipeline_snapshots(pipeline), text)))
			return fail(sim, "no removal");
		if (!sim->has_copy[name] && pipeline_snapshot_add(pipeline, text, 1, NULL))
			return fail(sim, "no snapshot");
	}
	sim->has_copy[name] = !sim->has_copy[name];
	memcpy(sim->copies[name], sim->now, sizeof(sim->now));
	sim->nr_snapshots += sim->has_copy[name];
	return true;
}

static bool restore(struct sim *sim)
{
	int name = (int)draw(sim, NAMES);
	char text[8];

	if (!sim->has_copy[name])
		return true;
	snprintf(text, sizeof(text), "s%d", name);
	for (int i = 0; i < 2; i++) {
		struct pipeline *pipeline = sim->disks[i].pipeline;

		if (pipeline_snapshot_restore(
			    pipeline, snapshots_find(pipeline_snapshots(pipeline), text), NULL))
			return fail(sim, "no restore");
		if (pipeline_nr_volatile(pipeline))
			return fail(sim, "something is volatile after a restore");
	}
	memcpy(sim->now, sim->copies[name], sizeof(sim->now));
	model_flush(sim);
	sim->nr_restores++;
	return true;
}

static bool step(struct sim *sim)
{
	uint64_t what = draw(sim, 100);

	if (what < 6 || sim->nr_writes == WRITES)
		return what & 1 ? crash(sim) : flush(sim);
	if (what < 14)
		return crash(sim);
	if (what < 24)
		return snapshot(sim);
	if (what < 28)
		return restore(sim);
	return request(sim);
}

/* ---- rounds ------------------------------------------------------------------------------ */

static void make_disks(struct sim *sim)
{
	static const uint32_t blocks[] = { 1, 1, 2, 8 };
	struct cache_model model = { 0 };

	sim->block = blocks[draw(sim, array_size(blocks))];
	sim->model = (enum model)draw(sim, NR_MODELS);
	sim->unit = sim->model == PLAIN ? sim->block : 1u << draw(sim, 5);
	sim->nr_sectors = 16 * (uint32_t)(1 + draw(sim, MAX_SECTORS / 16));
	model.unit_bytes = sim->model == UNITS || sim->model == ORDER_UNITS ? sim->unit * SEC : 0;
	model.whole_writes = sim->model == WHOLE;
	model.in_order = sim->model >= ORDER;
	model.size_bytes = sim->model != PLAIN && draw(sim, 2) ? CACHE_SIZE_MIN : 0;
	for (int i = 0; i < 2; i++) {
		struct disk *disk = &sim->disks[i];
		struct pipeline_options options = { .cache = true, .cache_model = model };

		disk->nr_queues = i ? QUEUES : 1;
		options.geometry = (struct rule_geometry){ .size_bytes = sim->nr_sectors * SEC,
							   .block_bytes = sim->block * SEC,
							   .nr_queues = disk->nr_queues };
		if (store_create(sim->nr_sectors * SEC, NULL, &disk->store) ||
		    pipeline_create(disk->store, &options, &disk->pipeline))
			abort();
	}
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	const struct sim counts = *sim;
	bool ok = true;

	(void)mask;
	*sim = (struct sim){ .frame = { .seed = seed, .verbose = verbose } };
	sim->nr_cuts = counts.nr_cuts;
	sim->nr_between = counts.nr_between;
	sim->nr_snapshots = counts.nr_snapshots;
	sim->nr_restores = counts.nr_restores;
	make_disks(sim);
	if (verbose)
		printf("model %d, block %u, unit %u, %u sectors\n", sim->model, sim->block,
		       sim->unit, sim->nr_sectors);
	for (sim->frame.step = 0; ok && sim->frame.step < STEPS; sim->frame.step++) {
		ok = step(sim) && same(sim, "the disk");
		for (int name = 0; ok && name < NAMES; name++)
			ok = !sim->has_copy[name] || same_snapshot(sim, name);
	}
	for (int i = 0; i < 2; i++) {
		pipeline_free(sim->disks[i].pipeline);
		store_free(sim->disks[i].store);
	}
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " power cuts, %" PRIu64 " of them lost a part; %" PRIu64
	       " snapshots, %" PRIu64 " restores",
	       sim->nr_cuts, sim->nr_between, sim->nr_snapshots, sim->nr_restores);
}

SIM_MAIN("sim_snapshot", DEFAULT_ROUNDS, 0)
