// SPDX-License-Identifier: MIT
/* A state as block devices: nothing is copied; what is written goes to the view's overlay. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "explore.h"
#include "state_disk.h"
#include "tool.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of an unmount that goes on after its process has ended, and of programs that look at new disks.
 */
#define SETTLE_MS 10000

struct device_presenter {
	struct state_disks *disks;
	struct view *view;         /* of states whose picks are given; NULL: none yet */
	const struct crash *crash; /* what it is of, */
	uint64_t step;             /* and when */
};

static int device_probe(void)
{
	struct ublk_probe probe;
	char text[256];

	if (!ublk_probe(&probe))
		return EXIT_OK;
	tool_msg("--present device: %s", ublk_probe_text(&probe, text, sizeof(text)));
	tool_msg("here this does it: faultblk vm -- faultblk explore ...; or use --present file");
	return EXIT_NO_UBLK;
}

static void device_close(void *ctx)
{
	struct device_presenter *self = ctx;

	if (!self)
		return;
	state_disks_free(self->disks);
	view_free(self->view);
	free(self);
}

static int device_open(const struct presenter_options *options, struct diag *diag, void **ret_self)
{
	struct device_presenter *self =
		fail_alloc("tools/explore_device/alloc", calloc(1, sizeof(*self)));
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

/* The view of states with picks belongs to one moment. */
static int renew_view(struct device_presenter *self, const struct explore_state *state)
{
	if (self->view && self->crash == state->crash && self->step == crash_step(state->crash))
		return 0;
	self->view = view_free(self->view);
	self->crash = state->crash;
	self->step = crash_step(state->crash);
	return view_create(state->crash, state->images, &self->view);
}

/* Where nothing is undecided there are no picks. */
static int take_picks(struct device_presenter *self, const struct explore_state *state)
{
	static const uint16_t none;

	return view_reset(self->view, state->picks ? state->picks : &none, NULL, NULL);
}

static int device_present(void *ctx, const struct explore_state *state, struct diag *diag)
{
	struct device_presenter *self = ctx;
	int err = 0;

	if (!state->view)
		err = renew_view(self, state);
	if (!err && !state->view)
		err = take_picks(self, state);
	if (err)
		return diag_set(diag, err, "explore.memory", "no memory to show a state");
	state_disks_show(self->disks, state->view ? state->view : self->view);
	return 0;
}

static int device_put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data,
		      uint64_t len, struct diag *diag)
{
	struct device_presenter *self = ctx;
	int err = state_disks_put(self->disks, disk, at, data, len);

	return err ? diag_set(diag, err, "explore.overlay", "a state could not be written: %s",
			      strerror(-err))
		   : 0;
}

static int device_restore(void *ctx, const struct explore_state *state, struct diag *diag)
{
	struct device_presenter *self = ctx;
	int err = state_disks_settle(self->disks, SETTLE_MS, diag),
	    error = state_disks_error(self->disks);

	state_disks_show(self->disks, NULL);
	if (!err && !state->view)
		err = take_picks(self, state);
	if (err || !error)
		return err;
	return diag_set(diag, error, "explore.overlay",
			"the state could not be read or written: %s%s", strerror(-error),
			error == -ENOMEM ? "; recovery and check may write 1 GiB to one" : "");
}

const struct presenter_ops presenter_device = {
	.name = "device",
	.views = true,
	.probe = device_probe,
	.open = device_open,
	.path = device_path,
	.present = device_present,
	.put = device_put,
	.restore = device_restore,
	.close = device_close,
};
