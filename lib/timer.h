/* SPDX-License-Identifier: MIT */
/*
 * When parked requests are due: a binary heap of (due time, tag), one for each queue.
 *
 * Each tag is in it at most once, so its size is the queue depth, allocated once. Equal times come
 * out in the order in which they went in. Only the queue's own thread touches it.
 */
#ifndef LIB_TIMER_H
#define LIB_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer_entry {
	uint64_t due_ns;
	uint64_t order;
	uint32_t tag;
};

struct timer_heap {
	struct timer_entry *entries;
	uint32_t *place; /* by tag: index into entries + 1; 0 when it is not there */
	uint32_t count;
	uint32_t capacity;
	uint64_t next_order;
};

int timer_init(struct timer_heap *heap, uint32_t nr_tags); /* 0 or -ENOMEM */
void timer_exit(struct timer_heap *heap);
void timer_add(struct timer_heap *heap, uint32_t tag, uint64_t due_ns); /* must not be in it */
void timer_remove(struct timer_heap *heap, uint32_t tag);               /* must be in it */

static inline bool timer_has(const struct timer_heap *heap, uint32_t tag)
{
	return heap->place[tag] != 0;
}

/* The earliest entry, or NULL. Valid until the next change. */
static inline const struct timer_entry *timer_first(const struct timer_heap *heap)
{
	return heap->count ? &heap->entries[0] : NULL;
}

#endif
