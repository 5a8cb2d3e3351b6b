// SPDX-License-Identifier: MIT
/* The only place in the engine that calls libfiu: for rules with fiu=, and for no other. */
#define FIU_ENABLE
#include "faults/fiu.h"

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
