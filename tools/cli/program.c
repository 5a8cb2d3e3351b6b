// SPDX-License-Identifier: MIT
#include "tools/cli/program.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM_ENV "FAULTBLK_PROGRAM"

enum path_has { PATH_NONE, PATH_OTHER, PATH_SELF };

/* What does a shell start that looks for "faultblk" in PATH? */
static enum path_has find_in_path(const struct stat *self)
{
	_cleanup_free_ char *list = strdup(getenv("PATH") ?: "");
	char *rest = list, *folder;
	char path[PATH_MAX];
	struct stat stat_of;

	while (rest && (folder = strsep(&rest, ":"))) {
		if (snprintf(path, sizeof(path), "%s/faultblk", folder[0] ? folder : ".") >=
			    (int)sizeof(path) ||
		    access(path, X_OK) < 0 || stat(path, &stat_of) < 0 || S_ISDIR(stat_of.st_mode))
			continue;
		return folder[0] == '/' && stat_of.st_dev == self->st_dev &&
				       stat_of.st_ino == self->st_ino
			       ? PATH_SELF
			       : PATH_OTHER;
	}
	return PATH_NONE;
}

bool program_path(char path[PATH_MAX])
{
	const char *told = getenv(PROGRAM_ENV);
	struct stat self;
	ssize_t len;

	if (told && (!told[0] || told[0] == '/')) {
		snprintf(path, PATH_MAX, "%s", told);
		return told[0];
	}
	len = readlink("/proc/self/exe", path, PATH_MAX - 1);
	if (len <= 0 || stat("/proc/self/exe", &self) < 0 || find_in_path(&self) == PATH_SELF)
		return false;
	path[len] = '\0';
	return true;
}

int program_offer(void)
{
	_cleanup_free_ char *list = NULL;
	const char *old = getenv("PATH");
	char path[PATH_MAX];
	struct stat self;
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (len <= 0 || stat("/proc/self/exe", &self) < 0 || find_in_path(&self) != PATH_NONE)
		return 0;
	path[len] = '\0';
	if (program_tell())
		return -errno;
	/* Of one that lies in / that is all; an empty name would be the folder that we are in. */
	*(strrchr(path, '/') == path ? path + 1 : strrchr(path, '/')) = '\0';
	if (asprintf(&list, "%s:%s", old ?: PROGRAM_DEFAULT_PATH, path) < 0)
		return -ENOMEM;
	return setenv("PATH", list, 1) ? -errno : 0;
}

int program_tell(void)
{
	char path[PATH_MAX];

	return setenv(PROGRAM_ENV, program_path(path) ? path : "", 1) ? -errno : 0;
}
