/* SPDX-License-Identifier: MIT */
/* Where the library's words go: the caller's callback, or nowhere. */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include "ublkcore.h"

struct logger {
	ublk_log_fn fn;
	void *ctx;
};

void log_at(const struct logger *log, enum ublk_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Say why at UBLK_LOG_ERROR and return @err. */
int log_error(const struct logger *log, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
