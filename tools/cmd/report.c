// SPDX-License-Identifier: MIT
/* faultblk report: what explorations found, shards merged, as text, JSON, JSON lines, or a page. */
#include "tools/report/report.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/input.h"
#include "tools/cli/opt.h"
#include "tools/cli/out_file.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct report_opts {
	const char *html, *merge;
	bool canonical, force, json;
};

#define O struct report_opts
static const struct opt report_table[] = {
	OPT_TEXT(O, html, "html", NULL, "FILE",
		 "write one self-contained HTML page (-: standard output)"),
	OPT_TEXT(O, merge, "merge", NULL, "FILE", "write the merged results (-: standard output)"),
	OPT_FLAG(O, canonical, "canonical", "write --merge without times, paths and findings"),
	OPT_FLAG(O, force, "force", "replace the file of --html or --merge if it exists"),
	OPT_FLAG(O, json, "json", "print JSON instead of text"),
	OPT_END,
};
#undef O

#define EXIT_FINDINGS 1
#define EXIT_ERRORS   2

static const struct opt_help report_help = {
	.usage = "faultblk report [options] RESULTS...",
	.what = "Report the findings of explorations. Several files are shards of one exploration, in\n"
		"any order; duplicates are ignored, and missing shards are reported.",
	.examples = "  faultblk report results.jsonl\n"
		    "  faultblk report --html report.html --force shard-*.jsonl\n"
		    "  faultblk report --merge - --canonical shard-*.jsonl | cmp - whole.jsonl",
	.exits = "  0  every state was good\n  1  there are findings\n"
		 "  2  wrong options, unreadable results, or nothing found while a shard or a\n"
		 "     verdict is missing",
	.min_words = 1,
	.max_words = -1,
};

struct results_file {
	char *bytes;
	size_t size;
};

/* All of it at once: a mapping would change, or end the program, when somebody cuts the file. */
static int read_bytes(int fd, struct results_file *file)
{
	size_t size = 0;

	while (size < file->size) {
		ssize_t n = fail_errno("tools/cmd/report/read", EIO,
				       read(fd, file->bytes + size, file->size - size));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	file->size = size;
	return 0;
}

static int read_results(const char *path, struct results_file *file)
{
	_cleanup_close_ int fd = input_open(path, "results of `faultblk explore`", &file->size);

	if (fd < 0)
		return EXIT_ERRORS;
	file->bytes = fail_alloc("tools/cmd/report/alloc", malloc(file->size));
	if (file->bytes && !read_bytes(fd, file))
		return EXIT_OK;
	tool_msg("cannot read %s: %m", path);
	return EXIT_ERRORS;
}

typedef int (*put_fn)(const struct report *report, const struct report_opts *opts, FILE *out);

/* -ENOMEM, too, where jansson left something out for want of memory. */
static int put_whole(const struct report *report, put_fn put, const struct report_opts *opts,
		     FILE *out)
{
	int err = put(report, opts, out);

	return !err && rpc_json_short() ? -ENOMEM : err;
}

/* By way of memory: a stream forgets why it could not write. */
static int write_text(struct out_file *file, const struct report *report, put_fn put,
		      const struct report_opts *opts)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = fail_null("tools/cmd/report/memory", ENOMEM, open_memstream(&text, &len));
	int err;

	if (!out)
		return -errno;
	err = put_whole(report, put, opts, out);
	if (fclose(out) && !err)
		err = -errno;
	return err ? err : out_file_write(file, text, len);
}

static int write_file(const char *path, const struct report *report, put_fn put,
		      const struct report_opts *opts, const struct out_options *out_options)
{
	struct out_file file;
	struct diag diag = { 0 };
	int err;

	if (strcmp(path, "-") == 0) {
		err = put_whole(report, put, opts, stdout);
		if (err)
			tool_msg("cannot write to standard output: %s", strerror(-err));
		return err ? EXIT_ERRORS : EXIT_OK;
	}
	err = out_file_open(path, out_options, &diag, &file);
	if (!err) {
		err = write_text(&file, report, put, opts);
		if (err)
			diag_set(&diag, err, "file.write", "cannot write %s: %s", path,
				 strerror(-err));
		else
			err = out_file_finish(&file, &diag);
		out_file_drop(&file);
	}
	if (!err)
		return EXIT_OK;
	tool_diag(&diag);
	return EXIT_ERRORS;
}

static int put_merged(const struct report *report, const struct report_opts *opts, FILE *out)
{
	return report_write(report, opts->canonical, out);
}

static int put_page(const struct report *report, const struct report_opts *opts, FILE *out)
{
	(void)opts;
	return report_page(report, out);
}

static void warn(const struct report *report)
{
	_cleanup_free_ char *gaps = report_gaps(report);

	if (gaps && *gaps)
		tool_msg("%s", gaps);
	if (report->nr_cut)
		tool_msg("%u file%s truncated in the last line, which is left out", report->nr_cut,
			 report->nr_cut == 1 ? " is" : "s are");
	if (report->totals.verdicts[REPORT_ERROR])
		tool_msg(
			"%llu states were not judged (the check did not run, or the machine lacked "
			"a resource); explore --resume tries again",
			(unsigned long long)report->totals.verdicts[REPORT_ERROR]);
	if (report->totals.points_unmade)
		tool_msg(
			"of %llu crash points no state was checked, as none could be made: see MISSING "
			"STATES in faultblk-explore(7)",
			(unsigned long long)report->totals.points_unmade);
	if (report->totals.disagree)
		tool_msg("the check gave contradictory verdicts on %llu states; the findings are "
			 "kept",
			 (unsigned long long)report->totals.disagree);
}

static int tell(const struct report *report, const struct report_opts *opts,
		const struct opt_words *words)
{
	/* Nor may the page replace what was just merged. */
	const struct out_options out = { .force = opts->force,
					 .inputs = { opts->merge },
					 .more_inputs = words->words,
					 .nr_more = words->count };
	bool to_stdout = (opts->merge && strcmp(opts->merge, "-") == 0) ||
			 (opts->html && strcmp(opts->html, "-") == 0);
	int code = EXIT_OK;

	warn(report);
	if (opts->merge)
		code = write_file(opts->merge, report, put_merged, opts,
				  &(struct out_options){ .force = opts->force,
							 .more_inputs = words->words,
							 .nr_more = words->count });
	if (opts->html && code == EXIT_OK)
		code = write_file(opts->html, report, put_page, opts, &out);
	if (code == EXIT_OK && opts->json && !to_stdout)
		code = tool_print_json(report_json(report)) ? EXIT_ERRORS : EXIT_OK;
	else if (code == EXIT_OK && !to_stdout)
		report_print(report, stdout);
	/* Main's word for that is 1, which means findings here. */
	if (tool_output_failed() && code == EXIT_OK)
		code = EXIT_ERRORS;
	return code == EXIT_OK ? report_exit(report) : code;
}

static int report_files(const struct report_opts *opts, const struct opt_words *words)
{
	struct results_file *files =
		fail_alloc("tools/cmd/report/files", calloc((size_t)words->count, sizeof(*files)));
	struct diag diag = { 0 };
	struct report report;
	int code = files ? EXIT_OK : EXIT_ERRORS, i;

	report_init(&report);
	if (!files)
		tool_msg("no memory for the names of the results");
	for (i = 0; i < words->count && code == EXIT_OK; i++) {
		code = read_results(words->words[i], &files[i]);
		if (code == EXIT_OK &&
		    report_read(&report, words->words[i], files[i].bytes, files[i].size, &diag)) {
			tool_diag(&diag);
			code = EXIT_ERRORS;
		}
	}
	if (code == EXIT_OK && report_merge(&report, &diag)) {
		tool_diag(&diag);
		code = EXIT_ERRORS;
	}
	if (code == EXIT_OK && rpc_json_short()) {
		tool_msg("no memory for all of the results");
		code = EXIT_ERRORS;
	}
	if (code == EXIT_OK)
		code = tell(&report, opts, words);
	report_clear(&report);
	for (i = 0; files && i < words->count; i++)
		free(files[i].bytes);
	free(files);
	return code;
}

/* What cannot be written is told now, and not after the work. */
static int check_outputs(const struct report_opts *opts, const struct opt_words *words)
{
	const struct out_options options = { .force = opts->force,
					     .more_inputs = words->words,
					     .nr_more = words->count };
	const char *const paths[] = { opts->merge, opts->html };
	struct diag diag = { 0 };

	for (size_t i = 0; i < array_size(paths); i++) {
		if (!paths[i] || strcmp(paths[i], "-") == 0 ||
		    out_file_check(paths[i], &options, &diag) == 0)
			continue;
		tool_diag(&diag);
		return EXIT_ERRORS;
	}
	return EXIT_OK;
}

int cmd_report(int argc, char **argv)
{
	struct report_opts opts;
	struct opt_words words;
	enum opt_result result = opt_parse(argc, argv, report_table, &report_help, &opts, &words);

	if (result != OPT_OK)
		return opt_exit(result);
	if (check_outputs(&opts, &words))
		return EXIT_ERRORS;
	if (opts.canonical && !opts.merge) {
		tool_msg("--canonical needs --merge FILE");
		return EXIT_USAGE;
	}
	return report_files(&opts, &words);
}
