// SPDX-License-Identifier: MIT
#include "tool.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/map_guard.h"
#include "base/printable.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

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

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
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

/* ------------------------------------------------------------------------------ words */

void tool_use_syslog(void)
{
	openlog("faultblk", LOG_PID, LOG_DAEMON);
	use_syslog = true;
}

static void put_msg(const char *fmt, va_list ap, char **ret_text)
{
	_cleanup_free_ char *clean = NULL;
	int len = vasprintf(ret_text, fmt, ap);

	if (len < 0)
		*ret_text = NULL;
	else
		clean = malloc((size_t)len * 6 + 1); /* a byte becomes six at most */
	if (clean)
		printable(*ret_text, clean, (size_t)len * 6 + 1);
	if (use_syslog)
		syslog(LOG_NOTICE, "%s", clean ? clean : fmt);
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

int tool_check_input(int code, const char *path)
{
	if (!map_any_broken())
		return code;
	tool_msg("%s was cut while it was read, or could not be read any more: nothing that was "
		 "said of it counts",
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

	if (hint[0] && !use_syslog)
		fprintf(stderr, "          %s\n", printable(hint, clean, sizeof(clean)));
}
