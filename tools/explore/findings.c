// SPDX-License-Identifier: MIT
/*
 * States that failed, grouped by what they lost. Results come in any order, so a group is
 * represented by its first member in the order of crash points and names, and names the next ones.
 */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/explore/results_internal.h"

#include <stdlib.h>
#include <string.h>

static void clear_finding(struct finding *f)
{
	for (uint32_t i = 0; i < f->nr_same; i++)
		free(f->same[i].name);
	for (uint32_t i = 0; f->names && i < f->nr_listed; i++)
		free(f->names[i]);
	free(f->names);
	free(f->missing_name);
	free(f->minimal);
	free(f->reproducer);
	free(f->reproducer_state);
	free(f->same);
	free(f->name);
	free(f->output);
	free(f->lost);
	*f = (struct finding){ 0 };
}

void results_forget(struct results *r)
{
	for (size_t i = 0; i < r->nr_findings; i++)
		clear_finding(&r->findings[i]);
	free(r->findings);
	r->findings = NULL;
	r->nr_findings = 0;
}

static bool is_before(size_t point, const char *name, size_t other_point, const char *other)
{
	size_t len = strlen(name), other_len = strlen(other);

	if (point != other_point)
		return point < other_point;
	if (len != other_len)
		return len < other_len;
	return strcmp(name, other) < 0;
}

static bool is_same_loss(const struct finding *f, const struct found *found)
{
	return f->verdict == found->verdict && f->in_recovery == found->in_recovery &&
	       f->nr_lost == found->nr_lost && f->reordered == found->reordered &&
	       memcmp(f->lost, found->lost, f->nr_listed * sizeof(*f->lost)) == 0;
}

static void no_memory(struct results *r)
{
	if (!r->error)
		r->error = -ENOMEM;
}

/* One more name among the others of a group, in order; takes @name (NULL: no memory for it). */
static void add_same(struct results *r, struct finding *f, size_t point, char *name)
{
	uint32_t at = f->nr_same;

	if (!f->same)
		f->same = fail_alloc("tools/explore/findings/same",
				     calloc(SAME_MAX + 1, sizeof(*f->same)));
	if (!f->same || !name) {
		free(name);
		no_memory(r);
		return;
	}
	while (at && is_before(point, name, f->same[at - 1].point_index, f->same[at - 1].name)) {
		f->same[at] = f->same[at - 1];
		at--;
	}
	f->same[at].point_index = point;
	f->same[at].name = name;
	f->nr_same++;
	if (f->nr_same > SAME_MAX) {
		free(f->same[--f->nr_same].name);
		f->nr_more++;
	}
}

static struct finding *new_group(struct results *r, const uint32_t *lost, uint64_t nr_lost)
{
	struct finding *f;

	if (r->nr_findings == FINDINGS_MAX)
		return NULL;
	if (!r->findings)
		r->findings = fail_alloc("tools/explore/findings/groups",
					 calloc(FINDINGS_MAX, sizeof(*r->findings)));
	if (!r->findings) {
		no_memory(r);
		return NULL;
	}
	f = &r->findings[r->nr_findings];
	f->nr_lost = f->nr_found_lost = nr_lost;
	f->nr_listed = nr_lost < EXPLORE_LOST_MAX ? (uint32_t)nr_lost : EXPLORE_LOST_MAX;
	f->lost = fail_alloc("tools/explore/findings/lost",
			     malloc((f->nr_listed + 1) * sizeof(*lost)));
	if (!f->lost) {
		no_memory(r);
		return NULL;
	}
	memcpy(f->lost, lost, f->nr_listed * sizeof(*lost));
	r->nr_findings++;
	return f;
}

void results_remember(struct results *r, const struct found *found)
{
	struct finding *f = NULL;
	char *copy;

	for (size_t i = 0; i < r->nr_findings && !f; i++)
		if (is_same_loss(&r->findings[i], found))
			f = &r->findings[i];
	if (f && f->key == found->key)
		return; /* by an earlier run, and again */
	copy = fail_alloc("tools/explore/findings/name", strdup(found->name));
	if (!copy) {
		no_memory(r);
		return;
	}
	if (f && !is_before(found->point_index, found->name, f->point_index, f->name)) {
		add_same(r, f, found->point_index, copy);
		return;
	}
	if (f)
		add_same(r, f, f->point_index, f->name);
	else
		f = new_group(r, found->lost, found->nr_lost);
	if (!f) {
		free(copy);
		return;
	}
	free(f->output);
	f->point_index = found->point_index;
	f->name = copy;
	f->key = found->key;
	f->verdict = found->verdict;
	f->in_recovery = found->in_recovery;
	f->reordered = found->reordered;
	f->output = found->output ? strdup(found->output) : NULL;
}

/* Those that were made small are first, as they were numbered. */
static int by_place(const void *a, const void *b)
{
	const struct finding *one = a, *other = b;
	size_t rank = one->rank ? one->rank : SIZE_MAX;
	size_t other_rank = other->rank ? other->rank : SIZE_MAX;

	if (rank != other_rank)
		return rank < other_rank ? -1 : 1;
	if (is_before(one->point_index, one->name, other->point_index, other->name))
		return -1;
	return is_before(other->point_index, other->name, one->point_index, one->name);
}

size_t results_findings(struct results *r, struct finding **ret_findings)
{
	if (r->nr_findings)
		qsort(r->findings, r->nr_findings, sizeof(*r->findings), by_place);
	*ret_findings = r->findings;
	return r->nr_findings;
}

bool results_fold(struct results *r, struct finding *f)
{
	const struct found found = { .verdict = f->verdict,
				     .in_recovery = f->in_recovery,
				     .lost = f->lost,
				     .nr_lost = f->nr_lost,
				     .reordered = f->reordered };
	struct finding *into = r->findings, *end = into + r->nr_findings;

	while (into < end && (into == f || into->folded || into->repeated != FINDING_FAILED ||
			      !is_same_loss(into, &found)))
		into++;
	if (into == end)
		return false;
	add_same(r, into, f->point_index, strdup(f->name));
	for (uint32_t i = 0; i < f->nr_same; i++) {
		add_same(r, into, f->same[i].point_index, f->same[i].name);
		f->same[i].name = NULL;
	}
	into->nr_more += f->nr_more;
	f->nr_same = f->nr_more = 0;
	f->folded = true;
	return true;
}
