// SPDX-License-Identifier: MIT
/* Which share of the states a run does: as --shard says it, or as a task of a Slurm array. */
#include "tools/explore/internal.h"
#include "tools/report/line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A number of the environment; 0 or more, or -1. */
static long env_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long value;

	if (!text || !text[0])
		return -1;
	errno = 0;
	value = strtol(text, &end, 10);
	return errno || *end || value < 0 ? -1 : value;
}

/* A task of a Slurm array does its share. */
static int slurm_shard(struct diag *diag, unsigned int *ret_shard, unsigned int *ret_nr)
{
	long id = env_number("SLURM_ARRAY_TASK_ID"), nr = env_number("SLURM_ARRAY_TASK_COUNT");
	long min = env_number("SLURM_ARRAY_TASK_MIN"), step = env_number("SLURM_ARRAY_TASK_STEP");

	*ret_shard = 0;
	*ret_nr = 1;
	if (id < 0 || nr <= 0)
		return 0;
	id = (id - (min < 0 ? 0 : min)) / (step > 0 ? step : 1);
	if (id < 0 || id >= nr || nr > RESULTS_SHARDS_MAX) {
		diag_set(
			diag, -EINVAL, "explore.shard",
			"SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT do not make a share: the %ldth "
			"of %ld",
			id + 1, nr);
		diag_hint(diag, "number the array 0-%ld, or give --shard I/N",
			  (nr < RESULTS_SHARDS_MAX ? nr : RESULTS_SHARDS_MAX) - 1);
		return -EINVAL;
	}
	*ret_shard = (unsigned int)id;
	*ret_nr = (unsigned int)nr;
	return 0;
}

int explore_shard(const char *text, struct diag *diag, unsigned int *ret_shard,
		  unsigned int *ret_nr)
{
	unsigned int i, nr;
	int len = 0;

	if (!text)
		return slurm_shard(diag, ret_shard, ret_nr);
	if (sscanf(text, "%9u/%9u%n", &i, &nr, &len) != 2 || text[len] || i < 1 || i > nr ||
	    nr > RESULTS_SHARDS_MAX)
		return diag_set(
			diag, -EINVAL, "explore.shard",
			"--shard: got '%.100s', wanted I/N with I from 1 to N, N at most %d", text,
			RESULTS_SHARDS_MAX);
	*ret_shard = i - 1;
	*ret_nr = nr;
	return 0;
}
