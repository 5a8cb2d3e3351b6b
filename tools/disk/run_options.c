// SPDX-License-Identifier: MIT
/* The options of one disk: their table, what they come to together, and what is wrong with them. */
#include "tools/disk/run_options.h"

#include "base/cleanup.h"
#include "base/units.h"
#include "tools/cli/tool.h"
#include "tools/disk/run_words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIZE_DEFAULT "256M"
#define UNIT_WRITE   "write"

#define O struct run_opts
const struct opt run_table[] = {
	OPT_SIZE(O, size, "size", NULL, 512, 1ull << 62,
		 "size of the disk; default: that of --load FILE, or " SIZE_DEFAULT),
	OPT_SIZE(O, capacity, "capacity", NULL, 4096, 1ull << 62,
		 "how much of it can be written, as on a thin disk; default: all"),
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
		 "the discard granularity that the disk reports"),
	OPT_FLAG(O, read_only, "read-only", "refuse writes"),
	OPT_FLAG(O, rotational, "rotational", "report a rotational disk"),
	OPT_FLAG(O, no_cache, "no-cache", "no volatile cache: the disk gets no flushes"),
	OPT_FLAG(O, no_fua, "no-fua",
		 "no FUA writes: the kernel sends a write and a flush instead"),
	OPT_FLAG(O, cache, "cache",
		 "have a volatile write cache: a power cut loses writes that "
		 "were not flushed"),
	OPT_TEXT(O, cache_unit, "cache-unit", NULL, "SIZE|write",
		 "with --cache: the unit that a power cut keeps or loses as a whole"),
	OPT_FLAG(O, cache_order, "cache-order",
		 "with --cache: a power cut keeps writes in order, and loses the last ones"),
	OPT_SIZE(O, cache_size, "cache-size", NULL, CACHE_SIZE_MIN, 1ull << 40,
		 "with --cache: the size of the cache; default: 64M"),
	OPT_TEXT(O, load, "load", NULL, "FILE", "start with the content of this raw image"),
	OPT_FLAG(O, user_copy, "user-copy", "copy data in this program instead of in the driver"),
	OPT_LIST(O, rules, "rule", "'TEXT'", "a rule, see faultblk-rules(5)"),
	OPT_TEXT(O, rules_file, "rules", NULL, "FILE",
		 "a file of rules, which come before those "
		 "of --rule"),
	OPT_TEXT(O, seed, "seed", RUN_SEED_RANDOM, "N", "seed of all random choices"),
	OPT_TEXT(O, name, "name", NULL, "NAME", "name of the disk; default: ublkbN"),
	OPT_TEXT(O, socket, "socket", NULL, "PATH", "control socket; default: NAME.sock"),
	OPT_TEXT(O, id, "id", NULL, "N", "N of /dev/ublkbN; default: the lowest free one"),
	OPT_TEXT(O, record, "record", NULL, "FILE",
		 "record every request and decision, for `faultblk replay`"),
	OPT_FLAG(O, force, "force", "replace the FILE of --record if it exists"),
	OPT_FLAG(O, record_data, "record-data",
		 "with --record: also record the data of writes and the times of completions"),
	OPT_TEXT(O, record_limit, "record-limit", NULL, "SIZE",
		 "size limit of the recording; 0: none; default: none, 4G with --record-data"),
	OPT_TEXT(O, record_full, "record-full", NULL, "WHAT",
		 "what happens at the limit: stop recording (default), or block requests"),
	OPT_FLAG(O, daemon, "daemon", "go to the background once the disk is usable"),
	OPT_TEXT(O, pid_file, "pid-file", NULL, "PATH",
		 "write the server's process id to this "
		 "file"),
	OPT_TEXT(O, fiu_rc, "fiu-rc", NULL, "PREFIX",
		 "let fiu-ctrl -f PREFIX PID control failure points of the server"),
	OPT_FLAG(O, json, "json", "print name, device, socket, seed and pid as JSON"),
	OPT_TEXT(O, scenario, "scenario", NULL, "FILE",
		 "run several disks through a time line of faults, see faultblk-scenario(5)"),
	OPT_FLAG(O, check, "check", "with --scenario: only check it, and print its steps in order"),
	OPT_COUNT(O, speed, "speed", "1", 1, 1000, "with --scenario: divide its times by N"),
	OPT_END,
};
#undef O

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
				"--cache-%s needs --cache",
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
static int find_size(struct run_disk *run, struct diag *diag)
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

static int fill_recording(struct run_disk *run, struct diag *diag)
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

int run_fill(struct run_disk *run, bool has_command, struct diag *diag)
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
	err = check_options(opts, has_command, diag);
	if (!err)
		err = parse_cache(opts, &run->disk_options.cache_model, diag);
	if (!err)
		err = fill_recording(run, diag);
	if (!err)
		err = run_parse_id(opts->id, &ublk->id, diag);
	return err ? err : run_parse_seed(opts->seed, &run->disk_options.seed, diag);
}

struct rule_geometry run_geometry(const struct disk_options *options)
{
	return disk_geometry(&options->ublk, options->cache ? &options->cache_model : NULL);
}

void run_close_image(struct run_disk *run)
{
	if (run->has_image)
		image_close(&run->image);
	run->has_image = false;
}

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
static unsigned int find_culprit(const struct run_option *options, unsigned int nr,
				 const struct diag *diag)
{
	unsigned int i = 0;

	while (i < nr && strcmp(diag->id + strlen("option."), options[i].name) != 0)
		i++;
	return i;
}

static int set_option(struct run_disk *run, const struct run_option *option, struct diag *diag)
{
	if (!is_among(option->name, strlen(option->name), not_of_a_disk))
		return opt_set(run_table, &run->opts, option->name, option->value, diag);
	diag_set(diag, -EINVAL, "option.not-of-a-disk", "'%s' is not an option of a disk line",
		 option->name);
	if (strncmp(option->name, "rule", 4) == 0)
		diag_hint(diag, "write a line for each rule: rule DISK NAME ... do=...");
	return -EINVAL;
}

int run_check_options(const struct run_option *options, unsigned int nr,
		      struct rule_geometry *ret_geometry, struct diag *diag, unsigned int *ret_bad)
{
	struct diag words = { 0 };
	struct run_disk run = { .has_image = false };
	int err = opt_defaults(run_table, &run.opts);

	for (*ret_bad = 0; *ret_bad < nr && !err; (*ret_bad)++)
		err = set_option(&run, &options[*ret_bad], &words);
	if (err) {
		(*ret_bad)--;
	} else {
		err = run_fill(&run, false, &words);
		*ret_bad = find_culprit(options, nr, &words);
	}
	if (!err)
		*ret_geometry = run_geometry(&run.disk_options);
	else if (diag)
		*diag = words;
	run_close_image(&run);
	opt_free(run_table, &run.opts);
	return err ? -EINVAL : 0;
}

/* With a scenario the options of the disks stand there. */
int run_check_scenario_words(const struct run_opts *opts, int argc, char **argv)
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
		tool_msg("%.*s and --scenario exclude each other: put options of a disk on its "
			 "line of the file",
			 (int)len, argv[i]);
		return EXIT_USAGE;
	}
	return EXIT_OK;
}
