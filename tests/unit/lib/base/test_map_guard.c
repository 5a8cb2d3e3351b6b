/* SPDX-License-Identifier: MIT */
/* tsan */
/* Mapped files that are cut while threads read them. */
#include "base/map_guard.h"
#include "tests/unit/check.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGES 64
#define PAGE  4096

static int map_new(int prot, unsigned char **ret_map)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	for (int i = 0; i < PAGES; i++)
		assert_int_equal(pwrite(fd, "x", 1, i * PAGE), 1);
	*ret_map = mmap(NULL, PAGES * PAGE, prot, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*ret_map, MAP_FAILED);
	assert_int_equal(map_guard(*ret_map, PAGES * PAGE, prot), 0);
	return fd;
}

static void unmap(int fd, unsigned char *map)
{
	map_unguard(map);
	munmap(map, PAGES * PAGE);
	close(fd);
}

static void a_file_that_is_cut_reads_as_zeroes_and_is_known_as_broken(void **state)
{
	unsigned char *map, *other;
	int fd = map_new(PROT_READ, &map), other_fd = map_new(PROT_READ, &other);

	(void)state;
	assert_int_equal(map[63 * PAGE], 'x');
	assert_int_equal(ftruncate(fd, 10 * PAGE), 0);
	assert_false(map_is_broken(map));
	assert_int_equal(((volatile unsigned char *)map)[20 * PAGE], 0);
	assert_int_equal(((volatile unsigned char *)map)[12 * PAGE], 0);
	assert_int_equal(map[9 * PAGE], 'x');
	assert_true(map_is_broken(map));
	assert_false(map_is_broken(other));
	assert_true(map_any_broken());
	assert_int_equal(other[63 * PAGE], 'x');
	unmap(fd, map);
	unmap(other_fd, other);
}

static void a_mapping_to_be_written_can_still_be_written(void **state)
{
	unsigned char *map;
	int fd = map_new(PROT_READ | PROT_WRITE, &map);

	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	memset(map, 7, PAGES * PAGE);
	assert_int_equal(map[5 * PAGE + 3], 7);
	assert_true(map_is_broken(map));
	unmap(fd, map);
	fd = map_new(PROT_READ, &map);
	assert_false(map_is_broken(map)); /* a guard that was used before starts anew */
	unmap(fd, map);
}

static void *read_all(void *arg)
{
	volatile unsigned char *map = arg;
	unsigned long sum = 0;

	for (int round = 0; round < 200; round++)
		for (int i = PAGES - 1; i >= 0; i--)
			sum += map[i * PAGE];
	return (void *)sum;
}

static void threads_may_read_it_while_it_is_cut(void **state)
{
	pthread_t threads[4];
	unsigned char *map;
	int fd = map_new(PROT_READ, &map);

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, map), 0);
	for (int pages = PAGES - 1; pages >= 0; pages--)
		assert_int_equal(ftruncate(fd, pages * PAGE), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(((volatile unsigned char *)map)[0], 0);
	assert_true(map_is_broken(map));
	unmap(fd, map);
}

static void many_are_guarded_and_what_breaks_in_a_child_is_broken_here(void **state)
{
	unsigned char *maps[300];
	int fds[300], status;
	pid_t child;

	(void)state;
	for (int i = 0; i < 300; i++)
		fds[i] = map_new(PROT_READ, &maps[i]);
	assert_int_equal(ftruncate(fds[299], 0), 0);
	child = fork();
	if (child == 0)
		_exit(((volatile unsigned char *)maps[299])[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(map_is_broken(maps[i]), i == 299);
		unmap(fds[i], maps[i]);
	}
}

/* In a child, since it ends there. */
static void a_bus_error_elsewhere_still_ends_the_process(void **state)
{
	unsigned char *map, *bare;
	int fd = map_new(PROT_READ, &map), status;
	pid_t child;

	(void)state;
	bare = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	child = fork();
	if (child == 0) {
		/* The sanitizers' report is not what is tested. */
		(void)*(volatile unsigned char *)bare;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	munmap(bare, PAGE);
	unmap(fd, map);
}

static bool is_told(unsigned char *map, bool changed)
{
	bool broken = map_is_broken(map);

	assert_true(!broken || (map_any_broken() && map_any_changed()));
	map_unguard(map);
	munmap(map, PAGES * PAGE);
	return broken == changed;
}

static void a_file_that_is_written_to_is_known_as_broken(void **state)
{
	static const struct {
		off_t at;
		bool grows, changed;
	} all
		[] = {
			{ 5 * PAGE, false, true },
			{ 5 * PAGE, true, false }, /* its writer is trusted, as it only appends */
			{ PAGES * PAGE, false, true },
			{ PAGES * PAGE, true, false },
			{ -1, false, false },
		};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
		char path[] = "/tmp/test-map-XXXXXX";
		int fd = mkstemp(path);
		unsigned char *map;

		assert_true(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0);
		assert_int_equal(futimens(fd, old), 0);
		map = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
		assert_ptr_not_equal(map, MAP_FAILED);
		assert_int_equal(map_guard_file(map, PAGES * PAGE, PROT_READ, fd, all[i].grows), 0);
		assert_false(map_is_broken(map));
		if (all[i].at >= 0)
			assert_int_equal(pwrite(fd, "y", 1, all[i].at), 1);
		assert_true(is_told(map, all[i].changed));
		close(fd);
		unlink(path);
	}
}

static void a_file_that_is_cut_is_known_before_it_is_read(void **state)
{
	unsigned char *map;
	int fd = map_new(PROT_READ, &map);

	(void)state;
	map_unguard(map);
	assert_int_equal(map_guard_file(map, PAGES * PAGE, PROT_READ, fd, true), 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_true(map_is_broken(map));
	unmap(fd, map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_is_cut_reads_as_zeroes_and_is_known_as_broken),
		cmocka_unit_test(a_mapping_to_be_written_can_still_be_written),
		cmocka_unit_test(threads_may_read_it_while_it_is_cut),
		cmocka_unit_test(many_are_guarded_and_what_breaks_in_a_child_is_broken_here),
		cmocka_unit_test(a_bus_error_elsewhere_still_ends_the_process),
		cmocka_unit_test(a_file_that_is_written_to_is_known_as_broken),
		cmocka_unit_test(a_file_that_is_cut_is_known_before_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
