// SPDX-License-Identifier: MIT
#include "base/failpoint.h"

#ifdef FIU_ENABLE

#include <fcntl.h>
#include <fiu-control.h>
#include <fiu.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NTH_ENV    "FAULTBLK_FAIL_NTH"
#define LIST_ENV   "FAULTBLK_FAIL_LIST"
#define POINT_ENV  "FAULTBLK_FAIL_POINT"
#define ORDER_ENV  "FAULTBLK_FAIL_ORDER"
#define LISTED_MAX 1024

static _Atomic uintptr_t counting; /* the N that is being counted to */
static atomic_uint asked;          /* points since then */

/* Has this process listed it? A name is one text, at one address. */
static bool is_new(const char *name)
{
	static const char *_Atomic listed[LISTED_MAX];

	for (size_t i = 0; i < LISTED_MAX; i++) {
		const char *there = NULL;

		if (atomic_compare_exchange_strong(&listed[i], &there, name))
			return true;
		if (there == name)
			return false;
	}
	return false;
}

/* Nothing stays open: children close what they do not know, and open something else there. */
__attribute__((format(printf, 2, 3))) static void write_line(const char *env, const char *fmt, ...)
{
	const char *path = getenv(env);
	char line[128];
	va_list ap;
	int fd, len;

	if (!path)
		return;
	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)len) != len)
		dprintf(STDERR_FILENO, "%s: a failure point is not listed: %s", path, line);
	if (fd >= 0)
		close(fd);
}

bool failpoint(const char *name)
{
	int before = errno;
	unsigned int number;
	uintptr_t nth;

	if (getenv(LIST_ENV) && is_new(name))
		write_line(LIST_ENV, "%s\n", name);
	if (!fiu_fail(name)) {
		errno = before;
		return false;
	}
	nth = (uintptr_t)fiu_failinfo();
	errno = before;
	if (!nth)
		return true;
	if (atomic_exchange(&counting, nth) != nth)
		atomic_store(&asked, 0);
	number = atomic_fetch_add(&asked, 1) + 1;
	write_line(ORDER_ENV, "%s\n", name);
	if (number != nth)
		return false;
	/* Not stdio: the point may lie inside of it, and standard error may be the log of a test.
	 */
	dprintf(STDERR_FILENO, "failpoint %u %s\n", number, name);
	errno = before;
	return true;
}

unsigned int failpoint_asked(void)
{
	return atomic_load(&asked);
}

int failpoint_init(void)
{
	const char *text = getenv(NTH_ENV), *point = getenv(POINT_ENV) ?: "*";
	unsigned long nth;
	int err;
	char *end;

	fiu_init(0);
	if (!text)
		return 0;
	nth = strtoul(text, &end, 10);
	if (text[0] < '1' || text[0] > '9' || *end) {
		fprintf(stderr, NTH_ENV ": got '%s', wanted a number from 1\n", text);
		return -EINVAL;
	}
	err = fiu_enable(point, 1, (void *)nth, 0) ? -EINVAL : 0;
	unsetenv(NTH_ENV);
	unsetenv(POINT_ENV);
	return err;
}

#endif
