// SPDX-License-Identifier: MIT
/*
 * A command with a time limit, and nothing of it left afterwards.
 *
 * It is started by posix_spawn(): the program's memory is large, and its page tables are not
 * copied. It is where the program was started, though this may be a server apart (disk/apart.h). It
 * leads a session and process group of its own. When its first process ends, or has to, the group
 * is killed and reaped: we are a subreaper, so what lost its parent is our child. What left the
 * group (a daemon) is found among the orphans of our main thread by a variable of its environment
 * that names the worker, and killed as well.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/printable.h"
#include "tools/disk/apart.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DEATH_NS    (30 * NSEC_PER_SEC) /* for a killed process to be gone */
#define UNSURE_MAX  12                  /* looks at one without environment: 20 ms */
#define JOB_END_MS  1000                /* between two processes of a job that is ended */
#define LOOK_MS     4 /* until the machine is looked at first, then twice as long */
#define LOOK_MS_MAX 32

/* ------------------------------------------------------------------------------ output */

static void output_add(struct command_output *output, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++, output->total++) {
		if (output->total < sizeof(output->head))
			output->head[output->total] = bytes[i];
		else
			output->tail[(output->total - sizeof(output->head)) %
				     sizeof(output->tail)] = bytes[i];
	}
}

char *command_output_text(const struct command_output *output)
{
	uint64_t behind =
		output->total > sizeof(output->head) ? output->total - sizeof(output->head) : 0;
	uint64_t kept = behind < sizeof(output->tail) ? behind : sizeof(output->tail);
	size_t len = output->total - behind, left = EXPLORE_OUTPUT_MAX;
	char *text = output->total ? malloc(left + 1) : NULL;

	if (!text)
		return NULL;
	memcpy(text, output->head, len);
	if (behind > kept)
		len += (size_t)snprintf(text + len, left - len, "\n[%llu bytes left out]\n",
					(unsigned long long)(behind - kept));
	for (uint64_t i = behind - kept; i < behind; i++)
		text[len++] = output->tail[i % sizeof(output->tail)];
	text[len] = '\0';
	return text;
}

/* Until there is nothing now. */
static void output_drain(struct command_output *output, int fd)
{
	char bytes[4096];
	ssize_t got;

	while ((got = read(fd, bytes, sizeof(bytes))) > 0)
		output_add(output, bytes, (size_t)got);
}

/* However it is shown (cli/clean_output.h), it is not more than a pipe with room takes at once. */
#define SHOW_BYTES (PIPE_BUF / 6 - PRINTABLE_MAX)

/* A pipe that the command writes to. */
struct command_source {
	int fd;       /* our end */
	bool ended;   /* nobody can write to it any more */
	FILE *stream; /* where it is shown; NULL: it is kept */
	int to;       /* descriptor of that, */
	bool full;    /* and there is something for it: it is waited for */
};

static bool source_show(const struct command_source *s)
{
	char bytes[SHOW_BYTES];
	ssize_t got = read(s->fd, bytes, sizeof(bytes));

	if (got <= 0)
		return false;
	fwrite(bytes, 1, (size_t)got, s->stream);
	fflush(s->stream);
	return true;
}

/* Who does not read what is shown holds up the command, but neither its deadline nor a signal. */
static struct pollfd source_poll(const struct command_source *s)
{
	if (s->full)
		return (struct pollfd){ .fd = s->to, .events = POLLOUT };
	return (struct pollfd){ .fd = s->ended ? -1 : s->fd, .events = POLLIN };
}

static void source_ready(struct command_source *s, short revents, struct command_output *output)
{
	if (!revents)
		return;
	if (s->full) {
		source_show(s);
		s->full = false;
	} else if (!(revents & POLLIN)) {
		s->ended = true;
	} else if (s->stream) {
		s->full = true;
	} else {
		output_drain(output, s->fd);
	}
}

static void source_end(struct command_source *s, struct command_output *output)
{
	if (!s->stream && s->fd >= 0)
		output_drain(output, s->fd);
	while (s->stream && source_show(s))
		;
}

/* ------------------------------------------------------------------------------ starting */

static int start_attr(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int err = posix_spawnattr_init(attr);

	if (err)
		return err;
	sigemptyset(&none);
	sigfillset(&all);
	err = posix_spawnattr_setsigmask(attr, &none);
	if (!err)
		err = posix_spawnattr_setsigdefault(attr, &all);
	if (!err)
		err = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
							     POSIX_SPAWN_SETSIGDEF);
	if (err)
		posix_spawnattr_destroy(attr);
	return err;
}

/* What the command writes to. */
static int start_files(posix_spawn_file_actions_t *files, const int to[2])
{
	int err = posix_spawn_file_actions_init(files);

	if (err)
		return err;
	err = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
	for (int i = 0; i < 2 && !err; i++)
		err = posix_spawn_file_actions_adddup2(files, to[i], 1 + i);
	if (err)
		posix_spawn_file_actions_destroy(files);
	return err;
}

struct starting {
	const struct command_options *options;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	pid_t pid;
};

static int spawn(void *ctx)
{
	struct starting *s = ctx;
	char *argv[] = { "sh", "-c", (char *)s->options->text, NULL };

	return -fail_value(
		"tools/explore/command/spawn", EAGAIN,
		posix_spawn(&s->pid, "/bin/sh", &s->files, &s->attr, argv, s->options->env));
}

static int start(const struct command_options *options, const int to[2], struct diag *diag,
		 pid_t *ret_pid)
{
	struct starting starting = { .options = options };
	int err = start_attr(&starting.attr);

	if (err)
		return diag_set(diag, -err, "explore.command", "cannot prepare a command: %s",
				strerror(err));
	err = -start_files(&starting.files, to);
	if (!err) {
		err = apart_visit(spawn, &starting);
		posix_spawn_file_actions_destroy(&starting.files);
	}
	posix_spawnattr_destroy(&starting.attr);
	if (err)
		diag_set(diag, err, "explore.command", "cannot start /bin/sh -c '%.200s': %s",
			 options->text, strerror(-err));
	*ret_pid = starting.pid;
	return err;
}

/* ------------------------------------------------------------------------------ ending */

enum owned { NOT_OWNED, OWNED, UNSURE };

/* Is it @owner's? Unsure while it has no environment, which is so for a moment in an exec(). */
static enum owned has_owner(pid_t pid, const char *owner)
{
	char path[64], environ_text[1 << 17];
	_cleanup_close_ int fd = -1;
	size_t len = 0, owner_len = strlen(owner);
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NOT_OWNED;
	while (len < sizeof(environ_text) &&
	       (got = read(fd, environ_text + len, sizeof(environ_text) - len)) > 0)
		len += (size_t)got;
	for (char *at = environ_text; at && at < environ_text + len;) {
		if ((size_t)(environ_text + len - at) > owner_len &&
		    memcmp(at, owner, owner_len + 1) == 0)
			return OWNED;
		at = memchr(at, '\0', (size_t)(environ_text + len - at));
		at = at ? at + 1 : NULL;
	}
	return len ? NOT_OWNED : UNSURE;
}

/* The commands that run: whoever started one waits for it, and nobody else may. */
struct running {
	pid_t pid;
	struct running *next;
};
static struct running *all_running;
static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;

static void forget_running(struct running *running)
{
	struct running **at = &all_running;

	pthread_mutex_lock(&running_lock);
	while (*at != running)
		at = &(*at)->next;
	*at = running->next;
	pthread_mutex_unlock(&running_lock);
}

/* A child that has been left to us, or the @leader that we end: is it alive? Reaped if it is dead. */
static bool is_living_orphan(pid_t pid, pid_t leader)
{
	const struct running *running;
	bool lives;

	pthread_mutex_lock(&running_lock);
	for (running = all_running; running && running->pid != pid;)
		running = running->next;
	lives = (!running || pid == leader) && waitpid(pid, NULL, WNOHANG) == 0;
	pthread_mutex_unlock(&running_lock);
	return lives;
}

/* Kills those orphans that are @owner's, and its leader: OWNED if there were such, UNSURE if there may be. */
static enum owned kill_orphans(const char *owner, pid_t leader)
{
	_cleanup_fclose_ FILE *file = NULL;
	enum owned found = NOT_OWNED;
	char path[64];
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	if (!file)
		return NOT_OWNED; /* a kernel without it: daemons of a check live on */
	while (fscanf(file, "%d", &pid) == 1) {
		enum owned owned;

		if (!is_living_orphan(pid, leader))
			continue;
		owned = has_owner(pid, owner);
		if (owned == OWNED)
			kill(pid, SIGKILL);
		if (owned != NOT_OWNED && found != OWNED)
			found = owned;
	}
	return found;
}

/* Everything of the command is dead and reaped; @leader too, unless it was before. */
static int end_all(pid_t leader, const char *owner, struct diag *diag)
{
	uint64_t deadline_ns = clock_now_ns() + DEATH_NS;
	unsigned int wait_us = 50, nr_unsure = 0;

	kill(-leader, SIGKILL);
	for (;;) {
		pid_t pid = waitpid(-leader, NULL, WNOHANG);
		enum owned found;

		if (pid > 0)
			continue;
		found = pid < 0 && errno == ECHILD ? kill_orphans(owner, leader) : OWNED;
		if (found == NOT_OWNED || (found == UNSURE && ++nr_unsure == UNSURE_MAX))
			return 0;
		if (clock_now_ns() > deadline_ns)
			return diag_set(diag, -EBUSY, "explore.command",
					"a killed process of the check (group %d) does not end; it "
					"waits in the kernel",
					(int)leader);
		usleep(wait_us);
		if (wait_us < 5000)
			wait_us *= 2;
	}
}

/* ------------------------------------------------------------------------------ waiting */

static int poll_ms(uint64_t deadline_ns, unsigned int look_ms)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t left_ms;

	if (now_ns >= deadline_ns)
		return 0;
	left_ms = (deadline_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return left_ms > look_ms ? (int)look_ms : (int)left_ms;
}

/* 0: its first process has ended; 1: the time is over; -EINTR: stopped; or -errno. */
static int wait_for(const struct command_options *options, pid_t pid,
		    struct command_source sources[2], struct command_output *output,
		    struct host_seen *seen)
{
	_cleanup_close_ int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	uint64_t now_ns = clock_now_ns(), deadline_ns;
	unsigned int look_ms = options->host ? LOOK_MS : INT_MAX;
	struct pollfd fds[] = { { .fd = pid_fd, .events = POLLIN },
				{ .fd = options->stop_fd, .events = POLLIN },
				{ .fd = -1 },
				{ .fd = -1 } };

	if (pid_fd < 0)
		return -errno;
	if (__builtin_add_overflow(now_ns, options->timeout_ns, &deadline_ns))
		deadline_ns = UINT64_MAX;
	for (;;) {
		int nr;

		for (int i = 0; i < 2; i++)
			fds[2 + i] = source_poll(&sources[i]);
		nr = poll(fds, array_size(fds), poll_ms(deadline_ns, look_ms));
		if (nr < 0 && errno != EINTR)
			return -errno;
		host_look(options->host, seen);
		if (nr == 0 && look_ms < LOOK_MS_MAX)
			look_ms *= 2;
		for (int i = 0; i < 2; i++)
			source_ready(&sources[i], fds[2 + i].revents, output);
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			return -EINTR;
		if (clock_now_ns() >= deadline_ns)
			return 1;
	}
}

/* The same for it as for us, or only for it? Whoever ends a job (a terminal, a batch system) sends
 * the same signal to all processes of it, one after the other. */
static bool may_be_for_us(int status)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) - 128;

	return signal == SIGHUP || signal == SIGINT || signal == SIGTERM || signal == SIGKILL;
}

/* Its first process has ended, with @status: -EINTR if we are to end too, and that says nothing. */
static int was_stopped(const struct command_options *options, int status)
{
	struct pollfd stop = { .fd = options->stop_fd, .events = POLLIN };

	return status != 0 && poll(&stop, 1, may_be_for_us(status) ? JOB_END_MS : 0) > 0 ? -EINTR
											 : 0;
}

static void close_sources(struct command_source sources[2])
{
	for (int i = 0; i < 2; i++)
		if (sources[i].fd >= 0)
			close(sources[i].fd);
}

static void close_ends(const int to[2])
{
	for (int i = 0; i < 2; i++)
		if (to[i] >= 0 && (!i || to[i] != to[0]))
			close(to[i]);
}

/* Does all that is shown go to one place? It then comes through one pipe, in order. */
static bool is_one_place(void)
{
	struct stat out, err;

	return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
	       out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

/* @to: of standard output and standard error. */
static int make_pipes(bool show, struct command_source sources[2], int to[2], struct diag *diag)
{
	const int nr = show && !is_one_place() ? 2 : 1;

	for (int i = 0; i < 2; i++) {
		sources[i] = (struct command_source){ .fd = -1, .ended = true };
		to[i] = -1;
	}
	for (int i = 0; i < nr; i++) {
		int pipes[2], err;

		if (fail_errno("tools/explore/command/pipe", EMFILE,
			       pipe2(pipes, O_CLOEXEC | O_NONBLOCK)) < 0) {
			err = diag_set(diag, -errno, "explore.command",
				       "no pipe for the output of a check: %s", strerror(errno));
			close_sources(sources);
			close_ends(to);
			return err;
		}
		sources[i] = (struct command_source){ .fd = pipes[0],
						      .stream = !show ? NULL
								: i   ? stderr
								      : stdout,
						      .to = i ? STDERR_FILENO : STDOUT_FILENO };
		to[i] = pipes[1];
		fcntl(to[i], F_SETFL, 0); /* the command's end waits */
	}
	if (nr == 1)
		to[1] = to[0];
	return 0;
}

/* What it was killed for, or printed, tells of the machine. */
static const char *end_lack(const struct command_options *options, const struct host_seen *seen,
			    const struct command_end *end, const struct command_output *output)
{
	_cleanup_free_ char *text = options->host ? command_output_text(output) : NULL;

	return host_lack(options->host, seen, end->timed_out ? 0 : end->status, text);
}

int command_run(const struct command_options *options, struct command_output *output,
		struct command_end *ret_end, struct diag *diag)
{
	uint64_t start_ns = clock_now_ns();
	struct command_source sources[2];
	struct host_seen seen;
	struct running running;
	int to[2], rc, err;
	pid_t pid = -1;

	err = make_pipes(options->show, sources, to, diag);
	if (err)
		return err;
	host_begin(options->host, &seen);
	/* Before anybody can take it for an orphan. */
	pthread_mutex_lock(&running_lock);
	err = start(options, to, diag, &pid);
	if (!err) {
		running = (struct running){ pid, all_running };
		all_running = &running;
	}
	pthread_mutex_unlock(&running_lock);
	close_ends(to);
	if (err) {
		close_sources(sources);
		return err;
	}
	*ret_end = (struct command_end){ 0 };
	rc = wait_for(options, pid, sources, output, &seen);
	host_look(options->host, &seen);
	ret_end->time_ns = clock_now_ns() - start_ns;
	ret_end->timed_out = rc == 1;
	if (rc == 0)
		rc = waitpid(pid, &ret_end->status, 0) == pid
			     ? was_stopped(options, ret_end->status)
			     : -errno;
	err = end_all(pid, options->owner, diag);
	forget_running(&running);
	for (int i = 0; i < 2 && rc != -EINTR; i++) /* a signal waits for no reader */
		source_end(&sources[i], output);
	close_sources(sources);
	ret_end->lack = rc == 0 || rc == 1 ? end_lack(options, &seen, ret_end, output) : NULL;
	if (rc < 0 && rc != -EINTR && !err)
		err = diag_set(diag, rc, "explore.command", "cannot wait for a check: %s",
			       strerror(-rc));
	return err ? err : rc == -EINTR ? -EINTR : 0;
}
