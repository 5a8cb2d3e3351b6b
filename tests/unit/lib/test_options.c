// SPDX-License-Identifier: MIT
#include "options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char said[1024];

static void catch_message(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx;
	(void)level;
	snprintf(said, sizeof(said), "%s", message);
}

static const struct logger catcher = { .fn = catch_message };

static int do_nothing(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	(void)req;
	return 0;
}

static void submit_nothing(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	(void)req;
}

static const struct ublk_backend full = {
	.name = "full",
	.read = do_nothing,
	.write = do_nothing,
	.flush = do_nothing,
	.discard = do_nothing,
	.write_zeroes = do_nothing,
};

static struct ublk_options usual(void)
{
	struct ublk_options o;

	ublk_options_init(&o);
	o.size_bytes = 1 << 20;
	return o;
}

static void assert_refused(struct ublk_options o, const struct ublk_backend *be, const char *words)
{
	said[0] = '\0';
	assert_int_equal(options_settle(&o, be, &catcher), -EINVAL);
	if (!strstr(said, words))
		fail_msg("\"%s\" does not say \"%s\"", said, words);
}

static void the_defaults_with_a_size_are_accepted(void **state)
{
	struct ublk_options o = usual();

	(void)state;
	assert_int_equal(options_settle(&o, &full, &catcher), 0);
	assert_true(o.volatile_cache && o.fua && !o.read_only);
	assert_int_equal(o.max_discard_bytes, 2ll << 30);
}

static void each_option_out_of_range_is_named_with_its_value(void **state)
{
	struct ublk_options o;

	(void)state;
#define REFUSE(field, bad, words) (o = usual(), o.field = (bad), assert_refused(o, &full, words))
	REFUSE(size_bytes, 0, "size_bytes is 0, it must lie in 512..");
	REFUSE(size_bytes, 1ull << 63, "size_bytes is 9223372036854775808, it must lie in");
	REFUSE(size_bytes, 1000, "size_bytes is 1000, it must be a multiple of the logical block");
	REFUSE(logical_block, 256, "logical_block is 256, it must lie in 512..4096");
	REFUSE(logical_block, 8192, "logical_block is 8192, it must lie in 512..4096");
	REFUSE(logical_block, 1536, "logical_block is 1536, it must be a power of two");
	REFUSE(physical_block, 256, "physical_block is 256");
	REFUSE(physical_block, 2 << 20, "physical_block is 2097152, it must lie in 512..1048576");
	REFUSE(nr_queues, 0, "nr_queues is 0");
	REFUSE(nr_queues, (unsigned int)sysconf(_SC_NPROCESSORS_CONF) + 1, "nr_queues is");
	REFUSE(queue_depth, 0, "queue_depth is 0, it must lie in 1..4096");
	REFUSE(queue_depth, 4097, "queue_depth is 4097");
	REFUSE(max_io_bytes, 2048, "max_io_bytes is 2048, it must lie in 4096..33554432");
	REFUSE(max_io_bytes, (32 << 20) + 4096, "max_io_bytes is");
	REFUSE(max_io_bytes, 4608, "max_io_bytes is 4608, it must be a multiple of the page size");
	REFUSE(discard_granularity, 256, "discard_granularity is 256");
	REFUSE(discard_granularity, 2u << 30, "discard_granularity is 2147483648");
	REFUSE(max_discard_bytes, (2ull << 30) + 512, "max_discard_bytes is");
	REFUSE(max_discard_bytes, 100, "max_discard_bytes is 100");
	REFUSE(max_zeroes_bytes, (2ull << 30) + 512, "max_zeroes_bytes is");
	REFUSE(max_zeroes_bytes, 100, "max_zeroes_bytes is 100");
	REFUSE(close_timeout_ms, 600001, "close_timeout_ms is 600001");
	REFUSE(id, -2, "id is -2, it must be -1 (any) or lie in 0..1048575");
	REFUSE(id, 1 << 20, "id is 1048576");
	REFUSE(data_path, (enum ublk_data_path)9, "data_path is 9");
#undef REFUSE
}

static void the_ends_of_every_range_are_accepted(void **state)
{
	struct ublk_options o = usual();

	(void)state;
	o.queue_depth = 4096;
	o.max_io_bytes = 32 << 20;
	o.max_discard_bytes = 2ull << 30;
	o.logical_block = o.physical_block = o.discard_granularity = 4096;
	o.max_io_bytes = 4096;
	o.size_bytes = 4096;
	o.id = (1 << 20) - 1;
	o.close_timeout_ms = 600000;
	assert_int_equal(options_settle(&o, &full, &catcher), 0);
}

static void what_the_backend_lacks_is_not_offered(void **state)
{
	static const struct ublk_backend reader = { .name = "reader", .read = do_nothing };
	struct ublk_options o = usual();

	(void)state;
	assert_int_equal(options_settle(&o, &reader, &catcher), 0);
	assert_true(o.read_only);
	assert_false(o.volatile_cache || o.fua);
	assert_int_equal(o.max_discard_bytes + o.max_zeroes_bytes, 0);
}

static void submit_ops_count_as_abilities(void **state)
{
	static const struct ublk_backend async = {
		.name = "async",
		.submit = submit_nothing,
		.submit_ops = 1u << UBLK_OP_READ | 1u << UBLK_OP_WRITE | 1u << UBLK_OP_FLUSH,
	};
	struct ublk_options o = usual();

	(void)state;
	assert_int_equal(options_settle(&o, &async, &catcher), 0);
	assert_true(o.volatile_cache && !o.read_only);
	assert_int_equal(o.max_discard_bytes, 0);
}

static void a_backend_that_lacks_something_is_refused_by_name(void **state)
{
	static const struct ublk_backend writer = { .name = "writer", .write = do_nothing };
	static const struct ublk_backend hollow = { .name = "hollow",
						    .read = do_nothing,
						    .submit_ops = 1 };
	static const struct ublk_backend wild = { .name = "wild",
						  .submit = submit_nothing,
						  .submit_ops = 0xff };
	static const struct ublk_backend nameless = { .read = do_nothing };
	static const struct ublk_backend heavy = { .name = "heavy",
						   .read = do_nothing,
						   .pdu_bytes = (1 << 20) + 1 };

	(void)state;
	assert_refused(usual(), &writer, "backend \"writer\" cannot read");
	assert_refused(usual(), &hollow, "no submit callback");
	assert_refused(usual(), &wild, "not in enum ublk_op");
	assert_refused(usual(), &nameless, "the backend has no name");
	assert_refused(usual(), &heavy, "pdu_bytes is 1048577, it must lie in 0..1048576");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_with_a_size_are_accepted),
		cmocka_unit_test(each_option_out_of_range_is_named_with_its_value),
		cmocka_unit_test(the_ends_of_every_range_are_accepted),
		cmocka_unit_test(what_the_backend_lacks_is_not_offered),
		cmocka_unit_test(submit_ops_count_as_abilities),
		cmocka_unit_test(a_backend_that_lacks_something_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
