// SPDX-License-Identifier: MIT
#include "base/sparse.h"

#include "base/failpoint.h"

#include <sys/mman.h>

void *sparse_map(size_t size_bytes)
{
	void *map = fail_value("lib/base/sparse/map", (errno = ENOMEM, MAP_FAILED),
			       mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	if (map == MAP_FAILED)
		return NULL;
	sparse_advise(map, size_bytes);
	return map;
}

void sparse_unmap(const volatile void *map, size_t size_bytes)
{
	if (map)
		munmap((void *)map, size_bytes);
}

void sparse_advise(void *map, size_t size_bytes)
{
	fail_errno("lib/base/sparse/dump", EINVAL, madvise(map, size_bytes, MADV_DONTDUMP));
	fail_errno("lib/base/sparse/huge", EINVAL, madvise(map, size_bytes, MADV_NOHUGEPAGE));
}

void sparse_clear(void *map, size_t size_bytes)
{
	madvise(map, size_bytes, MADV_DONTNEED);
}
