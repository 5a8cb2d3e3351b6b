// SPDX-License-Identifier: MIT
/*
 * The journal of a record file. Its steps are not those of the file: what happened to the disks is
 * numbered anew, since all that a batch completes shares the step of the batch there, and reads and
 * rules have no place here. Users see the steps of the file (journal_shown()).
 *
 *	REQUEST ---- submitted --> in flight --(END; at once unless it parked)--> ended
 *	BATCH of its queue -------------------------------------> completed: the host may know
 *
 * A cut that was recorded is decided when the power is on again: all writes of the disk that are
 * still in flight fail, and what the disk holds then, wherever it was written (BASE), is written
 * once more, durably (journal_write.survivor), so that it replaces whatever was possible before.
 *
 * In version 2 nothing tells what a disk held then: what was not durable by the revival may have
 * been lost, so that nothing that comes later guarantees it.
 */
#include "faults/journal/read.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "base/units.h"
#include "faults/record/record.h"
#include "faults/rule/ast.h"
#include "faults/rule/kind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A request that changes or flushes a disk, and is not known to the host yet. */
struct pending {
	uint64_t arrival; /* its step in the file */
	uint32_t index;   /* of the journal's writes or flushes */
	bool flush;
	bool decided; /* by a power cut: whatever its end, it is complete */
};

/*
 * Never more than the requests in flight, and those that have ended beside the others: a batch asks
 * for them alone, however many others hang.
 */
struct recorded_queue {
	struct pending *open; /* by arrival */
	struct pending *ended;
	uint32_t nr_open, nr_ended, room; /* of each */
};

struct recorded_disk {
	const struct record_disk *is;
	struct recorded_queue *queues;
	bool *false_acks; /* by number of the rule: what it acknowledges is not so */
	uint32_t nr_rules;
	bool asked; /* a request came: what BASE says from here on is of the next revival */
	struct journal_write *survivors;
	size_t nr_survivors, room_survivors;
	/* Version 2: writes that the next revival may put in doubt. What had completed by the last
	 * one is decided; so they are those since, and those in flight. */
	uint32_t *open;
	size_t nr_open, room_open;
	uint64_t flushed; /* submission of the last flush that guarantees anything; 0: none */
};

struct record_reading {
	struct record_reader *reader;
	struct journal *journal;
	struct diag *diag;
	uint64_t step; /* of the journal */
	uint16_t nr_disks;
	struct recorded_disk disks[RECORD_DISKS_MAX];
};

static int nonsense(const struct record_reading *reading, const struct record *record,
		    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int nonsense(const struct record_reading *reading, const struct record *record,
		    const char *fmt, ...)
{
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return diag_set(reading->diag, -EINVAL, "journal.record", "step %llu of the recording: %s",
			(unsigned long long)record->step, what);
}

/* ------------------------------------------------------------------------------ disks */

static int add_disk(struct record_reading *reading, uint16_t index)
{
	const struct record_disk *is = record_reader_disk(reading->reader, index);
	struct recorded_disk *disk = &reading->disks[index];
	struct journal_disk to = {
		.size_bytes = is->size_bytes,
		.block_bytes = is->block_bytes,
		.cache = is->flags & RECORD_CACHE,
		.cache_writes = is->flags & RECORD_CACHE_WRITES,
		.cache_order = is->flags & RECORD_CACHE_ORDER,
		.cache_unit_bytes = is->cache_unit_bytes,
	};

	snprintf(to.name, sizeof(to.name), "%s", is->name);
	disk->is = is;
	disk->queues = fail_alloc("faults/journal/record/queues",
				  calloc(is->nr_queues, sizeof(*disk->queues)));
	return disk->queues ? journal_add_disk(reading->journal, &to) : -ENOMEM;
}

static void free_queue(struct recorded_queue *queue)
{
	free(queue->open);
	free(queue->ended);
}

static void free_disks(struct record_reading *reading)
{
	for (uint16_t i = 0; i < reading->nr_disks; i++) {
		struct recorded_disk *disk = &reading->disks[i];

		for (uint16_t k = 0; disk->queues && k < disk->is->nr_queues; k++)
			free_queue(&disk->queues[k]);
		free(disk->queues);
		free(disk->false_acks);
		free(disk->survivors);
		free(disk->open);
	}
}

/* ------------------------------------------------------------------------------ rules */

static int add_rule(struct record_reading *reading, const struct record *record,
		    const struct record_rule *rule)
{
	struct recorded_disk *disk = &reading->disks[record->disk];
	struct rule *parsed;
	int err;

	if (!rule->fresh)
		return 0;
	if (rule->rule != disk->nr_rules + 1)
		return nonsense(reading, record, "rule %u is new, after %u others", rule->rule,
				disk->nr_rules);
	err = rule_parse(rule->text, rule->len, NULL, &parsed);
	if (err == -ENOMEM)
		return err;
	if (err < 0)
		return nonsense(reading, record, "rule %u is unknown to this program",
				rule->rule);
	err = array_fit("faults/journal/record/false-acks", disk->false_acks, disk->nr_rules + 1u);
	if (!err)
		disk->false_acks[disk->nr_rules++] = parsed->kind->role == KIND_FALSE_ACK;
	rule_unref(parsed);
	return err;
}

static int take_rules(struct record_reading *reading, const struct record *record)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < record->nr_rules; i++)
		err = add_rule(reading, record, &record->rules[i]);
	return err;
}

static bool is_false_ack(const struct recorded_disk *disk, const struct record *record)
{
	for (uint32_t i = 0; i < record->nr_hits; i++)
		if (record->hits[i].rule <= disk->nr_rules &&
		    disk->false_acks[record->hits[i].rule - 1])
			return true;
	return false;
}

/* ------------------------------------------------------------------------------ requests */

static int grow_queue(struct recorded_queue *queue)
{
	struct pending **arrays[] = { &queue->open, &queue->ended };
	uint32_t room = 0;

	for (size_t i = 0; i < array_size(arrays); i++) {
		room = queue->room;
		if (array_room("faults/journal/record/pending", *arrays[i], room, room + 1ull, 16))
			return -ENOMEM;
	}
	queue->room = room;
	return 0;
}

static int add_pending(struct record_reading *reading, const struct record *record, bool flush)
{
	const struct recorded_disk *disk = &reading->disks[record->disk];
	struct recorded_queue *queue = &disk->queues[record->queue];
	const struct journal *journal = reading->journal;
	uint32_t nr = queue->nr_open + queue->nr_ended;

	if (nr == disk->is->depth)
		return nonsense(reading, record,
				"one request more than the %u that queue %u can have in flight",
				disk->is->depth, record->queue);
	if (nr == queue->room && grow_queue(queue) < 0)
		return -ENOMEM;
	queue->open[queue->nr_open++] = (struct pending){
		.arrival = record->step,
		.index = (uint32_t)((flush ? journal->nr_flushes : journal->nr_writes) - 1),
		.flush = flush,
	};
	return 0;
}

/* Open request number @i of the queue. */
static void end(struct record_reading *reading, struct recorded_queue *queue, uint32_t i,
		int result, uint64_t time_ns)
{
	struct pending pending = queue->open[i];
	struct journal *journal = reading->journal;
	bool failed = result < 0;

	memmove(&queue->open[i], &queue->open[i + 1],
		(--queue->nr_open - i) * sizeof(*queue->open));
	queue->ended[queue->nr_ended++] = pending;
	if (pending.flush) {
		struct journal_flush *flush = &journal->flushes[pending.index];

		flush->complete_ns = time_ns;
		flush->failed = failed;
		flush->false_ack &= !failed;
	} else {
		struct journal_write *write = &journal->writes[pending.index];

		write->complete_ns = time_ns;
		write->failed = failed;
		write->false_ack &= !failed;
	}
}

static int add_flush(struct record_reading *reading, const struct record *record)
{
	const struct journal_flush flush = {
		.submit = ++reading->step,
		.complete = JOURNAL_NEVER,
		.submit_ns = record->time_ns,
		.disk = record->disk,
		.false_ack = is_false_ack(&reading->disks[record->disk], record),
	};

	return journal_add_flush(reading->journal, &flush);
}

/* The journal's last write, where a revival may put it in doubt. */
static int note_open(struct record_reading *reading, uint16_t index)
{
	struct recorded_disk *disk = &reading->disks[index];

	if (record_reader_header(reading->reader)->version >= 3 ||
	    !reading->journal->disks[index].cache)
		return 0;
	if (array_room("faults/journal/record/open", disk->open, disk->room_open, disk->nr_open + 1,
		       64))
		return -ENOMEM;
	disk->open[disk->nr_open++] = (uint32_t)(reading->journal->nr_writes - 1);
	return 0;
}

static int add_write(struct record_reading *reading, const struct record *record)
{
	const struct journal_write write = {
		.submit = ++reading->step,
		.complete = JOURNAL_NEVER,
		.at = record->sector << SECTOR_SHIFT,
		.len_bytes = record->len_bytes,
		.data = record->op == IO_WRITE ? record->data : NULL,
		.submit_ns = record->time_ns,
		.flags = record->flags,
		.disk = record->disk,
		.op = record->op,
		.false_ack = is_false_ack(&reading->disks[record->disk], record),
	};

	int err = journal_add_write(reading->journal, &write);

	return err ? err : note_open(reading, record->disk);
}

static int take_request(struct record_reading *reading, const struct record *record)
{
	struct recorded_queue *queue = &reading->disks[record->disk].queues[record->queue];
	bool flush = record->op == IO_FLUSH;
	int err;

	reading->disks[record->disk].asked = true;
	/* Data that never came from the kernel went nowhere, nor does any without power. */
	if (record->op == IO_READ || (record->op == IO_WRITE && record->no_data) ||
	    record->unreached)
		return 0;
	err = flush ? add_flush(reading, record) : add_write(reading, record);
	if (!err)
		err = add_pending(reading, record, flush);
	if (!err && !record->parked)
		end(reading, queue, queue->nr_open - 1, record->result, record->time_ns);
	return err;
}

/* Reads are not here, so an end that nobody waits for is one of theirs. */
static void take_end(struct record_reading *reading, const struct record *record)
{
	struct recorded_queue *queue = &reading->disks[record->disk].queues[record->queue];

	uint32_t from = 0, to = queue->nr_open;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (queue->open[middle].arrival < record->arrival)
			from = middle + 1;
		else
			to = middle;
	}
	if (from < queue->nr_open && queue->open[from].arrival == record->arrival)
		end(reading, queue, from, record->result == RECORD_PLAIN ? 0 : record->result,
		    record->time_ns);
}

static int by_arrival(const void *a, const void *b)
{
	const struct pending *x = a, *y = b;

	return (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

static void complete_flush(struct record_reading *reading, struct journal_flush *flush)
{
	struct recorded_disk *disk = &reading->disks[flush->disk];

	flush->complete = ++reading->step;
	if (!flush->failed && flush->submit > disk->flushed)
		disk->flushed = flush->submit;
}

/* What has ended is complete, in the order of arrival; what a power cut decided was before. */
static void complete_ended(struct record_reading *reading, struct recorded_queue *queue)
{
	struct journal *journal = reading->journal;

	if (queue->nr_ended > 1)
		qsort(queue->ended, queue->nr_ended, sizeof(*queue->ended), by_arrival);
	for (uint32_t i = 0; i < queue->nr_ended; i++) {
		struct pending *pending = &queue->ended[i];

		if (pending->decided)
			continue;
		pending->decided = true;
		if (pending->flush)
			complete_flush(reading, &journal->flushes[pending->index]);
		else
			journal->writes[pending->index].complete = ++reading->step;
	}
}

static void take_batch(struct record_reading *reading, const struct record *record)
{
	struct recorded_queue *queue = &reading->disks[record->disk].queues[record->queue];

	complete_ended(reading, queue);
	queue->nr_ended = 0;
}

/* ------------------------------------------------------------------------------ the rest */

/* Those in flight may still end well, and are asked for again. */
static void doubt_volatile(struct record_reading *reading, struct recorded_disk *disk)
{
	size_t nr = 0;

	for (size_t i = 0; i < disk->nr_open; i++) {
		struct journal_write *write = &reading->journal->writes[disk->open[i]];
		bool complete = write->complete != JOURNAL_NEVER;

		if (write->complete >= disk->flushed && !(write->flags & IO_FUA && complete))
			write->failed = true;
		if (!complete)
			disk->open[nr++] = disk->open[i];
	}
	disk->nr_open = nr;
}

/* The host never knows the end of what is in flight now, or does not any more. */
static void fail_pending(struct record_reading *reading, const struct recorded_disk *disk,
			 uint64_t time_ns)
{
	for (uint16_t k = 0; k < disk->is->nr_queues; k++) {
		struct recorded_queue *queue = &disk->queues[k];

		while (queue->nr_open)
			end(reading, queue, queue->nr_open - 1, -EIO, time_ns);
		complete_ended(reading, queue);
	}
}

static int write_survivors(struct record_reading *reading, struct recorded_disk *disk,
			   uint64_t time_ns)
{
	uint64_t submit = reading->step;
	int err = 0;

	reading->step += 2 * disk->nr_survivors;
	for (size_t i = 0; !err && i < disk->nr_survivors; i++) {
		struct journal_write *write = &disk->survivors[i];

		write->submit = submit + 1 + i;
		write->complete = write->submit + disk->nr_survivors;
		write->submit_ns = write->complete_ns = time_ns;
		err = journal_add_write(reading->journal, write);
	}
	disk->nr_survivors = 0;
	return err;
}

static int take_revival(struct record_reading *reading, const struct record *record)
{
	struct recorded_disk *disk = &reading->disks[record->disk];
	uint64_t time_ns = record->time_ns;

	doubt_volatile(reading, disk);
	if (!record->after_cut)
		return 0;
	/* The record may have the time of the one of its stream before. */
	if (time_ns < reading->journal->end_ns)
		time_ns = reading->journal->end_ns;
	fail_pending(reading, disk, time_ns);
	return write_survivors(reading, disk, time_ns);
}

/* Zeroes that follow zeroes are one. */
static int keep(struct recorded_disk *disk, const struct record *record)
{
	struct journal_write *last =
		disk->nr_survivors ? &disk->survivors[disk->nr_survivors - 1] : NULL;

	if (last && !last->data && !record->data && last->at + last->len_bytes == record->from) {
		last->len_bytes += record->len_bytes;
		return 0;
	}
	if (array_room("faults/journal/record/survivors", disk->survivors, disk->room_survivors,
		       disk->nr_survivors + 1, 16))
		return -ENOMEM;
	disk->survivors[disk->nr_survivors++] = (struct journal_write){
		.at = record->from,
		.len_bytes = record->len_bytes,
		.data = record->data,
		.flags = IO_FUA,
		.disk = record->disk,
		.op = record->data ? IO_WRITE : IO_ZEROES,
		.survivor = true,
	};
	return 0;
}

static int take_base(struct record_reading *reading, const struct record *record)
{
	const struct journal_extent extent = {
		.disk = record->disk,
		.at = record->from,
		.len_bytes = record->len_bytes,
		.data = record->data,
	};

	if (reading->disks[record->disk].asked)
		return keep(&reading->disks[record->disk], record);
	return record->data ? journal_add_extent(reading->journal, &extent) : 0;
}

static int take(struct record_reading *reading, const struct record *record)
{
	struct journal *journal = reading->journal;

	switch (record->type) {
	case RECORD_REQUEST:
		return take_request(reading, record);
	case RECORD_END:
		take_end(reading, record);
		return 0;
	case RECORD_BATCH:
		take_batch(reading, record);
		return 0;
	case RECORD_RULES:
		return take_rules(reading, record);
	case RECORD_REVIVE:
		return take_revival(reading, record);
	case RECORD_BASE:
		return take_base(reading, record);
	case RECORD_MARK:
		reading->step++;
		return journal_add_mark(journal, reading->step, record->time_ns, record->text,
					record->text_len);
	case RECORD_CLOSE:
		journal->closed = true;
		return 0;
	case RECORD_ADOPT:
	case RECORD_TELL:
		return 0;
	}
	return 0;
}

static int read_all(struct record_reading *reading)
{
	const struct record_header *header = record_reader_header(reading->reader);
	struct journal *journal = reading->journal;
	struct record record;
	int more, err = 0;

	if (!(header->flags & RECORD_DATA)) {
		diag_set(reading->diag, -EINVAL, "journal.no-data",
			 "the recording has no data of writes, only requests and decisions");
		diag_hint(reading->diag, "record it with `faultblk run --record FILE "
					 "--record-data`");
		return -EINVAL;
	}
	/* Then the words for why it ends there say more than that there is no disk. */
	if (!reading->nr_disks && record_reader_end(reading->reader, reading->diag) < 0)
		return -EINVAL;
	for (uint16_t i = 0; !err && i < reading->nr_disks; i++)
		err = add_disk(reading, i);
	journal->start_ns = header->start_ns;
	while (!err && (more = record_reader_next(reading->reader, &record)) != 0) {
		err = more < 0 ? more : take(reading, &record);
		if (!err)
			err = journal_show(journal, reading->step, record.step);
		if (!err && record.type != RECORD_ADOPT && record.type != RECORD_BATCH)
			journal->end_ns = record.time_ns;
	}
	if (err)
		return err;
	/* Which recording it is, and how much of it is there. */
	journal->id = rng_mix(header->id, journal->closed, reading->step);
	err = journal_seal(journal, reading->diag);
	/* No error, but words for whoever wants to tell that it ends early. */
	if (!err)
		record_reader_end(reading->reader, reading->diag);
	return err;
}

int journal_from_record(const void *bytes, size_t size, struct diag *diag,
			struct journal **ret_journal)
{
	struct record_reading *reading =
		fail_alloc("faults/journal/record/reading", calloc(1, sizeof(*reading)));
	int err = reading ? record_reader_open(bytes, size, diag, &reading->reader) : -ENOMEM;

	if (!err) {
		reading->diag = diag;
		reading->nr_disks = record_reader_nr_disks(reading->reader);
		err = journal_new(&reading->journal);
	}
	if (!err)
		err = read_all(reading);
	if (err == -ENOMEM || err == -E2BIG)
		diag_set(diag, err, "journal.memory", "there is not enough memory for the "
						      "recording");
	if (!err)
		*ret_journal = take_ptr(reading->journal);
	if (reading) {
		free_disks(reading);
		journal_free(reading->journal);
		record_reader_free(reading->reader);
	}
	free(reading);
	return err;
}
