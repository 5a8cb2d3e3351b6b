// SPDX-License-Identifier: MIT
#include "opt.h"
#include "rpc_client.h"
#include "runtime.h"
#include "tool.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct gc_opts {
	bool json;
};

static const struct opt gc_table[] = {
	OPT_FLAG(struct gc_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help gc_help = {
	.usage = "faultblk gc [options]",
	.what = "Delete the disks that killed servers left behind, and their sockets. A disk is only\n"
		"touched if this program made it and the process that served it is gone.",
	.examples = "  faultblk gc",
	.exits = "  0  done, even if there was nothing to do\n  1  something could not be deleted\n"
		 "  2  wrong options\n  3  this machine has no ublk",
};

static void log_gc(void *ctx, enum ublk_log_level level, const char *message)
{
	int *nr_failures = ctx;

	if (level == UBLK_LOG_ERROR || level == UBLK_LOG_WARNING)
		(*nr_failures)++;
	if (level <= UBLK_LOG_INFO)
		tool_msg("%s", message);
}

static int sweep_socket(void *ctx, const char *name, const char *path, bool live)
{
	int *nr_swept = ctx;

	(void)name;
	if (!live && unlink(path) == 0)
		(*nr_swept)++;
	return 0;
}

int cmd_gc(int argc, char **argv)
{
	struct gc_opts opts;
	enum opt_result result = opt_parse(argc, argv, gc_table, &gc_help, &opts, NULL);
	int nr_failures = 0, nr_swept = 0, nr_deleted;

	if (result != OPT_OK)
		return opt_exit(result);
	nr_deleted = ublk_gc(log_gc, &nr_failures);
	runtime_each(sweep_socket, &nr_swept, NULL);
	if (nr_deleted < 0) {
		if (!nr_failures)
			tool_msg("gc: %s", strerror(-nr_deleted));
		return nr_deleted == -ENOENT ? EXIT_NO_UBLK : EXIT_FAILED;
	}
	if (opts.json)
		tool_print_json(json_pack("{s:i, s:i, s:i}", "deleted", nr_deleted, "sockets",
					  nr_swept, "failures", nr_failures));
	else
		printf("deleted %d disk%s and %d socket%s\n", nr_deleted,
		       nr_deleted == 1 ? "" : "s", nr_swept, nr_swept == 1 ? "" : "s");
	return nr_failures ? EXIT_FAILED : EXIT_OK;
}
