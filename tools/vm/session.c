/* SPDX-License-Identifier: MIT */
/*
 * One run of COMMAND: hands the job to the guest, then carries bytes until the guest says that
 * COMMAND has ended and everything that it wrote has arrived.
 *
 *	our stdin  -> stdin ->  port "stdio" (QEMU) ->	COMMAND
 *	our stdout <- out   <-  port "stdio"	    <-
 *	our stderr <- err   <-	port "stderr"	    <-
 *
 * Each direction holds one chunk: who reads slowly slows the other end down, through QEMU and the
 * guest to COMMAND. Writes to our own output may block, so pipes get no more than PIPE_BUF after
 * poll said that there is room; a signal interrupts what blocks all the same.
 */
#include "tools/vm/vm.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK_BYTES     65536
#define LOG_BYTES       8192
#define GRACE_NS        (15 * NSEC_PER_SEC)
#define ESCAPE_BYTE     0x1d /* Ctrl-] */
#define ESCAPE_COUNT    3
#define DAEMON_CHECK_MS 2000
#define TURN_MAX_NS     (2 * DAEMON_CHECK_MS * NSEC_PER_MSEC)

struct flow {
	int in, out; /* -1: that side is gone or was never there */
	bool discard;
	int error; /* why what comes is discarded; 0: nobody wants it */
	size_t start, end;
	size_t write_max; /* bytes per write */
	uint64_t bytes;   /* read from @in */
	char buf[CHUNK_BYTES];
};

struct session_run {
	struct vm_session *s;
	struct vm_machine *vm;
	struct flow stdin_flow, out_flow, err_flow;
	char *queue; /* for the control port; owned */
	size_t queue_start, queue_end;
	struct vm_msg done;
	char partial[sizeof(struct vm_msg)];
	size_t partial_bytes;
	bool started, ended, dead, stdin_told, raw, heard;
	uint64_t turn_ns, silent_ns; /* the last turn of the loop; how long nothing was heard */
	unsigned int signals_seen, escapes;
	int last_signal;
	uint64_t grace_ns; /* when a signalled COMMAND has had its time; 0: not signalled */
	struct termios saved;
	char log[LOG_BYTES];
	size_t log_bytes;
};

/* ---- the control port ---- */

static int queue_bytes(struct session_run *r, const void *data, size_t len)
{
	char *grown = realloc(r->queue, r->queue_end + len);

	if (!grown)
		return -ENOMEM;
	r->queue = grown;
	memcpy(grown + r->queue_end, data, len);
	r->queue_end += len;
	return 0;
}

static void queue_msg(struct session_run *r, enum vm_msg_type type, uint32_t value, uint64_t bytes)
{
	const struct vm_msg msg = { .type = type, .value = value, .bytes = bytes };

	(void)queue_bytes(r, &msg, sizeof(msg));
}

static void queue_time(struct session_run *r)
{
	struct vm_msg msg = { .type = VM_MSG_TIME };
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	msg.bytes = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	msg.err_bytes = clock_now_ns();
	(void)queue_bytes(r, &msg, sizeof(msg));
}

static int queue_strings(struct session_run *r, char **list, uint32_t *count, uint32_t *bytes)
{
	for (; *list; list++, (*count)++) {
		size_t len = strlen(*list) + 1;
		int err = queue_bytes(r, *list, len);

		if (err)
			return err;
		*bytes += (uint32_t)len;
	}
	return 0;
}

static uint32_t window_value(void)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size))
		return 24u << 16 | 80;
	return (uint32_t)size.ws_row << 16 | size.ws_col;
}

static int queue_job(struct session_run *r)
{
	extern char **environ;
	struct vm_job *job = &r->s->job;
	uint32_t window = window_value();
	int err;

	job->magic = VM_JOB_MAGIC;
	job->rows = (uint16_t)(window >> 16);
	job->columns = (uint16_t)window;
	job->nr_args = job->nr_env = job->strings_bytes = 0;
	job->umask = umask(0);
	umask(job->umask);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		getrlimit((__rlimit_resource_t)i, &job->limits[i]);
	err = queue_bytes(r, job, sizeof(*job));
	if (!err)
		err = queue_strings(r, r->s->argv, &job->nr_args, &job->strings_bytes);
	if (!err)
		err = queue_strings(r, environ, &job->nr_env, &job->strings_bytes);
	if (!err && job->strings_bytes > VM_JOB_MAX_BYTES)
		err = -E2BIG;
	if (!err)
		memcpy(r->queue, job, sizeof(*job)); /* now that the counts are known */
	return err;
}

static void queue_flush(struct session_run *r)
{
	ssize_t n = write(r->vm->control, r->queue + r->queue_start, r->queue_end - r->queue_start);

	if (n > 0)
		r->queue_start += (size_t)n;
	if (r->queue_start == r->queue_end)
		r->queue_start = r->queue_end = 0;
}

static void enter_raw(struct session_run *r)
{
	struct termios raw;

	if (!(r->s->job.flags & VM_JOB_TTY) || tcgetattr(STDIN_FILENO, &r->saved))
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	r->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void leave_raw(struct session_run *r)
{
	if (r->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &r->saved);
	r->raw = false;
}

static void on_msg(struct session_run *r, const struct vm_msg *msg)
{
	if (msg->type == VM_MSG_ASK_TIME) {
		queue_time(r);
	} else if (msg->type == VM_MSG_STARTED) {
		r->started = true;
		enter_raw(r);
	} else if (msg->type == VM_MSG_DONE) {
		r->ended = true;
		r->done = *msg;
	}
}

static void on_control(struct session_run *r)
{
	ssize_t n = read(r->vm->control, r->partial + r->partial_bytes,
			 sizeof(r->partial) - r->partial_bytes);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		r->dead = true;
	if (n <= 0)
		return;
	r->partial_bytes += (size_t)n;
	r->heard = true;
	if (r->partial_bytes == sizeof(r->partial)) {
		struct vm_msg msg;

		memcpy(&msg, r->partial, sizeof(msg));
		r->partial_bytes = 0;
		on_msg(r, &msg);
	}
}

/* ---- bytes ---- */

static bool flow_empty(const struct flow *f)
{
	return f->start == f->end;
}

/* Returns false at the end of the input. */
static bool flow_fill(struct flow *f)
{
	ssize_t n = read(f->in, f->buf, sizeof(f->buf));

	if (n > 0) {
		f->start = 0;
		f->end = (size_t)n;
		f->bytes += (uint64_t)n;
		return true;
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Returns false when nobody will read @out any more. */
static bool flow_drain(struct flow *f)
{
	size_t len = f->end - f->start;
	ssize_t n;

	if (f->discard) {
		f->start = f->end;
		return true;
	}
	n = write(f->out, f->buf + f->start, len < f->write_max ? len : f->write_max);
	if (n > 0)
		f->start += (size_t)n;
	if (n >= 0 || errno == EAGAIN || errno == EINTR)
		return true;
	f->error = errno;
	f->discard = true;
	f->start = f->end;
	return false;
}

static size_t write_max_of(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) ? CHUNK_BYTES : PIPE_BUF;
}

/* A background job that reads the terminal would be stopped: leave the input alone then. */
static bool stdin_readable(const struct session_run *r)
{
	const struct flow *f = &r->stdin_flow;
	pid_t group;

	if (f->in < 0 || !r->started || !flow_empty(f))
		return false;
	group = tcgetpgrp(f->in);
	return group < 0 || group == getpgrp();
}

static void on_stdin(struct session_run *r)
{
	struct flow *f = &r->stdin_flow;

	if (!flow_fill(f)) {
		f->in = -1;
		return;
	}
	for (size_t i = f->start; r->raw && i < f->end; i++)
		r->escapes = f->buf[i] == ESCAPE_BYTE ? r->escapes + 1 : 0;
}

static void on_output(struct flow *f)
{
	if (!flow_fill(f))
		f->in = -1;
}

/* The reader of our output is gone: COMMAND learns it as it would have here. */
static void drain_output(struct session_run *r, struct flow *f)
{
	if (!flow_drain(f))
		queue_msg(r, VM_MSG_SIGNAL, SIGPIPE, 0);
}

static void tell_stdin_end(struct session_run *r)
{
	const struct flow *f = &r->stdin_flow;

	if (r->stdin_told || !r->started || f->in >= 0 || !flow_empty(f))
		return;
	r->stdin_told = true;
	queue_msg(r, VM_MSG_STDIN_END, 0, f->bytes);
}

static void on_log(struct session_run *r)
{
	char buf[2048];
	ssize_t n = read(r->vm->log, buf, sizeof(buf));
	size_t drop;

	if (n <= 0)
		return;
	if (getenv("FAULTBLK_VM_DEBUG"))
		(void)!write(STDERR_FILENO, buf, (size_t)n);
	drop = r->log_bytes + (size_t)n > LOG_BYTES ? r->log_bytes + (size_t)n - LOG_BYTES : 0;
	memmove(r->log, r->log + drop, r->log_bytes - drop);
	r->log_bytes -= drop;
	memcpy(r->log + r->log_bytes, buf, (size_t)n);
	r->log_bytes += (size_t)n;
}

/* ---- the loop ---- */

static void take_signals(struct session_run *r)
{
	bool first;

	if (vm_signals_take_window())
		queue_msg(r, VM_MSG_WINDOW, window_value(), 0);
	if (r->signals_seen == vm_signals_count())
		return;
	first = r->signals_seen == 0;
	r->signals_seen = vm_signals_count();
	r->last_signal = vm_signals_pending();
	if (r->started && !r->ended && first) {
		queue_msg(r, VM_MSG_SIGNAL, (uint32_t)r->last_signal, 0);
		r->grace_ns = clock_now_ns() + GRACE_NS;
	}
}

static bool output_complete(const struct session_run *r)
{
	return r->ended && r->out_flow.bytes >= r->done.bytes && flow_empty(&r->out_flow) &&
	       r->err_flow.bytes >= r->done.err_bytes && flow_empty(&r->err_flow);
}

/*
 * How long the guest has been silent, in time in which we listened: neither our own sleep, nor that of
 * this machine, is its fault, and what was sent meanwhile is read first.
 */
static void listen_for_beat(struct session_run *r)
{
	uint64_t now_ns = clock_now_ns(), turn_ns = now_ns - r->turn_ns;

	r->turn_ns = now_ns;
	if (turn_ns > TURN_MAX_NS)
		turn_ns = TURN_MAX_NS;
	r->silent_ns = r->heard || !r->started ? 0 : r->silent_ns + turn_ns;
	r->heard = false;
}

static bool is_silent(const struct session_run *r)
{
	return r->s->silence_ns && !r->ended && r->silent_ns >= r->s->silence_ns;
}

/* Whether it is over, and how. */
static bool run_over(struct session_run *r, uint64_t boot_deadline_ns, enum vm_end *ret_end,
		     int *ret_status)
{
	uint64_t now_ns = clock_now_ns();

	if (output_complete(r)) {
		*ret_status = (int)r->done.value;
		*ret_end = VM_END_STATUS;
	} else if (r->escapes >= ESCAPE_COUNT || (r->grace_ns && now_ns >= r->grace_ns) ||
		   (r->signals_seen && !r->started) || r->signals_seen > 1) {
		*ret_status = 128 + (r->last_signal ? r->last_signal : SIGTERM);
		*ret_end = VM_END_SIGNAL;
	} else if (r->s->deadline_ns && now_ns >= r->s->deadline_ns) {
		*ret_end = VM_END_TIMEOUT;
	} else if (r->dead) {
		*ret_end = r->started ? VM_END_DIED : VM_END_NOT_BOOTED;
	} else if (is_silent(r)) {
		*ret_end = VM_END_SILENT;
	} else if (!r->started && now_ns >= boot_deadline_ns) {
		*ret_end = VM_END_NOT_BOOTED;
	} else {
		return false;
	}
	return true;
}

static int poll_timeout_ms(const struct session_run *r, uint64_t boot_deadline_ns)
{
	uint64_t now_ns = clock_now_ns(), due_ns = r->started ? UINT64_MAX : boot_deadline_ns;

	if (r->s->deadline_ns && r->s->deadline_ns < due_ns)
		due_ns = r->s->deadline_ns;
	if (r->grace_ns && r->grace_ns < due_ns)
		due_ns = r->grace_ns;
	if (due_ns == UINT64_MAX)
		return DAEMON_CHECK_MS;
	if (due_ns <= now_ns)
		return 0;
	due_ns = (due_ns - now_ns) / NSEC_PER_MSEC + 1;
	return due_ns > DAEMON_CHECK_MS ? DAEMON_CHECK_MS : (int)due_ns;
}

enum { P_WAKE, P_CONTROL, P_LOG, P_STDIN, P_STDIN_OUT, P_OUT_IN, P_OUT, P_ERR_IN, P_ERR, P_COUNT };

static struct pollfd poll_in(int fd, bool wanted)
{
	return (struct pollfd){ .fd = wanted ? fd : -1, .events = POLLIN };
}

static struct pollfd poll_out(int fd, bool wanted)
{
	return (struct pollfd){ .fd = wanted ? fd : -1, .events = POLLOUT };
}

static void run_poll(struct session_run *r, uint64_t boot_deadline_ns)
{
	struct flow *in = &r->stdin_flow, *out = &r->out_flow, *err = &r->err_flow;
	struct pollfd p[P_COUNT] = {
		[P_WAKE] = poll_in(vm_signals_fd(), true),
		[P_CONTROL] = poll_in(r->vm->control, true),
		[P_LOG] = poll_in(r->vm->log, true),
		[P_STDIN] = poll_in(in->in, stdin_readable(r)),
		[P_STDIN_OUT] = poll_out(in->out, !flow_empty(in)),
		[P_OUT_IN] = poll_in(out->in, flow_empty(out)),
		[P_OUT] = poll_out(out->out, !flow_empty(out)),
		[P_ERR_IN] = poll_in(err->in, flow_empty(err)),
		[P_ERR] = poll_out(err->out, !flow_empty(err)),
	};

	if (r->queue_end)
		p[P_CONTROL].events |= POLLOUT;
	if (poll(p, P_COUNT, poll_timeout_ms(r, boot_deadline_ns)) <= 0) {
		r->dead |= !vm_machine_alive(r->vm);
		return;
	}
	if (p[P_CONTROL].revents & POLLOUT)
		queue_flush(r);
	if (p[P_CONTROL].revents & (POLLIN | POLLHUP | POLLERR))
		on_control(r);
	if (p[P_LOG].revents)
		on_log(r);
	if (p[P_STDIN].revents)
		on_stdin(r);
	if (p[P_STDIN_OUT].revents)
		(void)flow_drain(in);
	if (p[P_OUT_IN].revents)
		on_output(out);
	if (p[P_OUT].revents)
		drain_output(r, out);
	if (p[P_ERR_IN].revents)
		on_output(err);
	if (p[P_ERR].revents)
		drain_output(r, err);
	tell_stdin_end(r);
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static bool is_null(int fd)
{
	struct stat st;

	return fstat(fd, &st) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static void run_setup(struct session_run *r)
{
	bool quiet = r->s->quiet;
	uint32_t *flags = &r->s->job.flags;

	*flags &= ~(uint32_t)(VM_JOB_TTY | VM_JOB_STDERR_SPLIT | VM_JOB_STDIN_NULL);
	if (!quiet && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		*flags |= VM_JOB_TTY;
	if (*flags & VM_JOB_TTY ? !isatty(STDERR_FILENO) : !same_file(STDOUT_FILENO, STDERR_FILENO))
		*flags |= VM_JOB_STDERR_SPLIT;
	if (quiet || is_null(STDIN_FILENO))
		*flags |= VM_JOB_STDIN_NULL;
	r->stdin_flow.in = *flags & VM_JOB_STDIN_NULL ? -1 : STDIN_FILENO;
	r->stdin_flow.out = r->vm->stdio;
	r->stdin_flow.write_max = CHUNK_BYTES;
	r->out_flow.in = r->vm->stdio;
	r->out_flow.out = STDOUT_FILENO;
	r->err_flow.in = r->vm->err;
	r->err_flow.out = STDERR_FILENO;
	r->out_flow.discard = r->err_flow.discard = quiet;
	r->out_flow.write_max = write_max_of(STDOUT_FILENO);
	r->err_flow.write_max = write_max_of(STDERR_FILENO);
}

/* The last line of the log that says something, without what a kernel puts before it. */
static void keep_last_words(struct session_run *r)
{
	char *line, *text = r->log;

	r->s->last_words[0] = 0;
	text[r->log_bytes < LOG_BYTES ? r->log_bytes : LOG_BYTES - 1] = 0;
	while ((line = strsep(&text, "\r\n")))
		if (line[strspn(line, " \t")])
			snprintf(r->s->last_words, sizeof(r->s->last_words), "%s", line);
	for (char *c = r->s->last_words; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
}

static void run_show_log(struct session_run *r)
{
	size_t before;

	do {
		before = r->log_bytes;
		on_log(r);
	} while (r->log_bytes != before);
	if (!r->s->quiet && flow_empty(&r->err_flow) && flow_fill(&r->err_flow))
		(void)flow_drain(&r->err_flow); /* what the guest had to say, if anything */
	if (r->log_bytes && !r->s->quiet)
		fprintf(stderr, TOOL_PREFIX "vm: last lines of the machine's output:\n%.*s\n",
			(int)r->log_bytes, r->log);
	keep_last_words(r);
}

enum vm_end vm_session_run(struct vm_session *s, struct vm_machine *vm, int *ret_status)
{
	_cleanup_free_ struct session_run *r = calloc(1, sizeof(*r));
	uint64_t boot_deadline_ns = clock_now_ns() + VM_BOOT_DEADLINE_NS;
	enum vm_end end = VM_END_NOT_BOOTED;

	if (!r)
		return VM_END_NOT_BOOTED;
	r->s = s;
	r->vm = vm;
	run_setup(r);
	if (queue_job(r)) {
		tool_msg("vm: command and environment are larger than %u bytes", VM_JOB_MAX_BYTES);
	} else {
		while (!run_over(r, boot_deadline_ns, &end, ret_status)) {
			run_poll(r, boot_deadline_ns);
			listen_for_beat(r);
			take_signals(r);
		}
	}
	leave_raw(r);
	s->out_error = r->out_flow.error;
	free(r->queue);
	if (end == VM_END_NOT_BOOTED || end == VM_END_DIED || end == VM_END_SILENT ||
	    (s->quiet && end == VM_END_TIMEOUT))
		run_show_log(r);
	return end;
}
