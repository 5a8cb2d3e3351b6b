// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "tools/cli/typed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As a shell reads it: what stands between quotes, and \' outside of them. */
static void a_word_is_quoted_where_a_shell_would_split_it(void **state)
{
	static const struct {
		const char *word, *want;
	} rows[] = {
		{ "/run/a.sock", "/run/a.sock" }, { "", "''" },         { "a b", "'a b'" },
		{ "it's", "'it'\\''s'" },         { "$(x)", "'$(x)'" }, { "~", "'~'" },
	};
	char buf[TYPED_WORD_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(typed_word(rows[i].word, "X", buf, sizeof(buf)), rows[i].want);
	assert_string_equal(typed_word("0123456789", "FILE", buf, 8), "FILE");
	assert_string_equal(typed_word("0123456", "FILE", buf, 8), "0123456");
}

static void expect_disk(const char *text, const char *want)
{
	char *typed = typed_for_disk(text);

	assert_non_null(typed);
	assert_string_equal(typed, want);
	free(typed);
}

static void a_command_about_a_disk_names_it(void **state)
{
	(void)state;
	typed_set_disk(NULL, NULL);
	expect_disk("with: faultblk revive", "with: faultblk revive");
	typed_set_disk("d", NULL);
	expect_disk("", "");
	expect_disk("with: faultblk revive", "with: faultblk revive --name d");
	expect_disk(
		"`faultblk recording --limit SIZE` or `faultblk recording --stop`",
		"`faultblk recording --name d --limit SIZE` or `faultblk recording --name d --stop`");
	expect_disk("or faultblk snapshot rm NAME first",
		    "or faultblk snapshot rm --name d NAME first");
	expect_disk("faultblk rule ls lists them", "faultblk rule ls --name d lists them");
	/* Who names one, or none is meant. */
	expect_disk("faultblk revive --name e", "faultblk revive --name e");
	expect_disk("faultblk stop --all; faultblk held",
		    "faultblk stop --all; faultblk held --name d");
	expect_disk("faultblk list, faultblk run", "faultblk list, faultblk run");
	/* Words that are none. */
	expect_disk("the faultblk that wrote it", "the faultblk that wrote it");
	expect_disk("/x/faultblk revive", "/x/faultblk revive");
	expect_disk("faultblk ", "faultblk ");
	expect_disk("faultblk", "faultblk");
	typed_set_disk("d", "/a b/s");
	expect_disk("faultblk revive", "faultblk revive --socket '/a b/s'");
	typed_set_disk(NULL, NULL);
}

static void expect_user(const char *text, const char *want)
{
	char *typed = typed_for_user(text);

	assert_non_null(typed);
	assert_string_equal(typed, want);
	free(typed);
}

static void a_command_begins_with_what_the_user_calls_the_program(void **state)
{
	const char *root = geteuid() == 0 ? "" : "sudo ";
	char want[128];

	(void)state;
	setenv("FAULTBLK_PROGRAM", "", 1);
	unsetenv("SUDO_UID");
	expect_user("see faultblk status", "see faultblk status");
	snprintf(want, sizeof(want), "with: %sfaultblk run", root);
	expect_user("with: faultblk run", want);
	expect_user("sudo faultblk run ...", "sudo faultblk run ...");
	setenv("FAULTBLK_PROGRAM", "/it's/faultblk", 1);
	expect_user("`faultblk status` or faultblk list",
		    "`'/it'\\''s/faultblk' status` or '/it'\\''s/faultblk' list");
	setenv("FAULTBLK_PROGRAM", "", 1);
	setenv("SUDO_UID", "1000", 1);
	if (geteuid() == 0) {
		expect_user("faultblk revive", "sudo faultblk revive");
		expect_user("faultblk vm -- faultblk run", "faultblk vm -- faultblk run");
	}
	unsetenv("SUDO_UID");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_is_quoted_where_a_shell_would_split_it),
		cmocka_unit_test(a_command_about_a_disk_names_it),
		cmocka_unit_test(a_command_begins_with_what_the_user_calls_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
