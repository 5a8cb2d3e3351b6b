/* SPDX-License-Identifier: MIT */
/*
 * The requests that are held until somebody releases them: a list for each queue, oldest first. A
 * queue's thread adds and removes its own; the control thread looks at them and marks those that
 * may go. Numbers (io->id) rise with time over all queues.
 */
#ifndef FAULTS_ENGINE_HOLD_H
#define FAULTS_ENGINE_HOLD_H

#include "faults/io.h"
#include "faults/rule/rule.h"

#include <pthread.h>
#include <stdatomic.h>

/* One request that is held. */
struct held {
	uint64_t id;
	uint64_t since_ns;
	uint64_t sector;
	uint32_t len_bytes;
	uint16_t queue;
	uint8_t op;
	char rule[RULE_NAME_MAX + 1];
};

/* Of one queue. The lock is for the control thread's looks at it. */
struct hold {
	_Alignas(64) pthread_mutex_t lock;
	struct io *first, *last;
	_Atomic bool release; /* some of them are to be unparked */
};

/* An array for @nr queues, NULL without memory; the same @nr frees it. NULL allowed. */
struct hold *hold_new(uint16_t nr);
struct hold *hold_free(struct hold *holds, uint16_t nr);

/* The queue's thread: @io, whose holder and id are set, waits from @now_ns on. */
void hold_add(struct hold *hold, struct io *io, uint64_t now_ns);
/* The same thread: it waits no more. Returns what it ends with because nobody released it in time;
 * 0: it goes on. */
int hold_remove(struct hold *hold, struct io *io);
/* The same thread: call @unpark (may be NULL) for all that were released. */
void hold_unpark(struct hold *hold, void (*unpark)(void *ctx, struct io *io), void *ctx);

static inline bool hold_has_released(struct hold *hold)
{
	return atomic_load_explicit(&hold->release, memory_order_relaxed) &&
	       atomic_exchange(&hold->release, false);
}

/* As pipeline_held() and pipeline_release(), over the lists of @nr queues. Control thread. */
size_t hold_list(struct hold *holds, uint16_t nr, struct held *held, size_t max);
size_t hold_release(struct hold *holds, uint16_t nr, const char *rule, uint64_t id, size_t count);

#endif
