/* SPDX-License-Identifier: MIT */
/* Options of `faultblk run` whose values are words or numbers of their own. */
#ifndef TOOLS_DISK_RUN_WORDS_H
#define TOOLS_DISK_RUN_WORDS_H

#include "base/diag.h"

#include <stdint.h>

#define RUN_SEED_RANDOM "random"

/* --seed: RUN_SEED_RANDOM, or a number. -EINVAL, or -EIO without one from the kernel; in words. */
int run_parse_seed(const char *text, uint64_t *ret_seed, struct diag *diag);
/* --id; NULL: -1. -EINVAL in words. */
int run_parse_id(const char *text, int *ret_id, struct diag *diag);

#endif
