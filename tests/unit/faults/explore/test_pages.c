// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/pages.h"

struct counted {
	struct page page;
	uint64_t value;
};

static struct counted *add(struct pages *pages, uint16_t disk, uint64_t at, uint64_t value)
{
	struct counted *entry;

	assert_null(pages_find(pages, page_key(disk, at)));
	assert_int_equal(pages_add(pages, page_key(disk, at), &entry), 0);
	assert_int_equal(entry->value, 0);
	entry->value = value;
	return entry;
}

static void thousands_of_pages_are_found_by_disk_and_place(void **state)
{
	struct pages pages = { .entry_bytes = sizeof(struct counted) };

	(void)state;
	for (uint64_t i = 0; i < 20000; i++)
		add(&pages, i % 3, i / 3 * PAGE_BYTES * 7, i);
	for (uint64_t i = 0; i < 20000; i++) {
		const struct counted *entry = pages_find(
			&pages, page_key(i % 3, i / 3 * PAGE_BYTES * 7 + i % PAGE_BYTES));

		assert_non_null(entry);
		assert_int_equal(entry->value, i);
		assert_ptr_equal(entry, pages_entry(&pages, i));
		assert_null(pages_find(&pages, page_key(i % 3, (i / 3 * 7 + 1) * PAGE_BYTES)));
	}
	pages_free(&pages);
}

static void what_was_cleared_is_gone_and_can_come_again(void **state)
{
	struct pages pages = { .entry_bytes = sizeof(struct counted) };

	(void)state;
	assert_null(pages_find(&pages, 5));
	for (uint64_t round = 1; round < 5; round++) {
		for (uint64_t i = 0; i < 1000 * round; i++)
			add(&pages, 0, i * PAGE_BYTES, i * round);
		for (uint64_t i = 0; i < 1000 * round; i++) {
			const struct counted *entry = pages_find(&pages, i);

			assert_int_equal(entry->value, i * round);
		}
		pages_clear(&pages);
		assert_int_equal(pages.nr, 0);
		assert_null(pages_find(&pages, 5));
	}
	pages_free(&pages);
}

static void a_sector_of_a_page_is_a_bit(void **state)
{
	(void)state;
	assert_int_equal(page_sectors(0, 4096), 0xff);
	assert_int_equal(page_sectors(512, 1536), 0x06);
	assert_int_equal(page_sectors(3584, 4096), 0x80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thousands_of_pages_are_found_by_disk_and_place),
		cmocka_unit_test(what_was_cleared_is_gone_and_can_come_again),
		cmocka_unit_test(a_sector_of_a_page_is_a_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
