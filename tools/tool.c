// SPDX-License-Identifier: MIT
#include "tool.h"

#include "base/cleanup.h"
#include "base/map_guard.h"
#include "base/printable.h"
#include "out_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <syslog.h>

static bool use_syslog;

/* ------------------------------------------------------------------------------ the process */

/* Those that end a program that does not care. */
static const int deadly[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
			      SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU };
static bool ignores_size; /* we were started so */

static void on_deadly(int number)
{
	out_file_forget();
	/* It is delivered when the handler returns, and its action is the default again. */
	raise(number);
}

void tool_prepare(void)
{
	const struct sigaction action = { .sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND };
	struct sigaction old;
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	ignores_size = sigaction(SIGXFSZ, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < array_size(deadly); i++)
		if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(deadly[i], &action, NULL);
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

void tool_msg(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *clean = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		text = NULL;
	else
		clean = malloc((size_t)len * 6 + 1); /* a byte becomes six at most */
	if (clean)
		printable(text, clean, (size_t)len * 6 + 1);
	if (use_syslog)
		syslog(LOG_NOTICE, "%s", clean ? clean : fmt);
	else
		fprintf(stderr, "faultblk: %s\n", clean ? clean : fmt);
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
		tool_msg("%s (line %u, column %u)", diag->message, diag->line, diag->column);
	else if (diag->line)
		tool_msg("%s (line %u)", diag->message, diag->line);
	else if (diag->column)
		tool_msg("%s (column %u)", diag->message, diag->column);
	else
		tool_msg("%s", diag->message[0] ? diag->message : "failed, without a reason given");
	tool_hint(diag->hint);
}

void tool_hint(const char *hint)
{
	char clean[6 * sizeof(((struct diag *)0)->hint)];

	if (hint[0])
		fprintf(stderr, "          %s\n", printable(hint, clean, sizeof(clean)));
}
