// SPDX-License-Identifier: MIT
/*
 * faultblk stats. With --watch the counters are also shown as rates since the last look; on a
 * terminal the table is redrawn in place, elsewhere it is appended.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "clean_output.h"
#include "opt.h"
#include "rpc_client.h"
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct stats_opts {
	struct disk_choice disk;
	bool json, watch;
	uint64_t interval;
};

static const struct opt stats_table[] = {
	OPT_DISK_CHOICE(struct stats_opts, disk),
	OPT_FLAG(struct stats_opts, watch, "watch", "look again and again, until interrupted"),
	OPT_TIME(struct stats_opts, interval, "interval", "1s", 10 * NSEC_PER_MSEC,
		 3600 * NSEC_PER_SEC, "how often to look"),
	OPT_FLAG(struct stats_opts, json, "json", "print JSON; with --watch one line each time"),
	OPT_END,
};

static const struct opt_help stats_help = {
	.usage = "faultblk stats [options] [DISK]",
	.words_are = "name",
	.what = "Counts, errors and latencies of each operation; errors by errno; what each rule\n"
		"did. Latency is from a request's arrival at its queue to its completion.\n" DISK_CHOICE_HELP,
	.examples = "  faultblk stats\n  faultblk stats --watch --interval 500ms",
	.exits = "  0  printed\n  1  the server did not answer\n  2  wrong options\n"
		 "  4  no such disk, or it went away",
};

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static const char *human_bytes(uint64_t bytes, char buf[UNITS_MAX])
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < array_size(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, UNITS_MAX, "%.*f%s", unit && value < 100 ? 1 : 0, value, units[unit]);
	return buf;
}

static const char *latency(const json_t *op, const char *key, char buf[UNITS_MAX])
{
	return number(op, "ops") ? units_human_time(number(op, key), buf) : "-";
}

/* @before: the same op at the last look, or NULL; @seconds between the two. */
static void print_op(const char *name, const json_t *op, const json_t *before, double seconds)
{
	char bytes[UNITS_MAX], p50[UNITS_MAX], p99[UNITS_MAX], p999[UNITS_MAX], max[UNITS_MAX];
	char p90[UNITS_MAX], rate[UNITS_MAX];

	printf("%-8s %12llu %8s %8llu", name, (unsigned long long)number(op, "ops"),
	       human_bytes(number(op, "bytes"), bytes), (unsigned long long)number(op, "errors"));
	printf(" %9s %9s %9s %9s %9s", latency(op, "p50_ns", p50), latency(op, "p90_ns", p90),
	       latency(op, "p99_ns", p99), latency(op, "p999_ns", p999),
	       latency(op, "max_ns", max));
	if (before && seconds > 0)
		printf(" %9.0f %8s", (double)(number(op, "ops") - number(before, "ops")) / seconds,
		       human_bytes(
			       (uint64_t)((double)(number(op, "bytes") - number(before, "bytes")) /
					  seconds),
			       rate));
	printf("\n");
}

static void print_errors(json_t *errors)
{
	const char *name;
	json_t *count;

	if (json_object_size(errors) == 0)
		return;
	printf("\nerrors  ");
	json_object_foreach (errors, name, count)
		printf(" %s %llu", name, (unsigned long long)json_integer_value(count));
	printf("\n");
}

static void print_rules(json_t *rules)
{
	json_t *rule;
	size_t i;

	if (json_array_size(rules) == 0)
		return;
	printf("\n%-24s %12s %12s\n", "rule", "matches", "hits");
	json_array_foreach (rules, i, rule)
		printf("%-24s %12llu %12llu\n", json_string_value(json_object_get(rule, "name")),
		       (unsigned long long)number(rule, "matches"),
		       (unsigned long long)number(rule, "hits"));
}

static void print_queues(json_t *queues)
{
	json_t *queue;
	size_t i;

	printf("\n%-8s %12s %12s %10s %10s\n", "queue", "batches", "parked", "in flight",
	       "parked now");
	json_array_foreach (queues, i, queue)
		printf("%-8llu %12llu %12llu %10llu %10llu\n",
		       (unsigned long long)number(queue, "queue"),
		       (unsigned long long)number(queue, "batches"),
		       (unsigned long long)number(queue, "parked"),
		       (unsigned long long)number(queue, "in_flight"),
		       (unsigned long long)number(queue, "parked_now"));
}

static void print_stats(json_t *stats, json_t *before)
{
	double seconds =
		before ? (double)(number(stats, "uptime_ns") - number(before, "uptime_ns")) /
				 NSEC_PER_SEC
		       : 0;
	const char *name;
	json_t *op;

	printf("%-8s %12s %8s %8s %9s %9s %9s %9s %9s%s\n", "op", "count", "bytes", "errors", "p50",
	       "p90", "p99", "p99.9", "max", before ? "       /s  bytes/s" : "");
	json_object_foreach (json_object_get(stats, "ops"), name, op)
		print_op(name, op, json_object_get(json_object_get(before, "ops"), name), seconds);
	print_errors(json_object_get(stats, "errors"));
	print_rules(json_object_get(stats, "rules"));
	print_queues(json_object_get(stats, "queues"));
}

static void print_look(const struct stats_opts *opts, json_t *stats, json_t *before)
{
	bool redraw = opts->watch && !opts->json && isatty(STDOUT_FILENO);

	if (opts->json) {
		json_dumpf(stats, stdout, JSON_COMPACT);
		printf("\n");
	} else {
		if (redraw)
			clean_output_control(stdout, "\033[H\033[J");
		print_stats(stats, before);
		fputs(opts->watch && !redraw ? "\n" : "", stdout);
	}
	fflush(stdout);
}

static int watch(const struct stats_opts *opts, struct rpc_client *client)
{
	const struct timespec interval = { .tv_sec = (time_t)(opts->interval / NSEC_PER_SEC),
					   .tv_nsec = (long)(opts->interval % NSEC_PER_SEC) };
	json_t *before = NULL, *stats = NULL;
	struct diag diag = { 0 };
	int err, code = 0;

	for (;;) {
		err = rpc_client_call(client, "stats", NULL, &diag, &code, &stats);
		if (err)
			break;
		print_look(opts, stats, before);
		json_decref(before);
		before = stats;
		if (!opts->watch || ferror(stdout))
			break;
		nanosleep(&interval, NULL);
	}
	json_decref(before);
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
	err = rpc_client_open(&opts.disk, &diag, &client);
	if (err)
		return rpc_client_fail(err, 0, &diag);
	code = watch(&opts, client);
	rpc_client_free(client);
	return code;
}
