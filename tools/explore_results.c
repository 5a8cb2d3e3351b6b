// SPDX-License-Identifier: MIT
/*
 * The results file: JSON lines, each written by one call as soon as it is known, so that a kill
 * loses at most what was under way. explore(1) says what the lines are.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "explore_results_in.h"
#include "left_folder.h"
#include "lock_wait.h"
#include "rpc_line.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LISTED_MAX  20000u /* writes, and flushes, that are listed */
#define BULK_BYTES  (1u << 20)
#define COMMAND_MAX 4096u

/* ------------------------------------------------------------------------------ lines */

static void write_all(struct results *r, const char *bytes, size_t len)
{
	while (len && !r->error && r->fd >= 0) {
		ssize_t wrote =
			fail_errno("tools/explore_results/write", ENOSPC, write(r->fd, bytes, len));

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0) {
			r->error = -errno;
			break;
		}
		bytes += wrote;
		len -= (size_t)wrote;
	}
}

static void flush_bulk(struct results *r)
{
	write_all(r, r->bulk, r->bulk_len);
	r->bulk_len = 0;
}

static bool bulk_room(struct results *r, size_t len)
{
	char *bulk;

	if (r->bulk_len + len <= r->bulk_size)
		return true;
	flush_bulk(r);
	if (len <= r->bulk_size)
		return true;
	bulk = fail_alloc("tools/explore_results/bulk", realloc(r->bulk, len + BULK_BYTES));
	if (!bulk)
		return false;
	r->bulk = bulk;
	r->bulk_size = len + BULK_BYTES;
	return true;
}

void results_line(struct results *r, json_t *line)
{
	size_t len;
	char *text = results_seal(line, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12),
				  &r->seal, &len);

	/* A list that lacks a member is not to be believed. */
	if (rpc_json_short() || !text) {
		if (!r->error)
			r->error = -ENOMEM;
		free(text);
		return;
	}
	if (r->loader) {
		results_compare(r->loader, text, len);
		free(text);
		return;
	}
	if (r->print)
		fwrite(text, 1, len, stdout);
	if (r->print && !r->is_bulk)
		fflush(stdout);
	if (r->is_bulk && bulk_room(r, len)) {
		memcpy(r->bulk + r->bulk_len, text, len);
		r->bulk_len += len;
	} else {
		write_all(r, text, len);
	}
	free(text);
}

/* Bytes of the UTF-8 character at @s; 0: it is none. */
static size_t utf8_len(const unsigned char *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4 || (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

json_t *results_text(const char *text)
{
	_cleanup_free_ char *copy = text ? strdup(text) : NULL;

	if (!copy)
		return text ? NULL : json_null();
	for (char *p = copy; *p;) {
		size_t len = utf8_len((unsigned char *)p);

		if (len == 0 || *p == 0x7f) { /* which no JSON text has escaped */
			*p = '?';
			len = 1;
		}
		p += len;
	}
	return json_string(copy);
}

json_t *results_hex(uint64_t value)
{
	char hex[17];

	snprintf(hex, sizeof(hex), "%016" PRIx64, value);
	return json_string(hex);
}

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

/* ------------------------------------------------------------------------------ the head */

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
			 (json_int_t)j->end_step, "closed", (int)j->closed);
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

/* Which moments: their set, the steps that bound them, and how many the set has in all. */
static void add_select(const struct results_options *o, json_t *head)
{
	const struct crash_select select = o->select ? *o->select : (struct crash_select){ 0 };
	json_int_t all = (json_int_t)(o->select ? o->nr_moments : o->nr_points);

	json_object_set_new(head, "set", json_string(set_name(select.set)));
	json_object_set_new(head, "from", or_null(select.from, select.from != 0));
	json_object_set_new(head, "to", or_null(select.to, select.to != 0));
	json_object_set_new(head, "moments", json_integer(all));
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

static json_t *flags_json(uint32_t flags)
{
	json_t *list = json_array();

	if (flags & IO_FUA)
		json_array_append_new(list, json_string("fua"));
	if (flags & IO_META)
		json_array_append_new(list, json_string("meta"));
	return list;
}

static void write_line(struct results *r, size_t n, uint64_t epoch)
{
	const struct journal_write *w = &r->o.journal->writes[n];
	bool done = w->complete != JOURNAL_NEVER;

	results_line(r,
		     json_pack("{s:s, s:I, s:i, s:I, s:I, s:s, s:o, s:I, s:o, s:I, s:o, s:I, "
			       "s:b, s:b}",
			       "type", "write", "n", (json_int_t)n, "disk", (int)w->disk, "sector",
			       (json_int_t)(w->at / 512), "len_bytes", (json_int_t)w->len_bytes,
			       "op", op_name(w->op), "flags", flags_json(w->flags), "submit",
			       (json_int_t)w->submit, "complete", or_null(w->complete, done),
			       "time_ns", (json_int_t)w->submit_ns, "end_ns",
			       or_null(w->complete_ns, done), "epoch", (json_int_t)epoch, "failed",
			       (int)w->failed, "lied", (int)w->lied));
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
		"tools/explore_results/flushes", malloc((j->nr_flushes + 1) * sizeof(*flushes)));
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
			results_line(r,
				     json_pack("{s:s, s:i, s:I, s:o, s:I, s:b, s:b}", "type",
					       "flush", "disk", (int)f->disk, "submit",
					       (json_int_t)f->submit, "complete",
					       or_null(f->complete, f->complete != JOURNAL_NEVER),
					       "time_ns", (json_int_t)f->submit_ns, "failed",
					       (int)f->failed, "lied", (int)f->lied));
	}
}

static void mark_lines(struct results *r)
{
	const struct journal *j = r->o.journal;

	for (size_t i = 0; i < j->nr_marks; i++)
		results_line(r, json_pack("{s:s, s:I, s:I, s:I, s:o}", "type", "mark", "n",
					  (json_int_t)i, "step", (json_int_t)j->marks[i].step,
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

		results_line(r, json_pack("{s:s, s:I, s:I, s:I, s:s, s:i}", "type", "point",
					  "point", (json_int_t)i, "step", (json_int_t)p->step,
					  "time_ns", (json_int_t)p->time_ns, "why",
					  why_name(p->why), "marks", (int)p->nr_marks));
	}
}

void results_describe(struct results *r)
{
	write_lines(r);
	flush_lines(r);
	mark_lines(r);
	point_lines(r);
}

static void write_head(struct results *r)
{
	r->is_bulk = true;
	results_line(r, results_head(r, false));
	results_describe(r);
	flush_bulk(r);
	r->is_bulk = false;
	if (r->print)
		fflush(stdout);
}

/* ------------------------------------------------------------------------------ states */

/* What the state lost, up to EXPLORE_LOST_MAX of it. */
static uint64_t list_lost(struct results *r, const struct explore_state *state,
			  uint32_t lost[EXPLORE_LOST_MAX])
{
	const uint32_t *writes;
	size_t nr = crash_volatile(state->crash, &writes);
	uint64_t nr_lost = 0;

	if (nr > r->nr_scratch) {
		bool *scratch = fail_alloc("tools/explore_results/lost", realloc(r->lost, nr));

		if (!scratch) {
			r->error = -ENOMEM;
			return 0;
		}
		r->lost = scratch;
		r->nr_scratch = nr;
	}
	if (nr)
		crash_lost(state->crash, state->picks, r->lost);
	for (size_t i = 0; i < nr; i++) {
		if (!r->lost[i])
			continue;
		if (nr_lost < EXPLORE_LOST_MAX)
			lost[nr_lost] = writes[i];
		nr_lost++;
	}
	return nr_lost;
}

static json_t *lost_json(const uint32_t *lost, uint64_t nr_lost)
{
	json_t *list = json_array();

	for (uint64_t i = 0; i < nr_lost && i < EXPLORE_LOST_MAX; i++)
		json_array_append_new(list, json_integer(lost[i]));
	return list;
}

void results_state(struct results *r, const struct explore_state *state,
		   const struct explore_result *result)
{
	uint32_t lost[EXPLORE_LOST_MAX];
	uint64_t nr_lost = list_lost(r, state, lost);
	bool reordered = crash_reordered(state->crash, state->picks, nr_lost);
	json_t *line;

	if (explore_is_finding(result->verdict))
		results_remember(r, &(struct found){ .point_index = state->point_index,
						     .name = state->name,
						     .output = result->output,
						     .key = state->key,
						     .verdict = result->verdict,
						     .in_recovery = result->in_recovery,
						     .lost = lost,
						     .nr_lost = nr_lost,
						     .reordered = reordered });
	if (r->fd < 0 && !r->print)
		return;
	line = json_pack(
		"{s:s, s:I, s:s, s:o, s:o, s:s, s:s, s:i, s:i, s:f, s:f, s:o, s:I}", "type",
		"state", "point", (json_int_t)state->point_index, "state", state->name, "hash",
		results_hex(state->hash), "key", results_hex(state->key), "strategy",
		strategy_name(state->strategy), "verdict", explore_verdict_name(result->verdict),
		"exit", result->exit_code, "signal", result->signal, "ms",
		(double)result->time_ns / 1e6, "switch_ms", (double)result->switch_ns / 1e6, "lost",
		lost_json(lost, nr_lost), "nr_lost", (json_int_t)nr_lost);
	if (state->strategy == STRATEGY_LAZY)
		json_object_set_new(line, "covers_log2", json_real(state->covers_log2));
	if (reordered)
		json_object_set_new(line, "reordered", json_true());
	if (result->in_recovery)
		json_object_set_new(line, "in_recovery", json_true());
	if (result->lack)
		json_object_set_new(line, "lack", results_text(result->lack));
	if (result->verdict != EXPLORE_OK && result->output)
		json_object_set_new(line, "output", results_text(result->output));
	results_line(r, line);
}

void results_point(struct results *r, const struct explore_point *p)
{
	json_t *verdicts = json_object(), *shares = p->has_shares ? json_object() : NULL;

	for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
		json_object_set_new(verdicts, explore_verdict_name(i),
				    json_integer((json_int_t)p->verdicts[i]));
	for (int i = 0; shares && i < EXPLORE_NR_VERDICTS; i++)
		json_object_set_new(shares, explore_verdict_name(i), json_real(p->shares[i]));
	results_line(r, json_pack("{s:s, s:I, s:I, s:I, s:s, s:f, s:I, s:I, s:I, s:f, s:b, s:b, "
				  "s:I, s:b, s:o, s:o*}",
				  "type", "done", "point", (json_int_t)p->point_index, "choices",
				  (json_int_t)p->nr_choices, "volatile", (json_int_t)p->nr_volatile,
				  "legal", p->legal.text, "legal_log2", p->legal.log2, "generated",
				  (json_int_t)p->generated, "distinct", (json_int_t)p->distinct,
				  "equivalent", (json_int_t)p->equivalent, "covered", p->covered,
				  "exact", (int)p->exact, "complete", (int)p->complete, "diverged",
				  (json_int_t)p->diverged, "missing", (int)p->missing, "verdicts",
				  verdicts, "shares", shares));
}

/* ------------------------------------------------------------------------------ the end */

static void quote_word(FILE *out, const char *text)
{
	fputc('\'', out);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", out);
		else
			fputc(*text, out);
	}
	fputc('\'', out);
}

static void quote(FILE *out, const char *option, const char *text)
{
	if (!text)
		return;
	fprintf(out, " --%s ", option);
	quote_word(out, text);
}

/* Recovery and check may name what lies where we were started. False: that folder has no name. */
static bool put_folder(FILE *out)
{
	_cleanup_free_ char *folder = getcwd(NULL, 0);

	if (!folder || folder[0] != '/')
		return false;
	fputs("(cd ", out);
	quote_word(out, folder);
	fputs(" && ", out);
	return true;
}

/* By its name, if that is what the shell finds. */
static void put_program(FILE *out)
{
	char path[PATH_MAX];

	if (tool_program(path))
		quote_word(out, path);
	else
		fputs("faultblk", out);
	fputs(" explore", out);
}

/* As a path that is good anywhere; @path itself where that cannot be told. */
static void quote_path(FILE *out, const char *option, const char *path)
{
	_cleanup_free_ char *whole = realpath(path, NULL);

	quote(out, option, whole ? whole : path);
}

/* Of the reproducer: what it begins with is the state, and nothing of it is undecided. */
static void put_reproducer(const struct results *r, const struct finding *f, FILE *out)
{
	fprintf(out, " --unit %u", r->o.crash->unit_bytes);
	quote(out, "state", f->reproducer_state);
	quote_path(out, "recording", f->reproducer);
}

static void put_original(const struct results *r, const struct finding *f, FILE *out)
{
	_cleanup_free_ char *state = NULL;

	fprintf(out, " --unit %u --atomic %s%s", r->o.crash->unit_bytes,
		explore_atomic_name(r->o.crash->atomic), r->o.crash->illegal ? " --illegal" : "");
	if (asprintf(&state, "%" PRIu64 ":%s", r->o.points[f->point_index].step,
		     f->minimal ? f->minimal : f->name) < 0)
		return;
	quote(out, "state", state);
	quote_path(out, "recording", r->o.job->recording);
}

/* A recording that crashtest has made for itself is gone when it has ended. */
bool results_has_command(const struct results *r, const struct finding *f)
{
	return f->reproducer_state || !left_folder_holds(r->o.job->recording, &folder_of_crashtest);
}

char *results_command(const struct results *r, const struct finding *f)
{
	const struct explore_job *job = r->o.job;
	const struct presenter_ops *ops;
	char timeout[UNITS_MAX];
	char *text = NULL;
	size_t len;
	FILE *out = results_has_command(r, f) ? open_memstream(&text, &len) : NULL;
	bool has_folder;

	if (!out)
		return NULL;
	has_folder = put_folder(out);
	put_program(out);
	if (f->reproducer_state)
		put_reproducer(r, f, out);
	else
		put_original(r, f, out);
	fprintf(out, " --present %s --seed %" PRIu64 " --timeout %s",
		presenter_find(job->present, NULL, &ops) ? job->present : ops->again, job->seed,
		units_format_time(job->timeout_ns, timeout));
	quote(out, "recovery", job->recovery);
	quote(out, "check", job->check);
	if (has_folder)
		fputc(')', out);
	if (fclose(out) == 0 && len <= COMMAND_MAX)
		return text;
	free(text);
	return NULL;
}

static json_t *finding_write(const struct results *r, uint32_t i, const char *name)
{
	const struct journal_write *w = &r->o.journal->writes[i];

	return json_pack("{s:I, s:i, s:I, s:I, s:I, s:o}", "write", (json_int_t)i, "disk",
			 (int)w->disk, "sector", (json_int_t)(w->at / 512), "len_bytes",
			 (json_int_t)w->len_bytes, "time_ns", (json_int_t)w->submit_ns, "name",
			 results_text(name));
}

static json_t *finding_lost(const struct results *r, const struct finding *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->nr_listed; i++)
		json_array_append_new(list,
				      finding_write(r, f->lost[i], f->names ? f->names[i] : NULL));
	return list;
}

static json_t *finding_same(const struct results *r, const struct finding *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->nr_same; i++) {
		_cleanup_free_ char *text = NULL;

		if (asprintf(&text, "%" PRIu64 ":%s", r->o.points[f->same[i].point_index].step,
			     f->same[i].name) >= 0)
			json_array_append_new(list, json_string(text));
	}
	return list;
}

void results_finding(struct results *r, const struct finding *f, size_t n)
{
	_cleanup_free_ char *command = results_command(r, f);
	json_t *missing =
		f->missing_name ? finding_write(r, f->missing, f->missing_name) : json_null();
	json_t *repeated = f->repeated == FINDING_NOT_REPEATED
				   ? json_null()
				   : json_boolean(f->repeated == FINDING_FAILED);
	json_t *line = json_pack(
		"{s:s, s:I, s:I, s:s, s:o, s:s, s:o, s:I, s:I, s:o, s:b, s:I, "
		"s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:i}",
		"type", "finding", "n", (json_int_t)n, "point", (json_int_t)f->point_index, "state",
		f->name, "key", results_hex(f->key), "verdict", explore_verdict_name(f->verdict),
		"lost", finding_lost(r, f), "nr_lost", (json_int_t)f->nr_lost, "nr_found_lost",
		(json_int_t)f->nr_found_lost, "repeated", repeated, "shrunk", (int)f->shrunk,
		"shrink_runs", (json_int_t)f->shrink_runs, "minimal", results_text(f->minimal),
		"missing", missing, "reordered", (int)f->reordered, "output",
		results_text(f->output), "reproducer", results_text(f->reproducer), "command",
		results_text(command), "same_as", finding_same(r, f), "more_same", (int)f->nr_more);
	if (line && f->in_recovery)
		json_object_set_new(line, "in_recovery", json_true());
	results_line(r, line);
}

void results_end(struct results *r, const struct explore_status *s, const char *stopped)
{
	double seconds = (double)s->elapsed_ns / 1e9;
	double first = r->first_finding_s;

	if (first < 0 && s->first_finding_ns)
		first = r->seconds + (double)s->first_finding_ns / 1e9;
	results_line(r,
		     json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:s?}", "type", "end",
			       "states", (json_int_t)s->generated, "distinct",
			       (json_int_t)s->distinct, "equivalent", (json_int_t)s->equivalent,
			       "findings", (json_int_t)s->findings, "seconds", r->seconds + seconds,
			       "rate", seconds > 0 ? (double)(s->done - s->known) / seconds : 0.0,
			       "first_finding_s", first < 0 ? json_null() : json_real(first),
			       "stopped", stopped));
	if (r->fd >= 0 && !r->error &&
	    fail_errno("tools/explore_results/sync", EIO, fsync(r->fd)) < 0)
		r->error = -errno;
}

int results_error(const struct results *r)
{
	return r->error;
}

/* ------------------------------------------------------------------------------ opening */

/* Before we had the lock another run has replaced it. */
static bool is_gone(int fd)
{
	struct stat stat;

	return fstat(fd, &stat) < 0 || stat.st_nlink == 0;
}

/* Locked until it is closed. *ret_new: it holds nothing yet, and has no name. */
static int open_file(struct results *r, struct diag *diag, bool *ret_new)
{
	const struct explore_job *job = r->o.job;
	const struct out_options options = {
		.force = job->force,
		.inputs = { job->recording },
		.force_word = "--resume to go on where it ends, or --force",
	};
	char holder[LOCK_WORDS_MAX];
	int err;

	*ret_new = true;
	err = fail_value(
		"tools/explore_results/open",
		diag_set(diag, -EACCES, "explore.results", "cannot write %s", job->results),
		job->resume ? out_file_go_on(job->results, &options, diag, &r->file, ret_new)
			    : out_file_open(job->results, &options, diag, &r->file));
	if (err)
		return err;
	r->fd = r->file.fd;
	if (fcntl(r->fd, F_SETFL, O_APPEND) < 0)
		return diag_set(diag, -errno, "explore.results", "cannot write %s: %s",
				job->results, strerror(errno));
	/* A new one, too: it has its name long before it is finished. */
	if (flock(r->fd, LOCK_EX | LOCK_NB) < 0 || (!*ret_new && is_gone(r->fd)))
		return diag_set(diag, -EBUSY, "explore.results", "%s is being written by %s",
				job->results, lock_words(r->fd, holder));
	return 0;
}

/* Results are for their owner alone, also those that were copied or made by another program. Where
 * modes cannot be changed they stay as they are. */
static void make_private(int fd)
{
	struct stat stat;

	if (fstat(fd, &stat) == 0 && (stat.st_mode & 077))
		(void)!fchmod(fd, stat.st_mode & 0700);
}

static int go_on(struct results *r, bool is_new, struct diag *diag)
{
	uint64_t good = 0;
	int rc = r->o.job->resume && !is_new ? results_load(r, diag, &good) : 0;

	if (rc < 0)
		return rc;
	if (r->fd >= 0 && !is_new)
		make_private(r->fd);
	if (r->fd >= 0 && ftruncate(r->fd, rc ? (off_t)good : 0) < 0)
		return diag_set(diag, -errno, "explore.results", "cannot cut %s: %s",
				r->o.job->results, strerror(errno));
	if (rc)
		results_line(r, results_head(r, true));
	else if (r->fd >= 0 || r->print)
		write_head(r);
	if (r->error)
		return diag_set(diag, r->error, "explore.results", "cannot write %s: %s",
				r->o.job->results ? r->o.job->results : "results",
				strerror(-r->error));
	/* From here on it is there, however we end: every line counts. */
	return r->fd >= 0 && is_new ? out_file_publish(&r->file, diag) : 0;
}

int results_open(const struct results_options *options, struct diag *diag,
		 struct results **ret_results)
{
	struct results *r = fail_alloc("tools/explore_results/alloc", calloc(1, sizeof(*r)));
	bool is_new = true;
	int err;

	if (!r)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for results");
	r->o = *options;
	r->fd = r->file.fd = r->file.dir_fd = -1;
	r->print = options->job->json;
	r->seal = RESULTS_SEAL_START;
	r->first_finding_s = -1;
	for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
		r->done[i].limit = SIZE_MAX;
	err = options->job->results ? open_file(r, diag, &is_new) : 0;
	if (!err)
		err = go_on(r, is_new, diag);
	if (err)
		r = results_free(r);
	*ret_results = r;
	return err;
}

struct results *results_free(struct results *r)
{
	if (!r)
		return NULL;
	out_file_drop(&r->file);
	results_forget(r);
	for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
		key_set_free(&r->done[i]);
	free(r->lazy);
	free(r->lazy_done);
	free(r->lost);
	free(r->bulk);
	free(r);
	return NULL;
}
