// SPDX-License-Identifier: MIT
/*
 * Whole writes that lie over each other and were in flight together (CRASH_WRITE, CRASH_ORDER):
 * whichever was carried out last is what is there, and it is the same one in all of their units.
 *
 * Two writes to a unit are rivals if they were in flight together, and some two such leave different
 * things in that unit. Writes that are rivals, or rivals of rivals, are a tangle. The others come in
 * the order of submission, or it makes no difference; and each tangle has orders of its own, which
 * go together with every set of survivors and with every order of another tangle: each write has an
 * instant of its own between its submission and its completion, and any instants there will do.
 *
 *	1 |-------|			rivals: 1 2, 2 3; 1 was done before 3 came
 *	2     |-------|			orders: 1 2 3, 2 1 3, 1 3 2
 *	3           |-----|		(not 3 2 1: 1 comes before 3)
 *
 * Orders that leave each two rivals as they are, are one order: of these it is the first by
 * submission that is made, and no other. It is the one in which no write could be moved to before
 * a later submitted one without passing one that it may not pass (the lexicographic normal form of
 * a trace), so a write is put behind others only where it stays so.
 *
 * For each set of survivors several orders may leave the same; the first of these is meant.
 */
#include "faults/crash/internal.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define TANGLES_MAX UINT16_MAX
#define PLACES_MAX  64u        /* of a tangle: units that its writes cover differently */
#define SETS_MAX    (1u << 16) /* of a tangle: sets of its writes, in each order */
#define PAIRS_MAX   28u /* rivals in one unit: so many are those of CRASH_TANGLE_MAX writes */

struct pair {
	uint32_t writes[2];
	bool large; /* there are more rivals than are told */
};

/* A write that has rivals. */
struct node {
	uint32_t write;
	uint32_t parent, nr; /* see root_of(); of a root: how many there are */
	uint32_t tangle;     /* of a root: from 1; 0: none that is made */
	bool large;
};

/* What the writes of a tangle leave in some unit: a byte for each, 0 where it is not there, else
 * equal for equal content. */
struct tangle_place {
	uint32_t tangle;
	uint64_t classes;
};

struct knots {
	struct crash *crash;
	struct pair *pairs;
	size_t nr_pairs, room_pairs;
	struct node *nodes; /* by write */
	size_t nr_nodes;
	struct tangle_place *places; /* by tangle */
	size_t nr_places, room_places;
};

/* ------------------------------------------------------------------------------ rivals */

static bool in_flight_together(const struct crash *crash, const struct crash_entry *earlier,
			       const struct crash_entry *later)
{
	const struct journal_write *writes = crash->journal->writes;

	return writes[earlier->write].complete > writes[later->write].submit;
}

static bool is_same(const struct crash_entry *a, const struct crash_entry *b)
{
	if (a->hash != b->hash)
		return false;
	return !a->hash || a->data == b->data || !memcmp(a->data, b->data, a->to - a->from);
}

static int add_pair(struct knots *knots, uint32_t a, uint32_t b, bool large)
{
	if (array_room("faults/crash/tangle/pairs", knots->pairs, knots->room_pairs,
		       knots->nr_pairs + 1, 64))
		return -ENOMEM;
	knots->pairs[knots->nr_pairs++] = (struct pair){ { a, b }, large };
	return 0;
}

/* All that is in the unit belongs together: it is too much to tell who is a rival of whom. */
static int add_large(struct knots *knots, const struct crash_unit *unit)
{
	int err = 0;

	for (uint32_t k = 1; k < unit->nr && !err; k++)
		err = add_pair(knots, unit->entries[k - 1].write, unit->entries[k].write, true);
	return err;
}

/* Those in one unit, if some of them leave different things there. */
static int add_rivals(struct knots *knots, struct crash_unit *unit)
{
	const struct journal_write *writes = knots->crash->journal->writes;
	size_t before = knots->nr_pairs;
	uint64_t end = 0;
	int err = 0;

	unit->tangled = false;
	for (uint32_t k = 0; k < unit->nr; k++) {
		const struct crash_entry *entry = &unit->entries[k];

		for (uint32_t i = 0; i < k && end > writes[entry->write].submit && !err; i++) {
			if (!in_flight_together(knots->crash, &unit->entries[i], entry))
				continue;
			unit->tangled |= !is_same(&unit->entries[i], entry);
			if (knots->nr_pairs - before <= PAIRS_MAX)
				err = add_pair(knots, unit->entries[i].write, entry->write, false);
			if (unit->tangled && knots->nr_pairs - before > PAIRS_MAX)
				return add_large(knots, unit);
		}
		if (writes[entry->write].complete > end)
			end = writes[entry->write].complete;
	}
	if (!unit->tangled)
		knots->nr_pairs = before;
	return err;
}

/* ------------------------------------------------------------------------------ who belongs together */

static int compare_nodes(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return (x->write > y->write) - (x->write < y->write);
}

static struct node *find_node(const struct knots *knots, uint32_t write)
{
	struct node key = { .write = write };

	if (!knots->nr_nodes)
		return NULL;
	return bsearch(&key, knots->nodes, knots->nr_nodes, sizeof(key), compare_nodes);
}

static uint32_t root_of(struct knots *knots, uint32_t i)
{
	struct node *nodes = knots->nodes;

	while (nodes[i].parent != i)
		i = nodes[i].parent = nodes[nodes[i].parent].parent;
	return i;
}

static void join(struct knots *knots, const struct pair *pair)
{
	uint32_t a = root_of(knots, (uint32_t)(find_node(knots, pair->writes[0]) - knots->nodes));
	uint32_t b = root_of(knots, (uint32_t)(find_node(knots, pair->writes[1]) - knots->nodes));
	uint32_t first = a < b ? a : b, other = a < b ? b : a;

	if (first != other)
		knots->nodes[first].nr += knots->nodes[other].nr;
	knots->nodes[other].parent = first;
	knots->nodes[first].large |= knots->nodes[other].large || pair->large;
}

static int make_nodes(struct knots *knots)
{
	size_t nr = 0;

	knots->nodes = fail_alloc("faults/crash/tangle/nodes",
				  calloc(2 * knots->nr_pairs, sizeof(*knots->nodes)));
	if (!knots->nodes)
		return -ENOMEM;
	for (size_t i = 0; i < 2 * knots->nr_pairs; i++)
		knots->nodes[i].write = knots->pairs[i / 2].writes[i % 2];
	qsort(knots->nodes, 2 * knots->nr_pairs, sizeof(*knots->nodes), compare_nodes);
	for (size_t i = 0; i < 2 * knots->nr_pairs; i++)
		if (!nr || knots->nodes[nr - 1].write != knots->nodes[i].write)
			knots->nodes[nr++] = knots->nodes[i];
	knots->nr_nodes = nr;
	for (uint32_t i = 0; i < nr; i++) {
		knots->nodes[i].parent = i;
		knots->nodes[i].nr = 1;
	}
	for (size_t i = 0; i < knots->nr_pairs; i++)
		join(knots, &knots->pairs[i]);
	return 0;
}

/* Each tangle that is small enough, with its writes. */
static int make_tangles(struct knots *knots)
{
	struct crash *crash = knots->crash;
	size_t nr = 0;

	for (uint32_t i = 0; i < knots->nr_nodes; i++)
		nr += knots->nodes[i].parent == i;
	crash->tangles =
		fail_alloc("faults/crash/tangle/tangles", calloc(nr, sizeof(*crash->tangles)));
	if (!crash->tangles)
		return -ENOMEM;
	for (uint32_t i = 0; i < knots->nr_nodes; i++) {
		struct node *root = &knots->nodes[root_of(knots, i)];
		struct crash_tangle *tangle;

		if (root->large || root->nr > CRASH_TANGLE_MAX ||
		    (!root->tangle && crash->nr_tangles == TANGLES_MAX)) {
			crash->lacks_orders = true;
			continue;
		}
		if (!root->tangle)
			root->tangle = (uint32_t)++crash->nr_tangles;
		tangle = &crash->tangles[root->tangle - 1];
		tangle->disk = crash->journal->writes[knots->nodes[i].write].disk;
		if (is_durable(crash, knots->nodes[i].write))
			tangle->durable |= (uint8_t)(1u << tangle->nr);
		tangle->writes[tangle->nr++] = knots->nodes[i].write;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ where they meet */

static int add_place(struct knots *knots, const struct tangle_place *place)
{
	/* A large write meets another one in many units in the same way. */
	if (knots->nr_places && knots->places[knots->nr_places - 1].tangle == place->tangle &&
	    knots->places[knots->nr_places - 1].classes == place->classes)
		return 0;
	if (array_room("faults/crash/tangle/places", knots->places, knots->room_places,
		       knots->nr_places + 1, 64))
		return -ENOMEM;
	knots->places[knots->nr_places++] = *place;
	return 0;
}

/* Of the tangle of entry @first, which is the first of it in the unit. How many of it there are. */
static unsigned int describe(const struct crash *crash, const struct crash_unit *unit,
			     uint32_t first, struct tangle_place *place)
{
	const struct crash_tangle *tangle = &crash->tangles[unit->entries[first].tangle - 1];
	const struct crash_entry *seen[CRASH_TANGLE_MAX];
	unsigned int nr = 0, class;

	*place = (struct tangle_place){ .tangle = unit->entries[first].tangle };
	for (uint32_t k = first; k < unit->nr && nr < tangle->nr; k++) {
		const struct crash_entry *entry = &unit->entries[k];

		if (entry->tangle != place->tangle)
			continue;
		class = 0;
		while (class < nr && !is_same(seen[class], entry))
			class ++;
		seen[nr++] = entry;
		for (unsigned int i = 0; i < tangle->nr; i++)
			if (tangle->writes[i] == entry->write)
				place->classes |= (uint64_t)(class + 1) << 8 * i;
	}
	return nr;
}

static bool is_first(const struct crash_unit *unit, uint32_t entry)
{
	for (uint32_t i = 0; i < entry; i++)
		if (unit->entries[i].tangle == unit->entries[entry].tangle)
			return false;
	return true;
}

static int find_places(struct knots *knots, struct crash_unit *unit)
{
	int err = 0;

	for (uint32_t k = 0; k < unit->nr; k++) {
		const struct node *node = find_node(knots, unit->entries[k].write);

		unit->entries[k].tangle =
			node ? (uint16_t)knots
					->nodes[root_of(knots, (uint32_t)(node - knots->nodes))]
					.tangle
			     : 0;
	}
	for (uint32_t k = 0; k < unit->nr && !err; k++) {
		struct tangle_place place;

		if (unit->entries[k].tangle && is_first(unit, k) &&
		    describe(knots->crash, unit, k, &place) > 1)
			err = add_place(knots, &place);
	}
	return err;
}

static int compare_places(const void *a, const void *b)
{
	const struct tangle_place *x = a, *y = b;

	if (x->tangle != y->tangle)
		return x->tangle < y->tangle ? -1 : 1;
	return (x->classes > y->classes) - (x->classes < y->classes);
}

static void sort_places(struct knots *knots)
{
	size_t nr = 0;

	if (knots->nr_places)
		qsort(knots->places, knots->nr_places, sizeof(*knots->places), compare_places);
	for (size_t i = 0; i < knots->nr_places; i++)
		if (!nr || compare_places(&knots->places[nr - 1], &knots->places[i]) != 0)
			knots->places[nr++] = knots->places[i];
	knots->nr_places = nr;
}

/* ------------------------------------------------------------------------------ orders */

struct orders {
	struct crash_tangle *tangle;
	const struct tangle_place *places;
	size_t nr_places;
	/* For each write: a bit for each one that it must come after; and that it may not pass. */
	uint8_t after[CRASH_TANGLE_MAX], fixed[CRASH_TANGLE_MAX];
	uint8_t order[CRASH_TANGLE_MAX];
	unsigned int nr, placed; /* so many are in order; they as bits */
	uint32_t max;
	bool spent;
};

/* May they meet in some unit where it makes a difference? */
static bool are_rivals(const struct orders *orders, unsigned int a, unsigned int b)
{
	for (size_t i = 0; i < orders->nr_places; i++)
		if (orders->places[i].classes >> 8 * a & 0xff &&
		    orders->places[i].classes >> 8 * b & 0xff)
			return true;
	return false;
}

static void compare_writes(const struct crash *crash, struct orders *orders)
{
	const struct journal_write *writes = crash->journal->writes;
	const struct crash_tangle *tangle = orders->tangle;

	for (unsigned int b = 1; b < tangle->nr; b++)
		for (unsigned int a = 0; a < b; a++) {
			bool is_before = writes[tangle->writes[a]].complete <
					 writes[tangle->writes[b]].submit;

			orders->after[b] |= (uint8_t)(is_before << a);
			if (!is_before && !are_rivals(orders, a, b))
				continue;
			orders->fixed[a] |= (uint8_t)(1u << b);
			orders->fixed[b] |= (uint8_t)(1u << a);
		}
}

/* Behind the others, could it be moved to before one that was submitted later? */
static bool could_move(const struct orders *orders, unsigned int write)
{
	for (unsigned int i = orders->nr; i-- > 0;) {
		if (orders->fixed[write] >> orders->order[i] & 1)
			return false;
		if (orders->order[i] > write)
			return true;
	}
	return false;
}

static int add_order(struct orders *orders)
{
	struct crash_tangle *tangle = orders->tangle;

	orders->spent = tangle->nr_turns == orders->max;
	if (orders->spent)
		return 0;
	if (!(tangle->nr_turns & (tangle->nr_turns - 1)) &&
	    array_fit("faults/crash/tangle/turns", tangle->turns, 2 * (size_t)tangle->nr_turns + 1))
		return -ENOMEM;
	for (unsigned int i = 0; i < tangle->nr; i++)
		tangle->turns[tangle->nr_turns][orders->order[i]] = (uint8_t)i;
	tangle->nr_turns++;
	return 0;
}

/* At most so deep as there are writes. */
static int add_orders(struct orders *orders)
{
	int err = 0;

	if (orders->nr == orders->tangle->nr)
		return add_order(orders);
	for (unsigned int i = 0; i < orders->tangle->nr && !err && !orders->spent; i++) {
		if (orders->placed >> i & 1 || orders->after[i] & ~orders->placed ||
		    could_move(orders, i))
			continue;
		orders->order[orders->nr++] = (uint8_t)i;
		orders->placed |= 1u << i;
		err = add_orders(orders);
		orders->placed &= ~(1u << i);
		orders->nr--;
	}
	return err;
}

/* ------------------------------------------------------------------------------ what they leave */

/* What the writes of the set leave in each place. */
static void leave(const struct orders *orders, uint32_t set, uint32_t turn, uint8_t *left)
{
	const struct crash_tangle *tangle = orders->tangle;
	const uint8_t *turns = tangle->turns[turn];

	for (size_t i = 0; i < orders->nr_places; i++) {
		unsigned int last = CRASH_TANGLE_MAX;

		for (unsigned int w = 0; w < tangle->nr; w++)
			if (set >> w & 1 && orders->places[i].classes >> 8 * w & 0xff &&
			    (last == CRASH_TANGLE_MAX || turns[w] > turns[last]))
				last = w;
		left[i] = last == CRASH_TANGLE_MAX
				  ? 0
				  : (uint8_t)(orders->places[i].classes >> 8 * last);
	}
}

/* For one set: the first order that leaves the same as @turn, if it is one of those before. */
static uint16_t first_same(const struct orders *orders, uint32_t set, uint32_t turn,
			   const uint16_t *same, uint64_t *hashes)
{
	uint8_t left[PLACES_MAX], other[PLACES_MAX];

	leave(orders, set, turn, left);
	hashes[turn] = XXH3_64bits(left, orders->nr_places);
	for (uint32_t i = 0; i < turn; i++) {
		if (same[i] != i || hashes[i] != hashes[turn])
			continue;
		leave(orders, set, i, other);
		if (!memcmp(left, other, orders->nr_places))
			return (uint16_t)i;
	}
	return (uint16_t)turn;
}

static void count_set(struct crash_tangle *tangle, uint32_t set)
{
	const uint16_t *same = tangle->same + (size_t)set * tangle->nr_turns;
	uint16_t *nr = tangle->same + ((size_t)tangle->nr_turns << tangle->nr) + set;

	for (uint32_t turn = 0; turn < tangle->nr_turns; turn++)
		*nr += same[turn] == turn;
}

static int compare_orders(struct orders *orders)
{
	struct crash_tangle *tangle = orders->tangle;
	_cleanup_free_ uint64_t *hashes =
		fail_alloc("faults/crash/tangle/hashes", calloc(tangle->nr_turns, sizeof(*hashes)));

	tangle->same = fail_alloc(
		"faults/crash/tangle/same",
		calloc(((size_t)tangle->nr_turns + 1) << tangle->nr, sizeof(*tangle->same)));
	if (!hashes || !tangle->same)
		return -ENOMEM;
	for (uint32_t set = 0; set < 1u << tangle->nr; set++) {
		uint16_t *same = tangle->same + (size_t)set * tangle->nr_turns;

		for (uint32_t turn = 0; turn < tangle->nr_turns; turn++)
			same[turn] = first_same(orders, set, turn, same, hashes);
		count_set(tangle, set);
	}
	return 0;
}

/* One that is too large is left as it was submitted. */
static int make_turns(struct knots *knots, struct crash_tangle *tangle,
		      const struct tangle_place *places, size_t nr_places)
{
	struct orders orders = { .tangle = tangle,
				 .places = places,
				 .nr_places = nr_places,
				 .max = SETS_MAX >> tangle->nr };
	int err = 0;

	orders.spent = nr_places > PLACES_MAX;
	if (!orders.spent) {
		compare_writes(knots->crash, &orders);
		err = add_orders(&orders);
	}
	if (!err && !orders.spent)
		return compare_orders(&orders);
	tangle->nr_turns = 0;
	knots->crash->lacks_orders = true;
	return err;
}

static int make_all_turns(struct knots *knots)
{
	struct crash *crash = knots->crash;
	size_t at = 0;
	int err = 0;

	for (uint32_t i = 0; i < crash->nr_tangles && !err; i++) {
		struct crash_tangle *tangle = &crash->tangles[i];
		size_t from = at;

		while (at < knots->nr_places && knots->places[at].tangle == i + 1)
			at++;
		err = make_turns(knots, tangle, knots->places + from, at - from);
		for (uint32_t k = 0; k < tangle->nr && tangle->nr_turns; k++)
			crash->writes[tangle->writes[k]] |= WRITE_TANGLED;
	}
	return err;
}

/* ------------------------------------------------------------------------------ outside */

void crash_untangle(struct crash *crash)
{
	for (uint32_t i = 0; i < crash->nr_tangles; i++) {
		struct crash_tangle *tangle = &crash->tangles[i];

		for (uint32_t k = 0; k < tangle->nr; k++)
			crash->writes[tangle->writes[k]] &= (uint8_t)~WRITE_TANGLED;
		free(tangle->turns);
		free(tangle->same);
	}
	free(crash->tangles);
	crash->tangles = NULL;
	crash->nr_tangles = 0;
	crash->lacks_orders = false;
}

int crash_tangle(struct crash *crash)
{
	struct knots knots = { .crash = crash };
	int err = 0;

	crash_untangle(crash);
	if (crash->options.atomic == CRASH_UNIT || !crash->overlaps)
		return 0;
	for (size_t i = 0; i < crash->nr_live && !err; i++)
		err = add_rivals(&knots, crash->live[i]);
	if (!err && knots.nr_pairs) {
		err = make_nodes(&knots);
		if (!err)
			err = make_tangles(&knots);
		for (size_t i = 0; i < crash->nr_live && !err; i++)
			if (crash->live[i]->tangled)
				err = find_places(&knots, crash->live[i]);
		sort_places(&knots);
		if (!err)
			err = make_all_turns(&knots);
	}
	free(knots.pairs);
	free(knots.nodes);
	free(knots.places);
	return err;
}

static unsigned int member_of(const struct crash_tangle *tangle, uint32_t write)
{
	unsigned int i = 0;

	while (tangle->writes[i] != write)
		i++;
	return i;
}

bool crash_comes_later(const struct crash *crash, const uint16_t *picks,
		       const struct crash_entry *entry, const struct crash_entry *than)
{
	const struct crash_tangle *tangle;
	const uint8_t *turns;

	if (!entry->tangle || entry->tangle != than->tangle)
		return entry->write > than->write;
	tangle = &crash->tangles[entry->tangle - 1];
	if (!tangle->nr_turns)
		return entry->write > than->write;
	turns = tangle->turns[picks[tangle->choice]];
	return turns[member_of(tangle, entry->write)] > turns[member_of(tangle, than->write)];
}

void crash_choose_turns(struct crash *crash, uint16_t disk)
{
	const struct journal_write *writes = crash->journal->writes;

	for (uint32_t i = 0; i < crash->nr_tangles; i++) {
		struct crash_tangle *tangle = &crash->tangles[i];
		uint64_t at = UINT64_MAX, end = 0;

		if (tangle->disk != disk || !tangle->nr_turns)
			continue;
		for (uint32_t k = 0; k < tangle->nr; k++) {
			const struct journal_write *w = &writes[tangle->writes[k]];

			at = w->at < at ? w->at : at;
			end = w->at + w->len_bytes > end ? w->at + w->len_bytes : end;
		}
		tangle->choice = (uint32_t)crash->nr_choices;
		crash->choices[crash->nr_choices++] = (struct crash_choice){
			.at = at,
			.len_bytes = end - at,
			.disk = disk,
			.nr = tangle->nr_turns,
			.write = CRASH_TURNS,
		};
	}
}

uint64_t crash_count_turns(const struct crash_tangle *tangle, uint32_t there, uint32_t open)
{
	const uint16_t *nr = tangle->same + ((size_t)tangle->nr_turns << tangle->nr);
	uint32_t set = 0;
	uint64_t sum = 0;

	/* All subsets of @open. */
	do {
		sum += nr[there | set];
		set = (set - open) & open;
	} while (set);
	return sum;
}
