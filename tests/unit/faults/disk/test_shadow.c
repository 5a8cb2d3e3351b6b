// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/disk/shadow.h"
#include "faults/disk/store.h"

#define BLOCK 1024u
#define SIZE  (16u << 20)

static struct store *make_store(void)
{
	struct store *store;

	assert_int_equal(store_create(SIZE, NULL, &store), 0);
	return store;
}

static void set(struct store *store, uint64_t at, uint64_t len, int with)
{
	store_mark(store, at, len);
	memset(store_data(store) + at, with, len);
}

static struct shadow *make_shadow(uint64_t from, uint64_t to)
{
	struct shadow *shadow;

	assert_int_equal(shadow_create(from, to, BLOCK, &shadow), 0);
	return shadow;
}

static uint64_t save(struct shadow *shadow, struct store *store, uint64_t at, uint64_t len,
		     bool again)
{
	uint64_t nr;

	shadow_save(shadow, store, at, len, again, &nr);
	return nr;
}

/* The letter that all of the saved block holds; 0: not saved; '?': no letter. */
static int letter(const struct shadow *shadow, uint64_t at)
{
	const unsigned char *block = shadow_block(shadow, at);

	if (!block)
		return 0;
	return memcmp(block, block + 1, BLOCK - 1) ? '?' : block[0];
}

static void a_block_is_kept_as_it_was_when_first_saved(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(0, SIZE);

	(void)state;
	set(store, 0, 4 * BLOCK, 'a');
	assert_null(shadow_block(shadow, 0));
	assert_int_equal(save(shadow, store, BLOCK, 2 * BLOCK, false), 2);
	set(store, 0, 4 * BLOCK, 'b');
	assert_int_equal(save(shadow, store, 0, 4 * BLOCK, false), 2);
	assert_int_equal(letter(shadow, 0), 'b');
	assert_int_equal(letter(shadow, BLOCK), 'a');
	assert_int_equal(letter(shadow, 2 * BLOCK), 'a');
	assert_int_equal(letter(shadow, 3 * BLOCK), 'b');
	shadow_free(shadow);
	store_free(store);
}

static void again_takes_the_newer_content_and_counts_no_block_twice(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(0, SIZE);

	(void)state;
	set(store, 0, 2 * BLOCK, 'a');
	assert_int_equal(save(shadow, store, 0, BLOCK, true), 1);
	set(store, 0, 2 * BLOCK, 'b');
	assert_int_equal(save(shadow, store, 0, 2 * BLOCK, true), 1);
	assert_int_equal(letter(shadow, 0), 'b');
	assert_int_equal(letter(shadow, BLOCK), 'b');
	shadow_free(shadow);
	store_free(store);
}

static void a_part_of_a_block_saves_all_of_it(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(0, SIZE);

	(void)state;
	set(store, 0, 4 * BLOCK, 'a');
	assert_int_equal(save(shadow, store, BLOCK + SEC, SEC, false), 1);
	assert_int_equal(letter(shadow, BLOCK), 'a');
	assert_int_equal(save(shadow, store, 2 * BLOCK + SEC, BLOCK, false), 2);
	assert_int_equal(letter(shadow, 3 * BLOCK), 'a');
	assert_null(shadow_block(shadow, 4 * BLOCK));
	/* Looked up by any byte of it. */
	assert_ptr_equal(shadow_block(shadow, BLOCK + 700), shadow_block(shadow, BLOCK));
	shadow_free(shadow);
	store_free(store);
}

static void what_lies_outside_is_ignored(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(4 * BLOCK, 8 * BLOCK);

	(void)state;
	set(store, 0, 16 * BLOCK, 'a');
	assert_int_equal(save(shadow, store, 0, 4 * BLOCK, false), 0);
	assert_int_equal(save(shadow, store, 8 * BLOCK, 8 * BLOCK, false), 0);
	assert_int_equal(save(shadow, store, 0, SIZE, false), 4);
	assert_null(shadow_block(shadow, 3 * BLOCK));
	assert_null(shadow_block(shadow, 8 * BLOCK));
	assert_int_equal(letter(shadow, 4 * BLOCK), 'a');
	assert_int_equal(letter(shadow, 7 * BLOCK), 'a');
	assert_int_equal(shadow_forget(shadow, 0, 5 * BLOCK), 1);
	assert_int_equal(shadow_forget(shadow, 8 * BLOCK, BLOCK), 0);
	shadow_save(shadow, store, 0, SIZE, false, NULL);
	assert_int_equal(shadow_forget(shadow, 0, SIZE), 4);
	shadow_free(shadow);
	store_free(store);
}

static void a_forgotten_block_can_be_saved_again(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(0, SIZE);

	(void)state;
	for (int round = 'a'; round <= 'z'; round++) {
		set(store, 0, 4 * BLOCK, round);
		assert_int_equal(save(shadow, store, 0, 4 * BLOCK, false), 4);
		assert_int_equal(letter(shadow, 3 * BLOCK), round);
		assert_int_equal(shadow_forget(shadow, 0, 3 * BLOCK + 1), 4);
		assert_int_equal(shadow_forget(shadow, 0, 4 * BLOCK), 0);
		assert_null(shadow_block(shadow, 0));
	}
	shadow_free(shadow);
	store_free(store);
}

static void a_hole_is_saved_as_zeroes_and_stays_a_hole(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(0, SIZE);
	uint64_t before;

	(void)state;
	set(store, 3 * 4096, SEC, 'a');
	before = store_allocated(store);
	assert_int_equal(save(shadow, store, 0, SIZE, false), SIZE / BLOCK);
	assert_int_equal(letter(shadow, 0), 0);
	assert_non_null(shadow_block(shadow, 0));
	assert_int_equal(letter(shadow, 3 * 4096), '?');
	assert_int_equal(letter(shadow, SIZE - BLOCK), 0);
	assert_int_equal(store_allocated(store), before);
	shadow_free(shadow);
	store_free(store);
}

struct seen {
	uint64_t last, nr;
	int wrong;
};

static void note(void *ctx, uint64_t at, const unsigned char *block)
{
	struct seen *seen = ctx;

	seen->wrong += seen->nr && at <= seen->last;
	seen->wrong += block[0] != (unsigned char)(at / BLOCK % 251 + 1);
	seen->last = at;
	seen->nr++;
}

/* More blocks than it remembers one by one, in a shadow that does not begin at 0, three times. */
static void clearing_forgets_every_block_few_or_many(void **state)
{
	static const uint64_t counts[] = { 1, 100, 4096, 4097, 9000, 7 };
	const uint64_t from = 64 * BLOCK;
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(from, SIZE);

	(void)state;
	for (uint64_t at = 0; at < SIZE; at += BLOCK)
		set(store, at, BLOCK, (int)(at / BLOCK % 251 + 1));
	for (size_t i = 0; i < array_size(counts); i++) {
		struct seen seen = { 0, 0, 0 };

		/* Backwards, so that the order is the shadow's own. */
		for (uint64_t nr = counts[i]; nr--;)
			assert_int_equal(save(shadow, store, from + nr * BLOCK, 1, false), 1);
		shadow_each(shadow, note, &seen);
		assert_int_equal(seen.nr, counts[i]);
		assert_int_equal(seen.wrong, 0);
		shadow_clear(shadow);
		seen.nr = 0;
		shadow_each(shadow, note, &seen);
		assert_int_equal(seen.nr, 0);
		assert_null(shadow_block(shadow, from));
	}
	shadow_free(shadow);
	store_free(store);
}

static void blocks_saved_and_forgotten_many_times_are_cleared_all_the_same(void **state)
{
	struct store *store = make_store();
	struct shadow *shadow = make_shadow(0, SIZE);
	struct seen seen = { 0, 0, 0 };

	(void)state;
	set(store, 0, SIZE, 1);
	for (int i = 0; i < 5000; i++) {
		save(shadow, store, 0, BLOCK, false);
		shadow_forget(shadow, 0, BLOCK);
	}
	save(shadow, store, 9000 * BLOCK, BLOCK, false);
	shadow_clear(shadow);
	shadow_each(shadow, note, &seen);
	assert_int_equal(seen.nr, 0);
	shadow_free(shadow);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_is_kept_as_it_was_when_first_saved),
		cmocka_unit_test(again_takes_the_newer_content_and_counts_no_block_twice),
		cmocka_unit_test(a_part_of_a_block_saves_all_of_it),
		cmocka_unit_test(what_lies_outside_is_ignored),
		cmocka_unit_test(a_forgotten_block_can_be_saved_again),
		cmocka_unit_test(a_hole_is_saved_as_zeroes_and_stays_a_hole),
		cmocka_unit_test(clearing_forgets_every_block_few_or_many),
		cmocka_unit_test(blocks_saved_and_forgotten_many_times_are_cleared_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
