// SPDX-License-Identifier: MIT
#include "faults/medium.h"

#include "faults/rule_ast.h"

void medium_before(const struct medium *medium, uint64_t at, uint64_t len)
{
	if (medium->snapshots)
		snapshots_before(medium->snapshots, at, len);
	if (medium->cache)
		cache_before_change(medium->cache, at, len);
	medium_before_hole(medium, at, len);
}

void medium_before_hole(const struct medium *medium, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < medium->nr_watchers; i++) {
		const struct rule *rule = medium->watchers[i];

		if (rule->kind->ops->before_change)
			rule->kind->ops->before_change(rule->state, medium->store, at, len);
	}
}

void medium_after(const struct medium *medium, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < medium->nr_watchers; i++) {
		const struct rule *rule = medium->watchers[i];

		if (rule->kind->ops->after_change)
			rule->kind->ops->after_change(rule->state, at, len);
	}
}

void medium_changed(const struct medium *medium, uint64_t at, uint64_t len, bool durable)
{
	if (medium->cache && durable)
		cache_settle(medium->cache, at, len);
	else if (medium->cache)
		cache_after_change(medium->cache, at, len, false);
	medium_after(medium, at, len);
}
