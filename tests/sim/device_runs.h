/* SPDX-License-Identifier: MIT */
/*
 * Of sim_device: what it is about; and every run of the device that gives a certain recording.
 */
#ifndef TESTS_DEVICE_RUNS_H
#define TESTS_DEVICE_RUNS_H

#include "faults/crash/crash.h"
#include "tests/sim/sim.h"

enum {
	DEFAULT_ROUNDS = 3000,
	SLOTS = 12,
	DISKS = 2,
	SECTOR = 512,
	WIDTH = 16, /* sectors of a disk */
	DEPTH = 4 * SLOTS + 1,
	LOOKS = 6,
	DRAWS = 8, /* of each look */
	HAPPENINGS = SLOTS * (WIDTH + 4) + LOOKS,
	STATES_MAX = 4096, /* of the cursor, that are listed */
	RUNS_MAX = 30000,
	RUNS_SLOTS = 1 << 16,
	NOT_YET = 0xff,
};

/* What is on a disk, or on a part of it: a letter for each sector, 0 where it is zero. */
struct print {
	unsigned char letters[WIDTH];
};

struct request {
	bool used, flush, fua, zeroes, fails, lies, honest;
	uint16_t disk;
	unsigned int queue, at, len; /* sectors */
	unsigned char letter;
	uint64_t begin, end;  /* instants; end: UINT64_MAX: it is never over */
	uint64_t done[WIDTH]; /* for each cell that it touches; UINT64_MAX: never */
	uint64_t safe;        /* FUA: durable */
	uint64_t begin_step, end_step;
};

enum happens { BEGINS, DOES, SAFE, ENDS, LOOK };

struct happening {
	uint64_t instant;
	enum happens what;
	unsigned int slot, cell;
};

/* Sectors that the device loses or keeps as one, with all that they have ever held. */
struct cell {
	struct print held[DEPTH];
	unsigned int nr, safe; /* the first one that may be durable */
	unsigned int by[SLOTS];
};

/* Or whole requests, in the order in which they were carried out. */
struct journal_of_device {
	unsigned int slots[SLOTS];
	bool safe[SLOTS];
	unsigned int nr, nr_safe;
};

struct device {
	struct print base;
	struct cell cells[WIDTH];
	struct journal_of_device log;
};

struct outcome {
	uint64_t step;
	struct print disks[DISKS];
};

/* One way in which things may have gone, up to some recorded event. */
struct run {
	unsigned char order[SLOTS];
	unsigned char nr, safe;    /* in order: so many are durable for sure */
	uint16_t did, never, sure; /* by slot */
};

struct sim {
	struct frame frame;
	struct crash_options options;
	unsigned int nr_disks, cell_sectors, block_sectors[DISKS];
	bool cache[DISKS];
	struct request requests[SLOTS];
	struct happening happenings[HAPPENINGS];
	unsigned int nr_happenings;
	struct device devices[DISKS];
	struct outcome outcomes[LOOKS * DRAWS];
	unsigned int nr_outcomes;
	unsigned char order[2 * SLOTS + 1]; /* of recorded events: slot, and 0x80: its end */
	uint64_t step;
	struct journal *journal;
	struct crash *crash;
	unsigned char images[DISKS][WIDTH * SECTOR], shown[DISKS][WIDTH * SECTOR];
	unsigned char data[SLOTS][WIDTH * SECTOR], extents[DISKS][WIDTH * SECTOR];
	/* What the cursor has. */
	struct outcome *states;
	unsigned int nr_states;
	/* All runs. */
	struct run *runs;
	uint32_t *slots;
	unsigned int nr_runs;
	unsigned int rivals; /* of the step: how many hang together at most */
	/* Of all rounds. */
	uint64_t nr_looks, nr_compared, nr_admitted, nr_skipped;
	uint64_t nr_enumerated[CRASH_ORDER + 1]; /* of units, whole writes, in order */
	uint64_t nr_places[2][CRASH_ORDER + 1];  /* compared in whole: without rivals, with */
};

static uint64_t pick(const struct sim *sim, unsigned int slot, unsigned int what, uint64_t bound)
{
	return rng_below(rng_mix(sim->frame.seed, 7000 + slot, what), bound);
}

static void put_letters(const struct request *r, unsigned int from, unsigned int to,
			struct print *print)
{
	for (unsigned int i = from; i < to; i++)
		if (i >= r->at && i < r->at + r->len)
			print->letters[i] = r->zeroes ? 0 : r->letter;
}

static void say_print(const char *what, const struct print *print)
{
	printf("  %s [", what);
	for (unsigned int i = 0; i < WIDTH; i++)
		printf("%c", print->letters[i] ? print->letters[i] : '.');
	printf("]\n");
}

/* ------------------------------------------------------------------------------ all runs */

static bool know_run(struct sim *sim, const struct run *run)
{
	uint64_t hash = rng_mix(run->did | (uint64_t)run->never << 16 | (uint64_t)run->sure << 32,
				run->nr, run->safe);

	for (unsigned int i = 0; i < run->nr; i++)
		hash = rng_mix(hash, i, run->order[i]);
	for (hash %= RUNS_SLOTS; sim->slots[hash]; hash = (hash + 1) % RUNS_SLOTS)
		if (!memcmp(&sim->runs[sim->slots[hash] - 1], run, sizeof(*run)))
			return true;
	if (sim->nr_runs == RUNS_MAX)
		return false;
	sim->runs[sim->nr_runs++] = *run;
	sim->slots[hash] = sim->nr_runs;
	return true;
}

static void forget_runs(struct sim *sim)
{
	memset(sim->slots, 0, RUNS_SLOTS * sizeof(*sim->slots));
	sim->nr_runs = 0;
}

/* Of all runs so far: each that has begun may be carried out now, or later. false: too many. */
static bool go_on(struct sim *sim, uint16_t begun, uint16_t concerned)
{
	for (unsigned int i = 0; i < sim->nr_runs; i++)
		for (unsigned int slot = 0; slot < SLOTS; slot++) {
			struct run run = sim->runs[i];
			uint16_t bit = (uint16_t)(1u << slot);

			if (!(begun & concerned & bit) || (run.did | run.never) & bit)
				continue;
			run.did |= bit;
			if (sim->requests[slot].flush) {
				run.safe = run.nr;
				run.sure = run.did;
			} else {
				run.order[run.nr++] = (unsigned char)slot;
				if (!sim->cache[sim->requests[slot].disk]) {
					run.safe = run.nr;
					run.sure |= bit;
				}
			}
			if (!know_run(sim, &run))
				return false;
		}
	return true;
}

/* The end of a request: runs in which that cannot be are given up. */
static bool end_request(struct sim *sim, struct run *run, unsigned int slot)
{
	const struct request *r = &sim->requests[slot];
	uint16_t bit = (uint16_t)(1u << slot);

	if (r->fails || (r->lies && sim->options.illegal)) {
		run->never |= ~run->did & bit;
		return true;
	}
	if (!(run->did & bit))
		return false;
	for (unsigned char i = 0; r->fua && !r->flush && i < run->nr; i++) {
		if (run->order[i] != slot)
			continue;
		run->sure |= bit;
		if (run->safe < i + 1)
			run->safe = i + 1;
	}
	return true;
}

static bool end_in_all(struct sim *sim, unsigned int slot)
{
	_cleanup_free_ struct run *old = malloc(RUNS_MAX * sizeof(*old));
	unsigned int nr = sim->nr_runs;

	memcpy(old, sim->runs, nr * sizeof(*old));
	forget_runs(sim);
	for (unsigned int i = 0; i < nr; i++)
		if (end_request(sim, &old[i], slot) && !know_run(sim, &old[i]))
			return false;
	return true;
}

/* Whatever may have happened up to the step among these requests; false: too much. */
static bool all_runs(struct sim *sim, uint16_t concerned, uint64_t step)
{
	struct run first = { .nr = 0 };
	uint16_t begun = 0;

	forget_runs(sim);
	know_run(sim, &first);
	for (uint64_t i = 0; i < step; i++) {
		unsigned int slot = sim->order[i] & 0x7f;

		if (!(concerned >> slot & 1))
			continue;
		if (!(sim->order[i] & 0x80))
			begun |= (uint16_t)(1u << slot);
		else if (!go_on(sim, begun, concerned) || !end_in_all(sim, slot))
			return false;
	}
	return go_on(sim, begun, concerned);
}

static int compare_prints(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct print));
}

static unsigned int different(struct print *prints, unsigned int nr)
{
	unsigned int kept = 0;

	qsort(prints, nr, sizeof(*prints), compare_prints);
	for (unsigned int i = 0; i < nr; i++)
		if (!kept || compare_prints(&prints[kept - 1], &prints[i]) != 0)
			prints[kept++] = prints[i];
	return kept;
}

/* What a run leaves of sectors [from, to): each prefix that is long enough, or each set. */
static unsigned int leave(const struct sim *sim, const struct run *run, const struct print *base,
			  unsigned int from, unsigned int to, struct print *prints)
{
	bool sets = sim->options.atomic == CRASH_WRITE;
	unsigned int nr = 0, end = sets ? 1u << run->nr : run->nr + 1u;

	for (unsigned int n = sets ? 0 : run->safe; n < end; n++) {
		struct print print = *base;
		bool all = true;

		for (unsigned int i = 0; i < run->nr; i++) {
			bool kept = sets ? n >> i & 1 : i < n;

			all &= kept || !sets || !(run->sure >> run->order[i] & 1);
			if (kept)
				put_letters(&sim->requests[run->order[i]], from, to, &print);
		}
		if (all)
			prints[nr++] = print;
	}
	return nr;
}

enum { PRINTS_MAX = 1 << 20 };

static unsigned int leave_all(const struct sim *sim, const struct print *base, unsigned int from,
			      unsigned int to, struct print *prints)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < sim->nr_runs; i++) {
		if (nr + (1u << sim->runs[i].nr) > PRINTS_MAX)
			nr = different(prints, nr);
		nr += leave(sim, &sim->runs[i], base, from, to, prints + nr);
	}
	return different(prints, nr);
}

/* Letters of [from, to) of the disk as the cursor has them; the others as in @base. */
static unsigned int print_states(const struct sim *sim, unsigned int disk, const struct print *base,
				 unsigned int from, unsigned int to, struct print *prints)
{
	for (unsigned int i = 0; i < sim->nr_states; i++) {
		prints[i] = *base;
		memcpy(prints[i].letters + from, sim->states[i].disks[disk].letters + from,
		       to - from);
	}
	return different(prints, sim->nr_states);
}

static bool check_same(struct sim *sim, const struct print *left, unsigned int nr_left,
		       const struct print *states, unsigned int nr, bool missing)
{
	unsigned int i = 0;

	if (!missing) {
		sim->nr_enumerated[sim->options.atomic] += nr_left;
		sim->nr_places[sim->rivals > 1][sim->options.atomic]++;
	}
	for (unsigned int k = 0; k < nr; k++) {
		while (i < nr_left && compare_prints(&left[i], &states[k]) < 0)
			if (missing)
				i++;
			else
				break;
		if (i < nr_left && !compare_prints(&left[i], &states[k])) {
			i++;
			continue;
		}
		if (sim->frame.verbose)
			say_print("about", &states[k]);
		return fail(sim, "%u states, %u that some run leaves; they differ", nr, nr_left);
	}
	return i == nr_left || missing || fail(sim, "%u states of %u", nr, nr_left);
}

static bool check_place(struct sim *sim, uint64_t step, unsigned int disk, unsigned int from,
			unsigned int to, bool missing)
{
	static struct print left[PRINTS_MAX + (1 << SLOTS)];
	static struct print states[STATES_MAX + 1];
	const struct print *base = &sim->devices[disk].base;
	uint16_t concerned = 0;
	unsigned int nr_left, nr, nr_writes = 0;

	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		const struct request *r = &sim->requests[slot];
		bool here = r->used && r->disk == disk &&
			    (r->flush || (r->at < to && r->at + r->len > from));

		if (here && r->begin_step <= step) {
			concerned |= (uint16_t)(1u << slot);
			nr_writes += !r->flush;
		}
	}
	if (nr_writes > 6 || !all_runs(sim, concerned, step)) {
		sim->nr_skipped++;
		return true;
	}
	nr_left = leave_all(sim, base, from, to, left);
	nr = print_states(sim, disk, base, from, to, states);
	return check_same(sim, left, nr_left, states, nr, missing);
}

static bool check_all_runs(struct sim *sim, uint64_t step, bool missing)
{
	for (unsigned int disk = 0; disk < sim->nr_disks; disk++) {
		if (sim->options.atomic != CRASH_UNIT) {
			if (!check_place(sim, step, disk, 0, WIDTH, missing))
				return false;
			continue;
		}
		for (unsigned int i = 0; i < WIDTH; i += sim->cell_sectors)
			if (!check_place(sim, step, disk, i, i + sim->cell_sectors, missing))
				return false;
	}
	return true;
}

#endif
