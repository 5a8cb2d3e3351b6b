// SPDX-License-Identifier: MIT
#include "out_file.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

static int fail(struct diag *diag, const char *path, int err)
{
	diag_set(diag, err, "file.write", "cannot write %s: %s", path, strerror(-err));
	if (err == -EEXIST)
		diag_hint(diag, "remove it first, or choose another name");
	return err;
}

static int open_nameless(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);

	return copy ? fail_errno("tools/out_file/nameless", EOPNOTSUPP,
				 open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666))
		    : -1;
}

int out_file_open(const char *path, struct diag *diag, struct out_file *ret_file)
{
	struct out_file file = { .path = path };

	/* Told now, and not after the work. */
	if (access(path, F_OK) == 0)
		return fail(diag, path, -EEXIST);
	file.fd = open_nameless(path);
	if (file.fd < 0) {
		file.fd = fail_errno("tools/out_file/open", EACCES,
				     open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
		file.named = 1;
	}
	if (file.fd < 0)
		return fail(diag, path, -errno);
	*ret_file = file;
	return 0;
}

int out_file_finish(struct out_file *file, struct diag *diag)
{
	char self[64];
	int err = 0;

	if (map_any_broken()) {
		out_file_drop(file);
		return diag_set(diag, -ESTALE, "out-file.input",
				"%s is not written: a file that was read for it was cut meanwhile, "
				"or could not be read any more",
				file->path);
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
	if (!file->named &&
	    fail_errno("tools/out_file/link", ENOSPC,
		       linkat(AT_FDCWD, self, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW)) < 0)
		err = fail(diag, file->path, -errno);
	close(file->fd);
	file->fd = -1;
	return err;
}

void out_file_drop(struct out_file *file)
{
	if (file->fd < 0)
		return;
	if (file->named)
		unlink(file->path);
	close(file->fd);
	file->fd = -1;
}
