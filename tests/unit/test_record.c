// SPDX-License-Identifier: MIT
/* The record file: what is written is read, and damage is seen wherever it is. */
#include "faults/record.h"
#include "tests/unit/check.h"

#include <errno.h>

#define QUEUES    3
#define FILE_MAX_ (1u << 20)
#define HITS_MAX  5

static const struct record_header disk = {
	.size_bytes = 64 << 20,
	.seed = 0xfedcba9876543210,
	.start_ns = 1000000000000,
	.block_bytes = 512,
	.physical_bytes = 4096,
	.max_io_bytes = 512 << 10,
	.depth = 128,
	.flags = RECORD_CACHE | RECORD_NO_FUA,
	.nr_queues = QUEUES,
};

/* A file made in memory: records, and the bytes that they became. */
struct file {
	unsigned char *bytes;
	size_t size;
	struct record *records;
	struct record_hit (*hits)[HITS_MAX];
	size_t nr;
};

static const struct record_rule rules[] = {
	{ .rule = 1, .fresh = true, .enabled = true, .text = "a do=count", .len = 10 },
	{ .rule = 2, .fresh = true, .text = "b do=hang", .len = 9 },
	{ .rule = 77, .enabled = true },
};

static void random_request(struct draw *draw, struct record *record, struct record_hit *hits)
{
	record->op = (uint8_t)draw_below(draw, IO_NR_OPS);
	record->parked = !draw_below(draw, 3);
	if (record->op != IO_FLUSH) {
		record->len_bytes =
			(uint32_t)(1 + draw_below(draw, draw_below(draw, 2) ? 8 : 1024)) * SEC;
		record->sector = draw_below(draw, (disk.size_bytes - record->len_bytes) / SEC + 1);
	}
	if (!draw_below(draw, 4))
		record->flags = (uint32_t)draw_below(draw, 512);
	if (!record->parked)
		record->result = draw_below(draw, 3)
					 ? record_plain_result(record->op, record->len_bytes)
					 : -(int)draw_below(draw, 134);
	record->nr_hits = draw_below(draw, 3) ? 0 : (uint32_t)(1 + draw_below(draw, HITS_MAX));
	for (uint32_t i = 0; i < record->nr_hits; i++)
		hits[i] =
			(struct record_hit){ .rule = 1 + (uint32_t)draw_below(draw, 1u << 31),
					     .held = draw_below(draw, 2),
					     .match = draw_below(draw, RULE_MATCHES_MAX),
					     .delay_ns = draw_below(draw, KIND_DELAY_MAX_NS + 1) };
	record->hits = hits;
}

static void random_record(struct draw *draw, uint64_t step, struct record *record,
			  struct record_hit *hits)
{
	static const enum record_type types[] = { RECORD_REQUEST, RECORD_REQUEST, RECORD_REQUEST,
						  RECORD_REQUEST, RECORD_END,     RECORD_END,
						  RECORD_ADOPT,   RECORD_RULES,   RECORD_REVIVE,
						  RECORD_TELL };

	*record = (struct record){ .step = step };
	record->type = types[draw_below(draw, array_size(types))];
	record->time_ns = disk.start_ns + draw_below(draw, 1000) * draw_below(draw, 1u << 30);
	record->queue = (uint16_t)draw_below(draw, QUEUES);
	record->epoch = draw_bits(draw) >> draw_below(draw, 64);
	switch (record->type) {
	case RECORD_REQUEST:
		random_request(draw, record, hits);
		break;
	case RECORD_END:
		record->arrival = 1 + draw_below(draw, record->step - 1);
		record->released = draw_below(draw, 2);
		record->result = draw_below(draw, 2) ? -5 : 4096;
		break;
	case RECORD_RULES:
		record->nr_rules = (uint32_t)draw_below(draw, array_size(rules) + 1);
		record->rules = rules;
		break;
	case RECORD_TELL:
		record->rule = 3;
		record->has_range = draw_below(draw, 2);
		record->from = record->has_range ? 512 * draw_below(draw, 100) : 0;
		record->to = record->has_range ? record->from + 512 : disk.size_bytes;
		strcpy(record->verb, "remove");
		break;
	case RECORD_ADOPT:
	case RECORD_REVIVE:
	case RECORD_CLOSE:
		break;
	}
}

/* One stream's bytes that are no block yet. */
struct pending {
	struct record_stream stream;
	unsigned char bytes[8192];
	size_t len;
};

static void flush_block(struct file *file, uint16_t stream, struct pending *pending)
{
	if (!pending->len)
		return;
	record_put_block(file->bytes + file->size, stream, pending->bytes, pending->len, NULL, 0);
	file->size += RECORD_BLOCK_BYTES;
	memcpy(file->bytes + file->size, pending->bytes, pending->len);
	file->size += pending->len;
	pending->len = 0;
	assert_true(file->size < FILE_MAX_ - 16384);
}

static void put_record(struct pending *pending, const struct record *record)
{
	unsigned char *start = pending->bytes + pending->len, *to, *control;
	size_t len;

	if (record->type >= RECORD_RULES) {
		assert_int_equal(record_put_control(&pending->stream, record, &control, &len), 0);
		memcpy(start, control, len);
		free(control);
		pending->len += len;
		return;
	}
	to = record_put(start, &pending->stream, record);
	assert_true(to - start <= RECORD_REQUEST_MAX);
	for (uint32_t i = 0; i < record->nr_hits; i++) {
		start = to;
		to = record_put_hit(to, &record->hits[i]);
		assert_true(to - start <= RECORD_HIT_MAX);
	}
	pending->len = (size_t)(to - pending->bytes);
}

/* @nr random records, and a CLOSE. */
static struct file make_file(uint64_t seed, size_t nr)
{
	struct draw draw = { seed, 0 };
	struct pending *pending = calloc(QUEUES + 1, sizeof(*pending));
	struct file file = { .bytes = calloc(1, FILE_MAX_),
			     .size = RECORD_HEADER_BYTES,
			     .records = calloc(nr + 1, sizeof(*file.records)),
			     .hits = calloc(nr + 1, sizeof(*file.hits)),
			     .nr = nr + 1 };

	assert_true(pending && file.bytes && file.records && file.hits);
	record_put_header(file.bytes, &disk);
	for (uint16_t i = 0; i <= QUEUES; i++)
		pending[i].stream = record_stream_start(&disk);
	for (size_t i = 0; i <= nr; i++) {
		struct record *record = &file.records[i];
		uint16_t stream;

		if (i == nr)
			*record = (struct record){ .type = RECORD_CLOSE,
						   .step = nr + 1,
						   .time_ns = disk.start_ns,
						   .nr_requests = 9 };
		else
			do
				random_record(&draw, i + 1, record, file.hits[i]);
			while (record->type == RECORD_END && i == 0);
		stream = record->type >= RECORD_RULES ? QUEUES : record->queue;
		record->queue = stream;
		put_record(&pending[stream], record);
		/* Blocks end anywhere between two records. */
		if (pending[stream].len > 4000 || !draw_below(&draw, 6))
			flush_block(&file, stream, &pending[stream]);
	}
	for (uint16_t i = 0; i <= QUEUES; i++)
		flush_block(&file, i, &pending[i]);
	free(pending);
	return file;
}

static void free_file(struct file *file)
{
	free(file->bytes);
	free(file->records);
	free(file->hits);
}

static void same_hits(const struct record *a, const struct record *b)
{
	assert_int_equal(a->nr_hits, b->nr_hits);
	for (uint32_t i = 0; i < a->nr_hits; i++) {
		assert_int_equal(a->hits[i].rule, b->hits[i].rule);
		assert_int_equal(a->hits[i].held, b->hits[i].held);
		assert_int_equal(a->hits[i].match, b->hits[i].match);
		assert_int_equal(a->hits[i].delay_ns, b->hits[i].delay_ns);
	}
}

static void same_rules(const struct record *a, const struct record *b)
{
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->nr_rules, b->nr_rules);
	for (uint32_t i = 0; i < a->nr_rules; i++) {
		assert_int_equal(a->rules[i].rule, b->rules[i].rule);
		assert_int_equal(a->rules[i].fresh, b->rules[i].fresh);
		assert_int_equal(a->rules[i].enabled, b->rules[i].enabled);
		assert_int_equal(a->rules[i].len, b->rules[i].len);
		if (a->rules[i].len)
			assert_memory_equal(a->rules[i].text, b->rules[i].text, a->rules[i].len);
	}
}

static void same_record(const struct record *a, const struct record *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->step, b->step);
	assert_int_equal(a->queue, b->queue);
	if (a->type != RECORD_ADOPT)
		assert_int_equal(a->time_ns, b->time_ns);
	assert_int_equal(a->op, b->op);
	assert_int_equal(a->parked, b->parked);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->len_bytes, b->len_bytes);
	assert_int_equal(a->sector, b->sector);
	if (!a->parked)
		assert_int_equal(a->result, b->result);
	assert_int_equal(a->arrival, b->arrival);
	assert_int_equal(a->released, b->released);
	assert_int_equal(a->rule, b->rule);
	assert_string_equal(a->verb, b->verb);
	if (a->type == RECORD_TELL)
		assert_true(a->from == b->from && a->to == b->to && a->has_range == b->has_range);
	if (a->type == RECORD_ADOPT)
		assert_int_equal(a->epoch, b->epoch);
	if (a->type == RECORD_RULES)
		same_rules(a, b);
	same_hits(a, b);
}

/* Reads what is good, which must be the beginning of @file; returns how many records that is. */
static size_t read_file(const struct file *file, const unsigned char *bytes, size_t size,
			int *ret_end, struct diag *diag)
{
	struct record_reader *reader = NULL;
	struct record record;
	size_t nr = 0;
	int more;

	*ret_end = record_reader_open(bytes, size, diag, &reader);
	if (*ret_end)
		return 0;
	while ((more = record_reader_next(reader, &record)) == 1) {
		assert_true(nr < file->nr);
		same_record(&file->records[nr], &record);
		nr++;
	}
	assert_int_equal(more, 0);
	*ret_end = record_reader_end(reader, diag);
	record_reader_free(reader);
	return nr;
}

static void what_is_written_is_read(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct file file = make_file(seed, 1 + seed * 20);
		struct diag diag = { 0 };
		int end;

		assert_int_equal(read_file(&file, file.bytes, file.size, &end, &diag), file.nr);
		assert_int_equal(end, 0);
		free_file(&file);
	}
}

static void the_header_comes_back(void **state)
{
	struct file file = make_file(1, 1);
	struct record_reader *reader;

	(void)state;
	assert_int_equal(record_reader_open(file.bytes, file.size, NULL, &reader), 0);
	assert_memory_equal(record_reader_header(reader), &disk, sizeof(disk));
	record_reader_free(reader);
	free_file(&file);
}

/* In memory of its own size, so that a sanitizer sees a byte too many. */
static void check_damage(const struct file *file, const unsigned char *bytes, size_t size,
			 size_t at)
{
	unsigned char *exact = malloc(size ? size : 1);
	struct diag diag = { 0 };
	int end;

	memcpy(exact, bytes, size);
	read_file(file, exact, size, &end, &diag);
	if (end == 0)
		fail_msg("damage at byte %zu of %zu was not seen", at, size);
	assert_true(diag.message[0] && diag.id[0]);
	free(exact);
}

static void damage_of_any_byte_is_seen_and_what_is_before_it_is_good(void **state)
{
	static const unsigned char bits[] = { 1, 0x80, 0xff };
	struct file file = make_file(3, 120);

	(void)state;
	for (size_t at = 0; at < file.size; at++)
		for (size_t i = 0; i < sizeof(bits); i++) {
			file.bytes[at] ^= bits[i];
			check_damage(&file, file.bytes, file.size, at);
			file.bytes[at] ^= bits[i];
		}
	free_file(&file);
}

static void a_cut_at_any_byte_is_seen_and_what_is_before_it_is_good(void **state)
{
	struct file file = make_file(4, 120);

	(void)state;
	for (size_t size = 0; size < file.size; size++)
		check_damage(&file, file.bytes, size, size);
	free_file(&file);
}

static void damage_is_described(void **state)
{
	struct file file = make_file(5, 50);
	struct diag diag = { 0 };
	char says[64];
	size_t nr;
	int end;

	(void)state;
	nr = read_file(&file, file.bytes, file.size - 1, &end, &diag);
	assert_int_equal(end, -EBADMSG);
	assert_non_null(strstr(diag.message, "a block is cut off"));
	snprintf(says, sizeof(says), "good up to record %zu", nr);
	assert_non_null(strstr(diag.message, says));
	file.bytes[9] = 9;
	read_file(&file, file.bytes, file.size, &end, &diag);
	assert_int_equal(end, -EINVAL);
	assert_non_null(strstr(diag.message, "this program reads version 1"));
	free_file(&file);
}

static void bytes_after_the_end_are_seen(void **state)
{
	struct file file = make_file(6, 50);
	struct diag diag = { 0 };
	int end;

	(void)state;
	memset(file.bytes + file.size, 0, 100);
	read_file(&file, file.bytes, file.size + 100, &end, &diag);
	assert_int_equal(end, -EBADMSG);
	free_file(&file);
}

/* A header that no disk can have, with a checksum that is right. */
static void refuses_header(struct record_header header)
{
	unsigned char bytes[RECORD_HEADER_BYTES];
	struct record_reader *reader;
	struct diag diag = { 0 };

	record_put_header(bytes, &header);
	assert_int_equal(record_reader_open(bytes, sizeof(bytes), &diag, &reader), -EINVAL);
	assert_string_equal(diag.id, "record.header");
}

static void headers_that_make_no_sense_are_refused(void **state)
{
	struct record_header h;

	(void)state;
#define REFUSES(change) (h = disk, h.change, refuses_header(h))
	REFUSES(nr_queues = 0);
	REFUSES(nr_queues = RECORD_QUEUES_MAX + 1);
	REFUSES(size_bytes = 0);
	REFUSES(size_bytes = 513);
	REFUSES(size_bytes = UINT64_MAX - 511);
	REFUSES(block_bytes = 0);
	REFUSES(block_bytes = 256);
	REFUSES(block_bytes = 513);
	REFUSES(physical_bytes = 0);
	REFUSES(max_io_bytes = 0);
	REFUSES(max_io_bytes = RECORD_IO_MAX + 512);
	REFUSES(depth = 0);
	REFUSES(flags = 1u << 31);
#undef REFUSES
}

/* One request with a right checksum; is it taken? */
static bool takes(const struct record *record)
{
	struct pending pending = { .stream = record_stream_start(&disk) };
	unsigned char bytes[4096];
	struct file file = { .bytes = bytes, .size = RECORD_HEADER_BYTES };
	struct record_reader *reader;
	struct record back;
	int more;

	record_put_header(bytes, &disk);
	put_record(&pending, record);
	record_put_block(bytes + file.size, 0, pending.bytes, pending.len, NULL, 0);
	memcpy(bytes + file.size + RECORD_BLOCK_BYTES, pending.bytes, pending.len);
	file.size += RECORD_BLOCK_BYTES + pending.len;
	assert_int_equal(record_reader_open(bytes, file.size, NULL, &reader), 0);
	more = record_reader_next(reader, &back);
	if (more != 1)
		assert_int_equal(record_reader_end(reader, NULL), -EBADMSG);
	record_reader_free(reader);
	return more == 1;
}

static void requests_that_the_disk_cannot_have_had_are_refused(void **state)
{
	const struct record good = {
		.step = 1, .op = IO_READ, .sector = 8, .len_bytes = 4096, .result = 4096
	};
	const uint64_t nr_sectors = disk.size_bytes / SEC;
	struct record_hit hit = { .rule = 1 };
	struct record r;

	(void)state;
	assert_true(takes(&good));
#define REFUSES(change) (r = good, r.change, assert_false(takes(&r)))
	REFUSES(sector = nr_sectors);
	REFUSES(sector = nr_sectors - 7);
	REFUSES(sector = UINT64_MAX);
	REFUSES(len_bytes = 0);
	REFUSES(len_bytes = disk.max_io_bytes + 512);
	REFUSES(result = -5000);
	REFUSES(flags = 1u << 30);
#undef REFUSES
	r = good;
	r.nr_hits = 1;
	r.hits = &hit;
	assert_true(takes(&r));
	hit.rule = 0;
	assert_false(takes(&r));
	hit = (struct record_hit){ .rule = 1, .match = RULE_MATCHES_MAX };
	assert_false(takes(&r));
	hit = (struct record_hit){ .rule = 1, .delay_ns = KIND_DELAY_MAX_NS + 1 };
	assert_false(takes(&r));
}

static void a_plain_4k_request_takes_at_most_16_bytes(void **state)
{
	struct record_stream stream = record_stream_start(&disk);
	struct draw draw = { 9, 0 };
	size_t total = 0;
	uint64_t now_ns = disk.start_ns;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		unsigned char bytes[RECORD_REQUEST_MAX];
		const struct record record = {
			.step = 2 * (i + 1),
			.time_ns = now_ns += draw_below(&draw, 100000),
			.op = IO_WRITE,
			.sector = draw_below(&draw, 1ull << 31) & ~7ull, /* of a disk of 1T */
			.len_bytes = 4096,
			.result = 4096,
		};
		size_t len = (size_t)(record_put(bytes, &stream, &record) - bytes);

		assert_true(len <= 16);
		total += len;
	}
	print_message("%zu bytes each\n", total / 10000);
}

static void the_checksum_is_crc_32c(void **state)
{
	(void)state;
	assert_int_equal(record_crc(0, "123456789", 9), 0xe3069283);
	assert_int_equal(record_crc(record_crc(0, "1234", 4), "56789", 5), 0xe3069283);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(the_header_comes_back),
		cmocka_unit_test(damage_of_any_byte_is_seen_and_what_is_before_it_is_good),
		cmocka_unit_test(a_cut_at_any_byte_is_seen_and_what_is_before_it_is_good),
		cmocka_unit_test(damage_is_described),
		cmocka_unit_test(bytes_after_the_end_are_seen),
		cmocka_unit_test(headers_that_make_no_sense_are_refused),
		cmocka_unit_test(requests_that_the_disk_cannot_have_had_are_refused),
		cmocka_unit_test(a_plain_4k_request_takes_at_most_16_bytes),
		cmocka_unit_test(the_checksum_is_crc_32c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
