/* SPDX-License-Identifier: MIT */
/* The other end of the control socket, for the commands of the program: blocking, with a deadline.
 */
#ifndef TOOLS_RPC_CLIENT_H
#define TOOLS_RPC_CLIENT_H

#include "base/diag.h"
#include "tools/cli/opt.h"

#include <jansson.h>

struct rpc_client;

/* Which disk a command means: --socket, --name, else FAULTBLK_SOCKET, else the only one there is.
 */
struct disk_choice {
	const char *socket;
	const char *name;
};
#define OPT_DISK_CHOICE(s, f)                                                                      \
	OPT_TEXT(s, f.name, "name", NULL, "NAME", "the disk of this name"),                        \
		OPT_TEXT(s, f.socket, "socket", NULL, "PATH",                                      \
			 "the disk with this control socket")
#define DISK_CHOICE_HELP                                                                           \
	"The disk is that of --socket or --name (a name, or its device), else that of\n"             \
	"$FAULTBLK_SOCKET, else the only running one."

/* Connect and read the greeting. -ENODEV: no such disk, or more than one to choose from. */
int rpc_client_open(const struct disk_choice *choice, struct diag *diag,
		    struct rpc_client **ret_client);
int rpc_client_open_path(const char *path, struct diag *diag, struct rpc_client **ret_client);
/* NULL allowed; returns NULL. */
struct rpc_client *rpc_client_free(struct rpc_client *client);

/* Parameters of the greeting (borrowed), and the path that we are connected to. */
json_t *rpc_client_hello(const struct rpc_client *client);
const char *rpc_client_path(const struct rpc_client *client);
/* The process at the other end; 0: of a pid namespace that is not seen from here. */
int rpc_client_pid(const struct rpc_client *client);

/*
 * Call @method with @params (stolen; may be NULL). 0: *ret_result is a new reference (NULL allowed
 * if nobody wants it). Otherwise words in @diag and: -EREMOTEIO when the server answered with an
 * error, *ret_code (may be NULL) then is its code; -ETIMEDOUT; -ECONNRESET; -EPROTO.
 */
int rpc_client_call(struct rpc_client *client, const char *method, json_t *params,
		    struct diag *diag, int *ret_code, json_t **ret_result);

/* The two halves of a call, for one who asks several disks at once: each send has its answer. */
int rpc_client_send(struct rpc_client *client, const char *method, json_t *params,
		    struct diag *diag);
/* The same, and a file goes along, which stays the caller's; -1: none. */
int rpc_client_send_fd(struct rpc_client *client, const char *method, json_t *params, int passed,
		       struct diag *diag);
int rpc_client_answer(struct rpc_client *client, struct diag *diag, int *ret_code,
		      json_t **ret_result);

#define RPC_CALL_MS 30000

/* How long a call may take from here on; -1: for ever. Default: RPC_CALL_MS. */
void rpc_client_patience(struct rpc_client *client, int timeout_ms);
/*
 * The next message, waiting at most @timeout_ms (-1: for ever), as it came, without its newline;
 * valid until the next call. Errors as of rpc_client_call().
 */
int rpc_client_next_line(struct rpc_client *client, int timeout_ms, struct diag *diag,
			 const char **ret_line, size_t *ret_len);
/* The message in a line; NULL, with words, if it holds none. New reference. */
json_t *rpc_client_parse(const struct rpc_client *client, const char *line, size_t len,
			 struct diag *diag);
/*
 * From here on rpc_client_next_line() waits no longer than somebody reads standard output: -EPIPE,
 * without words; see tool_end_unread().
 */
void rpc_client_for_reader(struct rpc_client *client);
/* Would the next line come without waiting for the server? */
bool rpc_client_has_line(const struct rpc_client *client);

/*
 * What most commands do: choose the disk, call, print what went wrong. Returns an enum tool_exit;
 * @ret_result only with EXIT_OK.
 */
int rpc_client_once(const struct disk_choice *choice, const char *method, json_t *params,
		    json_t **ret_result);
/* The exit code for a failed call, after printing @diag. */
int rpc_client_fail(int err, int code, const struct diag *diag);
/* Where the content of a disk has changed and the kernel could not look: say so, and what to do. */
void rpc_client_say_table(const json_t *answer);
/* Print as indented JSON; steals @value. Returns an enum tool_exit. */
int tool_print_json(json_t *value);

#endif
