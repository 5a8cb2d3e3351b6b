/* SPDX-License-Identifier: MIT */
/*
 * The memory of the disk: a sparse memfd, mapped once. Unwritten bytes read as zero and cost no
 * memory; discard and write-zeroes give whole pages back. Any thread may call any function; as on
 * a real disk, requests that overlap while in flight together have no defined order.
 */
#ifndef FAULTS_STORE_H
#define FAULTS_STORE_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* @size_bytes: a multiple of 512, at least one sector. Errors: -EINVAL, -ENOMEM, -EMFILE... */
int store_create(uint64_t size_bytes, struct diag *diag, struct store **ret_store);
/* NULL is allowed; returns NULL. */
struct store *store_free(struct store *store);

uint64_t store_size(const struct store *store);
/*
 * The mapping itself, store_size() bytes, for as long as the store lives. To touch a hole, even to
 * read it, allocates its page: ask store_span() first. What is to be written is marked first.
 */
unsigned char *store_data(struct store *store);
/* The same, to read. */
const unsigned char *store_bytes(const struct store *store);
/* [offset, offset+len) is about to be written through store_data(). */
void store_mark(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/*
 * How much of [offset, offset+len), from its beginning, is alike: marked (*ret_marked), or a hole
 * that reads as zero. At least one byte of a @len of at least one.
 */
uint64_t store_span(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes,
		    bool *ret_marked);
/*
 * Call @each for what is marked, in ascending order, until it returns non-zero; that is then
 * returned. Nobody writes meanwhile.
 */
int store_each_extent(struct store *store,
		      int (*each)(void *ctx, uint64_t offset_bytes, uint64_t len_bytes), void *ctx);
/* Bytes of memory in use now, as the kernel counts them. */
uint64_t store_allocated(const struct store *store);
/* [offset, offset+len) reads as zero afterwards; whole pages inside are freed. 0 or -errno. Takes
 * the locks it needs: the caller holds none. */
int store_punch(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);

/*
 * Several threads are going to use the store at once: from now on a unit of @unit_bytes (a power of
 * two, at least a page, aligned to its size) that is locked is one thread's, and so never seen half
 * written. Before this the locks do nothing. Once, before the threads start. 0 or -ENOMEM.
 */
int store_share(struct store *store, uint32_t unit_bytes);
/* The other threads are gone. Nobody holds a lock. */
void store_unshare(struct store *store);
/* Bytes from @offset to the end of its unit; UINT64_MAX where the store is not shared. */
uint64_t store_unit_left(const struct store *store, uint64_t offset_bytes);
/* Lock the unit that holds @offset. A thread holds at most one. */
void store_lock(struct store *store, uint64_t offset_bytes);
void store_unlock(struct store *store, uint64_t offset_bytes);
/* Every unit at once, for what concerns the whole disk. The caller holds none. */
void store_lock_all(struct store *store);
void store_unlock_all(struct store *store);

#endif
