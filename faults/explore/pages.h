/* SPDX-License-Identifier: MIT */
/*
 * What is known of some pages of 4 KiB of some disks: entries of one size, found by page in
 * constant time, kept in the order in which they came, forgotten in the time that adding them took.
 */
#ifndef FAULTS_EXPLORE_PAGES_H
#define FAULTS_EXPLORE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT   12
#define PAGE_BYTES   (1u << PAGE_SHIFT)
#define PAGE_SECTORS 8u

/* The head of every entry. */
struct page {
	uint64_t key;
	uint32_t slot; /* the table's own */
};

/* All zero but @entry_bytes: empty. One thread at a time. */
struct pages {
	unsigned char *entries;
	size_t entry_bytes, nr, max;
	uint32_t *table; /* number of the entry plus 1, or 0 */
	uint32_t table_size;
};

#define PAGE_DISK_SHIFT 52 /* of the key; below it the number of the page */

static inline uint64_t page_key(uint16_t disk, uint64_t at)
{
	return (uint64_t)disk << PAGE_DISK_SHIFT | at >> PAGE_SHIFT;
}

/* A bit for each sector of bytes [from, to) of a page; both multiples of 512. */
static inline uint8_t page_sectors(uint32_t from, uint32_t to)
{
	return (uint8_t)((1u << (to >> 9)) - (1u << (from >> 9)));
}

/* The entry of the page, or NULL. Valid until the next one is added. */
void *pages_find(const struct pages *pages, uint64_t key);
/* A new entry, all zero but its head; there must be none yet. -ENOMEM: nothing has changed. */
int pages_add(struct pages *pages, uint64_t key, void *ret_entry);
void *pages_entry(const struct pages *pages, size_t i); /* i < nr */
void pages_clear(struct pages *pages);
void pages_free(struct pages *pages); /* empty again, and without memory */

#endif
