// SPDX-License-Identifier: MIT
/*
 *	queue thread: encode ---> ring ---.
 *	queue thread: encode ---> ring ----+--> writer thread --> blocks --> file
 *	control thread: encode ----------------------------------^  (recording.c has a lock)
 *
 * A record is put into its ring in full, with its data, before the ring's head moves on, so
 * whatever the writer finds between tail and head is whole records, and the data of a write lies in
 * one piece in the file. A ring therefore has room for two requests of the largest size. The writer
 * sleeps between rounds and is woken when a ring is half full; a queue makes no system call but for
 * that, and when it has to wait.
 *
 * The writer is marked as one that serves a disk (PR_SET_IO_FLUSHER): a queue may wait for it, and
 * so it must not wait for the disk's own dirty pages.
 */
#include "faults/record/recorder.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/flusher.h"
#include "base/hist.h"
#include "base/units.h"
#include "base/zero.h"
#include "faults/record/code.h"
#include "faults/record/dirty_map.h"
#include "faults/record/recording.h"
#include "faults/rule/ast.h"
#include "faults/rule/kind.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define RING_BYTES      (512u << 10)
#define DATA_RING_BYTES (4u << 20)
#define NAP_NS          (20 * NSEC_PER_MSEC)
#define WAIT_NS         (100 * NSEC_PER_USEC) /* for room, at first */
#define WAIT_MAX_NS     (5 * NSEC_PER_MSEC)   /* later */

struct recorder_ring {
	/* The queue's. */
	_Alignas(RECORDING_LINE) _Atomic uint64_t head; /* bytes ever put in */
	uint64_t room_end;                              /* up to here there is known to be room */
	struct record_stream stream;
	unsigned char *bytes;
	unsigned char *hits, *hits_end; /* of the request at hand, encoded */
	uint32_t nr_hits;
	uint64_t refusals; /* of memory, on the queue's thread, when it arrived */
	bool hurried;      /* the writer was woken for what is in it now */
	bool changed;      /* a request that changes the disk has ended since the last BATCH */
	_Atomic uint64_t nr_records, nr_requests, nr_waits;
	/* The writer's. */
	_Alignas(RECORDING_LINE) _Atomic uint64_t tail; /* bytes ever taken out */
	struct recording_counts told;                   /* to the recording */
};

struct recorder_disk {
	struct recorder *recorder;
	uint64_t size_bytes;
	uint32_t ring_bytes;
	uint16_t index, nr_queues;
	bool data;
	struct dirty_map *dirty_map; /* where it was written; NULL without data */
	/* Control thread. */
	uint32_t nr_rules; /* numbers given */
	uint64_t time_ns;  /* of its last record */
	struct recorder_ring rings[];
};

struct recorder {
	struct recording recording;
	bool owner; /* made it, did not join it */
	uint32_t ring_bytes;
	void (*ended)(void *ctx, const char *message);
	void *ctx;
	atomic_flag told_end;
	int event_fd;
	_Atomic bool full;     /* queues wait for the user */
	_Atomic bool hastened; /* they must not */
	/* The writer. */
	_Atomic bool stop;
	sem_t wake;
	bool started;
	pthread_t writer;
	/* Disks are only added. */
	_Atomic uint16_t nr_disks;
	struct recorder_disk *disks[RECORD_DISKS_MAX];
};

/* ------------------------------------------------------------------------------ its end */

static const char *const why_names[] = {
	[RECORD_WHY_DONE] = "the disks were removed",
	[RECORD_WHY_LIMIT] = "it has reached its limit",
	[RECORD_WHY_STOPPED] = "it was stopped",
};
_Static_assert(array_size(why_names) == RECORD_NR_WHYS, "words for each reason");

static void notify(struct recorder *recorder)
{
	eventfd_write(recorder->event_fd, 1);
}

/* Words for how it ended, once; for a recording that ends with its disks there is nothing to say.
 */
_cold_ static void tell_end(struct recorder *recorder)
{
	const struct recording_shared *shared = recorder->recording.shared;
	int ending = atomic_load(&shared->ending);
	char message[PATH_MAX + 256];

	if (ending == 1 + RECORD_WHY_DONE || !ending ||
	    atomic_flag_test_and_set(&recorder->told_end))
		return;
	snprintf(message, sizeof(message),
		 "recording to %s ended %s %llu bytes: %s; the file can be replayed, and the disk "
		 "continues without recording",
		 shared->path, ending < 0 ? "after" : "in order at",
		 (unsigned long long)atomic_load(&shared->file_bytes),
		 ending < 0 ? strerror(-ending) : why_names[ending - 1]);
	if (recorder->ended && atomic_load(&recorder->recording.ours))
		recorder->ended(recorder->ctx, message);
	notify(recorder);
}

/* ------------------------------------------------------------------------------ the writer */

/* What the ring holds goes to the file. A ring's count of records is read before its head. */
static void drain(struct recorder_disk *disk, uint16_t queue)
{
	struct recorder_ring *ring = &disk->rings[queue];
	const struct recording_counts now = {
		.records = atomic_load_explicit(&ring->nr_records, memory_order_acquire),
		.requests = atomic_load_explicit(&ring->nr_requests, memory_order_relaxed),
		.waits = atomic_load_explicit(&ring->nr_waits, memory_order_relaxed),
	};
	const struct recording_counts fresh = {
		.records = now.records - ring->told.records,
		.requests = now.requests - ring->told.requests,
		.waits = now.waits - ring->told.waits,
	};
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
	uint32_t at = (uint32_t)tail & (disk->ring_bytes - 1);
	size_t len = head - tail, first = disk->ring_bytes - at;

	if (!len && !fresh.records)
		return;
	if (first > len)
		first = len;
	recording_write(&disk->recorder->recording, disk->index, queue, ring->bytes + at, first,
			ring->bytes, len - first, fresh);
	ring->told = now;
	atomic_store_explicit(&ring->tail, head, memory_order_release);
}

/* False while the rings must stay as they are. At the end they are emptied whatever the limit. */
static bool may_write(struct recorder *recorder)
{
	bool full = recording_is_full(&recorder->recording) && !atomic_load(&recorder->stop);

	if (full && recorder->recording.shared->full == RECORDER_STOP) {
		recording_end(&recorder->recording, 1 + RECORD_WHY_LIMIT);
		full = false;
	}
	full = full && !atomic_load(&recorder->hastened);
	if (full != atomic_load_explicit(&recorder->full, memory_order_relaxed)) {
		atomic_store(&recorder->full, full);
		notify(recorder);
	}
	return !full;
}

static void drain_all(struct recorder *recorder)
{
	uint16_t nr = atomic_load_explicit(&recorder->nr_disks, memory_order_acquire);

	for (uint16_t i = 0; i < nr; i++)
		for (uint16_t queue = 0; queue < recorder->disks[i]->nr_queues; queue++)
			if (may_write(recorder))
				drain(recorder->disks[i], queue);
	if (!recording_is_over(&recorder->recording))
		return;
	recording_try_close(&recorder->recording, clock_now_ns());
	tell_end(recorder);
}

static void nap(struct recorder *recorder)
{
	const struct timespec until = clock_in_ns(NAP_NS);

	while (sem_clockwait(&recorder->wake, CLOCK_MONOTONIC, &until) < 0 && errno == EINTR)
		;
}

static void *run_writer(void *arg)
{
	struct recorder *recorder = arg;
	bool last;

	set_io_flusher(true);
	pthread_setname_np(pthread_self(), "recorder");
	do {
		last = atomic_load(&recorder->stop);
		drain_all(recorder);
		if (!last)
			nap(recorder);
	} while (!last);
	return NULL;
}

/* No signal is this thread's; SIGXFSZ would otherwise end the process where EFBIG would do. */
static int start_writer(struct recorder *recorder)
{
	sigset_t all, old;
	int err;

	if (recorder->started)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -fail_value("faults/record/recorder/thread", EAGAIN,
			  pthread_create(&recorder->writer, NULL, run_writer, recorder));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	recorder->started = !err;
	return err;
}

/* ------------------------------------------------------------------------------ the rings */

/* Returns false when the recording failed meanwhile: nothing is taken out any more. */
_cold_ static bool wait_for_room(struct recorder_disk *disk, struct recorder_ring *ring,
				 uint64_t wanted_end)
{
	struct timespec pause = { .tv_nsec = (long)WAIT_NS };

	relaxed_add(&ring->nr_waits, 1);
	sem_post(&disk->recorder->wake);
	for (;;) {
		ring->room_end =
			atomic_load_explicit(&ring->tail, memory_order_acquire) + disk->ring_bytes;
		if (wanted_end <= ring->room_end)
			return true;
		if (recording_error(&disk->recorder->recording))
			return false;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < (long)WAIT_MAX_NS)
			pause.tv_nsec += pause.tv_nsec / 8;
	}
}

static void copy_in(const struct recorder_disk *disk, struct recorder_ring *ring, uint64_t head,
		    const unsigned char *bytes, size_t len)
{
	uint32_t at = (uint32_t)head & (disk->ring_bytes - 1);
	size_t first = disk->ring_bytes - at;

	if (first > len)
		first = len;
	memcpy(ring->bytes + at, bytes, first);
	memcpy(ring->bytes, bytes + first, len - first);
}

/* A write's data, from byte @head of the ring on: what of it is there. */
static enum record_content copy_data(const struct recorder_disk *disk, struct recorder_ring *ring,
				     uint64_t head, struct io *io)
{
	uint32_t at = (uint32_t)head & (disk->ring_bytes - 1);
	size_t first = disk->ring_bytes - at;

	if (io->data && is_zero(io->data, io->len_bytes))
		return CONTENT_ZEROES;
	if (first > io->len_bytes)
		first = io->len_bytes;
	if (io_get(io, 0, ring->bytes + at, first) ||
	    (first < io->len_bytes && io_get(io, first, ring->bytes, io->len_bytes - first)))
		return CONTENT_UNKNOWN;
	return CONTENT_BYTES;
}

/* Half of the ring waits: have it taken out before it is full. */
static void hurry(struct recorder_disk *disk, struct recorder_ring *ring, uint64_t head)
{
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	bool half = head - tail > disk->ring_bytes / 2;

	if (half && !ring->hurried)
		sem_post(&disk->recorder->wake);
	ring->hurried = half;
}

/* The record that ends at @end is whole. */
static void publish(struct recorder_disk *disk, struct recorder_ring *ring, uint64_t end)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	atomic_store_explicit(&ring->head, end, memory_order_release);
	atomic_store_explicit(&ring->nr_records,
			      atomic_load_explicit(&ring->nr_records, memory_order_relaxed) + 1,
			      memory_order_release);
	/* A look every 64 KiB or so will do. */
	if ((head ^ end) >> 16)
		hurry(disk, ring, end);
}

/*
 * One record: @len of @bytes, the hits at hand, and the data of @io, unless that is NULL; the last
 * of @bytes says what became of it.
 */
static void put(struct recorder_disk *disk, struct recorder_ring *ring, unsigned char *bytes,
		size_t len, struct io *io)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	size_t hits_len = (size_t)(ring->hits_end - ring->hits);
	uint64_t end = head + len + hits_len, wanted = end + (io ? io->len_bytes : 0);

	if (wanted > ring->room_end && !wait_for_room(disk, ring, wanted))
		return;
	if (io) {
		bytes[len - 1] = copy_data(disk, ring, end, io);
		if (bytes[len - 1] == CONTENT_BYTES)
			end = wanted;
	}
	copy_in(disk, ring, head, bytes, len);
	if (hits_len)
		copy_in(disk, ring, head + len, ring->hits, hits_len);
	publish(disk, ring, end);
}

/* ------------------------------------------------------------------------------ queue threads */

struct recorder *recorder_of(const struct recorder_disk *disk)
{
	return disk->recorder;
}

void recorder_arrive(struct recorder_disk *disk, struct io *io)
{
	struct recorder_ring *ring = &disk->rings[io->queue];

	ring->hits_end = ring->hits;
	ring->nr_hits = 0;
	ring->refusals = store_refusals();
	io->step = recording_draw(&disk->recorder->recording);
}

void recorder_hit(struct recorder_disk *disk, const struct io *io, const struct record_hit *hit)
{
	struct recorder_ring *ring = &disk->rings[io->queue];

	if (!io->step)
		return;
	ring->hits_end = record_put_hit(ring->hits_end, hit);
	ring->nr_hits++;
}

void recorder_walked(struct recorder_disk *disk, struct io *io, uint64_t now_ns,
		     enum recorder_course course)
{
	struct recorder_ring *ring = &disk->rings[io->queue];
	bool parked = course == RECORDER_PARKED, unreached = course == RECORDER_UNREACHED;
	unsigned char bytes[RECORD_REQUEST_MAX];
	const struct record record = {
		.type = RECORD_REQUEST,
		.step = io->step,
		.time_ns = now_ns,
		.op = io->op,
		.parked = parked,
		.unreached = unreached,
		.refused = course == RECORDER_DONE && store_refusals() != ring->refusals,
		.flags = io->flags,
		.len_bytes = io->len_bytes,
		.sector = io->sector,
		.nr_hits = ring->nr_hits,
		.result = parked ? 0 : io->result,
	};

	if (!io->step)
		return;
	if (disk->data && io->op != IO_READ && io->op != IO_FLUSH && !unreached)
		dirty_map_add(disk->dirty_map, io->sector << SECTOR_SHIFT, io->len_bytes);
	relaxed_add(&ring->nr_requests, 1);
	ring->changed |= !parked && io->op != IO_READ;
	put(disk, ring, bytes, (size_t)(record_put(bytes, &ring->stream, &record) - bytes),
	    disk->data && io->op == IO_WRITE ? io : NULL);
}

/* A record that is no request; its step is drawn here. */
static void put_plain(struct recorder_disk *disk, struct recorder_ring *ring, struct record *record)
{
	unsigned char bytes[RECORD_REQUEST_MAX];

	record->step = recording_draw(&disk->recorder->recording);
	if (!record->step)
		return;
	ring->hits_end = ring->hits;
	put(disk, ring, bytes, (size_t)(record_put(bytes, &ring->stream, record) - bytes), NULL);
}

void recorder_end(struct recorder_disk *disk, const struct io *io, uint64_t now_ns, bool released)
{
	struct recorder_ring *ring = &disk->rings[io->queue];
	struct record record = {
		.type = RECORD_END,
		.time_ns = now_ns,
		.op = io->op,
		.len_bytes = io->len_bytes,
		.arrival = io->step,
		.released = released,
		.refused = io->refused,
		.result = io->result,
	};

	if (!io->step)
		return;
	ring->changed |= io->op != IO_READ;
	put_plain(disk, ring, &record);
}

void recorder_batch_done(struct recorder_disk *disk, uint16_t queue)
{
	struct recorder_ring *ring = &disk->rings[queue];

	if (!ring->changed || !disk->data)
		return;
	ring->changed = false;
	put_plain(disk, ring, &(struct record){ .type = RECORD_BATCH });
}

_cold_ void recorder_adopt(struct recorder_disk *disk, uint16_t queue, uint64_t epoch)
{
	put_plain(disk, &disk->rings[queue],
		  &(struct record){ .type = RECORD_ADOPT, .epoch = epoch });
}

/* ------------------------------------------------------------------------------ control thread */

/* 0, also when it is over. */
_cold_ static int put_control(struct recorder_disk *disk, struct record *record)
{
	int err;

	record->disk = disk->index;
	disk->time_ns = record->time_ns;
	err = recording_control(&disk->recorder->recording, record);
	if (err)
		tell_end(disk->recorder);
	return err;
}

static void free_texts(struct record_rule *rules, uint32_t nr)
{
	for (uint32_t i = 0; rules && i < nr; i++)
		free((char *)rules[i].text);
	free(rules);
}

/* False without memory. */
static bool describe_rule(struct recorder_disk *disk, struct rule *rule, struct record_rule *said)
{
	*said = (struct record_rule){ .fresh = !rule->number, .enabled = rule_enabled(rule) };
	if (said->fresh)
		rule->number = ++disk->nr_rules;
	said->rule = rule->number;
	if (!said->fresh)
		return true;
	said->text = rule_print(rule);
	said->len = said->text ? strlen(said->text) : 0;
	return said->text;
}

_cold_ void recorder_rules(struct recorder_disk *disk, const struct rule_set *set, uint64_t epoch,
			   uint64_t now_ns)
{
	uint32_t nr = (uint32_t)rule_set_count(set);
	struct record_rule *rules = calloc(nr + 1, sizeof(*rules));
	bool ok = rules;

	for (uint32_t i = 0; ok && i < nr; i++)
		ok = describe_rule(disk, rule_set_at(set, i), &rules[i]);
	if (ok) {
		put_control(disk, &(struct record){ .type = RECORD_RULES,
						    .time_ns = now_ns,
						    .epoch = epoch,
						    .nr_rules = nr,
						    .rules = rules });
	} else {
		recording_end(&disk->recorder->recording, -ENOMEM);
		tell_end(disk->recorder);
	}
	free_texts(rules, nr);
}

/* One range, zeroes if @bytes is NULL; cut where all others are, so that they fit units. */
_cold_ static int put_survivor(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len)
{
	struct recorder_disk *disk = ctx;
	int err = recording_is_over(&disk->recorder->recording) ? -ENODATA : 0;

	while (len && !err) {
		uint32_t part = (uint32_t)(RECORD_BASE_MAX - at % RECORD_BASE_MAX);

		if (part > len)
			part = (uint32_t)len;
		err = put_control(
			disk,
			&(struct record){ .type = RECORD_BASE,
					  .time_ns = disk->time_ns,
					  .from = at,
					  .len_bytes = part,
					  .data = bytes && !is_zero(bytes, part) ? bytes : NULL });
		at += part;
		bytes = bytes ? bytes + part : NULL;
		len -= part;
	}
	return err;
}

_cold_ void recorder_revive(struct recorder_disk *disk, struct store *cut)
{
	bool after_cut =
		cut && disk->data && !dirty_map_each(disk->dirty_map, cut, put_survivor, disk);

	put_control(disk, &(struct record){ .type = RECORD_REVIVE,
					    .time_ns = disk->time_ns,
					    .after_cut = after_cut });
}

_cold_ void recorder_tell(struct recorder_disk *disk, const struct rule *rule,
			  const struct kind_tell *tell)
{
	struct record record = { .type = RECORD_TELL,
				 .time_ns = disk->time_ns,
				 .rule = rule->number,
				 .has_range = tell->has_range,
				 .from = tell->from,
				 .to = tell->to };

	/* A verb as long as that is none. */
	if (!rule->number || strlen(tell->verb) > RECORD_VERB_MAX)
		return;
	snprintf(record.verb, sizeof(record.verb), "%s", tell->verb);
	put_control(disk, &record);
}

_cold_ int recorder_base(struct recorder_disk *disk, uint64_t at, const void *bytes, size_t len)
{
	const unsigned char *from = bytes;
	int err = 0;

	assert(at % SECTOR_SIZE == 0 && len % SECTOR_SIZE == 0);
	assert(at <= disk->size_bytes && len <= disk->size_bytes - at);
	while (disk->data && len && !err) {
		uint32_t part = len < RECORD_BASE_MAX ? (uint32_t)len : RECORD_BASE_MAX;

		err = recording_error(&disk->recorder->recording);
		if (!err && !is_zero(from, part))
			err = put_control(disk, &(struct record){ .type = RECORD_BASE,
								  .time_ns = disk->time_ns,
								  .from = at,
								  .len_bytes = part,
								  .data = from });
		at += part;
		from += part;
		len -= part;
	}
	return err;
}

/* ------------------------------------------------------------------------------ any thread */

_cold_ static int mark_error(struct recorder *recorder, int err, struct diag *diag)
{
	int ending = atomic_load(&recorder->recording.shared->ending);

	if (err)
		return diag_set(diag, err, "mark.failed", "the recording failed: %s",
				strerror(-err));
	diag_set(diag, -ENODATA, "mark.ended", "the recording has ended: %s",
		 ending < 0 ? strerror(-ending) : why_names[ending - 1]);
	diag_hint(diag, "a mark needs a recording that has not ended; see --record-limit");
	return -ENODATA;
}

_cold_ int recorder_mark(struct recorder *recorder, uint64_t now_ns, const char *text, size_t len,
			 struct diag *diag, uint64_t *ret_mark, uint64_t *ret_step)
{
	struct record record = {
		.type = RECORD_MARK, .time_ns = now_ns, .text = text, .text_len = len
	};
	int err = record_check_mark(text, len, diag);

	if (err)
		return err;
	err = recording_mark(&recorder->recording, &record);
	if (err)
		tell_end(recorder);
	if (err || !record.step)
		return mark_error(recorder, err, diag);
	*ret_mark = record.mark;
	*ret_step = record.step;
	return 0;
}

_cold_ void recorder_set_limit(struct recorder *recorder, uint64_t limit_bytes)
{
	atomic_store(&recorder->recording.shared->limit_bytes, limit_bytes);
	sem_post(&recorder->wake);
}

_cold_ void recorder_stop(struct recorder *recorder)
{
	recording_end(&recorder->recording, 1 + RECORD_WHY_STOPPED);
	sem_post(&recorder->wake);
}

void recorder_let_wait(struct recorder *recorder, bool may)
{
	atomic_store(&recorder->hastened, !may);
	sem_post(&recorder->wake);
}

int recorder_event_fd(const struct recorder *recorder)
{
	return recorder->event_fd;
}

void recorder_event_seen(struct recorder *recorder)
{
	eventfd_t ignored;

	eventfd_read(recorder->event_fd, &ignored);
}

_cold_ void recorder_status(struct recorder *recorder, struct recorder_status *ret_status)
{
	const struct recording_shared *shared = recorder->recording.shared;
	int ending = atomic_load(&shared->ending);
	uint16_t nr = atomic_load_explicit(&recorder->nr_disks, memory_order_acquire);

	*ret_status = (struct recorder_status){
		.file_bytes = atomic_load(&shared->file_bytes),
		.limit_bytes = atomic_load(&shared->limit_bytes),
		.nr_marks = atomic_load(&shared->nr_marks),
		.data = shared->header.flags & RECORD_DATA,
	};
	if (ending < 0) {
		ret_status->state = RECORDER_FAILED;
		ret_status->error = ending;
	} else if (ending > 1 + RECORD_WHY_DONE) {
		ret_status->state = RECORDER_ENDED;
		ret_status->why = (enum record_why)(ending - 1);
	} else if (atomic_load(&recorder->full)) {
		ret_status->state = RECORDER_FULL;
	}
	for (uint16_t i = 0; i < nr; i++)
		for (uint16_t queue = 0; queue < recorder->disks[i]->nr_queues; queue++) {
			struct recorder_ring *ring = &recorder->disks[i]->rings[queue];

			ret_status->nr_requests +=
				atomic_load_explicit(&ring->nr_requests, memory_order_relaxed);
			ret_status->nr_waits +=
				atomic_load_explicit(&ring->nr_waits, memory_order_relaxed);
		}
}

/* ------------------------------------------------------------------------------ life */

uint32_t recorder_ring_bytes(bool data, uint32_t max_io_bytes)
{
	uint32_t bytes = DATA_RING_BYTES;

	if (!data)
		return RING_BYTES;
	while (bytes < 2 * max_io_bytes)
		bytes *= 2;
	return bytes;
}

/* All of its memory is taken now: later is too late. */
static int create_rings(struct recorder_disk *disk, const struct record_header *header)
{
	for (uint16_t i = 0; i < disk->nr_queues; i++) {
		struct recorder_ring *ring = &disk->rings[i];
		void *bytes = fail_value("faults/record/recorder/ring", MAP_FAILED,
					 mmap(NULL, disk->ring_bytes, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));

		ring->stream = record_stream_start(header);
		ring->room_end = disk->ring_bytes;
		ring->bytes = bytes == MAP_FAILED ? NULL : bytes;
		ring->hits = malloc((size_t)RULE_SET_MAX * RECORD_HIT_MAX);
		if (!ring->bytes || !ring->hits)
			return -ENOMEM;
		ring->hits_end = ring->hits;
	}
	return 0;
}

static void free_disk(struct recorder_disk *disk)
{
	for (uint16_t i = 0; i < disk->nr_queues; i++) {
		if (disk->rings[i].bytes)
			munmap(disk->rings[i].bytes, disk->ring_bytes);
		free(disk->rings[i].hits);
	}
	dirty_map_free(disk->dirty_map);
	free(disk);
}

static struct recorder_disk *new_disk(struct recorder *recorder, const struct record_disk *is)
{
	const struct record_header *header = &recorder->recording.shared->header;
	size_t size = sizeof(struct recorder_disk) + is->nr_queues * sizeof(struct recorder_ring);
	struct recorder_disk *disk =
		fail_alloc("faults/record/recorder/disk", aligned_alloc(RECORDING_LINE, size));

	if (!disk)
		return NULL;
	memset(disk, 0, size);
	disk->recorder = recorder;
	disk->size_bytes = is->size_bytes;
	disk->nr_queues = is->nr_queues;
	disk->data = header->flags & RECORD_DATA;
	disk->time_ns = is->start_ns;
	disk->ring_bytes = recorder->ring_bytes ? recorder->ring_bytes
						: recorder_ring_bytes(disk->data, is->max_io_bytes);
	disk->dirty_map = disk->data ? dirty_map_create(is->size_bytes) : NULL;
	if (disk->data != !!disk->dirty_map || create_rings(disk, header)) {
		free_disk(disk);
		return NULL;
	}
	return disk;
}

_cold_ int recorder_add_disk(struct recorder *recorder, const struct record_disk *disk,
			     struct diag *diag, struct recorder_disk **ret_disk)
{
	uint16_t nr = atomic_load(&recorder->nr_disks);
	const char *fault = record_disk_fault(disk);
	struct record_disk is = *disk;
	struct recorder_disk *added;
	int err;

	if (fault)
		return diag_set(diag, -EINVAL, "record.disk",
				"disk '%s' cannot be recorded: %s is out of range", disk->name,
				fault);
	is.start_ns = clock_now_ns();
	added = new_disk(recorder, &is);
	if (!added)
		return diag_set(diag, -ENOMEM, "record.memory", "no memory for the recorder");
	err = nr < RECORD_DISKS_MAX ? recording_add_disk(&recorder->recording, &is, &added->index)
				    : -ENOSPC;
	if (!err) {
		err = start_writer(recorder);
		recorder->disks[nr] = added;
		atomic_store_explicit(&recorder->nr_disks, nr + 1, memory_order_release);
		if (!err)
			*ret_disk = added;
	} else {
		free_disk(added);
	}
	if (err == -ENOSPC &&
	    atomic_load(&recorder->recording.shared->nr_disks) == RECORD_DISKS_MAX)
		return diag_set(diag, err, "record.disks", "a recording has at most %d disks",
				RECORD_DISKS_MAX);
	if (err)
		diag_set(diag, err, "record.failed", "disk '%s' cannot be recorded: %s", disk->name,
			 strerror(-err));
	return err;
}

static void free_recorder(struct recorder *recorder)
{
	for (uint16_t i = 0; i < atomic_load(&recorder->nr_disks); i++)
		free_disk(recorder->disks[i]);
	recording_free(&recorder->recording);
	cleanup_close(&recorder->event_fd);
	sem_destroy(&recorder->wake);
	free(recorder);
}

static struct recorder *new_recorder(const struct recorder_options *options)
{
	struct recorder *recorder =
		fail_alloc("faults/record/recorder/alloc", calloc(1, sizeof(*recorder)));

	if (!recorder)
		return NULL;
	recorder->event_fd = fail_errno("faults/record/recorder/eventfd", EMFILE,
					eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (recorder->event_fd < 0) {
		free(recorder);
		return NULL;
	}
	recorder->ring_bytes = options->ring_bytes;
	recorder->ended = options->ended;
	recorder->ctx = options->ctx;
	atomic_flag_clear(&recorder->told_end);
	sem_init(&recorder->wake, 0, 0);
	return recorder;
}

static int finish_new(struct recorder *recorder, int err, struct recorder **ret_recorder)
{
	if (err)
		free_recorder(recorder);
	else
		*ret_recorder = recorder;
	return err;
}

_cold_ int recorder_create(const struct recorder_options *options, struct diag *diag,
			   struct recorder **ret_recorder)
{
	struct recorder *recorder = new_recorder(options);

	if (!recorder)
		return diag_set(diag, -ENOMEM, "record.memory", "no memory for the recorder");
	recorder->owner = true;
	return finish_new(recorder, recording_create(&recorder->recording, options, diag),
			  ret_recorder);
}

_cold_ int recorder_join(const int fds[2], const struct recorder_options *options,
			 struct diag *diag, struct recorder **ret_recorder)
{
	struct recorder *recorder = new_recorder(options);

	if (!recorder) {
		for (int i = 0; i < 2; i++)
			close(fds[i]);
		return diag_set(diag, -ENOMEM, "record.memory", "no memory for the recorder");
	}
	return finish_new(recorder, recording_join(&recorder->recording, fds, diag), ret_recorder);
}

void recorder_fds(const struct recorder *recorder, int ret_fds[2])
{
	memcpy(ret_fds, recorder->recording.fds, sizeof(recorder->recording.fds));
}

_cold_ struct recorder *recorder_close(struct recorder *recorder,
				       struct recorder_status *ret_status)
{
	if (!recorder)
		return NULL;
	if (recorder->owner)
		recording_end(&recorder->recording, 1 + RECORD_WHY_DONE);
	atomic_store(&recorder->stop, true);
	sem_post(&recorder->wake);
	if (recorder->started)
		pthread_join(recorder->writer, NULL);
	drain_all(recorder);
	if (ret_status) {
		recorder_status(recorder, ret_status);
		ret_status->nr_requests = recorder->recording.shared->nr_requests;
		ret_status->nr_waits = recorder->recording.shared->nr_waits;
		ret_status->closed = recorder->recording.shared->closed;
	}
	free_recorder(recorder);
	return NULL;
}
