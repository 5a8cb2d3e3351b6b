// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tools/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[] = "/tmp/faultblk-test-XXXXXX";
static char dir[PATH_MAX];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(base))
		return -1;
	snprintf(dir, sizeof(dir), "%s/run", base);
	return setenv("FAULTBLK_RUNTIME_DIR", dir, 1);
}

static int tear_down(void **state)
{
	char command[PATH_MAX];

	(void)state;
	snprintf(command, sizeof(command), "rm -r '%s'", base);
	return system(command);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void the_directory_is_ours_alone(void **state)
{
	struct diag diag = { 0 };
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(runtime_dir_make(path, &diag), 0);
	assert_string_equal(path, dir);
	assert_int_equal(mode_of(path), 0700);
	chmod(path, 0755);
	assert_int_equal(runtime_dir_make(path, &diag), -EPERM);
	assert_non_null(strstr(diag.message, "0700"));
	chmod(path, 0700);
	assert_int_equal(runtime_dir_make(path, &diag), 0);
}

static void a_directory_that_is_a_link_or_a_file_is_refused(void **state)
{
	char path[PATH_MAX], other[PATH_MAX + 8];
	struct diag diag = { 0 };

	(void)state;
	snprintf(other, sizeof(other), "%s/link", base);
	assert_int_equal(symlink(dir, other), 0);
	setenv("FAULTBLK_RUNTIME_DIR", other, 1);
	assert_int_equal(runtime_dir_make(path, &diag), -ENOTDIR);
	setenv("FAULTBLK_RUNTIME_DIR", dir, 1);
}

static void names_are_checked(void **state)
{
	static const char *const bad[] = { "", "-a", ".a", "..", "a/b", "/a", "a b", "\xc3\xa4", "a\n" };
	char path[PATH_MAX], longest[RUNTIME_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(runtime_check_name(bad[i], NULL), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	longest[RUNTIME_NAME_MAX + 1] = '\0';
	assert_int_equal(runtime_check_name(longest, NULL), -EINVAL);
	longest[RUNTIME_NAME_MAX] = '\0';
	assert_int_equal(runtime_check_name(longest, NULL), 0);
	assert_int_equal(runtime_socket("../x", path, NULL), -EINVAL);
	assert_int_equal(runtime_socket("a.b-c_1", path, NULL), 0);
	assert_non_null(strstr(path, "/run/a.b-c_1.sock"));
}

static void a_live_socket_is_refused_and_a_stale_one_replaced(void **state)
{
	char path[PATH_MAX];
	struct diag diag = { 0 };
	int fd, other;

	(void)state;
	assert_int_equal(runtime_socket("one", path, NULL), 0);
	assert_int_equal(runtime_listen(path, &diag, &fd), 0);
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(runtime_listen(path, &diag, &other), -EADDRINUSE);
	assert_non_null(strstr(diag.message, path));
	assert_int_equal(runtime_connect(path, &diag, &other), 0);
	close(other);
	close(fd); /* as if killed: the file stays */
	assert_int_equal(runtime_connect(path, &diag, &other), -ECONNREFUSED);
	assert_int_equal(runtime_listen(path, &diag, &fd), 0);
	close(fd);
	unlink(path);
	assert_int_equal(runtime_connect(path, &diag, &other), -ENOENT);
}

static void a_live_server_with_a_full_queue_is_still_live(void **state)
{
	char path[PATH_MAX];
	int fd, other, clients[64];
	size_t nr = 0;

	(void)state;
	assert_int_equal(runtime_socket("full", path, NULL), 0);
	assert_int_equal(runtime_listen(path, NULL, &fd), 0);
	/* Nobody accepts; 17 connections fill the queue. */
	while (nr < 17 && runtime_connect(path, NULL, &clients[nr]) == 0)
		nr++;
	assert_int_equal(runtime_listen(path, NULL, &other), -EADDRINUSE);
	while (nr)
		close(clients[--nr]);
	close(fd);
	unlink(path);
}

static void what_is_not_a_socket_is_left_alone(void **state)
{
	char path[PATH_MAX];
	struct diag diag = { 0 };
	int fd;

	(void)state;
	assert_int_equal(runtime_socket("file", path, NULL), 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(runtime_listen(path, &diag, &fd), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
}

static void a_path_that_is_too_long_is_reported_with_the_limit(void **state)
{
	struct diag diag = { 0 };
	char path[200];
	int fd;

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	assert_int_equal(runtime_listen(path, &diag, &fd), -ENAMETOOLONG);
	assert_non_null(strstr(diag.message, "107"));
	assert_non_null(strstr(diag.message, "108"));
}

static int collect(void *ctx, const char *name, const char *path, bool live)
{
	char *text = ctx;

	(void)path;
	sprintf(text + strlen(text), "%s:%d ", name, live);
	return 0;
}

static void each_socket_is_named_with_whether_it_lives(void **state)
{
	char path[PATH_MAX], text[256] = "";
	int live, stale;

	(void)state;
	runtime_socket("b", path, NULL);
	assert_int_equal(runtime_listen(path, NULL, &live), 0);
	runtime_socket("a", path, NULL);
	assert_int_equal(runtime_listen(path, NULL, &stale), 0);
	close(stale);
	assert_int_equal(runtime_each(collect, text, NULL), 0);
	assert_string_equal(text, "a:0 b:1 ");
	close(live);
}

static void without_any_place_the_message_says_what_to_set(void **state)
{
	struct diag diag = { 0 };
	char path[PATH_MAX];

	(void)state;
	unsetenv("FAULTBLK_RUNTIME_DIR");
	unsetenv("XDG_RUNTIME_DIR");
	if (geteuid() == 0) {
		assert_int_equal(runtime_dir(path, &diag), 0);
		assert_string_equal(path, "/run/faultblk");
	} else {
		assert_int_equal(runtime_dir(path, &diag), -ENOENT);
		assert_non_null(strstr(diag.hint, "FAULTBLK_RUNTIME_DIR"));
	}
	setenv("FAULTBLK_RUNTIME_DIR", dir, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_directory_is_ours_alone),
		cmocka_unit_test(a_directory_that_is_a_link_or_a_file_is_refused),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_live_socket_is_refused_and_a_stale_one_replaced),
		cmocka_unit_test(a_live_server_with_a_full_queue_is_still_live),
		cmocka_unit_test(what_is_not_a_socket_is_left_alone),
		cmocka_unit_test(a_path_that_is_too_long_is_reported_with_the_limit),
		cmocka_unit_test(each_socket_is_named_with_whether_it_lives),
		cmocka_unit_test(without_any_place_the_message_says_what_to_set),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
