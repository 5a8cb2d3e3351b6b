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
#include "tests/fail/server.h"

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

/* Another way to start passes the points of a_server_starts... again: each fourth of them. */
static unsigned int again_step(void)
{
	return is_soak() ? 1 : 4;
}

/* Run @args without a failure: the names of the points on its way. */
static unsigned int points_of(const char *const *args, char names[][96])
{
	_cleanup_fclose_ FILE *order = NULL;
	char path[64], name[96];
	unsigned int nr = 0, i;

	snprintf(path, sizeof(path), "%s/order.log", dir);
	order = fopen(path, "w+e");
	setenv("FAULTBLK_FAIL_ORDER", path, 1);
	EXPECT(!run_once(args, POINTS_MAX, false));
	unsetenv("FAULTBLK_FAIL_ORDER");
	while (fscanf(order, "%95s", name) == 1) {
		for (i = 0; i < nr && strcmp(names[i], name); i++)
			;
		EXPECT(i < NAMES_MAX);
		if (i == NAMES_MAX)
			break;
		if (i == nr)
			strcpy(names[nr++], name);
	}
	unlink(path);
	return nr;
}

/*
 * Each point on the way fails the first time that it is asked, and where it is asked again and again
 * the fourth, the 16th, ... time; with SOAK=1 each time.
 */
static void sweep_by_name(const char *const *args)
{
	static char names[NAMES_MAX][96];
	unsigned int nr = points_of(args, names), failed = 0;

	for (unsigned int i = 0; i < nr && !test_failed; i++) {
		unsigned int n = 1;

		setenv("FAULTBLK_FAIL_POINT", names[i], 1);
		for (; run_once(args, n, false) && !test_failed; failed++)
			n = is_soak() ? n + 1 : 4 * n;
		unsetenv("FAULTBLK_FAIL_POINT");
		if (n == 1)
			FAIL("%s does not fail", names[i]);
	}
	printf("    %u points of %u names\n", failed, nr);
	EXPECT(nr > 5);
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
	/* Each takes a server, which is started and killed. */
	const unsigned int step = is_soak() ? 1 : 2;
	unsigned int nth = 1;

	while (gc_once(nth) && !test_failed && nth < POINTS_MAX)
		nth += step;
	printf("    %u points\n", (nth - 1) / step);
	EXPECT(nth > 10 && nth < POINTS_MAX);
}

static void a_crash_test_is_done_or_says_why(void)
{
	static const char *const args[] = { "crashtest",  "--size",  "8M",   "--workload",
					    "true",       "--check", "true", "--",
					    "--strategy", "new",     NULL };
	/* The rest of its points is of run and explore. */
	const unsigned int step = is_soak() ? 3 : 12;
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
	{ "rules.put", "{\"rule\":\"c range=1M..2M do=delay:p50=1ms,p99=2ms,lanes=2\"}", true,
	  true },
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
	{ "image.load", "{\"path\":\"/tmp/faultblk-sweep.img\"}", false, false },
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

/* It goes and comes back, or an error is named; and then it comes back all the same. */
static bool vanish_once(struct server *server, unsigned int nth)
{
	json_t *gone, *back;
	const char *name;

	arm(server, nth);
	gone = ask_again(server, "disk.crash", "{\"keep\":\"all\",\"vanish\":true}");
	back = ask_again(server, "disk.revive", "{}");
	arm(server, 0);
	name = take_failed();
	if (!json_object_get(back, "result")) {
		json_decref(back);
		back = ask_again(server, "disk.revive", "{}");
	}
	if (!json_object_get(back, "result") || count_devices() != 1)
		FAIL("with %s failing before: the disk does not come back", name ?: "nothing");
	json_decref(gone);
	json_decref(back);
	return name;
}

static void a_disk_that_vanishes_comes_back_or_it_says_why(void)
{
	struct server server = must_serve();
	unsigned int nth = 1;

	while (vanish_once(&server, nth) && !test_failed && nth < POINTS_MAX)
		nth += nth < 20 || is_soak() ? 1 : 5;
	printf("    up to point %u\n", nth - 1);
	EXPECT(nth > 5 && nth < POINTS_MAX);
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
	struct server server = must_serve();
	char own_log[64];

	snprintf(own_log, sizeof(own_log), "%s", log_path);
	snprintf(log_path, sizeof(log_path), "%s/client.log", dir);
	sweep_by_name(put);
	snprintf(log_path, sizeof(log_path), "%s", own_log);
	must_end(&server);
}

int main(int argc, char **argv)
{
	static const struct device_test tests[] = {
		DEVICE_TEST(a_question_is_answered_or_refused_and_the_server_serves_on),
		DEVICE_TEST(a_client_is_greeted_or_turned_away_and_the_next_one_served),
		DEVICE_TEST(a_disk_that_vanishes_comes_back_or_it_says_why),
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
