// SPDX-License-Identifier: MIT
#include "base/heap.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ITEMS 100u

struct box {
	uint32_t value, name;
};

struct heap {
	struct box boxes[ITEMS];
	uint32_t nr;
	uint32_t place[ITEMS]; /* by name */
};

static bool before(const struct box *a, const struct box *b)
{
	return a->value < b->value;
}

static void put(struct heap *heap, uint32_t i, struct box box)
{
	heap->boxes[i] = box;
	heap->place[box.name] = i;
}

HEAP_SIFTS(struct heap, boxes, nr, struct box, uint32_t, before, put)

static void check(const struct heap *heap)
{
	for (uint32_t i = 0; i < heap->nr; i++) {
		assert_false(i && before(&heap->boxes[i], &heap->boxes[(i - 1) / 2]));
		assert_int_equal(heap->place[heap->boxes[i].name], i);
	}
}

static void fill(struct heap *heap, uint64_t seed)
{
	heap->nr = 0;
	for (uint32_t name = 0; name < ITEMS; name++) {
		const struct box box = { (uint32_t)(rng_mix(seed, 1, name) % (ITEMS / 2)), name };

		sift_up(heap, heap->nr++, box);
		check(heap);
	}
}

static void items_come_out_in_their_order_whatever_they_went_in(void **state)
{
	struct heap heap;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		fill(&heap, seed);
		for (uint32_t last = 0; heap.nr; check(&heap)) {
			const struct box first = heap.boxes[0], end = heap.boxes[--heap.nr];

			assert_true(first.value >= last);
			last = first.value;
			if (heap.nr)
				sift_down(&heap, 0, end);
		}
	}
}

static void items_in_any_order_become_a_heap_from_the_bottom(void **state)
{
	struct heap heap = { .nr = ITEMS };

	(void)state;
	for (uint32_t i = 0; i < ITEMS; i++)
		put(&heap, i, (struct box){ ITEMS - i, i });
	for (uint32_t i = ITEMS / 2; i-- > 0;)
		sift_down(&heap, i, heap.boxes[i]);
	check(&heap);
	assert_int_equal(heap.boxes[0].value, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_out_in_their_order_whatever_they_went_in),
		cmocka_unit_test(items_in_any_order_become_a_heap_from_the_bottom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
