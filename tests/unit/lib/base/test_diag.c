// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/diag.h"

#include <errno.h>

static void setting_returns_the_error_and_clears_what_was_there(void **state)
{
	struct diag diag;

	(void)state;
	memset(&diag, 'x', sizeof(diag));
	assert_int_equal(diag_set(&diag, -EINVAL, "a.b", "%s wants %d", "x", 7), -EINVAL);
	assert_string_equal(diag.id, "a.b");
	assert_string_equal(diag.message, "x wants 7");
	assert_string_equal(diag.hint, "");
	assert_int_equal(diag.line, 0);
	assert_int_equal(diag.column, 0);
	diag_hint(&diag, "try %s", "y");
	diag_at(&diag, 3, 9);
	assert_string_equal(diag.hint, "try y");
	assert_int_equal(diag.line, 3);
	assert_int_equal(diag.column, 9);
}

static void nobody_has_to_listen(void **state)
{
	(void)state;
	assert_int_equal(diag_set(NULL, -ENOMEM, "a.b", "%d", 1), -ENOMEM);
	diag_hint(NULL, "%d", 1);
	diag_at(NULL, 1, 1);
}

static void what_is_too_long_is_cut_and_ended(void **state)
{
	struct diag diag;
	char text[2000];

	(void)state;
	memset(text, 'm', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	diag_set(&diag, -EINVAL, text, "%s", text);
	diag_hint(&diag, "%s", text);
	assert_int_equal(strlen(diag.id), sizeof(diag.id) - 1);
	assert_int_equal(strlen(diag.message), sizeof(diag.message) - 1);
	assert_int_equal(strlen(diag.hint), sizeof(diag.hint) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_returns_the_error_and_clears_what_was_there),
		cmocka_unit_test(nobody_has_to_listen),
		cmocka_unit_test(what_is_too_long_is_cut_and_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
