// SPDX-License-Identifier: MIT
/*
 * Control commands past their deadline: what the kernel does with their memory then. The calls of
 * liburing that enter the kernel are stood in for by one that answers when it is told to.
 */
#include "lib/abi.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/eventfd.h>

/* The driver: the command it has, and what it has been told to answer. */
static struct {
	struct io_uring_sqe sqes[8];
	unsigned int head, tail, nr_exits;
	struct abi_ctrl_cmd cmd;
	uint32_t cmd_op;
	bool has, answers;
	int result;
	unsigned char answer;    /* each byte of it */
	struct io_uring_cqe cqe; /* last: it ends in an array */
} driver;

static int driver_init(struct io_uring *ring)
{
	memset(ring, 0, sizeof(*ring));
	driver.head = 0;
	ring->flags = IORING_SETUP_SQE128;
	ring->sq.khead = &driver.head;
	ring->sq.ktail = &driver.tail;
	ring->sq.sqes = driver.sqes;
	ring->sq.ring_entries = 4;
	ring->sq.ring_mask = 3;
	return 0;
}

static int driver_submit(struct io_uring *ring)
{
	const struct io_uring_sqe *sqe = &driver.sqes[(ring->sq.sqe_head & 3) << 1];

	driver.head = ring->sq.sqe_head = ring->sq.sqe_tail;
	memcpy(&driver.cmd, sqe->cmd, sizeof(driver.cmd));
	driver.cmd_op = sqe->cmd_op;
	driver.has = true;
	return 1;
}

/* What the kernel's worker does when it comes to it: write the answer, then tell. */
static int driver_peek(struct io_uring_cqe **ret_cqe)
{
	if (!driver.has || !driver.answers)
		return -ETIME;
	if (driver.result >= 0 && driver.cmd.addr)
		memset((void *)(uintptr_t)(driver.cmd.addr + driver.cmd.dev_path_len),
		       driver.answer, driver.cmd.len - driver.cmd.dev_path_len);
	driver.has = false;
	driver.cqe.res = driver.result;
	*ret_cqe = &driver.cqe;
	return 0;
}

static void driver_exit(struct io_uring *ring)
{
	(void)ring;
	driver.nr_exits++;
}

static int open_any(const char *path, int flags)
{
	(void)path, (void)flags;
	return eventfd(0, EFD_CLOEXEC);
}

#define ring_init_control(ring)                       driver_init(ring)
#define io_uring_submit(ring)                         driver_submit(ring)
#define io_uring_wait_cqe_timeout(ring, cqe, timeout) ((void)(timeout), driver_peek(cqe))
#define io_uring_peek_cqe(ring, cqe)                  driver_peek(cqe)
#define io_uring_cqe_seen(ring, cqe)                  ((void)(cqe))
#define io_uring_queue_exit                           driver_exit
#define open                                          open_any
#include "lib/control.c"
#undef open

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct logger quiet;

static void answer_with(int result, unsigned char byte)
{
	driver.answers = true;
	driver.result = result;
	driver.answer = byte;
}

static void open_control(struct control *control)
{
	/* The features: all there are, the modern encoding among them. */
	answer_with(0, 0xff);
	assert_int_equal(control_open(control, false, &quiet), 0);
	assert_false(control->legacy);
}

static void an_answer_reaches_the_caller(void **state)
{
	struct abi_dev_info info = { .dev_id = 7 };
	struct control control;

	(void)state;
	open_control(&control);
	answer_with(0, 0x5a);
	assert_int_equal(
		control_cmd(&control, ABI_ADD_DEV,
			    &(struct control_args){ .id = 7, .buf = &info, .len = sizeof(info) }),
		0);
	assert_int_equal(info.dev_id, 0x5a5a5a5a);
	answer_with(-EBUSY, 0xa5);
	assert_int_equal(
		control_cmd(&control, ABI_ADD_DEV,
			    &(struct control_args){ .id = 7, .buf = &info, .len = sizeof(info) }),
		-EBUSY);
	assert_int_equal(info.dev_id, 0x5a5a5a5a);
	control_close(&control);
}

static void a_late_answer_does_not_touch_the_callers_memory(void **state)
{
	struct abi_dev_info info, before;
	struct control_args args = { .id = 7, .buf = &info, .len = sizeof(info), .timeout_ms = 1 };
	struct control control;

	(void)state;
	open_control(&control);
	memset(&info, 1, sizeof(info));
	before = info;
	driver.answers = false;
	assert_int_equal(control_cmd(&control, ABI_ADD_DEV, &args), -ETIMEDOUT);
	/* The next command waits for the first, and gets no answer but its own. */
	assert_int_equal(control_cmd(&control, ABI_ADD_DEV, &args), -ETIMEDOUT);
	answer_with(0, 0x5a);
	assert_int_equal(control_wait(&control, 1), 0);
	assert_memory_equal(&info, &before, sizeof(info));
	answer_with(0, 0x33);
	assert_int_equal(control_cmd(&control, ABI_ADD_DEV, &args), 0);
	assert_int_equal(info.dev_id, 0x33333333);
	control_close(&control);
}

static void memory_that_the_kernel_may_still_write_outlives_the_control(void **state)
{
	struct abi_dev_info info;
	struct control_args args = { .id = 7, .buf = &info, .len = sizeof(info), .timeout_ms = 1 };
	struct control control, next;
	unsigned int exits;

	(void)state;
	open_control(&control);
	driver.answers = false;
	assert_int_equal(control_cmd(&control, ABI_SET_PARAMS, &args), -ETIMEDOUT);
	exits = driver.nr_exits;
	control_close(&control);
	assert_int_equal(driver.nr_exits, exits);
	/* Written to now: were it freed, this would fault. The next control frees both. */
	answer_with(0, 0xff);
	assert_int_equal(control_open(&next, false, &quiet), 0);
	assert_int_equal(driver.nr_exits, exits + 1);
	assert_null(left_behind);
	control_close(&next);
	assert_int_equal(driver.nr_exits, exits + 2);
}

static void a_command_without_memory_keeps_nothing(void **state)
{
	struct control control;

	(void)state;
	open_control(&control);
	driver.answers = false;
	assert_int_equal(control_start(&control, ABI_DEL_DEV, &(struct control_args){ .id = 7 }),
			 0);
	assert_int_equal(driver.cmd.addr, 0);
	assert_int_equal(control_wait(&control, 0), -ETIMEDOUT);
	control_close(&control);
	assert_null(left_behind);
	driver.has = false;
}

static void a_device_is_asked_for_by_its_node(void **state)
{
	struct abi_dev_info info;
	struct control control;
	const char *path;

	(void)state;
	open_control(&control);
	answer_with(0, 0x11);
	assert_int_equal(control_dev_info(&control, 63, &info), 0);
	path = (const char *)(uintptr_t)driver.cmd.addr;
	assert_string_equal(path, "/dev/ublkc63");
	assert_true(driver.cmd.dev_path_len > strlen(path));
	assert_int_equal(driver.cmd.len, driver.cmd.dev_path_len + sizeof(info));
	assert_int_equal(driver.cmd_op, ABI_IOCTL_R(ABI_GET_DEV_INFO2));
	assert_int_equal(info.dev_id, 0x11111111);
	/* What does not know of that is asked in the old way. */
	answer_with(-EOPNOTSUPP, 0);
	assert_int_equal(control_dev_info(&control, 63, &info), -EOPNOTSUPP);
	assert_int_equal(driver.cmd_op, ABI_IOCTL_R(ABI_GET_DEV_INFO));
	assert_int_equal(driver.cmd.dev_path_len, 0);
	control_close(&control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_reaches_the_caller),
		cmocka_unit_test(a_late_answer_does_not_touch_the_callers_memory),
		cmocka_unit_test(memory_that_the_kernel_may_still_write_outlives_the_control),
		cmocka_unit_test(a_command_without_memory_keeps_nothing),
		cmocka_unit_test(a_device_is_asked_for_by_its_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
