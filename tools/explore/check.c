// SPDX-License-Identifier: MIT
/* One worker's checks: what a command is told, how it is run on a state, what its end means. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/cli/guard.h"
#include "tools/disk/env.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/*
 * e2fsck takes the time from there: one that no file system's last mount lies behind, the same on
 * every machine.
 */
#define CLOCK_FOR_E2FSCK "E2FSCK_TIME=2000000000"
#define STATE_NAME_MAX   65536 /* of FAULTBLK_STATE; the kernel's limit is twice that */

extern char **environ;

enum var {
	VAR_MARK,
	VAR_NEXT_MARK,
	VAR_NR_MARKS,
	VAR_POINT,
	VAR_STEP,
	VAR_STATE,
	NR_VARS, /* those that change from state to state */
};

struct checker {
	const struct checker_options *options;
	void *presenter;
	char *dir, *owner;
	char **env; /* NULL-terminated; from @nr_fixed on one for each enum var */
	size_t nr_fixed, nr_borrowed;
	size_t point_index; /* of the marks' files; SIZE_MAX: not written */
};

/* ------------------------------------------------------------------------------ what it is told */

__attribute__((format(printf, 3, 4))) static int set_env(struct checker *c, size_t at,
							 const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		return -ENOMEM;
	free(c->env[at]);
	c->env[at] = text;
	return 0;
}

int checker_disks(const struct journal *journal, struct diag *diag)
{
	char ours[sizeof(journal->disks[0].name)], theirs[sizeof(journal->disks[0].name)];

	for (uint32_t i = 1; i < journal->nr_disks; i++) {
		disk_env_name(journal->disks[i].name, ours, sizeof(ours));
		for (uint32_t before = 0; before < i; before++) {
			disk_env_name(journal->disks[before].name, theirs, sizeof(theirs));
			if (strcmp(ours, theirs) != 0)
				continue;
			diag_set(diag, -EINVAL, "explore.disks",
				 "the disks '%s' and '%s' of the recording would both be "
				 "FAULTBLK_DEV_%s for a check",
				 journal->disks[before].name, journal->disks[i].name, ours);
			diag_hint(diag, "record them again under names that differ in more than "
					"case and punctuation");
			return -EINVAL;
		}
	}
	return 0;
}

static int set_disk(struct checker *c, size_t at, uint16_t disk)
{
	char name[sizeof(c->options->journal->disks[0].name)];

	disk_env_name(c->options->journal->disks[disk].name, name, sizeof(name));
	return set_env(c, at, "FAULTBLK_DEV_%s=%s", name,
		       c->options->ops->path(c->presenter, disk));
}

/* Ours before all else: a variable of the caller's with such a name does not go through. */
static int fill_env(struct checker *c, unsigned int worker)
{
	const struct checker_options *o = c->options;
	size_t at = c->nr_borrowed;
	char owner[GUARD_OWNER_MAX];
	int err;

	guard_owner(GUARD_WORKER, owner);
	err = set_env(c, at++, "%s%u", owner, worker);

	if (!err)
		c->owner = strdup(c->env[at - 1]);
	if (!err)
		err = set_env(c, at++, "FAULTBLK_DEV=%s", o->ops->path(c->presenter, 0));
	for (uint32_t disk = 0; disk < o->journal->nr_disks && !err; disk++)
		err = set_disk(c, at++, (uint16_t)disk);
	if (!err)
		err = set_env(c, at++, "FAULTBLK_MARKS=%s/marks", c->dir);
	if (!err)
		err = set_env(c, at++, "FAULTBLK_MARKS_AFTER=%s/marks-after", c->dir);
	if (!err)
		err = set_env(c, at++, "FAULTBLK_TMP=%s/tmp", c->dir);
	if (!err)
		err = set_env(c, at++, "FAULTBLK_SEED=%llu", (unsigned long long)o->seed);
	if (!err && !getenv("E2FSCK_TIME"))
		err = set_env(c, at++, "%s", CLOCK_FOR_E2FSCK);
	c->nr_fixed = at;
	return err || !c->owner ? -ENOMEM : 0;
}

static int make_env(struct checker *c, unsigned int worker)
{
	size_t nr = 0;

	while (environ[nr])
		nr++;
	c->env = fail_alloc(
		"tools/explore/check/env",
		calloc(nr + c->options->journal->nr_disks + NR_VARS + 9, sizeof(*c->env)));
	if (!c->env)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		if (strncmp(environ[i], "FAULTBLK_", 9) != 0)
			c->env[c->nr_borrowed++] = environ[i];
	return fill_env(c, worker);
}

/* The marks from @first up to @end, one a line. */
static int write_marks(const struct checker *c, const char *name, size_t first, size_t end,
		       struct diag *diag)
{
	_cleanup_free_ char *path = NULL;
	FILE *file;
	int err = 0;

	if (asprintf(&path, "%s/%s", c->dir, name) < 0)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory for a path");
	file = fopen(path, "we");
	if (!file)
		return diag_set(diag, -errno, "explore.marks", "cannot write %s: %s", path,
				strerror(errno));
	for (size_t i = first; i < end; i++)
		fprintf(file, "%s\n", c->options->journal->marks[i].text);
	if (ferror(file))
		err = -EIO;
	if (fclose(file))
		err = -errno;
	return err ? diag_set(diag, err, "explore.marks", "cannot write %s: %s", path,
			      strerror(-err))
		   : 0;
}

static int tell_marks(struct checker *c, const struct explore_state *state, struct diag *diag)
{
	const struct journal *journal = c->options->journal;
	size_t nr = state->point->nr_marks;
	int err;

	if (c->point_index == state->point_index)
		return 0;
	err = write_marks(c, "marks", 0, nr, diag);
	if (!err)
		err = write_marks(c, "marks-after", nr, journal->nr_marks, diag);
	if (!err)
		c->point_index = state->point_index;
	return err;
}

static int tell(struct checker *c, const struct explore_state *state, struct diag *diag)
{
	const struct journal *journal = c->options->journal;
	uint32_t nr = state->point->nr_marks;
	const char *name = state->name ? state->name : "lazy";
	size_t at = c->nr_fixed;
	int err = tell_marks(c, state, diag);

	if (err)
		return err;
	err = set_env(c, at + VAR_MARK, "FAULTBLK_MARK=%s", nr ? journal->marks[nr - 1].text : "");
	if (!err)
		err = set_env(c, at + VAR_NEXT_MARK, "FAULTBLK_NEXT_MARK=%s",
			      nr < journal->nr_marks ? journal->marks[nr].text : "");
	if (!err)
		err = set_env(c, at + VAR_NR_MARKS, "FAULTBLK_NR_MARKS=%u", nr);
	if (!err)
		err = set_env(c, at + VAR_POINT, "FAULTBLK_POINT=%zu", state->point_index);
	if (!err)
		err = set_env(c, at + VAR_STEP, "FAULTBLK_STEP=%llu",
			      (unsigned long long)journal_shown(journal, state->point->step));
	if (!err)
		err = set_env(c, at + VAR_STATE, "FAULTBLK_STATE=%s",
			      strlen(name) < STATE_NAME_MAX ? name : "");
	return err ? diag_set(diag, err, "explore.memory", "no memory for the environment") : 0;
}

/* ------------------------------------------------------------------------------ what its end means
 */

/* Of one that could not be judged the end is told, too. */
static enum explore_verdict judge_end(const struct command_end *end, struct explore_result *result)
{
	result->exit_code = 0;
	result->signal = 0;
	if (end->timed_out)
		return EXPLORE_TIMEOUT;
	if (WIFSIGNALED(end->status)) {
		result->signal = WTERMSIG(end->status);
		return EXPLORE_CRASH;
	}
	result->exit_code = WEXITSTATUS(end->status);
	if (result->exit_code == 0)
		return EXPLORE_OK;
	if (result->exit_code == 126 || result->exit_code == 127)
		return EXPLORE_ERROR;
	/* The shell's word for a command that was killed. */
	if (result->exit_code > 128 && result->exit_code < 128 + 65) {
		result->signal = result->exit_code - 128;
		return EXPLORE_CRASH;
	}
	return EXPLORE_FAIL;
}

static enum explore_verdict judge(const struct command_end *end, struct explore_result *result)
{
	enum explore_verdict verdict = judge_end(end, result);

	result->lack = end->lack;
	return end->lack ? EXPLORE_ERROR : verdict;
}

static int run_one(struct checker *c, const char *text, struct command_output *output,
		   struct explore_result *result, struct diag *diag)
{
	const struct command_options options = { .text = text,
						 .env = c->env,
						 .owner = c->owner,
						 .timeout_ns = c->options->timeout_ns,
						 .stop_fd = c->options->stop_fd,
						 .show = c->options->show,
						 .host = c->options->host };
	struct command_end end;
	int err = command_run(&options, output, &end, diag);

	if (err)
		return err;
	result->time_ns += end.time_ns;
	result->verdict = judge(&end, result);
	return 0;
}

/* Recovery, then check, on the state that is presented. */
static int run_both(struct checker *c, const struct explore_state *state,
		    struct explore_result *result, struct diag *diag)
{
	struct command_output output = { 0 };
	int err = 0, verdict;

	result->verdict = EXPLORE_OK;
	if (c->options->recovery)
		err = run_one(c, c->options->recovery, &output, result, diag);
	result->in_recovery = result->verdict != EXPLORE_OK;
	if (!err && result->verdict == EXPLORE_OK) {
		if (c->options->ops->settle)
			err = c->options->ops->settle(c->presenter, state, diag);
		if (!err && state->run && lazy_check_starts(state->run, &verdict))
			result->verdict = verdict;
		else if (!err)
			err = run_one(c, c->options->check, &output, result, diag);
		if (!err && state->run && result->verdict == EXPLORE_TIMEOUT)
			lazy_check_aborted(state->run);
	}
	if (!err && result->verdict != EXPLORE_OK)
		result->output = command_output_text(&output);
	return err;
}

static int put_writes(struct checker *c, const struct journal_write *writes, size_t nr,
		      struct diag *diag)
{
	int err = 0;

	for (size_t i = 0; i < nr && !err; i++)
		if (!writes[i].failed)
			err = c->options->ops->put(c->presenter, writes[i].disk, writes[i].at,
						   writes[i].data, writes[i].len_bytes, diag);
	return err;
}

int checker_run_with(struct checker *c, const struct explore_state *state,
		     const struct journal_write *writes, size_t nr,
		     struct explore_result *ret_result, struct diag *diag)
{
	const struct presenter_ops *ops = c->options->ops;
	uint64_t start_ns;
	int err = tell(c, state, diag), end;

	if (err)
		return err;
	start_ns = clock_now_ns();
	err = ops->present(c->presenter, state, diag);
	ret_result->switch_ns = clock_now_ns() - start_ns;
	if (err)
		return err;
	err = put_writes(c, writes, nr, diag);
	if (!err)
		err = run_both(c, state, ret_result, diag);
	start_ns = clock_now_ns();
	end = ops->restore(c->presenter, state, diag);
	ret_result->switch_ns += clock_now_ns() - start_ns;
	return end ? end : err;
}

int checker_run(struct checker *c, const struct explore_state *state,
		struct explore_result *ret_result, struct diag *diag)
{
	return checker_run_with(c, state, NULL, 0, ret_result, diag);
}

/* ------------------------------------------------------------------------------ life */

int checker_create(const struct checker_options *options, unsigned int worker, const char *dir,
		   void *presenter, struct diag *diag, struct checker **ret_checker)
{
	struct checker *c = fail_alloc("tools/explore/check/create", calloc(1, sizeof(*c)));

	if (c) {
		c->options = options;
		c->presenter = presenter;
		c->point_index = SIZE_MAX;
		c->dir = strdup(dir);
		if (c->dir && make_env(c, worker) == 0) {
			*ret_checker = c;
			return 0;
		}
	}
	checker_free(c);
	return diag_set(diag, -ENOMEM, "explore.memory", "no memory for worker %u", worker);
}

struct checker *checker_free(struct checker *c)
{
	if (!c)
		return NULL;
	for (size_t i = c->nr_borrowed; c->env && c->env[i]; i++)
		free(c->env[i]);
	free(c->env);
	free(c->dir);
	free(c->owner);
	free(c);
	return NULL;
}
