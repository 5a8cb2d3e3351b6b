/* SPDX-License-Identifier: MIT */
/* Large mappings of which little is used. */
#ifndef BASE_SPARSE_H
#define BASE_SPARSE_H

#include <stddef.h>

/*
 * @size_bytes of zeroes that cost what is written, to the page: nothing is reserved, the kernel does
 * not round a write up to a huge page, and no core dump contains them. NULL and errno.
 */
void *sparse_map(size_t size_bytes);
/* NULL: nothing. */
void sparse_unmap(const volatile void *map, size_t size_bytes);
/* The last two for a mapping of any kind. Only advice: failure is harmless. */
void sparse_advise(void *map, size_t size_bytes);
/* Bytes [map, map+size) are zeroes again and cost nothing; whole pages, of a sparse_map(). */
void sparse_clear(void *map, size_t size_bytes);

#endif
