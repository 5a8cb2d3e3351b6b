// SPDX-License-Identifier: MIT
/*
 * The lazy search against brute force. A round makes up a journal, the undecided units of its end,
 * a recovery and a check, and runs these on every legal state, on plain memory. The search must
 * then find the same verdicts, each for exactly as many states, in exactly as many runs as there are
 * sets of states that recovery and check cannot tell apart; each run's example must be a state with
 * its verdict; and it must say that it is complete, and exactly how much it has covered when it is
 * not.
 *
 * Recoveries: random programs that read, branch on what they found and write; the replay of a
 * small journal with checksums. Checks: the same programs, and several such readers side by side,
 * in another order in each run. And some that are not deterministic, of which nothing complete may
 * ever be said.
 *
 *	sim_lazy [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the parts of the journal in use
 */
#include "faults/explore/lazy.h"
#include "tests/crash_case.h"
#include "tests/sim/sim.h"

#include <math.h>

enum {
	SEC = 512,
	SIZE = 32 << 10,
	SECTORS = SIZE / SEC,
	WRITE_MAX = 8 << 10,
	EVENTS = 28,
	SLOTS = 14,
	STRANDS = 3,
	SMALL = 1 << 10, /* states of most rounds, and of each LARGE_EVERY-th */
	LARGE = 1 << 16,
	LARGE_EVERY = 20,
	DEFAULT_ROUNDS = 100,
	/* The small journal: a super block, slots, and where they point to. */
	JOURNAL_SLOTS = 6,
	TARGETS = 8,
	FIRST_TARGET = 16,
};

#define MAGIC 0x6a6f75726e616c31ull

enum recovery { RECOVER_PROGRAM, RECOVER_JOURNAL, RECOVER_NOTHING, NR_RECOVERIES };
enum flaw { SOUND, FLIPS, WANDERS };

/* What one state leads to. */
struct outcome {
	int verdict;
	uint64_t reads; /* the undecided bytes that were read, and what they held */
};

struct sim {
	struct frame frame;
	struct crash_case c;
	const struct crash_choice *choices;
	size_t nr_choices;
	uint64_t nr_states;
	uint64_t program; /* its seed */
	enum recovery recovery;
	bool parallel, split; /* the check: strands side by side; told from the recovery */
	uint64_t coarse;      /* a program sees only so many kinds of content */
	enum flaw flaw;
	uint64_t nr_run; /* counts runs: what a flaw and the order of strands depend on */
	struct outcome *outcomes;
	uint16_t *picks;
	unsigned char data[CASE_WRITES][WRITE_MAX];
	uint64_t rounds, states, runs, skipped, large, most;
};

/* Disks as a program sees them: a view, or plain memory that notes what was read. */
struct machine {
	struct sim *sim;
	struct view *view;
	unsigned char *bytes; /* all disks */
	bool open[CASE_DISKS * SECTORS], written[CASE_DISKS * SECTORS], seen[CASE_DISKS * SECTORS];
	uint64_t reads;
};

/* ---- machines ---------------------------------------------------------------------------- */

static uint64_t hash_of(const unsigned char *bytes, size_t len)
{
	uint64_t hash = len;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word;

		memcpy(&word, bytes + i, 8);
		hash = rng_finalise(hash * 31 + word);
	}
	return hash;
}

static void machine_read(struct machine *m, uint16_t disk, uint64_t at, unsigned char *to,
			 size_t len)
{
	if (m->view) {
		case_must(view_read(m->view, disk, at, to, len) == 0);
		return;
	}
	memcpy(to, m->bytes + disk * SIZE + at, len);
	for (size_t s = disk * SECTORS + at / SEC; s < disk * SECTORS + (at + len) / SEC; s++) {
		if (!m->open[s] || m->written[s] || m->seen[s])
			continue;
		m->seen[s] = true;
		m->reads += rng_mix(7, s, hash_of(m->bytes + s * SEC, SEC));
	}
}

/* @from NULL: zeroes */
static void machine_write(struct machine *m, uint16_t disk, uint64_t at, const unsigned char *from,
			  size_t len)
{
	if (m->view) {
		case_must((from ? view_write(m->view, disk, at, from, len)
				: view_zero(m->view, disk, at, len)) == 0);
		return;
	}
	if (from)
		memcpy(m->bytes + disk * SIZE + at, from, len);
	else
		memset(m->bytes + disk * SIZE + at, 0, len);
	for (size_t s = disk * SECTORS + at / SEC; s < disk * SECTORS + (at + len) / SEC; s++)
		m->written[s] = true;
}

/* ---- random programs --------------------------------------------------------------------- */

/* Mostly somewhere undecided, now and then anywhere. */
static void pick_place(const struct sim *sim, uint64_t bits, uint16_t *ret_disk, uint64_t *ret_at,
		       size_t *ret_len)
{
	uint64_t at = bits % SECTORS * SEC, len = (1 + (bits >> 8) % 3) * SEC;

	*ret_disk = (uint16_t)((bits >> 16) % sim->c.nr_disks);
	if (sim->nr_choices && (bits >> 20) % 8) {
		const struct crash_choice *choice = &sim->choices[(bits >> 24) % sim->nr_choices];

		*ret_disk = choice->disk;
		at = choice->at;
		len = choice->len_bytes;
		if ((bits >> 40) % 2) {
			at += (bits >> 44) % (choice->len_bytes / SEC) * SEC;
			len = SEC * (1 + (bits >> 52) % 3);
		}
	}
	*ret_at = at;
	*ret_len = at + len > SIZE ? SIZE - at : len;
}

/* One step from state @acc; false: the end. */
static bool step(struct machine *m, uint64_t program, bool writes, uint64_t *acc)
{
	uint64_t bits = rng_mix(program, 1, *acc);
	unsigned char buffer[SIZE];
	uint16_t disk;
	uint64_t at;
	size_t len;

	pick_place(m->sim, bits, &disk, &at, &len);
	bits = rng_mix(program, 2, *acc);
	if (writes && bits % 4 == 0) {
		memset(buffer, (int)(bits >> 8) % 4, len);
		machine_write(m, disk, at, (bits >> 16) % 4 ? buffer : NULL, len);
		*acc = rng_finalise(*acc + 1);
	} else {
		machine_read(m, disk, at, buffer, len);
		*acc = rng_mix(*acc, 3, hash_of(buffer, len) % m->sim->coarse);
	}
	return (bits >> 32) % 10;
}

static uint64_t run_program(struct machine *m, uint64_t program, int steps)
{
	uint64_t acc = 1;

	while (steps-- && step(m, program, true, &acc))
		;
	return acc;
}

/* Several readers, in an order of their own in each run. */
static uint64_t run_strands(struct machine *m)
{
	struct sim *sim = m->sim;
	uint64_t acc[STRANDS] = { 1, 2, 3 };
	int steps[STRANDS] = { 6, 6, 6 }, left = STRANDS;

	for (uint64_t n = 0; left; n++) {
		size_t i = rng_mix(sim->nr_run, 4, n) % STRANDS;

		if (!steps[i])
			continue;
		if (!step(m, sim->program + i, false, &acc[i]))
			steps[i] = 1;
		left -= !--steps[i];
	}
	return acc[0] ^ acc[1] ^ acc[2];
}

/* ---- the small journal ------------------------------------------------------------------- */

struct slot {
	uint64_t magic, seq, target, value, sum;
};

static uint64_t sum_of(const struct slot *slot)
{
	return rng_mix(slot->seq, slot->target, slot->value);
}

static void fill_slot(unsigned char *sector, uint64_t seq, uint64_t target, uint64_t value)
{
	struct slot slot = { MAGIC, seq, target, value, 0 };

	slot.sum = sum_of(&slot);
	memset(sector, 0, SEC);
	memcpy(sector, &slot, sizeof(slot));
}

static void replay(struct machine *m)
{
	unsigned char sector[SEC];
	uint64_t first;

	machine_read(m, 0, 0, sector, SEC);
	memcpy(&first, sector, 8);
	for (uint64_t i = 0; i < JOURNAL_SLOTS; i++) {
		struct slot slot;

		machine_read(m, 0, (1 + i) * SEC, sector, SEC);
		memcpy(&slot, sector, sizeof(slot));
		if (slot.magic != MAGIC || slot.seq != first + i || slot.sum != sum_of(&slot))
			break;
		memset(sector, (int)slot.value, SEC);
		machine_write(m, 0, (FIRST_TARGET + slot.target % TARGETS) * SEC, sector, SEC);
	}
	memset(sector, 0, SEC);
	machine_write(m, 0, 0, sector, SEC);
}

/* What the targets hold, and whether the first two say the same. */
static uint64_t check_targets(struct machine *m)
{
	unsigned char sector[TARGETS][SEC];
	uint64_t sum = 0;

	machine_read(m, 0, FIRST_TARGET * SEC, sector[0], SEC);
	if (sector[0][0] == 0)
		return 0;
	machine_read(m, 0, (FIRST_TARGET + 1) * SEC, sector[1], sizeof(sector) - SEC);
	for (size_t i = 1; i < TARGETS; i++)
		sum += sector[i][0] == sector[0][0];
	return 1 + sum;
}

/* ---- recovery and check ------------------------------------------------------------------ */

static uint64_t recover(struct machine *m)
{
	switch (m->sim->recovery) {
	case RECOVER_PROGRAM:
		return run_program(m, m->sim->program + 10, 8);
	case RECOVER_JOURNAL:
		replay(m);
		return 0;
	case RECOVER_NOTHING:
	case NR_RECOVERIES:
		break;
	}
	return 0;
}

static uint64_t check(struct machine *m)
{
	if (m->sim->parallel)
		return run_strands(m);
	if (m->sim->recovery == RECOVER_JOURNAL)
		return check_targets(m);
	return run_program(m, m->sim->program + 20, 8);
}

static int verdict_of(const struct sim *sim, uint64_t recovered, uint64_t checked)
{
	uint64_t sum = checked + (sim->split ? 0 : recovered);

	return (int)(sim->program % 2 ? sum % 3 : rng_finalise(sum) >> 34);
}

/* Not deterministic: it looks at another place each time, or changes its mind. */
static int run_flawed(struct machine *m)
{
	struct sim *sim = m->sim;
	const struct crash_choice *choice = &sim->choices[sim->nr_run % sim->nr_choices];
	unsigned char buffer[SIZE];

	if (sim->flaw == FLIPS)
		choice = &sim->choices[0];
	machine_read(m, choice->disk, choice->at, buffer, choice->len_bytes);
	return sim->flaw == FLIPS ? (int)(sim->nr_run % 2) : 0;
}

/* ---- journals ---------------------------------------------------------------------------- */

static void fill(struct sim *sim, unsigned char *data, size_t len)
{
	for (size_t at = 0; at < len; at += SEC)
		memset(data + at, draw(sim, 3) ? (int)draw(sim, 3) : 0, SEC);
}

static void make_write(struct sim *sim)
{
	struct crash_case *c = &sim->c;
	unsigned char *data = sim->data[c->nr_writes];
	uint16_t disk = (uint16_t)draw(sim, c->nr_disks);
	uint64_t at = draw(sim, SECTORS) * SEC, len = (1 + draw(sim, 3)) * SEC;

	if (!draw(sim, 3)) {
		at &= ~4095ull;
		len = 4096 * (1 + draw(sim, 2));
	} else if (draw(sim, 2)) {
		at %= 6 * SEC; /* the same place again and again */
	}
	if (at + len > SIZE)
		len = SIZE - at;
	fill(sim, data, len);
	case_write(c, disk, at, len, draw(sim, 8) ? data : NULL, draw(sim, 12) ? 0 : IO_FUA);
}

static void make_slot(struct sim *sim)
{
	struct crash_case *c = &sim->c;
	unsigned char *data = sim->data[c->nr_writes];
	uint64_t i = draw(sim, JOURNAL_SLOTS), at = (1 + i) * SEC;

	if (draw(sim, 3)) {
		fill_slot(data, i + draw(sim, 8) / 7, draw(sim, TARGETS), 1 + draw(sim, 3));
	} else {
		at = (FIRST_TARGET + draw(sim, TARGETS)) * SEC;
		memset(data, (int)draw(sim, 3), SEC);
	}
	case_write(c, 0, at, SEC, data, 0);
}

static void complete_some(struct sim *sim)
{
	struct crash_case *c = &sim->c;

	for (size_t i = 0; i < c->nr_writes; i++)
		if (c->writes[i].complete == JOURNAL_NEVER && draw(sim, 2))
			case_complete(c, i);
}

/* Event n belongs to slot n % SLOTS; draws are made whether or not it is in use. */
static void make_events(struct sim *sim, size_t from, size_t nr, unsigned int mask)
{
	for (size_t n = from; n < from + nr; n++) {
		struct frame frame = { .seed = rng_mix(sim->frame.seed, 5, n) };
		struct frame saved = sim->frame;
		uint64_t what;

		if (!(mask >> n % SLOTS & 1))
			continue;
		sim->frame = frame;
		what = draw(sim, 12);
		if (what < 8 && sim->recovery == RECOVER_JOURNAL)
			make_slot(sim);
		else if (what < 8)
			make_write(sim);
		else if (what < 11)
			complete_some(sim);
		else if (!from || !draw(sim, 3))
			case_flush(&sim->c, (uint16_t)draw(sim, sim->c.nr_disks));
		sim->frame = saved;
	}
}

/* A case with at most @limit states: the first try that has no more. */
static void make_case(struct sim *sim, unsigned int mask, uint64_t limit)
{
	static const uint32_t units[] = { 512, 512, 1024, 4096, 4096 };
	struct crash_options options = { .unit_bytes = units[draw(sim, array_size(units))] };
	uint16_t nr_disks = (uint16_t)(1 + !draw(sim, 4));
	struct crash_count count;

	for (size_t nr = limit > SMALL ? 2 * EVENTS : EVENTS;; nr--) {
		memset(&sim->c, 0, sizeof(sim->c));
		sim->c.size_bytes = SIZE;
		sim->c.nr_disks = nr_disks;
		make_events(sim, 0, nr, mask);
		case_flush(&sim->c, (uint16_t)(nr_disks - 1));
		make_events(sim, 2 * EVENTS, nr, mask);
		case_seal(&sim->c, SEC, &options);
		crash_count(sim->c.crash, &count);
		if (count.exact <= limit)
			break;
		case_free(&sim->c);
	}
	sim->nr_states = count.exact;
	sim->nr_choices = crash_choices(sim->c.crash, &sim->choices);
}

/* ---- brute force ------------------------------------------------------------------------- */

static void note_open(const struct sim *sim, struct machine *m)
{
	for (size_t i = 0; i < sim->nr_choices; i++) {
		size_t s = sim->choices[i].disk * SECTORS + sim->choices[i].at / SEC;

		for (size_t k = 0; k < sim->choices[i].len_bytes / SEC; k++)
			m->open[s + k] = true;
	}
}

static struct outcome judge(struct sim *sim, const uint16_t *picks)
{
	unsigned char bytes[CASE_DISKS * SIZE];
	struct machine m = { .sim = sim, .bytes = bytes };
	struct outcome outcome;
	uint64_t recovered;

	note_open(sim, &m);
	case_state(&sim->c, picks, bytes);
	recovered = recover(&m);
	outcome.verdict = verdict_of(sim, recovered, check(&m));
	outcome.reads = m.reads;
	return outcome;
}

static void judge_all(struct sim *sim)
{
	memset(sim->picks, 0, sim->nr_choices * sizeof(*sim->picks));
	for (uint64_t n = 0; n < sim->nr_states; n++) {
		sim->outcomes[n] = judge(sim, sim->picks);
		for (size_t i = 0; i < sim->nr_choices; i++) {
			if (++sim->picks[i] < sim->choices[i].nr)
				break;
			sim->picks[i] = 0;
		}
	}
}

static uint64_t number_of(const struct sim *sim, const uint16_t *picks)
{
	uint64_t n = 0;

	for (size_t i = sim->nr_choices; i-- > 0;)
		n = n * sim->choices[i].nr + picks[i];
	return n;
}

static int by_reads(const void *a, const void *b)
{
	const struct outcome *x = a, *y = b;

	return x->reads < y->reads ? -1 : x->reads > y->reads;
}

static int by_verdict(const void *a, const void *b)
{
	const struct outcome *x = a, *y = b;

	return x->verdict < y->verdict ? -1 : x->verdict > y->verdict;
}

/* ---- the search -------------------------------------------------------------------------- */

/* What the search said: for each run its verdict, and in place of the reads its states. */
struct found {
	struct outcome *runs;
	size_t nr;
};

static bool run_one(struct sim *sim, struct lazy *lazy, struct lazy_run *run, struct found *found)
{
	struct machine m = { .sim = sim, .view = lazy_view(run) };
	uint64_t recovered = 0, states, number;
	int verdict;

	sim->nr_run++;
	if (sim->flaw != SOUND) {
		lazy_end(lazy, run, run_flawed(&m));
		return true;
	}
	recovered = recover(&m);
	if (!sim->split || !lazy_check_starts(run, &verdict))
		verdict = verdict_of(sim, recovered, check(&m));
	states = (uint64_t)llround(exp2(lazy_picks(run, sim->picks)));
	number = number_of(sim, sim->picks);
	if (sim->outcomes[number].verdict != verdict)
		return fail(sim, "a run says %d, its state %" PRIu64 " says %d", verdict, number,
			    sim->outcomes[number].verdict);
	if (!lazy_is_repeat(run)) {
		if (found->nr == sim->nr_states)
			return fail(sim, "more runs than states");
		found->runs[found->nr++] = (struct outcome){ verdict, states };
	}
	case_must(lazy_end(lazy, run, verdict) == 0);
	return true;
}

static bool search(struct sim *sim, struct lazy *lazy, struct found *found)
{
	struct lazy_run *run;
	int ret;

	while ((ret = lazy_next(lazy, &run)) == 1)
		if (!run_one(sim, lazy, run, found)) {
			lazy_drop(lazy, run);
			return false;
		}
	case_must(ret == 0);
	return true;
}

/* Every verdict, found for as many states as it has. */
static bool compare_verdicts(struct sim *sim, struct lazy *lazy, struct found *found)
{
	struct outcome *all = sim->outcomes;
	size_t i = 0, k = 0;

	qsort(all, sim->nr_states, sizeof(*all), by_verdict);
	qsort(found->runs, found->nr, sizeof(*found->runs), by_verdict);
	while (i < sim->nr_states) {
		int verdict = all[i].verdict;
		uint64_t have = 0, want = 0;

		for (; i < sim->nr_states && all[i].verdict == verdict; i++)
			want++;
		for (; k < found->nr && found->runs[k].verdict == verdict; k++)
			have += found->runs[k].reads;
		if (have != want)
			return fail(sim, "verdict %d: found for %" PRIu64 " states of %" PRIu64,
				    verdict, have, want);
		if (fabs(lazy_share(lazy, verdict) - (double)want / (double)sim->nr_states) > 1e-12)
			return fail(sim, "verdict %d: share %g", verdict,
				    lazy_share(lazy, verdict));
	}
	return k == found->nr ? true : fail(sim, "a verdict that no state has");
}

static bool compare(struct sim *sim, struct lazy *lazy, struct found *found)
{
	struct lazy_status status;
	uint64_t want = 0;

	lazy_status(lazy, &status);
	qsort(sim->outcomes, sim->nr_states, sizeof(*sim->outcomes), by_reads);
	for (uint64_t n = 0; n < sim->nr_states; n++)
		want += !n || sim->outcomes[n].reads != sim->outcomes[n - 1].reads;
	if (status.runs != want || found->nr != want)
		return fail(sim, "%" PRIu64 " runs, where %" PRIu64 " do for %" PRIu64 " states",
			    status.runs, want, sim->nr_states);
	if (!status.complete || status.covered != 1 || status.open || status.diverged)
		return fail(sim, "complete %d, covered %g, %" PRIu64 " open, %" PRIu64 " diverged",
			    status.complete, status.covered, status.open, status.diverged);
	sim->runs += status.runs;
	sim->skipped += status.checks_skipped;
	return compare_verdicts(sim, lazy, found);
}

/* A search that was cut short knows how far it came. */
static bool compare_partial(struct sim *sim, struct lazy *lazy, const struct found *found,
			    uint64_t max_runs)
{
	struct lazy_status status;
	uint64_t sum = 0;

	lazy_status(lazy, &status);
	for (size_t i = 0; i < found->nr; i++)
		sum += found->runs[i].reads;
	if (found->nr > max_runs || (status.open > 0) == (sum == sim->nr_states))
		return fail(sim, "%zu runs, %" PRIu64 " open", found->nr, status.open);
	if (fabs(status.covered - (double)sum / (double)sim->nr_states) > 1e-12 ||
	    status.complete != (sum == sim->nr_states))
		return fail(sim, "%" PRIu64 " states of %" PRIu64 ", covered %g, complete %d", sum,
			    sim->nr_states, status.covered, status.complete);
	return true;
}

static bool explore(struct sim *sim, const struct lazy_options *options)
{
	struct found found = { calloc(sim->nr_states, sizeof(struct outcome)), 0 };
	struct lazy_status status;
	struct lazy *lazy;
	bool ok;

	case_must(found.runs && lazy_create(sim->c.crash, sim->c.images, options, &lazy) == 0);
	ok = search(sim, lazy, &found);
	lazy_status(lazy, &status);
	if (!ok || sim->flaw != SOUND)
		ok = ok && (!status.complete || fail(sim, "complete, but not deterministic"));
	else if (options->max_runs)
		ok = compare_partial(sim, lazy, &found, options->max_runs);
	else
		ok = compare(sim, lazy, &found);
	lazy_free(lazy);
	free(found.runs);
	return ok;
}

/* ---- rounds ------------------------------------------------------------------------------ */

static bool explore_flawed(struct sim *sim)
{
	struct lazy_options options = { .repeat_every = 1, .max_runs = 200 };
	bool ok = true;

	if (sim->nr_choices) {
		sim->flaw = FLIPS;
		ok = explore(sim, &options);
	}
	if (ok && sim->nr_choices > 1) {
		sim->flaw = WANDERS;
		options.repeat_every = 0;
		ok = explore(sim, &options);
	}
	sim->flaw = SOUND;
	return ok;
}

static bool explore_all(struct sim *sim)
{
	static const uint64_t repeats[] = { 0, 0, 1, 3 };
	struct lazy_options options = { .seed = draw(sim, 1000) };

	options.repeat_every = repeats[draw(sim, array_size(repeats))];
	options.depth_first_runs = draw(sim, 3) ? 0 : 1 + draw(sim, 20);
	judge_all(sim);
	options.max_runs = draw(sim, 4) ? 0 : 1 + draw(sim, 20);
	if (options.max_runs && !explore(sim, &options))
		return false;
	options.max_runs = 0;
	return explore(sim, &options) && explore_flawed(sim);
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	uint64_t limit = seed % LARGE_EVERY ? SMALL : LARGE;
	bool ok;

	sim->frame = (struct frame){ .seed = seed, .verbose = verbose };
	sim->program = rng_mix(seed, 6, 0);
	sim->recovery = (enum recovery)draw(sim, NR_RECOVERIES);
	sim->parallel = !draw(sim, 3);
	sim->split = draw(sim, 3);
	sim->coarse = draw(sim, 2) ? 2 + draw(sim, 2) : UINT64_MAX;
	sim->nr_run = seed;
	make_case(sim, mask, limit);
	sim->outcomes = calloc(sim->nr_states, sizeof(*sim->outcomes));
	sim->picks = calloc(sim->nr_choices + 1, sizeof(*sim->picks));
	case_must(sim->outcomes && sim->picks);
	if (verbose)
		printf("  %zu writes, %zu choices, %" PRIu64 " states, recovery %d%s%s\n",
		       sim->c.nr_writes, sim->nr_choices, sim->nr_states, sim->recovery,
		       sim->parallel ? ", strands" : "", sim->split ? ", split" : "");
	ok = explore_all(sim);
	sim->rounds++;
	sim->states += sim->nr_states;
	sim->large += sim->nr_states > SMALL;
	if (sim->nr_states > sim->most)
		sim->most = sim->nr_states;
	free(sim->outcomes);
	free(sim->picks);
	case_free(&sim->c);
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " states in %" PRIu64 " runs, %" PRIu64 " checks skipped, %" PRIu64
	       " of %" PRIu64 " rounds with more than %d states, at most %" PRIu64,
	       sim->states, sim->runs, sim->skipped, sim->large, sim->rounds, SMALL, sim->most);
}

SIM_MAIN("sim_lazy", DEFAULT_ROUNDS, SLOTS)
