// SPDX-License-Identifier: MIT
#include "tools/explore/view.h"

#include <errno.h>
#include <string.h>

/* The view of states with picks belongs to one crash point. */
static int renew_view(struct shown_view *shown, const struct explore_state *state)
{
	if (shown->view && shown->crash == state->crash && shown->step == crash_step(state->crash))
		return 0;
	shown->view = view_free(shown->view);
	shown->crash = state->crash;
	shown->step = crash_step(state->crash);
	return view_create(state->crash, state->images, &shown->view);
}

/* Where nothing is undecided there are no picks. */
static int take_picks(struct shown_view *shown, const struct explore_state *state)
{
	static const uint16_t none;

	return view_reset(shown->view, state->picks ? state->picks : &none, NULL, NULL);
}

int shown_view_take(struct shown_view *shown, const struct explore_state *state, struct diag *diag,
		    struct view **ret_view)
{
	int err = 0;

	if (!state->view)
		err = renew_view(shown, state);
	if (!err && !state->view)
		err = take_picks(shown, state);
	if (err)
		return diag_set(diag, err, "explore.memory", "no memory to show a state");
	*ret_view = state->view ? state->view : shown->view;
	return 0;
}

int shown_view_restore(struct shown_view *shown, const struct explore_state *state, int error,
		       struct diag *diag)
{
	int err = state->view ? 0 : take_picks(shown, state);

	if (err)
		return diag_set(diag, err, "explore.memory", "no memory to undo a state");
	if (!error)
		return 0;
	return diag_set(diag, error, "explore.overlay",
			"the state could not be read or written: %s%s", strerror(-error),
			error == -ENOMEM ? "; recovery and check may write 1 GiB to one" : "");
}

void shown_view_free(struct shown_view *shown)
{
	shown->view = view_free(shown->view);
}
