// SPDX-License-Identifier: MIT
/* The log command as it is called: what it prints, what it leaves, and how it ends. */
#include "tests/unit/check.h"

#include "faults/journal/save.h"
#include "tools/cli/tool.h"

#include <fcntl.h>
#include <stdio.h>

static char dir[] = "/tmp/test_cmd_log.XXXXXX";
static char said[16384]; /* both streams of the last command */

/* Runs it in the folder; the words are split at spaces. */
static int faultblk_log(const char *words)
{
	_cleanup_free_ char *copy = strdup(words);
	char *argv[16] = { "log" }, *rest = copy, *word;
	int argc = 1, out = dup(1), err = dup(2), code, fd;
	ssize_t n;

	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	fflush(stdout);
	fd = open("said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && dup2(fd, 1) >= 0 && dup2(fd, 2) >= 0);
	code = cmd_log(argc, argv);
	fflush(stdout);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	n = pread(fd, said, sizeof(said) - 1, 0);
	said[n < 0 ? 0 : n] = '\0';
	close(fd);
	return code;
}

static void ends(int wanted, const char *words, const char *says)
{
	int code = faultblk_log(words);

	if (code != wanted || !strstr(said, says))
		fail_msg("'%s' ended with %d, not %d, or does not say '%s': %s", words, code,
			 wanted, says, said);
}

static void make_recording(const char *path, int nr_disks)
{
	static const unsigned char data[1024] = "data";
	const struct journal_write write = { .submit = 1,
					     .complete = 2,
					     .at = 4096,
					     .len_bytes = 1024,
					     .data = data,
					     .flags = IO_FUA,
					     .op = IO_WRITE };
	const struct journal_write lost = {
		.submit = 4, .complete = JOURNAL_NEVER, .len_bytes = 512, .op = IO_DISCARD
	};
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct journal *journal;

	assert_int_equal(journal_new(&journal), 0);
	for (int i = 0; i < nr_disks; i++) {
		struct journal_disk disk = { .size_bytes = 1 << 20,
					     .block_bytes = 512,
					     .cache = true };

		snprintf(disk.name, sizeof(disk.name), "d%d", i);
		assert_int_equal(journal_add_disk(journal, &disk), 0);
	}
	assert_int_equal(journal_add_write(journal, &write), 0);
	assert_int_equal(journal_add_mark(journal, 3, 0, "safe", 4), 0);
	assert_int_equal(journal_add_write(journal, &lost), 0);
	journal->closed = true;
	assert_int_equal(journal_seal(journal, NULL), 0);
	assert_int_equal(journal_save(journal, 5, fd, NULL), 0);
	close(fd);
	journal_free(journal);
}

static void a_recording_goes_to_a_log_and_back(void **state)
{
	(void)state;
	make_recording("a.rec", 1);
	ends(0, "show a.rec",
	     "disk 0 d0 1M, blocks of 512 bytes, volatile cache\n"
	     "1 0.000000 write disk 0 8+1024 fua completed 2\n3 0.000000 mark safe\n"
	     "4 0.000000 discard disk 0 0+512 never completed\n");
	ends(0, "export a.rec a.log", "a.log: 4 entries");
	assert_non_null(strstr(said, "1 writes that never completed are left out"));
	ends(0, "show a.log", "2 byte 1024 write 8+1024 fua\n3 byte 2560 mark safe\n");
	ends(0, "import a.log b.rec", "b.rec: disk d0 of 1048576 bytes, 1 writes, 0 flushes, 1");
	ends(0, "show --json b.rec", "{\"type\":\"mark\",\"n\":1,\"step\":3");
	ends(0, "import --size 2M --name vdb a.log c.rec", "c.rec: disk vdb of 2097152 bytes");
}

static void nothing_is_written_over_and_nothing_is_left_of_failures(void **state)
{
	(void)state;
	ends(1, "export a.rec b.rec", "b.rec exists already");
	ends(1, "import a.log a.rec", "or --force to replace it");
	ends(1, "import --size 512 a.log d.rec", "entry 2 of the log, at byte 1024");
	assert_int_equal(access("d.rec", F_OK), -1);
	ends(1, "export a.rec nowhere/a.log", "cannot write nowhere/a.log: No such file");
	ends(1, "import --base nothing a.log d.rec", "cannot open nothing");
	ends(1, "import a.rec d.rec", "this is no log of dm-log-writes");
	assert_int_equal(access("d.rec", F_OK), -1);
}

static void of_several_disks_one_must_be_named(void **state)
{
	(void)state;
	make_recording("two.rec", 2);
	ends(2, "export two.rec two.log", "two.rec has 2 disks, and a log has one");
	ends(2, "export --disk d7 two.rec two.log", "there is no disk 'd7' in two.rec");
	ends(0, "export --disk d1 two.rec two.log", "two.log: 3 entries");
}

static void wrong_words_are_told(void **state)
{
	(void)state;
	ends(2, "exprot a b", "did you mean 'export'?");
	ends(2, "show", "faultblk log show");
	ends(2, "import --name a\tb a.log d.rec", "is not a name of a disk");
	ends(0, "--help", "a recording as a log of dm-log-writes");
	make_recording("short.rec", 1);
	assert_int_equal(truncate("short.rec", 20), 0);
	ends(1, "show short.rec", "this is no record file");
}

static void a_damaged_log_is_shown_up_to_there(void **state)
{
	(void)state;
	assert_int_equal(truncate("a.log", 2600), 0);
	ends(1, "show a.log", "2 byte 1024 write 8+1024 fua\n");
	assert_non_null(strstr(said, "entry 3 of the log, at byte 2560"));
}

static int make_dir(void **state)
{
	(void)state;
	return !mkdtemp(dir) || chdir(dir);
}

static int remove_dir(void **state)
{
	_cleanup_free_ char *text = NULL;

	(void)state;
	return chdir("/") || asprintf(&text, "rm -rf %s", dir) < 0 || system(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_recording_goes_to_a_log_and_back),
		cmocka_unit_test(nothing_is_written_over_and_nothing_is_left_of_failures),
		cmocka_unit_test(of_several_disks_one_must_be_named),
		cmocka_unit_test(wrong_words_are_told),
		cmocka_unit_test(a_damaged_log_is_shown_up_to_there),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
