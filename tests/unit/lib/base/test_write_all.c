// SPDX-License-Identifier: MIT
#include "base/write_all.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN (1u << 20) /* more than a pipe holds */

static unsigned char sent[LEN], got[LEN];

/* In small pieces, so that what is written is taken in many. */
static void *drain(void *arg)
{
	size_t at = 0;
	ssize_t n;

	while ((n = read(*(int *)arg, got + at, 4000)) > 0)
		at += (size_t)n;
	return (void *)at;
}

static void check_pipe(int (*put)(int fd))
{
	pthread_t reader;
	int ends[2];
	void *len;

	memset(got, 0, sizeof(got));
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pthread_create(&reader, NULL, drain, &ends[0]), 0);
	assert_int_equal(put(ends[1]), 0);
	close(ends[1]);
	pthread_join(reader, &len);
	close(ends[0]);
	assert_int_equal((size_t)len, LEN);
	assert_memory_equal(got, sent, LEN);
}

static int put_plain(int fd)
{
	return write_all(fd, sent, LEN);
}

static int put_pieces(int fd)
{
	struct iovec iov[] = { { sent, 1 },
			       { NULL, 0 },
			       { sent + 1, LEN / 2 },
			       { sent + 1 + LEN / 2, LEN - 1 - LEN / 2 },
			       { NULL, 0 } };

	return write_all_vec(fd, iov, 5);
}

static void all_of_it_goes_through_a_pipe_that_takes_less(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN; i++)
		sent[i] = (unsigned char)(i * 7 + i / 256);
	check_pipe(put_plain);
	check_pipe(put_pieces);
}

static void what_is_written_at_a_place_stands_there(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	char bytes[4];

	(void)state;
	assert_int_equal(write_all_at(fd, "data", 4, 5000), 0);
	assert_int_equal(write_all_at(fd, "nothing", 0, 9000), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 5004);
	assert_int_equal(pread(fd, bytes, 4, 5000), 4);
	assert_memory_equal(bytes, "data", 4);
	close(fd);
}

static void a_failure_after_a_part_is_the_failure_of_all(void **state)
{
	const struct rlimit limit = { 100, RLIM_INFINITY };
	struct rlimit before;
	char path[] = "/tmp/test_write_all.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	unlink(path);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(write_all(fd, sent, 200), -EFBIG);
	assert_int_equal(lseek(fd, 0, SEEK_END), 100);
	assert_int_equal(write_all_at(fd, sent, 200, 50), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	close(fd);
	assert_int_equal(write_all(fd, sent, 1), -EBADF);
	assert_int_equal(write_all(fd, sent, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it_goes_through_a_pipe_that_takes_less),
		cmocka_unit_test(what_is_written_at_a_place_stands_there),
		cmocka_unit_test(a_failure_after_a_part_is_the_failure_of_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
