/* SPDX-License-Identifier: MIT */
#ifndef BASE_ZERO_H
#define BASE_ZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Are all @len bytes zero? They are read up to the first that differs from the one 8 before it. */
static inline bool is_zero(const void *bytes, size_t len)
{
	uint64_t word = 0;

	if (len < sizeof(word)) {
		memcpy(&word, bytes, len);
		return !word;
	}
	memcpy(&word, bytes, sizeof(word));
	return !word && memcmp(bytes, (const char *)bytes + sizeof(word), len - sizeof(word)) == 0;
}

#endif
