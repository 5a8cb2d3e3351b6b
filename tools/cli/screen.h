/* SPDX-License-Identifier: MIT */
/*
 * How much room there is for what is printed, and how much of it a text takes. A terminal may change
 * its size at any time, so it is asked anew for each line or table.
 */
#ifndef TOOLS_CLI_SCREEN_H
#define TOOLS_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCREEN_COLUMNS 80 /* where there is no terminal, or one that does not know its size */
#define SCREEN_ROWS    24

struct screen {
	unsigned int columns, rows;
	bool terminal; /* without: rows is UINT_MAX, nothing is cut there */
};

struct screen screen_of(int fd);
/* The same, for what programs read, too: where there is no terminal a line is as long as need be. */
struct screen screen_of_list(int fd);

/* Columns that text[0..len) takes, as the program prints it: characters of two columns, of none. */
size_t screen_width(const char *text, size_t len);
/* How many bytes of it fit into @columns, whole characters; *ret_width: columns that these take. */
size_t screen_fit(const char *text, size_t len, size_t columns, size_t *ret_width);

#define SCREEN_NUMBER 32
/* For people: the number itself, or what has no more than @digits (6 to 15): "12.3M", of 1000. */
const char *screen_count(double value, unsigned int digits, char buf[SCREEN_NUMBER]);
/* At most 6 characters: "512", "12.3M", of 1024. */
const char *screen_bytes(double value, char buf[SCREEN_NUMBER]);

/*
 * Print @text on the terminal @screen, standard output, from its top, over what is there: no line is
 * wider and no more of them than it has room for; the last one says how many are not shown. A signal
 * that ends the program in the middle leaves nothing of the old picture, see screen_end_clean().
 */
void screen_draw(const struct screen *screen, const char *text);
/* From here on the usual signals do so. What is drawn on is standard output. */
void screen_end_clean(void);

#endif
