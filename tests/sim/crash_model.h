/* SPDX-License-Identifier: MIT */
/*
 * THE DEFINITION of faults/crash.h once more, word for word and without a thought for speed: at
 * each moment every write is compared with every other one, sector by sector.
 */
#ifndef TESTS_CRASH_MODEL_H
#define TESTS_CRASH_MODEL_H

#include "faults/crash.h"

#include <string.h>
#include <xxhash.h>

enum { SECTOR = 512, MAX_UNIT = 4096, MAX_WRITES = 24, MAX_UNITS = 64, MAX_DISK = 16384 };

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
	struct model_candidate candidates[MAX_WRITES + 1];
	bool covers[MAX_WRITES], replaced[MAX_WRITES];
	uint32_t of_write[MAX_WRITES]; /* candidate that the write leaves */
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

		if (f->disk == w->disk && !f->failed && !(f->lied && m->options->illegal) &&
		    f->complete <= m->step && f->submit > w->complete)
			return true;
	}
	return false;
}

static inline bool model_is_durable(const struct model *m, const struct journal_write *w)
{
	if (w->complete > m->step || w->failed || (w->lied && m->options->illegal))
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

/* Every sector of w in the unit is one of by's. */
static inline bool model_within(const struct model *m, const struct model_unit *u, uint32_t w,
				uint32_t by)
{
	for (uint64_t at = u->at; at < u->at + u->len; at += SECTOR)
		if (model_has(m, w, u->disk, at) && !model_has(m, by, u->disk, at))
			return false;
	return true;
}

static inline bool model_is_whole(const struct model *m, const struct model_unit *u, uint32_t w)
{
	return model_has(m, w, u->disk, u->at) && model_has(m, w, u->disk, u->at + u->len - 1);
}

static inline bool model_is_replaced(const struct model *m, const struct model_unit *u, uint32_t w)
{
	for (uint32_t by = 0; by < m->journal->nr_writes; by++)
		if (m->durable[by] && u->covers[by] && model_after(m, by, w) &&
		    model_within(m, u, w, by))
			return true;
	return false;
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

/* Whose data the image has there. */
static inline int model_image_writer(const struct model *m, uint16_t disk, uint64_t at)
{
	int writer = -1;

	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		if (m->durable[w] && model_has(m, w, disk, at))
			writer = (int)w;
	return writer;
}

/* Whose data write w leaves there. */
static inline int model_writer(const struct model *m, uint32_t w, uint16_t disk, uint64_t at)
{
	bool own = model_has(m, w, disk, at);
	int later = -1, before = -1;

	for (uint32_t d = 0; d < m->journal->nr_writes; d++) {
		if (!model_has(m, d, disk, at))
			continue;
		if (d > w && m->durable[d])
			later = (int)d;
		if (d < w)
			before = (int)d;
		if (m->durable[d] && model_after(m, d, w))
			own = false;
	}
	return own ? (int)w : later >= 0 ? later : before;
}

static inline uint32_t model_add(struct model_unit *u, const unsigned char *data)
{
	struct model_candidate *candidate = &u->candidates[u->nr];

	for (uint32_t i = 0; i < u->nr; i++)
		if (!memcmp(u->candidates[i].data, data, u->len))
			return i;
	memcpy(candidate->data, data, u->len);
	candidate->write = CRASH_BASE;
	candidate->id = XXH3_64bits_withSeed(data, u->len, u->at + u->disk + 1);
	return u->nr++;
}

static inline void model_fill_unit(struct model *m, struct model_unit *u)
{
	unsigned char data[MAX_UNIT];

	u->nr = 0;
	for (uint32_t at = 0; at < u->len; at += SECTOR)
		model_sector(m, model_image_writer(m, u->disk, u->at + at), u->disk, u->at + at,
			     data + at);
	model_add(u, data);
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		u->covers[w] = false;
		for (uint64_t at = u->at; at < u->at + u->len; at += SECTOR)
			u->covers[w] |= m->submitted[w] && model_has(m, w, u->disk, at);
	}
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		u->replaced[w] = u->covers[w] && model_is_replaced(m, u, w);
		if (!u->covers[w] || u->replaced[w])
			continue;
		for (uint32_t at = 0; at < u->len; at += SECTOR)
			model_sector(m, model_writer(m, w, u->disk, u->at + at), u->disk,
				     u->at + at, data + at);
		u->of_write[w] = model_add(u, data);
		if (u->of_write[w])
			u->candidates[u->of_write[w]].write = w;
	}
}

static inline void model_at(struct model *m, uint64_t step)
{
	m->step = step;
	for (uint32_t w = 0; w < m->journal->nr_writes; w++) {
		m->submitted[w] = m->journal->writes[w].submit <= step;
		m->durable[w] = model_is_durable(m, &m->journal->writes[w]);
	}
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
static inline bool model_counts(const struct model *m, const struct model_unit *u, uint32_t w)
{
	if (!u->covers[w] || u->replaced[w] || m->durable[w])
		return false;
	for (uint32_t i = 0; i <= w; i++)
		if (u->covers[i] && !u->replaced[i] && u->of_write[i])
			return true;
	return false;
}

static inline bool model_is_volatile(const struct model *m, uint32_t w)
{
	for (uint32_t i = 0; i < m->nr_units; i++)
		if (model_counts(m, &m->units[i], w))
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
	bool any = false;

	for (uint32_t w = 0; w < m->journal->nr_writes; w++)
		any |= model_counts(m, u, w) && survives[w];
	return any ? model_left(m, u, survives) : 0;
}

#endif
