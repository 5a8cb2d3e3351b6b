/* SPDX-License-Identifier: MIT */
/*
 * The memory of the disk: a sparse memfd, mapped once. Unwritten bytes read as zero and cost no
 * memory; discard and write-zeroes give whole pages back. Any thread may call any function; as on
 * a real disk, requests that overlap while in flight together have no defined order.
 *
 * Two things are known of each page of 4 KiB. It is marked if it has memory. It is taken if it holds
 * space of the disk, of which there may be a limit (store_limit): what is marked is taken, too, and
 * so are zeroes that were written and have no memory. A discard gives space back.
 */
#ifndef FAULTS_DISK_STORE_H
#define FAULTS_DISK_STORE_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_PAGE 4096u /* what is marked and taken as one */

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
/* [offset, offset+len) is about to be written through store_data(). It is taken, past a limit too. */
void store_mark(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/* The same for what store_take() has taken. */
void store_fill(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/* Is all of it marked? */
bool store_is_marked(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/* Copy out bytes [offset, offset+len), no more than a unit where the store is shared; a hole stays
 * one. */
void store_peek(const struct store *store, uint64_t offset_bytes, void *to, uint64_t len_bytes);
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
/* The same, but all of it is taken then. -ENOSPC: nothing has changed. */
int store_zero(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);

/* At most so many bytes may be taken, to the page; UINT64_MAX: all. What is taken already stays. */
void store_limit(struct store *store, uint64_t capacity_bytes);
uint64_t store_capacity(const struct store *store); /* UINT64_MAX: no limit */
uint64_t store_used(const struct store *store);     /* bytes that are taken */
/* Is all of it taken? */
bool store_is_taken(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/*
 * [offset, offset+len) is about to be written: all of it is taken, 0. -ENOSPC: nothing has changed,
 * the limit forbids it. -EIO: the host has no memory for it.
 */
int store_take(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/* The same for zeroes, which need no memory: 0 or -ENOSPC. */
int store_take_space(struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/* @bytes of memory are about to be used for the disk, here or beside the store. 0, or -EIO. */
int store_grow(struct store *store, uint64_t bytes);
/* The bytes of [offset, offset+len) that are marked. */
uint64_t store_marked(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes);
/*
 * Ask @room, from now on, how much memory the host has left for us; it is asked for every so many
 * MiB that are used, and each time while there is too little. @root: its parameter, borrowed. NULL:
 * nobody is asked. Before the threads start.
 */
void store_watch_host(struct store *store, uint64_t (*room)(const char *root), const char *root);
struct store_host {
	bool low;            /* what was asked for last was too much */
	uint64_t nr_low;     /* how often that began, since the store was made */
	uint64_t nr_refused; /* requests */
};
struct store_host store_host(const struct store *store);
/* How often this thread was refused memory, whatever the store. */
uint64_t store_refusals(void);
/* Refuse memory, whatever the host has, until this is called again: as it was recorded. Without
 * @refuse the host is asked again. Any thread.
 */
void store_refuse(struct store *store, bool refuse);
/* Has it become low since this was asked last? Any one thread hears of it. */
bool store_host_changed(struct store *store);

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
