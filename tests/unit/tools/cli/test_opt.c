// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
	uint64_t size, count, time;
	const char *text;
	bool flag;
	struct opt_list list;
};

static const struct opt table[] = {
	OPT_SIZE(struct values, size, "size", "256M", 512, 1ull << 30, "a size"),
	OPT_COUNT(struct values, count, "count", NULL, 1, 4, "a count"),
	OPT_TIME(struct values, time, "time", "1s", 1, UINT64_MAX, "a time"),
	OPT_TEXT(struct values, text, "text", NULL, "NAME", "a text"),
	OPT_FLAG(struct values, flag, "flag", "a flag"),
	OPT_LIST(struct values, list, "item", "ITEM", "an item"),
	OPT_END,
};

static struct values values;
static struct opt_words words;
static char said[4096]; /* what the last parse wrote to standard error */

#define WORDS_MAX 16

/* Parse the NULL-terminated @args, with standard error caught. */
static enum opt_result parse_with(const struct opt_help *help, char **args)
{
	static char *argv[WORDS_MAX];
	int argc = 0, saved = dup(STDERR_FILENO), pipe_fds[2];
	enum opt_result result;
	ssize_t n;

	argv[argc++] = (char *)"test";
	while (*args && argc < WORDS_MAX - 1)
		argv[argc++] = *args++;
	argv[argc] = NULL;
	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	result = opt_parse(argc, argv, table, help, &values, &words);
	dup2(saved, STDERR_FILENO);
	n = read(pipe_fds[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(saved);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return result;
}

#define parse(help, ...) parse_with(help, (char *[]){ __VA_ARGS__, NULL })

static const struct opt_help any_words = { .usage = "test", .what = "test", .max_words = -1 };
static const struct opt_help no_words = { .usage = "test", .what = "test" };
static const struct opt_help with_command = { .usage = "test", .what = "test", .command = true };

static void defaults_are_filled_in(void **state)
{
	(void)state;
	memset(&values, 0xff, sizeof(values));
	assert_int_equal(parse(&no_words, NULL), OPT_OK);
	assert_int_equal(values.size, 256 << 20);
	assert_int_equal(values.count, 0);
	assert_int_equal(values.time, NSEC_PER_SEC);
	assert_null(values.text);
	assert_false(values.flag);
	assert_int_equal(values.list.count, 0);
	assert_null(words.command);
}

static void values_stand_behind_a_space_or_an_equals_sign(void **state)
{
	(void)state;
	assert_int_equal(parse(&no_words, "--size", "4k", "--count=3", "--time=20ms", "--text=a=b",
			       "--flag"),
			 OPT_OK);
	assert_int_equal(values.size, 4096);
	assert_int_equal(values.count, 3);
	assert_int_equal(values.time, 20 * NSEC_PER_MSEC);
	assert_string_equal(values.text, "a=b");
	assert_true(values.flag);
}

static void words_and_options_may_be_mixed(void **state)
{
	(void)state;
	assert_int_equal(parse(&any_words, "one", "--flag", "two", "-", "--", "--text"), OPT_OK);
	assert_int_equal(words.count, 4);
	assert_string_equal(words.words[0], "one");
	assert_string_equal(words.words[1], "two");
	assert_string_equal(words.words[2], "-");
	assert_string_equal(words.words[3], "--text");
	assert_true(values.flag);
}

static void a_command_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(parse(&with_command, "--flag", "--", "sh", "--size", "--"), OPT_OK);
	assert_string_equal(words.command[0], "sh");
	assert_string_equal(words.command[1], "--size");
	assert_string_equal(words.command[2], "--");
	assert_null(words.command[3]);
	assert_int_equal(parse(&with_command, "--"), OPT_BAD);
	assert_int_equal(parse(&with_command, "sh"), OPT_BAD);
	assert_non_null(strstr(said, "after --"));
}

static void lists_keep_their_order(void **state)
{
	(void)state;
	assert_int_equal(parse(&no_words, "--item", "a", "--item=b", "--item", "c"), OPT_OK);
	assert_int_equal(values.list.count, 3);
	assert_string_equal(values.list.items[0], "a");
	assert_string_equal(values.list.items[2], "c");
	opt_free(table, &values);
	assert_int_equal(values.list.count, 0);
	/* A parse that fails frees what it had. */
	assert_int_equal(parse(&no_words, "--item", "a", "--count", "9"), OPT_BAD);
	assert_null(values.list.items);
}

static void words_can_be_values_of_an_option(void **state)
{
	static const struct opt_help one = { .usage = "test", .what = "test", .words_are = "text" };
	static const struct opt_help many = { .usage = "test",
					      .what = "test",
					      .words_are = "item" };

	(void)state;
	assert_int_equal(parse(&one, "--flag", "d"), OPT_OK);
	assert_string_equal(values.text, "d");
	assert_int_equal(words.count, 0);
	assert_int_equal(parse(&one, "d", "e"), OPT_BAD);
	assert_string_equal(said, "faultblk: test: got 'd' and 'e', wanted one NAME\n");
	assert_int_equal(parse(&one, "--text", "d", "e"), OPT_BAD);
	assert_int_equal(parse(&many, "a", "--item", "b", "c"), OPT_OK);
	assert_int_equal(values.list.count, 3);
	assert_string_equal(values.list.items[2], "c");
	opt_free(table, &values);
}

static void what_is_missing_is_named(void **state)
{
	static const struct opt_help two = { .usage = "test [options] add|remove NAME",
					     .what = "test",
					     .min_words = 2,
					     .max_words = 2 };

	(void)state;
	assert_int_equal(parse(&two, "--flag"), OPT_BAD);
	assert_non_null(strstr(said, "test: got nothing, wanted add|remove NAME\n"));
	assert_int_equal(parse(&two, "add"), OPT_BAD);
	assert_non_null(strstr(said, "test: got only 'add', wanted add|remove NAME\n"));
}

static void what_users_say_is_understood(void **state)
{
	char *quoted[] = { (char *)"echo hello", NULL };
	char *two[] = { (char *)"echo", (char *)"hello there", NULL };

	(void)state;
	assert_true(tool_is_word("ls", "list") && tool_is_word("list", "ls"));
	assert_true(tool_is_word("rm", "remove") && tool_is_word("remove", "rm"));
	assert_true(tool_is_word("put", "put"));
	assert_false(tool_is_word("ls", "rm") || tool_is_word("l", "ls"));
	assert_non_null(strstr(tool_quoted_hint(quoted, ENOENT), "one word with blanks"));
	assert_string_equal(tool_quoted_hint(quoted, EACCES), "");
	assert_string_equal(tool_quoted_hint(two, ENOENT), "");
}

static void mistakes_are_refused_with_words_that_help(void **state)
{
	(void)state;
	assert_int_equal(parse(&no_words, "--sise", "4k"), OPT_BAD);
	assert_non_null(strstr(said, "did you mean --size?"));
	assert_int_equal(parse(&no_words, "-flag"), OPT_BAD);
	assert_non_null(strstr(said, "did you mean --flag?"));
	assert_int_equal(parse(&no_words, "--size"), OPT_BAD);
	assert_non_null(strstr(said, "--size SIZE"));
	assert_int_equal(parse(&no_words, "--size", "1"), OPT_BAD);
	assert_non_null(strstr(said, "wanted 1s to 1G"));
	assert_int_equal(parse(&no_words, "--size", "4x"), OPT_BAD);
	assert_int_equal(parse(&no_words, "--count", "5"), OPT_BAD);
	assert_non_null(strstr(said, "wanted 1 to 4"));
	assert_int_equal(parse(&no_words, "--count", "-1"), OPT_BAD);
	assert_int_equal(parse(&no_words, "--count", "18446744073709551617"), OPT_BAD);
	assert_int_equal(parse(&no_words, "--count="), OPT_BAD);
	assert_int_equal(parse(&no_words, "--time", "5"), OPT_BAD);
	assert_int_equal(parse(&no_words, "--flag=1"), OPT_BAD);
	assert_int_equal(parse(&no_words, "word"), OPT_BAD);
	assert_non_null(strstr(said, "'word'"));
	assert_null(strstr(said, "quotes"));
	assert_int_equal(parse(&no_words, "--text", "slow", "op=read"), OPT_BAD);
	assert_non_null(strstr(said, "'op=read'; put a word with blanks in quotes"));
	assert_int_equal(opt_exit(OPT_BAD), EXIT_USAGE);
	assert_int_equal(opt_exit(OPT_HELP_SHOWN), EXIT_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(values_stand_behind_a_space_or_an_equals_sign),
		cmocka_unit_test(words_and_options_may_be_mixed),
		cmocka_unit_test(a_command_is_left_alone),
		cmocka_unit_test(lists_keep_their_order),
		cmocka_unit_test(words_can_be_values_of_an_option),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(what_users_say_is_understood),
		cmocka_unit_test(mistakes_are_refused_with_words_that_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
