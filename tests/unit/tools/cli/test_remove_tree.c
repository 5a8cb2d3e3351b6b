// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/cli/remove_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* base/tree is what is to be removed, base/precious what must stay. */
static char base[64];
static int base_fd = -1;
static struct tree_left left;

static void run(const char *command)
{
	char line[4096];

	snprintf(line, sizeof(line), "cd %s && %s", base, command);
	assert_int_equal(system(line), 0);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(base, "/tmp/faultblk-test-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	run("mkdir tree precious && mkdir precious/inner && echo a >precious/a && echo b >precious/inner/b");
	return base_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	run("test \"$(cat precious/a precious/inner/b)\" = \"$(printf 'a\\nb')\"");
	close(base_fd);
	run("rm -r precious tree && rmdir $PWD");
	return 0;
}

static int tear_down_gone(void **state)
{
	run("test ! -e tree && mkdir tree");
	return tear_down(state);
}

static void everything_in_it_goes_and_links_are_not_followed(void **state)
{
	(void)state;
	run("cd tree && mkdir -p a/b/c d && echo x >a/b/x && mkfifo p && ln -s ../precious l && "
	    "ln -s ../../precious/a a/l && ln -s nowhere a/n && ln ../precious/a hard");
	assert_int_equal(remove_tree(base_fd, "tree", NULL, &left), 0);
	assert_int_equal(left.nr, 0);
	assert_int_equal(remove_tree(base_fd, "tree", NULL, NULL), 0);
}

static void the_folder_itself_must_be_one(void **state)
{
	(void)state;
	run("ln -s precious tree/link && touch tree/file");
	run("cd tree && cp -P link file ..");
	assert_int_equal(remove_tree(base_fd, "link", NULL, &left), -ENOTDIR);
	assert_int_equal(left.nr, 1);
	assert_int_equal(remove_tree(base_fd, "file", NULL, &left), -ENOTDIR);
	run("rm link file");
}

static void the_last_one_stays_while_anything_does(void **state)
{
	int fd;

	(void)state;
	run("touch tree/lock tree/a");
	fd = remove_tree_open(base_fd, "tree");
	assert_true(fd >= 0);
	assert_int_equal(remove_tree_inside(fd, "lock", NULL), 0);
	run("test -z \"$(ls tree)\" && mkdir tree/lock");
	assert_int_equal(remove_tree_inside(fd, "lock", &left), -EISDIR);
	assert_string_equal(left.path, "lock");
	close(fd);
	run("rmdir tree/lock");
}

static void a_tree_of_any_depth_goes_with_few_descriptors(void **state)
{
	struct rlimit limit, few = { 40, 40 };
	int fd = open(base, O_RDONLY | O_DIRECTORY), i;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few.rlim_max = limit.rlim_max;
	for (i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(fd, i ? "deep" : "tree/deep", 0700), 0);
		next = openat(fd, i ? "deep" : "tree/deep", O_RDONLY | O_DIRECTORY);
		close(fd);
		fd = next;
		close(openat(fd, ".deep-0", O_CREAT | O_WRONLY, 0600));
	}
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	i = remove_tree(base_fd, "tree", NULL, &left);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(i, 0);
}

/* As somebody who has no power over modes. */
static void remove_as_nobody(void)
{
	int fd = open(base, O_RDONLY | O_DIRECTORY);

	if (fchdir(fd) || (geteuid() == 0 && (setgid(12345) || setuid(12345))))
		_exit(3);
	if (system("cd tree && mkdir -p mine/a/b && touch mine/a/b/x && chmod 500 mine/a/b && "
		   "chmod 0 mine/a && chmod 100 mine"))
		_exit(4);
	_exit(remove_tree(openat(fd, "tree", O_RDONLY), "mine", NULL, &left) == 0 ? 0 : 5);
}

static void folders_of_ours_that_may_not_be_written_go_too(void **state)
{
	int status;
	pid_t child;

	(void)state;
	run("chmod 755 . && chmod 777 tree");
	child = fork();
	if (child == 0)
		remove_as_nobody();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	run("test ! -e tree/mine");
}

/* ------------------------------------------------------------------------------ mounts */

/* Mounts of this process alone; skips where that is not allowed. */
static void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
}

static void bind(const char *what, const char *on)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/%s", base, what);
	snprintf(to, sizeof(to), "%s/%s", base, on);
	assert_int_equal(mount(from, to, NULL, MS_BIND, NULL), 0);
}

static void what_is_mounted_in_it_keeps_its_content_and_is_told(void **state)
{
	(void)state;
	own_mounts();
	run("mkdir -p tree/a/m && touch tree/a/f tree/lock tree/b");
	bind("precious", "tree/a/m");
	bind("precious/a", "tree/a/f");
	assert_int_equal(remove_tree(base_fd, "tree", "lock", &left), -EBUSY);
	assert_int_equal(left.nr, 2);
	assert_true(strcmp(left.path, "a/m") == 0 || strcmp(left.path, "a/f") == 0);
	run("test -e tree/lock && test ! -e tree/b && test -e tree/a/m/inner/b");
	run("umount tree/a/m && umount tree/a/f");
	assert_int_equal(remove_tree(base_fd, "tree", "lock", &left), 0);
}

static void a_mount_deep_down_and_one_on_the_folder_are_seen(void **state)
{
	(void)state;
	own_mounts();
	run("mkdir -p tree/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/m && touch tree/x");
	bind("precious", "tree/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/m");
	assert_int_equal(remove_tree(base_fd, "tree", NULL, &left), -EBUSY);
	assert_int_equal(left.nr, 1);
	run("test ! -e tree/x && umount $(find tree -name m)");
	bind("precious", "tree");
	assert_int_equal(remove_tree(base_fd, "tree", NULL, &left), -EBUSY);
	assert_string_equal(left.path, "");
	run("umount tree");
	assert_int_equal(remove_tree(base_fd, "tree", NULL, &left), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_in_it_goes_and_links_are_not_followed,
						set_up, tear_down_gone),
		cmocka_unit_test_setup_teardown(the_folder_itself_must_be_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_last_one_stays_while_anything_does, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_tree_of_any_depth_goes_with_few_descriptors,
						set_up, tear_down_gone),
		cmocka_unit_test_setup_teardown(folders_of_ours_that_may_not_be_written_go_too,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_mounted_in_it_keeps_its_content_and_is_told,
						set_up, tear_down_gone),
		cmocka_unit_test_setup_teardown(a_mount_deep_down_and_one_on_the_folder_are_seen,
						set_up, tear_down_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
