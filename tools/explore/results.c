// SPDX-License-Identifier: MIT
/*
 * The results file: JSON lines, each written by one call as soon as it is known, so that a kill
 * loses at most what was under way. explore(1) says what the lines are.
 */
#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"
#include "tools/cli/left_folder.h"
#include "tools/cli/lock_wait.h"
#include "tools/cli/program.h"
#include "tools/cli/tool.h"
#include "tools/explore/results_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define COMMAND_MAX 4096u

/* ------------------------------------------------------------------------------ states */

/* What the state lost, up to EXPLORE_LOST_MAX of it. */
static uint64_t list_lost(struct results *r, const struct explore_state *state,
			  uint32_t lost[EXPLORE_LOST_MAX])
{
	const uint32_t *writes;
	size_t nr = crash_volatile(state->crash, &writes);
	uint64_t nr_lost = 0;

	if (array_room("tools/explore/results/lost", r->lost, r->nr_scratch, nr, 0)) {
		r->error = -ENOMEM;
		return 0;
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

	if (program_path(path))
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
	if (asprintf(&state, "%" PRIu64 ":%s",
		     journal_shown(r->o.journal, r->o.points[f->point_index].step),
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

		if (asprintf(&text, "%" PRIu64 ":%s",
			     journal_shown(r->o.journal, r->o.points[f->same[i].point_index].step),
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
	    fail_errno("tools/explore/results/sync", EIO, fsync(r->fd)) < 0)
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
		.force_word = "--resume to continue it, or --force",
	};
	char holder[LOCK_WORDS_MAX];
	int err;

	*ret_new = true;
	err = fail_value(
		"tools/explore/results/open",
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
		return diag_set(diag, -errno, "explore.results", "cannot truncate %s: %s",
				r->o.job->results, strerror(errno));
	if (rc)
		results_line(r, results_head(r, true));
	else if (r->fd >= 0 || r->print)
		results_write_head(r);
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
	struct results *r = fail_alloc("tools/explore/results/alloc", calloc(1, sizeof(*r)));
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
