// SPDX-License-Identifier: MIT
#include "base/array.h"

#include "base/cleanup.h"

#include <stdint.h>
#include <stdlib.h>

_cold_ void *array_resized(void *array, size_t nr, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(nr, each, &bytes) || bytes > PTRDIFF_MAX)
		return NULL;
	return realloc(array, bytes);
}

_cold_ void *array_grown(void *array, size_t *room, size_t want, size_t first, size_t most,
			 size_t each)
{
	size_t to = !*room ? first : *room <= most / 2 ? 2 * *room : most;
	void *grown;

	if (want > most)
		return NULL;
	if (to < want)
		to = want;
	grown = array_resized(array, to, each);
	if (grown)
		*room = to;
	return grown;
}
