// SPDX-License-Identifier: MIT
#include "faults/crash/flow.h"

#include "base/array.h"
#include "base/failpoint.h"

#include <stdlib.h>
#include <string.h>

int crash_flow_start(struct crash_flow *flow, const struct journal *journal,
		     const struct crash_options *options)
{
	*flow = (struct crash_flow){ .journal = journal,
				     .illegal = options->illegal,
				     .in_order = options->atomic == CRASH_ORDER };
	flow->disks = fail_alloc("faults/crash/flow/disks",
				 calloc(journal->nr_disks, sizeof(*flow->disks)));
	return flow->disks ? 0 : -ENOMEM;
}

void crash_flow_free(struct crash_flow *flow)
{
	for (uint32_t i = 0; flow->disks && i < flow->journal->nr_disks; i++)
		free(flow->disks[i].writes);
	free(flow->disks);
	flow->disks = NULL;
}

static int wait_for_flush(struct crash_waiting *waiting, uint32_t write)
{
	if (waiting->head > 64 && waiting->head > waiting->nr / 2) {
		waiting->nr -= waiting->head;
		memmove(waiting->writes, waiting->writes + waiting->head,
			waiting->nr * sizeof(*waiting->writes));
		waiting->head = 0;
	}
	if (array_room("faults/crash/flow/grow", waiting->writes, waiting->room, waiting->nr + 1,
		       64))
		return -ENOMEM;
	waiting->writes[waiting->nr++] = write;
	return 0;
}

/* Those that had completed at this step. */
static void take_waiting(struct crash_flow *flow, uint16_t disk, uint64_t step,
			 const uint32_t **ret_writes, size_t *ret_nr)
{
	struct crash_waiting *waiting = &flow->disks[disk];
	size_t nr = 0;

	if (waiting->head == waiting->nr)
		return;
	*ret_writes = waiting->writes + waiting->head;
	while (waiting->head + nr < waiting->nr &&
	       flow->journal->writes[(*ret_writes)[nr]].complete < step)
		nr++;
	waiting->head += nr;
	*ret_nr = nr;
}

/* With those that no order can put behind it: their places end where it gets one itself. */
static int complete_in_order(struct crash_flow *flow, uint32_t index, const uint32_t **ret_writes,
			     size_t *ret_nr)
{
	const struct journal_write *write = &flow->journal->writes[index];
	struct crash_waiting *waiting = &flow->disks[write->disk];
	uint32_t *last;
	int err = wait_for_flush(waiting, index);

	if (err)
		return err;
	last = &waiting->writes[waiting->nr - 1];
	take_waiting(flow, write->disk, write->submit, ret_writes, ret_nr);
	/* Behind them in the list; who stood there waits on in its old place. */
	memmove(&waiting->writes[waiting->head + 1], &waiting->writes[waiting->head],
		(size_t)(last - &waiting->writes[waiting->head]) * sizeof(*last));
	waiting->writes[waiting->head++] = index;
	++*ret_nr;
	return 0;
}

static int complete(struct crash_flow *flow, uint32_t index, const uint32_t **ret_writes,
		    size_t *ret_nr)
{
	const struct journal_write *write = &flow->journal->writes[index];

	if (write->failed || (write->false_ack && flow->illegal))
		return 0;
	if (flow->journal->disks[write->disk].cache && !(write->flags & IO_FUA))
		return wait_for_flush(&flow->disks[write->disk], index);
	if (flow->in_order && flow->journal->disks[write->disk].cache)
		return complete_in_order(flow, index, ret_writes, ret_nr);
	flow->one = index;
	*ret_writes = &flow->one;
	*ret_nr = 1;
	return 0;
}

/* Those that had completed when it was submitted. */
static void flushed(struct crash_flow *flow, uint32_t index, const uint32_t **ret_writes,
		    size_t *ret_nr)
{
	const struct journal_flush *flush = &flow->journal->flushes[index];

	if (!flush->failed && !(flush->false_ack && flow->illegal))
		take_waiting(flow, flush->disk, flush->submit, ret_writes, ret_nr);
}

int crash_flow_event(struct crash_flow *flow, const struct journal_event *event,
		     const uint32_t **ret_writes, size_t *ret_nr)
{
	*ret_writes = NULL;
	*ret_nr = 0;
	if (event->what == JOURNAL_COMPLETE)
		return complete(flow, event->index, ret_writes, ret_nr);
	if (event->what == JOURNAL_FLUSH_COMPLETE)
		flushed(flow, event->index, ret_writes, ret_nr);
	return 0;
}
