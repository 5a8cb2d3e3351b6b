/* SPDX-License-Identifier: MIT */
/*
 * When writes become durable, by THE DEFINITION in crash.h: fed with the events of a journal one
 * after the other, it answers with the writes that each of them made durable. One thread.
 */
#ifndef FAULTS_CRASH_FLOW_H
#define FAULTS_CRASH_FLOW_H

#include "faults/crash/crash.h"

/* Completed and waiting for a flush, by completion. */
struct crash_waiting {
	uint32_t *writes;
	size_t head, nr, room;
};

struct crash_flow {
	const struct journal *journal;
	bool illegal;
	bool in_order; /* CRASH_ORDER: what must have gone before a durable write is durable */
	uint32_t one;
	struct crash_waiting *disks;
};

/* -ENOMEM. The flow is freed by crash_flow_free() even then. */
int crash_flow_start(struct crash_flow *flow, const struct journal *journal,
		     const struct crash_options *options);
void crash_flow_free(struct crash_flow *flow);
/* *ret_writes: valid until the next call. -ENOMEM. */
int crash_flow_event(struct crash_flow *flow, const struct journal_event *event,
		     const uint32_t **ret_writes, size_t *ret_nr);

#endif
