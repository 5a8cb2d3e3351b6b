/* SPDX-License-Identifier: MIT */
/* The records of a recording, one a line: faultblk replay --list. */
#ifndef TOOLS_REPLAY_LIST_H
#define TOOLS_REPLAY_LIST_H

#include "faults/record/record.h"

/* On standard output; @json: an object a line. 0, or -ENOMEM. */
int record_list(struct record_reader *reader, bool json);

#endif
