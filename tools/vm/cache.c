/* SPDX-License-Identifier: MIT */
/*
 * The cache: packages unpacked, and what was learned about this machine.
 *
 *	CACHE/lock				held while something is fetched
 *	CACHE/apt				lists of the archive
 *	CACHE/kernel-ROLE -> kernels/RELEASE	vmlinux, lib/modules/RELEASE, release, digests
 *	CACHE/qemu -> qemus/VERSION		usr/bin, usr/lib, usr/share, release, digests
 *	CACHE/init-HASH				the guest's first process, as this program has it
 *	CACHE/kvm-boot-RELEASE			boot id of this machine, the second since then, and `works`
 *						or why a boot did not
 *	CACHE/checked-RELEASE			boot id, and 1: all of it was read and is whole
 *
 * What is in it runs as root, so nobody but root and us may be able to write there. Everything is
 * on the disk before it appears, by a rename: what is there is whole, reading needs no lock, and
 * what a bad disk makes of it later is found by package.c before anything of it is used.
 */
#include "tools/vm/vm.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/cli/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#define NOTE_MAX       320
#define LOOK_NS        (20 * NSEC_PER_SEC)
#define KVM_NOTE       "kvm-boot" /* "kvm" had another form, for programs that are older */
#define KVM_WORKS      "works"
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

static int cache_path(char path[PATH_MAX])
{
	const char *ours = getenv("FAULTBLK_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");

	if (ours && *ours)
		return path_format(path, "%s", ours);
	if (xdg && *xdg == '/')
		return path_format(path, "%s/faultblk", xdg);
	if (home && *home == '/')
		return path_format(path, "%s/.cache/faultblk", home);
	return path_format(path, "/var/cache/faultblk");
}

static int find_dir(struct vm_cache *cache)
{
	struct diag diag = { .line = 0 };
	char path[PATH_MAX];
	int err = cache_path(path);

	if (!err)
		err = make_dirs(path);
	if (!err && !realpath(path, cache->dir))
		err = -errno;
	if (err) {
		tool_msg("vm: cannot make the cache folder %s: %s; set FAULTBLK_CACHE to another "
			 "folder",
			 path, strerror(-err));
		return SAID_WHY;
	}
	err = vm_folder_check(cache->dir, &diag);
	if (!err)
		return 0;
	tool_msg("vm: the cache %s is not used: %s", cache->dir, diag.message);
	if (err == -EPERM)
		tool_msg("vm: who can write there decides what runs here; FAULTBLK_CACHE names "
			 "another folder (what is in this one may be theirs: do not keep it)");
	return SAID_WHY;
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

/* A file that was written as @temporary gets its name, once it is on the disk. */
static int publish(const struct vm_cache *cache, int fd, const char *temporary, const char *path)
{
	_cleanup_close_ int dir = open(cache->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0 && !fsync(fd) && !rename(temporary, path) && !fsync(dir))
		return 0;
	return -errno;
}

/*
 * A note is a file of one line: words about @name that hold until this machine starts again.
 * Nothing depends on one: where it is lost, what it says is found out anew.
 */
static int note_path(const struct vm_cache *cache, const char *kind, const char *name,
		     char path[PATH_MAX], char boot[64])
{
	int err = read_line("/proc/sys/kernel/random/boot_id", boot, 64);

	return err ? err : path_format(path, "%s/%s-%s", cache->dir, kind, name);
}

/* 0 and the words as they were set, or -ENOENT. */
static int note_get(const struct vm_cache *cache, const char *kind, const char *name,
		    char ret_words[NOTE_MAX])
{
	char path[PATH_MAX], boot[64], line[64 + NOTE_MAX];
	size_t len;

	if (note_path(cache, kind, name, path, boot) || read_line(path, line, sizeof(line)))
		return -ENOENT;
	len = strlen(boot);
	if (strncmp(line, boot, len) || line[len] != ' ')
		return -ENOENT;
	snprintf(ret_words, NOTE_MAX, "%.*s", NOTE_MAX - 1, line + len + 1);
	return 0;
}

static void note_set(const struct vm_cache *cache, const char *kind, const char *name,
		     const char *words)
{
	char path[PATH_MAX], temporary[PATH_MAX], boot[64];
	_cleanup_close_ int fd = -1;

	if (note_path(cache, kind, name, path, boot) ||
	    path_format(temporary, "%s.%d", path, (int)getpid()))
		return;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	if (dprintf(fd, "%s %s\n", boot, words) < 0 || publish(cache, fd, temporary, path))
		unlink(temporary);
}

/* ---- packages ---- */

/* One of the cache, as the script and we name it. */
struct cached_package {
	const char *what, *role; /* words for the script */
	char link[32];           /* of the cache */
};

static int script_fd(void)
{
	_cleanup_close_ int fd = memfd_create("faultblk-fetch", 0);
	size_t len = (size_t)(vm_fetch_blob_end - vm_fetch_blob);

	if (fd < 0 || write(fd, vm_fetch_blob, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET))
		return -errno;
	return take_fd(&fd);
}

static void script_exec(int fd, pid_t parent, const char *dir, const struct cached_package *package,
			const char *how)
{
	char script[64];

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is COMMAND's */
	snprintf(script, sizeof(script), "/proc/self/fd/%d", fd);
	execlp("sh", "sh", script, dir, package->what, package->role, how, (char *)NULL);
	_exit(127);
}

/* Run the script; a signal that ends us ends it and whatever it runs. The lock is held. */
static int fetch(const struct vm_cache *cache, const struct cached_package *package,
		 const char *how)
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
		script_exec(fd, parent, cache->dir, package, how);
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

/*
 * For whoever changes packages. Nobody else may open the file, since who can open it can hold it.
 * A descriptor, or -errno.
 */
static int lock_cache(const struct vm_cache *cache)
{
	_cleanup_close_ int lock = -1;
	char path[PATH_MAX];
	int err = path_format(path, "%s/lock", cache->dir);

	if (err)
		return err;
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0 || fchmod(lock, 0600))
		return -errno;
	if (!flock(lock, LOCK_EX | LOCK_NB))
		return take_fd(&lock);
	if (errno == EWOULDBLOCK)
		tool_msg("vm: another process is fetching packages; waiting for it");
	while (flock(lock, LOCK_EX))
		if (errno != EINTR || vm_signals_pending())
			return -errno;
	return take_fd(&lock);
}

/* Who waited for the lock looks again. */
static int ensure(const struct vm_cache *cache, const struct cached_package *package, bool refresh)
{
	_cleanup_close_ int lock = -1;

	if (!refresh && have(cache, package->link))
		return 0;
	lock = lock_cache(cache);
	if (lock < 0)
		return lock;
	if (!refresh && have(cache, package->link))
		return 0;
	return fetch(cache, package, "new");
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

static bool is_inside(const struct vm_cache *cache, const char *path)
{
	size_t len = strlen(cache->dir);

	return strncmp(path, cache->dir, len) == 0 && path[len] == '/';
}

/* Whether the package is what was fetched; all of it once since this machine started. */
static int check(const struct vm_cache *cache, const char *dir, struct diag *diag)
{
	const char *name = strrchr(dir, '/') + 1;
	char dependencies[PATH_MAX];
	char words[NOTE_MAX];
	bool all = note_get(cache, "checked", name, words) || strcmp(words, "1") != 0;
	int err = path_format(dependencies, "lib/modules/%s/modules.dep", name);

	if (!err && !is_inside(cache, dir))
		err = diag_set(diag, -EBADMSG, "vm.cache", "the link leads out of the cache, to %s",
			       dir);
	if (!err)
		err = vm_package_check(dir, dependencies, all, diag);
	if (!err && all)
		note_set(cache, "checked", name, "1");
	return err;
}

/*
 * A package that is not what was fetched is fetched anew, since it is ours. One from before there
 * were digests gets those of what it holds now: nothing is left to compare it with.
 */
static int mend(const struct vm_cache *cache, const struct cached_package *package,
		char dir[PATH_MAX], char *ret_release, size_t size)
{
	_cleanup_close_ int lock = lock_cache(cache);
	struct diag diag = { .line = 0 };
	int err = lock < 0 ? lock : resolve(cache, package->link, dir, ret_release, size);

	if (err)
		return err;
	err = check(cache, dir, &diag);
	if (err == -ENOENT) {
		tool_msg("vm: %s was made by an older faultblk without digests; those of its "
			 "present files are stored (--refresh fetches the files again)",
			 dir);
		err = fetch(cache, package, "adopt");
	} else if (err == -EBADMSG) {
		tool_msg("vm: %s is damaged: %s; fetching it again", dir, diag.message);
		err = fetch(cache, package, "again");
	}
	if (!err)
		err = resolve(cache, package->link, dir, ret_release, size);
	if (!err)
		err = check(cache, dir, &diag);
	if (!err || err == SAID_WHY)
		return err;
	tool_msg("vm: %s cannot be used: %s", dir, diag.message[0] ? diag.message : strerror(-err));
	return SAID_WHY;
}

/* The package is there and whole: its folder and release. */
static int open_package(const struct vm_cache *cache, const struct cached_package *package,
			bool refresh, char ret_dir[PATH_MAX], char *ret_release, size_t size)
{
	struct diag diag = { .line = 0 };
	int err = ensure(cache, package, refresh);

	if (!err)
		err = resolve(cache, package->link, ret_dir, ret_release, size);
	if (!err)
		err = check(cache, ret_dir, &diag);
	if (err == -ENOENT || err == -EBADMSG)
		err = mend(cache, package, ret_dir, ret_release, size);
	return err;
}

static int open_role(struct vm_cache *cache, const char *role, bool refresh)
{
	struct cached_package package = { .what = "kernel", .role = role };
	char dir[PATH_MAX];
	int err;

	snprintf(package.link, sizeof(package.link), "kernel-%s", role);
	err = open_package(cache, &package, refresh, dir, cache->kernel_release,
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

/* Whether the file is ours alone and has the very bytes of this program's. */
static bool is_init(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t len = (size_t)(vm_init_blob_end - vm_init_blob), at = 0;
	char buf[65536];
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_mode & 022 ||
	    (st.st_uid && st.st_uid != geteuid()) || (size_t)st.st_size != len)
		return false;
	for (; at < len && (n = read(fd, buf, sizeof(buf))) > 0; at += (size_t)n)
		if ((size_t)n > len - at || memcmp(buf, vm_init_blob + at, (size_t)n))
			return false;
	return at == len;
}

static int install_init(struct vm_cache *cache)
{
	_cleanup_close_ int fd = -1;
	size_t len = (size_t)(vm_init_blob_end - vm_init_blob);
	char temporary[PATH_MAX];
	int err;

	err = path_format(cache->init, "%s/init-%016llx", cache->dir,
			  (unsigned long long)hash_bytes(vm_init_blob, vm_init_blob_end));
	if (err || is_init(cache->init))
		return err;
	remove_stale(cache);
	err = path_format(temporary, "%s.%d", cache->init, (int)getpid());
	if (err)
		return err;
	unlink(temporary); /* of a process that had our number */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0)
		return -errno;
	errno = EIO;
	if (write(fd, vm_init_blob, len) != (ssize_t)len || fchmod(fd, 0755))
		err = -errno;
	if (!err)
		err = publish(cache, fd, temporary, cache->init);
	if (err)
		unlink(temporary);
	return err;
}

int vm_cache_open(struct vm_cache *cache, const char *kernel, bool refresh)
{
	struct cached_package qemu = { .what = "qemu", .role = "-", .link = "qemu" };
	int err = find_dir(cache);

	if (err)
		return err;
	err = is_role(kernel) ? open_role(cache, kernel, refresh) : open_path(cache, kernel);
	if (!err)
		err = open_package(cache, &qemu, refresh, cache->qemu, cache->qemu_release,
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

int vm_cache_kvm(const struct vm_cache *cache, struct vm_kvm_note *ret_note)
{
	char words[NOTE_MAX];
	uint64_t now_sec = clock_now_ns() / NSEC_PER_SEC;
	unsigned long long at_sec;
	int len = 0;

	if (note_get(cache, KVM_NOTE, cache->kernel_release, words) ||
	    sscanf(words, "%llu %n", &at_sec, &len) != 1 || !words[len] || at_sec > now_sec)
		return -ENOENT;
	*ret_note = (struct vm_kvm_note){ .works = strcmp(words + len, KVM_WORKS) == 0,
					  .age_sec = now_sec - at_sec };
	if (ret_note->works)
		return 0;
	snprintf(ret_note->why, sizeof(ret_note->why), "%.255s", words + len);
	return ret_note->age_sec < VM_KVM_RETRY_SEC ? 0 : -ENOENT;
}

void vm_cache_set_kvm(const struct vm_cache *cache, const char *why)
{
	char words[NOTE_MAX];

	snprintf(words, sizeof(words), "%llu %.255s",
		 (unsigned long long)(clock_now_ns() / NSEC_PER_SEC), why ?: KVM_WORKS);
	note_set(cache, KVM_NOTE, cache->kernel_release, words);
}

int vm_look_kvm(struct vm_kvm_note *ret_note)
{
	struct vm_cache cache = { .dir = "" };
	struct vm_kvm_note note;
	char path[PATH_MAX], dir[PATH_MAX];
	int err = -ENOENT;

	if (cache_path(path) || !realpath(path, cache.dir))
		return -ENOENT;
	for (size_t i = 0; i < array_size(roles); i++) {
		snprintf(path, sizeof(path), "kernel-%s", roles[i]);
		if (resolve(&cache, path, dir, cache.kernel_release,
			    sizeof(cache.kernel_release)) ||
		    vm_cache_kvm(&cache, &note) || (!err && note.age_sec > ret_note->age_sec))
			continue;
		*ret_note = note;
		err = 0;
	}
	return err;
}

/* ---- what doctor asks of the archive ---- */

/* A line that begins as our messages do, without that. */
static void strip_prefix(char *text)
{
	static const char prefix[] = TOOL_PREFIX "vm: ";
	size_t len = strlen(prefix);

	if (strncmp(text, prefix, len) == 0)
		memmove(text, text + len, strlen(text + len) + 1);
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
}

/* The script only looks. */
/* More of what it says, from @fd before @end_ns; 0: its end, or no more is waited for. */
static size_t hear(int fd, char *text, size_t size, uint64_t end_ns)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t now_ns;
	ssize_t n = -1;

	while (n < 0 && (now_ns = clock_now_ns()) < end_ns) {
		int ready = poll(&p, 1, (int)((end_ns - now_ns) / NSEC_PER_MSEC) + 1);

		if (ready > 0)
			n = read(fd, text, size);
		if ((ready < 0 || (ready > 0 && n < 0)) && errno != EINTR)
			return 0;
	}
	return n > 0 ? (size_t)n : 0;
}

/* Its status; one that has not ended by @end_ns is ended. */
static int end_by(pid_t pid, uint64_t end_ns)
{
	const struct timespec pause = { .tv_nsec = 5 * (long)NSEC_PER_MSEC };
	int status = -1;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 && clock_now_ns() < end_ns)
		nanosleep(&pause, NULL);
	if (got == pid)
		return status;
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return -1;
}

/* It asks nobody but this machine's own apt; what takes longer than that is not waited for. */
int vm_look_archive(char *ret_text, size_t size)
{
	const struct cached_package look = { .what = "look", .role = "-" };
	_cleanup_close_ int script = script_fd();
	const uint64_t end_ns = clock_now_ns() + LOOK_NS;
	int ends[2], status = -1;
	size_t len = 0, n = 1;
	pid_t pid;

	ret_text[0] = 0;
	if (script < 0 || pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		script_exec(script, getppid(), "-", &look, "look");
	}
	close(ends[1]);
	for (; pid > 0 && n && len + 1 < size; len += n)
		n = hear(ends[0], ret_text + len, size - 1 - len, end_ns);
	close(ends[0]);
	if (pid > 0)
		status = end_by(pid, end_ns);
	ret_text[len] = 0;
	while (len && ret_text[len - 1] == '\n')
		ret_text[--len] = 0;
	strip_prefix(ret_text);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOENT;
}
