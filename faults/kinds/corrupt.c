// SPDX-License-Identifier: MIT
/*
 * corrupt:flip=N | byte=HEX[,at=OFFSET][,count=N] | garbage[=SIZE][,at=OFFSET] | bits=SHARE |
 *	   stuck=SHARE[,wires]  [,rest]
 *
 * The data is changed on its way out of a read, or on its way into the disk of a write, whose own
 * buffer stays as it was. With `rest` a read first changes the disk itself: every later read finds
 * the same, and no power cut takes it back. Offsets count from the start of the request:
 *
 *	flip=3		|---x------|------x---|-x--------|	a bit in each third
 *	byte=ff,count=3	|--ff------|------ff--|-ff-------|	likewise
 *	byte=ff,at=2,count=3	--ffffff----------------	in a row
 *	garbage=8,at=2		--????????--------------
 *	garbage=8		-------------????????---	anywhere
 *
 * So the places are never the same one twice, and they come in ascending order: any part of a
 * request can be changed without looking at the rest of it. What reaches past the request's end is
 * left off; a request that ends before at= is no match.
 *
 * With bits= and stuck= each bit is hit or not by itself. What is drawn is how many bits lie
 * between one that is hit and the next, for each sector from its start: so any sector can be
 * asked alone, and what nothing hits costs one draw a sector. The draws of stuck= depend on the
 * rule and on the sector of the disk (with wires: of the request), not on the hit. Bits of the
 * disk are stuck only inside the rule's range.
 */
#include "base/failpoint.h"
#include "base/rng.h"
#include "faults/disk/apply.h"
#include "faults/rule/fixed.h"
#include "faults/rule/kind.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW      4096 /* bytes that are changed on the stack at once */
#define SHARE_LEAST 1e-10
#define SECTOR_BITS (8 * SECTOR_SIZE)

/* Streams of random bits of one hit, or of one sector. */
enum stream { STREAM_PLACE, STREAM_GARBAGE, STREAM_SECTOR, STREAM_LEVEL };

/* What the hit does to a request of so many bytes. */
struct harm {
	const struct kind_args *args;
	uint64_t bits;
	uint64_t total;      /* places to choose from: bits of the request, or bytes */
	uint64_t nr;         /* places to hit */
	uint64_t from, to;   /* garbage, or byte= with at=: bytes of the request */
	uint64_t nr_pattern; /* bytes of byte= */
	unsigned char pattern[VALUE_BYTES_MAX];
	uint64_t rarity; /* bits= and stuck=: -ln of the share of bits that are let be; FIXED */
	uint64_t first_number; /* and the number of the request's first sector */
	uint64_t end_number;   /* sectors with a lower number than this ... */
	uint64_t from_number;  /* ... and none below this one are hit */
	struct io *io;         /* whose data it is about */
};

/* The state of a rule with stuck=: its range in bytes. */
struct stuck {
	uint64_t from, to;
};

/* The bits of a sector that bits= or stuck= hit. */
struct scatter {
	uint64_t key, rarity, nr;
	uint64_t bit; /* of the sector; SECTOR_BITS or more: no more */
};

static int validate_share(const struct kind_args *args, unsigned int param, struct diag *diag)
{
	const char *name = param == corrupt_stuck ? "stuck" : "bits";
	char share[SHARE_MAX];

	if (kind_has(args, corrupt_at) || kind_has(args, corrupt_count))
		return diag_set(
			diag, -EINVAL, "rule.conflict",
			"corrupt takes at=OFFSET and count=N only with byte=HEX or garbage");
	if (kind_has(args, corrupt_wires) && param != corrupt_stuck)
		return diag_set(diag, -EINVAL, "rule.conflict",
				"corrupt takes wires only with stuck=SHARE");
	if (args->value[param].share >= SHARE_LEAST)
		return 0;
	diag_set(diag, -EINVAL, "rule.bad-share", "%s=%s: corrupt wants a share of at least 1e-10",
		 name, share_format(args->value[param].share, share));
	diag_hint(diag, "for example do=corrupt:%s=1e-6: one bit in a million", name);
	return -EINVAL;
}

static int validate(const struct kind_args *args, struct diag *diag)
{
	bool flip = kind_has(args, corrupt_flip), byte = kind_has(args, corrupt_byte);
	bool bits = kind_has(args, corrupt_bits), stuck = kind_has(args, corrupt_stuck);
	int ways = flip + byte + kind_has(args, corrupt_garbage) + bits + stuck;

	if (ways != 1)
		return diag_set(diag, -EINVAL, ways ? "rule.conflict" : "rule.missing-parameter",
				"corrupt wants %s of flip=N, byte=HEX, garbage, bits=SHARE and "
				"stuck=SHARE",
				ways ? "only one" : "one");
	if (bits || stuck)
		return validate_share(args, stuck ? corrupt_stuck : corrupt_bits, diag);
	if (byte && args->value[corrupt_byte].hi != UINT64_MAX) {
		diag_set(diag, -EINVAL, "rule.bad-bytes",
			 "corrupt wants the place of byte= as a parameter of its own");
		diag_hint(diag, "for example do=corrupt:byte=ff,at=1k");
		return -EINVAL;
	}
	if (kind_has(args, corrupt_wires))
		return diag_set(diag, -EINVAL, "rule.conflict",
				"corrupt takes wires only with stuck=SHARE");
	if (kind_has(args, corrupt_at) && flip)
		return diag_set(diag, -EINVAL, "rule.conflict",
				"corrupt takes at=OFFSET only with byte= or garbage");
	if (kind_has(args, corrupt_count) && !byte)
		return diag_set(diag, -EINVAL, "rule.conflict",
				"corrupt takes count=N only with byte=HEX");
	return 0;
}

static int arm(const struct kind_arm *arm, struct diag *diag, void **ret_state)
{
	struct stuck *stuck;

	if (!kind_has(arm->args, corrupt_stuck))
		return 0;
	if (kind_arm_one_range(arm, "corrupt:stuck", diag) < 0)
		return -EINVAL;
	stuck = fail_alloc("faults/kinds/corrupt/alloc", malloc(sizeof(*stuck)));
	if (!stuck)
		return -ENOMEM;
	*stuck = (struct stuck){ arm->from, arm->to };
	*ret_state = stuck;
	return 0;
}

static bool concerns(const struct kind_args *args, void *state, const struct io *io)
{
	(void)state;
	return !kind_has(args, corrupt_at) || args->value[corrupt_at].lo < io->len_bytes;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Bytes [harm->from, harm->to) for garbage, from at= or a random place. */
static void place_garbage(struct harm *harm, uint64_t len)
{
	uint64_t size = smaller(harm->args->value[corrupt_garbage].lo, len);

	harm->from = kind_has(harm->args, corrupt_at)
			     ? harm->args->value[corrupt_at].lo
			     : rng_below(rng_mix(harm->bits, STREAM_PLACE, 0), len - size + 1);
	harm->to = smaller(harm->from + size, len);
}

static void place_pattern(struct harm *harm, uint64_t len)
{
	const struct kind_args *args = harm->args;

	value_bytes(&args->value[corrupt_byte], harm->pattern);
	harm->nr_pattern = args->value[corrupt_byte].lo;
	harm->nr = kind_has(args, corrupt_count) ? args->value[corrupt_count].lo : 1;
	if (kind_has(args, corrupt_at)) {
		harm->from = args->value[corrupt_at].lo;
		harm->to = smaller(harm->from + harm->nr * harm->nr_pattern, len);
		return;
	}
	/* A request has at least a sector, which is more than a pattern. */
	harm->total = len - harm->nr_pattern + 1;
	harm->nr = smaller(harm->nr, harm->total);
}

static void place_share(struct harm *harm, const struct kind_hit *hit)
{
	bool stuck = kind_has(harm->args, corrupt_stuck);
	double share = harm->args->value[stuck ? corrupt_stuck : corrupt_bits].share;

	if (share < 1) {
		harm->rarity = fixed_ln((uint64_t)((1 - share) * 0x1p64));
		assert(harm->rarity);
	}
	if (stuck)
		harm->bits = hit->rule_bits;
	harm->end_number = UINT64_MAX;
	if (stuck && !kind_has(harm->args, corrupt_wires)) {
		const struct stuck *where = hit->state;

		harm->first_number = harm->io->sector;
		harm->from_number = where->from >> SECTOR_SHIFT;
		harm->end_number = where->to >> SECTOR_SHIFT;
	}
}

static struct harm make_harm(const struct kind_args *args, const struct kind_hit *hit,
			     struct io *io)
{
	struct harm harm = { .args = args, .bits = hit->bits, .io = io };

	if (kind_has(args, corrupt_garbage)) {
		place_garbage(&harm, io->len_bytes);
	} else if (kind_has(args, corrupt_byte)) {
		place_pattern(&harm, io->len_bytes);
	} else if (!kind_has(args, corrupt_flip)) {
		place_share(&harm, hit);
	} else {
		harm.total = 8ull * io->len_bytes;
		harm.nr = smaller(args->value[corrupt_flip].lo, harm.total);
	}
	return harm;
}

/* Place number @i, somewhere in its share of all places. */
static uint64_t place_at(const struct harm *harm, uint64_t i)
{
	uint64_t start = i * harm->total / harm->nr, end = (i + 1) * harm->total / harm->nr;

	return start + rng_below(rng_mix(harm->bits, STREAM_PLACE, i), end - start);
}

/* The number of a place such that all before it lie below @place. */
static uint64_t number_of(const struct harm *harm, uint64_t place)
{
	return smaller(place * harm->nr / harm->total, harm->nr);
}

static bool flip_window(const struct harm *harm, unsigned char *bytes, uint64_t from, uint64_t to)
{
	bool touched = false;

	for (uint64_t i = number_of(harm, 8 * from); i < harm->nr; i++) {
		uint64_t place = place_at(harm, i);

		if (place >= 8 * to)
			break;
		if (place < 8 * from)
			continue;
		touched = true;
		if (bytes)
			bytes[place / 8 - from] ^= (unsigned char)(1u << place % 8);
	}
	return touched;
}

static bool garbage_window(const struct harm *harm, unsigned char *bytes, uint64_t from,
			   uint64_t to)
{
	uint64_t at = from > harm->from ? from : harm->from, end = smaller(to, harm->to), word = 0;

	if (at >= end)
		return false;
	for (uint64_t i = at; bytes && i < end; i++) {
		if (i == at || i % 8 == 0)
			word = rng_mix(harm->bits, STREAM_GARBAGE, i / 8);
		bytes[i - from] = (unsigned char)(word >> i % 8 * 8);
	}
	return true;
}

/* Bytes [place, place+nr_pattern) of the request get the pattern, as far as they lie inside. */
static bool set_pattern(const struct harm *harm, unsigned char *bytes, uint64_t from, uint64_t to,
			uint64_t place)
{
	uint64_t at = from > place ? from : place, end = smaller(to, place + harm->nr_pattern);

	if (at >= end)
		return false;
	if (bytes)
		memcpy(bytes + (at - from), harm->pattern + (at - place), end - at);
	return true;
}

static bool pattern_window(const struct harm *harm, unsigned char *bytes, uint64_t from,
			   uint64_t to)
{
	uint64_t size = harm->nr_pattern, before = from > size ? from - size : 0, place;
	bool touched = false;

	if (kind_has(harm->args, corrupt_at)) {
		place = harm->from;
		if (from > place)
			place += (from - place) / size * size;
		for (; place < smaller(harm->to, to); place += size)
			touched |= set_pattern(harm, bytes, from, to, place);
		return touched;
	}
	for (uint64_t i = number_of(harm, before); i < harm->nr; i++) {
		place = place_at(harm, i);
		if (place >= to)
			break;
		touched |= set_pattern(harm, bytes, from, to, place);
	}
	return touched;
}

/* On to the next bit that is hit, @skipped bits further at least. */
static void scatter_on(struct scatter *scatter, uint64_t skipped)
{
	uint64_t bits = rng_mix(scatter->key, STREAM_PLACE, scatter->nr++) | 1;

	scatter->bit += skipped + (scatter->rarity ? fixed_ln(bits) / scatter->rarity : 0);
}

/* The bits of sector @index of the request. */
static struct scatter scatter_first(const struct harm *harm, uint64_t index)
{
	struct scatter scatter = {
		.key = rng_mix(harm->bits, STREAM_SECTOR, harm->first_number + index),
		.rarity = harm->rarity,
	};

	if (harm->first_number + index < harm->from_number ||
	    harm->first_number + index >= harm->end_number)
		scatter.bit = SECTOR_BITS;
	else
		scatter_on(&scatter, 0);
	return scatter;
}

/* Whoever asks for a part of a request asks for whole sectors. */
static bool scatter_window(const struct harm *harm, unsigned char *bytes, uint64_t from,
			   uint64_t to)
{
	bool touched = false, stuck = kind_has(harm->args, corrupt_stuck);

	assert(from % SECTOR_SIZE == 0 && to % SECTOR_SIZE == 0);
	for (uint64_t index = from / SECTOR_SIZE; index * SECTOR_SIZE < to; index++) {
		struct scatter at = scatter_first(harm, index);

		for (; at.bit < SECTOR_BITS; scatter_on(&at, 1)) {
			uint64_t place = index * SECTOR_SIZE + at.bit / 8;
			unsigned char mask = (unsigned char)(1u << at.bit % 8);

			touched = true;
			if (!bytes)
				return true;
			if (!stuck)
				bytes[place - from] ^= mask;
			else if (rng_mix(at.key, STREAM_LEVEL, at.bit) & 1)
				bytes[place - from] |= mask;
			else
				bytes[place - from] &= (unsigned char)~mask;
		}
	}
	return touched;
}

/*
 * Change bytes [from, to) of the request, which stand in @bytes; NULL: nowhere. Returns whether
 * any of them are hit.
 */
static bool harm_window(const struct harm *harm, unsigned char *bytes, uint64_t from, uint64_t to)
{
	if (kind_has(harm->args, corrupt_flip))
		return flip_window(harm, bytes, from, to);
	if (kind_has(harm->args, corrupt_byte))
		return pattern_window(harm, bytes, from, to);
	if (kind_has(harm->args, corrupt_garbage))
		return garbage_window(harm, bytes, from, to);
	return scatter_window(harm, bytes, from, to);
}

static int store_harmed(void *ctx, unsigned char *bytes, uint64_t at, uint32_t len_bytes)
{
	const struct harm *harm = ctx;
	uint64_t offset = at - io_start(harm->io);
	int err = io_get(harm->io, offset, bytes, len_bytes);

	harm_window(harm, bytes, offset, offset + len_bytes);
	return err;
}

static int harm_stored(void *ctx, unsigned char *bytes, uint64_t at, uint32_t len_bytes)
{
	const struct harm *harm = ctx;
	uint64_t offset = at - io_start(harm->io);

	harm_window(harm, bytes, offset, offset + len_bytes);
	return 0;
}

/* Change the blocks that are hit, and no others, once each: others watch what changes. */
static int rot(const struct kind_hit *hit, struct harm *harm)
{
	uint64_t start = io_start(harm->io), len = harm->io->len_bytes, at = 0;
	int err = 0;

	while (at < len && !err) {
		uint64_t end = at + hit->block_bytes;

		if (!harm_window(harm, NULL, at, smaller(end, len))) {
			at = end;
			continue;
		}
		while (end < len && harm_window(harm, NULL, end, end + hit->block_bytes))
			end += hit->block_bytes;
		end = smaller(end, len);
		err = apply_change(hit->backing, start + at, end - at, true, harm_stored, harm);
		at = end;
	}
	return err;
}

/* Change the answer of a read. Where its data is not at hand, what the disk holds is put again. */
static int harm_answer(const struct kind_hit *hit, const struct harm *harm)
{
	struct io *io = harm->io;
	unsigned char window[WINDOW];
	uint64_t at = 0;
	int err = 0;

	if (io->data) {
		harm_window(harm, io->data, 0, io->len_bytes);
		return 0;
	}
	while (at < io->len_bytes && !err) {
		uint64_t place = io_start(io) + at;
		uint64_t end = smaller(at + WINDOW - place % WINDOW, io->len_bytes);

		if (harm_window(harm, NULL, at, end)) {
			apply_peek(hit->backing, place, window, end - at);
			harm_window(harm, window, at, end);
			err = io_put(io, at, window, end - at);
		}
		at = end;
	}
	return err;
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	struct harm harm = make_harm(args, hit, io);
	bool rest = kind_has(args, corrupt_rest);
	int err = 0;

	if (io->op == IO_WRITE) {
		err = apply_change(hit->backing, io_start(io), io->len_bytes, io->flags & IO_FUA,
				   store_harmed, &harm);
	} else {
		if (rest)
			err = rot(hit, &harm);
		if (!err)
			err = apply_part(hit->backing, io, 0, io->len_bytes);
		if (!err && !rest)
			err = harm_answer(hit, &harm);
	}
	io->result = apply_result(io, err);
}

static void describe_scatter(FILE *out, const struct harm *harm)
{
	bool stuck = kind_has(harm->args, corrupt_stuck);
	uint64_t nr = 0, first = 0;

	for (uint64_t index = 0; index * SECTOR_SIZE < harm->io->len_bytes; index++) {
		struct scatter at = scatter_first(harm, index);

		for (; at.bit < SECTOR_BITS; scatter_on(&at, 1))
			if (!nr++)
				first = index * SECTOR_SIZE + at.bit / 8;
	}
	fprintf(out, "%s %llu bits", stuck ? "meets" : "flips", (unsigned long long)nr);
	if (stuck)
		fprintf(out, " that are stuck");
	if (nr)
		fprintf(out, ", the first in byte %llu", (unsigned long long)first);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	struct harm harm = make_harm(args, hit, (struct io *)io);

	if (kind_has(args, corrupt_flip))
		fprintf(out, "flips %llu bits, the first in byte %llu", (unsigned long long)harm.nr,
			(unsigned long long)place_at(&harm, 0) / 8);
	else if (kind_has(args, corrupt_bits) || kind_has(args, corrupt_stuck))
		describe_scatter(out, &harm);
	else if (kind_has(args, corrupt_garbage) || kind_has(args, corrupt_at))
		fprintf(out, "changes bytes %llu..%llu", (unsigned long long)harm.from,
			(unsigned long long)harm.to);
	else
		fprintf(out, "changes %llu bytes at %llu places, the first at byte %llu",
			(unsigned long long)harm.nr_pattern, (unsigned long long)harm.nr,
			(unsigned long long)place_at(&harm, 0));
	fprintf(out, " of %s, reports success",
		io->op == IO_WRITE             ? "what is stored"
		: kind_has(args, corrupt_rest) ? "what the disk holds, for good"
					       : "the answer");
}

const struct kind_ops kind_corrupt_ops = {
	.validate = validate,
	.arm = arm,
	.disarm = free,
	.concerns = concerns,
	.act = act,
	.describe = describe,
};
