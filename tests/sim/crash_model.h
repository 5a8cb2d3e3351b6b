/* SPDX-License-Identifier: MIT */
/*
 * THE DEFINITION of faults/crash/crash.h once more, word for word and without a thought for speed: at
 * each moment every write is compared with every other one, sector by sector, and of a unit of which
 * writes cover only a part every order of every set is gone through.
 */
#ifndef TESTS_CRASH_MODEL_H
#define TESTS_CRASH_MODEL_H

#include "faults/crash/crash.h"

#include <string.h>
#include <xxhash.h>

enum {
	SECTOR = 512,
	MAX_UNIT = 4096,
	MAX_WRITES = 24,
	MAX_UNITS = 64,
	MAX_DISK = 16384,
	MAX_VERSIONS = 256
};

struct model_candidate {
	unsigned char data[MAX_UNIT];
	uint32_t write;
	uint64_t id; /* of content and place; not the hash that is tested */
};

struct model_unit {
	uint16_t disk;
	uint64_t at;
	uint32_t len;
	uint32_t nr;
	struct model_candidate candidates[MAX_VERSIONS + 1];
	bool covers[MAX_WRITES], replaced[MAX_WRITES];
	uint32_t of_write[MAX_WRITES]; /* candidate that the write leaves */
	bool durable[MAX_WRITES];      /* in every version of this unit */
	bool parts;                    /* some write, not replaced, covers only a part */
	bool tangled; /* of whole writes some were in flight together and leave other things */
	bool large;   /* too many orders: the candidates are not known */
	uint32_t newest;
};

struct model {
	const struct journal *journal;
	const struct crash_options *options;
	uint32_t unit_bytes;
	unsigned char base[2][MAX_DISK]; /* before the recording */
	/* At a moment: */
	uint64_t step;
	bool submitted[MAX_WRITES], durable[MAX_WRITES];
	uint32_t nr_units;
	struct model_unit units[MAX_UNITS];
};

static inline bool model_flushed(const struct model *m, const struct journal_write *w)
{
	for (size_t i = 0; i < m->journal->nr_flushes; i++) {
		const struct journal_flush *f = &m->journal->flushes[i];

		if (f->disk == w->disk && !f->failed && !(f->false_ack && m->options->illegal) &&
		    f->complete <= m->step && f->submit > w->complete)
			return true;
	}
	return false;
}

static inline bool model_is_durable(const struct model *m, const struct journal_write *w)
{
	if (w->complete > m->step || w->failed || (w->false_ack && m->options->illegal))
		return false;
	return w->flags & IO_FUA || !m->journal->disks[w->disk].cache || model_flushed(m, w);
}

/* Does the write cover the byte? */
static inline bool model_has(const struct model *m, uint32_t w, uint16_t disk, uint64_t at)
{
	const struct journal_write *write = &m->journal->writes[w];

	return write->disk == disk && write->at <= at && at < write->at + write->len_bytes;
}

static inline bool model_after(const struct model *m, uint32_t by, uint32_t w)
{
	return m->journal->writes[w].complete < m->journal->writes[by].submit;
}

static inline bool model_is_whole(const struct model *m, const struct model_unit *u, uint32_t w)
{
	return model_has(m, w, u->disk, u->at) && model_has(m, w, u->disk, u->at + u->len - 1);
}

/* Completed without error, as far as that is believed. */
static inline bool model_is_done(const struct model *m, uint32_t w)
{
	const struct journal_write *write = &m->journal->writes[w];

	return write->complete <= m->step && !write->failed &&
	       !(write->false_ack && m->options->illegal);
}

/* Every sector of w in the unit has a durable write after it. */
static inline bool model_is_replaced(const struct model *m, const struct model_unit *u, uint32_t w)
{
	for (uint64_t at = u->at; at < u->at + u->len; at += SECTOR) {
		bool replaced = !model_has(m, w, u->disk, at);

		for (uint32_t by = 0; by < m->journal->nr_writes && !replaced; by++)
			replaced = u->durable[by] && u->covers[by] && model_after(m, by, w) &&
				   model_has(m, by, u->disk, at);
		if (!replaced)
			return false;
	}
	return true;
}

/* The durable ones, and those done before the last of these (or of @more) was submitted. */
static inline void model_close(const struct model *m, const struct model_unit *u, const bool *more,
			       bool *set)
{
	uint64_t last = 0;

	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		set[w] = u->covers[w] && (m->durable[w] || (more && more[w]));
		if (set[w])
			last = m->journal->writes[w].submit;
	}
	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		set[w] |= u->covers[w] && model_is_done(m, w) &&
			  m->journal->writes[w].complete < last;
}

/* What the write puts at this sector, or what was there before the recording (w < 0). */
static inline void model_sector(const struct model *m, int w, uint16_t disk, uint64_t at,
				unsigned char *to)
{
	const struct journal_write *write = w < 0 ? NULL : &m->journal->writes[w];

	if (!write)
		memcpy(to, m->base[disk] + at, SECTOR);
	else if (write->data)
		memcpy(to, write->data + (at - write->at), SECTOR);
	else
		memset(to, 0, SECTOR);
}

static inline uint32_t model_add(struct model_unit *u, const unsigned char *data)
{
	struct model_candidate *candidate = &u->candidates[u->nr];

	for (uint32_t i = 0; i < u->nr; i++)
		if (!memcmp(u->candidates[i].data, data, u->len))
			return i;
	if (u->nr == MAX_VERSIONS) {
		u->large = true;
		return 0;
	}
	memcpy(candidate->data, data, u->len);
	candidate->write = CRASH_BASE;
	candidate->id = XXH3_64bits_withSeed(data, u->len, u->at + u->disk + 1);
	return u->nr++;
}

/* What a set of writes leaves in order of submission. */
static inline void model_in_turn(const struct model *m, const struct model_unit *u, const bool *set,
				 unsigned char *data)
{
	for (uint32_t at = 0; at < u->len; at += SECTOR) {
		int writer = -1;

		for (uint32_t w = 0; w < m->journal->nr_writes; w++)
			if (set[w] && model_has(m, w, u->disk, u->at + at))
				writer = (int)w;
		model_sector(m, writer, u->disk, u->at + at, data + at);
	}
}

/* Every order of every set that goes on from this one; the writes in @in have been done. */
static inline void model_every_order(const struct model *m, struct model_unit *u, uint32_t in,
				     const unsigned char *data, uint32_t *budget)
{
	unsigned char next[MAX_UNIT];
	bool all = true;

	if (!*budget || !--*budget) {
		u->large = true;
		return;
	}
	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		all &= !u->durable[w] || !u->covers[w] || in >> w & 1;
	if (all)
		model_add(u, data);
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		bool possible = u->covers[w] && !(in >> w & 1);

		for (uint32_t v = 0; v < m->journal->nr_writes && possible; v++) {
			if (!u->covers[v] || v == w)
				continue;
			if (in >> v & 1)
				possible = !model_after(m, v, w);
			else
				possible = !(model_is_done(m, v) && model_after(m, w, v));
		}
		if (!possible)
			continue;
		for (uint32_t at = 0; at < u->len; at += SECTOR)
			if (model_has(m, w, u->disk, u->at + at))
				model_sector(m, (int)w, u->disk, u->at + at, next + at);
			else
				memcpy(next + at, data + at, SECTOR);
		model_every_order(m, u, in | 1u << w, next, budget);
	}
}

static inline bool model_is_tangled(const struct model *m, const struct model_unit *u)
{
	for (uint32_t a = 0; a < m->journal->nr_writes; a++)
		for (uint32_t b = a + 1; b < m->journal->nr_writes; b++)
			if (u->covers[a] && u->covers[b] && !u->replaced[a] && !u->replaced[b] &&
			    !model_after(m, b, a) && u->of_write[a] != u->of_write[b])
				return true;
	return false;
}

/* Of whole units each write that is not replaced leaves its own. */
static inline void model_fill_whole(struct model *m, struct model_unit *u)
{
	unsigned char data[MAX_UNIT];

	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		if (!u->covers[w] || u->replaced[w])
			continue;
		for (uint32_t at = 0; at < u->len; at += SECTOR)
			model_sector(m, (int)w, u->disk, u->at + at, data + at);
		u->of_write[w] = model_add(u, data);
		u->newest = u->of_write[w];
		if (u->of_write[w])
			u->candidates[u->of_write[w]].write = w;
	}
}

static inline void model_fill_parts(struct model *m, struct model_unit *u)
{
	unsigned char data[MAX_UNIT];
	uint32_t budget = 3000;

	for (uint32_t at = 0; at < u->len; at += SECTOR)
		model_sector(m, -1, u->disk, u->at + at, data + at);
	u->large = false;
	model_every_order(m, u, 0, data, &budget);
	model_in_turn(m, u, u->covers, data);
	u->newest = u->large ? 0 : model_add(u, data);
}

static inline void model_fill_unit(struct model *m, struct model_unit *u)
{
	unsigned char data[MAX_UNIT];

	u->nr = u->newest = 0;
	u->parts = u->large = false;
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		u->covers[w] = false;
		for (uint64_t at = u->at; at < u->at + u->len; at += SECTOR)
			u->covers[w] |= m->submitted[w] && model_has(m, w, u->disk, at);
	}
	memcpy(u->durable, m->durable, sizeof(u->durable));
	if (m->options->atomic == CRASH_UNIT)
		model_close(m, u, NULL, u->durable);
	model_in_turn(m, u, u->durable, data);
	model_add(u, data);
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		u->replaced[w] = u->covers[w] && model_is_replaced(m, u, w);
		u->parts |= u->covers[w] && !u->replaced[w] && !model_is_whole(m, u, w);
	}
	if (u->parts)
		model_fill_parts(m, u);
	else
		model_fill_whole(m, u);
	u->tangled = m->options->atomic != CRASH_UNIT && model_is_tangled(m, u);
}

/* CRASH_ORDER: what was done before a durable write was submitted has come before it. */
static inline void model_close_order(struct model *m)
{
	uint64_t last[JOURNAL_DISKS_MAX] = { 0 };

	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		if (m->durable[w])
			last[m->journal->writes[w].disk] = m->journal->writes[w].submit;
	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		m->durable[w] |= model_is_done(m, w) &&
				 m->journal->writes[w].complete < last[m->journal->writes[w].disk];
}

static inline void model_at(struct model *m, uint64_t step)
{
	m->step = step;
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		m->submitted[w] = m->journal->writes[w].submit <= step;
		m->durable[w] = model_is_durable(m, &m->journal->writes[w]);
	}
	if (m->options->atomic == CRASH_ORDER)
		model_close_order(m);
	m->nr_units = 0;
	for (uint16_t disk = 0; disk < m->journal->nr_disks; disk++) {
		uint64_t size = m->journal->disks[disk].size_bytes;

		for (uint64_t at = 0; at < size; at += m->unit_bytes) {
			struct model_unit *u = &m->units[m->nr_units++];

			u->disk = disk;
			u->at = at;
			u->len = size - at < m->unit_bytes ? (uint32_t)(size - at) : m->unit_bytes;
			model_fill_unit(m, u);
		}
	}
}

/* Not durable, not replaced, and this or one before it leaves something else than the image. */
static inline bool model_counts(const struct model_unit *u, uint32_t w)
{
	if (!u->covers[w] || u->replaced[w] || u->durable[w])
		return false;
	if (u->parts || u->tangled)
		return u->nr > 1;
	for (uint32_t i = 0; i <= w; i++)
		if (u->covers[i] && !u->replaced[i] && u->of_write[i])
			return true;
	return false;
}

static inline bool model_is_volatile(const struct model *m, uint32_t w)
{
	for (uint32_t i = 0; i < m->nr_units; i++)
		if (model_counts(&m->units[i], w))
			return true;
	return false;
}

/* The candidate that the durable writes and those of @survives leave, in order of submission. */
static inline uint32_t model_left(const struct model *m, const struct model_unit *u,
				  const bool *survives)
{
	uint32_t left = 0;

	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		if (u->covers[w] && !u->replaced[w] && (m->durable[w] || survives[w]))
			left = u->of_write[w];
	return left;
}

/* The same with crash_survivors()'s rule: the image where none survived that counts. */
static inline uint32_t model_survivor(const struct model *m, const struct model_unit *u,
				      const bool *survives)
{
	unsigned char data[MAX_UNIT];
	bool any = false, set[MAX_WRITES], more[MAX_WRITES];

	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		more[w] = model_counts(u, w) && survives[w];
		any |= more[w];
	}
	if (!any || !u->parts)
		return any ? model_left(m, u, survives) : 0;
	model_close(m, u, more, set);
	model_in_turn(m, u, set, data);
	return model_add((struct model_unit *)u, data);
}

#endif
