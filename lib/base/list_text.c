// SPDX-License-Identifier: MIT
#include "base/list_text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define END_MAX 20u /* " and 4294967295 more" */

void list_text_begin(struct list_text *list, char *buf, size_t size)
{
	assert(size > END_MAX);
	*list = (struct list_text){ .buf = buf, .size = size };
	buf[0] = '\0';
}

void list_text_add(struct list_text *list, const char *item)
{
	const char *comma = list->len ? ", " : "";
	size_t len = strlen(comma) + strlen(item);

	if (list->left || len >= list->size - END_MAX - list->len) {
		list->left++;
		return;
	}
	list->len += (size_t)snprintf(list->buf + list->len, list->size - list->len, "%s%s", comma,
				      item);
}

const char *list_text_end(struct list_text *list)
{
	if (list->left)
		snprintf(list->buf + list->len, list->size - list->len, "%s%u more",
			 list->len ? " and " : "", list->left);
	return list->buf;
}
