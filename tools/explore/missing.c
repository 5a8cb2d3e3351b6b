// SPDX-License-Identifier: MIT
/*
 * A state that lost nothing and fails all the same: what should have been on the disk by then had
 * not even been sent. It is found among what was sent later. Later writes are laid over the state,
 * with the marks as they were at its crash point, more and more of them until the check passes.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/explore/internal.h"
#include "tools/explore/name.h"

#include <errno.h>
#include <stdlib.h>

#define LATER_MAX 65536u /* writes that are looked at */

struct missing {
	const struct reduce_options *o;
	const struct explore_state *state;
	const struct journal_write *later;
	uint64_t until_ns;
	struct diag *diag;
};

/* Does it pass with the first @nr later writes? 1, 0, or -errno. */
static int passes(const struct missing *m, size_t nr)
{
	struct explore_result result = { 0 };
	int err;

	if (clock_now_ns() >= m->until_ns)
		return -ETIME;
	err = checker_run_with(m->o->checker, m->state, m->later, nr, &result, m->diag);
	free(result.output);
	if (!err && result.lack)
		err = -ETIME;
	return err ? err : result.verdict == EXPLORE_OK;
}

/* *ret_nr: so many are needed; 0: all are not enough. */
static int search(const struct missing *m, size_t nr, size_t *ret_nr)
{
	size_t fails = 0, enough = nr ? 1 : 0;
	int rc = 0;

	while (enough && (rc = passes(m, enough)) == 0) {
		fails = enough;
		enough = enough == nr ? 0 : enough * 2 < nr ? enough * 2 : nr;
	}
	while (rc >= 0 && enough - fails > 1 && enough) {
		size_t middle = fails + (enough - fails) / 2;

		rc = passes(m, middle);
		if (rc > 0)
			enough = middle;
		else
			fails = middle;
	}
	*ret_nr = enough;
	return rc < 0 ? rc : 0;
}

static size_t first_after(const struct journal *journal, uint64_t step)
{
	size_t from = 0, to = journal->nr_writes;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (journal->writes[middle].submit <= step)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

int explore_missing(const struct reduce_options *o, uint64_t until_ns, struct finding *f,
		    struct diag *diag)
{
	const struct journal *journal = crash_journal(o->crash);
	const struct crash_choice *choices;
	const size_t first = first_after(journal, o->points[f->point_index].step);
	size_t nr = journal->nr_writes - first;
	_cleanup_free_ uint16_t *picks =
		fail_alloc("tools/explore/missing/picks",
			   malloc((crash_choices(o->crash, &choices) + 1) * sizeof(*picks)));
	const struct explore_state state = { .journal = journal,
					     .point = &o->points[f->point_index],
					     .point_index = f->point_index,
					     .name = f->minimal,
					     .picks = picks,
					     .crash = o->crash,
					     .images = o->images };
	const struct missing missing = { .o = o,
					 .state = &state,
					 .later = journal->writes + first,
					 .until_ns = until_ns,
					 .diag = diag };
	int err;

	if (!picks)
		return -ENOMEM;
	crash_newest(o->crash, picks);
	err = search(&missing, nr < LATER_MAX ? nr : LATER_MAX, &nr);
	if (err || !nr)
		return err == -ETIME ? 0 : err;
	f->missing = (uint32_t)(first + nr - 1);
	return explore_name_later(o->crash, o->images, (uint32_t)first, f->missing,
				  &f->missing_name);
}
