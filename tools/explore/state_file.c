// SPDX-License-Identifier: MIT
/*
 * One thread answers all requests. It ends when stop_fd says so, and then closes the connection, so
 * that whoever still waits for an answer gets an error and no one hangs on us.
 *
 *	check -> kernel -> serve() -> view
 *
 * Settling counts opens: the kernel tells of the last close of each, by then all of its writes have
 * been answered. A process that has ended has closed all; what holds on is a loop device.
 */
#define FUSE_USE_VERSION 314
#include "tools/explore/state_file.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mounts.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <glob.h>
#include <limits.h>
#include <linux/loop.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define FIRST_INO     2 /* of the first disk; the folder is FUSE_ROOT_ID */
#define SECTOR_BYTES  (1ull << SECTOR_SHIFT)
#define IO_MAX        (1u << 20)
#define FOREVER_S     86400.0
#define SETTLE_NAP_NS (5 * NSEC_PER_MSEC)

struct state_file {
	char path[PATH_MAX];
	const char *name; /* of path */
	uint64_t size_bytes;
	uint64_t nr_open;
};

struct state_files {
	char where[PATH_MAX];
	struct fuse_session *session; /* the thread's, once it runs */
	int stop_fd;
	bool made, mounted, serving;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t closed;
	struct view *view;
	int error;
	bool gone;             /* nothing is served any more */
	unsigned char *bounce; /* IO_MAX and a sector at both ends; the thread's */
	uint32_t nr;
	struct state_file files[];
};

/* ------------------------------------------------------------------------------ the view */

static void note(struct state_files *files, int err)
{
	if (err && !files->error)
		files->error = err;
}

/* Whole sectors around bytes [@at, @at + @len), which lie in *ret_bytes afterwards. */
static int get(struct state_files *files, uint16_t disk, uint64_t at, size_t len,
	       unsigned char **ret_bytes)
{
	uint64_t from = at & ~(SECTOR_BYTES - 1),
		 to = (at + len + SECTOR_BYTES - 1) & ~(SECTOR_BYTES - 1);
	int err = files->view ? view_read(files->view, disk, from, files->bounce, to - from) : -EIO;

	*ret_bytes = files->bounce + (at - from);
	return err;
}

/* A sector that is written in part is read first. */
static int put(struct state_files *files, uint16_t disk, uint64_t at, const void *data, size_t len)
{
	uint64_t from = at & ~(SECTOR_BYTES - 1), end = at + len,
		 to = (end + SECTOR_BYTES - 1) & ~(SECTOR_BYTES - 1);
	unsigned char *bounce = files->bounce;
	int err = 0;

	if (!files->view)
		return -EIO;
	if (from == at && to == end)
		return view_write(files->view, disk, at, data, len);
	if (from != at)
		err = view_read(files->view, disk, from, bounce, SECTOR_BYTES);
	if (!err && to != end && (from == at || to - from > SECTOR_BYTES))
		err = view_read(files->view, disk, to - SECTOR_BYTES,
				bounce + (to - from - SECTOR_BYTES), SECTOR_BYTES);
	if (err)
		return err;
	memcpy(bounce + (at - from), data, len);
	return view_write(files->view, disk, from, bounce, to - from);
}

static int zero(struct state_files *files, uint16_t disk, uint64_t at, uint64_t len)
{
	static const unsigned char zeroes[SECTOR_BYTES];
	uint64_t end = at + len, from = (at + SECTOR_BYTES - 1) & ~(SECTOR_BYTES - 1),
		 to = end & ~(SECTOR_BYTES - 1);
	int err = 0;

	if (from > to) /* inside a sector */
		return put(files, disk, at, zeroes, len);
	if (at != from)
		err = put(files, disk, at, zeroes, from - at);
	if (!err && from != to)
		err = files->view ? view_zero(files->view, disk, from, to - from) : -EIO;
	if (!err && to != end)
		err = put(files, disk, to, zeroes, end - to);
	return err;
}

/* ------------------------------------------------------------------------------ requests */

static struct state_files *files_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct stat attributes(const struct state_files *files, fuse_ino_t ino)
{
	struct stat attr = { .st_ino = ino,
			     .st_mode = S_IFDIR | 0700,
			     .st_nlink = 2,
			     .st_uid = geteuid(),
			     .st_gid = getegid(),
			     .st_blksize = 4096 };

	if (ino == FUSE_ROOT_ID)
		return attr;
	attr.st_mode = S_IFREG | 0600;
	attr.st_nlink = 1;
	attr.st_size = (off_t)files->files[ino - FIRST_INO].size_bytes;
	attr.st_blocks = attr.st_size / 512;
	return attr;
}

/* No reads but those that are asked for. */
static void do_init(void *ctx, struct fuse_conn_info *conn)
{
	(void)ctx;
	conn->max_readahead = 0;
	conn->max_write = IO_MAX;
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	if (conn->capable_ext & FUSE_CAP_DIRECT_IO_ALLOW_MMAP)
		fuse_set_feature_flag(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
#endif
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct state_files *files = files_of(req);
	struct fuse_entry_param entry = { .attr_timeout = FOREVER_S, .entry_timeout = FOREVER_S };

	for (uint32_t i = 0; parent == FUSE_ROOT_ID && i < files->nr; i++) {
		if (strcmp(files->files[i].name, name) != 0)
			continue;
		entry.ino = FIRST_INO + i;
		entry.attr = attributes(files, entry.ino);
		fuse_reply_entry(req, &entry);
		return;
	}
	fuse_reply_err(req, ENOENT);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct stat attr = attributes(files_of(req), ino);

	(void)info;
	fuse_reply_attr(req, &attr, FOREVER_S);
}

/* Times may be set, and are what they were; a disk keeps its size. */
static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *want, int set,
		       struct fuse_file_info *info)
{
	struct stat attr = attributes(files_of(req), ino);

	(void)info;
	if (((set & FUSE_SET_ATTR_SIZE) && want->st_size != attr.st_size) ||
	    (set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		fuse_reply_err(req, EPERM);
	else
		fuse_reply_attr(req, &attr, FOREVER_S);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
		       struct fuse_file_info *info)
{
	const struct state_files *files = files_of(req);
	char entries[4096];
	size_t len = 0;

	(void)info;
	size = size < sizeof(entries) ? size : sizeof(entries);
	for (off_t i = at; i < (off_t)files->nr + 2; i++) {
		fuse_ino_t inner = i < 2 ? ino : FIRST_INO + (fuse_ino_t)i - 2;
		const struct stat attr = attributes(files, inner);
		size_t more = fuse_add_direntry(req, entries + len, size - len,
						i == 0   ? "."
						: i == 1 ? ".."
							 : files->files[i - 2].name,
						&attr, i + 1);

		if (more > size - len)
			break;
		len += more;
	}
	fuse_reply_buf(req, entries, len);
}

/* The first file that somebody has open, or NULL. */
static const struct state_file *open_file(const struct state_files *files)
{
	for (uint32_t i = 0; i < files->nr; i++)
		if (files->files[i].nr_open)
			return &files->files[i];
	return NULL;
}

static void count_open(struct state_files *files, fuse_ino_t ino, int by)
{
	pthread_mutex_lock(&files->lock);
	files->files[ino - FIRST_INO].nr_open += (uint64_t)by;
	if (!open_file(files))
		pthread_cond_signal(&files->closed);
	pthread_mutex_unlock(&files->lock);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct state_files *files = files_of(req);

	if (info->flags & O_TRUNC) {
		fuse_reply_err(req, EPERM);
		return;
	}
	info->direct_io = 1;
	count_open(files, ino, 1);
	if (fuse_reply_open(req, info) == -ENOENT) /* who asked has been killed */
		count_open(files, ino, -1);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct state_files *files = files_of(req);

	(void)info;
	fuse_reply_err(req, 0);
	count_open(files, ino, -1);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t at,
		    struct fuse_file_info *info)
{
	struct state_files *files = files_of(req);
	uint64_t size = files->files[ino - FIRST_INO].size_bytes;
	unsigned char *bytes;
	int err;

	(void)info;
	if ((uint64_t)at >= size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	len = len < IO_MAX ? len : IO_MAX;
	len = len < size - (uint64_t)at ? len : size - (uint64_t)at;
	pthread_mutex_lock(&files->lock);
	err = get(files, (uint16_t)(ino - FIRST_INO), (uint64_t)at, len, &bytes);
	note(files, err);
	pthread_mutex_unlock(&files->lock);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, (char *)bytes, len);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t at,
		     struct fuse_file_info *info)
{
	struct state_files *files = files_of(req);
	uint64_t size = files->files[ino - FIRST_INO].size_bytes;
	int err = ENOSPC;

	(void)info;
	len = len < IO_MAX ? len : IO_MAX;
	if ((uint64_t)at < size) {
		len = len < size - (uint64_t)at ? len : size - (uint64_t)at;
		pthread_mutex_lock(&files->lock);
		err = -put(files, (uint16_t)(ino - FIRST_INO), (uint64_t)at, data, len);
		note(files, -err);
		pthread_mutex_unlock(&files->lock);
	}
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, len);
}

/* Memory is there for all of the disk; holes and zeroes are the same. */
static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t at, off_t len,
			 struct fuse_file_info *info)
{
	struct state_files *files = files_of(req);
	uint64_t from = (uint64_t)at, size = files->files[ino - FIRST_INO].size_bytes;
	uint64_t end = from + (uint64_t)len; /* no overflow: both are positive off_t */
	int kind = mode & ~FALLOC_FL_KEEP_SIZE, err = 0;

	(void)info;
	if (kind && kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE) {
		err = EOPNOTSUPP;
	} else if (end > size && !(mode & FALLOC_FL_KEEP_SIZE)) {
		err = EPERM;
	} else if (kind && from < size) {
		pthread_mutex_lock(&files->lock);
		err = -zero(files, (uint16_t)(ino - FIRST_INO), from,
			    (end < size ? end : size) - from);
		note(files, -err);
		pthread_mutex_unlock(&files->lock);
	}
	fuse_reply_err(req, err);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct state_files *files = files_of(req);
	struct statvfs stat = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };

	(void)ino;
	for (uint32_t i = 0; i < files->nr; i++)
		stat.f_blocks += files->files[i].size_bytes / 4096;
	stat.f_files = files->nr;
	fuse_reply_statfs(req, &stat);
}

static void refuse_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
			  const char *to_name, unsigned int flags)
{
	(void)to;
	(void)to_name;
	(void)flags;
	refuse_name(req, parent, name);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 dev_t dev)
{
	(void)mode;
	(void)dev;
	refuse_name(req, parent, name);
}

static void refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	refuse_name(req, parent, name);
}

static void refuse_symlink(fuse_req_t req, const char *to, fuse_ino_t parent, const char *name)
{
	(void)to;
	refuse_name(req, parent, name);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	refuse_name(req, parent, name);
}

/* What is not here the kernel does by itself, or need not be done: flush, fsync, locks, access. */
static const struct fuse_lowlevel_ops state_ops = {
	.init = do_init,
	.lookup = do_lookup,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.readdir = do_readdir,
	.open = do_open,
	.release = do_release,
	.read = do_read,
	.write = do_write,
	.fallocate = do_fallocate,
	.statfs = do_statfs,
	.unlink = refuse_name,
	.rmdir = refuse_name,
	.rename = refuse_rename,
	.mknod = refuse_mknod,
	.mkdir = refuse_mkdir,
	.symlink = refuse_symlink,
	.link = refuse_link,
};

/* ------------------------------------------------------------------------------ serving */

static void *serve(void *ctx)
{
	struct state_files *files = ctx;
	struct pollfd fds[] = { { .fd = fuse_session_fd(files->session), .events = POLLIN },
				{ .fd = files->stop_fd, .events = POLLIN } };
	struct fuse_buf buf = { 0 };

	while (!fuse_session_exited(files->session)) {
		int got;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		got = fuse_session_receive_buf(files->session, &buf);
		if (got > 0)
			fuse_session_process_buf(files->session, &buf);
		else if (got != -EINTR && got != -EAGAIN)
			break;
	}
	free(buf.mem);
	fuse_session_destroy(files->session);
	pthread_mutex_lock(&files->lock);
	note(files, -ENOTCONN);
	files->gone = true;
	pthread_cond_signal(&files->closed);
	pthread_mutex_unlock(&files->lock);
	return NULL;
}

_cold_ static int mount_files(struct state_files *files, int fd, struct diag *diag)
{
	char options[192];
	int err;

	if (mkdir(files->where, 0700) < 0)
		return diag_set(diag, -errno, "explore.fuse", "cannot make the folder %s: %s",
				files->where, strerror(errno));
	files->made = true;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions,allow_other,"
		 "max_read=%u",
		 fd, (unsigned int)geteuid(), (unsigned int)getegid(), IO_MAX);
	if (fail_errno("tools/explore/state_file/mount", EPERM,
		       mount("faultblk", files->where, "fuse.faultblk",
			     MS_NOSUID | MS_NODEV | MS_NOATIME, options)) == 0) {
		files->mounted = true;
		return 0;
	}
	err = diag_set(diag, -errno, "explore.fuse", "cannot mount images at %s: %s", files->where,
		       strerror(errno));
	diag_hint(diag, "--present file needs no mount, but excludes the strategy lazy");
	return err;
}

_cold_ static int make_session(struct state_files *files, int fd, struct diag *diag)
{
	char *argv[] = { "faultblk", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	char name[32];

	files->session = fail_alloc("tools/explore/state_file/session",
				    fuse_session_new(&args, &state_ops, sizeof(state_ops), files));
	fuse_opt_free_args(&args);
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	if (files->session && fuse_session_mount(files->session, name) == 0)
		return 0;
	close(fd);
	return diag_set(diag, -ENOMEM, "explore.fuse", "libfuse cannot serve images: no memory");
}

_cold_ static int start_thread(struct state_files *files, struct diag *diag)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = fail_value("tools/explore/state_file/thread", EAGAIN,
			 pthread_create(&files->thread, NULL, serve, files));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return diag_set(diag, -err, "explore.fuse", "no thread to serve images: %s",
				strerror(err));
	files->serving = true;
	return 0;
}

_cold_ static int start(struct state_files *files, struct diag *diag)
{
	int fd, err;

	files->bounce =
		fail_alloc("tools/explore/state_file/bounce", malloc(IO_MAX + 2 * SECTOR_BYTES));
	if (!files->bounce)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory to serve images");
	files->stop_fd =
		fail_errno("tools/explore/state_file/eventfd", EMFILE, eventfd(0, EFD_CLOEXEC));
	if (files->stop_fd < 0)
		return diag_set(diag, -errno, "explore.fuse", "no eventfd: %s", strerror(errno));
	fd = fail_errno("tools/explore/state_file/open", ENODEV,
			open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
	if (fd < 0)
		return diag_set(diag, -errno, "explore.fuse", "cannot open /dev/fuse: %s",
				strerror(errno));
	err = mount_files(files, fd, diag);
	if (err) {
		close(fd);
		return err;
	}
	err = make_session(files, fd, diag);
	return err ? err : start_thread(files, diag);
}

_cold_ static int name_files(struct state_files *files, const struct journal *journal,
			     const char *where, struct diag *diag)
{
	for (uint32_t i = 0; i < files->nr; i++) {
		struct state_file *file = &files->files[i];

		file->size_bytes = journal->disks[i].size_bytes;
		if ((size_t)snprintf(file->path, sizeof(file->path), "%s/%s.img", where,
				     journal->disks[i].name) >= sizeof(file->path))
			return diag_set(diag, -ENAMETOOLONG, "explore.fuse",
					"the path of images is too long: %s", where);
		file->name = strrchr(file->path, '/') + 1;
	}
	strcpy(files->where, where); /* shorter than the paths */
	return 0;
}

_cold_ int state_files_open(const struct journal *journal, const char *where, struct diag *diag,
			    struct state_files **ret_files)
{
	struct state_files *files =
		fail_alloc("tools/explore/state_file/alloc",
			   calloc(1, sizeof(*files) + journal->nr_disks * sizeof(*files->files)));
	int err;

	if (!files)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for images");
	files->nr = journal->nr_disks;
	files->stop_fd = -1;
	pthread_mutex_init(&files->lock, NULL);
	pthread_cond_init(&files->closed, NULL);
	err = name_files(files, journal, where, diag);
	if (!err)
		err = start(files, diag);
	if (err) {
		state_files_free(files);
		return err;
	}
	*ret_files = files;
	return 0;
}

/* The connection goes first: an unmount waits for nobody then. */
_cold_ struct state_files *state_files_free(struct state_files *files)
{
	if (!files)
		return NULL;
	if (files->serving) {
		eventfd_write(files->stop_fd, 1);
		pthread_join(files->thread, NULL);
	} else if (files->session) {
		fuse_session_destroy(files->session);
	}
	if (files->mounted)
		umount2(files->where, MNT_DETACH);
	if (files->made)
		rmdir(files->where);
	if (files->stop_fd >= 0)
		close(files->stop_fd);
	pthread_cond_destroy(&files->closed);
	pthread_mutex_destroy(&files->lock);
	free(files->bounce);
	free(files);
	return NULL;
}

/* ------------------------------------------------------------------------------ the owner */

const char *state_files_path(const struct state_files *files, uint16_t disk)
{
	return files->files[disk].path;
}

void state_files_show(struct state_files *files, struct view *view)
{
	pthread_mutex_lock(&files->lock);
	files->view = view;
	files->error = files->gone ? -ENOTCONN : 0;
	pthread_mutex_unlock(&files->lock);
}

int state_files_put(struct state_files *files, uint16_t disk, uint64_t at,
		    const unsigned char *data, uint64_t len_bytes)
{
	int err;

	pthread_mutex_lock(&files->lock);
	err = data ? view_write(files->view, disk, at, data, len_bytes)
		   : view_zero(files->view, disk, at, len_bytes);
	pthread_mutex_unlock(&files->lock);
	return err;
}

int state_files_error(struct state_files *files)
{
	int error;

	pthread_mutex_lock(&files->lock);
	error = files->error;
	pthread_mutex_unlock(&files->lock);
	return error;
}

/* The file that /dev/loopN reads, if it is one of ours. */
static const struct state_file *file_of(const struct state_files *files, const char *loop)
{
	char path[PATH_MAX], text[PATH_MAX];
	_cleanup_fclose_ FILE *sys = NULL;

	snprintf(path, sizeof(path), "%s/loop/backing_file", loop);
	sys = fopen(path, "re");
	if (!sys || !fgets(text, sizeof(text), sys))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	for (uint32_t i = 0; i < files->nr; i++)
		if (strcmp(text, files->files[i].path) == 0)
			return &files->files[i];
	return NULL;
}

/* A command that was killed could not do it any more. */
static void take_loop(const char *name)
{
	_cleanup_close_ int fd = -1;
	char device[64];

	snprintf(device, sizeof(device), "/dev/%.40s", name);
	mounts_detach(name);
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		ioctl(fd, LOOP_CLR_FD);
}

/* Take away all loop devices of our files; *ret_name: one of them, or empty. */
static void take_loops(const struct state_files *files, char ret_name[32])
{
	glob_t found;

	ret_name[0] = '\0';
	if (glob("/sys/block/loop*", GLOB_NOSORT, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *name = found.gl_pathv[i] + strlen("/sys/block/");

		if (!file_of(files, found.gl_pathv[i]))
			continue;
		take_loop(name);
		snprintf(ret_name, 32, "%.31s", name);
	}
	globfree(&found);
}

static int held(struct state_files *files, const char *loop, struct diag *diag)
{
	const struct state_file *file;
	int err;

	pthread_mutex_lock(&files->lock);
	file = open_file(files);
	err = diag_set(diag, -EBUSY, "explore.held", "%s is still open after the check%s%s",
		       file ? file->path : files->where, loop[0] ? ", by /dev/" : "", loop);
	pthread_mutex_unlock(&files->lock);
	diag_hint(diag, loop[0] ? "the check must remove devices that it stacks on that device"
				: "the check must not leave it open in a process that outlives the "
				  "check");
	return err;
}

int state_files_settle(struct state_files *files, int timeout_ms, struct diag *diag)
{
	uint64_t until_ns = clock_now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	char loop[32] = "";
	bool free;

	for (;;) {
		const struct timespec nap = clock_in_ns(SETTLE_NAP_NS);
		int rc = 0;

		pthread_mutex_lock(&files->lock);
		while (open_file(files) && !files->gone && rc == 0)
			rc = pthread_cond_clockwait(&files->closed, &files->lock, CLOCK_MONOTONIC,
						    &nap);
		free = !open_file(files) || files->gone;
		pthread_mutex_unlock(&files->lock);
		if (free)
			return 0;
		if (clock_now_ns() > until_ns)
			return held(files, loop, diag);
		take_loops(files, loop);
	}
}
