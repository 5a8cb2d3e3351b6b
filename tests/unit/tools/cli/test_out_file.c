// SPDX-License-Identifier: MIT
/* A file that is there whole or not at all, and what it never replaces. */
#include "tools/cli/out_file.h"

#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/faultblk-out.XXXXXX";
static char path[64], other[64], part[64];

static void put(const char *name, const char *text)
{
	FILE *file = fopen(name, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static bool holds(const char *name, const char *text)
{
	char got[64] = "";
	FILE *file = fopen(name, "re");

	if (!file)
		return false;
	got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
	fclose(file);
	return strcmp(got, text) == 0;
}

static int write_one(const struct out_options *options, struct diag *diag)
{
	struct out_file file;
	int err = out_file_open(path, options, diag, &file);

	if (err)
		return err;
	assert_int_equal(out_file_write(&file, "whole", 5), 0);
	return out_file_finish(&file, diag);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/out", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	snprintf(part, sizeof(part), "%s/.out.faultblk-part", dir);
	return 0;
}

static int each(void **state)
{
	(void)state;
	unlink(path);
	unlink(other);
	unlink(part);
	return 0;
}

static int tear_down(void **state)
{
	each(state);
	return rmdir(dir); /* there is nothing else in it */
}

static void it_appears_when_it_is_finished_for_its_owner_alone(void **state)
{
	struct out_file file;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(out_file_open(path, NULL, NULL, &file), 0);
	assert_int_equal(out_file_write(&file, "whole", 5), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(out_file_finish(&file, NULL), 0);
	umask(mask);
	assert_true(holds(path, "whole"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void what_is_dropped_leaves_nothing(void **state)
{
	struct out_file file;

	(void)state;
	assert_int_equal(out_file_open(path, NULL, NULL, &file), 0);
	out_file_drop(&file);
	out_file_drop(&file);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(part, F_OK), -1);
}

static void one_that_came_meanwhile_stays_what_it_is(void **state)
{
	struct diag diag = { 0 };
	struct out_file file;

	(void)state;
	assert_int_equal(out_file_open(path, NULL, &diag, &file), 0);
	put(path, "theirs");
	assert_int_equal(out_file_finish(&file, &diag), -EEXIST);
	assert_string_equal(diag.id, "file.exists");
	assert_true(holds(path, "theirs"));
	/* Even by force not a link to something else. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(out_file_open(path, &(struct out_options){ .force = true }, &diag, &file),
			 0);
	put(other, "theirs");
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(out_file_finish(&file, &diag), -EINVAL);
	assert_string_equal(diag.id, "file.kind");
	assert_true(holds(other, "theirs"));
}

static void an_input_is_not_replaced_by_any_name(void **state)
{
	const struct out_options options = { .force = true, .inputs = { other } };
	struct diag diag = { 0 };

	(void)state;
	put(other, "read");
	assert_int_equal(link(other, path), 0);
	assert_int_equal(write_one(&options, &diag), -EINVAL);
	assert_string_equal(diag.id, "file.input");
	assert_true(holds(other, "read"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(write_one(&options, &diag), 0);
}

static bool is_a(int fd)
{
	char c;

	return read(fd, &c, 1) == 1 && c == 'a';
}

static void what_is_ours_needs_no_force(void **state)
{
	const struct out_options options = { .is_ours = is_a };

	(void)state;
	put(path, "b");
	assert_int_equal(write_one(&options, NULL), -EEXIST);
	put(path, "a");
	assert_int_equal(write_one(&options, NULL), 0);
	assert_true(holds(path, "whole"));
}

static void a_part_that_nobody_writes_is_replaced_and_no_other(void **state)
{
	const struct out_options options = { .force = true };
	int fd;

	(void)state;
	put(path, "old");
	put(part, "left by one that was killed");
	assert_int_equal(write_one(&options, NULL), 0);
	assert_int_equal(access(part, F_OK), -1);
	put(part, "being written");
	fd = open(part, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(write_one(&options, NULL), -EBUSY);
	close(fd);
	assert_true(holds(part, "being written"));
	assert_true(holds(path, "whole"));
}

static void one_that_is_published_stays_and_grows(void **state)
{
	struct out_file file;
	bool is_new;

	(void)state;
	assert_int_equal(out_file_go_on(path, NULL, NULL, &file, &is_new), 0);
	assert_true(is_new);
	assert_int_equal(out_file_publish(&file, NULL), 0);
	assert_int_equal(out_file_write(&file, "grown", 5), 0);
	out_file_drop(&file);
	assert_true(holds(path, "grown"));
	assert_int_equal(out_file_go_on(path, NULL, NULL, &file, &is_new), 0);
	assert_false(is_new);
	assert_int_equal(out_file_write(&file, "G", 1), 0);
	assert_int_equal(out_file_finish(&file, NULL), 0);
	assert_true(holds(path, "Grown"));
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const names[] = {
		"", "/", ".", "..", "/tmp/", "/tmp/..", "/dev/null/x"
	};
	struct out_file file;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct diag diag = { 0 };

		assert_true(out_file_open(names[i], &(struct out_options){ .force = true }, &diag,
					  &file) < 0);
		assert_true(diag.message[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(it_appears_when_it_is_finished_for_its_owner_alone, each),
		cmocka_unit_test_teardown(what_is_dropped_leaves_nothing, each),
		cmocka_unit_test_teardown(one_that_came_meanwhile_stays_what_it_is, each),
		cmocka_unit_test_teardown(an_input_is_not_replaced_by_any_name, each),
		cmocka_unit_test_teardown(what_is_ours_needs_no_force, each),
		cmocka_unit_test_teardown(a_part_that_nobody_writes_is_replaced_and_no_other, each),
		cmocka_unit_test_teardown(one_that_is_published_stays_and_grows, each),
		cmocka_unit_test_teardown(names_that_are_none_are_refused, each),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
