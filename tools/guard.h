/* SPDX-License-Identifier: MIT */
/*
 * A process that looks after us: if we are killed, it ends what we have started and removes what we
 * have made. It is asked nothing while we live. It is in a session of its own, deaf to every signal
 * that can be refused, and ends with us. Where it is killed, too, the next start does its work:
 * guard_sweep() and the folders' owners.
 */
#ifndef TOOLS_GUARD_H
#define TOOLS_GUARD_H

#include <sys/types.h>

struct guard {
	pid_t pid; /* 0: there is none */
	int fd;
};

/*
 * Before any thread of ours. It kills those processes of our user whose environment has a variable
 * that begins with @owner (NULL: none), and whoever is in a session with such. 0 or -errno; without
 * it everything works, until we are killed.
 */
int guard_start(const char *owner, struct guard *ret_guard);
/* A folder, by its absolute path, that it removes as remove_tree() does. Once. */
void guard_folder(const struct guard *guard, const char *path);
/* We end in order: there is nothing to do for it. It is gone when this returns. */
void guard_end(struct guard *guard);

/* The variable of a check's environment that says whose it is: the process id, and the worker. */
#define GUARD_WORKER "FAULTBLK_WORKER"
/*
 * Kill what the checks of explorations have left whose program is gone: those processes of our
 * user, in our pid namespace, that have GUARD_WORKER of a process that is no more.
 */
void guard_sweep(void);

#endif
