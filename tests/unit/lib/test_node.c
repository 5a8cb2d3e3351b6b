// SPDX-License-Identifier: MIT
/* Nodes in /dev, what may lie in their place, and disks of other users: in folders of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/scratch_folder.h"

#include "base/mounts.h"
#include "lib/node.h"
#include "tools/disk/node_file.h"
#include "tools/rpc/others.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static char said[768];

static const char *in(const char *name)
{
	static char path[4][128];
	static int next;
	char *to = path[next++ % 4];

	snprintf(to, sizeof(path[0]), "%s/%s", base, name);
	return to;
}

static void hear(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx;
	(void)level;
	snprintf(said, sizeof(said), "%s", message);
}

/* ------------------------------------------------------------------------------ the library */

static void a_file_in_the_place_of_a_node_is_told_with_what_it_is(void **state)
{
	const struct logger log = { .fn = hear };

	(void)state;
	assert_int_equal(node_look(in("ublkb0"), S_IFBLK, NULL), NODE_MISSING);
	run("printf 12345 >ublkb0; mkdir ublkb1; ln -s /dev/null ublkc0");
	assert_int_equal(node_look(in("ublkb0"), S_IFBLK, NULL), NODE_IN_THE_WAY);
	assert_int_equal(node_say_in_the_way(in("ublkb0"), &log), -EEXIST);
	assert_non_null(strstr(said, "a regular file of 5 bytes"));
	assert_non_null(strstr(said, "rm /tmp/faultblk-test-"));
	assert_int_equal(node_say_in_the_way(in("ublkb1"), &log), -EEXIST);
	assert_non_null(strstr(said, "a folder"));
	/* A link is no node, wherever it leads. */
	assert_int_equal(node_look(in("ublkc0"), S_IFCHR, NULL), NODE_IN_THE_WAY);
	assert_int_equal(node_say_in_the_way(in("ublkc0"), &log), -EEXIST);
	assert_non_null(strstr(said, "a symbolic link"));
	assert_int_equal(node_say_in_the_way(in("ublkb9"), &log), -EAGAIN);
}

static void a_node_is_known_by_its_type_and_numbers(void **state)
{
	dev_t dev = 0;

	(void)state;
	assert_int_equal(node_look("/dev/null", S_IFCHR, &dev), NODE_THERE);
	assert_true(dev == makedev(1, 3));
	assert_int_equal(node_look("/dev/null", S_IFBLK, &dev), NODE_IN_THE_WAY);
}

static void a_folder_that_is_no_devtmpfs_is_named_as_what_it_is(void **state)
{
	char why[256], type[32];

	(void)state;
	assert_int_equal(mounts_type_of("/proc", type, sizeof(type)), 0);
	assert_string_equal(type, "proc");
	assert_int_equal(mounts_type_of(in("nothing"), type, sizeof(type)), -ENOENT);
	assert_non_null(strstr(node_why_missing("/proc", why, sizeof(why)), "/proc is a proc"));
	assert_string_equal(node_why_missing(in("nothing"), why, sizeof(why)), "");
}

/* ------------------------------------------------------------------------------ what gc does */

static struct found {
	char names[256];
	uint64_t bytes;
} found;

static void add_found(void *ctx, const struct node_file *file)
{
	struct found *to = ctx;
	size_t len = strlen(to->names);

	snprintf(to->names + len, sizeof(to->names) - len, "%s:%s ", file->name, file->what);
	to->bytes += file->size_bytes;
}

static int find(void)
{
	found = (struct found){ .bytes = 0 };
	return node_file_each(base, add_found, &found);
}

static void only_what_has_the_very_name_of_a_node_is_found(void **state)
{
	(void)state;
	run("printf 123 >ublkb0; : >ublkb17p2; : >ublkc3; mkdir ublkb4");
	run(": >ublkb; : >ublkbx; : >ublkb1x; : >ublkb1p; : >ublkb1p2x; : >ublkc1p1; : >xublkb1; "
	    ": >ublkd0; : >ublk-control");
	assert_int_equal(find(), 4);
	assert_non_null(strstr(found.names, "ublkb0:a regular file "));
	assert_non_null(strstr(found.names, "ublkb17p2:a regular file "));
	assert_non_null(strstr(found.names, "ublkc3:a regular file "));
	assert_non_null(strstr(found.names, "ublkb4:a folder "));
	assert_int_equal(found.bytes, 3);
	assert_int_equal(node_file_each(in("nothing"), add_found, &found), -ENOENT);
}

static int take(const char *name, bool full, bool dry_run)
{
	char why[96] = "";
	int err = node_file_remove(base, name, full, dry_run, why);

	snprintf(said, sizeof(said), "%s", why);
	return err;
}

static void an_empty_file_goes_and_one_that_holds_something_only_when_told(void **state)
{
	(void)state;
	run("printf 123 >ublkb0; : >ublkb1");
	assert_int_equal(take("ublkb1", false, true), 0);
	assert_int_equal(access(in("ublkb1"), F_OK), 0);
	assert_int_equal(take("ublkb1", false, false), 0);
	assert_int_equal(access(in("ublkb1"), F_OK), -1);
	assert_int_equal(take("ublkb0", false, false), -ENOTEMPTY);
	assert_string_equal(said, "it holds 3 bytes");
	run("[ $(cat ublkb0) = 123 ]");
	assert_int_equal(take("ublkb0", true, true), 0);
	run("[ $(cat ublkb0) = 123 ]");
	assert_int_equal(take("ublkb0", true, false), 0);
	assert_int_equal(access(in("ublkb0"), F_OK), -1);
	assert_int_equal(take("ublkb0", true, false), -ENOENT);
}

static void a_file_that_somebody_has_open_stays(void **state)
{
	int fd;

	(void)state;
	run(": >ublkb0");
	fd = open(in("ublkb0"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(take("ublkb0", true, false), -EBUSY);
	assert_string_equal(said, "a process has it open");
	close(fd);
	assert_int_equal(take("ublkb0", false, false), 0);
}

static void nothing_but_a_regular_file_is_ever_removed(void **state)
{
	(void)state;
	run(": >other; ln -s other ublkb0; mkdir ublkb1; mkfifo ublkb2");
	assert_int_equal(take("ublkb0", true, false), -ELOOP);
	assert_int_equal(take("ublkb1", true, false), -EINVAL);
	assert_int_equal(take("ublkb2", true, false), -EINVAL);
	assert_int_equal(take("other", true, false), -EINVAL);
	run("[ -f other ] && [ -L ublkb0 ] && [ -d ublkb1 ] && [ -p ublkb2 ]");
}

/* ------------------------------------------------------------------------------ others' disks */

static bool look(uid_t user)
{
	return others_look(in("sys"), in("proc"), user, said, sizeof(said));
}

static void disks_of_another_user_are_told_with_whose_server_runs(void **state)
{
	(void)state;
	run("mkdir sys proc proc/1 proc/42 proc/self; echo systemd >proc/1/comm; "
	    "echo faultblk >proc/42/comm; echo faultblk >proc/self/comm");
	/* A server, and no disk. */
	assert_false(look(getuid() + 1));
	run("mkdir sys/loop0 sys/ublkb3");
	assert_true(look(getuid() + 1));
	assert_non_null(strstr(said, "/dev/ublkb3 is served"));
	assert_non_null(strstr(said, "is process 42"));
	if (getuid() == 0)
		assert_non_null(strstr(said, "user 0 (root)"));
	/* One's own are no others'. */
	assert_false(look(getuid()));
	assert_string_equal(said, "");
	run("for n in 4 5 6 7; do mkdir sys/ublkb$n; done");
	assert_true(look(getuid() + 1));
	assert_non_null(strstr(said, ", ... are served"));
	/* A disk of some other program's. */
	run("echo nbdkit >proc/42/comm");
	assert_false(look(getuid() + 1));
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_folder(a_file_in_the_place_of_a_node_is_told_with_what_it_is),
		in_folder(a_node_is_known_by_its_type_and_numbers),
		in_folder(a_folder_that_is_no_devtmpfs_is_named_as_what_it_is),
		in_folder(only_what_has_the_very_name_of_a_node_is_found),
		in_folder(an_empty_file_goes_and_one_that_holds_something_only_when_told),
		in_folder(a_file_that_somebody_has_open_stays),
		in_folder(nothing_but_a_regular_file_is_ever_removed),
		in_folder(disks_of_another_user_are_told_with_whose_server_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
