// SPDX-License-Identifier: MIT
/* A state as block devices: nothing is copied; what is written goes to the view's overlay. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/explore/state_disk.h"
#include "tools/explore/view.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of an unmount that goes on after its process has ended, and of programs that look at new disks.
 */
#define SETTLE_MS 10000

struct device_presenter {
	struct state_disks *disks;
	struct shown_view shown;
};

static int device_probe(void)
{
	struct ublk_probe probe;
	char text[256];

	if (!ublk_probe(&probe))
		return EXIT_OK;
	tool_msg_hint("use --present file or fuse, or this command:", "--present device: %s",
		      ublk_probe_text(&probe, text, sizeof(text)));
	fputs("          ", stderr);
	typed_put_vm_line(stderr, 0, NULL);
	fputc('\n', stderr);
	return EXIT_NO_UBLK;
}

static void device_close(void *ctx)
{
	struct device_presenter *self = ctx;

	if (!self)
		return;
	state_disks_free(self->disks);
	shown_view_free(&self->shown);
	free(self);
}

static int device_open(const struct presenter_options *options, struct diag *diag, void **ret_self)
{
	struct device_presenter *self =
		fail_alloc("tools/explore/device/alloc", calloc(1, sizeof(*self)));
	int err;

	if (!self)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory");
	err = state_disks_open(options->journal, !options->lazy, diag, &self->disks);
	if (err) {
		device_close(self);
		return err;
	}
	*ret_self = self;
	return 0;
}

static const char *device_path(void *ctx, uint16_t disk)
{
	struct device_presenter *self = ctx;

	return state_disks_path(self->disks, disk);
}

static int device_present(void *ctx, const struct explore_state *state, struct diag *diag)
{
	struct device_presenter *self = ctx;
	struct view *view;
	int err = shown_view_take(&self->shown, state, diag, &view);

	if (!err)
		state_disks_show(self->disks, view);
	return err;
}

static int device_put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data,
		      uint64_t len, struct diag *diag)
{
	struct device_presenter *self = ctx;
	int err = state_disks_put(self->disks, disk, at, data, len);

	return err ? diag_set(diag, err, "explore.overlay", "cannot write a state: %s",
			      strerror(-err))
		   : 0;
}

static int device_restore(void *ctx, const struct explore_state *state, struct diag *diag)
{
	struct device_presenter *self = ctx;
	int err = state_disks_settle(self->disks, SETTLE_MS, diag),
	    error = state_disks_error(self->disks);

	state_disks_show(self->disks, NULL);
	return err ? err : shown_view_restore(&self->shown, state, error, diag);
}

const struct presenter_ops presenter_device = {
	.name = "device",
	.again = "device",
	.views = true,
	.probe = device_probe,
	.open = device_open,
	.path = device_path,
	.present = device_present,
	.put = device_put,
	.restore = device_restore,
	.close = device_close,
};
