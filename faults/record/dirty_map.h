/* SPDX-License-Identifier: MIT */
/*
 * Where a recorded disk was written since the last power cut, and what it holds there when the
 * power is on again: so a recording goes on behind a cut with what really survived it.
 */
#ifndef FAULTS_RECORD_DIRTY_MAP_H
#define FAULTS_RECORD_DIRTY_MAP_H

#include <stdint.h>

#define DIRTY_MAP_UNIT 4096u /* bytes that are noted as one */

struct dirty_map;
struct store;

/* A bit for each DIRTY_MAP_UNIT of @size_bytes; only those near something written take memory. NULL: no
 * memory. */
struct dirty_map *dirty_map_create(uint64_t size_bytes);
struct dirty_map *dirty_map_free(struct dirty_map *map); /* NULL allowed; returns NULL */
/* Bytes [at, at+len), inside the disk, are about to change, or might have. Any thread. */
void dirty_map_add(struct dirty_map *map, uint64_t at, uint64_t len);
/*
 * Call @report for all that was noted, in ascending order, until it returns non-zero, which is then
 * returned; @bytes is NULL where the store holds nothing. Ranges touch but do not overlap. Then
 * nothing is noted any more. Nobody adds or writes meanwhile.
 */
int dirty_map_each(struct dirty_map *map, struct store *store,
		   int (*report)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len),
		   void *ctx);

#endif
