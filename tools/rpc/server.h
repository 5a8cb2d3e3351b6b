/* SPDX-License-Identifier: MIT */
/*
 * The control socket. One thread, one poll loop, every socket non-blocking: a client that is slow,
 * silent, hostile or gone costs its own answers and nothing else. I/O is on other threads.
 *
 * Limits: RPC_CLIENT_MAX clients; a line of RPC_LINE_MAX bytes; and per client one answer plus
 * RPC_PENDING_MAX bytes that it has not read: beyond that its requests wait in its own socket, and
 * when it has read nothing for stall_ms it is disconnected.
 *
 * What a client has sent before it shuts its writing side, or closes, is carried out. One that has
 * only shut its writing side hears all its answers, those that come later and the events that it
 * subscribed to included.
 */
#ifndef TOOLS_RPC_SERVER_H
#define TOOLS_RPC_SERVER_H

#include "tools/rpc/line.h"

#include <poll.h>

#define RPC_PENDING_MAX  (256u << 10)
#define RPC_STALL_MS     10000
#define RPC_EXTRA_FD_MAX 8

struct rpc_server;
struct rpc_target;

/* What is served. Each is called on the server's thread. */
struct rpc_service {
	/* One line of @client (as in tickets), see rpc_serve_line(). */
	enum rpc_outcome (*serve_line)(const struct rpc_target *target, uint64_t client,
				       const char *line, size_t len, char **ret_text,
				       size_t *ret_len);
	/* What a client hears first. New reference. */
	json_t *(*greeting)(const struct rpc_target *target);
	/* Does @client hear notifications, and stays though it has ended its side? */
	bool (*is_listening)(const struct rpc_target *target, uint64_t client);
};

struct rpc_server_options {
	const struct rpc_service *service;
	const struct rpc_target *target; /* borrowed */
	int listen_fd;                   /* owned from here on, also on error */
	unsigned int stall_ms;           /* 0: RPC_STALL_MS */
};

int rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server);
/* Disconnects everybody. NULL allowed; returns NULL. */
struct rpc_server *rpc_server_free(struct rpc_server *server);

/*
 * Wait at most @timeout_ms (-1: for ever) for anything on the sockets or on @extra (at most
 * RPC_EXTRA_FD_MAX, revents filled in), then serve every client that has something. 0 or -errno
 * of poll; a signal is no error.
 */
int rpc_server_turn(struct rpc_server *server, struct pollfd *extra, size_t nr_extra,
		    int timeout_ms);

/* An answer that comes later. @code 0: @result (stolen); else an error with @diag. Frees @ticket.
 */
void rpc_server_reply(struct rpc_server *server, struct rpc_ticket *ticket, int code,
		      const struct diag *diag, json_t *result);
/*
 * The file that this client sent along last, borrowed; -1: it sent none since the last one was taken;
 * -EMFILE: it did not arrive whole.
 */
int rpc_server_passed_fd(const struct rpc_server *server, uint64_t client);
/* The same, for the request that it came with: the caller owns it, and there is none any more. */
int rpc_server_take_passed(struct rpc_server *server, uint64_t client);
/* Is this client (as in tickets) still connected? */
bool rpc_server_has(const struct rpc_server *server, uint64_t client);
/*
 * Send a notification, which is freed. -ENOBUFS: the client has not read enough for it to fit;
 * -ENOTCONN: it is gone.
 */
int rpc_server_notify(struct rpc_server *server, uint64_t client, json_t *notification);
/*
 * The same with the line itself, its newline included, for messages that come by the thousand: it is
 * sent with others, at the latest by rpc_server_send_posted().
 */
int rpc_server_post(struct rpc_server *server, uint64_t client, const char *line, size_t len);
void rpc_server_send_posted(struct rpc_server *server);
/* Give every client up to @timeout_ms to take what is still to be sent. */
void rpc_server_flush(struct rpc_server *server, int timeout_ms);

#endif
