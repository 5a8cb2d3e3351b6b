// SPDX-License-Identifier: MIT
/* The record file, written: numbers, records, block headers. read.c is the other way. */
#include "faults/record/record.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/record/code.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------------------ headers */

void record_put_header(unsigned char to[RECORD_HEADER_BYTES], const struct record_header *header)
{
	memset(to, 0, RECORD_HEADER_BYTES);
	memcpy(to, RECORD_MAGIC, 8);
	put_le(to + 8, RECORD_VERSION, 2);
	put_le(to + 12, header->flags, 4);
	put_le(to + 16, header->id, 8);
	put_le(to + 24, header->start_ns, 8);
	put_le(to + 60, record_crc(0, to, 60), 4);
}

void record_put_disk(unsigned char to[RECORD_DISK_BYTES], const struct record_disk *disk)
{
	memset(to, 0, RECORD_DISK_BYTES);
	put_le(to, disk->size_bytes, 8);
	put_le(to + 8, disk->seed, 8);
	put_le(to + 16, disk->start_ns, 8);
	put_le(to + 24, disk->block_bytes, 4);
	put_le(to + 28, disk->physical_bytes, 4);
	put_le(to + 32, disk->max_io_bytes, 4);
	put_le(to + 36, disk->depth, 4);
	put_le(to + 40, disk->flags, 4);
	put_le(to + 44, disk->nr_queues, 2);
	put_le(to + 48, disk->cache_unit_bytes, 4);
	memcpy(to + 56, disk->name, strnlen(disk->name, RECORD_NAME_MAX));
}

static bool is_power(uint32_t n)
{
	return n && !(n & (n - 1));
}

const char *record_disk_fault(const struct record_disk *disk)
{
	if (!disk->nr_queues || disk->nr_queues > RECORD_QUEUES_MAX)
		return "its queues";
	if (!is_power(disk->block_bytes) || disk->block_bytes < SECTOR_SIZE ||
	    disk->block_bytes > 1u << 20)
		return "its logical block";
	if (!is_power(disk->physical_bytes) || disk->physical_bytes < disk->block_bytes ||
	    disk->physical_bytes > 1u << 20)
		return "its physical block";
	if (!disk->size_bytes || disk->size_bytes > INT64_MAX ||
	    disk->size_bytes % disk->block_bytes)
		return "its size";
	if (!disk->max_io_bytes || disk->max_io_bytes > RECORD_IO_MAX ||
	    disk->max_io_bytes % SECTOR_SIZE)
		return "its largest request";
	if (!disk->depth || disk->depth > 4096)
		return "its depth";
	if (disk->flags & ~(uint32_t)RECORD_ALL_FLAGS)
		return "its flags";
	if (disk->cache_unit_bytes &&
	    (!is_power(disk->cache_unit_bytes) || disk->cache_unit_bytes < SECTOR_SIZE ||
	     disk->cache_unit_bytes > 1u << 30))
		return "its cache's unit";
	if (!(disk->flags & RECORD_CACHE) &&
	    (disk->cache_unit_bytes || disk->flags & (RECORD_CACHE_WRITES | RECORD_CACHE_ORDER)))
		return "its cache";
	return name_is_good(disk->name, strlen(disk->name)) ? NULL : "its name";
}

void record_put_block(unsigned char to[RECORD_BLOCK_BYTES], uint16_t disk, uint16_t queue,
		      const void *a, size_t a_len, const void *b, size_t b_len)
{
	uint32_t crc;

	assert(a_len + b_len && a_len + b_len <= RECORD_BLOCK_MAX);
	put_le(to, RECORD_BLOCK_MAGIC, 4);
	put_le(to + 4, disk, 2);
	put_le(to + 6, queue, 2);
	put_le(to + 8, a_len + b_len, 4);
	crc = record_crc(0, to, 12);
	crc = record_crc(crc, a, a_len);
	put_le(to + 12, record_crc(crc, b, b_len), 4);
}

/* ------------------------------------------------------------------------------ records */

static unsigned char *put_number(unsigned char *to, uint64_t n)
{
	while (n >= 0x80) {
		*to++ = (unsigned char)(n | 0x80);
		n >>= 7;
	}
	*to++ = (unsigned char)n;
	return to;
}

/* Small for small distances either way. */
static unsigned char *put_distance(unsigned char *to, uint64_t from, uint64_t n)
{
	uint64_t d = n - from;

	return put_number(to, d << 1 ^ (d >> 63 ? UINT64_MAX : 0));
}

static unsigned char *put_step(unsigned char *to, struct record_stream *stream,
			       const struct record *record)
{
	assert(record->step > stream->step);
	to = put_number(to, record->step - stream->step - 1);
	stream->step = record->step;
	return to;
}

static unsigned char *put_time(unsigned char *to, struct record_stream *stream,
			       const struct record *record)
{
	to = put_distance(to, stream->time_ns, record->time_ns);
	stream->time_ns = record->time_ns;
	return to;
}

unsigned char *record_put_hit(unsigned char *to, const struct record_hit *hit)
{
	to = put_number(to, hit->rule);
	to = put_number(to, hit->match);
	return put_number(to, hit->delay_ns << 1 | hit->held);
}

static unsigned char *put_place(unsigned char *to, struct record_stream *stream,
				const struct record *record, bool same_len)
{
	if (record->op == IO_FLUSH)
		return to;
	to = put_distance(to, stream->next_sector, record->sector);
	if (!same_len)
		to = put_number(to, record->len_bytes >> SECTOR_SHIFT);
	stream->next_sector = record->sector + (record->len_bytes >> SECTOR_SHIFT);
	stream->len_bytes = record->len_bytes;
	return to;
}

static unsigned char content_of(const struct record *record)
{
	return record->no_data ? CONTENT_UNKNOWN : record->data ? CONTENT_BYTES : CONTENT_ZEROES;
}

static unsigned char *put_request(unsigned char *to, struct record_stream *stream,
				  const struct record *record)
{
	bool odd = !record->parked &&
		   record->result != record_plain_result(record->op, record->len_bytes);
	bool same_len = record->op != IO_FLUSH && record->len_bytes == stream->len_bytes;
	uint32_t flags = record->flags | (record->unreached ? CODE_UNREACHED : 0) |
			 (record->refused ? CODE_REFUSED : 0);

	*to++ = (unsigned char)(record->op | (flags ? CODE_FLAGS : 0) |
				(record->parked ? CODE_PARKED : 0) |
				(record->nr_hits ? CODE_HITS : 0) | (odd ? CODE_RESULT : 0) |
				(same_len ? CODE_SAME_LEN : 0));
	to = put_step(to, stream, record);
	to = put_time(to, stream, record);
	to = put_place(to, stream, record, same_len);
	if (flags)
		to = put_number(to, flags);
	if (odd)
		to = put_distance(to, 0, (uint64_t)(int64_t)record->result);
	if (record->nr_hits)
		to = put_number(to, record->nr_hits);
	if (stream->data && record->op == IO_WRITE)
		*to++ = content_of(record);
	return to;
}

static unsigned char *put_end(unsigned char *to, struct record_stream *stream,
			      const struct record *record)
{
	bool odd = record->result != record_plain_result(record->op, record->len_bytes);

	*to++ = (unsigned char)(CODE_END | (record->released ? CODE_RELEASED : 0) |
				(record->refused ? CODE_END_REFUSED : 0) | (odd ? CODE_RESULT : 0));
	to = put_step(to, stream, record);
	to = put_time(to, stream, record);
	to = put_number(to, record->step - record->arrival);
	return odd ? put_distance(to, 0, (uint64_t)(int64_t)record->result) : to;
}

unsigned char *record_put(unsigned char *to, struct record_stream *stream,
			  const struct record *record)
{
	if (record->type == RECORD_REQUEST)
		return put_request(to, stream, record);
	if (record->type == RECORD_END)
		return put_end(to, stream, record);
	assert(record->type == RECORD_ADOPT || record->type == RECORD_BATCH);
	*to++ = record->type == RECORD_ADOPT ? CODE_ADOPT : CODE_BATCH;
	to = put_step(to, stream, record);
	return record->type == RECORD_ADOPT ? put_number(to, record->epoch) : to;
}

/* ------------------------------------------------------------------------------ control */

#define RULE_HEAD_MAX 16 /* bytes of a rule in a set without its text */

static unsigned char *put_rules(unsigned char *to, const struct record *record)
{
	to = put_number(to, record->epoch);
	to = put_number(to, record->nr_rules);
	for (uint32_t i = 0; i < record->nr_rules; i++) {
		const struct record_rule *rule = &record->rules[i];

		to = put_number(to, rule->rule);
		*to++ = (unsigned char)((rule->fresh ? CODE_FRESH : 0) |
					(rule->enabled ? CODE_ENABLED : 0));
		if (!rule->fresh)
			continue;
		to = put_number(to, rule->len);
		memcpy(to, rule->text, rule->len);
		to += rule->len;
	}
	return to;
}

static unsigned char *put_tell(unsigned char *to, const struct record *record)
{
	size_t len = strlen(record->verb);

	to = put_number(to, record->rule);
	assert(len <= RECORD_VERB_MAX);
	*to++ = (unsigned char)len;
	memcpy(to, record->verb, len);
	to += len;
	*to++ = record->has_range;
	if (record->has_range) {
		to = put_number(to, record->from);
		to = put_number(to, record->to);
	}
	return to;
}

static unsigned char *put_base(unsigned char *to, const struct record *record)
{
	to = put_number(to, record->from >> SECTOR_SHIFT);
	to = put_number(to, record->len_bytes >> SECTOR_SHIFT);
	*to++ = content_of(record);
	return to;
}

static unsigned char *put_mark(unsigned char *to, const struct record *record)
{
	to = put_number(to, record->mark);
	to = put_number(to, record->text_len);
	memcpy(to, record->text, record->text_len);
	return to + record->text_len;
}

static unsigned char *put_body(unsigned char *to, const struct record *record)
{
	switch (record->type) {
	case RECORD_RULES:
		return put_rules(to, record);
	case RECORD_TELL:
		return put_tell(to, record);
	case RECORD_BASE:
		return put_base(to, record);
	case RECORD_MARK:
		return put_mark(to, record);
	case RECORD_CLOSE:
		*to++ = (unsigned char)record->why;
		to = put_number(to, record->nr_requests);
		return put_number(to, record->nr_waits);
	case RECORD_REVIVE:
		*to++ = record->after_cut;
		return to;
	case RECORD_REQUEST:
	case RECORD_END:
	case RECORD_ADOPT:
	case RECORD_BATCH:
		break;
	}
	return to;
}

int record_put_control(const struct record_header *header, const struct record *record,
		       unsigned char **ret_bytes, size_t *ret_len)
{
	struct record_stream stream = record_stream_start(header);
	size_t size = 2 * RECORD_REQUEST_MAX + RECORD_VERB_MAX + record->text_len;
	unsigned char *bytes, *to;

	assert(record->type >= RECORD_RULES);
	if (record->type == RECORD_RULES)
		for (uint32_t i = 0; i < record->nr_rules; i++)
			size += RULE_HEAD_MAX + record->rules[i].len;
	bytes = fail_alloc("faults/record/record/control", malloc(size));
	if (!bytes)
		return -ENOMEM;
	to = bytes;
	*to++ = CODE_OF_CONTROL(record->type);
	to = put_step(to, &stream, record);
	to = put_time(to, &stream, record);
	to = put_body(to, record);
	assert((size_t)(to - bytes) <= size);
	*ret_bytes = bytes;
	*ret_len = (size_t)(to - bytes);
	return 0;
}

/* Bytes of the character that stands at @text; 0: there is none, or one that controls. */
static size_t utf8_step(const char *text, size_t left)
{
	const unsigned char *at = (const unsigned char *)text;
	static const struct {
		unsigned char mask, bits;
		uint32_t least;
	} forms[] = { { 0x80, 0, 0x20 },
		      { 0xe0, 0xc0, 0xa0 },
		      { 0xf0, 0xe0, 0x800 },
		      { 0xf8, 0xf0, 0x10000 } };
	uint32_t c;
	size_t n = 0;

	while (n < array_size(forms) && (at[0] & forms[n].mask) != forms[n].bits)
		n++;
	if (n == array_size(forms) || n >= left)
		return 0;
	c = at[0] & (unsigned char)~forms[n].mask;
	for (size_t i = 1; i <= n; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3f);
	}
	if (c < forms[n].least || c == 0x7f || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n + 1;
}

int record_check_mark(const char *text, size_t len, struct diag *diag)
{
	if (!len || len > RECORD_MARK_MAX)
		return diag_set(diag, -EINVAL, "mark.length",
				"a mark has 1 to %d bytes of text, got %zu", RECORD_MARK_MAX, len);
	for (size_t at = 0; at < len;) {
		size_t step = utf8_step(text + at, len - at);

		if (!step)
			return diag_set(diag, -EINVAL, "mark.text",
					"a mark is one line of UTF-8 without control characters; "
					"byte %zu of it is none",
					at + 1);
		at += step;
	}
	return 0;
}
