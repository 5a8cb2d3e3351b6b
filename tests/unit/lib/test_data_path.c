// SPDX-License-Identifier: MIT
/* How data gets to a backend and back, each row of the table without a device. */
#include "lib/data_path.h"

#include "lib/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN   4096u
#define DEPTH 2u

struct fixture {
	struct queue_shared shared;
	struct queue *q;
	struct req req;
};

/* Tag 3 of queue 2. */
static void set_up(struct fixture *f, enum ublk_data_path path, int cdev_fd)
{
	memset(f, 0, sizeof(*f));
	f->shared.path = data_path_find(path);
	f->shared.depth = DEPTH;
	f->shared.max_io_bytes = LEN;
	f->shared.cdev_fd = cdev_fd;
	f->q = aligned_alloc(64, sizeof(*f->q));
	memset(f->q, 0, sizeof(*f->q));
	f->q->shared = &f->shared;
	assert_int_equal(f->shared.path->map(f->q), 0);
	f->req.q = f->q;
	f->req.path = f->shared.path;
	f->req.pub.queue = 2;
	f->req.pub.tag = 3;
	f->req.pub.len_bytes = LEN;
	f->req.buf = f->q->bufs;
	f->req.state = REQ_BACKEND;
}

static void tear_down(struct fixture *f)
{
	if (f->q->bufs)
		munmap(f->q->bufs, f->q->bufs_bytes);
	if (f->q->scrap)
		munmap(f->q->scrap, LEN);
	if (f->shared.cdev_fd >= 0)
		close(f->shared.cdev_fd);
	free(f->q);
}

static void every_path_has_a_whole_row_and_no_other_is_found(void **state)
{
	(void)state;
	for (unsigned int path = 0; path <= UBLK_DATA_USER_COPY; path++) {
		const struct data_path *row = data_path_find((enum ublk_data_path)path);

		assert_non_null(row);
		assert_true(row->name && row->put && row->get && row->map && row->cut);
	}
	assert_null(data_path_find((enum ublk_data_path)(UBLK_DATA_USER_COPY + 1)));
	assert_null(data_path_find((enum ublk_data_path) - 1));
}

static void copy_moves_data_between_the_backend_and_the_buffer_of_a_tag(void **state)
{
	struct fixture f;
	char word[4];

	(void)state;
	set_up(&f, UBLK_DATA_COPY, -1);
	assert_int_equal(f.q->bufs_bytes, DEPTH * LEN);
	assert_int_equal(ublk_req_put(&f.req.pub, LEN - 4, "data", 4), 0);
	assert_memory_equal(f.q->bufs + LEN - 4, "data", 4);
	assert_int_equal(ublk_req_get(&f.req.pub, LEN - 4, word, 4), 0);
	assert_memory_equal(word, "data", 4);
	tear_down(&f);
}

static void a_cut_gives_the_driver_one_other_place_for_data_of_copy(void **state)
{
	struct fixture f;
	unsigned char *scrap;

	(void)state;
	set_up(&f, UBLK_DATA_COPY, -1);
	f.shared.path->cut(f.q);
	scrap = f.q->scrap;
	assert_non_null(scrap);
	assert_true(scrap + LEN <= f.q->bufs || scrap >= f.q->bufs + f.q->bufs_bytes);
	f.shared.path->cut(f.q);
	assert_ptr_equal(f.q->scrap, scrap);
	/* What the backend keeps is its own still. */
	f.req.state = REQ_CUT;
	assert_int_equal(ublk_req_put(&f.req.pub, 0, "data", 4), 0);
	assert_memory_equal(f.q->bufs, "data", 4);
	tear_down(&f);
}

static void user_copy_reads_and_writes_where_queue_tag_and_offset_say(void **state)
{
	const off_t at = (off_t)(ABI_DATA_OFFSET + (2ull << ABI_DATA_QID_SHIFT) +
				 (3ull << ABI_DATA_TAG_SHIFT) + 512);
	struct fixture f;
	char word[4];

	(void)state;
	set_up(&f, UBLK_DATA_USER_COPY, memfd_create("cdev", MFD_CLOEXEC));
	assert_null(f.q->bufs);
	assert_null(ublk_req_data(&f.req.pub));
	assert_int_equal(ublk_req_put(&f.req.pub, 512, "data", 4), 0);
	assert_int_equal(lseek(f.shared.cdev_fd, 0, SEEK_END), at + 4);
	assert_int_equal(pread(f.shared.cdev_fd, word, 4, at), 4);
	assert_memory_equal(word, "data", 4);
	assert_int_equal(pwrite(f.shared.cdev_fd, "came", 4, at), 4);
	assert_int_equal(ublk_req_get(&f.req.pub, 512, word, 4), 0);
	assert_memory_equal(word, "came", 4);
	tear_down(&f);
}

static void user_copy_that_is_short_or_fails_or_comes_too_late_is_an_error(void **state)
{
	struct fixture f;
	char bytes[8];
	int ends[2];

	(void)state;
	set_up(&f, UBLK_DATA_USER_COPY, memfd_create("cdev", MFD_CLOEXEC));
	assert_int_equal(ublk_req_put(&f.req.pub, 0, "data", 4), 0);
	assert_int_equal(ublk_req_get(&f.req.pub, 0, bytes, 8), -EIO);
	f.req.state = REQ_CUT;
	assert_int_equal(ublk_req_get(&f.req.pub, 0, bytes, 4), -EIO);
	assert_int_equal(ublk_req_put(&f.req.pub, 0, "late", 4), -EIO);
	f.shared.path->cut(f.q);
	assert_null(f.q->scrap);
	f.req.state = REQ_BACKEND;
	assert_int_equal(ublk_req_get(&f.req.pub, 0, bytes, 4), 0);
	assert_memory_equal(bytes, "data", 4);
	tear_down(&f);
	assert_int_equal(pipe(ends), 0);
	set_up(&f, UBLK_DATA_USER_COPY, ends[1]);
	assert_int_equal(ublk_req_put(&f.req.pub, 0, "data", 4), -ESPIPE);
	close(ends[0]);
	tear_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_path_has_a_whole_row_and_no_other_is_found),
		cmocka_unit_test(copy_moves_data_between_the_backend_and_the_buffer_of_a_tag),
		cmocka_unit_test(a_cut_gives_the_driver_one_other_place_for_data_of_copy),
		cmocka_unit_test(user_copy_reads_and_writes_where_queue_tag_and_offset_say),
		cmocka_unit_test(user_copy_that_is_short_or_fails_or_comes_too_late_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
