// SPDX-License-Identifier: MIT
/* What is printed where nobody reads: waited for, or never. The printer is a child of its own. */
#include "tests/unit/check.h"
#include "tools/cli/clean_output.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nothing more goes into it, not even a moment later, when a terminal has handed some of it over. The
 * flag is of the open file: the child must not need it. */
static void fill(int fd)
{
	static const char dots[4096];
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	do {
		while (write(fd, dots, sizeof(dots)) > 0)
			;
		while (write(fd, dots, 1) > 0)
			;
	} while (poll(&room, 1, 200) > 0);
	fcntl(fd, F_SETFL, flags);
}

static size_t drain(int fd, char *last, size_t size)
{
	size_t all = 0, kept = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((n = read(fd, last + kept, size - 1 - kept)) > 0) {
		all += (size_t)n;
		kept = 0;
		last[n] = '\0';
	}
	return all;
}

/* A terminal hands over what is written to it a moment later. */
static void read_until(int fd, const char *word, char *text, size_t size)
{
	struct pollfd more = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	for (text[0] = '\0'; !strstr(text, word); text[len] = '\0') {
		ssize_t n;

		assert_int_equal(poll(&more, 1, PATIENCE_MS), 1);
		n = read(fd, text + len, size - 1 - len);
		assert_true(n > 0);
		/* Of what filled it the rest is no text. */
		for (ssize_t i = 0; i < n; i++)
			if (text[len + (size_t)i] == '\0')
				text[len + (size_t)i] = '.';
		len += (size_t)n;
	}
}

/* The child says something, and then, once the reader has read all, something else. */
static void printer(int out, int go)
{
	char byte;

	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	alarm(PATIENCE_MS / 1000); /* who waits is ended */
	signal(SIGPIPE, SIG_IGN);
	clean_output_start();
	clean_output_never_wait();
	tool_msg("first");
	tool_msg("second");
	printf("an answer\n");
	fflush(stdout);
	if (!ferror(stdout) || clean_output_error() != EAGAIN)
		_exit(2);
	clearerr(stdout);
	if (write(go, "x", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(3);
	tool_msg("third");
	printf("another answer\n");
	fflush(stdout);
	_exit(ferror(stdout) || fcntl(out, F_GETFL) & O_NONBLOCK ? 4 : 0);
}

static void must_not_wait(int in, int out)
{
	char text[1 << 18] = "", byte;
	int go[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, go), 0);
	fill(out);
	pid = fork();
	if (pid == 0)
		printer(out, go[1]);
	close(go[1]);
	if (read(go[0], &byte, 1) != 1) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		fail_msg("it ended with %#x", status);
	}
	assert_true(drain(in, text, sizeof(text)) > 0);
	assert_null(strstr(text, "second"));
	assert_int_equal(write(go[0], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	read_until(in, "another answer", text, sizeof(text));
	assert_non_null(strstr(text, "standard error was not read: 2 lines before this one are lost"));
	assert_non_null(strstr(text, "faultblk: third"));
	assert_non_null(strstr(text, "another answer"));
	close(go[0]);
	close(in);
	close(out);
}

static void a_message_waits_for_no_reader_of_a_pipe(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	must_not_wait(fds[0], fds[1]);
}

static void a_message_waits_for_no_reader_of_a_socket(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	must_not_wait(fds[0], fds[1]);
}

static void a_message_waits_for_no_terminal(void **state)
{
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	must_not_wait(master, slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_waits_for_no_reader_of_a_pipe),
		cmocka_unit_test(a_message_waits_for_no_reader_of_a_socket),
		cmocka_unit_test(a_message_waits_for_no_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
