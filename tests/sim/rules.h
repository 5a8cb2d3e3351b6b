/* SPDX-License-Identifier: MIT */
/*
 * What simulators of rules share. It comes after struct sim, SLOTS, make_rule() and publish(), which
 * each of them has of its own.
 */
#ifndef TESTS_SIM_RULES_H
#define TESTS_SIM_RULES_H

static inline bool change_rule(struct sim *sim, unsigned int slot, unsigned int mask)
{
	uint64_t next = sim->frame.next;
	bool ok = true;

	/* A rule that is left out must not change what is drawn after it. */
	sim->frame.next = next << 20;
	if (mask >> slot & 1) {
		make_rule(sim, slot);
		if (sim->frame.verbose)
			printf("  %s\n", sim->rules[slot].text);
		ok = publish(sim, slot);
	}
	sim->frame.next = next + 1;
	return ok;
}

static bool check_counts(struct sim *sim)
{
	for (int i = 0; i < SLOTS; i++) {
		const struct model_rule *rule = &sim->rules[i];
		struct rule_counts counts;

		if (!rule->used)
			continue;
		rule_counts(rule_set_find(sim->set, rule->name), &counts);
		if (counts.matches != rule->matches || counts.hits != rule->hits)
			return fail(sim,
				    "%s: %" PRIu64 " hits of %" PRIu64 ", expected %" PRIu64
				    " of %" PRIu64,
				    rule->name, counts.hits, counts.matches, rule->hits,
				    rule->matches);
	}
	return true;
}

#endif
