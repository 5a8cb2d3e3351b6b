// SPDX-License-Identifier: MIT
/*
 * Findings made small: each one is repeated, loses less and less for as long as the same verdict
 * comes, is told in words, and is written down as a recording of its own.
 *
 * One cursor goes through the crash points of the findings, which are in order; states are shown and
 * judged as they were before, by the checker of one worker. A finding takes its time limits from
 * here, so that a check that hangs does not take hours to be shrunk.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/printable.h"
#include "base/units.h"
#include "faults/explore/reproduce.h"
#include "faults/explore/shrink.h"
#include "faults/record/record.h"
#include "tools/cli/out_file.h"
#include "tools/explore/internal.h"
#include "tools/explore/name.h"
#include "tools/report/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIES_PER_CAUSE 4u /* of findings that no cause explains: where they do not fail again */
#define REDUCE_NS       (60 * NSEC_PER_SEC) /* for one finding, and twice the limit of a check */

struct reducing {
	const struct reduce_options *o;
	struct finding *finding;
	uint64_t until_ns;
	char *output; /* of the last state that failed in the same way, which is the smallest */
	struct diag *diag;
};

/* ------------------------------------------------------------------------------ one state */

/* As shrink_options.fails. */
static int fails(void *ctx, const uint16_t *picks)
{
	struct reducing *reducing = ctx;
	const struct reduce_options *o = reducing->o;
	const size_t point = reducing->finding->point_index;
	_cleanup_free_ char *name = crash_name(o->crash, picks);
	const struct explore_state state = { .journal = crash_journal(o->crash),
					     .point = &o->points[point],
					     .point_index = point,
					     .hash = crash_hash(o->crash, picks),
					     .name = name,
					     .picks = picks,
					     .crash = o->crash,
					     .images = o->images };
	struct explore_result result = { 0 };
	int err;

	if (!name)
		return -ENOMEM;
	if (clock_now_ns() >= reducing->until_ns)
		return -ETIME;
	err = checker_run(o->checker, &state, &result, reducing->diag);
	/* What says nothing says neither that it passes. */
	if (!err && result.lack)
		err = -ETIME;
	if (err || result.verdict != reducing->finding->verdict ||
	    result.in_recovery != reducing->finding->in_recovery) {
		free(result.output);
		return err;
	}
	free(reducing->output);
	reducing->output = result.output;
	return 1;
}

/* ------------------------------------------------------------------------------ what came of it */

/* The writes that the state of @picks lost become the finding's. */
static int set_lost(const struct reduce_options *o, struct finding *f, const uint16_t *picks)
{
	const uint32_t *writes;
	size_t nr = crash_volatile(o->crash, &writes);
	_cleanup_free_ bool *lost =
		fail_alloc("tools/explore/reduce/lost", calloc(nr + 1, sizeof(*lost)));
	uint32_t *list =
		fail_alloc("tools/explore/reduce/list", calloc(EXPLORE_LOST_MAX, sizeof(*list)));

	if (!lost || !list) {
		free(list);
		return -ENOMEM;
	}
	crash_lost(o->crash, picks, lost);
	free(f->lost);
	f->lost = list;
	f->nr_lost = 0;
	f->nr_listed = 0;
	for (size_t i = 0; i < nr; i++) {
		if (lost[i] && f->nr_listed < EXPLORE_LOST_MAX)
			list[f->nr_listed++] = writes[i];
		f->nr_lost += lost[i];
	}
	return 0;
}

static int set_names(const struct reduce_options *o, struct finding *f)
{
	char **names =
		fail_alloc("tools/explore/reduce/names", calloc(f->nr_listed + 1, sizeof(*names)));
	int err = names ? explore_name(o->crash, o->images, f->lost, NULL, f->nr_listed, names)
			: -ENOMEM;

	if (err) {
		free(names);
		return err;
	}
	f->names = names;
	return 0;
}

static bool is_recording(int fd)
{
	char magic[sizeof(RECORD_MAGIC) - 1];

	return read(fd, magic, sizeof(magic)) == sizeof(magic) &&
	       memcmp(magic, RECORD_MAGIC, sizeof(magic)) == 0;
}

/* The state as a recording of its own, beside the results; one of an earlier run is replaced. */
static int write_down(struct reducing *reducing, const uint16_t *picks, size_t n)
{
	const struct reduce_options *o = reducing->o;
	struct finding *f = reducing->finding;
	_cleanup_free_ char *path = NULL;
	const struct out_options options = { .is_ours = is_recording, .inputs = { o->recording } };
	struct reproduced reproduced;
	struct out_file file;
	int err;

	if (!o->results)
		return 0;
	if (asprintf(&path, "%s.find%zu.rec", o->results, n) < 0)
		return -ENOMEM;
	err = out_file_open(path, &options, reducing->diag, &file);
	if (err == -EEXIST)
		diag_hint(reducing->diag, "it is not a recording; give another name for --results");
	if (err)
		return err;
	err = reproduce(o->crash, o->images, picks, file.fd, reducing->diag, &reproduced);
	if (err)
		out_file_drop(&file);
	else
		err = out_file_finish(&file, reducing->diag);
	if (err)
		return err;
	f->reproducer_state = strdup(reproduced.state);
	f->reproducer = take_ptr(path);
	return f->reproducer_state ? 0 : -ENOMEM;
}

/* The smallest state that was found is what the finding is from now on. */
static int adopt(struct reducing *reducing, const uint16_t *picks,
		 const struct shrink_result *result)
{
	struct finding *f = reducing->finding;
	char *name = crash_name(reducing->o->crash, picks);
	int err = name ? set_lost(reducing->o, f, picks) : -ENOMEM;

	if (err) {
		free(name);
		return err;
	}
	f->minimal = name;
	f->shrunk = result->minimal;
	f->reordered = crash_reordered(reducing->o->crash, picks, f->nr_lost);
	free(f->output);
	f->output = take_ptr(reducing->output);
	return 0;
}

/* ------------------------------------------------------------------------------ a finding */

static int shrink_it(struct reducing *reducing, uint16_t *picks)
{
	const struct reduce_options *o = reducing->o;
	struct finding *f = reducing->finding;
	const struct shrink_options options = { .fails = fails, .ctx = reducing };
	struct shrink_result result = { 0 };
	int err;

	reducing->until_ns = clock_now_ns() + REDUCE_NS;
	if (__builtin_add_overflow(reducing->until_ns, 2 * o->timeout_ns, &reducing->until_ns) ||
	    o->timeout_ns > UINT64_MAX / 2)
		reducing->until_ns = UINT64_MAX;
	err = shrink(o->crash, &options, picks, &result);
	if (err && err != -ETIME)
		return err;
	f->shrink_runs = result.runs;
	f->repeated = result.reproduced ? FINDING_FAILED
		      : err             ? FINDING_NOT_REPEATED
					: FINDING_PASSED;
	return result.reproduced ? adopt(reducing, picks, &result) : 0;
}

/* @n: its number, should it be no other one's double. */
static int reduce_one(struct reducing *reducing, struct results *results, size_t n)
{
	const struct reduce_options *o = reducing->o;
	struct finding *f = reducing->finding;
	const struct crash_choice *choices;
	_cleanup_free_ uint16_t *picks = NULL;
	int err = crash_move(o->crash, o->points[f->point_index].step);

	if (err)
		return err;
	picks = fail_alloc("tools/explore/reduce/picks",
			   malloc((crash_choices(o->crash, &choices) + 1) * sizeof(*picks)));
	if (!picks)
		return -ENOMEM;
	err = crash_parse(o->crash, f->name, reducing->diag, picks);
	if (!err)
		err = shrink_it(reducing, picks);
	if (err || (f->repeated == FINDING_FAILED && results_fold(results, f)))
		return err;
	err = set_names(o, f);
	if (!err && f->shrunk && !f->nr_lost && !f->reordered)
		err = explore_missing(o, reducing->until_ns, f, reducing->diag);
	return err || f->repeated != FINDING_FAILED ? err : write_down(reducing, picks, n);
}

/* Does @f lose all that @cause does? Lists are in the order of the journal. */
static bool includes(const struct finding *f, const struct finding *cause)
{
	uint32_t found = 0;

	if (f->verdict != cause->verdict || f->in_recovery != cause->in_recovery)
		return false;
	if (!cause->nr_lost)
		return !f->nr_lost && f->reordered == cause->reordered;
	for (uint32_t i = 0; i < f->nr_listed && found < cause->nr_listed; i++)
		found += f->lost[i] == cause->lost[found];
	return found == cause->nr_lost;
}

/* It may fail for a cause that is known, and would be made small for nothing new. */
static bool may_be_known(const struct finding *findings, size_t nr, const struct finding *f)
{
	for (size_t i = 0; i < nr; i++)
		if (findings[i].repeated == FINDING_FAILED && !findings[i].folded &&
		    includes(f, &findings[i]))
			return true;
	return false;
}

/*
 * Causes are counted, not findings: one write that matters is lost by half of all states. Of findings
 * that a known cause may explain only so many are tried as causes are wanted.
 */
int explore_reduce(const struct reduce_options *options, struct results *results, struct diag *diag)
{
	struct finding *findings;
	size_t nr = results_findings(results, &findings), n = 0;
	uint64_t causes = 0, tries[2] = { 0 };
	int err = 0;

	for (size_t i = 0; i < nr && causes < options->max && !err; i++) {
		struct finding *f = &findings[i];
		struct reducing reducing = { .o = options, .finding = f, .diag = diag };
		bool explained = may_be_known(findings, i, f);

		if (tries[explained] / (explained ? 1 : TRIES_PER_CAUSE) >= options->max)
			continue;
		tries[explained]++;
		err = reduce_one(&reducing, results, n);
		free(reducing.output);
		if (f->folded)
			continue;
		f->rank = ++n;
		causes += f->repeated == FINDING_FAILED;
	}
	for (size_t i = 0; i < nr && !err; i++)
		if (!findings[i].rank && !findings[i].folded)
			results_fold(results, &findings[i]);
	if (err && err != -EINTR && !diag->message[0])
		diag_set(diag, err, "explore.reduce", "cannot shrink a finding: %s",
			 strerror(-err));
	return err;
}

/* ------------------------------------------------------------------------------ in words */

#define PRINTED_MAX 8u /* lost writes */

static void print_write(const struct journal *journal, const char *what, uint32_t i,
			const char *name)
{
	const struct journal_write *write = &journal->writes[i];
	char size[UNITS_MAX], clean[1024];

	printf("    %s: write %u, sector %llu of %s, %s, at %.3f s", what, i,
	       (unsigned long long)write->at / 512, journal->disks[write->disk].name,
	       units_format_size(write->len_bytes, size),
	       (double)(write->submit_ns - journal->start_ns) / 1e9);
	/* Where no tool has a name for it, the name says the same. */
	if (name && strncmp(name, "sector ", 7) != 0)
		printf(": %s", printable(name, clean, sizeof(clean)));
	printf("\n");
}

void explore_print_finding(const struct results *results, const struct journal *journal,
			   const struct crash_point *point, const struct finding *f, size_t n)
{
	_cleanup_free_ char *command = results_command(results, f);
	const struct report_loss loss = {
		.repeated = f->repeated == FINDING_FAILED   ? REPORT_FAILED_AGAIN
			    : f->repeated == FINDING_PASSED ? REPORT_PASSED_THEN
							    : REPORT_NOT_REPEATED,
		.shrunk = f->shrunk,
		.reordered = f->reordered,
		.missing = f->missing_name != NULL,
		.nr_lost = f->nr_lost,
		.nr_found_lost = f->nr_found_lost,
		.shrink_runs = f->shrink_runs,
		.in_recovery = f->in_recovery,
	};
	char words[REPORT_LOSS_MAX];

	printf("finding %zu%s: step %llu, state %.200s: %s\n", n,
	       f->in_recovery ? " (in recovery)" : "",
	       (unsigned long long)journal_shown(journal, point->step),
	       f->minimal ? f->minimal : f->name, report_loss_words(&loss, words));
	for (uint32_t i = 0; i < f->nr_listed && i < PRINTED_MAX; i++)
		print_write(journal, "lost", f->lost[i], f->names ? f->names[i] : NULL);
	if (f->nr_lost > PRINTED_MAX)
		printf("    lost: %llu more\n", (unsigned long long)f->nr_lost - PRINTED_MAX);
	if (f->missing_name)
		print_write(journal, "missing", f->missing, f->missing_name);
	if (f->nr_same + f->nr_more)
		printf("    %u other states lost the same writes\n", f->nr_same + f->nr_more);
	if (command)
		printf("    %s\n", command);
	else if (!results_has_command(results, f))
		printf("    the recording is not kept; to print a command that repeats the "
		       "finding, give crashtest --recording FILE, or -- --results FILE\n");
}
