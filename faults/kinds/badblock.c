// SPDX-License-Identifier: MIT
/*
 * badblock[:ERRNO][,remap=N]
 *
 * Reads that touch a bad block fail; whatever writes a whole block, a discard and zeroes included,
 * makes it good again. All blocks of the rule's range= are bad when it is put in force; a rule
 * without range= starts with none. `faultblk badblock add|remove|query|count|list` do the rest.
 * While a rule is disabled it sees no writes, so nothing heals.
 *
 * remap=N: a failed read counts against the first bad block that it touches, which is where a real
 * disk gives up. The Nth one still fails, and the block is replaced: it is good from then on, reads
 * as zero, and that is durable. A block that was rewritten starts anew.
 *
 * The state is a bit for each block in a mapping without reserve, and for each page of that
 * mapping, a region, the number of bits that are set. A look at a region without bad blocks is one
 * load and leaves the page untouched; counting and listing skip such regions. In a region that has
 * some, a bit for each word says whether it was ever used: bad blocks all over a large disk would
 * otherwise cost each read a miss of the processor's cache. With remap= there is also a byte for
 * each block, touched only where reads failed.
 *
 *	regions	|  3  |  0  |  1  | ...		one number for 32768 blocks
 *	hints	|xx   |     | x   | ...		one bit for 64 blocks
 *	bad	|.x.xx|     |..x..| ...		one bit for each block: pages that were never used
 *						are not there
 *
 * All of it is atomic: the control thread adds and removes while queues look and heal. Bits are set
 * before they are counted, so a number may lag behind for a moment, but for the control thread,
 * which alone makes blocks bad, it is never too small.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/sparse.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/rule/ast.h"
#include "faults/rule/kind.h"

#include <errno.h>
#include <string.h>

#define WORD_BITS     64u
#define REGION_BLOCKS 32768u /* a page of 4096 bytes of bits */
#define HINT_BLOCKS   (WORD_BITS * WORD_BITS)
#define LIST_MAX      1000000u

struct badblock {
	uint64_t from,
		to; /* bytes of the disk that the rule is about, from the first to the last */
	const struct value_range *ranges; /* the rule's; none: all of the disk */
	uint32_t nr_ranges;
	uint32_t block_bytes;
	uint32_t remap; /* 0: never */
	uint64_t nr_blocks, nr_regions;
	_Atomic uint64_t *bad;
	_Atomic uint64_t *hints; /* words of bad that were ever used: never taken back */
	_Atomic uint32_t *regions;
	_Atomic uint8_t *fails; /* NULL without remap= */
	_Atomic uint64_t nr_bad;
};

/* ------------------------------------------------------------------------------ the bits */

/* The bits of one word that stand for blocks [first, end), some of which lie in the word. */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (first > word * WORD_BITS)
		mask <<= first % WORD_BITS;
	if (end < (word + 1) * WORD_BITS)
		mask &= UINT64_MAX >> (WORD_BITS - end % WORD_BITS);
	return mask;
}

static uint64_t load_word(const struct badblock *state, uint64_t word)
{
	return atomic_load_explicit(&state->bad[word], memory_order_relaxed);
}

static uint32_t nr_of_region(const struct badblock *state, uint64_t block)
{
	return atomic_load_explicit(&state->regions[block / REGION_BLOCKS], memory_order_relaxed);
}

static uint64_t region_end(uint64_t block, uint64_t end)
{
	uint64_t next = (block / REGION_BLOCKS + 1) * REGION_BLOCKS;

	return next < end ? next : end;
}

static void hint_at(struct badblock *state, uint64_t word)
{
	_Atomic uint64_t *hints = &state->hints[word / WORD_BITS];
	uint64_t bit = 1ull << word % WORD_BITS;

	if (!(atomic_load_explicit(hints, memory_order_relaxed) & bit))
		atomic_fetch_or_explicit(hints, bit, memory_order_relaxed);
}

static void forget_fails(struct badblock *state, uint64_t word, uint64_t bits)
{
	for (; bits && state->fails; bits &= bits - 1)
		atomic_store_explicit(
			&state->fails[word * WORD_BITS + (uint64_t)__builtin_ctzll(bits)], 0,
			memory_order_relaxed);
}

/* Make the blocks of one word bad or good; returns how many were not so before. */
static uint32_t change_word(struct badblock *state, uint64_t word, uint64_t mask, bool bad)
{
	uint64_t old = load_word(state, word);

	/* Look before the locked instruction, and never write to a hole what is there already. */
	if ((old & mask) == (bad ? mask : 0))
		return 0;
	if (bad)
		hint_at(state, word);
	if (bad)
		old = ~atomic_fetch_or_explicit(&state->bad[word], mask, memory_order_relaxed);
	else
		old = atomic_fetch_and_explicit(&state->bad[word], ~mask, memory_order_relaxed);
	if (!bad)
		forget_fails(state, word, old & mask);
	return (uint32_t)__builtin_popcountll(old & mask);
}

/* Make blocks [first, end) bad or good; returns how many were not so before. */
static uint64_t change(struct badblock *state, uint64_t first, uint64_t end, bool bad)
{
	uint64_t all = 0;

	for (uint64_t stop; first < end; first = stop) {
		uint32_t nr = 0;

		stop = region_end(first, end);
		if (!bad && !nr_of_region(state, first))
			continue;
		for (uint64_t word = first / WORD_BITS; word * WORD_BITS < stop; word++)
			nr += change_word(state, word, word_mask(word, first, stop), bad);
		atomic_fetch_add_explicit(&state->regions[first / REGION_BLOCKS], bad ? nr : -nr,
					  memory_order_relaxed);
		all += nr;
	}
	if (all)
		atomic_fetch_add_explicit(&state->nr_bad, bad ? all : -all, memory_order_relaxed);
	return all;
}

/* The first block at or after @block whose word has a hint; not past the hints' own word. */
static uint64_t next_hint(const struct badblock *state, uint64_t block)
{
	uint64_t word = block / WORD_BITS;
	uint64_t hints =
		atomic_load_explicit(&state->hints[word / WORD_BITS], memory_order_relaxed) >>
		word % WORD_BITS;

	if (hints & 1)
		return block;
	return hints ? (word + (uint64_t)__builtin_ctzll(hints)) * WORD_BITS
		     : (block / HINT_BLOCKS + 1) * HINT_BLOCKS;
}

/* The first bad block of [block, end), or end. */
static uint64_t next_bad(const struct badblock *state, uint64_t block, uint64_t end)
{
	while (block < end) {
		uint64_t bits, hint;

		if (!nr_of_region(state, block)) {
			block = region_end(block, end);
			continue;
		}
		hint = next_hint(state, block);
		if (hint != block) {
			block = hint;
			continue;
		}
		bits = load_word(state, block / WORD_BITS) >> block % WORD_BITS;
		if (bits) {
			block += (uint64_t)__builtin_ctzll(bits);
			break;
		}
		block = (block / WORD_BITS + 1) * WORD_BITS;
	}
	return block < end ? block : end;
}

/* The first good block of [block, end), or end. */
static uint64_t next_good(const struct badblock *state, uint64_t block, uint64_t end)
{
	while (block < end) {
		uint64_t bits;

		if (nr_of_region(state, block) == REGION_BLOCKS) {
			block = region_end(block, end);
			continue;
		}
		bits = ~load_word(state, block / WORD_BITS) >> block % WORD_BITS;
		if (bits) {
			block += (uint64_t)__builtin_ctzll(bits);
			break;
		}
		block = (block / WORD_BITS + 1) * WORD_BITS;
	}
	return block < end ? block : end;
}

/* How many of [first, end) are bad. */
static uint64_t count(const struct badblock *state, uint64_t first, uint64_t end)
{
	uint64_t all = 0;

	for (uint64_t stop; first < end; first = stop) {
		uint32_t nr = nr_of_region(state, first);

		stop = region_end(first, end);
		if (!nr || stop - first == REGION_BLOCKS) {
			all += nr;
			continue;
		}
		for (uint64_t word = first / WORD_BITS; word * WORD_BITS < stop; word++)
			all += (uint64_t)__builtin_popcountll(load_word(state, word) &
							      word_mask(word, first, stop));
	}
	return all;
}

/* ------------------------------------------------------------------------------ its life */

static void disarm(void *data)
{
	struct badblock *state = data;

	sparse_unmap(state->bad, state->nr_regions * (REGION_BLOCKS / 8));
	sparse_unmap(state->hints, state->nr_regions * (REGION_BLOCKS / WORD_BITS / 8));
	sparse_unmap(state->regions, state->nr_regions * sizeof(*state->regions));
	sparse_unmap(state->fails, state->nr_blocks);
	free(state);
}

static int check_range(const struct kind_arm *arm, const struct value_range *range,
		       struct diag *diag)
{
	uint32_t block = arm->geometry->block_bytes;
	uint64_t end = range->to < arm->to ? range->to : arm->to;
	char from[UNITS_MAX], to[UNITS_MAX], size[UNITS_MAX];

	if (range->from % block == 0 && (end % block == 0 || end == arm->geometry->size_bytes))
		return 0;
	units_format_size(block, size);
	diag_set(diag, -EINVAL, "rule.bad-range",
		 "badblock wants a range of whole logical blocks of %s, got range=%s..%s", size,
		 units_format_size(range->from, from), units_format_size(end, to));
	diag_hint(diag, "start and end at multiples of %s", size);
	return -EINVAL;
}

/* What the rule's range= names is bad from the start. */
static void begin_bad(struct badblock *state)
{
	for (uint32_t i = 0; i < state->nr_ranges; i++) {
		const struct value_range *range = &state->ranges[i];
		uint64_t to = range->to < state->to ? range->to : state->to;

		change(state, (range->from - state->from) / state->block_bytes,
		       (to - state->from + state->block_bytes - 1) / state->block_bytes, true);
	}
}

static int arm(const struct kind_arm *arm, struct diag *diag, void **ret_state)
{
	struct badblock *state;

	for (uint32_t i = 0; i < arm->nr_ranges; i++)
		if (check_range(arm, &arm->ranges[i], diag) < 0)
			return -EINVAL;
	state = fail_alloc("faults/kinds/badblock/alloc", calloc(1, sizeof(*state)));
	if (!state)
		return -ENOMEM;
	state->from = arm->from;
	state->to = arm->to;
	state->ranges = arm->ranges;
	state->nr_ranges = arm->nr_ranges;
	state->block_bytes = arm->geometry->block_bytes;
	state->remap = (uint32_t)arm->args->value[badblock_remap].lo;
	state->nr_blocks = (arm->to - arm->from + state->block_bytes - 1) / state->block_bytes;
	state->nr_regions = (state->nr_blocks + REGION_BLOCKS - 1) / REGION_BLOCKS;
	state->bad = sparse_map(state->nr_regions * (REGION_BLOCKS / 8));
	state->hints = sparse_map(state->nr_regions * (REGION_BLOCKS / WORD_BITS / 8));
	state->regions = sparse_map(state->nr_regions * sizeof(*state->regions));
	state->fails = state->remap ? sparse_map(state->nr_blocks) : NULL;
	if (!state->bad || !state->hints || !state->regions || (state->remap && !state->fails)) {
		disarm(state);
		return -ENOMEM;
	}
	begin_bad(state);
	*ret_state = state;
	return 0;
}

/* ------------------------------------------------------------------------------ requests */

static int errno_of(const struct kind_args *args)
{
	return kind_has(args, badblock_errno) ? (int)args->value[badblock_errno].lo : EIO;
}

/* The first bad block that the request touches; false if there is none. */
static bool find_bad(const struct badblock *state, const struct io *io, uint64_t *ret_block)
{
	uint64_t from = io_start(io), to = from + io->len_bytes, first, end;

	if (!atomic_load_explicit(&state->nr_bad, memory_order_relaxed))
		return false;
	from = from > state->from ? from : state->from;
	to = to < state->to ? to : state->to;
	if (from >= to)
		return false;
	first = (from - state->from) / state->block_bytes;
	end = (to - state->from + state->block_bytes - 1) / state->block_bytes;
	*ret_block = next_bad(state, first, end);
	return *ret_block < end;
}

static bool concerns(const struct kind_args *args, void *state, const struct io *io)
{
	uint64_t block;

	(void)args;
	return find_bad(state, io, &block);
}

static void after_change(void *data, uint64_t at, uint64_t len)
{
	struct badblock *state = data;
	uint64_t to = at + len, first, end;

	if (!atomic_load_explicit(&state->nr_bad, memory_order_relaxed) || at >= state->to ||
	    to <= state->from)
		return;
	at = at > state->from ? at - state->from : 0;
	first = (at + state->block_bytes - 1) / state->block_bytes;
	end = to >= state->to ? state->nr_blocks : (to - state->from) / state->block_bytes;
	change(state, first, end, false);
}

/* Is the rule told of every write? Not if it was taken away while the read waited. */
static bool in_force(const struct badblock *state, const struct backing *backing)
{
	uint32_t i = 0;

	while (i < backing->nr_watchers && backing->watchers[i].state != state)
		i++;
	return i < backing->nr_watchers;
}

/* Under the lock, for somebody may have rewritten the block since the read looked at it. */
static void replace(struct badblock *state, const struct backing *backing, uint64_t block)
{
	uint64_t at = state->from + block * state->block_bytes;
	uint64_t left = state->to - at;
	uint64_t len = left < state->block_bytes ? left : state->block_bytes;

	if (backing->cache)
		cache_begin(backing->cache);
	store_lock(backing->store, at);
	if (next_bad(state, block, block + 1) == block) {
		backing_before(backing, at, len);
		store_mark(backing->store, at, len);
		memset(store_data(backing->store) + at, 0, len);
		backing_changed(backing, at, len, true);
	}
	store_unlock(backing->store, at);
	if (backing->cache)
		cache_end(backing->cache);
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	struct badblock *state = hit->state;
	uint64_t block;

	io->result = -errno_of(args);
	if (!state->remap || !in_force(state, hit->backing) || !find_bad(state, io, &block))
		return;
	if (atomic_fetch_add_explicit(&state->fails[block], 1, memory_order_relaxed) + 1u ==
	    state->remap)
		replace(state, hit->backing, block);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	const struct badblock *state = hit->state;
	uint64_t block;

	fprintf(out, "fails with %s", value_errno_name(errno_of(args)));
	if (find_bad(state, io, &block))
		fprintf(out, ": sector %llu is bad",
			(unsigned long long)((state->from + block * state->block_bytes) >>
					     SECTOR_SHIFT));
}

/* ------------------------------------------------------------------------------ commands */

static void list(const struct badblock *state, struct kind_tell *tell, uint64_t first, uint64_t end)
{
	uint64_t block = next_bad(state, first, end);

	while (block < end) {
		uint64_t good = next_good(state, block, end);
		uint64_t to = state->from + good * state->block_bytes;

		if (tell->ret_count++ < LIST_MAX)
			tell->each(tell->ctx, state->from + block * state->block_bytes,
				   to < state->to ? to : state->to);
		block = next_bad(state, good, end);
	}
}

enum verb { VERB_ADD, VERB_REMOVE, VERB_QUERY, VERB_COUNT, VERB_LIST };

static const struct {
	const char *name;
	bool wants_range, takes_range;
} verbs[] = {
	[VERB_ADD] = { "add", true, true },     [VERB_REMOVE] = { "remove", true, true },
	[VERB_QUERY] = { "query", true, true }, [VERB_COUNT] = { "count", false, false },
	[VERB_LIST] = { "list", false, true },
};

static int find_verb(const struct kind_tell *tell, struct diag *diag, enum verb *ret_verb)
{
	size_t i = 0;

	while (i < array_size(verbs) && strcmp(tell->verb, verbs[i].name) != 0)
		i++;
	if (i == array_size(verbs))
		return diag_set(diag, -EINVAL, "badblock.unknown-verb",
				"badblock takes add, remove, query, count and list, got '%.32s'",
				tell->verb);
	*ret_verb = (enum verb)i;
	if (verbs[i].wants_range && !tell->has_range) {
		diag_set(diag, -EINVAL, "badblock.no-range", "%s wants a range", tell->verb);
		diag_hint(diag, "for example %s 17s..18s", tell->verb);
		return -EINVAL;
	}
	if (tell->has_range && !verbs[i].takes_range) {
		diag_set(diag, -EINVAL, "badblock.unwanted-range",
			 "%s counts all bad blocks and takes no range", tell->verb);
		diag_hint(diag, "query RANGE counts those in a range");
		return -EINVAL;
	}
	return 0;
}

/* Is [from, to) inside of what the rule is about? The first of its ranges that ends past it decides. */
static bool is_inside(const struct badblock *state, uint64_t from, uint64_t to)
{
	uint32_t lo = 0, hi = state->nr_ranges;

	if (from < state->from || to > state->to)
		return false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (state->ranges[mid].to >= to)
			hi = mid;
		else
			lo = mid + 1;
	}
	return !state->nr_ranges || state->ranges[lo].from <= from;
}

/* Whole blocks, of those that the rule is about? */
static bool may_be_told(const struct badblock *state, const struct kind_tell *tell)
{
	return is_inside(state, tell->from, tell->to) && tell->from < tell->to &&
	       (tell->from - state->from) % state->block_bytes == 0 &&
	       ((tell->to - state->from) % state->block_bytes == 0 || tell->to == state->to);
}

/* Lists are long: no word is made before one is needed. */
static int check_told(const struct badblock *state, const struct kind_tell *tell, struct diag *diag)
{
	char from[UNITS_MAX], to[UNITS_MAX], mine[UNITS_MAX], end[UNITS_MAX], size[UNITS_MAX];

	if (may_be_told(state, tell))
		return 0;
	units_format_size(tell->from, from);
	units_format_size(tell->to, to);
	units_format_size(state->block_bytes, size);
	if (!is_inside(state, tell->from, tell->to)) {
		diag_set(diag, -EINVAL, "badblock.outside",
			 "%s %s..%s: the rule covers only %s%s..%s", tell->verb, from, to,
			 state->nr_ranges > 1 ? "parts of " : "",
			 units_format_size(state->from, mine), units_format_size(state->to, end));
		diag_hint(diag, "stay inside, or put the rule again with another range=, or none");
		return -EINVAL;
	}
	diag_set(diag, -EINVAL, "badblock.not-blocks",
		 "%s %s..%s: wanted whole logical blocks of %s, at least one", tell->verb, from, to,
		 size);
	diag_hint(diag, "start and end at multiples of %s", size);
	return -EINVAL;
}

static int tell(void *data, struct kind_tell *tell, struct diag *diag)
{
	struct badblock *state = data;
	uint64_t first = 0, end = state->nr_blocks;
	enum verb verb = VERB_COUNT;

	if (find_verb(tell, diag, &verb) < 0 ||
	    (tell->has_range && check_told(state, tell, diag) < 0))
		return -EINVAL;
	if (tell->has_range) {
		first = (tell->from - state->from) / state->block_bytes;
		end = (tell->to - state->from + state->block_bytes - 1) / state->block_bytes;
	}
	tell->ret_count = 0;
	if (tell->dry)
		return 0;
	switch (verb) {
	case VERB_ADD:
	case VERB_REMOVE:
		tell->ret_count = change(state, first, end, verb == VERB_ADD);
		break;
	case VERB_QUERY:
	case VERB_COUNT:
		tell->ret_count = count(state, first, end);
		break;
	case VERB_LIST:
		list(state, tell, first, end);
		break;
	}
	return 0;
}

const struct kind_ops kind_badblock_ops = {
	.arm = arm,
	.disarm = disarm,
	.concerns = concerns,
	.act = act,
	.watch.after_change = after_change,
	.tell = tell,
	.describe = describe,
};
