/* SPDX-License-Identifier: MIT */
/*
 * A small recording of its own that has one state of a larger one: what a finding needs to be shown
 * again anywhere. Its disks begin with all that the state holds; what the state lost stands there
 * as writes, and they are all that was volatile; the marks are those of the whole recording, before
 * the cut and after it. So at the cut "old" is the state, and "new" is what it would have been.
 */
#ifndef FAULTS_EXPLORE_REPRODUCE_H
#define FAULTS_EXPLORE_REPRODUCE_H

#include "faults/crash/crash.h"

struct reproduced {
	char state[32]; /* "STEP:old": of the new recording, as explore --state takes it */
	uint64_t step;
	uint64_t file_bytes;
	size_t nr_lost; /* writes in it */
};

/*
 * Writes the state of @picks, at the crash point where @crash stands, as a recording to @fd, which is
 * empty. @images: those of the cursor, holding what is durable and nothing else; only read, and
 * where they have a file without its holes. The same state makes the same file. -errno of writing,
 * -ENOMEM; words in @diag.
 */
int reproduce(const struct crash *crash, const struct crash_image *images, const uint16_t *picks,
	      int fd, struct diag *diag, struct reproduced *ret_reproduced);

#endif
