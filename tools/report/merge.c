// SPDX-License-Identifier: MIT
/*
 * Shards made one. States are united by key; of two results of one key a verdict goes before
 * "could not be run", a finding before "ok", the first in order before others. What shards counted
 * adds up: a state belongs to one shard alone. Verdicts of a crash point are those of its states. Findings with the same lost writes are one, and each
 * state that fails belongs to one. Nothing depends on the order of the files.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ states */

/* How much a verdict says when two runs of one state differ. */
static int weight(enum report_verdict verdict)
{
	static const int weights[REPORT_NR_VERDICTS] = {
		[REPORT_ERROR] = 0, [REPORT_OK] = 1,   [REPORT_TIMEOUT] = 2,
		[REPORT_CRASH] = 3, [REPORT_FAIL] = 4,
	};

	return weights[verdict];
}

static int by_key(const void *a, const void *b)
{
	const struct report_state *s = a, *t = b;
	int order = weight(t->verdict) - weight(s->verdict);

	if (s->key != t->key)
		return s->key < t->key ? -1 : 1;
	if (!order)
		order = t->kept - s->kept;
	if (!order)
		order = report_order(s->point, s->name, t->point, t->name);
	/* Two that say the same, but for times and output. */
	if (!order && s->len != t->len)
		order = s->len < t->len ? -1 : 1;
	return order ? order : memcmp(s->line, t->line, s->len);
}

static int by_place(const void *a, const void *b)
{
	const struct report_state *s = a, *t = b;
	int order = report_order(s->point, s->name, t->point, t->name);

	if (order)
		return order;
	return s->key == t->key ? 0 : s->key < t->key ? -1 : 1;
}

static void unite_states(struct report *report)
{
	struct report_state *states = report->states;
	size_t nr = 0;
	bool counted = false;

	for (size_t i = 0; i < report->nr_states; i++)
		states[i].kept = states[i].source == report->shards[states[i].shard].source;
	if (report->nr_states)
		qsort(states, report->nr_states, sizeof(*states), by_key);
	for (size_t i = 0; i < report->nr_states; i++) {
		if (nr == 0 || states[nr - 1].key != states[i].key) {
			states[nr++] = states[i];
			counted = false;
			continue;
		}
		if (states[i].verdict != states[nr - 1].verdict &&
		    states[i].verdict != REPORT_ERROR && !counted) {
			report->totals.disagree++;
			counted = true;
		}
		free(states[i].name);
	}
	report->nr_states = nr;
	if (nr)
		qsort(states, nr, sizeof(*states), by_place);
	for (size_t i = 0; i < nr; i++) {
		report->totals.verdicts[states[i].verdict]++;
		report->totals.in_recovery +=
			states[i].in_recovery && report_is_finding(states[i].verdict);
	}
}

/* ------------------------------------------------------------------------------ crash points */

static void add_int(json_t *sum, const json_t *line, const char *name)
{
	json_int_t total;

	if (__builtin_add_overflow(report_int(sum, name), report_int(line, name), &total))
		total = INT64_MAX;
	json_object_set_new(sum, name, json_integer(total));
}

static void add_real(json_t *sum, const json_t *line, const char *name)
{
	double total = report_real(sum, name) + report_real(line, name);

	json_object_set_new(sum, name, json_real(isfinite(total) ? total : 0));
}

static void add_all(json_t *sum, const json_t *line, const char *name, bool whole)
{
	json_t *ours = json_object_get(sum, name), *theirs = json_object_get(line, name);
	const char *member;
	json_t *value;

	if (!json_is_object(theirs))
		return;
	if (!json_is_object(ours)) {
		ours = json_object();
		json_object_set_new(sum, name, ours);
	}
	json_object_foreach (theirs, member, value)
		whole ? add_int(ours, theirs, member) : add_real(ours, theirs, member);
}

/* Has it all legal states of its crash point, whatever others have? */
static bool is_whole(const json_t *line)
{
	return report_bool(line, "complete") && report_real(line, "covered") >= 1;
}

static void add_done(json_t **sum, const json_t *line)
{
	static const char *const counts[] = { "generated", "distinct", "equivalent", "diverged" };

	bool whole;

	if (!*sum) {
		*sum = json_deep_copy(line);
		return;
	}
	whole = is_whole(*sum) || is_whole(line);
	for (size_t i = 0; i < array_size(counts); i++)
		add_int(*sum, line, counts[i]);
	add_real(*sum, line, "covered");
	add_all(*sum, line, "verdicts", true);
	add_all(*sum, line, "shares", false);
	json_object_set_new(*sum, "complete", json_boolean(whole));
	if (!whole && !report_bool(line, "exact"))
		json_object_set_new(*sum, "exact", json_false());
	else if (whole)
		json_object_set_new(*sum, "exact", json_true());
}

/* All that the shards said of the crash points, at @sums[point], and how many of them did. */
static void sum_done(const struct report *report, size_t points, json_t **sums, uint32_t *nr)
{
	for (uint32_t i = 0; i < report->nr_shards; i++) {
		const char *name;
		json_t *line;

		json_object_foreach (report->shards[i].done, name, line) {
			size_t point = (size_t)report_int(line, "point");

			if (point >= points)
				continue;
			add_done(&sums[point], line);
			nr[point]++;
		}
	}
}

/* One shard had all of it, or each all of its own: it is complete, and wholly covered. */
static void settle_done(const struct report *report, json_t *sum, uint32_t nr)
{
	double covered = fmax(0, fmin(1, report_real(sum, "covered")));

	if (nr == report->nr_shards && report_bool(sum, "exact"))
		json_object_set_new(sum, "complete", json_true());
	else if (!is_whole(sum))
		json_object_set_new(sum, "exact", json_false());
	if (report_bool(sum, "complete"))
		covered = 1;
	json_object_set_new(sum, "covered", json_real(covered));
}

/* States by verdict. */
struct verdicts {
	uint64_t nr[REPORT_NR_VERDICTS];
};

/* The states of each crash point, at @verdicts[point]; returns those of crash points that their shard did not
 * come to the end of, which are not among them. */
static uint64_t count_states(const struct report *report, size_t points, struct verdicts *verdicts)
{
	uint64_t not_done = 0;

	for (size_t i = 0; i < report->nr_states; i++) {
		const struct report_state *state = &report->states[i];
		char name[16];

		snprintf(name, sizeof(name), "%u", state->point);
		if (state->point < points &&
		    json_object_get(report->shards[state->shard].done, name))
			verdicts[state->point].nr[state->verdict]++;
		else
			not_done++;
	}
	return not_done;
}

/* Of files that were run twice, or gone on from, only the states themselves say what is true. */
static void recount(json_t *sum, const struct verdicts *verdicts)
{
	json_int_t equivalent = report_int(sum, "equivalent"),
		   distinct = report_int(sum, "distinct");
	json_t *counts = json_object();
	json_int_t nr = 0;

	for (int i = 0; i < REPORT_NR_VERDICTS; i++) {
		json_object_set_new(counts, report_verdict_name(i),
				    json_integer((json_int_t)verdicts->nr[i]));
		nr += (json_int_t)verdicts->nr[i];
	}
	json_object_set_new(sum, "verdicts", counts);
	if (nr <= distinct || __builtin_add_overflow(nr, equivalent, &equivalent))
		return;
	json_object_set_new(sum, "distinct", json_integer(nr));
	json_object_set_new(sum, "generated", json_integer(equivalent));
}

static int merge_points(struct report *report)
{
	struct report_totals *t = &report->totals;
	size_t nr = (size_t)report_int(report->head, "points");
	_cleanup_free_ json_t **sums =
		fail_alloc("tools/report/merge/sums", calloc(nr + 1, sizeof(*sums)));
	_cleanup_free_ uint32_t *counts =
		fail_alloc("tools/report/merge/counts", calloc(nr + 1, sizeof(*counts)));
	_cleanup_free_ struct verdicts *verdicts =
		fail_alloc("tools/report/merge/verdicts", calloc(nr + 1, sizeof(*verdicts)));
	double covered = 0;
	int err = 0;

	if (!sums || !counts || !verdicts)
		return -ENOMEM;
	report->done = json_array();
	sum_done(report, nr, sums, counts);
	t->states += count_states(report, nr, verdicts);
	for (size_t i = 0; i < nr; i++) {
		json_t *line = sums[i];

		if (line) {
			settle_done(report, line, counts[i]);
			recount(line, &verdicts[i]);
		}
		/* Which takes the line even then. */
		if (json_array_append_new(report->done, line ? line : json_null()))
			err = -ENOMEM;
		if (!line || err)
			continue;
		t->points_done++;
		t->points_complete += report_bool(line, "complete");
		t->points_missing += report_bool(line, "missing");
		t->points_unmade += report_bool(line, "missing") && !report_int(line, "generated");
		t->states += (uint64_t)report_int(line, "generated");
		t->equivalent += (uint64_t)report_int(line, "equivalent");
		t->diverged += (uint64_t)report_int(line, "diverged");
		covered += report_real(line, "covered");
	}
	t->covered = nr ? covered / (double)nr : 0;
	t->exact = nr && t->points_complete == nr;
	return err;
}

/* ------------------------------------------------------------------------------ findings */

/*
 * What a finding is told by: its verdict, whether recovery had it or the check, what it lost,
 * whether the others came in another order, and whether it did not fail again, which says nothing of
 * one that did. From malloc.
 */
static char *loss_of(const json_t *finding)
{
	json_t *ids = json_array(), *lost = json_object_get(finding, "lost"), *one, *whole;
	json_int_t nr = report_int(finding, "nr_lost");
	size_t i;
	char *text;

	json_array_foreach (lost, i, one)
		json_array_append_new(ids, json_integer(report_int(one, "write")));
	if (nr < (json_int_t)json_array_size(ids))
		nr = (json_int_t)json_array_size(ids);
	whole = json_pack("[s, b, b, b, I, o]", report_text(finding, "verdict"),
			  (int)report_bool(finding, "in_recovery"),
			  (int)report_bool(finding, "reordered"),
			  json_is_false(json_object_get(finding, "repeated")), nr, ids);
	text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	return text;
}

static uint64_t step_of(const struct report *report, const json_t *finding)
{
	size_t point = (size_t)report_int(finding, "point");

	return (uint64_t)report_int(json_array_get(report->points, point), "step");
}

static int same_order(const void *a, const void *b)
{
	const char *s = json_string_value(*(json_t *const *)a);
	const char *t = json_string_value(*(json_t *const *)b);
	const char *name = strchr(s, ':'), *other = strchr(t, ':');

	return report_order(strtoull(s, NULL, 10), name ? name : s, strtoull(t, NULL, 10),
			    other ? other : t);
}

static bool in_list(const json_t *list, const char *text)
{
	json_t *value;
	size_t i;

	json_array_foreach (list, i, value)
		if (strcmp(json_string_value(value), text) == 0)
			return true;
	return false;
}

/* Explorations list fewer; of a longer list the rest is left out. */
#define NAMES_MAX (4 * REPORT_SAME_MAX)

static void add_names(json_t *list, const json_t *names)
{
	json_t *value;
	size_t i;

	json_array_foreach (names, i, value)
		if (i < NAMES_MAX && json_is_string(value) &&
		    !in_list(list, json_string_value(value)))
			json_array_append(list, value);
}

/* Sorted, and no more than a reader wants; the rest is counted. */
static int tidy_same(json_t *finding, json_t *list, json_int_t more)
{
	size_t nr = json_array_size(list);
	json_t **names = fail_alloc("tools/report/merge/names", calloc(nr + 1, sizeof(*names)));

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		names[i] = json_incref(json_array_get(list, i));
	qsort(names, nr, sizeof(*names), same_order);
	json_array_clear(list);
	for (size_t i = 0; i < nr; i++) {
		if (i < REPORT_SAME_MAX)
			json_array_append(list, names[i]);
		else
			more++;
		json_decref(names[i]);
	}
	free(names);
	json_object_set(finding, "same_as", list);
	json_object_set_new(finding, "more_same", json_integer(more));
	return 0;
}

/* One that failed again, and was made small with that, goes before one that nobody repeated. */
static bool goes_before(const json_t *new, const json_t *old)
{
	bool again = report_bool(new, "repeated");

	if (again != report_bool(old, "repeated"))
		return again;
	return report_order((uint64_t)report_int(new, "point"), report_text(new, "state"),
			    (uint64_t)report_int(old, "point"), report_text(old, "state")) < 0;
}

/* Two findings that are one: the first in order stands for both, the other is named. */
static int join(const struct report *report, json_t *groups, const char *loss, json_t *old,
		json_t *new)
{
	bool before = goes_before(new, old);
	json_t *first = before ? new : old, *other = before ? old : new;
	_cleanup_free_ char *name = NULL;
	json_t *list = json_array();
	int err;

	add_names(list, json_object_get(first, "same_as"));
	add_names(list, json_object_get(other, "same_as"));
	if (strcmp(report_text(first, "key"), report_text(other, "key")) != 0 &&
	    asprintf(&name, "%" PRIu64 ":%s", step_of(report, other),
		     report_text(other, "state")) >= 0 &&
	    !in_list(list, name))
		json_array_append_new(list, json_string(name));
	err = tidy_same(first, list,
			report_int(first, "more_same") + report_int(other, "more_same"));
	json_decref(list);
	return json_object_set(groups, loss, first) ? -ENOMEM : err;
}

static int add_finding(const struct report *report, json_t *groups, const json_t *finding)
{
	_cleanup_free_ char *loss = loss_of(finding);
	json_t *old = loss ? json_object_get(groups, loss) : NULL;
	json_t *new = json_deep_copy(finding), *list;
	int err;

	if (!loss || !new) {
		json_decref(new);
		return -ENOMEM;
	}
	json_incref(old);
	list = json_array();
	add_names(list, json_object_get(new, "same_as"));
	err = tidy_same(new, list, report_int(new, "more_same"));
	json_decref(list);
	if (!err && old)
		err = join(report, groups, loss, old, new);
	else if (!err)
		err = json_object_set(groups, loss, new) ? -ENOMEM : 0;
	json_decref(old);
	json_decref(new);
	return err;
}

/* A write as findings name it, from its number. */
static json_t *lost_write(const struct report *report, json_int_t n)
{
	size_t low = 0, high = json_array_size(report->writes);
	const json_t *write;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (report_int(json_array_get(report->writes, middle), "n") < n)
			low = middle + 1;
		else
			high = middle;
	}
	write = json_array_get(report->writes, low);
	if (report_int(write, "n") != n)
		write = NULL;
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:n}", "write", n, "disk",
			 report_int(write, "disk"), "sector", report_int(write, "sector"),
			 "len_bytes", report_int(write, "len_bytes"), "time_ns",
			 report_int(write, "time_ns"), "name");
}

/* Of a state that fails and that no finding of a file tells of. */
static json_t *finding_of_state(const struct report *report, const struct report_state *state)
{
	json_t *line = json_loadb(state->line, state->len, 0, NULL), *lost = json_array();
	json_t *value, *finding;
	size_t i;

	json_array_foreach (json_object_get(line, "lost"), i, value)
		json_array_append_new(lost, lost_write(report, json_integer_value(value)));
	finding = json_pack(
		"{s:s, s:I, s:s, s:s, s:s, s:o, s:I, s:I, s:n, s:b, s:I, s:n, s:s, s:n, "
		"s:n, s:[]}",
		"type", "finding", "point", (json_int_t)state->point, "state", state->name, "key",
		report_text(line, "key"), "verdict", report_verdict_name(state->verdict), "lost",
		lost, "nr_lost", report_int(line, "nr_lost"), "nr_found_lost",
		report_int(line, "nr_lost"), "repeated", "shrunk", 0, "shrink_runs", (json_int_t)0,
		"minimal", "output", report_text(line, "output"), "reproducer", "command",
		"same_as");
	if (finding && report_bool(line, "in_recovery"))
		json_object_set_new(finding, "in_recovery", json_true());
	if (finding && report_bool(line, "reordered"))
		json_object_set_new(finding, "reordered", json_true());
	json_decref(line);
	return finding;
}

static int by_finding(const void *a, const void *b)
{
	const json_t *s = *(json_t *const *)a, *t = *(json_t *const *)b;

	return report_order((uint64_t)report_int(s, "point"), report_text(s, "state"),
			    (uint64_t)report_int(t, "point"), report_text(t, "state"));
}

static int sort_findings(struct report *report, json_t *groups)
{
	size_t nr = 0;
	json_t **all = fail_alloc("tools/report/merge/findings",
				  calloc(json_object_size(groups) + 1, sizeof(*all)));
	json_t *value;
	const char *loss;

	report->findings = json_array();
	if (!all || !report->findings) {
		free(all);
		return -ENOMEM;
	}
	json_object_foreach (groups, loss, value)
		all[nr++] = value;
	qsort(all, nr, sizeof(*all), by_finding);
	for (size_t i = 0; i < nr; i++) {
		json_object_set_new(all[i], "n", json_integer((json_int_t)i));
		report->totals.not_deterministic +=
			json_is_false(json_object_get(all[i], "repeated"));
		json_array_append(report->findings, all[i]);
	}
	free(all);
	return 0;
}

/* Of which states the findings of a shard tell. */
struct told {
	json_t *names; /* "KEY" and "STEP:NAME" -> true */
	json_int_t more;
	uint64_t others; /* states that fail and are not named; at most @more: they are those */
};

#define TOLD_KEY_BYTES 17

static void put_key(char text[TOLD_KEY_BYTES], uint64_t key)
{
	snprintf(text, TOLD_KEY_BYTES, "%016" PRIx64, key);
}

static int add_told(struct told *told, const json_t *finding)
{
	const char *key = report_text(finding, "key");
	json_int_t more = report_int(finding, "more_same");
	char text[TOLD_KEY_BYTES];
	int failed = 0;
	json_t *value;
	size_t i;

	put_key(text, strtoull(key, NULL, 16));
	if (*key)
		failed |= json_object_set_new(told->names, text, json_true());
	json_array_foreach (json_object_get(finding, "same_as"), i, value)
		if (json_is_string(value))
			failed |= json_object_set_new_nocheck(told->names, json_string_value(value),
							      json_true());
	if (more > 0 && __builtin_add_overflow(told->more, more, &told->more))
		told->more = INT64_MAX;
	return failed ? -ENOMEM : 0;
}

/* 1, 0, or -ENOMEM. */
static int is_told(const struct report *report, const struct told *told,
		   const struct report_state *state)
{
	uint64_t step = (uint64_t)report_int(json_array_get(report->points, state->point), "step");
	_cleanup_free_ char *name = NULL;
	char key[TOLD_KEY_BYTES];

	put_key(key, state->key);
	if (json_object_get(told->names, key))
		return 1;
	if (asprintf(&name, "%" PRIu64 ":%s", step, state->name) < 0)
		return -ENOMEM;
	return json_object_get(told->names, name) != NULL;
}

/* What the shards' own findings tell of, and how many states they do not name. */
static int look_told(const struct report *report, struct told *told)
{
	json_t *value;
	int err = 0;
	size_t i;

	for (uint32_t s = 0; s < report->nr_shards && !err; s++) {
		if (!report->shards[s].file)
			continue;
		told[s].names = json_object();
		err = told[s].names ? 0 : -ENOMEM;
		json_array_foreach (report->shards[s].findings, i, value)
			err = err ? err : add_told(&told[s], value);
	}
	for (i = 0; i < report->nr_states && !err; i++) {
		const struct report_state *state = &report->states[i];
		int rc = report_is_finding(state->verdict) && state->kept
				 ? is_told(report, &told[state->shard], state)
				 : 1;

		told[state->shard].others += rc == 0;
		err = rc < 0 ? rc : 0;
	}
	return err;
}

/* A finding of each state that fails and that has none: its run was killed before it told them, or
 * another file of the same shard, where the check said otherwise, is the one that is kept. */
static int add_untold(const struct report *report, json_t *groups, const struct told *told)
{
	int err = 0;

	for (size_t i = 0; i < report->nr_states && !err; i++) {
		const struct report_state *state = &report->states[i];
		const struct told *of = &told[state->shard];
		json_t *finding;

		if (!report_is_finding(state->verdict) ||
		    (state->kept && of->others <= (uint64_t)of->more))
			continue;
		err = is_told(report, of, state);
		if (err) {
			err = err < 0 ? err : 0;
			continue;
		}
		finding = finding_of_state(report, state);
		err = finding ? add_finding(report, groups, finding) : -ENOMEM;
		json_decref(finding);
	}
	return err;
}

static int merge_findings(struct report *report)
{
	struct told *told =
		fail_alloc("tools/report/merge/told", calloc(report->nr_shards, sizeof(*told)));
	json_t *groups = json_object(), *value;
	int err = groups && told ? look_told(report, told) : -ENOMEM;
	size_t i;

	for (uint32_t s = 0; s < report->nr_shards && !err; s++)
		json_array_foreach (report->shards[s].findings, i, value)
			err = err ? err : add_finding(report, groups, value);
	if (!err)
		err = add_untold(report, groups, told);
	if (!err)
		err = sort_findings(report, groups);
	for (uint32_t s = 0; told && s < report->nr_shards; s++)
		json_decref(told[s].names);
	free(told);
	json_decref(groups);
	return err;
}

/* ------------------------------------------------------------------------------ shards */

/* Numbers of shards that a file merged from some of them says are not in it. */
static uint32_t missing_before(const struct report *report)
{
	return (uint32_t)json_array_size(json_object_get(report->head, "missing_shards"));
}

static void count_shards(struct report *report)
{
	struct report_totals *t = &report->totals;

	if (report_int(report->head, "all_points") > report_int(report->head, "points"))
		t->points_left_out = (uint64_t)(report_int(report->head, "all_points") -
						report_int(report->head, "points"));
	t->first_finding_s = -1;
	t->missing = missing_before(report);
	for (uint32_t i = 0; i < report->nr_shards; i++) {
		const struct report_shard *shard = &report->shards[i];
		const json_t *first = json_object_get(shard->end, "first_finding_s");
		double seconds = report_real(shard->end, "seconds");

		t->missing += !shard->file;
		t->unfinished += shard->file && !shard->end;
		t->seconds += seconds;
		t->longest_s = fmax(t->longest_s, seconds);
		if (json_is_number(first) &&
		    (t->first_finding_s < 0 || json_number_value(first) < t->first_finding_s))
			t->first_finding_s = json_number_value(first);
	}
}

static void put_list(FILE *out, const struct report *report, bool missing)
{
	const char *between = "shard ";

	for (uint32_t i = 0; i < report->nr_shards; i++) {
		const struct report_shard *shard = &report->shards[i];

		if (missing ? shard->file != NULL : !shard->file || shard->end)
			continue;
		fprintf(out, "%s%u/%u", between, i + 1, report->nr_shards);
		between = ", ";
	}
}

char *report_gaps(const struct report *report)
{
	const json_t *before = json_object_get(report->head, "missing_shards");
	uint32_t missing = report->totals.missing, unfinished = report->totals.unfinished;
	char *text = NULL;
	size_t len, i;
	json_t *value;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	if (missing > missing_before(report))
		put_list(out, report, true);
	json_array_foreach (before, i, value)
		fprintf(out, "%s%" PRIu64, i ? ", " : "shard ",
			(uint64_t)json_integer_value(value) + 1);
	if (missing)
		fprintf(out, " %s missing%s", missing == 1 ? "is" : "are", unfinished ? "; " : "");
	if (unfinished) {
		put_list(out, report, false);
		fprintf(out, " %s not finished", unfinished == 1 ? "is" : "are");
	}
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

int report_merge(struct report *report, struct diag *diag)
{
	int err;

	if (!report->head)
		return diag_set(diag, -EINVAL, "report.empty", "no results were read");
	unite_states(report);
	report->totals.distinct = report->nr_states;
	err = merge_points(report);
	if (!err)
		err = merge_findings(report);
	if (err)
		return diag_set(diag, err, "report.memory", "no memory to merge the results");
	count_shards(report);
	return 0;
}

int report_exit(const struct report *report)
{
	const struct report_totals *t = &report->totals;

	if (json_array_size(report->findings))
		return 1;
	for (int i = 0; i < REPORT_NR_VERDICTS; i++)
		if (report_is_finding(i) && t->verdicts[i])
			return 1;
	return t->missing || t->unfinished || t->points_unmade || t->verdicts[REPORT_ERROR] ? 2 : 0;
}
