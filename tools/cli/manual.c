// SPDX-License-Identifier: MIT
#include "tools/cli/manual.h"

#include "base/cleanup.h"
#include "tools/cli/tool.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where pages are, from the folder of the program: as it was built, and as it was installed. */
static const char *const places[] = { "man/%s.1", "../share/man/man1/%s.1",
				      "../share/man/man1/%s.1.gz" };

static bool find_page(const char *name, char path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *end;

	if (len <= 0)
		return false;
	path[len] = '\0';
	end = strrchr(path, '/') + 1;
	for (size_t i = 0; i < array_size(places); i++) {
		size_t room = (size_t)(path + PATH_MAX - end);

		if (snprintf(end, room, places[i], name) < (int)room && access(path, R_OK) == 0)
			return true;
	}
	return false;
}

void manual_open(const char *name)
{
	char path[PATH_MAX];

	if (!isatty(STDOUT_FILENO) || !find_page(name, path))
		return;
	tool_unprepare();
	/* A name with a slash in it is a file for every man. */
	execlp("man", "man", path, (char *)NULL);
	tool_prepare();
}
