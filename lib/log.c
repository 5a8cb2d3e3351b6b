// SPDX-License-Identifier: MIT
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_MAX 1024

static void log_va(const struct logger *log, enum ublk_log_level level, const char *fmt, va_list ap)
{
	char message[MESSAGE_MAX];

	if (!log->fn)
		return;
	vsnprintf(message, sizeof(message), fmt, ap);
	log->fn(log->ctx, level, message);
}

void log_at(const struct logger *log, enum ublk_log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_va(log, level, fmt, ap);
	va_end(ap);
}

int log_error(const struct logger *log, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_va(log, UBLK_LOG_ERROR, fmt, ap);
	va_end(ap);
	return err;
}

void ublk_log_stderr(void *log_ctx, enum ublk_log_level level, const char *message)
{
	(void)log_ctx;
	if (level <= UBLK_LOG_INFO)
		fprintf(stderr, "ublk: %s\n", message);
}
