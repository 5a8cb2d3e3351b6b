// SPDX-License-Identifier: MIT
/* faultblk snapshot and faultblk image: what a disk holds, kept, brought back, saved, loaded. */
#include "base/cleanup.h"
#include "base/units.h"
#include "tools/cli/sub_command.h"
#include "tools/cli/table.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct state_opts {
	struct disk_choice disk;
	bool force, json;
};

static const struct opt plain_table[] = {
	OPT_DISK_CHOICE(struct state_opts, disk),
	OPT_FLAG(struct state_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt save_table[] = {
	OPT_FLAG(struct state_opts, force, "force", "replace FILE if it exists"),
	OPT_DISK_CHOICE(struct state_opts, disk),
	OPT_FLAG(struct state_opts, json, "json", "print JSON"),
	OPT_END,
};

#define STATE_EXITS                                                                                \
	"  0  done\n  1  that failed\n  2  wrong options or words\n  4  no such disk\n"            \
	"  5  an image is being written or read already, or the snapshot is being saved"

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* What most of them do; @ret_answer only with EXIT_OK and without --json. */
static int call(const struct state_opts *opts, const char *method, json_t *params,
		json_t **ret_answer)
{
	int code = rpc_client_once(&opts->disk, method, params, ret_answer);

	if (code || !opts->json)
		return code;
	code = tool_print_json(*ret_answer);
	*ret_answer = NULL;
	return code;
}

/* ------------------------------------------------------------------------------ images */

/* The server has another working directory. */
static int absolute(const char *path, char buf[PATH_MAX])
{
	char cwd[PATH_MAX] = "";
	int len;

	if (path[0] != '/' && !getcwd(cwd, sizeof(cwd))) {
		tool_msg("cannot make '%s' an absolute path", path);
		return EXIT_USAGE;
	}
	len = snprintf(buf, PATH_MAX, "%s%s%s", cwd, path[0] == '/' ? "" : "/", path);
	if (len < PATH_MAX)
		return EXIT_OK;
	tool_msg("the path is too long: %s", path);
	return EXIT_USAGE;
}

/* However long it takes. */
static int call_patiently(const struct state_opts *opts, const char *method, json_t *params,
			  json_t **ret_answer)
{
	struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	int code = 0, err = rpc_client_open(&opts->disk, &diag, &client);

	if (err) {
		json_decref(params);
	} else {
		rpc_client_patience(client, -1);
		err = rpc_client_call(client, method, params, &diag, &code, ret_answer);
	}
	rpc_client_free(client);
	return err ? rpc_client_fail(err, code, &diag) : EXIT_OK;
}

static int transfer(const struct state_opts *opts, const char *method, json_t *params,
		    const char *done, const char *path)
{
	char size[UNITS_MAX], data[UNITS_MAX];
	json_t *answer = NULL;
	int code = call_patiently(opts, method, params, &answer);

	if (code || opts->json)
		return code ? code : tool_print_json(answer);
	printf("%s %s: %s, of which %s is data\n", done, path,
	       units_format_size(number_of(answer, "size_bytes"), size),
	       units_format_size(number_of(answer, "data_bytes"), data));
	rpc_client_say_table(answer);
	json_decref(answer);
	return EXIT_OK;
}

static int save(const struct state_opts *opts, const char *snapshot, const char *file)
{
	char path[PATH_MAX];
	int code = absolute(file, path);

	if (code)
		return code;
	return transfer(
		opts, snapshot ? "snapshot.save" : "image.save",
		json_pack("{s:s*, s:s, s:b}", "name", snapshot, "path", path, "force", opts->force),
		"saved", path);
}

static int image_save(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	return save(opts, NULL, words->words[0]);
}

static int image_load_file(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	char path[PATH_MAX];
	int code = absolute(words->words[0], path);

	return code ? code
		    : transfer(opts, "image.load", json_pack("{s:s}", "path", path), "loaded",
			       path);
}

/* ------------------------------------------------------------------------------ snapshots */

static json_t *name_params(const struct opt_words *words)
{
	return json_pack("{s:s}", "name", words->words[0]);
}

static int snapshot_create(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	json_t *answer = NULL;
	int code = call(opts, "snapshot.create", name_params(words), &answer);

	json_decref(answer);
	return code;
}

static int snapshot_restore(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	json_t *answer = NULL;
	char size[UNITS_MAX];
	int code = call(opts, "snapshot.restore", name_params(words), &answer);

	if (!code && answer)
		printf("%s were restored\n",
		       units_format_size(number_of(answer, "restored_bytes"), size));
	rpc_client_say_table(answer);
	json_decref(answer);
	return code;
}

static int snapshot_rm(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	json_t *answer = NULL;
	int code = call(opts, "snapshot.remove", name_params(words), &answer);

	json_decref(answer);
	return code;
}

static const struct table_column snapshot_columns[] = {
	{ .head = "name", .least = 24, .cut = true },
	{ .head = "made", .least = 20, .rank = 1 },
	{ .head = "holds", .least = 10, .right = true },
};

static void put_snapshot(void *ctx, size_t row, struct table_cell *cells)
{
	const json_t *snapshot = json_array_get(ctx, row);
	time_t created = (time_t)(number_of(snapshot, "created_ns") / 1000000000u);
	struct tm tm;

	cells[0].text = json_string_value(json_object_get(snapshot, "name"));
	if (localtime_r(&created, &tm) &&
	    strftime(cells[1].buf, TABLE_CELL_BYTES, "%Y-%m-%d %H:%M:%S", &tm))
		cells[1].text = cells[1].buf;
	cells[2].text = units_format_size(number_of(snapshot, "bytes"), cells[2].buf);
}

static int snapshot_ls(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	json_t *answer = NULL;
	int code = call(opts, "snapshot.list", NULL, &answer);
	const struct screen screen = screen_of_list(STDOUT_FILENO);
	struct table table = { .columns = snapshot_columns,
			       .nr_columns = array_size(snapshot_columns),
			       .row = put_snapshot };

	(void)words;
	if (!code && answer) {
		table.ctx = json_object_get(answer, "snapshots");
		table.nr_rows = json_array_size(table.ctx);
		table_print(&table, &screen, stdout);
	}
	json_decref(answer);
	return code;
}

static int snapshot_save(void *values, const struct opt_words *words)
{
	const struct state_opts *opts = values;
	return save(opts, words->words[0], words->words[1]);
}

/* ------------------------------------------------------------------------------ sub-commands */

/* clang-format off */
static const struct sub_command snapshots[] = {
	{ "create", snapshot_create, plain_table,
	  { .usage = "faultblk snapshot create [options] NAME",
	    .what =
		"Keep the present content of the disk. This is immediate: pages are copied when they\n"
		"change.\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk snapshot create clean", .exits = STATE_EXITS, .min_words = 1,
	    .max_words = 1 },
	  "keep the content of the disk" },
	{ "restore", snapshot_restore, plain_table,
	  { .usage = "faultblk snapshot restore [options] NAME",
	    .what =
		"Restore the content of the disk, all of it durable. Snapshots are not changed.\n"
		"Unmount first: a mounted file system keeps using its cached data.\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk snapshot restore clean", .exits = STATE_EXITS, .min_words = 1,
	    .max_words = 1 },
	  "restore the content of the disk" },
	{ "rm", snapshot_rm, plain_table,
	  { .usage = "faultblk snapshot rm [options] NAME",
	    .what = "Remove a snapshot.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk snapshot rm clean", .exits = STATE_EXITS, .min_words = 1,
	    .max_words = 1 },
	  "remove a snapshot" },
	{ "ls", snapshot_ls, plain_table,
	  { .usage = "faultblk snapshot ls [options]",
	    .what = "List the snapshots, oldest first, with the memory that each uses.\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk snapshot ls", .exits = STATE_EXITS },
	  "list the snapshots" },
	{ "save", snapshot_save, save_table,
	  { .usage = "faultblk snapshot save [options] NAME FILE",
	    .what =
		"Write a snapshot to a raw, sparse file, while the disk is in use. The server writes\n"
		"FILE, which appears when it is complete.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk snapshot save clean clean.img", .exits = STATE_EXITS,
	    .min_words = 2, .max_words = 2 },
	  "write a snapshot to a file" },
};

static const struct sub_command images[] = {
	{ "save", image_save, save_table,
	  { .usage = "faultblk image save [options] FILE",
	    .what =
		"Write the present content of the disk to a raw, sparse file, while the disk is in\n"
		"use. The server writes FILE, which appears when it is complete.\n"
		    DISK_CHOICE_HELP,
	    .examples = "  faultblk image save now.img && fsck.ext4 -fn now.img",
	    .exits = STATE_EXITS, .min_words = 1, .max_words = 1 },
	  "write the disk to a file" },
	{ "load", image_load_file, plain_table,
	  { .usage = "faultblk image load [options] FILE",
	    .what =
		"Load the content of a raw file, and zeroes beyond its end, all of it durable.\n"
		"Unmount first. I/O during the load sees a mixture.\n" DISK_CHOICE_HELP,
	    .examples = "  faultblk image load clean.img", .exits = STATE_EXITS, .min_words = 1,
	    .max_words = 1 },
	  "read the disk from a file" },
};
/* clang-format on */

int cmd_snapshot(int argc, char **argv)
{
	static const struct sub_commands snapshot = {
		.name = "snapshot",
		.what = "What a disk holds, kept and brought back.",
		.exits = STATE_EXITS,
		.subs = snapshots,
		.nr = array_size(snapshots),
	};
	struct state_opts opts = { 0 };

	return sub_commands_run(&snapshot, argc, argv, &opts);
}

int cmd_image(int argc, char **argv)
{
	static const struct sub_commands image = {
		.name = "image",
		.what = "What a disk holds, as a raw file.",
		.exits = STATE_EXITS,
		.subs = images,
		.nr = array_size(images),
	};
	struct state_opts opts = { 0 };

	return sub_commands_run(&image, argc, argv, &opts);
}
