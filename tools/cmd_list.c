// SPDX-License-Identifier: MIT
#include "opt.h"
#include "rpc_client.h"
#include "runtime.h"
#include "tool.h"

#include <stdio.h>

struct list_opts {
	bool json;
};

static const struct opt list_table[] = {
	OPT_FLAG(struct list_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help list_help = {
	.usage = "faultblk list [options]",
	.what = "The disks that are being served, as far as their sockets lie in the runtime\n"
		"directory.",
	.examples = "  faultblk list",
	.exits = "  0  printed, even if there is none\n  1  the runtime directory is not readable\n"
		 "  2  wrong options",
};

/* The greeting says all that is shown; a server that does not give it is shown as such. */
static int add_disk(void *ctx, const char *name, const char *path, bool live)
{
	struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	json_t *row, *device = NULL;

	if (!live)
		return 0;
	row = json_pack("{s:s, s:s}", "name", name, "socket", path);
	if (rpc_client_open_path(path, &diag, &client) == 0)
		device = json_object_get(rpc_client_hello(client), "device");
	else
		json_object_set_new(row, "error", json_string(diag.message));
	json_object_set(row, "device", device ?: json_null());
	rpc_client_free(client);
	json_array_append_new(ctx, row);
	return 0;
}

static void print_disks(json_t *disks)
{
	json_t *disk;
	size_t i;

	json_array_foreach (disks, i, disk) {
		const char *device = json_string_value(json_object_get(disk, "device"));
		const char *error = json_string_value(json_object_get(disk, "error"));

		printf("%-16s %-16s %s%s%s\n", json_string_value(json_object_get(disk, "name")),
		       device ?: "?", json_string_value(json_object_get(disk, "socket")),
		       error ? "  " : "", error ?: "");
	}
}

int cmd_list(int argc, char **argv)
{
	struct list_opts opts;
	struct diag diag = { 0 };
	enum opt_result result = opt_parse(argc, argv, list_table, &list_help, &opts, NULL);
	json_t *disks;

	if (result != OPT_OK)
		return opt_exit(result);
	disks = json_array();
	if (runtime_each(add_disk, disks, &diag)) {
		tool_diag(&diag);
		json_decref(disks);
		return EXIT_FAILED;
	}
	if (opts.json)
		return tool_print_json(disks);
	if (json_array_size(disks) == 0)
		tool_msg("no disk is running");
	print_disks(disks);
	json_decref(disks);
	return EXIT_OK;
}
