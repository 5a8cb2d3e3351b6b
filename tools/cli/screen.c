// SPDX-License-Identifier: MIT
#include "tools/cli/screen.h"

#include "base/cleanup.h"
#include "base/printable.h"
#include "tools/cli/clean_output.h"

#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

struct screen screen_of(int fd)
{
	struct screen screen = { SCREEN_COLUMNS, UINT_MAX, isatty(fd) };
	struct winsize size = { 0 };

	if (!screen.terminal)
		return screen;
	screen.rows = SCREEN_ROWS;
	/* A serial line has no size: 0. */
	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
		screen.columns = size.ws_col;
	if (size.ws_row)
		screen.rows = size.ws_row;
	return screen;
}

struct screen screen_of_list(int fd)
{
	struct screen screen = screen_of(fd);

	if (!screen.terminal)
		screen.columns = UINT_MAX;
	return screen;
}

/* ------------------------------------------------------------------------------ width */

static locale_t utf8;
static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;

static void make_utf8(void)
{
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* One whole character of UTF-8 that is shown as it is. Without the locale the most that one takes. */
static size_t width_of(const char *bytes, size_t len)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	int width = -1;

	if (len == 1)
		return 1;
	pthread_once(&utf8_once, make_utf8);
	if (utf8) {
		locale_t was = uselocale(utf8);

		if (mbrtowc(&wide, bytes, len, &state) == len)
			width = wcwidth(wide);
		uselocale(was);
	}
	return width < 0 ? 2 : (size_t)width;
}

size_t screen_fit(const char *text, size_t len, size_t columns, size_t *ret_width)
{
	size_t at = 0, width = 0;

	while (at < len) {
		char shown[PRINTABLE_MAX];
		size_t used, more, n = printable_next(text + at, len - at, shown, &used);

		if (!used) { /* half a character at the end: as many \xXX */
			used = len - at;
			more = 4 * used;
		} else {
			more = n == used ? width_of(shown, n) : n;
		}
		if (width + more > columns)
			break;
		width += more;
		at += used;
	}
	if (ret_width)
		*ret_width = width;
	return at;
}

size_t screen_width(const char *text, size_t len)
{
	size_t width;

	screen_fit(text, len, SIZE_MAX, &width);
	return width;
}

/* ------------------------------------------------------------------------------ numbers */

/* @whole: the first value that is not shown as it is. */
static const char *shorten(double value, double step, double whole, char buf[SCREEN_NUMBER])
{
	static const char units[] = " kMGTPE";
	size_t unit = 0;

	if (value < whole) {
		snprintf(buf, SCREEN_NUMBER, "%.0f", value);
		return buf;
	}
	while (value >= step - 0.5 && units[unit + 1]) {
		value /= step;
		unit++;
	}
	snprintf(buf, SCREEN_NUMBER, "%.*f%.*s", unit && value < 99.95 ? 1 : 0, value, unit > 0,
		 units + unit);
	return buf;
}

const char *screen_count(double value, unsigned int digits, char buf[SCREEN_NUMBER])
{
	double whole = 1;

	while (digits--)
		whole *= 10;
	return shorten(value, 1000, whole - 0.5, buf);
}

const char *screen_bytes(double value, char buf[SCREEN_NUMBER])
{
	return shorten(value, 1024, 1023.5, buf);
}

/* ------------------------------------------------------------------------------ drawing */

static volatile sig_atomic_t drawing;

/* The handler is gone by now, and the signal may come again while this one waits for a terminal. */
static void end_clean(int sig)
{
	static const char rest[] = "\033[J\n";

	if (drawing && write(STDOUT_FILENO, rest, sizeof(rest) - 1) < 0)
		drawing = 0;
	raise(sig);
}

void screen_end_clean(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	const struct sigaction action = { .sa_handler = end_clean,
					  .sa_flags = SA_RESETHAND | SA_NODEFER };

	for (size_t i = 0; i < array_size(ends); i++) {
		struct sigaction was;

		if (sigaction(ends[i], NULL, &was) == 0 && was.sa_handler == SIG_DFL)
			sigaction(ends[i], &action, NULL);
	}
}

static size_t count_lines(const char *text)
{
	size_t nr = 0;

	for (; *text; text++)
		nr += *text == '\n';
	return nr;
}

/* Cleared first, not last: behind a line that fills the screen's width stands its last character. */
static void draw_line(const struct screen *screen, const char *line, size_t len)
{
	clean_output_control(stdout, "\033[K");
	printf("%.*s\n", (int)screen_fit(line, len, screen->columns, NULL), line);
}

void screen_draw(const struct screen *screen, const char *text)
{
	/* The last row is where the cursor stands. */
	size_t left = count_lines(text), room = screen->rows > 1 ? screen->rows - 1 : 1;
	char more[64];

	drawing = 1;
	clean_output_control(stdout, "\033[H");
	for (; left && (left <= room || room > 1); left--, room--) {
		size_t len = strcspn(text, "\n");

		draw_line(screen, text, len);
		text += len + 1;
	}
	if (left) {
		snprintf(more, sizeof(more), "... %zu more lines", left);
		draw_line(screen, more, strlen(more));
	}
	clean_output_control(stdout, "\033[J");
	drawing = 0;
}
