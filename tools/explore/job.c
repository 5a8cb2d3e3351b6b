// SPDX-License-Identifier: MIT
/* A job of exploring: everything is made, run, told and taken back. */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"
#include "base/printable.h"
#include "tools/cli/guard.h"
#include "tools/cli/tool.h"
#include "tools/disk/apart.h"
#include "tools/explore/internal.h"
#include "tools/report/line.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#define SHOWN_MAX   10u /* findings that are printed as they come */
#define LAZY_REPEAT 32u /* every so-manieth run of a lazy search, to see whether it repeats */

struct job_worker {
	void *presenter;
	struct checker *checker;
};

struct job_run {
	const struct explore_job *job;
	struct journal *journal;
	const struct presenter_ops *ops;
	struct strategy strategies[STRATEGIES_MAX];
	size_t nr_strategies;
	unsigned int jobs, shard, nr_shards;
	struct crash_options crash;
	bool common; /* of the legal states only those that all disks may leave */
	struct crash_select select;
	uint64_t nr_left_out; /* crash points */
	struct workdir dir;
	struct guard guard;
	struct checker_options checker_options;
	struct job_worker *workers;
	struct crash_image *memory; /* of cursors whose presenter has none; [jobs + 1][nr_disks] */
	struct explore *explore;
	struct results *results;
	struct progress *progress;
	int stop_fd;
	struct host *host;
	_Atomic bool ran;            /* a check could be run: others that cannot are not the end */
	_Atomic uint64_t nr_lacking; /* states that were not judged, for want of something */
	const char *_Atomic lack;    /* of the last one */
	uint64_t nr_shown;
	pthread_mutex_t diag_lock;
	struct diag diag; /* the first thing that ended it */
};

/* ------------------------------------------------------------------------------ words */

static int parse_words(struct job_run *run, struct diag *diag)
{
	static const char *const sets[] = { "default", "completions", "marks", NULL };
	static const char *const atomics[] = { "unit", "write", "order", NULL };
	const struct explore_job *job = run->job;
	int set = explore_word("points", job->points, sets, diag);
	int atomic = set < 0 ? set : explore_word("atomic", job->atomic ?: "unit", atomics, diag);

	if (atomic < 0)
		return atomic;
	run->select = (struct crash_select){ .set = (enum crash_set)set,
					     .sample = job->sample,
					     .seed = job->seed };
	run->crash = (struct crash_options){ .unit_bytes = (uint32_t)job->unit_bytes,
					     .atomic = (enum crash_atomic)atomic,
					     .illegal = job->illegal };
	if (!job->check || !job->check[0])
		return diag_set(diag, -EINVAL, "explore.check", "--check COMMAND is missing");
	if (job->resume && !job->results)
		return diag_set(diag, -EINVAL, "explore.resume", "--resume needs --results FILE");
	if (job->force && !job->results)
		return diag_set(diag, -EINVAL, "explore.force", "--force needs --results FILE");
	if (job->force && job->resume)
		return diag_set(
			diag, -EINVAL, "explore.force",
			"--resume, which continues FILE, and --force, which replaces it, exclude "
			"each other");
	return strategy_parse(job->strategy, diag, run->strategies, &run->nr_strategies);
}

/* What happens first to the disks of a recording with any, as users see it. */
static uint64_t first_step(const struct journal *journal)
{
	return journal_shown(journal, journal->events[0].step);
}

/* A step, or the text of a mark; "mark:12" is the mark with that text. As users see it. */
static int parse_when(const struct job_run *run, const char *option, const char *text,
		      struct diag *diag, uint64_t *ret_step)
{
	const struct journal *journal = run->journal;
	const char *mark = strncmp(text, "mark:", 5) == 0 ? text + 5 : text;
	char *end;

	errno = 0;
	*ret_step = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && !errno && *ret_step <= INT64_MAX)
		return 0;
	for (size_t i = 0; i < journal->nr_marks; i++) {
		if (strcmp(journal->marks[i].text, mark) != 0)
			continue;
		*ret_step = journal_shown(journal, journal->marks[i].step);
		return 0;
	}
	diag_set(diag, -EINVAL, "explore.when", "--%s: '%.200s' is neither a step nor a mark of %s",
		 option, text, run->job->recording);
	if (journal->nr_marks)
		diag_hint(diag, "it has %zu marks, the first is '%.80s', the last '%.80s'",
			  journal->nr_marks, journal->marks[0].text,
			  journal->marks[journal->nr_marks - 1].text);
	else if (journal->nr_events)
		diag_hint(diag,
			  "it has no marks; the first step at which something happens to its disks "
			  "is %" PRIu64 ", the last %" PRIu64,
			  first_step(journal), journal_shown(journal, journal->end_step));
	else
		diag_hint(diag, "it has no marks, and no steps: nothing was written");
	return -EINVAL;
}

static int parse_range(struct job_run *run, struct diag *diag)
{
	const struct explore_job *job = run->job;
	int err = 0;

	if (job->from)
		err = parse_when(run, "from", job->from, diag, &run->select.from);
	if (!err && job->to)
		err = parse_when(run, "to", job->to, diag, &run->select.to);
	run->select.has_to = job->to != NULL;
	if (!err && job->to && run->select.to < run->select.from)
		return diag_set(diag, -EINVAL, "explore.when",
				"--to (step %" PRIu64 ") lies before --from (step %" PRIu64 ")",
				run->select.to, run->select.from);
	return err;
}

static bool is_lazy(const struct job_run *run)
{
	for (size_t i = 0; i < run->nr_strategies; i++)
		if (run->strategies[i].kind == STRATEGY_LAZY)
			return true;
	return false;
}

static int check_lazy(const struct job_run *run, struct diag *diag)
{
	if (!is_lazy(run) || run->ops->views)
		return 0;
	diag_set(diag, -EINVAL, "explore.lazy",
		 "the strategy lazy needs a presenter that decides a state while it is read, and "
		 "--present %s does not",
		 run->ops->name);
	diag_hint(diag, "give --present fuse or device, or another strategy: exhaustive, prefixes, "
			"...");
	return -EINVAL;
}

/* ------------------------------------------------------------------------------ callbacks */

static void keep_diag(struct job_run *run, const struct diag *diag)
{
	pthread_mutex_lock(&run->diag_lock);
	if (!run->diag.message[0])
		run->diag = *diag;
	pthread_mutex_unlock(&run->diag_lock);
}

static int on_check(void *ctx, unsigned int worker, const struct explore_state *state,
		    struct explore_result *ret_result)
{
	struct job_run *run = ctx;
	struct diag diag = { 0 };
	int err = checker_run(run->workers[worker].checker, state, ret_result, &diag);

	if (!err && ret_result->verdict != EXPLORE_ERROR)
		atomic_store(&run->ran, true);
	else if (!err && !atomic_load(&run->ran))
		err = ret_result->lack ? explore_lacks(ret_result, &diag)
				       : explore_cannot_run(ret_result, &diag);
	if (!err && ret_result->lack) {
		atomic_store(&run->lack, ret_result->lack);
		atomic_fetch_add(&run->nr_lacking, 1);
	}
	if (err && err != -EINTR)
		keep_diag(run, &diag);
	return err;
}

static int on_image(void *ctx, unsigned int worker, uint16_t disk, struct crash_image *ret_image)
{
	struct job_run *run = ctx;
	struct crash_image *memory = &run->memory[worker * run->journal->nr_disks + disk];
	struct diag diag = { 0 };
	int err;

	if (worker < run->jobs && run->ops->image) {
		err = run->ops->image(run->workers[worker].presenter, disk, ret_image, &diag);
		if (err)
			keep_diag(run, &diag);
		return err;
	}
	err = image_map(run->journal->disks[disk].size_bytes, memory);
	*ret_image = *memory;
	return err;
}

static void print_indented(const char *text)
{
	for (int lines = 0; text && *text && lines < 6; lines++) {
		int len = (int)strcspn(text, "\n");

		printf("    %.*s\n", len < 160 ? len : 160, text);
		text += len + (text[len] == '\n');
	}
}

static void print_finding(struct job_run *run, const struct explore_state *state,
			  const struct explore_result *result)
{
	uint32_t nr_marks = state->point->nr_marks;
	char how[96], mark[512];

	if (run->nr_shown == SHOWN_MAX + 1) {
		printf("more findings are not printed%s\n",
		       run->job->results ? "; they are in the results" : "");
		return;
	}
	printf("finding: step %" PRIu64 "%s%.80s%s, state %.200s: the %s %s\n",
	       journal_shown(state->journal, state->point->step), nr_marks ? ", after mark '" : "",
	       nr_marks ? printable(state->journal->marks[nr_marks - 1].text, mark, sizeof(mark))
			: "",
	       nr_marks ? "'" : "", state->name, explore_who_ended(result),
	       explore_how_ended(result, how, sizeof(how)));
	print_indented(result->output);
}

static void tell_finding(struct job_run *run, const struct explore_state *state,
			 const struct explore_result *result)
{
	run->nr_shown++;
	if (run->job->json || run->nr_shown > SHOWN_MAX + 1)
		return;
	progress_pause(run->progress);
	print_finding(run, state, result);
	fflush(stdout);
	progress_resume(run->progress);
}

static void on_result(void *ctx, const struct explore_state *state,
		      const struct explore_result *result)
{
	struct job_run *run = ctx;

	/* It may be of another state than it says, see base/map_guard.h. */
	if (map_any_broken()) {
		explore_stop(run->explore);
		return;
	}
	results_state(run->results, state, result);
	if (explore_is_finding(result->verdict))
		tell_finding(run, state, result);
}

static void on_point(void *ctx, const struct explore_point *point)
{
	struct job_run *run = ctx;

	if (map_any_broken())
		return;
	results_point(run->results, point);
	/* What cannot be written down or told need not be found. */
	if (results_error(run->results) || ferror(stdout))
		explore_stop(run->explore);
}

static bool on_known(void *ctx, uint64_t key, enum explore_verdict *ret_verdict)
{
	struct job_run *run = ctx;

	if (!results_known(run->results, key, ret_verdict))
		return false;
	atomic_store(&run->ran, true);
	return true;
}

static bool on_known_lazy(void *ctx, size_t point_index, struct explore_lazy_known *ret_known)
{
	struct job_run *run = ctx;

	return results_known_lazy(run->results, point_index, ret_known);
}

/* ------------------------------------------------------------------------------ workers */

static int open_worker(struct job_run *run, unsigned int i, struct diag *diag)
{
	char path[PATH_MAX];
	const struct presenter_options options = { .journal = run->journal,
						   .worker = i,
						   .work = path,
						   .lazy = is_lazy(run),
						   .unit_bytes = run->crash.unit_bytes };
	int err;

	workdir_worker(&run->dir, i, path);
	err = run->ops->open(&options, diag, &run->workers[i].presenter);
	if (err)
		return err;
	return checker_create(&run->checker_options, i, path, run->workers[i].presenter, diag,
			      &run->workers[i].checker);
}

/* So much the commands may write to image files. */
static uint64_t images_bytes(const struct job_run *run)
{
	uint64_t sum = 0;

	for (uint32_t disk = 0; run->ops == &presenter_file && disk < run->journal->nr_disks;
	     disk++)
		if (__builtin_add_overflow(sum, run->journal->disks[disk].size_bytes, &sum))
			return UINT64_MAX;
	return __builtin_mul_overflow(sum, run->jobs, &sum) ? UINT64_MAX : sum;
}

static int open_workers(struct job_run *run, struct diag *diag)
{
	uint64_t need = run->ops == &presenter_file ? workdir_need(run->journal) : 0;
	_cleanup_free_ char *folder = NULL;
	int err;

	if (__builtin_mul_overflow(need, run->jobs, &need))
		need = UINT64_MAX;
	err = workdir_make(run->job->work, run->jobs, need, diag, &run->dir);
	if (err)
		return err;
	folder = realpath(run->dir.path, NULL);
	guard_folder(&run->guard, folder ?: "");
	err = host_create(run->dir.where, images_bytes(run), NULL, diag, &run->host);
	if (err)
		return err;
	run->workers =
		fail_alloc("tools/explore/job/workers", calloc(run->jobs, sizeof(*run->workers)));
	run->memory = fail_alloc(
		"tools/explore/job/memory",
		calloc((size_t)(run->jobs + 1) * run->journal->nr_disks, sizeof(*run->memory)));
	if (!run->workers || !run->memory)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for %u workers",
				run->jobs);
	run->checker_options = (struct checker_options){ .journal = run->journal,
							 .ops = run->ops,
							 .check = run->job->check,
							 .recovery = run->job->recovery,
							 .timeout_ns = run->job->timeout_ns,
							 .seed = run->job->seed,
							 .stop_fd = run->stop_fd,
							 .show = run->job->state != NULL,
							 .host = run->host };
	for (unsigned int i = 0; i < run->jobs && !err; i++)
		err = open_worker(run, i, diag);
	return err;
}

static void close_all(struct job_run *run)
{
	progress_stop(run->progress);
	explore_free(run->explore);
	results_free(run->results);
	for (unsigned int i = 0; run->workers && i < run->jobs; i++) {
		checker_free(run->workers[i].checker);
		run->ops->close(run->workers[i].presenter);
	}
	for (size_t i = 0; run->memory && i < (size_t)(run->jobs + 1) * run->journal->nr_disks; i++)
		image_unmap(&run->memory[i],
			    run->journal->disks[i % run->journal->nr_disks].size_bytes);
	free(run->workers);
	free(run->memory);
	host_free(run->host);
	workdir_remove(&run->dir);
	guard_end(&run->guard, true);
	apart_end();
	journal_free(run->journal);
	if (run->stop_fd >= 0)
		close(run->stop_fd);
	pthread_mutex_destroy(&run->diag_lock);
}

/* ------------------------------------------------------------------------------ all states */

/* How many crash points the set has in the whole recording. */
static int count_points(const struct job_run *run, struct results_options *results,
			struct diag *diag)
{
	const struct crash_select all = { .set = run->select.set };
	struct crash_point *points = NULL;
	int err;

	results->select = &run->select;
	results->nr_all_points = results->nr_points;
	if (!run->select.from && !run->select.has_to && !run->select.sample)
		return 0;
	err = crash_points(run->journal, results->crash, &all, &points, &results->nr_all_points);
	free(points);
	if (results->nr_all_points < results->nr_points)
		results->nr_all_points = results->nr_points;
	return err ? diag_set(diag, err, "explore.memory", "no memory to count the crash points")
		   : 0;
}

static int create(struct job_run *run, struct diag *diag)
{
	const struct explore_job *job = run->job;
	const struct explore_options options = {
		.journal = run->journal,
		.crash = run->crash,
		.select = run->select,
		.strategies = run->strategies,
		.nr_strategies = run->nr_strategies,
		.seed = job->seed,
		.by_content = job->by_content,
		.shard = run->shard,
		.nr_shards = run->nr_shards,
		.jobs = run->jobs,
		.max_states = job->max_states,
		.max_ns = job->max_ns,
		.max_findings = job->max_findings,
		.lazy = { .repeat_every = LAZY_REPEAT, .seed = job->seed },
		.check = on_check,
		.image = on_image,
		.result = on_result,
		.point = on_point,
		.known = on_known,
		.known_lazy = on_known_lazy,
		.ctx = run,
	};
	struct results_options results = { .job = job,
					   .journal = run->journal,
					   .strategies = run->strategies,
					   .nr_strategies = run->nr_strategies,
					   .shard = run->shard,
					   .nr_shards = run->nr_shards };
	int err = explore_create(&options, diag, &run->explore);

	if (err)
		return err;
	results.nr_points = explore_points(run->explore, &results.points);
	results.crash = explore_crash_options(run->explore);
	if (results.nr_points == 0)
		return diag_set(diag, -EINVAL, "explore.points",
				"there is no crash point to explore between --from and --to");
	err = count_points(run, &results, diag);
	run->nr_left_out = results.nr_all_points - results.nr_points;
	return err ? err : results_open(&results, diag, &run->results);
}

static const char *stopped_name(const struct explore_status *status)
{
	switch (status->stopped) {
	case EXPLORE_NOT_STOPPED:
		return NULL;
	case EXPLORE_AT_LIMIT:
		return "limit";
	case EXPLORE_AT_FINDINGS:
		return "findings";
	case EXPLORE_ASKED:
		return "signal";
	}
	return NULL;
}

/* ------------------------------------------------------------------------------ small findings */

static int make_cursor(struct job_run *run, struct crash_image *images, struct diag *diag,
		       struct crash **ret_crash)
{
	int err = 0;

	for (uint32_t disk = 0; disk < run->journal->nr_disks && !err; disk++)
		err = on_image(run, 0, (uint16_t)disk, &images[disk]);
	if (err)
		return diag_set(diag, err, "explore.memory", "cannot make images in memory: %s",
				strerror(-err));
	return crash_create(run->journal, &run->crash, images, diag, ret_crash);
}

/* Images as before the first step, for a cursor that begins there. */
static int reopen_worker(struct job_run *run, struct diag *diag)
{
	struct job_worker *worker = &run->workers[0];

	worker->checker = checker_free(worker->checker);
	run->ops->close(take_ptr(worker->presenter));
	for (uint32_t disk = 0; disk < run->journal->nr_disks; disk++)
		image_unmap(&run->memory[disk], run->journal->disks[disk].size_bytes);
	return open_worker(run, 0, diag);
}

static int reduce(struct job_run *run, struct diag *diag)
{
	struct crash_image images[JOURNAL_DISKS_MAX] = { 0 };
	struct reduce_options options = { .images = images,
					  .timeout_ns = run->job->timeout_ns,
					  .results = run->job->results,
					  .recording = run->job->recording,
					  .max = run->job->shrink };
	int err = reopen_worker(run, diag);

	if (!err)
		err = make_cursor(run, images, diag, &options.crash);
	if (err)
		return err;
	options.checker = run->workers[0].checker;
	explore_points(run->explore, &options.points);
	err = explore_reduce(&options, run->results, diag);
	crash_free(options.crash);
	return err;
}

/* What goes wrong here is told, and costs no finding. Returns the signal that ended it, or 0. */
static int reduce_findings(struct job_run *run)
{
	struct finding *findings;
	struct diag diag = { 0 };
	int err, signal;

	if (run->job->shrink == 0 || results_findings(run->results, &findings) == 0 ||
	    results_error(run->results))
		return 0;
	err = progress_start(NULL, run->job, run->stop_fd, &diag, &run->progress);
	if (!err)
		err = reduce(run, &diag);
	signal = progress_stop(take_ptr(run->progress));
	if (err && err != -EINTR)
		tool_diag(run->diag.message[0] ? &run->diag : &diag);
	return signal;
}

/* Returns how many there are. */
static size_t tell_findings(struct job_run *run)
{
	struct finding *findings;
	size_t nr = results_findings(run->results, &findings), n = 0;
	const struct crash_point *points;

	explore_points(run->explore, &points);
	for (size_t i = 0; i < nr; i++) {
		if (findings[i].folded)
			continue;
		results_finding(run->results, &findings[i], n);
		if (!run->job->json && findings[i].repeated != FINDING_NOT_REPEATED)
			explore_print_finding(run->results, run->journal,
					      &points[findings[i].point_index], &findings[i], n);
		n++;
	}
	return n;
}

/* Files that were cut or lost, or had no space, while they were mapped: what came of them is void. */
static bool tell_broken(const struct job_run *run)
{
	if (!map_any_broken())
		return false;
	if (map_any_changed())
		tool_msg("%s changed while it was explored; results before the change are valid",
			 run->job->recording);
	else if (journal_is_broken(run->journal))
		tool_msg("%s was truncated or became unreadable while it was explored; results "
			 "before that are valid",
			 run->job->recording);
	else
		tool_msg("an image was lost: no memory or no space in %s, or a check truncated it; "
			 "give fewer --jobs, or another tmpfs with --work DIR",
			 run->dir.path[0] ? run->dir.path : "memory");
	return true;
}

/* As it looks now, but nobody knows since when: all that came of the recording is void, and so say
 * the results. */
static bool tell_changed(struct job_run *run)
{
	struct explore_status status;

	if (journal_is_as_it_was(run->journal))
		return false;
	explore_status(run->explore, &status);
	results_end(run->results, &status, RESULTS_CHANGED);
	tool_msg("the content of %s changed since the start: these results are not valid",
		 run->job->recording);
	return true;
}

static int conclude(struct job_run *run, int signal)
{
	struct explore_status status;
	int shrink_signal = signal || map_any_broken() ? 0 : reduce_findings(run);
	size_t nr;

	if (tell_broken(run) || tell_changed(run))
		return EXIT_NOT_DONE;
	nr = tell_findings(run);
	explore_status(run->explore, &status);
	results_end(run->results, &status, stopped_name(&status));
	if (results_error(run->results)) {
		tool_msg("cannot write %s: %s; it ends early, and --resume continues from there",
			 run->job->results ? run->job->results : "results",
			 strerror(-results_error(run->results)));
		return EXIT_NOT_DONE;
	}
	if (!run->job->quiet && !run->job->json)
		explore_print_summary(&(struct summary){
			.status = status,
			.shard = run->shard,
			.nr_shards = run->nr_shards,
			.illegal = run->crash.illegal,
			.common = run->common,
			.model = explore_model(run->journal, explore_crash_options(run->explore)),
			.nr_findings = nr,
			.nr_left_out = run->nr_left_out });
	if (run->nr_lacking)
		tool_msg_hint(EXPLORE_LACK_HINT,
			      "%" PRIu64
			      " states were not judged, as %s; --resume checks them again",
			      run->nr_lacking, run->lack);
	if (shrink_signal)
		tool_msg("stopped by a signal during shrinking; all states were checked");
	if (status.findings)
		return EXIT_FAILED;
	if (signal)
		return 128 + signal;
	return status.errors ? EXIT_NOT_DONE : EXIT_OK;
}

static int explore_all(struct job_run *run, struct diag *diag)
{
	int err = create(run, diag), signal;

	if (!err)
		err = progress_start(run->explore, run->job, run->stop_fd, diag, &run->progress);
	if (err)
		return err;
	err = explore_run(run->explore, diag);
	signal = progress_stop(take_ptr(run->progress));
	return err ? err : conclude(run, signal);
}

/* ------------------------------------------------------------------------------ one state */

/* A step at which nothing happened to the disks names no state; the nearest ones are told. */
static int no_such_step(const struct job_run *run, struct diag *diag, uint64_t step,
			uint64_t before)
{
	const struct journal *journal = run->journal;
	const uint64_t last = journal_shown(journal, journal->end_step);

	diag_set(diag, -EINVAL, "explore.state",
		 "--state: nothing happens to the disks of %s at step %" PRIu64,
		 run->job->recording, step);
	if (!journal->nr_events)
		diag_hint(diag, "it has no steps: nothing was written");
	else if (!before)
		diag_hint(diag, "the first step at which something does is %" PRIu64,
			  first_step(journal));
	else if (step > last)
		diag_hint(diag, "the last step at which something does is %" PRIu64, last);
	else
		diag_hint(diag,
			  "the nearest steps at which something does are %" PRIu64 " and %" PRIu64,
			  journal_shown(journal, before), journal_shown(journal, before + 1));
	return -EINVAL;
}

/* "STEP:NAME" */
static int parse_state(const struct job_run *run, struct diag *diag, struct crash_point *ret_point,
		       const char **ret_name)
{
	const char *text = run->job->state;
	uint64_t step;
	char *end;

	errno = 0;
	step = strtoull(text, &end, 10);
	if (end == text || *end != ':' || errno)
		return diag_set(diag, -EINVAL, "explore.state",
				"--state: got '%.100s', wanted STEP:NAME", text);
	*ret_name = end + 1;
	ret_point->step = journal_step(run->journal, step);
	if (ret_point->step > run->journal->end_step ||
	    journal_shown(run->journal, ret_point->step) != step)
		return no_such_step(run, diag, step, ret_point->step);
	while (ret_point->nr_marks < run->journal->nr_marks &&
	       run->journal->marks[ret_point->nr_marks].step <= ret_point->step)
		ret_point->nr_marks++;
	return 0;
}

static int print_state(const struct job_run *run, const struct explore_result *result)
{
	char how[96];

	if (result->verdict == EXPLORE_OK) {
		if (!run->job->quiet)
			printf("state %s: good\n", run->job->state);
		return EXIT_OK;
	}
	if (result->lack) {
		tool_msg_hint(EXPLORE_LACK_HINT, "state %s was not judged: %s", run->job->state,
			      result->lack);
		return EXIT_NOT_DONE;
	}
	printf("state %s: the %s %s\n", run->job->state, explore_who_ended(result),
	       explore_how_ended(result, how, sizeof(how)));
	return explore_is_finding(result->verdict) ? EXIT_FAILED : EXIT_NOT_DONE;
}

static int check_state(struct job_run *run, const struct crash *crash,
		       const struct crash_image *images, const struct crash_point *point,
		       const char *name, struct diag *diag)
{
	struct explore_result result = { 0 };
	const struct crash_choice *choices;
	size_t nr = crash_choices(crash, &choices);
	_cleanup_free_ uint16_t *picks = malloc((nr + 1) * sizeof(*picks));
	struct explore_state state = { .journal = run->journal,
				       .point = point,
				       .name = name,
				       .picks = picks,
				       .crash = crash,
				       .images = images };
	int err = picks ? crash_parse(crash, name, diag, picks)
			: diag_set(diag, -ENOMEM, "explore.memory", "no memory");

	if (err)
		return err;
	state.hash = crash_hash(crash, picks);
	fflush(stdout);
	err = checker_run(run->workers[0].checker, &state, &result, diag);
	free(result.output);
	if (!err && tell_broken(run))
		return EXIT_NOT_DONE;
	if (!err && !journal_is_as_it_was(run->journal)) {
		tool_msg("the content of %s changed meanwhile: this verdict is not valid",
			 run->job->recording);
		return EXIT_NOT_DONE;
	}
	return err ? err : print_state(run, &result);
}

static int explore_one(struct job_run *run, struct diag *diag)
{
	struct crash_image images[JOURNAL_DISKS_MAX] = { 0 };
	struct crash_point point = { .why = CRASH_AT_COMPLETION };
	struct crash *crash = NULL;
	const char *name = NULL;
	int err = parse_state(run, diag, &point, &name), signal;

	if (!err)
		err = progress_start(NULL, run->job, run->stop_fd, diag, &run->progress);
	if (!err)
		err = make_cursor(run, images, diag, &crash);
	if (!err)
		err = crash_move(crash, point.step);
	if (!err)
		err = check_state(run, crash, images, &point, name, diag);
	crash_free(crash);
	signal = progress_stop(take_ptr(run->progress));
	return err == -EINTR && signal ? 128 + signal : err;
}

/* ------------------------------------------------------------------------------ a job */

static void prepare_process(void)
{
	sigset_t set;

	tool_end_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	/* What a check leaves behind becomes our child, see command.c. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static int prepare(struct job_run *run, struct diag *diag)
{
	const struct explore_job *job = run->job;
	int err = parse_words(run, diag);

	if (!err)
		err = explore_shard(job->shard, diag, &run->shard, &run->nr_shards);
	if (!err)
		err = check_lazy(run, diag);
	if (!err)
		err = journal_open(job->recording, diag, &run->journal);
	/* Of one that ends early it tells where: that is no error, and what comes later may be. */
	if (!err)
		*diag = (struct diag){ 0 };
	if (!err)
		err = checker_disks(run->journal, diag);
	if (!err)
		run->common = crash_as_recorded(&run->crash, job->atomic, run->journal);
	if (!err)
		err = parse_range(run, diag);
	if (err)
		return err;
	if (run->journal->under_way && !job->quiet && !job->json)
		tool_msg("%s is still being written: its present content is explored",
			 job->recording);
	else if (!run->journal->closed && !job->quiet && !job->json)
		tool_msg("%s ends early: only the content before its end is explored",
			 job->recording);
	if (run->common && !job->quiet && !job->json)
		tool_msg("the disks of the recording have different caches, or caches that keep an "
			 "order of units: only states that are legal for all of these disks are "
			 "explored");
	run->jobs = job->state ? 1 : (unsigned int)job->jobs;
	if (run->jobs == 0)
		run->jobs = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	run->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (run->stop_fd < 0)
		return diag_set(diag, -errno, "explore.fd", "no eventfd: %s", strerror(errno));
	prepare_process();
	return open_workers(run, diag);
}

/* In the mount namespace that we were started in, and before there are threads. */
static void be_guarded(struct job_run *run)
{
	char owner[GUARD_OWNER_MAX];

	guard_sweep(false, NULL, NULL);
	guard_owner(GUARD_WORKER, owner);
	guard_start(owner, &run->guard);
}

/* Findings that nobody was told of are not told. */
static int tell_unprinted(int code)
{
	return tool_output_failed() ? EXIT_NOT_DONE : code;
}

int explore_job_run(const struct explore_job *job)
{
	struct job_run run = { .job = job, .stop_fd = -1, .dir.lock_fd = -1, .guard.fd = -1 };
	struct diag diag = { 0 };
	int code = presenter_find(job->present, &diag, &run.ops);

	pthread_mutex_init(&run.diag_lock, NULL);
	if (!code)
		be_guarded(&run);
	if (!code && run.ops->probe) {
		code = run.ops->probe();
		if (code) {
			close_all(&run);
			return code;
		}
	}
	/* Of files it is no server; the guard stays where the checks are. */
	if (!code && run.ops == &presenter_device)
		apart_enter();
	if (!code)
		code = prepare(&run, &diag);
	if (!code)
		code = job->state ? explore_one(&run, &diag) : explore_all(&run, &diag);
	if (code < 0) {
		progress_pause(run.progress);
		tool_diag(run.diag.message[0] ? &run.diag : &diag);
		if (run.results && job->results)
			tool_msg("%s is kept: --resume continues it, --force replaces it",
				 job->results);
		progress_resume(run.progress);
		code = EXIT_NOT_DONE;
	}
	close_all(&run);
	return tell_unprinted(code);
}
