// SPDX-License-Identifier: MIT
#include "timer.h"

#include "base/failpoint.h"
#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static bool before(const struct timer_entry *a, const struct timer_entry *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

static void put_at(struct timer_heap *heap, uint32_t i, struct timer_entry entry)
{
	heap->entries[i] = entry;
	heap->place[entry.tag] = i + 1;
}

HEAP_SIFTS(struct timer_heap, entries, count, struct timer_entry, uint32_t, before, put_at)

int timer_init(struct timer_heap *heap, uint32_t nr_tags)
{
	*heap = (struct timer_heap){
		.entries = fail_alloc("lib/timer/entries", calloc(nr_tags, sizeof(*heap->entries))),
		.place = fail_alloc("lib/timer/place", calloc(nr_tags, sizeof(*heap->place))),
		.capacity = nr_tags,
	};
	if (heap->entries && heap->place)
		return 0;
	timer_exit(heap);
	return -ENOMEM;
}

void timer_exit(struct timer_heap *heap)
{
	free(heap->entries);
	free(heap->place);
	*heap = (struct timer_heap){ 0 };
}

void timer_add(struct timer_heap *heap, uint32_t tag, uint64_t due_ns)
{
	struct timer_entry entry = { .due_ns = due_ns, .order = heap->next_order++, .tag = tag };

	assert(tag < heap->capacity);
	assert(!timer_has(heap, tag));
	sift_up(heap, heap->count++, entry);
}

void timer_remove(struct timer_heap *heap, uint32_t tag)
{
	uint32_t hole = heap->place[tag] - 1;
	struct timer_entry last;

	assert(timer_has(heap, tag));
	heap->place[tag] = 0;
	last = heap->entries[--heap->count];
	if (hole == heap->count)
		return;
	/* The last entry fills the hole; it may belong further up or further down. */
	if (hole > 0 && before(&last, &heap->entries[(hole - 1) / 2]))
		sift_up(heap, hole, last);
	else
		sift_down(heap, hole, last);
}
