/* SPDX-License-Identifier: MIT */
/*
 * A rule's hit that takes other disks along. The request waits (faults/engine/pipeline.h) while a thread
 * of its own, as a client of all their servers, this one included, cuts them as faultblk crash would
 * (tools/rpc/disk_group.h): the control thread goes on meanwhile, so that two servers that want each
 * other's disk at once do not wait for each other.
 *
 * The rule has hit, so its own disk is cut in any case. A disk that is not there, or without power
 * already, is left out, and named.
 */
#ifndef TOOLS_SERVE_JOINT_H
#define TOOLS_SERVE_JOINT_H

#include "faults/disk/power_cut.h"

struct joint_job;

/*
 * Begin for disk @name with the control socket @socket; a dup of @event_fd is written to when it is
 * over. Control thread, as all of this. -errno.
 */
int joint_job_start(const struct joint_cut *joint, const char *name, const char *socket,
		    int event_fd, struct joint_job **ret_job);
/* NULL: it is not over; else what has become of it, for people, as long as the job is there. */
const char *joint_job_words(const struct joint_job *job);
/* One that is not over goes on by itself. NULL allowed; returns NULL. */
struct joint_job *joint_job_free(struct joint_job *job);

#endif
