// SPDX-License-Identifier: MIT
/*
 * The writer claims a slot, writes its words, and then moves the ring's head on. A reader copies
 * the words of a slot and looks afterwards how far was claimed: had the writer come round to the
 * slot in between, the copy counts as lost. Words are written with release and read with acquire,
 * so that whoever sees one of a new event also sees its claim.
 *
 * Numbers are drawn before slots are written, so a reader can find number 8 in one ring while 7 is
 * on its way to another. It then waits for 7, unless as many events were lost as would explain it.
 */
#include "faults/engine/event.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_WORDS (sizeof(struct event) / sizeof(uint64_t))

_Static_assert(sizeof(struct event) % sizeof(uint64_t) == 0, "copied by words");

struct event_ring {
	_Alignas(64) _Atomic uint64_t head; /* events ever written */
	_Atomic uint64_t claimed;           /* the same, and the one that is being written */
	_Atomic uint64_t slots[EVENT_RING][EVENT_WORDS];
};

struct event_log {
	_Alignas(64) _Atomic uint64_t newest;
	uint16_t nr_queues;
	struct event_ring *rings;
};

struct event_reader {
	struct event_log *log;
	uint64_t after; /* the number delivered last */
	uint64_t debt;  /* events lost whose numbers have not been skipped yet */
	uint64_t at[];  /* by ring */
};

int event_log_create(uint16_t nr_queues, struct event_log **ret_log)
{
	struct event_log *log =
		fail_alloc("faults/engine/event/log", aligned_alloc(64, sizeof(*log)));
	struct event_ring *rings = fail_alloc("faults/engine/event/rings",
					      aligned_alloc(64, nr_queues * sizeof(*rings)));

	if (!log || !rings) {
		free(log);
		free(rings);
		return -ENOMEM;
	}
	memset(log, 0, sizeof(*log));
	for (uint16_t i = 0; i < nr_queues; i++)
		memset(&rings[i], 0, offsetof(struct event_ring, slots));
	log->nr_queues = nr_queues;
	log->rings = rings;
	*ret_log = log;
	return 0;
}

struct event_log *event_log_free(struct event_log *log)
{
	if (log)
		free(log->rings);
	free(log);
	return NULL;
}

uint64_t event_log_add(struct event_log *log, struct event *event)
{
	struct event_ring *ring = &log->rings[event->queue];
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	_Atomic uint64_t *slot = ring->slots[head % EVENT_RING];
	uint64_t words[EVENT_WORDS];

	event->seq = atomic_fetch_add_explicit(&log->newest, 1, memory_order_relaxed) + 1;
	memcpy(words, event, sizeof(words));
	atomic_store_explicit(&ring->claimed, head + 1, memory_order_relaxed);
	for (size_t i = 0; i < EVENT_WORDS; i++)
		atomic_store_explicit(&slot[i], words[i], memory_order_release);
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return event->seq;
}

uint64_t event_log_newest(const struct event_log *log)
{
	return atomic_load_explicit(&log->newest, memory_order_relaxed);
}

int event_reader_create(struct event_log *log, uint64_t after, struct event_reader **ret_reader)
{
	struct event_reader *reader =
		fail_alloc("faults/engine/event/reader",
			   calloc(1, sizeof(*reader) + log->nr_queues * sizeof(reader->at[0])));

	if (!reader)
		return -ENOMEM;
	reader->log = log;
	reader->after = after;
	/* Who wants nothing of the past has lost nothing of it. */
	for (uint16_t i = 0; i < log->nr_queues && after >= event_log_newest(log); i++)
		reader->at[i] = atomic_load_explicit(&log->rings[i].head, memory_order_acquire);
	*ret_reader = reader;
	return 0;
}

struct event_reader *event_reader_free(struct event_reader *reader)
{
	free(reader);
	return NULL;
}

/* Anything older has been, or is being, overwritten. */
static uint64_t oldest_kept(const struct event_ring *ring)
{
	uint64_t claimed = atomic_load_explicit(&ring->claimed, memory_order_relaxed);

	return claimed > EVENT_RING ? claimed - EVENT_RING : 0;
}

/* The oldest event of one ring that has not been read, if there is one. */
static bool peek(struct event_reader *reader, uint16_t index, struct event *ret_event)
{
	struct event_ring *ring = &reader->log->rings[index];
	uint64_t *at = &reader->at[index];
	uint64_t words[EVENT_WORDS];

	for (;;) {
		uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
		uint64_t oldest = oldest_kept(ring);

		if (*at < oldest) {
			reader->debt += oldest - *at;
			*at = oldest;
		}
		if (*at >= head)
			return false;
		for (size_t i = 0; i < EVENT_WORDS; i++)
			words[i] = atomic_load_explicit(&ring->slots[*at % EVENT_RING][i],
							memory_order_acquire);
		if (*at < oldest_kept(ring))
			continue;
		memcpy(ret_event, words, sizeof(*ret_event));
		if (ret_event->seq > reader->after)
			return true;
		/* From before the reader's time. */
		++*at;
	}
}

bool event_reader_next(struct event_reader *reader, struct event *ret_event, uint64_t *ret_lost)
{
	struct event best = { .seq = UINT64_MAX }, event;
	uint64_t skipped;

	for (uint16_t i = 0; i < reader->log->nr_queues; i++)
		if (peek(reader, i, &event) && event.seq < best.seq)
			best = event;
	if (best.seq == UINT64_MAX)
		return false;
	skipped = best.seq - reader->after - 1;
	if (skipped > reader->debt)
		return false;
	reader->debt -= skipped;
	*ret_lost += skipped;
	reader->after = best.seq;
	reader->at[best.queue]++;
	*ret_event = best;
	return true;
}
