// SPDX-License-Identifier: MIT
/*
 * The page: a template that the build made of tools/report/, with a title and the data put in. The
 * data is JSON whose every '<', '>' and '&' is escaped, in a script element that is not run; the
 * page's own script puts it in as text. So nothing that a check printed is ever read as HTML, and
 * what could not be seen, or would reorder what stands beside it, is shown as its number.
 */
#include "base/cleanup.h"
#include "base/printable.h"
#include "tools/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const char report_page_blob[], report_page_blob_end[];

/* So much goes into the page; the rest is counted there, and is in the results. */
#define WRITES_MAX   20000u
#define STATES_MAX   20000u
#define FAILED_MAX   5000u
#define LOST_MAX     64u
#define FINDINGS_MAX 5000u
#define POINTS_MAX   50000u

static int put_title(const char *text, size_t len, void *ctx)
{
	FILE *out = ctx;

	for (size_t i = 0, used; i < len; i += used) {
		char shown[PRINTABLE_MAX];
		size_t n = printable_next(text + i, len - i, shown, &used);

		used = used ? used : 1;
		if (*shown == '<' && n == 1)
			fputs("&lt;", out);
		else if (*shown == '>' && n == 1)
			fputs("&gt;", out);
		else if (*shown == '&' && n == 1)
			fputs("&amp;", out);
		else
			fwrite(shown, 1, n, out);
	}
	return 0;
}

/*
 * jansson hands over each of its escapes alone, as \uXXXX or two of them. Of a character that would
 * not be seen, or would move what stands beside it, the page shows the escape itself.
 */
static bool is_hidden_escape(const char *text, size_t len)
{
	unsigned int high, low;

	if (len == 6 && sscanf(text, "\\u%4x", &high) == 1)
		return !printable_is(high);
	if (len == 12 && sscanf(text, "\\u%4x\\u%4x", &high, &low) == 2)
		return !printable_is(0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff)));
	return false;
}

static int put_data(const char *text, size_t len, void *ctx)
{
	FILE *out = ctx;

	if (is_hidden_escape(text, len)) {
		for (size_t i = 0; i < len; i += 6)
			fprintf(out, "\\%.6s", text + i);
		return 0;
	}
	for (size_t i = 0; i < len; i++) {
		if (strchr("<>&", text[i]) && text[i])
			fprintf(out, "\\u%04x", (unsigned int)(unsigned char)text[i]);
		else if (text[i] == 0x7f)
			fputs("\\\\u007f", out);
		else
			fputc(text[i], out);
	}
	return 0;
}

/* ------------------------------------------------------------------------------ the data */

/* The first @max of a list, as arrays of these members. */
static json_t *columns(const json_t *list, const char *const *members, size_t nr_members,
		       size_t max)
{
	json_t *rows = json_array(), *line;
	size_t i;

	json_array_foreach (list, i, line) {
		json_t *row;

		if (i >= max)
			break;
		row = json_array();
		for (size_t m = 0; m < nr_members; m++) {
			json_t *value = json_object_get(line, members[m]);

			json_array_append_new(row, value ? json_incref(value) : json_null());
		}
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *first_lost(const json_t *line)
{
	json_t *list = json_array(), *value;
	size_t i;

	json_array_foreach (json_object_get(line, "lost"), i, value)
		if (i < LOST_MAX)
			json_array_append(list, value);
	return list;
}

static json_t *state_row(const struct report_state *state)
{
	json_t *line = json_loadb(state->line, state->len, 0, NULL), *row;

	row = json_pack("[i, s, i, s, f, o, I, I, I, b]", (int)state->point, state->name,
			(int)state->verdict, report_text(line, "strategy"), state->ms,
			first_lost(line), report_int(line, "nr_lost"), report_int(line, "exit"),
			report_int(line, "signal"), (int)state->in_recovery);
	json_decref(line);
	return row;
}

/* All that are not ok, as far as there is room, and of the others as many for each crash point. */
static json_t *state_rows(const struct report *report)
{
	size_t points = (size_t)report_int(report->head, "points");
	size_t share = STATES_MAX / (points ? points : 1), good = 0, failed = 0;
	json_t *rows = json_array();

	for (size_t i = 0; i < report->nr_states; i++) {
		const struct report_state *s = &report->states[i];

		if (i == 0 || s->point != s[-1].point)
			good = 0;
		if (s->verdict == REPORT_OK ? good++ < share + 1 : failed++ < FAILED_MAX)
			json_array_append_new(rows, state_row(s));
	}
	return rows;
}

/* For each crash point the verdicts of its states. */
static json_t *point_verdicts(const struct report *report)
{
	json_t *rows = json_array();
	size_t points = json_array_size(report->points), at = 0;

	for (size_t p = 0; p < points && p < POINTS_MAX; p++) {
		json_int_t nr[REPORT_NR_VERDICTS] = { 0 };

		for (; at < report->nr_states && report->states[at].point <= p; at++)
			nr[report->states[at].verdict]++;
		json_array_append_new(
			rows, json_pack("[I, I, I, I, I]", nr[0], nr[1], nr[2], nr[3], nr[4]));
	}
	return rows;
}

/* With their words, which are ours. */
static json_t *finding_rows(const struct report *report)
{
	json_t *rows = json_array(), *finding;
	size_t i;

	json_array_foreach (report->findings, i, finding) {
		const struct report_loss loss = report_loss(finding);
		char words[REPORT_LOSS_MAX];
		json_t *row;

		if (i >= FINDINGS_MAX)
			break;
		row = json_copy(finding);
		json_object_set_new(row, "words", json_string(report_loss_words(&loss, words)));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *page_data(const struct report *report)
{
	static const char *const write[] = { "n",     "disk",   "sector",   "len_bytes", "op",
					     "flags", "submit", "complete", "time_ns",   "end_ns",
					     "epoch", "failed", "lied" };
	static const char *const flush[] = { "disk", "submit", "complete", "time_ns", "lied" };
	static const char *const mark[] = { "step", "time_ns", "text" };
	static const char *const point[] = { "step", "time_ns", "why", "marks" };
	static const char *const done[] = { "choices",   "volatile", "legal",      "legal_log2",
					    "generated", "distinct", "equivalent", "covered",
					    "exact",     "complete", "diverged",   "missing" };
	json_t *summary = report_json(report);

	if (!summary)
		return NULL;
	json_object_set_new(summary, "nr_findings",
			    json_integer((json_int_t)json_array_size(report->findings)));
	json_object_del(summary, "findings");
	return json_pack("{s:O, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "head", report->head,
			 "summary", summary, "writes",
			 columns(report->writes, write, array_size(write), WRITES_MAX), "flushes",
			 columns(report->flushes, flush, array_size(flush), WRITES_MAX), "marks",
			 columns(report->marks, mark, array_size(mark), WRITES_MAX), "points",
			 columns(report->points, point, array_size(point), POINTS_MAX), "done",
			 columns(report->done, done, array_size(done), POINTS_MAX), "verdicts",
			 point_verdicts(report), "states", state_rows(report), "findings",
			 finding_rows(report));
}

/* ------------------------------------------------------------------------------ the page */

static int put_until(const char **at, const char *mark, FILE *out)
{
	const char *stop = memmem(*at, (size_t)(report_page_blob_end - *at), mark, strlen(mark));

	if (!stop)
		return -EINVAL;
	fwrite(*at, 1, (size_t)(stop - *at), out);
	*at = stop + strlen(mark);
	return 0;
}

int report_page(const struct report *report, FILE *out)
{
	const json_t *recording = json_object_get(report->head, "recording");
	const char *at = report_page_blob, *path = report_text(recording, "path");
	json_t *data = page_data(report);
	int err = data ? put_until(&at, "@TITLE@", out) : -ENOMEM;

	if (!err) {
		put_title(path, strlen(path), out);
		err = put_until(&at, "@DATA@", out);
	}
	if (!err)
		err = json_dump_callback(data, put_data, out, JSON_COMPACT | JSON_ENSURE_ASCII)
			      ? -ENOMEM
			      : 0;
	if (!err)
		fwrite(at, 1, (size_t)(report_page_blob_end - at), out);
	json_decref(data);
	return err ? err : ferror(out) ? -EIO : 0;
}
