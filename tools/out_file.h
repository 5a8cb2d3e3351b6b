/* SPDX-License-Identifier: MIT */
/*
 * A new file that is there whole or not at all: it gets its name when it is finished. Whoever is
 * killed before leaves nothing behind, except on file systems that cannot have files without names.
 */
#ifndef TOOLS_OUT_FILE_H
#define TOOLS_OUT_FILE_H

#include "base/diag.h"

struct out_file {
	int fd;
	const char *path; /* borrowed */
	int named;        /* the file system wants a name from the start */
};

/* -EEXIST: there is such a file already; -errno of making it; in words. */
int out_file_open(const char *path, struct diag *diag, struct out_file *ret_file);
/* It is finished: its name; -ESTALE where a mapping that was read for it broke (base/map_guard.h). Closes it, on error too; then nothing is left. */
int out_file_finish(struct out_file *file, struct diag *diag);
/* It is not wanted: nothing is left. */
void out_file_drop(struct out_file *file);

#endif
