// SPDX-License-Identifier: MIT
#include "guard.h"
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
	bool json, dry_run;
};

static const struct opt gc_table[] = {
	OPT_FLAG(struct gc_opts, dry_run, "dry-run", "delete nothing, say what would be"),
	OPT_FLAG(struct gc_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help gc_help = {
	.usage = "faultblk gc [options]",
	.what = "Delete the disks that killed servers left behind, and their sockets, and end what the\n"
		"checks of killed explorations left. A disk is only touched if this program made it\n"
		"and the process that served it is gone; a socket only if it is ours and dead. What\n"
		"cannot be deleted is told, with the reason.",
	.examples = "  faultblk gc --dry-run\n  faultblk gc",
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

struct swept {
	int nr, nr_failures;
	bool dry_run;
};

static void tell_socket(void *ctx, const char *path, const char *why)
{
	struct swept *swept = ctx;

	if (!why) {
		swept->nr++;
		if (swept->dry_run)
			tool_msg("would remove the socket %s", path);
		return;
	}
	swept->nr_failures++;
	tool_msg("%s is left: it %s", path, why);
}

static void print_swept(const struct gc_opts *opts, int nr_disks, const struct swept *swept,
			int nr_failures)
{
	if (opts->json)
		tool_print_json(json_pack("{s:i, s:i, s:i, s:b}", "deleted", nr_disks, "sockets",
					  swept->nr, "failures", nr_failures, "dry_run",
					  opts->dry_run));
	else
		printf("%s %d disk%s and %d socket%s\n", opts->dry_run ? "would delete" : "deleted",
		       nr_disks, nr_disks == 1 ? "" : "s", swept->nr, swept->nr == 1 ? "" : "s");
}

/* Returns how many failed. */
static int sweep_sockets(struct swept *swept)
{
	struct diag diag = { 0 };

	if (runtime_sweep(swept->dry_run, tell_socket, swept, &diag) == 0)
		return swept->nr_failures;
	/* Without a place for sockets there are none. */
	if (strcmp(diag.id, "runtime.no-directory") == 0)
		return 0;
	tool_diag(&diag);
	return swept->nr_failures + 1;
}

int cmd_gc(int argc, char **argv)
{
	struct gc_opts opts;
	enum opt_result result = opt_parse(argc, argv, gc_table, &gc_help, &opts, NULL);
	int nr_failures = 0, nr_disks;
	struct swept swept = { 0 };

	if (result != OPT_OK)
		return opt_exit(result);
	swept.dry_run = opts.dry_run;
	nr_disks =
		opts.dry_run ? ublk_gc_look(log_gc, &nr_failures) : ublk_gc(log_gc, &nr_failures);
	if (nr_disks < 0 && nr_disks != -ENOENT && !nr_failures++)
		tool_msg("gc: %s", strerror(-nr_disks));
	if (!opts.dry_run)
		guard_sweep();
	nr_failures += sweep_sockets(&swept);
	if (nr_disks == -ENOENT)
		return EXIT_NO_UBLK;
	print_swept(&opts, nr_disks > 0 ? nr_disks : 0, &swept, nr_failures);
	return nr_failures ? EXIT_FAILED : EXIT_OK;
}
