// SPDX-License-Identifier: MIT
/*
 * faultblk run. Everything that can be refused is refused before the kernel is asked for anything:
 * options, then rules, then the machine, then the name. Then the disk is made, its rules are armed,
 * and serve.c takes over.
 */
#include "apart.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "clean_output.h"
#include "daemon.h"
#include "fiu_rc.h"
#include "image.h"
#include "machine.h"
#include "opt.h"
#include "partition.h"
#include "pid_file.h"
#include "program.h"
#include "recording_file.h"
#include "rpc_client.h"
#include "rule_file.h"
#include "run_words.h"
#include "runtime.h"
#include "scenario.h"
#include "serve.h"
#include "tool.h"
#include "typed.h"

#include <errno.h>
#include <string.h>

#define SIZE_DEFAULT "256M"
#define UNIT_WRITE   "write"

struct run_opts {
	uint64_t size, queues, depth, block_size, physical_block_size, max_io;
	uint64_t max_discard, max_zeroes, discard_granularity, capacity;
	bool read_only, rotational, no_cache, no_fua, cache, user_copy, json, daemon;
	struct opt_list rules;
	const char *rules_file, *seed, *socket, *name, *pid_file, *id, *fiu_rc, *record, *scenario;
	const char *cache_unit, *load;
	const char *record_limit, *record_full;
	bool record_data, force;
	uint64_t speed, cache_size;
	bool check, cache_order;
};

#define O struct run_opts
static const struct opt run_table[] = {
	OPT_SIZE(O, size, "size", NULL, 512, 1ull << 62,
		 "size of the disk; default: that of --load FILE, or " SIZE_DEFAULT),
	OPT_SIZE(O, capacity, "capacity", NULL, 4096, 1ull << 62,
		 "at most so much of it may be written, as on a thin disk; default: all"),
	OPT_COUNT(O, queues, "queues", "1", 1, OPT_MAX_CPUS,
		  "hardware queues, at most one for each CPU"),
	OPT_COUNT(O, depth, "depth", "128", 1, 4096, "requests in flight for each queue"),
	OPT_SIZE(O, block_size, "block-size", "512", 512, OPT_MAX_PAGE,
		 "logical block size, at most a page"),
	OPT_SIZE(O, physical_block_size, "physical-block-size", "4k", 512, 1 << 20,
		 "physical block size, at least the logical one"),
	OPT_SIZE(O, max_io, "max-io", "512k", 4096, 32 << 20, "largest read or write"),
	OPT_SIZE(O, max_discard, "max-discard", "2G", 0, 2ull << 30,
		 "largest discard; 0: the disk has none"),
	OPT_SIZE(O, max_zeroes, "max-zeroes", "1G", 0, 2ull << 30,
		 "largest write-zeroes; 0: the disk has none"),
	OPT_SIZE(O, discard_granularity, "discard-granularity", "4k", 512, 1 << 30,
		 "what discards are said to be multiples of"),
	OPT_FLAG(O, read_only, "read-only", "refuse writes"),
	OPT_FLAG(O, rotational, "rotational", "say that it is a spinning disk"),
	OPT_FLAG(O, no_cache, "no-cache", "no volatile cache: the disk sees no flushes"),
	OPT_FLAG(O, no_fua, "no-fua", "no FUA writes: they become a write and a flush"),
	OPT_FLAG(O, cache, "cache", "a power cut loses what was written and not flushed"),
	OPT_TEXT(O, cache_unit, "cache-unit", NULL, "SIZE|write",
		 "with --cache: what survives whole or not at all, each in any of its versions"),
	OPT_FLAG(O, cache_order, "cache-order",
		 "with --cache: what survives is the first so many writes"),
	OPT_SIZE(O, cache_size, "cache-size", NULL, CACHE_SIZE_MIN, 1ull << 40,
		 "with --cache: remember so much of what is volatile; default: 64M"),
	OPT_TEXT(O, load, "load", NULL, "FILE", "begin with the content of this raw image"),
	OPT_FLAG(O, user_copy, "user-copy", "let this program copy the data, not the driver"),
	OPT_LIST(O, rules, "rule", "'TEXT'", "a rule, see faultblk-rules(5)"),
	OPT_TEXT(O, rules_file, "rules", NULL, "FILE", "a file of rules, before those of --rule"),
	OPT_TEXT(O, seed, "seed", RUN_SEED_RANDOM, "N", "number that all chance comes from"),
	OPT_TEXT(O, name, "name", NULL, "NAME", "name of the disk; default: ublkbN"),
	OPT_TEXT(O, socket, "socket", NULL, "PATH", "control socket; default: NAME.sock"),
	OPT_TEXT(O, id, "id", NULL, "N", "N of /dev/ublkbN; default: the lowest free one"),
	OPT_TEXT(O, record, "record", NULL, "FILE",
		 "write down every request and decision, for `faultblk replay`"),
	OPT_FLAG(O, force, "force", "replace the FILE of --record if it is there"),
	OPT_FLAG(O, record_data, "record-data",
		 "with --record: what is written, and when it was complete, too"),
	OPT_TEXT(O, record_limit, "record-limit", NULL, "SIZE",
		 "end of the recording; 0: none; default: none, 4G with --record-data"),
	OPT_TEXT(O, record_full, "record-full", NULL, "WHAT",
		 "there: stop (default): the disk serves on without; block: requests wait"),
	OPT_FLAG(O, daemon, "daemon", "go to the background once the disk is usable"),
	OPT_TEXT(O, pid_file, "pid-file", NULL, "PATH", "write the server's process id there"),
	OPT_TEXT(O, fiu_rc, "fiu-rc", NULL, "PREFIX",
		 "let fiu-ctrl -f PREFIX PID drive libfiu in it"),
	OPT_FLAG(O, json, "json", "print device, socket and seed as one JSON object"),
	OPT_TEXT(O, scenario, "scenario", NULL, "FILE",
		 "several disks and what happens to them when, see faultblk-scenario(5)"),
	OPT_FLAG(O, check, "check", "with --scenario: only check it, and print it in order"),
	OPT_COUNT(O, speed, "speed", "1", 1, 1000, "with --scenario: its times divided by N"),
	OPT_END,
};
#undef O

static const struct opt_help run_help = {
	.usage = "faultblk run [options] [-- COMMAND...]",
	.what = "Make a disk in memory, /dev/ublkbN, that breaks as its rules say.\n"
		"With COMMAND: run it with FAULTBLK_DEV, FAULTBLK_SOCKET and FAULTBLK_NAME in its\n"
		"environment, take the disk away when it ends, and exit with its status.\n"
		"Without: print device and socket, and serve until SIGINT, SIGTERM or `faultblk stop`.\n"
		"While somebody holds the disk it is not taken away; a second signal does it anyway.",
	.examples =
		"  faultblk run --size 1G --rule 'hole op=read range=17s..23s do=error:EIO' \\\n"
		"      -- sh -c 'mkfs.ext4 -q $FAULTBLK_DEV && fsck.ext4 -fn $FAULTBLK_DEV'\n"
		"  faultblk run --name slow --daemon --rule 'slow op=read do=delay:20ms'",
	.exits =
		"  0    the disk was served and taken away (with COMMAND: its status; 128+N: signal N)\n"
		"  1    the disk could not be made\n"
		"  2    wrong options, or a wrong rule; nothing was made\n"
		"  3    this machine cannot make ublk devices; a line that works is printed\n"
		"  125  with COMMAND: the disk could not be made, or COMMAND succeeded but left it\n"
		"       held (mounted, say), so that it had to be removed by force\n"
		"  126, 127  COMMAND could not be executed, was not found",
	.command = true,
};

/* Things that are made on the way and taken back on every way out. */
struct run {
	struct run_opts opts;
	char **command;
	struct disk_options disk_options;
	struct rule_set *rules;
	struct disk *disk;
	struct recorder_options recording;
	struct recording_file record;
	struct image image; /* of --load; open until it is loaded */
	bool has_image;
	int listen_fd;
	char socket[PATH_MAX];
};

static int failure(const struct run *run)
{
	return run->command ? EXIT_OURS : EXIT_FAILED;
}

static int fail(const struct run *run, int err, const struct diag *diag)
{
	tool_diag(diag);
	return err == -EINVAL || err == -ENAMETOOLONG ? EXIT_USAGE : failure(run);
}

/* ------------------------------------------------------------------------------ options */

static void recording_ended(void *ctx, const char *message)
{
	(void)ctx;
	tool_msg("%s", message);
}

static void log_device(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx;
	if (level <= UBLK_LOG_WARNING)
		tool_msg("%s", message);
}

/* Sizes that must be powers of two, or multiples of something. */
static int check_sizes(const struct run_opts *opts, struct diag *diag)
{
	const char *block = "block size", *page = "page size";
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct {
		const char *id; /* "option.NAME" */
		uint64_t got;
		uint64_t multiple; /* 0: a power of two */
		const char *of;
	} sizes[] = {
		{ "option.block-size", opts->block_size, 0, NULL },
		{ "option.physical-block-size", opts->physical_block_size, 0, NULL },
		{ "option.discard-granularity", opts->discard_granularity, 0, NULL },
		{ "option.size", opts->size, opts->block_size, block },
		{ "option.max-io", opts->max_io, page_bytes, page },
		{ "option.max-discard", opts->max_discard, opts->block_size, block },
		{ "option.max-zeroes", opts->max_zeroes, opts->block_size, block },
	};

	for (size_t i = 0; i < array_size(sizes); i++) {
		const char *name = strchr(sizes[i].id, '.') + 1;
		unsigned long long got = sizes[i].got;

		if (!sizes[i].multiple && got & (got - 1))
			return diag_set(diag, -EINVAL, sizes[i].id,
					"--%s: got %llu bytes, wanted a power of two", name, got);
		if (sizes[i].multiple && got % sizes[i].multiple)
			return diag_set(diag, -EINVAL, sizes[i].id,
					"--%s: got %llu bytes, wanted a multiple of the %s, %llu",
					name, got, sizes[i].of,
					(unsigned long long)sizes[i].multiple);
	}
	return 0;
}

static int check_options(const struct run_opts *opts, bool has_command, struct diag *diag)
{
	if (check_sizes(opts, diag) < 0)
		return -EINVAL;
	if (!opts->cache && (opts->cache_unit || opts->cache_order || opts->cache_size))
		return diag_set(diag, -EINVAL,
				opts->cache_unit    ? "option.cache-unit"
				: opts->cache_order ? "option.cache-order"
						    : "option.cache-size",
				"--cache-%s is about the volatile cache: give --cache too",
				opts->cache_unit    ? "unit"
				: opts->cache_order ? "order"
						    : "size");
	if (opts->cache && opts->no_cache)
		return diag_set(diag, -EINVAL, "option.cache",
				"--cache (a power cut loses what is not flushed) and --no-cache "
				"(the disk gets no flushes) exclude each other");
	if (opts->daemon && has_command)
		return diag_set(diag, -EINVAL, "option.daemon",
				"--daemon and a COMMAND exclude each other");
	return 0;
}

/* What survives a power cut as one. */
static int parse_cache(const struct run_opts *opts, struct cache_model *model, struct diag *diag)
{
	uint64_t unit = 0;

	*model = (struct cache_model){ .in_order = opts->cache_order,
				       .size_bytes = opts->cache_size };
	if (!opts->cache_unit)
		return 0;
	model->whole_writes = strcmp(opts->cache_unit, UNIT_WRITE) == 0;
	if (model->whole_writes)
		return 0;
	if (units_parse_size(opts->cache_unit, strlen(opts->cache_unit), &unit) || unit < 512 ||
	    unit > CACHE_UNIT_MAX || unit & (unit - 1))
		return diag_set(diag, -EINVAL, "option.cache-unit",
				"--cache-unit: got '%.200s', wanted 'write' or a power of two from "
				"512 to 1M",
				opts->cache_unit);
	if (opts->size % unit)
		return diag_set(diag, -EINVAL, "option.cache-unit",
				"--cache-unit: got %llu bytes, wanted a part of the size, %llu",
				(unsigned long long)unit, (unsigned long long)opts->size);
	if (opts->cache_size && opts->cache_size / 16 < unit)
		return diag_set(diag, -EINVAL, "option.cache-size",
				"--cache-size: got %llu bytes, wanted at least 16 times the unit, "
				"%llu",
				(unsigned long long)opts->cache_size, (unsigned long long)unit);
	model->unit_bytes = (uint32_t)unit;
	return 0;
}

/* The image stays open: what is loaded is what was looked at. */
static int find_size(struct run *run, struct diag *diag)
{
	struct run_opts *opts = &run->opts;
	struct image_limits limits = { .size_bytes = opts->size,
				       .block_bytes = (uint32_t)opts->block_size };
	int err;

	if (!opts->load)
		return opts->size
			       ? 0
			       : units_parse_size(SIZE_DEFAULT, strlen(SIZE_DEFAULT), &opts->size);
	err = image_open(opts->load, &limits, diag, &run->image);
	if (err) {
		snprintf(diag->id, sizeof(diag->id), "option.load");
		return -EINVAL;
	}
	run->has_image = true;
	if (!opts->size)
		opts->size = run->image.size_bytes;
	return 0;
}

static int fill_recording(struct run *run, struct diag *diag)
{
	const struct run_opts *opts = &run->opts;
	const char *limit = opts->record_limit, *full = opts->record_full;
	struct recorder_options *recording = &run->recording;

	*recording =
		(struct recorder_options){ .path = opts->record,
					   .data = opts->record_data,
					   .limit_bytes =
						   opts->record_data ? RECORDING_DATA_LIMIT : 0,
					   .ended = recording_ended };
	if (!opts->record && (opts->record_data || limit || full || opts->force)) {
		const char *what = opts->record_data ? "record-data"
				   : limit           ? "record-limit"
				   : full            ? "record-full"
						     : "force";
		char id[32];

		snprintf(id, sizeof(id), "option.%s", what);
		return diag_set(diag, -EINVAL, id, "--%s needs --record FILE", what);
	}
	if (limit && units_parse_size(limit, strlen(limit), &recording->limit_bytes))
		return diag_set(diag, -EINVAL, "option.record-limit",
				"--record-limit: got '%.64s', wanted a size such as 512M or 8G, or "
				"0 for none",
				limit);
	if (full && strcmp(full, "block") == 0)
		recording->full = RECORDER_BLOCK;
	else if (full && strcmp(full, "stop") != 0)
		return diag_set(diag, -EINVAL, "option.record-full",
				"--record-full: got '%.64s', wanted stop or block", full);
	return 0;
}

static int fill_disk_options(struct run *run, struct diag *diag)
{
	const struct run_opts *opts = &run->opts;
	struct ublk_options *ublk = &run->disk_options.ublk;
	int err = find_size(run, diag);

	if (err)
		return err;
	ublk_options_init(ublk);
	ublk->size_bytes = opts->size;
	ublk->nr_queues = (unsigned int)opts->queues;
	ublk->queue_depth = (unsigned int)opts->depth;
	ublk->logical_block = (unsigned int)opts->block_size;
	ublk->physical_block = (unsigned int)opts->physical_block_size;
	if (ublk->physical_block < ublk->logical_block)
		ublk->physical_block = ublk->logical_block;
	ublk->max_discard_bytes = opts->max_discard;
	ublk->max_zeroes_bytes = opts->max_zeroes;
	ublk->discard_granularity = (unsigned int)opts->discard_granularity;
	if (ublk->discard_granularity < ublk->logical_block)
		ublk->discard_granularity = ublk->logical_block;
	ublk->max_io_bytes = (unsigned int)opts->max_io;
	ublk->read_only = opts->read_only;
	ublk->rotational = opts->rotational;
	ublk->volatile_cache = !opts->no_cache;
	ublk->fua = !opts->no_fua && !opts->no_cache;
	ublk->data_path = opts->user_copy ? UBLK_DATA_USER_COPY : UBLK_DATA_COPY;
	ublk->log = log_device;
	run->disk_options.name = opts->name;
	run->disk_options.cache = opts->cache;
	run->disk_options.capacity_bytes = opts->capacity;
	err = check_options(opts, run->command, diag);
	if (!err)
		err = parse_cache(opts, &run->disk_options.cache_model, diag);
	if (!err)
		err = fill_recording(run, diag);
	if (!err)
		err = run_parse_id(opts->id, &ublk->id, diag);
	return err ? err : run_parse_seed(opts->seed, &run->disk_options.seed, diag);
}

static void print_warning(void *ctx, const struct rule *rule, const char *sentence)
{
	(void)ctx;
	(void)rule;
	tool_msg("warning: %s", sentence);
}

static struct rule_geometry geometry_of(const struct disk_options *options)
{
	return disk_geometry(&options->ublk, options->cache ? &options->cache_model : NULL);
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
static int resolve_parts(struct run *run)
{
	const struct ublk_dev *dev = disk_dev(run->disk);
	const struct rule_geometry geometry = geometry_of(&run->disk_options);

	if (!has_parts(run->rules))
		return EXIT_OK;
	for (size_t i = 0; i < rule_set_count(run->rules); i++) {
		struct diag diag = { 0 };
		int err = partition_resolve(dev, rule_set_at(run->rules, i), &diag);

		if (!err)
			continue;
		if (err == -ENOENT)
			diag_hint(&diag, "that is what it found in %.200s", run->opts.load);
		return fail(run, err, &diag);
	}
	rule_set_lint(run->rules, &geometry, print_warning, NULL);
	return rule_set_check(run->rules, &geometry, false);
}

static int load_rules(struct run *run)
{
	const struct rule_geometry geometry = geometry_of(&run->disk_options);
	int code = EXIT_OK;

	if (run->opts.rules_file)
		code = rule_file_load(run->opts.rules_file, &run->rules);
	else
		run->rules = rule_set_new();
	if (!code && !run->rules) {
		tool_msg("no memory for rules");
		code = failure(run);
	}
	if (code)
		return code;
	for (size_t i = 0; i < run->opts.rules.count && !code; i++)
		code = rule_text_add(run->rules, run->opts.rules.items[i]);
	if (!code)
		code = rule_set_check(run->rules, &geometry, run->has_image);
	if (!code && !has_parts(run->rules))
		rule_set_lint(run->rules, &geometry, print_warning, NULL);
	return code;
}

/* ------------------------------------------------------------------------------ socket */

static int claim_socket(struct run *run, const char *name)
{
	char dir[PATH_MAX];
	struct diag diag;
	int err = 0;

	typed_set_disk(name, run->opts.socket);
	if (run->opts.socket) {
		snprintf(run->socket, sizeof(run->socket), "%s", run->opts.socket);
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

static int write_pid_file(const struct run *run)
{
	struct diag diag = { 0 };

	return run->opts.pid_file && pid_file_write(run->opts.pid_file, &diag)
		       ? fail(run, -EIO, &diag)
		       : EXIT_OK;
}

/* ------------------------------------------------------------------------------ recording */

/* A recording of our own, or that of the scenario that started us. */
static int open_recorder(struct run *run, struct diag *diag)
{
	const char *joined = getenv(RECORDING_ENV);
	int fds[2];

	if (!joined)
		return recording_file_open(&run->recording, run->opts.force, run->opts.load, diag,
					   &run->record);
	if (sscanf(joined, "%d,%d", &fds[0], &fds[1]) != 2)
		return diag_set(diag, -EINVAL, "record.join", "%s: got '%.64s', wanted two numbers",
				RECORDING_ENV, joined);
	unsetenv(RECORDING_ENV);
	return recorder_join(fds, &run->recording, diag, &run->record.recorder);
}

static int start_recording(struct run *run)
{
	const struct record_disk disk = recording_file_disk(&run->disk_options);
	struct diag diag = { 0 };
	int err;

	if (!run->opts.record && !getenv(RECORDING_ENV))
		return EXIT_OK;
	err = open_recorder(run, &diag);
	if (err == -EEXIST) {
		tool_diag(&diag);
		return EXIT_USAGE;
	}
	if (!err)
		err = recorder_add_disk(run->record.recorder, &disk, &diag,
					&run->disk_options.recorder);
	return err ? fail(run, err, &diag) : EXIT_OK;
}

/* The disk is usable. */
static int keep_recording(struct run *run)
{
	struct diag diag = { 0 };
	int err = recording_file_keep(&run->record, &diag);

	return err ? fail(run, err, &diag) : EXIT_OK;
}

/* No queue runs any more. */
static void end_recording(struct run *run)
{
	struct recorder_status status;

	if (recording_file_end(&run->record, &status) && !status.error)
		tool_msg("recorded %llu requests in %s, %llu bytes; waited for the file %llu times",
			 (unsigned long long)status.nr_requests, run->opts.record,
			 (unsigned long long)status.file_bytes,
			 (unsigned long long)status.nr_waits);
}

/* ------------------------------------------------------------------------------ running */

static int open_disk(struct run *run)
{
	const char *name = run->opts.name;
	struct diag diag = { 0 };
	char by_id[32];
	int err, code;

	if (!name && run->opts.id) {
		snprintf(by_id, sizeof(by_id), "ublkb%d", run->disk_options.ublk.id);
		name = by_id;
	}
	/* Where the name is known, a name that is taken costs no device. */
	if (name || run->opts.socket) {
		code = claim_socket(run, name);
		if (code)
			return code;
	}
	code = start_recording(run);
	if (code)
		return code;
	err = disk_open(&run->disk_options, &diag, &run->disk);
	run->disk_options.store = NULL;
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

static int announce_json(const struct run *run)
{
	char seed[24];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)disk_seed(run->disk));
	return tool_print_json(json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", disk_name(run->disk),
					 "device", ublk_dev_path(disk_dev(run->disk)), "socket",
					 run->socket, "seed", seed, "pid", (int)getpid()));
}

/* With COMMAND standard output is COMMAND's: what we have to say goes to standard error. */
static void announce(const struct run *run)
{
	unsigned long long seed = disk_seed(run->disk);
	bool random = strcmp(run->opts.seed, RUN_SEED_RANDOM) == 0;

	if (run->command) {
		if (random && rule_set_count(run->rules))
			tool_msg("%s, seed %llu (repeat with --seed %llu)",
				 ublk_dev_path(disk_dev(run->disk)), seed, seed);
		return;
	}
	if (run->opts.json)
		announce_json(run);
	else
		printf("device %s\nsocket %s\nseed   %llu\n", ublk_dev_path(disk_dev(run->disk)),
		       run->socket, seed);
	if (!run->opts.json && run->opts.fiu_rc)
		printf("fiu    fiu-ctrl -f %s %d\n", run->opts.fiu_rc, (int)getpid());
	if (!fflush(stdout) && !ferror(stdout))
		return;
	/* The disk is there all the same. */
	clearerr(stdout);
	tool_msg("cannot write to standard output: %s; %s is served, with the socket %s",
		 strerror(clean_output_error()), ublk_dev_path(disk_dev(run->disk)), run->socket);
}

static int open_fiu_rc(const struct run *run)
{
	struct diag diag = { 0 };
	int err = run->opts.fiu_rc ? fiu_rc_open(run->opts.fiu_rc, &diag) : 0;

	return err ? fail(run, err, &diag) : EXIT_OK;
}

static void on_ready(void *ctx)
{
	announce(ctx);
	daemon_ready();
	notify_manager("READY=1");
}

static void close_image(struct run *run)
{
	if (run->has_image)
		image_close(&run->image);
	run->has_image = false;
}

/*
 * While no signal is blocked and nothing is made yet: a file that does not answer costs nobody more
 * than the signal that ends us.
 */
static int load_image(struct run *run)
{
	struct disk_options *options = &run->disk_options;
	struct diag diag = { 0 };
	int err;

	if (!run->has_image)
		return EXIT_OK;
	err = disk_make_store(options, &diag, &options->store);
	if (!err)
		err = image_load(&run->image, options->store, &diag);
	close_image(run);
	return err ? fail(run, err, &diag) : EXIT_OK;
}

static int run_disk(struct run *run)
{
	int code = open_fiu_rc(run);

	if (!code)
		code = open_disk(run);
	if (!code)
		code = write_pid_file(run);
	if (!code)
		code = keep_recording(run);
	if (code) {
		pid_file_remove(run->opts.pid_file);
		return code;
	}
	code = serve(&(struct serve_options){ .disk = run->disk,
					      .listen_fd = take_fd(&run->listen_fd),
					      .socket = run->socket,
					      .ready = on_ready,
					      .ctx = run,
					      .command = run->command });
	run->disk = NULL;
	pid_file_remove(run->opts.pid_file);
	return code;
}

static int prepare(struct run *run, int argc, char **argv)
{
	struct diag diag = { 0 };
	int code, err;

	if (run->opts.name && runtime_check_name(run->opts.name, &diag))
		return fail(run, -EINVAL, &diag);
	err = fill_disk_options(run, &diag);
	if (err)
		return fail(run, err, &diag);
	code = load_rules(run);
	if (!code)
		code = machine_check(argc, argv);
	if (!code && run->opts.daemon) {
		err = daemon_detach();
		if (err) {
			tool_msg("cannot go to the background: %s", strerror(-err));
			return EXIT_FAILED;
		}
	}
	return code;
}

static int run_parsed(struct run *run, int argc, char **argv)
{
	char socket[PATH_MAX], pid_file[PATH_MAX], fiu_rc[PATH_MAX], record[PATH_MAX];
	char load[PATH_MAX];
	int code = make_absolute(&run->opts.socket, socket);

	if (!code)
		code = make_absolute(&run->opts.pid_file, pid_file);
	if (!code)
		code = make_absolute(&run->opts.fiu_rc, fiu_rc);
	if (!code)
		code = make_absolute(&run->opts.record, record);
	if (!code)
		code = make_absolute(&run->opts.load, load);
	if (!code)
		typed_set_disk(run->opts.name, run->opts.socket);
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

/* Options that are the scenario's to give, or that make no sense for one disk of several. */
static const char *const not_of_a_disk[] = {
	"name", "rule",     "rules", "socket", "daemon", "pid-file",
	"json", "scenario", "check", "speed",  "force",  NULL,
};

static bool is_among(const char *name, size_t len, const char *const *names)
{
	for (; *names; names++)
		if (strlen(*names) == len && memcmp(*names, name, len) == 0)
			return true;
	return false;
}

/* The index of the option that the id of an error names; @nr when it is not among those given. */
static unsigned int find_culprit(const struct scenario_option *options, unsigned int nr,
				 const struct diag *diag)
{
	unsigned int i = 0;

	while (i < nr && strcmp(diag->id + strlen("option."), options[i].name) != 0)
		i++;
	return i;
}

static int set_option(struct run *run, const struct scenario_option *option, struct diag *diag)
{
	if (!is_among(option->name, strlen(option->name), not_of_a_disk))
		return opt_set(run_table, &run->opts, option->name, option->value, diag);
	diag_set(diag, -EINVAL, "option.not-of-a-disk", "'%s' is not an option of a disk line",
		 option->name);
	if (strncmp(option->name, "rule", 4) == 0)
		diag_hint(diag, "write a line for each rule: rule DISK NAME ... do=...");
	return -EINVAL;
}

int run_check_options(const struct scenario_option *options, unsigned int nr,
		      struct rule_geometry *ret_geometry, struct diag *diag, unsigned int *ret_bad)
{
	struct diag words = { 0 };
	struct run run = { .listen_fd = -1 };
	int err = opt_defaults(run_table, &run.opts);

	for (*ret_bad = 0; *ret_bad < nr && !err; (*ret_bad)++)
		err = set_option(&run, &options[*ret_bad], &words);
	if (err) {
		(*ret_bad)--;
	} else {
		err = fill_disk_options(&run, &words);
		*ret_bad = find_culprit(options, nr, &words);
	}
	if (!err)
		*ret_geometry = geometry_of(&run.disk_options);
	else if (diag)
		*diag = words;
	close_image(&run);
	opt_free(run_table, &run.opts);
	return err ? -EINVAL : 0;
}

/* With a scenario the options of the disks stand there. */
static int check_scenario_words(const struct run_opts *opts, int argc, char **argv)
{
	static const char *const with[] = { "scenario", "check", "speed", "seed",
					    "json",     "force", NULL };

	if (!opts->scenario && (opts->check || opts->speed != 1)) {
		tool_msg("--%s needs --scenario FILE", opts->check ? "check" : "speed");
		return EXIT_USAGE;
	}
	for (int i = 1; opts->scenario && i < argc && strcmp(argv[i], "--") != 0; i++) {
		size_t len = strcspn(argv[i], "=");

		if (strncmp(argv[i], "--", 2) != 0 || is_among(argv[i] + 2, len - 2, with))
			continue;
		tool_msg("%.*s does not go with --scenario: options of a disk stand in its line of "
			 "the file",
			 (int)len, argv[i]);
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

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

static int run_scenario(struct run *run, int argc, char **argv)
{
	bool has_seed = strcmp(run->opts.seed, RUN_SEED_RANDOM) != 0;
	struct scenario *scenario = NULL;
	struct diag diag = { 0 };
	int code;

	if (run_parse_seed(run->opts.seed, &run->disk_options.seed, &diag))
		return fail(run, -EINVAL, &diag);
	code = scenario_load(run->opts.scenario, &scenario);
	if (!code && run->opts.check)
		code = print_plan(scenario);
	else if (!code)
		code = machine_check(argc, argv);
	if (!code && !run->opts.check)
		code = scenario_run(
			&(struct scenario_run_options){ .scenario = scenario,
							.command = run->command,
							.seed = has_seed ? run->opts.seed : NULL,
							.speed = (unsigned int)run->opts.speed,
							.json = run->opts.json,
							.force = run->opts.force });
	scenario_free(scenario);
	return code;
}

int cmd_run(int argc, char **argv)
{
	struct run run = { .listen_fd = -1 };
	enum opt_result result;
	struct opt_words words;
	int code;

	result = opt_parse(argc, argv, run_table, &run_help, &run.opts, &words);
	if (result != OPT_OK)
		return opt_exit(result);
	run.command = words.command;
	code = check_scenario_words(&run.opts, argc, argv);
	if (!code && run.command && program_offer()) {
		tool_msg("no memory");
		code = EXIT_FAILED;
	}
	if (!code)
		code = run.opts.scenario ? run_scenario(&run, argc, argv)
					 : run_parsed(&run, argc, argv);
	close_image(&run);
	store_free(run.disk_options.store);
	rule_set_free(run.rules);
	opt_free(run_table, &run.opts);
	return code;
}
