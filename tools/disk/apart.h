/* SPDX-License-Identifier: MIT */
/*
 * A server apart from the mounts of its users.
 *
 * A process that is killed leaves its mount namespace; the last one takes the mounts along, and
 * writes back what they hold. If its own disk is mounted there it waits for itself, for ever. So a
 * server is in an empty mount namespace of its own, while its root and working directory stay where
 * they were: every path means what it means to who started it, mounts of later too, whether mounts
 * propagate or not; and no mount, of whatever disk, lives on because of the server.
 *
 *	who started it ---- mount namespace A: /, /mnt, ...  <---- root, working directory --.
 *	the keeper ---------'                                                                |
 *	the server -------- mount namespace B: nothing                        the server ----'
 *
 * A keeper, a process that does nothing else, holds A together if the server is the last one there
 * (a service or a container of its own). It ends with the server, however that ends.
 */
#ifndef TOOLS_DISK_APART_H
#define TOOLS_DISK_APART_H

/*
 * Go apart; before any thread exists. 0, or -errno, told in words: it can serve all the same, but
 * what is mounted may stay in use until it ends.
 */
int apart_enter(void);
/*
 * In a child after fork(), or vfork(): into the mount namespace of who started us. Async-signal-safe.
 * 0, also where we are not apart; or -errno.
 */
int apart_return(void);
/*
 * Call @fn(@ctx) where who started us is, by a thread of its own that ends with it: nothing of us
 * stays there, and what it starts is there, too. Where we are not apart, by the caller. Any thread.
 * What @fn returns, or -errno: it was not called.
 */
int apart_visit(int (*fn)(void *ctx), void *ctx);
/* We end in order, and the keeper is gone when this returns. No thread of ours is on a visit. */
void apart_end(void);

#endif
