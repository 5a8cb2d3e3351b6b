// SPDX-License-Identifier: MIT
/*
 * takeaway PID ID SOCKET LINE: greeted at its SOCKET, and while the first thread of server PID stands
 * still, stop its disk /dev/ublkbID from outside, wait until its queues have ended, and send LINE. So
 * the thread sees both at once. What the server says is printed.
 */
#include "abi.h"
#include "tests/patience.h"

#include <dirent.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_MS PATIENCE_MS
#define NAP_US  10000

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void stop_thread(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) != pid ||
	    !WIFSTOPPED(status))
		die("ptrace");
}

static void stop_disk(uint32_t id)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 };
	struct abi_ctrl_cmd cmd = { .dev_id = id, .queue_id = UINT16_MAX };
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	if (io_uring_queue_init_params(1, &ring, &params) < 0)
		die("io_uring");
	sqe = io_uring_get_sqe(&ring);
	if (!sqe)
		die("io_uring");
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	sqe->cmd_op = ABI_IOCTL_RW(ABI_STOP_DEV);
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
	if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_peek_cqe(&ring, &cqe) ||
	    cqe->res < 0)
		die("STOP_DEV");
	io_uring_queue_exit(&ring);
}

/* Threads whose name begins so. */
static unsigned int count_threads(pid_t pid, const char *name)
{
	char path[64], comm[32];
	struct dirent *entry;
	unsigned int nr = 0;
	DIR *tasks;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/comm", (int)pid, entry->d_name);
		file = fopen(path, "re");
		nr += file && fgets(comm, sizeof(comm), file) &&
		      strncmp(comm, name, strlen(name)) == 0;
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return nr;
}

/* What comes up to the end of a line, or of the connection. */
static void print_line(int fd)
{
	struct pollfd answer = { .fd = fd, .events = POLLIN };
	char byte = 0;

	while (byte != '\n' && poll(&answer, 1, LONG_MS) > 0 && read(fd, &byte, 1) == 1)
		putchar(byte);
}

static int join(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(path);
	print_line(fd);
	return fd;
}

int main(int argc, char **argv)
{
	char queue[32];
	pid_t pid;
	int fd;

	if (argc != 5)
		return 2;
	pid = (pid_t)atoi(argv[1]);
	snprintf(queue, sizeof(queue), "ublk%sq", argv[2]);
	if (!count_threads(pid, queue))
		die("no queue");
	fd = join(argv[3]);
	stop_thread(pid);
	stop_disk((uint32_t)atoi(argv[2]));
	for (int i = 0; count_threads(pid, queue); i++) {
		if (i > LONG_MS * 1000 / NAP_US)
			die("its queues do not end");
		usleep(NAP_US);
	}
	if (dprintf(fd, "%s\n", argv[4]) < 0 || ptrace(PTRACE_DETACH, pid, NULL, NULL) < 0)
		die("going on");
	print_line(fd);
	return 0;
}
