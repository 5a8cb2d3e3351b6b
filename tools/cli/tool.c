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
	return "; that is one word with blanks in it: leave its quotes out, or use sh -c";
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

static void put_msg(const char *fmt, va_list ap, char **ret_text)
{
	_cleanup_free_ char *typed = NULL, *clean = NULL;
	size_t size;

	if (vasprintf(ret_text, fmt, ap) < 0)
		*ret_text = NULL;
	else
		typed = typed_for_user(*ret_text);
	size = typed ? strlen(typed) * 6 + 1 : 0; /* a byte becomes six at most */
	if (size)
		clean = malloc(size);
	if (clean)
		printable(typed, clean, size);
	if (use_syslog)
		put_syslog(clean ? clean : fmt);
	else
		fprintf(stderr, "faultblk: %s\n", clean ? clean : fmt);
}

/* Messages of our own end with the kernel's words for an error: the limit that it may come from. */
static void name_limit(const char *text)
{
	static const int errors[] = { EMFILE, EFBIG, ENOMEM, EAGAIN };
	char words[256];

	for (size_t i = 0; i < array_size(errors); i++)
		if (strstr(text, strerrordesc_np(errors[i])))
			tool_hint(limits_words(errors[i], words, sizeof(words)));
}

void tool_msg(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	put_msg(fmt, ap, &text);
	va_end(ap);
	if (text)
		name_limit(text);
}

/* What a diag says may be of another process, whose limits it names itself. */
__attribute__((format(printf, 1, 2))) static void diag_msg(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	put_msg(fmt, ap, &text);
	va_end(ap);
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
		tool_msg("%s was written to while it was read: nothing that was said of it counts",
			 path);
	else
		tool_msg(
			"%s was cut while it was read, or could not be read any more: nothing that "
			"was said of it counts",
			path);
	return EXIT_FAILED;
}

void tool_diag(const struct diag *diag)
{
	if (diag->line && diag->column)
		diag_msg("%s (line %u, column %u)", diag->message, diag->line, diag->column);
	else if (diag->line)
		diag_msg("%s (line %u)", diag->message, diag->line);
	else if (diag->column)
		diag_msg("%s (column %u)", diag->message, diag->column);
	else
		diag_msg("%s", diag->message[0] ? diag->message : "failed, without a reason given");
	tool_hint(diag->hint);
}

void tool_hint(const char *hint)
{
	char clean[6 * sizeof(((struct diag *)0)->hint)];
	_cleanup_free_ char *typed = NULL;

	if (!hint[0] || use_syslog)
		return;
	typed = typed_for_user(hint);
	fprintf(stderr, "          %s\n", printable(typed ?: hint, clean, sizeof(clean)));
}
