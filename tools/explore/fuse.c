// SPDX-License-Identifier: MIT
/*
 * A state as files that we serve ourselves: nothing is copied, what is written goes to the view's
 * overlay, and reads decide where the search is lazy. It needs neither root nor ublk.
 *
 * The mounts are made in a mount namespace of our own, which the commands, our children, share: so
 * nobody else sees them, and nothing is left of them however we end. Root makes just that. Anybody
 * else needs a user namespace around it, in which he is who he was: a check sees its own user and,
 * started anew, has no more rights than before. What has rights of another user by its file's mode
 * (sudo) does not get them in there.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"
#include "tools/explore/state_file.h"
#include "tools/explore/view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* Of a loop device that lets go of its file after its process has ended. */
#define SETTLE_MS 10000

struct fuse_presenter {
	struct state_files *files;
	struct shown_view shown;
};

/* ------------------------------------------------------------------------------ the namespace */

static int cannot(const char *what, const char *hint)
{
	tool_msg("--present fuse: %s: %s", what, strerror(errno));
	tool_msg("%s; --present file does not need this, but excludes the strategy lazy", hint);
	return EXIT_NOT_DONE;
}

static int write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* Who we are stays as it is. */
static int map_ids(uid_t uid, gid_t gid)
{
	char uids[32], gids[32];

	snprintf(uids, sizeof(uids), "%u %u 1", (unsigned int)uid, (unsigned int)uid);
	snprintf(gids, sizeof(gids), "%u %u 1", (unsigned int)gid, (unsigned int)gid);
	if (write_text("/proc/self/setgroups", "deny") < 0 && errno != ENOENT)
		return -1;
	return write_text("/proc/self/uid_map", uids) < 0 ? -1
							  : write_text("/proc/self/gid_map", gids);
}

static int make_namespace(void)
{
	static const char hint[] =
		"settings that may forbid it: /proc/sys/user/max_user_namespaces, "
		"/proc/sys/kernel/unprivileged_userns_clone, "
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns, a container";
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (fail_errno("tools/explore/fuse/unshare", EPERM, unshare(CLONE_NEWNS)) < 0) {
		if (errno != EPERM)
			return cannot("no mount namespace", hint);
		if (fail_errno("tools/explore/fuse/user", EPERM,
			       unshare(CLONE_NEWUSER | CLONE_NEWNS)) < 0)
			return cannot("neither root nor a user namespace", hint);
		if (fail_errno("tools/explore/fuse/ids", EPERM, map_ids(uid, gid)) < 0)
			return cannot("no user in a user namespace", hint);
	}
	/* What others unmount goes here, too; what we mount is seen nowhere else. */
	if (fail_errno("tools/explore/fuse/slave", EPERM,
		       mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL)) < 0)
		return cannot("no private mounts in the mount namespace", hint);
	return EXIT_OK;
}

static int fuse_probe(void)
{
	_cleanup_close_ int fd = fail_errno("tools/explore/fuse/probe", ENOENT,
					    open("/dev/fuse", O_RDWR | O_CLOEXEC));

	if (fd < 0)
		return cannot("/dev/fuse", errno == EACCES || errno == EPERM
						   ? "all users must be able to read and write it"
						   : "the module fuse creates it");
	return make_namespace();
}

/* ------------------------------------------------------------------------------ the presenter */

static void fuse_close(void *ctx)
{
	struct fuse_presenter *self = ctx;

	if (!self)
		return;
	state_files_free(self->files);
	shown_view_free(&self->shown);
	free(self);
}

static int fuse_open(const struct presenter_options *options, struct diag *diag, void **ret_self)
{
	struct fuse_presenter *self =
		fail_alloc("tools/explore/fuse/alloc", calloc(1, sizeof(*self)));
	char where[PATH_MAX];
	int err;

	if (!self)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for worker %u",
				options->worker);
	if ((size_t)snprintf(where, sizeof(where), "%s/disks", options->work) >= sizeof(where))
		err = diag_set(diag, -ENAMETOOLONG, "explore.fuse",
			       "the path of images is too long: %s", options->work);
	else
		err = state_files_open(options->journal, where, diag, &self->files);
	if (err) {
		fuse_close(self);
		return err;
	}
	*ret_self = self;
	return 0;
}

static const char *fuse_path(void *ctx, uint16_t disk)
{
	struct fuse_presenter *self = ctx;

	return state_files_path(self->files, disk);
}

static int fuse_present(void *ctx, const struct explore_state *state, struct diag *diag)
{
	struct fuse_presenter *self = ctx;
	struct view *view;
	int err = shown_view_take(&self->shown, state, diag, &view);

	if (!err)
		state_files_show(self->files, view);
	return err;
}

static int fuse_put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint64_t len,
		    struct diag *diag)
{
	struct fuse_presenter *self = ctx;
	int err = state_files_put(self->files, disk, at, data, len);

	return err ? diag_set(diag, err, "explore.overlay", "cannot write a state: %s",
			      strerror(-err))
		   : 0;
}

static int fuse_restore(void *ctx, const struct explore_state *state, struct diag *diag)
{
	struct fuse_presenter *self = ctx;
	int err = state_files_settle(self->files, SETTLE_MS, diag),
	    error = state_files_error(self->files);

	state_files_show(self->files, NULL);
	return err ? err : shown_view_restore(&self->shown, state, error, diag);
}

const struct presenter_ops presenter_fuse = {
	.name = "fuse",
	.again = "file",
	.views = true,
	.probe = fuse_probe,
	.open = fuse_open,
	.path = fuse_path,
	.present = fuse_present,
	.put = fuse_put,
	.restore = fuse_restore,
	.close = fuse_close,
};
