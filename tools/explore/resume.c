// SPDX-License-Identifier: MIT
/*
 * The results file read again. All of it is read and compared before anything is written: its head
 * must be, line by line, what this exploration would write there, and each line after it must be
 * sealed and say what can be. A program that is killed leaves at most half a line at its end, which
 * is cut away; a file whose head is not complete holds no states, and is begun anew.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/explore/results_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BYTES "{\"type\":\"explore\""

_Static_assert(RESULTS_LOST_MAX == EXPLORE_LOST_MAX, "what is written can be read");

struct loader {
	struct results *r;
	struct diag *diag;
	FILE *file;
	char *text; /* the line */
	size_t size, len;
	uint64_t good; /* bytes of the lines before */
	struct results_source source;
	struct results_limits limits;
	bool at_end; /* no whole line is left */
	bool whole;  /* the head is there */
	int err;
};

/* ------------------------------------------------------------------------------ lines */

/* The next whole line; false: there is none, or an error in l->err. */
static bool next_line(struct loader *l)
{
	ssize_t len = l->err || l->at_end ? -1 : getline(&l->text, &l->size, l->file);

	l->len = len > 0 ? (size_t)len : 0;
	if (!l->err && ferror(l->file))
		l->err = diag_set(l->diag, -EIO, "explore.resume", "cannot read %s",
				  l->r->o.job->results);
	l->at_end = l->len == 0 || l->text[l->len - 1] != '\n';
	return !l->err && !l->at_end;
}

/* The same, sealed and parsed; NULL as above. */
static json_t *take_line(struct loader *l)
{
	json_t *line = NULL;

	if (!next_line(l))
		return NULL;
	l->err = results_take(&l->source, l->text, l->len - 1, l->diag, &line);
	if (l->err)
		return NULL;
	l->good += l->len;
	return line;
}

static void bad(struct loader *l, const char *what)
{
	l->err = results_bad_line(&l->source, what, "give --results another file to start again",
				  l->diag);
}

/* ------------------------------------------------------------------------------ the head */

/* Members that must be the same for a run to go on from another, in the order of their telling. */
static const char *const same_members[] = { "check",  "recovery", "present",    "unit_bytes",
					    "atomic", "illegal",  "by_content", "strategies",
					    "seed",   "shard",    "shards",     "points",
					    "sample", "set",      "from",       "to",
					    "version" };

static void differs(struct loader *l, const char *name, const json_t *there, const json_t *here)
{
	_cleanup_free_ char *was = json_dumps(there, JSON_ENCODE_ANY | JSON_COMPACT);
	_cleanup_free_ char *is = json_dumps(here, JSON_ENCODE_ANY | JSON_COMPACT);

	l->err = diag_set(l->diag, -EINVAL, "explore.resume",
			  "%s is of another exploration: its %s is %.100s, this one's is %.100s",
			  l->source.file, name, was ? was : "nothing", is ? is : "nothing");
	diag_hint(l->diag, "give --results another file to start again");
}

static void compare(struct loader *l, const char *name, const json_t *there, const json_t *here)
{
	if (!l->err && !json_equal(there, here))
		differs(l, name, there, here);
}

/* Whatever a head says of the recording, but where it lies. */
static void compare_recording(struct loader *l, const json_t *there, json_t *here)
{
	const char *name;
	json_t *value;

	compare(l, "recording", json_object_get(there, "id"), json_object_get(here, "id"));
	json_object_del(here, "path");
	json_object_foreach (here, name, value)
		compare(l, name, json_object_get(there, name), value);
}

static void check_head(struct loader *l, const json_t *there, bool resumed)
{
	json_t *here = results_head(l->r, resumed);
	const char *name;
	json_t *value;

	if (!here) {
		l->err = diag_set(l->diag, -ENOMEM, "explore.memory", "no memory to read results");
		return;
	}
	compare_recording(l, json_object_get(there, "recording"),
			  json_object_get(here, "recording"));
	for (size_t i = 0; i < array_size(same_members); i++)
		compare(l, same_members[i], json_object_get(there, same_members[i]),
			json_object_get(here, same_members[i]));
	json_object_foreach (here, name, value)
		if (strcmp(name, "recording") != 0)
			compare(l, name, json_object_get(there, name), value);
	json_decref(here);
}

/* No line is whole: is it ours at all? */
static void check_half(struct loader *l)
{
	size_t first = sizeof(FIRST_BYTES) - 1;

	if (l->len && memcmp(l->text, FIRST_BYTES, l->len < first ? l->len : first) != 0)
		l->err = diag_set(l->diag, -EINVAL, "explore.resume", "%s is no results file",
				  l->source.file);
}

static void load_head(struct loader *l)
{
	json_t *line = take_line(l);

	if (!line) {
		if (!l->err)
			check_half(l);
		return;
	}
	if (!l->source.sealed)
		bad(l, "results of version 1 cannot be continued, as their lines have no seals");
	else if (!results_have_record_steps(line))
		l->err = results_bad_line(
			&l->source,
			"results of an older program, which numbered steps in another way, cannot "
			"be continued",
			"give --results another file to start again; report reads this one alone",
			l->diag);
	else
		check_head(l, line, false);
	json_decref(line);
}

/* Is the next line of the file this one, seals aside? What is wrong is kept in the loader. */
static void compare_line(struct loader *l, const char *text, size_t len)
{
	json_t *line = take_line(l);

	if (!line)
		return;
	if (!results_same_words(l->text, l->len - 1, text, len - 1))
		bad(l, "this exploration has another line there");
	json_decref(line);
}

/* ------------------------------------------------------------------------------ states */

static enum explore_verdict verdict_of(const json_t *line)
{
	const char *name = json_string_value(json_object_get(line, "verdict"));
	int i = 0;

	while (i < EXPLORE_NR_VERDICTS - 1 && strcmp(name, explore_verdict_name(i)) != 0)
		i++;
	return (enum explore_verdict)i;
}

static void remember_finding(struct loader *l, const json_t *line, size_t point, uint64_t key,
			     enum explore_verdict verdict)
{
	const json_t *list = json_object_get(line, "lost"), *write;
	uint32_t lost[EXPLORE_LOST_MAX];
	size_t i;

	json_array_foreach (list, i, write)
		lost[i] = (uint32_t)json_integer_value(write);
	results_remember(
		l->r,
		&(struct found){
			.point_index = point,
			.name = json_string_value(json_object_get(line, "state")),
			.output = json_string_value(json_object_get(line, "output")),
			.key = key,
			.verdict = verdict,
			.in_recovery = json_is_true(json_object_get(line, "in_recovery")),
			.lost = lost,
			.nr_lost = (uint64_t)json_integer_value(json_object_get(line, "nr_lost")),
			.reordered = json_is_true(json_object_get(line, "reordered")) });
}

static void load_state(struct loader *l, const json_t *line)
{
	struct results *r = l->r;
	const char *strategy = json_string_value(json_object_get(line, "strategy"));
	size_t point = (size_t)json_integer_value(json_object_get(line, "point"));
	enum explore_verdict verdict = verdict_of(line);
	uint64_t key;
	int added;

	if (verdict == EXPLORE_ERROR || !results_read_hex(json_object_get(line, "key"), &key))
		return; /* it will be done again */
	added = key_set_add(&r->done[verdict], key);
	if (added < 0)
		l->err = diag_set(l->diag, added, "explore.memory", "no memory to read results");
	if (added <= 0)
		return;
	if (strcmp(strategy, "lazy") == 0) {
		r->lazy[point].runs++;
		r->lazy[point].verdicts[verdict]++;
	}
	if (explore_is_finding(verdict))
		remember_finding(l, line, point, key, verdict);
}

static void load_done(struct loader *l, const json_t *line)
{
	size_t point = (size_t)json_integer_value(json_object_get(line, "point"));
	const json_t *shares = json_object_get(line, "shares");
	struct explore_lazy_known *known = &l->r->lazy[point];

	known->has_shares = shares != NULL;
	for (int i = 0; shares && i < EXPLORE_NR_VERDICTS; i++)
		known->shares[i] =
			json_number_value(json_object_get(shares, explore_verdict_name(i)));
	l->r->lazy_done[point] = json_is_true(json_object_get(line, "complete"));
}

static double limited(double seconds)
{
	return fmax(0, fmin(seconds, 1e12));
}

/* An end has the time of all runs before it. */
static void load_end(struct loader *l, const json_t *line)
{
	const json_t *first = json_object_get(line, "first_finding_s");

	l->r->seconds = limited(json_number_value(json_object_get(line, "seconds")));
	l->r->first_finding_s = json_is_number(first) ? limited(json_number_value(first)) : -1;
}

/* ------------------------------------------------------------------------------ the file */

static bool is_of_head(const char *type)
{
	static const char *const types[] = { "write", "flush", "mark", "point" };

	for (size_t i = 0; i < array_size(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

static void load_line(struct loader *l, const json_t *line)
{
	const char *type = json_string_value(json_object_get(line, "type"));
	const char *fault = results_line_fault(line, &l->limits);

	if (fault)
		bad(l, fault);
	else if (is_of_head(type))
		bad(l, "a line that belongs to the head, behind it");
	else if (strcmp(type, "explore") == 0)
		check_head(l, line, true);
	else if (strcmp(type, "state") == 0)
		load_state(l, line);
	else if (strcmp(type, "done") == 0)
		load_done(l, line);
	else if (strcmp(type, "end") == 0)
		load_end(l, line);
}

static void load_all(struct loader *l)
{
	struct results *r = l->r;
	json_t *line;

	load_head(l);
	if (l->err || l->at_end)
		return;
	r->loader = l;
	r->compare = compare_line;
	results_describe(r);
	r->compare = NULL;
	r->seal = RESULTS_SEAL_START;
	if (!l->err && r->error)
		l->err = diag_set(l->diag, r->error, "explore.memory", "no memory to read results");
	/* Here the head is complete; a file that ends in it is begun anew. */
	if (l->err || l->at_end)
		return;
	l->whole = true;
	while ((line = take_line(l))) {
		load_line(l, line);
		json_decref(line);
	}
	r->seal = l->source.seal;
}

static FILE *open_again(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	FILE *file = copy < 0 || lseek(copy, 0, SEEK_SET) < 0 ? NULL : fdopen(copy, "r");

	if (!file && copy >= 0)
		close(copy);
	return file;
}

int results_load(struct results *r, struct diag *diag, uint64_t *ret_good_bytes)
{
	struct loader l = { .r = r,
			    .diag = diag,
			    .file = open_again(r->fd),
			    .source = { .file = r->o.job->results },
			    .limits = { .points = r->o.nr_points,
					.writes = r->o.journal->nr_writes } };

	if (!l.file)
		return diag_set(diag, -errno, "explore.resume", "cannot read %s: %s",
				r->o.job->results, strerror(errno));
	r->lazy = fail_alloc("tools/explore/resume/lazy",
			     calloc(r->o.nr_points + 1, sizeof(*r->lazy)));
	r->lazy_done = fail_alloc("tools/explore/resume/lazy-done",
				  calloc(r->o.nr_points + 1, sizeof(*r->lazy_done)));
	if (!r->lazy || !r->lazy_done)
		l.err = diag_set(diag, -ENOMEM, "explore.memory", "no memory to read results");
	else
		load_all(&l);
	fclose(l.file);
	free(l.text);
	*ret_good_bytes = l.good;
	return l.err ? l.err : l.whole;
}

/* Of a state that passed and failed the failure counts: one that is good has it last. */
bool results_known(struct results *r, uint64_t key, enum explore_verdict *ret_verdict)
{
	for (int i = EXPLORE_NR_VERDICTS - 1; i >= 0; i--) {
		if (!key_set_has(&r->done[i], key))
			continue;
		*ret_verdict = (enum explore_verdict)i;
		return true;
	}
	return false;
}

bool results_known_lazy(struct results *r, size_t point_index, struct explore_lazy_known *ret_known)
{
	if (!r->lazy_done || !r->lazy_done[point_index])
		return false;
	*ret_known = r->lazy[point_index];
	return true;
}
