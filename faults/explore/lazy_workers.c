// SPDX-License-Identifier: MIT
/*
 * LAZY in the explorer: the worker that gets the crash point owns the search, its cursor stands there
 * until the last run is over. Any worker takes runs of any search; a worker with nothing to do
 * waits where runs under way may still open others.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "faults/explore/internal.h"

#include <errno.h>
#include <time.h>

#define WAIT_NS (50 * NSEC_PER_MSEC) /* explore_stop() cannot wake anybody */

struct explore_lazy_search {
	struct explore_lazy_search *next;
	struct lazy *lazy;
	struct point_work *work;
	struct worker *owner;
	unsigned int under_way;
	bool over; /* no run is left, and none will come */
};

void explore_lazy_wait(struct explore *e)
{
	const struct timespec until = clock_in_ns(WAIT_NS);

	pthread_cond_clockwait(&e->changed, &e->lock, CLOCK_MONOTONIC, &until);
}

/* Lock held: 1 and a run in *task, 0: none now. */
static int take_run(struct explore *e, struct explore_lazy_search *search, struct task *task)
{
	struct explore_point *pub = &search->work->pub;
	struct lazy_run *run;
	int rc;

	if (search->over || atomic_load(&e->stop))
		return 0;
	rc = lazy_next(search->lazy, &run);
	if (rc == 0) {
		search->over = true;
		pthread_cond_broadcast(&e->changed);
	}
	if (rc <= 0)
		return rc == -EAGAIN ? 0 : rc;
	search->under_way++;
	if (!lazy_is_repeat(run)) {
		pub->generated++;
		pub->distinct++;
		e->status.generated++;
		e->status.distinct++;
		/* The limit is reached with this one. */
		if (e->options.max_states && ++e->handed >= e->options.max_states)
			explore_stop_for(e, EXPLORE_AT_LIMIT);
	}
	*task = (struct task){
		.work = search->work, .strategy = STRATEGY_LAZY, .search = search, .run = run
	};
	return 1;
}

int explore_lazy_help(struct worker *w, struct task *task)
{
	for (struct explore_lazy_search *s = w->explore->lazies; s; s = s->next) {
		int rc = take_run(w->explore, s, task);

		if (rc)
			return rc;
	}
	return 0;
}

/* What the run stands for, in words; before it ends. */
static int name_run(struct worker *w, const struct task *task, struct explore_state *state,
		    char **ret_name)
{
	const struct explore *e = w->explore;

	state->covers_log2 = lazy_picks(task->run, w->picks);
	*ret_name = crash_name(state->crash, w->picks);
	if (!*ret_name)
		return -ENOMEM;
	state->name = *ret_name;
	state->picks = w->picks;
	state->hash = crash_hash(state->crash, w->picks);
	state->key = explore_key(e, state->hash, state->point->nr_marks, true);
	return 0;
}

/* The run has its result, or @err. A repetition is no news, and told to the search alone. */
static int end_run(struct worker *w, const struct task *task, struct explore_state *state,
		   struct explore_result *result, int err)
{
	bool is_repeat = lazy_is_repeat(task->run);
	_cleanup_free_ char *name = NULL;

	if (!err)
		err = name_run(w, task, state, &name);
	if (err || result->verdict == EXPLORE_ERROR)
		lazy_drop(task->search->lazy, task->run);
	else
		err = lazy_end(task->search->lazy, task->run, (int)result->verdict);
	state->view = NULL;
	state->run = NULL;
	if (err || is_repeat)
		free(result->output);
	else
		explore_done(w->explore, task->work, state, result);
	return err;
}

int explore_lazy_run(struct worker *w, const struct task *task)
{
	struct explore *e = w->explore;
	struct worker *owner = task->search->owner;
	struct explore_state state = explore_state_of(e, task->work, owner->crash, owner->images);
	struct explore_result result = { .verdict = EXPLORE_ERROR };
	int err = explore_worker_picks(w, task->work->pub.nr_choices);

	state.strategy = STRATEGY_LAZY;
	state.view = lazy_view(task->run);
	state.run = task->run;
	if (!err)
		err = e->options.check(e->options.ctx, w->index, &state, &result);
	err = end_run(w, task, &state, &result, err);
	pthread_mutex_lock(&e->lock);
	task->search->under_way--;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
	return err;
}

/* Lock held on entry and return: until no run is left or all is stopped, and none is under way. */
static int search_to_end(struct worker *w, struct explore_lazy_search *search)
{
	struct explore *e = w->explore;
	struct task task;
	int err = 0;

	while (!err && !search->over && !atomic_load(&e->stop)) {
		int rc = take_run(e, search, &task);

		if (rc < 0) {
			err = rc;
		} else if (rc > 0) {
			pthread_mutex_unlock(&e->lock);
			err = explore_lazy_run(w, &task);
			pthread_mutex_lock(&e->lock);
		} else if (!search->over) {
			explore_lazy_wait(e);
		}
		if (e->options.max_ns && clock_now_ns() - e->start_ns >= e->options.max_ns)
			explore_stop_for(e, EXPLORE_AT_LIMIT);
	}
	if (err)
		search->over = true; /* for the others */
	while (search->under_way)
		explore_lazy_wait(e);
	return err;
}

/* Lock held. */
static void conclude(const struct explore_lazy_search *search)
{
	struct point_work *work = search->work;
	struct lazy_status status;

	lazy_status(search->lazy, &status);
	work->pub.diverged = status.diverged;
	work->lazy_covered = status.covered;
	work->pub.has_shares = true;
	for (int i = 0; i < EXPLORE_NR_VERDICTS; i++)
		work->pub.shares[i] = lazy_share(search->lazy, i);
	if (status.complete)
		work->lazy_complete = true;
}

int explore_lazy(struct worker *w, const struct task *task)
{
	struct explore *e = w->explore;
	struct explore_lazy_search search = { .work = task->work, .owner = w }, **at;
	int err = explore_worker_move(w, task->work);

	if (!err)
		err = lazy_create(w->crash, w->images, &e->options.lazy, &search.lazy);
	if (err)
		return err;
	pthread_mutex_lock(&e->lock);
	search.next = e->lazies;
	e->lazies = &search;
	pthread_cond_broadcast(&e->changed);
	err = search_to_end(w, &search);
	for (at = &e->lazies; *at != &search; at = &(*at)->next)
		;
	*at = search.next;
	conclude(&search);
	if (!err && !search.over)
		err = -EINTR;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
	lazy_free(search.lazy);
	return err;
}
