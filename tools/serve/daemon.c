// SPDX-License-Identifier: MIT
/*
 *	original -- fork --> middle -- setsid, fork --> daemon
 *	   |                    |                         | daemon_ready(): one byte into the pipe
 *	   '-- waits on the pipe (and reaps the middle) <-'
 *
 * A pipe that ends without a byte means that the daemon ended first; its exit code comes through
 * the middle process, which waits for it until then.
 */
#include "tools/serve/daemon.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static int ready_fd = -1;

/* Wait for the byte. Returns the exit code of whoever waits. */
static int wait_ready(int fd, pid_t child)
{
	int status = 0;
	ssize_t n;
	char byte;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return EXIT_OK;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* The caller of daemon_detach() is another process by then: the words have to come from here. */
static _Noreturn void die_in_the_middle(void)
{
	tool_msg("cannot go to the background: %m");
	_exit(EXIT_FAILED);
}

int daemon_detach(void)
{
	int first[2], second[2];
	pid_t pid;

	if (fail_errno("tools/serve/daemon/pipe", EMFILE, pipe2(first, O_CLOEXEC)) < 0)
		return -errno;
	pid = fail_errno("tools/serve/daemon/fork", EAGAIN, fork());
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		close(first[1]);
		_exit(wait_ready(first[0], pid));
	}
	close(first[0]);
	if (setsid() < 0 ||
	    fail_errno("tools/serve/daemon/second-pipe", EMFILE, pipe2(second, O_CLOEXEC)) < 0)
		die_in_the_middle();
	pid = fail_errno("tools/serve/daemon/second-fork", EAGAIN, fork());
	if (pid < 0)
		die_in_the_middle();
	if (pid > 0) {
		int code;

		close(second[1]);
		code = wait_ready(second[0], pid);
		if (code == EXIT_OK && write(first[1], "", 1) != 1)
			code = EXIT_FAILED;
		_exit(code);
	}
	close(second[0]);
	close(first[1]);
	ready_fd = second[1];
	return 0;
}

void daemon_ready(void)
{
	int null_fd;

	if (ready_fd < 0)
		return;
	null_fd = fail_errno("tools/serve/daemon/null", EMFILE,
			     open("/dev/null", O_RDWR | O_CLOEXEC));
	tool_use_syslog();
	for (int fd = 0; fd <= 2 && null_fd >= 0; fd++)
		dup2(null_fd, fd);
	if (null_fd > 2)
		close(null_fd);
	if (chdir("/") < 0 || write(ready_fd, "", 1) != 1)
		tool_msg("cannot notify the parent process: %m");
	close(ready_fd);
	ready_fd = -1;
}

void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	const struct timeval patience = { .tv_sec = 5 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* abstract */
	fd = fail_errno("tools/serve/daemon/notify", EMFILE,
			socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	/* One that does not read what it is told must not keep the disk from serving. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		tool_msg("cannot notify the service manager: %m");
}
