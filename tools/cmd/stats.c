// SPDX-License-Identifier: MIT
/*
 * faultblk stats. With --watch the counters are also shown as rates since the last look; on a
 * terminal the tables are drawn over the last ones, as large as it is then, elsewhere they are
 * appended.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/screen.h"
#include "tools/cli/table.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct stats_opts {
	struct disk_choice disk;
	bool json, watch;
	uint64_t interval;
};

static const struct opt stats_table[] = {
	OPT_DISK_CHOICE(struct stats_opts, disk),
	OPT_FLAG(struct stats_opts, watch, "watch", "repeat until interrupted"),
	OPT_TIME(struct stats_opts, interval, "interval", "1s", 10 * NSEC_PER_MSEC,
		 3600 * NSEC_PER_SEC, "time between two outputs of --watch"),
	OPT_FLAG(struct stats_opts, json, "json", "print JSON; with --watch one line each time"),
	OPT_END,
};

static const struct opt_help stats_help = {
	.usage = "faultblk stats [options] [DISK]",
	.words_are = "name",
	.what =
		"Print counts, errors and latencies of each operation, errors by errno, and matches\n"
		"and hits of each rule. Latency is the time from the arrival of a request at its\n"
		"queue to its completion. Tables fit the terminal, or 80 columns: p90, p99.9, bytes\n"
		"and other columns are left out, in this order, if there is no room, and large\n"
		"numbers are rounded (12.3M). --json prints all columns, and exact numbers.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk stats\n  faultblk stats --watch --interval 500ms",
	.exits = "  0  printed\n"
		 "  1  the server did not answer, or standard output could not be written\n"
		 "  2  wrong options\n  4  no such disk, or it went away\n"
		 "  141  --watch: standard output has no reader any more (SIGPIPE)",
};

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* ------------------------------------------------------------------------------ the tables */

/* Two looks at a disk. */
struct look {
	json_t *stats, *before; /* @before: NULL without --watch, and the first time */
	double seconds;         /* between them */
	bool rates;             /* room for rates is kept, also where there are none yet */
	unsigned int digits;    /* of a number that is printed as it is */
	json_t *array;          /* that the table's rows are of */
};

#define DIGITS_EXACT 12
#define DIGITS_SHORT 7

enum { OP, COUNT, BYTES, ERRORS, P50, P90, P99, P999, MAX, OP_RATE, BYTE_RATE, NR_OP_COLUMNS };

/* 79 columns, all of them, where no latency is of days. */
static const struct table_column op_columns[] = {
	[OP] = { .head = "op", .least = 7 },
	[COUNT] = { .head = "count", .right = true, .least = 7 },
	[BYTES] = { .head = "bytes", .right = true, .least = 6, .rank = 7 },
	[ERRORS] = { .head = "errors", .right = true, .least = 6, .rank = 2 },
	[P50] = { .head = "p50", .right = true, .least = 6, .rank = 6 },
	[P90] = { .head = "p90", .right = true, .least = 6, .rank = 9 },
	[P99] = { .head = "p99", .right = true, .least = 6, .rank = 3 },
	[P999] = { .head = "p99.9", .right = true, .least = 6, .rank = 8 },
	[MAX] = { .head = "max", .right = true, .least = 6, .rank = 5 },
	[OP_RATE] = { .head = "/s", .right = true, .least = 6, .rank = 1 },
	[BYTE_RATE] = { .head = "bytes/s", .right = true, .least = 7, .rank = 4 },
};

static void put_count(struct table_cell *cell, uint64_t value, unsigned int digits)
{
	cell->text = screen_count((double)value, digits, cell->buf);
}

static void put_latency(struct table_cell *cell, const json_t *op, const char *key)
{
	cell->text = number(op, "ops") ? units_human_time(number(op, key), cell->buf) : "-";
}

/* Of a disk that is another one by now, under the same name, it would be below zero. */
static double rate(const struct look *look, const json_t *op, const json_t *before, const char *key)
{
	uint64_t now = number(op, key), then = number(before, key);

	return now > then ? (double)(now - then) / look->seconds : 0;
}

static void put_op(void *ctx, size_t row, struct table_cell *cells)
{
	const struct look *look = ctx;
	json_t *ops = json_object_get(look->stats, "ops"), *op, *before;
	void *at = json_object_iter(ops);

	while (row--)
		at = json_object_iter_next(ops, at);
	op = json_object_iter_value(at);
	cells[OP].text = json_object_iter_key(at);
	put_count(&cells[COUNT], number(op, "ops"), look->digits);
	cells[BYTES].text = screen_bytes((double)number(op, "bytes"), cells[BYTES].buf);
	put_count(&cells[ERRORS], number(op, "errors"), look->digits - 1);
	put_latency(&cells[P50], op, "p50_ns");
	put_latency(&cells[P90], op, "p90_ns");
	put_latency(&cells[P99], op, "p99_ns");
	put_latency(&cells[P999], op, "p999_ns");
	put_latency(&cells[MAX], op, "max_ns");
	before = json_object_get(json_object_get(look->before, "ops"), cells[OP].text);
	if (!before || look->seconds <= 0)
		return;
	cells[OP_RATE].text = screen_count(rate(look, op, before, "ops"), 6, cells[OP_RATE].buf);
	cells[BYTE_RATE].text = screen_bytes(rate(look, op, before, "bytes"), cells[BYTE_RATE].buf);
}

static const struct table_column rule_columns[] = {
	{ .head = "rule", .least = 24, .cut = true },
	{ .head = "matches", .right = true, .least = 7 },
	{ .head = "hits", .right = true, .least = 7 },
};

static void put_rule(void *ctx, size_t row, struct table_cell *cells)
{
	const struct look *look = ctx;
	json_t *rule = json_array_get(look->array, row);

	cells[0].text = json_string_value(json_object_get(rule, "name"));
	put_count(&cells[1], number(rule, "matches"), look->digits);
	put_count(&cells[2], number(rule, "hits"), look->digits);
}

static const struct table_column queue_columns[] = {
	{ .head = "queue", .least = 7 },
	{ .head = "batches", .right = true, .least = 12 },
	{ .head = "parked", .right = true, .least = 12, .rank = 1 },
	{ .head = "in flight", .right = true },
	{ .head = "parked now", .right = true },
};

static void put_queue(void *ctx, size_t row, struct table_cell *cells)
{
	static const char *const keys[] = { "queue", "batches", "parked", "in_flight",
					    "parked_now" };
	json_t *queue = json_array_get(((const struct look *)ctx)->array, row);

	for (size_t i = 0; i < array_size(keys); i++)
		put_count(&cells[i], number(queue, keys[i]), DIGITS_EXACT);
}

/* ------------------------------------------------------------------------------ printing */

#define ERRORS_INDENT 8

static void print_errors(json_t *errors, const struct screen *screen, FILE *out)
{
	size_t at = ERRORS_INDENT;
	const char *name;
	json_t *count;

	if (json_object_size(errors) == 0)
		return;
	fprintf(out, "\n%-*s", ERRORS_INDENT, "errors");
	json_object_foreach (errors, name, count) {
		char word[96];
		int len = snprintf(word, sizeof(word), " %s %lld", name, json_integer_value(count));

		if (at > ERRORS_INDENT && at + (size_t)len > screen->columns) {
			fprintf(out, "\n%*s", ERRORS_INDENT, "");
			at = ERRORS_INDENT;
		}
		at += (size_t)len;
		fputs(word, out);
	}
	fprintf(out, "\n");
}

static bool has_long_name(json_t *rules)
{
	json_t *rule;
	size_t i;

	json_array_foreach (rules, i, rule)
		if (json_string_length(json_object_get(rule, "name")) > 52)
			return true;
	return false;
}

static void print_array(struct look *look, const char *key, struct table table,
			const struct screen *screen, FILE *out)
{
	look->array = json_object_get(look->stats, key);
	table.ctx = look;
	table.nr_rows = json_array_size(look->array);
	if (!table.nr_rows)
		return;
	fprintf(out, "\n");
	table_print(&table, screen, out);
}

static void print_stats(struct look *look, const struct screen *screen, FILE *out)
{
	const struct table ops = { .columns = op_columns,
				   .nr_columns = look->rates ? NR_OP_COLUMNS : OP_RATE,
				   .nr_rows = json_object_size(json_object_get(look->stats, "ops")),
				   .row = put_op,
				   .ctx = look };

	look->digits = look->rates ? DIGITS_SHORT : DIGITS_EXACT;
	table_print(&ops, screen, out);
	print_errors(json_object_get(look->stats, "errors"), screen, out);
	look->digits =
		has_long_name(json_object_get(look->stats, "rules")) ? DIGITS_SHORT : DIGITS_EXACT;
	print_array(look, "rules",
		    (struct table){ .columns = rule_columns,
				    .nr_columns = array_size(rule_columns),
				    .row = put_rule },
		    screen, out);
	print_array(look, "queues",
		    (struct table){ .columns = queue_columns,
				    .nr_columns = array_size(queue_columns),
				    .row = put_queue },
		    screen, out);
}

/* The whole picture at once, so that it can be drawn over the last one. */
static int draw(struct look *look, const struct screen *screen)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return -ENOMEM;
	print_stats(look, screen, out);
	if (fclose(out))
		return -ENOMEM;
	screen_draw(screen, text);
	return 0;
}

static int print_look(const struct stats_opts *opts, json_t *stats, json_t *before)
{
	struct screen screen = screen_of(STDOUT_FILENO);
	struct look look = { .stats = stats, .before = before, .rates = opts->watch };
	int err = 0;

	if (before)
		look.seconds = (double)(int64_t)(number(stats, "uptime_ns") -
						 number(before, "uptime_ns")) /
			       NSEC_PER_SEC;
	if (opts->json) {
		json_dumpf(stats, stdout, JSON_COMPACT);
		printf("\n");
	} else if (opts->watch && screen.terminal) {
		err = draw(&look, &screen);
	} else {
		print_stats(&look, &screen, stdout);
		fputs(opts->watch ? "\n" : "", stdout);
	}
	fflush(stdout);
	return err;
}

/* ------------------------------------------------------------------------------ looking */

static void on_resize(int sig)
{
	(void)sig; /* it ends the waiting, and that is all */
}

/* So that none is missed, it comes only while we wait. */
static void hold_resize(sigset_t *ret_waiting)
{
	const struct sigaction action = { .sa_handler = on_resize };
	sigset_t resize;

	sigemptyset(&resize);
	sigaddset(&resize, SIGWINCH);
	sigprocmask(SIG_BLOCK, &resize, ret_waiting);
	sigdelset(ret_waiting, SIGWINCH);
	sigaction(SIGWINCH, &action, NULL);
}

enum waited { WAITED, RESIZED, UNREAD };

/* Until @end_ns, or until there is another reason to look up from it. */
static enum waited wait_until(uint64_t end_ns, const sigset_t *waiting)
{
	for (;;) {
		struct pollfd out = { .fd = STDOUT_FILENO };
		uint64_t now_ns = clock_now_ns(), left_ns = now_ns < end_ns ? end_ns - now_ns : 0;
		const struct timespec left = { .tv_sec = (time_t)(left_ns / NSEC_PER_SEC),
					       .tv_nsec = (long)(left_ns % NSEC_PER_SEC) };
		int nr = ppoll(&out, 1, &left, waiting);

		if (nr < 0 && errno == EINTR)
			return RESIZED;
		if (nr > 0 && (out.revents & TOOL_READER_GONE))
			return UNREAD;
		if (nr <= 0 || !left_ns)
			return WAITED;
	}
}

/* Print it, and again where the terminal has another size, until the next look is due. */
static int show(const struct stats_opts *opts, json_t *stats, json_t *before,
		const sigset_t *waiting, struct diag *diag)
{
	uint64_t end_ns = clock_now_ns() + opts->interval;
	enum waited waited = RESIZED;

	while (waited == RESIZED && !ferror(stdout)) {
		if (print_look(opts, stats, before))
			return diag_set(diag, -ENOMEM, "stats.memory", "no memory for a picture");
		if (!opts->watch)
			return 0;
		do {
			waited = wait_until(end_ns, waiting);
		} while (waited == RESIZED && (opts->json || !isatty(STDOUT_FILENO)));
	}
	return waited == UNREAD ? -EPIPE : 0;
}

static int watch(const struct stats_opts *opts, struct rpc_client *client)
{
	json_t *before = NULL, *stats = NULL;
	struct diag diag = { 0 };
	int err, code = 0;
	sigset_t waiting;

	hold_resize(&waiting);
	screen_end_clean();
	do {
		err = rpc_client_call(client, "stats", NULL, &diag, &code, &stats);
		if (err)
			break;
		err = show(opts, stats, before, &waiting, &diag);
		json_decref(before);
		before = stats;
	} while (!err && opts->watch && !ferror(stdout));
	json_decref(before);
	if (err == -EPIPE)
		return tool_end_unread();
	if (!err)
		return EXIT_OK;
	tool_diag(&diag);
	return err == -ECONNRESET ? EXIT_NO_DISK : EXIT_FAILED;
}

int cmd_stats(int argc, char **argv)
{
	struct stats_opts opts;
	struct rpc_client *client;
	struct diag diag = { 0 };
	enum opt_result result = opt_parse(argc, argv, stats_table, &stats_help, &opts, NULL);
	int err, code;

	if (result != OPT_OK)
		return opt_exit(result);
	if (opts.watch && tool_check_output())
		return EXIT_FAILED;
	err = rpc_client_open(&opts.disk, &diag, &client);
	if (err)
		return rpc_client_fail(err, 0, &diag);
	code = watch(&opts, client);
	rpc_client_free(client);
	return code;
}
