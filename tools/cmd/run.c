// SPDX-License-Identifier: MIT
/*
 * faultblk run. Everything that can be refused is refused before the kernel is asked for anything:
 * options, then rules, then the machine, then the name. Then the disk is made, its rules are armed,
 * and serve/serve.c takes over.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "tools/cli/clean_output.h"
#include "tools/cli/machine.h"
#include "tools/cli/opt.h"
#include "tools/cli/program.h"
#include "tools/cli/rule_file.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/disk/apart.h"
#include "tools/disk/image.h"
#include "tools/disk/partition.h"
#include "tools/disk/recording_file.h"
#include "tools/disk/run_options.h"
#include "tools/disk/run_words.h"
#include "tools/rpc/client.h"
#include "tools/rpc/runtime.h"
#include "tools/scenario/scenario.h"
#include "tools/serve/daemon.h"
#include "tools/serve/fiu_rc.h"
#include "tools/serve/pid_file.h"
#include "tools/serve/serve.h"

#include <errno.h>
#include <string.h>

static const struct opt_help run_help = {
	.usage = "faultblk run [options] [-- COMMAND...]",
	.what = "Create a disk in memory, /dev/ublkbN, that breaks as its rules say.\n"
		"With COMMAND: run it with FAULTBLK_DEV, FAULTBLK_SOCKET and FAULTBLK_NAME in its\n"
		"environment, remove the disk when it ends, and exit with its status.\n"
		"Without COMMAND: print device, socket and seed; serve until SIGINT, SIGTERM or\n"
		"`faultblk stop`. A disk that a process holds stays; a second signal removes it anyway.",
	.examples =
		"  faultblk run --size 1G --rule 'hole op=read range=17s..23s do=error:EIO' \\\n"
		"      -- sh -c 'mkfs.ext4 -q $FAULTBLK_DEV && fsck.ext4 -fn $FAULTBLK_DEV'\n"
		"  faultblk run --name slow --daemon --rule 'slow op=read do=delay:20ms'",
	.exits =
		"  0    the disk was served and taken away (with COMMAND: its status; 128+N: signal N)\n"
		"  1    cannot create the disk\n"
		"  2    wrong options, or a wrong rule; nothing was made\n"
		"  3    this machine cannot make ublk devices; a line that works is printed\n"
		"  125  with COMMAND: cannot create the disk, or COMMAND succeeded but left it\n"
		"       held (mounted, say), so that it had to be removed by force\n"
		"  126, 127  COMMAND could not be executed, was not found",
	.command = true,
};

/* Things that are made on the way and taken back on every way out. */
struct run_command {
	struct run_disk made;
	char **command;
	struct rule_set *rules;
	struct disk *disk;
	struct recording_file record;
	int listen_fd;
	char socket[PATH_MAX];
};

static int failure(const struct run_command *run)
{
	return run->command ? EXIT_OURS : EXIT_FAILED;
}

static int fail(const struct run_command *run, int err, const struct diag *diag)
{
	tool_diag(diag);
	return err == -EINVAL || err == -ENAMETOOLONG ? EXIT_USAGE : failure(run);
}

/* ------------------------------------------------------------------------------ options */

static void print_warning(void *ctx, const struct rule *rule, const char *sentence)
{
	(void)ctx;
	(void)rule;
	tool_msg("warning: %s", sentence);
}

static bool has_parts(const struct rule_set *rules)
{
	for (size_t i = 0; i < rule_set_count(rules); i++)
		if (rule_part(rule_set_at(rules, i)))
			return true;
	return false;
}

/*
 * The disk is there, and the kernel has read the table of its image, which is what rules with part=
 * waited for.
 */
static int resolve_parts(struct run_command *run)
{
	const struct ublk_dev *dev = disk_dev(run->disk);
	const struct rule_geometry geometry = run_geometry(&run->made.disk_options);

	if (!has_parts(run->rules))
		return EXIT_OK;
	for (size_t i = 0; i < rule_set_count(run->rules); i++) {
		struct diag diag = { 0 };
		int err = partition_resolve(dev, rule_set_at(run->rules, i), &diag);

		if (!err)
			continue;
		if (err == -ENOENT)
			diag_hint(&diag, "the partition table comes from %.200s",
				  run->made.opts.load);
		return fail(run, err, &diag);
	}
	rule_set_lint(run->rules, &geometry, print_warning, NULL);
	return rule_set_check(run->rules, &geometry, false);
}

static int load_rules(struct run_command *run)
{
	const struct rule_geometry geometry = run_geometry(&run->made.disk_options);
	int code = EXIT_OK;

	if (run->made.opts.rules_file)
		code = rule_file_load(run->made.opts.rules_file, &run->rules);
	else
		run->rules = rule_set_new();
	if (!code && !run->rules) {
		tool_msg("no memory for rules");
		code = failure(run);
	}
	if (code)
		return code;
	for (size_t i = 0; i < run->made.opts.rules.count && !code; i++)
		code = rule_text_add(run->rules, run->made.opts.rules.items[i]);
	if (!code)
		code = rule_set_check(run->rules, &geometry, run->made.has_image);
	if (!code && !has_parts(run->rules))
		rule_set_lint(run->rules, &geometry, print_warning, NULL);
	return code;
}

/* ------------------------------------------------------------------------------ socket */

static int claim_socket(struct run_command *run, const char *name)
{
	char dir[PATH_MAX];
	struct diag diag;
	int err = 0;

	typed_set_disk(name, run->made.opts.socket);
	if (run->made.opts.socket) {
		snprintf(run->socket, sizeof(run->socket), "%s", run->made.opts.socket);
	} else {
		err = runtime_dir_make(dir, &diag);
		if (!err)
			err = runtime_socket(name, run->socket, &diag);
	}
	if (!err)
		err = runtime_listen(run->socket, &diag, &run->listen_fd);
	return err ? fail(run, err, &diag) : EXIT_OK;
}

/* COMMAND may change directory, and the daemon does: a relative path would lose its meaning. */
static int make_absolute(const char **path, char buf[PATH_MAX])
{
	char cwd[PATH_MAX];

	if (!*path || (*path)[0] == '/')
		return EXIT_OK;
	if (!getcwd(cwd, sizeof(cwd)) || snprintf(buf, PATH_MAX, "%s/%s", cwd, *path) >= PATH_MAX) {
		tool_msg("cannot make '%s' an absolute path", *path);
		return EXIT_USAGE;
	}
	*path = buf;
	return EXIT_OK;
}

static int write_pid_file(const struct run_command *run)
{
	struct diag diag = { 0 };

	return run->made.opts.pid_file && pid_file_write(run->made.opts.pid_file, &diag)
		       ? fail(run, -EIO, &diag)
		       : EXIT_OK;
}

/* ------------------------------------------------------------------------------ recording */

/* A recording of our own, or that of the scenario that started us. */
static int open_recorder(struct run_command *run, struct diag *diag)
{
	const char *joined = getenv(RECORDING_ENV);
	int fds[2];

	if (!joined)
		return recording_file_open(&run->made.recording, run->made.opts.force,
					   run->made.opts.load, diag, &run->record);
	if (sscanf(joined, "%d,%d", &fds[0], &fds[1]) != 2)
		return diag_set(diag, -EINVAL, "record.join", "%s: got '%.64s', wanted two numbers",
				RECORDING_ENV, joined);
	unsetenv(RECORDING_ENV);
	return recorder_join(fds, &run->made.recording, diag, &run->record.recorder);
}

static int start_recording(struct run_command *run)
{
	const struct record_disk disk = recording_file_disk(&run->made.disk_options);
	struct diag diag = { 0 };
	int err;

	if (!run->made.opts.record && !getenv(RECORDING_ENV))
		return EXIT_OK;
	err = open_recorder(run, &diag);
	if (err == -EEXIST) {
		tool_diag(&diag);
		return EXIT_USAGE;
	}
	if (!err)
		err = recorder_add_disk(run->record.recorder, &disk, &diag,
					&run->made.disk_options.recorder);
	return err ? fail(run, err, &diag) : EXIT_OK;
}

/* The disk is usable. */
static int keep_recording(struct run_command *run)
{
	struct diag diag = { 0 };
	int err = recording_file_keep(&run->record, &diag);

	return err ? fail(run, err, &diag) : EXIT_OK;
}

/* No queue runs any more. */
static void end_recording(struct run_command *run)
{
	struct recorder_status status;

	if (recording_file_end(&run->record, &status) && !status.error)
		tool_msg("recorded %llu requests in %s, %llu bytes; waited for the file %llu times",
			 (unsigned long long)status.nr_requests, run->made.opts.record,
			 (unsigned long long)status.file_bytes,
			 (unsigned long long)status.nr_waits);
}

/* ------------------------------------------------------------------------------ running */

static int open_disk(struct run_command *run)
{
	const char *name = run->made.opts.name;
	struct diag diag = { 0 };
	char by_id[32];
	int err, code;

	if (!name && run->made.opts.id) {
		snprintf(by_id, sizeof(by_id), "ublkb%d", run->made.disk_options.ublk.id);
		name = by_id;
	}
	/* Where the name is known, a name that is taken costs no device. */
	if (name || run->made.opts.socket) {
		code = claim_socket(run, name);
		if (code)
			return code;
	}
	code = start_recording(run);
	if (code)
		return code;
	run->made.disk_options.joins = true;
	err = disk_open(&run->made.disk_options, &diag, &run->disk);
	run->made.disk_options.store = NULL;
	if (err)
		return fail(run, err, &diag);
	if (run->listen_fd < 0) {
		code = claim_socket(run, disk_name(run->disk));
		if (code)
			return code;
	}
	code = resolve_parts(run);
	if (code)
		return code;
	err = rule_set_count(run->rules) ? disk_set_rules(run->disk, run->rules, &diag) : 0;
	return err ? fail(run, err, &diag) : EXIT_OK;
}

static int announce_json(const struct run_command *run)
{
	char seed[24];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)disk_seed(run->disk));
	return tool_print_json(json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", disk_name(run->disk),
					 "device", ublk_dev_path(disk_dev(run->disk)), "socket",
					 run->socket, "seed", seed, "pid", (int)getpid()));
}

/* With COMMAND standard output is COMMAND's: what we have to say goes to standard error. */
static void announce(const struct run_command *run)
{
	unsigned long long seed = disk_seed(run->disk);
	bool random = strcmp(run->made.opts.seed, RUN_SEED_RANDOM) == 0;

	if (run->command) {
		if (random && rule_set_count(run->rules))
			tool_msg("%s, seed %llu (repeat with --seed %llu)",
				 ublk_dev_path(disk_dev(run->disk)), seed, seed);
		return;
	}
	if (run->made.opts.json)
		announce_json(run);
	else
		printf("device %s\nsocket %s\nseed   %llu\n", ublk_dev_path(disk_dev(run->disk)),
		       run->socket, seed);
	if (!run->made.opts.json && run->made.opts.fiu_rc)
		printf("fiu    fiu-ctrl -f %s %d\n", run->made.opts.fiu_rc, (int)getpid());
	if (!fflush(stdout) && !ferror(stdout))
		return;
	/* The disk is there all the same. */
	clearerr(stdout);
	tool_msg("cannot write to standard output: %s; %s is served, with the socket %s",
		 strerror(clean_output_error()), ublk_dev_path(disk_dev(run->disk)), run->socket);
}

static int open_fiu_rc(const struct run_command *run)
{
	struct diag diag = { 0 };
	int err = run->made.opts.fiu_rc ? fiu_rc_open(run->made.opts.fiu_rc, &diag) : 0;

	return err ? fail(run, err, &diag) : EXIT_OK;
}

static void on_ready(void *ctx)
{
	announce(ctx);
	daemon_ready();
	notify_manager("READY=1");
}

/*
 * While no signal is blocked and nothing is made yet: a file that does not answer costs nobody more
 * than the signal that ends us.
 */
static int load_image(struct run_command *run)
{
	struct disk_options *options = &run->made.disk_options;
	struct diag diag = { 0 };
	int err;

	if (!run->made.has_image)
		return EXIT_OK;
	err = disk_make_store(options, &diag, &options->store);
	if (!err)
		err = image_load(&run->made.image, options->store, &diag);
	run_close_image(&run->made);
	return err ? fail(run, err, &diag) : EXIT_OK;
}

static int run_disk(struct run_command *run)
{
	int code = open_fiu_rc(run);

	if (!code)
		code = open_disk(run);
	if (!code)
		code = write_pid_file(run);
	if (!code)
		code = keep_recording(run);
	if (code) {
		pid_file_remove(run->made.opts.pid_file);
		return code;
	}
	code = serve(&(struct serve_options){ .disk = run->disk,
					      .listen_fd = take_fd(&run->listen_fd),
					      .socket = run->socket,
					      .ready = on_ready,
					      .ctx = run,
					      .command = run->command });
	run->disk = NULL;
	pid_file_remove(run->made.opts.pid_file);
	return code;
}

static int prepare(struct run_command *run, int argc, char **argv)
{
	struct diag diag = { 0 };
	int code, err;

	if (run->made.opts.name && runtime_check_name(run->made.opts.name, &diag))
		return fail(run, -EINVAL, &diag);
	err = run_fill(&run->made, run->command, &diag);
	if (err)
		return fail(run, err, &diag);
	code = load_rules(run);
	if (!code)
		code = machine_check(argc, argv);
	if (!code && run->made.opts.daemon) {
		err = daemon_detach();
		if (err) {
			tool_msg("cannot go to the background: %s", strerror(-err));
			return EXIT_FAILED;
		}
	}
	return code;
}

static int run_parsed(struct run_command *run, int argc, char **argv)
{
	char socket[PATH_MAX], pid_file[PATH_MAX], fiu_rc[PATH_MAX], record[PATH_MAX];
	char load[PATH_MAX];
	int code = make_absolute(&run->made.opts.socket, socket);

	if (!code)
		code = make_absolute(&run->made.opts.pid_file, pid_file);
	if (!code)
		code = make_absolute(&run->made.opts.fiu_rc, fiu_rc);
	if (!code)
		code = make_absolute(&run->made.opts.record, record);
	if (!code)
		code = make_absolute(&run->made.opts.load, load);
	if (!code)
		typed_set_disk(run->made.opts.name, run->made.opts.socket);
	if (!code)
		code = prepare(run, argc, argv);
	if (!code)
		code = load_image(run);
	if (code)
		return code;
	serve_block_signals();
	clean_output_never_wait();
	apart_enter();
	code = run_disk(run);
	if (run->listen_fd >= 0) {
		close(run->listen_fd);
		runtime_unlink(run->socket);
	}
	/* A disk that was handed to serve() is freed there. */
	run->disk = disk_free(run->disk);
	end_recording(run);
	apart_end();
	return code;
}

/* ------------------------------------------------------------------------------ scenarios */

static int print_plan(const struct scenario *scenario)
{
	_cleanup_free_ char *text = scenario_print(scenario);

	if (!text) {
		tool_msg("no memory to print the scenario");
		return EXIT_FAILED;
	}
	fputs(text, stdout);
	return EXIT_OK;
}

static int run_scenario(struct run_command *run, int argc, char **argv)
{
	bool has_seed = strcmp(run->made.opts.seed, RUN_SEED_RANDOM) != 0;
	struct scenario *scenario = NULL;
	struct diag diag = { 0 };
	int code;

	if (run_parse_seed(run->made.opts.seed, &run->made.disk_options.seed, &diag))
		return fail(run, -EINVAL, &diag);
	code = scenario_load(run->made.opts.scenario, &scenario);
	if (!code && run->made.opts.check)
		code = print_plan(scenario);
	else if (!code)
		code = machine_check(argc, argv);
	if (!code && !run->made.opts.check)
		code = scenario_run(&(struct scenario_run_options){
			.scenario = scenario,
			.command = run->command,
			.seed = has_seed ? run->made.opts.seed : NULL,
			.speed = (unsigned int)run->made.opts.speed,
			.json = run->made.opts.json,
			.force = run->made.opts.force });
	scenario_free(scenario);
	return code;
}

int cmd_run(int argc, char **argv)
{
	struct run_command run = { .listen_fd = -1 };
	enum opt_result result;
	struct opt_words words;
	int code;

	result = opt_parse(argc, argv, run_table, &run_help, &run.made.opts, &words);
	if (result != OPT_OK)
		return opt_exit(result);
	run.command = words.command;
	code = run_check_scenario_words(&run.made.opts, argc, argv);
	if (!code && run.command && program_offer()) {
		tool_msg("no memory");
		code = EXIT_FAILED;
	}
	if (!code)
		code = run.made.opts.scenario ? run_scenario(&run, argc, argv)
					      : run_parsed(&run, argc, argv);
	run_close_image(&run.made);
	store_free(run.made.disk_options.store);
	rule_set_free(run.rules);
	opt_free(run_table, &run.made.opts);
	return code;
}
