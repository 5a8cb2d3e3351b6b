// SPDX-License-Identifier: MIT
/* The record file: what is written is read, and damage is seen wherever it is. */
#include "faults/journal/read.h"
#include "faults/record/record.h"
#include "tests/unit/check.h"

#include <errno.h>

#define FILE_MAX_ (2u << 20)
#define HITS_MAX  5
#define DISKS     2

static const struct record_header header = { .id = 77,
					     .start_ns = 1000000000000,
					     .version = RECORD_VERSION };
static const struct record_header data_header = {
	.id = 78, .start_ns = 1000000000000, .flags = RECORD_DATA, .version = RECORD_VERSION
};

static const struct record_disk disks[DISKS] = {
	{ .name = "data",
	  .size_bytes = 64 << 20,
	  .seed = 0xfedcba9876543210,
	  .start_ns = 1000000000001,
	  .block_bytes = 512,
	  .physical_bytes = 4096,
	  .max_io_bytes = 512 << 10,
	  .depth = 128,
	  .flags = RECORD_CACHE | RECORD_NO_FUA,
	  .nr_queues = 3 },
	{ .name = "log-1",
	  .size_bytes = 1 << 20,
	  .seed = 3,
	  .start_ns = 1000000000002,
	  .block_bytes = 4096,
	  .physical_bytes = 4096,
	  .max_io_bytes = 64 << 10,
	  .depth = 1,
	  .nr_queues = 1 },
};

/* What writes bring: any place in it. */
static unsigned char content[64 << 10];

/* A file made in memory: records, and the bytes that they became. */
struct file {
	bool data;
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

/* Data, zeroes, or none to be had. */
static void random_content(struct draw *draw, struct record *record)
{
	uint64_t which = draw_below(draw, 4);

	record->no_data = which == 0;
	if (which > 1)
		record->data = content + draw_below(draw, sizeof(content) - record->len_bytes + 1);
}

static void random_request(struct draw *draw, const struct record_disk *disk, bool data,
			   struct record *record, struct record_hit *hits)
{
	uint64_t max = disk->max_io_bytes < sizeof(content) ? disk->max_io_bytes : sizeof(content);

	record->op = (uint8_t)draw_below(draw, IO_NR_OPS);
	record->parked = !draw_below(draw, 3);
	if (record->op != IO_FLUSH) {
		record->len_bytes =
			(uint32_t)(1 + draw_below(draw, draw_below(draw, 9) ? 8 : max / SEC)) * SEC;
		record->sector = draw_below(draw, (disk->size_bytes - record->len_bytes) / SEC + 1);
	}
	if (data && record->op == IO_WRITE)
		random_content(draw, record);
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
	record->unreached =
		!record->parked && !record->nr_hits && record->result < 0 && draw_below(draw, 2);
	record->refused = !record->parked && !record->unreached && !draw_below(draw, 3);
}

static void random_base(struct draw *draw, const struct record_disk *disk, struct record *record)
{
	record->len_bytes = (uint32_t)(1 + draw_below(draw, 16)) * SEC;
	record->from = draw_below(draw, (disk->size_bytes - record->len_bytes) / SEC) * SEC;
	record->to = record->from + record->len_bytes;
	if (draw_below(draw, 2))
		record->data = content + draw_below(draw, 1000);
}

static void random_tell(struct draw *draw, const struct record_disk *disk, struct record *record)
{
	record->rule = 3;
	record->has_range = draw_below(draw, 2);
	record->from = record->has_range ? 512 * draw_below(draw, 100) : 0;
	record->to = record->has_range ? record->from + 512 : disk->size_bytes;
	strcpy(record->verb, "remove");
}

static void random_record(struct draw *draw, bool data, uint64_t step, struct record *record,
			  struct record_hit *hits)
{
	static const enum record_type types[] = {
		RECORD_REQUEST, RECORD_REQUEST, RECORD_REQUEST, RECORD_REQUEST, RECORD_END,
		RECORD_END,     RECORD_ADOPT,   RECORD_RULES,   RECORD_REVIVE,  RECORD_TELL,
		RECORD_MARK,    RECORD_BATCH,   RECORD_BASE,
	};
	const struct record_disk *disk;

	*record = (struct record){ .step = step, .disk = (uint16_t)draw_below(draw, DISKS) };
	disk = &disks[record->disk];
	/* The last two are only in files with data. */
	record->type = types[draw_below(draw, array_size(types) - (data ? 0 : 2))];
	record->time_ns = header.start_ns + draw_below(draw, 1000) * draw_below(draw, 1u << 30);
	record->queue = (uint16_t)draw_below(draw, disk->nr_queues);
	record->epoch = draw_bits(draw) >> draw_below(draw, 64);
	switch (record->type) {
	case RECORD_REQUEST:
		random_request(draw, disk, data, record, hits);
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
		random_tell(draw, disk, record);
		break;
	case RECORD_BASE:
		random_base(draw, disk, record);
		break;
	case RECORD_MARK:
		record->mark = step;
		record->text = "committed \xc3\xa9 12";
		record->text_len = strlen(record->text);
		break;
	case RECORD_REVIVE:
		record->after_cut = step & 1;
		break;
	case RECORD_ADOPT:
	case RECORD_BATCH:
	case RECORD_CLOSE:
		break;
	}
	if (record->type >= RECORD_RULES)
		record->queue = RECORD_CONTROL;
	if (record->type >= RECORD_MARK)
		record->disk = RECORD_NOBODY;
}

/* One queue's bytes that are no block yet. */
struct pending {
	struct record_stream stream;
	unsigned char bytes[128 << 10];
	size_t len;
};

static void append_block(struct file *file, uint16_t disk, uint16_t queue, const void *bytes,
			 size_t len)
{
	assert_true(file->size + RECORD_BLOCK_BYTES + len < FILE_MAX_);
	record_put_block(file->bytes + file->size, disk, queue, bytes, len, NULL, 0);
	file->size += RECORD_BLOCK_BYTES;
	memcpy(file->bytes + file->size, bytes, len);
	file->size += len;
}

static void flush_block(struct file *file, uint16_t disk, uint16_t queue, struct pending *pending)
{
	if (pending->len)
		append_block(file, disk, queue, pending->bytes, pending->len);
	pending->len = 0;
}

static void append_disk(struct file *file, uint16_t index, const struct record_disk *disk)
{
	unsigned char bytes[RECORD_DISK_BYTES];

	record_put_disk(bytes, disk);
	append_block(file, index, RECORD_IS_DISK, bytes, sizeof(bytes));
}

static void put_control(struct file *file, const struct record *record)
{
	unsigned char *bytes, *whole;
	size_t len, data_len = record->data ? record->len_bytes : 0;

	assert_int_equal(
		record_put_control(file->data ? &data_header : &header, record, &bytes, &len), 0);
	whole = realloc(bytes, len + data_len);
	if (data_len)
		memcpy(whole + len, record->data, data_len);
	append_block(file, record->disk, RECORD_CONTROL, whole, len + data_len);
	free(whole);
}

static void put_record(struct pending *pending, const struct record *record)
{
	unsigned char *start = pending->bytes + pending->len, *to;

	to = record_put(start, &pending->stream, record);
	assert_true(to - start <= RECORD_REQUEST_MAX);
	for (uint32_t i = 0; i < record->nr_hits; i++) {
		start = to;
		to = record_put_hit(to, &record->hits[i]);
		assert_true(to - start <= RECORD_HIT_MAX);
	}
	if (record->data) {
		memcpy(to, record->data, record->len_bytes);
		to += record->len_bytes;
	}
	pending->len = (size_t)(to - pending->bytes);
}

#define PENDING 4 /* queues of all disks */

static size_t pending_of(uint16_t disk, uint16_t queue)
{
	return disk * 3u + queue;
}

static struct file new_file(bool data, size_t nr)
{
	struct file file = { .data = data,
			     .bytes = calloc(1, FILE_MAX_),
			     .size = RECORD_HEADER_BYTES,
			     .records = calloc(nr, sizeof(*file.records)),
			     .hits = calloc(nr, sizeof(*file.hits)),
			     .nr = nr };

	assert_true(file.bytes && file.records && file.hits);
	record_put_header(file.bytes, data ? &data_header : &header);
	for (uint16_t i = 0; i < DISKS; i++)
		append_disk(&file, i, &disks[i]);
	return file;
}

/* @nr random records, and a CLOSE. Blocks end anywhere between two records. */
static struct file make_file(uint64_t seed, size_t nr, bool data)
{
	struct draw draw = { seed, 0 };
	struct pending *pending = calloc(PENDING, sizeof(*pending));
	struct file file = new_file(data, nr + 1);

	assert_non_null(pending);
	for (uint16_t i = 0; i < PENDING; i++)
		pending[i].stream = record_stream_start(data ? &data_header : &header);
	for (size_t i = 0; i < nr; i++) {
		struct record *record = &file.records[i];
		struct pending *of;

		do
			random_record(&draw, data, i + 1, record, file.hits[i]);
		while (record->type == RECORD_END && i == 0);
		if (record->type >= RECORD_RULES) {
			put_control(&file, record);
			continue;
		}
		of = &pending[pending_of(record->disk, record->queue)];
		put_record(of, record);
		if (of->len > 4000 || !draw_below(&draw, 6))
			flush_block(&file, record->disk, record->queue, of);
	}
	for (uint16_t disk = 0; disk < DISKS; disk++)
		for (uint16_t queue = 0; queue < disks[disk].nr_queues; queue++)
			flush_block(&file, disk, queue, &pending[pending_of(disk, queue)]);
	file.records[nr] = (struct record){ .type = RECORD_CLOSE,
					    .disk = RECORD_NOBODY,
					    .queue = RECORD_CONTROL,
					    .step = nr + 1,
					    .time_ns = header.start_ns,
					    .why = RECORD_WHY_LIMIT,
					    .nr_requests = 9 };
	put_control(&file, &file.records[nr]);
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

static void same_data(const struct record *a, const struct record *b)
{
	assert_int_equal(a->no_data, b->no_data);
	assert_int_equal(!a->data, !b->data);
	if (a->data)
		assert_memory_equal(a->data, b->data, a->len_bytes);
}

static void same_mark(const struct record *a, const struct record *b)
{
	assert_int_equal(a->mark, b->mark);
	assert_int_equal(a->text_len, b->text_len);
	if (a->text)
		assert_memory_equal(a->text, b->text, a->text_len);
}

static void same_record(const struct record *a, const struct record *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->step, b->step);
	assert_int_equal(a->disk, b->disk);
	assert_int_equal(a->queue, b->queue);
	if (a->type != RECORD_ADOPT && a->type != RECORD_BATCH)
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
	assert_true(a->after_cut == b->after_cut);
	if (a->type == RECORD_TELL || a->type == RECORD_BASE)
		assert_true(a->from == b->from && a->to == b->to && a->has_range == b->has_range);
	if (a->type == RECORD_ADOPT)
		assert_int_equal(a->epoch, b->epoch);
	if (a->type == RECORD_RULES)
		same_rules(a, b);
	if (a->type == RECORD_CLOSE)
		assert_true(a->why == b->why && a->nr_requests == b->nr_requests);
	same_hits(a, b);
	same_data(a, b);
	same_mark(a, b);
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
		struct file file = make_file(seed, 1 + seed * 20, seed % 2);
		struct diag diag = { 0 };
		int end;

		assert_int_equal(read_file(&file, file.bytes, file.size, &end, &diag), file.nr);
		assert_int_equal(end, 0);
		free_file(&file);
	}
}

static void the_data_of_a_write_is_a_pointer_into_the_file(void **state)
{
	struct file file = make_file(7, 200, true);
	struct record_reader *reader;
	struct record record;
	size_t nr = 0;

	(void)state;
	assert_int_equal(record_reader_open(file.bytes, file.size, NULL, &reader), 0);
	while (record_reader_next(reader, &record) == 1) {
		if (!record.data)
			continue;
		nr++;
		assert_true(record.data > file.bytes &&
			    record.data + record.len_bytes <= file.bytes + file.size);
	}
	assert_true(nr > 10);
	record_reader_free(reader);
	free_file(&file);
}

static void same_disk(const struct record_disk *one, const struct record_disk *two)
{
	assert_string_equal(one->name, two->name);
	assert_int_equal(one->size_bytes, two->size_bytes);
	assert_int_equal(one->seed, two->seed);
	assert_int_equal(one->start_ns, two->start_ns);
	assert_int_equal(one->block_bytes, two->block_bytes);
	assert_int_equal(one->physical_bytes, two->physical_bytes);
	assert_int_equal(one->max_io_bytes, two->max_io_bytes);
	assert_int_equal(one->depth, two->depth);
	assert_int_equal(one->flags, two->flags);
	assert_int_equal(one->cache_unit_bytes, two->cache_unit_bytes);
	assert_int_equal(one->nr_queues, two->nr_queues);
}

static void the_header_and_the_disks_come_back(void **state)
{
	struct file file = make_file(1, 1, true);
	struct record_reader *reader;

	(void)state;
	assert_int_equal(record_reader_open(file.bytes, file.size, NULL, &reader), 0);
	assert_memory_equal(record_reader_header(reader), &data_header, sizeof(data_header));
	assert_int_equal(record_reader_nr_disks(reader), DISKS);
	for (uint16_t i = 0; i < DISKS; i++)
		same_disk(record_reader_disk(reader, i), &disks[i]);
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
	struct file file = make_file(3, 30, true);

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
	struct file file = make_file(4, 30, true);

	(void)state;
	for (size_t size = 0; size < file.size; size++)
		check_damage(&file, file.bytes, size, size);
	free_file(&file);
}

static void damage_is_described(void **state)
{
	struct file file = make_file(5, 50, false);
	struct diag diag = { 0 };
	char says[64];
	size_t nr;
	int end;

	(void)state;
	nr = read_file(&file, file.bytes, file.size - 1, &end, &diag);
	assert_int_equal(end, -EBADMSG);
	assert_non_null(strstr(diag.message, "a block is cut off"));
	snprintf(says, sizeof(says), "records up to %zu are valid", nr);
	assert_non_null(strstr(diag.message, says));
	file.bytes[9] = 9;
	read_file(&file, file.bytes, file.size, &end, &diag);
	assert_int_equal(end, -EINVAL);
	assert_non_null(strstr(diag.message, "this program reads versions 2 to 3"));
	file.bytes[8] = 1;
	file.bytes[9] = 0;
	read_file(&file, file.bytes, file.size, &end, &diag);
	assert_int_equal(end, -EINVAL);
	assert_non_null(strstr(diag.message, "the record file has version 1"));
	assert_non_null(strstr(diag.hint, "record it again"));
	free_file(&file);
}

static void bytes_after_the_end_are_seen(void **state)
{
	struct file file = make_file(6, 50, true);
	struct diag diag = { 0 };
	int end;

	(void)state;
	memset(file.bytes + file.size, 0, 100);
	read_file(&file, file.bytes, file.size + 100, &end, &diag);
	assert_int_equal(end, -EBADMSG);
	free_file(&file);
}

/* A disk that cannot be, with a checksum that is right. */
static void refuses_disk(struct record_disk disk, const char *words)
{
	unsigned char bytes[1024];
	struct file file = { .bytes = bytes, .size = RECORD_HEADER_BYTES };
	struct record_reader *reader;
	struct diag diag = { 0 };
	struct record record;

	record_put_header(bytes, &header);
	append_disk(&file, 0, &disk);
	assert_int_equal(record_reader_open(bytes, file.size, &diag, &reader), 0);
	assert_int_equal(record_reader_nr_disks(reader), 0);
	assert_int_equal(record_reader_next(reader, &record), 0);
	assert_int_equal(record_reader_end(reader, &diag), -EBADMSG);
	assert_non_null(strstr(diag.message, words));
	record_reader_free(reader);
}

static void disks_that_make_no_sense_are_refused(void **state)
{
	struct record_disk d;

	(void)state;
#define REFUSES(change) (d = disks[0], d.change, refuses_disk(d, "describes an impossible disk"))
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

/* They become paths: of images, for one. */
static void names_of_disks_that_could_leave_their_folder_are_refused(void **state)
{
	static const char *const names[] = { "",    ".",      "..",    "../../tmp/evil", "/etc/x",
					     "a/b", "a/../b", "/../x", ".hidden",        "-rf",
					     "a b", "a\nb",   "a\\b",  "\xc3\xa4",       "a;b" };
	struct record_disk disk = disks[0];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		memset(disk.name, 0, sizeof(disk.name));
		memcpy(disk.name, names[i], strlen(names[i]));
		assert_string_equal(record_disk_fault(&disk), "its name");
		refuses_disk(disk, "describes a disk with an invalid name");
	}
}

static void a_journal_of_a_disk_without_a_name_says_so(void **state)
{
	unsigned char bytes[1024];
	struct file file = { .bytes = bytes, .size = RECORD_HEADER_BYTES };
	const struct record_header with_data = { .id = 1, .flags = RECORD_DATA };
	struct record_disk disk = disks[0];
	struct journal *journal;
	struct diag diag = { 0 };

	(void)state;
	strcpy(disk.name, "../x");
	record_put_header(bytes, &with_data);
	append_disk(&file, 0, &disk);
	assert_int_equal(journal_from_record(bytes, file.size, &diag, &journal), -EINVAL);
	assert_non_null(strstr(diag.message, "describes a disk with an invalid name"));
}

static void two_disks_of_one_name_are_refused(void **state)
{
	unsigned char bytes[1024];
	struct file file = { .bytes = bytes, .size = RECORD_HEADER_BYTES };
	struct record_reader *reader;
	struct diag diag = { 0 };
	struct record record;

	(void)state;
	record_put_header(bytes, &header);
	append_disk(&file, 0, &disks[0]);
	append_disk(&file, 1, &disks[0]);
	assert_int_equal(record_reader_open(bytes, file.size, &diag, &reader), 0);
	assert_int_equal(record_reader_nr_disks(reader), 1);
	assert_int_equal(record_reader_next(reader, &record), 0);
	assert_int_equal(record_reader_end(reader, &diag), -EBADMSG);
	assert_non_null(strstr(diag.message, "two disks have one name"));
	record_reader_free(reader);
}

static void flags_of_the_file_that_are_not_known_are_refused(void **state)
{
	const struct record_header odd = { .flags = 2 };
	unsigned char bytes[RECORD_HEADER_BYTES];
	struct record_reader *reader;
	struct diag diag = { 0 };

	(void)state;
	record_put_header(bytes, &odd);
	assert_int_equal(record_reader_open(bytes, sizeof(bytes), &diag, &reader), -EINVAL);
	assert_string_equal(diag.id, "record.header");
}

/* How far a file of one disk and one block is good, whose header says what it may not say. */
static void blocks_of_streams_that_are_not_there_are_refused(void **state)
{
	static const struct {
		uint16_t disk, queue;
	} cases[] = { { 0, 3 },
		      { 1, 0 },
		      { 1, RECORD_CONTROL },
		      { RECORD_NOBODY, 0 },
		      { 0, RECORD_IS_DISK },
		      { 2, RECORD_IS_DISK } };

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		unsigned char bytes[1024];
		struct file file = { .bytes = bytes, .size = RECORD_HEADER_BYTES };
		struct record_reader *reader;
		struct diag diag = { 0 };

		record_put_header(bytes, &header);
		append_disk(&file, 0, &disks[0]);
		append_block(&file, cases[i].disk, cases[i].queue, "\2\0", 2);
		assert_int_equal(record_reader_open(bytes, file.size, &diag, &reader), 0);
		assert_int_equal(record_reader_end(reader, &diag), -EBADMSG);
		record_reader_free(reader);
	}
}

/* One record in a block that is @cut bytes shorter, with a right checksum; is it taken? */
static bool takes_cut(const struct record *record, size_t cut)
{
	struct pending *pending = calloc(1, sizeof(*pending));
	unsigned char *bytes = malloc(64 << 10);
	struct file file = { .data = true, .bytes = bytes, .size = RECORD_HEADER_BYTES };
	struct record_reader *reader;
	struct record back;
	int more;

	pending->stream = record_stream_start(&data_header);
	record_put_header(bytes, &data_header);
	append_disk(&file, 0, &disks[0]);
	if (record->type >= RECORD_RULES) {
		put_control(&file, record);
	} else {
		put_record(pending, record);
		append_block(&file, 0, 0, pending->bytes, pending->len - cut);
	}
	assert_int_equal(record_reader_open(bytes, file.size, NULL, &reader), 0);
	more = record_reader_next(reader, &back);
	if (more != 1)
		assert_int_equal(record_reader_end(reader, NULL), -EBADMSG);
	record_reader_free(reader);
	free(pending);
	free(bytes);
	return more == 1;
}

static bool takes(const struct record *record)
{
	return takes_cut(record, 0);
}

static void a_write_whose_data_is_not_all_in_its_block_is_refused(void **state)
{
	const struct record write = {
		.step = 1, .op = IO_WRITE, .len_bytes = 4096, .result = 4096, .data = content
	};

	(void)state;
	assert_true(takes_cut(&write, 0));
	assert_false(takes_cut(&write, 1));
	assert_false(takes_cut(&write, 4096));
	assert_false(takes_cut(&write, 4097));
}

static void requests_that_the_disk_cannot_have_had_are_refused(void **state)
{
	const struct record good = {
		.step = 1, .op = IO_READ, .sector = 8, .len_bytes = 4096, .result = 4096
	};
	const uint64_t nr_sectors = disks[0].size_bytes / SEC;
	struct record_hit hit = { .rule = 1 };
	struct record r;

	(void)state;
	assert_true(takes(&good));
#define REFUSES(change) (r = good, r.change, assert_false(takes(&r)))
	REFUSES(sector = nr_sectors);
	REFUSES(sector = nr_sectors - 7);
	REFUSES(sector = UINT64_MAX);
	REFUSES(len_bytes = 0);
	REFUSES(len_bytes = disks[0].max_io_bytes + 512);
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

static void base_and_marks_that_cannot_be_are_refused(void **state)
{
	const struct record base = {
		.type = RECORD_BASE, .step = 1, .from = 512, .len_bytes = SEC
	};
	const struct record mark = { .type = RECORD_MARK,
				     .step = 1,
				     .disk = RECORD_NOBODY,
				     .mark = 1,
				     .text = "x",
				     .text_len = 1 };
	struct record r;

	(void)state;
	assert_true(takes(&base));
	assert_true(takes(&mark));
#define REFUSES(of, change) (r = of, r.change, assert_false(takes(&r)))
	REFUSES(base, from = disks[0].size_bytes);
	REFUSES(base, len_bytes = 0);
	REFUSES(base, len_bytes = RECORD_BASE_MAX + SEC);
	REFUSES(base, no_data = true);
	REFUSES(base, disk = RECORD_NOBODY);
	REFUSES(mark, mark = 0);
	REFUSES(mark, text = "\n");
	REFUSES(mark, text = "\xff");
	REFUSES(mark, text_len = 0);
	REFUSES(mark, disk = 0);
#undef REFUSES
}

static void a_mark_is_one_line_of_utf_8(void **state)
{
	static const char *const good[] = {
		"a", "commit 17", "\xc2\xa0", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "~"
	};
	static const char *const bad[] = { "\n",           "a\tb",
					   "\x7f",         "\xc2\x80",
					   "\xc0\x80",     "\xe2\x82",
					   "\xed\xa0\x80", "\xf4\x90\x80\x80",
					   "\x80",         "\xf8\x88\x80\x80\x80" };
	char *longest = malloc(RECORD_MARK_MAX + 1);
	struct diag diag = { 0 };

	(void)state;
	for (size_t i = 0; i < array_size(good); i++)
		assert_int_equal(record_check_mark(good[i], strlen(good[i]), NULL), 0);
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(record_check_mark(bad[i], strlen(bad[i]), &diag), -EINVAL);
	assert_string_equal(diag.id, "mark.text");
	memset(longest, 'x', RECORD_MARK_MAX + 1);
	assert_int_equal(record_check_mark(longest, RECORD_MARK_MAX, NULL), 0);
	assert_int_equal(record_check_mark(longest, RECORD_MARK_MAX + 1, &diag), -EINVAL);
	assert_string_equal(diag.id, "mark.length");
	assert_int_equal(record_check_mark("", 0, NULL), -EINVAL);
	free(longest);
}

static void a_plain_4k_request_takes_at_most_16_bytes(void **state)
{
	struct record_stream stream = record_stream_start(&header);
	struct draw draw = { 9, 0 };
	size_t total = 0;
	uint64_t now_ns = header.start_ns;

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

static void the_checksum_is_the_same_with_and_without_the_instruction(void **state)
{
	struct draw draw = { 4, 0 };

	(void)state;
	assert_int_equal(record_crc_portable(0, "123456789", 9), 0xe3069283);
	for (int i = 0; i < 2000; i++) {
		size_t at = draw_below(&draw, 100), len = draw_below(&draw, i % 2 ? 40 : 9000);
		uint32_t from = (uint32_t)draw_bits(&draw);

		assert_int_equal(record_crc(from, content + at, len),
				 record_crc_portable(from, content + at, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(the_data_of_a_write_is_a_pointer_into_the_file),
		cmocka_unit_test(the_header_and_the_disks_come_back),
		cmocka_unit_test(damage_of_any_byte_is_seen_and_what_is_before_it_is_good),
		cmocka_unit_test(a_cut_at_any_byte_is_seen_and_what_is_before_it_is_good),
		cmocka_unit_test(damage_is_described),
		cmocka_unit_test(bytes_after_the_end_are_seen),
		cmocka_unit_test(disks_that_make_no_sense_are_refused),
		cmocka_unit_test(names_of_disks_that_could_leave_their_folder_are_refused),
		cmocka_unit_test(a_journal_of_a_disk_without_a_name_says_so),
		cmocka_unit_test(two_disks_of_one_name_are_refused),
		cmocka_unit_test(flags_of_the_file_that_are_not_known_are_refused),
		cmocka_unit_test(blocks_of_streams_that_are_not_there_are_refused),
		cmocka_unit_test(requests_that_the_disk_cannot_have_had_are_refused),
		cmocka_unit_test(a_write_whose_data_is_not_all_in_its_block_is_refused),
		cmocka_unit_test(base_and_marks_that_cannot_be_are_refused),
		cmocka_unit_test(a_mark_is_one_line_of_utf_8),
		cmocka_unit_test(a_plain_4k_request_takes_at_most_16_bytes),
		cmocka_unit_test(the_checksum_is_crc_32c),
		cmocka_unit_test(the_checksum_is_the_same_with_and_without_the_instruction),
	};
	struct draw draw = { 1, 0 };

	for (size_t i = 0; i < sizeof(content); i += 8)
		memcpy(content + i, &(uint64_t){ draw_bits(&draw) }, 8);

	return cmocka_run_group_tests(tests, NULL, NULL);
}
