// SPDX-License-Identifier: MIT
/*
 * A journal as a log, in the order in which dm-log-writes would have written it, had it sat on this
 * disk: the disk's events are gone through in the order of their steps, and what has been completed
 * waits until something makes it durable.
 *
 *	completed --> waiting, by completion --(a flush submitted later completes)--> the log
 *
 * A write with FUA, and a mark, go to the log at once. But if an older write to the same place
 * still waits, all go first that wait up to that one: it has been replaced, and whoever replays the
 * log must not bring it back, nor what it has replaced itself.
 */
#include "faults/journal/logwrites.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/journal/logwrites_code.h"
#include "faults/record/code.h"
#include "faults/record/latest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define BUFFER_BYTES (1u << 20)

enum event_what { WRITE_DONE, FLUSH_DONE, MARKED };

struct logged_event {
	uint64_t step;
	uint32_t index; /* of the journal's writes, flushes or marks */
	uint8_t what;   /* enum event_what */
};

struct export
{
	const struct journal *journal;
	const struct journal_disk *disk;
	uint16_t disk_index;
	FILE *out;
	int err;
	/* Writes in the order in which they were completed: from the head on they wait. */
	uint32_t *waiting;
	uint32_t head, nr_waiting;
	struct latest latest; /* where they are, each by its number among them, from 1 */
	struct logged_event *events;
	size_t nr_events;
	struct logwrites_export stats;
};

/* ------------------------------------------------------------------------------ bytes */

/* The first error is kept and asked for at the end. */
static void put(struct export *export, const void *bytes, size_t len)
{
	if (!export->err && fail_value("faults/journal/logwrites_write/write", (errno = ENOSPC, 0),
				       fwrite(bytes, 1, len, export->out)) != len)
		export->err = errno ? -errno : -EIO;
}

static int put_end(struct export *export)
{
	if (!export->err && fflush(export->out))
		export->err = errno ? -errno : -EIO;
	return export->err;
}

static void put_zeroes(struct export *export, uint64_t len)
{
	static const unsigned char zeroes[4096];

	while (len) {
		size_t part = len < sizeof(zeroes) ? (size_t)len : sizeof(zeroes);

		put(export, zeroes, part);
		len -= part;
	}
}

/* @text may be NULL; what does not fit beside the header is cut off. */
static void put_entry(struct export *export, uint64_t at, uint64_t len_bytes, uint32_t flags,
		      const char *text)
{
	uint32_t block = export->disk->block_bytes;
	unsigned char head[LOG_ENTRY_BYTES];
	size_t len = text ? strlen(text) : 0;

	/* Readers want a terminated text. */
	if (len > block - LOG_ENTRY_BYTES - 1)
		len = block - LOG_ENTRY_BYTES - 1;
	put_le(head, at / block, 8);
	put_le(head + 8, len_bytes / block, 8);
	put_le(head + 16, flags, 8);
	put_le(head + 24, len, 8);
	put(export, head, sizeof(head));
	if (len)
		put(export, text, len);
	put_zeroes(export, block - LOG_ENTRY_BYTES - len);
	export->stats.nr_entries++;
}

static void put_discard(struct export *export, uint64_t at, uint64_t len, uint32_t flags)
{
	while (len) {
		uint64_t part = len < LOGWRITES_DISCARD_MAX ? len : LOGWRITES_DISCARD_MAX;

		put_entry(export, at, part, flags | LOGWRITES_DISCARD, NULL);
		at += part;
		len -= part;
	}
}

static bool is_durable(const struct export *export, const struct journal_write *write)
{
	return write->flags & IO_FUA || !export->disk->cache;
}

/* A write whose data was zeroes from the start has no data in the journal either. */
static void put_write(struct export *export, const struct journal_write *write)
{
	uint32_t flags = (is_durable(export, write) ? LOGWRITES_FUA : 0) |
			 (write->flags & IO_META ? LOGWRITES_META : 0);

	if (write->op != IO_WRITE) {
		put_discard(export, write->at, write->len_bytes, flags);
		return;
	}
	put_entry(export, write->at, write->len_bytes, flags, NULL);
	if (write->data)
		put(export, write->data, write->len_bytes);
	else
		put_zeroes(export, write->len_bytes);
}

static void put_base(struct export *export)
{
	const struct journal *journal = export->journal;
	uint64_t nr = 0;
	char text[256];

	for (size_t i = 0; i < journal->nr_extents; i++)
		nr += journal->extents[i].disk == export->disk_index;
	snprintf(text, sizeof(text), LOG_DISK_SIZE "%llu" LOG_DISK_BASE "%llu" LOG_DISK_NAME "%s",
		 (unsigned long long)export->disk->size_bytes, (unsigned long long)nr,
		 export->disk->name);
	put_entry(export, 0, 0, LOGWRITES_MARK, text);
	for (size_t i = 0; i < journal->nr_extents; i++) {
		const struct journal_extent *extent = &journal->extents[i];

		if (extent->disk != export->disk_index)
			continue;
		put_entry(export, extent->at, extent->len_bytes, 0, NULL);
		put(export, extent->data, extent->len_bytes);
	}
	if (nr)
		put_entry(export, 0, 0, LOGWRITES_FLUSH, NULL);
}

static void put_super(struct export *export)
{
	unsigned char super[LOG_SUPER_BYTES];

	put_le(super, LOG_MAGIC, 8);
	put_le(super + 8, LOG_VERSION, 8);
	put_le(super + 16, export->stats.nr_entries, 8);
	put_le(super + 24, export->disk->block_bytes, 4);
	put(export, super, sizeof(super));
}

/* ------------------------------------------------------------------------------ events */

static void add_event(struct export *export, uint64_t step, enum event_what what, size_t index)
{
	export->events[export->nr_events++] = (struct logged_event){ .step = step,
								     .index = (uint32_t)index,
								     .what = (uint8_t)what };
}

static int compare_events(const void *a, const void *b)
{
	const struct logged_event *one = a, *two = b;

	/* What a batch completed shares its step: as submitted. */
	if (one->step != two->step)
		return one->step < two->step ? -1 : 1;
	if (one->what != two->what)
		return one->what < two->what ? -1 : 1;
	return one->index < two->index ? -1 : one->index > two->index;
}

static void collect_writes(struct export *export)
{
	const struct journal *journal = export->journal;

	for (size_t i = 0; i < journal->nr_writes; i++) {
		const struct journal_write *write = &journal->writes[i];

		if (write->disk != export->disk_index)
			continue;
		export->stats.nr_false_acks += write->false_ack;
		if (write->complete == JOURNAL_NEVER)
			export->stats.nr_unfinished++;
		else if (write->failed)
			export->stats.nr_failed++;
		else
			add_event(export, write->complete, WRITE_DONE, i);
	}
}

static void collect_flushes(struct export *export)
{
	const struct journal *journal = export->journal;

	for (size_t i = 0; i < journal->nr_flushes; i++) {
		const struct journal_flush *flush = &journal->flushes[i];

		/* One that fails or never ends guarantees nothing: as if it had not been. */
		if (flush->disk != export->disk_index || flush->complete == JOURNAL_NEVER ||
		    flush->failed)
			continue;
		export->stats.nr_false_acks += flush->false_ack;
		add_event(export, flush->complete, FLUSH_DONE, i);
	}
}

/* Where writes will wait, while there are no events but theirs. Where none is durable by itself,
 * nobody will ask. */
static int collect_borders(struct export *export)
{
	const struct journal *journal = export->journal;
	size_t nr = 0, nr_durable = 0;
	uint64_t *borders = fail_alloc("faults/journal/logwrites_write/borders",
				       malloc((2 * export->nr_events + 1) * sizeof(*borders)));

	if (!borders)
		return -ENOMEM;
	for (size_t i = 0; i < export->nr_events; i++) {
		const struct journal_write *write = &journal->writes[export->events[i].index];

		if (is_durable(export, write)) {
			nr_durable++;
			continue;
		}
		borders[nr++] = write->at;
		borders[nr++] = write->at + write->len_bytes;
	}
	return latest_start(&export->latest, borders, nr_durable ? nr : 0);
}

static int collect(struct export *export)
{
	const struct journal *journal = export->journal;
	int err;

	export->waiting = fail_alloc("faults/journal/logwrites_write/waiting",
				     calloc(journal->nr_writes + 1, sizeof(*export->waiting)));
	export->events =
		fail_alloc("faults/journal/logwrites_write/events",
			   calloc(journal->nr_writes + journal->nr_flushes + journal->nr_marks + 1,
				  sizeof(*export->events)));
	if (!export->waiting || !export->events)
		return -ENOMEM;
	collect_writes(export);
	err = collect_borders(export);
	if (err)
		return err;
	collect_flushes(export);
	for (size_t i = 0; i < journal->nr_marks; i++)
		add_event(export, journal->marks[i].step, MARKED, i);
	qsort(export->events, export->nr_events, sizeof(*export->events), compare_events);
	return 0;
}

/* ------------------------------------------------------------------------------ the order */

static void wait_for_flush(struct export *export, uint32_t index)
{
	const struct journal_write *write = &export->journal->writes[index];

	export->waiting[export->nr_waiting++] = index;
	if (export->latest.nr_borders)
		latest_note(&export->latest, write->at, write->at + write->len_bytes,
			    export->nr_waiting);
}

/* Those that wait and were completed before @step. */
static void put_waiting(struct export *export, uint64_t step)
{
	const struct journal_write *writes = export->journal->writes;

	while (export->head < export->nr_waiting &&
	       writes[export->waiting[export->head]].complete < step)
		put_write(export, &writes[export->waiting[export->head++]]);
}

/* What waits up to the last one that @by replaces: their order among themselves stays. */
static void put_replaced(struct export *export, const struct journal_write *by)
{
	const struct journal_write *writes = export->journal->writes;
	uint32_t end;

	if (export->head == export->nr_waiting)
		return;
	end = latest_find(&export->latest, by->at, by->at + by->len_bytes);
	while (export->head < end)
		put_write(export, &writes[export->waiting[export->head++]]);
}

static void handle(struct export *export, const struct logged_event *event)
{
	const struct journal *journal = export->journal;

	switch ((enum event_what)event->what) {
	case WRITE_DONE:
		if (!is_durable(export, &journal->writes[event->index])) {
			wait_for_flush(export, event->index);
			break;
		}
		put_replaced(export, &journal->writes[event->index]);
		put_write(export, &journal->writes[event->index]);
		break;
	case FLUSH_DONE:
		put_waiting(export, journal->flushes[event->index].submit);
		put_entry(export, 0, 0, LOGWRITES_FLUSH, NULL);
		break;
	case MARKED:
		put_entry(export, 0, 0, LOGWRITES_MARK, journal->marks[event->index].text);
		break;
	}
}

/* The super block last: until then its place holds zeroes. */
static int put_log(struct export *export)
{
	put_zeroes(export, export->disk->block_bytes);
	put_base(export);
	for (size_t i = 0; i < export->nr_events; i++)
		handle(export, &export->events[i]);
	put_waiting(export, UINT64_MAX);
	put_entry(export, 0, 0, LOGWRITES_MARK, LOGWRITES_END);
	if (put_end(export))
		return export->err;
	if (fseek(export->out, 0, SEEK_SET))
		return -errno;
	put_super(export);
	return put_end(export);
}

static int open_out(struct export *export, int fd)
{
	int copy = fail_errno("faults/journal/logwrites_write/dup", EMFILE,
			      fcntl(fd, F_DUPFD_CLOEXEC, 0));

	if (copy < 0)
		return -errno;
	export->out = fail_alloc("faults/journal/logwrites_write/file", fdopen(copy, "w"));
	if (!export->out) {
		close(copy);
		return -ENOMEM;
	}
	setvbuf(export->out, NULL, _IOFBF, BUFFER_BYTES);
	return 0;
}

int logwrites_export(const struct journal *journal, uint16_t disk, int fd, struct diag *diag,
		     struct logwrites_export *ret_export)
{
	struct export export = {
		.journal = journal,
		.disk = &journal->disks[disk],
		.disk_index = disk,
	};
	int err;

	if (export.disk->block_bytes > LOG_BLOCK_MAX)
		return diag_set(diag, -EINVAL, "logwrites.block",
				"disk '%s' has logical blocks of %u bytes; a log can have at most "
				"%u",
				export.disk->name, export.disk->block_bytes, LOG_BLOCK_MAX);
	err = open_out(&export, fd);
	if (!err)
		err = collect(&export);
	if (!err)
		err = put_log(&export);
	if (err)
		diag_set(diag, err, "logwrites.write", "cannot write the log: %s", strerror(-err));
	else
		*ret_export = export.stats;
	if (export.out)
		fclose(export.out);
	free(export.waiting);
	latest_free(&export.latest);
	free(export.events);
	return err;
}
