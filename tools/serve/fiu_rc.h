/* SPDX-License-Identifier: MIT */
/* libfiu's remote control: users of fiu-ctrl drive a disk with what they know. */
#ifndef TOOLS_SERVE_FIU_RC_H
#define TOOLS_SERVE_FIU_RC_H

#include "base/diag.h"

/*
 * Listen at the FIFOs @prefix-PID.in and @prefix-PID.out, by a thread of libfiu's, until the
 * process exits; exit() removes them. Call it once, after the last fork and with signals blocked
 * (the thread must not get ours). 0, or -errno with words.
 */
int fiu_rc_open(const char *prefix, struct diag *diag);

#endif
