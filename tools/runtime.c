// SPDX-License-Identifier: MIT
/*
 * Taking over a stale socket is a race between two servers that start with one name: both find it
 * dead, both unlink, and the second unlinks the socket of the first. So looking, unlinking and
 * binding happen under a lock on the directory.
 */
#include "runtime.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/name.h"
#include "lock_wait.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LOCK_MS      10000 /* for others to make their sockets */
#define SUFFIX       ".sock"
#define LISTEN_QUEUE 16

int runtime_dir(char path[PATH_MAX], struct diag *diag)
{
	const char *own = getenv("FAULTBLK_RUNTIME_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int len;

	if (own && own[0])
		len = snprintf(path, PATH_MAX, "%s", own);
	else if (geteuid() == 0)
		len = snprintf(path, PATH_MAX, "/run/faultblk");
	else if (xdg && xdg[0])
		len = snprintf(path, PATH_MAX, "%s/faultblk", xdg);
	else {
		diag_set(diag, 0, "runtime.no-directory",
			 "no place for control sockets: XDG_RUNTIME_DIR is not set");
		diag_hint(diag, "set FAULTBLK_RUNTIME_DIR to a directory of your own");
		return -ENOENT;
	}
	if (len >= PATH_MAX)
		return diag_set(diag, -ENAMETOOLONG, "runtime.path-too-long",
				"the path of the runtime directory is too long");
	return 0;
}

int runtime_dir_make(char path[PATH_MAX], struct diag *diag)
{
	struct stat st;
	int err;

	err = runtime_dir(path, diag);
	if (err)
		return err;
	if (fail_errno("tools/runtime/mkdir", ENOSPC, mkdir(path, 0700)) < 0 && errno != EEXIST) {
		err = -errno;
		return diag_set(diag, err, "runtime.directory", "cannot make %.200s: %s", path,
				strerror(-err));
	}
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return diag_set(diag, -ENOTDIR, "runtime.directory", "%.200s is not a directory",
				path);
	if (st.st_uid != geteuid() || st.st_mode & 077) {
		diag_set(diag, 0, "runtime.directory",
			 "%.200s must belong to user %u with mode 0700, but has user %u, mode %04o",
			 path, geteuid(), st.st_uid, st.st_mode & 07777);
		diag_hint(diag, "chmod 0700 it if it is yours, or set FAULTBLK_RUNTIME_DIR");
		return -EPERM;
	}
	return 0;
}

int runtime_check_name(const char *name, struct diag *diag)
{
	if (name_is_good(name, strlen(name)))
		return 0;
	return diag_set(diag, -EINVAL, "runtime.name",
			"name: got '%.80s', wanted 1 to %d " NAME_WANTED, name, RUNTIME_NAME_MAX);
}

int runtime_socket(const char *name, char path[PATH_MAX], struct diag *diag)
{
	char dir[PATH_MAX];
	int err;

	err = runtime_check_name(name, diag);
	if (!err)
		err = runtime_dir(dir, diag);
	if (err)
		return err;
	if (snprintf(path, PATH_MAX, "%s/%s" SUFFIX, dir, name) >= PATH_MAX)
		return diag_set(diag, -ENAMETOOLONG, "runtime.path-too-long",
				"the path of the socket of '%s' is too long", name);
	return 0;
}

/* ------------------------------------------------------------------------------ sockets */

static int fill_address(const char *path, struct sockaddr_un *address, struct diag *diag)
{
	size_t len = strlen(path);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len == 0 || len >= sizeof(address->sun_path)) {
		diag_set(diag, 0, "runtime.path-too-long",
			 "a socket's path may have 1 to %zu bytes, this one has %zu: %.200s",
			 sizeof(address->sun_path) - 1, len, path);
		diag_hint(diag, "give a shorter --socket PATH, or set FAULTBLK_RUNTIME_DIR");
		return -ENAMETOOLONG;
	}
	memcpy(address->sun_path, path, len);
	return 0;
}

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

int runtime_connect(const char *path, struct diag *diag, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	int err;

	err = fill_address(path, &address, diag);
	if (err)
		return err;
	fd = fail_errno("tools/runtime/client-socket", EMFILE,
			socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		err = -errno;
		diag_set(diag, err, "client.connect", "no disk is served at %.200s: %s", path,
			 err != -ECONNREFUSED ? strerror(-err)
			 : is_socket(path)    ? "its server is gone"
					      : "that is no socket");
		diag_hint(diag, "faultblk list shows the disks that are");
		return err;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Does somebody accept connections there? Never blocks: a full queue of connections is life. */
static bool is_live(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;

	if (fd < 0 || fill_address(path, &address, NULL))
		return false;
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
}

/* Anybody who can read the folder can lock it: nobody is waited for for ever. */
static int lock_directory_of(const char *path, struct diag *diag, int *ret_fd)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".", by[32] = "by somebody";
	pid_t holder = 0;
	int fd, err;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = fail_errno("tools/runtime/lock", EMFILE,
			open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	err = fd < 0 ? -errno : lock_wait(fd, LOCK_MS, &holder);
	if (!err) {
		*ret_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (err == -ETIMEDOUT) {
		if (holder)
			snprintf(by, sizeof(by), "by process %d", (int)holder);
		diag_set(diag, err, "runtime.locked",
			 "the folder of the socket, %.200s, has been locked %s for %d s", dir, by,
			 LOCK_MS / 1000);
		diag_hint(diag, "end that, or give --socket PATH in a folder of your own");
		return err;
	}
	return diag_set(diag, err, "runtime.directory", "cannot use directory %.200s: %s", dir,
			strerror(-err));
}

static int socket_error(int err, const char *path, struct diag *diag)
{
	return diag_set(diag, err, "runtime.socket", "cannot make the socket %.200s: %s", path,
			strerror(-err));
}

/* Make way for a new socket, unless what is there is alive or is no socket at all. */
static int clear_path(const char *path, struct diag *diag)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : socket_error(-errno, path, diag);
	if (!S_ISSOCK(st.st_mode))
		return diag_set(diag, -EEXIST, "runtime.not-a-socket",
				"%.200s is there already, and is not a socket", path);
	if (is_live(path)) {
		diag_set(diag, 0, "runtime.name-taken", "a live server has %.200s", path);
		diag_hint(diag, "choose another --name, or end it with: faultblk stop --socket %s",
			  path);
		return -EADDRINUSE;
	}
	return unlink(path) < 0 && errno != ENOENT ? socket_error(-errno, path, diag) : 0;
}

int runtime_listen(const char *path, struct diag *diag, int *ret_fd)
{
	_cleanup_close_ int fd = -1, lock_fd = -1;
	struct sockaddr_un address;
	int err;

	err = fill_address(path, &address, diag);
	if (!err)
		err = lock_directory_of(path, diag, &lock_fd);
	if (!err)
		err = clear_path(path, diag);
	if (err)
		return err;
	fd = fail_errno("tools/runtime/socket", EMFILE,
			socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	/* The mode set before bind is the one that the file is born with (less the umask). */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    fail_errno("tools/runtime/bind", ENOSPC,
		       bind(fd, (struct sockaddr *)&address, sizeof(address))) < 0)
		return socket_error(-errno, path, diag);
	if (chmod(path, 0600) < 0 ||
	    fail_errno("tools/runtime/listen", EADDRINUSE, listen(fd, LISTEN_QUEUE)) < 0) {
		err = -errno;
		unlink(path);
		return socket_error(err, path, diag);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

/* ------------------------------------------------------------------------------ the directory */

static int is_socket_name(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > strlen(SUFFIX) && strcmp(entry->d_name + len - strlen(SUFFIX), SUFFIX) == 0;
}

int runtime_each(runtime_each_fn each, void *ctx, struct diag *diag)
{
	struct dirent **entries;
	char dir[PATH_MAX];
	int nr, err;

	err = runtime_dir(dir, diag);
	if (err)
		return err;
	nr = fail_errno("tools/runtime/scan", ENOMEM,
			scandir(dir, &entries, is_socket_name, alphasort));
	if (nr < 0 && errno == ENOENT)
		return 0;
	if (nr < 0) {
		err = -errno;
		return diag_set(diag, err, "runtime.directory", "cannot read %.200s: %s", dir,
				strerror(-err));
	}
	for (int i = 0; i < nr; i++) {
		char path[PATH_MAX], name[NAME_MAX + 1];

		snprintf(name, sizeof(name), "%.*s",
			 (int)(strlen(entries[i]->d_name) - strlen(SUFFIX)), entries[i]->d_name);
		if (!err &&
		    snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name) < PATH_MAX)
			err = each(ctx, name, path, is_live(path));
		free(entries[i]);
	}
	free(entries);
	return err;
}
