/* SPDX-License-Identifier: MIT */
/*
 * A table for a screen: columns as wide as what is in them, and where they have no room together,
 * some are left out, then some are cut. Nothing is allocated: each row is asked for twice, once to be
 * measured and once to be printed.
 */
#ifndef TOOLS_CLI_TABLE_H
#define TOOLS_CLI_TABLE_H

#include "tools/cli/screen.h"

#include <stdio.h>

#define TABLE_COLUMNS_MAX 16
#define TABLE_CELL_BYTES  64

struct table_column {
	const char *head;
	bool right;         /* numbers stand at the right */
	bool cut;           /* may be shortened, '~' shows it */
	unsigned int least; /* so wide always, so that the table does not jump */
	unsigned int rank;  /* from 1 on: may be left out, the highest first; 0: stays */
};

/* Text of a cell: a string that outlives the printing, or made in @buf. */
struct table_cell {
	const char *text; /* NULL: empty */
	char buf[TABLE_CELL_BYTES];
};

struct table {
	const struct table_column *columns;
	size_t nr_columns, nr_rows;
	bool headless; /* no line of heads */
	void (*row)(void *ctx, size_t row, struct table_cell *cells);
	void *ctx;
};

/* Head first, if there is one. */
void table_print(const struct table *table, const struct screen *screen, FILE *out);

#endif
