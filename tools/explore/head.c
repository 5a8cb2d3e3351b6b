// SPDX-License-Identifier: MIT
/*
 * The head of the results file: what is explored, and how; what the recording holds; and the crash points.
 * A run that goes on must come to the same one.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "faults/rule/json.h"
#include "tools/explore/results_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX 20000u /* writes, and flushes, that are listed */

static json_t *decimal(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

/* A step or time that may be "never": null. */
static json_t *or_null(uint64_t value, bool is_there)
{
	return is_there ? json_integer((json_int_t)value) : json_null();
}

/* As users see it. */
static json_int_t shown(const struct journal *journal, uint64_t step)
{
	return (json_int_t)journal_shown(journal, step);
}

static json_t *complete_json(const struct journal *journal, uint64_t step)
{
	return or_null(journal_shown(journal, step), step != JOURNAL_NEVER);
}

static json_t *disks_json(const struct journal *journal)
{
	json_t *disks = json_array();

	for (uint32_t i = 0; i < journal->nr_disks; i++)
		json_array_append_new(disks,
				      json_pack("{s:o, s:I, s:i, s:b}", "name",
						results_text(journal->disks[i].name), "size_bytes",
						(json_int_t)journal->disks[i].size_bytes,
						"block_bytes", (int)journal->disks[i].block_bytes,
						"cache", (int)journal->disks[i].cache));
	return disks;
}

static json_t *recording_json(const struct results *r)
{
	const struct journal *j = r->o.journal;

	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "id",
			 results_hex(j->id), "path", results_text(r->o.job->recording), "disks",
			 disks_json(j), "writes", (json_int_t)j->nr_writes, "flushes",
			 (json_int_t)j->nr_flushes, "marks", (json_int_t)j->nr_marks, "start_ns",
			 (json_int_t)j->start_ns, "end_ns", (json_int_t)j->end_ns, "end_step",
			 shown(j, j->end_step), "closed", (int)j->closed);
}

static json_t *strategies_json(const struct results *r)
{
	json_t *list = json_array();
	char text[64];

	for (size_t i = 0; i < r->o.nr_strategies; i++) {
		const struct strategy *s = &r->o.strategies[i];

		if (s->kind == STRATEGY_RANDOM || s->kind == STRATEGY_EXHAUSTIVE)
			snprintf(text, sizeof(text), "%s:%" PRIu64, strategy_name(s->kind),
				 s->count);
		else
			snprintf(text, sizeof(text), "%s", strategy_name(s->kind));
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static const char *set_name(enum crash_set set)
{
	switch (set) {
	case CRASH_SET_DEFAULT:
		return "default";
	case CRASH_SET_COMPLETIONS:
		return "completions";
	case CRASH_SET_MARKS:
		return "marks";
	}
	return "default";
}

/* Which crash points: their set, the steps that bound them, and how many the set has in all. */
static void add_select(const struct results_options *o, json_t *head)
{
	const struct crash_select select = o->select ? *o->select : (struct crash_select){ 0 };
	json_int_t all = (json_int_t)(o->select ? o->nr_all_points : o->nr_points);

	json_object_set_new(head, "set", json_string(set_name(select.set)));
	json_object_set_new(head, "from", or_null(select.from, select.from != 0));
	json_object_set_new(head, "to", or_null(select.to, select.has_to));
	json_object_set_new(head, "all_points", json_integer(all));
}

/* What the disks of the recording may be left in beside the states: see report_model. */
static void add_model(const struct results_options *o, json_t *head)
{
	json_object_set_new(head, "least_bytes", json_integer(crash_least_bytes(o->journal)));
	json_object_set_new(head, "discards",
			    json_integer((json_int_t)explore_discards(o->journal)));
}

json_t *results_head(const struct results *r, bool resumed)
{
	const struct results_options *o = &r->o;
	json_t *head;

	head = json_pack("{s:s, s:i, s:o, s:o, s:o, s:s, s:I, s:s, s:b, s:b, s:o, s:o, s:i, s:i, "
			 "s:I, s:I, s:b}",
			 "type", "explore", "version", RESULTS_VERSION, "recording",
			 recording_json(r), "check", results_text(o->job->check), "recovery",
			 results_text(o->job->recovery), "present", o->job->present, "unit_bytes",
			 (json_int_t)o->crash->unit_bytes, "atomic",
			 explore_atomic_name(o->crash->atomic), "illegal", (int)o->crash->illegal,
			 "by_content", (int)o->job->by_content, "strategies", strategies_json(r),
			 "seed", decimal(o->job->seed), "shard", (int)o->shard, "shards",
			 (int)o->nr_shards, "points", (json_int_t)o->nr_points, "sample",
			 (json_int_t)o->job->sample, "resumed", (int)resumed);
	if (head) {
		add_select(o, head);
		add_model(o, head);
	}
	return head;
}

static const char *op_name(uint8_t op)
{
	return op == IO_DISCARD ? "discard" : op == IO_ZEROES ? "zeroes" : "write";
}

static void write_line(struct results *r, size_t n, uint64_t epoch)
{
	const struct journal *j = r->o.journal;
	const struct journal_write *w = &j->writes[n];
	bool done = w->complete != JOURNAL_NEVER;

	results_line(r,
		     json_pack("{s:s, s:I, s:i, s:I, s:I, s:s, s:o, s:I, s:o, s:I, s:o, s:I, "
			       "s:b, s:b}",
			       "type", "write", "n", (json_int_t)n, "disk", (int)w->disk, "sector",
			       (json_int_t)(w->at / 512), "len_bytes", (json_int_t)w->len_bytes,
			       "op", op_name(w->op), "flags", value_flags_json(w->flags), "submit",
			       shown(j, w->submit), "complete", complete_json(j, w->complete),
			       "time_ns", (json_int_t)w->submit_ns, "end_ns",
			       or_null(w->complete_ns, done), "epoch", (json_int_t)epoch, "failed",
			       (int)w->failed, "lied", (int)w->false_ack));
}

static int by_complete(const void *a, const void *b)
{
	const struct journal_flush *one = *(struct journal_flush *const *)a;
	const struct journal_flush *other = *(struct journal_flush *const *)b;

	return one->complete < other->complete ? -1 : one->complete > other->complete;
}

/* The next of those that are listed: all of them, or LISTED_MAX evenly. */
static bool is_listed(size_t n, size_t nr)
{
	return nr <= LISTED_MAX ||
	       n * LISTED_MAX / nr != (n ? (n - 1) * LISTED_MAX / nr : (size_t)-1);
}

static void write_lines(struct results *r)
{
	const struct journal *j = r->o.journal;
	const struct journal_flush **flushes = fail_alloc(
		"tools/explore/head/flushes", malloc((j->nr_flushes + 1) * sizeof(*flushes)));
	uint64_t epochs[JOURNAL_DISKS_MAX] = { 0 };
	size_t next = 0;

	if (!flushes) {
		r->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < j->nr_flushes; i++)
		flushes[i] = &j->flushes[i];
	qsort(flushes, j->nr_flushes, sizeof(*flushes), by_complete);
	for (size_t i = 0; i < j->nr_writes; i++) {
		const struct journal_write *w = &j->writes[i];

		for (; next < j->nr_flushes && flushes[next]->complete < w->submit; next++)
			epochs[flushes[next]->disk] += !flushes[next]->failed;
		if (is_listed(i, j->nr_writes))
			write_line(r, i, epochs[w->disk]);
	}
	free(flushes);
}

static void flush_lines(struct results *r)
{
	const struct journal *j = r->o.journal;

	for (size_t i = 0; i < j->nr_flushes; i++) {
		const struct journal_flush *f = &j->flushes[i];

		if (is_listed(i, j->nr_flushes))
			results_line(r, json_pack("{s:s, s:i, s:I, s:o, s:I, s:b, s:b}", "type",
						  "flush", "disk", (int)f->disk, "submit",
						  shown(j, f->submit), "complete",
						  complete_json(j, f->complete), "time_ns",
						  (json_int_t)f->submit_ns, "failed",
						  (int)f->failed, "lied", (int)f->false_ack));
	}
}

static void mark_lines(struct results *r)
{
	const struct journal *j = r->o.journal;

	for (size_t i = 0; i < j->nr_marks; i++)
		results_line(r, json_pack("{s:s, s:I, s:I, s:I, s:o}", "type", "mark", "n",
					  (json_int_t)i, "step", shown(j, j->marks[i].step),
					  "time_ns", (json_int_t)j->marks[i].time_ns, "text",
					  results_text(j->marks[i].text)));
}

static const char *why_name(enum crash_why why)
{
	switch (why) {
	case CRASH_BEFORE_DURABLE:
		return "durable";
	case CRASH_AT_MARK:
		return "mark";
	case CRASH_AT_COMPLETION:
		return "completion";
	case CRASH_AT_END:
		return "end";
	}
	return "end";
}

static void point_lines(struct results *r)
{
	for (size_t i = 0; i < r->o.nr_points; i++) {
		const struct crash_point *p = &r->o.points[i];

		results_line(r,
			     json_pack("{s:s, s:I, s:I, s:I, s:s, s:i}", "type", "point", "point",
				       (json_int_t)i, "step", shown(r->o.journal, p->step),
				       "time_ns", (json_int_t)p->time_ns, "why", why_name(p->why),
				       "marks", (int)p->nr_marks));
	}
}

void results_describe(struct results *r)
{
	write_lines(r);
	flush_lines(r);
	mark_lines(r);
	point_lines(r);
}

void results_write_head(struct results *r)
{
	results_bulk(r, true);
	results_line(r, results_head(r, false));
	results_describe(r);
	results_bulk(r, false);
}
