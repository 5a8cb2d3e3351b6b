// SPDX-License-Identifier: MIT
#include "tools/rpc/client.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/list_text.h"
#include "base/units.h"
#include "faults/rule/rule.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/rpc/line.h"
#include "tools/rpc/others.h"
#include "tools/rpc/runtime.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define HELLO_TIMEOUT_MS 5000

/* Bytes of a line that is taken. What greets with more, or sends no end of it, is none of ours. */
#define HELLO_MAX    (64u << 10)
#define MESSAGE_MAX  (1u << 20)   /* what is told to those who listen */
#define ANSWER_MAX   (16u << 20)  /* 1,000 events, what 4,096 rules did, 4,096 queues */
#define ANSWER_RULES (256u << 20) /* the text of all rules, places of bad blocks, held requests */
_Static_assert((2 * RULE_TEXT_MAX + 1024) * (size_t)RULE_SET_MAX < ANSWER_RULES, "all rules");
_Static_assert(RULE_SET_MAX *(RULE_NAME_MAX + 256) < ANSWER_MAX, "what all rules did");

struct rpc_client {
	int fd;
	char *path;
	struct rpc_inbox inbox;
	json_t *hello;
	int next_id;
	uint64_t patience_ns; /* of one call; UINT64_MAX: no end */
	uint64_t end_ns;      /* of the call that is under way */
	bool for_reader;      /* of standard output */
};

static size_t answer_max(const char *method)
{
	bool is_long = strncmp(method, "rules.", 6) == 0 || strncmp(method, "held.", 5) == 0;

	return is_long ? ANSWER_RULES : ANSWER_MAX;
}

static int too_long(const struct rpc_client *client, struct diag *diag)
{
	char max[UNITS_MAX];

	diag_set(diag, -EMSGSIZE, "client.too-long",
		 "%.200s: the server sent a line of more than %s bytes, which is the limit",
		 client->path, units_format_size(client->inbox.line_max, max));
	diag_hint(diag, "the server there is not faultblk, or has another version (%s)",
		  FAULTBLK_VERSION);
	return -EMSGSIZE;
}

static int lost(struct rpc_client *client, int err, struct diag *diag)
{
	if (err == -EMSGSIZE)
		return too_long(client, diag);
	return diag_set(diag, err, "client.lost", "%.200s: %s", client->path,
			err == -ETIMEDOUT    ? "the server does not answer"
			: err == -ECONNRESET ? "the server closed the connection"
					     : strerror(-err));
}

/* Wait for readability or writability until @end_ns. -EPIPE: whom this is for has gone. */
static int wait_for(struct rpc_client *client, short events, uint64_t end_ns)
{
	struct pollfd fds[] = { { .fd = client->fd, .events = events },
				{ .fd = client->for_reader ? STDOUT_FILENO : -1 } };

	for (;;) {
		uint64_t now_ns = clock_now_ns();
		int nr;

		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		nr = poll(fds, 2,
			  end_ns == UINT64_MAX ? -1 : (int)((end_ns - now_ns) / NSEC_PER_MSEC) + 1);
		if (nr > 0 && (fds[1].revents & TOOL_READER_GONE))
			return -EPIPE;
		if (nr > 0)
			return 0;
		if (nr < 0 && errno != EINTR)
			return -errno;
	}
}

/* As send(); @passed, if it is one, goes along with the first byte. */
static ssize_t send_some(struct rpc_client *client, const char *text, size_t len, int passed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec piece = { .iov_base = (char *)text, .iov_len = len };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
	struct cmsghdr *header;

	if (passed >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					    .cmsg_type = SCM_RIGHTS,
					    .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(header), &passed, sizeof(passed));
	}
	return sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_all(struct rpc_client *client, const char *text, size_t len, int passed,
		    uint64_t end_ns)
{
	while (len) {
		ssize_t n = send_some(client, text, len, passed);
		int err;

		if (n < 0 && errno == EPIPE)
			return 0; /* it may have said why: the answer is there to be read */
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0) {
			err = wait_for(client, POLLOUT, end_ns);
			if (err)
				return err;
			continue;
		}
		passed = -1;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int receive_line(struct rpc_client *client, uint64_t end_ns, const char **ret_line,
			size_t *ret_len)
{
	int err;

	while ((err = rpc_inbox_next(&client->inbox, ret_line, ret_len)) == 0) {
		size_t room;
		char *space = rpc_inbox_space(&client->inbox, &room);
		ssize_t n;

		if (!space)
			return -ENOMEM;
		err = wait_for(client, POLLIN, end_ns);
		if (err)
			return err;
		n = recv(client->fd, space, room, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			rpc_inbox_filled(&client->inbox, (size_t)n);
	}
	return err < 0 ? err : 0;
}

json_t *rpc_client_parse(const struct rpc_client *client, const char *line, size_t len,
			 struct diag *diag)
{
	json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(message))
		return message;
	json_decref(message);
	diag_set(diag, -EPROTO, "client.protocol",
		 "%.200s: the server does not use the protocol of faultblk", client->path);
	return NULL;
}

static int receive(struct rpc_client *client, uint64_t end_ns, struct diag *diag,
		   json_t **ret_message)
{
	const char *line;
	size_t len;
	int err = receive_line(client, end_ns, &line, &len);

	if (err)
		return lost(client, err, diag);
	*ret_message = rpc_client_parse(client, line, len, diag);
	return *ret_message ? 0 : -EPROTO;
}

static void copy_text(char *to, size_t size, json_t *text)
{
	snprintf(to, size, "%s", json_string_value(text) ?: "");
}

static void error_to_diag(json_t *error, struct diag *diag)
{
	json_t *data = json_object_get(error, "data");

	*diag = (struct diag){ 0 };
	copy_text(diag->message, sizeof(diag->message), json_object_get(error, "message"));
	copy_text(diag->id, sizeof(diag->id), json_object_get(data, "id"));
	copy_text(diag->hint, sizeof(diag->hint), json_object_get(data, "hint"));
	diag->line = (unsigned int)json_integer_value(json_object_get(data, "line"));
	diag->column = (unsigned int)json_integer_value(json_object_get(data, "column"));
}

static int read_hello(struct rpc_client *client, struct diag *diag)
{
	json_t *message, *error;
	const char *method;
	int err =
		receive(client, clock_now_ns() + HELLO_TIMEOUT_MS * NSEC_PER_MSEC, diag, &message);

	if (err)
		return err;
	error = json_object_get(message, "error");
	method = json_string_value(json_object_get(message, "method"));
	if (error) { /* too many clients, or not permitted */
		error_to_diag(error, diag);
		err = -EREMOTEIO;
	} else if (!method || strcmp(method, "hello") != 0) {
		err = diag_set(diag, -EPROTO, "client.protocol", "%.200s: no greeting",
			       client->path);
	} else {
		client->hello = json_incref(json_object_get(message, "params"));
	}
	json_decref(message);
	return err;
}

static void cleanup_client(struct rpc_client **client)
{
	rpc_client_free(*client);
}

int rpc_client_open_path(const char *path, struct diag *diag, struct rpc_client **ret_client)
{
	_cleanup_(cleanup_client) struct rpc_client *client =
		fail_alloc("tools/rpc/client/alloc", calloc(1, sizeof(*client)));
	int err;

	if (!client)
		return diag_set(diag, -ENOMEM, "client.memory", "no memory");
	client->fd = -1;
	client->patience_ns = RPC_CALL_MS * NSEC_PER_MSEC;
	client->inbox.line_max = HELLO_MAX;
	client->path = fail_alloc("tools/rpc/client/path", strdup(path));
	err = client->path ? runtime_connect(path, diag, &client->fd) : -ENOMEM;
	if (!err)
		err = read_hello(client, diag);
	if (!err)
		*ret_client = take_ptr(client);
	return err;
}

struct found_disk {
	char path[PATH_MAX];
	char names[420]; /* of all, for the message */
	struct list_text list;
	unsigned int nr;
};

static int find_live(void *ctx, const char *name, const char *path, bool live)
{
	struct found_disk *found = ctx;

	if (!live)
		return 0;
	if (found->nr++ == 0)
		snprintf(found->path, sizeof(found->path), "%s", path);
	list_text_add(&found->list, name);
	return 0;
}

struct by_device {
	const char *device;
	char *path; /* of its socket; empty as long as it is not found */
};

static int find_device(void *ctx, const char *name, const char *path, bool live)
{
	struct by_device *by = ctx;
	struct rpc_client *client = NULL;
	struct diag ignored = { 0 };
	const char *device;
	int noted, wanted;

	(void)name;
	/* Those whose sockets say that they are others need not be asked, and may not answer. */
	noted = runtime_noted_disk(path);
	if (noted >= 0 && sscanf(by->device, "/dev/ublkb%d", &wanted) == 1 && wanted != noted)
		return 0;
	/* One that has ended since, or has no seat free, is not the one. */
	if (!live || rpc_client_open_path(path, &ignored, &client))
		return 0;
	device = json_string_value(json_object_get(client->hello, "device"));
	if (device && strcmp(device, by->device) == 0)
		snprintf(by->path, PATH_MAX, "%s", path);
	rpc_client_free(client);
	return by->path[0] != '\0';
}

/* The disk that a user means by its device. */
static int choose_device(const char *device, char path[PATH_MAX], struct diag *diag)
{
	int found;

	path[0] = '\0';
	found = runtime_each(find_device, &(struct by_device){ device, path }, diag);
	if (found < 0)
		return found;
	if (found)
		return 0;
	diag_set(diag, 0, "client.no-disk", "no running disk is called %.200s", device);
	diag_hint(diag, "faultblk list shows the running disks");
	return -ENODEV;
}

static int choose(const struct disk_choice *choice, char path[PATH_MAX], struct diag *diag)
{
	const char *environment = getenv("FAULTBLK_SOCKET");
	struct found_disk found = { 0 };
	int err;

	typed_set_disk(choice->name, choice->socket);
	if (choice->name && !choice->socket && strncmp(choice->name, "/dev/", 5) == 0)
		return choose_device(choice->name, path, diag);
	if (choice->name && !choice->socket)
		return runtime_socket(choice->name, path, diag);
	if (choice->socket || (environment && environment[0])) {
		snprintf(path, PATH_MAX, "%s", choice->socket ?: environment);
		return 0;
	}
	list_text_begin(&found.list, found.names, sizeof(found.names));
	err = runtime_each(find_live, &found, diag);
	if (err)
		return err;
	if (found.nr == 0) {
		diag_set(diag, 0, "client.no-disk", "no disk of user %u is running", geteuid());
		diag_hint(diag, "start one with: faultblk run");
		others_hint(diag);
		return -ENODEV;
	}
	if (found.nr > 1) {
		diag_set(diag, 0, "client.many-disks", "%u disks are running: %s", found.nr,
			 list_text_end(&found.list));
		diag_hint(diag, "choose one with --name NAME");
		return -ENODEV;
	}
	snprintf(path, PATH_MAX, "%s", found.path);
	return 0;
}

int rpc_client_open(const struct disk_choice *choice, struct diag *diag,
		    struct rpc_client **ret_client)
{
	char path[PATH_MAX];
	int err = choose(choice, path, diag);

	return err ? err : rpc_client_open_path(path, diag, ret_client);
}

struct rpc_client *rpc_client_free(struct rpc_client *client)
{
	if (!client)
		return NULL;
	if (client->fd >= 0)
		close(client->fd);
	rpc_inbox_free(&client->inbox);
	json_decref(client->hello);
	free(client->path);
	free(client);
	return NULL;
}

json_t *rpc_client_hello(const struct rpc_client *client)
{
	return client->hello;
}

int rpc_client_pid(const struct rpc_client *client)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.pid;
}

const char *rpc_client_path(const struct rpc_client *client)
{
	return client->path;
}

/* Notifications may stand between a request and its answer; they are not for us. */
static int receive_answer(struct rpc_client *client, int id, uint64_t end_ns, struct diag *diag,
			  json_t **ret_answer)
{
	for (;;) {
		json_t *message, *answer_id;
		int err = receive(client, end_ns, diag, &message);

		if (err)
			return err;
		answer_id = json_object_get(message, "id");
		/* An answer to nobody in particular is about the connection, and so about us. */
		if (json_is_null(answer_id) ||
		    (json_is_integer(answer_id) && json_integer_value(answer_id) == id)) {
			*ret_answer = message;
			return 0;
		}
		json_decref(message);
	}
}

static uint64_t deadline(uint64_t patience_ns)
{
	uint64_t end_ns;

	return __builtin_add_overflow(clock_now_ns(), patience_ns, &end_ns) ? UINT64_MAX : end_ns;
}

void rpc_client_patience(struct rpc_client *client, int timeout_ms)
{
	client->patience_ns = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * NSEC_PER_MSEC;
}

int rpc_client_next_line(struct rpc_client *client, int timeout_ms, struct diag *diag,
			 const char **ret_line, size_t *ret_len)
{
	uint64_t end_ns =
		deadline(timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * NSEC_PER_MSEC);
	int err;

	client->inbox.line_max = MESSAGE_MAX;
	err = receive_line(client, end_ns, ret_line, ret_len);
	return err && err != -EPIPE ? lost(client, err, diag) : err;
}

void rpc_client_for_reader(struct rpc_client *client)
{
	client->for_reader = true;
}

bool rpc_client_has_line(const struct rpc_client *client)
{
	return rpc_inbox_has_line(&client->inbox);
}

int rpc_client_send(struct rpc_client *client, const char *method, json_t *params,
		    struct diag *diag)
{
	return rpc_client_send_fd(client, method, params, -1, diag);
}

int rpc_client_send_fd(struct rpc_client *client, const char *method, json_t *params, int passed,
		       struct diag *diag)
{
	int err, id = ++client->next_id;
	_cleanup_free_ char *text = NULL;
	size_t len;

	client->end_ns = deadline(client->patience_ns);
	client->inbox.line_max = answer_max(method);
	text = rpc_line_text(json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", id,
				       "method", method, "params", params),
			     &len);
	if (!text)
		return diag_set(diag, -ENOMEM, "client.memory", "no memory for the request");
	err = send_all(client, text, len, passed, client->end_ns);
	return err ? lost(client, err, diag) : 0;
}

int rpc_client_answer(struct rpc_client *client, struct diag *diag, int *ret_code,
		      json_t **ret_result)
{
	json_t *answer, *error;
	int err = receive_answer(client, client->next_id, client->end_ns, diag, &answer);

	if (err)
		return err;
	error = json_object_get(answer, "error");
	if (error) {
		error_to_diag(error, diag);
		if (ret_code)
			*ret_code = (int)json_integer_value(json_object_get(error, "code"));
		err = -EREMOTEIO;
	} else if (ret_result) {
		*ret_result = json_incref(json_object_get(answer, "result"));
	}
	json_decref(answer);
	return err;
}

int rpc_client_call(struct rpc_client *client, const char *method, json_t *params,
		    struct diag *diag, int *ret_code, json_t **ret_result)
{
	int err = rpc_client_send(client, method, params, diag);

	return err ? err : rpc_client_answer(client, diag, ret_code, ret_result);
}

int rpc_client_fail(int err, int code, const struct diag *diag)
{
	tool_diag(diag);
	switch (err) {
	case -ENODEV:
	case -ENOENT:
	case -ECONNREFUSED:
		return EXIT_NO_DISK;
	case -EREMOTEIO:
		return code == RPC_HELD                                     ? EXIT_BUSY
		       : code == RPC_GONE                                   ? EXIT_NO_DISK
		       : code == RPC_BAD_RULE || code == RPC_INVALID_PARAMS ? EXIT_USAGE
									    : EXIT_FAILED;
	case -EINVAL:
	case -ENAMETOOLONG:
		return EXIT_USAGE;
	}
	return EXIT_FAILED;
}

int rpc_client_once(const struct disk_choice *choice, const char *method, json_t *params,
		    json_t **ret_result)
{
	_cleanup_(cleanup_client) struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	int err, code = 0;

	err = rpc_client_open(choice, &diag, &client);
	if (err)
		json_decref(params);
	else
		err = rpc_client_call(client, method, params, &diag, &code, ret_result);
	return err ? rpc_client_fail(err, code, &diag) : EXIT_OK;
}

int tool_print_json(json_t *value)
{
	int err = value ? json_dumpf(value, stdout, JSON_COMPACT) : -1;

	json_decref(value);
	putchar('\n');
	if (!err && !rpc_json_short())
		return EXIT_OK;
	tool_msg("cannot print the answer%s", err ? "" : ": no memory for all of it");
	return EXIT_FAILED;
}

void rpc_client_say_table(const json_t *answer)
{
	const char *table = json_string_value(json_object_get(answer, "table"));
	const char *device = json_string_value(json_object_get(answer, "device"));
	const char *why = json_string_value(json_object_get(answer, "why"));
	char hint[160];

	if (!table || strcmp(table, "old") != 0 || !device || !why)
		return;
	snprintf(hint, sizeof(hint), "then run: blockdev --flushbufs --rereadpt %.64s", device);
	tool_msg_hint(hint,
		      "warning: the kernel keeps the old partition table and cache of %s: %s",
		      device, why);
}
