// SPDX-License-Identifier: MIT
#include "tools/disk/recording_file.h"

#include "tools/cli/tool.h"

#include <stdio.h>

/* In a recording, of a disk that is given none. */
#define RECORD_NAMELESS "disk"

struct record_disk recording_file_disk(const struct disk_options *options)
{
	const struct ublk_options *ublk = &options->ublk;
	struct record_disk disk = {
		.size_bytes = ublk->size_bytes,
		.seed = options->seed,
		.block_bytes = ublk->logical_block,
		.physical_bytes = ublk->physical_block,
		.max_io_bytes = ublk->max_io_bytes,
		.depth = ublk->queue_depth,
		.flags = (options->cache ? RECORD_CACHE : 0) |
			 (ublk->read_only ? RECORD_READ_ONLY : 0) |
			 (ublk->volatile_cache ? 0 : RECORD_NO_FLUSH) |
			 (ublk->fua ? 0 : RECORD_NO_FUA) |
			 (ublk->rotational ? RECORD_ROTATIONAL : 0) |
			 (ublk->data_path == UBLK_DATA_USER_COPY ? RECORD_USER_COPY : 0) |
			 (options->cache_model.whole_writes ? RECORD_CACHE_WRITES : 0) |
			 (options->cache_model.in_order ? RECORD_CACHE_ORDER : 0),
		.cache_unit_bytes = options->cache_model.unit_bytes,
		.nr_queues = (uint16_t)ublk->nr_queues,
	};

	snprintf(disk.name, sizeof(disk.name), "%s", options->name ?: RECORD_NAMELESS);
	return disk;
}

int recording_file_open(const struct recorder_options *options, bool force, const char *input,
			struct diag *diag, struct recording_file *ret_file)
{
	const struct out_options out = { .force = force, .inputs = { input } };
	struct recorder_options with_fd = *options;
	int err = out_file_open(options->path, &out, diag, &ret_file->file);

	if (err)
		return err;
	with_fd.fd = ret_file->file.fd;
	err = recorder_create(&with_fd, diag, &ret_file->recorder);
	if (err)
		out_file_drop(&ret_file->file);
	ret_file->ours = !err;
	return err;
}

int recording_file_keep(struct recording_file *file, struct diag *diag)
{
	return file->ours ? out_file_publish(&file->file, diag) : 0;
}

bool recording_file_end(struct recording_file *file, struct recorder_status *ret_status)
{
	bool kept = file->ours && file->file.published;
	struct diag diag = { 0 };

	if (!file->recorder)
		return false;
	file->recorder = recorder_close(file->recorder, ret_status);
	if (!file->ours)
		return false;
	if (!kept)
		out_file_drop(&file->file);
	else if (out_file_finish(&file->file, &diag))
		tool_diag(&diag);
	return kept;
}
