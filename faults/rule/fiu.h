/* SPDX-License-Identifier: MIT */
/* Points of libfiu that rules ask (fiu=NAME); armed from outside, with fiu-ctrl for example. */
#ifndef FAULTS_RULE_FIU_H
#define FAULTS_RULE_FIU_H

#include <stdbool.h>

/* Make libfiu ready; again and again is fine. Control thread. 0 or -ENOMEM. */
int fiu_rule_ready(void);
/* Does the point say so now? Any thread; takes a lock of libfiu. */
bool fiu_rule_asks(const char *name);

#endif
