// SPDX-License-Identifier: MIT
/* faultblk replay: a recording of `faultblk run --record`, done again and compared. */
#include "faults/engine/replay.h"
#include "base/cleanup.h"
#include "base/map_guard.h"
#include "base/write_all.h"
#include "faults/journal/read.h"
#include "tools/cli/input.h"
#include "tools/cli/meter.h"
#include "tools/cli/opt.h"
#include "tools/cli/out_file.h"
#include "tools/cli/tool.h"
#include "tools/replay/device.h"
#include "tools/replay/list.h"
#include "tools/rpc/client.h"
#include "tools/rpc/event_line.h"
#include "tools/rpc/watch.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct replay_opts {
	bool forced, device, events, list, json, force;
	const char *image;
	bool several; /* the recording has several disks */
	struct out_options out;
	struct meter *meter;
	bool told; /* why the image could not be written */
};

#define O struct replay_opts
static const struct opt replay_table[] = {
	OPT_FLAG(O, forced, "forced", "apply the recorded decisions instead of the rules"),
	OPT_FLAG(O, device, "device", "replay on a device instead of in memory; implies --forced"),
	OPT_FLAG(O, events, "events", "print every hit, as `faultblk events` does"),
	OPT_FLAG(O, list, "list", "only print the records, one a line"),
	OPT_FLAG(O, json, "json", "print JSON, one object a line"),
	OPT_TEXT(O, image, "image", NULL, "FILE",
		 "write the final content of the disk to FILE; of several disks to FILE.NAME"),
	OPT_FLAG(O, force, "force", "replace the FILE of --image if it exists"),
	OPT_END,
};
#undef O

static const struct opt_help replay_help = {
	.usage = "faultblk replay [options] FILE",
	.what = "Repeat a recording of `faultblk run --record FILE`: the same rules, the same requests\n"
		"in the same order; compare the results. This needs no kernel, and delays take no\n"
		"time. With --device it makes a disk, and another process sends it the requests one by\n"
		"one.",
	.examples = "  faultblk run --record a.rec --rule 'some op=write p=1% do=error:EIO' -- \\\n"
		    "      sh -c 'mkfs.ext4 -q $FAULTBLK_DEV'\n"
		    "  faultblk replay a.rec\n  faultblk replay --events --json a.rec",
	.exits = "  0  everything was as recorded\n"
		 "  1  something was not, and is named; or the file is damaged, or no record file\n"
		 "  2  wrong options\n  3  --device: this machine cannot make ublk devices",
	.min_words = 1,
	.max_words = 1,
};

#define IMAGE_BLOCK 4096u

struct file {
	const char *path;
	void *bytes;
	size_t size;
	bool under_way;
};

/* ------------------------------------------------------------------------------ the file */

static int map_file(const char *path, struct file *file)
{
	_cleanup_close_ int fd = input_open(path, "a record file", &file->size);

	if (fd < 0)
		return EXIT_FAILED;
	file->path = path;
	file->under_way = journal_is_under_way(fd);
	file->bytes = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file->bytes != MAP_FAILED &&
	    !map_guard_file(file->bytes, file->size, PROT_READ, fd, file->under_way))
		return EXIT_OK;
	tool_msg("cannot map %s: %m", path);
	return EXIT_FAILED;
}

static void tell(const struct file *file, const struct diag *diag)
{
	struct diag named;

	diag_set(&named, 0, diag->id, "%s: %s", file->path,
		 diag->message[0] ? diag->message : "failed, without a reason given");
	diag_hint(&named, "%s", diag->hint);
	tool_diag(&named);
}

/* ------------------------------------------------------------------------------ printing */

static void print_event_json(const struct replay_opts *opts, const struct record_disk *disk,
			     const struct event *event)
{
	json_t *json = watch_event_json(event);

	if (opts->several)
		json_object_set_new(json, "disk", json_string(disk->name));
	tool_print_json(json);
}

static void show_progress(void *ctx, uint64_t read_bytes)
{
	const struct replay_opts *opts = ctx;

	meter_at(opts->meter, read_bytes);
}

static void print_event(void *ctx, const struct record_disk *disk, const struct event *event)
{
	const struct replay_opts *opts = ctx;
	struct event_words words;

	meter_end(opts->meter);
	if (opts->json) {
		print_event_json(opts, disk, event);
		return;
	}
	if (opts->several)
		printf("%s ", disk->name);
	event_words_of(event, &words);
	event_words_print(&words);
}

static void print_summary(const struct replay_opts *opts, const struct replay_result *result,
			  int end)
{
	if (opts->json) {
		tool_print_json(json_pack(
			"{s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:s*}", "requests",
			(json_int_t)result->nr_requests, "hits", (json_int_t)result->nr_hits,
			"rule_sets", (json_int_t)result->nr_rule_sets, "marks",
			(json_int_t)result->nr_marks, "unfinished",
			(json_int_t)result->nr_unfinished, "complete", end == 0 && !result->differs,
			"agrees", !result->differs, "difference",
			result->differs ? result->difference.message : NULL));
		return;
	}
	printf("%llu requests, %llu hits, %llu rule sets, %llu marks: %s\n",
	       (unsigned long long)result->nr_requests, (unsigned long long)result->nr_hits,
	       (unsigned long long)result->nr_rule_sets, (unsigned long long)result->nr_marks,
	       result->differs ? "not as recorded" : "as recorded");
}

/* ------------------------------------------------------------------------------ images */

/* [at, at+len) of the image; whole blocks of zeroes stay holes. */
static int write_part(int fd, const unsigned char *bytes, uint64_t at, uint64_t len)
{
	static const unsigned char zeroes[IMAGE_BLOCK];
	int err = 0;

	while (len && !err) {
		uint64_t part = IMAGE_BLOCK - at % IMAGE_BLOCK;

		if (part > len)
			part = len;
		if (memcmp(bytes, zeroes, part) != 0)
			err = write_all_at(fd, bytes, part, at);
		bytes += part;
		at += part;
		len -= part;
	}
	return err;
}

static int write_store(int fd, struct store *store)
{
	uint64_t size = store_size(store), span;
	int err = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
	bool marked;

	for (uint64_t at = 0; at < size && !err; at += span) {
		span = store_span(store, at, size - at, &marked);
		if (marked)
			err = write_part(fd, store_bytes(store) + at, at, span);
	}
	return err;
}

static char *image_path(const struct replay_opts *opts, const struct record_disk *disk)
{
	char *path;

	return asprintf(&path, "%s%s%s", opts->image, opts->several ? "." : "",
			opts->several ? disk->name : "") < 0
		       ? NULL
		       : path;
}

static int write_image(void *ctx, const struct record_disk *disk, struct store *store)
{
	struct replay_opts *opts = ctx;
	_cleanup_free_ char *path = image_path(opts, disk);
	struct diag diag = { 0 };
	struct out_file file;
	int err;

	if (!path)
		return -ENOMEM;
	err = out_file_open(path, &opts->out, &diag, &file);
	if (!err) {
		err = write_store(file.fd, store);
		if (err)
			diag_set(&diag, err, "file.write", "cannot write %s: %s", path,
				 strerror(-err));
		else
			err = out_file_finish(&file, &diag);
		out_file_drop(&file);
	}
	if (err) {
		meter_end(opts->meter);
		tool_diag(&diag);
	}
	opts->told = err;
	return err;
}

/* What cannot be written is told now, and not after the work. */
static int check_images(const struct replay_opts *opts, const struct record_reader *reader,
			struct diag *diag)
{
	int err = 0;

	for (uint16_t i = 0; opts->image && i < record_reader_nr_disks(reader) && !err; i++) {
		_cleanup_free_ char *path = image_path(opts, record_reader_disk(reader, i));

		err = path ? out_file_check(path, &opts->out, diag) : -ENOMEM;
	}
	return err;
}

/* ------------------------------------------------------------------------------ replaying */

static int check_machine(void)
{
	struct ublk_probe probe;
	char text[512];

	if (ublk_probe(&probe) == 0)
		return EXIT_OK;
	tool_msg("%s", ublk_probe_text(&probe, text, sizeof(text)));
	return EXIT_NO_UBLK;
}

static int play(struct replay_opts *opts, const struct file *file, struct replay_result *result,
		struct diag *diag, int *ret_end)
{
	const struct replay_options options = { .forced = opts->forced,
						.event = opts->events ? print_event : NULL,
						.progress = show_progress,
						.image = opts->image ? write_image : NULL,
						.ctx = opts };
	struct record_reader *reader;
	int err = record_reader_open(file->bytes, file->size, diag, &reader);

	if (err)
		return err;
	opts->several = record_reader_nr_disks(reader) > 1;
	err = check_images(opts, reader, diag);
	if (err) {
		record_reader_free(reader);
		return err;
	}
	if (opts->device) {
		record_reader_free(reader);
		return replay_device(file->bytes, file->size, &options, diag, result, ret_end);
	}
	err = replay_run(reader, &options, diag, result);
	if (!err)
		*ret_end = record_reader_end(reader, diag);
	record_reader_free(reader);
	return err;
}

static int list(const struct replay_opts *opts, const struct file *file)
{
	struct record_reader *reader;
	struct diag diag = { 0 };
	int err = record_reader_open(file->bytes, file->size, &diag, &reader);

	if (!err) {
		err = record_list(reader, opts->json);
		if (!err)
			err = record_reader_end(reader, &diag);
		record_reader_free(reader);
	}
	if (err)
		tell(file, &diag);
	return err && err != -ENODATA ? EXIT_FAILED : EXIT_OK;
}

static int replay(struct replay_opts *opts, const struct file *file)
{
	struct replay_result result = { 0 };
	struct diag diag = { 0 };
	struct meter meter;
	int end = 0, err;

	meter_begin(&meter, file->path, file->size, true);
	opts->meter = &meter;
	err = play(opts, file, &result, &diag, &end);
	meter_end(&meter);
	if (err && !opts->told)
		tell(file, &diag);
	if (err)
		return EXIT_FAILED;
	print_summary(opts, &result, end);
	if (result.differs) {
		tell(file, &result.difference);
		if (!opts->forced && !opts->device)
			tool_msg("--forced applies the recorded decisions instead");
		return EXIT_FAILED;
	}
	if (end)
		tell(file, &diag);
	/* A recording that was cut short between two blocks is whole as far as it goes. */
	return end == -EBADMSG ? EXIT_FAILED : EXIT_OK;
}

int cmd_replay(int argc, char **argv)
{
	struct replay_opts opts;
	struct opt_words words;
	struct file file;
	enum opt_result result = opt_parse(argc, argv, replay_table, &replay_help, &opts, &words);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	opts.out = (struct out_options){ .force = opts.force, .inputs = { words.words[0] } };
	code = map_file(words.words[0], &file);
	if (code)
		return code;
	if (file.under_way)
		tool_msg("%s is still being written: its present content is read", file.path);
	if (opts.device && !opts.list)
		code = check_machine();
	if (!code)
		code = opts.list ? list(&opts, &file) : replay(&opts, &file);
	code = tool_check_input(code, file.path);
	map_unguard(file.bytes);
	munmap(file.bytes, file.size);
	return code;
}
