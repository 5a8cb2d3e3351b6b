// SPDX-License-Identifier: MIT
/*
 * The record file, read. Opening goes over all blocks once: checksums, and a list of the good ones
 * for each stream. Reading keeps a cursor in each stream, whose next record's step is known, and
 * takes the record that bears the next step. No byte of the file is trusted: whatever does not
 * decode, or describes what no disk of this header can have seen, ends the reading there.
 */
#include "faults/record/record.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/record/code.h"
#include "faults/rule/kind.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_BLOCK SIZE_MAX
#define NO_STEP  UINT64_MAX

struct record_block {
	uint64_t offset; /* of the payload */
	uint32_t len;
	size_t next; /* of the same stream, or NO_BLOCK */
};

/* One stream; those of a control thread begin anew with each block. */
struct cursor {
	struct record_stream stream;
	const unsigned char *at, *end; /* what is left of the block */
	size_t next;                   /* block, or NO_BLOCK */
	size_t last;
	uint64_t step;        /* of the record at @at; NO_STEP: none left */
	uint16_t disk, queue; /* as in the headers of its blocks */
};

struct stream_disk {
	struct record_disk is;
	size_t cursors; /* its first; then one for each queue, and one for the control thread */
};

struct record_reader {
	const unsigned char *bytes;
	uint64_t size;
	struct record_header header;
	uint64_t good;     /* bytes of the file that are whole blocks, from its beginning */
	const char *fault; /* of the block there; NULL: the file just ends */
	struct record_block *blocks;
	size_t nr_blocks, max_blocks;
	uint64_t steps; /* handed out */
	uint64_t read;  /* bytes of those */
	bool closed;
	/* A record that made no sense. */
	const char *nonsense;
	uint64_t nonsense_at;
	struct record_hit *hits;
	struct record_rule *rules;
	size_t max_hits, max_rules;
	size_t recent;          /* the stream of the last record */
	struct cursor *cursors; /* that of nobody first */
	size_t nr_cursors;
	uint16_t nr_disks;
	struct stream_disk disks[RECORD_DISKS_MAX];
};

/* ------------------------------------------------------------------------------ the header */

static int check_version(unsigned int version, struct diag *diag)
{
	if (version >= RECORD_VERSION_MIN && version <= RECORD_VERSION)
		return 0;
	diag_set(diag, -EINVAL, "record.version",
		 "the record file has version %u; this program reads versions %d to %d", version,
		 RECORD_VERSION_MIN, RECORD_VERSION);
	if (version < RECORD_VERSION_MIN)
		diag_hint(diag, "replay it with the faultblk that wrote it, or record it again");
	else
		diag_hint(diag, "use the faultblk that wrote it, or a newer one than this");
	return -EINVAL;
}

static int check_header(const unsigned char *at, size_t size, struct diag *diag,
			struct record_header *ret_header)
{
	int err;

	if (size < RECORD_HEADER_BYTES || memcmp(at, RECORD_MAGIC, 8) != 0)
		return diag_set(diag, -EINVAL, "record.magic",
				"this is no record file: it does not begin with '%s' and a header "
				"of %d bytes",
				RECORD_MAGIC, RECORD_HEADER_BYTES);
	err = check_version((unsigned int)get_le(at + 8, 2), diag);
	if (err)
		return err;
	if (get_le(at + 60, 4) != record_crc(0, at, 60))
		return diag_set(diag, -EINVAL, "record.header",
				"the header of the record file is damaged: its checksum is wrong");
	*ret_header = (struct record_header){
		.flags = (uint32_t)get_le(at + 12, 4),
		.id = get_le(at + 16, 8),
		.start_ns = get_le(at + 24, 8),
		.version = (uint16_t)get_le(at + 8, 2),
	};
	if (ret_header->flags & ~(uint32_t)RECORD_DATA)
		return diag_set(diag, -EINVAL, "record.header",
				"the header of the record file has unknown flags: 0x%x",
				ret_header->flags);
	return 0;
}

/* ------------------------------------------------------------------------------ disks */

static struct cursor fresh_cursor(const struct record_reader *reader, uint16_t disk, uint16_t queue)
{
	return (struct cursor){ .stream = record_stream_start(&reader->header),
				.at = reader->bytes,
				.end = reader->bytes,
				.next = NO_BLOCK,
				.last = NO_BLOCK,
				.step = NO_STEP,
				.disk = disk,
				.queue = queue };
}

static int add_cursors(struct record_reader *reader, uint16_t disk, uint16_t nr_queues)
{
	size_t nr = reader->nr_cursors + nr_queues + 1u;

	if (array_fit("faults/record/read/streams", reader->cursors, nr))
		return -ENOMEM;
	for (uint16_t queue = 0; queue < nr_queues; queue++)
		reader->cursors[reader->nr_cursors++] = fresh_cursor(reader, disk, queue);
	reader->cursors[reader->nr_cursors++] = fresh_cursor(reader, disk, RECORD_CONTROL);
	return 0;
}

/* What is wrong with it; NULL: nothing. */
static const char *parse_disk(const unsigned char *at, struct record_disk *disk)
{
	*disk = (struct record_disk){
		.size_bytes = get_le(at, 8),
		.seed = get_le(at + 8, 8),
		.start_ns = get_le(at + 16, 8),
		.block_bytes = (uint32_t)get_le(at + 24, 4),
		.physical_bytes = (uint32_t)get_le(at + 28, 4),
		.max_io_bytes = (uint32_t)get_le(at + 32, 4),
		.depth = (uint32_t)get_le(at + 36, 4),
		.flags = (uint32_t)get_le(at + 40, 4),
		.nr_queues = (uint16_t)get_le(at + 44, 2),
		.cache_unit_bytes = (uint32_t)get_le(at + 48, 4),
	};
	memcpy(disk->name, at + 56, RECORD_NAME_MAX);
	return at[56 + RECORD_NAME_MAX] ? "its name" : record_disk_fault(disk);
}

/* Names become paths: two disks of one name would be one file. */
static bool has_name(const struct record_reader *reader, const char *name)
{
	for (uint16_t i = 0; i < reader->nr_disks; i++)
		if (strcmp(reader->disks[i].is.name, name) == 0)
			return true;
	return false;
}

/* The next one must come. NULL, or what does not make sense. */
static const char *next_disk_fault(const struct record_reader *reader, const unsigned char *head,
				   struct record_disk *disk)
{
	const char *fault;

	if (get_le(head + 4, 2) != reader->nr_disks || reader->nr_disks == RECORD_DISKS_MAX ||
	    get_le(head + 8, 4) != RECORD_DISK_BYTES)
		return "a block describes an impossible disk";
	fault = parse_disk(head + RECORD_BLOCK_BYTES, disk);
	if (fault && strcmp(fault, "its name") == 0)
		return "a block describes a disk with an invalid name";
	if (fault)
		return "a block describes an impossible disk";
	return has_name(reader, disk->name) ? "two disks have one name" : NULL;
}

static int add_disk(struct record_reader *reader, const struct record_disk *disk)
{
	uint16_t index = reader->nr_disks;

	reader->disks[index] = (struct stream_disk){ .is = *disk, .cursors = reader->nr_cursors };
	reader->nr_disks++;
	return add_cursors(reader, index, disk->nr_queues);
}

/* ------------------------------------------------------------------------------ blocks */

/* The stream of a block; NULL: there is none such. */
static struct cursor *find_cursor(const struct record_reader *reader, const unsigned char *head)
{
	uint64_t disk = get_le(head + 4, 2), queue = get_le(head + 6, 2);
	const struct stream_disk *of;

	if (disk == RECORD_NOBODY)
		return queue == RECORD_CONTROL ? &reader->cursors[0] : NULL;
	if (disk >= reader->nr_disks)
		return NULL;
	of = &reader->disks[disk];
	if (queue == RECORD_CONTROL)
		return &reader->cursors[of->cursors + of->is.nr_queues];
	return queue < of->is.nr_queues ? &reader->cursors[of->cursors + queue] : NULL;
}

static int add_block(struct record_reader *reader, struct cursor *cursor, uint64_t offset,
		     uint32_t len)
{
	size_t index = reader->nr_blocks;

	if (array_room("faults/record/read/blocks", reader->blocks, reader->max_blocks, index + 1,
		       64))
		return -ENOMEM;
	reader->blocks[index] =
		(struct record_block){ .offset = offset, .len = len, .next = NO_BLOCK };
	reader->nr_blocks++;
	if (cursor->last == NO_BLOCK)
		cursor->next = index;
	else
		reader->blocks[cursor->last].next = index;
	cursor->last = index;
	return 0;
}

/* What is wrong with the block at @at; NULL: nothing. */
static const char *block_fault(const struct record_reader *reader, uint64_t at)
{
	const unsigned char *head = reader->bytes + at;
	uint64_t left = reader->size - at, len;
	uint32_t crc;

	if (left < RECORD_BLOCK_BYTES)
		return "a block's header is cut off";
	if (get_le(head, 4) != RECORD_BLOCK_MAGIC)
		return "there is no block";
	len = get_le(head + 8, 4);
	if (!len || len > RECORD_BLOCK_MAX)
		return "the header of a block is not valid";
	if (left - RECORD_BLOCK_BYTES < len)
		return "a block is cut off";
	crc = record_crc(0, head, 12);
	crc = record_crc(crc, head + RECORD_BLOCK_BYTES, len);
	return crc == get_le(head + 12, 4) ? NULL : "a block's checksum is wrong";
}

/* The block is whole: a disk, or a part of a stream. */
static int take_block(struct record_reader *reader, uint64_t at)
{
	const unsigned char *head = reader->bytes + at;
	uint32_t len = (uint32_t)get_le(head + 8, 4);
	struct cursor *cursor;
	struct record_disk disk;

	if (get_le(head + 6, 2) == RECORD_IS_DISK) {
		reader->fault = next_disk_fault(reader, head, &disk);
		return reader->fault ? 0 : add_disk(reader, &disk);
	}
	cursor = find_cursor(reader, head);
	if (cursor)
		return add_block(reader, cursor, at + RECORD_BLOCK_BYTES, len);
	reader->fault = "a block has an unknown stream";
	return 0;
}

static int index_blocks(struct record_reader *reader)
{
	uint64_t at = RECORD_HEADER_BYTES;

	while (at < reader->size) {
		int err = 0;

		reader->fault = block_fault(reader, at);
		if (!reader->fault)
			err = take_block(reader, at);
		if (err)
			return err;
		if (reader->fault)
			break;
		at += RECORD_BLOCK_BYTES + get_le(reader->bytes + at + 8, 4);
	}
	reader->good = at;
	return 0;
}

/* ------------------------------------------------------------------------------ decoding */

/* All return false at the end of the block and for numbers past 64 bits. */
static bool get_byte(struct cursor *cursor, unsigned char *ret_byte)
{
	if (cursor->at == cursor->end)
		return false;
	*ret_byte = *cursor->at++;
	return true;
}

static bool get_number(struct cursor *cursor, uint64_t *ret_n)
{
	uint64_t n = 0;
	unsigned char byte;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		if (!get_byte(cursor, &byte) || (shift == 63 && byte > 1))
			return false;
		n |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_n = n;
			return true;
		}
	}
	return false;
}

static bool get_distance(struct cursor *cursor, uint64_t from, uint64_t *ret_n)
{
	uint64_t n;

	if (!get_number(cursor, &n))
		return false;
	*ret_n = from + (n >> 1 ^ (n & 1 ? UINT64_MAX : 0));
	return true;
}

static bool get_result(struct cursor *cursor, int *ret_result)
{
	uint64_t n;
	int64_t result;

	if (!get_distance(cursor, 0, &n))
		return false;
	result = (int64_t)n;
	if (result < -4095 || result > (int64_t)RECORD_IO_MAX)
		return false;
	*ret_result = (int)result;
	return true;
}

static bool get_small(struct cursor *cursor, uint64_t max, uint32_t *ret_n)
{
	uint64_t n;

	if (!get_number(cursor, &n) || n > max || n > UINT32_MAX)
		return false;
	*ret_n = (uint32_t)n;
	return true;
}

static bool get_hit(struct cursor *cursor, struct record_hit *hit)
{
	uint64_t delay;

	if (!get_small(cursor, UINT32_MAX, &hit->rule) || !hit->rule ||
	    !get_number(cursor, &hit->match) || !get_number(cursor, &delay))
		return false;
	hit->held = delay & 1;
	hit->delay_ns = delay >> 1;
	return hit->match < RULE_MATCHES_MAX && hit->delay_ns <= KIND_DELAY_MAX_NS;
}

static int get_hits(struct record_reader *reader, struct cursor *cursor, struct record *record)
{
	if (array_room("faults/record/read/hits", reader->hits, reader->max_hits, record->nr_hits,
		       0))
		return -ENOMEM;
	for (uint32_t i = 0; i < record->nr_hits; i++)
		if (!get_hit(cursor, &reader->hits[i]))
			return -EBADMSG;
	record->hits = reader->hits;
	return 0;
}

/* Could the disk have been asked this? */
static bool request_fits(const struct record_disk *disk, const struct record *record)
{
	uint64_t size = disk->size_bytes, len = record->len_bytes;

	if (record->op == IO_FLUSH)
		return true;
	if (!len || (record->op <= IO_WRITE && len > disk->max_io_bytes))
		return false;
	return len <= size && record->sector <= (size - len) >> SECTOR_SHIFT;
}

static bool get_place(struct cursor *cursor, unsigned char code, struct record *record)
{
	struct record_stream *stream = &cursor->stream;
	uint32_t nr_sectors;

	if (record->op == IO_FLUSH)
		return !(code & CODE_SAME_LEN);
	if (!get_distance(cursor, stream->next_sector, &record->sector))
		return false;
	record->len_bytes = stream->len_bytes;
	if (!(code & CODE_SAME_LEN)) {
		if (!get_small(cursor, UINT32_MAX >> SECTOR_SHIFT, &nr_sectors))
			return false;
		record->len_bytes = nr_sectors << SECTOR_SHIFT;
	}
	stream->next_sector = record->sector + (record->len_bytes >> SECTOR_SHIFT);
	stream->len_bytes = record->len_bytes;
	return true;
}

/* The bytes that @content says: record->len_bytes of them, which stay where they are. */
static bool get_data(struct cursor *cursor, unsigned char content, struct record *record)
{
	record->no_data = content == CONTENT_UNKNOWN;
	if (content != CONTENT_BYTES)
		return true;
	if (record->len_bytes > (size_t)(cursor->end - cursor->at))
		return false;
	record->data = cursor->at;
	cursor->at += record->len_bytes;
	return true;
}

/* How many hits, what content, the hits, the content. */
static int get_rest(struct record_reader *reader, struct cursor *cursor, unsigned char code,
		    struct record *record)
{
	bool has_data = cursor->stream.data && record->op == IO_WRITE;
	unsigned char content = CONTENT_UNKNOWN;
	int err = 0;

	if (code & CODE_HITS &&
	    (!get_small(cursor, RULE_SET_MAX, &record->nr_hits) || !record->nr_hits))
		return -EBADMSG;
	if (has_data && (!get_byte(cursor, &content) || content >= CONTENT_NR))
		return -EBADMSG;
	if (record->nr_hits)
		err = get_hits(reader, cursor, record);
	if (!err && has_data && !get_data(cursor, content, record))
		err = -EBADMSG;
	return err;
}

static int get_request(struct record_reader *reader, struct cursor *cursor, unsigned char code,
		       struct record *record)
{
	record->type = RECORD_REQUEST;
	record->op = code & CODE_OP_MASK;
	record->parked = code & CODE_PARKED;
	if (!get_distance(cursor, cursor->stream.time_ns, &record->time_ns) ||
	    !get_place(cursor, code, record) ||
	    !request_fits(&reader->disks[cursor->disk].is, record))
		return -EBADMSG;
	cursor->stream.time_ns = record->time_ns;
	if (code & CODE_FLAGS && !get_small(cursor, IO_READAHEAD - 1, &record->flags))
		return -EBADMSG;
	record->unreached = record->flags & CODE_UNREACHED;
	record->refused = record->flags & CODE_REFUSED;
	record->flags &= ~(uint32_t)(CODE_UNREACHED | CODE_REFUSED);
	record->result = record_plain_result(record->op, record->len_bytes);
	if (code & CODE_RESULT && (record->parked || !get_result(cursor, &record->result)))
		return -EBADMSG;
	if (record->unreached && (code & CODE_HITS || record->parked || record->result >= 0))
		return -EBADMSG;
	if (record->refused && (record->parked || record->unreached))
		return -EBADMSG;
	return get_rest(reader, cursor, code, record);
}

static int get_end(struct cursor *cursor, unsigned char code, struct record *record)
{
	uint64_t distance;

	record->type = RECORD_END;
	record->released = code & CODE_RELEASED;
	record->refused = code & CODE_END_REFUSED;
	record->result = RECORD_PLAIN;
	if (code & ~(CODE_OP_MASK | CODE_RELEASED | CODE_END_REFUSED | CODE_RESULT) ||
	    !get_distance(cursor, cursor->stream.time_ns, &record->time_ns) ||
	    !get_number(cursor, &distance) || !distance || distance >= record->step)
		return -EBADMSG;
	cursor->stream.time_ns = record->time_ns;
	record->arrival = record->step - distance;
	return code & CODE_RESULT && !get_result(cursor, &record->result) ? -EBADMSG : 0;
}

static int get_rules(struct record_reader *reader, struct cursor *cursor, struct record *record)
{
	if (!get_number(cursor, &record->epoch) ||
	    !get_small(cursor, RULE_SET_MAX, &record->nr_rules))
		return -EBADMSG;
	if (array_room("faults/record/read/rules", reader->rules, reader->max_rules,
		       record->nr_rules, 0))
		return -ENOMEM;
	for (uint32_t i = 0; i < record->nr_rules; i++) {
		struct record_rule *rule = &reader->rules[i];
		unsigned char code;
		uint32_t len;

		*rule = (struct record_rule){ 0 };
		if (!get_small(cursor, UINT32_MAX, &rule->rule) || !rule->rule ||
		    !get_byte(cursor, &code) || code & ~(CODE_FRESH | CODE_ENABLED))
			return -EBADMSG;
		rule->fresh = code & CODE_FRESH;
		rule->enabled = code & CODE_ENABLED;
		if (!rule->fresh)
			continue;
		if (!get_small(cursor, RULE_TEXT_MAX, &len) ||
		    len > (size_t)(cursor->end - cursor->at))
			return -EBADMSG;
		rule->text = (const char *)cursor->at;
		rule->len = len;
		cursor->at += len;
	}
	record->rules = reader->rules;
	return 0;
}

static int get_tell(const struct record_disk *disk, struct cursor *cursor, struct record *record)
{
	unsigned char len, range;

	if (!get_small(cursor, UINT32_MAX, &record->rule) || !record->rule ||
	    !get_byte(cursor, &len) || !len || len > RECORD_VERB_MAX ||
	    len > cursor->end - cursor->at)
		return -EBADMSG;
	memcpy(record->verb, cursor->at, len);
	cursor->at += len;
	if (memchr(record->verb, '\0', len) || !get_byte(cursor, &range) || range > 1)
		return -EBADMSG;
	record->has_range = range;
	record->to = disk->size_bytes;
	if (range && (!get_number(cursor, &record->from) || !get_number(cursor, &record->to)))
		return -EBADMSG;
	return record->from < record->to && record->to <= disk->size_bytes &&
			       record->from % SECTOR_SIZE == 0 && record->to % SECTOR_SIZE == 0
		       ? 0
		       : -EBADMSG;
}

static int get_base(const struct record_disk *disk, struct cursor *cursor, struct record *record)
{
	unsigned char content;
	uint32_t nr_sectors;

	if (!cursor->stream.data || !get_number(cursor, &record->from) ||
	    record->from > disk->size_bytes >> SECTOR_SHIFT ||
	    !get_small(cursor, RECORD_BASE_MAX >> SECTOR_SHIFT, &nr_sectors) || !nr_sectors ||
	    !get_byte(cursor, &content) || content == CONTENT_UNKNOWN || content >= CONTENT_NR)
		return -EBADMSG;
	record->from <<= SECTOR_SHIFT;
	record->len_bytes = nr_sectors << SECTOR_SHIFT;
	record->to = record->from + record->len_bytes;
	return record->to <= disk->size_bytes && get_data(cursor, content, record) ? 0 : -EBADMSG;
}

static int get_mark(struct cursor *cursor, struct record *record)
{
	uint32_t len;

	if (!get_number(cursor, &record->mark) || !record->mark ||
	    !get_small(cursor, RECORD_MARK_MAX, &len) || len > (size_t)(cursor->end - cursor->at))
		return -EBADMSG;
	record->text = (const char *)cursor->at;
	record->text_len = len;
	cursor->at += len;
	return record_check_mark(record->text, len, NULL) ? -EBADMSG : 0;
}

static int get_revive(const struct record_reader *reader, struct cursor *cursor,
		      struct record *record)
{
	unsigned char after_cut = 0;

	if (reader->header.version >= 3 && (!get_byte(cursor, &after_cut) || after_cut > 1))
		return -EBADMSG;
	record->after_cut = after_cut;
	return 0;
}

static int get_close(struct cursor *cursor, struct record *record)
{
	unsigned char why;

	if (!get_byte(cursor, &why) || why >= RECORD_NR_WHYS ||
	    !get_number(cursor, &record->nr_requests) || !get_number(cursor, &record->nr_waits))
		return -EBADMSG;
	record->why = why;
	return 0;
}

static int get_control(struct record_reader *reader, struct cursor *cursor, unsigned char code,
		       struct record *record)
{
	bool nobodys = cursor->disk == RECORD_NOBODY;
	const struct record_disk *disk = nobodys ? NULL : &reader->disks[cursor->disk].is;

	if (code > CODE_OF_CONTROL(RECORD_CLOSE) ||
	    !get_distance(cursor, cursor->stream.time_ns, &record->time_ns))
		return -EBADMSG;
	cursor->stream.time_ns = record->time_ns;
	record->type = (enum record_type)(RECORD_RULES + code);
	if (nobodys != (record->type >= RECORD_MARK))
		return -EBADMSG;
	switch (record->type) {
	case RECORD_RULES:
		return get_rules(reader, cursor, record);
	case RECORD_TELL:
		return get_tell(disk, cursor, record);
	case RECORD_BASE:
		return get_base(disk, cursor, record);
	case RECORD_MARK:
		return get_mark(cursor, record);
	case RECORD_CLOSE:
		return get_close(cursor, record);
	case RECORD_REVIVE:
		return get_revive(reader, cursor, record);
	case RECORD_REQUEST:
	case RECORD_END:
	case RECORD_ADOPT:
	case RECORD_BATCH:
		break;
	}
	return 0;
}

static int get_record(struct record_reader *reader, struct cursor *cursor, struct record *record)
{
	unsigned char code;
	uint64_t delta;

	*record = (struct record){ .disk = cursor->disk, .queue = cursor->queue };
	if (!get_byte(cursor, &code) || !get_number(cursor, &delta))
		return -EBADMSG;
	record->step = cursor->stream.step = cursor->step;
	if (cursor->queue == RECORD_CONTROL)
		return get_control(reader, cursor, code, record);
	if ((code & CODE_OP_MASK) < IO_NR_OPS)
		return get_request(reader, cursor, code, record);
	if ((code & CODE_OP_MASK) == CODE_END)
		return get_end(cursor, code, record);
	record->type = code == CODE_BATCH ? RECORD_BATCH : RECORD_ADOPT;
	if (code == CODE_BATCH)
		return cursor->stream.data ? 0 : -EBADMSG;
	return code == CODE_ADOPT && get_number(cursor, &record->epoch) ? 0 : -EBADMSG;
}

/* Look at the step of the next record of a stream, moving on to its next block if need be. */
static void look(struct record_reader *reader, struct cursor *cursor)
{
	uint64_t delta, least = 0; /* what the last step of the stream was */
	struct cursor ahead;

	if (cursor->at == cursor->end && cursor->next != NO_BLOCK) {
		const struct record_block *block = &reader->blocks[cursor->next];

		cursor->at = reader->bytes + block->offset;
		cursor->end = cursor->at + block->len;
		cursor->next = block->next;
		if (cursor->queue == RECORD_CONTROL) {
			least = cursor->stream.step;
			cursor->stream = record_stream_start(&reader->header);
		}
	}
	cursor->step = NO_STEP;
	if (cursor->at == cursor->end)
		return;
	ahead = *cursor;
	ahead.at++;
	if (get_number(&ahead, &delta) && delta < UINT64_MAX - 1 - cursor->stream.step &&
	    cursor->stream.step + 1 + delta > least)
		cursor->step = cursor->stream.step + 1 + delta;
	else if (!reader->nonsense) {
		reader->nonsense = "a record has no step";
		reader->nonsense_at = (uint64_t)(cursor->at - reader->bytes);
	}
}

/* ------------------------------------------------------------------------------ the reader */

int record_reader_open(const void *bytes, size_t size, struct diag *diag,
		       struct record_reader **ret_reader)
{
	struct record_header header;
	struct record_reader *reader;
	int err = check_header(bytes, size, diag, &header);

	if (err)
		return err;
	reader = fail_alloc("faults/record/read/alloc", calloc(1, sizeof(*reader)));
	if (!reader)
		return diag_set(diag, -ENOMEM, "record.memory", "no memory for the record file");
	reader->bytes = bytes;
	reader->size = size;
	reader->header = header;
	err = add_cursors(reader, RECORD_NOBODY, 0);
	if (!err)
		err = index_blocks(reader);
	if (err) {
		record_reader_free(reader);
		return diag_set(diag, err, "record.memory", "no memory for the record file");
	}
	for (size_t i = 0; i < reader->nr_cursors; i++)
		look(reader, &reader->cursors[i]);
	*ret_reader = reader;
	return 0;
}

struct record_reader *record_reader_free(struct record_reader *reader)
{
	if (!reader)
		return NULL;
	free(reader->blocks);
	free(reader->hits);
	free(reader->rules);
	free(reader->cursors);
	free(reader);
	return NULL;
}

uint64_t record_reader_read(const struct record_reader *reader)
{
	return reader->read;
}

const struct record_header *record_reader_header(const struct record_reader *reader)
{
	return &reader->header;
}

uint16_t record_reader_nr_disks(const struct record_reader *reader)
{
	return reader->nr_disks;
}

const struct record_disk *record_reader_disk(const struct record_reader *reader, uint16_t disk)
{
	assert(disk < reader->nr_disks);
	return &reader->disks[disk].is;
}

/* The stream that has record number @step; NULL: none. */
static struct cursor *find_step(struct record_reader *reader, uint64_t step)
{
	if (reader->cursors[reader->recent].step == step)
		return &reader->cursors[reader->recent];
	for (size_t i = 0; i < reader->nr_cursors; i++)
		if (reader->cursors[i].step == step)
			return &reader->cursors[i];
	return NULL;
}

int record_reader_next(struct record_reader *reader, struct record *ret_record)
{
	struct cursor *cursor = find_step(reader, reader->steps + 1);
	const unsigned char *at;
	int err;

	if (reader->closed || !cursor)
		return 0;
	at = cursor->at;
	err = get_record(reader, cursor, ret_record);
	if (err == -ENOMEM)
		return err;
	if (err) {
		reader->nonsense = "a record is not valid";
		reader->nonsense_at = (uint64_t)(at - reader->bytes);
		/* Nobody has this step now: the reading ends here for good. */
		cursor->step = NO_STEP;
		return 0;
	}
	reader->steps++;
	reader->read += (uint64_t)(cursor->at - at);
	reader->recent = (size_t)(cursor - reader->cursors);
	reader->closed = ret_record->type == RECORD_CLOSE;
	look(reader, cursor);
	return 1;
}

int record_reader_end(const struct record_reader *reader, struct diag *diag)
{
	const unsigned long long steps = reader->steps, size = reader->size, good = reader->good;
	bool more = false;

	for (size_t i = 0; i < reader->nr_cursors; i++)
		more |= reader->cursors[i].step != NO_STEP;
	if (reader->nonsense)
		return diag_set(diag, -EBADMSG, "record.damaged",
				"the record file is damaged: %s, at byte %llu of %llu; records up "
				"to %llu are valid",
				reader->nonsense, (unsigned long long)reader->nonsense_at, size,
				steps);
	if (reader->fault)
		return diag_set(diag, -EBADMSG, "record.damaged",
				"the record file is damaged or truncated: %s, at byte %llu of "
				"%llu; "
				"records up to %llu are valid",
				reader->fault, good, size, steps);
	if (reader->closed && !more)
		return 0;
	if (reader->closed)
		return diag_set(diag, -EBADMSG, "record.damaged",
				"the record file is damaged: records follow the last one, number "
				"%llu",
				steps);
	return diag_set(diag, -ENODATA, "record.early",
			"the recording ends early, after record %llu (%llu bytes): the disk that "
			"wrote it was killed, or could not write on",
			steps, good);
}
