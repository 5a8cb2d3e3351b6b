/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a disk hold space, and how many may.
 *
 * A page is taken when it is first written, or zeroed with the wish to keep it, and given back by a
 * discard. That says nothing of memory: a page that is taken and reads as zero has none. Memory of
 * the map itself: a bit for each page near others that are not alike; next to nothing where all of
 * 128 MiB are. Any thread may call any function.
 */
#ifndef FAULTS_DISK_SPACE_H
#define FAULTS_DISK_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#define SPACE_ENDLESS UINT64_MAX

struct space;

/* Numbers and lengths are in pages. Nothing is taken, without a limit. -ENOMEM. */
int space_create(uint64_t nr_pages, struct space **ret_space);
struct space *space_free(struct space *space); /* NULL allowed; returns NULL */

/* How many may be taken. Fewer than there are: they stay, and no more is taken. */
void space_limit(struct space *space, uint64_t capacity);
uint64_t space_capacity(const struct space *space);
uint64_t space_used(const struct space *space);

/* All of them are taken afterwards: 0. -ENOSPC: nothing has changed, the limit forbids it. */
int space_take(struct space *space, uint64_t first, uint64_t nr);
/* The same for what happens anyway: past the limit, too. */
void space_force(struct space *space, uint64_t first, uint64_t nr);
/* None of them is taken afterwards. */
void space_give(struct space *space, uint64_t first, uint64_t nr);
/*
 * Where the first of them are that may be taken, up to the end of a chunk that holds any: how many
 * from @first on are not, for certain, and how many follow before the next such stretch; 0: none
 * does. Skips 128 MiB at a time.
 */
uint64_t space_next(struct space *space, uint64_t first, uint64_t nr, uint64_t *ret_skip);
/* Are all of them taken? */
bool space_has(struct space *space, uint64_t first, uint64_t nr);

#endif
