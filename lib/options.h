/* SPDX-License-Identifier: MIT */
/* Options of a device: defaults, ranges, and what a backend implies. */
#ifndef LIB_OPTIONS_H
#define LIB_OPTIONS_H

#include "log.h"
#include "ublkcore.h"

/* Check every option and settle what the backend implies. 0 or -EINVAL with the option named. */
int options_settle(struct ublk_options *options, const struct ublk_backend *backend,
		   const struct logger *log);
/* Has the backend a way to do this op? */
bool backend_does(const struct ublk_backend *backend, enum ublk_op op);

#endif
