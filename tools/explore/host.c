// SPDX-License-Identifier: MIT
/*
 * A check that ends because the machine has no space, memory or processes for it has judged nothing.
 *
 *	space      of the folder that images and temporary files are in: looked at again and again
 *		   while the command runs and at its end, when all that it wrote is still there
 *	memory     the kernel counts whom it has killed for want of it
 *	processes  so do the control groups that refuse new ones
 *	file size  the signal of that limit
 *
 * Space that was used up and freed between two looks is seen by the words that the command printed,
 * if the folder had no room for all that the images may become.
 *
 * The counters are the machine's: what happens elsewhere meanwhile counts, too. A state is then done
 * again (--resume) that need not have been, and none is taken for good or bad that was not judged.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define LEVELS_MAX 8u         /* control groups, from ours upwards */
#define FULL_BYTES (1u << 16) /* that what runs beside us may take between two looks */

struct host {
	int work_fd, vmstat_fd; /* -1: not to be looked at */
	int pids_fds[LEVELS_MAX];
	size_t nr_pids;
	uint64_t images_bytes;
	char full[256];
};

static const char killed[] = "the kernel killed a process for lack of memory while it ran";
static const char refused[] =
	"the limit of processes of its control group (pids.max) was reached while it ran";
static const char too_large[] = "a file would have become larger than the limit (ulimit -f) allows";

/* ------------------------------------------------------------------------------ counters */

/* The number behind @word at the beginning of a line; 0: there is none. */
static uint64_t read_count(int fd, const char *word)
{
	char text[32768];
	ssize_t len = fd < 0 ? -1 : pread(fd, text + 1, sizeof(text) - 2, 0);
	const char *at;

	if (len <= 0)
		return 0;
	text[0] = '\n';
	text[len + 1] = '\0';
	at = strstr(text, word);
	return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

static uint64_t oom_kills(const struct host *host)
{
	return read_count(host->vmstat_fd, "\noom_kill ");
}

static uint64_t pids_refused(const struct host *host)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < host->nr_pids; i++)
		sum += read_count(host->pids_fds[i], "\nmax ");
	return sum;
}

static void open_pids(struct host *host, const char *path)
{
	int fd = host->nr_pids < LEVELS_MAX ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		host->pids_fds[host->nr_pids++] = fd;
}

/* Those of our control group and of all above it: whichever has the limit counts. */
static void open_groups(struct host *host)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX], path[PATH_MAX + 64];

	/* "0::/PATH", or of the first version "8:pids:/PATH". */
	while (file && fgets(line, sizeof(line), file)) {
		char *group = strchr(line, '/');
		bool is_old = strstr(line, ":pids:/") != NULL;

		if (!group || (!is_old && strncmp(line, "0::/", 4) != 0))
			continue;
		group[strcspn(group, "\n")] = '\0';
		for (char *slash; (slash = strrchr(group, '/')); *slash = '\0') {
			snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s/pids.events",
				 is_old ? "/pids" : "", group);
			open_pids(host, path);
		}
	}
}

/* ------------------------------------------------------------------------------ looking */

void host_look(const struct host *host, struct host_seen *seen)
{
	struct statvfs stat;
	uint64_t free_bytes;

	if (!host || fstatvfs(host->work_fd, &stat) < 0)
		return;
	free_bytes = (uint64_t)stat.f_bavail * stat.f_frsize;
	/* A tmpfs without a limit has no numbers of blocks or inodes at all. */
	seen->full |= stat.f_blocks && free_bytes < FULL_BYTES;
	seen->full |= stat.f_files && !stat.f_favail;
	seen->tight |= stat.f_blocks && free_bytes < host->images_bytes;
}

void host_begin(const struct host *host, struct host_seen *seen)
{
	*seen = (struct host_seen){ 0 };
	if (!host)
		return;
	seen->oom_kills = oom_kills(host);
	seen->refused = pids_refused(host);
	host_look(host, seen);
}

static bool says_full(const char *output)
{
	return output &&
	       (strstr(output, strerrordesc_np(ENOSPC)) || strstr(output, strerrordesc_np(EDQUOT)));
}

/* The signal itself, or the shell's word for it, and there is such a limit. */
static bool is_too_large(int status)
{
	struct rlimit limit;

	return ((WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) ||
		(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGXFSZ)) &&
	       getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

const char *host_lack(const struct host *host, const struct host_seen *seen, int status,
		      const char *output)
{
	if (!host)
		return NULL;
	if (seen->full || (seen->tight && status && says_full(output)))
		return host->full;
	if (oom_kills(host) > seen->oom_kills)
		return killed;
	if (pids_refused(host) > seen->refused)
		return refused;
	return is_too_large(status) ? too_large : NULL;
}

/* ------------------------------------------------------------------------------ life */

int host_create(const char *work, uint64_t images_bytes, const struct host_files *files,
		struct diag *diag, struct host **ret_host)
{
	struct host *host = fail_alloc("tools/explore/host/alloc", calloc(1, sizeof(*host)));

	if (!host)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory to watch the machine");
	host->images_bytes = images_bytes;
	host->vmstat_fd = open(files ? files->vmstat : "/proc/vmstat", O_RDONLY | O_CLOEXEC);
	snprintf(host->full, sizeof(host->full),
		 "%.180s, where images and FAULTBLK_TMP are, was full while it ran", work);
	host->work_fd = fail_errno("tools/explore/host/work", EMFILE,
				   open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (host->work_fd < 0) {
		int err = diag_set(diag, -errno, "explore.work", "cannot examine %s: %s", work,
				   strerror(errno));

		host_free(host);
		return err;
	}
	for (size_t i = 0; files && files->pids[i]; i++)
		open_pids(host, files->pids[i]);
	if (!files)
		open_groups(host);
	*ret_host = host;
	return 0;
}

struct host *host_free(struct host *host)
{
	if (!host)
		return NULL;
	if (host->work_fd >= 0)
		close(host->work_fd);
	if (host->vmstat_fd >= 0)
		close(host->vmstat_fd);
	for (size_t i = 0; i < host->nr_pids; i++)
		close(host->pids_fds[i]);
	free(host);
	return NULL;
}
