/* SPDX-License-Identifier: MIT */
/* This program's own place, and by what name its user calls it. */
#ifndef TOOLS_CLI_PROGRAM_H
#define TOOLS_CLI_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

/*
 * How a user calls this program: false: as "faultblk", which PATH has; true: by its path, which is in
 * @path. A program of ours that puts itself into PATH for those that it starts says so before, with
 * program_tell().
 */
bool program_path(char path[PATH_MAX]);
int program_tell(void); /* -errno */
/*
 * What we start for the user may call us by our name: where PATH has no "faultblk", our folder becomes its
 * last one. Before threads. -errno.
 */
#define PROGRAM_DEFAULT_PATH "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
int program_offer(void);

#endif
