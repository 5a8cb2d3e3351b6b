// SPDX-License-Identifier: MIT
/*
 * A device that runs, as a hardware engineer would build one, against the states of its recording.
 *
 * It knows nothing of what faults/crash/crash.h defines. Requests begin, are carried out at some instant
 * and end, on several queues and disks; a write goes through the cache, whose content is destaged
 * to the medium; then somebody looks at what a loss of power would leave at that instant. All that is
 * recorded are beginnings and ends. Each look must be one of the states that the cursor has there.
 *
 * In small rounds the other way round as well: every run that would have given the same recording
 * is carried out, and what all of them together may leave is exactly what the cursor has.
 *
 *	sim_device [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the requests in use
 */
#include "tests/sim/device_runs.h"

/* ------------------------------------------------------------------------------ the plan */

/* Instants are all different: their last digits tell whose they are. */
static uint64_t instant(uint64_t time, unsigned int slot, unsigned int what)
{
	return (time << 16) + ((uint64_t)slot << 8) + what;
}

static void draw_times(struct sim *sim, unsigned int slot, struct request *r)
{
	uint64_t takes =
		pick(sim, slot, 1, 4) ? 1 + pick(sim, slot, 2, 300) : 1 + pick(sim, slot, 2, 3000);
	uint64_t begin = pick(sim, slot, 3, 2000), last = 0;

	r->begin = instant(begin, slot, 0);
	r->end = instant(begin + takes, slot, 0xff);
	for (unsigned int i = 0; i < WIDTH; i++) {
		bool does = r->lies && !r->honest ? pick(sim, slot, 20 + i, 2)
			    : r->fails            ? pick(sim, slot, 20 + i, 3)
						  : true;
		/* Whole requests are one thing. */
		unsigned int part = sim->options.atomic == CRASH_UNIT && !r->flush ? i : 0;

		if (part != i) {
			r->done[i] = r->done[0];
			continue;
		}
		r->done[i] = does ? instant(begin + pick(sim, slot, 40 + i, takes), slot, 1 + i)
				  : UINT64_MAX;
		if (does && r->done[i] > last)
			last = r->done[i];
	}
	r->safe = pick(sim, slot, 4, 2) ? r->end - 1 : last + 1;
	if (!pick(sim, slot, 5, 6))
		r->end = r->safe = UINT64_MAX;
}

static void draw_request(struct sim *sim, unsigned int slot)
{
	struct request *r = &sim->requests[slot];
	unsigned int block, blocks;

	*r = (struct request){ .used = true, .letter = (unsigned char)('a' + slot) };
	r->disk = (uint16_t)pick(sim, slot, 6, sim->nr_disks);
	r->queue = (unsigned int)pick(sim, slot, 7, 3);
	r->flush = !pick(sim, slot, 8, 4);
	r->fua = !pick(sim, slot, 9, 5);
	r->zeroes = !pick(sim, slot, 10, 6);
	r->fails = !pick(sim, slot, 11, 7);
	r->lies = !pick(sim, slot, 12, 10);
	r->honest = !sim->options.illegal;
	block = sim->block_sectors[r->disk];
	blocks = WIDTH / block;
	r->at = block * (unsigned int)pick(sim, slot, 13, blocks);
	r->len = block * (1 + (unsigned int)pick(sim, slot, 14, 4));
	if (r->at + r->len > WIDTH)
		r->len = WIDTH - r->at;
	if (!pick(sim, slot, 15, 8))
		r->letter = pick(sim, slot, 16, 2) ? 'a' : 0;
	draw_times(sim, slot, r);
}

static void happens(struct sim *sim, uint64_t at, enum happens what, unsigned int slot,
		    unsigned int cell)
{
	if (at != UINT64_MAX)
		sim->happenings[sim->nr_happenings++] = (struct happening){ at, what, slot, cell };
}

static bool touches(const struct sim *sim, const struct request *r, unsigned int cell)
{
	unsigned int from = cell * sim->cell_sectors;

	return r->at < from + sim->cell_sectors && from < r->at + r->len;
}

static int compare_instants(const void *a, const void *b)
{
	const struct happening *x = a, *y = b;

	return (x->instant > y->instant) - (x->instant < y->instant);
}

static void plan(struct sim *sim, unsigned int mask)
{
	sim->nr_happenings = 0;
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		struct request *r = &sim->requests[slot];

		*r = (struct request){ .used = false };
		if (!(mask >> slot & 1) || pick(sim, slot, 0, 8) > pick(sim, 99, 0, 8))
			continue;
		draw_request(sim, slot);
		happens(sim, r->begin, BEGINS, slot, 0);
		happens(sim, r->end, ENDS, slot, 0);
		if (r->fua && !r->flush)
			happens(sim, r->safe, SAFE, slot, 0);
		for (unsigned int i = 0; i < WIDTH; i++)
			if (r->flush || sim->options.atomic != CRASH_UNIT ? !i : touches(sim, r, i))
				happens(sim, r->done[i], DOES, slot, i);
	}
	for (unsigned int i = 0; i < LOOKS; i++)
		happens(sim, instant(pick(sim, 90 + i, 0, 3000), 200, i), LOOK, i, 0);
	qsort(sim->happenings, sim->nr_happenings, sizeof(*sim->happenings), compare_instants);
}

/* ------------------------------------------------------------------------------ the device */

/* A cell takes its part of the write. */
static void cell_does(struct sim *sim, struct device *device, unsigned int slot, unsigned int index)
{
	struct cell *cell = &device->cells[index];
	unsigned int from = index * sim->cell_sectors;

	cell->held[cell->nr] = cell->held[cell->nr - 1];
	put_letters(&sim->requests[slot], from, from + sim->cell_sectors, &cell->held[cell->nr]);
	cell->by[slot] = cell->nr++;
	if (!sim->cache[sim->requests[slot].disk])
		cell->safe = cell->nr - 1;
}

static void device_does(struct sim *sim, unsigned int slot, unsigned int index)
{
	const struct request *r = &sim->requests[slot];
	struct device *device = &sim->devices[r->disk];

	if (r->flush) {
		for (unsigned int i = 0; i < WIDTH / sim->cell_sectors; i++)
			device->cells[i].safe = device->cells[i].nr - 1;
		for (unsigned int i = 0; i < device->log.nr; i++)
			device->log.safe[i] = true;
		device->log.nr_safe = device->log.nr;
	} else if (sim->options.atomic == CRASH_UNIT) {
		cell_does(sim, device, slot, index);
	} else {
		device->log.safe[device->log.nr] = !sim->cache[r->disk];
		device->log.slots[device->log.nr++] = slot;
		if (!sim->cache[r->disk])
			device->log.nr_safe = device->log.nr;
	}
}

/* A write with FUA is durable, with all that its cell held before. */
static void device_is_safe(struct sim *sim, unsigned int slot)
{
	struct device *device = &sim->devices[sim->requests[slot].disk];

	for (unsigned int i = 0; i < WIDTH / sim->cell_sectors; i++)
		if (device->cells[i].by[slot] > device->cells[i].safe)
			device->cells[i].safe = device->cells[i].by[slot];
	for (unsigned int i = 0; i < device->log.nr; i++) {
		if (device->log.slots[i] != slot)
			continue;
		device->log.safe[i] = true;
		if (device->log.nr_safe < i + 1)
			device->log.nr_safe = i + 1;
	}
}

/* The power is lost: what is durable by chance. */
static struct print lose_power(struct sim *sim, const struct device *device)
{
	struct print print = device->base;
	unsigned int keep;

	switch (sim->options.atomic) {
	case CRASH_UNIT:
		for (unsigned int i = 0; i < WIDTH / sim->cell_sectors; i++) {
			const struct cell *cell = &device->cells[i];
			unsigned int version =
				cell->safe + (unsigned int)draw(sim, cell->nr - cell->safe);

			memcpy(print.letters + i * sim->cell_sectors,
			       cell->held[version].letters + i * sim->cell_sectors,
			       sim->cell_sectors);
		}
		break;
	case CRASH_WRITE:
		for (unsigned int i = 0; i < device->log.nr; i++)
			if (device->log.safe[i] || draw(sim, 2))
				put_letters(&sim->requests[device->log.slots[i]], 0, WIDTH, &print);
		break;
	case CRASH_ORDER:
		keep = device->log.nr_safe +
		       (unsigned int)draw(sim, device->log.nr - device->log.nr_safe + 1);
		for (unsigned int i = 0; i < keep; i++)
			put_letters(&sim->requests[device->log.slots[i]], 0, WIDTH, &print);
		break;
	}
	return print;
}

static void look(struct sim *sim)
{
	sim->nr_looks++;
	for (unsigned int i = 0; i < DRAWS; i++) {
		struct outcome *outcome = &sim->outcomes[sim->nr_outcomes++];

		*outcome = (struct outcome){ .step = sim->step };
		for (unsigned int disk = 0; disk < sim->nr_disks; disk++)
			outcome->disks[disk] = lose_power(sim, &sim->devices[disk]);
	}
}

static void switch_on(struct sim *sim)
{
	sim->step = 0;
	sim->nr_outcomes = 0;
	for (unsigned int disk = 0; disk < sim->nr_disks; disk++) {
		struct device *device = &sim->devices[disk];

		memset(device, 0, sizeof(*device));
		for (unsigned int i = 0; i < WIDTH; i++)
			if (pick(sim, 80 + disk, 1, 3) == 0 && pick(sim, 80 + disk, 2 + i, 2))
				device->base.letters[i] = (unsigned char)('0' + i % 10);
		for (unsigned int i = 0; i < WIDTH; i++) {
			device->cells[i].held[0] = device->base;
			device->cells[i].nr = 1;
		}
	}
}

static void let_it_run(struct sim *sim)
{
	switch_on(sim);
	for (unsigned int i = 0; i < sim->nr_happenings; i++) {
		const struct happening *h = &sim->happenings[i];
		struct request *r = &sim->requests[h->what == LOOK ? 0 : h->slot];

		switch (h->what) {
		case BEGINS:
			sim->order[sim->step] = (unsigned char)h->slot;
			r->begin_step = ++sim->step;
			break;
		case DOES:
			device_does(sim, h->slot, h->cell);
			break;
		case SAFE:
			device_is_safe(sim, h->slot);
			break;
		case ENDS:
			sim->order[sim->step] = (unsigned char)h->slot | 0x80;
			r->end_step = ++sim->step;
			break;
		case LOOK:
			look(sim);
			break;
		}
	}
}

/* ------------------------------------------------------------------------------ the recording */

static void record_request(struct sim *sim, unsigned int slot)
{
	const struct request *r = &sim->requests[slot];
	uint64_t end = r->end == UINT64_MAX ? JOURNAL_NEVER : r->end_step;

	memset(sim->data[slot], r->letter, sizeof(sim->data[slot]));
	if (r->flush)
		journal_add_flush(sim->journal, &(struct journal_flush){ .submit = r->begin_step,
									 .complete = end,
									 .disk = r->disk,
									 .failed = r->fails,
									 .false_ack = r->lies });
	else
		journal_add_write(sim->journal, &(struct journal_write){
							.submit = r->begin_step,
							.complete = end,
							.at = r->at * SECTOR,
							.len_bytes = r->len * SECTOR,
							.data = r->zeroes ? NULL : sim->data[slot],
							.flags = r->fua ? IO_FUA : 0,
							.disk = r->disk,
							.op = r->zeroes ? IO_DISCARD : IO_WRITE,
							.failed = r->fails,
							.false_ack = r->lies });
}

static bool record(struct sim *sim)
{
	struct diag diag = { 0 };
	struct crash_image images[DISKS];

	if (journal_new(&sim->journal) < 0)
		return fail(sim, "no memory");
	for (unsigned int i = 0; i < sim->nr_disks; i++) {
		struct journal_disk disk = { .size_bytes = WIDTH * SECTOR,
					     .block_bytes = sim->block_sectors[i] * SECTOR,
					     .cache = sim->cache[i] };

		snprintf(disk.name, sizeof(disk.name), "d%u", i);
		journal_add_disk(sim->journal, &disk);
		for (unsigned int k = 0; k < WIDTH; k++)
			memset(sim->extents[i] + k * SECTOR, sim->devices[i].base.letters[k],
			       SECTOR);
		journal_add_extent(sim->journal,
				   &(struct journal_extent){ .disk = (uint16_t)i,
							     .len_bytes = WIDTH * SECTOR,
							     .data = sim->extents[i] });
		images[i] = (struct crash_image){ sim->images[i], -1 };
	}
	for (unsigned int slot = 0; slot < SLOTS; slot++)
		if (sim->requests[slot].used)
			record_request(sim, slot);
	memset(sim->images, 0, sizeof(sim->images));
	if (journal_seal(sim->journal, &diag) < 0 ||
	    crash_create(sim->journal, &sim->options, images, &diag, &sim->crash) < 0)
		return fail(sim, "%s", diag.message);
	return true;
}

/* ------------------------------------------------------------------------------ what the cursor has */

static int show(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	struct sim *sim = ctx;

	if (data)
		memcpy(sim->shown[disk] + at, data, len);
	else
		memset(sim->shown[disk] + at, 0, len);
	return 0;
}

static bool read_letters(const unsigned char *bytes, unsigned int from, unsigned int to,
			 struct print *print)
{
	for (unsigned int i = from; i < to; i++) {
		const unsigned char *sector = bytes + (size_t)i * SECTOR;

		if (memcmp(sector, sector + 1, SECTOR - 1) != 0)
			return false;
		print->letters[i] = sector[0];
	}
	return true;
}

static bool read_state(struct sim *sim, const uint16_t *picks, struct outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	memcpy(sim->shown, sim->images, sizeof(sim->shown));
	crash_put(sim->crash, picks, show, sim);
	for (unsigned int i = 0; i < sim->nr_disks; i++)
		if (!read_letters(sim->shown[i], 0, WIDTH, &outcome->disks[i]))
			return fail(sim, "a sector in pieces");
	return true;
}

/* All states; CRASH_UNIT: with nothing but this choice decided otherwise than it is durably. */
static bool list_states(struct sim *sim)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices);
	uint16_t picks[DISKS * WIDTH + SLOTS + DISKS] = { 0 };
	struct crash_count count;

	sim->nr_states = 0;
	crash_count(sim->crash, &count);
	if (sim->options.atomic == CRASH_UNIT) {
		read_state(sim, picks, &sim->states[sim->nr_states++]);
		for (size_t i = 0; i < nr; i++, picks[i - 1] = 0)
			for (picks[i] = 1; picks[i] < choices[i].nr; picks[i]++)
				if (!read_state(sim, picks, &sim->states[sim->nr_states++]))
					return false;
		return true;
	}
	if (count.exact > STATES_MAX)
		return true;
	do {
		if (sim->nr_states == count.exact)
			return fail(sim, "more states than were counted");
		if (!read_state(sim, picks, &sim->states[sim->nr_states++]))
			return false;
	} while (crash_next(sim->crash, picks));
	return sim->nr_states == count.exact ||
	       fail(sim, "%u states, and %" PRIu64 " were counted", sim->nr_states, count.exact);
}

/* ------------------------------------------------------------------------------ a look */

static bool is_state(const struct sim *sim, const struct outcome *outcome)
{
	for (unsigned int i = 0; i < sim->nr_states; i++)
		if (!memcmp(sim->states[i].disks, outcome->disks, sizeof(outcome->disks)))
			return true;
	return false;
}

static bool is_cell_state(const struct sim *sim, const struct outcome *outcome, unsigned int disk,
			  unsigned int cell)
{
	unsigned int from = cell * sim->cell_sectors;

	for (unsigned int i = 0; i < sim->nr_states; i++)
		if (!memcmp(sim->states[i].disks[disk].letters + from,
			    outcome->disks[disk].letters + from, sim->cell_sectors))
			return true;
	return false;
}

/* Requests in one place at one time, so that it counts which came first. */
static bool are_rivals(const struct request *x, const struct request *y, uint64_t step)
{
	return x->used && y->used && !x->flush && !y->flush && x->disk == y->disk &&
	       x->at < y->at + y->len && y->at < x->at + x->len && x->begin_step <= step &&
	       y->begin_step <= step && x->begin < y->end && y->begin < x->end;
}

/* How many of them at most hang together. */
static unsigned int most_rivals(const struct sim *sim, uint64_t step)
{
	unsigned int groups[SLOTS], most = 0;

	for (unsigned int a = 0; a < SLOTS; a++)
		groups[a] = a;
	for (unsigned int a = 0; a < SLOTS; a++)
		for (unsigned int b = 0; b < a; b++) {
			unsigned int of_b = groups[b];

			if (!are_rivals(&sim->requests[a], &sim->requests[b], step))
				continue;
			for (unsigned int i = 0; i < SLOTS; i++)
				if (groups[i] == of_b)
					groups[i] = groups[a];
		}
	for (unsigned int a = 0; a < SLOTS; a++) {
		unsigned int nr = 0;

		for (unsigned int b = 0; b < SLOTS; b++)
			nr += groups[b] == a;
		most = nr > most ? nr : most;
	}
	return most;
}

static bool check_outcome(struct sim *sim, const struct outcome *outcome, bool missing)
{
	bool found = true;

	sim->nr_compared++;
	if (sim->options.atomic == CRASH_UNIT) {
		for (unsigned int disk = 0; disk < sim->nr_disks; disk++)
			for (unsigned int i = 0; i < WIDTH / sim->cell_sectors && found; i++)
				found = is_cell_state(sim, outcome, disk, i);
	} else {
		found = is_state(sim, outcome);
	}
	sim->nr_admitted += !found && missing;
	if (found || missing)
		return true;
	for (unsigned int disk = 0; sim->frame.verbose && disk < sim->nr_disks; disk++)
		say_print("the device has", &outcome->disks[disk]);
	for (unsigned int i = 0; sim->frame.verbose && i < sim->nr_states && i < 20; i++)
		for (unsigned int disk = 0; disk < sim->nr_disks; disk++)
			say_print(disk ? "    " : "state", &sim->states[i].disks[disk]);
	return fail(sim, "the device has what is no state");
}

/* ------------------------------------------------------------------------------ rounds */

static bool check_step(struct sim *sim, uint64_t step)
{
	struct crash_count count;

	sim->rivals = most_rivals(sim, step);
	sim->frame.step = (int)step;
	if (crash_move(sim->crash, step) < 0)
		return fail(sim, "moving");
	if (!list_states(sim))
		return false;
	if (!sim->nr_states) {
		sim->nr_skipped++;
		return true;
	}
	crash_count(sim->crash, &count);
	/* All orders of so many whole requests are made. */
	if (count.missing && (sim->options.atomic == CRASH_UNIT || sim->rivals <= 6))
		return fail(sim, "states are said to be missing without a cause");
	for (unsigned int i = 0; i < sim->nr_outcomes; i++)
		if (sim->outcomes[i].step == step &&
		    !check_outcome(sim, &sim->outcomes[i], count.missing))
			return false;
	return draw(sim, 8) || check_all_runs(sim, step, count.missing);
}

static void choose_model(struct sim *sim)
{
	sim->options = (struct crash_options){
		.atomic = draw(sim, 5) < 2 ? CRASH_UNIT
			  : draw(sim, 2)   ? CRASH_WRITE
					   : CRASH_ORDER,
		.illegal = !draw(sim, 6),
	};
	sim->nr_disks = 1 + (unsigned int)draw(sim, DISKS);
	sim->cell_sectors = 1u << draw(sim, 4);
	for (unsigned int i = 0; i < DISKS; i++) {
		sim->block_sectors[i] = 1u << draw(sim, 3);
		if (draw(sim, 3))
			sim->block_sectors[i] = 1;
		if (sim->cell_sectors < sim->block_sectors[i])
			sim->block_sectors[i] = sim->cell_sectors;
		sim->cache[i] = draw(sim, 6);
	}
	sim->options.unit_bytes = sim->cell_sectors * SECTOR;
}

static void describe(const struct sim *sim)
{
	printf("  atomic %d, cells of %u sectors, %u disks%s\n", (int)sim->options.atomic,
	       sim->cell_sectors, sim->nr_disks, sim->options.illegal ? ", illegal" : "");
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		const struct request *r = &sim->requests[slot];

		if (r->used)
			printf("  %c: steps %" PRIu64 "..%" PRIu64 " disk %u%s %s %u+%u%s%s%s%s\n",
			       'a' + (int)slot, r->begin_step, r->end_step, r->disk,
			       sim->cache[r->disk] ? "" : " (no cache)",
			       r->flush ? "flush" : "write", r->at, r->len, r->fua ? " fua" : "",
			       r->zeroes ? " zeroes" : "", r->fails ? " fails" : "",
			       r->lies ? " lies" : "");
	}
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	bool ok;

	if (!sim->states) {
		sim->states = malloc((STATES_MAX + 1) * sizeof(*sim->states));
		sim->runs = malloc(RUNS_MAX * sizeof(*sim->runs));
		sim->slots = malloc(RUNS_SLOTS * sizeof(*sim->slots));
	}
	sim->frame = (struct frame){ .seed = seed, .verbose = verbose };
	choose_model(sim);
	plan(sim, mask);
	let_it_run(sim);
	if (verbose)
		describe(sim);
	ok = record(sim);
	for (uint64_t step = 0; ok && step <= sim->step; step++)
		ok = check_step(sim, step);
	sim->crash = crash_free(sim->crash);
	sim->journal = journal_free(sim->journal);
	return ok;
}

static void summarise(const struct sim *sim)
{
	static const char *const names[] = { "units", "whole writes", "order" };

	printf("%" PRIu64 " looks, %" PRIu64 " of their states compared (%" PRIu64
	       " are said to be missing); states of all runs",
	       sim->nr_looks, sim->nr_compared, sim->nr_admitted);
	for (int i = 0; i <= CRASH_ORDER; i++)
		printf(", %s: %" PRIu64 " of %" PRIu64 " places and %" PRIu64 " with rivals",
		       names[i], sim->nr_enumerated[i], sim->nr_places[0][i], sim->nr_places[1][i]);
	printf("; %" PRIu64 " too large to be listed", sim->nr_skipped);
	free(sim->states);
	free(sim->runs);
	free(sim->slots);
}

SIM_MAIN("sim_device", DEFAULT_ROUNDS, SLOTS)
