/* SPDX-License-Identifier: MIT */
/*
 * Several disks, asked at once: each has a server of its own, and a connection here.
 *
 * A power cut of several disks is one of a moment: first every queue of every disk stops, and only
 * when all of them have, the state of any is decided. What a disk has acknowledged before it stopped
 * counts for all; after that none acknowledges anything, so nobody, a mirror over them for instance,
 * can learn of one that failed and write it down on another. A disk that cannot stop has the others
 * go on, and none is cut. Whether they are cut is decided in one place, which all of them share
 * (ballot.h), so that nothing is half done if who asks for it ends, or stops, between any two steps.
 */
#ifndef TOOLS_RPC_DISK_GROUP_H
#define TOOLS_RPC_DISK_GROUP_H

#include "tools/rpc/client.h"
#include "tools/rpc/runtime.h"

/* Which disks a command means: as disk_choice, but more than one, or all. */
struct disks_choice {
	struct opt_list names, sockets;
	bool all;
};
#define OPT_DISKS_CHOICE(s, f)                                                                     \
	OPT_LIST(s, f.names, "name", "NAME", "the disk of this name"),                             \
		OPT_LIST(s, f.sockets, "socket", "PATH", "the disk with this control socket"), \
		OPT_FLAG(s, f.all, "all", "all running disks")
#define DISKS_CHOICE_HELP                                                                          \
	"The disks are those of --name (or a device) and --socket, which can be repeated, or of\n"  \
	"--all; else that of $FAULTBLK_SOCKET, else the only running one."

struct disk_member {
	char name[RUNTIME_NAME_MAX + 1];
	struct rpc_client *client;
	/* Of the last that it was asked. */
	int err, code; /* as rpc_client_call() */
	struct diag diag;
	json_t *answer; /* owned; NULL with an error */
	bool asked;     /* to go on */
};

struct disk_group {
	struct disk_member *members; /* owned, and their clients, by one that was opened */
	unsigned int nr;
	bool many;    /* more than one, or all: answers say whose they are */
	bool decided; /* the power cut of several: each is cut, whatever it answers */
};

/* Connect to each. As rpc_client_open(); -EINVAL: --all together with another choice. */
int disk_group_open(const struct disks_choice *choice, struct diag *diag, struct disk_group *group);
void disk_group_close(struct disk_group *group);
/* Is the one that listens on @socket in it, by whatever path? */
bool disk_group_has(const struct disk_group *group, const char *socket);
/* What they answered is of no interest any more. */
void disk_group_forget(struct disk_group *group);

/* The parameters for one of them. New reference, or NULL for none. */
typedef json_t *(*disk_params_fn)(void *ctx, const struct disk_member *member);
/*
 * Ask all of them, without waiting for one before the next, and wait for all answers. 0, or that of
 * the first whose err is not 0; @params may be NULL.
 */
int disk_group_ask(struct disk_group *group, const char *method, disk_params_fn params, void *ctx);
/*
 * Cut the power of all at one moment; @params as of disk.crash. 0: the answers are there. Otherwise
 * words in @diag, *ret_code as rpc_client_call(): they say whether some were cut and which. Those that
 * failed have their err.
 */
int disk_group_crash(struct disk_group *group, disk_params_fn params, void *ctx, struct diag *diag,
		     int *ret_code);
/*
 * Its two steps, for who has a part in it without being asked: stop all and decide, with -ECANCELED if
 * somebody decided otherwise before; and, once it is decided, cut them. Errors as above.
 */
struct ballot;
int disk_group_decide(struct disk_group *group, struct ballot *ballot, disk_params_fn params,
		      void *ctx, struct diag *diag, int *ret_code);
int disk_group_cut(struct disk_group *group, disk_params_fn params, void *ctx, struct diag *diag,
		   int *ret_code);
/*
 * What was asked of all has been answered: one answer as it is, those of many as {"disks": [...]}, a
 * "name" and an "error" in each where there is one. New reference.
 */
json_t *disk_group_answers(const struct disk_group *group);
/* Print the words of each that failed; the worst exit code. */
int disk_group_fail(const struct disk_group *group);
/*
 * A whole command: open those of @choice, ask them, and print what they answer: as JSON if @json,
 * else each by @print, where that is not NULL. The exit code.
 */
int disk_group_run(const struct disks_choice *choice, const char *method, disk_params_fn params,
		   void *ctx, bool json, void (*print)(const json_t *answer));

#endif
