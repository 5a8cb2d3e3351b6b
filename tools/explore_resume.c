// SPDX-License-Identifier: MIT
/*
 * The results file read again. A program that is killed leaves at most half a line at its end,
 * which is cut away; a file whose head is not complete holds no states, and is begun anew.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "explore_results_in.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BYTES "{\"type\":\"explore\""

struct loader {
	struct results *r;
	uint64_t line, points;
	bool has_head;
};

/* ------------------------------------------------------------------------------ the head */

/* Members that must be the same for a run to go on from another. */
static const char *const same_members[] = { "check",  "recovery", "present",    "unit_bytes",
					    "atomic", "illegal",  "by_content", "strategies",
					    "seed",   "shard",    "shards",     "points",
					    "sample", "version" };

static int differs(struct results *r, struct diag *diag, const char *name, const json_t *there,
		   const json_t *here)
{
	_cleanup_free_ char *was = json_dumps(there, JSON_ENCODE_ANY | JSON_COMPACT);
	_cleanup_free_ char *is = json_dumps(here, JSON_ENCODE_ANY | JSON_COMPACT);

	diag_set(diag, -EINVAL, "explore.resume",
		 "%s is of another exploration: its %s is %.100s, this one's is %.100s",
		 r->o.job->results, name, was ? was : "nothing", is ? is : "nothing");
	diag_hint(diag, "--results with another file begins anew");
	return -EINVAL;
}

static int check_head(struct loader *l, const json_t *there, struct diag *diag)
{
	json_t *here = results_head(l->r, true);
	const json_t *was, *is;
	int err = 0;

	if (!here)
		return diag_set(diag, -ENOMEM, "explore.memory", "no memory to read results");
	was = json_object_get(json_object_get(there, "recording"), "id");
	is = json_object_get(json_object_get(here, "recording"), "id");
	if (!json_equal(was, is))
		err = differs(l->r, diag, "recording", was, is);
	for (size_t i = 0; i < array_size(same_members) && !err; i++) {
		was = json_object_get(there, same_members[i]);
		is = json_object_get(here, same_members[i]);
		if (!json_equal(was, is))
			err = differs(l->r, diag, same_members[i], was, is);
	}
	json_decref(here);
	l->has_head = !err;
	return err;
}

/* ------------------------------------------------------------------------------ states */

static bool read_hex(const json_t *text, uint64_t *ret_value)
{
	const char *hex = json_string_value(text);
	char *end;

	if (!hex || strlen(hex) != 16)
		return false;
	*ret_value = strtoull(hex, &end, 16);
	return *end == '\0';
}

static bool read_verdict(const json_t *text, enum explore_verdict *ret_verdict)
{
	const char *name = json_string_value(text);

	for (int i = 0; name && i < EXPLORE_NR_VERDICTS; i++) {
		if (strcmp(name, explore_verdict_name(i)) != 0)
			continue;
		*ret_verdict = i;
		return true;
	}
	return false;
}

static void remember_finding(struct loader *l, const json_t *line, size_t point, uint64_t key,
			     enum explore_verdict verdict)
{
	const json_t *list = json_object_get(line, "lost"), *write;
	const char *name = json_string_value(json_object_get(line, "state"));
	uint32_t lost[EXPLORE_LOST_MAX];
	size_t i, nr = 0;

	json_array_foreach (list, i, write)
		if (nr < EXPLORE_LOST_MAX)
			lost[nr++] = (uint32_t)json_integer_value(write);
	if (name)
		results_remember(l->r, point, name, key, verdict,
				 json_string_value(json_object_get(line, "output")), lost,
				 (uint64_t)json_integer_value(json_object_get(line, "nr_lost")));
}

static int load_state(struct loader *l, const json_t *line)
{
	struct results *r = l->r;
	const char *strategy = json_string_value(json_object_get(line, "strategy"));
	json_int_t point = json_integer_value(json_object_get(line, "point"));
	enum explore_verdict verdict;
	uint64_t key;
	int added;

	if (!read_hex(json_object_get(line, "key"), &key) ||
	    !read_verdict(json_object_get(line, "verdict"), &verdict) || point < 0 ||
	    (uint64_t)point >= r->o.nr_points)
		return -EINVAL;
	if (verdict == EXPLORE_ERROR)
		return 0; /* it will be done again */
	added = key_set_add(&r->done[verdict], key);
	if (added <= 0)
		return added;
	if (strategy && strcmp(strategy, "lazy") == 0) {
		r->lazy[point].runs++;
		r->lazy[point].verdicts[verdict]++;
	}
	if (explore_is_finding(verdict))
		remember_finding(l, line, (size_t)point, key, verdict);
	return 0;
}

static int load_done(struct loader *l, const json_t *line)
{
	json_int_t point = json_integer_value(json_object_get(line, "point"));
	const json_t *shares = json_object_get(line, "shares");
	struct explore_lazy_known *known;

	if (point < 0 || (uint64_t)point >= l->r->o.nr_points)
		return -EINVAL;
	known = &l->r->lazy[point];
	known->has_shares = shares != NULL;
	for (int i = 0; shares && i < EXPLORE_NR_VERDICTS; i++)
		known->shares[i] =
			json_number_value(json_object_get(shares, explore_verdict_name(i)));
	l->r->lazy_done[point] = json_is_true(json_object_get(line, "complete"));
	return 0;
}

/* ------------------------------------------------------------------------------ the file */

static int load_line(struct loader *l, const char *text, size_t len, struct diag *diag)
{
	json_error_t error;
	json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	const char *type = json_string_value(json_object_get(line, "type"));
	int err = 0;

	l->line++;
	if (!type || (!l->has_head && strcmp(type, "explore") != 0)) {
		diag_set(diag, -EINVAL, "explore.resume", "%s is no results file, or damaged: %s",
			 l->r->o.job->results,
			 line ? "no \"type\" that belongs there" : error.text);
		diag_at(diag, (unsigned int)l->line, 0);
		json_decref(line);
		return -EINVAL;
	}
	if (strcmp(type, "explore") == 0)
		err = check_head(l, line, diag);
	else if (strcmp(type, "point") == 0)
		l->points++;
	else if (strcmp(type, "state") == 0)
		err = load_state(l, line);
	else if (strcmp(type, "done") == 0)
		err = load_done(l, line);
	json_decref(line);
	if (err && !diag->message[0]) {
		diag_set(diag, err, "explore.resume", "%s holds a line that says nothing: %s",
			 l->r->o.job->results, strerror(-err));
		diag_at(diag, (unsigned int)l->line, 0);
	}
	return err;
}

/* No line is whole: is it ours at all? */
static int check_half(const struct results *r, const char *text, size_t len, struct diag *diag)
{
	size_t first = sizeof(FIRST_BYTES) - 1;

	if (memcmp(text, FIRST_BYTES, len < first ? len : first) == 0)
		return 0;
	return diag_set(diag, -EINVAL, "explore.resume", "%s is no results file",
			r->o.job->results);
}

static int load_lines(struct loader *l, FILE *file, struct diag *diag, uint64_t *ret_good)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	*ret_good = 0;
	while (!err && (len = getline(&text, &size, file)) > 0) {
		if (text[len - 1] != '\n')
			return l->has_head ? 0 : check_half(l->r, text, (size_t)len, diag);
		err = load_line(l, text, (size_t)len, diag);
		*ret_good += (uint64_t)len;
	}
	if (!err && ferror(file))
		err = diag_set(diag, -EIO, "explore.resume", "cannot read %s",
			       l->r->o.job->results);
	return err;
}

int results_load(struct results *r, struct diag *diag, uint64_t *ret_good_bytes)
{
	struct loader l = { .r = r };
	FILE *file = fopen(r->o.job->results, "re");
	int err;

	if (!file)
		return diag_set(diag, -errno, "explore.resume", "cannot read %s: %s",
				r->o.job->results, strerror(errno));
	r->lazy = fail_alloc("tools/explore_resume/lazy",
			     calloc(r->o.nr_points + 1, sizeof(*r->lazy)));
	r->lazy_done = fail_alloc("tools/explore_resume/lazy-done",
				  calloc(r->o.nr_points + 1, sizeof(*r->lazy_done)));
	if (!r->lazy || !r->lazy_done)
		err = diag_set(diag, -ENOMEM, "explore.memory", "no memory to read results");
	else
		err = load_lines(&l, file, diag, ret_good_bytes);
	fclose(file);
	if (err)
		return err;
	return l.has_head && l.points >= r->o.nr_points;
}

bool results_known(struct results *r, uint64_t key, enum explore_verdict *ret_verdict)
{
	for (int i = 0; i < EXPLORE_NR_VERDICTS; i++) {
		if (!key_set_has(&r->done[i], key))
			continue;
		*ret_verdict = i;
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
