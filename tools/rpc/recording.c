// SPDX-License-Identifier: MIT
/* The methods about the recording of a disk: marks, its limit, its end. */
#include "tools/rpc/call.h"

#include "base/clock.h"
#include "faults/record/recorder.h"

#include <errno.h>
#include <string.h>

static const char *const state_names[] = {
	[RECORDER_RECORDING] = "recording",
	[RECORDER_FULL] = "full",
	[RECORDER_ENDED] = "ended",
	[RECORDER_FAILED] = "failed",
};

static const char *const why_names[] = {
	[RECORD_WHY_DONE] = "done",
	[RECORD_WHY_LIMIT] = "limit",
	[RECORD_WHY_STOPPED] = "stopped",
};

json_t *rpc_recording(struct pipeline *pipeline)
{
	struct recorder_disk *disk = pipeline_recorder(pipeline);
	struct recorder_status status;

	if (!disk)
		return NULL;
	recorder_status(recorder_of(disk), &status);
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:s*, s:s*}", "state",
			 state_names[status.state], "data", status.data, "requests",
			 (json_int_t)status.nr_requests, "marks", (json_int_t)status.nr_marks,
			 "bytes", (json_int_t)status.file_bytes, "limit_bytes",
			 (json_int_t)status.limit_bytes, "waits", (json_int_t)status.nr_waits,
			 "why", status.state == RECORDER_ENDED ? why_names[status.why] : NULL,
			 "error", status.error ? strerrorname_np(-status.error) : NULL);
}

/* 0, or an enum rpc_code where there is no recording. */
static int need_recorder(struct rpc_call *call, struct recorder **ret_recorder)
{
	struct recorder_disk *disk = pipeline_recorder(call->target->pipeline);

	if (disk) {
		*ret_recorder = recorder_of(disk);
		return 0;
	}
	diag_set(&call->diag, 0, "recording.none", "disk '%s' is not being recorded",
		 call->target->name);
	diag_hint(&call->diag, "record it from its beginning: faultblk run --record FILE "
			       "--record-data ...");
	return RPC_FAILED;
}

int rpc_mark(struct rpc_call *call)
{
	struct recorder *recorder = NULL;
	const char *text;
	uint64_t mark, step;
	int err = rpc_param_string(call, "text", true, &text);

	if (!err)
		err = need_recorder(call, &recorder);
	if (err)
		return err;
	err = recorder_mark(recorder, clock_now_ns(), text,
			    json_string_length(rpc_param(call, "text")), &call->diag, &mark, &step);
	if (err == -EINVAL)
		return RPC_INVALID_PARAMS;
	if (err)
		return RPC_FAILED;
	call->result = json_pack("{s:I, s:I}", "mark", (json_int_t)mark, "step", (json_int_t)step);
	return 0;
}

static int answer_recording(struct rpc_call *call)
{
	call->result = rpc_recording(call->target->pipeline);
	return 0;
}

int rpc_recording_limit(struct rpc_call *call)
{
	struct recorder *recorder = NULL;
	uint64_t limit = 0;
	int err;

	if (!rpc_param(call, "limit"))
		return rpc_missing_param(call, "limit", "a size, or 0 for none");
	err = rpc_param_size(call, "limit", INT64_MAX, &limit);
	if (!err)
		err = need_recorder(call, &recorder);
	if (err)
		return err;
	recorder_set_limit(recorder, limit);
	return answer_recording(call);
}

int rpc_recording_stop(struct rpc_call *call)
{
	struct recorder *recorder = NULL;
	int err = need_recorder(call, &recorder);

	if (err)
		return err;
	recorder_stop(recorder);
	return answer_recording(call);
}
