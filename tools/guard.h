/* SPDX-License-Identifier: MIT */
/*
 * A process that looks after us: if we are killed, it ends what we have started and removes what we
 * have made. It is asked nothing while we live. It is in a session of its own, deaf to every signal
 * that can be refused, and ends with us. Where it is killed, too, the next start does its work:
 * guard_sweep() and the folders' owners.
 */
#ifndef TOOLS_GUARD_H
#define TOOLS_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

struct guard {
	pid_t pid; /* 0: there is none */
	int fd;
};

/*
 * Before any thread of ours. It kills those processes of our user whose environment has a variable
 * that begins with @owner (NULL: none), and whoever is in a session with such; programs of ours, which may have disks, are first
 * asked to end. 0 or -errno; without
 * it everything works, until we are killed.
 */
int guard_start(const char *owner, struct guard *ret_guard);
/* A folder, by its absolute path, that it removes as remove_tree() does. Once. */
void guard_folder(const struct guard *guard, const char *path);
/* @in_order: there is nothing to do for it; else it does now what it is there for. It is gone when
 * this returns. */
void guard_end(struct guard *guard, bool in_order);

/* Variables of the environment that say whose a check is ("PID.WORKER"), and a workload ("PID."). */
#define GUARD_WORKER    "FAULTBLK_WORKER"
#define GUARD_CRASHTEST "FAULTBLK_CRASHTEST"
/* A process that is left, and its name, as the kernel has it. */
struct guard_left {
	pid_t pid;
	char name[17];
};
/* @why: it stays, in words; NULL: it was ended, or would be. */
typedef void (*guard_left_fn)(void *ctx, const struct guard_left *process, const char *why);
/*
 * Kill what checks have left whose program is gone, and wait until it is gone, 5 s at most: those
 * processes of our user, in our pid namespace, that have GUARD_WORKER of a process that is no more,
 * and who is in a session that such a one leads. Programs of ours stay. (What a workload leaves may
 * be meant to stay.) @dry_run: nothing is killed. @each (NULL: none) is called once for each. 0, or
 * -errno: processes cannot be listed. One thread at a time.
 */
int guard_sweep(bool dry_run, guard_left_fn each, void *ctx);

#endif
