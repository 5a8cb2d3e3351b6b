// SPDX-License-Identifier: MIT
#include "recording_file.h"

#include "tool.h"

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
