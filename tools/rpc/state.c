// SPDX-License-Identifier: MIT
/* Methods about what the disk holds: power cuts on command, snapshots, images. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/disk/partition.h"
#include "tools/rpc/call.h"
#include "tools/rpc/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define HALF (1ull << 63) /* of what is drawn: a chance of 50% */

int rpc_image_code_of(int err)
{
	return err == -EINVAL || err == -EEXIST || err == -ENOSPC ? RPC_FAILED : rpc_code_of(err);
}

static int state_error(struct rpc_call *call, int err)
{
	rpc_engine_error(call, err);
	return rpc_image_code_of(err);
}

/* ------------------------------------------------------------------------------ power cuts */

static const char *const keep_words[] = {
	[KEEP_NONE] = "none",
	[KEEP_ALL] = "all",
	[KEEP_RANDOM] = "random",
	[KEEP_PATTERN] = "pattern",
};

static int param_keep(struct rpc_call *call, enum keep *ret_keep)
{
	const char *word = NULL;
	int err = rpc_param_string(call, "keep", false, &word);

	if (err || !word)
		return err;
	for (size_t i = 0; i < array_size(keep_words); i++) {
		if (strcmp(word, keep_words[i]) == 0) {
			*ret_keep = (enum keep)i;
			return 0;
		}
	}
	return rpc_bad_param(call, "keep", "none, all, random or pattern");
}

static int param_seed(struct rpc_call *call, enum keep keep, uint64_t *ret_seed)
{
	static const char wanted[] = "a whole number below 2^64, as text";
	const char *text = NULL;
	char *end;
	int err = rpc_param_string(call, "seed", false, &text);

	if (err)
		return err;
	if (text && keep != KEEP_RANDOM)
		return rpc_bad_param(call, "seed", "only together with keep=random");
	if (!text && keep == KEEP_RANDOM &&
	    fail_errno("tools/rpc/state/seed", ENOSYS, getrandom(ret_seed, sizeof(*ret_seed), 0)) !=
		    (ssize_t)sizeof(*ret_seed))
		return state_error(call, -EIO);
	if (!text)
		return 0;
	errno = 0;
	*ret_seed = strtoull(text, &end, 0);
	if (text[0] < '0' || text[0] > '9' || *end || errno)
		return rpc_bad_param(call, "seed", wanted);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int param_pattern(struct rpc_call *call, struct power_cut *cut, const char **ret_text)
{
	static const char wanted[] = "1 to 256 hexadecimal digits, with keep=pattern";
	const char *text = NULL;
	int err = rpc_param_string(call, "pattern", cut->keep == KEEP_PATTERN, &text);
	size_t len = text ? strlen(text) : 0;

	*ret_text = text;
	if (err || !text)
		return err;
	if (cut->keep != KEEP_PATTERN || !len || len > KEEP_PATTERN_BITS / 4)
		return rpc_bad_param(call, "pattern", wanted);
	for (size_t i = 0; i < len; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return rpc_bad_param(call, "pattern", wanted);
		cut->pattern[i / 2] |= (unsigned char)(digit << (i % 2 ? 0 : 4));
	}
	cut->nr_pattern = (uint32_t)len * 4;
	return 0;
}

static json_t *crash_answer(const struct rpc_call *call, const struct power_cut *cut,
			    const char *pattern, const struct power_cut_result *result)
{
	struct pipeline *pipeline = call->target->pipeline;
	struct cache *cache = pipeline_cache(pipeline);
	bool writes = cache && cache_model(cache)->whole_writes;
	json_t *answer = json_pack(
		"{s:s, s:I, s:I, s:s, s:s, s:s*}", "keep", keep_words[cut->keep], "volatile",
		(json_int_t)result->nr_volatile, "lost", (json_int_t)result->nr_lost, "of",
		writes ? "writes" : "blocks", "condition",
		condition_name(condition_bits(pipeline_condition(pipeline))), "pattern", pattern);
	char seed[24];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)cut->bits);
	if (cut->keep == KEEP_RANDOM)
		json_object_set_new(answer, "seed", json_string(seed));
	if (cache && !writes)
		json_object_set_new(answer, "block_bytes",
				    json_integer((json_int_t)cache_unit_bytes(cache)));
	json_object_set_new(answer, "cache", json_boolean(cache != NULL));
	return answer;
}

/* What disk.crash and disk.freeze say of the cut; *ret_pattern: as it was given, or NULL. */
static int param_order(struct rpc_call *call, struct cut_order *order, const char **ret_pattern)
{
	json_t *share = rpc_param(call, "share");
	int err = param_keep(call, &order->cut.keep);

	order->cut.threshold = HALF;
	if (!err)
		err = param_seed(call, order->cut.keep, &order->cut.bits);
	if (!err)
		err = param_pattern(call, &order->cut, ret_pattern);
	if (!err)
		err = rpc_param_bool(call, "vanish", &order->vanish);
	if (!err)
		err = rpc_param_bool(call, "unplug", &order->unplug);
	if (!err)
		err = rpc_param_count(call, "gone_ns", 0, INT64_MAX, &order->gone_ns);
	order->vanish |= order->unplug;
	if (err || !share)
		return err;
	if (order->cut.keep != KEEP_RANDOM || !json_is_number(share) ||
	    !(json_number_value(share) >= 0 && json_number_value(share) < 1))
		return rpc_bad_param(call, "share", "a number from 0 to below 1, with keep=random");
	order->cut.threshold = (uint64_t)(json_number_value(share) * 0x1p64);
	return 0;
}

int rpc_disk_freeze(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	struct cut_order order = { .vanish = false };
	const char *pattern;
	int err = param_order(call, &order, &pattern);

	if (err)
		return err;
	err = target->freeze(target->ctx, call->ticket.client, &order, &call->diag);
	if (err)
		return state_error(call, err);
	call->result = json_pack("{s:i}", "deadline_ms", RPC_FREEZE_MS);
	return 0;
}

int rpc_disk_thaw(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;

	call->result =
		json_pack("{s:b}", "was_frozen", target->thaw(target->ctx, call->ticket.client));
	return 0;
}

int rpc_disk_crash(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	struct power_cut_result result = { 0 };
	struct cut_order order = { .vanish = false };
	const char *pattern = NULL;
	bool frozen = false;
	int err = param_order(call, &order, &pattern);

	if (!err)
		err = rpc_param_bool(call, "frozen", &frozen);
	if (err)
		return err;
	err = target->crash(target->ctx, frozen ? call->ticket.client : 0, &order, &call->diag,
			    &result);
	if (err)
		return state_error(call, err);
	call->result = crash_answer(call, &order.cut, pattern, &result);
	if (!order.vanish || !target->when_gone)
		return 0;
	target->when_gone(target->ctx, &call->ticket, call->result);
	call->result = NULL;
	return -EINPROGRESS;
}

/* What a recording would not know of. */
static int needs_no_recording(struct rpc_call *call)
{
	if (!pipeline_recorder(call->target->pipeline))
		return 0;
	diag_set(&call->diag, 0, "recording.active",
		 "the disk is being recorded: only requests can change its content");
	diag_hint(&call->diag, "make a disk with that content: "
			       "faultblk run --load IMAGE --record RECORDING");
	return RPC_FAILED;
}

static void count(void *ctx, const struct partition *partition)
{
	(void)partition;
	++*(unsigned int *)ctx;
}

void rpc_add_table(json_t *answer, const struct ublk_dev *dev, int err, bool always)
{
	struct ublk_holder holders[4];
	char who[256] = "", why[384];
	unsigned int nr = 0;
	int found;

	if (!err) {
		json_object_set_new(answer, "table", json_string("read"));
		return;
	}
	partition_each(ublk_dev_id(dev), count, &nr);
	if (err == -EBUSY && !nr && !always)
		return;
	found = ublk_holders(ublk_dev_id(dev), holders, array_size(holders));
	if (err == -EBUSY && found > 0)
		snprintf(why, sizeof(why), "it is %s",
			 ublk_holders_text(holders, found < 4 ? (unsigned int)found : 4, who,
					   sizeof(who)));
	else if (err == -ETIMEDOUT)
		snprintf(why, sizeof(why), "it waits for a request that is held");
	else
		snprintf(why, sizeof(why), "%s", strerror(-err));
	json_object_set_new(answer, "table", json_string("old"));
	json_object_set_new(answer, "device", json_string(ublk_dev_path(dev)));
	json_object_set_new(answer, "why", json_string(why));
}

/* ------------------------------------------------------------------------------ snapshots */

static int param_name(struct rpc_call *call, const char **ret_name)
{
	int err = rpc_param_string(call, "name", true, ret_name);

	if (err)
		return err;
	if (runtime_check_name(*ret_name, &call->diag)) {
		snprintf(call->diag.id, sizeof(call->diag.id), "snapshot.name");
		return RPC_INVALID_PARAMS;
	}
	return 0;
}

/* The snapshot that the parameter names. */
static int param_snapshot(struct rpc_call *call, struct snapshot **ret_snapshot)
{
	const char *name;
	int err = param_name(call, &name);

	if (err)
		return err;
	*ret_snapshot = snapshots_find(pipeline_snapshots(call->target->pipeline), name);
	if (*ret_snapshot)
		return 0;
	diag_set(&call->diag, 0, "snapshot.unknown", "there is no snapshot '%.64s'", name);
	diag_hint(&call->diag, "faultblk snapshot ls lists the snapshots");
	return RPC_NOT_FOUND;
}

static uint64_t wall_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static json_t *info_row(const struct snapshot_info *info)
{
	return json_pack("{s:s, s:I, s:I}", "name", info->name, "created_ns",
			 (json_int_t)info->time_ns, "bytes", (json_int_t)info->bytes);
}

int rpc_snapshot_create(struct rpc_call *call)
{
	struct disk *disk = call->target->disk;
	const char *name;
	int err = param_name(call, &name);

	if (err)
		return err;
	err = disk_freeze(disk, &call->diag);
	if (err)
		return state_error(call, err);
	err = pipeline_snapshot_add(call->target->pipeline, name, wall_clock_ns(), NULL);
	disk_thaw(disk);
	if (err == -EEXIST) {
		diag_set(&call->diag, err, "snapshot.exists", "there is a snapshot '%.64s' already",
			 name);
		diag_hint(&call->diag, "take another name, or faultblk snapshot rm %.64s first",
			  name);
	} else if (err == -ENOSPC) {
		diag_set(&call->diag, err, "snapshot.limit", "there are %d snapshots, which is the "
							     "limit",
			 SNAPSHOT_MAX);
		diag_hint(&call->diag, "faultblk snapshot rm NAME makes room");
	} else if (err) {
		diag_set(&call->diag, err, "snapshot.memory", "no memory for a snapshot: %s",
			 strerror(-err));
	}
	if (err)
		return state_error(call, err);
	call->result = json_pack("{s:s}", "name", name);
	return 0;
}

int rpc_snapshot_restore(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	struct disk *disk = target->disk;
	struct snapshot *snapshot;
	uint64_t bytes = 0;
	int err = param_snapshot(call, &snapshot);

	if (!err)
		err = needs_no_recording(call);
	if (err)
		return err;
	err = disk_freeze(disk, &call->diag);
	if (err)
		return state_error(call, err);
	err = pipeline_snapshot_restore(target->pipeline, snapshot, &bytes);
	disk_thaw(disk);
	if (err)
		return state_error(call, err);
	call->result = json_pack("{s:I}", "restored_bytes", (json_int_t)bytes);
	if (!target->reread || target->reread(target->ctx, &call->ticket, call->result) == 0)
		return 0;
	call->result = NULL;
	return -EINPROGRESS;
}

int rpc_snapshot_remove(struct rpc_call *call)
{
	struct disk *disk = call->target->disk;
	struct snapshot *snapshot;
	int err = param_snapshot(call, &snapshot);

	if (err)
		return err;
	err = disk_freeze(disk, &call->diag);
	if (err)
		return state_error(call, err);
	err = pipeline_snapshot_remove(call->target->pipeline, snapshot);
	disk_thaw(disk);
	if (err == -EBUSY)
		diag_set(&call->diag, err, "snapshot.busy", "it is being saved; wait until it is "
							    "saved");
	if (err)
		return state_error(call, err);
	call->result = json_object();
	return 0;
}

int rpc_snapshot_list(struct rpc_call *call)
{
	struct snapshots *snapshots = pipeline_snapshots(call->target->pipeline);
	size_t nr = snapshots_list(snapshots, NULL, 0);
	_cleanup_free_ struct snapshot_info *info =
		fail_alloc("tools/rpc/state/list", calloc(nr + 1, sizeof(*info)));
	json_t *list;

	if (!info)
		return state_error(call, -ENOMEM);
	snapshots_list(snapshots, info, nr);
	list = json_array();
	for (size_t i = 0; i < nr; i++)
		json_array_append_new(list, info_row(&info[i]));
	call->result = json_pack("{s:o, s:I}", "snapshots", list, "bytes",
				 (json_int_t)snapshots_bytes(snapshots));
	return 0;
}

json_t *rpc_status_snapshots(const struct rpc_target *target)
{
	struct snapshots *snapshots = pipeline_snapshots(target->pipeline);

	return json_pack("{s:I, s:I}", "count", (json_int_t)snapshots_list(snapshots, NULL, 0),
			 "bytes", (json_int_t)snapshots_bytes(snapshots));
}

json_t *rpc_status_cache(const struct rpc_target *target)
{
	const struct cache *cache = pipeline_cache(target->pipeline);
	const struct cache_model *model = cache ? cache_model(cache) : NULL;

	if (!model)
		return NULL;
	return json_pack("{s:o, s:b, s:I}", "unit",
			 model->whole_writes ? json_string("write")
					     : json_integer((json_int_t)model->unit_bytes),
			 "in_order", model->in_order, "size_bytes", (json_int_t)model->size_bytes);
}

/* ------------------------------------------------------------------------------ images */

json_t *rpc_image_answer(uint64_t size_bytes, uint64_t data_bytes)
{
	return json_pack("{s:I, s:I}", "size_bytes", (json_int_t)size_bytes, "data_bytes",
			 (json_int_t)data_bytes);
}

static int begin_image(struct rpc_call *call, struct image_request *request)
{
	const struct rpc_target *target = call->target;
	int err = rpc_param_string(call, "path", true, &request->path);

	if (err)
		return err;
	if (request->path[0] != '/')
		return rpc_bad_param(call, "path", "an absolute path");
	err = target->image(target->ctx, request, &call->ticket, &call->diag);
	return err == -EINPROGRESS ? err : state_error(call, err);
}

static int begin_save(struct rpc_call *call, const char *snapshot)
{
	struct image_request request = { .what = IMAGE_SAVE, .snapshot = snapshot };
	int err = rpc_param_bool(call, "force", &request.force);

	return err ? err : begin_image(call, &request);
}

int rpc_snapshot_save(struct rpc_call *call)
{
	const char *name;
	int err = param_name(call, &name);

	return err ? err : begin_save(call, name);
}

int rpc_image_save(struct rpc_call *call)
{
	return begin_save(call, NULL);
}

int rpc_image_load(struct rpc_call *call)
{
	struct image_request request = { .what = IMAGE_LOAD };
	int err = needs_no_recording(call);

	return err ? err : begin_image(call, &request);
}
