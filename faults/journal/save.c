// SPDX-License-Identifier: MIT
/*
 * The events of the journal one after the other, each as the records that the reader makes it from,
 * each record in a block of its own. What completes before anything else happens is a request that
 * did not park; any other parks, and ends later. The queue of a request says nothing: the first one
 * that has room for it.
 */
#include "faults/journal/save.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH        4096u
#define DISCARD_MAX  (UINT32_MAX & ~(RECORD_IO_MAX - 1))
#define BUFFER_BYTES (1u << 20)
/* The two rules of a disk that lied. */
#define FALSE_ACK_WRITE 1
#define FALSE_ACK_FLUSH 2

/* Where a write or flush is in flight. */
struct saved_place {
	uint64_t arrival; /* step in the file, of its first piece */
	uint16_t queue;
};

struct saved_disk {
	struct record_stream *streams; /* by queue */
	uint32_t *in_flight;           /* by queue */
	uint16_t nr_queues, room;
	bool lies;
	uint64_t nr_hits[3]; /* by rule */
};

struct saving {
	const struct journal *journal;
	struct record_header header;
	FILE *out;
	int err; /* the first */
	uint64_t step;
	uint64_t nr_requests, nr_marks;
	uint64_t asked, shown; /* a step of the journal, and the last of the file up to it */
	struct saved_place *writes, *flushes;
	struct saved_disk *disks;
};

/* ------------------------------------------------------------------------------ bytes */

static void put(struct saving *saving, const void *bytes, size_t len)
{
	if (len && !saving->err &&
	    fail_value("faults/journal/save/write", (errno = ENOSPC, 0),
		       fwrite(bytes, 1, len, saving->out)) != len)
		saving->err = errno ? -errno : -EIO;
}

static void put_block(struct saving *saving, uint16_t disk, uint16_t queue, const void *a,
		      size_t a_len, const void *b, size_t b_len)
{
	unsigned char head[RECORD_BLOCK_BYTES];

	record_put_block(head, disk, queue, a, a_len, b, b_len);
	put(saving, head, sizeof(head));
	put(saving, a, a_len);
	put(saving, b, b_len);
}

static void put_control(struct saving *saving, struct record *record)
{
	uint16_t disk = record->type >= RECORD_MARK ? RECORD_NOBODY : record->disk;
	size_t len, data_len = record->type == RECORD_BASE ? record->len_bytes : 0;
	unsigned char *bytes;
	int err;

	record->step = ++saving->step;
	err = record_put_control(&saving->header, record, &bytes, &len);
	if (err) {
		saving->err = err;
		return;
	}
	put_block(saving, disk, RECORD_CONTROL, bytes, len, record->data, data_len);
	free(bytes);
}

static void put_queue(struct saving *saving, struct record *record)
{
	struct record_stream *stream = &saving->disks[record->disk].streams[record->queue];
	unsigned char bytes[RECORD_REQUEST_MAX + RECORD_HIT_MAX], *end;
	bool data = record->type == RECORD_REQUEST && record->op == IO_WRITE && record->data;

	record->step = ++saving->step;
	end = record_put(bytes, stream, record);
	for (uint32_t i = 0; record->type == RECORD_REQUEST && i < record->nr_hits; i++)
		end = record_put_hit(end, &record->hits[i]);
	put_block(saving, record->disk, record->queue, bytes, (size_t)(end - bytes), record->data,
		  data ? record->len_bytes : 0);
}

/* ------------------------------------------------------------------------------ queues */

static uint32_t piece_max(const struct journal_write *write)
{
	return write->op == IO_WRITE ? RECORD_IO_MAX : DISCARD_MAX;
}

static uint64_t nr_pieces(const struct journal_write *write)
{
	return (write->len_bytes + piece_max(write) - 1) / piece_max(write);
}

static int grow(struct saved_disk *disk)
{
	uint16_t had = disk->room;

	if (array_room("faults/journal/save/in-flight", disk->in_flight, disk->room, had + 1u, 4))
		return -ENOMEM;
	memset(disk->in_flight + had, 0, (size_t)(disk->room - had) * sizeof(*disk->in_flight));
	return 0;
}

static int take_room(struct saved_disk *disk, uint64_t nr, uint16_t *ret_queue)
{
	uint16_t queue = 0;

	if (nr > DEPTH)
		return -E2BIG;
	while (queue < disk->room && disk->in_flight[queue] + nr > DEPTH)
		queue++;
	if (queue == RECORD_QUEUES_MAX)
		return -E2BIG;
	if (queue == disk->room && grow(disk) < 0)
		return -ENOMEM;
	disk->in_flight[queue] += (uint32_t)nr;
	if (disk->nr_queues <= queue)
		disk->nr_queues = queue + 1;
	*ret_queue = queue;
	return 0;
}

static int place_write(struct saving *saving, uint32_t index)
{
	const struct journal_write *write = &saving->journal->writes[index];
	struct saved_disk *disk = &saving->disks[write->disk];

	disk->lies |= write->false_ack;
	return take_room(disk, nr_pieces(write), &saving->writes[index].queue);
}

static int place_flush(struct saving *saving, uint32_t index)
{
	const struct journal_flush *flush = &saving->journal->flushes[index];
	struct saved_disk *disk = &saving->disks[flush->disk];

	disk->lies |= flush->false_ack;
	return take_room(disk, 1, &saving->flushes[index].queue);
}

static int place_event(struct saving *saving, const struct journal_event *event)
{
	const struct journal *journal = saving->journal;
	uint32_t i = event->index;

	switch ((enum journal_what)event->what) {
	case JOURNAL_SUBMIT:
		return place_write(saving, i);
	case JOURNAL_FLUSH_SUBMIT:
		return place_flush(saving, i);
	case JOURNAL_COMPLETE:
		saving->disks[journal->writes[i].disk].in_flight[saving->writes[i].queue] -=
			(uint32_t)nr_pieces(&journal->writes[i]);
		break;
	case JOURNAL_FLUSH_COMPLETE:
		saving->disks[journal->flushes[i].disk].in_flight[saving->flushes[i].queue]--;
		break;
	case JOURNAL_MARK:
		break;
	}
	return 0;
}

/* The number of queues stands at the beginning of the file: one walk for that. */
static int place_all(struct saving *saving)
{
	const struct journal *journal = saving->journal;
	int err = 0;

	for (size_t i = 0; !err && i < journal->nr_events; i++)
		err = place_event(saving, &journal->events[i]);
	for (uint32_t i = 0; !err && i < journal->nr_disks; i++) {
		struct saved_disk *disk = &saving->disks[i];

		disk->nr_queues += !disk->nr_queues;
		disk->streams = fail_alloc("faults/journal/save/streams",
					   calloc(disk->nr_queues, sizeof(*disk->streams)));
		if (!disk->streams)
			return -ENOMEM;
		for (uint16_t q = 0; q < disk->nr_queues; q++)
			disk->streams[q] = record_stream_start(&saving->header);
	}
	return err;
}

/* ------------------------------------------------------------------------------ the beginning */

static void put_disk(struct saving *saving, uint16_t index)
{
	const struct journal_disk *from = &saving->journal->disks[index];
	struct record_disk disk = {
		.size_bytes = from->size_bytes,
		.start_ns = saving->header.start_ns,
		.block_bytes = from->block_bytes,
		.physical_bytes = from->block_bytes,
		.max_io_bytes = RECORD_IO_MAX,
		.depth = DEPTH,
		.flags = (from->cache ? RECORD_CACHE : 0) |
			 (from->cache_writes ? RECORD_CACHE_WRITES : 0) |
			 (from->cache_order ? RECORD_CACHE_ORDER : 0),
		.cache_unit_bytes = from->cache_unit_bytes,
		.nr_queues = saving->disks[index].nr_queues,
	};
	unsigned char bytes[RECORD_DISK_BYTES];

	snprintf(disk.name, sizeof(disk.name), "%s", from->name);
	record_put_disk(bytes, &disk);
	put_block(saving, index, RECORD_IS_DISK, bytes, sizeof(bytes), NULL, 0);
}

static void put_rules(struct saving *saving, uint16_t index)
{
	static const char *const texts[] = { "false-ack-write op=write,discard,zeroes do=drop",
					     "false-ack-flush op=flush do=lie" };
	struct record_rule rules[array_size(texts)];
	struct record record = { .type = RECORD_RULES,
				 .disk = index,
				 .time_ns = saving->header.start_ns,
				 .epoch = 1,
				 .nr_rules = array_size(texts),
				 .rules = rules };

	for (uint32_t i = 0; i < array_size(texts); i++)
		rules[i] = (struct record_rule){ .rule = i + 1,
						 .fresh = true,
						 .enabled = true,
						 .text = texts[i],
						 .len = strlen(texts[i]) };
	if (saving->disks[index].lies)
		put_control(saving, &record);
}

static void put_extent(struct saving *saving, const struct journal_extent *extent)
{
	for (uint64_t at = 0; at < extent->len_bytes; at += RECORD_BASE_MAX) {
		uint64_t left = extent->len_bytes - at;
		struct record record = {
			.type = RECORD_BASE,
			.disk = extent->disk,
			.time_ns = saving->header.start_ns,
			.from = extent->at + at,
			.len_bytes = left < RECORD_BASE_MAX ? (uint32_t)left : RECORD_BASE_MAX,
			.data = extent->data + at,
		};

		put_control(saving, &record);
	}
}

static int check_extents(const struct journal *journal, struct diag *diag)
{
	for (size_t i = 0; i < journal->nr_extents; i++)
		if ((journal->extents[i].at | journal->extents[i].len_bytes) % SECTOR_SIZE)
			return diag_set(diag, -EINVAL, "journal.extent",
					"content at byte %llu is not of whole sectors, as a "
					"recording wants it",
					(unsigned long long)journal->extents[i].at);
	return 0;
}

/* ------------------------------------------------------------------------------ events */

static uint32_t take_hit(struct saving *saving, uint16_t disk, uint32_t rule, bool false_ack,
			 struct record_hit *hit)
{
	*hit = (struct record_hit){ .rule = rule };
	if (false_ack)
		hit->match = ++saving->disks[disk].nr_hits[rule];
	return false_ack;
}

static void put_write(struct saving *saving, uint32_t index, bool parked)
{
	const struct journal_write *write = &saving->journal->writes[index];
	struct saved_place *place = &saving->writes[index];
	uint32_t most = piece_max(write);

	place->arrival = saving->step + 1;
	for (uint64_t at = 0; at < write->len_bytes; at += most) {
		uint64_t left = write->len_bytes - at;
		struct record_hit hit;
		struct record record = {
			.type = RECORD_REQUEST,
			.disk = write->disk,
			.queue = place->queue,
			.time_ns = write->submit_ns,
			.op = write->op,
			.parked = parked,
			.flags = write->flags,
			.len_bytes = left < most ? (uint32_t)left : most,
			.sector = (write->at + at) >> SECTOR_SHIFT,
			.hits = &hit,
			.data = write->data ? write->data + at : NULL,
		};

		record.nr_hits =
			take_hit(saving, write->disk, FALSE_ACK_WRITE, write->false_ack, &hit);
		record.result =
			write->failed ? -EIO : record_plain_result(record.op, record.len_bytes);
		put_queue(saving, &record);
		saving->nr_requests++;
	}
}

static void put_batch(struct saving *saving, uint16_t disk, uint16_t queue)
{
	struct record record = { .type = RECORD_BATCH, .disk = disk, .queue = queue };

	put_queue(saving, &record);
}

static void end_write(struct saving *saving, uint32_t index, bool parked)
{
	const struct journal_write *write = &saving->journal->writes[index];
	const struct saved_place *place = &saving->writes[index];
	uint64_t nr = parked ? nr_pieces(write) : 0;

	for (uint64_t i = 0; i < nr; i++) {
		struct record record = {
			.type = RECORD_END,
			.disk = write->disk,
			.queue = place->queue,
			.time_ns = write->complete_ns,
			.arrival = place->arrival + i,
			.op = IO_FLUSH, /* so that 0 is the plain result */
			.result = write->failed ? -EIO : 0,
		};

		put_queue(saving, &record);
	}
	put_batch(saving, write->disk, place->queue);
}

static void put_flush(struct saving *saving, uint32_t index, bool parked)
{
	const struct journal_flush *flush = &saving->journal->flushes[index];
	struct saved_place *place = &saving->flushes[index];
	struct record_hit hit;
	struct record record = {
		.type = RECORD_REQUEST,
		.disk = flush->disk,
		.queue = place->queue,
		.time_ns = flush->submit_ns,
		.op = IO_FLUSH,
		.parked = parked,
		.hits = &hit,
		.result = flush->failed ? -EIO : 0,
	};

	place->arrival = saving->step + 1;
	record.nr_hits = take_hit(saving, flush->disk, FALSE_ACK_FLUSH, flush->false_ack, &hit);
	put_queue(saving, &record);
	saving->nr_requests++;
}

static void end_flush(struct saving *saving, uint32_t index, bool parked)
{
	const struct journal_flush *flush = &saving->journal->flushes[index];
	const struct saved_place *place = &saving->flushes[index];
	struct record record = {
		.type = RECORD_END,
		.disk = flush->disk,
		.queue = place->queue,
		.time_ns = flush->complete_ns,
		.arrival = place->arrival,
		.op = IO_FLUSH,
		.result = flush->failed ? -EIO : 0,
	};

	if (parked)
		put_queue(saving, &record);
	put_batch(saving, flush->disk, place->queue);
}

static void put_mark(struct saving *saving, const struct journal_mark *mark)
{
	struct record record = {
		.type = RECORD_MARK,
		.time_ns = mark->time_ns,
		.mark = ++saving->nr_marks,
		.text = mark->text,
		.text_len = strlen(mark->text),
	};

	put_control(saving, &record);
}

static void put_events(struct saving *saving)
{
	const struct journal *journal = saving->journal;

	for (size_t i = 0; i < journal->nr_events; i++) {
		const struct journal_event *event = &journal->events[i];
		const struct journal_event *other =
			event->what == JOURNAL_SUBMIT || event->what == JOURNAL_FLUSH_SUBMIT
				? event + 1
				: event - 1;
		/* Its end follows right on its submission, and the other way round. */
		bool parked = other < journal->events ||
			      other >= journal->events + journal->nr_events ||
			      other->index != event->index || (other->what ^ event->what) != 1;

		switch ((enum journal_what)event->what) {
		case JOURNAL_SUBMIT:
			put_write(saving, event->index, parked);
			break;
		case JOURNAL_COMPLETE:
			end_write(saving, event->index, parked);
			break;
		case JOURNAL_FLUSH_SUBMIT:
			put_flush(saving, event->index, parked);
			break;
		case JOURNAL_FLUSH_COMPLETE:
			end_flush(saving, event->index, parked);
			break;
		case JOURNAL_MARK:
			put_mark(saving, &journal->marks[event->index]);
			break;
		}
		if (event->step <= saving->asked)
			saving->shown = saving->step;
	}
}
_Static_assert((JOURNAL_SUBMIT ^ JOURNAL_COMPLETE) == 1, "pairs differ in the lowest bit");
_Static_assert((JOURNAL_FLUSH_SUBMIT ^ JOURNAL_FLUSH_COMPLETE) == 1, "pairs differ in that bit");

static void put_all(struct saving *saving)
{
	const struct journal *journal = saving->journal;
	unsigned char header[RECORD_HEADER_BYTES];
	struct record last = { .type = RECORD_CLOSE,
			       .time_ns = journal->end_ns,
			       .why = RECORD_WHY_DONE };

	record_put_header(header, &saving->header);
	put(saving, header, sizeof(header));
	for (uint16_t i = 0; i < journal->nr_disks; i++)
		put_disk(saving, i);
	for (uint16_t i = 0; i < journal->nr_disks; i++)
		put_rules(saving, i);
	for (size_t i = 0; i < journal->nr_extents; i++)
		put_extent(saving, &journal->extents[i]);
	put_events(saving);
	last.nr_requests = saving->nr_requests;
	if (journal->closed)
		put_control(saving, &last);
	if (!saving->err && fflush(saving->out))
		saving->err = errno ? -errno : -EIO;
}

/* ------------------------------------------------------------------------------ outside */

static int prepare(struct saving *saving, int fd)
{
	const struct journal *journal = saving->journal;
	int copy = fail_errno("faults/journal/save/dup", EMFILE, fcntl(fd, F_DUPFD_CLOEXEC, 0));

	if (copy < 0)
		return -errno;
	saving->out = fail_alloc("faults/journal/save/file", fdopen(copy, "w"));
	if (!saving->out) {
		close(copy);
		return -ENOMEM;
	}
	setvbuf(saving->out, NULL, _IOFBF, BUFFER_BYTES);
	saving->writes = fail_alloc("faults/journal/save/writes",
				    calloc(journal->nr_writes + 1, sizeof(*saving->writes)));
	saving->flushes = fail_alloc("faults/journal/save/flushes",
				     calloc(journal->nr_flushes + 1, sizeof(*saving->flushes)));
	saving->disks = fail_alloc("faults/journal/save/disks",
				   calloc(journal->nr_disks, sizeof(*saving->disks)));
	if (!saving->writes || !saving->flushes || !saving->disks)
		return -ENOMEM;
	return place_all(saving);
}

static void release(struct saving *saving)
{
	for (uint32_t i = 0; saving->disks && i < saving->journal->nr_disks; i++) {
		free(saving->disks[i].streams);
		free(saving->disks[i].in_flight);
	}
	free(saving->disks);
	free(saving->writes);
	free(saving->flushes);
	if (saving->out)
		fclose(saving->out);
}

int journal_save(const struct journal *journal, uint64_t id, int fd, struct diag *diag)
{
	uint64_t shown;

	return journal_save_step(journal, id, fd, 0, diag, &shown);
}

int journal_save_step(const struct journal *journal, uint64_t id, int fd, uint64_t step,
		      struct diag *diag, uint64_t *ret_shown)
{
	struct saving saving = {
		.journal = journal,
		.asked = step,
		.header = { .id = id, .start_ns = journal->start_ns, .flags = RECORD_DATA },
	};
	int err = check_extents(journal, diag);

	if (err)
		return err;
	err = prepare(&saving, fd);
	if (!err) {
		put_all(&saving);
		err = saving.err;
	}
	if (err)
		diag_set(diag, err, "journal.save", "cannot write the recording: %s",
			 err == -E2BIG ? "too much is in flight at once" : strerror(-err));
	else
		*ret_shown = saving.shown;
	release(&saving);
	return err;
}
