// SPDX-License-Identifier: MIT
/* The record file, written: numbers, records, block headers. record_read.c is the other way. */
#include "faults/record.h"

#include "base/cleanup.h"
#include "base/units.h"
#include "faults/record_code.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

/* ------------------------------------------------------------------------------ checksums */

#define CRC_POLY 0x82f63b78u /* CRC-32C, reflected */

static uint32_t crc_table[256];

static void make_crc_table(void)
{
	for (uint32_t i = 0; i < array_size(crc_table); i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLY : 0);
		crc_table[i] = crc;
	}
}

uint32_t record_crc(uint32_t crc, const void *bytes, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const unsigned char *at = bytes;

	pthread_once(&once, make_crc_table);
	crc = ~crc;
	while (len--)
		crc = crc >> 8 ^ crc_table[(crc ^ *at++) & 0xff];
	return ~crc;
}

/* ------------------------------------------------------------------------------ headers */

void record_put_header(unsigned char to[RECORD_HEADER_BYTES], const struct record_header *header)
{
	memset(to, 0, RECORD_HEADER_BYTES);
	memcpy(to, RECORD_MAGIC, 8);
	put_le(to + 8, RECORD_VERSION, 2);
	put_le(to + 10, header->nr_queues, 2);
	put_le(to + 12, header->flags, 4);
	put_le(to + 16, header->size_bytes, 8);
	put_le(to + 24, header->seed, 8);
	put_le(to + 32, header->start_ns, 8);
	put_le(to + 40, header->block_bytes, 4);
	put_le(to + 44, header->physical_bytes, 4);
	put_le(to + 48, header->max_io_bytes, 4);
	put_le(to + 52, header->depth, 4);
	put_le(to + 60, record_crc(0, to, 60), 4);
}

void record_put_block(unsigned char to[RECORD_BLOCK_BYTES], uint16_t stream, const void *a,
		      size_t a_len, const void *b, size_t b_len)
{
	uint32_t crc;

	assert(a_len + b_len && a_len + b_len <= RECORD_BLOCK_MAX);
	put_le(to, RECORD_BLOCK_MAGIC, 4);
	put_le(to + 4, stream, 2);
	put_le(to + 6, 0, 2);
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

static unsigned char *put_request(unsigned char *to, struct record_stream *stream,
				  const struct record *record)
{
	bool odd = !record->parked &&
		   record->result != record_plain_result(record->op, record->len_bytes);
	bool same_len = record->op != IO_FLUSH && record->len_bytes == stream->len_bytes;

	*to++ = (unsigned char)(record->op | (record->flags ? CODE_FLAGS : 0) |
				(record->parked ? CODE_PARKED : 0) |
				(record->nr_hits ? CODE_HITS : 0) | (odd ? CODE_RESULT : 0) |
				(same_len ? CODE_SAME_LEN : 0));
	to = put_step(to, stream, record);
	to = put_time(to, stream, record);
	to = put_place(to, stream, record, same_len);
	if (record->flags)
		to = put_number(to, record->flags);
	if (odd)
		to = put_distance(to, 0, (uint64_t)(int64_t)record->result);
	if (record->nr_hits)
		to = put_number(to, record->nr_hits);
	return to;
}

static unsigned char *put_end(unsigned char *to, struct record_stream *stream,
			      const struct record *record)
{
	bool odd = record->result != record_plain_result(record->op, record->len_bytes);

	*to++ = (unsigned char)(CODE_END | (record->released ? CODE_RELEASED : 0) |
				(odd ? CODE_RESULT : 0));
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
	assert(record->type == RECORD_ADOPT);
	*to++ = CODE_ADOPT;
	to = put_step(to, stream, record);
	return put_number(to, record->epoch);
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

static unsigned char *put_body(unsigned char *to, const struct record *record)
{
	switch (record->type) {
	case RECORD_RULES:
		return put_rules(to, record);
	case RECORD_TELL:
		return put_tell(to, record);
	case RECORD_CLOSE:
		to = put_number(to, record->nr_requests);
		return put_number(to, record->nr_waits);
	case RECORD_REVIVE:
	case RECORD_REQUEST:
	case RECORD_END:
	case RECORD_ADOPT:
		break;
	}
	return to;
}

int record_put_control(struct record_stream *stream, const struct record *record,
		       unsigned char **ret_bytes, size_t *ret_len)
{
	size_t size = 2 * RECORD_REQUEST_MAX + RECORD_VERB_MAX;
	unsigned char *bytes, *to;

	assert(record->type >= RECORD_RULES);
	if (record->type == RECORD_RULES)
		for (uint32_t i = 0; i < record->nr_rules; i++)
			size += RULE_HEAD_MAX + record->rules[i].len;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	to = bytes;
	*to++ = (unsigned char)(record->type - RECORD_RULES);
	to = put_step(to, stream, record);
	to = put_time(to, stream, record);
	to = put_body(to, record);
	assert((size_t)(to - bytes) <= size);
	*ret_bytes = bytes;
	*ret_len = (size_t)(to - bytes);
	return 0;
}
