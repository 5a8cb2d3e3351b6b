// SPDX-License-Identifier: MIT
/*
 * Results read. Each file is read into lists of its own; what describes the recording is taken from
 * the file that has most of it (all have the same, unless they are cut), the rest goes to the shard
 * that the file is of.
 */
#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/meter.h"
#include "tools/report/line.h"
#include "tools/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdict_names[REPORT_NR_VERDICTS] = {
	[REPORT_OK] = "ok",       [REPORT_FAIL] = "fail",   [REPORT_TIMEOUT] = "timeout",
	[REPORT_CRASH] = "crash", [REPORT_ERROR] = "error",
};

/* Members that are the same in all shards of one exploration. */
static const char *const same_members[] = {
	"check", "recovery",   "present", "unit_bytes", "atomic", "illegal", "strategies",
	"seed",  "by_content", "sample",  "shards",     "points", "version",
};
/* The same, but older files do not have them; then the lines of their crash points are compared. */
static const char *const newer_members[] = { "set", "from", "to", "all_points" };

struct reader {
	struct report *report;
	const char *file;
	struct diag *diag;
	struct results_source source;
	struct results_limits limits; /* told by the head */
	json_t *head, *writes, *flushes, *marks, *points, *done, *findings, *block, *end;
	uint32_t shard;
	struct meter meter;
};

/* ------------------------------------------------------------------------------ members */

const char *report_verdict_name(enum report_verdict verdict)
{
	return verdict_names[verdict];
}

enum report_verdict report_verdict(const char *name)
{
	int i = 0;

	while (i < REPORT_NR_VERDICTS && strcmp(verdict_names[i], name) != 0)
		i++;
	return (enum report_verdict)i;
}

bool report_is_finding(enum report_verdict verdict)
{
	return verdict == REPORT_FAIL || verdict == REPORT_TIMEOUT || verdict == REPORT_CRASH;
}

int report_order(uint64_t point, const char *name, uint64_t other_point, const char *other)
{
	size_t len = strlen(name), other_len = strlen(other);

	if (point != other_point)
		return point < other_point ? -1 : 1;
	if (len != other_len)
		return len < other_len ? -1 : 1;
	return strcmp(name, other);
}

json_int_t report_int(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

double report_real(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

const char *report_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

bool report_bool(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* ------------------------------------------------------------------------------ the head */

static int bad(struct reader *r, const char *what, const char *wanted)
{
	char words[256];

	snprintf(words, sizeof(words), "%s, wanted %s", what, wanted);
	return results_bad_line(&r->source, words, NULL, r->diag);
}

static int differs(struct reader *r, const char *what, const json_t *there, const json_t *here)
{
	_cleanup_free_ char *was = json_dumps(there, JSON_ENCODE_ANY | JSON_COMPACT);
	_cleanup_free_ char *is = json_dumps(here, JSON_ENCODE_ANY | JSON_COMPACT);

	diag_set(r->diag, -EINVAL, "report.differs",
		 "the files are of different explorations: %s is %.80s in %.100s and %.80s in "
		 "%.100s",
		 what, was ? was : "not given", r->report->head_file, is ? is : "not given",
		 r->file);
	diag_hint(r->diag, "report on them one by one");
	return -EINVAL;
}

/* Not of one exploration, though all else may be the same: their steps cannot be compared. */
static int other_steps(struct reader *r)
{
	const bool older = results_have_record_steps(r->report->head);

	diag_set(r->diag, -EINVAL, "report.differs",
		 "%.100s was made by an older program, which numbered steps in another way than "
		 "%.100s does",
		 older ? r->file : r->report->head_file, older ? r->report->head_file : r->file);
	diag_hint(r->diag, "report on them one by one, or explore again");
	return -EINVAL;
}

static int check_same(struct reader *r, const json_t *head)
{
	const json_t *ours = r->report->head;
	const json_t *was = json_object_get(json_object_get(ours, "recording"), "id");
	const json_t *is = json_object_get(json_object_get(head, "recording"), "id");

	if (!was || !is || !json_equal(was, is))
		return differs(r, "the recording", was, is);
	if (results_have_record_steps(head) != results_have_record_steps(ours))
		return other_steps(r);
	for (size_t i = 0; i < array_size(same_members); i++) {
		was = json_object_get(ours, same_members[i]);
		is = json_object_get(head, same_members[i]);
		if ((was || is) && !json_equal(was, is))
			return differs(r, same_members[i], was, is);
	}
	for (size_t i = 0; i < array_size(newer_members); i++) {
		was = json_object_get(ours, newer_members[i]);
		is = json_object_get(head, newer_members[i]);
		if (was && is && !json_equal(was, is))
			return differs(r, newer_members[i], was, is);
	}
	return 0;
}

/* Shards have the same crash points; one that is cut has the first of them. */
static int check_points(struct reader *r)
{
	static const char *const members[] = { "step", "time_ns", "why", "marks" };
	const json_t *ours = r->report->points, *here;
	char what[64];
	size_t i;

	json_array_foreach (r->points, i, here) {
		const json_t *there = json_array_get(ours, i);

		for (size_t k = 0; there && k < array_size(members); k++) {
			const json_t *was = json_object_get(there, members[k]);
			const json_t *is = json_object_get(here, members[k]);

			snprintf(what, sizeof(what), "%s of point %zu", members[k], i);
			if ((was || is) && !json_equal(was, is))
				return differs(r, what, was, is);
		}
	}
	return 0;
}

static int start_shards(struct report *report, json_t *head, const char *file, uint32_t nr)
{
	report->shards =
		fail_alloc("tools/report/read/shards", calloc(nr, sizeof(*report->shards)));
	report->head_file = fail_alloc("tools/report/read/head", strdup(file));
	if (!report->shards || !report->head_file)
		return -ENOMEM;
	report->nr_shards = nr;
	report->head = json_incref(head);
	return 0;
}

static int read_head(struct reader *r, json_t *line)
{
	json_int_t shards = report_int(line, "shards"), shard = report_int(line, "shard");
	json_int_t points = report_int(line, "points");
	json_int_t writes = report_int(json_object_get(line, "recording"), "writes");
	int err = 0;

	if (!json_is_string(json_object_get(json_object_get(line, "recording"), "id")))
		return bad(r, "no recording with an id", "one");
	if (shards < 1 || shards > RESULTS_SHARDS_MAX || shard < 0 || shard >= shards)
		return bad(r, "an impossible shard", "a shard of 1 to 65536, counted from 0");
	if (points < 0 || points > REPORT_POINTS_MAX)
		return bad(r, "an impossible number of points", "at most 16777216");
	if (!r->report->head)
		err = start_shards(r->report, line, r->file, (uint32_t)shards);
	else
		err = check_same(r, line);
	if (err == -ENOMEM)
		return diag_set(r->diag, err, "report.memory", "no memory for %.200s", r->file);
	if (!err && r->head && shard != r->shard)
		return bad(r, "another shard in the same file", "one shard in each");
	if (!err && !r->head)
		r->head = json_incref(line);
	r->shard = (uint32_t)shard;
	r->limits = (struct results_limits){ .points = (uint64_t)points,
					     .writes = writes > 0 ? (uint64_t)writes : 0 };
	return err;
}

/* ------------------------------------------------------------------------------ lines */

static bool read_key(const char *hex, uint64_t *ret_key)
{
	if (strlen(hex) != 16 || strspn(hex, "0123456789abcdefABCDEF") != 16)
		return false;
	*ret_key = strtoull(hex, NULL, 16);
	return true;
}

static int read_point(const struct reader *r, const json_t *line, uint32_t *ret_point)
{
	const json_t *value = json_object_get(line, "point");
	json_int_t point = json_integer_value(value);

	if (!json_is_integer(value) || point < 0 || point >= report_int(r->head, "points"))
		return -EINVAL;
	*ret_point = (uint32_t)point;
	return 0;
}

static int read_state(struct reader *r, json_t *line, const char *bytes, size_t len)
{
	struct report_state state = {
		.line = bytes, .len = len, .shard = r->shard, .source = r->report->nr_sources
	};

	if (read_point(r, line, &state.point))
		return bad(r, "a state without a point", "one of the exploration's points");
	if (!read_key(report_text(line, "key"), &state.key))
		return bad(r, "a state without a key", "16 hexadecimal digits");
	state.verdict = report_verdict(report_text(line, "verdict"));
	if (state.verdict == REPORT_NR_VERDICTS)
		return bad(r, "an unknown verdict", "ok, fail, timeout, crash or error");
	if (!json_is_string(json_object_get(line, "state")))
		return bad(r, "a state without a name", "text");
	state.ms = report_real(line, "ms");
	state.in_recovery = report_bool(line, "in_recovery");
	state.name = fail_alloc("tools/report/read/name", strdup(report_text(line, "state")));
	if (!state.name || array_room("tools/report/read/states", r->report->states,
				      r->report->max_states, r->report->nr_states + 1, 256)) {
		free(state.name);
		return diag_set(r->diag, -ENOMEM, "report.memory", "no memory for states");
	}
	r->report->states[r->report->nr_states++] = state;
	return 0;
}

static int read_done(struct reader *r, json_t *line)
{
	uint32_t point;
	char name[16];

	if (read_point(r, line, &point))
		return bad(r, "a result with an unknown point", "one of the exploration's points");
	snprintf(name, sizeof(name), "%u", point);
	json_object_set(r->done, name, line);
	return 0;
}

static int read_finding(struct reader *r, json_t *line)
{
	uint32_t point;

	if (read_point(r, line, &point) || !json_is_string(json_object_get(line, "state")))
		return bad(r, "a finding without a point or a state", "both");
	if (!report_is_finding(report_verdict(report_text(line, "verdict"))))
		return bad(r, "a finding with an invalid verdict", "fail, timeout or crash");
	json_array_append(r->block, line);
	return 0;
}

/* A run that went on from another lists all findings again: the last list that was ended holds. */
static int read_end(struct reader *r, json_t *line)
{
	json_decref(r->findings);
	r->findings = r->block;
	r->block = json_array();
	json_decref(r->end);
	r->end = json_incref(line);
	return 0;
}

/* Lists that a shard may hold twice: a line is taken when its number is past the last one's. */
static int append(struct reader *r, json_t *list, json_t *line, const char *number, bool dense)
{
	size_t nr = json_array_size(list);
	const json_t *last = nr ? json_array_get(list, nr - 1) : NULL;
	json_int_t value = report_int(line, number);

	if (!json_is_integer(json_object_get(line, number)) || value < 0)
		return bad(r, "a line without its number", "a whole number");
	if (dense ? value == (json_int_t)nr : !last || value > report_int(last, number))
		json_array_append(list, line);
	return 0;
}

static int read_line(struct reader *r, json_t *line, const char *bytes, size_t len)
{
	const char *type = report_text(line, "type"), *fault = NULL;

	if (strcmp(type, "explore") == 0)
		return read_head(r, line);
	if (r->source.sealed)
		fault = results_line_fault(line, &r->limits);
	if (fault)
		return results_bad_line(&r->source, fault, NULL, r->diag);
	if (strcmp(type, "state") == 0)
		return read_state(r, line, bytes, len);
	if (strcmp(type, "write") == 0)
		return append(r, r->writes, line, "n", false);
	if (strcmp(type, "flush") == 0)
		return append(r, r->flushes, line, "submit", false);
	if (strcmp(type, "mark") == 0)
		return append(r, r->marks, line, "n", true);
	if (strcmp(type, "point") == 0)
		return append(r, r->points, line, "point", true);
	if (strcmp(type, "done") == 0)
		return read_done(r, line);
	if (strcmp(type, "finding") == 0)
		return read_finding(r, line);
	return strcmp(type, "end") == 0 ? read_end(r, line) : 0;
}

/* What a kill leaves: no end, or, where there are no seals, an end and no JSON. */
static bool is_cut(const struct reader *r, const char *at, const char *stop, const char *end)
{
	json_error_t error;
	json_t *line;

	if (!stop || stop + 1 < end || r->source.sealed)
		return !stop;
	line = json_loadb(at, (size_t)(stop - at), JSON_REJECT_DUPLICATES, &error);
	json_decref(line);
	return !line;
}

static int read_lines(struct reader *r, const char *bytes, size_t size)
{
	const char *at = bytes, *end = bytes + size;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		json_t *line;
		int err;

		meter_at(&r->meter, (uint64_t)(at - bytes));
		if (is_cut(r, at, stop, end)) {
			r->report->nr_cut++;
			return 0;
		}
		err = results_take(&r->source, at, (size_t)(stop - at), r->diag, &line);
		if (err)
			return err;
		err = read_line(r, line, at, (size_t)(stop - at));
		json_decref(line);
		if (err)
			return err;
		at = stop + 1;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ the whole */

static void keep_longer(json_t **kept, json_t **list)
{
	if (!*kept || json_array_size(*list) > json_array_size(*kept)) {
		json_t *old = *kept;

		*kept = *list;
		*list = old;
	}
}

/*
 * Of a shard that was read twice: the one that came to its end, that did more, that has more
 * findings; then any, but the same one in each order of the files.
 */
static bool is_better(const struct reader *r, const struct report_shard *shard, const char *bytes,
		      size_t size)
{
	size_t done = json_object_size(r->done), findings = json_array_size(r->findings);
	int order;

	if (!shard->file)
		return true;
	if (!r->end != !shard->end)
		return r->end;
	if (done != shard->nr_done)
		return done > shard->nr_done;
	if (findings != json_array_size(shard->findings))
		return findings > json_array_size(shard->findings);
	if (size != shard->size)
		return size > shard->size;
	order = memcmp(bytes, shard->bytes, size);
	return order > 0;
}

static int compare_reals(double a, double b)
{
	return a < b ? -1 : a > b;
}

/* Which of two lines of one crash point, of one shard, knows more; then any, but always the same one. */
static int compare_done(const json_t *a, const json_t *b)
{
	_cleanup_free_ char *one = NULL, *other = NULL;
	int order = report_bool(a, "complete") - report_bool(b, "complete");

	if (!order)
		order = report_bool(a, "exact") - report_bool(b, "exact");
	if (!order)
		order = compare_reals(report_real(a, "covered"), report_real(b, "covered"));
	if (!order)
		order = compare_reals(report_real(a, "generated"), report_real(b, "generated"));
	if (order)
		return order;
	one = json_dumps(a, JSON_COMPACT | JSON_SORT_KEYS);
	other = json_dumps(b, JSON_COMPACT | JSON_SORT_KEYS);
	return one && other ? strcmp(one, other) : 0;
}

static int no_memory(struct reader *r, int err)
{
	return err ? diag_set(r->diag, err, "report.memory", "no memory for shards") : 0;
}

/* One line of two of a crash point; that one of the runs went astray is not forgotten. New. */
static json_t *better_done(json_t *a, json_t *b)
{
	json_int_t diverged = report_int(a, "diverged") > report_int(b, "diverged")
				      ? report_int(a, "diverged")
				      : report_int(b, "diverged");
	json_t *better = json_copy(compare_done(a, b) > 0 ? a : b);

	if (better && report_int(better, "diverged") != diverged)
		json_object_set_new(better, "diverged", json_integer(diverged));
	return better;
}

/* What another file of this shard knows of its crash points. */
static int add_done(json_t *done, const json_t *others)
{
	const char *name;
	json_t *line;
	int failed = 0;

	json_object_foreach ((json_t *)others, name, line) {
		json_t *ours = json_object_get(done, name);

		if (ours)
			failed |= json_object_set_new(done, name, better_done(line, ours));
		else
			failed |= json_object_set(done, name, line);
	}
	return failed ? -ENOMEM : 0;
}

static int keep_shard(struct reader *r, const char *bytes, size_t size)
{
	struct report_shard *shard = &r->report->shards[r->shard];
	size_t nr_done = json_object_size(r->done);
	char *file;

	if (json_array_size(r->findings) == 0 && !r->end) {
		json_decref(r->findings);
		r->findings = json_incref(r->block);
	}
	if (!is_better(r, shard, bytes, size))
		return no_memory(r, add_done(shard->done, r->done));
	if (no_memory(r, shard->done ? add_done(r->done, shard->done) : 0))
		return -ENOMEM;
	file = fail_alloc("tools/report/read/file", strdup(r->file));
	if (!file)
		return diag_set(r->diag, -ENOMEM, "report.memory", "no memory for shards");
	free(shard->file);
	json_decref(shard->done);
	json_decref(shard->findings);
	json_decref(shard->end);
	*shard = (struct report_shard){ .file = file,
					.bytes = bytes,
					.size = size,
					.source = r->report->nr_sources,
					.nr_done = nr_done,
					.done = json_incref(r->done),
					.findings = json_incref(r->findings),
					.end = json_incref(r->end) };
	return 0;
}

int report_read(struct report *report, const char *file, const char *bytes, size_t size,
		struct diag *diag)
{
	struct reader r = { .report = report,
			    .file = file,
			    .diag = diag,
			    .source = { .file = file },
			    .writes = json_array(),
			    .flushes = json_array(),
			    .marks = json_array(),
			    .points = json_array(),
			    .done = json_object(),
			    .findings = json_array(),
			    .block = json_array() };
	json_t **owned[] = { &r.head, &r.writes,   &r.flushes, &r.marks, &r.points,
			     &r.done, &r.findings, &r.block,   &r.end };
	int err;

	meter_begin(&r.meter, file, size, true);
	err = read_lines(&r, bytes, size);
	meter_end(&r.meter);

	if (!err && !r.head) {
		err = diag_set(diag, -EINVAL, "report.empty", "%.200s holds no results", file);
		diag_hint(diag, "it must begin with a line of type explore");
	}
	if (!err)
		err = check_points(&r);
	if (!err) {
		keep_longer(&report->writes, &r.writes);
		keep_longer(&report->flushes, &r.flushes);
		keep_longer(&report->marks, &r.marks);
		keep_longer(&report->points, &r.points);
		err = keep_shard(&r, bytes, size);
	}
	report->nr_sources++;
	for (size_t i = 0; i < array_size(owned); i++)
		json_decref(*owned[i]);
	return err;
}

void report_init(struct report *report)
{
	*report = (struct report){ .nr_shards = 0 };
}

void report_clear(struct report *report)
{
	for (size_t i = 0; i < report->nr_states; i++)
		free(report->states[i].name);
	for (uint32_t i = 0; i < report->nr_shards; i++) {
		free(report->shards[i].file);
		json_decref(report->shards[i].done);
		json_decref(report->shards[i].findings);
		json_decref(report->shards[i].end);
	}
	free(report->states);
	free(report->shards);
	free(report->head_file);
	json_decref(report->head);
	json_decref(report->writes);
	json_decref(report->flushes);
	json_decref(report->marks);
	json_decref(report->points);
	json_decref(report->done);
	json_decref(report->findings);
	report_init(report);
}
