// SPDX-License-Identifier: MIT
#include "tools/rpc/others.h"

#include "base/cleanup.h"
#include "base/diag.h"
#include "base/failpoint.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVER_NAME "faultblk"

/* "/dev/ublkb0, /dev/ublkb1" of the disks there are; how many. */
static unsigned int name_disks(const char *sys, char *buf, size_t size)
{
	DIR *dir = fail_null("tools/rpc/others/sys", EMFILE, opendir(sys));
	struct dirent *entry;
	unsigned int nr = 0;
	size_t len = 0;

	buf[0] = '\0';
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "ublkb", 5) != 0)
			continue;
		/* More names than that help nobody. */
		if (nr++ < 4 && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s/dev/%.32s",
						len ? ", " : "", entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (nr > 4 && len < size)
		snprintf(buf + len, size - len, ", ...");
	return nr;
}

static bool is_server(const char *proc, const char *pid, uid_t *ret_owner)
{
	char path[PATH_MAX], comm[32] = "";
	_cleanup_fclose_ FILE *f = NULL;
	struct stat st;

	snprintf(path, sizeof(path), "%s/%.16s/comm", proc, pid);
	f = fopen(path, "re");
	if (!f || fstat(fileno(f), &st) < 0 || !fgets(comm, sizeof(comm), f))
		return false;
	comm[strcspn(comm, "\n")] = '\0';
	*ret_owner = st.st_uid;
	return strcmp(comm, SERVER_NAME) == 0;
}

/* The first process of ours that somebody else runs; 0: there is none. */
static int find_server(const char *proc, uid_t user, uid_t *ret_owner)
{
	DIR *dir = fail_null("tools/rpc/others/proc", EMFILE, opendir(proc));
	struct dirent *entry;
	uid_t owner;
	int pid = 0;

	while (dir && !pid && (entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    is_server(proc, entry->d_name, &owner) && owner != user) {
			pid = atoi(entry->d_name);
			*ret_owner = owner;
		}
	if (dir)
		closedir(dir);
	return pid;
}

bool others_look(const char *sys, const char *proc, uid_t user, char *buf, size_t size)
{
	char disks[160];
	unsigned int nr = name_disks(sys, disks, sizeof(disks));
	uid_t owner = 0;
	int pid = nr ? find_server(proc, user, &owner) : 0;

	buf[0] = '\0';
	if (!pid)
		return false;
	snprintf(buf, size, "%s %s served by user %u%s, whose faultblk is process %d: %s", disks,
		 nr == 1 ? "is" : "are", owner, owner == 0 ? " (root)" : "", pid,
		 owner == 0 ? "use sudo" : "run this as that user");
	return true;
}

void others_hint(struct diag *diag)
{
	char text[320];

	if (others_look("/sys/block", "/proc", geteuid(), text, sizeof(text)))
		diag_hint(diag, "%s", text);
}
