/* SPDX-License-Identifier: MIT */
/*
 * Where a recorded disk was written since the last power cut, and what it holds there when the
 * power is on again: so a recording goes on behind a cut with what really survived it.
 */
#ifndef FAULTS_RECORD_KEPT_H
#define FAULTS_RECORD_KEPT_H

#include <stdint.h>

#define KEPT_UNIT 4096u /* bytes that are noted as one */

struct kept;
struct store;

/* A bit for each KEPT_UNIT of @size_bytes; only those near something written take memory. NULL: no
 * memory. */
struct kept *kept_create(uint64_t size_bytes);
struct kept *kept_free(struct kept *kept); /* NULL allowed; returns NULL */
/* Bytes [at, at+len), inside the disk, are about to change, or might have. Any thread. */
void kept_add(struct kept *kept, uint64_t at, uint64_t len);
/*
 * Call @tell for all that was noted, in ascending order, until it returns non-zero, which is then
 * returned; @bytes is NULL where the store holds nothing. Ranges touch but do not overlap. Then
 * nothing is noted any more. Nobody adds or writes meanwhile.
 */
int kept_tell(struct kept *kept, struct store *store,
	      int (*tell)(void *ctx, uint64_t at, const unsigned char *bytes, uint64_t len),
	      void *ctx);

#endif
