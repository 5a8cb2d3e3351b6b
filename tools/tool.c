// SPDX-License-Identifier: MIT
#include "tool.h"

#include "base/map_guard.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <syslog.h>

static bool use_syslog;

void tool_use_syslog(void)
{
	openlog("faultblk", LOG_PID, LOG_DAEMON);
	use_syslog = true;
}

void tool_msg(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (use_syslog) {
		vsyslog(LOG_NOTICE, fmt, ap);
	} else {
		flockfile(stderr);
		fputs("faultblk: ", stderr);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
		funlockfile(stderr);
	}
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
		tool_msg("%s (line %u, column %u)", diag->message, diag->line, diag->column);
	else if (diag->line)
		tool_msg("%s (line %u)", diag->message, diag->line);
	else if (diag->column)
		tool_msg("%s (column %u)", diag->message, diag->column);
	else
		tool_msg("%s", diag->message[0] ? diag->message : "failed, without a reason given");
	if (diag->hint[0])
		fprintf(stderr, "          %s\n", diag->hint);
}
