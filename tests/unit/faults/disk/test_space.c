// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/disk/space.h"

#include <errno.h>
#include <stdio.h>

#define CHUNK 32768u

/* Resident memory of this process, in bytes. */
static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size = 0, pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &pages), 2);
	fclose(f);
	return (uint64_t)pages * 4096;
}

/* Against an array, over the borders of chunks, which fill up and empty on the way. */
static void space_agrees_with_a_flag_for_each_page(void **state)
{
	enum { PAGES = 3 * CHUNK + 100 };
	static bool model[PAGES];
	struct draw draw = { .seed = 9 };
	struct space *space = NULL;
	uint64_t used = 0;

	(void)state;
	memset(model, 0, sizeof(model));
	assert_int_equal(space_create(PAGES, &space), 0);
	for (int step = 0; step < 3000; step++) {
		uint64_t first = draw_below(&draw, PAGES), most = PAGES - first, nr, fresh = 0;
		uint64_t capacity = SPACE_ENDLESS;
		bool take = draw_below(&draw, 2), force = !draw_below(&draw, 8);

		if (!draw_below(&draw, 3))
			first -= first % CHUNK;
		nr = 1 + draw_below(&draw, draw_below(&draw, 2) && most > 70 ? 70 : most);
		if (nr > CHUNK / 2 && draw_below(&draw, 2))
			nr = nr / CHUNK * CHUNK + CHUNK;
		nr = nr < PAGES - first ? nr : PAGES - first;
		if (!draw_below(&draw, 3))
			capacity = draw_below(&draw, PAGES + 1);
		space_limit(space, capacity);
		for (uint64_t p = first; p < first + nr; p++)
			fresh += !model[p];
		assert_int_equal(space_has(space, first, nr), fresh == 0);
		if (!take) {
			space_give(space, first, nr);
			used -= nr - fresh;
		} else if (force) {
			space_force(space, first, nr);
			used += fresh;
		} else if (fresh && used + fresh > capacity) {
			assert_int_equal(space_take(space, first, nr), -ENOSPC);
			assert_int_equal(space_used(space), used);
			continue;
		} else {
			assert_int_equal(space_take(space, first, nr), 0);
			used += fresh;
		}
		for (uint64_t p = first; p < first + nr; p++)
			model[p] = take;
		assert_int_equal(space_used(space), used);
		first = draw_below(&draw, PAGES);
		assert_int_equal(space_has(space, first, 1), model[first]);
	}
	for (uint64_t p = 0; p < PAGES; p++)
		assert_int_equal(space_has(space, p, 1), model[p]);
	space_free(space);
}

static void what_holds_nothing_is_skipped_by_chunks(void **state)
{
	struct space *space = NULL;
	uint64_t skip;

	(void)state;
	assert_int_equal(space_create(10 * CHUNK, &space), 0);
	assert_int_equal(space_next(space, 5, 9 * CHUNK, &skip), 0);
	assert_int_equal(skip, 9 * CHUNK);
	space_force(space, 3 * CHUNK + 7, 1);
	space_force(space, 4 * CHUNK, CHUNK);
	space_force(space, 7 * CHUNK, 1);
	assert_int_equal(space_next(space, 5, 9 * CHUNK, &skip), 2 * CHUNK);
	assert_int_equal(skip, 3 * CHUNK - 5);
	assert_int_equal(space_next(space, 5 * CHUNK, 2 * CHUNK + 9, &skip), 9);
	assert_int_equal(skip, 2 * CHUNK);
	/* From the middle of one that holds some. */
	assert_int_equal(space_next(space, 3 * CHUNK + 9, 10, &skip), 10);
	assert_int_equal(skip, 0);
	space_give(space, 3 * CHUNK, 6 * CHUNK);
	assert_int_equal(space_next(space, 0, 10 * CHUNK, &skip), 0);
	space_free(space);
}

static void all_of_sixteen_tebibytes_take_next_to_no_memory(void **state)
{
	uint64_t pages = (16ull << 40) / 4096, step = (1ull << 30) / 4096, before;
	struct space *space = NULL;

	(void)state;
	assert_int_equal(space_create(pages, &space), 0);
	before = resident();
	/* In pieces that end within a chunk, too. */
	for (uint64_t at = 0; at < pages; at += step)
		space_force(space, at + (at ? 100 : 0), at + step < pages ? step : step - 100);
	assert_int_equal(space_used(space), pages - 100);
	space_force(space, step, 100);
	assert_int_equal(space_used(space), pages);
	assert_in_range(resident() - before, 0, 4 << 20);
	space_give(space, 0, pages);
	assert_int_equal(space_used(space), 0);
	assert_false(space_has(space, pages - 1, 1));
	space_free(space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(space_agrees_with_a_flag_for_each_page),
		cmocka_unit_test(what_holds_nothing_is_skipped_by_chunks),
		cmocka_unit_test(all_of_sixteen_tebibytes_take_next_to_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
