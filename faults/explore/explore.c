// SPDX-License-Identifier: MIT
/*
 * One generator, many workers.
 *
 *	lock:  point -> strategy -> picks -> hash: new here? new anywhere? ours? known?
 *	                                        |
 *	worker:  move its own cursor there -> check() -> [out] result() -> crash point ended? point()
 *
 * The generator is not a thread: whoever needs a state takes the lock and generates on, with the
 * generator's own cursor. So states are numbered in one order whatever the workers do, and of equal
 * states the first in that order is the one that is checked: that makes the set of results the
 * same for any number of workers. Workers get states in order, so their cursors only move forward,
 * and over crash points that others did without standing there.
 *
 * LAZY is a task of its own: the worker that gets it moves to the crash point and stays there, and every
 * worker that looks for work helps with its runs first; see lazy_workers.c.
 *
 * Two locks: `lock` for the generator and all counters, `out` around the caller's result() and
 * point(), which may be slow; who holds `out` may take `lock`, never the other way round.
 */
#include "faults/explore/explore.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "faults/explore/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_ours(const struct explore *e, uint64_t key)
{
	return key % e->options.nr_shards == e->options.shard;
}

/* ------------------------------------------------------------------------------ stopping */

static bool is_over(struct explore *e)
{
	if (!atomic_load(&e->stop) && e->options.max_ns &&
	    clock_now_ns() - e->start_ns >= e->options.max_ns)
		explore_stop_for(e, EXPLORE_AT_LIMIT);
	return atomic_load(&e->stop);
}

/* ------------------------------------------------------------------------------ crash points */

static struct point_work *point_work_new(struct explore *e)
{
	struct point_work *work =
		fail_alloc("faults/explore/explore/point", calloc(1, sizeof(*work)));
	const struct crash_choice *choices;
	const uint32_t *writes;

	if (!work)
		return NULL;
	work->pub.point = &e->points[e->next_point];
	work->pub.point_index = e->next_point;
	crash_count(e->crash, &work->pub.legal);
	work->pub.missing = work->pub.legal.missing;
	work->pub.nr_choices = crash_choices(e->crash, &choices);
	work->pub.nr_volatile = crash_volatile(e->crash, &writes);
	work->next = e->live;
	e->live = work;
	return work;
}

/* Lock held: @work has a state equal to the one that @w is at. */
static int wait_for_state(struct worker *w, struct point_work *work)
{
	if (array_room("faults/explore/explore/waiting", w->waiting, w->room_waiting,
		       w->nr_waiting + 1, 4))
		return -ENOMEM;
	w->waiting[w->nr_waiting++] = work;
	work->nr_held++;
	return 0;
}

/* Lock held: the state of @w has @verdict, for its crash point and for those that wait for it. */
static int end_state(struct worker *w, const struct task *task, enum explore_verdict verdict)
{
	bool is_judged = verdict != EXPLORE_ERROR;

	w->at_state = false;
	task->work->judged += is_judged && task->is_seen;
	for (size_t i = 0; i < w->nr_waiting; i++) {
		w->waiting[i]->judged += is_judged;
		explore_point_put(w->explore, w->waiting[i]);
	}
	w->nr_waiting = 0;
	return is_judged || key_set_add(&w->explore->unjudged, task->key) >= 0 ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------------------ generating */

enum gen { GEN_END, GEN_STATE, GEN_LAZY, GEN_AGAIN };

static int gen_point(struct explore *e)
{
	struct point_work *work;
	int err;

	if (e->next_point == e->nr_points)
		return GEN_END;
	err = crash_move(e->crash, e->points[e->next_point].step);
	if (err)
		return err;
	work = point_work_new(e);
	if (!work)
		return -ENOMEM;
	err = explore_room_for_picks(&e->picks, &e->nr_picks, work->pub.nr_choices);
	if (err)
		return err;
	e->next_point++;
	work->nr_held = 1; /* by the generator */
	e->work = work;
	e->next_strategy = 0;
	key_set_clear(&e->here);
	return GEN_AGAIN;
}

static void gen_point_end(struct explore *e)
{
	struct point_work *work = e->work;

	e->work = NULL;
	explore_point_put(e, work);
}

/* LAZY belongs to one shard as a whole, and may be done already. */
static int gen_lazy(struct explore *e, struct task *task)
{
	struct explore_lazy_known known = { 0 };
	struct point_work *work = e->work;
	uint64_t key = explore_key(e, rng_mix(work->pub.point->step, EXPLORE_LAZY_STREAM, 0),
				   work->pub.point->nr_marks, true);

	if (work->has_lazy)
		return GEN_AGAIN;
	work->has_lazy = true;
	if (!is_ours(e, key))
		return GEN_AGAIN;
	if (e->options.known_lazy &&
	    e->options.known_lazy(e->options.ctx, work->pub.point_index, &known)) {
		work->pub.generated += known.runs;
		work->pub.distinct += known.runs;
		e->status.generated += known.runs;
		e->status.distinct += known.runs;
		e->status.done += known.runs;
		e->status.known += known.runs;
		for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
			explore_count(e, work, i, known.verdicts[i]);
		work->pub.has_shares = known.has_shares;
		memcpy(work->pub.shares, known.shares, sizeof(known.shares));
		work->lazy_covered = 1;
		work->lazy_complete = true;
		return GEN_AGAIN;
	}
	work->nr_held++;
	*task = (struct task){ .work = work, .strategy = STRATEGY_LAZY };
	return GEN_LAZY;
}

static int gen_strategy(struct explore *e, struct task *task)
{
	const struct strategy *strategy;
	int err;

	/* Units with their contents told apart: each state is another content. */
	if (e->options.crash.atomic == CRASH_UNIT && e->work->seen &&
	    e->work->seen == e->work->pub.legal.exact)
		e->work->complete = true;
	if (e->next_strategy == e->options.nr_strategies || e->work->complete ||
	    e->work->lazy_complete) {
		gen_point_end(e);
		return GEN_AGAIN;
	}
	strategy = &e->options.strategies[e->next_strategy++];
	if (strategy->kind == STRATEGY_LAZY)
		return gen_lazy(e, task);
	err = strategy_start(strategy, e->crash, e->options.seed, &e->walk);
	e->walk_given = 0;
	return err ? err : GEN_AGAIN;
}

/* A walk is over: were these all states that there are? */
static void gen_walk_end(struct explore *e)
{
	const struct strategy *strategy = &e->options.strategies[e->next_strategy - 1];
	bool all = strategy->kind == STRATEGY_EXHAUSTIVE ||
		   (strategy->kind == STRATEGY_PREFIXES && e->options.crash.atomic == CRASH_ORDER);

	if (all && e->walk_given && e->walk_given == e->work->pub.legal.exact)
		e->work->complete = true;
	e->walk = strategy_free(e->walk);
}

/* An earlier run has done this one. */
static bool gen_known(struct explore *e, uint64_t key)
{
	enum explore_verdict verdict;

	if (!e->options.known || !e->options.known(e->options.ctx, key, &verdict) ||
	    verdict == EXPLORE_ERROR)
		return false;
	e->status.known++;
	e->status.done++;
	explore_count(e, e->work, verdict, 1);
	return true;
}

/*
 * A state whose key was there before: judged, not judged, or under way, and then its crash point waits
 * for what comes of it.
 */
static int gen_equal(struct explore *e, uint64_t key)
{
	struct point_work *work = e->work;

	if (key_set_has(&e->unjudged, key))
		return 0;
	for (unsigned int i = 0; i < e->options.jobs; i++) {
		struct worker *w = &e->workers[i];

		if (w->at_state && w->key == key)
			return wait_for_state(w, work);
	}
	work->judged++;
	return 0;
}

/* The state of e->picks has @key and is ours: counted, and in *task if it is one to check. */
static int gen_ours(struct explore *e, uint64_t hash, uint64_t key, int added, struct task *task)
{
	struct point_work *work = e->work;

	if (key_set_has(&e->keys, key)) {
		int err = added == 1 ? gen_equal(e, key) : 0;

		if (err)
			return err;
	} else if (added != 0 && gen_known(e, key)) {
		work->judged += added == 1;
	} else if (added != 0) {
		if (e->options.max_states && e->handed >= e->options.max_states) {
			explore_stop_for(e, EXPLORE_AT_LIMIT);
			return GEN_AGAIN;
		}
		e->handed++;
		work->nr_held++;
		*task = (struct task){ .work = work,
				       .strategy = e->options.strategies[e->next_strategy - 1].kind,
				       .hash = hash,
				       .key = key,
				       .fresh = true,
				       .is_seen = added == 1 };
	}
	work->pub.generated++;
	e->status.generated++;
	added = added == 0 ? 0 : key_set_add(&e->keys, key);
	work->pub.distinct += added != 0;
	e->status.distinct += added != 0;
	work->pub.equivalent += added == 0;
	e->status.equivalent += added == 0;
	e->status.forgotten += added < 0;
	return task->fresh ? GEN_STATE : GEN_AGAIN;
}

/* The state of e->picks: is it one to check, here and now? */
static int gen_take(struct explore *e, struct task *task)
{
	struct point_work *work = e->work;
	const struct crash_point *point = work->pub.point;
	uint64_t hash = crash_hash(e->crash, e->picks);
	uint64_t key = explore_key(e, hash, point->nr_marks, false);
	bool ours = is_ours(e, key);
	int added;

	e->walk_given++;
	/* Beyond the limit nothing is counted as seen: at least so many were. */
	added = key_set_add(&e->here, hash);
	work->seen += added == 1;
	work->seen_ours += added == 1 && ours;
	return ours ? gen_ours(e, hash, key, added, task) : GEN_AGAIN;
}

/*
 * Lock held. The next state, which is in e->picks, or the next LAZY. GEN_END: there is none, or it
 * was stopped; or -errno.
 */
static int gen_next(struct explore *e, struct task *task)
{
	int rc = GEN_AGAIN;

	*task = (struct task){ 0 };
	while (rc == GEN_AGAIN) {
		if (is_over(e))
			return GEN_END;
		if (!e->work)
			rc = gen_point(e);
		else if (!e->walk)
			rc = gen_strategy(e, task);
		else if (strategy_next(e->walk, e->picks))
			rc = gen_take(e, task);
		else
			gen_walk_end(e);
	}
	return rc;
}

/* ------------------------------------------------------------------------------ workers */

/* 0, -EINTR (the state was not done), or what ends it all. */
static int do_state(struct worker *w, const struct task *task)
{
	struct explore *e = w->explore;
	struct explore_state state = explore_state_of(e, task->work, w->crash, w->images);
	struct explore_result result = { 0 };
	_cleanup_free_ char *name = NULL;
	int err = explore_worker_move(w, task->work);

	if (err)
		return err;
	name = crash_name(w->crash, w->picks);
	if (!name)
		return -ENOMEM;
	state.strategy = task->strategy;
	state.hash = task->hash;
	state.key = task->key;
	state.name = name;
	state.picks = w->picks;
	err = e->options.check(e->options.ctx, w->index, &state, &result);
	if (err) {
		free(result.output);
		return err;
	}
	explore_done(e, task->work, &state, &result);
	pthread_mutex_lock(&e->lock);
	err = end_state(w, task, result.verdict);
	pthread_mutex_unlock(&e->lock);
	return err;
}

/* Lock held on entry and return. Waits where only runs of LAZY under way may open others. */
static int find_work(struct worker *w, struct task *task)
{
	struct explore *e = w->explore;

	for (;;) {
		int rc = explore_lazy_help(w, task);

		if (rc == 0)
			rc = gen_next(e, task);
		if (rc == GEN_STATE) {
			int err = explore_worker_picks(w, task->work->pub.nr_choices);

			if (err)
				return err;
			memcpy(w->picks, e->picks, task->work->pub.nr_choices * sizeof(*w->picks));
			w->at_state = true;
			w->key = task->key;
		}
		if (rc != GEN_END || !e->lazies || atomic_load(&e->stop))
			return rc;
		explore_lazy_wait(e);
	}
}

static int do_task(struct worker *w, const struct task *task)
{
	if (task->run)
		return explore_lazy_run(w, task);
	return task->strategy == STRATEGY_LAZY ? explore_lazy(w, task) : do_state(w, task);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct explore *e = w->explore;
	struct task task;
	int rc;

	pthread_mutex_lock(&e->lock);
	while ((rc = find_work(w, &task)) > 0) {
		pthread_mutex_unlock(&e->lock);
		rc = do_task(w, &task);
		pthread_mutex_lock(&e->lock);
		/* What was not done leaves its crash point open: it is told as not complete. */
		if (rc && rc != -EINTR)
			explore_fail(e, rc);
		if (rc)
			atomic_store(&e->stop, true);
		else if (!task.run)
			explore_point_put(e, task.work);
		if (e->ended) {
			pthread_mutex_unlock(&e->lock);
			explore_tell_ended(e);
			pthread_mutex_lock(&e->lock);
		}
	}
	if (rc < 0)
		explore_fail(e, rc);
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

/* All workers have ended: those crash points that were begun. */
static void end_open_points(struct explore *e)
{
	e->walk = strategy_free(e->walk);
	e->work = NULL;
	while (e->live) {
		struct point_work *work = e->live;

		/* Oldest first, as they would have come. */
		for (struct point_work *m = e->live; m; m = m->next)
			if (m->pub.point_index < work->pub.point_index)
				work = m;
		work->complete = false;
		work->lazy_complete = false;
		explore_point_end(e, work);
		e->status.points_done--;
	}
	explore_tell_ended(e);
}

int explore_run(struct explore *e, struct diag *diag)
{
	unsigned int started = 0;
	int err = 0;

	e->start_ns = clock_now_ns();
	while (started < e->options.jobs && !err) {
		err = fail_value("faults/explore/explore/thread", EAGAIN,
				 pthread_create(&e->workers[started].thread, NULL, worker_main,
						&e->workers[started]));
		if (!err)
			started++;
	}
	if (err) {
		diag_set(diag, -err, "explore.thread", "no thread for worker %u: %s", started,
			 strerror(err));
		pthread_mutex_lock(&e->lock);
		explore_fail(e, -err);
		pthread_mutex_unlock(&e->lock);
	}
	for (unsigned int i = 0; i < started; i++)
		pthread_join(e->workers[i].thread, NULL);
	if (e->status.stopped == EXPLORE_NOT_STOPPED && atomic_load(&e->asked))
		e->status.stopped = EXPLORE_ASKED;
	end_open_points(e);
	e->end_ns = clock_now_ns();
	if (e->err == -ENOMEM && diag && !diag->message[0])
		diag_set(diag, -ENOMEM, "explore.memory", "no memory to go on exploring");
	return e->err;
}

/* ------------------------------------------------------------------------------ life */

static int make_images(struct explore *e, unsigned int worker, struct crash_image *images,
		       struct diag *diag)
{
	for (uint32_t disk = 0; disk < e->options.journal->nr_disks; disk++) {
		int err = e->options.image(e->options.ctx, worker, (uint16_t)disk, &images[disk]);

		if (err)
			return diag && diag->message[0]
				       ? err
				       : diag_set(diag, err, "explore.image",
						  "cannot make the image of disk %s: %s",
						  e->options.journal->disks[disk].name,
						  strerror(-err));
	}
	return 0;
}

static int make_cursor(struct explore *e, unsigned int worker, struct crash_image **ret_images,
		       struct diag *diag, struct crash **ret_crash)
{
	struct crash_image *images =
		fail_alloc("faults/explore/explore/images",
			   calloc(e->options.journal->nr_disks, sizeof(*images)));
	int err;

	*ret_images = images;
	if (!images)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for worker %u", worker);
	err = make_images(e, worker, images, diag);
	return err ? err
		   : crash_create(e->options.journal, &e->options.crash, images, diag, ret_crash);
}

static int check_options(const struct explore_options *options, struct diag *diag)
{
	for (size_t i = 0; i < options->nr_strategies; i++)
		if (options->strategies[i].kind == STRATEGY_LAZY &&
		    options->crash.atomic != CRASH_UNIT)
			return diag_set(diag, -EINVAL, "explore.lazy",
					"lazy decides unit by unit; it does not go with whole "
					"writes or a disk that keeps order");
	if (options->nr_shards == 0 || options->shard >= options->nr_shards)
		return diag_set(diag, -EINVAL, "explore.shard",
				"there is no shard %u of %u, counted from 0", options->shard,
				options->nr_shards);
	if (options->jobs == 0 || options->nr_strategies == 0)
		return diag_set(diag, -EINVAL, "explore.options", "no %s",
				options->jobs ? "strategy" : "worker");
	return 0;
}

static int make_workers(struct explore *e, struct diag *diag)
{
	int err = make_cursor(e, e->options.jobs, &e->images, diag, &e->crash);

	if (err)
		return err;
	e->workers = fail_alloc("faults/explore/explore/workers",
				calloc(e->options.jobs, sizeof(*e->workers)));
	if (!e->workers)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for %u workers",
				e->options.jobs);
	for (unsigned int i = 0; i < e->options.jobs && !err; i++) {
		e->workers[i].explore = e;
		e->workers[i].index = i;
		err = make_cursor(e, i, &e->workers[i].images, diag, &e->workers[i].crash);
	}
	return err;
}

int explore_create(const struct explore_options *options, struct diag *diag,
		   struct explore **ret_explore)
{
	struct explore *e;
	int err = check_options(options, diag);

	if (err)
		return err;
	e = fail_alloc("faults/explore/explore/create", calloc(1, sizeof(*e)));
	if (!e)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for an explorer");
	e->options = *options;
	e->keys.limit = e->here.limit = options->max_keys ? options->max_keys : EXPLORE_KEYS;
	e->unjudged.limit = SIZE_MAX;
	e->ended_tail = &e->ended;
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->out, NULL);
	pthread_cond_init(&e->changed, NULL);
	err = make_workers(e, diag);
	if (!err) {
		err = crash_points(options->journal, crash_options(e->crash), &options->select,
				   &e->points, &e->nr_points);
		if (err)
			diag_set(diag, err, "explore.memory", "no memory for the crash points");
	}
	if (err) {
		explore_free(e);
		return err;
	}
	e->status.nr_points = e->nr_points;
	*ret_explore = e;
	return 0;
}

struct explore *explore_free(struct explore *e)
{
	if (!e)
		return NULL;
	for (unsigned int i = 0; e->workers && i < e->options.jobs; i++) {
		crash_free(e->workers[i].crash);
		free(e->workers[i].images);
		free(e->workers[i].picks);
		free(e->workers[i].waiting);
	}
	free(e->workers);
	strategy_free(e->walk);
	crash_free(e->crash);
	free(e->images);
	free(e->picks);
	free(e->points);
	key_set_free(&e->keys);
	key_set_free(&e->here);
	key_set_free(&e->unjudged);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->out);
	pthread_mutex_destroy(&e->lock);
	free(e);
	return NULL;
}

size_t explore_points(const struct explore *e, const struct crash_point **ret_points)
{
	*ret_points = e->points;
	return e->nr_points;
}

const struct crash_options *explore_crash_options(const struct explore *e)
{
	return crash_options(e->crash);
}

void explore_status(struct explore *e, struct explore_status *ret_status)
{
	pthread_mutex_lock(&e->lock);
	*ret_status = e->status;
	if (e->start_ns)
		ret_status->elapsed_ns = (e->end_ns ? e->end_ns : clock_now_ns()) - e->start_ns;
	if (e->nr_points)
		ret_status->covered = e->sum_covered / (double)e->nr_points;
	pthread_mutex_unlock(&e->lock);
}
