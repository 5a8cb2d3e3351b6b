/* SPDX-License-Identifier: MIT */
/* A disk of a scenario: a `faultblk run` of its own, and the connection to it. */
#ifndef TOOLS_SCENARIO_DISK_H
#define TOOLS_SCENARIO_DISK_H

#include "tools/rpc/client.h"
#include "tools/scenario/scenario.h"

#include <sys/types.h>

struct recorder;

struct scenario_child {
	const struct scenario_disk *disk; /* borrowed */
	pid_t pid;                        /* 0: not started, or reaped */
	bool up;                          /* it has announced itself */
	bool killed;                      /* ended by a signal: it may have left its disk behind */
	char device[64];
	char socket[PATH_MAX];
	char seed[24];
	struct rpc_client *client; /* owned */
};

/*
 * Start the server; its standard output, on which it announces itself, is *ret_fd (owned by the
 * caller). It ends with us (PR_SET_PDEATHSIG), and signals of the terminal do not reach it. It
 * joins the recording of @recorder, unless that is NULL. -errno.
 */
int scenario_child_start(struct scenario_child *child, const char *seed,
			 const struct recorder *recorder, int *ret_fd);
/* The line that it announced itself with. -EPROTO: it is none. */
int scenario_child_up(struct scenario_child *child, const char *line);
/* Connect and put the rules of the beginning in force. As rpc_client_call(). */
int scenario_child_arm(struct scenario_child *child, struct diag *diag, int *ret_code);
/* Carry out a step on the disk. As rpc_client_call(). */
int scenario_child_step(struct scenario_child *child, const struct scenario_step *step,
			struct diag *diag, int *ret_code);
/* Cut the power of the disks of the step at one moment; @children: of all disks. */
int scenario_children_crash(struct scenario_child *children, const struct scenario_step *step,
			    struct diag *diag);
/* Has it ended? Then true, once, and *ret_status is that of waitpid(2). */
bool scenario_child_reap(struct scenario_child *child, int *ret_status);

/*
 * Block until @rule of the disk behind @client has at least @hits hits, or *quit (-ECANCELED). A
 * rule that is not there (yet) is waited for. Any thread, one client each. As rpc_client_call(),
 * and -ECONNRESET when the disk goes away.
 */
int scenario_wait_hits(struct rpc_client *client, const char *rule, uint64_t hits,
		       const _Atomic bool *quit, struct diag *diag);

#endif
