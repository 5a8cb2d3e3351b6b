// SPDX-License-Identifier: MIT
#include "tools/cli/tool.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/map_guard.h"
#include "base/printable.h"
#include "tools/cli/clean_output.h"
#include "tools/cli/typed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

const char *tool_quoted_hint(char *const *command, int err)
{
	if (err != ENOENT || command[1] || !strpbrk(command[0], " \t"))
		return "";
	return "; COMMAND is one word with blanks in it: remove its quotes, or use sh -c";
}

bool tool_is_word(const char *got, const char *word)
{
	static const char *const same[][2] = { { "ls", "list" }, { "rm", "remove" } };

	if (strcmp(got, word) == 0)
		return true;
	for (size_t i = 0; i < array_size(same); i++)
		if ((strcmp(got, same[i][0]) == 0 && strcmp(word, same[i][1]) == 0) ||
		    (strcmp(got, same[i][1]) == 0 && strcmp(word, same[i][0]) == 0))
			return true;
	return false;
}

static bool use_syslog;

/* ------------------------------------------------------------------------------ the process */

/* Those that end a program that does not care. */
static const int deadly[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
			      SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU };
static bool ignores_size; /* we were started so */

void tool_prepare(void)
{
	struct sigaction old;
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO) {
		if (fd != STDOUT_FILENO)
			continue;
		/* What is printed to nowhere is an error, as if it were still closed. */
		close(fd);
		if (open("/dev/null", O_RDONLY) < 0)
			break;
	}
	if (fd > STDERR_FILENO)
		close(fd);
	ignores_size = sigaction(SIGXFSZ, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
	signal(SIGXFSZ, SIG_IGN);
}

void tool_end_signals(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	for (size_t i = 0; i < array_size(deadly); i++)
		sigaddset(ret_set, deadly[i]);
}

void tool_unprepare(void)
{
	if (!ignores_size)
		signal(SIGXFSZ, SIG_DFL);
}

void tool_become_command(pid_t parent)
{
	sigset_t none;

	for (size_t i = 0; i < array_size(deadly); i++)
		signal(deadly[i], SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	tool_unprepare();
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_OURS);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ------------------------------------------------------------------------------ words */

void tool_use_syslog(void)
{
	use_syslog = true;
}

static int open_syslog(void)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = fail_errno("tools/cli/tool/syslog", EMFILE,
			    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		cleanup_close(&fd), fd = -1;
	return fd;
}

/* syslog() waits where nobody takes what it says; a disk cannot. What is not taken at once is lost. */
static void put_syslog(const char *text)
{
	static int fd = -1;
	_cleanup_free_ char *line = NULL;
	int len = asprintf(&line, "<%d>faultblk[%d]: %s", LOG_DAEMON | LOG_NOTICE, (int)getpid(),
			   text);

	if (len < 0)
		line = NULL;
	for (int tries = 0; line && tries < 2; tries++) {
		if (fd < 0)
			fd = open_syslog();
		if (fd < 0 || send(fd, line, (size_t)len, MSG_NOSIGNAL) >= 0 || errno == EAGAIN)
			break;
		/* Whoever listened has been started anew. */
		close(take_fd(&fd));
	}
}

/* @text and, behind it, "; " and @hint: both as the user types and reads them. */
static void put_msg(const char *text, const char *hint)
{
	_cleanup_free_ char *whole = NULL, *typed = NULL, *clean = NULL;
	size_t size;

	if (asprintf(&whole, "%s%s%s", text, hint[0] ? "; " : "", hint) < 0)
		whole = NULL;
	else
		typed = typed_for_user(whole);
	size = typed ? strlen(typed) * 6 + 1 : 0; /* a byte becomes six at most */
	if (size)
		clean = malloc(size);
	if (clean)
		printable(typed, clean, size);
	if (use_syslog)
		put_syslog(clean ? clean : text);
	else
		fprintf(stderr, TOOL_PREFIX "%s\n", clean ? clean : text);
}

/* The limit that an error of the kernel's in @text may come from, in @buf, or "". */
static const char *name_limit(const char *text, char *buf, size_t size)
{
	static const int errors[] = { EMFILE, EFBIG, ENOMEM, EAGAIN };

	buf[0] = '\0';
	for (size_t i = 0; i < array_size(errors) && !buf[0]; i++)
		if (strstr(text, strerrordesc_np(errors[i])))
			limits_words(errors[i], buf, size);
	return buf;
}

static void format_msg(const char *hint, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL;
	char limit[256];

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	if (!hint)
		hint = text ? name_limit(text, limit, sizeof(limit)) : "";
	put_msg(text ? text : fmt, use_syslog ? "" : hint);
}

void tool_msg(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_msg(NULL, fmt, ap);
	va_end(ap);
}

void tool_msg_hint(const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_msg(hint, fmt, ap);
	va_end(ap);
}

/* The message may be of another process, which names its own limits. */
void tool_diag(const struct diag *diag)
{
	const char *message = diag->message[0] ? diag->message : "failed, without a reason given";

	if (diag->line && diag->column)
		tool_msg_hint(diag->hint, "%s (line %u, column %u)", message, diag->line,
			      diag->column);
	else if (diag->line)
		tool_msg_hint(diag->hint, "%s (line %u)", message, diag->line);
	else if (diag->column)
		tool_msg_hint(diag->hint, "%s (column %u)", message, diag->column);
	else
		tool_msg_hint(diag->hint, "%s", message);
}

bool tool_output_failed(void)
{
	static bool told;

	if (!fflush(stdout) && !ferror(stdout))
		return false;
	if (!told)
		tool_msg("cannot write to standard output: %s", strerror(clean_output_error()));
	told = true;
	return true;
}

int tool_check_output(void)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY)
		return EXIT_OK;
	tool_msg("cannot write to standard output: %s", strerror(EBADF));
	return EXIT_FAILED;
}

bool tool_reader_gone(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, 0) > 0 && (out.revents & TOOL_READER_GONE);
}

int tool_end_unread(void)
{
	raise(SIGPIPE);
	tool_msg("cannot write to standard output: %s", strerror(EPIPE));
	return EXIT_FAILED;
}

int tool_check_input(int code, const char *path)
{
	if (!map_any_broken())
		return code;
	if (map_any_changed())
		tool_msg("%s changed while it was read: this output is not valid",
			 path);
	else
		tool_msg(
			"%s was truncated or became unreadable while it was read: this output is "
			"not valid",
			path);
	return EXIT_FAILED;
}
