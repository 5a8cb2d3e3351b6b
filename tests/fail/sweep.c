// SPDX-License-Identifier: MIT
/*
 * tests/fail/sweep PROGRAM [FILTER]: the program itself, built with FIU=1 (and SAN=asan), on a
 * machine with ublk. Each path has its first failure point failing, then its second, until a run
 * in which nothing fails. Every run has to end in time, with a documented exit status, with words
 * where it is not 0, without a word from a sanitizer, and with nothing left behind.
 *
 * While the program starts, the N-th point comes from its environment; while it serves, from its
 * --fiu-rc. "failpoint N NAME" on its standard error says that there was an N-th.
 */
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
#define START_MS   30000
#define ANSWER_MS  10000
#define END_MS     30000
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
	for (int i = 0; i < 10000 && !reply[0]; i++) {
		if (i)
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

/* ---------------------------------------------------------------------------- start, end */

static const char *const serving[] = { "run",      "--size",     "8M",     "--queues",
				       "2",        "--name",     "sweep",  "--rules",
				       rules_path, "--rule",     RULE,     "--fiu-rc",
				       rc_prefix,  "--pid-file", pid_path, NULL };

/* It said that it is ready though a point had failed: then it has to serve. */
static void must_answer(struct server *server, unsigned int nth)
{
	_cleanup_free_ char *said = read_file(log_path);
	json_t *status;

	if (!failed_point(said))
		return;
	status = greet(server) ? ask(server, "status", "{}") : NULL;
	if (!json_object_get(status, "result"))
		FAIL("point %u: it is ready, but does not answer: %s", nth, said);
	json_decref(status);
}

/* One run: start it, and end it by a signal if it serves. */
static bool serve_once(unsigned int nth)
{
	struct server server = start(serving, nth);
	_cleanup_free_ char *said = NULL; /* what it said up to its end */
	bool ready = is_ready(&server);
	int code;

	if (ready) {
		must_answer(&server, nth);
		kill(server.pid, SIGTERM);
	}
	code = end_of(&server);
	said = read_file(log_path);
	if (server.told != ready && !has_words(said))
		FAIL("point %u (%s): the service manager was told otherwise", nth,
		     failed_point(said) ?: "none");
	check_end(code, said, nth);
	check_left(said, nth);
	return failed_point(said);
}

static void a_server_starts_serves_and_ends_or_says_why(void)
{
	unsigned int nth = 1;

	while (serve_once(nth) && !test_failed && nth < POINTS_MAX)
		nth++;
	printf("    %u points\n", nth - 1);
	EXPECT(nth > 50 && nth < POINTS_MAX);
}

static void a_service_manager_that_does_not_listen_does_not_stop_the_disk(void)
{
	_cleanup_free_ char *said = NULL;
	struct server server;

	fill_manager();
	server = start(serving, 0);
	EXPECT(is_ready(&server) && greet(&server));
	said = read_file(log_path);
	EXPECT(strstr(said, "cannot notify the service manager"));
	kill(server.pid, SIGTERM);
	EXPECT_EQ(end_of(&server), 0);
	EXPECT(!server.told);
	check_left(said, 0);
}

/* The whole life of a disk with a COMMAND, or of a client of the running one: it ends by itself. */
static bool run_once(const char *const *args, unsigned int nth, bool leaves_nothing)
{
	struct server server = start(args, nth);
	_cleanup_free_ char *said = NULL;
	int code = end_of(&server);

	said = read_file(log_path);
	check_end(code, said, nth);
	if (leaves_nothing)
		check_left(said, nth);
	return failed_point(said);
}

static bool is_soak(void)
{
	const char *soak = getenv("SOAK");

	return soak && soak[0];
}

/* Another way to start passes the points of a_server_starts... again: each second of them. */
static unsigned int again_step(void)
{
	return is_soak() ? 1 : 2;
}

static void a_command_gets_its_disk_or_a_reason(void)
{
	static const char *const args[] = { "run",    "--size", "8M", "--seed",    "1",
					    "--name", "sweep",  "--", "/bin/true", NULL };
	const unsigned int step = again_step();
	unsigned int nth = 1;

	while (run_once(args, nth, true) && !test_failed && nth < POINTS_MAX)
		nth += step;
	printf("    %u points\n", (nth - 1) / step);
	EXPECT(nth > 40 && nth < POINTS_MAX);
}

static void a_gc_looks_at_all_disks_or_says_why(void)
{
	static const char *const args[] = { "gc", NULL };
	unsigned int nth = 1;

	while (run_once(args, nth, true) && !test_failed && nth < POINTS_MAX)
		nth++;
	printf("    %u points\n", nth - 1);
	EXPECT(nth > 5 && nth < POINTS_MAX);
}

/* A server that was killed has left its disk. */
static bool gc_once(unsigned int nth)
{
	static const char *const run[] = { "run", "--size", "8M",    "--seed",
					   "1",   "--name", "sweep", NULL };
	static const char *const gc[] = { "gc", NULL };
	struct server server = start(run, 0);

	if (!is_ready(&server))
		FAIL("it does not serve");
	kill(server.pid, SIGKILL);
	end_of(&server);
	EXPECT_EQ(count_devices(), 1);
	unlink(socket_path);
	return run_once(gc, nth, true);
}

static void a_gc_deletes_a_disk_that_is_left_or_says_why(void)
{
	unsigned int nth = 1;

	while (gc_once(nth) && !test_failed && nth < POINTS_MAX)
		nth++;
	printf("    %u points\n", nth - 1);
	EXPECT(nth > 10 && nth < POINTS_MAX);
}

static void a_crash_test_is_done_or_says_why(void)
{
	static const char *const args[] = { "crashtest",  "--size",  "8M",   "--workload",
					    "true",       "--check", "true", "--",
					    "--strategy", "new",     NULL };
	const unsigned int step = again_step();
	unsigned int nth = 1;

	while (run_once(args, nth, true) && !test_failed && nth < POINTS_MAX)
		nth += step;
	printf("    %u points\n", (nth - 1) / step);
	EXPECT(nth > 10 && nth < POINTS_MAX);
}

static bool daemon_once(unsigned int nth)
{
	static const char *const args[] = { "run",    "--size", "8M",       "--seed", "1",
					    "--name", "sweep",  "--daemon", NULL };
	struct server server = start(args, nth);
	_cleanup_free_ char *said = NULL;
	int code = end_of(&server);
	uint64_t end_ns = clock_now_ns() + END_MS * NSEC_PER_MSEC;

	said = read_file(log_path);
	check_end(code, said, nth);
	if (code == 0) {
		bool greeted = greet(&server) || greet(&server);
		json_t *stopped = greeted ? ask_again(&server, "stop", "{}") : NULL;

		if (!stopped)
			FAIL("point %u: a daemon that does not answer: %s", nth, said);
		json_decref(stopped);
		close(server.client);
	}
	while ((count_devices() || access(socket_path, F_OK) == 0) && clock_now_ns() < end_ns)
		usleep(10000);
	check_left(said, nth);
	return failed_point(said);
}

/* What comes after it went to the background cannot be seen here; a_server_starts... has that. */
static void a_daemon_is_there_or_the_status_says_why(void)
{
	const unsigned int step = again_step();
	unsigned int nth = 1;

	while (daemon_once(nth) && !test_failed && nth < POINTS_MAX)
		nth += step;
	printf("    %u points\n", (nth - 1) / step);
	EXPECT(nth > 40 && nth < POINTS_MAX);
}

/* ---------------------------------------------------------------------------- serving */

static struct server must_serve(void)
{
	struct server server = start(serving, 0);

	if (!is_ready(&server) || !greet(&server))
		FAIL("it does not serve");
	return server;
}

static void must_end(struct server *server)
{
	_cleanup_free_ char *said = NULL;
	int code;

	kill(server->pid, SIGTERM);
	code = end_of(server);
	said = read_file(log_path);
	EXPECT_EQ(code, 0);
	check_end(code, said, 0);
	check_left(said, 0);
}

static unsigned int count_of(const struct server *server, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", server->pid, what);
	return count_entries(path, NULL);
}

/* A connection that was closed is taken back when the server comes to it. */
static void comes_back_to(const struct server *server, const char *what, unsigned int count)
{
	for (int ms = 0; ms < END_MS && count_of(server, what) != count; ms += 5)
		usleep(5000);
	EXPECT_EQ(count_of(server, what), count);
}

struct question {
	const char *method, *params;
	bool changes; /* the rules */
	bool fixed;   /* the answer is the same every time */
};

static const struct question questions[] = {
	{ "rules.put", "{\"rule\":\"" OTHER "\"}", true, true },
	{ "rules.put", "{\"rule\":\"c op=wrong do=error:EIO\"}", false, true },
	{ "rules.remove", "{\"name\":\"r\"}", true, true },
	{ "rules.replace", "{\"rules\":[\"" OTHER "\"]}", true, true },
	{ "rules.clear", "{}", true, true },
	{ "rules.put", "{\"rule\":\"c do=throttle:iops=100000\"}", true, true },
	{ "rules.put", "{\"rule\":\"c range=1M..2M,3M..4M do=badblock\"}", true, true },
	{ "rules.put", "{\"rule\":\"c range=1M..2M do=stale\"}", true, true },
	{ "rules.put", "{\"rule\":\"c range=1M..2M do=corrupt:stuck=1%\"}", true, true },
	{ "rules.put", "{\"rule\":[{\"text\":\"c do=count\"},\"" OTHER "\"]}", true, true },
	{ "rules.put", "{\"rule\":\"c range=1M..2M do=delay:p50=1ms,p99=2ms\"}", true, true },
	{ "rules.disable", "{\"name\":\"r\"}", true, true },
	{ "rules.disable", "{\"name\":[\"r\",\"nosuch\"]}", false, true },
	{ "rules.list", "{}", false, true },
	{ "events.list", "{}", false, false },
	{ "held.list", "{}", false, true },
	{ "held.release", "{}", false, true },
	{ "rules.explain", "{\"op\":\"read\",\"off\":\"17s\"}", false, true },
	{ "faults.list", "{}", false, true },
	{ "status", "{}", false, false },
	{ "stats", "{}", false, false },
	{ "snapshot.list", "{}", false, true },
	{ "snapshot.restore", "{\"name\":\"none\"}", false, true },
	{ "disk.crash", "{\"keep\":\"most\"}", false, true },
	{ "image.save", "{\"path\":\"/tmp/faultblk-sweep.img\",\"force\":true}", false, true },
	{ "image.load", "{\"path\":\"/tmp/faultblk-sweep.img\"}", false, true },
	{ "nonsense", "{}", false, true },
	{ "disk.crash", "{\"keep\":\"random\"}", false, false },
	{ "disk.revive", "{}", false, false },
};

static json_t *rules_of(struct server *server)
{
	json_t *answer = ask_again(server, "rules.list", "{}");
	json_t *rules = json_incref(json_object_get(json_object_get(answer, "result"), "rules"));

	json_decref(answer);
	return rules;
}

static void restore(struct server *server)
{
	json_t *answer = ask_again(server, "rules.replace",
				   "{\"rules\":[\"r op=read do=delay:1ms\",\"" RULE "\"]}");

	if (!json_object_get(answer, "result"))
		FAIL("rules.replace does not work any more");
	json_decref(answer);
}

static void check_same_keys(const char *method, const char *name, json_t *got, json_t *want)
{
	const char *key;
	json_t *value;

	json_object_foreach (want, key, value) {
		json_t *other = json_object_get(got, key);

		if (!other)
			FAIL("%s with %s failing: '%s' is missing in the answer", method, name,
			     key);
		check_same_keys(method, name, other, value);
	}
}

/* What an answer may be while a point fails: the right one, an error with words, or none. */
static void check_answer(const struct question *q, const char *name, json_t *answer, json_t *want)
{
	json_t *error = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(error, "message"));

	if (!answer)
		return;
	if (error && (!message || !message[0]))
		FAIL("%s with %s failing: an error without words", q->method, name);
	if (error)
		return;
	if (q->fixed && !json_equal(answer, want)) {
		_cleanup_free_ char *text = json_dumps(answer, 0);

		FAIL("%s with %s failing: a wrong answer: %s", q->method, name, text);
	}
	check_same_keys(q->method, name, answer, want);
}

static bool says_done(json_t *answer)
{
	json_t *message = json_object_get(json_object_get(answer, "error"), "message");

	return strstr(json_string_value(message) ?: "", "carried out");
}

/* Rules are changed whole and told so, or not at all. */
static void check_rules(const struct question *q, const char *name, json_t *answer, json_t *before,
			json_t *after, json_t *now)
{
	bool done = answer && !json_object_get(answer, "error");

	if (!json_equal(now, before) && !json_equal(now, after))
		FAIL("%s with %s failing: half of the rules", q->method, name);
	else if (q->changes && done && !json_equal(now, after))
		FAIL("%s with %s failing: not done, but said so", q->method, name);
	else if (answer && !done && !json_equal(now, before) && !says_done(answer))
		FAIL("%s with %s failing: done, but an error was said", q->method, name);
}

static bool ask_once(struct server *server, const struct question *q, unsigned int nth,
		     json_t *want, json_t *before, json_t *after)
{
	json_t *answer, *now;
	const char *name;

	arm(server, nth);
	answer = ask(server, q->method, q->params);
	arm(server, 0);
	name = take_failed();
	if (name)
		check_answer(q, name, answer, want);
	else if (!answer)
		FAIL("%s: no answer, though nothing failed", q->method);
	if (q->changes || !name) {
		now = rules_of(server);
		check_rules(q, name ?: "nothing", answer, before, after, now);
		restore(server);
		json_decref(now);
	}
	if (!answer && server->client >= 0) {
		close(server->client);
		greet(server);
	}
	json_decref(answer);
	return name;
}

static void sweep_question(struct server *server, const struct question *q)
{
	json_t *before, *after, *want;
	/* What changes nothing is asked for hundreds of lines: not each of them, but with SOAK=1.
	 */
	unsigned int step = q->changes || is_soak() ? 1 : 10, nth = 1;

	restore(server);
	before = rules_of(server);
	want = ask(server, q->method, q->params);
	after = rules_of(server);
	restore(server);
	while (ask_once(server, q, nth, want, before, after) && !test_failed && nth < POINTS_MAX)
		nth += step;
	printf("    %s: %u points\n", q->method, (nth - 1) / step);
	EXPECT(nth > 1 && nth < POINTS_MAX);
	json_decref(before);
	json_decref(after);
	json_decref(want);
}

static void a_question_is_answered_or_refused_and_the_server_serves_on(void)
{
	struct server server = must_serve();
	const unsigned int fds = count_of(&server, "fd"), threads = count_of(&server, "task");

	take_failed();
	restore(&server);
	for (size_t i = 0; i < array_size(questions) && !test_failed; i++)
		sweep_question(&server, &questions[i]);
	comes_back_to(&server, "fd", fds);
	comes_back_to(&server, "task", threads);
	must_end(&server);
}

static void a_client_is_greeted_or_turned_away_and_the_next_one_served(void)
{
	struct server server = must_serve(), other;
	unsigned int nth = 1, fds = count_of(&server, "fd");
	const char *name;

	do {
		arm(&server, nth);
		other = server;
		greet(&other);
		arm(&server, 0);
		close(other.client);
		name = take_failed();
		if (!greet(&other))
			FAIL("with %s failing before: no greeting", name);
		close(other.client);
	} while (name && !test_failed && nth++ < POINTS_MAX);
	printf("    %u points\n", nth - 1);
	comes_back_to(&server, "fd", fds);
	must_end(&server);
}

/* One stop with a point failing: the disk goes, or the error is named and the next stop works. */
static bool stop_once(unsigned int nth)
{
	struct server server = must_serve();
	_cleanup_free_ char *said = NULL;
	json_t *answer;
	int code;

	arm(&server, nth);
	answer = ask(&server, "stop", "{}");
	/* It may have been refused, or not understood: then it serves on. */
	if (!json_object_get(answer, "result"))
		kill(server.pid, SIGTERM);
	json_decref(answer);
	code = end_of(&server);
	said = read_file(log_path);
	check_end(code, said, nth);
	check_left(said, nth);
	return failed_point(said);
}

static void a_stop_takes_the_disk_away_or_says_why(void)
{
	unsigned int nth = 1;

	while (stop_once(nth) && !test_failed && nth < POINTS_MAX)
		nth++;
	printf("    %u points\n", nth - 1);
	EXPECT(nth > 5 && nth < POINTS_MAX);
}

/* A client that fails has a status and words, and leaves the server alone. */
static void a_client_s_command_works_or_says_why(void)
{
	static const char *const put[] = { "rule", "put", "--name", "sweep", OTHER, NULL };
	/* Most points of a client are jansson's, which those of the server have in full. */
	const unsigned int step = is_soak() ? 1 : 3;
	struct server server = must_serve();
	char own_log[64];
	unsigned int nth = 1;

	snprintf(own_log, sizeof(own_log), "%s", log_path);
	snprintf(log_path, sizeof(log_path), "%s/client.log", dir);
	while (run_once(put, nth, false) && !test_failed && nth < POINTS_MAX)
		nth += step;
	printf("    %u points\n", nth - 1);
	EXPECT(nth > 10 && nth < POINTS_MAX);
	snprintf(log_path, sizeof(log_path), "%s", own_log);
	must_end(&server);
}

int main(int argc, char **argv)
{
	static const struct device_test tests[] = {
		DEVICE_TEST(a_question_is_answered_or_refused_and_the_server_serves_on),
		DEVICE_TEST(a_client_is_greeted_or_turned_away_and_the_next_one_served),
		DEVICE_TEST(a_client_s_command_works_or_says_why),
		DEVICE_TEST(a_server_starts_serves_and_ends_or_says_why),
		DEVICE_TEST(a_service_manager_that_does_not_listen_does_not_stop_the_disk),
		DEVICE_TEST(a_stop_takes_the_disk_away_or_says_why),
		DEVICE_TEST(a_command_gets_its_disk_or_a_reason),
		DEVICE_TEST(a_gc_looks_at_all_disks_or_says_why),
		DEVICE_TEST(a_gc_deletes_a_disk_that_is_left_or_says_why),
		DEVICE_TEST(a_crash_test_is_done_or_says_why),
		DEVICE_TEST(a_daemon_is_there_or_the_status_says_why),
	};
	FILE *rules;
	int failed;

	if (argc < 2 || !mkdtemp(dir) || setenv("FAULTBLK_RUNTIME_DIR", dir, 1) ||
	    setenv("TMPDIR", dir, 1) || !open_manager())
		return 2;
	program = argv[1];
	signal(SIGPIPE, SIG_IGN);
	snprintf(log_path, sizeof(log_path), "%s/server.log", dir);
	snprintf(rules_path, sizeof(rules_path), "%s/r.rules", dir);
	snprintf(pid_path, sizeof(pid_path), "%s/pid", dir);
	snprintf(rc_prefix, sizeof(rc_prefix), "%s/rc", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/sweep.sock", dir);
	rules = fopen(rules_path, "we");
	fprintf(rules, "faultblk-rules 1\nr op=read do=delay:1ms\n");
	fclose(rules);
	failed = run_tests(tests, array_size(tests), argc > 2 ? argv[2] : NULL);
	unlink(rules_path);
	return failed != 0;
}
