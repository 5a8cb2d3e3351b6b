// SPDX-License-Identifier: MIT
/* Merged results as JSON lines, as one JSON object, and as text for a terminal. */
#include "base/cleanup.h"
#include "base/printable.h"
#include "base/units.h"
#include "tools/report/line.h"
#include "tools/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ JSON lines */

/*
 * What differs between two runs that did the same. Findings do: each shard shrinks the first of its
 * own, and writes them down where it is; what was found stands in the states.
 */
static const char *const not_canonical[] = { "ms",   "switch_ms",       "resumed", "seconds",
					     "rate", "first_finding_s", "findings" };

/* What is written: lines sealed one by one, if those that were read are. */
struct output {
	FILE *file;
	bool canonical, sealed;
	uint64_t seal;
};

static int put_sealed(struct output *out, json_t *line, size_t flags)
{
	size_t len;
	_cleanup_free_ char *text = results_seal(line, flags, &out->seal, &len);

	if (!text)
		return -ENOMEM;
	return fwrite(text, 1, len, out->file) == len ? 0 : -EIO;
}

static int put(struct output *out, json_t *line)
{
	bool canonical = out->canonical;
	size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | (canonical ? JSON_SORT_KEYS : 0);
	int err;

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; canonical && i < array_size(not_canonical); i++)
		json_object_del(line, not_canonical[i]);
	if (out->sealed)
		return put_sealed(out, line, flags);
	err = json_dumpf(line, out->file, flags);
	json_decref(line);
	return err || putc('\n', out->file) == EOF ? -EIO : 0;
}

static int put_list(struct output *out, const json_t *list)
{
	json_t *line;
	size_t i;
	int err = 0;

	json_array_foreach (list, i, line) {
		if (!json_is_null(line))
			err = err ? err : put(out, json_copy(line));
	}
	return err;
}

static int put_head(const struct report *report, struct output *out)
{
	json_t *head = json_deep_copy(report->head), *missing = json_array();

	json_object_set_new(head, "shard", json_integer(0));
	json_object_set_new(head, "shards", json_integer(1));
	json_object_set_new(head, "resumed", json_false());
	for (uint32_t i = 0; i < report->nr_shards; i++)
		if (!report->shards[i].file)
			json_array_append_new(missing, json_integer(i));
	if (json_array_size(missing))
		json_object_set(head, "missing_shards", missing);
	json_decref(missing);
	if (out->canonical)
		json_object_del(json_object_get(head, "recording"), "path");
	return put(out, head);
}

/* Sums of fractions depend on their order in the last digits. */
static void round_member(json_t *object, const char *name)
{
	char text[32];

	snprintf(text, sizeof(text), "%.9g", report_real(object, name));
	json_object_set_new(object, name, json_real(strtod(text, NULL)));
}

static int put_done(const json_t *list, struct output *out)
{
	json_t *line;
	size_t i;
	int err = 0;

	json_array_foreach (list, i, line) {
		json_t *copy, *shares;
		const char *name;
		json_t *value;

		if (err || json_is_null(line))
			continue;
		copy = json_deep_copy(line);
		shares = json_object_get(copy, "shares");
		if (out->canonical)
			round_member(copy, "covered");
		json_object_foreach (shares, name, value)
			if (out->canonical)
				round_member(shares, name);
		err = put(out, copy);
	}
	return err;
}

/* States that fail: what an exploration counts in its end. */
static uint64_t failing(const struct report_totals *t)
{
	uint64_t nr = 0;

	for (int i = 0; i < REPORT_NR_VERDICTS; i++)
		nr += report_is_finding(i) ? t->verdicts[i] : 0;
	return nr;
}

/* One shard that did not come to its end leaves no end. */
static int put_end(const struct report *report, struct output *out)
{
	const struct report_totals *t = &report->totals;
	const char *stopped = NULL;
	json_t *line;

	if (t->unfinished)
		return 0;
	for (uint32_t i = 0; i < report->nr_shards && !stopped; i++)
		stopped = json_string_value(json_object_get(report->shards[i].end, "stopped"));
	line = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:o, s:s?}", "type", "end", "states",
			 (json_int_t)t->states, "distinct", (json_int_t)t->distinct, "equivalent",
			 (json_int_t)t->equivalent, "findings", (json_int_t)failing(t), "seconds",
			 t->seconds, "first_finding_s",
			 t->first_finding_s < 0 ? json_null() : json_real(t->first_finding_s),
			 "stopped", stopped);
	return put(out, line);
}

int report_write(const struct report *report, bool canonical, FILE *file)
{
	struct output all = { .file = file,
			      .canonical = canonical,
			      .sealed = results_are_sealed(report->head),
			      .seal = RESULTS_SEAL_START };
	struct output *out = &all;
	int err = put_head(report, out);

	err = err ? err : put_list(out, report->writes);
	err = err ? err : put_list(out, report->flushes);
	err = err ? err : put_list(out, report->marks);
	err = err ? err : put_list(out, report->points);
	for (size_t i = 0; i < report->nr_states && !err; i++)
		err = put(out, json_loadb(report->states[i].line, report->states[i].len, 0, NULL));
	err = err ? err : put_done(report->done, out);
	if (!canonical)
		err = err ? err : put_list(out, report->findings);
	return err ? err : put_end(report, out);
}

/* ------------------------------------------------------------------------------ one object */

json_t *report_json(const struct report *report)
{
	const struct report_totals *t = &report->totals;
	const struct report_model model = report_model(report->head);
	char states[REPORT_MODEL_MAX], coarse[REPORT_MODEL_MAX];
	_cleanup_free_ char *gaps = report_gaps(report);
	json_t *verdicts = json_object();

	for (int i = 0; i < REPORT_NR_VERDICTS; i++)
		json_object_set_new(verdicts, report_verdict_name(i),
				    json_integer((json_int_t)t->verdicts[i]));
	return json_pack(
		"{s:O, s:O?, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:I, s:f, s:o, "
		"s:s?, s:I, s:I, s:I, s:s, s:I, s:s, s:s?, s:s?, s:O}",
		"recording", json_object_get(report->head, "recording"), "check",
		json_object_get(report->head, "check"), "states", (json_int_t)t->states, "distinct",
		(json_int_t)t->distinct, "equivalent", (json_int_t)t->equivalent, "verdicts",
		verdicts, "disagree", (json_int_t)t->disagree, "diverged", (json_int_t)t->diverged,
		"points", report_int(report->head, "points"), "points_done",
		(json_int_t)t->points_done, "points_complete", (json_int_t)t->points_complete,
		"points_missing", (json_int_t)t->points_missing, "covered", t->covered, "exact",
		(int)t->exact, "shards", (json_int_t)report->nr_shards, "seconds", t->seconds,
		"first_finding_s",
		t->first_finding_s < 0 ? json_null() : json_real(t->first_finding_s), "gaps",
		gaps && *gaps ? gaps : NULL, "in_recovery", (json_int_t)t->in_recovery,
		"not_deterministic", (json_int_t)t->not_deterministic, "points_left_out",
		(json_int_t)t->points_left_out, "atomic", model.atomic, "unit_bytes",
		(json_int_t)model.unit_bytes, "states_of", report_model_words(&model, states),
		"coarse", report_coarse_words(&model, coarse), "discards",
		report_discard_words(&model), "findings", report->findings);
}

/* ------------------------------------------------------------------------------ words */

struct report_model report_model(const json_t *head)
{
	return (struct report_model){
		.unit_bytes = (uint64_t)report_int(head, "unit_bytes"),
		.atomic = report_text(head, "atomic"),
		.least_bytes = (uint64_t)report_int(head, "least_bytes"),
		.discards = report_int(head, "discards") > 0,
	};
}

static const char *size_words(uint64_t bytes, char text[UNITS_MAX])
{
	if (bytes && bytes % 1024 == 0 && bytes < 1u << 20)
		snprintf(text, UNITS_MAX, "%" PRIu64 " KiB", bytes / 1024);
	else if (bytes && bytes % (1u << 20) == 0)
		snprintf(text, UNITS_MAX, "%" PRIu64 " MiB", bytes >> 20);
	else
		snprintf(text, UNITS_MAX, "%" PRIu64 " bytes", bytes);
	return text;
}

const char *report_model_words(const struct report_model *model, char text[REPORT_MODEL_MAX])
{
	char size[UNITS_MAX];

	if (strcmp(model->atomic, "write") == 0)
		return "whole writes, each by itself";
	if (strcmp(model->atomic, "order") == 0)
		return "whole writes, in an order that the disk may have kept";
	snprintf(text, REPORT_MODEL_MAX, "units of %s, each by itself",
		 size_words(model->unit_bytes, size));
	return text;
}

const char *report_coarse_words(const struct report_model *model, char text[REPORT_MODEL_MAX])
{
	bool is_unit = strcmp(model->atomic, "unit") == 0;
	char least[UNITS_MAX];

	if (!model->least_bytes || (is_unit && model->least_bytes >= model->unit_bytes))
		return NULL;
	snprintf(
		text, REPORT_MODEL_MAX,
		"a disk of the recording may keep or lose %s separately, and these states are left "
		"out; explore%s --unit %" PRIu64 " explores them",
		size_words(model->least_bytes, least), is_unit ? "" : " --atomic unit",
		model->least_bytes);
	return text;
}

const char *report_discard_words(const struct report_model *model)
{
	if (!model->discards)
		return NULL;
	return "discarded sectors read as zeroes in all states; a disk that returns other content "
	       "there has more states";
}

struct report_loss report_loss(const json_t *finding)
{
	const json_t *repeated = json_object_get(finding, "repeated");
	json_int_t listed = (json_int_t)json_array_size(json_object_get(finding, "lost"));
	json_int_t nr = report_int(finding, "nr_lost"), found;

	nr = nr > listed ? nr : listed;
	found = report_int(finding, "nr_found_lost");
	return (struct report_loss){
		.repeated = json_is_true(repeated)    ? REPORT_FAILED_AGAIN
			    : json_is_false(repeated) ? REPORT_PASSED_THEN
						      : REPORT_NOT_REPEATED,
		.shrunk = report_bool(finding, "shrunk"),
		.reordered = report_bool(finding, "reordered"),
		.missing = json_is_object(json_object_get(finding, "missing")),
		.nr_lost = (uint64_t)nr,
		.nr_found_lost = (uint64_t)(found > nr ? found : nr),
		.shrink_runs = (uint64_t)report_int(finding, "shrink_runs"),
		.in_recovery = report_bool(finding, "in_recovery"),
	};
}

const char *report_loss_words(const struct report_loss *loss, char text[REPORT_LOSS_MAX])
{
	const char *others = loss->reordered ? ", with other writes reordered" : "";

	if (loss->repeated == REPORT_PASSED_THEN)
		return "did not fail when repeated: it is not deterministic";
	if (loss->repeated == REPORT_FAILED_AGAIN && !loss->nr_lost)
		return loss->reordered
			       ? "no write is lost: writes that were in flight at the same time "
				 "were reordered"
		       : loss->missing
			       ? "the check fails with no write lost: the data was acknowledged "
				 "before it was written"
		       : loss->in_recovery ? "recovery fails with no write lost"
					   : "the check fails with no write lost";
	if (loss->repeated == REPORT_NOT_REPEATED && !loss->shrunk)
		snprintf(text, REPORT_LOSS_MAX,
			 "not repeated; found with %" PRIu64 " lost write%s%s", loss->nr_found_lost,
			 loss->nr_found_lost == 1 ? "" : "s", others);
	else
		snprintf(text, REPORT_LOSS_MAX,
			 "%" PRIu64 " of %" PRIu64 " lost writes suffice%s%s, found in %" PRIu64
			 " runs",
			 loss->nr_lost, loss->nr_found_lost, loss->shrunk ? "" : " (fewer may be)",
			 others, loss->shrink_runs);
	return text;
}

/* ------------------------------------------------------------------------------ text */

/*
 * At most @max bytes of what anybody may have written; @one_line: up to its first newline. Without
 * it lines are indented, so that none looks like one of ours.
 */
static void put_clean(FILE *out, const char *text, size_t max, bool one_line)
{
	size_t len = strnlen(text, max), used;
	char shown[PRINTABLE_MAX];

	for (size_t i = 0; i < len; i += used) {
		size_t n = printable_next(text + i, len - i, shown, &used);

		if (!used) /* the end cuts a character */
			break;
		if (text[i] == '\n' && one_line)
			break;
		if (text[i] == '\n')
			fputs("\n      ", out);
		else
			fwrite(shown, 1, n, out);
	}
}

static void put_field(FILE *out, const char *name, const char *text)
{
	fprintf(out, "%-12s", name);
	put_clean(out, text, 400, false);
	fputc('\n', out);
}

static void put_recording(const struct report *report, FILE *out)
{
	const json_t *recording = json_object_get(report->head, "recording");
	const json_t *recovery = json_object_get(report->head, "recovery");
	size_t disks = json_array_size(json_object_get(recording, "disks"));

	put_field(out, "recording", report_text(recording, "path"));
	fprintf(out, "            %zu disk%s, %lld writes, %lld flushes, %lld marks\n", disks,
		disks == 1 ? "" : "s", (long long)report_int(recording, "writes"),
		(long long)report_int(recording, "flushes"),
		(long long)report_int(recording, "marks"));
	if (json_is_string(recovery))
		put_field(out, "recovery", json_string_value(recovery));
	put_field(out, "check", report_text(report->head, "check"));
	if (report_bool(report->head, "illegal"))
		put_field(out, "states", "also states that only false acknowledgements leave");
}

/* What the legal states are. */
static void put_model(const struct report *report, FILE *out)
{
	const struct report_model model = report_model(report->head);
	char text[REPORT_MODEL_MAX];
	const char *words = report_model_words(&model, text);

	fprintf(out, "            of %s\n", words);
	words = report_coarse_words(&model, text);
	if (words)
		fprintf(out, "            %s\n", words);
	words = report_discard_words(&model);
	if (words)
		fprintf(out, "            %s\n", words);
}

static void put_numbers(const struct report *report, FILE *out)
{
	const struct report_totals *t = &report->totals;
	char seconds[UNITS_MAX], first[UNITS_MAX];

	fprintf(out, "states      %llu, distinct %llu, equivalent %llu\n",
		(unsigned long long)t->states, (unsigned long long)t->distinct,
		(unsigned long long)t->equivalent);
	fprintf(out, "verdicts    ");
	for (int i = 0; i < REPORT_NR_VERDICTS; i++)
		fprintf(out, "%s%s %llu", i ? ", " : "", report_verdict_name(i),
			(unsigned long long)t->verdicts[i]);
	if (t->in_recovery)
		fprintf(out,
			"\n            %llu of these are verdicts of recovery, without a check",
			(unsigned long long)t->in_recovery);
	fprintf(out,
		"\ncoverage    %s%.3g%% of the legal states, mean of %lld crash points; complete in %llu\n",
		t->exact ? "" : "at least ", t->covered * 100,
		(long long)report_int(report->head, "points"),
		(unsigned long long)t->points_complete);
	put_model(report, out);
	if (t->points_left_out)
		fprintf(out,
			"            %llu more crash points were left out by --from, --to or --sample\n",
			(unsigned long long)t->points_left_out);
	if (t->points_missing)
		fprintf(out,
			"            %llu crash points have legal states that were not built, and count "
			"as not covered\n",
			(unsigned long long)t->points_missing);
	fprintf(out, "time        %s",
		units_human_time((uint64_t)(fmin(t->seconds, 1e9) * 1e9), seconds));
	if (report->nr_shards > 1)
		fprintf(out, " in %u shards, the longest %s", report->nr_shards,
			units_human_time((uint64_t)(fmin(t->longest_s, 1e9) * 1e9), seconds));
	if (t->first_finding_s >= 0)
		fprintf(out, "; first finding after %s",
			units_human_time((uint64_t)(fmin(t->first_finding_s, 1e9) * 1e9), first));
	fprintf(out, "\nfindings    %zu", json_array_size(report->findings));
	if (t->not_deterministic)
		fprintf(out, ", of which %llu did not fail when repeated",
			(unsigned long long)t->not_deterministic);
	fputc('\n', out);
}

static void put_write(const struct report *report, const char *what, const json_t *w, FILE *out)
{
	const json_t *recording = json_object_get(report->head, "recording");
	const json_t *disks = json_object_get(recording, "disks");
	char size[UNITS_MAX], at[UNITS_MAX];

	fprintf(out, "    %s write %lld: sector %lld, %s, at %s", what,
		(long long)report_int(w, "write"), (long long)report_int(w, "sector"),
		units_format_size((uint64_t)report_int(w, "len_bytes"), size),
		units_human_time((uint64_t)report_int(w, "time_ns") -
					 (uint64_t)report_int(recording, "start_ns"),
				 at));
	if (json_array_size(disks) > 1) {
		fputs(", disk ", out);
		put_clean(out,
			  report_text(json_array_get(disks, (size_t)report_int(w, "disk")), "name"),
			  64, true);
	}
	if (*report_text(w, "name")) {
		fputs(", ", out);
		put_clean(out, report_text(w, "name"), 200, true);
	}
	fputc('\n', out);
}

static void put_lost(const struct report *report, const json_t *finding, FILE *out)
{
	const json_t *missing = json_object_get(finding, "missing");
	const json_t *list = json_object_get(finding, "lost");
	size_t nr = json_array_size(list), most = 8;
	json_int_t all = report_int(finding, "nr_lost");

	for (size_t i = 0; i < nr && i < most; i++)
		put_write(report, "lost", json_array_get(list, i), out);
	all = all > (json_int_t)nr ? all : (json_int_t)nr;
	if (all > (json_int_t)most)
		fprintf(out, "    and %lld more writes\n", (long long)all - (long long)most);
	if (json_is_object(missing))
		put_write(report, "missing", missing, out);
}

static void put_finding(const struct report *report, const json_t *f, FILE *out)
{
	json_int_t same = (json_int_t)json_array_size(json_object_get(f, "same_as")) +
			  report_int(f, "more_same");
	const char *found = report_text(f, "state"), *minimal = report_text(f, "minimal");
	const struct report_loss loss = report_loss(f);
	char words[REPORT_LOSS_MAX];

	fprintf(out, "\n%3lld %s%s%s at point %lld, state ", (long long)report_int(f, "n"),
		report_text(f, "verdict"), loss.in_recovery ? " of recovery" : "",
		loss.repeated == REPORT_FAILED_AGAIN ? ", and again when repeated," : "",
		(long long)report_int(f, "point"));
	put_clean(out, *minimal ? minimal : found, 120, true);
	fprintf(out, ": %s\n", report_loss_words(&loss, words));
	put_lost(report, f, out);
	if (*minimal && strcmp(minimal, found) != 0) {
		fputs("    found as: ", out);
		put_clean(out, found, 120, true);
		fputc('\n', out);
	}
	if (same > 0)
		fprintf(out, "    %lld other state%s lost the same writes\n", (long long)same,
			same == 1 ? "" : "s");
	if (*report_text(f, "output")) {
		fputs("    said: ", out);
		put_clean(out, report_text(f, "output"), 200, true);
		fputc('\n', out);
	}
	if (*report_text(f, "command")) {
		fputs("    again: ", out);
		put_clean(out, report_text(f, "command"), 4096, false);
		fputc('\n', out);
	}
	if (*report_text(f, "reproducer")) {
		fputs("    file: ", out);
		put_clean(out, report_text(f, "reproducer"), 4096, false);
		fputc('\n', out);
	}
}

void report_print(const struct report *report, FILE *out)
{
	const size_t most = 100, nr = json_array_size(report->findings);

	put_recording(report, out);
	put_numbers(report, out);
	for (size_t i = 0; i < nr && i < most; i++)
		put_finding(report, json_array_get(report->findings, i), out);
	if (nr > most)
		fprintf(out, "\nand %zu more findings; --json or --html lists all\n", nr - most);
}
