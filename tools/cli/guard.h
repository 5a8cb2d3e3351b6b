/* SPDX-License-Identifier: MIT */
/*
 * A process that looks after us: if we are killed, it ends what we have started and removes what we
 * have made. It is asked nothing while we live. It is in a session of its own, deaf to every signal
 * that can be refused, and ends with us. Where it is killed, too, the next start does its work:
 * guard_sweep() and the folders' owners.
 */
#ifndef TOOLS_CLI_GUARD_H
#define TOOLS_CLI_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

struct guard {
	pid_t pid; /* 0: there is none */
	int fd;
};

/*
 * Variables of the environment that say whose a process is: a check ("PID.NAMESPACE.WORKER"), or a
 * workload ("PID.NAMESPACE."). A pid means something only together with its pid namespace (the
 * inode of /proc/PID/ns/pid): a process of another one, a container's, may have the same.
 */
#define GUARD_WORKER    "FAULTBLK_WORKER"
#define GUARD_CRASHTEST "FAULTBLK_CRASHTEST"
#define GUARD_OWNER_MAX 64
/* "@variable=PID.NAMESPACE." of this process. */
void guard_owner(const char *variable, char ret_owner[GUARD_OWNER_MAX]);

/*
 * Before any thread of ours. It kills those processes of our user whose environment has a variable
 * that begins with @owner (NULL: none), and whoever is in a session with such; programs of ours,
 * which may have disks, are first asked to end. 0 or -errno; without it everything works, until we
 * are killed.
 */
int guard_start(const char *owner, struct guard *ret_guard);
/*
 * Do at once what the guard would do to processes, and return when they are gone (20 s at most).
 * Returns how many there were at once. One thread at a time.
 */
unsigned int guard_kill(const char *owner);
/* A folder, by its absolute path, that it removes as remove_tree() does. Once. */
void guard_folder(const struct guard *guard, const char *path);
/* @in_order: there is nothing to do for it; else it does now what it is there for. It is gone when
 * this returns. */
void guard_end(struct guard *guard, bool in_order);

/* A process that is left, and its name, as the kernel has it. */
struct guard_left {
	pid_t pid;
	char name[17];
};
/* @why: it stays, in words; NULL: it was ended, or would be. */
typedef void (*guard_left_fn)(void *ctx, const struct guard_left *process, const char *why);
/*
 * Kill what checks and workloads have left whose program is gone, and wait until it is gone, 5 s at
 * most: those processes of our user that have GUARD_WORKER or GUARD_CRASHTEST of a process of our
 * pid namespace that is no more, and who is in a session that such a one leads. Programs of ours
 * stay. @dry_run: nothing is killed. @each (NULL: none) is called once for each. 0, or -errno:
 * processes cannot be listed; -EXDEV: /proc is that of another pid namespace. One thread at a time.
 */
int guard_sweep(bool dry_run, guard_left_fn each, void *ctx);

#endif
