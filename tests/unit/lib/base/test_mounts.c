// SPDX-License-Identifier: MIT
#include "base/mounts.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

static struct mounts *read_text(const char *text)
{
	char path[] = "/tmp/test_mounts.XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	struct mounts *mounts = NULL;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(mounts_read(path, &mounts), 0);
	unlink(path);
	return mounts;
}

static void escapes_are_what_they_stand_for(void **state)
{
	struct mounts *mounts = read_text(
		"36 35 259:3 / /tmp/a\\040b\\011c\\012d\\134e rw,noatime shared:1 master:2 - ext4 "
		"/dev/my\\040disk rw\n");

	(void)state;
	assert_int_equal(mounts->nr, 1);
	assert_int_equal(mounts->entries[0].id, 36);
	assert_int_equal(mounts->entries[0].parent, 35);
	assert_true(mounts->entries[0].dev == makedev(259, 3));
	assert_string_equal(mounts->entries[0].where, "/tmp/a b\tc\nd\\e");
	assert_string_equal(mounts->entries[0].type, "ext4");
	assert_string_equal(mounts->entries[0].source, "/dev/my disk");
	mounts_free(mounts);
}

static void a_backslash_that_begins_no_escape_stays(void **state)
{
	struct mounts *mounts = read_text("1 0 0:1 / /a\\04 rw - tmpfs x\\999\\ rw\n");

	(void)state;
	assert_int_equal(mounts->nr, 1);
	assert_string_equal(mounts->entries[0].where, "/a\\04");
	assert_string_equal(mounts->entries[0].source, "x\\999\\");
	mounts_free(mounts);
}

static void lines_that_say_nothing_are_left_out_and_long_ones_are_whole(void **state)
{
	size_t long_bytes = 40000;
	_cleanup_free_ char *text = malloc(long_bytes + 256);
	struct mounts *mounts;
	char *at = text;

	(void)state;
	at += sprintf(at, "nonsense\n\n7 6 0:5 / /no-dash rw tmpfs none rw\n8 7 0:6 / /");
	memset(at, 'x', long_bytes);
	at += long_bytes;
	sprintf(at, " rw - tmpfs none rw\n9 8 0:7 / /last rw - proc proc rw");
	mounts = read_text(text);
	assert_int_equal(mounts->nr, 2);
	assert_int_equal(strlen(mounts->entries[0].where), long_bytes + 1);
	assert_string_equal(mounts->entries[1].where, "/last");
	mounts_free(mounts);
}

static void our_own_table_has_a_root_and_a_proc(void **state)
{
	struct mounts *mounts;
	bool root = false, proc = false;

	(void)state;
	assert_int_equal(mounts_read("/proc/thread-self/mountinfo", &mounts), 0);
	for (size_t i = 0; i < mounts->nr; i++) {
		root |= strcmp(mounts->entries[i].where, "/") == 0;
		proc |= strcmp(mounts->entries[i].type, "proc") == 0;
	}
	assert_true(root);
	assert_true(proc);
	mounts_free(mounts);
	assert_true(mounts_read("/proc/0/mountinfo", &mounts) < 0);
}

/* Anybody may call a tmpfs /dev/ublkb0. */
static void only_types_that_need_a_device_have_a_source(void **state)
{
	struct mount_entry entry = { .type = "tmpfs", .source = "/dev/ublkb0" };

	(void)state;
	assert_false(mounts_has_source(&entry));
	entry.type = "proc";
	assert_false(mounts_has_source(&entry));
	entry.type = "nodev";
	assert_false(mounts_has_source(&entry));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_are_what_they_stand_for),
		cmocka_unit_test(a_backslash_that_begins_no_escape_stays),
		cmocka_unit_test(lines_that_say_nothing_are_left_out_and_long_ones_are_whole),
		cmocka_unit_test(our_own_table_has_a_root_and_a_proc),
		cmocka_unit_test(only_types_that_need_a_device_have_a_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
