/* SPDX-License-Identifier: MIT */
/* What the methods of the protocol share: one call, its parameters, its errors. */
#ifndef TOOLS_RPC_CALL_H
#define TOOLS_RPC_CALL_H

#include "tools/rpc/methods.h"
#include "tools/rpc/reading.h"

struct rpc_call {
	const struct rpc_target *target;
	json_t *params; /* borrowed; NULL or an object */
	struct rpc_ticket ticket;
	struct diag diag;
	struct rpc_reading
		*reading; /* has made the rules of this call; NULL: it makes them itself */
	json_t *result;   /* of a method that returned 0 */
};

/* Returns 0, an enum rpc_code with words in call->diag, or -EINPROGRESS. */
typedef int (*rpc_method_fn)(struct rpc_call *call);

/* params.c */
/* The code for an error of the engine, which mostly brought its own words. */
int rpc_engine_error(struct rpc_call *call, int err);
/* Say what the parameter's value should have been; returns the code. */
int rpc_bad_param(struct rpc_call *call, const char *name, const char *wanted);
int rpc_missing_param(struct rpc_call *call, const char *name, const char *wanted);

/* Borrowed, or NULL. */
json_t *rpc_param(const struct rpc_call *call, const char *name);
/* *ret: borrowed, or NULL where it is not given. 0 or an enum rpc_code. */
int rpc_param_string(struct rpc_call *call, const char *name, bool required, const char **ret);
int rpc_param_bool(struct rpc_call *call, const char *name, bool *ret);
/* An integer of @min to @max; leaves *ret alone where it is not given. */
int rpc_param_count(struct rpc_call *call, const char *name, uint64_t min, uint64_t max,
		    uint64_t *ret);
/* An integer, or text with units, of at most @max; leaves *ret alone where it is not given. */
int rpc_param_size(struct rpc_call *call, const char *name, uint64_t max, uint64_t *ret);

/* rules.c */
/* The rule that the parameter "name" names (required), borrowed. */
int rpc_param_rule(struct rpc_call *call, struct rule **ret_rule);
/* Put @set in force; words in call->diag. 0 or an enum rpc_code. */
int rpc_set_rules(struct rpc_call *call, const struct rule_set *set);
/* Every rule with its counts, and its text if @with_text. New reference. */
json_t *rpc_rule_reports(const struct rpc_target *target, bool with_text);
int rpc_rules_list(struct rpc_call *call);
int rpc_rules_put(struct rpc_call *call);
int rpc_rules_remove(struct rpc_call *call);
int rpc_rules_clear(struct rpc_call *call);
int rpc_rules_enable(struct rpc_call *call);
int rpc_rules_disable(struct rpc_call *call);
int rpc_rules_replace(struct rpc_call *call);
int rpc_rules_explain(struct rpc_call *call);

/* status.c */
int rpc_status(struct rpc_call *call);
int rpc_stats(struct rpc_call *call);
int rpc_stop(struct rpc_call *call);
int rpc_disk_capacity(struct rpc_call *call);
int rpc_faults_list(struct rpc_call *call);

/* events.c */
int rpc_rules_wait(struct rpc_call *call);
int rpc_rules_tell(struct rpc_call *call);
int rpc_held_list(struct rpc_call *call);
int rpc_held_release(struct rpc_call *call);
int rpc_events_list(struct rpc_call *call);
int rpc_events_subscribe(struct rpc_call *call);
int rpc_events_unsubscribe(struct rpc_call *call);
int rpc_disk_revive(struct rpc_call *call);

/* recording.c */
int rpc_mark(struct rpc_call *call);
int rpc_recording_limit(struct rpc_call *call);
int rpc_recording_stop(struct rpc_call *call);

/* state.c */
int rpc_disk_freeze(struct rpc_call *call);
int rpc_disk_thaw(struct rpc_call *call);
int rpc_disk_crash(struct rpc_call *call);
int rpc_snapshot_create(struct rpc_call *call);
int rpc_snapshot_restore(struct rpc_call *call);
int rpc_snapshot_remove(struct rpc_call *call);
int rpc_snapshot_list(struct rpc_call *call);
int rpc_snapshot_save(struct rpc_call *call);
int rpc_image_save(struct rpc_call *call);
int rpc_image_load(struct rpc_call *call);
/* For status. New references; NULL where there is nothing to say. */
json_t *rpc_status_cache(const struct rpc_target *target);
json_t *rpc_status_snapshots(const struct rpc_target *target);

#endif
