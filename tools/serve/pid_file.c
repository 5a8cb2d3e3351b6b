// SPDX-License-Identifier: MIT
#include "tools/serve/pid_file.h"

#include "base/cleanup.h"
#include "tools/cli/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PID_TEXT_MAX 16

/* The process id that is all that the file holds; 0: it holds something else. */
static int read_pid(int fd)
{
	char text[PID_TEXT_MAX + 1];
	ssize_t len = read(fd, text, sizeof(text) - 1);
	size_t digits;

	if (len <= 0 || len == PID_TEXT_MAX)
		return 0;
	text[len] = '\0';
	digits = strspn(text, "0123456789");
	return digits && digits < 10 && strcmp(text + digits, "\n") == 0 ? atoi(text) : 0;
}

static bool holds_a_pid(int fd)
{
	return read_pid(fd) > 0;
}

int pid_file_write(const char *path, struct diag *diag)
{
	const struct out_options options = { .is_ours = holds_a_pid,
					     .mode = 0644,
					     .id = "pid-file" };
	struct out_file file;
	char text[PID_TEXT_MAX];
	int err = out_file_open(path, &options, diag, &file);

	if (err == -EEXIST)
		diag_hint(diag, "it is not a file with a process id; give another name");
	if (err)
		return err;
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	err = out_file_write(&file, text, strlen(text));
	if (err) {
		diag_set(diag, err, "pid-file.write", "cannot write %.300s: %s", path,
			 strerror(-err));
		out_file_drop(&file);
		return err;
	}
	return out_file_finish(&file, diag);
}

void pid_file_remove(const char *path)
{
	_cleanup_close_ int fd =
		path ? open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;

	if (fd >= 0 && read_pid(fd) == (int)getpid())
		unlink(path);
}
