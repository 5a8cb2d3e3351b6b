// SPDX-License-Identifier: MIT
#include "base/printable.h"
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <stdio.h>
#include <string.h>

struct status_opts {
	struct disk_choice disk;
	bool json;
};

static const struct opt status_table[] = {
	OPT_DISK_CHOICE(struct status_opts, disk),
	OPT_FLAG(struct status_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help status_help = {
	.usage = "faultblk status [options] [DISK]",
	.words_are = "name",
	.what = "Show the properties of a disk, its state, and the processes that hold it.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk status --name slow",
	.exits = "  0  printed\n  1  the server did not answer\n  2  wrong options\n"
		 "  4  no such disk",
};

enum row_form { ROW_TEXT, ROW_NUMBER, ROW_SIZE, ROW_TIME, ROW_BOOL };

static const struct status_row {
	const char *key, *label;
	enum row_form form;
} rows[] = {
	{ "name", "name", ROW_TEXT },
	{ "device", "device", ROW_TEXT },
	{ "socket", "socket", ROW_TEXT },
	{ "pid", "process", ROW_NUMBER },
	{ "uptime_ns", "up for", ROW_TIME },
	{ "seed", "seed", ROW_TEXT },
	{ "size_bytes", "size", ROW_SIZE },
	{ "allocated_bytes", "memory in use", ROW_SIZE },
	{ "capacity_bytes", "capacity", ROW_SIZE },
	{ "used_bytes", "space used", ROW_SIZE },
	{ "nr_queues", "queues", ROW_NUMBER },
	{ "queue_depth", "queue depth", ROW_NUMBER },
	{ "logical_block_bytes", "logical block", ROW_SIZE },
	{ "physical_block_bytes", "physical block", ROW_SIZE },
	{ "max_io_bytes", "largest I/O", ROW_SIZE },
	{ "read_only", "read-only", ROW_BOOL },
	{ "rotational", "rotational", ROW_BOOL },
	{ "volatile_cache", "volatile cache", ROW_BOOL },
	{ "fua", "FUA", ROW_BOOL },
	{ "data_path", "data path", ROW_TEXT },
	{ "features", "kernel features", ROW_TEXT },
	{ "rules", "rules", ROW_NUMBER },
	{ "condition", "condition", ROW_TEXT },
	{ "state", "state of rules", ROW_TEXT },
	{ "held", "held requests", ROW_NUMBER },
	{ "volatile_bytes", "volatile data", ROW_SIZE },
	{ NULL, NULL, ROW_TEXT },
};

static void print_row(const struct status_row *row, const json_t *value)
{
	uint64_t number = (uint64_t)json_integer_value(value);
	char buf[UNITS_MAX];

	printf("%-16s", row->label);
	switch (row->form) {
	case ROW_TEXT:
		printf("%s\n", json_string_value(value) ?: "-");
		break;
	case ROW_NUMBER:
		printf("%llu\n", (unsigned long long)number);
		break;
	case ROW_SIZE:
		if (json_is_null(value))
			puts("not limited");
		else if (number < 1024)
			printf("%llu bytes\n", (unsigned long long)number);
		else
			printf("%s\n", units_format_size(number, buf));
		break;
	case ROW_TIME:
		printf("%s\n", units_human_time(number, buf));
		break;
	case ROW_BOOL:
		printf("%s\n", json_is_true(value) ? "yes" : "no");
		break;
	}
}

static void print_holders(json_t *holders)
{
	json_t *holder;
	size_t i;

	if (json_array_size(holders) == 0)
		printf("%-16s%s\n", "held by", "no known process");
	json_array_foreach (holders, i, holder) {
		const char *how = json_string_value(json_object_get(holder, "how"));
		const char *name = json_string_value(json_object_get(holder, "name"));
		const char *where = json_string_value(json_object_get(holder, "where"));
		char who[128], at[4096];

		/* A process may call itself anything, and mount points are named by others. */
		printf("%-16s%s %s (pid %d) %s\n", "held by", how ?: "",
		       printable(name, who, sizeof(who)),
		       (int)json_integer_value(json_object_get(holder, "pid")),
		       printable(where, at, sizeof(at)));
	}
}

static void print_host(json_t *host)
{
	long long refused = (long long)json_integer_value(json_object_get(host, "refused"));

	if (json_is_true(json_object_get(host, "low")))
		printf("%-16s%s\n", "host memory", "short: writes that need more get EIO");
	if (refused)
		printf("%-16s%lld requests for lack of host memory\n", "refused", refused);
}

static void print_snapshots(json_t *snapshots)
{
	char size[UNITS_MAX];

	if (json_integer_value(json_object_get(snapshots, "count")))
		printf("%-16s%lld, %s of memory\n", "snapshots",
		       (long long)json_integer_value(json_object_get(snapshots, "count")),
		       units_format_size(
			       (uint64_t)json_integer_value(json_object_get(snapshots, "bytes")),
			       size));
}

int cmd_status(int argc, char **argv)
{
	struct status_opts opts;
	json_t *answer = NULL;
	enum opt_result result = opt_parse(argc, argv, status_table, &status_help, &opts, NULL);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = rpc_client_once(&opts.disk, "status", NULL, &answer);
	if (code || opts.json)
		return code ? code : tool_print_json(answer);
	for (const struct status_row *row = rows; row->key; row++)
		print_row(row, json_object_get(answer, row->key));
	print_host(json_object_get(answer, "host_memory"));
	print_snapshots(json_object_get(answer, "snapshots"));
	print_holders(json_object_get(answer, "holders"));
	json_decref(answer);
	return EXIT_OK;
}
