/* SPDX-License-Identifier: MIT */
/* What sim_crash is about: a small journal at random, two cursors, and what was seen of them. */
#ifndef TESTS_CRASH_JOURNAL_H
#define TESTS_CRASH_JOURNAL_H

#include "tests/sim/crash_model.h"
#include "tests/sim/sim.h"

#include <stdlib.h>

enum {
	SLOTS = MAX_WRITES,
	MAX_STATES = 4096,
	MAX_EVENTS = 3 * SLOTS,
	MAX_SEEN = 1 << 20,
};

/* One state that was seen: what the model calls it, and the hash that it was given. */
struct seen {
	uint64_t id, hash;
};

struct sim {
	struct frame frame;
	struct journal *journal;
	struct model model;
	struct crash_options options;
	struct crash *crash, *jumper; /* the second one does not stop at every moment */
	struct crash_image images[2], jumper_images[2];
	unsigned char buffers[2][2][MAX_DISK];
	unsigned char data[SLOTS][MAX_DISK];
	unsigned char extents[2][3][MAX_DISK];
	bool all_small; /* the states of every moment can be listed */
	/* States of each moment, by hash, ascending. */
	uint64_t *states[MAX_EVENTS + 1];
	size_t nr_states[MAX_EVENTS + 1];
	struct seen *seen;
	size_t nr_seen;
	/* Of all rounds. */
	uint64_t nr_rounds_all, nr_moments, nr_states_all, nr_choices, nr_points;
};

/* A number for request @slot, whatever else there is. */
static uint64_t pick(const struct sim *sim, unsigned int slot, unsigned int what, uint64_t bound)
{
	return rng_below(rng_mix(sim->frame.seed, 100 + slot, what), bound);
}

/* ------------------------------------------------------------------------------ the journal */

static void add_disks(struct sim *sim)
{
	static const uint32_t blocks[] = { 512, 512, 512, 1024, 4096 };
	uint32_t nr = 1 + (uint32_t)draw(sim, 2);

	for (uint32_t i = 0; i < nr; i++) {
		struct journal_disk disk = { .block_bytes = blocks[draw(sim, 5)] };

		snprintf(disk.name, sizeof(disk.name), "disk%u", i);
		disk.size_bytes = disk.block_bytes * (1 + draw(sim, 8192 / disk.block_bytes));
		if (disk.block_bytes == 512 && draw(sim, 2))
			disk.size_bytes = 512 * (1 + draw(sim, 5));
		disk.cache = draw(sim, 3);
		journal_add_disk(sim->journal, &disk);
	}
}

/* Content at random, of few kinds so that some are equal; some sectors are zero. */
static void fill(struct sim *sim, unsigned char *data, uint64_t len, unsigned int slot)
{
	for (uint64_t at = 0; at < len; at += SECTOR) {
		uint64_t kind = pick(sim, slot, 50 + (unsigned int)(at / SECTOR), 6);

		memset(data + at, kind < 4 ? (int)kind : 0, SECTOR);
		if (kind == 4)
			data[at + SECTOR - 1 - slot] = (unsigned char)(1 + slot);
		if (kind == 5)
			memset(data + at, (int)(100 + slot), SECTOR);
	}
}

static void add_extents(struct sim *sim)
{
	memset(sim->model.base, 0, sizeof(sim->model.base));
	for (uint16_t disk = 0; disk < sim->journal->nr_disks; disk++) {
		uint64_t at = 0, size = sim->journal->disks[disk].size_bytes;

		for (unsigned int i = 0; i < 3 && draw(sim, 2); i++) {
			struct journal_extent extent = { .disk = disk,
							 .data = sim->extents[disk][i] };

			extent.at = at + draw(sim, size - at);
			extent.len_bytes = 1 + draw(sim, size - extent.at);
			at = extent.at + extent.len_bytes;
			fill(sim, sim->extents[disk][i], extent.len_bytes, 40 + i);
			memcpy(sim->model.base[disk] + extent.at, extent.data, extent.len_bytes);
			journal_add_extent(sim->journal, &extent);
			if (at >= size)
				break;
		}
	}
}

/* Requests begin one after the other and take their time: each has steps of its own. */
static uint64_t step_of(unsigned int slot, uint64_t time, bool end)
{
	return 1 + 2 * (time * 32 + slot) + end;
}

static void add_write(struct sim *sim, unsigned int slot, uint64_t submit, uint64_t complete)
{
	struct journal_write w = { .submit = submit, .complete = complete, .op = IO_WRITE };
	uint64_t block, blocks;

	w.disk = (uint16_t)pick(sim, slot, 3, sim->journal->nr_disks);
	block = sim->journal->disks[w.disk].block_bytes;
	blocks = sim->journal->disks[w.disk].size_bytes / block;
	w.at = pick(sim, slot, 4, blocks);
	w.len_bytes = 1 + pick(sim, slot, 5, blocks - w.at);
	if (pick(sim, slot, 6, 2) && w.len_bytes > 2)
		w.len_bytes = 2;
	w.at *= block;
	w.len_bytes *= block;
	w.submit_ns = submit * 10;
	w.complete_ns = complete * 10;
	w.data = sim->data[slot];
	fill(sim, sim->data[slot], w.len_bytes, slot);
	if (!pick(sim, slot, 7, 4)) {
		w.op = pick(sim, slot, 8, 2) ? IO_DISCARD : IO_ZEROES;
		w.data = NULL;
	}
	if (!pick(sim, slot, 9, 4))
		w.flags |= IO_FUA;
	w.failed = !pick(sim, slot, 10, 8);
	w.false_ack = !pick(sim, slot, 11, 8);
	journal_add_write(sim->journal, &w);
}

static void add_request(struct sim *sim, unsigned int slot)
{
	uint64_t time = 3 * (slot + 1) + pick(sim, slot, 0, 3), submit = step_of(slot, time, false);
	uint64_t takes = pick(sim, slot, 1, 3) ? pick(sim, slot, 2, 4) : pick(sim, slot, 2, 40);
	uint64_t complete = step_of(slot, time + takes, true), kind = pick(sim, slot, 12, 10);
	struct journal_flush flush = { .submit = submit, .complete = complete };
	char text[16];

	if (!pick(sim, slot, 13, 12))
		complete = flush.complete = JOURNAL_NEVER;
	if (kind < 6) {
		add_write(sim, slot, submit, complete);
		return;
	}
	if (kind < 9) {
		flush.disk = (uint16_t)pick(sim, slot, 3, sim->journal->nr_disks);
		flush.failed = !pick(sim, slot, 10, 8);
		flush.false_ack = !pick(sim, slot, 11, 6);
		journal_add_flush(sim->journal, &flush);
		return;
	}
	snprintf(text, sizeof(text), "mark %u", slot);
	journal_add_mark(sim->journal, submit, submit * 10, text, strlen(text));
}

static bool make_journal(struct sim *sim, unsigned int mask)
{
	unsigned int nr = 2 + (unsigned int)draw(sim, SLOTS - 2);
	struct diag diag = { 0 };

	if (journal_new(&sim->journal) < 0)
		return fail(sim, "no memory");
	add_disks(sim);
	add_extents(sim);
	/* Backwards: sealing has to sort. */
	for (unsigned int slot = nr; slot-- > 0;)
		if (mask >> slot & 1)
			add_request(sim, slot);
	if (journal_seal(sim->journal, &diag) < 0)
		return fail(sim, "sealing: %s", diag.message);
	return true;
}

static void show(const struct sim *sim)
{
	const struct journal *j = sim->journal;

	printf("  units of %u, atomic %d%s\n", sim->model.unit_bytes, sim->options.atomic,
	       sim->options.illegal ? ", illegal" : "");
	for (uint32_t i = 0; i < j->nr_disks; i++)
		printf("  disk %u: %" PRIu64 " bytes, blocks of %u%s\n", i, j->disks[i].size_bytes,
		       j->disks[i].block_bytes, j->disks[i].cache ? ", cache" : "");
	for (size_t i = 0; i < j->nr_writes; i++) {
		const struct journal_write *w = &j->writes[i];

		printf("  write %zu: steps %" PRIu64 "..%" PRId64 " disk %u bytes %" PRIu64
		       "..%" PRIu64 "%s%s%s%s\n",
		       i, w->submit, (int64_t)w->complete, w->disk, w->at, w->at + w->len_bytes,
		       w->data ? "" : " zeroes", w->flags & IO_FUA ? " fua" : "",
		       w->failed ? " failed" : "", w->false_ack ? " lied" : "");
	}
	for (size_t i = 0; i < j->nr_flushes; i++)
		printf("  flush: steps %" PRIu64 "..%" PRId64 " disk %u%s%s\n",
		       j->flushes[i].submit, (int64_t)j->flushes[i].complete, j->flushes[i].disk,
		       j->flushes[i].failed ? " failed" : "",
		       j->flushes[i].false_ack ? " lied" : "");
	for (size_t i = 0; i < j->nr_marks; i++)
		printf("  mark: step %" PRIu64 "\n", j->marks[i].step);
}

#endif
