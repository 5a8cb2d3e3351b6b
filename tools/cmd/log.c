// SPDX-License-Identifier: MIT
/* faultblk log: logs of dm-log-writes to recordings and back, and what such a file holds. */
#include "base/cleanup.h"
#include "base/name.h"
#include "base/printable.h"
#include "base/rng.h"
#include "base/units.h"
#include "faults/journal/logwrites.h"
#include "faults/journal/read.h"
#include "faults/journal/save.h"
#include "faults/record/record.h"
#include "faults/rule/json.h"
#include "faults/rule/value.h"
#include "tools/cli/meter.h"
#include "tools/cli/out_file.h"
#include "tools/cli/sub_command.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct log_opts {
	const char *disk, *name, *base;
	uint64_t size;
	bool json, force;
	struct out_options out; /* of export and import */
};

typedef unsigned long long ull;

/* What the file that is made must not replace. */
static const struct log_opts *with_inputs(struct log_opts *opts, const struct opt_words *words)
{
	opts->out = (struct out_options){ .force = opts->force,
					  .inputs = { words->words[0], opts->base } };
	return opts;
}

static int failed(const struct diag *diag)
{
	tool_diag(diag);
	return EXIT_FAILED;
}

/* ------------------------------------------------------------------------------ export */

/* Which disk is meant; -1 after a message. */
static int choose_disk(const struct journal *journal, const char *path, const char *name)
{
	if (!name && journal->nr_disks == 1)
		return 0;
	for (uint32_t i = 0; name && i < journal->nr_disks; i++)
		if (strcmp(journal->disks[i].name, name) == 0)
			return (int)i;
	if (name)
		tool_msg("there is no disk '%s' in %s; `faultblk log show` lists them", name, path);
	else
		tool_msg("%s has %u disks, and a log has one; choose one with --disk, `faultblk "
			 "log show` lists them",
			 path, journal->nr_disks);
	return -1;
}

static void tell_export(const struct logwrites_export *export, const char *path)
{
	printf("%s: %llu entries\n", path, (ull) export->nr_entries);
	if (export->nr_failed)
		tool_msg("%llu failed writes are left out, as a log has no errors",
			 (ull) export->nr_failed);
	if (export->nr_unfinished)
		tool_msg("%llu writes that never completed are left out",
			 (ull) export->nr_unfinished);
	if (export->nr_false_acks)
		tool_msg(
			"%llu requests with a false acknowledgement are in the log as the host saw them",
			(ull) export->nr_false_acks);
}

static int export_to(const struct log_opts *opts, const struct journal *journal, uint16_t disk,
		     const char *path)
{
	struct logwrites_export export;
	struct meter_watch *watch;
	struct out_file file;
	struct diag diag = { 0 };
	int err;

	if (out_file_open(path, &opts->out, &diag, &file) < 0)
		return failed(&diag);
	watch = meter_watch_begin(path, file.fd, 0);
	err = logwrites_export(journal, disk, file.fd, &diag, &export);
	meter_watch_end(watch);
	if (err < 0) {
		out_file_drop(&file);
		return failed(&diag);
	}
	if (!journal_is_as_it_was(journal)) {
		out_file_drop(&file);
		tool_msg("cannot write %s: the content of the recording changed meanwhile",
			 path);
		return EXIT_FAILED;
	}
	if (out_file_finish(&file, &diag) < 0)
		return failed(&diag);
	tell_export(&export, path);
	return EXIT_OK;
}

static int log_export(void *values, const struct opt_words *words)
{
	const struct log_opts *opts = with_inputs(values, words);
	struct journal *journal;
	struct diag diag = { 0 };
	int disk, code = EXIT_USAGE;

	if (out_file_check(words->words[1], &opts->out, &diag) < 0 ||
	    journal_open(words->words[0], &diag, &journal) < 0)
		return failed(&diag);
	if (journal->under_way)
		tool_msg("%s is still being written: its present content is exported",
			 words->words[0]);
	disk = choose_disk(journal, words->words[0], opts->disk);
	if (disk >= 0)
		code = export_to(opts, journal, (uint16_t)disk, words->words[1]);
	code = tool_check_input(code, words->words[0]);
	journal_free(journal);
	return code;
}

/* ------------------------------------------------------------------------------ import */

static int save(const struct log_opts *opts, const struct journal *journal, const char *path,
		uint64_t log_bytes)
{
	struct meter_watch *watch;
	struct out_file file;
	struct diag diag = { 0 };
	int err;

	if (out_file_open(path, &opts->out, &diag, &file) < 0)
		return failed(&diag);
	watch = meter_watch_begin(path, file.fd, log_bytes);
	err = journal_save(journal, rng_mix(journal->id, 0, 0), file.fd, &diag);
	meter_watch_end(watch);
	if (err < 0) {
		out_file_drop(&file);
		return failed(&diag);
	}
	if (out_file_finish(&file, &diag) < 0)
		return failed(&diag);
	printf("%s: disk %s of %llu bytes, %zu writes, %zu flushes, %zu marks%s\n", path,
	       journal->disks[0].name, (ull)journal->disks[0].size_bytes, journal->nr_writes,
	       journal->nr_flushes, journal->nr_marks,
	       journal->closed ? "" : "; the log has no end: its target was not removed");
	return EXIT_OK;
}

/* Is it a name that a recording can have? */
static int check_name(const char *name)
{
	if (!name || name_is_good(name, strlen(name)))
		return EXIT_OK;
	tool_msg("log import: --name: '%s' is not a name of a disk: wanted 1 to %d " NAME_WANTED, name,
		 RECORD_NAME_MAX);
	return EXIT_USAGE;
}

static int import(const struct log_opts *opts, const struct journal_file *log,
		  const struct journal_file *base, const char *path)
{
	const struct logwrites_import options = {
		.name = opts->name,
		.size_bytes = opts->size,
		.base = base->bytes,
		.base_bytes = base->size,
	};
	struct journal *journal;
	struct diag diag = { 0 };
	int code;

	if (logwrites_import(log->bytes, log->size, &options, &diag, &journal) < 0)
		return failed(&diag);
	code = save(opts, journal, path, log->size);
	journal_free(journal);
	return code;
}

static int log_import(void *values, const struct opt_words *words)
{
	const struct log_opts *opts = with_inputs(values, words);
	struct journal_file log = { 0 }, base = { 0 };
	struct diag diag = { 0 };
	int code = check_name(opts->name);

	if (code)
		return code;
	if (out_file_check(words->words[1], &opts->out, &diag) < 0 ||
	    journal_map(words->words[0], &diag, &log) < 0 ||
	    (opts->base && journal_map(opts->base, &diag, &base) < 0))
		code = failed(&diag);
	else
		code = import(opts, &log, &base, words->words[1]);
	code = tool_check_input(code, words->words[0]);
	journal_unmap(&log);
	journal_unmap(&base);
	return code;
}

/* ------------------------------------------------------------------------------ show */

static const char *flags_text(uint32_t flags)
{
	switch (flags & (IO_FUA | IO_META)) {
	case IO_FUA:
		return " fua";
	case IO_META:
		return " meta";
	case IO_FUA | IO_META:
		return " fua meta";
	}
	return "";
}

/* Anything may stand there. */
static void put_mark(const char *text, size_t len)
{
	_cleanup_free_ char *copy = strndup(text, len), *clean = malloc(6 * len + 1);

	printf(" %s", copy && clean ? printable(copy, clean, 6 * len + 1) : "?");
}

static int show_entry(const struct log_opts *opts, const struct logwrites_entry *entry)
{
	uint32_t flags = (entry->flags & LOGWRITES_FUA ? IO_FUA : 0) |
			 (entry->flags & LOGWRITES_META ? IO_META : 0);
	const char *what = entry->flags & LOGWRITES_MARK      ? "mark"
			   : entry->flags & LOGWRITES_DISCARD ? "discard"
			   : entry->len_bytes                 ? "write"
							      : "flush";
	bool preflush = entry->flags & LOGWRITES_FLUSH && entry->len_bytes;

	if (opts->json)
		return tool_print_json(
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:b, s:o*}", "type", what, "n",
				  (json_int_t)entry->n, "file_at", (json_int_t)entry->file_at,
				  "sector", (json_int_t)(entry->at / SECTOR_SIZE), "len_bytes",
				  (json_int_t)entry->len_bytes, "flags", value_flags_json(flags),
				  "flush", !!(entry->flags & LOGWRITES_FLUSH), "text",
				  /* Not every mark is UTF-8: such a one is left out. */
				  entry->text ? json_stringn(entry->text, entry->text_len) : NULL));
	printf("%llu byte %llu %s", (ull)entry->n, (ull)entry->file_at, what);
	if (entry->text)
		put_mark(entry->text, entry->text_len);
	if (entry->len_bytes)
		printf(" %llu+%llu%s%s", (ull)(entry->at / SECTOR_SIZE), (ull)entry->len_bytes,
		       preflush ? " flush" : "", flags_text(flags));
	putchar('\n');
	return EXIT_OK;
}

static int show_log(const struct log_opts *opts, const struct journal_file *file)
{
	struct logwrites_entry entry;
	struct logwrites log;
	struct diag diag = { 0 };
	int more, code = EXIT_OK;

	if (logwrites_open(file->bytes, file->size, &diag, &log) < 0)
		return failed(&diag);
	if (opts->json)
		code = tool_print_json(json_pack("{s:s, s:I, s:I}", "type", "log", "entries",
						 (json_int_t)log.nr_entries, "sector_bytes",
						 (json_int_t)log.block_bytes));
	else
		printf("log of dm-log-writes, %llu entries, sectors of %u bytes\n",
		       (ull)log.nr_entries, log.block_bytes);
	while (!code && (more = logwrites_next(&log, &diag, &entry)) != 0)
		code = more < 0 ? failed(&diag) : show_entry(opts, &entry);
	return code;
}

static int show_disk(const struct log_opts *opts, const struct journal_disk *disk, uint32_t n)
{
	char size[UNITS_MAX];

	if (opts->json)
		return tool_print_json(json_pack(
			"{s:s, s:I, s:s, s:I, s:I, s:b}", "type", "disk", "n", (json_int_t)n,
			"name", disk->name, "size_bytes", (json_int_t)disk->size_bytes,
			"block_bytes", (json_int_t)disk->block_bytes, "cache", disk->cache));
	printf("disk %u %s %s, blocks of %u bytes%s\n", n, disk->name,
	       units_format_size(disk->size_bytes, size), disk->block_bytes,
	       disk->cache ? ", volatile cache" : "");
	return EXIT_OK;
}

static int show_extent(const struct log_opts *opts, const struct journal_extent *extent)
{
	if (opts->json)
		return tool_print_json(json_pack("{s:s, s:i, s:I, s:I}", "type", "base", "disk",
						 (int)extent->disk, "sector",
						 (json_int_t)(extent->at / SECTOR_SIZE),
						 "len_bytes", (json_int_t)extent->len_bytes));
	printf("base disk %u %llu+%llu\n", extent->disk, (ull)(extent->at / SECTOR_SIZE),
	       (ull)extent->len_bytes);
	return EXIT_OK;
}

/* As users see it. */
static json_int_t shown(const struct journal *journal, uint64_t step)
{
	return (json_int_t)journal_shown(journal, step);
}

static json_t *end_json(const struct journal *journal, uint64_t step)
{
	return step == JOURNAL_NEVER ? json_null() : json_integer(shown(journal, step));
}

static void print_end(const struct journal *journal, uint64_t complete, bool lost, bool false_ack)
{
	if (complete == JOURNAL_NEVER)
		printf(" never completed");
	else
		printf(" completed %lld", (long long)shown(journal, complete));
	printf("%s%s\n", lost ? " failed" : "", false_ack ? " false acknowledgement" : "");
}

static int show_write(const struct log_opts *opts, const struct journal *journal, uint32_t n)
{
	const struct journal_write *write = &journal->writes[n];
	const char *op = value_op_names()[write->op];

	if (opts->json)
		return tool_print_json(json_pack(
			"{s:s, s:I, s:i, s:I, s:I, s:s, s:o, s:I, s:o, s:I, s:b, s:b}", "type",
			"write", "n", (json_int_t)n, "disk", (int)write->disk, "sector",
			(json_int_t)(write->at / SECTOR_SIZE), "len_bytes",
			(json_int_t)write->len_bytes, "op", op, "flags",
			value_flags_json(write->flags), "submit", shown(journal, write->submit),
			"complete", end_json(journal, write->complete), "time_ns",
			(json_int_t)write->submit_ns, "failed", write->failed, "lied",
			write->false_ack));
	printf("%lld %.6f %s disk %u %llu+%llu%s", (long long)shown(journal, write->submit),
	       (double)(write->submit_ns - journal->start_ns) / 1e9, op, write->disk,
	       (ull)(write->at / SECTOR_SIZE), (ull)write->len_bytes, flags_text(write->flags));
	print_end(journal, write->complete, write->failed, write->false_ack);
	return EXIT_OK;
}

static int show_flush(const struct log_opts *opts, const struct journal *journal, uint32_t n)
{
	const struct journal_flush *flush = &journal->flushes[n];

	if (opts->json)
		return tool_print_json(json_pack(
			"{s:s, s:i, s:I, s:o, s:I, s:b, s:b}", "type", "flush", "disk",
			(int)flush->disk, "submit", shown(journal, flush->submit), "complete",
			end_json(journal, flush->complete), "time_ns", (json_int_t)flush->submit_ns,
			"failed", flush->failed, "lied", flush->false_ack));
	printf("%lld %.6f flush disk %u", (long long)shown(journal, flush->submit),
	       (double)(flush->submit_ns - journal->start_ns) / 1e9, flush->disk);
	print_end(journal, flush->complete, flush->failed, flush->false_ack);
	return EXIT_OK;
}

static int show_mark(const struct log_opts *opts, const struct journal *journal, uint32_t n)
{
	const struct journal_mark *mark = &journal->marks[n];

	if (opts->json)
		return tool_print_json(json_pack("{s:s, s:I, s:I, s:I, s:s}", "type", "mark", "n",
						 (json_int_t)n + 1, "step",
						 shown(journal, mark->step), "time_ns",
						 (json_int_t)mark->time_ns, "text", mark->text));
	printf("%lld %.6f mark", (long long)shown(journal, mark->step),
	       (double)(mark->time_ns - journal->start_ns) / 1e9);
	put_mark(mark->text, strlen(mark->text));
	putchar('\n');
	return EXIT_OK;
}

static int show_event(const struct log_opts *opts, const struct journal *journal,
		      const struct journal_event *event)
{
	switch ((enum journal_what)event->what) {
	case JOURNAL_SUBMIT:
		return show_write(opts, journal, event->index);
	case JOURNAL_FLUSH_SUBMIT:
		return show_flush(opts, journal, event->index);
	case JOURNAL_MARK:
		return show_mark(opts, journal, event->index);
	case JOURNAL_COMPLETE:
	case JOURNAL_FLUSH_COMPLETE:
		break;
	}
	return EXIT_OK;
}

static int show_journal(const struct log_opts *opts, const struct journal_file *file)
{
	struct journal *journal;
	struct diag diag = { 0 };
	int code = EXIT_OK;

	if (journal_from_record(file->bytes, file->size, &diag, &journal) < 0)
		return failed(&diag);
	for (uint32_t i = 0; !code && i < journal->nr_disks; i++)
		code = show_disk(opts, &journal->disks[i], i);
	for (size_t i = 0; !code && i < journal->nr_extents; i++)
		code = show_extent(opts, &journal->extents[i]);
	for (size_t i = 0; !code && i < journal->nr_events; i++)
		code = show_event(opts, journal, &journal->events[i]);
	if (!journal->closed)
		tool_diag(&diag);
	journal_free(journal);
	return code;
}

static int log_show(void *values, const struct opt_words *words)
{
	const struct log_opts *opts = values;
	struct journal_file file;
	struct diag diag = { 0 };
	int code;

	if (journal_map(words->words[0], &diag, &file) < 0)
		return failed(&diag);
	if (file.under_way)
		tool_msg("%s is still being written: its present content is shown", words->words[0]);
	code = journal_format(&file) == JOURNAL_LOGWRITES ? show_log(opts, &file)
							  : show_journal(opts, &file);
	code = tool_check_input(code, words->words[0]);
	journal_unmap(&file);
	return code;
}

/* ------------------------------------------------------------------------------ the command */

#define LOG_EXITS                                                                                  \
	"  0  done\n  1  a file could not be read or written, is no log, or no "                   \
	"recording with data\n  2  wrong options"

static const struct opt export_table[] = {
	OPT_FLAG(struct log_opts, force, "force", "replace LOG if it exists"),
	OPT_TEXT(struct log_opts, disk, "disk", NULL, "NAME", "the disk to export, if there are "
							      "several"),
	OPT_END,
};

static const struct opt import_table[] = {
	OPT_FLAG(struct log_opts, force, "force", "replace RECORDING if it exists"),
	OPT_SIZE(struct log_opts, size, "size", NULL, 512, INT64_MAX,
		 "size of the disk; default: the end of the last write"),
	OPT_TEXT(struct log_opts, name, "name", NULL, "NAME", "name of the disk; default: log"),
	OPT_TEXT(struct log_opts, base, "base", NULL, "FILE",
		 "content of the disk before the log; default: zeroes"),
	OPT_END,
};

static const struct opt show_table[] = {
	OPT_FLAG(struct log_opts, json, "json", "print JSON, one object a line"),
	OPT_END,
};

static const struct sub_command subs[] = {
	/* clang-format off */
	{ "export", log_export, export_table,
	  { .usage = "faultblk log export [options] RECORDING LOG",
	    .what =
		"Write the recording of a disk as a log of dm-log-writes, for tools that replay such\n"
		"logs. A replay of the whole log gives the final content of the disk.",
	    .examples = "  faultblk log export a.rec a.log",
	    .exits = LOG_EXITS, .min_words = 2, .max_words = 2 },
	  "a recording as a log of dm-log-writes" },
	{ "import", log_import, import_table,
	  { .usage = "faultblk log import [options] LOG RECORDING",
	    .what =
		"Make a recording from a log of dm-log-writes. `faultblk explore` reads a log\n"
		"directly, too; but a log has neither the size of the disk nor its earlier content.",
	    .examples = "  faultblk log import --size 1G --base before.img /dev/sdc a.rec",
	    .exits = LOG_EXITS, .min_words = 2, .max_words = 2 },
	  "a log of dm-log-writes as a recording" },
	{ "show", log_show, show_table,
	  { .usage = "faultblk log show [options] FILE",
	    .what =
		"Print a recording with data, or a log: one entry a line, in the order of time. Places\n"
		"are FIRST-SECTOR+BYTES.",
	    .examples = "  faultblk log show a.rec\n  faultblk log show --json a.log",
	    .exits = LOG_EXITS, .min_words = 1, .max_words = 1 },
	  "print a recording or a log, line by line" },
	/* clang-format on */
};

int cmd_log(int argc, char **argv)
{
	static const struct sub_commands log = {
		.name = "log",
		.what = "Recordings and logs of dm-log-writes.",
		.examples = "  faultblk log show a.rec\n  faultblk log import --help",
		.exits = LOG_EXITS,
		.subs = subs,
		.nr = array_size(subs),
	};
	struct log_opts opts = { 0 };

	return sub_commands_run(&log, argc, argv, &opts);
}
