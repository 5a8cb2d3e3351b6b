/* SPDX-License-Identifier: MIT */
/*
 * Lists of places on a disk, as people have them:
 *
 *	17s..23s, 1M..2M, 4G..	as in a rule: bytes with units, the end is the first byte outside
 *	4711			a block, as badblocks and dm-dust name it
 *	4711-4720		blocks, the last one included
 *	4711+10, 1M+64k		blocks, or bytes with units, and how many
 *	what filefrag -v prints	the physical places of a file
 *
 * with commas, spaces or lines in between, and '#' before what is none. A number without a unit counts
 * blocks of a size that has to be given: the programs that print such numbers do not agree on it.
 */
#ifndef TOOLS_CLI_PLACES_H
#define TOOLS_CLI_PLACES_H

#include "base/diag.h"
#include "faults/rule/value.h"

#include <stdio.h>

#define PLACES_MAX 16777216u /* ranges in one list */

struct places {
	struct value_range *ranges; /* owned; ascending and apart after places_end() */
	size_t nr, room;
	uint64_t unit_bytes; /* of numbers without a unit; 0: not known */
	/* Of filefrag's output: its blocks; 0: we are in none. */
	uint64_t filefrag_bytes;
};

/* -EINVAL, words in @diag, which name @source and the line; -E2BIG, -ENOMEM, -EIO. */
int places_read(struct places *places, FILE *file, const char *source, struct diag *diag);
/* One line, or one word of the command line, with a zero somewhere after it. */
int places_line(struct places *places, struct text line, struct diag *diag);
void places_end(struct places *places);
void places_free(struct places *places);

#endif
