/* SPDX-License-Identifier: MIT */
/* "a, b and 3 more": a list in a message, as many of its items as fit, each of them whole. */
#ifndef BASE_LIST_TEXT_H
#define BASE_LIST_TEXT_H

#include <stddef.h>

struct list_text {
	char *buf; /* borrowed; what stands there is a text from the first item on */
	size_t size, len;
	unsigned int left; /* items that did not fit */
};

/* @size: at least 32. */
void list_text_begin(struct list_text *list, char *buf, size_t size);
/* Once one has not fitted, none that follow stand there: the order is that of the items. */
void list_text_add(struct list_text *list, const char *item);
/* Say how many did not fit, if any; returns the text. */
const char *list_text_end(struct list_text *list);

#endif
