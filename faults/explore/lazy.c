// SPDX-License-Identifier: MIT
/*
 * THE STATES OF A MOMENT ARE A BOX. Each undecided unit is an axis, its candidates the places on
 * it; a state is a point. A run works on a box in that box: for each unit the set of candidates that
 * it may still turn out to hold. When bytes of a unit are read, its set falls into classes of
 * candidates that are alike in these bytes. The run keeps one class, which makes its box smaller;
 * the parts that it gives up are boxes, too, and are tasks for runs to come. So at any time the
 * boxes of the finished runs, of the runs under way and of the tasks cover each state once:
 *
 *	 unit 2                          unit 2, then unit 1 was read
 *	 +-------------+                 +-------------+
 *	 |             |                 |   task 1    |
 *	 |             |       ->        +------+------+      3 boxes, no overlap, no gap
 *	 |             |                 | run  |task 2|
 *	 +-------------+ unit 1          +------+------+
 *
 * INVARIANT: the sizes of these boxes add up to the number of legal states. So when the sum over
 * the finished runs is that number, exactly, then no task and no run is left, and none was lost;
 * this sum, in whole numbers, and nothing else, is what the word "complete" depends on.
 *
 * WHY ONE RUN IS ENOUGH FOR A BOX. A class is taken by what was read, so a run has seen nothing
 * that tells the states of its final box apart. What is deterministic does the same on each of them:
 * it reads, writes and answers the same. The final box of a run is thus the set of all states that
 * agree in the undecided bytes that recovery and check read there, and the number of runs is the
 * number of such sets: it does not depend on the order of the search.
 *
 * ASSUMPTION: determinism, in this form: the set of bytes read before any decision, and the
 * verdict, follow from the contents read. Not the order: several readers side by side are fine,
 * because a decision is a smaller set of a unit, wherever and whenever the unit is read. What speaks
 * against it is noticed: a run that ends without having read what its box was constrained by (its author
 * read that, so it has diverged); two checks with the same reads and two verdicts; a repetition with
 * fixed decisions that reads other sectors, wants a further decision, or ends otherwise. Such a
 * run's box is not added to the sum.
 *
 * A task is a chain of constraints, each of one unit, shared by all tasks behind it. Depth first, the last
 * constraint is tried first, so that few tasks are open; past a number of runs the search may not end, and
 * the box that is nearest to "everything survived" is taken first, as that finds each kind of
 * damage early.
 *
 * THE CHECK MEMO (check_memo.h). After recovery most states look alike to the check. Before a
 * check runs, the sectors that earlier checks read are read for it, in their order and deciding
 * units as the check would, in favour of contents that are known; when all agree to the end of an
 * earlier check, so does the verdict. What a check wrote itself before reading it back is no input,
 * and is not compared. A run that is repeated always checks, and so checks this memory as well.
 *
 * One lock guards the tasks, the chains and the sums; a run's sets are its own.
 */
#include "faults/explore/lazy.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "base/zero.h"
#include "faults/explore/check_memo.h"
#include "faults/explore/constraint.h"
#include "faults/explore/state_count.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#define WORD_BITS   64u
#define SECTOR      512u
#define TASKS_FIRST 256u
#define MEMO_LIMIT  (64ull << 20)

/* A run that has ended and is to be repeated. */
struct done {
	struct constraint *last;
	int verdict;
	bool checked; /* reads: of recovery and check, not of recovery alone */
	uint64_t reads;
};

struct lazy {
	const struct crash *crash;
	const struct crash_image *images;
	const struct crash_choice *choices;
	size_t nr_choices, nr_words;
	uint32_t max_nr; /* candidates of a unit */
	struct lazy_options options;
	size_t *word_of; /* where a choice's set begins */
	uint64_t *all;   /* the sets of the whole box */
	struct check_memo *memo;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct constraint_pile tasks;
	struct done *repeats;
	size_t nr_repeats, max_repeats;
	uint64_t nr_running;
	struct lazy_run *idle;
	struct state_count state_count;
	struct lazy_status status;
};

/* A unit in a run. */
struct lazy_unit {
	uint64_t wanted; /* sectors that were read for its constraints, and not yet by this run */
	bool touched;    /* not as in a fresh run */
};

/* Candidates that are alike in what is read. */
struct class
{
	uint64_t content;
	uint16_t first;
};

/* A page of which a run has read something that it had not written. */
struct lazy_seen {
	struct page page;
	uint8_t sectors;
};

struct lazy_run {
	struct lazy *lazy;
	struct lazy_run *next; /* of those that are idle */
	struct view *view;
	struct constraint *last;
	uint64_t *sets;
	struct lazy_unit *units;
	uint32_t *touched;
	size_t nr_touched;
	size_t nr_wanted; /* units that must still be read */
	struct class *classes;
	uint16_t *class_of; /* for each candidate */
	struct done before; /* repeat: what it was the first time */
	bool repeat;
	bool strayed;          /* a repetition wanted a further decision */
	bool checking;         /* the check is running, or has run */
	bool from_memo;        /* reads are those of checks before */
	bool skipped;          /* the memo had its verdict */
	bool aborted;          /* the check did not come to its end */
	bool blind;            /* no memory for what it read */
	bool lost;             /* no memory for its decisions */
	const uint64_t *known; /* from_memo: contents that are welcome */
	size_t nr_known;
	struct check_log log;
	struct pages seen; /* if runs are repeated */
};

/* ------------------------------------------------------------------------------ sets */

static size_t words_of(uint32_t nr)
{
	return (nr + WORD_BITS - 1) / WORD_BITS;
}

static bool has(const uint64_t *set, uint32_t i)
{
	return set[i / WORD_BITS] >> i % WORD_BITS & 1;
}

static void put_in(uint64_t *set, uint32_t i)
{
	set[i / WORD_BITS] |= 1ull << i % WORD_BITS;
}

static uint32_t count(const uint64_t *set, size_t nr_words)
{
	uint32_t nr = 0;

	for (size_t i = 0; i < nr_words; i++)
		nr += (uint32_t)__builtin_popcountll(set[i]);
	return nr;
}

/* The newest candidate, or, where it is not in the set, the last that came. */
static uint16_t best(const struct crash_choice *choice, const uint64_t *set)
{
	size_t i = words_of(choice->nr);

	if (has(set, choice->newest))
		return choice->newest;
	while (!set[--i])
		assert(i);
	return (uint16_t)(i * WORD_BITS + WORD_BITS - 1 - (unsigned int)__builtin_clzll(set[i]));
}

/* A bit for each sector of [from, to), or for a few of a unit that has more than there are bits. */
static uint64_t sector_bits(const struct crash_choice *choice, uint32_t from, uint32_t to)
{
	uint32_t nr = (uint32_t)choice->len_bytes / SECTOR;
	uint64_t bits = 0;

	for (uint32_t i = from / SECTOR; i < to / SECTOR; i++)
		bits |= 1ull << (nr > WORD_BITS ? (uint64_t)i * WORD_BITS / nr : i);
	return bits;
}

static uint64_t *set_of(const struct lazy_run *run, size_t choice)
{
	return run->sets + run->lazy->word_of[choice];
}

/* ------------------------------------------------------------------------------ deciding */

static void touch(struct lazy_run *run, size_t choice)
{
	if (run->units[choice].touched)
		return;
	run->units[choice].touched = true;
	run->touched[run->nr_touched++] = (uint32_t)choice;
}

static bool is_alike(const struct crash_candidate *a, const struct crash_candidate *b,
		     uint32_t from, uint32_t to)
{
	if (a->data && b->data)
		return memcmp(a->data + from, b->data + from, to - from) == 0;
	if (a->data)
		return is_zero(a->data + from, to - from);
	return !b->data || is_zero(b->data + from, to - from);
}

/* Enter candidate @i into its class; returns how many classes there are now. */
static size_t enter_class(struct lazy_run *run, const struct crash_choice *choice, uint32_t i,
			  uint32_t from, uint32_t to, size_t nr)
{
	const struct crash_candidate *candidate = &choice->candidates[i];
	const unsigned char *data = candidate->data ? candidate->data + from : NULL;
	uint64_t content = check_hash(data, to - from);
	size_t k;

	for (k = 0; k < nr; k++)
		if (run->classes[k].content == content &&
		    is_alike(&choice->candidates[run->classes[k].first], candidate, from, to))
			break;
	if (k == nr)
		run->classes[nr++] = (struct class){ content, (uint16_t)i };
	run->class_of[i] = (uint16_t)k;
	return nr;
}

/* Sort the candidates of the set into classes by what [from, to) holds; the newest one's is 0. */
static size_t classify(struct lazy_run *run, size_t choice, uint32_t from, uint32_t to)
{
	const struct crash_choice *c = &run->lazy->choices[choice];
	const uint64_t *set = set_of(run, choice);
	uint32_t first = best(c, set);
	size_t nr = enter_class(run, c, first, from, to, 0);

	for (uint32_t i = c->nr; i-- > 0;)
		if (i != first && has(set, i))
			nr = enter_class(run, c, i, from, to, nr);
	return nr;
}

/* The class with which the run goes on: the newest, or one that the checks before have met. */
static size_t prefer(const struct lazy_run *run, size_t nr_classes)
{
	for (size_t k = 0; k < nr_classes; k++)
		for (size_t i = 0; i < run->nr_known; i++)
			if (run->classes[k].content == run->known[i])
				return k;
	return 0;
}

/* The set of class @k as a constraint behind the run's last one, which it does not yet hold on to. */
static struct constraint *make_constraint(const struct lazy_run *run, size_t choice, size_t k,
					  uint64_t asked)
{
	const struct lazy *lazy = run->lazy;
	const struct crash_choice *c = &lazy->choices[choice];
	const uint64_t *set = set_of(run, choice);
	size_t nr_words = words_of(c->nr);
	struct constraint *constraint =
		fail_alloc("faults/explore/lazy/constraint",
			   calloc(1, sizeof(*constraint) + nr_words * sizeof(*constraint->set)));

	if (!constraint)
		return NULL;
	constraint->before = run->last;
	constraint->refs = 1;
	constraint->choice = (uint32_t)choice;
	constraint->deviations = run->last->deviations + (k && has(set, c->newest));
	constraint->order =
		run->last->order + rng_mix(lazy->options.seed, choice, run->classes[k].first);
	constraint->asked = asked;
	for (uint32_t i = 0; i < c->nr; i++)
		if (has(set, i) && run->class_of[i] == k)
			put_in(constraint->set, i);
	return constraint;
}

/* With the lock: the tasks take over the constraint, or it is freed. */
static int keep_task(struct lazy *lazy, struct constraint *constraint)
{
	int err;

	if (lazy->tasks.nr >= lazy->options.max_open) {
		lazy->status.dropped++;
		free(constraint);
		return 0;
	}
	err = constraint_push(&lazy->tasks, constraint);
	if (err)
		free(constraint);
	else
		constraint->before->refs++;
	return err;
}

/* Class @k becomes a task. */
static int open_task(struct lazy_run *run, size_t choice, size_t k, uint64_t asked)
{
	struct lazy *lazy = run->lazy;
	struct constraint *constraint = make_constraint(run, choice, k, asked);
	int err;

	if (!constraint)
		return -ENOMEM;
	pthread_mutex_lock(&lazy->lock);
	err = keep_task(lazy, constraint);
	pthread_cond_broadcast(&lazy->changed);
	pthread_mutex_unlock(&lazy->lock);
	return err;
}

/* The run goes on with class @k of @nr; the others become tasks, the newest last: it is next. */
static int split(struct lazy_run *run, size_t choice, size_t nr, uint64_t asked)
{
	size_t k = prefer(run, nr);
	struct constraint *constraint = make_constraint(run, choice, k, asked);
	int err = 0;

	if (!constraint)
		return -ENOMEM;
	for (size_t i = nr; i-- > 0 && !err;)
		if (i != k)
			err = open_task(run, choice, i, asked);
	memcpy(set_of(run, choice), constraint->set,
	       words_of(run->lazy->choices[choice].nr) * sizeof(*constraint->set));
	run->last = constraint; /* holds on to the one before in the run's place */
	return err;
}

/* Bytes of the unit are read: make its set one in which all are alike there. */
static int narrow(struct lazy_run *run, size_t choice, uint32_t from, uint32_t to, uint64_t asked)
{
	size_t nr = classify(run, choice, from, to);

	if (nr > 1 && !run->repeat)
		return split(run, choice, nr, asked);
	run->strayed |= nr > 1;
	return 0;
}

/* view_decide_fn */
static int decide(void *ctx, size_t choice, uint32_t from, uint32_t to)
{
	struct lazy_run *run = ctx;
	const struct crash_choice *c = &run->lazy->choices[choice];
	struct lazy_unit *unit = &run->units[choice];
	uint64_t asked = sector_bits(c, from, to);
	uint64_t *set = set_of(run, choice);

	touch(run, choice);
	if (unit->wanted) {
		unit->wanted &= ~asked;
		run->nr_wanted -= !unit->wanted;
	}
	if (count(set, words_of(c->nr)) > 1 && narrow(run, choice, from, to, asked) < 0) {
		run->lost = true;
		return -ENOMEM;
	}
	if (!unit->wanted && count(set, words_of(c->nr)) == 1)
		view_settle(run->view, choice, best(c, set));
	return best(c, set);
}

/* ------------------------------------------------------------------------------ what is read */

static void note_seen(struct lazy_run *run, uint16_t disk, uint64_t at, uint8_t sectors)
{
	struct lazy_seen *seen = pages_find(&run->seen, page_key(disk, at));

	if (!seen && pages_add(&run->seen, page_key(disk, at), &seen) < 0)
		run->blind = true;
	else
		seen->sectors |= sectors;
}

/* view_watch_fn */
static void watch(void *ctx, uint16_t disk, uint64_t at, const void *data, size_t len)
{
	struct lazy_run *run = ctx;
	const unsigned char *bytes = data;

	while (len && !run->from_memo) {
		uint32_t offset = at & (PAGE_BYTES - 1);
		uint32_t room = PAGE_BYTES - offset;
		uint32_t part = len < room ? (uint32_t)len : room;
		uint8_t sectors = page_sectors(offset, offset + part);
		uint8_t late, written = view_changed(run->view, disk, at, &late);

		if (run->lazy->options.repeat_every && sectors & ~written)
			note_seen(run, disk, at, sectors & (uint8_t)~written);
		if (run->checking && sectors & ~late)
			check_log_note(&run->log, disk, at, sectors & (uint8_t)~late, bytes);
		at += part;
		bytes += part;
		len -= part;
	}
}

/* The same for the same sectors, in whatever order they were read. */
static uint64_t reads_of(const struct lazy_run *run)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < run->seen.nr; i++) {
		const struct lazy_seen *seen = pages_entry(&run->seen, i);

		sum += rng_mix(seen->page.key, 0, seen->sectors);
	}
	return sum;
}

/* check_memo_ask_fn */
static uint64_t answer_memo(void *ctx, uint64_t place, const uint64_t *known, size_t nr_known)
{
	struct lazy_run *run = ctx;
	uint64_t at = (place & ((1ull << CHECK_DISK_SHIFT) - 1)) * SECTOR;
	unsigned char sector[SECTOR];
	int err;

	run->known = known;
	run->nr_known = nr_known;
	err = view_read(run->view, (uint16_t)(place >> CHECK_DISK_SHIFT), at, sector, SECTOR);
	run->nr_known = 0;
	return err ? ~known[0] : check_hash(sector, SECTOR);
}

bool lazy_check_starts(struct lazy_run *run, int *ret_verdict)
{
	struct lazy *lazy = run->lazy;

	assert(!run->checking);
	view_phase(run->view);
	run->checking = true;
	if (!run->repeat) {
		run->from_memo = true;
		run->skipped = check_memo_find(lazy->memo, answer_memo, run, ret_verdict);
		run->from_memo = false;
	}
	view_watch(run->view, watch, run);
	if (!run->skipped)
		return false;
	pthread_mutex_lock(&lazy->lock);
	lazy->status.checks_skipped++;
	pthread_mutex_unlock(&lazy->lock);
	return true;
}

void lazy_check_aborted(struct lazy_run *run)
{
	run->aborted = true;
}

struct view *lazy_view(struct lazy_run *run)
{
	return run->view;
}

bool lazy_is_repeat(const struct lazy_run *run)
{
	return run->repeat;
}

/* ------------------------------------------------------------------------------ runs */

static struct lazy_run *run_free(struct lazy_run *run)
{
	if (!run)
		return NULL;
	view_free(run->view);
	check_log_free(&run->log);
	pages_free(&run->seen);
	free(run->sets);
	free(run->units);
	free(run->touched);
	free(run->classes);
	free(run->class_of);
	free(run);
	return NULL;
}

static int run_create(struct lazy *lazy, struct lazy_run **ret_run)
{
	struct lazy_run *run = fail_alloc("faults/explore/lazy/run", calloc(1, sizeof(*run)));

	if (!run)
		return -ENOMEM;
	run->lazy = lazy;
	run->seen.entry_bytes = sizeof(struct lazy_seen);
	check_log_init(&run->log);
	run->sets = fail_alloc("faults/explore/lazy/sets",
			       calloc(lazy->nr_words + 1, sizeof(*run->sets)));
	run->units = fail_alloc("faults/explore/lazy/units",
				calloc(lazy->nr_choices + 1, sizeof(*run->units)));
	run->touched = fail_alloc("faults/explore/lazy/touched",
				  calloc(lazy->nr_choices + 1, sizeof(*run->touched)));
	run->classes = fail_alloc("faults/explore/lazy/classes",
				  calloc(lazy->max_nr + 1, sizeof(*run->classes)));
	run->class_of = fail_alloc("faults/explore/lazy/class-of",
				   calloc(lazy->max_nr + 1, sizeof(*run->class_of)));
	if (!run->sets || !run->units || !run->touched || !run->classes || !run->class_of ||
	    view_create(lazy->crash, lazy->images, &run->view) < 0) {
		run_free(run);
		return -ENOMEM;
	}
	memcpy(run->sets, lazy->all, lazy->nr_words * sizeof(*run->sets));
	*ret_run = run;
	return 0;
}

/* Everything as in the box of @last, in the time that the run before and the constraints took. */
static void run_begin(struct lazy_run *run, struct constraint *last)
{
	const struct lazy *lazy = run->lazy;

	for (size_t i = 0; i < run->nr_touched; i++) {
		size_t choice = run->touched[i];

		memcpy(set_of(run, choice), lazy->all + lazy->word_of[choice],
		       words_of(lazy->choices[choice].nr) * sizeof(*run->sets));
		run->units[choice] = (struct lazy_unit){ .wanted = 0 };
	}
	run->nr_touched = run->nr_wanted = 0;
	run->strayed = run->checking = run->skipped = run->aborted = false;
	run->blind = run->lost = false;
	check_log_clear(&run->log);
	pages_clear(&run->seen);
	run->last = last;
	for (const struct constraint *constraint = last; constraint->choice != CONSTRAINT_ROOT;
	     constraint = constraint->before) {
		struct lazy_unit *unit = &run->units[constraint->choice];

		/* The last constraint of a unit is the smallest. */
		if (!unit->touched)
			memcpy(set_of(run, constraint->choice), constraint->set,
			       words_of(lazy->choices[constraint->choice].nr) *
				       sizeof(*constraint->set));
		touch(run, constraint->choice);
		run->nr_wanted += !unit->wanted;
		unit->wanted |= constraint->asked;
	}
	view_reset(run->view, NULL, decide, run);
	view_watch(run->view, lazy->options.repeat_every ? watch : NULL, run);
}

static bool is_spent(const struct lazy *lazy)
{
	return lazy->options.max_runs && lazy->status.runs >= lazy->options.max_runs;
}

static bool is_ready(const struct lazy *lazy)
{
	return lazy->nr_repeats || (lazy->tasks.nr && !is_spent(lazy));
}

static int take(struct lazy *lazy, struct lazy_run **ret_run, struct constraint **ret_last)
{
	struct lazy_run *run = lazy->idle;

	if (!is_ready(lazy))
		return lazy->nr_running ? -EAGAIN : 0;
	if (run)
		lazy->idle = run->next;
	else if (run_create(lazy, &run) < 0)
		return -ENOMEM;
	run->repeat = lazy->nr_repeats;
	if (run->repeat) {
		run->before = lazy->repeats[--lazy->nr_repeats];
		*ret_last = run->before.last;
		lazy->status.repeated++;
	} else {
		if (++lazy->status.runs == lazy->options.depth_first_runs)
			constraint_best_first(&lazy->tasks);
		*ret_last = constraint_pop(&lazy->tasks);
	}
	lazy->nr_running++;
	*ret_run = run;
	return 1;
}

int lazy_next(struct lazy *lazy, struct lazy_run **ret_run)
{
	struct constraint *last;
	int ret;

	pthread_mutex_lock(&lazy->lock);
	ret = take(lazy, ret_run, &last);
	pthread_mutex_unlock(&lazy->lock);
	if (ret == 1)
		run_begin(*ret_run, last);
	return ret;
}

void lazy_wait(struct lazy *lazy)
{
	pthread_mutex_lock(&lazy->lock);
	while (!is_ready(lazy) && lazy->nr_running)
		pthread_cond_wait(&lazy->changed, &lazy->lock);
	pthread_mutex_unlock(&lazy->lock);
}

double lazy_picks(const struct lazy_run *run, uint16_t *picks)
{
	const struct lazy *lazy = run->lazy;
	double log2_states = 0;

	for (size_t i = 0; i < lazy->nr_choices; i++) {
		const struct crash_choice *choice = &lazy->choices[i];
		uint32_t nr = count(set_of(run, i), words_of(choice->nr));

		picks[i] = best(choice, set_of(run, i));
		if (nr > 1)
			log2_states += log2(nr);
	}
	return log2_states;
}

/* ------------------------------------------------------------------------------ the sum */

/* The states that the run stands for: all, less what its units may not be any more. */
static int size_of(const struct lazy_run *run, struct state_box *box)
{
	const struct lazy *lazy = run->lazy;
	int err = state_count_whole(&lazy->state_count, box);

	for (size_t i = 0; i < run->nr_touched && !err; i++) {
		size_t choice = run->touched[i];
		uint32_t nr = lazy->choices[choice].nr;

		err = state_box_constrain(box, count(set_of(run, choice), words_of(nr)), nr);
	}
	return err;
}

static int push_repeat(struct lazy *lazy, const struct done *done)
{
	if (array_room("faults/explore/lazy/repeats", lazy->repeats, lazy->max_repeats,
		       lazy->nr_repeats + 1, TASKS_FIRST))
		return -ENOMEM;
	lazy->repeats[lazy->nr_repeats++] = *done;
	done->last->refs++;
	return 0;
}

static bool wants_repeat(const struct lazy_run *run)
{
	const struct lazy_options *options = &run->lazy->options;

	return options->repeat_every && !run->repeat &&
	       rng_mix(options->seed, run->lazy->nr_choices, run->last->order) %
			       options->repeat_every ==
		       0;
}

/* Has the run done what it had to, as far as one can tell? */
static bool has_diverged(const struct lazy_run *run, const struct done *done)
{
	const struct done *before = &run->before;

	if (run->nr_wanted || run->strayed)
		return true;
	if (!run->repeat)
		return false;
	return done->verdict != before->verdict ||
	       (before->checked && done->checked && done->reads != before->reads);
}

/* With the lock: the run is nobody's any more. */
static void put_back(struct lazy *lazy, struct lazy_run *run)
{
	constraint_unref(run->last);
	run->next = lazy->idle;
	lazy->idle = run;
	lazy->nr_running--;
	pthread_cond_broadcast(&lazy->changed);
}

void lazy_drop(struct lazy *lazy, struct lazy_run *run)
{
	pthread_mutex_lock(&lazy->lock);
	put_back(lazy, run);
	pthread_mutex_unlock(&lazy->lock);
}

/* With the lock: what the run was good for. */
static int settle(struct lazy *lazy, const struct lazy_run *run, const struct done *done,
		  struct state_box *box, bool diverged)
{
	if (diverged) {
		lazy->status.diverged++;
		return 0;
	}
	return wants_repeat(run) ? push_repeat(lazy, done)
				 : state_count_add(&lazy->state_count, box, done->verdict);
}

int lazy_end(struct lazy *lazy, struct lazy_run *run, int verdict)
{
	struct done done = {
		.last = run->last,
		.verdict = verdict,
		.checked = !run->skipped && !run->blind,
		.reads = reads_of(run),
	};
	bool diverged = has_diverged(run, &done);
	struct state_box box = { .times = 1 };
	int err = run->lost ? -ENOMEM : size_of(run, &box);

	/* To forget a check costs time, never states. */
	if (!err && !diverged && run->checking && !run->skipped && !run->aborted)
		diverged = check_memo_add(lazy->memo, &run->log, verdict) == -ESTALE;
	if (err) {
		lazy_drop(lazy, run);
	} else {
		pthread_mutex_lock(&lazy->lock);
		err = settle(lazy, run, &done, &box, diverged);
		put_back(lazy, run);
		pthread_mutex_unlock(&lazy->lock);
	}
	state_box_free(&box);
	return err;
}

void lazy_status(struct lazy *lazy, struct lazy_status *ret_status)
{
	pthread_mutex_lock(&lazy->lock);
	*ret_status = lazy->status;
	ret_status->open = lazy->tasks.nr;
	ret_status->covered = state_count_covered(&lazy->state_count);
	/* Boxes that are open, under way, lost, or of a run that diverged are missing in the sum.
	 */
	ret_status->complete = state_count_is_full(&lazy->state_count);
	pthread_mutex_unlock(&lazy->lock);
}

double lazy_share(struct lazy *lazy, int verdict)
{
	double share;

	pthread_mutex_lock(&lazy->lock);
	share = state_count_share(&lazy->state_count, verdict);
	pthread_mutex_unlock(&lazy->lock);
	return share;
}

/* ------------------------------------------------------------------------------ life */

static int lay_out(struct lazy *lazy)
{
	lazy->word_of = fail_alloc("faults/explore/lazy/words",
				   calloc(lazy->nr_choices + 1, sizeof(*lazy->word_of)));
	if (!lazy->word_of)
		return -ENOMEM;
	for (size_t i = 0; i < lazy->nr_choices; i++) {
		lazy->word_of[i] = lazy->nr_words;
		lazy->nr_words += words_of(lazy->choices[i].nr);
		if (lazy->choices[i].nr > lazy->max_nr)
			lazy->max_nr = lazy->choices[i].nr;
	}
	lazy->all = fail_alloc("faults/explore/lazy/all",
			       calloc(lazy->nr_words + 1, sizeof(*lazy->all)));
	if (!lazy->all)
		return -ENOMEM;
	for (size_t i = 0; i < lazy->nr_choices; i++)
		for (uint32_t k = 0; k < lazy->choices[i].nr; k++)
			put_in(lazy->all + lazy->word_of[i], k);
	return state_count_start(&lazy->state_count, lazy->nr_choices ? &lazy->choices->nr : NULL,
				 lazy->nr_choices, sizeof(*lazy->choices));
}

static int open_root(struct lazy *lazy)
{
	struct constraint *root = fail_alloc("faults/explore/lazy/root", calloc(1, sizeof(*root)));

	if (!root)
		return -ENOMEM;
	root->refs = 1;
	root->choice = CONSTRAINT_ROOT;
	if (constraint_push(&lazy->tasks, root) == 0)
		return 0;
	free(root);
	return -ENOMEM;
}

_cold_ int lazy_create(const struct crash *crash, const struct crash_image *images,
		       const struct lazy_options *options, struct lazy **ret_lazy)
{
	struct lazy *lazy;

	if (crash_options(crash)->atomic != CRASH_UNIT)
		return -EINVAL;
	lazy = fail_alloc("faults/explore/lazy/alloc", calloc(1, sizeof(*lazy)));
	if (!lazy)
		return -ENOMEM;
	pthread_mutex_init(&lazy->lock, NULL);
	pthread_cond_init(&lazy->changed, NULL);
	lazy->crash = crash;
	lazy->images = images;
	lazy->nr_choices = crash_choices(crash, &lazy->choices);
	lazy->options = *options;
	if (!options->depth_first_runs)
		lazy->options.depth_first_runs = LAZY_DEPTH_FIRST_RUNS;
	if (!options->max_open)
		lazy->options.max_open = LAZY_MAX_OPEN;
	if (lay_out(lazy) < 0 || check_memo_create(MEMO_LIMIT, &lazy->memo) < 0 ||
	    open_root(lazy) < 0) {
		lazy_free(lazy);
		return -ENOMEM;
	}
	*ret_lazy = lazy;
	return 0;
}

_cold_ struct lazy *lazy_free(struct lazy *lazy)
{
	if (!lazy)
		return NULL;
	assert(!lazy->nr_running);
	while (lazy->nr_repeats)
		constraint_unref(lazy->repeats[--lazy->nr_repeats].last);
	for (struct lazy_run *run = lazy->idle, *next; run; run = next) {
		next = run->next;
		run_free(run);
	}
	check_memo_free(lazy->memo);
	state_count_free(&lazy->state_count);
	pthread_cond_destroy(&lazy->changed);
	pthread_mutex_destroy(&lazy->lock);
	free(lazy->repeats);
	constraint_pile_free(&lazy->tasks);
	free(lazy->word_of);
	free(lazy->all);
	free(lazy);
	return NULL;
}
