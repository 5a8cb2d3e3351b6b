/* SPDX-License-Identifier: MIT */
/*
 * The options of one disk, as `faultblk run` takes them on its command line and a scenario in a disk
 * line. Messages of what the options only say later (a recording that ends) go to stderr.
 */
#ifndef TOOLS_DISK_RUN_OPTIONS_H
#define TOOLS_DISK_RUN_OPTIONS_H

#include "faults/record/recorder.h"
#include "tools/cli/opt.h"
#include "tools/disk/disk.h"
#include "tools/disk/image.h"

/* Of a recording with data, where no limit is given. */
#define RECORDING_DATA_LIMIT (4ull << 30)

/* As they were given. */
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

extern const struct opt run_table[];

/* What they come to. */
struct run_disk {
	struct run_opts opts;
	struct disk_options disk_options;
	struct recorder_options recording;
	struct image image; /* of --load; open until it is loaded */
	bool has_image;
};

/* From @run->opts to the rest. 0, or -EINVAL in words; @diag->id is "option.NAME" of the one at fault. */
int run_fill(struct run_disk *run, bool has_command, struct diag *diag);
void run_close_image(struct run_disk *run);
struct rule_geometry run_geometry(const struct disk_options *options);

/* One option of a disk line. */
struct run_option {
	char *name;  /* owned, and the value with it */
	char *value; /* NULL: a flag */
	unsigned int column;
};

/*
 * Are these the options of a disk? -EINVAL with words in @diag and the index of the option at fault in
 * *ret_bad (@nr: none of those given).
 */
int run_check_options(const struct run_option *options, unsigned int nr,
		      struct rule_geometry *ret_geometry, struct diag *diag, unsigned int *ret_bad);
/* With --scenario the options of the disks stand in its file. EXIT_OK or EXIT_USAGE, said. */
int run_check_scenario_words(const struct run_opts *opts, int argc, char **argv);

#endif
