// SPDX-License-Identifier: MIT
#include "tools/disk/apart.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static pid_t keeper; /* 0: none */
static int keeper_fd = -1, keeper_pid_fd = -1;

/* ------------------------------------------------------------------------------ the keeper */

/* It is no server, and is not to be taken for one by its command line. */
static void change_name(void)
{
	static const char name[] = "faultblk-mounts";
	char line[2048] = "";
	unsigned long from, to;
	_cleanup_close_ int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	const char *p;

	prctl(PR_SET_NAME, name);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		return;
	/* proc(5): fields 48 and 49; the name, field 2, may hold anything. */
	p = strrchr(line, ')');
	for (int field = 2; p && field < 48; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, " %lu %lu", &from, &to) != 2 || to <= from + sizeof(name))
		return;
	memset((char *)from, 0, to - from);
	memcpy((char *)from, name, sizeof(name));
}

/* Holds nothing but its mount namespace, and is deaf to whatever can be refused. */
static _Noreturn void keep(int fd)
{
	sigset_t all;
	char byte;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	change_name();
	if (dup2(fd, 3) < 0 || chdir("/") < 0)
		_exit(1);
	close_range(4, ~0u, 0);
	for (int i = 0; i < 3; i++)
		close(i);
	while (read(3, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static int start_keeper(void)
{
	int fds[2], err;

	if (fail_errno("tools/disk/apart/socket", EMFILE,
		       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) < 0)
		return -errno;
	keeper = fail_errno("tools/disk/apart/fork", EAGAIN, fork());
	err = -errno;
	if (keeper == 0) {
		close(fds[1]);
		keep(fds[0]);
	}
	close(fds[0]);
	keeper_fd = fds[1];
	if (keeper > 0) {
		keeper_pid_fd = (int)syscall(SYS_pidfd_open, keeper, 0);
		err = keeper_pid_fd < 0 ? -errno : 0;
	}
	return err;
}

void apart_end(void)
{
	if (keeper_fd >= 0)
		close(take_fd(&keeper_fd));
	if (keeper_pid_fd >= 0)
		close(take_fd(&keeper_pid_fd));
	while (keeper > 0 && waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
		;
	keeper = 0;
}

/* ------------------------------------------------------------------------------ going */

/* From the namespace's own root, which that of a chroot is not. */
static int to_root_of_namespace(void)
{
	_cleanup_close_ int fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);

	return fd < 0 || setns(fd, CLONE_NEWNS) < 0 ? -errno : 0;
}

/* Leave nothing mounted in our mount namespace but an empty folder. */
static int empty_namespace(void)
{
	_cleanup_close_ int fs = -1, mnt = -1;
	int err = to_root_of_namespace();

	if (err)
		return err;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	fs = fail_errno("tools/disk/apart/tmpfs", EPERM, fsopen("tmpfs", FSOPEN_CLOEXEC));
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0 || move_mount(mnt, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    fchdir(mnt) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0)
		return -errno;
	return 0;
}

static int go_to(int root, int cwd)
{
	return fchdir(root) < 0 || chroot(".") < 0 || fchdir(cwd) < 0 ? -errno : 0;
}

static int enter(void)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err, back;

	/* What is needed for the way back is tried while nothing can be lost. */
	if (root < 0 || cwd < 0 || fail_errno("tools/disk/apart/chroot", EPERM, chroot("/")) < 0)
		return -errno;
	err = start_keeper();
	if (!err && fail_errno("tools/disk/apart/unshare", EPERM, unshare(CLONE_NEWNS)) < 0)
		err = -errno;
	if (err) {
		apart_end();
		return err;
	}
	err = empty_namespace();
	back = go_to(root, cwd);
	return back ? back : err;
}

int apart_enter(void)
{
	int err = enter();

	if (err)
		tool_msg(
			"cannot create a mount namespace: %s; if this server is killed as the last "
			"process of a namespace in which its disk is mounted, it never ends",
			strerror(-err));
	return err;
}

int apart_return(void)
{
	_cleanup_close_ int root = -1, cwd = -1;

	if (keeper_pid_fd < 0)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* Threads share the root, and who shares it cannot go. A library may have started one in a
	 * child, too, as libfiu does. */
	if (root < 0 || cwd < 0 || unshare(CLONE_FS) < 0 || setns(keeper_pid_fd, CLONE_NEWNS) < 0)
		return -errno;
	return go_to(root, cwd);
}

/* ------------------------------------------------------------------------------ visits */

struct visit {
	int (*fn)(void *ctx);
	void *ctx;
	int result;
};

static void *visit_thread(void *arg)
{
	struct visit *visit = arg;

	visit->result = apart_return();
	if (!visit->result)
		visit->result = visit->fn(visit->ctx);
	return NULL;
}

int apart_visit(int (*fn)(void *ctx), void *ctx)
{
	struct visit visit = { .fn = fn, .ctx = ctx };
	pthread_t thread;
	int err;

	if (keeper_pid_fd < 0)
		return fn(ctx);
	err = fail_value("tools/disk/apart/visit", EAGAIN,
			 pthread_create(&thread, NULL, visit_thread, &visit));
	if (err)
		return -err;
	pthread_join(thread, NULL);
	return visit.result;
}
