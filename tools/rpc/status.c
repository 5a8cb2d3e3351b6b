// SPDX-License-Identifier: MIT
/* Methods about the disk as a whole: its status, its counters, its end; and the kinds of faults. */
#include "tools/rpc/call.h"

#include "base/cleanup.h"
#include "faults/rule/kind.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ERRNO_MAX   4095
#define HOLDERS_MAX 16

/* ------------------------------------------------------------------------------ kinds */

static json_t *param_row(const struct param *param)
{
	const bool mark = param->type == VALUE_MARK;
	json_t *row = json_pack("{s:s, s:b, s:s}", "name", param->name, "required",
				param->form == PARAM_FIRST, "doc", param->doc);

	json_object_set_new(row, "value",
			    mark ? json_null() : json_string(param_placeholder(param)));
	if (param->form == PARAM_EITHER)
		json_object_set_new(row, "default", json_string(param->bare));
	return row;
}

json_t *rpc_kinds(void)
{
	json_t *kinds = json_array();
	const struct kind *kind;

	for (size_t i = 0; (kind = kind_at(i)); i++) {
		json_t *ops = json_array(), *params = json_array();

		for (int op = 0; op < IO_NR_OPS; op++)
			if (kind->op_bits >> op & 1)
				json_array_append_new(ops, json_string(value_op_names()[op]));
		for (unsigned int p = 0; p < kind->nr_params; p++)
			json_array_append_new(params, param_row(&kind->params[p]));
		json_array_append_new(kinds, json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "name",
						       kind->name, "doc", kind->doc, "example",
						       kind->example, "terminal",
						       kind->role == KIND_TERMINAL, "ops", ops,
						       "params", params));
	}
	return kinds;
}

int rpc_faults_list(struct rpc_call *call)
{
	call->result = json_pack("{s:o}", "kinds", rpc_kinds());
	return 0;
}

/* ------------------------------------------------------------------------------ the disk */

static json_t *counter(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *holder_list(int id)
{
	static const char *const how[] = {
		[UBLK_HOLD_OPEN] = "open",
		[UBLK_HOLD_MOUNT] = "mount",
		[UBLK_HOLD_SWAP] = "swap",
		[UBLK_HOLD_STACKED] = "stacked",
	};
	struct ublk_holder holders[HOLDERS_MAX];
	int nr = ublk_holders(id, holders, HOLDERS_MAX);
	json_t *list = json_array();

	for (int i = 0; i < nr && i < HOLDERS_MAX; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:s*, s:s*}", "how",
						how[holders[i].how], "pid", holders[i].pid, "name",
						holders[i].name, "where", holders[i].where));
	return list;
}

static json_t *status_options(const struct ublk_options *options)
{
	return json_pack("{s:I, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:s}", "size_bytes",
			 (json_int_t)options->size_bytes, "nr_queues", (int)options->nr_queues,
			 "queue_depth", (int)options->queue_depth, "logical_block_bytes",
			 (int)options->logical_block, "physical_block_bytes",
			 (int)options->physical_block, "max_io_bytes", (int)options->max_io_bytes,
			 "read_only", options->read_only, "rotational", options->rotational,
			 "volatile_cache", options->volatile_cache, "fua", options->fua,
			 "data_path", options->data_path == UBLK_DATA_COPY ? "copy" : "user-copy");
}

/* Of a disk that has gone only its name and its rules are left. */
static void status_device(json_t *result, struct disk *disk)
{
	struct ublk_dev *dev = disk_dev(disk);
	char features[24];

	if (!dev)
		return;
	snprintf(features, sizeof(features), "0x%llx", (unsigned long long)ublk_dev_features(dev));
	json_object_set_new(result, "device", json_string(ublk_dev_path(dev)));
	json_object_set_new(result, "id", json_integer(ublk_dev_id(dev)));
	json_object_set_new(result, "features", json_string(features));
	json_object_set_new(result, "holders", holder_list(ublk_dev_id(dev)));
}

/* What may be written and what is, for a disk's status and by itself. */
static json_t *space_report(const struct store *store)
{
	uint64_t capacity = store_capacity(store);

	return json_pack("{s:o, s:I}", "capacity_bytes",
			 capacity == UINT64_MAX ? json_null() : counter(capacity), "used_bytes",
			 (json_int_t)store_used(store));
}

static json_t *host_report(const struct store *store)
{
	struct store_host host = store_host(store);

	return json_pack("{s:b, s:I}", "low", host.low, "refused", (json_int_t)host.nr_refused);
}

int rpc_disk_capacity(struct rpc_call *call)
{
	struct store *store = disk_store(call->target->disk);
	json_t *param = rpc_param(call, "capacity");
	const char *text = json_string_value(param);
	uint64_t capacity = 0;
	int code;

	if (json_is_null(param) || (text && strcmp(text, "none") == 0)) {
		store_limit(store, UINT64_MAX);
	} else if (param) {
		code = rpc_param_size(call, "capacity", INT64_MAX, &capacity);
		if (code)
			return code;
		store_limit(store, capacity);
	}
	call->result = space_report(store);
	return 0;
}

int rpc_status(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	struct pipeline *pipeline = target->pipeline;
	struct disk *disk = target->disk;
	uint32_t condition = condition_bits(pipeline_condition(pipeline));
	json_t *result;
	char seed[24];

	/* Also while it is being made again. */
	if (!disk_dev(disk))
		condition |= CONDITION_GONE;
	/* 64-bit values that are not counts travel as text: JSON readers lose their last bits. */
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)disk_seed(disk));
	result = json_pack("{s:s, s:s, s:i, s:s, s:s}", "name", target->name, "socket",
			   target->socket, "pid", (int)getpid(), "version", FAULTBLK_VERSION,
			   "seed", seed);
	status_device(result, disk);
	json_object_update_new(result, status_options(disk_ublk_options(disk)));
	json_object_set_new(result, "uptime_ns", counter(disk_uptime_ns(disk)));
	json_object_set_new(result, "allocated_bytes", counter(store_allocated(disk_store(disk))));
	json_object_update_new(result, space_report(disk_store(disk)));
	json_object_set_new(result, "host_memory", host_report(disk_store(disk)));
	json_object_set_new(result, "rules", counter(rule_set_count(pipeline_rules(pipeline))));
	json_object_set_new(result, "condition", json_string(condition_name(condition)));
	json_object_set_new(result, "state", json_string(pipeline_state(pipeline)));
	json_object_set_new(result, "held", counter(pipeline_held(pipeline, NULL, 0)));
	json_object_set_new(result, "volatile_bytes",
			    counter(pipeline_cache(pipeline)
					    ? cache_volatile_bytes(pipeline_cache(pipeline))
					    : 0));
	json_object_set_new(result, "cache", rpc_status_cache(target));
	json_object_set_new(result, "snapshots", rpc_status_snapshots(target));
	json_object_set_new(result, "events", counter(event_log_newest(pipeline_events(pipeline))));
	json_object_set_new(result, "recording", rpc_recording(pipeline));
	call->result = result;
	return 0;
}

static json_t *op_reports(const struct ublk_dev *dev)
{
	json_t *ops = json_object();

	for (int op = 0; op < UBLK_NR_OPS; op++) {
		struct ublk_op_stats s = { 0 };

		if (ublk_dev_op_stats(dev, -1, (enum ublk_op)op, &s))
			rpc_json_set_short();
		json_object_set_new(
			ops, value_op_names()[op],
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ops",
				  (json_int_t)s.ops, "bytes", (json_int_t)s.bytes, "errors",
				  (json_int_t)s.errors, "p50_ns", (json_int_t)s.p50_ns, "p90_ns",
				  (json_int_t)s.p90_ns, "p99_ns", (json_int_t)s.p99_ns, "p999_ns",
				  (json_int_t)s.p999_ns, "max_ns", (json_int_t)s.max_ns));
	}
	return ops;
}

static json_t *errno_reports(const struct ublk_dev *dev)
{
	json_t *errors = json_object();

	for (int error = 1; error <= ERRNO_MAX; error++) {
		const char *name = strerrorname_np(error);
		uint64_t count = name ? ublk_dev_errno_count(dev, error) : 0;

		if (count)
			json_object_set_new(errors, name, counter(count));
	}
	return errors;
}

static json_t *queue_reports(const struct ublk_dev *dev)
{
	json_t *queues = json_array();

	for (unsigned int q = 0; q < ublk_dev_options(dev)->nr_queues; q++) {
		struct ublk_queue_stats s = { 0 };

		ublk_dev_queue_stats(dev, q, &s);
		json_array_append_new(queues, json_pack("{s:i, s:I, s:I, s:I, s:I}", "queue",
							(int)q, "batches", (json_int_t)s.batches,
							"parked", (json_int_t)s.parked, "in_flight",
							(json_int_t)s.in_flight, "parked_now",
							(json_int_t)s.parked_now));
	}
	return queues;
}

int rpc_stats(struct rpc_call *call)
{
	struct disk *disk = call->target->disk;
	const struct ublk_dev *dev = disk_dev(disk);

	if (!dev) {
		diag_set(&call->diag, -ENODEV, "disk.gone",
			 "the disk is gone, and so are its counters");
		diag_hint(&call->diag, "bring it back with: faultblk revive");
		return RPC_FAILED;
	}
	call->result =
		json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "name", call->target->name, "uptime_ns",
			  (json_int_t)disk_uptime_ns(disk), "ops", op_reports(dev), "errors",
			  errno_reports(dev), "rules", rpc_rule_reports(call->target, false),
			  "queues", queue_reports(dev));
	return 0;
}

int rpc_stop(struct rpc_call *call)
{
	const struct rpc_target *target = call->target;
	bool force = false;
	int err = rpc_param_bool(call, "force", &force);

	if (err)
		return err;
	err = target->stop(target->ctx, force, &call->ticket, &call->diag);
	if (err == -EINPROGRESS)
		return err;
	if (err)
		return rpc_engine_error(call, err);
	call->result = json_pack("{s:b}", "stopped", 1);
	return 0;
}
