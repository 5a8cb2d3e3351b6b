// SPDX-License-Identifier: MIT
/* faultblk mark, faultblk recording: what is said into a recording, and how long it may be. */
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <stdio.h>
#include <string.h>

struct mark_opts {
	struct disk_choice disk;
	bool json;
};

static const struct opt mark_table[] = {
	OPT_DISK_CHOICE(struct mark_opts, disk),
	OPT_FLAG(struct mark_opts, json, "json", "print JSON"),
	OPT_END,
};

#define MARK_EXITS                                                                                 \
	"  0  done\n  1  there is no recording, or it has ended, or the server did not answer\n"   \
	"  2  wrong options\n  4  no such disk"

static const struct opt_help mark_help = {
	.usage = "faultblk mark [options] TEXT",
	.what =
		"Add a line of text to the recording of a disk, after all requests that have completed\n"
		"so far. A recording of several disks has one list of marks: any of its disks will do.\n"
		"Print the number of the mark and its step.\n" //
	DISK_CHOICE_HELP,
	.examples = "  faultblk run --record a.rec --record-data -- sh -c 'echo x |\n"
		    "      dd of=$FAULTBLK_DEV conv=sync,fsync && faultblk mark x is safe'",
	.exits = MARK_EXITS,
	.min_words = 1,
	.max_words = -1,
};

static long long number_of(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* The words with one space between them; steals nothing. NULL without memory. */
static json_t *join_words(const struct opt_words *words)
{
	json_t *text = json_string(words->words[0]);

	for (int i = 1; i < words->count && text; i++) {
		json_t *more = json_sprintf("%s %s", json_string_value(text), words->words[i]);

		json_decref(text);
		text = more;
	}
	return text;
}

int cmd_mark(int argc, char **argv)
{
	struct mark_opts opts;
	struct opt_words words;
	json_t *answer = NULL, *text;
	enum opt_result result = opt_parse(argc, argv, mark_table, &mark_help, &opts, &words);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	text = join_words(&words);
	if (!text) {
		tool_msg("mark: the text is not UTF-8; a mark is one line of UTF-8");
		return EXIT_USAGE;
	}
	code = rpc_client_once(&opts.disk, "mark", json_pack("{s:o}", "text", text), &answer);
	if (code || opts.json)
		return code ? code : tool_print_json(answer);
	printf("mark %lld step %lld\n", number_of(answer, "mark"), number_of(answer, "step"));
	json_decref(answer);
	return EXIT_OK;
}

/* ------------------------------------------------------------------------------ recording */

struct recording_opts {
	struct disk_choice disk;
	const char *limit;
	bool stop, json;
};

static const struct opt recording_table[] = {
	OPT_DISK_CHOICE(struct recording_opts, disk),
	OPT_TEXT(struct recording_opts, limit, "limit", NULL, "SIZE",
		 "new size limit of the file; 0: no limit"),
	OPT_FLAG(struct recording_opts, stop, "stop", "end the recording; the disk continues"),
	OPT_FLAG(struct recording_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help recording_help = {
	.usage = "faultblk recording [options] [DISK]",
	.words_are = "name",
	.what = "Show the recording of a disk; raise its limit, or end it.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk recording\n  faultblk recording --limit 8G",
	.exits = MARK_EXITS,
};

static void print_recording(json_t *recording)
{
	const char *why = json_string_value(json_object_get(recording, "why"));
	const char *error = json_string_value(json_object_get(recording, "error"));
	long long limit = number_of(recording, "limit_bytes");
	char of[UNITS_MAX];

	printf("%s%s%s", json_string_value(json_object_get(recording, "state")),
	       why || error ? ": " : "", why ?: error ?: "");
	printf(", %lld requests, %lld marks, %lld bytes", number_of(recording, "requests"),
	       number_of(recording, "marks"), number_of(recording, "bytes"));
	if (limit)
		printf(" of %s", units_format_size((uint64_t)limit, of));
	printf(", waited for the file %lld times\n", number_of(recording, "waits"));
}

/* The object that tells of the recording; an error's code, printed, where there is none. */
static int ask(const struct recording_opts *opts, json_t **ret_recording)
{
	json_t *answer = NULL;
	int code;

	if (opts->stop)
		return rpc_client_once(&opts->disk, "recording.stop", NULL, ret_recording);
	if (opts->limit)
		return rpc_client_once(&opts->disk, "recording.limit",
				       json_pack("{s:s}", "limit", opts->limit), ret_recording);
	code = rpc_client_once(&opts->disk, "status", NULL, &answer);
	if (code)
		return code;
	*ret_recording = json_incref(json_object_get(answer, "recording"));
	json_decref(answer);
	if (*ret_recording)
		return EXIT_OK;
	tool_msg("the disk is not being recorded; record it from its beginning: faultblk run "
		 "--record FILE --record-data ...");
	return EXIT_FAILED;
}

int cmd_recording(int argc, char **argv)
{
	struct recording_opts opts;
	json_t *recording = NULL;
	enum opt_result result =
		opt_parse(argc, argv, recording_table, &recording_help, &opts, NULL);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	if (opts.stop && opts.limit) {
		tool_msg("recording: --stop and --limit exclude each other");
		return EXIT_USAGE;
	}
	code = ask(&opts, &recording);
	if (code || opts.json)
		return code ? code : tool_print_json(recording);
	print_recording(recording);
	json_decref(recording);
	return EXIT_OK;
}
