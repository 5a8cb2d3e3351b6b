/* SPDX-License-Identifier: MIT */
/* The file with a server's process id. */
#ifndef TOOLS_SERVE_PID_FILE_H
#define TOOLS_SERVE_PID_FILE_H

#include "base/diag.h"

/* One that is there is replaced if it holds a process id and nothing else. Errors of out_file. */
int pid_file_write(const char *path, struct diag *diag);
/* Unless it holds another id by now. @path may be NULL. */
void pid_file_remove(const char *path);

#endif
