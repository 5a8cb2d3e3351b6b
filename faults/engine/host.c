// SPDX-License-Identifier: MIT
#include "faults/engine/host.h"

#include "base/cleanup.h"
#include "faults/rule/kind.h"

#include <string.h>

_cold_ bool host_tell(struct store *store, struct event_log *events, const struct io *io,
		      uint64_t now_ns)
{
	static const char kind[] = "error";
	struct event event = {
		.time_ns = now_ns,
		.sector = io->sector,
		.match = store_host(store).nr_refused,
		.len_bytes = io->len_bytes,
		.flags = io->flags,
		.queue = io->queue,
		.op = io->op,
		.kind = (uint8_t)kind_index(kind_find((struct text){ kind, strlen(kind) })),
		.rule = HOST_EVENT,
	};

	if (!store_host_changed(store))
		return false;
	event_log_add(events, &event);
	return true;
}
