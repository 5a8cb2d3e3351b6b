// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include <errno.h>

#define DISK (64 * SEC)

static void error_fails_exactly_the_requests_that_touch_the_range(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[4 * SEC];

	(void)state;
	use_rules(&disk, "hole op=read range=17s..23s do=error:EIO");
	for (unsigned int s = 0; s < 64; s++)
		assert_int_equal(run_io(&disk, IO_READ, s, SEC, data),
				 s >= 17 && s < 23 ? -EIO : (int)SEC);
	/* Any overlap counts. */
	assert_int_equal(run_io(&disk, IO_READ, 13, 4 * SEC, data), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_READ, 14, 4 * SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 22, 4 * SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 23, 4 * SEC, data), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 17, SEC, data), SEC);
	assert_int_equal(counts_of(&disk, "hole").hits, 8);
	free_disk(&disk);
}

static void error_before_touches_neither_the_disk_nor_the_buffer(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC], *store = store_data(disk.store);

	(void)state;
	memset(store, 's', 8 * SEC);
	use_rules(&disk, "e do=error:ENOSPC");
	memset(data, 'w', SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), -ENOSPC);
	assert_int_equal(run_io(&disk, IO_READ, 1, SEC, data), -ENOSPC);
	assert_int_equal(data[0], 'w');
	assert_int_equal(run_io(&disk, IO_DISCARD, 2, SEC, NULL), -ENOSPC);
	assert_int_equal(run_io(&disk, IO_ZEROES, 3, SEC, NULL), -ENOSPC);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), -ENOSPC);
	assert_string_equal(MAP(&disk, 0, 8), "ssssssss");
	free_disk(&disk);
}

static void error_after_carries_the_operation_out_first(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[2 * SEC];

	(void)state;
	memset(store_data(disk.store), 's', 8 * SEC);
	use_rules(&disk, "e do=error:ETIMEDOUT,after");
	memset(data, 'w', 2 * SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, 2 * SEC, data), -ETIMEDOUT);
	assert_int_equal(run_io(&disk, IO_READ, 1, 2 * SEC, data), -ETIMEDOUT);
	assert_int_equal(data[0], 'w');
	assert_int_equal(data[SEC], 's');
	assert_int_equal(run_io(&disk, IO_DISCARD, 3, 2 * SEC, NULL), -ETIMEDOUT);
	assert_int_equal(run_io(&disk, IO_ZEROES, 5, 2 * SEC, NULL), -ETIMEDOUT);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), -ETIMEDOUT);
	assert_string_equal(MAP(&disk, 0, 8), "wws....s");
	free_disk(&disk);
}

static void every_errno_that_survives_is_accepted_and_arrives(void **state)
{
	const char *const *name = value_errno_names();
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	int nr = 0;

	(void)state;
	for (; *name; name++, nr++) {
		char line[64];

		snprintf(line, sizeof(line), "e do=error:%s", *name);
		use_rules(&disk, line);
		assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -value_errno_number(*name));
		assert_string_equal(value_errno_name(value_errno_number(*name)), *name);
	}
	assert_int_equal(nr, 15);
	free_disk(&disk);
}

static void an_errno_that_would_be_swallowed_is_refused(void **state)
{
	(void)state;
	check_error("e do=error:EROFS", "rule.bad-errno", 12, "ERRNO cannot be EROFS", "use EIO");
	check_error("e do=error:EIOO", "rule.bad-errno", 12, "got 'EIOO'", "did you mean 'EIO'?");
	check_error("e do=error:5", "rule.bad-errno", 12, "wants one of EIO", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_fails_exactly_the_requests_that_touch_the_range),
		cmocka_unit_test(error_before_touches_neither_the_disk_nor_the_buffer),
		cmocka_unit_test(error_after_carries_the_operation_out_first),
		cmocka_unit_test(every_errno_that_survives_is_accepted_and_arrives),
		cmocka_unit_test(an_errno_that_would_be_swallowed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
