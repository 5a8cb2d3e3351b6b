// SPDX-License-Identifier: MIT
/* faultblk events, faultblk wait: what the rules did. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"
#include "tools/rpc/event_line.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct events_opts {
	struct disk_choice disk;
	bool follow, json;
	const char *rule, *after_text;
	uint64_t after;
};

static const struct opt events_table[] = {
	OPT_DISK_CHOICE(struct events_opts, disk),
	OPT_FLAG(struct events_opts, follow, "follow", "print new events as they happen"),
	OPT_TEXT(struct events_opts, rule, "rule", NULL, "NAME", "print only hits of this rule"),
	OPT_TEXT(struct events_opts, after_text, "after", NULL, "N",
		 "print only events with a higher number; with --follow: past ones, too"),
	OPT_FLAG(struct events_opts, json, "json", "print one JSON object a line"),
	OPT_END,
};

/* How the text of --after is understood: with --follow 0 is another thing than none. */
static const struct opt after_table[] = {
	OPT_COUNT(struct events_opts, after, "after", "0", 0, INT64_MAX, ""),
	OPT_END,
};

static const struct opt_help events_help = {
	.usage = "faultblk events [options] [DISK]",
	.words_are = "name",
	.what =
		"Print the hits of rules: number, time, rule, request and effect.\n"
		"--follow prints new hits. It also reports that the recording is full, ended or\n"
		"failed, and the outcome of a power cut of several disks that the client did not\n"
		"wait for. With --after N it prints the past hits above N first, without a gap. It\n"
		"ends when the disk is removed, or when standard output is closed.\n"
		"The disk keeps the newest 4096 hits of each queue; `lost` counts the lost ones.\n"
		"A slow reader loses events; it does not slow the disk down.\n" //
	DISK_CHOICE_HELP,
	.examples = "  faultblk events\n  faultblk events --follow --rule hole",
	.exits = "  0  printed (--follow: the disk was removed)\n"
		 "  1  the server did not answer, or standard output could not be written\n"
		 "  2  wrong options\n  4  no such disk\n"
		 "  141  standard output has no reader any more (SIGPIPE)",
};

static void cleanup_client(struct rpc_client **client)
{
	rpc_client_free(*client);
}

static void cleanup_json(json_t **value)
{
	json_decref(*value);
}

#define _cleanup_client_ _cleanup_(cleanup_client)
#define _cleanup_json_   _cleanup_(cleanup_json)

static const char *text_of(json_t *event, const char *key)
{
	return json_string_value(json_object_get(event, key)) ?: "";
}

static long long number_of(json_t *event, const char *key)
{
	return (long long)json_integer_value(json_object_get(event, key));
}

static void print_json(const struct text *object)
{
	fwrite(object->at, 1, object->len, stdout);
	putchar('\n');
}

static void show(const struct events_opts *opts, const struct event_words *words)
{
	if (opts->rule && !text_is(words->rule, opts->rule))
		return;
	if (opts->json)
		print_json(&words->json);
	else
		event_words_print(words);
}

static void show_tree(const struct events_opts *opts, json_t *event)
{
	struct event_words words;

	event_words_of_json(event, &words);
	if (opts->json && (!opts->rule || text_is(words.rule, opts->rule)))
		tool_print_json(json_incref(event));
	else if (!opts->json)
		show(opts, &words);
}

static void show_lost(const struct events_opts *opts, long long count)
{
	if (count && opts->json)
		tool_print_json(json_pack("{s:I}", "lost", (json_int_t)count));
	else if (count)
		printf("(%lld lost)\n", count);
}

static void show_recording(const struct events_opts *opts, json_t *recording)
{
	const char *why = text_of(recording, "why"), *error = text_of(recording, "error");

	if (opts->json)
		tool_print_json(json_pack("{s:O}", "recording", recording));
	else
		printf("(recording %s%s%s%s, %lld bytes)\n", text_of(recording, "state"),
		       *why || *error ? ": " : "", why, error, number_of(recording, "bytes"));
}

/* A power cut of several disks was decided, or given up, without the word of who asked for it. */
static void show_power(const struct events_opts *opts, json_t *power)
{
	if (opts->json)
		tool_print_json(json_pack("{s:O}", "power", power));
	else
		printf("(power %s: %s)\n", text_of(power, "state"), text_of(power, "why"));
}

/* Page through what the disk has kept of the events with numbers above opts->after, up to @last. */
static int list(struct rpc_client *client, const struct events_opts *opts, uint64_t last)
{
	uint64_t after = opts->after, before;
	bool some;
	struct diag diag = { 0 };
	size_t i;

	do {
		_cleanup_json_ json_t *answer = NULL;
		json_t *event, *events;
		int code = 0;
		int err = rpc_client_call(client, "events.list",
					  json_pack("{s:I}", "after", (json_int_t)after), &diag,
					  &code, &answer);

		if (err)
			return rpc_client_fail(err, code, &diag);
		show_lost(opts, number_of(answer, "lost"));
		events = json_object_get(answer, "events");
		json_array_foreach (events, i, event)
			if ((uint64_t)number_of(event, "seq") <= last)
				show_tree(opts, event);
		some = json_array_size(events);
		before = after;
		after = (uint64_t)number_of(answer, "next");
	} while (some && after > before && after < last && !ferror(stdout));
	return EXIT_OK;
}

/* Anything that is told to those who listen. */
static int show_message(const struct rpc_client *client, const struct events_opts *opts,
			const char *line, size_t len)
{
	struct diag diag = { 0 };
	_cleanup_json_ json_t *message = rpc_client_parse(client, line, len, &diag);
	json_t *params = json_object_get(message, "params");

	if (!message)
		return rpc_client_fail(-EPROTO, 0, &diag);
	if (strcmp(text_of(message, "method"), "events.lost") == 0)
		show_lost(opts, number_of(params, "count"));
	else if (strcmp(text_of(message, "method"), "recording") == 0)
		show_recording(opts, params);
	else if (strcmp(text_of(message, "method"), "power") == 0)
		show_power(opts, params);
	else if (strcmp(text_of(message, "method"), "event") == 0 &&
		 (uint64_t)number_of(params, "seq") > opts->after)
		show_tree(opts, params);
	return EXIT_OK;
}

/* On a connection of its own: what comes from now on has begun to come on the other. */
static int list_past(const struct rpc_client *follower, const struct events_opts *opts,
		     uint64_t last)
{
	_cleanup_client_ struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	int err;

	if (!opts->after_text || opts->after >= last)
		return EXIT_OK;
	err = rpc_client_open_path(rpc_client_path(follower), &diag, &client);
	return err ? rpc_client_fail(err, 0, &diag) : list(client, opts, last);
}

/* What has come together is printed together; whoever reads it waits for nothing that is here. */
static bool is_read_on(const struct rpc_client *client)
{
	return rpc_client_has_line(client) ? !ferror(stdout) : fflush(stdout) == 0;
}

static int follow(struct rpc_client *client, const struct events_opts *opts)
{
	struct diag diag = { 0 };

	while (is_read_on(client)) {
		struct event_words words;
		const char *line;
		size_t len;
		int err = rpc_client_next_line(client, -1, &diag, &line, &len);

		if (err == -ECONNRESET)
			return EXIT_OK;
		if (err == -EPIPE)
			return tool_end_unread();
		if (err)
			return rpc_client_fail(err, 0, &diag);
		if (!event_line_get(line, len, &words))
			err = show_message(client, opts, line, len);
		else if (words.seq > opts->after)
			show(opts, &words);
		if (err)
			return err;
	}
	return EXIT_OK;
}

/* Subscribed before the past is read, so that nothing falls in between. */
static int subscribe_and_follow(struct rpc_client *client, const struct events_opts *opts)
{
	_cleanup_json_ json_t *answer = NULL;
	struct diag diag = { 0 };
	int code = tool_check_output(), err;

	if (code)
		return code;
	err = rpc_client_call(client, "events.subscribe", json_pack("{s:s*}", "rule", opts->rule),
			      &diag, &code, &answer);
	if (err)
		return rpc_client_fail(err, code, &diag);
	code = list_past(client, opts, (uint64_t)number_of(answer, "after"));
	rpc_client_for_reader(client);
	return code ? code : follow(client, opts);
}

int cmd_events(int argc, char **argv)
{
	_cleanup_client_ struct rpc_client *client = NULL;
	struct events_opts opts;
	struct diag diag = { 0 };
	enum opt_result result = opt_parse(argc, argv, events_table, &events_help, &opts, NULL);
	int err;

	if (result != OPT_OK)
		return opt_exit(result);
	opts.after = 0;
	if (opts.after_text && opt_set(after_table, &opts, "after", opts.after_text, &diag)) {
		tool_diag(&diag);
		return EXIT_USAGE;
	}
	err = rpc_client_open(&opts.disk, &diag, &client);
	if (err)
		return rpc_client_fail(err, 0, &diag);
	return opts.follow ? subscribe_and_follow(client, &opts) : list(client, &opts, UINT64_MAX);
}

/* ------------------------------------------------------------------------------ wait */

struct wait_opts {
	struct disk_choice disk;
	const char *rule, *timeout;
	uint64_t hits;
	bool json;
};

static const struct opt wait_table[] = {
	OPT_DISK_CHOICE(struct wait_opts, disk),
	OPT_TEXT(struct wait_opts, rule, "rule", NULL, "NAME", "the rule (required)"),
	OPT_COUNT(struct wait_opts, hits, "hits", "1", 1, INT64_MAX, "number of hits to wait for"),
	OPT_TEXT(struct wait_opts, timeout, "timeout", NULL, "TIME", "give up after this time"),
	OPT_FLAG(struct wait_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help wait_help = {
	.usage = "faultblk wait --rule NAME [options]",
	.what = "Wait until the rule has hit N times since it was put; return at once if it has.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk rule put 'stuck op=write times=1 do=hang'\n"
		    "  cp file /mnt/ & faultblk wait --rule stuck && faultblk held\n"
		    "  faultblk release --rule stuck",
	.exits = "  0  it has\n  1  the server did not answer, or the rule was removed\n"
		 "  2  wrong options\n  4  no such disk, or it was taken away\n"
		 "  6  it has not happened in time",
};

/* --timeout as milliseconds, -1: none. */
static int parse_timeout(const char *text, int64_t *ret_ms)
{
	uint64_t ns;

	*ret_ms = -1;
	if (!text)
		return EXIT_OK;
	if (units_parse_time(text, strlen(text), &ns) || ns > 24ull * 3600 * NSEC_PER_SEC) {
		tool_msg("--timeout: got '%s', wanted a time of at most 24h, such as 500ms or 10s",
			 text);
		return EXIT_USAGE;
	}
	*ret_ms = (int64_t)(ns / NSEC_PER_MSEC);
	return EXIT_OK;
}

int cmd_wait(int argc, char **argv)
{
	_cleanup_client_ struct rpc_client *client = NULL;
	_cleanup_json_ json_t *answer = NULL;
	struct wait_opts opts;
	struct diag diag = { 0 };
	enum opt_result result = opt_parse(argc, argv, wait_table, &wait_help, &opts, NULL);
	int64_t timeout_ms;
	json_t *params;
	int err, code = 0;

	if (result != OPT_OK)
		return opt_exit(result);
	if (!opts.rule) {
		tool_msg("wait: --rule NAME is missing");
		return EXIT_USAGE;
	}
	if (parse_timeout(opts.timeout, &timeout_ms))
		return EXIT_USAGE;
	err = rpc_client_open(&opts.disk, &diag, &client);
	if (err)
		return rpc_client_fail(err, 0, &diag);
	params = json_pack("{s:s, s:I}", "name", opts.rule, "hits", (json_int_t)opts.hits);
	if (timeout_ms >= 0)
		json_object_set_new(params, "timeout_ms", json_integer(timeout_ms));
	/* The server counts the time, and then answers; one that does not is not waited for. */
	rpc_client_patience(client, timeout_ms < 0 ? -1 : (int)timeout_ms + RPC_CALL_MS);
	err = rpc_client_call(client, "rules.wait", params, &diag, &code, &answer);
	if (err) {
		bool late = code == RPC_TIMEOUT || err == -ETIMEDOUT;

		err = rpc_client_fail(err, code, &diag);
		return late ? EXIT_TIMEOUT : err;
	}
	return opts.json ? tool_print_json(take_ptr(answer)) : EXIT_OK;
}
