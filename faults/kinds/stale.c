// SPDX-License-Identifier: MIT
/*
 * stale[:first]
 *
 * From the moment that it is put in force the rule watches its range, and keeps of every block that
 * changes the version before its last change, or with `first` the one that it found. Changes count
 * whoever makes them: a write that another rule tears or sends astray, a discard; but not a power
 * cut, which takes changes back. A block that has not changed since has no earlier version and is
 * read as it is; a read that touches none that has is no match, so that times=1 is one answer that
 * is really stale.
 *
 * A rule that is not enabled watches nothing: what it has kept stays as it is meanwhile. Memory: up
 * to the size of the range, for the blocks that change.
 */
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/disk/shadow.h"
#include "faults/rule/kind.h"

#include <errno.h>
#include <stdlib.h>

struct stale {
	struct shadow *shadow;
	uint32_t block_bytes;
	bool first;
};

static int arm(const struct kind_arm *arm, struct diag *diag, void **ret_state)
{
	uint32_t block = arm->geometry->block_bytes;
	uint64_t from = arm->from / block * block;
	uint64_t to = (arm->to + block - 1) / block * block;
	struct stale *stale;
	char size[UNITS_MAX];

	if (kind_arm_one_range(arm, "stale", diag) < 0)
		return -EINVAL;
	stale = fail_alloc("faults/kinds/stale/alloc", calloc(1, sizeof(*stale)));
	if (stale && shadow_create(from, to, block, &stale->shadow) == 0) {
		stale->block_bytes = block;
		stale->first = kind_has(arm->args, stale_first);
		*ret_state = stale;
		return 0;
	}
	free(stale);
	diag_set(diag, -ENOMEM, "rule.memory", "stale finds no address space for %s of old blocks",
		 units_format_size(to - from, size));
	diag_hint(diag, "give the rule a smaller range=");
	return -ENOMEM;
}

static void disarm(void *state)
{
	struct stale *stale = state;

	shadow_free(stale->shadow);
	free(stale);
}

static bool concerns(const struct kind_args *args, void *state, const struct io *io)
{
	const struct stale *stale = state;
	uint64_t at = io_start(io) / stale->block_bytes * stale->block_bytes;

	(void)args;
	for (; at < io_start(io) + io->len_bytes; at += stale->block_bytes)
		if (shadow_block(stale->shadow, at))
			return true;
	return false;
}

static void before_change(void *state, struct store *store, uint64_t at, uint64_t len)
{
	struct stale *stale = state;

	shadow_save(stale->shadow, store, at, len, !stale->first, NULL);
}

/* Put the old blocks of [at, end), which lies in one unit, over the answer. */
static int put_old(const struct stale *stale, struct io *io, uint64_t at, uint64_t end)
{
	int err = 0;

	while (at < end && !err) {
		uint64_t inside = at % stale->block_bytes;
		uint64_t next = at - inside + stale->block_bytes;
		const unsigned char *block = shadow_block(stale->shadow, at);

		/* Neighbours on the disk are neighbours in the shadow. */
		while (block && next < end && shadow_block(stale->shadow, next))
			next += stale->block_bytes;
		next = next < end ? next : end;
		if (block)
			err = io_put(io, at - io_start(io), block + inside, next - at);
		at = next;
	}
	return err;
}

static void act(const struct kind_args *args, const struct kind_hit *hit, struct io *io)
{
	uint64_t at = io_start(io), end = at + io->len_bytes;
	int err = apply_part(hit->backing, io, 0, io->len_bytes);

	(void)args;
	while (at < end && !err) {
		uint64_t left = store_unit_left(hit->backing->store, at);
		uint64_t step = left < end - at ? left : end - at;

		store_lock(hit->backing->store, at);
		err = put_old(hit->state, io, at, at + step);
		store_unlock(hit->backing->store, at);
		at += step;
	}
	io->result = apply_result(io, err);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	(void)hit;
	(void)io;
	fprintf(out, "is answered with what was there %s",
		kind_has(args, stale_first) ? "when the rule was put in force"
					    : "before the last change of each block");
}

const struct kind_ops kind_stale_ops = {
	.arm = arm,
	.disarm = disarm,
	.concerns = concerns,
	.watch.before_change = before_change,
	.act = act,
	.describe = describe,
};
