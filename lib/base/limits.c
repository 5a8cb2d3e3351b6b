// SPDX-License-Identifier: MIT
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const struct limit {
	int err;
	int resource;
	const char *of, *shell;
	unsigned int unit; /* of the shell, in units of the kernel */
} limits[] = {
	{ EMFILE, RLIMIT_NOFILE, "open files", "-n", 1 },
	{ EFBIG, RLIMIT_FSIZE, "the size of a file in KiB", "-f", 1024 },
	{ ENOMEM, RLIMIT_AS, "memory in KiB", "-v", 1024 },
	{ ENOMEM, RLIMIT_DATA, "data in KiB", "-d", 1024 },
	/* A thread wants memory, too. */
	{ EAGAIN, RLIMIT_NPROC, "processes of the user", "-u", 1 },
	{ EAGAIN, RLIMIT_AS, "memory in KiB", "-v", 1024 },
};

const char *limits_words(int err, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = 0;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct limit *l = &limits[i];
		struct rlimit set;

		if (l->err != abs(err) || getrlimit((__rlimit_resource_t)l->resource, &set) ||
		    set.rlim_cur == RLIM_INFINITY)
			continue;
		at += (size_t)snprintf(buf + at, size - at, "%s%s (ulimit %s) is %llu",
				       at ? ", of " : "the limit of ", l->of, l->shell,
				       (unsigned long long)set.rlim_cur / l->unit);
		if (at >= size)
			break;
	}
	return buf;
}
