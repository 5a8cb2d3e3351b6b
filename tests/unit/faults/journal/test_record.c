// SPDX-License-Identifier: MIT
/* Recordings made by hand and by journal_save(), read as journals. */
#include "tests/unit/check.h"

#include "faults/journal/read.h"
#include "faults/journal/save.h"
#include "faults/record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

/* ------------------------------------------------------------------------------ by hand */

static unsigned char data[4096];

struct file {
	FILE *out;
	char *bytes;
	size_t len;
	struct record_header header;
	struct record_stream streams[2]; /* of the queues of disk 0 */
	uint64_t step;
	bool old; /* version 2 */
};

static void put_block(struct file *file, uint16_t disk, uint16_t queue, const void *a, size_t a_len,
		      const void *b, size_t b_len)
{
	unsigned char head[RECORD_BLOCK_BYTES];

	record_put_block(head, disk, queue, a, a_len, b, b_len);
	fwrite(head, 1, sizeof(head), file->out);
	fwrite(a, 1, a_len, file->out);
	if (b_len)
		fwrite(b, 1, b_len, file->out);
}

static void begin(struct file *file, uint32_t flags, bool cache)
{
	const struct record_disk disk = { .name = "sda",
					  .size_bytes = 1 << 20,
					  .start_ns = 1000,
					  .block_bytes = 512,
					  .physical_bytes = 512,
					  .max_io_bytes = 1 << 20,
					  .depth = 3,
					  .flags = cache ? RECORD_CACHE : 0,
					  .nr_queues = 2 };
	unsigned char bytes[RECORD_DISK_BYTES], header[RECORD_HEADER_BYTES];

	*file = (struct file){ .header = { .id = 7, .start_ns = 1000, .flags = flags } };
	file->out = open_memstream(&file->bytes, &file->len);
	assert_non_null(file->out);
	record_put_header(header, &file->header);
	fwrite(header, 1, sizeof(header), file->out);
	record_put_disk(bytes, &disk);
	put_block(file, 0, RECORD_IS_DISK, bytes, sizeof(bytes), NULL, 0);
	for (int i = 0; i < 2; i++)
		file->streams[i] = record_stream_start(&file->header);
}

static uint64_t put_queue(struct file *file, struct record record)
{
	unsigned char bytes[128], *end;
	bool has_data = record.type == RECORD_REQUEST && record.op == IO_WRITE && record.data;

	record.step = ++file->step;
	record.time_ns = 1000 + 10 * record.step;
	end = record_put(bytes, &file->streams[record.queue], &record);
	for (uint32_t i = 0; record.type == RECORD_REQUEST && i < record.nr_hits; i++)
		end = record_put_hit(end, &record.hits[i]);
	put_block(file, 0, record.queue, bytes, (size_t)(end - bytes), record.data,
		  has_data ? record.len_bytes : 0);
	return record.step;
}

static void put_control(struct file *file, struct record record)
{
	unsigned char *bytes;
	size_t len;

	record.step = ++file->step;
	record.time_ns = 1000 + 10 * record.step;
	assert_int_equal(record_put_control(&file->header, &record, &bytes, &len), 0);
	/* It had no more than its time. */
	len -= file->old && record.type == RECORD_REVIVE;
	put_block(file, record.type >= RECORD_MARK ? RECORD_NOBODY : 0, RECORD_CONTROL, bytes, len,
		  record.data, record.type == RECORD_BASE && record.data ? record.len_bytes : 0);
	free(bytes);
}

static uint64_t put_write(struct file *file, uint16_t queue, uint64_t sector, bool parked)
{
	return put_queue(file, (struct record){ .type = RECORD_REQUEST,
						.queue = queue,
						.op = IO_WRITE,
						.parked = parked,
						.sector = sector,
						.len_bytes = 1024,
						.result = 1024,
						.data = data });
}

static uint64_t put_flush(struct file *file, uint16_t queue, int result)
{
	return put_queue(file, (struct record){ .type = RECORD_REQUEST,
						.queue = queue,
						.op = IO_FLUSH,
						.result = result });
}

static void put_end(struct file *file, uint16_t queue, uint64_t arrival, int result)
{
	put_queue(file, (struct record){ .type = RECORD_END,
					 .queue = queue,
					 .arrival = arrival,
					 .op = IO_FLUSH,
					 .result = result });
}

static void put_batch(struct file *file, uint16_t queue)
{
	put_queue(file, (struct record){ .type = RECORD_BATCH, .queue = queue });
}

/* The file is over: its journal, or the words of the error in @diag. */
static int finish(struct file *file, struct diag *diag, struct journal **ret_journal)
{
	*diag = (struct diag){ 0 };
	assert_int_equal(fclose(file->out), 0);
	if (file->old) {
		uint32_t crc;

		file->bytes[8] = 2;
		crc = record_crc(0, file->bytes, 60);
		memcpy(file->bytes + 60, &crc, 4);
	}
	return journal_from_record(file->bytes, file->len, diag, ret_journal);
}

static struct journal *must_finish(struct file *file)
{
	struct journal *journal = NULL;
	struct diag diag;

	if (finish(file, &diag, &journal) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	return journal;
}

static void done(struct file *file, struct journal *journal)
{
	journal_free(journal);
	free(file->bytes);
}

static void requests_complete_with_the_batch_of_their_queue(void **state)
{
	struct file file;
	struct journal *journal;
	const struct journal_write *write;
	uint64_t parked;

	(void)state;
	begin(&file, RECORD_DATA, true);
	put_control(&file,
		    (struct record){
			    .type = RECORD_BASE, .from = 4096, .len_bytes = 4096, .data = data });
	put_write(&file, 0, 8, false);          /* submitted 1 */
	parked = put_write(&file, 1, 16, true); /* 2 */
	put_flush(&file, 0, 0);                 /* 3 */
	put_batch(&file, 1);                    /* nothing ended there yet */
	put_batch(&file, 0);                    /* completes the write, 4, and the flush, 5 */
	put_control(&file, (struct record){ .type = RECORD_MARK,
					    .mark = 1,
					    .text = "here",
					    .text_len = 4 }); /* 6 */
	put_end(&file, 1, parked, 0);
	put_queue(&file, (struct record){ .type = RECORD_REQUEST,
					  .op = IO_DISCARD,
					  .flags = IO_META,
					  .sector = 0,
					  .len_bytes = 4096 }); /* 7 */
	put_batch(&file, 1);                                    /* 8 */
	put_control(&file, (struct record){ .type = RECORD_CLOSE });
	journal = must_finish(&file);
	assert_true(journal->closed);
	assert_string_equal(journal->disks[0].name, "sda");
	assert_int_equal(journal->disks[0].block_bytes, 512);
	assert_true(journal->disks[0].cache);
	assert_int_equal(journal->nr_extents, 1);
	assert_int_equal(journal->extents[0].at, 4096);
	assert_int_equal(journal->nr_writes, 3);
	write = journal->writes;
	assert_int_equal(write[0].submit, 1);
	assert_int_equal(write[0].complete, 4);
	assert_int_equal(write[0].at, 4096);
	assert_true((const char *)write[0].data > file.bytes);
	assert_true((const char *)write[0].data < file.bytes + file.len);
	assert_int_equal(write[1].submit, 2);
	assert_int_equal(write[1].complete, 8);
	assert_true(write[1].complete_ns > write[1].submit_ns);
	assert_int_equal(write[2].submit, 7);
	assert_int_equal(write[2].complete, JOURNAL_NEVER);
	assert_int_equal(write[2].flags, IO_META);
	assert_null(write[2].data);
	assert_int_equal(journal->flushes[0].submit, 3);
	assert_int_equal(journal->flushes[0].complete, 5);
	assert_int_equal(journal->marks[0].step, 6);
	assert_string_equal(journal->marks[0].text, "here");
	assert_int_equal(journal->start_ns, 1000);
	done(&file, journal);
}

static void errors_end_requests_and_guarantee_nothing(void **state)
{
	struct file file;
	struct journal *journal;
	uint64_t parked;

	(void)state;
	begin(&file, RECORD_DATA, false);
	parked = put_write(&file, 0, 0, true);
	put_flush(&file, 0, -EIO);
	put_end(&file, 0, parked, -EIO);
	put_batch(&file, 0);
	put_queue(&file, (struct record){ .type = RECORD_REQUEST,
					  .op = IO_WRITE,
					  .len_bytes = 512,
					  .no_data = true,
					  .result = -EFAULT });
	journal = must_finish(&file);
	assert_int_equal(journal->nr_writes, 1);
	assert_true(journal->writes[0].failed && journal->flushes[0].failed);
	assert_false(journal->closed || journal->disks[0].cache);
	done(&file, journal);
}

static void a_rule_that_lies_shows_in_what_was_acknowledged(void **state)
{
	static const struct {
		const char *rule;
		bool lies;
	} rules[] = {
		{ "a op=write do=drop", true },
		{ "a op=write do=torn:keep=1s", true },
		{ "a op=write do=misdirect:by=64k", true },
		{ "a op=write do=corrupt:flip=1", true },
		{ "a op=write do=lie", true },
		{ "a op=write do=delay:1ms", false },
		{ "a op=write do=count", false },
		{ "a op=write do=hang", false },
		{ "a op=write do=error:EIO,after", false },
	};

	(void)state;
	for (size_t i = 0; i < array_size(rules); i++) {
		const struct record_rule rule = { .rule = 1,
						  .fresh = true,
						  .enabled = true,
						  .text = rules[i].rule,
						  .len = strlen(rules[i].rule) };
		const struct record_hit hit = { .rule = 1, .match = 1 };
		struct record record = { .type = RECORD_REQUEST,
					 .op = IO_WRITE,
					 .len_bytes = 4096,
					 .result = 4096,
					 .data = data,
					 .nr_hits = 1,
					 .hits = &hit };
		struct journal *journal;
		struct file file;

		begin(&file, RECORD_DATA, true);
		put_control(&file, (struct record){ .type = RECORD_RULES,
						    .epoch = 1,
						    .nr_rules = 1,
						    .rules = &rule });
		put_queue(&file, record);
		record.result = -EIO;
		put_queue(&file, record);
		record.nr_hits = 0;
		record.result = 4096;
		put_queue(&file, record);
		journal = must_finish(&file);
		if (journal->writes[0].false_ack != rules[i].lies)
			fail_msg("%s: lied is %d", rules[i].rule, journal->writes[0].false_ack);
		/* An error is no lie, and who was not hit told none. */
		assert_false(journal->writes[1].false_ack || journal->writes[2].false_ack);
		done(&file, journal);
	}
}

static void in_version_2_no_flush_after_a_power_cut_guarantees_what_came_before(void **state)
{
	struct file file;
	struct journal *journal;

	(void)state;
	begin(&file, RECORD_DATA, true);
	file.old = true;
	put_write(&file, 0, 0, false);
	put_batch(&file, 0);
	put_flush(&file, 0, 0);
	put_write(&file, 1, 8, false);
	put_batch(&file, 1);
	put_batch(&file, 0);
	put_write(&file, 0, 16, false);
	put_control(&file, (struct record){ .type = RECORD_REVIVE });
	put_write(&file, 1, 24, false);
	put_batch(&file, 1);
	put_flush(&file, 1, 0);
	put_batch(&file, 1);
	journal = must_finish(&file);
	assert_int_equal(journal->nr_writes, 4);
	assert_false(journal->writes[0].failed);
	/* It came during the flush. */
	assert_true(journal->writes[1].failed);
	assert_true(journal->writes[2].failed);
	assert_false(journal->writes[3].failed);
	done(&file, journal);
}

static void in_version_2_what_ends_well_between_two_power_cuts_is_in_doubt_again(void **state)
{
	struct file file;
	struct journal *journal;
	uint64_t lost, flushed;

	(void)state;
	begin(&file, RECORD_DATA, true);
	file.old = true;
	lost = put_write(&file, 0, 0, true);
	flushed = put_write(&file, 1, 8, true);
	put_write(&file, 0, 16, true);
	put_control(&file, (struct record){ .type = RECORD_REVIVE });
	put_end(&file, 1, flushed, 0);
	put_batch(&file, 1);
	put_flush(&file, 1, 0);
	put_batch(&file, 1);
	put_control(&file, (struct record){ .type = RECORD_REVIVE });
	put_end(&file, 0, lost, 0);
	put_batch(&file, 0);
	put_control(&file, (struct record){ .type = RECORD_REVIVE });
	put_flush(&file, 1, 0);
	put_batch(&file, 1);
	put_control(&file, (struct record){ .type = RECORD_REVIVE });
	journal = must_finish(&file);
	assert_int_equal(journal->nr_writes, 3);
	assert_true(journal->writes[0].failed);
	assert_int_not_equal(journal->writes[0].complete, JOURNAL_NEVER);
	assert_false(journal->writes[1].failed);
	assert_true(journal->writes[2].failed);
	assert_int_equal(journal->writes[2].complete, JOURNAL_NEVER);
	done(&file, journal);
}

static void a_power_cut_is_decided_by_what_the_disk_held_afterwards(void **state)
{
	static const unsigned char held[2048] = { 5 };
	struct file file;
	struct journal *journal;
	const struct journal_write *writes;
	uint64_t parked;

	(void)state;
	begin(&file, RECORD_DATA, true);
	put_control(&file, (struct record){ .type = RECORD_BASE, .len_bytes = 512, .data = data });
	put_write(&file, 0, 0, false);
	put_batch(&file, 0);
	parked = put_write(&file, 1, 8, true);
	put_control(&file, (struct record){ .type = RECORD_BASE, .len_bytes = 2048, .data = held });
	put_control(&file, (struct record){ .type = RECORD_BASE, .from = 4096, .len_bytes = 2048 });
	put_control(&file, (struct record){ .type = RECORD_BASE, .from = 6144, .len_bytes = 2048 });
	put_control(&file, (struct record){ .type = RECORD_REVIVE, .after_cut = true });
	put_end(&file, 1, parked, 0);
	put_batch(&file, 1);
	/* Without a power cut nothing is decided. */
	put_write(&file, 0, 32, false);
	put_batch(&file, 0);
	put_control(&file, (struct record){ .type = RECORD_REVIVE });
	journal = must_finish(&file);
	writes = journal->writes;
	assert_int_equal(journal->nr_extents, 1);
	assert_int_equal(journal->nr_writes, 5);
	assert_true(!writes[0].failed && !writes[0].survivor);
	/* Whatever its end was: the host never knew it before the cut. */
	assert_true(writes[1].failed && writes[1].complete < writes[2].submit);
	assert_true(writes[2].survivor && writes[2].data && writes[2].len_bytes == 2048);
	assert_true(writes[2].flags == IO_FUA && writes[2].complete > writes[3].submit);
	assert_true(writes[3].survivor && !writes[3].data && writes[3].len_bytes == 4096);
	assert_true(!writes[4].survivor && !writes[4].failed &&
		    writes[4].submit > writes[3].complete);
	done(&file, journal);
}

static void a_recording_that_ends_early_is_read_up_to_there(void **state)
{
	struct file file;
	struct journal *journal, *whole;
	struct diag diag = { 0 };

	(void)state;
	begin(&file, RECORD_DATA, true);
	put_write(&file, 0, 0, false);
	put_batch(&file, 0);
	put_write(&file, 0, 8, false);
	put_control(&file, (struct record){ .type = RECORD_CLOSE });
	whole = must_finish(&file);
	assert_int_equal(journal_from_record(file.bytes, file.len - 10, &diag, &journal), 0);
	assert_int_equal(journal->nr_writes, 2);
	assert_false(journal->closed);
	assert_true(diag.message[0]);
	assert_int_not_equal(journal->id, whole->id);
	journal_free(journal);
	assert_int_equal(journal_from_record(file.bytes, file.len - 100, &diag, &journal), 0);
	assert_int_equal(journal->nr_writes, 1);
	assert_int_equal(journal->writes[0].complete, 2);
	journal_free(journal);
	done(&file, whole);
}

/* Each step of the journal, as users see it: "1 2 5". */
static const char *all_shown(const struct journal *journal)
{
	static char text[128];
	size_t at = 0;

	for (uint64_t step = 1; step <= journal->end_step; step++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu", step > 1 ? " " : "",
				       (unsigned long long)journal_shown(journal, step));
	return text;
}

/* The last step of the journal that is not after each step of the file, from 0 on. */
static const char *all_steps(const struct journal *journal, uint64_t last)
{
	static char text[128];
	size_t at = 0;

	for (uint64_t shown = 0; shown <= last; shown++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu", shown ? " " : "",
				       (unsigned long long)journal_step(journal, shown));
	return text;
}

/* Reads and rules have a step of the file and none of the journal; what a batch completes has one
 * of the file. */
static void users_see_the_steps_of_the_file(void **state)
{
	struct record_rule rule = { .rule = 1, .fresh = true, .text = "read do=drop", .len = 12 };
	const struct record rules = {
		.type = RECORD_RULES, .epoch = 1, .nr_rules = 1, .rules = &rule
	};
	const struct record read = {
		.type = RECORD_REQUEST, .op = IO_READ, .len_bytes = 512, .result = 512
	};
	struct file file;
	struct journal *journal;

	(void)state;
	begin(&file, RECORD_DATA, true);
	put_control(&file, rules); /* 1: no step of the journal */
	put_queue(&file, (struct record){ .type = RECORD_REQUEST,
					  .op = IO_WRITE,
					  .flags = IO_FUA,
					  .len_bytes = 1024,
					  .result = 1024,
					  .data = data }); /* 2: step 1 */
	put_queue(&file, read);                            /* 3 */
	put_flush(&file, 0, 0);                            /* 4: step 2 */
	put_batch(&file, 0);                               /* 5: steps 3 and 4 */
	put_queue(&file, read);                            /* 6 */
	put_batch(&file, 0);                               /* 7 */
	put_control(&file,
		    (struct record){ .type = RECORD_MARK, .mark = 1, .text = "m", .text_len = 1 });
	put_control(&file, (struct record){ .type = RECORD_CLOSE });
	journal = must_finish(&file);
	assert_string_equal(all_shown(journal), "2 4 5 5 8");
	assert_string_equal(all_steps(journal, 9), "0 0 1 1 2 4 4 4 5 5");
	assert_int_equal(journal_shown(journal, 0), 0);
	assert_int_equal(journal_shown(journal, JOURNAL_NEVER), JOURNAL_NEVER);
	done(&file, journal);
}

/* A cut ends what waits, and writes what the disk held: at the one step of its revival. */
static void users_see_all_of_a_revival_at_its_step(void **state)
{
	static const unsigned char held[1024] = { 5 };
	struct file file;
	struct journal *journal;

	(void)state;
	begin(&file, RECORD_DATA, true);
	put_control(&file, (struct record){ .type = RECORD_BASE, .len_bytes = 512, .data = data });
	put_write(&file, 0, 0, false); /* 2: step 1 */
	put_batch(&file, 0);           /* 3: step 2 */
	put_queue(&file, (struct record){ .type = RECORD_REQUEST,
					  .queue = 1,
					  .op = IO_FLUSH,
					  .parked = true }); /* 4: step 3 */
	put_write(&file, 1, 8, true);                        /* 5: step 4 */
	put_control(&file, (struct record){ .type = RECORD_BASE, .len_bytes = 1024, .data = held });
	put_control(&file, (struct record){ .type = RECORD_REVIVE, .after_cut = true }); /* 7 */
	put_control(&file, (struct record){ .type = RECORD_CLOSE });
	journal = must_finish(&file);
	for (uint64_t step = 5; step <= journal->end_step; step++)
		assert_int_equal(journal_shown(journal, step), 7);
	assert_true(journal->end_step >= 7);
	assert_int_equal(journal_step(journal, 7), journal->end_step);
	assert_int_equal(journal_step(journal, 6), 4);
	done(&file, journal);
}

static void check_refused(struct file *file, const char *id, const char *says)
{
	struct journal *journal = NULL;
	struct diag diag;

	assert_int_equal(finish(file, &diag, &journal), -EINVAL);
	if (strcmp(diag.id, id) || !strstr(diag.message, says))
		fail_msg("got %s: '%s', wanted %s: '%s'", diag.id, diag.message, id, says);
	done(file, journal);
}

static void what_contradicts_itself_is_refused_with_its_step(void **state)
{
	struct file file;
	struct record_rule rule = { .rule = 2, .fresh = true, .text = "a do=drop", .len = 9 };
	const struct record rules = {
		.type = RECORD_RULES, .epoch = 1, .nr_rules = 1, .rules = &rule
	};

	(void)state;
	begin(&file, 0, true);
	check_refused(&file, "journal.no-data", "has no data of writes");
	begin(&file, RECORD_DATA, true);
	for (int i = 0; i < 4; i++)
		put_write(&file, 0, 0, true);
	check_refused(&file, "journal.record", "step 4 of the recording: one request more than");
	begin(&file, RECORD_DATA, true);
	put_control(&file, rules);
	check_refused(&file, "journal.record", "step 1 of the recording: rule 2 is new, after 0");
	begin(&file, RECORD_DATA, true);
	rule = (struct record_rule){ .rule = 1, .fresh = true, .text = "a do=dance", .len = 10 };
	put_control(&file, rules);
	check_refused(&file, "journal.record", "rule 1 is unknown to this program");
}

/* ------------------------------------------------------------------------------ saved */

static struct journal *save_and_read(const struct journal *journal, void **ret_map, size_t *ret_len)
{
	_cleanup_close_ int fd = memfd_create("recording", MFD_CLOEXEC);
	struct journal *back = NULL;
	struct diag diag = { 0 };

	if (journal_save(journal, 99, fd, &diag) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	*ret_len = (size_t)lseek(fd, 0, SEEK_END);
	*ret_map = mmap(NULL, *ret_len, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(*ret_map != MAP_FAILED);
	if (journal_from_record(*ret_map, *ret_len, &diag, &back) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	return back;
}

static void same_write(const struct journal_write *a, const struct journal_write *b)
{
	assert_int_equal(a->submit, b->submit);
	assert_int_equal(a->complete, b->complete);
	assert_int_equal(a->at, b->at);
	assert_int_equal(a->len_bytes, b->len_bytes);
	assert_int_equal(a->submit_ns, b->submit_ns);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->disk, b->disk);
	assert_int_equal(a->op, b->op);
	assert_int_equal(a->failed, b->failed);
	assert_int_equal(a->false_ack, b->false_ack);
	assert_int_equal(!a->data, !b->data);
	if (a->data)
		assert_memory_equal(a->data, b->data, a->len_bytes);
}

static void same_journal(const struct journal *a, const struct journal *b)
{
	assert_int_equal(a->nr_disks, b->nr_disks);
	assert_int_equal(a->nr_extents, b->nr_extents);
	assert_int_equal(a->nr_writes, b->nr_writes);
	assert_int_equal(a->nr_flushes, b->nr_flushes);
	assert_int_equal(a->nr_marks, b->nr_marks);
	assert_int_equal(a->end_step, b->end_step);
	assert_int_equal(a->closed, b->closed);
	for (size_t i = 0; i < a->nr_disks; i++) {
		assert_string_equal(a->disks[i].name, b->disks[i].name);
		assert_int_equal(a->disks[i].size_bytes, b->disks[i].size_bytes);
		assert_int_equal(a->disks[i].cache, b->disks[i].cache);
	}
	for (size_t i = 0; i < a->nr_writes; i++)
		same_write(&a->writes[i], &b->writes[i]);
	for (size_t i = 0; i < a->nr_flushes; i++) {
		assert_int_equal(a->flushes[i].submit, b->flushes[i].submit);
		assert_int_equal(a->flushes[i].complete, b->flushes[i].complete);
		assert_int_equal(a->flushes[i].failed, b->flushes[i].failed);
		assert_int_equal(a->flushes[i].false_ack, b->flushes[i].false_ack);
	}
	for (size_t i = 0; i < a->nr_marks; i++) {
		assert_int_equal(a->marks[i].step, b->marks[i].step);
		assert_string_equal(a->marks[i].text, b->marks[i].text);
	}
}

static const struct journal_disk disks[] = {
	{ .name = "a", .size_bytes = 1 << 20, .block_bytes = 512, .cache = true },
	{ .name = "b", .size_bytes = 1ull << 40, .block_bytes = 4096 },
};

/* A journal whose steps are dense: what happens next is drawn, submissions and ends alike. */
static struct journal *random_journal(struct draw *draw)
{
	struct journal_write *open[64] = { 0 };
	struct journal *journal;
	uint64_t step = 0;
	static struct journal_write writes[64];

	assert_int_equal(journal_new(&journal), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(journal_add_disk(journal, &disks[i]), 0);
	for (size_t i = 0; i < 64;) {
		uint64_t what = draw_below(draw, 10), k = draw_below(draw, i + 1);
		uint16_t disk = (uint16_t)draw_below(draw, 2);
		uint32_t block = disks[disk].block_bytes;

		if (what < 3 && open[k]) {
			open[k]->complete = ++step;
			open[k] = NULL;
		} else if (what == 9) {
			step++;
			journal_add_mark(journal, step, step, "m", 1);
		} else if (what == 8) {
			struct journal_flush flush = { .submit = step + 1, .complete = step + 2 };

			flush.disk = disk;
			flush.failed = draw_below(draw, 4) == 0;
			flush.false_ack = !flush.failed && draw_below(draw, 4) == 0;
			step += 2;
			assert_int_equal(journal_add_flush(journal, &flush), 0);
		} else {
			struct journal_write *write = open[i] = &writes[i];

			*write = (struct journal_write){
				.submit = step + 1,
				.complete = JOURNAL_NEVER,
				.at = block * draw_below(draw, 100),
				.len_bytes = block * (1 + draw_below(draw, 4)),
				.data = draw_below(draw, 3) ? data : NULL,
				.submit_ns = step + 1,
				.flags = draw_below(draw, 2) ? IO_FUA : 0,
				.disk = disk,
				.failed = draw_below(draw, 4) == 0,
			};
			write->op = write->data ? IO_WRITE : IO_WRITE + 2 * draw_below(draw, 2);
			if (write->len_bytes > sizeof(data))
				write->len_bytes = block;
			write->false_ack = !write->failed && draw_below(draw, 4) == 0;
			step++;
			i++;
		}
	}
	/* What never ended has not failed either. */
	for (size_t i = 0; i < 64; i++) {
		writes[i].failed &= writes[i].complete != JOURNAL_NEVER;
		assert_int_equal(journal_add_write(journal, &writes[i]), 0);
	}
	return journal;
}

static void what_is_saved_comes_back(void **state)
{
	struct draw draw = { .seed = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7);
	for (int i = 0; i < 200; i++) {
		struct journal *journal = random_journal(&draw), *back;
		struct journal_extent extent = { .at = 8192, .len_bytes = 1024, .data = data };
		void *map;
		size_t len;

		assert_int_equal(journal_add_extent(journal, &extent), 0);
		journal->closed = i % 2;
		assert_int_equal(journal_seal(journal, NULL), 0);
		back = save_and_read(journal, &map, &len);
		same_journal(journal, back);
		journal_free(back);
		munmap(map, len);
		journal_free(journal);
	}
}

static void what_no_request_can_hold_comes_back_in_pieces(void **state)
{
	struct journal_write write = {
		.submit = 1, .complete = 2, .len_bytes = 33ull << 20, .op = IO_WRITE, .disk = 1
	};
	struct journal *journal, *back;
	unsigned char *large = calloc(1, write.len_bytes);
	void *map;
	size_t len;

	(void)state;
	write.data = large;
	assert_int_equal(journal_new(&journal), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(journal_add_disk(journal, &disks[i]), 0);
	assert_int_equal(journal_own(journal, large), 0);
	assert_int_equal(journal_add_write(journal, &write), 0);
	write = (struct journal_write){ .submit = 3,
					.complete = JOURNAL_NEVER,
					.at = 4096,
					.len_bytes = 5ull << 30,
					.op = IO_DISCARD,
					.disk = 1 };
	assert_int_equal(journal_add_write(journal, &write), 0);
	assert_int_equal(journal_seal(journal, NULL), 0);
	back = save_and_read(journal, &map, &len);
	assert_int_equal(back->nr_writes, 4);
	assert_int_equal(back->writes[1].at, 32 << 20);
	assert_int_equal(back->writes[1].len_bytes, 1 << 20);
	assert_int_equal(back->writes[3].at + back->writes[3].len_bytes, 4096 + (5ull << 30));
	assert_int_equal(back->writes[3].complete, JOURNAL_NEVER);
	journal_free(back);
	munmap(map, len);
	journal_free(journal);
}

static void more_in_flight_than_a_queue_holds_takes_more_queues(void **state)
{
	struct journal *journal, *back;
	void *map;
	size_t len;

	(void)state;
	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disks[0]), 0);
	for (uint64_t i = 1; i <= 10000; i++) {
		const struct journal_write write = {
			.submit = i, .complete = JOURNAL_NEVER, .len_bytes = 512, .op = IO_DISCARD
		};

		assert_int_equal(journal_add_write(journal, &write), 0);
	}
	assert_int_equal(journal_seal(journal, NULL), 0);
	back = save_and_read(journal, &map, &len);
	same_journal(journal, back);
	journal_free(back);
	munmap(map, len);
	journal_free(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_complete_with_the_batch_of_their_queue),
		cmocka_unit_test(errors_end_requests_and_guarantee_nothing),
		cmocka_unit_test(a_rule_that_lies_shows_in_what_was_acknowledged),
		cmocka_unit_test(a_power_cut_is_decided_by_what_the_disk_held_afterwards),
		cmocka_unit_test(
			in_version_2_no_flush_after_a_power_cut_guarantees_what_came_before),
		cmocka_unit_test(
			in_version_2_what_ends_well_between_two_power_cuts_is_in_doubt_again),
		cmocka_unit_test(users_see_the_steps_of_the_file),
		cmocka_unit_test(users_see_all_of_a_revival_at_its_step),
		cmocka_unit_test(a_recording_that_ends_early_is_read_up_to_there),
		cmocka_unit_test(what_contradicts_itself_is_refused_with_its_step),
		cmocka_unit_test(what_is_saved_comes_back),
		cmocka_unit_test(what_no_request_can_hold_comes_back_in_pieces),
		cmocka_unit_test(more_in_flight_than_a_queue_holds_takes_more_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
