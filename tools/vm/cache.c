/* SPDX-License-Identifier: MIT */
/*
 * The cache: packages unpacked, and what was learned about this machine.
 *
 *	CACHE/lock				held while something is fetched
 *	CACHE/apt				lists of the archive
 *	CACHE/kernel-ROLE -> kernels/RELEASE	vmlinux, lib/modules/RELEASE, release
 *	CACHE/qemu -> qemus/VERSION		usr/bin, usr/lib, usr/share, release
 *	CACHE/init-HASH				the guest's first process, as this program has it
 *	CACHE/kvm-RELEASE			boot id of this machine, and 1 or 0: a boot worked
 *
 * Everything appears by a rename, so what is there is whole, and reading needs no lock.
 */
#include "vm.h"

#include "base/cleanup.h"
#include "tools/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STALE_INIT_SEC (24 * 3600)
#define SAID_WHY       (-ECANCELED) /* failed, and a message is out already */

static const char *const roles[] = { "lts", "latest" };

static bool is_role(const char *kernel)
{
	for (size_t i = 0; i < array_size(roles); i++)
		if (strcmp(kernel, roles[i]) == 0)
			return true;
	return false;
}

__attribute__((format(printf, 2, 3))) static int path_format(char path[PATH_MAX], const char *fmt,
							     ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(path, PATH_MAX, fmt, ap);
	va_end(ap);
	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int make_dirs(const char *path)
{
	char part[PATH_MAX];
	int err = path_format(part, "%s", path);

	if (err)
		return err;
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(part, 0755);
		*p = '/';
	}
	return mkdir(part, 0755) && errno != EEXIST ? -errno : 0;
}

static int find_dir(struct vm_cache *cache)
{
	const char *ours = getenv("FAULTBLK_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	char path[PATH_MAX];
	int err;

	if (ours && *ours)
		err = path_format(path, "%s", ours);
	else if (xdg && *xdg == '/')
		err = path_format(path, "%s/faultblk", xdg);
	else if (home && *home == '/')
		err = path_format(path, "%s/.cache/faultblk", home);
	else
		err = path_format(path, "/var/cache/faultblk");
	if (!err)
		err = make_dirs(path);
	if (!err && !realpath(path, cache->dir))
		err = -errno;
	if (err)
		tool_msg("vm: cannot make the cache folder %s: %s; FAULTBLK_CACHE names another",
			 path, strerror(-err));
	return err;
}

/* First line of a small file, without its end. */
static int read_line(const char *path, char *line, size_t size)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	if (!fgets(line, (int)size, file))
		return -EIO;
	line[strcspn(line, "\n")] = 0;
	return 0;
}

/* ---- packages ---- */

static int script_fd(void)
{
	_cleanup_close_ int fd = memfd_create("faultblk-fetch", 0);
	size_t len = (size_t)(vm_fetch_blob_end - vm_fetch_blob);

	if (fd < 0 || write(fd, vm_fetch_blob, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET))
		return -errno;
	return take_fd(&fd);
}

static void script_exec(int fd, pid_t parent, const char *dir, const char *what, const char *role)
{
	char script[64];

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is COMMAND's */
	snprintf(script, sizeof(script), "/proc/self/fd/%d", fd);
	execlp("sh", "sh", script, dir, what, role, (char *)NULL);
	_exit(127);
}

/* Run the script; a signal that ends us ends it and whatever it runs. */
static int fetch(const struct vm_cache *cache, const char *what, const char *role)
{
	_cleanup_close_ int fd = script_fd();
	pid_t parent = getpid(), pid;
	int status = -1;

	if (fd < 0)
		return fd;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		script_exec(fd, parent, cache->dir, what, role);
	setpgid(pid, pid);
	while (waitpid(pid, &status, 0) < 0)
		if (errno == EINTR && vm_signals_pending())
			kill(-pid, SIGTERM);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : SAID_WHY;
}

static bool have(const struct vm_cache *cache, const char *name)
{
	char path[PATH_MAX];

	return path_format(path, "%s/%s/release", cache->dir, name) == 0 && access(path, R_OK) == 0;
}

/* The lock is for fetching only; who waited for it looks again. */
static int ensure(const struct vm_cache *cache, const char *name, const char *what,
		  const char *role, bool refresh)
{
	_cleanup_close_ int lock = -1;
	char path[PATH_MAX];
	int err = path_format(path, "%s/lock", cache->dir);

	if (err || (!refresh && have(cache, name)))
		return err;
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (lock < 0)
		return -errno;
	while (flock(lock, LOCK_EX))
		if (errno != EINTR || vm_signals_pending())
			return -errno;
	if (!refresh && have(cache, name))
		return 0;
	return fetch(cache, what, role);
}

/* The folder behind a link of the cache, and its release. */
static int resolve(const struct vm_cache *cache, const char *name, char ret_dir[PATH_MAX],
		   char *ret_release, size_t size)
{
	char path[PATH_MAX];
	int err = path_format(path, "%s/%s", cache->dir, name);

	if (!err && !realpath(path, ret_dir))
		err = -errno;
	if (!err)
		err = path_format(path, "%s/release", ret_dir);
	return err ? err : read_line(path, ret_release, size);
}

static int open_role(struct vm_cache *cache, const char *role, bool refresh)
{
	char name[32], dir[PATH_MAX];
	int err;

	snprintf(name, sizeof(name), "kernel-%s", role);
	err = ensure(cache, name, "kernel", role, refresh);
	if (!err)
		err = resolve(cache, name, dir, cache->kernel_release,
			      sizeof(cache->kernel_release));
	if (!err)
		err = path_format(cache->kernel, "%s/vmlinux", dir);
	if (!err)
		err = path_format(cache->modules, "%s/lib/modules/%s", dir, cache->kernel_release);
	return err;
}

/* A kernel of the user's: its modules are beside it, or where the system has them. */
static int open_path(struct vm_cache *cache, const char *path)
{
	static const char *const places[] = { "%s/lib/modules/%s", "%s/../lib/modules/%s" };
	char dir[PATH_MAX], release[PATH_MAX];
	const char *name;

	if (!realpath(path, cache->kernel)) {
		tool_msg("vm: no kernel '%s': wanted lts, latest or the path of a vmlinuz", path);
		return SAID_WHY;
	}
	name = strrchr(cache->kernel, '/') + 1;
	(void)path_format(dir, "%.*s", (int)(name - cache->kernel), cache->kernel);
	(void)path_format(release, "%srelease", dir);
	if (read_line(release, cache->kernel_release, sizeof(cache->kernel_release)))
		snprintf(cache->kernel_release, sizeof(cache->kernel_release), "%s",
			 strchr(name, '-') ? strchr(name, '-') + 1 : name);
	for (size_t i = 0; i < array_size(places); i++)
		if (!path_format(cache->modules, places[i], dir, cache->kernel_release) &&
		    !access(cache->modules, X_OK))
			return 0;
	(void)path_format(cache->modules, "/lib/modules/%s", cache->kernel_release);
	if (!access(cache->modules, X_OK))
		return 0;
	tool_msg("vm: no modules for %s: neither %slib/modules/%s nor %s", cache->kernel, dir,
		 cache->kernel_release, cache->modules);
	return SAID_WHY;
}

/* ---- the guest's first process ---- */

static uint64_t hash_bytes(const char *p, const char *end)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; p < end; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3ull;
	return hash;
}

/* Those of older builds; a day later no machine boots with them any more. */
static void remove_stale(const struct vm_cache *cache)
{
	DIR *dir = opendir(cache->dir);
	struct dirent *e;
	struct stat st;

	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, "init-", 5) && !fstatat(dirfd(dir), e->d_name, &st, 0) &&
		    time(NULL) - st.st_mtime > STALE_INIT_SEC)
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
}

static int install_init(struct vm_cache *cache)
{
	_cleanup_close_ int fd = -1;
	size_t len = (size_t)(vm_init_blob_end - vm_init_blob);
	char temporary[PATH_MAX];
	struct stat st;
	int err;

	err = path_format(cache->init, "%s/init-%016llx", cache->dir,
			  (unsigned long long)hash_bytes(vm_init_blob, vm_init_blob_end));
	if (err || (!stat(cache->init, &st) && (size_t)st.st_size == len))
		return err;
	remove_stale(cache);
	err = path_format(temporary, "%s.%d", cache->init, (int)getpid());
	if (err)
		return err;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, vm_init_blob, len) != (ssize_t)len || fchmod(fd, 0755) ||
	    rename(temporary, cache->init))
		return errno ? -errno : -EIO;
	return 0;
}

int vm_cache_open(struct vm_cache *cache, const char *kernel, bool refresh)
{
	int err = find_dir(cache);

	if (err)
		return err;
	err = is_role(kernel) ? open_role(cache, kernel, refresh) : open_path(cache, kernel);
	if (!err)
		err = ensure(cache, "qemu", "qemu", "-", refresh);
	if (!err)
		err = resolve(cache, "qemu", cache->qemu, cache->qemu_release,
			      sizeof(cache->qemu_release));
	if (!err)
		err = install_init(cache);
	if (!err && strlen(cache->modules) >= sizeof(((struct vm_job *)0)->modules))
		err = -ENAMETOOLONG;
	if (err && err != SAID_WHY && !vm_signals_pending())
		tool_msg("vm: the machine's parts are not complete in %s: %s", cache->dir,
			 strerror(-err));
	return err;
}

/* ---- what is known about KVM ---- */

static int verdict_path(const struct vm_cache *cache, char path[PATH_MAX], char boot[64])
{
	int err = read_line("/proc/sys/kernel/random/boot_id", boot, 64);

	return err ? err : path_format(path, "%s/kvm-%s", cache->dir, cache->kernel_release);
}

int vm_cache_kvm_verdict(const struct vm_cache *cache)
{
	char path[PATH_MAX], boot[64], line[96];
	size_t len;

	if (verdict_path(cache, path, boot) || read_line(path, line, sizeof(line)))
		return -ENOENT;
	len = strlen(boot);
	if (strncmp(line, boot, len) || line[len] != ' ')
		return -ENOENT;
	return line[len + 1] == '1';
}

void vm_cache_set_kvm_verdict(const struct vm_cache *cache, bool works)
{
	char path[PATH_MAX], temporary[PATH_MAX], boot[64];
	FILE *file;

	if (verdict_path(cache, path, boot) || path_format(temporary, "%s.%d", path, (int)getpid()))
		return;
	file = fopen(temporary, "we");
	if (!file)
		return;
	fprintf(file, "%s %d\n", boot, works);
	if (fclose(file) || rename(temporary, path))
		unlink(temporary);
}
