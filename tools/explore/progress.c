// SPDX-License-Identifier: MIT
/*
 * Signals and the status line, in a thread of their own: on a terminal one line that is written
 * over again and again, elsewhere a line every ten seconds.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/cli/meter.h"
#include "tools/cli/screen.h"
#include "tools/cli/tool.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TERMINAL_MS 200
#define PLAIN_MS    10000

struct progress {
	struct explore *explore;
	const struct explore_job *job;
	pthread_t thread;
	pthread_mutex_t lock; /* of the terminal's line */
	int signal_fd, end_fd, stop_fd;
	bool quiet, terminal, shown;
	int signal;
	uint64_t last_done, last_ns;
	double rate;
};

/* States a second, of late. */
static void update_rate(struct progress *p, const struct explore_status *status)
{
	uint64_t fresh = status->done - status->known;
	double seconds = (double)(status->elapsed_ns - p->last_ns) / 1e9;
	double now;

	if (seconds <= 0.05)
		return;
	now = (double)(fresh - p->last_done) / seconds;
	p->rate = p->last_ns ? p->rate + (now - p->rate) * fmin(1, seconds / 3) : now;
	p->last_done = fresh;
	p->last_ns = status->elapsed_ns;
}

/* ------------------------------------------------------------------------------ words */

/* The shorter of two. @ns: as a double, since it may be anything. */
static uint64_t sooner(uint64_t left_ns, double ns)
{
	return ns < (double)left_ns ? (uint64_t)ns : left_ns;
}

uint64_t progress_left_ns(const struct explore_status *status, double rate, uint64_t max_states,
			  uint64_t max_ns)
{
	uint64_t left_ns = PROGRESS_UNKNOWN, fresh = status->done - status->known;
	uint64_t points = status->nr_points - status->points_done;

	if (status->points_done)
		left_ns = sooner(left_ns, (double)status->elapsed_ns * (double)points /
						  (double)status->points_done);
	if (max_states && fresh >= max_states)
		left_ns = 0;
	else if (max_states && rate > 0)
		left_ns = sooner(left_ns, (double)(max_states - fresh) / rate * 1e9);
	if (max_ns)
		left_ns = sooner(left_ns, max_ns > status->elapsed_ns
						  ? (double)(max_ns - status->elapsed_ns)
						  : 0);
	return left_ns;
}

#define DIGITS   9 /* of a number that is printed as it is */
#define PART_MAX 64

static const char *count(uint64_t value, char buf[SCREEN_NUMBER])
{
	return screen_count((double)value, DIGITS, buf);
}

const char *progress_line(const struct explore_status *s, double rate, uint64_t left_ns,
			  size_t columns, char line[PROGRESS_LINE])
{
	char parts[8][PART_MAX], a[SCREEN_NUMBER], b[SCREEN_NUMBER];
	size_t nr = 0, len = 0;

	snprintf(parts[nr++], PART_MAX, "%s states", count(s->done, a));
	snprintf(parts[nr++], PART_MAX, "%s finding%s", count(s->findings, a),
		 s->findings == 1 ? "" : "s");
	snprintf(parts[nr++], PART_MAX, "points %s/%s", count(s->points_done, a),
		 count(s->nr_points, b));
	meter_left(left_ns, parts[nr++], PART_MAX);
	snprintf(parts[nr++], PART_MAX, "%s/s", screen_count(rate, DIGITS, a));
	snprintf(parts[nr++], PART_MAX, "%.3g%% covered", s->covered * 100);
	snprintf(parts[nr++], PART_MAX, "%s equal", count(s->equivalent, a));
	snprintf(parts[nr++], PART_MAX, "%s complete", count(s->points_complete, a));
	line[0] = '\0';
	for (size_t i = 0; i < nr; i++) {
		if (i && len + 2 + strlen(parts[i]) > columns)
			break;
		len += (size_t)snprintf(line + len, PROGRESS_LINE - len, "%s%s", i ? ", " : "",
					parts[i]);
	}
	if (len > columns)
		line[columns] = '\0';
	return line;
}

/* ------------------------------------------------------------------------------ the line */

static void show(struct progress *p)
{
	const struct screen screen = screen_of(STDERR_FILENO);
	struct explore_status status;
	char line[PROGRESS_LINE];

	explore_status(p->explore, &status);
	update_rate(p, &status);
	/* In a terminal's last column there would be no telling where the cursor is. */
	progress_line(&status, p->rate,
		      progress_left_ns(&status, p->rate, p->job->max_states, p->job->max_ns),
		      screen.columns - screen.terminal, line);
	pthread_mutex_lock(&p->lock);
	if (p->terminal) {
		meter_draw(line);
		p->shown = true;
	} else {
		fprintf(stderr, "%s\n", line);
	}
	pthread_mutex_unlock(&p->lock);
}

void progress_pause(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->shown)
		meter_draw(NULL);
	p->shown = false;
}

void progress_resume(struct progress *p)
{
	if (p)
		pthread_mutex_unlock(&p->lock);
}

static void take_signal(struct progress *p)
{
	struct signalfd_siginfo info;
	uint64_t one = 1;

	if (read(p->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	p->signal = (int)info.ssi_signo;
	if (p->explore)
		explore_stop(p->explore);
	if (write(p->stop_fd, &one, sizeof(one)) < 0)
		p->signal = (int)info.ssi_signo; /* it is readable already */
}

static void *progress_main(void *arg)
{
	struct progress *p = arg;
	struct pollfd fds[] = { { .fd = p->signal_fd, .events = POLLIN },
				{ .fd = p->end_fd, .events = POLLIN } };
	int wait_ms = p->quiet ? -1 : p->terminal ? TERMINAL_MS : PLAIN_MS;

	for (;;) {
		int nr = poll(fds, 2, wait_ms);

		if (fds[1].revents)
			break;
		if (nr > 0 && fds[0].revents)
			take_signal(p);
		if (nr == 0)
			show(p);
	}
	return NULL;
}

/* What is printed as JSON on the same terminal would be mixed with it. */
static bool is_quiet(const struct explore *explore, const struct explore_job *job)
{
	return !explore || job->quiet ||
	       (job->json && isatty(STDOUT_FILENO) && isatty(STDERR_FILENO));
}

int progress_start(struct explore *explore, const struct explore_job *job, int stop_fd,
		   struct diag *diag, struct progress **ret_progress)
{
	struct progress *p = fail_alloc("tools/explore/progress/alloc", calloc(1, sizeof(*p)));
	sigset_t set;
	int err = ENOMEM;

	tool_end_signals(&set);
	if (p) {
		p->explore = explore;
		p->job = job;
		p->quiet = is_quiet(explore, job);
		p->terminal = isatty(STDERR_FILENO);
		p->stop_fd = stop_fd;
		pthread_mutex_init(&p->lock, NULL);
		p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
		p->end_fd = eventfd(0, EFD_CLOEXEC);
		err = p->signal_fd < 0 || p->end_fd < 0
			      ? errno
			      : pthread_create(&p->thread, NULL, progress_main, p);
	}
	if (!err) {
		*ret_progress = p;
		return 0;
	}
	if (p && p->signal_fd >= 0)
		close(p->signal_fd);
	if (p && p->end_fd >= 0)
		close(p->end_fd);
	free(p);
	return diag_set(diag, -err, "explore.progress", "cannot watch for signals: %s",
			strerror(err));
}

int progress_stop(struct progress *p)
{
	uint64_t one = 1;
	int signal;

	if (!p)
		return 0;
	while (write(p->end_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(p->thread, NULL);
	progress_pause(p);
	progress_resume(p);
	signal = p->signal;
	close(p->signal_fd);
	close(p->end_fd);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return signal;
}
