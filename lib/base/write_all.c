// SPDX-License-Identifier: MIT
#include "base/write_all.h"

#include <errno.h>
#include <unistd.h>

/* Of the result of a write: how much of it; 0: none, and it is tried again; -errno. */
static ssize_t taken(ssize_t nr)
{
	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	return nr ? nr : -EIO;
}

int write_all_vec(int fd, struct iovec *iov, int nr)
{
	while (nr) {
		ssize_t done = taken(writev(fd, iov, nr));

		if (done < 0)
			return (int)done;
		for (; nr && (size_t)done >= iov->iov_len; iov++, nr--)
			done -= (ssize_t)iov->iov_len;
		if (nr) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

int write_all(int fd, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)bytes, len };

	return len ? write_all_vec(fd, &iov, 1) : 0;
}

int write_all_at(int fd, const void *bytes, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t nr = taken(
			pwrite(fd, (const char *)bytes + done, len - done, (off_t)(at + done)));

		if (nr < 0)
			return (int)nr;
		done += (size_t)nr;
	}
	return 0;
}
