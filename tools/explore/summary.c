// SPDX-License-Identifier: MIT
/* What an exploration came to, in words. */
#include "tools/explore/internal.h"

#include <inttypes.h>
#include <stdio.h>

const char *explore_atomic_name(enum crash_atomic atomic)
{
	switch (atomic) {
	case CRASH_UNIT:
		return "unit";
	case CRASH_WRITE:
		return "write";
	case CRASH_ORDER:
		return "order";
	}
	return "unit";
}

uint64_t explore_discards(const struct journal *journal)
{
	uint64_t nr = 0;

	for (size_t i = 0; i < journal->nr_writes; i++)
		nr += journal->writes[i].op == IO_DISCARD;
	return nr;
}

struct report_model explore_model(const struct journal *journal,
				  const struct crash_options *options)
{
	return (struct report_model){
		.unit_bytes = options->unit_bytes,
		.atomic = explore_atomic_name(options->atomic),
		.least_bytes = crash_least_bytes(journal),
		.discards = explore_discards(journal) > 0,
	};
}

/* Of a share it is what itself has covered: only all of them together have all states. */
static void print_covered(const struct summary *summary)
{
	const struct explore_status *s = &summary->status;
	const char *more = summary->illegal  ? "; with states that only false acknowledgements "
					       "leave"
			   : summary->common ? "; of the states that all its caches can leave"
					     : "";
	char text[REPORT_MODEL_MAX];
	const char *of = report_model_words(&summary->model, text);
	const char *at_least = s->points_exact == s->nr_points ? "" : " at least";

	if (summary->nr_shards > 1)
		printf("this is share %u of %u\n"
		       "covered by this share: on average%s %.3g%% of the legal states of a "
		       "crash point (%s%s)\n",
		       summary->shard + 1, summary->nr_shards, at_least, s->covered * 100, of,
		       more);
	else
		printf("covered: all legal states of %" PRIu64 " of %" PRIu64
		       " crash points; on average%s %.3g%% of those of a crash point (%s%s)\n",
		       s->points_complete, s->nr_points, at_least, s->covered * 100, of, more);
}

/* States that disks may be left in, though they are not among these. */
static void print_others(const struct summary *summary)
{
	char text[REPORT_MODEL_MAX];
	const char *coarse = report_coarse_words(&summary->model, text);
	const char *discards = report_discard_words(&summary->model);

	if (coarse)
		printf("%s\n", coarse);
	if (discards)
		printf("%s\n", discards);
}

void explore_print_summary(const struct summary *summary)
{
	const struct explore_status *s = &summary->status;
	double seconds = (double)s->elapsed_ns / 1e9;

	printf("%" PRIu64 " states of %" PRIu64 " crash points in %.1f s: %" PRIu64
	       " distinct (%.0f/s), %" PRIu64 " equal to these",
	       s->generated, s->nr_points, seconds, s->distinct,
	       seconds > 0 ? (double)(s->done - s->known) / seconds : 0.0, s->equivalent);
	if (s->known)
		printf("; %" PRIu64 " were done before", s->known);
	if (s->forgotten)
		printf("; %" PRIu64 " too many to be remembered", s->forgotten);
	printf("\n");
	print_covered(summary);
	print_others(summary);
	if (summary->nr_left_out)
		printf("%" PRIu64 " more crash points were left out by --from, --to or --sample\n",
		       summary->nr_left_out);
	if (s->points_missing)
		printf("%" PRIu64
		       " crash points have legal states that were not built, and count as "
		       "not covered: see MISSING STATES in faultblk-explore(7)\n",
		       s->points_missing);
	if (s->errors)
		printf("%" PRIu64 " states were not judged; --resume checks them again\n",
		       s->errors);
	if (s->findings)
		printf("%" PRIu64 " failing states, %zu distinct causes%s\n", s->findings,
		       summary->nr_findings,
		       summary->illegal ? "" : ": legal states that fail the check");
	else
		printf("no finding\n");
	if (s->stopped != EXPLORE_NOT_STOPPED)
		printf("stopped before the end: %s\n",
		       s->stopped == EXPLORE_AT_LIMIT      ? "--max-states or --max-time"
		       : s->stopped == EXPLORE_AT_FINDINGS ? "--max-findings"
							   : "by a signal");
}
