// SPDX-License-Identifier: MIT
/*
 * Small journals at random, and at every moment of them what faults/crash/crash.h says of them against
 * the brute force of crash_model.h: images, candidates, volatile writes, states, counts, hashes,
 * names, what is lost; and that the default points have all states of all moments.
 *
 *	sim_crash [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the requests in use
 *
 * A failing round is repeated with fewer requests until none can be left out.
 */
#include "tests/sim/crash_points.h"

enum { DEFAULT_ROUNDS = 1000 };

/* ------------------------------------------------------------------------------ one moment */

static bool check_images(struct sim *sim)
{
	const struct model *m = &sim->model;

	for (uint32_t i = 0; i < m->nr_units; i++) {
		const struct model_unit *u = &m->units[i];

		if (memcmp(sim->images[u->disk].bytes + u->at, u->candidates[0].data, u->len) != 0)
			return fail(sim, "the image of disk %u at %" PRIu64 " differs", u->disk,
				    u->at);
	}
	return true;
}

static bool is_content(const unsigned char *got, const unsigned char *want, uint32_t len)
{
	static const unsigned char zeroes[MAX_UNIT];

	if (!got)
		return !memcmp(zeroes, want, len);
	return !memcmp(got, want, len) && memcmp(zeroes, want, len) != 0;
}

/* With parts the numbers are the cursor's: the model takes them over. */
static bool take_numbers(struct sim *sim, const struct crash_choice *c, struct model_unit *u)
{
	for (uint32_t i = 0; i < c->nr; i++) {
		struct model_candidate candidate;
		uint32_t k = i;

		while (k < u->nr &&
		       !is_content(c->candidates[i].data, u->candidates[k].data, u->len))
			k++;
		if (k >= u->nr || (!i && k))
			return fail(sim, "candidate %u at %" PRIu64 " is none", i, u->at);
		candidate = u->candidates[i];
		u->candidates[i] = u->candidates[k];
		u->candidates[k] = candidate;
		u->newest = u->newest == k ? i : u->newest == i ? k : u->newest;
		if ((c->candidates[i].write == CRASH_BASE) != !i)
			return fail(sim, "candidate %u at %" PRIu64 " has no write", i, u->at);
	}
	return c->newest == u->newest ||
	       fail(sim, "the newest at %" PRIu64 " is %u", u->at, c->newest);
}

static bool check_unit_choice(struct sim *sim, const struct crash_choice *c, struct model_unit *u)
{
	if (c->disk != u->disk || c->at != u->at || c->len_bytes != u->len || c->nr != u->nr)
		return fail(sim,
			    "choice of disk %u at %" PRIu64 " has %u candidates of %" PRIu64
			    " bytes, expected disk %u at %" PRIu64 " with %u of %u",
			    c->disk, c->at, c->nr, c->len_bytes, u->disk, u->at, u->nr, u->len);
	if (u->parts)
		return take_numbers(sim, c, u);
	for (uint32_t i = 0; i < c->nr; i++) {
		const struct crash_candidate *candidate = &c->candidates[i];

		if (!is_content(candidate->data, u->candidates[i].data, u->len))
			return fail(sim, "candidate %u at %" PRIu64 " differs", i, u->at);
		if (candidate->write != u->candidates[i].write)
			return fail(sim, "candidate %u at %" PRIu64 " is of write %d, expected %d",
				    i, u->at, (int)candidate->write, (int)u->candidates[i].write);
		if (!candidate->data != !candidate->hash)
			return fail(sim, "hash %" PRIx64 " of candidate %u", candidate->hash, i);
	}
	return c->newest == u->newest ||
	       fail(sim, "newest at %" PRIu64 " is %u, expected %u", u->at, c->newest, u->newest);
}

/* For the cursor; whether it is right check_volatile() says. */
static bool is_volatile(const struct sim *sim, uint32_t w)
{
	const uint32_t *writes;
	size_t nr = crash_volatile(sim->crash, &writes);

	for (size_t i = 0; i < nr; i++)
		if (writes[i] == w)
			return true;
	return false;
}

/* Must write a have been done before b was? */
static bool comes_before(const struct sim *sim, uint32_t a, uint32_t b)
{
	return model_is_done(&sim->model, a) && model_after(&sim->model, b, a);
}

/* Of writes that lie over each other, whose orders are sim_device's: not of those that do not. */
static size_t nr_turns(const struct sim *sim)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices), nr_turns = 0;

	for (size_t i = 0; i < nr; i++)
		nr_turns += choices[i].write == CRASH_TURNS;
	return nr_turns;
}

static size_t skip_turns(const struct crash_choice *choices, size_t nr, size_t k, uint16_t disk)
{
	while (k < nr && choices[k].write == CRASH_TURNS && choices[k].disk == disk &&
	       choices[k].nr > 1 && !choices[k].newest && !choices[k].candidates)
		k++;
	return k;
}

static bool check_turns(struct sim *sim)
{
	struct crash_count count;
	bool tangled = false;

	crash_count(sim->crash, &count);
	for (uint32_t i = 0; i < sim->model.nr_units; i++)
		tangled |= sim->model.units[i].tangled;
	/* Of which a later moment may have more. */
	sim->all_small &= !count.missing;
	return tangled == (nr_turns(sim) || count.missing) || sim->options.atomic == CRASH_UNIT ||
	       fail(sim, "%zu choices of turns, expected %s", nr_turns(sim),
		    tangled ? "some" : "none");
}

/* In order of submission. */
static bool is_in_turn(const struct sim *sim, const uint16_t *picks)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices);

	for (size_t i = 0; i < nr; i++)
		if (choices[i].write == CRASH_TURNS && picks[i])
			return false;
	return true;
}

/* A choice of the last one, and one for each that some later one may have overtaken. */
static bool check_order_choices(struct sim *sim, const struct crash_choice *choices, size_t nr)
{
	size_t k = 0;

	for (uint16_t disk = 0; disk < sim->journal->nr_disks; disk++) {
		uint32_t any = 0, writes[MAX_WRITES];

		for (uint32_t w = 0; w < sim->journal->nr_writes; w++)
			if (sim->journal->writes[w].disk == disk && is_volatile(sim, w))
				writes[any++] = w;
		if (!any) {
			k = skip_turns(choices, nr, k, disk);
			continue;
		}
		if (k >= nr || choices[k].disk != disk || choices[k].nr != any + 1 ||
		    choices[k].newest != any || choices[k].candidates ||
		    choices[k].write != CRASH_BASE)
			return fail(sim, "choice of order of disk %u, expected %u places", disk,
				    any + 1);
		k++;
		for (uint32_t i = 0; i + 1 < any; i++) {
			if (comes_before(sim, writes[i], writes[i + 1]))
				continue;
			if (k >= nr || choices[k].write != writes[i] || choices[k].nr != 2 ||
			    choices[k].newest)
				return fail(sim, "no choice of write %u in flight", writes[i]);
			k++;
		}
		k = skip_turns(choices, nr, k, disk);
	}
	return k == nr || fail(sim, "%zu choices of order, expected %zu", nr, k);
}

static bool check_write_choices(struct sim *sim, const struct crash_choice *choices, size_t nr)
{
	const uint32_t *writes;

	nr -= nr_turns(sim);
	if (crash_volatile(sim->crash, &writes) != nr)
		return fail(sim, "%zu choices, but other volatile writes", nr);
	for (size_t i = 0; i < nr; i++) {
		const struct journal_write *w = &sim->journal->writes[writes[i]];

		if (choices[i].write != writes[i] || choices[i].at != w->at || choices[i].nr != 2 ||
		    choices[i].len_bytes != w->len_bytes || choices[i].disk != w->disk ||
		    choices[i].newest != 1 || choices[i].candidates)
			return fail(sim, "choice %zu is not write %u", i, writes[i]);
	}
	return true;
}

static bool check_choices(struct sim *sim)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices), k = 0;

	sim->nr_choices += nr;
	if (sim->options.atomic == CRASH_WRITE)
		return check_write_choices(sim, choices, nr);
	if (sim->options.atomic == CRASH_ORDER)
		return check_order_choices(sim, choices, nr);
	for (uint32_t i = 0; i < sim->model.nr_units; i++) {
		if (sim->model.units[i].large)
			return true;
		if (sim->model.units[i].nr < 2)
			continue;
		if (k == nr)
			return fail(sim, "no choice of disk %u at %" PRIu64,
				    sim->model.units[i].disk, sim->model.units[i].at);
		if (!check_unit_choice(sim, &choices[k++], &sim->model.units[i]))
			return false;
	}
	return k == nr || fail(sim, "%zu choices, expected %zu", nr, k);
}

static bool has_parts(const struct sim *sim, uint32_t w)
{
	for (uint32_t i = 0; i < sim->model.nr_units; i++)
		if (sim->model.units[i].covers[w] &&
		    (sim->model.units[i].parts || sim->model.units[i].tangled))
			return true;
	return false;
}

static bool check_volatile(struct sim *sim)
{
	const uint32_t *writes;
	size_t nr = crash_volatile(sim->crash, &writes), k = 0;

	for (uint32_t w = 0; w < sim->journal->nr_writes; w++) {
		if (!model_is_volatile(&sim->model, w))
			continue;
		/* Zeroes where all was zero until they had completed. */
		if (has_parts(sim, w) && (k == nr || writes[k] != w))
			continue;
		if (k == nr || writes[k++] != w)
			return fail(sim, "volatile writes: number %zu, expected %u", k, w);
	}
	return k == nr || fail(sim, "%zu volatile writes, expected %zu", nr, k);
}

/* The number that the text says, as far as it fits. */
static double read_count(const char *text)
{
	double product = 1;
	unsigned int base, power;
	int used;

	while (sscanf(text, "%u%n", &base, &used) == 1) {
		text += used;
		power = 1;
		if (sscanf(text, "^%u%n", &power, &used) == 1)
			text += used;
		while (power--)
			product *= base;
		if (strncmp(text, " x ", 3) != 0)
			break;
		text += 3;
	}
	return *text ? -1 : product;
}

static bool check_count(struct sim *sim, uint64_t *ret_exact)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices);
	struct crash_count count;
	double product = 1, log_2 = 0;

	crash_count(sim->crash, &count);
	if (sim->options.atomic == CRASH_ORDER || nr_turns(sim)) {
		*ret_exact = count.exact;
		return true;
	}
	for (size_t i = 0; i < nr; i++)
		product *= choices[i].nr;
	for (double n = product; n >= 2; n /= 2)
		log_2++;
	if (product < 1e15 && (double)count.exact != product)
		return fail(sim, "%" PRIu64 " states, expected %g", count.exact, product);
	if (count.log2 < log_2 - 0.001 || count.log2 > log_2 + 1)
		return fail(sim, "2^%g states, expected %g", count.log2, product);
	if (product < 1e15 && read_count(count.text) != product)
		return fail(sim, "'%s' states, expected %g", count.text, product);
	*ret_exact = count.exact;
	return true;
}

/* ------------------------------------------------------------------------------ states */

/* The volatile writes of the disk in order: up to the last one, without those that may be missing
 * and are said to be. */
static void survives_in_order(const struct sim *sim, uint16_t disk,
			      const struct crash_choice *choices, const uint16_t *picks, size_t nr,
			      bool *survives)
{
	uint32_t nth = 0, last = MAX_WRITES;
	size_t k = 0;

	while (k < nr && (choices[k].disk != disk || choices[k].write != CRASH_BASE))
		k++;
	for (uint32_t w = 0; w < sim->journal->nr_writes && k < nr; w++)
		if (sim->journal->writes[w].disk == disk && is_volatile(sim, w) &&
		    ++nth <= picks[k]) {
			survives[w] = true;
			last = w;
		}
	for (size_t i = k + 1; i < nr && choices[i].write != CRASH_BASE; i++)
		if (picks[i] && choices[i].write < last && last < MAX_WRITES &&
		    !comes_before(sim, choices[i].write, last))
			survives[choices[i].write] = false;
}

/* CRASH_WRITE, CRASH_ORDER: which volatile writes survive in the state that these picks name. */
static void model_survives(const struct sim *sim, const uint16_t *picks, bool *survives)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices), next = 0;

	memset(survives, 0, MAX_WRITES * sizeof(*survives));
	if (sim->options.atomic == CRASH_WRITE)
		for (uint32_t w = 0; w < sim->journal->nr_writes; w++)
			if (is_volatile(sim, w))
				survives[w] = picks[next++];
	if (sim->options.atomic == CRASH_ORDER)
		for (uint16_t disk = 0; disk < sim->journal->nr_disks; disk++)
			survives_in_order(sim, disk, choices, picks, nr, survives);
}

/* The candidate of each unit of the model in the state that these picks name. */
static void model_picks(const struct sim *sim, const uint16_t *picks, uint32_t *ret_candidates)
{
	const struct model *m = &sim->model;
	bool survives[MAX_WRITES];
	size_t next = 0;

	model_survives(sim, picks, survives);
	for (uint32_t i = 0; i < m->nr_units; i++) {
		const struct model_unit *u = &m->units[i];

		ret_candidates[i] = model_left(m, u, survives);
		if (sim->options.atomic == CRASH_UNIT)
			ret_candidates[i] = u->nr > 1 ? picks[next++] : 0;
	}
}

static uint64_t model_id(const struct model *m, const uint32_t *candidates)
{
	uint64_t id = 0;

	for (uint32_t i = 0; i < m->nr_units; i++)
		id ^= m->units[i].candidates[candidates[i]].id;
	return id;
}

struct put_check {
	struct sim *sim;
	const uint32_t *candidates;
	uint32_t next; /* unit */
};

static int check_put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	struct put_check *check = ctx;
	const struct model *m = &check->sim->model;

	for (; check->next < m->nr_units; check->next++) {
		const struct model_unit *u = &m->units[check->next];
		uint32_t candidate = check->candidates[check->next];

		if (!candidate)
			continue;
		check->next++;
		return u->disk != disk || u->at != at || u->len != len ||
		       !is_content(data, u->candidates[candidate].data, len);
	}
	return 1;
}

/* Same content, same hash, and the other way round, over all moments of the round. */
static void saw(struct sim *sim, uint64_t id, uint64_t hash)
{
	if (sim->nr_seen < MAX_SEEN)
		sim->seen[sim->nr_seen++] = (struct seen){ id, hash };
}

static bool check_state(struct sim *sim, const uint16_t *picks, bool thorough)
{
	uint32_t candidates[MAX_UNITS];
	struct put_check check = { sim, candidates, 0 };

	if (!is_in_turn(sim, picks))
		return true;
	model_picks(sim, picks, candidates);
	saw(sim, model_id(&sim->model, candidates), crash_hash(sim->crash, picks));
	if (!thorough)
		return true;
	if (crash_put(sim->crash, picks, check_put, &check) != 0)
		return fail(sim, "a state puts something else");
	for (; check.next < sim->model.nr_units; check.next++)
		if (candidates[check.next])
			return fail(sim, "a state leaves out what differs from the image");
	return true;
}

static size_t unique(uint64_t *numbers, size_t nr)
{
	size_t kept = 0;

	qsort(numbers, nr, sizeof(*numbers), compare_numbers);
	for (size_t i = 0; i < nr; i++)
		if (!kept || numbers[kept - 1] != numbers[i])
			numbers[kept++] = numbers[i];
	return kept;
}

/* All of them: the hashes are kept for check_points(). */
static bool list_states(struct sim *sim, size_t moment, uint64_t nr_states)
{
	uint16_t picks[MAX_UNITS] = { 0 };
	uint64_t *hashes = malloc(nr_states * sizeof(*hashes));
	size_t k = 0;

	sim->states[moment] = hashes;
	do {
		if (k == nr_states)
			return fail(sim, "more than %" PRIu64 " states", nr_states);
		hashes[k++] = crash_hash(sim->crash, picks);
		if (!check_state(sim, picks, k % 64 == 1))
			return false;
	} while (crash_next(sim->crash, picks));
	sim->nr_states_all += k;
	sim->nr_states[moment] = unique(hashes, k);
	if (k != nr_states || (sim->options.atomic == CRASH_UNIT && k != sim->nr_states[moment]))
		return fail(sim, "%zu states, %zu of them different, expected %" PRIu64, k,
			    sim->nr_states[moment], nr_states);
	return true;
}

/* So many in order of submission; the others have some more. */
static bool check_number(struct sim *sim, size_t moment, size_t nr)
{
	return nr == sim->nr_states[moment] || (nr_turns(sim) && nr < sim->nr_states[moment]) ||
	       fail(sim, "%zu different states, expected %zu", sim->nr_states[moment], nr);
}

/* Every set of not durable writes: is what it leaves among the states? Are there no others? */
static bool check_sets(struct sim *sim, size_t moment)
{
	const struct model *m = &sim->model;
	_cleanup_free_ uint64_t *ids = calloc(MAX_STATES, sizeof(*ids));
	uint32_t open[MAX_WRITES], nr = 0, candidates[MAX_UNITS];
	size_t nr_ids = 0;

	for (uint32_t w = 0; w < sim->journal->nr_writes; w++)
		if (m->submitted[w] && !m->durable[w])
			open[nr++] = w;
	if (sim->options.atomic != CRASH_WRITE || 1u << nr > MAX_STATES)
		return true;
	for (uint32_t set = 0; set < 1u << nr; set++) {
		bool survives[MAX_WRITES] = { false };

		for (uint32_t i = 0; i < nr; i++)
			survives[open[i]] = set >> i & 1;
		for (uint32_t i = 0; i < m->nr_units; i++)
			candidates[i] = model_left(m, &m->units[i], survives);
		ids[nr_ids++] = model_id(m, candidates);
	}
	return check_number(sim, moment, unique(ids, nr_ids));
}

/* The set has what must have been done before each of it. */
static bool is_closed(const struct sim *sim, const uint32_t *open, uint32_t nr, uint32_t set)
{
	for (uint32_t a = 0; a < nr; a++)
		for (uint32_t b = 0; b < nr; b++)
			if (!(set >> a & 1) && set >> b & 1 &&
			    comes_before(sim, open[a], open[b]) &&
			    sim->journal->writes[open[a]].disk ==
				    sim->journal->writes[open[b]].disk)
				return false;
	return true;
}

/* Every set that some order leaves, and no others. */
static bool check_closed(struct sim *sim, size_t moment)
{
	const struct model *m = &sim->model;
	_cleanup_free_ uint64_t *ids = calloc(MAX_STATES, sizeof(*ids));
	uint32_t open[MAX_WRITES], nr = 0, candidates[MAX_UNITS];
	size_t nr_ids = 0;

	for (uint32_t w = 0; w < sim->journal->nr_writes; w++)
		if (m->submitted[w] && !m->durable[w])
			open[nr++] = w;
	if (sim->options.atomic != CRASH_ORDER || 1u << nr > MAX_STATES)
		return true;
	for (uint32_t set = 0; set < 1u << nr; set++) {
		bool survives[MAX_WRITES] = { false };

		if (!is_closed(sim, open, nr, set))
			continue;
		for (uint32_t i = 0; i < nr; i++)
			survives[open[i]] = set >> i & 1;
		for (uint32_t i = 0; i < m->nr_units; i++)
			candidates[i] = model_left(m, &m->units[i], survives);
		ids[nr_ids++] = model_id(m, candidates);
	}
	return check_number(sim, moment, unique(ids, nr_ids));
}

/* ------------------------------------------------------------------------------ picks */

static void draw_picks(struct sim *sim, uint16_t *picks)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices);
	uint64_t base = draw(sim, 3);

	for (size_t i = 0; i < nr; i++) {
		picks[i] = base ? choices[i].newest : 0;
		if (base == 2 || !draw(sim, 4))
			picks[i] = (uint16_t)draw(sim, choices[i].nr);
	}
	crash_canonical(sim->crash, picks);
}

static bool check_name(struct sim *sim, const uint16_t *picks)
{
	_cleanup_free_ char *name = crash_name(sim->crash, picks);
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices);
	uint16_t again[MAX_UNITS];
	struct diag diag;

	if (crash_parse(sim->crash, name, &diag, again) < 0)
		return fail(sim, "'%s': %s", name, diag.message);
	return !memcmp(picks, again, nr * sizeof(*picks)) ||
	       fail(sim, "'%s' is another state", name);
}

/* Is what write w left in the unit there, or what one after it did? */
static bool is_there(const struct sim *sim, const struct model_unit *u, uint32_t w,
		     uint32_t candidate, const bool *survives)
{
	for (uint32_t by = w; by < sim->journal->nr_writes; by++) {
		bool durable = sim->model.durable[by];

		if (!u->covers[by] || u->replaced[by])
			continue;
		if (sim->options.atomic != CRASH_UNIT && (durable || survives[by]))
			return true;
		if ((sim->options.atomic == CRASH_UNIT || u->tangled) &&
		    u->of_write[by] == candidate)
			return true;
	}
	return false;
}

/* Of a version with parts it is not told which writes left it; but where all are there, none is
 * lost. */
static bool check_lost_parts(struct sim *sim)
{
	const uint32_t *writes;
	size_t nr = crash_volatile(sim->crash, &writes);
	uint16_t newest[MAX_UNITS];
	bool got[MAX_WRITES];

	crash_newest(sim->crash, newest);
	crash_lost(sim->crash, newest, got);
	for (size_t i = 0; i < nr; i++)
		if (got[i])
			return fail(sim, "write %u is lost though all are there", writes[i]);
	return true;
}

static bool check_lost(struct sim *sim, const uint16_t *picks)
{
	const struct model *m = &sim->model;
	const uint32_t *writes;
	size_t nr = crash_volatile(sim->crash, &writes);
	bool got[MAX_WRITES], want[MAX_WRITES] = { false }, survives[MAX_WRITES];
	uint32_t candidates[MAX_UNITS];

	if (!is_in_turn(sim, picks))
		return true;
	for (uint32_t i = 0; i < m->nr_units; i++)
		if (m->units[i].parts && m->units[i].nr > 1)
			return check_lost_parts(sim);
	crash_lost(sim->crash, picks, got);
	model_picks(sim, picks, candidates);
	model_survives(sim, picks, survives);
	for (uint32_t i = 0; i < m->nr_units; i++) {
		const struct model_unit *u = &m->units[i];

		for (uint32_t w = 0; w < sim->journal->nr_writes && u->nr > 1; w++)
			if (model_counts(u, w))
				want[w] |= !is_there(sim, u, w, candidates[i], survives);
	}
	for (size_t i = 0; i < nr; i++)
		if (got[i] != want[writes[i]])
			return fail(sim, "write %u is %s, expected otherwise", writes[i],
				    got[i] ? "lost" : "not lost");
	return true;
}

/* Without those that have something missing before them. */
static void close_down(const struct sim *sim, bool *survives)
{
	for (uint32_t b = 0; b < sim->journal->nr_writes; b++)
		for (uint32_t a = 0; a < b; a++)
			if (is_volatile(sim, a) && !survives[a] &&
			    sim->journal->writes[a].disk == sim->journal->writes[b].disk &&
			    comes_before(sim, a, b))
				survives[b] = false;
}

static bool check_survivors(struct sim *sim)
{
	const struct model *m = &sim->model;
	const uint32_t *writes;
	size_t nr = crash_volatile(sim->crash, &writes);
	bool survives[MAX_WRITES], of_write[MAX_WRITES] = { false };
	uint32_t candidates[MAX_UNITS];
	uint16_t picks[MAX_UNITS];
	uint64_t odds = draw(sim, 4);

	for (size_t i = 0; i < nr; i++) {
		survives[i] = draw(sim, 3) < odds;
		of_write[writes[i]] = survives[i];
	}
	if (sim->options.atomic == CRASH_ORDER)
		close_down(sim, of_write);
	crash_survivors(sim->crash, survives, picks);
	model_picks(sim, picks, candidates);
	for (uint32_t i = 0; i < m->nr_units; i++) {
		const struct model_unit *u = &m->units[i];
		uint32_t want = sim->options.atomic == CRASH_UNIT ? model_survivor(m, u, of_write)
								  : model_left(m, u, of_write);

		if (u->nr > 1 && candidates[i] != want)
			return fail(sim, "survivors leave candidate %u at %" PRIu64 ", expected %u",
				    candidates[i], u->at, want);
	}
	return true;
}

static bool check_ends(struct sim *sim)
{
	const struct crash_choice *choices;
	size_t nr = crash_choices(sim->crash, &choices);
	uint16_t oldest[MAX_UNITS], newest[MAX_UNITS];

	crash_oldest(sim->crash, oldest);
	crash_newest(sim->crash, newest);
	for (size_t i = 0; i < nr; i++)
		if (oldest[i] || newest[i] != choices[i].newest)
			return fail(sim, "oldest or newest of choice %zu", i);
	return check_name(sim, oldest) && check_name(sim, newest);
}

/* A cursor that came here in one leap knows the same. */
static bool check_jumper(struct sim *sim)
{
	const struct crash_choice *a, *b;
	uint16_t picks[MAX_UNITS];
	size_t nr;

	if (crash_move(sim->jumper, sim->model.step) < 0)
		return fail(sim, "moving");
	nr = crash_choices(sim->crash, &a);
	if (crash_choices(sim->jumper, &b) != nr)
		return fail(sim, "other choices after a leap");
	draw_picks(sim, picks);
	return crash_hash(sim->crash, picks) == crash_hash(sim->jumper, picks) ||
	       fail(sim, "another hash after a leap");
}

static bool check_picks(struct sim *sim)
{
	uint16_t picks[MAX_UNITS];

	for (int i = 0; i < 8; i++) {
		draw_picks(sim, picks);
		if (!check_state(sim, picks, true) || !check_name(sim, picks) ||
		    !check_lost(sim, picks) || !check_survivors(sim))
			return false;
	}
	return check_ends(sim);
}

static bool check_moment(struct sim *sim, size_t moment, uint64_t step)
{
	uint64_t nr_states = 0;

	sim->frame.step = (int)step;
	sim->nr_moments++;
	model_at(&sim->model, step);
	if (crash_move(sim->crash, step) < 0)
		return fail(sim, "moving");
	if (!check_images(sim) || !check_choices(sim) || !check_turns(sim))
		return false;
	for (uint32_t i = 0; i < sim->model.nr_units; i++) {
		if (!sim->model.units[i].large)
			continue;
		sim->all_small = false;
		return true;
	}
	if (!check_volatile(sim) || !check_count(sim, &nr_states) || !check_picks(sim))
		return false;
	if (!draw(sim, 4) && !check_jumper(sim))
		return false;
	if (nr_states > MAX_STATES) {
		sim->all_small = false;
		return true;
	}
	return list_states(sim, moment, nr_states) && check_sets(sim, moment) &&
	       check_closed(sim, moment);
}

static int compare_ids(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->hash > y->hash) - (x->hash < y->hash);
}

static int compare_hashes(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static bool check_seen(struct sim *sim)
{
	qsort(sim->seen, sim->nr_seen, sizeof(*sim->seen), compare_ids);
	for (size_t i = 1; i < sim->nr_seen; i++)
		if (sim->seen[i].id == sim->seen[i - 1].id &&
		    sim->seen[i].hash != sim->seen[i - 1].hash)
			return fail(sim, "one content has two hashes");
	qsort(sim->seen, sim->nr_seen, sizeof(*sim->seen), compare_hashes);
	for (size_t i = 1; i < sim->nr_seen; i++)
		if (sim->seen[i].hash == sim->seen[i - 1].hash &&
		    sim->seen[i].id != sim->seen[i - 1].id)
			return fail(sim, "two contents have one hash");
	return true;
}

/* ------------------------------------------------------------------------------ rounds */

static bool make_cursors(struct sim *sim)
{
	static const uint32_t units[] = { 0, 512, 1024, 2048, 4096 };
	struct diag diag = { 0 };
	uint32_t block = 0, smallest = UINT32_MAX;

	for (uint32_t i = 0; i < sim->journal->nr_disks; i++) {
		uint32_t bytes = sim->journal->disks[i].block_bytes;

		block = bytes > block ? bytes : block;
		smallest = bytes < smallest ? bytes : smallest;
		sim->images[i] = (struct crash_image){ sim->buffers[0][i], -1 };
		sim->jumper_images[i] = (struct crash_image){ sim->buffers[1][i], -1 };
	}
	memset(sim->buffers, 0, sizeof(sim->buffers));
	sim->options.illegal = draw(sim, 2);
	sim->options.atomic = draw(sim, 2) ? CRASH_UNIT : (enum crash_atomic)draw(sim, 3);
	sim->options.unit_bytes = units[draw(sim, array_size(units))];
	sim->model.journal = sim->journal;
	sim->model.options = &sim->options;
	sim->model.unit_bytes = sim->options.unit_bytes ? sim->options.unit_bytes : block;
	if (sim->options.atomic != CRASH_UNIT)
		sim->model.unit_bytes = smallest;
	if (crash_create(sim->journal, &sim->options, sim->images, &diag, &sim->crash) < 0 ||
	    crash_create(sim->journal, &sim->options, sim->jumper_images, &diag, &sim->jumper) < 0)
		return fail(sim, "no cursor: %s", diag.message);
	if (crash_options(sim->crash)->unit_bytes != sim->model.unit_bytes)
		return fail(sim, "units of %u bytes", crash_options(sim->crash)->unit_bytes);
	return true;
}

static bool check_all(struct sim *sim)
{
	sim->all_small = true;
	sim->nr_seen = 0;
	if (sim->frame.verbose)
		show(sim);
	if (!check_moment(sim, 0, 0))
		return false;
	for (size_t i = 0; i < sim->journal->nr_events; i++)
		if (!check_moment(sim, i + 1, sim->journal->events[i].step))
			return false;
	if (!check_seen(sim))
		return false;
	sim->nr_rounds_all += sim->all_small;
	return !sim->all_small || check_points(sim);
}

static bool run_round(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose)
{
	bool ok;

	if (!sim->seen)
		sim->seen = calloc(MAX_SEEN, sizeof(*sim->seen));
	sim->frame = (struct frame){ .seed = seed, .verbose = verbose };
	ok = make_journal(sim, mask) && make_cursors(sim) && check_all(sim);
	sim->crash = crash_free(sim->crash);
	sim->jumper = crash_free(sim->jumper);
	sim->journal = journal_free(sim->journal);
	for (size_t i = 0; i <= MAX_EVENTS; i++) {
		free(sim->states[i]);
		sim->states[i] = NULL;
		sim->nr_states[i] = 0;
	}
	return ok;
}

static void summarise(const struct sim *sim)
{
	printf("%" PRIu64 " moments, %" PRIu64 " choices, %" PRIu64 " states, %" PRIu64
	       " points; all states of all moments in %" PRIu64 " rounds",
	       sim->nr_moments, sim->nr_choices, sim->nr_states_all, sim->nr_points,
	       sim->nr_rounds_all);
	free(sim->seen);
}

SIM_MAIN("sim_crash", DEFAULT_ROUNDS, SLOTS)
