// SPDX-License-Identifier: MIT
#include "tools/serve/standstill.h"

#include "base/clock.h"
#include "tools/rpc/ballot.h"

#include <errno.h>

/* Whatever was decided is done. */
static void go_on(struct standstill *still)
{
	still->ballot = ballot_free(still->ballot);
	still->client = 0;
	disk_thaw(still->disk);
}

static int carry_out(struct standstill *still, const struct cut_order *order, struct diag *diag,
		     struct power_cut_result *ret_result)
{
	if (order->unplug)
		return disk_unplug(still->disk, order->gone_ns, diag);
	return disk_cut(still->disk, &order->cut, order->vanish, diag, ret_result);
}

/* Nobody may say more: against a cut, unless it was decided. True: it was, and is carried out. */
static bool settle(struct standstill *still)
{
	struct diag diag = { 0 };

	if (!still->ballot || ballot_decide(still->ballot, BALLOT_GO_ON) != BALLOT_CUT)
		return false;
	still->done = (struct power_cut_result){ 0 };
	if (carry_out(still, &still->order, &diag, &still->done))
		return false;
	still->done_client = still->client;
	return true;
}

bool standstill_end(struct standstill *still)
{
	bool stood = still->client;

	if (stood && settle(still))
		still->tell(still->ctx, true, "the power cut of several disks is decided");
	if (stood)
		go_on(still);
	return stood;
}

static int why_not(struct standstill *still, struct diag *diag)
{
	uint32_t bits = condition_bits(pipeline_condition(disk_pipeline(still->disk)));

	if (bits & CONDITION_OFF) {
		diag_set(diag, -EALREADY, "disk.no-power", "the disk is without power already");
		diag_hint(diag, "bring it back with: faultblk revive");
		return -EALREADY;
	}
	if (bits & CONDITION_GONE && disk_dev(still->disk))
		return diag_set(diag, -ENODEV, "disk.gone", "the disk is being removed");
	return 0;
}

/* Stopped, or stopped for the one that gave way: then they stay so. */
static int stop_queues(struct standstill *still, struct diag *diag)
{
	int err = still->client ? 0 : disk_freeze(still->disk, diag);

	if (err)
		return err;
	still->ballot = ballot_free(still->ballot);
	err = why_not(still, diag);
	if (err)
		go_on(still);
	return err;
}

int standstill_begin(struct standstill *still, uint64_t client, int ballot_fd,
		     const struct cut_order *order, struct diag *diag)
{
	struct ballot *ballot = NULL;
	int err;

	if (still->client == client)
		return 0;
	err = ballot_fd < 0 ? 0 : ballot_open(ballot_fd, &ballot);
	if (err)
		return diag_set(diag, err, "disk.ballot",
				"the file descriptor with the request is not a ballot of faultblk");
	err = stop_queues(still, diag);
	if (err) {
		ballot_free(ballot);
		return err;
	}
	still->client = client;
	still->done_client = 0;
	still->end_ns = clock_now_ns() + RPC_FREEZE_MS * NSEC_PER_MSEC;
	still->ballot = ballot;
	still->order = *order;
	return 0;
}

bool standstill_gives_way(struct standstill *still, int ballot_fd)
{
	struct ballot *other = NULL;
	bool older;

	if (!still->ballot || ballot_fd < 0 || ballot_open(ballot_fd, &other))
		return false;
	older = ballot_is_older(other, still->ballot);
	ballot_free(other);
	if (!older)
		return false;
	if (settle(still)) {
		still->tell(still->ctx, true, "two power cuts of several disks overlapped, and one "
					      "was decided");
		go_on(still);
	}
	return true;
}

static int is_too_late(struct diag *diag)
{
	diag_set(diag, -ESTALE, "disk.not-frozen",
		 "the disk is not paused for this client");
	diag_hint(diag, "send disk.freeze first, at most %d s before", RPC_FREEZE_MS / 1000);
	return -ESTALE;
}

int standstill_cut(struct standstill *still, uint64_t client, struct cut_order *order,
		   struct diag *diag, struct power_cut_result *ret_result)
{
	int err;

	if (client && still->client != client && still->done_client == client) {
		*order = still->order;
		*ret_result = still->done;
		still->done_client = 0;
		return 0;
	}
	if (client && still->client != client)
		return is_too_late(diag);
	if (!still->client && order->unplug)
		return disk_unplug(still->disk, order->gone_ns, diag);
	if (!still->client)
		return disk_crash(still->disk, &order->cut, order->vanish, diag, ret_result);
	/* Not even its owner need say that it is frozen. */
	if (still->ballot && ballot_decide(still->ballot, BALLOT_CUT) != BALLOT_CUT)
		return is_too_late(diag);
	if (still->ballot)
		*order = still->order;
	err = carry_out(still, order, diag, ret_result);
	go_on(still);
	return err;
}

/* NULL: it may stand on. */
static const char *why_now(const struct standstill *still, bool there)
{
	if (!there)
		return "the client that paused the disk for a power cut is gone";
	if (clock_now_ns() >= still->end_ns)
		return "the disk was paused for a power cut that did not follow in time";
	/* Whoever decided so has a reason, and says it. */
	if (still->ballot && ballot_look(still->ballot) == BALLOT_GO_ON)
		return "the power cut of several disks was abandoned";
	return NULL;
}

bool standstill_look(struct standstill *still, bool there)
{
	const char *why = still->client ? why_now(still, there) : NULL;

	if (!why)
		return false;
	still->tell(still->ctx, settle(still), why);
	go_on(still);
	return true;
}
