/* SPDX-License-Identifier: MIT */
/*
 * The first process of the guest: it makes the host's root writable for as long as the machine
 * lives, runs one command and carries its input and output. Static, and no shell anywhere: under
 * emulation every fork and every library that is loaded costs a tenth of a second.
 *
 *	/	overlay: tmpfs over the host's root, which virtiofs gives read-only
 *	work	the host's working directory, a second virtiofs, writable, mounted in its place
 *
 * COMMAND gets pipes (or a terminal) and not the ports themselves: a port can be opened once only,
 * and `echo >/dev/stderr` opens it again. The ports are written without blocking, because a
 * blocking write spins in the kernel until the host has taken the bytes.
 *
 * It ends by telling the host the status and the number of bytes; the host ends the machine.
 */
#include "tools/vm/clock.h"
#include "tools/vm/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES    32768
#define PORT_WAIT_MS   20000
#define CLOCK_AHEAD_NS 5000000u
#define COMPARE_NS     1000000000u /* of the host's: so long the clocks are compared at most */
#define COMPARE_MAX    64
#define COMPARE_US     20000
#define array_size(a)  (sizeof(a) / sizeof((a)[0]))

/* One direction of one stream. @in or @out is -1 once that side is gone. */
struct channel {
	int in, out;
	bool discard; /* nobody reads @out any more: take the bytes and drop them */
	size_t start, end;
	uint64_t in_bytes, out_bytes;
	char buf[CHUNK_BYTES];
};

static struct vm_job job;
static char **job_args, **job_env;
static int control = -1, port_stdio = -1, port_stderr = -1;
static struct channel chan_in, chan_out, chan_err;
static uint64_t stdin_end = UINT64_MAX; /* bytes after which standard input ends */
static pid_t child = -1;
static int child_status = -1;

/* To the host's standard error once there is a port, to the kernel's console before. */
static void tell(const char *text)
{
	char line[704];
	int len = snprintf(line, sizeof(line), "faultblk: vm: guest: %s\n", text);
	int fd = port_stderr >= 0 ? port_stderr : 2;

	if (len > (int)sizeof(line) - 1)
		len = sizeof(line) - 1;
	if (write(fd, line, (size_t)len) == len && fd == port_stderr)
		chan_err.out_bytes += (uint64_t)len;
}

/* What failed, and why. */
static void say(const char *text)
{
	char line[640];

	snprintf(line, sizeof(line), "%s: %s", text, strerror(errno));
	tell(line);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(text);
	usleep(200000);      /* the port's buffers are on their way */
	reboot(RB_AUTOBOOT); /* QEMU is told to end instead */
	for (;;)
		pause();
}

#include "tools/vm/init_mounts.h"

/* ---- ports ---- */

static int find_port(enum vm_port port, int flags)
{
	char want[16];
	DIR *dev = opendir("/dev");
	struct dirent *e;
	int fd = -1;

	if (!dev)
		return -1;
	snprintf(want, sizeof(want), "p%d", (int)port);
	while (fd < 0 && (e = readdir(dev))) {
		size_t len = strlen(e->d_name), tail = strlen(want);

		if (!strncmp(e->d_name, "vport", 5) && len > tail &&
		    !strcmp(e->d_name + len - tail, want))
			fd = openat(dirfd(dev), e->d_name, O_RDWR | O_CLOEXEC | flags);
	}
	closedir(dev);
	return fd;
}

/* The kernel learns of its ports from messages: they may come after the first process. */
static int open_port(enum vm_port port, int flags)
{
	for (int waited_ms = 0; waited_ms < PORT_WAIT_MS; waited_ms++) {
		int fd = find_port(port, flags);

		if (fd >= 0)
			return fd;
		usleep(1000);
	}
	errno = ENODEV;
	die("port %d", (int)port);
}

static void read_all(int fd, void *buf, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, (char *)buf + got, len - got);

		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || (errno != EINTR && errno != EAGAIN))
			die("read the job");
	}
}

static void send_msg(const struct vm_msg *msg)
{
	if (write(control, msg, sizeof(*msg)) != sizeof(*msg))
		say("tell the host");
}

static char **string_table(uint32_t nr, char **at, const char *end)
{
	char **table = calloc(nr + 1, sizeof(*table));

	if (!table)
		die("job of %u words", nr);
	for (uint32_t i = 0; i < nr && *at < end; i++) {
		table[i] = *at;
		*at += strlen(*at) + 1;
	}
	return table;
}

static void read_job(void)
{
	char *strings, *at;

	read_all(control, &job, sizeof(job));
	if (job.magic != VM_JOB_MAGIC || job.strings_bytes > VM_JOB_MAX_BYTES) {
		errno = EPROTO;
		die("job");
	}
	strings = at = calloc(1, (size_t)job.strings_bytes + 1);
	if (!strings)
		die("job of %u bytes", job.strings_bytes);
	read_all(control, strings, job.strings_bytes);
	job_args = string_table(job.nr_args, &at, strings + job.strings_bytes);
	job_env = string_table(job.nr_env, &at, strings + job.strings_bytes);
}

/* ---- the clock ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The host's clock, read now; @ret_wall_ns: its time of day. */
static struct clock_reading ask_time(uint64_t *ret_wall_ns)
{
	const struct vm_msg ask = { .type = VM_MSG_ASK_TIME };
	struct clock_reading reading = { .asked_ns = now_ns() };
	struct vm_msg msg = { .type = 0 };

	send_msg(&ask);
	while (msg.type != VM_MSG_TIME)
		read_all(control, &msg, sizeof(msg));
	reading.answered_ns = now_ns();
	reading.host_ns = msg.err_bytes;
	*ret_wall_ns = msg.bytes;
	return reading;
}

/*
 * Time-outs, delays and windows in the machine are worth what its clock is. What has been done since
 * @first is mostly long enough to tell; otherwise some more time is spent.
 */
static void compare_clocks(const struct clock_reading *first, struct clock_reading last)
{
	uint64_t percent = 0, wall_ns;
	enum clock_verdict verdict = clock_compare(first, &last, &percent);
	char text[256];

	for (int i = 0; verdict == CLOCK_UNKNOWN && i < COMPARE_MAX &&
			last.host_ns - first->host_ns < COMPARE_NS;
	     i++) {
		usleep(COMPARE_US);
		last = ask_time(&wall_ns);
		verdict = clock_compare(first, &last, &percent);
	}
	if (verdict != CLOCK_WRONG)
		return;
	snprintf(text, sizeof(text),
		 "the machine's clock runs at %llu%% of the host's speed: its delays, time-outs "
		 "and windows are wrong by as much; restart the machine",
		 (unsigned long long)percent);
	tell(text);
}

/*
 * The machine's clock chip counts whole seconds: a file that the host has just written would lie
 * in the future, and make warns of that. So ask; ours may be ahead a little, never behind.
 */
static void set_clock(const struct clock_reading *first)
{
	struct clock_reading last;
	struct timespec ts;
	uint64_t wall_ns;

	if (!(job.flags & VM_JOB_SET_CLOCK))
		return;
	last = ask_time(&wall_ns);
	wall_ns += CLOCK_AHEAD_NS;
	ts.tv_sec = (time_t)(wall_ns / 1000000000u);
	ts.tv_nsec = (long)(wall_ns % 1000000000u);
	clock_settime(CLOCK_REALTIME, &ts);
	compare_clocks(first, last);
}

/* ---- the command ---- */

static void exec_command(void)
{
	sigset_t none;
	bool blanks;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (i != RLIMIT_NPROC)
			setrlimit(i, &job.limits[i]);
	umask(job.umask);
	environ = job_env;
	execvp(job_args[0], job_args);
	err = errno;
	blanks = err == ENOENT && !job_args[1] && strpbrk(job_args[0], " \t");
	dprintf(2, "faultblk: vm: cannot run '%s': %s%s\n", job_args[0], strerror(err),
		blanks ? "; COMMAND is one word with blanks in it: remove its quotes, or use sh -c"
		       : "");
	_exit(err == ENOENT ? 127 : 126);
}

static void make_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC))
		die("pipe");
}

static void set_nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Standard error has a stream of its own only where the host's goes elsewhere. */
static int stderr_for_child(int out)
{
	int ends[2];

	if (!(job.flags & VM_JOB_STDERR_SPLIT))
		return out;
	make_pipe(ends);
	set_nonblock(ends[0]);
	chan_err.in = ends[0];
	chan_err.out = port_stderr;
	return ends[1];
}

static void close_child_ends(const int fds[3])
{
	for (int i = 0; i < 3; i++) {
		bool again = false;

		for (int k = 0; k < i; k++)
			again |= fds[k] == fds[i];
		if (!again)
			close(fds[i]);
	}
}

static void open_terminal(int ret_fds[3])
{
	struct winsize size = { .ws_row = job.rows, .ws_col = job.columns };
	int master, slave;

	if (openpty(&master, &slave, NULL, NULL, &size))
		die("open a terminal");
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	set_nonblock(master);
	chan_in.in = port_stdio;
	chan_in.out = dup(master);
	fcntl(chan_in.out, F_SETFD, FD_CLOEXEC);
	chan_out.in = master;
	chan_out.out = port_stdio;
	ret_fds[0] = ret_fds[1] = slave;
}

static void open_pipes(int ret_fds[3])
{
	int ends[2];

	if (job.flags & VM_JOB_STDIN_NULL) {
		ret_fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	} else {
		make_pipe(ends);
		set_nonblock(ends[1]);
		chan_in.in = port_stdio;
		chan_in.out = ends[1];
		ret_fds[0] = ends[0];
	}
	make_pipe(ends);
	set_nonblock(ends[0]);
	chan_out.in = ends[0];
	chan_out.out = port_stdio;
	ret_fds[1] = ends[1];
}

static void start_command(void)
{
	int fds[3];

	chan_in.in = chan_in.out = chan_out.in = chan_out.out = chan_err.in = chan_err.out = -1;
	if (job.flags & VM_JOB_TTY)
		open_terminal(fds);
	else
		open_pipes(fds);
	fds[2] = stderr_for_child(fds[1]);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		setsid();
		for (int i = 0; i < 3; i++)
			dup2(fds[i], i);
		if (job.flags & VM_JOB_TTY)
			ioctl(0, TIOCSCTTY, 0);
		exec_command();
	}
	close_child_ends(fds);
}

/* ---- the heartbeat ---- */

/* How long a wait may last. */
static int beat_ms(void)
{
	return job.flags & VM_JOB_BEAT ? VM_BEAT_MS : -1;
}

/* After each wait: the host ends a machine of which it hears nothing for long. */
static void beat(void)
{
	static const struct vm_msg msg = { .type = VM_MSG_BEAT };
	static uint64_t last_ns;

	if (!(job.flags & VM_JOB_BEAT) || now_ns() - last_ns < VM_BEAT_MS * 1000000ull)
		return;
	last_ns = now_ns();
	send_msg(&msg);
}

/* ---- carrying bytes ---- */

static bool channel_wants_in(const struct channel *c)
{
	return c->in >= 0 && c->start == c->end;
}

static bool channel_wants_out(const struct channel *c)
{
	return c->out >= 0 && c->start < c->end;
}

/* One read and as many writes as go. Returns false at the end of the input. */
static bool channel_fill(struct channel *c)
{
	ssize_t n = read(c->in, c->buf, sizeof(c->buf));

	if (n > 0) {
		c->start = 0;
		c->end = (size_t)n;
		c->in_bytes += (uint64_t)n;
		return true;
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void channel_drain(struct channel *c)
{
	ssize_t n;

	if (c->discard) {
		c->start = c->end;
		return;
	}
	n = write(c->out, c->buf + c->start, c->end - c->start);
	if (n > 0) {
		c->start += (size_t)n;
		c->out_bytes += (uint64_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		c->discard = true;
	}
}

static void close_stdin_at_end(void)
{
	if (chan_in.out < 0 || chan_in.in_bytes < stdin_end || chan_in.start < chan_in.end)
		return;
	if (!(job.flags & VM_JOB_TTY))
		close(chan_in.out);
	chan_in.out = chan_in.in = -1;
}

static void set_window(uint32_t value)
{
	struct winsize size = { .ws_row = value >> 16, .ws_col = value & 0xffff };

	if (job.flags & VM_JOB_TTY)
		ioctl(chan_out.in, TIOCSWINSZ, &size);
}

static void on_control(void)
{
	struct vm_msg msg;
	ssize_t n = read(control, &msg, sizeof(msg));

	if (n <= 0)
		return;
	if ((size_t)n < sizeof(msg))
		read_all(control, (char *)&msg + n, sizeof(msg) - (size_t)n);
	switch ((enum vm_msg_type)msg.type) {
	case VM_MSG_SIGNAL:
		kill(-child, (int)msg.value);
		break;
	case VM_MSG_WINDOW:
		set_window(msg.value);
		break;
	case VM_MSG_STDIN_END:
		stdin_end = msg.bytes;
		break;
	case VM_MSG_TIME:
	case VM_MSG_ASK_TIME:
	case VM_MSG_STARTED:
	case VM_MSG_BEAT:
	case VM_MSG_DONE:
		break;
	}
}

static void reap(int sigfd)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(sigfd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == child)
			child_status =
				WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void wait_events(int sigfd)
{
	struct channel *chans[] = { &chan_in, &chan_out, &chan_err };
	struct pollfd p[8] = { { control, POLLIN, 0 }, { sigfd, POLLIN, 0 } };

	for (int i = 0; i < 3; i++) {
		struct channel *c = chans[i];

		p[2 + 2 * i] = (struct pollfd){ channel_wants_in(c) ? c->in : -1, POLLIN, 0 };
		p[3 + 2 * i] = (struct pollfd){ channel_wants_out(c) ? c->out : -1, POLLOUT, 0 };
	}
	if (poll(p, array_size(p), beat_ms()) < 0)
		return;
	beat();
	if (p[0].revents)
		on_control();
	for (int i = 0; i < 3; i++) {
		struct channel *c = chans[i];

		if (p[2 + 2 * i].revents && !channel_fill(c) && c != &chan_in)
			c->in = -1;
		if (p[3 + 2 * i].revents || channel_wants_out(c))
			channel_drain(c);
	}
	if (p[1].revents)
		reap(sigfd);
	close_stdin_at_end();
}

/* COMMAND is gone: what its pipes still hold goes out; who else holds them is not waited for. */
static void flush_channel(struct channel *c)
{
	while (c->out >= 0) {
		struct pollfd p = { c->out, POLLOUT, 0 };

		if (c->start < c->end) {
			poll(&p, 1, beat_ms());
			beat();
			channel_drain(c);
			continue;
		}
		if (c->in < 0 || !channel_fill(c) || c->start == c->end)
			return;
	}
}

/* It takes as long as the host's disk; the heart beats on. */
static void sync_work(int sigfd)
{
	struct pollfd p = { sigfd, POLLIN, 0 };
	struct signalfd_siginfo info;
	pid_t pid = fork();

	if (pid <= 0) {
		int work = open(job.work, O_RDONLY | O_CLOEXEC);

		if (work >= 0)
			syncfs(work);
		if (pid == 0)
			_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
		poll(&p, 1, beat_ms());
		while (read(sigfd, &info, sizeof(info)) > 0)
			;
		beat();
	}
}

static void finish(int sigfd)
{
	struct vm_msg msg = { .type = VM_MSG_DONE, .value = (uint32_t)child_status };

	flush_channel(&chan_out);
	flush_channel(&chan_err);
	if (job.flags & VM_JOB_SHARE)
		sync_work(sigfd);
	msg.bytes = chan_out.out_bytes;
	msg.err_bytes = chan_err.out_bytes;
	send_msg(&msg);
	for (;;)
		pause(); /* the host ends the machine */
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void prepare(struct clock_reading *ret_first)
{
	uint64_t wall_ns;
	int modules;

	umask(0);
	if (mount("proc", "/proc", "proc", 0, NULL) ||
	    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
		die("mount /proc and /dev");
	open_console();
	control = open_port(VM_PORT_CONTROL, 0);
	port_stdio = open_port(VM_PORT_STDIO, O_NONBLOCK);
	port_stderr = open_port(VM_PORT_STDERR, O_NONBLOCK);
	read_job();
	if (job.flags & VM_JOB_SET_CLOCK)
		*ret_first = ask_time(&wall_ns);
	modules = open(job.modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (modules < 0)
		die("open %s", job.modules);
	enter_overlay(modules);
	mount_all(modules);
	bind_modules(modules);
	make_static_nodes(modules);
	load_ublk(modules);
	close(modules);
	write_modprobe_rules();
	network_up();
	(void)!sethostname("faultblk", 8);
	mount_work();
	start_udev();
}

int main(void)
{
	const struct vm_msg started = { .type = VM_MSG_STARTED };
	const char *runtime = NULL;
	struct clock_reading first = { .asked_ns = 0 };
	int sigfd = block_signals();

	prepare(&first);
	for (char **e = job_env; *e; e++)
		if (!strncmp(*e, "XDG_RUNTIME_DIR=", 16))
			runtime = *e + 16;
	if (runtime)
		make_dirs(runtime, 0700);
	set_clock(&first);
	start_command();
	send_msg(&started);
	while (child_status < 0)
		wait_events(sigfd);
	finish(sigfd);
	return 0;
}
