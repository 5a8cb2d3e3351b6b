// SPDX-License-Identifier: MIT
/*
 * Taking over a stale socket is a race between two servers that start with one name: both find it
 * dead, both unlink, and the second unlinks the socket of the first. So looking, unlinking and
 * binding happen under a lock on the directory.
 */
#include "tools/rpc/runtime.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/name.h"
#include "tools/cli/lock_wait.h"
#include "tools/cli/typed.h"
#include "tools/rpc/others.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LOCK_MS         10000 /* for others to make their sockets */
#define SUFFIX          ".sock"
#define LISTEN_QUEUE    16
#define CONNECT_SECONDS 5 /* what a client waits for a server to take it */

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
		others_hint(diag);
		return -ENOENT;
	}
	if (len >= PATH_MAX)
		return diag_set(diag, -ENAMETOOLONG, "runtime.path-too-long",
				"the path of the runtime directory is too long");
	return 0;
}

/* Nobody else may have put anything there. */
static int check_directory(const char *path, struct diag *diag)
{
	char word[TYPED_WORD_MAX];
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return diag_set(diag, -ENOTDIR, "runtime.directory", "%.200s is not a directory",
				path);
	if (st.st_uid != geteuid() || st.st_mode & 077) {
		diag_set(diag, 0, "runtime.directory",
			 "%.200s must belong to user %u with mode 0700, but has user %u, mode %04o",
			 path, geteuid(), st.st_uid, st.st_mode & 07777);
		diag_hint(diag, "if it is yours: chmod 0700 %s; or set FAULTBLK_RUNTIME_DIR",
			  typed_word(path, "FOLDER", word, sizeof(word)));
		return -EPERM;
	}
	return 0;
}

int runtime_dir_make(char path[PATH_MAX], struct diag *diag)
{
	int err;

	err = runtime_dir(path, diag);
	if (err)
		return err;
	if (fail_errno("tools/rpc/runtime/mkdir", ENOSPC, mkdir(path, 0700)) < 0 &&
	    errno != EEXIST) {
		err = -errno;
		return diag_set(diag, err, "runtime.directory", "cannot make %.200s: %s", path,
				strerror(-err));
	}
	return check_directory(path, diag);
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
	const struct timeval patience = { .tv_sec = CONNECT_SECONDS };
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	int err;

	err = fill_address(path, &address, diag);
	if (err)
		return err;
	fd = fail_errno("tools/rpc/runtime/client-socket", EMFILE,
			socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	/* A server that stands still takes no more once its queue of connections is full. */
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		err = -errno;
		diag_set(diag, err, "client.connect", "no disk is served at %.200s: %s", path,
			 err == -EAGAIN         ? "its server does not answer"
			 : err != -ECONNREFUSED ? strerror(-err)
			 : is_socket(path)      ? "its server is gone"
						: "it is not a socket");
		diag_hint(diag, "faultblk list shows the disks that are served");
		others_hint(diag);
		return err;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

enum socket_is { SOCKET_LIVE, SOCKET_STALE, SOCKET_OTHER, SOCKET_NONE };

/*
 * What lies at @path? Stale is a socket of our user that answers ECONNREFUSED, and nothing else: a
 * datagram socket in use answers EPROTOTYPE. The very file that was looked at is asked, not what
 * its name may lead to meanwhile. Never blocks: a full queue of connections is life. @why: of
 * SOCKET_OTHER, in words.
 */
static enum socket_is look_at(const char *path, struct stat *ret_st, char why[64])
{
	_cleanup_close_ int file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), fd = -1;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	why[0] = '\0';
	if (file < 0 && errno == ENOENT)
		return SOCKET_NONE;
	if (file < 0 || fstat(file, ret_st) < 0) {
		snprintf(why, 64, "cannot be examined: %s", strerror(errno));
		return SOCKET_OTHER;
	}
	if (!S_ISSOCK(ret_st->st_mode)) {
		snprintf(why, 64,
			 S_ISLNK(ret_st->st_mode) ? "is a symbolic link" : "is not a socket");
		return SOCKET_OTHER;
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 &&
	    (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN))
		return SOCKET_LIVE;
	if (fd >= 0 && errno == ECONNREFUSED && ret_st->st_uid == geteuid())
		return SOCKET_STALE;
	if (fd >= 0 && errno == ECONNREFUSED)
		snprintf(why, 64, "belongs to user %u", ret_st->st_uid);
	else if (fd >= 0 && errno == EPROTOTYPE)
		snprintf(why, 64, "is a socket of another kind, in use");
	else
		snprintf(why, 64, "cannot be queried: %s", strerror(errno));
	return SOCKET_OTHER;
}

static bool is_live(const char *path)
{
	struct stat st;
	char why[64];

	return look_at(path, &st, why) == SOCKET_LIVE;
}

/* Remove what was looked at, if it is still that. */
static int unlink_same(const char *path, const struct stat *st)
{
	struct stat now;

	if (lstat(path, &now) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		return -EEXIST;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* Anybody who can read the folder can lock it: nobody is waited for for ever. */
static int lock_directory_of(const char *path, struct diag *diag, int *ret_fd)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".", by[32] = "by an unknown process";
	pid_t holder = 0;
	int fd, err;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = fail_errno("tools/rpc/runtime/lock", EMFILE,
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
		diag_hint(diag, "end that process, or give --socket PATH in a folder of your own");
		return err;
	}
	if (err == -EINTR)
		return diag_set(diag, err, "runtime.interrupted",
				"ended by a signal, while the folder of the socket, %.200s, was "
				"locked by an unknown process",
				dir);
	return diag_set(diag, err, "runtime.directory", "cannot use directory %.200s: %s", dir,
			strerror(-err));
}

static int socket_error(int err, const char *path, struct diag *diag)
{
	return diag_set(diag, err, "runtime.socket", "cannot make the socket %.200s: %s", path,
			strerror(-err));
}

/* Make way for a new socket, unless what is there is alive or is none that we may remove. */
static int clear_path(const char *path, struct diag *diag)
{
	struct stat st;
	char why[64], word[TYPED_WORD_MAX];
	int err = 0;

	switch (look_at(path, &st, why)) {
	case SOCKET_NONE:
		return 0;
	case SOCKET_STALE:
		err = unlink_same(path, &st);
		return err ? socket_error(err, path, diag) : 0;
	case SOCKET_OTHER:
		diag_set(diag, 0, "runtime.not-a-socket", "%.200s exists already, and %s", path,
			 why);
		diag_hint(diag,
			  "remove it if it is not needed, or choose another --name or --socket");
		return -EEXIST;
	case SOCKET_LIVE:
		diag_set(diag, 0, "runtime.name-taken", "a live server uses %.200s", path);
		diag_hint(diag, "choose another --name, or end it with: faultblk stop --socket %s",
			  typed_word(path, "PATH", word, sizeof(word)));
		return -EADDRINUSE;
	}
	return -EINVAL;
}

/* The socket that this process made last: what it was then. */
static struct own_socket {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat st;
} own;

void runtime_unlink(const char *path)
{
	if (strcmp(own.path, path) == 0 && unlink_same(path, &own.st) == 0)
		own.path[0] = '\0';
}

void runtime_remove_stale(const char *path)
{
	struct stat st;
	char why[64];

	if (look_at(path, &st, why) == SOCKET_STALE)
		unlink_same(path, &st);
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
	fd = fail_errno("tools/rpc/runtime/socket", EMFILE,
			socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	/* The mode set before bind is the one that the file is born with (less the umask). */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    fail_errno("tools/rpc/runtime/bind", ENOSPC,
		       bind(fd, (struct sockaddr *)&address, sizeof(address))) < 0)
		return socket_error(-errno, path, diag);
	if (chmod(path, 0600) < 0 ||
	    fail_errno("tools/rpc/runtime/listen", EADDRINUSE, listen(fd, LISTEN_QUEUE)) < 0) {
		err = -errno;
		unlink(path);
		return socket_error(err, path, diag);
	}
	if (lstat(path, &own.st) == 0)
		snprintf(own.path, sizeof(own.path), "%s", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Any other time is one of these a thousand times less often than not, and of a living disk. */
#define NOTE_NS     700000000
#define NOTE_ID_MAX (1 << 20)

void runtime_note_disk(const char *path, int id)
{
	struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = NOTE_NS + id } };
	struct stat st;

	if (id < 0 || id >= NOTE_ID_MAX || lstat(path, &st) < 0)
		return;
	times[1].tv_sec = st.st_mtim.tv_sec;
	if (utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* then list has a line more */
}

int runtime_noted_disk(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_mtim.tv_nsec < NOTE_NS ||
	    st.st_mtim.tv_nsec >= NOTE_NS + NOTE_ID_MAX)
		return -1;
	return (int)(st.st_mtim.tv_nsec - NOTE_NS);
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
	nr = fail_errno("tools/rpc/runtime/scan", ENOMEM,
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

/* The lock keeps out a server between its bind() and its listen(), which looks dead. */
int runtime_sweep(bool dry_run, runtime_sweep_fn each, void *ctx, struct diag *diag)
{
	_cleanup_close_ int lock_fd = -1;
	struct dirent **entries;
	char dir[PATH_MAX], path[PATH_MAX];
	int nr, err = runtime_dir(dir, diag);

	if (err || (access(dir, F_OK) < 0 && errno == ENOENT))
		return err;
	err = check_directory(dir, diag);
	if (!err && (size_t)snprintf(path, sizeof(path), "%s/.", dir) >= sizeof(path))
		err = -ENAMETOOLONG;
	if (!err)
		err = lock_directory_of(path, diag, &lock_fd);
	if (err)
		return err;
	nr = fail_errno("tools/rpc/runtime/sweep", ENOMEM,
			scandir(dir, &entries, is_socket_name, alphasort));
	if (nr < 0)
		return diag_set(diag, -errno, "runtime.directory", "cannot read %.200s: %s", dir,
				strerror(errno));
	for (int i = 0; i < nr; i++) {
		struct stat st;
		char why[64] = "its path is too long";
		enum socket_is is = SOCKET_OTHER;

		if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name) <
		    sizeof(path))
			is = look_at(path, &st, why);
		free(entries[i]);
		if (is == SOCKET_STALE && !dry_run && (err = unlink_same(path, &st))) {
			snprintf(why, sizeof(why), "cannot be removed: %s", strerror(-err));
			is = SOCKET_OTHER;
		}
		if (is == SOCKET_STALE || is == SOCKET_OTHER)
			each(ctx, path, is == SOCKET_STALE ? NULL : why);
	}
	free(entries);
	return 0;
}
