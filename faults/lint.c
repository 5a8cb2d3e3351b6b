// SPDX-License-Identifier: MIT
#include "faults/rule.h"

void rule_set_lint(const struct rule_set *set, const struct rule_geometry *geometry,
		   rule_warn_fn warn, void *ctx)
{
	(void)set;
	(void)geometry;
	(void)warn;
	(void)ctx;
}
