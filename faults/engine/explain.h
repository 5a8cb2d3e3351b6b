/* SPDX-License-Identifier: MIT */
/* What the rules would do to a request, in words. */
#ifndef FAULTS_ENGINE_EXPLAIN_H
#define FAULTS_ENGINE_EXPLAIN_H

#include "faults/disk/store.h"
#include "faults/rule/rule.h"

/* What a request is explained against. */
struct explain {
	const struct rule_set *set;
	const struct rule_geometry *geometry;
	uint64_t seed;
	uint64_t state_hash; /* of the state that the disk is in */
};

/* What pipeline_explain() says; counts nothing. Caller frees; NULL only without memory. */
char *explain_io(const struct explain *explain, const struct io *io, uint64_t now_ns);

#endif
