/* SPDX-License-Identifier: MIT */
/* Disks of other users: a command finds only those of its own, and says so where there are others. */
#ifndef TOOLS_RPC_OTHERS_H
#define TOOLS_RPC_OTHERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Are there ublk disks, and servers of ours (processes called faultblk) of users other than @user?
 * Then a sentence that names both, for a message, into @buf; else false. @sys and @proc: /sys/block
 * and /proc.
 */
bool others_look(const char *sys, const char *proc, uid_t user, char *buf, size_t size);

struct diag;
/* The same of this machine and the effective user, as the hint of @diag. */
void others_hint(struct diag *diag);

#endif
