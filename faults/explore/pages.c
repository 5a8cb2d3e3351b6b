// SPDX-License-Identifier: MIT
/* Entries in a row, and a table of open addresses that is at most half full. */
#include "faults/explore/pages.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <string.h>

#define TABLE_FIRST   1024u
#define ENTRIES_FIRST 64u

void *pages_entry(const struct pages *pages, size_t i)
{
	return pages->entries + i * pages->entry_bytes;
}

static uint32_t home_of(const struct pages *pages, uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 32) & (pages->table_size - 1);
}

void *pages_find(const struct pages *pages, uint64_t key)
{
	uint32_t slot;

	if (!pages->nr)
		return NULL;
	slot = home_of(pages, key);
	for (; pages->table[slot]; slot = (slot + 1) & (pages->table_size - 1)) {
		struct page *page = pages_entry(pages, pages->table[slot] - 1);

		if (page->key == key)
			return page;
	}
	return NULL;
}

static void enter(struct pages *pages, size_t i)
{
	struct page *page = pages_entry(pages, i);
	uint32_t slot = home_of(pages, page->key);

	while (pages->table[slot])
		slot = (slot + 1) & (pages->table_size - 1);
	pages->table[slot] = (uint32_t)i + 1;
	page->slot = slot;
}

static int grow_table(struct pages *pages)
{
	uint32_t size = pages->table_size ? 2 * pages->table_size : TABLE_FIRST;
	uint32_t *table = fail_alloc("faults/explore/pages/table", calloc(size, sizeof(*table)));

	if (!table)
		return -ENOMEM;
	free(pages->table);
	pages->table = table;
	pages->table_size = size;
	for (size_t i = 0; i < pages->nr; i++)
		enter(pages, i);
	return 0;
}

static int grow_entries(struct pages *pages)
{
	void *entries = fail_alloc("faults/explore/pages/entries",
				   array_grown(pages->entries, &pages->max, pages->nr + 1,
					       ENTRIES_FIRST, SIZE_MAX, pages->entry_bytes));

	if (!entries)
		return -ENOMEM;
	pages->entries = entries;
	return 0;
}

int pages_add(struct pages *pages, uint64_t key, void *ret_entry)
{
	struct page *page;

	if (pages->nr >= UINT32_MAX / 4)
		return -ENOMEM;
	if (2 * (pages->nr + 1) > pages->table_size && grow_table(pages) < 0)
		return -ENOMEM;
	if (pages->nr == pages->max && grow_entries(pages) < 0)
		return -ENOMEM;
	page = pages_entry(pages, pages->nr);
	memset(page, 0, pages->entry_bytes);
	page->key = key;
	enter(pages, pages->nr++);
	*(void **)ret_entry = page;
	return 0;
}

void pages_clear(struct pages *pages)
{
	for (size_t i = 0; i < pages->nr; i++) {
		struct page *page = pages_entry(pages, i);

		pages->table[page->slot] = 0;
	}
	pages->nr = 0;
}

void pages_free(struct pages *pages)
{
	free(pages->entries);
	free(pages->table);
	*pages = (struct pages){ .entry_bytes = pages->entry_bytes };
}
