// SPDX-License-Identifier: MIT
/*
 * The supervisor: a process that owns no disk itself.
 *
 *	supervisor --fork--> faultblk run --name data --json     one for each disk
 *	    |     --fork--> COMMAND
 *	    |---- control socket of each disk: steps are carried out here, one after the other
 *	    '---- a thread for each rule that is waited for ----> pipe: "rule 3 has 5 hits"
 *
 *	STARTING (disk by disk, then rules) --> time 0: COMMAND and the time line begin --> ENDING
 *
 * ENDING is entered by the end of COMMAND, `stop`, a signal, or anything that goes wrong, at any
 * time; it takes back what there is: COMMAND, disks, then what a killed server left behind.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/cli/rule_file.h"
#include "tools/cli/text_file.h"
#include "tools/cli/tool.h"
#include "tools/disk/env.h"
#include "tools/disk/recording_file.h"
#include "tools/scenario/disk.h"
#include "tools/serve/daemon.h"
#include "tools/serve/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define START_MS   60000
#define COMMAND_MS 5000  /* from SIGTERM to SIGKILL */
#define CLOSE_MS   5500  /* a server waits 5 s for whoever holds its disk */
#define FORCE_MS   30000 /* then it is told again, which removes the disk by force */
#define LATE_CHILD_MS                                                                              \
	1000 /* a lost connection is mostly a server whose end we have yet to hear of */
#define LINE_MAX_LEN 8192
#define WAITERS_MAX  (SCENARIO_DISKS_MAX * SCENARIO_WAITED_MAX)
#define SIGNAL_EXIT  128

struct supervisor;

struct waiter {
	struct supervisor *c;
	pthread_t thread;
	unsigned int disk;
	const char *rule;
};

struct hit_report {
	unsigned int waiter;
	bool failed;
	uint64_t hits;
};

struct supervisor {
	const struct scenario_run_options *options;
	const struct scenario *scenario;
	struct scenario_child children[SCENARIO_DISKS_MAX];
	struct timeline timeline;
	struct waiter waiters[WAITERS_MAX];
	unsigned int nr_waiters;
	_Atomic bool quit; /* read by the waiters */
	int reports[2];    /* written by the waiters */
	int signal_fd;
	uint64_t start_ns; /* 0: not yet */
	struct recording_file record;
	pid_t command; /* 0: not started, or ended */
	bool ending, failed, held, hurry;
	int code; /* of COMMAND, or of the signal that ended us */
};

/* ------------------------------------------------------------------------------ saying */

static uint64_t elapsed_ns(const struct supervisor *c)
{
	return c->start_ns ? clock_now_ns() - c->start_ns : 0;
}

/* One object a line; one call, so that lines of COMMAND do not fall into it. Steals @event. */
static void say_json(json_t *event)
{
	_cleanup_free_ char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;

	json_decref(event);
	if (text)
		fprintf(stderr, "%s\n", text);
}

static void say_disk(const struct supervisor *c, const struct scenario_child *child)
{
	const char *name = child->disk->name;

	if (c->options->json)
		say_json(json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "time_ns",
				   (json_int_t)elapsed_ns(c), "event", "disk", "disk", name,
				   "device", child->device, "socket", child->socket, "seed",
				   child->seed));
	else
		tool_msg("disk %s: %s, socket %s, seed %s", name, child->device, child->socket,
			 child->seed);
}

static void say_step(const struct supervisor *c, const struct scenario_step *step, uint64_t due_ns)
{
	static const char *const triggers[] = {
		[SCENARIO_AT] = "at",
		[SCENARIO_EVERY] = "every",
		[SCENARIO_WHEN] = "when",
	};
	_cleanup_free_ char *text = scenario_print_step(c->scenario, step);
	_cleanup_free_ char *disks = scenario_disk_names(c->scenario, step->disks);
	bool on_disk = scenario_action_has_disk(step->action);
	const char *said = !on_disk && step->text ? step->text : text;
	uint64_t now_ns = elapsed_ns(c);

	if (c->options->json)
		say_json(json_pack("{s:I, s:s, s:i, s:s, s:s, s:s*, s:s*, s:I}", "time_ns",
				   (json_int_t)now_ns, "event", "step", "line", (int)step->line,
				   "trigger", triggers[step->trigger], "action",
				   scenario_action_name(step->action), "disk",
				   on_disk ? disks : NULL, "text", said, "due_ns",
				   (json_int_t)due_ns));
	else
		tool_msg("%.3fs  %s", (double)now_ns / NSEC_PER_SEC, said);
}

static int exit_code_of_ours(const struct supervisor *c)
{
	return c->options->command ? EXIT_OURS : EXIT_FAILED;
}

static void fail(struct supervisor *c)
{
	c->failed = c->ending = true;
}

/* ------------------------------------------------------------------------------ children */

static void say_ended(const struct scenario_child *child, int status)
{
	const char *what = child->up ? "ended unexpectedly" : "could not be made";

	if (WIFSIGNALED(status))
		tool_msg("disk '%s' %s: its server was killed by signal %d (%s)", child->disk->name,
			 what, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		tool_msg("disk '%s' %s: its server ended with status %d", child->disk->name, what,
			 WEXITSTATUS(status));
}

static void reap(struct supervisor *c)
{
	int status;

	if (c->command && waitpid(c->command, &status, WNOHANG) == c->command) {
		c->command = 0;
		c->code = WIFEXITED(status) ? WEXITSTATUS(status) : SIGNAL_EXIT + WTERMSIG(status);
		c->ending = true;
	}
	for (unsigned int i = 0; i < c->scenario->nr_disks; i++) {
		struct scenario_child *child = &c->children[i];

		if (!scenario_child_reap(child, &status))
			continue;
		if (!c->ending || child->killed) {
			say_ended(child, status);
			fail(c);
		}
	}
}

/* As `faultblk run` has it: what the terminal sends reaches COMMAND by itself. */
static void handle_signal(struct supervisor *c, const struct signalfd_siginfo *info)
{
	if (c->ending) {
		c->hurry = true;
	} else if (c->command) {
		if (info->ssi_code != SI_KERNEL)
			kill(c->command, (int)info->ssi_signo);
	} else {
		c->ending = true;
		if (c->options->command)
			c->code = SIGNAL_EXIT + (int)info->ssi_signo;
	}
}

static void handle_signals(struct supervisor *c)
{
	struct signalfd_siginfo info;

	while (read(c->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(c);
		else
			handle_signal(c, &info);
	}
}

/* Wait for signals, and for @fd (may be -1) to be readable: true. */
static bool wait_for(struct supervisor *c, int fd, uint64_t until_ns)
{
	struct pollfd fds[2] = { { .fd = c->signal_fd, .events = POLLIN },
				 { .fd = fd, .events = POLLIN } };
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	struct timespec left = { .tv_sec = (time_t)(left_ns / NSEC_PER_SEC),
				 .tv_nsec = (long)(left_ns % NSEC_PER_SEC) };

	if (ppoll(fds, 2, until_ns == UINT64_MAX ? NULL : &left, NULL) <= 0)
		return false;
	if (fds[0].revents)
		handle_signals(c);
	return fds[1].revents != 0;
}

/* ------------------------------------------------------------------------------ starting */

/* Read the line in which the server says that its disk is there. */
static int wait_up(struct supervisor *c, struct scenario_child *child, int fd)
{
	uint64_t end_ns = clock_now_ns() + START_MS * NSEC_PER_MSEC;
	char line[LINE_MAX_LEN] = "";
	size_t len = 0;

	while (!c->ending && !memchr(line, '\n', len)) {
		ssize_t n;

		if (clock_now_ns() >= end_ns) {
			tool_msg("disk '%s' did not appear within %d s", child->disk->name,
				 START_MS / 1000);
			return -ETIMEDOUT;
		}
		if (!wait_for(c, fd, end_ns))
			continue;
		n = read(fd, line + len, sizeof(line) - 1 - len);
		if (n <= 0) {
			/* It has ended: SIGCHLD says how. */
			while (!c->ending && clock_now_ns() < end_ns)
				wait_for(c, -1, end_ns);
			return -ECHILD;
		}
		len += (size_t)n;
	}
	return c->ending ? -ECANCELED : scenario_child_up(child, line);
}

static int start_disk(struct supervisor *c, unsigned int index)
{
	struct scenario_child *child = &c->children[index];
	_cleanup_close_ int fd = -1;
	struct diag diag = { 0 };
	int err;

	child->disk = &c->scenario->disks[index];
	err = scenario_child_start(child, c->options->seed, c->record.recorder, &fd);
	if (err) {
		tool_msg("disk '%s': cannot start its server: %s", child->disk->name,
			 strerror(-err));
		return err;
	}
	err = wait_up(c, child, fd);
	if (err == -EPROTO)
		tool_msg("disk '%s': unexpected output of its server", child->disk->name);
	if (err)
		return err;
	err = scenario_child_arm(child, &diag, NULL);
	if (err)
		tool_diag(&diag);
	else
		say_disk(c, child);
	return err;
}

static int set_one(const char *what, const char *disk, const char *value)
{
	char name[RUNTIME_NAME_MAX + 32], suffix[RUNTIME_NAME_MAX + 1] = "";

	if (disk)
		disk_env_name(disk, suffix, sizeof(suffix));
	snprintf(name, sizeof(name), "FAULTBLK_%s%s%s", what, disk ? "_" : "", suffix);
	return setenv(name, value, 1) < 0 ? -errno : 0;
}

static int set_environment(const struct supervisor *c)
{
	int err = set_one("DEV", NULL, c->children[0].device);

	if (!err)
		err = set_one("SOCKET", NULL, c->children[0].socket);
	if (!err)
		err = set_one("NAME", NULL, c->children[0].disk->name);
	for (unsigned int i = 0; i < c->scenario->nr_disks && !err; i++) {
		const struct scenario_child *child = &c->children[i];

		err = set_one("DEV", child->disk->name, child->device);
		if (!err)
			err = set_one("SOCKET", child->disk->name, child->socket);
	}
	return err;
}

/* Before any thread exists. */
static int start_command(struct supervisor *c)
{
	char **command = c->options->command;
	pid_t parent = getpid(), pid;
	int err;

	if (!command)
		return 0;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		c->command = pid;
		return 0;
	}
	tool_become_command(parent);
	execvp(command[0], command);
	err = errno;
	tool_msg("cannot run '%s': %s%s", command[0], strerror(err),
		 tool_quoted_hint(command, err));
	_exit(err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* ------------------------------------------------------------------------------ waiters */

/* The smallest number of hits above @above that a step waits for; 0: none. */
static uint64_t next_hits(const struct waiter *w, uint64_t above)
{
	const struct scenario *s = w->c->scenario;
	uint64_t next = 0;

	for (unsigned int i = 0; i < s->nr_steps; i++) {
		const struct scenario_step *step = &s->steps[i];

		if (step->trigger == SCENARIO_WHEN && step->when_disk == w->disk &&
		    strcmp(step->when_rule, w->rule) == 0 && step->hits > above &&
		    (!next || step->hits < next))
			next = step->hits;
	}
	return next;
}

static void tell(const struct waiter *w, uint64_t hits, bool failed)
{
	const struct hit_report report = { .waiter = (unsigned int)(w - w->c->waiters),
					   .hits = hits,
					   .failed = failed };

	/* Less than PIPE_BUF, so it goes in whole; the pipe has room for one from each step. */
	if (write(w->c->reports[1], &report, sizeof(report)) != (ssize_t)sizeof(report))
		tool_msg("cannot report that rule '%s' was hit: %m", w->rule);
}

/* A thread. It ends by itself: all is seen, *quit, or the server is gone. */
static void *wait_for_hits(void *arg)
{
	struct waiter *w = arg;
	const char *socket = w->c->children[w->disk].socket;
	struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	uint64_t hits = 0;
	int err = rpc_client_open_path(socket, &diag, &client);

	while (!err && (hits = next_hits(w, hits))) {
		err = scenario_wait_hits(client, w->rule, hits, &w->c->quit, &diag);
		if (!err)
			tell(w, hits, false);
	}
	/* Of a server that has ended its parent hears by other means. */
	if (err && err != -ECANCELED && err != -ECONNRESET && err != -ECONNREFUSED && !w->c->quit) {
		tool_diag(&diag);
		tell(w, 0, true);
	}
	rpc_client_free(client);
	return NULL;
}

static bool has_waiter(const struct supervisor *c, const struct scenario_step *step)
{
	for (unsigned int i = 0; i < c->nr_waiters; i++)
		if (c->waiters[i].disk == step->when_disk &&
		    strcmp(c->waiters[i].rule, step->when_rule) == 0)
			return true;
	return false;
}

static int start_waiters(struct supervisor *c)
{
	for (unsigned int i = 0; i < c->scenario->nr_steps; i++) {
		const struct scenario_step *step = &c->scenario->steps[i];
		struct waiter *w = &c->waiters[c->nr_waiters];
		int err;

		if (step->trigger != SCENARIO_WHEN || has_waiter(c, step))
			continue;
		*w = (struct waiter){ .c = c, .disk = step->when_disk, .rule = step->when_rule };
		err = pthread_create(&w->thread, NULL, wait_for_hits, w);
		if (err)
			return -err;
		c->nr_waiters++;
	}
	return 0;
}

static void read_reports(struct supervisor *c)
{
	struct hit_report report;

	while (read(c->reports[0], &report, sizeof(report)) == (ssize_t)sizeof(report)) {
		const struct waiter *w = &c->waiters[report.waiter];

		if (report.failed)
			fail(c);
		else
			timeline_hits(&c->timeline, w->disk, w->rule, report.hits, elapsed_ns(c));
	}
}

/* ------------------------------------------------------------------------------ the time line */

/* A server that ends takes its connection along: wait for its end, which says more. */
static void step_failed(struct supervisor *c, const struct scenario_step *step, int err,
			const struct diag *diag)
{
	uint64_t end_ns = clock_now_ns() + LATE_CHILD_MS * NSEC_PER_MSEC;
	_cleanup_free_ char *text = scenario_print_step(c->scenario, step);

	while (err == -ECONNRESET && !c->ending && clock_now_ns() < end_ns)
		wait_for(c, -1, end_ns);
	if (c->failed)
		return;
	tool_msg("line %u: '%s' failed:", step->line, text);
	tool_diag(diag);
	fail(c);
}

/* A mark is in the recording of all, whichever disk's server puts it there. */
static int act(struct supervisor *c, const struct scenario_step *step, struct diag *diag)
{
	int err = 0;

	if (step->action == SCENARIO_CRASH)
		return scenario_children_crash(c->children, step, diag);
	if (!scenario_action_has_disk(step->action))
		return scenario_child_step(&c->children[0], step, diag, NULL);
	for (unsigned int i = 0; i < c->scenario->nr_disks && !err; i++)
		if (step->disks >> i & 1)
			err = scenario_child_step(&c->children[i], step, diag, NULL);
	return err;
}

static void carry_out(struct supervisor *c, const struct scenario_step *step, uint64_t due_ns)
{
	struct diag diag = { 0 };
	int err = 0;

	if (scenario_action_method(step->action))
		err = act(c, step, &diag);
	if (err) {
		step_failed(c, step, err, &diag);
		return;
	}
	say_step(c, step, due_ns);
	timeline_done(&c->timeline, step);
	if (step->action == SCENARIO_STOP)
		c->ending = true;
}

static void play(struct supervisor *c)
{
	while (!c->ending) {
		uint64_t due_ns = 0, now_ns = elapsed_ns(c);
		const struct scenario_step *step = timeline_next(&c->timeline, &due_ns);

		if (step && due_ns <= now_ns)
			carry_out(c, step, due_ns);
		if (step && due_ns <= now_ns)
			wait_for(c, -1, 0); /* signals are looked at between any two steps */
		else if (wait_for(c, c->reports[0], step ? c->start_ns + due_ns : UINT64_MAX))
			read_reports(c);
	}
}

/* ------------------------------------------------------------------------------ ending */

static void end_command(struct supervisor *c)
{
	uint64_t end_ns = clock_now_ns() + COMMAND_MS * NSEC_PER_MSEC;

	if (!c->command)
		return;
	kill(c->command, SIGTERM);
	while (c->command && !c->hurry && clock_now_ns() < end_ns)
		wait_for(c, -1, end_ns);
	if (!c->command)
		return;
	tool_msg("COMMAND does not end; killing it");
	kill(c->command, SIGKILL);
	while (c->command)
		wait_for(c, -1, UINT64_MAX);
}

static void signal_children(const struct supervisor *c, int signal)
{
	for (unsigned int i = 0; i < c->scenario->nr_disks; i++)
		if (c->children[i].pid)
			kill(c->children[i].pid, signal);
}

static unsigned int count_children(const struct supervisor *c)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < c->scenario->nr_disks; i++)
		nr += c->children[i].pid != 0;
	return nr;
}

/* Wait for all servers to end, or for @ms, or (if @impatient) for a signal. Are any left? */
static bool await_children(struct supervisor *c, uint64_t ms, bool impatient)
{
	uint64_t end_ns = clock_now_ns() + ms * NSEC_PER_MSEC;

	while (count_children(c) && clock_now_ns() < end_ns && !(impatient && c->hurry))
		wait_for(c, -1, end_ns);
	return count_children(c) != 0;
}

static void log_gc(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx;
	if (level <= UBLK_LOG_INFO)
		tool_msg("%s", message);
}

/* What servers that were killed could not take back themselves. */
static void sweep(struct supervisor *c)
{
	bool any = false;

	for (unsigned int i = 0; i < c->scenario->nr_disks; i++) {
		if (!c->children[i].killed)
			continue;
		any = true;
		if (c->children[i].up)
			runtime_remove_stale(c->children[i].socket);
	}
	if (any && ublk_gc(log_gc, NULL) < 0)
		tool_msg("cannot delete the device of a killed server; try: faultblk gc");
}

static void end_disks(struct supervisor *c)
{
	signal_children(c, SIGTERM);
	if (await_children(c, CLOSE_MS, true)) {
		c->held = true;
		for (unsigned int i = 0; i < c->scenario->nr_disks; i++)
			if (c->children[i].pid)
				tool_msg("disk %s is still there; removing it by force",
					 c->scenario->disks[i].name);
		signal_children(c, SIGTERM);
	}
	if (await_children(c, FORCE_MS, false)) {
		tool_msg("%u servers do not end; killing them", count_children(c));
		c->failed = true;
		signal_children(c, SIGKILL);
		await_children(c, FORCE_MS, false);
	}
	sweep(c);
}

static void end_all(struct supervisor *c)
{
	c->ending = true;
	c->quit = true;
	end_command(c);
	end_disks(c);
	for (unsigned int i = 0; i < c->nr_waiters; i++)
		pthread_join(c->waiters[i].thread, NULL);
	for (unsigned int i = 0; i < c->scenario->nr_disks; i++)
		rpc_client_free(c->children[i].client);
	timeline_free(&c->timeline);
}

/* ------------------------------------------------------------------------------ recording */

/* The file of all disks, whose servers join it. Returns an enum tool_exit. */
static int start_recording(struct supervisor *c)
{
	const struct scenario_recording *recording = &c->scenario->recording;
	const struct recorder_options options = {
		.path = recording->path,
		.data = recording->data,
		.full = recording->block ? RECORDER_BLOCK : RECORDER_STOP,
		.limit_bytes = recording->has_limit ? recording->limit_bytes
			       : recording->data    ? RECORDING_DATA_LIMIT
						    : 0,
	};
	struct diag diag = { 0 };
	int err = recording->path ? recording_file_open(&options, c->options->force, NULL, &diag,
							&c->record)
				  : 0;

	if (!err)
		return EXIT_OK;
	tool_diag(&diag);
	return err == -EEXIST || err == -EINVAL ? EXIT_USAGE : exit_code_of_ours(c);
}

static void say_recording(const struct supervisor *c, const struct recorder_status *status)
{
	const char *path = c->scenario->recording.path;

	if (c->options->json)
		say_json(json_pack("{s:I, s:s, s:s, s:I, s:I, s:I, s:b}", "time_ns",
				   (json_int_t)elapsed_ns(c), "event", "recorded", "file", path,
				   "requests", (json_int_t)status->nr_requests, "marks",
				   (json_int_t)status->nr_marks, "bytes",
				   (json_int_t)status->file_bytes, "closed", status->closed));
	else
		tool_msg("recorded %llu requests and %llu marks in %s, %llu bytes%s",
			 (unsigned long long)status->nr_requests,
			 (unsigned long long)status->nr_marks, path,
			 (unsigned long long)status->file_bytes,
			 status->closed ? ""
					: "; it ends early, as a server was killed or could "
					  "not write");
}

/* All servers have ended. */
static void end_recording(struct supervisor *c)
{
	struct recorder_status status;

	if (recording_file_end(&c->record, &status))
		say_recording(c, &status);
}

/* ------------------------------------------------------------------------------ all of it */

static int prepare(struct supervisor *c)
{
	static const int handled[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGCHLD,
				       SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU };
	sigset_t set;

	serve_block_signals();
	sigemptyset(&set);
	for (size_t i = 0; i < array_size(handled); i++)
		sigaddset(&set, handled[i]);
	c->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (c->signal_fd < 0 || pipe2(c->reports, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	return timeline_init(&c->timeline, c->scenario, c->options->speed);
}

static int begin(struct supervisor *c)
{
	int err = set_environment(c);
	struct diag diag = { 0 };

	if (!err) {
		err = recording_file_keep(&c->record, &diag);
		if (err)
			tool_diag(&diag);
	}
	if (err)
		return err;
	notify_manager("READY=1");
	c->start_ns = clock_now_ns();
	err = start_command(c);
	return err ? err : start_waiters(c);
}

static int exit_code(const struct supervisor *c)
{
	int ours = exit_code_of_ours(c);

	if (c->failed)
		return ours;
	return c->held && c->code == EXIT_OK ? ours : c->code;
}

int scenario_run(const struct scenario_run_options *options)
{
	struct supervisor *c = calloc(1, sizeof(*c));
	int err, code;

	if (!c) {
		tool_msg("no memory to run a scenario");
		return options->command ? EXIT_OURS : EXIT_FAILED;
	}
	c->options = options;
	c->scenario = options->scenario;
	c->signal_fd = c->reports[0] = c->reports[1] = -1;
	code = start_recording(c);
	if (code) {
		free(c);
		return code;
	}
	err = prepare(c);
	if (err)
		tool_msg("cannot run a scenario: %s", strerror(-err));
	for (unsigned int i = 0; i < c->scenario->nr_disks && !err && !c->ending; i++) {
		err = start_disk(c, i);
		if (err && err != -ECANCELED)
			fail(c);
	}
	if (!err && !c->ending) {
		err = begin(c);
		if (err)
			tool_msg("cannot begin the scenario: %s", strerror(-err));
	}
	if (err && err != -ECANCELED)
		c->failed = true;
	if (!err)
		play(c);
	end_all(c);
	end_recording(c);
	for (int i = 0; i < 2; i++)
		cleanup_close(&c->reports[i]);
	cleanup_close(&c->signal_fd);
	code = exit_code(c);
	free(c);
	return code;
}

/* ------------------------------------------------------------------------------ files */

int scenario_load(const char *path, struct scenario **ret_scenario)
{
	_cleanup_free_ char *text = NULL;
	struct diag diag = { 0 };
	size_t len;
	int code = text_file_read(path, SCENARIO_FILE_MAX, &text, &len);

	if (code)
		return code;
	if (!scenario_parse(text, len, &diag, ret_scenario))
		return EXIT_OK;
	rule_complain(text_file_name(path), text, &diag);
	return EXIT_USAGE;
}
