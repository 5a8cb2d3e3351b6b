/* SPDX-License-Identifier: MIT */
/*
 * Blocks of the disk as they once were: a sparse copy beside the store, filled block by block.
 *
 * A block is saved, looked up and forgotten by its place on the disk. All calls about one block
 * want the lock of its unit (see store.h); blocks of different units may be used at once. Memory
 * is taken when a block is first saved and given back when the shadow is cleared.
 */
#ifndef FAULTS_DISK_SHADOW_H
#define FAULTS_DISK_SHADOW_H

#include "faults/disk/store.h"

struct shadow;

/* For bytes [from, to) of a disk; both multiples of @block_bytes, a power of two. -ENOMEM. */
int shadow_create(uint64_t from, uint64_t to, uint32_t block_bytes, struct shadow **ret_shadow);
struct shadow *shadow_free(struct shadow *shadow); /* NULL allowed; returns NULL */

/*
 * Keep the blocks of [at, at+len) as the store has them now; parts outside are ignored. @again:
 * also those that were saved before. *ret_nr (may be NULL): how many blocks were not saved before.
 */
void shadow_save(struct shadow *shadow, const struct store *store, uint64_t at, uint64_t len,
		 bool again, uint64_t *ret_nr);
/* The block at @at as it was saved, or NULL. Valid while its unit is locked. */
const unsigned char *shadow_block(const struct shadow *shadow, uint64_t at);
/* Is the block at @at saved, and was it nothing but zeroes that cost no memory? */
bool shadow_is_hole(const struct shadow *shadow, uint64_t at);
/* The first byte of the first saved block in [at, end), or @end. */
uint64_t shadow_next(const struct shadow *shadow, uint64_t at, uint64_t end);
/* Forget the blocks of [at, at+len); returns how many there were. */
uint64_t shadow_forget(struct shadow *shadow, uint64_t at, uint64_t len);
/* Save the block at @at with the content @block, instead of any that it has; NULL: a hole. */
void shadow_put(struct shadow *shadow, uint64_t at, const unsigned char *block);
/* Change bytes [at, at+len) of one saved block (asserted); @data NULL: to zeroes. */
void shadow_patch(struct shadow *shadow, uint64_t at, const unsigned char *data, uint64_t len);
/*
 * Call @each for every saved block, ascending. The caller keeps all others away from the shadow.
 */
void shadow_each(const struct shadow *shadow,
		 void (*each)(void *ctx, uint64_t at, const unsigned char *block), void *ctx);
/* Memory that saved and forgotten blocks take, without the bits about them. Any thread. */
uint64_t shadow_bytes(const struct shadow *shadow);
/* Give back the memory of forgotten blocks. The caller keeps all others away. */
void shadow_trim(struct shadow *shadow);
/* Has nothing been saved since it was cleared? Forgotten blocks still take memory, and count. */
bool shadow_is_empty(const struct shadow *shadow);
/* Forget everything and give the memory back. The caller keeps all others away. */
void shadow_clear(struct shadow *shadow);

#endif
