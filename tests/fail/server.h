/* SPDX-License-Identifier: MIT */
/*
 * The program as tests/fail/sweep.c sees it: started with a point failing, asked over its socket, told
 * by libfiu's remote control which point fails now, and looked at when it has ended.
 */
#ifndef TESTS_FAIL_SERVER_H
#define TESTS_FAIL_SERVER_H

#include "base/cleanup.h"
#include "tests/device/harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define POINTS_MAX 4000
#define NAMES_MAX  200
#define START_MS   PATIENCE_MS
#define ANSWER_MS  PATIENCE_MS
#define END_MS     PATIENCE_MS
#define RULE       "a op=read range=17s..23s do=error:EIO"
#define OTHER      "b op=write p=0.5 do=delay:1ms"
#define ARGS_MAX   24

static const char *program;
static int manager; /* the service manager's socket, that the program tells its state */
static char manager_name[32];
static char dir[] = "/tmp/faultblk-sweep.XXXXXX";
static char log_path[64], rules_path[64], pid_path[64], rc_prefix[64], socket_path[64];

struct server {
	pid_t pid;
	int out; /* its standard output */
	int client;
	bool told; /* the service manager: it is ready */
};

/* ---------------------------------------------------------------------------- small things */

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = calloc(1, 64 << 10);

	if (f) {
		text[fread(text, 1, (64 << 10) - 1, f)] = '\0';
		fclose(f);
	}
	return text;
}

static unsigned int count_entries(const char *path, const char *skip)
{
	DIR *entries = opendir(path);
	struct dirent *entry;
	unsigned int nr = 0;

	while (entries && (entry = readdir(entries)))
		nr += entry->d_name[0] != '.' && (!skip || !strstr(entry->d_name, skip));
	if (entries)
		closedir(entries);
	return nr;
}

static unsigned int count_devices(void)
{
	return count_entries("/sys/class/ublk-char", NULL);
}

/* The point that failed, of the program's standard error, or NULL. */
static const char *failed_point(const char *said)
{
	static char name[128];
	const char *line = strstr(said, "failpoint ");

	if (!line || sscanf(line, "failpoint %*u %127s", name) != 1)
		return NULL;
	return name;
}

/* Words other than those of the failure point itself. */
static bool has_words(const char *said)
{
	const char *words = strstr(said, "faultblk: ");

	return words && strlen(words) > strlen("faultblk: x\n");
}

static void check_sanitizer(const char *said, unsigned int nth)
{
	if (strstr(said, "ERROR: ") || strstr(said, "runtime error") || strstr(said, "Assertion"))
		FAIL("point %u (%s): %s", nth, failed_point(said) ?: "none", said);
}

/* Nothing may be left of a server that has ended, but a disk that gc can delete after words. */
static void check_left(const char *said, unsigned int nth)
{
	const char *name = failed_point(said) ?: "none";
	char command[PATH_MAX];
	DIR *entries = opendir(dir);
	struct dirent *entry;

	if (count_devices()) {
		if (!has_words(said))
			FAIL("point %u (%s): a disk is left, without a word", nth, name);
		snprintf(command, sizeof(command), "%s gc >/dev/null 2>&1", program);
		if (system(command) || count_devices())
			FAIL("point %u (%s): a disk is left that gc does not delete", nth, name);
		else
			printf("    point %u (%s): left to gc\n", nth, name);
	}
	while (entries && (entry = readdir(entries)))
		if (entry->d_name[0] != '.' &&
		    !strstr(".log.rules", strrchr(entry->d_name, '.') ?: "none"))
			FAIL("point %u (%s): %s is left: %s", nth, name, entry->d_name, said);
	if (entries)
		closedir(entries);
}

/* ---------------------------------------------------------------------------- the program */

/* Start PROGRAM with these arguments, standard error into the log, the @nth point failing. */
static struct server start(const char *const *args, unsigned int nth)
{
	const char *argv[ARGS_MAX] = { program };
	struct server server = { .client = -1 };
	int out[2];

	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	if (pipe2(out, O_CLOEXEC) < 0)
		abort();
	server.pid = fork();
	if (server.pid == 0) {
		char number[16];
		int fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);

		snprintf(number, sizeof(number), "%u", nth);
		if (nth)
			setenv("FAULTBLK_FAIL_NTH", number, 1);
		setenv("NOTIFY_SOCKET", manager_name, 1);
		dup2(out[1], 1);
		dup2(fd, 2);
		execv(program, (char **)argv);
		_exit(127);
	}
	close(out[1]);
	server.out = out[0];
	return server;
}

/* Does it say that the disk is usable? false: it has ended instead. */
static bool is_ready(struct server *server)
{
	uint64_t end_ns = clock_now_ns() + START_MS * NSEC_PER_MSEC;
	char said[4096] = "";
	size_t len = 0;

	while (clock_now_ns() < end_ns && len < sizeof(said) - 1) {
		struct pollfd p = { .fd = server->out, .events = POLLIN };
		ssize_t n = poll(&p, 1, 1000) > 0
				    ? read(server->out, said + len, sizeof(said) - 1 - len)
				    : -1;

		if (n == 0)
			return false;
		len += n > 0 ? (size_t)n : 0;
		said[len] = '\0';
		if (strstr(said, "seed "))
			return true;
	}
	FAIL("it neither gets ready nor ends");
	kill(server->pid, SIGKILL);
	return false;
}

static bool open_manager(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int len = snprintf(manager_name, sizeof(manager_name), "@faultblk-sweep-%d", getpid());

	memcpy(address.sun_path + 1, manager_name + 1, (size_t)len - 1);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return bind(manager, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) == 0;
}

/* Was the manager told that the program is ready? */
static bool take_notices(void)
{
	char state[64] = "";
	bool ready = false;

	while (recv(manager, state, sizeof(state) - 1, MSG_DONTWAIT) >= 0)
		ready |= strcmp(state, "READY=1") == 0;
	return ready;
}

/* The queue of what it was told and has not read is full. */
static void fill_manager(void)
{
	struct sockaddr_un address;
	socklen_t len = sizeof(address);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	getsockname(manager, (struct sockaddr *)&address, &len);
	while (sendto(fd, "X=1", 3, MSG_DONTWAIT, (struct sockaddr *)&address, len) == 3)
		;
	close(fd);
}

/* Its exit status, or 128 and more for a signal. */
static int end_of(struct server *server)
{
	uint64_t end_ns = clock_now_ns() + END_MS * NSEC_PER_MSEC;
	int status = 0;

	while (waitpid(server->pid, &status, WNOHANG) == 0) {
		server->told |= take_notices();
		if (clock_now_ns() > end_ns) {
			FAIL("it does not end: killed");
			kill(server->pid, SIGKILL);
			end_ns = UINT64_MAX;
		}
		usleep(5000);
	}
	server->told |= take_notices();
	close(server->out);
	if (server->client >= 0)
		close(server->client);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The status is one that the manual knows, and not without words. */
static void check_end(int code, const char *said, unsigned int nth)
{
	const char *name = failed_point(said) ?: "none";

	if (code != 0 && code != 1 && code != 2 && code != 3 && code != 4 && code != 5 &&
	    code != 125)
		FAIL("point %u (%s): exit status %d: %s", nth, name, code, said);
	if (code && !has_words(said))
		FAIL("point %u (%s): exit status %d without words: %s", nth, name, code, said);
	check_sanitizer(said, nth);
}

/* ---------------------------------------------------------------------------- the socket */

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* One line, as JSON; NULL when the server closes the connection. */
static json_t *receive(struct server *server)
{
	static char line[1 << 20];
	size_t len = 0;

	while (len < sizeof(line)) {
		struct pollfd p = { .fd = server->client, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, ANSWER_MS) <= 0) {
			FAIL("no answer within %d s", ANSWER_MS / 1000);
			return NULL;
		}
		n = read(server->client, line + len, sizeof(line) - len);
		if (n <= 0)
			return NULL;
		len += (size_t)n;
		/* One question at a time: nothing comes after its answer. */
		if (line[len - 1] == '\n')
			return json_loadb(line, len, 0, NULL);
	}
	return NULL;
}

static bool greet(struct server *server)
{
	json_t *hello;

	server->client = connect_to(socket_path);
	hello = server->client >= 0 ? receive(server) : NULL;
	json_decref(hello);
	return hello;
}

/* The whole answer, or NULL where the server closed the connection instead. */
static json_t *ask(struct server *server, const char *method, const char *params)
{
	char request[1024];
	int len = snprintf(request, sizeof(request),
			   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n",
			   method, params);

	if (send(server->client, request, (size_t)len, MSG_NOSIGNAL) != len)
		return NULL;
	return receive(server);
}

/* Connect anew where the last answer was the end of the connection. */
static json_t *ask_again(struct server *server, const char *method, const char *params)
{
	json_t *answer = ask(server, method, params);

	if (answer)
		return answer;
	close(server->client);
	return greet(server) ? ask(server, method, params) : NULL;
}

/* ---------------------------------------------------------------------------- remote control */

static void control(const struct server *server, const char *line)
{
	char path[128], reply[16] = "";
	bool sent = false;
	int in, out;

	snprintf(path, sizeof(path), "%s-%d.in", rc_prefix, server->pid);
	in = open(path, O_WRONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s-%d.out", rc_prefix, server->pid);
	out = open(path, O_RDONLY | O_CLOEXEC);
	/* libfiu may be just about to close its ends, for the call before; it opens them again. */
	for (int ms = 0; ms < END_MS && !reply[0]; ms++) {
		if (ms)
			usleep(1000);
		sent = sent || write(in, line, strlen(line)) > 0;
		if (sent && read(out, reply, sizeof(reply) - 1) < 0)
			break;
	}
	if (reply[0] != '0')
		FAIL("remote control: '%s' for '%s'", reply, line);
	close(in);
	close(out);
}

/* From here on the @nth point fails; 0: none does. */
static void arm(const struct server *server, unsigned int nth)
{
	char line[64];

	snprintf(line, sizeof(line), "enable name=*,failinfo=%u\n", nth);
	control(server, nth ? line : "disable name=*\n");
}

/* The name of the point that failed since the last call, or NULL. */
static const char *take_failed(void)
{
	_cleanup_free_ char *said = read_file(log_path);
	const char *name = failed_point(said);

	check_sanitizer(said, 0);
	if (truncate(log_path, 0) < 0)
		FAIL("truncate");
	return name;
}

#endif
