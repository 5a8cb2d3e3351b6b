// SPDX-License-Identifier: MIT
/*
 * A client's life:
 *
 *	accept -> credentials -> greeting queued ->
 *		[ read -> lines -> answers queued -> write ]* -> close
 *
 * What a client has sent is read and served to its end, whether or not it still listens: one that
 * has shut its writing side (`ended`) hears its answers, those that come later too, and is closed
 * once nothing is owed to it any more; of one that cannot be written to (`deaf`) what it would hear
 * is dropped, and it is closed once all its lines are served.
 *
 * The write side is a list of whole lines. While more than RPC_PENDING_MAX bytes stand there, the
 * client's requests are neither read nor served: backpressure lies in its socket, where it costs
 * only the client. `moved_ns` is when the write side last made progress; too long ago means the
 * client does not read, and it is closed. A line over the limit and a client too many get one
 * error line, and then `closing` lets that line leave before the socket is closed.
 */
#include "tools/rpc/server.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define REQUESTS_PER_TURN 8 /* so that one busy client does not keep the others waiting */
#define SEND_BUFFER       (64 << 10)
#define POST_BATCH        (32 << 10) /* what is posted is sent at the latest when it is so much */
#define PENDING_STEP      (16 << 10) /* by which the write side grows */
#define ACCEPT_PAUSE_MS   100        /* out of file descriptors: try again then */

struct client {
	int fd;       /* -1: the slot is free */
	bool closing; /* turned away: no more requests; close once everything is sent */
	bool ended;   /* it will send nothing more */
	bool deaf;    /* it will hear nothing more */
	bool waits;   /* its next line cannot be served yet: once a turn it is tried again */
	bool more;    /* the inbox may hold whole lines: serve them before reading on */
	int passed_fd; /* the last one that it sent along, for one request; -1: none; -EMFILE: lost */
	uint64_t serial;   /* never reused: what tickets name */
	unsigned int owed; /* answers that come later */
	struct rpc_inbox inbox;
	char *pending; /* owned */
	size_t pending_size, pending_len, sent;
	size_t posted; /* bytes since somebody tried to send */
	uint64_t moved_ns;
};

struct rpc_server {
	const struct rpc_service *service;
	const struct rpc_target *target;
	int listen_fd;
	uint64_t stall_ns;
	uint64_t next_serial;
	uint64_t accept_ns; /* not before */
	/* One more than may be served: the seat of the client that is being turned away. */
	struct client clients[RPC_CLIENT_MAX + 1];
};

/* ------------------------------------------------------------------------------ clients */

static void client_close(struct client *client)
{
	cleanup_close(&client->fd);
	cleanup_close(&client->passed_fd);
	rpc_inbox_free(&client->inbox);
	free(client->pending);
	*client = (struct client){ .fd = -1, .passed_fd = -1 };
}

static size_t unsent(const struct client *client)
{
	return client->pending_len - client->sent;
}

static bool is_congested(const struct client *client)
{
	return unsent(client) > RPC_PENDING_MAX;
}

/* Nobody listens any more: what was to be said is dropped. */
static void client_deafen(struct client *client)
{
	client->deaf = true;
	client->pending_len = client->sent = 0;
	if (client->closing)
		client_close(client);
}

/* Send what the socket takes. Closes a client that is turned away when nothing is left to say. */
static void client_write(struct client *client)
{
	client->posted = 0;
	while (unsent(client)) {
		ssize_t n = send(client->fd, client->pending + client->sent, unsent(client),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			client_deafen(client);
			return;
		}
		client->sent += (size_t)n;
		client->moved_ns = clock_now_ns();
	}
	client->pending_len = client->sent = 0;
	/* A buffer that once held a long answer is not kept for ever. */
	if (client->pending_size > RPC_PENDING_MAX + PENDING_STEP) {
		free(client->pending);
		client->pending = NULL;
		client->pending_size = 0;
	}
	if (client->closing)
		client_close(client);
}

/* Queue @text (may be NULL: out of memory, and the client is closed rather than left waiting). */
static void client_say(struct client *client, const char *text, size_t len)
{
	size_t wanted;
	char *pending;

	if (client->deaf)
		return;
	if (!text) {
		client_close(client);
		return;
	}
	if (client->sent) {
		memmove(client->pending, client->pending + client->sent, unsent(client));
		client->pending_len -= client->sent;
		client->sent = 0;
	}
	if (client->pending_len == 0)
		client->moved_ns = clock_now_ns();
	wanted = client->pending_len + len;
	if (wanted > client->pending_size) {
		size_t size = (wanted + PENDING_STEP - 1) / PENDING_STEP * PENDING_STEP;

		pending = fail_alloc("tools/rpc/server/pending", realloc(client->pending, size));
		if (!pending) {
			client_close(client);
			return;
		}
		client->pending = pending;
		client->pending_size = size;
	}
	memcpy(client->pending + client->pending_len, text, len);
	client->pending_len = wanted;
}

static void client_say_json(struct client *client, json_t *message)
{
	size_t len = 0;
	_cleanup_free_ char *text = rpc_line_text(message, &len);

	client_say(client, text, len);
}

/* The last thing that this client hears. */
static void client_dismiss(struct client *client, int code, const char *id, const char *message)
{
	struct diag diag;

	diag_set(&diag, 0, id, "%s", message);
	client_say_json(client, rpc_error(NULL, code, &diag));
	client->closing = true;
	if (client->fd >= 0)
		client_write(client);
}

/* A line that was begun and never ended is no request; whoever still listens is told. */
static void refuse_rest(struct client *client)
{
	struct diag diag = { 0 };

	if (!client->ended || !rpc_inbox_drop(&client->inbox))
		return;
	diag_set(&diag, 0, "protocol.unfinished-line",
		 "the last line does not end with a newline, and was ignored");
	diag_hint(&diag, "end each request with a newline");
	client_say_json(client, rpc_error(NULL, RPC_INVALID_REQUEST, &diag));
	if (client->fd >= 0)
		client_write(client);
}

static void serve_line(struct rpc_server *server, struct client *client, const char *line,
		       size_t len)
{
	_cleanup_free_ char *answer = NULL;
	size_t answer_len;

	switch (server->service->serve_line(server->target, client->serial, line, len, &answer,
					    &answer_len)) {
	case RPC_ANSWERED:
		client_say(client, answer, answer_len);
		if (client->fd >= 0)
			client_write(client);
		break;
	case RPC_LATER:
		client->owed++;
		break;
	case RPC_NOT_NOW:
		rpc_inbox_put_back(&client->inbox, line);
		client->waits = true;
		break;
	case RPC_SILENT:
		break;
	}
}

/* Serve the whole lines that have come, as long as the client takes the answers. */
static void client_serve(struct rpc_server *server, struct client *client)
{
	uint64_t serial = client->serial;

	client->waits = false;
	for (int i = 0; i < REQUESTS_PER_TURN; i++) {
		const char *line;
		size_t len;
		int err;

		if (client->serial != serial || client->closing || client->waits ||
		    is_congested(client))
			return;
		err = rpc_inbox_next(&client->inbox, &line, &len);
		client->more = err > 0;
		if (err == 0) {
			refuse_rest(client);
			return;
		}
		if (err < 0) {
			client_dismiss(client, RPC_INVALID_REQUEST, "protocol.line-too-long",
				       "a line is longer than 1 MiB; the connection is closed");
			return;
		}
		serve_line(server, client, line, len);
	}
}

static void keep(struct client *client, int fd)
{
	cleanup_close(&client->passed_fd);
	client->passed_fd = fd;
}

/* The first that came along is kept, in the place of an older one. */
static void keep_passed(struct client *client, struct msghdr *message)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	size_t nr;

	/* There were more than one, or no descriptor was free here. */
	if (message->msg_flags & MSG_CTRUNC)
		keep(client, -EMFILE);
	if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
		return;
	nr = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < nr; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(fd));
		if (i == 0 && !(message->msg_flags & MSG_CTRUNC))
			keep(client, fd);
		else
			close(fd);
	}
}

static ssize_t receive(struct client *client, void *space, size_t room)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec piece = { .iov_base = space, .iov_len = room };
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		keep_passed(client, &message);
	return n;
}

static void client_read(struct client *client)
{
	size_t room;
	char *space = rpc_inbox_space(&client->inbox, &room);
	ssize_t n = space ? receive(client, space, room) : -1;

	if (n > 0) {
		rpc_inbox_filled(&client->inbox, (size_t)n);
		client->more = true;
	} else if (n == 0) {
		client->ended = client->more = true; /* it may still listen, as `socat` does */
	} else if (!space) {
		client_close(client);
	} else if (errno != EAGAIN && errno != EINTR) {
		client->ended = client->more = true;
		client_deafen(client);
	}
}

/* All that it has sent is served, and it has heard, or cannot hear, all that it was to hear. */
static bool is_over(const struct rpc_server *server, const struct client *client)
{
	if (client->fd < 0 || !client->ended || client->more)
		return false;
	return client->deaf || (!unsent(client) && !client->owed &&
				!server->service->is_listening(server->target, client->serial));
}

static void close_if_over(struct rpc_server *server, struct client *client)
{
	if (is_over(server, client))
		client_close(client);
}

/* ------------------------------------------------------------------------------ accepting */

static bool is_welcome(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static unsigned int count_clients(const struct rpc_server *server)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < array_size(server->clients); i++)
		nr += server->clients[i].fd >= 0;
	return nr;
}

static void seat_client(struct rpc_server *server, int fd)
{
	const int send_buffer = SEND_BUFFER;
	bool full = count_clients(server) >= RPC_CLIENT_MAX;
	struct client *client = server->clients;
	char too_many[64];

	while (client->fd >= 0)
		client++;
	assert(client < server->clients + array_size(server->clients));
	*client = (struct client){ .fd = fd,
				   .passed_fd = -1,
				   .serial = server->next_serial++,
				   .moved_ns = clock_now_ns() };
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	snprintf(too_many, sizeof(too_many), "%d clients are connected already; try again later",
		 RPC_CLIENT_MAX);
	if (!is_welcome(fd)) {
		client_dismiss(client, RPC_FAILED, "protocol.not-permitted",
			       "only the owner of this server and root may use it");
	} else if (full) {
		client_dismiss(client, RPC_LIMIT, "protocol.too-many-clients", too_many);
	} else {
		client_say_json(client, rpc_notification("hello", server->service->greeting(
									  server->target)));
		if (client->fd >= 0)
			client_write(client);
	}
}

/*
 * A client that is turned away normally leaves its seat within this call. Should its line not fit
 * into the socket, its seat stays taken and accepting waits.
 */
static void accept_clients(struct rpc_server *server)
{
	while (count_clients(server) <= RPC_CLIENT_MAX) {
		int fd = fail_errno(
			"tools/rpc/server/accept", EMFILE,
			accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));

		if (fd < 0) {
			/* Out of fds the socket would stay readable and the loop would spin. */
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				server->accept_ns =
					clock_now_ns() + ACCEPT_PAUSE_MS * NSEC_PER_MSEC;
			return;
		}
		seat_client(server, fd);
	}
}

/* ------------------------------------------------------------------------------ the loop */

static int sooner_ms(int timeout_ms, uint64_t in_ns)
{
	int in_ms = (int)(in_ns / NSEC_PER_MSEC) + 1;

	return timeout_ms < 0 || in_ms < timeout_ms ? in_ms : timeout_ms;
}

/* Close who has not read for too long; say when to look again. */
static int drop_stalled(struct rpc_server *server, int timeout_ms)
{
	uint64_t now_ns = clock_now_ns();

	for (size_t i = 0; i < array_size(server->clients); i++) {
		struct client *client = &server->clients[i];
		uint64_t idle_ns = now_ns - client->moved_ns;

		if (client->fd < 0)
			continue;
		if (unsent(client) && idle_ns >= server->stall_ns)
			client_close(client);
		else if (unsent(client))
			timeout_ms = sooner_ms(timeout_ms, server->stall_ns - idle_ns);
		if (client->more && !client->waits && !is_congested(client))
			timeout_ms = 0;
	}
	if (server->accept_ns > now_ns)
		timeout_ms = sooner_ms(timeout_ms, server->accept_ns - now_ns);
	return timeout_ms;
}

static struct pollfd client_pollfd(const struct client *client)
{
	short events = 0;

	if (unsent(client))
		events |= POLLOUT;
	if (!client->closing && !client->ended && !client->more)
		events |= POLLIN;
	/* Of one that has hung up, and waits, poll() would tell again and again. */
	if (client->waits && !events)
		return (struct pollfd){ .fd = -1 };
	return (struct pollfd){ .fd = client->fd, .events = events };
}

static struct pollfd listen_pollfd(const struct rpc_server *server)
{
	bool seats = count_clients(server) <= RPC_CLIENT_MAX;
	bool paused = server->accept_ns && server->accept_ns > clock_now_ns();

	return (struct pollfd){ .fd = seats && !paused ? server->listen_fd : -1, .events = POLLIN };
}

/*
 * A hang-up says that nobody listens, and nothing about what was sent before it: that is read on to
 * its end.
 */
static void serve_client(struct rpc_server *server, struct client *client, short revents)
{
	bool hung_up = revents & (POLLERR | POLLHUP | POLLNVAL);

	if (hung_up)
		client_deafen(client);
	else if (revents & POLLOUT)
		client_write(client);
	if (client->fd >= 0 && !client->ended && !client->more && (hung_up || revents & POLLIN))
		client_read(client);
	if (client->fd >= 0 && client->more)
		client_serve(server, client);
	close_if_over(server, client);
}

/*
 * poll() of those that have a descriptor: the kernel refuses more entries than files may be open,
 * and counts empty ones, too.
 */
static int poll_used(struct pollfd *fds, size_t nr, int timeout_ms)
{
	struct pollfd used[RPC_CLIENT_MAX + 2 + RPC_EXTRA_FD_MAX];
	size_t nr_used = 0;
	int ready;

	assert(nr <= array_size(used));
	for (size_t i = 0; i < nr; i++)
		if (fds[i].fd >= 0)
			used[nr_used++] = fds[i];
	ready = poll(used, nr_used, timeout_ms);
	for (size_t i = 0; i < nr_used && ready <= 0; i++)
		used[i].revents = 0;
	for (size_t i = nr; i-- > 0;)
		fds[i].revents = fds[i].fd >= 0 ? used[--nr_used].revents : 0;
	return ready;
}

int rpc_server_turn(struct rpc_server *server, struct pollfd *extra, size_t nr_extra,
		    int timeout_ms)
{
	struct pollfd fds[array_size(server->clients) + 1 + RPC_EXTRA_FD_MAX];
	const size_t nr_clients = array_size(server->clients);

	assert(nr_extra <= RPC_EXTRA_FD_MAX);
	timeout_ms = drop_stalled(server, timeout_ms);
	for (size_t i = 0; i < nr_clients; i++)
		fds[i] = client_pollfd(&server->clients[i]);
	fds[nr_clients] = listen_pollfd(server);
	for (size_t i = 0; i < nr_extra; i++)
		fds[nr_clients + 1 + i] = extra[i];
	if (poll_used(fds, nr_clients + 1 + nr_extra, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	for (size_t i = 0; i < nr_extra; i++)
		extra[i].revents = fds[nr_clients + 1 + i].revents;
	for (size_t i = 0; i < nr_clients; i++)
		if (server->clients[i].fd >= 0)
			serve_client(server, &server->clients[i], fds[i].revents);
	if (fds[nr_clients].revents)
		accept_clients(server);
	return 0;
}

void rpc_server_reply(struct rpc_server *server, struct rpc_ticket *ticket, int code,
		      const struct diag *diag, json_t *result)
{
	struct diag memory = { 0 };

	/* As with an answer that comes at once: one that lacks a member is not to be believed. */
	if (rpc_json_short() && !code) {
		code = RPC_FAILED;
		diag = &memory;
		diag_set(&memory, 0, "memory", "the request was carried out, but there is no "
					       "memory for the answer");
	}
	for (size_t i = 0; ticket->id && i < array_size(server->clients); i++) {
		struct client *client = &server->clients[i];

		if (client->fd < 0 || client->closing || client->serial != ticket->client)
			continue;
		assert(client->owed);
		client->owed--;
		client_say_json(client, code ? rpc_error(ticket->id, code, diag)
					     : rpc_answer(ticket->id, json_incref(result)));
		if (client->fd >= 0)
			client_write(client);
		close_if_over(server, client);
	}
	json_decref(result);
	json_decref(ticket->id);
	*ticket = (struct rpc_ticket){ 0 };
}

static struct client *find_client(const struct rpc_server *server, uint64_t serial)
{
	for (size_t i = 0; i < array_size(server->clients); i++) {
		const struct client *client = &server->clients[i];

		if (client->fd >= 0 && !client->closing && !client->deaf &&
		    client->serial == serial)
			return (struct client *)client;
	}
	return NULL;
}

int rpc_server_passed_fd(const struct rpc_server *server, uint64_t client)
{
	for (size_t i = 0; i < array_size(server->clients); i++)
		if (server->clients[i].fd >= 0 && server->clients[i].serial == client)
			return server->clients[i].passed_fd;
	return -1;
}

int rpc_server_take_passed(struct rpc_server *server, uint64_t client)
{
	int fd = rpc_server_passed_fd(server, client);

	for (size_t i = 0; i < array_size(server->clients); i++)
		if (server->clients[i].fd >= 0 && server->clients[i].serial == client)
			server->clients[i].passed_fd = -1;
	return fd;
}

bool rpc_server_has(const struct rpc_server *server, uint64_t serial)
{
	return find_client(server, serial) != NULL;
}

int rpc_server_notify(struct rpc_server *server, uint64_t serial, json_t *notification)
{
	struct client *client = find_client(server, serial);

	if (!client || is_congested(client)) {
		json_decref(notification);
		return client ? -ENOBUFS : -ENOTCONN;
	}
	client_say_json(client, notification);
	if (client->fd >= 0)
		client_write(client);
	return 0;
}

int rpc_server_post(struct rpc_server *server, uint64_t serial, const char *line, size_t len)
{
	struct client *client = find_client(server, serial);

	if (!client)
		return -ENOTCONN;
	if (client->posted >= POST_BATCH)
		client_write(client);
	if (is_congested(client))
		return -ENOBUFS;
	client_say(client, line, len);
	if (client->fd >= 0)
		client->posted += len;
	return 0;
}

void rpc_server_send_posted(struct rpc_server *server)
{
	for (size_t i = 0; i < array_size(server->clients); i++)
		if (server->clients[i].fd >= 0 && server->clients[i].posted)
			client_write(&server->clients[i]);
}

void rpc_server_flush(struct rpc_server *server, int timeout_ms)
{
	uint64_t end_ns = clock_now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;

	for (;;) {
		struct pollfd fds[array_size(server->clients)];
		uint64_t now_ns = clock_now_ns();
		bool waiting = false;

		for (size_t i = 0; i < array_size(fds); i++) {
			struct client *client = &server->clients[i];
			bool has = client->fd >= 0 && unsent(client);

			fds[i] = (struct pollfd){ .fd = has ? client->fd : -1, .events = POLLOUT };
			waiting |= has;
		}
		if (!waiting || now_ns >= end_ns ||
		    poll_used(fds, array_size(fds), (int)((end_ns - now_ns) / NSEC_PER_MSEC)) <= 0)
			return;
		for (size_t i = 0; i < array_size(fds); i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				client_write(&server->clients[i]);
	}
}

int rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server)
{
	_cleanup_close_ int listen_fd = options->listen_fd;
	struct rpc_server *server =
		fail_alloc("tools/rpc/server/alloc", calloc(1, sizeof(*server)));

	if (!server)
		return -ENOMEM;
	server->service = options->service;
	server->target = options->target;
	server->listen_fd = take_fd(&listen_fd);
	server->stall_ns = (options->stall_ms ? options->stall_ms : RPC_STALL_MS) * NSEC_PER_MSEC;
	server->next_serial = 1;
	for (size_t i = 0; i < array_size(server->clients); i++)
		server->clients[i].fd = server->clients[i].passed_fd = -1;
	*ret_server = server;
	return 0;
}

struct rpc_server *rpc_server_free(struct rpc_server *server)
{
	if (!server)
		return NULL;
	for (size_t i = 0; i < array_size(server->clients); i++)
		client_close(&server->clients[i]);
	close(server->listen_fd);
	free(server);
	return NULL;
}
