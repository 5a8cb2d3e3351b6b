// SPDX-License-Identifier: MIT
#include "tools/cli/input.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"

#include <fcntl.h>
#include <sys/stat.h>

int input_open(const char *path, const char *wanted, size_t *ret_size)
{
	_cleanup_close_ int fd =
		fail_errno("tools/cli/input/open", EACCES,
			   open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)); /* a FIFO: no waiting */
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat) < 0) {
		tool_msg("cannot read %s: %m", path);
		return -1;
	}
	if (!S_ISREG(stat.st_mode) || stat.st_size == 0) {
		tool_msg("%s is %s, not %s", path,
			 S_ISREG(stat.st_mode) ? "empty" : "no regular file", wanted);
		return -1;
	}
	*ret_size = (size_t)stat.st_size;
	return take_fd(&fd);
}
