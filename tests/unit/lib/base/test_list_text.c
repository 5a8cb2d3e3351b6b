// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/list_text.h"

#include <stdio.h>
#include <string.h>

static void items_stand_there_whole_or_are_counted(void **state)
{
	char item[64], buf[512];

	(void)state;
	/* Whatever the size, and however long they are: what stands there is a row of the first items. */
	for (size_t size = 32; size <= sizeof(buf); size += 7)
		for (unsigned int nr = 0; nr < 40; nr += 3) {
			struct list_text list;
			unsigned int shown = 0, left = 0;
			const char *text;
			char *copy, *rest, *word;

			list_text_begin(&list, buf, size);
			for (unsigned int i = 0; i < nr; i++) {
				snprintf(item, sizeof(item), "disk-%0*u", (int)(1 + i * 7 % 30), i);
				list_text_add(&list, item);
			}
			text = list_text_end(&list);
			assert_true(strlen(text) < size);
			copy = strdup(text);
			for (word = strtok_r(copy, ", ", &rest); word;
			     word = strtok_r(NULL, ", ", &rest)) {
				if (strcmp(word, "and") == 0)
					continue;
				if (strncmp(word, "disk-", 5) != 0) {
					assert_int_equal(sscanf(word, "%u", &left), 1);
					word = strtok_r(NULL, ", ", &rest);
					assert_string_equal(word, "more");
					continue;
				}
				snprintf(item, sizeof(item), "disk-%0*u", (int)(1 + shown * 7 % 30),
					 shown);
				assert_string_equal(word, item);
				shown++;
			}
			assert_int_equal(shown + left, nr);
			free(copy);
		}
}

static void a_list_that_fits_has_no_end(void **state)
{
	struct list_text list;
	char buf[40];

	(void)state;
	list_text_begin(&list, buf, sizeof(buf));
	assert_string_equal(list_text_end(&list), "");
	list_text_add(&list, "a");
	list_text_add(&list, "b");
	assert_string_equal(list_text_end(&list), "a, b");
	list_text_add(&list, "a name that is too long for it");
	list_text_add(&list, "c");
	assert_string_equal(list_text_end(&list), "a, b and 2 more");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_stand_there_whole_or_are_counted),
		cmocka_unit_test(a_list_that_fits_has_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
