// SPDX-License-Identifier: MIT
#include "tools/cli/meter.h"

#include "base/clock.h"
#include "tools/cli/clean_output.h"
#include "tools/cli/screen.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_NS NSEC_PER_SEC
#define EVERY_NS (200 * NSEC_PER_MSEC)
#define WHAT_MAX 40 /* columns of it: the rest of the line has room in 80 */

void meter_draw(const char *line)
{
	clean_output_control(stderr, "\r\033[K");
	if (line)
		fputs(line, stderr);
}

/* "12s", "3m05s", "2h07m", "3d12h" */
const char *meter_left(uint64_t ns, char *buf, size_t size)
{
	unsigned long long s = (ns + NSEC_PER_SEC / 2) / NSEC_PER_SEC;

	if (ns == METER_UNKNOWN)
		snprintf(buf, size, "time left not known yet");
	else if (s < 60)
		snprintf(buf, size, "about %llus left", s);
	else if (s < 3600)
		snprintf(buf, size, "about %llum%02llus left", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "about %lluh%02llum left", s / 3600, s / 60 % 60);
	else if (s < 1000 * 86400)
		snprintf(buf, size, "about %llud%02lluh left", s / 86400, s / 3600 % 24);
	else
		snprintf(buf, size, "years left");
	return buf;
}

void meter_begin(struct meter *meter, const char *what, uint64_t total, bool bytes)
{
	*meter = (struct meter){ .what = what,
				 .total = total,
				 .bytes = bytes,
				 .shows = isatty(STDERR_FILENO),
				 .begin_ns = clock_now_ns() };
	meter->next_ns = meter->begin_ns + FIRST_NS;
}

static const char *amount(const struct meter *meter, uint64_t value, char buf[SCREEN_NUMBER])
{
	return meter->bytes ? screen_bytes((double)value, buf)
			    : screen_count((double)value, 9, buf);
}

const char *meter_line(const struct meter *meter, uint64_t done, uint64_t now_ns, size_t columns,
		       char line[METER_LINE])
{
	char a[SCREEN_NUMBER], b[SCREEN_NUMBER], left[48], text[METER_LINE];
	double passed_ns = (double)(now_ns - meter->begin_ns), left_ns;
	size_t width, fits = screen_fit(meter->what, strlen(meter->what), WHAT_MAX, &width);

	if (done > meter->total || !done) {
		snprintf(text, sizeof(text), "%.*s: %s", (int)fits, meter->what,
			 amount(meter, done, a));
	} else {
		left_ns = passed_ns * (double)(meter->total - done) / (double)done;
		snprintf(text, sizeof(text), "%.*s: %s of %s, %s", (int)fits, meter->what,
			 amount(meter, done, a), amount(meter, meter->total, b),
			 meter_left(left_ns < 1e18 ? (uint64_t)left_ns : METER_UNKNOWN - 1, left,
				    sizeof(left)));
	}
	fits = screen_fit(text, strlen(text), columns, &width);
	snprintf(line, METER_LINE, "%.*s", (int)fits, text);
	return line;
}

void meter_at(struct meter *meter, uint64_t done)
{
	uint64_t now_ns = meter && meter->shows ? clock_now_ns() : 0;
	char line[METER_LINE];

	if (!now_ns || now_ns < meter->next_ns)
		return;
	/* In a terminal's last column there would be no telling where the cursor is. */
	meter_draw(meter_line(meter, done, now_ns, screen_of(STDERR_FILENO).columns - 1, line));
	meter->drawn = true;
	meter->next_ns = now_ns + EVERY_NS;
}

void meter_end(struct meter *meter)
{
	if (meter->drawn)
		meter_draw(NULL);
	meter->drawn = false;
}

/* ------------------------------------------------------------------------------ a file that grows */

struct meter_watch {
	struct meter meter;
	int fd, end_fd;
	pthread_t thread;
};

static void *watch_file(void *ctx)
{
	struct meter_watch *watch = ctx;
	struct pollfd end = { .fd = watch->end_fd, .events = POLLIN };
	struct stat st;

	while (poll(&end, 1, EVERY_NS / NSEC_PER_MSEC) <= 0)
		if (fstat(watch->fd, &st) == 0)
			meter_at(&watch->meter, (uint64_t)st.st_size);
	return NULL;
}

struct meter_watch *meter_watch_begin(const char *what, int fd, uint64_t total)
{
	struct meter_watch *watch = isatty(STDERR_FILENO) ? calloc(1, sizeof(*watch)) : NULL;

	if (!watch)
		return NULL;
	meter_begin(&watch->meter, what, total, true);
	watch->fd = fd;
	watch->end_fd = eventfd(0, EFD_CLOEXEC);
	if (watch->end_fd >= 0 && pthread_create(&watch->thread, NULL, watch_file, watch) == 0)
		return watch;
	if (watch->end_fd >= 0)
		close(watch->end_fd);
	free(watch);
	return NULL;
}

struct meter_watch *meter_watch_end(struct meter_watch *watch)
{
	if (!watch)
		return NULL;
	eventfd_write(watch->end_fd, 1);
	pthread_join(watch->thread, NULL);
	meter_end(&watch->meter);
	close(watch->end_fd);
	free(watch);
	return NULL;
}
