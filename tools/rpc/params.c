// SPDX-License-Identifier: MIT
/* The parameters of a method, and how what is wrong with them, or with the engine, is told. */
#include "tools/rpc/call.h"

#include "base/cleanup.h"
#include "base/units.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------------------ errors */

int rpc_engine_error(struct rpc_call *call, int err)
{
	if (!call->diag.message[0])
		diag_set(&call->diag, err, "failed", "%s", strerror(-err));
	return rpc_code_of(err);
}

int rpc_bad_param(struct rpc_call *call, const char *name, const char *wanted)
{
	json_t *value = rpc_param(call, name);
	_cleanup_free_ char *got =
		value ? json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT)
		      : NULL;

	if (got)
		diag_set(&call->diag, 0, "protocol.param", "%s: got %.60s%s, wanted %s", name, got,
			 strlen(got) > 60 ? "..." : "", wanted);
	else
		diag_set(&call->diag, 0, "protocol.param", "%s: wanted %s", name, wanted);
	return RPC_INVALID_PARAMS;
}

int rpc_missing_param(struct rpc_call *call, const char *name, const char *wanted)
{
	diag_set(&call->diag, 0, "protocol.missing-param", "%s is missing: wanted %s", name,
		 wanted);
	return RPC_INVALID_PARAMS;
}

/* ------------------------------------------------------------------------------ parameters */

json_t *rpc_param(const struct rpc_call *call, const char *name)
{
	return json_object_get(call->params, name);
}

int rpc_param_string(struct rpc_call *call, const char *name, bool required, const char **ret)
{
	json_t *value = rpc_param(call, name);

	if (!value && required)
		return rpc_missing_param(call, name, "a string");
	if (value && !json_is_string(value))
		return rpc_bad_param(call, name, "a string");
	*ret = json_string_value(value);
	return 0;
}

int rpc_param_bool(struct rpc_call *call, const char *name, bool *ret)
{
	json_t *value = rpc_param(call, name);

	if (value && !json_is_boolean(value))
		return rpc_bad_param(call, name, "true or false");
	*ret = json_is_true(value);
	return 0;
}

int rpc_param_size(struct rpc_call *call, const char *name, uint64_t max, uint64_t *ret)
{
	json_t *value = rpc_param(call, name);
	const char *text = json_string_value(value);
	uint64_t size;
	char wanted[96], max_text[UNITS_MAX];

	if (!value)
		return 0;
	snprintf(wanted, sizeof(wanted), "a size of at most %s: an integer or text like \"1M\"",
		 units_format_size(max, max_text));
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		size = (uint64_t)json_integer_value(value);
	else if (!text || units_parse_size(text, json_string_length(value), &size))
		return rpc_bad_param(call, name, wanted);
	if (size > max)
		return rpc_bad_param(call, name, wanted);
	*ret = size;
	return 0;
}

int rpc_param_count(struct rpc_call *call, const char *name, uint64_t min, uint64_t max,
		    uint64_t *ret)
{
	json_t *value = rpc_param(call, name);
	char wanted[80];

	if (!value)
		return 0;
	if (json_is_integer(value) && json_integer_value(value) >= 0 &&
	    (uint64_t)json_integer_value(value) >= min &&
	    (uint64_t)json_integer_value(value) <= max) {
		*ret = (uint64_t)json_integer_value(value);
		return 0;
	}
	snprintf(wanted, sizeof(wanted), "a whole number from %llu to %llu",
		 (unsigned long long)min, (unsigned long long)max);
	return rpc_bad_param(call, name, wanted);
}
