// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch_folder.h"

#include "tools/cli/left_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Folders lie in base. Of one kind an entry is locked, of the other the folder itself. */
static const struct folder_kind inner = { .prefix = "in-", .lock = "lock", .command = "test" };
static const struct folder_kind outer = { .prefix = "out-", .command = "test" };
static struct said {
	int nr_gone, nr_left;
	char why[128], name[64];
} said;

static void hear(void *ctx, const struct left_folder *folder)
{
	struct said *to = ctx;

	to->nr_gone += !folder->why;
	to->nr_left += folder->why != NULL;
	snprintf(to->why, sizeof(to->why), "%s", folder->why ? folder->why : "");
	snprintf(to->name, sizeof(to->name), "%s", folder->name);
}

static void sweep(const struct folder_kind *kind, bool dry_run)
{
	said = (struct said){ 0 };
	assert_int_equal(left_folder_sweep(base, kind, dry_run, hear, &said), 0);
}

static int hold(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", base, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	return fd;
}

static void one_whose_lock_is_free_goes_and_one_whose_is_held_is_not_even_told(void **state)
{
	int in, out;

	(void)state;
	run("mkdir -p in-a/b/c in-live out-a/b/c out-live other && touch in-a/lock in-live/lock out-a/f in-a/b/f");
	in = hold("in-live/lock");
	out = hold("out-live");
	sweep(&inner, true);
	assert_int_equal(said.nr_gone, 1);
	assert_string_equal(said.name, "in-a");
	run("test -e in-a/b/f");
	sweep(&inner, false);
	assert_int_equal(said.nr_gone, 1);
	assert_int_equal(said.nr_left, 0);
	sweep(&outer, false);
	assert_int_equal(said.nr_gone, 1);
	assert_string_equal(said.name, "out-a");
	assert_int_equal(said.nr_left, 0);
	run("test \"$(echo *)\" = 'in-live other out-live'");
	close(in);
	close(out);
	sweep(&inner, false);
	sweep(&outer, false);
	run("test \"$(echo *)\" = other");
}

static void one_without_a_lock_goes_only_if_it_is_empty(void **state)
{
	(void)state;
	run("mkdir in-empty");
	sweep(&inner, true);
	assert_int_equal(said.nr_gone, 1);
	run("test -d in-empty");
	sweep(&inner, false);
	run("test ! -e in-empty && mkdir -p in-full/d");
	sweep(&inner, false);
	assert_int_equal(said.nr_left, 1);
	assert_string_equal(said.why, "it has content and no lock file");
	run("test -d in-full/d");
}

static void links_and_files_are_left_and_not_followed(void **state)
{
	static const char *const makes[] = { "mkdir -p real && touch real/lock && ln -s real in-x",
					     "touch in-x", "mkfifo in-x",
					     "mkdir in-x && ln -s ../real/lock in-x/lock",
					     "mkdir in-x && mkfifo in-x/lock" };

	(void)state;
	for (size_t i = 0; i < sizeof(makes) / sizeof(*makes); i++) {
		run(makes[i]);
		for (int dry_run = 0; dry_run < 2; dry_run++) {
			sweep(&inner, dry_run);
			assert_int_equal(said.nr_gone, 0);
			assert_int_equal(said.nr_left, 1);
			assert_string_equal(said.why,
					    i < 3 ? "it is not a folder" : "its lock is not a file");
		}
		run("test -e real/lock && rm -r in-x");
	}
}

static void a_dry_run_leaves_modes_and_times(void **state)
{
	(void)state;
	run("mkdir -p in-a/b && touch in-a/lock && chmod 500 in-a/b in-a && stat -c '%a %z' in-a in-a/b >was");
	sweep(&inner, true);
	assert_int_equal(said.nr_gone, 1);
	run("stat -c '%a %z' in-a in-a/b | cmp - was");
	sweep(&inner, false);
	run("test ! -e in-a");
}

static void a_kind_of_tmpfs_is_looked_for_there_alone(void **state)
{
	const struct folder_kind kind = {
		.prefix = "cpu", .lock = "lock", .command = "test", .on_tmpfs = true
	};

	(void)state;
	/* Folders that are not ours to remove, on a file system of another kind. */
	said = (struct said){ 0 };
	assert_false(left_folder_is_place("/proc", &kind));
	assert_int_equal(left_folder_sweep("/sys/devices/system/cpu", &kind, true, hear, &said), 0);
	assert_int_equal(said.nr_gone + said.nr_left, 0);
	assert_int_equal(left_folder_sweep("/no/such/place", &inner, true, hear, &said), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			one_whose_lock_is_free_goes_and_one_whose_is_held_is_not_even_told, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(one_without_a_lock_goes_only_if_it_is_empty, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(links_and_files_are_left_and_not_followed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_dry_run_leaves_modes_and_times, set_up,
						tear_down),
		cmocka_unit_test(a_kind_of_tmpfs_is_looked_for_there_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
