/* SPDX-License-Identifier: MIT */
/* The host has no memory left for the disk: what the log of hits says of it. */
#ifndef FAULTS_ENGINE_HOST_H
#define FAULTS_ENGINE_HOST_H

#include "faults/disk/store.h"
#include "faults/engine/event.h"
#include "faults/io.h"

#define HOST_EVENT "-host-memory" /* for a rule's name: none begins so */

/*
 * @io has failed with EIO: put an event into the log if that is because the host has become low of
 * memory. True if so. Queue thread.
 */
bool host_tell(struct store *store, struct event_log *events, const struct io *io, uint64_t now_ns);

#endif
