// SPDX-License-Identifier: MIT
/*
 * Logs are built here from the description of the format, and those that we write are replayed by a
 * reader that knows nothing else.
 */
#include "tests/unit/check.h"
#include "tests/unit/scratch_file.h"

#include "faults/crash/crash.h"
#include "faults/journal/logwrites.h"
#include "faults/journal/logwrites_code.h"
#include "faults/journal/read.h"
#include "faults/record/code.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define KIB   1024u
#define MIB   (1024u * KIB)
#define FLUSH LOGWRITES_FLUSH
#define FUA   LOGWRITES_FUA
#define TRIM  LOGWRITES_DISCARD
#define MARK  LOGWRITES_MARK
#define META  LOGWRITES_META

/* ------------------------------------------------------------------------------ making logs */

struct log {
	unsigned char bytes[256 * KIB];
	size_t len;
	uint32_t block;
	uint64_t nr;
};

static void log_begin(struct log *log, uint32_t block)
{
	*log = (struct log){ .len = block, .block = block };
	put_le(log->bytes, 0x006a736677736872ull, 8);
	put_le(log->bytes + 8, 1, 8);
	put_le(log->bytes + 24, block, 4);
}

/* Returns the byte at which it stands. Sectors are the log's; data is all @fill. */
static size_t log_add(struct log *log, uint64_t sector, uint64_t nr, uint64_t flags,
		      const char *text, char fill)
{
	unsigned char *head = log->bytes + log->len;
	size_t at = log->len;

	put_le(head, sector, 8);
	put_le(head + 8, nr, 8);
	put_le(head + 16, flags, 8);
	if (text) {
		put_le(head + 24, strlen(text), 8);
		memcpy(head + 32, text, strlen(text));
	}
	log->len += log->block;
	if (!(flags & TRIM) && nr && nr < 100) {
		memset(log->bytes + log->len, fill, nr * log->block);
		log->len += nr * log->block;
	}
	put_le(log->bytes + 16, ++log->nr, 8);
	assert_true(log->len <= sizeof(log->bytes));
	return at;
}

static struct journal *must_import(const struct log *log, const struct logwrites_import *options)
{
	struct journal *journal = NULL;
	struct diag diag = { 0 };

	if (logwrites_import(log->bytes, log->len, options, &diag, &journal) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	return journal;
}

static void check_bad(const struct log *log, size_t len, const struct logwrites_import *options,
		      const char *id, const char *says)
{
	/* Exactly as long, so that a read past its end is seen. */
	_cleanup_free_ unsigned char *bytes = malloc(len ? len : 1);
	struct journal *journal = NULL;
	struct diag diag = { 0 };

	memcpy(bytes, log->bytes, len);
	assert_int_equal(logwrites_import(bytes, len, options, &diag, &journal), -EINVAL);
	assert_null(journal);
	if (strcmp(diag.id, id) || !strstr(diag.message, says))
		fail_msg("got %s: '%s', wanted %s: '%s'", diag.id, diag.message, id, says);
	assert_int_equal(logwrites_import(bytes, len, options, NULL, &journal), -EINVAL);
}

/* ------------------------------------------------------------------------------ import */

static void entries_become_requests_one_after_the_other(void **state)
{
	static struct log log;
	struct journal *journal;
	const struct journal_write *write;

	(void)state;
	log_begin(&log, 512);
	log_add(&log, 8, 2, 0, NULL, 'a');
	log_add(&log, 10, 1, META, NULL, 'b');
	log_add(&log, 0, 0, FLUSH, NULL, 0);
	log_add(&log, 0, 0, MARK, "made it", 0);
	log_add(&log, 8, 1, FUA | META, NULL, 'c');
	log_add(&log, 0, 2048, TRIM, NULL, 0);
	log_add(&log, 0, 0, MARK, LOGWRITES_END, 0);
	journal = must_import(&log, NULL);
	/* There are no other steps that users could see. */
	for (uint64_t step = 0; step <= journal->end_step + 1; step++) {
		assert_int_equal(journal_shown(journal, step), step);
		assert_int_equal(journal_step(journal, step), step);
	}
	assert_int_equal(journal->nr_disks, 1);
	assert_string_equal(journal->disks[0].name, "log");
	assert_int_equal(journal->disks[0].block_bytes, 512);
	assert_int_equal(journal->disks[0].size_bytes, MIB);
	assert_true(journal->disks[0].cache && journal->closed);
	assert_int_equal(journal->nr_writes, 4);
	assert_int_equal(journal->nr_flushes, 1);
	assert_int_equal(journal->nr_marks, 1);
	assert_string_equal(journal->marks[0].text, "made it");
	write = journal->writes;
	assert_int_equal(write[0].submit, 1);
	assert_int_equal(write[0].complete, 2);
	assert_int_equal(write[0].at, 4096);
	assert_int_equal(write[0].len_bytes, 1024);
	assert_memory_equal(write[0].data, "aaaaaaaa", 8);
	assert_int_equal(write[1].submit, 3);
	assert_int_equal(write[1].flags, IO_META);
	assert_int_equal(journal->flushes[0].submit, 5);
	assert_int_equal(journal->flushes[0].complete, 6);
	assert_int_equal(journal->marks[0].step, 7);
	assert_int_equal(write[2].submit, 8);
	assert_int_equal(write[2].flags, IO_META | IO_FUA);
	assert_memory_equal(write[2].data, "cccccccc", 8);
	assert_int_equal(write[3].op, IO_DISCARD);
	assert_null(write[3].data);
	assert_int_equal(write[3].len_bytes, MIB);
	for (size_t i = 0; i < 4; i++)
		assert_true(!write[i].failed && !write[i].false_ack && write[i].disk == 0);
	journal_free(journal);
}

static void a_write_that_says_flush_is_not_covered_by_its_own_flush(void **state)
{
	static struct log log;
	struct journal *journal;

	(void)state;
	log_begin(&log, 4096);
	log_add(&log, 0, 1, 0, NULL, 'a');
	log_add(&log, 1, 1, FLUSH | FUA, NULL, 'b');
	journal = must_import(&log, NULL);
	assert_int_equal(journal->nr_writes, 2);
	assert_int_equal(journal->nr_flushes, 1);
	assert_int_equal(journal->flushes[0].submit, 3);
	assert_int_equal(journal->writes[1].submit, 5);
	assert_int_equal(journal->writes[1].flags, IO_FUA);
	assert_int_equal(journal->writes[1].at, 4096);
	/* Nobody took the target away: the log has no end. */
	assert_false(journal->closed);
	journal_free(journal);
}

static void size_name_and_earlier_content_can_be_given(void **state)
{
	static struct log log;
	unsigned char base[4096];
	const struct logwrites_import options = {
		.name = "vda", .size_bytes = 3 * MIB, .base = base, .base_bytes = sizeof(base)
	};
	struct journal *journal;

	(void)state;
	memset(base, 'z', sizeof(base));
	log_begin(&log, 512);
	log_add(&log, 0, 1, 0, NULL, 'a');
	journal = must_import(&log, &options);
	assert_string_equal(journal->disks[0].name, "vda");
	assert_int_equal(journal->disks[0].size_bytes, 3 * MIB);
	assert_int_equal(journal->nr_extents, 1);
	assert_int_equal(journal->extents[0].len_bytes, 4096);
	assert_ptr_equal(journal->extents[0].data, base);
	journal_free(journal);
}

static void marks_come_out_as_lines(void **state)
{
	static struct log log;
	char longest[4096 - 32] = { 0 };
	struct journal *journal;

	(void)state;
	log_begin(&log, 4096);
	log_add(&log, 0, 0, MARK, "two\nlines \x7f \xc3\xa9 \xff\xc3", 0);
	memset(longest, 'x', sizeof(longest) - 1);
	log_add(&log, 0, 0, MARK, longest, 0);
	log_add(&log, 0, 0, MARK, "", 0);
	/* Only the last entry is the end of the log. */
	log_add(&log, 0, 0, MARK, LOGWRITES_END, 0);
	log_add(&log, 0, 0, FLUSH, NULL, 0);
	journal = must_import(&log, NULL);
	assert_int_equal(journal->nr_marks, 4);
	assert_string_equal(journal->marks[0].text, "two?lines ? \xc3\xa9 ??");
	assert_int_equal(strlen(journal->marks[1].text), 4000);
	assert_string_equal(journal->marks[2].text, "?");
	assert_string_equal(journal->marks[3].text, LOGWRITES_END);
	assert_false(journal->closed);
	journal_free(journal);
}

static void what_is_no_log_is_refused_in_words(void **state)
{
	static struct log log;

	(void)state;
	log_begin(&log, 512);
	check_bad(&log, 27, NULL, "logwrites.magic", "does not begin with");
	log.bytes[0] ^= 1;
	check_bad(&log, 512, NULL, "logwrites.magic", "0x6a736677736872");
	log_begin(&log, 512);
	log.bytes[8] = 2;
	check_bad(&log, 512, NULL, "logwrites.version", "at byte 8 has version 2");
	log_begin(&log, 512);
	put_le(log.bytes + 24, 1000, 4);
	check_bad(&log, 512, NULL, "logwrites.block", "sector size of 1000; it must be");
	put_le(log.bytes + 24, 131072, 4);
	check_bad(&log, 512, NULL, "logwrites.block", "131072");
}

static void a_wrong_entry_is_named_by_number_and_byte(void **state)
{
	static struct log log;
	const struct logwrites_import small = { .size_bytes = 4096 };
	size_t at;

	(void)state;
#define BEGIN() (log_begin(&log, 512), log_add(&log, 0, 1, 0, NULL, 'a'))
	BEGIN();
	log_add(&log, 0, 0, 0, NULL, 0);
	check_bad(&log, log.len, NULL, "logwrites.entry", "entry 2 of the log, at byte 1536: neit");
	BEGIN();
	log_add(&log, 0, 0, 64 | MARK, "x", 0);
	check_bad(&log, log.len, NULL, "logwrites.entry", "byte 1536: flags 0x48; 0x1f are all");
	BEGIN();
	at = log_add(&log, 5, 0, FLUSH, NULL, 0);
	log.bytes[at + 32] = 'x';
	check_bad(&log, log.len, NULL, "logwrites.entry", "text behind an entry that is no mark");
	BEGIN();
	at = log_add(&log, 0, 0, MARK, "x", 0);
	put_le(log.bytes + at + 24, 481, 8);
	check_bad(&log, log.len, NULL, "logwrites.entry", "text has 481 bytes; at most 480 fit");
	BEGIN();
	at = log_add(&log, 0, 0, MARK, "x", 0);
	put_le(log.bytes + at + 8, 1, 8);
	check_bad(&log, log.len, NULL, "logwrites.entry", "a mark with 512 bytes of data");
	BEGIN();
	log_add(&log, UINT64_MAX / 512, 1, 0, NULL, 'a');
	check_bad(&log, log.len, NULL, "logwrites.entry", "1 sectors from sector 3602879701896");
	BEGIN();
	log_add(&log, 1, UINT64_MAX, TRIM, NULL, 0);
	check_bad(&log, log.len, NULL, "logwrites.entry", "18446744073709551615 sectors from");
	BEGIN();
	log_add(&log, 8, 1, 0, NULL, 'a');
	check_bad(&log, log.len, &small, "logwrites.entry", "512 bytes at 4096, on a disk of 4096");
}

static void a_log_cut_short_says_where(void **state)
{
	static struct log log;

	(void)state;
	log_begin(&log, 512);
	log_add(&log, 0, 2, 0, NULL, 'a');
	log_add(&log, 0, 0, FLUSH, NULL, 0);
	check_bad(&log, log.len - 1, NULL, "logwrites.entry",
		  "entry 2 of the log, at byte 2048: its header of 512 bytes does not fit: the log "
		  "ends at byte 2559");
	check_bad(&log, 2047, NULL, "logwrites.entry",
		  "entry 1 of the log, at byte 512: its data of 1024 bytes does not fit");
	check_bad(&log, 512, NULL, "logwrites.entry", "at byte 512: its header");
	check_bad(&log, 100, NULL, "logwrites.entry", "at byte 512: its header");
}

static void options_that_do_not_go_with_the_log_are_refused(void **state)
{
	static struct log log;
	static const unsigned char base[8192];
	struct logwrites_import options = { .size_bytes = 4096 + 512 };

	(void)state;
	log_begin(&log, 4096);
	check_bad(&log, log.len, &options, "logwrites.size", "a disk of 4608 bytes does not go");
	options = (struct logwrites_import){ .size_bytes = 4096, .base = base, .base_bytes = 8192 };
	check_bad(&log, log.len, &options, "logwrites.base", "8192 bytes; wanted: whole sectors");
	log_add(&log, 0, 0, MARK, "faultblk-disk size=8192 base=1 name=a", 0);
	log_add(&log, 0, 1, 0, NULL, 'a');
	options = (struct logwrites_import){ .base = base, .base_bytes = 4096 };
	check_bad(&log, log.len, &options, "logwrites.base", "brings the content from before");
	log_add(&log, 1, 1, META, NULL, 'b');
	log.bytes[4096 + 32 + 29] = '2';
	check_bad(&log, log.len, NULL, "logwrites.entry", "not a plain write, but the first mark");
}

static void a_name_in_a_log_is_no_path(void **state)
{
	const struct logwrites_import options = { .name = "good" };
	static struct log log;
	struct journal *journal;

	(void)state;
	log_begin(&log, 4096);
	log_add(&log, 0, 0, MARK, "faultblk-disk size=8192 base=0 name=../../etc/x", 0);
	check_bad(&log, log.len, NULL, "logwrites.name", "the log calls its disk '../../etc/x'");
	assert_int_equal(logwrites_import(log.bytes, log.len, &options, NULL, &journal), 0);
	assert_string_equal(journal->disks[0].name, "good");
	journal_free(journal);
}

/* ------------------------------------------------------------------------------ export */

/* The log of disk @disk, read back; caller frees. */
static unsigned char *must_export(const struct journal *journal, uint16_t disk, size_t *ret_len,
				  struct logwrites_export *ret_export)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
	struct diag diag = { 0 };
	struct stat stat;
	unsigned char *bytes;

	assert_true(fd >= 0);
	if (logwrites_export(journal, disk, fd, &diag, ret_export) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	assert_int_equal(fstat(fd, &stat), 0);
	*ret_len = (size_t)stat.st_size;
	bytes = malloc(*ret_len);
	assert_int_equal(pread(fd, bytes, *ret_len, 0), stat.st_size);
	return bytes;
}

/*
 * Replays a log onto @image and writes a word for each entry to @words: W, D (discard), F (flush)
 * or m and the text; the first byte of the data; flags; the sector.
 */
static void replay(const unsigned char *bytes, size_t len, unsigned char *image, char *words)
{
	uint32_t block = (uint32_t)get_le(bytes + 24, 4);
	uint64_t nr = get_le(bytes + 16, 8), at = block;

	assert_int_equal(get_le(bytes, 8), 0x006a736677736872ull);
	*words = '\0';
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t sector = get_le(bytes + at, 8), sectors = get_le(bytes + at + 8, 8);
		uint64_t flags = get_le(bytes + at + 16, 8);
		const char *text = (const char *)bytes + at + 32;
		const unsigned char *data = bytes + at + block;

		at += block;
		assert_true(at <= len);
		if (flags & MARK) {
			words += sprintf(words, "m:%s ", text);
			continue;
		}
		assert_true((flags || sectors) && !*text);
		if (flags & TRIM) {
			words += sprintf(words, "D%llu", (unsigned long long)sector);
			memset(image + sector * block, 0, sectors * block);
		} else if (sectors) {
			assert_true(at + sectors * block <= len);
			words += sprintf(words, "W%c%llu", data[0] ? data[0] : '0',
					 (unsigned long long)sector);
			memcpy(image + sector * block, data, sectors * block);
			at += sectors * block;
		} else {
			words += sprintf(words, "F");
		}
		words += sprintf(words, "%s%s ", flags & FUA ? "!" : "", flags & META ? "+" : "");
	}
	assert_int_equal(at, len);
}

static unsigned char *filled(struct journal *journal, char fill, size_t len)
{
	unsigned char *data = malloc(len);

	memset(data, fill, len);
	assert_int_equal(journal_own(journal, data), 0);
	return data;
}

static struct journal *new_journal(bool cache)
{
	const struct journal_disk disk = {
		.name = "d0", .size_bytes = MIB, .block_bytes = 512, .cache = cache
	};
	const struct journal_disk other = {
		.name = "d1", .size_bytes = 512 * MIB, .block_bytes = 4096, .cache = true
	};
	struct journal *journal;

	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disk), 0);
	assert_int_equal(journal_add_disk(journal, &other), 0);
	return journal;
}

static void add_write(struct journal *journal, uint16_t disk, uint64_t submit, uint64_t complete,
		      char fill, uint64_t at, uint64_t len, uint32_t flags)
{
	const struct journal_write write = {
		.submit = submit,
		.complete = complete,
		.at = at,
		.len_bytes = len,
		.data = fill == 'D' || fill == '0' ? NULL : filled(journal, fill, len),
		.flags = flags,
		.disk = disk,
		.op = fill == 'D' ? IO_DISCARD : IO_WRITE,
		.failed = fill == 'f',
		.false_ack = fill == 'l',
	};

	assert_int_equal(journal_add_write(journal, &write), 0);
}

static void add_flush(struct journal *journal, uint16_t disk, uint64_t submit, uint64_t complete,
		      bool failed)
{
	const struct journal_flush flush = {
		.submit = submit, .complete = complete, .disk = disk, .failed = failed
	};

	assert_int_equal(journal_add_flush(journal, &flush), 0);
}

static void must_seal(struct journal *journal)
{
	struct diag diag = { 0 };

	if (journal_seal(journal, &diag) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
}

static void check_words(struct journal *journal, uint16_t disk, const char *wanted,
			struct logwrites_export *ret_export)
{
	static unsigned char image[MIB];
	char words[4096];
	size_t len;
	_cleanup_free_ unsigned char *bytes = must_export(journal, disk, &len, ret_export);

	replay(bytes, len, image, words);
	assert_string_equal(words, wanted);
	assert_int_equal(get_le(bytes + 16, 8), ret_export->nr_entries);
}

static void writes_are_logged_when_a_flush_makes_them_durable(void **state)
{
	struct journal *journal = new_journal(true);
	struct logwrites_export export;

	(void)state;
	add_write(journal, 0, 1, 5, 'a', 0, 1024, 0);
	add_write(journal, 0, 2, 4, 'b', 4096, 512, IO_META);
	add_write(journal, 0, 3, 8, 'c', 8192, 512, 0); /* ends during the flush */
	add_flush(journal, 0, 6, 12, false);
	add_write(journal, 0, 7, 9, 'd', 2048, 512, IO_FUA);
	assert_int_equal(journal_add_mark(journal, 10, 0, "one", 3), 0);
	add_write(journal, 1, 11, 13, 'x', 0, 4096, 0); /* another disk */
	add_flush(journal, 0, 14, 15, true);            /* a failed flush: no guarantee */
	assert_int_equal(journal_add_mark(journal, 16, 0, "two", 3), 0);
	add_write(journal, 0, 17, 18, 'D', 0, 4096, 0);
	add_flush(journal, 0, 19, 20, false);
	add_write(journal, 0, 21, 22, '0', 512, 512, 0);
	add_write(journal, 0, 23, 24, 'f', 512, 512, 0);
	add_write(journal, 0, 25, JOURNAL_NEVER, 'g', 512, 512, 0);
	add_flush(journal, 0, 26, JOURNAL_NEVER, false);
	add_write(journal, 0, 27, 28, 'l', 0, 512, IO_FUA);
	must_seal(journal);
	check_words(journal, 0,
		    "m:faultblk-disk size=1048576 base=0 name=d0 Wd4! m:one Wb8+ Wa0 F m:two Wc16 "
		    "D0 F Wl0! W01 m:dm-log-writes-end ",
		    &export);
	assert_int_equal(export.nr_failed, 1);
	assert_int_equal(export.nr_unfinished, 1);
	assert_int_equal(export.nr_false_acks, 1);
	journal_free(journal);
}

static void of_flushes_in_flight_together_the_first_to_end_logs_for_both(void **state)
{
	struct journal *journal = new_journal(true);
	struct logwrites_export export;

	(void)state;
	add_write(journal, 0, 1, 2, 'a', 0, 512, 0);
	add_flush(journal, 0, 3, 9, false);
	add_write(journal, 0, 4, 5, 'b', 512, 512, 0);
	add_flush(journal, 0, 6, 8, false);
	add_write(journal, 0, 7, 10, 'c', 1024, 512, 0);
	must_seal(journal);
	check_words(journal, 0,
		    "m:faultblk-disk size=1048576 base=0 name=d0 Wa0 Wb1 F F Wc2 "
		    "m:dm-log-writes-end ",
		    &export);
	journal_free(journal);
}

static void what_a_durable_write_replaces_is_not_logged_behind_it(void **state)
{
	struct journal *journal = new_journal(true);
	struct logwrites_export export;

	(void)state;
	add_write(journal, 0, 1, 2, 'a', 0, 512, 0);
	add_write(journal, 0, 3, 4, 'b', 512, 1024, 0);
	add_write(journal, 0, 5, 6, 'c', 1536, 512, 0);
	add_write(journal, 0, 7, 8, 'd', 1024, 512, IO_FUA);
	add_write(journal, 0, 9, 10, 'e', 0, 512, IO_FUA);
	add_write(journal, 0, 11, 12, 'g', 0, 512, 0);
	must_seal(journal);
	check_words(journal, 0,
		    "m:faultblk-disk size=1048576 base=0 name=d0 Wa0 Wb1 Wd2! We0! Wc3 Wg0 "
		    "m:dm-log-writes-end ",
		    &export);
	journal_free(journal);
}

static void a_durable_write_takes_along_all_up_to_the_last_that_it_replaces(void **state)
{
	struct journal *journal = new_journal(true);
	struct logwrites_export export;

	(void)state;
	add_write(journal, 0, 1, 2, 'a', 0, 512, 0);
	add_write(journal, 0, 3, 4, 'b', 512, 512, 0);
	add_write(journal, 0, 5, 6, 'D', 1024, 2048, 0);
	add_write(journal, 0, 7, 8, 'c', 512, 512, 0);
	/* In the middle of the discard; the other way round; what has gone already; beside all. */
	add_write(journal, 0, 9, 10, 'e', 2048, 512, IO_FUA);
	add_write(journal, 0, 11, 12, 'g', 0, 2048, IO_FUA);
	add_write(journal, 0, 13, 14, 'h', 3072, 512, 0);
	add_write(journal, 0, 15, 16, 'i', 1024, 2048, IO_FUA);
	add_write(journal, 0, 17, 18, 'j', 3584, 512, IO_FUA);
	must_seal(journal);
	check_words(journal, 0,
		    "m:faultblk-disk size=1048576 base=0 name=d0 Wa0 Wb1 D2 We4! Wc1 Wg0! Wi2! "
		    "Wj7! Wh6 m:dm-log-writes-end ",
		    &export);
	journal_free(journal);
}

static void without_a_cache_every_write_is_durable_when_it_ends(void **state)
{
	struct journal *journal = new_journal(false);
	struct logwrites_export export;

	(void)state;
	add_write(journal, 0, 1, 4, 'a', 0, 512, 0);
	add_write(journal, 0, 2, 3, 'D', 512, 512, 0);
	must_seal(journal);
	check_words(journal, 0,
		    "m:faultblk-disk size=1048576 base=0 name=d0 D1! Wa0! m:dm-log-writes-end ",
		    &export);
	journal_free(journal);
}

static void a_large_discard_is_cut_into_pieces(void **state)
{
	struct journal *journal = new_journal(true);
	struct logwrites_export export;
	struct logwrites log;
	struct logwrites_entry entry;
	struct diag diag;
	size_t len;
	_cleanup_free_ unsigned char *bytes = NULL;

	(void)state;
	add_write(journal, 1, 1, 2, 'D', 4096, 300 * MIB, 0);
	must_seal(journal);
	bytes = must_export(journal, 1, &len, &export);
	assert_int_equal(export.nr_entries, 5);
	assert_int_equal(logwrites_open(bytes, len, &diag, &log), 0);
	assert_int_equal(logwrites_next(&log, &diag, &entry), 1);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(logwrites_next(&log, &diag, &entry), 1);
		assert_int_equal(entry.at, 4096 + i * 128 * MIB);
		assert_int_equal(entry.len_bytes, i < 2 ? 128 * MIB : 44 * MIB);
		assert_int_equal(entry.flags, TRIM);
	}
	journal_free(journal);
}

static void what_we_write_we_read_back(void **state)
{
	struct journal *journal = new_journal(true), *back = NULL;
	struct journal_extent extent = { .at = 4096, .len_bytes = 512 };
	struct logwrites_export export;
	struct diag diag = { 0 };

	(void)state;
	extent.data = filled(journal, 'z', 512);
	assert_int_equal(journal_add_extent(journal, &extent), 0);
	extent.at = 65536;
	assert_int_equal(journal_add_extent(journal, &extent), 0);
	add_flush(journal, 0, 1, 2, false);
	add_write(journal, 0, 3, 4, 'a', 0, 512, IO_META);
	assert_int_equal(journal_add_mark(journal, 5, 0, "m", 1), 0);
	must_seal(journal);
	check_words(journal, 0,
		    "m:faultblk-disk size=1048576 base=2 name=d0 Wz8 Wz128 F F m:m Wa0+ "
		    "m:dm-log-writes-end ",
		    &export);
	assert_int_equal(journal_open(path, &diag, &back), 0);
	assert_string_equal(back->disks[0].name, "d0");
	assert_int_equal(back->disks[0].size_bytes, MIB);
	assert_int_equal(back->nr_extents, 2);
	assert_int_equal(back->extents[1].at, 65536);
	assert_memory_equal(back->extents[1].data, "zzzz", 4);
	assert_int_equal(back->nr_writes, 1);
	assert_int_equal(back->nr_flushes, 1);
	assert_int_equal(back->nr_marks, 1);
	assert_true(back->closed);
	journal_free(back);
	journal_free(journal);
}

static void a_full_disk_is_told(void **state)
{
	struct journal *journal = new_journal(true);
	struct logwrites_export export;
	struct diag diag = { 0 };
	_cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	must_seal(journal);
	assert_true(fd >= 0);
	assert_int_equal(logwrites_export(journal, 0, fd, &diag, &export), -ENOSPC);
	assert_non_null(strstr(diag.message, "cannot write the log: No space left"));
	journal_free(journal);
}

/* ------------------------------------------------------------------------------ states */

#define UNITS    12
#define MOMENTS  256
#define CONTENTS 64

/* What may be where at one moment: sets of contents, each known by its first byte. */
struct moment {
	uint32_t nr_marks;
	bool may[UNITS][256];
};

static size_t list_moments(const struct journal *journal, struct moment *moments)
{
	const struct crash_options options = { .unit_bytes = 512 };
	static unsigned char bytes[MIB];
	const struct crash_image images[1] = { { bytes, -1 } };
	const struct crash_choice *choices;
	struct crash *crash;

	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crash_create(journal, &options, images, NULL, &crash), 0);
	assert_in_range(journal->end_step, 1, MOMENTS);
	for (uint64_t step = 1; step <= journal->end_step; step++) {
		struct moment *moment = &moments[step - 1];
		size_t nr;

		*moment = (struct moment){ 0 };
		assert_int_equal(crash_move(crash, step), 0);
		for (size_t i = 0; i < UNITS; i++)
			moment->may[i][bytes[i * 512]] = true;
		nr = crash_choices(crash, &choices);
		for (size_t i = 0; i < nr; i++)
			for (uint32_t c = 0; c < choices[i].nr; c++) {
				const unsigned char *data = choices[i].candidates[c].data;

				moment->may[choices[i].at / 512][data ? *data : 0] = true;
			}
		for (size_t i = 0; i < journal->nr_marks; i++)
			moment->nr_marks += journal->marks[i].step <= step;
	}
	crash_free(crash);
	return journal->end_step;
}

static bool within(const struct moment *a, const struct moment *b)
{
	if (a->nr_marks != b->nr_marks)
		return false;
	for (size_t i = 0; i < UNITS; i++)
		for (size_t c = 0; c < 256; c++)
			if (a->may[i][c] && !b->may[i][c])
				return false;
	return true;
}

/* Several writes in flight, but never two to one place; flushes, FUA, discards and marks. */
static struct journal *random_journal(struct draw *draw)
{
	const struct journal_disk disk = {
		.name = "d0", .size_bytes = MIB, .block_bytes = 512, .cache = true
	};
	struct journal_write writes[CONTENTS] = { 0 };
	struct journal_flush flushes[CONTENTS] = { 0 };
	size_t nr = 0, nr_flushes = 0;
	struct journal *journal;
	uint64_t step = 0;

	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disk), 0);
	while (step < 60) {
		uint64_t what = draw_below(draw, 8);
		struct journal_write *write = &writes[draw_below(draw, nr + 1)];
		struct journal_flush *flush = &flushes[draw_below(draw, nr_flushes + 1)];
		uint64_t at = draw_below(draw, UNITS), len = 1 + draw_below(draw, 3);
		bool busy = at + len > UNITS;

		if (what < 3 && write->submit && write->complete == JOURNAL_NEVER) {
			write->complete = ++step;
		} else if (what == 3 && flush->submit && flush->complete == JOURNAL_NEVER) {
			flush->complete = ++step;
		} else if (what == 4) {
			flushes[nr_flushes++] = (struct journal_flush){ .submit = ++step,
									.complete = JOURNAL_NEVER };
		} else if (what == 5 && step % 3 == 0) {
			step++;
			assert_int_equal(journal_add_mark(journal, step, 0, "m", 1), 0);
		}
		for (size_t i = 0; i < nr; i++)
			busy |= writes[i].complete == JOURNAL_NEVER &&
				writes[i].at < (at + len) * 512 &&
				at * 512 < writes[i].at + writes[i].len_bytes;
		if (what < 6 || busy)
			continue;
		writes[nr] = (struct journal_write){ .complete = JOURNAL_NEVER,
						     .at = at * 512,
						     .len_bytes = len * 512,
						     .flags = draw_below(draw, 4) ? 0 : IO_FUA,
						     .op = IO_WRITE };
		writes[nr].submit = ++step;
		if (draw_below(draw, 6))
			writes[nr].data = filled(journal, (char)(nr + 1), len * 512);
		else
			writes[nr].op = IO_DISCARD;
		nr++;
	}
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(journal_add_write(journal, &writes[i]), 0);
	for (size_t i = 0; i < nr_flushes; i++)
		assert_int_equal(journal_add_flush(journal, &flushes[i]), 0);
	must_seal(journal);
	return journal;
}

/*
 * At every moment of an imported log all that may be there may have been there at some moment of
 * what it was a log of, with as many marks made.
 */
static void every_state_of_a_log_was_a_legal_one(void **state)
{
	static struct moment real[MOMENTS], logged[MOMENTS];
	struct draw draw = { .seed = 3 };

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct journal *journal = random_journal(&draw), *back = NULL;
		struct logwrites_export export;
		size_t nr_real = list_moments(journal, real), nr_logged, len;
		_cleanup_free_ unsigned char *bytes = must_export(journal, 0, &len, &export);

		assert_int_equal(logwrites_import(bytes, len, NULL, NULL, &back), 0);
		nr_logged = back->end_step ? list_moments(back, logged) : 0;
		for (size_t k = 0; k < nr_logged; k++) {
			size_t r = 0;

			while (r < nr_real && !within(&logged[k], &real[r]))
				r++;
			if (r == nr_real)
				fail_msg("round %d: the moment after step %zu never was", i, k + 1);
		}
		journal_free(back);
		journal_free(journal);
	}
}

/* ------------------------------------------------------------------------------ files */

static void what_is_no_recording_is_refused_by_name(void **state)
{
	struct journal *journal = NULL;
	struct diag diag = { 0 };
	FILE *file = fopen(path, "w");

	(void)state;
	assert_int_equal(fclose(file), 0);
	assert_int_equal(journal_open(path, &diag, &journal), -EINVAL);
	assert_non_null(strstr(diag.message, "is empty"));
	file = fopen(path, "w");
	fputs("hello", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(journal_open(path, &diag, &journal), -EINVAL);
	assert_non_null(strstr(diag.message, "neither a recording nor a log of dm-log-writes"));
	assert_non_null(strstr(diag.message, path));
	assert_int_equal(journal_open("/nowhere", &diag, &journal), -ENOENT);
	assert_string_equal(diag.message, "cannot open /nowhere: No such file or directory");
	assert_int_equal(journal_open("/tmp", &diag, &journal), -EINVAL);
	assert_non_null(strstr(diag.message, "/tmp is neither a file nor a block device"));
	assert_null(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_become_requests_one_after_the_other),
		cmocka_unit_test(a_write_that_says_flush_is_not_covered_by_its_own_flush),
		cmocka_unit_test(size_name_and_earlier_content_can_be_given),
		cmocka_unit_test(marks_come_out_as_lines),
		cmocka_unit_test(what_is_no_log_is_refused_in_words),
		cmocka_unit_test(a_wrong_entry_is_named_by_number_and_byte),
		cmocka_unit_test(a_name_in_a_log_is_no_path),
		cmocka_unit_test(a_log_cut_short_says_where),
		cmocka_unit_test(options_that_do_not_go_with_the_log_are_refused),
		cmocka_unit_test(writes_are_logged_when_a_flush_makes_them_durable),
		cmocka_unit_test(of_flushes_in_flight_together_the_first_to_end_logs_for_both),
		cmocka_unit_test(what_a_durable_write_replaces_is_not_logged_behind_it),
		cmocka_unit_test(a_durable_write_takes_along_all_up_to_the_last_that_it_replaces),
		cmocka_unit_test(without_a_cache_every_write_is_durable_when_it_ends),
		cmocka_unit_test(a_large_discard_is_cut_into_pieces),
		cmocka_unit_test(what_we_write_we_read_back),
		cmocka_unit_test(a_full_disk_is_told),
		cmocka_unit_test(every_state_of_a_log_was_a_legal_one),
		cmocka_unit_test(what_is_no_recording_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
