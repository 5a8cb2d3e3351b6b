// SPDX-License-Identifier: MIT
/*
 * What the generator, the workers and the lazy search of the explorer do alike: count a verdict, end
 * a crash point, tell a result, stop.
 */
#include "faults/explore/internal.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define KEY_STREAM 0x6b6579ull /* of rng_mix(): "key" */

const char *explore_verdict_name(enum explore_verdict verdict)
{
	static const char *const names[EXPLORE_NR_VERDICTS] = {
		[EXPLORE_OK] = "ok",       [EXPLORE_FAIL] = "fail",   [EXPLORE_TIMEOUT] = "timeout",
		[EXPLORE_CRASH] = "crash", [EXPLORE_ERROR] = "error",
	};

	return names[verdict];
}

uint64_t explore_key(const struct explore *e, uint64_t hash, uint32_t nr_marks, bool lazy)
{
	return rng_mix(hash, lazy ? EXPLORE_LAZY_STREAM : KEY_STREAM,
		       e->options.by_content ? 0 : (uint64_t)nr_marks + 1);
}

/* Lock held; the first reason stays. */
void explore_stop_for(struct explore *e, enum explore_stopped why)
{
	if (e->status.stopped == EXPLORE_NOT_STOPPED)
		e->status.stopped = why;
	atomic_store(&e->stop, true);
	pthread_cond_broadcast(&e->changed);
}

/* Lock held: an error ends it all, the first one is what explore_run() returns. */
void explore_fail(struct explore *e, int err)
{
	if (!e->err)
		e->err = err;
	atomic_store(&e->stop, true);
	pthread_cond_broadcast(&e->changed);
}

void explore_stop(struct explore *e)
{
	atomic_store(&e->asked, true);
	atomic_store(&e->stop, true);
}

/* Lock held: one more state has this verdict. */
void explore_count(struct explore *e, struct point_work *work, enum explore_verdict verdict,
		   uint64_t nr)
{
	work->pub.verdicts[verdict] += nr;
	if (verdict == EXPLORE_ERROR)
		e->status.errors += nr;
	if (!explore_is_finding(verdict) || nr == 0)
		return;
	e->status.findings += nr;
	if (e->options.max_findings && e->status.findings >= e->options.max_findings)
		explore_stop_for(e, EXPLORE_AT_FINDINGS);
}

/*
 * Lock held: what is covered, from what was counted. Only what has a verdict counts, and a crash point is
 * complete where nothing else is left, of all shards.
 */
static void point_cover(struct point_work *work)
{
	struct explore_point *pub = &work->pub;
	bool all = work->complete && work->judged == work->seen_ours;
	double covered = (double)work->judged * exp2(-pub->legal.log2);

	/* Where all were generated their number is known, whatever the writes are counted as. */
	if (work->complete)
		covered = work->seen ? (double)work->judged / (double)work->seen : 0;
	covered = fmax(covered, work->lazy_covered);
	pub->covered = pub->missing ? 0 : fmin(covered, 1);
	pub->exact =
		(all || work->lazy_complete) && !pub->missing && pub->verdicts[EXPLORE_ERROR] == 0;
	pub->complete = pub->exact && pub->covered == 1;
}

/* Lock held: nothing more of it will come; on to the list of those to be told. */
void explore_point_end(struct explore *e, struct point_work *work)
{
	struct point_work **at = &e->live;

	while (*at != work)
		at = &(*at)->next;
	*at = work->next;
	point_cover(work);
	e->status.points_done++;
	e->status.points_complete += work->pub.complete;
	e->status.points_exact += work->pub.exact;
	e->status.points_missing += work->pub.missing;
	e->sum_covered += work->pub.covered;
	work->next = NULL;
	*e->ended_tail = work;
	e->ended_tail = &work->next;
}

/* Lock held: a state of it is done, or all of it generated. */
void explore_point_put(struct explore *e, struct point_work *work)
{
	if (--work->nr_held == 0)
		explore_point_end(e, work);
}

/* No lock held. */
void explore_tell_ended(struct explore *e)
{
	struct point_work *work;

	pthread_mutex_lock(&e->out);
	for (;;) {
		pthread_mutex_lock(&e->lock);
		work = e->ended;
		if (work)
			e->ended = work->next;
		if (!e->ended)
			e->ended_tail = &e->ended;
		pthread_mutex_unlock(&e->lock);
		if (!work)
			break;
		e->options.point(e->options.ctx, &work->pub);
		free(work);
	}
	pthread_mutex_unlock(&e->out);
}

/* For @nr picks, and never NULL, though there may be no choice. */
int explore_room_for_picks(uint16_t **picks, size_t *nr_picks, size_t nr)
{
	if (*picks && nr <= *nr_picks)
		return 0;
	if (array_fit("faults/explore/pool/picks", *picks, nr + 1))
		return -ENOMEM;
	*nr_picks = nr;
	return 0;
}

int explore_worker_move(struct worker *w, const struct point_work *work)
{
	return crash_move(w->crash, work->pub.point->step);
}

int explore_worker_picks(struct worker *w, size_t nr)
{
	return explore_room_for_picks(&w->picks, &w->nr_picks, nr);
}

/* A state has its result: told and counted. */
void explore_done(struct explore *e, struct point_work *work, const struct explore_state *state,
		  struct explore_result *result)
{
	pthread_mutex_lock(&e->out);
	e->options.result(e->options.ctx, state, result);
	pthread_mutex_unlock(&e->out);
	free(result->output);
	pthread_mutex_lock(&e->lock);
	e->status.done++;
	if (explore_is_finding(result->verdict) && !e->status.first_finding_ns)
		e->status.first_finding_ns = clock_now_ns() - e->start_ns;
	explore_count(e, work, result->verdict, 1);
	pthread_mutex_unlock(&e->lock);
}

struct explore_state explore_state_of(const struct explore *e, const struct point_work *work,
				      const struct crash *crash, const struct crash_image *images)
{
	return (struct explore_state){ .journal = e->options.journal,
				       .point = work->pub.point,
				       .point_index = work->pub.point_index,
				       .crash = crash,
				       .images = images };
}
