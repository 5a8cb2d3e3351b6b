/* SPDX-License-Identifier: MIT */
/*
 * A recording done again on a device: a disk of the recorded geometry, whose requests come from a
 * process of its own, one after the other in the recorded order of arrival, and get the recorded
 * decisions. Flags that user space cannot give (META, SWAP, fail-fast) are left out.
 */
#ifndef TOOLS_REPLAY_DEVICE_H
#define TOOLS_REPLAY_DEVICE_H

#include "faults/engine/replay.h"

/*
 * As replay_run(), for the file of @size bytes at @bytes; options->forced is taken for granted.
 * Must be called before the process has threads. -EINTR: a signal asked to end.
 * *ret_end: what record_reader_end() says at the end, words in @diag.
 */
int replay_device(const void *bytes, size_t size, const struct replay_options *options,
		  struct diag *diag, struct replay_result *ret_result, int *ret_end);

#endif
