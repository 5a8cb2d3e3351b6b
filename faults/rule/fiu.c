// SPDX-License-Identifier: MIT
/* The only place in the engine that calls libfiu: for rules with fiu=, and for no other. */
#ifndef FIU_ENABLE /* FIU=1 says so for all files */
#define FIU_ENABLE
#endif
#include "faults/rule/fiu.h"

#include <errno.h>
#include <fiu.h>

int fiu_rule_ready(void)
{
	return fiu_init(0) ? -ENOMEM : 0;
}

bool fiu_rule_asks(const char *name)
{
	return fiu_fail(name) != 0;
}
