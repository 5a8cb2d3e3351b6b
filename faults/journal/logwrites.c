// SPDX-License-Identifier: MIT
/*
 * A log, read: a walk over its entries that believes no number before it has been compared with
 * what the file holds, and on top of it the journal.
 *
 *	block 0: super block | entry | data ... | entry | entry | data ...
 */
#include "faults/journal/logwrites.h"

#include "base/cleanup.h"
#include "base/name.h"
#include "faults/journal/logwrites_code.h"
#include "faults/record/code.h"
#include "faults/record/record.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define SIZE_STEP (1u << 20) /* of a disk whose size nobody tells */

/* ------------------------------------------------------------------------------ the log */

bool logwrites_is(const void *bytes, uint64_t size)
{
	return size >= LOG_SUPER_BYTES && get_le(bytes, 8) == LOG_MAGIC;
}

int logwrites_open(const void *bytes, uint64_t size, struct diag *diag, struct logwrites *ret_log)
{
	const unsigned char *super = bytes;
	uint64_t block;

	if (!logwrites_is(bytes, size))
		return diag_set(
			diag, -EINVAL, "logwrites.magic",
			"this is no log of dm-log-writes: it does not begin with the number "
			"0x%llx",
			LOG_MAGIC);
	if (get_le(super + 8, 8) != LOG_VERSION)
		return diag_set(diag, -EINVAL, "logwrites.version",
				"the log at byte 8 has version %llu; this program reads version %d",
				(unsigned long long)get_le(super + 8, 8), LOG_VERSION);
	block = get_le(super + 24, 4);
	if (block < LOG_BLOCK_MIN || block > LOG_BLOCK_MAX || block & (block - 1))
		return diag_set(
			diag, -EINVAL, "logwrites.block",
			"the log at byte 24 has a sector size of %llu; it must be a power of "
			"two from %u to %u",
			(unsigned long long)block, LOG_BLOCK_MIN, LOG_BLOCK_MAX);
	*ret_log = (struct logwrites){
		.bytes = bytes,
		.size = size,
		.nr_entries = get_le(super + 16, 8),
		.block_bytes = (uint32_t)block,
		.at = block,
		.next = 1,
	};
	return 0;
}

static int bad_entry(const struct logwrites_entry *entry, struct diag *diag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int bad_entry(const struct logwrites_entry *entry, struct diag *diag, const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return diag_set(diag, -EINVAL, "logwrites.entry", "entry %llu of the log, at byte %llu: %s",
			(unsigned long long)entry->n, (unsigned long long)entry->file_at, what);
}

static int no_room(const struct logwrites *log, const struct logwrites_entry *entry,
		   struct diag *diag, const char *what, uint64_t need)
{
	bad_entry(entry, diag, "%s of %llu bytes does not fit: the log ends at byte %llu", what,
		  (unsigned long long)need, (unsigned long long)log->size);
	diag_hint(diag, "its super block counts %llu entries; was the log copied whole?",
		  (unsigned long long)log->nr_entries);
	return -EINVAL;
}

static int take_mark(const struct logwrites *log, const unsigned char *head, struct diag *diag,
		     struct logwrites_entry *entry)
{
	uint64_t len = get_le(head + 24, 8), most = log->block_bytes - LOG_ENTRY_BYTES;

	if (entry->len_bytes)
		return bad_entry(entry, diag, "a mark with %llu bytes of data; it must have none",
				 (unsigned long long)entry->len_bytes);
	if (len > most)
		return bad_entry(entry, diag, "a mark whose text has %llu bytes; at most %llu fit",
				 (unsigned long long)len, (unsigned long long)most);
	entry->text = (const char *)head + LOG_ENTRY_BYTES;
	entry->text_len = strnlen(entry->text, (size_t)len);
	return 0;
}

static int take_write(const struct logwrites *log, const unsigned char *head, struct diag *diag,
		      struct logwrites_entry *entry)
{
	if (!entry->flags && !entry->len_bytes)
		return bad_entry(entry, diag, "neither flags nor data: there is no entry");
	if (log->block_bytes > LOG_ENTRY_BYTES && head[LOG_ENTRY_BYTES])
		return bad_entry(entry, diag, "text behind an entry that is no mark");
	if (entry->flags & LOGWRITES_DISCARD || !entry->len_bytes)
		return 0;
	if (entry->len_bytes > log->size - log->at)
		return no_room(log, entry, diag, "its data", entry->len_bytes);
	entry->data = log->bytes + log->at;
	return 0;
}

int logwrites_next(struct logwrites *log, struct diag *diag, struct logwrites_entry *ret_entry)
{
	struct logwrites_entry entry = { .n = log->next, .file_at = log->at };
	const unsigned char *head = log->bytes + log->at;
	uint64_t sector, nr, flags, most = INT64_MAX / log->block_bytes;
	int err;

	if (log->next > log->nr_entries)
		return 0;
	if (log->at > log->size || log->size - log->at < log->block_bytes)
		return no_room(log, &entry, diag, "its header", log->block_bytes);
	sector = get_le(head, 8);
	nr = get_le(head + 8, 8);
	flags = get_le(head + 16, 8);
	if (flags & ~(uint64_t)LOGWRITES_ALL_FLAGS)
		return bad_entry(&entry, diag, "flags 0x%llx; 0x%x are all that there are",
				 (unsigned long long)flags, LOGWRITES_ALL_FLAGS);
	if (sector > most || nr > most - sector)
		return bad_entry(&entry, diag, "%llu sectors from sector %llu; no disk has those",
				 (unsigned long long)nr, (unsigned long long)sector);
	entry.flags = (uint32_t)flags;
	entry.at = sector * log->block_bytes;
	entry.len_bytes = nr * log->block_bytes;
	log->at += log->block_bytes;
	err = flags & LOGWRITES_MARK ? take_mark(log, head, diag, &entry)
				     : take_write(log, head, diag, &entry);
	if (err)
		return err;
	if (entry.data)
		log->at += entry.len_bytes;
	log->next++;
	*ret_entry = entry;
	return 1;
}

/* ------------------------------------------------------------------------------ our first mark */

static bool take_number(const char **text, const char *end, const char *name, uint64_t *ret_n)
{
	size_t len = strlen(name);
	uint64_t n = 0;
	const char *at = *text + len;

	if ((size_t)(end - *text) <= len || memcmp(*text, name, len) != 0 || !isdigit(*at))
		return false;
	for (; at < end && isdigit(*at); at++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return false;
	*text = at;
	*ret_n = n;
	return true;
}

/* What log_describe() writes; anything else is a mark like others. */
static bool take_description(const struct logwrites_entry *entry, uint32_t block_bytes,
			     struct log_disk *ret_disk)
{
	struct log_disk disk = { 0 };
	const char *text = entry->text, *end = text + entry->text_len, *name = LOG_DISK_NAME;
	size_t len;

	if (!take_number(&text, end, LOG_DISK_SIZE, &disk.size_bytes) ||
	    !take_number(&text, end, LOG_DISK_BASE, &disk.nr_base) ||
	    (size_t)(end - text) <= strlen(name) || memcmp(text, name, strlen(name)) != 0)
		return false;
	text += strlen(name);
	len = (size_t)(end - text);
	if (len >= sizeof(disk.name) || !disk.size_bytes || disk.size_bytes > INT64_MAX ||
	    disk.size_bytes % block_bytes)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)text[i]))
			return false;
	memcpy(disk.name, text, len);
	*ret_disk = disk;
	return true;
}

/* ------------------------------------------------------------------------------ the journal */

struct import {
	struct logwrites log;
	struct journal *journal;
	struct log_disk disk; /* as our first mark tells it; all zero: another's log */
	uint64_t size_bytes;  /* the disk's */
	uint64_t step;
	uint64_t base_left; /* entries still to come that are content from before */
	bool base_flush;    /* a flush that only ends those may follow */
};

static uint64_t time_of(uint64_t step)
{
	return step * 1000;
}

static int check_name(const struct log_disk *disk, struct diag *diag)
{
	if (name_is_good(disk->name, strlen(disk->name)))
		return 0;
	diag_set(diag, -EINVAL, "logwrites.name",
		 "the log calls its disk '%s'; wanted 1 to %d " NAME_WANTED, disk->name,
		 NAME_BYTES_MAX);
	diag_hint(diag, "give it a name: --name");
	return -EINVAL;
}

/* The disk must be known before its first write is added: one walk for that. */
static int measure(struct import *import, const struct logwrites_import *options, struct diag *diag)
{
	struct logwrites log = import->log;
	struct logwrites_entry entry;
	uint64_t end = log.block_bytes;
	int more;

	while ((more = logwrites_next(&log, diag, &entry)) == 1) {
		if (entry.n == 1 && entry.text &&
		    take_description(&entry, log.block_bytes, &import->disk)) {
			int err = options->name ? 0 : check_name(&import->disk, diag);

			if (err)
				return err;
			import->base_left = import->disk.nr_base;
		}
		if (entry.at + entry.len_bytes > end)
			end = entry.at + entry.len_bytes;
	}
	if (more < 0)
		return more;
	if (options->base_bytes > end)
		end = options->base_bytes;
	import->size_bytes = options->size_bytes ? options->size_bytes : import->disk.size_bytes;
	if (!import->size_bytes)
		import->size_bytes = end > INT64_MAX - SIZE_STEP
					     ? end
					     : (end + SIZE_STEP - 1) / SIZE_STEP * SIZE_STEP;
	return 0;
}

static int check_size(const struct import *import, const struct logwrites_import *options,
		      struct diag *diag)
{
	uint64_t block = import->log.block_bytes;

	if (import->size_bytes % block || import->size_bytes > INT64_MAX)
		return diag_set(diag, -EINVAL, "logwrites.size",
				"a disk of %llu bytes does not go with the log's sectors of %llu "
				"bytes",
				(unsigned long long)import->size_bytes, (unsigned long long)block);
	if (options->base_bytes % block || options->base_bytes > import->size_bytes)
		return diag_set(diag, -EINVAL, "logwrites.base",
				"the content from before has %llu bytes; wanted: whole sectors of "
				"%llu bytes, at most the disk's %llu",
				(unsigned long long)options->base_bytes, (unsigned long long)block,
				(unsigned long long)import->size_bytes);
	if (options->base_bytes && import->disk.nr_base)
		return diag_set(diag, -EINVAL, "logwrites.base",
				"the log brings the content from before; it cannot be given");
	return 0;
}

static int add_disk(struct import *import, const struct logwrites_import *options)
{
	struct journal_disk disk = {
		.size_bytes = import->size_bytes,
		.block_bytes = import->log.block_bytes,
		.cache = true,
	};
	const struct journal_extent base = { .len_bytes = options->base_bytes,
					     .data = options->base };
	const char *name = options->name ? options->name : import->disk.name;
	int err;

	snprintf(disk.name, sizeof(disk.name), "%s", *name ? name : "log");
	err = journal_add_disk(import->journal, &disk);
	if (!err && base.len_bytes)
		err = journal_add_extent(import->journal, &base);
	return err;
}

static int add_base(struct import *import, const struct logwrites_entry *entry, struct diag *diag)
{
	const struct journal_extent extent = { .at = entry->at,
					       .len_bytes = entry->len_bytes,
					       .data = entry->data };

	if (entry->flags || !entry->data)
		return bad_entry(entry, diag,
				 "not a plain write, but the first mark counts %llu entries of "
				 "content from before",
				 (unsigned long long)import->disk.nr_base);
	import->base_left--;
	import->base_flush = true;
	return journal_add_extent(import->journal, &extent);
}

static int add_flush(struct import *import)
{
	struct journal_flush flush = { .submit = ++import->step };

	flush.complete = ++import->step;
	flush.submit_ns = time_of(flush.submit);
	flush.complete_ns = time_of(flush.complete);
	return journal_add_flush(import->journal, &flush);
}

static int add_write(struct import *import, const struct logwrites_entry *entry)
{
	struct journal_write write = {
		.submit = ++import->step,
		.at = entry->at,
		.len_bytes = entry->len_bytes,
		.data = entry->data,
		.flags = (entry->flags & LOGWRITES_FUA ? IO_FUA : 0) |
			 (entry->flags & LOGWRITES_META ? IO_META : 0),
		.op = entry->flags & LOGWRITES_DISCARD ? IO_DISCARD : IO_WRITE,
	};

	write.complete = ++import->step;
	write.submit_ns = time_of(write.submit);
	write.complete_ns = time_of(write.complete);
	return journal_add_write(import->journal, &write);
}

/* Bytes of the character at @at; 0: there is none that a mark can have. */
static size_t character(const char *at, size_t left)
{
	for (size_t len = 1; len <= 4 && len <= left; len++)
		if (record_check_mark(at, len, NULL) == 0)
			return len;
	return 0;
}

/* The kernel takes any bytes as a mark, a journal lines of text: '?' for what is no character. */
static int add_mark(struct import *import, const struct logwrites_entry *entry)
{
	char text[RECORD_MARK_MAX] = "?";
	size_t len = 0, n;

	for (size_t at = 0; at < entry->text_len; at += n ? n : 1) {
		n = character(entry->text + at, entry->text_len - at);
		if (len + (n ? n : 1) > sizeof(text))
			break;
		memcpy(text + len, n ? entry->text + at : "?", n ? n : 1);
		len += n ? n : 1;
	}
	import->step++;
	return journal_add_mark(import->journal, import->step, time_of(import->step), text,
				len ? len : 1);
}

static bool is_end(const struct logwrites_entry *entry)
{
	return entry->text && entry->text_len == strlen(LOGWRITES_END) &&
	       memcmp(entry->text, LOGWRITES_END, entry->text_len) == 0;
}

static int add_entry(struct import *import, const struct logwrites_entry *entry, struct diag *diag)
{
	bool base_flush = import->base_flush;
	int err = 0;

	if (entry->n == 1 && import->disk.size_bytes)
		return 0;
	if (entry->at + entry->len_bytes > import->size_bytes)
		return bad_entry(entry, diag, "%llu bytes at %llu, on a disk of %llu",
				 (unsigned long long)entry->len_bytes,
				 (unsigned long long)entry->at,
				 (unsigned long long)import->size_bytes);
	if (import->base_left)
		return add_base(import, entry, diag);
	import->base_flush = false;
	if (entry->n == import->log.nr_entries && is_end(entry)) {
		import->journal->closed = true;
		return 0;
	}
	if (entry->text)
		return add_mark(import, entry);
	/* A write that says flush wants what came before it flushed, not itself. */
	if (entry->flags & LOGWRITES_FLUSH && !(base_flush && !entry->len_bytes))
		err = add_flush(import);
	return !err && entry->len_bytes ? add_write(import, entry) : err;
}

static int fill(struct import *import, const struct logwrites_import *options, struct diag *diag)
{
	struct logwrites_entry entry;
	int more, err = measure(import, options, diag);

	if (!err)
		err = check_size(import, options, diag);
	if (!err)
		err = add_disk(import, options);
	while (!err && (more = logwrites_next(&import->log, diag, &entry)) != 0)
		err = more < 0 ? more : add_entry(import, &entry, diag);
	return err ? err : journal_seal(import->journal, diag);
}

int logwrites_import(const void *bytes, uint64_t size, const struct logwrites_import *options,
		     struct diag *diag, struct journal **ret_journal)
{
	static const struct logwrites_import nothing;
	struct import import = { 0 };
	int err = logwrites_open(bytes, size, diag, &import.log);

	if (!err)
		err = journal_new(&import.journal);
	if (!err)
		err = fill(&import, options ? options : &nothing, diag);
	if (err == -ENOMEM)
		diag_set(diag, err, "logwrites.memory", "no memory for the index of the log");
	if (err) {
		journal_free(import.journal);
		return err;
	}
	*ret_journal = import.journal;
	return 0;
}
