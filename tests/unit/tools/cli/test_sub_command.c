// SPDX-License-Identifier: MIT
/* Commands of a command, and the files that commands read. */
#include "tests/unit/check.h"

#include "tools/cli/input.h"
#include "tools/cli/sub_command.h"
#include "tools/cli/text_file.h"
#include "tools/cli/tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct values {
	const char *text;
	bool flag;
};

static const struct opt table[] = {
	OPT_TEXT(struct values, text, "text", "usual", "TEXT", "a text"),
	OPT_FLAG(struct values, flag, "flag", "a flag"),
	OPT_END,
};

static char said[4096]; /* both streams of the last call */
static int outs[2], ours = -1;

static void catch_begin(void)
{
	fflush(stdout);
	ours = memfd_create("said", MFD_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		outs[i] = dup(i + 1);
		assert_true(outs[i] >= 0 && dup2(ours, i + 1) >= 0);
	}
}

static void catch_end(void)
{
	ssize_t n;

	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		dup2(outs[i], i + 1);
		close(outs[i]);
	}
	n = pread(ours, said, sizeof(said) - 1, 0);
	said[n < 0 ? 0 : n] = '\0';
	close(ours);
}

static int show(void *opts, const struct opt_words *words)
{
	const struct values *values = opts;

	printf("show %s %d %d %s\n", values->text, values->flag, words->count, words->words[0]);
	return 42;
}

static int list(void *opts, const struct opt_words *words)
{
	(void)opts, (void)words;
	return EXIT_OK;
}

static const struct sub_command subs[] = {
	{ "show",
	  show,
	  table,
	  { .usage = "faultblk box show [options] NAME",
	    .what = "",
	    .examples = "  show it",
	    .exits = "",
	    .min_words = 1,
	    .max_words = 1 },
	  "show one" },
	{ "ls",
	  list,
	  table,
	  { .usage = "faultblk box ls", .what = "", .examples = "  list all", .exits = "" },
	  "list all" },
};
static const struct sub_commands box = {
	.name = "box", .what = "A box.", .exits = "  0  done", .subs = subs, .nr = 2
};

static int run(int argc, const char *const *args)
{
	char *argv[8] = { "box" };
	struct values values;
	int code;

	for (int i = 0; i < argc; i++)
		argv[i + 1] = (char *)args[i];
	catch_begin();
	code = sub_commands_run(&box, argc + 1, argv, &values);
	catch_end();
	return code;
}
#define RUN(...)                                                                                   \
	run(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *),                              \
	    (const char *[]){ __VA_ARGS__ })

static void assert_said(const char *words)
{
	if (!strstr(said, words))
		fail_msg("\"%s\" does not say \"%s\"", said, words);
}

static void a_sub_command_gets_its_options_and_its_words(void **state)
{
	(void)state;
	assert_int_equal(RUN("show", "--flag", "it"), 42);
	assert_string_equal(said, "show usual 1 1 it\n");
	assert_int_equal(RUN("list"), EXIT_OK);
	assert_int_equal(RUN("show"), EXIT_USAGE);
	assert_said("box show: got nothing, wanted NAME");
}

static void a_word_that_is_no_sub_command_names_the_nearest_one(void **state)
{
	(void)state;
	assert_int_equal(RUN("shwo"), EXIT_USAGE);
	assert_said("box: there is no command 'shwo'; did you mean 'show'?");
	assert_int_equal(RUN("unpack"), EXIT_USAGE);
	assert_said("faultblk box --help lists them");
}

static void help_and_no_word_at_all_list_the_sub_commands(void **state)
{
	(void)state;
	assert_int_equal(RUN("--help"), EXIT_OK);
	assert_said("  show     show one\n  ls       list all\n");
	assert_said("examples:\n  show it\n  list all\n\nexit codes:\n  0  done\n");
	assert_int_equal(run(0, NULL), EXIT_USAGE);
	assert_said("usage: faultblk box COMMAND [options]");
}

static int open_input(const char *path, size_t *ret_size)
{
	int fd;

	catch_begin();
	fd = input_open(path, "a box", ret_size);
	catch_end();
	return fd;
}

static void an_input_is_a_regular_file_that_is_not_empty(void **state)
{
	char path[] = "/tmp/test_input.XXXXXX";
	int fd = mkstemp(path), opened;
	size_t size = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(open_input(path, &size), -1);
	assert_said("is empty, not a box");
	assert_int_equal(write(fd, "12345", 5), 5);
	opened = open_input(path, &size);
	assert_true(opened >= 0);
	assert_int_equal(size, 5);
	close(opened);
	close(fd);
	unlink(path);
	assert_int_equal(open_input(path, &size), -1);
	assert_said("No such file");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_input(path, &size), -1);
	assert_said("is no regular file, not a box");
	unlink(path);
}

static void text_longer_than_its_limit_is_seen_to_be_so(void **state)
{
	char path[] = "/tmp/test_text.XXXXXX", *text;
	int fd = mkstemp(path);
	size_t len = 0;

	(void)state;
	assert_int_equal(write(fd, "123456789", 9), 9);
	close(fd);
	assert_int_equal(text_file_read(path, 9, &text, &len), EXIT_OK);
	assert_int_equal(len, 9);
	assert_string_equal(text, "123456789");
	free(text);
	assert_int_equal(text_file_read(path, 4, &text, &len), EXIT_OK);
	assert_int_equal(len, 5);
	free(text);
	unlink(path);
	catch_begin();
	len = (size_t)text_file_read(path, 4, &text, &len);
	catch_end();
	assert_int_equal(len, EXIT_USAGE);
	assert_said("No such file");
	assert_string_equal(text_file_name("-"), "standard input");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sub_command_gets_its_options_and_its_words),
		cmocka_unit_test(a_word_that_is_no_sub_command_names_the_nearest_one),
		cmocka_unit_test(help_and_no_word_at_all_list_the_sub_commands),
		cmocka_unit_test(an_input_is_a_regular_file_that_is_not_empty),
		cmocka_unit_test(text_longer_than_its_limit_is_seen_to_be_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
