// SPDX-License-Identifier: MIT
#include "tools/cli/guard.h"
#include "tools/cli/left_folder.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/disk/node_file.h"
#include "tools/rpc/client.h"
#include "tools/rpc/runtime.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct gc_opts {
	const char *work;
	bool json, dry_run, quiet, node_files;
};

static const struct opt gc_table[] = {
	OPT_FLAG(struct gc_opts, dry_run, "dry-run",
		 "print what would be deleted or ended, and "
		 "change nothing"),
	OPT_TEXT(struct gc_opts, work, "work", NULL, "DIR",
		 "also search this folder, the --work of explore"),
	OPT_FLAG(struct gc_opts, node_files, "node-files",
		 "also remove non-empty files in /dev that have the name of a disk"),
	OPT_FLAG(struct gc_opts, quiet, "quiet", "print only what cannot be removed"),
	OPT_FLAG(struct gc_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help gc_help = {
	.usage = "faultblk gc [options]",
	.what = "Remove what killed faultblk processes left behind: disks and sockets of servers,\n"
		"processes of checks and workloads, and folders of explore and crashtest in TMPDIR,\n"
		"/dev/shm and /tmp. A disk is removed only if faultblk made it and its server is\n"
		"gone; a socket only if it belongs to faultblk and has no server; a folder only if it\n"
		"belongs to faultblk and its lock is free. A regular file in /dev with the name of a\n"
		"disk keeps disks from that name: it is removed if it is empty, or with --node-files,\n"
		"and never while it is open. Things that cannot be removed are reported with the reason.",
	.examples = "  faultblk gc --dry-run\n  faultblk gc",
	.exits = "  0  done, even if there was nothing to do\n"
		 "  1  something could not be deleted or ended\n  2  wrong options\n"
		 "  3  this machine has no ublk, and so no disks; all else is done",
};

struct swept {
	int nr_sockets, nr_folders, nr_processes, nr_files, nr_failures;
	bool dry_run, quiet, node_files;
};

/* What was done, or would be. */
static void did(const struct swept *swept, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void did(const struct swept *swept, const char *fmt, ...)
{
	char text[PATH_MAX + 64];
	va_list ap;

	if (swept->quiet)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tool_msg("%s", text);
}

static void log_gc(void *ctx, enum ublk_log_level level, const char *message)
{
	struct swept *swept = ctx;

	if (level == UBLK_LOG_ERROR || level == UBLK_LOG_WARNING) {
		swept->nr_failures++;
		tool_msg("%s", message);
	} else if (level == UBLK_LOG_INFO) {
		did(swept, "%s", message);
	}
}

static void tell_socket(void *ctx, const char *path, const char *why)
{
	struct swept *swept = ctx;

	if (!why) {
		swept->nr_sockets++;
		if (swept->dry_run)
			did(swept, "would remove the socket %s", path);
		return;
	}
	swept->nr_failures++;
	tool_msg("cannot remove %s: it %s", path, why);
}

static void tell_process(void *ctx, const struct guard_left *process, const char *why)
{
	struct swept *swept = ctx;

	if (!why) {
		swept->nr_processes++;
		did(swept, "%s process %d (%s), left by a check or a workload",
		    swept->dry_run ? "would end" : "ended", (int)process->pid, process->name);
		return;
	}
	swept->nr_failures++;
	tool_msg("cannot end process %d (%s), left by a check or a workload: %s", (int)process->pid,
		 process->name, why);
}

static void tell_folder(void *ctx, const struct left_folder *folder)
{
	struct swept *swept = ctx;

	if (!folder->why) {
		swept->nr_folders++;
		did(swept, "%s the folder %s/%s", swept->dry_run ? "would remove" : "removed",
		    folder->where, folder->name);
		return;
	}
	/* Of others, who may be at work, there is nothing for us to take away. */
	swept->nr_failures += !folder->is_foreign;
	left_folder_tell(folder);
}

static void tell_place(void *ctx, const char *where, int err)
{
	struct swept *swept = ctx;

	swept->nr_failures++;
	tool_msg("cannot search %s for folders left behind: %s", where, strerror(-err));
}

/* It keeps the disks of that number from being made: one that stays is a failure. */
static void tell_node_file(void *ctx, const struct node_file *file)
{
	struct swept *swept = ctx;
	char why[96];
	int err;

	if (!file->is_regular) {
		swept->nr_failures++;
		tool_msg("/dev/%s is %s, and keeps disks from that name; remove it", file->name,
			 file->what);
		return;
	}
	err = node_file_remove("/dev", file->name, swept->node_files, swept->dry_run, why);
	if (!err) {
		swept->nr_files++;
		did(swept, "%s /dev/%s, a regular file of %llu bytes where a disk's node belongs",
		    swept->dry_run ? "would remove" : "removed", file->name,
		    (unsigned long long)file->size_bytes);
		return;
	}
	swept->nr_failures++;
	tool_msg_hint(
		err == -ENOTEMPTY ? "see whether it is needed; faultblk gc --node-files removes it"
				  : "",
		"cannot remove the regular file /dev/%s, which keeps disks from that name: %s",
		file->name, why);
}

static void sweep_node_files(struct swept *swept)
{
	int nr = node_file_each("/dev", tell_node_file, swept);

	if (nr >= 0)
		return;
	swept->nr_failures++;
	tool_msg("/dev cannot be read: %s", strerror(-nr));
}

static const char *s_of(int nr)
{
	return nr == 1 ? "" : "s";
}

static void print_swept(int nr_disks, const struct swept *swept, bool json)
{
	const bool dry_run = swept->dry_run;

	if (json)
		tool_print_json(json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "deleted",
					  nr_disks, "sockets", swept->nr_sockets, "folders",
					  swept->nr_folders, "processes", swept->nr_processes,
					  "node_files", swept->nr_files, "failures",
					  swept->nr_failures, "dry_run", dry_run));
	else if (!swept->quiet)
		printf("%s %d disk%s, %d socket%s and %d folder%s, %s %d process%s\n",
		       dry_run ? "would delete" : "deleted", nr_disks, s_of(nr_disks),
		       swept->nr_sockets, s_of(swept->nr_sockets), swept->nr_folders,
		       s_of(swept->nr_folders), dry_run ? "end" : "ended", swept->nr_processes,
		       swept->nr_processes == 1 ? "" : "es");
}

static void sweep_sockets(struct swept *swept)
{
	struct diag diag = { 0 };

	/* Without a place for sockets there are none. */
	if (runtime_sweep(swept->dry_run, tell_socket, swept, &diag) == 0 ||
	    strcmp(diag.id, "runtime.no-directory") == 0)
		return;
	tool_diag(&diag);
	swept->nr_failures++;
}

/* -ENOENT, told: this machine has no ublk. */
static int sweep_disks(struct swept *swept)
{
	int before = swept->nr_failures;
	int nr = swept->dry_run ? ublk_gc_look(log_gc, swept) : ublk_gc(log_gc, swept);

	if (nr < 0 && nr != -ENOENT && swept->nr_failures == before) {
		swept->nr_failures++;
		tool_msg("gc: %s", strerror(-nr));
	}
	if (nr == -ENOENT)
		swept->nr_failures = before;
	return nr;
}

int cmd_gc(int argc, char **argv)
{
	struct gc_opts opts;
	enum opt_result result = opt_parse(argc, argv, gc_table, &gc_help, &opts, NULL);
	struct swept swept = { 0 };
	struct diag diag = { 0 };
	int nr_disks, err;

	if (result != OPT_OK)
		return opt_exit(result);
	if (opts.work && left_folder_check_work(opts.work, &diag)) {
		tool_diag(&diag);
		return EXIT_USAGE;
	}
	swept = (struct swept){ .dry_run = opts.dry_run,
				.quiet = opts.quiet,
				.node_files = opts.node_files };
	nr_disks = sweep_disks(&swept);
	sweep_node_files(&swept);
	/* Who may still fill a folder goes first. */
	err = guard_sweep(opts.dry_run, tell_process, &swept);
	if (err) {
		swept.nr_failures++;
		tool_msg("cannot search for processes that checks and workloads left: %s",
			 err == -EXDEV ? "/proc shows the processes of another pid namespace"
				       : strerror(-err));
	}
	left_folder_sweep_all(opts.work, opts.dry_run, tell_folder, tell_place, &swept);
	sweep_sockets(&swept);
	print_swept(nr_disks > 0 ? nr_disks : 0, &swept, opts.json);
	if (swept.nr_failures)
		return EXIT_FAILED;
	return nr_disks == -ENOENT ? EXIT_NO_UBLK : EXIT_OK;
}
