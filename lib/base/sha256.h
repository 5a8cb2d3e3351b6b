/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 (FIPS 180-4), with the processor's own instructions where it has them.
 *
 * A struct belongs to one thread; different ones do not know of each other.
 */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_BLOCK 64

struct sha256 {
	uint32_t state[8];
	uint64_t len_bytes; /* of what was added so far */
	unsigned char block[SHA256_BLOCK];
};

void sha256_start(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len_bytes);
/* The digest; @s has to be started again before it is used again. */
void sha256_finish(struct sha256 *s, unsigned char ret_digest[SHA256_BYTES]);

/* For tests: with @portable no instruction of the processor's is used. Before any thread starts. */
void sha256_set_portable(bool portable);

#endif
