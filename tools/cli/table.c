// SPDX-License-Identifier: MIT
#include "tools/cli/table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define GAP      1  /* between columns */
#define CUT_SOME 16 /* columns that are left of a name before a column is left out for it, */
#define CUT_MOST 8  /* and at last */

struct layout {
	size_t widths[TABLE_COLUMNS_MAX];
	bool out[TABLE_COLUMNS_MAX]; /* left out */
};

static const char *text_of(const struct table_cell *cell)
{
	return cell->text ? cell->text : "";
}

static void get_row(const struct table *t, size_t row, struct table_cell *cells)
{
	for (size_t i = 0; i < t->nr_columns; i++)
		cells[i].text = NULL;
	t->row(t->ctx, row, cells);
}

static void measure(const struct table *t, struct layout *l)
{
	struct table_cell cells[TABLE_COLUMNS_MAX];

	for (size_t i = 0; i < t->nr_columns; i++) {
		size_t head = t->headless ? 0 : strlen(t->columns[i].head);

		l->widths[i] = head > t->columns[i].least ? head : t->columns[i].least;
	}
	for (size_t row = 0; row < t->nr_rows; row++) {
		get_row(t, row, cells);
		for (size_t i = 0; i < t->nr_columns; i++) {
			const char *text = text_of(&cells[i]);
			size_t width = screen_width(text, strlen(text));

			if (width > l->widths[i])
				l->widths[i] = width;
		}
	}
}

static size_t total(const struct table *t, const struct layout *l)
{
	size_t sum = 0;

	for (size_t i = 0; i < t->nr_columns; i++)
		if (!l->out[i])
			sum += (sum ? GAP : 0) + l->widths[i];
	return sum;
}

/* The next to be left out; nr_columns: none is left that may be. */
static size_t least_needed(const struct table *t, const struct layout *l)
{
	size_t found = t->nr_columns;

	for (size_t i = 0; i < t->nr_columns; i++)
		if (!l->out[i] && t->columns[i].rank &&
		    (found == t->nr_columns || t->columns[i].rank > t->columns[found].rank))
			found = i;
	return found;
}

/* Those that may be cut give what is too much, but for @least of each. */
static void cut(const struct table *t, struct layout *l, size_t columns, size_t least)
{
	for (size_t i = 0; i < t->nr_columns; i++) {
		size_t sum = total(t, l), too_much = sum > columns ? sum - columns : 0;
		size_t give = l->widths[i] > least ? l->widths[i] - least : 0;

		if (t->columns[i].cut && !l->out[i])
			l->widths[i] -= give < too_much ? give : too_much;
	}
}

static bool fits_cut(const struct table *t, const struct layout *l, size_t columns)
{
	struct layout try = *l;

	cut(t, &try, columns, CUT_SOME);
	return total(t, &try) <= columns;
}

/* Some of a name is worth less than a column, most of it is worth more. */
static void lay_out(const struct table *t, struct layout *l, size_t columns)
{
	size_t i;

	*l = (struct layout){ 0 };
	measure(t, l);
	for (i = 0; i < t->nr_columns; i++)
		l->out[i] = !l->widths[i];
	while (!fits_cut(t, l, columns) && (i = least_needed(t, l)) < t->nr_columns)
		l->out[i] = true;
	cut(t, l, columns, CUT_SOME);
	cut(t, l, columns, CUT_MOST);
}

/* @text in @width columns; where it has no room the last of them is '~'. */
static void put_cell(const char *text, size_t width, bool right, bool last, FILE *out)
{
	size_t len = strlen(text), got, fits = screen_fit(text, len, width, &got);
	bool is_cut = fits < len && width;

	if (is_cut)
		fits = screen_fit(text, len, width - 1, &got);
	got += is_cut;
	if (right)
		fprintf(out, "%*s", (int)(width - got), "");
	fprintf(out, "%.*s%s", (int)fits, text, is_cut ? "~" : "");
	if (!right && !last)
		fprintf(out, "%*s", (int)(width - got), "");
}

static void put_line(const struct table *t, const struct layout *l, const struct table_cell *cells,
		     size_t columns, FILE *out)
{
	size_t at = 0, last = t->nr_columns;

	while (last && (l->out[last - 1] || !text_of(&cells[last - 1])[0]))
		last--;
	for (size_t i = 0; i < last; i++) {
		size_t gap = at ? GAP : 0, width = l->widths[i];

		if (l->out[i])
			continue;
		if (at + gap >= columns)
			break;
		if (width > columns - at - gap) /* nothing helped */
			width = columns - at - gap;
		fprintf(out, "%*s", (int)gap, "");
		put_cell(text_of(&cells[i]), width, t->columns[i].right, i + 1 == last, out);
		at += gap + width;
	}
	fprintf(out, "\n");
}

void table_print(const struct table *t, const struct screen *screen, FILE *out)
{
	struct table_cell cells[TABLE_COLUMNS_MAX];
	struct layout l;

	assert(t->nr_columns && t->nr_columns <= TABLE_COLUMNS_MAX);
	lay_out(t, &l, screen->columns);
	if (!t->headless) {
		for (size_t i = 0; i < t->nr_columns; i++)
			cells[i].text = t->columns[i].head;
		put_line(t, &l, cells, screen->columns, out);
	}
	for (size_t row = 0; row < t->nr_rows; row++) {
		get_row(t, row, cells);
		put_line(t, &l, cells, screen->columns, out);
	}
}
