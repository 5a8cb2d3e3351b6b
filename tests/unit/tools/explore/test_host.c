// SPDX-License-Identifier: MIT
/* What a check may find used up on its machine, from counters that are files of ours. */
#include "tests/unit/check.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASSED    0
#define EXITED(n) ((n) << 8)

static char dir[] = "/tmp/test-host-XXXXXX";
static char vmstat[64], own[64], above[64];

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(vmstat, sizeof(vmstat), "%s/vmstat", dir);
	snprintf(own, sizeof(own), "%s/own", dir);
	snprintf(above, sizeof(above), "%s/above", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(vmstat);
	unlink(own);
	unlink(above);
	return rmdir(dir);
}

static struct host *make(uint64_t images_bytes)
{
	static const char *const pids[] = { own, above, NULL };
	const struct host_files files = { .vmstat = vmstat, .pids = pids };
	struct diag diag = { 0 };
	struct host *host;

	put(vmstat, "nr_free_pages 7\noom_kill 3\nballoon_inflate 0\n");
	put(own, "max 1\n");
	put(above, "max 0\n");
	if (host_create(dir, images_bytes, &files, &diag, &host))
		fail_msg("%s", diag.message);
	return host;
}

static void a_machine_that_has_all_hinders_nobody(void **state)
{
	struct host *host = make(0);
	struct host_seen seen;

	(void)state;
	host_begin(host, &seen);
	host_look(host, &seen);
	assert_null(host_lack(host, &seen, PASSED, NULL));
	assert_null(host_lack(host, &seen, EXITED(1), "No space left on device"));
	assert_null(host_lack(host, &seen, SIGKILL, NULL));
	host_free(host);
	host_begin(NULL, &seen);
	host_look(NULL, &seen);
	assert_null(host_lack(NULL, &seen, EXITED(1), NULL));
}

static void what_the_kernel_kills_meanwhile_is_no_verdict(void **state)
{
	struct host *host = make(0);
	struct host_seen seen;

	(void)state;
	host_begin(host, &seen);
	put(vmstat, "nr_free_pages 7\noom_kill 4\nballoon_inflate 0\n");
	assert_non_null(strstr(host_lack(host, &seen, SIGKILL, NULL), "lack of memory"));
	/* A helper of one that passed may have been killed. */
	assert_non_null(host_lack(host, &seen, PASSED, NULL));
	host_begin(host, &seen);
	assert_null(host_lack(host, &seen, SIGKILL, NULL));
	host_free(host);
}

static void processes_that_are_refused_by_any_group_are_no_verdict(void **state)
{
	struct host *host = make(0);
	struct host_seen seen;

	(void)state;
	host_begin(host, &seen);
	put(above, "max 2\n");
	assert_non_null(strstr(host_lack(host, &seen, EXITED(2), NULL), "pids.max"));
	host_begin(host, &seen);
	assert_null(host_lack(host, &seen, EXITED(2), NULL));
	host_free(host);
}

/* The folder is never full for long: it is told by what was printed, if there is not room for all. */
static void words_of_a_full_disk_count_where_there_is_no_room_for_the_images(void **state)
{
	struct host *host = make(UINT64_MAX);
	struct host_seen seen;

	(void)state;
	host_begin(host, &seen);
	assert_non_null(
		strstr(host_lack(host, &seen, EXITED(1), "x: No space left on device\n"), dir));
	assert_non_null(host_lack(host, &seen, EXITED(1), "Disk quota exceeded"));
	assert_null(host_lack(host, &seen, EXITED(1), "lost row 17"));
	assert_null(host_lack(host, &seen, EXITED(1), NULL));
	host_free(host);
}

static void the_signal_of_a_limit_of_sizes_is_no_verdict_where_there_is_one(void **state)
{
	struct rlimit was, limit = { .rlim_cur = 1 << 30 };
	struct host *host = make(0);
	struct host_seen seen;

	(void)state;
	host_begin(host, &seen);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	if (was.rlim_cur == RLIM_INFINITY)
		assert_null(host_lack(host, &seen, SIGXFSZ, NULL));
	limit.rlim_max = was.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_non_null(strstr(host_lack(host, &seen, SIGXFSZ, NULL), "ulimit -f"));
	assert_non_null(host_lack(host, &seen, EXITED(128 + SIGXFSZ), NULL));
	assert_null(host_lack(host, &seen, EXITED(1), NULL));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	host_free(host);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
	struct diag diag = { 0 };
	struct host *host;

	(void)state;
	assert_int_equal(host_create("/nowhere", 0, NULL, &diag, &host), -ENOENT);
	assert_non_null(strstr(diag.message, "/nowhere"));
	/* Of this machine, whatever it has. */
	assert_int_equal(host_create("/tmp", 0, NULL, &diag, &host), 0);
	assert_null(host_free(host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_that_has_all_hinders_nobody),
		cmocka_unit_test(what_the_kernel_kills_meanwhile_is_no_verdict),
		cmocka_unit_test(processes_that_are_refused_by_any_group_are_no_verdict),
		cmocka_unit_test(words_of_a_full_disk_count_where_there_is_no_room_for_the_images),
		cmocka_unit_test(the_signal_of_a_limit_of_sizes_is_no_verdict_where_there_is_one),
		cmocka_unit_test(a_folder_that_is_not_there_is_told),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
