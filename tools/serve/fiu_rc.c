// SPDX-License-Identifier: MIT
#include "tools/serve/fiu_rc.h"

#include "base/failpoint.h"

#include <errno.h>
#include <fiu-control.h>
#include <limits.h>
#include <string.h>

#define SUFFIX_MAX 32 /* "-PID.out" */

/* The header offers it only to programs that have failure points; any caller may need it. */
extern int fiu_init(unsigned int flags);

int fiu_rc_open(const char *prefix, struct diag *diag)
{
	size_t len = strlen(prefix);
	int err;

	if (len == 0 || prefix[len - 1] == '/')
		return diag_set(diag, -EINVAL, "fiu.prefix",
				"--fiu-rc: got '%.200s', wanted a path that the names of two files "
				"begin with, like /tmp/fiu",
				prefix);
	if (len >= PATH_MAX - SUFFIX_MAX)
		return diag_set(diag, -ENAMETOOLONG, "fiu.prefix",
				"--fiu-rc: got a path of %zu bytes, wanted at most %d", len,
				PATH_MAX - SUFFIX_MAX - 1);
	errno = 0;
	if (!fiu_init(0) && !fail_errno("tools/serve/fiu_rc/fifo", ENOSPC, fiu_rc_fifo(prefix)))
		return 0;
	err = errno ? -errno : -EIO;
	diag_set(diag, err, "fiu.fifo",
		 "--fiu-rc: cannot make the FIFOs %.200s-PID.in and .out: %s", prefix,
		 strerror(-err));
	diag_hint(diag, "PREFIX is a path in a directory that exists and may be written to");
	return err;
}
