// SPDX-License-Identifier: MIT
/*
 * Signals and the status line, in a thread of their own: on a terminal one line that is written
 * over again and again, elsewhere a line every ten seconds.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "clean_output.h"
#include "explore_in.h"
#include "tool.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#define TERMINAL_MS 200
#define PLAIN_MS    10000

struct progress {
	struct explore *explore;
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

static int format_status(struct progress *p, const struct explore_status *status, char *line,
			 size_t size)
{
	return snprintf(
		line, size,
		"%llu states (%.0f/s), %llu equal to earlier ones, %llu findings; moments "
		"%llu/%llu; of the states of all, %.3g%% covered; %llu moments completely",
		(unsigned long long)status->done, p->rate, (unsigned long long)status->equivalent,
		(unsigned long long)status->findings, (unsigned long long)status->points_done,
		(unsigned long long)status->nr_points, status->covered * 100,
		(unsigned long long)status->points_complete);
}

static void show(struct progress *p)
{
	struct winsize size = { .ws_col = 80 };
	struct explore_status status;
	char line[256];

	explore_status(p->explore, &status);
	update_rate(p, &status);
	format_status(p, &status, line, sizeof(line));
	pthread_mutex_lock(&p->lock);
	if (p->terminal) {
		ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
		clean_output_control(stderr, "\r");
		fprintf(stderr, "%.*s", size.ws_col > 1 ? size.ws_col - 1 : 79, line);
		clean_output_control(stderr, "\033[K");
		p->shown = true;
	} else {
		fprintf(stderr, "%s\n", line);
	}
	pthread_mutex_unlock(&p->lock);
}

void progress_clear(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->shown)
		clean_output_control(stderr, "\r\033[K");
	p->shown = false;
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

int progress_start(struct explore *explore, bool quiet, int stop_fd, struct diag *diag,
		   struct progress **ret_progress)
{
	struct progress *p = fail_alloc("tools/explore_progress/alloc", calloc(1, sizeof(*p)));
	sigset_t set;
	int err = ENOMEM;

	tool_end_signals(&set);
	if (p) {
		p->explore = explore;
		p->quiet = quiet || !explore;
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
	progress_clear(p);
	signal = p->signal;
	close(p->signal_fd);
	close(p->end_fd);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return signal;
}
