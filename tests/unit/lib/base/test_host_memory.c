// SPDX-License-Identifier: MIT
/* A machine and its groups as files in a folder. */
#include "tests/unit/check.h"

#include "base/host_memory.h"

#include <stdio.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

static char root[] = "/tmp/faultblk-host.XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256], *slash = full;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "exec rm -rf %s", root);
	return system(command);
}

static void where_nothing_is_known_there_is_no_limit(void **state)
{
	(void)state;
	assert_true(host_memory_room("/nonexistent") == UINT64_MAX);
}

static void a_machine_keeps_a_sixteenth_and_counts_its_swap(void **state)
{
	(void)state;
	put("/proc/meminfo", "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 1048576 kB\n"
			     "SwapTotal: 9 kB\nSwapFree: 0 kB\n");
	assert_int_equal(host_memory_room(root), (1024 - 512) * MIB);
	put("/proc/meminfo",
	    "MemTotal: 8388608 kB\nMemAvailable: 1048576 kB\nSwapFree: 102400 kB\n");
	assert_int_equal(host_memory_room(root), (1024 + 100 - 512) * MIB);
	put("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 524288 kB\nSwapFree: 0 kB\n");
	assert_int_equal(host_memory_room(root), 0);
	/* A small one keeps 64 MiB, a large one 1 GiB. */
	put("/proc/meminfo", "MemTotal: 524288 kB\nMemAvailable: 102400 kB\n");
	assert_int_equal(host_memory_room(root), 36 * MIB);
	put("/proc/meminfo", "MemTotal: 134217728 kB\nMemAvailable: 2097152 kB\n");
	assert_int_equal(host_memory_room(root), 1024 * MIB);
}

static void the_tightest_group_above_us_counts(void **state)
{
	(void)state;
	put("/proc/meminfo", "MemTotal: 134217728 kB\nMemAvailable: 67108864 kB\nSwapFree: 0 kB\n");
	put("/proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
	assert_int_equal(host_memory_room(root), 63 * 1024 * MIB);
	put("/sys/fs/cgroup/a/b/memory.max", "max\n");
	assert_int_equal(host_memory_room(root), 63 * 1024 * MIB);
	put("/sys/fs/cgroup/a/memory.max", "104857600\n");
	put("/sys/fs/cgroup/a/memory.current", "52428800\n");
	assert_int_equal(host_memory_room(root), (100 - 50 - 8) * MIB);
	/* The page cache of its files makes way. */
	put("/sys/fs/cgroup/a/memory.stat",
	    "anon 1\nfile 40000000\nshmem 10000000\ninactive_file 10485760\nactive_file 10485760\n");
	assert_int_equal(host_memory_room(root), (100 - 30 - 8) * MIB);
	put("/sys/fs/cgroup/a/b/memory.max", "62914560\n");
	put("/sys/fs/cgroup/a/b/memory.current", "73400320\n");
	assert_int_equal(host_memory_room(root), 0);
	put("/sys/fs/cgroup/a/b/memory.current", "31457280\n");
	assert_int_equal(host_memory_room(root), (60 - 30 - 8) * MIB);
	/* The top of what a container sees of it has a limit, too. */
	put("/sys/fs/cgroup/memory.max", "52428800\n");
	put("/sys/fs/cgroup/memory.current", "31457280\n");
	assert_int_equal(host_memory_room(root), (50 - 30 - 8) * MIB);
	put("/proc/self/cgroup", "0::/\n");
	assert_int_equal(host_memory_room(root), (50 - 30 - 8) * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_nothing_is_known_there_is_no_limit),
		cmocka_unit_test(a_machine_keeps_a_sixteenth_and_counts_its_swap),
		cmocka_unit_test(the_tightest_group_above_us_counts),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
