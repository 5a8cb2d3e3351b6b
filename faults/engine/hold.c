// SPDX-License-Identifier: MIT
#include "faults/engine/hold.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/rule/ast.h"

#include <stdlib.h>
#include <string.h>

_cold_ struct hold *hold_new(uint16_t nr)
{
	size_t size = nr * sizeof(struct hold);
	struct hold *holds =
		fail_alloc("faults/engine/hold/alloc", aligned_alloc(_Alignof(struct hold), size));

	if (!holds)
		return NULL;
	memset(holds, 0, size);
	for (uint16_t i = 0; i < nr; i++)
		pthread_mutex_init(&holds[i].lock, NULL);
	return holds;
}

_cold_ struct hold *hold_free(struct hold *holds, uint16_t nr)
{
	for (uint16_t i = 0; holds && i < nr; i++)
		pthread_mutex_destroy(&holds[i].lock);
	free(holds);
	return NULL;
}

void hold_add(struct hold *hold, struct io *io, uint64_t now_ns)
{
	io->released = false;
	io->held_ns = now_ns;
	pthread_mutex_lock(&hold->lock);
	io->held_next = NULL;
	io->held_prev = hold->last;
	*(hold->last ? &hold->last->held_next : &hold->first) = io;
	hold->last = io;
	pthread_mutex_unlock(&hold->lock);
}

int hold_remove(struct hold *hold, struct io *io)
{
	const struct rule *rule = io->holder;
	bool released;

	pthread_mutex_lock(&hold->lock);
	*(io->held_prev ? &io->held_prev->held_next : &hold->first) = io->held_next;
	*(io->held_next ? &io->held_next->held_prev : &hold->last) = io->held_prev;
	released = io->released;
	pthread_mutex_unlock(&hold->lock);
	io->holder = NULL;
	return released || !rule->kind->ops->overdue ? 0 : rule->kind->ops->overdue(&rule->args);
}

void hold_unpark(struct hold *hold, void (*unpark)(void *ctx, struct io *io), void *ctx)
{
	pthread_mutex_lock(&hold->lock);
	for (struct io *io = hold->first; io; io = io->held_next)
		if (io->released && unpark)
			unpark(ctx, io);
	pthread_mutex_unlock(&hold->lock);
}

/* Put it in its place among the @nr oldest, of which there is room for @max. */
_cold_ static void insert(const struct io *io, struct held *held, size_t nr, size_t max)
{
	size_t at = nr < max ? nr : max;

	while (at && held[at - 1].id > io->id)
		at--;
	if (at == max)
		return;
	memmove(&held[at + 1], &held[at], ((nr < max ? nr + 1 : max) - at - 1) * sizeof(*held));
	held[at] = (struct held){
		.id = io->id,
		.since_ns = io->held_ns,
		.sector = io->sector,
		.len_bytes = io->len_bytes,
		.queue = io->queue,
		.op = io->op,
	};
	memcpy(held[at].rule, io->holder->name, sizeof(held[at].rule));
}

_cold_ size_t hold_list(struct hold *holds, uint16_t nr_queues, struct held *held, size_t max)
{
	size_t nr = 0;

	for (uint16_t i = 0; i < nr_queues; i++) {
		pthread_mutex_lock(&holds[i].lock);
		for (const struct io *io = holds[i].first; io; io = io->held_next)
			if (!io->released)
				insert(io, held, nr++, max);
		pthread_mutex_unlock(&holds[i].lock);
	}
	return nr;
}

/* The oldest one that fits and has not been released yet; its queue's lock is held, or NULL. */
static struct io *lock_oldest(struct hold *holds, uint16_t nr, const char *rule, uint64_t id)
{
	struct io *best = NULL;

	for (uint16_t i = 0; i < nr; i++) {
		struct io *io;

		pthread_mutex_lock(&holds[i].lock);
		io = holds[i].first;
		while (io && (io->released || (rule && strcmp(io->holder->name, rule) != 0) ||
			      (id && io->id != id)))
			io = io->held_next;
		if (!io || (best && best->id < io->id)) {
			pthread_mutex_unlock(&holds[i].lock);
			continue;
		}
		if (best)
			pthread_mutex_unlock(&holds[best->queue].lock);
		best = io;
	}
	return best;
}

_cold_ size_t hold_release(struct hold *holds, uint16_t nr_queues, const char *rule, uint64_t id,
			   size_t count)
{
	size_t nr = 0;

	for (; nr < count; nr++) {
		struct io *io = lock_oldest(holds, nr_queues, rule, id);

		if (!io)
			break;
		io->released = true;
		atomic_store(&holds[io->queue].release, true);
		pthread_mutex_unlock(&holds[io->queue].lock);
	}
	return nr;
}
