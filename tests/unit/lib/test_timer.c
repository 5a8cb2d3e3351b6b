// SPDX-License-Identifier: MIT
#include "base/rng.h"
#include "timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t pop(struct timer_heap *heap)
{
	uint32_t tag = timer_first(heap)->tag;

	timer_remove(heap, tag);
	return tag;
}

static void an_empty_heap_has_no_first(void **state)
{
	struct timer_heap heap;

	(void)state;
	assert_int_equal(timer_init(&heap, 4), 0);
	assert_null(timer_first(&heap));
	assert_false(timer_has(&heap, 3));
	timer_exit(&heap);
}

static void equal_times_come_out_in_the_order_they_went_in(void **state)
{
	struct timer_heap heap;

	(void)state;
	assert_int_equal(timer_init(&heap, 64), 0);
	for (uint32_t i = 0; i < 64; i++)
		timer_add(&heap, 63 - i, 7);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(pop(&heap), 63 - i);
	timer_exit(&heap);
}

static void a_removed_tag_can_be_added_again(void **state)
{
	struct timer_heap heap;

	(void)state;
	assert_int_equal(timer_init(&heap, 3), 0);
	timer_add(&heap, 0, 10);
	timer_add(&heap, 1, 20);
	timer_add(&heap, 2, 30);
	timer_remove(&heap, 0);
	assert_false(timer_has(&heap, 0));
	timer_add(&heap, 0, 40);
	assert_int_equal(pop(&heap), 1);
	assert_int_equal(pop(&heap), 2);
	assert_int_equal(pop(&heap), 0);
	assert_null(timer_first(&heap));
	timer_exit(&heap);
}

#define TAGS  97
#define STEPS 200000

/* The naive model: due times by tag, 0 for those that are not there; the smallest by search. */
static uint32_t model_first(const uint64_t *due, const uint64_t *order)
{
	uint32_t best = TAGS;

	for (uint32_t t = 0; t < TAGS; t++)
		if (due[t] && (best == TAGS || due[t] < due[best] ||
			       (due[t] == due[best] && order[t] < order[best])))
			best = t;
	return best;
}

static void random_adds_and_removes_agree_with_a_search(void **state)
{
	struct timer_heap heap;
	uint64_t due[TAGS] = { 0 }, order[TAGS] = { 0 };

	(void)state;
	assert_int_equal(timer_init(&heap, TAGS), 0);
	for (uint64_t step = 0; step < STEPS; step++) {
		uint64_t bits = rng_mix(1, 2, step);
		uint32_t tag = (uint32_t)rng_below(bits, TAGS);
		uint32_t first;

		if (due[tag]) {
			timer_remove(&heap, tag);
			due[tag] = 0;
		} else {
			due[tag] = 1 + (bits & 31);
			order[tag] = step;
			timer_add(&heap, tag, due[tag]);
		}
		first = model_first(due, order);
		if (first == TAGS)
			assert_null(timer_first(&heap));
		else
			assert_int_equal(timer_first(&heap)->tag, first);
		assert_int_equal(timer_has(&heap, tag), due[tag] != 0);
	}
	timer_exit(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_heap_has_no_first),
		cmocka_unit_test(equal_times_come_out_in_the_order_they_went_in),
		cmocka_unit_test(a_removed_tag_can_be_added_again),
		cmocka_unit_test(random_adds_and_removes_agree_with_a_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
