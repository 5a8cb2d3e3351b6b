/* SPDX-License-Identifier: MIT */
/*
 * The file of a recording: it gets its name when its disks are usable, and keeps it from then on,
 * however the program ends; a recording of disks that never were leaves nothing.
 */
#ifndef TOOLS_DISK_RECORDING_FILE_H
#define TOOLS_DISK_RECORDING_FILE_H

#include "faults/record/recorder.h"
#include "tools/cli/out_file.h"
#include "tools/disk/disk.h"

struct recording_file {
	struct recorder *recorder; /* NULL: nothing is recorded */
	struct out_file file;
	bool ours; /* nobody else's that we joined */
};

/* What a recording says of a disk with these options. */
struct record_disk recording_file_disk(const struct disk_options *options);
/*
 * A recording in options->path, which is borrowed until the end. @force: an existing regular file
 * may be replaced; @input (may be NULL) may not. Errors of out_file_open() and recorder_create().
 */
int recording_file_open(const struct recorder_options *options, bool force, const char *input,
			struct diag *diag, struct recording_file *ret_file);
/* The disks are usable: it gets its name. Does nothing for one that was joined, or for none. */
int recording_file_keep(struct recording_file *file, struct diag *diag);
/*
 * No queue of this process runs any more. True: there is a file now, it is on disk, and how it went
 * is in *ret_status; what could not be done is in words there, or told here.
 */
bool recording_file_end(struct recording_file *file, struct recorder_status *ret_status);

#endif
