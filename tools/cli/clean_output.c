// SPDX-License-Identifier: MIT
/*
 * stdout and stderr become streams of our own (fopencookie), which write to the same descriptors.
 * A character may come in two writes: its beginning is kept for the next one.
 *
 * Never to wait is no property of the descriptor, which others share (O_NONBLOCK would be theirs,
 * too), but of the write: RWF_NOWAIT, MSG_DONTWAIT, or a look beforehand where there is neither.
 */
#include "tools/cli/clean_output.h"

#include "base/printable.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define OUT_BYTES 4096

struct clean {
	int fd;
	char cut[4]; /* the beginning of a character */
	size_t cut_len;
	char out[OUT_BYTES];
	size_t out_len;
	bool failed;
	int error; /* the first one */
	bool never_waits;
	mode_t kind;        /* S_IFMT of it, where it never waits */
	unsigned long lost; /* writes that nobody took, since the last that somebody did */
};

static struct clean cleans[2] = { { .fd = STDOUT_FILENO }, { .fd = STDERR_FILENO } };

/* As write(), but with EAGAIN where that would wait; at most PIPE_BUF. */
static ssize_t write_now(const struct clean *c, const char *bytes, size_t len)
{
	const struct iovec iov = { (void *)bytes, len };
	struct pollfd room = { .fd = c->fd, .events = POLLOUT };
	ssize_t n;

	if (S_ISREG(c->kind))
		return write(c->fd, bytes, len);
	if (S_ISSOCK(c->kind))
		return send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	n = pwritev2(c->fd, &iov, 1, -1, RWF_NOWAIT);
	if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
		return n;
	if (poll(&room, 1, 0) > 0)
		return write(c->fd, bytes, len);
	errno = EAGAIN;
	return -1;
}

static bool write_all(struct clean *c, const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = c->never_waits ? write_now(c, bytes + at, len - at)
					   : write(c->fd, bytes + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* Before the next message. */
static void tell_lost(struct clean *c)
{
	char text[128];
	int len = snprintf(text, sizeof(text),
			   TOOL_PREFIX "standard error was not read: %lu lines before this one are "
				       "lost\n",
			   c->lost);

	if (write_all(c, text, (size_t)len))
		c->lost = 0;
}

static void put_out(struct clean *c)
{
	if (c->lost)
		tell_lost(c);
	if (!c->failed && !write_all(c, c->out, c->out_len)) {
		bool is_lost = c->never_waits && c->fd == STDERR_FILENO && errno == EAGAIN;

		c->lost += is_lost;
		c->failed = !is_lost;
		if (c->failed && !c->error)
			c->error = errno ? errno : EIO;
	}
	c->out_len = 0;
}

static void add(struct clean *c, const char *bytes, size_t len)
{
	if (c->out_len + len > sizeof(c->out))
		put_out(c);
	memcpy(c->out + c->out_len, bytes, len);
	c->out_len += len;
}

/* What of @text passes as it is, without a look at more than a byte: plain ASCII and line ends. */
static size_t plain_len(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && n < OUT_BYTES &&
	       (((unsigned char)text[n] >= 0x20 && (unsigned char)text[n] < 0x7f) ||
		text[n] == '\n' || text[n] == '\t'))
		n++;
	return n;
}

/* Bytes that were used; less than @len when a character is cut at the end. */
static size_t put_clean(struct clean *c, const char *text, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t plain = plain_len(text + at, len - at), used, n;
		char shown[PRINTABLE_MAX];

		if (plain) {
			add(c, text + at, plain);
			at += plain;
			continue;
		}
		n = printable_next(text + at, len - at, shown, &used);
		if (!used)
			break;
		add(c, shown, n);
		at += used;
	}
	return at;
}

static ssize_t clean_write(void *cookie, const char *text, size_t len)
{
	struct clean *c = cookie;
	size_t at = 0;

	c->failed = false;
	while (c->cut_len && at < len) { /* byte by byte, until the character is whole or bad */
		char joined[sizeof(c->cut) + 1];
		size_t used;

		memcpy(joined, c->cut, c->cut_len);
		joined[c->cut_len] = text[at];
		used = put_clean(c, joined, c->cut_len + 1);
		if (used > c->cut_len) {
			at++;
			c->cut_len = 0;
		} else if (used) {
			c->cut_len -= used;
			memmove(c->cut, joined + used, c->cut_len);
		} else {
			c->cut[c->cut_len++] = text[at++];
		}
	}
	if (at < len) {
		at += put_clean(c, text + at, len - at);
		c->cut_len = len - at;
		memcpy(c->cut, text + at, c->cut_len);
	}
	put_out(c);
	return c->failed ? 0 : (ssize_t)len;
}

static FILE *clean_stream(struct clean *c, FILE *was, int mode)
{
	const cookie_io_functions_t functions = { .write = clean_write };
	FILE *stream = fopencookie(c, "w", functions);

	if (!stream)
		return was;
	setvbuf(stream, NULL, mode, mode == _IONBF ? 0 : BUFSIZ);
	return stream;
}

void clean_output_start(void)
{
	stdout = clean_stream(&cleans[0], stdout, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF);
	stderr = clean_stream(&cleans[1], stderr, _IONBF);
}

void clean_output_never_wait(void)
{
	for (size_t i = 0; i < 2; i++) {
		struct stat stat;

		fflush(i ? stderr : stdout);
		cleans[i].kind = fstat(cleans[i].fd, &stat) == 0 ? stat.st_mode : 0;
		cleans[i].never_waits = true;
	}
}

int clean_output_error(void)
{
	return cleans[0].error;
}

void clean_output_control(FILE *stream, const char *sequence)
{
	int fd = stream == stderr ? STDERR_FILENO : STDOUT_FILENO;

	fflush(stream);
	if (write(fd, sequence, strlen(sequence)) < 0)
		return; /* as with everything that is drawn over soon */
}
