// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "tools/rpc/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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
	static const char *const bad[] = { "",   "-a",  ".a",       "..", "a/b",
					   "/a", "a b", "\xc3\xa4", "a\n" };
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

static void give_up(int signal)
{
	(void)signal;
}

/* A server that stands still: whoever asks it is not kept. */
static void a_full_queue_keeps_no_client_for_ever(void **state)
{
	const struct sigaction action = { .sa_handler = give_up };
	struct diag diag = { 0 };
	int fd, clients[2] = { -1, -1 }, late;
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(runtime_socket("still", path, NULL), 0);
	assert_int_equal(runtime_listen(path, NULL, &fd), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(runtime_connect(path, NULL, &clients[0]), 0);
	sigaction(SIGALRM, &action, NULL);
	alarm(PATIENCE_NS / NSEC_PER_SEC);
	late = runtime_connect(path, &diag, &clients[1]);
	alarm(0);
	assert_int_equal(late, -EAGAIN);
	assert_non_null(strstr(diag.message, "its server does not answer"));
	close(clients[0]);
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

/* Bound at dir/@name, and not listening if it is of another type than a stream. */
static int bind_socket(const char *name, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, name) <
		    (int)sizeof(address.sun_path));
	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	if (type != SOCK_DGRAM)
		assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static char *in_dir(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static bool is_there(const char *name)
{
	struct stat st;

	return lstat(in_dir(name), &st) == 0;
}

struct told {
	char removed[512], left[1024];
};

static void tell(void *ctx, const char *path, const char *why)
{
	struct told *told = ctx;
	const char *name = strrchr(path, '/') + 1;

	if (why)
		sprintf(told->left + strlen(told->left), "%s %s\n", name, why);
	else
		sprintf(told->removed + strlen(told->removed), "%s\n", name);
}

static void fill_with_strange_things(int fds[3])
{
	char path[PATH_MAX];
	int fd;

	assert_int_equal(runtime_dir_make(path, NULL), 0);
	fds[0] = bind_socket("a-live.sock", SOCK_STREAM);
	fds[1] = bind_socket("b-datagram.sock", SOCK_DGRAM);
	fds[2] = bind_socket("c-packets.sock", SOCK_SEQPACKET);
	fd = open(in_dir("d-file.sock"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mkdir(in_dir("e-folder.sock"), 0700), 0);
	close(bind_socket("f-dead.sock", SOCK_STREAM));
	assert_int_equal(symlink("f-dead.sock", in_dir("g-link.sock")), 0);
	close(bind_socket("not-named-so", SOCK_STREAM));
}

static const char *const strange[] = { "b-datagram.sock", "c-packets.sock", "d-file.sock",
				       "e-folder.sock",   "g-link.sock",    "a-live.sock" };

static void only_dead_sockets_are_swept_and_all_else_is_told(void **state)
{
	struct told told = { 0 };
	struct diag diag = { 0 };
	int fds[3];

	(void)state;
	fill_with_strange_things(fds);
	assert_int_equal(runtime_sweep(true, tell, &told, &diag), 0);
	assert_string_equal(told.removed, "f-dead.sock\n");
	assert_true(is_there("f-dead.sock"));
	told = (struct told){ 0 };
	assert_int_equal(runtime_sweep(false, tell, &told, &diag), 0);
	assert_string_equal(told.removed, "f-dead.sock\n");
	assert_string_equal(told.left, "b-datagram.sock is a socket of another kind, in use\n"
				       "c-packets.sock is a socket of another kind, in use\n"
				       "d-file.sock is not a socket\n"
				       "e-folder.sock is not a socket\n"
				       "g-link.sock is a symbolic link\n");
	assert_false(is_there("f-dead.sock"));
	assert_true(is_there("not-named-so"));
	/* A server does not begin there either. */
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		int fd;

		assert_int_equal(runtime_listen(in_dir(strange[i]), &diag, &fd),
				 strcmp(strange[i], "a-live.sock") ? -EEXIST : -EADDRINUSE);
		assert_true(is_there(strange[i]));
		assert_true(rmdir(in_dir(strange[i])) == 0 || unlink(in_dir(strange[i])) == 0);
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	unlink(in_dir("not-named-so"));
}

static void a_directory_that_is_not_ours_alone_is_not_swept(void **state)
{
	struct told told = { 0 };
	struct diag diag = { 0 };

	(void)state;
	close(bind_socket("dead.sock", SOCK_STREAM));
	chmod(dir, 0755);
	assert_int_equal(runtime_sweep(false, tell, &told, &diag), -EPERM);
	assert_non_null(strstr(diag.message, "0700"));
	assert_true(is_there("dead.sock"));
	chmod(dir, 0700);
	if (geteuid() == 0) {
		/* Of another user in ours: only he may say that nobody needs it. */
		assert_int_equal(chown(in_dir("dead.sock"), 12345, 12345), 0);
		assert_int_equal(runtime_sweep(false, tell, &told, &diag), 0);
		assert_string_equal(told.left, "dead.sock belongs to user 12345\n");
		assert_true(is_there("dead.sock"));
	}
	unlink(in_dir("dead.sock"));
}

static void the_end_of_a_server_removes_its_own_socket_and_no_other(void **state)
{
	char path[PATH_MAX];
	int fd, other;

	(void)state;
	assert_int_equal(runtime_socket("mine", path, NULL), 0);
	assert_int_equal(runtime_listen(path, NULL, &fd), 0);
	/* Somebody has removed it and begun another of the name. */
	assert_int_equal(unlink(path), 0);
	other = bind_socket("mine.sock", SOCK_STREAM);
	runtime_unlink(path);
	assert_true(is_there("mine.sock"));
	runtime_remove_stale(path);
	assert_true(is_there("mine.sock"));
	close(other);
	runtime_remove_stale(path);
	assert_false(is_there("mine.sock"));
	close(fd);
	assert_int_equal(runtime_listen(path, NULL, &fd), 0);
	runtime_unlink(path);
	assert_false(is_there("mine.sock"));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_directory_is_ours_alone),
		cmocka_unit_test(a_directory_that_is_a_link_or_a_file_is_refused),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_live_socket_is_refused_and_a_stale_one_replaced),
		cmocka_unit_test(a_live_server_with_a_full_queue_is_still_live),
		cmocka_unit_test(a_full_queue_keeps_no_client_for_ever),
		cmocka_unit_test(what_is_not_a_socket_is_left_alone),
		cmocka_unit_test(only_dead_sockets_are_swept_and_all_else_is_told),
		cmocka_unit_test(a_directory_that_is_not_ours_alone_is_not_swept),
		cmocka_unit_test(the_end_of_a_server_removes_its_own_socket_and_no_other),
		cmocka_unit_test(a_path_that_is_too_long_is_reported_with_the_limit),
		cmocka_unit_test(each_socket_is_named_with_whether_it_lives),
		cmocka_unit_test(without_any_place_the_message_says_what_to_set),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
